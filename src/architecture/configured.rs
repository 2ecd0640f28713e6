//! The model of a folder of transformers or diffusers, as its config.json and the rules of its class say; the file's tensors are
//! held against that.

use std::collections::HashMap;

use compact_str::{CompactString, format_compact};
use foldhash::fast::RandomState;
use serde_json::{Map, Value};
use t2m_checkpoint::{Checkpoint, Content, Format, Tensor, TensorId};

use super::asset::Block;
use super::fit::{self, Fit, Names, Place};
use super::rules::{self, Held, Rules};
use super::{Architecture, MOST_CONFIGURED, merge, names_of};
use crate::model::{Evidence, Model};

/// The folder's own configuration names the class: it is that model where this share of its tensors is there.
const FITS: f64 = 0.5;

/// A model of which the file has the tensors.
struct Configured {
    block: Block,
    fit: Fit,
    library: &'static str,
    version: &'static str,
    /// Tensors that the file leaves out, and those that they are, by the file's names.
    ties: Vec<(String, String)>,
    /// Tensors that the file has under other names than the modules: its name, and the one in the tree.
    renamed: Vec<(String, CompactString)>,
}

/// The tensors of a folder by the names that they have in the modules of their library; `None` where the file has the same ones.
pub fn renamed(checkpoint: &Checkpoint) -> Option<Renamed> {
    let found = all(checkpoint, |found| found.renamed)?;
    let renamed: HashMap<&str, &CompactString, RandomState> =
        found.iter().flatten().map(|(file, name)| (file.as_str(), name)).collect();
    if renamed.is_empty() {
        return None;
    }
    let mut tensors = checkpoint.tensors.clone();
    let (mut count, mut first) = (0, None);
    for tensor in &mut tensors {
        if let Some(name) = renamed.get(tensor.name.as_str()) {
            count += 1;
            first.get_or_insert_with(|| (tensor.name.clone(), (*name).clone()));
            tensor.name = (*name).clone();
        }
    }
    let (file, name) = first?;
    Some(Renamed { tensors, count, file, name })
}

/// Tensors by the names that they have in the modules.
#[derive(Debug)]
pub struct Renamed {
    /// In the file's order.
    pub tensors: Vec<Tensor>,
    /// How many have another name in the file.
    pub count: usize,
    /// The first of these.
    pub file: CompactString,
    /// What it is in the tree.
    pub name: CompactString,
}

/// Whether a tree has a tensor of this name.
fn is_in(model: &Model, name: &str) -> bool {
    let (path, own) = name.rsplit_once('.').unwrap_or(("", name));
    let module = model.find(path).and_then(|id| model.modules.get(id));
    module.is_some_and(|module| module.tensor(own).is_some())
}

/// Something of the model of a folder, or of each component of a pipeline.
fn all<Of>(checkpoint: &Checkpoint, of_one: impl Fn(Configured) -> Of) -> Option<Vec<Of>> {
    let names = names(checkpoint)?;
    let object = |key: &str| checkpoint.metadata.get(key).and_then(Value::as_object);
    if let Some(config) = object("config") {
        return Some(vec![of_one(of(config, &names, "")?)]);
    }
    object("model_index")?;
    let configs = checkpoint.metadata.iter().filter_map(|(name, part)| Some((name, part.get("config")?.as_object()?)));
    Some(configs.filter_map(|(name, config)| of(config, &names, &format!("{name}."))).map(of_one).collect())
}

/// The tensors of a folder that a configuration may say something of.
fn names(checkpoint: &Checkpoint) -> Option<Names<'_>> {
    let is_bare = matches!(checkpoint.content, Content::StateDict { .. }) && checkpoint.format != Format::PeftAdapter;
    if !is_bare || checkpoint.tensors.len() > MOST_CONFIGURED {
        return None;
    }
    Some(names_of(&checkpoint.tensors))
}

/// Give the modules of a folder what its config.json says, or its components' for a pipeline; `None`, and nothing changed, where
/// that names no class that is known, or the file has other tensors.
pub fn configured(checkpoint: &mut Checkpoint, model: &mut Model) -> Option<Architecture> {
    let (architecture, ties) = known(checkpoint, model)?;
    for (name, first) in ties {
        if checkpoint.ties.iter().all(|(tied, _)| *tied != name) {
            checkpoint.ties.push((name, first));
        }
    }
    Some(architecture)
}

fn known(checkpoint: &Checkpoint, model: &mut Model) -> Option<(Architecture, Vec<(String, TensorId)>)> {
    let names = names(checkpoint)?;
    let object = |key: &str| checkpoint.metadata.get(key).and_then(Value::as_object);
    if let Some(config) = object("config") {
        let Configured { block, fit, library, version, ties, renamed } = of(config, &names, "")?;
        // Where the source knows the file's own names, the library's are not looked for.
        if renamed.first().is_some_and(|(_, name)| !is_in(model, name)) {
            return None;
        }
        let place = |first: &str| checkpoint.tensors.iter().position(|tensor| tensor.name == first);
        let ties: Vec<(String, TensorId)> =
            ties.into_iter().filter_map(|(name, first)| Some((name, place(&first)?))).collect();
        merge::merge_tied(checkpoint, model, block.module(0)?, &fit, &[], &ties, Evidence::Architecture);
        let class = block.module(0).map_or("", |root| root.class());
        let class = class.rsplit('.').next().unwrap_or_default().to_owned();
        return Some((architecture(config, class, fit, library, version), ties));
    }
    let index = object("model_index")?;
    let class = index.get("_class_name")?.as_str()?.to_owned();
    let mut whole: Option<Architecture> = None;
    for (name, part) in &checkpoint.metadata {
        let Some(config) = part.get("config").and_then(Value::as_object) else { continue };
        let Some(Configured { block, fit, version, .. }) = of(config, &names, &format!("{name}.")) else { continue };
        let Some(root) = block.module(0) else { continue };
        merge::merge(checkpoint, model, root, &fit, &[], Evidence::Architecture);
        match &mut whole {
            Some(whole) => add(&mut whole.fit, fit),
            None => whole = Some(architecture(index, class.clone(), fit, "diffusers", version)),
        }
    }
    whole.map(|mut whole| {
        let fit = &mut whole.fit;
        fit.place = Place::Below("".into());
        fit.unexpected = names.len().saturating_sub(fit.fitting + fit.differing.len());
        (whole, Vec::new())
    })
}

fn architecture(config: &Map<String, Value>, class: String, fit: Fit, library: &str, version: &str) -> Architecture {
    let saved = config.get("transformers_version").or_else(|| config.get("_diffusers_version")).and_then(Value::as_str);
    Architecture {
        python: None,
        library: library.to_owned(),
        version: version.to_owned(),
        saved_by: saved.filter(|saved| *saved != version).map(str::to_owned),
        names: vec![class],
        others: Vec::new(),
        told_apart: Vec::new(),
        fit,
        by_file_name: false,
    }
}

/// The model of a configuration whose tensors' names begin with a prefix in the file.
fn of(config: &Map<String, Value>, all: &Names<'_>, prefix: &str) -> Option<Configured> {
    let names: Names<'_> = all.iter().filter_map(|(name, shape)| Some((name.strip_prefix(prefix)?, *shape))).collect();
    let has = |path: &str| {
        let inside = path.split_once('.').map(|(_, inside)| inside);
        [Some(path), inside].into_iter().flatten().any(|path| {
            let (begin, middle) = (format!("{path}."), format!(".{path}."));
            names.keys().any(|name| name.starts_with(&begin) || name.contains(&middle))
        })
    };
    let sizes = |path: &str| {
        let inside = path.split_once('.').and_then(|(_, inside)| names.get(inside));
        names.get(path).or(inside).copied()
    };
    let ends = fit::by_suffix(names.keys().copied());
    let held = Held { has: &has, sizes: &sizes };
    let mut told = Rules::get().configured(config, &held, true)?;
    let mut block = Block::of(std::mem::take(&mut told.modules));
    let mut fit = fit_as(&block, &told.renamed, &names, &ends)?;
    // A state dict that somebody else wrote has the names of the modules.
    if !told.renamed.is_empty() || !told.pieces.is_empty() {
        let mut natural = Rules::get().configured(config, &held, false)?;
        let natural_block = Block::of(std::mem::take(&mut natural.modules));
        if let Some(natural_fit) = fit_as(&natural_block, &[], &names, &ends).filter(|own| own.rank() > fit.rank()) {
            (told, block, fit) = (natural, natural_block, natural_fit);
        }
    }
    let by_name: HashMap<&str, &str, RandomState> =
        told.renamed.iter().map(|(name, file)| (name.as_str(), file.as_str())).collect();
    // A tensor with a second name is there once.
    let mut ties = Vec::new();
    for (name, first) in &told.ties {
        let file = |name: &str| fit.place.in_file(by_name.get(name).unwrap_or(&name));
        let (Some(missing), Some(first)) = (file(name), file(first)) else { continue };
        let Some(name) = fit.place.in_file(name) else { continue };
        if names.contains_key(first.as_str())
            && let Some(at) = fit.missing.iter().position(|own| *own == missing)
        {
            fit.missing.remove(at);
            fit.of -= 1;
            ties.push((name.into(), first.into()));
        }
    }
    if fit.fitting == 0 || (fit.fitting as f64) < FITS * fit.of as f64 {
        return None;
    }
    let (mut renamed, pieces) = in_tree(&told, &fit.place, &names);
    fit.unexpected = fit.unexpected.saturating_sub(pieces);
    fit.apart = fit.apart.saturating_sub(pieces);
    if !prefix.is_empty() {
        for (file, name) in &mut renamed {
            file.insert_str(0, prefix);
            name.insert_str(0, prefix);
        }
        let Place::Below(inside) = &fit.place else { return None };
        fit.place = Place::Below(format_compact!("{prefix}{inside}"));
        fit.differing.iter_mut().for_each(|(name, ..)| name.insert_str(0, prefix));
        fit.missing.iter_mut().for_each(|name| name.insert_str(0, prefix));
    }
    Some(Configured { block, fit, library: told.library, version: told.version, ties, renamed })
}

/// How a model fits whose tensors a file has under other names: the module's, and the file's.
fn fit_as(
    block: &Block,
    renamed: &[(String, String)],
    names: &Names<'_>,
    ends: &HashMap<&str, Vec<&str>, RandomState>,
) -> Option<Fit> {
    let renamed: HashMap<&str, &str, RandomState> =
        renamed.iter().map(|(name, file)| (name.as_str(), file.as_str())).collect();
    let mut tensors = Vec::new();
    fit::list(block.module(0)?, "", &mut tensors);
    for (name, _) in &mut tensors {
        if let Some(file) = renamed.get(name.as_str()) {
            *name = (*file).into();
        }
    }
    fit::fit_listed(&tensors, names, ends)
}

/// The tensors that a file has under other names than the tree, no two of which have one name there; and how many pieces it has.
fn in_tree(told: &rules::Configured, place: &Place, names: &Names<'_>) -> (Vec<(String, CompactString)>, usize) {
    let mut found: HashMap<String, CompactString, RandomState> = HashMap::default();
    for (name, file) in &told.renamed {
        if let (Some(name), Some(file)) = (place.in_file(name), place.in_file(file))
            && names.contains_key(file.as_str())
            && name != file
        {
            found.insert(file.into(), name);
        }
    }
    let mut pieces = 0;
    if !told.pieces.is_empty() {
        for file in names.keys().filter(|file| !found.contains_key(**file)).copied().collect::<Vec<_>>() {
            let inside = match place {
                Place::Below(prefix) => file.strip_prefix(prefix.as_str()).map(CompactString::from),
                Place::Above(prefix) => Some(format_compact!("{prefix}{file}")),
            };
            let piece = inside.and_then(|inside| told.pieces.iter().find_map(|pieces| pieces.place(&inside)));
            if let Some(name) = piece.and_then(|piece| place.in_file(&piece)) {
                pieces += 1;
                if name != file {
                    found.insert(file.to_owned(), name);
                }
            }
        }
    }
    let mut met: HashMap<CompactString, usize, RandomState> = HashMap::default();
    for name in names.keys().map(|file| found.get(*file).cloned().unwrap_or_else(|| (*file).into())) {
        *met.entry(name).or_default() += 1;
    }
    (found.into_iter().filter(|(_, name)| met.get(name) == Some(&1)).collect(), pieces)
}

/// Count another component.
fn add(whole: &mut Fit, part: Fit) {
    whole.fitting += part.fitting;
    whole.of += part.of;
    whole.apart += part.apart;
    whole.outside += part.outside;
    whole.differing.extend(part.differing);
    whole.missing.extend(part.missing);
}
