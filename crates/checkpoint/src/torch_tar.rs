//! The tar archives of torch before 0.1.10: members `sys_info`, `pickle`, `storages` and `tensors`. In the pickle a number
//! stands for a tensor, which `tensors` describes; `storages` holds the elements.

use std::collections::HashMap;
use std::path::Path;

use compact_str::CompactString;

use super::error::name_for_message;
use super::pickle::{self, Fault, Pickle};
use super::rebuild::{self, Found, Rebuilder};
use super::stream::{self, Stream};
use super::strided::{Strided, odd_strides};
use super::tensor::StorageOffset;
use super::{Bytes, Checkpoint, Dtype, Error, Format, Sizes, Storage, Tensor, sources, torch_zip};

/// Length of a header, and of the blocks that members are made of.
const BLOCK: u64 = 512;
/// A checkpoint has four members.
const MOST_MEMBERS: usize = 1_000;
/// torch has no more axes.
const MOST_AXES: i32 = 64;

/// Where the members are: first and one past the last byte, by name.
type Members = HashMap<String, (u64, u64)>;

/// The storages, and their indices by key.
#[derive(Default)]
struct Storages {
    list: Vec<Storage>,
    dtypes: Vec<Dtype>,
    by_key: HashMap<String, usize>,
}

/// Read the members' headers, the pickles and the sizes of the storages, no tensor; `asked` is the key of the dict to take,
/// where there are several.
///
/// # Errors
/// A member is missing or damaged, or a tensor does not fit its storage.
pub fn read(path: &Path, bytes: Bytes, asked: Option<&str>) -> Result<Checkpoint, Error> {
    let members = members(path, &bytes)?;
    let member = |name: &'static str| {
        let &(begin, end) = members.get(name)?;
        Some(Stream::new(path, &bytes, name, begin, end))
    };
    let (Some(mut object), Some(mut storages)) = (member("pickle"), member("storages")) else {
        let what =
            "is a tar archive, but no checkpoint of torch before 0.1.10; if a checkpoint is packed in it, unpack it";
        return Err(Error::Format { path: path.to_path_buf(), what: what.to_owned() });
    };
    let begin = object.position;
    let pickle = object.pickle()?;
    let mut warnings = Vec::new();
    if let Some(mut system) = member("sys_info") {
        let system = system.pickle()?;
        if system.get(system.root(), "little_endian").and_then(|little| system.bool(little)) == Some(false) {
            warnings.push("The file says that it was written on a big-endian machine; it is read as torch reads it, little-endian.".to_owned());
        }
    }
    let storages = read_storages(&mut storages)?;
    let tensors = match member("tensors") {
        Some(mut tensors) => read_tensors(&mut tensors, &storages)?,
        None => HashMap::new(),
    };
    check_persistent_ids(&pickle, &tensors).map_err(|reason| object.fault(begin, reason, &pickle))?;
    let sources = sources::embedded(&pickle, &mut warnings);
    let list = storages.list.clone();
    let find = |key: &str| {
        let number = *storages.by_key.get(key)?;
        let storage = storages.list.get(number)?;
        Some(Found { number, offset: storage.offset, bytes: storage.bytes, plain: true })
    };
    let mut rebuilder = Rebuilder::new(&pickle, &find, false);
    rebuilder.give(tensors, list);
    let parts = torch_zip::contents(&mut rebuilder, asked).map_err(|reason| object.fault(begin, reason, &pickle))?;
    Ok(parts.checkpoint(path, Format::TorchTar, bytes, rebuilder, sources, warnings))
}

/// Check that everything stored outside the pickle is in the file: tensors by number, classes, and storages.
fn check_persistent_ids(pickle: &Pickle, tensors: &HashMap<i64, Tensor>) -> Result<(), Fault> {
    for id in pickle.persistent_ids() {
        let what = match pickle.int(id) {
            Some(key) if tensors.contains_key(&key) => continue,
            Some(key) => format!("tensor {key} is not described in the file; it is cut off"),
            None if pickle.stored_class(id).is_some() => continue,
            None => match rebuild::storage_id(pickle, id) {
                Some(Ok(_)) => continue,
                Some(Err(what)) => what,
                None => "a persistent id that is neither a tensor nor a class".to_owned(),
            },
        };
        return Err(Fault { offset: pickle.offset(id), what });
    }
    Ok(())
}

/// Go from header to header.
fn members(path: &Path, bytes: &Bytes) -> Result<Members, Error> {
    let mut members = Members::new();
    let mut position = 0u64;
    for _ in 0..MOST_MEMBERS {
        let mut buffer = [0u8; BLOCK as usize];
        let header = bytes.read_at_most(position, &mut buffer)?;
        if header.iter().all(|&byte| byte == 0) {
            break;
        }
        let damaged = |what: String| Error::Archive {
            path: path.to_path_buf(),
            record: "tar header".to_owned(),
            offset: position,
            what,
        };
        if header.len() < BLOCK as usize {
            return Err(damaged("the header is cut off; copy the file again".to_owned()));
        }
        let text = |from: usize, to: usize| {
            let field = header.get(from..to).unwrap_or_default();
            String::from_utf8_lossy(field.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
        };
        let (name, size) = (text(0, 100), text(124, 136));
        let size = u64::from_str_radix(size.trim(), 8)
            .map_err(|_| damaged(format!("member `{}` has no size", name_for_message(&name))))?;
        let begin = position + BLOCK;
        let end = begin.checked_add(size).filter(|&end| end <= bytes.length());
        let end = end.ok_or_else(|| {
            let name = name_for_message(&name);
            damaged(format!("member `{name}` of {size} bytes reaches past the end of the file; it is cut off"))
        })?;
        if matches!(header.get(156), Some(0 | b'0')) {
            members.entry(name.trim_start_matches("./").to_owned()).or_insert((begin, end));
        }
        position = end.next_multiple_of(BLOCK);
    }
    Ok(members)
}

/// A number, then for each storage a pickle of key, location and class, its length and its elements; then the views.
fn read_storages(stream: &mut Stream<'_>) -> Result<Storages, Error> {
    let mut storages = Storages::default();
    for _ in 0..count(stream)? {
        let place = stream.position;
        let described = stream.pickle()?;
        let fields = stream::items(&described, described.root());
        let class = fields.get(2).and_then(|class| described.global_name(*class));
        let (Some(class), &[key, _, _]) = (class, fields.as_slice()) else {
            return Err(stream.error(place, "a storage is no tuple of key, location and class".to_owned()));
        };
        let key = stream::key(&described, key)
            .ok_or_else(|| stream.error(place, "a storage has a key that is no number".to_owned()))?;
        let shown = format!("storage `{}`", name_for_message(&key));
        let dtype = rebuild::storage_dtype(class).map_err(|class| {
            stream.error(place, format!("{shown} is a {}, which is not read", name_for_message(&class)))
        })?;
        let place = stream.position;
        let elements = stream.int(&shown)?;
        let bytes = u64::try_from(elements).ok().and_then(|elements| elements.checked_mul(dtype.size() as u64));
        let Some(bytes) = bytes else {
            return Err(stream.error(place, format!("{shown} has an impossible size of {elements} elements")));
        };
        let offset = StorageOffset::Data(stream.position);
        stream.skip(bytes, &shown)?;
        storages.add(key, offset, bytes, dtype);
    }
    if stream.left() > 0 {
        let place = stream.position;
        let views = stream.pickle()?;
        for view in stream::items(&views, views.root()) {
            storages.add_view(&views, &stream::items(&views, view)).ok_or_else(|| {
                stream.error(place, "a view of a storage reaches out of it, or is of none".to_owned())
            })?;
        }
    }
    Ok(storages)
}

/// The pickle of a number that a member begins with.
fn count(stream: &mut Stream<'_>) -> Result<i64, Error> {
    let place = stream.position;
    let pickle = stream.pickle()?;
    pickle
        .int(pickle.root())
        .ok_or_else(|| stream.error(place, "does not begin with a number; it is damaged".to_owned()))
}

impl Storages {
    fn add(&mut self, key: String, offset: StorageOffset, bytes: u64, dtype: Dtype) {
        self.by_key.insert(key, self.list.len());
        self.list.push(Storage { file: 0, offset, bytes, big_endian: false });
        self.dtypes.push(dtype);
    }

    /// `(key, key of the root, offset, length)` in elements.
    fn add_view(&mut self, pickle: &Pickle, fields: &[pickle::NodeId]) -> Option<()> {
        let &[key, root, offset, length] = fields else { return None };
        let index = *self.by_key.get(&stream::key(pickle, root)?)?;
        let (root, dtype) = (self.list.get(index)?, *self.dtypes.get(index)?);
        let size = dtype.size() as u64;
        let in_bytes = |count| u64::try_from(pickle.int(count)?).ok()?.checked_mul(size);
        let (offset, bytes) = (in_bytes(offset)?, in_bytes(length)?);
        let StorageOffset::Data(begin) = root.offset else { return None };
        if offset.checked_add(bytes)? > root.bytes {
            return None;
        }
        self.add(stream::key(pickle, key)?, StorageOffset::Data(begin + offset), bytes, dtype);
        Some(())
    }
}

/// A number, then for each tensor a pickle of key, storage and class, its number of axes, sizes, strides and offset.
fn read_tensors(stream: &mut Stream<'_>, storages: &Storages) -> Result<HashMap<i64, Tensor>, Error> {
    let mut tensors = HashMap::new();
    for _ in 0..count(stream)? {
        let place = stream.position;
        let described = stream.pickle()?;
        let fields = stream::items(&described, described.root());
        let (Some(key), Some(&storage)) = (fields.first().and_then(|key| described.int(*key)), fields.get(1)) else {
            return Err(stream.error(place, "a tensor is no tuple of key, storage and class".to_owned()));
        };
        let what = format!("tensor {key}");
        let fail = |stream: &Stream<'_>, why: String| stream.error(place, format!("{what}: {why}"));
        let axes = i32::from_le_bytes(stream.take(&what)?);
        let _padding: [u8; 4] = stream.take(&what)?;
        if !(0..=MOST_AXES).contains(&axes) {
            return Err(fail(stream, format!("{axes} axes")));
        }
        let number = |stream: &mut Stream<'_>| {
            let value = stream.int(&what)?;
            u64::try_from(value)
                .map_err(|_| stream.error(place, format!("{what}: a size, stride or offset of {value}")))
        };
        let shape = (0..axes).map(|_| number(stream)).collect::<Result<Sizes, Error>>()?;
        let strides = (0..axes).map(|_| number(stream)).collect::<Result<Sizes, Error>>()?;
        let offset = number(stream)?;
        let name = stream::key(&described, storage).unwrap_or_default();
        let Some((index, storage, dtype)) = storages
            .by_key
            .get(&name)
            .and_then(|&index| Some((index, storages.list.get(index)?, *storages.dtypes.get(index)?)))
        else {
            return Err(fail(stream, format!("its storage `{}` is not in the file", name_for_message(&name))));
        };
        let reach = Strided { shape: &shape, strides: &strides, offset }.reach().map_err(|why| fail(stream, why))?;
        let holds = storage.bytes / dtype.size() as u64;
        if !reach.is_empty() && reach.end > holds {
            let why = format!("needs {} elements of a storage that holds {holds}", reach.end);
            return Err(fail(stream, why));
        }
        let tensor = Tensor {
            name: CompactString::default(),
            dtype,
            strides: odd_strides(&shape, strides),
            shape,
            offset,
            storage: u32::try_from(index).ok(),
            requires_grad: false,
            shared_with: None,
            problem: None,
        };
        tensors.insert(key, tensor);
    }
    Ok(tensors)
}
