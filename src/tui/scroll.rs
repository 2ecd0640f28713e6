//! Moving through rows. How far each key goes is defined here only, for panes and panels alike.

use ratatui::layout::Rect;

use super::action::Command;
use super::areas::Rows;

/// Rows that a command moves by where `page` rows are on show, downwards positive; `None` where it moves nothing. A page
/// keeps one row of the page before.
pub fn distance(command: Command, page: usize) -> Option<i64> {
    let page = page as i64;
    Some(match command {
        Command::Down => 1,
        Command::Up => -1,
        Command::HalfDown => (page / 2).max(1),
        Command::HalfUp => -(page / 2).max(1),
        Command::PageDown => (page - 1).max(1),
        Command::PageUp => -(page - 1).max(1),
        Command::Top => i64::MIN / 2,
        Command::Bottom => i64::MAX / 2,
        _ => return None,
    })
}

/// Columns that a key moves rows sideways, and the farthest that they go: nothing on a row is longer.
const SIDEWAYS: (usize, usize) = (8, 4096);

/// Columns hidden on the left after a key that moves sideways; `None` where it does not.
fn sideways(left: usize, command: Command) -> Option<usize> {
    match command {
        Command::Left => Some(left.saturating_sub(SIDEWAYS.0)),
        Command::Right => Some((left + SIDEWAYS.0).min(SIDEWAYS.1)),
        _ => None,
    }
}

/// The row that is `by` further, from 0 to `last`.
pub fn moved(row: usize, by: i64, last: usize) -> usize {
    (row.min(last) as i64).saturating_add(by).clamp(0, last as i64) as usize
}

/// Rows that are read: the first one on show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scroll {
    /// The row that was asked for; drawing stops where the last page begins.
    pub top: usize,
    /// Columns hidden on the left.
    pub left: usize,
}

impl Scroll {
    /// A key, if it moves. `drawn` is where the rows are.
    pub fn command(&mut self, command: Command, drawn: Option<Rows>) {
        self.left = sideways(self.left, command).unwrap_or(self.left);
        if let Some(by) = distance(command, drawn.map_or(1, Rows::page)) {
            self.by(by, drawn);
        }
    }

    /// What is on show where this many rows are drawn in `area`: the last page is a full one.
    pub fn rows(self, area: Rect, count: usize) -> Rows {
        let top = self.top.min(count.saturating_sub(usize::from(area.height)));
        Rows { area, top, count }
    }

    /// Scroll down by this many rows.
    pub fn by(&mut self, rows: i64, drawn: Option<Rows>) {
        self.top = moved(self.top, rows, drawn.map_or(0, Rows::last_top));
    }
}

/// Rows to choose from: the one that the cursor is on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListCursor {
    /// Counted from 0.
    pub row: usize,
    /// Columns hidden on the left.
    pub left: usize,
}

impl ListCursor {
    /// A key, if it moves. `count` is how many rows there are, `drawn` where they are.
    pub fn command(&mut self, command: Command, count: usize, drawn: Option<Rows>) {
        self.left = sideways(self.left, command).unwrap_or(self.left);
        if let Some(by) = distance(command, drawn.map_or(1, Rows::page)) {
            self.row = moved(self.row, by, count.saturating_sub(1));
        }
    }

    /// Like [`ListCursor::command`], but a single step wraps around at both ends.
    pub fn command_round(&mut self, command: Command, count: usize, drawn: Option<Rows>) {
        let last = count.saturating_sub(1);
        match command {
            Command::Down if self.row >= last => self.row = 0,
            Command::Up if self.row == 0 => self.row = last,
            _ => self.command(command, count, drawn),
        }
    }

    /// One notch of the wheel, one row.
    pub fn wheel(&mut self, rows: i32, count: usize) {
        self.row = moved(self.row, i64::from(rows.signum()), count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten rows on show, of this many.
    fn ten_of(count: usize) -> Option<Rows> {
        Some(Rows { area: Rect::new(0, 0, 9, 10), top: 0, count })
    }

    #[test]
    fn a_page_keeps_a_row_and_the_ends_hold() {
        let mut scroll = Scroll::default();
        let mut after = |command| {
            scroll.command(command, ten_of(25));
            scroll.top
        };
        assert_eq!(after(Command::PageDown), 9);
        assert_eq!(after(Command::HalfDown), 14);
        assert_eq!(after(Command::PageDown), 15, "the last page is full");
        assert_eq!(after(Command::Down), 15);
        assert_eq!(after(Command::PageUp), 6);
        assert_eq!(after(Command::Bottom), 15);
        assert_eq!(after(Command::Top), 0);
        assert_eq!(after(Command::Run), 0);
    }

    #[test]
    fn rows_move_sideways_and_back() {
        let (mut scroll, mut cursor) = (Scroll::default(), ListCursor::default());
        for command in [Command::Right, Command::Right, Command::Left, Command::Down] {
            scroll.command(command, ten_of(25));
            cursor.command(command, 25, ten_of(25));
        }
        assert_eq!((scroll.left, scroll.top, cursor.left, cursor.row), (8, 1, 8, 1));
        scroll.command(Command::Left, None);
        scroll.command(Command::Left, None);
        assert_eq!(scroll.left, 0);
    }

    #[test]
    fn a_cursor_reaches_the_last_row() {
        let mut cursor = ListCursor::default();
        let mut after = |command| {
            cursor.command(command, 25, ten_of(25));
            cursor.row
        };
        assert_eq!(after(Command::Bottom), 24);
        assert_eq!(after(Command::Down), 24);
        assert_eq!(after(Command::PageUp), 15);
        assert_eq!(after(Command::Top), 0);
        assert_eq!(after(Command::Up), 0);
        cursor.command_round(Command::Up, 25, ten_of(25));
        assert_eq!(cursor.row, 24);
        cursor.command_round(Command::Down, 25, ten_of(25));
        assert_eq!(cursor.row, 0);
        cursor.command(Command::Bottom, 0, None);
        assert_eq!(cursor.row, 0, "a list without rows");
    }
}
