#![doc = include_str!("../README.md")]
//!
//! ## Where to begin
//!
//! [`Checkpoint::open`] tells the format by the content (not the name) and hands over to the reader of that format. Every
//! reader gives the same neutral description: tensors with their place in the file, and either the names alone
//! ([`Content::StateDict`]) or the modules that were pickled ([`Content::Modules`]). [`Checkpoint::read`] gives a tensor's
//! bytes, [`Checkpoint::reader`] gives them in pieces.

mod absent;
pub mod archive;
pub mod bytes;
pub mod check;
mod config;
mod content;
mod dcp;
mod dequantize;
mod described;
mod detect;
pub mod elements;
pub mod error;
pub mod escape;
mod exported;
pub mod float8;
mod folder;
pub mod graph;
mod hyper;
mod json;
mod literal;
mod llama;
mod made;
mod members;
pub mod mount;
mod npz;
mod objects;
mod optimizer;
mod packed;
pub mod pickle;
pub mod progress;
pub mod reader;
mod rebuild;
mod records;
mod renamed;
pub mod safetensors;
pub mod script;
mod sharded;
mod sources;
pub mod spare;
pub mod spread;
mod state_dict;
mod stream;
pub mod strided;
pub mod tensor;
mod ties;
pub mod torch_legacy;
mod torch_package;
pub mod torch_tar;
pub mod torch_zip;
mod torchscript;
mod weights;
mod wrapping;
mod zip;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use compact_str::format_compact;
use serde_json::{Map, Value};

pub use absent::{Absent, AbsentKind};
pub use bytes::{Bytes, FileId};
pub use content::{
    Content, EmbeddedSource, Format, FoundModule, OpUse, Origin, OwnTensor, PickleGlobal, PickleReport, TensorKind,
};
pub use described::DescribedModule;
pub use error::Error;
pub use literal::{Misread, assignments};
pub use packed::{Packed, Scheme};
pub use reader::TensorReader;
pub use spread::Spread;
pub use strided::Sizes;
use tensor::StorageOffset;
pub use tensor::{Dtype, Storage, Tensor, TensorData, TensorId};

/// An opened checkpoint: headers and pickle are read, tensor bytes are not.
#[derive(Debug)]
pub struct Checkpoint {
    /// The path as it was given; `demo` for the built-in one.
    pub path: PathBuf,
    /// What the content turned out to be.
    pub format: Format,
    /// Size of all files together, in bytes.
    pub bytes: u64,
    /// Number of files the tensors are in.
    pub shards: usize,
    /// Every tensor, in file order. A [`TensorId`] is an index here.
    pub tensors: Vec<Tensor>,
    /// The storages that the tensors view. A tensor names one by index.
    pub storages: Vec<Storage>,
    /// Names alone, or pickled modules.
    pub content: Content,
    /// What is not a tensor (epoch, hyper-parameters, the optimizer's shape), as plain values.
    pub metadata: Map<String, Value>,
    /// What the state dict was wrapped in, outermost first (`state_dict`, `module.`, `_orig_mod.`).
    pub wrappers: Vec<String>,
    /// The dicts of the file that hold weights, as `--key` takes them; empty where there is only one.
    pub dicts: Vec<String>,
    /// Names under which there are arrays of NumPy's in the place of tensors.
    pub(crate) arrays: Vec<String>,
    /// Full path of the root's class, where something beside the tensors tells it (a folder's config.json).
    pub root_class: Option<String>,
    /// What the pickle would have imported and called; `None` where the format has no pickle.
    pub pickle: Option<PickleReport>,
    /// Source of classes that the file carries; empty where it has none.
    pub sources: Vec<EmbeddedSource>,
    /// The ops that each module runs, where the file says (exported programs); empty for other formats.
    pub ops: Vec<OpUse>,
    /// The graph of the whole model, where the file holds one.
    pub graph: Option<graph::Graph>,
    /// The code and the objects of a TorchScript archive, of which a graph can be made.
    pub script: Option<script::Script>,
    /// The inputs that the graph was made with, where the file holds them: tensors in the order of the graph's user inputs.
    pub samples: Option<Box<Checkpoint>>,
    /// What a careful reader should know, one sentence each.
    pub warnings: Vec<String>,
    /// Weights that the model has and the file does not hold; the warnings say so.
    pub absent: Vec<Absent>,
    /// Tensors that are packed, scaled, or an adapter's; the warnings say so.
    pub packed: Vec<Packed>,
    /// Names of tensors that the file leaves out because they are the same as others in it, and those.
    pub ties: Vec<(String, TensorId)>,
    /// The config.json that lies beside the file; of a folder it is in the metadata.
    pub(crate) beside: Option<Map<String, Value>>,
    /// Tensors that are made of others as they are read, by the number that a storage names.
    pub(crate) made: Vec<made::Made>,
    /// The files, in the order that [`Storage::file`] counts.
    pub(crate) files: Vec<Bytes>,
}

impl Checkpoint {
    /// A checkpoint without tensors, which a reader fills.
    pub fn new(path: &Path, format: Format, content: Content) -> Checkpoint {
        Checkpoint {
            path: path.to_owned(),
            format,
            bytes: 0,
            shards: 1,
            tensors: Vec::new(),
            storages: Vec::new(),
            content,
            metadata: Map::new(),
            wrappers: Vec::new(),
            dicts: Vec::new(),
            arrays: Vec::new(),
            root_class: None,
            pickle: None,
            sources: Vec::new(),
            ops: Vec::new(),
            graph: None,
            script: None,
            samples: None,
            warnings: Vec::new(),
            absent: Vec::new(),
            packed: Vec::new(),
            ties: Vec::new(),
            beside: None,
            made: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Open a file, or the checkpoint in a folder. Headers and pickle are read, tensor bytes are not.
    ///
    /// ```
    /// use std::path::Path;
    /// use t2m_checkpoint::{Checkpoint, Format};
    ///
    /// # let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/state_dict.pt"));
    /// let checkpoint = Checkpoint::open(path)?;
    /// assert_eq!(checkpoint.format, Format::TorchZip);
    /// for tensor in &checkpoint.tensors {
    ///     println!("{} {} {:?}", tensor.name, tensor.dtype.name(), tensor.shape);
    /// }
    /// # assert!(!checkpoint.tensors.is_empty());
    /// # Ok::<(), t2m_checkpoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// The file cannot be read, is no checkpoint (the message says what it is), or is damaged (the message says where).
    pub fn open(path: &Path) -> Result<Checkpoint, Error> {
        Checkpoint::open_key(path, None)
    }

    /// [`Checkpoint::open`] with the dict that is the model, where a file holds several: its key, or a dotted path of keys
    /// (`ema`, `netG`, `ema.module`).
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; and there is no such dict, or no weights are in it.
    pub fn open_key(path: &Path, key: Option<&str>) -> Result<Checkpoint, Error> {
        Checkpoint::open_as(path, key, None)
    }

    /// [`Checkpoint::open_key`]; with a type, codes of eight bits that have scales are the weights that they stand for, in that
    /// type (bfloat16 or float32), and the scales are left out.
    ///
    /// # Errors
    /// As [`Checkpoint::open_key`]; and there are no such codes, or their scales do not fit them.
    pub fn open_as(path: &Path, key: Option<&str>, dequantized: Option<Dtype>) -> Result<Checkpoint, Error> {
        let mut opened = if mount::is_folder(path) {
            folder::open(path, key)?
        } else if let Some(parts) = llama::Parts::beside(path) {
            Checkpoint::of_parts(path, &parts, key)?
        } else {
            Checkpoint::open_file(path, key)?
        };
        opened.beside = config::beside(path);
        if let Some(dtype) = dequantized {
            dequantize::dequantize(&mut opened, dtype)?;
        }
        Ok(opened.examined())
    }

    /// The model of which these are the parts, or one of the parts, with the reason, where they cannot be joined.
    fn of_parts(path: &Path, parts: &llama::Parts, key: Option<&str>) -> Result<Checkpoint, Error> {
        let why = match parts.join(path)? {
            Ok(joined) => return joined.cleared(key),
            Err(why) => why,
        };
        let part = if mount::is_folder(path) { parts.first() } else { path.to_owned() };
        let mut one = Checkpoint::open_file(&part, key)?;
        one.metadata.insert("not_joined".to_owned(), Value::from(why));
        Ok(one)
    }

    /// The model's config.json: of the folder that was opened, or the folder that the file lies in.
    pub fn config(&self) -> Option<&Map<String, Value>> {
        self.metadata.get("config").and_then(Value::as_object).or(self.beside.as_ref())
    }

    /// A file, without what is found out of it as a whole.
    fn open_file(path: &Path, key: Option<&str>) -> Result<Checkpoint, Error> {
        match dcp::folder_of(path) {
            Some(folder) => dcp::open(&folder, key)?.cleared(key),
            None => Checkpoint::parse(path, Bytes::open(path)?, key),
        }
    }

    /// With what is absent and what is packed, by everything that was read.
    fn examined(mut self) -> Checkpoint {
        ties::find(&mut self);
        packed::find(&mut self);
        absent::find(&mut self);
        self
    }

    /// The format that a tensor is packed in, if it is.
    pub fn packed_as(&self, tensor: TensorId) -> Option<&Packed> {
        self.packed.iter().find(|packed| packed.tensors.binary_search(&tensor).is_ok())
    }

    /// As [`Checkpoint::open`], and NumPy's archives of arrays (`.npz`) as well, in which weights for MLX may be.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]. Of a GGUF file the message says how to make one that is read.
    pub fn open_arrays(path: &Path) -> Result<Checkpoint, Error> {
        if mount::is_file(path) {
            let bytes = Bytes::open(path)?;
            let mut buffer = [0u8; 4];
            let head = bytes.read_at_most(0, &mut buffer)?;
            if head == b"GGUF" {
                let what = "is a GGUF file (llama.cpp), which is not read; MLX does: in Python \
                            `mx.save_safetensors(\"theirs.safetensors\", mx.load(\"theirs.gguf\"))` writes one that is";
                return Err(Error::Format { path: path.to_path_buf(), what: what.to_owned() });
            }
            if archive::is_zip(head)
                && let Ok(archive) = archive::Archive::open(path, &bytes)
                && npz::is_npz(&archive)
            {
                return npz::read(path, bytes, &archive);
            }
        }
        Checkpoint::open(path)
    }

    /// Read a checkpoint out of bytes; `path` is used in messages, and to find the shards of an index.
    ///
    /// ```
    /// use std::path::Path;
    /// use t2m_checkpoint::{Bytes, Checkpoint};
    ///
    /// let header = br#"{"bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    /// let mut file = (header.len() as u64).to_le_bytes().to_vec();
    /// file.extend_from_slice(header);
    /// file.extend(1f32.to_le_bytes().into_iter().chain(2f32.to_le_bytes()));
    ///
    /// let checkpoint = Checkpoint::from_bytes(Path::new("two.safetensors"), Bytes::Owned(file))?;
    /// assert_eq!(checkpoint.read(0)?.to_f32(), Some(vec![1.0, 2.0]));
    /// # Ok::<(), t2m_checkpoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(path: &Path, bytes: Bytes) -> Result<Checkpoint, Error> {
        Checkpoint::parse(path, bytes, None).map(Checkpoint::examined)
    }

    fn parse(path: &Path, bytes: Bytes, key: Option<&str>) -> Result<Checkpoint, Error> {
        if let Some(index) = sharded::index(path, &bytes)? {
            return sharded::read(path, bytes.length(), index)?.cleared(key);
        }
        let read = match detect::detect(path, &bytes)? {
            Format::TorchLegacy => torch_legacy::read(path, bytes, key),
            Format::TorchTar => torch_tar::read(path, bytes, key),
            Format::Safetensors => safetensors::read(path, bytes),
            _ => zip::open(path, bytes, key),
        };
        read?.cleared(key)
    }

    /// The dict that was asked for, without what averages and wrappers leave among the weights and in their names.
    fn cleared(mut self, key: Option<&str>) -> Result<Checkpoint, Error> {
        if let Some(key) = key {
            weights::select(&mut self, key)?;
        }
        weights::set_counters_aside(&mut self);
        wrapping::unwrap_names(&mut self);
        renamed::new_names(&mut self);
        Ok(self)
    }

    /// Add a checkpoint's tensors under a name, with its files; what else it says stands in the metadata under that name.
    fn add_part(&mut self, name: &str, part: Checkpoint) {
        // Far from 32 bits: files are counted in hundreds.
        let (first_file, first_made, first_storage) =
            (self.files.len() as u32, self.made.len() as u32, self.storages.len() as u32);
        let storages = part.storages.into_iter().map(|storage| Storage {
            file: storage.file + first_file,
            offset: match storage.offset {
                StorageOffset::Made(number) => StorageOffset::Made(number + first_made),
                other => other,
            },
            ..storage
        });
        self.made.extend(part.made.into_iter().map(|made| made.moved(first_storage)));
        let tensors =
            part.tensors.into_iter().map(|tensor| Tensor { name: format_compact!("{name}.{}", tensor.name), ..tensor });
        self.append(tensors.collect(), storages.collect());
        self.files.extend(part.files);
        self.bytes = self.bytes.saturating_add(part.bytes);
        self.shards += part.shards;
        self.metadata.insert(name.to_owned(), Value::Object(part.metadata));
        let named = part.warnings.into_iter().map(|warning| format!("{}: {warning}", error::name_for_message(name)));
        self.warnings.extend(named);
        self.absent.extend(part.absent.into_iter().map(|absent| Absent { tensors: Vec::new(), ..absent }));
    }

    /// Keep some of a state dict's tensors. Of tensors that share their bytes the first that is kept is the first.
    fn keep_tensors(&mut self, keep: impl Fn(TensorId, &Tensor) -> bool) {
        let mut places: Vec<Option<TensorId>> = Vec::with_capacity(self.tensors.len());
        let mut kept: Vec<Tensor> = Vec::with_capacity(self.tensors.len());
        for (id, mut tensor) in std::mem::take(&mut self.tensors).into_iter().enumerate() {
            let keeps = keep(id, &tensor);
            let place = keeps.then_some(kept.len());
            let elder = tensor.shared_with;
            tensor.shared_with = elder.and_then(|elder| places.get(elder).copied().flatten());
            // The place of a first one that is left out goes to the next.
            if let Some(first) = elder.and_then(|elder| places.get_mut(elder)).filter(|first| first.is_none()) {
                *first = place;
            }
            places.push(place);
            if keeps {
                kept.push(tensor);
            }
        }
        self.tensors = kept;
    }

    /// The files that the tensors are in, or the bytes in memory, each once.
    pub fn sources_of_bytes(&self) -> Vec<&Bytes> {
        let mut known = HashSet::new();
        let whole = self.files.iter().map(Bytes::whole);
        whole.filter(|bytes| bytes.file_path().is_none_or(|path| known.insert(path))).collect()
    }

    /// What it was read from. Nothing for what is built in.
    pub fn origin(&self) -> Origin {
        let mut origin = Origin::default();
        let sources = self.sources_of_bytes();
        if sources.iter().any(|bytes| matches!(bytes, Bytes::Static(_) | Bytes::Owned(_))) {
            return origin;
        }
        origin.files.push(self.path.clone());
        origin.files.extend(sources.into_iter().map(Bytes::path));
        if mount::is_folder(&self.path) {
            let opened = self.metadata.get("file").and_then(Value::as_str);
            let names = opened.into_iter().chain([config::CONFIG, dcp::METADATA]);
            origin.files.extend(names.map(|name| self.path.join(name)));
            origin.folder = Some(self.path.clone());
        } else {
            let above = self.path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let sharded = matches!(self.format, Format::ShardedSafetensors | Format::ShardedTorch);
            if sharded || mount::is_file(&above.join(config::CONFIG)) {
                origin.folder = Some(above.to_owned());
            }
        }
        origin
    }

    /// Add tensors whose indices of storages and tensors count from the first of them.
    fn append(&mut self, tensors: Vec<Tensor>, storages: Vec<Storage>) {
        let (first_tensor, first_storage) = (self.tensors.len(), self.storages.len());
        self.storages.extend(storages);
        self.tensors.extend(tensors.into_iter().map(|tensor| Tensor {
            storage: tensor.storage.map(|index| index + first_storage as u32),
            shared_with: tensor.shared_with.map(|index| index + first_tensor),
            ..tensor
        }));
    }

    /// The bytes of one tensor, row-major and little-endian whatever its strides and byte order in the file.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use t2m_checkpoint::Checkpoint;
    /// # let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/big_endian.pt"));
    /// let checkpoint = Checkpoint::open(path)?;
    /// let data = checkpoint.read(0)?;
    /// assert_eq!(data.bytes.len(), data.shape.iter().product::<usize>() * data.dtype.size());
    /// # Ok::<(), t2m_checkpoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// The range is not in the file any more, or the dtype has no plain elements.
    pub fn read(&self, tensor: TensorId) -> Result<TensorData, Error> {
        self.reader(tensor)?.whole()
    }

    /// The bytes of one tensor in pieces, for one that may be too large for memory.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn reader(&self, tensor: TensorId) -> Result<TensorReader<'_>, Error> {
        TensorReader::new(self, tensor)
    }
}
