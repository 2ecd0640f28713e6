//! `t2m-tui convert`

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use globset::{Glob, GlobSet, GlobSetBuilder};

use super::far::{self, open};
use super::{Common, Failure, output};
use crate::exit::Exit;
use crate::export::adapter;
use crate::export::reverse::{self, Reversal};
use crate::export::run::{self, Export, SHARD_BYTES};
use crate::export::state_dict::key_map;
use crate::export::writer::{self, Beside, Progress, Written};
use crate::figures::bytes;
use crate::files::{Inputs, Role};
use crate::report::convert as report;
use crate::stderr;
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
    /// Multiply codes of eight bits (fp8, int8) by the scales beside them: bfloat16, or float32 with --dtype f32 or f16
    #[arg(long)]
    dequantize: bool,
    /// Write a LoRA adapter of peft's as mlx-lm reads it, with its adapter_config.json beside the output
    #[arg(long, conflicts_with_all = ["reverse", "map", "dequantize"])]
    lora: bool,
    /// Replace existing output files
    #[arg(long)]
    force: bool,
    /// Fail where a tensor can only be copied unchanged, or where a cast makes a number infinite
    #[arg(long)]
    strict: bool,
    /// Convert although the file looks as if it held MLX's weights already
    #[arg(long)]
    assume_torch: bool,
    /// Leave out torch tensors whose name matches (repeatable)
    #[arg(long, value_name = "GLOB")]
    skip: Vec<String>,
    /// Most bytes of tensors in one file; a larger output is split into shards with an index
    #[arg(long, value_name = "SIZE", default_value_t = Size(SHARD_BYTES))]
    max_shard_size: Size,
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

/// A number of bytes: `5GB`, `300MB`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size(u64);

/// Units of a size, largest first.
const UNITS: [(&str, u64); 4] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000), ("B", 1)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let wrong = || "a size such as 5GB, 300MB or 4096 is expected".to_owned();
        let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let unit = if unit.is_empty() { "B" } else { unit };
        let (_, unit) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(*unit).filter(|&size| size > 0).map(Size).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, unit)| self.0.is_multiple_of(*unit));
        let (name, unit) = whole.copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
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
    let mut opening = common.options(checkpoint.to_owned());
    if args.dequantize {
        let wide = matches!(args.dtype, TargetDtype::F32 | TargetDtype::F16);
        opening.dequantized = Some(if wide { Dtype::Float32 } else { Dtype::BFloat16 });
    }
    let opened = open(&opening)?;
    let export = match Export::plan(&opened, common.inputs(), options(args)?) {
        Ok(export) => export,
        Err(error) => return ended(error),
    };
    // The modules are no longer needed: free their memory.
    let facts = report::Facts::of(&opened, export.map());
    drop(opened);
    match with_progress(|watch| export.write(watch)) {
        Ok(written) => match args.format {
            Format::Text => output::print_text(&report::text(&facts, export.map(), &written))?,
            Format::Json => output::print_json(&report::json(&facts, export.map(), &written))?,
        },
        Err(error) => return ended(error),
    }
    Ok(Exit::Fine)
}

/// Report why nothing was written; returns the exit code for it.
fn ended(error: run::Error) -> Result<Exit, Failure> {
    match error.exit() {
        Exit::WrongInput => Err(error.into()),
        exit => {
            stderr::line(&error.to_string());
            Ok(exit)
        }
    }
}

/// The way back, by the checkpoint or by a key map.
fn reverse(common: &Common, args: &Args, mlx: &Path) -> Result<Exit, Failure> {
    let path = escape(&mlx.to_string_lossy()).into_owned();
    if args.dtype != TargetDtype::Keep {
        return Err("--reverse keeps the types; --dtype goes with a conversion to MLX".into());
    }
    let there = far::checkpoint(mlx, Checkpoint::open)?;
    let mut inputs = Inputs::of(&there);
    inputs.extend(common.inputs());
    args.map.iter().for_each(|map| inputs.add(Role::Map, map));
    let all = options(args)?;
    let options = all.writer(mlx);
    writer::check(&inputs, &options, &[])?;
    let named = |error: reverse::Error| format!("{path}: {error}");
    let written = |tensors: &Reversal<'_>, inputs: Inputs| -> Result<Exit, Failure> {
        let beside = Beside { inputs, texts: Vec::new() };
        match with_progress(|watch| writer::write_beside(tensors, &options, &beside, watch)) {
            Ok(written) => print_reversed(args, tensors, &written),
            Err(error) => ended(error.into()),
        }
    };
    match (&args.checkpoint, &args.map) {
        (Some(checkpoint), None) => {
            let opened = open(&common.options(checkpoint.clone()))?;
            inputs.extend(Inputs::clone(&opened.inputs));
            writer::check(&inputs, &options, &[])?;
            let map = run::key_map(&opened, &all.skip)?;
            written(&Reversal::by_checkpoint(&there, &opened.checkpoint, &map).map_err(named)?, inputs)
        }
        (None, Some(map)) => written(&Reversal::by_map(&there, &key_map::read(map)?).map_err(named)?, inputs),
        _ => Err("--reverse goes by the checkpoint or by --map, not by both".into()),
    }
}

fn print_reversed(args: &Args, tensors: &Reversal<'_>, written: &Written) -> Result<Exit, Failure> {
    match args.format {
        Format::Text => output::print_text(&report::reversed_text(&tensors.summary(), written))?,
        Format::Json => {
            output::print_json(&report::reversed_json(&tensors.summary(), written))?;
        }
    }
    Ok(Exit::Fine)
}

fn options(args: &Args) -> Result<run::Options, Failure> {
    Ok(run::Options {
        target: args.output.clone(),
        dtype: args.dtype.dtype(),
        map: args.map.clone(),
        config: args.lora.then(|| args.output.with_file_name(adapter::CONFIG)),
        skip: globs(&args.skip)?,
        force: args.force,
        strict: args.strict,
        assume_torch: args.assume_torch,
        shard_bytes: args.max_shard_size.0,
    })
}

/// Write, with the progress on stderr.
fn with_progress<E>(
    write: impl FnOnce(&mut dyn FnMut(Progress<'_>) -> bool) -> Result<Written, E>,
) -> Result<Written, E> {
    let mut line = ProgressLine::new();
    let written = write(&mut |progress| {
        line.show(&progress);
        true
    });
    line.clear();
    written
}

fn globs(patterns: &[String]) -> Result<GlobSet, Failure> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        builder.add(Glob::new(pattern).map_err(|error| escape(&format!("--skip {pattern}: {error}")).into_owned())?);
    }
    Ok(builder.build()?)
}

/// Progress on stderr: a terminal gets one line that is overwritten, anything else a line now and then.
struct ProgressLine {
    started: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl ProgressLine {
    fn new() -> ProgressLine {
        ProgressLine { started: Instant::now(), shown: None, terminal: stderr::is_terminal() }
    }

    fn show(&mut self, progress: &Progress<'_>) {
        let pause = if self.terminal { Duration::from_millis(100) } else { Duration::from_secs(5) };
        if self.shown.unwrap_or(self.started).elapsed() < pause {
            return;
        }
        self.shown = Some(Instant::now());
        let text = progress_text(progress, self.started.elapsed());
        if self.terminal {
            stderr::rewrite(&text);
        } else {
            stderr::line(&text);
        }
    }

    fn clear(&self) {
        if self.shown.is_some() {
            stderr::rewrite("");
        }
    }
}

/// `comparing 1.2 GiB of 5.0 GiB, 812.0 MiB/s, 5 s left, layer1.0.conv1.weight`: a byte counts when it is written and again
/// when it is compared.
fn progress_text(progress: &Progress<'_>, elapsed: Duration) -> String {
    if !progress.counts_bytes() {
        return progress.words();
    }
    let rate = progress.done as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = progress.total.saturating_sub(progress.done) as f64 / rate.max(1.0);
    format!("{}, {}/s, {left:.0} s left, {}", progress.words(), bytes(rate as u64), quoted(&progress.tensor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::writer::Phase;

    #[test]
    fn sizes_are_read() {
        let size = Size::from_str;
        let sizes = [Size(5_000_000_000), Size(300_000_000), Size(4096)];
        assert_eq!([size("5GB"), size("300mb"), size("4096")], sizes.map(Ok));
        assert_eq!(sizes.map(|size| size.to_string()), ["5GB", "300MB", "4096B"]);
        assert_eq!(sizes.map(|size| size.to_string().parse()), sizes.map(Ok));
        for wrong in ["", "GB", "5TB", "-1", "0", "5 GB", "99999999999999999999"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn progress_says_rate_and_time_left() {
        let progress = Progress { phase: Phase::Comparing, done: 3 << 20, total: 4 << 20, tensor: "a.weight".into() };
        let text = progress_text(&progress, Duration::from_secs(3));
        assert_eq!(text, "comparing 1.0 MiB of 2.0 MiB, 1.0 MiB/s, 1 s left, a.weight");
    }
}
