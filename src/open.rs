//! Opening a checkpoint all the way to its triage: what every subcommand and the screen begin with.

use std::path::PathBuf;
use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::demo;
use crate::evidence;
use crate::model::{self, Model};
use crate::registry::Registry;
use crate::source::Sources;
use crate::triage::{self, Triage};

/// What the user asked to be opened, and with which help.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The checkpoint; the word `demo` stands for the built-in one.
    pub checkpoint: PathBuf,
    /// Python files, folders, site-packages.
    pub sources: Vec<PathBuf>,
    /// A Python whose `sys.path` is searched as well.
    pub python: Option<PathBuf>,
    /// Registry files that add to the built-in one, or change it.
    pub registries: Vec<PathBuf>,
}

/// A checkpoint, understood. Cheap to clone and to send to other threads.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The file.
    pub checkpoint: Arc<Checkpoint>,
    /// Its modules.
    pub model: Arc<Model>,
    /// The registry it was held against.
    pub registry: Arc<Registry>,
    /// What became of that.
    pub triage: Arc<Triage>,
}

/// Why it could not be opened: readable as it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::Error),
    /// A source.
    #[error(transparent)]
    Source(#[from] crate::source::locate::Error),
    /// A registry file.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
}

/// Open and triage.
///
/// # Errors
/// The checkpoint, a source or a registry file cannot be used.
pub fn open(options: &Options) -> Result<Opened, Error> {
    let registry = Registry::load(&options.registries)?;
    let mut sources = Sources::new(&options.sources)?;
    if let Some(python) = &options.python {
        sources.add_python(python)?;
    }
    let mut checkpoint = if demo::is_demo(&options.checkpoint) {
        demo::add_source(&mut sources);
        demo::open()?
    } else {
        Checkpoint::open(&options.checkpoint)?
    };
    for source in &checkpoint.sources {
        sources.add_class(&source.class, &source.file, "from the checkpoint", &source.text);
    }
    let mut model = model::build(&checkpoint);
    if let Some(class) = &checkpoint.root_class {
        model.name_root(class);
    }
    checkpoint.warnings.extend(evidence::from_source(&checkpoint.tensors, &mut model, &sources));
    let triage = triage::triage(&checkpoint, &model, &registry, &sources);
    Ok(Opened {
        checkpoint: Arc::new(checkpoint),
        model: Arc::new(model),
        registry: Arc::new(registry),
        triage: Arc::new(triage),
    })
}
