//! How the losses of single elements are reduced.

use t2m_engine::args::Args;
use tch::{Reduction, TchError, Tensor};

use super::Problem;

pub(super) fn reduction(args: &Args<'_>) -> Result<Reduction, Problem> {
    match args.text("reduction")? {
        "none" => Ok(Reduction::None),
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        _ => Err(args.wrong("reduction", "none, mean or sum").into()),
    }
}

pub(super) fn reduced(loss: &Tensor, reduction: Reduction) -> Result<Tensor, TchError> {
    match reduction {
        Reduction::Mean => loss.f_mean(None),
        Reduction::Sum => loss.f_sum(None),
        _ => Ok(loss.shallow_clone()),
    }
}
