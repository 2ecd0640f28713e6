//! A node's results, held against each other: the worst of them makes its verdict.

use std::borrow::Cow;

use super::events::{NodeResult, NodeVerdict};
use super::judge::{self, Inherited, Measured, Three, View};
use super::rounding::Again;
use crate::compare::Verdict;
use crate::compare::tolerance::Bound;
use serde_json::Value as Json;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::graph::Outcome;

/// What a node's results may be apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed<'a> {
    /// By its own rounding.
    pub bound: Bound,
    /// By what it takes.
    pub inherited: Inherited,
    /// By MLX's own algorithm, where it was computed again.
    pub again: Option<&'a Again>,
    /// By what float64 makes of MLX's values, for each result, where that was computed.
    pub carried: &'a [f64],
}

/// Compare each result of a node and keep the worst; returns what each result's tolerance leaves to what takes it.
pub(super) fn judge_node(
    result: &mut NodeResult,
    Allowed { bound, inherited, again, carried }: Allowed<'_>,
    torch: &[Outcome],
    exact: &[Outcome],
    alone: Option<&Result<Vec<Outcome>, String>>,
    mlx_alone: Option<&Result<Vec<Outcome>, String>>,
    own: Option<&Result<Vec<Outcome>, String>>,
) -> Vec<Inherited> {
    let mut left = vec![Inherited::default(); torch.len()];
    let mut worst: Option<Verdict> = None;
    let mut note = |verdict: Verdict, reason: Option<String>, result: &mut NodeResult| {
        if worst.is_none_or(|worst| verdict > worst) {
            worst = Some(verdict);
            result.verdict = NodeVerdict::Compared(verdict);
            if reason.is_some() {
                result.reason = reason;
            }
        }
    };
    if let Some(Err(words)) = mlx_alone {
        note(Verdict::Failed, Some(format!("mlx: {words}")), result);
        return left;
    }
    for at in 0..torch.len() {
        let Some(reference) = data(torch, at) else { continue };
        let arbiter = match alone {
            Some(Ok(outcomes)) => data(outcomes, at),
            _ => None,
        };
        let mlx_alone = mlx_alone.and_then(|ran| ran.as_ref().ok()).and_then(|outcomes| data(outcomes, at));
        let alone = mlx_alone.as_ref().map(|mlx| {
            let exact = arbiter.as_ref().unwrap_or(&reference);
            Three { torch: &reference, exact, mlx }
        });
        let mlx_own = own.and_then(|ran| ran.as_ref().ok()).and_then(|outcomes| data(outcomes, at));
        let exact = data(exact, at).unwrap_or_else(|| reference.clone());
        let together = mlx_own.as_ref().map(|mlx| Three { torch: &reference, exact: &exact, mlx });
        let known = match (again, alone) {
            (Some(again), Some(three)) => explained(again, at, three, bound),
            _ => 0.0,
        };
        let (alone, together) = at_once(
            reference.bytes.len() >= LARGE,
            || alone.map(|three| judge::compare(three, bound, View::Isolated, known)),
            || {
                let known = known + carried.get(at).copied().unwrap_or(0.0);
                together.map(|three| judge::compare(three, bound, View::Accumulated(inherited), known))
            },
        );
        match alone {
            Some(Ok(measured)) => {
                let verdict = measured.verdict;
                if result.isolated.as_ref().is_none_or(|before| worse(&measured, before)) {
                    result.isolated = Some(measured);
                }
                note(verdict, None, result);
            }
            Some(Err(words)) => note(Verdict::Broken, Some(words), result),
            None => {}
        }
        if let Some(Ok(measured)) = together {
            if let Some(left) = left.get_mut(at) {
                *left = Inherited::of(measured.tolerance, measured.scale);
            }
            if result.accumulated.as_ref().is_none_or(|before| worse(&measured, before)) {
                result.accumulated = Some(measured);
            }
        }
    }
    left
}

/// Bytes of a result from which on its two comparisons are worth a thread.
const LARGE: usize = 1 << 18;

/// Two answers, at the same time where that is worth it.
fn at_once<A, B: Send>(large: bool, one: impl FnOnce() -> A, other: impl FnOnce() -> B + Send) -> (A, B) {
    if !large {
        return (one(), other());
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        let one = one();
        match other.join() {
            Ok(other) => (one, other),
            // As it would have gone on without a thread.
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// How far off MLX's algorithm is by its own rounding, if what MLX gave is what its algorithm gives: to within the rule's tolerance.
fn explained(again: &Again, at: usize, three: Three<'_>, bound: Bound) -> f64 {
    match judge::compare(three, bound, View::Isolated, 0.0) {
        Ok(measured) if again.off(at, three.mlx) <= measured.tolerance => again.off(at, three.exact),
        _ => 0.0,
    }
}

/// A result that is compared.
fn data(outcomes: &[Outcome], at: usize) -> Option<Cow<'_, TensorData>> {
    match outcomes.get(at) {
        Some(Outcome::Tensor { data: Some(data), .. }) => Some(match data.dtype {
            Dtype::Complex64 | Dtype::Complex128 => Cow::Owned(plain_parts(data.clone())),
            _ => Cow::Borrowed(data),
        }),
        Some(Outcome::Number(number)) => numbered(number).map(Cow::Owned),
        _ => None,
    }
}

fn worse(a: &Measured, b: &Measured) -> bool {
    let excess =
        |measured: &Measured| if measured.max_abs == 0.0 { 0.0 } else { measured.max_abs / measured.tolerance };
    (a.verdict, excess(a)) > (b.verdict, excess(b))
}

/// Complex numbers as two each, the real and the imaginary part, which are compared like others.
pub(super) fn plain_parts(data: TensorData) -> TensorData {
    let dtype = match data.dtype {
        Dtype::Complex64 => Dtype::Float32,
        Dtype::Complex128 => Dtype::Float64,
        _ => return data,
    };
    let shape = data.shape.iter().copied().chain([2]).collect();
    TensorData { dtype, shape, bytes: data.bytes }
}

/// A number as a tensor without axes.
fn numbered(number: &Json) -> Option<TensorData> {
    let (dtype, bytes) = match number {
        Json::Bool(is_so) => (Dtype::Bool, vec![u8::from(*is_so)]),
        number => match number.as_i64() {
            Some(whole) => (Dtype::Int64, whole.to_le_bytes().to_vec()),
            None => (Dtype::Float32, (number.as_f64()? as f32).to_le_bytes().to_vec()),
        },
    };
    Some(TensorData { dtype, shape: Vec::new(), bytes })
}
