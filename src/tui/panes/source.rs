//! The source of the selected module's class, or of the nearest one around it: code, blockers under their lines, and
//! notes where a line calls a child. It follows the selection in the tree, and its lines lead back there.

mod node;
mod sheet;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ratatui::layout::Position;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Behaviour, Pane, Place, View};
use crate::model::{Evidence, ModuleId};
use crate::registry::library;
use crate::tui::action::{Command, Effect, HighlightJob, Highlighted};
use crate::tui::areas::{Areas, Rows, Shape};
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::document::{self, Document, Shown};
use crate::tui::scroll::{distance, moved};
use crate::tui::text;
use sheet::Sheet;
use t2m_checkpoint::escape::{escape, quoted, sentence};

/// About how many rows the note of a blocker takes.
const NOTE_ROWS: usize = 3;
/// Columns that a key moves the code sideways, and how far it goes.
const SIDEWAYS: (usize, usize) = (8, 200);
/// Lines coloured at once, around those on show.
const HIGHLIGHT_MARGIN: usize = 150;

/// What the pane knows.
#[derive(Debug, Clone)]
pub struct Source {
    /// The module whose class is shown.
    pub owner: Option<ModuleId>,
    /// First line on show, 1-based.
    pub top: usize,
    /// Columns scrolled away on the left.
    pub left: usize,
    /// The line that something points at.
    pub line: Option<usize>,
    /// The line that the user chose by its links, as long as this module is selected.
    pub chosen: Option<(ModuleId, usize)>,
    /// A line to go to, once the pane is on show.
    jump: Option<usize>,
    /// The node whose line is shown.
    node: Option<u32>,
    /// Colours, by class.
    colours: HashMap<String, Highlighted>,
    /// The class and lines whose colours were asked for last.
    asked: Option<(String, Range<usize>)>,
}

impl Default for Source {
    fn default() -> Source {
        Source {
            owner: None,
            top: 1,
            left: 0,
            line: None,
            chosen: None,
            jump: None,
            node: None,
            colours: HashMap::new(),
            asked: None,
        }
    }
}

impl Source {
    /// Lines have their colours now.
    pub fn colour(&mut self, done: Highlighted) {
        self.colours.insert(done.class.clone(), done);
    }
}

/// The source as a pane.
pub(super) struct SourcePane;

impl Behaviour for SourcePane {
    fn title(&self) -> &'static str {
        "Source"
    }

    fn command(&self, command: Command, context: &mut Context<'_>) -> bool {
        let source = &mut context.view.source;
        let (step, most) = SIDEWAYS;
        match (command, distance(command, context.areas.page(Pane::Source))) {
            (Command::Right, _) => source.left = (source.left + step).min(most),
            (Command::Left, _) => source.left = source.left.saturating_sub(step),
            (Command::Fold, _) if context.view.tree.node().is_some() => return false,
            (Command::Fold, _) => {
                if !follow_link(context.view) {
                    context.say("no module is named in that line: } goes to the next that names one");
                }
            }
            (_, Some(by)) => self.scroll(by, context.view, context.areas),
            (_, None) => return false,
        }
        true
    }

    fn command_anywhere(&self, command: Command, context: &mut Context<'_>) -> bool {
        match command {
            Command::NextBlocker | Command::PreviousBlocker => {
                let view = &mut *context.view;
                match view.document.blocker_from(place(view), command == Command::NextBlocker) {
                    Some(place) => go_to(view, place, context.areas.shape),
                    None => context.say("no blockers in the source that was found"),
                }
            }
            Command::NextLink | Command::PreviousLink => {
                context.view.tree.leave_node();
                context.view.show(Pane::Source, context.areas.shape);
                if !step_link(context.view, command == Command::NextLink) {
                    context.say("no line of the source names a module");
                }
            }
            Command::Edit => edit(context),
            _ => return false,
        }
        true
    }

    /// A line that names a child selects it.
    fn click(&self, at: Position, _rows: Rows, context: &mut Context<'_>) {
        if let Some(&(_, child)) = context.areas.links.iter().find(|(area, _)| area.contains(at)) {
            context.view.tree.reveal(&context.view.document, child);
        }
    }

    fn scroll(&self, rows: i64, view: &mut View, areas: &Areas) {
        let of_node = node::shown(view).map(|(_, text, _)| text.text.lines().count());
        let of_class = || view.document.source(view.tree.selected).map(|shown| shown.source.text.lines().count());
        let lines = if view.tree.node().is_some() { of_node } else { of_class() }.unwrap_or(1);
        let last = lines.saturating_sub(areas.page(Pane::Source) / 2);
        view.source.top = moved(view.source.top, rows, last).max(1);
    }

    fn follow(&self, context: &mut Context<'_>) {
        // Where to scroll depends on the height, so it waits until the pane was drawn once.
        let Some(rows) = context.areas.pane(Pane::Source) else { return };
        let job = if let Some(node) = context.view.tree.node() {
            node::follow(context.view, node, usize::from(rows.area.height));
            node::job(context.view)
        } else {
            context.view.source.node = None;
            follow_selection(context.view, usize::from(rows.area.height));
            class_job(context.view)
        };
        let colours = job.and_then(|(key, text)| ask_for_colours(context.view, key, text, rows.page(), context.dark));
        context.effects.extend(colours);
    }

    fn draw(&self, canvas: &mut Canvas<'_>, place: Place) {
        let (view, area) = (canvas.view, place.inner);
        if view.tree.node().is_some() {
            return node::draw(canvas, place);
        }
        let Some(shown) = view.document.source(view.tree.selected) else {
            canvas.areas.panes.push((Pane::Source, Rows { area, top: 0, count: 0 }));
            return no_source(canvas, place);
        };
        titles(canvas, shown, place);
        Sheet::new(canvas.theme, view, shown, area).draw(canvas);
        let rows = Rows { area, top: view.source.top.saturating_sub(1), count: shown.source.text.lines().count() };
        canvas.areas.panes.push((Pane::Source, rows));
        place.scrollbar(canvas, rows.top, usize::from(area.height), rows.count);
    }
}

/// The file and the line that are on show: the line that something points at, or the first of the forward.
pub(in crate::tui) fn place_shown(view: &View) -> Option<(String, usize)> {
    if view.tree.node().is_some() {
        let (_, text, line) = node::shown(view)?;
        return Some((text.path.to_string_lossy().into_owned(), line));
    }
    let source = view.document.source(view.tree.selected)?.source;
    let first = source.forward.as_ref().map_or(source.class_line, |lines| lines.start);
    // Who scrolls the source means what is on show there.
    let scrolled = Some(view.source.top).filter(|_| view.focus == Pane::Source);
    Some((source.file.clone(), view.source.line.or(scrolled).unwrap_or(first)))
}

/// Let the user's editor show that line.
fn edit(context: &mut Context<'_>) {
    match place_shown(context.view) {
        None => context.say("no source is shown, so there is no file to open"),
        Some((file, _)) if !Path::new(&file).is_file() => {
            context.say(&format!("{file} is no file of its own: the source is held by the checkpoint or the program"));
        }
        Some((file, line)) => context.effects.push(Effect::Edit(file, line)),
    }
}

/// Go to a module and a line of its source.
pub fn go_to(view: &mut View, place: document::Place, shape: Shape) {
    view.tree.reveal(&view.document, place.module);
    view.show(Pane::Source, shape);
    (view.source.chosen, view.source.jump) = (None, Some(place.line));
}

/// Where a jump to the next blocker starts.
fn place(view: &View) -> document::Place {
    let selected = view.tree.selected;
    let source = view.document.module(selected).and_then(|module| view.document.triage.source(&module.class));
    // A blocker in a file of a base class is shown at the class.
    let at = |file: &str, line: usize| match source {
        Some(source) if source.file != file => source.class_line,
        _ => line,
    };
    let mut lines = view.document.blockers(selected).map(|(file, blocker, _)| at(file, blocker.line));
    let line = view.source.line.filter(|line| lines.any(|known| known == *line));
    document::Place { module: selected, line: line.unwrap_or(0) }
}

/// Lines of the source on show that name a child, each with the first child that it names, in order.
fn links(view: &View) -> Vec<(usize, ModuleId)> {
    let document = &view.document;
    let Some(shown) = document.source(view.tree.selected) else { return Vec::new() };
    let named = shown.source.builds.iter().chain(&shown.source.mentions);
    let mut lines: Vec<(usize, ModuleId)> =
        named.filter_map(|(line, name)| Some((*line, document.child(shown.owner, name)?))).collect();
    lines.sort_by_key(|(line, _)| *line);
    lines.dedup_by_key(|(line, _)| *line);
    lines
}

/// Point at the next (or previous) line that names a child. Returns whether there is one.
fn step_link(view: &mut View, forward: bool) -> bool {
    let lines = links(view);
    let here = view.source.line.unwrap_or(0);
    let next = if forward {
        lines.iter().find(|(line, _)| *line > here).or(lines.first())
    } else {
        lines.iter().rev().find(|(line, _)| *line < here).or(lines.last())
    };
    let Some((line, _)) = next else { return false };
    view.source.chosen = Some((view.tree.selected, *line));
    true
}

/// Select the child that the marked line names. Returns whether it names one.
fn follow_link(view: &mut View) -> bool {
    let at = view.source.line;
    let Some((_, child)) = links(view).into_iter().find(|(line, _)| Some(*line) == at) else { return false };
    view.tree.reveal(&view.document, child);
    true
}

/// Show what belongs to the selection: its class, and the line that calls it. The pane is `height` rows high.
fn follow_selection(view: &mut View, height: usize) {
    let document = view.document.clone();
    let selected = view.tree.selected;
    let Some(shown) = document.source(selected) else {
        view.source.owner = None;
        view.source.line = None;
        return;
    };
    let child = document.child_towards(shown.owner, selected).and_then(|child| document.module(child));
    let called = child.and_then(|child| shown.source.mentions.iter().find(|(_, name)| *name == child.name));
    let called = called.map(|(line, _)| *line);
    let arrived = view.source.owner != Some(shown.owner);
    if arrived {
        let forward = shown.source.forward.clone().unwrap_or(shown.source.class_line..shown.source.class_line + 1);
        let whole_class = rows_between(&document, shown, shown.source.class_line, forward.end) <= height;
        let first = if whole_class { shown.source.class_line } else { forward.start.saturating_sub(1).max(1) };
        view.source.owner = Some(shown.owner);
        view.source.left = 0;
        view.source.line = None;
        view.source.top = first;
        // A file that fits is shown from its beginning.
        if rows_between(&document, shown, 1, shown.source.text.lines().count() + 1) <= height {
            view.source.top = 1;
        }
    }
    let chosen = view.source.chosen.filter(|(module, _)| *module == selected);
    view.source.chosen = chosen;
    if let Some((_, line)) = chosen {
        if view.source.line != Some(line) {
            point_at(view, shown, line, height);
        }
    } else if let Some(line) = view.source.jump.take() {
        point_at(view, shown, line, height);
    } else if called.is_some() && view.source.line != called {
        view.source.line = called;
        point_at(view, shown, called.unwrap_or(1), height);
    } else if called.is_none() && !document.blockers(selected).any(|(_, at, _)| Some(at.line) == view.source.line) {
        view.source.line = None;
    }
}

/// Rows that these lines take, including the notes of their blockers.
fn rows_between(document: &Document, shown: Shown<'_>, first: usize, end: usize) -> usize {
    let own = document.blockers(shown.owner).filter(|(file, ..)| *file == shown.source.file);
    let notes = own.filter(|(_, blocker, _)| (first..end).contains(&blocker.line)).count();
    end.saturating_sub(first) + notes * NOTE_ROWS
}

/// Highlight a line, and scroll to it where it is out of view.
fn point_at(view: &mut View, shown: Shown<'_>, line: usize, height: usize) {
    view.source.line = Some(line);
    let document = Arc::clone(&view.document);
    if line < view.source.top || rows_between(&document, shown, view.source.top, line + 1) > height {
        view.source.top = line.saturating_sub(height / 3).max(1);
    }
}

/// The lines on show may not have their colours yet.
fn ask_for_colours(view: &mut View, class: String, text: Arc<str>, page: usize, dark: bool) -> Option<Effect> {
    let count = text.lines().count();
    let top = view.source.top.min(count.max(1));
    let wanted = top..(top + page).min(count + 1);
    let covers = |lines: &Range<usize>| lines.start <= wanted.start && lines.end >= wanted.end;
    let here = view.source.colours.get(&class).is_some_and(|colours| covers(&colours.lines));
    let asked = view.source.asked.as_ref().is_some_and(|(asked, lines)| *asked == class && covers(lines));
    if here || asked {
        return None;
    }
    let lines = wanted.start.saturating_sub(HIGHLIGHT_MARGIN).max(1)..(wanted.end + HIGHLIGHT_MARGIN).min(count + 1);
    view.source.asked = Some((class.clone(), lines.clone()));
    Some(Effect::Highlight(HighlightJob { class, text, lines, dark }))
}

/// The text that is coloured where the source of a class is shown, by the class.
fn class_job(view: &View) -> Option<(String, Arc<str>)> {
    let shown = view.document.source(view.tree.selected)?;
    let class = view.document.module(shown.owner)?.class.to_string();
    Some((class, shown.source.text.clone()))
}

fn titles(canvas: &mut Canvas<'_>, shown: Shown<'_>, place: Place) {
    let (theme, document, source) = (canvas.theme, &canvas.view.document, shown.source);
    let line = source.forward.as_ref().map_or(source.class_line, |forward| forward.start);
    let class = document.module(shown.owner).map_or("", |module| module.short_class());
    let what = if source.forward.is_some() { format!("{class}.forward") } else { class.to_owned() };
    // The line number has to stay, and the last part of the path says most.
    let room = usize::from(place.frame.width).saturating_sub(place.title + text::width(&quoted(&what)) + 9);
    let at = format!("{}:{line}", escape(document.folders.short(&source.file)));
    let at = text::clip_left(&at, room.max(12));
    let left = Line::from(vec![
        Span::styled("─ ", theme.border(place.focus)),
        Span::styled(quoted(&what).into_owned(), theme.text().add_modifier(Modifier::BOLD)),
        Span::styled(format!("  {at} "), theme.muted()),
    ]);
    let ops = document.module(shown.owner).and_then(|module| document.ops.get(module.class.as_str()));
    let ops = ops.filter(|ops| ops.total() > 0).map_or(String::new(), |ops| format!(" ops: {} ", ops.words()));
    place.write_titles(canvas.buffer, &left, &Line::from(Span::styled(ops, theme.muted())));
    let room = usize::from(place.frame.width).saturating_sub(4);
    let words = format!(" {}: {} ", sentence(&source.origin), sentence(&source.trust));
    let words = text::clip(&words, room);
    let x = place.frame.right().saturating_sub(text::width(&words) as u16 + 2);
    text::put_text(canvas.buffer, x, place.frame.bottom().saturating_sub(1), room, &words, theme.muted());
}

/// Why there is nothing to show, and how to change that.
fn no_source(canvas: &mut Canvas<'_>, place: Place) {
    let (theme, view) = (canvas.theme, canvas.view);
    let document = &view.document;
    let root_class = document.module(0).map_or("", |root| root.class.as_str());
    let module = document.module(view.tree.selected);
    let own_class = module.map(|module| module.class.as_str()).filter(|class| !class.starts_with("torch."));
    let class = own_class.filter(|class| !class.is_empty()).unwrap_or(root_class);
    let (what, how) = if class.is_empty() {
        (
            "A state dict has tensors and their names. It does not say which classes made them, nor their forward."
                .to_owned(),
            "Name the Python that defines the model, and its forward is shown here with everything in it that blocks a port:",
        )
    } else if class.starts_with("torch.") {
        (format!("{class} is PyTorch's own: there is no forward to port."), "Source of other classes comes with:")
    } else {
        (
            match module.map_or(Evidence::Exact, |module| module.evidence) {
                Evidence::Exact => format!("The file names the class {class} and does not hold its code."),
                _ => format!("The class is {class}. The file does not hold its code."),
            },
            if library(class).is_some() {
                "Name the Python that the library is installed in, and its forward is shown here with everything in it that \
                 blocks a port:"
            } else {
                "Name the Python that defines it, and its forward is shown here with everything in it that blocks a port:"
            },
        )
    };
    let columns = usize::from(place.inner.width.saturating_sub(4));
    let mut lines = vec![Line::default()];
    let push = |lines: &mut Vec<Line<'static>>, words: &str, style: Style| {
        lines.extend(
            text::wrap(&sentence(words), columns).into_iter().map(|row| Line::styled(format!("  {row}"), style)),
        );
        lines.push(Line::default());
    };
    push(&mut lines, &what, theme.text());
    push(&mut lines, how, theme.muted());
    let (option, what) = if library(class).is_some() {
        ("--python EXE", "EXE: a python, which is asked for its sys.path alone. The source is read, never run.")
    } else {
        ("--source PATH", "PATH: a .py file, a folder with them, or a site-packages. It is read, never run.")
    };
    push(&mut lines, &format!("t2m-tui {option} {}", document.name), theme.key());
    push(&mut lines, what, theme.muted());
    text::put_lines(canvas.buffer, place.inner, &lines);
}
