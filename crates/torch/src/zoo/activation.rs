//! Activations.

use tch::{TchError, Tensor};

use super::super::tensor::{Weights, in_single};
use super::super::{Built, Forward, Problem, inputs, single};
use super::{like, wide};
use t2m_engine::args::Args;

/// transformers' constants: √½ and √(1/4π), rounded.
#[allow(clippy::approx_constant)]
const LAPLACE_MEAN: f64 = 0.707_107;
const LAPLACE_DEVIATION: f64 = 0.282_095;

pub(super) fn build(name: &str, args: &Args<'_>, weights: &Weights) -> Built {
    let function: fn(&Tensor) -> Result<Tensor, TchError> = match name {
        "t2m.quick_gelu" => |x| x.f_mul(&x.f_mul_scalar(1.702)?.f_sigmoid()?),
        "t2m.laplace" => |x| {
            let scaled = x.f_sub_scalar(LAPLACE_MEAN)?.f_div_scalar(LAPLACE_DEVIATION * std::f64::consts::SQRT_2)?;
            scaled.f_erf()?.f_add_scalar(1.0)?.f_mul_scalar(0.5)
        },
        "t2m.relu_squared" => |x| x.f_relu()?.f_square(),
        "t2m.sqrt_softplus" => |x| x.f_softplus()?.f_sqrt(),
        "t2m.hard_mish" => |x| x.f_mul_scalar(0.5)?.f_mul(&x.f_add_scalar(2.0)?.f_clamp(0.0, 2.0)?),
        "t2m.clipped_gelu" => return clipped_gelu(args).map(Some),
        "t2m.xielu" => return xielu(weights).map(Some),
        _ => return Ok(None),
    };
    Ok(Some(single(move |_, given| {
        let [input] = inputs(given)?;
        in_single(input, function)
    })))
}

/// GELU by erf, between `min` and `max`.
fn clipped_gelu(args: &Args<'_>) -> Result<Forward, Problem> {
    let (least, most) = (args.number("min")?, args.number("max")?);
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(input.f_gelu("none")?.f_clamp(least, most)?)
    }))
}

/// xIELU: a parabola above 0 and an ELU below, both added to a line of slope `beta`; its four numbers are tensors.
fn xielu(weights: &Weights) -> Result<Forward, Problem> {
    for name in ["alpha_p", "alpha_n", "beta", "eps"] {
        weights.get(name)?;
    }
    Ok(single(|weights, given| {
        let [input] = inputs(given)?;
        let get = |name: &str| weights.get(name).and_then(wide);
        let (beta, x) = (get("beta")?, wide(input)?);
        let above = get("alpha_p")?.f_softplus()?;
        let below = beta.f_add(&get("alpha_n")?.f_softplus()?)?;
        let line = beta.f_mul(&x)?;
        let parabola = above.f_mul(&x)?.f_mul(&x)?.f_add(&line)?;
        let exponential = x.f_minimum(&get("eps")?)?.f_expm1()?.f_sub(&x)?.f_mul(&below)?.f_add(&line)?;
        like(&parabola.f_where_self(&x.f_gt(0.0)?, &exponential)?, input)
    }))
}
