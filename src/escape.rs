//! Text from a file, made safe for a terminal.
//!
//! Names, sources and paths in a checkpoint are somebody else's text: control characters, bidirectional overrides and
//! zero-width characters in them must not reach the terminal.

use std::borrow::Cow;

/// The text with every control, bidirectional and zero-width character written as `\\u{…}`. Tabs and line ends too.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) { safe.extend(character.escape_unicode()) } else { safe.push(character) }
    }
    Cow::Owned(safe)
}

/// The same, with line ends kept.
pub fn escape_lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn plain_text_is_borrowed_and_hostile_text_is_spelt_out() {
        assert!(matches!(escape("layer1.0.conv1 – é 漢"), std::borrow::Cow::Borrowed(_)));
        assert_eq!(escape("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(escape("x\u{202e}y\u{200b}\n"), "x\\u{202e}y\\u{200b}\\u{a}");
        assert_eq!(escape("\u{9b}31m"), "\\u{9b}31m");
    }
}
