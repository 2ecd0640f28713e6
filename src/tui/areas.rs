//! Where things were drawn. Drawing returns it, the mouse and the scroll keys read it.

use ratatui::layout::{Position, Rect};

use super::action::Command;
use super::panes::Pane;
use super::panes::splits::Split;
use crate::model::ModuleId;

/// How many panes there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Not even one: the screen shows a sentence.
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
pub struct Areas {
    /// How many panes.
    pub shape: Shape,
    /// The panes on show, with their rows.
    pub panes: Vec<(Pane, Rows)>,
    /// Places in panes that lead to a module.
    pub links: Vec<(Rect, ModuleId)>,
    /// Tabs.
    pub tabs: Vec<(Rect, Pane)>,
    /// Lines between panes that can be moved.
    pub splits: Vec<Split>,
    /// Keys in the footer.
    pub keys: Vec<(Rect, Command)>,
    /// The rows of the panel over the panes.
    pub panel: Option<Rows>,
}

/// A list of rows, part of which is on show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows {
    /// Where that part is.
    pub area: Rect,
    /// The first row on show.
    pub top: usize,
    /// How many rows there are.
    pub count: usize,
}

impl Rows {
    /// How many rows fit.
    pub fn page(self) -> usize {
        usize::from(self.area.height).max(1)
    }

    /// How many are out of view below.
    pub fn below(self) -> usize {
        self.count.saturating_sub(self.top + usize::from(self.area.height))
    }

    /// The first row of the last page.
    pub fn last_top(self) -> usize {
        self.count.saturating_sub(usize::from(self.area.height))
    }

    /// The row at a position.
    pub fn at(self, at: Position) -> Option<usize> {
        let row = self.area.contains(at).then(|| self.top + usize::from(at.y - self.area.y))?;
        (row < self.count).then_some(row)
    }
}

impl Areas {
    /// The rows of a pane, if it is on show.
    pub fn pane(&self, pane: Pane) -> Option<Rows> {
        self.panes.iter().find(|(shown, _)| *shown == pane).map(|(_, rows)| *rows)
    }

    /// The pane at a position, with its rows.
    pub fn pane_at(&self, at: Position) -> Option<(Pane, Rows)> {
        self.panes.iter().find(|(_, rows)| rows.area.contains(at)).copied()
    }

    /// How many rows fit in a pane, at least one.
    pub fn page(&self, pane: Pane) -> usize {
        self.pane(pane).map_or(1, Rows::page)
    }
}
