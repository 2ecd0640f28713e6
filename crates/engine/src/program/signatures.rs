//! The table of everything that programs call, `assets/signatures.toml`: parameters, notation, and the effect on the
//! last bits. The head of the file explains the rows.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;

use super::op::{MlxLayer, MlxOp, TorchOp};

/// Whose names a program uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `torch`, `F`, methods of tensors.
    Torch,
    /// `mx`, `nn`, methods of arrays.
    Mlx,
}

/// The parameters of a function, and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// In order.
    pub parameters: Vec<Parameter>,
    /// How Python writes it between two operands.
    pub sign: Option<String>,
    /// What it does to the last bits.
    pub rounds: Rounding,
    /// Where Python has it.
    pub home: Home,
}

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in Python.
    pub name: String,
    /// What it takes.
    pub takes: Takes,
    /// How it is given.
    pub given: Given,
    /// Its default, as Python writes it; `None` if it is required.
    pub default: Option<String>,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// An array, or a plain number used like one.
    Array,
    /// A list of arrays.
    Arrays,
    /// All arrays that follow.
    AllArrays,
    /// A plain value.
    Value,
    /// All numbers that follow, or one list of them.
    AllValues,
}

/// How an argument is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// By its place alone.
    Place,
    /// By its place or by its name.
    Either,
    /// By its name alone.
    Name,
}

/// What a function does to the last bits of its results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    /// Nothing: elements are moved, picked or rounded.
    Copy,
    /// One element in, one out.
    #[default]
    Pointwise,
    /// As many terms are added up as the longest axis of the inputs has elements.
    Sum,
    /// Normalised over that many elements.
    Norm,
}

/// Where Python has a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Home {
    /// A module: torch, mlx.core, mlx.nn.
    Module,
    /// A method of arrays.
    Method,
    /// Nowhere: Python writes brackets.
    Composed,
}

/// What is wrong with the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signatures.toml: {row}: {reason}")]
pub struct Error {
    /// The row in question.
    row: String,
    /// What is wrong with it.
    reason: String,
}

/// A row of MLX's functions; a row of torch's has only `takes` and `sign`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MlxRow {
    takes: String,
    #[serde(default)]
    rounds: Rounding,
    sign: Option<String>,
    home: Option<Home>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TorchRow {
    takes: String,
    sign: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    torch: HashMap<String, TorchRow>,
    mlx: HashMap<String, MlxRow>,
    layers: HashMap<String, String>,
}

/// The rows by name.
#[derive(Debug)]
struct Table {
    torch: HashMap<TorchOp, Signature>,
    mlx: HashMap<MlxOp, Signature>,
    layers: HashMap<MlxLayer, Vec<Parameter>>,
}

const TEXT: &str = include_str!("../../assets/signatures.toml");

/// The table is part of the program, so a fault in it is a mistake in the repository, and the first test that uses it
/// shows what it is.
#[expect(clippy::panic, reason = "to go on without the table would hide what is wrong with it")]
static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(TEXT).unwrap_or_else(|error| panic!("{error}")));

impl Table {
    fn read(text: &str) -> Result<Table, Error> {
        let file: File = toml::from_str(text).map_err(|error| Error::new("the file", error.to_string()))?;
        let torch = file.torch.into_iter().map(|(name, row)| {
            let row =
                MlxRow { takes: row.takes, rounds: Rounding::default(), sign: row.sign, home: Some(Home::Module) };
            (name, row)
        });
        let table = Table {
            torch: rows(torch, TorchOp::ALL, TorchOp::named, Signature::read)?,
            mlx: rows(file.mlx, MlxOp::ALL, MlxOp::named, Signature::read)?,
            layers: rows(file.layers, MlxLayer::ALL, MlxLayer::named, |_, takes| parameters(&takes))?,
        };
        let of_torch = table.torch.iter().map(|(op, signature)| (op.name(), signature));
        let of_mlx = table.mlx.iter().map(|(op, signature)| (op.name(), signature));
        one_of_each_sign(of_torch)?;
        one_of_each_sign(of_mlx)?;
        Ok(table)
    }
}

/// Rows by the function or layer that they describe: each name is known, and each known one has a row.
fn rows<Row, Kind: Copy + Eq + std::hash::Hash + std::fmt::Debug, Read>(
    rows: impl IntoIterator<Item = (String, Row)>,
    all: &[Kind],
    named: fn(&str) -> Option<Kind>,
    read: impl Fn(&str, Row) -> Result<Read, String>,
) -> Result<HashMap<Kind, Read>, Error> {
    let mut found = HashMap::new();
    for (name, row) in rows {
        let kind = named(&name).ok_or_else(|| Error::new(&name, "op.rs has no such name".to_owned()))?;
        found.insert(kind, read(&name, row).map_err(|reason| Error::new(&name, reason))?);
    }
    match all.iter().find(|kind| !found.contains_key(kind)) {
        Some(missing) => Err(Error::new(&format!("{missing:?}"), "it has no row".to_owned())),
        None => Ok(found),
    }
}

fn one_of_each_sign<'a>(signatures: impl Iterator<Item = (&'a str, &'a Signature)>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for (name, sign) in signatures.filter_map(|(name, signature)| Some((name, signature.sign.as_deref()?))) {
        if !seen.insert(sign) {
            return Err(Error::new(name, format!("another function is written {sign} too")));
        }
    }
    Ok(())
}

impl Error {
    fn new(row: &str, reason: String) -> Error {
        Error { row: row.to_owned(), reason }
    }
}

impl Signature {
    fn read(name: &str, row: MlxRow) -> Result<Signature, String> {
        let in_module = ["mx.", "nn."].iter().any(|module| name.starts_with(module));
        let home = match row.home {
            Some(home) if !in_module => home,
            None if in_module => Home::Module,
            Some(_) => return Err("its name says its home".to_owned()),
            None => return Err("its home is missing".to_owned()),
        };
        Ok(Signature { parameters: parameters(&row.takes)?, sign: row.sign, rounds: row.rounds, home })
    }

    /// The signature of a call, if the table has one.
    pub fn of(dialect: Dialect, call: &str) -> Option<&'static Signature> {
        match dialect {
            Dialect::Torch => TABLE.torch.get(&TorchOp::called(call)?),
            Dialect::Mlx => TABLE.mlx.get(&MlxOp::named(call)?),
        }
    }

    /// The signature of a call.
    ///
    /// # Errors
    /// There is none; says where it would be.
    pub fn find(dialect: Dialect, call: &str) -> Result<&'static Signature, String> {
        let (section, variants, engine) = match dialect {
            Dialect::Torch => ("torch", "TorchOp", "crates/torch"),
            Dialect::Mlx => ("mlx", "MlxOp", "crates/mlx"),
        };
        Signature::of(dialect, call).ok_or_else(|| {
            format!(
                "no signature describes {call}: a function that programs call has a row under [{section}] in \
                 crates/engine/assets/signatures.toml, a variant of {variants} in crates/engine/src/program/op.rs, and an \
                 arm in {engine}/src/ops/mod.rs"
            )
        })
    }

    /// The parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }
}

/// The parameters of the Python call that builds a layer.
pub fn layer(kind: &str) -> Option<&'static [Parameter]> {
    TABLE.layers.get(&MlxLayer::named(kind)?).map(Vec::as_slice)
}

/// The parameters of a text such as `a: array, /, axis=None, *, precise=False`.
fn parameters(text: &str) -> Result<Vec<Parameter>, String> {
    let mut parameters: Vec<Parameter> = Vec::new();
    let mut given = Given::Either;
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "/" => parameters.iter_mut().for_each(|parameter| parameter.given = Given::Place),
            "*" => given = Given::Name,
            _ => {
                let parameter = Parameter::read(word, given)?;
                if parameters.iter().any(|known| known.name == parameter.name) {
                    return Err(format!("`{}` is there twice", parameter.name));
                }
                parameters.push(parameter);
            }
        }
    }
    Ok(parameters)
}

impl Parameter {
    fn read(word: &str, given: Given) -> Result<Parameter, String> {
        let (rest, default) = match word.split_once('=') {
            Some((rest, default)) => (rest, Some(default.trim().to_owned())),
            None => (word, None),
        };
        let (name, kind) = rest.split_once(':').map_or((rest, None), |(name, kind)| (name, Some(kind.trim())));
        let (name, all) = name.trim().strip_prefix('*').map_or((name.trim(), false), |name| (name, true));
        let takes = match (kind, all) {
            (None, false) => Takes::Value,
            (None, true) => Takes::AllValues,
            (Some("array"), false) => Takes::Array,
            (Some("arrays"), false) => Takes::Arrays,
            (Some("arrays"), true) => Takes::AllArrays,
            (Some(kind), _) => return Err(format!("`{word}`: a parameter is no `{kind}`")),
        };
        let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if name.is_empty() || !name.chars().all(letter) || default.as_deref() == Some("") {
            return Err(format!("`{word}` is no parameter"));
        }
        Ok(Parameter { name: name.to_owned(), takes, given, default })
    }

    /// Whether it is required.
    pub fn is_required(&self) -> bool {
        self.default.is_none()
    }

    /// Whether it takes arrays.
    pub fn is_array(&self) -> bool {
        matches!(self.takes, Takes::Array | Takes::Arrays | Takes::AllArrays)
    }
}

impl Dialect {
    /// Whether a name is one of the library's modules.
    pub fn is_module(self, name: &str) -> bool {
        match self {
            Dialect::Torch => matches!(name, "torch" | "F" | "torch.nn.functional" | "torch.linalg"),
            Dialect::Mlx => matches!(name, "mx" | "nn"),
        }
    }

    /// A function's name in the form that steps have.
    pub fn full(self, name: &str) -> String {
        name.strip_prefix("torch.nn.functional.").map_or_else(|| name.to_owned(), |name| format!("F.{name}"))
    }

    /// A function of the library's main module.
    pub fn function(self, name: &str) -> String {
        match self {
            Dialect::Torch => format!("torch.{name}"),
            Dialect::Mlx => format!("mx.{name}"),
        }
    }

    /// A method. MLX has most of them as functions; the others are in the table under their own names.
    pub fn method(self, name: &str) -> String {
        let own = |signature: &Signature| signature.home == Home::Method;
        match self {
            Dialect::Torch => format!("Tensor.{name}"),
            Dialect::Mlx if Signature::of(self, name).is_some_and(own) => name.to_owned(),
            Dialect::Mlx => format!("mx.{name}"),
        }
    }

    /// The function of an operator.
    pub fn operator(self, sign: &str) -> Option<String> {
        let is = |signature: &Signature| signature.sign.as_deref() == Some(sign);
        match self {
            Dialect::Torch => {
                let (op, _) = TABLE.torch.iter().find(|(_, signature)| is(signature))?;
                Some(self.function(op.name()))
            }
            Dialect::Mlx => TABLE.mlx.iter().find(|(_, signature)| is(signature)).map(|(op, _)| op.name().to_owned()),
        }
    }

    /// The call that a property like `x.T` makes.
    pub fn property(self, name: &str) -> Option<&'static str> {
        match (self, name) {
            (Dialect::Torch, "T") => Some("Tensor.T"),
            (Dialect::Torch, "mT") => Some("Tensor.mT"),
            (Dialect::Mlx, "T") => Some("mx.transpose"),
            _ => None,
        }
    }

    /// The call that `x[..., None]` makes, and its argument.
    pub fn expand_dims(self) -> (&'static str, &'static str) {
        match self {
            Dialect::Torch => ("torch.unsqueeze", "dim"),
            Dialect::Mlx => ("mx.expand_dims", "axis"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_name_has_a_row_and_every_row_a_name() {
        let table = Table::read(TEXT).unwrap();
        assert_eq!(
            (table.torch.len(), table.mlx.len(), table.layers.len()),
            (TorchOp::ALL.len(), MlxOp::ALL.len(), MlxLayer::ALL.len())
        );
        let fault = |text: String| Table::read(&text).unwrap_err().to_string();
        let misspelt = fault(TEXT.replacen("\"mx.softmax\" = { takes", "\"mx.sofmax\" = { takes", 1));
        assert!(misspelt.contains("mx.sofmax: op.rs has no such name"), "{misspelt}");
        let lines = TEXT.lines().filter(|line| !line.starts_with("\"mx.pad\""));
        let missing = fault(lines.collect::<Vec<_>>().join("\n"));
        assert!(missing.contains("Pad: it has no row"), "{missing}");
    }

    #[test]
    fn what_a_row_cannot_be_is_refused() {
        let with = |from: &str, to: &str| {
            assert!(TEXT.contains(from), "{from}");
            Table::read(&TEXT.replacen(from, to, 1)).unwrap_err().to_string()
        };
        let row = "\"mx.inner\" = { takes = \"a: array, b: array, /\", rounds = \"sum\" }";
        let other = |takes: &str, rest: &str| with(row, &format!("\"mx.inner\" = {{ takes = \"{takes}\"{rest} }}"));
        assert!(other("a: array, a: array", "").contains("mx.inner: `a` is there twice"));
        assert!(other("a: tensor", "").contains("no `tensor`"));
        assert!(other("a b", "").contains("`a b` is no parameter"));
        assert!(other("a=", "").contains("is no parameter"));
        assert!(other("a: array", ", rounds = \"wildly\"").contains("unknown variant `wildly`"));
        assert!(other("a: array", ", sign = \"@\"").contains("is written @ too"));
        assert!(other("a: array", ", home = \"method\"").contains("its name says its home"));
        assert!(other("a: array", ", rounding = \"copy\"").contains("unknown field `rounding`"));
        assert!(with(", home = \"method\"", "").contains("astype: its home is missing"));
    }

    #[test]
    fn parameters_read_as_python_writes_them() {
        let read = parameters("a: array, /, *shape, mask: array=None, *, mode='constant'").unwrap();
        let seen: Vec<_> = read.iter().map(|p| (p.name.as_str(), p.takes, p.given, p.default.as_deref())).collect();
        assert_eq!(
            seen,
            [
                ("a", Takes::Array, Given::Place, None),
                ("shape", Takes::AllValues, Given::Either, None),
                ("mask", Takes::Array, Given::Either, Some("None")),
                ("mode", Takes::Value, Given::Name, Some("'constant'")),
            ]
        );
        assert_eq!(parameters("").unwrap(), []);
    }

    #[test]
    fn what_the_parser_writes_of_itself_is_in_the_table() {
        for dialect in [Dialect::Torch, Dialect::Mlx] {
            let known = |call: &str| Signature::of(dialect, call).is_some();
            let (call, argument) = dialect.expand_dims();
            assert!(Signature::of(dialect, call).unwrap().parameter(argument).is_some());
            assert!(["T", "mT"].iter().filter_map(|name| dialect.property(name)).all(known));
            assert!(["negative", "logical_not"].iter().all(|name| known(&dialect.function(name))));
            assert!(["index", "slice", "getitem", "set_slice"].iter().all(|call| known(call)));
        }
        assert_eq!(Dialect::Torch.operator("-").as_deref(), Some("torch.sub"));
        assert_eq!(Dialect::Mlx.operator("//").as_deref(), Some("mx.floor_divide"));
        assert_eq!((Dialect::Mlx.method("astype"), Dialect::Mlx.method("sum")), ("astype".into(), "mx.sum".into()));
    }
}
