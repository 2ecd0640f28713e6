//! The graph of a TorchScript archive: its code, gone through from the model's `forward` with everything called written out in
//! its place.
//!
//! What is known is worked out on the way: attributes of modules, sizes, numbers made of them. Conditions are decided by it and
//! loops unrolled. What sizes are, a [`World`] says, which runs the ops as they come; without one that does, conditions that
//! depend on sizes have both their sides in the graph and loops their body once, which is enough to count ops by.

mod builtins;
mod calls;
mod expressions;
mod lists;
mod machine;
mod numbers;
mod ops;
pub mod signature;
mod statements;
#[cfg(test)]
mod tests;
mod value;

use serde_json::Value as Json;

use machine::Machine;
use signature::{Argument, Parameter};
use t2m_checkpoint::Checkpoint;
use t2m_checkpoint::graph::{Graph, Node, TensorMeta, ValueId};

/// Stack of the thread that goes through the code, in bytes: functions call each other.
const STACK: usize = 256 << 20;

/// What ops give.
pub trait World: Send {
    /// What a node gives; its results are the values from `first` on. `None` where that is not known.
    ///
    /// # Errors
    /// In words: the op fails.
    fn run(&mut self, graph: &Graph, node: &Node, first: ValueId) -> Result<Option<Vec<Given>>, String>;

    /// The number that a tensor of one element has. `None` where that is not known.
    ///
    /// # Errors
    /// In words.
    fn number(&mut self, graph: &Graph, value: ValueId) -> Result<Option<Json>, String>;

    /// Values that are not asked for again.
    fn release(&mut self, values: &[ValueId]);
}

/// A result of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// A tensor.
    Tensor(TensorMeta),
    /// A number or a truth value.
    Number(Json),
    /// None.
    Nothing,
}

/// A world in which nothing is run.
struct Unknown;

impl World for Unknown {
    fn run(&mut self, _: &Graph, _: &Node, _: ValueId) -> Result<Option<Vec<Given>>, String> {
        Ok(None)
    }

    fn number(&mut self, _: &Graph, _: ValueId) -> Result<Option<Json>, String> {
        Ok(None)
    }

    fn release(&mut self, _: &[ValueId]) {}
}

/// Why there is no graph, in words, with the place in the code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refused {
    what: String,
    /// Whether the code itself raises an error.
    raises: bool,
}

/// The graph that a file's code is for these arguments, one for each of the [parameters].
///
/// # Errors
/// The file has no code; or the code does what no graph can, which is named with its place.
pub fn graph(checkpoint: &Checkpoint, arguments: &[Argument], world: &mut dyn World) -> Result<Graph, Refused> {
    on_a_large_stack(|| Machine::new(checkpoint, world, false)?.run(Some(arguments)))
}

/// The graph as far as the file alone tells it, to count its ops by: a value that depends on sizes is
/// [unknown](t2m_checkpoint::graph::Argument::Unknown).
///
/// # Errors
/// As [`graph`].
pub fn outline(checkpoint: &Checkpoint) -> Result<Graph, Refused> {
    on_a_large_stack(|| Machine::new(checkpoint, &mut Unknown, true)?.run(None))
}

/// What the model's forward takes, in order.
///
/// # Errors
/// As [`graph`].
pub fn parameters(checkpoint: &Checkpoint) -> Result<Vec<Parameter>, Refused> {
    on_a_large_stack(|| Machine::new(checkpoint, &mut Unknown, true)?.parameters())
}

/// Functions call each other, and expressions are nested: what is bounded by [`machine::DEEPEST`] needs more than a thread has.
fn on_a_large_stack<T: Send>(work: impl FnOnce() -> Result<T, Refused> + Send) -> Result<T, Refused> {
    std::thread::scope(|scope| {
        let failed = || Refused { what: "no thread can be started that reads the code".to_owned(), raises: false };
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).map_err(|_| failed())?;
        thread.join().unwrap_or_else(|_| Err(failed()))
    })
}
