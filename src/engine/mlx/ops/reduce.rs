//! Reductions, scans and sorting.

use mlx_rs::ops::indexing::{argmax_axis, argmin_axis, topk_axis};
use mlx_rs::{Array, Axes, linalg, ops};

use super::{Called, Given, Problem, axis, axis_or, done, int32, one};
use crate::engine::args::Args;

/// `axis` of a reduction: one, several, or all.
fn axes(args: &Args<'_>, array: &Array) -> Result<Vec<i32>, Problem> {
    match args.list_or_none("axis")? {
        Some(axes) => axes.into_iter().map(|axis| int32(axis, "axis")).collect(),
        None => Ok((0..array.ndim() as i32).collect()),
    }
}

pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    type Reduction = fn(&Array, &[i32], bool) -> mlx_rs::error::Result<Array>;
    const REDUCTIONS: [(&str, Reduction); 8] = [
        ("mx.sum", |x, axes, keep| ops::sum_axes(x, axes, keep)),
        ("mx.mean", |x, axes, keep| ops::mean_axes(x, axes, keep)),
        ("mx.max", |x, axes, keep| ops::max_axes(x, axes, keep)),
        ("mx.min", |x, axes, keep| ops::min_axes(x, axes, keep)),
        ("mx.prod", |x, axes, keep| ops::prod_axes(x, axes, keep)),
        ("mx.any", |x, axes, keep| ops::any_axes(x, axes, keep)),
        ("mx.all", |x, axes, keep| ops::all_axes(x, axes, keep)),
        ("mx.logsumexp", |x, axes, keep| ops::logsumexp_axes(x, axes, keep)),
    ];
    if let Some((_, function)) = REDUCTIONS.iter().find(|(known, _)| *known == name) {
        let x = one(given)?;
        return done(function(x, &axes(args, x)?, args.flag_or("keepdims", false)?)?);
    }
    let keep = |args: &Args<'_>| args.flag_or("keepdims", false);
    done(match name {
        "mx.var" | "mx.std" => {
            let x = one(given)?;
            let (axes, ddof) = (axes(args, x)?, int32(args.integer_or("ddof", 0)?, "ddof")?);
            let function = if name == "mx.var" { ops::var_axes } else { ops::std_axes };
            function(x, &axes, keep(args)?, ddof)?
        }
        "mx.median" => {
            let x = one(given)?;
            ops::median_axes(x, &axes(args, x)?, keep(args)?)?
        }
        "mx.argmax" | "mx.argmin" => {
            let (x, axis) = flat(one(given)?, args)?;
            let function = if name == "mx.argmax" { argmax_axis } else { argmin_axis };
            function(&x, axis, keep(args)?)?
        }
        "mx.softmax" => {
            let x = one(given)?;
            ops::softmax_axes(x, &axes(args, x)?, args.flag_or("precise", false)?)?
        }
        "mx.cumsum" | "mx.cumprod" => {
            let (x, axis) = flat(one(given)?, args)?;
            if name == "mx.cumsum" { x.cumsum(axis, false, true)? } else { x.cumprod(axis, false, true)? }
        }
        "mx.sort" => ops::sort_axis(one(given)?, axis_or(args, -1)?)?,
        "mx.argsort" => ops::argsort_axis(one(given)?, axis_or(args, -1)?)?,
        "mx.topk" => topk_axis(one(given)?, int32(args.count("k")?, "k")?, axis_or(args, -1)?)?,
        "mx.linalg.norm" => {
            let x = one(given)?;
            let axes = args.list_or_none("axis")?;
            let axes: Option<Vec<i32>> =
                axes.map(|axes| axes.into_iter().map(|axis| int32(axis, "axis")).collect()).transpose()?;
            let options = linalg::NormOptions { axes: axes.map_or(Axes::All, Axes::Axes), keep_dims: keep(args)? };
            match args.has("ord") {
                true => linalg::norm(x, args.number("ord")?, options)?,
                false => linalg::norm_l2(x, options)?,
            }
        }
        _ => return Ok(None),
    })
}

/// The array and the axis that is told; without one all axes made one, as Python does it.
fn flat(x: &Array, args: &Args<'_>) -> Result<(Array, i32), Problem> {
    if args.has("axis") { Ok((x.clone(), axis(args, "axis")?)) } else { Ok((ops::reshape(x, &[-1])?, 0)) }
}
