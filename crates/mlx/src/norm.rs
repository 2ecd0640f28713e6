//! Normalisation layers, in eval mode, over the last axis or channels last.

use mlx_rs::module::{Module, Param};
use mlx_rs::{Array, fast, nn};

use super::tensor::Weights;
use super::{Forward, Problem, channels, float32, inputs, int32, single};
use t2m_engine::args::Args;

/// `nn.LayerNorm` by mlx-rs's module, over the last axis: optional weight and bias.
pub(super) fn layer(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let (dims, eps) = (int32(args.count("dims")?, "dims")?, float32(args.number("eps")?));
    let affine = args.flag_or("affine", weights.find("weight").is_some())?;
    let biased = args.flag_or("bias", weights.find("bias").is_some())? && affine;
    weights.vector_if(affine, "weight", dims)?;
    weights.vector_if(biased, "bias", dims)?;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let weight = Param::new(weights.vector_if(affine, "weight", dims)?);
        let bias = Param::new(weights.vector_if(biased, "bias", dims)?);
        let mut layer = nn::LayerNorm { dimensions: dims, eps, weight, bias };
        over_last_axis(input, dims)?;
        Ok(layer.forward(input)?)
    }))
}

/// `nn.RMSNorm` by mlx-rs's module, over the last axis.
pub(super) fn rms(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let (dims, eps) = (int32(args.count("dims")?, "dims")?, float32(args.number("eps")?));
    weights.vector("weight", dims)?;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let mut layer = nn::RmsNorm { weight: Param::new(weights.vector("weight", dims)?), eps };
        over_last_axis(input, dims)?;
        Ok(layer.forward(input)?)
    }))
}

/// `mx.fast.rms_norm` without a weight, which the layer always has.
pub(super) fn fast_rms(args: &Args<'_>) -> Result<Forward, Problem> {
    let eps = float32(args.number("eps")?);
    if args.has("weight") && !args.is_none("weight")? {
        return Err(args.wrong("weight", "None").into());
    }
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        channels(input, 1)?;
        Ok(fast::rms_norm(input, None, eps)?)
    }))
}

/// `nn.BatchNorm` by mlx-rs's module, in eval mode: by the running statistics, or by the batch's (with the biased
/// variance) if there are none.
pub(super) fn batch(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let (tracked, eps) = (args.flag("track_running_stats")?, float32(args.number("eps")?));
    let pair = Affine::read(args, weights, "num_features")?;
    if tracked {
        weights.get("running_mean")?;
        weights.get("running_var")?;
    }
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let feature_count = pair.channels(input, 2)?;
        let statistic = |name| weights.vector_if(tracked, name, feature_count).map(Param::new);
        let mut layer = nn::BatchNorm {
            feature_count,
            eps: Array::from_f32(eps),
            momentum: Array::from_f32(nn::BatchNorm::DEFAULT_MOMENTUM),
            weight: pair.weight(weights, feature_count)?,
            bias: pair.bias(weights, feature_count)?,
            running_mean: statistic("running_mean")?,
            running_var: statistic("running_var")?,
            training: false,
        };
        Ok(layer.forward(input)?)
    }))
}

/// `nn.GroupNorm` by mlx-rs's module. Without `pytorch_compatible`, every `num_groups`-th channel forms a group.
pub(super) fn group(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let group_count = int32(args.count("num_groups")?, "num_groups")?;
    let eps = float32(args.number("eps")?);
    let pytorch_compatible = args.flag("pytorch_compatible")?;
    let pair = Affine::read(args, weights, "dims")?;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let dimensions = pair.channels(input, 2)?;
        if dimensions % group_count != 0 {
            return Err(Problem(format!("{dimensions} channels cannot be split into {group_count} groups")));
        }
        let mut layer = nn::GroupNorm {
            group_count,
            dimensions,
            eps: Array::from_f32(eps),
            pytorch_compatible,
            weight: pair.weight(weights, dimensions)?,
            bias: pair.bias(weights, dimensions)?,
        };
        Ok(layer.forward(input)?)
    }))
}

/// `nn.InstanceNorm` by mlx-rs's module.
pub(super) fn instance(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let eps = float32(args.number("eps")?);
    let pair = Affine::read(args, weights, "dims")?;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let dimensions = pair.channels(input, 3)?;
        let mut layer = nn::InstanceNorm {
            dimensions,
            eps: Array::from_f32(eps),
            weight: pair.weight(weights, dimensions)?,
            bias: pair.bias(weights, dimensions)?,
        };
        Ok(layer.forward(input)?)
    }))
}

/// Weight and bias of a norm over channels: both or neither, as in MLX's layers.
#[derive(Clone, Copy)]
struct Affine {
    affine: bool,
    dims: Option<i32>,
}

impl Affine {
    fn read(args: &Args<'_>, weights: &Weights, dims: &str) -> Result<Affine, Problem> {
        let affine = args.flag_or("affine", weights.find("weight").is_some())?;
        if affine {
            weights.get("weight")?;
            weights.get("bias")?;
        }
        let dims = if args.has(dims) { Some(int32(args.count(dims)?, dims)?) } else { None };
        Ok(Affine { affine, dims })
    }

    fn channels(self, input: &Array, least_axes: usize) -> Result<i32, Problem> {
        let channels = channels(input, least_axes)?;
        match self.dims {
            Some(dims) if dims != channels => {
                Err(Problem(format!("an input of {channels} channels does not fit a norm of {dims}")))
            }
            _ => Ok(channels),
        }
    }

    fn weight(self, weights: &Weights, dims: i32) -> Result<Param<Option<Array>>, Problem> {
        weights.vector_if(self.affine, "weight", dims).map(Param::new)
    }

    fn bias(self, weights: &Weights, dims: i32) -> Result<Param<Option<Array>>, Problem> {
        weights.vector_if(self.affine, "bias", dims).map(Param::new)
    }
}

/// Whether the weight fits the input's last axis: MLX would silently broadcast another one.
fn over_last_axis(input: &Array, dims: i32) -> Result<(), Problem> {
    if channels(input, 1)? == dims {
        return Ok(());
    }
    Err(Problem(format!("an input of shape {:?} does not end in [{dims}]", input.shape())))
}
