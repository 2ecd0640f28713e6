//! torch.nn.functional without its losses, and products of matrices.

use serde_json::{Map, Value};
use tch::{TchError, Tensor};

use super::{Called, Given, Problem, done, list, one, optional, tensors};
use crate::engine::args::Args;
use crate::engine::torch::tensor::Weights;
use crate::engine::torch::{build, resize};

pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    match name {
        "softmax" => done(one(given)?.f_softmax(args.integer("dim")?, None)),
        "log_softmax" => done(one(given)?.f_log_softmax(args.integer("dim")?, None)),
        "gelu" => done(one(given)?.f_gelu(args.text_or("approximate", "none")?)),
        "glu" => done(one(given)?.f_glu(args.integer_or("dim", -1)?)),
        "hardtanh" => done(one(given)?.f_clamp(args.number_or("min_val", -1.0)?, args.number_or("max_val", 1.0)?)),
        // What tch leaves the optional arguments out of is the layer of the same name.
        "leaky_relu" => layer("LeakyReLU", &[("negative_slope", 0.01)], given, args),
        "elu" => layer("ELU", &[("alpha", 1.0)], given, args),
        "celu" => layer("CELU", &[("alpha", 1.0)], given, args),
        "softplus" => layer("Softplus", &[("beta", 1.0), ("threshold", 20.0)], given, args),
        "dropout" => {
            let p = args.number_or("p", 0.5)?;
            done(one(given)?.f_dropout(p, args.flag_or("training", true)?))
        }
        "einsum" => done(Tensor::f_einsum(args.text("equation")?, list(given)?, None::<i64>)),
        "addmm" | "baddbmm" => {
            let [c, a, b] = tensors(given)?;
            let (beta, alpha) = (args.number_or("beta", 1.0)?, args.number_or("alpha", 1.0)?);
            done(if name == "baddbmm" { c.f_baddbmm(a, b, beta, alpha) } else { addmm(c, a, b, beta, alpha) })
        }
        "linear" => {
            let [x, weight] = tensors(given.get(..2).unwrap_or_default())?;
            done(x.f_linear(weight, optional(given, 2)?))
        }
        "embedding" => {
            let [indices, weight] = tensors(given)?;
            done(Tensor::f_embedding(weight, indices, -1, false, false))
        }
        "one_hot" => done(one(given)?.f_one_hot(args.integer_or("num_classes", -1)?)),
        "scaled_dot_product_attention" => attention(given, args),
        _ => norms_and_windows(name, given, args),
    }
}

fn norms_and_windows(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    let pair = |name: &str, otherwise: i64| {
        if args.has(name) { args.integers(name, 2) } else { Ok(vec![otherwise; 2]) }
    };
    match name {
        "layer_norm" => {
            let (x, shape, eps) = (first(given)?, args.list("normalized_shape")?, args.number_or("eps", 1e-5)?);
            done(x.f_layer_norm(shape, optional(given, 1)?, optional(given, 2)?, eps, false))
        }
        "rms_norm" => {
            let eps = if args.has("eps") { args.number_or_none("eps")? } else { None };
            done(first(given)?.f_rms_norm(args.list("normalized_shape")?, optional(given, 1)?, eps))
        }
        "group_norm" => {
            let (groups, eps) = (args.count("num_groups")?, args.number_or("eps", 1e-5)?);
            done(first(given)?.f_group_norm(groups, optional(given, 1)?, optional(given, 2)?, eps, false))
        }
        "normalize" => {
            let (x, dim) = (one(given)?, args.integer_or("dim", 1)?);
            let norm = x.f_norm_scalaropt_dim(args.number_or("p", 2.0)?, [dim].as_slice(), true)?;
            done(x.f_div(&norm.f_clamp_min(args.number_or("eps", 1e-12)?)?))
        }
        "cosine_similarity" => {
            let [a, b] = tensors(given)?;
            done(Tensor::f_cosine_similarity(a, b, args.integer_or("dim", 1)?, args.number_or("eps", 1e-8)?))
        }
        "pad" => {
            let value = if args.has("value") { args.number_or_none("value")? } else { None };
            done(one(given)?.f_pad(args.list("pad")?, args.text_or("mode", "constant")?, value))
        }
        "interpolate" => Ok(Some(vec![interpolate(one(given)?, args)?])),
        "max_pool2d" | "avg_pool2d" => {
            let kernel = args.integers("kernel_size", 2)?;
            let stride = if args.has("stride") { args.integers("stride", 2)? } else { kernel.clone() };
            let (padding, ceil) = (pair("padding", 0)?, args.flag_or("ceil_mode", false)?);
            let x = one(given)?;
            done(if name == "max_pool2d" {
                x.f_max_pool2d(kernel, stride, padding, pair("dilation", 1)?, ceil)
            } else {
                x.f_avg_pool2d(kernel, stride, padding, ceil, args.flag_or("count_include_pad", true)?, None)
            })
        }
        "adaptive_avg_pool2d" => done(one(given)?.f_adaptive_avg_pool2d(args.integers("output_size", 2)?)),
        "pixel_shuffle" => done(one(given)?.f_pixel_shuffle(args.count("upscale_factor")?)),
        "F.unfold" | "F.fold" => {
            let (kernel, dilation) = (args.integers("kernel_size", 2)?, pair("dilation", 1)?);
            let (padding, stride) = (pair("padding", 0)?, pair("stride", 1)?);
            let x = one(given)?;
            done(if name == "F.unfold" {
                x.f_im2col(kernel, dilation, padding, stride)
            } else {
                x.f_col2im(args.integers("output_size", 2)?, kernel, dilation, padding, stride)
            })
        }
        _ => Ok(None),
    }
}

fn first(given: &[Given]) -> Result<&Tensor, Problem> {
    one(given.get(..1).unwrap_or_default())
}

/// tch has no factors there.
fn addmm(c: &Tensor, a: &Tensor, b: &Tensor, beta: f64, alpha: f64) -> Result<Tensor, TchError> {
    if (beta, alpha) == (1.0, 1.0) {
        return c.f_addmm(a, b);
    }
    c.f_mul_scalar(beta)?.f_add(&a.f_matmul(b)?.f_mul_scalar(alpha)?)
}

/// The activation of that class, with arguments that default to these.
fn layer(class: &str, numbers: &[(&str, f64)], given: &[Given], args: &Args<'_>) -> Called {
    let mut own: Map<String, Value> = Map::new();
    for (name, otherwise) in numbers {
        own.insert((*name).to_owned(), args.number_or(name, *otherwise)?.into());
    }
    let kind = format!("torch.nn.modules.activation.{class}");
    let weights = Weights::new(&[], None)?;
    let forward = build(&kind, &Args::of(&kind, &own), &weights)?;
    forward(&weights, &[one(given)?.shallow_clone()]).map(Some)
}

fn attention(given: &[Given], args: &Args<'_>) -> Called {
    let [q, k, v] = tensors(given.get(..3).unwrap_or_default())?;
    let scale = if args.has("scale") { args.number_or_none("scale")? } else { None };
    let (causal, shared) = (args.flag_or("is_causal", false)?, args.flag_or("enable_gqa", false)?);
    let dropout = args.number_or("dropout_p", 0.0)?;
    done(Tensor::f_scaled_dot_product_attention(q, k, v, optional(given, 3)?, dropout, causal, scale, shared))
}

/// As `nn.Upsample` does it.
fn interpolate(x: &Tensor, args: &Args<'_>) -> Result<Tensor, Problem> {
    let mut own: Map<String, Value> = Map::new();
    for (name, otherwise) in [
        ("size", Value::Null),
        ("scale_factor", Value::Null),
        ("mode", "nearest".into()),
        ("align_corners", Value::Null),
    ] {
        let value = if args.has(name) { args.get(name)?.clone() } else { otherwise };
        own.insert(name.to_owned(), value);
    }
    own.insert("recompute_scale_factor".to_owned(), Value::Null);
    let built = resize::build("Upsample", &Args::of("F.interpolate", &own))?;
    let forward = built.ok_or_else(|| Problem("there is no Upsample".to_owned()))?;
    let results = forward(&Weights::new(&[], None)?, &[x.shallow_clone()])?;
    results.into_iter().next().ok_or_else(|| Problem("it gives nothing".to_owned()))
}
