//! Small files of JSON that lie beside weights: config.json and its like.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::name_for_message;
use super::{Bytes, json, mount};

/// What libraries keep a model's configuration in.
pub(super) const CONFIG: &str = "config.json";
/// A longer config.json is none.
const LONGEST_CONFIG: u64 = 16 << 20;

/// Read one; or why it cannot be used, in words.
pub(super) fn read(path: &Path) -> Result<Map<String, Value>, String> {
    let bytes = Bytes::open(path).map_err(|error| error.to_string())?;
    if bytes.length() > LONGEST_CONFIG {
        return Err(format!("it has {} bytes", bytes.length()));
    }
    let text = bytes.read_range(0, bytes.length()).map_err(|error| error.to_string())?.unwrap_or_default();
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let config = json::object(&mut reader).and_then(|config| reader.end().map(|()| config));
    config.map_err(|error| name_for_message(&error.to_string()))
}

/// The configuration in the folder of a file, if one is there that can be read.
pub(super) fn beside(path: &Path) -> Option<Map<String, Value>> {
    let beside = path.parent().filter(|_| !mount::is_folder(path))?.join(CONFIG);
    mount::is_file(&beside).then(|| read(&beside).ok())?
}
