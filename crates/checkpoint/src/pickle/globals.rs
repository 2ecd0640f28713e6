//! Classes and functions that a pickle mentions.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// More different globals than any checkpoint has; a limit, because each costs more memory than it takes in the file.
const MOST_GLOBALS: usize = 100_000;

/// A class or function by name. It is never imported.
#[derive(Debug, Clone)]
pub struct Global {
    /// Full name, modules of Python 2 under their present names (`builtins.set`).
    pub name: String,
    /// Whether torch's `weights_only` unpickler accepts it.
    pub allowed: bool,
    /// Whether a call of it gives a tensor or a parameter: asked of every object, so worked out once.
    pub makes_tensor: bool,
    /// How often it is mentioned.
    pub count: u64,
    /// Offset of the first mention.
    pub offset: u64,
}

/// Finds the index of a global by its module and name.
#[derive(Debug, Default)]
pub(super) struct Interner {
    index: HashMap<Vec<u8>, u32>,
    key: Vec<u8>,
}

impl Interner {
    /// The index in `globals`, where it is added if it is new; `None` where there are too many.
    pub fn intern(&mut self, globals: &mut Vec<Global>, module: &[u8], name: &[u8], offset: u64) -> Option<u32> {
        self.key.clear();
        self.key.extend_from_slice(module);
        self.key.push(b'\n');
        self.key.extend_from_slice(name);
        if let Some(&index) = self.index.get(&self.key) {
            if let Some(global) = globals.get_mut(index as usize) {
                global.count += 1;
            }
            return Some(index);
        }
        if globals.len() >= MOST_GLOBALS {
            return None;
        }
        let index = globals.len() as u32;
        let name = format!("{}.{}", present_module(&String::from_utf8_lossy(module)), String::from_utf8_lossy(name));
        let (allowed, makes_tensor) = (ALLOWED.contains(name.as_str()), makes_tensor(&name));
        globals.push(Global { name, allowed, makes_tensor, count: 1, offset });
        self.index.insert(self.key.clone(), index);
        Some(index)
    }
}

/// Modules of Python 2 that protocols 0 to 2 still name, under their present names (`_compat_pickle.IMPORT_MAPPING`).
fn present_module(name: &str) -> &str {
    match name {
        "__builtin__" => "builtins",
        "copy_reg" => "copyreg",
        "cPickle" => "pickle",
        "UserDict" | "UserList" | "UserString" => "collections",
        "exceptions" => "builtins",
        other => other,
    }
}

/// torch's functions and classes that make tensors.
fn makes_tensor(name: &str) -> bool {
    name.starts_with("torch._utils._rebuild_")
        || matches!(
            name,
            "torch._tensor._rebuild_from_type_v2"
                | "torch.nn.parameter.Parameter"
                | "torch.nn.parameter.Buffer"
                | "torch.nn.parameter.UninitializedParameter"
                | "torch.nn.parameter.UninitializedBuffer"
        )
}

/// The names that torch's `weights_only` unpickler accepts, one a line.
static ALLOWED: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| names(include_str!("../../assets/pickle_globals.txt")));

/// Modules and functions that pickles are abused with.
static DANGEROUS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| names(include_str!("../../assets/pickle_dangerous.txt")));

fn names(list: &'static str) -> HashSet<&'static str> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Whether a global is one that pickles are abused with, or is in a module of such.
pub(super) fn is_dangerous(name: &str) -> bool {
    let prefixes = name.match_indices('.').filter_map(|(dot, _)| name.get(..dot));
    !ALLOWED.contains(name) && prefixes.chain([name]).any(|prefix| DANGEROUS.contains(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_torchs() {
        assert_eq!(ALLOWED.len(), 144);
        assert!(ALLOWED.contains("torch._utils._rebuild_tensor_v2"));
        assert!(!ALLOWED.contains("posix.system"));
    }

    #[test]
    fn what_pickles_are_abused_with_is_known() {
        for name in ["posix.system", "os.path.join", "builtins.eval", "torch.hub.load", "importlib.import_module"] {
            assert!(is_dangerous(name), "{name}");
        }
        for name in ["builtins.set", "torch._utils._rebuild_tensor_v2", "osmium.Net", "builtins.evaluate", "mine.os"] {
            assert!(!is_dangerous(name), "{name}");
        }
    }

    #[test]
    fn a_global_is_counted_and_renamed() {
        let (mut interner, mut globals) = (Interner::default(), Vec::new());
        assert_eq!(interner.intern(&mut globals, b"__builtin__", b"set", 2), Some(0));
        assert_eq!(interner.intern(&mut globals, b"os", b"system", 20), Some(1));
        assert_eq!(interner.intern(&mut globals, b"__builtin__", b"set", 40), Some(0));
        assert_eq!((globals[0].name.as_str(), globals[0].count, globals[0].allowed), ("builtins.set", 2, true));
        assert!(!globals[1].allowed);
    }
}
