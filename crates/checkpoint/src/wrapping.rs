//! Names without the parts that wrappers put into them: `DataParallel`, `torch.compile`, FSDP, activation checkpointing and
//! others keep the module that they wrap as an attribute, whose name then stands in every name below.

use std::collections::{HashMap, HashSet};

use compact_str::CompactString;
use foldhash::fast::RandomState;
use indexmap::IndexSet;

use super::error::name_for_message;
use super::{Checkpoint, Content, Tensor};

/// Attributes that only wrappers have: `torch.compile`, FSDP and fairscale's, activation checkpointing, Lightning Fabric,
/// torchrec.
const PRIVATE: [&str; 6] = [
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_fpw_module",
    "_forward_module",
    "_dmp_wrapped_module",
];
/// Attributes of `DataParallel`, `DistributedDataParallel`, `AveragedModel` and DeepSpeed's engine, and of Opacus; modules of
/// other classes may have them too.
const PUBLIC: [&str; 2] = ["module", "_module"];
/// Every name of a wrapper ends with this …
const MARK: &[u8] = b"mod";
/// … or with this behind it.
const LONG: &[u8] = b"ule";
/// So many wrapped places are named.
const NAMED: usize = 8;

/// Which parts of the names are wrappers'.
#[derive(Debug, Default)]
pub(super) struct Wrapping {
    /// Paths, as the file has them, whose child of a [`PUBLIC`] name is what they wrap.
    wrappers: HashSet<String, RandomState>,
    /// Whether [`PRIVATE`] names are wrappers'.
    private: bool,
    /// Wrappers by where they stand, the first few: `module.` before all names, `backbone.module.`, `._orig_mod.` anywhere.
    pub found: Vec<String>,
    /// What could not be decided, or must stay.
    pub warnings: Vec<String>,
}

/// What stands below a path of which a child has a [`PUBLIC`] name.
struct Below {
    part: &'static str,
    /// Tensors below that child, and below the path.
    inside: usize,
    all: usize,
    /// Whether a private wrapper is next to the child.
    beside_private: bool,
}

impl Wrapping {
    /// The wrappers that the names of a state dict show.
    pub fn of<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Wrapping {
        // Of a million names without a wrapper this is all that is done: a search for text would take ten times as long. Names of
        // models often have a part `model`, which is none.
        let ends = |bytes: &[u8]| matches!(bytes.first(), None | Some(b'.'));
        let marked = |name: &&str| {
            let bytes = name.as_bytes();
            bytes.windows(MARK.len()).enumerate().any(|(at, found)| {
                let behind = bytes.get(at + MARK.len()..).unwrap_or_default();
                found == MARK && (ends(behind) || behind.strip_prefix(LONG).is_some_and(ends))
            })
        };
        if !names.clone().any(|name| marked(&name)) {
            return Wrapping::default();
        }
        let mut below: HashMap<&str, Below, RandomState> = HashMap::default();
        let mut private = false;
        for name in names.clone().filter(marked) {
            for Step { parent, part, rest, .. } in steps(name) {
                private |= PRIVATE.contains(&part) && !rest.is_empty();
                if let Some(part) = PUBLIC.into_iter().find(|public| *public == part && !rest.is_empty()) {
                    let is_private = |part: Option<&str>| part.is_some_and(|part| PRIVATE.contains(&part));
                    let beside = is_private(parent.rsplit('.').next()) || is_private(rest.split('.').next());
                    let below =
                        below.entry(parent).or_insert(Below { part, inside: 0, all: 0, beside_private: beside });
                    below.inside += usize::from(below.part == part);
                }
            }
        }
        if !below.is_empty() {
            for name in names.clone() {
                for step in steps(name) {
                    if let Some(below) = below.get_mut(step.parent) {
                        below.all += 1;
                    }
                }
            }
        }
        let mut wrapping = Wrapping { private, ..Wrapping::default() };
        wrapping.decide(&below);
        wrapping.avoid_collisions(names.clone());
        wrapping.name(names);
        wrapping
    }

    /// A child of a public name is what its parent wraps where the parent has nothing else. In lists of layers it is more
    /// often an attribute of theirs: whole networks are wrapped, seldom each layer.
    fn decide(&mut self, below: &HashMap<&str, Below, RandomState>) {
        let (mut shared, mut listed): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        for (path, below) in below {
            let is_listed = path.contains('.') && path.split('.').any(|part| part.parse::<u32>().is_ok());
            if below.inside < below.all {
                shared.push(path);
            } else if is_listed && !below.beside_private {
                listed.push(path);
            } else {
                self.wrappers.insert((*path).to_owned());
            }
        }
        for (mut paths, why) in [
            (shared, "stands beside other names and is kept as a module of that name"),
            (listed, "is kept as an attribute of the layers of a list: wrappers stand around whole networks"),
        ] {
            paths.sort_unstable();
            if let Some(first) = paths.first() {
                let part = below.get(first).map_or(PUBLIC[0], |below| below.part);
                let place = if first.is_empty() { part.to_owned() } else { format!("{first}.{part}") };
                let more =
                    if paths.len() > 1 { format!(" (and at {} more places)", paths.len() - 1) } else { String::new() };
                self.warnings.push(format!("`{}`{more} {why}.", name_for_message(&place)));
            }
        }
    }

    /// Two names must not become one: then the public parts stay, or all of them.
    fn avoid_collisions<'a>(&mut self, names: impl Iterator<Item = &'a str> + Clone) {
        while !self.is_empty() {
            let mut known: HashSet<CompactString, RandomState> = HashSet::default();
            let twice = names.clone().map(|name| self.rename(name)).find_map(|name| {
                let shown = name.to_string();
                (!known.insert(name)).then_some(shown)
            });
            let Some(twice) = twice else { return };
            let part = if self.wrappers.is_empty() { "of their wrappers" } else { "`module`" };
            self.warnings.push(format!(
                "Without the part {part} two tensors would have the name `{}`: the names are kept.",
                name_for_message(&twice)
            ));
            if self.wrappers.is_empty() {
                self.private = false;
            }
            self.wrappers.clear();
        }
    }

    /// Tell which wrappers were found, outermost first: what every name begins with, then what stands inside of names.
    fn name<'a>(&mut self, names: impl Iterator<Item = &'a str> + Clone) {
        let mut before = 0;
        let first = names.clone().next().unwrap_or_default();
        for step in steps(first) {
            let end = step.begin + step.part.len() + 1;
            let shared = first.get(..end).filter(|_| self.is_wrapper(step.parent, step.part));
            let Some(shared) = shared.filter(|shared| names.clone().all(|name| name.starts_with(*shared))) else {
                break;
            };
            self.found.push(format!("{}.", step.part));
            before = shared.len();
        }
        let mut inside: IndexSet<String> = IndexSet::new();
        for step in names.flat_map(steps).filter(|step| step.begin >= before && !step.rest.is_empty()) {
            if inside.len() == NAMED {
                break;
            }
            if self.is_wrapper(step.parent, step.part) {
                let parent =
                    if PRIVATE.contains(&step.part) { "" } else { step.parent.get(before..).unwrap_or_default() };
                inside.insert(format!("{parent}.{}.", step.part));
            }
        }
        self.found.extend(inside);
    }

    fn is_empty(&self) -> bool {
        !self.private && self.wrappers.is_empty()
    }

    fn is_wrapper(&self, parent: &str, part: &str) -> bool {
        (self.private && PRIVATE.contains(&part)) || (PUBLIC.contains(&part) && self.wrappers.contains(parent))
    }

    /// A tensor's name without its wrappers.
    pub fn rename(&self, name: &str) -> CompactString {
        self.without(name, false)
    }

    fn without(&self, name: &str, is_module: bool) -> CompactString {
        if self.is_empty() {
            return name.into();
        }
        let mut kept = CompactString::default();
        for Step { parent, part, rest, .. } in steps(name) {
            // The last part is the tensor's own.
            if (is_module || !rest.is_empty()) && self.is_wrapper(parent, part) {
                continue;
            }
            if !kept.is_empty() {
                kept.push('.');
            }
            kept.push_str(part);
        }
        kept
    }
}

/// A part of a name.
struct Step<'a> {
    /// Where it begins.
    begin: usize,
    /// The path before it.
    parent: &'a str,
    part: &'a str,
    /// What is behind it.
    rest: &'a str,
}

/// The parts of a name, in their order.
fn steps(name: &str) -> impl Iterator<Item = Step<'_>> {
    let mut start = Some(0);
    std::iter::from_fn(move || {
        let begin = start?;
        let behind = name.get(begin..)?;
        let (part, rest) = behind.split_once('.').unwrap_or((behind, ""));
        start = (part.len() < behind.len()).then_some(begin + part.len() + 1);
        let parent = name.get(..begin.saturating_sub(1)).unwrap_or_default();
        Some(Step { begin, parent, part, rest })
    })
}

/// Take what belongs to wrappers out of a state dict's names, and name it among the wrappers.
pub(super) fn unwrap_names(checkpoint: &mut Checkpoint) {
    let Content::StateDict { module_versions } = &mut checkpoint.content else { return };
    let mut wrapping = Wrapping::of(checkpoint.tensors.iter().map(|tensor: &Tensor| tensor.name.as_str()));
    checkpoint.warnings.append(&mut wrapping.warnings);
    if wrapping.is_empty() {
        return;
    }
    for tensor in &mut checkpoint.tensors {
        tensor.name = wrapping.rename(&tensor.name);
    }
    let mut known = HashSet::new();
    // Of a wrapper and what it wraps the inner one has the path.
    for (path, _) in module_versions.iter_mut() {
        *path = wrapping.without(path, true).into();
    }
    let mut inner: Vec<(String, Option<i64>)> = module_versions.drain(..).rev().collect();
    inner.retain(|(path, _)| known.insert(path.clone()));
    inner.reverse();
    *module_versions = inner;
    checkpoint.wrappers.append(&mut wrapping.found);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(names: &[&str]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let wrapping = Wrapping::of(names.iter().copied());
        let names = names.iter().map(|name| wrapping.rename(name).to_string()).collect();
        (names, wrapping.found, wrapping.warnings)
    }

    #[test]
    fn private_parts_go_wherever_they_stand() {
        let (names, found, warnings) = renamed(&[
            "model._orig_mod.stem.weight",
            "model._orig_mod.blocks.0._checkpoint_wrapped_module.0.weight",
            "_fsdp_wrapped_module.head._fpw_module.bias",
        ]);
        assert_eq!(names, ["model.stem.weight", "model.blocks.0.0.weight", "head.bias"]);
        assert_eq!(found, ["._orig_mod.", "._checkpoint_wrapped_module.", "._fsdp_wrapped_module.", "._fpw_module."]);
        assert!(warnings.is_empty());
    }

    #[test]
    fn every_name_of_a_wrapper_is_seen() {
        for part in PRIVATE.iter().chain(&PUBLIC) {
            let (names, found, _) = renamed(&[&format!("{part}.a.weight"), &format!("{part}.b.weight")]);
            assert_eq!((names, found), (vec!["a.weight".to_owned(), "b.weight".to_owned()], vec![format!("{part}.")]));
        }
        let plain = ["model.mod_0.weight", "model.modules.0.weight", "model.modulemod.weight"];
        assert_eq!(renamed(&plain), (plain.map(str::to_owned).to_vec(), Vec::new(), Vec::new()));
    }

    #[test]
    fn what_all_names_begin_with_is_named_from_the_outside_in() {
        let (names, found, _) = renamed(&["module._orig_mod.a.weight", "module._orig_mod.backbone.module.weight"]);
        assert_eq!(names, ["a.weight", "backbone.weight"]);
        assert_eq!(found, ["module.", "_orig_mod.", "backbone.module."]);
    }

    #[test]
    fn a_module_that_is_an_attribute_stays() {
        // Beside other names, as a layer's attribute, as the tensor's own name.
        for names in [
            ["module.weight", "head.weight"],
            ["blocks.0.module.weight", "blocks.1.module.weight"],
            ["net.module", "net.scale"],
        ] {
            assert_eq!(renamed(&names).0, names);
        }
        assert_eq!(
            renamed(&["module.weight", "head.weight"]).2,
            ["`module` stands beside other names and is kept as a module of that name."]
        );
        assert_eq!(
            renamed(&["blocks.0.module.weight", "blocks.1.module.weight"]).2,
            [
                "`blocks.0.module` (and at 1 more places) is kept as an attribute of the layers of a list: wrappers stand around whole networks."
            ]
        );
    }

    #[test]
    fn names_that_would_become_one_are_kept() {
        let names = ["_orig_mod.a.weight", "a.weight"];
        let (kept, found, warnings) = renamed(&names);
        assert_eq!((kept.as_slice(), found.len()), (names.map(str::to_owned).as_slice(), 0));
        assert_eq!(
            warnings,
            ["Without the part of their wrappers two tensors would have the name `a.weight`: the names are kept."]
        );
        // The parts that are certain go all the same.
        let (kept, ..) = renamed(&["a.module.weight", "_orig_mod.b.weight"]);
        assert_eq!(kept, ["a.weight", "b.weight"]);
    }
}
