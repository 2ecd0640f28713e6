//! Linear and embedding layers.

use tch::Tensor;

use super::tensor::Weights;
use super::{Forward, Problem, inputs, single};
use crate::engine::args::Args;

/// `Linear`: weight `[out, in]`, optional bias `[out]`.
pub(super) fn linear(weights: &Weights) -> Result<Forward, Problem> {
    weights.get("weight")?;
    Ok(single(|weights, given| {
        let [input] = inputs(given)?;
        Ok(input.f_linear(weights.get("weight")?, weights.find("bias"))?)
    }))
}

/// `Embedding`: weight `[rows, width]`, any shape of whole numbers in. `padding_idx` only matters in training.
pub(super) fn embedding(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    weights.get("weight")?;
    if !args.is_none("max_norm")? {
        return Err(Problem(
            "Embedding with max_norm rewrites its weight in forward, so it is not measured".to_owned(),
        ));
    }
    Ok(single(|weights, given| {
        let [ids] = inputs(given)?;
        Ok(Tensor::f_embedding(weights.get("weight")?, ids, -1, false, false)?)
    }))
}
