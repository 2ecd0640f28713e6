//! The built-in checkpoint: `assets/demo`, made by `assets/demo/make.py`.

use std::path::Path;

use crate::source::Sources;
use t2m_checkpoint::{Bytes, Checkpoint, Error};

/// Its name on the command line.
pub const NAME: &str = "demo";

const CHECKPOINT: &[u8] = include_bytes!("../assets/demo/demo.pt");
const SOURCE: &str = include_str!("../assets/demo/scene.py");

/// Whether a path means the built-in checkpoint. A file of that name is `./demo`.
pub fn is_demo(path: &Path) -> bool {
    path == Path::new(NAME)
}

/// Open it.
///
/// # Errors
/// Never, unless the build was tampered with.
pub fn open() -> Result<Checkpoint, Error> {
    Checkpoint::from_bytes(Path::new(NAME), Bytes::Static(CHECKPOINT))
}

/// Add its source.
pub fn add_source(sources: &mut Sources) {
    sources.add_text("scene", "demo/scene.py", "built in", SOURCE);
}
