//! `t2m-tui verify`

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use globset::{Glob, GlobSet, GlobSetBuilder};

use super::far::open;
use super::{Common, Failure, Given, output};
use crate::afar;
use crate::compare::WeightSource;
use crate::config::{Config, Value};
use crate::exit::Exit;
use crate::figures::bytes;
use crate::interrupt;
use crate::model::ModuleId;
use crate::open::Opened;
use crate::report::verify::{self as text, Report};
use crate::stderr;
use crate::verify::keeping::Record;
use crate::verify::{Event, Measured, Request, Results, Runner};
use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::{escape, quoted, sentence};
use t2m_engine::EngineState;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File to read; `demo` is the built-in checkpoint
    checkpoint: PathBuf,
    /// Only modules whose path matches, `layer1.*` (repeatable); all layers without it
    #[arg(long, value_name = "GLOB")]
    layers: Vec<String>,
    /// Inputs to try for each layer and dtype
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    trials: u16,
    /// float32 gives the verdict and is always run; the others are shown beside it
    #[arg(long, value_enum, value_delimiter = ',', default_value = "f32")]
    dtype: Vec<TrialDtype>,
    /// Seed of the first input; each further input adds one
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Use the checkpoint's own weights, or random ones, in which no zero or one hides a mistake
    #[arg(long, value_enum, default_value = "checkpoint")]
    weights: Weights,
    /// Also run each layer as a plain rename would convert it, and show that error beside the right one
    #[arg(long)]
    naive: bool,
    /// Format of the report; jsonl prints one line for each layer as it finishes
    #[arg(long, value_enum, default_value = "text")]
    format: VerifyFormat,
    /// Seconds to wait for an engine's answer before it counts as hung; its start is given 5 at least
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    deadline: u64,
    /// Exit with 1 if less than this share of the layers was measured (0 to 1)
    #[arg(long, value_name = "SHARE", value_parser = super::share)]
    require_measured: Option<f64>,
}

impl Args {
    /// With what is configured for options that were not given.
    pub(super) fn configured(mut self, config: &Config, given: &Given) -> Args {
        if let (Some(Value::Number(trials)), false) = (config.set("trials"), given.has("trials")) {
            self.trials = u16::try_from(*trials).unwrap_or(self.trials);
        }
        if let (Some(Value::Number(seed)), false) = (config.set("seed"), given.has("seed")) {
            self.seed = *seed;
        }
        if let (Some(Value::List(dtypes)), false) = (config.set("dtypes"), given.has("dtype")) {
            self.dtype = dtypes.iter().filter_map(|dtype| TrialDtype::from_str(dtype, false).ok()).collect();
        }
        self
    }
}

/// Dtypes that a trial can be run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum TrialDtype {
    F32,
    F16,
    Bf16,
}

/// What the layers compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum Weights {
    Checkpoint,
    Random,
}

/// What `verify` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum VerifyFormat {
    Text,
    Json,
    Jsonl,
    Md,
}

/// Run the layers and print what was measured.
///
/// # Errors
/// The checkpoint cannot be opened, no layer matches, or stdout is closed.
pub fn run(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let opened = open(&common.options(args.checkpoint.clone()))?;
    let modules = select(&opened, &args.layers)?;
    if afar::is_address(&opened.checkpoint.path) {
        let all = bytes(opened.checkpoint.bytes);
        stderr::line(&format!(
            "the weights of what is measured are fetched, of {all} in all; --layers names fewer layers"
        ));
    }
    let (ask, interrupted) = crossbeam_channel::bounded(1);
    interrupt::hold().ask(move || {
        let _ = ask.try_send(());
    });

    let (events, received) = crossbeam_channel::unbounded();
    let runner = Runner::start(opened.clone(), Duration::from_secs(args.deadline), events);
    let total = modules.len();
    let weights = match args.weights {
        Weights::Checkpoint => WeightSource::Checkpoint,
        Weights::Random => WeightSource::Random,
    };
    let (trials, dtypes) = (usize::from(args.trials), dtypes(&args.dtype));
    let (device, tf32) = (common.device(), common.tf32);
    let request = Request { modules, trials, dtypes, seed: args.seed, weights, naive: args.naive, device, tf32 };
    let mut record = Record::begin(&opened, &common.place(), &request);
    runner.submit(request);

    let mut results = Results::of(opened.model.clone(), &opened.triage);
    let mut told = HashSet::new();
    // Layers that failed because an engine is not there, by what was said of it.
    let mut without_engine: BTreeMap<String, usize> = BTreeMap::new();
    let columns = output::columns();
    if args.format == VerifyFormat::Text {
        output::print_line(&text::heading_text(columns))?;
    }
    loop {
        let event = crossbeam_channel::select_biased! {
            recv(interrupted) -> _ => {
                let done = results.total().finished();
                let _ = record.end();
                // Who closed the pipe does not want it any more.
                let _ = print(args.format, Report { opened: &opened, results: &results });
                interrupt::leave(Some(&format!("interrupted after {done} of {total} layers")));
            }
            recv(received) -> event => event,
        };
        let event = match event {
            Ok(Event::Done { .. }) => break,
            Err(_) => {
                let done = results.total().finished();
                return Err(format!("the run ended after {done} of {total} layers, which is a bug of ours").into());
            }
            Ok(event) => event,
        };
        // An engine that is not there is said once, not for every layer.
        if let Event::Engine(_, EngineState::Down(reason)) = &event
            && told.insert(sentence(reason).into_owned())
        {
            stderr::rewrite("");
            stderr::line(reason);
        }
        progress(common, &opened, &event, results.total().finished() as usize, total);
        let finished = results.apply(event).map(|(id, _)| id);
        if let Some(id) = finished {
            record.finished(&opened, &mut results, id);
        }
        if let Some((id, layer)) = finished.and_then(|id| Some((id, results.layer(id)?))) {
            stderr::rewrite("");
            match args.format {
                VerifyFormat::Text if layer.no_engine => {
                    *without_engine.entry(layer.reason().unwrap_or_default().to_owned()).or_default() += 1;
                }
                VerifyFormat::Text => output::print_line(&text::layer_text(&opened, id, layer, columns))?,
                VerifyFormat::Jsonl => output::print_json_line(&text::layer_json(&opened, id, layer))?,
                VerifyFormat::Json | VerifyFormat::Md => {}
            }
        }
    }
    for (reason, layers) in without_engine {
        if args.format == VerifyFormat::Text {
            output::print_text(&format!("{layers} of {total} layers could not be run: {}\n", sentence(&reason)))?;
        }
    }
    // A folder that nobody named is kept in where that can be, as a shell's history is.
    if let Some(why) = record.end().filter(|_| common.session.is_some() || common.verbose) {
        stderr::line(&why);
    }
    print(args.format, Report { opened: &opened, results: &results })?;
    let measured = results.measured();
    let required = args.require_measured.unwrap_or(0.0);
    if measured.measured + measured.assumed == 0 {
        stderr::line("no layer was measured, so nothing is shown of the conversion");
    } else if measured.share() < required {
        let Measured { measured, assumed, by_definition, layers } = measured;
        let layers = layers - by_definition;
        let more = if assumed > 0 { format!(", {assumed} more with what is assumed of them") } else { String::new() };
        stderr::line(&format!(
            "{measured} of {layers} layers were measured{more}, less than the {required} that --require-measured asks for"
        ));
    }
    Ok(results.exit(measured, required))
}

/// What is printed at the end: everything, or only the sums if each layer was printed as it finished.
fn print(format: VerifyFormat, report: Report<'_>) -> Result<(), Failure> {
    match format {
        VerifyFormat::Text => output::print_text(&format!("\n{}\n", report.summary_text()))?,
        VerifyFormat::Json => output::print_json(&report.json())?,
        VerifyFormat::Md => output::print(report.markdown().as_bytes())?,
        VerifyFormat::Jsonl => {}
    }
    Ok(())
}

/// The modules to run: all layers, or those whose path matches. A block that is named by its path is run as a whole.
fn select(opened: &Opened, globs: &[String]) -> Result<Vec<ModuleId>, Failure> {
    if globs.is_empty() {
        return Ok(opened.triage.layers(&opened.model).collect());
    }
    let mut blocks = Vec::new();
    for glob in globs {
        let one = glob_set(std::slice::from_ref(glob))?;
        if opened.triage.layers(&opened.model).any(|id| one.is_match(opened.model.modules[id].path.as_str())) {
            continue;
        }
        let block = block(opened, glob).ok_or_else(|| no_match(opened, glob))?;
        if !blocks.contains(&block) {
            blocks.push(block);
        }
    }
    let set = glob_set(globs)?;
    let layers = opened.triage.layers(&opened.model).filter(|&id| set.is_match(opened.model.modules[id].path.as_str()));
    Ok(layers.chain(blocks).collect())
}

/// A container at that path that can be run as one block.
fn block(opened: &Opened, path: &str) -> Option<ModuleId> {
    let id = opened.model.find(path)?;
    opened.triage.modules[id].can_run().then_some(id)
}

fn no_match(opened: &Opened, glob: &str) -> Failure {
    let path = escape(&opened.checkpoint.path.to_string_lossy()).into_owned();
    let glob = escape(glob);
    // The plainest mistake is to name what the layers are in.
    if let Some(id) = opened.model.modules.iter().position(|module| module.path == *glob) {
        let (module, status) = (&opened.model.modules[id], opened.triage.modules[id].status.name());
        let what =
            if module.class.is_empty() { String::new() } else { format!(", a {}", quoted(module.short_class())) };
        return format!(
            "{path}: {glob} is no layer but what layers are in ({status}{what}); --layers '{glob}.*' runs those"
        )
        .into();
    }
    format!("{path}: no layer's path matches --layers {glob}; `t2m-tui inspect` lists the paths, and `name.*` means what is below `name`").into()
}

fn glob_set(globs: &[String]) -> Result<GlobSet, Failure> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(Glob::new(glob).map_err(|error| escape(&format!("--layers {glob}: {error}")).into_owned())?);
    }
    Ok(builder.build()?)
}

/// float32 first, each once.
fn dtypes(asked: &[TrialDtype]) -> Vec<Dtype> {
    let half = [(TrialDtype::F16, Dtype::Float16), (TrialDtype::Bf16, Dtype::BFloat16)];
    let extra = half.iter().filter(|(name, _)| asked.contains(name)).map(|(_, dtype)| *dtype);
    std::iter::once(Dtype::Float32).chain(extra).collect()
}

/// Progress goes to stderr: a terminal gets a line that is overwritten, anything else the engines' messages.
fn progress(common: &Common, opened: &Opened, event: &Event, done: usize, total: usize) {
    match event {
        Event::Engine(side, state) if common.verbose => stderr::line(&format!("{}: {state:?}", side.program())),
        Event::Started { module, .. } => {
            stderr::rewrite(&format!("{}/{total} {}", done + 1, quoted(&opened.model.modules[*module].path)));
        }
        _ => {}
    }
}
