//! The tree pane where it is a list: what the filter wants in another order, or under its classes.

use compact_str::CompactString;

use super::order::{Group, List, Order};
use super::{Tree, indent};
use crate::filter::Facts;
use crate::model::ModuleId;
use crate::tui::document::Document;

/// A row's place where a module has none.
const NOWHERE: u32 = u32::MAX;

impl Tree {
    /// In which order the modules are to stand, and whether under their classes; [`Tree::apply_filter`] follows.
    pub fn arrange(&mut self, order: Order, grouped: bool) {
        (self.order, self.grouped) = (order, grouped);
        if !self.is_to_be_list() {
            self.leave_list();
        }
    }

    /// The classes whose modules are on show under them, in order.
    pub fn unfolded(&self) -> Vec<String> {
        let mut classes: Vec<String> = self.unfolded.iter().map(ToString::to_string).collect();
        classes.sort_unstable();
        classes
    }

    /// Show the modules of these classes under them.
    pub fn unfold(&mut self, classes: &[String]) {
        self.unfolded.extend(classes.iter().map(CompactString::from));
    }

    /// The order.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Whether the modules stand under their classes.
    pub fn is_grouped(&self) -> bool {
        self.grouped
    }

    /// Whether what is measured may move rows.
    pub fn asks_for_results(&self) -> bool {
        self.filter.asks_for_results() || self.order.asks_for_results() || self.grouped
    }

    /// The list on show; `None` where it is the tree.
    pub fn list(&self) -> Option<&List> {
        self.list.as_deref()
    }

    /// The class that the cursor is on, where it is on a class's row.
    pub fn head(&self) -> Option<&Group> {
        let at = self.list()?.group_of(self.head.as_deref()?)?;
        self.list()?.groups.as_ref()?.get(at)
    }

    /// The class whose row this is, by the row.
    pub fn head_at(&self, row: usize) -> Option<&Group> {
        let at = self.heads.get(row).copied().flatten()?;
        self.list()?.groups.as_ref()?.get(at as usize)
    }

    /// Whether a class's modules are on show.
    pub fn is_unfolded(&self, group: &Group) -> bool {
        self.unfolded.contains(&group.class)
    }

    /// What the cursor stands for: the modules of a class, or the one that is selected.
    pub fn chosen(&self) -> Vec<ModuleId> {
        self.head().map_or_else(|| vec![self.selected], |group| group.modules.clone())
    }

    fn is_to_be_list(&self) -> bool {
        self.grouped || self.order != Order::Tree
    }

    pub(super) fn leave_list(&mut self) {
        (self.order, self.grouped) = (Order::Tree, false);
        (self.list, self.head) = (None, None);
        self.heads.clear();
        self.places.clear();
        self.beside.clear();
    }

    /// Put what the filter wants into the order, by what is known now.
    pub(super) fn sort(&mut self, facts: &Facts<'_>) {
        self.beside.clear();
        self.list =
            self.is_to_be_list().then(|| Box::new(List::of(facts, self.order, self.grouped, |id| self.wants(id))));
    }

    pub(super) fn rebuild_list(&mut self, document: &Document) {
        let Some(list) = self.list.as_deref() else { return };
        let mut rows = list.rows(&self.unfolded);
        rows.extend(self.beside.iter().map(|id| (*id, None)));
        self.places = vec![NOWHERE; document.len()];
        self.name_width = 0;
        for (row, (id, head)) in (0u32..).zip(&rows) {
            let Some(module) = document.module(*id) else { continue };
            let width = match head {
                Some(_) => module.short_class().chars().count() + 6,
                None => module.path.chars().count() + indent(usize::from(self.grouped)),
            };
            self.name_width = self.name_width.max(width);
            if let Some(place) = self.places.get_mut(*id).filter(|_| head.is_none()) {
                *place = row;
            }
        }
        self.nodes = vec![None; rows.len()];
        (self.rows, self.heads) = rows.into_iter().unzip();
        self.keep_in_list(document);
    }

    /// A selection that is no longer on show is its class's row, or the first of all.
    fn keep_in_list(&mut self, document: &Document) {
        if self.head().is_some() {
            return;
        }
        self.head = None;
        if self.row_of(self.selected).is_some() {
            return;
        }
        let ranked = self.list().is_some_and(|list| list.rank(self.selected).is_some());
        if self.grouped && ranked {
            self.head = self.class_of(document, self.selected);
        } else {
            self.select_row(0);
        }
    }

    /// Let the cursor be on a module, or on the class that hides it; one that the filter hides is left alone.
    pub fn resume_at(&mut self, document: &Document, id: ModuleId) {
        if let Some(row) = self.row_of(id) {
            return self.select_row(row);
        }
        if self.grouped && self.list().is_some_and(|list| list.rank(id).is_some()) {
            (self.selected, self.head) = (id, None);
            self.keep_in_list(document);
        }
    }

    fn class_of(&self, document: &Document, id: ModuleId) -> Option<CompactString> {
        document.module(id).map(|module| module.class.clone())
    }

    pub(super) fn place_in_list(&self, id: ModuleId) -> Option<usize> {
        self.places.get(id).filter(|place| **place != NOWHERE).map(|place| *place as usize)
    }

    /// The row of the class that the cursor is on.
    pub(super) fn row_of_head(&self) -> Option<usize> {
        let at = self.list()?.group_of(self.head.as_deref()?)?;
        self.heads.iter().position(|head| *head == Some(at as u32))
    }

    /// The cursor goes to a class's row: the module that was selected stays where it is one of the class.
    pub(super) fn select_head(&mut self, row: usize) -> bool {
        let Some((class, modules)) = self.head_at(row).map(|group| (group.class.clone(), group.modules.clone())) else {
            self.head = None;
            return false;
        };
        if !modules.contains(&self.selected) {
            self.selected = modules.first().copied().unwrap_or(self.selected);
        }
        self.head = Some(class);
        true
    }

    /// Fold or unfold the class that the cursor is on. Returns whether it is on one.
    pub(super) fn toggle_head(&mut self, document: &Document) -> bool {
        let Some(class) = self.head.clone() else { return false };
        if !self.unfolded.remove(&class) {
            self.unfolded.insert(class);
        }
        self.rebuild_list(document);
        true
    }

    /// Fold, or go to the class.
    pub(super) fn leave_in_list(&mut self, document: &Document) {
        match self.head().map(|group| self.is_unfolded(group)) {
            Some(true) => drop(self.toggle_head(document)),
            Some(false) => {}
            None if self.grouped && self.list().is_some_and(|list| list.rank(self.selected).is_some()) => {
                self.head = self.class_of(document, self.selected);
            }
            None => {}
        }
        self.follow = true;
    }

    /// Unfold, or go to the first module of the class.
    pub(super) fn enter_in_list(&mut self, document: &Document) {
        match self.head().map(|group| self.is_unfolded(group)) {
            Some(false) => drop(self.toggle_head(document)),
            Some(true) => self.step(1),
            None => {}
        }
    }

    pub(super) fn fold_all_in_list(&mut self, document: &Document, fold: bool) {
        self.unfolded.clear();
        if !fold {
            let classes =
                self.list.iter().flat_map(|list| list.groups.iter().flatten()).map(|group| group.class.clone());
            self.unfolded = classes.collect();
        }
        self.rebuild_list(document);
    }

    /// Let a module be on show: its class is unfolded, and one that the filter does not want comes behind the others.
    pub(super) fn reveal_in_list(&mut self, document: &Document, id: ModuleId) {
        self.head = None;
        let Some(list) = self.list.as_deref() else { return };
        if list.rank(id).is_none() {
            if !self.beside.contains(&id) {
                self.beside.push(id);
            }
        } else if let Some(class) = self.class_of(document, id).filter(|_| self.grouped) {
            self.unfolded.insert(class);
        }
        self.rebuild_list(document);
    }

    /// The next of these modules in the order of the list, or the one before, going round at the ends.
    pub(super) fn next_in_list(&self, list: &List, ids: &[ModuleId], forward: bool) -> Option<ModuleId> {
        let here = list.rank(self.selected);
        let ranked = || ids.iter().filter_map(|id| Some((list.rank(*id)?, *id)));
        let next = match forward {
            true => ranked().filter(|(rank, _)| Some(*rank) > here).min().or_else(|| ranked().min()),
            false => ranked().filter(|(rank, _)| here.is_none_or(|here| *rank < here)).max().or_else(|| ranked().max()),
        };
        next.map(|(_, id)| id)
    }

    pub(super) fn place_among_in_list(&self, list: &List, ids: &[ModuleId]) -> Option<usize> {
        let here = list.rank(self.selected).filter(|_| ids.binary_search(&self.selected).is_ok())?;
        Some(ids.iter().filter(|id| list.rank(**id).is_some_and(|rank| rank < here)).count())
    }
}
