//! Activations, softmax and dropout.

use mlx_rs::error::Exception;
use mlx_rs::module::Module;
use mlx_rs::{Array, nn, ops};

use super::{Forward, Problem, float32, inputs, int32, single};
use crate::engine::args::Args;

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

/// `nn.Dropout` by mlx-rs's module, in eval mode: the input itself.
pub(super) fn dropout(args: &Args<'_>) -> Result<Forward, Problem> {
    let one_minus_p = 1.0 - float32(args.number("p")?);
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(nn::Dropout { one_minus_p, training: false }.forward(input)?)
    }))
}
