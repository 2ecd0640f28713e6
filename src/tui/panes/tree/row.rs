//! A module's row, and the columns beside it.

use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::super::{Place, View};
use super::letters::{Letters, marked};
use super::order::Order;
use super::{indent, node};
use crate::compare::Verdict;
use crate::findings::forwards::prefix;
use crate::graph::results::InGraph;
use crate::model::{Evidence, Module, ModuleId};
use crate::triage::{ModuleTriage, Status, owner};
use crate::tui::canvas::Canvas;
use crate::tui::document::Document;
use crate::tui::glyphs;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::verify::Progress;
use t2m_checkpoint::escape::{escape, quoted, sentence};

/// Columns of the right-hand side, from the left: where each begins, counted from the pane's left edge.
pub(super) struct Columns {
    /// End of name and description.
    pub text: usize,
    /// Where descriptions begin.
    pub description: usize,
    /// The status; of nodes, and of modules beside them, what was found of them alone.
    pub status: Option<usize>,
    /// What was measured; of nodes what has come together up to them.
    pub measured: Option<usize>,
    /// Columns of what was measured.
    pub measured_width: usize,
    /// How many blockers there are.
    pub blockers: Option<usize>,
}

pub(super) const STATUS: usize = 12;
/// Columns of what was measured, with and without much room.
const MEASURED: [usize; 2] = [14, 10];
const BLOCKERS: usize = 4;

impl Columns {
    pub(super) fn new(view: &View, width: usize) -> Columns {
        let mut end = width;
        let mut take = |columns: usize, wanted: bool| {
            wanted.then(|| {
                end = end.saturating_sub(columns);
                end
            })
        };
        let nodes = view.tree.with_nodes;
        let blockers = take(BLOCKERS, width >= 28 && !nodes && view.document.serious_below(0) > 0);
        let measured_width = MEASURED[usize::from(width < if nodes { 50 } else { 60 })];
        // Where there is room for one of a node's two numbers, it is its own.
        let measured = take(measured_width, if nodes { width >= 44 } else { width >= 30 });
        let status = take(STATUS, if nodes { width >= 30 } else { width >= 60 });
        let text = end.saturating_sub(1);
        // Two signs and a space come before a name, which may take up to six tenths of the room.
        let description = (view.tree.name_width + 8).min(text * 6 / 10);
        Columns { text, description, status, measured, measured_width, blockers }
    }
}

/// The columns' names, in the border above them.
pub(super) fn titles(canvas: &mut Canvas<'_>, place: Place, columns: &Columns) {
    let (view, style) = (canvas.view, canvas.theme.muted());
    let y = place.frame.y;
    let words = match (view.tree.with_nodes, columns.measured_width == MEASURED[0]) {
        (false, _) => [" status ", " measured "],
        (true, true) => [" isolated ", " accumulated "],
        (true, false) => [" isolated ", " accum. "],
    };
    for (column, word) in [columns.status, columns.measured].into_iter().zip(words) {
        if let Some(column) = column {
            let x = (usize::from(place.inner.x) + column).saturating_sub(1);
            if x > usize::from(place.frame.x) + place.title + 2 {
                text::put_text(canvas.buffer, x as u16, y, word.len(), word, style);
            }
        }
    }
    let (filtered, order) = (!view.tree.filter.is_empty(), order_words(view));
    if filtered || !order.is_empty() {
        let count = format!("{} of {}", view.tree.wanted(&view.document), view.document.len());
        let between = if filtered && !order.is_empty() { " · " } else { "" };
        let shown = format!(" {}{between}{order} ", if filtered { count.as_str() } else { "" });
        let x = usize::from(place.frame.x) + 1 + place.title + 1;
        let end = columns.status.or(columns.measured).unwrap_or(columns.text) + usize::from(place.inner.x);
        let room = end.saturating_sub(x + 2);
        // Where there is no room for both, the order stands in the border below.
        let shown = if filtered && text::width(&shown) > room { format!(" {count} ") } else { shown };
        if room > count.len() {
            text::put_text(canvas.buffer, x as u16, y, room, &shown, canvas.theme.notice());
        }
    }
}

/// In which order the modules stand, where that is not the tree's.
fn order_words(view: &View) -> String {
    let order = view.tree.order();
    match view.tree.is_grouped() {
        true if order == Order::Tree => "by class".to_owned(),
        true => format!("by class, {}", order.word()),
        false => order.words().unwrap_or_default(),
    }
}

/// The filter, and the order of what it wants, in the border below.
pub(super) fn foot(canvas: &mut Canvas<'_>, place: Place) {
    let (theme, tree, order) = (canvas.theme, &canvas.view.tree, order_words(canvas.view));
    if tree.filter.is_empty() {
        return;
    }
    let room = usize::from(place.frame.width).saturating_sub(4);
    let order = if order.is_empty() { order } else { format!("{order} · ") };
    let words = format!(" {order}filter: {} ", escape(&tree.filter.to_string()));
    let y = place.frame.bottom().saturating_sub(1);
    text::put_text(canvas.buffer, place.frame.x + 2, y, room, &text::clip(&words, room), theme.notice());
}

pub(super) fn draw_row(canvas: &mut Canvas<'_>, id: ModuleId, row: Rect, columns: &Columns) {
    let (theme, view) = (canvas.theme, canvas.view);
    let document = &view.document;
    let (Some(module), Some(triage)) = (document.module(id), document.triage(id)) else { return };
    let dimmed = view.tree.is_dimmed(id);
    let shade = |style: Style| if dimmed { theme.faint() } else { style };
    let selected = view.tree.selected == id && view.tree.node().is_none() && view.tree.head().is_none();
    let list = view.tree.list();
    let letters = Letters::of(canvas, id, module);

    let fold = match (view.tree.holds(document, id), view.tree.is_folded(id)) {
        _ if list.is_some() => ' ',
        (false, _) => ' ',
        (true, true) => glyphs::CLOSED,
        (true, false) => glyphs::OPEN,
    };
    let pad = indent(if list.is_some() { usize::from(view.tree.is_grouped()) } else { module.depth });
    let marked = mark(canvas, id);
    let taken = if marked.is_some() { 7 } else { 5 };
    let room = columns.text.saturating_sub(pad + taken);
    // In a list there is nothing above that says where it is: the whole path does, and its end says most.
    let name = match list {
        Some(_) if module.depth > 0 => {
            let room = if room > 40 { columns.description.saturating_sub(pad + taken) } else { room };
            text::clip_left(&quoted(&module.path), room)
        }
        _ => text::clip(&quoted(name_of(module)), room),
    };
    let before_description = columns.description.saturating_sub(pad + taken + text::width(&name)).max(1);
    let mut spans = vec![
        Span::styled(if selected { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
        Span::raw(" ".repeat(pad)),
        Span::styled(format!("{fold} "), shade(theme.muted())),
        Span::styled(format!("{} ", glyphs::status(triage.status)), shade(theme.status(triage.status))),
    ];
    spans.extend(marked.map(|(sign, style)| Span::styled(format!("{sign} "), shade(style))));
    spans.extend(letters.name(theme, &module.path, name, shade(theme.text())));
    spans.push(Span::raw(" ".repeat(before_description)));
    if let Some(says) = list.map(|list| list.says(id)).filter(|says| !says.is_empty()) {
        spans.push(Span::styled(format!("{says:>9}  "), shade(theme.key())));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    spans.extend(description(theme, document, id, columns.text.saturating_sub(used), dimmed, &letters));
    text::put(canvas.buffer, row.x, row.y, columns.text, &Line::from(spans));

    if view.tree.with_nodes {
        return node::sums(canvas, id, row, columns, dimmed);
    }
    if let Some(at) = columns.status {
        let word = status_word(triage);
        text::put_text(canvas.buffer, row.x + at as u16, row.y, STATUS, &word, shade(theme.status(triage.status)));
    }
    if let Some(at) = columns.measured {
        let width = columns.measured_width - 1;
        let (words, style) = measured(canvas, id, width);
        text::put_text(canvas.buffer, row.x + at as u16, row.y, width, &words, shade(style));
    }
    if let Some(at) = columns.blockers {
        let (own, worst) = document.serious(id);
        let hidden = if view.tree.is_folded(id) { document.serious_below(id) } else { own };
        if hidden > 0 {
            let words = format!("{}{hidden}", glyphs::FLAG);
            text::put_text(canvas.buffer, row.x + at as u16, row.y, BLOCKERS, &words, shade(theme.severity(worst)));
        }
    }
}

/// The sign of what is marked or noted of a module; of its class alone it is fainter.
fn mark(canvas: &Canvas<'_>, id: ModuleId) -> Option<(char, Style)> {
    let (theme, view) = (canvas.theme, canvas.view);
    let own = view.note(id).map(|note| (glyphs::note(note), theme.key()));
    own.or_else(|| view.class_note(id).map(|note| (glyphs::note(note), theme.muted())))
}

/// The status in a word; where something is assumed, what it is that is not known: `eps?`.
fn status_word(triage: &ModuleTriage) -> String {
    let (Some(first), true) = (triage.unknown.first(), triage.is_assumed()) else {
        return triage.status.name().to_owned();
    };
    let more = triage.unknown.len() - 1;
    let behind = if more > 0 { format!("? +{more}") } else { "?".to_owned() };
    let room = (STATUS - 1).saturating_sub(behind.len());
    format!("{}{behind}", text::clip(&quoted(first), room))
}

fn name_of(module: &Module) -> &str {
    if module.depth == 0 { if module.class.is_empty() { "model" } else { module.short_class() } } else { &module.name }
}

/// What a module is, its class a shade stronger than the rest; `~Conv2d?` where it is a guess.
fn description(
    theme: &Theme,
    document: &Document,
    id: ModuleId,
    room: usize,
    dimmed: bool,
    letters: &Letters,
) -> Vec<Span<'static>> {
    let Some(module) = document.module(id).filter(|module| module.depth > 0 && room >= 3) else { return Vec::new() };
    let words = (document.describe)(module);
    let words = sentence(&words);
    let whose = whose(document, id, module);
    let whose = whose.filter(|whose| text::width(whose) + text::width(module.short_class()) < room).unwrap_or_default();
    let (class, rest) = words.split_once(' ').unwrap_or((&words, ""));
    let class = if module.evidence == Evidence::Inferred && !class.is_empty() {
        let others = module.alternatives.iter().map(|other| other.rsplit('.').next().unwrap_or(""));
        let others: String = others.filter(|other| !words.contains(other)).map(|other| format!("|{other}")).collect();
        format!("~{class}{}?", quoted(&others))
    } else {
        class.to_owned()
    };
    let room = room - text::width(&whose);
    let class = text::clip(&class, room);
    let rest = text::clip(rest, room.saturating_sub(text::width(&class) + 1));
    let (strong, weak) = if dimmed { (theme.faint(), theme.faint()) } else { (theme.text(), theme.muted()) };
    // Before a class that is a guess stands a sign.
    let offset = u32::from(class.starts_with('~'));
    let places: Vec<u32> = letters.class.iter().map(|at| at + offset).collect();
    let mut spans = vec![Span::styled(whose, weak)];
    spans.extend(marked(theme, &class, &places, strong));
    spans.extend([Span::raw(" "), Span::styled(rest, weak)]);
    spans
}

/// Whose class it is, of one whose forward has to be ported: `timm's `.
fn whose(document: &Document, id: ModuleId, module: &Module) -> Option<String> {
    let custom = document.triage(id).is_some_and(|triage| triage.status == Status::Custom) && !module.class.is_empty();
    custom.then(|| prefix(owner(&module.class, document.triage.source(&module.class))))
}

/// What is said of a module that was not measured by itself, and whose nodes were all run.
const IN_GRAPH: &str = "in graph";

/// The cell that says what was measured: of the layer, or of those below it. How many forwards are left to port there stands
/// beside it, since no layer's measurement says anything of them.
fn measured(canvas: &Canvas<'_>, id: ModuleId, width: usize) -> (String, Style) {
    let (theme, view) = (canvas.theme, canvas.view);
    if let Some(layer) = view.measured.layer(id) {
        return match &layer.progress {
            Progress::Queued => ("· queued".to_owned(), theme.muted()),
            Progress::Running(trials) => {
                (format!("{} {}/{trials}", canvas.spinner(), layer.trials.len()), theme.running())
            }
            Progress::Done(..) if layer.no_engine => ("· no engine".to_owned(), theme.muted()),
            Progress::Done(verdict, _) => {
                let number = match (verdict, layer.worst()) {
                    (Verdict::Ok | Verdict::Drift | Verdict::Broken, Some(trial)) => {
                        trial.max_abs().map_or_else(|| verdict.name().to_owned(), text::error)
                    }
                    _ if view.measured.is_by_definition(id) => "by def.".to_owned(),
                    _ => verdict.name().to_owned(),
                };
                let assumed = if view.measured.is_assumed(id) { "~" } else { "" };
                (format!("{} {number}{assumed}", glyphs::verdict(*verdict)), theme.verdict(*verdict))
            }
        };
    }
    if let Some(verdict) = view.measured.stale(id).and_then(|stale| stale.layer.verdict()) {
        return (format!("{} stale", glyphs::verdict(verdict)), theme.faint());
    }
    let sum = view.measured.sum(id);
    if !sum.is_empty() {
        let sign = match sum.worst() {
            _ if sum.running > 0 => format!(" {}", canvas.spinner()),
            Some(worst) => format!(" {}", glyphs::verdict(worst)),
            None => String::new(),
        };
        let (passed, all) = (sum.passed(), view.document.to_measure(id));
        let (passed_assumed, all_assumed) = (sum.passed_as_assumed(), view.document.assumed(id));
        let nothing_else = all + all_assumed == 0 && sum.running == 0 && to_port(&view.document, id).is_none();
        if nothing_else && sum.by_definition > 0 {
            return (format!("{} by def.", glyphs::verdict(Verdict::Exact)), theme.verdict(Verdict::Exact));
        }
        // What was measured with assumed values stands beside the rest, never in its sum.
        let assumed = format!("{passed_assumed}/{all_assumed}~");
        let (score, short) = match (all, all_assumed) {
            (_, 0) => (format!("{passed}/{all}"), passed.to_string()),
            (0, _) => (assumed, format!("{passed_assumed}~")),
            _ => (format!("{passed}/{all} {assumed}"), format!("{passed}+{passed_assumed}~")),
        };
        let words = match to_port(&view.document, id) {
            Some(port) => {
                let full = format!("{score}{sign} {port}");
                if text::width(&full) <= width { full } else { format!("{short}{sign} {port}") }
            }
            None if text::width(&score) + text::width(&sign) > width => format!("{short}{sign}"),
            None => format!("{score}{sign}"),
        };
        let style = match sum.worst() {
            Some(worst) if sum.running == 0 || !worst.passes() => theme.verdict(worst),
            None if sum.running == 0 => theme.muted(),
            _ => theme.running(),
        };
        return (words, style);
    }
    if let Some(found) = view.ran.in_graph(id) {
        let verdict = if found == InGraph::Agrees { Verdict::Ok } else { Verdict::Broken };
        let words = if width >= IN_GRAPH.len() + 2 { IN_GRAPH } else { "graph" };
        return (format!("{} {words}", glyphs::verdict(verdict)), theme.verdict(verdict));
    }
    let triage = view.document.triage(id);
    let folded = view.tree.is_folded(id);
    match triage.and_then(|triage| triage.difficulty) {
        Some(difficulty) => (difficulty.name().to_owned(), theme.muted()),
        None if triage.is_some_and(|triage| triage.plan.is_some() || triage.is_assumed()) => {
            ("·".to_owned(), theme.faint())
        }
        None => {
            let port = to_port(&view.document, id).filter(|_| folded).unwrap_or_default();
            let words = format!("{port} to port");
            (if port.is_empty() || text::width(&words) > width { port } else { words }, theme.status(Status::Custom))
        }
    }
}

/// How many forwards are left to port at a module and below it, if any are.
fn to_port(document: &Document, id: ModuleId) -> Option<String> {
    match (document.to_port(id), document.unsaid(id)) {
        (0, 0) => None,
        (0, _) => Some(format!("{}?", glyphs::status(Status::Custom))),
        (count, _) => Some(format!("{}{count}", glyphs::status(Status::Custom))),
    }
}

/// The sign of what was measured of a module or below it, if anything was.
pub(in crate::tui::panes) fn sign(canvas: &Canvas<'_>, id: ModuleId) -> Option<(char, Style)> {
    let (theme, view) = (canvas.theme, canvas.view);
    let verdict = match view.measured.layer(id).map(|layer| &layer.progress) {
        Some(Progress::Running(_)) => return Some((canvas.spinner(), theme.running())),
        Some(Progress::Queued) => return None,
        Some(Progress::Done(..)) if view.measured.layer(id).is_some_and(|layer| layer.no_engine) => return None,
        Some(Progress::Done(verdict, _)) => *verdict,
        None => view.measured.sum(id).worst()?,
    };
    Some((glyphs::verdict(verdict), theme.verdict(verdict)))
}
