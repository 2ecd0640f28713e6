//! Results that are on record: out of a session, and into one. What rests on something that is otherwise now is stale: it is shown
//! with the reason and counts as nothing measured.

use std::fmt::{self, Write};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Layer, Progress, Results};
use crate::compare::WeightSource;
use crate::model::{Model, ModuleId};
use crate::plan::assumed::value_words;
use crate::session::{Basis, Engines, Measured, Session, Setting, Time, Twin};
use crate::triage::Triage;
use crate::verify::{self, CANCELLED};
use t2m_checkpoint::escape::quoted;
use t2m_engine::{EngineInfo, Side};

/// Bytes of the hash that stands for a recipe.
const RECIPE: usize = 12;

/// What is known of a result besides its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When it was finished.
    pub at: Time,
    /// Whether that was in this run of the program.
    pub is_new: bool,
    /// What was asked for.
    pub setting: Setting,
    /// Which programs computed it.
    pub engines: Engines,
    /// What it rests on.
    pub rests_on: Basis,
    /// Why that is not what the module is now, where it is not.
    pub changed: Option<String>,
}

/// A result that says nothing of the module as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Stale {
    /// What was measured.
    pub layer: Layer,
    /// Why it does not hold any more, as the end of a sentence that begins with "stale:".
    pub reason: String,
}

/// What the results of a module rest on now.
pub fn basis(model: &Model, triage: &Triage, id: ModuleId) -> Basis {
    let module = model.modules.get(id);
    let triaged = triage.modules.get(id);
    let mut recipe = Hash(Sha256::new());
    // Writing to a hash cannot fail.
    let _ = match triaged.and_then(|triaged| triaged.runs()) {
        Some(plan) => write!(recipe, "{plan:?}"),
        None => {
            let assumed = triaged.and_then(|triaged| triaged.assumed.as_deref());
            write!(recipe, "{:?}", assumed.map(|assumed| (&assumed.values, &assumed.likeliest)))
        }
    };
    let digits = recipe.0.finalize().iter().take(RECIPE).map(|byte| format!("{byte:02x}")).collect();
    Basis {
        class: module.map(|module| module.class.to_string()).unwrap_or_default(),
        attributes: module.map(|module| module.attributes.as_ref().clone()).unwrap_or_default(),
        recipe: digits,
        program: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

struct Hash(Sha256);

impl Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// How what a result rests on is otherwise now, in words. Attributes that do not reach the conversion do not matter.
pub fn difference(before: &Basis, now: &Basis) -> Option<String> {
    if before.recipe == now.recipe {
        return None;
    }
    let short = |class: &str| quoted(class.rsplit('.').next().unwrap_or(class)).into_owned();
    if before.class != now.class {
        return Some(format!("its class was {}, and is {}", short(&before.class), short(&now.class)));
    }
    let names =
        before.attributes.keys().chain(now.attributes.keys().filter(|name| !before.attributes.contains_key(*name)));
    let changed = names.filter(|name| before.attributes.get(*name) != now.attributes.get(*name));
    let words = |name: &String| {
        let value = |basis: &Basis| basis.attributes.get(name).map(|value| value_words(name, value));
        match (value(before), value(now)) {
            (Some(was), Some(is)) => format!("{name} was {was}, and is {is}"),
            (None, Some(is)) => format!("{name} was not known, and is {is}"),
            (was, _) => format!("{name} was {}, and is not known", was.unwrap_or_default()),
        }
    };
    let changed: Vec<String> = changed.take(3).map(|name| quoted(&words(name)).into_owned()).collect();
    let program = |basis: &Basis| format!("t2m-tui {}", quoted(&basis.program));
    Some(match (changed.is_empty(), before.program == now.program) {
        (false, _) => changed.join("; "),
        (true, true) => {
            "its conversion is another one now: the registry, or what is known of it, has changed".to_owned()
        }
        (true, false) => format!("its conversion in {} was another one than in {}", program(before), program(now)),
    })
}

/// The results of a session for a model as it is now; engines that compute it are not known yet.
pub fn results(model: &Arc<Model>, triage: &Triage, session: &Session) -> Results {
    let mut results = Results::of(Arc::clone(model), triage);
    let mut known: Vec<_> = session.results.iter().filter_map(|(path, kept)| Some((model.find(path)?, kept))).collect();
    known.sort_by_key(|(id, kept)| (kept.at, *id));
    for (id, kept) in known {
        results.put_on_record(id, kept, &basis(model, triage, id));
    }
    results
}

impl Results {
    /// Take in a result that is on record, unless the module runs now or a run was later.
    pub fn put_on_record(&mut self, id: ModuleId, kept: &Measured, now: &Basis) {
        let known = self.layers.get(&id);
        let later = known.is_some_and(|layer| layer.record.as_ref().is_none_or(|record| record.at >= kept.at));
        if later {
            return;
        }
        let record = Record {
            at: kept.at,
            is_new: false,
            setting: kept.setting.clone(),
            engines: kept.engines.clone(),
            rests_on: kept.rests_on.clone(),
            changed: difference(&kept.rests_on, now),
        };
        let twin = |twin: &Twin| {
            let Twin { name, verdict, trial, reason } = twin.clone();
            verify::Twin { name, verdict, trial, reason }
        };
        let layer = Layer {
            progress: Progress::Done(kept.verdict, kept.reason.clone()),
            trials: kept.trials.clone(),
            twins: kept.twins.iter().map(twin).collect(),
            no_engine: false,
            turn: self.turns,
            record: Some(Arc::new(record)),
        };
        self.turns += 1;
        for (side, info) in [(Side::Torch, &kept.engines.torch), (Side::Mlx, &kept.engines.mlx)] {
            if let Some(info) = info {
                self.on_record.insert(side, info.clone());
            }
        }
        self.stale.remove(&id);
        self.remove(id);
        match self.why_stale(id, &layer) {
            Some(reason) => drop(self.stale.insert(id, Stale { layer, reason })),
            None => self.set(id, layer),
        }
    }

    /// What is kept of a finished layer; `None` of one that was not run, for want of an engine or since the run was cancelled.
    pub fn to_keep(&self, id: ModuleId) -> Option<Measured> {
        let layer = self.layers.get(&id).filter(|layer| layer.is_result())?;
        let (record, verdict) = (layer.record.as_ref()?, layer.verdict()?);
        let twin = |twin: &verify::Twin| {
            let verify::Twin { name, verdict, trial, reason } = twin.clone();
            Twin { name, verdict, trial, reason }
        };
        Some(Measured {
            at: record.at,
            verdict,
            reason: layer.reason().map(str::to_owned),
            setting: record.setting.clone(),
            engines: record.engines.clone(),
            rests_on: record.rests_on.clone(),
            trials: layer.trials.clone(),
            twins: layer.twins.iter().map(twin).collect(),
        })
    }

    /// Note of a layer that has just finished what was asked for and what it rests on.
    pub fn note_basis(&mut self, id: ModuleId, setting: Setting, rests_on: Basis) {
        let engine = |side: Side| self.greetings.get(&side).cloned();
        let engines = Engines { torch: engine(Side::Torch), mlx: engine(Side::Mlx) };
        if let Some(layer) = self.layers.get_mut(&id).filter(|layer| layer.verdict().is_some()) {
            let record = Record { at: Time::now(), is_new: true, setting, engines, rests_on, changed: None };
            layer.record = Some(Arc::new(record));
        }
    }

    /// A result that has come in is stale already, where runs are with other weights since it was asked for.
    pub fn settle(&mut self, id: ModuleId) {
        if let Some(reason) = self.layers.get(&id).and_then(|layer| self.why_stale(id, layer))
            && let Some(layer) = self.remove(id)
        {
            self.stale.insert(id, Stale { layer, reason });
        }
    }

    /// Runs are with these weights from now on: what was measured with others is stale, and what was stale for that is not.
    pub fn use_weights(&mut self, weights: WeightSource) {
        self.weights = Some(weights);
        self.review();
    }

    /// Sort what is stale from what holds anew: an engine has said its version, or runs are with other weights.
    pub(super) fn review(&mut self) {
        let holds = |(id, stale): (&ModuleId, &Stale)| self.why_stale(*id, &stale.layer).is_none().then_some(*id);
        let again: Vec<ModuleId> =
            self.stale.iter().filter_map(holds).filter(|id| !self.layers.contains_key(id)).collect();
        for id in again {
            if let Some(stale) = self.stale.remove(&id) {
                self.set(id, stale.layer);
            }
        }
        let done = self.layers.iter().filter(|(_, layer)| layer.record.is_some() && layer.verdict().is_some());
        let gone: Vec<(ModuleId, String)> =
            done.filter_map(|(id, layer)| Some((*id, self.why_stale(*id, layer)?))).collect();
        for (id, reason) in gone {
            if let Some(layer) = self.remove(id) {
                self.stale.insert(id, Stale { layer, reason });
            }
        }
        for stale in std::mem::take(&mut self.stale) {
            let (id, Stale { layer, reason }) = stale;
            let reason = self.why_stale(id, &layer).unwrap_or(reason);
            self.stale.insert(id, Stale { layer, reason });
        }
    }

    /// Why a result does not hold any more, if it does not.
    fn why_stale(&self, id: ModuleId, layer: &Layer) -> Option<String> {
        let record = layer.record.as_ref()?;
        if let Some(changed) = &record.changed {
            return Some(changed.clone());
        }
        for (side, was) in [(Side::Torch, &record.engines.torch), (Side::Mlx, &record.engines.mlx)] {
            if let (Some(was), Some(is)) = (was, self.greetings.get(&side))
                && let Some(words) = other_engine(side, was, is)
            {
                return Some(words);
            }
        }
        let words = |weights| match weights {
            WeightSource::Checkpoint => "the checkpoint's own weights",
            WeightSource::Random => "randomised weights",
        };
        let other = self.weights.filter(|weights| *weights != record.setting.weights && self.has_weights(id))?;
        Some(format!("it was run with {}, and runs are with {} now", words(record.setting.weights), words(other)))
    }

    /// Whether a module, or one below it, has tensors: what has none computes the same with any weights.
    fn has_weights(&self, id: ModuleId) -> bool {
        let modules = &self.model.modules;
        let end = modules.get(id).map_or(id, |module| module.end.min(modules.len()));
        modules
            .get(id..end)
            .is_some_and(|own| own.iter().any(|module| !module.tensors.is_empty() || module.parameters > 0))
    }

    /// What is stale of a module.
    pub fn stale(&self, id: ModuleId) -> Option<&Stale> {
        self.stale.get(&id)
    }

    /// How many results are stale at a module and below it.
    pub fn stale_below(&self, id: ModuleId) -> usize {
        let end = self.model.modules.get(id).map_or(id, |module| module.end.max(id));
        self.stale.range(id..end).count()
    }

    /// What an engine said about itself when it computed what is on record; where several did, the last.
    pub fn engine_on_record(&self, side: Side) -> Option<&EngineInfo> {
        self.on_record.get(&side)
    }

    /// Whether something on record was computed by an engine that has not said its version in this run.
    pub fn waits_for_engines(&self) -> bool {
        self.on_record.keys().any(|side| !self.greetings.contains_key(side))
    }

    /// Whether a run with this setting has something to find out of a module: nothing is known of it, or what is known is stale, is
    /// of fewer types, or has no plain rename where one is asked for.
    pub fn lacks(&self, id: ModuleId, setting: &Setting) -> bool {
        let Some(layer) = self.layers.get(&id) else { return true };
        match &layer.progress {
            Progress::Queued | Progress::Running(_) => false,
            Progress::Done(..) if !layer.is_result() => true,
            Progress::Done(..) => layer.record.as_ref().is_none_or(|record| {
                let known = &record.setting;
                let more = setting.dtypes.iter().any(|dtype| !known.dtypes.contains(dtype));
                more || (setting.twins && !known.twins)
                    || (setting.tf32 && !known.tf32)
                    || (known.weights != setting.weights && self.has_weights(id))
            }),
        }
    }

    /// What was stale of others is stale here; see [`Results::take_over`].
    pub(super) fn take_over_stale(&mut self, others: &Results, here: impl Fn(ModuleId) -> Option<ModuleId>) {
        for (id, stale) in &others.stale {
            if let Some(id) = here(*id) {
                self.stale.insert(id, stale.clone());
            }
        }
        self.on_record.clone_from(&others.on_record);
        self.weights = others.weights;
    }

    /// Results of layers that are run in another way now.
    pub(super) fn outdated(&mut self, others: &Results, triage: &Triage) {
        let done = others.layers.iter().filter(|(_, layer)| layer.record.is_some() && layer.is_result());
        let all: Vec<(ModuleId, Layer)> = done
            .map(|(id, layer)| (*id, layer.clone()))
            .chain(others.stale.iter().map(|(id, stale)| (*id, stale.layer.clone())))
            .filter(|(id, _)| !self.layers.contains_key(id))
            .collect();
        for (id, mut layer) in all {
            let now = basis(&self.model, triage, id);
            let Some(record) = layer.record.as_deref() else { continue };
            let changed = difference(&record.rests_on, &now);
            layer.record = Some(Arc::new(Record { changed, ..record.clone() }));
            match self.why_stale(id, &layer) {
                Some(reason) => drop(self.stale.insert(id, Stale { layer, reason })),
                None => self.set(id, layer),
            }
        }
    }
}

impl Layer {
    /// Whether it says something of the module: it was not cancelled, and both engines were there.
    pub fn is_result(&self) -> bool {
        match &self.progress {
            Progress::Queued | Progress::Running(_) => false,
            Progress::Done(_, reason) => !self.no_engine && reason.as_deref() != Some(CANCELLED),
        }
    }
}

/// How an engine is another one than it was, in words.
fn other_engine(side: Side, was: &EngineInfo, is: &EngineInfo) -> Option<String> {
    let library = side.library();
    if was.version != is.version {
        let [was, is] = [&was.version, &is.version].map(|version| quoted(version));
        return Some(format!("it was run with {library} {was}, and this is {library} {is}"));
    }
    if was.settings() != is.settings() {
        let [was, is] = [was.settings(), is.settings()].map(|words| quoted(&words).into_owned());
        return Some(format!("{library} ran it with {was}, and runs with {is} now"));
    }
    None
}
