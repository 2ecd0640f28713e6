//! Blockers, each place once with the modules that run it, and the one way of counting them.

use std::collections::BTreeMap;

use crate::model::{Model, ModuleId};
use crate::source::{Blocker, Severity};
use crate::triage::Triage;

/// Every blocker with its module and file, in tree order: a class used twice is listed for each of its modules.
pub fn by_module<'a>(model: &'a Model, triage: &'a Triage) -> impl Iterator<Item = (ModuleId, &'a str, &'a Blocker)> {
    model.modules.iter().enumerate().flat_map(|(id, module)| {
        let source = triage.source(&module.class);
        source.into_iter().flat_map(move |source| source.all_blockers().map(move |(file, blocker)| (id, file, blocker)))
    })
}

/// A blocker where it is written, with the modules that run it.
#[derive(Debug, Clone)]
pub struct BlockerPlace<'a> {
    /// The Python file that it is in.
    pub file: &'a str,
    /// What is there.
    pub blocker: &'a Blocker,
    /// In tree order, each once.
    pub modules: Vec<ModuleId>,
}

/// Every blocker once, however many modules run it: the worst first, then by file and line.
#[derive(Debug, Clone, Default)]
pub struct Blockers<'a> {
    /// The places.
    pub places: Vec<BlockerPlace<'a>>,
}

/// Number of places of each severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Severities {
    /// Places that stop a port.
    pub breaks: usize,
    /// Places that change what is computed.
    pub differs: usize,
    /// Places that are shown, and do neither.
    pub harmless: usize,
}

impl Severities {
    /// Places that stop or change a port: what the screen counts.
    pub fn serious(self) -> usize {
        self.breaks + self.differs
    }

    /// `2 break, 1 differs, 3 harmless`; `none`.
    pub fn words(self) -> String {
        let kinds = [
            (self.breaks, "break", "breaks"),
            (self.differs, "differ", "differs"),
            (self.harmless, "harmless", "harmless"),
        ];
        let there = kinds.into_iter().filter(|(count, ..)| *count > 0);
        let counts = there.map(|(count, several, one)| format!("{count} {}", if count == 1 { one } else { several }));
        let counts: Vec<String> = counts.collect();
        if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
    }
}

impl<'a> Blockers<'a> {
    /// Those of a model.
    pub fn of(model: &'a Model, triage: &'a Triage) -> Blockers<'a> {
        let mut places: BTreeMap<_, BlockerPlace<'_>> = BTreeMap::new();
        for (id, file, blocker) in by_module(model, triage) {
            let key = (blocker.severity, file, blocker.line, blocker.column, &blocker.pattern);
            let place = places.entry(key).or_insert(BlockerPlace { file, blocker, modules: Vec::new() });
            if place.modules.last() != Some(&id) {
                place.modules.push(id);
            }
        }
        Blockers { places: places.into_values().collect() }
    }

    /// How many places there are of each severity.
    pub fn severities(&self) -> Severities {
        let mut counts = Severities::default();
        for place in &self.places {
            match place.blocker.severity {
                Severity::Breaks => counts.breaks += 1,
                Severity::Differs => counts.differs += 1,
                Severity::Harmless => counts.harmless += 1,
            }
        }
        counts
    }

    /// For each module, how many serious places it runs itself, and how many it or a module below it runs: a place counts
    /// once, however many of them run it, so that the root's number is that of [`Severities::serious`].
    pub fn serious(&self, model: &Model) -> Vec<Serious> {
        let mut counts = vec![Serious::default(); model.modules.len()];
        let mut below = vec![0i64; model.modules.len()];
        for place in self.places.iter().filter(|place| place.blocker.severity != Severity::Harmless) {
            let mut before = None;
            for &id in &place.modules {
                counts[id].own += 1;
                below[id] += 1;
                // Whatever holds two that are next to each other in the order of the tree would count the place twice.
                if let Some(both) = before.and_then(|before| common(model, before, id)) {
                    below[both] -= 1;
                }
                before = Some(id);
            }
        }
        for id in (0..below.len()).rev() {
            counts[id].below = usize::try_from(below[id]).unwrap_or(0);
            if let Some(parent) = model.modules[id].parent.filter(|&parent| parent < id) {
                below[parent] += below[id];
            }
        }
        counts
    }
}

/// Serious places of one module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Serious {
    /// In its own class.
    pub own: usize,
    /// In its own class or below it.
    pub below: usize,
}

/// The innermost module that holds two, of which `first` comes first in the tree.
fn common(model: &Model, first: ModuleId, second: ModuleId) -> Option<ModuleId> {
    let mut at = Some(first);
    while let Some(id) = at.filter(|&id| model.modules[id].end <= second) {
        at = model.modules[id].parent;
    }
    at
}
