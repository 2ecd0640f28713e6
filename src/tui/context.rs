//! What panes and panels may change besides themselves.

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

impl Context<'_> {
    /// Where the open panel's rows are.
    pub fn rows(&self) -> Option<Rows> {
        self.areas.panel
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
