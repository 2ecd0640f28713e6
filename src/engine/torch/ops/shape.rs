//! What moves elements and makes tensors.

use tch::{Device, Kind, Tensor};

use super::{Called, Given, Problem, done, kind, kind_or, list, one};
use crate::engine::args::Args;

pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    match name {
        "cat" => done(Tensor::f_cat(list(given)?, args.integer_or("dim", 0)?)),
        "stack" => done(Tensor::f_stack(list(given)?, args.integer_or("dim", 0)?)),
        "view" if args.has("dtype") => done(one(given)?.f_view_dtype(kind(args.text("dtype")?)?)),
        "view" => done(one(given)?.f_view(args.list("shape")?.as_slice())),
        "reshape" => done(one(given)?.f_reshape(args.list("shape")?)),
        "permute" => done(one(given)?.f_permute(args.list("dims")?)),
        "transpose" => done(one(given)?.f_transpose(args.integer("dim0")?, args.integer("dim1")?)),
        "T" => done(one(given)?.f_numpy_t()),
        "mT" => done(one(given)?.f_transpose(-2, -1)),
        "unsqueeze" => done(one(given)?.f_unsqueeze(args.integer("dim")?)),
        "squeeze" => done(match args.has("dim") {
            true => one(given)?.f_squeeze_dim(args.integer("dim")?),
            false => one(given)?.f_squeeze(),
        }),
        "flatten" => done(one(given)?.f_flatten(args.integer_or("start_dim", 0)?, args.integer_or("end_dim", -1)?)),
        "unflatten" => done(one(given)?.f_unflatten(args.integer("dim")?, args.list("sizes")?)),
        "expand" => done(one(given)?.f_expand(args.list("size")?, false)),
        "repeat" => done(one(given)?.f_repeat(args.list("repeats")?)),
        "repeat_interleave" => {
            let dim = if args.has("dim") { args.integer_or_none("dim")? } else { None };
            done(one(given)?.f_repeat_interleave_self_int(args.integer("repeats")?, dim, None))
        }
        "roll" => {
            let dims = args.list_or_none("dims")?.unwrap_or_default();
            done(one(given)?.f_roll(args.list("shifts")?, dims))
        }
        "flip" => done(one(given)?.f_flip(args.list("dims")?)),
        "tril" => done(one(given)?.f_tril(args.integer_or("diagonal", 0)?)),
        "triu" => done(one(given)?.f_triu(args.integer_or("diagonal", 0)?)),
        "diagonal" => {
            let (first, second) = (args.integer_or("dim1", 0)?, args.integer_or("dim2", 1)?);
            done(one(given)?.f_diagonal(args.integer_or("offset", 0)?, first, second))
        }
        "unfold" => {
            let (axis, size) = (args.integer("dimension")?, args.integer("size")?);
            done(one(given)?.f_unfold(axis, size, args.integer("step")?))
        }
        "split" | "chunk" | "unbind" | "meshgrid" => several(name, given, args),
        _ => factory(name, args),
    }
}

/// What gives several tensors.
fn several(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    let dim = || args.integer_or("dim", 0);
    Ok(Some(match name {
        "split" => match args.get("split_size")?.as_i64() {
            Some(size) => one(given)?.f_split(size, dim()?)?,
            None => one(given)?.f_split_with_sizes(args.list("split_size")?, dim()?)?,
        },
        "chunk" => one(given)?.f_chunk(args.integer("chunks")?, dim()?)?,
        "unbind" => one(given)?.f_unbind(dim()?)?,
        _ => Tensor::f_meshgrid_indexing(list(given)?, args.text_or("indexing", "ij")?)?,
    }))
}

fn factory(name: &str, args: &Args<'_>) -> Called {
    let on = |kind: Kind| (kind, Device::Cpu);
    match name {
        "zeros" => done(Tensor::f_zeros(args.list("size")?, on(kind_or(args, Kind::Float)?))),
        "ones" => done(Tensor::f_ones(args.list("size")?, on(kind_or(args, Kind::Float)?))),
        "randn" => done(Tensor::f_randn(args.list("size")?, on(Kind::Float))),
        "rand" => done(Tensor::f_rand(args.list("size")?, on(Kind::Float))),
        "eye" => done(Tensor::f_eye(args.integer("n")?, on(Kind::Float))),
        "full" => {
            let value = args.number("fill_value")?;
            let kind = kind_or(args, if args.get("fill_value")?.is_i64() { Kind::Int64 } else { Kind::Float })?;
            done(Tensor::f_full(args.list("size")?, value, on(kind)))
        }
        "arange" => arange(args),
        "linspace" => {
            let (start, end) = (args.number("start")?, args.number("end")?);
            done(Tensor::f_linspace(start, end, args.integer("steps")?, on(Kind::Float)))
        }
        _ => Ok(None),
    }
}

/// Whole numbers give int64, others float32.
fn arange(args: &Args<'_>) -> Called {
    let whole = ["start", "end", "step"].iter().all(|name| !args.has(name) || args.integer(name).is_ok());
    let kind = kind_or(args, if whole { Kind::Int64 } else { Kind::Float })?;
    let (start, end, step) = (args.number_or("start", 0.0)?, args.number("end")?, args.number_or("step", 1.0)?);
    if step == 0.0 || !((end - start) / step).is_finite() {
        return Err(Problem("the step leads nowhere".to_owned()));
    }
    done(Tensor::f_arange_start_step(start, end, step, (kind, Device::Cpu)))
}
