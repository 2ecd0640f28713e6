//! Layers without weights.

use serde_json::{Value, json};

use super::phrase::{self, binary, multiply, unary};
use super::site::{Draft, Site, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::{Move, Refusal, Way};
use t2m_engine::Program;
use t2m_engine::program::MlxOp;

/// Input of an activation, `[3, 5, 97]`, with values that reach the flat parts of every curve.
fn draft(bound: Bound) -> Draft {
    Draft::new(vec![3, 5, 97], bound).values(Values::Normal(3.0))
}

/// A function of each element that MLX has as a layer without arguments.
pub(super) fn pointwise(_site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(draft(Bound::Pointwise))
}

/// Elements are kept, or become zero.
pub(super) fn relu(_site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(draft(Bound::Copy))
}

/// torch's approximate 'none' and 'tanh' are MLX's 'none' and 'precise'.
pub(super) fn gelu(site: &Site<'_>) -> Result<Draft, Refusal> {
    let value = site.attribute("approximate")?;
    let mode = match value.as_str() {
        Some("none") => "none",
        Some("tanh") => "precise",
        _ => return Err(unexpected("approximate", value)),
    };
    Ok(draft(Bound::Pointwise).arg("approx", mode))
}

/// The slope is passed on. MLX computes max(slope·x, x), which is another function for a slope above 1.
pub(super) fn leaky_relu(site: &Site<'_>) -> Result<Draft, Refusal> {
    let slope = site.float("negative_slope")?;
    if slope > 1.0 {
        let reason = format!("MLX computes max(slope·x, x), which is another function for the slope {slope}");
        return Err(Refusal::Unsupported(reason));
    }
    Ok(draft(Bound::Pointwise).arg("negative_slope", slope))
}

/// MLX's layer takes the last axis; any other axis is the function's argument.
pub(super) fn softmax(site: &Site<'_>) -> Result<Draft, Refusal> {
    let dim = match site.attribute("dim")? {
        Value::Null => {
            let reason = "dim is None: torch chooses the axis by the input's number of dimensions";
            return Err(Refusal::Incomplete(reason.to_owned()));
        }
        value => value.as_i64().filter(|dim| (-4..4).contains(dim)).ok_or_else(|| unexpected("dim", value))?,
    };
    let shape = vec![5, 7, 11, 6];
    let axis = usize::try_from(dim.rem_euclid(4)).unwrap_or(0);
    let draft = Draft::new(shape.clone(), Bound::Norm(shape[axis]));
    Ok(match dim {
        -1 => draft,
        _ => draft
            .named(MlxOp::Softmax)
            .arg("axis", dim)
            .arg("precise", true)
            .step("a function, as the axis is not the last"),
    })
}

/// The identity in eval mode.
pub(super) fn dropout(site: &Site<'_>) -> Result<Draft, Refusal> {
    // p does not matter in eval mode. A bare state dict does not list the layer at all.
    let p = site.given("p").cloned().unwrap_or(Value::from(0.5));
    let shape = match site.torch_class().rsplit('.').next() {
        Some("Dropout2d") => vec![3, 5, 7, 9],
        Some("Dropout3d") => vec![3, 5, 4, 7, 6],
        _ => return Ok(draft(Bound::Copy).arg("p", p)),
    };
    Ok(Draft::new(shape, Bound::Copy).channels_last().arg("p", p))
}

/// ELU and CELU: `alpha` is passed on.
pub(super) fn alpha(site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(draft(Bound::Pointwise).arg("alpha", site.float("alpha")?))
}

/// MLX's layer has its constants cut off after seven digits, so it is written as ops with all digits.
pub(super) fn selu(_site: &Site<'_>) -> Result<Draft, Refusal> {
    const ALPHA: f64 = 1.673_263_242_354_377_2;
    const SCALE: f64 = 1.050_700_987_355_480_5;
    let mut p = Program::new(&["x"]);
    let below = binary(&mut p, MlxOp::Minimum, "x", 0.0);
    let below = unary(&mut p, MlxOp::Expm1, &below);
    let below = multiply(&mut p, below, ALPHA);
    let above = binary(&mut p, MlxOp::Maximum, "x", 0.0);
    let sum = phrase::add(&mut p, above, below);
    let output = multiply(&mut p, sum, SCALE);
    p.outputs = vec![output];
    Ok(draft(Bound::Pointwise).program(p).step("by ops, as nn.selu has its constants with seven digits"))
}

/// A single expression of the input.
pub(super) fn expression(build: impl FnOnce(&mut Program) -> String) -> Draft {
    let mut p = Program::new(&["x"]);
    let output = build(&mut p);
    p.outputs = vec![output];
    draft(Bound::Pointwise).program(p)
}

/// Between `min_val` and `max_val`: MLX's layer knows only -1 and 1.
pub(super) fn hard_tanh(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (least, most) = (site.float("min_val")?, site.float("max_val")?);
    if (least, most) == (-1.0, 1.0) {
        return Ok(draft(Bound::Copy));
    }
    let clipped =
        |p: &mut Program| p.call(MlxOp::Clip, ["x".into()], [("a_min", json!(least)), ("a_max", json!(most))]);
    Ok(Draft { bound: Bound::Copy, ..expression(clipped) }.named(MlxOp::Clip).step("nn.HardTanh knows -1 and 1 alone"))
}

/// `relu6(x + 3) / 6`
pub(super) fn hard_sigmoid(_site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(expression(|p| {
        let moved = phrase::add(p, "x", 3.0);
        let clipped = unary(p, MlxOp::NnRelu6, &moved);
        binary(p, MlxOp::Divide, clipped, 6.0)
    })
    .named(MlxOp::NnRelu6))
}

/// The input beyond `lambd`, zero between: MLX's layer knows only 0.5.
pub(super) fn hard_shrink(site: &Site<'_>) -> Result<Draft, Refusal> {
    let lambda = site.float("lambd")?;
    if lambda == 0.5 {
        return Ok(draft(Bound::Copy));
    }
    let shrunk = |p: &mut Program| {
        let size = unary(p, MlxOp::Abs, "x");
        let beyond = binary(p, MlxOp::Greater, size, lambda);
        p.call(MlxOp::Where, [beyond.into(), "x".into(), 0.0.into()], [])
    };
    Ok(Draft { bound: Bound::Copy, ..expression(shrunk) }.named(MlxOp::Where).step("nn.HardShrink knows 0.5 alone"))
}

/// How far the input is beyond `lambd`, zero between.
pub(super) fn soft_shrink(site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(draft(Bound::Pointwise).arg("lambd", site.float("lambd")?))
}

/// `x - tanh(x)`
pub(super) fn tanh_shrink(_site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(expression(|p| {
        let tanh = unary(p, MlxOp::Tanh, "x");
        binary(p, MlxOp::Subtract, "x", tanh)
    })
    .named(MlxOp::Tanh))
}

/// The input above `threshold`, `value` elsewhere.
pub(super) fn threshold(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (threshold, value) = (site.float("threshold")?, site.float("value")?);
    let chosen = |p: &mut Program| {
        let above = binary(p, MlxOp::Greater, "x", threshold);
        p.call(MlxOp::Where, [above.into(), "x".into(), value.into()], [])
    };
    Ok(Draft { bound: Bound::Copy, ..expression(chosen) }.named(MlxOp::Where))
}

/// In eval mode, a leaky ReLU whose slope is the mean of both.
pub(super) fn random_relu(site: &Site<'_>) -> Result<Draft, Refusal> {
    let slope = f64::midpoint(site.float("lower")?, site.float("upper")?);
    if slope > 1.0 {
        return Err(Refusal::Unsupported(format!(
            "MLX computes max(slope·x, x), which is another function for the slope {slope}"
        )));
    }
    Ok(draft(Bound::Pointwise)
        .arg("negative_slope", slope)
        .step("the middle of lower and upper, as torch in eval mode"))
}

/// `log(1 + e^(βx)) / β`: MLX's layer has neither `beta` nor `threshold`.
pub(super) fn softplus(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (beta, threshold) = (site.float("beta")?, site.float("threshold")?);
    if beta == 0.0 {
        return Err(unexpected("beta", site.maybe("beta")));
    }
    // Above its threshold torch takes the input itself; from 20 on float32 cannot tell the two apart.
    if beta == 1.0 && threshold >= 20.0 {
        return Ok(draft(Bound::Pointwise));
    }
    Ok(expression(|p| {
        let scaled = multiply(p, "x", beta);
        let soft = binary(p, MlxOp::Logaddexp, scaled.clone(), 0.0);
        let soft = multiply(p, soft, 1.0 / beta);
        let above = binary(p, MlxOp::Greater, scaled, threshold);
        p.call(MlxOp::Where, [above.into(), "x".into(), soft.into()], [])
    })
    .named(MlxOp::Logaddexp)
    .step("by ops, as nn.Softplus has neither beta nor threshold"))
}

/// One slope, or one for each channel; channels come last in MLX: `[3, C, 5, 7]`.
pub(super) fn prelu(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [slopes] = site.shape_of_rank("weight")?;
    let channels = if slopes == 1 { 6 } else { slopes };
    let draft = Draft::new(vec![3, channels, 5, 7], Bound::Pointwise).channels_last();
    Ok(draft.arg("num_parameters", slopes).weights(vec![Move::keep("weight")]))
}

/// The first half times the sigmoid of the second, along an axis. An image's channels come last in MLX.
pub(super) fn glu(site: &Site<'_>) -> Result<Draft, Refusal> {
    let value = site.attribute("dim")?;
    let dim = value.as_i64().filter(|dim| (-4..4).contains(dim)).ok_or_else(|| unexpected("dim", value))?;
    let draft = Draft::new(vec![4, 6, 8, 10], Bound::Pointwise);
    // torch's second axis is an image's channels; other axes stay.
    Ok(match dim {
        1 | -3 => draft.channels_last().arg("axis", -1).step("axis=-1, where the channels are in MLX"),
        _ => draft.arg("axis", dim),
    })
}

/// Softmin, LogSoftmax: MLX's layers take only the last axis.
pub(super) fn last_axis(site: &Site<'_>) -> Result<Draft, Refusal> {
    let log = site.torch_class().ends_with("LogSoftmax");
    let softmax = softmax(site)?;
    let axis = softmax.args.get("axis").cloned();
    let draft = Draft { mlx: None, args: serde_json::Map::new(), way: Way::Direct, ..softmax };
    let Some(axis) = axis else { return Ok(draft) };
    let mut p = Program::new(&["x"]);
    let output = if log {
        p.call(MlxOp::NnLogSoftmax, ["x".into()], [("axis", axis)])
    } else {
        let negative = unary(&mut p, MlxOp::Negative, "x");
        p.call(MlxOp::Softmax, [negative.into()], [("axis", axis), ("precise", json!(true))])
    };
    p.outputs = vec![output];
    let draft = draft.program(p).step("a function, as the axis is not the last");
    Ok(draft.named(if log { MlxOp::NnLogSoftmax } else { MlxOp::Softmax }))
}

/// Over the channels of an image, which come last in MLX.
pub(super) fn softmax_2d(_site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(Draft::new(vec![5, 7, 11, 6], Bound::Norm(7)).channels_last())
}
