//! From the outputs of both sides to a trial.

use crate::compare::WeightSource;
use crate::compare::statistics::{difference, unravel};
use crate::compare::{Apart, Trial, Verdict, tolerance, worst};
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
    pub fn judge(&self, seed: u64, inputs: &[TensorData], outputs: &Outputs) -> Result<Trial, String> {
        let wanted = self.plan.outputs.len();
        for (library, given) in [("libtorch", &outputs.torch), ("mlx", &outputs.mlx)] {
            if given.tensors.len() != wanted {
                return Err(format!("{library} gave {} outputs where {wanted} were expected", given.tensors.len()));
            }
        }
        let mut trials = Vec::new();
        for (at, output) in self.plan.outputs.iter().enumerate() {
            let three = [&outputs.torch, &outputs.mlx, &outputs.arbiter].map(|of| &of.tensors[at]);
            let mut trial = self.compare(output, three)?;
            trial.seed = seed;
            trial.input_shapes = inputs.iter().map(|input| input.shape.clone()).collect();
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
                weights::permute(mlx, axes).map_err(|error| error.to_string())?
            }
            _ => mlx.clone(),
        };
        let numbers =
            |tensor: &TensorData| tensor.to_f64().ok_or_else(|| format!("an output in {}", tensor.dtype.name()));
        let (reference, values, exact) = (numbers(torch)?, numbers(&mlx)?, numbers(arbiter)?);
        // Two outputs that are all NaN agree, which proves nothing.
        if !reference.is_empty() && !reference.iter().any(|value| value.is_finite()) {
            let dtype = dtype.name();
            return Err(format!("torch's output in {dtype} holds no finite number: there is nothing to compare"));
        }
        let scale = tolerance::scale(&reference);
        let torch_vs_f64 = difference(&exact, &reference, 0.0).max_abs;
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
        // Outputs of different shapes cannot be subtracted: only the shapes are shown.
        if mlx.shape == torch.shape {
            let apart = difference(&reference, &values, tolerance);
            trial.verdict = plan.bound.judge(dtype, scale, tolerance, apart.max_abs);
            trial.apart = Some(Apart {
                max_abs: apart.max_abs,
                mean_abs: apart.mean_abs,
                max_rel: apart.max_rel,
                p99_abs: apart.p99_abs,
                cosine: apart.cosine,
                worst_index: unravel(apart.worst, &torch.shape),
                mlx_vs_f64: difference(&exact, &values, 0.0).max_abs,
            });
        }
        Ok(trial)
    }
}
