//! What a node's results come to, and what they leave to what is computed of them.

use super::{Lockstep, NodeResult, NodeVerdict, Stop, Values};
use crate::compare::Verdict;
use crate::compare::tolerance::Bound;
use crate::graph::factors::conditioned;
use crate::graph::judge::Inherited;
use crate::graph::plan::TorchCall;
use crate::graph::rounding::{self, Again, Inputs};
use crate::graph::terms::shifted;
use t2m_checkpoint::graph::{Argument, Node};
use t2m_engine::graph::Outcome;

/// Compares a node's results by this bound, by what MLX's algorithm rounds, and by what came in, where that was computed.
pub(super) type Judge<'a> = &'a dyn Fn(&mut NodeResult, Bound, Option<&Again>, &[f64]) -> Vec<Inherited>;

/// A node with both its calls, and what torch's float64 gave.
#[derive(Clone, Copy)]
pub(super) struct Called<'a> {
    /// The node.
    pub node: &'a Node,
    /// What torch was asked for.
    pub torch: &'a TorchCall,
    /// Torch's results in float64, of its own values.
    pub exact: &'a [Outcome],
}

impl Lockstep<'_> {
    /// Judge a node by this bound. One whose numbers differ is judged again by what only its numbers say: how far from zero the input of a norm
    /// lies, and what MLX's own algorithm rounds.
    pub(super) fn judged(
        &mut self,
        result: &mut NodeResult,
        called: Called<'_>,
        values: &mut Values,
        bound: Bound,
        judge: Judge<'_>,
    ) -> Result<(), Stop> {
        let node = called.node;
        let mut left = judge(result, bound, None, &[]);
        let (mut bound, mut known) = (bound, None);
        // Numbers that differ, and not a shape or a failure.
        let parts = |result: &NodeResult| {
            matches!(result.verdict, NodeVerdict::Compared(Verdict::Drift | Verdict::Broken)) && result.reason.is_none()
        };
        if parts(result) {
            let inputs = self.inputs_of(node, values)?;
            if let (Bound::Norm(terms), NodeVerdict::Compared(Verdict::Drift)) = (bound, result.verdict)
                && let Some(terms) = rounding::first(node, &inputs).and_then(|input| shifted(node, input, terms))
            {
                bound = Bound::Norm(terms);
                left = afresh(result, |result| judge(result, bound, None, &[]));
            }
            if let Some(wider) = rounding::first(node, &inputs).and_then(|input| conditioned(node, input, bound)) {
                bound = wider;
                left = afresh(result, |result| judge(result, bound, None, &[]));
            }
            if parts(result)
                && let Some(again) = rounding::again(node, &inputs)
            {
                left = afresh(result, |result| judge(result, bound, Some(&again), &[]));
                if !parts(result) {
                    result.reason = Some(again.why.to_owned());
                }
                known = Some(again);
            }
        }
        if together_alone(result)
            && let Some(carried) = self.carried(called, values)?
        {
            left = afresh(result, |result| judge(result, bound, known.as_ref(), &carried));
            if !together_alone(result) && result.reason.is_none() {
                result.reason = Some("what came in: float64 makes as much of the values that MLX had".to_owned());
            }
        }
        for (id, left) in node.outputs.iter().zip(left) {
            if let Some(live) = id.and_then(|id| values.get_mut(&id)) {
                live.inherited = left;
            }
        }
        Ok(())
    }

    /// The tensors of floating point that a node took. MLX has them as they were: what torch has may be written over by now.
    fn inputs_of(&mut self, node: &Node, values: &Values) -> Result<Inputs, Stop> {
        let mut inputs = Inputs::new();
        for (name, argument) in &node.arguments {
            if let Argument::Value(id) = argument
                && let Some(live) = values.get(id).filter(|live| live.is_float())
            {
                inputs.insert(name.clone(), self.fetch_copy(live.keys.copy)?);
            }
        }
        Ok(inputs)
    }
}

/// Whether a node is right alone, and only what has come together is not.
fn together_alone(result: &NodeResult) -> bool {
    let together = result.accumulated.as_ref().is_some_and(|measured| measured.verdict.is_bad());
    together && matches!(result.verdict, NodeVerdict::Compared(verdict) if verdict.passes())
}

/// Forget what was measured, and judge once more.
fn afresh(result: &mut NodeResult, judge: impl Fn(&mut NodeResult) -> Vec<Inherited>) -> Vec<Inherited> {
    (result.isolated, result.accumulated) = (None, None);
    judge(result)
}
