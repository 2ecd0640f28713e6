//! Rows of `layers.toml`.

use std::path::Path;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde_json::{Map, Value};

use super::rules::RuleKind;
use super::{Error, LayoutRule, parse_toml};
use crate::convert::recipes;
use crate::triage::Difficulty;

/// One torch layer (or several that are the same).
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Full class path.
    pub class: String,
    /// The layer of torch that a class from elsewhere computes like, which stands in for it in a measurement.
    pub torch: Option<String>,
    /// What converting it takes, at the least: a configuration may take more.
    pub status: RowStatus,
    /// The MLX layer as Python names it.
    pub mlx: Option<String>,
    /// What mlx-rs has for it, where that is not a module of the same name.
    pub mlx_rs: Option<String>,
    /// Name of the planning function in `convert::recipes`.
    pub recipe: Option<String>,
    /// Weight layout of `weight`.
    pub rule: Option<String>,
    /// Arguments for MLX's layer besides those that the recipe maps. They win over the recipe's.
    pub args: Map<String, Value>,
    /// Of the unsupported.
    pub difficulty: Option<Difficulty>,
    /// One sentence for the reader.
    pub reason: String,
    /// What the project's first support matrix said of it.
    pub seed: Option<Seed>,
}

/// What the support matrix that the project began with said of a layer. Nobody had measured it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// One of its 24 layers.
    Supported,
    /// One of its notable unsupported, and how hard it would be.
    Unsupported(Difficulty),
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Seed, D::Error> {
        let word = String::deserialize(deserializer)?;
        if word == "supported" {
            return Ok(Seed::Supported);
        }
        let word: serde::de::value::StrDeserializer<'_, D::Error> = word.as_str().into_deserializer();
        Difficulty::deserialize(word).map(Seed::Unsupported)
    }
}

/// What a row says. The other statuses follow from the file at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowStatus {
    /// A rename, weights by one rule.
    Direct,
    /// More than a rename.
    Recipe,
    /// No conversion.
    Unsupported,
    /// A wrapper whose children are what converts.
    Container,
}

impl RowStatus {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            RowStatus::Direct => "direct",
            RowStatus::Recipe => "recipe",
            RowStatus::Unsupported => "unsupported",
            RowStatus::Container => "container",
        }
    }
}

/// A row as written: every field but the class may be left out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patch {
    pub class: String,
    pub also: Option<Vec<String>>,
    torch: Option<String>,
    status: Option<RowStatus>,
    mlx: Option<String>,
    mlx_rs: Option<String>,
    recipe: Option<String>,
    rule: Option<String>,
    args: Option<Map<String, Value>>,
    difficulty: Option<Difficulty>,
    reason: Option<String>,
    seed: Option<Seed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    layer: Vec<Patch>,
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Patch>, Error> {
    parse_toml::<File>(path, text).map(|file| file.layer)
}

/// The row with the patch's fields in place of its own.
pub(super) fn changed(row: &Layer, patch: &Patch) -> Result<Layer, String> {
    let patch = patch.clone();
    Ok(Layer {
        class: patch.class,
        torch: patch.torch.or_else(|| row.torch.clone()),
        status: patch.status.unwrap_or(row.status),
        mlx: patch.mlx.or_else(|| row.mlx.clone()),
        mlx_rs: patch.mlx_rs.or_else(|| row.mlx_rs.clone()),
        recipe: patch.recipe.or_else(|| row.recipe.clone()),
        rule: patch.rule.or_else(|| row.rule.clone()),
        args: patch.args.unwrap_or_else(|| row.args.clone()),
        difficulty: patch.difficulty.or(row.difficulty),
        reason: patch.reason.unwrap_or_else(|| row.reason.clone()),
        seed: patch.seed.or(row.seed),
    })
}

/// A new row out of a patch alone.
pub(super) fn complete(patch: &Patch) -> Result<Layer, String> {
    let patch = patch.clone();
    let status = patch.status.ok_or("a new row needs a status: direct, recipe, unsupported or container")?;
    Ok(Layer {
        class: patch.class,
        torch: patch.torch,
        status,
        mlx: patch.mlx,
        mlx_rs: patch.mlx_rs,
        recipe: patch.recipe,
        rule: patch.rule,
        args: patch.args.unwrap_or_default(),
        difficulty: patch.difficulty,
        reason: patch.reason.ok_or("a new row needs a reason: one sentence for the reader")?,
        seed: patch.seed,
    })
}

/// Whether a row can be: what converts has a target and a recipe, what does not says how hard it would be.
pub(super) fn check(row: &Layer, rules: &[LayoutRule]) -> Result<(), String> {
    if !row.class.contains('.') {
        let inspect = "`t2m-tui inspect --format json` shows each module's";
        return Err(format!("a class is known by its full path, such as torch.nn.modules.conv.Conv2d; {inspect}"));
    }
    if let Some(rule) = &row.rule {
        let layouts = || rules.iter().filter(|known| known.kind == RuleKind::Axes);
        if !layouts().any(|known| known.name == *rule) {
            let known: Vec<&str> = layouts().map(|rule| rule.name.as_str()).collect();
            return Err(format!("there is no weight rule {rule:?} of the kind axes; there are {}", known.join(", ")));
        }
    }
    match row.status {
        RowStatus::Direct | RowStatus::Recipe => {
            if row.mlx.is_none() {
                return Err("what converts needs `mlx`, the MLX layer".to_owned());
            }
            let of_torch = |class: &str| class.starts_with("torch.nn.modules.");
            if !of_torch(row.torch.as_deref().unwrap_or(&row.class)) {
                return Err(
                    "a class from elsewhere needs `torch`, the layer of torch.nn.modules that it computes like"
                        .to_owned(),
                );
            }
            match &row.recipe {
                Some(recipe) if recipes::names().any(|name| name == recipe) => Ok(()),
                Some(recipe) => {
                    let known: Vec<&str> = recipes::names().collect();
                    Err(format!("there is no recipe {recipe:?}; there are {}", known.join(", ")))
                }
                None => Err("what converts needs a `recipe`".to_owned()),
            }
        }
        RowStatus::Unsupported if row.difficulty.is_none() => {
            Err("an unsupported layer needs a difficulty: easy, medium, hard or out-of-scope".to_owned())
        }
        RowStatus::Unsupported | RowStatus::Container => Ok(()),
    }
}
