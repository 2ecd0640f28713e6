//! A configuration as its class would hold it: old names, defaults, and values that follow from others.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::expression::{Env, evaluate};

/// Configurations in configurations.
const DEEPEST: usize = 6;
/// Kinds of rotary embeddings that need the length of the first training.
const OF_A_LENGTH: [&str; 3] = ["llama3", "yarn", "longrope"];

/// What is known of a configuration's class.
#[derive(Debug, serde::Deserialize)]
pub struct Config {
    /// Another name of a key → the name that it is kept under.
    names: HashMap<String, String>,
    defaults: Map<String, Value>,
    /// Keys that follow from others where they are not given, in the order in which they are made.
    computed: Vec<(String, Value)>,
    /// Keys of nested configurations and their model types.
    parts: HashMap<String, String>,
}

/// The whole configuration; `of` finds the class of a nested one.
pub fn normalised<'c>(
    raw: &Map<String, Value>,
    class: &'c Config,
    of: &dyn Fn(&str) -> Option<&'c Config>,
) -> Map<String, Value> {
    let raw = raw.iter().map(|(key, value)| (key.clone(), plain(value))).collect();
    below(&raw, class, of, 0)
}

/// A value in which numbers without end are texts, as attributes have them: `inf` for `{"__float__": "Infinity"}`.
fn plain(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(object) => match object.get("__float__").and_then(Value::as_str) {
            Some("Infinity") => Value::from("inf"),
            Some("-Infinity") => Value::from("-inf"),
            Some("NaN") => Value::from("nan"),
            _ => Value::Object(object.iter().map(|(key, value)| (key.clone(), plain(value))).collect()),
        },
        other => other.clone(),
    }
}

fn below<'c>(
    raw: &Map<String, Value>,
    class: &'c Config,
    of: &dyn Fn(&str) -> Option<&'c Config>,
    depth: usize,
) -> Map<String, Value> {
    let mut config = raw.clone();
    for (other, name) in &class.names {
        if let Some(value) = raw.get(other).filter(|_| !raw.contains_key(name)) {
            config.insert(name.clone(), value.clone());
        }
    }
    let labels = raw.get("id2label").and_then(Value::as_object).map(|labels| Value::from(labels.len()));
    if let Some(labels) = labels {
        config.entry("num_labels").or_insert(labels);
    }
    if class.defaults.contains_key("rope_parameters") || class.computed.iter().any(|(key, _)| key == "rope_parameters")
    {
        rope(raw, class.defaults.get("rope_parameters"), &mut config);
    }
    for (key, value) in &class.defaults {
        if !config.contains_key(key) {
            config.insert(key.clone(), value.clone());
        }
    }
    for (key, expression) in &class.computed {
        if config.get(key).is_none_or(Value::is_null)
            && let Some(value) = evaluate(expression, Env { config: &config }, &[])
        {
            config.insert(key.clone(), value);
        }
    }
    for (key, kind) in class.parts.iter().filter(|_| depth < DEEPEST) {
        let nothing = Map::new();
        let part = raw.get(key).and_then(Value::as_object).unwrap_or(&nothing);
        let kind = part.get("model_type").and_then(Value::as_str).unwrap_or(kind);
        let mut whole = of(kind).map_or_else(|| part.clone(), |class| below(part, class, of, depth + 1));
        whole.insert("model_type".to_owned(), Value::from(kind));
        config.insert(key.clone(), Value::Object(whole));
    }
    config
}

/// Put what older configurations say of rotary embeddings (`rope_theta`, `rope_scaling`) where newer ones have it.
fn rope(raw: &Map<String, Value>, default: Option<&Value>, config: &mut Map<String, Value>) {
    let object = |key: &str| raw.get(key).and_then(Value::as_object).filter(|given| !given.is_empty());
    let number =
        |names: &[&str]| names.iter().find_map(|name| raw.get(*name).filter(|value| value.is_number())).cloned();
    let default = default.and_then(Value::as_object);
    let (theta, share) = (number(&["rope_theta", "rotary_emb_base"]), number(&["partial_rotary_factor", "rotary_pct"]));
    let is_nested = |rope: &Map<String, Value>| rope.values().any(Value::is_object);
    let given = object("rope_parameters").or_else(|| object("rope_scaling"));
    let length = raw.get("original_max_position_embeddings").or_else(|| raw.get("max_position_embeddings")).cloned();
    let whole = |mut own: Map<String, Value>, theta: Option<Value>, from: Option<&Map<String, Value>>| {
        let kind = own.get("rope_type").or_else(|| own.get("type")).cloned();
        let from = from.into_iter().flatten();
        let from: Map<String, Value> = from.map(|(key, value)| (key.clone(), value.clone())).collect();
        let kind = kind.or_else(|| from.get("rope_type").cloned()).unwrap_or_else(|| json!("default"));
        let needs_length = kind.as_str().is_some_and(|kind| OF_A_LENGTH.contains(&kind));
        own.insert("rope_type".to_owned(), kind);
        for (key, value) in [
            ("rope_theta", theta.or_else(|| from.get("rope_theta").cloned())),
            ("partial_rotary_factor", share.clone().or_else(|| from.get("partial_rotary_factor").cloned())),
            ("original_max_position_embeddings", length.clone().filter(|_| needs_length)),
        ] {
            if let Some(value) = value {
                own.entry(key).or_insert(value);
            }
        }
        own
    };
    let value = match (given, default) {
        (Some(given), _) if is_nested(given) => {
            let own = given.iter().map(|(name, own)| {
                let own = own.as_object().cloned();
                (name.clone(), own.map_or(Value::Null, |own| Value::Object(whole(own, theta.clone(), None))))
            });
            own.collect()
        }
        // Frequencies for each type of layer, of a file that has one for all and one for those that see a window.
        (given, Some(default)) if is_nested(default) => {
            let own = default.iter().map(|(name, own)| {
                let is_local = name.contains("sliding") || name.contains("local");
                let theta = if is_local {
                    number(&["rope_local_base_freq", "local_rope_theta"])
                } else {
                    number(&["rope_theta", "global_rope_theta"])
                };
                let given = given.filter(|_| !is_local).cloned().unwrap_or_default();
                (name.clone(), Value::Object(whole(given, theta, own.as_object())))
            });
            own.collect()
        }
        (None, None) if theta.is_none() => return,
        (given, default) => whole(given.cloned().unwrap_or_default(), theta, default),
    };
    config.insert("rope_parameters".to_owned(), Value::Object(value));
}
