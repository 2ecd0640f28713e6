//! Normalisation layers, in eval mode.

use tch::{Kind, Tensor};

use super::tensor::Weights;
use super::{Forward, Problem, inputs, single};
use crate::engine::args::Args;

/// `momentum` has no say in eval mode.
const MOMENTUM: f64 = 0.0;

/// `LayerNorm` over the last axes, with or without weight and bias.
pub(super) fn layer(args: &Args<'_>) -> Result<Forward, Problem> {
    let (shape, eps) = (args.list("normalized_shape")?, args.number("eps")?);
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        Ok(input.f_layer_norm(&shape, weights.find("weight"), weights.find("bias"), eps, false)?)
    }))
}

/// `RMSNorm` over the last axes. Without an eps libtorch takes the smallest step of the dtype it computes in; in f64, which
/// arbitrates a float32 layer, it is float32's.
pub(super) fn rms(args: &Args<'_>) -> Result<Forward, Problem> {
    let (shape, eps) = (args.list("normalized_shape")?, args.number_or_none("eps")?);
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let single = (input.f_kind()? == Kind::Double).then_some(f64::from(f32::EPSILON));
        Ok(input.f_rms_norm(&shape, weights.find("weight"), eps.or(single))?)
    }))
}

/// `GroupNorm` over `[N, C, *]`.
pub(super) fn group(args: &Args<'_>) -> Result<Forward, Problem> {
    let (groups, eps) = (args.count("num_groups")?, args.number("eps")?);
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        Ok(input.f_group_norm(groups, weights.find("weight"), weights.find("bias"), eps, false)?)
    }))
}

/// `BatchNorm1d`, `BatchNorm2d` over `[N, C, *]`: by the running statistics, or by the batch's where there are none. In
/// eval mode torch asks for the buffers and not for `track_running_stats`.
pub(super) fn batch(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let eps = args.number("eps")?;
    let tracked = weights.find("running_mean").is_some() && weights.find("running_var").is_some();
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let (mean, variance) = statistics(tracked, weights);
        let (weight, bias) = (weights.find("weight"), weights.find("bias"));
        Ok(input.f_batch_norm(weight, bias, mean, variance, !tracked, MOMENTUM, eps, false)?)
    }))
}

/// `InstanceNorm1d`, `InstanceNorm2d` over `[N, C, *]`: by each instance's statistics, or by the running ones if kept.
pub(super) fn instance(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let (tracked, eps) = (tracked(args, weights)?, args.number("eps")?);
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let (mean, variance) = statistics(tracked, weights);
        let (weight, bias) = (weights.find("weight"), weights.find("bias"));
        Ok(input.f_instance_norm(weight, bias, mean, variance, !tracked, MOMENTUM, eps, false)?)
    }))
}

fn tracked(args: &Args<'_>, weights: &Weights) -> Result<bool, Problem> {
    let tracked = args.flag("track_running_stats")?;
    if tracked {
        weights.get("running_mean")?;
        weights.get("running_var")?;
    }
    Ok(tracked)
}

fn statistics(tracked: bool, weights: &Weights) -> (Option<&Tensor>, Option<&Tensor>) {
    if tracked { (weights.find("running_mean"), weights.find("running_var")) } else { (None, None) }
}
