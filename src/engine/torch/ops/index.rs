//! Slices, and what is taken from and put to places that tensors tell.

use serde_json::Value;
use tch::Tensor;

use super::{Called, Given, Problem, done, one, scalar, tensors};
use crate::engine::args::Args;

pub(super) fn call(name: &str, given: &[Given], args: &Args<'_>) -> Called {
    let dim = || args.integer("dim");
    match name {
        "slice" => done(Ok(slice(one(given)?, args)?)),
        "set_slice" => {
            let [x, values] = pair(given)?;
            let changed = x.f_alias_copy()?;
            let mut part = slice(&changed, args)?;
            part.f_copy_(&values)?;
            done(Ok(changed))
        }
        "index" => done(one(given)?.f_select(0, args.integer("at")?)),
        "getitem" => match given {
            [Given::Tensor(x), places @ ..] => {
                let places =
                    places.iter().map(|place| Ok(Some(place.tensor()?))).collect::<Result<Vec<_>, Problem>>()?;
                done(x.f_index(&places))
            }
            _ => Err(Problem("a tensor is expected".to_owned())),
        },
        "gather" => {
            let [x, index] = tensors(given)?;
            done(x.f_gather(dim()?, index, false))
        }
        "index_select" => {
            let [x, index] = tensors(given)?;
            done(x.f_index_select(dim()?, index))
        }
        "index_add" => {
            let [x, index, source] = tensors(given)?;
            done(x.f_index_add(dim()?, index, source))
        }
        "scatter" => {
            let [x, index, source] = tensors(given)?;
            done(x.f_scatter(dim()?, index, source))
        }
        "scatter_add" => {
            let [x, index, source] = tensors(given)?;
            done(x.f_scatter_add(dim()?, index, source))
        }
        "index_put" => match given {
            [Given::Tensor(x), Given::List(places), Given::Tensor(values)] => {
                let places: Vec<Option<Tensor>> = places.iter().map(|place| Some(place.shallow_clone())).collect();
                done(x.f_index_put(&places, values, args.flag_or("accumulate", false)?))
            }
            _ => Err(Problem("a tensor, places and values are expected".to_owned())),
        },
        "masked_fill" => match given {
            [Given::Tensor(x), Given::Tensor(mask), Given::Number(value)] => done(x.f_masked_fill(mask, *value)),
            [Given::Tensor(x), Given::Tensor(mask), Given::Tensor(value)] => done(x.f_masked_fill_tensor(mask, value)),
            _ => Err(Problem("a tensor, a mask and a value are expected".to_owned())),
        },
        "where" => match given {
            [Given::Tensor(condition), a, b] => {
                let beside =
                    |given: &Given| if let Given::Tensor(tensor) = given { Some(tensor.shallow_clone()) } else { None };
                let (left, right) = (beside(a), beside(b));
                let side = |given: &Given, other: &Option<Tensor>| match given {
                    Given::Number(number) => scalar(*number, other.as_ref()),
                    other => other.tensor(),
                };
                done(side(a, &right)?.f_where_self(condition, &side(b, &left)?))
            }
            _ => Err(Problem("a condition and two operands are expected".to_owned())),
        },
        _ => Ok(None),
    }
}

fn pair(given: &[Given]) -> Result<[Tensor; 2], Problem> {
    match given {
        [Given::Tensor(x), values] => Ok([x.shallow_clone(), values.tensor()?]),
        _ => Err(Problem("a tensor and values are expected".to_owned())),
    }
}

/// `x[:, 1:3]`
fn slice(x: &Tensor, args: &Args<'_>) -> Result<Tensor, Problem> {
    let list = |name: &str| Ok::<_, Problem>(args.get(name)?.as_array().cloned().unwrap_or_default());
    let (starts, stops, strides) = (list("starts")?, list("stops")?, list("strides")?);
    let mut cut = x.shallow_clone();
    for axis in 0..starts.len() {
        let number = |list: &[Value]| list.get(axis).and_then(Value::as_i64);
        cut = cut.f_slice(axis as i64, number(&starts), number(&stops), number(&strides).unwrap_or(1))?;
    }
    Ok(cut)
}
