//! Slices, and reading and writing at places that arrays give.

use mlx_rs::ops::indexing::{self, scatter_add_single, scatter_single, take_axis};
use mlx_rs::{Array, Dtype, ops};

use super::{Computed, Given, Problem, Result, arrays, axis, int32, two};
use t2m_engine::args::Args;

pub(super) fn take(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [x, indices] = two(given)?;
    // Without an axis Python takes from all elements.
    let (x, axis) = if args.has("axis") { (x, axis(args, "axis")?) } else { (ops::reshape(x, &[-1])?, 0) };
    taken(&x, &indices, axis)
}

pub(super) fn take_along_axis(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let ([x, indices], axis) = (two(given)?, axis(args, "axis")?);
    check_indices(&indices, x.dim(axis))?;
    Ok(indexing::take_along_axis(x, &indices, axis)?)
}

pub(super) fn put_along_axis(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let ([x, indices, values], axis) = (arrays(given)?, axis(args, "axis")?);
    check_indices(indices, x.dim(axis))?;
    Ok(indexing::put_along_axis(x, indices, values, axis)?)
}

/// `x[0]`
pub(super) fn element(x: &Array, args: &Args<'_>) -> Result<Array> {
    let at = int32(args.integer("at")?, "at")?;
    if !(0..x.shape().first().copied().unwrap_or(0)).contains(&at) {
        return Err(Problem(format!("there is no element {at} in {:?}", x.shape())));
    }
    Ok(ops::squeeze_axes(take_axis(x, Array::from_slice(&[at], &[1]), 0)?, &[0])?)
}

/// `x[indices]`
pub(super) fn getitem(given: &[Given]) -> Result<Array> {
    let [x, indices] = arrays(given)?;
    taken(x, indices, 0)
}

/// `x[:, 1:3] = values`
pub(super) fn set_slice(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [x, values] = two(given)?;
    let (flat, shape) = places(&x, args)?;
    let values = ops::reshape(ops::broadcast_to(&values, &shape)?, &[-1, 1])?;
    let base = ops::reshape(&x, &[-1])?;
    Ok(ops::reshape(&scatter_single(&base, &flat, &values.as_dtype(x.dtype())?, 0)?, x.shape())?)
}

/// `x.at[…].add(values)`, by arrays of indices or by slices.
pub(super) fn at_add(given: &[Given], args: &Args<'_>) -> Result<Array> {
    match given {
        [Given::Array(x), Given::Array(values), Given::Array(first), rest @ ..] => {
            at_add_indices(x, values, first, rest)
        }
        _ => {
            let [x, values] = two(given)?;
            at_add_slices(&x, &values, args)
        }
    }
}

/// MLX does not check indices, and would read other memory.
fn check_indices(indices: &Array, length: i32) -> Result<()> {
    if indices.size() == 0 {
        return Ok(());
    }
    if !matches!(indices.dtype(), Dtype::Int32 | Dtype::Int64 | Dtype::Uint32) {
        return Err(Problem(format!("indices are whole numbers, not {:?}", indices.dtype())));
    }
    let (least, most) = (indices.min(None)?.item_cast::<i64>(), indices.max(None)?.item_cast::<i64>());
    if least < -i64::from(length) || most >= i64::from(length) {
        return Err(Problem(format!("the indices go from {least} to {most}, the axis from 0 to {}", length - 1)));
    }
    Ok(())
}

/// The positions that a slice takes along each axis it names.
fn positions(x: &Array, args: &Args<'_>) -> Result<Vec<Vec<i32>>> {
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
        // As in Python: negative numbers count from the end, and what is beyond it is cut off.
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

/// `x[:, 1:3]`
pub(super) fn slice(x: &Array, args: &Args<'_>) -> Result<Array> {
    let mut cut = x.clone();
    for (axis, positions) in (0i32..).zip(positions(x, args)?) {
        if positions.len() as i32 != cut.dim(axis) || positions.iter().enumerate().any(|(at, &from)| at as i32 != from)
        {
            cut = take_axis(&cut, Array::from_slice(&positions, &[positions.len() as i32]), axis)?;
        }
    }
    Ok(cut)
}

/// The places that a slice names as indices into all elements, and the slice's shape.
fn places(x: &Array, args: &Args<'_>) -> Result<(Array, Vec<i32>)> {
    let (mut flat, mut shape): (Vec<i64>, Vec<i32>) = (vec![0], Vec::new());
    let own = positions(x, args)?;
    for axis in 0..x.ndim() {
        let length = x.dim(axis as i32);
        let along: Vec<i32> = own.get(axis).cloned().unwrap_or_else(|| (0..length).collect());
        shape.push(along.len() as i32);
        flat = flat
            .iter()
            .flat_map(|&base| along.iter().map(move |&at| base * i64::from(length) + i64::from(at)))
            .collect();
    }
    let flat: Vec<i32> = flat.into_iter().map(|at| int32(at, "index")).collect::<Result<_>>()?;
    Ok((Array::from_slice(&flat, &[flat.len() as i32]), shape))
}

/// `x.at[…].add(values)` for a slice: positions that occur twice are added to twice.
fn at_add_slices(x: &Array, values: &Array, args: &Args<'_>) -> Result<Array> {
    let (flat, _) = places(x, args)?;
    if flat.size() != values.size() {
        return Err(Problem(format!("{} values for {} places", values.size(), flat.size())));
    }
    let base = ops::reshape(x, &[-1])?;
    let updates = ops::reshape(values, &[-1, 1])?;
    Ok(ops::reshape(&scatter_add_single(&base, &flat, &updates, 0)?, x.shape())?)
}

/// `x.at[i].maximum(values)` and the like, by indices along the first axis.
pub(super) fn at(given: &[Given], function: impl Fn(&Array, &Array, &Array) -> Computed) -> Result<Array> {
    let [x, values, indices] = arrays(given)?;
    check_indices(indices, *x.shape().first().unwrap_or(&0))?;
    let inner = x.shape().get(1..).unwrap_or_default();
    let shape: Vec<i32> = [indices.size() as i32, 1].iter().chain(inner).copied().collect();
    let updates = ops::reshape(values, &shape)?.as_dtype(x.dtype())?;
    Ok(function(x, &ops::reshape(indices, &[-1])?, &updates)?)
}

/// Where elements are true or not zero, as places among all of them. How many there are is known after it was computed.
pub(super) fn flatnonzero(x: &Array) -> Result<Array> {
    let flags = ops::reshape(&ops::ne(x, Array::from_int(0).as_dtype(x.dtype())?)?, &[-1])?;
    let flags = flags.as_dtype(Dtype::Uint8)?.contiguous()?;
    let flags = flags.to_vec_exact::<u8>().map_err(|error| Problem(error.to_string()))?;
    let places = flags.iter().enumerate().filter(|(_, flag)| **flag != 0).map(|(at, _)| int32(at as i64, "place"));
    let places = places.collect::<Result<Vec<i32>>>()?;
    Ok(Array::from_slice(&places, &[places.len() as i32]))
}

/// `mx.searchsorted`, over one sorted axis.
pub(super) fn searchsorted(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [sorted, values] = arrays(given)?;
    let side = match args.text_or("side", "left")? {
        "left" => ops::SearchSide::Left,
        "right" => ops::SearchSide::Right,
        _ => return Err(args.wrong("side", "left or right").into()),
    };
    Ok(sorted.search_sorted(values, side)?)
}

/// `x.at[i, j].add(values)`: arrays of indices along the first axes, broadcast against each other.
fn at_add_indices(x: &Array, values: &Array, first: &Array, rest: &[Given]) -> Result<Array> {
    let mut flat = first.as_dtype(Dtype::Int32)?;
    check_indices(&flat, *x.shape().first().unwrap_or(&0))?;
    for (axis, index) in (1usize..).zip(rest) {
        let (Given::Array(index), Some(&length)) = (index, x.shape().get(axis)) else {
            return Err(Problem("as many arrays of indices as axes are expected".to_owned()));
        };
        check_indices(index, length)?;
        let before = ops::multiply(&flat, Array::from_int(length))?;
        flat = ops::add(before, index.as_dtype(Dtype::Int32)?)?;
    }
    let inner = &x.shape()[rest.len() + 1..];
    let shape: Vec<i32> = [-1].iter().chain(inner).copied().collect();
    let base = ops::reshape(x, &shape)?;
    let updates: Vec<i32> = [-1, 1].iter().chain(inner).copied().collect();
    let updates = ops::reshape(values, &updates)?;
    if updates.dim(0) != flat.size() as i32 {
        return Err(Problem(format!("{} values for {} places", updates.dim(0), flat.size())));
    }
    let added = scatter_add_single(&base, &ops::reshape(&flat, &[-1])?, &updates, 0)?;
    Ok(ops::reshape(&added, x.shape())?)
}

fn taken(x: &Array, indices: &Array, axis: i32) -> Result<Array> {
    if indices.dtype() == Dtype::Bool {
        return Err(Problem("boolean indices are not supported".to_owned()));
    }
    check_indices(indices, x.dim(axis))?;
    Ok(take_axis(x, indices, axis)?)
}
