//! The published model that a file fits, in text and JSON.

use serde_json::{Map, Value, json};

use crate::architecture::Architecture;
use t2m_checkpoint::escape::quoted;

/// Hyper-parameters that tell candidates apart: so many are named.
const MOST_TOLD: usize = 3;

/// `checkpoint.architecture` of `inspect --format json`.
pub(super) fn json(architecture: &Architecture) -> Value {
    json!({
        "name": architecture.full_name(),
        "names": architecture.names,
        "library": architecture.library,
        "version": architecture.version,
        "match": architecture.kind().name(),
        "tensors": [architecture.fit.fitting, architecture.fit.of],
        "differences": architecture.differences(),
    })
}

/// `checkpoint.candidates`: models that the file cannot tell apart, each with what tells them apart.
pub(super) fn candidates(architecture: &Architecture) -> Vec<Value> {
    let mut differs: Map<String, Value> = Map::new();
    for told in &architecture.told_apart {
        let module = differs.entry(told.module.clone()).or_insert_with(|| json!({}));
        module[&told.attribute] = json!(told.values);
    }
    architecture
        .others
        .iter()
        .flat_map(|other| other.names.iter().map(move |name| format!("{}.{name}", other.library)))
        .map(|name| json!({"name": name, "differs": differs}))
        .collect()
}

/// Lines of text: the model, what differs, which others fit as well.
pub(super) fn lines(architecture: &Architecture) -> Vec<String> {
    let Architecture { library, version, .. } = architecture;
    let mut lines = vec![format!("{}, as {library} {version} builds it", quoted(&architecture.title()))];
    lines.extend(architecture.differences().iter().map(|difference| quoted(difference).into_owned()));
    if let Some(first) = architecture.others.first() {
        let count: usize = architecture.others.iter().map(|other| other.names.len()).sum();
        let name = first.names.first().map_or("", String::as_str);
        let chosen = if architecture.by_file_name { "; the file's name decided" } else { "" };
        lines.push(format!("{count} more fit as well, {} {name} for one{chosen}", first.library));
    }
    let mut told: Vec<(&str, Vec<String>)> = Vec::new();
    for apart in &architecture.told_apart {
        let values: Vec<String> =
            apart.values.iter().map(|value| value.as_ref().map_or("none".to_owned(), Value::to_string)).collect();
        if !told.iter().any(|(name, known)| *name == apart.attribute && *known == values) {
            told.push((&apart.attribute, values));
        }
    }
    for (name, values) in told.iter().take(MOST_TOLD) {
        lines.push(format!("not told by the file: {name} is {}", values.join(" or ")));
    }
    lines
}
