//! What lies beside weights in a folder: how many names are looked at, and configurations.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::name_for_message;
use super::{Bytes, json};

/// Names of a folder that are looked at, where none of them is usual.
pub(super) const MOST_NAMES: usize = 200_000;
/// A longer config.json is none.
const LONGEST_CONFIG: u64 = 16 << 20;

/// A configuration, or why it cannot be read.
pub(super) fn config(path: &Path) -> Result<Map<String, Value>, String> {
    let bytes = Bytes::open(path).map_err(|error| error.to_string())?;
    if bytes.length() > LONGEST_CONFIG {
        return Err(format!("it has {} bytes", bytes.length()));
    }
    let text = bytes.read_range(0, bytes.length()).map_err(|error| error.to_string())?.unwrap_or_default();
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let config = json::object(&mut reader).and_then(|config| reader.end().map(|()| config));
    config.map_err(|error| name_for_message(&error.to_string()))
}
