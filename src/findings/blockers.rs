//! Blockers, each place once with the modules that run it, and the one way of counting them.

use std::collections::BTreeMap;

use crate::model::{Model, ModuleId};
use crate::source::{Blocker, Reach, Severity};
use crate::triage::Triage;

/// A blocker where it is written, with the modules that run it.
#[derive(Debug, Clone)]
pub struct BlockerPlace<'a> {
    /// The Python file that it is in.
    pub file: &'a str,
    /// What is there.
    pub blocker: &'a Blocker,
    /// What reaches it, in the module where most does.
    pub reach: Reach,
    /// The modules that run it, in tree order, each once: where some run it at inference, those that do so in training alone
    /// are left out.
    pub modules: Vec<ModuleId>,
}

impl BlockerPlace<'_> {
    /// Whether it counts: it does not where only training reaches it.
    pub fn counts(&self) -> bool {
        self.reach.counts()
    }
}

/// Every blocker once, however many modules run it: what counts before what does not, the worst first, then by file and line.
#[derive(Debug, Clone, Default)]
pub struct Blockers<'a> {
    /// The places.
    pub places: Vec<BlockerPlace<'a>>,
}

/// Number of places of each severity, and of those that do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Severities {
    /// Places that stop a port.
    pub breaks: usize,
    /// Places that change what is computed.
    pub differs: usize,
    /// Places that are shown, and do neither.
    pub harmless: usize,
    /// Places that only training reaches, of any severity: they are shown and not counted.
    pub training: usize,
    /// How many of those that count do so since it cannot be decided whether the model runs them.
    pub undecided: usize,
}

impl Severities {
    /// Of these places.
    pub fn of<'a>(places: impl IntoIterator<Item = &'a BlockerPlace<'a>>) -> Severities {
        let mut counts = Severities::default();
        for place in places {
            if !place.counts() {
                counts.training += 1;
                continue;
            }
            counts.undecided += usize::from(place.reach == Reach::Unknown);
            match place.blocker.severity {
                Severity::Breaks => counts.breaks += 1,
                Severity::Differs => counts.differs += 1,
                Severity::Harmless => counts.harmless += 1,
            }
        }
        counts
    }

    /// Places that stop or change a port: what the screen counts.
    pub fn serious(self) -> usize {
        self.breaks + self.differs
    }

    /// Places that count.
    pub fn total(self) -> usize {
        self.breaks + self.differs + self.harmless
    }

    /// `2 break, 1 differs, 3 harmless`; `none`; behind it what is not counted and what could not be decided.
    pub fn words(self) -> String {
        let kinds = [
            (self.breaks, "break", "breaks"),
            (self.differs, "differ", "differs"),
            (self.harmless, "harmless", "harmless"),
        ];
        let there = kinds.into_iter().filter(|(count, ..)| *count > 0);
        let counts = there.map(|(count, several, one)| format!("{count} {}", if count == 1 { one } else { several }));
        let counts: Vec<String> = counts.collect();
        let mut words = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
        let asides = [(self.undecided, "undecided"), (self.training, "training only, not counted")];
        let asides = asides.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let asides: Vec<String> = asides.collect();
        if !asides.is_empty() {
            words += &format!(" ({})", asides.join("; "));
        }
        words
    }
}

impl<'a> Blockers<'a> {
    /// Those of a model.
    pub fn of(model: &'a Model, triage: &'a Triage) -> Blockers<'a> {
        let mut places: BTreeMap<_, BlockerPlace<'_>> = BTreeMap::new();
        for id in 0..model.modules.len() {
            for (file, blocker, reach) in triage.blockers(model, id) {
                let key = (blocker.severity, file, blocker.line, blocker.column, &blocker.pattern);
                let new = || BlockerPlace { file, blocker, reach, modules: Vec::new() };
                let place = places.entry(key).or_insert_with(new);
                if place.reach.counts() != reach.counts() {
                    if !reach.counts() {
                        continue;
                    }
                    place.modules.clear();
                }
                place.reach = place.reach.min(reach);
                if place.modules.last() != Some(&id) {
                    place.modules.push(id);
                }
            }
        }
        let mut places: Vec<BlockerPlace<'_>> = places.into_values().collect();
        places.sort_by_key(|place| !place.counts());
        Blockers { places }
    }

    /// How many places there are of each severity.
    pub fn severities(&self) -> Severities {
        Severities::of(&self.places)
    }

    /// For each module, how many serious places it runs itself, and how many it or a module below it runs: a place counts
    /// once, however many of them run it, so that the root's number is that of [`Severities::serious`].
    pub fn serious(&self, model: &Model) -> Vec<Serious> {
        let serious = |place: &&BlockerPlace<'_>| place.counts() && place.blocker.severity != Severity::Harmless;
        let places: Vec<&[ModuleId]> =
            self.places.iter().filter(serious).map(|place| place.modules.as_slice()).collect();
        let below = super::distinct_below(model, places.iter().copied());
        let mut counts: Vec<Serious> = below.into_iter().map(|below| Serious { own: 0, below }).collect();
        places.iter().flat_map(|modules| modules.iter()).for_each(|&id| counts[id].own += 1);
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
