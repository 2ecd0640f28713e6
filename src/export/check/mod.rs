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

use crate::export::state_dict::{Doubt, Entry, StateDict};
use crate::plan::Move;
use crate::plan::weights::{self, Fold};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::{Checkpoint, Dtype, TensorData, TensorId};

pub use pieces::Piece;
pub use shifted::by_family;

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
pub struct Finding {
    /// Our name; `None` for an extra.
    pub name: Option<String>,
    /// The other file's name; `None` for what is missing.
    pub other: Option<String>,
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
    name: String,
    step: Arc<Move>,
    from: Vec<TensorId>,
    /// Names that the other file may have for it.
    names: Vec<String>,
    /// Whether it may be absent: it is another name of a tensor that is there.
    optional: bool,
    /// Why its layout is not known, where it is not.
    doubt: Option<&'a Doubt>,
    torch: &'a Checkpoint,
}

/// Hold another file against the conversion of a checkpoint.
///
/// # Errors
/// A tensor cannot be read.
pub fn with_conversion<'a>(
    torch: &'a Checkpoint,
    map: &'a StateDict,
    other: &Checkpoint,
) -> Result<Vec<Finding>, Error> {
    let entry = |entry: &'a Entry| {
        // A part or a fold is not torch's tensor under another name.
        let own = entry.from.first().filter(|_| entry.step.fold == Fold::One);
        let own = own.map(|&id| torch.tensors[id].name.to_string());
        let names = std::iter::once(entry.name.to_string()).chain(own).collect();
        Ours {
            name: entry.name.to_string(),
            step: Arc::clone(&entry.step),
            from: entry.from.to_vec(),
            names,
            optional: false,
            doubt: entry.layout_doubt(),
            torch,
        }
    };
    let mut ours: Vec<Ours<'_>> = map.entries.iter().map(entry).collect();
    let by_name: HashMap<&str, &Entry> = match map.tied().next() {
        Some(_) => map.entries.iter().map(|entry| (entry.name.as_str(), entry)).collect(),
        None => HashMap::new(),
    };
    for (left, written) in map.tied() {
        if let Some(first) = by_name.get(written) {
            let names = vec![left.name.clone()];
            ours.push(Ours { name: left.name.clone(), names, optional: true, ..entry(first) });
        }
    }
    compare(&ours, torch, other)
}

/// Compare two torch checkpoints, tensor by tensor under their own names.
///
/// # Errors
/// As [`with_conversion`].
pub fn checkpoints(torch: &Checkpoint, other: &Checkpoint) -> Result<Vec<Finding>, Error> {
    let ours = |(id, tensor): (TensorId, &t2m_checkpoint::Tensor)| Ours {
        name: tensor.name.to_string(),
        step: Arc::new(Move::keep(&tensor.name)),
        from: vec![id],
        names: vec![tensor.name.to_string()],
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

fn compare(ours: &[Ours<'_>], torch: &Checkpoint, other: &Checkpoint) -> Result<Vec<Finding>, Error> {
    let mut there: HashMap<&str, TensorId> =
        other.tensors.iter().enumerate().map(|(id, tensor)| (tensor.name.as_str(), id)).collect();
    let mut pairs: Vec<(usize, TensorId, By)> = Vec::new();
    let mut alone: Vec<usize> = Vec::new();
    for (at, tensor) in ours.iter().enumerate() {
        match tensor.names.iter().find_map(|name| there.remove(name.as_str())) {
            Some(id) => pairs.push((at, id, By::Name)),
            None => alone.push(at),
        }
    }
    // A scale or a bias beside packed words belongs to them.
    for &(_, id, _) in &pairs {
        for part in quantized::parts(other, id).into_iter().flatten() {
            there.remove(other.tensors[part].name.as_str());
        }
    }
    let mut findings = Vec::new();
    unconverted(ours, torch, other, &mut there, &mut alone, &mut findings)?;
    let mut strangers: Vec<TensorId> = there.into_values().collect();
    strangers.sort_unstable();
    for (at, id) in content::pairs(ours, &alone, other, &strangers)? {
        alone.retain(|&other| other != at);
        strangers.retain(|&other| other != id);
        pairs.push((at, id, By::Content));
    }
    pairs.sort_unstable_by_key(|(at, ..)| *at);
    for (at, id, by) in pairs {
        let verdict = pair::judge(&ours[at], other, id)?;
        let other = Some(other.tensors[id].name.to_string());
        findings.push(Finding { name: Some(ours[at].name.clone()), other, by, verdict });
    }
    let parts = pieces::find(ours, &alone, other, &strangers)?;
    let (mine, theirs): (HashSet<usize>, HashSet<TensorId>) =
        (parts.iter().map(|part| part.ours).collect(), parts.iter().filter_map(|part| part.theirs).collect());
    alone.retain(|at| !mine.contains(at));
    strangers.retain(|id| !theirs.contains(id));
    for pieces::Found { ours: at, theirs, verdict } in parts {
        let other = theirs.map(|id| other.tensors[id].name.to_string());
        findings.push(Finding { name: Some(ours[at].name.clone()), other, by: By::Content, verdict });
    }
    for at in alone.into_iter().filter(|&at| !ours[at].optional) {
        let name = Some(ours[at].name.clone());
        findings.push(Finding { name, other: None, by: By::Name, verdict: Verdict::Missing });
    }
    for id in strangers {
        let other = Some(other.tensors[id].name.to_string());
        findings.push(Finding { name: None, other, by: By::Name, verdict: Verdict::Extra });
    }
    Ok(findings)
}

/// Torch's own tensors that the other file has under torch's names, where ours are made of parts or folds of them.
fn unconverted<'a>(
    ours: &[Ours<'_>],
    torch: &Checkpoint,
    other: &'a Checkpoint,
    there: &mut HashMap<&'a str, TensorId>,
    alone: &mut Vec<usize>,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let mut sources: Vec<TensorId> = alone.iter().flat_map(|&at| ours[at].from.iter().copied()).collect();
    sources.sort_unstable();
    sources.dedup();
    for source in sources {
        let name = torch.tensors[source].name.as_str();
        let Some(&id) = there.get(name) else { continue };
        let (raw, found) = (torch.read(source)?, other.read(id)?);
        if raw.shape == found.shape && raw.cast(found.dtype).is_some_and(|raw| raw.bytes == found.bytes) {
            there.remove(name);
            let of = alone.iter().find(|&&at| ours[at].from.contains(&source)).map(|&at| ours[at].name.clone());
            let other = Some(name.to_owned());
            findings.push(Finding { name: of, other, by: By::Name, verdict: Verdict::Unconverted });
        }
    }
    let told: HashSet<String> = findings.iter().filter_map(|finding| finding.other.clone()).collect();
    alone.retain(|&at| !ours[at].from.iter().all(|&id| told.contains(torch.tensors[id].name.as_str())));
    Ok(())
}

impl Ours<'_> {
    /// Our tensor.
    fn make(&self) -> Result<TensorData, Error> {
        let sources: Result<Vec<TensorData>, _> = self.from.iter().map(|&id| self.torch.read(id)).collect();
        let sources = sources?;
        let made = self.step.apply(&sources.iter().collect::<Vec<_>>());
        made.map_err(|error| Error::Move { name: self.name.clone(), error })
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
