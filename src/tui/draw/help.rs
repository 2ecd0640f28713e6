//! The help: every key from the table, and what each sign means.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{popup, text};
use crate::compare::Verdict;
use crate::triage::Status;
use crate::tui::glyphs;
use crate::tui::layout::Layout;
use crate::tui::state::{State, View};

/// Fewest and most columns of one column of help.
const WIDTH: (usize, usize) = (56, 74);
/// Columns of the keys in it.
const KEYS: usize = 23;

/// Draw it over the panes, in two columns where there is room.
pub fn draw(state: &State, view: &View, area: Rect, buffer: &mut Buffer, layout: &mut Layout) {
    let room = usize::from(area.width.saturating_sub(2));
    let columns = if room >= 2 * WIDTH.0 { 2 } else { 1 };
    let width = (room / columns).min(WIDTH.1);
    let (left, right) = sections(state, columns, width);
    let rows = left.len().max(right.len());
    let size = ((columns * width + 2) as u16, rows as u16 + 2);
    let inner = popup(buffer, area, size, &state.theme, "Help");
    let below = rows.saturating_sub(usize::from(inner.height));
    let top = view.overlay_top.min(below);
    let shown = |lines: &[Line<'static>]| lines.iter().skip(top).cloned().collect::<Vec<_>>();
    text::put_lines(buffer, inner, &shown(&left));
    if columns == 2 {
        let half = Rect { x: inner.x + width as u16, width: inner.width.saturating_sub(width as u16), ..inner };
        text::put_lines(buffer, half, &shown(&right));
    }
    if below > top {
        let words = format!(" {} more ", below - top);
        let x = inner.right().saturating_sub(words.len() as u16 + 1);
        text::put_text(buffer, x, inner.bottom(), words.len(), &words, state.theme.notice());
    }
    layout.overlay = Some((inner, below - top));
}

/// The lines of each column.
fn sections(state: &State, columns: usize, width: usize) -> (Vec<Line<'static>>, Vec<Line<'static>>) {
    let mut groups: Vec<Vec<Line<'static>>> = Vec::new();
    let mut heading = "";
    for binding in &state.keymap.bindings {
        if binding.group != heading {
            heading = &binding.group;
            groups.push(vec![title(state, heading)]);
        }
        if let Some(group) = groups.last_mut() {
            let keys = binding.keys.join(" ");
            group.extend(entry(state, width, &keys, state.theme.key(), &binding.help));
        }
    }
    groups.push(signs(state, width));
    let total: usize = groups.iter().map(|group| group.len() + 1).sum();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for group in groups {
        let side = if columns == 1 || left.len() + group.len() / 2 < total / 2 { &mut left } else { &mut right };
        if !side.is_empty() {
            side.push(Line::default());
        }
        side.extend(group);
    }
    (left, right)
}

fn title(state: &State, heading: &str) -> Line<'static> {
    Line::from(Span::styled(format!(" {heading}"), state.theme.title(true)))
}

fn entry(state: &State, width: usize, head: &str, style: ratatui::style::Style, words: &str) -> Vec<Line<'static>> {
    let rows = text::wrap(words, width.saturating_sub(KEYS + 2));
    let mut heads = vec![head.to_owned()];
    heads.resize(rows.len().max(1), String::new());
    heads
        .into_iter()
        .zip(rows)
        .map(|(head, row)| {
            Line::from(vec![
                Span::styled(format!("   {}", text::clip(&head, KEYS - 4)), style),
                Span::raw(" ".repeat((KEYS - 3).saturating_sub(text::width(&text::clip(&head, KEYS - 4))))),
                Span::styled(row, state.theme.text()),
            ])
        })
        .collect()
}

fn signs(state: &State, width: usize) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let mut lines = vec![title(state, "Signs")];
    for status in Status::ALL {
        let words = match status {
            Status::Direct => "the same layer, weights as they are or by a rule",
            Status::Recipe => "convertible, with more than a rename",
            Status::Incomplete => "an argument that changes the result is not known",
            Status::Unsupported => "no conversion; behind it: how hard one would be",
            Status::Container => "holds layers and has no forward of its own",
            Status::Custom => "a class of yours: its forward must be ported",
            Status::Unknown => "a layer that the registry does not know",
        };
        let head = format!("{} {}", glyphs::status(status), status.name());
        lines.extend(entry(state, width, &head, theme.status(status), words));
    }
    for verdict in Verdict::ALL {
        let words = match verdict {
            Verdict::Exact => "no element differs",
            Verdict::Ok => "within the tolerance",
            Verdict::Drift => "above the tolerance, below 1e-3 of the scale",
            Verdict::Broken => "above that: the conversion is wrong",
            Verdict::Failed => "an engine said no or died",
            Verdict::NotRun => "not measured yet",
        };
        let head = format!("{} {}", glyphs::verdict(verdict), verdict.name());
        lines.extend(entry(state, width, &head, theme.verdict(verdict).add_modifier(Modifier::BOLD), words));
    }
    let flag = format!("{} n", glyphs::FLAG);
    lines.extend(entry(
        state,
        width,
        &flag,
        theme.severity(crate::source::Severity::Breaks),
        "blockers in its forward",
    ));
    lines
}
