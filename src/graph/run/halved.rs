//! Half precision in a graph. A node whose result the graph has in float16 or bfloat16 is computed and compared in float32, where a mistake
//! is larger than rounding; what follows is given that result rounded to half precision, in both engines.

use super::{Live, Lockstep, NodeResult, NodeVerdict, Stop, Values};
use crate::compare::tolerance::{Bound, scale};
use crate::graph::plan::Form;
use crate::graph::special::Special;
use crate::registry::aten::functional;
use t2m_checkpoint::graph::{Argument, Graph, Node, ValueId};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client::Step;
use t2m_engine::graph::{Argument as TorchArgument, Call, Op, Outcome, Place, Run};

/// The half precision that a graph says a node's result is in. Where it does not say so, as TorchScript's, a cast tells, and what is
/// computed of nothing but halves is one.
pub(super) fn widened(graph: &Graph, node: &Node, values: &Values) -> Option<Dtype> {
    let types = node.outputs.iter().filter_map(|id| in_graph(graph, (*id)?));
    if let Some(half) = types.into_iter().find(|dtype| is_half(*dtype)) {
        return Some(half);
    }
    let asked = node.arguments.iter().find_map(|(_, argument)| match argument {
        Argument::Dtype(dtype) => Some(*dtype),
        _ => None,
    });
    if let Some(asked) = asked {
        return is_half(asked).then_some(asked);
    }
    let takes = node.arguments.iter().flat_map(|(_, argument)| argument.values());
    let mut halves = Vec::new();
    for id in takes {
        let Some(live) = values.get(&id).filter(|live| live.is_float()) else { continue };
        // A number without axes decides nothing beside a tensor with some.
        let has_axes = matches!(&live.form, Form::Tensor { shape, .. } if !shape.is_empty());
        let told = in_graph(graph, id).is_some_and(is_half);
        halves.push((live.half.filter(|_| !told), has_axes));
    }
    let any_axes = halves.iter().any(|(_, has_axes)| *has_axes);
    let mut deciding = halves.into_iter().filter(|(_, has_axes)| *has_axes == any_axes).map(|(half, _)| half);
    let first = deciding.next()??;
    deciding.all(|half| half == Some(first)).then_some(first)
}

fn is_half(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::Float16 | Dtype::BFloat16)
}

/// The type that the graph has a value in.
fn in_graph(graph: &Graph, id: ValueId) -> Option<Dtype> {
    Some(graph.value(id)?.tensor.as_ref()?.dtype)
}

impl Lockstep<'_> {
    /// Round what a node gave to the half precision that the graph has it in.
    pub(super) fn halve(
        &mut self,
        result: &mut NodeResult,
        graph: &Graph,
        node: &Node,
        bound: Bound,
        values: &mut Values,
    ) -> Result<(), Stop> {
        let Some(half) = result.widened else { return Ok(()) };
        let takes = node.arguments.iter().flat_map(|(_, argument)| argument.values());
        let is_it = |id: ValueId| {
            in_graph(graph, id) == Some(half) || values.get(&id).is_some_and(|live| live.half == Some(half))
        };
        let moves = bound == Bound::Copy && takes.into_iter().any(is_it);
        // What is moved was rounded where it was computed.
        if moves {
            for id in node.outputs.iter().flatten() {
                if let Some(live) = values.get_mut(id).filter(|live| live.is_float()) {
                    live.half = Some(half);
                }
            }
            return Ok(());
        }
        let writes = functional(&node.target).is_some();
        for id in node.outputs.iter().flatten() {
            let Some(live) = values.get(id).filter(|live| live.is_float()).cloned() else { continue };
            if in_graph(graph, *id).is_some_and(|dtype| is_half(dtype) && dtype != half) {
                continue;
            }
            let Some((data, place)) = self.rounded(live.keys.torch, half, writes)? else { continue };
            let special = Special::of(&data);
            if special.infinite && !live.special.infinite {
                overflows(result, &data, half);
            }
            let largest = scale(&data.to_f64().unwrap_or_default());
            if let Some((_, pending)) = self.pending.iter_mut().find(|(key, _)| *key == live.keys.copy) {
                *pending = data;
            }
            if live.keys.own != live.keys.copy {
                self.round_own(live.keys.own, half)?;
            }
            if let Some(live) = values.get_mut(id) {
                let inherited = live.inherited.rounded(half, largest);
                *live = Live { place, special, inherited, half: Some(half), ..live.clone() };
            }
        }
        Ok(())
    }

    /// Torch's value, rounded: in its own place where it was written there, which others see; as a new one otherwise.
    fn rounded(&mut self, key: u64, half: Dtype, writes: bool) -> Result<Option<(TensorData, Option<Place>)>, Stop> {
        let half_key = self.key();
        let to_half = Run { compute: half, takes: vec![key], gives: vec![half_key], returns: false };
        let back = |takes| Run { compute: Dtype::Float32, takes, gives: vec![key], returns: true };
        let mut runs = vec![to_half];
        if !writes {
            runs.push(back(vec![half_key]));
        }
        let step = Step { values: Vec::new(), call: Call::Nothing, runs, drops: Vec::new() };
        self.torch.start_step(self.generation, &step)?;
        let mut ran = self.torch.finish_step()?;
        if writes {
            let arguments =
                [("self", 0), ("src", 1)].map(|(name, at)| (name.to_owned(), TorchArgument::Value(at))).to_vec();
            let op = Op { name: "aten::copy_".to_owned(), overload: String::new(), arguments };
            let runs = vec![back(vec![key, half_key])];
            let step = Step { values: Vec::new(), call: Call::Op(op), runs, drops: Vec::new() };
            self.torch.start_step(self.generation, &step)?;
            ran = self.torch.finish_step()?;
        }
        self.torch_drops.push(half_key);
        let last = ran.pop().map(|ran| ran.results);
        Ok(match last.and_then(Result::ok).and_then(|outcomes| outcomes.into_iter().next()) {
            Some(Outcome::Tensor { data: Some(data), place, .. }) => Some((data, place)),
            _ => None,
        })
    }

    /// MLX's own value, rounded.
    fn round_own(&mut self, key: u64, half: Dtype) -> Result<(), Stop> {
        let half_key = self.key();
        let run = |compute, from, to| Run { compute, takes: vec![from], gives: vec![to], returns: false };
        let step = Step {
            values: Vec::new(),
            call: Call::Nothing,
            runs: vec![run(half, key, half_key), run(Dtype::Float32, half_key, key)],
            drops: vec![half_key],
        };
        if let Err(error) = self.mlx.start_step(self.generation, &step).and_then(|()| self.mlx.finish_step()) {
            self.mlx_gone(error)?;
        }
        Ok(())
    }
}

/// Say that half precision does not hold what a node gave. A node that was found wrong stays so.
fn overflows(result: &mut NodeResult, data: &TensorData, half: Dtype) {
    if !matches!(result.verdict, NodeVerdict::Compared(verdict) if verdict.passes()) {
        return;
    }
    let values = data.to_f64().unwrap_or_default();
    let count = values.iter().filter(|value| value.is_infinite()).count();
    let most = if half == Dtype::Float16 { "65504" } else { "3.39e38" };
    result.verdict = NodeVerdict::Infinite { overflow: true };
    result.reason = Some(format!(
        "{} holds numbers up to {most}: {count} of {} become infinite, in torch and in MLX",
        half.name(),
        values.len()
    ));
}
