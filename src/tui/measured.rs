//! What was measured so far: trials and verdict of each layer, and their sums up the tree.

use std::collections::{BTreeMap, HashMap};

use super::document::Document;
use crate::compare::{self, Trial, Verdict};
use crate::model::ModuleId;
use crate::verify::{Event, Twin};
use t2m_checkpoint::Dtype;
use t2m_engine::{EngineState, Side};

/// How far a layer's measurement is.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Asked for; others are before it.
    Queued,
    /// Running; so many trials are to come in all.
    Running(usize),
    /// Done, with what else is to be said.
    Done(Verdict, Option<String>),
}

/// One layer's measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// How far it is.
    pub progress: Progress,
    /// Trials so far.
    pub trials: Vec<Trial>,
    /// Naive twins that were run beside it.
    pub twins: Vec<Twin>,
}

impl Layer {
    /// The trials that give the verdict: those in f32, or all where there is none.
    pub fn judged(&self) -> impl Iterator<Item = &Trial> {
        let any = self.trials.iter().any(|trial| trial.dtype == Dtype::Float32);
        self.trials.iter().filter(move |trial| !any || trial.dtype == Dtype::Float32)
    }

    /// The worst of them.
    pub fn worst(&self) -> Option<&Trial> {
        compare::worst(self.judged())
    }

    /// The worst trial in another dtype.
    pub fn worst_in(&self, dtype: Dtype) -> Option<&Trial> {
        compare::worst(self.trials.iter().filter(|trial| trial.dtype == dtype))
    }

    /// The verdict, once there is one.
    pub fn verdict(&self) -> Option<Verdict> {
        match self.progress {
            Progress::Done(verdict, _) => Some(verdict),
            _ => None,
        }
    }
}

/// Sum over a subtree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Layers with each verdict, in the order of [`Verdict::ALL`].
    pub verdicts: [u32; 6],
    /// Layers that run or are queued.
    pub running: u32,
}

impl Sum {
    /// Layers whose conversion may be trusted.
    pub fn passed(&self) -> u32 {
        self.of(Verdict::Exact) + self.of(Verdict::Ok)
    }

    /// Layers with that verdict.
    pub fn of(&self, verdict: Verdict) -> u32 {
        Verdict::ALL.iter().zip(self.verdicts).find(|(at, _)| **at == verdict).map_or(0, |(_, count)| count)
    }

    /// The worst verdict there is; `not-run` does not count.
    pub fn worst(&self) -> Option<Verdict> {
        let there = Verdict::ALL.into_iter().zip(self.verdicts).filter(|(_, count)| *count > 0);
        there.map(|(verdict, _)| verdict).filter(|verdict| *verdict != Verdict::NotRun).max()
    }

    /// Whether nothing was measured or asked for.
    pub fn is_empty(&self) -> bool {
        *self == Sum::default()
    }

    fn count(&mut self, layer: &Layer, by: i32) {
        match &layer.progress {
            Progress::Done(verdict, _) => {
                for (at, count) in Verdict::ALL.iter().zip(&mut self.verdicts) {
                    if at == verdict {
                        *count = count.saturating_add_signed(by);
                    }
                }
            }
            Progress::Queued | Progress::Running(_) => self.running = self.running.saturating_add_signed(by),
        }
    }
}

/// Everything measured, and what the engines are doing.
#[derive(Debug, Clone)]
pub struct Measured {
    /// State of libtorch's engine.
    pub torch: EngineState,
    /// State of MLX's engine.
    pub mlx: EngineState,
    /// Requests that have not said `Done`.
    pub requests: usize,
    layers: BTreeMap<ModuleId, Layer>,
    sums: HashMap<ModuleId, Sum>,
}

impl Default for Measured {
    fn default() -> Measured {
        Measured {
            torch: EngineState::Idle,
            mlx: EngineState::Idle,
            requests: 0,
            layers: BTreeMap::new(),
            sums: HashMap::new(),
        }
    }
}

impl Measured {
    /// One layer's measurement, if it was ever asked for.
    pub fn layer(&self, id: ModuleId) -> Option<&Layer> {
        self.layers.get(&id)
    }

    /// Its verdict, once there is one.
    pub fn verdict(&self, id: ModuleId) -> Option<Verdict> {
        self.layer(id).and_then(Layer::verdict)
    }

    /// The measurements at `id` and below, in the model's order.
    pub fn below(&self, document: &Document, id: ModuleId) -> impl Iterator<Item = (ModuleId, &Layer)> {
        let end = document.module(id).map_or(id, |module| module.end.max(id));
        self.layers.range(id..end).map(|(&id, layer)| (id, layer))
    }

    /// Sum over a module and what is below it.
    pub fn sum(&self, id: ModuleId) -> Sum {
        self.sums.get(&id).copied().unwrap_or_default()
    }

    /// Whether something runs or waits for its turn.
    pub fn is_running(&self) -> bool {
        self.sum(0).running > 0
    }

    /// Note that these were asked for.
    pub fn queue(&mut self, document: &Document, modules: &[ModuleId]) {
        self.requests += 1;
        for &id in modules {
            self.set(document, id, Layer { progress: Progress::Queued, trials: Vec::new(), twins: Vec::new() });
        }
    }

    /// Forget what was asked for and has no verdict.
    pub fn forget_unfinished(&mut self, document: &Document) {
        let open: Vec<ModuleId> =
            self.layers.iter().filter(|(_, layer)| layer.verdict().is_none()).map(|(&id, _)| id).collect();
        for id in open {
            self.remove(document, id);
        }
    }

    /// Take in an event.
    pub fn apply(&mut self, document: &Document, event: Event) {
        match event {
            Event::Engine(Side::Torch, state) => self.torch = state,
            Event::Engine(Side::Mlx, state) => self.mlx = state,
            Event::Started { module, trials } => {
                let progress = Progress::Running(trials);
                self.set(document, module, Layer { progress, trials: Vec::new(), twins: Vec::new() });
            }
            Event::Trial { module, trial } => {
                if let Some(layer) = self.layers.get_mut(&module) {
                    layer.trials.push(*trial);
                }
            }
            Event::Twin { module, twin } => {
                if let Some(layer) = self.layers.get_mut(&module) {
                    layer.twins.push(*twin);
                }
            }
            Event::Finished { module, verdict, reason } => {
                let before = self.remove(document, module);
                let (trials, twins) = before.map(|layer| (layer.trials, layer.twins)).unwrap_or_default();
                self.set(document, module, Layer { progress: Progress::Done(verdict, reason), trials, twins });
            }
            Event::Done { .. } => {
                self.requests = self.requests.saturating_sub(1);
                if self.requests == 0 {
                    self.forget_unfinished(document);
                }
            }
        }
    }

    fn set(&mut self, document: &Document, id: ModuleId, layer: Layer) {
        self.remove(document, id);
        self.add_up(document, id, &layer, 1);
        self.layers.insert(id, layer);
    }

    fn remove(&mut self, document: &Document, id: ModuleId) -> Option<Layer> {
        let layer = self.layers.remove(&id)?;
        self.add_up(document, id, &layer, -1);
        Some(layer)
    }

    fn add_up(&mut self, document: &Document, id: ModuleId, layer: &Layer, by: i32) {
        let mut at = Some(id);
        while let Some(id) = at {
            self.sums.entry(id).or_default().count(layer, by);
            at = document.module(id).and_then(|module| module.parent);
        }
    }
}
