//! Writing a report: into the format that its name asks for, whole or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Page, Record, html, json, markdown};
use crate::files::{self, Inputs, Kind, Wanted};
use t2m_checkpoint::escape::escape;

/// What a report is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A page that needs nothing besides itself.
    Html,
    /// Markdown.
    Markdown,
    /// JSON: everything, without a bound.
    Json,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name does not say what it is to be.
    #[error("{}: a report is .html, .md or .json; give a name that ends so", escape(&path.to_string_lossy()))]
    Format {
        /// The path.
        path: PathBuf,
    },
    /// It cannot go there.
    #[error(transparent)]
    File(#[from] files::Error),
}

impl Error {
    /// Whether there is a file already, which may be replaced if the user says so.
    pub fn exists(&self) -> bool {
        matches!(self, Error::File(files::Error::Exists { .. }))
    }
}

impl Format {
    /// By the end of a file's name.
    ///
    /// # Errors
    /// It has none that a report can be.
    pub fn of(path: &Path) -> Result<Format, Error> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("html" | "htm") => Ok(Format::Html),
            Some("md" | "markdown") => Ok(Format::Markdown),
            Some("json") => Ok(Format::Json),
            _ => Err(Error::Format { path: path.to_owned() }),
        }
    }
}

/// Write a report into a file. One that is there is replaced only by `force`; no file that was read is.
///
/// # Errors
/// The name has no format, or the file cannot be written.
pub fn write(record: &Record, inputs: &Inputs, path: &Path, force: bool) -> Result<(), Error> {
    let format = Format::of(path)?;
    let mut read = Inputs::clone(&record.opened.inputs);
    read.extend(inputs.clone());
    let wanted = Wanted { path: path.to_owned(), kind: Kind::Report };
    Ok(files::write_whole(&read, wanted, force, |out| to(record, format, out))?)
}

/// Write a report piece by piece.
pub(super) fn to(record: &Record, format: Format, out: &mut dyn Write) -> io::Result<()> {
    let page = Page::of(record);
    match format {
        Format::Html => html::write(&page, out),
        Format::Markdown => markdown::write(&page, out),
        Format::Json => json::write(&page, out),
    }
}
