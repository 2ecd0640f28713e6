//! Inputs for a measurement, made once in Rust and given to both engines.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use t2m_checkpoint::{Dtype, TensorData};

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

/// A fiftieth: far above what float16 rounds to 0 when squared.
const SMALL: f32 = 0.02;

/// What an input is filled with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values {
    /// Standard normal, times this.
    Normal(f32),
    /// Standard normal, with every other item along the first axis scaled down to a fiftieth: small input shows a
    /// norm's epsilon.
    AndSmall,
    /// Whole numbers from 0 to below this, as int64 for torch and int32 for MLX.
    Ids(u64),
    /// Ids from 0 to below this, no two alike along the last axes from the third on: where the maxima of a pool were.
    Places(u64),
    /// Labels of each item: from 0 to below this, in any order and number, followed by -1.
    LabelLists(u64),
    /// Where the bags of `of` ids begin: the first at 0, none empty; with `last`, their number comes at the end.
    Offsets {
        /// Ids in all.
        of: u64,
        /// Whether their number is the last.
        last: bool,
    },
    /// Half normal, from 0.05 on.
    Positive,
    /// Between 0.02 and 0.98.
    Probabilities,
    /// -1 or 1.
    Signs,
    /// Booleans, true for a third, never in the first place of the last axis: a mask must not drop everything.
    Drops,
    /// A mask of numbers to add: 0, and some negative ones.
    Additive,
    /// Booleans, true above the diagonal: what a causal mask drops.
    Future,
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
            Values::Places(below) => {
                let plane: usize = self.shape.iter().skip(2).product::<usize>().max(1);
                let mut places = Vec::with_capacity(count);
                for _ in 0..count / plane {
                    let drawn = rand::seq::index::sample(&mut random, below as usize, plane.min(below as usize));
                    places.extend(drawn.into_iter().map(|place| place as i64));
                }
                places.resize(count, 0);
                TensorData::from_i64(&self.shape, &places)
            }
            Values::LabelLists(below) => {
                let width = self.shape.last().copied().unwrap_or(1).max(1);
                let mut labels = Vec::with_capacity(count);
                for _ in 0..count / width {
                    let most = width.min(below as usize);
                    let own = rand::seq::index::sample(&mut random, below as usize, most);
                    let kept = random.random_range(1..=most.max(1));
                    let own = own.into_iter().take(kept).map(|label| label as i64).chain(std::iter::repeat(-1));
                    labels.extend(own.take(width));
                }
                TensorData::from_i64(&self.shape, &labels)
            }
            Values::Offsets { of, last } => {
                let inner = count.saturating_sub(1 + usize::from(last));
                let most = (of as usize).saturating_sub(1);
                let drawn = rand::seq::index::sample(&mut random, most, inner.min(most));
                let mut offsets: Vec<i64> = drawn.into_iter().map(|place| place as i64 + 1).collect();
                offsets.push(0);
                offsets.sort_unstable();
                offsets.extend(last.then_some(of as i64));
                offsets.resize(count, of as i64);
                TensorData::from_i64(&self.shape, &offsets)
            }
            Values::Positive => self.floats(&mut random, dtype, |_, random| 0.05 + sample_normal(random).abs()),
            Values::Probabilities => self.floats(&mut random, dtype, |_, random| random.random_range(0.02..0.98)),
            Values::Signs => self.floats(&mut random, dtype, |_, random| if random.random() { 1.0 } else { -1.0 }),
            Values::Drops => {
                let width = self.shape.last().copied().unwrap_or(1).max(1);
                let drops = (0..count).map(|index| u8::from(random.random_ratio(1, 3) && index % width != 0)).collect();
                TensorData { dtype: Dtype::Bool, shape: self.shape.clone(), bytes: drops }
            }
            Values::Additive => self.floats(&mut random, dtype, |_, random| {
                if random.random_ratio(1, 3) { -2.0 * sample_normal(random).abs() } else { 0.0 }
            }),
            Values::Future => {
                let width = self.shape.last().copied().unwrap_or(1).max(1);
                let height = (count / width).max(1);
                let future = (0..count).map(|index| u8::from(index % width > index / width % height)).collect();
                TensorData { dtype: Dtype::Bool, shape: self.shape.clone(), bytes: future }
            }
        }
    }

    /// A tensor of this shape, laid out the same for both sides.
    pub fn new(shape: Vec<usize>, values: Values) -> Input {
        Input { shape, values, to_mlx: None }
    }

    /// The input with channels last for MLX: torch's axes are (N, C, …).
    pub fn channels_last(mut self) -> Input {
        self.to_mlx = Some(std::iter::once(0).chain(2..self.shape.len()).chain([1]).collect());
        self
    }

    fn floats(
        &self,
        random: &mut ChaCha8Rng,
        dtype: Dtype,
        mut value: impl FnMut(usize, &mut ChaCha8Rng) -> f32,
    ) -> TensorData {
        let count: usize = self.shape.iter().product();
        let values: Vec<f32> = (0..count).map(|index| value(index, random)).collect();
        let full = TensorData::from_f32(&self.shape, &values);
        full.cast(dtype).unwrap_or(full)
    }

    fn normal(&self, random: &mut ChaCha8Rng, dtype: Dtype, scale: impl Fn(usize) -> f32) -> TensorData {
        self.floats(random, dtype, |index, random| scale(index) * sample_normal(random))
    }
}

fn sample_normal(random: &mut ChaCha8Rng) -> f32 {
    Distribution::<f32>::sample(&StandardNormal, random)
}
