//! What a run runs: a graph, its weights, and the rows by which its ops convert.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use compact_str::CompactString;

use crate::registry::aten::Table;
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::graph::Graph;
use t2m_checkpoint::{Checkpoint, TensorData};

/// Where a graph's parameters, buffers and constants are.
pub trait State {
    /// One of them, by its name in the graph.
    ///
    /// # Errors
    /// In words: it is not there, or cannot be read.
    fn read(&self, name: &str) -> Result<TensorData, String>;
}

/// A graph that can be run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Job {
    /// The file: it holds the weights, and the graph where it is an exported program.
    pub checkpoint: Arc<Checkpoint>,
    /// The program that was exported for bare weights.
    pub exported: Option<Arc<Exported>>,
    /// The program of each op.
    pub table: Arc<Table>,
}

/// A program whose weights are in another file.
#[derive(Debug)]
pub struct Exported {
    /// The program.
    pub program: Arc<Checkpoint>,
    /// The other file's names of its parameters and buffers.
    pub names: HashMap<String, CompactString>,
    /// Its parameters: what the program's own file has in their place are no weights.
    pub parameters: HashSet<String>,
}

impl Job {
    /// A file that holds both, by the built-in rows.
    pub fn of(checkpoint: Arc<Checkpoint>) -> Job {
        Job { checkpoint, exported: None, table: Table::shared() }
    }

    /// The graph, if there is one.
    pub fn graph(&self) -> Option<&Graph> {
        self.program().graph.as_ref()
    }

    /// The inputs that it was made with, if the file holds them. A program that was exported for bare weights was given zeros.
    pub fn samples(&self) -> Option<&Checkpoint> {
        if self.exported.is_some() { None } else { self.checkpoint.samples.as_deref() }
    }

    fn program(&self) -> &Checkpoint {
        self.exported.as_ref().map_or(&self.checkpoint, |exported| &exported.program)
    }
}

impl State for Checkpoint {
    fn read(&self, name: &str) -> Result<TensorData, String> {
        find(self, name).unwrap_or_else(|| Err(absent(name)))
    }
}

impl State for Job {
    fn read(&self, name: &str) -> Result<TensorData, String> {
        let Some(exported) = &self.exported else { return State::read(&*self.checkpoint, name) };
        let own = find(&self.checkpoint, exported.names.get(name).map_or(name, CompactString::as_str));
        let beside = || if exported.parameters.contains(name) { None } else { find(&exported.program, name) };
        own.or_else(beside).unwrap_or_else(|| Err(absent(name)))
    }
}

/// A tensor by its name, or by another that it has.
fn find(file: &Checkpoint, name: &str) -> Option<Result<TensorData, String>> {
    let named = file.tensors.iter().position(|tensor| tensor.name == name);
    let id = named.or_else(|| file.ties.iter().find(|(tied, _)| tied == name).map(|(_, id)| *id))?;
    Some(file.read(id).map_err(|error| error.to_string()))
}

fn absent(name: &str) -> String {
    format!("the file does not hold `{}`", quoted(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;

    #[test]
    fn weights_are_the_checkpoints_and_buffers_that_it_lacks_the_programs() {
        let open = |name: &str| {
            Arc::new(
                Checkpoint::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap(),
            )
        };
        let (weights, program) = (open("state_dict.safetensors"), open("graphs/attention.pt2"));
        let there = weights.tensors[0].name.clone();
        let own = Job::of(Arc::clone(&program));
        assert!(own.graph().is_some() && own.samples().is_some());
        let exported = Exported {
            program: Arc::clone(&program),
            names: HashMap::from([("q.weight".to_owned(), there.clone())]),
            parameters: ["q.weight", "kv.weight"].map(str::to_owned).into(),
        };
        let job = Job { exported: Some(Arc::new(exported)), ..Job::of(Arc::clone(&weights)) };
        // What the program was exported with were zeros.
        assert!(job.graph().is_some() && job.samples().is_none());
        let read = |name: &str| State::read(&job, name);
        assert_eq!(read("q.weight").unwrap(), weights.read(0).unwrap());
        assert_eq!(read("bias").unwrap(), State::read(&*program, "bias").unwrap());
        let absent = read("kv.weight").unwrap_err();
        assert_eq!(absent, "the file does not hold `kv.weight`");
        assert!(read("no_such").is_err());
    }
}
