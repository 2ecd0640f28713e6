//! The key map as JSON: `{mlx name: {"from": [torch names], "rule", "shape", …}}`, with all that the way back needs.

use std::fmt;
use std::io::{BufReader, Read};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compact_str::CompactString;
use indexmap::IndexMap;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Deserializer, Serialize};
use smallvec::{Array, SmallVec};

use super::{Entry, Known, Shape, StateDict};
use crate::files;
use crate::plan::weights::{Fold, Layout};
use crate::plan::{Move, Rule};
use t2m_checkpoint::escape::escape;
use t2m_checkpoint::{Checkpoint, Dtype};

/// The longest key map that is read, in bytes: a million tensors take some 450 MB.
pub const LONGEST: u64 = 512 << 20;
/// Characters of the parser's words in a message: it quotes what it does not know.
const LONGEST_WORDS: usize = 200;

/// A key map as it is read: a million rows take some 200 MB.
#[derive(Debug, Default)]
pub struct KeyMap {
    /// By MLX's name, in the order of the file.
    pub rows: IndexMap<CompactString, Row>,
}

/// How one MLX tensor is made.
#[derive(Debug)]
pub struct Row {
    /// Torch's names, in the order that the fold takes.
    pub from: SmallVec<[CompactString; 1]>,
    /// MLX's shape.
    pub shape: Shape,
    /// Torch's shapes.
    pub from_shapes: SmallVec<[Shape; 1]>,
    /// What is done with them; rows with the same way share it.
    pub how: Arc<How>,
}

/// What is done with torch's tensors.
#[derive(Debug, PartialEq)]
pub struct How {
    /// What is made of the sources first.
    pub fold: Fold,
    /// The layout after that, and the rule in words: `conv2d`, `split`.
    pub rule: Rule,
}

/// A row as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Written {
    /// Torch's names, in the order that the fold takes.
    from: Few<[Name; 1]>,
    /// The rule in words: `conv2d`, `split`.
    rule: String,
    /// MLX's shape.
    shape: Few<[usize; 4]>,
    /// Torch's shapes.
    from_shapes: Few<[Few<[usize; 4]>; 1]>,
    /// Torch's type.
    dtype: Dtype,
    /// What is made of the sources first.
    fold: Fold,
    /// The layout after that.
    layout: Layout,
    /// `plan`, `layout` or `copied`.
    known: String,
    /// Why it is only copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Why a key map is not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read, or is no plain file of a bearable size.
    #[error("{}: {source}", escape(&path.to_string_lossy()))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: files::ReadError,
    },
    /// It is something else.
    #[error("{}: is no key map: {what}; convert writes one with --map", escape(&path.to_string_lossy()))]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong, with line and column.
        what: String,
    },
}

/// Read a key map of at most [`LONGEST`] bytes.
///
/// # Errors
/// It cannot be read, is longer, or is no key map.
pub fn read(path: &Path) -> Result<KeyMap, Error> {
    let file = files::reader(path, LONGEST).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    parse(path, file)
}

/// The key map that a text is; `path` is for the message.
///
/// # Errors
/// It is none.
pub fn parse(path: &Path, text: impl Read) -> Result<KeyMap, Error> {
    let mut rows = serde_json::Deserializer::from_reader(BufReader::with_capacity(64 << 10, text));
    let parsed = KeyMap::deserialize(&mut rows).and_then(|map| rows.end().map(|()| map));
    parsed.map_err(|error| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let words = error.to_string();
        let words = words.strip_suffix(&place).unwrap_or(&words);
        let mut what: String = escape(words).chars().take(LONGEST_WORDS).collect();
        if what.len() < words.len() {
            what.push('…');
        }
        Error::Format { path: path.to_owned(), what: what + &place }
    })
}

impl<'de> Deserialize<'de> for KeyMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KeyMap, D::Error> {
        deserializer.deserialize_map(RowsVisitor)
    }
}

struct RowsVisitor;

impl<'de> Visitor<'de> for RowsVisitor {
    type Value = KeyMap;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeyMap, A::Error> {
        let (mut rows, mut known) = (IndexMap::new(), Vec::new());
        while let Some((Name(name), row)) = map.next_entry::<Name, Written>()? {
            rows.insert(name, row.kept(&mut known));
        }
        Ok(KeyMap { rows })
    }
}

/// A name, short ones in place.
struct Name(CompactString);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Name, E> {
                Ok(Name(text.into()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Names by names, as an object of JSON has them.
pub(in crate::export) struct Names(pub Vec<(CompactString, CompactString)>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Names;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((Name(key), Name(value))) = map.next_entry()? {
                    names.push((key, value));
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Sources of a tensor and axes of a shape are few: a list of so many is none of ours.
const MOST: usize = 64;

/// A list of no more than [`MOST`] items, of which short ones are in place.
struct Few<A: Array>(SmallVec<A>);

impl<A: Array<Item: Serialize>> Serialize for Few<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de, A: Array<Item: Deserialize<'de>>> Deserialize<'de> for Few<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Few<A>, D::Error> {
        struct Items<A>(PhantomData<A>);
        impl<'de, A: Array<Item: Deserialize<'de>>> Visitor<'de> for Items<A> {
            type Value = Few<A>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a sequence")
            }

            fn visit_seq<M: SeqAccess<'de>>(self, mut items: M) -> Result<Few<A>, M::Error> {
                let mut few = SmallVec::new();
                while let Some(item) = items.next_element()? {
                    if few.len() == MOST {
                        return Err(M::Error::custom(format!("more than {MOST} items in a list")));
                    }
                    few.push(item);
                }
                Ok(Few(few))
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

/// Ways that are looked through for one that is shared.
const MOST_KNOWN: usize = 64;

impl Written {
    fn kept(self, known: &mut Vec<Arc<How>>) -> Row {
        let how = How { fold: self.fold, rule: Rule { name: self.rule, layout: self.layout } };
        let how = known.iter().find(|known| ***known == how).map(Arc::clone).unwrap_or_else(|| {
            let how = Arc::new(how);
            if known.len() < MOST_KNOWN {
                known.push(Arc::clone(&how));
            }
            how
        });
        Row {
            from: self.from.0.into_iter().map(|name| name.0).collect(),
            shape: self.shape.0,
            from_shapes: self.from_shapes.0.into_iter().map(|shape| shape.0).collect(),
            how,
        }
    }
}

/// The rows of a state dict as they are written, made one by one.
#[derive(Debug)]
pub struct Rows<'a> {
    /// Where the tensors are from.
    pub checkpoint: &'a Checkpoint,
    /// What becomes of them.
    pub map: &'a StateDict,
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_map(Some(self.map.entries.len()))?;
        for entry in &self.map.entries {
            rows.serialize_entry(&*entry.name, &written(self.checkpoint, entry))?;
        }
        rows.end()
    }
}

fn written(checkpoint: &Checkpoint, entry: &Entry) -> Written {
    let tensors = || entry.from.iter().map(|&id| &checkpoint.tensors[id]);
    let (known, reason) = match &entry.known {
        Known::Plan => ("plan", None),
        Known::Layout => ("layout", None),
        Known::Copied(doubt) => ("copied", Some(doubt.to_string())),
    };
    Written {
        from: Few(tensors().map(|tensor| Name(tensor.name.clone())).collect()),
        rule: entry.rule(),
        shape: Few(entry.shape.clone()),
        from_shapes: Few(tensors()
            .map(|tensor| Few(tensor.shape.iter().map(|&axis| axis as usize).collect()))
            .collect()),
        dtype: entry.dtype,
        fold: entry.step.fold.clone(),
        layout: entry.step.rule.layout.clone(),
        known: known.to_owned(),
        reason,
    }
}

impl Row {
    /// The move, with torch's and MLX's full names.
    pub fn step(&self, mlx: &str) -> Move {
        let How { fold, rule } = &*self.how;
        let from = self.from.iter().map(CompactString::to_string).collect();
        Move { from, to: mlx.to_owned(), fold: fold.clone(), rule: rule.clone() }
    }
}
