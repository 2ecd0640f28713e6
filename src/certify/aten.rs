//! Certifying what `aten.toml` says of torch's overloads: examples of each, as nodes of one graph that both engines run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::record::{Figures, digits};
use super::values;
use crate::demo;
use crate::graph::results::{Results, diverges};
use crate::graph::run::{Lockstep, NodeResult, NodeVerdict, Stop};
use t2m_checkpoint::graph::{Argument, Graph, Input, Node, Origin, Value, ValueId};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::Device;
use t2m_engine::client::CancelToken;

/// Calls of torch's own databases, as `assets/samples/aten.py` finds them, and our own of what these do not call.
const EXAMPLES: [&str; 2] =
    [include_str!("../../assets/samples/aten.jsonl"), include_str!("../../assets/samples/aten_more.jsonl")];

/// A call of an overload.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// `add.Tensor`, `relu`
    pub op: String,
    /// Tensors by the schema's names, as the registry's files write them; a list where the argument is one.
    pub inputs: BTreeMap<String, Given>,
    /// The other arguments: plain, or `{"dtype": …}` and `{"infinite": …}`.
    pub arguments: Map<String, Json>,
}

/// A tensor, or several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Given {
    /// One.
    One(String),
    /// A list, of which some may be None.
    Several(Vec<Option<String>>),
}

/// The built-in examples.
///
/// # Errors
/// The first line that is none, which a test rules out.
pub fn examples() -> Result<Vec<Example>, String> {
    let lines = EXAMPLES.iter().flat_map(|text| text.lines());
    lines.map(|line| serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))).collect()
}

/// What was measured of an overload.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, Deserialize)]
pub struct Record {
    /// Examples that were run.
    pub examples: usize,
    /// Why the row refuses others of its examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The worst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub float32: Option<Figures>,
}

/// The examples as nodes of one graph, each with inputs of its own.
///
/// # Errors
/// The first example whose tensors are not read, in words.
pub fn graph(examples: &[Example], seed: u64) -> Result<(Graph, Vec<TensorData>), String> {
    let mut graph = Graph::default();
    let mut tensors = Vec::new();
    for (at, example) in examples.iter().enumerate() {
        let mut input = |text: &str| -> Result<Argument, String> {
            let texts = BTreeMap::from([("x".to_owned(), text.to_owned())]);
            let (inputs, given) = values::inputs(&texts).map_err(|reason| format!("{}: {reason}", example.op))?;
            let (Some(drawn), Some(given)) = (inputs.first(), given.into_iter().next()) else {
                return Err(format!("{}: there is no input", example.op));
            };
            let tensor = given.unwrap_or_else(|| drawn.generate(seed, tensors.len(), Dtype::Float32));
            tensors.push(tensor);
            let id = value(&mut graph, format!("in{}", tensors.len()));
            graph.inputs.push(Input { value: id, origin: Origin::User });
            Ok(Argument::Value(id))
        };
        let mut arguments = Vec::new();
        for (name, given) in &example.inputs {
            let argument = match given {
                Given::One(text) => input(text)?,
                Given::Several(texts) => {
                    let all =
                        texts.iter().map(|text| text.as_deref().map_or(Ok(Argument::Plain(Json::Null)), &mut input));
                    Argument::List(all.collect::<Result<_, _>>()?)
                }
            };
            arguments.push((name.clone(), argument));
        }
        for (name, plain) in &example.arguments {
            arguments.push((name.clone(), argument(plain)));
        }
        let output = value(&mut graph, format!("out{at}"));
        let overload = if example.op.contains('.') { "" } else { ".default" };
        graph.nodes.push(Node {
            name: format!("out{at}"),
            target: format!("aten.{}{overload}", example.op),
            arguments,
            outputs: vec![Some(output)],
            module: "".into(),
            place: None,
        });
    }
    Ok((graph, tensors))
}

fn value(graph: &mut Graph, name: String) -> ValueId {
    graph.values.push(Value { name, tensor: None });
    ValueId(graph.values.len() as u32 - 1)
}

fn argument(plain: &Json) -> Argument {
    if let Some(name) = plain.get("dtype").and_then(Json::as_str) {
        return Argument::Dtype(Dtype::from_name(name).unwrap_or(Dtype::Unknown));
    }
    match plain.get("infinite").and_then(Json::as_bool) {
        Some(true) => Argument::Infinite(f64::INFINITY),
        Some(false) => Argument::Infinite(f64::NEG_INFINITY),
        None => Argument::Plain(plain.clone()),
    }
}

/// Run examples in both engines, MLX on that device or by its own choice.
///
/// # Errors
/// The examples are not read, or an engine is missing, in words.
pub fn run(examples: &[Example], seed: u64, device: Option<Device>) -> Result<Vec<NodeResult>, String> {
    let (graph, tensors) = graph(examples, seed)?;
    let checkpoint = demo::open().map_err(|error| error.to_string())?;
    let mut results = Results::default();
    let mut tell = |event| {
        results.apply(event);
    };
    let deadline = Duration::from_secs(120);
    let lockstep = Lockstep::new(&checkpoint, deadline, &CancelToken::default(), |_, _| {}, &mut tell);
    let mut lockstep = lockstep.on_device(device, false);
    lockstep.run(&graph, &tensors).map_err(|stop: Stop| stop.to_string())?;
    drop(lockstep);
    Ok(results.nodes)
}

/// Whether what was found of an example is as it should be: the engines agree, in a NaN as well, or nothing is compared.
pub fn is_good(node: &NodeResult) -> bool {
    let agree = || node.isolated.as_ref().is_some_and(|measured| !measured.verdict.is_bad());
    match node.verdict {
        NodeVerdict::Compared(verdict) => verdict.passes() && !diverges(node),
        NodeVerdict::NotANumber | NodeVerdict::Infinite { .. } => agree(),
        NodeVerdict::Given => true,
        NodeVerdict::Refused => false,
    }
}

/// The record of each overload that has examples.
///
/// # Errors
/// As [`run`].
pub fn records(
    examples: &[Example],
    seeds: &[u64],
    device: Option<Device>,
) -> Result<BTreeMap<String, Record>, String> {
    let mut records: BTreeMap<String, Record> = BTreeMap::new();
    for seed in seeds {
        for node in run(examples, *seed, device)? {
            let Some(example) = examples.get(node.index) else { continue };
            let record = records.entry(example.op.clone()).or_default();
            if node.verdict == NodeVerdict::Refused {
                record.refused = node.reason;
                continue;
            }
            record.examples += 1;
            if let Some(figures) = figures(&node)
                && record.float32.as_ref().is_none_or(|old| old.share <= figures.share)
            {
                record.float32 = Some(figures);
            }
        }
    }
    Ok(records)
}

fn figures(node: &NodeResult) -> Option<Figures> {
    let measured = node.isolated.as_ref()?;
    let share = if measured.max_abs == 0.0 { 0.0 } else { measured.max_abs / measured.tolerance };
    Some(Figures {
        verdict: measured.verdict.name().to_owned(),
        max_abs: digits(measured.max_abs),
        share: digits(share),
        torch_vs_f64: digits(measured.torch_vs_f64),
        mlx_vs_f64: digits(measured.mlx_vs_f64),
        mlx_dtype: None,
        build: node.target.clone(),
        reason: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::registry::aten::Table;

    #[test]
    fn every_example_is_read_and_has_a_row() {
        let all = examples().unwrap();
        let (graph, tensors) = graph(&all, 7).unwrap();
        assert_eq!((graph.nodes.len(), graph.inputs.len()), (all.len(), tensors.len()));
        let table = Table::built_in();
        let without: Vec<_> = graph.nodes.iter().filter(|node| table.row(&node.target).is_none()).collect();
        assert!(without.is_empty(), "{without:?}");
    }
}
