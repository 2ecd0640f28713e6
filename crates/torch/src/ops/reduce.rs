//! Reductions.

use tch::{TchError, Tensor};

use super::{Given, Result, both, keep, one, two};
use t2m_engine::args::Args;

/// `dim` as one axis, `None` for all.
pub(super) fn dim(args: &Args<'_>) -> Result<Option<i64>> {
    if args.has("dim") { Ok(args.integer_or_none("dim")?) } else { Ok(None) }
}

/// What is subtracted from the count before a variance is divided by it.
pub(super) fn correction(args: &Args<'_>) -> Result<i64> {
    let unbiased = args.flag_or("unbiased", true)?;
    Ok(args.integer_or("correction", i64::from(unbiased))?)
}

pub(super) fn topk(given: &[Given], args: &Args<'_>) -> Result<Vec<Tensor>> {
    let (k, dim) = (args.integer("k")?, args.integer_or("dim", -1)?);
    both(one(given)?.f_topk(k, dim, args.flag_or("largest", true)?, args.flag_or("sorted", true)?))
}

type Single = std::result::Result<Tensor, TchError>;
type Pair = std::result::Result<(Tensor, Tensor), TchError>;

/// A function that returns one tensor for all elements, or values and indices along an axis.
pub(super) struct Extreme {
    all: fn(&Tensor) -> Single,
    along: fn(&Tensor, i64, bool) -> Pair,
    /// Of two tensors: element by element.
    of_two: Option<fn(&Tensor, &Tensor) -> Single>,
}

pub(super) const MAX: Extreme =
    Extreme { all: Tensor::f_max, along: Tensor::f_max_dim, of_two: Some(Tensor::f_maximum) };
pub(super) const MIN: Extreme =
    Extreme { all: Tensor::f_min, along: Tensor::f_min_dim, of_two: Some(Tensor::f_minimum) };
pub(super) const MEDIAN: Extreme = Extreme { all: Tensor::f_median, along: Tensor::f_median_dim, of_two: None };

pub(super) fn extreme(given: &[Given], args: &Args<'_>, of: &Extreme) -> Result<Vec<Tensor>> {
    if let (Some(of_two), 2) = (of.of_two, given.len()) {
        let [a, b] = two(given)?;
        return Ok(vec![of_two(&a, &b)?]);
    }
    match dim(args)? {
        None => Ok(vec![(of.all)(one(given)?)?]),
        Some(dim) => both((of.along)(one(given)?, dim, keep(args)?)),
    }
}

/// A norm with the argument of that name as its order.
pub(super) fn norm(x: &Tensor, args: &Args<'_>, order: &str) -> Result<Tensor> {
    let order = args.number_or(order, 2.0)?;
    let all: Vec<i64> = (0..x.dim() as i64).collect();
    let dims = args.list_or_none("dim")?.unwrap_or(all);
    Ok(x.f_norm_scalaropt_dim(order, dims, keep(args)?)?)
}
