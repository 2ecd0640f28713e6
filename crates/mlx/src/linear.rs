//! Linear and embedding layers.

use mlx_rs::module::{Module, Param};
use mlx_rs::{Array, Dtype, nn, ops};

use super::tensor::Weights;
use super::{Forward, Problem, inputs, single};
use t2m_engine::args::Args;

/// `nn.Linear` by mlx-rs's module: weight `[out, in]`, optional bias `[out]`.
pub(super) fn linear(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let biased = args.flag_or("bias", weights.find("bias").is_some())?;
    let (out, input) = projection(weights, "", biased)?.shape();
    args.agree("input_dims", &[input])?;
    args.agree("output_dims", &[out])?;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        Ok(projection(weights, "", biased)?.forward(input)?)
    }))
}

/// mlx-rs's linear layer from the tensors with this prefix.
pub(super) fn projection(weights: &Weights, prefix: &str, biased: bool) -> Result<nn::Linear, Problem> {
    let name = format!("{prefix}weight");
    let weight = weights.get(&name)?;
    let &[out, _] = weight.shape() else {
        return Err(Problem(format!("the shape of `{name}` is {:?}; it needs two axes", weight.shape())));
    };
    let bias = if biased { Some(weights.vector(&format!("{prefix}bias"), out)?) } else { None };
    Ok(nn::Linear { weight: Param::new(weight.clone()), bias: Param::new(bias) })
}

/// `nn.Bilinear` by ops, as mlx-rs's module takes one input for both: weight `[out, in2, in1]`, optional bias `[out]`.
pub(super) fn bilinear(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let biased = args.flag_or("bias", weights.find("bias").is_some())?;
    let &[out, second, first] = weights.get("weight")?.shape() else {
        return Err(Problem(format!(
            "the shape of `weight` is {:?}; it needs three axes",
            weights.get("weight")?.shape()
        )));
    };
    args.agree("input1_dims", &[first])?;
    args.agree("input2_dims", &[second])?;
    args.agree("output_dims", &[out])?;
    weights.vector_if(biased, "bias", out)?;
    Ok(single(move |weights, given| {
        let [x1, x2] = inputs(given)?;
        let weight = weights.get("weight")?;
        if x1.shape().last() != Some(&first) || x2.shape().last() != Some(&second) {
            return Err(Problem(format!(
                "inputs {:?} and {:?} do not fit {:?}",
                x1.shape(),
                x2.shape(),
                weight.shape()
            )));
        }
        // In Python's order: x1 times the weight as [in1, in2 · out], then times x2.
        let rows = ops::reshape(ops::transpose_axes(weight, &[2, 1, 0])?, &[first, second * out])?;
        let front: Vec<i32> = x1.shape()[..x1.ndim() - 1].to_vec();
        let partial = ops::reshape(ops::matmul(x1, &rows)?, &[front.as_slice(), &[second, out]].concat())?;
        let product = ops::squeeze_axes(ops::matmul(ops::expand_dims_axes(x2, &[-2])?, &partial)?, &[-2])?;
        Ok(match weights.vector_if(biased, "bias", out)? {
            Some(bias) => ops::add(&product, &bias)?,
            None => product,
        })
    }))
}

/// `nn.Embedding` by mlx-rs's module: weight `[rows, width]`, any shape of whole numbers in.
pub(super) fn embedding(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let [rows, width] = table(weights)?;
    args.agree("num_embeddings", &[rows])?;
    args.agree("dims", &[width])?;
    Ok(single(|weights, given| {
        let [ids] = inputs(given)?;
        Ok(nn::Embedding { weight: Param::new(weights.get("weight")?.clone()) }.forward(ids)?)
    }))
}

/// Whether all ids are rows of the weight. MLX does not check, and would read other memory.
pub(super) fn check_ids(weights: &Weights, given: &[Array]) -> Result<(), Problem> {
    let [ids] = inputs(given)?;
    if !matches!(ids.dtype(), Dtype::Int32 | Dtype::Int64) {
        return Err(Problem(format!("an embedding takes int32 or int64 ids, not {:?}", ids.dtype())));
    }
    if ids.size() == 0 {
        return Ok(());
    }
    let (least, most) = (ids.min(None)?.item_cast::<i64>(), ids.max(None)?.item_cast::<i64>());
    let rows = i64::from(table(weights)?[0]);
    if least < 0 || most >= rows {
        return Err(Problem(format!("the ids go from {least} to {most}, the embedding's rows from 0 to {}", rows - 1)));
    }
    Ok(())
}

fn table(weights: &Weights) -> Result<[i32; 2], Problem> {
    match weights.get("weight")?.shape() {
        &[rows, width] => Ok([rows, width]),
        shape => Err(Problem(format!("the shape of `weight` is {shape:?}; it needs two axes"))),
    }
}
