//! Activations, softmax and dropout.

use mlx_rs::error::Exception;
use mlx_rs::module::{Module, Param};
use mlx_rs::{Array, nn, ops};

use super::tensor::Weights;
use super::{Forward, Problem, channels, float32, inputs, int32, single};
use t2m_engine::args::Args;

/// A module of mlx-rs without arguments.
pub(super) fn unary<M>(module: fn() -> M) -> Forward
where
    M: for<'a> Module<&'a Array, Output = Array, Error = Exception> + 'static,
{
    single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(module().forward(input)?)
    })
}

/// `nn.GELU` by mlx-rs's module: `approx` is `none` (by erf), `precise` (by tanh) or `fast` (by a sigmoid).
pub(super) fn gelu(args: &Args<'_>) -> Result<Forward, Problem> {
    let approximate = || match args.text("approx")? {
        "none" => Ok(nn::GeluApprox::None),
        "precise" => Ok(nn::GeluApprox::Precise),
        "fast" => Ok(nn::GeluApprox::Fast),
        _ => Err(args.wrong("approx", "none, precise or fast")),
    };
    let approximate = approximate()?;
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(nn::Gelu { approximate }.forward(input)?)
    }))
}

/// `nn.LeakyReLU` by mlx-rs's module.
pub(super) fn leaky_relu(args: &Args<'_>) -> Result<Forward, Problem> {
    let neg_slope = float32(args.number("negative_slope")?);
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(nn::LeakyRelu { neg_slope }.forward(input)?)
    }))
}

/// `nn.Softmax` by mlx-rs's module: over the last axis.
pub(super) fn softmax_layer() -> Forward {
    single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(nn::Softmax { axis: -1 }.forward(input)?)
    })
}

/// `mx.softmax` over `axis`; `precise` sums in float32.
pub(super) fn softmax(args: &Args<'_>) -> Result<Forward, Problem> {
    let axis = int32(args.integer("axis")?, "axis")?;
    let precise = args.flag_or("precise", false)?;
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(ops::softmax_axis(input, axis, precise)?)
    }))
}

/// `nn.PReLU` by mlx-rs's module: one slope, or one for each channel of the last axis.
pub(super) fn prelu(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    args.agree("num_parameters", weights.get("weight")?.shape())?;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let weight = weights.get("weight")?;
        if weight.size() != 1 && weight.shape() != [channels(input, 1)?] {
            return Err(Problem(format!("slopes {:?} do not fit an input of {:?}", weight.shape(), input.shape())));
        }
        Ok(nn::Prelu { weight: Param::new(weight.clone()) }.forward(input)?)
    }))
}

/// `nn.ELU` by mlx-rs's function, which has no module.
pub(super) fn elu(args: &Args<'_>) -> Result<Forward, Problem> {
    let alpha = float32(args.number("alpha")?);
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(nn::elu(input, alpha)?)
    }))
}

/// `nn.CELU` by mlx-rs's module.
pub(super) fn celu(args: &Args<'_>) -> Result<Forward, Problem> {
    let alpha = float32(args.number("alpha")?);
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(nn::Celu { alpha }.forward(input)?)
    }))
}

/// `nn.GLU` by mlx-rs's module.
pub(super) fn glu(args: &Args<'_>) -> Result<Forward, Problem> {
    let axis = int32(args.integer("axis")?, "axis")?;
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(nn::Glu { axis }.forward(input)?)
    }))
}

/// `nn.Softshrink` by ops, as mlx-rs has none.
pub(super) fn softshrink(args: &Args<'_>) -> Result<Forward, Problem> {
    let lambda = float32(args.number("lambd")?);
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        let scalar = |number: f32| Array::from_f32(number).as_dtype(input.dtype());
        let moved = ops::subtract(input, ops::multiply(ops::sign(input)?, scalar(lambda)?)?)?;
        Ok(ops::select(&ops::gt(ops::abs(input)?, scalar(lambda)?)?, &moved, &ops::zeros_like(input)?)?)
    }))
}

/// `nn.HardTanh` by ops, as mlx-rs has none: between -1 and 1, as Python's.
pub(super) fn hard_tanh() -> Forward {
    single(|_, given| {
        let [input] = inputs(given)?;
        let scalar = |number: f32| Array::from_f32(number).as_dtype(input.dtype());
        Ok(ops::minimum(ops::maximum(input, scalar(-1.0)?)?, scalar(1.0)?)?)
    })
}

/// `nn.HardShrink` by ops, as mlx-rs has none: beyond 0.5, as Python's.
pub(super) fn hard_shrink() -> Forward {
    single(|_, given| {
        let [input] = inputs(given)?;
        let half = Array::from_f32(0.5).as_dtype(input.dtype())?;
        Ok(ops::select(&ops::gt(ops::abs(input)?, half)?, input, &ops::zeros_like(input)?)?)
    })
}

/// `nn.Softmin` by ops, as mlx-rs has none: over the last axis.
pub(super) fn softmin() -> Forward {
    single(|_, given| {
        let [input] = inputs(given)?;
        Ok(ops::softmax_axis(ops::negative(input)?, -1, false)?)
    })
}

/// `nn.Identity`.
pub(super) fn identity() -> Forward {
    single(|_, given| {
        let [input] = inputs(given)?;
        Ok(input.clone())
    })
}

/// `nn.Dropout`, `nn.Dropout2d`, `nn.Dropout3d` by mlx-rs's module, in eval mode: the input itself.
pub(super) fn dropout(args: &Args<'_>) -> Result<Forward, Problem> {
    let one_minus_p = 1.0 - float32(args.number("p")?);
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(nn::Dropout { one_minus_p, training: false }.forward(input)?)
    }))
}
