//! Expressions over a configuration, as `assets/architectures/expressions.py` finds and describes them.

use serde_json::{Map, Value};

/// A configuration, nested as its file is.
#[derive(Debug, Clone, Copy)]
pub struct Env<'a> {
    /// Its keys.
    pub config: &'a Map<String, Value>,
}

impl<'a> Env<'a> {
    /// The value under a key; dots lead into nested configurations.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        let mut parts = key.split('.');
        let first = self.config.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.as_object()?.get(part))
    }
}

/// Items of the longest list that is made.
const LONGEST: i64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Whole(i64),
    Real(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Number> {
        let number = value.as_number()?;
        number.as_i64().map(Number::Whole).or_else(|| number.as_f64().map(Number::Real))
    }

    fn real(self) -> f64 {
        match self {
            Number::Whole(number) => number as f64,
            Number::Real(number) => number,
        }
    }

    fn value(self) -> Option<Value> {
        match self {
            Number::Whole(number) => Some(Value::from(number)),
            Number::Real(number) => Some(Value::Number(serde_json::Number::from_f64(number)?)),
        }
    }
}

/// The value of an expression for a configuration; `index` are the numbers of the repetitions around it, the innermost last.
/// `None` where it has none.
pub fn evaluate(expression: &Value, env: Env<'_>, index: &[i64]) -> Option<Value> {
    let (function, arguments) = match expression {
        Value::String(key) => return env.get(key).cloned(),
        Value::Array(call) => call.split_first()?,
        other => return Some(other.clone()),
    };
    let number = |at: usize| Number::of(&evaluate(arguments.get(at)?, env, index)?);
    let value = |at: usize| evaluate(arguments.get(at)?, env, index);
    match function.as_str()? {
        "=" => arguments.first().cloned(),
        "i" => {
            let above = arguments.first()?.as_u64()? as usize;
            Some(Value::from(*index.get(index.len().checked_sub(above + 1)?)?))
        }
        "if" => value(if is_true(&value(0)?) { 1 } else { 2 }),
        "of" => {
            let given = value(0)?;
            let rows = arguments.get(1)?.as_array()?;
            rows.iter().find(|row| row.get(0).is_some_and(|key| same(key, &given)))?.get(1).cloned()
        }
        "each" => {
            let count = value(0)?.as_i64().filter(|count| (0..=LONGEST).contains(count))?;
            let item = arguments.get(1)?;
            let inside = |number: i64| [index, &[number]].concat();
            (0..count)
                .map(|number| evaluate(item, env, &inside(number)))
                .collect::<Option<Vec<Value>>>()
                .map(Value::from)
        }
        "list" => (0..arguments.len()).map(value).collect::<Option<Vec<Value>>>().map(Value::from),
        "len" => Some(Value::from(value(0)?.as_array()?.len())),
        "at" => {
            let list = value(0)?;
            let (list, at) = (list.as_array()?, value(1)?.as_i64()?);
            let at = if at < 0 { at.checked_add(i64::try_from(list.len()).ok()?)? } else { at };
            list.get(usize::try_from(at).ok()?).cloned()
        }
        "true" => Some(Value::from(is_true(&value(0)?))),
        "not" => Some(Value::from(!is_true(&value(0)?))),
        "null" => Some(Value::from(value(0)?.is_null())),
        "==" => Some(Value::from(same(&value(0)?, &value(1)?))),
        "<" => Some(Value::from(number(0)?.real() < number(1)?.real())),
        "in" => {
            let (item, list) = (value(0)?, value(1)?);
            Some(Value::from(list.as_array()?.iter().any(|other| same(other, &item))))
        }
        function => arithmetic(function, number(0)?, number(1)?)?.value(),
    }
}

/// As Python takes a value for a condition.
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(_) => Number::of(value).is_some_and(|number| number.real() != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
    }
}

/// Equal as Python has it: 1 is 1.0.
fn same(a: &Value, b: &Value) -> bool {
    match (Number::of(a), Number::of(b)) {
        (Some(a), Some(b)) => a.real() == b.real(),
        _ => a == b,
    }
}

fn arithmetic(function: &str, a: Number, b: Number) -> Option<Number> {
    use Number::{Real, Whole};
    let less = a.real() < b.real();
    Some(match (function, a, b) {
        ("min", ..) => {
            if less {
                a
            } else {
                b
            }
        }
        ("max", ..) => {
            if less {
                b
            } else {
                a
            }
        }
        ("+", Whole(a), Whole(b)) => Whole(a.checked_add(b)?),
        ("-", Whole(a), Whole(b)) => Whole(a.checked_sub(b)?),
        ("*", Whole(a), Whole(b)) => Whole(a.checked_mul(b)?),
        // Python rounds down, and a remainder has the divisor's sign.
        ("//", Whole(a), Whole(b)) => {
            let rest = a.checked_rem(b)?;
            Whole(a.checked_div(b)? - i64::from(rest != 0 && (rest < 0) != (b < 0)))
        }
        ("%", Whole(a), Whole(b)) => {
            let rest = a.checked_rem(b)?;
            Whole(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }
        ("^", Whole(a), Whole(b)) if b >= 0 => Whole(a.checked_pow(u32::try_from(b).ok()?)?),
        ("+", ..) => Real(a.real() + b.real()),
        ("-", ..) => Real(a.real() - b.real()),
        ("*", ..) => Real(a.real() * b.real()),
        ("/", ..) => Real(a.real() / b.real()),
        ("//", ..) => Real((a.real() / b.real()).floor()),
        ("%", ..) => Real(a.real() - b.real() * (a.real() / b.real()).floor()),
        ("^", ..) => Real(a.real().powf(b.real())),
        ("int*", ..) => {
            let product = a.real() * b.real();
            Whole(if product.abs() < 1e15 { product as i64 } else { return None })
        }
        _ => return None,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_are_what_python_makes_of_them() {
        let config = json!({"n": 7, "h": 64, "f": 0.5, "x": null, "on": true, "act": "silu", "part": {"n": 3},
            "list": [1, 2, 4]});
        let env = Env { config: config.as_object().unwrap() };
        let of = |expression: Value| evaluate(&expression, env, &[5, 2]);
        for (expression, wanted) in [
            (json!("part.n"), json!(3)),
            (json!(["=", "n"]), json!("n")),
            (json!(["//", -7, 2]), json!(-4)),
            (json!(["%", -7, 4]), json!(1)),
            (json!(["^", "h", -0.5]), json!(0.125)),
            (json!(["^", 2, ["i", 0]]), json!(4)),
            (json!(["i", 1]), json!(5)),
            (json!(["/", "h", 2]), json!(32.0)),
            (json!(["int*", "n", "f"]), json!(3)),
            (json!(["at", "list", ["i", 0]]), json!(4)),
            (json!(["at", "list", -1]), json!(4)),
            (json!(["if", ["null", "x"], ["*", "n", 4], "x"]), json!(28)),
            (json!(["of", "act", [["gelu", 1], ["silu", 2]]]), json!(2)),
            (json!(["each", "part.n", ["<", ["i", 0], 1]]), json!([true, false, false])),
            (json!(["list", "n", ["len", "list"]]), json!([7, 3])),
            (json!(["in", 2, "list"]), json!(true)),
            (json!(["==", "n", 7.0]), json!(true)),
            (json!(["not", "on"]), json!(false)),
        ] {
            assert_eq!(of(expression.clone()), Some(wanted), "{expression}");
        }
        // What has no value is not known, and nothing overflows or runs away.
        for expression in [
            json!("absent"),
            json!(["//", "n", 0]),
            json!(["%", "n", 0]),
            json!(["/", "n", 0]),
            json!(["*", i64::MAX, "h"]),
            json!(["//", i64::MIN, -1]),
            json!(["^", "h", 1000]),
            json!(["at", "list", 3]),
            json!(["i", 2]),
            json!(["+", "act", 1]),
            json!(["of", "n", [[1, 2]]]),
            json!(["each", 1e12, 1]),
            json!(["each", 1_000_000_000, 1]),
            json!(["?"]),
            json!([]),
        ] {
            assert_eq!(of(expression.clone()), None, "{expression}");
        }
    }
}
