//! Norms, and what only scales.

use tch::{TchError, Tensor};

use super::super::tensor::Weights;
use super::super::{Built, Forward, Problem, inputs, single};
use super::{channels_first, channels_last, like, wide};
use t2m_engine::args::Args;

pub(super) fn build(name: &str, args: &Args<'_>, weights: &Weights) -> Built {
    Ok(Some(match name {
        "t2m.rms_norm" => rms(args)?,
        "t2m.gated_rms_norm" => gated(args, weights)?,
        "t2m.layer_norm" => layer(args)?,
        "t2m.layer_norm_per_head" => per_head(args, weights)?,
        "t2m.simple_norm" => simple(args)?,
        "t2m.global_response_norm" => global_response(args, weights)?,
        "t2m.filter_response_norm" => filter_response(args, weights)?,
        "t2m.scale" => scale(args, weights)?,
        _ => return Ok(None),
    }))
}

/// `x / sqrt(mean(x²) + eps)` over the last axis.
fn root_mean_square(input: &Tensor, eps: f64) -> Result<Tensor, TchError> {
    let square = input.f_square()?.f_mean_dim(&[-1i64][..], true, None)?;
    input.f_mul(&square.f_add_scalar(eps)?.f_rsqrt()?)
}

/// `weight` plus a number, and `bias`, each if there is one.
fn affine(input: &Tensor, weights: &Weights, offset: f64) -> Result<Tensor, Problem> {
    let mut output = input.shallow_clone();
    if let Some(weight) = weights.find("weight") {
        let weight = wide(weight)?;
        output = output.f_mul(&if offset == 0.0 { weight } else { weight.f_add_scalar(offset)? })?;
    }
    if let Some(bias) = weights.find("bias") {
        output = output.f_add(&wide(bias)?)?;
    }
    Ok(output)
}

/// A function over the last axis of an input, whose channels are the second axis if the argument says so.
fn over_channels(
    args: &Args<'_>,
    function: impl Fn(&Weights, &Tensor) -> Result<Tensor, Problem> + 'static,
) -> Result<Forward, Problem> {
    let first = args.flag_or("channels_first", false)? || args.text_or("data_format", "")? == "channels_first";
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let moved = wide(&if first { channels_last(input)? } else { input.shallow_clone() })?;
        let output = like(&function(weights, &moved)?, input)?;
        if first { channels_first(&output) } else { Ok(output) }
    }))
}

/// RMS norm over the last axis, or over parts of it of `group_size`, times weight + `offset`, plus bias.
fn rms(args: &Args<'_>) -> Result<Forward, Problem> {
    let (eps, offset) = (args.number("eps")?, args.number_or("offset", 0.0)?);
    let group = if args.has("group_size") { args.integer_or_none("group_size")? } else { None };
    over_channels(args, move |weights, input| {
        let normed = match group {
            Some(size) => root_mean_square(&input.f_unflatten(-1, &[-1, size][..])?, eps)?.f_flatten(-2, -1)?,
            None => root_mean_square(input, eps)?,
        };
        affine(&normed, weights, offset)
    })
}

/// RMS norm in `groups` with a second input as its gate, which is applied `before` the norm or after it, through `silu` or
/// `sigmoid`. Without a second input it is the norm alone.
fn gated(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    weights.get("weight")?;
    let (eps, groups, before) = (args.number("eps")?, args.count("groups")?, args.flag("before")?);
    let gate: fn(&Tensor) -> Result<Tensor, TchError> = match args.text("activation")? {
        "silu" => Tensor::f_silu,
        "sigmoid" => Tensor::f_sigmoid,
        _ => return Err(args.wrong("activation", "silu or sigmoid").into()),
    };
    Ok(single(move |weights, given| {
        let gated = |x: &Tensor| match given.get(1) {
            Some(by) => Ok::<_, Problem>(x.f_mul(&gate(&wide(by)?)?)?),
            None => Ok(x.shallow_clone()),
        };
        let input = given.first().ok_or_else(|| Problem("the layer takes 1 or 2 inputs, not 0".to_owned()))?;
        let x = wide(input)?;
        let x = if before { gated(&x)? } else { x };
        let normed = root_mean_square(&x.f_unflatten(-1, &[groups, -1][..])?, eps)?.f_flatten(-2, -1)?;
        let scaled = normed.f_mul(&wide(weights.get("weight")?)?)?;
        like(&if before { scaled } else { gated(&scaled)? }, input)
    }))
}

/// Layer norm over the last axis alone, whatever axes the weight has, times weight + `offset`, plus bias. With `merged`
/// the last two axes are merged first.
fn layer(args: &Args<'_>) -> Result<Forward, Problem> {
    let (eps, offset) = (args.number("eps")?, args.number_or("offset", 0.0)?);
    let merged = args.flag_or("merged", false)?;
    over_channels(args, move |weights, input| {
        let width = super::super::tensor::length(input, -1)?;
        let normed = input.f_layer_norm(&[width][..], None::<Tensor>, None::<Tensor>, eps, false)?;
        affine(&if merged { normed.f_flatten(-2, -1)? } else { normed }, weights, offset)
    })
}

/// A separate layer norm for each head of `[N, heads, L, D]`: weights `norms.0.weight`, `norms.1.weight`, …
fn per_head(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let (eps, heads) = (args.number("eps")?, args.count("num_heads")?);
    let of = |weights: &Weights, head: i64| weights.get(&format!("norms.{head}.weight")).map(Tensor::shallow_clone);
    for head in 0..heads {
        let _present = of(weights, head)?;
    }
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let each = (0..heads).map(|head| {
            let weight = of(weights, head)?;
            Ok(input.f_narrow(1, head, 1)?.f_layer_norm(&weight.size()[..], Some(&weight), None, eps, false)?)
        });
        let each = each.collect::<Result<Vec<_>, Problem>>()?;
        Ok(Tensor::f_cat(&each, 1)?)
    }))
}

/// `x / sqrt(var(x) + eps)` over the last axis, times weight: the variance is divided by n - 1, and x is not centred.
fn simple(args: &Args<'_>) -> Result<Forward, Problem> {
    let eps = args.number("eps")?;
    over_channels(args, move |weights, input| {
        let variance = input.f_var_dim(&[-1i64][..], true, true)?;
        affine(&input.f_mul(&variance.f_add_scalar(eps)?.f_rsqrt()?)?, weights, 0.0)
    })
}

/// ConvNeXt's global response norm: norms over space, divided by their mean over channels, over `[N, H, W, C]`.
fn global_response(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let eps = args.number("eps")?;
    weights.get("weight")?;
    weights.get("bias")?;
    let first = args.integer("channel_dim")? == 1;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let x = if first { channels_last(input)? } else { input.shallow_clone() };
        let norm = x.f_square()?.f_sum_dim_intlist(&[1i64, 2][..], true, None)?.f_sqrt()?;
        let relative = norm.f_div(&norm.f_mean_dim(&[-1i64][..], true, None)?.f_add_scalar(eps)?)?;
        let scaled = x.f_mul(&relative)?.f_mul(weights.get("weight")?)?.f_add(weights.get("bias")?)?;
        let output = x.f_add(&scaled)?;
        if first { channels_first(&output) } else { Ok(output) }
    }))
}

/// Filter response norm over `[N, C, H, W]`: by the root of the mean square over space, then weight and bias, and no less
/// than `tau` where there is one.
fn filter_response(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let eps = args.number("eps")?;
    weights.get("weight")?;
    weights.get("bias")?;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let x = channels_last(input)?;
        let square = wide(&x)?.f_square()?.f_mean_dim(&[1i64, 2][..], true, None)?;
        let normed = x.f_mul(&like(&square.f_add_scalar(eps)?.f_rsqrt()?, &x)?)?;
        let output = normed.f_mul(weights.get("weight")?)?.f_add(weights.get("bias")?)?;
        channels_first(&match weights.find("tau") {
            Some(tau) => output.f_maximum(tau)?,
            None => output,
        })
    }))
}

/// The input times weight, plus bias if there is one; along the channels with `channels_first`.
fn scale(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    weights.get("weight")?;
    over_channels(args, |weights, input| affine(input, weights, 0.0))
}
