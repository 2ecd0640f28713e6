//! What a run reads.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use t2m_checkpoint::Checkpoint;

use super::{Identity, folder, identity, shown};

/// What a file is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The checkpoint, a shard of it, its index, its config.json.
    Checkpoint,
    /// The key map of the way back.
    Map,
    /// Python source.
    Source,
    /// A registry file.
    Registry,
    /// The Python that is run to learn its `sys.path`.
    Python,
    /// An exported graph.
    Graph,
    /// A theme.
    Theme,
}

impl Role {
    fn words(self) -> &'static str {
        match self {
            Role::Checkpoint => "the input",
            Role::Map => "the key map that is read",
            Role::Source => "Python source that is read",
            Role::Registry => "the registry file",
            Role::Python => "the Python that is asked",
            Role::Graph => "the exported graph",
            Role::Theme => "the theme",
        }
    }
}

/// Every file that a run reads. None of them is ever an output.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    files: Vec<(Role, PathBuf)>,
    searched: Vec<PathBuf>,
    models: Vec<PathBuf>,
}

impl Inputs {
    /// The files that a checkpoint was read from.
    pub fn of(checkpoint: &Checkpoint) -> Inputs {
        let origin = checkpoint.origin();
        let files = origin.files.into_iter().map(|path| (Role::Checkpoint, path)).collect();
        Inputs { files, searched: Vec::new(), models: origin.folder.into_iter().collect() }
    }

    /// A file that is read, whether it still exists or not.
    pub fn add(&mut self, role: Role, path: impl Into<PathBuf>) {
        self.files.push((role, path.into()));
    }

    /// A folder whose Python files, at any depth, are source.
    pub fn add_searched(&mut self, folder: impl Into<PathBuf>) {
        self.searched.push(folder.into());
    }

    /// The folder of a model: what is in it belongs to the model (its tokenizer's files, say), read or not.
    pub fn add_model(&mut self, folder: impl Into<PathBuf>) {
        self.models.push(folder.into());
    }

    /// Add all of these.
    pub fn extend(&mut self, others: Inputs) {
        self.files.extend(others.files);
        self.searched.extend(others.searched);
        self.models.extend(others.models);
    }

    /// The inputs as they are in the file system now.
    pub(super) fn places(&self) -> Places<'_> {
        let mut places = Places { inputs: self, by_name: HashMap::new(), by_file: HashMap::new() };
        let mut folders: HashMap<&Path, Option<Identity>> = HashMap::new();
        for (at, (_, path)) in self.files.iter().enumerate() {
            let above = folder(path);
            let above = folders.entry(above).or_insert_with(|| identity(above));
            if let (Some(above), Some(name)) = (above, path.file_name()) {
                places.by_name.entry((above.clone(), name.to_owned())).or_insert(at);
            }
            if let Some(file) = identity(path) {
                places.by_file.entry(file).or_insert(at);
            }
        }
        places
    }
}

/// Inputs by where they are and by what they are.
pub(super) struct Places<'a> {
    inputs: &'a Inputs,
    by_name: HashMap<(Identity, OsString), usize>,
    by_file: HashMap<Identity, usize>,
}

impl Places<'_> {
    /// Which input a path is, in words; `None` if it is none.
    pub fn input_at(&self, path: &Path) -> Option<String> {
        let by_file = identity(path).and_then(|file| self.by_file.get(&file));
        let by_name = || {
            identity(folder(path))
                .zip(path.file_name())
                .and_then(|(above, name)| self.by_name.get(&(above, name.to_owned())))
        };
        if let Some((role, known)) = by_file.or_else(by_name).and_then(|&at| self.inputs.files.get(at)) {
            let words = role.words();
            return Some(if known == path { words.to_owned() } else { format!("{words} ({})", shown(known)) });
        }
        let source = path.extension().is_some_and(|extension| extension == "py");
        let below = self.inputs.searched.iter().find(|searched| source && is_below(path, searched))?;
        Some(format!("Python source in {}, which is searched", shown(below)))
    }

    /// The model's folder that contains a path's file.
    pub fn model_with(&self, path: &Path) -> Option<&Path> {
        let above = identity(folder(path))?;
        self.inputs.models.iter().map(PathBuf::as_path).find(|model| identity(model).as_ref() == Some(&above))
    }
}

/// Whether a path's file is somewhere in a folder.
fn is_below(path: &Path, searched: &Path) -> bool {
    match (folder(path).canonicalize(), searched.canonicalize()) {
        (Ok(above), Ok(searched)) => above.starts_with(searched),
        _ => false,
    }
}
