//! What can be typed next: keys, and those of their values that occur in the model.

use std::collections::HashMap;

use super::Facts;
use super::keys::{Key, Kind};
use super::term::quoted;
use crate::fuzzy::{Fit, Matcher, Words};
use t2m_checkpoint::Dtype;

/// Values of a key that are listed at most: a model may have thousands of classes.
const MOST: usize = 1_000;

/// Something that can be typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What takes the place of what is typed.
    pub text: String,
    /// How many modules have it, where it is a value.
    pub count: Option<usize>,
    /// What it asks, where it is a key.
    pub help: &'static str,
}

/// What fits behind the letters that are typed so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completion {
    /// Where what they take the place of begins, in characters.
    pub from: usize,
    /// The best first.
    pub candidates: Vec<Candidate>,
}

/// The values of each key that occur in a model, counted once.
#[derive(Debug, Clone, Default)]
pub struct Values {
    of: HashMap<Key, Vec<(String, usize)>>,
}

impl Values {
    /// Those of a model.
    pub fn of(facts: &Facts<'_>) -> Values {
        let mut counts: HashMap<Key, HashMap<&str, usize>> = HashMap::new();
        let mut note = |key: Key, value| *counts.entry(key).or_default().entry(value).or_insert(0) += 1;
        for (id, module) in facts.model.modules.iter().enumerate() {
            if !module.class.is_empty() {
                note(Key::Class, module.short_class());
            }
            if let Some(triaged) = facts.triaged(id) {
                note(Key::Status, triaged.status.name());
                note(Key::Assumed, if triaged.is_assumed() { "yes" } else { "no" });
            }
            note(Key::Evidence, module.evidence.name());
            note(Key::Verdict, facts.results.verdict(id).map_or("none", |verdict| verdict.name()));
            let mut types: Vec<&str> = facts.dtypes(id).map(Dtype::name).collect();
            types.sort_unstable();
            types.dedup();
            types.into_iter().for_each(|name| note(Key::Dtype, name));
            let mut patterns: Vec<&str> =
                facts.blockers(id).filter(|(.., reach)| reach.counts()).map(|(pattern, ..)| pattern).collect();
            patterns.sort_unstable();
            patterns.dedup();
            patterns.into_iter().for_each(|pattern| note(Key::Blocker, pattern));
            note(Key::Stale, if facts.is_stale(id) { "yes" } else { "no" });
        }
        let by_count = |counts: HashMap<&str, usize>| {
            let mut values: Vec<(String, usize)> =
                counts.into_iter().map(|(value, count)| (value.to_owned(), count)).collect();
            values.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
            values.truncate(MOST);
            values
        };
        let mut of: HashMap<Key, Vec<(String, usize)>> =
            counts.into_iter().map(|(key, counts)| (key, by_count(counts))).collect();
        of.insert(
            Key::Mark,
            facts.kept.marks(facts.model).into_iter().map(|(mark, count)| (mark.to_owned(), count)).collect(),
        );
        let below = |id| facts.module(id).map_or(0, |module| module.end.saturating_sub(id + 1));
        let parts = facts.model.children(0).take(MOST);
        let parts = parts.filter_map(|id| match below(id) {
            0 => None,
            count => Some((format!("{}.*", facts.module(id)?.path), count)),
        });
        of.insert(Key::Path, parts.collect());
        Values { of }
    }

    /// What may stand at the cursor, which is behind so many characters.
    pub fn complete(&self, text: &str, cursor: usize) -> Completion {
        let before: Vec<char> = text.chars().take(cursor).collect();
        let start = term_start(&before);
        let term: String = before.iter().skip(start).collect();
        let bare = term.trim_start_matches(['-', '!']);
        let start = start + (term.chars().count() - bare.chars().count());
        match bare.split_once([':', '=', '<', '>']).map(|(key, rest)| (Key::from_name(key), key, rest)) {
            None => Completion { from: start, candidates: keys(bare) },
            Some((None, ..)) => Completion::default(),
            Some((Some(key), name, rest)) => {
                let rest_start = start + name.chars().count() + 1;
                let typed = rest.rsplit(['|', ',']).next().unwrap_or("");
                let from = rest_start + (rest.chars().count() - typed.chars().count());
                Completion { from, candidates: self.values(key, typed.trim_start_matches('"')) }
            }
        }
    }

    fn values(&self, key: Key, typed: &str) -> Vec<Candidate> {
        let occurring = self.of.get(&key).map_or(&[][..], Vec::as_slice);
        let mut all: Vec<Candidate> = occurring
            .iter()
            .map(|(value, count)| Candidate { text: quoted(value), count: Some(*count), help: "" })
            .collect();
        let words = match key {
            Key::Verdict => vec!["bad", "passed", "any"],
            Key::Blocker | Key::Mark | Key::Note => key.choices(),
            _ => Vec::new(),
        };
        let words = words.into_iter().filter(|word| !occurring.iter().any(|(value, _)| value == word));
        all.extend(words.map(|word| Candidate { text: word.to_owned(), count: None, help: "" }));
        if key.kind() == Kind::Number {
            let example = |example: &&'static str| {
                let value = example.trim_start_matches(|letter: char| letter.is_alphabetic());
                value.trim_start_matches(['<', '>', '=']).to_owned()
            };
            let examples = key.examples().iter().map(example);
            all = examples.map(|text| Candidate { text, count: None, help: key.help() }).collect();
        }
        ranked(all, typed)
    }
}

/// Where the term begins that these letters end in: behind the last blank that is not within quotes.
fn term_start(letters: &[char]) -> usize {
    let (mut start, mut quote) = (0, false);
    for (at, letter) in letters.iter().enumerate() {
        match letter {
            '"' => quote = !quote,
            letter if letter.is_whitespace() && !quote => start = at + 1,
            _ => {}
        }
    }
    start
}

fn keys(typed: &str) -> Vec<Candidate> {
    let behind = |key: Key| if key.kind() == Kind::Number { '>' } else { ':' };
    let candidate =
        |key: Key| Candidate { text: format!("{}{}", key.name(), behind(key)), count: None, help: key.help() };
    ranked(Key::ALL.into_iter().map(candidate).collect(), typed)
}

/// Those that fit, the best first; all of them, in their order, where nothing is typed.
fn ranked(all: Vec<Candidate>, typed: &str) -> Vec<Candidate> {
    if typed.is_empty() {
        return all;
    }
    let (words, mut matcher) = (Words::one(&typed.to_lowercase()), Matcher::default());
    let fit = |candidate: Candidate| match words.fit(&[&candidate.text], &mut matcher) {
        Some(Fit::Close(points)) => {
            let begins = candidate.text.to_lowercase().starts_with(&typed.to_lowercase());
            Some(((begins, points), candidate))
        }
        _ => None,
    };
    let mut fitting: Vec<_> = all.into_iter().filter_map(fit).collect();
    fitting.sort_by(|(left, _), (right, _)| right.cmp(left));
    fitting.into_iter().map(|(_, candidate)| candidate).collect()
}
