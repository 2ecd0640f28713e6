//! `t2m-tui inspect`

use std::mem::ManuallyDrop;
use std::path::PathBuf;

use super::far::open;
use super::{Common, Failure, Format, output};
use crate::exit::Exit;
use crate::fit::fit;
use crate::open::Opened;
use crate::report::{check as check_report, inspect_json, inspect_text};
use crate::stderr;
use t2m_checkpoint::check::{Check, check};

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File to read; `demo` is the built-in checkpoint
    checkpoint: PathBuf,
    /// Format of the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Exit with 1 if less than this share of the layers converts (0 to 1)
    #[arg(long, value_name = "SHARE", value_parser = super::share)]
    fail_under: Option<f64>,
    /// Read the whole file: compare the checksum of every zip member (exit with 1 if one differs or a tensor cannot be
    /// read), and count NaN and infinite numbers, which leave the exit code as it is
    #[arg(long)]
    check: bool,
}

impl Args {
    /// The text report of a checkpoint.
    pub fn text(checkpoint: PathBuf) -> Args {
        Args { checkpoint, format: Format::Text, fail_under: None, check: false }
    }
}

/// Print the report.
///
/// # Errors
/// The checkpoint cannot be opened or stdout is closed.
pub fn run(common: &Common, args: &Args) -> Result<Exit, Failure> {
    // The process ends with the report: giving a million names back one by one would take a tenth of a second.
    let opened = ManuallyDrop::new(open(&common.options(args.checkpoint.clone()))?);
    let checked = args.check.then(|| check(&opened.checkpoint));
    let told = |words: fn(&Opened, &Check) -> String| checked.as_ref().map(|check| words(&opened, check));
    match args.format {
        Format::Text => output::stream(|out| {
            let columns = output::columns();
            inspect_text::text(out, &opened, columns)?;
            out.write_str(&fit(&told(check_report::text).unwrap_or_default(), columns))
        })?,
        Format::Md => output::stream(|out| {
            inspect_text::markdown(out, &opened)?;
            out.write_str(&told(check_report::markdown).unwrap_or_default())
        })?,
        Format::Json => output::print_json(&inspect_json::Report { opened: &opened, check: checked.as_ref() })?,
    }
    if checked.is_some_and(|check| !check.is_sound()) {
        return Ok(Exit::BadAnswer);
    }
    let coverage = opened.triage.coverage.layers;
    match args.fail_under {
        Some(share) if coverage < share => {
            stderr::line(&format!(
                "{coverage:.3} of the layers convert, less than the {share} that --fail-under asks for"
            ));
            Ok(Exit::BadAnswer)
        }
        _ => Ok(Exit::Fine),
    }
}
