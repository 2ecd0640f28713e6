//! The list of everything in the sources that a port has to deal with: blockers, the worst first, then ops.

use std::collections::{HashMap, HashSet};

use super::document::Place;
use crate::findings::ops::{self, OpSummary};
use crate::findings::{BlockerPlace, Blockers};
use crate::model::{Model, ModuleId};
use crate::open::Opened;
use crate::registry::ops::OpStatus;
use crate::source::{Reach, Severity};
use crate::triage::Triage;

/// What a row of the list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A blocker, and what reaches it.
    Blocker(Severity, Reach),
    /// An op.
    Op(OpStatus),
}

/// A row of the list.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// The pattern, or the op and what to call instead.
    pub what: String,
    /// File and line.
    pub place: String,
    /// How many modules run it; of an op, how often it is written in all of them.
    pub count: usize,
    /// What happens, and what to write.
    pub words: String,
    /// Where to go: the first module that runs it, and the line in its source.
    pub at: Place,
}

/// Each blocker once, however many modules run it.
pub fn of_blockers(blockers: &Blockers<'_>, model: &Model, triage: &Triage) -> Vec<Finding> {
    let finding = |place: &BlockerPlace<'_>| {
        let blocker = place.blocker;
        Some(Finding {
            kind: Kind::Blocker(blocker.severity, place.reach),
            what: blocker.pattern.clone(),
            place: format!("{}:{}", short(place.file), blocker.line),
            count: place.modules.len(),
            words: format!("{}{} → {}", place.reach.sentence(), blocker.explanation, blocker.hint),
            at: place_of(place, model, triage)?,
        })
    };
    blockers.places.iter().filter_map(finding).collect()
}

/// Where a blocker is shown: in the first module that runs it, one in another file than its class's at the class.
pub fn place_of(place: &BlockerPlace<'_>, model: &Model, triage: &Triage) -> Option<Place> {
    let &module = place.modules.first()?;
    let source = triage.source(&model.modules.get(module)?.class)?;
    let line = if source.file == place.file { place.blocker.line } else { source.class_line };
    Some(Place { module, line })
}

/// The ops of the model, those without a counterpart first.
pub fn all_ops(opened: &Opened) -> Vec<Finding> {
    // The first module for each place, and for each file of a base: a model may have a million modules and thousands of ops.
    let (mut at_line, mut in_file) = (HashMap::new(), HashMap::new());
    let mut seen = HashSet::new();
    for (id, module) in opened.model.modules.iter().enumerate() {
        let Some(source) = opened.triage.source(&module.class).filter(|_| seen.insert(&module.class)) else { continue };
        for used in &source.ops {
            at_line.entry((source.file.as_str(), used.line)).or_insert(id);
            if let Some(file) = used.file.as_deref() {
                in_file.entry(file).or_insert(id);
            }
        }
    }
    let first = |op: &OpSummary<'_>| {
        let (file, line, _) = op.places.first()?;
        let module = at_line.get(&(*file, *line)).copied();
        let at: ModuleId = module.or_else(|| in_file.get(*file).copied())?;
        let line = if module.is_some() {
            *line
        } else {
            opened.triage.source(&opened.model.modules.get(at)?.class)?.class_line
        };
        Some(Place { module: at, line })
    };
    let finding = |op: &OpSummary<'_>| {
        let (file, line, _) = op.places.first()?;
        let guess = if op.guess { "?" } else { "" };
        Some(Finding {
            kind: Kind::Op(op.status),
            what: format!("{}{guess} → {}", op.torch, op.mlx().unwrap_or("?")),
            place: format!("{}:{line}", short(file)),
            count: op.count,
            words: ops::words(op),
            at: first(op)?,
        })
    };
    ops::ops(opened).iter().filter_map(finding).collect()
}

/// The last part of a path, with the folder it is in.
fn short(file: &str) -> String {
    let parts: Vec<&str> = file.rsplitn(3, '/').take(2).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}
