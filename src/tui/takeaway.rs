//! What can be taken away of what is selected, as text for a clipboard.

use serde::{Deserialize, Serialize};

use super::panes::{View, graph, source};
use super::shell;
use super::state::Trials;
use crate::compare::WeightSource;
use crate::model::ModuleId;
use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::escape;

/// What is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The module's path, or the node's name.
    Path,
    /// File and line of the source that is shown.
    Place,
    /// Why it is what it is.
    Reason,
    /// The command that measures it again.
    Command,
    /// Python that builds it in MLX.
    Snippet,
}

impl What {
    /// All of them, in the order of the menu.
    pub const ALL: [What; 5] = [What::Path, What::Place, What::Reason, What::Command, What::Snippet];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            What::Path => "path",
            What::Place => "file and line",
            What::Reason => "explanation",
            What::Command => "command",
            What::Snippet => "MLX snippet",
        }
    }
}

/// The text of one of them.
///
/// # Errors
/// In words: why there is none.
pub fn text(view: &View, trials: &Trials, what: What) -> Result<String, String> {
    let id = view.tree.selected;
    let module = view.document.module(id).ok_or("no module is selected")?;
    let node = graph::selected(view);
    match what {
        What::Path if node.is_none() && module.path.is_empty() => Err("the whole model has no path".to_owned()),
        What::Path => Ok(escape(node.map_or(module.path.as_str(), |row| &row.name)).into_owned()),
        What::Place => {
            let (file, line) = source::place_shown(view).ok_or("no source is shown")?;
            Ok(escape(&format!("{file}:{line}")).into_owned())
        }
        What::Reason => match node {
            Some(row) => Ok(node_reason(view, row)),
            None => Ok(reason(view, id)),
        },
        What::Command => Ok(match node {
            Some(row) => {
                let inputs: String =
                    view.ran.specs.iter().map(|spec| format!(" --input {}", shell::word(&spec.to_string()))).collect();
                format!("{}{inputs} --repro {}", command(view, "run"), shell::word(&row.name))
            }
            None => verify(view, trials, id),
        }),
        What::Snippet if node.is_some() => node.map_or_else(|| Err(String::new()), |row| ran(view, row)),
        What::Snippet => {
            let triaged = view.document.triage(id).ok_or("no module is selected")?;
            let plan = triaged.runs().ok_or_else(|| format!("{} has no conversion", shown(&module.path)))?;
            Ok(plan.python(&module.path))
        }
    }
}

fn shown(path: &str) -> String {
    if path.is_empty() { "the whole model".to_owned() } else { escape(path).into_owned() }
}

/// What the panes say of a module, as a paragraph.
fn reason(view: &View, id: ModuleId) -> String {
    let (Some(module), Some(triaged)) = (view.document.module(id), view.document.triage(id)) else {
        return String::new();
    };
    let target = triaged.target().map(|mlx| format!(" → {mlx}")).unwrap_or_default();
    let mut words = format!("{}: {}{target}, {}. ", shown(&module.path), module.class, triaged.status.name());
    words += &triaged.reason;
    if let Some(steps) = triaged.runs().and_then(|plan| plan.way.words("; ")) {
        words += &format!(" Steps: {steps}.");
    }
    if let Some(layer) = view.measured.layer(id)
        && let Some(verdict) = layer.verdict()
    {
        words += &format!(" Measured: {}", verdict.name());
        if let Some(trial) = layer.worst() {
            let (found, bound) =
                (super::text::error(trial.max_abs().unwrap_or(f64::NAN)), super::text::error(trial.tolerance));
            words += &format!(", max abs {found}, tolerance {bound}");
        }
        words += &layer.reason().map_or(".".to_owned(), |reason| format!(": {reason}."));
    }
    escape(&words).into_owned()
}

/// What MLX ran for a node, as Python; several where it has graphs of its own.
fn ran(view: &View, row: &super::nodes::Row) -> Result<String, String> {
    let at = row.at().map(|at| format!(", {at}")).unwrap_or_default();
    let programs: Vec<String> = view
        .ran
        .of(row.index)
        .iter()
        .filter_map(|result| Some(format!("# {}: {}{at}\n{}", result.name, result.target, result.mlx.as_ref()?)))
        .collect();
    match programs.as_slice() {
        [] => Err(format!("{} was not run in MLX yet", shown(&row.name))),
        programs => Ok(escape_lines(&programs.join("\n\n"))),
    }
}

/// A text of several lines, each without what a terminal would obey.
fn escape_lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

fn node_reason(view: &View, row: &super::nodes::Row) -> String {
    let mut words = format!("{}: {}", row.name, row.target);
    words += &row.at().map(|at| format!(" at {at}")).unwrap_or_default();
    words += &row.refused.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    for result in view.ran.of(row.index) {
        words += &format!("; {}", result.verdict.name());
        words += &result.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        if let Some(measured) = &result.isolated {
            let numbers = [measured.max_abs, measured.tolerance].map(super::text::error);
            words += &format!(", max abs {}, tolerance {}", numbers[0], numbers[1]);
        }
    }
    escape(&words).into_owned()
}

/// `t2m-tui verify FILE`, with the options that the file was opened with.
fn command(view: &View, subcommand: &str) -> String {
    let about = &view.document.about;
    let file = if about.path.is_empty() { &view.document.name } else { &about.path };
    // A name that begins like an option is one of this folder.
    let file = if file.starts_with('-') { format!("./{file}") } else { file.clone() };
    let mut words = vec!["t2m-tui".to_owned(), subcommand.to_owned(), shell::word(&file)];
    words.extend(view.document.arguments.iter().map(|word| shell::word(word)));
    words.join(" ")
}

/// The command that measures a module, or everything below it, as the screen would.
fn verify(view: &View, trials: &Trials, id: ModuleId) -> String {
    let mut words = command(view, "verify");
    if let (Some(module), Some(triaged)) = (view.document.module(id), view.document.triage(id))
        && !module.path.is_empty()
    {
        let path = globset::escape(&module.path);
        // What is no layer itself is run by what is below it.
        let glob = if triaged.can_run() || module.is_leaf(id) { path } else { format!("{path}.*") };
        words += &format!(" --layers={}", shell::word(&glob));
    }
    let dtypes: Vec<&str> = trials.dtypes.iter().filter_map(|dtype| short(*dtype)).collect();
    if dtypes != ["f32"] {
        words += &format!(" --dtype {}", dtypes.join(","));
    }
    words += &format!(" --trials {} --seed {}", trials.count, trials.seed);
    if trials.weights == WeightSource::Random {
        words += " --weights random";
    }
    if trials.naive {
        words += " --naive";
    }
    words
}

/// The type as `--dtype` takes it.
fn short(dtype: Dtype) -> Option<&'static str> {
    match dtype {
        Dtype::Float32 => Some("f32"),
        Dtype::Float16 => Some("f16"),
        Dtype::BFloat16 => Some("bf16"),
        _ => None,
    }
}
