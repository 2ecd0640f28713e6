//! What was found, as text, JSON or Markdown.

pub mod check;
pub mod compare;
pub mod convert;
pub mod inspect_json;
pub mod inspect_text;
pub mod matrix;
pub mod ops;
pub mod verify;

/// Text for a code span in a cell of a Markdown table.
pub fn code_cell(text: &str) -> String {
    t2m_checkpoint::escape::quoted(text).replace('|', "\\|").replace('`', "'")
}
