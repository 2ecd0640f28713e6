//! `t2m-tui report`

use std::path::PathBuf;

use super::far::open;
use super::{Common, Failure, output};
use crate::exit::Exit;
use crate::report::page::{self, Format, Record};
use crate::session::Place;
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
/// The checkpoint cannot be opened, the session that was named cannot be read, or the report cannot be written.
pub fn run(common: &Common, args: &Args) -> Result<Exit, Failure> {
    // Before a large file is opened for nothing.
    Format::of(&args.output)?;
    let place = common.place();
    if let Place::File(path) = &place
        && !path.is_file()
    {
        let name = escape(&path.to_string_lossy()).into_owned();
        return Err(format!("{name}: no session is there; --session names the file that the report is made of").into());
    }
    let opened = open(&common.options(args.checkpoint.clone()))?;
    if let (Place::File(_), Some(why)) = (&place, &opened.kept.unkept) {
        return Err(why.clone().into());
    }
    let record = Record::kept(opened);
    page::write(&record, &common.inputs(), &args.output, args.force)?;
    output::print_text(&format!("{}: written\n", escape(&args.output.to_string_lossy())))?;
    Ok(Exit::Fine)
}
