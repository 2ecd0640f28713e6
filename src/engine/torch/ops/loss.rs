//! The losses of torch.nn.functional.

use tch::{Reduction, Tensor};

use super::{Called, Given, Problem, done, optional, tensors};
use crate::engine::args::Args;

/// What torch takes where none is told.
const IGNORED: i64 = -100;

pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    let known = [
        "cross_entropy",
        "nll_loss",
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "kl_div",
    ];
    if !known.contains(&name) {
        return Ok(None);
    }
    let [x, y] = tensors(given.get(..2).unwrap_or_default())?;
    let weight = optional(given, 2)?;
    // libtorch's kl_div knows the mean over all elements alone; `batchmean` is its sum by the first axis.
    let word = args.text_or("reduction", "mean")?;
    let reduction = match word {
        "none" => Reduction::None,
        "mean" => Reduction::Mean,
        "sum" => Reduction::Sum,
        "batchmean" if name == "kl_div" => Reduction::Sum,
        _ => return Err(args.wrong("reduction", "none, mean or sum").into()),
    };
    let ignored = || args.integer_or("ignore_index", IGNORED);
    done(match name {
        "cross_entropy" => {
            let smoothing = args.number_or("label_smoothing", 0.0)?;
            x.f_cross_entropy_loss(y, weight, reduction, ignored()?, smoothing)
        }
        "nll_loss" => x.f_nll_loss(y, weight, reduction, ignored()?),
        "mse_loss" => x.f_mse_loss(y, reduction),
        "l1_loss" => x.f_l1_loss(y, reduction),
        "smooth_l1_loss" => x.f_smooth_l1_loss(y, reduction, args.number_or("beta", 1.0)?),
        "huber_loss" => x.f_huber_loss(y, reduction, args.number_or("delta", 1.0)?),
        "binary_cross_entropy" => x.f_binary_cross_entropy(y, weight, reduction),
        "binary_cross_entropy_with_logits" => {
            x.f_binary_cross_entropy_with_logits(y, weight, None::<&Tensor>, reduction)
        }
        _ => return kl_div(x, y, word, reduction, args),
    })
}

fn kl_div(x: &Tensor, y: &Tensor, word: &str, reduction: Reduction, args: &Args<'_>) -> Called {
    let loss = x.f_kl_div(y, reduction, args.flag_or("log_target", false)?)?;
    if word != "batchmean" {
        return done(Ok(loss));
    }
    let rows = x.size().first().copied().filter(|rows| *rows > 0);
    let rows = rows.ok_or_else(|| Problem("there is no batch to divide by".to_owned()))?;
    done(loss.f_div_scalar(rows as f64))
}
