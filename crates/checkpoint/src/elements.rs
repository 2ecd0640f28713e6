//! Elements of a tensor as numbers, and back. Rounding is to the nearest, ties to even, as both engines do it.

use half::{bf16, f16};

use super::{Dtype, TensorData};

/// A number as it lies in a tensor.
trait Element: Copy {
    const SIZE: usize;
    const IS_FLOAT: bool;
    fn from_bytes(bytes: &[u8]) -> Self;
    fn write(self, out: &mut Vec<u8>);
    fn f32(self) -> f32;
    fn f64(self) -> f64;
    fn from_f64(value: f64) -> Self;
    /// Only asked of integers.
    fn i128(self) -> i128;
    fn from_i128(value: i128) -> Self;
}

macro_rules! element {
    ($type:ty, $float:expr, $f32:expr, $f64:expr, $from_f64:expr, $i128:expr, $from_i128:expr) => {
        impl Element for $type {
            const SIZE: usize = size_of::<$type>();
            const IS_FLOAT: bool = $float;
            fn from_bytes(bytes: &[u8]) -> Self {
                bytes.try_into().map_or_else(|_| <$type>::from_le_bytes([0; size_of::<$type>()]), <$type>::from_le_bytes)
            }
            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn f32(self) -> f32 {
                $f32(self)
            }
            fn f64(self) -> f64 {
                $f64(self)
            }
            fn from_f64(value: f64) -> Self {
                $from_f64(value)
            }
            fn i128(self) -> i128 {
                $i128(self)
            }
            fn from_i128(value: i128) -> Self {
                $from_i128(value)
            }
        }
    };
    ($float:expr; $($type:ty),*) => {
        $(element!($type, $float, |v| v as f32, |v| v as f64, |v| v as $type, |v| v as i128, |v| v as $type);)*
    };
}

element!(true; f64, f32);
element!(false; i64, i32, i16, i8, u64, u32, u16, u8);
element!(f16, true, f16::to_f32, f16::to_f64, half, |v| f16::to_f64(v) as i128, |v| half(v as f64));
element!(bf16, true, bf16::to_f32, bf16::to_f64, brain, |v| bf16::to_f64(v) as i128, |v| brain(v as f64));

// `half` looks at the upper half of a double alone and takes what is just above a tie for the tie.
fn half(value: f64) -> f16 {
    f16::from_f32(to_odd(value))
}

fn brain(value: f64) -> bf16 {
    bf16::from_f32(to_odd(value))
}

/// The float32 below a double in size, with its last bit set where something was cut off: rounding that to fewer bits is
/// rounding the double.
fn to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) == value || nearest.is_nan() {
        return nearest;
    }
    let below = if f64::from(nearest).abs() > value.abs() { nearest.to_bits() - 1 } else { nearest.to_bits() };
    f32::from_bits(below | 1)
}

/// torch's bool: one byte, zero or not.
#[derive(Clone, Copy)]
struct Boolean(bool);

impl Element for Boolean {
    const SIZE: usize = 1;
    const IS_FLOAT: bool = false;
    fn from_bytes(bytes: &[u8]) -> Self {
        Boolean(bytes.first().is_some_and(|&byte| byte != 0))
    }
    fn write(self, out: &mut Vec<u8>) {
        out.push(self.0.into());
    }
    fn f32(self) -> f32 {
        self.0.into()
    }
    fn f64(self) -> f64 {
        self.0.into()
    }
    fn from_f64(value: f64) -> Self {
        Boolean(value != 0.0)
    }
    fn i128(self) -> i128 {
        self.0.into()
    }
    fn from_i128(value: i128) -> Self {
        Boolean(value != 0)
    }
}

/// Run an expression with `$element` bound to the type of a dtype's elements; `None` for other dtypes.
macro_rules! with_element {
    ($dtype:expr, $element:ident => $body:expr) => {
        match $dtype {
            Dtype::Float64 => Some({
                type $element = f64;
                $body
            }),
            Dtype::Float32 => Some({
                type $element = f32;
                $body
            }),
            Dtype::Float16 => Some({
                type $element = f16;
                $body
            }),
            Dtype::BFloat16 => Some({
                type $element = bf16;
                $body
            }),
            Dtype::Int64 => Some({
                type $element = i64;
                $body
            }),
            Dtype::Int32 => Some({
                type $element = i32;
                $body
            }),
            Dtype::Int16 => Some({
                type $element = i16;
                $body
            }),
            Dtype::Int8 => Some({
                type $element = i8;
                $body
            }),
            Dtype::UInt64 => Some({
                type $element = u64;
                $body
            }),
            Dtype::UInt32 => Some({
                type $element = u32;
                $body
            }),
            Dtype::UInt16 => Some({
                type $element = u16;
                $body
            }),
            Dtype::UInt8 => Some({
                type $element = u8;
                $body
            }),
            Dtype::Bool => Some({
                type $element = Boolean;
                $body
            }),
            _ => None,
        }
    };
}

impl TensorData {
    /// A float32 tensor. The values are row-major.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> TensorData {
        TensorData { dtype: Dtype::Float32, shape: shape.to_vec(), bytes: bytes_of(values) }
    }

    /// An int64 tensor. The values are row-major.
    pub fn from_i64(shape: &[usize], values: &[i64]) -> TensorData {
        TensorData { dtype: Dtype::Int64, shape: shape.to_vec(), bytes: bytes_of(values) }
    }

    /// The elements as f32, from every plain float, integer and bool type; `None` from complex, quantized and 8-bit floats.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        with_element!(self.dtype, E => self.bytes.chunks_exact(E::SIZE).map(|bytes| E::from_bytes(bytes).f32()).collect())
    }

    /// The elements as f64, from the types that [`TensorData::to_f32`] reads.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        with_element!(self.dtype, E => self.bytes.chunks_exact(E::SIZE).map(|bytes| E::from_bytes(bytes).f64()).collect())
    }

    /// The numbers in another type, rounded to the nearest, ties to even; floats are cut towards zero for integers.
    /// `None` where either type is not one that [`TensorData::to_f32`] reads (and they differ).
    pub fn cast(&self, dtype: Dtype) -> Option<TensorData> {
        if dtype == self.dtype {
            return Some(self.clone());
        }
        let bytes = with_element!(self.dtype, S => with_element!(dtype, D => convert::<S, D>(&self.bytes)))??;
        Some(TensorData { dtype, shape: self.shape.clone(), bytes })
    }
}

/// Floats go by way of f64 and integers by way of i128: each holds every number of its kind.
fn convert<S: Element, D: Element>(source: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(source.len() / S::SIZE * D::SIZE);
    for element in source.chunks_exact(S::SIZE).map(S::from_bytes) {
        let converted = if S::IS_FLOAT { D::from_f64(element.f64()) } else { D::from_i128(element.i128()) };
        converted.write(&mut bytes);
    }
    bytes
}

fn bytes_of<E: Element>(values: &[E]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * E::SIZE);
    values.iter().for_each(|value| value.write(&mut bytes));
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn casts_round_to_nearest_even() {
        // Both lie halfway between two bfloat16, which have 7 bits behind the point.
        let brain = TensorData::from_f32(&[2], &[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0]).cast(Dtype::BFloat16).unwrap();
        assert_eq!(brain.to_f32().unwrap(), [1.0, 1.0 + 4.0 / 256.0]);
        assert_eq!(brain.bytes.len(), 4);
        let half = TensorData::from_f32(&[2], &[65_519.0, -65_520.0]).cast(Dtype::Float16).unwrap();
        assert_eq!(half.to_f32().unwrap(), [65_504.0, f32::NEG_INFINITY]);
    }

    #[test]
    fn what_is_just_beside_a_tie_is_no_tie() {
        // 1 + 2^-11 lies halfway between two float16, 1 + 2^-8 between two bfloat16; 2^-23 more or less decides.
        let bit = f32::EPSILON;
        let half = |value: f32| TensorData::from_f32(&[1], &[value]).cast(Dtype::Float16).unwrap().to_f32().unwrap()[0];
        let tie = 1.0 + 2f32.powi(-11);
        assert_eq!([tie - bit, tie, tie + bit].map(half), [1.0, 1.0, 1.0 + 2f32.powi(-10)]);
        let brain =
            |value: f32| TensorData::from_f32(&[1], &[value]).cast(Dtype::BFloat16).unwrap().to_f32().unwrap()[0];
        let tie = 1.0 + 2f32.powi(-8);
        assert_eq!([tie - bit, tie, tie + bit].map(brain), [1.0, 1.0, 1.0 + 2f32.powi(-7)]);
        // The same of doubles, whose tie a float32 cannot tell from its neighbours.
        let tie = 1.0 + 2f64.powi(-11);
        let half = |value: f64| super::half(value).to_f64();
        assert_eq!([tie - f64::EPSILON, tie, tie + f64::EPSILON].map(half), [1.0, 1.0, 1.0 + 2f64.powi(-10)]);
        assert_eq!([1e300, -1e300].map(half), [f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!(half(2f64.powi(-25) * 1.000_000_001), 2f64.powi(-24));
    }

    #[test]
    fn casts_between_kinds() {
        let floats = TensorData::from_f32(&[4], &[-1.9, 0.0, 2.5, f32::NAN]);
        assert_eq!(floats.cast(Dtype::Int64).unwrap(), TensorData::from_i64(&[4], &[-1, 0, 2, 0]));
        assert_eq!(floats.cast(Dtype::Bool).unwrap().bytes, [1, 0, 1, 1]);
        let large = TensorData::from_i64(&[1], &[i64::MAX]);
        assert_eq!(large.cast(Dtype::UInt64).unwrap().to_f64().unwrap(), [i64::MAX as f64]);
        // A way through f64 would round twice and end one step lower.
        let twice = TensorData::from_i64(&[1], &[(1 << 54) + (1 << 30) + 1]);
        assert_eq!(twice.cast(Dtype::Float32).unwrap().to_f32().unwrap(), twice.to_f32().unwrap());
        assert_eq!(twice.to_f32().unwrap(), [((1i64 << 54) + (1 << 31)) as f32]);
        let complex = TensorData { dtype: Dtype::Complex64, shape: vec![1], bytes: vec![0; 8] };
        assert!(
            complex.to_f32().is_none()
                && complex.cast(Dtype::Float32).is_none()
                && complex.cast(Dtype::Complex64).is_some()
        );
    }
}
