//! The screen.
//!
//! `Event → Action → update(&mut State, Action) -> Vec<Effect>` (pure) → the runtime does the effects →
//! `draw(&State, …) -> Layout` (pure). The layout goes back into the state, so that the mouse hits what was drawn.
//!
//! | module | knows |
//! |---|---|
//! | [`document`] | the checkpoint, with sums ready for drawing |
//! | [`tree`], [`measured`], [`converting`], [`state`] | what the screen knows |
//! | [`action`], [`update`] | what can happen, and what it changes |
//! | [`keymap`], [`theme`], [`glyphs`] | keys, colours and signs, from `assets/` |
//! | [`draw`] | one file a pane |
//! | [`layout`] | where things were drawn |
//! | [`runtime`], [`term`] | threads, signals and the terminal |
//! | [`snapshot`], [`svg`] | a drawn buffer as text with its styles, and as a picture |

pub mod action;
pub mod converting;
pub mod document;
pub mod draw;
pub mod findings;
pub mod glyphs;
pub mod keymap;
pub mod layout;
mod links;
mod mouse;
pub mod runtime;
pub mod snapshot;
pub mod state;
pub mod svg;
pub mod term;
pub mod theme;
pub mod tree;
pub mod update;

pub use runtime::{RunOptions, run};
