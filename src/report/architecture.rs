//! The published model that a file fits, in JSON.

use serde_json::{Map, Value, json};

use crate::architecture::Architecture;

/// `checkpoint.architecture` of `inspect --format json`.
pub(super) fn json(architecture: &Architecture) -> Value {
    json!({
        "name": architecture.full_name(),
        "names": architecture.names,
        "library": architecture.library,
        "version": architecture.version,
        "match": architecture.kind().name(),
        "tensors": [architecture.fit.fitting, architecture.fit.of],
        "differences": architecture.all_differences(),
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
