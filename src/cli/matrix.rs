//! `t2m-tui matrix`

use std::sync::Arc;

use super::{Common, Failure, output};
use crate::certify::record::Measured;
use crate::exit::Exit;
use crate::registry::Registry;
use crate::report::matrix::Matrix;
use crate::stderr;

/// Options of `matrix`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run every layer in both engines now, instead of showing the figures measured for this release
    #[arg(long)]
    measured: bool,
    /// Format of the report; `record` is the file of figures that a release carries
    #[arg(long, value_enum, default_value = "md")]
    format: MatrixFormat,
}

/// What `matrix` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum MatrixFormat {
    Md,
    Json,
    Record,
}

/// Width of the progress bar.
const BAR: usize = 30;

/// Print the support matrix.
///
/// # Errors
/// A registry file is wrong, an engine is missing, or stdout is closed.
pub fn run(common: &Common, args: &Args) -> Result<Exit, Failure> {
    let registry = Arc::new(Registry::load(&common.registry)?);
    let measured = if args.measured {
        let measured = Measured::anew(&registry, common.device(), progress)?;
        stderr::rewrite("");
        measured
    } else {
        Measured::built_in()?
    };
    match args.format {
        MatrixFormat::Md => output::print(Matrix::new(&registry, &measured)?.markdown().as_bytes())?,
        MatrixFormat::Json => {
            output::print_json(&Matrix::new(&registry, &measured)?.json())?;
        }
        MatrixFormat::Record => output::print_json(&measured)?,
    }
    Ok(Exit::of(measured.all_pass()))
}

/// A terminal gets a bar, anything else a line for every hundred.
fn progress(done: usize, total: usize) {
    if stderr::is_terminal() {
        let filled = BAR * done / total.max(1);
        stderr::rewrite(&format!("{}{} {done}/{total}", "█".repeat(filled), "░".repeat(BAR - filled)));
    } else if done.is_multiple_of(100) || done == total {
        stderr::line(&format!("{done} of {total} measured"));
    }
}
