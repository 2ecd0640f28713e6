//! Losses: inputs and targets of one shape, or class numbers; a number, or one for each element without reduction.

use tch::{Reduction, TchError, Tensor};

use super::reduction::{reduced, reduction};
use super::tensor::{Weights, length};
use super::{Built, Forward, Problem, inputs, margin, single};
use t2m_engine::args::Args;

/// The class `torch.nn.modules.loss.*`.
pub(super) fn build(class: &str, args: &Args<'_>, weights: &Weights) -> Built {
    let reduction = || reduction(args);
    let forward = match class {
        "L1Loss" => plain(reduction()?, |input, target, reduction| input.f_l1_loss(target, reduction)),
        "MSELoss" => plain(reduction()?, |input, target, reduction| input.f_mse_loss(target, reduction)),
        "SoftMarginLoss" => plain(reduction()?, |input, target, reduction| input.f_soft_margin_loss(target, reduction)),
        "MultiLabelMarginLoss" => {
            plain(reduction()?, |input, target, reduction| input.f_multilabel_margin_loss(target, reduction))
        }
        "SmoothL1Loss" => {
            let beta = args.number("beta")?;
            plain(reduction()?, move |input, target, reduction| match beta {
                0.0 => input.f_l1_loss(target, reduction),
                beta => input.f_smooth_l1_loss(target, reduction, beta),
            })
        }
        "HuberLoss" => {
            let delta = args.number("delta")?;
            plain(reduction()?, move |input, target, reduction| input.f_huber_loss(target, reduction, delta))
        }
        "HingeEmbeddingLoss" => {
            let margin = args.number("margin")?;
            plain(reduction()?, move |input, target, reduction| input.f_hinge_embedding_loss(target, margin, reduction))
        }
        "PoissonNLLLoss" => {
            let (log, full, eps) = (args.flag("log_input")?, args.flag("full")?, args.number("eps")?);
            plain(reduction()?, move |input, target, reduction| {
                input.f_poisson_nll_loss(target, log, full, eps, reduction)
            })
        }
        "BCELoss" => binary(reduction()?),
        "BCEWithLogitsLoss" => binary_of_logits(reduction()?),
        "KLDivLoss" => divergence(args)?,
        "NLLLoss" => likelihood(args)?,
        "CrossEntropyLoss" => cross_entropy(args)?,
        "LinearCrossEntropyLoss" => linear_cross_entropy(args, weights)?,
        "GaussianNLLLoss" => gaussian(args)?,
        "MultiLabelSoftMarginLoss" => multi_label(reduction()?),
        _ => return margin::build(class, args),
    };
    Ok(Some(forward))
}

/// A loss of input and target that libtorch reduces.
fn plain(
    reduction: Reduction,
    function: impl Fn(&Tensor, &Tensor, Reduction) -> Result<Tensor, TchError> + 'static,
) -> Forward {
    single(move |_, given| {
        let [input, target] = inputs(given)?;
        Ok(function(input, target, reduction)?)
    })
}

fn same_shape(input: &Tensor, target: &Tensor) -> Result<(), Problem> {
    let (input, target) = (input.size(), target.size());
    if input == target {
        Ok(())
    } else {
        Err(Problem(format!("the target's shape is {target:?}, the input's {input:?}")))
    }
}

/// `BCELoss`: probabilities, optional weight that broadcasts over them.
fn binary(reduction: Reduction) -> Forward {
    single(move |weights, given| {
        let [input, target] = inputs(given)?;
        same_shape(input, target)?;
        let weight = weights.find("weight").map(|weight| weight.f_expand(target.size(), false)).transpose()?;
        Ok(input.f_binary_cross_entropy(target, weight, reduction)?)
    })
}

/// `BCEWithLogitsLoss`, optional weight and pos_weight.
fn binary_of_logits(reduction: Reduction) -> Forward {
    single(move |weights, given| {
        let [input, target] = inputs(given)?;
        same_shape(input, target)?;
        let (weight, positive) = (weights.find("weight"), weights.find("pos_weight"));
        Ok(input.f_binary_cross_entropy_with_logits(target, weight, positive, reduction)?)
    })
}

/// `KLDivLoss` of log-probabilities. `batchmean` is the sum over the first axis's length.
fn divergence(args: &Args<'_>) -> Result<Forward, Problem> {
    let by_batch = args.text("reduction")? == "batchmean";
    let reduction = if by_batch { Reduction::Sum } else { reduction(args)? };
    let log_target = args.flag("log_target")?;
    Ok(single(move |_, given| {
        let [input, target] = inputs(given)?;
        let loss = input.f_kl_div(target, reduction, log_target)?;
        Ok(if by_batch && input.dim() > 0 { loss.f_div_scalar(length(input, 0)?)? } else { loss })
    }))
}

/// `NLLLoss`: log-probabilities `[N, C, *]`, class numbers `[N, *]`, optional weight `[C]`.
fn likelihood(args: &Args<'_>) -> Result<Forward, Problem> {
    let (reduction, ignored) = (reduction(args)?, args.integer("ignore_index")?);
    Ok(single(move |weights, given| {
        let [input, target] = inputs(given)?;
        Ok(input.f_nll_loss_nd(target, weights.find("weight"), reduction, ignored)?)
    }))
}

/// `CrossEntropyLoss`: logits `[N, C, *]`, class numbers `[N, *]` or probabilities in the logits' shape.
fn cross_entropy(args: &Args<'_>) -> Result<Forward, Problem> {
    let (reduction, ignored) = (reduction(args)?, args.integer("ignore_index")?);
    let smoothing = args.number("label_smoothing")?;
    Ok(single(move |weights, given| {
        let [input, target] = inputs(given)?;
        Ok(input.f_cross_entropy_loss(target, weights.find("weight"), reduction, ignored, smoothing)?)
    }))
}

/// `LinearCrossEntropyLoss`: input `[N, in]` or `[in]`, through `linear.weight` `[C · out_features, in]`.
fn linear_cross_entropy(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    weights.get("linear.weight")?;
    if !args.is_none("options")? {
        return Err(Problem(
            "the chunks of LinearCrossEntropyOptions sum in another order; they are not run".to_owned(),
        ));
    }
    let classes: Vec<i64> = [args.count("num_classes")?].into_iter().chain(args.list("out_features")?).collect();
    let (reduction, ignored) = (reduction(args)?, args.integer_or_none("ignore_index")?);
    let smoothing = args.number("label_smoothing")?;
    Ok(single(move |weights, given| {
        let [input, target] = inputs(given)?;
        let axes = super::axes(input, &[1, 2])?;
        if axes == 1 && classes.len() > 1 {
            return Err(Problem("with out_features the input needs a batch".to_owned()));
        }
        let logits = input.f_linear(weights.get("linear.weight")?, weights.find("linear.bias"))?;
        let batch = input.size().into_iter().take(axes - 1);
        let logits = logits.f_reshape(batch.chain(classes.iter().copied()).collect::<Vec<_>>())?;
        if ignored.is_some() && target.size() == logits.size() {
            return Err(Problem("ignore_index has no meaning for probabilities".to_owned()));
        }
        let ignored = ignored.unwrap_or(-100);
        Ok(logits.f_cross_entropy_loss(target, weights.find("weight"), reduction, ignored, smoothing)?)
    }))
}

/// `GaussianNLLLoss`: input, target, and a variance of the input's shape, without its last axis, or with one of 1.
fn gaussian(args: &Args<'_>) -> Result<Forward, Problem> {
    let (reduction, full, eps) = (reduction(args)?, args.flag("full")?, args.number("eps")?);
    Ok(single(move |_, given| {
        let [input, target, variance] = inputs(given)?;
        if variance.f_lt(0.0)?.f_any()?.f_int64_value(&[])? != 0 {
            return Err(Problem("the variance is below 0 somewhere".to_owned()));
        }
        let variance = spread(variance, &input.size())?.f_clamp_min(eps)?;
        let squares = input.f_sub(target)?.f_pow_tensor_scalar(2)?;
        let mut loss = variance.f_log()?.f_add(&squares.f_div(&variance)?)?.f_mul_scalar(0.5)?;
        if full {
            loss = loss.f_add_scalar(0.5 * std::f64::consts::TAU.ln())?;
        }
        Ok(reduced(&loss, reduction)?)
    }))
}

/// The variance in a shape that broadcasts with the input's.
fn spread(variance: &Tensor, shape: &[i64]) -> Result<Tensor, Problem> {
    let own = variance.size();
    let differing: Vec<i64> = shape.iter().zip(&own).filter(|(a, b)| a != b).map(|(_, own)| *own).collect();
    match shape.split_last() {
        _ if own == shape => Ok(variance.shallow_clone()),
        Some((_, shape)) if own == shape => Ok(variance.f_unsqueeze(-1)?),
        _ if own.len() == shape.len() && differing == [1] => Ok(variance.shallow_clone()),
        _ => Err(Problem(format!("the variance's shape is {own:?}, the input's {shape:?}"))),
    }
}

/// `MultiLabelSoftMarginLoss`: logits and zeros or ones `[N, C]`, optional weight `[C]`.
fn multi_label(reduction: Reduction) -> Forward {
    single(move |weights, given| {
        let [input, target] = inputs(given)?;
        let yes = target.f_mul(&input.f_log_sigmoid()?)?;
        let no = target.f_rsub_scalar(1)?.f_mul(&input.f_neg()?.f_log_sigmoid()?)?;
        let mut loss = yes.f_add(&no)?.f_neg()?;
        if let Some(weight) = weights.find("weight") {
            loss = loss.f_mul(weight)?;
        }
        let last = input.dim() as i64 - 1;
        let mean = loss.f_sum_dim_intlist([last].as_slice(), false, None)?.f_div_scalar(length(input, last)?)?;
        Ok(reduced(&mean, reduction)?)
    })
}
