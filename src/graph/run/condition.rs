//! Graphs within a node: the branch of a condition, and what stands for an op of another library.

use super::{Lockstep, NodeResult, Stop, Values};
use crate::graph::plan::{Form, Refusal};
use t2m_checkpoint::graph::{Argument, Graph, Node, ValueId};

impl Lockstep<'_> {
    /// One branch of a condition, by the value that it has.
    pub(super) fn condition(
        &mut self,
        node: &Node,
        values: &mut Values,
        index: usize,
    ) -> Result<Option<NodeResult>, Stop> {
        let not_understood = || Refusal("a condition of this form is not run".to_owned());
        let [(_, test), (_, Argument::Graph(yes)), (_, Argument::Graph(no)), rest @ ..] = node.arguments.as_slice()
        else {
            return Ok(Some(NodeResult::refused(node, index, not_understood())));
        };
        let holds = match test {
            Argument::Plain(value) => value.as_bool(),
            Argument::Value(id) => match values.get(id).map(|live| (live.form.clone(), live.keys)) {
                Some((Form::Number(number), _)) => number.as_bool(),
                Some((Form::Tensor { .. }, keys)) => {
                    let data = self.fetch(keys.torch)?;
                    data.to_f64().and_then(|values| values.first().map(|value| *value != 0.0))
                }
                None => None,
            },
            _ => None,
        };
        let Some(holds) = holds else { return Ok(Some(NodeResult::refused(node, index, not_understood()))) };
        let graph = if holds { yes } else { no };
        let given: Vec<ValueId> = rest.iter().flat_map(|(_, argument)| argument.values()).collect();
        if graph.inputs.len() != given.len() {
            return Ok(Some(NodeResult::refused(node, index, not_understood())));
        }
        self.within(graph, &given, node, values, index)?;
        Ok(None)
    }

    /// Run a graph in the place of a node: its inputs are these values, its outputs become the node's.
    pub(super) fn within(
        &mut self,
        graph: &Graph,
        given: &[ValueId],
        node: &Node,
        values: &mut Values,
        index: usize,
    ) -> Result<(), Stop> {
        let mut inner = Values::new();
        for (input, outer) in graph.inputs.iter().zip(given) {
            if let Some(live) = values.get(outer) {
                inner.insert(input.value, live.clone());
            }
        }
        // What is outside goes on living there.
        let outside = self.outside.clone();
        let keys = values.values().flat_map(|live| [live.keys.torch, live.keys.exact, live.keys.copy, live.keys.own]);
        self.outside.extend(keys);
        let lost = std::mem::take(&mut self.lost);
        let done = self.nodes(graph, &mut inner, Some(index));
        (self.outside, self.lost) = (outside, lost);
        done?;
        for (output, value) in graph.outputs.iter().zip(&node.outputs) {
            if let (Argument::Value(id), Some(value)) = (output, value)
                && let Some(live) = inner.get(id)
            {
                values.insert(*value, live.clone());
            }
        }
        Ok(())
    }
}
