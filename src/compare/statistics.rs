//! Statistics of the difference between two outputs of the same shape.

/// How far two outputs are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Largest absolute difference; infinite where exactly one side is NaN, or infinities differ.
    pub max_abs: f64,
    /// Mean absolute difference.
    pub mean_abs: f64,
    /// Largest difference relative to |reference|, over the elements whose reference is above the given floor.
    pub max_rel: f64,
    /// 99th percentile of the absolute difference (the smallest that 99 % of the elements do not exceed).
    pub p99_abs: f64,
    /// Cosine of the two outputs as vectors; 1 where both are zero.
    pub cosine: f64,
    /// Flat index of the largest difference.
    pub worst: usize,
}

/// Compare an output with its reference, element by element. Both have the same length; `floor` keeps the relative
/// difference from dividing by rounding errors.
pub fn difference(reference: &[f64], output: &[f64], floor: f64) -> Difference {
    let mut apart: Vec<f64> = reference.iter().zip(output).map(|(&a, &b)| distance(a, b)).collect();
    let mut result = Difference { max_abs: 0.0, mean_abs: 0.0, max_rel: 0.0, p99_abs: 0.0, cosine: 1.0, worst: 0 };
    if apart.is_empty() {
        return result;
    }
    let (mut dot, mut norm_a, mut norm_b) = (0.0, 0.0, 0.0);
    for (index, (&a, &b)) in reference.iter().zip(output).enumerate() {
        if apart[index] > result.max_abs {
            (result.max_abs, result.worst) = (apart[index], index);
        }
        if a.abs() > floor {
            result.max_rel = result.max_rel.max(apart[index] / a.abs());
        }
        if a.is_finite() && b.is_finite() {
            dot += a * b;
            norm_a += a * a;
            norm_b += b * b;
        }
    }
    result.mean_abs = apart.iter().sum::<f64>() / apart.len() as f64;
    let rank = (apart.len() * 99).div_ceil(100) - 1;
    result.p99_abs = *apart.select_nth_unstable_by(rank, f64::total_cmp).1;
    if norm_a != norm_b || norm_a != 0.0 {
        result.cosine =
            if norm_a * norm_b == 0.0 { 0.0 } else { (dot / (norm_a.sqrt() * norm_b.sqrt())).clamp(-1.0, 1.0) };
    }
    result
}

/// Absolute difference; equal infinities and a NaN on both sides agree.
pub(super) fn distance(a: f64, b: f64) -> f64 {
    if a == b || (a.is_nan() && b.is_nan()) {
        return 0.0;
    }
    let distance = (a - b).abs();
    if distance.is_nan() { f64::INFINITY } else { distance }
}

/// The position along each axis of a flat row-major index.
pub fn unravel(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut position = vec![0; shape.len()];
    for (axis, &length) in shape.iter().enumerate().rev() {
        let length = length.max(1);
        position[axis] = flat % length;
        flat /= length;
    }
    position
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_those_of_the_definition() {
        let result = difference(&[1.0, -2.0, 0.0, 4.0], &[1.0, -2.5, 1e-9, 4.0], 1e-6);
        assert_eq!((result.max_abs, result.worst), (0.5, 1));
        assert_eq!(result.max_rel, 0.25);
        assert!((result.mean_abs - (0.5 + 1e-9) / 4.0).abs() < 1e-15);
        assert_eq!(result.p99_abs, 0.5);
        let expected = (1.0 + 5.0 + 16.0) / (21f64.sqrt() * (1.0 + 6.25 + 16.0f64).sqrt());
        assert!((result.cosine - expected).abs() < 1e-12);
    }

    #[test]
    fn special_values_agree_only_with_themselves() {
        let of = |a: f64, b: f64| difference(&[a], &[b], 0.0).max_abs;
        assert_eq!(of(f64::NAN, f64::NAN), 0.0);
        assert_eq!(of(f64::INFINITY, f64::INFINITY), 0.0);
        assert_eq!(of(-0.0, 0.0), 0.0);
        assert_eq!(of(f64::NAN, 1.0), f64::INFINITY);
        assert_eq!(of(1.0, f64::NAN), f64::INFINITY);
        assert_eq!(of(f64::INFINITY, f64::NEG_INFINITY), f64::INFINITY);
    }

    #[test]
    fn empty_and_zero_outputs_are_equal() {
        assert_eq!(difference(&[], &[], 0.0).max_abs, 0.0);
        assert_eq!(difference(&[0.0; 3], &[0.0; 3], 0.0).cosine, 1.0);
        assert_eq!(difference(&[0.0; 3], &[1.0; 3], 0.0).cosine, 0.0);
    }

    #[test]
    fn flat_indices_become_positions() {
        assert_eq!(unravel(23, &[2, 3, 4]), [1, 2, 3]);
        assert_eq!(unravel(0, &[]), Vec::<usize>::new());
    }

    proptest! {
        #[test]
        fn statistics_are_ordered(pairs in proptest::collection::vec((-10f64..10.0, -10f64..10.0), 1..200)) {
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let result = difference(&a, &b, 1e-3);
            prop_assert!(result.mean_abs <= result.max_abs * (1.0 + 1e-12));
            prop_assert!(result.p99_abs <= result.max_abs);
            prop_assert_eq!(result.max_abs, (a[result.worst] - b[result.worst]).abs());
            prop_assert!((-1.0..=1.0).contains(&result.cosine));
        }
    }
}
