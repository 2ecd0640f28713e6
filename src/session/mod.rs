//! What outlives a run: results with what they rest on, marks and notes, attributes that were typed, and where the user was. One
//! file for each checkpoint, in the user's state folder or beside the checkpoint.
//!
//! | module | knows |
//! |---|---|
//! | [`entries`] | what is kept, as types |
//! | [`time`] | when |
//! | [`identity`] | which checkpoint it is of: header, pickle and size, not its name |
//! | [`store`] | where it is, reading and writing, damaged files and those of other versions |
//! | [`merge`] | two of the same checkpoint: for each entry the newer |
//! | [`keeper`] | the thread that writes a moment after a change |
//!
//! Reading a session for a report:
//!
//! ```no_run
//! # use t2m_tui::{open, session, verify};
//! # fn f(opened: &open::Opened) {
//! let kept = session::load(&opened.checkpoint, &session::Place::usual(None));
//! let results = verify::recorded::results(&opened.model, &opened.triage, &kept.session);
//! let mark = kept.session.note(&session::About::Module("layer1.0".to_owned()));
//! # }
//! ```

pub mod entries;
pub mod identity;
pub mod keeper;
pub mod merge;
pub mod store;
pub mod time;

pub use entries::{
    About, Basis, Engines, GraphRun, Mark, Measured, Note, Panes, Screen, Session, Setting, Twin, TypedEntry,
};
pub use keeper::{Change, Keeper, Told};
pub use store::{Loaded, Place, Store, find, load};
pub use time::Time;
