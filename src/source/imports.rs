//! Following bases of a class into other files, by the imports of the file that names them.

use std::cell::Cell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::locate::{Found, Sources, split, splits};
use super::python::Module;

/// Classes of one family that are followed.
const FAMILY: usize = 64;
/// Places where files are looked for, and re-exports on the way to one of them.
const FILES: u32 = 8_192;
const HOPS: usize = 8;
/// Steps to look into one place.
const PLACE: usize = 10;
/// Steps to follow one `from module import *`.
const STAR: usize = 10;
/// Folders above a file in which its absolute imports are looked for.
const FOLDERS: usize = 4;

/// Whether a file defines what a name stands for: a class, a function.
type Defines = fn(&Module, &str) -> bool;

/// A name that stands for a file as a whole.
const FILE: &str = "__file__";

fn is_file(_: &Module, name: &str) -> bool {
    name == FILE
}

fn defines_anything(module: &Module, name: &str) -> bool {
    module.has_class(name) || module.function(name).is_some() || module.global(name).is_some()
}

/// Looks for classes and functions that a file names.
pub(super) struct Imports<'a> {
    sources: &'a Sources,
    left: Cell<u32>,
}

impl<'a> Imports<'a> {
    pub(super) fn new(sources: &'a Sources) -> Imports<'a> {
        Imports { sources, left: Cell::new(FILES) }
    }

    /// The same for whoever follows what every function of a model names.
    pub(super) fn of_many(sources: &'a Sources) -> Imports<'a> {
        Imports { sources, left: Cell::new(8 * FILES) }
    }

    /// The class, then its bases wherever they are, each base followed before the next. Those of torch are left out.
    pub(super) fn family(&self, class: Found) -> Vec<Found> {
        let mut family: Vec<Found> = Vec::new();
        let mut seen = HashSet::new();
        let mut waiting = vec![class];
        while let Some(class) = waiting.pop() {
            let new = seen.insert((std::ptr::from_ref::<Module>(&class.module), class.name.clone()));
            if family.len() >= FAMILY || !new {
                continue;
            }
            waiting.extend(self.bases(&class));
            family.push(class);
        }
        family
    }

    /// The bases that are found, the last first.
    fn bases(&self, class: &Found) -> Vec<Found> {
        let Some(read) = class.module.class(&class.name) else { return Vec::new() };
        read.bases.iter().rev().filter_map(|base| self.class(class, base)).collect()
    }

    /// The class that a dotted name means inside of `from`, in its file or another.
    pub(super) fn class(&self, from: &Found, dotted: &str) -> Option<Found> {
        match from.module.name_seen_from(&from.name, dotted) {
            Some(name) => Some(Found { name: name.to_owned(), ..from.clone() }),
            None => self.named_in(from, dotted, Module::has_class, 0),
        }
    }

    /// The function that a dotted name means in the file of `from` or another.
    pub(super) fn function(&self, from: &Found, dotted: &str) -> Option<Found> {
        match from.module.function(dotted) {
            Some(_) => Some(Found { name: dotted.to_owned(), ..from.clone() }),
            None => self.named_in(from, dotted, |module, name| module.function(name).is_some(), 0),
        }
    }

    /// What a dotted name means that the file of `from` has from another: a class, a function, a value.
    pub(super) fn anything(&self, from: &Found, dotted: &str) -> Option<Found> {
        self.named_in(from, dotted, defines_anything, 0)
    }

    /// The file that an imported name stands for.
    pub(super) fn file(&self, from: &Found, name: &str) -> Option<Found> {
        self.imported(from, &format!("{}.{FILE}", from.module.resolve(name)), is_file, 0)
    }

    /// The file that `from module import *` names.
    pub(super) fn file_of_star(&self, from: &Found, module: &str) -> Option<Found> {
        let dot = if module.ends_with('.') { "" } else { "." };
        self.imported(from, &format!("{module}{dot}{FILE}"), is_file, 0)
    }

    /// The file of this name in the package that a file is.
    pub(super) fn file_within(&self, from: &Found, name: &str) -> Option<Found> {
        self.imported(from, &format!(".{name}.{FILE}"), is_file, 0)
    }

    pub(super) fn sources(&self) -> &'a Sources {
        self.sources
    }

    /// What a dotted name stands for in the file of `from`, if the file does not define it itself.
    fn named_in(&self, from: &Found, dotted: &str, defines: Defines, hops: usize) -> Option<Found> {
        let first = dotted.split('.').next().unwrap_or(dotted);
        if hops > HOPS {
            return None;
        }
        if from.module.is_imported(first) {
            return self.imported(from, &from.module.resolve(dotted), defines, hops);
        }
        from.module.star_imports().iter().take_while(|_| self.left.get() > 0).find_map(|module| {
            self.sources.budget().burn(STAR);
            let joined = if module.ends_with('.') { format!("{module}{dotted}") } else { format!("{module}.{dotted}") };
            self.imported(from, &joined, defines, hops)
        })
    }

    /// What has a full path, which begins with dots if it is relative to the package that `from` is in.
    fn imported(&self, from: &Found, full: &str, defines: Defines, hops: usize) -> Option<Found> {
        let name = full.trim_start_matches('.');
        let level = full.len() - name.len();
        if name.starts_with("torch.") {
            return None;
        }
        let parts = split(name)?;
        let folders = match (&from.path, level) {
            (Some(path), 0) => {
                path.ancestors().skip(1).take(FOLDERS).map(Path::to_owned).chain(self.sources.folders()).collect()
            }
            (Some(path), level) => path.ancestors().nth(level).map(Path::to_owned).into_iter().collect(),
            (None, 0) => self.sources.folders(),
            (None, _) => Vec::new(),
        };
        // An absolute name begins with a module: it is nothing that a package's own `__init__.py` could define or have from others.
        let least = usize::from(level == 0 && parts.len() > 1);
        let in_folder = |folder: &PathBuf| self.below(folder, (&parts, least), &from.origin, (defines, hops));
        folders.iter().find_map(in_folder).or_else(|| self.in_texts(from, &parts, level, (defines, hops)))
    }

    fn below(
        &self,
        folder: &Path,
        (parts, least): (&[&str], usize),
        origin: &str,
        (defines, hops): (Defines, usize),
    ) -> Option<Found> {
        splits(parts).filter(|(module, _)| module.len() >= least).find_map(|(module, name)| {
            let mut path = folder.to_owned();
            path.extend(module);
            let file = (!module.is_empty()).then(|| path.with_extension("py"));
            file.into_iter().chain([path.join("__init__.py")]).find_map(|path| {
                self.burn()?;
                let file = path.display().to_string();
                let module = self.sources.files().module(&path)?;
                self.within(
                    Found {
                        module,
                        name: name.clone(),
                        file,
                        origin: origin.to_owned(),
                        path: Some(path),
                        package: None,
                    },
                    (defines, hops),
                )
            })
        })
    }

    /// Text that is no file knows its module's name alone.
    fn in_texts(&self, from: &Found, parts: &[&str], level: usize, (defines, hops): (Defines, usize)) -> Option<Found> {
        let own = self.sources.text_module(&from.file).unwrap_or_default();
        let mut package: Vec<&str> = own.split('.').filter(|part| level > 0 && !part.is_empty()).collect();
        package.truncate(package.len().saturating_sub(level));
        let full: Vec<&str> = package.into_iter().chain(parts.iter().copied()).collect();
        splits(&full).find_map(|(module, name)| {
            self.burn()?;
            self.within(Found { name, ..self.sources.text(&module.join("."))? }, (defines, hops))
        })
    }

    /// It in this file, or where this file has it from.
    fn within(&self, found: Found, (defines, hops): (Defines, usize)) -> Option<Found> {
        if defines(&found.module, &found.name) {
            return Some(found);
        }
        let name = found.name.clone();
        self.named_in(&found, &name, defines, hops + 1)
    }

    fn burn(&self) -> Option<()> {
        self.left.set(self.left.get().checked_sub(1)?);
        self.sources.budget().burn(PLACE).then_some(())
    }
}
