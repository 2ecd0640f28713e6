//! The inputs of the registry's examples, as its files write them: `normal 3x5`, `ids(4) 2x3`, `int32 2x1 [-7, 7]`.

use std::collections::BTreeMap;

use crate::plan::Input;
use crate::plan::input::Values;
use t2m_checkpoint::{Dtype, TensorData};

/// The most elements of an example; more would be a typing error.
const MOST: usize = 1 << 20;

/// Inputs by name as a plan takes them, with the elements of explicit ones.
pub(super) fn inputs(texts: &BTreeMap<String, String>) -> Result<(Vec<Input>, Vec<Option<TensorData>>), String> {
    let parsed = texts.iter().map(|(name, text)| {
        input(text).ok_or_else(|| {
            format!("the input `{name}` is {text:?}, which is neither a kind and a shape nor a shape and its elements")
        })
    });
    Ok(parsed.collect::<Result<Vec<_>, _>>()?.into_iter().unzip())
}

fn input(text: &str) -> Option<(Input, Option<TensorData>)> {
    if let Some((head, elements)) = text.split_once('[') {
        let data = written(head.trim(), elements.strip_suffix(']')?)?;
        return Some((Input::new(data.shape.clone(), Values::Normal(1.0)), Some(data)));
    }
    let (kind, shape) = text.split_once(' ')?;
    Some((Input::new(self::shape(shape)?, values(kind)?), None))
}

fn values(kind: &str) -> Option<Values> {
    Some(match kind {
        "normal" => Values::Normal(1.0),
        "positive" => Values::Positive,
        "probabilities" => Values::Probabilities,
        "signs" => Values::Signs,
        "mask" => Values::Drops,
        _ => Values::Ids(kind.strip_prefix("ids(")?.strip_suffix(')')?.parse().ok()?),
    })
}

/// `3x5`; `()` for no axes
fn shape(text: &str) -> Option<Vec<usize>> {
    if text.trim() == "()" {
        return Some(Vec::new());
    }
    let sizes: Vec<usize> = text.trim().split('x').map(|size| size.parse().ok()).collect::<Option<_>>()?;
    let count = sizes.iter().try_fold(1usize, |count, size| count.checked_mul(*size))?;
    (count <= MOST).then_some(sizes)
}

/// Explicit elements, in float32 if no dtype is given.
fn written(head: &str, elements: &str) -> Option<TensorData> {
    let (dtype, shape) = match head.split_once(' ') {
        Some((dtype, shape)) => (Dtype::from_name(dtype)?, shape),
        None => (Dtype::Float32, head),
    };
    let shape = self::shape(shape)?;
    let elements: Vec<&str> = elements.split(',').map(str::trim).collect();
    if elements.len() != shape.iter().product::<usize>() {
        return None;
    }
    // Integers are exact to their last digit.
    let wide = if dtype.is_floating() {
        let numbers = elements.iter().map(|text| text.parse::<f64>().ok()).collect::<Option<Vec<f64>>>()?;
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        TensorData { dtype: Dtype::Float64, shape, bytes }
    } else {
        let numbers = elements.iter().map(|text| text.parse::<i64>().ok()).collect::<Option<Vec<i64>>>()?;
        TensorData::from_i64(&shape, &numbers)
    };
    wide.cast(dtype)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn inputs_are_read() {
        let (drawn, none) = input("ids(4) 2x3").unwrap();
        assert_eq!((drawn.shape, drawn.values, none), (vec![2, 3], Values::Ids(4), None));
        let (_, told) = input("int64 3x1 [9007199254740993, -1, 0]").unwrap();
        let told = told.unwrap();
        assert_eq!(told, TensorData::from_i64(&[3, 1], &[9_007_199_254_740_993, -1, 0]));
        let (_, told) = input("2 [nan, -inf]").unwrap();
        let numbers = told.unwrap().to_f32().unwrap();
        assert!(numbers[0].is_nan() && numbers[1] == f32::NEG_INFINITY);
    }

    #[test]
    fn what_is_no_input_is_refused() {
        for text in ["", "normal", "normal 3y5", "odd 3x5", "ids() 3", "2 [1.0]", "2 [1.0, 2.0", "int8 1 [x]"] {
            assert!(input(text).is_none(), "{text}");
        }
        assert!(input("normal 100000x100000").is_none());
    }
}
