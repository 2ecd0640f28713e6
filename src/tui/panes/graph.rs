//! The graph of the whole model: its two errors along the nodes, what was found of the node that is selected, and the keys that
//! run it and go from one place of interest to the next. Where there is no graph it says how to get one.

mod text;

use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::live::engine_words;
use super::{Behaviour, Pane, Place, View};
use crate::compare::Verdict;
use crate::tui::action::{Command, Effect};
use crate::tui::areas::Areas;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::draw::along::{self, Along};
use crate::tui::draw::chart::Point;
use crate::tui::nodes::Row;
use crate::tui::ran::{Progress, Which};
use crate::tui::scroll::{Scroll, distance};
use crate::tui::text::put_lines;
use t2m_checkpoint::escape::{escape, quoted};
use t2m_engine::{EngineState, Side};

/// Narrowest pane that has chart and words side by side.
const SIDE_BY_SIDE: u16 = 90;

/// How far the pane is scrolled, and which node it was last about.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    scroll: Scroll,
    node: Option<u32>,
}

/// The graph as a pane.
pub(super) struct GraphPane;

impl Behaviour for GraphPane {
    fn title(&self) -> &'static str {
        "Graph"
    }

    /// Left and right go along the graph.
    fn command(&self, command: Command, context: &mut Context<'_>) -> bool {
        match command {
            Command::Left => step(context.view, -1),
            Command::Right => step(context.view, 1),
            _ => {
                let Some(by) = distance(command, context.areas.page(Pane::Graph)) else { return false };
                self.scroll(by, context.view, context.areas);
            }
        }
        true
    }

    fn command_anywhere(&self, command: Command, context: &mut Context<'_>) -> bool {
        match command {
            Command::RunGraph => run(context, 0),
            Command::RunFrom => run_on(context),
            Command::FirstDivergence => {
                let found = context.view.ran.first_divergence();
                go(context, found, "torch and MLX part nowhere: rounding explains every difference");
            }
            Command::WorstNode => {
                let found = context.view.ran.worst();
                go(context, found, "no node was compared");
            }
            Command::NextFailure | Command::PreviousFailure => {
                let here = selected(context.view).map(|row| row.index);
                let found = context.view.ran.failure_from(here, command == Command::NextFailure);
                go(context, found, "no node is wrong, refused or NaN");
            }
            _ => return false,
        }
        true
    }

    fn scroll(&self, rows: i64, view: &mut View, areas: &Areas) {
        view.graph.scroll.by(rows, areas.pane(Pane::Graph));
    }

    /// A node that is selected is shown from its beginning, and the pane with it.
    fn follow(&self, context: &mut Context<'_>) {
        let view = &mut *context.view;
        let node = view.tree.node();
        if node == view.graph.node {
            return;
        }
        view.graph = Graph { node, ..Graph::default() };
        if node.is_some() {
            view.bottom = Pane::Graph;
            if view.lower == Pane::Live {
                view.lower = Pane::Graph;
            }
        }
    }

    fn draw(&self, canvas: &mut Canvas<'_>, place: Place) {
        titles(canvas, place);
        let columns = (place.inner.width >= SIDE_BY_SIDE).then(|| (place.inner.width / 2).min(110));
        let (chart_area, text_area) = super::beside(place.inner, !canvas.view.ran.is_empty(), columns);
        if let Some(area) = chart_area {
            along::draw(canvas.theme, area, canvas.buffer, &chart(canvas.view, along::room(area)));
        }
        let lines = text::lines(canvas, usize::from(text_area.width));
        let rows = canvas.view.graph.scroll.rows(text_area, lines.len());
        put_lines(canvas.buffer, text_area, lines.get(rows.top..).unwrap_or_default());
        canvas.areas.panes.push((Pane::Graph, rows));
        place.scrollbar(canvas, rows.top, usize::from(text_area.height), rows.count);
    }
}

/// The node that is selected.
pub(in crate::tui) fn selected(view: &View) -> Option<&Row> {
    view.document.nodes.as_ref()?.get(view.tree.node()?)
}

/// Go to a node that a run told of.
fn go(context: &mut Context<'_>, index: Option<usize>, else_say: &str) {
    let view = &mut *context.view;
    let Some(nodes) = view.document.nodes.clone() else { return no_graph(context) };
    if view.ran.is_empty() {
        return context.say(&format!("the graph was not run yet: {} runs it", context.key(Command::RunGraph)));
    }
    let Some(row) = index.and_then(|index| nodes.row_of(index)) else { return context.say(else_say) };
    view.tree.reveal_node(&view.document, row);
    view.show(Pane::Graph, context.areas.shape);
}

/// Select the node so many further along the graph.
fn step(view: &mut View, by: i64) {
    let Some(nodes) = view.document.nodes.clone() else { return };
    let Some(last) = nodes.all.len().checked_sub(1) else { return };
    let at = match view.tree.node() {
        Some(node) => (i64::from(node) + by).clamp(0, last as i64),
        None => 0,
    };
    view.tree.reveal_node(&view.document, at as u32);
}

/// Whether a run has to be told its inputs first.
pub fn asks(view: &View) -> bool {
    view.document.nodes.is_some() && view.document.asks && view.ran.specs.is_empty() && !view.ran.is_running()
}

/// Run the graph, from a node on.
pub fn run(context: &mut Context<'_>, from: usize) {
    let shape = context.areas.shape;
    let view = &mut *context.view;
    if view.document.nodes.is_none() {
        return no_graph(context);
    }
    if view.ran.is_running() {
        return context.say("it runs already: x cancels it");
    }
    view.tree.show_nodes(&view.document, true);
    view.show(Pane::Graph, shape);
    let request = view.ran.begin(from, context.trials.seed, context.trials.device);
    context.effects.push(Effect::RunGraph(request));
}

/// Go on: from the selected node, or from where a run was stopped.
fn run_on(context: &mut Context<'_>) {
    let view = &*context.view;
    let stopped = matches!(view.ran.progress, Progress::Stopped(_)).then_some(view.ran.last).flatten();
    if view.document.nodes.as_ref().is_some_and(|nodes| nodes.is_outline) {
        let runs = context.key(Command::RunGraph);
        return context.say(&format!("{runs} runs it from its beginning first: the code becomes a graph with inputs"));
    }
    match selected(view).map(|row| row.index).or(stopped.map(|last| last + 1)) {
        Some(from) => run(context, from),
        None if view.document.nodes.is_none() => no_graph(context),
        None => context.say(&format!("select a node to go on from: {} shows them", context.key(Command::Nodes))),
    }
}

fn no_graph(context: &mut Context<'_>) {
    let shape = context.areas.shape;
    context.view.show(Pane::Graph, shape);
    context.say("this file holds no graph");
}

/// End a run of the graph. Returns whether one was there.
pub(super) fn cancel(context: &mut Context<'_>) -> bool {
    if !context.view.ran.is_running() {
        return false;
    }
    context.effects.push(Effect::CancelGraph);
    context.view.ran.stop();
    true
}

/// The errors along the graph in so many columns.
fn chart(view: &View, columns: usize) -> Along {
    let points = |which: Which| {
        let (stretches, each) = view.ran.stretches(which, columns);
        let point = |(slot, index): (usize, &Option<u32>)| {
            let measured = view.ran.measured((*index)? as usize, which)?;
            let (value, tolerance, verdict) = (measured.max_abs, measured.tolerance, measured.verdict);
            Some(Point { slot, value, mean: measured.mean_abs, tolerance, verdict })
        };
        (stretches.iter().enumerate().filter_map(point).collect::<Vec<Point>>(), stretches.len(), each)
    };
    let (isolated, slots, each) = points(Which::Isolated);
    let (together, ..) = points(Which::Accumulated);
    let cursor = selected(view).map(|row| row.index / each);
    Along { isolated, together, slots, each, cursor }
}

/// The node on the left, the engines on the right.
fn titles(canvas: &mut Canvas<'_>, place: Place) {
    let (theme, view) = (canvas.theme, canvas.view);
    let mut spans = vec![Span::styled("─ ", theme.border(place.focus))];
    if let Some(row) = selected(view) {
        let bold = theme.text().add_modifier(Modifier::BOLD);
        spans.push(Span::styled(format!("node {} {}", row.index, quoted(row.op())), bold));
        let at = row.at().map(|at| escape(&at).into_owned()).unwrap_or_default();
        spans.push(Span::styled(format!("  {at} "), theme.muted()));
    } else if let Some(nodes) = &view.document.nodes {
        spans.push(Span::styled(format!("{} nodes ", nodes.all.len()), theme.text().add_modifier(Modifier::BOLD)));
    }
    let mut engines = Vec::new();
    let told = [(Side::Torch, &view.ran.torch), (Side::Mlx, &view.ran.mlx)];
    for (side, engine) in told.into_iter().filter(|_| view.document.nodes.is_some()) {
        if side == Side::Mlx {
            engines.push(Span::styled(" ↔ ", theme.faint()));
        }
        let (words, style) = engine_words(theme, engine.as_ref().unwrap_or(&EngineState::Idle));
        engines.push(Span::styled(format!("{} {words}", side.library()), style));
    }
    engines.push(Span::raw(" "));
    place.write_titles(canvas.buffer, &Line::from(spans), &Line::from(engines));
}

/// The sign of the worst that was found of nodes, if anything was.
pub(super) fn sign(canvas: &Canvas<'_>, rows: &[u32]) -> Option<Span<'static>> {
    let view = canvas.view;
    let nodes = view.document.nodes.as_ref()?;
    let found = rows.iter().filter_map(|row| Some((nodes.get(*row)?, view.ran.verdict(nodes.get(*row)?.index)?)));
    let (row, _) = found.max_by_key(|(_, verdict)| verdict.is_bad())?;
    let (words, style) = super::tree::cell(canvas, row, Which::Isolated);
    let sign = words.chars().next().unwrap_or(' ');
    Some(Span::styled(sign.to_string(), style))
}

/// Whether a verdict of what has come together is to be told loudly.
fn is_bad(verdict: Option<Verdict>) -> bool {
    verdict.is_some_and(Verdict::is_bad)
}
