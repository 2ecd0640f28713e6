//! The torch ops of a model's own forwards, each with what the registry knows of it, and how many there are of each kind.

use std::collections::{BTreeSet, HashMap};

use crate::open::Opened;
use crate::registry::Op;
use crate::registry::ops::{Agreement, OpStatus};
use crate::source::ClassSource;

/// One op with every place where it is written.
#[derive(Debug)]
pub struct OpSummary<'a> {
    /// As the registry spells it (`F.relu`), or as it was called where the registry has no row.
    pub torch: String,
    /// The registry's row.
    pub row: Option<&'a Op>,
    /// How often it is written, each module of a class counted: two blocks with two `F.relu` make four.
    pub count: usize,
    /// Every place was taken for this op by the name of a method alone: its receiver is not known to be a tensor.
    pub guess: bool,
    /// File, 1-based line, and whether the place is a guess; each once, in order.
    pub places: BTreeSet<(&'a str, usize, bool)>,
}

impl OpSummary<'_> {
    /// How far the two agree; an op without a row has no counterpart.
    pub fn status(&self) -> OpStatus {
        self.row.map_or(OpStatus::None, |row| row.status)
    }

    /// What to call instead.
    pub fn mlx(&self) -> Option<&str> {
        self.row.map(|row| row.mlx.as_str())
    }

    fn rank(&self) -> u8 {
        match self.status() {
            OpStatus::None => 0,
            OpStatus::Trap => 1,
            OpStatus::Direct => 2,
        }
    }
}

/// All ops of the classes whose source was found: those without a row first, then traps; within them the most frequent first.
pub fn ops(opened: &Opened) -> Vec<OpSummary<'_>> {
    if opened.triage.classes.is_empty() {
        return Vec::new();
    }
    let mut instances: HashMap<&str, usize> = HashMap::new();
    for module in &opened.model.modules {
        *instances.entry(&module.class).or_default() += 1;
    }
    let mut found: HashMap<&str, OpSummary<'_>> = HashMap::new();
    for (class, source) in &opened.triage.classes {
        let modules = instances.get(class.as_str()).copied().unwrap_or(0);
        for used in source.ops.iter().filter(|_| modules > 0) {
            let row = opened.registry.op(&used.name);
            if used.operator && row.is_none() {
                continue;
            }
            let torch = row.map_or(used.name.as_str(), |row| row.torch.as_str());
            let new = || OpSummary { torch: torch.to_owned(), row, count: 0, guess: true, places: BTreeSet::new() };
            let op = found.entry(torch).or_insert_with(new);
            op.count += modules;
            op.guess &= used.guess;
            op.places.insert((used.file.as_deref().unwrap_or(&source.file), used.line, used.guess));
        }
    }
    let mut ops: Vec<OpSummary<'_>> = found.into_values().collect();
    ops.sort_by(|a, b| (a.rank(), b.count, &a.torch).cmp(&(b.rank(), a.count, &b.torch)));
    ops
}

/// How the ops of one class convert, by the places where they are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// MLX has the op under the same arguments.
    pub direct: usize,
    /// MLX has the op, with renamed arguments.
    pub renames: usize,
    /// MLX has an op of that name, with another meaning in some uses.
    pub trap: usize,
    /// Nothing in MLX, or no row of the registry.
    pub none: usize,
    /// Of all these, how many are known by the name of a method alone.
    pub guesses: usize,
}

impl Counts {
    /// All of them.
    pub fn total(&self) -> usize {
        self.direct + self.renames + self.trap + self.none
    }

    /// `1 none, 2 trap, 5 direct, 3 guesses`, in the words of the lists: an op whose arguments have other names is direct, and
    /// its row says which. Kinds that do not occur are left out.
    pub fn words(&self) -> String {
        let kinds = [
            (self.none, OpStatus::None.name()),
            (self.trap, OpStatus::Trap.name()),
            (self.direct + self.renames, OpStatus::Direct.name()),
            (self.guesses, "guesses"),
        ];
        let told = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
        told.collect::<Vec<String>>().join(", ")
    }

    fn note(&mut self, row: Option<&Op>, guess: bool, times: usize) {
        match row.map_or(Agreement::None, Op::agreement) {
            Agreement::Direct => self.direct += times,
            Agreement::Renames => self.renames += times,
            Agreement::Trap => self.trap += times,
            Agreement::None => self.none += times,
        }
        self.guesses += if guess { times } else { 0 };
    }
}

/// How the ops of each class whose source was found convert, by the class's full path.
pub fn counts(opened: &Opened) -> HashMap<String, Counts> {
    let count = |source: &ClassSource| {
        let mut counts = Counts::default();
        for used in &source.ops {
            let row = opened.registry.op(&used.name);
            if row.is_some() || !used.operator {
                counts.note(row, used.guess, 1);
            }
        }
        counts
    };
    opened.triage.classes.iter().map(|(class, source)| (class.clone(), count(source))).collect()
}

/// How the ops of the whole model convert: each module of a class counted.
pub fn total(opened: &Opened) -> Counts {
    let by_class = counts(opened);
    let mut total = Counts::default();
    for own in opened.model.modules.iter().filter_map(|module| by_class.get(module.class.as_str())) {
        total.direct += own.direct;
        total.renames += own.renames;
        total.trap += own.trap;
        total.none += own.none;
        total.guesses += own.guesses;
    }
    total
}

/// What a report says of an op beside its counterpart: renamed arguments, then the trap.
pub fn words(op: &OpSummary<'_>) -> String {
    let Some(row) = op.row else { return "no row of the registry covers this op".to_owned() };
    let renames: Vec<String> = row.renames.iter().map(|(from, to)| format!("{from} → {to}")).collect();
    let parts = [renames.join(", "), row.trap.clone().unwrap_or_default()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<String>>().join("; ")
}
