//! What was measured for each registry row, kept in `assets/registry/measured.json`: the support matrix shows these
//! figures and no others. `t2m-tui matrix --measured` measures them again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Measurement, Outcome, Sample, SampleModel};
use crate::compare::{Trial, Verdict, worst};
use crate::plan::naive::{self, Mistake};
use crate::registry::Registry;
use crate::verify::{self, Job};
use t2m_checkpoint::Dtype;
use t2m_engine::{Device, EngineInfo, Side};

const MEASURED: &str = include_str!("../../assets/registry/measured.json");
const CUDA: &str = include_str!("../../assets/registry/measured-cuda.json");
const CUDA_BY_DEFAULT: &str = include_str!("../../assets/registry/measured-cuda-tf32.json");

/// All that was measured, and with what.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// `libtorch 2.13.0 (cpu)`, `mlx 0.32.2 (cpu, MLX_ENABLE_TF32=0)`.
    pub engines: Vec<String>,
    /// `linux x86_64`
    pub platform: String,
    /// One for each class that was run, by its full path.
    pub layers: BTreeMap<String, Record>,
    /// One for each block of `plan::blocks`, by its name.
    #[serde(default, rename = "templates")]
    pub blocks: BTreeMap<String, Record>,
    /// One for each deliberate mistake.
    pub mistakes: Vec<Caught>,
    /// One for each op that computes, by torch's name.
    #[serde(default)]
    pub ops: BTreeMap<String, Example>,
    /// One for each dtype that both cast to, by torch's name.
    #[serde(default)]
    pub dtypes: BTreeMap<String, Example>,
    /// One for each overload that has examples, by its name without `aten.`.
    #[serde(default)]
    pub aten: BTreeMap<String, super::aten::Record>,
}

/// The results of an op's examples in float32.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The right call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<Figures>,
    /// What renaming alone gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub naive: Option<Figures>,
}

/// What was measured for a class.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Configurations and calls that were run.
    pub configurations: usize,
    /// Those of them that have no conversion, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, String>,
    /// The worst trial in float32, which gives the verdict …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub float32: Option<Figures>,
    /// … and in half precision, for comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub float16: Option<Figures>,
    /// As float16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfloat16: Option<Figures>,
}

/// The worst trial of a class in one dtype.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// `exact`, `ok`, …
    pub verdict: String,
    /// Largest absolute error; none where there was nothing to subtract.
    pub max_abs: Option<f64>,
    /// Largest absolute error as a share of the tolerance.
    pub share: Option<f64>,
    /// torch's own distance from float64, and MLX's.
    pub torch_vs_f64: Option<f64>,
    /// See `torch_vs_f64`.
    pub mlx_vs_f64: Option<f64>,
    /// What MLX answered in.
    pub mlx_dtype: Option<String>,
    /// The configuration.
    pub build: String,
    /// Anything else to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A deliberate mistake, and what a run said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Caught {
    /// What is done wrong.
    pub name: String,
    /// The class.
    pub class: String,
    /// The configuration.
    pub build: String,
    /// Whether a plain rename makes it.
    pub naive: bool,
    /// `drift`, `broken`, `failed`.
    pub verdict: String,
    /// Largest absolute error; none where the shapes differ or MLX refused.
    pub max_abs: Option<f64>,
    /// Largest absolute error as a multiple of the tolerance.
    pub share: Option<f64>,
}

impl Measured {
    /// The record that is built into the program.
    ///
    /// # Errors
    /// The file is not what it should be, which a test rules out.
    pub fn built_in() -> Result<Measured, serde_json::Error> {
        serde_json::from_str(MEASURED)
    }

    /// The record of MLX on CUDA, libtorch on that machine's processor.
    ///
    /// # Errors
    /// As [`Measured::built_in`].
    pub fn on_cuda() -> Result<Measured, serde_json::Error> {
        serde_json::from_str(CUDA)
    }

    /// The same with MLX's default there, which rounds the factors of float32's products to TF32.
    ///
    /// # Errors
    /// As [`Measured::built_in`].
    pub fn by_default_on_cuda() -> Result<Measured, serde_json::Error> {
        serde_json::from_str(CUDA_BY_DEFAULT)
    }

    /// Run every sample and every mistake, MLX on this device. `done` is called with how many have finished, and of how many.
    ///
    /// # Errors
    /// The samples cannot be read, or an engine is missing, in words.
    pub fn anew(
        registry: &std::sync::Arc<Registry>,
        device: Option<Device>,
        mut done: impl FnMut(usize, usize),
    ) -> Result<Measured, String> {
        let words = |error: serde_json::Error| error.to_string();
        let mut samples = super::built_in().map_err(words)?;
        samples.extend(super::zoo().map_err(words)?);
        let mistakes = naive::built_in().map_err(|error| error.to_string())?;
        let (ops, dtypes) = (Examples::of_ops(registry)?, Examples::of_dtypes(registry)?);
        let blocks = super::blocks().map_err(words)?;
        let total = samples.len() + blocks.len() + mistakes.len();
        let each = [Dtype::Float32, Dtype::Float16, Dtype::BFloat16];
        let whole = SampleModel::new(&samples, registry.clone()).on(device);
        let measured = whole.run(TRIALS, &each, SEED, |count| done(count, total));
        let mut all = Measured { platform: platform(), ..Measured::default() };
        all.engines = engines(&measured)?;
        for (sample, outcome) in samples.iter().zip(&measured.outcomes) {
            all.layers.entry(sample.class().to_owned()).or_default().add(sample, outcome);
        }
        let whole = SampleModel::of_blocks(&blocks, registry.clone()).on(device);
        let measured = whole.run(TRIALS, &each, SEED, |count| done(samples.len() + count, total));
        for (index, (sample, outcome)) in blocks.iter().zip(&measured.outcomes).enumerate() {
            let name = whole.block(index).map_or("none", |block| block.name);
            all.blocks.entry(name.to_owned()).or_default().add(sample, outcome);
        }
        let (wrong, made): (Vec<Sample>, Vec<&Mistake>) =
            mistakes.iter().filter_map(|mistake| Some((Sample::of(mistake, &samples)?.clone(), mistake))).unzip();
        let whole = SampleModel::altered(&wrong, registry.clone(), |index, plan| {
            // A test rules out that a mistake cannot be made.
            let _ = made[index].make(plan);
        })
        .on(device);
        let caught = whole.run(TRIALS, &[Dtype::Float32], SEED, |count| {
            done(samples.len() + blocks.len() + count, total);
        });
        all.mistakes = made
            .iter()
            .zip(&wrong)
            .zip(&caught.outcomes)
            .map(|((mistake, sample), outcome)| {
                let figures = figures(&sample.build, outcome, Dtype::Float32);
                Caught {
                    name: mistake.name.clone(),
                    class: sample.class().to_owned(),
                    build: mistake.build.clone(),
                    naive: mistake.naive,
                    verdict: outcome.verdict.name().to_owned(),
                    max_abs: figures.as_ref().and_then(|figures| figures.max_abs),
                    share: figures.as_ref().and_then(|figures| figures.share),
                }
            })
            .collect();
        all.ops = ops.run(device);
        all.dtypes = dtypes.run(device);
        all.aten = super::aten::records(&super::aten::examples()?, &[SEED, SEED + 1], device)?;
        done(total, total);
        Ok(all)
    }
}

impl Measured {
    /// Whether every class that was run passes in float32, and every mistake was caught.
    pub fn all_pass(&self) -> bool {
        let passes = |figures: &Figures| matches!(figures.verdict.as_str(), "exact" | "ok");
        let layers = self.layers.values().filter_map(|record| record.float32.as_ref()).all(passes);
        let layers = layers && self.blocks.values().filter_map(|record| record.float32.as_ref()).all(passes);
        layers && self.mistakes.iter().all(|caught| matches!(caught.verdict.as_str(), "drift" | "broken" | "failed"))
    }
}

/// Examples of ops or dtypes, with each one's row and whether it is the naive one.
#[derive(Default)]
struct Examples {
    names: Vec<(String, bool)>,
    jobs: Vec<Job>,
}

impl Examples {
    fn of_ops(registry: &Registry) -> Result<Examples, String> {
        let mut all = Examples::default();
        for sample in super::ops::ops(registry)? {
            all.add(&sample.torch, sample.example, sample.naive);
        }
        Ok(all)
    }

    fn of_dtypes(registry: &Registry) -> Result<Examples, String> {
        let mut all = Examples::default();
        for sample in super::dtypes::dtypes(registry)? {
            all.add(&sample.torch, Some(sample.job), sample.naive);
        }
        Ok(all)
    }

    fn add(&mut self, name: &str, right: Option<Job>, naive: Option<Job>) {
        for (job, is_naive) in [(right, false), (naive, true)] {
            if let Some(job) = job {
                self.names.push((name.to_owned(), is_naive));
                self.jobs.push(job);
            }
        }
    }

    fn run(self, device: Option<Device>) -> BTreeMap<String, Example> {
        let mut examples: BTreeMap<String, Example> = BTreeMap::new();
        let outcomes = verify::run(&self.jobs, TRIALS, SEED, super::DEADLINE, device);
        for ((name, naive), outcome) in self.names.into_iter().zip(outcomes) {
            let figures = Figures::of(&name, outcome.verdict, outcome.reason, worst(outcome.trials.iter()));
            let example = examples.entry(name).or_default();
            *(if naive { &mut example.naive } else { &mut example.right }) = Some(figures);
        }
        examples
    }
}

/// Trials of each configuration, and the first one's seed.
const TRIALS: usize = 2;
const SEED: u64 = 7;

fn platform() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

fn engines(measured: &Measurement) -> Result<Vec<String>, String> {
    let named = |side: Side| -> Result<String, String> {
        let found = measured.engines.iter().find(|(known, _)| *known == side);
        let (_, info) = found.ok_or_else(|| {
            let said = measured.outcomes.iter().find_map(|outcome| outcome.reason.clone());
            said.unwrap_or_else(|| format!("{} did not start", side.program()))
        })?;
        Ok(in_words(side, info))
    };
    Ok(vec![named(Side::Torch)?, named(Side::Mlx)?])
}

fn in_words(side: Side, info: &EngineInfo) -> String {
    format!("{} {} ({})", side.library(), info.version, info.settings())
}

impl Record {
    fn add(&mut self, sample: &Sample, outcome: &Outcome) {
        self.configurations += 1;
        if outcome.verdict == Verdict::NotRun {
            self.refused.insert(sample.build.clone(), outcome.reason.clone().unwrap_or_default());
            return;
        }
        for (dtype, kept) in [
            (Dtype::Float32, &mut self.float32),
            (Dtype::Float16, &mut self.float16),
            (Dtype::BFloat16, &mut self.bfloat16),
        ] {
            let Some(new) = figures(&sample.build, outcome, dtype) else { continue };
            let rank = |figures: &Figures| {
                let verdict = Verdict::ALL.iter().position(|verdict| verdict.name() == figures.verdict);
                (verdict, figures.share.unwrap_or(f64::INFINITY))
            };
            if kept.as_ref().is_none_or(|old| rank(old) < rank(&new)) {
                *kept = Some(new);
            }
        }
    }
}

/// Finite numbers, with three significant digits.
pub(super) fn digits(number: f64) -> Option<f64> {
    number.is_finite().then(|| format!("{number:.2e}").parse().unwrap_or(number))
}

fn figures(build: &str, outcome: &Outcome, dtype: Dtype) -> Option<Figures> {
    let trial = worst(outcome.trials.iter().filter(|trial| trial.dtype == dtype))?;
    Some(Figures::of(build, trial.verdict, trial.complaint(), Some(trial)))
}

impl Figures {
    fn of(build: &str, verdict: Verdict, reason: Option<String>, trial: Option<&Trial>) -> Figures {
        let number = |of: fn(&Trial) -> Option<f64>| trial.and_then(of).and_then(digits);
        Figures {
            verdict: verdict.name().to_owned(),
            max_abs: number(Trial::max_abs),
            share: number(Trial::excess),
            torch_vs_f64: number(|trial| Some(trial.torch_vs_f64)),
            mlx_vs_f64: number(|trial| Some(trial.apart.as_ref()?.mlx_vs_f64)),
            mlx_dtype: trial.map(|trial| trial.mlx_dtype.name().to_owned()),
            build: build.to_owned(),
            reason,
        }
    }
}
