//! Comparing two outputs: statistics of the error, the bound for it, the verdict.

mod number;
pub mod pass;
pub mod spread;
pub mod statistics;
pub mod tolerance;
pub mod winograd;

use serde::{Deserialize, Serialize};
use t2m_checkpoint::Dtype;

/// Where parameters and buffers come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightSource {
    /// From the checkpoint: what the user's layer computes.
    #[default]
    Checkpoint,
    /// Drawn at random: this certifies a conversion, since no zero or one of a fresh layer can hide a mistake.
    Random,
}

impl WeightSource {
    /// The word on the command line and on screen.
    pub fn name(self) -> &'static str {
        match self {
            WeightSource::Checkpoint => "checkpoint",
            WeightSource::Random => "random",
        }
    }
}

/// One seeded input through both engines, in one dtype.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The dtype that both engines were asked for.
    pub dtype: Dtype,
    /// What the layer computed with.
    pub weights: WeightSource,
    /// Seed of the input.
    pub seed: u64,
    /// Shapes of the inputs as torch takes them.
    pub input_shapes: Vec<Vec<usize>>,
    /// Which of several outputs the numbers belong to: the worst one.
    pub output: Option<String>,
    /// Shape of the output as torch gives it.
    pub output_shape: Vec<usize>,
    /// How far the two outputs are apart; `None` where their shapes differ and they cannot be subtracted.
    pub apart: Option<Apart>,
    /// The bound for `ok`.
    #[serde(with = "number")]
    pub tolerance: f64,
    /// What the bound is relative to: the largest |output|.
    #[serde(with = "number")]
    pub scale: f64,
    /// Largest distance of torch's output to torch in f64.
    #[serde(with = "number")]
    pub torch_vs_f64: f64,
    /// The dtype of MLX's output, whatever was asked for.
    pub mlx_dtype: Dtype,
    /// Milliseconds of libtorch's forward.
    #[serde(with = "number")]
    pub ms_torch: f64,
    /// Milliseconds of MLX's forward, evaluated.
    #[serde(with = "number")]
    pub ms_mlx: f64,
    /// Shape of MLX's output in torch's layout. If it differs from torch's, only the shapes are compared.
    pub mlx_shape: Vec<usize>,
    /// The verdict, by the rule of this dtype.
    pub verdict: Verdict,
    /// The same input as MLX computes it by default, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tf32: Option<Box<ByDefault>>,
}

/// What MLX gives by default, which rounds the factors of float32's products to TF32 where its GPU has that, against the same
/// tolerance: beside a verdict, and no part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ByDefault {
    /// What the verdict would be.
    pub verdict: Verdict,
    /// How far it is from torch's output; `None` where it cannot be subtracted.
    pub apart: Option<Apart>,
    /// Milliseconds of MLX's forward, evaluated.
    #[serde(with = "number")]
    pub ms_mlx: f64,
    /// Why there is no output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The difference of two outputs of one shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Apart {
    /// Largest absolute difference. Infinite where one side is NaN and the other is not.
    #[serde(with = "number")]
    pub max_abs: f64,
    /// Mean absolute difference.
    #[serde(with = "number")]
    pub mean_abs: f64,
    /// Largest difference relative to torch's value, over the elements with |torch| above the tolerance.
    #[serde(with = "number")]
    pub max_rel: f64,
    /// 99th percentile of the absolute difference.
    #[serde(with = "number")]
    pub p99_abs: f64,
    /// Cosine of the two outputs as vectors; 1 where both are zero.
    #[serde(with = "number")]
    pub cosine: f64,
    /// Where the largest difference is, in torch's layout.
    pub worst_index: Vec<usize>,
    /// Largest distance of MLX's output to torch in f64.
    #[serde(with = "number")]
    pub mlx_vs_f64: f64,
}

/// The worst of several trials: by verdict, then by the share of its own tolerance.
pub fn worst<'a>(trials: impl Iterator<Item = &'a Trial>) -> Option<&'a Trial> {
    trials.max_by(|a, b| a.verdict.cmp(&b.verdict).then(a.badness().total_cmp(&b.badness())))
}

impl Trial {
    /// Largest absolute difference, where there is one.
    pub fn max_abs(&self) -> Option<f64> {
        self.apart.as_ref().map(|apart| apart.max_abs)
    }

    /// The error in units of the tolerance; 0 where no element differs, `None` where the shapes do.
    pub fn excess(&self) -> Option<f64> {
        self.max_abs().map(|error| if error == 0.0 { 0.0 } else { (error / self.tolerance).abs() })
    }

    /// A number that is larger for the worse of two trials with one verdict: another shape is worse than any error.
    pub fn badness(&self) -> f64 {
        self.excess().unwrap_or(f64::INFINITY)
    }

    /// The trial with what MLX gives by default in the place of what it gives exactly.
    pub fn by_default(&self) -> Option<Trial> {
        let ByDefault { verdict, apart, ms_mlx, .. } = self.tf32.as_deref()?.clone();
        Some(Trial { verdict, apart, ms_mlx, tf32: None, ..self.clone() })
    }

    /// What is wrong with the output besides its numbers: another shape or dtype than torch's.
    pub fn complaint(&self) -> Option<String> {
        if self.mlx_shape != self.output_shape {
            return Some(format!("MLX's output has shape {:?}, torch's {:?}", self.mlx_shape, self.output_shape));
        }
        let (asked, got) = (self.dtype.name(), self.mlx_dtype.name());
        (asked != got).then(|| format!("MLX answered in {got} where {asked} was asked"))
    }
}

/// The verdicts, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No element differs.
    Exact,
    /// Within the tolerance.
    Ok,
    /// Above the tolerance, below 1e-3 of the scale.
    Drift,
    /// Above that: the conversion is wrong.
    Broken,
    /// An engine refused or died.
    Failed,
    /// Nothing was measured.
    NotRun,
}

impl Verdict {
    /// Every verdict, best first.
    pub const ALL: [Verdict; 6] =
        [Verdict::Exact, Verdict::Ok, Verdict::Drift, Verdict::Broken, Verdict::Failed, Verdict::NotRun];

    /// The word in JSON and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Exact => "exact",
            Verdict::Ok => "ok",
            Verdict::Drift => "drift",
            Verdict::Broken => "broken",
            Verdict::Failed => "failed",
            Verdict::NotRun => "not-run",
        }
    }

    /// Whether a conversion with this verdict may be trusted.
    pub fn passes(self) -> bool {
        matches!(self, Verdict::Exact | Verdict::Ok)
    }

    /// Whether it says that something is wrong; `not-run` does not.
    pub fn is_bad(self) -> bool {
        matches!(self, Verdict::Drift | Verdict::Broken | Verdict::Failed)
    }
}
