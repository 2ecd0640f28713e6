//! Values that an engine holds, asked for.

use indexmap::IndexMap;

use super::{Lockstep, Seen, Stop, Values};
use crate::graph::plan::{MlxCall, Refusal, TorchCall};
use t2m_checkpoint::graph::Node;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client::{Client, Step};
use t2m_engine::graph::{Call, Outcome, Place, Ran, Run};

impl Lockstep<'_> {
    /// What a node is about to be given.
    pub(super) fn look(
        &mut self,
        node: &Node,
        values: &Values,
        torch: &TorchCall,
        mlx: &Result<MlxCall, Refusal>,
    ) -> Result<Seen, Stop> {
        let mut tensors = IndexMap::new();
        let takes = mlx.as_ref().map_or(&[][..], |call| call.takes.as_slice());
        for id in torch.takes.iter().chain(takes) {
            if let (false, Some(live)) = (tensors.contains_key(id), values.get(id)) {
                tensors.insert(*id, self.fetch(live.keys.torch)?);
            }
        }
        Ok(Seen { node: node.clone(), torch: torch.clone(), mlx: mlx.clone(), tensors })
    }

    /// A value of torch's.
    pub(in crate::graph) fn fetch(&mut self, key: u64) -> Result<TensorData, Stop> {
        fetch(&mut self.torch, self.generation, key)
    }

    /// A value of torch's as MLX was given it.
    pub(super) fn fetch_copy(&mut self, key: u64) -> Result<TensorData, Stop> {
        fetch(&mut self.mlx, self.generation, key)
    }
}

fn fetch(client: &mut Client, generation: u64, key: u64) -> Result<TensorData, Stop> {
    let run = Run { compute: Dtype::Float32, takes: vec![key], gives: Vec::new(), returns: true };
    let step = Step { values: Vec::new(), call: Call::Nothing, runs: vec![run], drops: Vec::new() };
    client.start_step(generation, &step)?;
    match first_tensor(client.finish_step()?) {
        Some((data, _)) => Ok(data),
        None => Err(Stop::Engine("the engine gave no tensor".to_owned())),
    }
}

pub(in crate::graph) fn first_tensor(ran: Vec<Ran>) -> Option<(TensorData, Option<Place>)> {
    match ran.into_iter().next()?.results.ok()?.into_iter().next()? {
        Outcome::Tensor { data: Some(data), place, .. } => Some((data, place)),
        _ => None,
    }
}
