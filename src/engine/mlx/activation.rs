//! Activations, softmax and dropout.

use mlx_rs::error::Exception;
use mlx_rs::module::Module;
use mlx_rs::{Array, nn, ops};

use super::{Forward, Problem, float32, inputs, int32};
use crate::engine::args::Args;

/// A module of mlx-rs without arguments.
pub(super) fn unary<M>(module: fn() -> M) -> Forward
where
    M: for<'a> Module<&'a Array, Output = Array, Error = Exception> + 'static,
{
    Box::new(move |_, given| {
        let [input] = inputs(given)?;
        Ok(module().forward(input)?)
    })
}

/// `nn.GELU` by mlx-rs's module: `approx` is `none` (by erf), `precise` (by tanh) or `fast` (by a sigmoid).
pub(super) fn gelu(args: Args) -> Result<Forward, Problem> {
    let approximate = || match args.text("approx")? {
        "none" => Ok(nn::GeluApprox::None),
        "precise" => Ok(nn::GeluApprox::Precise),
        "fast" => Ok(nn::GeluApprox::Fast),
        _ => Err(args.wrong("approx", "none, precise or fast")),
    };
    let approximate = approximate()?;
    Ok(Box::new(move |_, given| {
        let [input] = inputs(given)?;
        Ok(nn::Gelu { approximate }.forward(input)?)
    }))
}

/// `nn.LeakyReLU` by mlx-rs's module.
pub(super) fn leaky_relu(args: Args) -> Result<Forward, Problem> {
    let neg_slope = float32(args.number("negative_slope")?);
    Ok(Box::new(move |_, given| {
        let [input] = inputs(given)?;
        Ok(nn::LeakyRelu { neg_slope }.forward(input)?)
    }))
}

/// `nn.Softmax` by mlx-rs's module over `axis` (the last without one), or by its op where `precise` asks for sums in
/// float32, which the module cannot do.
pub(super) fn softmax(args: Args) -> Result<Forward, Problem> {
    let axis = if args.has("axis") { args.integer_or_none("axis")? } else { None };
    let axis = int32(axis.unwrap_or(-1), "axis")?;
    let precise = args.flag("precise")?;
    Ok(Box::new(move |_, given| {
        let [input] = inputs(given)?;
        Ok(if precise { ops::softmax_axis(input, axis, true)? } else { nn::Softmax { axis }.forward(input)? })
    }))
}

/// `nn.Dropout` by mlx-rs's module, in eval mode: the input itself.
pub(super) fn dropout(args: Args) -> Result<Forward, Problem> {
    let one_minus_p = 1.0 - float32(args.number("p")?);
    Ok(Box::new(move |_, given| {
        let [input] = inputs(given)?;
        Ok(nn::Dropout { one_minus_p, training: false }.forward(input)?)
    }))
}
