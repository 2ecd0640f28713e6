//! Weights that are no tensors of their own: torch computes them from others before each forward.

use super::{Model, Module, ModuleId};
use crate::checkpoint::{Checkpoint, TensorId};

/// How a weight is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reparametrized {
    /// `weight_g · weight_v / ‖weight_v‖`, by a hook (`torch.nn.utils.weight_norm`).
    WeightNorm,
    /// `weight_orig / σ`, by a hook (`torch.nn.utils.spectral_norm`).
    SpectralNorm,
    /// `weight_orig · weight_mask`, by a hook (`torch.nn.utils.prune`).
    Pruned,
    /// By `torch.nn.utils.parametrize`, which changes the class as well.
    Parametrized,
}

/// Where `torch.nn.utils.parametrize` keeps what a weight is computed from.
const PARAMETRIZED: &str = "parametrizations.weight";

impl Reparametrized {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Reparametrized::WeightNorm => "weight norm",
            Reparametrized::SpectralNorm => "spectral norm",
            Reparametrized::Pruned => "pruned",
            Reparametrized::Parametrized => "parametrized",
        }
    }

    /// Why the layer cannot be converted as it is, and the way out.
    pub fn reason(self) -> &'static str {
        match self {
            Reparametrized::WeightNorm => {
                "Its weight is computed from weight_g and weight_v (weight norm): make it plain with torch.nn.utils.remove_weight_norm and save again."
            }
            Reparametrized::SpectralNorm => {
                "Its weight is computed from weight_orig and weight_u (spectral norm): make it plain with torch.nn.utils.remove_spectral_norm and save again."
            }
            Reparametrized::Pruned => {
                "Its weight is computed from weight_orig and weight_mask (pruning): make it plain with torch.nn.utils.prune.remove and save again."
            }
            Reparametrized::Parametrized => {
                "Its weight is computed by a parametrization that is not folded: make it plain with torch.nn.utils.parametrize.remove_parametrizations and save again."
            }
        }
    }

    /// By a hook: the names of the module's own tensors tell.
    pub fn by_hook(module: &Module) -> Option<Reparametrized> {
        Some(hooked(module)?.0)
    }
}

fn hooked(module: &Module) -> Option<(Reparametrized, TensorId)> {
    // Asked of every module, and seldom so.
    if !module.tensors.iter().any(|own| own.name.starts_with("weight_")) {
        return None;
    }
    let both = |one: &str, other: &str| module.tensor(one).and(module.tensor(other));
    // Spectral norm has a `weight_v` too, of one axis.
    [
        (Reparametrized::SpectralNorm, both("weight_u", "weight_orig")),
        (Reparametrized::Pruned, both("weight_mask", "weight_orig")),
        (Reparametrized::WeightNorm, both("weight_g", "weight_v")),
    ]
    .into_iter()
    .find_map(|(how, tensor)| Some((how, tensor?)))
}

/// How a module's weight is computed, and the tensor that has the weight's shape; `None` where it is plain.
pub fn weight(model: &Model, id: ModuleId) -> Option<(Reparametrized, TensorId)> {
    let module = model.modules.get(id)?;
    if let Some(found) = hooked(module) {
        return Some(found);
    }
    let below = model.modules.get(id + 1..module.end)?;
    let longest = module.path.len() + PARAMETRIZED.len() + 1;
    let near = below.iter().take_while(|child| child.path.len() <= longest);
    let list = near.filter(|child| child.depth == module.depth + 2).find(|child| child.path.ends_with(PARAMETRIZED))?;
    let computed_from = list.tensor("original1").or_else(|| list.tensor("original"))?;
    Some((Reparametrized::Parametrized, computed_from))
}

/// A weight that is `g·v/‖v‖`, and what torch computes it from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightNorm {
    /// Name of `g` in the module.
    pub norm: &'static str,
    /// Name of `v`, which has the weight's shape.
    pub direction: &'static str,
    /// The axis whose slices have a norm each; `None` for one norm over all.
    pub dim: Option<usize>,
}

/// What a weight norm is computed from, by a hook or by a parametrization; `None` where the weight is plain or computed
/// otherwise.
///
/// The file does not say `dim`. The shape of `g` does: it has one axis that is not 1, or one element for all.
pub fn weight_norm(checkpoint: &Checkpoint, model: &Model, id: ModuleId) -> Option<WeightNorm> {
    let (how, direction) = weight(model, id)?;
    let (norm, direction_name) = match how {
        Reparametrized::WeightNorm => ("weight_g", "weight_v"),
        Reparametrized::Parametrized => ("parametrizations.weight.original0", "parametrizations.weight.original1"),
        Reparametrized::SpectralNorm | Reparametrized::Pruned => return None,
    };
    let g = &checkpoint.tensors.get(model.tensor(id, norm)?)?.shape;
    let v = &checkpoint.tensors.get(direction)?.shape;
    let long: Vec<usize> = (0..g.len()).filter(|&axis| g[axis] != 1).collect();
    let dim = match long.as_slice() {
        [] => None,
        [axis] if g.len() == v.len() && g[*axis] == v[*axis] => Some(*axis),
        _ => return None,
    };
    Some(WeightNorm { norm, direction: direction_name, dim })
}
