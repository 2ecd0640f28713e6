//! The code of a TorchScript archive, and the objects that it runs on: what a graph is made of. Nothing is run here.
//!
//! [`parse`] reads a file of code; what a call in it means is not known to this crate.

mod parser;
pub mod syntax;
mod tokens;

use std::sync::Arc;

use super::graph::TensorMeta;
pub use super::literal::{Misread, literal};
pub use parser::parse;

/// The code and the objects of an archive.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Each file of code.
    pub files: Vec<File>,
    /// Modules and other objects; the first is the model. One that stands in several places is here once.
    pub objects: Vec<Object>,
    /// Types and sizes of the tensors that the model was traced with; empty where it was scripted, or the file does not say.
    pub traced: Vec<TensorMeta>,
}

/// A file of code.
#[derive(Debug, Clone)]
pub struct File {
    /// The archive's name for it (`code/__torch__/nets.py`).
    pub record: String,
    /// What the names in it begin with (`__torch__.nets`).
    pub module: String,
    /// What it holds.
    pub text: String,
    /// Where pieces of it come from: the byte at which one begins, the user's file and 1-based line; in order.
    pub places: Vec<(usize, Arc<str>, usize)>,
}

/// A module, or another object of a class that is in the code.
#[derive(Debug, Clone, Default)]
pub struct Object {
    /// Its class, as TorchScript has it (`__torch__.nets.___torch_mangle_5.Block`).
    pub class: String,
    /// Its path from the model, the first of several.
    pub path: String,
    /// By name.
    pub attributes: Vec<(String, Attribute)>,
}

/// An attribute of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// Another object, by its index.
    Object(usize),
    /// A tensor, by its name in the file.
    Tensor(String),
    /// None.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Attribute>),
    /// A tuple.
    Tuple(Vec<Attribute>),
    /// A dict, in its order.
    Dict(Vec<(Attribute, Attribute)>),
    /// A member of an enumeration, by its class as TorchScript has it and its value.
    Member(String, Box<Attribute>),
    /// Where tensors are to be.
    Device,
    /// What is not read.
    Unread,
}

impl File {
    /// The user's file and line that a byte of the code comes from; what is told of bytes before `from` is told of others.
    pub fn place(&self, at: usize, from: usize) -> Option<(Arc<str>, usize)> {
        let behind = self.places.partition_point(|(start, _, _)| *start <= at);
        let (start, file, line) = self.places.get(behind.checked_sub(1)?)?;
        (*start >= from).then(|| (Arc::clone(file), *line))
    }

    /// The 1-based line of a byte of the code.
    pub fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }
}
