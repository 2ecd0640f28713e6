//! Whether a term holds for a module.

use super::Facts;
use super::keys::Key;
use super::term::{Amount, Blocked, Clause, Compare, Judged, Pattern, Term, Test, Which, Word};
use crate::compare::Verdict;
use crate::fuzzy::Matcher;
use crate::model::ModuleId;

impl Clause {
    pub(super) fn holds(&self, facts: &Facts<'_>, id: ModuleId, matcher: &mut Matcher) -> bool {
        self.terms.iter().any(|term| term.holds(facts, id, matcher))
    }
}

impl Term {
    fn holds(&self, facts: &Facts<'_>, id: ModuleId, matcher: &mut Matcher) -> bool {
        self.test.holds(facts, id, matcher) != self.not
    }
}

impl Test {
    fn holds(&self, facts: &Facts<'_>, id: ModuleId, matcher: &mut Matcher) -> bool {
        let Some(module) = facts.module(id) else { return false };
        let triaged = facts.triaged(id);
        match self {
            Test::Words(any) => {
                let names = [module.path.as_str(), module.short_class()];
                any.iter().any(|word| word.words.fits(&names, word.literal, matcher))
            }
            Test::Class(any) => {
                any.iter().any(|pattern| is(pattern, module.short_class()) || is(pattern, &module.class))
            }
            Test::Path(any) => any.iter().any(|pattern| is(pattern, &module.path)),
            Test::Status(any) => triaged.is_some_and(|triaged| any.contains(&triaged.status)),
            Test::Verdict(any) => any.iter().any(|judged| judged.holds(facts, id)),
            Test::Evidence(any) => any.contains(&module.evidence),
            Test::Dtype(any) => facts.dtypes(id).any(|dtype| any.contains(&dtype)),
            Test::Blocker(any) => any.iter().any(|blocked| blocked.holds(facts, id)),
            Test::Mark(any) => {
                let mark = facts.kept.mark(module);
                any.iter().any(|which| which.holds(mark.as_slice(), same))
            }
            Test::Note(any) => {
                let notes = facts.kept.notes(module);
                any.iter().any(|which| which.holds(&notes, contains))
            }
            Test::Assumed(yes) => triaged.is_some_and(|triaged| triaged.is_assumed() == *yes),
            Test::Stale(yes) => facts.is_stale(id) == *yes,
            Test::Number(key, compare, any) => any.iter().any(|amount| number(facts, id, *key, *compare, *amount)),
        }
    }
}

impl Word {
    /// Find out whether a module has it as it is typed.
    pub(super) fn resolve(&mut self, facts: &Facts<'_>, matcher: &mut Matcher) {
        let mut modules = facts.model.modules.iter();
        self.literal = modules.any(|module| self.words.fits(&[&module.path, module.short_class()], true, matcher));
    }
}

impl Which {
    fn holds(&self, texts: &[&str], has: impl Fn(&str, &str) -> bool) -> bool {
        match self {
            Which::Any => !texts.is_empty(),
            Which::None => texts.is_empty(),
            Which::With(asked) => texts.iter().any(|text| has(text, asked)),
        }
    }
}

impl Judged {
    fn holds(self, facts: &Facts<'_>, id: ModuleId) -> bool {
        let verdict = facts.results.verdict(id);
        match self {
            Judged::Any => verdict.is_some(),
            Judged::None => verdict.is_none(),
            Judged::Passed => verdict.is_some_and(Verdict::passes),
            Judged::Bad => facts.results.is_bad(id),
            Judged::Is(asked) => verdict == Some(asked),
        }
    }
}

fn is(pattern: &Pattern, name: &str) -> bool {
    pattern.glob.is_match(name)
}

/// The same text; case counts where there is an upper-case letter in what is asked.
fn same(text: &str, asked: &str) -> bool {
    if asked.chars().any(char::is_uppercase) { text == asked } else { text.to_lowercase() == asked }
}

/// Whether the text has what is asked in it; case counts as in [`same`].
fn contains(text: &str, asked: &str) -> bool {
    if asked.chars().any(char::is_uppercase) { text.contains(asked) } else { text.to_lowercase().contains(asked) }
}

impl Blocked {
    fn holds(&self, facts: &Facts<'_>, id: ModuleId) -> bool {
        let mut counting = facts.blockers(id).filter(|(.., reach)| reach.counts());
        match self {
            Blocked::Any => facts.serious(id) > 0,
            Blocked::None => facts.serious(id) == 0,
            Blocked::Training => facts.blockers(id).any(|(.., reach)| !reach.counts()),
            Blocked::As(wanted) => counting.any(|(_, severity, _)| severity == *wanted),
            Blocked::By(asked) => counting.any(|(pattern, ..)| contains(pattern, asked)),
        }
    }
}

fn number(facts: &Facts<'_>, id: ModuleId, key: Key, compare: Compare, asked: Amount) -> bool {
    let Some(module) = facts.module(id) else { return false };
    let is = match key {
        Key::Params => Some(module.parameters as f64),
        Key::Total => Some(module.total_parameters as f64),
        Key::Depth => Some(module.depth as f64),
        Key::Lines => facts.lines(id).map(|lines| lines as f64),
        Key::Err if asked.tolerances => facts.tolerances(id),
        Key::Err => facts.error(id),
        Key::Time => facts.time(id),
        _ => None,
    };
    is.is_some_and(|is| compare.holds(is, asked.number))
}
