//! Activations, softmax and dropout.

use tch::{TchError, Tensor};

use super::{Forward, Problem, inputs, single};
use crate::engine::args::Args;

/// A function of one tensor without arguments.
pub(super) fn unary(function: fn(&Tensor) -> Result<Tensor, TchError>) -> Forward {
    single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(function(input)?)
    })
}

/// `GELU` with `approximate` `none` or `tanh`.
pub(super) fn gelu(args: &Args<'_>) -> Result<Forward, Problem> {
    let approximate = args.text("approximate")?.to_owned();
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(input.f_gelu(&approximate)?)
    }))
}

/// `LeakyReLU`. tch's own has a fixed slope; libtorch's derivative, which multiplies what it is given by 1 or the slope,
/// gives the same when it is given the input itself.
pub(super) fn leaky_relu(args: &Args<'_>) -> Result<Forward, Problem> {
    let slope = args.number("negative_slope")?;
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(input.f_leaky_relu_backward(input, slope, false)?)
    }))
}

/// `Softmax`. Without a `dim`, torch takes the first axis of tensors with 0, 1 or 3 axes and the second of others.
pub(super) fn softmax(args: &Args<'_>) -> Result<Forward, Problem> {
    let axis = args.integer_or_none("dim")?;
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        let implicit = if matches!(input.dim(), 0 | 1 | 3) { 0 } else { 1 };
        Ok(input.f_softmax(axis.unwrap_or(implicit), None)?)
    }))
}
