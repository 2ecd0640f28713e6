//! Rows of `rules.toml`.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

use super::{Error, parse_toml};

/// A weight layout: how a torch tensor's axes are ordered in MLX.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayoutRule {
    /// Name of the rule.
    pub name: String,
    /// `axes[i]` is the torch axis that becomes MLX's axis i; without it the tensor is kept.
    pub axes: Option<Vec<usize>>,
    /// Applied to each group (equal parts along axis 0), the results stacked along axis 0.
    #[serde(default)]
    pub grouped: bool,
    /// Example for the reader.
    pub shape: String,
    /// Whether the project's first support matrix listed it.
    #[serde(default)]
    pub seed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<LayoutRule>,
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<LayoutRule>, Error> {
    let rules = parse_toml::<File>(path, text)?.rule;
    let mut seen = HashSet::new();
    for rule in &rules {
        let fault =
            |message: &str| Error::Row { path: path.to_owned(), row: rule.name.clone(), message: message.to_owned() };
        if !seen.insert(rule.name.as_str()) {
            return Err(fault("there are two rules of that name; keep one"));
        }
        if let Some(axes) = &rule.axes {
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            if sorted.iter().enumerate().any(|(index, &axis)| index != axis) {
                return Err(fault("`axes` must name each axis once, from 0 on"));
            }
        }
    }
    Ok(rules)
}
