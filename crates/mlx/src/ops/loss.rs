//! `mlx.nn`'s losses, by mlx-rs's. Their default reductions are Python's.

use std::fmt::Display;

use mlx_rs::Array;
use mlx_rs::builder::Builder;
use mlx_rs::losses::{
    BinaryCrossEntropyBuilder, CrossEntropyBuilder, GaussianNllLossBuilder, HuberLossBuilder, KlDivLossBuilder,
    L1LossBuilder, LossReduction, MarginRankingLossBuilder, MseLossBuilder, NllLossBuilder, SmoothL1LossBuilder,
};

use super::{Given, Problem, Result, arrays, axis_or, float32};
use t2m_engine::args::Args;

fn reduction(args: &Args<'_>, otherwise: &'static str) -> Result<LossReduction> {
    match args.text_or("reduction", otherwise)? {
        "none" => Ok(LossReduction::None),
        "mean" => Ok(LossReduction::Mean),
        "sum" => Ok(LossReduction::Sum),
        _ => Err(args.wrong("reduction", "none, mean or sum").into()),
    }
}

fn said(error: impl Display) -> Problem {
    Problem(error.to_string())
}

pub(super) fn cross_entropy(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let (logits, targets, weights) = match given {
        [Given::Array(logits), Given::Array(targets)] => (logits, targets, None),
        [Given::Array(logits), Given::Array(targets), Given::Array(weights)] => (logits, targets, Some(weights)),
        _ => return Err(Problem("logits, targets and perhaps weights are expected".to_owned())),
    };
    let smoothing = float32(args.number_or("label_smoothing", 0.0)?);
    let loss = CrossEntropyBuilder::new().axis(axis_or(args, -1)?).label_smoothing(smoothing);
    let loss = loss.reduction(reduction(args, "none")?).weights(weights).build().map_err(said)?;
    Ok(loss.apply(logits, targets)?)
}

pub(super) fn nll(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [x, y] = arrays(given)?;
    let loss = NllLossBuilder::new().axis(axis_or(args, -1)?).reduction(reduction(args, "none")?);
    Ok(loss.build().map_err(said)?.apply(x, y)?)
}

pub(super) fn mse(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [x, y] = arrays(given)?;
    Ok(MseLossBuilder::new().reduction(reduction(args, "mean")?).build().map_err(said)?.apply(x, y)?)
}

pub(super) fn l1(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [x, y] = arrays(given)?;
    Ok(L1LossBuilder::new().reduction(reduction(args, "mean")?).build().map_err(said)?.apply(x, y)?)
}

pub(super) fn smooth_l1(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [x, y] = arrays(given)?;
    let beta = float32(args.number_or("beta", 1.0)?);
    let loss = SmoothL1LossBuilder::new().beta(beta).reduction(reduction(args, "mean")?);
    Ok(loss.build().map_err(said)?.apply(x, y)?)
}

pub(super) fn huber(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [x, y] = arrays(given)?;
    let delta = float32(args.number_or("delta", 1.0)?);
    let loss = HuberLossBuilder::new().delta(delta).reduction(reduction(args, "none")?);
    Ok(loss.build().map_err(said)?.apply(x, y)?)
}

pub(super) fn binary_cross_entropy(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [x, y] = arrays(given)?;
    let logits = args.flag_or("with_logits", true)?;
    let loss = BinaryCrossEntropyBuilder::new().inputs_are_logits(logits).reduction(reduction(args, "mean")?);
    Ok(loss.build().map_err(said)?.apply(x, y)?)
}

pub(super) fn kl_div(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [x, y] = arrays(given)?;
    let loss = KlDivLossBuilder::new().axis(axis_or(args, -1)?).reduction(reduction(args, "none")?);
    Ok(loss.build().map_err(said)?.apply(x, y)?)
}

pub(super) fn gaussian_nll(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [x, y, variances] = arrays(given)?;
    let (full, eps) = (args.flag_or("full", false)?, float32(args.number_or("eps", 1e-6)?));
    let loss = GaussianNllLossBuilder::new().full(full).eps(eps).reduction(reduction(args, "mean")?);
    Ok(loss.build().map_err(said)?.apply(x, y, variances)?)
}

pub(super) fn margin_ranking(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [x, y, signs] = arrays(given)?;
    let margin = float32(args.number_or("margin", 0.0)?);
    let loss = MarginRankingLossBuilder::new().margin(margin).reduction(reduction(args, "none")?);
    Ok(loss.build().map_err(said)?.apply(x, y, signs)?)
}
