//! MLX's functions by their Python names and arguments.
//!
//! mlx-rs's scalars are float32 arrays that promote half precision; Python's plain numbers take the dtype of what they meet, and
//! so do those here. What mlx-rs does not bind is reached through mlx-sys.

mod index;
mod other;
mod pointwise;
mod reduce;
mod shape;

use mlx_rs::{Array, Dtype};

use super::program::dtype;
use super::{Problem, float32, int32};
use crate::engine::args::Args;
use crate::engine::program::infinity;

/// A positional argument at work.
pub(super) enum Given {
    /// A plain number.
    Number(f64),
    /// An array.
    Array(Array),
    /// Several.
    List(Vec<Array>),
}

impl Given {
    /// The array; a number becomes a float32 one.
    pub fn array(self) -> Result<Array, Problem> {
        match self {
            Given::Array(array) => Ok(array),
            Given::Number(number) => Ok(Array::from_f32(float32(number))),
            Given::List(_) => Err(Problem("one array is expected, not several".to_owned())),
        }
    }
}
/// What a family says of a function: its results, or `None` where the function is not of the family.
type Called = Result<Option<Vec<Array>>, Problem>;

/// Call a function.
pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Result<Vec<Array>, Problem> {
    for family in [pointwise::call, reduce::call, shape::call, index::call, other::call] {
        if let Some(results) = family(name, given, args)? {
            return Ok(results);
        }
    }
    Err(Problem(format!("MLX's side does not know {name}")))
}

/// One result.
fn done(result: Array) -> Called {
    Ok(Some(vec![result]))
}

fn one(given: &[Given]) -> Result<&Array, Problem> {
    match given {
        [Given::Array(array)] => Ok(array),
        _ => Err(Problem("one array is expected".to_owned())),
    }
}

fn list(given: &[Given]) -> Result<&[Array], Problem> {
    match given {
        [Given::List(arrays)] => Ok(arrays),
        _ => Err(Problem("a list of arrays is expected".to_owned())),
    }
}

/// Two operands, of which one may be a plain number.
fn two(given: &[Given]) -> Result<[Array; 2], Problem> {
    match given {
        [Given::Array(a), Given::Array(b)] => Ok([a.clone(), b.clone()]),
        [Given::Array(a), Given::Number(b)] => Ok([a.clone(), weak(*b, a)?]),
        [Given::Number(a), Given::Array(b)] => Ok([weak(*a, b)?, b.clone()]),
        _ => Err(Problem("two operands are expected".to_owned())),
    }
}

/// A plain number in the dtype of the array that it meets.
fn weak(number: f64, other: &Array) -> Result<Array, Problem> {
    let scalar = Array::from_f32(float32(number));
    let dtype = other.dtype();
    // An infinity has a NaN for its fraction.
    let keeps = dtype.is_float() || (number.fract() == 0.0 && dtype != Dtype::Bool);
    Ok(if keeps { scalar.as_dtype(dtype)? } else { scalar })
}

fn axis(args: &Args<'_>, name: &str) -> Result<i32, Problem> {
    int32(args.integer(name)?, name)
}

fn integers(args: &Args<'_>, name: &str) -> Result<Vec<i32>, Problem> {
    args.list(name)?.into_iter().map(|number| int32(number, name)).collect()
}
/// An axis as an argument, or this where it is not told.
fn axis_or(args: &Args<'_>, otherwise: i32) -> Result<i32, Problem> {
    int32(args.integer_or("axis", i64::from(otherwise))?, "axis")
}
