//! Normalisations.

use serde_json::{Value, json};

use super::site::{Draft, Site, product};
use crate::compare::tolerance::Bound;
use crate::convert::Refusal;
use crate::convert::input::Values;

/// Spatial sizes for a norm's input of that many dimensions: no two alike, none square.
const SPATIAL: [&[usize]; 3] = [&[], &[13], &[7, 9]];

/// `[4, 5, *normalized_shape]`.
pub(super) fn layer_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    let shape = normalized_shape(site)?;
    let draft = Draft::new([vec![4, 5], shape.clone()].concat(), Bound::Norm(product(&shape)?))
        .values(Values::AndSmall)
        .arg("normalized_shape", json!(shape))
        .arg("eps", site.float("eps")?)
        .weights(site.moves(&["bias"]));
    Ok(if shape.len() > 1 { draft.step("the last axes flattened to one") } else { draft })
}

/// `[4, 5, *normalized_shape]`.
pub(super) fn rms_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    let shape = normalized_shape(site)?;
    let draft = Draft::new([vec![4, 5], shape.clone()].concat(), Bound::Norm(product(&shape)?))
        .values(Values::AndSmall)
        .arg("normalized_shape", json!(shape))
        .weights(site.moves(&[]));
    match site.attribute("eps")? {
        // torch takes the input dtype's epsilon for None, MLX's default is 1e-5.
        Value::Null => {
            Ok(draft.arg("eps", f64::from(f32::EPSILON)).step("eps=1.19e-07, what torch's None means in float32"))
        }
        _ => Ok(draft.arg("eps", site.float("eps")?)),
    }
}

/// `[2, channels, 7, 9]`.
pub(super) fn group_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (groups, channels) = (site.number("num_groups")?.max(1), site.number("num_channels")?);
    Ok(Draft::new(vec![2, channels, 7, 9], Bound::Norm(product(&[channels / groups, 63])?))
        .values(Values::AndSmall)
        .channels_last()
        .arg("num_groups", groups)
        .arg("pytorch_compatible", false) // MLX's default; the registry's row says otherwise
        .arg("eps", site.float("eps")?)
        .weights(site.moves(&["bias"])))
}

/// `[4, features, 13]` or `[4, features, 7, 9]`, in eval mode.
pub(super) fn batch_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    let spatial = spatial(site)?;
    let tracked = site.has("running_mean") && site.has("running_var");
    // Without stored statistics it is normalised over batch and space.
    let bound = if tracked { Bound::Pointwise } else { Bound::Norm(4 * spatial.iter().product::<usize>()) };
    Ok(Draft::new([vec![4, features(site)?], spatial.to_vec()].concat(), bound)
        .channels_last()
        .arg("eps", site.float("eps")?)
        .arg("track_running_stats", tracked)
        .weights(site.moves(&["bias", "running_mean", "running_var"])))
}

/// `[4, features, 13]` or `[4, features, 7, 9]`, in eval mode.
pub(super) fn instance_norm(site: &Site<'_>) -> Result<Draft, Refusal> {
    if site.flag("track_running_stats")? && site.has("running_mean") {
        // In eval mode torch then normalises by the stored statistics, which MLX's layer has not.
        let mut draft = batch_norm(site)?.step("for nn.InstanceNorm, which keeps no running statistics");
        draft.mlx = Some("nn.BatchNorm");
        return Ok(draft);
    }
    let spatial = spatial(site)?;
    let terms = spatial.iter().product();
    Ok(Draft::new([vec![4, features(site)?], spatial.to_vec()].concat(), Bound::Norm(terms))
        .values(Values::AndSmall)
        .channels_last()
        .arg("eps", site.float("eps")?)
        .weights(site.moves(&["bias"])))
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
    let digit = site.module().class.chars().rev().find_map(|letter| letter.to_digit(10));
    let sizes = digit.and_then(|digit| SPATIAL.get(digit as usize).copied());
    sizes
        .ok_or_else(|| Refusal::Unsupported("the class does not say how many dimensions it normalises over".to_owned()))
}
