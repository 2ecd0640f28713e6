//! What PyTorch says of the fixtures in `tests/fixtures/legacy`, held against what we read.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use t2m_checkpoint::Checkpoint;

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/legacy").join(name)
}

/// The facts of one fixture.
pub fn expected(name: &str) -> Value {
    let text = std::fs::read_to_string(fixture("expected.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[name].take()
}

/// Names, element types, shapes and first elements.
pub fn compare(checkpoint: &Checkpoint, expected: &Value) {
    let expected = expected["tensors"].as_object().unwrap();
    let mut names: Vec<&str> = checkpoint.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut expected_names: Vec<&str> = expected.keys().map(String::as_str).collect();
    names.sort_unstable();
    expected_names.sort_unstable();
    assert_eq!(names, expected_names);
    for (id, tensor) in checkpoint.tensors.iter().enumerate() {
        let facts = &expected[tensor.name.as_str()];
        assert_eq!(
            json!([tensor.dtype.name(), tensor.shape.as_slice()]),
            json!([facts["dtype"], facts["shape"]]),
            "{}",
            tensor.name
        );
        let data = checkpoint.read(id).unwrap_or_else(|error| panic!("{error}"));
        // Elements of eight bits are read, but not turned into numbers.
        let Some(elements) = data.to_f64() else {
            assert!(tensor.dtype.name().starts_with("float8"), "{}", tensor.name);
            continue;
        };
        let facts: Vec<f64> =
            facts["elements"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        assert_eq!(facts.len(), elements.len().min(6), "{}", tensor.name);
        // JSON may be off by the last bit.
        let close = elements.iter().zip(&facts).all(|(found, fact)| (found - fact).abs() <= fact.abs() * 1e-14);
        assert!(close, "{}: {elements:?} {facts:?}", tensor.name);
    }
}
