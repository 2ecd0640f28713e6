//! Over an axis, over several, over all of them.

use mlx_rs::{Array, Axes, linalg, ops};

use super::{Computed, Given, Result, axes_or_none, axis, int32, one};
use t2m_engine::args::Args;

/// `axis` of a reduction: one, several, or all.
fn axes(args: &Args<'_>, array: &Array) -> Result<Vec<i32>> {
    Ok(axes_or_none(args)?.unwrap_or_else(|| (0..array.ndim() as i32).collect()))
}

fn keep(args: &Args<'_>) -> Result<bool> {
    Ok(args.flag_or("keepdims", false)?)
}

/// Reductions over axes.
pub(super) fn over(
    given: &[Given],
    args: &Args<'_>,
    function: impl Fn(&Array, &[i32], bool) -> Computed,
) -> Result<Array> {
    let x = one(given)?;
    Ok(function(x, &axes(args, x)?, keep(args)?)?)
}

/// A variance, or its root.
pub(super) fn spread(
    given: &[Given],
    args: &Args<'_>,
    function: impl Fn(&Array, &[i32], bool, i32) -> Computed,
) -> Result<Array> {
    let (x, ddof) = (one(given)?, int32(args.integer_or("ddof", 0)?, "ddof")?);
    Ok(function(x, &axes(args, x)?, keep(args)?, ddof)?)
}

/// Positions along an axis.
pub(super) fn place(
    given: &[Given],
    args: &Args<'_>,
    function: impl Fn(&Array, i32, bool) -> Computed,
) -> Result<Array> {
    let (x, axis) = flat(one(given)?, args)?;
    Ok(function(&x, axis, keep(args)?)?)
}

/// Cumulative functions along an axis.
pub(super) fn along(given: &[Given], args: &Args<'_>, function: impl Fn(&Array, i32) -> Computed) -> Result<Array> {
    let (x, axis) = flat(one(given)?, args)?;
    Ok(function(&x, axis)?)
}

pub(super) fn softmax(x: &Array, args: &Args<'_>) -> Result<Array> {
    Ok(ops::softmax_axes(x, &axes(args, x)?, args.flag_or("precise", false)?)?)
}

pub(super) fn norm(x: &Array, args: &Args<'_>) -> Result<Array> {
    let axes = axes_or_none(args)?.map_or(Axes::All, Axes::Axes);
    let options = linalg::NormOptions { axes, keep_dims: keep(args)? };
    Ok(match args.has("ord") {
        true => linalg::norm(x, args.number("ord")?, options)?,
        false => linalg::norm_l2(x, options)?,
    })
}

/// The array and the given axis; without one, as in Python, all axes are flattened into one.
fn flat(x: &Array, args: &Args<'_>) -> Result<(Array, i32)> {
    if args.has("axis") { Ok((x.clone(), axis(args, "axis")?)) } else { Ok((ops::reshape(x, &[-1])?, 0)) }
}
