//! Arrays made from nothing.

use mlx_rs::{Array, ops, random};

use super::{Given, Result, dtype, float32, int32, integers, nothing};
use t2m_engine::args::Args;
use t2m_engine::program::infinity;

/// Whole numbers give int32, others float32.
fn typed(array: &Array, args: &Args<'_>, whole: bool) -> Result<Array> {
    Ok(array.as_dtype(dtype(args.text_or("dtype", if whole { "int32" } else { "float32" })?)?)?)
}

pub(super) fn arange(given: &[Given], args: &Args<'_>) -> Result<Array> {
    nothing(given)?;
    let (start, stop) = (args.number_or("start", 0.0)?, args.number("stop")?);
    let whole = ["start", "stop", "step"].iter().all(|name| !args.has(name) || args.integer(name).is_ok());
    let step = args.number_or("step", 1.0)?;
    // Whole numbers above 2^24 are none in float32.
    let range =
        if whole { ops::arange::<f64, i64>(start, stop, step)? } else { ops::arange::<f64, f32>(start, stop, step)? };
    typed(&range, args, whole)
}

pub(super) fn linspace(given: &[Given], args: &Args<'_>) -> Result<Array> {
    nothing(given)?;
    let count = int32(args.integer_or("num", 50)?, "num")?;
    let options = ops::LinspaceOptions { count, endpoint: true };
    Ok(ops::linspace::<f64, f32>(args.number("start")?, args.number("stop")?, options)?)
}

pub(super) fn zeros(given: &[Given], args: &Args<'_>) -> Result<Array> {
    filled(given, args, 0.0, false)
}

pub(super) fn ones(given: &[Given], args: &Args<'_>) -> Result<Array> {
    filled(given, args, 1.0, false)
}

pub(super) fn full(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let named = args.get("vals")?;
    let value = match (named.as_bool(), named.as_str().and_then(infinity)) {
        (Some(is_so), _) => f64::from(u8::from(is_so)),
        (_, Some(infinite)) => infinite,
        _ => args.number("vals")?,
    };
    filled(given, args, value, named.is_i64())
}

fn filled(given: &[Given], args: &Args<'_>, value: f64, whole: bool) -> Result<Array> {
    nothing(given)?;
    let shape = integers(args, "shape")?;
    let exact = whole && value.fract() == 0.0 && value.abs() < 2f64.powi(53);
    let one = if exact { Array::from_slice(&[value as i64], &[]) } else { Array::from_f32(float32(value)) };
    let all = ops::broadcast_to(&one, &shape)?;
    typed(&all, args, whole)
}

pub(super) fn eye(given: &[Given], args: &Args<'_>) -> Result<Array> {
    nothing(given)?;
    Ok(ops::eye::<f32>(int32(args.count("n")?, "n")?, None, None)?)
}

pub(super) fn normal(given: &[Given], args: &Args<'_>) -> Result<Array> {
    nothing(given)?;
    Ok(random::normal::<f32>(integers(args, "shape")?.as_slice(), None, None, None)?)
}

pub(super) fn uniform(given: &[Given], args: &Args<'_>) -> Result<Array> {
    nothing(given)?;
    let (low, high) = (args.number_or("low", 0.0)?, args.number_or("high", 1.0)?);
    Ok(random::uniform::<f32, f32>(float32(low), float32(high), integers(args, "shape")?.as_slice(), None)?)
}
