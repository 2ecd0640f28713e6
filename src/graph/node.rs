//! A node's results, held against each other: the worst of them makes its verdict.

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
}

/// Compare each result of a node and keep the worst; returns what each result's tolerance leaves to what takes it.
pub(super) fn judge_node(
    result: &mut NodeResult,
    Allowed { bound, inherited, again }: Allowed<'_>,
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
    let data = |outcomes: &[Outcome], at: usize| match outcomes.get(at) {
        Some(Outcome::Tensor { data: Some(data), .. }) => Some(plain_parts(data.clone())),
        Some(Outcome::Number(number)) => numbered(number),
        _ => None,
    };
    for at in 0..torch.len() {
        let Some(reference) = data(torch, at) else { continue };
        let arbiter = match alone {
            Some(Ok(outcomes)) => data(outcomes, at),
            _ => None,
        };
        let known = again.zip(arbiter.as_ref()).map_or(0.0, |(again, exact)| again.off(at, exact));
        if let Some(Ok(outcomes)) = mlx_alone
            && let Some(mlx) = data(outcomes, at)
        {
            let exact = arbiter.as_ref().unwrap_or(&reference);
            match judge::compare(Three { torch: &reference, exact, mlx: &mlx }, bound, View::Isolated, known) {
                Ok(measured) => {
                    let verdict = measured.verdict;
                    if result.isolated.as_ref().is_none_or(|before| worse(&measured, before)) {
                        result.isolated = Some(measured);
                    }
                    note(verdict, None, result);
                }
                Err(words) => note(Verdict::Broken, Some(words), result),
            }
        }
        if let Some(Ok(outcomes)) = own
            && let Some(mlx) = data(outcomes, at)
        {
            let exact = data(exact, at).unwrap_or_else(|| reference.clone());
            if let Ok(measured) = judge::compare(
                Three { torch: &reference, exact: &exact, mlx: &mlx },
                bound,
                View::Accumulated(inherited),
                known,
            ) {
                if let Some(left) = left.get_mut(at) {
                    *left = Inherited::of(measured.tolerance, measured.scale);
                }
                if result.accumulated.as_ref().is_none_or(|before| worse(&measured, before)) {
                    result.accumulated = Some(measured);
                }
            }
        }
    }
    left
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
