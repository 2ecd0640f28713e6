//! Convolutions and transposed convolutions in one to three dimensions.

use serde_json::{Map, Value, json};

use super::phrase::{self, Around};
use super::site::{Draft, Site, product, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::{Move, Refusal};
use t2m_engine::Program;
use t2m_engine::program::MlxOp;

/// `[2, in, *n]` → `[2, out, *m]`.
pub(super) fn conv(site: &Site<'_>) -> Result<Draft, Refusal> {
    let shape = site.shape("weight")?; // [out, in/groups, *kernel]
    let (per_group, kernel) = (shape.get(1).copied().unwrap_or(1), shape.get(2..).unwrap_or(&[]));
    let stride = site.numbers("stride", kernel.len())?;
    let dilation = site.numbers("dilation", kernel.len())?;
    let groups = site.number("groups")?;
    let mode = site.attribute("padding_mode")?;
    let mode = mode.as_str().ok_or_else(|| unexpected("padding_mode", mode))?;
    let padding = padding(site, kernel, &dilation)?;

    let pads: Vec<usize> = padding.iter().map(|[low, high]| (*low).max(*high)).collect();
    let size = spatial(kernel, &dilation, &pads);
    let terms = product(&[&[per_group], kernel].concat())?;
    let channels = product(&[per_group, groups])?;
    let outputs = shape.first().copied().unwrap_or(1);
    // An output axis is no longer than the padded input's.
    let padded = size.iter().zip(&padding).map(|(size, [low, high])| size.saturating_add(*low).saturating_add(*high));
    let largest = [2, outputs].into_iter().chain(padded).collect();
    let mut draft = Draft::new([vec![2, channels], size].concat(), Bound::Contraction(terms))
        .channels_last()
        .output_shape(largest)
        .arg("in_channels", channels)
        .arg("out_channels", outputs)
        .arg("kernel_size", per_axis(kernel))
        .arg("stride", per_axis(&stride));
    // MLX's own padding is zeros only, and the same on both sides.
    let inside = mode == "zeros" && padding.iter().all(|[low, high]| low == high);
    let inner: Vec<usize> = padding.iter().map(|[low, _]| if inside { *low } else { 0 }).collect();
    draft = draft
        .arg("padding", per_axis(&inner))
        .arg("dilation", per_axis(&dilation))
        .arg("groups", groups)
        .arg("bias", site.has("bias"))
        .weights(site.moves(&["bias"]));
    if kernel.len() == 3 {
        draft.args.remove("groups");
        if groups > 1 {
            let widths: Vec<(i64, i64)> = padding.iter().map(|&[low, high]| (low as i64, high as i64)).collect();
            return grouped(site, draft, groups, mode, &widths);
        }
    }
    if inside || padding.iter().all(|both| *both == [0, 0]) {
        return Ok(draft);
    }
    let around = Around::named(mode).ok_or_else(|| unexpected("padding_mode", site.maybe("padding_mode")))?;
    let sides = padding.iter().map(|&[low, high]| (low as i64, high as i64));
    let widths: Vec<(i64, i64)> = std::iter::once((0, 0)).chain(sides).chain([(0, 0)]).collect();
    draft = draft.wrapped(site, |p, x| {
        let padded = phrase::pad(p, &x, &widths, around);
        phrase::run(p, "", &padded)
    });
    Ok(if mode == "zeros" {
        let [low, high] = padding.iter().find(|[low, high]| low != high).copied().unwrap_or_default();
        draft.step(format!("pad ({low}, {high}) first"))
    } else {
        draft.step(format!("pad {mode} first"))
    })
}

/// A three-dimensional convolution with groups, which MLX refuses: each group is computed by itself, with its part of
/// the weight.
fn grouped(
    site: &Site<'_>,
    mut draft: Draft,
    groups: usize,
    mode: &str,
    widths: &[(i64, i64)],
) -> Result<Draft, Refusal> {
    let around = Around::named(mode).ok_or_else(|| unexpected("padding_mode", site.maybe("padding_mode")))?;
    let mut args = std::mem::take(&mut draft.args);
    args.retain(|name, _| matches!(name.as_str(), "stride" | "dilation"));
    args.insert("padding".to_owned(), json!(0));
    let mut p = Program::new(&["x"]);
    let widths: Vec<(i64, i64)> = std::iter::once((0, 0)).chain(widths.iter().copied()).chain([(0, 0)]).collect();
    let padded = phrase::pad(&mut p, "x", &widths, around);
    let output = by_group(&mut p, MlxOp::Conv3d, &padded, groups, &args, site.has("bias"));
    p.outputs = vec![output];
    Ok(draft
        .named(MlxOp::Conv3d)
        .program(p)
        .step(format!("{groups} convolutions, as MLX has no groups in three dimensions")))
}

/// Apply a function to each group's channels and part of the weight, then put the channels side by side and add the bias.
fn by_group(p: &mut Program, op: MlxOp, x: &str, groups: usize, args: &Map<String, Value>, bias: bool) -> String {
    let names = |letter: &str| (0..groups).map(|group| format!("{letter}{group}")).collect::<Vec<_>>();
    let (inputs, weights) = (names("x"), names("w"));
    let split = |p: &mut Program, to: &[String], of: &str, axis: i64| {
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        p.step(&to, MlxOp::Split, [of.into(), (groups as f64).into()], [("axis", json!(axis))]);
    };
    split(p, &inputs, x, -1);
    split(p, &weights, "self.weight", 0);
    let mut outputs = Vec::new();
    for (input, weight) in inputs.iter().zip(&weights) {
        let name = p.call(op, [input.clone().into(), weight.clone().into()], []);
        if let Some(step) = p.steps.last_mut() {
            step.args = args.clone();
        }
        outputs.push(name);
    }
    let joined = phrase::concatenate(p, outputs, -1);
    if bias { phrase::add(p, joined, "self.bias") } else { joined }
}

/// `[2, in, *n]` → `[2, out, *m]`.
pub(super) fn conv_transpose(site: &Site<'_>) -> Result<Draft, Refusal> {
    let shape = site.shape("weight")?; // [in, out/groups, *kernel]
    let (inputs, kernel) = (shape.first().copied().unwrap_or(1), shape.get(2..).unwrap_or(&[]));
    let stride = site.numbers("stride", kernel.len())?;
    let dilation = site.numbers("dilation", kernel.len())?;
    let groups = site.number("groups")?.max(1);

    // An output element sees ⌈kernel/stride⌉ taps along each axis.
    let taps: Vec<usize> =
        kernel.iter().zip(&stride).map(|(kernel, stride)| kernel.div_ceil((*stride).max(1))).collect();
    let pads = site.numbers("padding", kernel.len())?;
    let size = transposed_spatial(kernel, &stride, &pads);
    let output_padding = site.numbers("output_padding", kernel.len())?;
    let outputs = product(&[shape.get(1).copied().unwrap_or(1), groups])?;
    // (n - 1)·stride + dilation·(kernel - 1) + output_padding + 1, before the padding is taken off.
    let grown = |axis: usize| {
        let reach = dilation[axis].saturating_mul(kernel[axis].saturating_sub(1));
        let steps = (size[axis] - 1).saturating_mul(stride[axis]);
        steps.saturating_add(reach).saturating_add(output_padding[axis]).saturating_add(1)
    };
    let largest = [2, outputs].into_iter().chain((0..kernel.len()).map(grown)).collect();
    let terms = product(&[&[inputs / groups], taps.as_slice()].concat())?;
    let mut draft = Draft::new([vec![2, inputs], size.clone()].concat(), Bound::Contraction(terms))
        .channels_last()
        .output_shape(largest);
    if groups == 1 {
        draft = draft.arg("in_channels", inputs).arg("out_channels", outputs).arg("kernel_size", per_axis(kernel));
    }
    draft = draft
        .arg("stride", per_axis(&stride))
        .arg("padding", per_axis(&pads))
        .arg("dilation", per_axis(&dilation))
        .arg("output_padding", per_axis(&output_padding))
        .weights(transposed_moves(site, groups));
    if site.maybe("padding_mode").is_null() {
        draft = draft.torch_arg("padding_mode", "zeros"); // the only one that torch has for it
    }
    if groups == 1 {
        return Ok(draft.arg("bias", site.has("bias")));
    }
    let function = match kernel.len() {
        1 => MlxOp::ConvTranspose1d,
        2 => MlxOp::ConvTranspose2d,
        _ => MlxOp::ConvTranspose3d,
    };
    if kernel.len() == 3 {
        let mut p = Program::new(&["x"]);
        let args = std::mem::take(&mut draft.args);
        let output = by_group(&mut p, function, "x", groups, &args, site.has("bias"));
        p.outputs = vec![output];
        let step =
            format!("{groups} convolutions, as MLX has no groups in three dimensions; weight moved group by group");
        return Ok(draft.named(function).program(p).step(step));
    }
    let mut args = std::mem::take(&mut draft.args);
    args.insert("groups".to_owned(), json!(groups));
    let mut p = Program::new(&["x"]);
    let mut output = p.call(function, ["x".into(), "self.weight".into()], []);
    if let Some(step) = p.steps.last_mut() {
        step.args = args;
    }
    if site.has("bias") {
        output = phrase::add(&mut p, output, "self.bias");
    }
    p.outputs = vec![output];
    let step = "a function, as the layer has no groups; weight moved group by group";
    Ok(draft.named(function).program(p).step(step))
}

/// Weight, moved group by group, and bias.
pub(super) fn transposed_moves(site: &Site<'_>, groups: usize) -> Vec<Move> {
    let weight = site.has("weight").then(|| Move::keep("weight").by(site.weight_rule(groups)));
    weight.into_iter().chain(site.has("bias").then(|| Move::keep("bias"))).collect()
}

/// In the form that MLX's layers take: a number for one axis, a list for more.
fn per_axis(numbers: &[usize]) -> Value {
    if let [number] = numbers { json!(number) } else { json!(numbers) }
}

/// Padding before and after along each axis. torch's 'same' puts the odd one after.
fn padding(site: &Site<'_>, kernel: &[usize], dilation: &[usize]) -> Result<Vec<[usize; 2]>, Refusal> {
    match site.attribute("padding")?.as_str() {
        Some("valid") => Ok(vec![[0, 0]; kernel.len()]),
        Some("same") => Ok(kernel
            .iter()
            .zip(dilation)
            .map(|(kernel, dilation)| dilation * (kernel.max(&1) - 1))
            .map(|total| [total / 2, total - total / 2])
            .collect()),
        _ => Ok(site.numbers("padding", kernel.len())?.into_iter().map(|both| [both, both]).collect()),
    }
}

/// An input size for each axis: room for the dilated kernel, for the padding (a reflected border must be shorter than
/// the input) and a little more, no two axes alike.
fn spatial(kernel: &[usize], dilation: &[usize], padding: &[usize]) -> Vec<usize> {
    let reach = |axis: usize| dilation[axis].saturating_mul(kernel[axis].max(1) - 1).saturating_add(1);
    (0..kernel.len()).map(|axis| reach(axis).max(padding[axis]).saturating_add(6 + 2 * axis)).collect()
}

/// Spatial sizes of an input to a transposed convolution, whose padding takes away from the output.
fn transposed_spatial(kernel: &[usize], stride: &[usize], padding: &[usize]) -> Vec<usize> {
    let taken = |axis: usize| (2 * padding[axis]).div_ceil(stride[axis].max(1));
    (0..kernel.len()).map(|axis| kernel[axis].max(1).saturating_add(taken(axis)).saturating_add(6 + 2 * axis)).collect()
}
