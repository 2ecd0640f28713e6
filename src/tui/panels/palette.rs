//! The palette: every command of the place where it was opened, found by its words, its name or its keys, and run by enter.

use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::{Name, Panel, Then};
use crate::tui::action::Command;
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::field::Field;
use crate::tui::glyphs;
use crate::tui::keymap::{Binding, Keymap};
use crate::tui::scroll::ListCursor;
use crate::tui::text;

/// Most columns.
const WIDTH: u16 = 96;
/// Most columns of the keys, and those of a command's name.
const KEYS: usize = 18;
const NAMES: usize = 20;
/// Rows in which the words of the chosen command stand whole where its row is too short for them, and the fewest rows of the list that
/// leave room for that.
const WHOLE: u16 = 3;
const ROOM: u16 = 8;
/// Narrowest list that has the names.
const WITH_NAMES: usize = 80;

/// What is typed, and the cursor in the list.
#[derive(Debug, Clone, Default)]
pub struct Palette {
    /// The panel whose commands are listed; those of the panes for `None`.
    pub of: Option<Name>,
    line: Field,
    cursor: ListCursor,
}

/// Rows of the table that fit the words: those whose help begins with the first word come first.
pub fn found<'k>(keymap: &'k Keymap, of: Option<Name>, words: &str) -> Vec<&'k Binding> {
    let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
    let own = keymap.of(of).filter(|binding| binding.command != Command::Open(Name::Palette));
    let mut rows: Vec<&Binding> = own.filter(|binding| binding.has(&words)).collect();
    if let Some(first) = words.first() {
        let begins = |binding: &Binding| {
            let named = binding.command.name().starts_with(first.as_str());
            named || binding.help.to_lowercase().starts_with(first.as_str())
        };
        rows.sort_by_key(|binding| !begins(binding));
    }
    rows
}

impl Palette {
    fn rows<'k>(&self, keymap: &'k Keymap) -> Vec<&'k Binding> {
        found(keymap, self.of, &self.line.text)
    }

    fn run(&self, context: &Context<'_>) -> Then {
        let chosen = self.rows(context.keymap).get(self.cursor.row).map(|binding| binding.command);
        chosen.map_or(Then::Stay, Then::Run)
    }
}

impl Panel for Palette {
    fn open(&mut self, _context: &mut Context<'_>) {
        *self = Palette { of: self.of, ..Palette::default() };
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Accept => return self.run(context),
            Command::Dismiss => return Then::Close,
            Command::Top | Command::Bottom | Command::Down | Command::Up => {
                self.cursor.command_round(command, self.rows(context.keymap).len(), context.rows());
            }
            _ if self.line.command(command) => self.cursor.row = 0,
            _ => self.cursor.command(command, self.rows(context.keymap).len(), context.rows()),
        }
        Then::Stay
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn text(&mut self, text: &str, _context: &mut Context<'_>) {
        self.line.insert(text);
        self.cursor.row = 0;
    }

    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        let Some(row) = context.rows().and_then(|rows| rows.at(at)) else { return Then::Close };
        self.cursor.row = row;
        self.run(context)
    }

    fn wheel(&mut self, _at: Position, rows: i32, context: &mut Context<'_>) {
        self.cursor.wheel(rows, self.rows(context.keymap).len());
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let rows = self.rows(canvas.keymap);
        let all = found(canvas.keymap, self.of, "").len();
        let inner = canvas.popup(area, (WIDTH, all as u16 + 3), "Commands");
        let columns = usize::from(inner.width);
        let count = format!("{} of {all} ", rows.len());
        let mut head = vec![Span::styled(" : ", theme.key())];
        head.extend(self.line.spans(theme, columns.saturating_sub(count.len() + 4), true));
        text::put(canvas.buffer, inner.x, inner.y, columns, &Line::from(head));
        if let Some(x) = inner.right().checked_sub(count.len() as u16).filter(|x| *x > inner.x + 8) {
            text::put_text(canvas.buffer, x, inner.y, count.len(), &count, theme.muted());
        }
        let list = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        let list = list.intersection(inner);
        let shown = |binding: &Binding| if binding.keys.is_empty() { "–".to_owned() } else { binding.keys.join(" ") };
        let keys = rows.iter().map(|binding| text::width(&shown(binding))).max().unwrap_or(0).min(KEYS);
        let names = if columns >= WITH_NAMES { NAMES } else { 0 };
        let words = columns.saturating_sub(keys + names + 2);
        let chosen = rows.get(self.cursor.row).filter(|binding| text::width(&binding.help) + 1 > words);
        let whole = chosen
            .map_or(Vec::new(), |binding| text::wrap_to(&binding.help, columns.saturating_sub(2), usize::from(WHOLE)));
        let (list, below) = match list.height.checked_sub(WHOLE).filter(|height| *height >= ROOM) {
            Some(height) if !whole.is_empty() => {
                let rows = (whole.len() as u16).min(WHOLE);
                (
                    Rect { height: height + WHOLE - rows, ..list },
                    Some(Rect { y: list.bottom() - rows, height: rows, ..list }),
                )
            }
            _ => (list, None),
        };
        for (row, y) in whole.iter().zip(below.map_or(0..0, |below| below.top()..below.bottom())) {
            text::put_text(canvas.buffer, list.x + 1, y, columns.saturating_sub(1), row, theme.muted());
        }
        let top = self.cursor.row.saturating_sub(usize::from(list.height.saturating_sub(1)));
        for ((at, binding), y) in rows.iter().enumerate().skip(top).zip(list.top()..list.bottom()) {
            let chosen = at == self.cursor.row;
            let name = if names > 0 { text::clip(&binding.command.name(), NAMES - 1) } else { String::new() };
            let line = Line::from(vec![
                Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
                Span::styled(text::pad(&text::clip(&binding.help, words.saturating_sub(1)), words), theme.text()),
                Span::styled(text::pad(&name, names), theme.muted()),
                Span::styled(text::clip(&shown(binding), keys), theme.key()),
            ]);
            text::put(canvas.buffer, list.x, y, columns, &line);
            if chosen {
                canvas.overlay(Rect { y, height: 1, ..list }, theme.selection(true));
            }
        }
        if rows.is_empty() {
            text::put_text(canvas.buffer, list.x + 1, list.y, columns, "no command is called so", theme.muted());
        }
        canvas.scrolled(inner, Rows { area: list, top, count: rows.len() });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn commands_are_found_by_words_names_and_keys() {
        let keymap = Keymap::built_in().unwrap();
        let first = |words: &str| found(&keymap, None, words).first().map(|binding| binding.command);
        assert_eq!(first("run-all"), Some(Command::RunAll));
        assert_eq!(first("ctrl-z"), Some(Command::Suspend));
        assert_eq!(first("unfold everything"), Some(Command::UnfoldAll));
        assert_eq!(first("quit"), Some(Command::Quit), "what begins so comes first");
        assert_eq!(first("no such thing"), None);
        assert_eq!(found(&keymap, None, "").len(), keymap.of(None).count() - 1, "all but the palette");
        assert!(found(&keymap, Some(Name::Convert), "").iter().all(|binding| binding.mode == Some(Name::Convert)));
    }
}
