//! Casting what is written, and counting what that loses.

use half::{bf16, f16};

use t2m_checkpoint::{Dtype, TensorData, spare};

/// What casting an entry lost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Loss {
    /// Finite numbers that became infinite.
    pub overflowed: u64,
    /// Numbers other than zero that became zero.
    pub vanished: u64,
    /// Other numbers that are not the same any more.
    pub rounded: u64,
    /// The largest difference of those that stayed finite.
    pub max_abs: f64,
}

impl Loss {
    /// Whether nothing was lost.
    pub fn is_nothing(&self) -> bool {
        *self == Loss::default()
    }

    /// Both losses together.
    pub fn add(&mut self, other: &Loss) {
        self.overflowed += other.overflowed;
        self.vanished += other.vanished;
        self.rounded += other.rounded;
        self.max_abs = self.max_abs.max(other.max_abs);
    }

    fn count(&mut self, before: &[f64], after: &[f64]) {
        for (&before, &after) in before.iter().zip(after) {
            if before == after || before.is_nan() {
                continue;
            }
            if after.is_infinite() {
                self.overflowed += 1;
                continue;
            }
            *(if after == 0.0 { &mut self.vanished } else { &mut self.rounded }) += 1;
            self.max_abs = self.max_abs.max((after - before).abs());
        }
    }
}

/// The type that a tensor is written in: real numbers as asked; float64, which MLX reads from no file, as float32. `None` for
/// a type that MLX does not read.
pub fn written(dtype: Dtype, asked: Option<Dtype>) -> Option<Dtype> {
    match (dtype, asked) {
        (dtype, Some(asked)) if dtype.is_real() => Some(asked),
        (Dtype::Float64, None) => Some(Dtype::Float32),
        (Dtype::Float8E5M2, _) => None,
        _ => name(dtype).map(|_| dtype),
    }
}

/// The name that a safetensors header gives a type; `None` where the format has none.
pub(super) fn name(dtype: Dtype) -> Option<&'static str> {
    Some(match dtype {
        Dtype::Bool => "BOOL",
        Dtype::UInt8 => "U8",
        Dtype::Int8 => "I8",
        Dtype::UInt16 => "U16",
        Dtype::Int16 => "I16",
        Dtype::UInt32 => "U32",
        Dtype::Int32 => "I32",
        Dtype::UInt64 => "U64",
        Dtype::Int64 => "I64",
        Dtype::Float16 => "F16",
        Dtype::BFloat16 => "BF16",
        Dtype::Float32 => "F32",
        Dtype::Float64 => "F64",
        Dtype::Complex64 => "C64",
        Dtype::Float8E5M2 => "F8_E5M2",
        Dtype::Float8E4M3FN => "F8_E4M3",
        Dtype::Float8E8M0FNU => "F8_E8M0",
        _ => return None,
    })
}

/// A piece in the type that it is written in; `None` where it cannot be cast. What it loses is added up where there is `loss`.
pub(super) fn cast(piece: TensorData, to: Dtype, loss: Option<&mut Loss>) -> Option<TensorData> {
    match (piece.dtype, to) {
        (from, to) if from == to => Some(piece),
        (Dtype::Float32, Dtype::Float16) => halved(piece, to, loss, |value| {
            let half = f16::from_f32(value);
            (half.to_le_bytes(), half.to_f32())
        }),
        (Dtype::Float32, Dtype::BFloat16) => halved(piece, to, loss, |value| {
            let half = brain(value);
            (half.to_le_bytes(), f32::from_bits(u32::from(half.to_bits()) << 16))
        }),
        (Dtype::Float16 | Dtype::BFloat16, Dtype::Float32) => piece.cast(to),
        _ => {
            let made = piece.cast(to)?;
            if let Some(loss) = loss {
                loss.count(&piece.to_f64()?, &made.to_f64()?);
            }
            Some(made)
        }
    }
}

/// Numbers in a block: few enough that counts fit 32 bits and the block stays in the cache.
const BLOCK: usize = 1024;

/// float32 in half precision, in one go: by far the most frequent cast. Written without branches and with 32-bit counts, which
/// the compiler turns into vector instructions.
fn halved(
    piece: TensorData,
    to: Dtype,
    loss: Option<&mut Loss>,
    half: impl Fn(f32) -> ([u8; 2], f32),
) -> Option<TensorData> {
    let mut bytes = spare::buffer(piece.bytes.len() / 2)?;
    let (numbers, halves) = (piece.bytes.as_chunks::<4>().0, bytes.as_chunks_mut::<2>().0);
    match loss {
        Some(loss) => halve_and_count(numbers, halves, loss, half),
        None => numbers.iter().zip(halves).for_each(|(four, two)| *two = half(f32::from_le_bytes(*four)).0),
    }
    spare::give_back(piece.bytes);
    Some(TensorData { dtype: to, shape: piece.shape, bytes })
}

fn halve_and_count(numbers: &[[u8; 4]], halves: &mut [[u8; 2]], loss: &mut Loss, half: impl Fn(f32) -> ([u8; 2], f32)) {
    for (numbers, halves) in numbers.chunks(BLOCK).zip(halves.chunks_mut(BLOCK)) {
        let (mut overflowed, mut vanished, mut changed, mut largest) = (0u32, 0u32, 0u32, 0u32);
        for (four, two) in numbers.iter().zip(halves) {
            let value = f32::from_le_bytes(*four);
            let (rounded, back) = half(value);
            *two = rounded;
            // A number and its neighbour in half precision differ by what float32 holds exactly; NaN compares false.
            let apart = (back - value).abs();
            let (infinite, differs) = (back.is_infinite() & value.is_finite(), apart > 0.0);
            overflowed += u32::from(infinite);
            vanished += u32::from((back == 0.0) & (value != 0.0));
            changed += u32::from(differs);
            // The bits of positive numbers are in the numbers' order.
            largest = largest.max(if differs & !infinite { apart.to_bits() } else { 0 });
        }
        loss.add(&Loss {
            overflowed: overflowed.into(),
            vanished: vanished.into(),
            rounded: (changed - overflowed - vanished).into(),
            max_abs: f32::from_bits(largest).into(),
        });
    }
}

/// The bfloat16 next to a number, ties to even; of NaN one that stays NaN. As [`bf16::from_f32`], without its branch.
fn brain(value: f32) -> bf16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let quiet = (bits >> 16) | 0x40;
    bf16::from_bits(if value.is_nan() { quiet } else { rounded } as u16)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_cast_loses_is_counted_by_kind() {
        let floats = [1.0, 1e30, -1e30, 1e-30, 0.1, f32::INFINITY, f32::NAN, 0.0, -0.0];
        let piece = TensorData::from_f32(&[floats.len()], &floats);
        let mut loss = Loss::default();
        let half = cast(piece.clone(), Dtype::Float16, Some(&mut loss)).unwrap();
        assert_eq!((loss.overflowed, loss.vanished, loss.rounded), (2, 1, 1));
        assert!((loss.max_abs - 2.4e-5).abs() < 1e-6, "{}", loss.max_abs);
        let mut none = Loss::default();
        cast(half, Dtype::Float32, Some(&mut none)).unwrap();
        cast(piece, Dtype::Float32, Some(&mut none)).unwrap();
        assert!(none.is_nothing());
    }

    #[test]
    fn the_fast_casts_are_the_plain_ones() {
        let bits = (0..200_000u32).map(|at| f32::from_bits(at.wrapping_mul(2_654_435_761)));
        let values: Vec<f32> = bits.collect();
        assert!(values.iter().any(|value| value.is_nan()));
        assert!(values.iter().all(|&value| brain(value).to_bits() == bf16::from_f32(value).to_bits()));
        let piece = TensorData::from_f32(&[values.len()], &values);
        for to in [Dtype::Float16, Dtype::BFloat16] {
            let (mut fast, mut plain) = (Loss::default(), Loss::default());
            let made = cast(piece.clone(), to, Some(&mut fast)).unwrap();
            assert!(made == piece.cast(to).unwrap());
            assert!(made == cast(piece.clone(), to, None).unwrap());
            plain.count(&piece.to_f64().unwrap(), &made.to_f64().unwrap());
            assert_eq!(fast, plain);
        }
    }

    #[test]
    fn mlx_reads_no_float64_and_whole_numbers_are_not_cast() {
        assert_eq!(written(Dtype::Float64, None), Some(Dtype::Float32));
        assert_eq!(written(Dtype::Float64, Some(Dtype::BFloat16)), Some(Dtype::BFloat16));
        assert_eq!(written(Dtype::Int64, Some(Dtype::Float16)), Some(Dtype::Int64));
        assert_eq!(written(Dtype::Float8E5M2, Some(Dtype::Float16)), None);
        assert_eq!(written(Dtype::Complex128, None), None);
    }
}
