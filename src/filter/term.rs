//! What a filter is made of, and how it is written.

use std::fmt::{self, Display, Formatter, Write};

use globset::{GlobBuilder, GlobMatcher};

use super::keys::Key;
use crate::compare::Verdict;
use crate::fuzzy::Words;
use crate::model::Evidence;
use crate::source::Severity;
use crate::triage::Status;
use t2m_checkpoint::Dtype;

/// Terms of which one has to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    /// One or more.
    pub terms: Vec<Term>,
}

/// A test, or its contrary.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Whether the test must not hold.
    pub not: bool,
    /// The test.
    pub test: Test,
}

/// What is asked of a module; of several values one is enough.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Words in its path or class, letter by letter.
    Words(Vec<Word>),
    /// Its class.
    Class(Vec<Pattern>),
    /// Its path.
    Path(Vec<Pattern>),
    /// What the registry says.
    Status(Vec<Status>),
    /// What a run gave.
    Verdict(Vec<Judged>),
    /// How its class is known.
    Evidence(Vec<Evidence>),
    /// The type of one of its tensors.
    Dtype(Vec<Dtype>),
    /// A blocker in its forward.
    Blocker(Vec<Blocked>),
    /// Its mark.
    Mark(Vec<Which>),
    /// The note on it.
    Note(Vec<Which>),
    /// Whether a run tries values for what is not known.
    Assumed(bool),
    /// Whether what was measured is of something else.
    Stale(bool),
    /// A number: one of [`Key`]'s.
    Number(Key, Compare, Vec<Amount>),
}

/// A word that is looked for.
#[derive(Debug, Clone)]
pub struct Word {
    text: String,
    pub(super) words: Words,
    /// Whether a module has it as it is typed: then only those that do have it.
    pub(super) literal: bool,
}

/// A name in which `*` stands for any letters and `?` for one.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    pub(super) glob: GlobMatcher,
}

/// A value of a key whose values are text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Anything.
    Any,
    /// Nothing.
    None,
    /// What has this in it.
    With(String),
}

/// What is asked of the blockers in a forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// One that stops or changes a port.
    Any,
    /// None of those.
    None,
    /// One in what only training runs.
    Training,
    /// One that is as bad as this.
    As(Severity),
    /// One whose pattern's name has this in it.
    By(String),
}

/// What a run gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// Any verdict.
    Any,
    /// No verdict.
    None,
    /// Exact or ok.
    Passed,
    /// Drift, broken, or failed with engines that were there.
    Bad,
    /// That verdict.
    Is(Verdict),
}

/// How two numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compare {
    Equal,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

/// A number in a filter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount {
    /// The number, finite and not negative.
    pub number: f64,
    /// Whether it counts tolerances.
    pub tolerances: bool,
}

impl Word {
    pub(super) fn new(text: String) -> Word {
        Word { words: Words::one(&text), text, literal: false }
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Word) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(text: String) -> Result<Pattern, String> {
        let any_case = !text.chars().any(char::is_uppercase);
        let glob = GlobBuilder::new(&text).case_insensitive(any_case).build();
        let glob = glob.map_err(|error| error.kind().to_string())?.compile_matcher();
        Ok(Pattern { text, glob })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Judged {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Judged::Any => "any",
            Judged::None => "none",
            Judged::Passed => "passed",
            Judged::Bad => "bad",
            Judged::Is(verdict) => verdict.name(),
        }
    }
}

impl Compare {
    /// The sign.
    pub fn sign(self) -> &'static str {
        match self {
            Compare::Equal => "=",
            Compare::Less => "<",
            Compare::LessOrEqual => "<=",
            Compare::More => ">",
            Compare::MoreOrEqual => ">=",
        }
    }

    pub(super) fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Compare::Equal => left == right,
            Compare::Less => left < right,
            Compare::LessOrEqual => left <= right,
            Compare::More => left > right,
            Compare::MoreOrEqual => left >= right,
        }
    }
}

impl Test {
    /// Its key, unless it is a word alone.
    pub fn key(&self) -> Option<Key> {
        Some(match self {
            Test::Words(_) => return None,
            Test::Class(_) => Key::Class,
            Test::Path(_) => Key::Path,
            Test::Status(_) => Key::Status,
            Test::Verdict(_) => Key::Verdict,
            Test::Evidence(_) => Key::Evidence,
            Test::Dtype(_) => Key::Dtype,
            Test::Blocker(_) => Key::Blocker,
            Test::Mark(_) => Key::Mark,
            Test::Note(_) => Key::Note,
            Test::Assumed(_) => Key::Assumed,
            Test::Stale(_) => Key::Stale,
            Test::Number(key, ..) => *key,
        })
    }

    pub(super) fn asks_for_results(&self) -> bool {
        matches!(self.key(), Some(Key::Verdict | Key::Err | Key::Time))
    }

    pub(super) fn asks_for_kept(&self) -> bool {
        matches!(self.key(), Some(Key::Mark | Key::Note | Key::Stale))
    }
}

impl Display for Clause {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (at, term) in self.terms.iter().enumerate() {
            if at > 0 {
                formatter.write_str(" | ")?;
            }
            term.fmt(formatter)?;
        }
        Ok(())
    }
}

impl Display for Term {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if self.not {
            formatter.write_char('-')?;
        }
        let key = self.test.key();
        if let Some(key) = key {
            formatter.write_str(key.name())?;
        }
        match &self.test {
            Test::Number(_, compare, _) => formatter.write_str(compare.sign())?,
            _ if key.is_some() => formatter.write_char(':')?,
            _ => {}
        }
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        match &self.test {
            Test::Words(words) => either(formatter, words.iter().map(|word| quoted(&word.text))),
            Test::Class(patterns) | Test::Path(patterns) => {
                either(formatter, patterns.iter().map(|pattern| quoted(&pattern.text)))
            }
            Test::Status(any) => either(formatter, any.iter().map(|status| status.name())),
            Test::Verdict(any) => either(formatter, any.iter().map(|judged| judged.name())),
            Test::Evidence(any) => either(formatter, any.iter().map(|evidence| evidence.name())),
            Test::Dtype(any) => either(formatter, any.iter().map(|dtype| dtype.name())),
            Test::Blocker(any) => either(formatter, any),
            Test::Mark(any) | Test::Note(any) => either(formatter, any),
            Test::Assumed(is) | Test::Stale(is) => formatter.write_str(yes(*is)),
            Test::Number(_, _, amounts) => either(formatter, amounts),
        }
    }
}

impl Display for Which {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Which::Any => formatter.write_str("any"),
            Which::None => formatter.write_str("none"),
            // What is quoted is never taken for the word of that meaning.
            Which::With(text) if matches!(text.as_str(), "any" | "none") => write!(formatter, "\"{text}\""),
            Which::With(text) => formatter.write_str(&quoted(text)),
        }
    }
}

impl Display for Blocked {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Blocked::Any => formatter.write_str("any"),
            Blocked::None => formatter.write_str("none"),
            Blocked::Training => formatter.write_str("training"),
            Blocked::As(severity) => formatter.write_str(severity.name()),
            // What is quoted is never taken for the word of that meaning.
            Blocked::By(text) if Key::Blocker.choices().contains(&text.as_str()) => write!(formatter, "\"{text}\""),
            Blocked::By(text) => formatter.write_str(&quoted(text)),
        }
    }
}

impl Display for Amount {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let number = self.number;
        if self.tolerances {
            return write!(formatter, "{number}tol");
        }
        let unit = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")].into_iter().find(|(size, _)| number >= *size);
        // A unit is written where it gives the number back to the bit.
        match unit.map(|(size, unit)| (number / size, size, unit)) {
            Some((short, size, unit)) if short * size == number && short < 1e6 => write!(formatter, "{short}{unit}"),
            _ if number != 0.0 && !(1e-3..1e12).contains(&number) => write!(formatter, "{number:e}"),
            _ => write!(formatter, "{number}"),
        }
    }
}

fn either(formatter: &mut Formatter<'_>, any: impl IntoIterator<Item = impl Display>) -> fmt::Result {
    for (at, one) in any.into_iter().enumerate() {
        if at > 0 {
            formatter.write_char('|')?;
        }
        one.fmt(formatter)?;
    }
    Ok(())
}

/// Text as it may stand in a filter: in quotes where it would be read as something else.
pub fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "._*?[]{}/+~$#@%&()^;'".contains(letter);
    let inner = |letter: char| plain(letter) || letter == '-' || letter == '!';
    let begins = text.chars().next().is_some_and(plain);
    if begins && text.chars().all(inner) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
