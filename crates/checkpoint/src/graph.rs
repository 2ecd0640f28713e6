//! The graph of a whole model as a file holds it: nodes in the order they run, the values between them, and where each is in
//! the model's own code.
//!
//! Node, target and placeholder are torch.fx's words. Nothing is run here, and nothing is decided about an op.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::Dtype;

/// A value of a graph: its index in [`Graph::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// A graph, or one within a graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    /// Every value: inputs, and what nodes give.
    pub values: Vec<Value>,
    /// Placeholders, in order.
    pub inputs: Vec<Input>,
    /// In the order they run.
    pub nodes: Vec<Node>,
    /// What the caller gets, in order.
    pub outputs: Vec<Argument>,
    /// What Python calls an input that is a member of a dict, a tuple or a list: `batch.image`, `pair.0`.
    pub members: HashMap<ValueId, String>,
}

/// What is known of a value without running anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Its name in the file.
    pub name: String,
    /// Type and shape, where it is a tensor and the file says.
    pub tensor: Option<TensorMeta>,
}

/// Type and shape of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorMeta {
    /// Element type.
    pub dtype: Dtype,
    /// Sizes; `None` for one that depends on the inputs and has no hint. A symbolic size has what it was at the export.
    pub sizes: Vec<Option<u64>>,
}

/// A placeholder.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The value.
    pub value: ValueId,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a placeholder's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A parameter, a buffer, or a constant of the model, under its full name in the file.
    State(String),
    /// The caller.
    User,
    /// The caller, and it is a number: what it was at the export, where the file says.
    Number(Option<Json>),
    /// The caller at the export: a plain value that is part of the graph since.
    Fixed(Json),
    /// Something that is no tensor, such as a token or an object.
    Other,
}

/// The call of an op.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name in the file.
    pub name: String,
    /// The op, without torch's prefix (`aten.conv2d.default`, `higher_order.cond`, `_operator.mul`).
    pub target: String,
    /// What it is given. Those that have the default of the op's schema are left out.
    pub arguments: Vec<(String, Argument)>,
    /// What it gives: several for a tuple; none for a check.
    pub outputs: Vec<Option<ValueId>>,
    /// Path of the module whose forward it is in, `""` for the root.
    pub module: Arc<str>,
    /// Python file and 1-based line of the user's code.
    pub place: Option<(Arc<str>, usize)>,
}

/// An argument of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// A plain value: None, a number, a text, a truth value, or a list of them.
    Plain(Json),
    /// A number that JSON cannot write.
    Infinite(f64),
    /// A value of the graph, tensor or number.
    Value(ValueId),
    /// Several, of which each may be a value, a plain one, or None.
    List(Vec<Argument>),
    /// An element type.
    Dtype(Dtype),
    /// Where a tensor is to be (`cpu`).
    Device(String),
    /// The order of a tensor's axes in memory, in torch's numbers; what is computed does not depend on it.
    MemoryFormat,
    /// Dense or sparse.
    Layout,
    /// The branch of a condition or the body of a loop.
    Graph(Box<Graph>),
    /// What is not read, by its name in the file's format.
    Unread(String),
    /// What depends on sizes or elements that the file does not say.
    Unknown,
}

impl Graph {
    /// A value.
    pub fn value(&self, id: ValueId) -> Option<&Value> {
        self.values.get(id.0 as usize)
    }

    /// The tensors that a caller gives, in order.
    pub fn user_inputs(&self) -> impl Iterator<Item = ValueId> {
        self.inputs.iter().filter(|input| input.origin == Origin::User).map(|input| input.value)
    }
}

impl Argument {
    /// The values that it has, itself or in lists; not those within a graph.
    pub fn values(&self) -> Vec<ValueId> {
        match self {
            Argument::Value(id) => vec![*id],
            Argument::List(items) => items.iter().flat_map(Argument::values).collect(),
            _ => Vec::new(),
        }
    }
}

impl Argument {
    /// Whether something in it is not known.
    pub fn is_unknown(&self) -> bool {
        match self {
            Argument::Unknown => true,
            Argument::List(items) => items.iter().any(Argument::is_unknown),
            _ => false,
        }
    }
}

impl Node {
    /// An argument by its name in the op's schema.
    pub fn argument(&self, name: &str) -> Option<&Argument> {
        self.arguments.iter().find(|(known, _)| known == name).map(|(_, argument)| argument)
    }
}
