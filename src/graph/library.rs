//! Ops of libraries around torch that its dispatcher does not know, as the ops of torch's that compute the same.

use serde_json::Value as Json;

use t2m_checkpoint::graph::{Argument, Node, ValueId};

/// A linear layer and the cross entropy of what it gives, which torch computes in chunks to save memory
/// (torch/nn/modules/linear_cross_entropy.py); a graph has the op where the layer had a chunk size.
const LINEAR_CROSS_ENTROPY: [&str; 2] = [
    "torch_nn._linear_cross_entropy_batch_chunked.default",
    "torch_nn._linear_cross_entropy_batch_chunked_no_reduction.default",
];
/// The value between two ops that stand for one: no graph has as many.
pub const BETWEEN: ValueId = ValueId(u32::MAX);

/// The nodes that stand for one, where it is an op of a library that is known.
pub fn parts(node: &Node) -> Option<Vec<Node>> {
    if !LINEAR_CROSS_ENTROPY.contains(&node.target.as_str()) {
        return None;
    }
    let given = |names: &[(&str, &str)]| -> Vec<(String, Argument)> {
        let all = names.iter().filter_map(|(own, theirs)| Some(((*theirs).to_owned(), node.argument(own)?.clone())));
        all.collect()
    };
    let reduction = match node.argument("reduction") {
        Some(Argument::Plain(Json::String(words))) if words == "mean" => 1,
        Some(Argument::Plain(Json::String(words))) if words == "sum" => 2,
        Some(Argument::Plain(Json::String(words))) if words != "none" => return None,
        _ => 0,
    };
    let linear = Node {
        target: "aten.linear.default".to_owned(),
        arguments: given(&[("input", "input"), ("linear_weight", "weight"), ("linear_bias", "bias")]),
        outputs: vec![Some(BETWEEN)],
        ..node.clone()
    };
    let mut arguments = vec![("self".to_owned(), Argument::Value(BETWEEN))];
    let names = ["target", "weight", "ignore_index", "label_smoothing"].map(|name| (name, name));
    arguments.extend(given(&names));
    arguments.push(("reduction".to_owned(), Argument::Plain(reduction.into())));
    let loss = Node {
        target: "aten.cross_entropy_loss.default".to_owned(),
        arguments,
        outputs: node.outputs.iter().take(1).copied().collect(),
        ..node.clone()
    };
    Some(vec![linear, loss])
}
