//! Whole numbers and truth values that differ because what they were made of differs by rounding: places of the largest, the
//! order of a sort, what a comparison told, a number rounded up or down.
//!
//! They are told as such, with how far apart the values are between which was picked; MLX goes on with torch's.

use super::events::{NodeResult, NodeVerdict, Stop};
use super::run::{Lockstep, Values};
use crate::compare::Verdict;
use crate::compare::tolerance::{self, Bound};
use t2m_checkpoint::graph::{Argument, Node};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::graph::Outcome;

/// What both sides gave at a node.
pub(super) struct Sides<'a> {
    /// Torch, in float32.
    pub torch: &'a [Outcome],
    /// MLX, on torch's values.
    pub alone: &'a Option<Result<Vec<Outcome>, String>>,
    /// MLX, on its own.
    pub own: &'a Option<Result<Vec<Outcome>, String>>,
    /// What rounding does at the node.
    pub bound: Bound,
}

/// Ops that give places along an axis of their first argument, and which result the places are.
const PICKS: [(&str, usize); 15] = [
    ("aten.argmax.default", 0),
    ("aten.argmin.default", 0),
    ("aten.argsort.default", 0),
    ("aten.argsort.stable", 0),
    ("aten.max.dim", 1),
    ("aten.min.dim", 1),
    ("aten.sort.default", 1),
    ("aten.sort.stable", 1),
    ("aten.topk.default", 1),
    ("aten.median.dim", 1),
    ("aten.nanmedian.dim", 1),
    ("aten.kthvalue.default", 1),
    ("aten.cummax.default", 1),
    ("aten.cummin.default", 1),
    ("aten.mode.default", 1),
];
/// Ops whose result jumps where what they take does not, although it has fractions.
const STEPS: [&str; 12] = [
    "aten.floor.default",
    "aten.ceil.default",
    "aten.trunc.default",
    "aten.fix.default",
    "aten.round.default",
    "aten.sign.default",
    "aten.frac.default",
    "aten.remainder.Tensor",
    "aten.remainder.Scalar",
    "aten.fmod.Tensor",
    "aten.fmod.Scalar",
    "aten.heaviside.default",
];

impl Lockstep<'_> {
    /// Where a difference is no more than rounding that tipped a choice, say so; and note for each result of the node whether
    /// rounding explains how far apart the engines are.
    pub(super) fn by_rounding(
        &mut self,
        result: &mut NodeResult,
        node: &Node,
        values: &mut Values,
        sides: &Sides<'_>,
    ) -> Result<(), Stop> {
        let alone_is_bad = matches!(result.verdict, NodeVerdict::Compared(verdict) if verdict.is_bad());
        if alone_is_bad && let Some(gap) = self.gap(node, values, sides.torch, sides.alone)? {
            // The same values: a choice between equal ones.
            if gap == 0.0 {
                result.verdict = NodeVerdict::Compared(Verdict::Ok);
                result.reason = Some("by rounding: the places differ, the values there are equal".to_owned());
                if let Some(isolated) = &mut result.isolated {
                    isolated.verdict = Verdict::Ok;
                }
            }
        }
        if matches!(result.verdict, NodeVerdict::Compared(Verdict::Drift))
            && self.cancels(result, node, values, sides.bound)?
        {
            result.verdict = NodeVerdict::Compared(Verdict::Ok);
        }
        let alone_is_good = matches!(result.verdict, NodeVerdict::Compared(verdict) if verdict.passes());
        let takes = node.arguments.iter().flat_map(|(_, argument)| argument.values());
        let mut given = takes.filter_map(|id| values.get(&id));
        let given_agree = given.all(|live| live.agrees);
        let together_is_bad = result.accumulated.as_ref().is_some_and(|measured| measured.verdict.is_bad());
        if !together_is_bad {
            return Ok(());
        }
        if alone_is_good && given_agree && (only_whole(sides) || STEPS.contains(&node.target.as_str())) {
            let gap = self.gap(node, values, sides.torch, sides.own)?;
            let words = match gap {
                Some(gap) => format!("by rounding: other places, whose values in torch are at most {gap:.1e} apart"),
                None => "by rounding: what it takes agrees, and lies where the result jumps".to_owned(),
            };
            result.reason = Some(words);
            if let Some(together) = &mut result.accumulated {
                together.verdict = Verdict::Ok;
            }
            for live in node.outputs.iter().flatten().copied().collect::<Vec<_>>() {
                if let Some(live) = values.get_mut(&live) {
                    self.mlx_drops.push(live.keys.own);
                    live.keys.own = live.keys.copy;
                }
            }
            return Ok(());
        }
        for id in node.outputs.iter().flatten() {
            if let Some(live) = values.get_mut(id) {
                live.agrees = false;
            }
        }
        Ok(())
    }

    /// Whether a drift is what is left of terms that cancel. A sum to a single number shows no scale but its own, and is as exact
    /// as its terms: one rounding of the largest number that the node takes is allowed as well.
    fn cancels(&mut self, result: &mut NodeResult, node: &Node, values: &Values, bound: Bound) -> Result<bool, Stop> {
        let (Bound::Contraction(_) | Bound::Norm(_), Some(isolated)) = (bound, &mut result.isolated) else {
            return Ok(false);
        };
        if !isolated.worst_index.is_empty() {
            return Ok(false);
        }
        let mut largest: f64 = 0.0;
        for id in node.arguments.iter().flat_map(|(_, argument)| argument.values()) {
            let Some(key) = values.get(&id).filter(|live| live.is_float()).map(|live| live.keys.torch) else {
                continue;
            };
            largest = largest.max(self.fetch(key)?.to_f64().map_or(0.0, |numbers| tolerance::scale(&numbers)));
        }
        let more = tolerance::epsilon(Dtype::Float32) * largest;
        if isolated.max_abs > isolated.tolerance + more {
            return Ok(false);
        }
        for measured in [Some(isolated), result.accumulated.as_mut()].into_iter().flatten() {
            measured.tolerance += more;
            if measured.verdict == Verdict::Drift && measured.max_abs <= measured.tolerance {
                measured.verdict = Verdict::Ok;
            }
        }
        Ok(true)
    }

    /// How far apart torch's values are at the places that the two sides picked; `None` where the node picks none.
    fn gap(
        &mut self,
        node: &Node,
        values: &Values,
        torch: &[Outcome],
        mlx: &Option<Result<Vec<Outcome>, String>>,
    ) -> Result<Option<f64>, Stop> {
        let Some((_, at)) = PICKS.iter().find(|(target, _)| *target == node.target) else { return Ok(None) };
        let data = |outcomes: &[Outcome]| match outcomes.get(*at) {
            Some(Outcome::Tensor { data: Some(data), .. }) => Some(data.clone()),
            _ => None,
        };
        let (Some(torch), Some(Some(mlx))) =
            (data(torch), mlx.as_ref().and_then(|mlx| mlx.as_ref().ok()).map(|all| data(all)))
        else {
            return Ok(None);
        };
        let from = node.arguments.first().and_then(|(_, argument)| argument.values().first().copied());
        let Some(live) = from.and_then(|id| values.get(&id)) else { return Ok(None) };
        let from = self.fetch(live.keys.torch)?;
        let axis = match node.argument("dim") {
            Some(Argument::Plain(value)) => value.as_i64(),
            // An argmax without an axis picks from all; the others from the last, the median and its kind are always told.
            _ if node.target.contains(".arg") && !node.target.contains("sort") => None,
            _ => Some(-1),
        };
        Ok(apart(&from, &torch, &mlx, axis))
    }
}

/// Whether what differs are whole numbers or truth values: there are some among the results, and all others are near.
fn only_whole(sides: &Sides<'_>) -> bool {
    let Some(Ok(own)) = sides.own else { return false };
    let is_whole =
        |result: &Outcome| matches!(result, Outcome::Tensor { data: Some(data), .. } if !data.dtype.is_floating());
    let fits = |(torch, mlx): (&Outcome, &Outcome)| match (torch, mlx) {
        (Outcome::Tensor { data: Some(reference), .. }, Outcome::Tensor { data: Some(mlx), .. }) => {
            is_whole(torch) || near(reference, mlx)
        }
        _ => true,
    };
    sides.torch.iter().any(is_whole) && sides.torch.iter().zip(own).all(fits)
}

/// Whether two tensors are the same but for rounding: a thousandth of the largest, beside which a wrong choice is coarse.
fn near(a: &TensorData, b: &TensorData) -> bool {
    let (Some(a), Some(b)) = (a.to_f64(), b.to_f64()) else { return false };
    let scale = a.iter().filter(|value| value.is_finite()).fold(0.0, |most: f64, value| most.max(value.abs()));
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || (a - b).abs() <= 1e-3 * scale)
}

/// The largest difference of a tensor's values at two lists of places along an axis, or among all.
fn apart(from: &TensorData, first: &TensorData, second: &TensorData, axis: Option<i64>) -> Option<f64> {
    let (numbers, first_places, second_places) = (from.to_f64()?, first.to_f64()?, second.to_f64()?);
    let (inner, length) = match axis {
        None => (1, numbers.len()),
        Some(axis) => {
            let axis = usize::try_from(if axis < 0 { axis + from.shape.len() as i64 } else { axis }).ok()?;
            match from.shape.get(axis) {
                Some(length) => (from.shape.get(axis + 1..)?.iter().product::<usize>(), *length),
                None => (1, 1),
            }
        }
    };
    if inner == 0 || length == 0 || first_places.len() != second_places.len() {
        return None;
    }
    // How many places there are along the axis for one row of the tensor.
    let rows = numbers.len() / (inner * length);
    let each = first_places.len() / (inner * rows.max(1)).max(1);
    let value = |at: usize, place: f64| {
        let (row, column) = (at / (inner * each.max(1)), at % inner);
        numbers.get((row * length + place as usize) * inner + column).copied()
    };
    let mut gap: f64 = 0.0;
    for (at, (a, b)) in first_places.iter().zip(&second_places).enumerate() {
        let (a, b) = (value(at, *a)?, value(at, *b)?);
        if a != b && !(a.is_nan() && b.is_nan()) {
            gap = gap.max((a - b).abs());
        }
    }
    Some(gap)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn places(shape: &[usize], all: &[i64]) -> TensorData {
        let bytes = all.iter().flat_map(|place| place.to_le_bytes()).collect();
        TensorData { dtype: Dtype::Int64, shape: shape.to_vec(), bytes }
    }

    #[test]
    fn the_gap_is_between_the_values_picked() {
        let from = TensorData::from_f32(&[2, 3], &[1.0, 5.0, 5.25, 7.0, 2.0, 7.0]);
        let gap =
            |shape: &[usize], a: &[i64], b: &[i64], axis| apart(&from, &places(shape, a), &places(shape, b), axis);
        assert_eq!(gap(&[2], &[2, 0], &[1, 2], Some(1)), Some(0.25));
        assert_eq!(gap(&[2, 1], &[2, 0], &[2, 2], Some(-1)), Some(0.0));
        assert_eq!(gap(&[3], &[0, 0, 0], &[1, 0, 0], Some(0)), Some(6.0));
        assert_eq!(gap(&[2, 3], &[0, 1, 2, 1, 0, 2], &[0, 2, 1, 1, 2, 0], Some(1)), Some(0.25));
        assert_eq!(gap(&[], &[3], &[5], None), Some(0.0));
        assert_eq!(gap(&[], &[3], &[1], None), Some(2.0));
        assert_eq!(gap(&[1], &[9], &[1], None), None);
    }
}
