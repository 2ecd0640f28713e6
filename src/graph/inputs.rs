//! The inputs of a graph: its own samples, a file's tensors, or drawn ones.

use crate::architecture::spec::InputSpec;
use crate::plan::Input;
use crate::plan::input::Values;
use crate::script;
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::graph::{Graph, TensorMeta};
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
/// In words: one is missing, is of another kind than the graph takes, or cannot be drawn.
pub fn inputs(graph: &Graph, source: Source<'_>) -> Result<(Vec<Given>, Vec<TensorData>), String> {
    let mut given = Vec::new();
    let mut tensors = Vec::new();
    let names = names(graph);
    let specs = match source {
        Source::Specs(specs, _) => by_input(&names, specs)?,
        _ => Vec::new(),
    };
    for (at, id) in graph.user_inputs().enumerate() {
        let value = graph.value(id).ok_or("an input has no value")?;
        let meta = value.tensor.as_ref();
        let (tensor, from) = match source {
            Source::Sample(samples) => {
                let read = samples.read(at).map_err(|error| error.to_string());
                (read.map_err(|reason| format!("its sample input {at}: {reason}"))?, "sample")
            }
            Source::File(file) => {
                let position = position(at);
                let found = file.tensors.iter().position(|tensor| tensor.name == value.name);
                let found = found.or_else(|| file.tensors.iter().position(|tensor| tensor.name == position));
                let found =
                    found.ok_or_else(|| format!("--inputs holds no tensor `{}` and none `{position}`", value.name))?;
                let tensor = file.read(found).map_err(|error| error.to_string())?;
                fits("--inputs", &value.name, meta, (tensor.dtype, &tensor.shape))?;
                (tensor, "file")
            }
            Source::Specs(_, seed) => {
                let spec = specs.get(at).copied().flatten();
                let spec = spec.ok_or_else(|| missing(&names, &value.name))?;
                let shape: Option<Vec<usize>> = spec.shape.iter().map(|size| usize::try_from(*size).ok()).collect();
                let shape = shape.ok_or_else(|| format!("--input {spec}: it is too large"))?;
                fits(&format!("--input {spec}"), &value.name, meta, (spec.dtype, &shape))?;
                (draw(shape, spec.dtype, spec.below, seed, at)?, "seed")
            }
            Source::Seed(seed) => {
                let meta = meta.ok_or_else(|| {
                    format!("the file does not say what input `{}` is; give it with --input or --inputs", value.name)
                })?;
                let shape = meta.sizes.iter().map(|size| size.and_then(|size| usize::try_from(size).ok()));
                let shape: Option<Vec<usize>> = shape.collect();
                let shape = shape.ok_or_else(|| {
                    format!("input `{}` has no sizes in the file; give it with --input or --inputs", value.name)
                })?;
                (draw(shape, meta.dtype, None, seed, at)?, "seed")
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
            Source::File(file) => file.tensors.iter().any(|tensor| tensor.name == name || tensor.name == position(at)),
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

/// Tensors of a file that are no input of the graph, by name.
pub fn ignored<'f>(graph: &Graph, file: &'f Checkpoint) -> Vec<&'f str> {
    let names = names(graph);
    let has = |name: &str| file.tensors.iter().any(|tensor| tensor.name == name);
    let takes =
        |name: &str| names.iter().enumerate().any(|(at, own)| own == name || (name == position(at) && !has(own)));
    file.tensors.iter().map(|tensor| tensor.name.as_str()).filter(|name| !takes(name)).collect()
}

/// The name of an input that is given by its place.
fn position(at: usize) -> String {
    format!("in{at}")
}

fn names(graph: &Graph) -> Vec<String> {
    graph.user_inputs().map(|id| graph.value(id).map(|value| value.name.clone()).unwrap_or_default()).collect()
}

/// For each input what is said of it: by its name, or as the next of those without a name.
fn by_input<'s>(names: &[String], specs: &'s [InputSpec]) -> Result<Vec<Option<&'s InputSpec>>, String> {
    let takes = || format!("the graph takes {}", quoted(&names.join(", ")));
    let mut found: Vec<Option<&InputSpec>> = vec![None; names.len()];
    for spec in specs {
        let Some(name) = &spec.name else { continue };
        let at = names.iter().position(|own| own == name);
        let at = at.ok_or_else(|| format!("--input {spec}: no input has this name; {}", takes()))?;
        if found[at].replace(spec).is_some() {
            return Err(format!("--input {spec}: this input is given twice"));
        }
    }
    for spec in specs.iter().filter(|spec| spec.name.is_none()) {
        let at = found.iter().position(Option::is_none);
        let at = at.ok_or_else(|| format!("--input {spec}: it is one too many; {}", takes()))?;
        found[at] = Some(spec);
    }
    Ok(found)
}

fn missing(names: &[String], name: &str) -> String {
    let (name, all) = (quoted(name), quoted(&names.join(", ")).into_owned());
    format!("--input does not say what `{name}` is: once for each of {all}")
}

/// Hold a tensor against what the graph takes. Sizes may be others where they were symbols, which the nodes tell.
fn fits(told: &str, name: &str, meta: Option<&TensorMeta>, is: (Dtype, &[usize])) -> Result<(), String> {
    let Some(meta) = meta else { return Ok(()) };
    let kind = |dtype: Dtype| if dtype.is_floating() { "numbers with a point" } else { "whole numbers" };
    let (dtype, shape) = is;
    if meta.sizes.len() != shape.len() {
        let (own, axes) = (meta.sizes.len(), shape.len());
        return Err(format!("{told}: `{}` has {own} axes in the graph, not {axes}", quoted(name)));
    }
    if is_number(meta.dtype) && meta.dtype.is_floating() != dtype.is_floating() {
        let (own, other) = (kind(meta.dtype), dtype.name());
        return Err(format!(
            "{told}: `{}` is {} in the graph, {own}, and not {other}",
            quoted(name),
            meta.dtype.name()
        ));
    }
    Ok(())
}

/// Whether a type is of plain numbers or truth values.
fn is_number(dtype: Dtype) -> bool {
    !matches!(dtype, Dtype::Unknown | Dtype::Complex32 | Dtype::Complex64 | Dtype::Complex128)
}

/// An input at random: standard normal numbers, or whole ones below a bound.
fn draw(shape: Vec<usize>, dtype: Dtype, below: Option<u64>, seed: u64, at: usize) -> Result<TensorData, String> {
    let values = if dtype.is_floating() { Values::Normal(1.0) } else { Values::Ids(below.unwrap_or(IDS_BELOW)) };
    let drawn = Input::new(shape, values).generate(seed, at, Dtype::Float32);
    drawn.cast(dtype).ok_or_else(|| format!("inputs in {} are not drawn: give them with --inputs", dtype.name()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use t2m_checkpoint::graph::{Input as Placeholder, Origin, Value, ValueId};

    fn graph() -> Graph {
        let value = |name: &str, dtype, sizes: &[u64]| Value {
            name: name.to_owned(),
            tensor: Some(TensorMeta { dtype, sizes: sizes.iter().map(|size| Some(*size)).collect() }),
        };
        Graph {
            values: vec![
                value("image", Dtype::Float32, &[1, 3, 8, 8]),
                value("ids", Dtype::Int64, &[1, 4]),
                value("mask", Dtype::Bool, &[1, 4]),
            ],
            inputs: (0..3).map(|at| Placeholder { value: ValueId(at), origin: Origin::User }).collect(),
            ..Graph::default()
        }
    }

    fn drawn(specs: &[&str]) -> Result<(Vec<Given>, Vec<TensorData>), String> {
        let specs: Vec<InputSpec> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
        inputs(&graph(), Source::Specs(&specs, 7))
    }

    #[test]
    fn what_is_drawn_has_the_shape_the_type_and_the_bound_that_was_asked_for() {
        let (given, tensors) = drawn(&["ids=2x9<50", "2x3x4x4:f16", "2x9:bool"]).unwrap();
        let all: Vec<_> = given.iter().map(|one| (one.name.as_str(), one.dtype, one.shape.as_slice())).collect();
        let expected = [("image", "float16", &[2, 3, 4, 4][..]), ("ids", "int64", &[2, 9]), ("mask", "bool", &[2, 9])];
        assert_eq!(all, expected);
        let ids = tensors[1].to_f64().unwrap();
        assert!(ids.iter().all(|id| (0.0..50.0).contains(id)) && ids.iter().any(|id| *id > 10.0), "{ids:?}");
        // The same seed gives the same numbers, another other ones.
        let specs: Vec<InputSpec> =
            ["2x3x4x4", "2x9<50", "2x9:bool"].iter().map(|spec| spec.parse().unwrap()).collect();
        let once = |seed| inputs(&graph(), Source::Specs(&specs, seed)).unwrap().1;
        assert_eq!(once(3), once(3));
        assert_ne!(once(3), once(4));
        // What nothing is said of is as the graph has it.
        let (given, _) = inputs(&graph(), Source::Seed(7)).unwrap();
        assert_eq!(given.iter().map(|one| one.dtype).collect::<Vec<_>>(), ["float32", "int64", "bool"]);
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        for (specs, words) in [
            (&["1x3x8x8"][..], "--input does not say what `ids` is: once for each of image, ids, mask"),
            (&["1x3x8x8", "1x4<9", "1x4:bool", "7"], "--input 7: it is one too many; the graph takes image, ids, mask"),
            (&["x=1x3x8x8"], "--input x=1x3x8x8: no input has this name"),
            (&["ids=1x4<9", "ids=1x4<9"], "given twice"),
            (&["3x8x8", "1x4<9", "1x4:bool"], "--input 3x8x8: `image` has 4 axes in the graph, not 3"),
            (&["1x3x8x8", "1x4", "1x4:bool"], "`ids` is int64 in the graph, whole numbers, and not float32"),
        ] {
            let error = drawn(specs).unwrap_err();
            assert!(error.contains(words), "{specs:?}: {error}");
        }
    }
}
