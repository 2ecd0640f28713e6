//! The results of a run so far, built from its events: trials and verdict of each layer, their sums up the tree, what
//! the engines said. The screen, the reports and the certification all read them from here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Event, Twin};
use crate::compare::{self, Trial, Verdict};
use crate::exit::Exit;
use crate::figures::share;
use crate::model::{Model, ModuleId};
use crate::triage::Triage;
use t2m_checkpoint::Dtype;
use t2m_engine::{EngineInfo, EngineState, Side};

/// Progress of a layer's measurement.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Waiting for other layers.
    Queued,
    /// Running, with the total number of trials.
    Running(usize),
    /// Done, with anything else to say.
    Done(Verdict, Option<String>),
}

/// One layer's measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its progress.
    pub progress: Progress,
    /// Trials so far, in order.
    pub trials: Vec<Trial>,
    /// Naive twins that were run beside it.
    pub twins: Vec<Twin>,
    /// How many layers had finished before it; meaningless until it has finished.
    turn: usize,
}

impl Layer {
    fn new(progress: Progress) -> Layer {
        Layer { progress, trials: Vec::new(), twins: Vec::new(), turn: 0 }
    }

    /// The trials that give the verdict: those in f32, or all if there are none.
    pub fn judged(&self) -> impl Iterator<Item = &Trial> {
        let any = self.trials.iter().any(|trial| trial.dtype == Dtype::Float32);
        self.trials.iter().filter(move |trial| !any || trial.dtype == Dtype::Float32)
    }

    /// The worst of them.
    pub fn worst(&self) -> Option<&Trial> {
        compare::worst(self.judged())
    }

    /// The worst trial in a dtype.
    pub fn worst_in(&self, dtype: Dtype) -> Option<&Trial> {
        compare::worst(self.trials.iter().filter(|trial| trial.dtype == dtype))
    }

    /// The verdict, once there is one.
    pub fn verdict(&self) -> Option<Verdict> {
        match self.progress {
            Progress::Done(verdict, _) => Some(verdict),
            Progress::Queued | Progress::Running(_) => None,
        }
    }

    /// Anything to say beside the verdict.
    pub fn reason(&self) -> Option<&str> {
        match &self.progress {
            Progress::Done(_, reason) => reason.as_deref(),
            Progress::Queued | Progress::Running(_) => None,
        }
    }
}

/// Sum over a subtree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Layers with each verdict, in the order of [`Verdict::ALL`].
    verdicts: [u32; Verdict::ALL.len()],
    /// Layers that run or are queued.
    pub running: u32,
}

impl Sum {
    /// Number of layers with each verdict, best first, without zeros.
    pub fn counts(&self) -> impl Iterator<Item = (Verdict, u32)> {
        Verdict::ALL.into_iter().zip(self.verdicts).filter(|(_, count)| *count > 0)
    }

    /// Layers with that verdict.
    pub fn of(&self, verdict: Verdict) -> u32 {
        self.all(|at| at == verdict)
    }

    /// Layers whose conversion may be trusted.
    pub fn passed(&self) -> u32 {
        self.all(Verdict::passes)
    }

    /// Layers whose conversion is wrong, or which an engine refused.
    pub fn bad(&self) -> u32 {
        self.all(Verdict::is_bad)
    }

    /// Layers that have a verdict.
    pub fn finished(&self) -> u32 {
        self.all(|_| true)
    }

    /// The worst verdict there is; `not-run` does not count.
    pub fn worst(&self) -> Option<Verdict> {
        self.counts().map(|(verdict, _)| verdict).filter(|verdict| *verdict != Verdict::NotRun).max()
    }

    /// Whether nothing was measured or requested.
    pub fn is_empty(&self) -> bool {
        *self == Sum::default()
    }

    fn all(&self, wanted: impl Fn(Verdict) -> bool) -> u32 {
        self.counts().filter(|(verdict, _)| wanted(*verdict)).map(|(_, count)| count).sum()
    }

    fn count(&mut self, layer: &Layer, by: i32) {
        match layer.verdict() {
            Some(verdict) => {
                let counts = Verdict::ALL.iter().zip(&mut self.verdicts);
                counts
                    .filter(|(at, _)| **at == verdict)
                    .for_each(|(_, count)| *count = count.saturating_add_signed(by));
            }
            None => self.running = self.running.saturating_add_signed(by),
        }
    }
}

/// How much of what was asked for was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Layers that both engines computed.
    pub measured: usize,
    /// Layers that are their own reference: the identity held against the identity.
    pub by_definition: usize,
    /// Layers that are done, those counted that could not be run.
    pub layers: usize,
}

impl Measured {
    /// Share of the layers that has to be measured to know all: those by definition need no measurement.
    pub fn share(self) -> f64 {
        share(self.measured as u64, self.layers.saturating_sub(self.by_definition) as u64)
    }
}

/// Everything measured, and what the engines are doing.
#[derive(Debug, Clone)]
pub struct Results {
    /// State of libtorch's engine.
    pub torch: EngineState,
    /// State of MLX's engine.
    pub mlx: EngineState,
    /// Requests that have not reported `Done`.
    pub requests: usize,
    model: Arc<Model>,
    layers: BTreeMap<ModuleId, Layer>,
    sums: HashMap<ModuleId, Sum>,
    /// What each engine said about itself in its last greeting, even if it has died since.
    greetings: HashMap<Side, EngineInfo>,
    /// How many layers have finished, counting each repetition.
    turns: usize,
}

impl Results {
    /// No results yet, for this model.
    pub fn of(model: Arc<Model>) -> Results {
        Results {
            torch: EngineState::Idle,
            mlx: EngineState::Idle,
            requests: 0,
            model,
            layers: BTreeMap::new(),
            sums: HashMap::new(),
            greetings: HashMap::new(),
            turns: 0,
        }
    }

    /// One layer's measurement, if one was ever requested.
    pub fn layer(&self, id: ModuleId) -> Option<&Layer> {
        self.layers.get(&id)
    }

    /// Its verdict, once there is one.
    pub fn verdict(&self, id: ModuleId) -> Option<Verdict> {
        self.layer(id).and_then(Layer::verdict)
    }

    /// The measurements at `id` and below, in the model's order.
    pub fn below(&self, id: ModuleId) -> impl Iterator<Item = (ModuleId, &Layer)> {
        let end = self.model.modules.get(id).map_or(id, |module| module.end.max(id));
        self.layers.range(id..end).map(|(&id, layer)| (id, layer))
    }

    /// The layers that have a verdict, in the order in which they got it.
    pub fn finished(&self) -> Vec<(ModuleId, &Layer)> {
        let done = self.layers.iter().filter(|(_, layer)| layer.verdict().is_some());
        let mut done: Vec<(ModuleId, &Layer)> = done.map(|(&id, layer)| (id, layer)).collect();
        done.sort_by_key(|(_, layer)| layer.turn);
        done
    }

    /// Sum over a module and what is below it.
    pub fn sum(&self, id: ModuleId) -> Sum {
        self.sums.get(&id).copied().unwrap_or_default()
    }

    /// Sum over the whole model.
    pub fn total(&self) -> Sum {
        self.sum(0)
    }

    /// Whether a finished layer has any trial.
    pub fn any_measured(&self) -> bool {
        self.layers.values().any(|layer| layer.verdict().is_some() && !layer.trials.is_empty())
    }

    /// What an engine said about itself in its last greeting.
    pub fn greeting(&self, side: Side) -> Option<&EngineInfo> {
        self.greetings.get(&side)
    }

    /// How many of the layers that are done were measured: run in both engines, with outputs to compare. A layer that is its
    /// own reference was not.
    pub fn measured(&self, triage: &Triage) -> Measured {
        let mut measured = Measured::default();
        for (&id, layer) in self.layers.iter().filter(|(_, layer)| layer.verdict().is_some()) {
            measured.layers += 1;
            let by_definition = triage.modules.get(id).is_some_and(|triaged| triaged.is_by_definition());
            let compared = !layer.trials.is_empty()
                && layer.verdict().is_some_and(|verdict| !matches!(verdict, Verdict::Failed | Verdict::NotRun));
            match (by_definition, compared) {
                (true, true) => measured.by_definition += 1,
                (false, true) => measured.measured += 1,
                (_, false) => {}
            }
        }
        measured
    }

    /// How a program ends that measured this, where at least this share of the layers has to be measured. Where nothing at
    /// all was measured there is no good answer.
    pub fn exit(&self, measured: Measured, required: f64) -> Exit {
        Exit::of(self.total().bad() == 0 && measured.measured > 0 && measured.share() >= required)
    }

    /// Whether something runs or is queued.
    pub fn is_running(&self) -> bool {
        self.total().running > 0
    }

    /// Note that these were requested.
    pub fn queue(&mut self, modules: &[ModuleId]) {
        self.requests += 1;
        modules.iter().for_each(|&id| self.set(id, Layer::new(Progress::Queued)));
    }

    /// Forget requested layers that have no verdict.
    pub fn forget_unfinished(&mut self) {
        let open = self.layers.iter().filter(|(_, layer)| layer.verdict().is_none());
        let open: Vec<ModuleId> = open.map(|(&id, _)| id).collect();
        for id in open {
            self.remove(id);
        }
    }

    /// Take in an event; returns the layer that it finished.
    pub fn apply(&mut self, event: Event) -> Option<(ModuleId, &Layer)> {
        match event {
            Event::Engine(side, state) => {
                if let EngineState::Ready(info) = &state {
                    self.greetings.insert(side, info.clone());
                }
                match side {
                    Side::Torch => self.torch = state,
                    Side::Mlx => self.mlx = state,
                }
            }
            Event::Started { module, trials } => self.set(module, Layer::new(Progress::Running(trials))),
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
                let before = self.remove(module).unwrap_or(Layer::new(Progress::Queued));
                self.set(module, Layer { progress: Progress::Done(verdict, reason), turn: self.turns, ..before });
                self.turns += 1;
                return self.layer(module).map(|layer| (module, layer));
            }
            Event::Done { .. } => {
                self.requests = self.requests.saturating_sub(1);
                if self.requests == 0 {
                    self.forget_unfinished();
                }
            }
        }
        None
    }

    fn set(&mut self, id: ModuleId, layer: Layer) {
        self.remove(id);
        self.add_up(id, &layer, 1);
        self.layers.insert(id, layer);
    }

    fn remove(&mut self, id: ModuleId) -> Option<Layer> {
        let layer = self.layers.remove(&id)?;
        self.add_up(id, &layer, -1);
        Some(layer)
    }

    fn add_up(&mut self, id: ModuleId, layer: &Layer, by: i32) {
        let mut at = Some(id);
        while let Some(id) = at {
            self.sums.entry(id).or_default().count(layer, by);
            at = self.model.modules.get(id).and_then(|module| module.parent);
        }
    }
}
