//! Which of torch's functions wrote a zip archive.

use std::path::Path;

use super::{Bytes, Checkpoint, Error, exported, torch_package, torch_zip, torchscript};

/// Open a zip archive that torch wrote, by whichever of its functions; `asked` is the key of the dict to take.
///
/// # Errors
/// It is damaged, no torch checkpoint, or holds neither tensors nor modules.
pub(super) fn open(path: &Path, bytes: Bytes, asked: Option<&str>) -> Result<Checkpoint, Error> {
    let (archive, pickle) = torch_zip::open_archive(path, &bytes);
    let archive = archive?;
    if exported::is_exported(&archive) {
        drop(pickle);
        exported::read(path, bytes, archive)
    } else if archive.find(torch_package::MARK).is_some() {
        drop(pickle);
        torch_package::read(path, bytes, archive, asked)
    } else if torchscript::is_torchscript(&archive) {
        // What is wrong with it is said in TorchScript's own words.
        torchscript::read(path, bytes, archive, pickle.and_then(Result::ok))
    } else {
        torch_zip::read(path, bytes, archive, pickle, asked)
    }
}
