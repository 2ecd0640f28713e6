//! `run`: text, JSON, one line of JSON for each node, Markdown.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::figures::{error, shape};
use crate::graph::inputs::Given;
use crate::graph::judge::Measured;
use crate::graph::results::{Results, blame, diverges};
use crate::graph::run::{NodeResult, NodeVerdict, OutputResult};
use t2m_checkpoint::escape::{quoted, sentence};
use t2m_engine::{EngineInfo, Side, protocol};

/// A run, and what it ran on.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The engines' greetings, libtorch's first.
    pub engines: &'a [EngineInfo; 2],
    /// The inputs: name, type, shape, and where they are from.
    pub inputs: &'a [Given],
    /// What came out.
    pub results: &'a Results,
    /// What came out of the same with MLX's default, TF32 and all, where that was asked for.
    pub by_default: Option<&'a Results>,
}

impl Report<'_> {
    /// The whole run as one JSON object, schema 1.
    pub fn json(&self) -> Value {
        let mut nodes: Vec<Value> = self.results.nodes.iter().map(node_json).collect();
        let outputs = self.results.outputs.iter().flatten().map(output_json);
        let mut outputs: Vec<Value> = outputs.collect();
        if let Some(others) = self.by_default {
            // Both runs go through the same nodes; a branch that only one of them took has nothing beside it.
            let known: HashMap<(usize, &str), &NodeResult> =
                others.nodes.iter().map(|node| ((node.index, node.name.as_str()), node)).collect();
            for (value, node) in nodes.iter_mut().zip(&self.results.nodes) {
                if let Some(other) = known.get(&(node.index, node.name.as_str())) {
                    value["tf32"] = beside_json(other);
                }
            }
            for (value, other) in outputs.iter_mut().zip(others.outputs.iter().flatten()) {
                let other = output_json(other);
                value["tf32"] =
                    json!({"max_abs": other["max_abs"], "mean_abs": other["mean_abs"], "verdict": other["verdict"]});
            }
        }
        let mut summary = Map::new();
        summary.insert("nodes".to_owned(), json!(self.results.nodes.len()));
        summary.insert("run".to_owned(), json!(self.results.run()));
        summary.insert("refused".to_owned(), json!(self.results.refused()));
        for (verdict, count) in self.results.verdicts() {
            if verdict != NodeVerdict::Refused {
                let before = summary.get(verdict.name()).and_then(Value::as_u64).unwrap_or(0);
                summary.insert(verdict.name().to_owned(), json!(before + count as u64));
            }
        }
        if let Some((agree, all)) = self.results.modules() {
            summary.insert("modules".to_owned(), json!({"agree": agree, "all": all}));
        }
        let inputs: Vec<Value> = self
            .inputs
            .iter()
            .map(|given| {
                let mut one =
                    json!({"name": given.name, "dtype": given.dtype, "shape": given.shape, "from": given.from});
                if let Some(value) = &given.value {
                    one["value"] = value.clone();
                }
                one
            })
            .collect();
        json!({
            "schema": 1,
            "engines": {"torch": engine_json(&self.engines[0]), "mlx": engine_json(&self.engines[1])},
            "inputs": inputs,
            "nodes": nodes,
            "outputs": outputs,
            "first_divergence": self.results.first_divergence().map(|node| node.index),
            "summary": summary,
        })
    }

    /// The end of the text: outputs, sums, the first divergence.
    pub fn summary_text(&self) -> String {
        let mut lines = Vec::new();
        for output in self.results.outputs.iter().flatten() {
            lines.push(output_text(output));
        }
        let counts: Vec<String> =
            self.results.verdicts().into_iter().map(|(verdict, count)| format!("{count} {}", verdict.name())).collect();
        lines.push(format!("nodes: {}", counts.join(", ")));
        if let Some((agree, all)) = self.results.modules() {
            lines.push(format!(
                "modules: {agree} of {all} agree in the graph: all nodes of their forward ran and are right alone"
            ));
        }
        let refused: Vec<String> =
            self.results.refused().into_iter().map(|(op, count)| format!("{} ({count})", quoted(op))).collect();
        if !refused.is_empty() {
            lines.push(format!("refused: {}", refused.join(", ")));
        }
        for (reason, count) in self.results.mute() {
            let nodes = if count == 1 { "1 node" } else { &format!("{count} nodes") };
            lines.push(format!("not compared: {nodes}: {}", sentence(reason)));
        }
        lines.push(match self.results.first_divergence() {
            Some(node) => format!("first divergence: {}", whose(node)),
            None if self.results.run() == 0 => "no node was compared".to_owned(),
            None if self.results.mute().is_empty() => "no divergence: rounding explains every difference".to_owned(),
            None => {
                "no divergence where there is something to compare: rounding explains every difference there".to_owned()
            }
        });
        let widened = self.results.nodes.iter().filter(|node| node.widened.is_some()).count();
        if widened > 0 {
            let results = if widened == 1 { "1 node has its result" } else { &format!("{widened} nodes have results") };
            lines.push(format!(
                "half precision: {results} in it in the graph: computed and compared in float32, then rounded to it for what follows"
            ));
        }
        let by_winograd = self.results.nodes.iter().filter(|node| node.by_winograd).count();
        if by_winograd > 0 {
            let nodes =
                if by_winograd == 1 { "1 convolution has" } else { &format!("{by_winograd} convolutions have") };
            lines.push(format!(
                "by Winograd's algorithm: {nodes} the tolerance of that, which is wider than a plain sum's"
            ));
        }
        let engines = [Side::Torch, Side::Mlx].iter().zip(self.engines);
        let engines: Vec<String> =
            engines.map(|(side, info)| format!("{} {} ({})", side.library(), info.version, info.settings())).collect();
        lines.push(format!("measured with {}", engines.join(", ")));
        lines.extend(self.by_default.into_iter().flat_map(|others| self.by_default_text(others)));
        lines.join("\n")
    }

    /// What MLX's default costs: its outputs, and how many nodes it moves.
    fn by_default_text(&self, others: &Results) -> Vec<String> {
        let error = |node: &NodeResult| node.isolated.as_ref().map(|one| one.max_abs.to_bits());
        let pairs = || self.results.nodes.iter().zip(&others.nodes);
        let other = pairs().filter(|(node, other)| error(node) != error(other)).count();
        if other == 0 {
            return vec!["MLX's default: TF32 changes no node there".to_owned()];
        }
        let is_bad = |node: &&NodeResult| node.isolated.as_ref().is_some_and(|one| one.verdict.is_bad());
        let over = others.nodes.iter().filter(is_bad).count();
        let nodes = others.nodes.len();
        let sum =
            format!("MLX's default (TF32): {other} of {nodes} nodes differ, {over} of them over the tolerance alone");
        let outputs =
            others.outputs.iter().flatten().map(|output| format!("MLX's default (TF32): {}", output_text(output)));
        std::iter::once(sum).chain(outputs).collect()
    }

    /// The run as a Markdown table.
    pub fn markdown(&self) -> String {
        let mut out = String::from(
            "| node | op | module | line | isolated | accumulated | tolerance | verdict |\n|---|---|---|---|---|---|---|---|\n",
        );
        for node in &self.results.nodes {
            let number =
                |measured: &Option<Measured>| measured.as_ref().map_or(String::new(), |one| error(one.max_abs));
            let tolerance = node.accumulated.as_ref().map_or(String::new(), |one| error(one.tolerance));
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "| {} | {} | `{}` | {} | {} | {} | {tolerance} | {} |",
                quoted(&node.name),
                quoted(&node.target),
                super::code_cell(&node.module),
                place_text(node).replace('|', "\\|"),
                number(&node.isolated),
                number(&node.accumulated),
                node.verdict.name(),
            );
        }
        format!("{out}\n{}\n", self.summary_text())
    }
}

fn engine_json(info: &EngineInfo) -> Value {
    let mut value = json!({"version": info.version, "device": info.device, "flags": info.flags});
    if info.engine == Side::Mlx.program() {
        value["tf32"] = json!(info.tf32());
        value["blas"] = info.flags.get(protocol::BLAS).cloned().unwrap_or(Value::Null);
    }
    value
}

/// What a node gave with MLX's default.
fn beside_json(node: &NodeResult) -> Value {
    let mut value = json!({"verdict": node.verdict.name()});
    for (name, measured) in [("isolated", &node.isolated), ("accumulated", &node.accumulated)] {
        if let Some(measured) = measured {
            value[name] = measured_json(measured);
        }
    }
    value
}

/// A node as JSON.
pub fn node_json(node: &NodeResult) -> Value {
    let mut value = json!({
        "index": node.index,
        "name": node.name,
        "op": node.target,
        "module": node.module,
        "verdict": node.verdict.name(),
        "ms_torch": node.ms_torch,
        "ms_mlx": node.ms_mlx,
        "ms_torch_f64": node.ms_torch_f64,
        "ms_mlx_isolated": node.ms_mlx_isolated,
    });
    if let Some((file, line)) = &node.place {
        value["file"] = json!(file);
        value["line"] = json!(line);
    }
    if let Some(dtype) = node.widened {
        value["graph_dtype"] = json!(dtype.name());
    }
    if node.by_winograd {
        value["by_winograd"] = json!(true);
    }
    for (name, text) in [("mlx", &node.mlx), ("reason", &node.reason)] {
        if let Some(text) = text {
            value[name] = json!(text);
        }
    }
    for (name, measured) in [("isolated", &node.isolated), ("accumulated", &node.accumulated)] {
        if let Some(measured) = measured {
            value[name] = measured_json(measured);
        }
    }
    value
}

fn measured_json(measured: &Measured) -> Value {
    json!({
        "max_abs": measured.max_abs,
        "mean_abs": measured.mean_abs,
        "cosine": measured.cosine,
        "worst_index": measured.worst_index,
        "tolerance": measured.tolerance,
        "scale": measured.scale,
        "torch_vs_f64": measured.torch_vs_f64,
        "mlx_vs_f64": measured.mlx_vs_f64,
    })
}

fn output_json(output: &OutputResult) -> Value {
    let mut value = json!({"name": output.name, "dtype": output.dtype.name(), "shape": output.shape});
    if let Some(own) = &output.value {
        value["value"] = own.clone();
    }
    match &output.measured {
        Ok(measured) => {
            value["max_abs"] = json!(measured.max_abs);
            value["mean_abs"] = json!(measured.mean_abs);
            value["cosine"] = json!(measured.cosine);
            value["tolerance"] = json!(measured.tolerance);
            value["verdict"] = json!(measured.verdict.name());
        }
        Err(reason) => {
            value["verdict"] = json!("failed");
            value["reason"] = json!(reason);
        }
    }
    value
}

fn output_text(output: &OutputResult) -> String {
    let head = match &output.value {
        Some(Value::Null) => return format!("output {}: None", quoted(&output.name)),
        Some(value) => return format!("output {}: {value}", quoted(&output.name)),
        None => format!("output {} {}: ", quoted(&output.name), shape(&output.shape)),
    };
    match &output.measured {
        Ok(measured) => {
            let (apart, tolerance) = (error(measured.max_abs), error(measured.tolerance));
            format!("{head}{} max abs {apart}, tolerance {tolerance}", measured.verdict.name())
        }
        Err(reason) => format!("{head}{}", sentence(reason)),
    }
}

fn place_text(node: &NodeResult) -> String {
    node.place.as_ref().map_or(String::new(), |(file, line)| {
        let name = file.rsplit('/').next().unwrap_or(file);
        format!("{}:{line}", quoted(name))
    })
}

/// Where torch and MLX part, and whose fault it is.
fn whose(node: &NodeResult) -> String {
    let at = format!("node {} {} {} {}", node.index, quoted(&node.name), quoted(&node.target), place_text(node));
    format!("{}: {}", at.trim_end(), blame(node))
}

/// A node as one line of text.
pub fn node_text(node: &NodeResult) -> String {
    let number =
        |measured: &Option<Measured>| measured.as_ref().map_or_else(|| "–".to_owned(), |one| error(one.max_abs));
    let mark = if diverges(node) { "!" } else { " " };
    let reason = node.reason.as_ref().map_or(String::new(), |reason| format!("  {}", sentence(reason)));
    format!(
        "{mark}{:>5}  {:<34} {:<28} {:<8} {:>8} {:>8}{reason}",
        node.index,
        quoted(&node.target),
        quoted(&node.module),
        node.verdict.name(),
        number(&node.isolated),
        number(&node.accumulated),
    )
}
