//! What is known of a value without running anything.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value as Json;

use super::layout::{Extent, Layout};

/// Elements of a sequence that are told apart, and how deep values are nested.
const ELEMENTS: usize = 256;
const NESTED: usize = 8;

/// `times * x + plus`, where nobody knows `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// The number of x.
    pub of: u32,
    /// What it is multiplied by, …
    pub times: i64,
    /// … and what is added then.
    pub plus: i64,
}

/// A value, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// It may be anything.
    Unknown,
    /// It is not None, and nothing more is known: a tensor, an object, a list that may be changed.
    Object,
    /// A tensor of which is known where its axes are in MLX.
    Tensor(Layout),
    /// The length of axes of a tensor that has channels last in MLX.
    Length(Extent),
    /// A list that had nothing in it when it was made: somebody may have filled it.
    Fresh,
    /// Nothing but its truth is known.
    Truth(bool),
    /// Python's None.
    None,
    /// True or False.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a point.
    Float(f64),
    /// A string.
    Text(Rc<str>),
    /// A tuple, or a list that a file holds; its elements need not be known.
    Sequence(Rc<[Value]>),
    /// Something to iterate over, of unknown length, whose elements are all like this one.
    Each(Rc<Value>),
    /// A dict of which every key is known.
    Mapping(Rc<BTreeMap<String, Value>>),
    /// Something of a [`Store`](super::Store), by its number there.
    Thing(u32),
    /// What is not known and has a name, or a whole number that follows from it.
    Symbol(Symbol),
    /// The modules at this path below the one whose method runs, `*` for any name: `layers.*`, the module itself as ``.
    Modules(Rc<str>),
}

impl Value {
    /// A string.
    pub fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    /// A tuple.
    pub fn sequence(elements: Vec<Value>) -> Value {
        if elements.len() > ELEMENTS { Value::Object } else { Value::Sequence(elements.into()) }
    }

    /// What a file holds: arrays are sequences, null is None, an object of some class is not None.
    pub fn from_json(json: &Json) -> Value {
        Value::read(json, 0)
    }

    fn read(json: &Json, depth: usize) -> Value {
        match json {
            Json::Null => Value::None,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Value::Int(whole),
                (None, Some(float)) => Value::Float(float),
                (None, None) => Value::Object,
            },
            // Functions and classes are written as their full names, infinities as words, what was left out as `…`.
            Json::String(text) if text.contains('.') || text.ends_with('…') => Value::Object,
            Json::String(text) if matches!(text.as_str(), "inf" | "-inf" | "nan") => Value::Object,
            Json::String(text) => Value::text(text),
            _ if depth > NESTED => Value::Object,
            Json::Array(elements) => {
                Value::sequence(elements.iter().take(ELEMENTS + 1).map(|it| Value::read(it, depth + 1)).collect())
            }
            Json::Object(fields) if fields.contains_key("class") || fields.len() > ELEMENTS => Value::Object,
            Json::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), Value::read(value, depth + 1)));
                Value::Mapping(Rc::new(fields.collect()))
            }
        }
    }

    /// Python's truth of it, where that is known.
    pub fn truth(&self) -> Option<bool> {
        match self {
            Value::Truth(truth) | Value::Bool(truth) => Some(*truth),
            Value::None => Some(false),
            Value::Int(value) => Some(*value != 0),
            Value::Float(value) => Some(*value != 0.0),
            Value::Text(text) => Some(!text.is_empty()),
            Value::Sequence(elements) => Some(!elements.is_empty()),
            Value::Mapping(fields) => Some(!fields.is_empty()),
            // A container of modules is false where it is empty.
            Value::Unknown
            | Value::Object
            | Value::Tensor(_)
            | Value::Length(_)
            | Value::Fresh
            | Value::Each(_)
            | Value::Thing(_)
            | Value::Symbol(_)
            | Value::Modules(_) => None,
        }
    }

    /// Whether it is None, where that is known.
    pub fn is_none(&self) -> Option<bool> {
        match self {
            Value::None => Some(true),
            // What is not known may be None too, whatever it is otherwise.
            Value::Unknown | Value::Truth(false) | Value::Symbol(_) => None,
            _ => Some(false),
        }
    }

    /// What is known where it is either of two.
    #[must_use]
    pub fn or(self, other: Value) -> Value {
        if self == other {
            return self;
        }
        match (&self, &other) {
            (Value::Each(a), Value::Each(b)) => return Value::Each(Rc::new((**a).clone().or((**b).clone()))),
            (Value::Fresh, Value::Each(_)) => return other,
            (Value::Each(_), Value::Fresh) => return self,
            (Value::Tensor(a), Value::Tensor(b)) => return a.or(*b).map_or(Value::Object, Value::Tensor),
            _ => {}
        }
        match (self.truth(), other.truth()) {
            (Some(a), Some(b)) if a == b => Value::Truth(a),
            _ if self.is_none() == Some(false) && other.is_none() == Some(false) => Value::Object,
            _ => Value::Unknown,
        }
    }

    /// The same where paths of modules mean nothing, and the next call may have another number of channels.
    #[must_use]
    pub fn settled(self) -> Value {
        match self {
            Value::Modules(_) => Value::Object,
            Value::Tensor(layout) => Value::Tensor(layout.of_any_width()),
            Value::Sequence(elements) => Value::Sequence(elements.iter().cloned().map(Value::settled).collect()),
            Value::Each(element) => Value::Each(Rc::new((*element).clone().settled())),
            Value::Mapping(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), value.clone().settled()));
                Value::Mapping(Rc::new(fields.collect()))
            }
            known => known,
        }
    }

    /// Whether nothing can be said of what it equals.
    fn is_opaque(&self) -> bool {
        matches!(
            self,
            Value::Unknown
                | Value::Object
                | Value::Tensor(_)
                | Value::Length(_)
                | Value::Fresh
                | Value::Truth(_)
                | Value::Each(_)
                | Value::Thing(_)
                | Value::Symbol(_)
                | Value::Modules(_)
        )
    }

    /// Where the axes of a tensor are.
    pub fn layout(&self) -> Option<Layout> {
        match self {
            Value::Tensor(layout) => Some(*layout),
            _ => None,
        }
    }

    /// As a number, where it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// As a whole number, where it is one.
    pub fn whole(&self) -> Option<i64> {
        match self {
            Value::Bool(value) => Some(i64::from(*value)),
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// What a loop over it gives at each turn; `None` where it is known to have none.
    pub fn element(&self) -> Option<Value> {
        match self {
            Value::Sequence(elements) => elements.iter().cloned().reduce(Value::or),
            Value::Each(element) => Some((**element).clone()),
            Value::Mapping(fields) if fields.is_empty() => None,
            Value::Mapping(_) => Some(Value::Object),
            _ => Some(Value::Unknown),
        }
    }

    /// Whether two are equal, where that is known.
    pub fn equals(&self, other: &Value) -> Option<bool> {
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            return Some(a == b);
        }
        match (self, other) {
            (a, b) if a.is_opaque() || b.is_opaque() => None,
            (Value::Text(a), Value::Text(b)) => Some(a == b),
            (Value::Sequence(a), Value::Sequence(b)) if a.len() == b.len() => {
                let each: Vec<Option<bool>> = a.iter().zip(b.iter()).map(|(a, b)| a.equals(b)).collect();
                match () {
                    () if each.contains(&Some(false)) => Some(false),
                    () if each.contains(&None) => None,
                    () => Some(true),
                }
            }
            (Value::Mapping(_), Value::Mapping(_)) => None,
            (a, b) => Some(matches!((a, b), (Value::None, Value::None))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_two_values_share_is_kept() {
        assert_eq!(Value::Int(1).or(Value::Int(1)), Value::Int(1));
        assert_eq!(Value::Int(1).or(Value::text("a")), Value::Truth(true));
        assert_eq!(Value::None.or(Value::Bool(false)), Value::Truth(false));
        assert_eq!(Value::Object.or(Value::Int(0)), Value::Object);
        assert_eq!(Value::Object.or(Value::None), Value::Unknown);
        assert_eq!(Value::Truth(false).is_none(), None);
        assert_eq!(Value::Truth(true).is_none(), Some(false));
    }

    #[test]
    fn values_of_a_file() {
        assert_eq!(Value::from_json(&json!(null)), Value::None);
        assert_eq!(Value::from_json(&json!([1, 0.5])), Value::sequence(vec![Value::Int(1), Value::Float(0.5)]));
        assert_eq!(Value::from_json(&json!({"class": "m.Config"})), Value::Object);
        assert_eq!(Value::from_json(&json!("torch.nn.functional.gelu")), Value::Object);
        assert_eq!(Value::from_json(&json!("inf")), Value::Object);
        assert_eq!(Value::from_json(&json!("mean")), Value::text("mean"));
    }

    #[test]
    fn equality_is_known_or_not() {
        let row = |values: &[Value]| Value::sequence(values.to_vec());
        assert_eq!(Value::Int(0).equals(&Value::Float(0.0)), Some(true));
        assert_eq!(Value::None.equals(&Value::Bool(false)), Some(false));
        assert_eq!(Value::Object.equals(&Value::Int(1)), None);
        assert_eq!(row(&[Value::Unknown, Value::Int(1)]).equals(&row(&[Value::Int(1), Value::Int(2)])), Some(false));
        assert_eq!(row(&[Value::Unknown]).equals(&row(&[Value::Int(2)])), None);
        assert_eq!(row(&[]).equals(&row(&[Value::Int(2)])), Some(false));
    }
}
