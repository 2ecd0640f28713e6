//! Multi-head attention, computed in the order of `multi_head_attention_forward` with `need_weights=True`, the default.

use tch::Tensor;

use super::tensor::Weights;
use super::{Forward, Problem, inputs, single};
use crate::engine::args::Args;

/// The three projections of attention's inputs: weights `[E, in]` and biases `[E]`, for query, key and value.
type Projections = [(Tensor, Option<Tensor>); 3];

/// `MultiheadAttention`: inputs query `[N, L, E]`, key and value `[N, S, ·]` (batch second unless `batch_first`). The
/// output is the attention output alone, without the weights.
pub(super) fn multi_head(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let heads = args.count("num_heads")?;
    let batch_first = args.flag("batch_first")?;
    if args.flag("add_zero_attn")? || weights.find("bias_k").is_some() || weights.find("bias_v").is_some() {
        return Err(Problem("attention with add_zero_attn or add_bias_kv has no MLX twin and is not run".to_owned()));
    }
    let _ = projections(weights)?;
    weights.get("out_proj.weight")?;
    Ok(single(move |weights, given| {
        let given: [&Tensor; 3] = inputs(given)?;
        if given.iter().any(|input| input.dim() != 3) {
            return Err(Problem("attention takes inputs of three axes: batch, length, width".to_owned()));
        }
        let projections = projections(weights)?;
        let mut split = Vec::with_capacity(3);
        let mut batch = 0;
        for (input, (weight, bias)) in given.into_iter().zip(&projections) {
            let input = if batch_first { input.f_transpose(0, 1)? } else { input.shallow_clone() };
            let projected = input.f_linear(weight, bias.as_ref())?;
            batch = projected.size().get(1).copied().unwrap_or_default();
            split.push(heads_first(&projected, heads)?);
        }
        let [query, key, value] = split.as_slice() else { return Err(Problem("attention takes three inputs".into())) };
        let width = query.size().last().copied().unwrap_or(1);
        let scores = query.f_mul_scalar((1.0 / width as f64).sqrt())?.f_bmm(&key.f_transpose(-2, -1)?)?;
        let mixed = scores.f_softmax(-1, None)?.f_bmm(value)?;
        // [N · heads, L, E / heads] → [L · N, E]
        let rows = mixed.f_transpose(0, 1)?.f_contiguous()?.f_view([-1, heads * width])?;
        let output = rows.f_linear(weights.get("out_proj.weight")?, weights.find("out_proj.bias"))?;
        let features = output.size().last().copied().unwrap_or_default();
        let output = output.f_view([-1, batch, features])?;
        Ok(if batch_first { output.f_transpose(0, 1)? } else { output })
    }))
}

/// `in_proj_weight` `[3E, E]` in three, or the separate weights of attention with other key and value widths. The bias is
/// `in_proj_bias` `[3E]` for both.
fn projections(weights: &Weights) -> Result<Projections, Problem> {
    let thirds = |tensor: &Tensor, name: &str| -> Result<[Tensor; 3], Problem> {
        let parts: Result<[Tensor; 3], _> = tensor.f_chunk(3, 0)?.try_into();
        parts.map_err(|_| Problem(format!("`{name}` cannot be split in three: its shape is {:?}", tensor.size())))
    };
    let [query, key, value] = match weights.find("in_proj_weight") {
        Some(packed) => thirds(packed, "in_proj_weight")?,
        None => {
            let part = |name: &str| weights.get(name).map(Tensor::shallow_clone);
            [part("q_proj_weight")?, part("k_proj_weight")?, part("v_proj_weight")?]
        }
    };
    let [query_bias, key_bias, value_bias] = match weights.find("in_proj_bias") {
        Some(packed) => thirds(packed, "in_proj_bias")?.map(Some),
        None => [None, None, None],
    };
    Ok([(query, query_bias), (key, key_bias), (value, value_bias)])
}

/// `[L, N, E]` → `[N · heads, L, E / heads]`. The layouts are Python's too: half precision rounds in the order of the sums.
fn heads_first(input: &Tensor, heads: i64) -> Result<Tensor, Problem> {
    match input.size().as_slice() {
        &[length, batch, width] if width % heads == 0 => {
            Ok(input.f_contiguous()?.f_view([length, batch * heads, width / heads])?.f_transpose(0, 1)?)
        }
        shape => Err(Problem(format!("{heads} heads cannot share a projection of shape {shape:?}"))),
    }
}
