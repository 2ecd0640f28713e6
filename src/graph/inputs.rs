//! The inputs of a graph: its own samples, a file's tensors, drawn ones, and values that the call says.

mod asked;
mod bind;
mod likely;

use serde_json::Value as Json;

use self::asked::Asked;
use self::bind::Binder;
use crate::architecture::spec::InputSpec;
use crate::script;
use crate::script::signature::{Argument, Kind};
use t2m_checkpoint::graph::{Graph, Origin, ValueId};
use t2m_checkpoint::{Checkpoint, TensorData};

/// Where inputs come from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The inputs that the graph was made with, in their order.
    Sample(&'a Checkpoint),
    /// Another file, by name or position; what it does not hold these say, as [`Source::Specs`].
    File(&'a Checkpoint, &'a [InputSpec], u64),
    /// Drawn at random.
    Seed(u64),
    /// Drawn at random in these shapes, or values, by name or in order.
    Specs(&'a [InputSpec], u64),
}

/// An input of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Its name in the graph.
    pub name: String,
    /// Element type, or Python's type of a value.
    pub dtype: &'static str,
    /// Sizes.
    pub shape: Vec<usize>,
    /// What it is where it is no tensor.
    pub value: Option<Json>,
    /// `sample`, `file`, `seed`, or `call` for a value that the call says.
    pub from: &'static str,
}

/// The inputs of a run.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Each of them, described, in the graph's order.
    pub given: Vec<Given>,
    /// Those that are tensors.
    pub tensors: Vec<TensorData>,
    /// Those of an exported graph that are numbers.
    pub numbers: Vec<(ValueId, Json)>,
    /// What each parameter of a TorchScript model's forward is given.
    pub arguments: Vec<Argument>,
    /// Tensors of the file of inputs that the graph does not take, by name.
    pub ignored: Vec<String>,
}

/// The inputs of an exported graph.
///
/// # Errors
/// In words: one is missing, is of another kind than the graph takes, or cannot be drawn.
pub fn of_graph(graph: &Graph, source: Source<'_>) -> Result<Inputs, String> {
    let asked = asked_of_graph(graph);
    let specs = in_graph(&asked, source);
    let source = match (source, &specs) {
        (Source::File(file, _, seed), Some(specs)) => Source::File(file, specs, seed),
        (Source::Specs(_, seed), Some(specs)) => Source::Specs(specs, seed),
        _ => source,
    };
    let mut inputs = bind(&asked, source)?;
    let numbers = graph.inputs.iter().filter(|input| !matches!(input.origin, Origin::State(_) | Origin::Other));
    for (input, argument) in numbers.zip(&inputs.arguments) {
        if let (Origin::Number(hint), number) = (&input.origin, argument) {
            let number = match number {
                Argument::Plain(number) => Some(number.clone()),
                _ => hint.clone(),
            };
            let number = number.ok_or_else(|| asked::missing(&asked, &name_of(graph, input.value)))?;
            inputs.numbers.push((input.value, number));
        }
    }
    Ok(inputs)
}

/// The inputs of a graph that the code of a TorchScript file is to become.
///
/// # Errors
/// As [`of_graph`]; or the code cannot be read, with the place in it.
pub fn of_script(checkpoint: &Checkpoint, source: Source<'_>) -> Result<Inputs, String> {
    bind(&asked_of_script(checkpoint, None)?, source).or_else(|_| {
        // What the code does with its inputs takes a while to find out, and is for the message alone.
        let outline = script::outline(checkpoint).ok();
        bind(&asked_of_script(checkpoint, outline.as_ref())?, source)
    })
}

/// What a file's graph takes: name, type, and an example of what `--input` may say, for each input. Without a graph it is the
/// one that the file's code becomes, of which an outline may be known.
///
/// # Errors
/// As [`of_script`]; the file holds no graph.
pub fn takes(checkpoint: &Checkpoint, graph: Option<&Graph>, outline: Option<&Graph>) -> Result<Vec<Takes>, String> {
    let asked = match graph {
        Some(graph) => asked_of_graph(graph),
        None => asked_of_script(checkpoint, outline)?,
    };
    Ok(asked.iter().map(Asked::takes).collect())
}

/// What a graph takes in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takes {
    /// The name.
    pub name: String,
    /// The type: `float32 1x3x224x224`, `Tensor`, `int`, `Optional[Tensor]`.
    pub kind: String,
    /// Whether a run needs it to be given.
    pub is_needed: bool,
    /// What may be typed for it, as `--input` has it: `sr=16000`; several for what is made of several.
    pub example: Vec<String>,
    /// Whether the file tells enough of it to draw it.
    pub is_told: bool,
    /// Whether the file says nothing of the sizes, so that those of the example are made up.
    pub is_made_up: bool,
}

/// What the call says, by the graph's names for members of dicts and tuples; `None` where it names none as Python does.
fn in_graph(asked: &[Asked], source: Source<'_>) -> Option<Vec<InputSpec>> {
    let (Source::File(_, specs, _) | Source::Specs(specs, _)) = source else { return None };
    let known = |spec: &InputSpec| {
        let name = spec.name.as_deref()?;
        asked.iter().find(|one| one.python.as_deref() == Some(name)).map(|one| one.name.clone())
    };
    specs.iter().any(|spec| known(spec).is_some()).then(|| {
        let renamed =
            specs.iter().map(|spec| InputSpec { name: known(spec).or_else(|| spec.name.clone()), ..spec.clone() });
        renamed.collect()
    })
}

fn bind(asked: &[Asked], source: Source<'_>) -> Result<Inputs, String> {
    let mut binder = Binder::new(asked, source);
    binder.check()?;
    let mut arguments = Vec::with_capacity(asked.len());
    for one in asked {
        arguments.push(binder.argument(one)?);
    }
    Ok(Inputs { arguments, ..binder.finish()? })
}

pub(super) fn name_of(graph: &Graph, value: ValueId) -> String {
    graph.value(value).map(|value| value.name.clone()).unwrap_or_default()
}

/// What the caller of an exported graph gives.
fn asked_of_graph(graph: &Graph) -> Vec<Asked> {
    let one = |value: ValueId, kind: Kind| {
        let tensor = graph.value(value).and_then(|value| value.tensor.clone());
        let python = graph.members.get(&value).cloned();
        Asked { name: name_of(graph, value), kind, metas: tensor.into_iter().collect(), python, ..Asked::default() }
    };
    let asked = graph.inputs.iter().filter_map(|input| match &input.origin {
        Origin::User => Some(one(input.value, Kind::Tensor)),
        Origin::Number(hint) => Some(Asked {
            has_default: hint.is_some(),
            known: hint.iter().cloned().collect(),
            ..one(input.value, Kind::Number)
        }),
        Origin::Fixed(value) => Some(Asked {
            has_default: true,
            known: vec![value.clone()],
            fixed: Some(value.clone()),
            ..one(input.value, asked::kind_of(value))
        }),
        Origin::State(_) | Origin::Other => None,
    });
    asked.collect()
}

/// What the caller of a TorchScript model gives.
fn asked_of_script(checkpoint: &Checkpoint, outline: Option<&Graph>) -> Result<Vec<Asked>, String> {
    let parameters = script::parameters(checkpoint).map_err(|refused| refused.to_string())?;
    let mut traced = checkpoint.script.iter().flat_map(|script| script.traced.iter().cloned());
    let asked = parameters.into_iter().map(|parameter| {
        let mut asked = Asked {
            has_default: parameter.has_default,
            known: parameter.known.iter().map(|number| Json::from(*number)).collect(),
            ..Asked::default()
        };
        let many = asked::tensors(&parameter.kind);
        asked.metas = traced.by_ref().take(many).collect();
        if asked.metas.is_empty() && many > 0 {
            asked.likely = outline.and_then(|outline| likely::likely(checkpoint, outline, &parameter.name));
        }
        (asked.name, asked.kind) = (parameter.name, parameter.kind);
        asked
    });
    Ok(asked.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use t2m_checkpoint::Dtype;
    use t2m_checkpoint::graph::{Input as Placeholder, TensorMeta, Value};

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
        of_graph(&graph(), Source::Specs(&specs, 7)).map(|inputs| (inputs.given, inputs.tensors))
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
        let once = |seed| of_graph(&graph(), Source::Specs(&specs, seed)).unwrap().tensors;
        assert_eq!(once(3), once(3));
        assert_ne!(once(3), once(4));
        // What nothing is said of is as the graph has it.
        let given = of_graph(&graph(), Source::Seed(7)).unwrap().given;
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
