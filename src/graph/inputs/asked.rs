//! What a graph takes: each of its inputs, with an example of what `--input` may say.

use serde_json::Value as Json;

use super::Takes;
use crate::architecture::spec::{TensorSpec, written};
use crate::script::signature::{Kind, Names};
use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::graph::TensorMeta;

/// An input that a graph takes.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub name: String,
    /// What Python calls it, where it is a member of a dict or a tuple and the graph has another name.
    pub python: Option<String>,
    pub kind: Kind,
    /// Whether it need not be given.
    pub has_default: bool,
    /// Types and sizes of the tensors that it is made of, as far as the file tells.
    pub metas: Vec<TensorMeta>,
    /// A tensor that the model is likely to take, by what it does with it first.
    pub likely: Option<TensorSpec>,
    /// Values that it is likely to take.
    pub known: Vec<Json>,
    /// What the export made of it, which nothing changes.
    pub fixed: Option<Json>,
}

impl Default for Asked {
    fn default() -> Asked {
        Asked {
            name: String::new(),
            python: None,
            kind: Kind::Tensor,
            has_default: false,
            metas: Vec::new(),
            likely: None,
            known: Vec::new(),
            fixed: None,
        }
    }
}

impl Asked {
    /// What is told of it, with an example.
    pub fn takes(&self) -> Takes {
        let mut example = Vec::new();
        self.example(&self.kind, &mut Names::of(self.python.as_ref().unwrap_or(&self.name)), &mut example);
        let kind = match (&self.kind, self.metas.as_slice()) {
            (Kind::Tensor, [meta]) => described(meta),
            (kind, _) => kind.to_string(),
        };
        let is_made_up = tensors(&self.kind) > 0 && self.metas.is_empty() && self.likely.is_none();
        let is_told = tensors(&self.kind) > 0 && self.metas.len() >= tensors(&self.kind);
        Takes { name: self.name.clone(), kind, is_needed: !self.has_default, example, is_told, is_made_up }
    }

    /// Whether a name is its own, or that of a part of it: `x`, `x_1`, `batch.image`.
    pub(super) fn is_named(&self, name: &str) -> bool {
        name.strip_prefix(&self.name).is_some_and(|rest| is_part(&self.kind, rest))
    }

    fn example(&self, kind: &Kind, names: &mut Names<'_>, out: &mut Vec<String>) {
        let known = |otherwise: Json| self.known.first().cloned().unwrap_or(otherwise);
        let value = match kind {
            Kind::Tensor => {
                let at = names.taken();
                let told = self.metas.get(at).and_then(spec_of).or_else(|| self.likely.clone().filter(|_| at == 0));
                let made_up = || TensorSpec { shape: vec![1, 16], dtype: Dtype::Float32, below: None };
                return out.push(format!("{}={}", names.take(), told.unwrap_or_else(made_up)));
            }
            Kind::Optional(inner) | Kind::List(inner) if tensors(inner) > 0 => return self.example(inner, names, out),
            Kind::Tuple(members, _) if tensors(kind) > 0 => {
                return members.iter().for_each(|member| self.example(member, names, out));
            }
            Kind::Dict(inner) if tensors(inner) > 0 => {
                return self.example(inner, &mut Names::of(&format!("{}.KEY", names.take())), out);
            }
            Kind::Int | Kind::Number => known(Json::from(1)),
            Kind::Float => known(Json::from(0.5)),
            Kind::Bool => known(Json::from(true)),
            Kind::Text => known(Json::from("…")),
            Kind::Optional(_) => Json::Null,
            Kind::List(_) | Kind::Tuple(..) => known(Json::Array(vec![Json::from(1), Json::from(2)])),
            Kind::Dict(_) | Kind::Other(_) => return,
        };
        out.push(format!("{}={}", names.take(), written(&value)));
    }
}

/// Whether what stands behind an input's name names it, or a part of it: `_1` of a list or a tuple, `.image` of a dict.
fn is_part(kind: &Kind, rest: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    match (kind, rest.as_bytes().first()) {
        (_, None) => true,
        (Kind::Optional(inner), _) => is_part(inner, rest),
        (Kind::Dict(_), Some(b'.')) => rest.len() > 1,
        (Kind::List(_) | Kind::Tuple(..), first) => {
            let behind = match first {
                Some(b'_') => &rest[1 + digits(&rest[1..])..],
                _ => rest,
            };
            let is_numbered = first != Some(&b'_') || digits(&rest[1..]) > 0;
            is_numbered
                && match kind {
                    Kind::List(inner) => is_part(inner, behind),
                    Kind::Tuple(members, _) => members.iter().any(|member| is_part(member, behind)),
                    _ => false,
                }
        }
        _ => false,
    }
}

/// The keys of a dict among what stands behind the dots: of a dict within it up to the next one, of a list without its numbers.
pub(super) fn members(said: Vec<String>, inner: &Kind) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for key in &said {
        let numbered = key
            .rsplit_once('_')
            .filter(|(own, number)| number.parse::<usize>().is_ok() && said.iter().any(|known| known == own));
        let key = match (inner, key.split_once('.'), numbered) {
            (Kind::Dict(_), Some((own, _)), _) => own,
            (Kind::List(_) | Kind::Tuple(..), _, Some((own, _))) => own,
            _ => key.as_str(),
        };
        if !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
    }
    keys
}

/// How many tensors an argument of a type has, as far as that is fixed: a list at least one.
pub(super) fn tensors(kind: &Kind) -> usize {
    match kind {
        Kind::Tensor => 1,
        Kind::List(inner) | Kind::Optional(inner) | Kind::Dict(inner) => tensors(inner),
        Kind::Tuple(members, _) => members.iter().map(tensors).sum(),
        _ => 0,
    }
}

/// The type of a value that an export fixed.
pub(super) fn kind_of(value: &Json) -> Kind {
    match value {
        Json::Bool(_) => Kind::Bool,
        Json::Number(number) if number.is_i64() => Kind::Int,
        Json::Number(_) => Kind::Float,
        Json::String(_) => Kind::Text,
        _ => Kind::Other(if value.is_null() { "None".to_owned() } else { "a constant".to_owned() }),
    }
}

/// `float32 1x3x224x224`; `?` for a size that the file does not tell.
fn described(meta: &TensorMeta) -> String {
    let size = |size: &Option<u64>| size.map_or_else(|| "?".to_owned(), |size| size.to_string());
    let sizes: Vec<String> = meta.sizes.iter().map(size).collect();
    match sizes.is_empty() {
        true => format!("{}, without axes", meta.dtype.name()),
        false => format!("{} {}", meta.dtype.name(), sizes.join("x")),
    }
}

fn spec_of(meta: &TensorMeta) -> Option<TensorSpec> {
    Some(TensorSpec { shape: meta.sizes.iter().copied().collect::<Option<_>>()?, dtype: meta.dtype, below: None })
}

/// That an input is missing, what the graph takes, and a call that says it.
pub(super) fn missing(asked: &[Asked], name: &str) -> String {
    let names: Vec<&str> = asked.iter().filter(|one| !one.has_default).map(|one| one.name.as_str()).collect();
    let all = quoted(&names.join(", ")).into_owned();
    format!("--input does not say what `{}` is: once for each of {all}; {}", quoted(name), wanted(asked))
}

/// What the graph takes, and a call that gives it.
pub(super) fn wanted(asked: &[Asked]) -> String {
    let takes: Vec<Takes> = asked.iter().map(Asked::takes).collect();
    let kind = |one: &Takes| {
        let may = if one.is_needed { "" } else { " (may be left out)" };
        format!("{}: {}{may}", quoted(&one.name), one.kind)
    };
    let kinds: Vec<String> = takes.iter().map(kind).collect();
    let needed = || takes.iter().filter(|one| one.is_needed);
    let example: Vec<String> =
        needed().flat_map(|one| &one.example).map(|text| format!("--input {}", shell(text))).collect();
    let made_up: Vec<&str> = needed().filter(|one| one.is_made_up).map(|one| one.name.as_str()).collect();
    let note = match made_up.as_slice() {
        [] => String::new(),
        names => format!(" (the file does not tell the shape of {}: put your own)", quoted(&names.join(", "))),
    };
    format!("it takes {}; for example {}{note}", kinds.join(", "), example.join(" "))
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "_.=:-".contains(letter);
    if word.chars().all(plain) { word.to_owned() } else { format!("\"{}\"", quoted(word)) }
}
