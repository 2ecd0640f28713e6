//! Functions that move elements.

use mlx_rs::ops::indexing::take_axis;
use mlx_rs::{Array, Axes, ops};

use super::{Given, Problem, Result, axes_or_none, axis, axis_or, infinity, int32, integers, one, weak};
use t2m_engine::args::Args;

pub(super) fn transpose(x: &Array, args: &Args<'_>) -> Result<Array> {
    Ok(match args.list_or_none("axes")? {
        Some(_) => ops::transpose_axes(x, &integers(args, "axes")?)?,
        None => ops::transpose(x)?,
    })
}

pub(super) fn squeeze(x: &Array, args: &Args<'_>) -> Result<Array> {
    Ok(match axes_or_none(args)? {
        Some(axes) => ops::squeeze_axes(x, &axes)?,
        None => ops::squeeze(x)?,
    })
}

pub(super) fn repeat(x: &Array, args: &Args<'_>) -> Result<Array> {
    let repeats = int32(args.integer("repeats")?, "repeats")?;
    let flat = if args.has("axis") { x.clone() } else { ops::reshape(x, &[-1])? };
    Ok(ops::repeat_axis::<f32>(flat, repeats, axis_or(args, 0)?)?)
}

pub(super) fn as_strided(x: &Array, args: &Args<'_>) -> Result<Array> {
    let (shape, strides) = (integers(args, "shape")?, args.list("strides")?);
    let offset = usize::try_from(args.integer_or("offset", 0)?).map_err(|error| Problem(error.to_string()))?;
    within(x, &shape, &strides, offset)?;
    Ok(ops::as_strided(x, shape.as_slice(), strides.as_slice(), offset)?)
}

pub(super) fn flip(x: &Array, args: &Args<'_>) -> Result<Array> {
    Ok(x.flip(axes_or_none(args)?.map_or(Axes::All, Axes::Axes))?)
}

pub(super) fn diagonal(x: &Array, args: &Args<'_>) -> Result<Array> {
    let [offset, first, second] = [("offset", 0), ("axis1", 0), ("axis2", 1)]
        .map(|(name, otherwise)| int32(args.integer_or(name, otherwise)?, name));
    Ok(x.diagonal(offset?, first?, second?)?)
}

/// Whether the strided view stays within the array: MLX would read other memory.
fn within(x: &Array, shape: &[i32], strides: &[i64], offset: usize) -> Result<()> {
    let reach = shape.iter().zip(strides).try_fold(offset as i64, |reach, (&size, &stride)| {
        let step = i64::from(size - 1).checked_mul(stride).filter(|step| *step >= 0)?;
        reach.checked_add(step)
    });
    match reach {
        Some(reach)
            if shape.iter().all(|&size| size > 0) && reach < x.size() as i64 && shape.len() == strides.len() =>
        {
            Ok(())
        }
        _ => Err(Problem(format!("the view {shape:?} by {strides:?} leaves an array of {} elements", x.size()))),
    }
}

/// `mx.pad`: constant and edge by mlx-rs; reflect by indices, as mlx-rs has no such mode.
pub(super) fn pad(x: &Array, args: &Args<'_>) -> Result<Array> {
    use t2m_engine::padding::{Mode, sources, width};
    let widths = args.pairs("pad_width", x.ndim())?.into_iter().map(|(low, high)| Some((width(low)?, width(high)?)));
    let widths: Option<Vec<(i32, i32)>> = widths.collect();
    let widths = widths.ok_or_else(|| args.wrong("pad_width", "whole numbers from 0 on"))?;
    match args.text_or("mode", "constant")? {
        "constant" => {
            let named = args.has("constant_values").then(|| args.get("constant_values")).transpose()?;
            let infinite = named.and_then(|value| infinity(value.as_str()?));
            let value = match infinite {
                Some(number) => weak(number, x)?,
                None => weak(args.number_or("constant_values", 0.0)?, x)?,
            };
            Ok(ops::pad(x, widths.as_slice(), value, None)?)
        }
        "edge" => Ok(ops::pad(x, widths.as_slice(), None, ops::PadMode::Edge)?),
        "reflect" => {
            let mut padded = x.clone();
            for (axis, (low, high)) in (0i32..).zip(widths).filter(|(_, both)| *both != (0, 0)) {
                let sources = sources(padded.dim(axis), low, high, Mode::Reflect)?;
                padded = take_axis(&padded, Array::from_slice(&sources, &[sources.len() as i32]), axis)?;
            }
            Ok(padded)
        }
        _ => Err(args.wrong("mode", "constant, edge or reflect").into()),
    }
}

/// mlx-rs has no roll. Without an axis all elements count as one axis.
pub(super) fn roll(x: &Array, args: &Args<'_>) -> Result<Array> {
    let shift = axis(args, "shift")?;
    if args.has("axis") {
        return rolled(x, shift, axis(args, "axis")?);
    }
    Ok(ops::reshape(rolled(&ops::reshape(x, &[-1])?, shift, 0)?, x.shape())?)
}

fn rolled(x: &Array, shift: i32, axis: i32) -> Result<Array> {
    let length = x.dim(axis);
    let sources: Vec<i32> = (0..length).map(|at| (at - shift).rem_euclid(length.max(1))).collect();
    Ok(take_axis(x, Array::from_slice(&sources, &[length]), axis)?)
}

/// `mx.split(x, 3)` in equal parts, `mx.split(x, indices)` at places.
pub(super) fn split(given: &[Given], args: &Args<'_>) -> Result<Vec<Array>> {
    let (x, rest) = given.split_at(given.len().min(1));
    let (x, axis) = (one(x)?, axis_or(args, 0)?);
    match rest {
        [Given::Number(parts)] if parts.fract() == 0.0 && (1.0..1e6).contains(parts) => {
            Ok(ops::split_equal(x, *parts as i32, axis)?)
        }
        [] if args.get("indices_or_sections")?.is_i64() => {
            Ok(ops::split_equal(x, int32(args.count("indices_or_sections")?, "indices_or_sections")?, axis)?)
        }
        [] => Ok(ops::split_at_indices(x, &integers(args, "indices_or_sections")?, axis)?),
        _ => Err(Problem("a number of parts, or where to split, is expected".to_owned())),
    }
}

/// mlx-rs has no meshgrid: each array is laid along its axis and broadcast over the others.
pub(super) fn meshgrid(arrays: &[Array], args: &Args<'_>) -> Result<Vec<Array>> {
    let rank = arrays.len();
    let place = |at: usize| match (args.text_or("indexing", "xy"), at) {
        (Ok("xy"), 0) if rank > 1 => 1,
        (Ok("xy"), 1) => 0,
        (_, at) => at,
    };
    args.text_or("indexing", "xy")?;
    let mut shape = vec![1; rank];
    for (at, array) in arrays.iter().enumerate() {
        shape[place(at)] = array.size() as i32;
    }
    let laid = arrays.iter().enumerate().map(|(at, array)| {
        let mut own = vec![1; rank];
        own[place(at)] = array.size() as i32;
        Ok(ops::broadcast_to(&ops::reshape(array, &own)?, &shape)?)
    });
    laid.collect()
}
