//! `torch.save` zip archives, since torch 1.6: a pickle, and one record for each storage.

use std::cell::Cell;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use super::archive::{Archive, Method, Record};
use super::error::name_for_message;
use super::pickle::{self, Fault, Pickle, Printer};
use super::rebuild::{Found, Rebuilder};
use super::tensor::StorageOffset;
use super::wrapping::Wrapping;
use super::{
    Bytes, Checkpoint, Content, EmbeddedSource, Error, Format, detect, objects, optimizer, sources, state_dict, weights,
};

/// The record that holds the saved object.
pub(super) const PICKLE: &str = "data.pkl";
/// From this many bytes on, reading a pickle takes longer than starting a thread.
const LONG_PICKLE: u64 = 1 << 20;

/// The saved object, and what is unusual about its record.
pub(super) type Loaded = Result<(Pickle, Option<String>), Error>;

/// The archive's directory; and its pickle, where that is long: it stands first, and is read while the directory is.
pub(super) fn open_archive(path: &Path, bytes: &Bytes) -> (Result<Archive, Error>, Option<Loaded>) {
    if bytes.length() < LONG_PICKLE {
        return (Archive::open(path, bytes), None);
    }
    let (told, found) = mpsc::channel();
    let directory = move || {
        Archive::open_watched(path, bytes, |name, record| {
            if name == PICKLE && record.size >= LONG_PICKLE {
                let _ = told.send(record);
            }
        })
    };
    thread::scope(|scope| {
        // The system may have no thread to give.
        let Ok(archive) = thread::Builder::new().spawn_scoped(scope, directory) else {
            return (Archive::open(path, bytes), None);
        };
        let pickle = found.recv().ok().map(|record| load(path, bytes, record));
        // A thread that panicked would do so again, where it is seen.
        (archive.join().unwrap_or_else(|_| Archive::open(path, bytes)), pickle)
    })
}

fn load(path: &Path, bytes: &Bytes, record: Record) -> Loaded {
    let (data, warning) = record.read(path, bytes, PICKLE)?;
    let pickle = Pickle::load(data, 0).map_err(|(reason, pickle)| fault(path, reason, &pickle))?;
    Ok((pickle, warning))
}

fn fault(path: &Path, fault: Fault, pickle: &Pickle) -> Error {
    Error::Pickle {
        path: path.to_path_buf(),
        record: PICKLE.to_owned(),
        offset: fault.offset,
        what: fault.what + &pickle.refused_globals(),
    }
}

/// Read a `torch.save` archive: its directory and its pickle (unless that is read already), no tensor.
///
/// # Errors
/// As [`super::zip::open`].
pub(super) fn read(
    path: &Path,
    bytes: Bytes,
    mut archive: Archive,
    pickle: Option<Loaded>,
    asked: Option<&str>,
) -> Result<Checkpoint, Error> {
    let Some(record) = archive.find(PICKLE) else {
        let what = detect::zip_without_pickle(&archive).to_owned();
        return Err(Error::Format { path: path.to_path_buf(), what });
    };
    check_folder(path, &archive)?;
    let big_endian = byte_order(path, &bytes, &mut archive)?;
    let (pickle, warning) = pickle.unwrap_or_else(|| load(path, &bytes, record))?;
    let mut warnings = std::mem::take(&mut archive.warnings);
    warnings.extend(warning);
    let sources = sources::embedded(&pickle, &mut warnings);
    let find = storages(&archive, "data");
    let mut rebuilder = Rebuilder::new(&pickle, &find, big_endian);
    let parts = contents(&mut rebuilder, asked);
    let parts = rebuilder.check_other_persistent_ids().and(parts).map_err(|reason| fault(path, reason, &pickle))?;
    Ok(parts.checkpoint(path, Format::TorchZip, bytes, rebuilder, sources, warnings))
}

/// Read a `torch.save` archive whose object is not a model: every tensor in it, in the order of the pickle, whatever it is
/// nested in.
///
/// # Errors
/// As [`read`].
pub(super) fn every_tensor(path: &Path, bytes: Bytes, mut archive: Archive) -> Result<Checkpoint, Error> {
    let Some(record) = archive.find(PICKLE) else {
        let what = detect::zip_without_pickle(&archive).to_owned();
        return Err(Error::Format { path: path.to_path_buf(), what });
    };
    check_folder(path, &archive)?;
    let big_endian = byte_order(path, &bytes, &mut archive)?;
    let (pickle, _) = load(path, &bytes, record)?;
    let find = storages(&archive, "data");
    let mut rebuilder = Rebuilder::new(&pickle, &find, big_endian);
    let mut metadata = serde_json::Map::new();
    let listed = state_dict::flatten(&mut rebuilder, pickle.root(), false, &mut metadata);
    rebuilder.pickle.check_work().and(listed).map_err(|reason| fault(path, reason, &pickle))?;
    let content = Content::StateDict { module_versions: Vec::new() };
    let parts = Parts { content, metadata, wrappers: Vec::new() };
    Ok(parts.checkpoint(path, Format::TorchZip, bytes, rebuilder, Vec::new(), Vec::new()))
}

/// Finds the storages in a folder of the archive. Most files are asked in the order they were written in, so the record
/// behind the last one is looked at first.
pub(super) fn storages<'a>(archive: &'a Archive, folder: &'a str) -> impl Fn(&str) -> Option<Found> + 'a {
    let next = Cell::new(0);
    move |key| {
        let (number, record) = archive.find_storage(folder, key, next.get())?;
        next.set(number + 1);
        let offset = StorageOffset::ZipLocalHeader(record.header);
        Some(Found { number, offset, bytes: record.size, plain: record.method == Method::Stored })
    }
}

/// Check that all records are in one folder, as torch writes them.
pub(super) fn check_folder(path: &Path, archive: &Archive) -> Result<(), Error> {
    let Some((stray, offset)) = &archive.stray else { return Ok(()) };
    Err(Error::Archive {
        path: path.to_path_buf(),
        record: format!("record `{}`", name_for_message(stray)),
        offset: *offset,
        what: format!(
            "is not in the folder `{}` like the first record; readers disagree on such files",
            name_for_message(&archive.root)
        ),
    })
}

/// What the `byteorder` record says; archives of older torch versions have none and are little-endian.
pub(super) fn byte_order(path: &Path, bytes: &Bytes, archive: &mut Archive) -> Result<bool, Error> {
    let name = "byteorder";
    let Some(record) = archive.find(name) else { return Ok(false) };
    let content = if record.size <= 16 { archive.read(path, bytes, name, record)? } else { Vec::new() };
    match content.as_slice() {
        b"little" => Ok(false),
        b"big" => Ok(true),
        other => Err(Error::Archive {
            path: path.to_path_buf(),
            record: "record `byteorder`".to_owned(),
            offset: record.header,
            what: format!(
                "says `{}`, which is neither `little` nor `big`",
                name_for_message(&String::from_utf8_lossy(other))
            ),
        }),
    }
}

/// What a pickle holds beside the tensors.
pub(super) struct Parts {
    pub content: Content,
    pub metadata: serde_json::Map<String, serde_json::Value>,
    pub wrappers: Vec<String>,
}

impl Parts {
    /// The checkpoint that a pickle in one file makes, with the tensors that the rebuilder listed.
    pub fn checkpoint(
        self,
        path: &Path,
        format: Format,
        bytes: Bytes,
        mut rebuilder: Rebuilder<'_>,
        sources: Vec<EmbeddedSource>,
        mut warnings: Vec<String>,
    ) -> Checkpoint {
        warnings.extend(rebuilder.finish_warnings());
        Checkpoint {
            bytes: bytes.length(),
            tensors: rebuilder.tensors,
            storages: rebuilder.storages,
            metadata: self.metadata,
            wrappers: self.wrappers,
            dicts: std::mem::take(&mut rebuilder.dicts),
            arrays: std::mem::take(&mut rebuilder.arrays),
            pickle: Some(pickle::report(rebuilder.pickle)),
            sources,
            warnings,
            files: vec![bytes],
            ..Checkpoint::new(path, format, self.content)
        }
    }
}

/// Find the weights in the pickle, under the key that is asked for if there is one, and list them.
///
/// # Errors
/// A tensor is wrong, there is none, or the pickle's values unfold to far more than was written.
pub(super) fn contents(rebuilder: &mut Rebuilder<'_>, asked: Option<&str>) -> Result<Parts, Fault> {
    let parts = read_contents(rebuilder, asked);
    rebuilder.pickle.check_work().and(parts)
}

fn read_contents(rebuilder: &mut Rebuilder<'_>, asked: Option<&str>) -> Result<Parts, Fault> {
    let pickle = rebuilder.pickle;
    let weights::Unwrapped { inner, mut wrappers, mut metadata, side_by_side } = weights::unwrap(rebuilder, asked);
    if objects::module_state(pickle, inner).is_some()
        || objects::holds_module(rebuilder, inner, objects::MOST_CONTAINERS)
    {
        let content = Content::Modules(objects::modules(rebuilder, inner)?);
        wrappers.append(&mut rebuilder.wrappers);
        optimizer::name_moments(rebuilder, &content, &Wrapping::default(), &mut metadata);
        return Ok(Parts { content, metadata, wrappers });
    }
    if !side_by_side.is_empty() {
        let (count, names) = (side_by_side.len(), weights::list(&side_by_side));
        rebuilder.warn(format!("{count} networks are in it side by side: {names}; all are shown, --key takes one."));
    }
    if rebuilder.add(inner, "tensor".into())?.is_none() {
        state_dict::flatten(rebuilder, inner, !side_by_side.is_empty(), &mut metadata)?;
    }
    if rebuilder.tensors.is_empty() {
        if !pickle.is_dict(inner) {
            let value = name_for_message(&Printer::for_messages().describe(pickle, inner));
            let what = format!("holds {value}, but no tensors and no modules; save a state dict or a module");
            return Err(Fault { offset: pickle.offset(inner), what });
        }
        rebuilder.warn("The file holds a dict, but no tensors and no modules.".to_owned());
    }
    let content = Content::StateDict { module_versions: state_dict::module_versions(pickle, inner) };
    let wrapping = Wrapping::of(rebuilder.tensors.iter().map(|tensor| tensor.name.as_str()));
    optimizer::name_moments(rebuilder, &content, &wrapping, &mut metadata);
    Ok(Parts { content, metadata, wrappers })
}
