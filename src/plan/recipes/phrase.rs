//! Phrases that several programs use: a slice along one axis, padding in any mode, a layer in the middle of ops.

use serde_json::{Map, Value, json};

use t2m_engine::program::{MlxLayer, MlxOp, Operand};
use t2m_engine::{ModuleSpec, Program};

/// Part of an axis: from `start` on, up to `stop`, every `stride`-th.
pub(super) fn slice(
    p: &mut Program,
    x: &str,
    axis: usize,
    start: Option<i64>,
    stop: Option<i64>,
    stride: i64,
) -> String {
    slices(p, x, axis, &[(start, stop, stride)])
}

/// Parts of neighbouring axes from `first` on.
pub(super) fn slices(p: &mut Program, x: &str, first: usize, parts: &[(Option<i64>, Option<i64>, i64)]) -> String {
    let whole = vec![Value::Null; first];
    let starts: Vec<Value> = whole.iter().cloned().chain(parts.iter().map(|part| json!(part.0))).collect();
    let stops: Vec<Value> = whole.iter().cloned().chain(parts.iter().map(|part| json!(part.1))).collect();
    let strides: Vec<Value> = whole.iter().cloned().chain(parts.iter().map(|part| json!(part.2))).collect();
    p.call(MlxOp::Slice, [x.into()], [("starts", starts.into()), ("stops", stops.into()), ("strides", strides.into())])
}

/// Element `index` of the first axis, without the axis.
pub(super) fn at(p: &mut Program, x: &str, index: usize) -> String {
    p.call(MlxOp::Index, [x.into()], [("at", json!(index))])
}

/// Elements along an axis by number.
pub(super) fn take(p: &mut Program, x: &str, axis: usize, indices: impl IntoIterator<Item = i64>) -> String {
    p.call(MlxOp::Take, [x.into(), Operand::indices(indices)], [("axis", json!(axis))])
}

/// Several variables joined along an axis; a single one is returned as it is.
pub(super) fn concatenate(p: &mut Program, mut parts: Vec<String>, axis: i64) -> String {
    match (parts.len(), parts.pop()) {
        (1, Some(single)) => single,
        (_, last) => {
            let all = parts.into_iter().chain(last).map(Operand::from).collect::<Vec<_>>();
            p.call(MlxOp::Concatenate, [all.into()], [("axis", json!(axis))])
        }
    }
}

/// Several variables stacked along a new axis.
pub(super) fn stack(p: &mut Program, parts: Vec<String>, axis: i64) -> String {
    let all = parts.into_iter().map(Operand::from).collect::<Vec<_>>();
    p.call(MlxOp::Stack, [all.into()], [("axis", json!(axis))])
}

/// Call a function of two operands.
pub(super) fn binary(p: &mut Program, op: MlxOp, a: impl Into<Operand>, b: impl Into<Operand>) -> String {
    p.call(op, [a.into(), b.into()], [])
}

/// Call a function of one operand.
pub(super) fn unary(p: &mut Program, op: MlxOp, x: &str) -> String {
    p.call(op, [x.into()], [])
}

pub(super) fn add(p: &mut Program, a: impl Into<Operand>, b: impl Into<Operand>) -> String {
    binary(p, MlxOp::Add, a, b)
}

pub(super) fn multiply(p: &mut Program, a: impl Into<Operand>, b: impl Into<Operand>) -> String {
    binary(p, MlxOp::Multiply, a, b)
}

pub(super) fn reshape(p: &mut Program, x: &str, shape: &[i64]) -> String {
    p.call(MlxOp::Reshape, [x.into()], [("shape", json!(shape))])
}

pub(super) fn transpose(p: &mut Program, x: &str, axes: &[usize]) -> String {
    p.call(MlxOp::Transpose, [x.into()], [("axes", json!(axes))])
}

/// Sum, mean, maximum over some axes.
pub(super) fn reduce(p: &mut Program, op: MlxOp, x: &str, axes: &[i64], keepdims: bool) -> String {
    let axes = if let [axis] = axes { json!(axis) } else { json!(axes) };
    if keepdims {
        p.call(op, [x.into()], [("axis", axes), ("keepdims", json!(true))])
    } else {
        p.call(op, [x.into()], [("axis", axes)])
    }
}

/// Declare a layer under an attribute.
pub(super) fn layer(p: &mut Program, attribute: &str, kind: MlxLayer, args: Map<String, Value>) {
    p.layers.insert(attribute.to_owned(), ModuleSpec { kind: kind.name().to_owned(), args, ..ModuleSpec::default() });
}

/// Call a declared layer; the one without a name is `self`.
pub(super) fn run(p: &mut Program, attribute: &str, x: &str) -> String {
    p.run(attribute, [x.into()])
}

/// An object's entries.
pub(super) fn entries<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// How the places around an input are filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Around {
    Constant(f64),
    Reflect,
    Edge,
    Circular,
}

impl Around {
    /// torch's `padding_mode`.
    pub fn named(mode: &str) -> Option<Around> {
        match mode {
            "zeros" => Some(Around::Constant(0.0)),
            "reflect" => Some(Around::Reflect),
            "replicate" => Some(Around::Edge),
            "circular" => Some(Around::Circular),
            _ => None,
        }
    }
}

/// Pad each axis before and after; a negative number cuts off, which `mx.pad` cannot do.
pub(super) fn pad(p: &mut Program, x: &str, widths: &[(i64, i64)], around: Around) -> String {
    let mut x = x.to_owned();
    if widths.iter().any(|&(low, high)| low < 0 || high < 0) {
        let cut = |width: i64| (width < 0).then_some(width);
        let parts: Vec<_> = widths.iter().map(|&(low, high)| (cut(low).map(|low| -low), cut(high), 1)).collect();
        x = slices(p, &x, 0, &parts);
    }
    let widths: Vec<(i64, i64)> = widths.iter().map(|&(low, high)| (low.max(0), high.max(0))).collect();
    if widths.iter().all(|&both| both == (0, 0)) {
        return x;
    }
    let pairs = json!(widths.iter().map(|&(low, high)| [low, high]).collect::<Vec<_>>());
    match around {
        Around::Constant(0.0) => p.call(MlxOp::Pad, [x.into()], [("pad_width", pairs)]),
        Around::Constant(value) => {
            let value = if value == f64::NEG_INFINITY { json!("-mx.inf") } else { json!(value) };
            p.call(MlxOp::Pad, [x.into()], [("pad_width", pairs), ("constant_values", value)])
        }
        Around::Reflect => p.call(MlxOp::Pad, [x.into()], [("pad_width", pairs), ("mode", json!("reflect"))]),
        Around::Edge => p.call(MlxOp::Pad, [x.into()], [("pad_width", pairs), ("mode", json!("edge"))]),
        Around::Circular => {
            for (axis, &(low, high)) in widths.iter().enumerate().filter(|(_, both)| **both != (0, 0)) {
                let mut parts = Vec::new();
                if low > 0 {
                    parts.push(slice(p, &x, axis, Some(-low), None, 1));
                }
                parts.push(x.clone());
                if high > 0 {
                    parts.push(slice(p, &x, axis, None, Some(high), 1));
                }
                x = concatenate(p, parts, axis as i64);
            }
            x
        }
    }
}
