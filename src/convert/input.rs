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

/// A fiftieth: far above what float16 can tell from 0 when it is squared.
const SMALL: f32 = 0.02;

/// What an input is filled with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values {
    /// Standard normal, times this.
    Normal(f32),
    /// Standard normal, and every other item along the first axis a fiftieth of it: a norm's epsilon shows on small input.
    AndSmall,
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
            Values::Normal(scale) => self.normal(&mut random, dtype, |_| scale),
            Values::AndSmall => {
                let item = self.shape.iter().skip(1).product::<usize>().max(1);
                self.normal(&mut random, dtype, |index| if index / item % 2 == 1 { SMALL } else { 1.0 })
            }
            Values::Ids(below) => {
                let ids: Vec<i64> = (0..count).map(|_| random.random_range(0..below.max(1)) as i64).collect();
                TensorData::from_i64(&self.shape, &ids)
            }
        }
    }

    fn normal(&self, random: &mut ChaCha8Rng, dtype: Dtype, scale: impl Fn(usize) -> f32) -> TensorData {
        let count: usize = self.shape.iter().product();
        let sample = |index| scale(index) * Distribution::<f32>::sample(&StandardNormal, random);
        let values: Vec<f32> = (0..count).map(sample).collect();
        let full = TensorData::from_f32(&self.shape, &values);
        full.cast(dtype).unwrap_or(full)
    }
}
