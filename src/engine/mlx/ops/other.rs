//! Functions of no family, the fast ones, and what makes arrays.

use mlx_rs::{Array, fast, ops, random};

use super::{Called, Given, Problem, done, dtype, float32, int32, integers, weak};
use crate::engine::args::Args;
use crate::engine::mlx::{conv, functions};

pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    done(match (name, given) {
        ("mx.where", [condition, a, b]) => {
            let Given::Array(condition) = condition else { return Err(Problem("a condition is expected".to_owned())) };
            let [a, b] = match (a, b) {
                (Given::Number(a), Given::Number(b)) => [Array::from_f32(float32(*a)), Array::from_f32(float32(*b))],
                (Given::Array(a), Given::Array(b)) => [a.clone(), b.clone()],
                (Given::Array(a), Given::Number(b)) => [a.clone(), weak(*b, a)?],
                (Given::Number(a), Given::Array(b)) => [weak(*a, b)?, b.clone()],
                _ => return Err(Problem("two operands are expected".to_owned())),
            };
            ops::select(condition, &a, &b)?
        }
        ("mx.clip", [Given::Array(x)]) => {
            let bound = |name: &str| {
                if args.has(name) && !args.is_none(name)? {
                    Ok(Some(weak(args.number(name)?, x)?))
                } else {
                    Ok::<_, Problem>(None)
                }
            };
            let mut clipped = x.clone();
            if let Some(least) = bound("a_min")? {
                clipped = ops::maximum(&clipped, &least)?;
            }
            if let Some(most) = bound("a_max")? {
                clipped = ops::minimum(&clipped, &most)?;
            }
            clipped
        }
        ("mx.einsum", [Given::List(arrays)]) => ops::einsum(args.text("subscripts")?, arrays)?,
        ("mx.addmm", [Given::Array(c), Given::Array(a), Given::Array(b)]) => {
            let (alpha, beta) = (args.number_or("alpha", 1.0)?, args.number_or("beta", 1.0)?);
            ops::addmm(c, a, b, float32(alpha), float32(beta))?
        }
        ("mx.arange", []) => {
            let (start, stop) = (args.number_or("start", 0.0)?, args.number("stop")?);
            let whole = ["start", "stop", "step"].iter().all(|name| !args.has(name) || args.integer(name).is_ok());
            let range = ops::arange::<f64, f32>(start, stop, args.number_or("step", 1.0)?)?;
            range.as_dtype(dtype(args.text_or("dtype", if whole { "int32" } else { "float32" })?)?)?
        }
        ("mx.linspace", []) => {
            let count = int32(args.integer_or("num", 50)?, "num")?;
            let options = ops::LinspaceOptions { count, endpoint: true };
            ops::linspace::<f64, f32>(args.number("start")?, args.number("stop")?, options)?
        }
        ("mx.zeros" | "mx.ones" | "mx.full", []) => {
            let value = match name {
                "mx.zeros" => 0.0,
                "mx.ones" => 1.0,
                _ => args.number("vals")?,
            };
            let whole = name == "mx.full" && args.get("vals")?.is_i64();
            let full = ops::full::<f32>(&integers(args, "shape")?, Array::from_f32(float32(value)))?;
            full.as_dtype(dtype(args.text_or("dtype", if whole { "int32" } else { "float32" })?)?)?
        }
        ("mx.eye", []) => ops::eye::<f32>(int32(args.count("n")?, "n")?, None, None)?,
        ("mx.random.normal", []) => random::normal::<f32>(integers(args, "shape")?.as_slice(), None, None, None)?,
        ("mx.random.uniform", []) => {
            let (low, high) = (args.number_or("low", 0.0)?, args.number_or("high", 1.0)?);
            random::uniform::<f32, f32>(float32(low), float32(high), integers(args, "shape")?.as_slice(), None)?
        }
        ("mx.fast.layer_norm", [Given::Array(x), rest @ ..]) => {
            let [weight, bias] = optional(rest)?;
            fast::layer_norm(x, weight, bias, float32(args.number("eps")?))?
        }
        ("mx.fast.rms_norm", [Given::Array(x), rest @ ..]) => {
            let [weight, _] = optional(rest)?;
            fast::rms_norm(x, weight, float32(args.number("eps")?))?
        }
        ("mx.fast.scaled_dot_product_attention", [Given::Array(q), Given::Array(k), Given::Array(v), rest @ ..]) => {
            let scale = float32(args.number("scale")?);
            match (rest, args.has("mask")) {
                ([Given::Array(mask)], _) => fast::scaled_dot_product_attention(q, k, v, scale, mask, None)?,
                (_, true) if args.text("mask")? == "causal" => {
                    let mask = fast::ScaledDotProductAttentionMask::Causal;
                    fast::scaled_dot_product_attention(q, k, v, scale, mask, None)?
                }
                _ => fast::scaled_dot_product_attention(q, k, v, scale, None, None)?,
            }
        }
        ("mx.fast.rope", [Given::Array(x)]) => fast::rope(
            x,
            int32(args.count("dims")?, "dims")?,
            args.flag("traditional")?,
            float32(args.number("base")?),
            float32(args.number_or("scale", 1.0)?),
            int32(args.integer_or("offset", 0)?, "offset")?,
            None,
        )?,
        (_, [Given::Array(input), Given::Array(weight)]) if name.starts_with("mx.conv") => {
            return Ok(conv::function(name, input, weight, args)?.map(|array| vec![array]));
        }
        _ => return Ok(functions::call(name, given, args)?.map(|array| vec![array])),
    })
}

fn optional(rest: &[Given]) -> Result<[Option<&Array>; 2], Problem> {
    let get = |at: usize| match rest.get(at) {
        None => Ok(None),
        Some(Given::Array(array)) => Ok(Some(array)),
        Some(_) => Err(Problem("an array is expected".to_owned())),
    };
    Ok([get(0)?, get(1)?])
}
