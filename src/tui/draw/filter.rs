//! The list of statuses to show.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{overlay, popup, text};
use crate::compare::Verdict;
use crate::triage::Status;
use crate::tui::glyphs;
use crate::tui::layout::Layout;
use crate::tui::state::{State, View};
use crate::tui::update::FILTER_ROWS;

/// Draw it over the panes.
pub fn draw(state: &State, view: &View, area: Rect, buffer: &mut Buffer, layout: &mut Layout) {
    let theme = &state.theme;
    let inner = popup(buffer, area, (38, FILTER_ROWS as u16 + 2), theme, "Show only");
    let filter = &view.tree.filter;
    let mut rows: Vec<(bool, char, &str, ratatui::style::Style, usize)> = Status::ALL
        .iter()
        .map(|&status| {
            let count = view.document.triage.modules.iter().filter(|triage| triage.status == status).count();
            let ticked = filter.statuses.contains(&status);
            (ticked, glyphs::status(status), status.name(), theme.status(status), count)
        })
        .collect();
    let bad = view.measured.total().bad();
    let style = theme.verdict(Verdict::Broken);
    rows.push((filter.bad, glyphs::verdict(Verdict::Broken), "measured badly", style, bad as usize));
    for ((index, (ticked, sign, word, style, count)), y) in
        rows.into_iter().enumerate().zip(inner.top()..inner.bottom())
    {
        let chosen = index == view.filter_row;
        let line = Line::from(vec![
            Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
            Span::styled(if ticked { "[x] " } else { "[ ] " }, if ticked { theme.key() } else { theme.muted() }),
            Span::styled(format!("{sign} {word:<17}"), style),
            Span::styled(format!("{count:>9}"), theme.muted()),
        ]);
        text::put(buffer, inner.x, y, usize::from(inner.width), &line);
        if chosen {
            overlay(buffer, Rect { y, height: 1, ..inner }, theme.selection(true));
        }
    }
    layout.overlay = Some((inner, 0));
}
