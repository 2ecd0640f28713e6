//! The inputs of a graph: its own samples, a file's tensors, or drawn ones.

use crate::plan::Input;
use crate::plan::input::Values;
use t2m_checkpoint::graph::Graph;
use t2m_checkpoint::{Checkpoint, Dtype, TensorData};

/// Where inputs come from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The inputs that the graph was made with, in their order.
    Sample(&'a Checkpoint),
    /// Another file, by name or position.
    File(&'a Checkpoint),
    /// Drawn at random.
    Seed(u64),
}

/// An input of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Its name in the graph.
    pub name: String,
    /// Element type.
    pub dtype: &'static str,
    /// Sizes.
    pub shape: Vec<usize>,
    /// `sample`, `file` or `seed`.
    pub from: &'static str,
}

/// Ids are drawn below this, where nothing says how many there are: every vocabulary has them.
const IDS_BELOW: u64 = 2;

/// The inputs of a graph, described and as tensors.
///
/// # Errors
/// In words: one is missing, or cannot be drawn.
pub fn inputs(graph: &Graph, source: Source<'_>) -> Result<(Vec<Given>, Vec<TensorData>), String> {
    let mut given = Vec::new();
    let mut tensors = Vec::new();
    for (at, id) in graph.user_inputs().enumerate() {
        let value = graph.value(id).ok_or("an input has no value")?;
        let (tensor, from) = match source {
            Source::Sample(samples) => {
                let read = samples.read(at).map_err(|error| error.to_string());
                (read.map_err(|reason| format!("its sample input {at}: {reason}"))?, "sample")
            }
            Source::File(file) => {
                let position = format!("in{at}");
                let found = file.tensors.iter().position(|tensor| tensor.name == value.name || tensor.name == position);
                let found =
                    found.ok_or_else(|| format!("--inputs holds no tensor `{}` and none `{position}`", value.name))?;
                (file.read(found).map_err(|error| error.to_string())?, "file")
            }
            Source::Seed(seed) => {
                let meta = value.tensor.as_ref().ok_or_else(|| format!("input `{}` is no tensor", value.name))?;
                let shape = meta.sizes.iter().map(|size| size.and_then(|size| usize::try_from(size).ok()));
                let shape: Option<Vec<usize>> = shape.collect();
                let shape = shape
                    .ok_or_else(|| format!("input `{}` has no sizes in the file; give it with --inputs", value.name))?;
                let values = if meta.dtype.is_floating() { Values::Normal(1.0) } else { Values::Ids(IDS_BELOW) };
                (Input { shape, values, to_mlx: None }.generate(seed, at, Dtype::Float32), "seed")
            }
        };
        let (dtype, shape) = (tensor.dtype.name(), tensor.shape.clone());
        given.push(Given { name: value.name.clone(), dtype, shape, from });
        tensors.push(tensor);
    }
    Ok((given, tensors))
}
