//! The modules in another order than the tree's, or under their classes: a list of what the filter wants, without the modules above.

use std::collections::{HashMap, HashSet};

use compact_str::CompactString;

use crate::compare::Verdict;
use crate::figures;
use crate::filter::Facts;
use crate::model::ModuleId;
use crate::triage::Status;

/// In which order modules stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As the tree has them.
    #[default]
    Tree,
    /// Those with the most parameters of their own first.
    Parameters,
    /// Those with the largest error in tolerances first.
    Error,
    /// Those that run the most blockers first.
    Blockers,
    /// Those that MLX took longest for first.
    Time,
}

impl Order {
    /// All of them, in the order of the key that goes through them.
    pub const ALL: [Order; 5] = [Order::Tree, Order::Parameters, Order::Error, Order::Blockers, Order::Time];

    /// The next one.
    pub fn next(self) -> Order {
        let at = Order::ALL.iter().position(|order| *order == self).unwrap_or(0);
        Order::ALL.get(at + 1).copied().unwrap_or_default()
    }

    /// Its word in a session; empty for the tree's own.
    pub fn word(self) -> &'static str {
        match self {
            Order::Tree => "",
            Order::Parameters => "parameters",
            Order::Error => "error",
            Order::Blockers => "blockers",
            Order::Time => "time",
        }
    }

    /// What it says beside the pane's title; nothing of the tree's own order.
    pub fn words(self) -> Option<String> {
        (self != Order::Tree).then(|| format!("by {}", self.word()))
    }

    /// Whether it changes while something is measured.
    pub fn asks_for_results(self) -> bool {
        matches!(self, Order::Error | Order::Time)
    }

    /// The number that a module stands by, the larger the earlier. One that is not known comes last.
    fn number(self, facts: &Facts<'_>, id: ModuleId) -> Option<f64> {
        match self {
            Order::Tree => None,
            Order::Parameters => facts.module(id).map(|module| module.parameters as f64).filter(|count| *count > 0.0),
            // Nothing is worse than what is no number.
            Order::Error => facts.tolerances(id).map(|error| if error.is_nan() { f64::INFINITY } else { error }),
            Order::Blockers => Some(facts.serious(id) as f64).filter(|count| *count > 0.0),
            Order::Time => facts.time(id),
        }
    }

    /// A number that it sorts by, in words.
    fn say(self, number: f64) -> String {
        match self {
            Order::Tree => String::new(),
            Order::Parameters => figures::count(number as u64),
            Order::Error if number.is_infinite() => "inf tol".to_owned(),
            Order::Error if number >= 1000.0 => format!("{} tol", figures::count(number as u64)),
            Order::Error => format!("{number:.2} tol"),
            Order::Blockers => format!("{number} blocker{}", if number == 1.0 { "" } else { "s" }),
            Order::Time => format!("{number:.2} ms"),
        }
    }
}

/// The modules of one class.
#[derive(Debug, Clone)]
pub struct Group {
    /// The class's full path; empty where it is not known.
    pub class: CompactString,
    /// Its modules that the filter wants, in order.
    pub modules: Vec<ModuleId>,
    /// Their status, where they have the same.
    pub status: Option<Status>,
    /// Parameters of their own, together.
    pub parameters: u64,
    /// Those that passed, and those that have a verdict.
    pub passed: usize,
    /// See [`Group::passed`].
    pub judged: usize,
    /// The worst verdict among them.
    pub worst: Option<Verdict>,
    /// What the order says of them together.
    pub says: String,
}

/// What is on show instead of the tree.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The modules in their order, where they are not under classes.
    pub modules: Vec<ModuleId>,
    /// The classes, where they are.
    pub groups: Option<Vec<Group>>,
    /// What the order says of each module: its number in words.
    says: HashMap<ModuleId, String>,
    /// The place of each module in the order; `u32::MAX` where it is not wanted.
    ranks: Vec<u32>,
}

impl List {
    /// What is wanted, in this order, under classes or not.
    pub fn of(facts: &Facts<'_>, order: Order, grouped: bool, wanted: impl Fn(ModuleId) -> bool) -> List {
        let ids = (0..facts.model.modules.len()).filter(|id| wanted(*id));
        let mut numbered: Vec<(ModuleId, Option<f64>)> = ids.map(|id| (id, order.number(facts, id))).collect();
        // Without a number they come last, and those that are alike as in the tree.
        numbered.sort_by(|(_, left), (_, right)| compare(*right, *left));
        let says = numbered.iter().filter_map(|(id, number)| Some((*id, order.say((*number)?)))).collect();
        let mut list = List { says, ranks: vec![u32::MAX; facts.model.modules.len()], ..List::default() };
        if grouped {
            list.groups = Some(groups(facts, order, &numbered));
        } else {
            list.modules = numbered.into_iter().map(|(id, _)| id).collect();
        }
        let grouped = list.groups.iter().flatten().flat_map(|group| &group.modules);
        for (rank, id) in (0u32..).zip(list.modules.iter().chain(grouped)) {
            if let Some(place) = list.ranks.get_mut(*id) {
                *place = rank;
            }
        }
        list
    }

    /// What the order says of a module.
    pub fn says(&self, id: ModuleId) -> &str {
        self.says.get(&id).map_or("", String::as_str)
    }

    /// The place of a module in the order, if it is wanted.
    pub fn rank(&self, id: ModuleId) -> Option<u32> {
        self.ranks.get(id).copied().filter(|rank| *rank != u32::MAX)
    }

    /// The group that a module is in, by its index.
    pub fn group_of(&self, class: &str) -> Option<usize> {
        self.groups.as_ref()?.iter().position(|group| group.class == class)
    }

    /// The rows: modules, and before those of a class its head, by the class's index.
    pub fn rows(&self, open: &HashSet<CompactString>) -> Vec<(ModuleId, Option<u32>)> {
        let mut rows: Vec<(ModuleId, Option<u32>)> = self.modules.iter().map(|id| (*id, None)).collect();
        for (at, group) in self.groups.iter().flatten().enumerate() {
            rows.extend(group.modules.first().map(|first| (*first, Some(at as u32))));
            if open.contains(&group.class) {
                rows.extend(group.modules.iter().map(|id| (*id, None)));
            }
        }
        rows
    }
}

/// Which number is larger; none is the smallest.
fn compare(left: Option<f64>, right: Option<f64>) -> std::cmp::Ordering {
    match (left, right) {
        (Some(left), Some(right)) => left.total_cmp(&right),
        (left, right) => left.is_some().cmp(&right.is_some()),
    }
}

/// The modules under their classes: sums stand by sums, worst errors by worst errors; in the tree's order, the first comes first.
fn groups(facts: &Facts<'_>, order: Order, numbered: &[(ModuleId, Option<f64>)]) -> Vec<Group> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<(Option<f64>, Group)> = Vec::new();
    for (id, number) in numbered {
        let Some(module) = facts.module(*id) else { continue };
        let at = *places.entry(&module.class).or_insert(groups.len());
        if at == groups.len() {
            let class = module.class.clone();
            let status = facts.triaged(*id).map(|triaged| triaged.status);
            let (modules, parameters, passed, judged) = (Vec::new(), 0, 0, 0);
            let group = Group { class, modules, status, parameters, passed, judged, worst: None, says: String::new() };
            groups.push((None, group));
        }
        let Some((sum, group)) = groups.get_mut(at) else { continue };
        *sum = match (*sum, *number, order) {
            (Some(sum), Some(number), Order::Error) => Some(sum.max(number)),
            (Some(sum), Some(number), _) => Some(sum + number),
            (sum, number, _) => sum.or(number),
        };
        group.modules.push(*id);
        group.status = group.status.filter(|status| facts.triaged(*id).is_some_and(|other| other.status == *status));
        group.parameters += module.parameters;
        let verdict = facts.results.verdict(*id).filter(|verdict| *verdict != Verdict::NotRun);
        group.judged += usize::from(verdict.is_some() || facts.is_stale(*id));
        if let Some(verdict) = verdict {
            group.passed += usize::from(verdict.passes());
            group.worst = group.worst.max(Some(verdict));
        }
    }
    groups.sort_by(|(left, _), (right, _)| compare(*right, *left));
    let say = |(sum, group): (Option<f64>, Group)| {
        // Parameters are said of each class in any order.
        let says = sum.filter(|_| order != Order::Parameters).map(|sum| order.say(sum)).unwrap_or_default();
        Group { says, ..group }
    };
    groups.into_iter().map(say).collect()
}
