//! torch's functions by their Python names and arguments: what a forward calls outside of layers.
//!
//! A function is known by its name alone, as torch has most of them as a function and as a method. A plain number is a
//! tensor without axes, which takes the dtype of what it meets.

mod index;
mod loss;
mod nn;
mod pointwise;
mod reduce;
mod shape;

use tch::{Device, Kind, Tensor};

use super::Problem;
use crate::engine::args::Args;
use crate::engine::program::bare;

/// A positional argument at work.
pub(super) enum Given {
    /// A plain number.
    Number(f64),
    /// A tensor.
    Tensor(Tensor),
    /// Several.
    List(Vec<Tensor>),
}

impl Given {
    /// The tensor; a number becomes one without axes.
    pub fn tensor(&self) -> Result<Tensor, Problem> {
        match self {
            Given::Tensor(tensor) => Ok(tensor.shallow_clone()),
            Given::Number(number) => scalar(*number, None),
            Given::List(_) => Err(Problem("one tensor is expected, not several".to_owned())),
        }
    }
}

/// What a family says of a function: its results, or `None` where the function is not of the family.
type Called = Result<Option<Vec<Tensor>>, Problem>;

/// Call a function.
pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Result<Vec<Tensor>, Problem> {
    let families = [pointwise::call, reduce::call, shape::call, index::call, nn::call, loss::call];
    // `F.unfold` slides a window over images, `x.unfold` along an axis: of such the space counts.
    let bare = if matches!(name, "F.unfold" | "F.fold") { name } else { bare(name) };
    for family in families {
        if let Some(results) = family(bare, given, args)? {
            return Ok(results);
        }
    }
    Err(Problem("libtorch's side does not know this function".to_owned()))
}

/// One result.
fn done(result: Result<Tensor, tch::TchError>) -> Called {
    Ok(Some(vec![result?]))
}

/// Two results.
fn both(results: Result<(Tensor, Tensor), tch::TchError>) -> Called {
    let (first, second) = results?;
    Ok(Some(vec![first, second]))
}

fn one(given: &[Given]) -> Result<&Tensor, Problem> {
    match given {
        [Given::Tensor(tensor)] => Ok(tensor),
        _ => Err(Problem("one tensor is expected".to_owned())),
    }
}

fn tensors<const N: usize>(given: &[Given]) -> Result<[&Tensor; N], Problem> {
    let all = given.iter().map(|one| if let Given::Tensor(tensor) = one { Some(tensor) } else { None });
    let all: Option<Vec<&Tensor>> = all.collect();
    let all = all.and_then(|all| <[&Tensor; N]>::try_from(all).ok());
    all.ok_or_else(|| Problem(format!("{N} tensors are expected")))
}

fn list(given: &[Given]) -> Result<&[Tensor], Problem> {
    match given {
        [Given::List(tensors)] => Ok(tensors),
        _ => Err(Problem("a list of tensors is expected".to_owned())),
    }
}

/// Tensors that follow the first ones, each of which may be left out.
fn optional(given: &[Given], at: usize) -> Result<Option<&Tensor>, Problem> {
    match given.get(at) {
        None => Ok(None),
        Some(Given::Tensor(tensor)) => Ok(Some(tensor)),
        Some(_) => Err(Problem("a tensor is expected".to_owned())),
    }
}

/// Two operands, of which one may be a plain number.
fn two(given: &[Given]) -> Result<[Tensor; 2], Problem> {
    match given {
        [Given::Tensor(a), Given::Tensor(b)] => Ok([a.shallow_clone(), b.shallow_clone()]),
        [Given::Tensor(a), Given::Number(b)] => Ok([a.shallow_clone(), scalar(*b, Some(a))?]),
        [Given::Number(a), Given::Tensor(b)] => Ok([scalar(*a, Some(b))?, b.shallow_clone()]),
        _ => Err(Problem("two operands are expected".to_owned())),
    }
}

/// A plain number as a tensor without axes. Beside floating-point numbers it is float64, which costs it nothing and gives
/// way to their dtype; a whole number beside others is an integer, as in Python.
fn scalar(number: f64, beside: Option<&Tensor>) -> Result<Tensor, Problem> {
    let floating = match beside {
        Some(other) => matches!(other.f_kind()?, Kind::Double | Kind::Float | Kind::Half | Kind::BFloat16),
        None => false,
    };
    let kind = match floating {
        true => Kind::Double,
        false if number.fract() == 0.0 => Kind::Int64,
        false => Kind::Float,
    };
    let no_axes: [i64; 0] = [];
    Ok(Tensor::f_full(no_axes, number, (kind, Device::Cpu))?)
}

/// The dtype of that name in torch.
pub(super) fn kind(name: &str) -> Result<Kind, Problem> {
    Ok(match name {
        "float64" | "double" => Kind::Double,
        "float32" | "float" => Kind::Float,
        "float16" | "half" => Kind::Half,
        "bfloat16" => Kind::BFloat16,
        "int64" | "long" => Kind::Int64,
        "int32" | "int" => Kind::Int,
        "int16" => Kind::Int16,
        "int8" => Kind::Int8,
        "uint8" => Kind::Uint8,
        "bool" | "bool_" => Kind::Bool,
        "complex64" => Kind::ComplexFloat,
        "complex128" => Kind::ComplexDouble,
        "float8_e4m3fn" => Kind::Float8e4m3fn,
        "float8_e5m2" => Kind::Float8e5m2,
        other => return Err(Problem(format!("tch has no dtype `{other}`"))),
    })
}

/// The dtype that a function is told, or this.
fn kind_or(args: &Args<'_>, otherwise: Kind) -> Result<Kind, Problem> {
    if args.has("dtype") { kind(args.text("dtype")?) } else { Ok(otherwise) }
}
