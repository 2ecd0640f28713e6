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
    /// Whether the model runs one of these places, or that cannot be decided of any.
    pub reach: Reach,
    /// How many modules run one of these places.
    pub count: usize,
    /// File and 1-based line; each once, in order.
    pub places: Places<'a>,
}

/// The idioms that the model runs, or may run, in the order of the table.
pub fn idioms(opened: &Opened) -> Vec<IdiomSummary<'_>> {
    let mut found: BTreeMap<Kind, (Reach, usize, Places<'_>)> = BTreeMap::new();
    for id in 0..opened.model.modules.len() {
        let mut own: BTreeSet<Kind> = BTreeSet::new();
        for Own { kind, reach, used, file } in of_module(&opened.model, &opened.triage, id) {
            let known = found.entry(kind).or_insert_with(|| (reach, 0, Places::new()));
            known.0 = reach.min(known.0);
            known.1 += usize::from(own.insert(kind));
            known.2.insert((file, used.line));
        }
    }
    let summary = |row: &'static Idiom| {
        let (reach, count, places) = found.remove(&row.kind)?;
        Some(IdiomSummary { row, reach, count, places })
    };
    built_in().iter().filter_map(summary).collect()
}

/// An idiom in one module's own forward.
#[derive(Debug)]
pub struct Own<'a> {
    /// The variant that the module's attributes choose.
    pub kind: Kind,
    /// Whether the module runs it, or that is not known.
    pub reach: Reach,
    /// Where it is.
    pub used: &'a IdiomUse,
    /// The file.
    pub file: &'a str,
}

/// The idioms of one module's own forward that it runs, or may run.
pub fn of_module<'a>(model: &'a Model, triage: &'a Triage, id: ModuleId) -> impl Iterator<Item = Own<'a>> {
    let module = model.modules.get(id);
    let source = module.and_then(|module| triage.source(&module.class));
    let reached = triage.reached.get(id).and_then(Option::as_deref);
    source.into_iter().flat_map(move |source| {
        source.idioms.iter().enumerate().filter_map(move |(at, used)| {
            let reach = match reached {
                None => Some(Reach::Inference),
                Some(reached) => reached.idioms.get(at).copied().flatten().filter(|reach| reach.counts()),
            }?;
            let kind = match &used.choice {
                None => used.kind,
                Some(choice) => choice.variant(used.kind, module?.attributes.get(&choice.attribute))?,
            };
            Some(Own { kind, reach, used, file: used.file.as_deref().unwrap_or(&source.file) })
        })
    })
}
