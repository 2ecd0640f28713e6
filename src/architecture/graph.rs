//! The graph that `--input` asks for: an exported program in the user's cache, beside the weights.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compact_str::CompactString;
use t2m_checkpoint::graph::Origin;
use t2m_checkpoint::{Checkpoint, Content, TensorKind};

use super::fit::Place;
use super::merge::in_file;
use crate::model::{Evidence, Model};

/// An exported graph. Its weights are not in its file: they are the checkpoint's.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The exported program, as `torch.export.save` writes it.
    pub file: PathBuf,
    /// Whether it was there from before.
    pub reused: bool,
    /// Nodes that call an op.
    pub nodes: u64,
    /// The program, opened; its graph is there where it can be read.
    pub program: Arc<Checkpoint>,
    /// The checkpoint's names of its parameters and buffers.
    pub names: HashMap<String, CompactString>,
    /// Where the checkpoint's modules are in it.
    place: Place,
    /// Those of its tensors that are parameters: they have no values here.
    pub parameters: HashSet<String>,
}

impl Graph {
    /// The checkpoint's path of a module of the graph, if the checkpoint has it.
    pub fn module(&self, path: &str) -> Option<CompactString> {
        in_file(&self.place, path)
    }

    /// The graph in a few words: `312 nodes, in /home/…/af….pt2`.
    pub fn title(&self) -> String {
        let nodes = if self.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", self.nodes) };
        let before = if self.reused { ", exported before" } else { "" };
        format!("{nodes}{before}, in {}", self.file.display())
    }
}

/// The folder that graphs are kept in: a folder of the user's cache, by `XDG_CACHE_HOME` or `HOME`.
pub(super) fn folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    Some(cache?.join("t2m-tui").join("graphs"))
}

/// Open a graph, and give the model's modules the hyper-parameters that nothing but their calls in it tell.
///
/// # Errors
/// The file is no graph, in words.
pub(super) fn open(file: &Path, reused: bool, place: &Place, model: &mut Model) -> Result<Graph, String> {
    let exported = Checkpoint::open(file).map_err(|error| {
        // One that is broken must not be taken again.
        let removed =
            if std::fs::remove_file(file).is_ok() { "; it was removed, and is exported anew next time" } else { "" };
        format!("the exported graph: {error}{removed}")
    })?;
    let nodes = exported.ops.iter().map(|used| used.count).sum();
    let states = exported.graph.iter().flat_map(|graph| &graph.inputs).filter_map(|input| match &input.origin {
        Origin::State(name) => Some((name.clone(), place.in_file(name)?)),
        _ => None,
    });
    let names = states.collect();
    let Content::Modules(found) = &exported.content else {
        return Err(format!("the exported graph {} holds no modules", file.display()));
    };
    let mut parameters = HashSet::new();
    for told in found {
        let own = told.tensors.iter().filter(|own| own.kind == TensorKind::Parameter);
        let below = |name: &str| if told.path.is_empty() { name.to_owned() } else { format!("{}.{name}", told.path) };
        parameters.extend(own.map(|own| below(&own.name)));
        let path: Option<CompactString> = in_file(place, &told.path);
        let Some(module) = path.and_then(|path| model.find(&path)).and_then(|id| model.modules.get_mut(id)) else {
            continue;
        };
        // What the model itself was asked for stands.
        let known = module.evidence == Evidence::Model && module.class == told.class;
        let new = |name: &str| !module.attributes.contains_key(name);
        if known && told.attributes.keys().any(|name| new(name)) {
            let attributes = Arc::make_mut(&mut module.attributes);
            for (name, value) in &told.attributes {
                attributes.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    Ok(Graph {
        file: file.to_owned(),
        reused,
        nodes,
        program: Arc::new(exported),
        names,
        place: place.clone(),
        parameters,
    })
}
