//! `torch.export.save` archives: the layout since torch 2.8 (`archive_format` is `pt2`) and the flat one before it.
//!
//! The program is JSON. Weights are raw records in the newer layout; in the flat one they are a `torch.save` archive within
//! the archive, whose bytes stay on disk as well.

mod graph;
mod members;
mod schema;
mod tree;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::archive::{self, Archive, Method, Record};
use super::error::name_for_message;
use super::strided::{Strided, odd_strides};
use super::tensor::StorageOffset;
use super::torch_zip::{self, byte_order, check_folder};
use super::{
    Bytes, Checkpoint, Content, Dtype, Error, Format, FoundModule, OwnTensor, Storage, Tensor, TensorId, TensorKind,
};
use schema::{Config, Payload, Program};
use tree::Tree;

/// Says which layout it is.
const ARCHIVE_FORMAT: &str = "archive_format";
/// The program in the flat layout.
const FLAT_PROGRAM: &str = "serialized_exported_program.json";
/// Its weights and constants, archives of their own. Torch 2.1 called them JSON.
const FLAT_WEIGHTS: [&str; 2] = ["serialized_state_dict.pt", "serialized_state_dict.json"];
const FLAT_SAMPLES: &str = "serialized_example_inputs.pt";
const FLAT_CONSTANTS: [&str; 2] = ["serialized_constants.pt", "serialized_constants.json"];
/// A program takes several times its JSON in memory. A node has one to two kilobytes.
const LONGEST_JSON: u64 = 256 << 20;
/// `torch.strided` in torch's schema.
const STRIDED: i64 = 7;

/// Whether an archive is an exported program's.
pub(super) fn is_exported(archive: &Archive) -> bool {
    archive.find(ARCHIVE_FORMAT).is_some() || archive.find(FLAT_PROGRAM).is_some()
}

/// Read an archive: its directory and its JSON, no tensor.
///
/// # Errors
/// It is damaged, or holds no program.
pub(super) fn read(path: &Path, bytes: Bytes, archive: Archive) -> Result<Checkpoint, Error> {
    let length = bytes.length();
    let mut reader =
        Reader { path, bytes: Arc::new(bytes), archive, indices: HashMap::new(), checkpoint: empty(path, length) };
    let program = if reader.archive.find(FLAT_PROGRAM).is_some() { reader.flat()? } else { reader.current()? };
    reader.finish(program)
}

fn empty(path: &Path, bytes: u64) -> Checkpoint {
    Checkpoint { bytes, ..Checkpoint::new(path, Format::ExportedProgram, Content::Modules(Vec::new())) }
}

/// The name of a program, its JSON's record and length, and what it says.
struct Found {
    record: String,
    place: Record,
    program: Program,
    /// Full names of the weights, with what the file says of them apart from the program's signature.
    weights: Vec<(String, TensorKind)>,
}

struct Reader<'a> {
    path: &'a Path,
    bytes: Arc<Bytes>,
    archive: Archive,
    /// Storages by the record they are in.
    indices: HashMap<String, usize>,
    checkpoint: Checkpoint,
}

impl Reader<'_> {
    fn fault(&self, record: &str, place: Record, what: String) -> Error {
        Error::Archive {
            path: self.path.to_path_buf(),
            record: format!("record `{}`", name_for_message(record)),
            offset: place.header,
            what,
        }
    }

    fn json<T: DeserializeOwned>(&mut self, name: &str, place: Record) -> Result<T, Error> {
        if place.size > LONGEST_JSON {
            let what = format!("is {} bytes long; {LONGEST_JSON} is the most that is read", place.size);
            return Err(self.fault(name, place, what));
        }
        let text = self.archive.read(self.path, &self.bytes, name, place)?;
        serde_json::from_slice(&text)
            .map_err(|error| self.fault(name, place, format!("is not what torch.export writes: {error}")))
    }

    /// The layout since torch 2.8.
    fn current(&mut self) -> Result<Found, Error> {
        check_folder(self.path, &self.archive)?;
        let other = |what: String| Error::Format { path: self.path.to_path_buf(), what };
        if let Some(place) = self.archive.find(ARCHIVE_FORMAT).filter(|place| place.size <= 16) {
            let format = self.archive.read(self.path, &self.bytes, ARCHIVE_FORMAT, place)?;
            if format.trim_ascii() != b"pt2" {
                let format = name_for_message(&String::from_utf8_lossy(&format));
                return Err(other(format!("is an archive of the format `{format}`; only `pt2` is known")));
            }
        }
        let named = |name: &str| name.strip_prefix("models/")?.strip_suffix(".json").map(str::to_owned);
        let mut names: Vec<String> = self.archive.names().filter_map(named).collect();
        // `model` is what torch calls a program that has no other name.
        names.sort_by_key(|name| (name != "model", name.clone()));
        let mut names = names.into_iter();
        let Some(name) = names.next() else {
            return Err(other("is a .pt2 archive without a program in `models/`; export the model again".to_owned()));
        };
        let others: Vec<String> = names.map(|name| name_for_message(&name)).collect();
        if !others.is_empty() {
            let shown = name_for_message(&name);
            self.warn(format!("The file holds the programs `{}` too; only `{shown}` is shown.", others.join("`, `")));
        }
        let record = format!("models/{name}.json");
        let place = self.archive.find(&record).ok_or_else(|| other(format!("has no record `{record}`")))?;
        let program = self.json(&record, place)?;
        let big_endian = byte_order(self.path, &self.bytes, &mut self.archive)?;
        let mut weights = Vec::new();
        for (folder, kind) in [("data/weights", "weights"), ("data/constants", "constants")] {
            let config = format!("{folder}/{name}_{kind}_config.json");
            let Some(place) = self.archive.find(&config) else { continue };
            let Config { config: schema::Pairs(payloads) } = self.json(&config, place)?;
            for (full_name, payload) in payloads {
                if kind == "weights" {
                    let kind = if payload.is_param { TensorKind::Parameter } else { TensorKind::Unknown };
                    weights.push((full_name.clone(), kind));
                }
                self.tensor(folder, full_name, &payload, big_endian)
                    .map_err(|failure| failure.error(|what| self.fault(&config, place, what)))?;
            }
        }
        Ok(Found { record, place, program, weights })
    }

    fn warn(&mut self, warning: String) {
        self.checkpoint.warnings.push(warning);
    }

    /// List a tensor of the newer layout.
    fn tensor(&mut self, folder: &str, name: String, payload: &Payload, big_endian: bool) -> Result<(), Failure> {
        // Objects that are no tensors are among the constants.
        let Some(meta) = &payload.tensor_meta else { return Ok(()) };
        let record = format!("{folder}/{}", payload.path_name);
        if payload.use_pickle {
            return self.nested(&record, Some(&name)).map_err(Failure::Error);
        }
        let shown = name_for_message(&name);
        let fault = |what: String| Failure::Words(format!("tensor `{shown}`: {what}"));
        let (mut dtype, mut problem) = (dtype(meta.dtype).unwrap_or(Dtype::Unknown), None);
        if dtype == Dtype::Unknown {
            problem = Some(format!("elements of type number {} are not read", meta.dtype));
        }
        if meta.layout != STRIDED {
            problem = Some("is sparse; its indices and values are not read".to_owned());
            dtype = Dtype::Unknown;
        }
        let (shape, strides) = (numbers(&meta.sizes), numbers(&meta.strides));
        let offset = number(&meta.storage_offset);
        let (Some(shape), Some(strides), Some(offset)) = (shape, strides, offset) else {
            return Err(fault("a size, stride or offset that is no number".to_owned()));
        };
        let storage = match self.archive.find(&record) {
            None => {
                problem.get_or_insert_with(|| format!("record `{}` is missing", name_for_message(&record)));
                None
            }
            Some(place) if place.method != Method::Stored => {
                problem.get_or_insert_with(|| {
                    "its record is compressed, which torch does not do; it is not read".to_owned()
                });
                None
            }
            Some(place) => Some(self.storage(&record, place, big_endian)),
        };
        let reach = Strided { shape: &shape, strides: &strides, offset }.reach().map_err(&fault)?;
        if let Some(storage) = storage.and_then(|index| self.checkpoint.storages.get(index)) {
            let holds = storage.bytes / dtype.size() as u64;
            if dtype != Dtype::Unknown && !reach.is_empty() && reach.end > holds {
                let key = name_for_message(&record);
                return Err(fault(format!("needs {} elements of `{key}`, which holds {holds}", reach.end)));
            }
        }
        let requires_grad = meta.requires_grad;
        let tensor = Tensor {
            name: name.into(),
            dtype,
            strides: odd_strides(&shape, strides.into()),
            shape: shape.into(),
            offset,
            storage: storage.and_then(|index| u32::try_from(index).ok()),
            requires_grad,
            shared_with: None,
            problem: problem.map(String::into_boxed_str),
        };
        self.checkpoint.tensors.push(tensor);
        Ok(())
    }

    fn storage(&mut self, record: &str, place: Record, big_endian: bool) -> usize {
        let storages = &mut self.checkpoint.storages;
        let index = *self.indices.entry(record.to_owned()).or_insert(storages.len());
        if index == storages.len() {
            storages.push(Storage {
                file: 0,
                offset: StorageOffset::ZipLocalHeader(place.header),
                bytes: place.size,
                big_endian,
            });
        }
        index
    }

    /// The flat layout.
    fn flat(&mut self) -> Result<Found, Error> {
        let record = FLAT_PROGRAM.to_owned();
        let Some(place) = self.archive.find(&record) else {
            let what = format!("has no record `{record}`");
            return Err(Error::Format { path: self.path.to_path_buf(), what });
        };
        let program = self.json(&record, place)?;
        let mut weights = Vec::new();
        for names in [FLAT_WEIGHTS, FLAT_CONSTANTS] {
            if let Some(name) = names.iter().find(|name| self.archive.find(name).is_some()) {
                self.nested(name, None)?;
            }
            if names == FLAT_WEIGHTS {
                let tensors = self.checkpoint.tensors.iter();
                weights.extend(tensors.map(|tensor| (tensor.name.to_string(), TensorKind::Unknown)));
            }
        }
        Ok(Found { record, place, program, weights })
    }

    /// The inputs that the program was made with. What is wrong with them is no fault of the model's: they are left out.
    fn samples(&mut self, name: &str) -> Option<Checkpoint> {
        let record = format!("data/sample_inputs/{name}.pt");
        let place = [record.as_str(), FLAT_SAMPLES].iter().find_map(|record| self.archive.find(record))?;
        if place.size == 0 || place.method != Method::Stored {
            return None;
        }
        let start = archive::data_offset(&self.bytes, place.header).ok()?.ok()?;
        let part = Bytes::Part { whole: Arc::clone(&self.bytes), start, length: place.size };
        let inner = Archive::open(self.path, &part).ok()?;
        torch_zip::every_tensor(self.path, part, inner).ok()
    }

    /// List the tensors of a `torch.save` archive that is a record, all under `name` if there is one.
    fn nested(&mut self, record: &str, name: Option<&str>) -> Result<(), Error> {
        let Some(place) = self.archive.find(record).filter(|place| place.size > 0) else { return Ok(()) };
        if place.method != Method::Stored {
            return Err(self.fault(record, place, "is compressed, which torch does not do".to_owned()));
        }
        let start = archive::data_offset(&self.bytes, place.header)?.map_err(|what| self.fault(record, place, what))?;
        let part = Bytes::Part { whole: Arc::clone(&self.bytes), start, length: place.size };
        let inner_error = |error: Error| self.fault(record, place, format!("the archive in it: {error}"));
        let inner = Archive::open(self.path, &part).map_err(inner_error)?;
        let mut inner = torch_zip::read(self.path, part, inner, None, None).map_err(inner_error)?;
        // The file itself is the first of the files.
        let file = u32::try_from(self.checkpoint.files.len() + 1).unwrap_or(u32::MAX);
        inner.storages.iter_mut().for_each(|storage| storage.file = file);
        if let Some(name) = name {
            inner.tensors.iter_mut().for_each(|tensor| tensor.name = name.into());
        }
        self.checkpoint.append(inner.tensors, inner.storages);
        self.checkpoint.files.extend(inner.files);
        self.checkpoint.warnings.extend(inner.warnings);
        if self.checkpoint.pickle.is_none() {
            self.checkpoint.pickle = inner.pickle;
        }
        Ok(())
    }

    fn finish(mut self, found: Found) -> Result<Checkpoint, Error> {
        tie(&mut self.checkpoint.tensors);
        let name = found.record.strip_prefix("models/").and_then(|name| name.strip_suffix(".json")).unwrap_or("model");
        let samples = self.samples(name);
        let fault = |what: String| self.fault(&found.record, found.place, what);
        let mut tree = Tree::new(&found.program, found.place.size).map_err(&fault)?;
        let mut names: HashMap<&str, TensorId> = HashMap::new();
        for (id, tensor) in self.checkpoint.tensors.iter().enumerate() {
            names.entry(&tensor.name).or_insert(id);
        }
        let mut absent = 0usize;
        for (full_name, kind) in owned(&found) {
            let tensor = names.remove(full_name);
            absent += usize::from(tensor.is_none());
            if tensor.is_some() {
                tree.own(full_name, OwnTensor { name: Default::default(), kind, tensor }).map_err(&fault)?;
            }
        }
        let (modules, ops) = tree.finish(&self.checkpoint.tensors);
        if absent > 0 {
            self.warn(format!("{absent} of the parameters and buffers that the program names are not in the file."));
        }
        self.checkpoint.warnings.extend(classless_warning(&modules));
        let mut checkpoint = self.checkpoint;
        checkpoint.warnings.splice(0..0, self.archive.warnings);
        checkpoint.content = Content::Modules(modules);
        checkpoint.ops = ops;
        checkpoint.samples = samples.map(Box::new);
        match graph::graph(&found.program) {
            Ok(graph) => checkpoint.graph = Some(graph),
            Err(what) => checkpoint.warnings.push(format!("The graph is not read: it {what}.")),
        }
        checkpoint.metadata = metadata(found.program);
        let bytes =
            Arc::try_unwrap(self.bytes).unwrap_or_else(|whole| Bytes::Part { start: 0, length: whole.length(), whole });
        checkpoint.files.insert(0, bytes);
        Ok(checkpoint)
    }
}

/// An error in words of a record, or one that names its place itself.
enum Failure {
    Words(String),
    Error(Error),
}

impl Failure {
    fn error(self, place: impl FnOnce(String) -> Error) -> Error {
        match self {
            Failure::Words(what) => place(what),
            Failure::Error(error) => error,
        }
    }
}

/// Say that modules have no class.
fn classless_warning(modules: &[FoundModule]) -> Option<String> {
    let mut classless = modules.iter().filter(|module| module.class.is_empty());
    let first = classless.next()?;
    let others = match classless.count() {
        0 => String::new(),
        1 => " and one more module".to_owned(),
        more => format!(" and {more} more modules"),
    };
    let path = name_for_message(if first.path.is_empty() { "the root" } else { &first.path });
    Some(format!("No step of the graph is in `{path}`{others}, so the file does not say what class it has."))
}

/// Full names and kinds of the tensors that modules own: the signature's parameters, its buffers, and weights that it does
/// not list.
fn owned(found: &Found) -> impl Iterator<Item = (&str, TensorKind)> {
    let specs = &found.program.graph_module.signature.input_specs;
    let parameters = specs.iter().filter_map(|spec| spec.parameter.as_ref()).map(|spec| spec.parameter_name.as_str());
    let buffers = specs.iter().filter_map(|spec| spec.buffer.as_ref()).map(|spec| spec.buffer_name.as_str());
    let listed: HashSet<&str> = parameters.clone().chain(buffers.clone()).collect();
    let unlisted = found.weights.iter().map(|(name, kind)| (name.as_str(), *kind));
    parameters
        .map(|name| (name, TensorKind::Parameter))
        .chain(buffers.map(|name| (name, TensorKind::Buffer)))
        .chain(unlisted.filter(move |(name, _)| !listed.contains(name)))
}

/// Name the first tensor of each that is the same view of the same storage.
fn tie(tensors: &mut [Tensor]) {
    let mut first = HashMap::new();
    for (id, tensor) in tensors.iter_mut().enumerate() {
        let Some(storage) = tensor.storage else { continue };
        let place = (storage, tensor.offset, tensor.dtype, tensor.shape.clone(), tensor.strides.clone());
        let elder = *first.entry(place).or_insert(id);
        tensor.shared_with = (elder != id).then_some(elder);
    }
}

fn metadata(program: Program) -> Map<String, Value> {
    let mut metadata = Map::new();
    let version = match &program.schema_version {
        Value::Object(version) => {
            let part = |name: &str| version.get(name).and_then(Value::as_i64).unwrap_or_default();
            json!(format!("{}.{}", part("major"), part("minor")))
        }
        other => other.clone(),
    };
    metadata.insert("schema_version".to_owned(), version);
    metadata.insert("torch_version".to_owned(), json!(program.torch_version));
    metadata.insert("opset_version".to_owned(), Value::Object(program.opset_version));
    metadata.insert("range_constraints".to_owned(), Value::Object(program.range_constraints));
    metadata
}

fn number(size: &schema::SymInt) -> Option<u64> {
    u64::try_from(size.as_int?).ok()
}

fn numbers(sizes: &[schema::SymInt]) -> Option<Vec<u64>> {
    sizes.iter().map(number).collect()
}

/// The types by their numbers in torch's schema (`ScalarType` of `torch/_export/serde/schema.py`).
fn dtype(number: i64) -> Option<Dtype> {
    Some(match number {
        1 => Dtype::UInt8,
        2 => Dtype::Int8,
        3 => Dtype::Int16,
        4 => Dtype::Int32,
        5 => Dtype::Int64,
        6 => Dtype::Float16,
        7 => Dtype::Float32,
        8 => Dtype::Float64,
        9 => Dtype::Complex32,
        10 => Dtype::Complex64,
        11 => Dtype::Complex128,
        12 => Dtype::Bool,
        13 => Dtype::BFloat16,
        28 => Dtype::UInt16,
        29 => Dtype::Float8E4M3FN,
        30 => Dtype::Float8E5M2,
        31 => Dtype::Float8E4M3FNUZ,
        32 => Dtype::Float8E5M2FNUZ,
        33 => Dtype::Float8E8M0FNU,
        34 => Dtype::UInt32,
        35 => Dtype::UInt64,
        _ => return None,
    })
}
