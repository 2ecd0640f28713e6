//! Linear layers, convolutions and pools whose weight or padding differs from the plain ones.

use serde_json::{Value, json};

use super::phrase::{self, Around};
use super::site::{Draft, Site, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::Refusal;
use crate::plan::weights::Fold;
use t2m_engine::Program;

/// transformers' Conv1D, whose weight is `[in, out]`: `[4, 7, in]` → `[4, 7, out]`.
pub(super) fn linear_transposed(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [inputs, outputs] = site.shape_of_rank("weight")?;
    let draft = Draft::new(vec![4, 7, inputs], Bound::Contraction(inputs))
        .arg("input_dims", inputs)
        .arg("output_dims", outputs)
        .arg("bias", site.has("bias"));
    Ok(draft.weights(site.moves(&["bias"])).output_shape(vec![4, 7, outputs]))
}

/// A convolution whose weight is standardised for each output channel.
pub(super) fn standardised(site: &Site<'_>) -> Result<Draft, Refusal> {
    let scale = site.given("scale").map_or(Ok(1.0), |_| site.float("scale"))?;
    let fold = Fold::Standardised { eps: site.float("eps")?, scale };
    let mut draft = if site.maybe("same_pad").as_bool() == Some(true) { same(site)? } else { super::conv::conv(site)? };
    for step in draft.weights.iter_mut().filter(|step| step.to == "weight") {
        step.fold = fold.clone();
        step.from.extend(site.has("gain").then(|| "gain".to_owned()));
    }
    Ok(draft.step("the weight standardised for each output channel"))
}

/// A convolution with TensorFlow's padding, which depends on the input's size.
pub(super) fn same(site: &Site<'_>) -> Result<Draft, Refusal> {
    let kernel = site.shape("weight")?.get(2..).map(<[usize]>::to_vec).unwrap_or_default();
    let dilation = site.numbers("dilation", kernel.len())?;
    if site.numbers("padding", kernel.len())?.iter().any(|padding| *padding != 0) {
        return Err(unexpected("padding", site.maybe("padding")));
    }
    let draft = super::conv::conv(site)?;
    padded(site, draft, &kernel, &dilation, 0.0)
}

/// A pool with TensorFlow's padding.
pub(super) fn pool_same(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (kernel, stride) = (site.numbers("kernel_size", 2)?, site.numbers("stride", 2)?);
    let max = site.torch_class().contains("max");
    let known = |name: &str, value: Value| {
        let given = site.maybe(name);
        if given.is_null() || *given == value { Ok(()) } else { Err(unexpected(name, given)) }
    };
    known("ceil_mode", json!(false))?;
    known("return_indices", json!(false))?;
    known("count_include_pad", json!(true))?;
    known("dilation", json!([1, 1])).or_else(|_| known("dilation", json!(1)))?;
    if kernel.iter().chain(&stride).any(|size| !(1..=64).contains(size)) {
        return Err(unexpected("kernel_size", site.maybe("kernel_size")));
    }
    let size: Vec<usize> = kernel.iter().enumerate().map(|(axis, kernel)| kernel + 6 + 2 * axis).collect();
    let bound = if max { Bound::Copy } else { Bound::Norm(kernel.iter().product()) };
    let draft = Draft::new([vec![2, 3], size].concat(), bound).channels_last();
    let draft = draft.arg("kernel_size", json!(kernel)).arg("stride", json!(stride)).arg("padding", 0);
    padded(site, draft, &kernel, &[1, 1], if max { f64::NEG_INFINITY } else { 0.0 })
}

/// Pad the input so that the output is ⌈size / stride⌉ long; the odd one goes after.
fn padded(site: &Site<'_>, draft: Draft, kernel: &[usize], dilation: &[usize], value: f64) -> Result<Draft, Refusal> {
    let stride = site.numbers("stride", kernel.len())?;
    let sizes: Vec<usize> = draft.inputs.iter().flat_map(|input| &input.shape).skip(2).copied().collect();
    let sides = (0..kernel.len()).map(|axis| {
        let step = stride[axis].max(1);
        let reach = (sizes[axis].div_ceil(step) - 1) * step + (kernel[axis].max(1) - 1) * dilation[axis] + 1;
        let total = reach.saturating_sub(sizes[axis]) as i64;
        (total / 2, total - total / 2)
    });
    let sides: Vec<(i64, i64)> = sides.collect();
    let words = sides.iter().map(|(low, high)| format!("({low}, {high})")).collect::<Vec<_>>().join(", ");
    let widths: Vec<(i64, i64)> = std::iter::once((0, 0)).chain(sides).chain([(0, 0)]).collect();
    let draft = draft.wrapped(site, |p, x| {
        let padded = phrase::pad(p, &x, &widths, Around::Constant(value));
        phrase::run(p, "", &padded)
    });
    Ok(draft.step(format!("padded first by the input's size: {words} for {sizes:?}")))
}

/// timm's BlurPool2d: a fixed filter over each channel, as a convolution with a border: `[2, C, 9, 11]`.
pub(super) fn blur(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [channels, one, height, width] = site.shape_of_rank("weight")?;
    if one != 1 || site.attribute("channels").map_or(true, Value::is_null) {
        let reason = "its filter is of one channel and is repeated for as many as the input has";
        return Err(Refusal::Unsupported(reason.to_owned()));
    }
    let mode = site.attribute("pad_mode")?.as_str().and_then(Around::named);
    let around = mode.ok_or_else(|| unexpected("pad_mode", site.maybe("pad_mode")))?;
    let stride = site.number("stride")?;
    let pads = site.numbers("padding", 4)?;
    if pads.iter().any(|padding| *padding > 64) {
        return Err(unexpected("padding", site.maybe("padding")));
    }
    let [left, right, above, below] = [pads[0], pads[1], pads[2], pads[3]].map(|padding| padding as i64);
    let most = pads.iter().copied().max().unwrap_or(0);
    let shape = vec![2, channels, height.saturating_add(9 + most), width.saturating_add(11 + most)];
    let draft = Draft::new(shape, Bound::Contraction(height * width)).channels_last();
    let draft =
        draft.arg("in_channels", channels).arg("out_channels", channels).arg("kernel_size", json!([height, width]));
    let draft = draft.arg("stride", stride).arg("groups", channels).arg("bias", false).weights(site.moves(&[]));
    let draft = draft.arg("padding", 0).arg("dilation", 1).wrapped(site, |p, x| {
        let padded = phrase::pad(p, &x, &[(0, 0), (above, below), (left, right), (0, 0)], around);
        phrase::run(p, "", &padded)
    });
    Ok(draft.step("padded first; the filter is a convolution's weight"))
}

/// Without the last `num_pad_remove` places: `[2, 6, 13]`.
pub(super) fn cut_end(site: &Site<'_>) -> Result<Draft, Refusal> {
    let count = site.number("num_pad_remove")?;
    if count > 8 {
        return Err(unexpected("num_pad_remove", site.maybe("num_pad_remove")));
    }
    let draft = Draft::new(vec![2, 6, 13], Bound::Copy).channels_last();
    let mut p = Program::new(&["x"]);
    let output = match count {
        0 => "x".to_owned(),
        _ => phrase::slice(&mut p, "x", 1, None, Some(-(count as i64)), 1),
    };
    p.outputs = vec![output];
    Ok(draft.program(p))
}

/// Axes in another order. Moving channels last or first does nothing in MLX, where they are always last.
pub(super) fn permute(site: &Site<'_>) -> Result<Draft, Refusal> {
    let dims = site.integers("dims")?;
    let rank = dims.len();
    let axes: Option<Vec<usize>> =
        dims.iter().map(|&dim| usize::try_from(if dim < 0 { dim + rank as i64 } else { dim }).ok()).collect();
    let axes = axes.filter(|axes| (0..rank).all(|axis| axes.contains(&axis)) && (1..=6).contains(&rank));
    let axes = axes.ok_or_else(|| unexpected("dims", site.maybe("dims")))?;
    let draft = Draft::new([2, 3, 4, 5, 6, 7][..rank].to_vec(), Bound::Copy);
    let mut p = Program::new(&["x"]);
    let last: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).take(rank).collect();
    let image = rank > 2 && (axes == last || axes == super::site::channels_first(rank));
    let output = if image { "x".to_owned() } else { phrase::transpose(&mut p, "x", &axes) };
    p.outputs = vec![output];
    let mut draft = draft.program(p);
    if image && axes == last {
        draft = draft.channels_last();
        draft.outputs.iter_mut().for_each(|output| output.to_torch = None);
    } else if image {
        draft.outputs.iter_mut().for_each(|output| output.to_torch = Some(axes.clone()));
    }
    Ok(if image { draft.step("dropped: channels are last in MLX all the time") } else { draft })
}
