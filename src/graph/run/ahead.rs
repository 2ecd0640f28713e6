//! Small parameters are given to torch together, before they are needed: one answer is waited for and not one for each.

use super::{Keys, Live, Lockstep, Stop, Values};
use crate::graph::plan::Form;
use crate::graph::special::{Nan, Special};
use t2m_checkpoint::graph::{Graph, Origin, ValueId};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client::Step;
use t2m_engine::graph::{Call, Outcome, Run};

/// So many bytes are held before they are needed, at most; beside the values of a large model they do not count.
const MOST_BYTES: usize = 1 << 18;
/// And so many tensors.
const MOST_TENSORS: usize = 64;

impl Lockstep<'_> {
    /// Where a node is the first to need a parameter, load it together with those that the nodes behind it need, as long as they are
    /// small. What is not float32, or cannot be read, is left to be loaded by itself.
    pub(super) fn ahead(&mut self, graph: &Graph, at: usize, values: &mut Values) -> Result<(), Stop> {
        let missing = |id: &ValueId, values: &Values| !values.contains_key(id) && state(graph, *id).is_some();
        let own = |node: usize| graph.nodes.get(node).into_iter().flat_map(|node| &node.arguments);
        let takes = |node: usize| own(node).flat_map(|(_, argument)| argument.values());
        if !takes(at).any(|id| missing(&id, values)) {
            return Ok(());
        }
        let mut found: Vec<(ValueId, TensorData)> = Vec::new();
        let mut bytes = 0;
        'nodes: for node in at..graph.nodes.len() {
            for id in takes(node).filter(|id| missing(id, values)) {
                if found.iter().any(|(known, _)| *known == id) {
                    continue;
                }
                bytes += size(graph, id);
                if bytes > MOST_BYTES || found.len() == MOST_TENSORS {
                    break 'nodes;
                }
                match state(graph, id).map(|name| self.state.read(name)) {
                    Some(Ok(data)) if data.dtype == Dtype::Float32 => found.push((id, data)),
                    _ => break 'nodes,
                }
            }
        }
        if found.is_empty() { Ok(()) } else { self.hold_all(graph, found, values) }
    }

    /// Give tensors in float32 to both engines.
    fn hold_all(&mut self, graph: &Graph, found: Vec<(ValueId, TensorData)>, values: &mut Values) -> Result<(), Stop> {
        let raw: Vec<u64> = found.iter().map(|_| self.key()).collect();
        let torch: Vec<u64> = found.iter().map(|_| self.key()).collect();
        let exact: Vec<u64> = found.iter().map(|_| self.key()).collect();
        let run = |compute, gives: &[u64]| Run { compute, takes: raw.clone(), gives: gives.to_vec(), returns: false };
        let step = Step {
            values: raw.iter().copied().zip(found.iter().map(|(_, data)| data)).collect(),
            call: Call::Nothing,
            runs: vec![run(Dtype::Float32, &torch), run(Dtype::Float64, &exact)],
            drops: raw.clone(),
        };
        self.torch.start_step(self.generation, &step)?;
        let first = self.torch.finish_step()?.into_iter().next().map(|ran| ran.results);
        let outcomes = first.unwrap_or_else(|| Err("libtorch gave nothing".to_owned())).map_err(Stop::Engine)?;
        for (((id, data), outcome), (torch, exact)) in found.into_iter().zip(outcomes).zip(torch.into_iter().zip(exact))
        {
            let Outcome::Tensor { place, .. } = outcome else {
                return Err(Stop::Engine("libtorch gave no tensor".to_owned()));
            };
            let copy = self.key();
            let special = Special::of(&data);
            let name = state(graph, id).unwrap_or_default();
            let nan = Nan::held(&data, special, &format!("the file's `{name}`"));
            let form = Form::Tensor { dtype: data.dtype, shape: data.shape.clone() };
            self.pending.push((copy, data));
            let keys = Keys { torch, exact, copy, own: copy };
            values.insert(id, Live { place, special, nan, start: self.starts, ..Live::new(form, keys) });
        }
        Ok(())
    }
}

/// The bytes of a tensor in float32, as the file tells; more than any where it does not.
fn size(graph: &Graph, id: ValueId) -> usize {
    let told = || {
        let meta = graph.value(id)?.tensor.as_ref().filter(|meta| meta.dtype == Dtype::Float32)?;
        let elements =
            meta.sizes.iter().try_fold(1usize, |all, size| all.checked_mul(usize::try_from((*size)?).ok()?))?;
        elements.checked_mul(size_of::<f32>())
    };
    told().unwrap_or(MOST_BYTES + 1)
}

/// The name of a parameter or a buffer in the file.
fn state(graph: &Graph, id: ValueId) -> Option<&str> {
    let input = graph.inputs.iter().find(|input| input.value == id)?;
    match &input.origin {
        Origin::State(name) => Some(name),
        _ => None,
    }
}
