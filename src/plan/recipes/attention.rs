//! MultiheadAttention in all its forms: as MLX's layer where that has the form, otherwise as projections and ops.

use serde_json::{Map, Value, json};

use super::phrase::{self, entries};
use super::site::{Draft, Site, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::{Call, Input, Move, Output, Refusal};
use t2m_engine::Program;
use t2m_engine::program::{MlxLayer, MlxOp, Operand};

const PROJECTIONS: [&str; 3] = ["query_proj", "key_proj", "value_proj"];
/// Sequences, queries and keys of the input.
const BATCH: usize = 2;
const QUERIES: usize = 7;
const KEYS: usize = 9;

/// What is known of an attention layer.
pub(super) struct Attention {
    heads: usize,
    width: usize,
    key_width: usize,
    value_width: usize,
    pub batch_first: bool,
    biased: bool,
    packed: bool,
    bias_kv: bool,
    zero_attn: bool,
}

impl Attention {
    pub fn read(site: &Site<'_>) -> Result<Attention, Refusal> {
        let [_, width] = site.shape_of_rank("out_proj.weight")?;
        let packed = site.has("in_proj_weight");
        let (key_width, value_width) = if packed {
            (width, width)
        } else {
            let [_, key] = site.shape_of_rank("k_proj_weight")?;
            let [_, value] = site.shape_of_rank("v_proj_weight")?;
            (key, value)
        };
        let heads = site.number("num_heads")?;
        if heads == 0 || width % heads != 0 {
            return Err(unexpected("num_heads", site.maybe("num_heads")));
        }
        Ok(Attention {
            heads,
            width,
            key_width,
            value_width,
            batch_first: site.flag("batch_first")?,
            biased: site.has("in_proj_bias") || site.has("out_proj.bias"),
            packed,
            bias_kv: site.has("bias_k") && site.has("bias_v"),
            zero_attn: site.flag("add_zero_attn")?,
        })
    }

    /// Arguments of MLX's layer.
    pub fn args(&self) -> Map<String, Value> {
        entries([
            ("dims", json!(self.width)),
            ("num_heads", json!(self.heads)),
            ("query_input_dims", json!(self.width)),
            ("key_input_dims", json!(self.key_width)),
            ("value_input_dims", json!(self.value_width)),
            ("bias", json!(self.biased)),
        ])
    }

    /// What is done beyond a rename, in words.
    fn words(&self) -> Vec<&'static str> {
        let mut words = vec![if self.packed { "split in_proj" } else { "q, k and v projections renamed" }];
        if self.biased {
            words.push("bias=True");
        }
        if !self.batch_first {
            words.push("batch first");
        }
        words
    }

    pub fn bound(&self) -> Bound {
        Bound::Contraction(self.width.max(self.key_width).max(self.value_width))
    }
}

/// Moves of the projections.
pub(super) fn moves(site: &Site<'_>) -> Vec<Move> {
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

/// The moves of the projections, and of what is joined to keys and values (`bias_k`, `bias_v`).
pub(super) fn all_moves(site: &Site<'_>) -> Vec<Move> {
    let joined = (site.has("bias_k") && site.has("bias_v")).then(|| [Move::keep("bias_k"), Move::keep("bias_v")]);
    moves(site).into_iter().chain(joined.into_iter().flatten()).collect()
}

/// How the forward is called.
struct Form {
    /// Kinds of the masks: of `attn_mask`, of `key_padding_mask`.
    attn_mask: Option<Values>,
    padding_mask: bool,
    weights: bool,
    averaged: bool,
}

impl Form {
    fn read(site: &Site<'_>) -> Form {
        let nothing = Call::default();
        let call = site.call.unwrap_or(&nothing);
        Form {
            attn_mask: call.masks.get("attn_mask").map(|mask| mask.values()),
            padding_mask: call.masks.contains_key("key_padding_mask"),
            weights: call.need_weights.unwrap_or(false),
            averaged: call.average_attn_weights.unwrap_or(true),
        }
    }
}

/// Query, key and value of a cross attention: 2 sequences of 7 positions looking at 9.
pub(super) fn attention(site: &Site<'_>) -> Result<Draft, Refusal> {
    let attention = Attention::read(site)?;
    let form = Form::read(site);
    let swap = (!attention.batch_first).then(|| vec![1, 0, 2]);
    let input = |positions: usize, width: usize| {
        let shape = if attention.batch_first { vec![BATCH, positions, width] } else { vec![positions, BATCH, width] };
        Input { to_mlx: swap.clone(), ..Input::new(shape, Values::Normal(1.0)) }
    };
    let mut inputs =
        vec![input(QUERIES, attention.width), input(KEYS, attention.key_width), input(KEYS, attention.value_width)];
    let mut names = vec!["query", "key", "value"];
    if form.padding_mask {
        inputs.push(Input::new(vec![BATCH, KEYS], Values::Drops));
        names.push("key_padding_mask");
    }
    if let Some(values) = form.attn_mask {
        inputs.push(Input::new(vec![QUERIES, KEYS], values));
        names.push("attn_mask");
    }
    let mut draft = Draft::of(inputs, attention.bound()).weights(all_moves(site));
    draft.outputs = vec![Output { name: "output", to_torch: swap }];
    if form.weights {
        draft.outputs.push(Output { name: "weights", to_torch: None });
    }
    for words in attention.words() {
        draft = draft.step(words);
    }
    if names.len() > 3 || form.weights {
        let weights = ("need_weights", json!(form.weights));
        draft = match form.weights {
            true => draft.called(&names, [weights, ("average_attn_weights", json!(form.averaged))]),
            false => draft.called(&names, [weights]),
        };
    }
    let by_hand = attention.bias_kv || attention.zero_attn || form.weights;
    if !by_hand && names.len() == 3 {
        return Ok(Draft { args: attention.args(), ..draft });
    }
    let mut p = Program::new(&names);
    let mask = mask(&mut p, &form, attention.extra());
    if by_hand {
        let outputs = projected(&mut p, &attention, mask, &form);
        p.outputs = outputs;
        let mut draft = draft.program(p);
        for (wanted, words) in [
            (attention.bias_kv, "bias_k and bias_v joined to keys and values"),
            (attention.zero_attn, "zeros joined to keys and values"),
            (form.weights, "by projections and ops, as MLX's layer does not give its weights"),
        ] {
            draft = if wanted { draft.step(words) } else { draft };
        }
        return Ok(draft);
    }
    phrase::layer(&mut p, "", MlxLayer::MultiHeadAttention, attention.args());
    let inputs: Vec<Operand> =
        ["query", "key", "value"].into_iter().map(Operand::from).chain(mask.map(Operand::from)).collect();
    let output = p.run("", inputs);
    p.outputs = vec![output];
    Ok(draft.program(p).step("masks made numbers to add: True drops in torch, keeps in MLX"))
}

/// Both masks as one that is added to the scores, `[N, 1, L, S + extra]` or what broadcasts to it.
fn mask(p: &mut Program, form: &Form, extra: i64) -> Option<String> {
    let own = form.attn_mask.map(|values| match values {
        Values::Additive => "attn_mask".to_owned(),
        _ => drops(p, "attn_mask"),
    });
    let padding = form.padding_mask.then(|| {
        let numbers = drops(p, "key_padding_mask");
        p.call(MlxOp::ExpandDims, [numbers.into()], [("axis", json!([1, 2]))])
    });
    let mask = match (own, padding) {
        (Some(own), Some(padding)) => phrase::add(p, own, padding),
        (own, padding) => own.or(padding)?,
    };
    if extra == 0 {
        return Some(mask);
    }
    // Positions joined to the keys are always seen.
    let rank = if form.padding_mask { 4 } else { 2 };
    let widths: Vec<(i64, i64)> = (0..rank).map(|axis| (0, if axis == rank - 1 { extra } else { 0 })).collect();
    Some(phrase::pad(p, &mask, &widths, phrase::Around::Constant(0.0)))
}

/// `True` drops: minus infinity there, 0 elsewhere, in the queries' dtype.
pub(super) fn drops(p: &mut Program, mask: &str) -> String {
    let first = p.inputs.first().cloned().unwrap_or_default();
    let numbers = p.call(MlxOp::Where, [mask.into(), f64::NEG_INFINITY.into(), 0.0.into()], []);
    p.call(MlxOp::AstypeLike, [numbers.into(), first.into()], [])
}

impl Attention {
    /// The positions joined to the keys.
    fn extra(&self) -> i64 {
        i64::from(self.bias_kv) + i64::from(self.zero_attn)
    }
}

/// The attention by its four projections.
fn projected(p: &mut Program, attention: &Attention, mask: Option<String>, form: &Form) -> Vec<String> {
    let widths = [attention.width, attention.key_width, attention.value_width];
    let mut parts = Vec::new();
    for ((projection, input), (width, bias)) in
        PROJECTIONS.iter().zip(["query", "key", "value"]).zip(widths.into_iter().zip(["", "bias_k", "bias_v"]))
    {
        phrase::layer(p, projection, MlxLayer::Linear, linear(width, attention.width, attention.biased));
        let mut x = phrase::run(p, projection, input);
        if attention.bias_kv && !bias.is_empty() {
            let shape = json!([BATCH, 1, attention.width]);
            let bias = p.call(MlxOp::BroadcastTo, [format!("self.{bias}").into()], [("shape", shape)]);
            x = phrase::concatenate(p, vec![x, bias], 1);
        }
        if attention.zero_attn && !bias.is_empty() {
            let zeros = phrase::slice(p, &x, 1, Some(0), Some(1), 1);
            let zeros = phrase::unary(p, MlxOp::ZerosLike, &zeros);
            x = phrase::concatenate(p, vec![x, zeros], 1);
        }
        let split = p.call(
            MlxOp::Unflatten,
            [x.into()],
            [("axis", json!(-1)), ("shape", json!([attention.heads, attention.width / attention.heads]))],
        );
        parts.push(phrase::transpose(p, &split, &[0, 2, 1, 3]));
    }
    let scale = ((attention.width / attention.heads) as f64).powf(-0.5);
    let query = phrase::multiply(p, parts[0].clone(), scale);
    let keys = p.call(MlxOp::Swapaxes, [parts[1].clone().into()], [("axis1", json!(-1)), ("axis2", json!(-2))]);
    let mut scores = phrase::binary(p, MlxOp::Matmul, query, keys);
    if let Some(mask) = mask {
        scores = phrase::add(p, scores, mask);
    }
    let weights = p.call(MlxOp::Softmax, [scores.into()], [("axis", json!(-1)), ("precise", json!(true))]);
    let mixed = phrase::binary(p, MlxOp::Matmul, weights.clone(), parts[2].clone());
    let mixed = phrase::transpose(p, &mixed, &[0, 2, 1, 3]);
    let mixed = p.call(MlxOp::Flatten, [mixed.into()], [("start_axis", json!(2))]);
    phrase::layer(p, "out_proj", MlxLayer::Linear, linear(attention.width, attention.width, attention.biased));
    let output = phrase::run(p, "out_proj", &mixed);
    let mut outputs = vec![output];
    if form.weights {
        outputs.push(if form.averaged { phrase::reduce(p, MlxOp::Mean, &weights, &[1], false) } else { weights });
    }
    outputs
}

pub(super) fn linear(inputs: usize, outputs: usize, bias: bool) -> Map<String, Value> {
    entries([("input_dims", json!(inputs)), ("output_dims", json!(outputs)), ("bias", json!(bias))])
}
