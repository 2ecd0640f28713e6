//! Texts that are no files: which class is in which, and what their modules are called. A checkpoint may carry ten thousand.

use std::collections::HashMap;

use super::python::Module;

/// Numbers of roots, by what they are asked for. Of several the first counts.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// By the full path of a class.
    classes: HashMap<String, usize>,
    /// By the qualified name of a class, of texts that serve classes of any module.
    anywhere: HashMap<String, usize>,
    /// By the name of a module.
    modules: HashMap<String, usize>,
    /// By the name to show.
    files: HashMap<String, usize>,
}

impl Texts {
    /// Note what is in the text of root `number`.
    pub(super) fn add(&mut self, number: usize, module: &str, file: &str, parsed: Option<&Module>) {
        self.files.entry(file.to_owned()).or_insert(number);
        if !module.is_empty() {
            self.modules.entry(module.to_owned()).or_insert(number);
        }
        for (name, _) in parsed.into_iter().flat_map(Module::bases) {
            if !module.is_empty() {
                self.classes.entry(format!("{module}.{name}")).or_insert(number);
            }
            if module.is_empty() || module == "__main__" {
                self.anywhere.entry(name.to_owned()).or_insert(number);
            }
        }
    }

    pub(super) fn with_class(&self, path: &str) -> Option<usize> {
        self.classes.get(path).copied()
    }

    /// The first text that has a class of one of these names.
    pub(super) fn with_any(&self, names: impl Iterator<Item = String>) -> Option<usize> {
        names.filter_map(|name| self.anywhere.get(&name).copied()).min()
    }

    pub(super) fn module(&self, name: &str) -> Option<usize> {
        self.modules.get(name).copied()
    }

    pub(super) fn file(&self, called: &str) -> Option<usize> {
        self.files.get(called).copied()
    }
}
