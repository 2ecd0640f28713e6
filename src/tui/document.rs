//! What the screen shows of an opened checkpoint, with sums that would be too slow to compute for every frame.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::nodes::Nodes;
use super::offer::Offer;
use super::panels::findings::{self as list, Finding};
use super::work::Keeping;
use crate::afar;
use crate::architecture::{self, Architecture};
use crate::both::both;
use crate::export::state_dict::known_share;
use crate::filter::{Facts, Kept};
use crate::findings::blockers::Serious;
use crate::findings::ops::{self, Counts};
use crate::findings::{Blockers, Folders, Headline, ToPort, to_port};
use crate::graph::inputs::{self, Takes};
use crate::model::{Model, Module, ModuleId, attributes};
use crate::open::Opened;
use crate::ports::{self, Port};
use crate::registry::{Registry, library};
use crate::source::{Blocker, ClassSource, Reach, Severity};
use crate::triage::{ModuleTriage, Status, Triage};
use crate::typed::Typed;
use crate::verify::Results;
use t2m_checkpoint::{Checkpoint, PickleGlobal};

/// A checkpoint as the screen sees it. It does not change once made.
#[derive(Debug, Clone)]
pub struct Document {
    /// The name of the file.
    pub name: String,
    /// Name of the format.
    pub format: String,
    /// Bytes of all files.
    pub bytes: u64,
    /// What a careful reader should know.
    pub warnings: Vec<String>,
    /// What the panel about the file says.
    pub about: About,
    /// What a model may be built by.
    pub offer: Offer,
    /// What an attribute that is typed is checked against; `None` where there is no file.
    pub checked: Option<Checked>,
    /// The file as the program knows it, for reports; `None` where there is no file.
    pub opened: Option<Opened>,
    /// The options that it was opened with, as arguments.
    pub arguments: Vec<String>,
    /// What was typed.
    pub typed: Arc<Typed>,
    /// What is kept of it of earlier runs, and where.
    pub keeping: Keeping,
    /// The modules.
    pub model: Arc<Model>,
    /// Their triage.
    pub triage: Arc<Triage>,
    /// What is said of the whole model.
    pub headline: Headline,
    /// The graph of the whole model, where there is one.
    pub nodes: Option<Arc<Nodes>>,
    /// What the graph takes.
    pub takes: Vec<Takes>,
    /// Whether a run has to be told its inputs, as the file does not.
    pub asks: bool,
    /// Folders that source was found in.
    pub folders: Folders,
    /// Says in one line what a module is, beginning with its class.
    pub describe: fn(&Module) -> String,
    /// Blockers and ops, the worst first.
    pub findings: Vec<Finding>,
    /// The forwards to port, the longest first.
    pub port: Vec<ToPort>,
    /// For each file and line with an op to look after, which of the findings that is: the worst of the line.
    marks: HashMap<Arc<str>, HashMap<usize, usize>>,
    /// How the ops of each class convert, by its full path.
    pub ops: HashMap<String, Counts>,
    serious: Vec<Serious>,
    /// Where the keys that go through the blockers stop: the places that the header counts, each once, in the first module that
    /// runs it. What is harmless stands in the list and under its line.
    stops: Vec<Place>,
    runnable: Vec<u32>,
    /// How many of those are their own reference.
    identities: Vec<u32>,
    /// Modules at each and below it that are run with assumed values.
    assumed: Vec<u32>,
    /// How many forwards there are to port at each module and below it.
    to_port: Vec<usize>,
    /// Modules at each and below it whose class is not known.
    unsaid: Vec<u32>,
    /// How many runnable modules come before each.
    ranks: Vec<u32>,
}

/// What an attribute that is typed is checked against.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The file, for the shapes of its tensors.
    pub checkpoint: Arc<Checkpoint>,
    /// The classes that there are.
    pub registry: Arc<Registry>,
}

/// What is in the file besides modules.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The path as it was given.
    pub path: String,
    /// Number of files.
    pub shards: usize,
    /// Number of tensors.
    pub tensors: usize,
    /// What the state dict was wrapped in, outermost first.
    pub wrappers: Vec<String>,
    /// The published model that names and shapes fit, for the heading.
    pub known_as: Option<String>,
    /// What is to be said of that, a line each.
    pub architecture: Vec<String>,
    /// Packages that say they have the model in MLX, a line each.
    pub ports: Vec<String>,
    /// The dicts of the file that hold weights.
    pub dicts: Vec<String>,
    /// Values that are not tensors.
    pub metadata: Map<String, Value>,
    /// What the pickle mentions; `None` where there is no pickle.
    pub pickle: Option<Pickle>,
    /// Tensors that cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
}

/// What a pickle mentions.
#[derive(Debug, Clone, Default)]
pub struct Pickle {
    /// Classes of the model's own modules outside of torch's list.
    pub module_classes: usize,
    /// Everything else outside of it.
    pub foreign: Vec<PickleGlobal>,
    /// Calls that would have been made.
    pub refused: Vec<String>,
    /// What torch's list knows.
    pub allowed: Vec<PickleGlobal>,
}

impl About {
    fn of(opened: &Opened) -> About {
        let checkpoint = &opened.checkpoint;
        let globals = checkpoint.pickle.iter().flat_map(|report| &report.globals);
        let allowed: Vec<PickleGlobal> = globals.filter(|global| global.allowed).cloned().collect();
        About {
            path: checkpoint.path.to_string_lossy().into_owned(),
            shards: checkpoint.shards,
            tensors: checkpoint.tensors.len(),
            wrappers: checkpoint.wrappers.clone(),
            known_as: opened.architecture.as_deref().map(Architecture::heading),
            architecture: {
                let lines = opened.architecture.as_deref().map(architecture::lines);
                let graph = opened.graph.as_deref().map(|graph| format!("graph: {}", graph.title()));
                lines.unwrap_or_default().into_iter().chain(graph).collect()
            },
            ports: ports::of(checkpoint, &opened.model, opened.architecture.as_deref())
                .iter()
                .map(Port::words)
                .collect(),
            dicts: checkpoint.dicts.clone(),
            metadata: checkpoint.metadata.clone(),
            pickle: opened.outside().map(|outside| Pickle {
                module_classes: outside.module_classes,
                foreign: outside.foreign.into_iter().cloned().collect(),
                refused: outside.refused.into_iter().map(str::to_owned).collect(),
                allowed,
            }),
            unreadable: checkpoint
                .tensors
                .iter()
                .filter_map(|tensor| Some((tensor.name.to_string(), tensor.problem.as_deref()?.to_owned())))
                .collect(),
        }
    }

    /// Names in the pickle that are worth a look: what could run code, and what is neither on torch's list, nor a class of the
    /// model, nor of a known library.
    pub fn notable(&self) -> impl Iterator<Item = &PickleGlobal> {
        let foreign = self.pickle.iter().flat_map(|pickle| &pickle.foreign);
        foreign.filter(|global| global.dangerous || library(&global.name).is_none())
    }

    /// Whether a dict is the one that is shown; `None` where all are, side by side.
    pub fn is_shown(&self, dict: &str) -> Option<bool> {
        let path = self.wrappers.join(".");
        let is_one = |dict: &str| path == dict || path.strip_prefix(dict).is_some_and(|rest| rest.starts_with('.'));
        self.dicts.iter().any(|dict| is_one(dict)).then(|| is_one(dict))
    }

    /// What the user must hear on opening.
    pub fn alarm(&self) -> Option<String> {
        let mut notable = self.notable();
        let first = notable.next()?;
        let more = match notable.count() {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        let what = if first.dangerous { "could run code with" } else { "names" };
        Some(format!("the pickle {what} {}{more}, outside torch's weights_only list; nothing was run: i", first.name))
    }
}

/// Source to show for a module.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The module whose class it is: the module itself or its nearest ancestor with source.
    pub owner: ModuleId,
    /// The source.
    pub source: &'a ClassSource,
}

/// A place in the source of a module's class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The module.
    pub module: ModuleId,
    /// 1-based row in the listing of its class's source: the line of its file, unless lines are listed behind the forward.
    pub line: usize,
}

impl Document {
    /// From an opened checkpoint.
    pub fn of(opened: &Opened) -> Document {
        // Of a large model the share of the weights takes as long as all the rest.
        let (weights, mut document) = both(|| known_share(opened), || Document::without_weights(opened));
        document.headline.weights = weights;
        document
    }

    fn without_weights(opened: &Opened) -> Document {
        let checkpoint = &opened.checkpoint;
        let path = checkpoint.path.as_path();
        // Of an address all of it: a model's name says little without whose it is.
        let name = path.file_name().filter(|_| !afar::is_address(path)).unwrap_or(path.as_os_str());
        let name = name.to_string_lossy().into_owned();
        let mut document = Document::new(name, opened.model.clone(), opened.triage.clone());
        document.format = checkpoint.format.name().to_owned();
        document.bytes = checkpoint.bytes;
        document.warnings.clone_from(&checkpoint.warnings);
        document.about = About::of(opened);
        document.typed = opened.typed.clone();
        let (checkpoint, registry) = (opened.checkpoint.clone(), opened.registry.clone());
        document.opened = Some(opened.clone());
        document.checked = Some(Checked { checkpoint, registry });
        document.findings.extend(list::all_ops(opened));
        document.marks = marks(&document.findings);
        document.ops = ops::counts(opened);
        document.port = to_port::of(&opened.model, &opened.triage, &document.ops, opened.architecture.as_deref());
        document.nodes = Nodes::of(opened).map(Arc::new);
        if document.nodes.is_some() {
            let takes = inputs::takes(&opened.checkpoint, opened.whole_graph(), opened.outline.as_deref());
            // Why it cannot be told is said when it is run.
            document.takes = takes.unwrap_or_default();
            let has_samples = opened.checkpoint.samples.is_some();
            document.asks = !has_samples && document.takes.iter().any(|one| one.is_needed && !one.is_told);
        }
        document
    }

    /// From a model and its triage; format, size, warnings and the share of the weights are left empty.
    pub fn new(name: String, model: Arc<Model>, triage: Arc<Triage>) -> Document {
        let blockers = Blockers::of(&model, &triage);
        let serious = blockers.serious(&model);
        let findings = list::of_blockers(&blockers, &model, &triage);
        let mut stops: Vec<Place> = blockers
            .places
            .iter()
            .filter(|place| place.counts() && place.blocker.severity != Severity::Harmless)
            .filter_map(|place| list::place_of(place, &model, &triage))
            .collect();
        stops.sort_unstable();
        stops.dedup();
        let headline = Headline::of(&model, &triage, None);
        let of = |wanted: fn(&ModuleTriage) -> bool| {
            sum_up(&model, |id| u32::from(triage.modules.get(id).is_some_and(|at| wanted(at))))
        };
        let runnable = of(|at| at.plan.is_some());
        let identities = of(|at| at.plan.is_some() && at.is_by_definition());
        let assumed = of(ModuleTriage::is_assumed);
        let unsaid = sum_up(&model, |id| {
            let custom = triage.modules.get(id).is_some_and(|at| at.status == Status::Custom);
            u32::from(custom && model.modules.get(id).is_some_and(|module| module.class.is_empty()))
        });
        let to_port = headline.forwards.below(&model);
        let folders = Folders::of(&triage);
        let ranks = ranks(&triage);
        let port = to_port::of(&model, &triage, &HashMap::new(), None);
        Document {
            name,
            format: String::new(),
            bytes: 0,
            warnings: Vec::new(),
            about: About::default(),
            offer: Offer::default(),
            checked: None,
            opened: None,
            arguments: Vec::new(),
            typed: Arc::default(),
            keeping: Keeping::default(),
            model,
            triage,
            headline,
            nodes: None,
            takes: Vec::new(),
            asks: false,
            folders,
            describe: line,
            findings,
            port,
            marks: HashMap::new(),
            ops: HashMap::new(),
            serious,
            stops,
            runnable,
            identities,
            assumed,
            to_port,
            unsaid,
            ranks,
        }
    }

    /// Whether another one has the same modules, by their paths.
    pub fn is_alike(&self, other: &Document) -> bool {
        let paths =
            |document: &Document| document.model.modules.iter().map(|module| module.path.clone()).collect::<Vec<_>>();
        self.len() == other.len() && paths(self) == paths(other)
    }

    /// What is known of its modules, as filters ask for it.
    pub fn facts<'a>(&'a self, results: &'a Results, kept: &'a dyn Kept) -> Facts<'a> {
        let tensors = self.checked.as_ref().map_or(&[][..], |checked| &checked.checkpoint.tensors);
        Facts { model: &self.model, triage: &self.triage, tensors, results, kept }
    }

    /// Number of modules.
    pub fn len(&self) -> usize {
        self.model.modules.len()
    }

    /// Whether there is no module at all.
    pub fn is_empty(&self) -> bool {
        self.model.modules.is_empty()
    }

    /// A module.
    pub fn module(&self, id: ModuleId) -> Option<&Module> {
        self.model.modules.get(id)
    }

    /// Its triage.
    pub fn triage(&self, id: ModuleId) -> Option<&ModuleTriage> {
        self.triage.modules.get(id).map(Arc::as_ref)
    }

    /// Places in source that stop or change a port and that the module or one below it runs, each once.
    pub fn serious_below(&self, id: ModuleId) -> usize {
        self.serious.get(id).map_or(0, |serious| serious.below)
    }

    /// How many modules of the subtree can be measured, nothing of them being assumed.
    pub fn runnable(&self, id: ModuleId) -> u32 {
        self.runnable.get(id).copied().unwrap_or(0)
    }

    /// How many of these a run has to measure: those that are their own reference are exact by definition.
    pub fn to_measure(&self, id: ModuleId) -> u32 {
        self.runnable(id).saturating_sub(self.identities.get(id).copied().unwrap_or(0))
    }

    /// How many modules of the subtree are run with assumed values.
    pub fn assumed(&self, id: ModuleId) -> u32 {
        self.assumed.get(id).copied().unwrap_or(0)
    }

    /// How many forwards there are to port in the subtree, each class once.
    pub fn to_port(&self, id: ModuleId) -> usize {
        self.to_port.get(id).copied().unwrap_or(0)
    }

    /// Modules of the subtree that have a forward of a class that is not known.
    pub fn unsaid(&self, id: ModuleId) -> usize {
        self.unsaid.get(id).map_or(0, |&count| count as usize)
    }

    /// Places in source that stop or change a port, each once however many modules run it.
    pub fn flags(&self) -> usize {
        self.headline.blockers.serious()
    }

    /// Its index among those modules of the subtree at `root` that can be measured.
    pub fn rank(&self, id: ModuleId, root: ModuleId) -> usize {
        let rank = |id: ModuleId| self.ranks.get(id).copied().unwrap_or(0);
        rank(id).saturating_sub(rank(root)) as usize
    }

    /// Parameters of the whole model.
    pub fn parameters(&self) -> u64 {
        self.model.parameters()
    }

    /// Blockers of the module's class that the module runs, each with the file that it is in and what reaches it.
    pub fn blockers(&self, id: ModuleId) -> impl Iterator<Item = (&str, &Blocker, Reach)> {
        self.triage.blockers(&self.model, id)
    }

    /// How many blockers in the module's own class stop or change a port, and how bad the worst of all is.
    pub fn serious(&self, id: ModuleId) -> (usize, Severity) {
        let counting = self.blockers(id).filter(|(.., reach)| reach.counts());
        let worst = counting.map(|(_, blocker, _)| blocker.severity).min();
        (self.serious.get(id).map_or(0, |serious| serious.own), worst.unwrap_or(Severity::Breaks))
    }

    /// The op to look after at a line of a file.
    pub fn op_at(&self, file: &str, line: usize) -> Option<&Finding> {
        self.findings.get(*self.marks.get(file)?.get(&line)?)
    }

    /// Every module that can be measured at `id` or below.
    pub fn runnable_below(&self, id: ModuleId) -> Vec<ModuleId> {
        let end = self.module(id).map_or(id, |module| module.end);
        (id..end)
            .filter(|&at| self.triage(at).is_some_and(|triage| triage.plan.is_some() || triage.is_assumed()))
            .collect()
    }

    /// The source to show for a module.
    pub fn source(&self, id: ModuleId) -> Option<Shown<'_>> {
        let mut at = Some(id);
        while let Some(owner) = at {
            let module = self.module(owner)?;
            if let Some(source) = self.triage.source(&module.class) {
                return Some(Shown { owner, source });
            }
            at = module.parent;
        }
        None
    }

    /// The child of `owner` by this name.
    pub fn child(&self, owner: ModuleId, name: &str) -> Option<ModuleId> {
        let end = self.module(owner)?.end;
        let mut at = owner + 1;
        while at < end {
            let module = self.module(at)?;
            if module.name == name {
                return Some(at);
            }
            at = module.end.max(at + 1);
        }
        None
    }

    /// The direct child of `owner` on the way to `id`.
    pub fn child_towards(&self, owner: ModuleId, id: ModuleId) -> Option<ModuleId> {
        let mut at = id;
        loop {
            let parent = self.module(at)?.parent?;
            if parent == owner {
                return Some(at);
            }
            at = parent;
        }
    }

    /// The blocker after (or before) a place, in the order of modules and lines, going round at the end: each place once,
    /// however many modules run it.
    pub fn blocker_from(&self, from: Place, forward: bool) -> Option<Place> {
        let next = if forward {
            self.stops.iter().find(|stop| **stop > from).or(self.stops.first())
        } else {
            self.stops.iter().rev().find(|stop| **stop < from).or(self.stops.last())
        };
        next.copied()
    }
}

/// The ops to look after, by file and line; the findings come with the worst first.
fn marks(findings: &[Finding]) -> HashMap<Arc<str>, HashMap<usize, usize>> {
    let mut marks: HashMap<Arc<str>, HashMap<usize, usize>> = HashMap::new();
    for (at, finding) in findings.iter().enumerate().filter(|(_, finding)| finding.kind.is_marked()) {
        for spot in &finding.spots {
            marks.entry(Arc::clone(&spot.file)).or_default().entry(spot.line).or_insert(at);
        }
    }
    marks
}

impl Document {
    /// The first blocker that counts among those of modules from `first` up to `end`.
    pub fn blocker_within(&self, first: ModuleId, end: ModuleId) -> Option<Place> {
        let of = |id: ModuleId| {
            let source = self.triage.source(&self.module(id)?.class)?;
            let mut blockers = self.blockers(id).filter(|(.., reach)| reach.counts());
            let (file, blocker, _) = blockers.find(|(_, blocker, _)| blocker.severity != Severity::Harmless)?;
            Some(Place { module: id, line: source.row_shown(&source.listing(), file, blocker.line) })
        };
        (first..end).find_map(of)
    }
}

/// For each module the sum of `own` over its subtree.
fn sum_up(model: &Model, own: impl Fn(ModuleId) -> u32) -> Vec<u32> {
    let mut sums: Vec<u32> = (0..model.modules.len()).map(own).collect();
    for id in (0..sums.len()).rev() {
        let below = sums.get(id).copied().unwrap_or(0);
        if let Some(sum) = parent_of(model, id).and_then(|parent| sums.get_mut(parent)) {
            *sum += below;
        }
    }
    sums
}

fn ranks(triage: &Triage) -> Vec<u32> {
    let runnable = triage.modules.iter().map(|at| u32::from(at.plan.is_some() || at.is_assumed()));
    runnable.scan(0, |before, own| Some(std::mem::replace(before, *before + own))).collect()
}

/// The parent, which in pre-order always comes before its child.
fn parent_of(model: &Model, id: ModuleId) -> Option<ModuleId> {
    model.modules.get(id).and_then(|module| module.parent).filter(|&parent| parent < id)
}

/// The class and its most important hyper-parameters.
fn line(module: &Module) -> String {
    let words = attributes::describe(module);
    if words.is_empty() { module.short_class().to_owned() } else { format!("{} {words}", module.short_class()) }
}
