//! Norms that add one to their weight: with the one added, not added, added twice.

use super::rounding::Rounding;
use super::{Error, Ours, Verdict};
use crate::plan::weights::Fold;
use t2m_checkpoint::TensorData;

/// Where ours adds an offset: whether theirs holds torch's weight as it is, or with the offset added twice.
pub(super) fn judge(ours: &Ours<'_>, found: &TensorData) -> Result<Option<Verdict>, Error> {
    let (Fold::Offset(offset), [source]) = (&ours.step.fold, &ours.from[..]) else { return Ok(None) };
    let raw = ours.torch.read(*source)?;
    if raw.shape != found.shape {
        return Ok(None);
    }
    if raw.cast(found.dtype).is_some_and(|raw| raw.bytes == found.bytes) {
        return Ok(Some(Verdict::Unshifted { offset: *offset }));
    }
    // Two offsets are three terms.
    let twice = apart_by(&raw, found, 2.0 * offset, 5.0);
    Ok(twice.then_some(Verdict::ShiftedTwice { offset: *offset }))
}

/// Where every number of theirs is one more, or one less, than ours: what is to be said of it.
pub(super) fn by_one(made: &TensorData, found: &TensorData) -> Option<&'static str> {
    // A single number is one more than another by chance.
    if made.shape != found.shape || made.shape.iter().product::<usize>() < 2 {
        return None;
    }
    if apart_by(made, found, 1.0, 4.0) {
        Some("every number is 1 more than ours: a norm that computes with 1 + weight")
    } else if apart_by(made, found, -1.0, 4.0) {
        Some("every number is 1 less than ours: the weight of a norm that adds the 1 at run time")
    } else {
        None
    }
}

/// Whether each number of the second is the first's plus this, but for so many roundings.
fn apart_by(first: &TensorData, second: &TensorData, by: f64, roundings: f64) -> bool {
    let (Some(rounding), Some(first), Some(second)) =
        (Rounding::coarsest([first.dtype, second.dtype]), first.to_f64(), second.to_f64())
    else {
        return false;
    };
    let fits =
        |(first, second): (&f64, &f64)| (second - first - by).abs() <= rounding.of(roundings, first.abs() + by.abs());
    first.iter().zip(&second).all(fits)
}
