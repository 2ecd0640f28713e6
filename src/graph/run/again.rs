//! An engine that dies in a run: what it ran is the node's failure, and the run goes on where that is possible.
//!
//! MLX's program is started again by the next step. What it held is gone, so each value that is taken after that is torch's,
//! fetched when it is first needed: what has come together begins anew there. What libtorch held nobody else has, and the run ends.

use super::{Lockstep, NodeResult, NodeVerdict, Stop, Values};
use crate::compare::Verdict;
use crate::graph::events::Event;
use crate::graph::special::Special;
use t2m_checkpoint::escape::sentence;
use t2m_checkpoint::graph::{Node, ValueId};
use t2m_engine::client;

/// How often MLX's program may die in one run and be started again.
const MOST_STARTS: usize = 16;

impl Lockstep<'_> {
    /// MLX's program is gone: what is said of the node that it ran.
    pub(super) fn mlx_gone(&mut self, error: client::Error) -> Result<String, Stop> {
        let client::Error::Down(words) = &error else { return Err(error.into()) };
        let words = sentence(words);
        self.mlx_died(&format!(": {words}"))?;
        // One that cannot be started again cannot go on.
        self.mlx.info()?;
        self.known = self.mlx.starts();
        Ok(format!("MLX: {words}; from here on it goes on with torch's values"))
    }

    /// Nothing that MLX's program held is there any more.
    fn mlx_died(&mut self, of: &str) -> Result<(), Stop> {
        self.starts += 1;
        self.pending.clear();
        self.mlx_drops.clear();
        match self.starts > MOST_STARTS {
            true => Err(Stop::Engine(format!("MLX's program died {} times{of}", self.starts))),
            false => Ok(()),
        }
    }

    /// Look whether MLX's program died between two nodes, and start it: what is said of the node that comes next.
    pub(in crate::graph) fn revive(&mut self) -> Result<Option<String>, Stop> {
        self.mlx.info()?;
        let now = self.mlx.starts();
        let died = self.known > 0 && now > self.known;
        self.known = now;
        if !died {
            return Ok(None);
        }
        self.mlx_died("")?;
        Ok(Some("MLX's program died before this node and was started again: it goes on with torch's values".to_owned()))
    }

    /// libtorch is gone, and with it every value: the node failed, and the run ends.
    pub(super) fn torch_gone(&mut self, node: &Node, index: usize, error: client::Error) -> Stop {
        if let client::Error::Down(words) = &error {
            let reason = Some(format!("libtorch: {}", sentence(words)));
            let verdict = NodeVerdict::Compared(Verdict::Failed);
            let result = NodeResult { verdict, reason, ..NodeResult::blank(node, index) };
            (self.tell)(Event::Node(Box::new(result)));
        }
        error.into()
    }

    /// Give MLX torch's values of those that an earlier start of its program had.
    pub(in crate::graph) fn give_again(&mut self, takes: &[ValueId], values: &mut Values) -> Result<(), Stop> {
        for id in takes {
            let Some(live) = values.get(id).cloned().filter(|live| live.start < self.starts && live.is_tensor()) else {
                continue;
            };
            let data = self.fetch(live.keys.torch)?;
            let copy = self.key();
            if let Some(again) = values.get_mut(id) {
                (again.keys.copy, again.keys.own, again.start) = (copy, copy, self.starts);
                (again.special, again.agrees) = (Special::of(&data), true);
            }
            self.pending.push((copy, data));
        }
        Ok(())
    }
}
