//! What float64 makes of MLX's own values: how far a node carries what came in.

use super::judged::Called;
use super::{Lockstep, Stop, Values};
use crate::compare::pass::pass;
use crate::graph::node::plain_parts;
use crate::registry::aten::functional;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client::Step;
use t2m_engine::graph::{Call, Outcome, Run};

impl Lockstep<'_> {
    /// For each result of a node, how far apart torch's float64 is on MLX's own values and on its own. `None` where a value that MLX has
    /// is further from torch's than that value's own tolerance: what is wrong already explains nothing.
    pub(super) fn carried(&mut self, called: Called<'_>, values: &Values) -> Result<Option<Vec<f64>>, Stop> {
        let Called { node, torch, exact } = called;
        let writes = functional(&node.target).is_some();
        let mut takes = Vec::with_capacity(torch.takes.len());
        let mut given: Vec<(u64, TensorData)> = Vec::new();
        for id in &torch.takes {
            let Some(live) = values.get(id).filter(|live| live.agrees && live.start == self.starts) else {
                return Ok(None);
            };
            let (keys, inherited) = (live.keys, live.inherited);
            // What a node writes into is not any more what it took.
            if keys.own == keys.copy && !writes {
                takes.push(keys.torch);
                continue;
            }
            let own = self.fetch_copy(keys.own)?;
            if keys.own != keys.copy {
                let torchs = self.fetch_copy(keys.copy)?;
                if own.shape != torchs.shape || !inherited.allows(apart(&own, &torchs)) {
                    return Ok(None);
                }
            }
            let key = self.key();
            takes.push(key);
            given.push((key, own));
        }
        let run = Run { compute: Dtype::Float64, takes, gives: Vec::new(), returns: true };
        let step = Step {
            values: given.iter().map(|(key, data)| (*key, data)).collect(),
            call: Call::Op(torch.op.clone()),
            runs: vec![run],
            drops: given.iter().map(|(key, _)| *key).collect(),
        };
        self.torch.start_step(self.generation, &step)?;
        let ran = self.torch.finish_step()?;
        let Some(Ok(carried)) = ran.into_iter().next().map(|ran| ran.results) else { return Ok(None) };
        let each = carried.into_iter().zip(exact).map(|(carried, exact)| match (carried, exact) {
            (Outcome::Tensor { data: Some(carried), .. }, Outcome::Tensor { data: Some(exact), .. })
                if carried.shape == exact.shape =>
            {
                let far = apart(&plain_parts(carried), &plain_parts(exact.clone()));
                if far.is_finite() { far } else { 0.0 }
            }
            _ => 0.0,
        });
        Ok(Some(each.collect()))
    }
}

/// The largest difference of two tensors of one shape; infinite where their numbers cannot be told.
fn apart(a: &TensorData, b: &TensorData) -> f64 {
    pass(a, None, b).map_or(f64::INFINITY, |pass| pass.max_abs)
}
