//! The list of what is to be ported: each class once with how much there is to do, the biggest first.

use std::collections::HashMap;

use super::forwards::{Forward, Forwards};
use super::ops::Counts;
use super::{BlockerPlace, Blockers, Folders, Severities};
use crate::architecture::Architecture;
use crate::figures::count;
use crate::model::{Model, ModuleId};
use crate::open::Opened;
use crate::registry::library;
use crate::triage::Triage;

/// One class whose forward has to be ported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToPort {
    /// The full path of the class.
    pub class: String,
    /// The class without its module.
    pub short: String,
    /// The class with whose it is: `timm's WindowAttention`.
    pub named: String,
    /// The modules of that class, in tree order.
    pub modules: Vec<ModuleId>,
    /// Where its forward is, if that was found.
    pub place: Option<(String, usize)>,
    /// Lines of the forward and of what it calls of its class and its files; 0 where no source was found.
    pub lines: usize,
    /// How its ops convert, in the module that runs most of them.
    pub ops: Counts,
    /// The places in its source that its modules run, or may run, each once.
    pub blockers: Severities,
    /// Elements of the parameters that its modules have of their own, a shared tensor counted for each.
    pub parameters: u64,
    /// Where the class is by its name, where no source was found: `module timm.layers.mlp of timm 1.0.9`.
    pub library: Option<String>,
}

impl ToPort {
    /// What finds its source: an option, and what to give it. `None` where it was found.
    pub fn option(&self) -> Option<(&'static str, &'static str)> {
        let known = library(&self.class).is_some();
        self.place.is_none().then_some(if known {
            ("--python EXE", "a python that the library is installed in: it is asked for its path alone")
        } else {
            ("--source PATH", "the .py file, the folder or the site-packages with the class; it is read, never run")
        })
    }

    /// Where its forward is, and how long that is with what it calls; or where the class is, and what shows its source.
    pub fn place_words(&self, folders: &Folders) -> String {
        if let Some((file, line)) = &self.place {
            return format!("{}:{line}, {} line{}", folders.short(file), self.lines, plural(self.lines as u64));
        }
        let option = self.option().map_or("", |(option, _)| option);
        match &self.library {
            Some(location) => format!("{location}; {option} shows its source"),
            None => format!("its source was not found: {option} shows it"),
        }
    }

    /// How many blockers count in it; `?` where no source was looked through.
    pub fn blockers_words(&self) -> String {
        if self.place.is_some() { self.blockers.total().to_string() } else { "?".to_owned() }
    }

    /// What is in it: `ops: 2 trap, 5 direct; blockers: 1 breaks; 5.4 k parameters of their own`; what is not there is left out.
    pub fn content_words(&self) -> String {
        let mut words = Vec::new();
        if self.ops.total() > 0 {
            words.push(format!("ops: {}", self.ops.words()));
        }
        if self.blockers != Severities::default() {
            words.push(format!("blockers: {}", self.blockers.words()));
        }
        if self.parameters > 0 {
            let whose = if self.modules.len() == 1 { "its own" } else { "their own" };
            words.push(format!("{} parameter{} of {whose}", count(self.parameters), plural(self.parameters)));
        }
        words.join("; ")
    }
}

fn plural(count: impl Into<u128>) -> &'static str {
    if count.into() == 1 { "" } else { "s" }
}

/// The forwards to port of an opened checkpoint, the longest first; those without source last, those with most parameters of their
/// own and then the commonest first.
pub fn to_port(opened: &Opened) -> Vec<ToPort> {
    let ops = super::ops::counts(opened);
    of(&opened.model, &opened.triage, &ops, opened.architecture.as_deref())
}

/// As [`to_port`], of the parts.
pub fn of(
    model: &Model,
    triage: &Triage,
    ops: &HashMap<String, Counts>,
    architecture: Option<&Architecture>,
) -> Vec<ToPort> {
    let blockers = Blockers::of(model, triage);
    // The classes that run each place; a place of a base counts for each class that inherits it.
    let mut places: HashMap<&str, Vec<&BlockerPlace<'_>>> = HashMap::new();
    for place in &blockers.places {
        for &id in &place.modules {
            let Some(module) = model.modules.get(id) else { continue };
            let of_class = places.entry(module.class.as_str()).or_default();
            if of_class.last().is_none_or(|last| !std::ptr::eq(*last, place)) {
                of_class.push(place);
            }
        }
    }
    let row = |forward: Forward| {
        let source = triage.source(&forward.class);
        let parameters = forward.modules.iter().filter_map(|&id| model.modules.get(id)).map(|module| module.parameters);
        ToPort {
            place: source.and_then(|source| Some((source.file.clone(), source.forward.as_ref()?.start))),
            lines: source.map_or(0, |source| source.lines_to_port()),
            ops: ops.get(&forward.class).copied().unwrap_or_default(),
            blockers: Severities::of(places.get(forward.class.as_str()).into_iter().flatten().copied()),
            parameters: parameters.fold(0, u64::saturating_add),
            library: location(&forward.class, architecture).filter(|_| !forward.has_source),
            named: forward.named(),
            class: forward.class,
            short: forward.short,
            modules: forward.modules,
        }
    };
    let mut rows: Vec<ToPort> = Forwards::of(model, triage).classes.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.lines, row.ops.total(), row.parameters, row.modules.len())));
    rows
}

/// `module torchvision.models.resnet of torchvision 0.28.0`; `None` of a class that is of no known library.
fn location(class: &str, architecture: Option<&Architecture>) -> Option<String> {
    let library = library(class)?;
    let (module, _) = class.rsplit_once('.')?;
    let version = architecture.filter(|known| known.library == library).map(|known| format!(" {}", known.version));
    Some(format!("module {module} of {library}{}", version.unwrap_or_default()))
}
