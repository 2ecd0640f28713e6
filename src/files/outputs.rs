//! Everything that a run writes, known before the first byte.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Error, Identity, Inputs, Stage, folder, identity, shown};

/// The kind of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The weights, in the file that the call names.
    Weights,
    /// One of several files of weights; their names follow from the one that the call names.
    Shard,
    /// The index of these. If there is only one file of weights, an index from an earlier run must not remain.
    Index,
    /// The key map.
    Map,
    /// The configuration of an adapter, beside its weights.
    Config,
    /// A script that shows what was found of a node, or its inputs.
    Repro,
    /// A report.
    Report,
    /// A picture of the screen.
    Picture,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::Weights => "the weights",
            Kind::Shard => "a shard of the weights",
            Kind::Index => "the index of the weights' shards",
            Kind::Map => "the key map",
            Kind::Config => "the adapter's configuration",
            Kind::Repro => "a script of --repro or its inputs",
            Kind::Report => "the report",
            Kind::Picture => "a picture of the screen",
        }
    }

    fn option(self) -> &'static str {
        if self == Kind::Map { "--map" } else { "-o" }
    }

    /// Whether the call names the path: then `--force` applies to it.
    fn is_named(self) -> bool {
        matches!(self, Kind::Weights | Kind::Map | Kind::Report)
    }
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where it will be.
    pub path: PathBuf,
    /// What it will be: weights, an index, a key map.
    pub kind: Kind,
}

/// The files that a run writes, none of which is an input or another output.
#[derive(Debug)]
pub struct Outputs {
    wanted: Vec<Wanted>,
    /// Existing files that may be replaced.
    replaced: HashSet<PathBuf>,
}

impl Outputs {
    /// Compare the outputs with the inputs, with each other and with existing files. `is_ours` says whether this
    /// program wrote a file: `--force` replaces what the call names, and other files only if this program wrote them.
    ///
    /// # Errors
    /// Says which two are the same file, or what is in the way, and what to do.
    pub fn check(
        inputs: &Inputs,
        wanted: Vec<Wanted>,
        force: bool,
        is_ours: impl Fn(Kind, &Path) -> bool,
    ) -> Result<Outputs, Error> {
        let places = inputs.places();
        let mut apart = Apart::default();
        let mut replaced = HashSet::new();
        for Wanted { path, kind } in &wanted {
            let (kind, option) = (*kind, kind.option());
            let target = |what| Error::Target { path: path.clone(), what };
            let name = path.file_name().ok_or_else(|| target("names no file; give a file's path"))?;
            let above = identity(folder(path)).filter(|_| folder(path).is_dir());
            let above = above.ok_or_else(|| target("cannot be written: its folder is not there; make it first"))?;
            if let Some(input) = places.input_at(path) {
                let option = if kind == Kind::Map { "--map " } else { "" };
                return Err(Error::Input { path: path.clone(), input, option });
            }
            let name_of_json =
                Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
            if kind == Kind::Weights && name_of_json {
                return Err(target("is a name for JSON, which weights are not; give a path that ends in .safetensors"));
            }
            let kept = name.eq_ignore_ascii_case("config.json") || name.to_string_lossy().ends_with(".index.json");
            if kind == Kind::Map && kept && places.model_with(path).is_some() {
                return Err(target("is a name that the model's folder has another use for; give --map another path"));
            }
            let found = std::fs::symlink_metadata(path).ok();
            let file = found.as_ref().and_then(|_| identity(path));
            if let Some(other) = apart.add(above, name.to_owned(), file, kind) {
                let option = if other == Kind::Map { "--map" } else { option };
                return Err(Error::Twice { path: path.clone(), one: other.words(), other: kind.words(), option });
            }
            let Some(found) = found else { continue };
            if found.is_symlink() {
                return Err(target(
                    "is a symbolic link, which would be replaced and not followed; give the file's own path",
                ));
            }
            if !found.is_file() {
                return Err(target("is no regular file; give a file's path"));
            }
            if !force {
                return Err(Error::Exists { path: path.clone() });
            }
            let foreign = match places.model_with(path) {
                Some(model) => Some(format!("belongs to the model in {} and was not written by t2m-tui", shown(model))),
                None if kind.is_named() => None,
                None => Some(format!("is where {} belongs, and was not written by t2m-tui", kind.words())),
            };
            if let Some(what) = foreign.filter(|_| !is_ours(kind, path)) {
                return Err(Error::Foreign { path: path.clone(), what, option });
            }
            replaced.insert(path.clone());
        }
        Ok(Outputs { wanted, replaced })
    }

    /// The files that are to be written.
    pub fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    /// Whether a path existed when it was checked, and may be replaced.
    pub fn replaces(&self, path: &Path) -> bool {
        self.replaced.contains(path)
    }

    /// Make room for temporary files beside all of them.
    ///
    /// # Errors
    /// A folder is not writable, or another run is writing one of the files.
    pub fn stage(self) -> Result<Stage, Error> {
        Stage::new(self)
    }
}

/// Outputs by location and by identity.
#[derive(Default)]
struct Apart {
    by_name: HashMap<(Identity, OsString), Kind>,
    by_file: HashMap<Identity, Kind>,
}

impl Apart {
    /// Add an output, unless one is the same file; returns that one. On file systems that ignore case, two names that
    /// do not exist yet may be the same file, so no two may differ only in case.
    fn add(&mut self, above: Identity, name: OsString, file: Option<Identity>, kind: Kind) -> Option<Kind> {
        let name = name.into_string().map_or_else(|name| name, |name| name.to_lowercase().into());
        let by_name = self.by_name.insert((above, name), kind);
        let by_file = file.and_then(|file| self.by_file.insert(file, kind));
        by_name.or(by_file)
    }
}
