//! The moves of one module: its plan's, or those that its class has whatever its hyper-parameters are.

use super::DOUBT;
use crate::convert::recipes::{self, Site};
use crate::convert::{Move, Refusal};
use crate::escape::quoted;
use crate::model::{Module, ModuleId, reparametrized};
use crate::open::Opened;
use crate::registry::{Layer, RowStatus};

/// From this confidence on the likeliest class of several is taken, unless the model has one of the others for certain.
const SURE: f32 = 0.9;

/// The moves of a module without a plan, or why its tensors can only be copied.
pub(super) fn without_plan(opened: &Opened, id: ModuleId) -> Result<Vec<Move>, String> {
    let (checkpoint, model) = (&opened.checkpoint, &opened.model);
    let class = &model.modules[id].class;
    let Some((how, _)) = reparametrized::weight(model, id) else { return by_class(opened, id, class) };
    if reparametrized::weight_norm(checkpoint, model, id).is_none() {
        return Err(how.reason().to_owned());
    }
    by_class(opened, id, reparametrized::plain_class(class, &opened.registry).unwrap_or(class))
}

/// The moves that every class which the module may be of agrees on.
fn by_class(opened: &Opened, id: ModuleId, class: &str) -> Result<Vec<Move>, String> {
    let (model, module) = (&opened.model, &opened.model.modules[id]);
    let moves = |class: &str| -> Result<Vec<Move>, String> {
        let row = opened.registry.layer(class).filter(|row| converts(row));
        let row = row.ok_or_else(|| no_row(class))?;
        let site = Site {
            checkpoint: &opened.checkpoint,
            model,
            id,
            row,
            registry: &opened.registry,
            asked: None,
            call: None,
            handed: None,
        };
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
                "{DOUBT} {}, which lay their weights out differently: --source or --registry can say",
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
    if class.is_empty() {
        "its class is not known".to_owned()
    } else {
        format!("{} has no row that converts", quoted(class))
    }
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
