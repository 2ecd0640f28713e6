//! `torch.package` archives: pickles and Python files as in a package, storages in `.data/KEY.storage`.

use std::path::Path;

use super::archive::{Archive, Method};
use super::error::name_for_message;
use super::pickle::{Fault, Pickle};
use super::rebuild::{Found, Rebuilder};
use super::tensor::StorageOffset;
use super::{Bytes, Checkpoint, EmbeddedSource, Error, Format, objects, sources, torch_zip};

/// The record that tells a package from other archives.
pub(super) const MARK: &str = ".data/extern_modules";

/// Read the pickle that holds a model, and the Python files.
///
/// # Errors
/// A record is damaged, or no pickle holds tensors or modules.
pub(super) fn read(path: &Path, bytes: Bytes, mut archive: Archive, asked: Option<&str>) -> Result<Checkpoint, Error> {
    let big_endian = torch_zip::byte_order(path, &bytes, &mut archive)?;
    let mut names: Vec<String> = archive
        .names()
        .filter(|name| name.ends_with(".pkl") && !name.starts_with(".data/"))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    let mut warnings = std::mem::take(&mut archive.warnings);
    let mut chosen: Option<(&str, Pickle)> = None;
    for name in &names {
        let Some(record) = archive.find(name) else { continue };
        let data = archive.read(path, &bytes, name, record)?;
        let pickle = Pickle::load(data, 0).map_err(|(reason, pickle)| fault(path, name, reason, &pickle))?;
        let (has, had) = (weight(&pickle), chosen.as_ref().map_or(0, |(_, pickle)| weight(pickle)));
        if has > had {
            chosen = Some((name, pickle));
        }
    }
    let Some((name, pickle)) = chosen else {
        let what =
            "is a torch.package archive without a pickle of tensors or modules; save the model into it".to_owned();
        return Err(Error::Format { path: path.to_path_buf(), what });
    };
    if names.len() > 1 {
        let others: Vec<String> = names
            .iter()
            .filter(|other| *other != name)
            .take(3)
            .map(|other| format!("`{}`", name_for_message(other)))
            .collect();
        let shown = name_for_message(name);
        warnings.push(format!(
            "The package holds {} pickles; `{shown}` is shown, not {}.",
            names.len(),
            others.join(", ")
        ));
    }
    let sources = python_files(path, &bytes, &mut archive, &mut warnings)?;
    let find = |key: &str| {
        let (number, record) = archive.find_storage(".data", &format!("{key}.storage"), 0)?;
        let offset = StorageOffset::ZipLocalHeader(record.header);
        Some(Found { number, offset, bytes: record.size, plain: record.method == Method::Stored })
    };
    let mut rebuilder = Rebuilder::new(&pickle, &find, big_endian);
    let parts = torch_zip::contents(&mut rebuilder, asked);
    let parts =
        rebuilder.check_other_persistent_ids().and(parts).map_err(|reason| fault(path, name, reason, &pickle))?;
    Ok(parts.checkpoint(path, Format::TorchPackage, bytes, rebuilder, sources, warnings))
}

fn fault(path: &Path, record: &str, reason: Fault, pickle: &Pickle) -> Error {
    Error::Pickle {
        path: path.to_path_buf(),
        record: name_for_message(record),
        offset: reason.offset,
        what: reason.what + &pickle.refused_globals(),
    }
}

/// How much of a model a pickle is: a module comes before loose tensors, more tensors before fewer.
fn weight(pickle: &Pickle) -> usize {
    let storages = pickle.persistent_ids().count();
    if objects::module_state(pickle, pickle.root()).is_some() { usize::MAX / 2 + storages } else { storages }
}

/// The Python files of the package, each under the first class in it.
fn python_files(
    path: &Path,
    bytes: &Bytes,
    archive: &mut Archive,
    warnings: &mut Vec<String>,
) -> Result<Vec<EmbeddedSource>, Error> {
    let mut names: Vec<String> = archive
        .names()
        .filter(|name| name.ends_with(".py") && !name.starts_with(".data/"))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    let mut kept = sources::Budget::default();
    let mut found = Vec::new();
    for name in names {
        let Some(record) = archive.find(&name) else { continue };
        if !kept.takes(&name, record.size) {
            continue;
        }
        let text = archive.read(path, bytes, &name, record)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let module = name.strip_suffix(".py").unwrap_or(&name);
        let module = module.strip_suffix("/__init__").unwrap_or(module).replace('/', ".");
        let class = text.lines().find_map(|line| {
            let name = line.strip_prefix("class ")?.trim_start();
            let end = name.find(|character: char| !character.is_alphanumeric() && character != '_');
            name.get(..end.unwrap_or(name.len())).filter(|name| !name.is_empty())
        });
        if let Some(class) = class {
            let (class, record) = (format!("{module}.{class}"), name.clone());
            found.push(EmbeddedSource { class, file: name, text, line: 1, record });
        }
    }
    kept.report(warnings);
    Ok(found)
}
