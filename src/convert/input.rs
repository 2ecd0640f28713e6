//! Inputs for a measurement, made once in Rust and given to both engines.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::checkpoint::{Dtype, TensorData};

/// One input of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Shape as torch takes it.
    pub shape: Vec<usize>,
    /// What the elements are.
    pub values: Values,
    /// Permutation from torch's layout to MLX's; `None` where it is the same.
    pub to_mlx: Option<Vec<usize>>,
}

/// What an input is filled with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values {
    /// Standard normal, times this.
    Normal(f32),
    /// Whole numbers from 0 to below this, as int64 for torch and int32 for MLX.
    Ids(u64),
}

impl Input {
    /// The input that a seed stands for: the same on every machine (ChaCha8, one stream for each position). Normal
    /// values are rounded to `dtype`, so that both engines begin with the same numbers.
    pub fn generate(&self, seed: u64, position: usize, dtype: Dtype) -> TensorData {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(position as u64);
        let count: usize = self.shape.iter().product();
        match self.values {
            Values::Normal(scale) => {
                let normal = (0..count).map(|_| scale * Distribution::<f32>::sample(&StandardNormal, &mut random));
                let values: Vec<f32> = normal.collect();
                let full = TensorData::from_f32(&self.shape, &values);
                full.cast(dtype).unwrap_or(full)
            }
            Values::Ids(below) => {
                let ids: Vec<i64> = (0..count).map(|_| random.random_range(0..below.max(1)) as i64).collect();
                TensorData::from_i64(&self.shape, &ids)
            }
        }
    }
}
