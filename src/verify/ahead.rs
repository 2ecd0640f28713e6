//! The weights of the layer after the one that runs, read meanwhile.

use super::Request;
use super::tensors::Weights;
use crate::compare::WeightSource;
use crate::model::ModuleId;
use crate::open::Opened;
use crate::plan::Plan;
use t2m_checkpoint::Dtype;

/// Most bytes that are read ahead: a large layer need not be held while another one runs.
const MOST: u64 = 64 << 20;

/// Weights of a module in float32, which is always first.
pub(super) struct Ahead {
    module: ModuleId,
    weights: Result<Weights, String>,
}

impl Ahead {
    /// Read what a module computes with, if it is a layer with one conversion and of no great size.
    pub fn read(opened: &Opened, request: &Request, module: ModuleId) -> Option<Ahead> {
        let plan = opened.triage.modules.get(module)?.runs()?;
        let weights = (bytes(opened, module, plan)? <= MOST)
            .then(|| Weights::read(opened, module, plan, Dtype::Float32, source(request)))?;
        Some(Ahead { module, weights })
    }

    /// The weights, if they are those of this module in this type.
    pub fn of(self, module: ModuleId, dtype: Dtype) -> Option<Result<Weights, String>> {
        (self.module == module && dtype == Dtype::Float32).then_some(self.weights)
    }
}

/// The seed of random weights; `None` for the checkpoint's own.
pub(super) fn source(request: &Request) -> Option<u64> {
    (request.weights == WeightSource::Random).then_some(request.seed)
}

/// How much a plan moves; `None` where the file lacks something.
fn bytes(opened: &Opened, module: ModuleId, plan: &Plan) -> Option<u64> {
    let mut sum = 0u64;
    for name in plan.weights.iter().flat_map(|movement| &movement.from) {
        let tensor = opened.checkpoint.tensors.get(opened.model.tensor(module, name)?)?;
        sum = sum.saturating_add(tensor.elements().saturating_mul(tensor.dtype.size() as u64));
    }
    Some(sum)
}
