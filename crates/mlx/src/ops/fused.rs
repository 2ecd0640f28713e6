//! `mx.fast`.

use mlx_rs::{Array, fast};

use super::{Given, Problem, Result, float32, int32};
use t2m_engine::args::Args;

pub(super) fn layer_norm(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let (x, [weight, bias]) = normalised(given)?;
    Ok(fast::layer_norm(x, weight, bias, float32(args.number("eps")?))?)
}

pub(super) fn rms_norm(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let (x, [weight, _]) = normalised(given)?;
    // Python passes None if there is no weight.
    if args.has("weight") && !args.is_none("weight")? {
        return Err(args.wrong("weight", "an array or None").into());
    }
    Ok(fast::rms_norm(x, weight, float32(args.number("eps")?))?)
}

pub(super) fn rope(x: &Array, args: &Args<'_>) -> Result<Array> {
    let (dims, offset) = (int32(args.count("dims")?, "dims")?, int32(args.integer_or("offset", 0)?, "offset")?);
    let (base, scale) = (float32(args.number("base")?), float32(args.number_or("scale", 1.0)?));
    Ok(fast::rope(x, dims, args.flag("traditional")?, base, scale, offset, None)?)
}

pub(super) fn attention(given: &[Given], args: &Args<'_>) -> Result<Array> {
    let [Given::Array(q), Given::Array(k), Given::Array(v), rest @ ..] = given else {
        return Err(Problem("queries, keys and values are expected".to_owned()));
    };
    let scale = float32(args.number("scale")?);
    Ok(match (rest, args.has("mask")) {
        ([Given::Array(mask)], _) => fast::scaled_dot_product_attention(q, k, v, scale, mask, None)?,
        (_, true) if args.text("mask")? == "causal" => {
            let mask = fast::ScaledDotProductAttentionMask::Causal;
            fast::scaled_dot_product_attention(q, k, v, scale, mask, None)?
        }
        _ => fast::scaled_dot_product_attention(q, k, v, scale, None, None)?,
    })
}

/// An input, with an optional weight and bias.
fn normalised(given: &[Given]) -> Result<(&Array, [Option<&Array>; 2])> {
    let [Given::Array(x), rest @ ..] = given else { return Err(Problem("an array is expected".to_owned())) };
    let get = |at: usize| match rest.get(at) {
        None => Ok(None),
        Some(Given::Array(array)) => Ok(Some(array)),
        Some(_) => Err(Problem("an array is expected".to_owned())),
    };
    Ok((x, [get(0)?, get(1)?]))
}
