//! The registry's rows, measured: every configuration of `assets/samples` with randomised weights, in both engines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use t2m_tui::certify::{Bench, Sample, built_in, zoo};
use t2m_tui::checkpoint::Dtype;
use t2m_tui::compare::{Trial, Verdict};
use t2m_tui::convert::random::WeightSource;
use t2m_tui::registry::Registry;
use t2m_tui::verify::{Event, Request, Runner};

/// What became of a sample.
struct Outcome {
    verdict: Verdict,
    reason: String,
    worst: Option<Trial>,
}

/// Run samples: the outcome of each, in order.
fn measure(samples: &[Sample], seed: u64, dtypes: &[Dtype]) -> Vec<Outcome> {
    let bench = Bench::new(samples, Arc::new(Registry::load(&[]).unwrap()));
    let (sender, events) = crossbeam_channel::unbounded();
    let runner = Runner::start(bench.opened.clone(), Duration::from_secs(120), sender);
    runner.submit(Request {
        modules: bench.modules.clone(),
        trials: 2,
        dtypes: dtypes.to_vec(),
        seed,
        weights: WeightSource::Random,
    });
    let (mut outcomes, mut trials) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Started { .. } => trials.clear(),
            // float32 gives the verdict; of half precision it counts that it runs.
            Event::Trial { trial, .. } if trial.dtype == Dtype::Float32 => trials.push(*trial),
            Event::Finished { verdict, reason, .. } => outcomes.push(Outcome {
                verdict,
                reason: reason.unwrap_or_default(),
                worst: t2m_tui::compare::worst(std::mem::take(&mut trials).iter()).cloned(),
            }),
            Event::Done { .. } => break,
            Event::Trial { .. } | Event::Engine(..) => {}
        }
    }
    outcomes
}

/// Run samples and print what became of each: the bad ones, and those that no measurement could be made of.
fn report(samples: &[Sample], seed: u64, dtypes: &[Dtype]) -> [Vec<String>; 2] {
    let (mut bad, mut unmeasured) = (Vec::new(), Vec::new());
    for (sample, outcome) in samples.iter().zip(measure(samples, seed, dtypes)) {
        let numbers = outcome.worst.map_or(String::new(), |trial| {
            let (torch, mlx) = (trial.torch_vs_f64, trial.mlx_vs_f64);
            format!("{:9.1e} {:6.2} {torch:9.1e} {mlx:9.1e}", trial.max_abs, trial.excess())
        });
        println!("{:<8} {numbers:<40} {}  {}", outcome.verdict.name(), sample.build, outcome.reason);
        let said = format!("{} {}: {}", sample.build, outcome.verdict.name(), outcome.reason);
        match outcome.verdict {
            Verdict::Exact | Verdict::Ok if !outcome.reason.starts_with("in ") => {}
            Verdict::NotRun => unmeasured.push(said),
            _ => bad.push(said),
        }
    }
    [bad, unmeasured]
}

#[test]
fn every_configuration_passes() {
    let samples = built_in().unwrap();
    let [bad, _] = report(&samples, 7, &[Dtype::Float32]);
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), samples.len(), bad.join("\n"));
}

/// What is not measured as a whole: weights that are computed, frequencies that change, and what converts child by child.
const UNMEASURED: [&str; 18] = [
    "nn.utils.",
    "'rope_type': 'dynamic'",
    "'rope_type': 'longrope'",
    "nn.Sequential(",
    "nn.ModuleList(",
    "nn.ModuleDict(",
    "ops.Conv2dNormActivation(",
    "ops.Conv3dNormActivation(",
    "ops.MLP(",
    "ops.SqueezeExcitation(",
    "layers.SelectAdaptivePool2d(",
    "layers.SEModule(",
    "layers.EffectiveSEModule(",
    "layers.EcaModule(",
    "layers.Mlp(",
    "layers.SwiGLU(",
    "layers.GluMlp(",
    "layers.PatchEmbed(",
];

#[test]
fn every_class_of_the_zoo_passes() {
    let samples = zoo().unwrap();
    let [bad, unmeasured] = report(&samples, 7, &[Dtype::Float32, Dtype::Float16, Dtype::BFloat16]);
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), samples.len(), bad.join("\n"));
    let unexplained = unmeasured.iter().filter(|said| !UNMEASURED.iter().any(|known| said.contains(known)));
    let unexplained: Vec<&String> = unexplained.collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}
