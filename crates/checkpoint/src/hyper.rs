//! Hyper-parameters of torch's layers out of the op calls that the layers make.
//!
//! A traced or exported layer keeps no `stride` and no `eps`: they are arguments of the op in its graph. What a table says
//! an op's argument means for a layer is taken over; what is no constant there is left out.

use serde_json::{Map, Value, json};

use super::literal::{Argument, Call, literal};

/// Arguments of ops in their order, with the defaults that the schema gives them (`native_functions.yaml` of PyTorch 2.13).
const SCHEMAS: &[(&[&str], &str)] = &[
    (&["conv1d", "conv2d", "conv3d"], "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1"),
    (&["_convolution_mode"], "input, weight, bias, stride, padding, dilation, groups"),
    (
        &["_convolution", "convolution"],
        "input, weight, bias, stride, padding, dilation, transposed, output_padding, groups",
    ),
    (
        &["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"],
        "input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1",
    ),
    (&["batch_norm"], "input, weight, bias, running_mean, running_var, training, momentum, eps"),
    (&["instance_norm"], "input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps"),
    (&["layer_norm"], "input, normalized_shape, weight=None, bias=None, eps=1e-05"),
    (&["rms_norm"], "input, normalized_shape, weight=None, eps=None"),
    (&["group_norm"], "input, num_groups, weight=None, bias=None, eps=1e-05"),
    (&["embedding"], "weight, indices, padding_idx=-1"),
    (&["linear"], "input, weight, bias=None"),
    (&["gelu"], "self, approximate='none'"),
    (&["leaky_relu", "leaky_relu_"], "self, negative_slope=0.01"),
    (&["softmax"], "self, dim"),
    (&["dropout", "feature_dropout"], "input, p, train"),
    (
        &["max_pool1d", "max_pool2d", "max_pool3d"],
        "self, kernel_size, stride=[], padding=0, dilation=1, ceil_mode=False",
    ),
    (&["avg_pool1d"], "self, kernel_size, stride=[], padding=0, ceil_mode=False, count_include_pad=True"),
    (
        &["avg_pool2d", "avg_pool3d"],
        "self, kernel_size, stride=[], padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None",
    ),
    (&["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d"], "self, output_size"),
    (&["flatten"], "self, start_dim=0, end_dim=-1"),
    (&["lstm", "gru"], "input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first"),
];

/// What a layer's op says of it.
struct Layer {
    /// Class names behind `torch.nn.modules.`, without the digit of the dimensions.
    classes: &'static [&'static str],
    /// The op that is the layer, without the digit.
    ops: &'static [&'static str],
    /// Arguments that are hyper-parameters: argument and attribute.
    takes: &'static [(&'static str, &'static str)],
    /// Arguments that are one number or one for each spatial axis.
    spatial: &'static [&'static str],
    /// Hyper-parameters that tell whether an argument is not None.
    given: &'static [(&'static str, &'static str)],
    /// Hyper-parameters that are sizes of a tensor: tensor, axis, attribute.
    sizes: &'static [(&'static str, usize, &'static str)],
}

const BLANK: Layer = Layer { classes: &[], ops: &[], takes: &[], spatial: &[], given: &[], sizes: &[] };
const NORM: &[(&str, &str)] = &[("eps", "eps"), ("momentum", "momentum")];
const NORM_GIVEN: &[(&str, &str)] = &[("weight", "affine"), ("running_mean", "track_running_stats")];

const LAYERS: &[Layer] = &[
    Layer {
        classes: &["conv.Conv"],
        ops: &["conv", "_convolution", "convolution", "_convolution_mode"],
        takes: &[("groups", "groups")],
        spatial: &["stride", "padding", "dilation"],
        sizes: &[("weight", 0, "out_channels")],
        ..BLANK
    },
    Layer {
        classes: &["conv.ConvTranspose"],
        ops: &["conv_transpose", "_convolution", "convolution"],
        takes: &[("groups", "groups")],
        spatial: &["stride", "padding", "output_padding", "dilation"],
        sizes: &[("weight", 0, "in_channels")],
        ..BLANK
    },
    Layer {
        classes: &["batchnorm.BatchNorm"],
        ops: &["batch_norm"],
        takes: NORM,
        given: NORM_GIVEN,
        sizes: &[("weight", 0, "num_features"), ("running_mean", 0, "num_features")],
        ..BLANK
    },
    Layer {
        classes: &["instancenorm.InstanceNorm"],
        ops: &["instance_norm"],
        takes: NORM,
        given: NORM_GIVEN,
        sizes: &[("weight", 0, "num_features"), ("running_mean", 0, "num_features")],
        ..BLANK
    },
    Layer {
        classes: &["normalization.LayerNorm"],
        ops: &["layer_norm"],
        takes: &[("normalized_shape", "normalized_shape"), ("eps", "eps")],
        given: &[("weight", "elementwise_affine")],
        ..BLANK
    },
    Layer {
        classes: &["normalization.RMSNorm"],
        ops: &["rms_norm"],
        takes: &[("normalized_shape", "normalized_shape"), ("eps", "eps")],
        given: &[("weight", "elementwise_affine")],
        ..BLANK
    },
    Layer {
        classes: &["normalization.GroupNorm"],
        ops: &["group_norm"],
        takes: &[("num_groups", "num_groups"), ("eps", "eps")],
        given: &[("weight", "affine")],
        sizes: &[("weight", 0, "num_channels")],
        ..BLANK
    },
    Layer {
        classes: &["sparse.Embedding"],
        ops: &["embedding"],
        takes: &[("padding_idx", "padding_idx")],
        sizes: &[("weight", 0, "num_embeddings"), ("weight", 1, "embedding_dim")],
        ..BLANK
    },
    Layer {
        classes: &["linear.Linear", "linear.NonDynamicallyQuantizableLinear"],
        ops: &["linear"],
        sizes: &[("weight", 1, "in_features"), ("weight", 0, "out_features")],
        ..BLANK
    },
    Layer { classes: &["activation.GELU"], ops: &["gelu"], takes: &[("approximate", "approximate")], ..BLANK },
    Layer {
        classes: &["activation.LeakyReLU"],
        ops: &["leaky_relu", "leaky_relu_"],
        takes: &[("negative_slope", "negative_slope")],
        ..BLANK
    },
    Layer { classes: &["activation.Softmax"], ops: &["softmax"], takes: &[("dim", "dim")], ..BLANK },
    Layer { classes: &["dropout.Dropout"], ops: &["dropout", "feature_dropout"], takes: &[("p", "p")], ..BLANK },
    Layer {
        classes: &["pooling.MaxPool"],
        ops: &["max_pool"],
        takes: &[("ceil_mode", "ceil_mode")],
        spatial: &["kernel_size", "stride", "padding", "dilation"],
        ..BLANK
    },
    Layer {
        classes: &["pooling.AvgPool"],
        ops: &["avg_pool"],
        takes: &[
            ("ceil_mode", "ceil_mode"),
            ("count_include_pad", "count_include_pad"),
            ("divisor_override", "divisor_override"),
        ],
        spatial: &["kernel_size", "stride", "padding"],
        ..BLANK
    },
    Layer {
        classes: &["pooling.AdaptiveAvgPool", "pooling.AdaptiveMaxPool"],
        ops: &["adaptive_avg_pool", "adaptive_max_pool"],
        spatial: &["output_size"],
        ..BLANK
    },
    Layer {
        classes: &["flatten.Flatten"],
        ops: &["flatten"],
        takes: &[("start_dim", "start_dim"), ("end_dim", "end_dim")],
        ..BLANK
    },
    Layer {
        classes: &["rnn.LSTM", "rnn.GRU"],
        ops: &["lstm", "gru"],
        takes: &[
            ("num_layers", "num_layers"),
            ("has_biases", "bias"),
            ("batch_first", "batch_first"),
            ("dropout", "dropout"),
            ("bidirectional", "bidirectional"),
        ],
        sizes: &[("weight_ih_l0", 1, "input_size"), ("weight_hh_l0", 1, "hidden_size")],
        ..BLANK
    },
];

/// What the calls that a module makes itself, and the shapes of its tensors, say of its hyper-parameters. Empty for classes
/// that are not torch's own, and where the layer's op is not among the calls, or is with different arguments.
pub(super) fn attributes<'s>(
    class: &str,
    calls: &[Call],
    shape: &dyn Fn(&str) -> Option<&'s [u64]>,
) -> Map<String, Value> {
    let mut found = Map::new();
    let Some((name, dimensions)) = class.strip_prefix("torch.nn.modules.").map(without_dimensions) else {
        return found;
    };
    let Some(layer) = LAYERS.iter().find(|layer| layer.classes.contains(&name)) else { return found };
    for (tensor, axis, attribute) in layer.sizes {
        if let Some(size) = shape(tensor).and_then(|shape| shape.get(*axis)) {
            found.insert((*attribute).to_owned(), Value::from(*size));
        }
    }
    let mut own = calls.iter().filter(|call| layer.ops.contains(&without_dimensions(&call.op).0));
    let Some(first) = own.next() else { return found };
    if own.any(|other| other != first && constants(other) != constants(first)) {
        return found;
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
    adjust(&mut found, name, calls, shape);
    found
}

/// What is not one argument's value.
fn adjust<'s>(found: &mut Map<String, Value>, name: &str, calls: &[Call], shape: &dyn Fn(&str) -> Option<&'s [u64]>) {
    match name {
        "conv.Conv" | "conv.ConvTranspose" => {
            // With another padding mode the layer pads first and convolves without padding.
            if calls.iter().any(|call| call.op.contains("pad")) {
                found.remove("padding");
            } else {
                found.insert("padding_mode".to_owned(), Value::from("zeros"));
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
        "sparse.Embedding" if found.get("padding_idx").and_then(Value::as_i64).is_some_and(|index| index < 0) => {
            found.insert("padding_idx".to_owned(), Value::Null);
        }
        // The op gets 0 where the layer has None, a cumulative average.
        "batchnorm.BatchNorm" if found.get("momentum").and_then(Value::as_f64) == Some(0.0) => {
            found.remove("momentum");
        }
        // No stride means the kernel's size.
        "pooling.MaxPool" | "pooling.AvgPool" if found.get("stride") == Some(&json!([])) => {
            match found.get("kernel_size").cloned() {
                Some(kernel) => found.insert("stride".to_owned(), kernel),
                None => found.remove("stride"),
            };
        }
        _ => {}
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
                let schemas: Vec<_> = SCHEMAS
                    .iter()
                    .filter(|(ops, _)| ops.iter().any(|name| without_dimensions(name).0 == *op))
                    .collect();
                assert!(!schemas.is_empty(), "{op}");
            }
            for (argument, _) in layer.takes.iter().chain(layer.given) {
                let known = SCHEMAS.iter().any(|(ops, schema)| {
                    ops.iter().any(|op| layer.ops.contains(&without_dimensions(op).0)) && schema.contains(argument)
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
}
