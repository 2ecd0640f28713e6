//! The dicts of the file that hold weights: an EMA copy, several networks. The chosen one is opened in the place of the model.

use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::{Panel, Then};
use crate::tui::action::{Command, Effect};
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::context::{Context, Hit};
use crate::tui::glyphs;
use crate::tui::scroll::ListCursor;
use crate::tui::text;
use t2m_checkpoint::escape::quoted;

/// Columns with the border, at most.
const WIDTH: u16 = 64;
/// What is said where there is nothing to choose.
const NONE: &str = "The file has no other dict with weights.";

/// The cursor in the list.
#[derive(Debug, Clone, Default)]
pub struct Dicts {
    cursor: ListCursor,
}

impl Dicts {
    /// Open the chosen dict, unless it is the one that is shown.
    fn take(&self, context: &mut Context<'_>) -> Then {
        let about = &context.view.document.about;
        let chosen = about.dicts.get(self.cursor.row).filter(|dict| about.is_shown(dict).is_none_or(|shown| !shown));
        if let Some(dict) = chosen.cloned() {
            context.effects.push(Effect::Reopen(dict));
        }
        Then::Close
    }
}

impl Panel for Dicts {
    fn open(&mut self, context: &mut Context<'_>) {
        let about = &context.view.document.about;
        let shown = about.dicts.iter().position(|dict| about.is_shown(dict) == Some(true));
        self.cursor = ListCursor::default();
        self.cursor.row = shown.unwrap_or(0);
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Accept => return self.take(context),
            Command::Dismiss => return Then::Close,
            _ => {
                let count = context.view.document.about.dicts.len();
                self.cursor.command_round(command, count, context.rows());
            }
        }
        Then::Stay
    }

    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        match context.hit(at) {
            Hit::Row(row) => {
                self.cursor.row = row;
                self.take(context)
            }
            Hit::Inside => Then::Stay,
            Hit::Beside => Then::Close,
        }
    }

    fn wheel(&mut self, _at: Position, rows: i32, context: &mut Context<'_>) {
        self.cursor.wheel(rows, context.view.document.about.dicts.len());
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let about = &canvas.view.document.about;
        let (dicts, count) = (about.dicts.clone(), about.dicts.len());
        let marks: Vec<bool> = dicts.iter().map(|dict| about.is_shown(dict) == Some(true)).collect();
        let height = u16::try_from(count.max(1) + 2).unwrap_or(u16::MAX).min(area.height);
        let inner = canvas.popup(area, (WIDTH.min(area.width), height), "Which dict is the model");
        if count == 0 {
            text::put(canvas.buffer, inner.x, inner.y, usize::from(inner.width), &Line::styled(NONE, theme.muted()));
        }
        let room = usize::from(inner.height).max(1);
        let top = self.cursor.row.saturating_sub(room - 1);
        for ((index, dict), y) in dicts.iter().enumerate().skip(top).zip(inner.top()..inner.bottom()) {
            let chosen = index == self.cursor.row;
            let words = if marks[index] { "  is shown" } else { "" };
            let row = vec![Span::styled(quoted(dict).into_owned(), theme.text()), Span::styled(words, theme.muted())];
            let mut line = text::shifted(&Line::from(row), self.cursor.left);
            line.spans.insert(0, Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()));
            text::put(canvas.buffer, inner.x, y, usize::from(inner.width), &line);
            if chosen {
                canvas.overlay(Rect { y, height: 1, ..inner }, theme.selection(true));
            }
        }
        canvas.areas.panel = Some(Rows { area: inner, top, count });
    }
}
