//! Lists the tensors of a checkpoint: `cargo run -p t2m-checkpoint --example list_tensors -- model.pt`

use std::io::Write;
use std::path::Path;

use t2m_checkpoint::{Checkpoint, escape::escape};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("give the checkpoint to list")?;
    let mut out = std::io::stdout().lock();
    for tensor in Checkpoint::open(Path::new(&path))?.tensors {
        // Names come from the file: what could move the terminal's cursor is spelt out.
        writeln!(out, "{:<40} {:<9} {:?}", escape(&tensor.name), tensor.dtype.name(), tensor.shape)?;
    }
    Ok(())
}
