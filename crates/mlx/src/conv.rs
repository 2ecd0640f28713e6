//! Convolutions in one to three dimensions, channels last.

use mlx_rs::module::{Module, Param};
use mlx_rs::{Array, nn, ops};

use super::tensor::Weights;
use super::{Forward, Problem, inputs, int32, single};
use t2m_engine::args::Args;
use t2m_engine::padding::{overruns, reach, width};

/// `nn.Conv1d` to `nn.Conv3d` by mlx-rs's modules: weight `[out, *kernel, in / groups]`, optional bias `[out]`, input
/// `[N, *, C]`. Padding that is not [safe](overruns) is done by ops first. In three dimensions MLX has no groups.
pub(super) fn conv(args: &Args<'_>, weights: &Weights, axes: usize) -> Result<Forward, Problem> {
    let stride = at_least(1, args, "stride", axes)?;
    let dilation = at_least(1, args, "dilation", axes)?;
    let groups = if args.has("groups") { int32(args.count("groups")?, "groups")? } else { 1 };
    let inner = at_least(0, args, "padding", axes)?;
    let biased = check_weight(args, weights, axes, groups)?;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let weight = weights.get("weight")?;
        let size = check_input(input, weight, axes, groups)?;
        let mut inside = true;
        for ((size, kernel), (padding, (stride, dilation))) in
            size.iter().zip(kernel(weight)).zip(inner.iter().zip(stride.iter().zip(&dilation)))
        {
            let (window, padded) = (reach(*kernel, *dilation) + 1, i64::from(*size) + 2 * i64::from(*padding));
            if window > padded {
                return Err(Problem(format!("a kernel of {window} does not fit into an input of {padded}")));
            }
            let output = (padded - window) / i64::from(*stride) + 1;
            inside &= !overruns(i64::from(*padding), i64::from(*stride), output);
        }
        let width: Vec<i32> = inner.iter().map(|&padding| if inside { padding } else { 0 }).collect();
        let both: Vec<(i32, i32)> = inner.iter().map(|&padding| (padding, padding)).collect();
        let padded = if inside { input.clone() } else { pad(input, &both)? };
        let bias = Param::new(weights.vector_if(biased, "bias", weight.dim(0))?);
        let weight = Param::new(weight.clone());
        Ok(match (stride.as_slice(), width.as_slice(), dilation.as_slice()) {
            (&[stride], &[padding], &[dilation]) => {
                nn::Conv1d { weight, bias, stride, padding, dilation, groups }.forward(&padded)?
            }
            (&[s0, s1], &[p0, p1], &[d0, d1]) => {
                let (stride, padding, dilation) = ((s0, s1), (p0, p1), (d0, d1));
                nn::Conv2d { weight, bias, stride, padding, dilation, groups }.forward(&padded)?
            }
            (&[s0, s1, s2], &[p0, p1, p2], &[d0, d1, d2]) => {
                let (stride, padding, dilation) = ((s0, s1, s2), (p0, p1, p2), (d0, d1, d2));
                nn::Conv3d { weight, bias, stride, padding, dilation, groups }.forward(&padded)?
            }
            _ => return Err(Problem(format!("MLX's side has no convolution over {axes} axes"))),
        })
    }))
}

/// `nn.ConvTranspose1d` to `nn.ConvTranspose3d` by ops, as mlx-rs's modules take no dilation, and `mx.conv_transpose1d`,
/// `mx.conv_transpose2d`, which take groups: weight `[out, *kernel, in / groups]`, optional bias `[out]`, input
/// `[N, *, C]`.
pub(super) fn transposed(args: &Args<'_>, weights: &Weights, axes: usize) -> Result<Forward, Problem> {
    let stride = at_least(1, args, "stride", axes)?;
    let dilation = at_least(1, args, "dilation", axes)?;
    let padding = at_least(0, args, "padding", axes)?;
    let more = at_least(0, args, "output_padding", axes)?;
    let groups = if args.has("groups") { int32(args.count("groups")?, "groups")? } else { 1 };
    let biased = check_weight(args, weights, axes, groups)?;
    Ok(single(move |weights, given| {
        let [input] = inputs(given)?;
        let weight = weights.get("weight")?;
        let size = check_input(input, weight, axes, groups)?;
        // MLX computes it as a convolution of the input with zeros between its elements, padded by the reach of the
        // kernel.
        let mut implied = Vec::with_capacity(axes);
        let mut unsafe_inside = false;
        for ((size, kernel), ((padding, more), dilation)) in
            size.iter().zip(kernel(weight)).zip(padding.iter().zip(&more).zip(&dilation))
        {
            let reach = reach(*kernel, *dilation);
            let low = reach - i64::from(*padding);
            let high = low + i64::from(*more);
            unsafe_inside |= overruns(low, 1, i64::from(*size) + low + high - reach);
            implied.push((low, high));
        }
        let output = if unsafe_inside && stride.iter().all(|&stride| stride == 1) {
            let implied = implied.iter().map(|&(low, high)| Some((width(low)?, width(high)?)));
            let implied: Option<Vec<_>> = implied.collect();
            let implied =
                implied.ok_or_else(|| Problem("MLX would overrun its memory with this padding".to_owned()))?;
            let padded = pad(input, &implied)?;
            let ones = vec![1; axes];
            let (ones, zeros, dilation) = (ones.as_slice(), vec![0; axes], dilation.as_slice());
            ops::conv_general(padded, weight, ones, zeros.as_slice(), dilation, ones, groups, true)?
        } else {
            match (stride.as_slice(), padding.as_slice(), dilation.as_slice(), more.as_slice()) {
                (&[s], &[p], &[d], &[o]) => ops::conv_transpose1d(input, weight, s, p, d, o, groups)?,
                (&[s0, s1], &[p0, p1], &[d0, d1], &[o0, o1]) => {
                    ops::conv_transpose2d(input, weight, (s0, s1), (p0, p1), (d0, d1), (o0, o1), groups)?
                }
                (&[s0, s1, s2], &[p0, p1, p2], &[d0, d1, d2], &[o0, o1, o2]) => {
                    let (stride, padding) = ((s0, s1, s2), (p0, p1, p2));
                    let (dilation, more) = ((d0, d1, d2), (o0, o1, o2));
                    ops::conv_transpose3d(input, weight, stride, padding, dilation, more, groups)?
                }
                _ => return Err(Problem(format!("MLX's side has no transposed convolution over {axes} axes"))),
            }
        };
        Ok(match weights.vector_if(biased, "bias", weight.dim(0))? {
            Some(bias) => output.add(bias)?,
            None => output,
        })
    }))
}

fn at_least(least: i64, args: &Args<'_>, name: &str, axes: usize) -> Result<Vec<i32>, Problem> {
    let numbers = args.integers(name, axes)?;
    if numbers.iter().any(|&number| number < least) {
        return Err(args.wrong(name, &format!("whole numbers from {least} on")).into());
    }
    numbers.into_iter().map(|number| int32(number, name)).collect()
}

fn kernel(weight: &Array) -> &[i32] {
    match weight.shape() {
        [_, kernel @ .., _] => kernel,
        _ => &[],
    }
}

/// Whether the weight fits the layer, and whether there is a bias.
fn check_weight(args: &Args<'_>, weights: &Weights, axes: usize, groups: i32) -> Result<bool, Problem> {
    let biased = args.flag_or("bias", weights.find("bias").is_some())?;
    let shape = weights.get("weight")?.shape();
    match shape {
        [out, kernel @ .., per_group]
            if kernel.len() == axes && out % groups == 0 && shape.iter().all(|&axis| axis > 0) =>
        {
            args.agree("out_channels", &[*out])?;
            args.agree("in_channels", &[per_group.saturating_mul(groups)])?;
            args.agree("kernel_size", kernel)?;
            weights.vector_if(biased, "bias", *out).map(|_| biased)
        }
        _ => Err(Problem(format!("the weight's shape {shape:?} does not fit {axes} axes and {groups} groups"))),
    }
}

/// The input's length along each axis of the kernel.
fn check_input<'a>(input: &'a Array, weight: &Array, axes: usize, groups: i32) -> Result<&'a [i32], Problem> {
    let shape = input.shape();
    let wanted = weight.shape().last().and_then(|&width| width.checked_mul(groups));
    match shape {
        [_, size @ .., channels] if shape.len() == axes + 2 && Some(*channels) == wanted => Ok(size),
        _ => Err(Problem(format!(
            "an input of shape {shape:?} does not fit a weight of shape {:?} with {groups} groups",
            weight.shape()
        ))),
    }
}

/// Pad the axes between the first and the last with zeros.
fn pad(input: &Array, padding: &[(i32, i32)]) -> Result<Array, Problem> {
    if padding.iter().all(|&both| both == (0, 0)) {
        return Ok(input.clone());
    }
    let mut widths = vec![(0, 0)];
    widths.extend(padding);
    widths.push((0, 0));
    Ok(ops::pad(input, widths.as_slice(), None, None)?)
}

/// `mx.conv1d` to `mx.conv3d`, the functions, on an input and a weight.
pub(super) fn function(given: [&Array; 2], args: &Args<'_>, axes: usize) -> Result<Array, Problem> {
    run(given, |weights| conv(args, weights, axes))
}

/// `mx.conv_transpose1d` to `mx.conv_transpose3d` likewise.
pub(super) fn transposed_function(given: [&Array; 2], args: &Args<'_>, axes: usize) -> Result<Array, Problem> {
    run(given, |weights| transposed(args, weights, axes))
}

fn run([input, weight]: [&Array; 2], build: impl Fn(&Weights) -> Result<Forward, Problem>) -> Result<Array, Problem> {
    let weights = Weights::one("weight", weight.clone());
    let results = build(&weights)?(&weights, std::slice::from_ref(input))?;
    results.into_iter().next().ok_or_else(|| Problem("it gives nothing".to_owned()))
}
