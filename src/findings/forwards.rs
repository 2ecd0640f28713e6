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
    /// The class with its owner: `timm's WindowAttention`.
    pub name: String,
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
    /// The classes by whose they are: `timm's SwinTransformer, WindowAttention`.
    names: Vec<String>,
}

/// Most classes that are named in a line.
const MOST_NAMED: usize = 4;

impl Forwards {
    /// Those of a model.
    pub fn of(model: &Model, triage: &Triage) -> Forwards {
        let mut forwards = Forwards::default();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut before = None;
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
            let name = quoted(&owner.with(short)).into_owned();
            // Whose it is need not be said again of the next.
            let again = before == Some(owner) && !matches!(owner, Owner::Unsaid(_));
            forwards.names.push(if again { quoted(short).into_owned() } else { name.clone() });
            before = Some(owner);
            let has_source = source.is_some_and(|source| source.forward.is_some());
            forwards.classes.push(Forward { name, modules: vec![id], has_source });
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
        let (own, to_port) = (self.own(), self.to_port());
        let modules = if own > to_port { format!(", of {own} modules") } else { String::new() };
        let unsaid = match self.unsaid {
            0 => None,
            1 => Some("1 module whose class is not known".to_owned()),
            several => Some(format!("{several} modules whose class is not known")),
        };
        match (to_port, unsaid) {
            (0, None) => None,
            (0, Some(unsaid)) => Some(format!("forwards to port are not known: {unsaid}")),
            (_, None) => Some(format!("{}{modules}", plural(to_port))),
            (_, Some(unsaid)) => Some(format!("{}{modules}, and those of {unsaid}", plural(to_port))),
        }
    }

    /// The first classes by name: `timm's SwinTransformer, WindowAttention and 5 more`; `None` where there are none.
    pub fn names(&self) -> Option<String> {
        let more = self.names.len().saturating_sub(MOST_NAMED);
        let named = self.names.get(..self.names.len() - more).filter(|named| !named.is_empty())?.join(", ");
        Some(if more > 0 { format!("{named} and {more} more") } else { named })
    }

    /// The classes of modules at `id` or below, with the number of these modules.
    pub fn within(&self, model: &Model, id: ModuleId) -> impl Iterator<Item = (&Forward, usize)> {
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
