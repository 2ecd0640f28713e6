//! Classes of transformers, timm and torchvision that no layer of torch computes: the functions of [`t2m_engine::own`].
//! `assets/samples/check_zoo.py` compares them with the classes themselves.
//!
//! What those classes always compute in float32 is computed here in float32 for half precision, and in f64 for the f64
//! reference.

mod activation;
mod conv;
mod embedding;
mod norm;
mod rotary;

use serde_json::Value;
use tch::{Kind, Tensor};

use super::tensor::Weights;
use super::{Built, Forward, Problem, build as build_layer};
use t2m_engine::ModuleSpec;
use t2m_engine::args::Args;

/// The function of that name.
pub(super) fn build(name: &str, args: &Args<'_>, weights: &Weights) -> Built {
    if name == "t2m.sequence" {
        return sequence(args, weights).map(Some);
    }
    let families = [norm::build, activation::build, conv::build, embedding::build, rotary::build];
    for family in families {
        if let Some(forward) = family(name, args, weights)? {
            return Ok(Some(forward));
        }
    }
    Ok(None)
}

/// Layers one after the other: `layers` holds the `kind` and `args` of each, and the path `at` that its tensors are under.
fn sequence(args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let wrong = || args.wrong("layers", "a list of layers");
    let listed = args.get("layers")?.as_array().ok_or_else(wrong)?;
    let mut layers = Vec::with_capacity(listed.len());
    for layer in listed {
        let spec: ModuleSpec = serde_json::from_value(layer.clone()).map_err(|error| error.to_string())?;
        let at = layer.get("at").and_then(Value::as_str).ok_or_else(wrong)?.to_owned();
        let forward = build_layer(&spec.kind, &Args::new(&spec), &weights.below(&at))?;
        layers.push((at, forward));
    }
    Ok(Box::new(move |weights, given| {
        let mut values: Vec<Tensor> = given.iter().map(Tensor::shallow_clone).collect();
        for (at, forward) in &layers {
            values = forward(&weights.below(at), &values)?;
        }
        Ok(values)
    }))
}

/// Half precision as float32; anything else unchanged.
fn wide(tensor: &Tensor) -> Result<Tensor, Problem> {
    match tensor.f_kind()? {
        Kind::Half | Kind::BFloat16 => Ok(tensor.f_to_dtype(Kind::Float, false, false)?),
        _ => Ok(tensor.shallow_clone()),
    }
}

/// In the dtype of another tensor.
fn like(tensor: &Tensor, other: &Tensor) -> Result<Tensor, Problem> {
    Ok(tensor.f_to_dtype(other.f_kind()?, false, false)?)
}

/// Channels of `[N, C, *]` last.
fn channels_last(input: &Tensor) -> Result<Tensor, Problem> {
    let rank = input.dim() as i64;
    if rank < 3 {
        return Err(Problem(format!("the layer takes an input of [N, C, …], not {:?}", input.size())));
    }
    let axes: Vec<i64> = std::iter::once(0).chain(2..rank).chain([1]).collect();
    Ok(input.f_permute(&axes[..])?)
}

/// And back again.
fn channels_first(input: &Tensor) -> Result<Tensor, Problem> {
    let rank = input.dim() as i64;
    let axes: Vec<i64> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    Ok(input.f_permute(&axes[..])?)
}
