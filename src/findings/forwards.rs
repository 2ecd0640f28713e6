//! Forwards that no layer of MLX replaces: the part of a port that nothing here converts, nor measures.

use std::collections::HashMap;

use crate::model::{Model, ModuleId};
use crate::registry::Owner;
use crate::registry::libraries::possessive;
use crate::triage::{Status, Triage, owner};
use t2m_checkpoint::escape::quoted;

/// One class with a forward to port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The full path of the class.
    pub class: String,
    /// The class without its module.
    pub short: String,
    /// Whose it is, before and behind its name: `timm's ` or ` of mini.net`.
    owner: [String; 2],
    /// The modules of that class, in tree order.
    pub modules: Vec<ModuleId>,
    /// Whether its source was found, so that its blockers and ops are known.
    pub has_source: bool,
}

/// The forwards to port of a model: of modules that are custom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwards {
    /// One for each class, in the order in which they occur: each is ported once, however many modules have it.
    pub classes: Vec<Forward>,
    /// Modules whose class the file does not say: how many forwards they come to is not known.
    pub unsaid: usize,
}

impl Forward {
    /// The class with whose it is: `timm's WindowAttention`, `your Net`, `Net of mini.net`.
    pub fn named(&self) -> String {
        let [before, behind] = &self.owner;
        format!("{before}{}{behind}", self.short)
    }
}

/// Most classes that are named in a line.
const MOST_NAMED: usize = 4;

impl Forwards {
    /// Those of a model.
    pub fn of(model: &Model, triage: &Triage) -> Forwards {
        let mut forwards = Forwards::default();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let custom = triage.modules.iter().enumerate().filter(|(_, triaged)| triaged.status == Status::Custom);
        for (id, _) in custom {
            let Some(module) = model.modules.get(id) else { break };
            let class = module.class.as_str();
            if class.is_empty() {
                forwards.unsaid += 1;
                continue;
            }
            if let Some(forward) = known.get(class).and_then(|&at| forwards.classes.get_mut(at)) {
                forward.modules.push(id);
                continue;
            }
            known.insert(class, forwards.classes.len());
            let source = triage.source(class);
            let (owner, short) = (owner(class, source), module.short_class());
            let behind = match owner {
                Owner::Unsaid(module) if !module.is_empty() => format!(" of {}", quoted(module)),
                _ => String::new(),
            };
            let has_source = source.is_some_and(|source| source.forward.is_some());
            let short = quoted(short).into_owned();
            let (class, owner) = (class.to_owned(), [prefix(owner), behind]);
            forwards.classes.push(Forward { class, short, owner, modules: vec![id], has_source });
        }
        forwards
    }

    /// How many there are: one for each class.
    pub fn to_port(&self) -> usize {
        self.classes.len()
    }

    /// How many modules have one of them.
    pub fn own(&self) -> usize {
        self.classes.iter().map(|forward| forward.modules.len()).sum()
    }

    /// Classes whose source was not found.
    pub fn unread(&self) -> usize {
        self.classes.iter().filter(|forward| !forward.has_source).count()
    }

    /// `4 forwards to port, of 25 modules`; `None` where there are none and none can be hidden.
    pub fn words(&self) -> Option<String> {
        let unsaid = self.unsaid_words();
        match (self.to_port(), unsaid) {
            (0, None) => None,
            (0, Some(unsaid)) => Some(format!("forwards to port are not known: {unsaid}")),
            (count, None) => Some(format!("{}{}", plural(count), self.of_modules())),
            (count, Some(unsaid)) => Some(format!("{}{}; {unsaid}", plural(count), self.of_modules())),
        }
    }

    /// `4 forwards, of 25 modules: timm's SwinTransformer, PatchMerging and 2 more`, where it is said before that they are to port.
    pub fn listed(&self) -> Option<String> {
        let Some(names) = self.names() else { return self.unsaid_words().map(|unsaid| format!("not known: {unsaid}")) };
        let count = self.to_port();
        let words = format!("{count} forward{}{}: {names}", if count == 1 { "" } else { "s" }, self.of_modules());
        Some(self.unsaid_words().map_or(words.clone(), |unsaid| format!("{words}; {unsaid}")))
    }

    /// `, of 25 modules`
    fn of_modules(&self) -> String {
        let own = self.own();
        if own > self.to_port() { format!(", of {own} modules") } else { String::new() }
    }

    fn unsaid_words(&self) -> Option<String> {
        let modules = if self.unsaid == 1 { "module" } else { "modules" };
        (self.unsaid > 0).then(|| format!("the file does not say the class of {} {modules}", self.unsaid))
    }

    /// The first classes by name, whose they are said once: `timm's SwinTransformer, WindowAttention and 5 more`; `None` where there
    /// are none.
    pub fn names(&self) -> Option<String> {
        let names: Vec<(&Forward, usize)> = self.classes.iter().map(|forward| (forward, 1)).collect();
        named(&names, MOST_NAMED)
    }

    /// Those of modules at `id` or below by name, each with the number of these modules: `timm's Stage, Block ×2`.
    pub fn names_within(&self, model: &Model, id: ModuleId, most: usize) -> Option<String> {
        named(&self.within(model, id).collect::<Vec<_>>(), most)
    }

    /// The classes of modules at `id` or below, with the number of these modules.
    fn within(&self, model: &Model, id: ModuleId) -> impl Iterator<Item = (&Forward, usize)> {
        let end = model.modules.get(id).map_or(id, |module| module.end.max(id + 1));
        self.classes.iter().filter_map(move |forward| {
            let before = |id: ModuleId| forward.modules.partition_point(|&module| module < id);
            let count = before(end) - before(id);
            (count > 0).then_some((forward, count))
        })
    }

    /// For each module, how many of the classes it or a module below it has.
    pub fn below(&self, model: &Model) -> Vec<usize> {
        super::distinct_below(model, self.classes.iter().map(|forward| forward.modules.as_slice()))
    }
}

/// Classes by name, so many at most; whose they are is said once of those next to each other.
fn named(classes: &[(&Forward, usize)], most: usize) -> Option<String> {
    let shown = classes.get(..classes.len().min(most)).filter(|shown| !shown.is_empty())?;
    let mut words = String::new();
    for (at, (forward, count)) in shown.iter().enumerate() {
        let same = |other: Option<&(&Forward, usize)>| other.is_some_and(|(other, _)| other.owner == forward.owner);
        let [before, behind] = &forward.owner;
        words += if at > 0 { ", " } else { "" };
        words += if at.checked_sub(1).is_some_and(|last| same(shown.get(last))) { "" } else { before };
        words += &forward.short;
        words += &if *count > 1 { format!(" ×{count}") } else { String::new() };
        words += if same(shown.get(at + 1)) { "" } else { behind };
    }
    match classes.len() - shown.len() {
        0 => Some(words),
        more => Some(format!("{words} and {more} more")),
    }
}

/// `1 forward to port`, `7 forwards to port`.
pub fn plural(to_port: usize) -> String {
    format!("{to_port} forward{} to port", if to_port == 1 { "" } else { "s" })
}

/// The library whose a custom class is, at the beginning of what is said of it: `timm's `; empty where it is not known.
pub fn prefix(owner: Owner<'_>) -> String {
    match owner {
        Owner::Package(name) => format!("{} ", possessive(name)),
        Owner::Yours => "your ".to_owned(),
        Owner::Unsaid(_) => String::new(),
    }
}
