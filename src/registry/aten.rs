//! Rows of `aten.toml`: torch's ops by overload, as graphs have them, and the program that computes each in MLX.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::assets::built_in;

/// An op by its overload.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it takes and gives.
    pub schema: Schema,
    /// Python for MLX, whose names are the schema's arguments; empty where the numbers are drawn.
    pub program: String,
    /// Why its numbers are given to MLX as torch has them, where there is nothing to compare.
    pub given: Option<Given>,
    /// Whether a tensor without axes is to it as one with a single element.
    pub along: bool,
    /// Whether its error is relative to 1 where its result is smaller.
    pub approximate: bool,
}

/// Why there is nothing to compare in an op's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// They are drawn at random.
    Drawn,
    /// They are whatever lay in memory.
    Unset,
}

impl Row {
    /// Why no call of it is converted, where the row says so whatever the call is.
    pub fn refusal(&self) -> Option<&str> {
        self.program.trim().strip_prefix("refuse('")?.strip_suffix("')").filter(|reason| !reason.contains('\''))
    }
}

/// What an op takes and gives, in the words of torch's `native_functions.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// `add.Tensor`, `conv2d`
    pub name: String,
    /// In order.
    pub parameters: Vec<Parameter>,
}

/// An argument of an op.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub kind: Kind,
    /// What it is where it is not given.
    pub default: Option<Json>,
}

/// What an argument takes, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A tensor, or a number in its place.
    Tensor,
    /// Several tensors.
    Tensors,
    /// Several, of which some may be None.
    OptionalTensors,
    /// A list of whole numbers or others.
    List,
    /// Anything else.
    Plain,
}

/// The rows, by the names that graphs have (`aten.add.Tensor`).
#[derive(Debug, Clone)]
pub struct Table(HashMap<String, Row>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    ops: IndexMap<String, String>,
    drawn: Schemas,
    unset: Schemas,
    approximate: Names,
    along: Names,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Schemas {
    ops: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    names: Vec<String>,
}

static TABLE: LazyLock<Arc<Table>> =
    LazyLock::new(|| Arc::new(built_in("aten.toml", Table::read(include_str!("../../assets/registry/aten.toml")))));

impl Table {
    /// The built-in rows.
    pub fn built_in() -> &'static Table {
        &TABLE
    }

    /// The same, to be held; it is copied once somebody changes it.
    pub fn shared() -> Arc<Table> {
        Arc::clone(&TABLE)
    }

    /// Give an op another program, or a new op its row.
    ///
    /// # Errors
    /// In words: this is no schema.
    pub fn set(&mut self, schema: &str, program: &str) -> Result<(), String> {
        let example = "add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor";
        let read = Schema::read(schema).ok_or_else(|| format!("this is no schema of an op; one is `{example}`"))?;
        let name = target(&read.name);
        let (along, approximate) = self.0.get(&name).map_or((false, false), |row| (row.along, row.approximate));
        self.0.insert(name, Row { schema: read, program: program.to_owned(), given: None, along, approximate });
        Ok(())
    }

    fn read(text: &str) -> Result<Table, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut rows = HashMap::new();
        let texts = file.ops.into_iter().map(|(schema, text)| (schema, text, None));
        let given =
            |list: Schemas, given: Given| list.ops.into_iter().map(move |schema| (schema, String::new(), Some(given)));
        let all = texts.chain(given(file.drawn, Given::Drawn)).chain(given(file.unset, Given::Unset));
        for (schema, program, given) in all {
            let schema = Schema::read(&schema).ok_or_else(|| format!("`{schema}` is no schema"))?;
            let name = target(&schema.name);
            let bare = schema.name.split('.').next().unwrap_or_default();
            let is_among = |names: &Names| names.names.iter().any(|name| name == bare || *name == schema.name);
            let (along, approximate) = (is_among(&file.along), is_among(&file.approximate));
            if rows.insert(name, Row { schema, program, given, along, approximate }).is_some() {
                return Err("an op has two rows".to_owned());
            }
        }
        Ok(Table(rows))
    }

    /// The row of a graph's op. One that writes in place has the row of the op that does not.
    pub fn row(&self, target: &str) -> Option<&Row> {
        self.0.get(target).or_else(|| self.0.get(&functional(target)?))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in no order.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.0.values()
    }
}

/// The name that graphs have for an overload: `aten.conv2d.default`.
fn target(name: &str) -> String {
    if name.contains('.') { format!("aten.{name}") } else { format!("aten.{name}.default") }
}

/// The op that computes the same and does not write: `aten.add.Tensor` of `aten.add_.Tensor`.
pub fn functional(target: &str) -> Option<String> {
    let (_, rest) = target.split_once('.')?;
    let (name, overload) = rest.split_once('.')?;
    let name = name.strip_suffix('_').filter(|name| !name.is_empty() && !name.ends_with('_'))?;
    Some(format!("aten.{name}.{overload}"))
}

impl Schema {
    /// Read `add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor`.
    fn read(text: &str) -> Option<Schema> {
        let (name, rest) = text.split_once('(')?;
        let (inside, _) = rest.rsplit_once(" -> ")?;
        let inside = inside.strip_suffix(')')?;
        let mut parameters = Vec::new();
        for part in parts(inside) {
            let part = part.trim();
            if part.is_empty() || part == "*" {
                continue;
            }
            let (declared, default) = match part.split_once('=') {
                Some((declared, default)) => (declared, Some(value(default)?)),
                None => (part, None),
            };
            let (kind, name) = declared.rsplit_once(' ')?;
            let default = default.map(|default| if name == "dtype" { Json::Null } else { default });
            parameters.push(Parameter { name: name.to_owned(), kind: Kind::of(kind), default: or_none(default, kind) });
        }
        Some(Schema { name: name.to_owned(), parameters })
    }
}

/// An optional argument that has no default of its own is None where it is not given.
fn or_none(default: Option<Json>, kind: &str) -> Option<Json> {
    default.or_else(|| kind.ends_with('?').then_some(Json::Null))
}

impl Kind {
    fn of(text: &str) -> Kind {
        // `Tensor(a!)`, `Tensor(a -> *)`: what aliases what.
        let mut bare = String::new();
        let mut depth = 0;
        for letter in text.chars() {
            match letter {
                '(' => depth += 1,
                ')' => depth -= 1,
                letter if depth == 0 => bare.push(letter),
                _ => {}
            }
        }
        match bare.as_str() {
            "Tensor" | "Tensor?" => Kind::Tensor,
            "Tensor[]" => Kind::Tensors,
            "Tensor?[]" => Kind::OptionalTensors,
            text if text.trim_end_matches('?').ends_with(']') => Kind::List,
            _ => Kind::Plain,
        }
    }
}

/// The arguments between commas that are in no brackets.
pub(super) fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0i32, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

/// A default: `1`, `1e-05`, `True`, `None`, `[1, 1]`, `'none'`.
fn value(text: &str) -> Option<Json> {
    Some(match text {
        "True" => true.into(),
        "False" => false.into(),
        "None" => Json::Null,
        text if text.starts_with('\'') => text.trim_matches('\'').into(),
        text => match text.strip_suffix('.') {
            Some(whole) => Json::from(whole.parse::<f64>().ok()?),
            None => serde_json::from_str(text).ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_read_with_its_defaults() {
        let schema = Schema::read(
            "conv2d(Tensor input, Tensor? bias=None, SymInt[2] stride=[1, 1], *, str mode='zeros', float eps=0., Tensor(a!)? x, Tensor?[] i) -> Tensor",
        )
        .unwrap();
        assert_eq!(schema.name, "conv2d");
        let all: Vec<_> =
            schema.parameters.iter().map(|one| (one.name.as_str(), one.kind, one.default.clone())).collect();
        assert_eq!(
            all,
            [
                ("input", Kind::Tensor, None),
                ("bias", Kind::Tensor, Some(Json::Null)),
                ("stride", Kind::List, Some(json!([1, 1]))),
                ("mode", Kind::Plain, Some(json!("zeros"))),
                ("eps", Kind::Plain, Some(json!(0.0))),
                ("x", Kind::Tensor, Some(Json::Null)),
                ("i", Kind::OptionalTensors, None),
            ]
        );
    }

    #[test]
    fn what_writes_has_the_row_of_what_does_not() {
        let table = Table::built_in();
        assert!(table.len() > 250, "{}", table.len());
        assert_eq!(table.row("aten.add_.Tensor"), table.row("aten.add.Tensor"));
        assert!(table.row("aten.relu_.default").is_some());
        assert_eq!(functional("aten.__and__.Tensor"), None);
        assert!(table.row("aten.no_such.default").is_none());
    }
}
