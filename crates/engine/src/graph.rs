//! What is asked of an engine that runs a graph node by node.
//!
//! The engine holds values under numbers of the caller's choice. A step is one call, an op of torch's or a program of MLX's,
//! and may be run several times: on other values, or in another type.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::header::TensorHeader;
use super::program::Program;
use t2m_checkpoint::{Dtype, TensorData};

/// What a step calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// Nothing: the values that it takes are what it gives.
    Nothing,
    /// An op that torch's dispatcher knows.
    Op(Op),
    /// A program, for MLX.
    Program {
        /// Its inputs are the values that the run takes.
        program: Program,
        /// Types that the results are to have; `None` leaves what came out.
        dtypes: Vec<Option<Dtype>>,
    },
}

/// An op by its name and overload, with arguments by the names of its schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Op {
    /// `aten::conv2d`
    pub name: String,
    /// `padding`; empty for the default.
    pub overload: String,
    /// By the schema's names; those that are left out have its defaults.
    pub arguments: Vec<(String, Argument)>,
}

/// An argument of an op.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument {
    /// None.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(#[serde(with = "float")] f64),
    /// A text.
    Text(String),
    /// One of the values that the run takes, by its place there.
    Value(usize),
    /// A list of numbers, truth values or values.
    List(Vec<Argument>),
    /// An element type. One of floating point becomes the type that the run computes in.
    Dtype(Dtype),
    /// The CPU.
    Device,
    /// Dense.
    Layout,
    /// Of the axes in memory, contiguous.
    MemoryFormat,
}

/// JSON has no infinity and no NaN: they are written as texts.
mod float {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Text(String),
    }

    pub(super) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if number.is_finite() {
            serializer.serialize_f64(*number)
        } else {
            serializer.serialize_str(&number.to_string())
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(number),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// One run of a step's call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What is computed in; values of another floating-point type are cast.
    pub compute: Dtype,
    /// The values that it takes, in the call's order.
    pub takes: Vec<u64>,
    /// Under which numbers its results are held; empty where they are not.
    pub gives: Vec<u64>,
    /// Whether its results are sent back.
    pub returns: bool,
}

/// What came of a run, as the header says it; its tensors follow in the payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RanHeader {
    /// Its results, in order.
    pub results: Vec<ResultHeader>,
    /// Time of the call alone, evaluated.
    pub milliseconds: f64,
    /// Why it failed, in the library's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// One result of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultHeader {
    /// None, or nothing that is known here.
    Nothing,
    /// A number or a truth value.
    Number(Json),
    /// A tensor.
    Tensor {
        /// Its description.
        header: TensorHeader,
        /// Where its elements are in memory; MLX's have no place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Place>,
        /// Whether its bytes are in the payload.
        sent: bool,
    },
}

/// Where a tensor's elements are: tensors of the same storage may be views of each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Tells storages that live at the same time apart.
    pub storage: u64,
    /// The first element.
    pub offset: i64,
    /// Elements from one to the next along each axis.
    pub strides: Vec<i64>,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    /// Its results, or why it failed.
    pub results: Result<Vec<Outcome>, String>,
    /// Time of the call alone, evaluated.
    pub milliseconds: f64,
}

/// One result of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// None, or nothing that is known here.
    Nothing,
    /// A number or a truth value.
    Number(Json),
    /// A tensor.
    Tensor {
        /// Its description.
        header: TensorHeader,
        /// Where its elements are in memory.
        place: Option<Place>,
        /// Its elements, where they were asked for.
        data: Option<TensorData>,
    },
}

impl Ran {
    /// The header for it, and its tensors in order.
    pub fn header(&self) -> (RanHeader, Vec<&TensorData>) {
        let milliseconds = self.milliseconds;
        let outcomes = match &self.results {
            Ok(outcomes) => outcomes,
            Err(failure) => {
                return (RanHeader { results: Vec::new(), milliseconds, failure: Some(failure.clone()) }, Vec::new());
            }
        };
        let mut tensors = Vec::new();
        let results = outcomes.iter().map(|outcome| match outcome {
            Outcome::Nothing => ResultHeader::Nothing,
            Outcome::Number(number) => ResultHeader::Number(number.clone()),
            Outcome::Tensor { header, place, data } => {
                tensors.extend(data);
                ResultHeader::Tensor { header: header.clone(), place: place.clone(), sent: data.is_some() }
            }
        });
        (RanHeader { results: results.collect(), milliseconds, failure: None }, tensors)
    }

    /// From a header and the tensors that came behind it.
    pub fn from_header(header: RanHeader, tensors: &mut impl Iterator<Item = TensorData>) -> Ran {
        let outcomes = header.results.into_iter().map(|result| match result {
            ResultHeader::Nothing => Outcome::Nothing,
            ResultHeader::Number(number) => Outcome::Number(number),
            ResultHeader::Tensor { header, place, sent } => {
                Outcome::Tensor { header, place, data: if sent { tensors.next() } else { None } }
            }
        });
        let outcomes: Vec<Outcome> = outcomes.collect();
        Ran { results: header.failure.map_or(Ok(outcomes), Err), milliseconds: header.milliseconds }
    }
}

impl RanHeader {
    /// The tensors whose bytes follow.
    pub fn sent(&self) -> impl Iterator<Item = &TensorHeader> {
        self.results.iter().filter_map(|result| match result {
            ResultHeader::Tensor { header, sent: true, .. } => Some(header),
            _ => None,
        })
    }
}
