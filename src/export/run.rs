//! A conversion from end to end: what would be written and whether it may be, the writing with its progress, how it ended. The
//! command line and the screen choose the options and show the rest.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::GlobSet;
use serde_json::Value;

use super::adapter::{self, Adapter};
use super::already;
use super::state_dict::{self, StateDict, key_map};
use super::writer::{self, Beside, Progress, Text, Written};
use crate::afar;
use crate::exit::Exit;
use crate::files::{Inputs, Kind};
use crate::open::Opened;
use t2m_checkpoint::escape::{EscapedJson, escape, quoted};
use t2m_checkpoint::{Absent, AbsentKind, Checkpoint, Dtype};

/// Most bytes of tensors in one file by default; more are sharded.
pub const SHARD_BYTES: u64 = 5_000_000_000;
/// How many tensors a message lists.
const MOST_LISTED: usize = 20;

/// What to convert to, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file to write.
    pub target: PathBuf,
    /// What real numbers are cast to; `None` keeps their types.
    pub dtype: Option<Dtype>,
    /// Where the key map goes, if anywhere.
    pub map: Option<PathBuf>,
    /// Where the configuration of a LoRA adapter goes, which is then written as mlx-lm reads it.
    pub config: Option<PathBuf>,
    /// Torch tensors that are left out, by name.
    pub skip: GlobSet,
    /// Whether a file that is there is replaced.
    pub force: bool,
    /// Whether to refuse what could only be copied under its name, and what a cast would make infinite.
    pub strict: bool,
    /// Whether the file is torch's, whatever it looks like.
    pub assume_torch: bool,
    /// Most bytes of tensors in one file.
    pub shard_bytes: u64,
}

impl Options {
    /// Options for writing everything, unchanged, to a file of this name; nothing is replaced.
    pub fn to(target: PathBuf) -> Options {
        let skip = GlobSet::empty();
        Options {
            target,
            dtype: None,
            map: None,
            config: None,
            skip,
            force: false,
            strict: false,
            assume_torch: false,
            shard_bytes: SHARD_BYTES,
        }
    }

    /// The texts beside the weights.
    fn texts(&self) -> Vec<(&Path, Kind)> {
        let map = self.map.as_deref().map(|path| (path, Kind::Map));
        let config = self.config.as_deref().map(|path| (path, Kind::Config));
        map.into_iter().chain(config).collect()
    }

    /// What the writer needs to know about them, and about the source file.
    pub fn writer(&self, source: &Path) -> writer::Options {
        writer::Options {
            target: self.target.clone(),
            force: self.force,
            shard_bytes: self.shard_bytes,
            strict: self.strict,
            source: source.file_name().unwrap_or(source.as_os_str()).to_string_lossy().into_owned(),
        }
    }
}

/// Why nothing was converted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file holds MLX's weights.
    #[error(
        "{}: is MLX's already ({}); there is nothing to convert. If it is torch's: --assume-torch",
        shown(path),
        quoted(how)
    )]
    AlreadyMlx {
        /// The file.
        path: PathBuf,
        /// By what that is known.
        how: String,
    },
    /// The file does not hold all of the model's weights.
    #[error("{}: {what}", shown(path))]
    Absent {
        /// The file.
        path: PathBuf,
        /// What is missing, and where it is to be had.
        what: String,
    },
    /// It is elsewhere, and too large to be read from there several times.
    #[error("{}: {what}", shown(path))]
    Elsewhere {
        /// Where it is.
        path: PathBuf,
        /// Why, and what to do.
        what: String,
    },
    /// Its tensors cannot be mapped.
    #[error("{}: {error}", shown(path))]
    Map {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Box<state_dict::Error>,
    },
    /// It has no tensors, or all are left out.
    #[error("{}: there is no tensor to convert in it", shown(path))]
    Nothing {
        /// The file.
        path: PathBuf,
    },
    /// It is no adapter that mlx-lm could read.
    #[error("{}: {what}", shown(path))]
    Adapter {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        what: String,
    },
    /// Strictly, a tensor whose layer is not known is not copied.
    #[error("{}: {} tensors could only be copied, which --strict refuses:{}", shown(path), tensors.len(), listed(tensors))]
    Copied {
        /// The file.
        path: PathBuf,
        /// MLX's names, and why each could only be copied.
        tensors: Vec<(String, String)>,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] writer::Error),
}

impl Error {
    /// How a program ends for that reason.
    pub fn exit(&self) -> Exit {
        match self {
            // The call is right, the answer to `--strict` is no.
            Error::Copied { .. } | Error::Write(writer::Error::Overflow { .. }) => Exit::BadAnswer,
            Error::Write(writer::Error::Stopped) => Exit::Interrupted,
            Error::AlreadyMlx { .. }
            | Error::Absent { .. }
            | Error::Elsewhere { .. }
            | Error::Map { .. }
            | Error::Adapter { .. }
            | Error::Nothing { .. }
            | Error::Write(_) => Exit::WrongInput,
        }
    }
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

fn listed(tensors: &[(String, String)]) -> String {
    let lines = tensors.iter().take(MOST_LISTED);
    let lines: String = lines.map(|(name, doubt)| format!("\n  {}: {}", quoted(name), quoted(doubt))).collect();
    match tensors.len().saturating_sub(MOST_LISTED) {
        0 => lines,
        more => format!("{lines}\n  … and {more} more"),
    }
}

/// What a checkpoint becomes.
///
/// # Errors
/// It is MLX's already, has no tensors, or they cannot be mapped.
pub fn map(opened: &Opened, skip: &GlobSet) -> Result<StateDict, Error> {
    refuse_mlx(opened)?;
    key_map(opened, skip)
}

/// The key map by a checkpoint, for either direction.
///
/// # Errors
/// There are no tensors, or they cannot be mapped.
pub fn key_map(opened: &Opened, skip: &GlobSet) -> Result<StateDict, Error> {
    let path = || opened.checkpoint.path.clone();
    let map = state_dict::map(opened, skip).map_err(|error| Error::Map { path: path(), error: Box::new(error) })?;
    if map.entries.is_empty() { Err(Error::Nothing { path: path() }) } else { Ok(map) }
}

fn refuse_mlx(opened: &Opened) -> Result<(), Error> {
    let path = || opened.checkpoint.path.clone();
    already::is_mlx(opened).map_or(Ok(()), |how| Err(Error::AlreadyMlx { path: path(), how }))
}

/// Refuse what would look whole and is not. Placeholders that are left out by name are no longer missing.
fn refuse_absent(source: &Checkpoint, skip: &GlobSet) -> Result<(), Error> {
    let skipped = |id: &usize| source.tensors.get(*id).is_some_and(|tensor| skip.is_match(tensor.name.as_str()));
    // Of tensors on the meta device the writer names each; a shard by itself holds whole tensors.
    let refused = |absent: &&Absent| !matches!(absent.kind, AbsentKind::Meta | AbsentKind::Shard);
    let mut missing = source.absent.iter().filter(refused);
    let missing = missing.find(|absent| absent.tensors.is_empty() || !absent.tensors.iter().all(skipped));
    missing.map_or(Ok(()), |absent| {
        let skip = if absent.tensors.is_empty() { "" } else { " --skip leaves tensors out." };
        let what = format!("{} {}{skip}", absent.what, absent.way_out);
        Err(Error::Absent { path: source.path.clone(), what })
    })
}

/// A conversion that may be written. It does not keep the modules: a million of them take as much memory as everything
/// else.
#[derive(Debug)]
pub struct Export {
    source: Arc<Checkpoint>,
    map: StateDict,
    inputs: Inputs,
    options: Options,
    /// The adapter's configuration.
    config: Option<Value>,
}

impl Export {
    /// Plan it. Nothing will be written to `inputs`, which the caller reads besides the checkpoint.
    ///
    /// # Errors
    /// Says what stands in the way: nothing has been written.
    pub fn plan(opened: &Opened, inputs: Inputs, options: Options) -> Result<Export, Error> {
        if !options.assume_torch {
            refuse_mlx(opened)?;
        }
        let source = Arc::clone(&opened.checkpoint);
        let mut all = Inputs::clone(&opened.inputs);
        all.extend(inputs);
        writer::check(&all, &options.writer(&source.path), &options.texts())?;
        refuse_absent(&source, &options.skip)?;
        if let Some(what) = afar::too_large(&source) {
            return Err(Error::Elsewhere { path: source.path.clone(), what });
        }
        if options.config.is_some() {
            let fault = |what| Error::Adapter { path: source.path.clone(), what };
            let Adapter { map, config } = adapter::adapter(opened, &options.skip).map_err(fault)?;
            return Ok(Export { source, map, inputs: all, options, config: Some(config) });
        }
        let map = key_map(opened, &options.skip)?;
        if options.strict && map.copied().next().is_some() {
            let tensors = map.copied().map(|(entry, doubt)| (entry.name.to_string(), doubt.to_string()));
            return Err(Error::Copied { path: source.path.clone(), tensors: tensors.collect() });
        }
        Ok(Export { source, map, inputs: all, options, config: None })
    }

    /// Which tensor becomes which.
    pub fn map(&self) -> &StateDict {
        &self.map
    }

    /// Write it. `watch` gets the progress, and says whether to go on.
    ///
    /// # Errors
    /// Says why nothing was written; nothing is left behind.
    pub fn write(&self, watch: impl FnMut(Progress<'_>) -> bool) -> Result<Written, Error> {
        let tensors = writer::Conversion::new(&self.source, &self.map, self.options.dtype)?;
        let rows = |file: &mut dyn Write| {
            serde_json::to_writer_pretty(EscapedJson(file), &key_map::Rows { checkpoint: &self.source, map: &self.map })
                .map_err(std::io::Error::from)
        };
        let config = |file: &mut dyn Write| {
            serde_json::to_writer_pretty(EscapedJson(file), &self.config).map_err(std::io::Error::from)
        };
        let text = |(path, kind): (&Path, Kind)| {
            let write: &dyn Fn(&mut dyn Write) -> std::io::Result<()> =
                if kind == Kind::Config { &config } else { &rows };
            Text { path: path.to_owned(), kind, write }
        };
        let options = self.options.clone();
        let texts = options.texts().into_iter().map(text).collect();
        let beside = Beside { inputs: self.inputs.clone(), texts };
        Ok(writer::write_beside(&tensors, &self.options.writer(&self.source.path), &beside, watch)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_how_the_program_ends() {
        let path = PathBuf::from("net.pt");
        let copied = Error::Copied { path: path.clone(), tensors: vec![("a".to_owned(), "why".to_owned()); 22] };
        let overflow = writer::Error::Overflow { name: "a".to_owned(), count: 1, dtype: "float16" };
        let said = copied.to_string();
        assert!(
            said.starts_with("net.pt: 22 tensors could only be copied, which --strict refuses:\n  a: why\n"),
            "{said}"
        );
        assert!(said.ends_with("\n  … and 2 more") && said.lines().count() == 22, "{said}");
        let exits =
            [copied, overflow.into(), writer::Error::Stopped.into(), Error::Nothing { path }].map(|one| one.exit());
        assert_eq!(exits, [Exit::BadAnswer, Exit::BadAnswer, Exit::Interrupted, Exit::WrongInput]);
    }
}
