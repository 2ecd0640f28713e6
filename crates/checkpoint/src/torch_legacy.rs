//! `torch.save` before torch 1.6: five pickles (magic number, protocol, system, the object, storage keys), then the
//! storages in the order of the keys, each behind its number of elements.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use super::error::name_for_message;
use super::pickle::{Fault, Pickle};
use super::rebuild::{self, Found, Rebuilder};
use super::stream::{self, Stream};
use super::tensor::StorageOffset;
use super::{Bytes, Checkpoint, Error, Format, sources, torch_zip};

/// `torch.serialization.PROTOCOL_VERSION`.
const PROTOCOL: i64 = 1001;

/// Keys are decimal numbers.
const LONGEST_KEY: usize = 256;

/// What the pickle says of a storage.
struct Declared {
    elements: i64,
    /// Bytes of one; `None` for a class that is not known.
    size: Option<u64>,
}

/// A part of a storage under a key of its own (files of before torch 0.4).
struct View<'a> {
    root: Cow<'a, str>,
    /// In bytes from the beginning of the root.
    offset: u64,
    bytes: u64,
}

/// What the pickle says of the storages, by their keys.
#[derive(Default)]
struct Described<'a> {
    storages: HashMap<Cow<'a, str>, Declared>,
    views: HashMap<Cow<'a, str>, View<'a>>,
}

/// Where the storages are.
#[derive(Default)]
struct Table {
    storages: HashMap<String, Found>,
    big_endian: bool,
    warnings: Vec<String>,
}

/// Read the pickles and the sizes of the storages, no tensor; `asked` is the key of the dict to take, where there are several.
///
/// # Errors
/// A pickle is damaged, a size does not fit, or the file holds neither tensors nor modules.
pub fn read(path: &Path, bytes: Bytes, asked: Option<&str>) -> Result<Checkpoint, Error> {
    let mut stream = Stream::new(path, &bytes, "legacy checkpoint", 0, bytes.length());
    let says_big_endian = preamble(&mut stream)?;
    let pickle = stream.pickle_from(0)?;
    let fault = |stream: &Stream<'_>, reason: Fault| stream.fault(0, reason, &pickle);
    let described = described(&pickle).map_err(|reason| fault(&stream, reason))?;
    let mut table = walk(&mut stream, &described.storages, says_big_endian)?;
    for (key, view) in described.views {
        if let Some(part) = table.part(&view) {
            table.storages.entry(key.into_owned()).or_insert(part);
        }
    }
    let mut warnings = table.warnings;
    let sources = sources::embedded(&pickle, &mut warnings);
    let find = |key: &str| table.storages.get(key).copied();
    let mut rebuilder = Rebuilder::new(&pickle, &find, table.big_endian);
    let parts = torch_zip::contents(&mut rebuilder, asked).map_err(|reason| fault(&stream, reason))?;
    Ok(parts.checkpoint(path, Format::TorchLegacy, bytes, rebuilder, sources, warnings))
}

/// The pickles in front of the object: whether they say that the file is big-endian.
fn preamble(stream: &mut Stream<'_>) -> Result<bool, Error> {
    stream.pickle()?;
    let place = stream.position;
    let protocol = stream.pickle()?;
    if protocol.int(protocol.root()) != Some(PROTOCOL) {
        let what = match protocol.int(protocol.root()) {
            Some(other) => format!("protocol {other} of torch.save is not known, only {PROTOCOL} was ever used"),
            None => "the protocol of torch.save is no number; the file is damaged".to_owned(),
        };
        return Err(stream.error(place, what));
    }
    let system = stream.pickle()?;
    let little = system.get(system.root(), "little_endian").and_then(|value| system.bool(value));
    Ok(little == Some(false))
}

/// All storages and views that the pickle mentions, by their keys.
fn described(pickle: &Pickle) -> Result<Described<'_>, Fault> {
    let mut described = Described::default();
    for id in pickle.persistent_ids() {
        if pickle.stored_class(id).is_some() {
            continue;
        }
        let fault = |what: String| Fault { offset: pickle.offset(id), what };
        let storage = rebuild::storage_id(pickle, id)
            .ok_or_else(|| fault("a persistent id that is neither a storage nor a class".to_owned()))?
            .map_err(&fault)?;
        let &[_, _, root, _, elements, ref rest @ ..] = pickle.tuple(id).unwrap_or_default() else { continue };
        let size = match &storage.dtype {
            None => Some(1),
            Some(Ok(dtype)) => Some(dtype.size() as u64),
            // Two and four elements to a byte, which counts as one.
            Some(Err(class)) => {
                matches!(class.as_str(), "torch.QUInt4x2Storage" | "torch.QUInt2x4Storage").then_some(1)
            }
        };
        let root = pickle.text(root).filter(|root| root.len() <= LONGEST_KEY);
        let root = root.ok_or_else(|| fault("a storage without a sensible key".to_owned()))?;
        if let Some(&[_, offset, _]) = rest.first().and_then(|view| pickle.tuple(*view)) {
            let offset = pickle.int(offset).and_then(|offset| u64::try_from(offset).ok());
            let in_bytes = |count: Option<u64>| count?.checked_mul(size?);
            let (Some(offset), Some(bytes)) = (in_bytes(offset), in_bytes(Some(storage.length))) else {
                return Err(fault("a view of a storage with an impossible offset or size".to_owned()));
            };
            described.views.insert(storage.key, View { root: root.clone(), offset, bytes });
        }
        let elements = pickle.int(elements).unwrap_or(-1);
        described.storages.entry(root).or_insert(Declared { elements, size });
    }
    Ok(described)
}

/// Go from storage to storage by their sizes.
fn walk(
    stream: &mut Stream<'_>,
    declared: &HashMap<Cow<'_, str>, Declared>,
    says_big_endian: bool,
) -> Result<Table, Error> {
    let place = stream.position;
    let keys = stream.pickle()?;
    if keys.items(keys.root()).is_none() {
        return Err(stream.error(place, "the storage keys are no list; the file is damaged".to_owned()));
    }
    let mut table = Table::default();
    let mut order = None;
    for key in stream::items(&keys, keys.root()) {
        let place = stream.position;
        let key = stream::key(&keys, key)
            .ok_or_else(|| stream.error(place, "a storage has a key that is no number".to_owned()))?;
        let shown = format!("storage `{}`", name_for_message(&key));
        let fail = |stream: &Stream<'_>, what: String| Err(stream.error(place, format!("{shown} {what}")));
        let Some(&Declared { elements, size: Some(size) }) = declared.get(key.as_str()) else {
            return fail(
                stream,
                "belongs to no tensor, or has elements of unknown size: what follows it cannot be found".into(),
            );
        };
        // Elsewhere only the first is asked for: the others have their sizes from the pickle, and the last ends where the file does.
        let written: [u8; 8] = match order.filter(|_| stream.is_elsewhere()) {
            None => stream.take(&shown)?,
            Some(is_big) => {
                stream.skip(8, &shown)?;
                if is_big { elements.to_be_bytes() } else { elements.to_le_bytes() }
            }
        };
        let (little, big) = (i64::from_le_bytes(written), i64::from_be_bytes(written));
        let big_endian = match (little == elements, big == elements) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => {
                return fail(
                    stream,
                    format!("has {little} elements by its own account, {elements} by the pickle; the file is damaged"),
                );
            }
        };
        if little != big && *order.get_or_insert(big_endian) != big_endian {
            return fail(stream, "has its size in another byte order than the ones before it".to_owned());
        }
        let Some(bytes) = u64::try_from(elements).ok().and_then(|elements| elements.checked_mul(size)) else {
            return fail(stream, format!("has an impossible size of {elements} elements"));
        };
        let offset = StorageOffset::Data(stream.position);
        stream.skip(bytes, &shown)?;
        let number = table.storages.len();
        if table.storages.insert(key, Found { number, offset, bytes, plain: true }).is_some() {
            return fail(stream, "is there twice".to_owned());
        }
    }
    table.big_endian = order.unwrap_or(false);
    if table.big_endian != says_big_endian {
        let (says, is) = if says_big_endian { ("big", "little") } else { ("little", "big") };
        table.warnings.push(format!(
            "The file says that it was written on a {says}-endian machine; by the sizes of its storages it is {is}-endian, and is read so."
        ));
    }
    if stream.left() > 0 && stream.is_elsewhere() {
        let what = format!(
            "{} bytes are behind the last storage: the file is damaged; download it and open that",
            stream.left()
        );
        return Err(stream.error(stream.position, what));
    }
    if stream.left() > 0 {
        table.warnings.push(format!("{} bytes behind the last storage were not looked at.", stream.left()));
    }
    Ok(table)
}

impl Table {
    /// The bytes of a view; `None` where the root does not have them.
    fn part(&self, view: &View<'_>) -> Option<Found> {
        let root = self.storages.get(&*view.root)?;
        let StorageOffset::Data(begin) = root.offset else { return None };
        let fits = view.offset.checked_add(view.bytes)? <= root.bytes;
        let offset = StorageOffset::Data(begin.checked_add(view.offset)?);
        fits.then_some(Found { number: self.storages.len(), offset, bytes: view.bytes, plain: true })
    }
}
