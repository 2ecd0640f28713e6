//! A line of text that the user types, with a cursor in it.

use ratatui::style::Modifier;
use ratatui::text::Span;
use unicode_width::UnicodeWidthChar;

use crate::tui::action::Command;
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::quoted;

/// The text and the cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextLine {
    text: String,
    /// The byte before which a character that is typed goes.
    at: usize,
}

impl TextLine {
    /// With a text, the cursor behind it.
    pub fn of(text: String) -> TextLine {
        TextLine { at: text.len(), text }
    }

    /// What is typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Type or paste; what is no text is left out.
    pub fn insert(&mut self, text: &str) {
        for character in text.chars().filter(|character| !character.is_control()) {
            self.text.insert(self.at, character);
            self.at += character.len_utf8();
        }
    }

    /// A key that edits, or moves the cursor. Returns whether it is one.
    pub fn command(&mut self, command: Command) -> bool {
        match command {
            Command::Erase => {
                if let Some(before) = self.before() {
                    self.at -= before.len_utf8();
                    self.text.remove(self.at);
                }
            }
            // The key of both is ctrl-u, where a panel has rows and a line.
            Command::EraseAll | Command::HalfUp => *self = TextLine::default(),
            Command::Left => self.at -= self.before().map_or(0, char::len_utf8),
            Command::Right => {
                self.at += self.text.get(self.at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
            }
            Command::Top => self.at = 0,
            Command::Bottom => self.at = self.text.len(),
            _ => return false,
        }
        true
    }

    fn before(&self) -> Option<char> {
        self.text.get(..self.at)?.chars().next_back()
    }

    /// The text with its cursor, broken into rows of at most `columns`. A character that a terminal must not get is spelt out.
    pub fn rows(&self, theme: &Theme, columns: usize) -> Vec<Vec<Span<'static>>> {
        let columns = columns.max(2);
        let mut rows = vec![Vec::new()];
        let mut used = 0;
        let signs = self.text.char_indices().map(|(at, sign)| (at, quoted(sign.encode_utf8(&mut [0; 4])).into_owned()));
        for (at, shown) in signs.chain([(self.text.len(), " ".to_owned())]) {
            let style = if at == self.at { theme.text().add_modifier(Modifier::REVERSED) } else { theme.text() };
            for sign in shown.chars() {
                let width = sign.width().unwrap_or(0);
                if used + width > columns {
                    rows.push(Vec::new());
                    used = 0;
                }
                used += width;
                if let Some(row) = rows.last_mut() {
                    row.push(Span::styled(sign.to_string(), style));
                }
            }
        }
        rows
    }

    /// The row of [`TextLine::rows`] that the cursor is in, where one alone is shown.
    pub fn row(&self, theme: &Theme, columns: usize) -> Vec<Span<'static>> {
        let rows = self.rows(theme, columns);
        let has_cursor =
            |row: &&Vec<Span<'_>>| row.iter().any(|span| span.style.add_modifier.contains(Modifier::REVERSED));
        rows.iter().find(has_cursor).or(rows.last()).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_go_where_the_cursor_is() {
        let mut line = TextLine::of("häß".to_owned());
        assert!(line.command(Command::Left) && line.command(Command::Left));
        line.insert("x\u{7}");
        assert_eq!(line.text(), "hxäß");
        assert!(line.command(Command::Erase));
        assert_eq!(line.text(), "häß");
        assert!(line.command(Command::Top) && line.command(Command::Erase) && line.command(Command::Left));
        line.insert("1");
        assert!(line.command(Command::Bottom) && line.command(Command::Right));
        line.insert("2");
        assert_eq!(line.text(), "1häß2");
        assert!(line.command(Command::EraseAll) && line.text().is_empty());
        assert!(!line.command(Command::Run));
    }
}
