//! One short line that says what a layer is, in terms of its class.

use serde_json::Value;

use super::Module;
use super::reparametrized::Reparametrized;

/// The hyper-parameters that people look for first: `3→64 k7 s2 p3`, `4·16`, `768→3072`, `8 heads·64`, `p 0.1`.
/// Defaults and unknown values are left out, so the line may be empty. Values are the file's, not escaped.
pub fn describe(module: &Module) -> String {
    let a = Attributes(module);
    let mut words = Words::default();
    let class = module.short_class();
    match class {
        "Linear" | "NonDynamicallyQuantizableLinear" | "LazyLinear" => {
            words.arrow(a.number("in_features"), a.number("out_features"))
        }
        "Conv1D" => words.arrow(a.number("nx"), a.number("nf")),
        "Bilinear" => words.arrow(a.pair("in1_features", "·", "in2_features"), a.number("out_features")),
        "Embedding" => words.push(a.pair("num_embeddings", "×", "embedding_dim")).tag("pad ", a.number("padding_idx")),
        "EmbeddingBag" => words.push(a.pair("num_embeddings", "×", "embedding_dim")).push(a.text("mode", "mean")),
        "GroupNorm" => {
            words.push(a.pair("num_groups", "·", "num_channels").or_else(|| a.number("num_channels"))).epsilon(&a)
        }
        "LayerNorm" | "RMSNorm" => words.push(a.sizes("normalized_shape")).epsilon(&a),
        "LocalResponseNorm" => words.push(a.number("size")),
        "MultiheadAttention" => words.push(heads(&a)),
        "PReLU" => words.push(a.number("num_parameters").filter(|count| count != "1")),
        "LeakyReLU" => words.tag("slope ", a.unlike("negative_slope", 0.01)),
        "ELU" | "CELU" => words.tag("α ", a.unlike("alpha", 1.0)),
        "Hardtanh" => words.push(a.pair("min_val", "…", "max_val")),
        "GELU" => words.push(a.text("approximate", "none")),
        "Softmax" | "LogSoftmax" | "Softmin" | "GLU" => words.tag("dim ", a.number("dim")),
        "Flatten" => words.push(a.pair("start_dim", "…", "end_dim")),
        "PixelShuffle" => words.tag("×", a.number("upscale_factor")),
        "PixelUnshuffle" => words.tag("÷", a.number("downscale_factor")),
        "Upsample" | "UpsamplingNearest2d" | "UpsamplingBilinear2d" => {
            words.tag("×", a.sizes("scale_factor")).tag("→", a.sizes("size")).push(a.text("mode", "nearest"))
        }
        "Softplus" => words.tag("β ", a.unlike("beta", 1.0)),
        "Threshold" => words.push(a.pair("threshold", "→", "value")),
        "Unflatten" | "Fold" | "Unfold" => words.tag("k", a.sizes("kernel_size")),
        _ if class.starts_with("Conv") || class.starts_with("LazyConv") => convolution(&a, &mut words),
        _ if class.contains("BatchNorm") || class.contains("InstanceNorm") => {
            words.push(a.number("num_features")).epsilon(&a)
        }
        _ if class.contains("Dropout") => words.tag("p ", a.number("p")),
        _ if class.starts_with("Adaptive") => words.tag("→", a.sizes("output_size")),
        _ if class.contains("Pool") => pool(&a, &mut words),
        _ if class.contains("Pad") => words.tag("p", a.sizes("padding")),
        _ if ["LSTM", "GRU", "RNN"].iter().any(|name| class.trim_end_matches("Cell") == *name) => {
            recurrent(&a, &mut words)
        }
        _ => &mut words,
    };
    words.push(Reparametrized::by_hook(module).map(|how| how.name().to_owned()));
    words.0
}

fn convolution<'w>(a: &Attributes<'_>, words: &'w mut Words) -> &'w mut Words {
    words
        .arrow(a.number("in_channels"), a.number("out_channels"))
        .tag("k", a.sizes("kernel_size"))
        .tag("s", a.sizes("stride").filter(|stride| stride != "1"))
        .tag("p", a.sizes("padding").filter(|padding| padding != "0"))
        .push(a.text("padding", "valid"))
        .tag("op", a.sizes("output_padding").filter(|padding| padding != "0"))
        .tag("d", a.sizes("dilation").filter(|dilation| dilation != "1"))
        .tag("g", a.number("groups").filter(|groups| groups != "1"))
        .push(a.text("padding_mode", "zeros"))
}

fn pool<'w>(a: &Attributes<'_>, words: &'w mut Words) -> &'w mut Words {
    words
        .tag("k", a.sizes("kernel_size"))
        .tag("s", a.sizes("stride"))
        .tag("p", a.sizes("padding").filter(|padding| padding != "0"))
        .tag("d", a.sizes("dilation").filter(|dilation| dilation != "1"))
        .push(a.flag("ceil_mode", "ceil"))
}

fn recurrent<'w>(a: &Attributes<'_>, words: &'w mut Words) -> &'w mut Words {
    words
        .arrow(a.number("input_size"), a.number("hidden_size"))
        .tag("×", a.number("num_layers").filter(|layers| layers != "1"))
        .push(a.flag("bidirectional", "both ways"))
        .tag("→", a.number("proj_size").filter(|size| size != "0"))
}

fn heads(a: &Attributes<'_>) -> Option<String> {
    let embed_dim = a.0.attributes.get("embed_dim")?.as_u64()?;
    match a.0.attributes.get("num_heads").and_then(Value::as_u64) {
        Some(heads) if heads > 0 => Some(format!("{heads} heads·{}", embed_dim / heads)),
        _ => Some(embed_dim.to_string()),
    }
}

/// Words with blanks between them.
#[derive(Default)]
struct Words(String);

impl Words {
    fn push(&mut self, word: Option<String>) -> &mut Words {
        self.tag("", word)
    }

    fn tag(&mut self, tag: &str, word: Option<String>) -> &mut Words {
        if let Some(word) = word {
            if !self.0.is_empty() {
                self.0.push(' ');
            }
            self.0.push_str(tag);
            self.0.push_str(&word);
        }
        self
    }

    /// `from→to`; one of them alone keeps its side of the arrow.
    fn arrow(&mut self, from: Option<String>, to: Option<String>) -> &mut Words {
        let word = match (from, to) {
            (None, None) => None,
            (from, to) => Some(format!("{}→{}", from.unwrap_or_default(), to.unwrap_or_default())),
        };
        self.push(word)
    }

    fn epsilon(&mut self, a: &Attributes<'_>) -> &mut Words {
        self.tag("ε ", a.unlike("eps", 1e-5))
    }
}

struct Attributes<'a>(&'a Module);

impl Attributes<'_> {
    /// A number, as short as it can be written.
    fn number(&self, name: &str) -> Option<String> {
        number(self.0.attributes.get(name)?)
    }

    /// A number, unless it is the default.
    fn unlike(&self, name: &str, default: f64) -> Option<String> {
        let value = self.0.attributes.get(name)?;
        if value.as_f64() == Some(default) { None } else { number(value) }
    }

    /// One number for all axes, or `5×3`.
    fn sizes(&self, name: &str) -> Option<String> {
        let value = self.0.attributes.get(name)?;
        let Some(axes) = value.as_array() else { return number(value) };
        let axes: Vec<String> = axes.iter().map(|axis| number(axis).unwrap_or_else(|| "·".to_owned())).collect();
        let first = axes.first()?;
        // A shape stays a shape; only settings for each axis are the same for all.
        let is_shape = matches!(name, "normalized_shape" | "output_size" | "size");
        if !is_shape && axes.iter().all(|axis| axis == first) { Some(first.clone()) } else { Some(axes.join("×")) }
    }

    fn pair(&self, first: &str, between: &str, second: &str) -> Option<String> {
        Some(format!("{}{between}{}", self.number(first)?, self.number(second)?))
    }

    /// A word, unless it is the default.
    fn text(&self, name: &str, default: &str) -> Option<String> {
        let text = self.0.attributes.get(name)?.as_str()?;
        (text != default).then(|| text.to_owned())
    }

    fn flag(&self, name: &str, word: &str) -> Option<String> {
        (self.0.attributes.get(name)?.as_bool()?).then(|| word.to_owned())
    }
}

/// `64`, `0.1`, `1e-5`; infinities come as texts.
fn number(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) if number.is_f64() => {
            let value = number.as_f64()?;
            let (plain, scientific) = (format!("{value}"), format!("{value:e}"));
            Some(if scientific.len() < plain.len() { scientific } else { plain })
        }
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if matches!(text.as_str(), "inf" | "-inf" | "nan") => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde_json::json;

    use super::*;
    use crate::model::Evidence;

    fn line(class: &str, attributes: Value) -> String {
        let Value::Object(attributes) = attributes else { panic!("not an object") };
        describe(&Module {
            path: Default::default(),
            name: Default::default(),
            depth: 0,
            parent: None,
            end: 1,
            class: format!("torch.nn.{class}").into(),
            alternatives: Default::default(),
            evidence: Evidence::Exact,
            confidence: 1.0,
            attributes: std::sync::Arc::new(attributes),
            told_by: Default::default(),
            open: None,
            tensors: Vec::new(),
            parameters: 0,
            total_parameters: 0,
        })
    }

    #[test]
    fn a_layer_in_the_words_of_its_class() {
        let conv = json!({"in_channels": 3, "out_channels": 64, "kernel_size": [7, 7], "stride": [2, 2], "padding": [3, 3],
            "dilation": [1, 1], "groups": 1, "padding_mode": "zeros", "output_padding": [0, 0]});
        assert_eq!(line("Conv2d", conv), "3→64 k7 s2 p3");
        let conv = json!({"out_channels": 8, "kernel_size": [5, 3], "padding": "same", "groups": 8, "padding_mode": "reflect"});
        assert_eq!(line("ConvTranspose2d", conv), "→8 k5×3 same g8 reflect");
        assert_eq!(line("Linear", json!({"in_features": 768, "out_features": 3072})), "768→3072");
        assert_eq!(line("GroupNorm", json!({"num_groups": 4, "num_channels": 16, "eps": 1e-5})), "4·16");
        assert_eq!(line("GroupNorm", json!({"num_channels": 16})), "16");
        assert_eq!(line("LayerNorm", json!({"normalized_shape": [4, 4], "eps": 1e-6})), "4×4 ε 1e-6");
        assert_eq!(line("RMSNorm", json!({"normalized_shape": [4], "eps": null})), "4");
        assert_eq!(line("BatchNorm2d", json!({"num_features": 64, "eps": 0.001})), "64 ε 1e-3");
        assert_eq!(line("MultiheadAttention", json!({"embed_dim": 512, "num_heads": 8})), "8 heads·64");
        assert_eq!(line("MultiheadAttention", json!({"embed_dim": 512})), "512");
        assert_eq!(line("Dropout2d", json!({"p": 0.1, "inplace": false})), "p 0.1");
        assert_eq!(line("Embedding", json!({"num_embeddings": 10, "embedding_dim": 8, "padding_idx": null})), "10×8");
        assert_eq!(
            line("LSTM", json!({"input_size": 4, "hidden_size": 8, "num_layers": 2, "bidirectional": true})),
            "4→8 ×2 both ways"
        );
        assert_eq!(
            line("MaxPool2d", json!({"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": false})),
            "k3 s2 p1"
        );
        assert_eq!(line("AdaptiveAvgPool2d", json!({"output_size": [1, 1]})), "→1×1");
        assert_eq!(line("Upsample", json!({"size": null, "scale_factor": 2.0, "mode": "bilinear"})), "×2 bilinear");
        assert_eq!(line("ReLU", json!({"inplace": true})), "");
        assert_eq!(line("Sequential", json!({})), "");
        assert_eq!(line("Conv2d", json!({"kernel_size": {"class": "x"}, "in_channels": "3"})), "");
    }
}
