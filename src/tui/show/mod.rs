//! Showing the screen to others: what it draws as a recording, and a script that types keys, the same each time.

pub mod cast;
pub mod player;
pub mod script;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use ratatui::buffer::Buffer;

use super::action::Highlighted;
use super::state::{Screen, State};
use cast::Recorder;
use player::{Seen, Watch};

/// What is asked for on the command line.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Where the recording goes.
    pub record: Option<PathBuf>,
    /// The script that is played.
    pub play: Option<PathBuf>,
    /// Columns and rows of a screen that is drawn on nothing; `None` for that of the terminal.
    pub size: Option<(u16, u16)>,
}

/// What the loop keeps of it.
#[derive(Debug, Default)]
pub struct Showing {
    /// The recording.
    pub recorder: Option<Recorder>,
    /// What a script that is played waits for.
    pub watch: Option<Watch>,
    /// Whether the program ends with the script.
    pub ends: bool,
    /// How much of the script has arrived.
    pub played: u64,
    /// The lines whose colours are on their way.
    pub asked: Option<(String, Range<usize>)>,
}

/// What a script says to the loop, between keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Show a caption, or none.
    Caption(Option<String>),
    /// So much time has passed in the recording.
    Passed(Duration),
    /// Everything before this has been said.
    Said(u64),
    /// The script is at its end; or what it waited for in vain.
    Ended(Result<(), String>),
}

impl Showing {
    /// Colours of lines have arrived.
    pub fn coloured(&mut self, done: &Highlighted) {
        if self.asked.as_ref().is_some_and(|(class, lines)| (class, lines) == (&done.class, &done.lines)) {
            self.asked = None;
        }
    }

    /// A frame was drawn: record it, and tell who waits. Returns what to say where the recording has to end.
    pub fn frame(&mut self, buffer: &Buffer, state: &State) -> Option<String> {
        let failed = self.recorder.as_mut().and_then(|recorder| recorder.frame(buffer).err());
        if let Some(watch) = &self.watch {
            let view = match &state.screen {
                Screen::Open(view) => Some(view),
                Screen::Opening(_) | Screen::Failed(_) => None,
            };
            watch.tell(Seen {
                played: self.played,
                text: super::snapshot::rows(buffer).join("\n"),
                opened: !matches!(state.screen, Screen::Opening(_)),
                moving: state.is_moving(),
                measured: view.is_some_and(|view| view.measured.total().finished() > 0 || !view.ran.is_empty()),
                settled: self.asked.is_none(),
            });
        }
        failed.map(|error| {
            self.recorder = None;
            format!("the recording ended: {error}")
        })
    }
}
