//! Published architectures: a bare state dict is matched by names and shapes, and its modules get the classes and
//! hyper-parameters of the model that it fits.

mod asset;
mod built;
mod call;
mod configured;
mod fit;
mod graph;
mod merge;
pub mod rules;
mod search;
pub mod spec;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use compact_str::CompactString;
use serde_json::Value;
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::{Checkpoint, Content, Tensor};

use crate::model::{self, Evidence, Model};
use asset::{Asset, Block, Tree};
pub use built::Asked;
pub use call::{Candidate, candidates};
pub use configured::{Renamed, configured, renamed};
use fit::{Fit, Names, Place};
pub use graph::Graph;
pub use merge::Told;

/// Larger files are none of them: the largest has 3,108 tensors, and more may stand around it.
const MOST_TENSORS: usize = 8_000;
/// Folders with more tensors are left as names and shapes suggest.
const MOST_CONFIGURED: usize = 200_000;
/// Trees that are looked at one by one.
const MOST_TREES: usize = 160;
/// Hyper-parameters that tell candidates apart: so many are named.
const MOST_TOLD: usize = 3;
/// So many tensors of each kind are named where a model was built for the file.
const MOST_NAMED: usize = 8;
/// Blocks that are unpacked for a file.
const MOST_BLOCKS: usize = 16;

/// The architecture that a file fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// The Python that built it, where that was asked for; its one name is the expression then.
    pub python: Option<String>,
    /// The library, and the version that its models were built with.
    pub library: String,
    /// That version.
    pub version: String,
    /// The version that a config.json was written by, where that is another one.
    pub saved_by: Option<String>,
    /// Models that fit: the same in everything that is known of them.
    pub names: Vec<String>,
    /// Other models with the same names and shapes; the file cannot tell them apart.
    pub others: Vec<Other>,
    /// Hyper-parameters in which they differ, which therefore stay unknown.
    pub told_apart: Vec<Told>,
    /// How well it fits.
    pub fit: Fit,
    /// Whether the file's name decided among models that fit as well.
    pub by_file_name: bool,
}

/// A model that fits as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its library.
    pub library: String,
    /// Names of models that are the same in everything.
    pub names: Vec<String>,
}

/// In what a file fits an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// In everything.
    Exact,
    /// In all but a few tensors of another shape or name: another head, other classes, other inputs.
    Head,
    /// In all that the file has, or all but what lies around it: a part of the model, or the model inside of another.
    Backbone,
    /// In most.
    Family,
}

impl Match {
    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Match::Exact => "exact",
            Match::Head => "head",
            Match::Backbone => "backbone",
            Match::Family => "family",
        }
    }
}

impl Architecture {
    /// The library's name and the model's, as Python would call it: `torchvision.resnet50`.
    pub fn full_name(&self) -> String {
        if let (Some(_), Some(expression)) = (&self.python, self.names.first()) {
            return expression.clone();
        }
        format!("{}.{}", self.library, self.names.first().map_or("", String::as_str))
    }

    /// In what it fits.
    pub fn kind(&self) -> Match {
        let Fit { differing, missing, unexpected, fitting, of, .. } = &self.fit;
        if self.fit.is_whole() {
            Match::Exact
        } else if fitting * 10 < of * 9 {
            Match::Family
        } else if differing.is_empty() && (missing.is_empty() || *unexpected == 0) {
            Match::Backbone
        } else {
            Match::Head
        }
    }

    /// The model in fewer words, for a heading: `torchvision resnet18 (122 of 122 tensors fit)`.
    pub fn heading(&self) -> String {
        let library = if self.python.is_some() { "built ".to_owned() } else { format!("{} ", self.library) };
        let name = self.names.first().map_or("", String::as_str);
        format!("{library}{name} ({} of {} tensors fit)", self.fit.fitting, self.fit.of)
    }

    /// The model in a few words: `torchvision resnet50, 320 of 320 tensors fit`.
    pub fn title(&self) -> String {
        let names = self.names.iter().take(3).cloned().collect::<Vec<_>>().join(" = ");
        let more = if self.names.len() > 3 {
            format!(" and {} more of its name", self.names.len() - 3)
        } else {
            String::new()
        };
        let place = match &self.fit.place {
            Place::Below(prefix) if prefix.is_empty() => String::new(),
            Place::Below(prefix) => format!(" below `{prefix}`"),
            Place::Above(prefix) => format!(", its part `{}`", prefix.trim_end_matches('.')),
        };
        let library = if self.python.is_some() { String::new() } else { format!("{} ", self.library) };
        format!("{library}{names}{more}{place}, {} of {} tensors fit", self.fit.fitting, self.fit.of)
    }

    /// What the file has and the architecture has not, and the other way round, in a sentence each.
    pub fn differences(&self) -> Vec<String> {
        match &self.python {
            Some(_) => self.fit.listed(MOST_NAMED),
            None => self.fit.differences(),
        }
    }

    /// The same with every name, for scripts, where the model was built for this file.
    pub fn all_differences(&self) -> Vec<String> {
        match &self.python {
            Some(_) => self.fit.listed(usize::MAX),
            None => self.fit.differences(),
        }
    }
}

/// What is to be said of it in lines: the model, what differs, which others fit as well and what tells them apart.
pub fn lines(architecture: &Architecture) -> Vec<String> {
    let Architecture { library, version, python, .. } = architecture;
    let by = python
        .as_ref()
        .map_or_else(|| format!("as {library} {version} builds it"), |python| format!("built by {python}"));
    let saved_by = architecture.saved_by.as_ref().map(|saved| format!("; its config.json is of {}", quoted(saved)));
    let mut lines = vec![format!("{}, {by}{}", architecture.title(), saved_by.unwrap_or_default())];
    lines.extend(architecture.differences());
    if let Some(first) = architecture.others.first() {
        let count: usize = architecture.others.iter().map(|other| other.names.len()).sum();
        let name = first.names.first().map_or("", String::as_str);
        let chosen = if architecture.by_file_name { "; the file's name decided" } else { "" };
        lines.push(format!("{count} more fit as well, {} {name} for one{chosen}", first.library));
    }
    lines.extend(told_apart(architecture));
    lines
}

/// What tells apart models that fit as well, in lines.
pub fn told_apart(architecture: &Architecture) -> Vec<String> {
    let mut found = Vec::new();
    let mut told: Vec<(&Told, Vec<String>, usize)> = Vec::new();
    for apart in &architecture.told_apart {
        let value = |value: &Option<Value>| value.as_ref().map_or("none".to_owned(), Value::to_string);
        let values: Vec<String> = apart.values.iter().map(value).collect();
        match told.iter_mut().find(|(first, known, _)| first.attribute == apart.attribute && *known == values) {
            Some((.., more)) => *more += 1,
            None => told.push((apart, values, 0)),
        }
    }
    for (first, values, more) in told.iter().take(MOST_TOLD) {
        let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
        let (module, name) = (&first.module, &first.attribute);
        found.push(format!("not told by the file: `{name}` of {module}{more} is {}", values.join(" or ")));
    }
    if told.len() > MOST_TOLD {
        found.push(format!("not told by the file either: {} more; --format json lists them", told.len() - MOST_TOLD));
    }
    found
}

/// A tree that fits.
struct Fitting<'a> {
    tree: &'a Tree,
    fit: Fit,
}

/// Find the architecture of a bare state dict and give its modules what that says; `None`, and nothing changed, where none
/// fits.
pub fn know(checkpoint: &Checkpoint, model: &mut Model) -> Option<Architecture> {
    if !matches!(checkpoint.content, Content::StateDict { .. }) || checkpoint.tensors.len() > MOST_TENSORS {
        return None;
    }
    let names = names_of(&checkpoint.tensors);
    let asset = Asset::get();
    let candidates = search::candidates(asset, names.iter().map(|(name, shape)| (*name, *shape)));
    if candidates.is_empty() {
        return None;
    }
    let ends = fit::by_suffix(names.keys().copied());
    let mut blocks: BTreeMap<usize, Block> = BTreeMap::new();
    let mut fitting: Vec<Fitting<'_>> = Vec::new();
    for tree in candidates.into_iter().take(MOST_TREES) {
        let whole = fitting.iter().any(|fitting| fitting.fit.is_whole());
        // What has another number of tensors cannot fit as well as one that fits in everything.
        if (whole && tree.tensors != names.len()) || (blocks.len() == MOST_BLOCKS && !blocks.contains_key(&tree.block))
        {
            continue;
        }
        let block = match blocks.entry(tree.block) {
            std::collections::btree_map::Entry::Occupied(block) => block.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(asset.block(tree.block).ok()?),
        };
        let fit = block.module(tree.root).and_then(|root| fit::fit(root, &names, &ends));
        fitting.extend(fit.filter(|fit| fit.is_it(names.len())).map(|fit| Fitting { tree, fit }));
    }
    let best = fitting.iter().map(|fitting| fitting.fit.rank()).max()?;
    fitting.retain(|fitting| fitting.fit.rank() == best);
    let by_file_name = prefer_named(&mut fitting, Some(&checkpoint.path));
    let (first, others) = fitting.split_first()?;
    let alike = if by_file_name { &[] } else { others };
    let root =
        |fitting: &Fitting<'_>| blocks.get(&fitting.tree.block).and_then(|block| block.module(fitting.tree.root));
    let others_alike: Vec<_> = alike.iter().filter_map(|other| Some((root(other)?, &other.fit.place))).collect();
    let told_apart = merge::merge(checkpoint, model, root(first)?, &first.fit, &others_alike, Evidence::Architecture);
    let (library, version) = asset.library(first.tree);
    Some(Architecture {
        python: None,
        library: library.to_owned(),
        version: version.to_owned(),
        saved_by: None,
        names: first.tree.names.clone(),
        others: others
            .iter()
            .map(|other| Other { library: asset.library(other.tree).0.to_owned(), names: other.tree.names.clone() })
            .collect(),
        told_apart,
        fit: first.fit.clone(),
        by_file_name,
    })
}

/// What the user's Python has built, and what it told beside the tree.
#[derive(Debug)]
pub struct FromPython {
    /// The model, and how the file fits it.
    pub architecture: Architecture,
    /// The file of each class.
    pub places: BTreeMap<String, PathBuf>,
    /// Its graph, where inputs were given.
    pub graph: Option<Graph>,
}

/// Let the user's Python build a model and give the modules of a bare state dict what that says; `None` where the file holds its
/// modules itself, and nothing was run.
///
/// # Errors
/// In words: the model cannot be built, or the file is of another one.
pub fn build(checkpoint: &mut Checkpoint, model: &mut Model, asked: &Asked<'_>) -> Result<Option<FromPython>, String> {
    if !matches!(checkpoint.content, Content::StateDict { .. }) {
        return Ok(None);
    }
    let built::Built { block, library, version, ties, places, graph } = built::build(asked)?;
    let root = block.module(0).ok_or("it told no modules")?;
    let renamed = names_of_modules(checkpoint, root);
    if let Some(renamed) = &renamed {
        *model = model::build_renamed(checkpoint, &renamed.tensors);
    }
    let tensors = renamed.map_or_else(|| checkpoint.tensors.clone(), |renamed| renamed.tensors);
    let mut names = names_of(&tensors);
    let ends = fit::by_suffix(names.keys().copied());
    let Some(first) = fit::fit(root, &names, &ends) else {
        let mut tensors = Vec::new();
        fit::list(root, "", &mut tensors);
        let mut fit = fit::fit_at(Place::Below(CompactString::default()), &tensors, &names);
        fit.name_unexpected(root, &names);
        return Err(format!(
            "the file is of another model: of its {} tensors {} are among the {} that this one has, with the same shape; {}",
            names.len(),
            fit.fitting,
            tensors.len(),
            fit.listed(MOST_TOLD).join("; ")
        ));
    };
    // A tensor that has two names in the model may have one in the file.
    let ties: Vec<(CompactString, CompactString)> = ties
        .iter()
        .filter_map(|(name, first_name)| Some((first.place.in_file(name)?, first.place.in_file(first_name)?)))
        .flat_map(|(name, first)| [(name.clone(), first.clone()), (first, name)])
        .filter(|(absent, there)| !names.contains_key(absent.as_str()) && names.contains_key(there.as_str()))
        .collect();
    for (absent, there) in &ties {
        if let Some(shape) = names.get(there.as_str()).copied() {
            names.insert(absent, shape);
        }
    }
    let mut fit = if ties.is_empty() { first } else { fit::fit(root, &names, &ends).unwrap_or(first) };
    fit.name_unexpected(root, &names);
    if !fit.is_it(names.len()) {
        let (Fit { fitting, of, .. }, differences) = (&fit, fit.listed(MOST_TOLD).join("; "));
        return Err(format!("the file is of another model: {fitting} of {of} tensors fit; {differences}"));
    }
    for (absent, there) in &ties {
        let at = tensors.iter().position(|tensor| tensor.name == *there);
        let known = checkpoint.ties.iter().any(|(name, _)| name == absent);
        checkpoint.ties.extend(at.filter(|_| !known).map(|id| (absent.to_string(), id)));
    }
    merge::merge(checkpoint, model, root, &fit, &[], Evidence::Model);
    let graph = graph.map(|(file, reused)| graph::open(&file, reused, &fit.place, model)).transpose()?;
    let architecture = Architecture {
        python: Some(asked.python.display().to_string()),
        library,
        version,
        saved_by: None,
        names: vec![asked.model.to_owned()],
        others: Vec::new(),
        told_apart: Vec::new(),
        fit,
        by_file_name: false,
    };
    Ok(Some(FromPython { architecture, places, graph }))
}

fn names_of(tensors: &[Tensor]) -> Names<'_> {
    tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect()
}

/// Tensors by the names that they have in the modules of their library, where a model that was built has these and not the file's.
fn names_of_modules(checkpoint: &Checkpoint, root: asset::Described<'_>) -> Option<Renamed> {
    let fitting = |tensors: &[Tensor]| {
        let names = names_of(tensors);
        fit::fit(root, &names, &fit::by_suffix(names.keys().copied())).map_or(0, |fit| fit.fitting)
    };
    let as_saved = fitting(&checkpoint.tensors);
    if as_saved == checkpoint.tensors.len() {
        return None;
    }
    renamed(checkpoint).filter(|renamed| fitting(&renamed.tensors) > as_saved)
}

/// Put the tree first whose model's name the file's name contains as a whole, the longest such; whether there is one.
fn prefer_named(fitting: &mut [Fitting<'_>], file: Option<&Path>) -> bool {
    let Some(stem) = file.and_then(Path::file_stem).and_then(|stem| stem.to_str()) else { return false };
    let stem = stem.to_ascii_lowercase().replace('-', "_");
    let longest = |tree: &Tree| {
        let names = tree.names.iter().map(|name| name.to_ascii_lowercase().replace('-', "_"));
        names.filter(|name| has_whole(&stem, name)).map(|name| name.len()).max()
    };
    let named = fitting.iter().enumerate().filter_map(|(place, fitting)| Some((longest(fitting.tree)?, place)));
    // Of names of one length the first: libraries stand in the order in which their names are meant.
    let best = named.max_by_key(|(length, place)| (*length, std::cmp::Reverse(*place)));
    if let Some((_, place)) = best {
        fitting.swap(0, place);
    }
    best.is_some()
}

/// Whether a name stands in a text, not amid letters and digits.
fn has_whole(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(start, _)| {
        let before = text.get(..start).and_then(|before| before.chars().next_back());
        let behind = text.get(start + name.len()..).and_then(|behind| behind.chars().next());
        !before.into_iter().chain(behind).any(char::is_alphanumeric)
    })
}
