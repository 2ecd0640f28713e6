//! What a file holds beside tensors, and in which format: modules, sources, the mentions of a pickle.

use std::path::PathBuf;

use compact_str::CompactString;
use serde_json::{Map, Value};

use super::TensorId;

/// The formats, named as `inspect --format json` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A `torch.save` zip archive.
    TorchZip,
    /// A `torch.jit.save` archive, scripted or traced.
    TorchScript,
    /// A `torch.export.save` archive.
    ExportedProgram,
    /// A `torch.save` stream of pickles (before torch 1.6).
    TorchLegacy,
    /// A `torch.save` tar archive (before torch 0.1.10).
    TorchTar,
    /// A `torch.package` archive.
    TorchPackage,
    /// A safetensors file.
    Safetensors,
    /// An index of safetensors files.
    ShardedSafetensors,
    /// An index of `torch.save` files.
    ShardedTorch,
    /// A folder with a config.json, sharded or not.
    HfFolder,
    /// A folder written by `torch.distributed.checkpoint`.
    Dcp,
    /// NumPy's archive of arrays, as `mx.savez` writes it. Only [`Checkpoint::open_arrays`](super::Checkpoint::open_arrays) reads it.
    Npz,
    /// A folder with the components of a diffusers pipeline, each in a folder of its own.
    DiffusersPipeline,
    /// A folder with an adapter of peft's and its adapter_config.json.
    PeftAdapter,
}

impl Format {
    /// The name used in JSON and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Format::TorchZip => "torch-zip",
            Format::TorchScript => "torchscript",
            Format::ExportedProgram => "exported-program",
            Format::TorchLegacy => "torch-legacy",
            Format::TorchTar => "torch-tar",
            Format::TorchPackage => "torch-package",
            Format::Safetensors => "safetensors",
            Format::ShardedSafetensors => "sharded-safetensors",
            Format::ShardedTorch => "sharded-torch",
            Format::HfFolder => "hf-folder",
            Format::Dcp => "dcp",
            Format::Npz => "npz",
            Format::DiffusersPipeline => "diffusers-pipeline",
            Format::PeftAdapter => "peft-adapter",
        }
    }
}

/// The files that a checkpoint was read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Each file, an index and a folder's configuration among them.
    pub files: Vec<PathBuf>,
    /// The folder that is a model's: what lies in it belongs to the model.
    pub folder: Option<PathBuf>,
}

/// What a checkpoint says of its modules.
#[derive(Debug)]
pub enum Content {
    /// A state dict: the tensors' names are its keys. `_metadata` lists every module path, those without parameters too.
    StateDict {
        /// `(module path, version)` from `_metadata`, in its order; empty where there is none.
        module_versions: Vec<(String, Option<i64>)>,
    },
    /// Pickled `nn.Module`s in `named_modules(remove_duplicate=False)` order, the root (path `""`) first.
    Modules(Vec<FoundModule>),
}

/// One pickled module. Child modules follow it in the list; the path says where it belongs.
#[derive(Debug, Clone, Default)]
pub struct FoundModule {
    /// Dotted path from the root, `""` for the root.
    pub path: String,
    /// Full class path, `torch.nn.modules.conv.Conv2d`.
    pub class: String,
    /// Public attributes of the instance in their order (hyper-parameters); tuples are arrays, functions and classes
    /// their full path as a string, foreign objects `{"class": …}`, infinities and NaN strings.
    pub attributes: Map<String, Value>,
    /// Parameters, then buffers, those that are `None` included.
    pub tensors: Vec<OwnTensor>,
}

/// A parameter or buffer of one module.
#[derive(Debug, Clone)]
pub struct OwnTensor {
    /// Name within the module (`weight`).
    pub name: CompactString,
    /// Parameter, buffer, or not known (a bare state dict does not say).
    pub kind: TensorKind,
    /// The tensor, or `None` where the module holds None under that name (`bias=False`).
    pub tensor: Option<TensorId>,
}

/// What a tensor is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorKind {
    /// Trained.
    Parameter,
    /// State that is not trained (running statistics).
    Buffer,
    /// The format does not say.
    Unknown,
}

/// Python source in a checkpoint. It is shown, never run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedSource {
    /// Full path of the class, as [`FoundModule::class`] gives it.
    pub class: String,
    /// The Python file as it was recorded when the checkpoint was written.
    pub file: String,
    /// The text: the class alone, or the whole file. Where an archive keeps only methods (TorchScript) they stand at the
    /// lines that they have in that file, below a `class` line that stands for the real one.
    pub text: String,
    /// 1-based line of the first thing in the text that was recorded.
    pub line: usize,
    /// Where in the checkpoint it comes from (`code/__torch__/nets.py.debug_pkl`).
    pub record: String,
}

/// How often a module runs an op, its children not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpUse {
    /// Path of the module, `""` for the root.
    pub module: String,
    /// The op as the file names it (`torch.ops.aten.conv2d.default`).
    pub op: String,
    /// Nodes of the graph.
    pub count: u64,
    /// Where the model's own code asks for it: Python file and 1-based line as recorded, each once, the first sixteen.
    pub places: Vec<(String, usize)>,
}

/// What a pickle refers to. Nothing of it was imported or called.
#[derive(Debug, Clone, Default)]
pub struct PickleReport {
    /// Every global in first-seen order.
    pub globals: Vec<PickleGlobal>,
    /// Calls that were refused, in words: what would have been called, and at which byte.
    pub refused: Vec<String>,
}

/// One `module.name` that the pickle mentions.
#[derive(Debug, Clone)]
pub struct PickleGlobal {
    /// `collections.OrderedDict`
    pub name: String,
    /// Whether torch's `weights_only` unpickler knows it; in a TorchScript archive, its own classes too.
    pub allowed: bool,
    /// Whether it is one that pickles are abused with (`posix.system`, `builtins.eval`).
    pub dangerous: bool,
    /// How often it is mentioned.
    pub count: u64,
}
