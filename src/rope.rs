//! Rotary embeddings by their parameters, as transformers' configurations have them: the frequencies, what cosines and sines are
//! multiplied by, and what computes the same in MLX.

use std::f64::consts::PI;

use serde_json::{Map, Value, json};

/// Under this name a module has its parameters, as the configuration has them.
const PARAMETERS: &str = "rope_parameters";
/// Under this name, behind the layers' type where there are several, how many numbers of a head are turned.
const DIMENSIONS: &str = "rotary_dim";
/// More is no head.
const MOST_DIMENSIONS: u64 = 1 << 16;

/// Parameters of one rotary embedding.
#[derive(Debug, Clone, Copy)]
pub struct Rope<'a> {
    parameters: &'a Map<String, Value>,
    /// Numbers of a head that are turned.
    dimensions: Option<u64>,
}

impl<'a> Rope<'a> {
    /// Of a module's attributes: one, or one for each type of layer, whose names stand in front of theirs with an underscore.
    pub fn all(attributes: &'a Map<String, Value>) -> Vec<(String, Rope<'a>)> {
        let Some(parameters) = attributes.get(PARAMETERS).and_then(Value::as_object) else { return Vec::new() };
        let of = |prefix: &str, parameters: &'a Map<String, Value>| {
            let dimensions = attributes.get(&format!("{prefix}{DIMENSIONS}")).and_then(Value::as_u64);
            Rope { parameters, dimensions: dimensions.filter(|count| (2..=MOST_DIMENSIONS).contains(count)) }
        };
        if !parameters.values().any(Value::is_object) {
            return vec![(String::new(), of("", parameters))];
        }
        let several = parameters.iter().filter_map(|(name, own)| Some((format!("{name}_"), own.as_object()?)));
        several.map(|(prefix, own)| (prefix.clone(), of(&prefix, own))).collect()
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.parameters.get(key).and_then(Value::as_f64).filter(|number| number.is_finite())
    }

    fn kind(&self) -> &'a str {
        self.parameters.get("rope_type").and_then(Value::as_str).unwrap_or("default")
    }

    /// Whether frequencies or angles are others than those of a plain one.
    pub fn is_scaled(&self) -> bool {
        !matches!(self.kind(), "default" | "axial")
    }

    fn factor(&self) -> Option<f64> {
        self.number("factor").filter(|factor| *factor > 0.0)
    }

    /// The length that the model was first trained with.
    fn length(&self) -> Option<f64> {
        self.number("original_max_position_embeddings").filter(|length| *length > 1.0)
    }

    /// What cosines and sines are multiplied by; `None` where that is not known.
    pub fn scaling(&self) -> Option<f64> {
        let by = |factor: f64, scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
        match self.kind() {
            "yarn" => {
                if let Some(told) = self.number("attention_factor") {
                    return Some(told);
                }
                let factor = self.factor()?;
                match (self.number("mscale"), self.number("mscale_all_dim")) {
                    (Some(scale), Some(all)) if scale != 0.0 && all != 0.0 => Some(by(factor, scale) / by(factor, all)),
                    _ => Some(by(factor, 1.0)),
                }
            }
            "longrope" => match (self.number("attention_factor"), self.factor()) {
                (Some(told), _) => Some(told),
                (None, factor) if factor? <= 1.0 => Some(1.0),
                (None, factor) => Some((1.0 + factor?.ln() / self.length()?.ln()).sqrt()),
            },
            "default" | "linear" | "dynamic" | "llama3" | "proportional" | "axial" => Some(1.0),
            _ => None,
        }
    }

    /// The frequencies, one for each two numbers of a head; `None` where they change with the sequence or are not known.
    pub fn frequencies(&self) -> Option<Vec<f32>> {
        let (dimensions, base) = (self.dimensions?, self.number("rope_theta").filter(|base| *base > 1.0)?);
        let count = dimensions / 2;
        let plain = |at: u64| 1.0 / base.powf((2 * at) as f64 / dimensions as f64);
        let of: Box<dyn Fn(u64) -> f64> = match self.kind() {
            "default" => Box::new(plain),
            "linear" => {
                let factor = self.factor()?;
                Box::new(move |at| plain(at) / factor)
            }
            "llama3" => {
                let (factor, length) = (self.factor()?, self.length()?);
                let (low, high) = (self.number("low_freq_factor")?, self.number("high_freq_factor")?);
                if high <= low || low <= 0.0 {
                    return None;
                }
                Box::new(move |at| {
                    let plain = plain(at);
                    // How often a turn fits into the first length; between the two bounds the one becomes the other.
                    let turns = length * plain / (2.0 * PI);
                    let share = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - share) * plain / factor + share * plain
                })
            }
            "yarn" => {
                let (factor, length) = (self.factor()?, self.length()?);
                let dimension = |turns: f64| dimensions as f64 * (length / (turns * 2.0 * PI)).ln() / (2.0 * base.ln());
                let or =
                    |key: &str, otherwise: f64| self.number(key).filter(|value| *value != 0.0).unwrap_or(otherwise);
                let (mut low, mut high) = (dimension(or("beta_fast", 32.0)), dimension(or("beta_slow", 1.0)));
                if self.parameters.get("truncate") != Some(&Value::Bool(false)) {
                    (low, high) = (low.floor(), high.ceil());
                }
                (low, high) = (low.max(0.0), high.min(dimensions as f64 - 1.0));
                let high = if low == high { high + 0.001 } else { high };
                Box::new(move |at| {
                    let share = 1.0 - ((at as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - share) * plain(at) / factor + share * plain(at)
                })
            }
            _ => return None,
        };
        Some((0..count).map(|at| of(at) as f32).collect())
    }

    /// What computes the same in MLX, in words; `traditional` is how mlx turns, where the class tells that.
    fn port(&self, traditional: Option<bool>) -> String {
        let turned = match traditional {
            Some(true) => ", traditional=True",
            Some(false) => ", traditional=False",
            None => "",
        };
        let dims = self.dimensions.map_or("dims".to_owned(), |count| count.to_string());
        let base = self.number("rope_theta").map_or("…".to_owned(), |base| base.to_string());
        let told = |keys: &[&str]| {
            let told = keys.iter().filter_map(|key| Some(format!("{key} {}", self.number(key)?)));
            told.collect::<Vec<_>>().join(", ")
        };
        let by_frequencies = |how: &str, keys: &[&str]| {
            format!(
                "rope_type {} ({}): {how}, which nn.RoPE's base and scale cannot say. mx.fast.rope(x, {dims}{turned}, base=None, scale=1.0, offset=…, freqs=1 / inv_freq)",
                self.kind(),
                told(keys),
            )
        };
        match self.kind() {
            "default" => format!("Not scaled: nn.RoPE({dims}{turned}, base={base})."),
            "linear" => format!(
                "rope_type linear: nn.RoPE({dims}{turned}, base={base}, scale=1 / {}); without scale the positions are wrong.",
                self.number("factor").map_or("factor".to_owned(), |factor| factor.to_string()),
            ),
            "llama3" => {
                by_frequencies(
                    "low frequencies are divided by the factor, high ones kept",
                    &["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
                ) + "."
            }
            "yarn" => {
                let scaling = self.scaling().map_or("attention_scaling".to_owned(), |scaling| format!("{scaling:.6}"));
                let keys = ["factor", "beta_fast", "beta_slow", "original_max_position_embeddings"];
                by_frequencies("each frequency is divided by its own share of the factor", &keys)
                    + &format!(", of queries and keys that are multiplied by {scaling} first.")
            }
            "longrope" => format!(
                "rope_type longrope: each frequency has a factor of its own, short_factor up to {} positions and long_factor beyond: mx.fast.rope(…, freqs=…) with the one that the length asks for, of queries and keys multiplied by {}.",
                self.length().map_or("the first length".to_owned(), |length| length.to_string()),
                self.scaling().map_or("attention_scaling".to_owned(), |scaling| format!("{scaling:.6}")),
            ),
            "dynamic" => format!(
                "rope_type dynamic: beyond the length that the model was trained with, the base ({base}) grows with the sequence: nn.RoPE({dims}{turned}, base={base}) up to there, mx.fast.rope with another base beyond."
            ),
            other => format!(
                "rope_type {}: compute its frequencies as transformers does, and give them to mx.fast.rope(…, freqs=…).",
                t2m_checkpoint::escape::quoted(other)
            ),
        }
    }
}

/// What a rotary embedding with these attributes needs in MLX, in words; `None` where they do not say.
pub fn port(attributes: &Map<String, Value>, traditional: Option<bool>) -> Option<String> {
    let all = Rope::all(attributes);
    let said = all.iter().map(|(prefix, rope)| match prefix.trim_end_matches('_') {
        "" => rope.port(traditional),
        name => format!("{}: {}", t2m_checkpoint::escape::quoted(name), rope.port(traditional)),
    });
    let said: Vec<String> = said.take(4).collect();
    (!said.is_empty()).then(|| said.join(" "))
}

/// Add to a module's attributes what their parameters say of it, under the names that transformers gives that.
pub fn derive(attributes: &mut Map<String, Value>) {
    let mut derived = Map::new();
    let mut kinds = Map::new();
    for (prefix, rope) in Rope::all(attributes) {
        if let Some(scaling) = rope.scaling() {
            derived.insert(format!("{prefix}attention_scaling"), json!(scaling));
        }
        match prefix.trim_end_matches('_') {
            "" => derived.insert("rope_type".to_owned(), json!(rope.kind())),
            name => kinds.insert(name.to_owned(), json!(rope.kind())),
        };
    }
    if !kinds.is_empty() {
        derived.insert("rope_type".to_owned(), Value::Object(kinds));
    }
    attributes.append(&mut derived);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parameters: Value, dimensions: u64, wanted: &[f32], scaling: f64) {
        let attributes = json!({"rope_parameters": parameters, "rotary_dim": dimensions});
        let attributes = attributes.as_object().unwrap();
        let rope = Rope::all(attributes)[0].1;
        let found = rope.frequencies().unwrap();
        assert_eq!(found.len(), wanted.len());
        // transformers computes in float32, which costs a few bits where two nearly equal numbers are subtracted.
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 4e-6 * b.abs();
        assert!(found.iter().zip(wanted).all(near), "{found:?} {wanted:?}");
        assert!((rope.scaling().unwrap() - scaling).abs() < 1e-12);
    }

    /// What transformers' ROPE_INIT_FUNCTIONS give.
    #[test]
    fn frequencies_are_those_of_transformers() {
        check(
            json!({"rope_type": "default", "rope_theta": 10000.0}),
            16,
            &[1.0, 0.31622776, 0.1, 0.03162278, 0.01, 0.0031622779, 0.001, 0.0003162278],
            1.0,
        );
        check(
            json!({"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
            8,
            &[0.25, 0.025, 0.0025, 0.00025],
            1.0,
        );
        check(
            json!({"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
            32,
            &[
                1.0,
                0.44036663,
                0.19392276,
                0.0853971,
                0.03760603,
                0.01656044,
                0.007292665,
                0.003211446,
                0.000524846,
                7.7846555e-05,
                3.4281024e-05,
                1.5096218e-05,
                6.6478697e-06,
                2.9274997e-06,
                1.2891732e-06,
                5.677088e-07,
            ],
            1.0,
        );
        check(
            json!({"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 4096}),
            32,
            &[
                1.0,
                0.56234133,
                0.31622776,
                0.17782794,
                0.1,
                0.05623413,
                0.028234623,
                0.013972196,
                0.006785714,
                0.003213379,
                0.0014682005,
                0.00063509983,
                0.00025,
                0.00014058533,
                7.905695e-05,
                4.4456985e-05,
            ],
            1.138629436111989,
        );
        check(
            json!({"rope_type": "yarn", "rope_theta": 10000.0, "factor": 40.0, "mscale": 0.707, "mscale_all_dim": 1.0, "beta_fast": 24, "beta_slow": 2, "truncate": false, "original_max_position_embeddings": 4096}),
            32,
            &[
                1.0,
                0.56234133,
                0.31622776,
                0.17782794,
                0.1,
                0.05623413,
                0.029736267,
                0.012705408,
                0.0048861187,
                0.0014775303,
                0.00011662647,
                4.4456985e-05,
                2.5e-05,
                1.40585325e-05,
                7.9056945e-06,
                4.4456983e-06,
            ],
            0.9210423553163399,
        );
    }

    #[test]
    fn a_scaled_embedding_says_what_mlx_needs_and_a_plain_one_that_it_is_plain() {
        let attributes =
            |parameters: Value| json!({"rope_parameters": parameters, "rotary_dim": 16}).as_object().unwrap().clone();
        let said = |parameters: Value| port(&attributes(parameters), Some(false)).unwrap();
        assert_eq!(
            said(json!({"rope_type": "default", "rope_theta": 1e4})),
            "Not scaled: nn.RoPE(16, traditional=False, base=10000)."
        );
        let llama3 = json!({"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
        let words = said(llama3);
        assert!(words.contains("factor 8, low_freq_factor 1") && words.contains("freqs=1 / inv_freq"), "{words}");
        assert_eq!(port(&Map::new(), None), None);
        // A file may say anything.
        for odd in [
            json!({}),
            json!({"rope_type": 3}),
            json!({"rope_type": "yarn", "factor": 0, "rope_theta": 1.0}),
            json!({"rope_type": "llama3", "rope_theta": 10.0, "factor": 2.0, "low_freq_factor": 4, "high_freq_factor": 1, "original_max_position_embeddings": 0}),
        ] {
            let attributes = attributes(odd);
            for (_, rope) in Rope::all(&attributes) {
                assert!(rope.frequencies().is_none_or(|found| found.iter().all(|number| number.is_finite())));
            }
        }
    }
}
