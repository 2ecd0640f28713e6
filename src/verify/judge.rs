//! From the outputs of both sides to a trial.

use std::borrow::Cow;

use crate::compare::WeightSource;
use crate::compare::pass::pass_everywhere;
use crate::compare::spread::{Spread, spread};
use crate::compare::statistics::unravel;
use crate::compare::{Apart, Trial, Verdict, worst};
use crate::plan::{Output, Plan, weights};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client;

/// The outputs of the three runs of a trial.
pub(super) struct Outputs {
    pub torch: client::Output,
    pub mlx: client::Output,
    pub arbiter: client::Output,
}

/// What the trials of a module in one dtype have in common.
pub(super) struct Terms<'a> {
    pub plan: &'a Plan,
    /// Inputs with explicit elements, by position.
    pub given: &'a [Option<TensorData>],
    pub dtype: Dtype,
    pub weights: WeightSource,
}

impl Terms<'_> {
    /// Compare the outputs of one trial: the numbers are those of the worst output.
    ///
    /// # Errors
    /// There is nothing to compare; says why.
    pub fn judge(&self, seed: u64, inputs: &[Vec<usize>], outputs: &Outputs) -> Result<Trial, String> {
        let wanted = self.plan.outputs.len();
        let given = [("libtorch", &outputs.torch), ("mlx", &outputs.mlx), ("libtorch in float64", &outputs.arbiter)];
        for (library, given) in given {
            if given.tensors.len() != wanted {
                return Err(format!("{library} gave {} outputs where {wanted} were expected", given.tensors.len()));
            }
        }
        let mut trials = Vec::new();
        for (at, output) in self.plan.outputs.iter().enumerate() {
            let three = [&outputs.torch, &outputs.mlx, &outputs.arbiter].map(|of| &of.tensors[at]);
            let mut trial = self.compare(output, three)?;
            trial.seed = seed;
            trial.input_shapes = inputs.to_vec();
            trial.output = (wanted > 1).then(|| output.name.to_owned());
            (trial.ms_torch, trial.ms_mlx) = (outputs.torch.milliseconds, outputs.mlx.milliseconds);
            trials.push(trial);
        }
        worst(trials.iter()).cloned().ok_or_else(|| "the layer has no output".to_owned())
    }

    /// One output. Fields of the whole trial stay empty.
    fn compare(&self, output: &Output, [torch, mlx, arbiter]: [&TensorData; 3]) -> Result<Trial, String> {
        let (plan, dtype) = (self.plan, self.dtype);
        let mlx_dtype = mlx.dtype;
        let mlx = match &output.to_torch {
            Some(axes) if axes.len() == mlx.shape.len() => {
                Cow::Owned(weights::permute(mlx, axes).map_err(|error| error.to_string())?)
            }
            _ => Cow::Borrowed(mlx),
        };
        if arbiter.shape != torch.shape {
            let (single, double) = (&torch.shape, &arbiter.shape);
            return Err(format!("libtorch's output has shape {single:?} in {}, {double:?} in float64", dtype.name()));
        }
        let unread = |dtype: Dtype| format!("an output in {}", dtype.name());
        // Outputs of different shapes cannot be subtracted: only the shapes are shown.
        let same_shape = mlx.shape == torch.shape;
        let pass = pass_everywhere(torch, arbiter, if same_shape { &mlx } else { torch }).map_err(unread)?;
        // Two outputs that are all NaN agree, which proves nothing.
        if !pass.any_finite && !torch.bytes.is_empty() {
            let dtype = dtype.name();
            return Err(format!("torch's output in {dtype} holds no finite number: there is nothing to compare"));
        }
        let (scale, torch_vs_f64) = (pass.scale, pass.torch_vs_f64);
        let tolerance = plan.bound.tolerance(dtype, scale, torch_vs_f64);

        let mut trial = Trial {
            dtype,
            weights: self.weights,
            seed: 0,
            input_shapes: Vec::new(),
            output: None,
            output_shape: torch.shape.clone(),
            apart: None,
            tolerance,
            scale,
            torch_vs_f64,
            // Whole numbers, such as indices, have MLX's own types.
            mlx_dtype: if mlx_dtype.is_floating() { mlx_dtype } else { dtype },
            ms_torch: 0.0,
            ms_mlx: 0.0,
            mlx_shape: mlx.shape.clone(),
            verdict: Verdict::Broken,
            tf32: None,
        };
        if same_shape {
            // Where nothing differs the rest is known.
            let rest =
                if pass.max_abs > 0.0 { spread(torch, &mlx, tolerance).map_err(unread)? } else { Spread::default() };
            trial.verdict = plan.bound.judge(dtype, scale, tolerance, pass.max_abs);
            trial.apart = Some(Apart {
                max_abs: pass.max_abs,
                mean_abs: pass.mean_abs,
                max_rel: rest.max_rel,
                p99_abs: rest.p99_abs,
                cosine: pass.cosine,
                worst_index: unravel(pass.worst, &torch.shape),
                mlx_vs_f64: pass.mlx_vs_f64,
            });
        }
        Ok(trial)
    }
}
