//! Classes guessed from bare state dicts, held against models whose classes are known.
//!
//! The models are a sample; `cargo run --example evaluate-inference` prints the table of all of them.

use crate::common::inference::{Models, Tally, score};

fn share((right, all): (usize, usize)) -> f64 {
    right as f64 / all as f64
}

/// All models of a set together.
fn tally(set: &str, with_metadata: bool) -> Tally {
    let mut sum = Tally::default();
    let models = Models::read("tests/fixtures/inference/models.jsonl.gz").unwrap().map(Result::unwrap);
    for model in models.filter(|model| model.set == set) {
        sum.add(&score(&model, with_metadata, |_| ()).unwrap());
    }
    sum
}

#[test]
fn classes_are_guessed_right_and_confidence_means_something() {
    for (set, with_metadata) in [("tuned", true), ("tuned", false), ("held-out", true), ("held-out", false)] {
        let tally = tally(set, with_metadata);
        assert!(tally.models.len() > 20, "{set}: {} models", tally.models.len());
        assert!(share(tally.modules) >= 0.97, "{set}, `_metadata` {with_metadata}: {tally}");
        assert!(share(tally.sure) >= 0.995, "{set}, `_metadata` {with_metadata}: {tally}");
        assert!(tally.sure.1 * 3 > tally.modules.1, "{set}: sure of {} of {}", tally.sure.1, tally.modules.1);
    }
}
