//! Building the tree.

use std::collections::HashMap;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use serde_json::Map;
use smallvec::SmallVec;

use super::{Evidence, Model, Module, ModuleId, infer, neighbours};
use crate::checkpoint::{Checkpoint, Content, FoundModule, OwnTensor, Tensor, TensorId, TensorKind};

/// Names of a bare state dict are split at this many dots; the rest belongs to the tensor's name.
const DEEPEST: usize = 64;
/// Longer names are not split: no model has them, and each of their parts would be a module with a long path.
const LONGEST_NAME: usize = 4_096;

/// Build the module tree of a checkpoint.
///
/// Pickled modules are taken as they are. From a bare state dict every dotted prefix becomes a module, and so does every
/// path in `_metadata`; their classes are inferred from names and shapes.
pub fn build(checkpoint: &Checkpoint) -> Model {
    let mut model = match &checkpoint.content {
        Content::Modules(found) => from_modules(found),
        Content::StateDict { module_versions } => {
            let (mut model, versions) = from_names(&checkpoint.tensors, module_versions);
            infer::infer(&mut model, &checkpoint.tensors, &versions);
            neighbours::decide(&mut model, &checkpoint.tensors);
            model
        }
    };
    count_parameters(&mut model, &checkpoint.tensors);
    model
}

impl Module {
    /// A module of which only the place is known.
    fn at(path: String, name: CompactString, depth: usize, parent: Option<ModuleId>) -> Module {
        Module {
            path,
            name,
            depth,
            parent,
            end: 0,
            class: String::new(),
            alternatives: Vec::new(),
            evidence: Evidence::Inferred,
            confidence: 0.0,
            attributes: Map::new(),
            tensors: Vec::new(),
            parameters: 0,
            total_parameters: 0,
        }
    }
}

fn from_modules(found: &[FoundModule]) -> Model {
    let mut modules: Vec<Module> = Vec::with_capacity(found.len());
    // The modules that the next one can be in, outermost first.
    let mut open: Vec<ModuleId> = Vec::new();
    for (id, found) in found.iter().enumerate() {
        let mut name = found.path.as_str();
        while let Some(&candidate) = open.last() {
            let path = modules.get(candidate).map_or("", |module| module.path.as_str());
            let inside =
                if path.is_empty() { Some(name) } else { name.strip_prefix(path).and_then(|n| n.strip_prefix('.')) };
            match inside {
                Some(inside) => {
                    name = inside;
                    break;
                }
                None => open.pop(),
            };
        }
        let parent = open.last().copied();
        let module = Module::at(found.path.clone(), name.into(), open.len(), parent);
        modules.push(Module {
            class: found.class.clone(),
            evidence: Evidence::Exact,
            confidence: 1.0,
            attributes: found.attributes.clone(),
            tensors: found.tensors.clone(),
            ..module
        });
        open.push(id);
    }
    let mut model = Model { modules };
    close(&mut model);
    model
}

/// Set every `end`, by the parents.
fn close(model: &mut Model) {
    let count = model.modules.len();
    for id in (0..count).rev() {
        let Some(module) = model.modules.get_mut(id) else { continue };
        module.end = module.end.max(id + 1);
        let (end, parent) = (module.end, module.parent);
        if let Some(parent) = parent.and_then(|parent| model.modules.get_mut(parent)) {
            parent.end = parent.end.max(end);
        }
    }
}

/// A module while children can still be added to it.
struct Draft<'a> {
    path: &'a str,
    parent: Option<usize>,
    /// The last of its children; the others by way of `elder`.
    youngest: Option<usize>,
    /// The child of the same parent that was seen before it.
    elder: Option<usize>,
    /// How many tensors it will have.
    tensors: usize,
    version: Option<i64>,
}

/// The tree, and the version of each module in `_metadata`.
fn from_names(tensors: &[Tensor], versions: &[(String, Option<i64>)]) -> (Model, Vec<Option<i64>>) {
    let mut drafts = Drafts::default();
    let root = drafts.at("");
    for (path, version) in versions {
        if is_path(path) {
            let id = drafts.at(path);
            if let Some(draft) = drafts.list.get_mut(id) {
                draft.version = *version;
            }
        }
    }
    let mut owners = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let (path, name) = split(&tensor.name);
        let owner = drafts.at(path);
        if let Some(draft) = drafts.list.get_mut(owner) {
            draft.tensors += 1;
        }
        owners.push((owner, name));
    }
    // Children in first-seen order, depth first.
    let mut model = Model { modules: Vec::with_capacity(drafts.list.len()) };
    let mut ordered = Vec::with_capacity(drafts.list.len());
    let mut places: Vec<ModuleId> = vec![0; drafts.list.len()];
    let mut waiting = vec![root];
    while let Some(id) = waiting.pop() {
        let Some(draft) = drafts.list.get(id) else { continue };
        if let Some(place) = places.get_mut(id) {
            *place = model.modules.len();
        }
        let parent = draft.parent.and_then(|parent| places.get(parent)).copied();
        let above = parent.and_then(|parent| model.modules.get(parent));
        let depth = above.map_or(0, |above| above.depth + 1);
        let name = rsplit(draft.path).map_or(draft.path, |(_, name)| name);
        let module = Module::at(draft.path.to_owned(), name.into(), depth, parent);
        model.modules.push(Module { tensors: Vec::with_capacity(draft.tensors), ..module });
        ordered.push(draft.version);
        // The eldest is pushed last, and so taken first.
        let draft_of = |id: &usize| drafts.list.get(*id);
        waiting.extend(std::iter::successors(draft.youngest, |id| draft_of(id)?.elder));
    }
    for (id, (owner, name)) in owners.into_iter().enumerate() {
        let module = places.get(owner).and_then(|place| model.modules.get_mut(*place));
        if let Some(module) = module {
            module.tensors.push(OwnTensor { name: name.into(), kind: kind(name), tensor: Some(id) });
        }
    }
    close(&mut model);
    (model, ordered)
}

#[derive(Default)]
struct Drafts<'a> {
    list: Vec<Draft<'a>>,
    by_path: HashMap<&'a str, usize, RandomState>,
    /// The module that was asked for last: tensors of one module stand together.
    last: usize,
}

impl<'a> Drafts<'a> {
    /// The module at a path; it and what is above it are added where they are missing.
    fn at(&mut self, path: &'a str) -> usize {
        match self.list.get(self.last) {
            // The root comes first.
            Some(_) if path.is_empty() => return 0,
            Some(draft) if draft.path == path => return self.last,
            _ => {}
        }
        let mut missing: SmallVec<[&str; 8]> = SmallVec::new();
        let mut rest = Some(path);
        let mut parent = None;
        while let Some(path) = rest {
            if let Some(&known) = self.by_path.get(path) {
                parent = Some(known);
                break;
            }
            missing.push(path);
            rest = match path {
                "" => None,
                _ => Some(rsplit(path).map_or("", |(above, _)| above)),
            };
        }
        for path in missing.into_iter().rev() {
            let id = self.list.len();
            let above = parent.and_then(|parent: usize| self.list.get_mut(parent));
            let elder = above.and_then(|above| above.youngest.replace(id));
            self.list.push(Draft { path, parent, youngest: None, elder, tensors: 0, version: None });
            self.by_path.insert(path, id);
            parent = Some(id);
        }
        self.last = parent.unwrap_or(0);
        self.last
    }
}

fn is_path(path: &str) -> bool {
    path.len() <= LONGEST_NAME && path.bytes().filter(|&byte| byte == b'.').count() < DEEPEST
}

/// What is before and behind the last dot. Names are short: looking at bytes one by one is the fastest.
fn rsplit(name: &str) -> Option<(&str, &str)> {
    let dot = name.as_bytes().iter().rposition(|&byte| byte == b'.')?;
    Some((name.get(..dot)?, name.get(dot + 1..)?))
}

/// Module path and own name of a tensor.
fn split(name: &str) -> (&str, &str) {
    match rsplit(name) {
        _ if name.len() > LONGEST_NAME => ("", name),
        Some((path, _)) if !is_path(path) => {
            let cut = name.match_indices('.').nth(DEEPEST - 1).map_or(0, |(cut, _)| cut);
            (name.get(..cut).unwrap_or_default(), name.get(cut + 1..).unwrap_or_default())
        }
        Some(split) => split,
        None => ("", name),
    }
}

/// Normalisation layers name their statistics so; of others a state dict does not say what they are.
fn kind(name: &str) -> TensorKind {
    match name {
        "running_mean" | "running_var" | "num_batches_tracked" => TensorKind::Buffer,
        _ => TensorKind::Unknown,
    }
}

/// Fill in `parameters` and `total_parameters`.
fn count_parameters(model: &mut Model, tensors: &[Tensor]) {
    let counts = |own: &OwnTensor| -> Option<(TensorId, u64)> {
        let id = own.tensor?;
        let tensor = tensors.get(id)?;
        let trained = match own.kind {
            TensorKind::Parameter => true,
            TensorKind::Buffer => false,
            TensorKind::Unknown => tensor.dtype.is_floating(),
        };
        trained.then(|| (tensor.shared_with.unwrap_or(id), tensor.elements()))
    };
    // Where each tensor was met last. A tensor met again counts for no module that holds both places.
    let mut met: Vec<Option<ModuleId>> = vec![None; tensors.len()];
    let mut corrections: Vec<(ModuleId, u64)> = Vec::new();
    for id in 0..model.modules.len() {
        let Some(module) = model.modules.get(id) else { continue };
        let mut own = 0u64;
        for (tensor, elements) in module.tensors.iter().filter_map(counts) {
            let before = met.get_mut(tensor).and_then(|met| met.replace(id));
            if before == Some(id) {
                continue;
            }
            own = own.saturating_add(elements);
            if let Some(before) = before {
                corrections.extend(common_ancestor(model, id, before).map(|ancestor| (ancestor, elements)));
            }
        }
        if let Some(module) = model.modules.get_mut(id) {
            (module.parameters, module.total_parameters) = (own, own);
        }
    }
    let mut twice = vec![0u64; model.modules.len()];
    for (id, elements) in corrections {
        if let Some(sum) = twice.get_mut(id) {
            *sum = sum.saturating_add(elements);
        }
    }
    for id in (0..model.modules.len()).rev() {
        let Some(module) = model.modules.get_mut(id) else { continue };
        module.total_parameters = module.total_parameters.saturating_sub(twice.get(id).copied().unwrap_or_default());
        let (total, parent) = (module.total_parameters, module.parent);
        if let Some(parent) = parent.and_then(|parent| model.modules.get_mut(parent)) {
            parent.total_parameters = parent.total_parameters.saturating_add(total);
        }
    }
}

/// The innermost module that holds both; `before` comes first in pre-order.
fn common_ancestor(model: &Model, id: ModuleId, before: ModuleId) -> Option<ModuleId> {
    let mut ancestor = id;
    while ancestor > before {
        ancestor = model.modules.get(ancestor)?.parent?;
    }
    // An ancestor of `id` that begins at or before `before`, and so holds it.
    Some(ancestor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_deep_names_are_not_split_without_end() {
        assert_eq!(split("a.b.weight"), ("a.b", "weight"));
        assert_eq!(split("weight"), ("", "weight"));
        let deep = "a.".repeat(100) + "w";
        let (path, name) = split(&deep);
        assert_eq!(path.split('.').count(), DEEPEST);
        assert_eq!(format!("{path}.{name}"), deep);
        let long = "x".repeat(5_000) + ".w";
        assert_eq!(split(&long), ("", long.as_str()));
    }

    #[test]
    fn children_come_in_first_seen_order_and_the_arena_is_pre_order() {
        let versions = ["", "b", "b.0", "a"].map(|path| (path.to_owned(), Some(1)));
        let (model, _) = from_names(&[], &versions);
        let seen: Vec<_> =
            model.modules.iter().map(|m| (m.path.as_str(), m.name.as_str(), m.depth, m.parent, m.end)).collect();
        assert_eq!(
            seen,
            [("", "", 0, None, 4), ("b", "b", 1, Some(0), 3), ("b.0", "0", 2, Some(1), 3), ("a", "a", 1, Some(0), 4)]
        );
    }

    #[test]
    fn paths_with_odd_dots_find_their_parents() {
        let found = ["", "a", "a.b", "a.b.c.d", "ab"].map(|path| FoundModule {
            path: path.to_owned(),
            class: "x.Y".to_owned(),
            attributes: Map::new(),
            tensors: Vec::new(),
        });
        let model = from_modules(&found);
        let seen: Vec<_> = model.modules.iter().map(|m| (m.name.as_str(), m.parent, m.end)).collect();
        assert_eq!(
            seen,
            [("", None, 5), ("a", Some(0), 4), ("b", Some(1), 4), ("c.d", Some(2), 4), ("ab", Some(0), 5)]
        );
    }
}
