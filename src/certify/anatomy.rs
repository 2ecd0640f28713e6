//! What a class's conversion consists of, taken from the plans of its samples, for every row of the matrix.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Sample, SampleModel};
use crate::plan::Plan;
use crate::plan::recipes::{self, Asked, Site};
use crate::registry::Registry;

/// How a class converts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anatomy {
    /// What each parameter and buffer becomes, in words. The layers of a stack are listed once, as `layers.*`.
    pub parameters: Vec<String>,
    /// The hyper-parameters that its recipe reads, over all samples; those of modules below it with their paths.
    pub hyper_parameters: BTreeSet<String>,
    /// How MLX wants its inputs laid out, where that is not as torch has them.
    pub layouts: BTreeSet<&'static str>,
}

/// Every class of the samples that converts, by its full path.
pub fn of(samples: &[Sample], registry: &Arc<Registry>) -> BTreeMap<String, Anatomy> {
    let whole = SampleModel::new(samples, registry.clone());
    let (checkpoint, model) = (&whole.opened.checkpoint, &whole.opened.model);
    let mut all: BTreeMap<String, Anatomy> = BTreeMap::new();
    for (sample, &id) in samples.iter().zip(&whole.modules) {
        let Some(row) = registry.layer(sample.class()) else { continue };
        let asked = Asked::of(&model.modules[id].path);
        let call = sample.call.as_ref();
        let site = Site { asked: Some(&asked), call, ..Site::new(checkpoint, model, registry, id, row) };
        let plan = recipes::plan(&site);
        if let Ok(plan) = plan {
            all.entry(sample.class().to_owned()).or_default().add(&plan, asked.names());
        }
    }
    all
}

impl Anatomy {
    fn add(&mut self, plan: &Plan, asked: BTreeSet<String>) {
        for words in plan.weights.iter().map(|step| any_layer(&step.words())) {
            if !self.parameters.contains(&words) {
                self.parameters.push(words);
            }
        }
        self.hyper_parameters.extend(asked.iter().map(|name| any_layer(name)));
        let moved = plan.inputs.iter().filter_map(|input| input.to_mlx.as_deref());
        self.layouts.extend(moved.map(|axes| match axes {
            [1, 0, ..] => "batch first",
            _ => "channels last",
        }));
    }
}

/// `layers.3.norm1.eps` → `layers.*.norm1.eps`
fn any_layer(words: &str) -> String {
    let parts = words.split('.');
    let parts = parts.map(|part| {
        let number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if number { "*" } else { part }
    });
    parts.collect::<Vec<_>>().join(".")
}
