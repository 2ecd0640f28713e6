//! Which names in a file stand for a `torch.autograd.Function`.

use std::collections::HashSet;

use super::python::Module;

/// Bases of bases that are followed.
const DEPTH: usize = 16;

/// Every name for a class that derives from `torch.autograd.Function`, under whatever name that was imported, and every
/// name given to such a class or to its `apply`.
pub(super) fn names(module: &Module) -> HashSet<String> {
    let mut derived: HashSet<&str> = HashSet::new();
    for _ in 0..DEPTH {
        let before = derived.len();
        for (name, bases) in module.bases() {
            let derives = |base: &&str| {
                is_function(&module.resolve(base))
                    || module.name_seen_from(name, base).is_some_and(|base| derived.contains(base))
            };
            if bases.iter().map(|base| &**base).any(|base| derives(&base)) {
                derived.insert(name);
            }
        }
        if derived.len() == before {
            break;
        }
    }
    let mut names: HashSet<String> = HashSet::new();
    for name in derived {
        // A class inside a function is used by its bare name there.
        let bare = name.rsplit_once("<locals>.").map_or(name, |(_, bare)| bare);
        names.extend([name.to_owned(), bare.to_owned()]);
    }
    for (target, value) in module.assignments() {
        let value = value.strip_suffix(".apply").unwrap_or(value);
        if names.contains(value) || is_function(&module.resolve(value)) {
            names.insert(target.to_owned());
        }
    }
    names
}

/// Whether a full path is one of torch's own.
pub(super) fn is_function(path: &str) -> bool {
    matches!(
        path,
        "torch.autograd.Function" | "torch.autograd.function.Function" | "torch.autograd.function.InplaceFunction"
    )
}
