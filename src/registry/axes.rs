//! `axes.toml`: ops that count axes, and what is said where channels are last in MLX.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;

use super::parse_toml;
use crate::assets;

/// What an op does with the axes of its tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Does {
    /// Shape and axes stay; all of its tensors are alike.
    Keeps,
    /// The same along an axis, or along some.
    Along,
    /// These axes go, or stay with length 1.
    Reduces,
    /// In several along an axis.
    Splits,
    /// One axis goes.
    Selects,
    /// Several in one along an axis.
    Joins,
    /// Several in one along a new axis.
    Stacks,
    /// A convolution, a pool: what comes out has channels last.
    Window,
    /// A norm over channels, a resize: channels last, as they come in.
    Channels,
}

/// Where an op takes its axis from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisOp {
    /// What it does.
    pub does: Does,
    /// What the argument is called.
    pub axis: String,
    /// Its place behind the tensor.
    pub at: usize,
    /// The axis without it; `None` for all of them.
    pub default: Option<i64>,
}

/// The table.
#[derive(Debug)]
pub struct Axes {
    ops: HashMap<String, AxisOp>,
    text: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    op: Vec<Row>,
    text: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    names: Vec<String>,
    does: Does,
    #[serde(default)]
    axis: String,
    #[serde(default)]
    at: usize,
    default: Option<i64>,
}

/// The built-in table, read once.
pub fn built_in() -> &'static Axes {
    static BUILT_IN: LazyLock<Axes> = LazyLock::new(|| {
        let (name, text) = ("axes.toml", include_str!("../../assets/registry/axes.toml"));
        let file = assets::built_in(name, parse_toml::<File>(Path::new(name), text));
        let mut ops = HashMap::new();
        for Row { names, does, axis, at, default } in file.op {
            let op = AxisOp { does, axis, at, default };
            ops.extend(names.into_iter().map(|name| (name, op.clone())));
        }
        Axes { ops, text: file.text }
    });
    &BUILT_IN
}

impl Axes {
    /// The row of an op, by its name without `torch.`, `F.` or `x.`; with or without the underscore of one that writes in place.
    pub fn op(&self, name: &str) -> Option<&AxisOp> {
        self.ops.get(name).or_else(|| self.ops.get(name.strip_suffix('_')?))
    }

    /// A text with its places filled in.
    pub fn words(&self, text: &str, fills: &[(&str, &str)]) -> String {
        let template = self.text.get(text).map_or("", String::as_str);
        fills.iter().fold(template.to_owned(), |words, (name, with)| words.replace(&format!("{{{name}}}"), with))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_that_take_an_axis_name_it() {
        for (name, op) in &built_in().ops {
            let counts = !matches!(op.does, Does::Keeps | Does::Window | Does::Channels);
            assert_eq!(counts, !op.axis.is_empty(), "{name}");
        }
        assert_eq!(built_in().op("relu_").map(|op| op.does), Some(Does::Keeps));
        assert_eq!(built_in().op("cat").and_then(|op| op.default), Some(0));
        assert_eq!(built_in().op("no_such_op"), None);
    }

    #[test]
    fn words_are_filled_in() {
        let words = built_in().words("axis", &[("torch", "dim=1"), ("mlx", "axis=-1")]);
        assert!(words.contains("dim=1 is axis=-1") && !words.contains('{'), "{words}");
    }
}
