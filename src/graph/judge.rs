//! What a node's two results say.

use crate::compare::Verdict;
use crate::compare::pass::pass;
use crate::compare::statistics::unravel;
use crate::compare::tolerance::{Bound, epsilon};
use t2m_checkpoint::{Dtype, TensorData};

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
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum View {
    /// Both engines had torch's values.
    Isolated,
    /// MLX had its own.
    Accumulated(Inherited),
}

/// What the values that a node takes may be apart, by their own tolerances.
///
/// Torch's distance from float64 is a single draw: at a value of few elements it may be near 0 by luck, and luck stays with what is
/// computed of it. Nor does it show what MLX alone rounds, which the rule of the node that did so allows. So that a value's tolerance
/// does not forget at once what its inputs' were.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Inherited {
    /// The largest tolerance.
    tolerance: f64,
    /// The largest one relative to its value's scale.
    relative: f64,
}

/// So much of a value's relative tolerance is added to that of what is computed of it: luck has half of its weight one node later.
const KEPT: f64 = 0.5;

impl Inherited {
    /// Of a value with this tolerance and scale.
    pub fn of(tolerance: f64, scale: f64) -> Inherited {
        Inherited { tolerance, relative: if scale > 0.0 { tolerance / scale } else { 0.0 } }
    }

    /// Of several.
    pub fn all(all: impl Iterator<Item = Inherited>) -> Inherited {
        all.fold(Inherited::default(), |most, one| Inherited {
            tolerance: most.tolerance.max(one.tolerance),
            relative: most.relative.max(one.relative),
        })
    }

    /// Of a value of this scale that both sides round to half precision after that: where they lie on both sides of a boundary, what is
    /// left of it is one unit of its last place.
    pub fn rounded(self, dtype: Dtype, scale: f64) -> Inherited {
        Inherited::of(self.tolerance + epsilon(dtype) * scale, scale)
    }

    /// Whether a difference of this size is within it.
    pub fn allows(self, apart: f64) -> bool {
        apart <= self.tolerance
    }
}

/// Compare one result; `known` is how far off the algorithm of MLX is known to be on these numbers.
///
/// # Errors
/// In words: shapes that differ, or a type whose numbers are not read.
pub fn compare(three: Three<'_>, bound: Bound, view: View, known: f64) -> Result<Measured, String> {
    let Three { torch, exact, mlx } = three;
    if torch.shape != mlx.shape {
        return Err(format!("MLX's result has shape {:?}, torch's {:?}", mlx.shape, torch.shape));
    }
    let exact = (exact.shape == torch.shape).then_some(exact);
    let pass = pass(torch, exact, mlx).map_err(|dtype| format!("results in {}", dtype.name()))?;
    let scale = pass.scale;
    // Whole numbers and truth values are right or wrong.
    let bound = if torch.dtype.is_floating() { bound } else { Bound::Copy };
    let own = if torch.dtype.is_floating() { pass.torch_vs_f64 } else { 0.0 };
    let tolerance = match view {
        View::Isolated if bound == Bound::Copy => 0.0,
        View::Isolated => bound.tolerance(Dtype::Float32, scale, own) + known,
        View::Accumulated(_) if !torch.dtype.is_floating() => 0.0,
        View::Accumulated(inherited) => {
            // What is only moved was computed somewhere.
            let node = if bound == Bound::Copy { Bound::Pointwise } else { bound };
            let tolerance = node.together(scale, own);
            match bound {
                // Elements that are moved stay as far apart as they were.
                Bound::Copy => tolerance.max(inherited.tolerance),
                _ => tolerance + KEPT * inherited.relative * scale + known,
            }
        }
    };
    Ok(Measured {
        max_abs: pass.max_abs,
        mean_abs: pass.mean_abs,
        cosine: pass.cosine,
        worst_index: unravel(pass.worst, &torch.shape),
        tolerance,
        scale,
        torch_vs_f64: pass.torch_vs_f64,
        mlx_vs_f64: pass.mlx_vs_f64,
        verdict: bound.judge(Dtype::Float32, scale, tolerance, pass.max_abs),
    })
}
