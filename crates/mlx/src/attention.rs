//! Multi-head attention.

use mlx_rs::Array;
use mlx_rs::module::Module;
use mlx_rs::nn;
use mlx_rs::quantization::MaybeQuantized;

use super::linear::projection;
use super::tensor::Weights;
use super::{Forward, Problem, inputs, int32, single};
use t2m_engine::args::Args;

/// `nn.MultiHeadAttention` by mlx-rs's module: inputs queries `[N, L, ·]`, keys and values `[N, S, ·]`, and a mask
/// that is added to the scores. The tensors have
/// the Python module's names (`out_proj` is mlx-rs's `output_proj`).
pub(super) fn multi_head(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let heads = int32(args.count("num_heads")?, "num_heads")?;
    let biased = args.flag_or("bias", weights.find("query_proj.bias").is_some())?;
    let layer = build(heads, biased, weights)?;
    let width = |part: &MaybeQuantized<nn::Linear>| match part {
        MaybeQuantized::Original(layer) => layer.shape(),
        MaybeQuantized::Quantized(_) => (0, 0),
    };
    args.agree("dims", &[width(&layer.output_proj).0])?;
    for (name, part) in [
        ("query_input_dims", &layer.query_proj),
        ("key_input_dims", &layer.key_proj),
        ("value_input_dims", &layer.value_proj),
    ] {
        args.agree(name, &[width(part).1])?;
    }
    Ok(single(move |weights, given| {
        let (plain, mask) = given.split_at(given.len().min(3));
        let [queries, keys, values]: [&Array; 3] = inputs(plain)?;
        if plain.iter().any(|input| input.ndim() != 3) {
            return Err(Problem("attention takes inputs of three axes: batch, length, width".to_owned()));
        }
        let mut layer = build(heads, biased, weights)?;
        Ok(match mask {
            [] => layer.forward((queries, keys, values))?,
            [mask] => {
                // mlx-rs adds the mask unchanged: booleans would count as 0 and 1.
                if !mask.dtype().is_float() {
                    return Err(Problem(format!("a mask of numbers to add is expected, not of {:?}", mask.dtype())));
                }
                layer.forward((queries, keys, values, mask))?
            }
            more => return Err(Problem(format!("the layer takes 3 or 4 inputs, not {}", 3 + more.len()))),
        })
    }))
}

fn build(num_heads: i32, biased: bool, weights: &Weights) -> Result<nn::MultiHeadAttention, Problem> {
    let part = |name: &str| -> Result<MaybeQuantized<nn::Linear>, Problem> {
        let layer = projection(weights, &format!("{name}."), biased)?;
        let (out, _) = layer.shape();
        if out % num_heads != 0 {
            return Err(Problem(format!("{name} gives {out} features, which {num_heads} heads cannot share")));
        }
        Ok(MaybeQuantized::Original(layer))
    };
    Ok(nn::MultiHeadAttention {
        num_heads,
        query_proj: part("query_proj")?,
        key_proj: part("key_proj")?,
        value_proj: part("value_proj")?,
        output_proj: MaybeQuantized::Original(projection(weights, "out_proj.", biased)?),
    })
}
