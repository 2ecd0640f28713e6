//! Reading a filter.

use std::ops::Range;

use super::Filter;
use super::keys::{DTYPES, Key, Kind};
use super::term::{Amount, Blocked, Clause, Compare, Judged, Pattern, Term, Test, Which, Word};
use crate::compare::Verdict;
use crate::guess::nearest;
use crate::model::Evidence;
use crate::source::Severity;
use crate::triage::Status;
use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::quoted;

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {}: {message}", at.start + 1)]
pub struct Error {
    /// The characters that are meant, counted from 0.
    pub at: Range<usize>,
    /// Where the term begins that it is in, counted so as well.
    pub term: usize,
    /// What is wrong, and what may be meant.
    pub message: String,
    /// Whether it may become right by typing on.
    pub open: bool,
}

/// A value as it is written.
struct Value {
    text: String,
    at: Range<usize>,
    /// Whether a part of it is in quotes: then it is never a word of the language.
    quoted: bool,
}

struct Reader<'a> {
    letters: &'a [char],
    at: usize,
}

/// Read a whole filter.
pub(super) fn filter(text: &str) -> Result<Filter, Error> {
    let letters: Vec<char> = text.chars().collect();
    let mut reader = Reader { letters: &letters, at: 0 };
    let mut filter = Filter::default();
    // Where a `|` stands that waits for its second term.
    let mut joins: Option<usize> = None;
    loop {
        reader.skip_blanks();
        match (reader.peek(), &mut joins) {
            (None, None) => return Ok(filter),
            (None, Some(at)) => return Err(error(*at..*at + 1, "a term is missing behind `|`", true)),
            (Some('|'), None) if !filter.clauses.is_empty() && reader.stands_alone() => {
                joins = Some(reader.at);
                reader.at += 1;
            }
            _ => {
                let begins = joins.unwrap_or(reader.at);
                let term = reader.term().map_err(|error| Error { term: begins, ..error })?;
                match (joins.take(), filter.clauses.last_mut()) {
                    (Some(_), Some(clause)) => clause.terms.push(term),
                    _ => filter.clauses.push(Clause { terms: vec![term] }),
                }
            }
        }
    }
}

fn error(at: Range<usize>, message: impl Into<String>, open: bool) -> Error {
    Error { term: at.start, at, message: message.into(), open }
}

/// `; did you mean status?`, where something is near.
fn guess<'a>(typed: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, words).map(|word| format!("; did you mean {word}?")).unwrap_or_default()
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    /// Whether nothing is next to the letter here.
    fn stands_alone(&self) -> bool {
        self.letters.get(self.at + 1).is_none_or(|next| next.is_whitespace())
    }

    /// The letters up to where a key would end: the sign behind it, or the end of the term.
    fn key(&self) -> (String, usize) {
        let rest = self.letters.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|letter| letter.is_whitespace() || ":<>=\"|,".contains(*letter));
        let length = length.unwrap_or(rest.len());
        (rest.iter().take(length).collect(), self.at + length)
    }

    fn term(&mut self) -> Result<Term, Error> {
        let begins = self.at;
        let not = matches!(self.peek(), Some('-' | '!'));
        self.at += usize::from(not);
        if self.peek().is_none_or(char::is_whitespace) {
            return Err(error(begins..self.at, "nothing follows: a term is missing", true));
        }
        let (word, end) = self.key();
        let sign = self.letters.get(end).copied().filter(|letter| ":<>=".contains(*letter));
        let Some(sign) = sign else {
            let words = self.values(self.at, "a word")?;
            let words = words.into_iter().map(|value| Word::new(value.text)).collect();
            return Ok(Term { not, test: Test::Words(words) });
        };
        let at = self.at..end;
        let Some(key) = Key::from_name(&word) else {
            if word.is_empty() {
                return Err(error(end..end + 1, format!("a key is missing before `{sign}`"), false));
            }
            let guess = guess(&word, Key::ALL.map(Key::name));
            return Err(error(at, format!("no key is called {}{guess}", quoted(&word)), false));
        };
        self.at = end;
        let compare = self.compare(key, end)?;
        let test = self.test(key, compare)?;
        Ok(Term { not, test })
    }

    /// The sign behind a key; `:` is `=`, and may come before another one.
    fn compare(&mut self, key: Key, end: usize) -> Result<Compare, Error> {
        self.at += usize::from(self.peek() == Some(':'));
        let rest = self.letters.get(self.at..).unwrap_or_default();
        let (compare, length) = match rest {
            ['<', '=', ..] => (Compare::LessOrEqual, 2),
            ['>', '=', ..] => (Compare::MoreOrEqual, 2),
            ['<', ..] => (Compare::Less, 1),
            ['>', ..] => (Compare::More, 1),
            ['=', ..] => (Compare::Equal, 1),
            _ => (Compare::Equal, 0),
        };
        if compare != Compare::Equal && key.kind() != Kind::Number {
            let words = format!("{} is no number: write {}", key.name(), key.examples().first().unwrap_or(&""));
            return Err(error(end..self.at + length, words, false));
        }
        self.at += length;
        Ok(compare)
    }

    fn test(&mut self, key: Key, compare: Compare) -> Result<Test, Error> {
        let from = self.at;
        let values = self.values(from, key.name())?;
        Ok(match key {
            Key::Class => Test::Class(patterns(values)?),
            Key::Path => Test::Path(patterns(values)?),
            Key::Status => {
                Test::Status(choose(key, values, |word| Status::ALL.into_iter().find(|status| status.name() == word))?)
            }
            Key::Verdict => Test::Verdict(choose(key, values, judged)?),
            Key::Evidence => Test::Evidence(choose(key, values, |word| {
                Evidence::ALL.into_iter().find(|evidence| evidence.name() == word)
            })?),
            Key::Dtype => Test::Dtype(choose(key, values, dtype)?),
            Key::Blocker => Test::Blocker(blocked(values)),
            Key::Mark => Test::Mark(which(values)),
            Key::Note => Test::Note(which(values)),
            Key::Assumed => Test::Assumed(flag(key, values)?),
            Key::Stale => Test::Stale(flag(key, values)?),
            Key::Params | Key::Total | Key::Err | Key::Time | Key::Depth | Key::Lines => {
                let amounts = values.iter().map(|value| amount(key, value)).collect::<Result<Vec<_>, _>>()?;
                if let (Some(second), false) = (values.get(1), compare == Compare::Equal) {
                    let words = format!("one number is enough behind `{}`", compare.sign());
                    return Err(error(second.at.clone(), words, false));
                }
                Test::Number(key, compare, amounts)
            }
        })
    }

    /// The values up to the end of the term, `|` or a comma between them.
    fn values(&mut self, from: usize, of: &str) -> Result<Vec<Value>, Error> {
        let mut values = Vec::new();
        loop {
            let value = self.value()?;
            if value.text.is_empty() && !value.quoted {
                let at = from.saturating_sub(1)..self.at.max(from);
                return Err(error(at, format!("a value is missing: {}", example(of)), true));
            }
            values.push(value);
            if !matches!(self.peek(), Some('|' | ',')) {
                return Ok(values);
            }
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Value, Error> {
        let from = self.at;
        let (mut text, mut quoted) = (String::new(), false);
        while let Some(letter) = self.peek().filter(|letter| !letter.is_whitespace() && !"|,".contains(*letter)) {
            if letter == '"' {
                quoted = true;
                text += &self.quote()?;
            } else {
                text.push(letter);
                self.at += 1;
            }
        }
        Ok(Value { text, at: from..self.at, quoted })
    }

    /// What is between quotes; `\` lets the next letter stand for itself.
    fn quote(&mut self) -> Result<String, Error> {
        let from = self.at;
        let mut text = String::new();
        self.at += 1;
        while let Some(letter) = self.peek() {
            self.at += 1;
            match letter {
                '"' => return Ok(text),
                '\\' => {
                    text.extend(self.peek());
                    self.at = (self.at + 1).min(self.letters.len());
                }
                _ => text.push(letter),
            }
        }
        Err(error(from..self.letters.len(), "the quotes are not closed", true))
    }
}

/// How a term looks with this key.
fn example(key: &str) -> String {
    let example = Key::from_name(key).and_then(|key| key.examples().first().copied());
    example.map_or_else(|| "conv|linear".to_owned(), |example| format!("as in {example}"))
}

fn patterns(values: Vec<Value>) -> Result<Vec<Pattern>, Error> {
    let pattern = |value: Value| Pattern::new(value.text).map_err(|why| error(value.at, why, true));
    values.into_iter().map(pattern).collect()
}

fn which(values: Vec<Value>) -> Vec<Which> {
    let which = |value: Value| match value.text.as_str() {
        "any" if !value.quoted => Which::Any,
        "none" if !value.quoted => Which::None,
        _ => Which::With(value.text),
    };
    values.into_iter().map(which).collect()
}

/// What is asked of blockers; what is quoted is a part of a pattern's name, whatever it says.
fn blocked(values: Vec<Value>) -> Vec<Blocked> {
    let severity = |text: &str| Severity::ALL.into_iter().find(|severity| severity.name() == text);
    let blocked = |value: Value| match (value.text.as_str(), severity(&value.text)) {
        _ if value.quoted => Blocked::By(value.text),
        (_, Some(severity)) => Blocked::As(severity),
        ("any", _) => Blocked::Any,
        ("none", _) => Blocked::None,
        ("training", _) => Blocked::Training,
        _ => Blocked::By(value.text),
    };
    values.into_iter().map(blocked).collect()
}

/// Values that are words of a list.
fn choose<T>(key: Key, values: Vec<Value>, find: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Error> {
    let one = |value: Value| {
        find(&value.text).ok_or_else(|| {
            let choices = key.choices();
            let meant = nearest(&value.text, choices.iter().copied());
            let hint = match meant {
                Some(word) => format!("; did you mean {word}?"),
                None if choices.len() <= 12 => format!(": write {}", choices.join(", ")),
                None => String::new(),
            };
            let open = choices.iter().any(|choice| choice.starts_with(&value.text));
            error(value.at, format!("no {} is called {}{hint}", key.name(), quoted(&value.text)), open)
        })
    };
    values.into_iter().map(one).collect()
}

fn flag(key: Key, values: Vec<Value>) -> Result<bool, Error> {
    let second = values.get(1).map(|value| value.at.clone());
    let flags = choose(key, values, |word| match word {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    })?;
    match (flags.first(), second) {
        (Some(&flag), None) => Ok(flag),
        (_, at) => Err(error(at.unwrap_or(0..0), format!("{} is yes or no", key.name()), false)),
    }
}

fn judged(word: &str) -> Option<Judged> {
    Some(match word {
        "any" => Judged::Any,
        "none" => Judged::None,
        "passed" => Judged::Passed,
        "bad" => Judged::Bad,
        word => Judged::Is(Verdict::ALL.into_iter().find(|verdict| verdict.name() == word)?),
    })
}

fn dtype(word: &str) -> Option<Dtype> {
    let short = DTYPES.iter().find(|(short, _)| *short == word).map(|(_, dtype)| *dtype);
    short.or_else(|| Dtype::from_name(word))
}

fn amount(key: Key, value: &Value) -> Result<Amount, Error> {
    let wrong = |why: &str, open: bool| Err(error(value.at.clone(), format!("{why}: {}", example(key.name())), open));
    let (text, tolerances) = match value.text.strip_suffix("tol") {
        Some(number) if key == Key::Err => (number, true),
        Some(_) => return wrong("tolerances are of errors alone", false),
        None => (value.text.as_str(), false),
    };
    let units = [("k", 1e3), ("K", 1e3), ("M", 1e6), ("m", 1e6), ("G", 1e9), ("B", 1e9), ("T", 1e12)];
    let unit = units.into_iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)));
    let (digits, size) = unit.filter(|_| !tolerances && key != Key::Err).unwrap_or((text, 1.0));
    // Rust reads `inf` and `nan` as numbers, too.
    let is_number = digits.chars().all(|letter| letter.is_ascii_digit() || ".e-+E".contains(letter));
    let number = digits.parse::<f64>().ok().map(|number| number * size);
    match number.filter(|number| is_number && number.is_finite() && number.is_sign_positive()) {
        Some(number) => Ok(Amount { number, tolerances }),
        None => wrong("this is no number", digits.ends_with(['e', '-', '.']) || "tol".starts_with(digits)),
    }
}
