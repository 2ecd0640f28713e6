//! Hyper-parameters of torch's layers out of the op calls that the layers make.
//!
//! A traced or exported layer keeps no `stride` and no `eps`: they are arguments of the op in its graph. What a table says
//! an op's argument means for a layer is taken over; what is no constant there is left out.

mod layers;
mod special;

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::literal::{Argument, Call, literal};
use layers::{LAYERS, Layer, SCHEMAS};
use special::adjust;

/// What the calls that a module makes itself, and the shapes of its tensors, say of its hyper-parameters. Empty for classes
/// that are not torch's own, and where the layer's op is not among the calls, or is with different arguments.
pub(super) fn attributes<'s>(
    class: &str,
    calls: &[Call],
    shape: &dyn Fn(&str) -> Option<&'s [u64]>,
) -> Map<String, Value> {
    let mut found = Map::new();
    let Some((layer, name, dimensions)) = layer(class) else { return found };
    for (tensor, axis, attribute) in layer.sizes {
        if let Some(size) = shape(tensor).and_then(|shape| shape.get(*axis)) {
            found.insert((*attribute).to_owned(), Value::from(*size));
        }
    }
    let mut own = calls.iter().filter(|call| layer.ops.contains(&stem(&call.op).as_ref()));
    let Some(first) = own.next() else {
        special::composed(&mut found, name, calls, shape);
        return found;
    };
    if own.any(|other| other != first && constants(other) != constants(first)) {
        return found;
    }
    for (_, attribute, value) in layer.says.iter().filter(|(op, _, _)| *op == stem(&first.op)) {
        found.extend(literal(value).map(|value| ((*attribute).to_owned(), value)));
    }
    for (argument, attribute) in layer.takes {
        if let Some(value) = bound(first, argument).flatten() {
            found.insert((*attribute).to_owned(), value);
        }
    }
    for argument in layer.spatial {
        if let Some(value) = bound(first, argument).flatten() {
            found.insert((*argument).to_owned(), each_axis(value, dimensions));
        }
    }
    for (argument, attribute) in layer.given {
        if let Some(value) = bound(first, argument) {
            found.insert((*attribute).to_owned(), Value::Bool(value != Some(Value::Null)));
        }
    }
    special::layer(&mut found, name, first, dimensions);
    adjust(&mut found, name, calls, shape);
    found
}

/// The row of a class, the name that it has there, and its dimensions. A class that a parametrization was made of is what it
/// was.
fn layer(class: &str) -> Option<(&'static Layer, &'static str, Option<usize>)> {
    let (full, wanted) = match class.strip_prefix("torch.nn.utils.parametrize.Parametrized") {
        Some(name) => (false, name),
        None => (true, class.strip_prefix("torch.nn.modules.")?),
    };
    let (wanted, dimensions) = without_dimensions(wanted);
    let is_wanted = |name: &&&str| if full { **name == wanted } else { name.rsplit('.').next() == Some(wanted) };
    LAYERS.iter().find_map(|layer| Some((layer, *layer.classes.iter().find(is_wanted)?, dimensions)))
}

/// An op's name without its dimensions: `max_pool_with_indices` of `max_pool2d_with_indices`.
fn stem(op: &str) -> Cow<'_, str> {
    let digit = |at: &usize| {
        let rest = op.as_bytes().get(*at..).unwrap_or_default();
        matches!(rest, [b'1'..=b'3', b'd'] | [b'1'..=b'3', b'd', b'_', ..])
    };
    match (0..op.len()).find(digit) {
        Some(at) => Cow::Owned([op.get(..at).unwrap_or_default(), op.get(at + 2..).unwrap_or_default()].concat()),
        None => Cow::Borrowed(op),
    }
}

/// `conv.Conv2d` is `conv.Conv` of two dimensions.
fn without_dimensions(name: &str) -> (&str, Option<usize>) {
    let stem = name.strip_suffix('d').and_then(|name| name.strip_suffix(['1', '2', '3']));
    match stem {
        Some(stem) => {
            (stem, name.chars().rev().nth(1).and_then(|digit| digit.to_digit(10)).map(|digit| digit as usize))
        }
        None => (name, None),
    }
}

/// One number stands for all axes.
fn each_axis(value: Value, dimensions: Option<usize>) -> Value {
    match (&value, dimensions) {
        (Value::Number(_), Some(axes)) => Value::Array(vec![value; axes]),
        (Value::Array(values), Some(axes)) if values.len() == 1 && axes > 1 => {
            Value::Array(values.iter().cycle().take(axes).cloned().collect())
        }
        _ => value,
    }
}

/// The constants among a call's arguments; tensors have other names at each call.
fn constants(call: &Call) -> Vec<&Value> {
    call.args.iter().filter_map(|argument| argument.value.as_ref()).collect()
}

/// The value of an argument, or its default; the inner `None` is an expression, the outer one no such argument.
fn bound(call: &Call, name: &str) -> Option<Option<Value>> {
    let (_, schema) = SCHEMAS.iter().find(|(ops, _)| ops.contains(&call.op.as_str()))?;
    if let Some(argument) = call.args.iter().find(|argument| argument.name.as_deref() == Some(name)) {
        return Some(argument.value.clone());
    }
    let (place, parameter) = schema
        .split(", ")
        .enumerate()
        .find(|(_, parameter)| parameter.split_once('=').map_or(*parameter, |(name, _)| name) == name)?;
    match call.args.get(place) {
        Some(Argument { name: None, value }) => Some(value.clone()),
        _ => parameter.split_once('=').map(|(_, default)| literal(default)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::literal::calls;
    use super::*;

    const WEIGHT: &[u64] = &[4, 2, 5, 3];

    fn of(class: &str, text: &str) -> Value {
        let shape = |name: &str| (name == "weight").then_some(WEIGHT);
        Value::Object(attributes(&format!("torch.nn.modules.{class}"), &calls(text), &shape))
    }

    #[test]
    fn every_op_of_a_layer_has_a_schema_with_its_arguments() {
        for layer in LAYERS {
            for op in layer.ops {
                let schemas: Vec<_> =
                    SCHEMAS.iter().filter(|(ops, _)| ops.iter().any(|name| stem(name) == *op)).collect();
                assert!(!schemas.is_empty(), "{op}");
            }
            for (argument, _) in layer.takes.iter().chain(layer.given) {
                let known = SCHEMAS.iter().any(|(ops, schema)| {
                    ops.iter().any(|op| layer.ops.contains(&stem(op).as_ref())) && schema.contains(argument)
                });
                assert!(known, "{argument}");
            }
        }
    }

    #[test]
    fn a_convolution_says_all_but_what_padding_hides() {
        let expected = json!({"out_channels": 4, "groups": 2, "stride": [2, 1], "padding": [0, 0], "dilation": [1, 1],
            "padding_mode": "zeros", "in_channels": 4, "kernel_size": [5, 3]});
        let text = "torch._convolution(x, weight, None, [2, 1], [0, 0], [1, 1], False, [0, 0], 2, False)";
        assert_eq!(of("conv.Conv2d", text), expected);
        assert_eq!(of("conv.Conv2d", "torch.conv2d(x, weight, None, [2, 1], groups=2)"), expected);
        let padded = of("conv.Conv2d", "torch.conv2d(torch.pad(x, [1, 1], \"reflect\"), weight)");
        assert_eq!((padded.get("padding"), padded.get("padding_mode")), (None, None));
        assert_eq!(padded["stride"], json!([1, 1]));
    }

    #[test]
    fn expressions_and_contradictions_are_left_out() {
        assert_eq!(of("activation.LeakyReLU", "torch.leaky_relu(x, slope)"), json!({}));
        assert_eq!(of("activation.LeakyReLU", "torch.leaky_relu(x)"), json!({"negative_slope": 0.01}));
        assert_eq!(of("activation.LeakyReLU", "torch.leaky_relu(x, 0.1)\ntorch.leaky_relu(x, 0.2)"), json!({}));
        assert_eq!(of("activation.Softmax", "torch.relu(x)"), json!({}));
        let foreign = attributes("mine.Softmax", &calls("torch.softmax(x, 1)"), &|_| None);
        assert!(foreign.is_empty());
    }

    #[test]
    fn none_and_its_stand_ins() {
        let norm = of("batchnorm.BatchNorm2d", "torch.batch_norm(x, weight, bias, None, None, True, 0., 0.001, True)");
        assert_eq!(norm, json!({"num_features": 4, "eps": 0.001, "affine": true, "track_running_stats": false}));
        assert_eq!(of("sparse.Embedding", "torch.embedding(weight, x)")["padding_idx"], json!(null));
        assert_eq!(of("normalization.RMSNorm", "torch.rms_norm(x, [4], weight)")["eps"], json!(null));
        let pool = of("pooling.MaxPool2d", "torch.max_pool2d(x, [3, 2])");
        assert_eq!((&pool["stride"], &pool["dilation"]), (&json!([3, 2]), &json!([1, 1])));
    }

    #[test]
    fn layers_of_several_ops_are_told_by_all_of_them() {
        let conv = of(
            "conv.Conv2d",
            "torch.conv2d(torch.pad(x, [1, 1, 2, 2], \"reflect\"), weight, None, [1, 1], [0, 0], [1, 1])",
        );
        assert_eq!((&conv["padding"], &conv["padding_mode"]), (&json!([2, 1]), &json!("reflect")));
        let even = of(
            "conv.Conv2d",
            "torch.conv2d(torch.pad(x, [1, 1, 1, 3], \"circular\"), weight, None, [1, 1], [0, 0], [1, 1])",
        );
        assert_eq!(
            (&even["padding"], &even["padding_mode"]),
            (&json!("same"), &json!("circular")),
            "a kernel of 5 by 3"
        );
        let lrn = "torch.div(x, torch.pow(torch.add(torch.mul(torch.avg_pool3d(torch.mul(x, x), [3, 1, 1], [1, 1, 1]), 0.0002), 1.5), 0.7))";
        assert_eq!(
            of("normalization.LocalResponseNorm", lrn),
            json!({"size": 3, "alpha": 0.0002, "k": 1.5, "beta": 0.7})
        );
        let lp = "torch.pow(self=x, exponent=3.)\ntorch.avg_pool2d(x, [2, 2])\ntorch.pow(self=x, exponent=0.33)";
        let pool = of("pooling.LPPool2d", lp);
        assert_eq!((&pool["norm_type"], &pool["stride"]), (&json!(3.0), &json!([2, 2])));
        let nested = of("pooling.LPPool2d", "torch.pow(torch.avg_pool2d(torch.pow(x, 3.), [2, 2]), 0.33)");
        assert_eq!(nested.get("norm_type"), None, "which of the powers is the root is not told");
    }

    #[test]
    fn an_op_tells_what_it_alone_does() {
        let pool = of("pooling.MaxPool2d", "a, b = torch.max_pool2d_with_indices(x, [2, 2], [2, 2])");
        assert_eq!((&pool["return_indices"], &pool["kernel_size"]), (&json!(true), &json!([2, 2])));
        assert_eq!(of("pooling.MaxPool2d", "torch.max_pool2d(x, [2, 2], [2, 2])")["return_indices"], json!(false));
        let up = of("upsampling.Upsample", "torch.upsample_bilinear2d(x, None, True, [2., 2.])");
        assert_eq!(up, json!({"mode": "bilinear", "size": null, "scale_factor": [2.0, 2.0], "align_corners": true}));
        let up = of("upsampling.Upsample", "torch.upsample_nearest2d(x, [5, 7], None)");
        assert_eq!(up, json!({"mode": "nearest", "size": [5, 7], "scale_factor": null, "align_corners": null}));
        assert_eq!(of("sparse.EmbeddingBag", "torch.embedding_bag(weight, x, o, False, 2)")["mode"], json!("max"));
        let class = "torch.nn.utils.parametrize.ParametrizedConv2d";
        let found = attributes(class, &calls("torch.conv2d(x, w, None, [2, 1])"), &|_| Some(WEIGHT));
        assert_eq!((&found["stride"], &found["kernel_size"]), (&json!([2, 1]), &json!([5, 3])));
    }

    #[test]
    fn attention_is_told_by_the_sizes_of_its_views() {
        let shape = |name: &str| (name == "in_proj_weight").then_some(&[48u64, 16][..]);
        let of = |text: &str| attributes("torch.nn.modules.activation.MultiheadAttention", &calls(text), &shape);
        let found = of("torch.transpose(q, 1, 0)\ntorch.view(q, [5, 8, 4])\ntorch.transpose(q, 0, 1)");
        assert_eq!(
            Value::Object(found),
            json!({"embed_dim": 16, "num_heads": 4, "add_zero_attn": false, "batch_first": true})
        );
        assert_eq!(of("torch.view(q, [5, 8, 4])\ntorch.transpose(q, 0, 1)")["batch_first"], json!(false));
        assert!(!of("torch.unsqueeze(q, 1)\ntorch.view(q, [5, 4, 4])").contains_key("batch_first"), "one sequence");
        assert!(of("torch.view(q, [5, 8, 3])").is_empty(), "3 does not divide 16");
        let fused = of("torch._native_multi_head_attention(q, k, v, 16, 2, w)");
        assert_eq!((&fused["num_heads"], &fused["batch_first"]), (&json!(2), &json!(true)));
    }
}
