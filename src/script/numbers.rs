//! Arithmetic on numbers that are known, as Python and torch do it.

use super::value::Number;

/// The result of an op on numbers; `None` for one that there is not, or that has none.
pub(super) fn number(op: &str, given: &[Number], rounding: Option<&str>) -> Option<Number> {
    let a = *given.first()?;
    let b = given.get(1).copied();
    if let Some(truth) = truth(op, a, b) {
        return Some(Number::Bool(truth));
    }
    let whole = |number: Number| match number {
        Number::Int(whole) => Some(whole),
        Number::Bool(is_so) => Some(i64::from(is_so)),
        Number::Float(_) => None,
    };
    if let Some(a) = whole(a)
        && b.is_none_or(|b| whole(b).is_some())
        && let Some(result) = integer(op, a, b.and_then(whole), rounding)
    {
        return Some(Number::Int(result));
    }
    let divides = matches!(op, "floordiv" | "floor_divide" | "remainder" | "mod" | "fmod");
    if divides && b.is_some_and(|b| b.float() == 0.0) {
        return None;
    }
    let float = a.float();
    let other = || b.map(Number::float);
    let result = match op {
        "add" => float + other()?,
        "sub" => float - other()?,
        "rsub" => other()? - float,
        "mul" => float * other()?,
        "div" | "true_divide" => match rounding {
            None => float / other()?,
            Some("floor") => (float / other()?).floor(),
            Some("trunc") => (float / other()?).trunc(),
            Some(_) => return None,
        },
        "floordiv" | "floor_divide" => (float / other()?).floor(),
        "remainder" | "mod" => float - (float / other()?).floor() * other()?,
        "fmod" => float % other()?,
        "pow" => float.powf(other()?),
        "neg" => -float,
        "reciprocal" => 1.0 / float,
        "abs" => float.abs(),
        "sqrt" => float.sqrt(),
        "exp" => float.exp(),
        "log" => float.ln(),
        "log2" => float.log2(),
        "log10" => float.log10(),
        "sin" => float.sin(),
        "cos" => float.cos(),
        "tanh" => float.tanh(),
        "max" | "maximum" => float.max(other()?),
        "min" | "minimum" => float.min(other()?),
        // Python's floor and ceil give whole numbers; those of tensors are taken for sizes, which `int` makes of them anyway.
        "floor" => return Some(Number::Int(rounded(float.floor())?)),
        "ceil" => return Some(Number::Int(rounded(float.ceil())?)),
        "trunc" => return Some(Number::Int(rounded(float.trunc())?)),
        "round" => return Some(Number::Int(rounded(float.round_ties_even())?)),
        _ => return None,
    };
    Some(Number::Float(result))
}

/// A whole number of floating point, where an integer can hold it.
pub(super) fn rounded(number: f64) -> Option<i64> {
    (number.abs() < 9.0e18).then_some(number as i64)
}

fn truth(op: &str, a: Number, b: Option<Number>) -> Option<bool> {
    let (x, y) = (a.float(), b.map(Number::float));
    Some(match op {
        "eq" => x == y?,
        "ne" => x != y?,
        "lt" => x < y?,
        "le" => x <= y?,
        "gt" => x > y?,
        "ge" => x >= y?,
        "__not__" | "logical_not" => !a.holds(),
        "__and__" | "__or__" | "__xor__" => {
            let (Number::Bool(a), Some(Number::Bool(b))) = (a, b) else { return None };
            match op {
                "__and__" => a && b,
                "__or__" => a || b,
                _ => a != b,
            }
        }
        _ => return None,
    })
}

fn integer(op: &str, a: i64, b: Option<i64>, rounding: Option<&str>) -> Option<i64> {
    Some(match (op, b) {
        ("add", Some(b)) => a.checked_add(b)?,
        ("sub", Some(b)) => a.checked_sub(b)?,
        ("rsub", Some(b)) => b.checked_sub(a)?,
        ("mul", Some(b)) => a.checked_mul(b)?,
        ("floordiv" | "floor_divide", Some(b)) => floor_divided(a, b)?,
        ("div", Some(b)) => match rounding? {
            "floor" => floor_divided(a, b)?,
            "trunc" => a.checked_div(b)?,
            _ => return None,
        },
        ("remainder" | "mod", Some(b)) => a.checked_sub(floor_divided(a, b)?.checked_mul(b)?)?,
        ("pow", Some(b)) if b >= 0 => a.checked_pow(u32::try_from(b).ok()?)?,
        ("max" | "maximum", Some(b)) => a.max(b),
        ("min" | "minimum", Some(b)) => a.min(b),
        ("__and__", Some(b)) => a & b,
        ("__or__", Some(b)) => a | b,
        ("__xor__", Some(b)) => a ^ b,
        ("__lshift__", Some(b)) => a.checked_shl(u32::try_from(b).ok()?)?,
        ("__rshift__", Some(b)) => a.checked_shr(u32::try_from(b).ok()?)?,
        ("neg", None) => a.checked_neg()?,
        ("abs", None) => a.checked_abs()?,
        ("floor" | "ceil" | "trunc" | "round", None) => a,
        _ => return None,
    })
}

/// `a // b` as Python rounds it; `None` for a division by zero.
fn floor_divided(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    if a.checked_rem(b)? != 0 && (a < 0) != (b < 0) { quotient.checked_sub(1) } else { Some(quotient) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_pythons() {
        use Number::{Bool, Float, Int};
        let cases = [
            ("floordiv", vec![Int(-7), Int(2)], None, Some(Int(-4))),
            ("floor_divide", vec![Int(7), Int(2)], None, Some(Int(3))),
            ("div", vec![Int(-7), Int(2)], Some("trunc"), Some(Int(-3))),
            ("div", vec![Int(7), Int(2)], None, Some(Float(3.5))),
            ("remainder", vec![Int(-7), Int(2)], None, Some(Int(1))),
            ("remainder", vec![Float(5.5), Int(2)], None, Some(Float(1.5))),
            ("floordiv", vec![Int(1), Int(0)], None, None),
            ("floordiv", vec![Int(i64::MIN), Int(-1)], None, Some(Float(2f64.powi(63)))),
            ("ceil", vec![Float(2.5)], None, Some(Int(3))),
            ("ceil", vec![Float(1e300)], None, None),
            ("gt", vec![Float(2.5), Int(2)], None, Some(Bool(true))),
            ("__and__", vec![Bool(true), Bool(false)], None, Some(Bool(false))),
            ("__not__", vec![Bool(false)], None, Some(Bool(true))),
            ("no_such", vec![Int(1)], None, None),
        ];
        for (op, given, rounding, expected) in cases {
            assert_eq!(number(op, &given, rounding), expected, "{op} {given:?}");
        }
    }
}
