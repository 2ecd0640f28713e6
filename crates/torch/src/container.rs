//! `Sequential`: layers one after the other.

use super::tensor::Weights;
use super::{Built, Forward, Problem, build as build_layer};
use t2m_engine::ModuleSpec;
use t2m_engine::args::Args;

/// The class `torch.nn.modules.container.*`. The argument `children` has each layer's name, class and arguments.
pub(super) fn build(class: &str, args: &Args<'_>, weights: &Weights) -> Built {
    if class != "Sequential" {
        return Ok(None);
    }
    let described = serde_json::from_value::<Vec<(String, ModuleSpec)>>(args.get("children")?.clone());
    let described = described.map_err(|error| Problem(format!("the children of a Sequential: {error}")))?;
    let mut layers: Vec<(String, Forward)> = Vec::new();
    for (name, spec) in described {
        let layer = build_layer(&spec.kind, &Args::new(&spec), &weights.below(&name))?;
        layers.push((name, layer));
    }
    Ok(Some(Box::new(move |weights, given| {
        let mut at_work: Option<Vec<tch::Tensor>> = None;
        for (name, layer) in &layers {
            at_work = Some(layer(&weights.below(name), at_work.as_deref().unwrap_or(given))?);
        }
        at_work.ok_or_else(|| Problem("a Sequential of nothing".to_owned()))
    })))
}
