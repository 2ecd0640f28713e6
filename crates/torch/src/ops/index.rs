//! Slices, and reading and writing at places that tensors give.

use serde_json::Value;
use tch::Tensor;

use super::{Given, Problem, Result, scalar};
use t2m_engine::args::Args;

/// `x[:, 1:3] = values`
pub(super) fn set_slice(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let [x, values] = pair(given)?;
    let changed = x.f_alias_copy()?;
    let mut part = slice(&changed, args)?;
    part.f_copy_(&values)?;
    Ok(changed)
}

/// `x[indices]`
pub(super) fn getitem(given: &[Given]) -> Result<Tensor> {
    let [Given::Tensor(x), places @ ..] = given else { return Err(Problem("a tensor is expected".to_owned())) };
    let places = places.iter().map(|place| Ok(Some(place.tensor()?))).collect::<Result<Vec<_>>>()?;
    Ok(x.f_index(&places)?)
}

pub(super) fn index_put(given: &[Given], args: &Args<'_>) -> Result<Tensor> {
    let [Given::Tensor(x), Given::List(places), Given::Tensor(values)] = given else {
        return Err(Problem("a tensor, places and values are expected".to_owned()));
    };
    let places: Vec<Option<Tensor>> = places.iter().map(|place| Some(place.shallow_clone())).collect();
    Ok(x.f_index_put(&places, values, args.flag_or("accumulate", false)?)?)
}

pub(super) fn masked_fill(given: &[Given]) -> Result<Tensor> {
    Ok(match given {
        [Given::Tensor(x), Given::Tensor(mask), Given::Number(value)] => x.f_masked_fill(mask, *value)?,
        [Given::Tensor(x), Given::Tensor(mask), Given::Tensor(value)] => x.f_masked_fill_tensor(mask, value)?,
        _ => return Err(Problem("a tensor, a mask and a value are expected".to_owned())),
    })
}

/// `torch.where`
pub(super) fn either(given: &[Given]) -> Result<Tensor> {
    let [Given::Tensor(condition), a, b] = given else {
        return Err(Problem("a condition and two operands are expected".to_owned()));
    };
    let beside = |given: &Given| if let Given::Tensor(tensor) = given { Some(tensor.shallow_clone()) } else { None };
    let (left, right) = (beside(a), beside(b));
    let side = |given: &Given, other: &Option<Tensor>| match given {
        Given::Number(number) => scalar(*number, other.as_ref()),
        other => other.tensor(),
    };
    Ok(side(a, &right)?.f_where_self(condition, &side(b, &left)?)?)
}

fn pair(given: &[Given]) -> Result<[Tensor; 2]> {
    match given {
        [Given::Tensor(x), values] => Ok([x.shallow_clone(), values.tensor()?]),
        _ => Err(Problem("a tensor and values are expected".to_owned())),
    }
}

/// `x[:, 1:3]`
pub(super) fn slice(x: &Tensor, args: &Args<'_>) -> Result<Tensor> {
    let list = |name: &str| Ok::<_, Problem>(args.get(name)?.as_array().cloned().unwrap_or_default());
    let (starts, stops, strides) = (list("starts")?, list("stops")?, list("strides")?);
    let mut cut = x.shallow_clone();
    for axis in 0..starts.len() {
        let number = |list: &[Value]| list.get(axis).and_then(Value::as_i64);
        cut = cut.f_slice(axis as i64, number(&starts), number(&stops), number(&strides).unwrap_or(1))?;
    }
    Ok(cut)
}
