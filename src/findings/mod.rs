//! What a port has to deal with, found without running anything: layers by status, blockers by place, ops. The screen and
//! every report list and count it from here.

pub mod blockers;
mod folders;
pub mod forwards;
pub mod headline;
pub mod idioms;
pub mod ops;
pub mod to_port;

use std::collections::HashMap;

pub use blockers::{BlockerPlace, Blockers, Severities};
pub use folders::Folders;
pub use forwards::Forwards;
pub use headline::Headline;
pub use to_port::ToPort;

use crate::model::{Model, ModuleId};
use crate::triage::{Status, Triage};

/// Number of modules of each status, in the order the screen lists them; those that do not occur are left out.
pub fn status_counts(triage: &Triage) -> Vec<(Status, usize)> {
    let mut counts: HashMap<Status, usize> = HashMap::new();
    triage.modules.iter().for_each(|triaged| *counts.entry(triaged.status).or_default() += 1);
    Status::ALL.iter().filter_map(|status| Some((*status, *counts.get(status)?))).collect()
}

/// For each module, how many of these lists, each in tree order, have it or a module below it: a list counts once, however many
/// of its modules that is.
pub(crate) fn distinct_below<'a>(model: &Model, lists: impl Iterator<Item = &'a [ModuleId]>) -> Vec<usize> {
    let mut below = vec![0i64; model.modules.len()];
    for list in lists {
        let mut before = None;
        for &id in list {
            below[id] += 1;
            // Whatever holds two that are next to each other in the order of the tree would count the list twice.
            if let Some(both) = before.and_then(|before| common(model, before, id)) {
                below[both] -= 1;
            }
            before = Some(id);
        }
    }
    for id in (0..below.len()).rev() {
        if let Some(parent) = model.modules[id].parent.filter(|&parent| parent < id) {
            below[parent] += below[id];
        }
    }
    below.into_iter().map(|count| usize::try_from(count).unwrap_or(0)).collect()
}

/// The innermost module that holds two, of which `first` comes first in the tree.
fn common(model: &Model, first: ModuleId, second: ModuleId) -> Option<ModuleId> {
    let mut at = Some(first);
    while let Some(id) = at.filter(|&id| model.modules[id].end <= second) {
        at = model.modules[id].parent;
    }
    at
}
