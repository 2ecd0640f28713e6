//! Rows of `layers.toml`.

use std::path::Path;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde_json::{Map, Value};

use super::recipe::Recipe;
use super::rules::RuleKind;
use super::{Error, LayoutRule, parse_toml};
use crate::compare::tolerance::Bound;
use t2m_checkpoint::escape::quoted;
use t2m_engine::own;

/// One torch layer (or several that are alike).
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Full class path.
    pub class: String,
    /// The layer of torch that computes what a class from elsewhere computes, and is measured in its place; or a
    /// function of [`t2m_engine::own`], if no layer of torch does.
    pub torch: Option<String>,
    /// Attributes as torch's layer names them, and where they come from: the class's own attribute, or a constant.
    pub attributes: IndexMap<String, Attribute>,
    /// Tensors as torch's layer names them, and the class's own names.
    pub tensors: IndexMap<String, String>,
    /// What converting it takes at least: a configuration may take more.
    pub status: RowStatus,
    /// The MLX layer as Python names it.
    pub mlx: Option<String>,
    /// What mlx-rs has for it, if not a module of the same name.
    pub mlx_rs: Option<String>,
    /// The recipe: a function of `plan::recipes`.
    pub recipe: Option<Recipe>,
    /// Name of the rule for `weight`.
    pub rule: Option<String>,
    /// Arguments for MLX's layer besides those that the recipe maps. They win over the recipe's.
    pub args: Map<String, Value>,
    /// How hard it would be, if it is unsupported.
    pub difficulty: Option<Difficulty>,
    /// What rounding may explain, if not what the recipe says: `contraction 4096`, in the words of [`Bound`].
    pub bound: Option<String>,
    /// For a container: the list in which MLX's twin keeps numbered children, if they are not its own items.
    pub children: Option<String>,
    /// One sentence for the reader.
    pub reason: String,
    /// What the project's first support matrix said of it.
    pub seed: Option<Seed>,
    /// The fields that a user's registry file sets, each of which a plan obeys or refuses; empty of a built-in row.
    pub set: Vec<Field>,
}

/// A field of a row that says how the layer converts, and that not every recipe reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// [`Layer::mlx`].
    Mlx,
    /// [`Layer::rule`].
    Rule,
    /// [`Layer::args`].
    Args,
    /// [`Layer::attributes`].
    Attributes,
    /// [`Layer::tensors`].
    Tensors,
}

/// What the project's first support matrix said of a layer. Nobody had measured it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// One of its 24 layers.
    Supported,
    /// One of its notable unsupported layers, and how hard it would be.
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

/// How hard an unsupported layer would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difficulty {
    /// A line or two of MLX does it.
    Easy,
    /// A composition of MLX ops does it.
    Medium,
    /// It needs a work-around that changes the model's code.
    Hard,
    /// It is not worth converting by a tool.
    OutOfScope,
}

impl Difficulty {
    /// The word in JSON and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Difficulty::Easy => "easy",
            Difficulty::Medium => "medium",
            Difficulty::Hard => "hard",
            Difficulty::OutOfScope => "out-of-scope",
        }
    }
}

/// Where an attribute comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// An attribute of the class itself.
    Own(String),
    /// The class has no such attribute: the value is the same for every instance.
    Constant(Value),
}

impl<'de> Deserialize<'de> for Attribute {
    /// A word is an attribute's name; a word that is a value is written `{ value = "tanh" }`.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Attribute, D::Error> {
        let said = Value::deserialize(deserializer)?;
        match said {
            Value::String(name) if !name.is_empty() => Ok(Attribute::Own(name)),
            Value::Object(mut table) if table.len() == 1 && table.contains_key("value") => {
                Ok(Attribute::Constant(table.shift_remove("value").unwrap_or_default()))
            }
            Value::Object(_) | Value::String(_) => Err(serde::de::Error::custom(
                "an attribute comes from the class's own (write its name), or is a number, true, false or a list; a word that \
                 is a value is written { value = \"tanh\" }",
            )),
            constant => Ok(Attribute::Constant(constant)),
        }
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
    /// A wrapper: its children convert.
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
    attributes: Option<IndexMap<String, Attribute>>,
    tensors: Option<IndexMap<String, String>>,
    status: Option<RowStatus>,
    mlx: Option<String>,
    mlx_rs: Option<String>,
    recipe: Option<String>,
    rule: Option<String>,
    args: Option<Map<String, Value>>,
    difficulty: Option<Difficulty>,
    bound: Option<String>,
    children: Option<String>,
    reason: Option<String>,
    seed: Option<Seed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub layer: Vec<Patch>,
    /// Ops of graphs, as in `aten.toml`.
    #[serde(default)]
    pub ops: IndexMap<String, String>,
}

pub(super) fn parse(path: &Path, text: &str) -> Result<File, Error> {
    parse_toml(path, text)
}

/// The recipe that a row names.
fn recipe(name: Option<&str>) -> Result<Option<Recipe>, String> {
    let Some(name) = name else { return Ok(None) };
    let unknown = || {
        let known: Vec<&str> = Recipe::ALL.iter().map(|recipe| recipe.name()).collect();
        format!("there is no recipe \"{}\"; {}", quoted(name), nearest(name, &known))
    };
    Recipe::named(name).map(Some).ok_or_else(unknown)
}

impl Patch {
    /// Which fields it sets.
    fn fields(&self) -> Vec<Field> {
        let set = [
            (Field::Mlx, self.mlx.is_some()),
            (Field::Rule, self.rule.is_some()),
            (Field::Args, self.args.is_some()),
            (Field::Attributes, self.attributes.is_some()),
            (Field::Tensors, self.tensors.is_some()),
        ];
        set.into_iter().filter_map(|(field, set)| set.then_some(field)).collect()
    }
}

/// The row with the patch's fields in place of its own.
pub(super) fn changed(row: &Layer, patch: &Patch) -> Result<Layer, String> {
    let mut set = patch.fields();
    let before: Vec<Field> = row.set.iter().copied().filter(|field| !set.contains(field)).collect();
    set.extend(before);
    let patch = patch.clone();
    Ok(Layer {
        set,
        class: patch.class,
        torch: patch.torch.or_else(|| row.torch.clone()),
        attributes: patch.attributes.unwrap_or_else(|| row.attributes.clone()),
        tensors: patch.tensors.unwrap_or_else(|| row.tensors.clone()),
        status: patch.status.unwrap_or(row.status),
        mlx: patch.mlx.or_else(|| row.mlx.clone()),
        mlx_rs: patch.mlx_rs.or_else(|| row.mlx_rs.clone()),
        recipe: recipe(patch.recipe.as_deref())?.or(row.recipe),
        rule: patch.rule.or_else(|| row.rule.clone()),
        args: patch.args.unwrap_or_else(|| row.args.clone()),
        difficulty: patch.difficulty.or(row.difficulty),
        bound: patch.bound.or_else(|| row.bound.clone()),
        children: patch.children.or_else(|| row.children.clone()),
        reason: patch.reason.unwrap_or_else(|| row.reason.clone()),
        seed: patch.seed.or(row.seed),
    })
}

/// A new row from a patch alone.
pub(super) fn complete(patch: &Patch) -> Result<Layer, String> {
    let set = patch.fields();
    let patch = patch.clone();
    let status = patch.status.ok_or("a new row needs a status: direct, recipe, unsupported or container")?;
    Ok(Layer {
        set,
        class: patch.class,
        torch: patch.torch,
        attributes: patch.attributes.unwrap_or_default(),
        tensors: patch.tensors.unwrap_or_default(),
        status,
        mlx: patch.mlx,
        mlx_rs: patch.mlx_rs,
        recipe: recipe(patch.recipe.as_deref())?,
        rule: patch.rule,
        args: patch.args.unwrap_or_default(),
        difficulty: patch.difficulty,
        bound: patch.bound,
        children: patch.children,
        reason: patch.reason.ok_or("a new row needs a reason: one sentence for the reader")?,
        seed: patch.seed,
    })
}

/// What computes the same as the class: a layer of torch, or a function of t2m-torch's own.
fn check_torch(row: &Layer) -> Result<(), String> {
    let torch = row.torch.as_deref().unwrap_or(&row.class);
    if torch.starts_with("torch.nn.modules.") {
        return Ok(());
    }
    let known = own::FUNCTIONS.join(", ");
    match torch.strip_prefix(own::PREFIX) {
        Some(_) if own::FUNCTIONS.contains(&torch) => Ok(()),
        Some(_) => Err(format!("there is no function {}; there are {known}", quoted(torch))),
        None => Err(format!(
            "a class from elsewhere needs `torch`, the layer of torch.nn.modules that it computes like, or one of {known}"
        )),
    }
}

/// Some of the recipes, beginning with those most like the word.
fn nearest(word: &str, known: &[&str]) -> String {
    let alike = |name: &&str| name.bytes().zip(word.bytes()).take_while(|(a, b)| a == b).count();
    let mut names = known.to_vec();
    names.sort_by_key(|name| std::cmp::Reverse(alike(name)));
    names.truncate(8);
    format!("there are {}, and others that rows of the built-in registry name", names.join(", "))
}

/// Whether a row is complete: a row that converts has a target and a recipe, any other says how hard it would be.
pub(super) fn check(row: &Layer, rules: &[LayoutRule]) -> Result<(), String> {
    if !row.class.contains('.') {
        let inspect = "`t2m-tui inspect --format json` shows each module's";
        return Err(format!("a class is known by its full path, such as torch.nn.modules.conv.Conv2d; {inspect}"));
    }
    if let Some(rule) = &row.rule {
        let layouts = || rules.iter().filter(|known| known.kind == RuleKind::Axes);
        if !layouts().any(|known| known.name == *rule) {
            let known: Vec<&str> = layouts().map(|rule| rule.name.as_str()).collect();
            return Err(format!(
                "there is no weight rule \"{}\" of the kind axes; there are {}",
                quoted(rule),
                known.join(", ")
            ));
        }
    }
    if let Some(bound) = row.bound.as_ref().filter(|bound| Bound::from_words(bound).is_none()) {
        return Err(format!(
            "\"{}\" is no bound; there are copy, pointwise, contraction N and norm N, N a number of terms",
            quoted(bound)
        ));
    }
    if row.children.is_some() && row.status != RowStatus::Container {
        return Err("`children` says where a container keeps its children, and this is none".to_owned());
    }
    match row.status {
        RowStatus::Direct | RowStatus::Recipe => {
            if row.mlx.is_none() {
                return Err("what converts needs `mlx`, the MLX layer".to_owned());
            }
            check_torch(row)?;
            row.recipe.map(drop).ok_or_else(|| "what converts needs a `recipe`".to_owned())
        }
        RowStatus::Unsupported if row.difficulty.is_none() => {
            Err("an unsupported layer needs a difficulty: easy, medium, hard or out-of-scope".to_owned())
        }
        RowStatus::Unsupported | RowStatus::Container => Ok(()),
    }
}
