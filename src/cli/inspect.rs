//! `t2m-tui inspect`

use std::path::PathBuf;
use std::process::ExitCode;

use super::{BAD_ANSWER, Common, Failure, Format, output};
use crate::open::open;
use crate::report::{inspect_json, inspect_text};

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File to read; `demo` is the built-in checkpoint
    checkpoint: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Exit with 1 if less than this share of the layers converts (0 to 1)
    #[arg(long, value_name = "SHARE", value_parser = share)]
    fail_under: Option<f64>,
}

impl Args {
    /// The text report of a checkpoint.
    pub fn text(checkpoint: PathBuf) -> Args {
        Args { checkpoint, format: Format::Text, fail_under: None }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "a number from 0 to 1 is expected".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("a number from 0 to 1 is expected".to_owned()) }
}

/// Print the report.
///
/// # Errors
/// The checkpoint cannot be opened or stdout is closed.
pub fn run(common: &Common, args: &Args) -> Result<ExitCode, Failure> {
    let opened = open(&common.options(args.checkpoint.clone()))?;
    match args.format {
        Format::Text => output::stream(|out| inspect_text::text(out, &opened))?,
        Format::Md => output::stream(|out| inspect_text::markdown(out, &opened))?,
        Format::Json => output::json(&inspect_json::Report(&opened))?,
    }
    let coverage = opened.triage.coverage.layers;
    match args.fail_under {
        Some(share) if coverage < share => {
            eprintln!("t2m-tui: {coverage:.3} of the layers convert, less than the {share} that --fail-under asks for");
            Ok(ExitCode::from(BAD_ANSWER))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
