//! What was found, as text, JSON or Markdown.

mod architecture;
pub mod check;
pub mod compare;
pub mod convert;
pub mod inspect_json;
pub mod inspect_text;
pub mod matrix;
pub mod ops;
pub mod page;
pub mod repro;
pub mod run;
pub mod verify;

use serde::ser::{Serialize, Serializer};

/// A list whose items are made as they are written.
struct Each<F>(F);

impl<T: Serialize, I: Iterator<Item = T>, F: Fn() -> I> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// Text for a code span in a cell of a Markdown table.
pub fn code_cell(text: &str) -> String {
    t2m_checkpoint::escape::quoted(text).replace('|', "\\|").replace('`', "'")
}
