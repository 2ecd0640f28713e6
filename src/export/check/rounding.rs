//! Tensors that are computed (folds, sums, offsets): how far two that compute the same may be apart.
//!
//! Ours is computed in f64 and rounded once. Theirs is computed in some type, in some order. Let u be the unit roundoff of
//! the coarsest type among the sources, ours and theirs (2⁻²⁴ for float32, 2⁻¹¹ for float16, 2⁻⁸ for bfloat16): no rounding
//! on either side costs more than u relative to what is rounded. Then, element by element:
//!
//! - **A sum** of m terms. A term meets the cast of its source, m − 1 additions, the rounding to the type of the file, and
//!   ours: k = m + 2 roundings, so the sums are at most γₖ·Σ|aᵢ| apart, γₖ = k·u/(1 − k·u). The magnitudes are those of the
//!   terms, not of the sum, which may cancel. **An offset** w + c is a sum of two terms, |w| + |c|. GRU's biases are sums
//!   of two for the gates r and z, and of one for n.
//! - **A weight norm** g·v/‖v‖ over n elements. Casts of g and v, the root, the quotient, the product, the rounding to the
//!   file's type and ours: 7 roundings of the value, 8 allowed. The sum under the root has n terms of one sign; its n
//!   roundings add up like a random walk, to √n·u of it, and the root halves that. Halves are added up in float32 by torch,
//!   MLX and NumPy, so that the walk has steps of 2⁻²⁴ at most. Together |value|·(8·u + √n/2·min(u, 2⁻²⁴)), which is the
//!   bound that `compare/tolerance.rs` has for norms.
//! - **A standardised weight** (w − mean)/σ·gain over n elements of a channel. The difference cancels: what is rounded is as
//!   large as the channel's largest |w|, so the same bound holds of max|w|/σ·|gain| in the place of the value.
//!
//! Below the normal numbers a rounding costs up to half of the smallest subnormal instead: k of these are added.

use super::{Error, Ours, Verdict};
use crate::plan::Move;
use crate::plan::weights::{Fold, Rule};
use t2m_checkpoint::{Dtype, TensorData};

/// Roundings of a value that are not those of a long sum.
const ROUNDINGS: f64 = 8.0;
/// The share of √n that the roundings under a root have.
const UNDER_ROOT: f64 = 0.5;

/// What rounding to a type costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounding {
    /// Unit roundoff: the largest error relative to a normal number.
    pub unit: f64,
    /// Half of the smallest subnormal number: the largest error of what is smaller.
    pub least: f64,
}

impl Rounding {
    /// That of a type; `None` where it has no fraction.
    pub fn to(dtype: Dtype) -> Option<Rounding> {
        let (unit, least) = match dtype {
            Dtype::Float64 => (-53, -1075),
            Dtype::Float32 => (-24, -150),
            Dtype::Float16 => (-11, -25),
            Dtype::BFloat16 => (-8, -134),
            _ => return None,
        };
        Some(Rounding { unit: 2f64.powi(unit), least: 2f64.powi(least) })
    }

    /// That of the coarsest of several types.
    pub fn coarsest(dtypes: impl IntoIterator<Item = Dtype>) -> Option<Rounding> {
        let all = dtypes.into_iter().map(Rounding::to).collect::<Option<Vec<_>>>()?;
        all.into_iter().reduce(|a, b| Rounding { unit: a.unit.max(b.unit), least: a.least.max(b.least) })
    }

    /// What k roundings of terms of this size may add up to.
    pub fn of(&self, k: f64, size: f64) -> f64 {
        k * self.unit / (1.0 - k * self.unit) * size + k * self.least
    }

    /// What may be lost of a value, or of what it cancels from, that a norm over n elements gave.
    fn of_norm(&self, n: usize, size: f64) -> f64 {
        let walk = UNDER_ROOT * (n as f64).sqrt() * self.unit.min(2f64.powi(-24));
        (ROUNDINGS * self.unit + walk) * size + ROUNDINGS * self.least
    }
}

/// The largest difference, and what rounding explains of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Apart {
    max_abs: f64,
    tolerance: f64,
}

/// Whether the other tensor is ours but for rounding, where ours is computed; `None` where it is not.
pub(super) fn judge(ours: &Ours<'_>, made: &TensorData, found: &TensorData) -> Result<Option<Verdict>, Error> {
    if made.shape != found.shape || !is_computed(&ours.step.fold) {
        return Ok(None);
    }
    let sources: Vec<TensorData> = ours.from.iter().map(|&id| ours.torch.read(id)).collect::<Result<_, _>>()?;
    let dtypes = sources.iter().map(|source| source.dtype).chain([made.dtype, found.dtype]);
    let Some(rounding) = Rounding::coarsest(dtypes) else { return Ok(None) };
    let Some(allowed) = allowed(&ours.step, &sources, &rounding) else { return Ok(None) };
    let apart = match (made.to_f64(), found.to_f64()) {
        (Some(ours), Some(theirs)) => within(&ours, &theirs, &allowed),
        _ => None,
    };
    Ok(apart.map(|Apart { max_abs, tolerance }| Verdict::EqualToRounding { max_abs, tolerance }))
}

fn is_computed(fold: &Fold) -> bool {
    match fold {
        Fold::One | Fold::Part { .. } | Fold::Zeros(_) => false,
        Fold::Sum | Fold::GruBias | Fold::WeightNorm { .. } | Fold::Offset(_) | Fold::Standardised { .. } => true,
    }
}

/// The largest difference, where no element is further off than it may be.
fn within(ours: &[f64], theirs: &[f64], allowed: &[f64]) -> Option<Apart> {
    let mut most = Apart { max_abs: 0.0, tolerance: 0.0 };
    for ((&ours, &theirs), &tolerance) in ours.iter().zip(theirs).zip(allowed) {
        if ours == theirs || (ours.is_nan() && theirs.is_nan()) {
            continue;
        }
        let apart = (ours - theirs).abs();
        // Neither holds of NaN and infinity.
        if !(apart <= tolerance && apart.is_finite()) {
            return None;
        }
        if apart > most.max_abs {
            most = Apart { max_abs: apart, tolerance };
        }
    }
    Some(most)
}

/// What each element may be off, in the layout of ours.
fn allowed(step: &Move, sources: &[TensorData], rounding: &Rounding) -> Option<Vec<f64>> {
    let last = sources.last()?;
    let sizes =
        |tensor: &TensorData| tensor.to_f64().map(|values| values.into_iter().map(f64::abs).collect::<Vec<_>>());
    let bounds: Vec<f64> = match &step.fold {
        Fold::Sum | Fold::GruBias => {
            let mut sums = sizes(&sources[0])?;
            let gates = if step.fold == Fold::GruBias { sums.len() / 3 * 2 } else { sums.len() };
            for source in &sources[1..] {
                sums.iter_mut().zip(sizes(source)?).take(gates).for_each(|(sum, size)| *sum += size);
            }
            let k = sources.len() as f64 + 2.0;
            sums.into_iter().map(|sum| rounding.of(k, sum)).collect()
        }
        Fold::Offset(offset) => sizes(last)?.into_iter().map(|size| rounding.of(4.0, size + offset.abs())).collect(),
        Fold::WeightNorm { dim } => {
            let folded = Move { rule: Rule::identity(), ..step.clone() }.apply(&sources.iter().collect::<Vec<_>>());
            let kept = dim.and_then(|dim| last.shape.get(dim).copied()).unwrap_or(1).max(1);
            let values = sizes(&folded.ok()?)?;
            let n = values.len() / kept;
            values.into_iter().map(|value| rounding.of_norm(n, value)).collect()
        }
        Fold::Standardised { eps, scale } => {
            let (weight, gain) = (&sources[0], sources.get(1).map(TensorData::to_f64));
            let channels = weight.shape.first().copied().unwrap_or(1).max(1);
            let values = weight.to_f64()?;
            let n = (values.len() / channels).max(1);
            let mut bounds = Vec::with_capacity(values.len());
            for (channel, slice) in values.chunks(n).enumerate() {
                let gain = gain.as_ref().map_or(Some(1.0), |gain| gain.as_ref()?.get(channel).copied())?;
                let mean = slice.iter().sum::<f64>() / slice.len() as f64;
                let variance = slice.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / slice.len() as f64;
                let largest = slice.iter().fold(0.0f64, |most, value| most.max(value.abs()));
                let size = largest / (variance + eps).sqrt() * (gain * scale).abs();
                bounds.extend(std::iter::repeat_n(rounding.of_norm(n, size), slice.len()));
            }
            bounds
        }
        Fold::One | Fold::Part { .. } | Fold::Zeros(_) => return None,
    };
    let folded = if let Fold::Standardised { .. } = step.fold { &sources[0] } else { last };
    let bytes = bounds.iter().flat_map(|bound| bound.to_le_bytes()).collect();
    let bounds = TensorData { dtype: Dtype::Float64, shape: folded.shape.clone(), bytes };
    let laid_out = Move { fold: Fold::One, ..step.clone() };
    laid_out.apply(&[&bounds]).ok()?.to_f64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_coarsest_type_decides() {
        let unit = |dtypes: &[Dtype]| Rounding::coarsest(dtypes.iter().copied()).map(|rounding| rounding.unit);
        assert_eq!(unit(&[Dtype::Float32, Dtype::Float16]), Some(2f64.powi(-11)));
        assert_eq!(unit(&[Dtype::Float32, Dtype::Float64]), Some(2f64.powi(-24)));
        assert_eq!(unit(&[Dtype::BFloat16, Dtype::Float16]), Some(2f64.powi(-8)));
        assert_eq!(unit(&[Dtype::Float32, Dtype::Int8]), None);
    }

    #[test]
    fn a_sum_that_cancels_may_be_off_by_its_terms() {
        let (a, b) = (TensorData::from_f32(&[1], &[1000.0]), TensorData::from_f32(&[1], &[-999.999]));
        let rounding = Rounding::to(Dtype::Float32).unwrap();
        let bound = allowed(&Move::fold(&["a", "b"], "bias", Fold::Sum), &[a, b], &rounding).unwrap()[0];
        assert!((bound / (4.0 * 2f64.powi(-24) * 1999.999) - 1.0).abs() < 1e-5, "{bound}");
    }

    #[test]
    fn the_bounds_lie_where_the_elements_lie() {
        let (g, v) =
            (TensorData::from_f32(&[2, 1], &[1.0, 100.0]), TensorData::from_f32(&[2, 2], &[3.0, 4.0, 3.0, 4.0]));
        let fold = Fold::WeightNorm { dim: Some(0) };
        let step = Move::fold(&["g", "v"], "weight", fold).by(Rule::axes("turned", &[1, 0]));
        let bounds = allowed(&step, &[g, v], &Rounding::to(Dtype::Float32).unwrap()).unwrap();
        // [0.6, 60, 0.8, 80] in the layout of ours.
        assert!((bounds[1] / bounds[0] - 100.0).abs() < 1e-3 && bounds[2] < bounds[1], "{bounds:?}");
    }

    #[test]
    fn nothing_explains_infinity() {
        assert!(within(&[f64::INFINITY], &[1.0], &[f64::INFINITY]).is_none());
        assert!(within(&[f64::NAN], &[1.0], &[1.0]).is_none());
        assert!(within(&[f64::NAN, f64::INFINITY], &[f64::NAN, f64::INFINITY], &[0.0, 0.0]).is_some());
    }
}
