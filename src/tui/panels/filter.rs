//! The list of statuses to show.

use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Panel, Then};
use crate::compare::Verdict;
use crate::triage::Status;
use crate::tui::action::Command;
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::glyphs;
use crate::tui::panes::{View, tree};
use crate::tui::scroll::ListCursor;
use crate::tui::text;

/// The statuses, and "measured badly".
const ROWS: usize = Status::ALL.len() + 1;
/// Columns with the border.
const WIDTH: u16 = 38;

/// The cursor in the list. Which rows are ticked is part of the tree's state.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    cursor: ListCursor,
}

impl Filter {
    fn toggle(&self, view: &mut View) {
        let filter = &mut view.tree.filter;
        match Status::ALL.get(self.cursor.row) {
            Some(status) if !filter.statuses.remove(status) => drop(filter.statuses.insert(*status)),
            Some(_) => {}
            None => filter.bad = !filter.bad,
        }
        view.tree.apply_filter(&view.document, &view.measured);
    }
}

impl Panel for Filter {
    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Toggle => self.toggle(context.view),
            Command::Clear => {
                let view = &mut *context.view;
                view.tree.filter = tree::Filter::default();
                view.tree.apply_filter(&view.document, &view.measured);
            }
            Command::Accept | Command::Dismiss => return Then::Close,
            _ => self.cursor.command_round(command, ROWS, context.rows()),
        }
        Then::Stay
    }

    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        let Some(rows) = context.rows().filter(|rows| rows.area.contains(at)) else { return Then::Close };
        if let Some(row) = rows.at(at) {
            self.cursor.row = row;
            self.toggle(context.view);
        }
        Then::Stay
    }

    fn wheel(&mut self, _at: Position, rows: i32, context: &mut Context<'_>) {
        let command = if rows > 0 { Command::Down } else { Command::Up };
        self.cursor.command_round(command, ROWS, context.rows());
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let inner = canvas.popup(area, (WIDTH, ROWS as u16 + 2), "Show only");
        for ((index, (ticked, sign, word, style, count)), y) in
            rows(canvas).into_iter().enumerate().zip(inner.top()..inner.bottom())
        {
            let chosen = index == self.cursor.row;
            let line = Line::from(vec![
                Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
                Span::styled(if ticked { "[x] " } else { "[ ] " }, if ticked { theme.key() } else { theme.muted() }),
                Span::styled(format!("{sign} {word:<17}"), style),
                Span::styled(format!("{count:>9}"), theme.muted()),
            ]);
            text::put(canvas.buffer, inner.x, y, usize::from(inner.width), &line);
            if chosen {
                canvas.overlay(Rect { y, height: 1, ..inner }, theme.selection(true));
            }
        }
        canvas.areas.panel = Some(Rows { area: inner, top: 0, count: ROWS });
    }
}

/// For each row: whether it is ticked, its sign, its word, their style, and how many modules have this status.
fn rows(canvas: &Canvas<'_>) -> Vec<(bool, char, &'static str, Style, usize)> {
    let (theme, view) = (canvas.theme, canvas.view);
    let filter = &view.tree.filter;
    let of_status = |&status: &Status| {
        let count = view.document.triage.modules.iter().filter(|triage| triage.status == status).count();
        let ticked = filter.statuses.contains(&status);
        (ticked, glyphs::status(status), status.name(), theme.status(status), count)
    };
    let mut rows: Vec<_> = Status::ALL.iter().map(of_status).collect();
    let total = view.measured.total();
    let bad = total.bad() - total.no_engine;
    let style = theme.verdict(Verdict::Broken);
    rows.push((filter.bad, glyphs::verdict(Verdict::Broken), "measured badly", style, bad as usize));
    rows
}
