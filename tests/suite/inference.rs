//! Classes guessed from bare state dicts, held against models whose classes are known.
//!
//! The models are a sample; `cargo run --example evaluate-inference` prints the table of all of them.

use crate::common::inference::{Models, Tally, score};

fn share((right, all): (usize, usize)) -> f64 {
    right as f64 / all as f64
}

/// All models of a set together; in the order of their tensors' names, if wanted, as safetensors files have them.
fn tally(set: &str, with_metadata: bool, sorted: bool) -> Tally {
    let mut sum = Tally::default();
    let models = Models::read("tests/fixtures/inference/models.jsonl.gz").unwrap().map(Result::unwrap);
    for model in models.filter(|model| model.set == set) {
        let model = if sorted { model.sorted() } else { model };
        sum.add(&score(&model, with_metadata, |_| ()).unwrap());
    }
    sum
}

#[test]
fn classes_are_guessed_right_and_confidence_means_something() {
    // MobileBERT, of those that tuned the rules, calls LayerNorm what has no mean: that no name or shape tells.
    for (set, least_sure) in [("tuned", 0.998), ("held-out", 0.999)] {
        for (with_metadata, sorted) in [(true, false), (false, false), (false, true)] {
            let tally = tally(set, with_metadata, sorted);
            assert!(tally.models.len() > 20, "{set}: {} models", tally.models.len());
            assert!(share(tally.modules) >= 0.985, "{set}, {with_metadata} {sorted}: {tally}");
            assert!(share(tally.sure) >= least_sure, "{set}, {with_metadata} {sorted}: {tally}");
            // Most are said for sure: to be sure of a few is no art.
            assert!(tally.sure.1 * 10 > tally.modules.1 * 8, "{set}: sure of {} of {}", tally.sure.1, tally.modules.1);
        }
    }
}
