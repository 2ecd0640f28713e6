//! What was found, as text, JSON or Markdown.

pub mod check;
pub mod compare;
pub mod convert;
pub mod inspect_json;
pub mod inspect_text;
pub mod matrix;
pub mod ops;
pub mod verify;

use std::collections::BTreeMap;

use crate::model::{Model, ModuleId};
use crate::open::Opened;
use crate::source::{Blocker, Severity};
use crate::triage::{Status, counts_as_layer};

/// Number of modules of each status, in the order the screen lists them; those that do not occur are left out.
pub fn status_counts(opened: &Opened) -> Vec<(Status, usize)> {
    let mut counts = BTreeMap::new();
    for triaged in &opened.triage.modules {
        *counts.entry(triaged.status).or_insert(0) += 1;
    }
    Status::ALL.iter().filter_map(|status| counts.get(status).map(|&count| (*status, count))).collect()
}

/// Every blocker with its module and file, in tree order: a class used twice is listed for each of its modules.
pub fn blockers(opened: &Opened) -> impl Iterator<Item = (ModuleId, &str, &Blocker)> {
    opened.model.modules.iter().enumerate().flat_map(|(id, module)| {
        let source = opened.triage.source(&module.class);
        source.into_iter().flat_map(move |source| {
            let own = source.blockers.iter().map(|blocker| (source.file.as_str(), blocker));
            let inherited = source.inherited.iter().map(|(file, blocker)| (file.as_str(), blocker));
            own.chain(inherited).map(move |(file, blocker)| (id, file, blocker))
        })
    })
}

/// A blocker where it is written, with the modules that run it.
#[derive(Debug)]
pub struct BlockerPlace<'a> {
    /// The file.
    pub file: &'a str,
    /// What is there.
    pub blocker: &'a Blocker,
    /// In tree order.
    pub modules: Vec<ModuleId>,
}

/// Every blocker once, however many modules run it: the worst first, then by file and line.
pub fn blocker_places(opened: &Opened) -> Vec<BlockerPlace<'_>> {
    let mut places: BTreeMap<_, BlockerPlace<'_>> = BTreeMap::new();
    for (id, file, blocker) in blockers(opened) {
        let key = (blocker.severity, file, blocker.line, blocker.column, &blocker.pattern);
        let place = places.entry(key).or_insert(BlockerPlace { file, blocker, modules: Vec::new() });
        place.modules.push(id);
    }
    places.into_values().collect()
}

/// `2 break, 1 differs, 3 harmless`; `none`.
pub fn severity_counts(places: &[BlockerPlace<'_>]) -> String {
    let words = [(Severity::Breaks, "break", "breaks"), (Severity::Differs, "differ", "differs")];
    let words = words.into_iter().chain([(Severity::Harmless, "harmless", "harmless")]);
    let counts = words.filter_map(|(severity, several, one)| {
        let count = places.iter().filter(|place| place.blocker.severity == severity).count();
        (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { several }))
    });
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

/// The modules that coverage counts and verify lists.
pub fn layers(opened: &Opened) -> impl Iterator<Item = ModuleId> {
    let counted = |(id, module): (usize, &crate::model::Module)| {
        counts_as_layer(opened.triage.modules[id].status, module.is_leaf(id)).then_some(id)
    };
    opened.model.modules.iter().enumerate().filter_map(counted)
}

/// Elements of all parameters.
pub fn parameters(model: &Model) -> u64 {
    model.modules.first().map_or(0, |root| root.total_parameters)
}

/// Text for a code span in a cell of a Markdown table.
pub fn code_cell(text: &str) -> String {
    t2m_checkpoint::escape::quoted(text).replace('|', "\\|").replace('`', "'")
}

/// `1234567` → `1.2 M`.
pub fn count(number: u64) -> String {
    scaled(number as f64, 1000.0, &["", " k", " M", " G", " T"])
}

/// `4928307` → `4.7 MiB`.
pub fn bytes(number: u64) -> String {
    scaled(number as f64, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while number >= step && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    if unit == 0 { format!("{number:.0}{}", units[0]) } else { format!("{number:.1}{}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::{bytes, count};

    #[test]
    fn sizes_read_well() {
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1.2 M");
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(4_928_307), "4.7 MiB");
    }
}
