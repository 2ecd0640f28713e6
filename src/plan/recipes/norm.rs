//! Normalisations.

use serde_json::{Value, json};

use super::phrase::{self, Around};
use super::site::{Draft, Site, product, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::weights::Layout;
use crate::plan::{Move, Refusal, Rule};
use t2m_engine::Program;
use t2m_engine::program::{MlxLayer, MlxOp};

/// Spatial sizes for a norm's input of that many dimensions: no two alike, none square.
const SPATIAL: [&[usize]; 4] = [&[], &[13], &[7, 9], &[3, 5, 4]];

/// `[4, 5, *normalized_shape]`.
pub(super) fn layer_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (affine, bias) = (site.has("weight"), site.has("bias"));
    let draft = last_axes(site, &["bias"])?.arg("eps", site.float("eps")?);
    flattened(site, draft.arg("affine", affine).arg("bias", bias))
}

/// `[4, 5, *normalized_shape]`.
pub(super) fn rms_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    let mut draft = last_axes(site, &[])?;
    if !site.has("weight") {
        draft.args.clear();
        draft =
            draft.named(MlxOp::FastRmsNorm).arg("weight", Value::Null).step("a function, as the layer has a weight");
    }
    let draft = match site.attribute("eps")? {
        // torch takes the input dtype's epsilon for None, MLX's default is 1e-5.
        Value::Null => {
            draft.arg("eps", f64::from(f32::EPSILON)).step("eps=1.19e-07, what torch's None means in float32")
        }
        _ => draft.arg("eps", site.float("eps")?),
    };
    flattened(site, draft)
}

/// A norm over the last axes, which MLX has as one axis.
fn last_axes(site: &Site<'_>, others: &[&str]) -> Result<Draft, Refusal> {
    let shape = normalized_shape(site)?;
    let dims = product(&shape)?;
    let weights = last_axes_moves(site, others)?;
    let draft =
        Draft::new([vec![4, 5], shape.clone()].concat(), Bound::Norm(dims)).values(Values::AndSmall).arg("dims", dims);
    let draft = draft.torch_arg("normalized_shape", json!(shape)); // copies of torch's layers go without
    Ok(draft.weights(weights))
}

/// Weight and the others, flattened where the norm is over several axes.
pub(super) fn last_axes_moves(site: &Site<'_>, others: &[&str]) -> Result<Vec<Move>, Refusal> {
    let mut weights = site.moves(others);
    if !weights.is_empty() && normalized_shape(site)?.len() > 1 {
        for step in &mut weights {
            step.rule = Rule { name: "flatten".to_owned(), layout: Layout::Flatten };
        }
    }
    Ok(weights)
}

/// The layer, with a flatten of the last axes before it and its reverse after, if there are several.
fn flattened(site: &Site<'_>, draft: Draft) -> Result<Draft, Refusal> {
    let shape = normalized_shape(site)?;
    if shape.len() < 2 {
        return Ok(draft);
    }
    // The function takes its weight by position: there is no layer to hold it.
    let draft = draft.wrapped(site, |p, x| {
        let start = -(shape.len() as i64);
        let flat = p.call(MlxOp::Flatten, [x.into()], [("start_axis", json!(start))]);
        let normed = phrase::run(p, "", &flat);
        p.call(MlxOp::Unflatten, [normed.into()], [("axis", json!(-1)), ("shape", json!(shape))])
    });
    Ok(draft.step("the last axes flattened to one"))
}

/// `[2, channels, 7, 9]`.
pub(super) fn group_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (groups, channels) = (site.number("num_groups")?, site.number("num_channels")?);
    if groups == 0 || channels % groups != 0 {
        return Err(unexpected("num_groups", site.maybe("num_groups")));
    }
    let draft = Draft::new(vec![2, channels, 7, 9], Bound::Norm(product(&[channels / groups, 63])?))
        .values(Values::AndSmall)
        .channels_last()
        .arg("num_groups", groups)
        .arg("dims", channels)
        .arg("eps", site.float("eps")?)
        .arg("affine", site.has("weight"))
        .arg("pytorch_compatible", false); // MLX's default; the registry's row says otherwise
    affine(site, draft, &[])
}

/// `[4, features, 13]` or `[4, features, 7, 9]`, in eval mode.
pub(super) fn batch_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    let spatial = spatial(site)?;
    let features = features(site)?;
    let tracked = site.has("running_mean") && site.has("running_var");
    // Without stored statistics it normalises over batch and space.
    let bound = if tracked { Bound::Pointwise } else { Bound::Norm(4 * spatial.iter().product::<usize>()) };
    let draft = Draft::new([vec![4, features], spatial.to_vec()].concat(), bound)
        .channels_last()
        .arg("num_features", features)
        .arg("eps", site.float("eps")?)
        .arg("affine", site.has("weight"))
        .arg("track_running_stats", tracked);
    let draft = affine(site, draft, &["running_mean", "running_var"])?;
    if spatial.len() < 3 {
        return Ok(draft);
    }
    let draft = draft.named(MlxLayer::BatchNorm).wrapped(site, |p, x| {
        let flat = p.call(MlxOp::Flatten, [x.into()], [("start_axis", json!(1)), ("end_axis", json!(3))]);
        let normed = phrase::run(p, "", &flat);
        p.call(MlxOp::Unflatten, [normed.into()], [("axis", json!(1)), ("shape", json!(spatial))])
    });
    Ok(draft.step("depth, height and width flattened to one axis, as MLX's layer takes no more than four axes"))
}

/// Each channel, normalised by the squares of its neighbours: `[2, 9, 5, 7]`.
pub(super) fn local_response(site: &Site<'_>) -> Result<Draft, Refusal> {
    const CHANNELS: i64 = 9;
    let size = site.number("size")?;
    if !(1..=64).contains(&size) {
        return Err(unexpected("size", site.maybe("size")));
    }
    let (alpha, beta, k) = (site.float("alpha")?, site.float("beta")?, site.float("k")?);
    // LocalResponseNorm's window begins size // 2 before the channel; CrossMapLRN2d's reaches equally far on both
    // sides.
    let across = site.torch_class().ends_with("CrossMapLRN2d");
    let (low, high) = if across { ((size - 1) / 2, (size - 1) / 2) } else { (size / 2, (size - 1) / 2) };
    let mut p = Program::new(&["x"]);
    let squares = phrase::unary(&mut p, MlxOp::Square, "x");
    // CrossMapLRN2d never takes the first channel out of its running sum: it counts for every channel.
    let (counted, first) = if across {
        let first = phrase::slice(&mut p, &squares, 3, Some(0), Some(1), 1);
        (phrase::slice(&mut p, &squares, 3, Some(1), None, 1), Some(first))
    } else {
        (squares, None)
    };
    let before = low as i64 + i64::from(across);
    let padded = phrase::pad(&mut p, &counted, &[(0, 0), (0, 0), (0, 0), (before, high as i64)], Around::Constant(0.0));
    let mut sum = first;
    for offset in 0..(low + high + 1) as i64 {
        let shifted = phrase::slice(&mut p, &padded, 3, Some(offset), Some(offset + CHANNELS), 1);
        sum = Some(match sum {
            Some(sum) => phrase::add(&mut p, sum, shifted),
            None => shifted,
        });
    }
    let scaled = phrase::multiply(&mut p, sum.unwrap_or_default(), alpha / size as f64);
    let raised = phrase::add(&mut p, scaled, k);
    let divisor = phrase::binary(&mut p, MlxOp::Power, raised, beta);
    let output = phrase::binary(&mut p, MlxOp::Divide, "x", divisor);
    p.outputs = vec![output];
    let draft = Draft::new(vec![2, CHANNELS as usize, 5, 7], Bound::Norm(low + high + 2)).values(Values::Normal(3.0));
    let draft = draft.channels_last().program(p).step("by ops: MLX has no such layer");
    Ok(if across {
        draft.step("the first channel counted for every other, as torch's running sum keeps it")
    } else {
        draft
    })
}

/// `[4, features, 13]` or `[4, features, 7, 9]`, in eval mode.
pub(super) fn instance_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    if site.flag("track_running_stats")? && site.has("running_mean") {
        // In eval mode torch then normalises by the stored statistics, which MLX's layer does not have.
        let draft = batch_norm(site)?.step("for nn.InstanceNorm, which keeps no running statistics");
        return Ok(draft.named(MlxLayer::BatchNorm));
    }
    let spatial = spatial(site)?;
    let features = features(site)?;
    let terms = spatial.iter().product();
    let draft = Draft::new([vec![4, features], spatial.to_vec()].concat(), Bound::Norm(terms))
        .values(Values::AndSmall)
        .channels_last()
        .arg("dims", features)
        .arg("eps", site.float("eps")?)
        .arg("affine", site.has("weight"));
    affine(site, draft, &[])
}

/// Weight and bias over channels: MLX's layers have both or neither.
fn affine(site: &Site<'_>, draft: Draft, others: &[&str]) -> Result<Draft, Refusal> {
    let draft = draft.weights(affine_moves(site, others)?);
    let lacks_bias = site.has("weight") && !site.has("bias");
    Ok(if lacks_bias { draft.step("a bias of zeros, which MLX's layer cannot be without") } else { draft })
}

/// Weight, bias and the others, with zeros as the bias where only the weight exists.
pub(super) fn affine_moves(site: &Site<'_>, others: &[&str]) -> Result<Vec<Move>, Refusal> {
    let mut weights = site.moves(&[&["bias"], others].concat());
    if site.has("weight") && !site.has("bias") {
        weights.push(Move::zeros("bias", &[product(&site.shape("weight")?)?]));
    }
    Ok(weights)
}

pub(super) fn normalized_shape(site: &Site<'_>) -> Result<Vec<usize>, Refusal> {
    match site.given("normalized_shape") {
        Some(Value::Array(axes)) => agreed(site, site.numbers("normalized_shape", axes.len())?),
        Some(_) => agreed(site, site.numbers("normalized_shape", 1)?),
        None => site.shape("weight"),
    }
}

/// The shape, unless the weight has another one, which torch refuses.
fn agreed(site: &Site<'_>, shape: Vec<usize>) -> Result<Vec<usize>, Refusal> {
    match site.shape("weight") {
        Ok(weight) if weight != shape => Err(unexpected("normalized_shape", site.maybe("normalized_shape"))),
        _ => Ok(shape),
    }
}

fn features(site: &Site<'_>) -> Result<usize, Refusal> {
    match site.shape("weight").or_else(|_| site.shape("running_mean")) {
        Ok(shape) => product(&shape),
        Err(_) => site.number("num_features"),
    }
}

fn spatial(site: &Site<'_>) -> Result<&'static [usize], Refusal> {
    if site.torch_class().ends_with("SyncBatchNorm") {
        return Ok(SPATIAL[2]);
    }
    let digit = site.torch_class().chars().rev().find_map(|letter| letter.to_digit(10));
    let sizes = digit.and_then(|digit| SPATIAL.get(digit as usize).copied());
    sizes
        .ok_or_else(|| Refusal::Unsupported("the class does not say how many dimensions it normalises over".to_owned()))
}
