//! Certifying registry rows: layers as real PyTorch builds them, with randomised weights, run in both engines.
//!
//! `assets/samples/layers.jsonl` describes several configurations of each class of torch, `zoo.jsonl` those of other libraries. A [`Sample`] is one of them; a [`Bench`] is
//! a checkpoint of many, which [`crate::verify`] runs as it runs any other.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::checkpoint::{Checkpoint, DescribedModule};
use crate::model::{self, ModuleId};
use crate::open::Opened;
use crate::registry::Registry;
use crate::source::Sources;
use crate::triage::{self, ModuleTriage};

const LAYERS: &str = include_str!("../assets/samples/layers.jsonl");
const ZOO: &str = include_str!("../assets/samples/zoo.jsonl");

/// One configuration of a layer.
#[derive(Debug, Clone, Deserialize)]
pub struct Sample {
    /// The Python expression that builds it.
    pub build: String,
    /// How its forward is called, where that is not the default.
    #[serde(default)]
    pub call: Option<Map<String, Value>>,
    /// The layer and the modules in it, as the reader would find them in a checkpoint.
    modules: Vec<DescribedModule>,
}

impl Sample {
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

/// Samples out of a file of them, one JSON object a line.
///
/// # Errors
/// A line is no sample.
pub fn parse(text: &str) -> Result<Vec<Sample>, serde_json::Error> {
    text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect()
}

/// Many samples as the modules of one model.
#[derive(Debug, Clone)]
pub struct Bench {
    /// What can be run.
    pub opened: Opened,
    /// Where each sample is in its model.
    pub modules: Vec<ModuleId>,
}

impl Bench {
    /// Samples held against a registry.
    pub fn new(samples: &[Sample], registry: Arc<Registry>) -> Bench {
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
                let mut module = DescribedModule { path, ..module.clone() };
                // The recipes read it where they read every other attribute.
                if let Some(call) = sample.call.as_ref().filter(|_| top) {
                    module.attributes.insert("call".to_owned(), Value::Object(call.clone()));
                }
                module
            })
        });
        let described: Vec<DescribedModule> = std::iter::once(root).chain(inner).collect();
        let checkpoint = Checkpoint::described(Path::new("samples"), &described);
        let model = model::build(&checkpoint);
        let triage = triage::triage(&checkpoint, &model, &registry, &Sources::default());
        let top = model.modules.iter().enumerate().filter(|(_, module)| module.depth == 1);
        let modules = top.map(|(id, _)| id).collect();
        let opened =
            Opened { checkpoint: Arc::new(checkpoint), model: Arc::new(model), registry, triage: Arc::new(triage) };
        Bench { opened, modules }
    }

    /// What the registry says of a sample.
    pub fn triage(&self, sample: usize) -> Option<&ModuleTriage> {
        self.opened.triage.modules.get(*self.modules.get(sample)?)
    }
}
