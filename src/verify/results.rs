//! The results of a run so far, built from its events: trials and verdict of each layer, their sums up the tree, what
//! the engines said. The screen, the reports and the certification all read them from here.

pub mod recorded;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Event, Renamed, Twin};
use crate::compare::{self, Trial, Verdict, WeightSource};
use crate::exit::Exit;
use crate::figures::share;
use crate::model::{Model, ModuleId};
use crate::triage::{ModuleTriage, Triage};
use recorded::{Record, Stale};
use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::sentence;
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
    /// Whether it failed before anything was run, for an engine that is not there: that says nothing of the layer.
    pub no_engine: bool,
    /// What it was asked for and what it rests on, once it has finished and where that was noted.
    pub record: Option<Arc<Record>>,
    /// How many layers had finished before it; meaningless until it has finished.
    turn: usize,
}

impl Layer {
    fn new(progress: Progress) -> Layer {
        Layer { progress, trials: Vec::new(), twins: Vec::new(), no_engine: false, record: None, turn: 0 }
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

    /// The worst of what MLX gives by default, TF32 and all, and the trial that it belongs to; `None` where nobody asked.
    pub fn worst_by_default(&self) -> Option<Trial> {
        let all: Vec<Trial> = self.judged().filter_map(Trial::by_default).collect();
        compare::worst(all.iter()).cloned()
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
    /// Layers with each verdict, in the order of [`Verdict::ALL`]; not those of which something is assumed.
    verdicts: [u32; Verdict::ALL.len()],
    /// Layers with each verdict that were run with assumed values.
    assumed: [u32; Verdict::ALL.len()],
    /// Layers that run or are queued.
    pub running: u32,
    /// Layers that both engines computed, with outputs to compare. A layer that is its own reference was not.
    pub measured: u32,
    /// Layers that both engines computed with every value that is assumed of them; they are not among the measured ones.
    pub as_assumed: u32,
    /// Layers that are their own reference, and exact by that.
    pub by_definition: u32,
    /// Layers that failed for an engine that is not there.
    pub no_engine: u32,
    /// Those of them of which something is assumed.
    assumed_without: u32,
}

impl Sum {
    /// Number of layers with each verdict, best first, without zeros; not those of which something is assumed.
    pub fn counts(&self) -> impl Iterator<Item = (Verdict, u32)> + use<> {
        Verdict::ALL.into_iter().zip(self.verdicts).filter(|(_, count)| *count > 0)
    }

    /// The same of those of which something is assumed.
    pub fn assumed(&self) -> impl Iterator<Item = (Verdict, u32)> + use<> {
        Verdict::ALL.into_iter().zip(self.assumed).filter(|(_, count)| *count > 0)
    }

    /// Layers with that verdict, nothing of them being assumed.
    pub fn of(&self, verdict: Verdict) -> u32 {
        self.counts().filter(|(at, _)| *at == verdict).map(|(_, count)| count).sum()
    }

    /// Layers whose conversion was measured and may be trusted.
    pub fn passed(&self) -> u32 {
        let passed: u32 = self.counts().filter(|(verdict, _)| verdict.passes()).map(|(_, count)| count).sum();
        passed.saturating_sub(self.by_definition)
    }

    /// Layers whose conversion may be trusted with every value that is assumed of them.
    pub fn passed_as_assumed(&self) -> u32 {
        self.assumed().filter(|(verdict, _)| verdict.passes()).map(|(_, count)| count).sum()
    }

    /// What was measured of so many layers: `185 of 194 layers pass, 9 exact by definition`.
    pub fn passed_words(&self, to_measure: usize) -> String {
        let passed = self.passed() as usize;
        let layers = if to_measure == 1 { "layer" } else { "layers" };
        let passes = if passed == 1 { "passes" } else { "pass" };
        let mut words = match (self.measured, passed == to_measure) {
            (0, _) => format!("none of {to_measure} {layers} measured"),
            (_, true) => format!("{passed} {layers} {passes}"),
            (_, false) => format!("{passed} of {to_measure} {layers} {passes}"),
        };
        if self.by_definition > 0 {
            words += &format!(", {} exact by definition", self.by_definition);
        }
        words
    }

    /// `3 ok, 1 broken`, of those of which something is assumed; but for those without an engine.
    pub fn assumed_words(&self) -> String {
        let told =
            self.assumed().map(|(verdict, count)| (verdict, count - self.without(verdict, self.assumed_without)));
        let counts: Vec<String> = told
            .filter(|(_, count)| *count > 0)
            .map(|(verdict, count)| format!("{count} {}", verdict.name()))
            .collect();
        counts.join(", ")
    }

    /// Of the layers with that verdict those that have it for want of an engine, which are so many.
    fn without(&self, verdict: Verdict, count: u32) -> u32 {
        if verdict == Verdict::Failed { count } else { 0 }
    }

    /// Number of layers with each verdict, best first, without zeros: but for those by definition, and those without an engine.
    pub fn told(&self) -> impl Iterator<Item = (Verdict, u32)> {
        let apart = |verdict| match verdict {
            Verdict::Exact => self.by_definition,
            Verdict::Failed => self.no_engine - self.assumed_without,
            _ => 0,
        };
        self.counts().map(move |(verdict, count)| (verdict, count - apart(verdict))).filter(|(_, count)| *count > 0)
    }

    /// `10 exact, 38 ok, 3 not-run; 2 exact by definition`: those by definition are not among the exact.
    pub fn words(&self) -> String {
        let counts: Vec<String> = self.told().map(|(verdict, count)| format!("{count} {}", verdict.name())).collect();
        let counts = (!counts.is_empty()).then(|| counts.join(", "));
        let assumed = self.assumed_words();
        let assumed = (!assumed.is_empty()).then(|| format!("as assumed {assumed}"));
        let counts = counts.into_iter().chain(assumed);
        let apart = [(self.by_definition, "exact by definition"), (self.no_engine, "without an engine")];
        let apart = apart.into_iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}"));
        counts.chain(apart).collect::<Vec<_>>().join("; ")
    }

    /// Layers whose conversion is wrong, or which an engine refused.
    pub fn bad(&self) -> u32 {
        self.all(Verdict::is_bad)
    }

    /// Layers that have a verdict.
    pub fn finished(&self) -> u32 {
        self.all(|_| true)
    }

    /// The worst verdict there is; `not-run` does not count, nor what failed for want of an engine.
    pub fn worst(&self) -> Option<Verdict> {
        let without = [self.no_engine - self.assumed_without, self.assumed_without];
        let known = self.counts().map(|(verdict, count)| (verdict, count - self.without(verdict, without[0])));
        let assumed = self.assumed().map(|(verdict, count)| (verdict, count - self.without(verdict, without[1])));
        known
            .chain(assumed)
            .filter(|(_, count)| *count > 0)
            .map(|(verdict, _)| verdict)
            .filter(|verdict| *verdict != Verdict::NotRun)
            .max()
    }

    /// Whether nothing was measured or requested.
    pub fn is_empty(&self) -> bool {
        *self == Sum::default()
    }

    fn all(&self, wanted: impl Fn(Verdict) -> bool) -> u32 {
        self.counts().chain(self.assumed()).filter(|(verdict, _)| wanted(*verdict)).map(|(_, count)| count).sum()
    }

    fn count(&mut self, layer: &Layer, kind: Kind, by: i32) {
        match layer.verdict() {
            Some(verdict) => {
                let compared = !layer.trials.is_empty() && !matches!(verdict, Verdict::Failed | Verdict::NotRun);
                let of = match (compared, kind) {
                    (true, Kind::Identity) if verdict == Verdict::Exact => Some(&mut self.by_definition),
                    (true, Kind::Assumed) => Some(&mut self.as_assumed),
                    (true, _) => Some(&mut self.measured),
                    (false, _) => None,
                };
                if let Some(count) = of {
                    *count = count.saturating_add_signed(by);
                }
                if layer.no_engine {
                    self.no_engine = self.no_engine.saturating_add_signed(by);
                }
                if layer.no_engine && kind == Kind::Assumed {
                    self.assumed_without = self.assumed_without.saturating_add_signed(by);
                }
                let verdicts = if kind == Kind::Assumed { &mut self.assumed } else { &mut self.verdicts };
                let counts = Verdict::ALL.iter().zip(verdicts);
                counts
                    .filter(|(at, _)| **at == verdict)
                    .for_each(|(_, count)| *count = count.saturating_add_signed(by));
            }
            None => self.running = self.running.saturating_add_signed(by),
        }
    }
}

/// What a layer's verdict says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// That it is converted right, or not.
    Known,
    /// The same, whatever the values are that are assumed of it.
    Assumed,
    /// Nothing: both sides run the identity.
    Identity,
}

/// How much of what was asked for was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Layers that both engines computed.
    pub measured: usize,
    /// Layers that both engines computed with every value that is assumed of them.
    pub assumed: usize,
    /// Layers that are their own reference: the identity held against the identity.
    pub by_definition: usize,
    /// Layers that are done, those counted that could not be run.
    pub layers: usize,
}

impl Measured {
    /// Share of the layers that has to be measured to know all: those by definition need no measurement, and those that were run with
    /// what is assumed of them had theirs.
    pub fn share(self) -> f64 {
        share((self.measured + self.assumed) as u64, self.layers.saturating_sub(self.by_definition) as u64)
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
    /// Layers for which both sides run the identity, in order.
    identities: Vec<ModuleId>,
    /// Layers of which something is assumed, in order.
    assumed: Vec<ModuleId>,
    layers: BTreeMap<ModuleId, Layer>,
    sums: HashMap<ModuleId, Sum>,
    /// What each engine said about itself in its last greeting, even if it has died since.
    greetings: HashMap<Side, EngineInfo>,
    /// What the engines said that computed what is on record.
    on_record: HashMap<Side, EngineInfo>,
    /// What was measured and does not hold any more.
    stale: BTreeMap<ModuleId, Stale>,
    /// What a layer that runs again had before: if its run is cancelled, that still holds.
    before: BTreeMap<ModuleId, Layer>,
    /// What runs compute with, where that matters.
    weights: Option<WeightSource>,
    /// How many layers have finished, counting each repetition.
    turns: usize,
    /// Layers that were asked for with what a plain rename would give.
    beside: BTreeSet<ModuleId>,
}

impl Results {
    /// No results yet, for this model and its triage.
    pub fn of(model: Arc<Model>, triage: &Triage) -> Results {
        let of = |wanted: fn(&ModuleTriage) -> bool| -> Vec<ModuleId> {
            let modules = triage.modules.iter().enumerate();
            modules.filter(|(_, triaged)| wanted(triaged)).map(|(id, _)| id).collect()
        };
        let identities = of(ModuleTriage::is_by_definition);
        let assumed = of(ModuleTriage::is_assumed);
        Results {
            torch: EngineState::Idle,
            mlx: EngineState::Idle,
            requests: 0,
            model,
            identities,
            assumed,
            layers: BTreeMap::new(),
            sums: HashMap::new(),
            greetings: HashMap::new(),
            on_record: HashMap::new(),
            stale: BTreeMap::new(),
            before: BTreeMap::new(),
            weights: None,
            turns: 0,
            beside: BTreeSet::new(),
        }
    }

    /// The verdicts so far for the same modules, of which something else is known now: those of layers that are `same`.
    pub fn carried_to(&self, model: Arc<Model>, triage: &Triage, same: impl Fn(ModuleId) -> bool) -> Results {
        let (greetings, beside) = (self.greetings.clone(), self.beside.clone());
        let mut carried = Results { greetings, beside, turns: self.turns, ..Results::of(model, triage) };
        for (&id, layer) in self.layers.iter().filter(|(id, layer)| layer.verdict().is_some() && same(**id)) {
            carried.set(id, layer.clone());
        }
        carried.on_record.clone_from(&self.on_record);
        carried.weights = self.weights;
        carried.outdated(self, triage);
        carried
    }

    /// One layer's measurement, if one was ever requested.
    pub fn layer(&self, id: ModuleId) -> Option<&Layer> {
        self.layers.get(&id)
    }

    /// Its verdict, once there is one.
    pub fn verdict(&self, id: ModuleId) -> Option<Verdict> {
        self.layer(id).and_then(Layer::verdict)
    }

    /// Whether it was measured badly: drift, broken, refused or died of; not where an engine was never there.
    pub fn is_bad(&self, id: ModuleId) -> bool {
        self.layer(id).is_some_and(|layer| !layer.no_engine && layer.verdict().is_some_and(Verdict::is_bad))
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

    /// The engines that are not there or have ended, each with the reason as a sentence.
    pub fn engines_down(&self) -> impl Iterator<Item = (Side, &str)> {
        [(Side::Torch, &self.torch), (Side::Mlx, &self.mlx)].into_iter().filter_map(|(side, state)| match state {
            EngineState::Down(reason) => Some((side, reason.as_str())),
            EngineState::Idle | EngineState::Starting | EngineState::Ready(_) => None,
        })
    }

    /// How much of what is done was measured.
    pub fn measured(&self) -> Measured {
        let total = self.total();
        Measured {
            measured: total.measured as usize,
            assumed: total.as_assumed as usize,
            by_definition: total.by_definition as usize,
            layers: total.finished() as usize,
        }
    }

    /// Whether a layer is its own reference, and its verdict says nothing but that.
    pub fn is_by_definition(&self, id: ModuleId) -> bool {
        self.is_identity(id) && self.verdict(id) == Some(Verdict::Exact)
    }

    /// Whether its verdict holds for each of the values that are assumed of it.
    pub fn is_assumed(&self, id: ModuleId) -> bool {
        self.assumed.binary_search(&id).is_ok()
    }

    fn is_identity(&self, id: ModuleId) -> bool {
        self.identities.binary_search(&id).is_ok()
    }

    fn kind(&self, id: ModuleId) -> Kind {
        match (self.is_identity(id), self.is_assumed(id)) {
            (true, _) => Kind::Identity,
            (_, true) => Kind::Assumed,
            _ => Kind::Known,
        }
    }

    /// How a program ends that measured this, where at least this share of the layers has to be measured. Where nothing at
    /// all was measured there is no good answer.
    pub fn exit(&self, measured: Measured, required: f64) -> Exit {
        Exit::of(self.total().bad() == 0 && measured.measured + measured.assumed > 0 && measured.share() >= required)
    }

    /// Take over what other results say of finished layers, each by the id that it has here, where it has one.
    pub fn take_over(&mut self, others: &Results, here: impl Fn(ModuleId) -> Option<ModuleId>) {
        self.take_over_stale(others, &here);
        for (id, layer) in others.finished() {
            if let Some(id) = here(id) {
                self.set(id, Layer { turn: self.turns, ..layer.clone() });
                self.turns += 1;
            }
        }
        self.greetings.clone_from(&others.greetings);
    }

    /// Whether something runs or is queued.
    pub fn is_running(&self) -> bool {
        self.total().running > 0
    }

    /// Note that these were requested.
    pub fn queue(&mut self, modules: &[ModuleId]) {
        self.requests += 1;
        for &id in modules {
            if let Some(before) = self.layers.get(&id).filter(|layer| layer.is_result()) {
                self.before.insert(id, before.clone());
            }
            self.set(id, Layer::new(Progress::Queued));
        }
    }

    /// Note whether these are run beside what a plain rename would give.
    pub fn run_beside(&mut self, modules: &[ModuleId], on: bool) {
        for id in modules {
            if on {
                self.beside.insert(*id)
            } else {
                self.beside.remove(id)
            };
        }
    }

    /// What plain renames would have given of a module and what is below it.
    pub fn renamed(&self, id: ModuleId) -> Renamed {
        let run = |(at, layer): &(ModuleId, &Layer)| {
            let passed = layer.verdict().is_some_and(Verdict::passes) && !self.is_identity(*at);
            !layer.twins.is_empty() || (passed && self.beside.contains(at))
        };
        Renamed::of(self.below(id).filter(run).map(|(_, layer)| layer))
    }

    /// Forget requested layers that have no verdict.
    pub fn forget_unfinished(&mut self) {
        let open = self.layers.iter().filter(|(_, layer)| layer.verdict().is_none());
        let open: Vec<ModuleId> = open.map(|(&id, _)| id).collect();
        for id in open {
            self.remove(id);
            if let Some(before) = self.before.remove(&id) {
                self.set(id, before);
            }
        }
    }

    /// Take in an event; returns the layer that it finished.
    pub fn apply(&mut self, event: Event) -> Option<(ModuleId, &Layer)> {
        match event {
            Event::Engine(side, state) => {
                let ready = if let EngineState::Ready(info) = &state { Some(info.clone()) } else { None };
                match side {
                    Side::Torch => self.torch = state,
                    Side::Mlx => self.mlx = state,
                }
                if let Some(info) = ready
                    && self.greetings.insert(side, info.clone()) != Some(info)
                {
                    self.review();
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
                let said = reason.as_deref().unwrap_or_default();
                // An engine that was there and has died may have died of the layer.
                let absent = |side: Side, down: &str| self.greeting(side).is_none() && sentence(down) == said;
                let no_engine = before.trials.is_empty()
                    && verdict == Verdict::Failed
                    && self.engines_down().any(|(side, down)| absent(side, down));
                let progress = Progress::Done(verdict, reason);
                let layer = Layer { progress, no_engine, turn: self.turns, ..before };
                match self.before.remove(&module).filter(|_| !layer.is_result()) {
                    Some(before) => self.set(module, before),
                    None => self.set(module, layer),
                }
                if self.layer(module).is_some_and(Layer::is_result) {
                    self.stale.remove(&module);
                }
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
        let (mut at, kind) = (Some(id), self.kind(id));
        while let Some(id) = at {
            self.sums.entry(id).or_default().count(layer, kind, by);
            at = self.model.modules.get(id).and_then(|module| module.parent);
        }
    }
}
