//! Building the tree.

use std::collections::HashMap;
use std::sync::Arc;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::{Evidence, Model, Module, ModuleId, ToldBy, infer, neighbours};
use t2m_checkpoint::{Checkpoint, Content, Format, FoundModule, OwnTensor, Tensor, TensorId, TensorKind};

/// Names of a bare state dict are split at this many dots; the rest belongs to the tensor's name.
const DEEPEST: usize = 64;
/// Longer names are not split: no real model has them, and each part would be a module with a long path.
const LONGEST_NAME: usize = 4_096;
/// How many modules a bare state dict may have for each name, and in addition. Real ones have fewer than one for each …
const MODULES_PER_NAME: usize = 2;
const MODULES_AT_LEAST: usize = 65_536;
/// … and paths that are in total no longer than the names.
const PATH_BYTES_PER_BYTE: usize = 4;
const PATH_BYTES_AT_LEAST: usize = 16 << 20;

/// Build the module tree of a checkpoint.
///
/// Pickled modules are taken as they are. From a bare state dict every dotted prefix becomes a module, and so does every
/// path in `_metadata`; their classes are inferred from names and shapes.
pub fn build(checkpoint: &Checkpoint) -> Model {
    build_as(checkpoint, &checkpoint.tensors)
}

/// The same with tensors that have other names than in the file.
pub fn build_renamed(checkpoint: &Checkpoint, tensors: &[Tensor]) -> Model {
    Model { is_renamed: true, ..build_as(checkpoint, tensors) }
}

fn build_as(checkpoint: &Checkpoint, tensors: &[Tensor]) -> Model {
    let mut model = match &checkpoint.content {
        Content::Modules(found) => {
            let mut model = from_modules(found);
            if checkpoint.format == Format::ExportedProgram {
                infer::uncalled(&mut model);
            }
            model
        }
        Content::StateDict { module_versions } => {
            let (mut model, versions) = from_names(tensors, module_versions);
            infer::infer(&mut model, tensors, &versions, checkpoint.config());
            neighbours::decide(&mut model, tensors);
            model
        }
    };
    count_parameters(&mut model, tensors);
    model
}

impl Module {
    /// A module whose place alone is known.
    pub(super) fn at(path: CompactString, name: CompactString, depth: usize, parent: Option<ModuleId>) -> Module {
        Module {
            path,
            name,
            depth,
            parent,
            end: 0,
            class: CompactString::default(),
            alternatives: Arc::default(),
            evidence: Evidence::Inferred,
            confidence: 0.0,
            attributes: Arc::default(),
            told_by: ToldBy::default(),
            open: None,
            tensors: Vec::new(),
            parameters: 0,
            total_parameters: 0,
        }
    }
}

fn from_modules(found: &[FoundModule]) -> Model {
    let mut modules: Vec<Module> = Vec::with_capacity(found.len());
    // The modules that may contain the next one, outermost first.
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
        let module = Module::at(found.path.as_str().into(), name.into(), open.len(), parent);
        modules.push(Module {
            class: found.class.as_str().into(),
            evidence: Evidence::Exact,
            confidence: 1.0,
            attributes: Arc::new(found.attributes.clone()),
            tensors: found.tensors.clone(),
            ..module
        });
        open.push(id);
    }
    let mut model = Model { modules, ..Model::default() };
    close(&mut model);
    model
}

/// Set every `end`, from the parents.
pub(super) fn close(model: &mut Model) {
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

/// A module to which children can still be added. A file may have a million of them, so links are short: `NONE` means
/// none.
struct Draft<'a> {
    path: &'a str,
    parent: u32,
    /// The last of its children; the others by way of `elder`.
    youngest: u32,
    /// The previous child of the same parent.
    elder: u32,
    /// How many tensors it will have.
    tensors: u32,
}

const NONE: u32 = u32::MAX;

/// The tree, and the version of each module in `_metadata`.
pub(super) fn from_names(tensors: &[Tensor], versions: &[(String, Option<i64>)]) -> (Model, Vec<Option<i64>>) {
    let limits = Limits::of(tensors, versions);
    if let Some(drafted) = Drafts::of(tensors, versions, DEEPEST, &limits) {
        return drafted.model(tensors, versions);
    }
    // Names that would give far more modules than there are names are split at fewer dots.
    let deepest = fitting_depth(tensors, versions, &limits);
    let drafted = Drafts::of(tensors, versions, deepest, &limits);
    // Split at no dot, there is only the root.
    let drafted = drafted.or_else(|| Drafts::of(tensors, versions, 0, &limits)).unwrap_or_default();
    let (mut model, versions) = drafted.model(tensors, versions);
    let what = match deepest {
        0 => "are not split: all tensors are the root's".to_owned(),
        1 => "are split at their first dot".to_owned(),
        dots => format!("are split at their first {dots} dots"),
    };
    model.warnings.push(format!(
        "The names have so many parts that they would make more than {} modules with paths of {} MiB; they {what}.",
        limits.modules,
        limits.path_bytes >> 20
    ));
    (model, versions)
}

/// How many modules the names may give.
struct Limits {
    modules: usize,
    path_bytes: usize,
}

impl Limits {
    fn of(tensors: &[Tensor], versions: &[(String, Option<i64>)]) -> Limits {
        let names = tensors.len() + versions.len();
        let bytes: usize = paths(tensors, versions).map(|(name, _)| name.len()).sum();
        Limits {
            modules: (names.saturating_mul(MODULES_PER_NAME)).saturating_add(MODULES_AT_LEAST).min(NONE as usize),
            path_bytes: bytes.saturating_mul(PATH_BYTES_PER_BYTE).saturating_add(PATH_BYTES_AT_LEAST),
        }
    }
}

/// The names of tensors and the paths of `_metadata`, each with whether it is such a path: all of a path is modules.
fn paths<'a>(tensors: &'a [Tensor], versions: &'a [(String, Option<i64>)]) -> impl Iterator<Item = (&'a str, bool)> {
    let paths = versions.iter().map(|(path, _)| (path.as_str(), true));
    paths.chain(tensors.iter().map(|tensor| (tensor.name.as_str(), false)))
}

/// The most dots at which names can be split.
fn fitting_depth(tensors: &[Tensor], versions: &[(String, Option<i64>)], limits: &Limits) -> usize {
    let mut names: Vec<(&str, bool)> =
        paths(tensors, versions).filter(|(name, _)| name.len() <= LONGEST_NAME).collect();
    names.sort_unstable();
    // Modules of each depth, and the bytes of their paths. Names with the same beginning are next to each other.
    let mut found = [(0usize, 0usize); DEEPEST];
    let mut before = "";
    for (name, to_its_end) in names {
        let same = name.bytes().zip(before.bytes()).take_while(|(a, b)| a == b).count();
        let dots = name.bytes().enumerate().filter(|(_, byte)| *byte == b'.').map(|(at, _)| at);
        let ends = dots.chain(to_its_end.then_some(name.len()));
        for (end, (modules, bytes)) in ends.zip(&mut found).filter(|(end, _)| *end >= same) {
            *modules += 1;
            *bytes = bytes.saturating_add(end);
        }
        before = name;
    }
    let (mut modules, mut bytes) = (1usize, 0usize);
    for (depth, (more, longer)) in found.into_iter().enumerate() {
        (modules, bytes) = (modules.saturating_add(more), bytes.saturating_add(longer));
        if modules > limits.modules || bytes > limits.path_bytes {
            return depth;
        }
    }
    DEEPEST
}

#[derive(Default)]
struct Drafts<'a> {
    list: Vec<Draft<'a>>,
    by_path: HashMap<&'a str, u32, RandomState>,
    /// The module that was looked up last: tensors of one module come together.
    last: u32,
    path_bytes: usize,
    /// The module of each tensor.
    owners: Vec<u32>,
    /// The module of each path of `_metadata` that is one.
    of_version: Vec<u32>,
    /// Dots at which names are split.
    deepest: usize,
}

impl<'a> Drafts<'a> {
    /// Split all names at no more than `deepest` dots; `None` if that gives too much.
    fn of(
        tensors: &'a [Tensor],
        versions: &'a [(String, Option<i64>)],
        deepest: usize,
        limits: &Limits,
    ) -> Option<Drafts<'a>> {
        let mut drafts = Drafts { deepest, ..Drafts::default() };
        drafts.at("", limits)?;
        for (path, _) in versions {
            let module = if is_path(path, deepest) { drafts.at(path, limits)? } else { NONE };
            drafts.of_version.push(module);
        }
        drafts.owners.reserve_exact(tensors.len());
        for tensor in tensors {
            let owner = drafts.at(split(&tensor.name, deepest).0, limits)?;
            if let Some(draft) = drafts.list.get_mut(owner as usize) {
                draft.tensors += 1;
            }
            drafts.owners.push(owner);
        }
        Some(drafts)
    }

    /// The module at a path. It and those above it are added if they are missing; `None` if there are too many.
    fn at(&mut self, path: &'a str, limits: &Limits) -> Option<u32> {
        match self.list.get(self.last as usize) {
            // The root comes first.
            Some(_) if path.is_empty() => return Some(0),
            Some(draft) if draft.path == path => return Some(self.last),
            _ => {}
        }
        let mut missing: SmallVec<[&str; 8]> = SmallVec::new();
        let mut rest = Some(path);
        let mut parent = NONE;
        while let Some(path) = rest {
            if let Some(&known) = self.by_path.get(path) {
                parent = known;
                break;
            }
            missing.push(path);
            rest = match path {
                "" => None,
                _ => Some(rsplit(path).map_or("", |(above, _)| above)),
            };
        }
        for path in missing.into_iter().rev() {
            self.path_bytes = self.path_bytes.saturating_add(path.len());
            let id = u32::try_from(self.list.len()).ok()?;
            if id as usize >= limits.modules || self.path_bytes > limits.path_bytes {
                return None;
            }
            let above = self.list.get_mut(parent as usize);
            let elder = above.map_or(NONE, |above| std::mem::replace(&mut above.youngest, id));
            self.list.push(Draft { path, parent, youngest: NONE, elder, tensors: 0 });
            self.by_path.insert(path, id);
            parent = id;
        }
        self.last = if parent == NONE { 0 } else { parent };
        Some(self.last)
    }

    /// The tree, and the version of each module.
    fn model(mut self, tensors: &[Tensor], versions: &[(String, Option<i64>)]) -> (Model, Vec<Option<i64>>) {
        self.by_path = HashMap::default();
        let drafts = self.list;
        // Children in first-seen order, depth first.
        let mut model = Model { modules: Vec::with_capacity(drafts.len()), ..Model::default() };
        let mut places: Vec<u32> = vec![0; drafts.len()];
        let mut waiting = vec![0u32];
        while let Some(id) = waiting.pop() {
            let Some(draft) = drafts.get(id as usize) else { continue };
            if let Some(place) = places.get_mut(id as usize) {
                // There are no more modules than drafts.
                *place = model.modules.len() as u32;
            }
            let parent = places.get(draft.parent as usize).map(|place| *place as ModuleId);
            let above = parent.and_then(|parent| model.modules.get(parent));
            let depth = above.map_or(0, |above| above.depth + 1);
            let name = rsplit(draft.path).map_or(draft.path, |(_, name)| name);
            let module = Module::at(draft.path.into(), name.into(), depth, parent);
            model.modules.push(Module { tensors: Vec::with_capacity(draft.tensors as usize), ..module });
            // The eldest is pushed last, and so taken first.
            let mut child = draft.youngest;
            while let Some(draft) = drafts.get(child as usize) {
                waiting.push(child);
                child = draft.elder;
            }
        }
        drop(drafts);
        for (id, (owner, tensor)) in self.owners.into_iter().zip(tensors).enumerate() {
            let name = split(&tensor.name, self.deepest).1;
            let module = places.get(owner as usize).and_then(|place| model.modules.get_mut(*place as ModuleId));
            if let Some(module) = module {
                module.tensors.push(OwnTensor { name: name.into(), kind: kind(name), tensor: Some(id) });
            }
        }
        let mut ordered = vec![None; if versions.is_empty() { 0 } else { model.modules.len() }];
        for (module, (_, version)) in self.of_version.iter().zip(versions) {
            let place = places.get(*module as usize).and_then(|place| ordered.get_mut(*place as ModuleId));
            if let Some(place) = place {
                *place = *version;
            }
        }
        close(&mut model);
        (model, ordered)
    }
}

fn is_path(path: &str, deepest: usize) -> bool {
    path.len() <= LONGEST_NAME && path.bytes().filter(|&byte| byte == b'.').count() < deepest
}

/// The parts before and after the last dot. Names are short: a search byte by byte is the fastest.
fn rsplit(name: &str) -> Option<(&str, &str)> {
    let dot = name.as_bytes().iter().rposition(|&byte| byte == b'.')?;
    Some((name.get(..dot)?, name.get(dot + 1..)?))
}

/// Module path and own name of a tensor.
fn split(name: &str, deepest: usize) -> (&str, &str) {
    match rsplit(name) {
        _ if name.len() > LONGEST_NAME || deepest == 0 => ("", name),
        Some((path, _)) if !is_path(path, deepest) => {
            let cut = name.match_indices('.').nth(deepest - 1).map_or(0, |(cut, _)| cut);
            (name.get(..cut).unwrap_or_default(), name.get(cut + 1..).unwrap_or_default())
        }
        Some(split) => split,
        None => ("", name),
    }
}

/// Normalisation layers name their statistics like this; a state dict does not say what other tensors are.
fn kind(name: &str) -> TensorKind {
    match name {
        "running_mean" | "running_var" | "num_batches_tracked" => TensorKind::Buffer,
        _ => TensorKind::Unknown,
    }
}

/// Fill in `parameters` and `total_parameters`.
pub(super) fn count_parameters(model: &mut Model, tensors: &[Tensor]) {
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
    // The last place of each tensor. A tensor found again counts once for a module that holds both places.
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
        let split = |name| super::split(name, DEEPEST);
        assert_eq!(split("a.b.weight"), ("a.b", "weight"));
        assert_eq!(split("weight"), ("", "weight"));
        let deep = "a.".repeat(100) + "w";
        let (path, name) = super::split(&deep, DEEPEST);
        assert_eq!(path.split('.').count(), DEEPEST);
        assert_eq!(format!("{path}.{name}"), deep);
        let long = "x".repeat(5_000) + ".w";
        assert_eq!(super::split(&long, DEEPEST), ("", long.as_str()));
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

    /// A tree of these names, and the size of its modules' names and paths.
    fn tree_of(names: &[String]) -> (Model, usize) {
        let tensors: Vec<(&str, &[u64])> = names.iter().map(|name| (name.as_str(), [2u64].as_slice())).collect();
        let (model, _) = from_names(&super::super::infer::tests::tensors_of(&tensors), &[]);
        let bytes = model.modules.iter().map(|module| module.path.len()).sum();
        (model, bytes)
    }

    #[test]
    fn names_do_not_unfold_to_modules_without_end() {
        let deep: Vec<String> = (0..3_000).map(|index| format!("m{index}{}.weight", ".a".repeat(49))).collect();
        let (model, _) = tree_of(&deep);
        assert!(model.modules.len() <= 2 * deep.len() + MODULES_AT_LEAST, "{}", model.modules.len());
        // The deepest allowed, and nothing is lost.
        assert!(model.modules.len() > MODULES_AT_LEAST);
        let whole =
            |module: &Module| module.tensors.iter().map(|own| format!("{}.{}", module.path, own.name)).collect();
        let found: Vec<String> =
            model.modules.iter().flat_map(|module: &Module| -> Vec<String> { whole(module) }).collect();
        assert_eq!(found, deep);
        assert!(model.warnings[0].contains("split at their first 23 dots"), "{:?}", model.warnings);
    }

    #[test]
    fn long_paths_are_bounded_by_the_names_that_they_come_from() {
        let long: Vec<String> =
            (0..300).map(|index| format!("{index}{}{}", "x".repeat(3_900), ".b".repeat(60))).collect();
        let (model, bytes) = tree_of(&long);
        let names: usize = long.iter().map(String::len).sum();
        assert!(bytes <= PATH_BYTES_PER_BYTE * names + PATH_BYTES_AT_LEAST, "{bytes} bytes of {names}");
        assert_eq!(model.warnings.len(), 1);
    }

    #[test]
    fn few_deep_names_are_split_as_ever() {
        let (model, _) = tree_of(&["a.".repeat(60) + "w"]);
        assert_eq!((model.modules.len(), model.warnings.len()), (61, 0));
    }

    #[test]
    fn paths_with_odd_dots_find_their_parents() {
        let found = ["", "a", "a.b", "a.b.c.d", "ab"].map(|path| FoundModule {
            path: path.to_owned(),
            class: "x.Y".to_owned(),
            attributes: serde_json::Map::new(),
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
