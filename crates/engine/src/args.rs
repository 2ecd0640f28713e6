//! Reading a layer's arguments: JSON values by name, with errors that name the layer and the argument.

use std::cell::RefCell;
use std::collections::HashSet;

use serde_json::{Map, Value};

use super::ModuleSpec;
use super::own::Told;
use t2m_checkpoint::escape::quoted;

/// The arguments of one layer, and which of them were asked for.
#[derive(Debug)]
pub struct Args<'a> {
    kind: &'a str,
    args: &'a Map<String, Value>,
    told: Option<&'a Told>,
    read: RefCell<HashSet<String>>,
}

impl<'a> Args<'a> {
    /// The arguments of this layer.
    pub fn new(module: &'a ModuleSpec) -> Args<'a> {
        Args { told: module.told.as_deref(), ..Args::of(&module.kind, &module.args) }
    }

    /// What we say about the layer beside its arguments.
    pub fn told(&self) -> Option<&'a Told> {
        self.told
    }

    /// The arguments of a call.
    pub fn of(kind: &'a str, args: &'a Map<String, Value>) -> Args<'a> {
        Args { kind, args, told: None, read: RefCell::default() }
    }

    /// Whether all arguments were asked for: otherwise one that the layer does not know would be ignored silently.
    ///
    /// # Errors
    /// Names the first one that was not.
    pub fn all_read(&self) -> Result<(), String> {
        let read = self.read.borrow();
        match self.args.keys().find(|name| !read.contains(name.as_str())) {
            Some(name) => Err(format!("{}: there is no argument `{name}`", self.kind)),
            None => Ok(()),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn integer(&self, name: &str) -> Result<i64, String> {
        self.get(name)?.as_i64().ok_or_else(|| self.wrong(name, "a whole number"))
    }

    /// A whole number of 1 and more.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn count(&self, name: &str) -> Result<i64, String> {
        let number = self.integer(name)?;
        if number >= 1 { Ok(number) } else { Err(self.wrong(name, "a whole number above 0")) }
    }

    /// A number.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn number(&self, name: &str) -> Result<f64, String> {
        self.get(name)?.as_f64().ok_or_else(|| self.wrong(name, "a number"))
    }

    /// A number, or `None` where the value is null.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn number_or_none(&self, name: &str) -> Result<Option<f64>, String> {
        if self.is_none(name)? { Ok(None) } else { self.number(name).map(Some) }
    }

    /// A whole number, or `None` where the value is null.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn integer_or_none(&self, name: &str) -> Result<Option<i64>, String> {
        if self.is_none(name)? { Ok(None) } else { self.integer(name).map(Some) }
    }

    /// True or false.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn flag(&self, name: &str) -> Result<bool, String> {
        self.get(name)?.as_bool().ok_or_else(|| self.wrong(name, "true or false"))
    }

    /// True or false, or this default.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag_or(&self, name: &str, otherwise: bool) -> Result<bool, String> {
        if self.has(name) { self.flag(name) } else { Ok(otherwise) }
    }

    /// Sizes that the tensors determine as well, one for each axis: if the argument is there, it has to agree.
    ///
    /// # Errors
    /// It does not agree.
    pub fn agree(&self, name: &str, sizes: &[i32]) -> Result<(), String> {
        let sizes: Vec<i64> = sizes.iter().map(|&size| i64::from(size)).collect();
        if self.has(name) && self.integers(name, sizes.len())? != sizes {
            return Err(self.wrong(name, &format!("{sizes:?} as its tensors have it")));
        }
        Ok(())
    }

    /// A word.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn text(&self, name: &str) -> Result<&'a str, String> {
        self.get(name)?.as_str().ok_or_else(|| self.wrong(name, "a word"))
    }

    /// Whole numbers, one for each of `axes` axes; a single number is for all of them. They are sizes, steps and
    /// widths: none needs more than 32 bits, and libraries calculate with them unchecked.
    ///
    /// # Errors
    /// They are missing, something else, too large, or too few or many.
    pub fn integers(&self, name: &str, axes: usize) -> Result<Vec<i64>, String> {
        let numbers = match self.get(name)?.as_i64() {
            Some(number) => vec![number; axes],
            None => self.list(name)?,
        };
        if numbers.len() != axes {
            return Err(self.wrong(name, &format!("{axes} whole numbers")));
        }
        if numbers.iter().any(|number| i32::try_from(*number).is_err()) {
            return Err(self.wrong(name, "what 32 bits hold"));
        }
        Ok(numbers)
    }

    /// Whole numbers, as many as there are; a single number is a list of one.
    ///
    /// # Errors
    /// They are missing or something else.
    pub fn list(&self, name: &str) -> Result<Vec<i64>, String> {
        let value = self.get(name)?;
        if let Some(number) = value.as_i64() {
            return Ok(vec![number]);
        }
        let numbers = value.as_array().and_then(|items| items.iter().map(Value::as_i64).collect());
        numbers.ok_or_else(|| self.wrong(name, "a list of whole numbers"))
    }

    /// Pairs of whole numbers, one for each of `axes` axes (padding before and after).
    ///
    /// # Errors
    /// They are missing, something else, or too few or many.
    pub fn pairs(&self, name: &str, axes: usize) -> Result<Vec<(i64, i64)>, String> {
        let pair = |item: &Value| match item.as_array()?.as_slice() {
            [low, high] => Some((low.as_i64()?, high.as_i64()?)),
            _ => None,
        };
        let pairs: Option<Vec<_>> =
            self.get(name)?.as_array().and_then(|items| items.iter().map(pair).collect::<Option<Vec<_>>>());
        match pairs {
            Some(pairs) if pairs.len() == axes => Ok(pairs),
            _ => Err(self.wrong(name, &format!("{axes} pairs of whole numbers"))),
        }
    }

    /// A word, or this default.
    ///
    /// # Errors
    /// It is something else.
    pub fn text_or(&self, name: &str, otherwise: &'a str) -> Result<&'a str, String> {
        if self.has(name) { self.text(name) } else { Ok(otherwise) }
    }

    /// A whole number, or this default.
    ///
    /// # Errors
    /// It is something else.
    pub fn integer_or(&self, name: &str, otherwise: i64) -> Result<i64, String> {
        if self.has(name) { self.integer(name) } else { Ok(otherwise) }
    }

    /// A number, or this default.
    ///
    /// # Errors
    /// It is something else.
    pub fn number_or(&self, name: &str, otherwise: f64) -> Result<f64, String> {
        if self.has(name) { self.number(name) } else { Ok(otherwise) }
    }

    /// Whole numbers; `None` for null or a missing argument.
    ///
    /// # Errors
    /// It is something else.
    pub fn list_or_none(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        if !self.has(name) || self.is_none(name)? { Ok(None) } else { self.list(name).map(Some) }
    }

    /// Numbers, one for each of `axes` axes; a single number is for all of them.
    ///
    /// # Errors
    /// They are missing, something else, or too few or many.
    pub fn numbers(&self, name: &str, axes: usize) -> Result<Vec<f64>, String> {
        let value = self.get(name)?;
        if let Some(number) = value.as_f64() {
            return Ok(vec![number; axes]);
        }
        let numbers: Option<Vec<f64>> =
            value.as_array().and_then(|items| items.iter().map(Value::as_f64).collect::<Option<_>>());
        match numbers {
            Some(numbers) if numbers.len() == axes => Ok(numbers),
            _ => Err(self.wrong(name, &format!("{axes} numbers"))),
        }
    }

    /// Whole numbers of 32 bits or nulls, one for each of `axes` axes; a single one is for all of them.
    ///
    /// # Errors
    /// They are missing, something else, or too few or many.
    pub fn sizes(&self, name: &str, axes: usize) -> Result<Vec<Option<i64>>, String> {
        let number = |item: &Value| item.as_i64().filter(|number| i32::try_from(*number).is_ok());
        let size = |item: &Value| if item.is_null() { Some(None) } else { number(item).map(Some) };
        let value = self.get(name)?;
        if let Some(one) = size(value) {
            return Ok(vec![one; axes]);
        }
        let sizes: Option<Vec<_>> =
            value.as_array().and_then(|items| items.iter().map(size).collect::<Option<Vec<_>>>());
        match sizes {
            Some(sizes) if sizes.len() == axes => Ok(sizes),
            _ => Err(self.wrong(name, &format!("{axes} whole numbers or nulls"))),
        }
    }

    /// A list of words; `None` for null or a missing argument.
    ///
    /// # Errors
    /// It is something else.
    pub fn words_or_none(&self, name: &str) -> Result<Option<Vec<&'a str>>, String> {
        match self.find(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_array().and_then(|items| items.iter().map(Value::as_str).collect()) {
                Some(words) => Ok(Some(words)),
                None => Err(self.wrong(name, "a list of words")),
            },
        }
    }

    /// True or false; `None` for null or a missing argument.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag_or_none(&self, name: &str) -> Result<Option<bool>, String> {
        if !self.has(name) || self.is_none(name)? { Ok(None) } else { self.flag(name).map(Some) }
    }

    /// Arguments within the argument; `None` for null or a missing argument.
    ///
    /// # Errors
    /// It is something else.
    pub fn table_or_none(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, String> {
        match self.find(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(table)) => Ok(Some(table)),
            Some(_) => Err(self.wrong(name, "an object")),
        }
    }

    /// Several objects.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn tables(&self, name: &str) -> Result<Vec<&'a Map<String, Value>>, String> {
        let tables = self.get(name)?.as_array().and_then(|items| items.iter().map(Value::as_object).collect());
        tables.ok_or_else(|| self.wrong(name, "a list of objects"))
    }

    /// Whether the value is null.
    ///
    /// # Errors
    /// It is missing.
    pub fn is_none(&self, name: &str) -> Result<bool, String> {
        Ok(self.get(name)?.is_null())
    }

    /// Whether the argument is there at all.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The value.
    ///
    /// # Errors
    /// It is missing.
    pub fn get(&self, name: &str) -> Result<&'a Value, String> {
        self.find(name).ok_or_else(|| format!("{}: the argument `{name}` is missing", self.kind))
    }

    fn find(&self, name: &str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(name.to_owned());
        self.args.get(name)
    }

    /// The message for a value that the layer does not take.
    pub fn wrong(&self, name: &str, wanted: &str) -> String {
        let value = self.find(name).unwrap_or(&Value::Null);
        format!("{}: the argument `{name}` is {}, not {wanted}", quoted(self.kind), quoted(&value.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde_json::{Value, json};

    use super::{Args, ModuleSpec};

    fn spec(args: Value) -> ModuleSpec {
        let Value::Object(args) = args else { panic!("not an object") };
        ModuleSpec { kind: "nn.Conv2d".to_owned(), args, ..ModuleSpec::default() }
    }

    #[test]
    fn a_single_number_stands_for_every_axis() {
        let spec = spec(json!({"stride": 2, "dilation": [1, 3], "padding": [[0, 1], [2, 2]], "eps": null}));
        let args = Args::new(&spec);
        assert_eq!(args.integers("stride", 2), Ok(vec![2, 2]));
        assert_eq!(args.integers("dilation", 2), Ok(vec![1, 3]));
        assert_eq!(args.pairs("padding", 2), Ok(vec![(0, 1), (2, 2)]));
        assert_eq!(args.number_or_none("eps"), Ok(None));
    }

    #[test]
    fn errors_name_the_layer_and_the_argument() {
        let spec = spec(json!({"stride": [1, 2, 3], "groups": 0, "eps": "small", "padding": [[0], [1, 1]]}));
        let args = Args::new(&spec);
        let said = [
            args.integers("stride", 2).unwrap_err(),
            args.count("groups").unwrap_err(),
            args.number("eps").unwrap_err(),
            args.pairs("padding", 2).unwrap_err(),
            args.flag("affine").unwrap_err(),
        ];
        insta::assert_snapshot!(said.join("\n"), @r#"
        nn.Conv2d: the argument `stride` is [1,2,3], not 2 whole numbers
        nn.Conv2d: the argument `groups` is 0, not a whole number above 0
        nn.Conv2d: the argument `eps` is "small", not a number
        nn.Conv2d: the argument `padding` is [[0],[1,1]], not 2 pairs of whole numbers
        nn.Conv2d: the argument `affine` is missing
        "#);
    }
}
