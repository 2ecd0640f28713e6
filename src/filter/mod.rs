//! The filter's language: terms that say which modules are wanted (`class:Conv2d params>1M -verdict:ok attn`). It knows no front
//! end, so that the screen, reports and commands all ask in the same words. `docs/filter.md` is made from [`keys`].

mod choices;
pub mod complete;
mod facts;
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
pub use term::{Amount, Blocked, Clause, Compare, Judged, Pattern, Term, Test, Which};

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
        self.resolved(facts, &mut matcher).holds(facts, id, &mut matcher)
    }

    /// For each module whether it is wanted.
    pub fn wanted(&self, facts: &Facts<'_>) -> Vec<bool> {
        let resolved = self.resolved(facts, &mut Matcher::default());
        in_parts(facts.model.modules.len(), |ids| {
            let mut matcher = Matcher::default();
            ids.map(|id| resolved.holds(facts, id, &mut matcher)).collect()
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

    /// The same, its words looked up: where modules have one as it is typed, its letters alone are not enough.
    fn resolved(&self, facts: &Facts<'_>, matcher: &mut Matcher) -> Filter {
        let mut resolved = self.clone();
        for term in resolved.clauses.iter_mut().flat_map(|clause| &mut clause.terms) {
            if let Test::Words(any) = &mut term.test {
                any.iter_mut().for_each(|word| word.resolve(facts, matcher));
            }
        }
        resolved
    }

    /// The filter that the text before a mistake is, and before a word at its end that may become a key.
    pub fn settled(text: &str) -> Filter {
        let before = |letters: usize| text.chars().take(letters).collect::<String>();
        let last = text.rsplit(char::is_whitespace).next().unwrap_or("");
        let bare = last.trim_start_matches(['-', '!']);
        if keys::Key::ALL.iter().any(|key| key.name().starts_with(bare)) {
            let without = before(text.chars().count() - last.chars().count());
            return Filter::parse(without.trim_end()).unwrap_or_else(|error| Filter::settled(&before(error.term)));
        }
        // Each time the text is shorter: a mistake is in a term, and that begins before its end.
        Filter::parse(text).unwrap_or_else(|error| Filter::settled(before(error.term).trim_end()))
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
