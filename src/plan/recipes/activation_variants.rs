//! Activations other than the plain ones, as ops.

use serde_json::json;

use super::activation::expression;
use super::phrase::{add, binary, multiply, unary};
use super::site::{Draft, Site};
use crate::plan::{Move, Refusal};
use t2m_engine::Program;
use t2m_engine::program::MlxOp;

/// `x · sigmoid(1.702 x)`. mlx-rs's fast GELU has another constant than Python's, so it is written out.
pub(super) fn quick_gelu(_site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(expression(|p| {
        let scaled = multiply(p, "x", 1.702);
        let gate = unary(p, MlxOp::Sigmoid, &scaled);
        multiply(p, "x", gate)
    }))
}

/// GELU between `min` and `max`.
pub(super) fn clipped_gelu(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (least, most) = (site.float("min")?, site.float("max")?);
    Ok(expression(|p| {
        let gelu = unary(p, MlxOp::NnGelu, "x");
        p.call(MlxOp::Clip, [gelu.into()], [("a_min", json!(least)), ("a_max", json!(most))])
    }))
}

/// transformers' constants: √½ and √(1/4π), rounded. With other constants it is another function.
#[allow(clippy::approx_constant)]
const LAPLACE_MEAN: f64 = 0.707_107;
const LAPLACE_DEVIATION: f64 = 0.282_095;

/// The normal distribution with mean √½ and variance ¼π⁻¹, both rounded as in transformers.
pub(super) fn laplace(_site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(expression(|p| {
        let moved = binary(p, MlxOp::Subtract, "x", LAPLACE_MEAN);
        let scaled = binary(p, MlxOp::Divide, moved, LAPLACE_DEVIATION * std::f64::consts::SQRT_2);
        let erf = unary(p, MlxOp::Erf, &scaled);
        let sum = add(p, erf, 1.0);
        multiply(p, sum, 0.5)
    }))
}

/// `relu(x)²`
pub(super) fn relu_squared(_site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(expression(|p| {
        let positive = unary(p, MlxOp::NnRelu, "x");
        unary(p, MlxOp::Square, &positive)
    }))
}

/// The root of softplus.
pub(super) fn sqrt_softplus(_site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(expression(|p| {
        let soft = unary(p, MlxOp::NnSoftplus, "x");
        unary(p, MlxOp::Sqrt, &soft)
    }))
}

/// `½ x · clip(x + 2, 0, 2)`
pub(super) fn hard_mish(_site: &Site<'_>) -> Result<Draft, Refusal> {
    Ok(expression(|p| {
        let moved = add(p, "x", 2.0);
        let clipped = p.call(MlxOp::Clip, [moved.into()], [("a_min", json!(0.0)), ("a_max", json!(2.0))]);
        let half = multiply(p, "x", 0.5);
        multiply(p, half, clipped)
    }))
}

/// A parabola above 0 and an ELU below, both added to a line of slope `beta`; its four numbers are tensors.
pub(super) fn xielu(site: &Site<'_>) -> Result<Draft, Refusal> {
    const TENSORS: [&str; 4] = ["alpha_p", "alpha_n", "beta", "eps"];
    for name in TENSORS {
        site.shape(name)?;
    }
    let draft = expression(|p: &mut Program| {
        let line = multiply(p, "self.beta", "x");
        let above = unary(p, MlxOp::NnSoftplus, "self.alpha_p");
        let above = multiply(p, above, "x");
        let above = multiply(p, above, "x");
        let below = unary(p, MlxOp::NnSoftplus, "self.alpha_n");
        let below = add(p, "self.beta", below);
        let small = binary(p, MlxOp::Minimum, "x", "self.eps");
        let small = unary(p, MlxOp::Expm1, &small);
        let small = binary(p, MlxOp::Subtract, small, "x");
        let below = multiply(p, small, below);
        let positive = binary(p, MlxOp::Greater, "x", 0.0);
        let chosen = p.call(MlxOp::Where, [positive.into(), above.into(), below.into()], []);
        add(p, chosen, line)
    });
    Ok(draft.weights(TENSORS.map(Move::keep).to_vec()))
}
