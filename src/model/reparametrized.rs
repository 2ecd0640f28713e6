//! Weights that are not stored: torch computes them from other tensors before each forward.

use super::{Model, Module, ModuleId};
use crate::registry::Registry;
use t2m_checkpoint::{Checkpoint, TensorId};

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

    /// By a hook: the names of the module's own tensors show it.
    pub fn by_hook(module: &Module) -> Option<Reparametrized> {
        Some(hooked(module)?.0)
    }
}

fn hooked(module: &Module) -> Option<(Reparametrized, TensorId)> {
    // Every module is checked, and few are.
    if !module.tensors.iter().any(|own| own.name.starts_with("weight_")) {
        return None;
    }
    let both = |one: &str, other: &str| module.tensor(one).and(module.tensor(other));
    // Spectral norm has a `weight_v` too, but with one axis.
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
    let list = model.modules.get(parametrizations(model, id)?)?;
    let computed_from = list.tensor("original1").or_else(|| list.tensor("original"))?;
    Some((Reparametrized::Parametrized, computed_from))
}

/// Where `torch.nn.utils.parametrize` keeps what a module's weight is computed from.
fn parametrizations(model: &Model, id: ModuleId) -> Option<ModuleId> {
    model.child(model.child(id, "parametrizations")?, "weight")
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
/// in another way.
pub fn weight_norm(checkpoint: &Checkpoint, model: &Model, id: ModuleId) -> Option<WeightNorm> {
    let (how, direction) = weight(model, id)?;
    let (norm, direction_name) = match how {
        Reparametrized::WeightNorm => ("weight_g", "weight_v"),
        Reparametrized::Parametrized if may_be_weight_norm(model, id) => {
            ("parametrizations.weight.original0", "parametrizations.weight.original1")
        }
        _ => return None,
    };
    let shape = |id: TensorId| Some(&checkpoint.tensors.get(id)?.shape);
    let dim = norm_axis(shape(model.tensor(id, norm)?)?, shape(direction)?)?;
    Some(WeightNorm { norm, direction: direction_name, dim })
}

/// The file may name the class of a parametrization; a bare state dict does not, but no other class is known that keeps
/// two tensors with `original0` holding one element for each index of an axis.
fn may_be_weight_norm(model: &Model, id: ModuleId) -> bool {
    let first = parametrizations(model, id).and_then(|list| model.child(list, "0"));
    let first = first.and_then(|first| model.modules.get(first));
    first.is_none_or(|module| module.class.is_empty() || module.class.ends_with("._WeightNorm"))
}

/// The axis whose slices have a norm each. The file does not name it, but the norm's shape shows it: `Some(None)` for
/// one norm over all, `None` if the shapes do not fit.
fn norm_axis(norm: &[u64], weight: &[u64]) -> Option<Option<usize>> {
    if norm.iter().all(|&size| size == 1) && weight.first() != Some(&1) {
        return Some(None);
    }
    let axis = norm.iter().position(|&size| size != 1).unwrap_or(0);
    let only = norm.iter().enumerate().all(|(at, &size)| size == 1 || at == axis);
    let fits = norm.len() == weight.len() && only && norm.get(axis) == weight.get(axis);
    fits.then_some(Some(axis))
}

/// The layer of torch that `torch.nn.utils.parametrize` made a class of: `ParametrizedConv2d` was a `Conv2d`.
pub fn plain_class<'r>(class: &str, registry: &'r Registry) -> Option<&'r str> {
    let name = class.strip_prefix("torch.nn.utils.parametrize.Parametrized")?;
    registry.torch_class(&format!("torch.nn.{name}"))
}

#[cfg(test)]
mod tests {
    use super::norm_axis;

    #[test]
    fn the_norms_shape_tells_its_axis() {
        assert_eq!(norm_axis(&[8, 1, 1], &[8, 3, 5]), Some(Some(0)));
        assert_eq!(norm_axis(&[1, 3, 1], &[8, 3, 5]), Some(Some(1)));
        assert_eq!(norm_axis(&[], &[8, 3]), Some(None));
        assert_eq!(norm_axis(&[1, 1], &[1, 3]), Some(Some(0)));
        assert_eq!(norm_axis(&[7, 1], &[8, 3]), None);
        assert_eq!(norm_axis(&[8, 3], &[8, 3]), None);
    }
}
