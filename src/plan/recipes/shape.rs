//! Layers that move elements and compute nothing: flatten, pads, shuffles, folds.

use serde_json::{Value, json};

use super::phrase::{self, Around};
use super::site::{Draft, Site, channels_first, product, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::{Input, Refusal};
use t2m_engine::Program;
use t2m_engine::program::MlxOp;

/// Spatial sizes for this many axes: no two alike.
const SIZES: [&[usize]; 3] = [&[9], &[8, 7], &[5, 7, 6]];

/// An image's axes move back first: the next layer has its features in torch's order.
pub(super) fn flatten(site: &Site<'_>) -> Result<Draft, Refusal> {
    let shape = vec![2usize, 3, 4, 5];
    let axis = |name: &str| -> Result<i64, Refusal> {
        let value = site.attribute(name)?;
        value.as_i64().filter(|axis| (-4..4).contains(axis)).ok_or_else(|| unexpected(name, value))
    };
    let (start, end) = (axis("start_dim")?, axis("end_dim")?);
    let mut p = Program::new(&["x"]);
    let first = phrase::transpose(&mut p, "x", &[0, 3, 1, 2]);
    let output = p.call(MlxOp::Flatten, [first.into()], [("start_axis", json!(start)), ("end_axis", json!(end))]);
    p.outputs = vec![output];
    let input = Input::new(shape, Values::Normal(1.0)).channels_last();
    Ok(Draft::of(vec![input], Bound::Copy)
        .program(p)
        .step("channels put first again, as the layer behind knows their order"))
}

/// One axis in several. The input is a plain one: `[2, …]` with an axis that divides.
pub(super) fn unflatten(site: &Site<'_>) -> Result<Draft, Refusal> {
    let value = site.attribute("dim")?;
    let dim = value.as_i64().filter(|dim| (-3..3).contains(dim)).ok_or_else(|| unexpected("dim", value))?;
    let sizes = site.integers("unflattened_size")?;
    let known = sizes.iter().filter(|&&size| size > 0).try_fold(1i64, |product, &size| product.checked_mul(size));
    let known = known
        .filter(|known| *known < 1 << 16)
        .ok_or_else(|| unexpected("unflattened_size", site.maybe("unflattened_size")))?;
    let length = if sizes.contains(&-1) { 3 * known } else { known };
    let mut shape = vec![2, 5, 7];
    shape[dim.rem_euclid(3) as usize] = usize::try_from(length).unwrap_or(1);
    Ok(Draft::new(shape.clone(), Bound::Copy).values(Values::Normal(1.0)).program({
        let mut p = Program::new(&["x"]);
        let output = p.call(MlxOp::Unflatten, ["x".into()], [("axis", json!(dim)), ("shape", json!(sizes))]);
        p.outputs = vec![output];
        p
    }))
}

/// The input itself.
pub(super) fn identity(_site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(Draft::new(vec![3, 5, 7], Bound::Copy))
}

/// Constants, reflections, edges or the opposite end around `[2, 3, *n]`. torch names the last axis first.
pub(super) fn pad(site: &Site<'_>) -> Result<Draft, Refusal> {
    let class = site.torch_class().rsplit('.').next().unwrap_or_default();
    let around = match class {
        // torch's forward reads the attribute here too, which its constructor sets to 0.
        _ if class.starts_with("ZeroPad") && site.maybe("value").is_null() => Around::Constant(0.0),
        _ if class.starts_with("ZeroPad") => Around::Constant(site.float("value")?),
        _ if class.starts_with("ConstantPad") => Around::Constant(site.float("value")?),
        _ if class.starts_with("ReflectionPad") => Around::Reflect,
        _ if class.starts_with("ReplicationPad") => Around::Edge,
        _ if class.starts_with("CircularPad") => Around::Circular,
        _ => return Err(Refusal::Unsupported(format!("{class} is no padding"))),
    };
    let axes = site.axes()?;
    let value = site.attribute("padding")?;
    let listed = site.integers("padding")?;
    let listed = if let [width] = listed.as_slice() { vec![*width; 2 * axes] } else { listed };
    if listed.len() != 2 * axes {
        return Err(unexpected("padding", value));
    }
    let widths: Vec<(i64, i64)> = listed.chunks(2).rev().map(|both| (both[0], both[1])).collect();
    // A reflected border has to be shorter than the input, and cropping has to leave something.
    let most = widths.iter().map(|(low, high)| low.abs() + high.abs()).max().unwrap_or(0);
    let size: Vec<usize> = SIZES[axes - 1].iter().map(|size| size + usize::try_from(most).unwrap_or(0)).collect();
    let all = [&[(0, 0)], widths.as_slice(), &[(0, 0)]].concat();
    let mut p = Program::new(&["x"]);
    let output = phrase::pad(&mut p, "x", &all, around);
    p.outputs = vec![output];
    let largest = size.iter().zip(&widths).map(|(size, (low, high))| size + (low.max(&0) + high.max(&0)) as usize);
    let largest = [2, 3].into_iter().chain(largest).collect();
    let draft = Draft::new([vec![2, 3], size].concat(), Bound::Copy).channels_last().output_shape(largest).program(p);
    let draft = if widths.iter().any(|&(low, high)| low < 0 || high < 0) {
        draft.step("cut off by a slice, as mx.pad takes no negative width")
    } else {
        draft
    };
    Ok(match around {
        Around::Circular => {
            draft.named(MlxOp::Concatenate).step("the other end's slices joined on: mx.pad has no such mode")
        }
        Around::Reflect => draft.step("mx.pad(mode=\"reflect\"), which mlx-rs lacks: by indices there"),
        _ => draft,
    })
}

/// `[2, 3·r², 4, 5]` → `[2, 3, 4·r, 5·r]`.
pub(super) fn pixel_shuffle(site: &Site<'_>) -> Result<Draft, Refusal> {
    let r = factor(site, "upscale_factor")?;
    let (height, width, channels) = (4, 5, 3);
    let mut p = Program::new(&["x"]);
    let x = phrase::reshape(&mut p, "x", &[2, height, width, channels, r, r]);
    let x = phrase::transpose(&mut p, &x, &[0, 1, 4, 2, 5, 3]);
    let output = phrase::reshape(&mut p, &x, &[2, height * r, width * r, channels]);
    p.outputs = vec![output];
    let shape = [2, channels * r * r, height, width].map(|axis| axis as usize).to_vec();
    Ok(Draft::new(shape, Bound::Copy).channels_last().program(p))
}

/// `[2, 3, 4·r, 5·r]` → `[2, 3·r², 4, 5]`.
pub(super) fn pixel_unshuffle(site: &Site<'_>) -> Result<Draft, Refusal> {
    let r = factor(site, "downscale_factor")?;
    let (height, width, channels) = (4, 5, 3);
    let mut p = Program::new(&["x"]);
    let x = phrase::reshape(&mut p, "x", &[2, height, r, width, r, channels]);
    let x = phrase::transpose(&mut p, &x, &[0, 1, 3, 5, 2, 4]);
    let output = phrase::reshape(&mut p, &x, &[2, height, width, channels * r * r]);
    p.outputs = vec![output];
    let shape = [2, channels, height * r, width * r].map(|axis| axis as usize).to_vec();
    Ok(Draft::new(shape, Bound::Copy).channels_last().program(p))
}

fn factor(site: &Site<'_>, name: &str) -> Result<i64, Refusal> {
    let value = site.attribute(name)?;
    value.as_i64().filter(|factor| (1..=64).contains(factor)).ok_or_else(|| unexpected(name, value))
}

/// `[2, 4·g, 5, 7]`: the channels of the groups, interleaved.
pub(super) fn channel_shuffle(site: &Site<'_>) -> Result<Draft, Refusal> {
    let groups = site.number("groups")?.clamp(1, 1 << 12) as i64;
    let mut p = Program::new(&["x"]);
    let x = phrase::reshape(&mut p, "x", &[2, 5, 7, groups, 4]);
    let x = p.call(MlxOp::Swapaxes, [x.into()], [("axis1", json!(-1)), ("axis2", json!(-2))]);
    let output = phrase::reshape(&mut p, &x, &[2, 5, 7, 4 * groups]);
    p.outputs = vec![output];
    Ok(Draft::new(vec![2, 4 * groups as usize, 5, 7], Bound::Copy).channels_last().program(p))
}

/// The windows of a fold: kernel, dilation, padding and stride of each of the two axes.
struct Blocks {
    kernel: Vec<usize>,
    dilation: Vec<usize>,
    padding: Vec<usize>,
    stride: Vec<usize>,
}

impl Blocks {
    fn read(site: &Site<'_>) -> Result<Blocks, Refusal> {
        let numbers = |name: &str, least: usize| -> Result<Vec<usize>, Refusal> {
            let numbers = site.numbers(name, 2)?;
            let fits = numbers.iter().all(|number| (least..=64).contains(number));
            if fits { Ok(numbers) } else { Err(unexpected(name, site.maybe(name))) }
        };
        let blocks = Blocks {
            kernel: numbers("kernel_size", 1)?,
            dilation: numbers("dilation", 1)?,
            padding: numbers("padding", 0)?,
            stride: numbers("stride", 1)?,
        };
        if product(&blocks.kernel)? > 256 {
            return Err(unexpected("kernel_size", site.maybe("kernel_size")));
        }
        Ok(blocks)
    }

    /// Number of blocks along each axis of an input of that size.
    fn count(&self, size: &[usize]) -> Option<Vec<usize>> {
        (0..2)
            .map(|axis| {
                let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
                let room = (size[axis] + 2 * self.padding[axis]).checked_sub(reach)?;
                Some(room / self.stride[axis] + 1)
            })
            .collect()
    }

    /// What element `at` of the kernel sees of each axis: start, stop, step.
    fn seen(&self, at: [usize; 2], count: &[usize]) -> Vec<(Option<i64>, Option<i64>, i64)> {
        (0..2)
            .map(|axis| {
                let start = (at[axis] * self.dilation[axis]) as i64;
                let stop = start + ((count[axis] - 1) * self.stride[axis]) as i64 + 1;
                (Some(start), Some(stop), self.stride[axis] as i64)
            })
            .collect()
    }

    fn elements(&self) -> Vec<[usize; 2]> {
        (0..self.kernel[0]).flat_map(|row| (0..self.kernel[1]).map(move |column| [row, column])).collect()
    }

    fn sides(&self) -> Vec<(i64, i64)> {
        let side = |axis: usize| (self.padding[axis] as i64, self.padding[axis] as i64);
        vec![(0, 0), side(0), side(1), (0, 0)]
    }
}

/// `[2, 3, 9, 11]` → `[2, 3·k, blocks]`.
pub(super) fn unfold(site: &Site<'_>) -> Result<Draft, Refusal> {
    let blocks = Blocks::read(site)?;
    let size: Vec<usize> =
        (0..2).map(|axis| blocks.dilation[axis] * (blocks.kernel[axis] - 1) + 7 + 2 * axis).collect();
    let count = blocks.count(&size).ok_or_else(|| unexpected("kernel_size", site.maybe("kernel_size")))?;
    let mut p = Program::new(&["x"]);
    let padded = phrase::pad(&mut p, "x", &blocks.sides(), Around::Constant(0.0));
    let seen: Vec<String> =
        blocks.elements().into_iter().map(|at| phrase::slices(&mut p, &padded, 1, &blocks.seen(at, &count))).collect();
    let elements = seen.len();
    let stacked = phrase::stack(&mut p, seen, -1);
    let rows = phrase::reshape(&mut p, &stacked, &[2, (count[0] * count[1]) as i64, (3 * elements) as i64]);
    let output = p.call(MlxOp::Swapaxes, [rows.into()], [("axis1", json!(1)), ("axis2", json!(2))]);
    p.outputs = vec![output];
    let input = Input::new([vec![2, 3], size].concat(), Values::Normal(1.0)).channels_last();
    let shape = vec![2, 3 * elements, count[0] * count[1]];
    Ok(Draft::of(vec![input], Bound::Copy).output_shape(shape).program(p).step("slices stacked: MLX has no such layer"))
}

/// `[2, 3·k, blocks]` → `[2, 3, *output_size]`, where blocks that overlap add up.
pub(super) fn fold(site: &Site<'_>) -> Result<Draft, Refusal> {
    let blocks = Blocks::read(site)?;
    let size = site.numbers("output_size", 2)?;
    let count = blocks.count(&size).filter(|_| size.iter().all(|size| *size <= 512));
    let count = count.ok_or_else(|| unexpected("output_size", site.maybe("output_size")))?;
    let elements = blocks.elements();
    let mut p = Program::new(&["x"]);
    let rows = p.call(MlxOp::Swapaxes, ["x".into()], [("axis1", json!(1)), ("axis2", json!(2))]);
    let shape = [2, count[0], count[1], 3, elements.len()].map(|axis| axis as i64);
    let cells = phrase::reshape(&mut p, &rows, &shape);
    let padded: Vec<usize> = (0..2).map(|axis| size[axis] + 2 * blocks.padding[axis]).collect();
    let canvas = p.call(MlxOp::Zeros, [], [("shape", json!([2, padded[0], padded[1], 3]))]);
    let mut canvas = p.call(MlxOp::AstypeLike, [canvas.into(), "x".into()], []);
    for (index, at) in elements.iter().enumerate() {
        let part = phrase::slice(&mut p, &cells, 4, Some(index as i64), Some(index as i64 + 1), 1);
        let part = p.call(MlxOp::Squeeze, [part.into()], [("axis", json!(-1))]);
        let seen = blocks.seen(*at, &count);
        let list = |numbers: Vec<Option<i64>>| {
            Value::Array([None].into_iter().chain(numbers).map(|number| json!(number)).collect())
        };
        let (starts, stops) =
            (list(seen.iter().map(|part| part.0).collect()), list(seen.iter().map(|part| part.1).collect()));
        let strides = list(seen.iter().map(|part| Some(part.2)).collect());
        let place = [("starts", starts), ("stops", stops), ("strides", strides)];
        canvas = p.call(MlxOp::AtAdd, [canvas.into(), part.into()], place);
    }
    let cut: Vec<(i64, i64)> = blocks.sides().into_iter().map(|(low, high)| (-low, -high)).collect();
    let output = phrase::pad(&mut p, &canvas, &cut, Around::Constant(0.0));
    p.outputs = vec![output];
    let input = Input::new(vec![2, 3 * elements.len(), count[0] * count[1]], Values::Normal(1.0));
    let overlaps = elements.len();
    let mut draft = Draft::of(vec![input], Bound::Norm(overlaps)).output_shape([vec![2, 3], size].concat()).program(p);
    draft.outputs[0].to_torch = Some(channels_first(4));
    Ok(draft.step("each kernel element added at its places: MLX has no such layer"))
}
