//! Tensors without a partner that are parts of others, or made of others: experts stacked, projections joined or cut.
//!
//! Rows of ours are indexed by hashes in theirs' type. Where all rows of one of theirs are rows of ours, the two are read
//! again and compared byte by byte, one of theirs and one of ours at a time.

use std::collections::{BTreeMap, HashSet};

use indexmap::IndexMap;

use super::rows::{Damaged, Index, Pattern, Run, View, bytes_of, hashes};
use super::{Error, Ours, Verdict, order, pair};
use t2m_checkpoint::{Checkpoint, Dtype, TensorData, TensorId};

/// Where a part lies in a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The axis along which it was cut or joined.
    pub axis: usize,
    /// Where, in words: `rows 8 to 16`, `number 1 of 4`.
    pub place: String,
    /// Theirs has it in this type.
    pub dtype: Option<Dtype>,
    /// Why it is not what it should be; `None` where it is.
    pub wrong: Option<String>,
}

/// What was found; theirs is `None` for what is left over of ours.
pub(super) struct Found {
    pub ours: usize,
    pub theirs: Option<TensorId>,
    pub verdict: Verdict,
}

/// One of theirs, made of rows of ours.
struct Made {
    theirs: TensorId,
    view: View,
    runs: Vec<Run>,
    /// What a cast lost of ours, by tensor.
    lost: BTreeMap<usize, String>,
}

/// Rows of so few numbers are found by chance: they count where several stand together.
const FEW_NUMBERS: usize = 4;

/// What of theirs is made of what of ours.
pub(super) fn find(
    ours: &[Ours<'_>],
    alone: &[usize],
    other: &Checkpoint,
    strangers: &[TensorId],
) -> Result<Vec<Found>, Error> {
    let mine: Vec<usize> = alone.iter().copied().filter(|&at| !ours[at].optional).collect();
    let mut made: Vec<Made> = Vec::new();
    let exact = [View::Rows, View::Columns, View::Turned, View::Numbers].map(|view| (view, false));
    // What was not found as a whole may be there but for some numbers.
    for (view, damaged) in exact.into_iter().chain([View::Rows, View::Columns].map(|view| (view, true))) {
        let is_matrix = |id: &TensorId| other.tensors[*id].shape.len() >= 2;
        let told: HashSet<TensorId> = made.iter().map(|made| made.theirs).collect();
        let left = strangers.iter().copied().filter(|id| !told.contains(id));
        let left: Vec<TensorId> = left.filter(|id| view == View::Numbers || is_matrix(id)).collect();
        if mine.is_empty() || left.is_empty() {
            continue;
        }
        if view == View::Numbers {
            beside(ours, &mine, other, &left, &mut made)?;
        }
        let told: HashSet<TensorId> = made.iter().map(|made| made.theirs).collect();
        let left = left.into_iter().filter(|id| !told.contains(id));
        // A number for itself says nothing of a matrix, and few say nothing at all.
        let fits = |id: &TensorId| {
            (view == View::Numbers) != is_matrix(id) && other.tensors[*id].elements() >= FEW_NUMBERS as u64
        };
        let mut left: Vec<TensorId> = left.filter(fits).collect();
        // Layer by layer, so that the index stays small; then across layers what no layer explained.
        let mut layers: BTreeMap<u64, (Vec<usize>, Vec<TensorId>)> = BTreeMap::new();
        for &at in &mine {
            layers.entry(order::layer(ours[at].name).unwrap_or(u64::MAX)).or_default().0.push(at);
        }
        for &id in &left {
            layers.entry(order::layer(&other.tensors[id].name).unwrap_or(u64::MAX)).or_default().1.push(id);
        }
        for (mine, left) in layers.values().filter(|(mine, left)| !mine.is_empty() && !left.is_empty()) {
            by_rows(ours, mine, other, left, (view, damaged), &mut made)?;
        }
        let told: HashSet<TensorId> = made.iter().map(|made| made.theirs).collect();
        left.retain(|id| !told.contains(id));
        if layers.len() > 1 && !left.is_empty() {
            by_rows(ours, &mine, other, &left, (view, damaged), &mut made)?;
        }
    }
    Ok(told(ours, other, &made))
}

/// Those of theirs all of whose rows are ours.
fn by_rows(
    ours: &[Ours<'_>],
    mine: &[usize],
    other: &Checkpoint,
    left: &[TensorId],
    (view, may_be_damaged): (View, bool),
    made: &mut Vec<Made>,
) -> Result<(), Error> {
    let mut dtypes: Vec<Dtype> = left.iter().map(|&id| other.tensors[id].dtype).collect();
    dtypes.sort_unstable_by_key(|dtype| dtype.name());
    dtypes.dedup();
    for dtype in dtypes {
        let theirs: Vec<TensorId> = left.iter().copied().filter(|&id| other.tensors[id].dtype == dtype).collect();
        let width = |shape: &[u64]| match shape {
            [.., second, last] if view != View::Numbers => {
                if view == View::Columns {
                    *second
                } else {
                    *last
                }
            }
            _ => 1,
        };
        let widths: HashSet<u64> = theirs.iter().map(|&id| width(&other.tensors[id].shape)).collect();
        let mut index = Index::default();
        for &at in mine {
            let is_number = ours[at].rank() == Some(1);
            if (view == View::Numbers) != is_number {
                continue;
            }
            let viewed = ours[at].make()?.cast(dtype).and_then(|tensor| view.ours(tensor));
            let Some(tensor) = viewed.filter(|tensor| widths.contains(&(view.width(tensor) as u64))) else { continue };
            if !index.add(at, &tensor, view.width(&tensor)) {
                break;
            }
        }
        index.sort();
        for id in theirs {
            let Some(tensor) = other.read(id).ok().and_then(|tensor| view.theirs(tensor)) else { continue };
            let known: Vec<u64> = hashes(&tensor, view.width(&tensor)).collect();
            let found = if may_be_damaged {
                index.runs_with_damage(&known, |at| ours[at].rows(view))
            } else {
                index.runs(known.into_iter()).map(|runs| (runs, Vec::new()))
            };
            let Some((runs, damaged)) = found else { continue };
            if says_something(&tensor, view, &runs)
                && let Some(lost) = holds(ours, &tensor, view, &runs, &damaged)?
            {
                made.push(Made { theirs: id, view, runs, lost });
            }
        }
    }
    Ok(())
}

/// Whether it cannot be by chance that rows were found.
fn says_something(tensor: &TensorData, view: View, runs: &[Run]) -> bool {
    let width = view.width(tensor);
    let rows: usize = runs.iter().map(|run| run.rows).sum();
    let kinds: HashSet<u64> = hashes(tensor, width).take(1 << 16).collect();
    if width >= FEW_NUMBERS {
        kinds.len() > 1 || rows == 1
    } else {
        kinds.len() >= FEW_NUMBERS && runs.len() * 2 <= rows
    }
}

/// Whether theirs is to the byte what the runs say but for damaged rows, and what the cast to its type or the damage lost.
fn holds(
    ours: &[Ours<'_>],
    theirs: &TensorData,
    view: View,
    runs: &[Run],
    damaged: &[Damaged],
) -> Result<Option<BTreeMap<usize, String>>, Error> {
    let mut by_tensor: BTreeMap<usize, Vec<Run>> = BTreeMap::new();
    runs.iter().for_each(|run| by_tensor.entry(run.tensor).or_default().push(*run));
    let row = bytes_of(theirs, view.width(theirs));
    let mut lost = BTreeMap::new();
    for (at, runs) in by_tensor {
        let made = ours[at].make()?;
        let Some(cast) = made.cast(theirs.dtype) else { return Ok(None) };
        if made.dtype != cast.dtype
            && let Verdict::Different { what, .. } = pair::cast(&made, &cast)
        {
            lost.insert(at, what);
        }
        let Some(cast) = view.ours(cast) else { return Ok(None) };
        let bytes = |tensor: &TensorData, first: usize, rows: usize| {
            tensor.bytes.get(first * row..(first + rows) * row).map(<[u8]>::to_vec)
        };
        let own: Vec<&Damaged> = damaged.iter().filter(|one| one.tensor == at).collect();
        let is_damaged = |row: usize| own.binary_search_by_key(&row, |one| one.at).is_ok();
        let is_same = |run: &Run| {
            if own.is_empty() {
                let ours = bytes(&cast, run.from, run.rows);
                return ours.is_some() && ours == bytes(theirs, run.at, run.rows);
            }
            (0..run.rows).filter(|up| !is_damaged(run.at + up)).all(|up| {
                let ours = bytes(&cast, run.from + up, 1);
                ours.is_some() && ours == bytes(theirs, run.at + up, 1)
            })
        };
        if !runs.iter().all(is_same) {
            return Ok(None);
        }
        if !own.is_empty() {
            lost.insert(at, damage(&cast, theirs, view, &own));
        }
    }
    Ok(Some(lost))
}

/// How many numbers are not ours, and where the first of them is.
fn damage(ours: &TensorData, theirs: &TensorData, view: View, damaged: &[&Damaged]) -> String {
    let width = view.width(theirs);
    let size = theirs.dtype.size();
    let numbers = |tensor: &TensorData, row: usize| {
        let bytes = tensor.bytes.get(row * width * size..(row + 1) * width * size).unwrap_or_default().to_vec();
        TensorData { dtype: tensor.dtype, shape: vec![width], bytes }.to_f64().unwrap_or_default()
    };
    let (mut count, mut first, mut most) = (0usize, None, 0.0f64);
    for one in damaged {
        for (column, (ours, theirs)) in numbers(ours, one.from).into_iter().zip(numbers(theirs, one.at)).enumerate() {
            if ours != theirs && !(ours.is_nan() && theirs.is_nan()) {
                count += 1;
                most = most.max((ours - theirs).abs());
                first.get_or_insert((one.from, column, ours, theirs));
            }
        }
    }
    let all = ours.shape.iter().product::<usize>();
    let Some((row, column, own, there)) = first else { return format!("its bytes differ in {} rows", damaged.len()) };
    // The last axis lies in front in columns.
    let place = if view == View::Columns { [column, row] } else { [row, column] };
    format!(
        "{count} of {all} numbers differ by up to {most:.3e}, the first at {place:?}: {there:.6e} where ours is {own:.6e}"
    )
}

/// What lies beside a weight that was found (its bias) is made as the weight is: numbers alone, often zeros, do not say it.
fn beside(
    ours: &[Ours<'_>],
    mine: &[usize],
    other: &Checkpoint,
    left: &[TensorId],
    made: &mut Vec<Made>,
) -> Result<(), Error> {
    let by_name: BTreeMap<&str, usize> = mine.iter().map(|&at| (ours[at].name, at)).collect();
    let weights: BTreeMap<&str, usize> = made
        .iter()
        .enumerate()
        .filter(|(_, made)| made.view == View::Rows)
        .filter_map(|(index, made)| Some((other.tensors[made.theirs].name.strip_suffix("weight")?, index)))
        .collect();
    let mut found = Vec::new();
    for &id in left {
        let Some(prefix) = other.tensors[id].name.strip_suffix("bias") else { continue };
        let Some(weight) = weights.get(prefix).map(|&index| &made[index]) else { continue };
        let bias = |run: &Run| {
            let prefix = ours[run.tensor].name[..].strip_suffix("weight")?;
            Some(Run { tensor: *by_name.get(format!("{prefix}bias").as_str())?, ..*run })
        };
        let Some(runs) = weight.runs.iter().map(bias).collect::<Option<Vec<Run>>>() else { continue };
        let Ok(tensor) = other.read(id) else { continue };
        let rows: usize = runs.iter().map(|run| run.rows).sum();
        let flat = TensorData { shape: vec![rows], ..tensor };
        if flat.bytes.len() == rows * flat.dtype.size()
            && let Some(lost) = holds(ours, &flat, View::Numbers, &runs, &[])?
        {
            found.push(Made { theirs: id, view: View::Numbers, runs, lost });
        }
    }
    made.extend(found);
    Ok(())
}

/// What is said of each pair.
fn told(ours: &[Ours<'_>], other: &Checkpoint, made: &[Made]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut held: BTreeMap<usize, (View, Vec<(usize, usize)>)> = BTreeMap::new();
    let mut slices: BTreeMap<usize, Vec<(&Made, Pattern)>> = BTreeMap::new();
    for one in made {
        for run in &one.runs {
            held.entry(run.tensor).or_insert((one.view, Vec::new())).1.push((run.from, run.rows));
        }
        let tensors: HashSet<usize> = one.runs.iter().map(|run| run.tensor).collect();
        if tensors.len() > 1 {
            stacked(ours, other, one, &mut found);
        } else {
            let pattern = Pattern::of(&one.runs.iter().map(|run| (run.from, run.rows)).collect::<Vec<_>>());
            slices.entry(one.runs[0].tensor).or_default().push((one, pattern));
        }
    }
    for (at, parts) in slices {
        cut(ours, other, at, &parts, &mut found);
    }
    for (at, (view, mut rows)) in held {
        if let Some(what) = ours[at].rows(view).and_then(|count| gap(&mut rows, count)) {
            found.push(Found { ours: at, theirs: None, verdict: Verdict::Different { max_abs: None, what } });
        }
    }
    found.sort_by_key(|found| found.ours);
    found
}

/// What of so many rows is nowhere, or twice.
fn gap(rows: &mut [(usize, usize)], count: usize) -> Option<String> {
    rows.sort_unstable();
    let mut end = 0;
    for &(from, length) in rows.iter().chain([&(count, 0)]) {
        if from > end {
            return Some(format!("rows {end} to {from} of {count} are in no tensor of the other file"));
        }
        if from < end {
            return Some(format!(
                "rows {from} to {} of {count} are in several tensors of the other file",
                end.min(from + length)
            ));
        }
        end = from + length;
    }
    None
}

/// One of theirs that is made of several of ours.
fn stacked(ours: &[Ours<'_>], other: &Checkpoint, made: &Made, found: &mut Vec<Found>) {
    let whole = &other.tensors[made.theirs];
    // In the order in which they begin.
    let mut members: IndexMap<usize, Vec<Run>> = IndexMap::new();
    made.runs.iter().for_each(|run| members.entry(run.tensor).or_default().push(*run));
    let is_sorted = members.keys().is_sorted();
    let names: Vec<&str> = members.keys().map(|&at| ours[at].name).collect();
    // Where names do not say it, the checkpoint's own order is expected.
    let places = order::places(&names, &whole.name);
    let count = members.len();
    for (position, (at, mut runs)) in members.into_iter().enumerate() {
        runs.sort_unstable_by_key(|run| run.from);
        let pattern = Pattern::of(&runs.iter().map(|run| (run.at, run.rows)).collect::<Vec<_>>());
        let held: usize = runs.iter().map(|run| run.rows).sum();
        let is_whole = ours[at].rows(made.view) == Some(held)
            && runs
                .iter()
                .scan(0, |end, run| {
                    let fits = run.from == *end;
                    *end += run.rows;
                    Some(fits)
                })
                .all(|fits| fits);
        let is_new_axis = ours[at].rank().is_some_and(|rank| rank + 1 == whole.shape.len())
            && matches!(pattern, Pattern::Block { .. });
        let place = if is_new_axis {
            format!("number {} of {}", pattern.first() / held.max(1), whole.shape.first().copied().unwrap_or(1))
        } else {
            pattern.words(held, made.what())
        };
        let wrong = match &places {
            _ if made.view == View::Turned => Some("the last two axes have changed places".to_owned()),
            _ if !is_whole => Some("its rows are not all there in their order".to_owned()),
            Some(places) if places[position] != position => {
                Some(format!("place {position} of {count}, where the names say {}", places[position]))
            }
            _ => irregular(pattern, &whole.name, &names, is_new_axis)
                .or_else(|| (places.is_none() && !is_sorted).then(|| {
                    "the parts stand in another order than in the checkpoint, and their names do not say which is right".to_owned()
                }))
                .or_else(|| made.lost.get(&at).cloned()),
        };
        let piece = made.piece(ours, other, at, place, wrong);
        found.push(Found { ours: at, theirs: Some(made.theirs), verdict: Verdict::Stack(piece) });
    }
}

/// One of ours that is cut into several of theirs.
fn cut(ours: &[Ours<'_>], other: &Checkpoint, at: usize, parts: &[(&Made, Pattern)], found: &mut Vec<Found>) {
    let mut parts = parts.to_vec();
    parts.sort_by_key(|(made, pattern)| (pattern.first(), made.theirs));
    let whole = ours[at].name;
    let names: Vec<&str> = parts.iter().map(|(made, _)| &other.tensors[made.theirs].name[..]).collect();
    let places = order::places(&names, whole);
    for (position, (made, pattern)) in parts.iter().enumerate() {
        let held: usize = made.runs.iter().map(|run| run.rows).sum();
        let wrong = match &places {
            _ if made.view == View::Turned => Some("the last two axes have changed places".to_owned()),
            Some(places) if places[position] != position => {
                Some(format!("part {position} of {}, where the names say {}", parts.len(), places[position]))
            }
            None => Some("the names do not say which part is which".to_owned()),
            _ => irregular(*pattern, whole, &names, false).or_else(|| made.lost.get(&at).cloned()),
        };
        let piece = made.piece(ours, other, at, pattern.words(held, made.what()), wrong);
        found.push(Found { ours: at, theirs: Some(made.theirs), verdict: Verdict::Slice(piece) });
    }
}

/// What is wrong with parts that lie so in a whole of that name.
fn irregular(pattern: Pattern, whole: &str, parts: &[&str], is_new_axis: bool) -> Option<String> {
    let by_head = order::is_by_head(whole) && order::are_heads(parts);
    match pattern {
        Pattern::Scattered => Some("in another order".to_owned()),
        Pattern::Every { .. } if !by_head => Some(
            "the parts take turns: right only where the model takes them so, and its name does not say it does"
                .to_owned(),
        ),
        Pattern::Block { .. } if by_head && parts.len() > 1 && !is_new_axis => {
            Some("cut as one block, where projections of this name have q, k and v for each head in turn".to_owned())
        }
        _ => None,
    }
}

impl Made {
    fn what(&self) -> &'static str {
        match self.view {
            View::Rows | View::Turned => "rows",
            View::Columns => "columns",
            View::Numbers => "numbers",
        }
    }

    fn piece(&self, ours: &[Ours<'_>], other: &Checkpoint, at: usize, place: String, wrong: Option<String>) -> Piece {
        let theirs = &other.tensors[self.theirs];
        let axis = if self.view == View::Columns { theirs.shape.len().saturating_sub(1) } else { 0 };
        let own = ours[at].from.first().map(|&id| ours[at].torch.tensors[id].dtype);
        let dtype = (own != Some(theirs.dtype)).then_some(theirs.dtype);
        Piece { axis, place, dtype, wrong }
    }
}

impl Ours<'_> {
    /// Its shape.
    pub(super) fn shape(&self) -> Option<Vec<usize>> {
        let sizes = |&id: &TensorId| {
            self.torch.tensors[id].shape.iter().map(|&axis| usize::try_from(axis).ok()).collect::<Option<Vec<_>>>()
        };
        let shapes: Vec<Vec<usize>> = self.from.iter().map(sizes).collect::<Option<_>>()?;
        self.step.shape(&shapes.iter().map(Vec::as_slice).collect::<Vec<_>>()).ok()
    }

    fn rank(&self) -> Option<usize> {
        self.shape().map(|shape| shape.len())
    }

    /// Rows as a view has them.
    fn rows(&self, view: View) -> Option<usize> {
        let shape = self.shape()?;
        let count: usize = shape.iter().product();
        let width = match (view, shape.as_slice()) {
            (View::Rows, [.., _, last]) => *last,
            (View::Columns | View::Turned, [.., second, _]) => *second,
            _ => 1,
        };
        count.checked_div(width)
    }
}
