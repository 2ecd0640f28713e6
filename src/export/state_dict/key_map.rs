//! The key map as JSON: `{mlx name: {"from": [torch names], "rule", "shape", …}}`, with all that the way back needs.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Entry, Known, StateDict};
use crate::files;
use crate::plan::weights::{Fold, Layout};
use crate::plan::{Move, Rule};
use t2m_checkpoint::escape::escape;
use t2m_checkpoint::{Checkpoint, Dtype};

/// The longest key map that is read, in bytes: a million tensors take some 450 MB.
pub const LONGEST: u64 = 512 << 20;
/// Characters of the parser's words in a message: it quotes what it does not know.
const LONGEST_WORDS: usize = 200;

/// The rows of a key map, by MLX's name.
pub type KeyMap = IndexMap<String, Row>;

/// How one MLX tensor is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Torch's names, in the order that the fold takes.
    pub from: Vec<String>,
    /// The rule in words: `conv2d`, `split`.
    pub rule: String,
    /// MLX's shape.
    pub shape: Vec<usize>,
    /// Torch's shapes.
    pub from_shapes: Vec<Vec<usize>>,
    /// Torch's type.
    pub dtype: Dtype,
    /// What is made of the sources first.
    pub fold: Fold,
    /// The layout after that.
    pub layout: Layout,
    /// `plan`, `layout` or `copied`.
    pub known: String,
    /// Why it is only copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why a key map is not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read, or is no plain file of a bearable size.
    #[error("{}: {source}", escape(&path.to_string_lossy()))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: files::ReadError,
    },
    /// It is something else.
    #[error("{}: is no key map: {what}; convert writes one with --map", escape(&path.to_string_lossy()))]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong, with line and column.
        what: String,
    },
}

/// Read a key map of at most [`LONGEST`] bytes.
///
/// # Errors
/// It cannot be read, is longer, or is no key map.
pub fn read(path: &Path) -> Result<KeyMap, Error> {
    let text = files::read(path, LONGEST).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

/// The key map that a text is; `path` is for the message.
///
/// # Errors
/// It is none.
pub fn parse(path: &Path, text: &[u8]) -> Result<KeyMap, Error> {
    serde_json::from_slice(text).map_err(|error| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let words = error.to_string();
        let words = words.strip_suffix(&place).unwrap_or(&words);
        let mut what: String = escape(words).chars().take(LONGEST_WORDS).collect();
        if what.len() < words.len() {
            what.push('…');
        }
        Error::Format { path: path.to_owned(), what: what + &place }
    })
}

/// The rows of a state dict.
pub fn rows(checkpoint: &Checkpoint, map: &StateDict) -> KeyMap {
    map.entries.iter().map(|entry| (entry.name.to_string(), row(checkpoint, entry))).collect()
}

fn row(checkpoint: &Checkpoint, entry: &Entry) -> Row {
    let tensors = || entry.from.iter().map(|&id| &checkpoint.tensors[id]);
    let (known, reason) = match &entry.known {
        Known::Plan => ("plan", None),
        Known::Layout => ("layout", None),
        Known::Copied(doubt) => ("copied", Some(doubt.to_string())),
    };
    Row {
        from: tensors().map(|tensor| tensor.name.to_string()).collect(),
        rule: entry.rule(),
        shape: entry.shape.to_vec(),
        from_shapes: tensors().map(|tensor| tensor.shape.iter().map(|&axis| axis as usize).collect()).collect(),
        dtype: entry.dtype,
        fold: entry.step.fold.clone(),
        layout: entry.step.rule.layout.clone(),
        known: known.to_owned(),
        reason,
    }
}

impl Row {
    /// The move, with torch's and MLX's full names.
    pub fn step(&self, mlx: &str) -> Move {
        let rule = Rule { name: self.rule.clone(), layout: self.layout.clone() };
        Move { from: self.from.clone(), to: mlx.to_owned(), fold: self.fold.clone(), rule }
    }
}
