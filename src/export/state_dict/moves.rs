//! The moves of one module: its plan's, or those that its class has whatever its hyper-parameters are.

use super::Doubt;
use crate::model::{Classes, ModuleId, reparametrized};
use crate::open::Opened;
use crate::plan::recipes::{self, Site};
use crate::plan::weights::same_moves;
use crate::plan::{Move, Refusal};
use crate::registry::{Layer, RowStatus};
use crate::triage::Status;
use t2m_checkpoint::TensorId;
use t2m_checkpoint::escape::quoted;

/// The moves of a module without a plan, or why its tensors can only be copied; `certain` are the classes that the model has
/// for certain.
pub(super) fn without_plan(opened: &Opened, id: ModuleId, certain: &Classes<'_>) -> Result<Vec<Move>, Doubt> {
    let (checkpoint, model) = (&opened.checkpoint, &opened.model);
    let class = &model.modules[id].class;
    // A row that is not followed says nothing of the weights either.
    if let Some(triaged) = opened.triage.modules.get(id).filter(|triaged| triaged.contradicted) {
        return Err(Doubt::Other(triaged.reason.clone()));
    }
    let Some((how, _)) = reparametrized::weight(model, id) else { return by_class(opened, id, class, certain) };
    if reparametrized::weight_norm(checkpoint, model, id).is_none() {
        return Err(Doubt::Other(how.reason().to_owned()));
    }
    by_class(opened, id, reparametrized::plain_class(class, &opened.registry).unwrap_or(class), certain)
}

/// The moves that every class which the module may be of agrees on.
fn by_class(opened: &Opened, id: ModuleId, class: &str, certain: &Classes<'_>) -> Result<Vec<Move>, Doubt> {
    let (model, module) = (&opened.model, &opened.model.modules[id]);
    let moves = |class: &str| -> Result<Vec<Move>, String> {
        let row = opened.registry.layer(class).filter(|row| converts(row));
        let row = row.ok_or_else(|| no_row(class))?;
        let site = Site::new(&opened.checkpoint, model, &opened.registry, id, row);
        recipes::moves_by_class(&site).map_err(Refusal::words)
    };
    let first = moves(class).map_err(Doubt::Other)?;
    if module.is_likely(certain) {
        return Ok(first);
    }
    for other in module.alternatives.iter() {
        let same = |moves: Vec<Move>| same_moves(&first, &moves, |name| shape(opened, id, name));
        if !moves(other).is_ok_and(same) {
            let classes = std::iter::once(&module.class).chain(module.alternatives.iter());
            let names: Vec<&str> = classes.map(|class| class.rsplit('.').next().unwrap_or(class)).collect();
            return Err(Doubt::Between(names.into_iter().map(str::to_owned).collect()));
        }
    }
    Ok(first)
}

/// Names that layers give their parameters. What is called otherwise is used by a forward that has to be ported.
const PARAMETERS: [&str; 2] = ["weight", "bias"];

/// Whether a tensor that no move takes has one layout whatever its layer is: it is a weight or a bias along one axis at most, of
/// a module for which there is no row. What has one must be moved as that layer wants it, and what is packed is no vector.
pub(super) fn is_vector(opened: &Opened, id: ModuleId, tensor: TensorId) -> bool {
    let (Some(of), Some(triaged)) = (opened.checkpoint.tensors.get(tensor), opened.triage.modules.get(id)) else {
        return false;
    };
    let open = matches!(triaged.status, Status::Custom | Status::Unknown) && !triaged.contradicted;
    let no_row = || opened.registry.layer(&opened.model.modules[id].class).is_none();
    let plain = || of.dtype.is_floating() && opened.checkpoint.packed_as(tensor).is_none();
    let called = of.name.rsplit('.').next().unwrap_or_default();
    of.shape.len() < 2 && PARAMETERS.contains(&called) && open && no_row() && plain()
}

fn converts(row: &Layer) -> bool {
    matches!(row.status, RowStatus::Direct | RowStatus::Recipe)
}

fn no_row(class: &str) -> String {
    if class.is_empty() {
        "its class is not known".to_owned()
    } else {
        format!("{} has no row that converts", quoted(class))
    }
}

/// The shape of a module's tensor.
fn shape<'a>(opened: &'a Opened, id: ModuleId, name: &str) -> Option<&'a [u64]> {
    let tensor = opened.model.tensor(id, name)?;
    opened.checkpoint.tensors.get(tensor).map(|tensor| tensor.shape.as_slice())
}
