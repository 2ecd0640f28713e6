//! Bytes as numbers, of every type that has some.

use half::{bf16, f16};
use t2m_checkpoint::{Dtype, float8};

/// Whether [`read`] reads a type.
pub(super) fn are_read(dtype: Dtype) -> bool {
    !matches!(dtype, Dtype::QInt8 | Dtype::QUInt8 | Dtype::QInt32 | Dtype::Unknown)
}

/// Append the numbers in whole elements of a type, little-endian: of a complex element both parts.
pub(super) fn read(dtype: Dtype, bytes: &[u8], into: &mut Vec<f64>) {
    match dtype {
        Dtype::Float64 | Dtype::Complex128 => each(bytes, into, f64::from_le_bytes),
        Dtype::Float32 | Dtype::Complex64 => each(bytes, into, |bytes| f64::from(f32::from_le_bytes(bytes))),
        Dtype::Float16 | Dtype::Complex32 => each(bytes, into, |bytes| f16::from_le_bytes(bytes).to_f64()),
        Dtype::BFloat16 => each(bytes, into, |bytes| bf16::from_le_bytes(bytes).to_f64()),
        Dtype::Int64 => each(bytes, into, |bytes| i64::from_le_bytes(bytes) as f64),
        Dtype::Int32 => each(bytes, into, |bytes| f64::from(i32::from_le_bytes(bytes))),
        Dtype::Int16 => each(bytes, into, |bytes| f64::from(i16::from_le_bytes(bytes))),
        Dtype::Int8 => each(bytes, into, |bytes| f64::from(i8::from_le_bytes(bytes))),
        Dtype::UInt64 => each(bytes, into, |bytes| u64::from_le_bytes(bytes) as f64),
        Dtype::UInt32 => each(bytes, into, |bytes| f64::from(u32::from_le_bytes(bytes))),
        Dtype::UInt16 => each(bytes, into, |bytes| f64::from(u16::from_le_bytes(bytes))),
        Dtype::UInt8 => each(bytes, into, |[byte]| f64::from(byte)),
        // What torch takes for true is written as 1.
        Dtype::Bool => each(bytes, into, |[byte]| f64::from(u8::from(byte != 0))),
        Dtype::Float8E4M3FN
        | Dtype::Float8E5M2
        | Dtype::Float8E4M3FNUZ
        | Dtype::Float8E5M2FNUZ
        | Dtype::Float8E8M0FNU => each(bytes, into, |[code]| float8::value(dtype, code).map_or(f64::NAN, f64::from)),
        Dtype::QInt8 | Dtype::QUInt8 | Dtype::QInt32 | Dtype::Unknown => {}
    }
}

fn each<const N: usize>(bytes: &[u8], into: &mut Vec<f64>, number: impl Fn([u8; N]) -> f64) {
    into.extend(bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)));
}
