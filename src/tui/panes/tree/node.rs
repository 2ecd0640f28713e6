//! A node's row, and what a module's row says of its nodes.

use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::row::{Columns, STATUS};
use super::{MAX_INDENT, indent};
use crate::graph::run::NodeVerdict;
use crate::model::ModuleId;
use crate::tui::canvas::Canvas;
use crate::tui::glyphs;
use crate::tui::nodes::Row;
use crate::tui::ran::Which;
use crate::tui::text;
use t2m_checkpoint::escape::{escape, quoted};

/// Draw the row of a node.
pub(super) fn draw(canvas: &mut Canvas<'_>, node: u32, strip: Rect, columns: &Columns) {
    let (theme, view) = (canvas.theme, canvas.view);
    let Some(row) = view.document.nodes.as_ref().and_then(|nodes| nodes.get(node)) else { return };
    let selected = view.tree.node() == Some(node);
    let depth = view.document.module(row.module).map_or(0, |module| module.depth + 1);
    let pad = indent(depth).min(MAX_INDENT);
    let room = columns.text.saturating_sub(pad + 3);
    let op = text::clip(&quoted(row.op()), room);
    let runs = view.ran.is_running() && view.ran.last.map_or(view.ran.from, |last| last + 1) == row.index;
    let mark = if runs { canvas.spinner() } else { ' ' };
    let gap = columns.description.saturating_sub(pad + 3 + text::width(&op)).max(2);
    let spans = vec![
        Span::styled(if selected { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
        Span::raw(" ".repeat(pad)),
        Span::styled(format!("{mark} "), theme.running()),
        Span::styled(op, theme.text()),
        Span::raw(" ".repeat(gap)),
        Span::styled(about(row), theme.muted()),
    ];
    text::put(canvas.buffer, strip.x, strip.y, columns.text, &Line::from(spans));
    for (at, which, width) in cells(columns) {
        let (words, style) = cell(canvas, row, which);
        text::put_text(canvas.buffer, strip.x + at as u16, strip.y, width, &words, style);
    }
}

/// Its line, and its name in the graph.
fn about(row: &Row) -> String {
    let at = row.at().map(|at| format!("{}  ", escape(&at))).unwrap_or_default();
    format!("{at}{}", quoted(&row.name))
}

/// Where the two numbers stand, and how much room they have.
fn cells(columns: &Columns) -> impl Iterator<Item = (usize, Which, usize)> {
    let isolated = columns.status.map(|at| (at, Which::Isolated, STATUS - 1));
    let together = columns.measured.map(|at| (at, Which::Accumulated, columns.measured_width - 1));
    isolated.into_iter().chain(together)
}

/// One of a node's two numbers, with the sign of its verdict.
pub(in crate::tui::panes) fn cell(canvas: &Canvas<'_>, row: &Row, which: Which) -> (String, Style) {
    let (theme, ran) = (canvas.theme, &canvas.view.ran);
    let Some(verdict) = ran.verdict(row.index) else {
        return match (&row.refused, which) {
            (Some(_), Which::Isolated) => ("? no row".to_owned(), theme.verdict_of(NodeVerdict::Refused)),
            _ => ("·".to_owned(), theme.faint()),
        };
    };
    let measured = ran.measured(row.index, which);
    let (verdict, number) = match (which, measured) {
        // A NaN, a failure or a refusal is said of the node alone.
        (Which::Isolated, Some(measured)) if matches!(verdict, NodeVerdict::Compared(_)) => (verdict, Some(measured)),
        (Which::Isolated, _) => (verdict, None),
        (Which::Accumulated, Some(measured)) => (NodeVerdict::Compared(measured.verdict), Some(measured)),
        (Which::Accumulated, None) => return ("·".to_owned(), theme.faint()),
    };
    let sign = glyphs::node_verdict(verdict);
    let words = match number {
        Some(measured) if measured.max_abs > 0.0 || measured.max_abs.is_nan() => text::error(measured.max_abs),
        _ => verdict.name().to_owned(),
    };
    (format!("{sign} {words}"), theme.verdict_of(verdict))
}

/// What a module's row says where nodes are on show: of one node its numbers, of several how many are right.
pub(super) fn sums(canvas: &mut Canvas<'_>, id: ModuleId, strip: Rect, columns: &Columns, dimmed: bool) {
    let (theme, view) = (canvas.theme, canvas.view);
    let Some(nodes) = view.document.nodes.as_ref() else { return };
    let below = nodes.below(id);
    let only = nodes.own(id).first().filter(|_| below == 1).and_then(|node| nodes.get(*node));
    let sum = view.ran.sum_of(id);
    for (at, which, width) in cells(columns) {
        let (words, style) = match (only, which) {
            (Some(row), which) => cell(canvas, row, which),
            (None, _) if below == 0 => continue,
            (None, Which::Isolated) => match sum.worst {
                None if below == 1 => ("1 node".to_owned(), theme.faint()),
                None => (format!("{below} nodes"), theme.faint()),
                Some(worst) => {
                    let sign = if worst.is_bad() { glyphs::node_verdict(worst) } else { '✓' };
                    (format!("{sign} {}/{}", sum.nodes.right, below.max(sum.nodes.told)), theme.verdict_of(worst))
                }
            },
            (None, Which::Accumulated) => match sum.accumulated {
                None => continue,
                Some(worst) => (format!("{} {}", glyphs::verdict(worst), worst.name()), theme.verdict(worst)),
            },
        };
        let style = if dimmed { theme.faint() } else { style };
        text::put_text(canvas.buffer, strip.x + at as u16, strip.y, width, &words, style);
    }
}
