//! Floating-point numbers of eight bits, as torch decodes them.

use super::Dtype;

/// The number that a code stands for; `None` for types of another width.
pub fn value(dtype: Dtype, code: u8) -> Option<f32> {
    Some(match dtype {
        Dtype::Float8E4M3FN if code & 0x7f == 0x7f => f32::NAN,
        Dtype::Float8E4M3FN => decoded(code, 3, 7),
        Dtype::Float8E5M2 if code & 0x7c == 0x7c => match code & 3 {
            0 if code < 0x80 => f32::INFINITY,
            0 => f32::NEG_INFINITY,
            _ => f32::NAN,
        },
        Dtype::Float8E5M2 => decoded(code, 2, 15),
        // Of these the code of minus zero is the only one that is no number.
        Dtype::Float8E4M3FNUZ | Dtype::Float8E5M2FNUZ if code == 0x80 => f32::NAN,
        Dtype::Float8E4M3FNUZ => decoded(code, 3, 8),
        Dtype::Float8E5M2FNUZ => decoded(code, 2, 16),
        // A power of two, without a sign.
        Dtype::Float8E8M0FNU if code == 0xff => f32::NAN,
        Dtype::Float8E8M0FNU => 2f32.powi(i32::from(code) - 127),
        _ => return None,
    })
}

/// A sign, an exponent of what is left beside the fraction's bits, and the fraction; exponent 0 is subnormal.
fn decoded(code: u8, fraction_bits: i32, bias: i32) -> f32 {
    let magnitude = i32::from(code & 0x7f);
    let (exponent, fraction) = (magnitude >> fraction_bits, magnitude & ((1 << fraction_bits) - 1));
    let (exponent, fraction) = if exponent == 0 { (1, fraction) } else { (exponent, fraction | 1 << fraction_bits) };
    let value = fraction as f32 * 2f32.powi(exponent - bias - fraction_bits);
    if code < 0x80 { value } else { -value }
}
