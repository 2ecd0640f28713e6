//! One element in, one out, products of matrices, casts.

use mlx_rs::{Array, ops};

use super::{Called, Given, Problem, done, dtype, int32, one, two};
use crate::engine::args::Args;

type Unary = fn(&Array) -> mlx_rs::error::Result<Array>;
type Binary = fn(&Array, &Array) -> mlx_rs::error::Result<Array>;

const UNARY: [(&str, Unary); 33] = [
    ("mx.abs", |x| ops::abs(x)),
    ("mx.exp", |x| ops::exp(x)),
    ("mx.expm1", |x| ops::expm1(x)),
    ("mx.log", |x| ops::log(x)),
    ("mx.log1p", |x| ops::log1p(x)),
    ("mx.sqrt", |x| ops::sqrt(x)),
    ("mx.rsqrt", |x| ops::rsqrt(x)),
    ("mx.square", |x| ops::square(x)),
    ("mx.sigmoid", |x| ops::sigmoid(x)),
    ("mx.tanh", |x| ops::tanh(x)),
    ("mx.erf", |x| ops::erf(x)),
    ("mx.sin", |x| ops::sin(x)),
    ("mx.cos", |x| ops::cos(x)),
    ("mx.negative", |x| ops::negative(x)),
    ("mx.floor", |x| ops::floor(x)),
    ("mx.ceil", |x| ops::ceil(x)),
    ("mx.sign", |x| ops::sign(x)),
    ("mx.reciprocal", |x| ops::reciprocal(x)),
    ("mx.logical_not", |x| ops::logical_not(x)),
    ("mx.isnan", |x| ops::is_nan(x)),
    ("mx.zeros_like", |x| ops::zeros_like(x)),
    ("mx.ones_like", |x| ops::ones_like(x)),
    ("mx.contiguous", |x| x.contiguous()),
    ("mx.trunc", |x| x.trunc()),
    ("mx.log2", |x| ops::log2(x)),
    ("mx.log10", |x| ops::log10(x)),
    ("mx.tan", |x| ops::tan(x)),
    ("mx.isinf", |x| ops::is_inf(x)),
    ("mx.isfinite", |x| x.is_finite()),
    ("mx.real", |x| x.real()),
    ("mx.imag", |x| x.imag()),
    ("mx.to_fp8", |x| x.to_fp8()),
    ("mx.stop_gradient", |x| Ok(x.clone())),
];

const BINARY: [(&str, Binary); 23] = [
    ("mx.add", |a, b| ops::add(a, b)),
    ("mx.subtract", |a, b| ops::subtract(a, b)),
    ("mx.multiply", |a, b| ops::multiply(a, b)),
    ("mx.divide", |a, b| ops::divide(a, b)),
    ("mx.power", |a, b| ops::power(a, b)),
    ("mx.maximum", |a, b| ops::maximum(a, b)),
    ("mx.minimum", |a, b| ops::minimum(a, b)),
    ("mx.matmul", |a, b| ops::matmul(a, b)),
    ("mx.arctan2", |a, b| ops::atan2(a, b)),
    ("mx.remainder", |a, b| ops::remainder(a, b)),
    ("mx.floor_divide", |a, b| ops::floor_divide(a, b)),
    ("mx.logaddexp", |a, b| ops::logaddexp(a, b)),
    ("mx.greater", |a, b| ops::gt(a, b)),
    ("mx.greater_equal", |a, b| ops::ge(a, b)),
    ("mx.less", |a, b| ops::lt(a, b)),
    ("mx.less_equal", |a, b| ops::le(a, b)),
    ("mx.equal", |a, b| ops::eq(a, b)),
    ("mx.not_equal", |a, b| ops::ne(a, b)),
    ("mx.logical_and", |a, b| ops::logical_and(a, b)),
    ("mx.logical_or", |a, b| ops::logical_or(a, b)),
    ("mx.outer", |a, b| ops::outer(a, b)),
    ("mx.inner", |a, b| ops::inner(a, b)),
    ("mx.take_all", |a, b| ops::indexing::take(a, b)),
];

pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    if let Some((_, function)) = UNARY.iter().find(|(known, _)| *known == name) {
        return done(function(one(given)?)?);
    }
    if let Some((_, function)) = BINARY.iter().find(|(known, _)| *known == name) {
        let [a, b] = two(given)?;
        return done(function(&a, &b)?);
    }
    match name {
        "mx.round" => done(ops::round(one(given)?, int32(args.integer_or("decimals", 0)?, "decimals")?)?),
        "astype" => done(one(given)?.as_dtype(dtype(args.text("dtype")?)?)?),
        "astype_like" => match given {
            [Given::Array(x), Given::Array(like)] => done(x.as_dtype(like.dtype())?),
            _ => Err(Problem("two arrays are expected".to_owned())),
        },
        "mx.view" => done(one(given)?.view_dtype(dtype(args.text("dtype")?)?)?),
        "mx.from_fp8" => done(one(given)?.from_fp8(dtype(args.text_or("dtype", "bfloat16")?)?)?),
        _ => Ok(None),
    }
}
