//! Ticks in a list: each stands for a term, and writes it.

use super::Filter;
use super::term::{Clause, Judged, Term, Test};
use crate::triage::Status;

/// What can be ticked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// `status:recipe`
    Status(Status),
    /// `verdict:bad`
    Bad,
}

impl Tick {
    /// All of them, in the order of the list.
    pub fn all() -> impl Iterator<Item = Tick> {
        Status::ALL.into_iter().map(Tick::Status).chain([Tick::Bad])
    }
}

impl Filter {
    /// Whether a clause of the filter is what this tick writes.
    pub fn is_ticked(&self, tick: Tick) -> bool {
        self.clauses.iter().any(|clause| match (alone(clause), tick) {
            (Some(Test::Status(any)), Tick::Status(status)) => any.contains(&status),
            (Some(Test::Verdict(any)), Tick::Bad) => any.contains(&Judged::Bad),
            _ => false,
        })
    }

    /// Tick or untick it.
    pub fn toggle(&mut self, tick: Tick) {
        let on = !self.is_ticked(tick);
        match tick {
            Tick::Status(status) => self.switch(
                on,
                status,
                |test| match test {
                    Test::Status(any) => Some(any),
                    _ => None,
                },
                Test::Status,
            ),
            Tick::Bad => self.switch(
                on,
                Judged::Bad,
                |test| match test {
                    Test::Verdict(any) => Some(any),
                    _ => None,
                },
                Test::Verdict,
            ),
        }
    }

    /// The filter without the terms that ticks of this kind write: what is left to be ticked in.
    pub fn without(&self, tick: Tick) -> Filter {
        let same = |clause: &&Clause| match (alone(clause), tick) {
            (Some(Test::Status(_)), Tick::Status(_)) | (Some(Test::Verdict(_)), Tick::Bad) => false,
            _ => true,
        };
        Filter { clauses: self.clauses.iter().filter(same).cloned().collect() }
    }

    /// Add a value to the clause that has such values, or take it out of each.
    fn switch<T: PartialEq>(
        &mut self,
        on: bool,
        value: T,
        list: impl Fn(&mut Test) -> Option<&mut Vec<T>>,
        test: impl Fn(Vec<T>) -> Test,
    ) {
        for clause in &mut self.clauses {
            let [Term { not: false, test }] = clause.terms.as_mut_slice() else { continue };
            let Some(any) = list(test) else { continue };
            if on {
                return any.push(value);
            }
            any.retain(|known| *known != value);
            if any.is_empty() {
                clause.terms.clear();
            }
        }
        self.clauses.retain(|clause| !clause.terms.is_empty());
        if on {
            self.clauses.push(Clause { terms: vec![Term { not: false, test: test(vec![value]) }] });
        }
    }
}

/// The test of a clause that is one, as it stands.
fn alone(clause: &Clause) -> Option<&Test> {
    match clause.terms.as_slice() {
        [Term { not: false, test }] => Some(test),
        _ => None,
    }
}
