//! A model that the user's own Python builds, when asked for by `--model`: this runs the user's code, and nothing of the checkpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use t2m_engine::child;

use super::asset::Block;
use super::graph;
use super::spec::{InputSpec, TensorSpec, What};

/// What that Python runs: ours, and in it the expression.
const SCRIPT: &str = concat!(
    include_str!("../../assets/architectures/describe.py"),
    include_str!("../../assets/architectures/build.py")
);
/// A model that is not built by then is given up, and its Python ended with all that it started.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same where its graph is exported as well.
const PATIENCE_TO_EXPORT: Duration = Duration::from_secs(600);
/// Bytes of the longest tree: a thousand times ResNet-50's.
const OUTPUT_LIMIT: usize = 64 << 20;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The Python.
    pub python: &'a Path,
    /// The expression.
    pub model: &'a str,
    /// Folders that its modules are looked for in, before the Python's own.
    pub folders: &'a [PathBuf],
    /// Inputs that its graph is exported with; it is exported where there are some.
    pub inputs: &'a [InputSpec],
    /// Once this is set, the Python is ended with all that it started.
    pub stop: Option<&'a AtomicBool>,
}

/// The model that came of it.
pub(super) struct Built {
    pub block: Block,
    /// The package of the model's class, and its version, if it says one.
    pub library: String,
    pub version: String,
    /// Tensors with more than one name: the name, and the first.
    pub ties: Vec<(String, String)>,
    /// The file of each class.
    pub places: BTreeMap<String, PathBuf>,
    /// The file of the graph, and whether it was there from before.
    pub graph: Option<(PathBuf, bool)>,
}

/// A module as `describe.py` tells it.
#[derive(serde::Deserialize)]
pub(super) struct Module {
    pub path: String,
    pub class: String,
    pub attributes: Map<String, Value>,
    pub tensors: Vec<(String, String, String, Option<Vec<u64>>)>,
}

/// Where the graph is.
#[derive(serde::Deserialize)]
struct Exported {
    file: PathBuf,
    reused: bool,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Answer {
    Told {
        modules: Vec<Module>,
        ties: Vec<(String, String)>,
        places: BTreeMap<String, (PathBuf, usize)>,
        library: String,
        version: String,
        graph: Option<Exported>,
    },
    Failed {
        error: String,
        missing: Option<String>,
        #[serde(default)]
        hint: String,
    },
}

/// Build it.
///
/// # Errors
/// In words: the Python cannot be run, has not what the expression names, or did not answer.
pub(super) fn build(asked: &Asked<'_>) -> Result<Built, String> {
    let patience = if asked.inputs.is_empty() { PATIENCE } else { PATIENCE_TO_EXPORT };
    build_within(asked, patience)
}

fn build_within(asked: &Asked<'_>, patience: Duration) -> Result<Built, String> {
    let folders: Vec<PathBuf> = asked.folders.iter().map(|path| folder(path)).collect();
    let mut request = json!({"model": asked.model, "path": folders});
    if !asked.inputs.is_empty() {
        let input = |input: &InputSpec| match &input.what {
            What::Tensor(TensorSpec { shape, dtype, below }) => {
                json!({"name": input.name, "shape": shape, "dtype": dtype.name(), "below": below})
            }
            What::Value(value) => json!({"name": input.name, "value": value}),
        };
        request["inputs"] = asked.inputs.iter().map(input).collect();
        request["cache"] =
            json!(graph::folder().ok_or("no folder for its graph: set XDG_CACHE_HOME or HOME to an absolute path")?);
    }
    let mut command = Command::new(asked.python);
    command.args(["-c", SCRIPT, &request.to_string()]);
    let stop = || asked.stop.is_some_and(|stop| stop.load(Ordering::SeqCst));
    let answer = child::output_unless(&mut command, patience, OUTPUT_LIMIT, stop).map_err(|error| match error {
        child::Error::Late(patience) => {
            format!("it was not done after {} s, and was ended with all that it had started", patience.as_secs_f64())
        }
        child::Error::Failed { status, said } => format!("it ended without an answer, {status}: {said}"),
        other => other.to_string(),
    })?;
    if answer.is_empty() {
        return Err("it ended without an answer".to_owned());
    }
    match serde_json::from_slice(&answer) {
        Ok(Answer::Told { modules, .. }) if modules.is_empty() => Err("it told no modules".to_owned()),
        Ok(Answer::Told { modules, ties, places, library, version, graph }) => Ok(Built {
            block: Block::of(modules),
            library,
            version,
            ties,
            places: places.into_iter().map(|(class, (file, _))| (class, file)).collect(),
            graph: graph.map(|graph| (graph.file, graph.reused)),
        }),
        Ok(Answer::Failed { error, missing: None, .. }) => Err(error),
        Ok(Answer::Failed { missing: Some(missing), hint, .. }) => Err(format!(
            "it has no module {missing}: install it there, name another --python, or a --source folder with it{hint}"
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

#[cfg(test)]
#[expect(clippy::panic, reason = "in a test it tells the place")]
mod tests {
    use super::*;

    /// A model that is never done: `os.fork` in it, so that a child of it hangs as well.
    const HANGS: &str = "[__import__('os').fork(), __import__('time').sleep(1000)]";

    fn asked(stop: Option<&AtomicBool>) -> Asked<'_> {
        Asked { python: Path::new("python3"), model: HANGS, folders: &[], inputs: &[], stop }
    }

    fn refused(built: Result<Built, String>) -> String {
        built.err().unwrap_or_else(|| panic!("it hangs"))
    }

    #[test]
    fn one_that_hangs_is_ended() {
        // Where there is no torch, too: the stand-in is found by the folder.
        let folders = [PathBuf::from("tests/fixtures/built")];
        let asked = Asked { folders: &folders, ..asked(None) };
        let said = refused(build_within(&asked, Duration::from_millis(1500)));
        assert!(said.starts_with("it was not done after 1.5 s, and was ended"), "{said}");
        let stop = AtomicBool::new(true);
        let stopped = refused(build_within(&Asked { stop: Some(&stop), ..asked }, Duration::from_secs(1000)));
        assert!(stopped.contains("it was cancelled"), "{stopped}");
    }
}
