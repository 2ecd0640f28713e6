//! The panes over an open checkpoint. Each is one file here: its state, its keys, its mouse and its drawing.
//!
//! A new one is a file with a type that is a `Behaviour`, a variant of [`Pane`] with its line in each list of this file,
//! its place in `draw`, and its keys in `assets/keymap.toml`.

mod beside;
pub mod graph;
mod kept;
pub mod live;
pub mod source;
pub mod splits;
mod subtree;
pub mod tree;

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout as Split, Position, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::action::Command;
use super::areas::{Areas, Rows, Shape};
use super::canvas::{Canvas, frame};
use super::context::Context;
use super::document::Document;
use super::jumps::{self, Jumps};
use super::ran::Ran;
use super::text;
use super::work::Work;
use crate::filter::{Facts, Filter};
use crate::graph::preflight::Preflight;
use crate::model::ModuleId;
use crate::session;
use crate::verify::{Results, recorded};
use splits::Splits;

/// Every pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pane {
    /// The module tree.
    Tree,
    /// The source of a class.
    Source,
    /// The measurement.
    Live,
    /// The graph.
    Graph,
}

/// The view of an open checkpoint: what the panes know.
#[derive(Debug, Clone)]
pub struct View {
    /// The checkpoint.
    pub document: Arc<Document>,
    /// What was measured.
    pub measured: Results,
    /// The pane that keys move in.
    pub focus: Pane,
    /// What a run of the graph gave.
    pub ran: Ran,
    /// The pane below the tree where there is room for one only.
    pub lower: Pane,
    /// The pane below tree and source where there is room for all: the measurement or the graph.
    pub bottom: Pane,
    /// How the user divides the screen.
    pub splits: Splits,
    /// Whether the focused pane is alone on the screen.
    pub zoomed: bool,
    /// Whether the pane of the graph is there: the file holds one, or somebody asked for it.
    pub has_graph: bool,
    /// The tree pane.
    pub tree: tree::Tree,
    /// The source pane.
    pub source: source::Source,
    /// The measurement pane.
    pub live: live::Live,
    /// The graph pane.
    pub graph: graph::Graph,
    /// Where the user has been.
    pub jumps: Jumps,
    /// Whether something was measured since rows that hang on it were put in order.
    pub is_behind: bool,
    /// What is kept for the next time.
    pub work: Work,
}

impl Pane {
    /// In the order of the tab key.
    pub const ALL: [Pane; 4] = [Pane::Tree, Pane::Source, Pane::Live, Pane::Graph];

    /// Its word in a session.
    pub fn word(self) -> &'static str {
        match self {
            Pane::Tree => "tree",
            Pane::Source => "source",
            Pane::Live => "live",
            Pane::Graph => "graph",
        }
    }

    fn behaviour(self) -> &'static dyn Behaviour {
        match self {
            Pane::Tree => &tree::TreePane,
            Pane::Source => &source::SourcePane,
            Pane::Live => &live::LivePane,
            Pane::Graph => &graph::GraphPane,
        }
    }
}

/// What every pane does. Its state is its field of [`View`]; it gets the whole view, since panes follow one another.
trait Behaviour: Sync {
    /// The word on its tab.
    fn title(&self) -> &'static str;

    /// A key while it has the focus. Returns whether the key means something there.
    fn command(&self, command: Command, context: &mut Context<'_>) -> bool;

    /// A key of its own that works wherever the focus is. Returns whether it is one.
    fn command_anywhere(&self, _command: Command, _context: &mut Context<'_>) -> bool {
        false
    }

    /// A click in its rows.
    fn click(&self, _at: Position, _rows: Rows, _context: &mut Context<'_>) {}

    /// Scroll down by this many rows, and leave cursors where they are.
    fn scroll(&self, rows: i64, view: &mut View, areas: &Areas);

    /// A frame showed it: take over where drawing has scrolled to.
    fn drawn(&self, _rows: Rows, _view: &mut View) {}

    /// Something has happened: catch up with it.
    fn follow(&self, _context: &mut Context<'_>) {}

    /// Draw it, and note where its rows went.
    fn draw(&self, canvas: &mut Canvas<'_>, place: Place);
}

impl View {
    /// The code of a TorchScript file became a graph: its nodes are known now.
    pub fn take_graph(&mut self, number: u64, graph: &t2m_checkpoint::graph::Graph) {
        let Some(before) = self.document.nodes.as_ref().filter(|_| self.ran.is_of(number)) else { return };
        let preflight = match &self.document.checked {
            Some(checked) => Preflight::by(graph, &checked.registry.aten()),
            None => Preflight::of(graph),
        };
        let nodes = before.of_code(graph, preflight, &self.document.model);
        if nodes == **before {
            return;
        }
        let nodes = Arc::new(nodes);
        let mut document = Document::clone(&self.document);
        document.nodes = Some(Arc::clone(&nodes));
        self.document = Arc::new(document);
        self.ran.renew(nodes);
        self.tree.renew(&self.document);
        self.graph = graph::Graph::default();
        self.source.renew();
    }

    /// A fresh view: the root's children are open, and theirs where the model is small.
    pub fn new(document: Arc<Document>) -> View {
        let depth = if document.len() <= 60 { usize::MAX } else { 2 };
        View {
            tree: tree::Tree::new(&document, depth),
            source: source::Source::default(),
            live: live::Live::default(),
            graph: graph::Graph::default(),
            jumps: Jumps::default(),
            is_behind: false,
            ran: document
                .nodes
                .as_ref()
                .map_or_else(Ran::default, |nodes| Ran::new(document.model.clone(), nodes.clone())),
            bottom: Pane::Live,
            splits: Splits::default(),
            zoomed: false,
            has_graph: document.nodes.is_some(),
            measured: recorded::results(&document.model, &document.triage, &document.keeping.loaded.session),
            work: Work::of(&document),
            focus: Pane::Tree,
            lower: Pane::Source,
            document,
        }
    }

    /// The view of the same file in another reading: the selection and the folds stay by path, and so does what was measured of
    /// modules that convert as before.
    pub fn again(before: &View, document: Arc<Document>) -> View {
        let new = View::new(document);
        let has_graph = new.has_graph || before.has_graph;
        let View { focus, lower, bottom, splits, zoomed, .. } = *before;
        let mut view = View { focus, lower, bottom, splits, zoomed, has_graph, ..new };
        let (old, new) = (&before.document, &view.document);
        let same = |id: ModuleId| old.module(id).and_then(|module| new.model.find(&module.path));
        view.measured.take_over(&before.measured, |id| {
            let plan = old.triage(id).map(|triaged| &triaged.plan);
            same(id).filter(|at| new.triage(*at).map(|triaged| &triaged.plan) == plan)
        });
        view.work = before.work.clone();
        view.work.count(&view.document);
        view.tree.take_over(&before.tree, old, new);
        let selected = same(before.tree.selected);
        view.jumps = before.jumps.carried(same);
        view.apply_filter();
        if let Some(selected) = selected {
            view.tree.reveal(&view.document, selected);
        }
        view
    }

    /// The same modules, of which more is known: where the user is stays, and so does what was measured of layers that are run as
    /// before.
    pub fn retell(&mut self, document: Arc<Document>) {
        let before = Arc::clone(&self.document);
        let same = |id| match (before.triage(id), document.triage(id)) {
            (Some(before), Some(now)) => (before.runs(), &before.assumed) == (now.runs(), &now.assumed),
            _ => false,
        };
        if self.ran.is_running() {
            self.ran.stop();
        }
        self.measured = self.measured.carried_to(document.model.clone(), &document.triage, same);
        self.document = document;
        self.apply_filter();
    }

    /// What is known of the modules, as filters ask for it.
    pub fn facts(&self) -> Facts<'_> {
        self.document.facts(&self.measured, &self.work)
    }

    /// Show what the filter wants, by what is known now.
    pub fn apply_filter(&mut self) {
        let View { tree, document, measured, work, .. } = self;
        tree.apply_filter(document, &document.facts(measured, work));
        self.is_behind = false;
    }

    /// Let the tree show what another filter wants.
    pub fn set_filter(&mut self, filter: Filter) {
        self.tree.filter = filter;
        self.apply_filter();
    }

    /// How the panes stand; `None` where that is as at first.
    pub fn stand(&self) -> Option<session::Panes> {
        let at_first = [Pane::Tree, Pane::Source, Pane::Live];
        let is_usual = [self.focus, self.lower, self.bottom] == at_first && !self.zoomed;
        (!is_usual || self.splits.shares() != [None; 3]).then(|| session::Panes {
            focus: self.focus.word().to_owned(),
            lower: self.lower.word().to_owned(),
            bottom: self.bottom.word().to_owned(),
            zoomed: self.zoomed,
            shares: self.splits.shares(),
        })
    }

    /// Let them stand as they were left; what is not known here stays as it is.
    pub fn let_stand(&mut self, panes: &session::Panes) {
        let known = |word: &str| Pane::ALL.into_iter().find(|pane| pane.word() == word);
        // Where there is no graph now, its pane need not be there.
        let there = |word: &str| known(word).filter(|pane| *pane != Pane::Graph || self.has_graph);
        let [focus, lower, bottom] = [&panes.focus, &panes.lower, &panes.bottom].map(|word| there(word));
        self.focus = focus.unwrap_or(self.focus);
        self.lower = lower.filter(|pane| *pane != Pane::Tree).unwrap_or(self.lower);
        self.bottom = bottom.filter(|pane| matches!(pane, Pane::Live | Pane::Graph)).unwrap_or(self.bottom);
        (self.zoomed, self.splits) = (panes.zoomed, Splits::of_shares(panes.shares));
    }

    /// Let keys move in a pane.
    pub fn focus(&mut self, pane: Pane) {
        self.focus = pane;
        if pane != Pane::Tree {
            self.bring(pane);
        }
    }

    /// Let a pane be the one on show at its place.
    fn bring(&mut self, pane: Pane) {
        self.lower = pane;
        self.has_graph |= pane == Pane::Graph;
        if matches!(pane, Pane::Live | Pane::Graph) {
            self.bottom = pane;
        }
    }

    /// The panes that there are, in the order of the tab key.
    fn panes(&self) -> &'static [Pane] {
        if self.has_graph { &Pane::ALL } else { &[Pane::Tree, Pane::Source, Pane::Live] }
    }

    /// Move the focus by this many panes, in the order of the tab key.
    pub fn focus_by(&mut self, by: usize) {
        let panes = self.panes();
        let at = panes.iter().position(|&pane| pane == self.focus).unwrap_or(0);
        self.focus(panes.get((at + by) % panes.len()).copied().unwrap_or(Pane::Tree));
    }

    /// Bring a pane into view; where there is one pane only, that means going there.
    pub fn show(&mut self, pane: Pane, shape: Shape) {
        self.bring(pane);
        if self.focus != Pane::Tree || matches!(shape, Shape::One | Shape::Tiny) {
            self.focus(pane);
        }
    }
}

/// A key that is not a panel's: it goes to the pane with the focus first, then to the pane whose own key it is.
pub(super) fn command(command: Command, context: &mut Context<'_>) {
    match command {
        Command::NextPane => context.view.focus_by(1),
        Command::Back | Command::Forward => jump(context, command == Command::Back),
        Command::PreviousPane => context.view.focus_by(context.view.panes().len() - 1),
        Command::Zoom => zoom(context),
        Command::Narrower | Command::Wider | Command::Shorter | Command::Taller => {
            if !context.view.splits.command(command, &context.areas.splits) {
                let across = matches!(command, Command::Shorter | Command::Taller);
                context.say(if across { "no pane is above another here" } else { "no pane is beside another here" });
            }
        }
        _ => {
            let focus = context.view.focus.behaviour();
            let _ = focus.command(command, context)
                || Pane::ALL.iter().any(|pane| pane.behaviour().command_anywhere(command, context));
        }
    }
}

/// Go to the place before, or to the one that this came from.
fn jump(context: &mut Context<'_>, back: bool) {
    let view = &mut *context.view;
    let here = jumps::place(view);
    match if back { view.jumps.back(here) } else { view.jumps.forward(here) } {
        Some(place) => jumps::go_to(view, place, context.areas.shape),
        None => context.say(if back { "no jump leads here" } else { "nothing to go forward to" }),
    }
}

/// The focused pane alone, or all again.
fn zoom(context: &mut Context<'_>) {
    if context.areas.shape == Shape::One && !context.view.zoomed {
        return context.say("there is room for one pane only");
    }
    context.view.zoomed = !context.view.zoomed;
}

/// The mouse moved with its button down, or let go of it.
pub(super) fn drag(at: Position, on: bool, context: &mut Context<'_>) {
    context.view.splits.drag(at, on, &context.areas.splits);
}

/// The engines have said which they are: run what waited for that.
pub(super) fn run_lacking(context: &mut Context<'_>) {
    live::run_lacking(context);
}

/// A click at a place of the screen.
pub(super) fn click(at: Position, context: &mut Context<'_>) {
    if let Some(&(_, pane)) = context.areas.tabs.iter().find(|(area, _)| area.contains(at)) {
        return context.view.focus(pane);
    }
    if context.view.splits.hold(at, &context.areas.splits) {
        return;
    }
    if let Some((pane, rows)) = context.areas.pane_at(at) {
        context.view.focus(pane);
        pane.behaviour().click(at, rows, context);
    } else if let Some(&(_, layer)) = context.areas.links.iter().rev().find(|(area, _)| area.contains(at)) {
        // A dot of the chart, which is beside the measurement's rows.
        context.view.tree.reveal(&context.view.document, layer);
    }
}

/// The wheel turned by this many rows, downwards positive, over a place of the screen.
pub(super) fn wheel(at: Position, rows: i32, context: &mut Context<'_>) {
    if let Some((pane, _)) = context.areas.pane_at(at) {
        pane.behaviour().scroll(i64::from(rows), context.view, context.areas);
    }
}

/// A frame was drawn.
pub(super) fn drawn(view: &mut View, areas: &Areas) {
    for &(pane, rows) in &areas.panes {
        pane.behaviour().drawn(rows, view);
    }
}

/// Something has happened: let each pane catch up.
pub(super) fn follow(context: &mut Context<'_>) {
    for pane in Pane::ALL {
        pane.behaviour().follow(context);
    }
}

/// Draw as many panes as there is room for.
pub(super) fn draw(canvas: &mut Canvas<'_>, body: Rect) {
    let splits = canvas.view.splits;
    if canvas.view.zoomed && canvas.areas.shape != Shape::Tiny {
        canvas.areas.shape = Shape::One;
    }
    match canvas.areas.shape {
        Shape::Three => {
            let height = splits.size(splits::Line::Bottom, body, (body.height / 3).clamp(10, 15));
            let [upper, lower] = Split::vertical([Constraint::Fill(1), Constraint::Length(height)]).areas(body);
            let width = splits.size(splits::Line::Tree, upper, (body.width * 12 / 25).clamp(58, 90));
            let [left, right] = Split::horizontal([Constraint::Length(width), Constraint::Fill(1)]).areas(upper);
            let grip = Rect { x: right.x.saturating_sub(1), width: 2, ..upper };
            canvas.areas.splits.push(splits::Split { line: splits::Line::Tree, grip, whole: upper, size: width });
            between(canvas, splits::Line::Bottom, body, lower);
            draw_pane(canvas, Pane::Tree, &[], left);
            draw_pane(canvas, Pane::Source, &[], right);
            let tabs: &[Pane] = if canvas.view.has_graph { &[Pane::Live, Pane::Graph] } else { &[] };
            draw_pane(canvas, canvas.view.bottom, tabs, lower);
        }
        Shape::Two => {
            let height = splits.size(splits::Line::Middle, body, body.height / 2);
            let [upper, lower] = Split::vertical([Constraint::Fill(1), Constraint::Length(height)]).areas(body);
            between(canvas, splits::Line::Middle, body, lower);
            draw_pane(canvas, Pane::Tree, &[], upper);
            draw_pane(canvas, canvas.view.lower, canvas.view.panes().get(1..).unwrap_or_default(), lower);
        }
        Shape::One | Shape::Tiny => draw_pane(canvas, canvas.view.focus, canvas.view.panes(), body),
    }
}

/// The line above the lower one of two panes can be moved.
fn between(canvas: &mut Canvas<'_>, line: splits::Line, whole: Rect, lower: Rect) {
    let grip = Rect { y: lower.y.saturating_sub(1), height: 2, ..whole };
    canvas.areas.splits.push(splits::Split { line, grip, whole, size: lower.height });
}

/// Draw one pane; `tabs` are those that share its place.
fn draw_pane(canvas: &mut Canvas<'_>, pane: Pane, tabs: &[Pane], area: Rect) {
    let theme = canvas.theme;
    let focus = canvas.view.focus == pane;
    let title = if tabs.is_empty() {
        Line::from(Span::styled(format!(" {} ", pane.behaviour().title()), theme.title(focus)))
    } else {
        tab_line(canvas, pane, focus, tabs, area)
    };
    let titles = title.width();
    let inner = frame(canvas.buffer, area, theme, focus, &title);
    pane.behaviour().draw(canvas, Place { frame: area, inner, title: titles, focus });
}

fn tab_line(canvas: &mut Canvas<'_>, shown: Pane, focus: bool, tabs: &[Pane], area: Rect) -> Line<'static> {
    let theme = canvas.theme;
    let mut spans = Vec::new();
    let mut x = area.x + 1;
    for (index, &tab) in tabs.iter().enumerate() {
        if index > 0 {
            spans.push(Span::styled("│", theme.border(focus)));
            x += 1;
        }
        let style = match tab == shown {
            true => theme.title(true).add_modifier(Modifier::UNDERLINED),
            false => theme.muted(),
        };
        let title = tab.behaviour().title();
        let columns = title.len() as u16 + 2;
        canvas.areas.tabs.push((Rect::new(x, area.y, columns, 1).intersection(area), tab));
        spans.extend([Span::raw(" "), Span::styled(title, style), Span::raw(" ")]);
        x += columns;
    }
    Line::from(spans)
}

/// Where a pane may draw.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// With its border.
    frame: Rect,
    /// Without.
    inner: Rect,
    /// Columns of the border that the title took.
    title: usize,
    /// Whether keys go there.
    focus: bool,
}

impl Place {
    /// Write more of the title: on the left after the pane's name, and on the right. What does not fit is left out, the
    /// right one first.
    fn write_titles(&self, buffer: &mut Buffer, left: &Line<'_>, right: &Line<'_>) {
        let start = self.frame.x as usize + 1 + self.title;
        let end = (self.frame.right() as usize).saturating_sub(2);
        let room = end.saturating_sub(start);
        let (left_width, right_width) = (left.width(), right.width());
        let right_fits = right_width > 0 && left_width + right_width + 2 <= room;
        let left_room = if right_fits { room - right_width - 1 } else { room };
        if left_width > 0 && left_room > 8 {
            put_clipped(buffer, start as u16, self.frame.y, left_room, left);
        }
        if right_fits {
            text::put(buffer, (end - right_width) as u16, self.frame.y, right_width, right);
        }
    }

    /// Where in the list we are, on the right border, where it is longer than the pane.
    fn scrollbar(&self, canvas: &mut Canvas<'_>, top: usize, height: usize, count: usize) {
        if count <= height || height < 3 {
            return;
        }
        let thumb = (height * height / count).clamp(1, height);
        let last = count - height;
        let start = (top.min(last) * (height - thumb) + last / 2) / last;
        let x = self.frame.right().saturating_sub(1);
        let style = canvas.theme.border(self.focus).add_modifier(Modifier::BOLD);
        for row in start..start + thumb {
            let y = self.inner.y + row as u16;
            if let Some(cell) = canvas.buffer.cell_mut((x, y)) {
                cell.set_char('┃').set_style(style);
            }
        }
    }
}

/// Draw a line; where it is too long, its last span is clipped with an ellipsis.
fn put_clipped(buffer: &mut Buffer, x: u16, y: u16, columns: usize, line: &Line<'_>) {
    let mut spans = Vec::new();
    let mut left = columns;
    for span in &line.spans {
        let clipped = text::clip(&span.content, left);
        left -= text::width(&clipped).min(left);
        spans.push(Span::styled(clipped, span.style));
        if left == 0 {
            break;
        }
    }
    text::put(buffer, x, y, columns, &Line::from(spans));
}

/// Rows of a chart above words, and the fewest rows that the pane must have for it.
const CHARTS_ABOVE: [(u16, u16); 2] = [(9, 20), (6, 11)];

/// Where a chart and the words about it go: side by side, the chart in so many columns, or one above the other. No area for the
/// chart where there is none, or no room.
fn beside(inner: Rect, chart: bool, columns: Option<u16>) -> (Option<Rect>, Rect) {
    let padded = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    if !chart {
        return (None, padded);
    }
    if let Some(width) = columns {
        let rest = Rect { x: inner.x + width + 2, width: inner.width.saturating_sub(width + 3), ..inner };
        return (Some(Rect { width, ..inner }), rest);
    }
    if let Some(&(height, _)) = CHARTS_ABOVE.iter().find(|(_, least)| inner.height >= *least) {
        let rest = Rect { y: inner.y + height, height: inner.height - height, ..padded };
        return (Some(Rect { height, ..inner }), rest);
    }
    (None, padded)
}
