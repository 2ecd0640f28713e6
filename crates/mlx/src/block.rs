//! The blocks of [`crate::blocks`], with a module's converted weights.

use mlx_rs::module::{Module, ModuleParameters};
use mlx_rs::{Array, Dtype};
use serde_json::Value;

use super::tensor::Weights;
use super::{Forward, Problem, float32, inputs, int32, single};
use crate::blocks::{
    Activation, AdaptiveAvgPool2d, ConvBlock, ConvOptions, ConvStack, Mlp, TransformerBlock, TransformerOptions, load,
};
use t2m_engine::args::Args;
use t2m_engine::program::MlxLayer;

pub(super) fn mlp(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let dims = args.list("dims")?;
    let dims = dims.into_iter().map(|width| int32(width, "dims")).collect::<Result<Vec<_>, _>>()?;
    let (bias, activation) = (args.flag("bias")?, activation(args)?);
    let activation = activation.ok_or_else(|| args.wrong("activation", "the name of one"))?;
    let dropout = float32(args.number("dropout")?);
    module(weights, move || Ok(trained(Mlp::new(&dims, bias, activation, dropout)?)), |block, x| Ok(block.forward(x)?))
}

pub(super) fn conv_block(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let options = convolution(args)?;
    module(weights, move || Ok(trained(ConvBlock::new(&options)?)), |block, x| Ok(block.forward(x)?))
}

pub(super) fn conv_stack(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let blocks = args.tables("blocks")?;
    let blocks = blocks.into_iter().map(|table| {
        let args = Args::of(MlxLayer::BlockConvBlock.name(), table);
        let options = convolution(&args)?;
        args.all_read()?;
        Ok(options)
    });
    let blocks = blocks.collect::<Result<Vec<_>, Problem>>()?;
    module(weights, move || Ok(trained(ConvStack::new(&blocks)?)), |block, x| Ok(block.forward(x)?))
}

pub(super) fn transformer_block(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let size = |name: &str| int32(args.count(name)?, name);
    let options = TransformerOptions {
        dims: size("dims")?,
        num_heads: size("num_heads")?,
        mlp_dims: size("mlp_dims")?,
        eps: float32(args.number("eps")?),
        bias: args.flag("bias")?,
        norm_first: args.flag("norm_first")?,
        activation: activation(args)?.ok_or_else(|| args.wrong("activation", "the name of one"))?,
        dropout: float32(args.number("dropout")?),
    };
    if options.dims % options.num_heads != 0 {
        return Err(args.wrong("num_heads", "a divisor of dims").into());
    }
    let build = move || {
        let mut block = TransformerBlock::new(&options)?;
        <TransformerBlock as Module<(&Array, Option<&Array>)>>::training_mode(&mut block, false);
        Ok(block)
    };
    module(weights, build, |block, x| Ok(block.forward((x, None))?))
}

pub(super) fn adaptive_average(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let wrong = || args.wrong("output_size", "two sizes, each a whole number or null");
    let Value::Array(sizes) = args.get("output_size")? else { return Err(wrong().into()) };
    let size = |value: &Value| match value {
        Value::Null => Ok(None),
        value => value
            .as_i64()
            .and_then(|size| i32::try_from(size).ok())
            .filter(|&size| size > 0)
            .map(Some)
            .ok_or_else(wrong),
    };
    let [height, width] = sizes.as_slice() else { return Err(wrong().into()) };
    let output_size = [size(height)?, size(width)?];
    // On the CPU MLX adds up half precision in half precision.
    let in_single = |block: &mut AdaptiveAvgPool2d, x: &Array| {
        Ok(block.forward(&x.as_dtype(Dtype::Float32)?)?.as_dtype(x.dtype())?)
    };
    module(weights, move || Ok(AdaptiveAvgPool2d { output_size }), in_single)
}

/// A block that is built again for each run, with the run's weights in it.
fn module<M: ModuleParameters + 'static>(
    weights: &Weights,
    build: impl Fn() -> Result<M, Problem> + 'static,
    forward: impl Fn(&mut M, &Array) -> Result<Array, Problem> + 'static,
) -> Result<Forward, Problem> {
    let loaded = move |weights: &Weights| {
        let mut block = build()?;
        load(&mut block, weights.named().map(|(name, array)| (in_mlx_rs(name), array.clone())))
            .map_err(|error| Problem(error.to_string()))?;
        Ok::<_, Problem>(block)
    };
    loaded(weights)?;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        forward(&mut loaded(weights)?, input)
    }))
}

/// A trained block.
fn trained<M: for<'a> Module<&'a Array>>(mut block: M) -> M {
    block.training_mode(false);
    block
}

/// Python's `out_proj` is mlx-rs's `output_proj`.
fn in_mlx_rs(name: &str) -> String {
    name.replace("attention.out_proj.", "attention.output_proj.")
}

fn activation(args: &Args<'_>) -> Result<Option<Activation>, Problem> {
    if args.is_none("activation")? {
        return Ok(None);
    }
    let named = Activation::named(args.text("activation")?);
    Ok(Some(named.ok_or_else(|| args.wrong("activation", "relu, gelu, gelu_tanh, silu, tanh or sigmoid"))?))
}

/// What a convolution block is built from: the arguments of MLX's layer, `norm` and `activation`.
fn convolution(args: &Args<'_>) -> Result<ConvOptions, Problem> {
    let size = |name: &str| int32(args.count(name)?, name);
    let axes = match args.get("kernel_size")? {
        Value::Array(sizes) => sizes.len(),
        _ => 1,
    };
    let each = |name: &str| {
        let numbers = args.integers(name, axes)?.into_iter().map(|number| int32(number, name));
        numbers.collect::<Result<Vec<_>, _>>()
    };
    Ok(ConvOptions {
        in_channels: size("in_channels")?,
        out_channels: size("out_channels")?,
        kernel_size: each("kernel_size")?,
        stride: each("stride")?,
        padding: each("padding")?,
        dilation: each("dilation")?,
        groups: size("groups")?,
        bias: args.flag("bias")?,
        norm: args.number_or_none("norm")?.map(float32),
        activation: activation(args)?,
    })
}
