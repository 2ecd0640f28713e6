//! One tree of modules out of a checkpoint, whatever its format: a flat arena in pre-order.

pub mod alike;
pub mod attributes;
mod described;
pub mod infer;
pub(crate) mod neighbours;
mod places;
pub mod reparametrized;
mod told_by;
pub mod tree;

use std::collections::HashSet;
use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use foldhash::fast::RandomState;
use serde_json::{Map, Value};

use t2m_checkpoint::{Checkpoint, OwnTensor};

pub use described::Known;
pub use places::Places;
pub use told_by::{Origin, ToldBy};
pub use tree::{build, build_renamed};

/// Index of a module in [`Model::modules`].
pub type ModuleId = usize;

/// The module tree. `modules[0]` is the root; a module's descendants are `id + 1 .. modules[id].end`.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Pre-order, as `named_modules(remove_duplicate=False)` lists them.
    pub modules: Vec<Module>,
    /// What the tree cannot show as the file has it, one sentence each.
    pub warnings: Vec<String>,
    /// Where each path is.
    pub places: Places,
    /// Whether tensors have other names in it than in the file.
    pub is_renamed: bool,
}

/// One module: what it is and how that is known.
#[derive(Debug, Clone)]
pub struct Module {
    /// Dotted path, `""` for the root.
    pub path: CompactString,
    /// Last part of the path.
    pub name: CompactString,
    /// 0 for the root.
    pub depth: usize,
    /// `None` for the root.
    pub parent: Option<ModuleId>,
    /// One past the last descendant.
    pub end: ModuleId,
    /// Full class path (`torch.nn.modules.conv.Conv2d`), for inferred ones too; empty where nothing is known.
    pub class: CompactString,
    /// Other classes that fit as well, where names and shapes do not decide ("LayerNorm or GroupNorm"). Modules that
    /// are alike share the list.
    pub alternatives: Arc<[CompactString]>,
    /// How the class is known.
    pub evidence: Evidence,
    /// 0 to 1; 1 where the class was in the file.
    pub confidence: f32,
    /// Hyper-parameters, shared by modules that were inferred alike.
    pub attributes: Arc<Map<String, Value>>,
    /// What says those attributes that its evidence does not.
    pub told_by: ToldBy,
    /// Hyper-parameters that are not known, each with the list of the values that it has in what the module may be, and other classes
    /// that it may have, each with its attributes then; `None` where nothing was said of any.
    pub open: Option<Arc<Map<String, Value>>>,
    /// Its own parameters and buffers.
    pub tensors: Vec<OwnTensor>,
    /// Elements of its own parameters (buffers not counted where the file tells them apart).
    pub parameters: u64,
    /// Elements of the parameters of the module and its descendants, a shared tensor counted once.
    pub total_parameters: u64,
}

/// How a class is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A pickled object says so.
    Exact,
    /// A constructor call in the Python source says so.
    Source,
    /// The user's own Python built it, as it was asked to.
    Model,
    /// A published architecture says so, which names and shapes fit.
    Architecture,
    /// Names and shapes suggest it.
    Inferred,
}

impl Evidence {
    /// All of them, the surest first.
    pub const ALL: [Evidence; 5] =
        [Evidence::Exact, Evidence::Source, Evidence::Model, Evidence::Architecture, Evidence::Inferred];

    /// The word in JSON and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Evidence::Exact => "exact",
            Evidence::Source => "source",
            Evidence::Model => "model",
            Evidence::Architecture => "architecture",
            Evidence::Inferred => "inferred",
        }
    }
}

/// Classes that a model has for certain.
pub type Classes<'a> = HashSet<&'a str, RandomState>;

/// From this confidence on, the likeliest of several classes may be used.
const LIKELY: f32 = 0.9;

impl Module {
    /// The class without its package: `Conv2d`.
    pub fn short_class(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or("")
    }

    /// Whether an inferred class is used although others are possible: it is by far the likeliest, and the model has
    /// none of the others for certain. If some weights are transposed (Conv1D of transformers), a square one may be as
    /// well.
    pub fn is_likely(&self, certain: &Classes<'_>) -> bool {
        self.confidence >= LIKELY && !self.alternatives.iter().any(|class| certain.contains(class.as_str()))
    }

    /// Whether it has no children.
    pub fn is_leaf(&self, id: ModuleId) -> bool {
        self.end == id + 1
    }

    /// Its own tensor of that name, unless it is `None`.
    pub fn tensor(&self, name: &str) -> Option<t2m_checkpoint::TensorId> {
        self.tensors.iter().find(|own| own.name == name).and_then(|own| own.tensor)
    }
}

impl Model {
    /// Elements of all parameters.
    pub fn parameters(&self) -> u64 {
        self.modules.first().map_or(0, |root| root.total_parameters)
    }

    /// Give the root the class that something beside the weights names, such as a folder's config.json, unless it has
    /// one.
    pub fn name_root(&mut self, class: &str) {
        if let Some(root) = self.modules.first_mut()
            && root.class.is_empty()
        {
            root.class = class.into();
            // The file names the class; its module follows from the library's conventions.
            root.confidence = 0.9;
        }
    }

    /// The classes of those modules that have only one possible class.
    pub fn certain_classes(&self) -> Classes<'_> {
        let certain = self.modules.iter().filter(|module| module.alternatives.is_empty());
        certain.map(|module| module.class.as_str()).collect()
    }

    /// A tensor of a module or of a module below it, by its name relative to the module; `None` if it is torch's None.
    pub fn tensor(&self, id: ModuleId, name: &str) -> Option<t2m_checkpoint::TensorId> {
        let module = self.modules.get(id)?;
        let Some((below, own)) = name.rsplit_once('.') else { return module.tensor(name) };
        let path = if module.path.is_empty() { below.to_owned() } else { format!("{}.{below}", module.path) };
        self.modules.get(self.place(id, &path)?)?.tensor(own)
    }

    /// What the file calls a tensor of a module: its path and its own name, but where the tree has other names than the file.
    pub fn name_in_file(&self, checkpoint: &Checkpoint, id: ModuleId, own: &OwnTensor) -> CompactString {
        let path = self.modules.get(id).map_or("", |module| module.path.as_str());
        let whole = if path.is_empty() { own.name.as_str().into() } else { format_compact!("{path}.{}", own.name) };
        let tensor = own.tensor.filter(|_| self.is_renamed).and_then(|tensor| checkpoint.tensors.get(tensor));
        match tensor {
            // One that the file leaves out has its own.
            Some(tensor) if checkpoint.ties.iter().all(|(tied, _)| *tied != whole) => tensor.name.clone(),
            _ => whole,
        }
    }

    /// The module of that name directly below one.
    pub fn child(&self, id: ModuleId, name: &str) -> Option<ModuleId> {
        self.children(id).find(|child| self.modules.get(*child).is_some_and(|child| child.name == name))
    }

    /// The modules directly below one, in their order.
    pub fn children(&self, id: ModuleId) -> impl Iterator<Item = ModuleId> + '_ {
        let end = self.modules.get(id).map_or(0, |module| module.end);
        let next = move |at: ModuleId| Some(at).filter(|at| *at < end);
        std::iter::successors(next(id + 1), move |at| next(self.modules.get(*at)?.end.max(at + 1)))
    }

    /// The module at a path.
    pub fn find(&self, path: &str) -> Option<ModuleId> {
        self.place(0, path)
    }

    /// The module at a full path that is a module or below it.
    pub fn place(&self, id: ModuleId, path: &str) -> Option<ModuleId> {
        self.places.find(&self.modules, id..self.modules.get(id)?.end, path)
    }
}
