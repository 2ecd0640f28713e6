//! Upsample and its two older names.

use serde_json::{Value, json};

use super::phrase;
use super::pool::by_bins;
use super::site::{Draft, Site, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::Refusal;
use t2m_engine::Program;
use t2m_engine::program::{MlxOp, Operand};

/// Spatial sizes of the input, by the number of axes.
const SIZES: [&[usize]; 3] = [&[9], &[7, 9], &[4, 5, 3]];
/// `a` of torch's cubic kernel.
const CUBIC: f64 = -0.75;
/// The longest output axis.
const MOST: f64 = 4096.0;

/// One axis: its lengths before and after, and the distance between outputs in the input, in float32 as torch counts.
#[derive(Debug, Clone, Copy)]
struct Axis {
    size: usize,
    out: usize,
    step: f32,
}

/// `[2, 3, *n]` → `[2, 3, *m]`.
pub(super) fn upsample(site: &Site<'_>) -> Result<Draft, Refusal> {
    let mode = site.attribute("mode")?;
    let mode = mode.as_str().ok_or_else(|| unexpected("mode", mode))?;
    let axes = match mode {
        "linear" => 1,
        "trilinear" => 3,
        _ => 2,
    };
    // The other modes take one to three axes: as many as there are sizes, otherwise two.
    let listed = ["size", "scale_factor"].iter().find_map(|name| site.maybe(name).as_array()).map(Vec::len);
    let axes = if matches!(mode, "nearest" | "nearest-exact" | "area") { listed.unwrap_or(axes) } else { axes };
    let size = SIZES.get(axes.wrapping_sub(1)).copied().ok_or_else(|| unexpected("size", site.maybe("size")))?;
    let corners = site.maybe("align_corners").as_bool().unwrap_or(false);
    let lengths = lengths(site, size, corners && matches!(mode, "linear" | "bilinear" | "bicubic" | "trilinear"))?;
    let outputs: Vec<usize> = lengths.iter().map(|axis| axis.out).collect();
    let shape = [vec![2, 3], size.to_vec()].concat();
    let bound = match mode {
        "nearest" | "nearest-exact" => Bound::Copy,
        "area" => Bound::Norm(lengths.iter().map(|axis| axis.size.div_ceil(axis.out) + 1).product()),
        _ => Bound::Contraction(if mode == "bicubic" { 16 } else { 1 << axes }),
    };
    let draft = Draft::new(shape, bound).channels_last().output_shape([vec![2, 3], outputs.clone()].concat());
    if let Some(draft) = as_layer(site, mode, corners, draft.clone()) {
        return Ok(draft);
    }
    let mut p = Program::new(&["x"]);
    let mut x = "x".to_owned();
    if mode == "area" {
        x = by_bins(&mut p, &x, MlxOp::Mean, size, &outputs);
        p.outputs = vec![x];
        return Ok(draft.named(MlxOp::Mean).program(p).step("slices and their means: MLX has no mode `area`"));
    }
    for (at, axis) in lengths.iter().enumerate().filter(|(_, axis)| axis.size != axis.out || mode != "nearest") {
        x = match mode {
            "nearest" | "nearest-exact" => phrase::take(&mut p, &x, at + 1, nearest(axis, mode == "nearest-exact")),
            "bicubic" => weighted(&mut p, &x, at + 1, axes, &cubic(axis, corners)),
            "linear" | "bilinear" | "trilinear" => weighted(&mut p, &x, at + 1, axes, &linear(axis, corners)),
            _ => return Err(unexpected("mode", site.maybe("mode"))),
        };
    }
    p.outputs = vec![x];
    Ok(draft
        .named(MlxOp::Take)
        .program(p)
        .step("indices and weights worked out as torch does: nn.Upsample counts otherwise here"))
}

/// MLX's own layer is right where every scale is a whole number; at other scales it places its samples differently.
fn as_layer(site: &Site<'_>, mode: &str, corners: bool, draft: Draft) -> Option<Draft> {
    let scale = site.maybe("scale_factor");
    let whole = |value: &Value| value.as_f64().filter(|scale| scale.fract() == 0.0 && *scale >= 1.0);
    let scale = match scale {
        Value::Array(scales) => scales.iter().map(whole).collect::<Option<Vec<f64>>>().map(|scales| json!(scales)),
        scale => whole(scale).map(|scale| json!(scale)),
    }?;
    let mode = match mode {
        "nearest" => return Some(draft.arg("scale_factor", scale).arg("mode", "nearest")),
        "linear" | "bilinear" | "trilinear" => "linear",
        "bicubic" => "cubic",
        _ => return None,
    };
    Some(draft.arg("scale_factor", scale).arg("mode", mode).arg("align_corners", corners))
}

fn lengths(site: &Site<'_>, size: &[usize], corners: bool) -> Result<Vec<Axis>, Refusal> {
    let numbers = |name: &str| -> Result<Option<Vec<f64>>, Refusal> {
        let value = site.maybe(name);
        let numbers = match value {
            Value::Null => return Ok(None),
            Value::Array(values) => values.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>(),
            single => single.as_f64().map(|number| vec![number; size.len()]),
        };
        let fits = |numbers: &Vec<f64>| {
            numbers.len() == size.len() && numbers.iter().all(|number| *number > 0.0 && *number <= MOST)
        };
        numbers.filter(fits).map(Some).ok_or_else(|| unexpected(name, value))
    };
    let (sizes, scales) = (numbers("size")?, numbers("scale_factor")?);
    let recomputed = site.maybe("recompute_scale_factor").as_bool().unwrap_or(false);
    let axis = |at: usize| {
        let n = size[at] as f64;
        let (out, scale) = match (&sizes, &scales) {
            (Some(sizes), _) => (sizes[at], None),
            (None, Some(scales)) => ((n * scales[at]).floor(), (!recomputed).then(|| scales[at])),
            (None, None) => {
                return Err(Refusal::Incomplete("the file says neither `size` nor `scale_factor`".to_owned()));
            }
        };
        if !(1.0..=MOST).contains(&out) {
            return Err(unexpected("scale_factor", site.maybe("scale_factor")));
        }
        let step = match (corners, scale) {
            (true, _) if out > 1.0 => (n - 1.0) as f32 / (out - 1.0) as f32,
            (true, _) => 0.0,
            (false, Some(scale)) => (1.0 / scale) as f32,
            (false, None) => n as f32 / out as f32,
        };
        Ok(Axis { size: size[at], out: out as usize, step })
    };
    (0..size.len()).map(axis).collect()
}

/// The nearest place: rounded down from the output's edge, or from its middle.
fn nearest(axis: &Axis, exact: bool) -> Vec<i64> {
    let place = |out: usize| {
        let at = if exact { (out as f32 + 0.5) * axis.step } else { out as f32 * axis.step };
        (at.floor() as i64).clamp(0, axis.size as i64 - 1)
    };
    (0..axis.out).map(place).collect()
}

/// Places and their weights, one list for each tap.
type Taps = Vec<(Vec<i64>, Vec<f64>)>;

/// The two places around each output, and the share of each.
fn linear(axis: &Axis, corners: bool) -> Taps {
    let last = axis.size as i64 - 1;
    let (mut low, mut high) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for out in 0..axis.out {
        let at = if corners { out as f32 * axis.step } else { ((out as f32 + 0.5) * axis.step - 0.5).max(0.0) };
        let first = (at.floor() as i64).clamp(0, last);
        let part = f64::from((at - first as f32).clamp(0.0, 1.0));
        low.0.push(first);
        low.1.push(1.0 - part);
        high.0.push((first + 1).min(last));
        high.1.push(part);
    }
    vec![low, high]
}

/// The four places around each output by the cubic convolution kernel, those beyond the edge repeating it.
fn cubic(axis: &Axis, corners: bool) -> Taps {
    let last = axis.size as i64 - 1;
    let near = |x: f64| ((CUBIC + 2.0) * x - (CUBIC + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((CUBIC * x - 5.0 * CUBIC) * x + 8.0 * CUBIC) * x - 4.0 * CUBIC;
    let mut taps: Taps = vec![(Vec::new(), Vec::new()); 4];
    for out in 0..axis.out {
        let at = if corners { out as f32 * axis.step } else { (out as f32 + 0.5) * axis.step - 0.5 };
        let first = at.floor();
        let part = f64::from(at - first);
        let weights = [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)];
        for (tap, weight) in weights.into_iter().enumerate() {
            taps[tap].0.push((first as i64 + tap as i64 - 1).clamp(0, last));
            taps[tap].1.push(weight);
        }
    }
    taps
}

/// The sum of the taps along one axis of `[N, *, C]`, each times its weights.
fn weighted(p: &mut Program, x: &str, axis: usize, axes: usize, taps: &Taps) -> String {
    let mut sum = String::new();
    for (places, weights) in taps {
        let taken = phrase::take(p, x, axis, places.iter().copied());
        let shape: Vec<i64> = (axis..=axes + 1).map(|at| if at == axis { weights.len() as i64 } else { 1 }).collect();
        let weights = p.call(MlxOp::Reshape, [Operand::numbers(weights.iter().copied())], [("shape", json!(shape))]);
        let weights = p.call(MlxOp::AstypeLike, [weights.into(), "x".into()], []);
        let term = phrase::multiply(p, taken, weights);
        sum = if sum.is_empty() { term } else { phrase::add(p, sum, term) };
    }
    sum
}
