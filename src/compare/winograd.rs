//! Convolutions that MLX computes on Metal by Winograd's algorithm, and the rounding of that.
//!
//! F(6×6, 3×3) makes of each tile of 8×8 inputs, and of each kernel, 64 numbers (Bᵀ·x·B, G·w·Gᵀ), adds up their products over the channels
//! alone, and makes 6×6 outputs of the 64 sums (Aᵀ·m·A). It multiplies 5 times less than a plain sum, and rounds more: the sums are of
//! other sizes than the outputs, and A has coefficients up to 32.
//!
//! B. Barabasz, A. Anderson, K. M. Soodhalter, D. Gregg, Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural
//! Networks (ACM TOMS 46, 2020; arXiv:1803.10986) bound the error element by element: a rounding in one of the 64 sums reaches the
//! output with what A has there, and the sum is as large as |B| and |G| make it. [`super::tolerance`] takes roundings for independent,
//! so here the same is done with squares. An output of row o whose kernel has its weight at tap t has, of each number i of the 8 along an
//! axis, the variance A_io²·‖B_i‖²·G_it², and both axes multiply: the standard deviation grows by the sum over i, of the worst o and t.
//! That is [`gain`], 114.2. The bound is ε·S·114·(4 + ¾·√C): the four roundings of every layer, which the transforms take, and the random
//! walk of a sum over C channels, as for a plain sum of C products.
//!
//! Upstream measured 6.9e-3 where a plain sum has 8.5e-4 (ml-explore/mlx, pull request 4242: batch 4, 64×64, some 350 channels), which is
//! four times the tolerance of a plain sum and a fifteenth of this one. A kernel with all of its weight in a corner comes nearest, to a
//! third. What a conversion does wrong is far above: one weight of 4,608 that is 0 moves the output by 1e-2 of its scale, the bound for
//! 512 channels is 3e-4 of it.

/// Outputs of a tile along an axis, taps of the kernel, and inputs of a tile.
const TILE: usize = 6;
const TAPS: usize = 3;
const INPUTS: usize = 8;

/// The transform of inputs: a column for each of the 8 numbers. Of the points 0, ±1, ±2, ±½ and infinity, as MLX's kernels have it
/// (mlx/backend/metal/kernels/conv.metal).
const B: [[f64; INPUTS]; INPUTS] = [
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, -1.0],
    [-5.25, 1.0, 1.0, 0.25, 0.25, 4.0, 4.0, 0.0],
    [0.0, -4.25, 4.25, -2.5, 2.5, -2.5, 2.5, 5.25],
    [5.25, -4.25, -4.25, -1.25, -1.25, -5.0, -5.0, 0.0],
    [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, -5.25],
    [-1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
];

/// The transform of kernels.
const G: [[f64; TAPS]; INPUTS] = [
    [1.0, 0.0, 0.0],
    [-2.0 / 9.0, -2.0 / 9.0, -2.0 / 9.0],
    [-2.0 / 9.0, 2.0 / 9.0, -2.0 / 9.0],
    [1.0 / 90.0, 1.0 / 45.0, 2.0 / 45.0],
    [1.0 / 90.0, -1.0 / 45.0, 2.0 / 45.0],
    [32.0 / 45.0, 16.0 / 45.0, 8.0 / 45.0],
    [32.0 / 45.0, -16.0 / 45.0, 8.0 / 45.0],
    [0.0, 0.0, 1.0],
];

/// The transform of sums into outputs.
const A: [[f64; TILE]; INPUTS] = [
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    [1.0, -1.0, 1.0, -1.0, 1.0, -1.0],
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
    [1.0, -2.0, 4.0, -8.0, 16.0, -32.0],
    [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125],
    [1.0, -0.5, 0.25, -0.125, 0.0625, -0.03125],
    [0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
];

/// How many times as much as in a plain sum of the same products a rounding weighs in the worst output of the worst kernel.
pub fn gain() -> f64 {
    let squares = |i: usize| B.iter().map(|row| row[i] * row[i]).sum::<f64>();
    let reaches = |o: usize, t: usize| (0..INPUTS).map(|i| A[i][o].powi(2) * squares(i) * G[i][t].powi(2)).sum::<f64>();
    (0..TILE).flat_map(|o| (0..TAPS).map(move |t| (o, t))).map(|(o, t)| reaches(o, t)).fold(0.0, f64::max)
}

/// What decides whether MLX convolves so.
#[derive(Debug, Clone, Copy)]
pub struct Convolution<'a> {
    /// Shape of the input as torch has it: batch, channels, height, width.
    pub input: &'a [usize],
    /// Shape of the weight as torch has it: outputs, channels of a group, kernel.
    pub weight: &'a [usize],
    /// Whether stride, dilation and groups are all 1, and it is no transposed one.
    pub is_plain: bool,
}

impl Convolution<'_> {
    /// The channels that are added up, where MLX takes Winograd's algorithm on Metal: a kernel of 3×3, multiples of 32 channels on both
    /// sides, 256 of them together, and 4,096 pixels (`dispatch_conv_2D_gpu` of mlx/backend/metal/conv.cpp).
    pub fn by_winograd(&self) -> Option<usize> {
        let (&[batch, channels, height, width], &[outputs, of_group, TAPS, TAPS]) = (self.input, self.weight) else {
            return None;
        };
        let pixels = batch.saturating_mul(height).saturating_mul(width);
        let fits = channels.is_multiple_of(32) && outputs.is_multiple_of(32) && channels + outputs >= 256;
        (self.is_plain && channels == of_group && fits && pixels >= 4096).then_some(channels)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::compare::Verdict;
    use crate::compare::tolerance::Bound;
    use t2m_checkpoint::Dtype;

    /// Inputs of one tile by channel, and the kernels of one output.
    struct Case {
        tiles: Vec<[[f32; INPUTS]; INPUTS]>,
        kernels: Vec<[[f32; TAPS]; TAPS]>,
    }

    /// aᵀ·m·a in float32, for `a` with a column for each row and column of the result.
    fn both_sides<const I: usize, const O: usize>(m: &[[f32; I]; I], a: &[[f64; O]; I]) -> [[f32; O]; O] {
        let mut half = [[0.0f32; O]; I];
        for (row, of) in half.iter_mut().zip(m) {
            for (o, to) in row.iter_mut().enumerate() {
                *to = of.iter().zip(a).fold(0.0, |sum, (value, by)| sum + value * by[o] as f32);
            }
        }
        let mut out = [[0.0f32; O]; O];
        for (p, row) in out.iter_mut().enumerate() {
            for (o, to) in row.iter_mut().enumerate() {
                *to = half.iter().zip(a).fold(0.0, |sum, (of, by)| sum + of[o] * by[p] as f32);
            }
        }
        out
    }

    impl Case {
        fn random(channels: usize, seed: u64, weight: impl Fn(&mut ChaCha8Rng, usize, usize) -> f32) -> Case {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let tile = |random: &mut ChaCha8Rng| {
                std::array::from_fn(|_| std::array::from_fn(|_| random.random_range(-1.0f32..1.0)))
            };
            let tiles = (0..channels).map(|_| tile(&mut random)).collect();
            let kernel =
                |random: &mut ChaCha8Rng| std::array::from_fn(|y| std::array::from_fn(|x| weight(random, y, x)));
            Case { tiles, kernels: (0..channels).map(|_| kernel(&mut random)).collect() }
        }

        /// By Winograd in float32, as MLX does it: every step rounds.
        fn winograd(&self) -> [[f32; TILE]; TILE] {
            let mut sums = [[0.0f32; INPUTS]; INPUTS];
            for (tile, kernel) in self.tiles.iter().zip(&self.kernels) {
                let inputs = both_sides(tile, &B);
                let mut by_tap = [[0.0f64; INPUTS]; TAPS];
                for (t, row) in by_tap.iter_mut().enumerate() {
                    for (i, to) in row.iter_mut().enumerate() {
                        *to = G[i][t];
                    }
                }
                let weights = both_sides(kernel, &by_tap);
                for ((sums, inputs), weights) in sums.iter_mut().zip(&inputs).zip(&weights) {
                    for ((sum, input), weight) in sums.iter_mut().zip(inputs).zip(weights) {
                        *sum += input * weight;
                    }
                }
            }
            both_sides(&sums, &A)
        }

        /// The plain sum, in float64.
        fn exact(&self) -> [[f64; TILE]; TILE] {
            let at = |y: usize, x: usize| -> f64 {
                let one = |tile: &[[f32; INPUTS]; INPUTS], kernel: &[[f32; TAPS]; TAPS]| -> f64 {
                    let taps = (0..TAPS).flat_map(|v| (0..TAPS).map(move |u| (v, u)));
                    taps.map(|(v, u)| f64::from(tile[y + v][x + u]) * f64::from(kernel[v][u])).sum()
                };
                self.tiles.iter().zip(&self.kernels).map(|(tile, kernel)| one(tile, kernel)).sum()
            };
            std::array::from_fn(|y| std::array::from_fn(|x| at(y, x)))
        }

        /// The largest error of the algorithm, and the scale.
        fn error(&self) -> (f64, f64) {
            let (exact, rounded) = (self.exact(), self.winograd());
            let pairs = || exact.iter().flatten().zip(rounded.iter().flatten());
            let error = pairs().map(|(exact, rounded)| (exact - f64::from(*rounded)).abs()).fold(0.0, f64::max);
            (error, exact.iter().flatten().fold(0.0, |most, value| value.abs().max(most)))
        }
    }

    fn tolerance(bound: Bound, scale: f64) -> f64 {
        bound.tolerance(Dtype::Float32, scale, 0.0)
    }

    #[test]
    fn without_rounding_it_is_the_plain_sum() {
        // Small whole numbers, of which the transforms' products are exact but for G's thirds.
        let mut case = Case::random(3, 1, |random, _, _| random.random_range(-3..=3) as f32);
        for value in case.tiles.iter_mut().flatten().flatten() {
            *value = (*value * 8.0).round();
        }
        let (error, scale) = case.error();
        assert!(error < 1e-4 * scale, "{error} of {scale}");
    }

    #[test]
    fn the_gain_follows_from_the_matrices() {
        assert!((gain() - 114.2).abs() < 0.1, "{}", gain());
    }

    /// Over many tiles the worst comes near the bound and stays below; a plain sum's bound it exceeds.
    #[test]
    fn the_bound_holds_for_our_own_and_a_plain_sums_does_not() {
        type Weight = fn(&mut ChaCha8Rng, usize, usize) -> f32;
        let kinds: [(&str, Weight); 5] = [
            ("random", |random, _, _| random.random_range(-1.0..1.0)),
            ("positive", |random, _, _| random.random_range(0.0..1.0)),
            ("corner", |random, y, x| if (y, x) == (2, 2) { random.random_range(-1.0..1.0) } else { 0.0 }),
            ("other corner", |random, y, x| if (y, x) == (0, 0) { random.random_range(-1.0..1.0) } else { 0.0 }),
            ("edges", |random, y, x| {
                let sign = [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]][y][x];
                sign * random.random_range(0.9f32..1.1)
            }),
        ];
        for channels in [32, 96, 256] {
            let (mut of_ours, mut of_plain) = (0.0f64, 0.0f64);
            for (name, weight) in kinds {
                // The scale is that of the whole output, of which a tile is a part.
                let all: Vec<(f64, f64)> = (0..24).map(|seed| Case::random(channels, seed, weight).error()).collect();
                let scale = all.iter().map(|(_, scale)| *scale).fold(0.0, f64::max);
                let error = all.iter().map(|(error, _)| *error).fold(0.0, f64::max);
                let share = error / tolerance(Bound::Winograd(channels), scale);
                assert!(share <= 1.0, "{name}, {channels} channels: {share}");
                of_ours = of_ours.max(share);
                of_plain = of_plain.max(error / tolerance(Bound::Contraction(9 * channels), scale));
            }
            assert!(of_ours > 0.05, "{channels} channels: the bound is {of_ours} used, too wide to say anything");
            assert!(of_plain > 1.5, "{channels} channels: a plain sum's would do, {of_plain}");
        }
    }

    /// Mistakes that a conversion makes are above it.
    #[test]
    fn one_wrong_weight_of_many_is_found() {
        let channels = 512;
        let case = Case::random(channels, 3, |random, _, _| random.random_range(-1.0..1.0));
        let (exact, scale) = (case.exact(), case.error().1);
        let mut wrong = case;
        wrong.kernels[77][1][1] = 0.0;
        let given = wrong.winograd();
        let apart = exact.iter().flatten().zip(given.iter().flatten());
        let apart = apart.map(|(exact, value)| (exact - f64::from(*value)).abs()).fold(0.0, f64::max);
        let bound = Bound::Winograd(channels);
        let judged = bound.judge(Dtype::Float32, scale, tolerance(bound, scale), apart);
        assert!(matches!(judged, Verdict::Drift | Verdict::Broken), "{apart} of {scale}: {judged:?}");
        assert!(tolerance(bound, scale) < 5e-4 * scale, "{}", tolerance(bound, scale) / scale);
    }

    #[test]
    fn metal_takes_it_for_large_plain_convolutions_alone() {
        let of = |input: &[usize], weight: &[usize], is_plain| Convolution { input, weight, is_plain }.by_winograd();
        assert_eq!(of(&[1, 128, 64, 64], &[128, 128, 3, 3], true), Some(128));
        assert_eq!(of(&[4, 352, 64, 64], &[352, 352, 3, 3], true), Some(352));
        for (input, weight, is_plain) in [
            ([1, 128, 64, 64], [128, 128, 3, 3], false), // a stride, a dilation, groups
            ([1, 64, 56, 56], [64, 64, 3, 3], true),     // ResNet's first stage at batch 1: too few pixels and channels
            ([1, 336, 64, 64], [336, 336, 3, 3], true),  // no multiple of 32
            ([1, 128, 64, 64], [128, 128, 5, 5], true),
            ([2, 128, 9, 11], [128, 128, 3, 3], true), // what `verify` draws
        ] {
            assert_eq!(of(&input, &weight, is_plain), None, "{input:?} {weight:?}");
        }
        assert_eq!(of(&[128, 64, 64], &[128, 128, 3, 3], true), None, "without a batch");
    }
}
