//! What follows from the parameters of a rotary embedding: its kind and its scaling, as transformers keeps them in the module.

use serde_json::{Map, Value, json};

/// Under this name a module has its parameters, as the configuration has them.
pub const PARAMETERS: &str = "rope_parameters";

/// Add to a module's attributes what they say of its rotary embedding.
pub fn derive(attributes: &mut Map<String, Value>) {
    let Some(Value::Object(parameters)) = attributes.get(PARAMETERS).cloned() else { return };
    if !parameters.values().any(Value::is_object) {
        attributes.insert("rope_type".to_owned(), kind(&parameters));
        attributes.extend(scaling(&parameters).map(|scaling| ("attention_scaling".to_owned(), json!(scaling))));
        return;
    }
    let mut kinds = Map::new();
    for (name, own) in parameters.iter().filter_map(|(name, own)| Some((name, own.as_object()?))) {
        kinds.insert(name.clone(), kind(own));
        attributes.extend(scaling(own).map(|scaling| (format!("{name}_attention_scaling"), json!(scaling))));
    }
    attributes.insert("rope_type".to_owned(), Value::Object(kinds));
}

fn kind(parameters: &Map<String, Value>) -> Value {
    parameters.get("rope_type").cloned().unwrap_or_else(|| json!("default"))
}

/// What cosines and sines are multiplied by; `None` where that is not known.
fn scaling(parameters: &Map<String, Value>) -> Option<f64> {
    let number = |key: &str| parameters.get(key).and_then(Value::as_f64);
    let by_factor = |factor: f64, scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
    match kind(parameters).as_str()? {
        "yarn" => Some(match (number("attention_factor"), number("factor"), number("mscale"), number("mscale_all_dim")) {
            (Some(told), ..) => told,
            (_, Some(factor), Some(scale), Some(all)) if scale != 0.0 && all != 0.0 => {
                by_factor(factor, scale) / by_factor(factor, all)
            }
            (_, factor, ..) => by_factor(factor?, 1.0),
        }),
        "longrope" => match (number("attention_factor"), number("factor")) {
            (Some(told), _) => Some(told),
            (None, Some(factor)) if factor <= 1.0 => Some(1.0),
            (None, factor) => {
                Some((1.0 + factor?.ln() / number("original_max_position_embeddings")?.ln()).sqrt())
            }
        },
        "default" | "linear" | "dynamic" | "llama3" | "proportional" | "axial" => Some(1.0),
        _ => None,
    }
}
