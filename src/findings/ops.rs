//! The torch ops of a model's own forwards, each with what the registry knows of it, and how many there are of each kind.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::open::Opened;
use crate::registry::Op;
use crate::registry::ops::{Agreement, OpStatus};
use crate::source::inference::{Order, Reached, Seen};
use crate::source::ops::INDEX;
use crate::source::{ClassSource, OpUse, Reach};

/// One op with every place where it is written.
#[derive(Debug)]
pub struct OpSummary<'a> {
    /// As the registry spells it (`F.relu`), or as it was called where the registry has no row.
    pub torch: String,
    /// The registry's row.
    pub row: Option<&'a Op>,
    /// How far the two agree, called with the arguments that these places give it.
    pub status: OpStatus,
    /// Where the axes of its tensor are in MLX, where that is known, or counts and is not known.
    pub order: Option<Order>,
    /// What these places' own arguments and axes say.
    pub notes: Vec<String>,
    /// How often it is written, each module of a class counted: two blocks with two `F.relu` make four.
    pub count: usize,
    /// Every place was taken for this op by the name of a method alone: its receiver is not known to be a tensor.
    pub guess: bool,
    /// File, 1-based line, and whether the place is a guess; each once, in order.
    pub places: BTreeSet<(&'a str, usize, bool)>,
}

impl OpSummary<'_> {
    /// What to call instead.
    pub fn mlx(&self) -> Option<&str> {
        let own = || match self.torch.as_str() {
            INDEX => Some("x[…]"),
            "x.shape" | "x.size" => Some("x.shape"),
            _ => None,
        };
        self.row.map(|row| row.mlx.as_str()).or_else(own)
    }

    fn rank(&self) -> u8 {
        match self.status {
            OpStatus::None => 0,
            OpStatus::Unknown => 1,
            OpStatus::Trap => 2,
            OpStatus::Axis => 3,
            OpStatus::Recipe => 4,
            OpStatus::Direct => 5,
        }
    }
}

/// What is known of one use of an op.
struct Known {
    status: OpStatus,
    order: Option<Order>,
    notes: Vec<String>,
}

/// How far an op and its counterpart agree where it is used, and what its arguments and axes say.
fn known(row: Option<&Op>, used: &OpUse, seen: Option<&Seen>) -> Known {
    let call = seen.map_or_else(|| used.call.clone(), |seen| seen.arguments(&used.call));
    let (order, said) = seen.and_then(Seen::order).unzip();
    let by_arguments = row.map_or(OpStatus::Unknown, |row| row.status_of(&call));
    let of_axes = row.is_some_and(|row| row.of_axes);
    let status = match (by_arguments, order) {
        (OpStatus::Trap, Some(Order::Moved)) if of_axes => OpStatus::Axis,
        (OpStatus::Trap, Some(Order::Same | Order::Torch)) if of_axes => OpStatus::Direct,
        (OpStatus::Direct, Some(Order::Moved)) => OpStatus::Axis,
        (OpStatus::Unknown, Some(Order::Moved)) if used.axes_only => OpStatus::Axis,
        (status, _) => status,
    };
    let said = said.filter(|said| !said.is_empty());
    let notes = said.into_iter().chain(row.iter().flat_map(|row| row.says(&call)).map(str::to_owned));
    Known { status, order, notes: notes.collect() }
}

/// All ops of the classes whose source was found: those that MLX lacks first, then those without a row, then traps; within them
/// the most frequent first. One that is a trap in some places and not in others is listed for each.
pub fn ops(opened: &Opened) -> Vec<OpSummary<'_>> {
    if opened.triage.classes.is_empty() {
        return Vec::new();
    }
    let mut found: HashMap<(&str, OpStatus, Vec<String>), OpSummary<'_>> = HashMap::new();
    for Kind { source, reached, modules } in kinds(opened) {
        for (used, seen) in running(source, reached) {
            let row = opened.registry.op(&used.name);
            let Known { status, order, notes } = known(row, used, seen);
            if !is_told(used, row, status) {
                continue;
            }
            let torch = row.map_or(used.name.as_str(), |row| row.torch.as_str());
            let new = || OpSummary {
                torch: torch.to_owned(),
                row,
                status,
                order,
                notes: notes.clone(),
                count: 0,
                guess: true,
                places: BTreeSet::new(),
            };
            let op = found.entry((torch, status, notes.clone())).or_insert_with(new);
            op.order = op.order.max(order);
            op.count += modules;
            op.guess &= used.guess;
            op.places.insert((used.file.as_deref().unwrap_or(&source.file), used.line, used.guess));
        }
    }
    let mut ops: Vec<OpSummary<'_>> = found.into_values().collect();
    ops.sort_by(|a, b| (a.rank(), b.count, &a.torch, &a.notes).cmp(&(b.rank(), a.count, &b.torch, &b.notes)));
    ops
}

/// Whether a use is listed: operators where the registry has them, and what is no op by itself where its axes say something.
fn is_told(used: &OpUse, row: Option<&Op>, status: OpStatus) -> bool {
    if used.axes_only { status == OpStatus::Axis } else { row.is_some() || !used.operator }
}

/// How the ops of one class convert, by the places where they are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// MLX has the op under the same arguments.
    pub direct: usize,
    /// MLX has the op, with renamed arguments.
    pub renames: usize,
    /// MLX has no function of it, and a composition computes it.
    pub recipe: usize,
    /// MLX has an op of that name, with another meaning in some uses.
    pub trap: usize,
    /// MLX has the op, and its axis is another one where channels are last.
    pub axis: usize,
    /// Nothing in MLX.
    pub none: usize,
    /// No row of the registry.
    pub unknown: usize,
    /// Of all these, how many are known by the name of a method alone.
    pub guesses: usize,
}

impl Counts {
    /// All of them.
    pub fn total(&self) -> usize {
        self.direct + self.renames + self.recipe + self.trap + self.axis + self.none + self.unknown
    }

    /// `1 none, 2 trap, 5 direct, 3 guesses`, in the words of the lists: an op whose arguments have other names is direct, and
    /// its row says which. Kinds that do not occur are left out.
    pub fn words(&self) -> String {
        let kinds = [
            (self.none, OpStatus::None.words()),
            (self.unknown, OpStatus::Unknown.words()),
            (self.trap, OpStatus::Trap.name()),
            (self.axis, OpStatus::Axis.name()),
            (self.recipe, OpStatus::Recipe.name()),
            (self.direct + self.renames, OpStatus::Direct.name()),
            (self.guesses, "guesses"),
        ];
        let told = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
        told.collect::<Vec<String>>().join(", ")
    }

    fn note(&mut self, row: Option<&Op>, used: &OpUse, status: OpStatus, times: usize) {
        let agreement = match (row, status) {
            (Some(row), status) => row.agreement_as(status),
            (None, OpStatus::Axis) => Agreement::Axis,
            (None, _) => Agreement::Unknown,
        };
        match agreement {
            Agreement::Unknown => self.unknown += times,
            Agreement::Direct => self.direct += times,
            Agreement::Renames => self.renames += times,
            Agreement::Recipe => self.recipe += times,
            Agreement::Trap => self.trap += times,
            Agreement::Axis => self.axis += times,
            Agreement::None => self.none += times,
        }
        self.guesses += if used.guess { times } else { 0 };
    }
}

/// Modules of one class that run the same of its code.
struct Kind<'a> {
    source: &'a ClassSource,
    reached: Option<&'a Reached>,
    modules: usize,
}

/// The kinds of modules whose source was found.
fn kinds(opened: &Opened) -> Vec<Kind<'_>> {
    let mut kinds: HashMap<(&str, Option<*const Reached>), Kind<'_>> = HashMap::new();
    for (id, module) in opened.model.modules.iter().enumerate() {
        let Some(source) = opened.triage.source(&module.class) else { continue };
        let reached = opened.triage.reached.get(id).and_then(Option::as_deref);
        let key = (module.class.as_str(), reached.map(std::ptr::from_ref));
        kinds.entry(key).or_insert(Kind { source, reached, modules: 0 }).modules += 1;
    }
    kinds.into_values().collect()
}

/// The ops of a class that a module runs, or may run: what only training reaches is left out.
fn running<'a>(
    source: &'a ClassSource,
    reached: Option<&'a Reached>,
) -> impl Iterator<Item = (&'a OpUse, Option<&'a Seen>)> {
    source.uses().enumerate().filter_map(move |(at, used)| {
        let runs = reached.is_none_or(|reached| reached.ops.get(at).copied().flatten().is_some_and(Reach::counts));
        runs.then(|| (used, reached.and_then(|reached| reached.seen.get(&at))))
    })
}

fn count(opened: &Opened, source: &ClassSource, reached: Option<&Reached>) -> Counts {
    let mut counts = Counts::default();
    for (used, seen) in running(source, reached) {
        let row = opened.registry.op(&used.name);
        let status = known(row, used, seen).status;
        if is_told(used, row, status) {
            counts.note(row, used, status, 1);
        }
    }
    counts
}

/// How the ops of each class whose source was found convert, by the class's full path, in the module that runs most of them.
pub fn counts(opened: &Opened) -> HashMap<String, Counts> {
    let classes = opened.triage.classes.keys();
    let mut counts: HashMap<String, Counts> = classes.map(|class| (class.clone(), Counts::default())).collect();
    let mut seen = HashSet::new();
    for (id, module) in opened.model.modules.iter().enumerate() {
        let Some(source) = opened.triage.source(&module.class) else { continue };
        let reached = opened.triage.reached.get(id).and_then(Option::as_deref);
        if seen.insert((module.class.as_str(), reached.map(std::ptr::from_ref))) {
            let own = count(opened, source, reached);
            if let Some(known) = counts.get_mut(module.class.as_str()).filter(|known| known.total() < own.total()) {
                *known = own;
            }
        }
    }
    counts
}

/// How the ops of the whole model convert: each module of a class counted.
pub fn total(opened: &Opened) -> Counts {
    let mut total = Counts::default();
    for Kind { source, reached, modules } in kinds(opened) {
        let own = count(opened, source, reached);
        total.direct += own.direct * modules;
        total.renames += own.renames * modules;
        total.recipe += own.recipe * modules;
        total.trap += own.trap * modules;
        total.axis += own.axis * modules;
        total.none += own.none * modules;
        total.unknown += own.unknown * modules;
        total.guesses += own.guesses * modules;
    }
    total
}

/// Places that are named behind what is said of an axis.
const NAMED: usize = 4;

/// What these places' own arguments and axes say, of axes with the places.
fn notes(op: &OpSummary<'_>) -> Vec<String> {
    let mut notes = op.notes.clone();
    if op.order == Some(Order::Moved) {
        let named = op.places.iter().take(NAMED).map(|(file, line, _)| {
            let file = file.rsplit(['/', '\\']).next().unwrap_or(file);
            format!("{file}:{line}")
        });
        let more = op.places.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| format!("and {more} more"));
        notes.push(format!("At {}.", named.chain(more).collect::<Vec<String>>().join(", ")));
    }
    notes
}

/// What a report says of an op beside its counterpart: renamed arguments, the trap where it fires, what its axes and arguments
/// say.
pub fn words(op: &OpSummary<'_>) -> String {
    let Some(row) = op.row else {
        let unknown = "unknown here: no row of the registry covers this op, which says nothing of MLX";
        let first = (op.status == OpStatus::Unknown).then(|| unknown.to_owned());
        return first.into_iter().chain(notes(op)).collect::<Vec<String>>().join(" ");
    };
    let renames: Vec<String> = row.renames.iter().map(|(from, to)| format!("{from} → {to}")).collect();
    // A row of a trap has its text for the calls in which it fires.
    let trap = row.trap.clone().filter(|_| row.status == op.status);
    let said = trap.into_iter().chain(notes(op)).collect::<Vec<String>>().join(" ");
    let parts = [renames.join(", "), said];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<String>>().join("; ")
}
