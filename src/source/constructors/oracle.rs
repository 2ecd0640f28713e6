//! What is assumed where nothing tells: which way a condition goes, how often a loop turns, what an argument is.

use std::collections::HashMap;

use indexmap::IndexMap;

use crate::source::evaluate::{Symbol, Value};

/// Where something is open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// An argument of the root, or an element of one: `layers[0]`.
    Argument(String),
    /// A condition, by its file and the byte that it begins at.
    Condition(usize, usize),
    /// A loop.
    Loop(usize, usize),
}

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Truth(bool),
    Count(usize),
}

/// Decides, and remembers what it decided.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// What is assumed.
    pub assumed: HashMap<Key, Value>,
    /// Every choice of this run, …
    pub record: Vec<Choice>,
    /// … and those of a run before, which are followed.
    pub follow: Vec<Choice>,
    /// What was open, with what was chosen first.
    pub open: IndexMap<Key, Choice>,
    /// Names of what is not known.
    pub symbols: Vec<String>,
    /// Words that it is compared with.
    pub words: IndexMap<String, Vec<Value>>,
}

/// Words that one argument is compared with.
const WORDS: usize = 16;
/// Choices that are remembered.
const CHOICES: usize = 1_000_000;
/// Turns of a loop that is open.
const TURNS: usize = 512;

impl Oracle {
    /// Which way a condition goes.
    pub(super) fn truth(&mut self, key: Key, known: Option<bool>) -> bool {
        let forced = match self.assumed.get(&key) {
            Some(Value::Bool(forced)) => Some(*forced),
            _ => None,
        };
        let followed = match self.follow.get(self.record.len()) {
            Some(Choice::Truth(truth)) => Some(*truth),
            _ => None,
        };
        let chosen = forced.or(known).or(followed).unwrap_or(false);
        if known.is_none() {
            self.open.entry(key).or_insert(Choice::Truth(chosen));
        }
        self.note(Choice::Truth(chosen));
        chosen
    }

    /// How often a loop turns.
    pub(super) fn count(&mut self, key: Key, known: Option<usize>) -> usize {
        let followed = match self.follow.get(self.record.len()) {
            Some(Choice::Count(count)) => Some(*count),
            _ => None,
        };
        let assumed = match self.assumed.get(&key) {
            Some(Value::Int(count)) => usize::try_from(*count).ok(),
            _ => None,
        };
        let chosen = known.or(assumed).or(followed).unwrap_or(0);
        let chosen = if known.is_none() { chosen.min(TURNS) } else { chosen };
        if known.is_none() {
            self.open.entry(key).or_insert(Choice::Count(chosen));
        }
        self.note(Choice::Count(chosen));
        chosen
    }

    fn note(&mut self, choice: Choice) {
        if self.record.len() < CHOICES {
            self.record.push(choice);
        }
    }

    /// A symbol is compared with a word, or looked up where there is one.
    pub(super) fn compared(&mut self, symbol: Symbol, word: &Value) {
        let Some(name) = self.symbols.get(symbol.of as usize) else { return };
        let words = self.words.entry(name.clone()).or_default();
        if matches!(word, Value::Text(_)) && words.len() < WORDS && !words.contains(word) {
            words.push(word.clone());
        }
    }

    /// The number of a symbol of this name.
    pub(super) fn symbol(&mut self, name: &str) -> u32 {
        let at = self.symbols.iter().position(|known| known == name).unwrap_or_else(|| {
            self.symbols.push(name.to_owned());
            self.symbols.len() - 1
        });
        at as u32
    }
}
