//! The tensor that a model is likely to take, by the weights of the first layer that gets it.

use crate::architecture::spec::TensorSpec;
use t2m_checkpoint::graph::{Argument, Graph, Node, Origin, ValueId};
use t2m_checkpoint::{Checkpoint, Dtype};

/// Ops that hand on what they get: a layer behind one tells as much.
const HANDS_ON: [&str; 13] = [
    "to",
    "contiguous",
    "clone",
    "detach",
    "dropout",
    "float",
    "type_as",
    "relu",
    "sub",
    "add",
    "div",
    "mul",
    "_to_copy",
];
/// Nodes that are followed.
const MOST_NODES: usize = 64;
/// Sizes along axes that any size will do for: pictures, sounds, tokens.
const SIDE: u64 = 224;
const LENGTH: u64 = 16_000;
const TOKENS: u64 = 16;
const VOLUME: u64 = 32;

/// The tensor that an input of a graph without sizes is likely to be.
pub(super) fn likely(checkpoint: &Checkpoint, graph: &Graph, name: &str) -> Option<TensorSpec> {
    let is_it = |id: ValueId| graph.value(id).is_some_and(|value| value.name == name);
    let mut value = graph.user_inputs().find(|id| is_it(*id))?;
    for node in graph.nodes.iter().take(MOST_NODES) {
        if !node.arguments.iter().any(|(_, argument)| argument.values().contains(&value)) {
            continue;
        }
        if let Some(found) = first_layer(checkpoint, graph, node) {
            return Some(found);
        }
        let op = node.target.split('.').nth(1)?.trim_end_matches('_');
        if !HANDS_ON.contains(&op) {
            return None;
        }
        value = (*node.outputs.first()?)?;
    }
    None
}

fn first_layer(checkpoint: &Checkpoint, graph: &Graph, node: &Node) -> Option<TensorSpec> {
    let weight = weight(checkpoint, graph, node.argument("weight")?)?;
    let floats = |shape: Vec<u64>| Some(TensorSpec { shape, dtype: Dtype::Float32, below: None });
    let groups = match node.argument("groups") {
        Some(Argument::Plain(groups)) => groups.as_u64().unwrap_or(1),
        _ => 1,
    };
    let op = node.target.split('.').nth(1)?;
    let channels = |each: &u64| each.saturating_mul(groups);
    match (op, weight.as_slice()) {
        ("linear", [_, features]) => floats(vec![1, *features]),
        ("embedding", [rows, _]) => {
            Some(TensorSpec { shape: vec![1, TOKENS], dtype: Dtype::Int64, below: Some(*rows) })
        }
        ("conv1d" | "_convolution" | "convolution", [_, each, _]) => floats(vec![1, channels(each), LENGTH]),
        ("conv2d" | "_convolution" | "convolution", [_, each, _, _]) => floats(vec![1, channels(each), SIDE, SIDE]),
        ("conv3d" | "_convolution" | "convolution", [_, each, _, _, _]) => {
            floats(vec![1, channels(each), VOLUME, VOLUME, VOLUME])
        }
        ("batch_norm", [channels]) => floats(vec![1, *channels, SIDE, SIDE]),
        _ => None,
    }
}

/// The sizes of a weight of the file's.
fn weight(checkpoint: &Checkpoint, graph: &Graph, argument: &Argument) -> Option<Vec<u64>> {
    let Argument::Value(id) = argument else { return None };
    let input = graph.inputs.iter().find(|input| input.value == *id)?;
    let Origin::State(name) = &input.origin else { return None };
    let stored = checkpoint.tensors.iter().find(|tensor| tensor.name == *name)?;
    Some(stored.shape.to_vec())
}
