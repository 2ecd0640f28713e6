//! Distances between two tensors.

use tch::Tensor;

use super::{Built, inputs, single};
use t2m_engine::args::Args;

/// The class `torch.nn.modules.distance.*`; both inputs of one shape.
pub(super) fn build(class: &str, args: &Args<'_>) -> Built {
    Ok(Some(match class {
        "CosineSimilarity" => {
            let (axis, eps) = (args.integer("dim")?, args.number("eps")?);
            single(move |_, given| {
                let [left, right] = inputs(given)?;
                Ok(Tensor::f_cosine_similarity(left, right, axis, eps)?)
            })
        }
        "PairwiseDistance" => {
            let (norm, eps, keep) = (args.number("norm")?, args.number("eps")?, args.flag("keepdim")?);
            single(move |_, given| {
                let [left, right] = inputs(given)?;
                Ok(Tensor::f_pairwise_distance(left, right, norm, eps, keep)?)
            })
        }
        _ => return Ok(None),
    }))
}
