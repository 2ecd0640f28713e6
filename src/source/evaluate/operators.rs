//! Python's operators on known values.

use std::rc::Rc;

use super::{Symbol, Value};
use crate::source::literals;

/// Elements and characters of what `*` and `+` make.
const LONGEST: usize = 256;

/// `-x`, `~x`, `+x`, as written.
pub(super) fn unary(text: &str, value: &Value) -> Value {
    let known = match value {
        Value::Int(value) if text.starts_with('-') => value.checked_neg().map(Value::Int),
        Value::Int(value) if text.starts_with('~') => Some(Value::Int(!value)),
        Value::Float(value) if text.starts_with('-') => Some(Value::Float(-value)),
        Value::Int(_) | Value::Float(_) if text.starts_with('+') => Some(value.clone()),
        _ => None,
    };
    known.unwrap_or(Value::Object)
}

/// `left operator right`. What Python refuses is not known.
pub(in crate::source) fn binary(operator: &str, left: &Value, right: &Value) -> Value {
    known(operator, left, right).unwrap_or(match (left, right) {
        // An operator gives something; of what is not known it may be anything.
        (Value::Unknown, Value::Unknown) => Value::Unknown,
        _ => Value::Object,
    })
}

/// A number that is not known, added to or multiplied by one that is.
fn symbol(operator: &str, left: &Value, right: &Value) -> Option<Value> {
    let symbol = match (operator, left, right) {
        ("+", Value::Symbol(symbol), Value::Int(number)) | ("+", Value::Int(number), Value::Symbol(symbol)) => {
            Symbol { plus: symbol.plus.checked_add(*number)?, ..*symbol }
        }
        ("-", Value::Symbol(symbol), Value::Int(number)) => {
            Symbol { plus: symbol.plus.checked_sub(*number)?, ..*symbol }
        }
        ("*", Value::Symbol(symbol), Value::Int(number)) | ("*", Value::Int(number), Value::Symbol(symbol)) => {
            let (times, plus) = (symbol.times.checked_mul(*number)?, symbol.plus.checked_mul(*number)?);
            Symbol { times, plus, ..*symbol }
        }
        _ => return None,
    };
    Some(Value::Symbol(symbol))
}

fn known(operator: &str, left: &Value, right: &Value) -> Option<Value> {
    if matches!(left, Value::Symbol(_)) || matches!(right, Value::Symbol(_)) {
        return symbol(operator, left, right);
    }
    if let (Value::Bool(a), Value::Bool(b)) = (left, right) {
        match operator {
            "^" => return Some(Value::Bool(a ^ b)),
            "&" => return Some(Value::Bool(a & b)),
            "|" => return Some(Value::Bool(a | b)),
            _ => {}
        }
    }
    if let (Some(a), Some(b)) = (left.whole(), right.whole()) {
        let whole = match operator {
            "&" => Some(a & b),
            "|" => Some(a | b),
            "/" if b != 0 => return Some(Value::Float(a as f64 / b as f64)),
            _ => literals::whole(operator, a, b),
        };
        return whole.map(Value::Int);
    }
    if let (Some(a), Some(b)) = (left.number(), right.number()) {
        let float = match operator {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            "/" if b != 0.0 => a / b,
            "//" if b != 0.0 => (a / b).floor(),
            "**" => a.powf(b),
            _ => return None,
        };
        return float.is_finite().then_some(Value::Float(float));
    }
    match (operator, left, right) {
        ("*", Value::Length(a), Value::Length(b)) => a.times(*b).map(Value::Length),
        ("+", Value::Each(a), Value::Each(b)) => Some(Value::Each(Rc::new((**a).clone().or((**b).clone())))),
        ("+", Value::Text(a), Value::Text(b)) if a.len() + b.len() <= LONGEST => Some(Value::text(&format!("{a}{b}"))),
        ("+", Value::Sequence(a), Value::Sequence(b)) => {
            Some(Value::sequence(a.iter().chain(b.iter()).cloned().collect()))
        }
        // Something behind a known beginning: not empty where either is not.
        ("+", Value::Sequence(elements), _) | ("+", _, Value::Sequence(elements)) if !elements.is_empty() => {
            Some(Value::Truth(true))
        }
        ("*", Value::Sequence(elements), Value::Int(times)) | ("*", Value::Int(times), Value::Sequence(elements)) => {
            repeat(elements, *times)
        }
        _ => None,
    }
}

fn repeat(elements: &Rc<[Value]>, times: i64) -> Option<Value> {
    let times = usize::try_from(times.max(0)).ok().filter(|times| times.saturating_mul(elements.len()) <= LONGEST)?;
    Some(Value::sequence(std::iter::repeat_n(elements.iter().cloned(), times).flatten().collect()))
}

/// Whether a comparison holds, where that is known.
pub(super) fn compare(operator: &str, left: &Value, right: &Value) -> Option<bool> {
    match operator {
        "is" => is(left, right),
        "is not" => is(left, right).map(|same| !same),
        "==" => left.equals(right),
        "!=" => left.equals(right).map(|equal| !equal),
        "in" => contains(right, left),
        "not in" => contains(right, left).map(|found| !found),
        _ => {
            let (a, b) = (left.number()?, right.number()?);
            match operator {
                "<" => Some(a < b),
                "<=" => Some(a <= b),
                ">" => Some(a > b),
                ">=" => Some(a >= b),
                _ => None,
            }
        }
    }
}

/// Whether both are the same object: of None and of booleans there is one each.
fn is(left: &Value, right: &Value) -> Option<bool> {
    let single = |value: &Value| matches!(value, Value::None | Value::Bool(_));
    match (left, right) {
        (Value::None, other) | (other, Value::None) => other.is_none(),
        (a, b) if single(a) && single(b) => Some(a == b),
        (Value::Bool(a), Value::Truth(b)) | (Value::Truth(b), Value::Bool(a)) if a != b => Some(false),
        _ => None,
    }
}

fn contains(container: &Value, value: &Value) -> Option<bool> {
    match (container, value) {
        (Value::Sequence(elements), value) => {
            let each: Vec<Option<bool>> = elements.iter().map(|element| element.equals(value)).collect();
            if each.contains(&Some(true)) {
                Some(true)
            } else if each.contains(&None) {
                None
            } else {
                Some(false)
            }
        }
        (Value::Mapping(fields), Value::Text(name)) => Some(fields.contains_key(&**name)),
        (Value::Text(text), Value::Text(part)) => Some(text.contains(&**part)),
        _ => None,
    }
}
