//! A fast permutation of a contiguous tensor's axes. Axes that stay neighbours count as one; nearly every layout then
//! transposes many matrices, which is done in blocks that fit the cache.

use std::array;
use std::ops::Range;

/// Rows and columns of a block.
const BLOCK: usize = 32;
/// Rows that are read in parallel, one element of each in turn.
const LINES: usize = 8;

/// Write the elements into `moved` in the order that `axes` gives; `None` if the shape does not fit, or the order is
/// not a transposition of matrices.
pub(super) fn transpose<T: Copy>(elements: &[T], moved: &mut [T], shape: &[usize], axes: &[usize]) -> Option<()> {
    let (shape, axes) = merged(shape, axes);
    let (count, rows, columns) = match (axes.as_slice(), shape.as_slice()) {
        ([1, 0], [rows, columns]) => (1, *rows, *columns),
        ([0, 2, 1], [count, rows, columns]) => (*count, *rows, *columns),
        _ => return None,
    };
    let area = rows.checked_mul(columns)?;
    if area.checked_mul(count)? != elements.len() || elements.is_empty() || moved.len() != elements.len() {
        return None;
    }
    for (from, to) in elements.chunks_exact(area).zip(moved.chunks_exact_mut(area)) {
        for row in (0..rows).step_by(BLOCK) {
            for column in (0..columns).step_by(BLOCK) {
                let block = (row..rows.min(row + BLOCK), column..columns.min(column + BLOCK));
                move_block(from, to, (rows, columns), block);
            }
        }
    }
    Some(())
}

/// The part of one matrix with these rows and columns.
fn move_block<T: Copy>(
    from: &[T],
    to: &mut [T],
    (rows, columns): (usize, usize),
    (mut these_rows, these_columns): (Range<usize>, Range<usize>),
) {
    while these_rows.len() >= LINES {
        let row = these_rows.start;
        let lines: [&[T]; LINES] = array::from_fn(|line| &from[(row + line) * columns..(row + line + 1) * columns]);
        for column in these_columns.clone() {
            let moved = &mut to[column * rows + row..column * rows + row + LINES];
            moved.iter_mut().zip(lines).for_each(|(place, line)| *place = line[column]);
        }
        these_rows.start += LINES;
    }
    for row in these_rows {
        these_columns.clone().for_each(|column| to[column * rows + row] = from[row * columns + column]);
    }
}

/// Shape and order without axes of length 1, and with axes that stay neighbours merged.
fn merged(shape: &[usize], axes: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut runs: Vec<(usize, usize)> = Vec::new(); // first torch axis and one past the last, in MLX's order
    for &axis in axes.iter().filter(|&&axis| shape[axis] != 1) {
        let follows = |end: usize| (end..axis).all(|between| shape[between] == 1) && end <= axis;
        match runs.last_mut() {
            Some((_, end)) if follows(*end) => *end = axis + 1,
            _ => runs.push((axis, axis + 1)),
        }
    }
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_by_key(|&run| runs[run].0);
    let sizes = order.iter().map(|&run| shape[runs[run].0..runs[run].1].iter().product()).collect();
    let places = (0..runs.len()).map(|run| order.iter().position(|&other| other == run).unwrap_or(run)).collect();
    (sizes, places)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn every_matrix_is_turned(count in 1usize..4, rows in 1usize..80, columns in 1usize..80) {
            let elements: Vec<usize> = (0..count * rows * columns).collect();
            let mut moved = vec![usize::MAX; elements.len()];
            // Axes of length 1 and neighbours are merged, after which nothing may be left to turn.
            if transpose(&elements, &mut moved, &[count, rows, columns], &[0, 2, 1]).is_some() {
                for (at, &element) in moved.iter().enumerate() {
                    let (matrix, column, row) = (at / (rows * columns), at / rows % columns, at % rows);
                    prop_assert_eq!(element, (matrix * rows + row) * columns + column);
                }
            } else {
                prop_assert!(rows == 1 || columns == 1);
            }
        }
    }

    #[test]
    fn neighbours_are_merged() {
        assert_eq!(merged(&[8, 3, 5, 7], &[0, 2, 3, 1]), (vec![8, 3, 35], vec![0, 2, 1]));
        assert_eq!(merged(&[8, 3, 5, 7], &[1, 2, 3, 0]), (vec![8, 105], vec![1, 0]));
        assert_eq!(merged(&[8, 1, 5, 7], &[0, 2, 3, 1]), (vec![280], vec![0]));
        assert_eq!(merged(&[8, 3, 1, 1], &[1, 2, 3, 0]), (vec![8, 3], vec![1, 0]));
        assert_eq!(merged(&[2, 3, 4], &[2, 1, 0]), (vec![2, 3, 4], vec![2, 1, 0]));
    }

    #[test]
    fn what_is_no_transposition_is_left_to_others() {
        let mut moved = [0; 6];
        assert_eq!(transpose(&[1, 2, 3, 4, 5, 6], &mut moved, &[2, 3], &[1, 0]), Some(()));
        assert_eq!(moved, [1, 4, 2, 5, 3, 6]);
        assert_eq!(transpose(&[0; 24], &mut [0; 24], &[2, 3, 4], &[2, 1, 0]), None);
        assert_eq!(transpose(&[0; 5], &mut [0; 5], &[2, 3], &[1, 0]), None);
    }
}
