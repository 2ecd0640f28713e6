//! Activations and softmax.
//!
//! tch omits optional arguments of some of libtorch's functions (`alpha`, `lambd`, `negative_slope`). Those functions
//! are computed from others that give the same bits.

use tch::{TchError, Tensor};

use super::tensor::{Weights, in_single};
use super::{Built, Forward, Problem, axes, inputs, single};
use t2m_engine::args::Args;

/// The class `torch.nn.modules.activation.*`; inputs of any shape.
pub(super) fn build(class: &str, args: &Args<'_>, weights: &Weights) -> Built {
    let function: fn(&Tensor) -> Result<Tensor, TchError> = match class {
        "ReLU" => Tensor::f_relu,
        "ReLU6" => Tensor::f_relu6,
        "SiLU" => Tensor::f_silu,
        "Sigmoid" => Tensor::f_sigmoid,
        "Tanh" => Tensor::f_tanh,
        "Mish" => Tensor::f_mish,
        "LogSigmoid" => Tensor::f_log_sigmoid,
        "SELU" => Tensor::f_selu,
        "Hardswish" => Tensor::f_hardswish,
        "Hardsigmoid" => Tensor::f_hardsigmoid,
        "Softsign" => |input| input.f_div(&input.f_abs()?.f_add_scalar(1.0)?),
        "Tanhshrink" => |input| input.f_sub(&input.f_tanh()?),
        _ => return with_arguments(class, args, weights),
    };
    Ok(Some(unary(move |input| Ok(function(input)?))))
}

fn with_arguments(class: &str, args: &Args<'_>, weights: &Weights) -> Built {
    Ok(Some(match class {
        "GELU" => gelu(args)?,
        "LeakyReLU" => leaky_relu(args.number("negative_slope")?),
        // In eval mode the slope is the mean of the two.
        "RReLU" => leaky_relu((args.number("lower")? + args.number("upper")?) / 2.0),
        "ELU" => elu(args.number("alpha")?, 1.0),
        "CELU" => celu(args)?,
        "Hardtanh" => hardtanh(args)?,
        "Softplus" => softplus(args)?,
        "Softshrink" => softshrink(args)?,
        "Hardshrink" => hardshrink(args)?,
        "Threshold" => threshold(args)?,
        "PReLU" => prelu(weights)?,
        "GLU" => glu(args)?,
        "Softmax" => softmax(args, |input, axis| input.f_softmax(axis, None))?,
        "LogSoftmax" => softmax(args, |input, axis| input.f_log_softmax(axis, None))?,
        "Softmin" => softmax(args, |input, axis| input.f_neg()?.f_softmax(axis, None))?,
        "Softmax2d" => unary(|input| {
            axes(input, &[3, 4])?;
            Ok(input.f_softmax(-3, None)?)
        }),
        _ => return Ok(None),
    }))
}

/// A function of one tensor.
fn unary(function: impl Fn(&Tensor) -> Result<Tensor, Problem> + 'static) -> Forward {
    single(move |_, given| {
        let [input] = inputs(given)?;
        function(input)
    })
}

/// `GELU` with `approximate` `none` or `tanh`.
fn gelu(args: &Args<'_>) -> Result<Forward, Problem> {
    let approximate = args.text("approximate")?.to_owned();
    Ok(unary(move |input| Ok(input.f_gelu(&approximate)?)))
}

/// `LeakyReLU`. tch's own has a fixed slope. libtorch's derivative multiplies its argument by 1 or the slope, so
/// applied to the input itself it gives the same.
fn leaky_relu(slope: f64) -> Forward {
    unary(move |input| Ok(input.f_leaky_relu_backward(input, slope, false)?))
}

/// `ELU`: x where it is positive, else alpha · (exp(x · scale) - 1).
fn elu(alpha: f64, scale: f64) -> Forward {
    unary(move |input| {
        in_single(input, |input| {
            let negative = input.f_mul_scalar(scale)?.f_expm1()?.f_mul_scalar(alpha)?;
            input.f_where_self(&input.f_gt(0.0)?, &negative)
        })
    })
}

/// `CELU`, which is ELU over x / alpha.
fn celu(args: &Args<'_>) -> Result<Forward, Problem> {
    let alpha = args.number("alpha")?;
    if alpha == 0.0 {
        return Err(args.wrong("alpha", "a number other than 0").into());
    }
    Ok(elu(alpha, 1.0 / alpha))
}

fn hardtanh(args: &Args<'_>) -> Result<Forward, Problem> {
    let (low, high) = (args.number("min_val")?, args.number("max_val")?);
    Ok(unary(move |input| Ok(input.f_clamp(low, high)?)))
}

/// `Softplus`: log(1 + exp(beta · x)) / beta, and x itself where beta · x is above the threshold.
fn softplus(args: &Args<'_>) -> Result<Forward, Problem> {
    let (beta, threshold) = (args.number("beta")?, args.number("threshold")?);
    Ok(unary(move |input| {
        in_single(input, |input| {
            let scaled = input.f_mul_scalar(beta)?;
            // libtorch's own up to its fixed threshold of 20.
            let soft = if threshold <= 20.0 { scaled.f_softplus()? } else { scaled.f_exp()?.f_log1p()? };
            input.f_where_self(&scaled.f_gt(threshold)?, &soft.f_div_scalar(beta)?)
        })
    }))
}

/// `Softshrink`: x moved towards 0 by lambd, and 0 within ±lambd.
fn softshrink(args: &Args<'_>) -> Result<Forward, Problem> {
    let width = width(args)?;
    Ok(unary(move |input| in_single(input, |input| input.f_sub(&input.f_clamp(-width, width)?))))
}

/// `Hardshrink`: 0 within ±lambd. The derivative passes its argument on outside, and here that is the input itself.
fn hardshrink(args: &Args<'_>) -> Result<Forward, Problem> {
    let width = args.number("lambd")?;
    Ok(unary(move |input| Ok(input.f_hardshrink_backward(input, width)?)))
}

fn width(args: &Args<'_>) -> Result<f64, Problem> {
    let width = args.number("lambd")?;
    if width >= 0.0 { Ok(width) } else { Err(args.wrong("lambd", "a number of 0 and more").into()) }
}

fn threshold(args: &Args<'_>) -> Result<Forward, Problem> {
    let (threshold, value) = (args.number("threshold")?, args.number("value")?);
    Ok(unary(move |input| Ok(input.f_threshold(threshold, value)?)))
}

/// `PReLU`: weight `[1]` or `[C]`, input `[N, C, *]`.
fn prelu(weights: &Weights) -> Result<Forward, Problem> {
    weights.get("weight")?;
    Ok(single(|weights, given| {
        let [input] = inputs(given)?;
        Ok(input.f_prelu(weights.get("weight")?)?)
    }))
}

fn glu(args: &Args<'_>) -> Result<Forward, Problem> {
    let axis = args.integer("dim")?;
    Ok(unary(move |input| Ok(input.f_glu(axis)?)))
}

/// `Softmax` and its kin. Without a `dim`, torch takes the first axis of tensors with 0, 1 or 3 axes and the second of
/// others.
fn softmax(args: &Args<'_>, function: fn(&Tensor, i64) -> Result<Tensor, TchError>) -> Result<Forward, Problem> {
    let axis = args.integer_or_none("dim")?;
    Ok(unary(move |input| {
        let implicit = if matches!(input.dim(), 0 | 1 | 3) { 0 } else { 1 };
        Ok(function(input, axis.unwrap_or(implicit))?)
    }))
}
