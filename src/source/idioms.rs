//! Idioms: what several lines of a forward compute together, and in which of several ways.
//!
//! Each is recognised by its structure: parts of a tensor that are turned, multiplied or repeated. What is not certainly one of the
//! variants is not said to be one.

pub(super) mod shapes;
mod turns;
mod within;

use std::collections::HashMap;

use tree_sitter::Node;

use self::shapes::Text;
use super::imports::Imports;
use super::locate::Found;
use super::python::Module;
use super::reading::Reading;
use crate::registry::idioms::Kind;

/// Idioms of one class that are kept.
const LIMIT: usize = 200;
/// Functions of other files that are looked into, and how far they call each other.
const HELPERS: usize = 32;
const HOPS: usize = 4;
/// What the name of a function of another file has in it that is looked into.
const NAMED: [&str; 6] = ["rot", "rope", "repeat", "alibi", "gqa", "kv"];

/// An idiom in a forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdiomUse {
    /// Which one, in which variant.
    pub kind: Kind,
    /// Where an attribute of the module decides.
    pub choice: Option<Choice>,
    /// The file, where it is another than the class's own.
    pub file: Option<String>,
    /// 1-based.
    pub line: usize,
    /// The byte of the file that it begins at.
    pub at: usize,
}

/// An attribute of the module that decides between two variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its name.
    pub attribute: String,
    /// What is asked of it.
    pub asked: Asked,
    /// The variant where that does not hold; `None` where it is no idiom then.
    pub otherwise: Option<Kind>,
}

/// What an attribute is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Whether it is true; a module that has none of it is asked `getattr`'s default, or else nothing is known.
    True {
        /// That default.
        absent: Option<bool>,
    },
    /// Whether it is another number than 1: a scale of 1 scales nothing.
    NotOne,
}

impl Choice {
    /// The variant of a module whose attribute has this value, if it is one of them: `kind` where what is asked holds.
    pub fn variant(&self, kind: Kind, value: Option<&serde_json::Value>) -> Option<Kind> {
        use serde_json::Value;
        let holds = match (self.asked, value) {
            (Asked::True { .. }, Some(Value::Bool(truth))) => *truth,
            (Asked::True { .. }, Some(Value::Null)) => false,
            (Asked::True { absent }, None) => absent?,
            (Asked::True { .. }, Some(_)) => return None,
            (Asked::NotOne, value) => value.and_then(Value::as_f64) != Some(1.0),
        };
        if holds { Some(kind) } else { self.otherwise }
    }
}

/// Functions of other files that forwards call, and that may hold an idiom.
pub(super) fn helpers(imports: &Imports<'_>, family: &[Found], readings: &[Reading<'_, '_>]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut waiting: Vec<(Found, String, usize)> = Vec::new();
    let named = |module: &Module, function: Node<'_>| -> Vec<String> {
        let mut names = Vec::new();
        module.preorder(function, |node, _| {
            let called = node.child_by_field_name("function").filter(|_| node.kind() == "call");
            if let Some(name) = called.filter(|it| it.kind() == "identifier").map(|it| module.slice(it)) {
                let lower = name.to_lowercase();
                if NAMED.iter().any(|part| lower.contains(part)) && !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
            }
            true
        });
        names
    };
    for reading in readings {
        let from = family.iter().find(|found| std::ptr::eq(&*found.module, reading.module));
        let names = from.map(|_| named(reading.module, reading.function)).unwrap_or_default();
        waiting.extend(names.into_iter().filter_map(|name| Some((from?.clone(), name, 0))));
    }
    while let Some((from, name, hops)) = waiting.pop() {
        let Some(helper) = imports.function(&from, &name).filter(|_| found.len() < HELPERS && hops < HOPS) else {
            continue;
        };
        let known = |other: &Found| std::sync::Arc::ptr_eq(&other.module, &helper.module) && other.name == helper.name;
        if found.iter().any(known) || family.iter().any(|own| std::sync::Arc::ptr_eq(&own.module, &helper.module)) {
            continue;
        }
        if let Some(method) = helper.module.function(&helper.name) {
            let names = named(&helper.module, method.node);
            waiting.extend(names.into_iter().map(|name| (helper.clone(), name, hops + 1)));
        }
        found.push(helper);
    }
    found
}

/// What was found in one function.
struct Hit<'t> {
    kind: Kind,
    choice: Option<Choice>,
    place: Node<'t>,
}

/// The idioms in the methods that run; `file_of` names the file of a method that is not in the class's own.
pub(super) fn find<'t>(
    readings: &[Reading<'t, '_>],
    helpers: &'t [Found],
    file_of: impl Fn(&Module) -> Option<String>,
) -> Vec<IdiomUse> {
    let budget = readings.first().map(|reading| reading.module.budget());
    if budget.is_none_or(|budget| budget.is_spent()) {
        return Vec::new();
    }
    let own: Vec<Text<'t>> =
        readings.iter().map(|reading| Text::of(reading.module, reading.function, reading.receiver)).collect();
    let far = helpers.iter().filter_map(|found| {
        let method = found.module.function(&found.name)?;
        Some((found.name.as_str(), Text::of(&found.module, method.node, "")))
    });
    let far: HashMap<&str, Text<'t>> = far.collect();
    let library = turns::Library { own: &own, far: &far };
    let mut uses = Vec::new();
    for text in &own {
        let mut hits: Vec<Hit<'t>> = Vec::new();
        let hoisted = library.callers(text);
        for (kind, place) in library.parts_of(text) {
            // What a function does is told where it is called.
            if hoisted.is_empty() {
                hits.push(Hit { kind, choice: None, place });
            }
        }
        hits.extend(library.called(text).into_iter().map(|(kind, choice, place)| Hit { kind, choice, place }));
        hits.extend(text.router().map(|(kind, choice, place)| Hit { kind, choice, place }));
        let scale = library.scale_of(text);
        let scores = text.scores().into_iter().filter(|_| scale.is_some());
        hits.extend(scores.map(|(kind, place)| Hit { kind, choice: scale.clone().flatten(), place }));
        let rest = [text.gates(), text.norm(), text.gelu()];
        hits.extend(rest.into_iter().flatten().map(|(kind, place)| Hit { kind, choice: None, place }));
        for Hit { kind, choice, place } in hits {
            let (line, at) = (place.start_position().row + 1, place.start_byte());
            uses.push(IdiomUse { kind, choice, file: file_of(text.module), line, at });
        }
    }
    // Of several lines of one function that do the same, q and k, the first is told.
    uses.sort_by_key(|used| (used.file.clone(), used.at));
    let mut seen: Vec<(Kind, Option<String>, usize)> = Vec::new();
    uses.retain(|used| {
        let near = |(kind, file, line): &(Kind, Option<String>, usize)| {
            *kind == used.kind && *file == used.file && used.line.abs_diff(*line) <= 1
        };
        let again = seen.iter().any(near);
        seen.push((used.kind, used.file.clone(), used.line));
        !again
    });
    uses.truncate(LIMIT);
    uses
}
