//! Tensors of one shape that hold the same numbers with an axis in another order: halves swapped, rows interleaved, inputs
//! permuted for a flatten of channels that come last.

use super::rows::{Index, Run, bytes_of, hashes};
use crate::plan::weights::permute;
use t2m_checkpoint::TensorData;

/// The order of theirs in words, where an axis of ours is in another order there.
pub(super) fn rearranged(made: &TensorData, found: &TensorData) -> Option<String> {
    if made.shape != found.shape {
        return None;
    }
    let made = made.cast(found.dtype)?;
    (0..made.shape.len()).find_map(|axis| {
        let length = *made.shape.get(axis).filter(|&&length| length > 1)?;
        let (ours, theirs) = (first(&made, axis)?, first(found, axis)?);
        let runs = runs(&ours, &theirs, length)?;
        Some(words(&runs, axis, &made.shape))
    })
}

/// An axis in front of the others.
fn first(tensor: &TensorData, axis: usize) -> Option<TensorData> {
    let rest = (0..tensor.shape.len()).filter(|&other| other != axis);
    let axes: Vec<usize> = std::iter::once(axis).chain(rest).collect();
    permute(tensor, &axes).ok()
}

/// The rows of ours in their order, each once.
fn runs(ours: &TensorData, theirs: &TensorData, length: usize) -> Option<Vec<Run>> {
    let width = ours.shape.iter().skip(1).product();
    let row = bytes_of(ours, width);
    let mut index = Index::default();
    index.add(0, ours, width).then_some(())?;
    index.sort();
    let runs = index.runs(hashes(theirs, width))?;
    let mut seen = vec![false; length];
    for run in &runs {
        let range = |first: usize| first * row..(first + run.rows) * row;
        let is_same = ours.bytes.get(range(run.from))? == theirs.bytes.get(range(run.at))?;
        let rows = seen.get_mut(run.from..run.from + run.rows)?;
        if !is_same || rows.iter().any(|seen| *seen) {
            return None;
        }
        rows.fill(true);
    }
    Some(runs)
}

/// What an order of an axis is called.
fn words(runs: &[Run], axis: usize, shape: &[usize]) -> String {
    let length = shape[axis];
    let rows = runs[0].rows;
    let are_equal = runs.iter().all(|run| run.rows == rows);
    match runs {
        [first, second] if first.rows == second.rows => format!("ours with halves swapped along axis {axis}"),
        _ if are_equal && runs.len() <= 8 && rows > 1 => {
            let order: Vec<usize> = runs.iter().map(|run| run.from / rows).collect();
            format!("ours, whose {} equal parts along axis {axis} stand in the order {order:?}", runs.len())
        }
        _ => match interleaved(runs, length) {
            // A Linear behind a flatten.
            Some(channels) if shape.len() == 2 && axis == 1 => format!(
                "ours with inputs permuted for a flatten of {channels} channels that come last: theirs[:, s·{channels} + c] is \
                 ours[:, c·{} + s]; right where the port flattens channels-last activations",
                length / channels
            ),
            Some(parts) => {
                format!("ours, whose {parts} equal parts along axis {axis} are interleaved, {rows} of each in turn")
            }
            None => format!("ours with axis {axis} in another order"),
        },
    }
}

/// How many equal parts take turns, where they do.
fn interleaved(runs: &[Run], length: usize) -> Option<usize> {
    let rows = runs.first()?.rows;
    let turns = runs.iter().position(|run| run.from == rows)?;
    let part = length.checked_div(turns).filter(|part| part * turns == length && runs.len() * rows == length)?;
    let fits = |(at, run): (usize, &Run)| run.rows == rows && run.from == at % turns * part + at / turns * rows;
    runs.iter().enumerate().all(fits).then_some(turns)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Numbers in rows and columns, taken in these orders.
    fn taken(rows: &[usize], columns: &[usize]) -> TensorData {
        let values: Vec<f32> =
            rows.iter().flat_map(|row| columns.iter().map(move |column| (row * 100 + column) as f32)).collect();
        TensorData::from_f32(&[rows.len(), columns.len()], &values)
    }

    fn said(rows: &[usize], columns: &[usize]) -> String {
        let sorted = |order: &[usize]| (0..order.len()).collect::<Vec<_>>();
        rearranged(&taken(&sorted(rows), &sorted(columns)), &taken(rows, columns)).unwrap_or_default()
    }

    #[test]
    fn orders_have_names() {
        let (four, twelve) = ([0, 1, 2, 3], (0..12).collect::<Vec<usize>>());
        assert_eq!(said(&[2, 3, 0, 1], &four), "ours with halves swapped along axis 0");
        assert_eq!(said(&four, &[2, 3, 0, 1]), "ours with halves swapped along axis 1");
        let order = [4, 5, 2, 3, 0, 1];
        assert_eq!(said(&order, &four), "ours, whose 3 equal parts along axis 0 stand in the order [2, 1, 0]");
        let turns: Vec<usize> = (0..12).map(|at| at % 2 * 6 + at / 2).collect();
        assert_eq!(said(&turns, &four), "ours, whose 2 equal parts along axis 0 are interleaved, 1 of each in turn");
        // 3 channels of 4 places: theirs has the channels last.
        let flat: Vec<usize> = (0..12).map(|at| at % 3 * 4 + at / 3).collect();
        assert!(
            said(&four, &flat)
                .contains("a flatten of 3 channels that come last: theirs[:, s·3 + c] is ours[:, c·4 + s]")
        );
        let odd = [0, 5, 2, 3, 1, 4, 11, 6, 7, 9, 8, 10];
        assert_eq!(said(&odd, &four), "ours with axis 0 in another order");
        assert_eq!(rearranged(&taken(&four, &twelve), &taken(&[0, 1, 2, 2], &twelve)), None);
    }
}
