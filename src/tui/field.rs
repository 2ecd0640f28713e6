//! A line of text that is edited.

use super::action::Command;

/// Most characters of a line.
const LONGEST: usize = 10_000;

/// The line, and where typing goes.
#[derive(Debug, Clone, Default)]
pub(super) struct Field {
    /// What is typed.
    pub text: String,
    /// Where typing goes, in characters.
    pub cursor: usize,
}

impl Field {
    /// A text, with the cursor behind it.
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

    /// Move the cursor: left, right, to the beginning; else to the end.
    pub fn go(&mut self, command: Command) {
        self.cursor = match command {
            Command::Left => self.cursor.saturating_sub(1),
            Command::Right => (self.cursor + 1).min(self.text.chars().count()),
            Command::Top => 0,
            _ => self.text.chars().count(),
        };
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
