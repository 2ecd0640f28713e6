//! Reductions, scans and sorting.

use tch::Tensor;

use super::{Called, Given, Problem, both, done, one, two};
use crate::engine::args::Args;

/// `dim` as a list, `None` for all.
fn dims(args: &Args<'_>) -> Result<Option<Vec<i64>>, Problem> {
    Ok(args.list_or_none("dim")?)
}

/// `dim` as one axis, `None` for all.
fn dim(args: &Args<'_>) -> Result<Option<i64>, Problem> {
    if args.has("dim") { Ok(args.integer_or_none("dim")?) } else { Ok(None) }
}

pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    let keep = || args.flag_or("keepdim", false);
    match name {
        "sum" => done(one(given)?.f_sum_dim_intlist(dims(args)?, keep()?, None)),
        "mean" => done(one(given)?.f_mean_dim(dims(args)?, keep()?, None)),
        "logsumexp" => done(one(given)?.f_logsumexp(args.list("dim")?, keep()?)),
        "var" | "std" => {
            let unbiased = args.flag_or("unbiased", true)?;
            let correction = args.integer_or("correction", i64::from(unbiased))?;
            let (x, dims) = (one(given)?, dims(args)?);
            done(match name {
                "var" => x.f_var_correction(dims, correction, keep()?),
                _ => x.f_std_correction(dims, correction, keep()?),
            })
        }
        "prod" | "any" | "all" => {
            let x = one(given)?;
            done(match (name, dim(args)?) {
                ("prod", None) => x.f_prod(None),
                ("prod", Some(dim)) => x.f_prod_dim_int(dim, keep()?, None),
                ("any", None) => x.f_any(),
                ("any", Some(dim)) => x.f_any_dim(dim, keep()?),
                (_, None) => x.f_all(),
                (_, Some(dim)) => x.f_all_dim(dim, keep()?),
            })
        }
        "max" | "min" | "median" => extreme(name, given, args),
        "argmax" => done(one(given)?.f_argmax(dim(args)?, keep()?)),
        "argmin" => done(one(given)?.f_argmin(dim(args)?, keep()?)),
        "norm" | "linalg.norm" => norm(one(given)?, args),
        "cumsum" => done(one(given)?.f_cumsum(args.integer("dim")?, None)),
        "cumprod" => done(one(given)?.f_cumprod(args.integer("dim")?, None)),
        "sort" => both(one(given)?.f_sort(args.integer_or("dim", -1)?, args.flag_or("descending", false)?)),
        "argsort" => done(one(given)?.f_argsort(args.integer_or("dim", -1)?, args.flag_or("descending", false)?)),
        "topk" => {
            let (k, dim) = (args.integer("k")?, args.integer_or("dim", -1)?);
            both(one(given)?.f_topk(k, dim, args.flag_or("largest", true)?, args.flag_or("sorted", true)?))
        }
        _ => Ok(None),
    }
}

/// Of all elements one tensor, along an axis values and indices; `max` and `min` of two tensors as well.
fn extreme(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    if given.len() == 2 {
        let [a, b] = two(given)?;
        return match name {
            "max" => done(a.f_maximum(&b)),
            "min" => done(a.f_minimum(&b)),
            _ => Ok(None),
        };
    }
    let (x, keep) = (one(given)?, args.flag_or("keepdim", false)?);
    match (name, dim(args)?) {
        ("max", None) => done(x.f_max()),
        ("min", None) => done(x.f_min()),
        (_, None) => done(x.f_median()),
        ("max", Some(dim)) => both(x.f_max_dim(dim, keep)),
        ("min", Some(dim)) => both(x.f_min_dim(dim, keep)),
        (_, Some(dim)) => both(x.f_median_dim(dim, keep)),
    }
}

fn norm(x: &Tensor, args: &Args<'_>) -> Called {
    let name = if args.has("ord") { "ord" } else { "p" };
    let order = if args.has(name) { args.number(name)? } else { 2.0 };
    let all: Vec<i64> = (0..x.dim() as i64).collect();
    let dims = dims(args)?.unwrap_or(all);
    done(x.f_norm_scalaropt_dim(order, dims, args.flag_or("keepdim", false)?))
}
