//! Recurrent layers over time. mlx-rs's own modules forget the state between steps (the loop's `hidden` shadows the one
//! that it should carry), so their `step` is called with one position at a time, and the state carried here.

use std::sync::Arc;

use mlx_rs::module::Param;
use mlx_rs::ops::indexing::take_axis;
use mlx_rs::{Array, nn, ops};

use super::tensor::Weights;
use super::{Forward, Problem};
use t2m_engine::args::Args;

/// `nn.LSTM`: `Wx` `[4H, in]`, `Wh` `[4H, H]`, optional `bias` `[4H]`; input `[N, L, in]`, optional hidden and cell state
/// `[N, H]`; gives all hidden states and all cell states `[N, L, H]`.
pub(super) fn lstm(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let biased = check(args, weights, 4, ["Wx", "Wh"])?;
    Ok(Box::new(move |weights, given| {
        let (x, state) = sequence(weights, given, 2, "Wh")?;
        let mut layer = nn::Lstm {
            wx: Param::new(weights.get("Wx")?.clone()),
            wh: Param::new(weights.get("Wh")?.clone()),
            bias: Param::new(optional(weights, biased, "bias")?),
        };
        let (mut hidden, mut cell) = (state[0].clone(), state[1].clone());
        let (mut all_hidden, mut all_cells) = (Vec::new(), Vec::new());
        for position in 0..x.dim(1) {
            let (next, next_cell) = layer.step(&at(x, position)?, Some(&hidden), Some(&cell))?;
            (hidden, cell) = (ops::squeeze_axes(&next, &[1])?, ops::squeeze_axes(&next_cell, &[1])?);
            all_hidden.push(next);
            all_cells.push(next_cell);
        }
        Ok(vec![ops::concatenate(&all_hidden, 1)?, ops::concatenate(&all_cells, 1)?])
    }))
}

/// `nn.GRU`: `Wx` `[3H, in]`, `Wh` `[3H, H]`, optional `b` `[3H]` and `bhn` `[H]`; input `[N, L, in]`, optional hidden state
/// `[N, H]`; gives all hidden states `[N, L, H]`. Without a state it begins with zeros: mlx-rs would leave `bhn` out.
pub(super) fn gru(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let biased = check(args, weights, 3, ["Wx", "Wh"])?;
    Ok(Box::new(move |weights, given| {
        let (x, state) = sequence(weights, given, 1, "Wh")?;
        let mut layer = nn::Gru {
            hidden_size: state[0].dim(-1),
            wx: Param::new(weights.get("Wx")?.clone()),
            wh: Param::new(weights.get("Wh")?.clone()),
            bias: Param::new(optional(weights, biased, "b")?),
            bhn: Param::new(optional(weights, biased, "bhn")?),
        };
        over_time(x, &state[0], |x, hidden| Ok(layer.step(x, Some(hidden))?))
    }))
}

/// `nn.RNN`: `Wxh` `[H, in]`, `Whh` `[H, H]`, optional `bias` `[H]`, `nonlinearity` `mx.tanh` or `nn.relu`; inputs and
/// outputs as for `nn.GRU`.
pub(super) fn rnn(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let biased = check(args, weights, 1, ["Wxh", "Whh"])?;
    let rectified = match args.text_or("nonlinearity", "mx.tanh")? {
        "mx.tanh" => false,
        "nn.relu" => true,
        _ => return Err(args.wrong("nonlinearity", "mx.tanh or nn.relu").into()),
    };
    Ok(Box::new(move |weights, given| {
        let (x, state) = sequence(weights, given, 1, "Whh")?;
        let mut layer = nn::Rnn {
            non_linearity: Arc::new(
                move |x: &Array, _: &mlx_rs::Stream| if rectified { nn::relu(x) } else { ops::tanh(x) },
            ),
            wxh: Param::new(weights.get("Wxh")?.clone()),
            whh: Param::new(weights.get("Whh")?.clone()),
            bias: Param::new(optional(weights, biased, "bias")?),
        };
        over_time(x, &state[0], |x, hidden| Ok(layer.step(x, Some(hidden))?))
    }))
}

/// Whether the weights fit together, and whether there are biases.
fn check(args: &Args<'_>, weights: &Weights, gates: i32, names: [&str; 2]) -> Result<bool, Problem> {
    let [input, hidden] = names.map(|name| weights.get(name).map(|array| array.shape().to_vec()));
    let (input, hidden) = (input?, hidden?);
    let (&[rows, features], &[hidden_rows, width]) = (input.as_slice(), hidden.as_slice()) else {
        return Err(Problem(format!("recurrent weights have two axes, not {input:?} and {hidden:?}")));
    };
    if rows != hidden_rows || width < 1 || rows != gates.saturating_mul(width) {
        return Err(Problem(format!("recurrent weights {input:?} and {hidden:?} do not fit together")));
    }
    args.agree("input_size", &[features])?;
    args.agree("hidden_size", &[width])?;
    let biased = args.flag_or("bias", weights.find("bias").or_else(|| weights.find("b")).is_some())?;
    if biased {
        let name = if gates == 3 { "b" } else { "bias" };
        weights.vector(name, rows)?;
        if gates == 3 {
            weights.vector("bhn", width)?;
        }
    }
    Ok(biased)
}

fn optional(weights: &Weights, wanted: bool, name: &str) -> Result<Option<Array>, Problem> {
    if wanted { weights.get(name).cloned().map(Some) } else { Ok(None) }
}

/// The sequence `[N, L, in]`, and the given states, or zeros.
fn sequence<'a>(
    weights: &Weights,
    given: &'a [Array],
    states: usize,
    hidden: &str,
) -> Result<(&'a Array, Vec<Array>), Problem> {
    let [x, rest @ ..] = given else { return Err(Problem("a sequence is expected".to_owned())) };
    if x.ndim() != 3 || x.dim(1) == 0 {
        return Err(Problem(format!("a sequence has three axes: batch, length, features; not {:?}", x.shape())));
    }
    let width = weights.get(hidden)?.dim(-1);
    let shape = [x.dim(0), width];
    let states: Vec<Array> = match rest {
        [] => (0..states).map(|_| Ok(ops::zeros_dtype(&shape, x.dtype())?)).collect::<Result<_, Problem>>()?,
        given if given.len() == states => given.to_vec(),
        given => return Err(Problem(format!("{} states are given, {states} are expected", given.len()))),
    };
    match states.iter().find(|state| state.shape() != shape) {
        Some(state) => Err(Problem(format!("a state has shape {:?}, not {shape:?}", state.shape()))),
        None => Ok((x, states)),
    }
}

/// One position of a sequence, with its axis.
fn at(x: &Array, position: i32) -> Result<Array, Problem> {
    let index = Array::from_slice(&[position], &[1]);
    Ok(take_axis(x, index, 1)?)
}

fn over_time(
    x: &Array,
    state: &Array,
    mut step: impl FnMut(&Array, &Array) -> Result<Array, Problem>,
) -> Result<Vec<Array>, Problem> {
    let mut hidden = state.clone();
    let mut all = Vec::new();
    for position in 0..x.dim(1) {
        let next = step(&at(x, position)?, &hidden)?;
        hidden = ops::squeeze_axes(&next, &[1])?;
        all.push(next);
    }
    Ok(vec![ops::concatenate(&all, 1)?])
}
