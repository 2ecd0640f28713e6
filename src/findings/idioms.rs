//! The idioms of a model's own forwards, each variant with its places.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Model, ModuleId};
use crate::open::Opened;
use crate::registry::idioms::{Idiom, Kind, built_in};
use crate::source::{IdiomUse, Reach};
use crate::triage::Triage;

/// File and 1-based line; each once, in order.
type Places<'a> = BTreeSet<(&'a str, usize)>;

/// One variant with every place where it is written.
#[derive(Debug)]
pub struct IdiomSummary<'a> {
    /// What is known of it.
    pub row: &'static Idiom,
    /// How many modules run one of these places.
    pub count: usize,
    /// File and 1-based line; each once, in order.
    pub places: Places<'a>,
}

/// The idioms that the model runs, or may run, in the order of the table.
pub fn idioms(opened: &Opened) -> Vec<IdiomSummary<'_>> {
    let mut found: BTreeMap<Kind, (usize, Places<'_>)> = BTreeMap::new();
    for id in 0..opened.model.modules.len() {
        let mut own: BTreeSet<Kind> = BTreeSet::new();
        for (kind, used, file) in of_module(&opened.model, &opened.triage, id) {
            let known = found.entry(kind).or_default();
            known.0 += usize::from(own.insert(kind));
            known.1.insert((file, used.line));
        }
    }
    let summary = |row: &'static Idiom| {
        let (count, places) = found.remove(&row.kind)?;
        Some(IdiomSummary { row, count, places })
    };
    built_in().iter().filter_map(summary).collect()
}

/// The idioms of one module's own forward, with the variant that its attributes choose, and the file.
pub fn of_module<'a>(
    model: &'a Model,
    triage: &'a Triage,
    id: ModuleId,
) -> impl Iterator<Item = (Kind, &'a IdiomUse, &'a str)> {
    let module = model.modules.get(id);
    let source = module.and_then(|module| triage.source(&module.class));
    let reached = triage.reached.get(id).and_then(Option::as_deref);
    source.into_iter().flat_map(move |source| {
        source.idioms.iter().enumerate().filter_map(move |(at, used)| {
            let runs =
                reached.is_none_or(|reached| reached.idioms.get(at).copied().flatten().is_some_and(Reach::counts));
            let kind = match &used.choice {
                None => used.kind,
                Some(choice) => choice.variant(used.kind, module?.attributes.get(&choice.attribute))?,
            };
            runs.then_some((kind, used, used.file.as_deref().unwrap_or(&source.file)))
        })
    })
}
