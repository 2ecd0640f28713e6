//! The module tree: one row a module, with its status and what was measured of it; and, where that is wanted, one for each node
//! of the graph under the module whose forward it is in.
//!
//! `rows` is rebuilt when a fold or the filter changes, never for a frame, so that a frame costs the rows on screen.

mod head;
mod letters;
mod listed;
mod node;
pub mod order;
mod row;

use std::collections::HashSet;

use compact_str::CompactString;
use ratatui::layout::{Position, Rect};

use super::{Behaviour, Pane, Place, View, source};
pub(super) use node::cell;
pub(super) use row::sign;

use crate::filter::{Facts, Filter};
use crate::model::ModuleId;
use crate::tui::action::Command;
use crate::tui::areas::{Areas, Rows};
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::document::Document;
use crate::tui::scroll::{distance, moved};
use crate::tui::text;
use row::{Columns, draw_row, foot, titles};

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
    /// The modules on show, in order; one is there again for each of its nodes.
    pub rows: Vec<ModuleId>,
    /// The node that each of these rows is of, by its row among [`crate::tui::nodes::Nodes::all`].
    pub nodes: Vec<Option<u32>>,
    /// Whether nodes are on show.
    pub with_nodes: bool,
    /// The node that the cursor is on, and its module.
    node: Option<(ModuleId, u32)>,
    /// Widest indentation and name among the rows, in columns.
    pub name_width: usize,
    folded: Vec<bool>,
    order: order::Order,
    grouped: bool,
    /// What is on show where that is no tree.
    list: Option<Box<order::List>>,
    /// In a list: the class whose row each row is, by its index.
    heads: Vec<Option<u32>>,
    /// In a list: the row of each module.
    places: Vec<u32>,
    /// In a list: modules that something led to although the filter does not want them.
    beside: Vec<ModuleId>,
    /// Classes whose modules are on show.
    unfolded: HashSet<CompactString>,
    /// The class whose row the cursor is on.
    head: Option<CompactString>,
    /// What is folded in a fresh tree: modules so deep, and deeper.
    depth: usize,
    /// How often the filter was applied.
    filtered: usize,
    /// With a filter: whether the module itself is wanted, and whether it or a descendant is.
    wanted: Vec<(bool, bool)>,
}

impl Tree {
    /// A tree with everything below `depth` folded.
    pub fn new(document: &Document, depth: usize) -> Tree {
        let folded = document.model.modules.iter().map(|module| module.depth >= depth).collect();
        let mut tree = Tree { folded, depth, follow: true, ..Tree::default() };
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
        (self.order, self.grouped, self.unfolded) = (other.order, other.grouped, other.unfolded.clone());
        self.show_nodes(new, other.with_nodes);
    }

    /// Modules that are folded and were not in a fresh tree, and those that are open and were folded there.
    pub fn unusual_folds(&self, document: &Document) -> (Vec<ModuleId>, Vec<ModuleId>) {
        let inner = document.model.modules.iter().enumerate().filter(|(id, module)| !module.is_leaf(*id));
        let changed = inner.filter(|(id, module)| self.is_folded(*id) != (module.depth >= self.depth));
        changed.map(|(id, _)| id).partition(|id| self.is_folded(*id))
    }

    /// Fold and unfold these.
    pub fn set_folds(&mut self, document: &Document, folded: &[ModuleId], open: &[ModuleId]) {
        for (modules, fold) in [(folded, true), (open, false)] {
            for id in modules {
                self.set_fold(*id, fold);
            }
        }
        self.rebuild(document);
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
        if self.list.is_some() {
            return self.place_in_list(id);
        }
        let at = self.rows.partition_point(|row| *row < id);
        (self.rows.get(at) == Some(&id)).then_some(at)
    }

    /// The node that the cursor is on.
    pub fn node(&self) -> Option<u32> {
        self.node.filter(|(module, _)| *module == self.selected).map(|(_, node)| node)
    }

    /// Let the cursor be on the module instead of one of its nodes.
    pub fn leave_node(&mut self) {
        self.node = None;
    }

    /// Row of the selection.
    pub fn selected_row(&self) -> usize {
        if let Some(row) = self.row_of_head() {
            return row;
        }
        self.node().and_then(|node| self.row_of_node(node)).or_else(|| self.row_of(self.selected)).unwrap_or(0)
    }

    /// Row of a node of the selected module, if it is on show.
    fn row_of_node(&self, node: u32) -> Option<usize> {
        let first = self.row_of(self.selected)? + 1;
        let end = self.rows.partition_point(|row| *row <= self.selected);
        let own = self.nodes.get(first..end)?;
        Some(first + own.binary_search(&Some(node)).ok()?)
    }

    /// Whether something stands below a module: modules, or nodes of its own.
    pub fn holds(&self, document: &Document, id: ModuleId) -> bool {
        let has_nodes = || self.with_nodes && !self.own(document, id).is_empty();
        document.module(id).is_some_and(|module| !module.is_leaf(id)) || has_nodes()
    }

    fn own<'d>(&self, document: &'d Document, id: ModuleId) -> &'d [u32] {
        document.nodes.as_ref().map_or(&[], |nodes| nodes.own(id))
    }

    /// Go to a row, or to the last one.
    pub fn select_row(&mut self, row: usize) {
        let row = row.min(self.rows.len().saturating_sub(1));
        if self.select_head(row) {
            self.node = None;
        } else if let Some(&id) = self.rows.get(row) {
            self.selected = id;
            let node = self.nodes.get(row).copied().flatten();
            self.node = node.map(|node| (id, node));
        }
        self.follow = true;
    }

    /// Go down by this many rows, or up.
    pub fn step(&mut self, by: i64) {
        self.select_row((self.selected_row() as i64).saturating_add(by).max(0) as usize);
    }

    /// Go to a module, and unfold what hides it. Where the filter hides it, it is shown beside what the filter wants, dimmed, until
    /// the filter is applied again.
    pub fn reveal(&mut self, document: &Document, id: ModuleId) {
        let mut parent = document.module(id).and_then(|module| module.parent);
        let mut changed = false;
        while let Some(at) = parent {
            changed |= self.set_fold(at, false);
            parent = document.module(at).and_then(|module| module.parent);
        }
        let mut hidden = Some(id).filter(|id| self.wanted.get(*id).is_some_and(|wanted| !wanted.1));
        while let Some(at) = hidden {
            if let Some(wanted) = self.wanted.get_mut(at) {
                wanted.1 = true;
            }
            changed = true;
            hidden = document.module(at).and_then(|module| module.parent);
        }
        (self.selected, self.node) = (id, None);
        self.follow = true;
        if self.list.is_some() {
            self.reveal_in_list(document, id);
        } else if changed {
            self.rebuild(document);
        }
    }

    /// Go to a node, and unfold what hides it.
    pub fn reveal_node(&mut self, document: &Document, node: u32) {
        let Some(id) = document.nodes.as_ref().and_then(|nodes| nodes.get(node)).map(|row| row.module) else { return };
        self.show_nodes(document, true);
        self.reveal(document, id);
        if self.set_fold(id, false) {
            self.rebuild(document);
        }
        self.node = Some((id, node));
    }

    /// Show the nodes of the graph, or modules alone. Modules that hold nothing but nodes are folded at first.
    pub fn show_nodes(&mut self, document: &Document, on: bool) {
        // Nodes stand under their modules, in the tree alone.
        if on && self.list.is_some() && document.nodes.is_some() {
            self.leave_list();
            self.rebuild(document);
        }
        if on == self.with_nodes || document.nodes.is_none() {
            return;
        }
        self.with_nodes = on;
        for (id, module) in document.model.modules.iter().enumerate() {
            if on && module.is_leaf(id) && module.depth > 0 {
                self.set_fold(id, true);
            }
        }
        if !on {
            self.node = None;
        }
        self.rebuild(document);
    }

    /// The nodes are others now.
    pub fn renew(&mut self, document: &Document) {
        self.node = None;
        self.rebuild(document);
    }

    /// Fold or unfold one module.
    pub fn toggle(&mut self, document: &Document, id: ModuleId) {
        if self.list.is_some() {
            self.toggle_head(document);
        } else if self.holds(document, id) {
            self.set_fold(id, !self.is_folded(id));
            self.rebuild(document);
        }
    }

    /// Fold, or go to the parent where there is nothing to fold.
    pub fn leave(&mut self, document: &Document) {
        if self.list.is_some() {
            return self.leave_in_list(document);
        }
        let Some(module) = document.module(self.selected) else { return };
        if self.node().is_some() {
            self.node = None;
        } else if self.holds(document, self.selected) && !self.is_folded(self.selected) {
            self.toggle(document, self.selected);
        } else if let Some(parent) = module.parent {
            self.selected = parent;
        }
        self.follow = true;
    }

    /// Unfold, or go to the first child where that is done.
    pub fn enter(&mut self, document: &Document) {
        if self.list.is_some() {
            return self.enter_in_list(document);
        }
        if self.node().is_some() || !self.holds(document, self.selected) {
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
        if self.list.is_some() {
            return self.fold_all_in_list(document, fold);
        }
        for (folded, module) in self.folded.iter_mut().zip(&document.model.modules) {
            *folded = fold && module.depth > 0;
        }
        self.rebuild(document);
    }

    /// Apply the filter, and unfold what it wants.
    pub fn apply_filter(&mut self, document: &Document, facts: &Facts<'_>) {
        self.filtered += 1;
        self.wanted.clear();
        if !self.filter.is_empty() {
            self.wanted = self.filter.wanted(facts).into_iter().map(|wanted| (wanted, wanted)).collect();
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
        self.sort(facts);
        self.rebuild(document);
    }

    /// How often the filter was applied: what looks within it looks again where that has changed.
    pub fn filtered(&self) -> usize {
        self.filtered
    }

    /// Whether the filter wants a module.
    pub fn wants(&self, id: ModuleId) -> bool {
        self.wanted.get(id).is_none_or(|wanted| wanted.0)
    }

    /// The next of these modules behind the selection in the order of the rows, or the one before, going round at the ends. They are
    /// in the order of the model.
    pub fn next_of(&self, ids: &[ModuleId], forward: bool) -> Option<ModuleId> {
        if let Some(list) = &self.list {
            return self.next_in_list(list, ids, forward);
        }
        let here = self.selected;
        if forward {
            ids.iter().find(|&&id| id > here).or(ids.first()).copied()
        } else {
            ids.iter().rev().find(|&&id| id < here).or(ids.last()).copied()
        }
    }

    /// The index of the selection among these modules, in the order of the rows.
    pub fn place_among(&self, ids: &[ModuleId]) -> Option<usize> {
        match &self.list {
            Some(list) => self.place_among_in_list(list, ids),
            None => ids.binary_search(&self.selected).ok(),
        }
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
        if self.list.is_some() {
            return self.rebuild_list(document);
        }
        self.rows.clear();
        self.nodes.clear();
        self.name_width = 0;
        let mut id = 0;
        while let Some(module) = document.module(id) {
            let after = module.end.max(id + 1);
            if self.wanted.get(id).is_some_and(|wanted| !wanted.1) {
                id = after;
                continue;
            }
            self.rows.push(id);
            self.nodes.push(None);
            let width = indent(module.depth) + module.name.chars().count();
            self.name_width = self.name_width.max(width);
            if self.with_nodes && !self.is_folded(id) && !self.is_dimmed(id) {
                let nodes = document.nodes.as_deref();
                for &node in self.own(document, id) {
                    self.rows.push(id);
                    self.nodes.push(Some(node));
                    let op = nodes.and_then(|nodes| nodes.get(node)).map_or(0, |row| row.op().len());
                    self.name_width = self.name_width.max(indent(module.depth + 1) + op);
                }
            }
            id = if self.is_folded(id) { after } else { id + 1 };
        }
        self.keep_selection(document);
    }

    /// A selection that is no longer on show moves to the nearest ancestor that is.
    fn keep_selection(&mut self, document: &Document) {
        if self.node().is_some_and(|node| self.row_of_node(node).is_none()) {
            self.node = None;
        }
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
            Command::Fold if tree.head().is_none() && !tree.holds(document, tree.selected) => {
                context.say("nothing stands below it")
            }
            Command::Fold => tree.toggle(document, tree.selected),
            Command::FoldAll | Command::UnfoldAll => {
                let before = tree.rows.len();
                tree.fold_all(document, command == Command::FoldAll);
                if tree.rows.len() == before {
                    let words = if command == Command::FoldAll { "folded" } else { "unfolded" };
                    context.say(&format!("everything is {words} already"));
                }
            }
            Command::Sort => sort(context),
            Command::Group => group(context),
            Command::Nodes if document.nodes.is_some() => tree.show_nodes(document, !tree.with_nodes),
            Command::Nodes => {
                let says = context.key(Command::RunGraph);
                context.say(&format!("this file holds no graph: {says} says how to get one"));
            }
            _ => return false,
        }
        true
    }

    /// A row is selected; its marker folds it, its flag leads to the first blocker.
    fn click(&self, at: Position, rows: Rows, context: &mut Context<'_>) {
        let flags = Columns::new(context.view, usize::from(rows.area.width)).blockers;
        let View { tree, document, .. } = &mut *context.view;
        tree.follow = true;
        let Some(row) = rows.at(at).filter(|row| *row < tree.rows.len()) else { return };
        tree.select_row(row);
        let id = tree.selected;
        if tree.node().is_some() {
            return;
        }
        let depth = if tree.list.is_some() { 0 } else { document.module(id).map_or(0, |module| module.depth) };
        let marker = usize::from(rows.area.x) + 1 + indent(depth);
        if (marker..marker + 2).contains(&usize::from(at.x)) {
            tree.toggle(document, id);
        } else if flags.is_some_and(|flags| usize::from(at.x) >= usize::from(rows.area.x) + flags) {
            let end = if tree.is_folded(id) { document.module(id).map_or(id, |module| module.end) } else { id + 1 };
            if let Some(place) = document.blocker_within(id, end) {
                source::go_to(context.view, place, context.areas.shape);
            }
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
        foot(canvas, place);
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
        let shown = view.tree.rows.iter().zip(&view.tree.nodes).enumerate().skip(top);
        for ((at, (&id, &node)), y) in shown.zip(area.top()..area.bottom()) {
            let strip = Rect { y, height: 1, ..area };
            match (view.tree.head_at(at), node) {
                (Some(group), _) => head::draw(canvas, group, at == row, strip, &columns),
                (_, Some(node)) => node::draw(canvas, node, strip, &columns),
                (None, None) => draw_row(canvas, id, strip, &columns),
            }
            if at == row {
                canvas.overlay(strip, canvas.theme.selection(place.focus));
            }
        }
        place.scrollbar(canvas, top, height, count);
    }
}

/// The next order; the cursor stays on its module.
fn sort(context: &mut Context<'_>) {
    let (order, grouped) = (context.view.tree.order().next(), context.view.tree.is_grouped());
    arrange(context, order, grouped);
    let top = context.key(Command::Top);
    context.say(&match order.words() {
        None => "in the order of the model".to_owned(),
        Some(words) => format!("{words}: {top} goes to the first"),
    });
}

/// Under classes, or not.
fn group(context: &mut Context<'_>) {
    let (order, grouped) = (context.view.tree.order(), !context.view.tree.is_grouped());
    arrange(context, order, grouped);
    context.say(&match grouped {
        true => format!("under classes: {} unfolds one", context.key(Command::Fold)),
        false => "not under classes".to_owned(),
    });
}

fn arrange(context: &mut Context<'_>, order: order::Order, grouped: bool) {
    let view = &mut *context.view;
    view.tree.arrange(order, grouped);
    view.apply_filter();
    if !view.tree.is_grouped() {
        view.tree.reveal(&view.document, view.tree.selected);
    }
    view.tree.follow = true;
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
