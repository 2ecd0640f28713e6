//! Convolutions in one, two and three dimensions.

use tch::Tensor;

use super::tensor::Weights;
use super::{Built, Forward, Problem, inputs, single};
use t2m_engine::args::Args;

/// The class `torch.nn.modules.conv.*`.
pub(super) fn build(class: &str, args: &Args<'_>, weights: &Weights) -> Built {
    Ok(Some(match class {
        "Conv1d" => conv(args, weights, 1)?,
        "Conv2d" => conv(args, weights, 2)?,
        "Conv3d" => conv(args, weights, 3)?,
        "ConvTranspose1d" => transposed(args, weights, 1)?,
        "ConvTranspose2d" => transposed(args, weights, 2)?,
        "ConvTranspose3d" => transposed(args, weights, 3)?,
        _ => return Ok(None),
    }))
}

/// How the input is padded before the convolution.
enum Padding {
    /// Zeros on both sides, as many as the list says for each axis.
    Zeros(Vec<i64>),
    /// `same` or `valid` with zeros.
    Named(String),
    /// Another mode, in the order of `pad`: the last axis first, both sides of each.
    First { mode: String, widths: Vec<i64> },
}

/// `Conv1d`, `Conv2d`, `Conv3d`: weight `[out, in / groups, *kernel]`, optional bias `[out]`, input `[N, C, *]`.
fn conv(args: &Args<'_>, weights: &Weights, axes: usize) -> Result<Forward, Problem> {
    let kernel = kernel(weights, axes)?;
    let stride = args.integers("stride", axes)?;
    let dilation = args.integers("dilation", axes)?;
    let groups = args.count("groups")?;
    let padding = padding(args, &kernel, &dilation)?;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let (weight, bias) = (weights.get("weight")?, weights.find("bias"));
        let zeros = |input: &Tensor, width: &[i64]| match axes {
            1 => input.f_conv1d(weight, bias, &stride, width, &dilation, groups),
            2 => input.f_conv2d(weight, bias, &stride, width, &dilation, groups),
            _ => input.f_conv3d(weight, bias, &stride, width, &dilation, groups),
        };
        Ok(match &padding {
            Padding::Zeros(width) => zeros(input, width)?,
            Padding::Named(name) => match axes {
                1 => input.f_conv1d_padding(weight, bias, &stride, name, &dilation, groups)?,
                2 => input.f_conv2d_padding(weight, bias, &stride, name, &dilation, groups)?,
                _ => input.f_conv3d_padding(weight, bias, &stride, name, &dilation, groups)?,
            },
            Padding::First { mode, widths } => zeros(&input.f_pad(widths, mode, None)?, &vec![0; axes])?,
        })
    }))
}

/// `ConvTranspose1d`, `ConvTranspose2d`, `ConvTranspose3d`: weight `[in, out / groups, *kernel]`, optional bias `[out]`, input `[N, C, *]`.
fn transposed(args: &Args<'_>, weights: &Weights, axes: usize) -> Result<Forward, Problem> {
    kernel(weights, axes)?;
    let stride = args.integers("stride", axes)?;
    let padding = args.integers("padding", axes)?;
    let more = args.integers("output_padding", axes)?;
    let dilation = args.integers("dilation", axes)?;
    let groups = args.count("groups")?;
    if args.text("padding_mode")? != "zeros" {
        return Err(args.wrong("padding_mode", "\"zeros\", the only one of a transposed convolution").into());
    }
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let (weight, bias) = (weights.get("weight")?, weights.find("bias"));
        Ok(match axes {
            1 => input.f_conv_transpose1d(weight, bias, &stride, &padding, &more, groups, &dilation)?,
            2 => input.f_conv_transpose2d(weight, bias, &stride, &padding, &more, groups, &dilation)?,
            _ => input.f_conv_transpose3d(weight, bias, &stride, &padding, &more, groups, &dilation)?,
        })
    }))
}

fn kernel(weights: &Weights, axes: usize) -> Result<Vec<i64>, Problem> {
    let shape = weights.get("weight")?.size();
    match shape.get(2..) {
        Some(kernel) if kernel.len() == axes => Ok(kernel.to_vec()),
        _ => Err(Problem(format!("the weight's shape is {shape:?}; it needs {} axes", axes + 2))),
    }
}

fn padding(args: &Args<'_>, kernel: &[i64], dilation: &[i64]) -> Result<Padding, Problem> {
    let mode = args.text("padding_mode")?;
    let named = args.get("padding")?.as_str();
    if !matches!(mode, "zeros" | "reflect" | "replicate" | "circular") {
        return Err(args.wrong("padding_mode", "zeros, reflect, replicate or circular").into());
    }
    if !matches!(named, None | Some("same" | "valid")) {
        return Err(args.wrong("padding", "\"same\", \"valid\" or numbers").into());
    }
    // Before and after, for each axis in the shape's order.
    let sides: Vec<(i64, i64)> = match named {
        Some(name) if mode == "zeros" => return Ok(Padding::Named(name.to_owned())),
        // With an odd total, `same` puts the odd one after.
        Some("same") => kernel
            .iter()
            .zip(dilation)
            .map(|(kernel, dilation)| dilation.saturating_mul(kernel - 1))
            .map(|total| (total / 2, total - total / 2))
            .collect(),
        Some(_) => vec![(0, 0); kernel.len()],
        None => args.integers("padding", kernel.len())?.into_iter().map(|width| (width, width)).collect(),
    };
    if mode == "zeros" {
        return Ok(Padding::Zeros(sides.into_iter().map(|(width, _)| width).collect()));
    }
    let widths = sides.into_iter().rev().flat_map(|(before, after)| [before, after]).collect();
    Ok(Padding::First { mode: mode.to_owned(), widths })
}
