//! The lines between the panes: where they are, and how keys and the mouse move them.

use ratatui::layout::{Position, Rect};

use super::super::action::Command;

/// Columns and rows that a pane keeps.
const LEAST: (u16, u16) = (20, 4);
/// How far a key moves a line.
const STEP: (u16, u16) = (4, 2);

/// A line between panes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Between the tree and the source.
    Tree,
    /// Above the pane at the bottom, where there are three.
    Bottom,
    /// Between two panes, one above the other.
    Middle,
}

/// Where a line was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Which.
    pub line: Line,
    /// The borders that are dragged.
    pub grip: Rect,
    /// What it divides.
    pub whole: Rect,
    /// Columns on its left, or rows below it.
    pub size: u16,
}

/// How the user divides the screen, in thousandths of it; `None` where it is as usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Splits {
    tree: Option<u16>,
    bottom: Option<u16>,
    middle: Option<u16>,
    /// The line that the mouse holds.
    held: Option<Line>,
}

impl Splits {
    /// Columns on the left of a line, or rows below it, in `whole`; `usual` where nobody moved it.
    pub fn size(self, line: Line, whole: Rect, usual: u16) -> u16 {
        let (all, least) = extent(line, whole);
        let share = match line {
            Line::Tree => self.tree,
            Line::Bottom => self.bottom,
            Line::Middle => self.middle,
        };
        let wanted = share.map_or(usual, |share| ((u32::from(share) * u32::from(all) + 500) / 1000) as u16);
        wanted.clamp(least.min(all / 2), all.saturating_sub(least).max(all / 2))
    }

    /// The shares of tree, bottom and middle; `None` where a line is where it is at first.
    pub fn shares(self) -> [Option<u16>; 3] {
        [self.tree, self.bottom, self.middle]
    }

    /// Lines at these shares; what is more than the whole is left out.
    pub fn of_shares(shares: [Option<u16>; 3]) -> Splits {
        let [tree, bottom, middle] = shares.map(|share| share.filter(|share| *share <= 1000));
        Splits { tree, bottom, middle, held: None }
    }

    fn set(&mut self, split: &Split, size: u16) {
        let (all, least) = extent(split.line, split.whole);
        let size = size.clamp(least.min(all / 2), all.saturating_sub(least).max(all / 2));
        let share = (u32::from(size) * 1000 / u32::from(all.max(1))) as u16;
        match split.line {
            Line::Tree => self.tree = Some(share),
            Line::Bottom => self.bottom = Some(share),
            Line::Middle => self.middle = Some(share),
        }
    }

    /// A key moves a line. Returns whether there is one that it moves.
    pub fn command(&mut self, command: Command, drawn: &[Split]) -> bool {
        let upright = matches!(command, Command::Narrower | Command::Wider);
        let Some(split) = drawn.iter().find(|split| (split.line == Line::Tree) == upright) else { return false };
        let step = if upright { STEP.0 } else { STEP.1 };
        let size = match command {
            Command::Wider | Command::Taller => split.size.saturating_add(step),
            _ => split.size.saturating_sub(step),
        };
        self.set(split, size);
        true
    }

    /// The mouse goes down. Returns whether it holds a line now.
    pub fn hold(&mut self, at: Position, drawn: &[Split]) -> bool {
        self.held = drawn.iter().find(|split| split.grip.contains(at)).map(|split| split.line);
        self.held.is_some()
    }

    /// The mouse moved, or let go.
    pub fn drag(&mut self, at: Position, on: bool, drawn: &[Split]) {
        if let Some(split) = self.held.and_then(|held| drawn.iter().find(|split| split.line == held)) {
            let size = match split.line {
                Line::Tree => (at.x + 1).saturating_sub(split.whole.x),
                Line::Bottom | Line::Middle => split.whole.bottom().saturating_sub(at.y),
            };
            self.set(split, size);
        }
        if !on {
            self.held = None;
        }
    }
}

/// What a line divides: columns or rows, and the fewest of them on each side.
fn extent(line: Line, whole: Rect) -> (u16, u16) {
    if line == Line::Tree { (whole.width, LEAST.0) } else { (whole.height, LEAST.1) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_line_moves_and_both_sides_stay() {
        let mut splits = Splits::default();
        let whole = Rect::new(0, 1, 160, 30);
        let drawn = |splits: Splits| {
            let size = splits.size(Line::Tree, whole, 76);
            [Split { line: Line::Tree, grip: Rect::new(size - 1, 1, 2, 30), whole, size }]
        };
        assert!(splits.command(Command::Wider, &drawn(splits)));
        assert_eq!(splits.size(Line::Tree, whole, 76), 80);
        for _ in 0..40 {
            splits.command(Command::Narrower, &drawn(splits));
        }
        assert_eq!(splits.size(Line::Tree, whole, 76), 20);
        assert!(!splits.command(Command::Taller, &drawn(splits)), "no line lies across");
        assert!(splits.hold(Position::new(20, 5), &drawn(splits)));
        splits.drag(Position::new(99, 9), true, &drawn(splits));
        assert_eq!(splits.size(Line::Tree, whole, 76), 100);
        splits.drag(Position::new(500, 9), false, &drawn(splits));
        assert_eq!(splits.size(Line::Tree, whole, 76), 140);
        splits.drag(Position::new(50, 9), true, &drawn(splits));
        assert_eq!(splits.size(Line::Tree, whole, 76), 140, "it was let go");
        // Another size of the screen keeps the share.
        assert_eq!(splits.size(Line::Tree, Rect::new(0, 0, 120, 30), 58), 100);
        assert_eq!(splits.size(Line::Tree, Rect::new(0, 0, 10, 30), 58), 5, "what is too small is halved");
    }
}
