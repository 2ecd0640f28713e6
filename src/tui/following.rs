//! The source pane follows the selection in the tree, and lines of the source lead back to it.

use std::sync::Arc;

use super::action::{Effect, HighlightJob, Pane};
use super::areas::Areas;
use super::document::{Document, Shown};
use super::view::View;
use crate::model::ModuleId;

/// Lines coloured at once, around those on show.
const HIGHLIGHT_MARGIN: usize = 150;
/// Rows that the notes of a blocker take, about.
const NOTE_ROWS: usize = 3;

/// Lines of the source on show that name a child, each with the first child that it names, in order.
fn lines(view: &View) -> Vec<(usize, ModuleId)> {
    let document = &view.document;
    let Some(shown) = document.source(view.tree.selected) else { return Vec::new() };
    let named = shown.source.builds.iter().chain(&shown.source.mentions);
    let mut lines: Vec<(usize, ModuleId)> =
        named.filter_map(|(line, name)| Some((*line, document.child(shown.owner, name)?))).collect();
    lines.sort_by_key(|(line, _)| *line);
    lines.dedup_by_key(|(line, _)| *line);
    lines
}

/// Point at the next line that names a child, or the one before; whether there is one.
pub(super) fn step(view: &mut View, forward: bool) -> bool {
    let lines = lines(view);
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

/// Select the child that the line which is pointed at names; whether it names one.
pub(super) fn follow(view: &mut View) -> bool {
    let at = view.source.line;
    let Some((_, child)) = lines(view).into_iter().find(|(line, _)| Some(*line) == at) else { return false };
    view.tree.reveal(&view.document, child);
    true
}

/// Let the source pane show what belongs to the selection: its class, and the line that calls it. Waits until the pane
/// was drawn once, since where to scroll depends on its height.
pub(super) fn follow_selection(view: &mut View, areas: &Areas) {
    let document = view.document.clone();
    let selected = view.tree.selected;
    let Some(area) = &areas.source else { return };
    let height = usize::from(area.area.height);
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

/// Rows that these lines take, the notes of their blockers included.
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
pub(super) fn ask_for_colours(view: &mut View, areas: &Areas, dark: bool) -> Option<Effect> {
    areas.source.as_ref()?;
    let document = Arc::clone(&view.document);
    let shown = document.source(view.tree.selected)?;
    let class = &document.module(shown.owner)?.class;
    let count = shown.source.text.lines().count();
    let top = view.source.top.min(count.max(1));
    let wanted = top..(top + areas.page(Pane::Source)).min(count + 1);
    let covers = |lines: &std::ops::Range<usize>| lines.start <= wanted.start && lines.end >= wanted.end;
    let here = view.source.colours.get(class.as_str()).is_some_and(|colours| covers(&colours.lines));
    let asked = view.source.asked.as_ref().is_some_and(|(asked, lines)| asked == class && covers(lines));
    if here || asked {
        return None;
    }
    let lines = wanted.start.saturating_sub(HIGHLIGHT_MARGIN).max(1)..(wanted.end + HIGHLIGHT_MARGIN).min(count + 1);
    view.source.asked = Some((class.to_string(), lines.clone()));
    Some(Effect::Highlight(HighlightJob { class: class.to_string(), text: shown.source.text.clone(), lines, dark }))
}
