//! How well classes are guessed from bare state dicts: a table over models whose classes are known.
//!
//!     cargo run --release --example evaluate-inference [-- MODELS.jsonl.gz] [--wrong]
//!
//! The models are those of tests/fixtures/inference/make.py. Each is written as a state dict of tensors without data, opened
//! like any checkpoint, and what is said of every module that owns a tensor is held against the truth. Three times: with
//! `_metadata`, as `torch.save(model.state_dict())` leaves it, and without, in the model's order and sorted by name, as safetensors
//! files are.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;

#[path = "../tests/common/archive.rs"]
mod archive;
#[path = "../tests/common/inference.rs"]
mod inference;

use inference::{Models, Tally, score};

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let file = files.first().map_or("tests/fixtures/inference/models.jsonl.gz", String::as_str);
    let list_wrong = flags.iter().any(|flag| flag == "--wrong");
    let ways = [
        (true, false, "With `_metadata`"),
        (false, true, "Names and shapes alone, sorted by name"),
        (false, false, "Names and shapes alone"),
    ];
    for (with_metadata, sorted, title) in ways {
        println!("## {title}");
        let mut sets: BTreeMap<String, Tally> = BTreeMap::new();
        let mut mistakes: BTreeMap<(String, String, String), (usize, String)> = BTreeMap::new();
        for model in Models::read(file)? {
            let model = if sorted { model?.sorted() } else { model? };
            let tally = score(&model, with_metadata, |mistake| {
                let key =
                    (model.set.clone(), mistake.truth.clone(), format!("{} {:.2}", mistake.said, mistake.confidence));
                let entry = mistakes.entry(key).or_default();
                entry.0 += 1;
                entry.1 = format!("{} {}", model.name, mistake.path);
            })?;
            sets.entry(model.set.clone()).or_default().add(&tally);
            sets.entry("all".to_owned()).or_default().add(&tally);
        }
        for (set, tally) in &sets {
            println!("\n### {set}\n\n{tally}");
        }
        if list_wrong {
            let mut mistakes: Vec<_> = mistakes.into_iter().collect();
            mistakes.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
            for ((set, truth, said), (count, example)) in mistakes.iter().take(80) {
                println!("{count:6} {set:9} {truth} taken for {said}   e.g. {example}");
            }
        }
        println!();
    }
    Ok(())
}
