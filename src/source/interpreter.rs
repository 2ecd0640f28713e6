//! Asking a Python for its `sys.path`, and for nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use t2m_engine::child;

/// A Python that does not answer by then is ended.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than any `sys.path` is long, in bytes.
const OUTPUT_LIMIT: usize = 1 << 20;

/// The folders on the `sys.path` of `python`, whether they exist or not; or what went wrong, in words.
///
/// It runs isolated (`-I`), so that neither the folder we stand in nor the environment can put modules in its way. What it
/// starts ends with it: the program that the user names may be a script around Python.
pub(super) fn path_of(python: &Path, cancelled: impl Fn() -> bool) -> Result<Vec<PathBuf>, String> {
    let mut command = Command::new(python);
    command.args(["-I", "-c", "import json, sys; print(json.dumps(sys.path))"]);
    let answer =
        child::output_unless(&mut command, PATIENCE, OUTPUT_LIMIT, cancelled).map_err(|error| error.to_string())?;
    let folders: Vec<String> =
        serde_json::from_slice(&answer).map_err(|error| format!("its answer is not a path: {error}"))?;
    Ok(folders.into_iter().filter(|folder| !folder.is_empty()).map(PathBuf::from).collect())
}
