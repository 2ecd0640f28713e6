//! Python literals and calls in the text that TorchScript writes, and assignments that a person types: read, never evaluated.

use serde_json::{Number, Value};

/// Deepest nesting of lists and tuples, and of brackets in arguments.
const DEEPEST: usize = 8;
/// How often a character is looked at, on average: what is a bracket for one call may be in quotes for another.
const LOOKS: usize = 16;
/// Longest argument list that is read, in characters.
const LONGEST_ARGUMENTS: usize = 1024;
/// Calls of one class that are kept.
const MOST_CALLS: usize = 1_000;
/// Arguments of a call that are kept: no op whose arguments are asked for has more.
const MOST_ARGUMENTS: usize = 16;

/// The call of an op, with what its text says of the arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// Name of the op without its namespace (`conv2d`).
    pub op: String,
    /// Positional arguments first, as Python wants it.
    pub args: Vec<Argument>,
    /// Whether its second result is used; `None` where that is not known, or there is none.
    pub second: Option<bool>,
}

/// One argument of a [`Call`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Argument {
    /// Its name, where it is written.
    pub name: Option<String>,
    /// A literal; `None` for any other expression.
    pub value: Option<Value>,
}

/// A number, text, truth value, None, or lists and tuples of them, as JSON; tuples become arrays. `None` for anything else.
pub fn literal(text: &str) -> Option<Value> {
    let (value, rest) = value(text.trim(), 0)?;
    rest.trim().is_empty().then_some(value)
}

/// What is no assignment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{expected} is expected")]
pub struct Misread {
    /// Where, in bytes from the beginning of the text.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
}

/// Assignments as keyword arguments are written: `stride=2, padding=(1, 1)`, in order. A bare word that is no literal is a text: a
/// class's name needs no quotes.
///
/// # Errors
/// Says where the text is no such list, and what was expected there.
pub fn assignments(text: &str) -> Result<Vec<(String, Value)>, Misread> {
    let place = |rest: &str| text.len() - rest.len();
    let is_name = |letter: char| letter == '_' || letter == '.' || letter.is_alphanumeric();
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let end = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(Misread { at: place(rest), expected: "the name of an attribute" });
        }
        let behind = behind.trim_start();
        let Some(written) = behind.strip_prefix('=').map(str::trim_start) else {
            return Err(Misread { at: place(behind), expected: "`=`" });
        };
        let bare = || {
            let end = written.find(|letter| !is_name(letter)).unwrap_or(written.len());
            let (word, rest) = written.split_at(end);
            let is_word = word.starts_with(|first: char| first == '_' || first.is_alphabetic());
            is_word.then(|| (Value::from(word), rest))
        };
        let Some((value, behind)) = value(written, 0).or_else(bare) else {
            return Err(Misread {
                at: place(written),
                expected: "a number, a text, True, False, None or a list of them",
            });
        };
        found.push((name.to_owned(), value));
        rest = behind.trim_start();
        if rest.is_empty() {
            return Ok(found);
        }
        let Some(next) = rest.strip_prefix(',') else { return Err(Misread { at: place(rest), expected: "`,`" }) };
        rest = next.trim_start();
        if rest.is_empty() {
            return Ok(found);
        }
    }
}

/// One value and the text behind it.
fn value(text: &str, depth: usize) -> Option<(Value, &str)> {
    let text = text.trim_start();
    match text.chars().next()? {
        '[' => sequence(text.get(1..)?, ']', depth),
        '(' => sequence(text.get(1..)?, ')', depth),
        quote @ ('"' | '\'') => string(text.get(1..)?, quote),
        _ => {
            let end = text.find([',', ')', ']', ' ', '\n']).unwrap_or(text.len());
            let (word, rest) = text.split_at(end);
            Some((scalar(word)?, rest))
        }
    }
}

fn sequence(text: &str, close: char, depth: usize) -> Option<(Value, &str)> {
    if depth >= DEEPEST {
        return None;
    }
    let mut values = Vec::new();
    let mut rest = text.trim_start();
    let mut commas = 0;
    loop {
        if let Some(rest) = rest.strip_prefix(close) {
            // `(1)` is the number one.
            let single = close == ')' && commas == 0 && values.len() == 1;
            return Some((if single { values.pop()? } else { Value::Array(values) }, rest));
        }
        let (item, behind) = value(rest, depth + 1)?;
        values.push(item);
        rest = behind.trim_start();
        match rest.strip_prefix(',') {
            Some(behind) => (rest, commas) = (behind.trim_start(), commas + 1),
            None if rest.starts_with(close) => {}
            None => return None,
        }
    }
}

/// The text up to the closing quote.
fn string(text: &str, quote: char) -> Option<(Value, &str)> {
    let mut found = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => found.push(match characters.next()?.1 {
                'n' => '\n',
                't' => '\t',
                same @ ('\\' | '"' | '\'') => same,
                _ => return None,
            }),
            _ if character == quote => return Some((Value::from(found), text.get(at + quote.len_utf8()..)?)),
            _ => found.push(character),
        }
    }
    None
}

fn scalar(word: &str) -> Option<Value> {
    match word {
        "None" => return Some(Value::Null),
        "True" => return Some(Value::Bool(true)),
        "False" => return Some(Value::Bool(false)),
        _ => {}
    }
    if let Ok(number) = word.parse::<i64>() {
        return Some(Value::from(number));
    }
    let numeric = word.starts_with(|first: char| first.is_ascii_digit() || "-.".contains(first));
    let number = word.parse::<f64>().ok().filter(|number| numeric && number.is_finite())?;
    Number::from_f64(number).map(Value::Number)
}

/// Every call of `torch.<op>` in a text, in order, nested ones too.
pub(super) fn calls(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut at = 0;
    let mut left = text.len() * LOOKS;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("torch.")) {
        let start = at + found;
        at = start + "torch.".len();
        let before = text.get(..start).and_then(|before| before.chars().next_back());
        if calls.len() >= MOST_CALLS || left == 0 {
            break;
        }
        if before.is_some_and(|before| before == '.' || before == '_' || before.is_alphanumeric()) {
            continue;
        }
        let rest = text.get(at..).unwrap_or_default();
        let end = rest.find(|character: char| character != '_' && !character.is_ascii_alphanumeric());
        let (op, rest) = rest.split_at(end.unwrap_or(rest.len()));
        if let Some(args) = rest.strip_prefix('(').and_then(|rest| arguments(rest, &mut left)) {
            calls.push(Call { op: op.to_owned(), args, second: None });
        }
    }
    calls
}

/// The arguments up to the closing parenthesis; takes the characters it looked at off `left`.
fn arguments(text: &str, left: &mut usize) -> Option<Vec<Argument>> {
    let mut args = Vec::new();
    let (mut start, mut depth, mut quote, mut escaped) = (0, 0usize, None, false);
    for (at, character) in text.char_indices().take(LONGEST_ARGUMENTS) {
        *left = left.saturating_sub(1);
        match (quote, character) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '(' | '[' | '{') if depth >= DEEPEST => return None,
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') if depth > 0 => depth -= 1,
            (None, ',' | ')') if depth == 0 => {
                let written = text.get(start..at)?.trim();
                if !written.is_empty() && args.len() < MOST_ARGUMENTS {
                    args.push(argument(written));
                }
                if character == ')' {
                    return Some(args);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

fn argument(written: &str) -> Argument {
    let named = written.split_once('=').filter(|(name, value)| {
        !value.starts_with('=') && name.chars().all(|character| character == '_' || character.is_ascii_alphanumeric())
    });
    match named {
        Some((name, value)) => Argument { name: Some(name.to_owned()), value: literal(value) },
        None => Argument { name: None, value: literal(written) },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_are_read_as_python_reads_them() {
        assert_eq!(literal("(2, 2)"), Some(json!([2, 2])));
        assert_eq!(literal("(4,)"), Some(json!([4])));
        assert_eq!(literal("(4)"), Some(json!(4)));
        assert_eq!(literal(r#"["weight", "bias", ]"#), Some(json!(["weight", "bias"])));
        assert_eq!(literal("9.9999999999999995e-07"), Some(json!(1e-6)));
        assert_eq!(literal("0."), Some(json!(0.0)));
        assert_eq!(literal("-3"), Some(json!(-3)));
        assert_eq!(literal(r#""a\"b\\""#), Some(json!("a\"b\\")));
        assert_eq!(literal("None"), Some(json!(null)));
        assert_eq!(literal("[[1, 2], [], (True,)]"), Some(json!([[1, 2], [], [true]])));
    }

    #[test]
    fn what_is_no_literal_is_not_guessed() {
        for text in ["CONSTANTS.c0", "inf", "x", "[1, x]", "(1, 2", "1 2", "\"open", "99999999999999999999999x", ""] {
            assert_eq!(literal(text), None, "{text}");
        }
        assert_eq!(literal(&"[".repeat(100_000)), None);
    }

    #[test]
    fn assignments_are_read_and_misread_at_their_place() {
        let read = |text: &str| assignments(text);
        let pair = |name: &str, value: Value| (name.to_owned(), value);
        assert_eq!(read(" stride=2 "), Ok(vec![pair("stride", json!(2))]));
        let several = "stride = (2, 1), eps=1e-6,bias=False, mode='same', class=nn.Linear,";
        let expected = [
            ("stride", json!([2, 1])),
            ("eps", json!(1e-6)),
            ("bias", json!(false)),
            ("mode", json!("same")),
            ("class", json!("nn.Linear")),
        ];
        assert_eq!(read(several), Ok(expected.map(|(name, value)| pair(name, value)).to_vec()));
        let at = |text: &str| read(text).err().map(|misread| (misread.at, misread.expected)).unwrap_or_default();
        assert_eq!(at("stride"), (6, "`=`"));
        assert_eq!(at("stride=2 padding=1"), (9, "`,`"));
        assert_eq!(at("a=1, =2"), (5, "the name of an attribute"));
        assert_eq!(at("stride=(2").0, 7);
        assert_eq!((at("").0, at("é=1, b=").0, at("1=2").0), (0, 8, 0));
    }

    #[test]
    fn calls_are_found_nested_and_named() {
        let text =
            "y = torch.gelu(torch.add(x, f(1, [2]), alpha=2), approximate=\"ta,n)h\")\n z = __torch__.torch.f(1)";
        let calls = calls(text);
        assert_eq!(calls.iter().map(|call| call.op.as_str()).collect::<Vec<_>>(), ["gelu", "add"]);
        let expected = Argument { name: Some("approximate".to_owned()), value: Some(json!("ta,n)h")) };
        assert_eq!(calls.first().and_then(|call| call.args.get(1)), Some(&expected));
        assert_eq!(calls.get(1).map(|call| call.args.len()), Some(3));
    }

    #[test]
    fn quotes_that_hide_brackets_do_not_make_the_work_grow_with_the_square() {
        // Read from each `torch.a`, all the others are in quotes: none ends within the longest list.
        let text = "torch.a(\"\\\"".repeat(10_000);
        let mut left = text.len() * LOOKS;
        let starts = text.match_indices("torch.a(").map(|(at, call)| at + call.len());
        let looked_at = |left: &mut usize, start: usize| {
            let before = *left;
            let _ = arguments(&text[start..], left);
            before - *left
        };
        let all: usize = starts.take_while(|_| true).map(|start| looked_at(&mut left, start)).sum();
        assert_eq!(left, 0, "the text is one of those that the limit is for");
        assert!(all <= text.len() * LOOKS + LONGEST_ARGUMENTS);
        assert!(calls(&text).is_empty());
        assert_eq!(calls(&"x = torch.relu(y)\n".repeat(MOST_CALLS + 5)).len(), MOST_CALLS);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\](),.=\"'a-f0-9 torch.x\\\\é\n-]{0,200}") {
            let _ = (assignments(&text), literal(&text), calls(&text), calls(&format!("torch.a({text}")));
        }
    }
}
