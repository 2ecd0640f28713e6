//! What can be wrong with a checkpoint.

use std::path::{Path, PathBuf};

use crate::escape::{escape, quoted};

/// An error with the file, the place in it, and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system said no.
    #[error("{}: cannot be read: {source}", shown(path))]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The path is no regular file.
    #[error("{}: {what}", shown(path))]
    NotAFile {
        /// Path of the file.
        path: PathBuf,
        /// What it is and what to give instead.
        what: String,
    },
    /// The content is not one of the formats that are read.
    #[error("{}: {what}", shown(path))]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// What it is and what to do.
        what: String,
    },
    /// The zip archive is damaged.
    #[error("{}: {record}, byte {offset}: {what}", shown(path))]
    Archive {
        /// Path of the file.
        path: PathBuf,
        /// The record, or the part of the archive.
        record: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong and what to do.
        what: String,
    },
    /// The pickle is damaged, or does what no checkpoint does.
    #[error("{}: {record}, byte {offset}: {what}", shown(path))]
    Pickle {
        /// Path of the file.
        path: PathBuf,
        /// The record.
        record: String,
        /// Where in the record.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The safetensors header is damaged.
    #[error("{}: safetensors header, byte {offset}: {what}", shown(path))]
    Safetensors {
        /// Path of the file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What is wrong and what to do.
        what: String,
    },
    /// The bytes of a tensor cannot be had.
    #[error("{}: tensor `{tensor}`: {what}", shown(path))]
    Tensor {
        /// Path of the file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: String,
        /// Why they cannot be read.
        what: String,
    },
    /// Tensors are views that come to far more than is stored.
    #[error(
        "{}: written out, its tensors come to {sum} bytes, `{tensor}` alone to {bytes}, where {stored} are stored and {most} are the most that is written out: they are expanded or overlapping views. Save copies of those that are needed (`tensor.clone()`)",
        shown(path)
    )]
    Spread {
        /// Path of the file.
        path: PathBuf,
        /// The name of the tensor that comes to the most.
        tensor: String,
        /// What it comes to.
        bytes: u64,
        /// What all come to.
        sum: u64,
        /// Bytes in the files.
        stored: u64,
        /// The most that is written out of so many.
        most: u64,
    },
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

/// A name out of a file, safe for a terminal and cut to a length that fits a message.
pub(super) fn name_for_message(name: &str) -> String {
    quoted(name).into_owned()
}
