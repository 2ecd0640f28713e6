//! How much of a model's weights has a known move, without making the key map: of a million tensors that takes names.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::family::{Added, Norms};
use super::moves::{is_vector, without_plan};
use crate::figures::share;
use crate::model::ModuleId;
use crate::open::Opened;
use crate::plan::Move;
use crate::triage::{ModuleTriage, Status};
use t2m_checkpoint::{TensorId, TensorKind};

/// Share of the parameters whose move to MLX is known, by a plan or by the module's class, from 0 to 1; `None` where there are
/// no parameters. A parameter that only a forward which has to be ported uses is copied, and not counted as known.
pub fn known_share(opened: &Opened) -> Option<f64> {
    let (checkpoint, model) = (&opened.checkpoint, &opened.model);
    let all = model.parameters();
    if all == 0 {
        return None;
    }
    let mut known =
        Known { opened, moves: HashMap::default(), seen: vec![false; checkpoint.tensors.len()], elements: 0 };
    let certain = model.certain_classes();
    let norms = Norms::of(opened);
    let mut id = 0;
    while id < model.modules.len() {
        // Of a bare state dict most may have no class, and then no moves.
        let in_doubt = opened.triage.modules[id].plan.is_none() && norms.added(id) == Added::Unknown;
        if in_doubt || model.modules[id].class.is_empty() && opened.triage.modules[id].plan.is_none() {
            known.vectors(id);
            id += 1;
            continue;
        }
        let moves = known.moves(id, |id| without_plan(opened, id, &certain).unwrap_or_default());
        let whole = !moves.is_empty() && known.take(id, &moves);
        if !whole {
            known.vectors(id);
        }
        id = if whole { model.modules[id].end.max(id + 1) } else { id + 1 };
    }
    Some(share(known.elements, all))
}

struct Known<'a> {
    opened: &'a Opened,
    /// Moves of modules that are alike, by the triage that they share.
    moves: HashMap<*const ModuleTriage, Arc<Vec<Move>>, RandomState>,
    /// Tensors that were counted.
    seen: Vec<bool>,
    elements: u64,
}

impl Known<'_> {
    fn moves(&mut self, id: ModuleId, without: impl FnOnce(ModuleId) -> Vec<Move>) -> Arc<Vec<Move>> {
        let triaged = &self.opened.triage.modules[id];
        if let Some(known) = self.moves.get(&Arc::as_ptr(triaged)) {
            return Arc::clone(known);
        }
        let made = Arc::new(match &triaged.plan {
            Some(plan) => plan.weights.clone(),
            None if triaged.status == Status::Container => Vec::new(),
            None => without(id),
        });
        // One that has no like is not asked for again.
        if Arc::strong_count(triaged) > 1 {
            self.moves.insert(Arc::as_ptr(triaged), Arc::clone(&made));
        }
        made
    }

    /// Count what the moves are made of; `false` where a tensor of theirs is not there, and nothing was counted.
    fn take(&mut self, id: ModuleId, moves: &[Move]) -> bool {
        let model = &self.opened.model;
        let sources = moves.iter().flat_map(|step| &step.from).map(|name| model.tensor(id, name));
        let Some(sources) = sources.collect::<Option<Vec<_>>>() else { return false };
        let below = &model.modules[id..model.modules[id].end.max(id + 1)];
        let buffers = || below.iter().flat_map(|module| &module.tensors).filter(|own| own.kind == TensorKind::Buffer);
        for source in sources {
            if buffers().any(|own| own.tensor == Some(source)) {
                continue;
            }
            self.count(source);
        }
        true
    }

    fn count(&mut self, source: TensorId) {
        let tensor = &self.opened.checkpoint.tensors[source];
        let first = tensor.shared_with.unwrap_or(source);
        if !std::mem::replace(&mut self.seen[first], true) {
            self.elements = self.elements.saturating_add(tensor.elements());
        }
    }

    /// Count weights and biases along one axis, whose layer is not known.
    fn vectors(&mut self, id: ModuleId) {
        let opened = self.opened;
        for own in opened.model.modules[id].tensors.iter().filter(|own| own.kind != TensorKind::Buffer) {
            if let Some(tensor) = own.tensor.filter(|&tensor| is_vector(opened, id, tensor)) {
                self.count(tensor);
            }
        }
    }
}
