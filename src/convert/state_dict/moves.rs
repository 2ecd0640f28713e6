//! The moves of one module: its plan's, or those that its class has whatever its hyper-parameters are.

use crate::convert::recipes::{self, Site};
use crate::convert::weights::Fold;
use crate::convert::{Move, Refusal};
use crate::model::reparametrized::{self, Reparametrized};
use crate::model::{Model, Module, ModuleId};
use crate::open::Opened;
use crate::registry::{Layer, RowStatus};

/// From this confidence on the likeliest class of several is taken, unless the model has one of the others for certain.
const SURE: f32 = 0.9;

/// The moves of a module without a plan, or why its tensors can only be copied.
pub(super) fn without_plan(opened: &Opened, id: ModuleId) -> Result<Vec<Move>, String> {
    if let Some((how, _)) = reparametrized::weight(&opened.model, id) {
        return match how {
            Reparametrized::WeightNorm | Reparametrized::Parametrized => weight_norm(opened, id),
            _ => Err(how.reason().to_owned()),
        };
    }
    by_class(opened, &opened.model, id, &opened.model.modules[id].class)
}

/// The moves that every class which the module may be of agrees on.
fn by_class(opened: &Opened, model: &Model, id: ModuleId, class: &str) -> Result<Vec<Move>, String> {
    let module = &model.modules[id];
    let moves = |class: &str| -> Result<Vec<Move>, String> {
        let row = opened.registry.layer(class).filter(|row| converts(row));
        let row = row.ok_or_else(|| no_row(class))?;
        let site = Site { checkpoint: &opened.checkpoint, model, id, row, registry: &opened.registry };
        recipes::layout(&site).map_err(|refusal| match refusal {
            Refusal::Incomplete(reason) | Refusal::Unsupported(reason) => reason,
        })
    };
    let first = moves(class)?;
    for other in module.alternatives.iter().filter(|_| !chosen(opened, module)) {
        if !moves(other).is_ok_and(|moves| alike(&first, &moves)) {
            let classes = std::iter::once(&module.class).chain(&module.alternatives);
            let names: Vec<&str> = classes.map(|class| class.rsplit('.').next().unwrap_or(class)).collect();
            return Err(format!(
                "names and shapes allow {}, which lay their weights out differently: --source or --registry can say",
                names.join(" or ")
            ));
        }
    }
    Ok(first)
}

fn converts(row: &Layer) -> bool {
    matches!(row.status, RowStatus::Direct | RowStatus::Recipe)
}

fn no_row(class: &str) -> String {
    if class.is_empty() { "its class is not known".to_owned() } else { format!("{class} has no row that converts") }
}

/// Whether two classes do the same with the tensors; what the rule is called does not matter.
fn alike(one: &[Move], other: &[Move]) -> bool {
    let same =
        |(a, b): (&Move, &Move)| (&a.from, &a.to, &a.fold, &a.rule.layout) == (&b.from, &b.to, &b.fold, &b.rule.layout);
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// Whether the likeliest class is taken though others fit.
fn chosen(opened: &Opened, module: &Module) -> bool {
    let certain = |class: &String| {
        opened.model.modules.iter().any(|other| other.alternatives.is_empty() && other.class == *class)
    };
    module.confidence >= SURE && !module.alternatives.iter().any(certain)
}

/// A weight that is computed from a norm and a direction: the class's moves with the fold in place of the weight.
fn weight_norm(opened: &Opened, id: ModuleId) -> Result<Vec<Move>, String> {
    let module = &opened.model.modules[id];
    let pairs = [["weight_g", "weight_v"], ["parametrizations.weight.original0", "parametrizations.weight.original1"]];
    let find = |name: &str| recipes::tensor(&opened.model, id, name);
    let pair = pairs.into_iter().find_map(|names| Some((names, find(names[0])?, find(names[1])?)));
    let refused = || "its weight is computed by a parametrization other than a weight norm".to_owned();
    let (names, norm, direction) = pair.ok_or_else(refused)?;
    if !is_weight_norm(opened, module) {
        return Err(refused());
    }
    let shapes = [norm, direction].map(|id| opened.checkpoint.tensors[id].shape.clone());
    let dim = norm_axis(&shapes[0], &shapes[1]).ok_or_else(|| {
        format!("a norm of shape {:?} does not fit a weight of shape {:?}", shapes[0].as_slice(), shapes[1].as_slice())
    })?;
    // The module as it would be with a plain weight.
    let mut plain = Module { depth: 0, parent: None, end: 1, ..module.clone() };
    plain.tensors.retain(|own| own.name != names[0] && own.name != names[1]);
    let weight = crate::checkpoint::OwnTensor {
        name: "weight".into(),
        kind: crate::checkpoint::TensorKind::Parameter,
        tensor: Some(direction),
    };
    plain.tensors.insert(0, weight);
    let class = plain_class(opened, module);
    let mut moves = by_class(opened, &Model { modules: vec![plain] }, 0, &class)?;
    for step in moves.iter_mut().filter(|step| step.from == ["weight"]) {
        if step.fold != Fold::One {
            return Err("its weight is folded with more than the weight norm".to_owned());
        }
        (step.from, step.fold) = (names.map(str::to_owned).to_vec(), Fold::WeightNorm { dim });
    }
    Ok(moves)
}

/// `torch.nn.utils.parametrize` makes a class `ParametrizedConv2d` of a `Conv2d`.
fn plain_class(opened: &Opened, module: &Module) -> String {
    let short = module.class.strip_prefix("torch.nn.utils.parametrize.Parametrized");
    let torch = short.and_then(|short| opened.registry.torch_class(&format!("torch.nn.{short}")));
    torch.map_or_else(|| module.class.clone(), str::to_owned)
}

/// Of a parametrized module the file may say by which class; a bare state dict does not, but another that keeps two
/// tensors (`original0` with one element for each index of an axis) is not known.
fn is_weight_norm(opened: &Opened, module: &Module) -> bool {
    let prefix = if module.path.is_empty() { String::new() } else { format!("{}.", module.path) };
    let list = format!("{prefix}parametrizations.weight.0");
    let class = opened.model.find(&list).map_or("", |id| opened.model.modules[id].class.as_str());
    class.is_empty() || class.ends_with("._WeightNorm")
}

/// The axis that keeps its norm: `Some(None)` for one norm over all, `None` where the shapes do not go together.
fn norm_axis(norm: &[u64], weight: &[u64]) -> Option<Option<usize>> {
    if norm.iter().all(|&size| size == 1) && weight.first() != Some(&1) {
        return Some(None);
    }
    let axis = norm.iter().position(|&size| size != 1).unwrap_or(0);
    let fits = norm.len() == weight.len() && norm.iter().product::<u64>() == norm[axis] && norm[axis] == weight[axis];
    fits.then_some(Some(axis))
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
