//! The module tree: one row a module, with its status and what was measured of it.
//!
//! `rows` is rebuilt when a fold or the filter changes, never for a frame, so that a frame costs the rows on screen.

mod filter;

use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Behaviour, Pane, Place, View};
pub use filter::Filter;

use crate::compare::Verdict;
use crate::findings::forwards::prefix;
use crate::model::{Evidence, Module, ModuleId};
use crate::triage::{ModuleTriage, Status, owner};
use crate::tui::action::Command;
use crate::tui::areas::{Areas, Rows};
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::document::Document;
use crate::tui::glyphs;
use crate::tui::scroll::{distance, moved};
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::verify::{Progress, Results};
use t2m_checkpoint::escape::{quoted, sentence};

/// Widest indentation in columns; deeper modules are not moved further right.
const MAX_INDENT: usize = 24;

/// The tree pane.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// The module the cursor is on.
    pub selected: ModuleId,
    /// First row on screen. Drawing may show another one, to keep the selection in view.
    pub top: usize,
    /// Whether the view follows the selection; the wheel lets go of it.
    pub follow: bool,
    /// The filter.
    pub filter: Filter,
    /// The modules on show, in order.
    pub rows: Vec<ModuleId>,
    /// Widest indentation and name among the rows, in columns.
    pub name_width: usize,
    folded: Vec<bool>,
    /// With a filter: whether the module itself is wanted, and whether it or a descendant is.
    wanted: Vec<(bool, bool)>,
}

impl Tree {
    /// A tree with everything below `depth` folded.
    pub fn new(document: &Document, depth: usize) -> Tree {
        let folded = document.model.modules.iter().map(|module| module.depth >= depth).collect();
        let mut tree = Tree { folded, follow: true, ..Tree::default() };
        tree.rebuild(document);
        tree
    }

    /// Fold what another tree of the same file has folded, and filter as it does; [`Tree::apply_filter`] follows.
    pub fn take_over(&mut self, other: &Tree, old: &Document, new: &Document) {
        for (id, module) in new.model.modules.iter().enumerate() {
            if let Some(before) = old.model.find(&module.path) {
                // What had nothing below it was not folded by anybody.
                if old.module(before).is_some_and(|module| !module.is_leaf(before)) {
                    self.set_fold(id, other.is_folded(before));
                }
            }
        }
        self.filter = other.filter.clone();
    }

    /// Whether the module's children are hidden.
    pub fn is_folded(&self, id: ModuleId) -> bool {
        self.folded.get(id).copied().unwrap_or(false)
    }

    /// Whether it is shown only because of a module below it.
    pub fn is_dimmed(&self, id: ModuleId) -> bool {
        self.wanted.get(id).is_some_and(|wanted| !wanted.0)
    }

    /// Row of a module, if it is on show.
    pub fn row_of(&self, id: ModuleId) -> Option<usize> {
        self.rows.binary_search(&id).ok()
    }

    /// Row of the selection.
    pub fn selected_row(&self) -> usize {
        self.row_of(self.selected).unwrap_or(0)
    }

    /// Go to a row, or to the last one.
    pub fn select_row(&mut self, row: usize) {
        if let Some(&id) = self.rows.get(row.min(self.rows.len().saturating_sub(1))) {
            self.selected = id;
        }
        self.follow = true;
    }

    /// Go down by this many rows, or up.
    pub fn step(&mut self, by: i64) {
        self.select_row((self.selected_row() as i64).saturating_add(by).max(0) as usize);
    }

    /// Go to a module, and unfold what hides it. A filter that hides it is dropped.
    pub fn reveal(&mut self, document: &Document, id: ModuleId) {
        let mut parent = document.module(id).and_then(|module| module.parent);
        let mut changed = false;
        while let Some(at) = parent {
            changed |= self.set_fold(at, false);
            parent = document.module(at).and_then(|module| module.parent);
        }
        if self.wanted.get(id).is_some_and(|wanted| !wanted.1) {
            self.filter = Filter::default();
            self.wanted.clear();
            changed = true;
        }
        self.selected = id;
        self.follow = true;
        if changed {
            self.rebuild(document);
        }
    }

    /// Fold or unfold one module.
    pub fn toggle(&mut self, document: &Document, id: ModuleId) {
        if document.module(id).is_some_and(|module| !module.is_leaf(id)) {
            self.set_fold(id, !self.is_folded(id));
            self.rebuild(document);
        }
    }

    /// Fold, or go to the parent where there is nothing to fold.
    pub fn leave(&mut self, document: &Document) {
        let Some(module) = document.module(self.selected) else { return };
        if !module.is_leaf(self.selected) && !self.is_folded(self.selected) {
            self.toggle(document, self.selected);
        } else if let Some(parent) = module.parent {
            self.selected = parent;
        }
        self.follow = true;
    }

    /// Unfold, or go to the first child where that is done.
    pub fn enter(&mut self, document: &Document) {
        let Some(module) = document.module(self.selected) else { return };
        if module.is_leaf(self.selected) {
            return;
        }
        if self.is_folded(self.selected) {
            self.toggle(document, self.selected);
        } else {
            self.step(1);
        }
    }

    /// Fold everything but the root, or unfold everything.
    pub fn fold_all(&mut self, document: &Document, fold: bool) {
        for (folded, module) in self.folded.iter_mut().zip(&document.model.modules) {
            *folded = fold && module.depth > 0;
        }
        self.rebuild(document);
    }

    /// Apply the filter, and unfold what it wants.
    pub fn apply_filter(&mut self, document: &Document, measured: &Results) {
        self.wanted.clear();
        if !self.filter.is_empty() {
            self.wanted = (0..document.len())
                .map(|id| self.filter.wants(document, measured, id))
                .map(|wanted| (wanted, wanted))
                .collect();
            for id in (1..document.len()).rev() {
                let parent = document.module(id).and_then(|module| module.parent);
                if let (Some(&(_, true)), Some(parent)) = (self.wanted.get(id), parent) {
                    if let Some(above) = self.wanted.get_mut(parent) {
                        above.1 = true;
                    }
                    self.set_fold(parent, false);
                }
            }
        }
        self.rebuild(document);
    }

    /// Number of modules the filter wants; all without one.
    pub fn wanted(&self, document: &Document) -> usize {
        if self.wanted.is_empty() { document.len() } else { self.wanted.iter().filter(|wanted| wanted.0).count() }
    }

    /// Returns whether that changed anything.
    fn set_fold(&mut self, id: ModuleId, fold: bool) -> bool {
        match self.folded.get_mut(id) {
            Some(folded) if *folded != fold => {
                *folded = fold;
                true
            }
            _ => false,
        }
    }

    fn rebuild(&mut self, document: &Document) {
        self.rows.clear();
        self.name_width = 0;
        let mut id = 0;
        while let Some(module) = document.module(id) {
            let after = module.end.max(id + 1);
            if self.wanted.get(id).is_some_and(|wanted| !wanted.1) {
                id = after;
                continue;
            }
            self.rows.push(id);
            let width = indent(module.depth) + module.name.chars().count();
            self.name_width = self.name_width.max(width);
            id = if self.is_folded(id) { after } else { id + 1 };
        }
        self.keep_selection(document);
    }

    /// A selection that is no longer on show moves to the nearest ancestor that is.
    fn keep_selection(&mut self, document: &Document) {
        let mut at = Some(self.selected);
        while let Some(id) = at {
            if self.row_of(id).is_some() {
                self.selected = id;
                return;
            }
            at = document.module(id).and_then(|module| module.parent);
        }
        self.selected = self.rows.first().copied().unwrap_or(0);
    }
}

/// The tree as a pane.
pub(super) struct TreePane;

impl Behaviour for TreePane {
    fn title(&self) -> &'static str {
        "Modules"
    }

    fn command(&self, command: Command, context: &mut Context<'_>) -> bool {
        let page = context.areas.page(Pane::Tree);
        let View { tree, document, .. } = &mut *context.view;
        match (command, distance(command, page)) {
            (Command::Right, _) => tree.enter(document),
            (Command::Left, _) => tree.leave(document),
            (_, Some(by)) => tree.step(by),
            (_, None) => return false,
        }
        true
    }

    fn command_anywhere(&self, command: Command, context: &mut Context<'_>) -> bool {
        let View { tree, document, .. } = &mut *context.view;
        match command {
            Command::Fold => tree.toggle(document, tree.selected),
            Command::FoldAll | Command::UnfoldAll => tree.fold_all(document, command == Command::FoldAll),
            _ => return false,
        }
        true
    }

    /// A row is selected; its marker folds it.
    fn click(&self, at: Position, rows: Rows, context: &mut Context<'_>) {
        let View { tree, document, .. } = &mut *context.view;
        tree.follow = true;
        let Some(&id) = rows.at(at).and_then(|row| tree.rows.get(row)) else { return };
        tree.selected = id;
        let depth = document.module(id).map_or(0, |module| module.depth);
        let marker = usize::from(rows.area.x) + 1 + indent(depth);
        if (marker..marker + 2).contains(&usize::from(at.x)) {
            tree.toggle(document, id);
        }
    }

    fn scroll(&self, rows: i64, view: &mut View, _areas: &Areas) {
        view.tree.top = moved(view.tree.top, rows, view.tree.rows.len().saturating_sub(1));
        view.tree.follow = false;
    }

    fn drawn(&self, rows: Rows, view: &mut View) {
        view.tree.top = rows.top;
    }

    fn draw(&self, canvas: &mut Canvas<'_>, place: Place) {
        let (view, area) = (canvas.view, place.inner);
        let columns = Columns::new(view, usize::from(area.width));
        titles(canvas, place, &columns);
        let (row, height, count) = (view.tree.selected_row(), usize::from(area.height), view.tree.rows.len());
        let top = if view.tree.follow {
            scroll_to(view.tree.top, row, height, count)
        } else {
            view.tree.top.min(count.saturating_sub(height))
        };
        canvas.areas.panes.push((Pane::Tree, Rows { area, top, count }));
        if count == 0 {
            let (words, style) = (" nothing passes the filter", canvas.theme.muted());
            text::put_text(canvas.buffer, area.x, area.y, usize::from(area.width), words, style);
        }
        for (&id, y) in view.tree.rows.iter().skip(top).zip(area.top()..area.bottom()) {
            draw_row(canvas, id, Rect { y, height: 1, ..area }, place.focus, &columns);
        }
        place.scrollbar(canvas, top, height, count);
    }
}

/// Columns that a module of that depth is moved right.
fn indent(depth: usize) -> usize {
    depth.saturating_mul(2).min(MAX_INDENT)
}

/// First row to show so that `row` is among `height` rows out of `count`, moving as little as possible.
fn scroll_to(top: usize, row: usize, height: usize, count: usize) -> usize {
    let top = if row < top { row } else { top.max((row + 1).saturating_sub(height)) };
    top.min(count.saturating_sub(height))
}

/// Columns of the right-hand side, from the left: where each begins, counted from the pane's left edge.
struct Columns {
    /// End of name and description.
    text: usize,
    /// Where descriptions begin.
    description: usize,
    status: Option<usize>,
    measured: Option<usize>,
    /// Columns of what was measured.
    measured_width: usize,
    blockers: Option<usize>,
}

const STATUS: usize = 12;
/// Columns of what was measured, with and without much room.
const MEASURED: [usize; 2] = [14, 10];
const BLOCKERS: usize = 4;

impl Columns {
    fn new(view: &View, width: usize) -> Columns {
        let mut end = width;
        let mut take = |columns: usize, wanted: bool| {
            wanted.then(|| {
                end = end.saturating_sub(columns);
                end
            })
        };
        let blockers = take(BLOCKERS, width >= 28 && view.document.serious_below(0) > 0);
        let measured_width = MEASURED[usize::from(width < 60)];
        let measured = take(measured_width, width >= 30);
        let status = take(STATUS, width >= 60);
        let text = end.saturating_sub(1);
        // Two signs and a space come before a name, which may take up to six tenths of the room.
        let description = (view.tree.name_width + 8).min(text * 6 / 10);
        Columns { text, description, status, measured, measured_width, blockers }
    }
}

/// The columns' names, in the border above them.
fn titles(canvas: &mut Canvas<'_>, place: Place, columns: &Columns) {
    let (view, style) = (canvas.view, canvas.theme.muted());
    let y = place.frame.y;
    for (column, word) in [(columns.status, " status "), (columns.measured, " measured ")] {
        if let Some(column) = column {
            let x = (usize::from(place.inner.x) + column).saturating_sub(1);
            if x > usize::from(place.frame.x) + place.title + 2 {
                text::put_text(canvas.buffer, x as u16, y, word.len(), word, style);
            }
        }
    }
    if !view.tree.filter.is_empty() {
        let shown = format!(" {} of {} ", view.tree.wanted(&view.document), view.document.len());
        let x = usize::from(place.frame.x) + 1 + place.title + 1;
        let end = columns.status.or(columns.measured).unwrap_or(columns.text) + usize::from(place.inner.x);
        if x + shown.len() + 1 < end {
            text::put_text(canvas.buffer, x as u16, y, shown.len(), &shown, canvas.theme.notice());
        }
    }
}

fn draw_row(canvas: &mut Canvas<'_>, id: ModuleId, row: Rect, focus: bool, columns: &Columns) {
    let (theme, view) = (canvas.theme, canvas.view);
    let document = &view.document;
    let (Some(module), Some(triage)) = (document.module(id), document.triage(id)) else { return };
    let dimmed = view.tree.is_dimmed(id);
    let shade = |style: Style| if dimmed { theme.faint() } else { style };
    let selected = view.tree.selected == id;
    let found = canvas.found.binary_search(&id).is_ok();
    let name_style = if found { theme.found() } else { shade(theme.text()) };

    let fold = match (module.is_leaf(id), view.tree.is_folded(id)) {
        (true, _) => ' ',
        (false, true) => glyphs::CLOSED,
        (false, false) => glyphs::OPEN,
    };
    let pad = indent(module.depth);
    let room = columns.text.saturating_sub(pad + 5);
    let name = text::clip(&quoted(name_of(module)), room);
    let before_description = columns.description.saturating_sub(pad + 5 + text::width(&name)).max(1);
    let mut spans = vec![
        Span::styled(if selected { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
        Span::raw(" ".repeat(pad)),
        Span::styled(format!("{fold} "), shade(theme.muted())),
        Span::styled(format!("{} ", glyphs::status(triage.status)), shade(theme.status(triage.status))),
        Span::styled(name, name_style),
        Span::raw(" ".repeat(before_description)),
    ];
    let used: usize = spans.iter().map(Span::width).sum();
    spans.extend(description(theme, document, id, columns.text.saturating_sub(used), dimmed));
    text::put(canvas.buffer, row.x, row.y, columns.text, &Line::from(spans));

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
    if selected {
        canvas.overlay(row, theme.selection(focus));
    }
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
fn description(theme: &Theme, document: &Document, id: ModuleId, room: usize, dimmed: bool) -> Vec<Span<'static>> {
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
    vec![Span::styled(whose, weak), Span::styled(class, strong), Span::raw(" "), Span::styled(rest, weak)]
}

/// Whose class it is, of one whose forward has to be ported: `timm's `.
fn whose(document: &Document, id: ModuleId, module: &Module) -> Option<String> {
    let custom = document.triage(id).is_some_and(|triage| triage.status == Status::Custom) && !module.class.is_empty();
    custom.then(|| prefix(owner(&module.class, document.triage.source(&module.class))))
}

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
    let sum = view.measured.sum(id);
    if !sum.is_empty() {
        let sign = match sum.worst() {
            _ if sum.running > 0 => format!(" {}", canvas.spinner()),
            Some(worst) => format!(" {}", glyphs::verdict(worst)),
            None => String::new(),
        };
        let (passed, all) = (sum.passed(), view.document.to_measure(id));
        let (passed_assumed, all_assumed) = (sum.passed_as_assumed(), view.document.assumed(id));
        if all + all_assumed == 0 && sum.running == 0 && sum.by_definition > 0 {
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
pub(super) fn sign(canvas: &Canvas<'_>, id: ModuleId) -> Option<(char, Style)> {
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

#[cfg(test)]
mod tests {
    use super::scroll_to;

    #[test]
    fn scrolling_moves_as_little_as_it_can() {
        assert_eq!(scroll_to(0, 5, 10, 100), 0);
        assert_eq!(scroll_to(0, 10, 10, 100), 1);
        assert_eq!(scroll_to(50, 20, 10, 100), 20);
        assert_eq!(scroll_to(95, 99, 10, 100), 90, "no empty rows below the last");
        assert_eq!(scroll_to(7, 3, 10, 4), 0);
        assert_eq!(scroll_to(3, 2, 0, 4), 2, "a pane without rows");
    }
}
