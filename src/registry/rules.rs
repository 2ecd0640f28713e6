//! Rows of `rules.toml`.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

use super::{Error, parse_toml};

/// How a torch tensor becomes MLX's: a layout that rows of layers name, or something else that recipes do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayoutRule {
    /// Name of the rule.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub kind: RuleKind,
    /// `axes[i]` is the torch axis that becomes MLX's axis i; without it the tensor stays as it is.
    pub axes: Option<Vec<usize>>,
    /// Applied to each group (equal parts along axis 0), the results stacked along axis 0.
    #[serde(default)]
    pub grouped: bool,
    /// Example for the reader.
    pub shape: String,
    /// How to go back, in words; `crate::plan::weights::invert` does it.
    pub inverse: String,
    /// Whether the project's first support matrix listed it.
    #[serde(default)]
    pub seed: bool,
}

/// What a rule does to tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    /// Puts axes in another order; without `axes` it does nothing.
    #[default]
    Axes,
    /// Makes several tensors of one, or another shape: no element is lost.
    Split,
    /// Makes one tensor of several by arithmetic, which cannot be undone exactly.
    Fold,
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
        if rule.inverse.trim().is_empty() {
            return Err(fault("`inverse` has to say how to go back"));
        }
        if rule.kind != RuleKind::Axes && (rule.axes.is_some() || rule.grouped) {
            return Err(fault("`axes` and `grouped` belong to the kind axes"));
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
