//! What a tensor of the other file is to ours.

use super::{Error, Ours, There, Verdict, quantized, rearranged, rounding, shifted};
use crate::compare::statistics::difference;
use crate::plan::weights::{Fold, Layout, permute};
use t2m_checkpoint::{Dtype, TensorData, TensorId};

/// No tensor of more axes is tried in every order.
const MOST_AXES: usize = 5;
/// Numbers that are looked at together.
const PIECE: usize = 1 << 16;

pub(super) fn judge(ours: &Ours<'_>, there: &There<'_>, id: TensorId) -> Result<Verdict, Error> {
    let (made, other) = (ours.make()?, there.file);
    if let Some([scales, biases]) = quantized::parts(there, id) {
        let parts = [other.read(id)?, other.read(scales)?, other.read(biases)?];
        return Ok(quantized::judge(&made, &parts));
    }
    let found = other.read(id)?;
    // Trying every order is expensive: only where the question comes before equality.
    if let Some(doubt) = ours.doubt
        && let Some(Verdict::Transposed { axes, .. }) = transposed(ours, &found)?
    {
        return Ok(Verdict::Unjudged { axes, reason: doubt.to_string() });
    }
    if made.shape == found.shape {
        if made.dtype == found.dtype && made.bytes == found.bytes {
            return Ok(Verdict::Equal);
        }
        if made.dtype != found.dtype && made.cast(found.dtype).is_some_and(|cast| cast.bytes == found.bytes) {
            return Ok(cast(&made, &found));
        }
    }
    let told = [transposed(ours, &found)?, rounding::judge(ours, &made, &found)?, shifted::judge(ours, &found)?];
    Ok(told.into_iter().flatten().next().unwrap_or_else(|| different(&made, &found)))
}

/// A tensor's bytes, a block of numbers at a time.
fn pieces(tensor: &TensorData) -> std::slice::Chunks<'_, u8> {
    tensor.bytes.chunks(PIECE * tensor.dtype.size())
}

/// Whether a tensor is ours in another type: no number may be lost by it altogether.
pub(super) fn cast(made: &TensorData, found: &TensorData) -> Verdict {
    // Piece by piece: as f64 a large tensor would take many times its memory.
    let numbers = |dtype: Dtype, bytes: &[u8]| {
        let shape = vec![bytes.len() / dtype.size()];
        TensorData { dtype, shape, bytes: bytes.to_vec() }.to_f64().unwrap_or_default()
    };
    let lost = |(ours, theirs): (&[u8], &[u8])| {
        let (ours, theirs) = (numbers(made.dtype, ours), numbers(found.dtype, theirs));
        ours.iter().zip(&theirs).filter(|(ours, theirs)| ours.is_finite() && !theirs.is_finite()).count()
    };
    let infinite: usize = pieces(made).zip(pieces(found)).map(lost).sum();
    if infinite == 0 {
        return Verdict::Cast(found.dtype);
    }
    let what = format!("cast to {}, in which {infinite} numbers became infinite", found.dtype.name());
    Verdict::Different { max_abs: None, what }
}

/// The order of torch's axes that gives the other tensor, where there is one.
fn transposed(ours: &Ours<'_>, found: &TensorData) -> Result<Option<Verdict>, Error> {
    let [source] = ours.from.as_slice() else { return Ok(None) };
    let raw = ours.torch.read(*source)?;
    let rank = raw.shape.len();
    if ours.step.fold != Fold::One || rank != found.shape.len() || !(2..=MOST_AXES).contains(&rank) {
        return Ok(None);
    }
    let Some(raw) = raw.cast(found.dtype) else { return Ok(None) };
    let wanted = match &ours.step.rule.layout {
        _ if ours.doubt.is_some() => None,
        Layout::Keep => Some((0..rank).collect()),
        Layout::Axes { axes, groups: 1 } => Some(axes.clone()),
        _ => None,
    };
    for axes in orders(rank) {
        if axes.iter().zip(&found.shape).any(|(&axis, &size)| raw.shape[axis] != size) || Some(&axes) == wanted.as_ref()
        {
            continue;
        }
        if permute(&raw, &axes).is_ok_and(|moved| moved.bytes == found.bytes) {
            return Ok(Some(Verdict::Transposed { axes, wanted }));
        }
    }
    Ok(None)
}

/// Every order of this many axes, the given one first.
fn orders(rank: usize) -> Vec<Vec<usize>> {
    let mut orders: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..rank {
        let longer = |order: Vec<usize>| {
            let rest = (0..rank).filter(|axis| !order.contains(axis)).collect::<Vec<_>>();
            rest.into_iter().map(move |axis| [order.as_slice(), &[axis]].concat())
        };
        orders = orders.into_iter().flat_map(longer).collect();
    }
    orders
}

fn different(made: &TensorData, found: &TensorData) -> Verdict {
    if made.shape != found.shape {
        let what = format!("shape {:?} where {:?} is right", found.shape, made.shape);
        return Verdict::Different { max_abs: None, what };
    }
    let (Some(ours), Some(theirs)) = (made.to_f64(), found.to_f64()) else {
        let what = format!("{} and {} cannot be subtracted", made.dtype.name(), found.dtype.name());
        return Verdict::Different { max_abs: None, what };
    };
    let apart = difference(&ours, &theirs, 0.0);
    let largest = |values: &[f64]| values.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    let (scale, theirs_scale) = (largest(&ours), largest(&theirs));
    drop((ours, theirs));
    // Looking for an order is expensive. The same numbers have the same largest, but for a cast.
    let may_be_moved = (scale - theirs_scale).abs() <= 0.01 * scale;
    let known = shifted::by_one(made, found).map(str::to_owned);
    let known = known.or_else(|| if may_be_moved { rearranged::rearranged(made, found) } else { None });
    let known = known.map(|known| format!("{known}; ")).unwrap_or_default();
    let types = if made.dtype == found.dtype {
        String::new()
    } else {
        format!("{} beside {}; ", found.dtype.name(), made.dtype.name())
    };
    let what = format!("{known}{types}the largest of ours is {scale:.3e}");
    Verdict::Different { max_abs: Some(apart.max_abs), what }
}
