//! Where things were drawn. Drawing returns it, the mouse and the scroll keys read it.

use std::ops::Range;

use ratatui::layout::{Position, Rect};

use super::action::{Command, Pane};
use crate::model::ModuleId;

/// How many panes there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Not even one: a sentence.
    #[default]
    Tiny,
    /// One, with tabs.
    One,
    /// The tree, and source or measurement below it.
    Two,
    /// All three.
    Three,
}

impl Shape {
    /// The shape for a screen of that size.
    pub fn of(width: u16, height: u16) -> Shape {
        match (width, height) {
            (0..20, _) | (_, 0..5) => Shape::Tiny,
            (0..80, _) | (_, 0..18) => Shape::One,
            (0..120, _) | (_, 0..26) => Shape::Two,
            _ => Shape::Three,
        }
    }
}

/// The last frame's geometry.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// How many panes.
    pub shape: Shape,
    /// Rows of the tree, and the row at the top.
    pub tree: Option<(Rect, usize)>,
    /// The source.
    pub source: Option<SourceArea>,
    /// The measurement: its text, and how many rows of it are out of view below.
    pub live: Option<(Rect, usize)>,
    /// Tabs.
    pub tabs: Vec<(Rect, Pane)>,
    /// Keys in the footer.
    pub keys: Vec<(Rect, Command)>,
    /// The help or the filter, with its rows and how many are out of view below.
    pub overlay: Option<(Rect, usize)>,
    /// The row at the top of the list of findings.
    pub findings_top: usize,
}

/// Where the source was drawn.
#[derive(Debug, Clone, Default)]
pub struct SourceArea {
    /// The text.
    pub area: Rect,
    /// Lines of the file on show, 1-based.
    pub lines: Range<usize>,
    /// Screen rows that name a child module.
    pub links: Vec<(u16, ModuleId)>,
}

impl Layout {
    /// The pane at a position.
    pub fn pane_at(&self, column: u16, row: u16) -> Option<Pane> {
        let at = Position::new(column, row);
        if self.tree.is_some_and(|(area, _)| area.contains(at)) {
            Some(Pane::Tree)
        } else if self.source.as_ref().is_some_and(|source| source.area.contains(at)) {
            Some(Pane::Source)
        } else if self.live.is_some_and(|(area, _)| area.contains(at)) {
            Some(Pane::Live)
        } else {
            None
        }
    }

    /// Rows a page of that pane has, at least one.
    pub fn page(&self, pane: Pane) -> usize {
        let height = match pane {
            Pane::Tree => self.tree.map(|(area, _)| area.height),
            Pane::Source => self.source.as_ref().map(|source| source.area.height),
            Pane::Live => self.live.map(|(area, _)| area.height),
        };
        usize::from(height.unwrap_or(1)).max(1)
    }
}
