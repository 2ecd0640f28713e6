//! Joins model, registry and source: a status with a reason for every module.

mod gives;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::contradicted;
use crate::figures::share;
use crate::model::{Classes, Model, Module, ModuleId, alike, reparametrized};
use crate::plan::blocks::{self, Block};
use crate::plan::recipes::{self, Site};
use crate::plan::{Assumed, Call, Plan, Refusal, Way, assumed};
use crate::registry::{Attribute, Difficulty, Layer, Owner, Registry, RowStatus, library};
use crate::rope;
use crate::source::inference::{self, Gives, Question, Reached};
use crate::source::{Blocker, ClassSource, Reach, Sources};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::progress::{self, Of};
use t2m_checkpoint::{Checkpoint, Tensor, TensorKind};

/// What the registry says of a module (the words are ARCHITECTURE.md's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The MLX layer of the same meaning, weights unchanged or by one rule.
    Direct,
    /// Convertible, but more than a rename.
    Recipe,
    /// A hyper-parameter that changes the result is not known.
    Incomplete,
    /// No conversion.
    Unsupported,
    /// Sequential, ModuleList, ModuleDict.
    Container,
    /// A module with a forward of its own, of a library or of the user's.
    Custom,
    /// A leaf that no row covers.
    Unknown,
}

impl Status {
    /// Every status, in the order the screen lists them.
    pub const ALL: [Status; 7] = [
        Status::Direct,
        Status::Recipe,
        Status::Incomplete,
        Status::Unsupported,
        Status::Container,
        Status::Custom,
        Status::Unknown,
    ];

    /// The word in JSON and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Status::Direct => "direct",
            Status::Recipe => "recipe",
            Status::Incomplete => "incomplete",
            Status::Unsupported => "unsupported",
            Status::Container => "container",
            Status::Custom => "custom",
            Status::Unknown => "unknown",
        }
    }

    /// Whether the module counts as convertible.
    pub fn converts(self) -> bool {
        matches!(self, Status::Direct | Status::Recipe)
    }
}

/// Triage of a whole model.
#[derive(Debug, Default)]
pub struct Triage {
    /// One for each module of the model, by the same index; modules that are alike share it.
    pub modules: Vec<Arc<ModuleTriage>>,
    /// Source of each class that was found, by full class path.
    pub classes: BTreeMap<String, ClassSource>,
    /// What reaches the code of each module's class, by the same index; where it is missing the model runs it.
    pub reached: Vec<Option<Arc<Reached>>>,
    /// How much of the model the registry lists as convertible.
    pub coverage: Coverage,
}

/// What is known of one module.
#[derive(Debug, Clone)]
pub struct ModuleTriage {
    /// The verdict of the registry.
    pub status: Status,
    /// For `unsupported`.
    pub difficulty: Option<Difficulty>,
    /// The MLX layer (`nn.Conv2d`).
    pub mlx: Option<String>,
    /// Name of the weight rule.
    pub rule: Option<String>,
    /// What the conversion does beyond a rename, in words (`split in_proj, bias=True`).
    pub recipe: Option<String>,
    /// Why, in a sentence.
    pub reason: String,
    /// What the conversion would do; there for `direct` and `recipe` alone.
    pub plan: Option<Plan>,
    /// Hyper-parameters that are not known and change the result, as far as that is known; a class is `class`.
    pub unknown: Vec<String>,
    /// What is run instead, where the weights move in the same way whatever these are.
    pub assumed: Option<Box<Assumed>>,
    /// The block that it is or looks like.
    pub block: Option<Block>,
    /// Whether a registry file sets what it would ignore, as `reason` says: a run of it fails.
    pub ignores_setting: bool,
    /// The registry has a row of its class, and the source at hand computes something else.
    pub contradicted: bool,
}

impl ModuleTriage {
    /// Whether a run of it measures something: its plan, that of the block that it is as a whole, or what is assumed.
    pub fn can_run(&self) -> bool {
        self.runs().is_some() || self.assumed.is_some()
    }

    /// Whether a run of it tries values for what is not known.
    pub fn is_assumed(&self) -> bool {
        self.runs().is_none() && self.assumed.is_some()
    }

    /// What a run of the module runs: its plan, or that of the block that it is as a whole.
    pub fn runs(&self) -> Option<&Plan> {
        self.plan.as_ref().or(self.block.as_ref().and_then(|block| block.plan.as_ref()))
    }

    /// Whether it is its own reference: both sides run the identity.
    pub fn is_by_definition(&self) -> bool {
        self.runs().is_some_and(Plan::is_by_definition)
    }

    /// What it becomes in MLX, as a layer or as a block.
    pub fn target(&self) -> Option<&str> {
        let block = || self.block.as_ref().filter(|block| block.plan.is_some()).map(|block| block.name);
        self.mlx.as_deref().or_else(block)
    }
}

/// A module that torch.fx traced: the file holds the code that it was traced to.
const GRAPH_MODULE: &str = "torch.fx.graph_module.GraphModule";

/// Blockers of all modules together that are listed: each is listed for every module that runs it, and a model may have a
/// million modules.
const FINDINGS: usize = 100_000;

/// What every class is in the end: to inherit from it alone says nothing of what is computed.
const BARE_MODULE: &str = "torch.nn.modules.module.Module";

/// Triage a model: its classes' sources are looked up once each, every module gets its status.
pub fn triage(checkpoint: &Checkpoint, model: &Model, registry: &Registry, sources: &Sources) -> Triage {
    triage_called(checkpoint, model, registry, sources, &BTreeMap::new())
}

/// [`triage`] for samples, which say how some modules are called.
pub fn triage_called(
    checkpoint: &Checkpoint,
    model: &Model,
    registry: &Registry,
    sources: &Sources,
    calls: &BTreeMap<ModuleId, &Call>,
) -> Triage {
    let mut triage = Triage::default();
    let mut instances: HashMap<&str, usize, RandomState> = HashMap::default();
    for module in &model.modules {
        *instances.entry(&module.class).or_default() += 1;
    }
    let mut asked: HashSet<&str, RandomState> = HashSet::default();
    let mut room = FINDINGS;
    for module in &model.modules {
        // A class is looked up once: one that no source has may be that of a million modules.
        if module.class.is_empty() || !asked.insert(&module.class) {
            continue;
        }
        // torch's own layers that convert are in the registry; those that do not have a forward that must be ported. A
        // GraphModule's forward was made for this model.
        let converts = registry.layer(&module.class).is_none_or(|row| row.status != RowStatus::Unsupported);
        let known = module.class.starts_with("torch.") && converts && module.class != GRAPH_MODULE;
        if !known {
            let found = sources.class(&module.class).map(|mut source| {
                let times = instances.get(&*module.class).copied().unwrap_or(1);
                sources.keep_for(&module.class, &mut source, times, &mut room);
                (module.class.to_string(), source)
            });
            triage.classes.extend(found);
        }
    }
    let certain = model.certain_classes();
    triage.modules.reserve_exact(model.modules.len());
    let kinds = alike::first_of_kind(model, &checkpoint.tensors);
    for (id, &first) in kinds.iter().enumerate() {
        progress::step(Of::Modules, id as u64, kinds.len() as u64);
        // What is alike is triaged alike: nothing of it depends on where a module stands, but for how a sample calls it.
        if let Some(known) = triage.modules.get(first).filter(|_| calls.is_empty()) {
            triage.modules.push(Arc::clone(known));
            continue;
        }
        let mut triaged = triage_module(checkpoint, model, registry, &triage, &certain, id, calls.get(&id).copied());
        if !matches!(triaged.status, Status::Incomplete | Status::Unknown | Status::Unsupported) {
            triaged.block = blocks::of(checkpoint, model, registry, id);
        }
        triage.modules.push(Arc::new(triaged));
    }
    triage.coverage = triage.count_coverage(checkpoint, model);
    let replaced = triage.replaced(model);
    let question = Question {
        model,
        kinds: &kinds,
        classes: &triage.classes,
        replaced: &|id| replaced.get(id).copied().unwrap_or(false),
        gives: &|id| {
            let module = model.modules.get(id);
            module.map_or(Gives::Anything, |module| gives::of(module, triage.modules.get(id).map(Arc::as_ref)))
        },
        rank: &|tensor| checkpoint.tensors.get(tensor).map(|tensor| tensor.shape.len()),
        config: checkpoint.metadata.get("config").and_then(serde_json::Value::as_object),
    };
    triage.reached = inference::reached(sources, &question);
    triage
}

fn triage_module(
    checkpoint: &Checkpoint,
    model: &Model,
    registry: &Registry,
    triage: &Triage,
    certain: &Classes<'_>,
    id: ModuleId,
    call: Option<&Call>,
) -> ModuleTriage {
    let module = &model.modules[id];
    let packed = module.tensors.iter().find_map(|own| checkpoint.packed_as(own.tensor?));
    if let Some(packed) = packed {
        return ModuleTriage {
            difficulty: Some(Difficulty::Medium),
            ..without_row(Status::Unsupported, packed.doubt())
        };
    }
    if !module.alternatives.is_empty() && !all_containers(module, registry) && !module.is_likely(certain) {
        let assumed = assume_class(checkpoint, model, registry, id);
        let unknown = match &assumed {
            Some(assumed) => assumed.values.keys().cloned().collect(),
            None => vec![assumed::CLASS.to_owned()],
        };
        return ModuleTriage { unknown, assumed, ..without_row(Status::Incomplete, ambiguity(module)) };
    }
    let folds = reparametrized::weight_norm(checkpoint, model, id).is_some();
    if let Some((how, _)) = reparametrized::weight(model, id).filter(|_| !folds) {
        let reason = how.reason().to_owned();
        return ModuleTriage { difficulty: Some(Difficulty::Easy), ..without_row(Status::Unsupported, reason) };
    }
    let mut tensors = module.tensors.iter().filter_map(|own| checkpoint.tensors.get(own.tensor?));
    if tensors.any(Tensor::is_uninitialised) {
        let reason =
            "A lazy module that never saw an input: its tensors have no shape yet. Run the model once and save again.";
        return without_row(Status::Incomplete, reason.to_owned());
    }
    if let Some(reason) = overridden(module) {
        return without_row(Status::Custom, reason);
    }
    let inherited = match registry.layer(&module.class) {
        _ if folds => {
            reparametrized::plain_class(&module.class, registry).and_then(|base| named_anew(module, base, registry))
        }
        Some(_) => None,
        None => as_its_base(module, registry, triage.source(&module.class)),
    };
    let Some(row) = inherited.as_ref().or_else(|| registry.layer(&module.class)) else {
        return no_row(module, module.is_leaf(id), triage.source(&module.class));
    };
    let mut triaged = ModuleTriage {
        difficulty: row.difficulty,
        mlx: row.mlx.clone(),
        rule: row.rule.clone(),
        ..without_row(Status::Unsupported, rotary(module, row).unwrap_or_else(|| row.reason.clone()))
    };
    match row.status {
        RowStatus::Container => triaged.status = Status::Container,
        RowStatus::Unsupported => {}
        RowStatus::Direct | RowStatus::Recipe => {
            let site = Site { call, ..Site::new(checkpoint, model, registry, id, row) };
            match recipes::plan(&site) {
                Ok(plan) => {
                    let source = triage.source(&module.class).filter(|_| inherited.is_none());
                    if let Some(reason) = contradicted::by_source(module, row, &plan, source) {
                        return ModuleTriage { contradicted: true, ..without_row(Status::Custom, reason) };
                    }
                    let direct = row.status == RowStatus::Direct && plan.way == Way::Direct;
                    triaged.status = if direct { Status::Direct } else { Status::Recipe };
                    triaged.recipe = plan.way.words(", ");
                    triaged.mlx = Some(plan.mlx.kind.clone());
                    triaged.plan = Some(plan);
                }
                Err(refusal @ Refusal::Missing { .. }) => {
                    (triaged.status, triaged.reason) = (Status::Incomplete, refusal.words());
                    let assumed = match assumed::of_class(&site, module.open.as_deref()) {
                        Ok(assumed) => assumed,
                        Err(unknown) => return ModuleTriage { unknown, ..triaged },
                    };
                    let source = triage.source(&module.class).filter(|_| inherited.is_none());
                    if let Some(reason) = contradicted::by_source(module, row, &assumed.likeliest, source) {
                        return ModuleTriage { contradicted: true, ..without_row(Status::Custom, reason) };
                    }
                    triaged.unknown = assumed.values.keys().cloned().collect();
                    triaged.assumed = Some(Box::new(assumed));
                }
                Err(Refusal::Incomplete(reason)) => (triaged.status, triaged.reason) = (Status::Incomplete, reason),
                Err(Refusal::Unsupported(reason)) => {
                    // The layer converts, this configuration of it does not: rewriting the call is the usual way out.
                    triaged.difficulty = Some(Difficulty::Medium);
                    triaged.reason = reason;
                }
                Err(Refusal::Setting(reason)) => (triaged.ignores_setting, triaged.reason) = (true, reason),
            }
        }
    }
    triaged
}

/// What a rotary embedding needs in MLX, by its parameters: its row knows how it turns, and no scaling.
fn rotary(module: &Module, row: &Layer) -> Option<String> {
    let layout = match row.attributes.get("layout") {
        Some(Attribute::Constant(layout)) => layout.as_str(),
        _ => None,
    };
    let traditional = match layout {
        None => Some(false),
        Some("pairs") => Some(true),
        Some(_) => None,
    };
    // Positions of several axes are no mx.fast.rope's.
    let is_one = row.torch.as_deref() == Some("t2m.rotary") && !row.attributes.contains_key("axes");
    is_one.then(|| rope::port(&module.attributes, traditional)).flatten()
}

/// What was saved with an instance may compute something else than its class: a forward of its own, a hook.
fn overridden(module: &Module) -> Option<String> {
    if module.attributes.get("forward").is_some_and(|forward| !forward.is_null()) {
        return Some("This instance was saved with a forward of its own, which stands in for its class's.".to_owned());
    }
    let hook = ["_forward_hooks", "_forward_pre_hooks"].iter().find(|name| module.attributes.contains_key(**name))?;
    let hook = hook.trim_start_matches('_').replace('_', " ");
    Some(format!(
        "It was saved with {hook}, which may change what it computes: call their function where it is called."
    ))
}

/// The row of a class that is a layer of torch with another name: it inherits the forward and changes nothing.
fn as_its_base(module: &Module, registry: &Registry, source: Option<&ClassSource>) -> Option<Layer> {
    let source = source?;
    let base = registry.torch_class(source.stands_for.as_deref()?).filter(|base| *base != BARE_MODULE)?;
    let row = named_anew(module, base, registry)?;
    let short = base.rsplit('.').next().unwrap_or(base);
    let reason = format!("A {short} with a name of its own, as its source says. {}", row.reason);
    Some(Layer { reason, ..row })
}

/// The row of a layer of torch for a class that computes the same.
fn named_anew(module: &Module, base: &str, registry: &Registry) -> Option<Layer> {
    let row = registry.layer(base)?;
    let torch = row.torch.clone().or_else(|| Some(base.to_owned()));
    Some(Layer { class: module.class.to_string(), torch, ..row.clone() })
}

/// A module with children, or with a forward that was found, is one whose forward has to be ported; a leaf is unknown.
fn no_row(module: &Module, leaf: bool, source: Option<&ClassSource>) -> ModuleTriage {
    let forward = source.is_some_and(|source| source.forward.is_some());
    let torch = module.class.starts_with("torch.") && module.class != GRAPH_MODULE;
    let (status, reason) = match (module.class.is_empty(), leaf, forward) {
        (true, true, _) => (Status::Unknown, "Names and shapes do not tell what it is.".to_owned()),
        (true, false, _) => {
            (Status::Custom, "The file does not say its class: only its children are known.".to_owned())
        }
        (false, _, true) if !torch => {
            (Status::Custom, format!("{}: its forward has to be ported.", whose(module, source)))
        }
        (false, false, _) if torch => (
            Status::Custom,
            "A composite of torch without a row: its forward has to be rebuilt from its children.".to_owned(),
        ),
        (false, false, _) => {
            let whose = whose(module, source);
            let reason = format!("{whose}: its forward has to be ported; {} shows it.", source_option(module));
            (Status::Custom, reason)
        }
        (false, true, _) => {
            let reason = if torch || source.is_some() {
                "No row of the registry covers this class; --registry adds rows.".to_owned()
            } else {
                let (whose, option) = (whose(module, source), source_option(module));
                format!("{whose}: {option} shows what it computes, --registry says which layer it is like.")
            };
            (Status::Unknown, reason)
        }
    };
    without_row(status, reason)
}

/// Whose class it is, at the beginning of a sentence.
fn whose(module: &Module, source: Option<&ClassSource>) -> String {
    if module.class.as_str() == GRAPH_MODULE {
        return "A graph that torch.fx traced".to_owned();
    }
    let whose = owner(&module.class, source).with(module.short_class());
    quoted(&capitalised(&whose)).into_owned()
}

/// `your Net` at the beginning of a sentence; names stay as they are written.
fn capitalised(whose: &str) -> String {
    whose.strip_prefix("your ").map_or_else(|| whose.to_owned(), |class| format!("Your {class}"))
}

/// Whose a class is, by its name and by its source, where that was found.
pub fn owner<'a>(class: &'a str, source: Option<&ClassSource>) -> Owner<'a> {
    Owner::of(class, source.map(|source| (source.file.as_str(), source.origin.as_str())))
}

/// What finds the source of a class.
fn source_option(module: &Module) -> &'static str {
    if library(&module.class).is_some() { "--python" } else { "--source" }
}

/// Sequential, ModuleList or ModuleDict: whichever it is, its children are what converts.
fn all_containers(module: &Module, registry: &Registry) -> bool {
    let classes = std::iter::once(&module.class).chain(module.alternatives.iter());
    let mut rows = classes.map(|class| registry.layer(class));
    rows.all(|row| row.is_some_and(|row| row.status == RowStatus::Container))
}

fn ambiguity(module: &Module) -> String {
    let classes = std::iter::once(&module.class).chain(module.alternatives.iter());
    let names: Vec<_> = classes.map(|class| quoted(class.rsplit('.').next().unwrap_or(class))).collect();
    format!("Names and shapes allow {}: the class has to be known.", names.join(" or "))
}

fn without_row(status: Status, reason: String) -> ModuleTriage {
    ModuleTriage {
        status,
        difficulty: None,
        mlx: None,
        rule: None,
        recipe: None,
        reason,
        plan: None,
        unknown: Vec::new(),
        assumed: None,
        block: None,
        ignores_setting: false,
        contradicted: false,
    }
}

/// What is tried of a module that may be of several classes.
fn assume_class(checkpoint: &Checkpoint, model: &Model, registry: &Registry, id: ModuleId) -> Option<Box<Assumed>> {
    let module = model.modules.get(id)?;
    // What a norm or a mask computes of it is known of a known class only.
    if reparametrized::weight(model, id).is_some() || overridden(module).is_some() {
        return None;
    }
    let classes = std::iter::once(&module.class).chain(module.alternatives.iter()).map(|class| class.as_str());
    let rows = assumed::rows(registry, classes)?;
    let row = rows.first()?;
    assumed::of_classes(&Site::new(checkpoint, model, registry, id, row), &rows, module.open.as_deref()).map(Box::new)
}

impl Triage {
    /// The source of a class, if it was found.
    pub fn source(&self, class: &str) -> Option<&ClassSource> {
        self.classes.get(class)
    }

    /// Whether a module, or one that it is in, converts as a whole: its own code is nobody's to port.
    fn replaced(&self, model: &Model) -> Vec<bool> {
        let mut replaced = vec![false; model.modules.len()];
        for (id, module) in model.modules.iter().enumerate() {
            let above = module.parent.and_then(|parent| replaced.get(parent).copied()).unwrap_or(false);
            let own = self.modules.get(id).is_some_and(|triaged| triaged.status.converts());
            if let Some(it) = replaced.get_mut(id) {
                *it = above || own;
            }
        }
        replaced
    }

    /// The blockers that a module runs, or may run, or runs in training alone, each with its file and what reaches it.
    pub fn blockers<'a>(
        &'a self,
        model: &'a Model,
        id: ModuleId,
    ) -> impl Iterator<Item = (&'a str, &'a Blocker, Reach)> + 'a {
        let source = model.modules.get(id).and_then(|module| self.source(&module.class));
        let reached = self.reached.get(id).and_then(Option::as_deref);
        source.into_iter().flat_map(ClassSource::all_blockers).enumerate().filter_map(move |(at, (file, blocker))| {
            let reach =
                reached.map_or(Some(Reach::Inference), |reached| reached.blockers.get(at).copied().flatten())?;
            Some((file, blocker, reach))
        })
    }

    /// Elements of the parameters that a converting module owns, each tensor once however many modules share it.
    fn converting_parameters(&self, checkpoint: &Checkpoint, model: &Model) -> u64 {
        let mut seen = vec![false; checkpoint.tensors.len()];
        let mut elements = 0u64;
        let mut id = 0;
        while id < model.modules.len() {
            let end = if self.modules[id].status.converts() {
                // What converts takes its children's tensors with it (MultiheadAttention's out_proj).
                model.modules[id].end
            } else {
                id
            };
            for own in model.modules[id..end].iter().flat_map(|module| &module.tensors) {
                let tensor = own
                    .tensor
                    .filter(|_| own.kind != TensorKind::Buffer)
                    .and_then(|id| Some((id, checkpoint.tensors.get(id)?)));
                let Some((id, tensor)) = tensor else { continue };
                let seen = seen.get_mut(tensor.shared_with.unwrap_or(id));
                if seen.is_some_and(|seen| !std::mem::replace(seen, true)) {
                    elements = elements.saturating_add(tensor.elements());
                }
            }
            id = end.max(id + 1);
        }
        elements
    }

    fn count_coverage(&self, checkpoint: &Checkpoint, model: &Model) -> Coverage {
        if model.modules.is_empty() {
            return Coverage { layers: 1.0, parameters: 1.0 };
        }
        let converts = |&id: &ModuleId| self.modules[id].status.converts();
        let (layers, converting) = (self.layers(model).count(), self.layers(model).filter(converts).count());
        Coverage {
            layers: share(converting as u64, layers as u64),
            parameters: share(self.converting_parameters(checkpoint, model), model.parameters()),
        }
    }

    /// The modules that coverage counts and verify runs.
    pub fn layers(&self, model: &Model) -> impl Iterator<Item = ModuleId> {
        let modules = model.modules.iter().zip(&self.modules).enumerate();
        let counted = |(id, (module, triaged)): (ModuleId, (&Module, &Arc<ModuleTriage>))| {
            counts_as_layer(triaged.status, module.is_leaf(id)).then_some(id)
        };
        modules.filter_map(counted)
    }
}

/// Shares of the model that convert.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Coverage {
    /// Of the leaf layers, the share that is direct or recipe; 1 when there are none.
    pub layers: f64,
    /// Of the parameters, the share that sits in such layers.
    pub parameters: f64,
}

/// Whether a module is one of the layers that coverage counts: it converts as a whole, is refused as a whole, or is a leaf.
fn counts_as_layer(status: Status, leaf: bool) -> bool {
    match status {
        Status::Direct | Status::Recipe | Status::Incomplete | Status::Unsupported => true,
        Status::Unknown | Status::Custom => leaf,
        Status::Container => false,
    }
}
