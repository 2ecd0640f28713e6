//! What clicks and the wheel do in the panes: the same as the keys of what is under the pointer.

use ratatui::layout::Position;

use super::action::Pane;
use super::areas::Areas;
use super::tree::indent;
use super::view::View;

/// A click at a place of the screen.
pub(super) fn click(view: &mut View, areas: &Areas, at: Position) {
    if let Some(&(_, pane)) = areas.tabs.iter().find(|(area, _)| area.contains(at)) {
        return view.focus(pane);
    }
    match areas.pane_at(at) {
        Some(Pane::Tree) => click_tree(view, areas, at),
        Some(Pane::Source) => click_source(view, areas, at),
        Some(Pane::Live) => view.focus(Pane::Live),
        None => {}
    }
}

fn click_tree(view: &mut View, areas: &Areas, at: Position) {
    view.focus(Pane::Tree);
    let Some((area, top)) = areas.tree else { return };
    view.tree.follow = true;
    let Some(&id) = view.tree.rows.get(top + usize::from(at.y - area.y)) else { return };
    view.tree.selected = id;
    let depth = view.document.module(id).map_or(0, |module| module.depth);
    let marker = usize::from(area.x) + 1 + indent(depth);
    if (marker..marker + 2).contains(&usize::from(at.x)) {
        view.tree.toggle(&view.document, id);
    }
}

/// A line that names a child selects it.
fn click_source(view: &mut View, areas: &Areas, at: Position) {
    view.focus(Pane::Source);
    let links = areas.source.as_ref().map(|source| source.links.as_slice()).unwrap_or_default();
    if let Some(&(_, child)) = links.iter().find(|(row, _)| *row == at.y) {
        view.tree.reveal(&view.document, child);
    }
}

/// The wheel turned by so many rows, positive downwards.
pub(super) fn wheel(view: &mut View, areas: &Areas, at: Position, rows: i32) {
    if let Some(pane) = areas.pane_at(at) {
        view.scroll(areas, pane, i64::from(rows));
    }
}
