//! The key map as JSON: `{mlx name: {"from": [torch names], "rule", "shape", …}}`, with all that the way back needs.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Entry, Known, StateDict};
use crate::checkpoint::{Checkpoint, Dtype};
use crate::convert::weights::{Fold, Layout};
use crate::convert::{Move, Rule};

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
