//! What a layer says of itself that is not one argument's value.

use serde_json::{Map, Value, json};

use super::super::literal::Call;
use super::{bound, stem};

/// What is not one argument's value.
pub(super) fn adjust<'s>(
    found: &mut Map<String, Value>,
    name: &str,
    calls: &[Call],
    shape: &dyn Fn(&str) -> Option<&'s [u64]>,
) {
    match name {
        "conv.Conv" | "conv.ConvTranspose" => {
            // With another padding mode the layer pads first and convolves without padding.
            match calls.iter().find(|call| call.op.contains("pad")) {
                Some(pad) => padded(found, pad, shape("weight")),
                None => {
                    found.insert("padding_mode".to_owned(), Value::from("zeros"));
                }
            }
            let groups = found.get("groups").and_then(Value::as_u64);
            let (other, attribute) = if name == "conv.Conv" { (1, "in_channels") } else { (1, "out_channels") };
            if let Some(shape) = shape("weight") {
                let size = shape.get(other).zip(groups).and_then(|(size, groups)| size.checked_mul(groups));
                if let Some(size) = size {
                    found.insert(attribute.to_owned(), Value::from(size));
                }
                found.insert("kernel_size".to_owned(), json!(shape.get(2..).unwrap_or_default()));
            }
        }
        // The op says -1 where the layer says None; a layer's own index is never negative.
        "sparse.Embedding" | "sparse.EmbeddingBag"
            if found.get("padding_idx").and_then(Value::as_i64).is_some_and(|index| index < 0) =>
        {
            found.insert("padding_idx".to_owned(), Value::Null);
        }
        // The op gets 0 where the layer has None, a cumulative average.
        "batchnorm.BatchNorm" if found.get("momentum").and_then(Value::as_f64) == Some(0.0) => {
            found.remove("momentum");
        }
        // No stride means the kernel's size.
        "pooling.MaxPool" | "pooling.AvgPool" | "pooling.LPPool" if found.get("stride") == Some(&json!([])) => {
            match found.get("kernel_size").cloned() {
                Some(kernel) => found.insert("stride".to_owned(), kernel),
                None => found.remove("stride"),
            };
        }
        _ => {}
    }
    if matches!(name, "pooling.LPPool" | "normalization.LocalResponseNorm") {
        by_parts(found, name, calls);
    }
}

/// The mode and the widths of what a convolution pads with before it convolves.
fn padded(found: &mut Map<String, Value>, pad: &Call, weight: Option<&[u64]>) {
    found.remove("padding");
    let mode = bound(pad, "mode").flatten().filter(|mode| mode != "constant");
    let widths = bound(pad, "pad")
        .flatten()
        .and_then(|widths| widths.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>());
    let (Some(mode), Some(widths)) = (mode, widths) else { return };
    let sides: Vec<(u64, u64)> =
        widths.chunks_exact(2).rev().filter_map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect();
    let dilation: Vec<u64> =
        found.get("dilation").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_u64).collect();
    let kernel = weight.and_then(|weight| weight.get(2..)).unwrap_or_default();
    let same = |at: usize, side: &(u64, u64)| {
        let (dilation, kernel) = (dilation.get(at).copied().unwrap_or(1), kernel.get(at).copied().unwrap_or(0));
        side.0 + side.1 == dilation * kernel.saturating_sub(1)
    };
    if sides.len() != kernel.len() {
        return;
    }
    if sides.iter().all(|(left, right)| left == right) {
        let left: Vec<u64> = sides.iter().map(|(left, _)| *left).collect();
        found.insert("padding".to_owned(), json!(left));
    } else if sides.iter().enumerate().all(|(at, side)| same(at, side)) {
        found.insert("padding".to_owned(), Value::from("same"));
    } else {
        return;
    }
    found.insert("padding_mode".to_owned(), mode);
}

/// What the op itself says, beside its arguments.
pub(super) fn layer(found: &mut Map<String, Value>, name: &str, first: &Call, dimensions: Option<usize>) {
    match name {
        // Other ops of such pools give the places as well; whether they are asked for, only the graph tells.
        "pooling.MaxPool" if first.second == Some(false) => {
            found.insert("return_indices".to_owned(), Value::Bool(false));
        }
        "pooling.AdaptiveMaxPool" => {
            if let Some(used) = first.second {
                found.insert("return_indices".to_owned(), Value::Bool(used));
            }
        }
        "sparse.EmbeddingBag" => {
            let mode = bound(first, "mode").flatten().and_then(|mode| mode.as_u64());
            let mode = mode.and_then(|mode| ["sum", "mean", "max"].get(usize::try_from(mode).ok()?).copied());
            found.extend(mode.map(|mode| ("mode".to_owned(), Value::from(mode))));
        }
        "padding.ConstantPad" => {
            let value = bound(first, "value").flatten();
            let value = value.map(|value| if value.is_null() { json!(0.0) } else { value });
            found.extend(value.map(|value| ("value".to_owned(), value)));
        }
        "upsampling.Upsample" | "upsampling.UpsamplingNearest" | "upsampling.UpsamplingBilinear" => {
            resized(found, first)
        }
        _ => {}
    }
    // A circular pad of one kind may not be taken for another's.
    if name.starts_with("padding.") && dimensions.is_none() {
        found.remove("padding");
    }
}

/// Sizes or scales: one of them is None.
fn resized(found: &mut Map<String, Value>, call: &Call) {
    let argument = |name: &str, at: usize| {
        let named = call.args.iter().find(|argument| argument.name.as_deref() == Some(name));
        let placed = || call.args.get(at).filter(|argument| argument.name.is_none());
        named.or_else(placed).and_then(|argument| argument.value.clone())
    };
    let nearest = stem(&call.op).contains("nearest");
    let mut tell = |name: &str, value: Value| found.insert(name.to_owned(), value);
    match (argument("output_size", 1), argument("scale_factors", if nearest { 2 } else { 3 })) {
        (Some(size @ Value::Array(_)), _) => {
            tell("size", size);
            tell("scale_factor", Value::Null);
        }
        (None | Some(Value::Null), Some(factors @ Value::Array(_))) => {
            tell("size", Value::Null);
            tell("scale_factor", factors);
        }
        _ => return,
    }
    match (nearest, argument("align_corners", 2)) {
        (true, _) => tell("align_corners", Value::Null),
        (false, Some(align)) => tell("align_corners", align),
        (false, None) => None,
    };
}

/// The number that an op is given beside a tensor, at the first that has one.
fn given(calls: &[Call], op: &str, argument: &str) -> Option<Value> {
    calls.iter().filter(|call| call.op == op).find_map(|call| bound(call, argument).flatten().filter(Value::is_number))
}

/// Norms and pools that torch composes of a mean over windows and arithmetic.
fn by_parts(found: &mut Map<String, Value>, name: &str, calls: &[Call]) {
    if name == "pooling.LPPool" {
        // The root is a power as well. Calls of a graph stand in the order that they run; in a text the outer one is first.
        let powers: Vec<&Call> = calls.iter().filter(|call| call.op == "pow").collect();
        let first = powers.first().filter(|call| call.args.iter().all(|argument| argument.name.is_some()));
        let power = first.and_then(|call| bound(call, "exponent").flatten());
        found.extend(power.map(|power| ("norm_type".to_owned(), power)));
        return;
    }
    let pool = calls.iter().find(|call| stem(&call.op) == "avg_pool");
    let window = pool.and_then(|pool| bound(pool, "kernel_size").flatten());
    let size = window.and_then(|window| window.as_array()?.first().cloned());
    let all = [
        ("size", size),
        ("alpha", given(calls, "mul", "other")),
        ("k", given(calls, "add", "other")),
        ("beta", given(calls, "pow", "exponent")),
    ];
    found.extend(all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
}

/// A layer that no op is: attention, by the sizes that it gives queries.
pub(super) fn composed<'s>(
    found: &mut Map<String, Value>,
    name: &str,
    calls: &[Call],
    shape: &dyn Fn(&str) -> Option<&'s [u64]>,
) {
    if name != "activation.MultiheadAttention" {
        return;
    }
    let width = shape("in_proj_weight").and_then(|shape| shape.get(1));
    let Some(&width) = width.or_else(|| shape("q_proj_weight").and_then(|shape| shape.first())) else { return };
    // `q.view(length, batch * heads, width of a head)`
    let head = calls.iter().filter(|call| call.op == "view").find_map(|call| {
        let size = bound(call, "size").flatten()?;
        let [_, _, head] = size.as_array()?.as_slice() else { return None };
        head.as_u64()
    });
    let Some(head) = head.filter(|head| *head > 0 && width.is_multiple_of(*head)) else { return };
    found.insert("embed_dim".to_owned(), Value::from(width));
    found.insert("num_heads".to_owned(), Value::from(width / head));
    found.insert("add_zero_attn".to_owned(), Value::Bool(calls.iter().any(|call| call.op == "zeros")));
    let axes =
        |call: &Call, names: [&str; 2]| names.map(|name| bound(call, name).flatten().and_then(|axis| axis.as_i64()));
    // Of a single sequence the order of the axes is not told.
    let single = calls.iter().any(|call| call.op == "unsqueeze" && axes(call, ["dim", "dim"])[0] == Some(1));
    if !single {
        let turned =
            calls.iter().any(|call| call.op == "transpose" && axes(call, ["dim0", "dim1"]) == [Some(1), Some(0)]);
        found.insert("batch_first".to_owned(), Value::Bool(turned));
    }
}
