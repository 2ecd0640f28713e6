//! How fast weights are converted, written, flushed, read back and compared, beside `cp` of the same bytes on the same disk.
//!
//!     cargo bench --bench convert
//!
//! The files are made on the spot in the folder for builds, some 400 MB each; the last lines give the ratios of both, taken in turns.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use globset::GlobSet;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use t2m_checkpoint::Dtype as Target;
use t2m_tui::export::{state_dict, writer};
use t2m_tui::open::{Options, open};

/// Rounds in which each is run once.
const ROUNDS: usize = 7;

/// Tensors of random bytes.
fn file(path: &Path, dtype: Dtype, shapes: &[(String, Vec<usize>)]) {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let size = if dtype == Dtype::BF16 { 2 } else { 4 };
    let data: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(_, shape)| {
            let mut bytes = vec![0; shape.iter().product::<usize>() * size];
            random.fill(bytes.as_mut_slice());
            bytes
        })
        .collect();
    let views = shapes
        .iter()
        .zip(&data)
        .map(|((name, shape), data)| (name.as_str(), TensorView::new(dtype, shape.clone(), data).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A language model: matrices that keep their areas.
fn language() -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![("embed_tokens.weight".to_owned(), vec![32_000, 2_048])];
    for layer in 0..7 {
        for (name, shape) in [("q_proj", [2_048, 2_048]), ("up_proj", [2_048, 2_048]), ("down_proj", [2_048, 3_072])] {
            shapes.push((format!("layers.{layer}.{name}.weight"), shape.to_vec()));
        }
    }
    shapes
}

/// A convolutional network: every weight's axes move.
fn convolutions() -> Vec<(String, Vec<usize>)> {
    let layer =
        |layer| [(format!("conv{layer}.weight"), vec![512, 256, 3, 3]), (format!("conv{layer}.bias"), vec![512])];
    (0..85).flat_map(layer).collect()
}

fn convert(input: &Path, target: &Path, dtype: Option<Target>) {
    let opened = open(&Options { checkpoint: input.to_owned(), ..Options::default() }).unwrap();
    let map = state_dict::map(&opened, &GlobSet::empty()).unwrap();
    let (target, source) = (target.to_owned(), "in".to_owned());
    let options = writer::Options { target, force: true, shard_bytes: u64::MAX, strict: false, source };
    let tensors = writer::Conversion::new(&opened.checkpoint, &map, dtype).unwrap();
    writer::write(&tensors, &options, |_| true).unwrap();
}

/// `cp`, and what it wrote flushed to the disk, as a conversion is.
fn copy(input: &Path, target: &Path, flush: bool) {
    assert!(Command::new("cp").arg(input).arg(target).status().unwrap().success());
    if flush {
        std::fs::File::open(target).unwrap().sync_all().unwrap();
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn main() {
    // The system's temporary folder may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |name: &str| folder.path().join(name);
    file(&path("language"), Dtype::BF16, &language());
    file(&path("convolutions"), Dtype::F32, &convolutions());
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let cases = [("language", None), ("convolutions", None), ("convolutions", Some(Target::BFloat16))];
    let mut ratios = Vec::new();
    for (name, dtype) in cases {
        let (input, target) = (path(name), path("out.safetensors"));
        let bytes = input.metadata().unwrap().len();
        let what = dtype.map_or(name.to_owned(), |dtype| format!("{name} as {}", dtype.name()));
        let mut group = criterion.benchmark_group(&what);
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function("cp", |bench| bench.iter(|| copy(&input, &target, true)));
        group.bench_function("convert", |bench| bench.iter(|| convert(&input, &target, dtype)));
        group.finish();
        let (mut plain, mut flushed, mut converted) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            plain.push(timed(|| copy(&input, &target, false)));
            flushed.push(timed(|| copy(&input, &target, true)));
            converted.push(timed(|| convert(&input, &target, dtype)));
        }
        let (plain, flushed, converted) = (median(plain), median(flushed), median(converted));
        ratios.push(format!(
            "{what}: {:.0} MB in {converted:.2} s, {:.2} of cp flushed to the disk, {:.2} of cp that leaves it in memory",
            bytes as f64 / 1e6,
            flushed / converted,
            plain / converted
        ));
    }
    criterion.final_summary();
    ratios.iter().for_each(|line| println!("{line}"));
}
