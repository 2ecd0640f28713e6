//! `t2m-tui convert`

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use globset::{Glob, GlobSet, GlobSetBuilder};

use super::{Common, Failure, output};
use crate::exit::Exit;
use crate::export::already;
use crate::export::reverse::{self, Reversal};
use crate::export::state_dict::{self, StateDict, key_map};
use crate::export::writer::{self, Beside, Phase, Progress, Text, Written};
use crate::files::{Inputs, Role};
use crate::open::{Opened, open};
use crate::report::{bytes, convert as report};
use t2m_checkpoint::escape::{escape, quoted};
use t2m_checkpoint::{Checkpoint, Dtype};

/// Arguments of `convert`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File to convert; `demo` is the built-in checkpoint
    #[arg(required_unless_present_all = ["reverse", "map"])]
    checkpoint: Option<PathBuf>,
    /// File to write
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: PathBuf,
    /// Cast floating-point tensors to this type; the report counts what is lost
    #[arg(long, value_enum, default_value = "keep")]
    dtype: TargetDtype,
    /// Also write the key map: for each MLX name the tensors it is made of, and the rule. With --reverse: the map to read
    #[arg(long, value_name = "MAP.json")]
    map: Option<PathBuf>,
    /// Convert back: write these MLX weights with torch's names and layouts, following CHECKPOINT or --map
    #[arg(long, value_name = "MLX.safetensors")]
    reverse: Option<PathBuf>,
    /// Replace existing output files
    #[arg(long)]
    force: bool,
    /// Fail where a tensor can only be copied unchanged, or where a cast makes a number infinite
    #[arg(long)]
    strict: bool,
    /// Leave out torch tensors whose name matches (repeatable)
    #[arg(long, value_name = "GLOB")]
    skip: Vec<String>,
    /// Most bytes of tensors in one file; a larger output is split into shards with an index
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = size)]
    max_shard_size: u64,
    /// Format of the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Types to cast to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum TargetDtype {
    Keep,
    F32,
    F16,
    Bf16,
}

/// What `convert` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum Format {
    Text,
    Json,
}

impl TargetDtype {
    fn dtype(self) -> Option<Dtype> {
        match self {
            TargetDtype::Keep => None,
            TargetDtype::F32 => Some(Dtype::Float32),
            TargetDtype::F16 => Some(Dtype::Float16),
            TargetDtype::Bf16 => Some(Dtype::BFloat16),
        }
    }
}

/// `5GB`, `300MB`, `4096`.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || "a size such as 5GB, 300MB or 4096 is expected".to_owned();
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|&size| size > 0).ok_or_else(wrong)
}

/// Convert, check and report.
///
/// # Errors
/// The checkpoint cannot be opened or converted, the output cannot be written, or stdout is closed.
pub fn run(common: &Common, args: &Args) -> Result<Exit, Failure> {
    match (&args.reverse, &args.checkpoint) {
        (Some(mlx), _) => reverse(common, args, mlx),
        (None, Some(checkpoint)) => forward(common, args, checkpoint),
        (None, None) => Err("give the checkpoint that is to be converted".into()),
    }
}

fn forward(common: &Common, args: &Args, checkpoint: &Path) -> Result<Exit, Failure> {
    let opened = open(&common.options(checkpoint.to_owned()))?;
    let path = escape(&checkpoint.to_string_lossy()).into_owned();
    if let Some(how) = already::is_mlx(&opened) {
        return Err(format!("{path}: is MLX's already ({}); there is nothing to convert", quoted(&how)).into());
    }
    let mut inputs = Inputs::clone(&opened.inputs);
    inputs.extend(common.inputs());
    let options = options(args, checkpoint);
    writer::check(&inputs, &options, args.map.as_deref())?;
    let map = key_map_of(&opened, args)?;
    if args.strict && map.copied().next().is_some() {
        return Ok(refuse(&path, &map));
    }
    // The modules have done their work.
    let facts = report::Facts::of(&opened, &map);
    let source = Arc::clone(&opened.checkpoint);
    drop(opened);
    let tensors = writer::Conversion::new(&source, &map, args.dtype.dtype())?;
    let rows = |file: &mut dyn Write| {
        serde_json::to_writer_pretty(file, &key_map::rows(&source, &map)).map_err(std::io::Error::from)
    };
    let text = args.map.clone().map(|path| Text { path, write: &rows });
    let written = match write(&tensors, &options, &Beside { inputs, map: text })? {
        Ok(written) => written,
        Err(code) => return Ok(code),
    };
    match args.format {
        Format::Text => output::print(report::text(&facts, &map, &written).as_bytes())?,
        Format::Json => output::print_json(&report::json(&facts, &map, &written))?,
    }
    Ok(Exit::Fine)
}

fn key_map_of(opened: &Opened, args: &Args) -> Result<StateDict, Failure> {
    let path = escape(&opened.checkpoint.path.to_string_lossy()).into_owned();
    let map = state_dict::map(opened, &globs(&args.skip)?).map_err(|error| format!("{path}: {error}"))?;
    if map.entries.is_empty() {
        return Err(format!("{path}: there is no tensor to convert in it").into());
    }
    Ok(map)
}

/// The way back, by the checkpoint or by a key map.
fn reverse(common: &Common, args: &Args, mlx: &Path) -> Result<Exit, Failure> {
    let path = escape(&mlx.to_string_lossy()).into_owned();
    if args.dtype != TargetDtype::Keep {
        return Err("--reverse keeps the types; --dtype goes with a conversion to MLX".into());
    }
    let there = Checkpoint::open(mlx)?;
    let mut inputs = Inputs::of(&there);
    inputs.extend(common.inputs());
    args.map.iter().for_each(|map| inputs.add(Role::Map, map));
    let options = options(args, mlx);
    writer::check(&inputs, &options, None)?;
    let named = |error: reverse::Error| format!("{path}: {error}");
    let written = |tensors: &Reversal<'_>, inputs: Inputs| -> Result<Exit, Failure> {
        match write(tensors, &options, &Beside { inputs, map: None })? {
            Ok(written) => print_reversed(args, tensors, &written),
            Err(code) => Ok(code),
        }
    };
    match (&args.checkpoint, &args.map) {
        (Some(checkpoint), None) => {
            let opened = open(&common.options(checkpoint.clone()))?;
            inputs.extend(Inputs::clone(&opened.inputs));
            writer::check(&inputs, &options, None)?;
            let map = key_map_of(&opened, args)?;
            written(&Reversal::by_checkpoint(&there, &opened.checkpoint, &map).map_err(named)?, inputs)
        }
        (None, Some(map)) => written(&Reversal::by_map(&there, &key_map::read(map)?).map_err(named)?, inputs),
        _ => Err("--reverse goes by the checkpoint or by --map, not by both".into()),
    }
}

fn print_reversed(args: &Args, tensors: &Reversal<'_>, written: &Written) -> Result<Exit, Failure> {
    match args.format {
        Format::Text => output::print(report::reversed_text(&tensors.summary(), written).as_bytes())?,
        Format::Json => {
            output::print_json(&report::reversed_json(&tensors.summary(), written))?;
        }
    }
    Ok(Exit::Fine)
}

fn options(args: &Args, source: &Path) -> writer::Options {
    writer::Options {
        target: args.output.clone(),
        force: args.force,
        shard_bytes: args.max_shard_size,
        strict: args.strict,
        source: source.file_name().unwrap_or(source.as_os_str()).to_string_lossy().into_owned(),
    }
}

/// Write with progress; the inner error is the exit code of what was said already.
fn write(
    tensors: &dyn writer::Source,
    options: &writer::Options,
    beside: &Beside<'_>,
) -> Result<Result<Written, Exit>, Failure> {
    let mut line = ProgressLine::new();
    let written = writer::write_beside(tensors, options, beside, |progress| {
        line.show(&progress);
        true
    });
    line.clear();
    match written {
        Err(error @ writer::Error::Overflow { .. }) => {
            eprintln!("t2m-tui: {error}");
            Ok(Err(Exit::BadAnswer))
        }
        written => Ok(Ok(written?)),
    }
}

/// Say what --strict refuses.
fn refuse(path: &str, map: &StateDict) -> Exit {
    let copied: Vec<_> = map.copied().collect();
    eprintln!("t2m-tui: {path}: {} tensors could only be copied, which --strict refuses:", copied.len());
    for (entry, doubt) in copied.iter().take(20) {
        eprintln!("  {}: {}", quoted(&entry.name), quoted(&doubt.to_string()));
    }
    if copied.len() > 20 {
        eprintln!("  … and {} more", copied.len() - 20);
    }
    Exit::BadAnswer
}

fn globs(patterns: &[String]) -> Result<GlobSet, Failure> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        builder.add(Glob::new(pattern).map_err(|error| format!("--skip {pattern}: {error}"))?);
    }
    Ok(builder.build()?)
}

/// Progress on stderr: one line that is written over on a terminal, a line now and then elsewhere.
struct ProgressLine {
    started: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl ProgressLine {
    fn new() -> ProgressLine {
        ProgressLine { started: Instant::now(), shown: None, terminal: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, progress: &Progress<'_>) {
        let pause = if self.terminal { Duration::from_millis(100) } else { Duration::from_secs(5) };
        if self.shown.unwrap_or(self.started).elapsed() < pause {
            return;
        }
        self.shown = Some(Instant::now());
        let text = progress_text(progress, self.started.elapsed());
        if self.terminal {
            eprint!("\r\x1b[K{text}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("t2m-tui: {text}");
        }
    }

    fn clear(&self) {
        if self.terminal && self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

/// `comparing 1.2 GiB of 5.0 GiB, 812.0 MiB/s, 5 s left, layer1.0.conv1.weight`: a byte counts when it is written and again
/// when it is compared.
fn progress_text(progress: &Progress<'_>, elapsed: Duration) -> String {
    let half = progress.total / 2;
    let (verb, done) = match progress.phase {
        Phase::Writing => ("writing", progress.done),
        Phase::Comparing => ("comparing", progress.done.saturating_sub(half)),
        Phase::Hashing => return "every tensor is compared; waiting for the source's SHA-256".to_owned(),
    };
    let rate = progress.done as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = progress.total.saturating_sub(progress.done) as f64 / rate.max(1.0);
    format!(
        "{verb} {} of {}, {}/s, {left:.0} s left, {}",
        bytes(done),
        bytes(half),
        bytes(rate as u64),
        quoted(progress.tensor)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!((size("5GB"), size("300mb"), size("4096")), (Ok(5_000_000_000), Ok(300_000_000), Ok(4096)));
        for wrong in ["", "GB", "5TB", "-1", "0", "5 GB", "99999999999999999999"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn progress_says_rate_and_time_left() {
        let progress = Progress { phase: Phase::Comparing, done: 3 << 20, total: 4 << 20, tensor: "a.weight" };
        let text = progress_text(&progress, Duration::from_secs(3));
        assert_eq!(text, "comparing 1.0 MiB of 2.0 MiB, 1.0 MiB/s, 1 s left, a.weight");
    }
}
