//! A line of text that is edited: where panels ask for one.

use ratatui::style::Modifier;
use ratatui::text::Span;
use unicode_width::UnicodeWidthChar;

use super::action::Command;
use super::theme::Theme;
use t2m_checkpoint::escape::{quoted, sentence};

/// Most characters of a line.
const LONGEST: usize = 10_000;

/// A line that is edited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Field {
    /// What is in it.
    pub text: String,
    /// Where typing goes, in characters.
    pub cursor: usize,
}

impl Field {
    /// With this text, and the cursor behind it.
    pub fn of(text: &str) -> Field {
        Field { text: text.to_owned(), cursor: text.chars().count() }
    }

    fn byte(&self, at: usize) -> usize {
        self.text.char_indices().nth(at).map_or(self.text.len(), |(byte, _)| byte)
    }

    /// Type or paste; what steers a terminal is left out, and what is longer than a line may be.
    pub fn insert(&mut self, text: &str) {
        let room = LONGEST.saturating_sub(self.text.chars().count());
        let plain: String = text.chars().filter(|character| !character.is_control()).take(room).collect();
        self.text.insert_str(self.byte(self.cursor), &plain);
        self.cursor += plain.chars().count();
    }

    /// Erase the character before the cursor.
    pub fn erase(&mut self) {
        if self.cursor > 0 {
            self.cursor -= 1;
            self.text.remove(self.byte(self.cursor));
        }
    }

    /// Move the cursor.
    pub fn go(&mut self, command: Command) {
        self.cursor = match command {
            Command::Left => self.cursor.saturating_sub(1),
            Command::Right => (self.cursor + 1).min(self.text.chars().count()),
            Command::Top => 0,
            _ => self.text.chars().count(),
        };
    }

    /// A key that edits, or moves the cursor. Returns whether it is one.
    pub fn command(&mut self, command: Command) -> bool {
        match command {
            Command::Erase => self.erase(),
            // The key of both is ctrl-u, where a panel has rows and a line.
            Command::EraseAll | Command::HalfUp => *self = Field::default(),
            Command::Left | Command::Right | Command::Top | Command::Bottom => self.go(command),
            _ => return false,
        }
        true
    }

    /// All of it with its cursor, in rows of at most so many columns.
    pub fn rows(&self, theme: &Theme, columns: usize) -> Vec<Vec<Span<'static>>> {
        let columns = columns.max(2);
        let mut rows = vec![Vec::new()];
        let mut used = 0;
        let signs = self.text.chars().map(|sign| quoted(sign.encode_utf8(&mut [0; 4])).into_owned());
        for (at, shown) in signs.chain([" ".to_owned()]).enumerate() {
            let style = if at == self.cursor { theme.text().add_modifier(Modifier::REVERSED) } else { theme.text() };
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

    /// Drawn in so many columns; of a long one the part around the cursor, which shows where the line is `active`.
    pub fn spans(&self, theme: &Theme, room: usize, active: bool) -> Vec<Span<'static>> {
        let characters: Vec<char> = sentence(&self.text).chars().collect();
        let cursor = self.cursor.min(characters.len());
        let start = if active { (cursor + 1).saturating_sub(room) } else { 0 };
        let shown: Vec<char> = characters.iter().copied().skip(start).take(room).collect();
        let part = |from: usize, to: usize| shown.iter().skip(from).take(to.saturating_sub(from)).collect::<String>();
        if !active {
            return vec![Span::styled(part(0, room), theme.text())];
        }
        let at = cursor - start.min(cursor);
        let under = part(at, at + 1);
        let under = if under.is_empty() { " ".to_owned() } else { under };
        vec![
            Span::styled(part(0, at), theme.text()),
            Span::styled(under, theme.text().add_modifier(Modifier::REVERSED)),
            Span::styled(part(at + 1, room), theme.text()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Field};

    #[test]
    fn a_line_is_edited_where_the_cursor_is() {
        let mut field = Field::of("größe(3)");
        field.go(Command::Left);
        field.insert("2\n1");
        assert_eq!((field.text.as_str(), field.cursor), ("größe(321)", 9));
        field.go(Command::Top);
        field.erase();
        field.go(Command::Right);
        field.go(Command::Right);
        field.erase();
        assert_eq!(field.text, "größe(321)".replacen('r', "", 1));
        field.go(Command::Bottom);
        field.go(Command::Right);
        field.erase();
        assert_eq!(field.text, "göße(321");
        field.insert(&"x".repeat(1_000_000));
        assert_eq!(field.text.chars().count(), super::LONGEST);
    }
}
