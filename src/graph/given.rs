//! Ops whose numbers are drawn at random, or not set: both engines are given those that torch has in float32, and nothing is
//! compared.

use super::events::{NodeResult, NodeVerdict, Stop};
use super::plan::TorchCall;
use super::run::{Lockstep, Values};
use crate::compare::Verdict;
use crate::registry::aten::{Given, functional};
use t2m_checkpoint::Dtype;
use t2m_checkpoint::graph::Node;
use t2m_engine::client::Step;
use t2m_engine::graph::{Argument, Call, Op, Outcome, Run};

impl Lockstep<'_> {
    /// Let torch make them, and give what it made to its own float64 and to MLX.
    pub(super) fn given(
        &mut self,
        node: &Node,
        values: &mut Values,
        index: usize,
        torch: &TorchCall,
        given: Given,
    ) -> Result<NodeResult, Stop> {
        let mut result = NodeResult::blank(node, index);
        let keys: Vec<_> = node.outputs.iter().map(|_| self.new_keys()).collect();
        let takes: Vec<_> = torch.takes.iter().filter_map(|id| values.get(id)).map(|live| live.keys).collect();
        let run = Run {
            compute: Dtype::Float32,
            takes: takes.iter().map(|keys| keys.torch).collect(),
            gives: keys.iter().map(|keys| keys.torch).collect(),
            returns: true,
        };
        let drops = std::mem::take(&mut self.torch_drops);
        let step = Step { values: Vec::new(), call: Call::Op(torch.op.clone()), runs: vec![run], drops };
        self.torch.start_step(self.generation, &step)?;
        let Some(ran) = self.torch.finish_step()?.into_iter().next() else {
            return Err(Stop::Engine("libtorch gave nothing".to_owned()));
        };
        result.ms_torch = ran.milliseconds;
        let outcomes = match ran.results {
            Ok(outcomes) => outcomes,
            Err(words) => {
                result.verdict = NodeVerdict::Compared(Verdict::Failed);
                result.reason = Some(format!("libtorch: {words}"));
                return Ok(result);
            }
        };
        let writes = functional(&node.target).is_some();
        for (keys, _) in keys.iter().zip(&outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Tensor { .. })) {
            let target = takes.first().filter(|_| writes).map(|keys| keys.exact);
            self.same_in_float64(keys.torch, keys.exact, target)?;
        }
        self.keep(node, values, &keys, &outcomes, &None)?;
        result.verdict = NodeVerdict::Given;
        let words = match given {
            Given::Drawn => "drawn at random: both engines have the numbers that torch drew",
            Given::Unset => "not set: both engines have what lay in torch's memory",
        };
        result.reason = Some(words.to_owned());
        if writes {
            self.written(node, values)?;
        }
        Ok(result)
    }

    /// Give torch's float64 the numbers that its float32 drew: as a value of its own, or in the place that was written to.
    fn same_in_float64(&mut self, drawn: u64, exact: u64, target: Option<u64>) -> Result<(), Stop> {
        let (call, takes) = match target {
            Some(target) => {
                let arguments = [("self", 0), ("src", 1)].map(|(name, at)| (name.to_owned(), Argument::Value(at)));
                let op = Op { name: "aten::copy_".to_owned(), overload: String::new(), arguments: arguments.to_vec() };
                (Call::Op(op), vec![target, drawn])
            }
            None => (Call::Nothing, vec![drawn]),
        };
        let run = Run { compute: Dtype::Float64, takes, gives: vec![exact], returns: false };
        let step = Step { values: Vec::new(), call, runs: vec![run], drops: Vec::new() };
        self.torch.start_step(self.generation, &step)?;
        let ran = self.torch.finish_step()?.into_iter().next();
        match ran.map(|ran| ran.results) {
            Some(Err(words)) => Err(Stop::Engine(words)),
            _ => Ok(()),
        }
    }
}
