//! Layers without weights.

use serde_json::Value;

use super::site::{Draft, Site, unexpected};
use crate::compare::tolerance::Bound;
use crate::convert::Refusal;
use crate::convert::input::Values;

/// Input of an activation, `[3, 5, 97]`, wide enough in value to reach the flat parts of every curve.
fn draft(bound: Bound) -> Draft {
    Draft::new(vec![3, 5, 97], bound).values(Values::Normal(3.0))
}

/// The same function of each element.
pub(super) fn pointwise(_site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(draft(Bound::Pointwise))
}

/// Elements are kept or made zero.
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

/// The slope is carried over. MLX computes max(slope·x, x), which is another function for a slope above 1.
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
            .named("mx.softmax")
            .arg("axis", dim)
            .arg("precise", true)
            .step("a function, as the axis is not the last"),
    })
}

/// The identity in eval mode.
pub(super) fn dropout(site: &Site<'_>) -> Result<Draft, Refusal> {
    // p does not matter in eval mode: a bare state dict does not list the layer at all.
    let p = site.module().attributes.get("p").cloned().unwrap_or(Value::from(0.5));
    Ok(draft(Bound::Copy).arg("p", p))
}
