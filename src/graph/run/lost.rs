//! Values that are not there, as the node that gives them did not run; and ids that a table does not have, which are the caller's.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Lockstep, NodeResult, NodeVerdict, Stop, Values};
use crate::compare::Verdict;
use crate::graph::inputs;
use crate::graph::plan::Form;
use t2m_checkpoint::escape::sentence;
use t2m_checkpoint::graph::{Argument, Graph, Node, Origin, ValueId};

/// Values that no node gave, and what is said of it.
pub(super) type Lost = HashMap<ValueId, Arc<str>>;

/// Ops that hand on the numbers that they get: those of an input are still its own behind them.
const MOVES: [&str; 17] = [
    "view",
    "reshape",
    "_unsafe_view",
    "to",
    "_to_copy",
    "long",
    "int",
    "contiguous",
    "clone",
    "detach",
    "alias",
    "squeeze",
    "unsqueeze",
    "expand",
    "slice",
    "select",
    "flatten",
];
/// Nodes that are followed back to an input.
const MOST_NODES: usize = 64;

impl Lockstep<'_> {
    /// What is said of a node that takes what no node gave.
    pub(super) fn wanting(&self, node: &Node, index: usize) -> Option<NodeResult> {
        let takes = node.arguments.iter().flat_map(|(_, argument)| argument.values());
        let words = takes.into_iter().find_map(|id| self.lost.get(&id))?;
        let reason = Some(format!("what it takes is not there: {words}"));
        let verdict = NodeVerdict::Compared(Verdict::NotRun);
        Some(NodeResult { verdict, reason, ..NodeResult::blank(node, index) })
    }

    /// Note which of a node's results are not there.
    pub(super) fn lose(&mut self, node: &Node, index: usize, result: Option<&NodeResult>, values: &Values) {
        let takes = node.arguments.iter().flat_map(|(_, argument)| argument.values());
        let before = takes.into_iter().find_map(|id| self.lost.get(&id)).cloned();
        let how = match result.map(|result| result.verdict) {
            Some(NodeVerdict::Refused) => "was refused",
            Some(NodeVerdict::Compared(Verdict::Failed)) => "failed",
            _ => "did not give it",
        };
        let words = before.unwrap_or_else(|| format!("node {index}, `{}`, {how}", node.name).into());
        for id in node.outputs.iter().flatten().filter(|id| !values.contains_key(id)) {
            self.lost.insert(*id, Arc::clone(&words));
        }
    }

    /// Why torch refused a node, if it is that an input of the graph holds ids that the node has nothing for.
    pub(super) fn out_of_range(
        &mut self,
        graph: &Graph,
        node: &Node,
        index: usize,
        values: &Values,
        words: &str,
    ) -> Result<Option<String>, Stop> {
        const WORDS: [&str; 3] = ["out of range", "out of bounds", "Class values must be smaller"];
        // Of a graph within a node the inputs are not the caller's.
        if !self.outside.is_empty() || !WORDS.iter().any(|known| words.contains(known)) {
            return Ok(None);
        }
        for id in node.arguments.iter().flat_map(|(_, argument)| argument.values()) {
            let Some(live) = values.get(&id).filter(|live| live.is_tensor() && !live.is_float()) else { continue };
            let Some(input) = source(graph, id) else { continue };
            let numbers = self.fetch(live.keys.torch)?.to_f64().unwrap_or_default();
            let (least, most) = numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), number| {
                (least.min(*number), most.max(*number))
            });
            let name = inputs::name_of(graph, input);
            let told = graph.value(input).and_then(|value| value.tensor.as_ref());
            let sizes: Option<Vec<String>> =
                told.and_then(|meta| meta.sizes.iter().map(|size| size.map(|size| size.to_string())).collect());
            let sizes = sizes.map_or_else(|| "SIZES".to_owned(), |sizes| sizes.join("x"));
            let (has, bound) = match rows(node, values) {
                Some(rows) => (format!("has {rows} rows, 0 to {}", rows.saturating_sub(1)), rows.to_string()),
                None => (format!("says: {}", sentence(words)), "BOUND".to_owned()),
            };
            let (own, target) = (&node.name, &node.target);
            return Ok(Some(format!(
                "the input `{name}` holds numbers from {least} to {most}, and node {index}, `{own}` ({target}), {has}; give it \
                 others, with --input {name}={sizes}:int64<{bound} or --inputs"
            )));
        }
        Ok(None)
    }
}

/// Rows of the table that a node looks ids up in.
fn rows(node: &Node, values: &Values) -> Option<usize> {
    let Some(Argument::Value(id)) = node.argument("weight") else { return None };
    match &values.get(id)?.form {
        Form::Tensor { shape, .. } => shape.first().copied(),
        Form::Number(_) => None,
    }
}

/// The input of the graph whose numbers a value has.
fn source(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let mut value = value;
    for _ in 0..MOST_NODES {
        if let Some(input) = graph.inputs.iter().find(|input| input.value == value) {
            return matches!(input.origin, Origin::User).then_some(value);
        }
        let node = graph.nodes.iter().find(|node| node.outputs.contains(&Some(value)))?;
        if !MOVES.contains(&node.target.split('.').nth(1)?) {
            return None;
        }
        value = *node.arguments.first()?.1.values().first()?;
    }
    None
}
