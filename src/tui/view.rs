//! The panes over an open checkpoint: what each shows, and where it is.

use std::collections::HashMap;
use std::sync::Arc;

use super::action::{Command, Highlighted, Pane};
use super::areas::{Areas, Shape};
use super::document::{Document, Place};
use super::scroll::{Scroll, distance, moved};
use super::tree::Tree;
use crate::model::ModuleId;
use crate::verify::Results;

/// Columns that the source moves sideways at once, and how far it goes.
const SIDEWAYS: (usize, usize) = (8, 200);

/// The view of an open checkpoint.
#[derive(Debug, Clone)]
pub struct View {
    /// The checkpoint.
    pub document: Arc<Document>,
    /// The tree pane.
    pub tree: Tree,
    /// The source pane.
    pub source: Source,
    /// The measurement pane.
    pub live: Scroll,
    /// What was measured.
    pub measured: Results,
    /// The pane that keys move in.
    pub focus: Pane,
    /// The pane below the tree where there is room for one only.
    pub lower: Pane,
}

/// The source pane.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The module whose class is shown.
    pub owner: Option<ModuleId>,
    /// First line on show, 1-based.
    pub top: usize,
    /// Columns scrolled away on the left.
    pub left: usize,
    /// The line that something points at.
    pub line: Option<usize>,
    /// The line that was chosen by its links, while this module is selected.
    pub chosen: Option<(ModuleId, usize)>,
    /// A line to go to, once the pane is on show.
    pub jump: Option<usize>,
    /// Colours, by class.
    pub colours: HashMap<String, Highlighted>,
    /// What was asked to be coloured last.
    pub asked: Option<(String, std::ops::Range<usize>)>,
}

impl View {
    /// A fresh view: the root's children are open, and theirs where the model is small.
    pub fn new(document: Arc<Document>) -> View {
        let depth = if document.len() <= 60 { usize::MAX } else { 2 };
        View {
            tree: Tree::new(&document, depth),
            source: Source { top: 1, ..Source::default() },
            live: Scroll::default(),
            measured: Results::of(document.model.clone()),
            focus: Pane::Tree,
            lower: Pane::Source,
            document,
        }
    }

    /// Where a jump to the next blocker starts.
    pub fn place(&self) -> Place {
        let selected = self.tree.selected;
        let source = self.document.module(selected).and_then(|module| self.document.triage.source(&module.class));
        // One in a file of a base is shown at the class.
        let at = |file: &str, line: usize| match source {
            Some(source) if source.file != file => source.class_line,
            _ => line,
        };
        let mut lines = self.document.blockers(selected).map(|(file, blocker, _)| at(file, blocker.line));
        let line = self.source.line.filter(|line| lines.any(|known| known == *line));
        Place { module: selected, line: line.unwrap_or(0) }
    }

    /// Go to a module and a line of its source.
    pub fn go_to(&mut self, place: Place, shape: Shape) {
        self.tree.reveal(&self.document, place.module);
        self.show(Pane::Source, shape);
        (self.source.chosen, self.source.jump) = (None, Some(place.line));
    }

    /// Let keys move in a pane.
    pub fn focus(&mut self, pane: Pane) {
        self.focus = pane;
        if pane != Pane::Tree {
            self.lower = pane;
        }
    }

    /// The pane so many further in the order of the tab key.
    pub fn focus_by(&mut self, by: usize) {
        let at = Pane::ALL.iter().position(|&pane| pane == self.focus).unwrap_or(0);
        self.focus(Pane::ALL.get((at + by) % Pane::ALL.len()).copied().unwrap_or(Pane::Tree));
    }

    /// Bring a pane into view; where there is one pane only, that means going there.
    pub fn show(&mut self, pane: Pane, shape: Shape) {
        self.lower = pane;
        if self.focus != Pane::Tree || matches!(shape, Shape::One | Shape::Tiny) {
            self.focus(pane);
        }
    }

    /// A key that moves in the pane that has the focus or to another one, or folds.
    pub fn command(&mut self, command: Command, areas: &Areas) {
        match command {
            Command::Left | Command::Right => self.sideways(command == Command::Right),
            Command::Fold => self.tree.toggle(&self.document, self.tree.selected),
            Command::NextPane => self.focus_by(1),
            Command::PreviousPane => self.focus_by(Pane::ALL.len() - 1),
            Command::FoldAll | Command::UnfoldAll => self.tree.fold_all(&self.document, command == Command::FoldAll),
            _ => match (distance(command, areas.page(self.focus)), self.focus) {
                (Some(by), Pane::Tree) => self.tree.step(by),
                (Some(by), pane) => self.scroll(areas, pane, by),
                (None, _) => {}
            },
        }
    }

    fn sideways(&mut self, right: bool) {
        let (step, most) = SIDEWAYS;
        match (self.focus, right) {
            (Pane::Tree, true) => self.tree.enter(&self.document),
            (Pane::Tree, false) => self.tree.leave(&self.document),
            (Pane::Source, true) => self.source.left = (self.source.left + step).min(most),
            (Pane::Source, false) => self.source.left = self.source.left.saturating_sub(step),
            (Pane::Live, _) => {}
        }
    }

    /// Scroll a pane, leaving cursors where they are.
    pub fn scroll(&mut self, areas: &Areas, pane: Pane, by: i64) {
        match pane {
            Pane::Tree => {
                self.tree.top = moved(self.tree.top, by, self.tree.rows.len().saturating_sub(1));
                self.tree.follow = false;
            }
            Pane::Source => {
                let shown = self.document.source(self.tree.selected);
                let lines = shown.map_or(1, |shown| shown.source.text.lines().count());
                let last = lines.saturating_sub(areas.page(Pane::Source) / 2);
                self.source.top = moved(self.source.top, by, last).max(1);
            }
            Pane::Live => self.live.by(by, areas.live),
        }
    }
}
