//! How many terms a node adds up for one element of its result, from its arguments and the shape of what it takes.

use serde_json::Value as Json;

use super::plan::{Form, Forms};
use t2m_checkpoint::TensorData;
use t2m_checkpoint::graph::{Argument, Node};

/// Terms of a sum, a mean, a norm or a pool over axes, windows or groups that the node's arguments name; `None` where they name none.
pub(super) fn reduced(node: &Node, forms: Forms<'_>) -> Option<usize> {
    let shape = node.arguments.iter().find_map(|(_, argument)| match argument {
        Argument::Value(id) => match forms(*id)? {
            Form::Tensor { shape, .. } => Some(shape),
            Form::Number(_) => None,
        },
        _ => None,
    })?;
    let elements: usize = shape.iter().product();
    let name = node.target.split('.').nth(1).unwrap_or_default();
    if name.ends_with("group_norm") {
        let groups = number(node, "num_groups").or_else(|| number(node, "group"))?;
        return Some(elements / (shape.first()? * groups).max(1));
    }
    if name.ends_with("instance_norm") {
        return Some(shape.get(2..)?.iter().product());
    }
    for lengths in ["normalized_shape", "kernel_size"] {
        if let Some(numbers) = numbers(node, lengths) {
            // One number of a window is for all its axes.
            let axes = if lengths == "kernel_size" && numbers.len() == 1 { window(name) } else { 1 };
            return Some(numbers.iter().map(|number| *number as usize).product::<usize>().pow(axes));
        }
    }
    if name.contains("adaptive_avg_pool") {
        let outputs = numbers(node, "output_size")?;
        let axes = shape.get(shape.len().checked_sub(outputs.len())?..)?;
        return Some(axes.iter().zip(outputs).map(|(size, out)| size.div_ceil(out.max(1) as usize)).product());
    }
    if !REDUCTIONS.contains(&name) {
        return None;
    }
    let axes = numbers(node, "dim").unwrap_or_default();
    if axes.is_empty() {
        return Some(elements);
    }
    let size = |axis: &i64| {
        let axis = if *axis < 0 { axis + shape.len() as i64 } else { *axis };
        shape.get(usize::try_from(axis).ok()?).copied()
    };
    axes.iter().map(size).product()
}

/// The terms of a norm whose input lies far from zero. MLX rounds the mean, and the norm divides what it is off by the deviation:
/// of a mean of κ deviations the rounding is κ times that of the elements, as if there were 1 + κ² times as many. A negative eps takes
/// of the variance, and what is left has the whole one's rounding. `None` where the node is no such norm; its rows lie one after the
/// other in memory.
pub(super) fn shifted(node: &Node, input: &TensorData, terms: usize) -> Option<usize> {
    let name = node.target.split('.').nth(1).unwrap_or_default();
    if !["layer_norm", "group_norm", "instance_norm"].iter().any(|norm| name.ends_with(norm)) || terms < 2 {
        return None;
    }
    let values = input.to_f64()?;
    let eps = match node.argument("eps") {
        Some(Argument::Plain(value)) => value.as_f64().map_or(0.0, |eps| eps.min(0.0)),
        _ => 0.0,
    };
    let far = values.chunks_exact(terms).map(|row| {
        let mean = row.iter().sum::<f64>() / terms as f64;
        let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / terms as f64;
        let left = variance + eps;
        // Of less than nothing there is no root: both engines say NaN.
        if left < 0.0 { 0.0 } else { mean * mean / left.max(f64::MIN_POSITIVE) + (variance / left).powi(2) - 1.0 }
    });
    let farthest = far.filter(|far| far.is_finite()).fold(0.0, f64::max);
    Some((terms as f64 * (1.0 + farthest)).min(MOST_TERMS) as usize)
}

/// Beyond this a norm of float32 says nothing more: its rounding is as large as its result.
pub(super) const MOST_TERMS: f64 = 1e12;

/// Ops that add up along the axes `dim`, or all.
const REDUCTIONS: [&str; 17] = [
    "sum",
    "mean",
    "prod",
    "var",
    "std",
    "var_mean",
    "std_mean",
    "norm",
    "linalg_vector_norm",
    "softmax",
    "_softmax",
    "log_softmax",
    "_log_softmax",
    "logsumexp",
    "cumsum",
    "nansum",
    "nanmean",
];

/// Axes of a pool's window, by its name.
fn window(name: &str) -> u32 {
    name.chars().rev().find_map(|letter| (letter != 'd').then(|| letter.to_digit(10)).flatten()).unwrap_or(1)
}

pub(super) fn number(node: &Node, name: &str) -> Option<usize> {
    match node.argument(name)? {
        Argument::Plain(value) => value.as_u64().map(|number| number as usize),
        _ => None,
    }
}

/// A number, or a list of them.
pub(super) fn numbers(node: &Node, name: &str) -> Option<Vec<i64>> {
    match node.argument(name)? {
        Argument::Plain(Json::Array(items)) => items.iter().map(Json::as_i64).collect(),
        Argument::Plain(value) => value.as_i64().map(|number| vec![number]),
        Argument::List(items) => items
            .iter()
            .map(|item| match item {
                Argument::Plain(value) => value.as_i64(),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use t2m_checkpoint::Dtype;
    use t2m_checkpoint::graph::ValueId;

    fn terms(target: &str, arguments: &[(&str, Json)]) -> Option<usize> {
        let plain = arguments.iter().map(|(name, value)| ((*name).to_owned(), Argument::Plain(value.clone())));
        let node = Node {
            name: String::new(),
            target: target.to_owned(),
            arguments: [("self".to_owned(), Argument::Value(ValueId(0)))].into_iter().chain(plain).collect(),
            outputs: Vec::new(),
            module: "".into(),
            place: None,
        };
        reduced(&node, &|_| Some(Form::Tensor { dtype: Dtype::Float32, shape: vec![2, 12, 5, 7] }))
    }

    #[test]
    fn a_norm_of_what_lies_far_from_zero_rounds_more() {
        let node = |target: &str| Node {
            name: String::new(),
            target: target.to_owned(),
            arguments: Vec::new(),
            outputs: Vec::new(),
            module: "".into(),
            place: None,
        };
        // Rows of mean 0 and 30, both of deviation 1.
        let input = TensorData::from_f32(&[2, 4], &[-1.0, 1.0, -1.0, 1.0, 29.0, 31.0, 29.0, 31.0]);
        assert_eq!(shifted(&node("aten.layer_norm.default"), &input, 4), Some(4 * 901));
        assert_eq!(shifted(&node("aten.rms_norm.default"), &input, 4), None, "it takes no mean");
        assert_eq!(shifted(&node("aten.softmax.int"), &input, 4), None);
        // Of a variance of 1 a tenth is left.
        let mut less = node("aten.layer_norm.default");
        less.arguments.push(("eps".to_owned(), Argument::Plain(json!(-0.9))));
        let near = TensorData::from_f32(&[1, 4], &[-1.0, 1.0, -1.0, 1.0]);
        assert_eq!(shifted(&less, &near, 4).map(|terms| terms.div_ceil(10)), Some(40));
        let flat = TensorData::from_f32(&[1, 2], &[3.0, 3.0]);
        assert!(shifted(&node("aten.layer_norm.default"), &flat, 2).is_some_and(|terms| terms >= 2));
    }

    #[test]
    fn terms_follow_from_the_arguments() {
        let cases = [
            ("aten.group_norm.default", vec![("num_groups", json!(3))], Some(4 * 35)),
            ("aten.native_group_norm.default", vec![("group", json!(1))], Some(12 * 35)),
            ("aten.instance_norm.default", vec![], Some(35)),
            ("aten.layer_norm.default", vec![("normalized_shape", json!([5, 7]))], Some(35)),
            ("aten.mean.dim", vec![("dim", json!([-1, 2]))], Some(35)),
            ("aten.mean.default", vec![], Some(840)),
            ("aten.softmax.int", vec![("dim", json!(1))], Some(12)),
            ("aten.avg_pool2d.default", vec![("kernel_size", json!([3]))], Some(9)),
            ("aten.avg_pool2d.default", vec![("kernel_size", json!([3, 2]))], Some(6)),
            ("aten.adaptive_avg_pool2d.default", vec![("output_size", json!([1, 3]))], Some(5 * 3)),
            ("aten.add.Tensor", vec![], None),
            ("aten.cat.default", vec![("dim", json!(1))], None),
        ];
        for (target, arguments, wanted) in cases {
            assert_eq!(terms(target, &arguments), wanted, "{target} {arguments:?}");
        }
    }
}
