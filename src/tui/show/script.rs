//! A script that is played on the screen: a line for each step.
//!
//! ```text
//! # what stands behind a # at the beginning of a line is for readers
//! say  Which layers convert?
//! wait 800ms
//! keys j j enter
//! type layer1
//! wait-for measured
//! wait-for text "10 exact"
//! ```

use std::time::Duration;

use ratatui::crossterm::event::KeyEvent;

use crate::tui::keymap;

/// The longest wait of a step.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long something is waited for, unless the step says.
const PATIENCE: Duration = Duration::from_secs(120);

/// A step, and the line that it stands in, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The line.
    pub line: usize,
    /// What is done.
    pub act: Act,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Press these keys, one after the other.
    Keys(Vec<KeyEvent>),
    /// Type a text.
    Type(String),
    /// Let time pass.
    Wait(Duration),
    /// Wait until something is so, this long at most.
    Until(Until, Duration),
    /// Show a caption; an empty one is none.
    Say(String),
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// The file is open.
    Opened,
    /// Something was measured, and nothing runs any more.
    Measured,
    /// Nothing runs any more.
    Idle,
    /// The screen shows this.
    Text(String),
}

/// What is wrong with a script, and where: line and column, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {words}")]
pub struct Error {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// What is wrong, and what may stand there.
    pub words: String,
}

/// Read a script.
///
/// # Errors
/// The first thing in it that is no step.
pub fn parse(text: &str) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    for (line, whole) in (1..).zip(text.lines()) {
        let content = whole.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let words = Words { line, whole };
        let (verb, rest) = content.split_once(char::is_whitespace).unwrap_or((content, ""));
        let rest = rest.trim();
        let act = match verb {
            "keys" => keys(&words, rest)?,
            "type" if !rest.is_empty() => Act::Type(unquoted(rest).to_owned()),
            "type" => return Err(words.at_end("a text to type is expected, as in: type layer1")),
            "wait" => Act::Wait(duration(&words, rest)?),
            "wait-for" => until(&words, rest)?,
            "say" => Act::Say(unquoted(rest).to_owned()),
            _ => {
                let said = format!("\"{verb}\" is no step: keys, type, wait, wait-for and say are");
                return Err(words.at(verb, &said));
            }
        };
        steps.push(Step { line, act });
    }
    Ok(steps)
}

/// A line, to say where in it something is wrong.
struct Words<'a> {
    line: usize,
    whole: &'a str,
}

impl Words<'_> {
    /// At a part of the line.
    fn at(&self, part: &str, words: &str) -> Error {
        // The part is a slice of the line.
        let byte = (part.as_ptr() as usize).saturating_sub(self.whole.as_ptr() as usize);
        let column = self.whole.get(..byte).map_or(1, |before| before.chars().count() + 1);
        Error { line: self.line, column, words: words.to_owned() }
    }

    fn at_end(&self, words: &str) -> Error {
        Error { line: self.line, column: self.whole.trim_end().chars().count() + 1, words: words.to_owned() }
    }
}

fn keys(words: &Words<'_>, rest: &str) -> Result<Act, Error> {
    if rest.is_empty() {
        return Err(words.at_end("names of keys are expected, as in: keys j enter ctrl-d"));
    }
    let key = |name: &str| {
        let said = || {
            format!("\"{name}\" is no key; write a character, or enter, space, tab, up, pagedown, ctrl-d and the like")
        };
        keymap::event_of(name).ok_or_else(|| words.at(name, &said()))
    };
    let keys: Result<Vec<KeyEvent>, Error> = parts(rest).map(key).collect();
    Ok(Act::Keys(keys?))
}

/// Words with blanks between them, as slices of the text.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(char::is_whitespace).filter(|part| !part.is_empty())
}

fn duration(words: &Words<'_>, text: &str) -> Result<Duration, Error> {
    const EXPECTED: &str = "a time is expected, as 800ms or 2s";
    if text.is_empty() {
        return Err(words.at_end(EXPECTED));
    }
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1e-3),
        (None, Some(number)) => (number, 1.0),
        (None, None) => return Err(words.at(text, EXPECTED)),
    };
    let number = number.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    let time = number.map(|number| number * unit).filter(|seconds| *seconds <= LONGEST.as_secs_f64());
    time.map(Duration::from_secs_f64).ok_or_else(|| words.at(text, &format!("{EXPECTED}, an hour at most")))
}

fn until(words: &Words<'_>, rest: &str) -> Result<Act, Error> {
    const EXPECTED: &str =
        "what is waited for is expected: opened, measured, idle, or text and what the screen is to show";
    let (what, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let behind = behind.trim();
    let until = match what {
        "" => return Err(words.at_end(EXPECTED)),
        "opened" => Until::Opened,
        "measured" => Until::Measured,
        "idle" => Until::Idle,
        "text" if behind.is_empty() => return Err(words.at_end("the text is expected that the screen is to show")),
        "text" => return Ok(Act::Until(Until::Text(unquoted(behind).to_owned()), PATIENCE)),
        _ => return Err(words.at(what, &format!("\"{what}\" is nothing to wait for; {EXPECTED}"))),
    };
    let patience = if behind.is_empty() { PATIENCE } else { duration(words, behind)? };
    Ok(Act::Until(until, patience))
}

/// A text without the double quotes around it, which keep its blanks.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ratatui::crossterm::event::{KeyCode, KeyModifiers};

    use super::*;

    #[test]
    fn steps_are_read() {
        let text = "# a comment\n\n  say Which layers?\nkeys j shift-tab ctrl-d\ntype \" a b\"\nwait 800ms\nwait 1.5s\nwait-for measured 300s\nwait-for text 10 exact\nsay\n";
        let steps = parse(text).unwrap();
        let key = |code, modifiers| KeyEvent::new(code, modifiers);
        let acts = [
            Act::Say("Which layers?".to_owned()),
            Act::Keys(vec![
                key(KeyCode::Char('j'), KeyModifiers::NONE),
                key(KeyCode::BackTab, KeyModifiers::SHIFT),
                key(KeyCode::Char('d'), KeyModifiers::CONTROL),
            ]),
            Act::Type(" a b".to_owned()),
            Act::Wait(Duration::from_millis(800)),
            Act::Wait(Duration::from_millis(1500)),
            Act::Until(Until::Measured, Duration::from_secs(300)),
            Act::Until(Until::Text("10 exact".to_owned()), PATIENCE),
            Act::Say(String::new()),
        ];
        assert_eq!(steps.iter().map(|step| step.act.clone()).collect::<Vec<_>>(), acts);
        assert_eq!(steps.iter().map(|step| step.line).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_column() {
        for (text, line, column, words) in [
            ("say a\n  press j", 2, 3, "\"press\" is no step"),
            ("keys j größe k", 1, 8, "\"größe\" is no key"),
            ("keys", 1, 5, "names of keys"),
            ("wait 5", 1, 6, "800ms or 2s"),
            ("wait -5s", 1, 6, "800ms or 2s"),
            ("wait 1e9s", 1, 6, "an hour at most"),
            ("wait", 1, 5, "800ms or 2s"),
            ("\n\nwait-for  nothing", 3, 11, "\"nothing\" is nothing to wait for"),
            ("wait-for text ", 1, 14, "the text is expected"),
            ("wait-for idle soon", 1, 15, "800ms or 2s"),
            ("type ", 1, 5, "a text to type"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
            assert!(error.words.contains(words), "{text}: {error}");
        }
    }
}
