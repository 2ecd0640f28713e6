//! JSON that a stranger wrote, read with a limit: a zero takes one byte of text, and forty times that as a value.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How many values of a configuration or of an index's metadata are read; vocabularies of labels have a tenth of that.
const MOST_VALUES: usize = 200_000;

/// Read an object of at most [`MOST_VALUES`] values.
///
/// # Errors
/// It is not an object, or has more.
pub(super) fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    let left = Cell::new(MOST_VALUES);
    match deserializer.deserialize_map(Limited(&left))? {
        Value::Object(map) => Ok(map),
        _ => Err(D::Error::custom("invalid type, expected a map")),
    }
}

/// Reads a value and takes what it holds off a count.
struct Limited<'a>(&'a Cell<usize>);

impl Limited<'_> {
    fn spend<E: Error>(&self) -> Result<(), E> {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.ok_or_else(|| E::custom(format!("it holds more than {MOST_VALUES} values")))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Limited<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Limited<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Limited(self.0))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            map.insert(key, entries.next_value_seed(Limited(self.0))?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str) -> Result<Map<String, Value>, String> {
        object(&mut serde_json::Deserializer::from_str(text)).map_err(|error| error.to_string())
    }

    #[test]
    fn it_reads_what_serde_json_reads() {
        let text =
            r#"{"a": [1, -2, 2.5, 1e300, null, true, "x\n"], "b": {"c": {}, "a": []}, "z": 18446744073709551615}"#;
        assert_eq!(Value::Object(read(text).unwrap()), serde_json::from_str::<Value>(text).unwrap());
        assert!(read("[]").unwrap_err().contains("expected a map"));
    }

    #[test]
    fn many_values_are_refused_before_they_take_memory() {
        let zeros = format!(r#"{{"a": [{}0]}}"#, "0,".repeat(MOST_VALUES));
        assert!(read(&zeros).unwrap_err().contains("more than 200000 values"));
    }
}
