//! MLX's functions by their Python names and arguments.
//!
//! mlx-rs's scalars are float32 arrays that promote half precision; Python's plain numbers take the dtype of what they meet, and
//! so do those here. What mlx-rs does not bind is reached through mlx-sys.

use mlx_rs::ops::indexing::{argmax_axis, argmin_axis, put_along_axis, scatter_add_single, take_along_axis, take_axis};
use mlx_rs::{Array, Axes, Dtype, fast, linalg, ops};

use super::program::dtype;
use super::{Problem, float32, int32};
use crate::engine::args::Args;
use crate::engine::program::infinity;

/// A positional argument at work.
pub(super) enum Given {
    /// A plain number.
    Number(f64),
    /// An array.
    Array(Array),
    /// Several.
    List(Vec<Array>),
}

impl Given {
    /// The array; a number becomes a float32 one.
    pub fn array(self) -> Result<Array, Problem> {
        match self {
            Given::Array(array) => Ok(array),
            Given::Number(number) => Ok(Array::from_f32(float32(number))),
            Given::List(_) => Err(Problem("one array is expected, not several".to_owned())),
        }
    }
}

type Unary = fn(&Array) -> mlx_rs::error::Result<Array>;
type Binary = fn(&Array, &Array) -> mlx_rs::error::Result<Array>;

const UNARY: [(&str, Unary); 26] = [
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
    ("mx.round", |x| ops::round(x, None)),
    ("mx.reciprocal", |x| ops::reciprocal(x)),
    ("mx.logical_not", |x| ops::logical_not(x)),
    ("mx.isnan", |x| ops::is_nan(x)),
    ("mx.zeros_like", |x| ops::zeros_like(x)),
    ("mx.ones_like", |x| ops::ones_like(x)),
    ("mx.contiguous", |x| x.contiguous()),
    ("mx.trunc", |x| x.trunc()),
    ("mx.stop_gradient", |x| Ok(x.clone())),
];

const BINARY: [(&str, Binary); 22] = [
    ("mx.add", |a, b| ops::add(a, b)),
    ("mx.subtract", |a, b| ops::subtract(a, b)),
    ("mx.multiply", |a, b| ops::multiply(a, b)),
    ("mx.divide", |a, b| ops::divide(a, b)),
    ("mx.power", |a, b| ops::power(a, b)),
    ("mx.maximum", |a, b| ops::maximum(a, b)),
    ("mx.minimum", |a, b| ops::minimum(a, b)),
    ("mx.matmul", |a, b| ops::matmul(a, b)),
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

/// Call a function.
pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Result<Vec<Array>, Problem> {
    if let Some((_, function)) = UNARY.iter().find(|(known, _)| *known == name) {
        return Ok(vec![function(one(given)?)?]);
    }
    if let Some((_, function)) = BINARY.iter().find(|(known, _)| *known == name) {
        let [a, b] = two(given)?;
        return Ok(vec![function(&a, &b)?]);
    }
    if name == "mx.split" {
        let [x, rest @ ..] = given else { return Err(Problem("an array is expected".to_owned())) };
        return split(one(std::slice::from_ref(x))?, rest, args);
    }
    if name == "mx.meshgrid" {
        return meshgrid(list(given)?, args);
    }
    if name == "mx.unstack" {
        return Ok(one(given)?.unstack(axis(args, "axis")?)?);
    }
    let result = reduce(name, given, args).transpose();
    let result = result.or_else(|| shape(name, given, args).transpose());
    let result = result.or_else(|| index(name, given, args).transpose());
    let result = result.or_else(|| other(name, given, args).transpose());
    result.unwrap_or_else(|| Err(Problem(format!("MLX's side does not know {name}")))).map(|array| vec![array])
}

fn one(given: &[Given]) -> Result<&Array, Problem> {
    match given {
        [Given::Array(array)] => Ok(array),
        _ => Err(Problem("one array is expected".to_owned())),
    }
}

fn list(given: &[Given]) -> Result<&[Array], Problem> {
    match given {
        [Given::List(arrays)] => Ok(arrays),
        _ => Err(Problem("a list of arrays is expected".to_owned())),
    }
}

/// Two operands, of which one may be a plain number.
fn two(given: &[Given]) -> Result<[Array; 2], Problem> {
    match given {
        [Given::Array(a), Given::Array(b)] => Ok([a.clone(), b.clone()]),
        [Given::Array(a), Given::Number(b)] => Ok([a.clone(), weak(*b, a)?]),
        [Given::Number(a), Given::Array(b)] => Ok([weak(*a, b)?, b.clone()]),
        _ => Err(Problem("two operands are expected".to_owned())),
    }
}

/// A plain number in the dtype of the array that it meets.
fn weak(number: f64, other: &Array) -> Result<Array, Problem> {
    let scalar = Array::from_f32(float32(number));
    let dtype = other.dtype();
    // An infinity has a NaN for its fraction.
    let keeps = dtype.is_float() || (number.fract() == 0.0 && dtype != Dtype::Bool);
    Ok(if keeps { scalar.as_dtype(dtype)? } else { scalar })
}

fn axis(args: &Args<'_>, name: &str) -> Result<i32, Problem> {
    int32(args.integer(name)?, name)
}

fn integers(args: &Args<'_>, name: &str) -> Result<Vec<i32>, Problem> {
    args.list(name)?.into_iter().map(|number| int32(number, name)).collect()
}

/// `axis` of a reduction: one, several, or all.
fn axes(args: &Args<'_>, array: &Array) -> Result<Vec<i32>, Problem> {
    match args.list_or_none("axis")? {
        Some(axes) => axes.into_iter().map(|axis| int32(axis, "axis")).collect(),
        None => Ok((0..array.ndim() as i32).collect()),
    }
}

fn reduce(name: &str, given: &[Given], args: &Args<'_>) -> Result<Option<Array>, Problem> {
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
        return Ok(Some(function(x, &axes(args, x)?, args.flag_or("keepdims", false)?)?));
    }
    let keep = |args: &Args<'_>| args.flag_or("keepdims", false);
    Ok(Some(match name {
        "mx.var" | "mx.std" => {
            let x = one(given)?;
            let (axes, ddof) = (axes(args, x)?, int32(args.integer_or("ddof", 0)?, "ddof")?);
            let function = if name == "mx.var" { ops::var_axes } else { ops::std_axes };
            function(x, &axes, keep(args)?, ddof)?
        }
        "mx.median" => ops::median_axis(one(given)?, axis(args, "axis")?, keep(args)?)?,
        "mx.argmax" => argmax_axis(one(given)?, axis(args, "axis")?, keep(args)?)?,
        "mx.argmin" => argmin_axis(one(given)?, axis(args, "axis")?, keep(args)?)?,
        "mx.softmax" => ops::softmax_axes(one(given)?, &integers(args, "axis")?, args.flag_or("precise", false)?)?,
        "mx.cumsum" => one(given)?.cumsum(axis(args, "axis")?, false, true)?,
        "mx.cumprod" => one(given)?.cumprod(axis(args, "axis")?, false, true)?,
        "mx.sort" => ops::sort_axis(one(given)?, axis(args, "axis")?)?,
        "mx.argsort" => ops::argsort_axis(one(given)?, axis(args, "axis")?)?,
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
    }))
}

fn shape(name: &str, given: &[Given], args: &Args<'_>) -> Result<Option<Array>, Problem> {
    Ok(Some(match name {
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
            let (repeats, axis) = (int32(args.integer("repeats")?, "repeats")?, axis(args, "axis")?);
            ops::repeat_axis::<f32>(one(given)?.clone(), repeats, axis)?
        }
        "mx.pad" => pad(one(given)?, args)?,
        "mx.as_strided" => {
            let (shape, strides) = (integers(args, "shape")?, args.list("strides")?);
            let offset = usize::try_from(args.integer_or("offset", 0)?).map_err(|error| Problem(error.to_string()))?;
            let x = one(given)?;
            within(x, &shape, &strides, offset)?;
            ops::as_strided(x, shape.as_slice(), strides.as_slice(), offset)?
        }
        "astype" => one(given)?.as_dtype(dtype(args.text("dtype")?)?)?,
        "astype_like" => match given {
            [Given::Array(x), Given::Array(like)] => x.as_dtype(like.dtype())?,
            _ => return Err(Problem("two arrays are expected".to_owned())),
        },
        "mx.view" => one(given)?.view_dtype(dtype(args.text("dtype")?)?)?,
        "mx.tril" => ops::tril(one(given)?, int32(args.integer_or("k", 0)?, "k")?)?,
        "mx.triu" => ops::triu(one(given)?, int32(args.integer_or("k", 0)?, "k")?)?,
        "mx.roll" => roll(one(given)?, axis(args, "shift")?, axis(args, "axis")?)?,
        _ => return Ok(None),
    }))
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

fn index(name: &str, given: &[Given], args: &Args<'_>) -> Result<Option<Array>, Problem> {
    Ok(Some(match name {
        "mx.take" => {
            let [x, indices] = two(given)?;
            check_indices(&indices, x.dim(axis(args, "axis")?))?;
            take_axis(&x, &indices, axis(args, "axis")?)?
        }
        "mx.take_along_axis" => {
            let [x, indices] = two(given)?;
            check_indices(&indices, x.dim(axis(args, "axis")?))?;
            take_along_axis(&x, &indices, axis(args, "axis")?)?
        }
        "mx.put_along_axis" => match given {
            [Given::Array(x), Given::Array(indices), Given::Array(values)] => {
                check_indices(indices, x.dim(axis(args, "axis")?))?;
                put_along_axis(x, indices, values, axis(args, "axis")?)?
            }
            _ => return Err(Problem("an array, indices and values are expected".to_owned())),
        },
        "index" => {
            let x = one(given)?;
            let at = int32(args.integer("at")?, "at")?;
            if !(0..x.shape().first().copied().unwrap_or(0)).contains(&at) {
                return Err(Problem(format!("there is no element {at} in {:?}", x.shape())));
            }
            ops::squeeze_axes(take_axis(x, Array::from_slice(&[at], &[1]), 0)?, &[0])?
        }
        "slice" => slice(one(given)?, args)?,
        "at_add" => {
            let [x, values] = two(given)?;
            at_add(&x, &values, args)?
        }
        _ => return Ok(None),
    }))
}

/// MLX does not check an index: it reads other memory.
fn check_indices(indices: &Array, length: i32) -> Result<(), Problem> {
    if indices.size() == 0 {
        return Ok(());
    }
    let (least, most) = (indices.min(None)?.item_cast::<i64>(), indices.max(None)?.item_cast::<i64>());
    if least < -i64::from(length) || most >= i64::from(length) {
        return Err(Problem(format!("the indices go from {least} to {most}, the axis from 0 to {}", length - 1)));
    }
    Ok(())
}

/// The positions that a slice takes along each axis it names.
fn positions(x: &Array, args: &Args<'_>) -> Result<Vec<Vec<i32>>, Problem> {
    let lists = ["starts", "stops", "strides"].map(|name| {
        let list = if args.has(name) { args.get(name)?.as_array().cloned().unwrap_or_default() } else { Vec::new() };
        Ok::<_, Problem>(list)
    });
    let [starts, stops, strides] = lists;
    let (starts, stops, strides) = (starts?, stops?, strides?);
    let mut all = Vec::new();
    for axis in 0..starts.len().min(x.ndim()) {
        let length = i64::from(x.dim(axis as i32));
        let number = |list: &[serde_json::Value]| list.get(axis).and_then(serde_json::Value::as_i64);
        let stride = number(&strides).unwrap_or(1);
        // As Python does it: negative numbers count from the end, what lies beyond it is cut.
        let resolve = |given: Option<i64>, missing: i64| {
            let (least, most) = if stride > 0 { (0, length) } else { (-1, length - 1) };
            given.map_or(missing, |at| if at < 0 { at + length } else { at }.clamp(least, most))
        };
        let (first, last) = if stride > 0 { (0, length) } else { (length - 1, -1) };
        let (start, stop) = (resolve(number(&starts), first), resolve(number(&stops), last));
        let mut own = Vec::new();
        let mut at = start;
        while stride != 0 && (if stride > 0 { at < stop } else { at > stop }) {
            own.push(int32(at, "slice")?);
            at += stride;
        }
        all.push(own);
    }
    Ok(all)
}

fn slice(x: &Array, args: &Args<'_>) -> Result<Array, Problem> {
    let mut cut = x.clone();
    for (axis, positions) in (0i32..).zip(positions(x, args)?) {
        if positions.len() as i32 != cut.dim(axis) || positions.iter().enumerate().any(|(at, &from)| at as i32 != from)
        {
            cut = take_axis(&cut, Array::from_slice(&positions, &[positions.len() as i32]), axis)?;
        }
    }
    Ok(cut)
}

/// `x.at[…].add(values)` for a slice: positions that are named twice are added to twice.
fn at_add(x: &Array, values: &Array, args: &Args<'_>) -> Result<Array, Problem> {
    let mut flat: Vec<i64> = vec![0];
    let own = positions(x, args)?;
    for axis in 0..x.ndim() {
        let length = x.dim(axis as i32);
        let along: Vec<i32> = own.get(axis).cloned().unwrap_or_else(|| (0..length).collect());
        flat = flat
            .iter()
            .flat_map(|&base| along.iter().map(move |&at| base * i64::from(length) + i64::from(at)))
            .collect();
    }
    if flat.len() != values.size() {
        return Err(Problem(format!("{} values for {} places", values.size(), flat.len())));
    }
    let flat: Vec<i32> = flat.into_iter().map(|at| int32(at, "index")).collect::<Result<_, _>>()?;
    let indices = Array::from_slice(&flat, &[flat.len() as i32]);
    let base = ops::reshape(x, &[-1])?;
    let updates = ops::reshape(values, &[flat.len() as i32, 1])?;
    Ok(ops::reshape(&scatter_add_single(&base, &indices, &updates, 0)?, x.shape())?)
}

fn other(name: &str, given: &[Given], args: &Args<'_>) -> Result<Option<Array>, Problem> {
    Ok(Some(match (name, given) {
        ("mx.where", [condition, a, b]) => {
            let Given::Array(condition) = condition else { return Err(Problem("a condition is expected".to_owned())) };
            let [a, b] = match (a, b) {
                (Given::Number(a), Given::Number(b)) => [Array::from_f32(float32(*a)), Array::from_f32(float32(*b))],
                (Given::Array(a), Given::Array(b)) => [a.clone(), b.clone()],
                (Given::Array(a), Given::Number(b)) => [a.clone(), weak(*b, a)?],
                (Given::Number(a), Given::Array(b)) => [weak(*a, b)?, b.clone()],
                _ => return Err(Problem("two operands are expected".to_owned())),
            };
            ops::select(condition, &a, &b)?
        }
        ("mx.clip", [Given::Array(x)]) => {
            let bound = |name: &str| {
                if args.has(name) && !args.is_none(name)? {
                    Ok(Some(weak(args.number(name)?, x)?))
                } else {
                    Ok::<_, Problem>(None)
                }
            };
            let mut clipped = x.clone();
            if let Some(least) = bound("a_min")? {
                clipped = ops::maximum(&clipped, &least)?;
            }
            if let Some(most) = bound("a_max")? {
                clipped = ops::minimum(&clipped, &most)?;
            }
            clipped
        }
        ("mx.einsum", [Given::List(arrays)]) => ops::einsum(args.text("subscripts")?, arrays)?,
        ("mx.addmm", [Given::Array(c), Given::Array(a), Given::Array(b)]) => {
            let (alpha, beta) = (args.number_or("alpha", 1.0)?, args.number_or("beta", 1.0)?);
            ops::addmm(c, a, b, float32(alpha), float32(beta))?
        }
        ("mx.arange", []) => {
            let (start, stop) = (args.number_or("start", 0.0)?, args.number("stop")?);
            let range = ops::arange::<f64, f32>(start, stop, args.number_or("step", 1.0)?)?;
            range.as_dtype(dtype(args.text_or("dtype", "int32")?)?)?
        }
        ("mx.linspace", []) => {
            let count = int32(args.count("num")?, "num")?;
            let options = ops::LinspaceOptions { count, endpoint: true };
            ops::linspace::<f64, f32>(args.number("start")?, args.number("stop")?, options)?
        }
        ("mx.zeros" | "mx.ones" | "mx.full", []) => {
            let value = match name {
                "mx.zeros" => 0.0,
                "mx.ones" => 1.0,
                _ => args.number("vals")?,
            };
            let full = ops::full::<f32>(&integers(args, "shape")?, Array::from_f32(float32(value)))?;
            full.as_dtype(dtype(args.text_or("dtype", "float32")?)?)?
        }
        ("mx.eye", []) => ops::eye::<f32>(int32(args.count("n")?, "n")?, None, None)?,
        ("mx.topk", [Given::Array(x)]) => {
            ops::indexing::topk_axis(x, int32(args.count("k")?, "k")?, axis(args, "axis")?)?
        }
        ("mx.fast.layer_norm", [Given::Array(x), rest @ ..]) => {
            let [weight, bias] = optional(rest)?;
            fast::layer_norm(x, weight, bias, float32(args.number("eps")?))?
        }
        ("mx.fast.rms_norm", [Given::Array(x), rest @ ..]) => {
            let [weight, _] = optional(rest)?;
            fast::rms_norm(x, weight, float32(args.number("eps")?))?
        }
        ("mx.fast.scaled_dot_product_attention", [Given::Array(q), Given::Array(k), Given::Array(v), rest @ ..]) => {
            let scale = float32(args.number("scale")?);
            match (rest, args.has("mask")) {
                ([Given::Array(mask)], _) => fast::scaled_dot_product_attention(q, k, v, scale, mask, None)?,
                (_, true) if args.text("mask")? == "causal" => {
                    let mask = fast::ScaledDotProductAttentionMask::Causal;
                    fast::scaled_dot_product_attention(q, k, v, scale, mask, None)?
                }
                _ => fast::scaled_dot_product_attention(q, k, v, scale, None, None)?,
            }
        }
        ("mx.fast.rope", [Given::Array(x)]) => fast::rope(
            x,
            int32(args.count("dims")?, "dims")?,
            args.flag("traditional")?,
            float32(args.number("base")?),
            float32(args.number_or("scale", 1.0)?),
            int32(args.integer_or("offset", 0)?, "offset")?,
            None,
        )?,
        (_, [Given::Array(input), Given::Array(weight)]) if name.starts_with("mx.conv") => {
            return super::conv::function(name, input, weight, args);
        }
        _ => return super::functions::call(name, given, args),
    }))
}

fn optional(rest: &[Given]) -> Result<[Option<&Array>; 2], Problem> {
    let get = |at: usize| match rest.get(at) {
        None => Ok(None),
        Some(Given::Array(array)) => Ok(Some(array)),
        Some(_) => Err(Problem("an array is expected".to_owned())),
    };
    Ok([get(0)?, get(1)?])
}
