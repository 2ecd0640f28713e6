//! Normalisation by the responses of neighbouring channels.

use tch::Tensor;

use super::tensor::length;
use super::{Forward, Problem, axes, inputs, single};
use t2m_engine::args::Args;

/// How many channels, and what becomes of their mean square: (k + alpha · mean)^beta.
struct Response {
    size: i64,
    alpha: f64,
    beta: f64,
    k: f64,
}

impl Response {
    fn new(args: &Args<'_>) -> Result<Response, Problem> {
        let (size, alpha) = (args.count("size")?, args.number("alpha")?);
        Ok(Response { size, alpha, beta: args.number("beta")?, k: args.number("k")? })
    }
}

/// `LocalResponseNorm` over `[N, C, *]`, by an average over channels like Python's.
pub(super) fn local(args: &Args<'_>) -> Result<Forward, Problem> {
    let response = Response::new(args)?;
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        let shape = input.size();
        if shape.len() < 3 {
            return Err(Problem(format!("the layer takes an input of 3 axes and more, not {}", shape.len())));
        }
        if input.numel() == 0 {
            return Ok(input.shallow_clone());
        }
        let mean = channel_mean(&input.f_mul(input)?, response.size)?;
        let divisor = mean.f_mul_scalar(response.alpha)?.f_add_scalar(response.k)?;
        Ok(input.f_div(&divisor.f_pow_tensor_scalar(response.beta)?)?)
    }))
}

/// The mean over `size` channels around each, zeros beyond the ends: `[N, C, *]` to the same shape.
fn channel_mean(squares: &Tensor, size: i64) -> Result<Tensor, Problem> {
    let (before, behind) = (size / 2, (size - 1) / 2);
    let shape = squares.size();
    if shape.len() == 3 {
        let padded = squares.f_unsqueeze(1)?.f_pad([0, 0, before, behind], "constant", None)?;
        return Ok(padded.f_avg_pool2d([size, 1], [1, 1], [0, 0], false, true, None)?.f_squeeze_dim(1)?);
    }
    let rows = squares.f_view([length(squares, 0)?, 1, length(squares, 1)?, length(squares, 2)?, -1].as_slice())?;
    let padded = rows.f_pad([0, 0, 0, 0, before, behind], "constant", None)?;
    let mean = padded.f_avg_pool3d([size, 1, 1], [1, 1, 1], [0, 0, 0], false, true, None)?.f_squeeze_dim(1)?;
    Ok(mean.f_view(shape.as_slice())?)
}

/// `CrossMapLRN2d` over `[N, C, H, W]`: a running sum of squares from channel to channel, with additions and
/// subtractions in Python's order.
pub(super) fn cross_map(args: &Args<'_>) -> Result<Forward, Problem> {
    let response = Response::new(args)?;
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        axes(input, &[4])?;
        let sums = moving_sums(&input.f_pow_tensor_scalar(2)?, (response.size + 1) / 2)?;
        let scale = sums.f_mul_scalar(response.alpha / response.size as f64)?.f_add_scalar(response.k)?;
        Ok(scale.f_pow_tensor_scalar(-response.beta)?.f_mul(input)?)
    }))
}

/// For each channel the sum over the channels less than `reach` away.
fn moving_sums(squares: &Tensor, reach: i64) -> Result<Tensor, Problem> {
    let channels = squares.f_unbind(1)?;
    let reach = usize::try_from(reach).unwrap_or(usize::MAX);
    let first = channels.first().ok_or_else(|| Problem("the input has no channels".to_owned()))?;
    let mut sum = first.f_zeros_like()?;
    for square in channels.iter().take(reach) {
        sum = sum.f_add(square)?;
    }
    let mut sums = vec![sum.shallow_clone()];
    for channel in 1..channels.len() {
        if let Some(next) = channels.get((channel - 1).saturating_add(reach)) {
            sum = sum.f_add(next)?;
        }
        if let Some(left) = channel.checked_sub(reach).filter(|left| *left > 0).and_then(|left| channels.get(left)) {
            sum = sum.f_sub(left)?;
        }
        sums.push(sum.shallow_clone());
    }
    Ok(Tensor::f_stack(&sums, 1)?)
}
