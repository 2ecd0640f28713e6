//! Several torch tensors made one, and one cut into parts.

use std::borrow::Cow;

use super::layout::part_length;
use super::{Error, Fold, Move};
use t2m_checkpoint::{Dtype, TensorData};

/// The fold of the sources, in torch's layout.
pub(super) fn fold<'t>(step: &Move, sources: &[&'t TensorData]) -> Result<Cow<'t, TensorData>, Error> {
    let made = match (&step.fold, sources) {
        (Fold::One, [tensor]) => return Ok(Cow::Borrowed(*tensor)),
        (Fold::Part { index, of }, [tensor]) => part(tensor, *index, *of, &step.sources()),
        (Fold::Sum, [first, rest @ ..]) => combine(step, first, rest, |_, sum, add| sum + add),
        (Fold::GruBias, [input, hidden]) => {
            let gates = part_length(&input.shape, 3, &step.sources())? * 2;
            combine(step, input, &[hidden], |at, sum, add| if at < gates { sum + add } else { sum })
        }
        (Fold::WeightNorm { dim }, [norm, direction]) => weight_norm(step, norm, direction, *dim),
        (Fold::Offset(offset), [tensor]) => {
            let values: Vec<f64> = numbers(step, tensor)?.iter().map(|value| value + offset).collect();
            rounded(step, tensor.shape.clone(), &values, tensor.dtype)
        }
        (Fold::Standardised { eps, scale }, [weight]) => standardised(step, weight, None, *eps, *scale),
        (Fold::Standardised { eps, scale }, [weight, gain]) => standardised(step, weight, Some(gain), *eps, *scale),
        (Fold::Zeros(shape), []) => Ok(TensorData::from_f32(shape, &vec![0.0; shape.iter().product()])),
        _ => Err(fault(step, format!("{} tensors were given for it", sources.len()))),
    };
    made.map(Cow::Owned)
}

fn part(tensor: &TensorData, index: usize, of: usize, from: &str) -> Result<TensorData, Error> {
    let length = part_length(&tensor.shape, of, from)?;
    let mut shape = tensor.shape.clone();
    shape[0] = length;
    let size = shape.iter().product::<usize>() * tensor.dtype.size();
    let bytes = tensor.bytes.get(index * size..(index + 1) * size);
    let missing = || Error::Shape { from: from.to_owned(), reason: format!("part {index} lies beyond them") };
    Ok(TensorData { dtype: tensor.dtype, shape, bytes: bytes.ok_or_else(missing)?.to_vec() })
}

/// Element by element, with the element's position.
fn combine(
    step: &Move,
    first: &TensorData,
    rest: &[&TensorData],
    with: impl Fn(usize, f64, f64) -> f64,
) -> Result<TensorData, Error> {
    let mut values = numbers(step, first)?;
    for other in rest {
        if (&other.shape, other.dtype) != (&first.shape, first.dtype) {
            let (left, right) = (describe(first), describe(other));
            return Err(fault(step, format!("{left} and {right} do not go together")));
        }
        for (at, (value, add)) in values.iter_mut().zip(numbers(step, other)?).enumerate() {
            *value = with(at, *value, add);
        }
    }
    rounded(step, first.shape.clone(), &values, first.dtype)
}

/// `g` has one element for each index of `dim` (or one in all), `v` the weight's shape.
fn weight_norm(
    step: &Move,
    norm: &TensorData,
    direction: &TensorData,
    dim: Option<usize>,
) -> Result<TensorData, Error> {
    let (g, mut v) = (numbers(step, norm)?, numbers(step, direction)?);
    let (kept, slice) = slice_of(step, direction, dim)?;
    if g.len() != kept {
        return Err(fault(step, format!("{} norms for {kept} slices of {}", g.len(), describe(direction))));
    }
    let mut squares = vec![0.0; kept];
    v.iter().enumerate().for_each(|(at, value)| squares[slice(at)] += value * value);
    v.iter_mut().enumerate().for_each(|(at, value)| *value *= g[slice(at)] / squares[slice(at)].sqrt());
    rounded(step, direction.shape.clone(), &v, direction.dtype)
}

/// How many norms a weight norm has, and which of them an element belongs to.
pub(super) fn slice_of(
    step: &Move,
    direction: &TensorData,
    dim: Option<usize>,
) -> Result<(usize, impl Fn(usize) -> usize + use<>), Error> {
    let shape = &direction.shape;
    let (kept, inner) = match dim {
        None => (1, shape.iter().product::<usize>()),
        Some(dim) => match shape.get(dim..) {
            Some([length, behind @ ..]) => (*length, behind.iter().product()),
            _ => return Err(fault(step, format!("{} has no axis {dim}", describe(direction)))),
        },
    };
    Ok((kept, move |at: usize| at / inner.max(1) % kept.max(1)))
}

/// Each slice along axis 0 made of mean 0 and variance 1, then scaled.
fn standardised(
    step: &Move,
    weight: &TensorData,
    gain: Option<&TensorData>,
    eps: f64,
    scale: f64,
) -> Result<TensorData, Error> {
    let channels = weight.shape.first().copied().unwrap_or(1);
    let (mut values, gain) = (numbers(step, weight)?, gain.map(|gain| numbers(step, gain)).transpose()?);
    let length = (values.len() / channels.max(1)).max(1);
    if let Some(gain) = gain.as_ref().filter(|gain| gain.len() != channels) {
        return Err(fault(step, format!("{} gains for {channels} channels", gain.len())));
    }
    for (channel, slice) in values.chunks_mut(length).enumerate() {
        let mean = slice.iter().sum::<f64>() / length as f64;
        let variance = slice.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / length as f64;
        let factor = scale * gain.as_ref().map_or(1.0, |gain| gain[channel]) / (variance + eps).sqrt();
        slice.iter_mut().for_each(|value| *value = (*value - mean) * factor);
    }
    rounded(step, weight.shape.clone(), &values, weight.dtype)
}

fn numbers(step: &Move, tensor: &TensorData) -> Result<Vec<f64>, Error> {
    tensor.to_f64().ok_or_else(|| fault(step, format!("{} cannot be computed with", describe(tensor))))
}

fn rounded(step: &Move, shape: Vec<usize>, values: &[f64], dtype: Dtype) -> Result<TensorData, Error> {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let exact = TensorData { dtype: Dtype::Float64, shape, bytes };
    exact.cast(dtype).ok_or_else(|| fault(step, format!("{} cannot be computed with", dtype.name())))
}

fn describe(tensor: &TensorData) -> String {
    format!("{} {:?}", tensor.dtype.name(), tensor.shape)
}

fn fault(step: &Move, reason: String) -> Error {
    Error::Sources { from: step.sources(), reason }
}
