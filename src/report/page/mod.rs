//! A report for colleagues who do not have the program: what a file holds, what of it converts, what was measured and what is left to
//! do, as a page of HTML that needs nothing besides itself, as Markdown, or as JSON. [`Page`] holds what is said; the formats show it.

mod chart;
mod html;
mod json;
mod markdown;
mod safe;
mod tree;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use crate::clock;
use crate::compare::{Trial, Verdict};
use crate::export::state_dict::known_share;
use crate::figures::{bytes, count, error, error_or_dash};
use crate::findings::{Blockers, Folders, Forwards, Headline};
use crate::model::{Module, ModuleId};
use crate::open::Opened;
use crate::triage::{ModuleTriage, Status};
use crate::verify::{Layer, Results, Sum};
use t2m_checkpoint::Dtype;

pub use write::{Error, Format, write};

/// What a report is made of.
#[derive(Debug, Clone)]
pub struct Record {
    /// The file, understood.
    pub opened: Opened,
    /// What was measured of it.
    pub results: Results,
    /// When and by which engines each layer was measured.
    pub made: BTreeMap<ModuleId, Made>,
    /// What somebody has noted.
    pub marks: Vec<Mark>,
    /// When the report is written, as text.
    pub written: String,
}

impl Record {
    /// What was measured of a file, and nothing that was kept of it; written now.
    pub fn new(opened: Opened, results: Results) -> Record {
        let (made, marks) = (BTreeMap::new(), Vec::new());
        Record { opened, results, made, marks, written: clock::utc(SystemTime::now()) }
    }
}

/// When and by which engines a layer was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Made {
    /// libtorch, its version and device.
    pub torch: String,
    /// MLX, its version and device.
    pub mlx: String,
    /// When, as text; empty where that is not known.
    pub at: String,
}

/// What somebody has noted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// Of what.
    pub on: On,
    /// `todo`, `done`, `skip`, or a word of their own; empty where there is only a note.
    pub mark: String,
    /// The note; empty where there is only a mark.
    pub note: String,
}

/// What a mark is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    /// A module, by its path.
    Module(String),
    /// Every module of a class, by its full path.
    Class(String),
}

impl Default for On {
    fn default() -> On {
        On::Module(String::new())
    }
}

/// Most rows of a list in HTML and Markdown; JSON has all.
const MOST_ROWS: usize = 1000;
/// Most modules of a group that are named.
const MOST_NAMED: usize = 6;

/// What is said, in the order in which it is shown.
pub(super) struct Page<'a> {
    record: &'a Record,
    headline: Headline,
    total: Sum,
    folders: Folders,
    /// Layers that have a verdict, in the model's order.
    layers: Vec<Row<'a>>,
    work: Vec<Work<'a>>,
    problems: Vec<Problem<'a>>,
    blockers: Blockers<'a>,
    /// By path and by class.
    marks: HashMap<&'a str, &'a Mark>,
    class_marks: HashMap<&'a str, &'a Mark>,
}

/// A layer that was measured.
struct Row<'a> {
    id: ModuleId,
    module: &'a Module,
    triaged: &'a ModuleTriage,
    layer: &'a Layer,
    verdict: Verdict,
    /// The worst trial that gives the verdict.
    worst: Option<&'a Trial>,
    by_definition: bool,
    made: Option<&'a Made>,
}

/// A forward that has to be ported.
struct Work<'a> {
    class: &'a str,
    modules: Vec<ModuleId>,
    /// Where its forward stands, and how many lines it has.
    place: Option<(String, usize, usize)>,
    /// Blockers that count in it.
    blockers: usize,
    /// Elements of the parameters that are its modules' own.
    parameters: u64,
    mark: Option<&'a Mark>,
}

/// What went wrong, or is refused, with everything that it is said of.
struct Problem<'a> {
    /// The verdict or the status.
    word: &'static str,
    class: &'a str,
    reason: String,
    modules: Vec<ModuleId>,
}

impl<'a> Page<'a> {
    fn of(record: &'a Record) -> Page<'a> {
        let Record { opened, results, .. } = record;
        let blockers = Blockers::of(&opened.model, &opened.triage);
        let headline = Headline::of(&opened.model, &opened.triage, known_share(opened));
        let (mut marks, mut class_marks) = (HashMap::new(), HashMap::new());
        for mark in &record.marks {
            match &mark.on {
                On::Module(path) => marks.insert(path.as_str(), mark),
                On::Class(class) => class_marks.insert(class.as_str(), mark),
            };
        }
        let layers: Vec<Row<'a>> = results.below(0).filter_map(|(id, layer)| row(record, id, layer)).collect();
        let work = work(opened, &headline.forwards, &blockers, &class_marks);
        let problems = problems(opened, &layers);
        let (total, folders) = (results.total(), Folders::of(&opened.triage));
        Page { record, headline, total, folders, layers, work, problems, blockers, marks, class_marks }
    }

    fn opened(&self) -> &'a Opened {
        &self.record.opened
    }

    /// The file's name, without folders.
    fn name(&self) -> String {
        let path = &self.opened().checkpoint.path;
        path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
    }

    /// `torch-zip · 4.7 MiB · 12 tensors · 1.2 M parameters`
    fn about(&self) -> String {
        let checkpoint = &self.opened().checkpoint;
        let (tensors, parameters) = (checkpoint.tensors.len(), self.opened().model.parameters());
        let format = checkpoint.format.name();
        format!("{format} · {} · {tensors} tensors · {} parameters", bytes(checkpoint.bytes), count(parameters))
    }

    /// The published model that it is, where one is known.
    fn known_as(&self) -> Option<String> {
        self.opened().architecture.as_deref().map(crate::architecture::Architecture::heading)
    }

    /// The facts of the whole, which are never one: a name and words for each.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts =
            vec![("weights", self.headline.weights_words()), ("behaviour", self.headline.behaviour_words())];
        facts.push(("measured", self.measured_words()));
        facts.push(("to port", self.headline.forwards_words()));
        facts.push(("blockers", self.headline.blockers_words()));
        facts
    }

    fn measured_words(&self) -> String {
        if self.layers.is_empty() {
            return "nothing is on record; space and a on the screen measure layers in both engines".to_owned();
        }
        let passed = self.total.passed_words(self.headline.to_measure());
        format!("{passed}; {}", self.total.words())
    }

    /// What somebody should know who reads on.
    fn warnings(&self) -> &'a [String] {
        &self.opened().checkpoint.warnings
    }

    /// Layers with something wrong, worst first; behind them the others by how near they are to their tolerance.
    fn by_badness(&self) -> Vec<&Row<'a>> {
        let mut rows: Vec<&Row<'a>> = self.layers.iter().collect();
        rows.sort_by(|left, right| right.rank().partial_cmp(&left.rank()).unwrap_or(std::cmp::Ordering::Equal));
        rows
    }

    /// Layers that were run as a plain rename would convert them, each with the worst of these.
    fn twins(&self) -> Vec<(&Row<'a>, &'a crate::verify::Twin)> {
        let worst = |row: &Row<'a>| row.layer.twins.iter().max_by_key(|twin| twin.verdict);
        self.layers.iter().filter_map(|row| Some((row, worst(row)?))).collect()
    }

    /// Layers that were run in half precision too.
    fn halves(&self) -> Vec<&Row<'a>> {
        self.layers.iter().filter(|row| HALF.iter().any(|dtype| row.layer.worst_in(*dtype).is_some())).collect()
    }

    /// Engines and what of them each result depends on, each once, with the number of layers and the first and last time.
    fn engines(&self) -> Vec<(String, usize, String)> {
        let mut sets: BTreeMap<(&str, &str), (usize, &str, &str)> = BTreeMap::new();
        for made in self.layers.iter().filter_map(|row| row.made) {
            let new = (0, made.at.as_str(), made.at.as_str());
            let (layers, first, last) = sets.entry((&made.torch, &made.mlx)).or_insert(new);
            *layers += 1;
            *first = made.at.as_str().min(first);
            *last = made.at.as_str().max(last);
        }
        let words = |((torch, mlx), (layers, first, last)): ((&str, &str), (usize, &str, &str))| {
            let when = if first == last { first.to_owned() } else { format!("{first} to {last}") };
            (format!("{torch} and {mlx}"), layers, when)
        };
        sets.into_iter().map(words).collect()
    }

    /// Marks on what is no forward to port: those stand beside it.
    fn other_marks(&self) -> Vec<&'a Mark> {
        let is_work = |mark: &Mark| matches!(&mark.on, On::Class(class) if self.work.iter().any(|work| work.class == class.as_str()));
        self.record.marks.iter().filter(|mark| !is_work(mark)).collect()
    }

    fn mark_of(&self, module: &Module) -> Option<&'a Mark> {
        self.marks.get(module.path.as_str()).or_else(|| self.class_marks.get(module.class.as_str())).copied()
    }
}

/// The types that are shown beside the one that gives the verdict.
const HALF: [Dtype; 2] = [Dtype::Float16, Dtype::BFloat16];

impl Row<'_> {
    /// What sorts rows: larger is worse. What is exact by definition comes last.
    fn rank(&self) -> (Verdict, f64) {
        let verdict = if self.verdict == Verdict::NotRun { Verdict::Exact } else { self.verdict };
        (verdict, self.worst.filter(|_| !self.by_definition).map_or(-1.0, Trial::badness))
    }

    /// The verdict as it is read: with what it says of the class.
    fn verdict_words(&self) -> String {
        let name = self.verdict.name();
        match &self.triaged.assumed {
            _ if self.by_definition => format!("{name} by definition"),
            Some(_) if self.triaged.is_assumed() => format!("{name} as assumed"),
            _ => name.to_owned(),
        }
    }

    /// Error, tolerance and their ratio.
    fn numbers(&self) -> [String; 3] {
        match self.worst.filter(|_| !self.by_definition) {
            Some(trial) => numbers(trial),
            None => ["–", "–", "–"].map(str::to_owned),
        }
    }
}

/// Error, tolerance and their ratio.
fn numbers(trial: &Trial) -> [String; 3] {
    [error_or_dash(trial.max_abs()), error(trial.tolerance), ratio(trial)]
}

/// `0.12 ×`: an error in units of its tolerance.
fn ratio(trial: &Trial) -> String {
    match trial.excess() {
        None => "another shape".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(excess) if !excess.is_finite() => "∞".to_owned(),
        Some(excess) if excess < 0.01 => "<0.01".to_owned(),
        Some(excess) if excess < 10.0 => format!("{excess:.2}"),
        Some(excess) => count(excess as u64),
    }
}

fn row<'a>(record: &'a Record, id: ModuleId, layer: &'a Layer) -> Option<Row<'a>> {
    let verdict = layer.verdict().filter(|_| !layer.no_engine)?;
    let module = record.opened.model.modules.get(id)?;
    let triaged = record.opened.triage.modules.get(id)?;
    let by_definition = record.results.is_by_definition(id);
    Some(Row { id, module, triaged, layer, verdict, worst: layer.worst(), by_definition, made: record.made.get(&id) })
}

/// The forwards to port, those of most modules' parameters and lines first.
fn work<'a>(
    opened: &'a Opened,
    forwards: &Forwards,
    blockers: &Blockers<'_>,
    marks: &HashMap<&str, &'a Mark>,
) -> Vec<Work<'a>> {
    let (model, triage) = (&opened.model, &opened.triage);
    let of = |modules: &[ModuleId]| {
        let class = model.modules.get(*modules.first()?)?.class.as_str();
        let source = triage.source(class);
        let place = source.map(|source| {
            let lines = source.forward.as_ref().map_or(0, |lines| lines.len());
            let line = source.forward.as_ref().map_or(source.class_line, |lines| lines.start);
            (source.file.clone(), line, lines)
        });
        let runs = |ids: &[ModuleId]| ids.iter().any(|id| modules.binary_search(id).is_ok());
        let count = blockers.places.iter().filter(|place| place.counts() && runs(&place.modules)).count();
        let parameters = modules.iter().filter_map(|&id| model.modules.get(id)).map(|module| module.parameters).sum();
        let mark = marks.get(class).copied();
        Some(Work { class, modules: modules.to_vec(), place, blockers: count, parameters, mark })
    };
    let mut work: Vec<Work<'a>> = forwards.classes.iter().filter_map(|forward| of(&forward.modules)).collect();
    let lines = |work: &Work<'_>| work.place.as_ref().map_or(0, |(.., lines)| *lines);
    work.sort_by_key(|work| std::cmp::Reverse((lines(work), work.blockers, work.modules.len())));
    work
}

/// What is wrong or refused, alike ones together, the worst first.
fn problems<'a>(opened: &'a Opened, layers: &[Row<'a>]) -> Vec<Problem<'a>> {
    let mut found: BTreeMap<(u8, &'static str, &'a str, String), Vec<ModuleId>> = BTreeMap::new();
    for row in layers.iter().filter(|row| row.verdict.is_bad()) {
        let rank = match row.verdict {
            Verdict::Broken => 0,
            Verdict::Failed => 1,
            _ => 2,
        };
        let reason = || row.worst.and_then(Trial::complaint).or_else(|| row.worst.map(too_far));
        let reason = row.layer.reason().map(str::to_owned).or_else(reason).unwrap_or_default();
        found.entry((rank, row.verdict.name(), &row.module.class, reason)).or_default().push(row.id);
    }
    for id in opened.triage.layers(&opened.model) {
        let (Some(module), Some(triaged)) = (opened.model.modules.get(id), opened.triage.modules.get(id)) else {
            continue;
        };
        let rank = match triaged.status {
            Status::Unsupported => 3,
            Status::Unknown | Status::Custom => 4,
            Status::Incomplete => 5,
            Status::Direct | Status::Recipe | Status::Container => continue,
        };
        let key = (rank, triaged.status.name(), module.class.as_str(), triaged.reason.clone());
        found.entry(key).or_default().push(id);
    }
    let problem = |((_, word, class, reason), modules)| Problem { word, class, reason, modules };
    found.into_iter().map(problem).collect()
}

/// `4.4e-01 against a tolerance of 1.2e-06`
fn too_far(trial: &Trial) -> String {
    let [found, tolerance, _] = numbers(trial);
    format!("{found} against a tolerance of {tolerance}")
}

/// A path as people read it.
fn shown(path: &str) -> &str {
    if path.is_empty() { "(root)" } else { path }
}

/// A class without its module; a dash where it is not known.
fn short(class: &str) -> &str {
    if class.is_empty() { "–" } else { class.rsplit('.').next().unwrap_or(class) }
}
