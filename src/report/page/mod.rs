//! A report for colleagues who do not have the program: what a file holds, what of it converts, what was measured and what is left to
//! do, as a page of HTML that needs nothing besides itself, as Markdown, or as JSON. `Page` holds what is said; the formats show it.

mod chart;
mod html;
mod json;
mod markdown;
mod safe;
mod tree;
mod write;

use std::collections::BTreeMap;

use crate::compare::{Trial, Verdict};
use crate::export::state_dict::known_share;
use crate::figures::{bytes, count, error, error_or_dash};
use crate::findings::to_port::{ToPort, to_port};
use crate::findings::{Blockers, Folders, Headline};
use crate::model::{Module, ModuleId};
use crate::open::Opened;
use crate::session::{About, GraphRun, Note, Time};
use crate::triage::{ModuleTriage, Status};
use crate::verify::{Layer, Results, Sum, recorded};
use t2m_checkpoint::Dtype;
use t2m_engine::{EngineInfo, Side};

pub use write::{Error, Format, write};

/// What a report is made of.
#[derive(Debug, Clone)]
pub struct Record {
    /// The file, understood.
    pub opened: Opened,
    /// What was measured of it.
    pub results: Results,
    /// What somebody has marked and noted.
    pub notes: BTreeMap<About, Note>,
    /// The last run of the whole graph, in sum.
    pub graph: Option<GraphRun>,
    /// When the report is written.
    pub written: Time,
}

impl Record {
    /// What is on record of a file.
    pub fn kept(opened: Opened) -> Record {
        let session = &opened.kept.session;
        let results = recorded::results(&opened.model, &opened.triage, session);
        let notes = session.noted().map(|(about, note)| (about.clone(), note.clone())).collect();
        let graph = session.graph.clone();
        Record { opened, results, notes, graph, written: Time::now() }
    }
}

/// When and by which engines a layer was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Made {
    /// libtorch and MLX, each with version and settings.
    engines: String,
    /// When; empty where that is not known.
    at: String,
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
    made: Option<Made>,
}

/// A forward that has to be ported, with the mark of its class.
struct Work<'a> {
    port: ToPort,
    mark: Option<&'a Note>,
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
        let layers: Vec<Row<'a>> = results.below(0).filter_map(|(id, layer)| row(record, id, layer)).collect();
        let work = work(record);
        let problems = problems(opened, &layers);
        let (total, folders) = (results.total(), Folders::of(&opened.triage));
        Page { record, headline, total, folders, layers, work, problems, blockers }
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
        if let Some(words) = self.stale_words() {
            facts.push(("stale", words));
        }
        if let Some(graph) = &self.record.graph {
            facts.push(("graph", format!("{}, {}", graph.words(), minute(graph.at))));
        }
        facts.extend(self.opened().typed.lines().into_iter().map(|line| ("typed", line)));
        facts.push(("to port", self.headline.forwards_words()));
        facts.push(("blockers", self.headline.blockers_words()));
        facts
    }

    fn measured_words(&self) -> String {
        if self.layers.is_empty() {
            return "nothing is on record; `t2m-tui verify` measures layers in both engines, and so do space and a on the screen".to_owned();
        }
        let passed = self.total.passed_words(self.headline.to_measure());
        let others = match self.headline.unmeasurable {
            0 => String::new(),
            1 => ", 1 more cannot be measured".to_owned(),
            more => format!(", {more} more cannot be measured"),
        };
        format!("{passed}{others}; {}", self.total.words())
    }

    /// Results that say nothing of the file as it is now.
    fn stale_words(&self) -> Option<String> {
        let results = &self.record.results;
        let stale = results.stale_below(0);
        let first = (0..self.opened().model.modules.len()).find_map(|id| results.stale(id))?;
        let (results, are) = if stale == 1 { ("result", "counts") } else { ("results", "count") };
        Some(format!("{stale} older {results} {are} as nothing measured: {}", first.reason))
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

    /// The engines that results are of, each pair once, with the number of layers and the first and last time.
    fn engines(&self) -> Vec<(&str, usize, String)> {
        let mut sets: BTreeMap<&str, (usize, &str, &str)> = BTreeMap::new();
        for made in self.layers.iter().filter_map(|row| row.made.as_ref()) {
            let (layers, first, last) = sets.entry(&made.engines).or_insert((0, &made.at, &made.at));
            *layers += 1;
            *first = made.at.as_str().min(first);
            *last = made.at.as_str().max(last);
        }
        let words = |(engines, (layers, first, last)): (_, (usize, &str, &str))| {
            let when = if first == last { first.to_owned() } else { format!("{first} to {last}") };
            (engines, layers, when)
        };
        sets.into_iter().map(words).collect()
    }

    /// Marks on what is no forward to port: those stand beside it.
    fn other_notes(&self) -> Vec<(&'a About, &'a Note)> {
        let is_work = |about: &About| matches!(about, About::Class(class) if self.work.iter().any(|work| work.port.class == class.as_str()));
        self.record.notes.iter().filter(|(about, _)| !is_work(about)).collect()
    }

    /// What is noted of a module.
    fn note_of(&self, module: &Module) -> Option<&'a Note> {
        let notes = &self.record.notes;
        if notes.is_empty() {
            return None;
        }
        let own = notes.get(&About::Module(module.path.to_string()));
        own.or_else(|| notes.get(&About::Class(module.class.to_string())))
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
        if self.by_definition {
            format!("{name} by definition")
        } else if self.triaged.is_assumed() {
            format!("{name} as assumed")
        } else {
            name.to_owned()
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
    Some(Row { id, module, triaged, layer, verdict, worst: layer.worst(), by_definition, made: made(record, layer) })
}

/// Who measured a layer, and when. Where nothing is on record of that, it is this run, as the report is written.
fn made(record: &Record, layer: &Layer) -> Option<Made> {
    let known = layer.record.as_deref();
    let of = |side: Side, kept: Option<&EngineInfo>| {
        let info = kept.or_else(|| record.results.greeting(side))?;
        Some(format!("{} {} ({})", side.library(), info.version, info.settings()))
    };
    let torch = of(Side::Torch, known.and_then(|known| known.engines.torch.as_ref()))?;
    let mlx = of(Side::Mlx, known.and_then(|known| known.engines.mlx.as_ref()))?;
    let at = known.map_or(record.written, |known| known.at);
    Some(Made { engines: format!("{torch} and {mlx}"), at: minute(at) })
}

/// A moment to the minute: `2026-02-28 17:04 UTC`.
fn minute(at: Time) -> String {
    format!("{} UTC", at.minute())
}

/// The forwards to port, with the marks of their classes.
fn work(record: &Record) -> Vec<Work<'_>> {
    let mark = |port: &ToPort| record.notes.get(&About::Class(port.class.clone()));
    to_port(&record.opened).into_iter().map(|port| Work { mark: mark(&port), port }).collect()
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

/// What a bounded list leaves out.
fn left_words(rows: usize, what: &str) -> Option<String> {
    let more = rows.checked_sub(MOST_ROWS).filter(|more| *more > 0)?;
    Some(format!("{more} more {what}; the report as JSON has all of them."))
}

/// A path as people read it.
fn shown(path: &str) -> &str {
    if path.is_empty() { "(root)" } else { path }
}

/// A class without its module; a dash where it is not known.
fn short(class: &str) -> &str {
    if class.is_empty() { "–" } else { class.rsplit('.').next().unwrap_or(class) }
}
