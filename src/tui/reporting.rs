//! Writing a report from the screen, on a thread of its own.

use std::path::PathBuf;

use super::converting::at_home;
use crate::files::Inputs;
use crate::report::page::{self, Record};

/// A report that is to be written.
#[derive(Debug, Clone)]
pub struct Order {
    /// Where.
    pub path: PathBuf,
    /// Whether a file that is there is replaced.
    pub force: bool,
    /// Of what.
    pub record: Record,
}

/// Why it was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is a file, and nobody has said that it may be replaced.
    Exists,
    /// In words.
    Wrong(String),
}

/// Write it; returns what to say.
///
/// # Errors
/// It cannot go there.
pub fn write(order: Order) -> Result<String, Refused> {
    let Order { path, force, record } = order;
    let path = at_home(&path);
    match page::write(&record, &Inputs::default(), &path, force) {
        Ok(()) => Ok(format!("the report is in {}", path.display())),
        Err(error) if error.exists() => Err(Refused::Exists),
        Err(error) => Err(Refused::Wrong(error.to_string())),
    }
}
