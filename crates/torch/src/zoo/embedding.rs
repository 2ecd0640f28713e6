//! Embeddings of words with a scale, and of positions.

use tch::{Kind, Tensor};

use super::super::tensor::{Weights, length};
use super::super::{Built, Forward, Problem, axes, inputs, single};
use t2m_engine::args::Args;

pub(super) fn build(name: &str, args: &Args<'_>, weights: &Weights) -> Built {
    Ok(Some(match name {
        "t2m.scaled_embedding" => scaled(args, weights)?,
        "t2m.positions" => positions(args, weights)?,
        "t2m.relative_position_bias" => relative_bias(args, weights)?,
        _ => return Ok(None),
    }))
}

/// Rows of `weight` times `scale`: a number, or the name of a tensor.
fn scaled(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    weights.get("weight")?;
    let tensor = weights.find("scale").is_some();
    let number = if tensor { 1.0 } else { args.number("scale")? };
    let rounded = args.flag_or("rounded", false)?;
    Ok(single(move |weights, given| {
        let [ids] = inputs(given)?;
        let weight = weights.get("weight")?;
        let rows = Tensor::f_embedding(weight, ids, -1, false, false)?;
        if tensor {
            return Ok(rows.f_mul(&weights.get("scale")?.f_to_dtype(weight.f_kind()?, false, false)?)?);
        }
        if !rounded {
            return Ok(rows.f_mul_scalar(number)?);
        }
        // Like the buffer of the class: float32, cast to the weight's dtype.
        let scale = Tensor::from(number).f_to_dtype(Kind::Float, false, false)?;
        let scale = scale.f_to_dtype(weight.f_kind()?, false, false)?;
        Ok(rows.f_mul(&scale)?)
    }))
}

/// Rows of `weight` by position. `count` says what is counted in an input `[N, L]`: `mask` the ones before each place,
/// `padding` the ids before it that are not `padding_idx`, `shape` every place. `offset` is added to each number. With
/// `batch` false there is one row for each place and not for each item.
fn positions(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    weights.get("weight")?;
    let offset = args.integer_or("offset", 0)?;
    let count = args.text("count")?.to_owned();
    if !matches!(count.as_str(), "mask" | "padding" | "shape") {
        return Err(args.wrong("count", "mask, padding or shape").into());
    }
    let padding = if count == "padding" { args.integer("padding_idx")? } else { 0 };
    let batch = args.flag_or("batch", true)?;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        axes(input, &[2])?;
        let input = input.f_to_dtype(Kind::Int64, false, false)?;
        let places = match count.as_str() {
            "mask" => input.f_cumsum(1, None)?.f_mul(&input)?.f_sub_scalar(1)?,
            "padding" => {
                let real = input.f_ne(padding)?.f_to_dtype(Kind::Int64, false, false)?;
                real.f_cumsum(1, None)?.f_mul(&real)?.f_add_scalar(padding)?
            }
            _ => input.f_ones_like()?.f_cumsum(1, None)?.f_sub_scalar(1)?,
        };
        let places = if batch { places } else { places.f_select(0, 0)? };
        Ok(Tensor::f_embedding(weights.get("weight")?, &places.f_add_scalar(offset)?, -1, false, false)?)
    }))
}

/// BEiT's bias of attention at its own window size: rows of `weight` by the distance of two patches, the last three of it
/// for the class token. It takes no input.
fn relative_bias(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let window = args.integers("window_size", 2)?;
    let rows = length(weights.get("weight")?, 0)?;
    let (height, width) = (window[0], window[1]);
    let fits = (1..=4096).contains(&height) && (1..=4096).contains(&width);
    if !fits || rows != (2 * height - 1) * (2 * width - 1) + 3 {
        return Err(args.wrong("window_size", "what the table has rows for").into());
    }
    let patches = height * width;
    let mut index = Vec::new();
    for from in 0..=patches {
        index.extend((0..=patches).map(|to| match (from, to) {
            (0, 0) => rows - 1,
            (0, _) => rows - 3,
            (_, 0) => rows - 2,
            _ => {
                let (from, to) = (from - 1, to - 1);
                let down = from / width - to / width + height - 1;
                down * (2 * width - 1) + from % width - to % width + width - 1
            }
        }));
    }
    Ok(single(move |weights, given| {
        let [] = inputs(given)?;
        let taken = weights.get("weight")?.f_index_select(0, &Tensor::f_from_slice(&index)?)?;
        Ok(taken
            .f_view([patches + 1, patches + 1, -1])?
            .f_permute(&[2i64, 0, 1][..])?
            .f_contiguous()?
            .f_unsqueeze(0)?)
    }))
}
