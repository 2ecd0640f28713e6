//! The ops and the idioms of a model's own forwards, as JSON.

use serde_json::{Map, Value, json};

use crate::findings::idioms::idioms;
use crate::findings::ops::{OpSummary, ops};
use crate::open::Opened;

/// The ops as `inspect --format json` lists them.
pub fn json(opened: &Opened) -> Vec<Value> {
    ops(opened).iter().map(op).collect()
}

fn op(op: &OpSummary<'_>) -> Value {
    let places = op.places.iter().map(|(file, line, guess)| json!({"file": file, "line": line, "guess": guess}));
    let mut value = Map::new();
    let mut put = |name: &str, field: Value| value.insert(name.to_owned(), field);
    put("torch", json!(op.torch));
    put("mlx", json!(op.mlx()));
    put("status", json!(op.status.name()));
    put("count", json!(op.count));
    put("guess", json!(op.guess));
    if let Some(row) = op.row {
        if let Some(trap) = row.trap.as_ref().filter(|_| row.status == op.status) {
            put("trap", json!(trap));
        }
        if !row.renames.is_empty() {
            put("renames", json!(row.renames));
        }
    }
    if let Some(order) = op.order {
        put("layout", json!(order.name()));
    }
    if !op.notes.is_empty() {
        put("notes", json!(op.notes));
    }
    put("places", places.collect());
    Value::Object(value)
}

/// The idioms as `inspect --format json` lists them.
pub fn idioms_json(opened: &Opened) -> Vec<Value> {
    let value = |found: &crate::findings::idioms::IdiomSummary<'_>| {
        let places = found.places.iter().map(|(file, line)| json!({"file": file, "line": line}));
        json!({
            "idiom": found.row.name, "variant": found.row.variant, "mlx": found.row.mlx, "text": found.row.text,
            "reach": found.reach,
            "count": found.count, "places": places.collect::<Vec<Value>>(),
        })
    };
    idioms(opened).iter().map(value).collect()
}
