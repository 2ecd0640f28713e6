//! What clicks and the wheel do: the same as the keys of what is under the pointer.

use super::action::{Command, Effect, Pane};
use super::keymap::Mode;
use super::layout::Layout;
use super::links;
use super::state::{Screen, State, View};
use super::tree::indent;
use super::update::{FILTER_ROWS, focus, in_filter, in_find, in_overlay, on_command, scroll, toggle_filter};

/// A click at a place of the screen.
pub(super) fn click(state: &mut State, column: u16, row: u16, effects: &mut Vec<Effect>) {
    let layout = state.layout.clone();
    let at = ratatui::layout::Position::new(column, row);
    if let Some(&(_, command)) = layout.keys.iter().find(|(area, _)| area.contains(at)) {
        return on_command(state, command, effects);
    }
    let Screen::Open(view) = &mut state.screen else { return };
    match view.mode {
        Mode::Help | Mode::About | Mode::Convert => view.mode = Mode::Main,
        Mode::Findings => match layout.overlay {
            Some((area, _)) if area.contains(at) => {
                view.finding_row = layout.findings_top + usize::from(row - area.y);
                links::in_findings(view, Command::Accept, layout.shape);
            }
            _ => view.mode = Mode::Main,
        },
        Mode::Filter => match layout.overlay {
            Some((area, _)) if area.contains(at) => {
                let clicked = usize::from(row - area.y);
                if clicked < FILTER_ROWS {
                    view.filter_row = clicked;
                    toggle_filter(view);
                }
            }
            _ => view.mode = Mode::Main,
        },
        Mode::Find | Mode::Main => {
            if view.mode == Mode::Find {
                in_find(view, Command::Accept);
            }
            if let Some(&(_, pane)) = layout.tabs.iter().find(|(area, _)| area.contains(at)) {
                return focus(view, pane);
            }
            match layout.pane_at(column, row) {
                Some(Pane::Tree) => click_tree(view, &layout, column, row),
                Some(Pane::Source) => click_source(view, &layout, row),
                Some(Pane::Live) => focus(view, Pane::Live),
                None => {}
            }
        }
    }
}

fn click_tree(view: &mut View, layout: &Layout, column: u16, row: u16) {
    focus(view, Pane::Tree);
    let Some((area, top)) = layout.tree else { return };
    view.tree.follow = true;
    let Some(&id) = view.tree.rows.get(top + usize::from(row - area.y)) else { return };
    view.tree.selected = id;
    let depth = view.document.module(id).map_or(0, |module| module.depth);
    let marker = usize::from(area.x) + 1 + indent(depth);
    if (marker..marker + 2).contains(&usize::from(column)) {
        view.tree.toggle(&view.document.clone(), id);
    }
}

/// A line that names a child selects it.
fn click_source(view: &mut View, layout: &Layout, row: u16) {
    focus(view, Pane::Source);
    let links = layout.source.as_ref().map(|source| source.links.as_slice()).unwrap_or_default();
    if let Some(&(_, child)) = links.iter().find(|(at, _)| *at == row) {
        view.tree.reveal(&view.document.clone(), child);
    }
}

/// The wheel turned by so many rows, positive downwards.
pub(super) fn wheel(state: &mut State, column: u16, row: u16, by: i32) {
    let Screen::Open(view) = &mut state.screen else { return };
    match view.mode {
        Mode::Help | Mode::About | Mode::Convert => in_overlay(
            view,
            if by > 0 { Command::Down } else { Command::Up },
            state.layout.overlay.map_or(0, |(_, below)| below),
        ),
        Mode::Findings => {
            links::in_findings(view, if by > 0 { Command::Down } else { Command::Up }, state.layout.shape)
        }
        Mode::Filter => in_filter(view, if by > 0 { Command::Down } else { Command::Up }),
        Mode::Find | Mode::Main => {
            if let Some(pane) = state.layout.pane_at(column, row) {
                scroll(view, &state.layout, pane, i64::from(by));
            }
        }
    }
}
