//! The screen.
//!
//! `Event → Action → update(&mut State, Action) -> Vec<Effect>` (pure) → the runtime does the effects →
//! `draw(&State, …) -> Areas` (pure). The layout goes back into the state, so that the mouse hits what was drawn.
//!
//! | module | knows |
//! |---|---|
//! | [`document`] | the checkpoint, with sums ready for drawing |
//! | [`measuring`] | the thread that reads tensors for the details of a module |
//! | `queue` | a thread with jobs, for [`measuring`] and [`converting`] |
//! | [`offer`] | what a model of bare weights may be built by |
//! | [`nodes`], [`ran`], [`levels`] | the graph by module and line; what its run gave; which node stands for many in a chart |
//! | [`work`] | what is kept: marks, notes, results on record, where the user was |
//! | [`panes`] | tree, source, measurement and graph: one file each |
//! | [`panels`] | help, search, conversion and the like over the panes: one file each |
//! | [`state`] | all of it; [`context`]: the parts that panes and panels may change |
//! | [`action`], [`update`] | what can happen, and what it changes |
//! | [`opening`], [`failed`] | how far the opening is; the message where no checkpoint can be opened |
//! | [`scroll`] | how far each key moves; [`jumps`]: where the user has been |
//! | [`jobs`] | what takes time: how far it is, how fast, how long yet |
//! | [`field`] | a line of text that is edited |
//! | [`takeaway`], [`clipboard`], [`editor`], [`reporting`] | what is taken out of the screen: copied, edited, reported |
//! | [`shell`] | words as a shell takes them |
//! | [`show`] | recordings, and scripts that are played |
//! | [`keymap`], [`theme`], [`glyphs`] | keys, colours and signs, from `assets/` |
//! | [`canvas`], [`text`] | what drawing is given, and text that fits |
//! | [`draw`] | a frame: header and footer, with panes and panels between; the chart |
//! | [`areas`] | where things were drawn |
//! | [`runtime`], [`term`] | threads, signals and the terminal |
//! | [`snapshot`], [`svg`], [`png`] | a drawn buffer as text with its styles, and as a picture |

pub mod action;
pub mod areas;
pub mod canvas;
pub mod clipboard;
pub mod context;
pub mod converting;
pub mod document;
pub mod draw;
pub mod editor;
pub mod failed;
pub mod field;
pub mod glyphs;
pub mod jobs;
pub mod jumps;
pub mod keymap;
pub mod levels;
pub mod measuring;
pub mod nodes;
pub mod offer;
pub mod opening;
pub mod panels;
pub mod panes;
pub mod png;
mod queue;
pub mod ran;
pub mod reporting;
pub mod runtime;
pub mod scroll;
pub mod shell;
pub mod show;
pub mod snapshot;
pub mod state;
pub mod svg;
pub mod takeaway;
pub mod term;
pub mod text;
pub mod theme;
pub mod update;
pub mod work;

pub use runtime::{RunOptions, run};
