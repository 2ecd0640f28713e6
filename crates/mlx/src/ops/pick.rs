//! Choosing one of two, and limiting values.

use mlx_rs::{Array, ops};

use super::{Given, Problem, Result, float32, two, weak};
use t2m_engine::args::Args;

/// `mx.where`
pub(super) fn either(given: &[Given]) -> Result<Array> {
    let [Given::Array(condition), sides @ ..] = given else {
        return Err(Problem("a condition is expected".to_owned()));
    };
    let [a, b] = match sides {
        [Given::Number(a), Given::Number(b)] => [*a, *b].map(|number| Array::from_f32(float32(number))),
        sides => two(sides)?,
    };
    Ok(ops::select(condition, &a, &b)?)
}

pub(super) fn clip(x: &Array, args: &Args<'_>) -> Result<Array> {
    let bound = |name: &str| -> Result<Option<Array>> {
        if args.has(name) && !args.is_none(name)? { Ok(Some(weak(args.number(name)?, x)?)) } else { Ok(None) }
    };
    let mut clipped = x.clone();
    if let Some(least) = bound("a_min")? {
        clipped = ops::maximum(&clipped, &least)?;
    }
    if let Some(most) = bound("a_max")? {
        clipped = ops::minimum(&clipped, &most)?;
    }
    Ok(clipped)
}

/// `nn.hard_tanh` by ops, as mlx-rs has none.
pub(super) fn hard_tanh(x: &Array, args: &Args<'_>) -> Result<Array> {
    let scalar = |number: f64| Array::from_f32(float32(number)).as_dtype(x.dtype());
    let (least, most) = (args.number_or("min_val", -1.0)?, args.number_or("max_val", 1.0)?);
    Ok(ops::minimum(ops::maximum(x, scalar(least)?)?, scalar(most)?)?)
}
