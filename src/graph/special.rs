//! Numbers that are none: the node where the first NaN or the first infinity comes up has a verdict of its own.

use std::sync::Arc;

use super::events::{NodeResult, NodeVerdict};
use super::plan::TorchCall;
use super::run::{Lockstep, Values};
use crate::compare::Verdict;
use t2m_checkpoint::graph::{Argument, Node};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::graph::Outcome;

/// What a value has of numbers that are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Special {
    /// A NaN.
    pub nan: bool,
    /// An infinity.
    pub infinite: bool,
}

/// The bit of a float32 that is its sign.
const SIGN: u32 = 1 << 31;

impl Special {
    /// What is in a tensor.
    pub fn of(tensor: &TensorData) -> Special {
        match tensor.dtype {
            Dtype::Float32 => {
                let (all, _) = tensor.bytes.as_chunks::<4>();
                // Nearly all tensors have none: their bits without the sign are below those of infinity.
                let most = all.iter().fold(0, |most: u32, bytes| most.max(u32::from_le_bytes(*bytes) & !SIGN));
                if most < f32::INFINITY.to_bits() {
                    return Special::default();
                }
                Special::among(all.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))))
            }
            dtype if dtype.is_floating() => Special::among(tensor.to_f64().into_iter().flatten()),
            _ => Special::default(),
        }
    }

    /// Whether there are numbers, and none but NaN.
    pub fn is_all_nan(tensor: &TensorData) -> bool {
        tensor.dtype.is_floating()
            && !tensor.shape.contains(&0)
            && tensor.to_f64().is_some_and(|values| values.iter().all(|value| value.is_nan()))
    }

    fn among(values: impl Iterator<Item = f64>) -> Special {
        Special::any(values.map(|value| Special { nan: value.is_nan(), infinite: value.is_infinite() }))
    }

    /// What is in any result.
    pub fn of_results(outcomes: &[Outcome]) -> Special {
        let tensors = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Tensor { data: Some(data), .. } => Some(data),
            _ => None,
        });
        Special::any(tensors.map(Special::of))
    }

    /// What any of them has.
    pub fn any(all: impl Iterator<Item = Special>) -> Special {
        all.fold(Special::default(), Special::or)
    }

    /// What either has.
    fn or(self, other: Special) -> Special {
        Special { nan: self.nan || other.nan, infinite: self.infinite || other.infinite }
    }
}

/// Give a node its verdict where torch's results have what its inputs had not. A node that was found wrong stays so.
pub(super) fn mark(result: &mut NodeResult, node: &Node, had: Special, torch: &[Outcome], exact: &[Outcome]) {
    if !matches!(result.verdict, NodeVerdict::Compared(verdict) if verdict.passes()) {
        return;
    }
    let made = Special::of_results(torch);
    if made.nan && !had.nan {
        result.verdict = NodeVerdict::NotANumber;
        result.reason = Some("torch's result has a NaN where its inputs had none".to_owned());
    } else if made.infinite && !had.infinite && !had.nan && !node.arguments.iter().any(|(_, one)| is_infinite(one)) {
        let overflow = !Special::of_results(exact).infinite;
        let why = if overflow { ": it is finite in float64" } else { ", in float64 too" };
        result.verdict = NodeVerdict::Infinite { overflow };
        result.reason = Some(format!("torch's result has an infinity where its inputs had none{why}"));
    }
}

/// Where a value's NaN come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Nan {
    /// What had them first, in words.
    pub from: Arc<str>,
    /// Whether no node took it yet.
    pub is_new: bool,
}

impl Nan {
    /// Of a tensor that comes in.
    pub fn held(tensor: &TensorData, special: Special, what: &str) -> Option<Nan> {
        let values = tensor.to_f64().filter(|_| special.nan)?;
        let count = values.iter().filter(|value| value.is_nan()).count();
        let from = format!("{what}, where {count} of {} numbers are NaN", values.len());
        Some(Nan { from: from.into(), is_new: true })
    }
}

impl Lockstep<'_> {
    /// Note where NaN come from; where a node gives nothing else there is nothing to compare, which its verdict says.
    pub(super) fn trace_nan(
        &mut self,
        result: &mut NodeResult,
        node: &Node,
        torch: &TorchCall,
        values: &mut Values,
        outcomes: &[Outcome],
    ) {
        let mut from = None;
        for id in &torch.takes {
            let Some(nan) = values.get_mut(id).and_then(|live| live.nan.as_mut()) else { continue };
            if std::mem::replace(&mut nan.is_new, false) && result.reason.is_none() {
                result.reason = Some(format!("NaN comes in from {}", nan.from));
            }
            from.get_or_insert_with(|| Arc::clone(&nan.from));
        }
        let is_nan = |outcome: &Outcome| match outcome {
            Outcome::Tensor { data: Some(data), .. } => Special::of(data).nan && Special::is_all_nan(data),
            _ => false,
        };
        let passes = matches!(result.verdict, NodeVerdict::Compared(verdict) if verdict.passes());
        if passes && !outcomes.is_empty() && outcomes.iter().all(is_nan) {
            result.verdict = NodeVerdict::Compared(Verdict::NotRun);
            let source = from.as_ref().map_or(String::new(), |from| format!(": it comes from {from}"));
            result.reason = Some(format!("there is nothing but NaN to compare{source}"));
        }
        let own = || format!("node {}, `{}`", result.index, node.name).into();
        for id in node.outputs.iter().flatten() {
            if let Some(live) = values.get_mut(id).filter(|live| live.special.nan) {
                live.nan = Some(Nan { from: from.clone().unwrap_or_else(own), is_new: false });
            }
        }
    }
}

/// Whether a node is given an infinity as a number, such as what a mask is filled with.
fn is_infinite(argument: &Argument) -> bool {
    match argument {
        Argument::Infinite(number) => number.is_infinite(),
        Argument::List(items) => items.iter().any(is_infinite),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use t2m_engine::protocol::TensorHeader;

    fn outcome(values: &[f32]) -> Vec<Outcome> {
        let data = TensorData::from_f32(&[values.len()], values);
        vec![Outcome::Tensor { header: TensorHeader::of("", &data), place: None, data: Some(data) }]
    }

    fn marked(verdict: Verdict, arguments: Vec<Argument>, had: Special, torch: &[f32], exact: &[f32]) -> NodeVerdict {
        let node = Node {
            name: "log".to_owned(),
            target: "aten.log.default".to_owned(),
            arguments: arguments.into_iter().map(|argument| ("value".to_owned(), argument)).collect(),
            outputs: Vec::new(),
            module: "".into(),
            place: None,
        };
        let mut result = NodeResult::blank(&node, 0);
        result.verdict = NodeVerdict::Compared(verdict);
        mark(&mut result, &node, had, &outcome(torch), &outcome(exact));
        assert_eq!(result.reason.is_some(), !matches!(result.verdict, NodeVerdict::Compared(_)));
        result.verdict
    }

    #[test]
    fn the_first_of_each_is_told_and_what_was_given_is_not() {
        const INF: f32 = f32::INFINITY;
        let (ok, none) = (Verdict::Ok, Special::default());
        let had = |nan, infinite| Special { nan, infinite };
        let fine = NodeVerdict::Compared(ok);
        assert_eq!(marked(ok, vec![], none, &[1.0, f32::NAN], &[1.0, 1.0]), NodeVerdict::NotANumber);
        assert_eq!(marked(ok, vec![], had(true, false), &[f32::NAN, INF], &[1.0, 1.0]), fine);
        assert_eq!(marked(ok, vec![], none, &[INF], &[INF]), NodeVerdict::Infinite { overflow: false });
        assert_eq!(marked(ok, vec![], none, &[-INF], &[3e38]), NodeVerdict::Infinite { overflow: true });
        assert_eq!(marked(ok, vec![], had(false, true), &[INF], &[INF]), fine);
        assert_eq!(marked(ok, vec![Argument::Infinite(f64::NEG_INFINITY)], none, &[-INF], &[-INF]), fine);
        assert_eq!(marked(ok, vec![], none, &[1.0], &[1.0]), fine);
        let wrong = NodeVerdict::Compared(Verdict::Broken);
        assert_eq!(marked(Verdict::Broken, vec![], none, &[f32::NAN], &[1.0]), wrong, "a wrong node stays wrong");
        assert!(
            NodeVerdict::Infinite { overflow: true }.is_bad() && !NodeVerdict::Infinite { overflow: false }.is_bad()
        );
    }
}
