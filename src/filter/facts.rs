//! What a filter asks, and where the answers are.

use crate::compare;
use crate::model::{Model, Module, ModuleId};
use crate::source::{Reach, Severity};
use crate::triage::{ModuleTriage, Triage};
use crate::verify::{Layer, Results};
use t2m_checkpoint::{Dtype, Tensor};

/// What is known of a model's modules.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The modules.
    pub model: &'a Model,
    /// Their triage.
    pub triage: &'a Triage,
    /// The checkpoint's tensors; empty where there is no file.
    pub tensors: &'a [Tensor],
    /// What was measured.
    pub results: &'a Results,
    /// What the user left.
    pub kept: &'a dyn Kept,
}

/// What the user left at modules: marks and notes.
pub trait Kept: Sync {
    /// The mark of a module: its own, else that of its class.
    fn mark(&self, module: &Module) -> Option<&str>;

    /// The notes on it and on its class.
    fn notes(&self, module: &Module) -> Vec<&str>;

    /// Every mark that occurs, each with the number of modules that have it.
    fn marks(&self, model: &Model) -> Vec<(&str, usize)>;
}

/// Nothing is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct NothingKept;

impl Kept for NothingKept {
    fn mark(&self, _: &Module) -> Option<&str> {
        None
    }

    fn notes(&self, _: &Module) -> Vec<&str> {
        Vec::new()
    }

    fn marks(&self, _: &Model) -> Vec<(&str, usize)> {
        Vec::new()
    }
}

impl<'a> Facts<'a> {
    /// A module.
    pub fn module(&self, id: ModuleId) -> Option<&'a Module> {
        self.model.modules.get(id)
    }

    /// Its triage.
    pub fn triaged(&self, id: ModuleId) -> Option<&'a ModuleTriage> {
        self.triage.modules.get(id).map(AsRef::as_ref)
    }

    /// What was measured of it, once that is done.
    pub fn measured(&self, id: ModuleId) -> Option<&'a Layer> {
        self.results.layer(id).filter(|layer| layer.verdict().is_some())
    }

    /// Its largest error; infinite where the outputs have different shapes.
    pub fn error(&self, id: ModuleId) -> Option<f64> {
        self.measured(id)?.worst().map(|trial| trial.max_abs().unwrap_or(f64::INFINITY))
    }

    /// That error in tolerances.
    pub fn tolerances(&self, id: ModuleId) -> Option<f64> {
        self.measured(id)?.worst().map(compare::Trial::badness)
    }

    /// Milliseconds of MLX's forward: the mean of the trials that were judged.
    pub fn time(&self, id: ModuleId) -> Option<f64> {
        let (count, sum) =
            self.measured(id)?.judged().fold((0.0, 0.0), |(count, sum), trial| (count + 1.0, sum + trial.ms_mlx));
        (count > 0.0).then(|| sum / count)
    }

    /// Whether what was measured of it is of other weights, another recipe or another engine.
    pub fn is_stale(&self, id: ModuleId) -> bool {
        self.results.stale(id).is_some()
    }

    /// Lines of its forward, with what that calls of its class and its files, as in the list of what is to be ported.
    pub fn lines(&self, id: ModuleId) -> Option<usize> {
        let source = self.triage.source(&self.module(id)?.class)?;
        source.forward.as_ref()?;
        Some(source.lines_to_port())
    }

    /// The blockers that it runs: their patterns, how bad they are, what reaches them.
    pub fn blockers(&self, id: ModuleId) -> impl Iterator<Item = (&'a str, Severity, Reach)> {
        self.triage
            .blockers(self.model, id)
            .map(|(_, blocker, reach)| (blocker.pattern.as_str(), blocker.severity, reach))
    }

    /// How many blockers that stop or change a port it runs.
    pub fn serious(&self, id: ModuleId) -> usize {
        let serious =
            |(_, severity, reach): &(&str, Severity, Reach)| reach.counts() && *severity != Severity::Harmless;
        self.blockers(id).filter(serious).count()
    }

    /// The types of its own tensors.
    pub fn dtypes(&self, id: ModuleId) -> impl Iterator<Item = Dtype> {
        let own = self.module(id).into_iter().flat_map(|module| &module.tensors);
        own.filter_map(|own| self.tensors.get(own.tensor?)).map(|tensor| tensor.dtype)
    }
}
