//! Multi-head attention, computed in the order of Python's `multi_head_attention_forward`, not of its fused fast path.

use tch::{Kind, Tensor};

use super::call;
use super::tensor::{Weights, length};
use super::{Forward, Problem};
use t2m_engine::args::Args;

/// `MultiheadAttention`: inputs query `[L, N, E]`, key and value `[S, N, ·]` (batch first if the layer says so), or all
/// without N; masks by `call`. The outputs are the attention output, and with `call.need_weights` the weights `[N, L, S]`,
/// or `[N, heads, L, S]` where `call.average_attn_weights` is false.
pub(super) fn multi_head(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let attention = Attention::new(args, weights, "")?;
    let parameters = &["query", "key", "value", "key_padding_mask", "attn_mask"];
    let (order, (wanted, average, causal)) = call::read(args, parameters, |call| {
        let wanted = call.flag_or_none("need_weights")?;
        Ok((wanted, call.flag_or("average_attn_weights", true)?, call.flag_or("is_causal", false)?))
    })?;
    Ok(Box::new(move |weights, given| {
        let named = order.bind(given)?;
        let inputs = [named.get("query")?, named.get("key")?, named.get("value")?];
        let masks = Masks { keys: named.find("key_padding_mask"), scores: named.find("attn_mask"), causal };
        // By default Python computes the weights, in another order of operations than without them.
        let (output, weights) = attention.forward(weights, inputs, &masks, wanted.unwrap_or(true))?;
        match weights {
            Some(weights) if wanted == Some(true) => {
                Ok(vec![output, if average { weights.f_mean_dim(-3, false, None)? } else { weights }])
            }
            _ => Ok(vec![output]),
        }
    }))
}

/// Attention as a layer or a part of one.
pub(super) struct Attention {
    /// The prefix of its tensors' names.
    prefix: String,
    heads: i64,
    pub batch_first: bool,
    /// Whether a key and a value of zeros follow the others.
    zeros: bool,
}

/// The masks. They are added to the scores; a boolean one is minus infinity where it is true.
#[derive(Clone, Copy, Default)]
pub(super) struct Masks<'a> {
    /// `[N, S]`
    pub keys: Option<&'a Tensor>,
    /// `[L, S]` or `[N · heads, L, S]`
    pub scores: Option<&'a Tensor>,
    /// Whether `scores` is known to be the causal mask.
    pub causal: bool,
}

/// What attention computes with: query `[L, N, E]`, key and value `[S, N, E]`, and the masks as numbers, `scores` with
/// three axes.
struct Prepared {
    query: Tensor,
    key: Tensor,
    value: Tensor,
    keys: Option<Tensor>,
    scores: Option<Tensor>,
    causal: bool,
}

impl Attention {
    /// Attention with tensors under this prefix.
    pub fn new(args: &Args<'_>, weights: &Weights, prefix: &str) -> Result<Attention, Problem> {
        let attention = Attention {
            prefix: prefix.to_owned(),
            heads: args.count("num_heads")?,
            batch_first: args.flag("batch_first")?,
            zeros: args.flag("add_zero_attn")?,
        };
        let get = |name: &str| attention.get(weights, name).map(|_| ());
        if attention.find(weights, "bias_k").is_some() != attention.find(weights, "bias_v").is_some() {
            return Err(Problem("attention with add_bias_kv has both bias_k and bias_v; one is missing".to_owned()));
        }
        if attention.find(weights, "in_proj_weight").is_none() {
            ["q_proj_weight", "k_proj_weight", "v_proj_weight"].into_iter().try_for_each(get)?;
        }
        get("out_proj.weight")?;
        Ok(attention)
    }

    fn get<'w>(&self, weights: &'w Weights, name: &str) -> Result<&'w Tensor, Problem> {
        weights.get(&format!("{}{name}", self.prefix))
    }

    fn find<'w>(&self, weights: &'w Weights, name: &str) -> Option<&'w Tensor> {
        weights.find(&format!("{}{name}", self.prefix))
    }

    /// The output in the query's layout and, if `wanted`, the weights `[N, heads, L, S]`; without N if the inputs have
    /// none.
    pub fn forward(
        &self,
        weights: &Weights,
        inputs: [&Tensor; 3],
        masks: &Masks<'_>,
        wanted: bool,
    ) -> Result<(Tensor, Option<Tensor>), Problem> {
        let alone = match inputs.map(Tensor::dim) {
            [3, 3, 3] => false,
            [2, 2, 2] => true,
            other => return Err(Problem(format!("attention takes inputs of 2 or 3 axes each, not {other:?}"))),
        };
        let transposed = self.batch_first && !alone;
        let prepared = self.prepare(weights, inputs, masks, wanted)?;
        let (output, weights) = self.attend(weights, prepared, wanted)?;
        let output = match (alone, transposed) {
            (true, _) => output.f_squeeze_dim(1)?,
            (_, true) => output.f_transpose(0, 1)?,
            _ => output,
        };
        let weights = match weights {
            Some(weights) if alone => Some(weights.f_squeeze_dim(0)?),
            other => other,
        };
        Ok((output, weights))
    }

    fn prepare(
        &self,
        weights: &Weights,
        inputs: [&Tensor; 3],
        masks: &Masks<'_>,
        wanted: bool,
    ) -> Result<Prepared, Problem> {
        let sequence_first = |input: &Tensor| match input.dim() {
            2 => input.f_unsqueeze(1),
            _ if self.batch_first => input.f_transpose(0, 1),
            _ => Ok(input.shallow_clone()),
        };
        let same = [std::ptr::eq(inputs[0], inputs[1]), std::ptr::eq(inputs[1], inputs[2])];
        let [query, key, value] = inputs;
        let rows = [sequence_first(query)?, sequence_first(key)?, sequence_first(value)?];
        let lengths = [length(&rows[0], 0)?, length(&rows[1], 0)?, length(&rows[0], 1)?];
        let kind = query.f_kind()?;
        let keys = masks.keys.map(|mask| padding(mask, query.dim() == 2, kind)).transpose()?;
        if masks.causal && masks.scores.is_none() {
            return Err(Problem("is_causal is a hint about attn_mask, which is not given".to_owned()));
        }
        let hint = masks.causal && keys.is_none();
        let scores = match masks.scores {
            Some(mask) if !hint || wanted => Some(self.scores(mask, lengths, kind)?),
            _ => None,
        };
        let [query, key, value] = self.project(weights, &rows, same)?;
        let mut prepared = Prepared { query, key, value, keys, scores, causal: hint };
        self.append(weights, &mut prepared, lengths[2])?;
        Ok(prepared)
    }

    /// The mask `[1, L, S]` or `[N · heads, L, S]`; `lengths` are L, S, N.
    fn scores(&self, mask: &Tensor, [queries, keys, batch]: [i64; 3], kind: Kind) -> Result<Tensor, Problem> {
        let mask = numbers(mask, kind)?;
        let shape = mask.size();
        match mask.dim() {
            2 if shape == [queries, keys] => Ok(mask.f_unsqueeze(0)?),
            3 if shape == [batch.saturating_mul(self.heads), queries, keys] => Ok(mask),
            _ => Err(Problem(format!(
                "attn_mask has the shape {shape:?}; for {queries} queries, {keys} keys, a batch of {batch} and {} heads \
                 it needs [L, S] or [N · heads, L, S]",
                self.heads
            ))),
        }
    }

    /// The projections of query, key and value. As in Python, inputs that are the same tensor share one product: sums
    /// of another width may round differently.
    fn project(&self, weights: &Weights, rows: &[Tensor; 3], same: [bool; 2]) -> Result<[Tensor; 3], Problem> {
        let [query, key, value] = rows;
        let bias = self.find(weights, "in_proj_bias");
        let Some(packed) = self.find(weights, "in_proj_weight") else {
            let weight = |name: &str| self.get(weights, name);
            let [for_query, for_key, for_value] = thirds(bias)?;
            return Ok([
                query.f_linear(weight("q_proj_weight")?, for_query)?,
                key.f_linear(weight("k_proj_weight")?, for_key)?,
                value.f_linear(weight("v_proj_weight")?, for_value)?,
            ]);
        };
        match same {
            [true, true] => exactly(unpack(&query.f_linear(packed, bias)?, 3)?),
            [false, true] => {
                let width = length(query, -1)?;
                let widths = [width, width.saturating_mul(2)];
                let [first, rest] = exactly(packed.f_split_with_sizes(widths, 0)?)?;
                let [for_query, for_rest] = match bias {
                    Some(bias) => exactly(bias.f_split_with_sizes(widths, 0)?)?.map(Some),
                    None => [None, None],
                };
                let [key, value] = exactly(unpack(&key.f_linear(&rest, for_rest)?, 2)?)?;
                Ok([query.f_linear(&first, for_query)?, key, value])
            }
            _ => {
                let parts: [Tensor; 3] = exactly(packed.f_chunk(3, 0)?)?;
                let biases = thirds(bias)?;
                let mut projected = Vec::with_capacity(3);
                for ((input, weight), bias) in rows.iter().zip(&parts).zip(biases) {
                    projected.push(input.f_linear(weight, bias)?);
                }
                exactly(projected)
            }
        }
    }

    /// A learned key and value after the others, which no mask hides.
    fn append(&self, weights: &Weights, prepared: &mut Prepared, batch: i64) -> Result<(), Problem> {
        let (Some(key), Some(value)) = (self.find(weights, "bias_k"), self.find(weights, "bias_v")) else {
            return Ok(());
        };
        prepared.key = Tensor::f_cat(&[&prepared.key, &key.f_repeat([1, batch, 1])?], 0)?;
        prepared.value = Tensor::f_cat(&[&prepared.value, &value.f_repeat([1, batch, 1])?], 0)?;
        prepared.one_key_more()
    }

    /// From the projections to the output `[L, N, E]`.
    fn attend(
        &self,
        weights: &Weights,
        mut prepared: Prepared,
        wanted: bool,
    ) -> Result<(Tensor, Option<Tensor>), Problem> {
        let (queries, batch) = (length(&prepared.query, 0)?, length(&prepared.query, 1)?);
        let query = self.heads_first(&prepared.query, batch)?;
        let mut key = self.heads_first(&prepared.key, batch)?;
        let mut value = self.heads_first(&prepared.value, batch)?;
        if self.zeros {
            let shape = [length(&key, 0)?, 1, length(&key, 2)?];
            let zeros = Tensor::f_zeros(shape, (key.f_kind()?, key.device()))?;
            key = Tensor::f_cat(&[&key, &zeros], 1)?;
            value = Tensor::f_cat(&[&value, &zeros], 1)?;
            prepared.one_key_more()?;
        }
        let keys = length(&key, 1)?;
        let mask = self.merged(&prepared, batch, keys)?;
        let width = length(&query, 2)?;
        let (rows, weights_out) = if wanted {
            let scaled = query.f_mul_scalar((1.0 / width as f64).sqrt())?;
            let keys_first = key.f_transpose(-2, -1)?;
            let scores = match &mask {
                Some(mask) => mask.f_baddbmm(&scaled, &keys_first, 1.0, 1.0)?,
                None => scaled.f_bmm(&keys_first)?,
            };
            let shares = scores.f_softmax(-1, None)?;
            let mixed = shares.f_bmm(&value)?.f_transpose(0, 1)?;
            (mixed, Some(shares.f_view([batch, self.heads, queries, keys])?))
        } else {
            let split = |tensor: &Tensor, length: i64| tensor.f_view([batch, self.heads, length, width]);
            let (query, key, value) = (split(&query, queries)?, split(&key, keys)?, split(&value, keys)?);
            let mask = mask.map(|mask| self.by_head(&mask, batch, keys)).transpose()?;
            let causal = prepared.causal;
            let mixed = Tensor::f_scaled_dot_product_attention(&query, &key, &value, mask, 0.0, causal, None, false)?;
            (mixed.f_permute([2, 0, 1, 3])?, None)
        };
        let rows = rows.f_reshape([queries.saturating_mul(batch), self.heads.saturating_mul(width)])?;
        let output = rows.f_linear(self.get(weights, "out_proj.weight")?, self.find(weights, "out_proj.bias"))?;
        Ok((output.f_view([queries, batch, length(&output, 1)?])?, weights_out))
    }

    /// `[L, N, E]` → `[N · heads, L, E / heads]`. The layouts are Python's too, since in half precision the order of
    /// the sums decides the rounding.
    fn heads_first(&self, input: &Tensor, batch: i64) -> Result<Tensor, Problem> {
        match input.size().as_slice() {
            &[length, _, width] if width % self.heads == 0 => {
                let shape = [length, batch.saturating_mul(self.heads), width / self.heads];
                Ok(input.f_contiguous()?.f_view(shape)?.f_transpose(0, 1)?)
            }
            shape => Err(Problem(format!("{} heads cannot share a projection of shape {shape:?}", self.heads))),
        }
    }

    /// Both masks in one, `[1 or N · heads, 1 or L, S]`.
    fn merged(&self, prepared: &Prepared, batch: i64, keys: i64) -> Result<Option<Tensor>, Problem> {
        let scores = prepared.scores.as_ref();
        let Some(mask) = &prepared.keys else { return Ok(scores.map(Tensor::shallow_clone)) };
        if mask.size() != [batch, keys] {
            let shape = mask.size();
            return Err(Problem(format!(
                "key_padding_mask has the shape {shape:?}, with {keys} keys to a batch of {batch}"
            )));
        }
        let spread = mask.f_view([batch, 1, 1, keys])?.f_expand([-1, self.heads, -1, -1], false)?;
        let spread = spread.f_reshape([batch.saturating_mul(self.heads), 1, keys])?;
        Ok(Some(match scores {
            Some(scores) => scores.f_add(&spread)?,
            None => spread,
        }))
    }

    /// A merged mask for scores `[N, heads, L, S]`.
    fn by_head(&self, mask: &Tensor, batch: i64, keys: i64) -> Result<Tensor, Problem> {
        Ok(if length(mask, 0)? == 1 { mask.f_unsqueeze(0)? } else { mask.f_view([batch, self.heads, -1, keys])? })
    }
}

impl Prepared {
    /// The masks do not hide the added key.
    fn one_key_more(&mut self) -> Result<(), Problem> {
        for mask in [&mut self.keys, &mut self.scores].into_iter().flatten() {
            *mask = mask.f_pad([0, 1], "constant", None)?;
        }
        Ok(())
    }
}

/// A mask of keys as numbers, `[N, S]`; `alone` if it has no N.
fn padding(mask: &Tensor, alone: bool, kind: Kind) -> Result<Tensor, Problem> {
    let mask = numbers(mask, kind)?;
    match (mask.dim(), alone) {
        (1, true) => Ok(mask.f_unsqueeze(0)?),
        (2, false) => Ok(mask),
        _ => Err(Problem(format!("key_padding_mask has the shape {:?}; it needs [N, S]", mask.size()))),
    }
}

/// A mask to add to scores: minus infinity for true, 0 for false.
pub(super) fn numbers(mask: &Tensor, kind: Kind) -> Result<Tensor, Problem> {
    match mask.f_kind()? {
        Kind::Bool => {
            let zeros = Tensor::f_zeros(mask.size(), (kind, mask.device()))?;
            Ok(zeros.f_masked_fill(mask, f64::NEG_INFINITY)?)
        }
        Kind::Double | Kind::Float | Kind::Half | Kind::BFloat16 => Ok(mask.shallow_clone()),
        other => Err(Problem(format!("a mask is boolean or of floating point, not {other:?}"))),
    }
}

/// Exactly as many tensors as expected.
fn exactly<const N: usize>(tensors: Vec<Tensor>) -> Result<[Tensor; N], Problem> {
    let shapes: Vec<_> = tensors.iter().map(Tensor::size).collect();
    tensors.try_into().map_err(|_| Problem(format!("a projection cannot be split in {N}: its parts are {shapes:?}")))
}

/// The biases of query, key and value from `[3E]`.
fn thirds(bias: Option<&Tensor>) -> Result<[Option<Tensor>; 3], Problem> {
    match bias {
        Some(bias) => Ok(exactly(bias.f_chunk(3, 0)?)?.map(Some)),
        None => Ok([None, None, None]),
    }
}

/// `[L, N, parts · E]` as `parts` tensors `[L, N, E]`, one after the other in memory.
fn unpack(packed: &Tensor, parts: i64) -> Result<Vec<Tensor>, Problem> {
    let split = packed.f_unflatten(-1, [parts, length(packed, -1)? / parts])?;
    Ok(split.f_unsqueeze(0)?.f_transpose(0, -2)?.f_squeeze_dim(-2)?.f_contiguous()?.f_unbind(0)?)
}
