//! What the fuzz targets share: opening bytes as a checkpoint, looking at everything in it, and holding the memory that it
//! took against the bound of the hostile corpus.

#[path = "../../tests/common/archive.rs"]
pub mod archive;
#[path = "../../tests/common/conversation.rs"]
pub mod conversation;
#[path = "../../tests/common/memory.rs"]
mod memory;

pub use memory::peak_of;

use std::path::Path;

use t2m_checkpoint::{Bytes, Checkpoint};
use t2m_tui::model;

/// Open bytes as the file of that name.
pub fn open_as(path: &Path, bytes: Vec<u8>) {
    within_bound(bytes.len(), || look(Checkpoint::from_bytes(path, Bytes::Owned(bytes))));
}

/// Open bytes as `x.pt`.
pub fn open(bytes: Vec<u8>) {
    open_as(Path::new("x.pt"), bytes);
}

/// Look at everything that a report or the screen would ask for.
pub fn look(opened: Result<Checkpoint, t2m_checkpoint::Error>) {
    let checkpoint = match opened {
        Ok(checkpoint) => checkpoint,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for id in 0..checkpoint.tensors.len().min(64) {
        let tensor = &checkpoint.tensors[id];
        // A tensor of stride 0 may stand for any size; reading one is asked for by a person.
        if tensor.elements() < 1 << 20 {
            let _ = checkpoint.read(id);
        }
    }
    for module in &model::build(&checkpoint).modules {
        let _ = model::attributes::describe(module);
    }
}

/// Run it and hold its memory against what a file of that length may take.
pub fn within_bound(length: usize, work: impl FnOnce()) {
    let ((), peak) = memory::peak_of(work);
    assert!(peak <= memory::bound(length), "{peak} bytes for a file of {length}");
}

/// The parts of an input that stands for several records.
pub fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut rest = data;
    std::array::from_fn(|_| match rest.windows(SEPARATOR.len()).position(|window| window == SEPARATOR) {
        Some(at) => {
            let part = &rest[..at];
            rest = &rest[at + SEPARATOR.len()..];
            part
        }
        None => std::mem::take(&mut rest),
    })
}

/// Stands between the parts.
const SEPARATOR: &[u8] = b"\n~~~~\n";
