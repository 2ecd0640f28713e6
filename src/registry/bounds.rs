//! What torch's layers take for a hyper-parameter: rows of `bounds.toml`, else the type of the constructor's default.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::constructors::Constructor;
use crate::assets;
use t2m_checkpoint::escape::quoted;

/// Characters of a value that a message quotes.
const QUOTED: usize = 40;

/// The bounds of some hyper-parameters of some classes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    names: Vec<String>,
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default)]
    whole: bool,
    least: Option<f64>,
    most: Option<f64>,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    divides: Vec<String>,
    /// What torch does with anything else, for who reads the table.
    #[serde(rename = "why")]
    _why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    bound: Vec<Bound>,
}

static ROWS: LazyLock<Vec<Bound>> = LazyLock::new(|| {
    let file: Result<File, _> = toml::from_str(include_str!("../../assets/registry/bounds.toml"));
    assets::built_in("bounds.toml", file).bound
});

fn bound(class: &str, name: &str) -> Option<&'static Bound> {
    let fits = |row: &&Bound| row.classes.is_empty() || row.classes.iter().any(|begin| class.starts_with(begin));
    ROWS.iter().filter(|row| row.names.iter().any(|named| named == name)).find(fits)
}

/// Why a layer does not take a value, if it does not: a sentence without its end.
pub fn refusal(of: &Constructor, name: &str, value: &Value, known: &Map<String, Value>) -> Option<String> {
    let default = of.default_of(name);
    // None is what a constructor has where it is its default, or where another argument stands in for it.
    if value.is_null() {
        let takes = default.is_none_or(Value::is_null) || name == "eps";
        return (!takes).then(|| format!("`{name}` is not None"));
    }
    let bound = bound(&of.class, name);
    let shown: String = quoted(&value.to_string()).chars().take(QUOTED).collect();
    let numbers = match value {
        Value::Array(numbers) => {
            let axes = of.axes_of(name)?;
            if numbers.len() != axes {
                let many = if axes == 1 { String::new() } else { format!(", or {axes}, one for each axis") };
                return Some(format!("`{name}` is one number{many}; {shown} is not"));
            }
            numbers.iter().collect()
        }
        one => vec![one],
    };
    let right = match bound {
        Some(bound) => numbers.iter().all(|value| bound.takes(value)),
        None => numbers.iter().all(|value| default.is_none_or(|default| is_like(value, default))),
    };
    if !right {
        let what = bound.map_or_else(|| like_words(default).to_owned(), Bound::words);
        return Some(format!("`{name}` is {what}; {shown} is not"));
    }
    let part = bound.and_then(|bound| Some((value.as_u64()?, bound)));
    let (by, bound) = part?;
    bound.divides.iter().find_map(|whole| {
        let number = known.get(whole)?.as_u64()?;
        (number % by != 0).then(|| format!("`{name}` divides `{whole}`, which is {number}; {by} does not"))
    })
}

impl Bound {
    fn takes(&self, value: &Value) -> bool {
        if let Some(text) = value.as_str() {
            return self.words.iter().any(|word| word == text);
        }
        let is_whole = value.is_u64() || value.is_i64();
        let number = value.as_f64().filter(|_| self.has_numbers() && (is_whole || !self.whole));
        number.is_some_and(|number| {
            self.least.is_none_or(|least| number >= least) && self.most.is_none_or(|most| number <= most)
        })
    }

    fn has_numbers(&self) -> bool {
        self.least.is_some() || self.most.is_some()
    }

    /// `a whole number from 1 on`, `a whole number from 0 on, same or valid`
    fn words(&self) -> String {
        let number = if self.whole { "a whole number" } else { "a number" };
        let number = match (self.least, self.most) {
            (Some(least), Some(most)) => Some(format!("{number} from {least} to {most}")),
            (Some(least), None) => Some(format!("{number} from {least} on")),
            (None, Some(most)) => Some(format!("{number} up to {most}")),
            (None, None) => None,
        };
        let mut all: Vec<String> = number.into_iter().chain(self.words.iter().cloned()).collect();
        match (all.pop(), all.is_empty()) {
            (Some(last), true) => last,
            (Some(last), false) => format!("{} or {last}", all.join(", ")),
            (None, _) => String::new(),
        }
    }
}

/// Whether a value is of the type of a default.
fn is_like(value: &Value, default: &Value) -> bool {
    match default {
        Value::Bool(_) => value.is_boolean(),
        Value::Number(_) => value.is_number(),
        Value::String(_) => value.is_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => true,
    }
}

fn like_words(default: Option<&Value>) -> &'static str {
    match default {
        Some(Value::Bool(_)) => "true or false",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a text",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::registry::constructors::constructor;
    use crate::registry::plausible::plausible;

    fn refused(class: &str, name: &str, value: Value, known: Value) -> String {
        let of = constructor(class).unwrap();
        refusal(of, name, &value, known.as_object().unwrap()).unwrap_or_default()
    }

    #[test]
    fn a_value_is_what_the_class_takes() {
        let conv = "torch.nn.modules.conv.Conv2d";
        let channels = json!({"in_channels": 12, "out_channels": 8});
        for (name, value) in [
            ("stride", json!(2)),
            ("stride", json!([1, 2])),
            ("padding", json!("same")),
            ("padding", json!(0)),
            ("groups", json!(4)),
            ("padding_mode", json!("circular")),
            ("bias", json!(false)),
        ] {
            assert_eq!(refused(conv, name, value.clone(), channels.clone()), "", "{name}={value}");
        }
        for (name, value, words) in [
            ("stride", json!(0), "`stride` is a whole number from 1 on; 0 is not"),
            ("stride", json!(-1), "`stride` is a whole number from 1 on; -1 is not"),
            ("stride", json!(1.5), "`stride` is a whole number from 1 on; 1.5 is not"),
            ("stride", json!([1, 0]), "`stride` is a whole number from 1 on; [1,0] is not"),
            ("stride", json!([1, 1, 1]), "`stride` is one number, or 2, one for each axis; [1,1,1] is not"),
            ("stride", json!("two"), "`stride` is a whole number from 1 on; \"two\" is not"),
            ("stride", json!(true), "`stride` is a whole number from 1 on; true is not"),
            ("stride", Value::Null, "`stride` is not None"),
            ("dilation", json!(0), "`dilation` is a whole number from 1 on; 0 is not"),
            ("padding", json!(-1), "`padding` is a whole number from 0 on, same or valid; -1 is not"),
            ("groups", json!(8), "`groups` divides `in_channels`, which is 12; 8 does not"),
            ("groups", json!(6), "`groups` divides `out_channels`, which is 8; 6 does not"),
            (
                "padding_mode",
                json!("mirror"),
                "`padding_mode` is zeros, reflect, replicate or circular; \"mirror\" is not",
            ),
            ("bias", json!(1), "`bias` is true or false; 1 is not"),
        ] {
            assert_eq!(refused(conv, name, value, channels.clone()), words);
        }
        let none = json!({});
        let dropout = "torch.nn.modules.dropout.Dropout";
        assert_eq!(refused(dropout, "p", json!(2), none.clone()), "`p` is a number from 0 to 1; 2 is not");
        let norm = "torch.nn.modules.normalization.RMSNorm";
        assert_eq!(refused(norm, "eps", Value::Null, none.clone()), "");
        assert_eq!(
            refused("torch.nn.modules.batchnorm.BatchNorm2d", "momentum", json!("x"), none),
            "`momentum` is a number; \"x\" is not"
        );
    }

    #[test]
    fn what_a_run_tries_is_taken() {
        for class in
            ["conv.Conv1d", "conv.ConvTranspose2d", "normalization.GroupNorm", "normalization.RMSNorm", "rnn.RNN"]
        {
            let of = constructor(&format!("torch.nn.modules.{class}")).unwrap();
            for name in of.names() {
                let Some(row) = plausible(&of.class, name) else { continue };
                let values = row.values.iter().cloned().chain(row.none.then_some(Value::Null));
                for value in values {
                    assert_eq!(refusal(of, name, &value, &Map::new()), None, "{class} {name}={value}");
                }
            }
        }
    }

    #[test]
    fn every_row_can_be_reached() {
        for (at, row) in ROWS.iter().enumerate() {
            assert!(row.has_numbers() || !row.words.is_empty(), "{row:?}");
            let hides = |earlier: &Bound, name: &String| earlier.classes.is_empty() && earlier.names.contains(name);
            assert!(row.names.iter().all(|name| !ROWS[..at].iter().any(|earlier| hides(earlier, name))), "{row:?}");
        }
    }
}
