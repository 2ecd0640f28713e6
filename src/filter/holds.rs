//! Whether a term holds for a module.

use super::Facts;
use super::keys::Key;
use super::term::{Amount, Clause, Compare, Judged, Pattern, Term, Test, Which};
use crate::compare::Verdict;
use crate::fuzzy::Matcher;
use crate::model::ModuleId;
use crate::source::Severity;

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
                any.iter().any(|word| word.words.fits(&names, matcher))
            }
            Test::Class(any) => {
                any.iter().any(|pattern| is(pattern, module.short_class()) || is(pattern, &module.class))
            }
            Test::Path(any) => any.iter().any(|pattern| is(pattern, &module.path)),
            Test::Status(any) => triaged.is_some_and(|triaged| any.contains(&triaged.status)),
            Test::Verdict(any) => any.iter().any(|judged| judged.holds(facts, id)),
            Test::Evidence(any) => any.contains(&module.evidence),
            Test::Dtype(any) => facts.dtypes(id).any(|dtype| any.contains(&dtype)),
            Test::Blocker(any) => any.iter().any(|which| blocker(facts, id, which)),
            Test::Mark(any) => {
                let mark = facts.kept.mark(module);
                any.iter().any(|which| which.holds(mark.as_slice(), |mark, asked| same(mark, asked)))
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

fn blocker(facts: &Facts<'_>, id: ModuleId, which: &Which) -> bool {
    let mut counting = facts.blockers(id).filter(|(.., reach)| reach.counts());
    match which {
        Which::Any => facts.serious(id) > 0,
        Which::None => facts.serious(id) == 0,
        Which::With(asked) if asked == "training" => facts.blockers(id).any(|(.., reach)| !reach.counts()),
        Which::With(asked) => match SEVERITIES.into_iter().find(|severity| severity.name() == asked) {
            Some(wanted) => counting.any(|(_, severity, _)| severity == wanted),
            None => counting.any(|(pattern, ..)| contains(pattern, asked)),
        },
    }
}

const SEVERITIES: [Severity; 3] = [Severity::Breaks, Severity::Differs, Severity::Harmless];

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
