//! Tensors out of a pickle: torch's rebuild functions, read instead of called.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;

use compact_str::CompactString;

use super::error::name_for_message;
use super::pickle::{Fault, NodeId, Object, Pickle};
use super::progress::{self, Of};
use super::strided::{self, Strided};
use super::tensor::{Storage, StorageOffset, UNINITIALISED};
use super::{Dtype, Sizes, Tensor, TensorId};

/// More axes than torch has operators for.
const MOST_AXES: usize = 64;
/// Work that a tensor costs: the memory that its description takes, more or less.
const TENSOR_WORK: u64 = 300;
/// A hostile or broken file could give a warning for each of its bytes.
const MOST_WARNINGS: usize = 50;
/// Keys are numbers, locations devices; a pickle could mention one long text for each of its bytes. A key is counted as text, a
/// location as it is written.
const LONGEST_KEY: usize = 256;
/// Why a tensor without a device has no bytes.
pub(super) const ON_META: &str = "is on the meta device: the file holds no bytes for it";
/// A parameter around a subclass around a tensor, and then some.
const MOST_WRAPPERS: usize = 8;

/// The bytes that an archive has for a storage key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Tells the archive's records apart; small.
    pub number: usize,
    pub offset: StorageOffset,
    /// Length of the record.
    pub bytes: u64,
    /// Whether the bytes are as they are; compressed ones are not read.
    pub plain: bool,
}

/// An optional index in four bytes: there is one for each of a million tensors, and never so many that four bytes are
/// too few.
#[derive(Debug, Clone, Copy, Default)]
struct Short(Option<NonZeroU32>);

impl Short {
    fn of(index: usize) -> Short {
        Short(u32::try_from(index).ok().and_then(|index| NonZeroU32::new(index.wrapping_add(1))))
    }

    fn get(self) -> Option<usize> {
        self.0.map(|next| next.get() as usize - 1)
    }

    /// The index, or this one from now on.
    fn get_or_set(&mut self, index: usize) -> usize {
        self.get().unwrap_or_else(|| {
            *self = Short::of(index);
            index
        })
    }
}

/// Collects the tensors of one pickle under the names that the callers give them.
pub(super) struct Rebuilder<'a> {
    pub pickle: &'a Pickle,
    find: &'a dyn Fn(&str) -> Option<Found>,
    big_endian: bool,
    pub tensors: Vec<Tensor>,
    pub storages: Vec<Storage>,
    warnings: Vec<String>,
    /// Warnings beyond the most that are kept.
    more_warnings: usize,
    /// The storage made of each of the archive's records.
    by_record: Vec<Short>,
    /// The first tensor in each storage; most have but one.
    first_in: Vec<Short>,
    /// The first tensor of each further layout in a storage: storage, offset, and a hash of the rest.
    further: HashMap<(usize, u64, u64), TensorId>,
    /// The first tensor made of a value, for tensors without a storage: they are tied by being the same object.
    by_node: HashMap<NodeId, TensorId>,
    /// Tensors that are described outside the pickle, by the number that stands for them in it.
    given: HashMap<i64, Tensor>,
    /// Modules around others that stand for these, by their places (`module.`, `backbone.module.`).
    pub wrappers: Vec<String>,
    /// The dicts that hold weights, by the dotted paths of keys that `--key` takes.
    pub dicts: Vec<String>,
    /// NumPy's arrays where tensors were expected.
    pub arrays: Vec<String>,
}

/// A storage as a persistent id describes it.
pub(super) struct StorageId<'a> {
    /// `None` for an untyped storage.
    pub dtype: Option<Result<Dtype, String>>,
    pub key: Cow<'a, str>,
    /// Whether its location is the meta device, which has no bytes.
    pub is_meta: bool,
    /// Elements; bytes where the storage is untyped.
    pub length: u64,
}

/// What the rebuild calls say, before it is held against the storage.
#[derive(Default)]
struct Draft {
    storage: Option<NodeId>,
    offset: i64,
    shape: Option<NodeId>,
    strides: Option<NodeId>,
    dtype: Option<NodeId>,
    requires_grad: bool,
    problem: Option<String>,
    /// A number that stands for a tensor described elsewhere.
    given: Option<NodeId>,
}

type Result<T, E = Fault> = std::result::Result<T, E>;

impl<'a> Rebuilder<'a> {
    /// `find` looks up a storage key in the archive.
    pub fn new(pickle: &'a Pickle, find: &'a dyn Fn(&str) -> Option<Found>, big_endian: bool) -> Rebuilder<'a> {
        Rebuilder {
            pickle,
            find,
            big_endian,
            tensors: Vec::new(),
            storages: Vec::new(),
            warnings: Vec::new(),
            more_warnings: 0,
            by_record: Vec::new(),
            first_in: Vec::new(),
            further: HashMap::new(),
            by_node: HashMap::new(),
            given: HashMap::new(),
            wrappers: Vec::new(),
            dicts: Vec::new(),
            arrays: Vec::new(),
        }
    }

    /// Make room for this many more tensors.
    pub fn reserve(&mut self, count: usize) {
        self.tensors.reserve(count);
        self.storages.reserve(count);
    }

    /// Tensors that are described outside the pickle, and the storages that they view; first of all calls.
    pub fn give(&mut self, tensors: HashMap<i64, Tensor>, storages: Vec<Storage>) {
        self.first_in = vec![Short::default(); storages.len()];
        (self.given, self.storages) = (tensors, storages);
    }

    fn given(&self, id: NodeId) -> Option<&Tensor> {
        self.given.get(&self.pickle.int(self.pickle.persistent_id(id)?)?)
    }

    /// Keep a warning, unless there are many already.
    pub fn warn(&mut self, warning: String) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(warning);
        } else {
            self.more_warnings += 1;
        }
    }

    /// The warnings; the last one says how many were left out.
    pub fn finish_warnings(&mut self) -> Vec<String> {
        let mut warnings = std::mem::take(&mut self.warnings);
        if self.more_warnings > 0 {
            warnings.push(format!("{} more warnings of this kind were left out.", self.more_warnings));
        }
        warnings
    }

    /// Whether a value is a tensor or a parameter, readable or not.
    pub fn is_tensor(&self, id: NodeId) -> bool {
        self.pickle.object(id).is_some_and(|object| is_tensor(self.pickle, &object)) || self.given(id).is_some()
    }

    /// The shape of a tensor, listed or not.
    pub fn shape(&self, id: NodeId) -> Option<Sizes> {
        if let Some(given) = self.given(id) {
            return Some(given.shape.clone());
        }
        let object = self.pickle.object(id).filter(|object| is_tensor(self.pickle, object))?;
        sizes(self.pickle, draft(self.pickle, object).ok()?.shape, "size").ok()
    }

    /// List a tensor under a name; `None` if the value is no tensor.
    pub fn add(&mut self, id: NodeId, name: CompactString) -> Result<Option<TensorId>> {
        let number = self.tensors.len();
        Ok(self.add_or_return(id, name)?.is_none().then_some(number))
    }

    /// Add a tensor under a name, which comes back if the value is no tensor.
    pub fn add_or_return(&mut self, id: NodeId, name: CompactString) -> Result<Option<CompactString>> {
        let number = self.tensors.len();
        progress::step(Of::Tensors, number as u64, self.pickle.persistent_ids().len() as u64);
        let object = self.pickle.object(id).filter(|object| is_tensor(self.pickle, object));
        let given = self.given(id);
        if object.is_none() && given.is_none() {
            return Ok(Some(name));
        }
        self.pickle.spend(TENSOR_WORK + name.len() as u64);
        let mut tensor = match (object, given) {
            (Some(object), _) => self.tensor(id, &object).map_err(|fault| {
                let what = format!("tensor `{}`: {}", name_for_message(&name), fault.what);
                Fault { what, ..fault }
            })?,
            (None, Some(given)) => given.clone(),
            (None, None) => return Ok(Some(name)),
        };
        tensor.name = name;
        tensor.shared_with = match tensor.storage {
            Some(storage) => self.elder(&tensor, storage as usize, number),
            None => Some(*self.by_node.entry(id).or_insert(number)).filter(|&first| first != number),
        };
        self.tensors.push(tensor);
        Ok(None)
    }

    /// The first tensor that is the same view of the same storage.
    fn elder(&mut self, tensor: &Tensor, storage: usize, number: TensorId) -> Option<TensorId> {
        let same = |elder: &Tensor| {
            elder.offset == tensor.offset
                && elder.shape == tensor.shape
                && elder.strides == tensor.strides
                && elder.dtype == tensor.dtype
        };
        let first = self.first_in.get_mut(storage)?.get_or_set(number);
        if first == number || self.tensors.get(first).is_some_and(same) {
            return Some(first).filter(|&first| first != number);
        }
        let mut hasher = DefaultHasher::new();
        (&tensor.shape, &tensor.strides, tensor.dtype).hash(&mut hasher);
        let first = *self.further.entry((storage, tensor.offset, hasher.finish())).or_insert(number);
        self.tensors.get(first).is_some_and(same).then_some(first)
    }

    fn tensor(&mut self, id: NodeId, object: &Object) -> Result<Tensor> {
        let pickle = self.pickle;
        let place = pickle.offset(id);
        let fault = |what: String| Fault { offset: place, what };
        let draft = draft(pickle, *object).map_err(&fault)?;
        if let Some(given) = draft.given {
            let given = self.given(given).ok_or_else(|| fault("a tensor that is described nowhere".to_owned()))?;
            return Ok(Tensor { requires_grad: draft.requires_grad, ..given.clone() });
        }
        let mut problem = draft.problem;
        let shape = sizes(pickle, draft.shape, "size").map_err(&fault)?;
        let strides = match draft.strides {
            Some(_) => sizes(pickle, draft.strides, "stride").map_err(&fault)?,
            None => strided::contiguous_strides(&shape),
        };
        let offset = u64::try_from(draft.offset).map_err(|_| fault(format!("negative offset {}", draft.offset)))?;
        let mut dtype = draft.dtype.map(|id| named_dtype(pickle.global_name(id).unwrap_or_default()));
        let mut storage = None;
        let mut key = Cow::Borrowed("");
        if let Some(id) = draft.storage {
            let described = self.storage_id(id)?;
            dtype = dtype.or(described.dtype.clone());
            match self.storage(&described, place)? {
                Ok(index) => storage = Some(index),
                Err(why) => {
                    let key = name_for_message(&described.key);
                    problem.get_or_insert_with(|| format!("storage `{key}` {why}"));
                }
            }
            key = described.key;
        }
        let dtype = dtype.unwrap_or(Ok(Dtype::Unknown)).unwrap_or_else(|name| {
            problem.get_or_insert_with(|| format!("elements of type {} are not read", name_for_message(&name)));
            Dtype::Unknown
        });
        let reach = Strided { shape: &shape, strides: &strides, offset }.reach().map_err(&fault)?;
        if let Some(storage) = storage.and_then(|index| self.storages.get(index)).filter(|_| dtype != Dtype::Unknown) {
            let holds = storage.bytes / dtype.size() as u64;
            if !reach.is_empty() && reach.end > holds {
                let (needs, key) = (reach.end, name_for_message(&key));
                return Err(fault(format!("needs {needs} elements of storage `{key}`, which holds {holds}")));
            }
        }
        let requires_grad = draft.requires_grad;
        let name = CompactString::default();
        let strides = strided::odd_strides(&shape, strides);
        let storage = storage.and_then(|index| u32::try_from(index).ok());
        let problem = problem.map(String::into_boxed_str);
        Ok(Tensor { name, dtype, shape, strides, offset, storage, requires_grad, shared_with: None, problem })
    }

    /// Read a persistent id.
    fn storage_id(&self, id: NodeId) -> Result<StorageId<'a>> {
        let pickle = self.pickle;
        let fault = |what: &str| Fault { offset: pickle.offset(id), what: what.to_owned() };
        let Some(tuple) = pickle.persistent_id(id) else { return Err(fault("a tensor without a storage")) };
        storage_id(pickle, tuple)
            .ok_or_else(|| fault("a persistent id that is not a storage tuple"))?
            .map_err(|what| fault(&what))
    }

    /// The index of a storage, found in the archive the first time; the inner error says why its bytes cannot be read.
    fn storage(&mut self, id: &StorageId<'a>, place: u64) -> Result<Result<usize, &'static str>> {
        let fault = |what: String| Fault { offset: place, what };
        let found = match (self.find)(&id.key) {
            _ if id.is_meta => return Ok(Err(ON_META)),
            None => return Ok(Err("is missing from the archive")),
            Some(found) if !found.plain => {
                return Ok(Err("is compressed, which torch does not do to tensors; it is not read"));
            }
            Some(found) => found,
        };
        if let Some(known) = self.by_record.get(found.number).and_then(|known| known.get()) {
            return Ok(Ok(known));
        }
        let declared = match &id.dtype {
            Some(Ok(dtype)) => id.length.checked_mul(dtype.size() as u64),
            Some(Err(_)) => Some(found.bytes),
            None => Some(id.length),
        };
        let declared = declared.ok_or_else(|| fault("a storage of more bytes than 64 bits can count".to_owned()))?;
        if declared != found.bytes {
            let key = name_for_message(&id.key);
            self.warn(format!(
                "Storage `{key}` is declared with {declared} bytes, its record has {}; torch refuses such a file, the smaller number was used.",
                found.bytes
            ));
        }
        let index = self.storages.len();
        self.storages.push(Storage {
            file: 0,
            offset: found.offset,
            bytes: declared.min(found.bytes),
            big_endian: self.big_endian,
        });
        self.first_in.push(Short::default());
        if self.by_record.len() <= found.number {
            self.by_record.resize(found.number + 1, Short::default());
        }
        if let Some(place) = self.by_record.get_mut(found.number) {
            *place = Short::of(index);
        }
        Ok(Ok(index))
    }
}

impl Rebuilder<'_> {
    /// As [`check_persistent_ids`], after the tensors are rebuilt: each storage that was found stands for an id that was read.
    pub fn check_other_persistent_ids(&self) -> Result<()> {
        let all_read = self.storages.len() >= self.pickle.persistent_ids().len();
        if all_read { Ok(()) } else { check_persistent_ids(self.pickle) }
    }
}

/// Check that every persistent id is a storage: torch writes no others into zip archives.
///
/// # Errors
/// The first that is not, by its offset.
pub(super) fn check_persistent_ids(pickle: &Pickle) -> Result<()> {
    for id in pickle.persistent_ids() {
        let fault = |what: String| Fault { offset: pickle.offset(id), what };
        match storage_id(pickle, id) {
            Some(Ok(_)) => {}
            Some(Err(what)) => return Err(fault(what)),
            None => return Err(fault("a persistent id that is not a storage tuple".to_owned())),
        }
    }
    Ok(())
}

/// `('storage', class, key, location, length)`, in the legacy format followed by None or `(key, offset, length)` of a view;
/// `None` if it is something else.
pub(super) fn storage_id(pickle: &Pickle, tuple: NodeId) -> Option<Result<StorageId<'_>, String>> {
    let &[word, class, mut key, location, mut length, ref rest @ ..] = pickle.tuple(tuple)? else { return None };
    if !pickle.is_text(word, "storage") {
        return None;
    }
    if let Some(&[view_key, _, view_length]) = rest.first().and_then(|view| pickle.tuple(*view)) {
        (key, length) = (view_key, view_length);
    }
    // Packages number their storages.
    let key = pickle.text(key).or_else(|| pickle.int(key).map(|number| Cow::Owned(number.to_string())))?;
    let class = pickle.global_name(class)?;
    if key.len().max(pickle.text_length(location)?) > LONGEST_KEY {
        return Some(Err(format!("a storage whose key or location is longer than {LONGEST_KEY} bytes")));
    }
    let length = match u64::try_from(pickle.int(length)?) {
        Ok(length) => length,
        Err(_) => return Some(Err(format!("a storage of {} elements", pickle.int(length)?))),
    };
    let dtype = (!class.ends_with(".UntypedStorage")).then(|| storage_dtype(class));
    Some(Ok(StorageId { dtype, key, is_meta: pickle.is_text(location, "meta"), length }))
}

/// The element type of a storage class (`torch.FloatStorage`, `torch.cuda.HalfStorage`); else the class.
pub(super) fn storage_dtype(class: &str) -> Result<Dtype, String> {
    let name = class.strip_prefix("torch.").and_then(|name| name.strip_suffix("Storage")).unwrap_or_default();
    Ok(match name.strip_prefix("cuda.").unwrap_or(name) {
        "Double" => Dtype::Float64,
        "Float" => Dtype::Float32,
        "Half" => Dtype::Float16,
        "BFloat16" => Dtype::BFloat16,
        "Long" => Dtype::Int64,
        "Int" => Dtype::Int32,
        "Short" => Dtype::Int16,
        "Char" => Dtype::Int8,
        "Byte" => Dtype::UInt8,
        "Bool" => Dtype::Bool,
        "ComplexFloat" => Dtype::Complex64,
        "ComplexDouble" => Dtype::Complex128,
        "QInt8" => Dtype::QInt8,
        "QUInt8" => Dtype::QUInt8,
        "QInt32" => Dtype::QInt32,
        _ => return Err(class.to_owned()),
    })
}

fn named_dtype(name: &str) -> Result<Dtype, String> {
    Dtype::from_name(name).ok_or_else(|| name.to_owned())
}

fn is_tensor(pickle: &Pickle, object: &Object) -> bool {
    object.makes_tensor
        || (pickle.callable_name(object).and_then(legacy_class).is_some() && pickle.state(object).is_some())
}

/// `torch.FloatTensor` and its like: tensors as torch wrote them before it had rebuild functions.
fn legacy_class(name: &str) -> Option<&str> {
    let name = name.strip_prefix("torch.")?.strip_suffix("Tensor")?;
    Some(name.strip_prefix("cuda.").unwrap_or(name)).filter(|name| !name.contains('.'))
}

/// Follow the calls inwards to the storage. The error is a fault of the call.
fn draft(pickle: &Pickle, object: Object) -> Result<Draft, String> {
    let mut draft = Draft::default();
    let mut name = pickle.callable_name(&object).unwrap_or_default();
    let mut args = object.args;
    let mut state = pickle.state(&object);
    // What the outermost parameter says counts, not the tensor in it.
    let mut parameter = None;
    for _ in 0..MOST_WRAPPERS {
        let list = pickle.tuple(args).ok_or_else(|| format!("{name} without a tuple of arguments"))?;
        let arg = |index: usize| list.get(index).copied();
        let grad = |index: usize| arg(index).and_then(|id| pickle.bool(id));
        let strided = |draft: &mut Draft| {
            (draft.storage, draft.shape, draft.strides) = (arg(0), arg(2), arg(3));
            draft.offset = arg(1).and_then(|id| pickle.int(id)).ok_or_else(|| format!("{name} without an offset"))?;
            match draft.strides {
                Some(_) => Ok(()),
                None => Err(format!("{name} with {} arguments", list.len())),
            }
        };
        let inner = match name.strip_prefix("torch._utils._rebuild_").unwrap_or(name) {
            "tensor" => return strided(&mut draft).map(|()| draft),
            "tensor_v2" => {
                strided(&mut draft)?;
                draft.requires_grad = parameter.or(grad(4)).unwrap_or(false);
                draft.problem = lazy_view(pickle, arg(6));
                return Ok(draft);
            }
            "tensor_v3" => {
                strided(&mut draft)?;
                draft.requires_grad = parameter.or(grad(4)).unwrap_or(false);
                draft.dtype = Some(arg(6).ok_or_else(|| format!("{name} with {} arguments", list.len()))?);
                draft.problem = lazy_view(pickle, arg(7));
                return Ok(draft);
            }
            "parameter" | "parameter_with_state" | "torch.nn.parameter.Parameter" => {
                parameter = parameter.or(grad(1)).or(Some(true));
                arg(0)
            }
            "torch.nn.parameter.Buffer" => arg(0),
            "torch._tensor._rebuild_from_type_v2" => {
                name = arg(0).and_then(|id| pickle.global_name(id)).unwrap_or_default();
                (args, state) = (arg(2).ok_or("a tensor subclass without arguments")?, None);
                continue;
            }
            "meta_tensor_no_storage" => {
                (draft.dtype, draft.shape, draft.strides) = (arg(0), arg(1), arg(2));
                draft.requires_grad = parameter.or(grad(3)).unwrap_or(false);
                draft.problem = Some(ON_META.to_owned());
                return Ok(draft);
            }
            "qtensor" => {
                draft.problem = Some("is quantized; its scale and zero point are not applied".to_owned());
                if strided(&mut draft).is_err() || pickle.items(draft.shape.unwrap_or(args)).is_none() {
                    draft = Draft { problem: draft.problem, ..Draft::default() };
                }
                return Ok(draft);
            }
            "sparse_tensor" => {
                let parts = arg(1).and_then(|id| pickle.tuple(id)).unwrap_or_default();
                // (indices, values, size) or (compressed indices, plain indices, values, size)
                let size = [3, 2].iter().filter_map(|&index| parts.get(index));
                draft.shape = size.copied().find(|id| pickle.items(*id).is_some());
                draft.problem = Some("is sparse; its indices and values are not read".to_owned());
                return Ok(draft);
            }
            "torch.nn.parameter.UninitializedParameter" | "torch.nn.parameter.UninitializedBuffer" => {
                draft.problem = Some(UNINITIALISED.to_owned());
                return Ok(draft);
            }
            _ => {
                if let (Some(_), Some(arguments)) = (legacy_class(name), state) {
                    (name, args, state) = ("torch._utils._rebuild_tensor", arguments, None);
                    continue;
                }
                draft.problem = Some(format!("is made by {}, which is not read", name_for_message(name)));
                return Ok(draft);
            }
        };
        if let Some(id) = inner.filter(|id| pickle.persistent_id(*id).is_some()) {
            return Ok(Draft { given: Some(id), requires_grad: parameter.unwrap_or(false), ..draft });
        }
        let object = inner.and_then(|id| pickle.object(id)).ok_or_else(|| format!("{name} without a tensor"))?;
        name = pickle.callable_name(&object).unwrap_or_default();
        (args, state) = (object.args, pickle.state(&object));
    }
    Err(format!("{name} wrapped more than {MOST_WRAPPERS} times"))
}

/// Conjugate and negative views are computed when torch reads them.
fn lazy_view(pickle: &Pickle, metadata: Option<NodeId>) -> Option<String> {
    let metadata = metadata?;
    let is_set = |key: &str| pickle.get(metadata, key).and_then(|id| pickle.bool(id)) == Some(true);
    (is_set("conj") || is_set("neg")).then(|| "is a conjugated or negated view, which is not computed".to_owned())
}

fn sizes(pickle: &Pickle, id: Option<NodeId>, what: &str) -> Result<Sizes, String> {
    let Some(id) = id else { return Ok(Sizes::new()) };
    let items = pickle.items(id).ok_or_else(|| format!("a {what} that is no tuple"))?;
    let mut sizes = Sizes::new();
    for item in items {
        let size = pickle.int(item).ok_or_else(|| format!("a {what} that is no integer of 64 bits"))?;
        sizes.push(u64::try_from(size).map_err(|_| format!("negative {what} {size}"))?);
        if sizes.len() > MOST_AXES {
            return Err(format!("more than {MOST_AXES} axes"));
        }
    }
    Ok(sizes)
}
