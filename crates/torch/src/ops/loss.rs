//! The losses of torch.nn.functional.

use tch::{Reduction, Tensor};

use super::{Given, Problem, Result, optional, tensors};
use t2m_engine::args::Args;

/// torch's default.
const IGNORED: i64 = -100;

fn reduction(args: &Args<'_>) -> Result<Reduction> {
    match args.text_or("reduction", "mean")? {
        "none" => Ok(Reduction::None),
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        _ => Err(args.wrong("reduction", "none, mean or sum").into()),
    }
}

/// Predictions, targets, and the weight of some losses.
fn weighted(given: &[Given]) -> Result<([&Tensor; 2], Option<&Tensor>)> {
    Ok((tensors(given.get(..2).unwrap_or_default())?, optional(given, 2)?))
}

pub(super) fn cross_entropy(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let ([x, y], weight) = weighted(given)?;
    let (ignored, smoothing) = (args.integer_or("ignore_index", IGNORED)?, args.number_or("label_smoothing", 0.0)?);
    Ok(x.f_cross_entropy_loss(y, weight, reduction(args)?, ignored, smoothing)?)
}

pub(super) fn nll(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let ([x, y], weight) = weighted(given)?;
    Ok(x.f_nll_loss(y, weight, reduction(args)?, args.integer_or("ignore_index", IGNORED)?)?)
}

pub(super) fn mse(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let [x, y] = tensors(given)?;
    Ok(x.f_mse_loss(y, reduction(args)?)?)
}

pub(super) fn l1(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let [x, y] = tensors(given)?;
    Ok(x.f_l1_loss(y, reduction(args)?)?)
}

pub(super) fn smooth_l1(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let [x, y] = tensors(given)?;
    Ok(x.f_smooth_l1_loss(y, reduction(args)?, args.number_or("beta", 1.0)?)?)
}

pub(super) fn huber(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let [x, y] = tensors(given)?;
    Ok(x.f_huber_loss(y, reduction(args)?, args.number_or("delta", 1.0)?)?)
}

pub(super) fn binary_cross_entropy(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let ([x, y], weight) = weighted(given)?;
    Ok(x.f_binary_cross_entropy(y, weight, reduction(args)?)?)
}

pub(super) fn binary_cross_entropy_with_logits(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let ([x, y], weight) = weighted(given)?;
    Ok(x.f_binary_cross_entropy_with_logits(y, weight, None::<&Tensor>, reduction(args)?)?)
}

/// libtorch's kl_div only has the mean over all elements; `batchmean` is its sum divided by the length of the first
/// axis.
pub(super) fn kl_div(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let [x, y] = tensors(given)?;
    let by_batch = args.text_or("reduction", "mean")? == "batchmean";
    let reduction = if by_batch { Reduction::Sum } else { reduction(args)? };
    let loss = x.f_kl_div(y, reduction, args.flag_or("log_target", false)?)?;
    if !by_batch {
        return Ok(loss);
    }
    let rows = x.size().first().copied().filter(|rows| *rows > 0);
    let rows = rows.ok_or_else(|| Problem("there is no batch to divide by".to_owned()))?;
    Ok(loss.f_div_scalar(rows as f64)?)
}
