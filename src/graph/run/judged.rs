//! What a node's results come to, and what they leave to what is computed of them.

use super::{Lockstep, NodeResult, NodeVerdict, Stop, Values};
use crate::compare::Verdict;
use crate::compare::tolerance::Bound;
use crate::graph::judge::Inherited;
use crate::graph::terms::shifted;
use t2m_checkpoint::graph::{Node, ValueId};

impl Lockstep<'_> {
    /// Judge a node by this bound, whose first input is `first`. A norm that drifts is judged again by how far from zero its input
    /// lies, which only the input's numbers say.
    pub(super) fn judged(
        &mut self,
        result: &mut NodeResult,
        node: &Node,
        values: &mut Values,
        (bound, first): (Bound, Option<ValueId>),
        judge: &dyn Fn(&mut NodeResult, Bound) -> Vec<Inherited>,
    ) -> Result<(), Stop> {
        let mut left = judge(result, bound);
        if let (NodeVerdict::Compared(Verdict::Drift), Bound::Norm(terms)) = (result.verdict, bound)
            && let Some(live) = first.and_then(|id| values.get(&id))
        {
            let input = self.fetch(live.keys.torch)?;
            if let Some(terms) = shifted(node, &input, terms) {
                (result.isolated, result.accumulated) = (None, None);
                left = judge(result, Bound::Norm(terms));
            }
        }
        for (id, left) in node.outputs.iter().zip(left) {
            if let Some(live) = id.and_then(|id| values.get_mut(&id)) {
                live.inherited = left;
            }
        }
        Ok(())
    }
}
