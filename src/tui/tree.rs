//! The state of the tree pane: what is folded, what is filtered away, which rows that leaves, and where we are in them.
//!
//! `rows` is rebuilt when a fold or the filter changes, never for a frame, so that a frame costs the rows on screen.

use std::collections::HashSet;

use super::document::Document;
use crate::compare::Verdict;
use crate::model::ModuleId;
use crate::triage::Status;
use crate::verify::Results;

/// Widest indentation in columns; deeper modules are not moved further right.
pub const MAX_INDENT: usize = 24;

/// Which modules are wanted. Ancestors of a wanted module stay, dimmed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// These statuses; all when empty.
    pub statuses: HashSet<Status>,
    /// Only what was measured badly: drift, broken, failed.
    pub bad: bool,
}

impl Filter {
    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.statuses.is_empty() && !self.bad
    }

    /// Whether a module is wanted.
    pub fn wants(&self, document: &Document, measured: &Results, id: ModuleId) -> bool {
        let status = document.triage(id).map(|triage| triage.status);
        let by_status = self.statuses.is_empty() || status.is_some_and(|status| self.statuses.contains(&status));
        by_status && (!self.bad || measured.verdict(id).is_some_and(Verdict::is_bad))
    }
}

/// The tree pane.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// The module the cursor is on.
    pub selected: ModuleId,
    /// First row on screen. Drawing may show another one, to keep the selection in view.
    pub top: usize,
    /// Whether the view follows the selection; the wheel lets go of it.
    pub follow: bool,
    /// What is let through.
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

    /// Whether the module's children are hidden.
    pub fn is_folded(&self, id: ModuleId) -> bool {
        self.folded.get(id).copied().unwrap_or(false)
    }

    /// Whether it is there only because of what is below it.
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

    /// Go down by so many rows, or up.
    pub fn step(&mut self, by: i64) {
        self.select_row((self.selected_row() as i64).saturating_add(by).max(0) as usize);
    }

    /// Go to a module, unfolding what hides it. A filter that hides it is left.
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

    /// Put a filter to work: what it wants is unfolded.
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

/// Columns that a module of that depth is moved right.
pub fn indent(depth: usize) -> usize {
    depth.saturating_mul(2).min(MAX_INDENT)
}

/// First row to show so that `row` is among `height` rows out of `count`, moving as little as possible.
pub fn scroll_to(top: usize, row: usize, height: usize, count: usize) -> usize {
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
