//! `mlx.nn`'s functions and losses, by mlx-rs where it has them.

use mlx_rs::builder::Builder;
use mlx_rs::losses::{
    BinaryCrossEntropyBuilder, CrossEntropyBuilder, GaussianNllLossBuilder, HuberLossBuilder, KlDivLossBuilder,
    L1LossBuilder, LossReduction, MarginRankingLossBuilder, MseLossBuilder, NllLossBuilder, SmoothL1LossBuilder,
};
use mlx_rs::{Array, nn, ops};

use super::ops::Given;
use super::{Problem, float32, int32};
use crate::engine::args::Args;

type Unary = fn(&Array) -> mlx_rs::error::Result<Array>;

const UNARY: [(&str, Unary); 14] = [
    ("nn.relu", |x| nn::relu(x)),
    ("nn.relu6", |x| nn::relu6(x)),
    ("nn.silu", |x| nn::silu(x)),
    ("nn.gelu", |x| nn::gelu(x)),
    ("nn.gelu_approx", |x| nn::gelu_approximate(x)),
    ("nn.gelu_fast_approx", |x| nn::gelu_fast_approximate(x)),
    ("nn.softplus", |x| nn::softplus(x)),
    ("nn.softsign", |x| nn::softsign(x)),
    ("nn.mish", |x| nn::mish(x)),
    ("nn.selu", |x| nn::selu(x)),
    ("nn.hardswish", |x| nn::hard_swish(x)),
    ("nn.log_sigmoid", |x| nn::log_sigmoid(x)),
    ("nn.tanh", |x| ops::tanh(x)),
    ("nn.sigmoid", |x| ops::sigmoid(x)),
];

/// Call a function.
pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Result<Option<Array>, Problem> {
    if let (Some((_, function)), [Given::Array(x)]) = (UNARY.iter().find(|(known, _)| *known == name), given) {
        return Ok(Some(function(x)?));
    }
    Ok(Some(match (name, given) {
        ("nn.elu", [Given::Array(x)]) => nn::elu(x, float32(args.number_or("alpha", 1.0)?))?,
        ("nn.celu", [Given::Array(x)]) => nn::celu(x, float32(args.number_or("alpha", 1.0)?))?,
        ("nn.leaky_relu", [Given::Array(x)]) => nn::leaky_relu(x, float32(args.number_or("negative_slope", 0.01)?))?,
        ("nn.log_softmax", [Given::Array(x)]) => nn::log_softmax(x, int32(args.integer_or("axis", -1)?, "axis")?)?,
        ("nn.glu", [Given::Array(x)]) => nn::glu(x, int32(args.integer_or("axis", -1)?, "axis")?)?,
        ("nn.hard_tanh", [Given::Array(x)]) => {
            let scalar = |number: f64| Array::from_f32(float32(number)).as_dtype(x.dtype());
            let (least, most) = (args.number_or("min_val", -1.0)?, args.number_or("max_val", 1.0)?);
            ops::minimum(ops::maximum(x, scalar(least)?)?, scalar(most)?)?
        }
        ("nn.prelu", [Given::Array(x), Given::Array(alpha)]) => nn::prelu(x, alpha)?,
        _ => match (name.strip_prefix("nn.losses."), arrays(given)) {
            (Some(loss), Some(arrays)) => return self::loss(loss, &arrays, args),
            _ => return Ok(None),
        },
    }))
}

fn arrays(given: &[Given]) -> Option<Vec<&Array>> {
    given.iter().map(|one| if let Given::Array(array) = one { Some(array) } else { None }).collect()
}

fn loss(name: &str, given: &[&Array], args: &Args<'_>) -> Result<Option<Array>, Problem> {
    // Those of Python's losses that average by themselves.
    let averaged = ["mse_loss", "l1_loss", "smooth_l1_loss", "binary_cross_entropy", "gaussian_nll_loss"];
    let otherwise = if averaged.contains(&name) { "mean" } else { "none" };
    let reduction = match args.text_or("reduction", otherwise)? {
        "none" => LossReduction::None,
        "mean" => LossReduction::Mean,
        "sum" => LossReduction::Sum,
        _ => return Err(args.wrong("reduction", "none, mean or sum").into()),
    };
    let axis = || int32(args.integer_or("axis", -1)?, "axis");
    let says = |error: &dyn std::fmt::Display| Problem(error.to_string());
    Ok(Some(match (name, given) {
        ("mse_loss", [x, y]) => {
            MseLossBuilder::new().reduction(reduction).build().map_err(|e| says(&e))?.apply(x, y)?
        }
        ("l1_loss", [x, y]) => L1LossBuilder::new().reduction(reduction).build().map_err(|e| says(&e))?.apply(x, y)?,
        ("smooth_l1_loss", [x, y]) => {
            let loss =
                SmoothL1LossBuilder::new().beta(float32(args.number_or("beta", 1.0)?)).reduction(reduction).build();
            loss.map_err(|e| says(&e))?.apply(x, y)?
        }
        ("huber_loss", [x, y]) => {
            let loss =
                HuberLossBuilder::new().delta(float32(args.number_or("delta", 1.0)?)).reduction(reduction).build();
            loss.map_err(|e| says(&e))?.apply(x, y)?
        }
        ("nll_loss", [x, y]) => {
            let loss = NllLossBuilder::new().axis(axis()?).reduction(reduction).build();
            loss.map_err(|e| says(&e))?.apply(x, y)?
        }
        ("cross_entropy", [x, y, weights @ ..]) => {
            let smoothing = float32(args.number_or("label_smoothing", 0.0)?);
            let loss = CrossEntropyBuilder::new().axis(axis()?).label_smoothing(smoothing).reduction(reduction);
            let loss = loss.weights(weights.first().copied()).build();
            loss.map_err(|e| says(&e))?.apply(x, y)?
        }
        ("binary_cross_entropy", [x, y]) => {
            let logits = args.flag_or("with_logits", true)?;
            let loss = BinaryCrossEntropyBuilder::new().inputs_are_logits(logits).reduction(reduction).build();
            loss.map_err(|e| says(&e))?.apply(x, y)?
        }
        ("kl_div_loss", [x, y]) => {
            let loss = KlDivLossBuilder::new().axis(axis()?).reduction(reduction).build();
            loss.map_err(|e| says(&e))?.apply(x, y)?
        }
        ("gaussian_nll_loss", [x, y, var]) => {
            let (full, eps) = (args.flag_or("full", false)?, float32(args.number("eps")?));
            let loss = GaussianNllLossBuilder::new().full(full).eps(eps).reduction(reduction).build();
            loss.map_err(|e| says(&e))?.apply(x, y, var)?
        }
        ("margin_ranking_loss", [x, y, signs]) => {
            let margin = float32(args.number("margin")?);
            let loss = MarginRankingLossBuilder::new().margin(margin).reduction(reduction).build();
            loss.map_err(|e| says(&e))?.apply(x, y, signs)?
        }
        _ => return Ok(None),
    }))
}
