//! What moves elements.

use mlx_rs::ops::indexing::take_axis;
use mlx_rs::{Array, Axes, ops};

use super::{Called, Given, Problem, axis, axis_or, done, infinity, int32, integers, list, one, weak};
use crate::engine::args::Args;

pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    match name {
        "mx.split" => {
            let [x, rest @ ..] = given else { return Err(Problem("an array is expected".to_owned())) };
            return Ok(Some(split(one(std::slice::from_ref(x))?, rest, args)?));
        }
        "mx.meshgrid" => return Ok(Some(meshgrid(list(given)?, args)?)),
        "mx.unstack" => return Ok(Some(one(given)?.unstack(axis_or(args, 0)?)?)),
        _ => {}
    }
    done(match name {
        "mx.reshape" => ops::reshape(one(given)?, &integers(args, "shape")?)?,
        "mx.transpose" => match args.list_or_none("axes")? {
            Some(_) => ops::transpose_axes(one(given)?, &integers(args, "axes")?)?,
            None => ops::transpose(one(given)?)?,
        },
        "mx.swapaxes" => ops::swap_axes(one(given)?, axis(args, "axis1")?, axis(args, "axis2")?)?,
        "mx.moveaxis" => ops::move_axis(one(given)?, axis(args, "source")?, axis(args, "destination")?)?,
        "mx.expand_dims" => ops::expand_dims_axes(one(given)?, &integers(args, "axis")?)?,
        "mx.squeeze" => match args.list_or_none("axis")? {
            Some(_) => ops::squeeze_axes(one(given)?, &integers(args, "axis")?)?,
            None => ops::squeeze(one(given)?)?,
        },
        "mx.flatten" => {
            let (start, end) = (args.integer_or("start_axis", 0)?, args.integer_or("end_axis", -1)?);
            ops::flatten(one(given)?, int32(start, "start_axis")?, int32(end, "end_axis")?)?
        }
        "mx.unflatten" => ops::unflatten(one(given)?, axis(args, "axis")?, &integers(args, "shape")?)?,
        "mx.broadcast_to" => ops::broadcast_to(one(given)?, &integers(args, "shape")?)?,
        "mx.concatenate" => ops::concatenate(list(given)?, int32(args.integer_or("axis", 0)?, "axis")?)?,
        "mx.stack" => ops::stack(list(given)?, int32(args.integer_or("axis", 0)?, "axis")?)?,
        "mx.tile" => ops::tile(one(given)?, &integers(args, "reps")?)?,
        "mx.repeat" => {
            let (repeats, x) = (int32(args.integer("repeats")?, "repeats")?, one(given)?);
            let flat = if args.has("axis") { x.clone() } else { ops::reshape(x, &[-1])? };
            ops::repeat_axis::<f32>(flat, repeats, axis_or(args, 0)?)?
        }
        "mx.pad" => pad(one(given)?, args)?,
        "mx.as_strided" => {
            let (shape, strides) = (integers(args, "shape")?, args.list("strides")?);
            let offset = usize::try_from(args.integer_or("offset", 0)?).map_err(|error| Problem(error.to_string()))?;
            let x = one(given)?;
            within(x, &shape, &strides, offset)?;
            ops::as_strided(x, shape.as_slice(), strides.as_slice(), offset)?
        }
        "mx.tril" => ops::tril(one(given)?, int32(args.integer_or("k", 0)?, "k")?)?,
        "mx.triu" => ops::triu(one(given)?, int32(args.integer_or("k", 0)?, "k")?)?,
        "mx.roll" => match args.has("axis") {
            true => roll(one(given)?, axis(args, "shift")?, axis(args, "axis")?)?,
            false => {
                let x = one(given)?;
                ops::reshape(roll(&ops::reshape(x, &[-1])?, axis(args, "shift")?, 0)?, x.shape())?
            }
        },
        "mx.flip" => {
            let axes = args.list_or_none("axis")?;
            let axes: Option<Vec<i32>> =
                axes.map(|axes| axes.into_iter().map(|axis| int32(axis, "axis")).collect()).transpose()?;
            one(given)?.flip(axes.map_or(Axes::All, Axes::Axes))?
        }
        "mx.diagonal" => {
            let [offset, first, second] = [("offset", 0), ("axis1", 0), ("axis2", 1)]
                .map(|(name, otherwise)| int32(args.integer_or(name, otherwise)?, name));
            one(given)?.diagonal(offset?, first?, second?)?
        }
        _ => return Ok(None),
    })
}

/// Whether the strided view stays within the array: MLX would read other memory.
fn within(x: &Array, shape: &[i32], strides: &[i64], offset: usize) -> Result<(), Problem> {
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

/// `mx.pad`: constant and edge by mlx-rs, reflect by the indices that it stands for, as mlx-rs has no such mode.
fn pad(x: &Array, args: &Args<'_>) -> Result<Array, Problem> {
    use crate::engine::padding::{Mode, sources, width};
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

/// mlx-rs has no roll.
fn roll(x: &Array, shift: i32, axis: i32) -> Result<Array, Problem> {
    let length = x.dim(axis);
    let sources: Vec<i32> = (0..length).map(|at| (at - shift).rem_euclid(length.max(1))).collect();
    Ok(take_axis(x, Array::from_slice(&sources, &[length]), axis)?)
}

/// `mx.split(x, 3)` in equal parts, `mx.split(x, indices)` at places.
fn split(x: &Array, rest: &[Given], args: &Args<'_>) -> Result<Vec<Array>, Problem> {
    let axis = int32(args.integer_or("axis", 0)?, "axis")?;
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
fn meshgrid(arrays: &[Array], args: &Args<'_>) -> Result<Vec<Array>, Problem> {
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
