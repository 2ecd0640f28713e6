//! What a node's two results say.

use crate::compare::Verdict;
use crate::compare::statistics::{difference, unravel};
use crate::compare::tolerance::{self, Bound};
use t2m_checkpoint::{Dtype, TensorData};

/// How many times torch's own distance from float64 MLX may be apart from torch where rounding has come together over many
/// nodes. Each engine's error at a value is what the same amplification made of roundings of the same size, so that the two
/// are of one order; what differs is the order of sums. 3 is the largest ratio that a sum of K terms in plain order has against
/// torch's blocked one at the lengths that occur, squared for two engines apart: 9, and as much again for chance.
const AMPLIFIED: f64 = 18.0;

/// A difference with its bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Largest absolute difference; infinite where one side is NaN and the other is not.
    pub max_abs: f64,
    /// Mean absolute difference.
    pub mean_abs: f64,
    /// Cosine of the two as vectors.
    pub cosine: f64,
    /// Where the largest difference is.
    pub worst_index: Vec<usize>,
    /// The bound for `ok`.
    pub tolerance: f64,
    /// Largest |value|.
    pub scale: f64,
    /// Largest distance of torch's float32 to torch's float64.
    pub torch_vs_f64: f64,
    /// Largest distance of MLX to torch's float64.
    pub mlx_vs_f64: f64,
    /// By the rule.
    pub verdict: Verdict,
}

/// The three values of one result.
#[derive(Debug, Clone, Copy)]
pub struct Three<'a> {
    /// Torch's, in float32.
    pub torch: &'a TensorData,
    /// Torch's, in float64.
    pub exact: &'a TensorData,
    /// MLX's.
    pub mlx: &'a TensorData,
}

/// Whether the numbers of a node alone are judged, or what has come together up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Both engines had torch's values.
    Isolated,
    /// MLX had its own.
    Accumulated,
}

/// Compare one result.
///
/// # Errors
/// In words: shapes that differ, or a type whose numbers are not read.
pub fn compare(three: Three<'_>, bound: Bound, view: View) -> Result<Measured, String> {
    let Three { torch, exact, mlx } = three;
    if torch.shape != mlx.shape {
        return Err(format!("MLX's result has shape {:?}, torch's {:?}", mlx.shape, torch.shape));
    }
    let numbers = |tensor: &TensorData| tensor.to_f64().ok_or_else(|| format!("results in {}", tensor.dtype.name()));
    let (reference, values) = (numbers(torch)?, numbers(mlx)?);
    let exact = if exact.shape == torch.shape { numbers(exact)? } else { reference.clone() };
    let scale = tolerance::scale(&reference);
    let torch_vs_f64 = finite_distance(&exact, &reference);
    // Whole numbers and truth values are right or wrong.
    let bound = if torch.dtype.is_floating() { bound } else { Bound::Copy };
    let own = if torch.dtype.is_floating() { torch_vs_f64 } else { 0.0 };
    let tolerance = match view {
        View::Isolated if bound == Bound::Copy => 0.0,
        View::Isolated => bound.tolerance(Dtype::Float32, scale, own),
        View::Accumulated if !torch.dtype.is_floating() => 0.0,
        View::Accumulated => {
            let node = match bound {
                Bound::Copy => Bound::Pointwise,
                other => other,
            };
            node.tolerance(Dtype::Float32, scale, 0.0) + AMPLIFIED * own
        }
    };
    let apart = difference(&reference, &values, tolerance);
    Ok(Measured {
        max_abs: apart.max_abs,
        mean_abs: apart.mean_abs,
        cosine: apart.cosine,
        worst_index: unravel(apart.worst, &torch.shape),
        tolerance,
        scale,
        torch_vs_f64,
        mlx_vs_f64: finite_distance(&exact, &values),
        verdict: bound.judge(Dtype::Float32, scale, tolerance, apart.max_abs),
    })
}

/// The largest difference over the places where both are finite: an overflow in float32 says nothing of rounding.
fn finite_distance(exact: &[f64], values: &[f64]) -> f64 {
    let both = exact.iter().zip(values).filter(|(a, b)| a.is_finite() && b.is_finite());
    both.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Whether a tensor has a NaN.
pub fn has_nan(tensor: &TensorData) -> bool {
    tensor.dtype.is_floating() && tensor.to_f32().is_some_and(|values| values.iter().any(|value| value.is_nan()))
}
