//! The model of a folder of transformers or diffusers, as its config.json and the rules of its class say; the file's tensors are
//! held against that.

use compact_str::format_compact;
use serde_json::{Map, Value};
use t2m_checkpoint::{Checkpoint, Content, Format, TensorId};

use super::asset::Block;
use super::fit::{self, Fit, Names, Place};
use super::rules::{Held, Rules};
use super::{Architecture, MOST_CONFIGURED, merge};
use crate::model::{Evidence, Model};

/// The folder's own configuration names the class: it is that model where this share of its tensors is there.
const FITS: f64 = 0.5;

/// A model of which the file has the tensors.
struct Configured {
    block: Block,
    fit: Fit,
    library: &'static str,
    version: &'static str,
    /// Tensors that the file leaves out, and those that they are.
    ties: Vec<(String, String)>,
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
    let is_bare = matches!(checkpoint.content, Content::StateDict { .. }) && checkpoint.format != Format::PeftAdapter;
    if !is_bare || checkpoint.tensors.len() > MOST_CONFIGURED {
        return None;
    }
    let names: Names<'_> =
        checkpoint.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
    let object = |key: &str| checkpoint.metadata.get(key).and_then(Value::as_object);
    if let Some(config) = object("config") {
        let Configured { block, fit, library, version, ties } = of(config, &names, "")?;
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
    let told = Rules::get().configured(config, &Held { has: &has, sizes: &sizes })?;
    let block = Block::of(told.modules);
    let mut fit = fit::fit(block.module(0)?, &names, &fit::by_suffix(names.keys().copied()))?;
    // A tensor with a second name is there once.
    let mut ties = Vec::new();
    for (name, first) in told.ties {
        let (Some(name), Some(first)) = (fit.place.in_file(&name), fit.place.in_file(&first)) else { continue };
        if names.contains_key(first.as_str())
            && let Some(at) = fit.missing.iter().position(|missing| *missing == name)
        {
            fit.missing.remove(at);
            fit.of -= 1;
            ties.push((name.into(), first.into()));
        }
    }
    if fit.fitting == 0 || (fit.fitting as f64) < FITS * fit.of as f64 {
        return None;
    }
    if !prefix.is_empty() {
        let Place::Below(inside) = &fit.place else { return None };
        fit.place = Place::Below(format_compact!("{prefix}{inside}"));
        fit.differing.iter_mut().for_each(|(name, ..)| name.insert_str(0, prefix));
        fit.missing.iter_mut().for_each(|name| name.insert_str(0, prefix));
    }
    Some(Configured { block, fit, library: told.library, version: told.version, ties })
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
