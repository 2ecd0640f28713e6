//! `t2m-tui report`

use std::path::PathBuf;

use super::{Common, Failure, output};
use crate::exit::Exit;
use crate::open::open;
use crate::report::page::{self, Format, Record};
use crate::verify::Results;
use t2m_checkpoint::escape::escape;

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File to read; `demo` is the built-in checkpoint
    checkpoint: PathBuf,
    /// Where the report goes. The end of the name says what it is: .html (one page that needs no network), .md or .json
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

/// Write the report of what is on record; no engine is run.
///
/// # Errors
/// The checkpoint cannot be opened, or the report cannot be written.
pub fn run(common: &Common, args: &Args) -> Result<Exit, Failure> {
    // Before a large file is opened for nothing.
    Format::of(&args.output)?;
    let opened = open(&common.options(args.checkpoint.clone()))?;
    let results = Results::of(opened.model.clone(), &opened.triage);
    let record = Record::new(opened, results);
    page::write(&record, &common.inputs(), &args.output, args.force)?;
    output::print_text(&format!("{}: written\n", escape(&args.output.to_string_lossy())))?;
    Ok(Exit::Fine)
}
