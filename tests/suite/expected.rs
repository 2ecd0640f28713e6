//! Holds what a reader found against `tests/fixtures/script/expected.json`, which PyTorch wrote.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, missing_docs)]

use std::path::PathBuf;

use serde_json::Value;
use t2m_checkpoint::{Checkpoint, Content, FoundModule, TensorKind};

/// The fixture of that name.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/script").join(name)
}

/// Its bytes.
pub fn content(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

/// What PyTorch says of one of the models.
pub fn facts(model: &str) -> Value {
    let mut all: Value = serde_json::from_slice(&content("expected.json")).unwrap();
    all[model].take()
}

pub fn modules(checkpoint: &Checkpoint) -> &[FoundModule] {
    match &checkpoint.content {
        Content::Modules(modules) => modules,
        Content::StateDict { .. } => panic!("a state dict"),
    }
}

pub fn module<'a>(checkpoint: &'a Checkpoint, path: &str) -> &'a FoundModule {
    modules(checkpoint).iter().find(|module| module.path == path).unwrap_or_else(|| panic!("no module {path}"))
}

/// Paths in order, classes, tensors with kinds and shapes, tensor values, and every attribute that was found. Attributes that
/// a layer's result depends on must have been found; `classless` paths have no class, so none of either.
pub fn check(checkpoint: &Checkpoint, model: &str, classless: &[&str]) {
    let facts = facts(model);
    let expected = facts["modules"].as_array().unwrap();
    let paths: Vec<&str> = expected.iter().map(|module| module["path"].as_str().unwrap()).collect();
    let found: Vec<&str> = modules(checkpoint).iter().map(|module| module.path.as_str()).collect();
    assert_eq!(found, paths);
    for (found, expected) in modules(checkpoint).iter().zip(expected) {
        let path = found.path.as_str();
        let class = if classless.contains(&path) { "" } else { expected["class"].as_str().unwrap() };
        assert_eq!(found.class, class, "{path}");
        assert_eq!(own_tensors(checkpoint, found), expected_tensors(&expected["tensors"]), "{path}");
        for (name, value) in &found.attributes {
            let expected = &expected["attributes"][name];
            // One number stands for all axes.
            let spread = value.as_array().filter(|values| !values.is_empty() && expected.is_number());
            let same = spread.map_or(value == expected, |values| values.iter().all(|value| value == expected));
            assert!(same, "{path}.{name}: {value} instead of {expected}");
        }
        for name in needed(&found.class) {
            assert!(found.attributes.contains_key(*name), "{path} ({}) has no {name}", found.class);
        }
    }
    for (name, values) in facts["values"].as_object().unwrap() {
        let id = checkpoint.tensors.iter().position(|tensor| tensor.name == *name).unwrap_or_else(|| panic!("{name}"));
        let data = checkpoint.read(id).unwrap();
        let size = data.dtype.size();
        let read: Vec<f32> = data.bytes.chunks(size).map(number).collect();
        let values: Vec<f32> = values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect();
        assert_eq!(read, values, "{name}");
    }
}

fn number(bytes: &[u8]) -> f32 {
    match bytes.len() {
        4 => f32::from_le_bytes(bytes.try_into().unwrap()),
        _ => i64::from_le_bytes(bytes.try_into().unwrap()) as f32,
    }
}

type Own = (String, String, Vec<u64>);

fn own_tensors(checkpoint: &Checkpoint, module: &FoundModule) -> Vec<Own> {
    let kind = |kind| match kind {
        TensorKind::Parameter => "parameter",
        TensorKind::Buffer => "buffer",
        TensorKind::Unknown => "unknown",
    };
    let own = module.tensors.iter().filter_map(|own| {
        let tensor = &checkpoint.tensors[own.tensor?];
        Some((own.name.to_string(), kind(own.kind).to_owned(), tensor.shape.to_vec()))
    });
    own.collect()
}

/// Those that are not None.
fn expected_tensors(tensors: &Value) -> Vec<Own> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let tensors = tensors.as_array().unwrap().iter().filter_map(|tensor| {
        let shape = tensor["shape"].as_array()?.iter().map(|size| size.as_u64().unwrap()).collect();
        Some((text(&tensor["name"]), text(&tensor["kind"]), shape))
    });
    tensors.collect()
}

/// What a layer's result depends on.
fn needed(class: &str) -> &'static [&'static str] {
    match class.rsplit('.').next().unwrap() {
        "Conv2d" => &["in_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"],
        "BatchNorm2d" => &["num_features", "eps", "track_running_stats"],
        "LayerNorm" => &["normalized_shape", "eps"],
        "GroupNorm" => &["num_groups", "num_channels", "eps"],
        "LeakyReLU" => &["negative_slope"],
        "GELU" => &["approximate"],
        "MaxPool2d" => &["kernel_size", "stride", "padding", "dilation", "ceil_mode"],
        "Dropout" => &["p"],
        _ => &[],
    }
}
