//! The list of blockers and ops, with what is to be done about the selected one below it.

use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Context, Panel, Then};
use crate::registry::ops::OpStatus;
use crate::source::{Reach, Severity};
use crate::tui::action::Command;
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::findings::{Finding, Kind};
use crate::tui::glyphs;
use crate::tui::scroll::ListCursor;
use crate::tui::text;
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::{quoted, sentence};

/// Most columns.
const WIDTH: u16 = 116;
/// Rows for the words about the selected one.
const WORDS: u16 = 4;
/// Columns of what is found, and of the place.
const WHAT: usize = 36;
const PLACE: usize = 30;

/// The cursor in the list.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// The row that it is on.
    pub cursor: ListCursor,
}

impl Findings {
    /// Go where the chosen one is.
    fn accept(&self, context: &mut Context<'_>) -> Then {
        let view = &mut *context.view;
        if let Some(at) = view.document.findings.get(self.cursor.row).map(|finding| finding.at) {
            view.go_to(at, context.areas.shape);
        }
        Then::Close
    }
}

impl Panel for Findings {
    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Accept => return self.accept(context),
            Command::Dismiss => return Then::Close,
            _ => self.cursor.command(command, context.view.document.findings.len(), context.rows()),
        }
        Then::Stay
    }

    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        let Some(row) = context.rows().and_then(|rows| rows.at(at)) else { return Then::Close };
        self.cursor.row = row;
        self.accept(context)
    }

    fn wheel(&mut self, _at: Position, rows: i32, context: &mut Context<'_>) {
        self.cursor.wheel(rows, context.view.document.findings.len());
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let findings = &canvas.view.document.findings;
        let width = area.width.min(WIDTH);
        let height = (findings.len().max(1) as u16).saturating_add(WORDS + 3);
        let inner = canvas.popup(area, (width, height), "Blockers and ops, the worst first");
        let rows = inner.height.saturating_sub(WORDS + 1);
        let columns = usize::from(inner.width);
        let room = columns.saturating_sub(2);
        if findings.is_empty() {
            let words = "Nothing: no source was found, or nothing in it needs care. --source and --python name more.";
            text::put_text(canvas.buffer, inner.x + 1, inner.y, room, words, theme.muted());
        }
        let top = self.cursor.row.saturating_sub(usize::from(rows.saturating_sub(1)));
        for ((index, finding), y) in findings.iter().enumerate().skip(top).zip(inner.y..inner.y + rows) {
            let chosen = index == self.cursor.row;
            let line = line(canvas, finding, chosen);
            text::put(canvas.buffer, inner.x, y, columns, &line);
            if chosen {
                canvas.overlay(Rect { y, height: 1, ..inner }, theme.selection(true));
            }
        }
        if let Some(finding) = findings.get(self.cursor.row) {
            let shown = text::wrap_to(&sentence(&finding.words), room, usize::from(WORDS));
            for (row, y) in shown.iter().zip(inner.y + rows + 1..inner.bottom()) {
                text::put_text(canvas.buffer, inner.x + 1, y, room, row, theme.text());
            }
        }
        let list = Rect { height: rows, ..inner };
        canvas.areas.panel = Some(Rows { area: list, top, count: findings.len() });
    }
}

fn line(canvas: &Canvas<'_>, finding: &Finding, chosen: bool) -> Line<'static> {
    let theme = canvas.theme;
    let (sign, word, style) = look(theme, finding.kind);
    let training = matches!(finding.kind, Kind::Blocker(_, Reach::Training));
    let words = if training { theme.faint() } else { theme.text() };
    let path = canvas.view.document.module(finding.at.module).map_or("", |module| module.path.as_str());
    let path = if path.is_empty() { "(root)" } else { path };
    Line::from(vec![
        Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
        Span::styled(format!("{sign} {word:<9}"), style),
        Span::styled(text::pad(&text::clip(&quoted(&finding.what), WHAT - 1), WHAT), words),
        Span::styled(text::pad(&text::clip(&quoted(&finding.place), PLACE - 1), PLACE), theme.muted()),
        Span::styled(format!("×{:<4} ", finding.count), theme.muted()),
        Span::styled(quoted(path).into_owned(), theme.muted()),
    ])
}

fn look(theme: &Theme, kind: Kind) -> (char, &'static str, Style) {
    match kind {
        Kind::Blocker(_, Reach::Training) => (glyphs::FLAG, "training", theme.faint()),
        Kind::Blocker(severity, _) => (glyphs::FLAG, severity.name(), theme.severity(severity)),
        Kind::Op(status) => {
            let (sign, style) = match status {
                OpStatus::None => ('✗', theme.severity(Severity::Differs)),
                OpStatus::Unknown => ('?', theme.muted()),
                OpStatus::Trap => ('◐', theme.notice()),
                OpStatus::Recipe => ('◐', theme.muted()),
                OpStatus::Direct => ('●', theme.muted()),
            };
            (sign, status.name(), style)
        }
    }
}
