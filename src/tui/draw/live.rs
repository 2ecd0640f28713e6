//! The measurement of the selected layer, or of all layers below the selected module.
//!
//! It always says what was done, by whom, on what, and against which bound.

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::chart::{self, Chart, Point};
use super::{Place, numbers, tree};
use crate::compare::Verdict;
use crate::model::ModuleId;
use crate::tui::canvas::Canvas;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::view::View;
use crate::verify::{Layer, Progress};
use t2m_checkpoint::escape::{quoted, sentence};
use t2m_engine::{EngineState, Side};

/// Narrowest pane that has chart and numbers side by side.
const SIDE_BY_SIDE: u16 = 64;
/// Rows of a chart above the numbers, and the fewest rows that the pane must have for it.
const CHARTS_ABOVE: [(u16, u16); 2] = [(9, 20), (6, 11)];

/// Draw the pane.
pub fn draw(canvas: &mut Canvas<'_>, place: Place) {
    let (theme, view) = (canvas.theme, canvas.view);
    let id = view.tree.selected;
    titles(canvas, id, place);
    let chart = chart_of(view, id);
    let (chart_area, text_area) = split(place.inner, chart.is_some());
    if let (Some(chart), Some(area)) = (&chart, chart_area) {
        chart::draw(theme, area, canvas.buffer, chart);
    }
    let lines = numbers::lines(canvas, id, usize::from(text_area.width));
    let rows = view.live.rows(text_area, lines.len());
    text::put_lines(canvas.buffer, text_area, lines.get(rows.top..).unwrap_or_default());
    canvas.areas.live = Some(rows);
    tree::scrollbar(canvas, place, rows.top, usize::from(text_area.height), rows.count);
}

/// Where chart and text go.
fn split(inner: Rect, chart: bool) -> (Option<Rect>, Rect) {
    let padded = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    if !chart {
        return (None, padded);
    }
    if inner.width >= SIDE_BY_SIDE {
        let width = (inner.width * 2 / 5).clamp(28, 72);
        let rest = Rect { x: inner.x + width + 2, width: inner.width.saturating_sub(width + 3), ..inner };
        return (Some(Rect { width, ..inner }), rest);
    }
    if let Some(&(height, _)) = CHARTS_ABOVE.iter().find(|(_, least)| inner.height >= *least) {
        let rest = Rect { y: inner.y + height, height: inner.height - height, ..padded };
        return (Some(Rect { height, ..inner }), rest);
    }
    (None, padded)
}

/// The layer and what it becomes on the left, the engines on the right.
fn titles(canvas: &mut Canvas<'_>, id: ModuleId, place: Place) {
    let (theme, view) = (canvas.theme, canvas.view);
    let (Some(module), Some(triage)) = (view.document.module(id), view.document.triage(id)) else { return };
    let name = if module.path.is_empty() { "the whole model" } else { &module.path };
    let mut words = quoted(module.short_class()).into_owned();
    if let Some(mlx) = &triage.mlx {
        words = format!("{words} → {}", quoted(mlx));
    }
    let steps = triage.plan.as_ref().and_then(|plan| plan.way.words(", "));
    let mut spans = vec![
        Span::styled("─ ", theme.border(place.focus)),
        Span::styled(quoted(name).into_owned(), theme.text().add_modifier(Modifier::BOLD)),
        Span::styled(format!("  {words} "), theme.status(triage.status)),
    ];
    if let Some(steps) = steps {
        spans.push(Span::styled(format!("· {} ", sentence(&steps)), theme.muted()));
    }
    place.write_titles(canvas.buffer, &Line::from(spans), &engines(theme, view));
}

/// `libtorch 2.13.0 cpu ↔ mlx 0.32.2 gpu`
fn engines(theme: &Theme, view: &View) -> Line<'static> {
    let mut spans = vec![Span::raw(" ")];
    for (side, engine) in [(Side::Torch, &view.measured.torch), (Side::Mlx, &view.measured.mlx)] {
        if side == Side::Mlx {
            spans.push(Span::styled(" ↔ ", theme.faint()));
        }
        let (words, style) = engine_words(theme, engine);
        spans.push(Span::styled(format!("{} {words}", side.library()), style));
    }
    spans.push(Span::raw(" "));
    Line::from(spans)
}

fn engine_words(theme: &Theme, engine: &EngineState) -> (String, Style) {
    match engine {
        EngineState::Idle => ("not started".to_owned(), theme.muted()),
        EngineState::Starting => ("starting".to_owned(), theme.running()),
        EngineState::Ready(info) => (quoted(&format!("{} {}", info.version, info.device)).into_owned(), theme.text()),
        EngineState::Down(_) => ("is down".to_owned(), theme.verdict(Verdict::Failed)),
    }
}

/// The errors of the layer's trials, or of the layers below.
fn chart_of(view: &View, id: ModuleId) -> Option<Chart<'static>> {
    if let Some(layer) = view.measured.layer(id) {
        return chart_of_trials(layer);
    }
    if view.measured.sum(id).is_empty() {
        return None;
    }
    let document = &view.document;
    let points: Vec<Point> = view
        .measured
        .below(id)
        .filter_map(|(at, layer)| {
            let slot = document.rank(at, id);
            match (layer.worst(), layer.verdict()) {
                (Some(trial), verdict) => {
                    let point = Point::of(slot, trial);
                    Some(Point { verdict: verdict.unwrap_or(point.verdict), ..point })
                }
                (None, Some(verdict @ Verdict::Failed)) => {
                    Some(Point { slot, value: f64::NAN, mean: 0.0, tolerance: f64::NAN, verdict })
                }
                (None, _) => None,
            }
        })
        .collect();
    Some(Chart { points, slots: document.runnable(id) as usize, caption: "layers in order", numbered: false })
}

fn chart_of_trials(layer: &Layer) -> Option<Chart<'static>> {
    let points: Vec<Point> = layer.judged().enumerate().map(|(slot, trial)| Point::of(slot, trial)).collect();
    let coming = match layer.progress {
        Progress::Running(trials) => trials,
        Progress::Queued | Progress::Done(..) => 0,
    };
    let slots = coming.max(points.len());
    (slots > 0).then_some(Chart { points, slots, caption: "trial", numbered: true })
}
