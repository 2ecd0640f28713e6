//! What a layer makes of the axes of its input, from its class, its attributes and its plan.

use serde_json::Value;

use super::ModuleTriage;
use crate::model::Module;
use crate::source::inference::Gives;

/// Layers that compute element by element, or along what the input's last axis is in torch.
const FEATURES: [&str; 6] = ["Linear", "LayerNorm", "RMSNorm", "NonDynamicallyQuantizableLinear", "Conv1D", "Bilinear"];
/// Layers with a parameter for each channel and as many places as before.
const CHANNELS: [&str; 4] = ["GroupNorm", "LocalResponseNorm", "FrozenBatchNorm2d", "LayerNorm2d"];
/// Layers over channels that change the places.
const RESIZES: [&str; 6] =
    ["Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d", "PixelShuffle", "PixelUnshuffle", "ChannelShuffle"];

/// What a layer makes of the axes of its input.
pub(super) fn of(module: &Module, triaged: Option<&ModuleTriage>) -> Gives {
    let plan = triaged.and_then(|triaged| triaged.plan.as_ref());
    let own = module.class.as_str();
    // A class from elsewhere is measured as the layer of torch that it computes like.
    let class = plan.map_or(own, |plan| plan.torch.kind.as_str());
    let name = class.rsplit('.').next().unwrap_or(class);
    let axes = name.strip_suffix('d').and_then(|name| name.chars().last()?.to_digit(10)).map(|axes| axes as usize);
    let torchs = class.starts_with("torch.nn.");
    let begins = |starts: &[&str]| starts.iter().any(|start| name.trim_start_matches("Lazy").starts_with(start));
    if let (true, Some(axes)) = (torchs, axes) {
        let rank = axes + 2;
        if begins(&["Conv"]) {
            let width = number(module, "out_channels", 0);
            return Gives::Window {
                rank,
                one: if is_pointwise(module) { None } else { Some(false) },
                width: u32::try_from(width).ok().filter(|width| *width > 0),
            };
        }
        if begins(&["MaxPool", "AvgPool", "LPPool", "FractionalMaxPool", "Adaptive"]) {
            return Gives::Window {
                rank,
                one: Some(begins(&["Adaptive"]) && is_one(module.attributes.get("output_size"))),
                width: None,
            };
        }
        if begins(&["BatchNorm", "InstanceNorm"]) {
            // BatchNorm1d takes (N, C) as well.
            let either = axes == 1 && !begins(&["InstanceNorm"]);
            return if either { Gives::Same } else { Gives::Channels { rank: Some(rank), keeps: true } };
        }
        if name.contains("Pad") {
            return Gives::Channels { rank: Some(rank), keeps: false };
        }
    }
    let of_torch = ["torch.nn.modules.activation.", "torch.nn.modules.dropout.", "torch.nn.modules.linear.Identity"];
    match name {
        "MultiheadAttention" | "LSTM" | "GRU" | "RNN" if own.starts_with("torch.nn.") => Gives::Pair,
        "MultiheadAttention" => Gives::Anything,
        _ if of_torch.iter().any(|start| class.starts_with(start)) => Gives::Same,
        "Flatten" if torchs => Gives::Flatten(number(module, "start_dim", 1), number(module, "end_dim", -1)),
        _ if own.ends_with(".Permute") => permute(module),
        "SyncBatchNorm" => Gives::Same,
        "Embedding" => Gives::Rows,
        name if FEATURES.contains(&name) => Gives::Features,
        name if CHANNELS.contains(&name) => Gives::Channels { rank: None, keeps: true },
        name if RESIZES.contains(&name) => Gives::Channels { rank: None, keeps: false },
        _ => planned(module, triaged),
    }
}

/// A layer that is known by its plan alone.
fn planned(module: &Module, triaged: Option<&ModuleTriage>) -> Gives {
    let Some(plan) = triaged.and_then(|triaged| triaged.plan.as_ref()) else { return Gives::Anything };
    let ([input], [output]) = (plan.inputs.as_slice(), plan.outputs.as_slice()) else { return Gives::Anything };
    match (&input.to_mlx, &output.to_torch) {
        (Some(_), Some(_)) if module.class.contains("Adaptive") => {
            let one = Some(is_one(module.attributes.get("output_size")));
            Gives::Window { rank: input.shape.len(), one, width: None }
        }
        (Some(_), Some(_)) => Gives::Channels { rank: Some(input.shape.len()), keeps: false },
        (None, None) if plan.torch.kind.starts_with("t2m.") => Gives::Same,
        _ => Gives::Anything,
    }
}

fn number(module: &Module, name: &str, default: i64) -> i64 {
    module.attributes.get(name).and_then(Value::as_i64).unwrap_or(default)
}

fn permute(module: &Module) -> Gives {
    let dims = module.attributes.get("dims").and_then(Value::as_array);
    let axes = |dims: &Vec<Value>| -> Option<Vec<usize>> {
        let rank = dims.len() as i64;
        let at = |dim: &Value| {
            let dim = dim.as_i64()?;
            usize::try_from(if dim < 0 { dim + rank } else { dim }).ok().filter(|at| *at < dims.len())
        };
        dims.iter().map(at).collect()
    };
    dims.and_then(axes).map_or(Gives::Anything, Gives::Permute)
}

/// Whether a size is 1 in every direction.
fn is_one(size: Option<&Value>) -> bool {
    match size {
        Some(Value::Array(all)) => !all.is_empty() && all.iter().all(|size| size.as_i64() == Some(1)),
        Some(size) => size.as_i64() == Some(1),
        None => false,
    }
}

/// A convolution of one place, without padding.
fn is_pointwise(module: &Module) -> bool {
    let none = |padding: &Value| match padding {
        Value::Array(all) => all.iter().all(|size| size.as_i64() == Some(0)),
        size => size.as_i64() == Some(0),
    };
    is_one(module.attributes.get("kernel_size")) && module.attributes.get("padding").is_some_and(none)
}
