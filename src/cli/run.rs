//! `t2m-tui run`

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::{Common, Failure, output};
use crate::architecture::spec::InputSpec;
use crate::exit::Exit;
use crate::graph::inputs::{self, Source};
use crate::graph::results::Results;
use crate::graph::run::{Event, Lockstep, Stop};
use crate::graph::scripted;
use crate::interrupt;
use crate::report::run::{self as text, Report};
use crate::stderr;
use t2m_checkpoint::Checkpoint;
use t2m_checkpoint::escape::{escape, quoted};
use t2m_engine::client::CancelToken;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Exported program (.pt2) or TorchScript archive whose graph is run
    graph: PathBuf,
    /// File whose tensors are the inputs, by the graph's names for them, or in0, in1, … by position
    #[arg(long, value_name = "FILE.safetensors")]
    inputs: Option<PathBuf>,
    /// An input of the model where it is drawn, once for each: 1x3x224x224, ids=1x9:int64<50
    #[arg(long, value_name = "SPEC")]
    input: Vec<InputSpec>,
    /// Seed of inputs that are drawn, where neither the file nor --inputs holds any
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Format of the report; jsonl prints one line for each node as it finishes
    #[arg(long, value_enum, default_value = "text")]
    format: RunFormat,
    /// Seconds to wait for an engine's answer before it counts as hung; its start is given 5 at least
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    deadline: u64,
}

/// What `run` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum RunFormat {
    Text,
    Json,
    Jsonl,
    Md,
}

/// Run the graph in both engines and print where they part.
///
/// # Errors
/// The file cannot be opened or holds no graph, the inputs do not fit, an engine is missing, or stdout is closed.
pub fn run(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let path = escape(&args.graph.to_string_lossy()).into_owned();
    let checkpoint = Checkpoint::open(&args.graph)?;
    if checkpoint.graph.is_none() && checkpoint.script.is_none() {
        return Err(format!(
            "{path}: holds no graph; `torch.export.save(torch.export.export(model, inputs), \"model.pt2\")` writes one"
        )
        .into());
    }
    let given = match &args.inputs {
        Some(file) => Some(Checkpoint::open(file)?),
        None => None,
    };
    let source = match (&given, &checkpoint.samples) {
        (Some(file), _) => Source::File(file),
        (None, _) if !args.input.is_empty() => Source::Specs(&args.input, args.seed),
        (None, Some(samples)) => Source::Sample(samples),
        (None, None) => Source::Seed(args.seed),
    };
    let told = |reason: String| format!("{path}: {reason}");
    let asked = match &checkpoint.graph {
        Some(_) => None,
        None => Some(inputs::of_script(&checkpoint, source).map_err(told)?),
    };
    let Some(graph) = checkpoint.graph.as_ref().or(asked.as_ref()) else { return Ok(Exit::BadAnswer) };
    let (given, tensors) = inputs::inputs(graph, source).map_err(told)?;
    let cancel = CancelToken::default();
    let ends = cancel.clone();
    interrupt::hold().ask(move || ends.end());
    let mut results = Results::default();
    let mut failure = None;
    let format = args.format;
    let mut tell = |event: Event| {
        if let Some(node) = results.apply(event) {
            let done = match format {
                RunFormat::Text => output::print_line(&text::node_text(node)),
                RunFormat::Jsonl => output::print_json_line(&text::node_json(node)),
                RunFormat::Json | RunFormat::Md => {
                    stderr::rewrite(&format!("{} {}", node.index, quoted(&node.target)));
                    Ok(())
                }
            };
            if let Err(error) = done {
                failure.get_or_insert(error);
            }
        }
    };
    let verbose = common.verbose;
    let listener = move |side: t2m_engine::Side, state: t2m_engine::EngineState| {
        if verbose {
            stderr::line(&format!("{}: {state:?}", side.program()));
        }
    };
    let deadline = Duration::from_secs(args.deadline);
    let scripted = match &checkpoint.graph {
        Some(_) => None,
        None => match scripted::graph(&checkpoint, &tensors, deadline, &cancel, Box::new(listener)) {
            Ok(graph) => Some(graph),
            Err(Stop::Cancelled) => interrupt::leave(Some("interrupted before the first node")),
            Err(stop) => return Err(format!("{path}: {stop}").into()),
        },
    };
    let graph = scripted.as_ref().unwrap_or(graph);
    let mut lockstep = Lockstep::new(&checkpoint, deadline, &cancel, listener, &mut tell);
    let ran = lockstep.start().and_then(|engines| lockstep.run(graph, &tensors).map(|()| engines));
    drop(lockstep);
    stderr::rewrite("");
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    let engines = match ran {
        Ok(engines) => engines,
        Err(Stop::Cancelled) => interrupt::leave(Some(&format!("interrupted after {} nodes", results.nodes.len()))),
        Err(stop) => return Err(format!("{path}: after {} nodes: {stop}", results.nodes.len()).into()),
    };
    let report = Report { engines: &engines, inputs: &given, results: &results };
    match format {
        RunFormat::Text => output::print_text(&format!("\n{}\n", report.summary_text()))?,
        RunFormat::Json => output::print_json(&report.json())?,
        RunFormat::Md => output::print(report.markdown().as_bytes())?,
        RunFormat::Jsonl => {}
    }
    Ok(results.exit())
}
