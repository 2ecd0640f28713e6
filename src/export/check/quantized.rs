//! Weights that `mlx.nn.quantize` packed: `w ≈ scale · q + bias` by groups along the last axis, q in a stream of bits.

use super::pieces::{Found, Piece};
use super::rounding::Rounding;
use super::{Error, Ours, There, Verdict, order};
use t2m_checkpoint::{Dtype, TensorData, TensorId};

/// Scales and biases beside packed words; `None` where the tensor is no such weight.
pub(super) fn parts(there: &There<'_>, id: TensorId) -> Option<[TensorId; 2]> {
    let weight = there.file.tensors.get(id).filter(|weight| weight.dtype == Dtype::UInt32)?;
    let prefix = weight.name.strip_suffix("weight")?;
    let find = |name: &str| there.find(&format!("{prefix}{name}"));
    Some([find("scales")?, find("biases")?])
}

/// Slots of a stack that are tried for one of ours that is not in its own.
const MOST_SLOTS: usize = 512;
/// What Mixtral calls the parts of an expert, and what mlx-lm does.
const PARTS: [(&str, &str); 3] = [("w1", "gate_proj"), ("w2", "down_proj"), ("w3", "up_proj")];

/// Stacks of theirs whose weights are packed (experts), each slot of which should be one of ours; and what of theirs they are.
pub(super) fn stacks(
    ours: &[Ours<'_>],
    alone: &[usize],
    there: &There<'_>,
) -> Result<(Vec<Found>, Vec<TensorId>), Error> {
    let (mut found, mut used) = (Vec::new(), Vec::new());
    for id in there.free() {
        let Some([scales, biases]) = parts(there, id) else { continue };
        let whole = &there.file.tensors[id];
        let &[count, rows, _] = whole.shape.as_slice() else { continue };
        let (Ok(count), Some(tail)) = (usize::try_from(count), tail(&whole.name)) else { continue };
        let layer = order::layer(&whole.name);
        let fits = |at: &usize| {
            let one = &ours[*at];
            let shape = one.shape().unwrap_or_default();
            shape.len() == 2
                && shape[0] as u64 == rows
                && order::layer(one.name) == layer
                && self::tail(one.name).as_deref() == Some(tail.as_str())
        };
        let members: Vec<usize> = alone.iter().copied().filter(fits).collect();
        let names: Vec<&str> = members.iter().map(|&at| ours[at].name).collect();
        if members.len() != count || count < 2 {
            continue;
        }
        let Some(places) = order::places(&names, &whole.name) else { continue };
        let all = [id, scales, biases].map(|id| there.file.reader(id));
        let [Ok(mut words), Ok(mut scale), Ok(mut bias)] = all else { continue };
        let mut slot = |slot: usize| -> Result<[TensorData; 3], Error> {
            let one = |reader: &mut t2m_checkpoint::TensorReader<'_>| -> Result<TensorData, Error> {
                let mut part = reader.slice(0, slot..slot + 1)?;
                part.shape.remove(0);
                Ok(part)
            };
            Ok([one(&mut words)?, one(&mut scale)?, one(&mut bias)?])
        };
        let mut told = Vec::with_capacity(count);
        let mut tries = 0;
        for (&at, &place) in members.iter().zip(&places) {
            let made = ours[at].make()?;
            let (dtype, mut verdict) = (None, judge(&made, &slot(place)?));
            let mut lies = place;
            if !verdict.is_good() {
                for other in (0..count).filter(|&other| other != place) {
                    tries += 1;
                    if tries > MOST_SLOTS {
                        break;
                    }
                    let there = judge(&made, &slot(other)?);
                    if there.is_good() {
                        (lies, verdict) = (other, there);
                        break;
                    }
                }
            }
            let (packed, wrong) = match verdict {
                Verdict::Quantized { bits, group, max_abs } => {
                    let wrong =
                        (lies != place).then(|| format!("place {lies} of {count}, where the names say {place}"));
                    (format!(", packed in {bits} bits by {group}, off by up to {max_abs:.3e}"), wrong)
                }
                Verdict::Different { what, .. } => (String::new(), Some(what)),
                _ => (String::new(), Some("its packed numbers are others".to_owned())),
            };
            let piece = Piece { axis: 0, place: format!("number {lies} of {count}{packed}"), dtype, wrong };
            told.push(Found { ours: at, theirs: Some(id), verdict: Verdict::Stack(piece) });
        }
        // None of them is there: then it is another tensor.
        let is_one = |found: &Found| {
            found.verdict.is_good() || matches!(&found.verdict, Verdict::Stack(piece) if piece.place.contains("packed"))
        };
        if told.iter().any(is_one) {
            found.extend(told);
            used.extend([id, scales, biases]);
        }
    }
    Ok((found, used))
}

/// The part of a name that says which projection of a layer it is: `gate_proj.weight`.
fn tail(name: &str) -> Option<String> {
    let (path, own) = name.rsplit_once('.')?;
    let projection = path.rsplit('.').next()?;
    let projection = PARTS.iter().find(|(name, _)| *name == projection).map_or(projection, |(_, known)| known);
    Some(format!("{projection}.{own}"))
}

/// Whether the packed numbers are ours, within a step of their scale.
pub(super) fn judge(made: &TensorData, [words, scales, biases]: &[TensorData; 3]) -> Verdict {
    let fault = |what: &str| Verdict::Different { max_abs: None, what: what.to_owned() };
    let (Some(&width), Some(&packed), Some(&groups)) = (made.shape.last(), words.shape.last(), scales.shape.last())
    else {
        return fault("packed, where ours is a single number");
    };
    let rows = made.shape.iter().rev().skip(1).product::<usize>();
    let (bits, group) = ((packed * 32).checked_div(width).unwrap_or(0), width.checked_div(groups).unwrap_or(0));
    let fits = bits * width == packed * 32 && group * groups == width && (1..=8).contains(&bits);
    if !fits || words.bytes.len() != rows * packed * 4 {
        return fault("packed for another shape than ours");
    }
    let dtype = scales.dtype;
    let (Some(ours), Some(scales), Some(biases)) = (made.to_f64(), scales.to_f64(), biases.to_f64()) else {
        return fault("its scales cannot be read as numbers");
    };
    if scales.len() != rows * groups || biases.len() != scales.len() {
        return fault("its scales are not as many as its groups");
    }
    let Some(Rounding { unit, .. }) = Rounding::to(dtype) else { return fault("its scales have no fraction") };
    let (mut max_abs, mut worst) = (0.0f64, 0.0f64);
    for row in 0..rows {
        let stream = &words.bytes[row * packed * 4..(row + 1) * packed * 4];
        for column in 0..width {
            let at = row * groups + column / group;
            let (product, own) = (scales[at] * number(stream, column * bits, bits), ours[row * width + column]);
            let apart = (product + biases[at] - own).abs();
            max_abs = max_abs.max(apart);
            // What rounding the weight, the scale and the bias to the scale's type may add.
            let rounding = 2.0 * unit * (product.abs() + biases[at].abs() + own.abs());
            // A row of one number has no scale to speak of.
            let step = scales[at].abs().max(f64::from(f32::MIN_POSITIVE));
            worst = worst.max((apart - rounding) / step);
        }
    }
    if worst <= 1.0 || max_abs <= f64::from(f32::EPSILON) {
        return Verdict::Quantized { bits, group, max_abs };
    }
    let what = format!("packed in {bits} bits by {group}, and up to {worst:.1} steps of its scale away from ours");
    Verdict::Different { max_abs: Some(max_abs), what }
}

/// So many bits of a stream whose bytes have their low bits first.
fn number(stream: &[u8], first: usize, bits: usize) -> f64 {
    let byte = |at: usize| u32::from(stream.get(at).copied().unwrap_or(0));
    let pair = byte(first / 8) | byte(first / 8 + 1) << 8;
    f64::from(pair >> (first % 8) & ((1 << bits) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pack numbers of this many bits.
    fn pack(numbers: &[u32], bits: usize) -> Vec<u8> {
        let mut bytes = vec![0u8; (numbers.len() * bits).div_ceil(32) * 4];
        for (at, number) in numbers.iter().enumerate() {
            for bit in (0..bits).filter(|bit| number >> bit & 1 == 1) {
                bytes[(at * bits + bit) / 8] |= 1 << ((at * bits + bit) % 8);
            }
        }
        bytes
    }

    #[test]
    fn packed_numbers_come_out_whatever_their_width() {
        for bits in [2, 3, 4, 5, 6, 8] {
            let numbers: Vec<u32> = (0..64).map(|at| at * 7 % (1 << bits)).collect();
            let words = TensorData { dtype: Dtype::UInt32, shape: vec![1, 2 * bits], bytes: pack(&numbers, bits) };
            let (scales, biases) =
                (TensorData::from_f32(&[1, 2], &[0.5, 2.0]), TensorData::from_f32(&[1, 2], &[-1.0, 3.0]));
            let value = |(at, number): (usize, &u32)| {
                let (scale, bias) = if at < 32 { (0.5, -1.0) } else { (2.0, 3.0) };
                *number as f32 * scale + bias
            };
            let mut values: Vec<f32> = numbers.iter().enumerate().map(value).collect();
            let parts = [words, scales, biases];
            let exact = judge(&TensorData::from_f32(&[1, 64], &values), &parts);
            assert_eq!(exact, Verdict::Quantized { bits, group: 32, max_abs: 0.0 });
            values[40] += 2.5;
            let wrong = judge(&TensorData::from_f32(&[1, 64], &values), &parts);
            assert!(matches!(wrong, Verdict::Different { max_abs: Some(most), .. } if most == 2.5), "{wrong:?}");
        }
    }
}
