//! One element in, one out: arithmetic, comparisons, casts, and the functions of torch that activations are made of.

use tch::{Kind, TchError, Tensor};

use super::{Called, Given, done, kind, one, two};
use crate::engine::args::Args;

type Unary = fn(&Tensor) -> Result<Tensor, TchError>;
type Binary = fn(&Tensor, &Tensor) -> Result<Tensor, TchError>;

const UNARY: [(&str, Unary); 49] = [
    ("abs", Tensor::f_abs),
    ("neg", Tensor::f_neg),
    ("negative", Tensor::f_neg),
    ("exp", Tensor::f_exp),
    ("expm1", Tensor::f_expm1),
    ("log", Tensor::f_log),
    ("log1p", Tensor::f_log1p),
    ("log2", Tensor::f_log2),
    ("log10", Tensor::f_log10),
    ("sqrt", Tensor::f_sqrt),
    ("rsqrt", Tensor::f_rsqrt),
    ("square", Tensor::f_square),
    ("sin", Tensor::f_sin),
    ("cos", Tensor::f_cos),
    ("tan", Tensor::f_tan),
    ("sigmoid", Tensor::f_sigmoid),
    ("tanh", Tensor::f_tanh),
    ("erf", Tensor::f_erf),
    ("floor", Tensor::f_floor),
    ("ceil", Tensor::f_ceil),
    ("trunc", Tensor::f_trunc),
    ("sign", Tensor::f_sign),
    ("reciprocal", Tensor::f_reciprocal),
    ("isnan", Tensor::f_isnan),
    ("isinf", Tensor::f_isinf),
    ("isfinite", Tensor::f_isfinite),
    ("logical_not", Tensor::f_logical_not),
    ("real", Tensor::f_real),
    ("imag", Tensor::f_imag),
    ("nonzero", Tensor::f_nonzero),
    ("contiguous", |x| x.f_contiguous()),
    ("clone", |x| x.f_alias_copy()),
    ("detach", Tensor::f_detach),
    ("zeros_like", Tensor::f_zeros_like),
    ("ones_like", Tensor::f_ones_like),
    ("relu", Tensor::f_relu),
    ("relu6", Tensor::f_relu6),
    ("silu", Tensor::f_silu),
    ("selu", Tensor::f_selu),
    ("mish", Tensor::f_mish),
    ("hardswish", Tensor::f_hardswish),
    ("hardsigmoid", Tensor::f_hardsigmoid),
    ("logsigmoid", Tensor::f_log_sigmoid),
    ("softsign", |x| x.f_div(&x.f_abs()?.f_add_scalar(1.0)?)),
    ("float", |x| x.f_to_dtype(Kind::Float, false, false)),
    ("half", |x| x.f_to_dtype(Kind::Half, false, false)),
    ("bfloat16", |x| x.f_to_dtype(Kind::BFloat16, false, false)),
    ("double", |x| x.f_to_dtype(Kind::Double, false, false)),
    ("long", |x| x.f_to_dtype(Kind::Int64, false, false)),
];

const BINARY: [(&str, Binary); 21] = [
    ("mul", Tensor::f_mul),
    ("pow", Tensor::f_pow),
    ("maximum", Tensor::f_maximum),
    ("minimum", Tensor::f_minimum),
    ("true_divide", Tensor::f_true_divide),
    ("floor_divide", Tensor::f_floor_divide),
    ("remainder", Tensor::f_remainder_tensor),
    ("fmod", Tensor::f_fmod_tensor),
    ("atan2", Tensor::f_atan2),
    ("matmul", Tensor::f_matmul),
    ("bmm", Tensor::f_bmm),
    ("mm", Tensor::f_mm),
    ("outer", Tensor::f_outer),
    ("logical_and", Tensor::f_logical_and),
    ("logical_or", Tensor::f_logical_or),
    ("gt", Tensor::f_gt_tensor),
    ("ge", Tensor::f_ge_tensor),
    ("lt", Tensor::f_lt_tensor),
    ("le", Tensor::f_le_tensor),
    ("eq", Tensor::f_eq_tensor),
    ("ne", Tensor::f_ne_tensor),
];

pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    if let Some((_, function)) = UNARY.iter().find(|(known, _)| *known == name) {
        return done(function(one(given)?));
    }
    if let Some((_, function)) = BINARY.iter().find(|(known, _)| *known == name) {
        let [a, b] = two(given)?;
        return done(function(&a, &b));
    }
    match name {
        "add" | "sub" => {
            let [a, b] = two(given)?;
            let b = if args.has("alpha") { b.f_mul_scalar(args.number("alpha")?)? } else { b };
            done(if name == "add" { a.f_add(&b) } else { a.f_sub(&b) })
        }
        "div" => {
            let [a, b] = two(given)?;
            done(match args.has("rounding_mode") {
                true => a.f_div_tensor_mode(&b, args.text("rounding_mode")?),
                false => a.f_div(&b),
            })
        }
        "to" | "type" => {
            let x = one(given)?;
            // Without a dtype it is a device, of which there is one here.
            if !args.has("dtype") {
                return done(Ok(x.shallow_clone()));
            }
            done(x.f_to_dtype(kind(args.text("dtype")?)?, false, false))
        }
        "round" => match args.integer_or("decimals", 0)? {
            0 => done(one(given)?.f_round()),
            decimals => done(one(given)?.f_round_decimals(decimals)),
        },
        "clamp" => {
            let x = one(given)?;
            let bound = |name: &str| if args.has(name) { args.number_or_none(name) } else { Ok(None) };
            done(match (bound("min")?, bound("max")?) {
                (Some(min), Some(max)) => x.f_clamp(min, max),
                (Some(min), None) => x.f_clamp_min(min),
                (None, Some(max)) => x.f_clamp_max(max),
                (None, None) => Ok(x.shallow_clone()),
            })
        }
        _ => Ok(None),
    }
}
