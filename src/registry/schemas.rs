//! The schemas of torch's ops: which overload a call in TorchScript's code means, and what its arguments are called.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::aten;

/// `schemas.txt`, which `assets/registry/schemas.py` writes.
const TEXT: &str = include_str!("../../assets/registry/schemas.txt");

/// The overloads of each name, in torch's order.
static SCHEMAS: LazyLock<HashMap<&str, Vec<Overload>>> = LazyLock::new(|| {
    let mut schemas: HashMap<&str, Vec<Overload>> = HashMap::new();
    for line in TEXT.lines() {
        if let Some((name, overload)) = Overload::read(line) {
            schemas.entry(name).or_default().push(overload);
        }
    }
    schemas
});

/// An op by its overload.
#[derive(Debug, Clone, PartialEq)]
pub struct Overload {
    /// As graphs have it: `aten.add.Tensor`.
    pub target: String,
    /// In order.
    pub parameters: Vec<Parameter>,
    /// What it gives, in order.
    pub returns: Vec<Kind>,
}

/// An argument.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub kind: Kind,
    /// Whether it may be left out.
    pub has_default: bool,
    /// Whether it is given by its name only.
    pub by_name: bool,
}

/// What an argument takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A tensor.
    Tensor,
    /// A whole number.
    Int,
    /// A number of floating point.
    Float,
    /// A truth value.
    Bool,
    /// Any number.
    Scalar,
    /// A text.
    Text,
    /// An element type.
    Dtype,
    /// A device.
    Device,
    /// Dense or sparse.
    Layout,
    /// The order of axes in memory.
    MemoryFormat,
    /// Several; one number stands for all of them where it says how many.
    List(Box<Kind>, bool),
    /// None, or that.
    Optional(Box<Kind>),
    /// What no graph gives.
    Other,
}

/// The overloads of an op by its name without the namespace, in the order that torch tries them.
pub fn overloads(name: &str) -> &'static [Overload] {
    SCHEMAS.get(name).map(Vec::as_slice).unwrap_or_default()
}

impl Overload {
    fn read(line: &'static str) -> Option<(&'static str, Overload)> {
        let (full, rest) = line.split_once('(')?;
        let (inside, returns) = rest.rsplit_once(") -> ")?;
        let (name, overload) = full.split_once('.').unwrap_or((full, "default"));
        let mut parameters = Vec::new();
        let mut by_name = false;
        for part in parts(inside) {
            if part == "*" {
                by_name = true;
                continue;
            }
            let (declared, default) = part.split_once('=').map_or((part, false), |(declared, _)| (declared, true));
            let (kind, name) = declared.rsplit_once(' ')?;
            parameters.push(Parameter { name: name.to_owned(), kind: Kind::read(kind), has_default: default, by_name });
        }
        let returns = returns.strip_prefix('(').and_then(|all| all.strip_suffix(')')).unwrap_or(returns);
        let returns = parts(returns).map(|one| Kind::read(one.split(' ').next().unwrap_or(one))).collect();
        Some((name, Overload { target: format!("aten.{name}.{overload}"), parameters, returns }))
    }
}

impl Kind {
    fn read(text: &str) -> Kind {
        if let Some(inner) = text.strip_suffix('?') {
            return Kind::Optional(Box::new(Kind::read(inner)));
        }
        if let Some((inner, count)) = text.strip_suffix(']').and_then(|text| text.rsplit_once('[')) {
            return Kind::List(Box::new(Kind::read(inner)), !count.is_empty());
        }
        // `Tensor(a!)`: what aliases what.
        match text.split('(').next().unwrap_or(text) {
            "Tensor" => Kind::Tensor,
            "int" | "SymInt" => Kind::Int,
            "float" => Kind::Float,
            "bool" => Kind::Bool,
            "Scalar" => Kind::Scalar,
            "str" => Kind::Text,
            "ScalarType" => Kind::Dtype,
            "Device" => Kind::Device,
            "Layout" => Kind::Layout,
            "MemoryFormat" => Kind::MemoryFormat,
            _ => Kind::Other,
        }
    }
}

/// What is between commas that are in no brackets, without spaces around it.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    aten::parts(text).into_iter().map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::unreachable)]

    use super::*;
    use crate::registry::aten::Table;

    #[test]
    fn every_schema_is_read() {
        let read: usize = SCHEMAS.values().map(Vec::len).sum();
        assert_eq!(read, TEXT.lines().count());
        assert!(read > 1000, "{read}");
        let names: Vec<&str> = overloads("add").iter().map(|one| one.target.as_str()).collect();
        assert_eq!(names, ["aten.add.Tensor", "aten.add.Scalar"]);
        let [conv, padded] = overloads("conv2d") else { unreachable!() };
        assert_eq!((conv.target.as_str(), padded.target.as_str()), ("aten.conv2d.default", "aten.conv2d.padding"));
        let stride = conv.parameters.iter().find(|one| one.name == "stride").unwrap();
        assert_eq!((&stride.kind, stride.has_default), (&Kind::List(Box::new(Kind::Int), true), true));
        assert_eq!(overloads("split")[0].returns, [Kind::List(Box::new(Kind::Tensor), false)]);
        assert_eq!(overloads("max").last().unwrap().returns, [Kind::Tensor, Kind::Tensor]);
        assert!(overloads("add")[0].parameters[2].by_name);
        assert!(overloads("no_such").is_empty());
    }

    /// What a row calls an argument is what the graph calls it.
    #[test]
    fn rows_and_schemas_have_the_same_arguments() {
        let mut both = 0;
        for row in Table::built_in().rows() {
            let (name, _) = row.schema.name.split_once('.').unwrap_or((&row.schema.name, ""));
            let target = if row.schema.name.contains('.') {
                format!("aten.{}", row.schema.name)
            } else {
                format!("aten.{name}.default")
            };
            let Some(overload) = overloads(name).iter().find(|one| one.target == target) else { continue };
            both += 1;
            let known: Vec<&str> = overload.parameters.iter().map(|one| one.name.as_str()).collect();
            let unknown = row.schema.parameters.iter().find(|one| !known.contains(&one.name.as_str()));
            assert_eq!(unknown, None, "{target}: {known:?}");
        }
        assert!(both > 250, "{both}");
    }
}
