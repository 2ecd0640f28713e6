//! How long it takes to open large checkpoints to their module tree, and how much memory.
//!
//!     cargo bench --bench open              # times, in this process
//!     cargo bench --bench open -- --memory  # peak memory, each file in a process of its own
//!
//! The files are made on the spot with holes for tensor bytes, in a temporary folder (some 500 MB).

#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "tests make other files with it")]
mod generate;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use criterion::Criterion;
use generate::{Kind, language_model, many};
use t2m_checkpoint::Checkpoint;
use t2m_tui::model::{self, Model};

/// The checkpoint's modules.
fn open(path: &Path) -> (Checkpoint, Model) {
    let checkpoint = Checkpoint::open(path).unwrap();
    let model = model::build(&checkpoint);
    (checkpoint, model)
}

/// Name and path of every file.
fn files(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    let (model, many) = (language_model(), many(100_000));
    let huge = vec![("a".to_owned(), vec![5 << 28]), ("b".to_owned(), vec![3])];
    let path = |name: &str| folder.join(name);
    generate::torch(&path("large.pt"), &model, Kind::BFloat16);
    generate::safetensors(&path("large.safetensors"), &model, Kind::BFloat16);
    generate::torch(&path("many.pt"), &many, Kind::Float32);
    generate::safetensors(&path("many.safetensors"), &many, Kind::Float32);
    // A million, of which no model has a tenth: what a file may hold without being a burden.
    let million = generate::many(1_000_000);
    generate::torch(&path("million.pt"), &million, Kind::Float32);
    generate::safetensors(&path("million.safetensors"), &million, Kind::Float32);
    let flat: Vec<_> = (0..100_000).map(|index| (format!("parameter_{index}"), vec![4])).collect();
    generate::torch(&path("flat.pt"), &flat, Kind::Float32);
    generate::safetensors(&path("flat.safetensors"), &flat, Kind::Float32);
    generate::torch(&path("huge.pt"), &huge, Kind::Float32);
    let index = generate::sharded(&path("sharded"), 150);
    vec![
        ("2.25 GiB, .pt", path("large.pt")),
        ("2.25 GiB, .safetensors", path("large.safetensors")),
        ("100,000 tensors, .pt", path("flat.pt")),
        ("100,000 tensors, .safetensors", path("flat.safetensors")),
        ("100,000 tensors in as many modules, .pt", path("many.pt")),
        ("100,000 tensors in as many modules, .safetensors", path("many.safetensors")),
        ("1,000,000 tensors in as many modules, .pt", path("million.pt")),
        ("1,000,000 tensors in as many modules, .safetensors", path("million.safetensors")),
        ("5 GiB in one tensor, .pt", path("huge.pt")),
        ("150 shards, 56 GiB", index),
    ]
}

/// Peak of this process's resident memory, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--open") {
        let started = Instant::now();
        let (checkpoint, model) = open(Path::new(&arguments[at + 1]));
        let elapsed = started.elapsed().as_secs_f64() * 1e3;
        let (tensors, modules) = (checkpoint.tensors.len(), model.modules.len());
        println!("{tensors:7} tensors {modules:7} modules {elapsed:8.1} ms the first time {:7.1} MiB at most", peak());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    if arguments.iter().any(|argument| argument == "--memory") {
        for (name, path) in &files {
            let output = std::process::Command::new(&arguments[0]).arg("--open").arg(path).output().unwrap();
            print!("{name:50} {}", String::from_utf8_lossy(&output.stdout));
        }
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("open");
    group.sample_size(20);
    for (name, path) in &files {
        group.bench_function(*name, |bench| bench.iter_with_large_drop(|| open(black_box(path))));
    }
    group.finish();
    criterion.final_summary();
}
