//! The bound for an error, and the verdict that follows.
//!
//! Both engines compute the same sum in another order. Each rounding costs at most ε relative to the partial result, and
//! the roundings of K terms add up like a random walk, to about ε·√K of the result's scale S. The bound is therefore
//! ε·S·(4 + c·√K): four roundings that every layer has (input, bias, activation, output) and c for how the terms enter.
//! c = 3/4 for sums of products, c = 1/4 for norms, whose terms enter under a root and divided by K. Measured with tch 0.26 and
//! mlx 0.32 on CPU over 80 configurations of up to 50 seeds, sound conversions stay below it by a third or more.
//!
//! Some layers amplify rounding, by what is in their weights: a softmax over large logits, a norm over two elements. There
//! torch is as far from the truth as MLX is. The same run in f64 tells, and four times torch's own distance from it is
//! allowed in any case: 3 for an MLX that rounds three times as badly, 1 for torch. What only MLX loses is drift, and is so
//! shown: a batch norm with a stored mean of 1000 that its bias cancels (torch folds the two, MLX subtracts first).
//!
//! Where layers follow each other, in a stack or in the graph of a whole model, each passes on the errors before it and adds its
//! own. What was passed on is four times torch's own distance from float64 there: the same steps stretch the roundings of both
//! engines alike, so that the two are of one order at every value, 1 for torch and 3 for an MLX that rounds three times as
//! badly. What the last layer adds is its own rounding, which the distance need not show: it is a single draw, and by luck it may
//! be small where few elements are. The two are added, ε·S·(4 + c·√K) + 4·|torch in float32 − torch in float64|. Of docs/models.md's
//! models no value exhausts it.
//!
//! The mildest mistake is a norm's epsilon that is too small. On input of variance 1 it moves the output by ε'/2 relative
//! to it, which the bound would hide from some 4,000 normalised elements on: half of the input is therefore fifty times
//! smaller, where the same mistake is a thousand times larger and the rounding the same. In half precision both engines
//! add up in float32 and round once, so there K does not matter; but half cannot tell an epsilon or GELU's mode from
//! rounding, so the verdict is always float32's.

use super::{Verdict, winograd};
use t2m_checkpoint::Dtype;

/// What a layer does to rounding errors, and over how many terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Elements are moved, not computed: none may differ.
    Copy,
    /// One element in, one out.
    Pointwise,
    /// One element in, one out, by an approximation whose error is relative to 1, however small the result is.
    Approximate,
    /// Sums of this many products (Linear: inputs; convolution: inputs of a group times kernel; attention: width).
    Contraction(usize),
    /// A convolution by Winograd's algorithm over this many channels: see [`super::winograd`].
    Winograd(usize),
    /// Normalised over this many elements.
    Norm(usize),
    /// Several layers, one after the other, of which the longest sum has this many products, times the depth squared.
    Stack(usize),
}

/// Errors above the tolerance and up to this share of the scale are drift; beyond it the conversion is wrong.
const BROKEN_F32: f64 = 1e-3;
/// Where broken begins in half precision, in units of ε·S.
const BROKEN_HALF: f64 = 8.0;
/// Roundings that every layer has.
const BASE: f64 = 4.0;
/// Two engines may be this many times torch's own distance from f64 apart.
const OWN_ERROR: f64 = 4.0;

impl Bound {
    /// The bound of these words: `copy`, `pointwise`, `approximate`, `contraction 6`, `norm 20`, `stack 24`.
    pub fn from_words(words: &str) -> Option<Bound> {
        match words.split_once(' ') {
            None if words == "copy" => Some(Bound::Copy),
            None if words == "pointwise" => Some(Bound::Pointwise),
            None if words == "approximate" => Some(Bound::Approximate),
            Some(("contraction", terms)) => terms.parse().ok().map(Bound::Contraction),
            Some(("norm", terms)) => terms.parse().ok().map(Bound::Norm),
            Some(("stack", terms)) => terms.parse().ok().map(Bound::Stack),
            _ => None,
        }
    }

    /// The largest absolute difference that rounding explains, for outputs of this scale, where torch itself is this
    /// far from torch in f64.
    pub fn tolerance(self, dtype: Dtype, scale: f64, torch_vs_f64: f64) -> f64 {
        match self {
            Bound::Stack(_) if dtype == Dtype::Float32 => self.together(scale, torch_vs_f64),
            _ => self.rounding(dtype, scale).max(own(torch_vs_f64)),
        }
    }

    /// The same for float32 where the errors of what was before have come to it: those, and its own.
    pub fn together(self, scale: f64, torch_vs_f64: f64) -> f64 {
        self.rounding(Dtype::Float32, scale) + own(torch_vs_f64)
    }

    /// The bound for a layer that does not amplify the rounding of its terms.
    fn rounding(self, dtype: Dtype, scale: f64) -> f64 {
        let growth = match self {
            Bound::Copy => return 0.0,
            Bound::Pointwise | Bound::Approximate => 0.25,
            Bound::Contraction(terms) | Bound::Stack(terms) => 0.75 * (terms as f64).sqrt(),
            Bound::Norm(terms) => 0.25 * (terms as f64).sqrt(),
            Bound::Winograd(channels) => winograd::gain() * (BASE + 0.75 * (channels as f64).sqrt()) - BASE,
        };
        let scale = if self == Bound::Approximate { scale.max(1.0) } else { scale };
        let roundings = if dtype == Dtype::Float32 { BASE + growth } else { BASE };
        epsilon(dtype) * scale * roundings
    }

    /// The verdict for a difference, given its tolerance.
    pub fn judge(self, dtype: Dtype, scale: f64, tolerance: f64, max_abs: f64) -> Verdict {
        let broken = match dtype {
            Dtype::Float32 => BROKEN_F32 * scale,
            _ => BROKEN_HALF * epsilon(dtype) * scale,
        };
        if max_abs == 0.0 {
            Verdict::Exact
        } else if max_abs <= tolerance {
            Verdict::Ok
        } else if max_abs <= broken {
            Verdict::Drift
        } else {
            Verdict::Broken // NaN lands here too
        }
    }
}

/// What two engines may be apart where torch itself is this far from float64; an overflow explains nothing.
fn own(torch_vs_f64: f64) -> f64 {
    if torch_vs_f64.is_finite() { OWN_ERROR * torch_vs_f64 } else { 0.0 }
}

/// The scale S of an output: its largest finite |element|.
pub fn scale(values: &[f64]) -> f64 {
    values.iter().filter(|value| value.is_finite()).fold(0.0, |largest, value| value.abs().max(largest))
}

/// Distance from 1 to the next number of this dtype.
pub fn epsilon(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::Float64 => f64::EPSILON,
        Dtype::Float16 => 2f64.powi(-10),
        Dtype::BFloat16 => 2f64.powi(-7),
        _ => f64::from(f32::EPSILON),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_grows_with_the_root_of_the_terms() {
        let ulps = |bound: Bound| bound.tolerance(Dtype::Float32, 1.0, 0.0) / epsilon(Dtype::Float32);
        assert_eq!(ulps(Bound::Contraction(4096)), 52.0);
        assert_eq!(ulps(Bound::Norm(4096)), 20.0);
        assert_eq!(ulps(Bound::Copy), 0.0);
        assert_eq!(Bound::Contraction(4096).tolerance(Dtype::BFloat16, 1.0, 0.0), 4.0 / 128.0);
    }

    #[test]
    fn verdicts_lie_where_the_rule_says() {
        let bound = Bound::Contraction(64);
        let tolerance = bound.tolerance(Dtype::Float32, 2.0, 0.0);
        let judge = |max_abs| bound.judge(Dtype::Float32, 2.0, tolerance, max_abs);
        assert_eq!(judge(0.0), Verdict::Exact);
        assert_eq!(judge(tolerance), Verdict::Ok);
        assert_eq!(judge(tolerance * 1.01), Verdict::Drift);
        assert_eq!(judge(2.0e-3), Verdict::Drift);
        assert_eq!(judge(2.1e-3), Verdict::Broken);
        assert_eq!(judge(f64::NAN), Verdict::Broken);
        assert_eq!(judge(f64::INFINITY), Verdict::Broken);
    }

    #[test]
    fn nothing_but_zero_passes_a_copy() {
        let judge = |bound: Bound, scale, max_abs| {
            bound.judge(Dtype::Float32, scale, bound.tolerance(Dtype::Float32, scale, 0.0), max_abs)
        };
        assert_eq!(judge(Bound::Copy, 1.0, 0.0), Verdict::Exact);
        assert_eq!(judge(Bound::Copy, 1.0, 1e-9), Verdict::Drift);
        assert_eq!(judge(Bound::Pointwise, 0.0, 1e-30), Verdict::Broken);
    }

    #[test]
    fn where_torch_itself_is_off_more_is_allowed() {
        let tolerance = |own| Bound::Pointwise.tolerance(Dtype::Float32, 1.0, own);
        assert_eq!(tolerance(1e-3), 4e-3);
        assert_eq!(tolerance(1e-9), tolerance(0.0));
        assert_eq!(tolerance(f64::INFINITY), tolerance(0.0), "an overflow explains nothing");
        assert_eq!(Bound::Pointwise.judge(Dtype::Float32, 1.0, 4e-3, 3e-3), Verdict::Ok);
    }

    #[test]
    fn an_approximation_is_as_good_near_zero_as_elsewhere() {
        let tolerance = |scale| Bound::Approximate.tolerance(Dtype::Float32, scale, 0.0);
        assert_eq!((tolerance(0.25), tolerance(2.0)), (tolerance(1.0), 2.0 * tolerance(1.0)));
        assert_eq!(tolerance(1.0), Bound::Pointwise.tolerance(Dtype::Float32, 1.0, 0.0));
    }

    #[test]
    fn what_layers_before_left_is_added_to_the_rounding_of_the_last() {
        let rounding = Bound::Stack(32).tolerance(Dtype::Float32, 1.0, 0.0);
        assert_eq!(rounding, Bound::Contraction(32).tolerance(Dtype::Float32, 1.0, 0.0));
        assert_eq!(Bound::Stack(32).tolerance(Dtype::Float32, 1.0, 1e-3), rounding + 4e-3);
        assert_eq!(Bound::Contraction(32).together(1.0, 1e-3), rounding + 4e-3);
        assert_eq!(Bound::Stack(32).tolerance(Dtype::Float32, 1.0, f64::INFINITY), rounding);
        // A decoder of two norms over four elements each (torch.testing's Transformer_019): 2.8e-6 apart, torch 3.9e-7 off.
        let decoder =
            |bound: Bound| bound.judge(Dtype::Float32, 1.63, bound.tolerance(Dtype::Float32, 1.63, 3.9e-7), 2.8e-6);
        assert_eq!((decoder(Bound::Contraction(32)), decoder(Bound::Stack(32))), (Verdict::Drift, Verdict::Ok));
    }

    #[test]
    fn the_scale_is_the_largest_finite_element() {
        assert_eq!(scale(&[1.0, -3.0, f64::INFINITY, f64::NAN]), 3.0);
        assert_eq!(scale(&[]), 0.0);
    }
}
