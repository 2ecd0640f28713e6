//! Functions that move elements or make tensors, where they take more than a line.

use tch::{Kind, Tensor};

use super::{Given, Problem, Result, kind_or, on_cpu, one};
use t2m_engine::args::Args;

/// In parts of one size, or of these sizes.
pub(super) fn split(given: &[Given], args: &Args<'_>) -> Result<Vec<Tensor>> {
    let dim = args.integer_or("dim", 0)?;
    Ok(match args.get("split_size")?.as_i64() {
        Some(size) => one(given)?.f_split(size, dim)?,
        None => one(given)?.f_split_with_sizes(args.list("split_size")?, dim)?,
    })
}

pub(super) fn full(args: &Args<'_>) -> Result<Tensor> {
    let value = args.number("fill_value")?;
    let kind = kind_or(args, if args.get("fill_value")?.is_i64() { Kind::Int64 } else { Kind::Float })?;
    Ok(Tensor::f_full(args.list("size")?, value, on_cpu(kind))?)
}

/// Whole numbers give int64, others float32.
pub(super) fn arange(args: &Args<'_>) -> Result<Tensor> {
    let whole = ["start", "end", "step"].iter().all(|name| !args.has(name) || args.integer(name).is_ok());
    let kind = kind_or(args, if whole { Kind::Int64 } else { Kind::Float })?;
    let (start, end, step) = (args.number_or("start", 0.0)?, args.number("end")?, args.number_or("step", 1.0)?);
    if step == 0.0 || !((end - start) / step).is_finite() {
        return Err(Problem("the step leads nowhere".to_owned()));
    }
    Ok(Tensor::f_arange_start_step(start, end, step, on_cpu(kind))?)
}
