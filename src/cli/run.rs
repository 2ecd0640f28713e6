//! `t2m-tui run`

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::far::{self, open};
use super::{Common, Failure, Given, output};
use crate::config::{Config, Value};
use crate::exit::Exit;
use crate::files::{Inputs, Kind, Outputs, Wanted};
use crate::graph::inputs::{self, Source};
use crate::graph::job::Job;
use crate::graph::results::Results;
use crate::graph::run::{Event, Lockstep, Seen, Stop, Watched};
use crate::graph::scripted;
use crate::interrupt;
use crate::registry::Registry;
use crate::report::repro::{self, Facts};
use crate::report::run::{self as text, Report};
use crate::stderr;
use t2m_checkpoint::Checkpoint;
use t2m_checkpoint::escape::{escape, quoted};
use t2m_checkpoint::graph::Graph;
use t2m_engine::client::CancelToken;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Exported program (.pt2) or TorchScript archive whose graph is run; or bare weights, with --python, --model and --input, which
    /// export one
    graph: PathBuf,
    /// File whose tensors are the inputs, by the graph's names for them, or in0, in1, … by position; what it does not hold, a
    /// number say, --input gives by name
    #[arg(long, value_name = "FILE.safetensors")]
    inputs: Option<PathBuf>,
    /// Seed of inputs that are drawn: by --input, or where neither the file nor --inputs holds any
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Write a Python script that shows in torch and MLX alone what was found of this node (its name or its number), for an issue
    /// upstream: repro_NODE.py, here, and the node's inputs beside it where they are many
    #[arg(long, value_name = "NODE")]
    repro: Option<String>,
    /// Format of the report; jsonl prints one line for each node as it finishes
    #[arg(long, value_enum, default_value = "text")]
    format: RunFormat,
    /// Seconds to wait for an engine's answer before it counts as hung; its start is given 5 at least
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    deadline: u64,
}

impl Args {
    /// With what is configured for options that were not given.
    pub(super) fn configured(mut self, config: &Config, given: &Given) -> Args {
        if let (Some(Value::Number(seed)), false) = (config.set("seed"), given.has("seed")) {
            self.seed = *seed;
        }
        self
    }
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
    let job = job(common, args)?;
    let file = match &args.inputs {
        Some(file) => Some(far::checkpoint(file, Checkpoint::open)?),
        None => None,
    };
    let source = match (&file, common.input.as_slice(), job.samples()) {
        (Some(file), specs, _) => Source::File(file, specs, args.seed),
        (None, [], Some(samples)) => Source::Sample(samples),
        (None, [], None) => Source::Seed(args.seed),
        (None, specs, _) => Source::Specs(specs, args.seed),
    };
    let told = |reason: String| format!("{path}: {reason}");
    let exported = job.graph();
    // Of TorchScript's code the inputs are known first, and the graph when torch has gone through it.
    let inputs = match exported {
        Some(graph) => inputs::of_graph(graph, source),
        None if job.checkpoint.script.is_some() => inputs::of_script(&job.checkpoint, source),
        None => return Err(no_graph(&path).into()),
    };
    let inputs = inputs.map_err(told)?;
    tell_ignored(&inputs.ignored);
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
    let graph = match exported {
        Some(graph) => Cow::Borrowed(graph),
        None => match scripted::graph(&job.checkpoint, &inputs, deadline, &cancel, Box::new(listener)) {
            Ok(graph) => Cow::Owned(graph),
            Err(Stop::Cancelled) => interrupt::leave(Some("interrupted before the first node")),
            Err(stop) => return Err(format!("{path}: {stop}").into()),
        },
    };
    let graph = graph.as_ref();
    let watched = args.repro.as_deref().map(|node| watched(graph, node)).transpose()?;
    let lockstep = Lockstep::new(&job, deadline, &cancel, listener, &mut tell);
    let lockstep = lockstep.with_rows(&job.table).with_numbers(&inputs.numbers).watch(watched.clone());
    let mut lockstep = lockstep.on_device(common.device(), false);
    let engines = lockstep.start();
    let began = Instant::now();
    let ran = engines.and_then(|engines| lockstep.run(graph, &inputs.tensors).map(|()| engines));
    let took = began.elapsed();
    let seen = lockstep.seen();
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
    if verbose {
        stderr::line(&times(&results, took));
    }
    let by_default = common.tf32.then(|| {
        let mut results = Results::default();
        let mut tell = |event: Event| {
            let _ = results.apply(event);
        };
        let lockstep = Lockstep::new(&job, deadline, &cancel, listener, &mut tell).with_rows(&job.table);
        let mut lockstep = lockstep.with_numbers(&inputs.numbers).on_device(common.device(), true);
        let ran = lockstep.run(graph, &inputs.tensors);
        drop(lockstep);
        ran.map(|()| results)
    });
    let by_default = match by_default.transpose() {
        Ok(by_default) => by_default,
        Err(Stop::Cancelled) => interrupt::leave(Some("interrupted before MLX's default was run")),
        Err(stop) => return Err(format!("{path}: with MLX's default: {stop}").into()),
    };
    let by_default = by_default.as_ref();
    let report = Report { engines: &engines, inputs: &inputs.given, results: &results, by_default };
    match format {
        RunFormat::Text => output::print_text(&format!("\n{}\n", report.summary_text()))?,
        RunFormat::Json => output::print_json(&report.json())?,
        RunFormat::Md => output::print(report.markdown().as_bytes())?,
        RunFormat::Jsonl => {}
    }
    if let Some(node) = &watched {
        write_repro(node, seen.as_ref(), &report, &args.graph)?;
    }
    Ok(results.exit())
}

/// How long the run took beside what the engines computed.
fn times(results: &Results, took: Duration) -> String {
    let (computed, took) = (results.computed(), took.as_secs_f64() * 1e3);
    format!(
        "{took:.0} ms for {} nodes; libtorch computed {:.0} ms in float32 and {:.0} in float64, MLX {:.0} on its own values and {:.0} \
         on torch's: {:.2} times what both computed",
        results.nodes.len(),
        computed.torch,
        computed.torch_f64,
        computed.mlx,
        computed.mlx_isolated,
        took / computed.total().max(f64::MIN_POSITIVE),
    )
}

/// What is run: of bare weights the graph that the user's Python exports for them.
fn job(common: &Common, args: &Args) -> Result<Job, Failure> {
    if common.model.is_some() {
        let opened = open(&common.options(args.graph.clone()))?;
        let path = escape(&args.graph.to_string_lossy()).into_owned();
        for warning in &opened.checkpoint.warnings {
            stderr::line(warning);
        }
        return Ok(opened.job().ok_or_else(|| match common.input.as_slice() {
            [] => format!("{path}: its graph is exported with inputs: name them with --input 1x3x224x224"),
            _ => no_graph(&path),
        })?);
    }
    let checkpoint = far::checkpoint(&args.graph, Checkpoint::open)?;
    Ok(Job { table: Registry::load(&common.registry)?.aten(), ..Job::of(Arc::new(checkpoint)) })
}

fn no_graph(path: &str) -> String {
    format!(
        "{path}: holds no graph; `torch.export.save(torch.export.export(model, inputs), \"model.pt2\")` writes one, \
         and of bare weights --python EXE --model EXPR --input SPEC exports one"
    )
}

/// Tensors of --inputs that the graph does not take.
fn tell_ignored(names: &[String]) {
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(|name| format!("`{}`", quoted(name))).collect();
        let are = if names.len() == 1 { "is no input of the graph, and" } else { "are no inputs of the graph, and" };
        stderr::line(&format!("--inputs: {} {are} ignored", names.join(", ")));
    }
}

/// The node that --repro names; what it would write must not be there yet.
fn watched(graph: &Graph, node: &str) -> Result<Watched, Failure> {
    let found = Watched::find(graph, node);
    let found = found.ok_or_else(|| format!("--repro {}: the graph has no such node", quoted(node)))?;
    for path in repro::names(&found.name) {
        if Path::new(&path).symlink_metadata().is_ok() {
            return Err(format!("{path}: is there already; move it away, or run in another folder").into());
        }
    }
    Ok(found)
}

/// Write the script of a node, and its inputs where they are many.
fn write_repro(node: &Watched, seen: Option<&Seen>, report: &Report<'_>, file: &Path) -> Result<(), Failure> {
    let fault = |reason: String| format!("--repro {}: {reason}", quoted(&node.name));
    let mut results = report.results.nodes.iter();
    let result = results.rfind(|result| result.index == node.index && result.name == node.name);
    let (Some(seen), Some(result)) = (seen, result) else {
        let within = report.results.nodes.iter().filter(|result| result.index == node.index);
        let within: Vec<&str> = within.map(|result| result.name.as_str()).collect();
        let reason = match within.as_slice() {
            [] => "nothing of it was compared: it computes no tensor, or is in a branch that was not taken".to_owned(),
            names => format!("it runs other nodes; name one of them: {}", quoted(&names.join(", "))),
        };
        return Err(fault(reason).into());
    };
    let [script, inputs] = repro::names(&node.name);
    let file = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let facts = Facts { file: &file, engines: report.engines, inputs: &inputs };
    let repro = repro::repro(seen, result, &facts).map_err(fault)?;
    let mut parts = vec![(script, repro.script.into_bytes())];
    parts.extend(repro.inputs.map(|bytes| (inputs, bytes)));
    let wanted = parts.iter().map(|(path, _)| Wanted { path: path.into(), kind: Kind::Repro }).collect();
    let stage = Outputs::check(&Inputs::default(), wanted, false, |_, _| false)?.stage()?;
    for (path, bytes) in &parts {
        let mut part = stage.create(Path::new(path))?;
        part.file.write_all(bytes).and_then(|()| part.file.sync_all()).map_err(|error| format!("{path}: {error}"))?;
        part.place()?;
    }
    stage.sync()?;
    let names: Vec<&str> = parts.iter().map(|(path, _)| path.as_str()).collect();
    stderr::line(&format!("wrote {}", names.join(" and ")));
    Ok(())
}
