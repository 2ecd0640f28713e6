//! Normalisation layers, in eval mode.

use tch::{Kind, Tensor};

use super::tensor::Weights;
use super::{Built, Forward, Problem, axes, inputs, response, single};
use t2m_engine::args::Args;

/// `momentum` has no effect in eval mode.
const MOMENTUM: f64 = 0.0;

/// The class `torch.nn.modules.normalization.*`.
pub(super) fn build(class: &str, args: &Args<'_>) -> Built {
    Ok(Some(match class {
        "LayerNorm" => layer(args)?,
        "RMSNorm" => rms(args)?,
        "GroupNorm" => group(args)?,
        "LocalResponseNorm" => response::local(args)?,
        "CrossMapLRN2d" => response::cross_map(args)?,
        _ => return Ok(None),
    }))
}

/// The classes of `torch.nn.modules.batchnorm` and `instancenorm`.
pub(super) fn by_channel(class: &str, args: &Args<'_>, weights: &Weights) -> Built {
    Ok(Some(match class {
        "BatchNorm1d" => batch(args, weights, Some(&[2, 3]))?,
        "BatchNorm2d" => batch(args, weights, Some(&[4]))?,
        "BatchNorm3d" => batch(args, weights, Some(&[5]))?,
        // There is nothing to synchronise in eval mode.
        "SyncBatchNorm" => batch(args, weights, None)?,
        "InstanceNorm1d" => instance(args, weights, 1)?,
        "InstanceNorm2d" => instance(args, weights, 2)?,
        "InstanceNorm3d" => instance(args, weights, 3)?,
        _ => return Ok(None),
    }))
}

/// `LayerNorm` over the last axes, with or without weight and bias.
fn layer(args: &Args<'_>) -> Result<Forward, Problem> {
    let (shape, eps) = (args.list("normalized_shape")?, args.number("eps")?);
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        Ok(input.f_layer_norm(&shape, weights.find("weight"), weights.find("bias"), eps, false)?)
    }))
}

/// `RMSNorm` over the last axes. Without an eps libtorch takes the epsilon of the dtype it computes in; in f64, the
/// reference for a float32 layer, float32's.
fn rms(args: &Args<'_>) -> Result<Forward, Problem> {
    let (shape, eps) = (args.list("normalized_shape")?, args.number_or_none("eps")?);
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let single = (input.f_kind()? == Kind::Double).then_some(f64::from(f32::EPSILON));
        Ok(input.f_rms_norm(&shape, weights.find("weight"), eps.or(single))?)
    }))
}

/// `GroupNorm` over `[N, C, *]`.
fn group(args: &Args<'_>) -> Result<Forward, Problem> {
    let (groups, eps) = (args.count("num_groups")?, args.number("eps")?);
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        Ok(input.f_group_norm(groups, weights.find("weight"), weights.find("bias"), eps, false)?)
    }))
}

/// Batch normalisation over `[N, C, *]`: by the running statistics, or by the batch's if there are none. In eval mode
/// torch checks for the buffers and not for `track_running_stats`.
fn batch(args: &Args<'_>, weights: &Weights, allowed: Option<&'static [usize]>) -> Result<Forward, Problem> {
    let eps = args.number("eps")?;
    let tracked = weights.find("running_mean").is_some() && weights.find("running_var").is_some();
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        if let Some(allowed) = allowed {
            axes(input, allowed)?;
        }
        let (mean, variance) = statistics(tracked, weights);
        let (weight, bias) = (weights.find("weight"), weights.find("bias"));
        Ok(input.f_batch_norm(weight, bias, mean, variance, !tracked, MOMENTUM, eps, false)?)
    }))
}

/// Instance normalisation over `[N, C, *]` or `[C, *]`: by each instance's statistics, or by the running ones if kept.
fn instance(args: &Args<'_>, weights: &Weights, count: usize) -> Result<Forward, Problem> {
    let (tracked, eps) = (tracked(args, weights)?, args.number("eps")?);
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let alone = axes(input, &[count + 1, count + 2])? == count + 1;
        let input = if alone { input.f_unsqueeze(0)? } else { input.shallow_clone() };
        let (mean, variance) = statistics(tracked, weights);
        let (weight, bias) = (weights.find("weight"), weights.find("bias"));
        let output = input.f_instance_norm(weight, bias, mean, variance, !tracked, MOMENTUM, eps, false)?;
        Ok(if alone { output.f_squeeze_dim(0)? } else { output })
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
