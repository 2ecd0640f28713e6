//! Ops of other libraries, which torch's dispatcher does not know, written in torch's own: both engines run these in their place.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::plan::{Form, Forms};
use t2m_checkpoint::Dtype;
use t2m_checkpoint::graph::{Argument, Graph, Input, Node, Origin, Value, ValueId};

/// Whether an op is one of those.
pub(super) fn is_known(target: &str) -> bool {
    target == GROUPED || LINEAR_CROSS_ENTROPY.contains(&target)
}

/// A linear layer and the cross entropy of what it gives, which torch computes in chunks to save memory
/// (torch/nn/modules/linear_cross_entropy.py); a graph has the op where the layer had a chunk size.
const LINEAR_CROSS_ENTROPY: [&str; 2] = [
    "torch_nn._linear_cross_entropy_batch_chunked.default",
    "torch_nn._linear_cross_entropy_batch_chunked_no_reduction.default",
];

/// transformers' product of each row with the matrix of its group: rows are sorted by group, `offs` says where each group ends.
const GROUPED: &str = "transformers.grouped_mm_fallback.default";

/// What a node of another library computes, as a graph whose inputs are the values that the node takes, in order.
pub(super) fn written(node: &Node, forms: Forms<'_>) -> Option<(Graph, Vec<ValueId>)> {
    match node.target.as_str() {
        GROUPED => grouped(node, forms),
        target if LINEAR_CROSS_ENTROPY.contains(&target) => linear_cross_entropy(node),
        _ => None,
    }
}

fn linear_cross_entropy(node: &Node) -> Option<(Graph, Vec<ValueId>)> {
    let reduction = match node.argument("reduction") {
        Some(Argument::Plain(Json::String(words))) if words == "mean" => 1,
        Some(Argument::Plain(Json::String(words))) if words == "sum" => 2,
        Some(Argument::Plain(Json::String(words))) if words != "none" => return None,
        _ => 0,
    };
    let mut given = Vec::new();
    let mut taken = |own: &str| match node.argument(own)? {
        Argument::Value(id) => {
            given.push(*id);
            Some(Argument::Value(ValueId(given.len() as u32 - 1)))
        }
        other => Some(other.clone()),
    };
    let mut named = |names: &[(&str, &'static str)]| -> Vec<(&'static str, Argument)> {
        names.iter().filter_map(|&(own, theirs)| Some((theirs, taken(own)?))).collect()
    };
    let linear = named(&[("input", "input"), ("linear_weight", "weight"), ("linear_bias", "bias")]);
    let loss = named(&["target", "weight", "ignore_index", "label_smoothing"].map(|name| (name, name)));
    let mut writing = Writing::new(node, given.len());
    let scores = writing.call("linear.default", linear);
    let reduction = ("reduction", Argument::Plain(json!(reduction)));
    let all = std::iter::once(("self", scores)).chain(loss).chain([reduction]);
    let lost = writing.call("cross_entropy_loss.default", all);
    writing.graph.outputs = vec![lost];
    Some((writing.graph, given))
}

fn grouped(node: &Node, forms: Forms<'_>) -> Option<(Graph, Vec<ValueId>)> {
    let given: Vec<ValueId> = node.arguments.iter().flat_map(|(_, argument)| argument.values()).collect();
    let [rows, _, ends] = given.as_slice() else { return None };
    let (Form::Tensor { shape: rows, dtype }, Form::Tensor { shape: ends, .. }) = (forms(*rows)?, forms(*ends)?) else {
        return None;
    };
    let mut writing = Writing::new(node, given.len());
    let [input, weight, offs] = [0, 1, 2].map(|id| Argument::Value(ValueId(id)));
    let plain = Argument::Plain;
    // Whether a row is before the end of each group; where that changes is the row's own group. Rows behind the last are in none.
    let place = writing.call("arange.default", [("end", plain(json!(rows.first()?)))]);
    let place = writing.call("unsqueeze.default", [("self", place), ("dim", plain(json!(1)))]);
    let before = writing.call("lt.Tensor", [("self", place), ("other", offs)]);
    let before = writing.call("to.dtype", [("self", before), ("dtype", Argument::Dtype(Dtype::Int32))]);
    let none = writing
        .call("zeros.default", [("size", plain(json!([rows.first()?, 1]))), ("dtype", Argument::Dtype(Dtype::Int32))]);
    let earlier = writing.call(
        "slice.Tensor",
        [("self", before.clone()), ("dim", plain(json!(1))), ("start", plain(json!(0))), ("end", last(&ends)?)],
    );
    let earlier =
        writing.call("cat.default", [("tensors", Argument::List(vec![none, earlier])), ("dim", plain(json!(1)))]);
    let own = writing.call("ne.Tensor", [("self", before), ("other", earlier)]);
    let own = writing.call("transpose.int", [("self", own), ("dim0", plain(json!(0))), ("dim1", plain(json!(1)))]);
    let own = writing.call("unsqueeze.default", [("self", own), ("dim", plain(json!(2)))]);
    // Every group multiplies all rows, with zeros in the place of those of others, which add nothing.
    let zero = writing.call("zeros.default", [("size", plain(json!([]))), ("dtype", Argument::Dtype(dtype))]);
    let all = writing.call("unsqueeze.default", [("self", input), ("dim", plain(json!(0)))]);
    let parted = writing.call("where.self", [("condition", own), ("self", all), ("other", zero)]);
    let products = writing.call("bmm.default", [("self", parted), ("mat2", weight)]);
    let sum = writing.call("sum.dim_IntList", [("self", products), ("dim", plain(json!([0])))]);
    writing.graph.outputs = vec![sum];
    Some((writing.graph, given))
}

/// One less than there are groups.
fn last(ends: &[usize]) -> Option<Argument> {
    Some(Argument::Plain(Json::from(ends.first()?.checked_sub(1)?)))
}

/// A graph that stands for a node: its nodes have the node's module and line.
struct Writing {
    graph: Graph,
    name: String,
    module: Arc<str>,
    place: Option<(Arc<str>, usize)>,
}

impl Writing {
    /// One that takes so many values.
    fn new(node: &Node, inputs: usize) -> Writing {
        let values = (0..inputs).map(|at| Value { name: format!("{}.{at}", node.name), tensor: None }).collect();
        let inputs = (0..inputs as u32).map(|id| Input { value: ValueId(id), origin: Origin::User }).collect();
        let graph = Graph { values, inputs, ..Graph::default() };
        Writing { graph, name: node.name.clone(), module: Arc::clone(&node.module), place: node.place.clone() }
    }

    /// A call of one of ATen's ops; returns its result.
    fn call<'n>(&mut self, op: &str, arguments: impl IntoIterator<Item = (&'n str, Argument)>) -> Argument {
        let id = ValueId(self.graph.values.len() as u32);
        let name = format!("{}.{}", self.name, op.split('.').next().unwrap_or(op));
        self.graph.values.push(Value { name: name.clone(), tensor: None });
        self.graph.nodes.push(Node {
            name,
            target: format!("aten.{op}"),
            arguments: arguments.into_iter().map(|(name, argument)| (name.to_owned(), argument)).collect(),
            outputs: vec![Some(id)],
            module: Arc::clone(&self.module),
            place: self.place.clone(),
        });
        Argument::Value(id)
    }
}
