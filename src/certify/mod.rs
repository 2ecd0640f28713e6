//! Certifying registry rows: layers as real PyTorch builds them, with randomised weights, run in both engines.
//!
//! `assets/samples/layers.jsonl` describes several configurations of each class of torch, `zoo.jsonl` those of other
//! libraries. A [`Sample`] is one of them; a [`SampleModel`] is a checkpoint of many, which [`crate::verify`] runs like
//! any other.

pub mod anatomy;
pub mod aten;
pub mod dtypes;
pub mod ops;
#[cfg(test)]
mod programs_tests;
pub mod record;
mod values;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::compare::WeightSource;
use crate::compare::{Trial, Verdict, worst};
use crate::model::{self, ModuleId};
use crate::open::Opened;
use crate::plan::blocks::Block;
use crate::plan::naive::Mistake;
use crate::plan::{Call, Plan};
use crate::registry::Registry;
use crate::source::Sources;
use crate::triage::{self, ModuleTriage};
use crate::verify::{self, Event, Request, Results, Runner};
use t2m_checkpoint::{Checkpoint, DescribedModule, Dtype};
use t2m_engine::{Device, EngineInfo, Side};

const LAYERS: &str = include_str!("../../assets/samples/layers.jsonl");
const BLOCKS: &str = include_str!("../../assets/samples/templates.jsonl");
const ZOO: &str = include_str!("../../assets/samples/zoo.jsonl");

/// One configuration of a layer.
#[derive(Debug, Clone, Deserialize)]
pub struct Sample {
    /// The Python expression that builds it.
    pub build: String,
    /// How its forward is called, where that is not the default.
    #[serde(default)]
    pub call: Option<Call>,
    /// The layer and the modules in it, as the reader would find them in a checkpoint.
    modules: Vec<DescribedModule>,
}

impl Sample {
    /// The sample that a mistake is made in.
    pub fn of<'a>(mistake: &Mistake, samples: &'a [Sample]) -> Option<&'a Sample> {
        samples.iter().find(|sample| sample.build == mistake.build && sample.call.is_none())
    }

    /// Shape of a tensor of it, by its name relative to it.
    pub fn tensor_shape(&self, name: &str) -> Option<Vec<usize>> {
        let (path, own) = name.rsplit_once('.').unwrap_or(("", name));
        let module = self.modules.iter().find(|module| module.path == path)?;
        let (_, _, shape) = module.tensors.iter().find(|(known, _, _)| known == own)?;
        shape.iter().map(|&axis| usize::try_from(axis).ok()).collect()
    }

    /// The layer and the modules in it, the layer first.
    pub fn modules(&self) -> &[DescribedModule] {
        &self.modules
    }

    /// The sample with a change in what the reader would find.
    pub fn altered(&self, change: impl FnOnce(&mut [DescribedModule])) -> Sample {
        let mut sample = self.clone();
        change(&mut sample.modules);
        sample
    }

    /// Full path of its class.
    pub fn class(&self) -> &str {
        self.modules.first().map_or("", |module| &module.class)
    }
}

/// The built-in samples, in the order of their classes in the file.
///
/// # Errors
/// The file is not what it should be, which a test rules out.
pub fn built_in() -> Result<Vec<Sample>, serde_json::Error> {
    parse(LAYERS)
}

/// The built-in samples of classes of transformers, timm and torchvision.
///
/// # Errors
/// The file is not what it should be, which a test rules out.
pub fn zoo() -> Result<Vec<Sample>, serde_json::Error> {
    parse(ZOO)
}

/// The built-in samples of what [`crate::plan::blocks`] has a block for.
///
/// # Errors
/// The file is not what it should be, which a test rules out.
pub fn blocks() -> Result<Vec<Sample>, serde_json::Error> {
    parse(BLOCKS)
}

/// Samples from a file with one JSON object on each line.
///
/// # Errors
/// A line is not a sample.
pub fn parse(text: &str) -> Result<Vec<Sample>, serde_json::Error> {
    text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect()
}

/// How long an answer may take before it counts as a hang.
const DEADLINE: Duration = Duration::from_secs(120);

/// The result of a sample.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The verdict in float32.
    pub verdict: Verdict,
    /// Anything else to say.
    pub reason: Option<String>,
    /// Every trial in every dtype.
    pub trials: Vec<Trial>,
}

impl Outcome {
    /// The worst trial in a dtype.
    pub fn worst(&self, dtype: Dtype) -> Option<&Trial> {
        worst(self.trials.iter().filter(|trial| trial.dtype == dtype))
    }
}

/// The results of a run of samples.
#[derive(Debug, Clone, Default)]
pub struct Measurement {
    /// One for each sample.
    pub outcomes: Vec<Outcome>,
    /// What the engines said about themselves.
    pub engines: Vec<(Side, EngineInfo)>,
}

/// Many samples as the modules of one model, which is measured like any other.
#[derive(Debug, Clone)]
pub struct SampleModel {
    /// The opened model, which can be run.
    pub opened: Opened,
    /// Where each sample is in its model.
    pub modules: Vec<ModuleId>,
    /// Where MLX computes; by its own choice without one.
    pub device: Option<Device>,
}

impl SampleModel {
    /// The samples, triaged with a registry.
    pub fn new(samples: &[Sample], registry: Arc<Registry>) -> SampleModel {
        SampleModel::altered(samples, registry, |_, _| {})
    }

    /// Samples with each plan changed by a function, which gets the number of the sample.
    pub fn altered(
        samples: &[Sample],
        registry: Arc<Registry>,
        mut change: impl FnMut(usize, &mut Plan),
    ) -> SampleModel {
        SampleModel::with(samples, registry, |index, triaged| {
            if let Some(plan) = &mut triaged.plan {
                change(index, plan);
            }
        })
    }

    /// The samples as the blocks that they are, not as the layers that they consist of.
    pub fn of_blocks(samples: &[Sample], registry: Arc<Registry>) -> SampleModel {
        SampleModel::with(samples, registry, |_, triaged| {
            triaged.plan = triaged.block.as_ref().and_then(|block| block.plan.clone());
        })
    }

    /// The samples with these plans instead of their own, one for each.
    pub fn of_plans(samples: &[Sample], registry: Arc<Registry>, plans: Vec<Plan>) -> SampleModel {
        let mut plans = plans.into_iter();
        SampleModel::with(samples, registry, |_, triaged| triaged.plan = plans.next())
    }

    fn with(
        samples: &[Sample],
        registry: Arc<Registry>,
        mut change: impl FnMut(usize, &mut ModuleTriage),
    ) -> SampleModel {
        let root = DescribedModule {
            path: String::new(),
            class: String::new(),
            attributes: serde_json::Map::new(),
            tensors: Vec::new(),
        };
        let inner = samples.iter().enumerate().flat_map(|(index, sample)| {
            sample.modules.iter().map(move |module| {
                let top = module.path.is_empty();
                let path = if top { index.to_string() } else { format!("{index}.{}", module.path) };
                DescribedModule { path, ..module.clone() }
            })
        });
        let described: Vec<DescribedModule> = std::iter::once(root).chain(inner).collect();
        let checkpoint = Checkpoint::described(Path::new("samples"), &described);
        let model = model::build(&checkpoint);
        let top = model.modules.iter().enumerate().filter(|(_, module)| module.depth == 1);
        let modules: Vec<ModuleId> = top.map(|(id, _)| id).collect();
        let calls = modules.iter().zip(samples).filter_map(|(&id, sample)| Some((id, sample.call.as_ref()?)));
        let mut triage = triage::triage_called(&checkpoint, &model, &registry, &Sources::default(), &calls.collect());
        for (index, &id) in modules.iter().enumerate() {
            change(index, Arc::make_mut(&mut triage.modules[id]));
        }
        let (checkpoint, model, triage) = (Arc::new(checkpoint), Arc::new(model), Arc::new(triage));
        let opened = Opened {
            outline: None,
            checkpoint,
            model,
            registry,
            triage,
            architecture: None,
            graph: None,
            typed: Arc::default(),
            kept: Arc::default(),
            inputs: Arc::default(),
            roots: Arc::default(),
        };
        SampleModel { opened, modules, device: None }
    }

    /// Let MLX compute there.
    pub fn on(self, device: Option<Device>) -> SampleModel {
        SampleModel { device, ..self }
    }

    /// The block that a sample is.
    pub fn block(&self, sample: usize) -> Option<&Block> {
        self.triage(sample)?.block.as_ref()
    }

    /// Run every sample with randomised weights: the outcome of each, in order. `done` hears how many are finished.
    pub fn run(&self, trials: usize, dtypes: &[Dtype], seed: u64, mut done: impl FnMut(usize)) -> Measurement {
        let (sender, events) = crossbeam_channel::unbounded();
        let runner = Runner::start(self.opened.clone(), DEADLINE, sender);
        runner.submit(Request {
            modules: self.modules.clone(),
            trials,
            dtypes: dtypes.to_vec(),
            seed,
            weights: WeightSource::Random,
            naive: false,
            device: self.device,
            tf32: false,
        });
        let mut results = Results::of(self.opened.model.clone(), &self.opened.triage);
        for event in events {
            if matches!(event, Event::Done { .. }) {
                break;
            }
            if results.apply(event).is_some() {
                done(results.total().finished() as usize);
            }
        }
        let outcome = |(_, layer): (ModuleId, &verify::Layer)| Outcome {
            verdict: layer.verdict().unwrap_or(Verdict::NotRun),
            reason: layer.reason().map(str::to_owned),
            trials: layer.trials.clone(),
        };
        let outcomes = results.finished().into_iter().map(outcome).collect();
        let engines = [Side::Torch, Side::Mlx].into_iter();
        let engines = engines.filter_map(|side| Some((side, results.greeting(side)?.clone()))).collect();
        Measurement { outcomes, engines }
    }

    /// What the registry says of a sample.
    pub fn triage(&self, sample: usize) -> Option<&ModuleTriage> {
        self.opened.triage.modules.get(*self.modules.get(sample)?).map(Arc::as_ref)
    }
}
