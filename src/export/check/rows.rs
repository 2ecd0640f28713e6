//! Rows of tensors found in other tensors: an index of hashes, and the runs of rows that make one tensor of others.

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::fast::{FixedState, RandomState};

use crate::plan::weights::permute;
use t2m_checkpoint::TensorData;

/// Rows that are indexed at most: 16 bytes each.
const MOST_ROWS: usize = 1 << 23;
/// Rows that are alike and looked at for one of theirs.
const MOST_ALIKE: usize = 64;
/// The seed of the hashes. They only find candidates: what is found is compared byte by byte.
const SEED: u64 = 0x7432_6d5f_726f_7773;

/// How two tensors are looked at, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// Rows along the last axis, of both.
    Rows,
    /// Columns: the last two axes of both change places.
    Columns,
    /// Rows of theirs are columns of ours.
    Turned,
    /// Each number for itself.
    Numbers,
}

impl View {
    /// Our tensor as this view has it; `None` where it cannot.
    pub fn ours(self, tensor: TensorData) -> Option<TensorData> {
        if matches!(self, View::Columns | View::Turned) { swapped(&tensor) } else { Some(tensor) }
    }

    /// Their tensor as this view has it.
    pub fn theirs(self, tensor: TensorData) -> Option<TensorData> {
        if self == View::Columns { swapped(&tensor) } else { Some(tensor) }
    }

    /// Numbers of a row of a tensor that was so looked at.
    pub fn width(self, tensor: &TensorData) -> usize {
        match tensor.shape.as_slice() {
            [.., _, last] if self != View::Numbers => *last,
            _ => 1,
        }
    }
}

/// The last two axes in the other order.
fn swapped(tensor: &TensorData) -> Option<TensorData> {
    let rank = tensor.shape.len();
    let mut axes: Vec<usize> = (0..rank).collect();
    (rank >= 2).then(|| axes.swap(rank - 1, rank - 2))?;
    permute(tensor, &axes).ok()
}

/// Rows of theirs, one behind the other, that are rows of one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Which of ours.
    pub tensor: usize,
    /// Its first row.
    pub from: usize,
    /// Where it stands in theirs.
    pub at: usize,
    /// How many.
    pub rows: usize,
}

/// A row of one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    hash: u64,
    tensor: u32,
    row: u32,
}

/// Rows of ours by what they hold.
#[derive(Debug, Default)]
pub(super) struct Index {
    rows: Vec<Row>,
}

/// Hashes of a tensor's rows, each of so many numbers.
pub(super) fn hashes(tensor: &TensorData, width: usize) -> impl Iterator<Item = u64> + '_ {
    let hasher = FixedState::with_seed(SEED);
    tensor.bytes.chunks(bytes_of(tensor, width)).map(move |row| hasher.hash_one(row))
}

/// Bytes of a row.
pub(super) fn bytes_of(tensor: &TensorData, width: usize) -> usize {
    (width * tensor.dtype.size()).max(1)
}

impl Index {
    /// Add a tensor's rows; `false` where the index is full.
    pub fn add(&mut self, at: usize, tensor: &TensorData, width: usize) -> bool {
        let (Ok(tensor_id), count) = (u32::try_from(at), tensor.bytes.len() / bytes_of(tensor, width)) else {
            return false;
        };
        if count > MOST_ROWS.saturating_sub(self.rows.len()) {
            return false;
        }
        let row = |(row, hash): (usize, u64)| Row { hash, tensor: tensor_id, row: row as u32 };
        self.rows.extend(hashes(tensor, width).enumerate().map(row));
        true
    }

    /// Make it ready to be asked.
    pub fn sort(&mut self) {
        self.rows.sort_unstable();
    }

    /// The runs that rows of these hashes are made of; `None` where one is nowhere.
    pub fn runs(&self, hashes: impl Iterator<Item = u64>) -> Option<Vec<Run>> {
        let mut used: HashSet<usize, RandomState> = HashSet::default();
        let mut runs: Vec<Run> = Vec::new();
        for (at, hash) in hashes.enumerate() {
            // Goes on with the row behind the last one where that fits.
            if let Some(last) = runs.last_mut()
                && let (Ok(tensor), Ok(row)) = (u32::try_from(last.tensor), u32::try_from(last.from + last.rows))
                && let Ok(next) = self.rows.binary_search(&Row { hash, tensor, row })
            {
                used.insert(next);
                last.rows += 1;
                continue;
            }
            let first = self.rows.partition_point(|row| row.hash < hash);
            let alike = (first..self.rows.len()).take_while(|&place| self.rows[place].hash == hash).take(MOST_ALIKE);
            // Of rows that are alike one that begins a tensor, and that was not taken.
            let place = alike.min_by_key(|&place| (used.contains(&place), self.rows[place].row != 0, place))?;
            used.insert(place);
            let Row { tensor, row, .. } = self.rows[place];
            runs.push(Run { tensor: tensor as usize, from: row as usize, at, rows: 1 });
        }
        Some(runs)
    }
}

/// Rows of theirs that are nowhere among ours, taken for the rows of ours at their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged {
    /// Which of ours.
    pub tensor: usize,
    /// Its row.
    pub from: usize,
    /// The row in theirs.
    pub at: usize,
}

impl Index {
    /// As [`Index::runs`], where up to half of the rows are nowhere: each belongs to the run that it stands in or before.
    /// `rows` gives how many rows a tensor has.
    pub fn runs_with_damage(
        &self,
        hashes: &[u64],
        rows: impl Fn(usize) -> Option<usize>,
    ) -> Option<(Vec<Run>, Vec<Damaged>)> {
        let (mut runs, mut damaged): (Vec<Run>, Vec<Damaged>) = (Vec::new(), Vec::new());
        let mut before = 0;
        for (at, &hash) in hashes.iter().enumerate() {
            let follows = |last: &Run| -> Option<bool> {
                let (tensor, row) = (u32::try_from(last.tensor).ok()?, u32::try_from(last.from + last.rows).ok()?);
                Some(self.rows.binary_search(&Row { hash, tensor, row }).is_ok())
            };
            if before == 0
                && let Some(last) = runs.last_mut()
                && follows(last) == Some(true)
            {
                last.rows += 1;
                continue;
            }
            let first = self.rows.partition_point(|row| row.hash < hash);
            let mut alike =
                (first..self.rows.len()).take_while(|&place| self.rows[place].hash == hash).take(MOST_ALIKE);
            match alike.find(|&place| self.rows[place].row as usize >= before) {
                Some(place) => {
                    let Row { tensor, row, .. } = self.rows[place];
                    let (tensor, from) = (tensor as usize, row as usize - before);
                    damaged.extend((0..before).map(|up| Damaged { tensor, from: from + up, at: at - before + up }));
                    runs.push(Run { tensor, from, at: at - before, rows: before + 1 });
                    before = 0;
                }
                None => match runs
                    .last_mut()
                    .filter(|last| before == 0 && rows(last.tensor).is_some_and(|all| last.from + last.rows < all))
                {
                    Some(last) => {
                        damaged.push(Damaged { tensor: last.tensor, from: last.from + last.rows, at });
                        last.rows += 1;
                    }
                    None => before += 1,
                },
            }
        }
        (before == 0 && !damaged.is_empty() && damaged.len() * 2 <= hashes.len()).then_some((runs, damaged))
    }
}

/// How runs lie in a tensor: in the order of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// One behind the other.
    Block {
        /// The first row.
        first: usize,
    },
    /// So many rows of every so many.
    Every {
        /// The first row.
        first: usize,
        /// Rows that stay together.
        rows: usize,
        /// From the beginning of some to that of the next.
        stride: usize,
    },
    /// Neither.
    Scattered,
}

impl Pattern {
    /// That of pieces `(place, rows)`.
    pub fn of(pieces: &[(usize, usize)]) -> Pattern {
        let Some(&(first, rows)) = pieces.first() else { return Pattern::Scattered };
        let mut joined: Vec<(usize, usize)> = vec![(first, rows)];
        for &(place, rows) in &pieces[1..] {
            match joined.last_mut() {
                Some((at, length)) if *at + *length == place => *length += rows,
                _ => joined.push((place, rows)),
            }
        }
        match joined.as_slice() {
            [_] => Pattern::Block { first },
            [(_, rows), (second, _), ..] if *second > first => {
                let stride = second - first;
                let fits = |(index, &(place, length)): (usize, &(usize, usize))| {
                    place == first + index * stride && length == *rows
                };
                let is_regular = joined.iter().enumerate().all(fits);
                if is_regular { Pattern::Every { first, rows: *rows, stride } } else { Pattern::Scattered }
            }
            _ => Pattern::Scattered,
        }
    }

    /// In words, for so many rows in all.
    pub fn words(&self, count: usize, what: &str) -> String {
        match self {
            Pattern::Block { first } => format!("{what} {first} to {}", first + count),
            Pattern::Every { first, rows: 1, stride } => format!("one of every {stride} {what} from {first} on"),
            Pattern::Every { first, rows, stride } => {
                format!("{rows} of every {stride} {what} from {first} on")
            }
            Pattern::Scattered => format!("{what} in no regular order"),
        }
    }

    /// Where it begins.
    pub fn first(&self) -> usize {
        match self {
            Pattern::Block { first } | Pattern::Every { first, .. } => *first,
            Pattern::Scattered => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn counting(rows: usize) -> TensorData {
        TensorData::from_f32(&[rows, 2], &(0..2 * rows).map(|at| at as f32).collect::<Vec<_>>())
    }

    #[test]
    fn rows_are_found_in_runs() {
        let (mut index, ours) = (Index::default(), counting(6));
        assert!(index.add(3, &ours, 2));
        index.sort();
        let moved =
            TensorData { shape: vec![4, 2], bytes: [&ours.bytes[24..40], &ours.bytes[..16]].concat(), ..ours.clone() };
        let run = |from, at| Run { tensor: 3, from, at, rows: 2 };
        assert_eq!(index.runs(hashes(&moved, 2)).unwrap(), [run(3, 0), run(0, 2)]);
        assert!(index.runs(hashes(&TensorData::from_f32(&[1, 2], &[0.5, 0.5]), 2)).is_none());
    }

    #[test]
    fn rows_that_are_alike_are_taken_once_each() {
        let (mut index, ours) = (Index::default(), TensorData::from_f32(&[4], &[0.0; 4]));
        index.add(0, &ours, 1);
        index.sort();
        assert_eq!(index.runs(hashes(&ours, 1)).unwrap(), [Run { tensor: 0, from: 0, at: 0, rows: 4 }]);
    }

    #[test]
    fn rows_that_are_nowhere_belong_where_they_stand() {
        let (mut index, ours) = (Index::default(), counting(6));
        assert!(index.add(3, &ours, 2));
        index.sort();
        let mut hashes: Vec<u64> = hashes(&ours, 2).collect();
        (hashes[0], hashes[4]) = (7, 8);
        let (runs, damaged) = index.runs_with_damage(&hashes, |_| Some(6)).unwrap();
        assert_eq!(runs, [Run { tensor: 3, from: 0, at: 0, rows: 6 }]);
        assert_eq!(damaged, [0, 4].map(|row| Damaged { tensor: 3, from: row, at: row }));
        assert!(index.runs_with_damage(&[1, 2, hashes[1]], |_| Some(6)).is_none());
    }

    #[test]
    fn patterns_have_names() {
        assert_eq!(Pattern::of(&[(4, 2), (6, 2)]), Pattern::Block { first: 4 });
        assert_eq!(Pattern::of(&[(2, 2), (8, 2), (14, 2)]), Pattern::Every { first: 2, rows: 2, stride: 6 });
        assert_eq!(Pattern::of(&[(2, 2), (8, 2), (13, 2)]), Pattern::Scattered);
        assert_eq!(Pattern::of(&[(8, 2), (0, 2)]), Pattern::Scattered);
    }
}
