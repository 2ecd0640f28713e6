//! TOML that the user wrote: an error message quotes no more than a line of it.

use serde::de::DeserializeOwned;

use t2m_checkpoint::escape::quoted;

/// Read TOML into a type.
///
/// # Errors
/// It is not of that form. The message says where, shows the line unless it is long, and is never longer than a few
/// hundred characters, whatever the file holds.
pub fn parse_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let message = short(error.message());
        match error.span() {
            Some(span) => format!("{}{message}", place(text, span.start)),
            None => message,
        }
    })
}

/// `line 3, column 7: <the line> : `
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let (line, column) = (before.matches('\n').count() + 1, before[start..].chars().count() + 1);
    let shown = text[start..].lines().next().unwrap_or_default().trim();
    // A long line would hide the message.
    let shown = if shown.is_empty() || shown.len() > 120 { String::new() } else { format!(" ({})", quoted(shown)) };
    format!("line {line}, column {column}{shown}: ")
}

/// Where a quotation ends: the parser writes a quotation mark inside of it as `\"`.
fn closing(text: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, character)| {
        let ends = character == mark && !escaped;
        escaped = character == '\\' && !escaped;
        ends.then_some(at)
    })
}

/// The parser's message, with long quotations cut: parts between backticks or quotes, and the whole message as a last
/// resort.
fn short(message: &str) -> String {
    const MOST: usize = 600;
    let mut rest = message;
    let mut short = String::new();
    while short.len() < MOST {
        let Some(open) = rest.find(['`', '"']) else { break };
        let mark = if rest[open..].starts_with('`') { '`' } else { '"' };
        let Some(length) = closing(&rest[open + 1..], mark) else { break };
        short.push_str(&quoted(&rest[..open]));
        short.push(mark);
        short.push_str(&quoted(&rest[open + 1..open + 1 + length]));
        short.push(mark);
        rest = &rest[open + 2 + length..];
    }
    short.push_str(&quoted(rest.trim_end()));
    let short = short.replace("\\u{a}", " ");
    match short.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &short[..end]),
        None => short,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_fault_has_its_place_and_an_end() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)]
        struct Row {
            name: String,
            count: Option<u8>,
        }
        let fault = |text: &str| parse_toml::<Row>(text).unwrap_err();
        assert_eq!(
            fault("name = \"a\"\n\ncounts = 1\n"),
            "line 3, column 1 (counts = 1): unknown field `counts`, expected `name` or `count`"
        );
        assert!(fault("name = 1").starts_with("line 1, column 8 (name = 1): "));
        let long = "x".repeat(300_000);
        let quotes = "`a` \\\" ".repeat(20_000);
        let hostile = [
            format!("{long} = 1"),
            format!("name = \"{long}\"\nname = \"{long}\""),
            format!("name = [\"{long}\"]"),
            format!("name = \"a\"\ncount = \"{long}\""),
            format!("name = \"a\"\ncount = \"{quotes}\""),
            format!("\"{quotes}\" = 1"),
            format!("name = '{long}"),
            format!("[{long}"),
            format!("count = \"\"\"{}\"\"\"", format!("k = \"{}\"\n", "V".repeat(150)).repeat(9)),
            format!("name = {}", "[".repeat(100_000)),
            format!("{} = 1", "a.".repeat(100_000)),
        ];
        for text in hostile {
            let said = fault(&text);
            assert!(said.chars().count() < 1000, "{}: {}", said.chars().count(), &said[..300]);
            assert!(said.lines().count() == 1 && !said.is_empty());
        }
    }
}
