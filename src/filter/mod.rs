//! The filter's language: terms that say which modules are wanted (`class:Conv2d params>1M -verdict:ok attn`). It knows no front
//! end, so that the screen, reports and commands all ask in the same words. `docs/filter.md` is made from [`keys`].

mod choices;
pub mod complete;
mod facts;
mod guess;
mod holds;
pub mod keys;
mod parse;
mod term;
#[cfg(test)]
mod tests;

use std::fmt;

pub use choices::Tick;
pub use facts::{Facts, Kept, NothingKept};
pub use parse::Error;
pub use term::{Amount, Clause, Compare, Judged, Pattern, Term, Test, Which};

use crate::fuzzy::{Matcher, in_parts};
use crate::model::ModuleId;

/// Which modules are wanted: those for which each clause holds. Without any clause it lets everything through.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// What must hold.
    pub clauses: Vec<Clause>,
}

impl Filter {
    /// Read terms.
    ///
    /// # Errors
    /// A key or value that does not exist, or something left open: the place in the text, and what may be meant.
    pub fn parse(text: &str) -> Result<Filter, Error> {
        parse::filter(text)
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// Whether a module is wanted.
    pub fn wants(&self, facts: &Facts<'_>, id: ModuleId) -> bool {
        let mut matcher = Matcher::default();
        self.holds(facts, id, &mut matcher)
    }

    /// For each module whether it is wanted.
    pub fn wanted(&self, facts: &Facts<'_>) -> Vec<bool> {
        in_parts(facts.model.modules.len(), |ids| {
            let mut matcher = Matcher::default();
            ids.map(|id| self.holds(facts, id, &mut matcher)).collect()
        })
    }

    /// Whether it asks for what was measured, so that its answer changes while something runs.
    pub fn asks_for_results(&self) -> bool {
        self.tests().any(Test::asks_for_results)
    }

    /// Whether it asks for marks, notes or what is stale.
    pub fn asks_for_kept(&self) -> bool {
        self.tests().any(Test::asks_for_kept)
    }

    fn tests(&self) -> impl Iterator<Item = &Test> {
        self.clauses.iter().flat_map(|clause| &clause.terms).map(|term| &term.test)
    }

    fn holds(&self, facts: &Facts<'_>, id: ModuleId, matcher: &mut Matcher) -> bool {
        self.clauses.iter().all(|clause| clause.holds(facts, id, matcher))
    }
}

impl fmt::Display for Filter {
    /// The text that gives the same filter when it is read.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, clause) in self.clauses.iter().enumerate() {
            if at > 0 {
                formatter.write_str(" ")?;
            }
            clause.fmt(formatter)?;
        }
        Ok(())
    }
}
