//! A model that the user's own Python builds, when asked for by `--model`: this runs the user's code, and nothing of the checkpoint.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value, json};
use t2m_engine::child;

use super::asset::Block;

/// What that Python runs: ours, and in it the expression.
const SCRIPT: &str = concat!(
    include_str!("../../assets/architectures/describe.py"),
    include_str!("../../assets/architectures/build.py")
);
/// A model that is not built by then is given up, and its Python ended with all that it started.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of the longest tree: a thousand times ResNet-50's.
const OUTPUT_LIMIT: usize = 64 << 20;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The Python.
    pub python: &'a Path,
    /// The expression.
    pub model: &'a str,
    /// Folders that its modules are looked for in, before the Python's own.
    pub folders: &'a [PathBuf],
}

/// The model that came of it.
pub(super) struct Built {
    pub block: Block,
    /// The package of the model's class, and its version, if it says one.
    pub library: String,
    pub version: String,
}

/// A module as `describe.py` tells it.
#[derive(serde::Deserialize)]
pub(super) struct Module {
    pub path: String,
    pub class: String,
    pub attributes: Map<String, Value>,
    pub tensors: Vec<(String, String, String, Option<Vec<u64>>)>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Answer {
    Told { modules: Vec<Module>, library: String, version: String },
    Failed { error: String, missing: Option<String> },
}

/// Build it.
///
/// # Errors
/// In words: the Python cannot be run, has not what the expression names, or did not answer.
pub(super) fn build(asked: &Asked<'_>) -> Result<Built, String> {
    let folders: Vec<PathBuf> = asked.folders.iter().map(|path| folder(path)).collect();
    let request = json!({"model": asked.model, "path": folders});
    let mut command = Command::new(asked.python);
    command.args(["-c", SCRIPT, &request.to_string()]);
    let answer = child::output(&mut command, PATIENCE, OUTPUT_LIMIT).map_err(|error| error.to_string())?;
    match serde_json::from_slice(&answer) {
        Ok(Answer::Told { modules, .. }) if modules.is_empty() => Err("it told no modules".to_owned()),
        Ok(Answer::Told { modules, library, version }) => Ok(Built { block: Block::of(modules), library, version }),
        Ok(Answer::Failed { error, missing: None }) => Err(error),
        Ok(Answer::Failed { missing: Some(missing), .. }) => Err(format!(
            "it has no module {missing}: install it there, name another --python, or a --source folder with it"
        )),
        Err(error) => Err(format!("its answer is no description of a model: {error}")),
    }
}

/// The folder that a --source is, or is in, as Python needs it.
fn folder(path: &Path) -> PathBuf {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf())
}
