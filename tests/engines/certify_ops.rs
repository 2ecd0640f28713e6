//! The registry's ops and dtypes, measured: every example in both engines, and every naive one caught.

use std::time::Duration;

use t2m_tui::certify::{dtypes, ops};
use t2m_tui::compare::{self, Verdict};
use t2m_tui::registry::Registry;
use t2m_tui::verify::{self, Job, Outcome};

const TRIALS: usize = 2;
const SEED: u64 = 7;

fn measure(jobs: Vec<Job>) -> Vec<Outcome> {
    verify::run(&jobs, TRIALS, SEED, Duration::from_secs(60), None)
}

/// One line of the table: verdict, largest difference, share of the tolerance, name, and what else is to be said.
fn line(name: &str, outcome: &Outcome) -> String {
    let numbers = compare::worst(outcome.trials.iter())
        .and_then(|trial| Some(format!("{:9.1e} {:10.2}", trial.max_abs()?, trial.excess()?)))
        .unwrap_or_default();
    format!("{:<8} {numbers:<22} {name}  {}", outcome.verdict.name(), outcome.reason.as_deref().unwrap_or(""))
}

/// Print a table, and say what is not as it should be.
fn check(title: &str, names: &[String], jobs: Vec<Job>, good: impl Fn(&Outcome) -> bool) {
    let outcomes = measure(jobs);
    assert_eq!(outcomes.len(), names.len());
    println!("{title}: {}", names.len());
    let mut bad = Vec::new();
    for (name, outcome) in names.iter().zip(&outcomes) {
        let line = line(name, outcome);
        println!("{line}");
        if !good(outcome) {
            bad.push(line);
        }
    }
    assert!(bad.is_empty(), "{title}: {} of {}:\n{}", bad.len(), names.len(), bad.join("\n"));
}

#[test]
fn every_example_agrees() {
    let samples = ops::ops(&Registry::load(&[]).unwrap()).unwrap();
    let (names, jobs): (Vec<_>, Vec<_>) =
        samples.into_iter().filter_map(|sample| Some((sample.torch, sample.example?))).unzip();
    check("examples", &names, jobs, |outcome| outcome.verdict.passes());
}

#[test]
fn every_naive_example_is_caught() {
    let samples = ops::ops(&Registry::load(&[]).unwrap()).unwrap();
    let (names, jobs): (Vec<_>, Vec<_>) =
        samples.into_iter().filter_map(|sample| Some((sample.torch, sample.naive?))).unzip();
    check("naive examples", &names, jobs, is_caught);
}

#[test]
fn every_cast_agrees() {
    let samples = dtypes::dtypes(&Registry::load(&[]).unwrap()).unwrap();
    let naive = samples.iter().filter_map(|sample| Some((sample.torch.clone(), sample.naive.clone()?)));
    let (names, jobs): (Vec<_>, Vec<_>) = naive.unzip();
    check("naive casts", &names, jobs, is_caught);
    let (names, jobs): (Vec<_>, Vec<_>) = samples.into_iter().map(|sample| (sample.torch, sample.job)).unzip();
    check("casts", &names, jobs, |outcome| outcome.verdict == Verdict::Exact);
}

/// Off, of another shape, or refused by MLX. What libtorch refuses is a broken example, not a caught one.
fn is_caught(outcome: &Outcome) -> bool {
    let by_mlx = outcome.reason.as_deref().is_some_and(|reason| reason.starts_with("mlx"));
    matches!(outcome.verdict, Verdict::Drift | Verdict::Broken) || outcome.verdict == Verdict::Failed && by_mlx
}
