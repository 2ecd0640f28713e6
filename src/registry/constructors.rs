//! How torch's layers are constructed: `assets/registry/constructors.toml`.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::assets::built_in;

/// The constructor of one layer of torch.
#[derive(Debug, Clone, PartialEq)]
pub struct Constructor {
    /// Full path of the class.
    pub class: String,
    /// The arguments in order.
    pub arguments: Vec<Argument>,
    /// Number of axes that a single number in `tuples` applies to.
    axes: usize,
    tuples: Vec<String>,
    dropped: Vec<String>,
    /// Attributes that the layer sets itself.
    constants: Map<String, Value>,
    /// Shape of `weight`; empty where there is none.
    pub weight: Vec<Axis>,
}

/// One argument.
#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    /// The parameter's name in Python.
    pub name: String,
    /// Its value where the call does not give one.
    default: Default,
}

#[derive(Debug, Clone, PartialEq)]
enum Default {
    Required,
    Value(Value),
    SameAs(String),
}

/// One axis of a weight, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Axis {
    /// The value of an argument.
    Argument(String),
    /// The quotient of two arguments.
    Quotient(String, String),
    /// One axis for each number of a tuple.
    Each(String),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    constructor: Vec<Row>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    class: String,
    arguments: Vec<String>,
    #[serde(default)]
    axes: usize,
    #[serde(default)]
    tuples: Vec<String>,
    #[serde(default)]
    dropped: Vec<String>,
    #[serde(default)]
    constants: Map<String, Value>,
    #[serde(default)]
    weight: Vec<String>,
}

impl From<Row> for Constructor {
    fn from(row: Row) -> Constructor {
        let Row { class, arguments, axes, tuples, dropped, constants, weight } = row;
        let arguments = arguments.iter().map(|text| Argument::read(text)).collect();
        let weight = weight.iter().map(|text| Axis::read(text)).collect();
        Constructor { class, arguments, axes, tuples, dropped, constants, weight }
    }
}

impl Argument {
    fn read(text: &str) -> Argument {
        let (name, default) = match text.split_once(" = ") {
            None => (text, Default::Required),
            Some((name, default)) => match serde_json::from_str(&default.replace('\'', "\"")) {
                Ok(value) => (name, Default::Value(value)),
                Err(_) => (name, Default::SameAs(default.to_owned())),
            },
        };
        Argument { name: name.to_owned(), default }
    }
}

impl Axis {
    /// Whether the shape determines the value of this argument (of a quotient, the dividend).
    pub fn tells(&self, argument: &str) -> bool {
        let (Axis::Argument(name) | Axis::Each(name) | Axis::Quotient(name, _)) = self;
        name == argument
    }

    fn read(text: &str) -> Axis {
        match (text.split_once(" / "), text.strip_prefix('*')) {
            (Some((of, by)), _) => Axis::Quotient(of.to_owned(), by.to_owned()),
            (None, Some(tuple)) => Axis::Each(tuple.to_owned()),
            (None, None) => Axis::Argument(text.to_owned()),
        }
    }
}

/// The constructor that a call by this full name (`torch.nn.Conv2d`, `torch.nn.modules.conv.Conv2d`) reaches.
pub fn constructor(called: &str) -> Option<&'static Constructor> {
    let name = called.strip_prefix("torch.nn.")?;
    let known = CONSTRUCTORS.get(called.rsplit('.').next()?)?;
    (!name.contains('.') || known.class == called).then_some(known)
}

/// The built-in table by the last part of the class.
static CONSTRUCTORS: LazyLock<HashMap<String, Constructor>> = LazyLock::new(|| {
    let file: Result<File, _> = toml::from_str(include_str!("../../assets/registry/constructors.toml"));
    let rows = built_in("constructors.toml", file).constructor;
    let short = |row: &Row| row.class.rsplit('.').next().unwrap_or_default().to_owned();
    rows.into_iter().map(|row| (short(&row), row.into())).collect()
});

impl Constructor {
    /// Names of the attributes that the layer has.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let arguments = self.arguments.iter().map(|argument| argument.name.as_str());
        let kept = arguments.filter(|name| !self.dropped.iter().any(|dropped| dropped == name));
        kept.chain(self.constants.keys().map(String::as_str))
    }

    /// The attributes of the layer from the arguments of a call; an argument is `None` if its value is not known. If
    /// `complete`, missing arguments get their defaults. Unknown attributes are left out.
    pub fn attributes(&self, mut given: HashMap<String, Option<Value>>, complete: bool) -> Map<String, Value> {
        let mut values = self.constants.clone();
        for Argument { name, default } in &self.arguments {
            let value = match (given.remove(name), default) {
                (Some(Some(Value::Null)), Default::SameAs(other)) => values.get(other).cloned(),
                (Some(value), _) => value,
                (None, Default::Value(value)) if complete => Some(value.clone()),
                (None, Default::SameAs(other)) if complete => values.get(other).cloned(),
                (None, _) => None,
            };
            values.extend(value.map(|value| (name.clone(), self.spread(name, value))));
        }
        values
    }

    /// The default of an argument, where it is a value.
    pub fn default_of(&self, name: &str) -> Option<&Value> {
        match &self.arguments.iter().find(|argument| argument.name == name)?.default {
            Default::Value(value) => Some(value),
            Default::Required | Default::SameAs(_) => None,
        }
    }

    /// How many numbers an argument has that has several; 1 of one that has one.
    pub fn axes_of(&self, name: &str) -> Option<usize> {
        let known = self.arguments.iter().any(|argument| argument.name == name);
        known.then(|| if self.tuples.iter().any(|tuple| tuple == name) { self.axes } else { 1 })
    }

    /// Whether the layer keeps an argument as an attribute.
    pub fn keeps(&self, argument: &str) -> bool {
        !self.dropped.iter().any(|dropped| dropped == argument)
    }

    /// Match the weight's shape with what the arguments say about it, and fill in those that it tells; `None` if they contradict
    /// each other.
    pub fn fill(&self, shape: &[u64], values: &mut Map<String, Value>) -> Option<()> {
        let mut shape = shape.iter().copied();
        for axis in &self.weight {
            match axis {
                Axis::Argument(name) => agree(values, name, shape.next()?.into())?,
                Axis::Quotient(of, by) => {
                    let part = shape.next()?;
                    if let Some(by) = values.get(by) {
                        agree(values, of, part.checked_mul(by.as_u64()?)?.into())?;
                    }
                }
                Axis::Each(tuple) => agree(values, tuple, Value::from(shape.by_ref().collect::<Vec<u64>>()))?,
            }
        }
        shape.next().is_none().then_some(())
    }

    /// The same where the shape is right whatever the arguments say.
    pub fn refill(&self, shape: &[u64], values: &mut Map<String, Value>) -> Option<()> {
        values.retain(|name, _| !self.weight.iter().any(|axis| axis.tells(name)));
        self.fill(shape, values)
    }

    /// An argument as the layer keeps it: one number for each axis.
    pub fn spread(&self, name: &str, value: Value) -> Value {
        let spread = value.is_i64() && self.tuples.iter().any(|tuple| tuple == name);
        if spread { Value::Array(vec![value; self.axes]) } else { value }
    }
}

/// Set a value, or compare it with the one that is there.
fn agree(values: &mut Map<String, Value>, name: &str, value: Value) -> Option<()> {
    match values.get(name) {
        Some(known) => (*known == value).then_some(()),
        None => {
            values.insert(name.to_owned(), value);
            Some(())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_is_read_and_consistent() {
        assert!(CONSTRUCTORS.len() > 130);
        // One for every class of torch.nn that is built with numbers.
        let classes = include_str!("../../assets/samples/torch_nn_classes.txt").lines();
        let built = classes.filter(|class| !class.contains("container") && !class.contains("module.Module"));
        let public = built.filter(|class| !["Lazy", "Base", "parallel"].iter().any(|other| class.contains(other)));
        let missing: Vec<&str> = public.filter(|class| constructor(class).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
        for row in CONSTRUCTORS.values() {
            let known = |name: &String| row.arguments.iter().any(|argument| argument.name == *name);
            assert!(row.tuples.iter().chain(&row.dropped).all(known), "{}", row.class);
            assert!(row.tuples.is_empty() == (row.axes == 0), "{}", row.class);
            for axis in &row.weight {
                let named = match axis {
                    Axis::Argument(name) | Axis::Each(name) => known(name),
                    Axis::Quotient(of, by) => known(of) && known(by),
                };
                assert!(named, "{}: {axis:?}", row.class);
            }
        }
    }

    #[test]
    fn arguments_become_attributes() {
        let conv = constructor("torch.nn.Conv2d").unwrap();
        let given = [("in_channels", Some(json!(3))), ("out_channels", None), ("kernel_size", Some(json!([3, 5])))];
        let given: HashMap<String, Option<Value>> =
            given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let attributes = conv.attributes(given.clone(), true);
        assert_eq!((&attributes["kernel_size"], &attributes["stride"]), (&json!([3, 5]), &json!([1, 1])));
        assert!(!attributes.contains_key("out_channels") && attributes["padding_mode"] == "zeros");
        assert_eq!(conv.attributes(given, false).len(), 2);
        let attention = constructor("torch.nn.modules.activation.MultiheadAttention").unwrap();
        let given = HashMap::from([("embed_dim".to_owned(), Some(json!(8)))]);
        assert_eq!(attention.attributes(given, true)["kdim"], 8);
        assert!(constructor("torch.nn.utils.Conv2d").is_none() && constructor("mine.Conv2d").is_none());
    }
}
