//! Convolutions and transposed convolutions in one and two dimensions.

use serde_json::{Value, json};

use super::site::{Draft, Site, product, unexpected};
use crate::compare::tolerance::Bound;
use crate::convert::{Move, Refusal};

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
    // Only zeros, and as many on both sides, are padding of MLX's own.
    let inside = mode == "zeros" && padding.iter().all(|[low, high]| low == high);
    let inner: Vec<usize> = padding.iter().map(|[low, _]| if inside { *low } else { 0 }).collect();
    draft = draft
        .arg("padding", per_axis(&inner))
        .arg("dilation", per_axis(&dilation))
        .arg("groups", groups)
        .arg("bias", site.has("bias"))
        .weights(site.moves(&["bias"]));
    if inside || padding.iter().all(|both| *both == [0, 0]) {
        return Ok(draft);
    }
    draft = draft.around("pad", json!(padding)).around("pad_mode", mode);
    Ok(if mode == "zeros" {
        let [low, high] = padding.iter().find(|[low, high]| low != high).copied().unwrap_or_default();
        draft.step(format!("pad ({low}, {high}) first"))
    } else {
        draft.step(format!("pad {mode} first"))
    })
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
    let weight = Move::keep("weight").by(site.weight_rule(groups));
    let bias = site.has("bias").then(|| Move::keep("bias"));
    let pads = site.numbers("padding", kernel.len())?;
    let size = transposed_spatial(kernel, &stride, &pads);
    let output_padding = site.numbers("output_padding", kernel.len())?;
    let outputs = product(&[shape.get(1).copied().unwrap_or(1), groups])?;
    // (n - 1)·stride + dilation·(kernel - 1) + output_padding + 1, the padding not taken off.
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
        .weights(std::iter::once(weight).chain(bias).collect());
    if groups == 1 {
        return Ok(draft.arg("bias", site.has("bias")));
    }
    let function = format!("mx.conv_transpose{}d", kernel.len());
    Ok(draft
        .named(function)
        .arg("groups", groups)
        .step("a function, as the layer has no groups; weight moved group by group"))
}

/// As MLX's layers take it: a number for one axis, a list for more.
fn per_axis(numbers: &[usize]) -> Value {
    if let [number] = numbers { json!(number) } else { json!(numbers) }
}

/// Padding before and behind along each axis. torch's 'same' puts the odd one behind.
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

/// An input size for each axis: room for the dilated kernel and for the padding (a reflected border must be shorter than
/// the input) and some more, no two axes alike.
fn spatial(kernel: &[usize], dilation: &[usize], padding: &[usize]) -> Vec<usize> {
    let reach = |axis: usize| dilation[axis].saturating_mul(kernel[axis].max(1) - 1).saturating_add(1);
    (0..kernel.len()).map(|axis| reach(axis).max(padding[axis]).saturating_add(6 + 2 * axis)).collect()
}

/// The same for a transposed convolution, whose padding takes away from the output.
fn transposed_spatial(kernel: &[usize], stride: &[usize], padding: &[usize]) -> Vec<usize> {
    let taken = |axis: usize| (2 * padding[axis]).div_ceil(stride[axis].max(1));
    (0..kernel.len()).map(|axis| kernel[axis].max(1).saturating_add(taken(axis)).saturating_add(6 + 2 * axis)).collect()
}
