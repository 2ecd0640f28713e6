//! Ops on numbers: what a graph with symbolic sizes computes beside its tensors. They run here, once for both engines.

use serde_json::{Value as Json, json};

use super::plan::{Form, Forms};
use t2m_checkpoint::graph::{Argument, Node};

/// What becomes of a node that runs here.
#[derive(Debug, Clone, PartialEq)]
pub enum Here {
    /// It gives this number.
    Number(Json),
    /// It checks something and gives nothing.
    Nothing,
}

/// Ops that only check what was true at the export.
const CHECKS: [&str; 6] = [
    "aten._assert_async.msg",
    "aten._assert_async.default",
    "aten._assert_scalar.default",
    "aten._assert_tensor_metadata.default",
    "aten.sym_constrain_range_for_size.default",
    "aten.sym_constrain_range.default",
];
/// Python's modules whose functions on numbers a graph may have.
const NUMBERS: [&str; 4] = ["_operator.", "math.", "torch.sym_", "builtins."];

/// Whether a node is one that runs here, whatever its values are.
pub fn is_here(node: &Node) -> bool {
    CHECKS.contains(&node.target.as_str())
        || matches!(node.target.as_str(), "aten.sym_size.int" | "aten.sym_numel.default")
        || NUMBERS.iter().any(|prefix| node.target.starts_with(prefix))
}

/// Run a node here, if it is one that is.
pub fn run(node: &Node, forms: Forms<'_>) -> Option<Here> {
    if CHECKS.contains(&node.target.as_str()) {
        return Some(Here::Nothing);
    }
    let form = |at: usize| match &node.arguments.get(at)?.1 {
        Argument::Value(id) => forms(*id),
        Argument::Plain(value) => Some(Form::Number(value.clone())),
        _ => None,
    };
    match node.target.as_str() {
        "aten.sym_size.int" => {
            let (Form::Tensor { shape, .. }, Form::Number(dim)) = (form(0)?, form(1)?) else { return None };
            let dim = dim.as_i64()?;
            let at = if dim < 0 { dim + shape.len() as i64 } else { dim };
            return Some(Here::Number(json!(shape.get(usize::try_from(at).ok()?)?)));
        }
        "aten.sym_numel.default" => {
            let Form::Tensor { shape, .. } = form(0)? else { return None };
            return Some(Here::Number(json!(shape.iter().product::<usize>())));
        }
        _ => {}
    }
    let name = ["_operator.", "math.", "torch.sym_", "builtins."]
        .iter()
        .find_map(|prefix| node.target.strip_prefix(prefix))?;
    let numbers: Option<Vec<Json>> = (0..node.arguments.len())
        .map(|at| match form(at)? {
            Form::Number(number) => Some(number),
            Form::Tensor { .. } => None,
        })
        .collect();
    number(name, &numbers?).map(Here::Number)
}

/// Python's operators on numbers.
fn number(name: &str, given: &[Json]) -> Option<Json> {
    let float = |at: usize| match given.get(at)? {
        Json::Bool(is_so) => Some(f64::from(u8::from(*is_so))),
        number => number.as_f64(),
    };
    if let (Some(a), b) = (given.first()?.as_i64(), given.get(1).and_then(Json::as_i64)) {
        let whole = match (name, b) {
            ("add", Some(b)) => a.checked_add(b),
            ("sub", Some(b)) => a.checked_sub(b),
            ("mul", Some(b)) => a.checked_mul(b),
            ("floordiv", Some(b)) => floor_divided(a, b),
            ("mod", Some(b)) => floor_divided(a, b).and_then(|times| a.checked_sub(times.checked_mul(b)?)),
            ("pow", Some(b)) if b >= 0 => a.checked_pow(u32::try_from(b).ok()?),
            ("neg", None) => a.checked_neg(),
            ("pos" | "int" | "ceil" | "floor" | "trunc", None) => Some(a),
            ("max", Some(b)) => Some(a.max(b)),
            ("min", Some(b)) => Some(a.min(b)),
            _ => None,
        };
        if let Some(whole) = whole {
            return Some(whole.into());
        }
    }
    let a = float(0)?;
    let b = || float(1);
    Some(match name {
        "add" => (a + b()?).into(),
        "sub" => (a - b()?).into(),
        "mul" => (a * b()?).into(),
        "truediv" => (a / b()?).into(),
        "pow" => a.powf(b()?).into(),
        "neg" => (-a).into(),
        "sqrt" => a.sqrt().into(),
        "float" => a.into(),
        "ceil" => (a.ceil() as i64).into(),
        "floor" => (a.floor() as i64).into(),
        "int" | "trunc" => (a.trunc() as i64).into(),
        "floordiv" => (a / b()?).floor().into(),
        "max" => a.max(b()?).into(),
        "min" => a.min(b()?).into(),
        "eq" => (a == b()?).into(),
        "ne" => (a != b()?).into(),
        "lt" => (a < b()?).into(),
        "le" => (a <= b()?).into(),
        "gt" => (a > b()?).into(),
        "ge" => (a >= b()?).into(),
        "and_" => (a != 0.0 && b()? != 0.0).into(),
        "or_" => (a != 0.0 || b()? != 0.0).into(),
        "not" | "not_" => (a == 0.0).into(),
        _ => return None,
    })
}

/// `a // b` as Python rounds it; `None` for a division by zero.
fn floor_divided(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_pythons() {
        let cases = [
            ("floordiv", vec![json!(-7), json!(2)], Some(json!(-4))),
            ("mod", vec![json!(-7), json!(2)], Some(json!(1))),
            ("mul", vec![json!(3), json!(4)], Some(json!(12))),
            ("mul", vec![json!(i64::MAX), json!(2)], Some(json!(i64::MAX as f64 * 2.0))),
            ("truediv", vec![json!(7), json!(2)], Some(json!(3.5))),
            ("floordiv", vec![json!(1), json!(0)], Some(Json::Null)),
            ("lt", vec![json!(1), json!(2)], Some(json!(true))),
            ("no_such", vec![json!(1)], None),
        ];
        for (name, given, expected) in cases {
            assert_eq!(number(name, &given), expected, "{name} {given:?}");
        }
    }
}
