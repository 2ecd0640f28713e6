//! Pairs of tensors whose names say nothing, by the numbers they hold.

use std::collections::{HashMap, HashSet};

use super::{Error, Ours};
use t2m_checkpoint::{Checkpoint, TensorData, TensorId};

/// Sum, sum of squares, least and greatest: the same whatever the order of the elements, and nearly so after a cast.
#[derive(Debug, Clone, Copy)]
struct Print {
    sum: f64,
    squares: f64,
    least: f64,
    greatest: f64,
}

impl Print {
    fn of(tensor: &TensorData) -> Option<Print> {
        let values = tensor.to_f64()?;
        let empty = Print { sum: 0.0, squares: 0.0, least: f64::INFINITY, greatest: f64::NEG_INFINITY };
        Some(values.iter().fold(empty, |print, &value| Print {
            sum: print.sum + value,
            squares: print.squares + value * value,
            least: print.least.min(value),
            greatest: print.greatest.max(value),
        }))
    }

    /// Whether the numbers may be the same, but for rounding to bfloat16.
    fn fits(&self, other: &Print, count: f64) -> bool {
        let scale = (self.squares / count).sqrt().max(f64::from(f32::MIN_POSITIVE));
        let close = |a: f64, b: f64, by: f64| (a - b).abs() <= by;
        close(self.least, other.least, 0.01 * self.least.abs())
            && close(self.greatest, other.greatest, 0.01 * self.greatest.abs())
            && close(self.squares, other.squares, 0.01 * self.squares)
            && close(self.sum, other.sum, 0.01 * scale * count)
    }

    /// How far apart two are that fit.
    fn distance(&self, other: &Print) -> f64 {
        (self.sum - other.sum).abs() + (self.squares - other.squares).abs()
    }
}

/// Statistics that are held against each other at most. Where ten thousand tensors are alike no two belong together anyway.
const MOST_LOOKS: usize = 100_000_000;

/// Ours and the other's that belong together: as many elements, the same statistics, and no second one that fits as well.
pub(super) fn pairs(
    ours: &[Ours<'_>],
    alone: &[usize],
    other: &Checkpoint,
    strangers: &[TensorId],
) -> Result<Vec<(usize, TensorId)>, Error> {
    let mut by_count: HashMap<u64, Vec<TensorId>> = HashMap::new();
    for &id in strangers {
        by_count.entry(other.tensors[id].elements()).or_default().push(id);
    }
    // Theirs of so many elements, by the sums of squares.
    let mut prints: HashMap<u64, Vec<(Print, TensorId)>> = HashMap::new();
    let (mut taken, mut looks) = (HashSet::new(), 0usize);
    let mut pairs: Vec<(usize, TensorId)> = Vec::new();
    for &at in alone {
        let Some(count) = ours[at].elements().filter(|&count| count > 1) else { continue };
        let Some(candidates) = by_count.get(&count) else { continue };
        let Some(print) = Print::of(&ours[at].make()?) else { continue };
        let theirs = prints.entry(count).or_insert_with(|| {
            let read = |&id: &TensorId| Some((other.read(id).ok().and_then(|tensor| Print::of(&tensor))?, id));
            let mut theirs: Vec<(Print, TensorId)> = candidates.iter().filter_map(read).collect();
            theirs.sort_by(|(a, _), (b, _)| a.squares.total_cmp(&b.squares));
            theirs
        });
        let first = theirs.partition_point(|(theirs, _)| theirs.squares < 0.98 * print.squares);
        let near = theirs.iter().skip(first).take_while(|(theirs, _)| theirs.squares <= 1.02 * print.squares);
        let mut fitting: Vec<(f64, TensorId)> = Vec::new();
        for &(theirs, id) in near {
            looks += 1;
            if print.fits(&theirs, count as f64) && !taken.contains(&id) {
                fitting.push((print.distance(&theirs), id));
            }
        }
        if looks > MOST_LOOKS {
            break;
        }
        fitting.sort_by(|a, b| a.0.total_cmp(&b.0));
        match fitting.as_slice() {
            // Two that are equally near (two norms of ones) cannot be told apart.
            [(first, id), rest @ ..] if rest.first().is_none_or(|(second, _)| first < second) => {
                taken.insert(*id);
                pairs.push((at, *id));
            }
            _ => {}
        }
    }
    Ok(pairs)
}
