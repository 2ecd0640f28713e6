//! What a port has to deal with, found without running anything: layers by status, blockers by place, ops. The screen and
//! every report list and count it from here.

pub mod blockers;
pub mod ops;

use std::collections::HashMap;

pub use blockers::{BlockerPlace, Blockers, Severities};

use crate::model::Model;
use crate::triage::{Coverage, Status, Triage};

/// Number of modules of each status, in the order the screen lists them; those that do not occur are left out.
pub fn status_counts(triage: &Triage) -> Vec<(Status, usize)> {
    let mut counts: HashMap<Status, usize> = HashMap::new();
    triage.modules.iter().for_each(|triaged| *counts.entry(triaged.status).or_default() += 1);
    Status::ALL.iter().filter_map(|status| Some((*status, *counts.get(status)?))).collect()
}

/// How much of a model converts; `None` where it has neither layers nor parameters, and a share would be of nothing.
pub fn coverage(model: &Model, triage: &Triage) -> Option<Coverage> {
    let empty = triage.layers(model).next().is_none() && model.parameters() == 0;
    (!empty).then_some(triage.coverage)
}
