//! Classes guessed from bare state dicts, held against models whose classes are known.
//!
//! The models are a sample; `cargo run --example evaluate-inference` prints the table of all of them.

use t2m_tui::open::{Options, open};

use crate::common::archive::safetensors;
use crate::common::inference::{Models, Tally, score};

fn share((right, all): (usize, usize)) -> f64 {
    right as f64 / all as f64
}

/// All models of a set together; in the order of their tensors' names, if wanted, as safetensors files have them.
fn tally(set: &str, with_metadata: bool, sorted: bool) -> Tally {
    let mut sum = Tally::default();
    let file = if set == "others" { "others" } else { "models" };
    let models = Models::read(&format!("tests/fixtures/inference/{file}.jsonl.gz")).unwrap().map(Result::unwrap);
    for model in models.filter(|model| model.set == set) {
        let model = if sorted { model.sorted() } else { model };
        sum.add(&score(&model, with_metadata, |_| ()).unwrap());
    }
    sum
}

#[test]
fn classes_are_guessed_right_and_confidence_means_something() {
    // MobileBERT, of those that tuned the rules, calls LayerNorm what has no mean, and so do two of the other libraries' models:
    // that no name or shape tells.
    for (set, least_sure) in [("tuned", 0.998), ("held-out", 0.999), ("others", 0.997)] {
        for (with_metadata, sorted) in [(true, false), (false, false), (false, true)] {
            let tally = tally(set, with_metadata, sorted);
            assert!(tally.models.len() > 20, "{set}: {} models", tally.models.len());
            assert!(share(tally.modules) >= 0.984, "{set}, {with_metadata} {sorted}: {tally}");
            assert!(share(tally.sure) >= least_sure, "{set}, {with_metadata} {sorted}: {tally}");
            // Most are said for sure: to be sure of a few is no art.
            assert!(tally.sure.1 * 4 > tally.modules.1 * 3, "{set}: sure of {} of {}", tally.sure.1, tally.modules.1);
        }
    }
}

#[test]
fn a_table_that_names_tell_is_planned_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables.safetensors");
    for (name, class, planned) in
        [("embed_tokens", "Embedding", true), ("q_proj", "Linear", true), ("x", "Linear", false)]
    {
        std::fs::write(&path, safetensors(&[(&format!("{name}.weight"), &[9, 4])])).unwrap();
        let opened = open(&Options { checkpoint: path.clone(), ..Options::default() }).unwrap();
        let id = opened.model.find(name).unwrap();
        assert_eq!(opened.model.modules[id].short_class(), class);
        let plan = opened.triage.modules[id].plan.as_ref();
        assert_eq!(plan.is_some(), planned, "{name}: {}", opened.triage.modules[id].reason);
        if class == "Embedding" {
            // torch's side wants to be told that it does not rescale what is looked up.
            assert_eq!(plan.unwrap().torch.args.get("max_norm"), Some(&serde_json::Value::Null));
        }
    }
}
