//! Normalisations.

use serde_json::{Value, json};

use super::site::{Draft, Site, product};
use crate::compare::tolerance::Bound;
use crate::convert::input::Values;
use crate::convert::weights::Layout;
use crate::convert::{Move, Refusal, Rule};

/// Spatial sizes for a norm's input of that many dimensions: no two alike, none square.
const SPATIAL: [&[usize]; 3] = [&[], &[13], &[7, 9]];

/// `[4, 5, *normalized_shape]`.
pub(super) fn layer_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (affine, bias) = (site.has("weight"), site.has("bias"));
    let draft = last_axes(site, &["bias"])?.arg("eps", site.float("eps")?);
    Ok(draft.arg("affine", affine).arg("bias", bias))
}

/// `[4, 5, *normalized_shape]`.
pub(super) fn rms_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    let mut draft = last_axes(site, &[])?;
    if !site.has("weight") {
        draft.args.clear();
        draft =
            draft.named("mx.fast.rms_norm").arg("weight", Value::Null).step("a function, as the layer has a weight");
    }
    match site.attribute("eps")? {
        // torch takes the input dtype's epsilon for None, MLX's default is 1e-5.
        Value::Null => {
            Ok(draft.arg("eps", f64::from(f32::EPSILON)).step("eps=1.19e-07, what torch's None means in float32"))
        }
        _ => Ok(draft.arg("eps", site.float("eps")?)),
    }
}

/// A norm over the last axes, which are one in MLX.
fn last_axes(site: &Site<'_>, others: &[&str]) -> Result<Draft, Refusal> {
    let shape = normalized_shape(site)?;
    let dims = product(&shape)?;
    let mut weights = site.moves(others);
    let mut draft =
        Draft::new([vec![4, 5], shape.clone()].concat(), Bound::Norm(dims)).values(Values::AndSmall).arg("dims", dims);
    if shape.len() > 1 {
        for step in &mut weights {
            step.rule = Rule { name: "flatten".to_owned(), layout: Layout::Flatten };
        }
        draft = draft.around("normalized_shape", json!(shape)).step("the last axes flattened to one");
    }
    Ok(draft.weights(weights))
}

/// `[2, channels, 7, 9]`.
pub(super) fn group_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (groups, channels) = (site.number("num_groups")?.max(1), site.number("num_channels")?);
    let draft = Draft::new(vec![2, channels, 7, 9], Bound::Norm(product(&[channels / groups, 63])?))
        .values(Values::AndSmall)
        .channels_last()
        .arg("num_groups", groups)
        .arg("dims", channels)
        .arg("eps", site.float("eps")?)
        .arg("affine", site.has("weight"))
        .arg("pytorch_compatible", false); // MLX's default; the registry's row says otherwise
    affine(site, draft, channels, &[])
}

/// `[4, features, 13]` or `[4, features, 7, 9]`, in eval mode.
pub(super) fn batch_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    let spatial = spatial(site)?;
    let features = features(site)?;
    let tracked = site.has("running_mean") && site.has("running_var");
    // Without stored statistics it is normalised over batch and space.
    let bound = if tracked { Bound::Pointwise } else { Bound::Norm(4 * spatial.iter().product::<usize>()) };
    let draft = Draft::new([vec![4, features], spatial.to_vec()].concat(), bound)
        .channels_last()
        .arg("num_features", features)
        .arg("eps", site.float("eps")?)
        .arg("affine", site.has("weight"))
        .arg("track_running_stats", tracked);
    affine(site, draft, features, &["running_mean", "running_var"])
}

/// `[4, features, 13]` or `[4, features, 7, 9]`, in eval mode.
pub(super) fn instance_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    if site.flag("track_running_stats")? && site.has("running_mean") {
        // In eval mode torch then normalises by the stored statistics, which MLX's layer has not.
        let draft = batch_norm(site)?.step("for nn.InstanceNorm, which keeps no running statistics");
        return Ok(draft.named("nn.BatchNorm"));
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
    affine(site, draft, features, &[])
}

/// Weight and bias over channels, which MLX's layers have both or not at all.
fn affine(site: &Site<'_>, draft: Draft, channels: usize, others: &[&str]) -> Result<Draft, Refusal> {
    let mut weights = site.moves(&[&["bias"], others].concat());
    if site.has("weight") && !site.has("bias") {
        weights.push(Move::zeros("bias", &[channels]));
        return Ok(draft.weights(weights).step("a bias of zeros, which MLX's layer cannot be without"));
    }
    Ok(draft.weights(weights))
}

fn normalized_shape(site: &Site<'_>) -> Result<Vec<usize>, Refusal> {
    match site.module().attributes.get("normalized_shape") {
        Some(Value::Array(axes)) => site.numbers("normalized_shape", axes.len()),
        Some(_) => site.numbers("normalized_shape", 1),
        None => site.shape("weight"),
    }
}

fn features(site: &Site<'_>) -> Result<usize, Refusal> {
    match site.shape("weight").or_else(|_| site.shape("running_mean")) {
        Ok(shape) => product(&shape),
        Err(_) => site.number("num_features"),
    }
}

fn spatial(site: &Site<'_>) -> Result<&'static [usize], Refusal> {
    let digit = site.torch_class().chars().rev().find_map(|letter| letter.to_digit(10));
    let sizes = digit.and_then(|digit| SPATIAL.get(digit as usize).copied());
    sizes
        .ok_or_else(|| Refusal::Unsupported("the class does not say how many dimensions it normalises over".to_owned()))
}
