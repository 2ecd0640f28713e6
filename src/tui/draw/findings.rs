//! The list of blockers and ops, with what is to be done about the selected one below it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{overlay, popup, text};
use crate::registry::ops::OpStatus;
use crate::tui::findings::{Finding, Kind};
use crate::tui::glyphs;
use crate::tui::layout::Layout;
use crate::tui::state::{State, View};
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::{quoted, sentence};

/// Most columns.
const WIDTH: u16 = 116;
/// Rows for the words about the selected one.
const WORDS: u16 = 4;
/// Columns of what is found, and of the place.
const WHAT: usize = 36;
const PLACE: usize = 30;

/// Draw it over the panes.
pub fn draw(state: &State, view: &View, area: Rect, buffer: &mut Buffer, layout: &mut Layout) {
    let findings = &view.document.findings;
    let width = area.width.min(WIDTH);
    let height = (findings.len().max(1) as u16).saturating_add(WORDS + 3);
    let inner = popup(buffer, area, (width, height), &state.theme, "Blockers and ops, the worst first");
    let rows = inner.height.saturating_sub(WORDS + 1);
    let columns = usize::from(inner.width);
    if findings.is_empty() {
        let words = "Nothing: no source was found, or nothing in it needs care. --source and --python name more.";
        text::put_text(buffer, inner.x + 1, inner.y, columns.saturating_sub(2), words, state.theme.muted());
    }
    let top = view.finding_row.saturating_sub(usize::from(rows.saturating_sub(1)));
    for ((index, finding), y) in findings.iter().enumerate().skip(top).zip(inner.y..inner.y + rows) {
        let chosen = index == view.finding_row;
        text::put(buffer, inner.x, y, columns, &line(state, view, finding, chosen));
        if chosen {
            overlay(buffer, Rect { y, height: 1, ..inner }, state.theme.selection(true));
        }
    }
    if let Some(finding) = findings.get(view.finding_row) {
        let shown = text::wrap_to(&sentence(&finding.words), columns.saturating_sub(2), usize::from(WORDS));
        for (row, y) in shown.iter().zip(inner.y + rows + 1..inner.bottom()) {
            text::put_text(buffer, inner.x + 1, y, columns.saturating_sub(2), row, state.theme.text());
        }
    }
    let list = Rect { height: rows, ..inner };
    layout.overlay = Some((list, findings.len().saturating_sub(top + usize::from(rows))));
    layout.findings_top = top;
}

fn line(state: &State, view: &View, finding: &Finding, chosen: bool) -> Line<'static> {
    let theme = &state.theme;
    let (sign, word, style) = look(theme, finding.kind);
    let path = view.document.module(finding.at.module).map_or("", |module| module.path.as_str());
    let path = if path.is_empty() { "(root)" } else { path };
    Line::from(vec![
        Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
        Span::styled(format!("{sign} {word:<9}"), style),
        Span::styled(text::pad(&text::clip(&quoted(&finding.what), WHAT - 1), WHAT), theme.text()),
        Span::styled(text::pad(&text::clip(&quoted(&finding.place), PLACE - 1), PLACE), theme.muted()),
        Span::styled(format!("×{:<4} ", finding.count), theme.muted()),
        Span::styled(quoted(path).into_owned(), theme.muted()),
    ])
}

fn look(theme: &Theme, kind: Kind) -> (char, &'static str, Style) {
    match kind {
        Kind::Blocker(severity) => (glyphs::FLAG, severity.name(), theme.severity(severity)),
        Kind::Op(status) => {
            let (sign, style) = match status {
                OpStatus::None => ('✗', theme.severity(crate::source::Severity::Differs)),
                OpStatus::Trap => ('◐', theme.notice()),
                OpStatus::Direct => ('●', theme.muted()),
            };
            (sign, status.name(), style)
        }
    }
}
