//! What the panel that builds a model in the user's Python begins with. Nothing is run for it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::architecture::{Architecture, Candidate, candidates, told_apart};
use crate::model::Evidence;
use crate::open::{Opened, Options};
use crate::source::{Sources, builders};
use crate::triage::Status;
use t2m_checkpoint::Content;

/// What can be built for a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Whether the file has weights alone; one that holds its modules needs no other.
    pub possible: bool,
    /// Whether something about its modules is not known that a built model would tell.
    pub wanted: bool,
    /// The expression to begin with.
    pub model: String,
    /// The Python.
    pub python: String,
    /// Inputs, as `--input` has them.
    pub inputs: String,
    /// Expressions to choose from.
    pub candidates: Vec<Candidate>,
    /// What tells them apart, in lines.
    pub told_apart: Vec<String>,
}

impl Offer {
    /// What an opened file and the command line suggest.
    pub fn of(opened: &Opened, options: &Options) -> Offer {
        let environment = options.environment.as_ref().map(|folder| folder.join("bin").join("python"));
        let python = options.python.clone().or(environment).unwrap_or_else(|| PathBuf::from("python3"));
        let inputs: Vec<String> = options.inputs.iter().map(ToString::to_string).collect();
        let possible = matches!(opened.checkpoint.content, Content::StateDict { .. });
        let built = opened.architecture.as_ref().is_some_and(|architecture| architecture.python.is_some());
        let open = || {
            // Where the file's name decides among models that fit, everything is known.
            let undecided =
                |architecture: &Arc<Architecture>| !architecture.others.is_empty() && !architecture.by_file_name;
            let several = opened.architecture.as_ref().is_some_and(undecided);
            let unknown = |status: Status| matches!(status, Status::Incomplete | Status::Unknown);
            several
                || opened.model.modules.iter().any(|module| module.evidence == Evidence::Inferred)
                || opened.triage.modules.iter().any(|triaged| unknown(triaged.status))
        };
        let candidates = if possible { all(opened, options) } else { Vec::new() };
        let first = candidates.first().map(|candidate| candidate.expression.clone());
        Offer {
            possible,
            wanted: possible && !built && open(),
            model: options.model.clone().or(first).unwrap_or_default(),
            python: python.to_string_lossy().into_owned(),
            inputs: inputs.join(" "),
            candidates,
            told_apart: opened.architecture.as_deref().map(told_apart).unwrap_or_default(),
        }
    }
}

fn all(opened: &Opened, options: &Options) -> Vec<Candidate> {
    let root = opened.model.modules.first();
    let class = root.map_or("", |root| root.class.as_str());
    let mut found: Vec<Candidate> =
        opened.architecture.iter().flat_map(|architecture| candidates(architecture, class)).collect();
    found.extend(of_folder(opened));
    if let (false, Ok(sources)) = (options.sources.is_empty(), Sources::new(&options.sources)) {
        let children = opened.model.children(0).filter_map(|id| opened.model.modules.get(id));
        // Modules without weights come of an architecture, which need not be this one.
        let with_weights = children.filter(|child| child.total_parameters > 0).map(|child| child.name.as_str());
        let own = root.into_iter().flat_map(|root| &root.tensors).map(|own| own.name.as_str());
        let top: BTreeSet<&str> = with_weights.chain(own).collect();
        let told = |expression| Candidate { expression, told: "from --source".to_owned() };
        found.extend(builders::expressions(&sources, &top).into_iter().map(told));
    }
    found
}

/// The class that the config.json of a folder names.
fn of_folder(opened: &Opened) -> Option<Candidate> {
    let config = opened.checkpoint.config()?;
    config.get("model_type")?;
    let class = config.get("architectures")?.as_array()?.first()?.as_str()?;
    let is_name = class.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    let path = &opened.checkpoint.path;
    let folder = if path.is_dir() { path } else { path.parent()? };
    let folder = folder.canonicalize().ok()?;
    let folder = folder.to_str().filter(|folder| is_name && !folder.contains(['\'', '\\', '\n']))?;
    Some(Candidate {
        expression: format!("transformers.{class}(transformers.AutoConfig.from_pretrained('{folder}'))"),
        told: "by its config.json".to_owned(),
    })
}
