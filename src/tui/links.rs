//! Going from the source to modules, and from the list of blockers and ops to the source.

use super::action::{Command, Pane};
use super::keymap::Mode;
use super::layout::Shape;
use super::state::View;
use super::update::show;
use crate::model::ModuleId;

/// Rows of a page of the list.
const PAGE: usize = 10;

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
    view.tree.reveal(&view.document.clone(), child);
    true
}

/// A key in the list of blockers and ops.
pub(super) fn in_findings(view: &mut View, command: Command, shape: Shape) {
    let last = view.document.findings.len().saturating_sub(1);
    match command {
        Command::Down => view.finding_row = (view.finding_row + 1).min(last),
        Command::Up => view.finding_row = view.finding_row.saturating_sub(1),
        Command::PageDown => view.finding_row = (view.finding_row + PAGE).min(last),
        Command::PageUp => view.finding_row = view.finding_row.saturating_sub(PAGE),
        Command::Accept => {
            view.mode = Mode::Main;
            if let Some(at) = view.document.findings.get(view.finding_row).map(|finding| finding.at) {
                view.tree.reveal(&view.document.clone(), at.module);
                show(view, Pane::Source, shape);
                (view.source.chosen, view.source.jump) = (None, Some(at.line));
            }
        }
        Command::Dismiss => view.mode = Mode::Main,
        _ => {}
    }
}
