//! What panes and panels may change besides themselves.

use ratatui::layout::Position;

use super::action::{Command, Effect};
use super::areas::{Areas, Rows};
use super::keymap::Keymap;
use super::panes::View;
use super::state::Trials;

/// The parts of the state that a key or the mouse may change.
#[derive(Debug)]
pub struct Context<'a> {
    /// The panes.
    pub view: &'a mut View,
    /// Where the last frame put things.
    pub areas: &'a Areas,
    /// What a run does.
    pub trials: &'a mut Trials,
    /// A sentence for the bottom line.
    pub notice: &'a mut Option<String>,
    /// Keys.
    pub keymap: &'a Keymap,
    /// Whether the theme's background is dark.
    pub dark: bool,
    /// What the runtime is to do.
    pub effects: &'a mut Vec<Effect>,
}

/// What of a panel a click meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// A row of its list.
    Row(usize),
    /// Its list, where there is no row.
    Inside,
    /// Neither: the panel's border, or what is beside it.
    Beside,
}

impl Context<'_> {
    /// Where the open panel's rows are.
    pub fn rows(&self) -> Option<Rows> {
        self.areas.panel
    }

    /// What of the open panel is at a position.
    pub fn hit(&self, at: Position) -> Hit {
        match self.rows().filter(|rows| rows.area.contains(at)).map(|rows| rows.at(at)) {
            Some(Some(row)) => Hit::Row(row),
            Some(None) => Hit::Inside,
            None => Hit::Beside,
        }
    }

    /// The key of a command of the panes, for a sentence.
    pub fn key(&self, command: Command) -> String {
        self.keymap.key(None, command)
    }

    /// Put a sentence into the bottom line.
    pub fn say(&mut self, words: &str) {
        *self.notice = Some(words.to_owned());
    }
}
