//! Losses of distances and of margins between scores.

use tch::{Kind, Reduction, TchError, Tensor};

use super::reduction::{reduced, reduction};
use super::tensor::length;
use super::{Built, Forward, Problem, inputs, single};
use t2m_engine::args::Args;

/// The classes of `torch.nn.modules.loss` that compare three tensors, and `MultiMarginLoss`.
pub(super) fn build(class: &str, args: &Args<'_>) -> Built {
    let forward = match class {
        "CosineEmbeddingLoss" => three(args, Tensor::f_cosine_embedding_loss)?,
        "MarginRankingLoss" => three(args, Tensor::f_margin_ranking_loss)?,
        "TripletMarginLoss" => triplet(args)?,
        "TripletMarginWithDistanceLoss" => triplet_with_distance(args)?,
        "MultiMarginLoss" => multi(args)?,
        _ => return Ok(None),
    };
    Ok(Some(forward))
}

/// Two inputs and their target, -1 or 1.
fn three(
    args: &Args<'_>,
    function: fn(&Tensor, &Tensor, &Tensor, f64, Reduction) -> Result<Tensor, TchError>,
) -> Result<Forward, Problem> {
    let (reduction, margin) = (reduction(args)?, args.number("margin")?);
    Ok(single(move |_, given| {
        let [left, right, target] = inputs(given)?;
        Ok(function(left, right, target, margin, reduction)?)
    }))
}

fn margin_above_zero(args: &Args<'_>) -> Result<f64, Problem> {
    let margin = args.number("margin")?;
    if margin > 0.0 { Ok(margin) } else { Err(args.wrong("margin", "a number above 0").into()) }
}

/// `TripletMarginLoss`: anchor, positive, negative `[N, D]`.
fn triplet(args: &Args<'_>) -> Result<Forward, Problem> {
    let (reduction, margin, swap) = (reduction(args)?, margin_above_zero(args)?, args.flag("swap")?);
    let (norm, eps) = (args.number("p")?, args.number("eps")?);
    Ok(single(move |_, given| {
        let [anchor, positive, negative] = inputs(given)?;
        Ok(Tensor::f_triplet_margin_loss(anchor, positive, negative, margin, norm, eps, swap, reduction)?)
    }))
}

/// `TripletMarginWithDistanceLoss` with its default distance. Another function leaves no trace in the attributes;
/// another `PairwiseDistance` comes with the modules below the loss.
fn triplet_with_distance(args: &Args<'_>) -> Result<Forward, Problem> {
    let (reduction, margin, swap) = (reduction(args)?, margin_above_zero(args)?, args.flag("swap")?);
    let modules = args.told().and_then(|told| told.modules.as_ref());
    let attributes = modules.and_then(|modules| modules.get("distance_function")).cloned().unwrap_or_default();
    let distance = Args::of("distance_function", &attributes);
    let (norm, eps) = (distance.number_or("norm", 2.0)?, distance.number_or("eps", 1e-6)?);
    let keep = distance.flag_or("keepdim", false)?;
    distance.all_read()?;
    let between = move |left: &Tensor, right: &Tensor| Tensor::f_pairwise_distance(left, right, norm, eps, keep);
    Ok(single(move |_, given| {
        let [anchor, positive, negative] = inputs(given)?;
        if anchor.dim() != positive.dim() || anchor.dim() != negative.dim() {
            return Err(Problem("anchor, positive and negative need the same number of axes".to_owned()));
        }
        let (near, mut far) = (between(anchor, positive)?, between(anchor, negative)?);
        if swap {
            far = far.f_minimum(&between(positive, negative)?)?;
        }
        Ok(reduced(&near.f_add_scalar(margin)?.f_sub(&far)?.f_clamp_min(0.0)?, reduction)?)
    }))
}

/// `MultiMarginLoss`: scores `[N, C]` or `[C]`, class numbers `[N]`, optional weight `[C]`. tch does not bind
/// libtorch's function, so its sums are written out.
fn multi(args: &Args<'_>) -> Result<Forward, Problem> {
    let (reduction, margin, power) = (reduction(args)?, args.number("margin")?, args.integer("p")?);
    if !matches!(power, 1 | 2) {
        return Err(args.wrong("p", "1 or 2").into());
    }
    Ok(single(move |weights, given| {
        let [input, target] = inputs(given)?;
        if matches!(input.f_kind()?, Kind::Half | Kind::BFloat16) {
            return Err(Problem("libtorch has no kernel of multi_margin_loss in half precision".to_owned()));
        }
        let classes = length(input, -1)?;
        let (batch, alone) = match super::axes(input, &[1, 2])? {
            1 => (1, true),
            _ => (length(input, 0)?, false),
        };
        if target.numel() as i64 != batch || target.dim() > 1 || (target.dim() == 0 && !alone) {
            let (scores, targets) = (input.size(), target.size());
            return Err(Problem(format!("scores of shape {scores:?} do not go with targets of shape {targets:?}")));
        }
        let (rows, column) = (input.f_reshape([batch, classes])?, target.f_reshape([batch, 1])?);
        let right = rows.f_gather(1, &column, false)?;
        let mut over = right.f_rsub_scalar(margin)?.f_add(&rows)?.f_clamp_min(0.0)?;
        if power == 2 {
            over = over.f_mul(&over)?;
        }
        if let Some(weight) = weights.find("weight") {
            over = over.f_mul(&weight.f_index_select(0, &column.f_reshape([-1])?)?.f_unsqueeze(1)?)?;
        }
        let places = Tensor::f_arange(classes, (Kind::Int64, input.device()))?;
        let others = over.f_masked_fill(&places.f_eq_tensor(&column)?, 0.0)?;
        let losses = others.f_sum_dim_intlist([1].as_slice(), false, None)?.f_div_scalar(classes)?;
        Ok(reduced(&losses.f_reshape(target.size())?, reduction)?)
    }))
}
