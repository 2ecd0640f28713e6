//! The screen.
//!
//! `Event → Action → update(&mut State, Action) -> Vec<Effect>` (pure) → the runtime does the effects →
//! `draw(&State, …) -> Areas` (pure). The layout goes back into the state, so that the mouse hits what was drawn.
//!
//! | module | knows |
//! |---|---|
//! | [`document`] | the checkpoint, with sums ready for drawing |
//! | [`tree`], [`view`] | what the panes know |
//! | [`panels`] | help, search, conversion and the like over the panes: one file each |
//! | [`state`] | all of it |
//! | [`action`], [`update`] | what can happen, and what it changes |
//! | [`scroll`] | how far each key moves |
//! | [`keymap`], [`theme`], [`glyphs`] | keys, colours and signs, from `assets/` |
//! | [`canvas`], [`text`] | what drawing is given, and text that fits |
//! | [`draw`] | one file a pane |
//! | [`areas`] | where things were drawn |
//! | [`runtime`], [`term`] | threads, signals and the terminal |
//! | [`snapshot`], [`svg`] | a drawn buffer as text with its styles, and as a picture |

pub mod action;
pub mod areas;
pub mod canvas;
pub mod converting;
pub mod document;
pub mod draw;
pub mod findings;
mod following;
pub mod glyphs;
pub mod keymap;
mod mouse;
pub mod panels;
pub mod runtime;
pub mod scroll;
pub mod snapshot;
pub mod state;
pub mod svg;
pub mod term;
pub mod text;
pub mod theme;
pub mod tree;
pub mod update;
pub mod view;

pub use runtime::{RunOptions, run};
