//! Somebody else's conversion compared with ours: each tensor is matched by name or by content, and classified.
//!
//! One pair of tensors is in memory at a time.

mod content;
mod order;
mod pair;
mod pieces;
mod quantized;
mod rearranged;
mod rounding;
mod rows;
mod shifted;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::export::state_dict::{Doubt, Entry, Sources, StateDict};
use crate::plan::Move;
use crate::plan::weights::{self, Fold};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::{Checkpoint, Dtype, Spread, TensorData, TensorId};

pub use pieces::Piece;

/// What a tensor of the other file is.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Equal to ours to the byte.
    Equal,
    /// Ours in another type, to the bit.
    Cast(Dtype),
    /// Ours but for rounding: it is computed, in another type or another order.
    EqualToRounding {
        /// The largest difference.
        max_abs: f64,
        /// What rounding may explain there.
        tolerance: f64,
    },
    /// Packed by `mlx.nn.quantize`, within a step of its scale.
    Quantized {
        /// Bits of a number.
        bits: usize,
        /// Numbers that share a scale.
        group: usize,
        /// The largest error.
        max_abs: f64,
    },
    /// Our numbers with torch's axes in this order, which is not ours.
    Transposed {
        /// `axes[i]` is the torch axis that became axis i.
        axes: Vec<usize>,
        /// The order that MLX's layer wants; `None` where ours is more than an order of axes.
        wanted: Option<Vec<usize>>,
    },
    /// Our numbers in some order of axes; the torch checkpoint does not say which order is right.
    Unjudged {
        /// As of [`Verdict::Transposed`].
        axes: Vec<usize>,
        /// Between what it does not tell.
        reason: String,
    },
    /// A part of ours: theirs has it cut.
    Slice(Piece),
    /// One of several of ours that theirs has as one tensor, stacked or joined.
    Stack(Piece),
    /// Torch's tensor as it is, which `mlx.nn` has in another form (`in_proj` not split).
    Unconverted,
    /// Torch's weight as it is, where ours adds this number: right where the port adds it at run time.
    Unshifted {
        /// What ours adds.
        offset: f64,
    },
    /// What ours adds to torch's weight, added twice.
    ShiftedTwice {
        /// What ours adds.
        offset: f64,
    },
    /// Other numbers, or another shape.
    Different {
        /// The largest difference; `None` where the shapes are different.
        max_abs: Option<f64>,
        /// What is to be said besides.
        what: String,
    },
    /// Ours has no counterpart.
    Missing,
    /// No tensor of our conversion fits it.
    Extra,
}

impl Verdict {
    /// The word in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::Cast(_) => "cast",
            Verdict::EqualToRounding { .. } => "equal-to-rounding",
            Verdict::Quantized { .. } => "quantised",
            Verdict::Transposed { .. } => "transposed",
            Verdict::Unjudged { .. } => "unjudged",
            Verdict::Slice(_) => "slice",
            Verdict::Stack(_) => "stack",
            Verdict::Unconverted => "unconverted",
            Verdict::Unshifted { .. } => "unshifted",
            Verdict::ShiftedTwice { .. } => "shifted-twice",
            Verdict::Different { .. } => "different",
            Verdict::Missing => "missing",
            Verdict::Extra => "extra",
        }
    }

    /// Whether the tensor holds what it should, as far as its type can.
    pub fn is_good(&self) -> bool {
        match self {
            Verdict::Equal | Verdict::Cast(_) | Verdict::EqualToRounding { .. } | Verdict::Quantized { .. } => true,
            Verdict::Slice(piece) | Verdict::Stack(piece) => piece.wrong.is_none(),
            Verdict::Transposed { .. }
            | Verdict::Unjudged { .. }
            | Verdict::Unconverted
            | Verdict::Unshifted { .. }
            | Verdict::ShiftedTwice { .. }
            | Verdict::Different { .. }
            | Verdict::Missing
            | Verdict::Extra => false,
        }
    }
}

/// How two tensors found each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// They have one name.
    Name,
    /// They hold the same numbers.
    Content,
}

/// One line of the comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding<'a> {
    /// Our name; `None` for an extra.
    pub name: Option<&'a str>,
    /// The other file's name; `None` for what is missing.
    pub other: Option<&'a str>,
    /// How they found each other.
    pub by: By,
    /// What it is.
    pub verdict: Verdict,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor cannot be read.
    #[error(transparent)]
    Read(#[from] t2m_checkpoint::Error),
    /// A tensor does not fit its move.
    #[error("tensor `{}`: {error}", quoted(name))]
    Move {
        /// Our name.
        name: String,
        /// What does not fit.
        error: weights::Error,
    },
}

/// What one of our tensors is, and what it is called.
struct Ours<'a> {
    name: &'a str,
    step: Arc<Move>,
    from: Sources,
    /// Another name that the other file may have for it.
    own_name: Option<&'a str>,
    /// Whether it may be absent: it is another name of a tensor that is there.
    optional: bool,
    /// Why its layout is not known, where it is not.
    doubt: Option<&'a Doubt>,
    torch: &'a Checkpoint,
}

/// Hold another file against the conversion of a checkpoint.
///
/// # Errors
/// A tensor cannot be read or the tensors are views that come to far more than is stored.
pub fn with_conversion<'a>(
    torch: &'a Checkpoint,
    map: &'a StateDict,
    other: &'a Checkpoint,
) -> Result<Vec<Finding<'a>>, Error> {
    let entry = |entry: &'a Entry| {
        // A part or a fold is not torch's tensor under another name.
        let own = entry.from.first().filter(|_| entry.step.fold == Fold::One);
        Ours {
            name: &entry.name,
            step: Arc::clone(&entry.step),
            from: entry.from.clone(),
            own_name: own.map(|&id| torch.tensors[id].name.as_str()),
            optional: false,
            doubt: entry.layout_doubt(),
            torch,
        }
    };
    let mut ours: Vec<Ours<'_>> = map.entries.iter().map(entry).collect();
    let by_name: HashMap<&str, &Entry, RandomState> = match map.tied().next() {
        Some(_) => map.entries.iter().map(|entry| (entry.name.as_str(), entry)).collect(),
        None => HashMap::default(),
    };
    for (left, written) in map.tied() {
        if let Some(first) = by_name.get(written) {
            ours.push(Ours { name: &left.name, own_name: None, optional: true, ..entry(first) });
        }
    }
    compare(&ours, torch, other)
}

/// Compare two torch checkpoints, tensor by tensor under their own names.
///
/// # Errors
/// As [`with_conversion`].
pub fn checkpoints<'a>(torch: &'a Checkpoint, other: &'a Checkpoint) -> Result<Vec<Finding<'a>>, Error> {
    let step = Arc::new(Move::keep("tensor"));
    let ours = |(id, tensor): (TensorId, &'a t2m_checkpoint::Tensor)| Ours {
        name: &tensor.name,
        step: Arc::clone(&step),
        from: Sources::from_slice(&[id]),
        own_name: None,
        optional: false,
        doubt: None,
        torch,
    };
    let ours: Vec<Ours<'_>> = torch.tensors.iter().enumerate().map(ours).collect();
    compare(&ours, torch, other)
}

/// Whether the other file is a torch checkpoint as well: by its metadata or format, by the shapes of what a conversion lays
/// out otherwise, by the names that only one of the two has.
pub fn is_torch(torch: &Checkpoint, map: &StateDict, other: &Checkpoint) -> bool {
    match other.metadata.get("format").and_then(|format| format.as_str()) {
        Some("mlx") => return false,
        Some("pt") => return true,
        _ if other.pickle.is_some() => return true,
        _ => {}
    }
    let there: HashMap<&str, &[u64]> =
        other.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
    let (mut as_torch, mut as_mlx) = (0usize, 0usize);
    for entry in map.entries.iter().filter(|entry| entry.from.len() == 1) {
        let (own, ours) = (&torch.tensors[entry.from[0]], entry.shape.iter().map(|&axis| axis as u64));
        let ours: Vec<u64> = ours.collect();
        if let Some(&shape) = there.get(entry.name.as_str()).filter(|_| own.shape.as_slice() != ours) {
            as_torch += usize::from(shape == own.shape.as_slice());
            as_mlx += usize::from(shape == ours);
        }
    }
    if as_torch != as_mlx {
        return as_torch > as_mlx;
    }
    let mlx: HashSet<&str> = map.entries.iter().map(|entry| entry.name.as_str()).collect();
    let own: HashSet<&str> = torch.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let only = |these: &HashSet<&str>, those: &HashSet<&str>| {
        these.difference(those).filter(|name| there.contains_key(**name)).count()
    };
    only(&own, &mlx) > only(&mlx, &own)
}

/// The other file's tensors, each of which is found once.
struct There<'a> {
    file: &'a Checkpoint,
    names: HashMap<&'a str, TensorId, RandomState>,
    taken: Vec<bool>,
}

impl<'a> There<'a> {
    fn of(file: &'a Checkpoint) -> There<'a> {
        let names = file.tensors.iter().enumerate().map(|(id, tensor)| (tensor.name.as_str(), id));
        There { file, names: names.collect(), taken: vec![false; file.tensors.len()] }
    }

    fn find(&self, name: &str) -> Option<TensorId> {
        self.names.get(name).copied()
    }

    fn find_free(&self, name: &str) -> Option<TensorId> {
        self.find(name).filter(|&id| !self.taken[id])
    }

    fn take(&mut self, id: TensorId) {
        self.taken[id] = true;
    }

    /// Those that were not taken; of several of one name the last.
    fn free(&self) -> Vec<TensorId> {
        let named = |&id: &TensorId| self.find(&self.file.tensors[id].name) == Some(id);
        (0..self.taken.len()).filter(|&id| !self.taken[id]).filter(named).collect()
    }

    fn name(&self, id: TensorId) -> &'a str {
        &self.file.tensors[id].name
    }
}

fn compare<'a>(ours: &[Ours<'a>], torch: &'a Checkpoint, other: &'a Checkpoint) -> Result<Vec<Finding<'a>>, Error> {
    let mut there = There::of(other);
    let mut pairs: Vec<(usize, TensorId, By)> = Vec::with_capacity(ours.len());
    let mut alone: Vec<usize> = Vec::new();
    for (at, tensor) in ours.iter().enumerate() {
        match std::iter::once(tensor.name).chain(tensor.own_name).find_map(|name| there.find_free(name)) {
            Some(id) => {
                there.take(id);
                pairs.push((at, id, By::Name));
            }
            None => alone.push(at),
        }
    }
    // Theirs may have a tied tensor under its other name alone.
    let under_another: HashSet<Sources> =
        pairs.iter().filter(|(at, ..)| ours[*at].optional).map(|(at, ..)| sources(torch, &ours[*at])).collect();
    alone.retain(|&at| under_another.is_empty() || !under_another.contains(&sources(torch, &ours[at])));
    // A scale or a bias beside packed words belongs to them.
    for &(_, id, _) in &pairs {
        for part in quantized::parts(&there, id).into_iter().flatten() {
            there.take(part);
        }
    }
    let (packed, used) = quantized::stacks(ours, &alone, &there)?;
    used.into_iter().for_each(|id| there.take(id));
    let stacked: HashSet<usize> = packed.iter().map(|found| found.ours).collect();
    alone.retain(|at| !stacked.contains(at));
    let mut strangers = there.free();
    bound(ours, &pairs, &alone, torch, &there, &strangers)?;
    let mut findings = Vec::with_capacity(ours.len() + strangers.len());
    unconverted(ours, torch, &mut there, &mut alone, &mut findings)?;
    strangers.retain(|&id| !there.taken[id]);
    let found = content::pairs(ours, &alone, other, &strangers)?;
    if !found.is_empty() {
        let (mine, theirs): (HashSet<usize>, HashSet<TensorId>) = found.iter().copied().unzip();
        alone.retain(|at| !mine.contains(at));
        strangers.retain(|id| !theirs.contains(id));
        pairs.extend(found.into_iter().map(|(at, id)| (at, id, By::Content)));
        pairs.sort_unstable_by_key(|(at, ..)| *at);
    }
    let mut judged = Judged::of(torch, other);
    for (at, id, by) in pairs {
        let verdict = judged.verdict(&ours[at], &there, id)?;
        findings.push(Finding { name: Some(ours[at].name), other: Some(there.name(id)), by, verdict });
    }
    let parts = pieces::find(ours, &alone, other, &strangers)?;
    let (mine, theirs): (HashSet<usize>, HashSet<TensorId>) =
        (parts.iter().map(|part| part.ours).collect(), parts.iter().filter_map(|part| part.theirs).collect());
    alone.retain(|at| !mine.contains(at));
    strangers.retain(|id| !theirs.contains(id));
    for pieces::Found { ours: at, theirs, verdict } in packed.into_iter().chain(parts) {
        let other = theirs.map(|id| there.name(id));
        findings.push(Finding { name: Some(ours[at].name), other, by: By::Content, verdict });
    }
    for at in alone.into_iter().filter(|&at| !ours[at].optional) {
        let verdict = Verdict::Missing;
        findings.push(Finding { name: Some(ours[at].name), other: None, by: By::Name, verdict });
    }
    for id in strangers {
        let verdict = Verdict::Extra;
        findings.push(Finding { name: None, other: Some(there.name(id)), by: By::Name, verdict });
    }
    Ok(findings)
}

/// What tensors that share their bytes have in common: the first of them.
fn elder(checkpoint: &Checkpoint, id: TensorId) -> TensorId {
    checkpoint.tensors[id].shared_with.unwrap_or(id)
}

/// The tensors that a tensor of ours is made of, of those that share their bytes the first.
fn sources(torch: &Checkpoint, ours: &Ours<'_>) -> Sources {
    ours.from.iter().map(|&id| elder(torch, id)).collect()
}

/// Hold what will be read against what is stored. Pairs of tied tensors are read once.
fn bound<'a>(
    ours: &[Ours<'a>],
    pairs: &[(usize, TensorId, By)],
    alone: &[usize],
    torch: &'a Checkpoint,
    there: &There<'a>,
    strangers: &[TensorId],
) -> Result<(), Error> {
    let other = there.file;
    let mut spread = Spread::of(&[torch, other]);
    let mut seen: HashSet<Pair> = HashSet::new();
    let tied = Judged::of(torch, other);
    for &(at, id, _) in pairs {
        let new = !tied.is_tied(&ours[at], id) || seen.insert((sources(torch, &ours[at]), elder(other, id)));
        if new {
            ours[at].from.iter().for_each(|&from| spread.add_tensor(torch, from));
            spread.add_tensor(other, id);
        }
    }
    // What has found nobody is read to be found by what it holds.
    alone.iter().flat_map(|&at| &ours[at].from).for_each(|&from| spread.add_tensor(torch, from));
    strangers.iter().for_each(|&id| spread.add_tensor(other, id));
    Ok(spread.check()?)
}

/// What a tensor of ours is made of, and the other's: of tied ones the first.
type Pair = (Sources, TensorId);

/// Verdicts of pairs that will come again: tied tensors have many names and are compared once.
struct Judged<'a> {
    torch: &'a Checkpoint,
    other: &'a Checkpoint,
    /// Tensors that others share their bytes with, or that share another's.
    tied: [HashSet<TensorId>; 2],
    known: HashMap<Pair, Vec<(Arc<Move>, Verdict)>>,
}

impl<'a> Judged<'a> {
    fn of(torch: &'a Checkpoint, other: &'a Checkpoint) -> Judged<'a> {
        let tied =
            |checkpoint: &Checkpoint| checkpoint.tensors.iter().filter_map(|tensor| tensor.shared_with).collect();
        Judged { torch, other, tied: [torch, other].map(tied), known: HashMap::new() }
    }

    fn is_tied(&self, ours: &Ours<'_>, id: TensorId) -> bool {
        let [torch, other] = &self.tied;
        ours.optional
            || other.contains(&elder(self.other, id))
            || ours.from.iter().any(|&from| torch.contains(&elder(self.torch, from)))
    }

    fn verdict(&mut self, ours: &Ours<'a>, there: &There<'_>, id: TensorId) -> Result<Verdict, Error> {
        if !self.is_tied(ours, id) {
            return pair::judge(ours, there, id);
        }
        let known = self.known.entry((sources(self.torch, ours), elder(self.other, id))).or_default();
        let same = |step: &Move| (&step.fold, &step.rule.layout) == (&ours.step.fold, &ours.step.rule.layout);
        if let Some((_, verdict)) = known.iter().find(|(step, _)| same(step)) {
            return Ok(verdict.clone());
        }
        let verdict = pair::judge(ours, there, id)?;
        known.push((Arc::clone(&ours.step), verdict.clone()));
        Ok(verdict)
    }
}

/// Torch's own tensors that the other file has under torch's names, where ours are made of parts or folds of them.
fn unconverted<'a>(
    ours: &[Ours<'a>],
    torch: &'a Checkpoint,
    there: &mut There<'a>,
    alone: &mut Vec<usize>,
    findings: &mut Vec<Finding<'a>>,
) -> Result<(), Error> {
    // Each source, with the first of ours that is made of it.
    let mut sources: Vec<(TensorId, usize)> =
        alone.iter().flat_map(|&at| ours[at].from.iter().map(move |&from| (from, at))).collect();
    sources.sort_unstable();
    sources.dedup_by_key(|(source, _)| *source);
    let mut told: HashSet<TensorId> = HashSet::new();
    for (source, at) in sources {
        let name = torch.tensors[source].name.as_str();
        let Some(id) = there.find_free(name) else { continue };
        let (raw, found) = (torch.read(source)?, there.file.read(id)?);
        if raw.shape == found.shape && raw.cast(found.dtype).is_some_and(|raw| raw.bytes == found.bytes) {
            there.take(id);
            told.insert(source);
            let (name, other) = (Some(ours[at].name), Some(there.name(id)));
            findings.push(Finding { name, other, by: By::Name, verdict: Verdict::Unconverted });
        }
    }
    let is_told = |id: &TensorId| told.contains(id);
    alone.retain(|&at| told.is_empty() || !ours[at].from.iter().all(is_told));
    Ok(())
}

impl Ours<'_> {
    /// Our tensor.
    fn make(&self) -> Result<TensorData, Error> {
        let sources: Result<Vec<TensorData>, _> = self.from.iter().map(|&id| self.torch.read(id)).collect();
        let sources = sources?;
        let made = self.step.apply(&sources.iter().collect::<Vec<_>>());
        made.map_err(|error| Error::Move { name: self.name.to_owned(), error })
    }

    fn elements(&self) -> Option<u64> {
        let sizes = |&id: &TensorId| {
            self.torch.tensors[id].shape.iter().map(|&axis| usize::try_from(axis).ok()).collect::<Option<Vec<_>>>()
        };
        let shapes: Vec<Vec<usize>> = self.from.iter().map(sizes).collect::<Option<_>>()?;
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        self.step.shape(&shapes).ok().map(|shape| shape.iter().product::<usize>() as u64)
    }
}
