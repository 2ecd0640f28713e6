//! Rows of `plausible.toml`: what a hyper-parameter may be where nothing says it.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::assets;

/// One hyper-parameter of some classes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plausible {
    /// As torch's layer calls it.
    name: String,
    /// Beginnings of class paths; for all where there are none.
    #[serde(default)]
    classes: Vec<String>,
    /// The values, the likeliest first.
    #[serde(default)]
    pub values: Vec<Value>,
    /// Whether None is one more.
    #[serde(default)]
    pub none: bool,
    /// Values that follow from the module's tensors.
    #[serde(default)]
    pub by: Vec<By>,
    /// What each of them has to divide.
    pub divides: Option<String>,
}

/// How a value follows from tensors; `plausible.toml` says what each means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum By {
    Patch,
    HalfKernel,
    Dilated,
    Groups,
    Heads,
    Length,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    attribute: Vec<Plausible>,
}

static ROWS: LazyLock<Vec<Plausible>> = LazyLock::new(|| {
    let file: Result<File, _> = toml::from_str(include_str!("../../assets/registry/plausible.toml"));
    assets::built_in("plausible.toml", file).attribute
});

/// The row of a hyper-parameter for a class of torch.
pub fn plausible(class: &str, name: &str) -> Option<&'static Plausible> {
    let fits = |row: &&Plausible| row.classes.is_empty() || row.classes.iter().any(|begin| class.starts_with(begin));
    ROWS.iter().filter(|row| row.name == name).find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_reached_and_gives_something() {
        for (at, row) in ROWS.iter().enumerate() {
            assert!(row.none || !row.values.is_empty() || !row.by.is_empty(), "{row:?}");
            let hidden = |earlier: &Plausible| earlier.name == row.name && earlier.classes.is_empty();
            assert!(!ROWS[..at].iter().any(hidden), "no class reaches {row:?}");
        }
        let strides = |class: &str| plausible(class, "stride").map(|row| row.by.clone());
        assert_eq!(strides("torch.nn.modules.conv.Conv2d"), Some(vec![By::Patch]));
        assert_eq!(strides("torch.nn.modules.pooling.MaxPool2d"), None, "it has no weights");
        assert_eq!(plausible("torch.nn.modules.conv.Conv2d", "colour"), None);
    }
}
