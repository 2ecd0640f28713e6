//! Text from a file, made safe for a terminal and short enough for a message.
//!
//! Names, sources and paths in a checkpoint are somebody else's text: control characters, bidirectional overrides and
//! zero-width characters in them must not reach the terminal, and a value of many megabytes must not fill the screen. What
//! is written to files and to JSON keeps its length, and what the user typed is shown as a whole.

use std::borrow::Cow;
use std::io::{self, Write};

/// The longest quotation from a file, in characters.
pub const QUOTE: usize = 200;
/// The longest sentence with quotations: several quotes and the words around them.
pub const SENTENCE: usize = 900;
/// A line of a last message: it may hold a path that the user typed, which is no longer than this on any system.
const LINE: usize = 5000;
/// So many lines of it.
const LINES: usize = 50;

/// The text with every control, bidirectional and zero-width character written as `\\u{…}`. Tabs and line ends too.
pub fn escape(text: &str) -> Cow<'_, str> {
    cut(text, usize::MAX)
}

/// [`escape`] for what is quoted from a file: cut where it is longer than [`QUOTE`].
pub fn quoted(text: &str) -> Cow<'_, str> {
    cut(text, QUOTE)
}

/// [`escape`] for a sentence that quotes: cut where it is longer than [`SENTENCE`].
pub fn sentence(text: &str) -> Cow<'_, str> {
    cut(text, SENTENCE)
}

/// A message of several lines, each safe; of a message without an end no more than a screen or two.
pub fn escape_lines(text: &str) -> String {
    let mut lines = text.lines();
    let mut shown: Vec<Cow<'_, str>> = lines.by_ref().take(LINES).map(|line| cut(line, LINE)).collect();
    if lines.next().is_some() {
        shown.push(Cow::Borrowed("…"));
    }
    shown.join("\n")
}

/// JSON whose texts hold no character that changes how the text around it looks: those stand as `\uXXXX`, which every
/// parser reads as the same value.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    let hidden = |character: char| character != '\n' && is_unsafe(character);
    if are_all(json, |byte| is_printable(byte) || byte == b'\n') || !json.chars().any(hidden) {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(json.len() + 16);
    let mut units = [0u16; 2];
    for character in json.chars() {
        if !hidden(character) {
            safe.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut units) {
            // Outside its texts JSON has plain characters alone.
            safe.push_str(&format!("\\u{unit:04x}"));
        }
    }
    Cow::Owned(safe)
}

/// JSON on its way out, by [`escape_json`]. A serializer writes whole texts, so that no character is cut in two.
#[derive(Debug)]
pub struct EscapedJson<W: Write>(pub W);

impl<W: Write> Write for EscapedJson<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.0.write_all(escape_json(text).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The text escaped, and cut to a number of shown characters. Of a longer text no more is read.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most && (are_all(text, is_printable) || !text.chars().any(is_unsafe)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len().min(4 * most.min(1 << 20)) + 16);
    let mut shown = 0;
    for character in text.chars() {
        let width = if is_unsafe(character) { character.escape_unicode().len() } else { 1 };
        if shown + width > most {
            safe.push('…');
            break;
        }
        shown += width;
        if is_unsafe(character) { safe.extend(character.escape_unicode()) } else { safe.push(character) }
    }
    Cow::Owned(safe)
}

/// Whether a byte is a plain character, as those of nearly all names are.
fn is_printable(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte)
}

/// Whether that holds for all bytes. Blocks of them are looked at together, without a branch for each, which the compiler turns
/// into vector instructions: a report has many megabytes.
fn are_all(text: &str, hold: impl Fn(u8) -> bool) -> bool {
    let mut blocks = text.as_bytes().chunks(64);
    blocks.all(|block| block.iter().fold(true, |all, &byte| all & hold(byte)))
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_is_borrowed_and_hostile_text_is_spelt_out() {
        assert!(matches!(escape("layer1.0.conv1 – é 漢"), Cow::Borrowed(_)));
        assert_eq!(escape("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(escape("x\u{202e}y\u{200b}\n"), "x\\u{202e}y\\u{200b}\\u{a}");
        assert_eq!(escape("\u{9b}31m"), "\\u{9b}31m");
    }

    #[test]
    fn a_quote_ends_and_what_the_user_typed_does_not() {
        let long = "x".repeat(100_000);
        assert_eq!(quoted(&long), format!("{}…", "x".repeat(QUOTE)));
        assert_eq!(quoted(&long[..QUOTE]), long[..QUOTE]);
        assert_eq!(escape(&long), long);
        // An escape is never cut in half.
        let hidden = quoted(&"\u{202e}".repeat(1000)).into_owned();
        assert_eq!(hidden, format!("{}…", "\\u{202e}".repeat(QUOTE / 8)));
        assert_eq!(quoted(&"漢".repeat(QUOTE)), "漢".repeat(QUOTE));
        let lines = escape_lines(&"line\n".repeat(100_000));
        assert_eq!(lines.lines().count(), LINES + 1);
    }

    #[test]
    fn json_hides_nothing_and_means_the_same() {
        let value = serde_json::json!({"a\u{202e}\u{9b}": ["\u{200b}\u{7f}\u{e0041}\u{fe0f}\n", "é 漢 \\ \""]});
        for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
            let safe = escape_json(&text);
            assert!(safe.contains(r"\u202e") && safe.contains(r"\u009b") && safe.contains(r"\udb40\udc41"), "{safe}");
            assert!(safe.contains("é 漢"), "{safe}");
            assert!(!safe.chars().any(|character| character != '\n' && is_unsafe(character)), "{safe}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        }
    }

    proptest! {
        #[test]
        fn any_json_means_the_same(text in any::<String>(), key in any::<String>()) {
            let value = serde_json::json!({key: [text, 1]});
            let safe = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&escape_json(&safe)).unwrap(), value);
        }
    }
}
