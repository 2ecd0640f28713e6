//! `t2m-tui compare`

use std::path::PathBuf;
use std::sync::Arc;

use globset::GlobSet;

use super::far::{self, open};
use super::{Common, Failure, Format, output};
use crate::exit::Exit;
use crate::export::already;
use crate::export::check;
use crate::export::state_dict;
use crate::report::compare as report;
use t2m_checkpoint::escape::{escape, quoted};
use t2m_checkpoint::{Checkpoint, Dtype};

/// Arguments of `compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The torch checkpoint; `demo` is the built-in one
    checkpoint: PathBuf,
    /// The file to check against it: MLX weights, or another torch checkpoint
    other: PathBuf,
    /// Multiply codes of eight bits (fp8, int8) of CHECKPOINT by the scales beside them first
    #[arg(long)]
    dequantize: bool,
    /// Format of the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Check a file against the conversion of the checkpoint.
///
/// # Errors
/// A file cannot be opened, a tensor cannot be read, or stdout is closed.
pub fn run(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let mut opening = common.options(args.checkpoint.clone());
    opening.dequantized = args.dequantize.then_some(Dtype::Float32);
    let opened = open(&opening)?;
    let path = escape(&args.checkpoint.to_string_lossy()).into_owned();
    if let Some(how) = already::is_mlx(&opened) {
        return Err(format!("{path}: is MLX's ({}); the torch checkpoint comes first", quoted(&how)).into());
    }
    let map = state_dict::map(&opened, &GlobSet::empty()).map_err(|error| format!("{path}: {error}"))?;
    // The modules have done their work: of a million they take as much memory as all the rest.
    let checkpoint = Arc::clone(&opened.checkpoint);
    drop(opened);
    let other = far::checkpoint(&args.other, Checkpoint::open_arrays)?;
    let findings = if check::is_torch(&checkpoint, &map, &other) {
        check::checkpoints(&checkpoint, &other)?
    } else {
        check::with_conversion(&checkpoint, &map, &other)?
    };
    match args.format {
        Format::Text => output::print_text(&report::text(&findings))?,
        Format::Md => output::print(report::markdown(&findings).as_bytes())?,
        Format::Json => output::print_json(&report::Json(&findings))?,
    }
    let good = findings.iter().all(|finding| finding.verdict.is_good());
    Ok(Exit::of(good))
}
