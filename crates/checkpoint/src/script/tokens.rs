//! The words of TorchScript's code: Python's, without what TorchScript never writes.

use super::Misread;

/// More levels than TorchScript indents.
const DEEPEST: usize = 200;

/// A word, and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub at: usize,
    pub word: Word,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    Name(String),
    Int(i64),
    Float(f64),
    Text(String),
    /// A bracket, comma, or the like.
    Sign(&'static str),
    /// The end of a line.
    Line,
    Indent,
    Dedent,
    End,
}

const SIGNS: [&str; 13] = ["->", "(", ")", "[", "]", "{", "}", ",", ":", ".", "=", "-", "*"];

/// The words of a text.
///
/// # Errors
/// What is no word of the dialect, and where.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Misread> {
    let mut tokens = Vec::new();
    let mut indents = vec![0usize];
    let mut brackets = 0usize;
    let mut at = 0;
    let mut fresh = true;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if fresh && brackets == 0 {
            let width = rest.len() - rest.trim_start_matches(' ').len();
            let line = rest.get(width..).unwrap_or_default();
            at += width;
            fresh = false;
            if !line.starts_with(['\n', '\r', '#']) {
                indent(&mut tokens, &mut indents, width, at)?;
            }
            continue;
        }
        let Some(letter) = rest.chars().next() else { break };
        match letter {
            '\n' => {
                if brackets == 0 && !matches!(tokens.last().map(|token| &token.word), None | Some(Word::Line)) {
                    tokens.push(Token { at, word: Word::Line });
                }
                fresh = brackets == 0;
                at += 1;
            }
            ' ' | '\t' | '\r' => at += 1,
            '#' => at += rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => {
                let (word, length) = quoted(rest, letter).ok_or(Misread { at, expected: "the end of a text" })?;
                tokens.push(Token { at, word: Word::Text(word) });
                at += length;
            }
            letter if letter == '_' || letter.is_alphabetic() => {
                let is_part = |letter: char| letter == '_' || letter.is_alphanumeric();
                let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
                let word = rest.get(..end).unwrap_or_default().to_owned();
                tokens.push(Token { at, word: Word::Name(word) });
                at += end;
            }
            letter if letter.is_ascii_digit() || letter == '.' && followed_by_digit(rest) => {
                let (word, length) = number(rest).ok_or(Misread { at, expected: "a number" })?;
                tokens.push(Token { at, word });
                at += length;
            }
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign = *sign.ok_or(Misread { at, expected: "a name, a number or a bracket" })?;
                match sign {
                    "(" | "[" | "{" => brackets += 1,
                    ")" | "]" | "}" => brackets = brackets.saturating_sub(1),
                    _ => {}
                }
                tokens.push(Token { at, word: Word::Sign(sign) });
                at += sign.len();
            }
        }
    }
    if !matches!(tokens.last().map(|token| &token.word), None | Some(Word::Line)) {
        tokens.push(Token { at, word: Word::Line });
    }
    tokens.extend(indents.iter().skip(1).map(|_| Token { at, word: Word::Dedent }));
    tokens.push(Token { at, word: Word::End });
    Ok(tokens)
}

/// Open and close blocks for a line that is indented so far.
fn indent(tokens: &mut Vec<Token>, indents: &mut Vec<usize>, width: usize, at: usize) -> Result<(), Misread> {
    if indents.last().is_some_and(|last| width > *last) {
        if indents.len() >= DEEPEST {
            return Err(Misread { at, expected: "fewer levels" });
        }
        indents.push(width);
        tokens.push(Token { at, word: Word::Indent });
    }
    while indents.last().is_some_and(|last| width < *last) {
        indents.pop();
        tokens.push(Token { at, word: Word::Dedent });
    }
    if indents.last() == Some(&width) { Ok(()) } else { Err(Misread { at, expected: "the indentation of a block" }) }
}

fn followed_by_digit(text: &str) -> bool {
    text.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
}

/// `12`, `1.`, `9.9999999999999995e-07`, and `2.j`, which is no number here.
fn number(text: &str) -> Option<(Word, usize)> {
    let bytes = text.as_bytes();
    let mut end = 0;
    let mut is_float = false;
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'0'..=b'9' => {}
            b'.' => is_float = true,
            b'e' | b'E' => {
                is_float = true;
                if matches!(bytes.get(end + 1), Some(b'+' | b'-')) {
                    end += 1;
                }
            }
            _ => break,
        }
        end += 1;
    }
    let written = text.get(..end)?;
    let word = match (is_float, written.parse::<i64>()) {
        (false, Ok(whole)) => Word::Int(whole),
        _ => Word::Float(written.parse().ok()?),
    };
    Some((word, end))
}

/// A text in quotes and its length with them.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut found: Vec<u8> = Vec::new();
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\n' => return None,
            '\\' => match letters.next()?.1 {
                'n' => found.push(b'\n'),
                't' => found.push(b'\t'),
                'r' => found.push(b'\r'),
                digit if digit.is_digit(8) => {
                    let mut byte = digit.to_digit(8)?;
                    for _ in 0..2 {
                        let Some(next) = letters.peek().and_then(|(_, letter)| letter.to_digit(8)) else { break };
                        byte = byte * 8 + next;
                        letters.next();
                    }
                    found.push(u8::try_from(byte).ok()?);
                }
                'x' => {
                    let high = letters.next()?.1.to_digit(16)?;
                    let low = letters.next()?.1.to_digit(16)?;
                    found.push(u8::try_from(high * 16 + low).ok()?);
                }
                same => found.extend(same.to_string().bytes()),
            },
            _ if letter == quote => return Some((String::from_utf8_lossy(&found).into_owned(), at + 1)),
            _ => found.extend(letter.to_string().bytes()),
        }
    }
    None
}
