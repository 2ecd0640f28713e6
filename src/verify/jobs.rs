//! Plans that belong to no module of a checkpoint: the registry's examples of ops and dtypes.

use std::time::Duration;

use crate::compare::WeightSource;
use crate::compare::{Trial, Verdict};
use crate::plan::Plan;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::Device;
use t2m_engine::client::CancelToken;

use super::judge::Terms;
use super::pair::{Pair, Stop};
use super::tensors::Weights;

/// A plan without weights, and what it is run on.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Both sides.
    pub plan: Plan,
    /// Inputs with explicit elements, by position; the others are drawn at random.
    pub given: Vec<Option<TensorData>>,
}

/// What became of a job.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The worst of its trials.
    pub verdict: Verdict,
    /// Why, for `failed`, and anything else worth saying.
    pub reason: Option<String>,
    /// In order, up to the first that failed.
    pub trials: Vec<Trial>,
}

/// Run jobs in float32, `trials` trials each with consecutive seeds, and wait for them. The engines are started for
/// this and stopped afterwards, MLX on that device, or by its own choice.
pub fn run(jobs: &[Job], trials: usize, seed: u64, deadline: Duration, device: Option<Device>) -> Vec<Outcome> {
    let cancel = CancelToken::default();
    let mut engines = Pair::new(deadline, &cancel, |_, _| {});
    engines.compute_on(device, false);
    jobs.iter().map(|job| run_job(&mut engines, cancel.generation(), job, trials, seed)).collect()
}

fn run_job(engines: &mut Pair, generation: u64, job: &Job, trials: usize, seed: u64) -> Outcome {
    let terms = Terms { plan: &job.plan, given: &job.given, dtype: Dtype::Float32, weights: WeightSource::default() };
    let mut outcome = Outcome { verdict: Verdict::NotRun, reason: None, trials: Vec::new() };
    let nothing = Weights { torch: Vec::new(), mlx: Vec::new() };
    let all = || {
        engines.load(generation, &job.plan, nothing)?;
        let seeds: Vec<u64> = (0..trials as u64).map(|trial| seed.wrapping_add(trial)).collect();
        engines.trials(generation, &terms, &seeds, |trial| outcome.trials.push(trial))
    };
    let failed = all().err();
    outcome.verdict = outcome.trials.iter().map(|trial| trial.verdict).max().unwrap_or(Verdict::NotRun);
    outcome.reason = outcome.trials.iter().find_map(Trial::complaint);
    match failed {
        Some(Stop::Failed(reason) | Stop::Absent(reason)) => {
            (outcome.verdict, outcome.reason) = (Verdict::Failed, Some(reason))
        }
        Some(Stop::Mute(reason)) => (outcome.verdict, outcome.reason) = (Verdict::NotRun, Some(reason)),
        Some(Stop::Cancelled) => outcome.verdict = Verdict::NotRun,
        None => {}
    }
    outcome
}
