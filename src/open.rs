//! Opening a checkpoint, up to its triage: every subcommand and the screen begin with this.

pub mod watch;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;

use crate::afar;
use crate::architecture::spec::InputSpec;
use crate::architecture::{self, Architecture, FromPython, Graph, Renamed};
use crate::both::both;
use crate::demo;
use crate::evidence;
use crate::files::{Inputs, Role};
use crate::graph::job::{Exported, Job};
use crate::model::{self, Evidence, Model};
use crate::registry::Registry;
use crate::rope;
use crate::script;
use crate::session::{self, Loaded, Place};
use crate::source::{Roots, Sources};
use crate::triage::{self, Status, Triage};
use crate::typed::{Edit, Typed};
use t2m_checkpoint::escape::{escape, quoted, sentence};
use t2m_checkpoint::progress;
use t2m_checkpoint::{Checkpoint, Dtype, PickleGlobal, PickleReport};
use watch::{Stage, Watch};

/// What the user asked to open, and the help that was named.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The checkpoint; `demo` is the built-in one.
    pub checkpoint: PathBuf,
    /// Python files, folders, site-packages.
    pub sources: Vec<PathBuf>,
    /// A Python whose `sys.path` is searched as well.
    pub python: Option<PathBuf>,
    /// An expression that builds the model, run by that Python: the user's code runs only when this is given.
    pub model: Option<String>,
    /// Inputs that the graph of that model is exported with; without one it is not exported.
    pub inputs: Vec<InputSpec>,
    /// Where it is written down how far the opening is, for a thread that waits.
    pub watch: Option<Watch>,
    /// Once this is set by another thread, the Python that builds the model is ended.
    pub stop: Option<Arc<AtomicBool>>,
    /// The folder of an environment whose site-packages are searched as well.
    pub environment: Option<PathBuf>,
    /// Registry files that add to the built-in one, or change it.
    pub registries: Vec<PathBuf>,
    /// Which dict of the file is the model, where there are several: a key, or a dotted path of keys.
    pub key: Option<String>,
    /// Attributes that the user has typed.
    pub typed: TypedFrom,
    /// Whether the file of its session is found out even if no session is kept of any checkpoint: the screen will write one.
    pub identify: bool,
    /// The type in which codes of eight bits with scales are the weights that they stand for, where that was asked.
    pub dequantized: Option<Dtype>,
}

/// Where attributes that the user has typed come from.
#[derive(Debug, Clone, Default)]
pub enum TypedFrom {
    /// There are none.
    #[default]
    Nothing,
    /// Those of the session that is kept there.
    Kept(Place),
    /// These.
    Given(Vec<Edit>),
}

impl Options {
    /// These options as arguments of a command, but for the checkpoint itself.
    pub fn arguments(&self) -> Vec<String> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let sources = self.sources.iter().map(|source| ("--source", path(source)));
        let python = self.python.iter().map(|python| ("--python", path(python)));
        let model = self.model.iter().map(|model| ("--model", model.clone()));
        let inputs = self.inputs.iter().map(|input| ("--input", input.to_string()));
        let registries = self.registries.iter().map(|registry| ("--registry", path(registry)));
        let key = self.key.iter().map(|key| ("--key", key.clone()));
        let all = sources.chain(python).chain(model).chain(inputs).chain(registries).chain(key);
        all.flat_map(|(option, value)| [option.to_owned(), value]).collect()
    }

    /// The files named besides the checkpoint, which may not have been read yet.
    pub fn inputs(&self) -> Inputs {
        let mut inputs = Inputs::default();
        self.registries.iter().for_each(|path| inputs.add(Role::Registry, path));
        self.python.iter().for_each(|path| inputs.add(Role::Python, path));
        for path in &self.sources {
            if path.is_dir() { inputs.add_searched(path) } else { inputs.add(Role::Source, path) }
        }
        inputs
    }
}

/// A checkpoint, understood. Cheap to clone and to send to other threads.
#[derive(Debug, Clone)]
pub struct Opened {
    /// What is in the file.
    pub checkpoint: Arc<Checkpoint>,
    /// Its modules.
    pub model: Arc<Model>,
    /// The registry that it was triaged with.
    pub registry: Arc<Registry>,
    /// The published model that its names and shapes fit.
    pub architecture: Option<Arc<Architecture>>,
    /// The graph of the model, where the user's Python exported one.
    pub graph: Option<Arc<Graph>>,
    /// The graph of a TorchScript file as far as the file alone tells it: enough to count its ops.
    pub outline: Option<Arc<t2m_checkpoint::graph::Graph>>,
    /// What the user has typed of it.
    pub typed: Arc<Typed>,
    /// What is kept of it of earlier runs, where that was asked for.
    pub kept: Arc<Loaded>,
    /// The triage.
    pub triage: Arc<Triage>,
    /// Every file that was read for it.
    pub inputs: Arc<Inputs>,
    /// Where source is looked for.
    pub roots: Arc<Roots>,
}

/// What a pickle mentions outside of torch's `weights_only` list.
#[derive(Debug)]
pub struct Outside<'a> {
    /// How many of them are classes of the model's own modules, which is what a whole pickled module is made of.
    pub module_classes: usize,
    /// The others, which are worth a look: dangerous ones first, otherwise in the order of their occurrence.
    pub foreign: Vec<&'a PickleGlobal>,
    /// The refused calls that belong to the others.
    pub refused: Vec<&'a str>,
}

impl Opened {
    /// The graph of the whole model: the file's own, or the one that `--input` exported.
    pub fn whole_graph(&self) -> Option<&t2m_checkpoint::graph::Graph> {
        self.checkpoint.graph.as_ref().or_else(|| self.graph.as_ref()?.program.graph.as_ref())
    }

    /// Whether the file holds code of TorchScript's, which becomes a graph when it is run.
    pub fn has_code(&self) -> bool {
        self.checkpoint.script.as_ref().is_some_and(|script| !script.objects.is_empty())
    }

    /// The graph of the whole model as it can be run; `None` where there is none.
    pub fn job(&self) -> Option<Job> {
        if self.whole_graph().is_none() && !self.has_code() {
            return None;
        }
        let beside = self.graph.as_ref().filter(|_| self.checkpoint.graph.is_none());
        let exported = beside.map(|graph| {
            let (names, parameters) = (graph.names.clone(), graph.parameters.clone());
            Arc::new(Exported { program: Arc::clone(&graph.program), names, parameters })
        });
        Some(Job { checkpoint: Arc::clone(&self.checkpoint), exported, table: self.registry.aten() })
    }

    /// The graph whose ops are counted: the whole one, or the outline of the one that TorchScript's code becomes.
    pub fn counted_graph(&self) -> Option<&t2m_checkpoint::graph::Graph> {
        self.whole_graph().or(self.outline.as_deref())
    }

    /// What the checkpoint's pickle mentions outside of torch's list; `None` where the format has no pickle.
    pub fn outside(&self) -> Option<Outside<'_>> {
        self.checkpoint.pickle.as_ref().map(|report| outside(report, &self.model))
    }
}

fn outside<'a>(report: &'a PickleReport, model: &Model) -> Outside<'a> {
    let mut classes: HashSet<&str, RandomState> = HashSet::default();
    // One by one: a set would reserve room for the classes of a million modules.
    for module in &model.modules {
        classes.insert(&module.class);
    }
    let (modules, mut foreign): (Vec<&PickleGlobal>, Vec<&PickleGlobal>) = report
        .globals
        .iter()
        .filter(|global| !global.allowed)
        .partition(|global| classes.contains(global.name.as_str()) && !global.dangerous);
    foreign.sort_by_key(|global| !global.dangerous);
    let modules: HashSet<&str> = modules.iter().map(|global| global.name.as_str()).collect();
    let of_module = |refused: &str| refused.split_once('(').is_some_and(|(name, _)| modules.contains(name));
    let refused = report.refused.iter().map(String::as_str).filter(|refused| !of_module(refused)).collect();
    Outside { module_classes: modules.len(), foreign, refused }
}

/// Why it could not be opened, ready to be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] t2m_checkpoint::Error),
    /// The way to it.
    #[error(transparent)]
    Afar(#[from] afar::Error),
    /// A source.
    #[error(transparent)]
    Source(#[from] crate::source::locate::Error),
    /// A registry file.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    /// A model without a Python that could build it.
    #[error("--model names what a Python is to build: name that with --python EXE")]
    NoPython,
    /// Inputs without a model.
    #[error("--input says what a model takes: name that with --model EXPR, and its Python with --python EXE")]
    NoModel,
    /// The model that was asked for.
    #[error("{}: --model {}: {}", escape(&python.to_string_lossy()), quoted(model), sentence(reason))]
    Model {
        /// The Python.
        python: PathBuf,
        /// The expression.
        model: String,
        /// What went wrong, in words.
        reason: String,
    },
}

/// Say of a module whose tensor has another name that the file leaves out which that is: its module is not in the tree.
fn tell_ties(checkpoint: &Checkpoint, model: &Model, triage: &mut Triage) {
    for (name, tensor) in &checkpoint.ties {
        let own = |module: &model::Module| module.tensors.iter().find(|own| own.tensor == Some(*tensor)).cloned();
        let found = model.modules.iter().enumerate().find_map(|(id, module)| Some((id, own(module)?)));
        if let Some((id, own)) = found
            && let Some(triaged) = triage.modules.get_mut(id)
        {
            let words = format!(" Tied: its {} is `{}` too.", quoted(&own.name), quoted(name));
            Arc::make_mut(triaged).reason += &words;
        }
    }
}

/// What rotary embeddings need whose frequencies are scaled: weights show nothing of it, and a port without it is wrong.
fn scaled_rotary(model: &Model, triage: &Triage) -> Vec<String> {
    let mut said: indexmap::IndexMap<&str, &str> = indexmap::IndexMap::new();
    for (module, triaged) in model.modules.iter().zip(&triage.modules) {
        if rope::Rope::all(&module.attributes).iter().any(|(_, rope)| rope.is_scaled()) {
            said.entry(triaged.reason.as_str()).or_insert(module.path.as_str());
        }
    }
    said.into_iter().take(NAMED).map(|(reason, path)| format!("`{}`: {reason}", quoted(path))).collect()
}

/// How many classes are named whose source was not found.
const NAMED: usize = 4;

/// What is to be said where source was asked for and the model's own classes are not in it.
fn not_found(options: &Options, checkpoint: &Checkpoint, model: &Model, triage: &Triage) -> Option<String> {
    let asked = match (&options.python, options.sources.is_empty()) {
        (None, true) => return None,
        (Some(_), true) => "--python",
        (None, false) => "--source",
        (Some(_), false) => "--python and --source",
    };
    let custom = model.modules.iter().zip(&triage.modules).filter(|(_, triaged)| triaged.status == Status::Custom);
    let classes: indexmap::IndexSet<&str> = custom.map(|(module, _)| module.class.as_str()).collect();
    let missing: Vec<&str> =
        classes.iter().copied().filter(|class| !class.is_empty() && triage.source(class).is_none()).collect();
    let root_is_known = model.modules.first().is_some_and(|root| !root.class.is_empty());
    let inferred = model.modules.iter().any(|module| module.evidence == Evidence::Inferred);
    if missing.is_empty() {
        let why = "no class there builds modules of the names at the top of this model, and the file does not name one";
        return (!root_is_known && inferred && options.model.is_none())
            .then(|| format!("Nothing in what {asked} names was used: {why}."));
    }
    let shown: Vec<String> = missing.iter().take(NAMED).map(|class| format!("`{}`", quoted(class))).collect();
    let more = missing.len().checked_sub(NAMED).filter(|more| *more > 0);
    let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
    let version = checkpoint.config().and_then(|config| config.get("transformers_version")?.as_str());
    let made = version.map(|version| format!("; the model was saved by transformers {}", quoted(version)));
    Some(format!("The source of {}{more} is not in what {asked} names{}.", shown.join(", "), made.unwrap_or_default()))
}

/// The model that the user's Python builds, where that was asked for.
fn build(options: &Options, checkpoint: &mut Checkpoint, model: &mut Model) -> Result<Option<FromPython>, Error> {
    let Some(expression) = &options.model else {
        return if options.inputs.is_empty() { Ok(None) } else { Err(Error::NoModel) };
    };
    let python = options.python.as_deref().ok_or(Error::NoPython)?;
    let asked = architecture::Asked {
        python,
        model: expression,
        folders: &options.sources,
        inputs: &options.inputs,
        stop: options.stop.as_deref(),
    };
    let built = architecture::build(checkpoint, model, &asked).map_err(|reason| Error::Model {
        python: python.to_owned(),
        model: expression.clone(),
        reason,
    })?;
    if built.is_none() {
        checkpoint.warnings.push("The file holds its modules itself: what --model names was not built.".to_owned());
    }
    Ok(built)
}

/// The tree by the names that tensors have in the modules of their library, and what the source disagrees with in it.
fn by_names_of_modules(checkpoint: &Checkpoint, renamed: &Renamed, sources: &Sources) -> (Model, Vec<String>) {
    let mut model = model::build_renamed(checkpoint, &renamed.tensors);
    if let Some(class) = &checkpoint.root_class {
        model.name_root(class);
    }
    let told = evidence::from_source(checkpoint, &mut model, sources);
    (model, told)
}

/// How many modules are known by the source.
fn from_source(model: &Model) -> usize {
    model.modules.iter().filter(|module| module.evidence == Evidence::Source).count()
}

/// What is to be said of names that are not the modules'.
fn other_names(Renamed { count, file, name, .. }: &Renamed) -> String {
    let (file, name) = (quoted(file), quoted(name));
    match count {
        1 => format!("1 tensor has another name in the file than in its module: `{file}` is `{name}` in the tree."),
        _ => format!(
            "{count} tensors have other names in the file than in their modules, as transformers saves them: `{file}` is `{name}` in the tree, for one."
        ),
    }
}

/// From so many tensors on, finding out which session is a checkpoint's takes longer than starting a thread.
const MANY: usize = 2_000;

/// The modules of a checkpoint, and what is kept of it, where that is asked for. For that the file's directory and pickles are
/// gone through a second time, which need not wait for the modules.
fn modules_and_kept(options: &Options, checkpoint: &Checkpoint) -> (Model, Loaded) {
    let load = || match &options.typed {
        TypedFrom::Nothing | TypedFrom::Given(_) => Loaded::default(),
        TypedFrom::Kept(place) if options.identify => session::find(checkpoint, place),
        TypedFrom::Kept(place) => session::load(checkpoint, place),
    };
    if checkpoint.tensors.len() < MANY || !matches!(options.typed, TypedFrom::Kept(_)) {
        return (model::build(checkpoint), load());
    }
    let (kept, model) = both(load, || model::build(checkpoint));
    (model, kept)
}

/// Give the model what the user has typed of it.
fn take_typed(
    options: &Options,
    kept: &Loaded,
    checkpoint: &Checkpoint,
    model: &mut Model,
    registry: &Registry,
) -> Typed {
    let edits = match &options.typed {
        TypedFrom::Given(edits) => edits.clone(),
        TypedFrom::Nothing | TypedFrom::Kept(_) => kept.session.edits(),
    };
    let mut typed = Typed::apply(edits, checkpoint, model, registry);
    typed.warnings.extend(kept.told.iter().cloned());
    typed
}

/// Open and triage.
///
/// # Errors
/// The checkpoint, a source or a registry file cannot be used.
pub fn open(options: &Options) -> Result<Opened, Error> {
    let Some(watch) = options.watch.clone() else { return open_watched(options, &Watch::default()) };
    let listener = watch.clone();
    progress::told(move |progress| listener.hear(progress), || open_watched(options, &watch))
}

fn open_watched(options: &Options, watch: &Watch) -> Result<Opened, Error> {
    watch.begin(Stage::Beginning);
    let registry = Registry::load(&options.registries)?;
    let mut sources = Sources::new(&options.sources)?;
    if let Some(python) = &options.python {
        let stop = || options.stop.as_ref().is_some_and(|stop| stop.load(Ordering::SeqCst));
        sources.add_python_unless(python, stop)?;
    }
    if let Some(environment) = &options.environment {
        sources.add_environment(environment);
    }
    watch.begin(Stage::Reading);
    let mut checkpoint = if demo::is_demo(&options.checkpoint) {
        demo::add_source(&mut sources);
        demo::open()?
    } else {
        let path = afar::reach(&options.checkpoint, options.stop.as_ref())?;
        Checkpoint::open_as(&path, options.key.as_deref(), options.dequantized)?
    };
    let config = checkpoint.metadata.get("config");
    for (package, key) in [("transformers", "transformers_version"), ("diffusers", "_diffusers_version")] {
        if let Some(version) = config.and_then(|config| config.get(key)?.as_str()) {
            sources.made_with(package, version);
        }
    }
    for source in &checkpoint.sources {
        sources.add_class(&source.class, &source.file, "from the checkpoint", &source.text);
    }
    watch.begin(Stage::Modules);
    let (mut model, kept) = modules_and_kept(options, &checkpoint);
    checkpoint.warnings.append(&mut model.warnings);
    if let Some(class) = &checkpoint.root_class {
        model.name_root(class);
    }
    watch.begin(if options.model.is_some() { Stage::Building } else { Stage::Sources });
    let built = build(options, &mut checkpoint, &mut model)?;
    let (built, graph) = match built {
        Some(FromPython { architecture, places, graph }) => {
            places.iter().for_each(|(class, file)| sources.add_place(class, file));
            (Some(architecture), graph.map(Arc::new))
        }
        None => (None, None),
    };
    watch.begin(Stage::Sources);
    let mut disagreements = evidence::from_source(&checkpoint, &mut model, &sources);
    if built.is_none()
        && let Some(renamed) = architecture::renamed(&checkpoint)
    {
        let (again, told) = by_names_of_modules(&checkpoint, &renamed, &sources);
        // A source of the time when the file's names were those of the modules stays.
        if from_source(&again) >= from_source(&model) {
            checkpoint.warnings.push(other_names(&renamed));
            (model, disagreements) = (again, told);
        }
    }
    if let (Some(_), true, Some(renamed)) = (&built, model.is_renamed, architecture::renamed(&checkpoint)) {
        checkpoint.warnings.push(other_names(&renamed));
    }
    checkpoint.warnings.extend(disagreements);
    watch.begin(Stage::Known);
    let architecture = built
        .or_else(|| architecture::configured(&mut checkpoint, &mut model))
        .or_else(|| architecture::know(&checkpoint, &mut model))
        .map(Arc::new);
    let typed = take_typed(options, &kept, &checkpoint, &mut model, &registry);
    checkpoint.warnings.extend(typed.warnings.iter().cloned());
    watch.begin(Stage::Triage);
    let mut triage = triage::triage(&checkpoint, &model, &registry, &sources);
    tell_ties(&checkpoint, &model, &mut triage);
    checkpoint.warnings.extend(scaled_rotary(&model, &triage));
    checkpoint.warnings.extend(not_found(options, &checkpoint, &model, &triage));
    checkpoint.warnings.extend(sources.budget().warnings());
    let mut inputs = Inputs::of(&checkpoint);
    inputs.extend(options.inputs());
    inputs.extend(sources.inputs());
    graph.iter().for_each(|graph| inputs.add(Role::Graph, &graph.file));
    // Code that no graph can be made of is told when it is run.
    let outline = checkpoint.script.as_ref().and_then(|_| script::outline(&checkpoint).ok()).map(Arc::new);
    Ok(Opened {
        outline,
        checkpoint: Arc::new(checkpoint),
        model: Arc::new(model),
        registry: Arc::new(registry),
        architecture,
        graph,
        typed: Arc::new(typed),
        kept: Arc::new(kept),
        triage: Arc::new(triage),
        inputs: Arc::new(inputs),
        roots: Arc::new(sources.roots()),
    })
}
