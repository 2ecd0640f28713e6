//! The inputs of a graph: its own samples, a file's tensors, or drawn ones.

use crate::architecture::spec::InputSpec;
use crate::plan::Input;
use crate::plan::input::Values;
use crate::script;
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
    /// Drawn at random in these shapes, by name or in order.
    Specs(&'a [InputSpec], u64),
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
            Source::Specs(specs, seed) => {
                let named = specs.iter().find(|spec| spec.name.as_deref() == Some(value.name.as_str()));
                let spec = named.or_else(|| specs.iter().filter(|spec| spec.name.is_none()).nth(at));
                let spec = spec.ok_or_else(|| format!("--input does not say what `{}` is", value.name))?;
                let shape: Option<Vec<usize>> = spec.shape.iter().map(|size| usize::try_from(*size).ok()).collect();
                let shape = shape.ok_or_else(|| format!("--input {spec}: it is too large"))?;
                let values = match spec.dtype.is_floating() {
                    true => Values::Normal(1.0),
                    false => Values::Ids(spec.below.unwrap_or(IDS_BELOW)),
                };
                let drawn = Input { shape, values, to_mlx: None }.generate(seed, at, Dtype::Float32);
                let cast = drawn.cast(spec.dtype);
                (cast.ok_or_else(|| format!("--input {spec}: inputs in {} are not drawn", spec.dtype.name()))?, "seed")
            }
            Source::Seed(seed) => {
                let meta = value.tensor.as_ref().ok_or_else(|| {
                    format!("the file does not say what input `{}` is; give it with --input or --inputs", value.name)
                })?;
                let shape = meta.sizes.iter().map(|size| size.and_then(|size| usize::try_from(size).ok()));
                let shape: Option<Vec<usize>> = shape.collect();
                let shape = shape.ok_or_else(|| {
                    format!("input `{}` has no sizes in the file; give it with --input or --inputs", value.name)
                })?;
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

impl Source<'_> {
    /// Whether it has an input of this place or name.
    fn has(&self, checkpoint: &Checkpoint, at: usize, name: &str) -> bool {
        match self {
            Source::Sample(samples) => at < samples.tensors.len(),
            Source::File(file) => {
                file.tensors.iter().any(|tensor| tensor.name == name || tensor.name == format!("in{at}"))
            }
            Source::Specs(specs, _) => at < specs.len(),
            // As many as it was traced with.
            Source::Seed(_) => checkpoint.script.as_ref().is_some_and(|script| at < script.traced.len()),
        }
    }
}

/// The inputs of a graph that the code of a TorchScript file is to become: its names, and no more of them than there are.
///
/// # Errors
/// In words, with the place in the code.
pub fn of_script(checkpoint: &Checkpoint, source: Source<'_>) -> Result<Graph, String> {
    script::inputs(checkpoint, &|at, name| source.has(checkpoint, at, name)).map_err(|refused| refused.to_string())
}
