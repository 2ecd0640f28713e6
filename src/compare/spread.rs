//! What is said of a difference beside its largest element: how large it is relative to torch's values, and how large where it is
//! nearly largest. The floor of the former is the tolerance, which is known only after [`super::pass`].

use super::pass::{BLOCK, Numbers, raise};
use super::statistics::distance;
use t2m_checkpoint::{Dtype, TensorData};

/// How a difference is spread.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// Largest difference relative to |torch|, over the elements with |torch| above the floor.
    pub max_rel: f64,
    /// 99th percentile of the absolute difference (the smallest that 99 % of the elements do not exceed).
    pub p99_abs: f64,
}

/// Go once more through two results of the same length that differ somewhere.
///
/// # Errors
/// The type whose numbers are not read.
pub fn spread(torch: &TensorData, mlx: &TensorData, floor: f64) -> Result<Spread, Dtype> {
    let [torch, mlx] = [Numbers::of(torch)?, Numbers::of(mlx)?];
    let length = torch.len().min(mlx.len());
    if length == 0 {
        return Ok(Spread::default());
    }
    let rank = (length * 99).div_ceil(100) - 1;
    let mut largest = Largest::new(length - rank);
    let mut max_rel = 0.0;
    let mut blocks: [[f64; BLOCK]; 2] = [[0.0; BLOCK]; 2];
    for start in (0..length).step_by(BLOCK) {
        let count = BLOCK.min(length - start);
        let [a, b] = &mut blocks;
        let (a, b) = (&mut a[..count], &mut b[..count]);
        torch.read(start, a);
        mlx.read(start, b);
        apart(a, b);
        for (value, apart) in a.iter().zip(b.iter()) {
            let relative = if value.abs() > floor { apart / value.abs() } else { 0.0 };
            raise(&mut max_rel, relative);
        }
        largest.take(b);
    }
    Ok(Spread { max_rel, p99_abs: largest.smallest() })
}

/// Put each distance into the place of the second number. Without a NaN it is the plain one, which vector instructions have.
fn apart(reference: &[f64], output: &mut [f64]) {
    let plain = |a: f64, b: f64| (a - b).abs();
    if reference.iter().zip(output.iter()).fold(false, |any, (&a, &b)| any | plain(a, b).is_nan()) {
        reference.iter().zip(output).for_each(|(&a, b)| *b = distance(a, *b));
    } else {
        reference.iter().zip(output).for_each(|(&a, b)| *b = plain(a, *b));
    }
}

/// The largest of many numbers, as many as are wanted, of which none is NaN. It keeps twice as many at most.
struct Largest {
    wanted: usize,
    kept: Vec<f64>,
    /// So many are known to be as large.
    from: f64,
}

impl Largest {
    fn new(wanted: usize) -> Largest {
        Largest { wanted: wanted.max(1), kept: Vec::new(), from: -1.0 }
    }

    fn take(&mut self, values: &[f64]) {
        for &value in values {
            if value > self.from {
                self.kept.push(value);
                if self.kept.len() >= 2 * self.wanted {
                    self.cut();
                }
            }
        }
    }

    fn cut(&mut self) {
        if let Some(at) = self.wanted.checked_sub(1).filter(|at| *at < self.kept.len()) {
            self.from = *self.kept.select_nth_unstable_by(at, |a, b| b.total_cmp(a)).1;
            self.kept.truncate(self.wanted);
        }
    }

    /// The smallest of them.
    fn smallest(mut self) -> f64 {
        self.cut();
        self.from.max(0.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::compare::pass::tests::number;
    use crate::compare::statistics::difference;

    proptest! {
        #[test]
        fn a_spread_is_that_of_the_definition_to_the_bit(
            torch in proptest::collection::vec(number(), 0..2500),
            steps in 1u64..50,
            floor in prop_oneof![Just(0.0), Just(1e-3), Just(5.0)],
        ) {
            let turn = |at: usize| ((at as u64 * 2_654_435_761) >> 7) % steps;
            let mlx: Vec<f32> =
                torch.iter().enumerate().map(|(at, value)| if turn(at) == 0 { value * 1.5 } else { *value }).collect();
            let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
            let wanted = difference(&wide(&torch), &wide(&mlx), floor);
            let tensor = |values: &[f32]| TensorData::from_f32(&[values.len()], values);
            let found = spread(&tensor(&torch), &tensor(&mlx), floor).unwrap();
            prop_assert_eq!(found, Spread { max_rel: wanted.max_rel, p99_abs: wanted.p99_abs });
        }
    }

    #[test]
    fn the_largest_are_kept_in_whatever_order_they_come() {
        let smallest = |values: &[f64], wanted| {
            let mut largest = Largest::new(wanted);
            values.chunks(3).for_each(|chunk| largest.take(chunk));
            largest.smallest()
        };
        let rising: Vec<f64> = (0..1000).map(f64::from).collect();
        let falling: Vec<f64> = rising.iter().rev().copied().collect();
        assert_eq!((smallest(&rising, 10), smallest(&falling, 10)), (990.0, 990.0));
        assert_eq!(smallest(&[1.0, f64::INFINITY, 1.0], 1), f64::INFINITY);
        assert_eq!(smallest(&[0.0; 500], 5), 0.0);
    }
}
