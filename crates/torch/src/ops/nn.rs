//! torch.nn.functional without its losses, where it takes more than a line.

use serde_json::{Map, Value};
use tch::Tensor;

use super::{Given, Problem, Result, one, optional, tensors};
use crate::tensor::Weights;
use crate::{build, resize};
use t2m_engine::args::Args;

pub(super) fn clamp(x: &Tensor, args: &Args<'_>) -> Result<Tensor> {
    let bound = |name: &str| if args.has(name) { args.number_or_none(name) } else { Ok(None) };
    Ok(match (bound("min")?, bound("max")?) {
        (Some(min), Some(max)) => x.f_clamp(min, max)?,
        (Some(min), None) => x.f_clamp_min(min)?,
        (None, Some(max)) => x.f_clamp_max(max)?,
        (None, None) => x.shallow_clone(),
    })
}

/// Two numbers, or twice this default.
fn pair(args: &Args<'_>, name: &str, otherwise: i64) -> Result<Vec<i64>> {
    if args.has(name) { Ok(args.integers(name, 2)?) } else { Ok(vec![otherwise; 2]) }
}

pub(super) fn layer_norm(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let (x, shape, eps) = (first(given)?, args.list("normalized_shape")?, args.number_or("eps", 1e-5)?);
    Ok(x.f_layer_norm(shape, optional(given, 1)?, optional(given, 2)?, eps, false)?)
}

pub(super) fn rms_norm(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let eps = if args.has("eps") { args.number_or_none("eps")? } else { None };
    Ok(first(given)?.f_rms_norm(args.list("normalized_shape")?, optional(given, 1)?, eps)?)
}

pub(super) fn group_norm(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let (groups, eps) = (args.count("num_groups")?, args.number_or("eps", 1e-5)?);
    Ok(first(given)?.f_group_norm(groups, optional(given, 1)?, optional(given, 2)?, eps, false)?)
}

pub(super) fn normalize(x: &Tensor, args: &Args<'_>) -> Result<Tensor> {
    let dim = args.integer_or("dim", 1)?;
    let norm = x.f_norm_scalaropt_dim(args.number_or("p", 2.0)?, [dim].as_slice(), true)?;
    Ok(x.f_div(&norm.f_clamp_min(args.number_or("eps", 1e-12)?)?)?)
}

/// Kernel, stride and padding of a pool, and whether its windows may reach beyond the end.
fn window(args: &Args<'_>) -> Result<([Vec<i64>; 3], bool)> {
    let kernel = args.integers("kernel_size", 2)?;
    let stride = if args.has("stride") { args.integers("stride", 2)? } else { kernel.clone() };
    Ok(([kernel, stride, pair(args, "padding", 0)?], args.flag_or("ceil_mode", false)?))
}

pub(super) fn max_pool(x: &Tensor, args: &Args<'_>) -> Result<Tensor> {
    let ([kernel, stride, padding], ceil) = window(args)?;
    Ok(x.f_max_pool2d(kernel, stride, padding, pair(args, "dilation", 1)?, ceil)?)
}

pub(super) fn average_pool(x: &Tensor, args: &Args<'_>) -> Result<Tensor> {
    let ([kernel, stride, padding], ceil) = window(args)?;
    Ok(x.f_avg_pool2d(kernel, stride, padding, ceil, args.flag_or("count_include_pad", true)?, None)?)
}

/// `F.unfold`, over images.
pub(super) fn unfold(x: &Tensor, args: &Args<'_>) -> Result<Tensor> {
    let (kernel, dilation) = (args.integers("kernel_size", 2)?, pair(args, "dilation", 1)?);
    Ok(x.f_im2col(kernel, dilation, pair(args, "padding", 0)?, pair(args, "stride", 1)?)?)
}

/// `F.fold`
pub(super) fn fold(x: &Tensor, args: &Args<'_>) -> Result<Tensor> {
    let (size, kernel) = (args.integers("output_size", 2)?, args.integers("kernel_size", 2)?);
    let (dilation, padding) = (pair(args, "dilation", 1)?, pair(args, "padding", 0)?);
    Ok(x.f_col2im(size, kernel, dilation, padding, pair(args, "stride", 1)?)?)
}

fn first(given: &[Given]) -> Result<&Tensor> {
    one(given.get(..1).unwrap_or_default())
}

/// tch takes no factors here.
pub(super) fn addmm(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let [c, a, b] = tensors(given)?;
    let (beta, alpha) = (args.number_or("beta", 1.0)?, args.number_or("alpha", 1.0)?);
    if (beta, alpha) == (1.0, 1.0) {
        return Ok(c.f_addmm(a, b)?);
    }
    Ok(c.f_mul_scalar(beta)?.f_add(&a.f_matmul(b)?.f_mul_scalar(alpha)?)?)
}

/// The activation of that class, with arguments that default to these.
pub(super) fn layer(class: &str, numbers: &[(&str, f64)], given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let mut own: Map<String, Value> = Map::new();
    for (name, otherwise) in numbers {
        own.insert((*name).to_owned(), args.number_or(name, *otherwise)?.into());
    }
    let kind = format!("torch.nn.modules.activation.{class}");
    let weights = Weights::new(&[], None)?;
    let forward = build(&kind, &Args::of(&kind, &own), &weights)?;
    only(forward(&weights, &[one(given)?.shallow_clone()])?)
}

fn only(results: Vec<Tensor>) -> Result<Tensor> {
    results.into_iter().next().ok_or_else(|| Problem("it gives nothing".to_owned()))
}

pub(super) fn attention(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let [q, k, v] = tensors(given.get(..3).unwrap_or_default())?;
    let scale = if args.has("scale") { args.number_or_none("scale")? } else { None };
    let (causal, shared) = (args.flag_or("is_causal", false)?, args.flag_or("enable_gqa", false)?);
    let dropout = args.number_or("dropout_p", 0.0)?;
    let mask = optional(given, 3)?;
    Ok(Tensor::f_scaled_dot_product_attention(q, k, v, mask, dropout, causal, scale, shared)?)
}

/// As `nn.Upsample` does it.
pub(super) fn interpolate(x: &Tensor, args: &Args<'_>) -> Result<Tensor> {
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
    only(forward(&Weights::new(&[], None)?, &[x.shallow_clone()])?)
}
