//! Linear layers.

use tch::Tensor;

use super::tensor::Weights;
use super::{Built, Forward, Problem, identity, inputs, single};

/// The class `torch.nn.modules.linear.*`.
pub(super) fn build(class: &str, weights: &Weights) -> Built {
    Ok(Some(match class {
        "Linear" | "NonDynamicallyQuantizableLinear" => linear(weights)?,
        "Bilinear" => bilinear(weights)?,
        "Identity" => identity(),
        _ => return Ok(None),
    }))
}

/// `Linear`: weight `[out, in]`, optional bias `[out]`.
fn linear(weights: &Weights) -> Result<Forward, Problem> {
    weights.get("weight")?;
    Ok(single(|weights, given| {
        let [input] = inputs(given)?;
        Ok(input.f_linear(weights.get("weight")?, weights.find("bias"))?)
    }))
}

/// `Bilinear`: weight `[out, in1, in2]`, optional bias `[out]`, inputs `[*, in1]` and `[*, in2]`.
fn bilinear(weights: &Weights) -> Result<Forward, Problem> {
    weights.get("weight")?;
    Ok(single(|weights, given| {
        let [left, right] = inputs(given)?;
        Ok(Tensor::f_bilinear(left, right, weights.get("weight")?, weights.find("bias"))?)
    }))
}
