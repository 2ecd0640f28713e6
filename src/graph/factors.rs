//! What a factorisation makes of rounding, by the numbers that it takes.

use super::terms::MOST_TERMS;
use crate::compare::tolerance::Bound;
use t2m_checkpoint::TensorData;
use t2m_checkpoint::graph::Node;

/// The bound of factors Q and R of a matrix that is badly conditioned. What both engines compute are the exact factors of matrices that are a
/// few roundings from the given one (Householder's reflections are backward stable), and Q and R follow a change of the matrix by up
/// to its condition κ (G. W. Stewart, Perturbation bounds for the QR factorization, 1977): as if there were κ² times as many terms. κ is
/// taken from R's diagonal, which it is never below. `None` where the node is no such factorisation.
pub(super) fn conditioned(node: &Node, input: &TensorData, bound: Bound) -> Option<Bound> {
    if !["aten.linalg_qr.default", "aten.qr.default"].contains(&node.target.as_str()) {
        return None;
    }
    let (rows, columns) = (*input.shape.get(input.shape.len().checked_sub(2)?)?, *input.shape.last()?);
    let values = input.to_f64()?;
    let worst =
        values.chunks_exact((rows * columns).max(1)).map(|matrix| condition(matrix, rows, columns)).fold(1.0, f64::max);
    let more = |terms: usize| (terms as f64 * worst * worst).min(MOST_TERMS) as usize;
    Some(match bound {
        Bound::Norm(terms) => Bound::Norm(more(terms)),
        Bound::Contraction(terms) | Bound::Winograd(terms) | Bound::Stack(terms) => Bound::Contraction(more(terms)),
        Bound::Copy | Bound::Pointwise | Bound::Approximate => Bound::Contraction(more(rows)),
    })
}

/// The largest element of R's diagonal over the smallest, by Gram and Schmidt in float64: columns are made orthogonal to those before.
fn condition(matrix: &[f64], rows: usize, columns: usize) -> f64 {
    let mut left: Vec<Vec<f64>> =
        (0..columns).map(|at| matrix.iter().skip(at).step_by(columns).copied().collect()).collect();
    let mut diagonal = Vec::new();
    while diagonal.len() < rows.min(columns) {
        let mut column = left.remove(0);
        let length = column.iter().map(|value| value * value).sum::<f64>().sqrt();
        diagonal.push(length);
        if length > 0.0 {
            column.iter_mut().for_each(|value| *value /= length);
        }
        for other in &mut left {
            let along: f64 = column.iter().zip(other.iter()).map(|(one, other)| one * other).sum();
            other.iter_mut().zip(&column).for_each(|(value, own)| *value -= along * own);
        }
    }
    let largest = diagonal.iter().copied().fold(0.0, f64::max);
    let smallest = diagonal.iter().copied().fold(f64::INFINITY, f64::min);
    if smallest > 0.0 { (largest / smallest).min(MOST_TERMS) } else { MOST_TERMS }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn node(target: &str) -> Node {
        Node {
            target: target.to_owned(),
            arguments: Vec::new(),
            outputs: Vec::new(),
            module: "".into(),
            place: None,
            name: String::new(),
        }
    }

    #[test]
    fn the_condition_is_that_of_the_diagonal() {
        assert_eq!(condition(&[3.0, 0.0, 0.0, 0.5], 2, 2), 6.0);
        // The second column lies a thousandth off the first.
        let close = condition(&[1.0, 1.0, 0.0, 1e-3], 2, 2);
        assert!((close - 1e3).abs() < 1e-6, "{close}");
        assert_eq!(condition(&[1.0, 1.0, 1.0, 1.0], 2, 2), MOST_TERMS, "a matrix without full rank");
        assert_eq!(condition(&[1.0, 0.0, 5.0, 0.0, 2.0, 7.0], 2, 3), 2.0, "as many as there are rows");
    }

    #[test]
    fn terms_grow_with_its_square_and_for_factors_alone() {
        let matrix = TensorData::from_f32(&[2, 2, 2], &[1.0, 0.0, 0.0, 1.0, 3.0, 0.0, 0.0, 0.5]);
        let bound = |target: &str| conditioned(&node(target), &matrix, Bound::Contraction(5));
        assert_eq!(bound("aten.linalg_qr.default"), Some(Bound::Contraction(180)), "the worst of the matrices");
        assert_eq!(bound("aten.mm.default"), None);
    }
}
