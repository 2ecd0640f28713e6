//! Numbers in JSON, which has none that is infinite and no NaN: those are texts.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number, or the name of one that JSON lacks.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
}

pub(super) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let written = if number.is_finite() { Written::Number(*number) } else { Written::Text(number.to_string()) };
    written.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => text.parse().map_err(|_| de::Error::custom("a number, inf, -inf or NaN is expected")),
    }
}
