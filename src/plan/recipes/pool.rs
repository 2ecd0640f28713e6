//! Pooling.

use serde_json::{Map, Value, json};

use super::phrase::{self, Around, entries};
use super::site::{Draft, Site, channels_first, product, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::{Input, Output, Refusal};
use t2m_engine::Program;
use t2m_engine::program::{MlxLayer, MlxOp, Operand};

/// Channels of a pool's input.
const CHANNELS: usize = 5;
/// The most calls of a program: a window of a hostile file could ask for millions of slices.
const MOST_SLICES: usize = 600;

/// A window along one axis.
#[derive(Debug, Clone, Copy)]
struct Window {
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    /// Length of the output.
    out: usize,
    /// Places after the padding that the last window reaches, for `ceil_mode`.
    extra: usize,
}

impl Window {
    /// As torch counts: with `ceil_mode` the last window may reach beyond the input, but begins in it or in its
    /// padding.
    fn new(size: usize, [kernel, stride, padding, dilation]: [usize; 4], ceil: bool) -> Window {
        let reach = dilation * (kernel - 1) + 1;
        let room = (size + 2 * padding).saturating_sub(reach);
        let mut out = room / stride + 1;
        if ceil && !room.is_multiple_of(stride) && out * stride < size + padding {
            out += 1;
        }
        let end = (out - 1) * stride + reach;
        Window { size, kernel, stride, padding, dilation, out, extra: end.saturating_sub(size + 2 * padding) }
    }

    fn sides(&self) -> (i64, i64) {
        (self.padding as i64, (self.padding + self.extra) as i64)
    }

    /// The places that element `element` of the window sees: one for each output.
    fn seen(&self, element: usize) -> (Option<i64>, Option<i64>, i64) {
        let start = element * self.dilation;
        let stop = start + (self.out - 1) * self.stride + 1;
        (Some(start as i64), Some(stop as i64), self.stride as i64)
    }
}

/// The windows of a pool over an input that fits it.
fn windows(site: &Site<'_>, dilated: bool) -> Result<Vec<Window>, Refusal> {
    let axes = site.axes()?;
    let kernel = site.numbers("kernel_size", axes)?;
    // torch stores None where no stride was given, and then takes the kernel's size.
    let stride = if site.maybe("stride").is_null() { kernel.clone() } else { site.numbers("stride", axes)? };
    let padding = if site.maybe("padding").is_null() { vec![0; axes] } else { site.numbers("padding", axes)? };
    let dilation = if dilated { site.numbers("dilation", axes)? } else { vec![1; axes] };
    let ceil = site.flag("ceil_mode")?;
    let mut windows = Vec::new();
    for axis in 0..axes {
        let sizes = [kernel[axis].max(1), stride[axis].max(1), padding[axis], dilation[axis].max(1)];
        if 2 * sizes[2] > sizes[0] {
            return Err(unexpected("padding", site.maybe("padding")));
        }
        let reach = sizes[3].saturating_mul(sizes[0] - 1).saturating_add(1);
        // Two strides and a little more than the window, so that `ceil_mode` makes a difference.
        let size = reach.saturating_add(2 * sizes[1]).saturating_add(3 + axis);
        product(&[size])?;
        windows.push(Window::new(size, sizes, ceil));
    }
    Ok(windows)
}

fn input_shape(windows: &[Window]) -> Vec<usize> {
    [2, CHANNELS].into_iter().chain(windows.iter().map(|window| window.size)).collect()
}

fn sides(windows: &[Window]) -> Vec<(i64, i64)> {
    std::iter::once((0, 0)).chain(windows.iter().map(Window::sides)).chain([(0, 0)]).collect()
}

/// One number, or one for each axis.
fn per_axis(numbers: impl Iterator<Item = usize>) -> Value {
    let numbers: Vec<usize> = numbers.collect();
    if let [number] = numbers.as_slice() { json!(number) } else { json!(numbers) }
}

fn arguments(windows: &[Window], padded: bool) -> Map<String, Value> {
    let padding = windows.iter().map(|window| if padded { 0 } else { window.padding });
    entries([
        ("kernel_size", per_axis(windows.iter().map(|window| window.kernel))),
        ("stride", per_axis(windows.iter().map(|window| window.stride))),
        ("padding", per_axis(padding)),
    ])
}

/// `[2, 5, *n]` → `[2, 5, *m]`, and where the maxima were.
pub(super) fn max(site: &Site<'_>) -> Result<Draft, Refusal> {
    let windows = windows(site, true)?;
    let draft = Draft::new(input_shape(&windows), Bound::Copy).values(Values::Normal(1.0)).channels_last();
    let indices = site.flag("return_indices")?;
    let dilated = windows.iter().any(|window| window.dilation > 1);
    let extra = windows.iter().any(|window| window.extra > 0);
    if !indices && !dilated && !extra {
        return Ok(Draft { args: arguments(&windows, false), ..draft });
    }
    let mut p = Program::new(&["x"]);
    let padded = phrase::pad(&mut p, "x", &sides(&windows), Around::Constant(f64::NEG_INFINITY));
    if !indices && !dilated {
        phrase::layer(&mut p, "", max_layer(&windows), arguments(&windows, true));
        let output = phrase::run(&mut p, "", &padded);
        p.outputs = vec![output];
        return Ok(draft.program(p).step("padded behind for ceil_mode"));
    }
    let stacked = each_element(&mut p, &padded, &windows)?;
    let output = phrase::reduce(&mut p, MlxOp::Max, &stacked, &[0], false);
    if !indices {
        p.outputs = vec![output];
        return Ok(draft
            .named(MlxOp::Max)
            .program(p)
            .step("slices and their maximum, as MLX's layer takes no dilation"));
    }
    let which = phrase::reduce(&mut p, MlxOp::Argmax, &stacked, &[0], false);
    let places = places(&mut p, &which, &windows);
    p.outputs = vec![output, places];
    let back = Some(channels_first(windows.len() + 2));
    let outputs = vec![Output { name: "output", to_torch: back.clone() }, Output { name: "indices", to_torch: back }];
    Ok(draft
        .named(MlxOp::Max)
        .program(p)
        .outputs(outputs)
        .step("slices, their maximum and argmax: MLX's layer gives no indices"))
}

fn max_layer(windows: &[Window]) -> MlxLayer {
    match windows.len() {
        1 => MlxLayer::MaxPool1d,
        2 => MlxLayer::MaxPool2d,
        _ => MlxLayer::MaxPool3d,
    }
}

fn average_layer(windows: &[Window]) -> MlxLayer {
    match windows.len() {
        1 => MlxLayer::AvgPool1d,
        2 => MlxLayer::AvgPool2d,
        _ => MlxLayer::AvgPool3d,
    }
}

/// What each element of the window sees, stacked along a new first axis; the last axis's element counts fastest.
fn each_element(p: &mut Program, x: &str, windows: &[Window]) -> Result<String, Refusal> {
    let mut seen = Vec::new();
    for elements in combinations(&windows.iter().map(|window| window.kernel).collect::<Vec<_>>())? {
        let parts: Vec<_> = windows.iter().zip(&elements).map(|(window, &element)| window.seen(element)).collect();
        seen.push(phrase::slices(p, x, 1, &parts));
    }
    Ok(phrase::stack(p, seen, 0))
}

/// All combinations of numbers below these, the last counting fastest.
fn combinations(below: &[usize]) -> Result<Vec<Vec<usize>>, Refusal> {
    if product(below)? > MOST_SLICES {
        return Err(Refusal::Unsupported(format!("{below:?} are more places than a program should name")));
    }
    let mut all = vec![Vec::new()];
    for &most in below {
        all =
            all.into_iter().flat_map(|front| (0..most).map(move |last| [front.as_slice(), &[last]].concat())).collect();
    }
    Ok(all)
}

/// From the number of the window's element to the place in the input, counted over all spatial axes.
fn places(p: &mut Program, which: &str, windows: &[Window]) -> String {
    let step = |axis: usize| windows[axis + 1..].iter().map(|window| window.size as i64).product::<i64>();
    let count = |numbers: Vec<Vec<usize>>, place: &dyn Fn(usize, usize) -> i64| -> Vec<i64> {
        numbers.iter().map(|at| at.iter().enumerate().map(|(axis, &at)| place(axis, at) * step(axis)).sum()).collect()
    };
    let all =
        |of: &dyn Fn(&Window) -> usize| combinations(&windows.iter().map(of).collect::<Vec<_>>()).unwrap_or_default();
    let inside = count(all(&|window| window.kernel), &|axis, element| (element * windows[axis].dilation) as i64);
    let first = count(all(&|window| window.out), &|axis, out| {
        (out * windows[axis].stride) as i64 - windows[axis].padding as i64
    });
    let within = p.call(MlxOp::Take, [Operand::indices(inside), which.into()], [("axis", json!(0))]);
    let shape: Vec<i64> = windows.iter().map(|window| window.out as i64).chain([1]).collect();
    let first = p.call(MlxOp::Reshape, [Operand::indices(first)], [("shape", json!(shape))]);
    phrase::add(p, within, first)
}

/// `[2, 5, *n]` → `[2, 5, *m]`.
pub(super) fn average(site: &Site<'_>) -> Result<Draft, Refusal> {
    let windows = windows(site, false)?;
    let counts_padding = site.flag("count_include_pad")?;
    let divisor = match site.maybe("divisor_override") {
        // torch takes none for one axis.
        _ if windows.len() == 1 => None,
        Value::Null => None,
        value => {
            Some(value.as_u64().filter(|divisor| *divisor > 0).ok_or_else(|| unexpected("divisor_override", value))?)
        }
    };
    let elements: usize = windows.iter().map(|window| window.kernel).product();
    let draft = Draft::new(input_shape(&windows), Bound::Norm(elements)).channels_last();
    let padded = windows.iter().any(|window| window.padding > 0);
    let extra = windows.iter().any(|window| window.extra > 0);
    if divisor.is_none() && !extra && (counts_padding || !padded) {
        return Ok(Draft { args: arguments(&windows, false), ..draft });
    }
    let mut p = Program::new(&["x"]);
    phrase::layer(&mut p, "", average_layer(&windows), arguments(&windows, true));
    let x = phrase::pad(&mut p, "x", &sides(&windows), Around::Constant(0.0));
    let mean = phrase::run(&mut p, "", &x);
    if let Some(divisor) = divisor {
        let output = phrase::multiply(&mut p, mean, elements as f64 / divisor as f64);
        p.outputs = vec![output];
        return Ok(draft.program(p).step(format!("times {elements}/{divisor} for divisor_override")));
    }
    // The share of each window that counts: the mean of ones, padded with ones where padding counts.
    let mut ones = phrase::unary(&mut p, MlxOp::OnesLike, "x");
    let padding: Vec<(i64, i64)> =
        windows.iter().map(|window| (window.padding as i64, window.padding as i64)).collect();
    let behind: Vec<(i64, i64)> = windows.iter().map(|window| (0, window.extra as i64)).collect();
    let around = |sides: &[(i64, i64)]| [&[(0, 0)], sides, &[(0, 0)]].concat();
    ones = phrase::pad(&mut p, &ones, &around(&padding), Around::Constant(if counts_padding { 1.0 } else { 0.0 }));
    ones = phrase::pad(&mut p, &ones, &around(&behind), Around::Constant(0.0));
    let share = phrase::run(&mut p, "", &ones);
    let output = phrase::binary(&mut p, MlxOp::Divide, mean, share);
    p.outputs = vec![output];
    Ok(draft.program(p).step("divided by the share of each window that torch counts"))
}

/// `(Σ xᵖ)^(1/p)` over each window.
pub(super) fn power_average(site: &Site<'_>) -> Result<Draft, Refusal> {
    let windows = windows(site, false)?;
    let power = site.float("norm_type")?;
    if power == 0.0 {
        return Err(unexpected("norm_type", site.maybe("norm_type")));
    }
    let elements: usize = windows.iter().map(|window| window.kernel).product();
    let draft = Draft::new(input_shape(&windows), Bound::Norm(elements)).values(Values::Positive).channels_last();
    let mut p = Program::new(&["x"]);
    phrase::layer(&mut p, "", average_layer(&windows), arguments(&windows, true));
    let powers = phrase::binary(&mut p, MlxOp::Power, "x", power);
    let padded = phrase::pad(&mut p, &powers, &sides(&windows), Around::Constant(0.0));
    let mut mean = phrase::run(&mut p, "", &padded);
    if windows.iter().any(|window| window.extra > 0) {
        // torch takes the mean over the part of the last window that is in the input, and multiplies it by the whole
        // window.
        let ones = phrase::unary(&mut p, MlxOp::OnesLike, "x");
        let ones = phrase::pad(&mut p, &ones, &sides(&windows), Around::Constant(0.0));
        let share = phrase::run(&mut p, "", &ones);
        mean = phrase::binary(&mut p, MlxOp::Divide, mean, share);
    }
    let sum = phrase::multiply(&mut p, mean, elements as f64);
    let output = phrase::binary(&mut p, MlxOp::Power, sum, 1.0 / power);
    p.outputs = vec![output];
    Ok(draft.program(p).step("by ops around an average pool: MLX has no such layer"))
}

/// The sizes that an adaptive pool's input has, none a multiple of the output's.
fn adaptive_input(outputs: &[Option<usize>]) -> Vec<usize> {
    const SIZES: [[usize; 3]; 3] = [[13, 0, 0], [11, 14, 0], [7, 9, 8]];
    outputs.iter().enumerate().map(|(axis, _)| SIZES[outputs.len() - 1][axis]).collect()
}

/// `output_size`: a number for each axis, `None` for the input's own.
fn output_size(site: &Site<'_>) -> Result<Vec<Option<usize>>, Refusal> {
    let axes = site.axes()?;
    let value = site.attribute("output_size")?;
    let number = |value: &Value| match value {
        Value::Null => Some(None),
        value => value.as_u64().filter(|number| (1..=256).contains(number)).map(|number| Some(number as usize)),
    };
    let sizes = match value {
        Value::Array(values) => values.iter().map(number).collect::<Option<Vec<_>>>(),
        single => number(single).map(|number| vec![number; axes]),
    };
    sizes.filter(|sizes| sizes.len() == axes).ok_or_else(|| unexpected("output_size", value))
}

/// Bin `index` of `of` over an axis: from ⌊i·n/o⌋ to ⌈(i+1)·n/o⌉.
fn bin(index: usize, of: usize, size: usize) -> (i64, i64) {
    ((index * size / of) as i64, ((index + 1) * size).div_ceil(of) as i64)
}

/// One axis after the other, each reduced by bins: a box is the product of its sides.
pub(super) fn by_bins(p: &mut Program, x: &str, reduce: MlxOp, size: &[usize], outputs: &[usize]) -> String {
    let mut x = x.to_owned();
    let all: Vec<i64> = (1..=size.len() as i64).collect();
    if outputs.iter().all(|&out| out == 1) {
        return phrase::reduce(p, reduce, &x, &all, true);
    }
    for (axis, (&size, &out)) in size.iter().zip(outputs).enumerate().filter(|(_, (size, out))| size != out) {
        let mut parts = Vec::new();
        for index in 0..out {
            let (start, stop) = bin(index, out, size);
            let part = phrase::slice(p, &x, axis + 1, Some(start), Some(stop), 1);
            parts.push(phrase::reduce(p, reduce, &part, &[axis as i64 + 1], true));
        }
        x = phrase::concatenate(p, parts, axis as i64 + 1);
    }
    x
}

/// `[2, 5, *n]` → `[2, 5, *output_size]`, by bins of uneven size that may overlap.
pub(super) fn adaptive_average(site: &Site<'_>) -> Result<Draft, Refusal> {
    let outputs = output_size(site)?;
    let size = adaptive_input(&outputs);
    let outputs: Vec<usize> = outputs.iter().zip(&size).map(|(out, &size)| out.unwrap_or(size)).collect();
    let terms = size.iter().zip(&outputs).map(|(size, out)| size.div_ceil(*out) + 1).product();
    let mut p = Program::new(&["x"]);
    // On the CPU MLX adds up half precision in half precision.
    let wide = p.call(MlxOp::Astype, ["x".into()], [("dtype", json!("float32"))]);
    let pooled = by_bins(&mut p, &wide, MlxOp::Mean, &size, &outputs);
    let output = p.call(MlxOp::AstypeLike, [pooled.into(), "x".into()], []);
    p.outputs = vec![output];
    let shape = [vec![2, CHANNELS], size].concat();
    let output_shape = [vec![2, CHANNELS], outputs].concat();
    let draft = Draft::new(shape, Bound::Norm(terms)).channels_last().output_shape(output_shape);
    Ok(draft.named(MlxOp::Mean).program(p).step("slices and their means, in float32"))
}

/// Adaptive maximum pools: uneven bins, their maxima, and where those were.
pub(super) fn adaptive_max(site: &Site<'_>) -> Result<Draft, Refusal> {
    let outputs = output_size(site)?;
    let size = adaptive_input(&outputs);
    let outputs: Vec<usize> = outputs.iter().zip(&size).map(|(out, &size)| out.unwrap_or(size)).collect();
    let shape = [vec![2, CHANNELS], size.clone()].concat();
    let draft =
        Draft::new(shape, Bound::Copy).channels_last().output_shape([vec![2, CHANNELS], outputs.clone()].concat());
    let mut p = Program::new(&["x"]);
    if !site.flag("return_indices")? {
        let output = by_bins(&mut p, "x", MlxOp::Max, &size, &outputs);
        p.outputs = vec![output];
        return Ok(draft.named(MlxOp::Max).program(p).step("slices and their maxima"));
    }
    let (mut maxima, mut indices) = (Vec::new(), Vec::new());
    for cell in combinations(&outputs)? {
        let bins: Vec<(i64, i64)> =
            cell.iter().zip(&outputs).zip(&size).map(|((&index, &of), &size)| bin(index, of, size)).collect();
        let parts: Vec<_> = bins.iter().map(|&(start, stop)| (Some(start), Some(stop), 1)).collect();
        let part = phrase::slices(&mut p, "x", 1, &parts);
        let flat = p.call(MlxOp::Flatten, [part.into()], [("start_axis", json!(1)), ("end_axis", json!(size.len()))]);
        maxima.push(phrase::reduce(&mut p, MlxOp::Max, &flat, &[1], false));
        let which = phrase::reduce(&mut p, MlxOp::Argmax, &flat, &[1], false);
        let mut places = vec![0i64];
        for (&(start, stop), &size) in bins.iter().zip(&size) {
            places = places.iter().flat_map(|&place| (start..stop).map(move |at| place * size as i64 + at)).collect();
        }
        indices.push(p.call(MlxOp::Take, [Operand::indices(places), which.into()], [("axis", json!(0))]));
    }
    let mut together = |parts: Vec<String>| {
        let stacked = phrase::stack(&mut p, parts, 1);
        p.call(MlxOp::Unflatten, [stacked.into()], [("axis", json!(1)), ("shape", json!(outputs))])
    };
    let (maxima, indices) = (together(maxima), together(indices));
    p.outputs = vec![maxima, indices];
    let back = Some(channels_first(size.len() + 2));
    let named = |name| Output { name, to_torch: back.clone() };
    let draft = draft.outputs(vec![named("output"), named("indices")]);
    Ok(draft.named(MlxOp::Max).program(p).step("slices, their maxima and where they were"))
}

/// Values `[2, 5, *n]` and where they were → `[2, 5, *m]`, zeros elsewhere.
pub(super) fn max_unpool(site: &Site<'_>) -> Result<Draft, Refusal> {
    let axes = site.axes()?;
    let kernel = site.numbers("kernel_size", axes)?;
    let stride = if site.maybe("stride").is_null() { kernel.clone() } else { site.numbers("stride", axes)? };
    let padding = site.numbers("padding", axes)?;
    let size: Vec<usize> = (0..axes).map(|axis| 4 + axis).collect();
    let mut outputs = Vec::new();
    for axis in 0..axes {
        let grown = (size[axis] - 1).saturating_mul(stride[axis].max(1)).saturating_add(kernel[axis]);
        let taken = padding[axis].saturating_mul(2);
        outputs.push(
            grown
                .checked_sub(taken)
                .filter(|&out| out > 0)
                .ok_or_else(|| unexpected("padding", site.maybe("padding")))?,
        );
    }
    let places = product(&outputs)?;
    let given = product(&size)?;
    if places < given {
        return Err(Refusal::Unsupported("the output has fewer places than the input has values".to_owned()));
    }
    let shape = [vec![2, CHANNELS], size].concat();
    let inputs = vec![
        Input::new(shape.clone(), Values::Normal(1.0)).channels_last(),
        Input::new(shape, Values::Places(places as u64)).channels_last(),
    ];
    let mut p = Program::new(&["x", "indices"]);
    let flat = |p: &mut Program, x: &str| {
        p.call(MlxOp::Flatten, [x.into()], [("start_axis", json!(1)), ("end_axis", json!(axes))])
    };
    let (values, indices) = (flat(&mut p, "x"), flat(&mut p, "indices"));
    // Zeros of the input's own dtype.
    let zeros = phrase::slice(&mut p, &values, 1, Some(0), Some(1), 1);
    let zeros = phrase::unary(&mut p, MlxOp::ZerosLike, &zeros);
    let zeros = p.call(MlxOp::Repeat, [zeros.into()], [("repeats", json!(places)), ("axis", json!(1))]);
    let filled = p.call(MlxOp::PutAlongAxis, [zeros.into(), indices.into(), values.into()], [("axis", json!(1))]);
    let output = p.call(MlxOp::Unflatten, [filled.into()], [("axis", json!(1)), ("shape", json!(outputs))]);
    p.outputs = vec![output];
    let output_shape = [vec![2, CHANNELS], outputs].concat();
    let mut draft = Draft::of(inputs, Bound::Copy).output_shape(output_shape).program(p).named(MlxOp::PutAlongAxis);
    draft.outputs[0].to_torch = Some(channels_first(axes + 2));
    Ok(draft.step("values put at their places in zeros: MLX has no such layer"))
}
