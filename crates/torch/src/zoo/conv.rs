//! Linear layers, convolutions and pools whose weight or padding differs from torch's.

use tch::Tensor;

use super::super::tensor::{Weights, length};
use super::super::{Built, Forward, Problem, axes, inputs, single};
use t2m_engine::args::Args;

pub(super) fn build(name: &str, args: &Args<'_>, weights: &Weights) -> Built {
    Ok(Some(match name {
        "t2m.linear_transposed" => linear_transposed(weights)?,
        "t2m.conv2d_same" => conv2d(args, weights, Weight::Plain, true)?,
        "t2m.std_conv2d" => {
            let same = args.flag_or("same_pad", false)?;
            let (eps, scale) = (args.number("eps")?, args.number_or("scale", 1.0)?);
            conv2d(args, weights, Weight::Standardised { eps, scale }, same)?
        }
        "t2m.avg_pool2d_same" => average_pool(args)?,
        "t2m.max_pool2d_same" => max_pool(args)?,
        "t2m.blur_pool" => blur(args, weights)?,
        "t2m.cut_end" => cut_end(args)?,
        "t2m.permute" => permute(args)?,
        _ => return Ok(None),
    }))
}

/// transformers' Conv1D: `x @ weight + bias`, weight `[in, out]`.
fn linear_transposed(weights: &Weights) -> Result<Forward, Problem> {
    weights.get("weight")?;
    Ok(single(|weights, given| {
        let [input] = inputs(given)?;
        let output = input.f_matmul(weights.get("weight")?)?;
        Ok(match weights.find("bias") {
            Some(bias) => output.f_add(bias)?,
            None => output,
        })
    }))
}

/// How a convolution's weight is computed.
#[derive(Clone, Copy)]
enum Weight {
    Plain,
    /// With mean 0 and variance 1 for each output channel, times `scale` and the tensor `gain`, if there is one.
    Standardised {
        eps: f64,
        scale: f64,
    },
}

impl Weight {
    fn of(self, weights: &Weights) -> Result<Tensor, Problem> {
        let weight = weights.get("weight")?;
        let Weight::Standardised { eps, scale } = self else { return Ok(weight.shallow_clone()) };
        let channels = length(weight, 0)?;
        let gain = weights.find("gain").map(|gain| gain.f_mul_scalar(scale)?.f_reshape([channels]));
        let flat = weight.f_reshape([1, channels, -1])?;
        let none = || None::<Tensor>;
        let normed = flat.f_batch_norm(gain.transpose()?, none(), none(), none(), true, 0.0, eps, false)?;
        Ok(normed.f_reshape_as(weight)?)
    }
}

/// `Conv2d`, with the padding of TensorFlow's `SAME` if it is `same`.
fn conv2d(args: &Args<'_>, weights: &Weights, weight: Weight, same: bool) -> Result<Forward, Problem> {
    let shape = weights.get("weight")?.size();
    let kernel = shape.get(2..).filter(|kernel| kernel.len() == 2).map(<[i64]>::to_vec);
    let kernel = kernel.ok_or_else(|| Problem(format!("a weight of shape {shape:?} is not Conv2d's")))?;
    let (stride, dilation) = (args.integers("stride", 2)?, args.integers("dilation", 2)?);
    let (padding, groups) = (args.integers("padding", 2)?, args.count("groups")?);
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        axes(input, &[4])?;
        let input = if same { padded(input, &kernel, &stride, &dilation, 0.0)? } else { input.shallow_clone() };
        let weight = weight.of(weights)?;
        Ok(input.f_conv2d(&weight, weights.find("bias"), &stride, &padding, &dilation, groups)?)
    }))
}

/// Pad an image so that the output is ⌈size / stride⌉ long; the odd one goes after.
fn padded(input: &Tensor, kernel: &[i64], stride: &[i64], dilation: &[i64], value: f64) -> Result<Tensor, Problem> {
    let mut widths = Vec::new();
    for axis in [1, 0] {
        let size = length(input, axis as i64 + 2)?;
        let [k, s, d] = [kernel[axis], stride[axis].max(1), dilation[axis]];
        let total = ((size + s - 1) / s - 1) * s + (k - 1) * d + 1 - size;
        let total = total.max(0);
        widths.extend([total / 2, total - total / 2]);
    }
    Ok(input.f_pad(&widths, "constant", value)?)
}

fn average_pool(args: &Args<'_>) -> Result<Forward, Problem> {
    let (kernel, stride) = (args.integers("kernel_size", 2)?, args.integers("stride", 2)?);
    let (ceil, counted) = (args.flag("ceil_mode")?, args.flag("count_include_pad")?);
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        axes(input, &[4])?;
        let input = padded(input, &kernel, &stride, &[1, 1], 0.0)?;
        Ok(input.f_avg_pool2d(&kernel, &stride, [0, 0], ceil, counted, None)?)
    }))
}

fn max_pool(args: &Args<'_>) -> Result<Forward, Problem> {
    let (kernel, stride) = (args.integers("kernel_size", 2)?, args.integers("stride", 2)?);
    let (dilation, ceil) = (args.integers("dilation", 2)?, args.flag("ceil_mode")?);
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        axes(input, &[4])?;
        let input = padded(input, &kernel, &stride, &[1, 1], f64::NEG_INFINITY)?;
        Ok(input.f_max_pool2d(&kernel, &stride, [0, 0], &dilation, ceil)?)
    }))
}

/// timm's BlurPool2d: padding by `pad_mode`, then `weight` over each channel.
fn blur(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let channels = length(weights.get("weight")?, 0)?;
    let (padding, stride) = (args.integers("padding", 4)?, args.integers("stride", 2)?);
    let mode = args.text("pad_mode")?.to_owned();
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        axes(input, &[4])?;
        let input = input.f_pad(&padding, &mode, None)?;
        Ok(input.f_conv2d(weights.get("weight")?, None::<Tensor>, &stride, [0, 0], [1, 1], channels)?)
    }))
}

/// Without the last `num_pad_remove` of `[N, C, L]`.
fn cut_end(args: &Args<'_>) -> Result<Forward, Problem> {
    let count = args.integer("num_pad_remove")?;
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        axes(input, &[3])?;
        let kept = length(input, 2)?.saturating_sub(count);
        Ok(input.f_narrow(2, 0, kept.max(0))?)
    }))
}

/// Axes in the order of `dims`.
fn permute(args: &Args<'_>) -> Result<Forward, Problem> {
    let dims = args.list("dims")?;
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(input.f_permute(&dims[..])?)
    }))
}
