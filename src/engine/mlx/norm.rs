//! Normalisation layers, in eval mode, over the last axis or channels last.

use mlx_rs::module::{Module, Param};
use mlx_rs::{Array, fast, nn};

use super::tensor::Weights;
use super::{Forward, Problem, channels, float32, inputs, int32};
use crate::engine::args::Args;

/// `nn.LayerNorm` by mlx-rs's module, over the last axes made one: optional weight and bias of that shape.
pub(super) fn layer(args: Args, weights: &Weights) -> Result<Forward, Problem> {
    let (shape, eps) = (normalized_shape(args)?, float32(args.number("eps")?));
    for name in ["weight", "bias"] {
        flat(weights, name, &shape)?;
    }
    Ok(Box::new(move |weights, given| {
        let [input] = inputs(given)?;
        let (weight, bias) = (flat(weights, "weight", &shape)?, flat(weights, "bias", &shape)?);
        let dimensions = shape.iter().product();
        let mut layer = nn::LayerNorm { dimensions, eps, weight: Param::new(weight), bias: Param::new(bias) };
        over_last_axes(input, &shape, |rows| Ok(layer.forward(rows)?))
    }))
}

/// `nn.RMSNorm` by mlx-rs's module, or by its `fast::rms_norm` without a weight, which the module cannot be.
pub(super) fn rms(args: Args, weights: &Weights) -> Result<Forward, Problem> {
    let (shape, eps) = (normalized_shape(args)?, float32(args.number("eps")?));
    flat(weights, "weight", &shape)?;
    Ok(Box::new(move |weights, given| {
        let [input] = inputs(given)?;
        let weight = flat(weights, "weight", &shape)?;
        over_last_axes(input, &shape, |rows| match weight {
            Some(weight) => Ok(nn::RmsNorm { weight: Param::new(weight), eps }.forward(rows)?),
            None => Ok(fast::rms_norm(rows, None, eps)?),
        })
    }))
}

/// `nn.BatchNorm` by mlx-rs's module, in eval mode: by the running statistics, or by the batch's (with the biased
/// variance) where there are none.
pub(super) fn batch(args: Args, weights: &Weights) -> Result<Forward, Problem> {
    let (tracked, eps) = (args.flag("track_running_stats")?, float32(args.number("eps")?));
    if tracked {
        weights.get("running_mean")?;
        weights.get("running_var")?;
    }
    pair(weights)?;
    Ok(Box::new(move |weights, given| {
        let [input] = inputs(given)?;
        let feature_count = channels(input, 2)?;
        let vector = |name| weights.vector(name, feature_count).map(Param::new);
        let statistic = |name| if tracked { vector(name) } else { Ok(Param::new(None)) };
        let mut layer = nn::BatchNorm {
            feature_count,
            eps: Array::from_f32(eps),
            momentum: Array::from_f32(nn::BatchNorm::DEFAULT_MOMENTUM),
            weight: vector("weight")?,
            bias: vector("bias")?,
            running_mean: statistic("running_mean")?,
            running_var: statistic("running_var")?,
            training: false,
        };
        Ok(layer.forward(input)?)
    }))
}

/// `nn.GroupNorm` by mlx-rs's module. Not `pytorch_compatible`, it takes every `num_groups`-th channel for a group.
pub(super) fn group(args: Args, weights: &Weights) -> Result<Forward, Problem> {
    let group_count = int32(args.count("num_groups")?, "num_groups")?;
    let eps = float32(args.number("eps")?);
    let pytorch_compatible = args.flag("pytorch_compatible")?;
    pair(weights)?;
    Ok(Box::new(move |weights, given| {
        let [input] = inputs(given)?;
        let dimensions = channels(input, 2)?;
        if dimensions % group_count != 0 {
            return Err(Problem(format!("{dimensions} channels cannot be split into {group_count} groups")));
        }
        let mut layer = nn::GroupNorm {
            group_count,
            dimensions,
            eps: Array::from_f32(eps),
            pytorch_compatible,
            weight: Param::new(weights.vector("weight", dimensions)?),
            bias: Param::new(weights.vector("bias", dimensions)?),
        };
        Ok(layer.forward(input)?)
    }))
}

/// `nn.InstanceNorm` by mlx-rs's module.
pub(super) fn instance(args: Args, weights: &Weights) -> Result<Forward, Problem> {
    let eps = float32(args.number("eps")?);
    pair(weights)?;
    Ok(Box::new(move |weights, given| {
        let [input] = inputs(given)?;
        let dimensions = channels(input, 3)?;
        let mut layer = nn::InstanceNorm {
            dimensions,
            eps: Array::from_f32(eps),
            weight: Param::new(weights.vector("weight", dimensions)?),
            bias: Param::new(weights.vector("bias", dimensions)?),
        };
        Ok(layer.forward(input)?)
    }))
}

/// mlx-rs's modules use weight and bias together or not at all: one alone would be dropped without a word.
fn pair(weights: &Weights) -> Result<(), Problem> {
    if weights.find("weight").is_some() != weights.find("bias").is_some() {
        return Err(Problem("the layer has a weight or a bias alone; mlx-rs would use neither".to_owned()));
    }
    Ok(())
}

fn normalized_shape(args: Args) -> Result<Vec<i32>, Problem> {
    let shape = args.list("normalized_shape")?;
    let elements = shape.iter().try_fold(1i64, |product, &axis| product.checked_mul(axis));
    if shape.is_empty() || shape.iter().any(|&axis| axis < 1) || elements.is_none_or(|n| n > i64::from(i32::MAX)) {
        return Err(args.wrong("normalized_shape", "a list of axes that MLX can take").into());
    }
    shape.into_iter().map(|axis| int32(axis, "normalized_shape")).collect()
}

/// An optional tensor of the normalised shape, as a vector.
fn flat(weights: &Weights, name: &str, shape: &[i32]) -> Result<Option<Array>, Problem> {
    match weights.find(name) {
        None => Ok(None),
        Some(array) if array.shape() == shape => Ok(Some(array.reshape(&[shape.iter().product()])?)),
        Some(array) => Err(Problem(format!("the shape of `{name}` is {:?}, not {shape:?}", array.shape()))),
    }
}

/// Apply a function over one last axis to several.
fn over_last_axes(
    input: &Array,
    shape: &[i32],
    function: impl FnOnce(&Array) -> Result<Array, Problem>,
) -> Result<Array, Problem> {
    let Some(front) = input.shape().strip_suffix(shape) else {
        return Err(Problem(format!("an input of shape {:?} does not end in {shape:?}", input.shape())));
    };
    if shape.len() == 1 {
        return function(input);
    }
    let mut rows = front.to_vec();
    rows.push(shape.iter().product());
    Ok(function(&input.reshape(&rows)?)?.reshape(input.shape())?)
}
