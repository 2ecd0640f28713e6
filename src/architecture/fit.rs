//! How an architecture fits a state dict, tensor by tensor.

use std::collections::{HashMap, HashSet};

use compact_str::{CompactString, format_compact};
use foldhash::fast::RandomState;

use super::asset::{Described, DescribedTensor};
use super::search::suffixes;

/// Tensors that the place of a tree is looked for by.
const ANCHORS: usize = 96;
/// A name's end that more tensors share says nothing of the place.
const MOST_ALIKE: usize = 6;
/// Tensors of another shape, and gaps: where they are more than this, or more than one in twenty, it is another model of the kind,
/// whose activations and strides may be others too.
const MOST_APART: usize = 4;
/// Tensors of another shape that are named.
const MOST_TOLD: usize = 4;
/// A tree fits where the file has this share of its tensors, or where it explains this share of the file's.
const FITS: f64 = 0.8;

/// Tensors of a file by name.
pub type Names<'t> = HashMap<&'t str, &'t [u64], RandomState>;

/// Where the tree is in the file's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// The file's names begin with this, and the tree's follow: `""`, `backbone.`
    Below(CompactString),
    /// The file has a part of the tree, whose names begin with this.
    Above(CompactString),
}

impl Place {
    /// The file's name of something that the tree has under this name, if it is in the file's part.
    pub fn in_file(&self, name: &str) -> Option<CompactString> {
        match self {
            Place::Below(prefix) => Some(format_compact!("{prefix}{name}")),
            Place::Above(prefix) => name.strip_prefix(prefix.as_str()).map(CompactString::from),
        }
    }
}

/// What fits and what does not, by the file's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    pub place: Place,
    /// Tensors of the same name and shape.
    pub fitting: usize,
    /// Tensors that the tree has there.
    pub of: usize,
    /// Tensors of another shape: name, the file's, the tree's.
    pub differing: Vec<(String, Vec<u64>, Vec<u64>)>,
    /// Parameters that the file does not have.
    pub missing: Vec<String>,
    /// Tensors that the tree does not have.
    pub unexpected: usize,
    /// Their names, where somebody has asked for them.
    pub unexpected_names: Vec<String>,
    /// Tensors that make it another model, if they are many: of another shape, missing, or more, within what both have.
    pub apart: usize,
    /// Tensors of the tree outside of the part that the file has.
    pub outside: usize,
}

impl Fit {
    /// How well it fits; comparable among trees and one file. Of trees that fit as well a whole one is meant, not a part.
    pub fn rank(&self) -> (usize, std::cmp::Reverse<usize>, bool) {
        let rest = self.differing.len() + self.missing.len() + self.unexpected + self.outside;
        (self.fitting, std::cmp::Reverse(rest), matches!(self.place, Place::Below(_)))
    }

    /// Whether it is this model: enough fits, and too little is apart to come from another one of the kind.
    pub fn is_it(&self, all: usize) -> bool {
        let share = |of: usize| self.fitting as f64 / of.max(1) as f64;
        let explains = share(all) >= FITS && share(self.of) >= 0.5;
        let close = self.apart <= MOST_APART.max(self.of / 20);
        self.fitting > 0 && close && (share(self.of) >= FITS || explains)
    }

    /// What the file has and the tree has not, and the other way round, a sentence each.
    pub fn differences(&self) -> Vec<String> {
        let shape = |sizes: &[u64]| sizes.iter().map(u64::to_string).collect::<Vec<_>>().join("×");
        let mut found: Vec<String> = self
            .differing
            .iter()
            .take(MOST_TOLD)
            .map(|(name, have, wanted)| format!("`{name}` is {} here and {} there", shape(have), shape(wanted)))
            .collect();
        if self.differing.len() > MOST_TOLD {
            found.push(format!("{} more tensors have another shape", self.differing.len() - MOST_TOLD));
        }
        match self.missing.as_slice() {
            [] => {}
            [only] => found.push(format!("`{only}` is not in the file")),
            [first, ..] => found.push(format!("{} tensors are not in the file, `{first}` for one", self.missing.len())),
        }
        match self.unexpected {
            0 => {}
            1 => found.push("1 tensor of the file is not in it".to_owned()),
            more => found.push(format!("{more} tensors of the file are not in it")),
        }
        found
    }

    /// The same with the names, so many of each kind.
    pub fn listed(&self, most: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut tell = |what: &str, names: Vec<String>| {
            let more = names.len().checked_sub(most).filter(|more| *more > 0);
            let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
            let shown: Vec<&str> = names.iter().take(most).map(String::as_str).collect();
            if !shown.is_empty() {
                found.push(format!("{} {what}: {}{more}", names.len(), shown.join(", ")));
            }
        };
        let shape = |sizes: &[u64]| sizes.iter().map(u64::to_string).collect::<Vec<_>>().join("×");
        let differing = |(name, have, wanted): &(String, Vec<u64>, Vec<u64>)| {
            format!("`{name}` {} instead of {}", shape(have), shape(wanted))
        };
        tell("of another shape", self.differing.iter().map(differing).collect());
        tell("not in the file", self.missing.iter().map(|name| format!("`{name}`")).collect());
        tell("not in the model", self.unexpected_names.iter().map(|name| format!("`{name}`")).collect());
        found
    }

    /// Name the tensors that the tree has not.
    pub fn name_unexpected(&mut self, root: Described<'_>, names: &Names<'_>) {
        let mut tensors = Vec::new();
        list(root, "", &mut tensors);
        let known: HashSet<CompactString, RandomState> =
            tensors.iter().filter_map(|(name, _)| self.place.in_file(name)).collect();
        let unknown = names.keys().filter(|name| !known.contains(**name)).map(|name| (*name).to_owned());
        self.unexpected_names = unknown.collect();
        self.unexpected_names.sort_unstable();
    }

    /// Whether nothing is left over on either side.
    pub fn is_whole(&self) -> bool {
        self.differing.is_empty() && self.missing.is_empty() && self.unexpected == 0
    }
}

/// All tensors of a tree, with their names behind a prefix.
pub fn list<'a>(module: Described<'a>, prefix: &str, found: &mut Vec<(CompactString, DescribedTensor<'a>)>) {
    found.extend(module.tensors().map(|tensor| (format_compact!("{prefix}{}", tensor.name), tensor)));
    for (name, child) in module.children() {
        list(child, &format!("{prefix}{name}."), found);
    }
}

/// A file's names by their last parts.
pub fn by_suffix<'t>(names: impl Iterator<Item = &'t str>) -> HashMap<&'t str, Vec<&'t str>, RandomState> {
    let mut ends: HashMap<&str, Vec<&str>, RandomState> = HashMap::default();
    for name in names {
        for suffix in suffixes(name) {
            let alike = ends.entry(suffix).or_default();
            if alike.len() <= MOST_ALIKE {
                alike.push(name);
            }
        }
    }
    ends
}

/// How a tree fits; `None` where nothing of it is in the file.
pub fn fit(root: Described<'_>, names: &Names<'_>, ends: &HashMap<&str, Vec<&str>, RandomState>) -> Option<Fit> {
    let mut tensors = Vec::new();
    list(root, "", &mut tensors);
    fit_listed(&tensors, names, ends)
}

/// How tensors fit that are listed under the names that a file would have them under.
pub fn fit_listed(
    tensors: &[(CompactString, DescribedTensor<'_>)],
    names: &Names<'_>,
    ends: &HashMap<&str, Vec<&str>, RandomState>,
) -> Option<Fit> {
    Some(fit_at(place(tensors, names, ends)?, tensors, names))
}

/// How a tree fits at a place of the file.
pub fn fit_at(place: Place, tensors: &[(CompactString, DescribedTensor<'_>)], names: &Names<'_>) -> Fit {
    let mut fit = Fit {
        place,
        fitting: 0,
        of: 0,
        differing: Vec::new(),
        missing: Vec::new(),
        unexpected: 0,
        unexpected_names: Vec::new(),
        apart: 0,
        outside: 0,
    };
    let mut met = 0usize;
    let mut missing: Vec<&str> = Vec::new();
    let mut there: HashSet<&str, RandomState> = HashSet::default();
    for (name, tensor) in tensors {
        let whole = name;
        let Some(name) = fit.place.in_file(name) else {
            fit.outside += 1;
            continue;
        };
        fit.of += 1;
        if names.contains_key(name.as_str()) {
            there.insert(child(whole));
        }
        match (names.get(name.as_str()), tensor.shape) {
            (Some(have), Some(shape)) if *have != shape => {
                met += 1;
                fit.differing.push((name.to_string(), have.to_vec(), shape.to_vec()));
            }
            (Some(_), _) => {
                met += 1;
                fit.fitting += 1;
            }
            // Older files lack `num_batches_tracked`, and whether a buffer is saved changes with versions.
            (None, _) if tensor.is_buffer => fit.of -= 1,
            (None, _) => {
                missing.push(child(whole));
                fit.missing.push(name.to_string());
            }
        }
    }
    fit.unexpected = names.len() - met;
    // A head may be cut off as a whole, and others stand around the tree; within what is there, what is missing or more makes it
    // another model.
    let gaps = missing.into_iter().filter(|child| there.contains(child)).count();
    let known: HashSet<CompactString, RandomState> =
        tensors.iter().filter_map(|(name, _)| fit.place.in_file(name)).collect();
    let more = names.keys().filter(|name| !known.contains(**name)).filter(|name| {
        let own = match &fit.place {
            Place::Below(prefix) => name.strip_prefix(prefix.as_str()).map(CompactString::from),
            Place::Above(prefix) => Some(format_compact!("{prefix}{name}")),
        };
        own.is_some_and(|own| there.contains(child(&own)))
    });
    fit.apart = gaps + more.count() + fit.differing.len();
    fit
}

/// The part of the model that a tensor of the tree belongs to: the child of the root, or the tensor itself.
fn child(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Where the tree is, by the vote of tensors whose last parts and shape few others have.
fn place(
    tensors: &[(CompactString, DescribedTensor<'_>)],
    names: &Names<'_>,
    ends: &HashMap<&str, Vec<&str>, RandomState>,
) -> Option<Place> {
    let mut votes: HashMap<Place, usize, RandomState> = HashMap::default();
    let mut anchors = 0usize;
    for (name, tensor) in tensors {
        if anchors >= ANCHORS {
            break;
        }
        let suffix = suffixes(name).last().unwrap_or(name);
        let Some(alike) = ends.get(suffix).filter(|alike| alike.len() <= MOST_ALIKE) else { continue };
        for file in alike.iter().filter(|file| names.get(**file).copied() == tensor.shape) {
            let place = match (file.strip_suffix(name.as_str()), name.strip_suffix(*file)) {
                (Some(prefix), _) if prefix.is_empty() || prefix.ends_with('.') => Place::Below(prefix.into()),
                (_, Some(prefix)) if prefix.ends_with('.') => Place::Above(prefix.into()),
                _ => continue,
            };
            *votes.entry(place).or_default() += 1;
            anchors += 1;
        }
    }
    // Where all names end alike, as in a few heads, the whole names tell.
    if votes.is_empty() {
        let whole = tensors.iter().filter(|(name, tensor)| names.get(name.as_str()).copied() == tensor.shape);
        return whole.map(|_| Place::Below(CompactString::default())).next();
    }
    // Of as many votes the shortest prefix: the outermost place.
    let length = |place: &Place| match place {
        Place::Below(prefix) | Place::Above(prefix) => prefix.len(),
    };
    votes.into_iter().max_by_key(|(place, votes)| (*votes, std::cmp::Reverse(length(place)))).map(|(place, _)| place)
}
