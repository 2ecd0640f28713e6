//! MLX's exp and erf on a CPU (`mlx/backend/cpu/simd/math.h`), to the last bit.
#![allow(clippy::excessive_precision, reason = "the numbers stand as MLX has them")]

/// 2 to the power of x·log₂e: the whole part goes into the exponent, a polynomial of the sixth degree makes the rest. The product is
/// rounded, so that the error grows with |x|.
pub(super) fn exp(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    } else if x.abs() > 88.0 {
        return if x > 0.0 { f32::INFINITY } else { 0.0 };
    }
    let power = x * 1.442_695_f32;
    let whole = (power + 0.5).floor();
    let rest = power - whole;
    let terms = [
        1.339_887_440_266_574e-3,
        9.618_437_357_674_640e-3,
        5.550_332_471_162_809e-2,
        2.402_264_791_363_012e-1,
        6.931_472_028_550_421e-1,
        1.0,
    ];
    let fraction = terms.iter().fold(1.535_336_188_319_500e-4_f32, |sum, term| sum.mul_add(rest, *term));
    f32::from_bits(((whole as i32 + 127) << 23) as u32) * fraction
}

/// Abramowitz and Stegun's formula 7.1.26, whose error is at most 1.5e-7 for all arguments, as near 0 as elsewhere.
pub(super) fn erf(x: f32) -> f32 {
    let t = 1.0 / 0.327_591_1_f32.mul_add(x.abs(), 1.0);
    let terms = [-1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let sum = terms.iter().fold(1.061_405_429_f32, |sum, term| sum.mul_add(t, *term));
    let near = (-exp(-x * x) * t).mul_add(sum, 1.0);
    if x > 0.0 { near } else { -near }
}

/// 1 / (1 + e^|x|), of which that of a positive number is what is left to 1.
pub(super) fn sigmoid(x: f32) -> f32 {
    let less = 1.0 / (1.0 + exp(x.abs()));
    if x < 0.0 { less } else { 1.0 - less }
}

/// log(1 + eˣ), as `logaddexp` of x and 0.
pub(super) fn softplus(x: f32) -> f32 {
    x.max(0.0) + exp(-x.abs()).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `mx.exp`, `mx.erf` and `mx.sigmoid` of mlx 0.32.2 give on a CPU, bit by bit.
    #[test]
    fn they_are_mlxs_own() {
        for (x, exps, erfs, sigmoids) in MEASURED {
            assert_eq!([exp(x), erf(x), sigmoid(x)].map(f32::to_bits), [exps, erfs, sigmoids], "{x}");
        }
        assert_eq!(exp(1.0e3), f32::INFINITY);
        assert_eq!(exp(-1.0e3), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    const MEASURED: [(f32, u32, u32, u32); 13] = [
        (-80.5, 0x0568_d125, 0xbf80_0000, 0x0568_d125),
        (-40.25, 0x2274_222a, 0xbf80_0000, 0x2274_222b),
        (-9.1, 0x38ea_2e21, 0xbf80_0000, 0x38ea_2770),
        (-3.3, 0x3d17_12d0, 0xbf7f_ffcd, 0x3d11_b31a),
        (-0.75, 0x3ef1_da08, 0xbf36_0e4b, 0x3ea4_42b1),
        (-0.02997, 0x3f78_7107, 0xbd0a_7a30, 0x3efc_2a04),
        (1e-3, 0x3f80_20c9, 0x3a93_e72e, 0x3f00_1062),
        (0.4, 0x3fbe_f41d, 0x3edb_563f, 0x3f19_4398),
        (1.0, 0x402d_f854, 0x3f57_bb3b, 0x3f3b_26a8),
        (2.2, 0x4110_6675, 0x3f7f_85e8, 0x3f66_76c1),
        (7.7, 0x450a_058e, 0x3f80_0000, 0x3f7f_e256),
        (30.0, 0x551b_822c, 0x3f80_0000, 0x3f80_0000),
        (87.5, 0x7e96_bab9, 0x3f80_0000, 0x3f80_0000),
    ];
}
