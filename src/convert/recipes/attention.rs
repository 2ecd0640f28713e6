//! MultiheadAttention.

use super::site::{Draft, Site};
use crate::compare::tolerance::Bound;
use crate::convert::input::Values;
use crate::convert::{Input, Move, Refusal};

const PROJECTIONS: [&str; 3] = ["query_proj", "key_proj", "value_proj"];

/// Query, key and value of a cross attention: 2 sequences of 7 positions looking at 9.
pub(super) fn attention(site: &Site<'_>) -> Result<Draft, Refusal> {
    let heads = site.number("num_heads")?;
    for name in ["bias_k", "bias_v"] {
        if site.has(name) {
            return Err(Refusal::Unsupported(format!("`{name}` (add_bias_kv) has no counterpart in MLX's layer")));
        }
    }
    if site.flag("add_zero_attn")? {
        return Err(Refusal::Unsupported("`add_zero_attn` has no counterpart in MLX's layer".to_owned()));
    }
    let batch_first = site.flag("batch_first")?;
    let [_, width] = site.shape_of_rank("out_proj.weight")?;
    let (key_width, value_width) = if site.has("in_proj_weight") {
        (width, width)
    } else {
        let [_, key] = site.shape_of_rank("k_proj_weight")?;
        let [_, value] = site.shape_of_rank("v_proj_weight")?;
        (key, value)
    };

    let input = |positions: usize, width: usize| {
        let (shape, to_mlx) = if batch_first {
            (vec![2, positions, width], None)
        } else {
            (vec![positions, 2, width], Some(vec![1, 0, 2]))
        };
        Input { shape, values: Values::Normal(1.0), to_mlx }
    };
    let biased = site.has("in_proj_bias") || site.has("out_proj.bias");
    let mut draft = Draft::new(Vec::new(), Bound::Contraction(width.max(key_width).max(value_width)))
        .arg("dims", width)
        .arg("num_heads", heads)
        .arg("query_input_dims", width)
        .arg("key_input_dims", key_width)
        .arg("value_input_dims", value_width)
        .arg("bias", biased)
        .weights(moves(site))
        .step(if site.has("in_proj_weight") { "split in_proj" } else { "q, k and v projections renamed" });
    draft.inputs = vec![input(7, width), input(9, key_width), input(9, value_width)];
    if biased {
        draft = draft.step("bias=True");
    }
    if !batch_first {
        draft.outputs[0].to_torch = Some(vec![1, 0, 2]);
        draft = draft.step("batch first");
    }
    Ok(draft)
}

fn moves(site: &Site<'_>) -> Vec<Move> {
    let mut moves = Vec::new();
    for (index, (projection, letter)) in PROJECTIONS.iter().zip(["q", "k", "v"]).enumerate() {
        let to = format!("{projection}.weight");
        moves.push(if site.has("in_proj_weight") {
            Move::part("in_proj_weight", to, index, 3)
        } else {
            Move::rename(format!("{letter}_proj_weight"), to)
        });
        if site.has("in_proj_bias") {
            moves.push(Move::part("in_proj_bias", format!("{projection}.bias"), index, 3));
        }
    }
    moves.push(Move::keep("out_proj.weight"));
    if site.has("out_proj.bias") {
        moves.push(Move::keep("out_proj.bias"));
    }
    moves
}
