//! Folders of `torch.distributed.checkpoint`: a pickle `.metadata` that describes every tensor, and `.distcp` files, of which
//! each tensor (or chunk of one) has a segment. A segment is a `torch.save` archive of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::error::name_for_message;
use super::pickle::{self, NodeId, Pickle, Printer};
use super::stream::Stream;
use super::strided;
use super::tensor::StorageOffset;
use super::{
    Bytes, Checkpoint, Content, Dtype, Error, FileId, Format, Sizes, Storage, Tensor, mount, sharded, weights,
};

/// The file that describes the others.
pub(super) const METADATA: &str = ".metadata";
/// Classes are known by the last part of their name: they have moved between modules.
const TENSOR: &str = "TensorStorageMetadata";
/// The classes have no more attributes; many objects can have one state.
const MOST_FIELDS: usize = 32;
/// Names of objects that are kept.
const MOST_OBJECTS: usize = 1_000;
/// Files: each rank of a cluster writes a few.
const MOST_FILES: usize = 100_000;
/// Missing files that are named one by one.
const MOST_MISSING: usize = 20;

/// torch has no more axes.
const MOST_AXES: usize = 64;

/// Texts out of the pickle: one of them can be mentioned many times, so all together they have a limit.
struct Texts<'a> {
    pickle: &'a Pickle,
    left: u64,
}

impl Texts<'_> {
    /// A copy of a text; `None` if it is something else.
    fn own(&mut self, id: Option<NodeId>) -> Result<Option<String>, String> {
        let Some(text) = id.and_then(|id| self.pickle.text(id)) else { return Ok(None) };
        let left = self.left.checked_sub(text.len() as u64);
        self.left = left.ok_or("the texts unfold to far more than were written; this is no checkpoint")?;
        Ok(Some(text.into_owned()))
    }
}

/// Where a tensor's bytes are.
struct Segment {
    file: String,
    offset: u64,
    length: u64,
}

/// What is being put together.
struct Reader<'a> {
    pickle: &'a Pickle,
    folder: &'a Path,
    segments: HashMap<String, Segment>,
    /// The index of each file that is there; the length that it has.
    files: HashMap<String, Option<(u32, u64)>>,
    /// Index and length by what the file is: links to one are one.
    by_id: HashMap<FileId, (u32, u64)>,
    missing: usize,
    checkpoint: Checkpoint,
}

/// Open a folder by its `.metadata`; no other file is read. `asked` is the dict to take, where there are several.
///
/// # Errors
/// `.metadata` is damaged, describes nothing, or names files outside the folder.
pub(super) fn open(folder: &Path, asked: Option<&str>) -> Result<Checkpoint, Error> {
    let path = folder.join(METADATA);
    let bytes = Bytes::open(&path)?;
    let mut stream = Stream::new(&path, &bytes, METADATA, 0, bytes.length());
    let pickle = stream.pickle()?;
    let error = |id: NodeId, what: String| stream.error(pickle.offset(id), what);
    let root = pickle.root();
    let field = |name: &str| field(&pickle, root, name);
    let Some(described) = field("state_dict_metadata").and_then(|dict| pickle.entries(dict)) else {
        let found = name_for_message(&Printer::for_messages().describe(&pickle, root));
        return Err(error(root, format!("holds {found}, which does not describe tensors")));
    };
    let mut texts = Texts { pickle: &pickle, left: pickle.length() * 8 + (16 << 20) };
    let mut segments = HashMap::new();
    for (key, place) in field("storage_data").and_then(|dict| pickle.entries(dict)).into_iter().flatten() {
        if let Some((name, segment)) = segment(&mut texts, key, place).map_err(|what| error(place, what))? {
            if !sharded::is_plain(&segment.file) {
                let file = name_for_message(&segment.file);
                return Err(error(place, format!("names `{file}`; only files in the same folder are followed")));
            }
            segments.insert(name, segment);
        }
    }
    let checkpoint = Checkpoint {
        bytes: bytes.length(),
        shards: 0,
        pickle: Some(pickle::report(&pickle)),
        ..Checkpoint::new(folder, Format::Dcp, Content::StateDict { module_versions: Vec::new() })
    };
    let mut reader = Reader {
        pickle: &pickle,
        folder,
        segments,
        files: HashMap::new(),
        by_id: HashMap::new(),
        missing: 0,
        checkpoint,
    };
    let mut objects = Vec::new();
    for (key, facts) in described {
        let Some(name) = texts.own(Some(key)).map_err(|what| error(facts, what))? else { continue };
        if class(&pickle, facts) == Some(TENSOR) {
            reader.add(name, facts).map_err(|what| error(facts, what))?;
        } else if objects.len() < MOST_OBJECTS {
            objects.push(name);
        }
    }
    let tops = match field("planner_data") {
        Some(paths) => tops(&mut texts, paths).map_err(|what| error(paths, what))?,
        None => HashMap::new(),
    };
    Ok(reader.finish(&tops, objects, asked))
}

/// The last part of an object's class.
fn class(pickle: &Pickle, id: NodeId) -> Option<&str> {
    let object = pickle.object(id)?;
    pickle::class_of(pickle, &object)?.rsplit('.').next()
}

/// An attribute of an object.
fn field(pickle: &Pickle, id: NodeId, name: &str) -> Option<NodeId> {
    let mut fields = pickle.entries(pickle.state(&pickle.object(id)?)?)?.take(MOST_FIELDS);
    fields.find(|(key, _)| pickle.is_text(*key, name)).map(|(_, value)| value)
}

fn unsigned(pickle: &Pickle, id: NodeId) -> Option<u64> {
    u64::try_from(pickle.int(id)?).ok()
}

/// A tensor's name and place, from a `MetadataIndex` and a `_StorageInfo`.
fn segment(texts: &mut Texts<'_>, key: NodeId, place: NodeId) -> Result<Option<(String, Segment)>, String> {
    let pickle = texts.pickle;
    let number = |name: &str| unsigned(pickle, field(pickle, place, name)?);
    let (Some(offset), Some(length)) = (number("offset"), number("length")) else { return Ok(None) };
    let name = texts.own(field(pickle, key, "fqn"))?;
    let file = texts.own(field(pickle, place, "relative_path"))?;
    Ok(name.zip(file).map(|(name, file)| (name, Segment { file, offset, length })))
}

/// The outermost key that each name was under before it was flattened.
fn tops(texts: &mut Texts<'_>, paths: NodeId) -> Result<HashMap<String, String>, String> {
    let pickle = texts.pickle;
    let mut tops = HashMap::new();
    for (name, path) in pickle.entries(paths).into_iter().flatten() {
        if let Some([top, _, ..]) = pickle.tuple(path)
            && let (Some(name), Some(top)) = (texts.own(Some(name))?, texts.own(Some(*top))?)
        {
            tops.insert(name, top);
        }
    }
    Ok(tops)
}

fn sizes(pickle: &Pickle, id: Option<NodeId>) -> Option<Sizes> {
    let sizes: Option<Sizes> = pickle.items(id?)?.take(MOST_AXES + 1).map(|size| unsigned(pickle, size)).collect();
    sizes.filter(|sizes| sizes.len() <= MOST_AXES)
}

impl Reader<'_> {
    fn add(&mut self, name: String, facts: NodeId) -> Result<(), String> {
        let pickle = self.pickle;
        let shown = name_for_message(&name);
        let shape =
            sizes(pickle, field(pickle, facts, "size")).ok_or_else(|| format!("tensor `{shown}` has no size"))?;
        if strided::elements(&shape).is_none() {
            return Err(format!("tensor `{shown}` has more elements than 64 bits can count"));
        }
        let properties = field(pickle, facts, "properties");
        let properties = properties.and_then(|object| pickle.state(&pickle.object(object)?));
        let properties = properties.and_then(|state| pickle.tuple(state)).unwrap_or_default();
        let dtype = properties.first().and_then(|dtype| pickle.global_name(*dtype)).unwrap_or_default();
        let requires_grad = properties.get(2).and_then(|flag| pickle.bool(*flag)).unwrap_or(false);
        let (dtype, mut problem) = match Dtype::from_name(dtype) {
            Some(dtype) => (dtype, None),
            None => (Dtype::Unknown, Some(format!("elements of type {} are not read", name_for_message(dtype)))),
        };
        let mut storage = None;
        match self.place(&name, facts, &shape) {
            Ok(found) => {
                storage = u32::try_from(self.checkpoint.storages.len()).ok();
                self.checkpoint.storages.push(found);
            }
            Err(why) => {
                problem.get_or_insert(why);
            }
        }
        self.checkpoint.tensors.push(Tensor {
            name: name.into(),
            dtype,
            shape,
            strides: None,
            offset: 0,
            storage,
            requires_grad,
            shared_with: None,
            problem: problem.map(String::into_boxed_str),
        });
        Ok(())
    }

    /// The segment of a tensor that is stored in one piece; else why there is none.
    fn place(&mut self, name: &str, facts: NodeId, shape: &[u64]) -> Result<Storage, String> {
        let pickle = self.pickle;
        let chunks = field(pickle, facts, "chunks").and_then(|chunks| pickle.items(chunks));
        let mut chunks = chunks.into_iter().flatten();
        let (first, more) = (chunks.next(), chunks.next().is_some());
        let whole = |chunk: NodeId| sizes(pickle, field(pickle, chunk, "sizes")).is_some_and(|sizes| *sizes == *shape);
        if more || !first.is_some_and(whole) {
            let what = "is stored in chunks, which are not put together; consolidate the checkpoint first";
            return Err(what.to_owned());
        }
        let Some(segment) = self.segments.remove(name) else {
            return Err("is in none of the files by the account of `.metadata`".to_owned());
        };
        let shown = name_for_message(&segment.file);
        let Some((file, length)) = self.file(&segment.file) else {
            return Err(format!("its file `{shown}` is missing"));
        };
        if segment.offset.checked_add(segment.length).is_none_or(|end| end > length) {
            let Segment { offset, length: size, .. } = segment;
            return Err(format!("its {size} bytes at byte {offset} are not in `{shown}`, which has {length}"));
        }
        Ok(Storage { file, offset: StorageOffset::Archive(segment.offset), bytes: segment.length, big_endian: false })
    }

    fn file(&mut self, name: &str) -> Option<(u32, u64)> {
        if let Some(known) = self.files.get(name) {
            return *known;
        }
        let found = if self.files.len() < MOST_FILES { self.open(&self.folder.join(name)) } else { None };
        if found.is_none() {
            self.missing += 1;
            if self.missing <= MOST_MISSING {
                let shown = name_for_message(name);
                self.checkpoint
                    .warnings
                    .push(format!("`{shown}` is missing; the tensors in it are listed, but cannot be read."));
            }
        }
        self.files.insert(name.to_owned(), found);
        found
    }

    fn open(&mut self, path: &Path) -> Option<(u32, u64)> {
        let id = FileId::of(path)?;
        if let Some(known) = self.by_id.get(&id) {
            return Some(*known);
        }
        let bytes = Bytes::open(path).ok()?;
        let found = (u32::try_from(self.checkpoint.files.len()).ok()?, bytes.length());
        self.checkpoint.files.push(bytes.closed());
        self.checkpoint.shards += 1;
        self.checkpoint.bytes = self.checkpoint.bytes.saturating_add(found.1);
        self.by_id.insert(id, found);
        Some(found)
    }

    /// Unwrap the weights and give account of the rest.
    fn finish(self, tops: &HashMap<String, String>, objects: Vec<String>, asked: Option<&str>) -> Checkpoint {
        let mut checkpoint = self.checkpoint;
        if let Some(more) = self.missing.checked_sub(MOST_MISSING).filter(|more| *more > 0) {
            checkpoint
                .warnings
                .push(format!("{more} more files are missing, or are more than the {MOST_FILES} that are read."));
        }
        if !objects.is_empty() {
            checkpoint.metadata.insert("objects".to_owned(), json!(objects));
        }
        let top_of = |tensor: &Tensor| tops.get(tensor.name.as_str()).map(String::as_str);
        let is_used = |wrapper: &&str| checkpoint.tensors.iter().any(|tensor| top_of(tensor) == Some(wrapper));
        if let Some(wrapper) =
            asked.filter(|asked| is_used(asked)).or_else(|| weights::WRAPPERS.into_iter().find(is_used))
        {
            let mut others: Map<String, Value> = Map::new();
            checkpoint.tensors.retain_mut(|tensor| {
                let top = top_of(tensor).unwrap_or("outside");
                if top != wrapper {
                    let place = others.entry(top).or_insert_with(|| json!({ "tensors": 0 }));
                    *place = json!({ "tensors": place.get("tensors").and_then(Value::as_u64).unwrap_or(0) + 1 });
                    return false;
                }
                if let Some(inner) = tensor.name.strip_prefix(wrapper).and_then(|name| name.strip_prefix('.')) {
                    tensor.name = inner.into();
                }
                true
            });
            checkpoint.metadata.extend(others);
            checkpoint.wrappers.push(wrapper.to_owned());
        }
        checkpoint
    }
}

/// The folder that a path to `.metadata` means.
pub(super) fn folder_of(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    (path.file_name()? == METADATA && mount::is_file(path)).then(|| folder.to_path_buf())
}
