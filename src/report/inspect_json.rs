//! `inspect --format json`: one object, schema 1. Fields are added, never renamed.

use std::collections::HashMap;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::Each;
use crate::export::state_dict::known_share;
use crate::findings::ops::{self, Counts};
use crate::findings::{BlockerPlace, Blockers, Forwards, status_counts};
use crate::graph::counts;
use crate::graph::preflight::Preflight;
use crate::model::ModuleId;
use crate::open::Opened;
use crate::ports::{self, Port};
use crate::registry::library;
use crate::triage::Status;
use t2m_checkpoint::check::Check;
use t2m_checkpoint::{Checkpoint, OwnTensor, PickleGlobal, PickleReport, Tensor};

/// The whole report. Modules and tensors are written as they are, blockers made one by one: all their JSON values together
/// would take many times the memory of the checkpoint.
#[derive(Debug)]
pub struct Report<'a> {
    /// What is reported on.
    pub opened: &'a Opened,
    /// What `--check` found in its bytes, if it was asked for.
    pub check: Option<&'a Check>,
}

impl Serialize for Report<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let opened = self.opened;
        let counts = ops::counts(opened);
        let owners = owners(opened);
        let mut report = serializer.serialize_map(None)?;
        report.serialize_entry("schema", &1)?;
        report.serialize_entry("checkpoint", &File(opened, self.check))?;
        let modules = || (0..opened.model.modules.len()).map(|id| Row { opened, id, ops: &counts });
        report.serialize_entry("modules", &Each(modules))?;
        let checkpoint = &*opened.checkpoint;
        let tensors = || checkpoint.tensors.iter().zip(&owners);
        let tensors = || tensors().map(|(tensor, module)| TensorRow { checkpoint, tensor, module });
        report.serialize_entry("tensors", &Each(tensors))?;
        let blockers = Blockers::of(&opened.model, &opened.triage);
        report.serialize_entry("summary", &summary(opened, &blockers))?;
        let places = || blockers.places.iter().filter_map(|place| blocker(opened, place));
        report.serialize_entry("blockers", &Each(places))?;
        report.serialize_entry("to_port", &to_port(opened))?;
        report.serialize_entry("ops", &super::ops::json(opened))?;
        if let Some(graph) = graph(opened) {
            report.serialize_entry("graph", &graph)?;
        }
        report.serialize_entry("idioms", &super::ops::idioms_json(opened))?;
        report.serialize_entry("pickle", &Pickle(opened.checkpoint.pickle.as_ref()))?;
        report.serialize_entry("warnings", &opened.checkpoint.warnings)?;
        report.end()
    }
}

/// A place, with every module that runs it.
fn blocker(opened: &Opened, place: &BlockerPlace<'_>) -> Option<Value> {
    let BlockerPlace { file, blocker, reach, modules } = place;
    let first = &opened.model.modules[*modules.first()?];
    let modules: Vec<&str> = modules.iter().map(|id| opened.model.modules[*id].path.as_str()).collect();
    Some(json!({
        "module": first.path.as_str(), "modules": modules, "class": first.class.as_str(), "pattern": blocker.pattern,
        "severity": blocker.severity, "reach": reach, "file": file, "line": blocker.line, "column": blocker.column,
        "text": blocker.text, "explanation": blocker.explanation, "hint": blocker.hint,
    }))
}

/// The classes whose forwards have to be ported, the longest first.
fn to_port(opened: &Opened) -> Vec<Value> {
    let rows = crate::findings::to_port::to_port(opened).into_iter().map(|row| {
        let mut value = json!({
            "class": row.class, "instances": row.modules.len(), "lines": row.lines, "blockers": row.blockers.total(),
            "parameters": row.parameters,
        });
        if let Some((file, line)) = row.place {
            (value["file"], value["line"], value["ops"]) = (json!(file), json!(line), json!(row.ops));
        }
        value
    });
    rows.collect()
}

/// What is to be said of the file as a whole.
struct File<'a>(&'a Opened, Option<&'a Check>);

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (opened, checkpoint) = (self.0, &self.0.checkpoint);
        let mut report = serializer.serialize_map(None)?;
        report.serialize_entry("path", &checkpoint.path.to_string_lossy())?;
        report.serialize_entry("format", checkpoint.format.name())?;
        report.serialize_entry("bytes", &checkpoint.bytes)?;
        report.serialize_entry("tensors", &checkpoint.tensors.len())?;
        report.serialize_entry("parameters", &opened.model.parameters())?;
        report.serialize_entry("shards", &checkpoint.shards)?;
        report.serialize_entry("metadata", &Metadata(checkpoint))?;
        if let Some(architecture) = &opened.architecture {
            report.serialize_entry("architecture", &super::architecture::json(architecture))?;
            let candidates = super::architecture::candidates(architecture);
            if !candidates.is_empty() {
                report.serialize_entry("candidates", &candidates)?;
            }
        }
        let ports = ports::of(checkpoint, &opened.model, opened.architecture.as_deref());
        let port = |port: &Port| json!({"package": port.package, "module": port.module});
        report.serialize_entry("ports", &ports.iter().map(port).collect::<Vec<_>>())?;
        if let Some(check) = self.1 {
            report.serialize_entry("check", &super::check::json(opened, check))?;
        }
        report.end()
    }
}

/// The file's own metadata, and what its weights were wrapped in.
struct Metadata<'a>(&'a Checkpoint);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const WRAPPERS: &str = "wrappers";
        let Checkpoint { metadata, wrappers, .. } = self.0;
        let mut report = serializer.serialize_map(None)?;
        for (key, value) in metadata {
            if key == WRAPPERS && !wrappers.is_empty() {
                report.serialize_entry(WRAPPERS, wrappers)?;
            } else {
                report.serialize_entry(key, value)?;
            }
        }
        if !wrappers.is_empty() && !metadata.contains_key(WRAPPERS) {
            report.serialize_entry(WRAPPERS, wrappers)?;
        }
        report.end()
    }
}

/// The graph of the whole model: what of it converts, and where it lies if it is not in the file itself.
fn graph(opened: &Opened) -> Option<Value> {
    let mut value = Map::new();
    if let Some(graph) = opened.counted_graph() {
        let preflight = Preflight::by(graph, &opened.registry.aten());
        let missing = preflight.missing.iter().map(|missing| {
            let mut row = json!({"op": missing.op, "count": missing.count});
            if let Some((file, line)) = &missing.place {
                (row["file"], row["line"]) = (json!(file), json!(line));
            }
            row
        });
        value.insert("missing".to_owned(), missing.collect());
        let place = |(file, line): &(Arc<str>, usize)| json!({"file": &**file, "line": line});
        let counted = counts::by_module(graph).into_iter().map(|one| {
            let places: Vec<Value> = one.places.iter().map(place).collect();
            json!({"module": &*one.module, "op": one.op, "count": one.count, "places": places})
        });
        value.insert("ops".to_owned(), counted.collect());
        value.insert("nodes".to_owned(), json!(preflight.nodes));
        value.insert("convertible".to_owned(), json!(preflight.convertible));
    }
    if let Some(graph) = &opened.graph {
        value.entry("nodes").or_insert(json!(graph.nodes));
        value.insert("file".to_owned(), json!(graph.file.to_string_lossy()));
        value.insert("reused".to_owned(), json!(graph.reused));
    }
    (!value.is_empty()).then_some(Value::Object(value))
}

/// A module, written field by field: values of a hundred thousand modules take longer to make than to write.
struct Row<'a> {
    opened: &'a Opened,
    id: ModuleId,
    ops: &'a HashMap<String, Counts>,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Row { opened, id, ops } = *self;
        let (module, triaged) = (&opened.model.modules[id], &opened.triage.modules[id]);
        let mut row = serializer.serialize_map(None)?;
        row.serialize_entry("path", module.path.as_str())?;
        row.serialize_entry("class", module.class.as_str())?;
        row.serialize_entry("evidence", module.evidence.name())?;
        row.serialize_entry("confidence", &(f64::from((module.confidence * 1000.0).round()) / 1000.0))?;
        row.serialize_entry("status", &triaged.status)?;
        if let Some(library) = library(&module.class).filter(|_| triaged.status == Status::Custom) {
            row.serialize_entry("library", library)?;
        }
        if let Some(difficulty) = triaged.difficulty {
            row.serialize_entry("difficulty", &difficulty)?;
        }
        for (name, text) in [("mlx", &triaged.mlx), ("rule", &triaged.rule), ("recipe", &triaged.recipe)] {
            if let Some(text) = text {
                row.serialize_entry(name, text)?;
            }
        }
        row.serialize_entry("reason", &triaged.reason)?;
        if let Some(block) = &triaged.block {
            let template = json!({"name": block.name, "args": block.args, "whole": block.plan.is_some()});
            row.serialize_entry("template", &template)?;
        }
        if !module.alternatives.is_empty() {
            row.serialize_entry("alternatives", &Each(|| module.alternatives.iter().map(|class| class.as_str())))?;
        }
        row.serialize_entry("attributes", &*module.attributes)?;
        if !module.told_by.is_empty() {
            let told = module.told_by.iter().map(|(name, origin)| (name.to_owned(), json!(origin.to_string())));
            row.serialize_entry("told_by", &told.collect::<Map<_, _>>())?;
        }
        if let Some(assumed) = triaged.assumed.as_ref().filter(|_| triaged.is_assumed()) {
            row.serialize_entry("assumed", &assumed.values)?;
        }
        row.serialize_entry("parameters", &module.parameters)?;
        let tensors = || module.tensors.iter().filter(|own| own.tensor.is_some());
        row.serialize_entry("tensors", &Each(|| tensors().map(|own| InFile { opened, id, own })))?;
        if let Some(source) = opened.triage.source(&module.class) {
            let line = source.forward.as_ref().map_or(source.class_line, |lines| lines.start);
            let (origin, trust) = (&source.origin, &source.trust);
            let source = json!({"file": source.file, "line": line, "origin": origin, "trust": trust});
            row.serialize_entry("source", &source)?;
        }
        let blockers = opened.triage.blockers(&opened.model, id).filter(|(.., reach)| reach.counts());
        row.serialize_entry("blockers", &blockers.count())?;
        if let Some(counts) = ops.get(module.class.as_str()) {
            row.serialize_entry("ops", counts)?;
        }
        row.end()
    }
}

/// The path of each tensor's module.
fn owners(opened: &Opened) -> Vec<&str> {
    let mut owners = vec![""; opened.checkpoint.tensors.len()];
    for module in &opened.model.modules {
        for id in module.tensors.iter().filter_map(|own| own.tensor) {
            if let Some(owner) = owners.get_mut(id) {
                *owner = &module.path;
            }
        }
    }
    owners
}

/// A tensor, and the path of its module.
struct TensorRow<'a> {
    checkpoint: &'a Checkpoint,
    tensor: &'a Tensor,
    module: &'a str,
}

impl Serialize for TensorRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let TensorRow { checkpoint, tensor, module } = *self;
        let elements = tensor.shape.iter().fold(1u64, |product, &axis| product.saturating_mul(axis));
        let mut row = serializer.serialize_map(None)?;
        row.serialize_entry("name", tensor.name.as_str())?;
        row.serialize_entry("dtype", tensor.dtype.name())?;
        row.serialize_entry("shape", tensor.shape.as_slice())?;
        row.serialize_entry("bytes", &elements.saturating_mul(tensor.dtype.size() as u64))?;
        row.serialize_entry("module", module)?;
        if let Some(first) = tensor.shared_with.and_then(|id| checkpoint.tensors.get(id)) {
            row.serialize_entry("shared_with", first.name.as_str())?;
        }
        if let Some(problem) = &tensor.problem {
            row.serialize_entry("problem", problem)?;
        }
        row.end()
    }
}

fn summary(opened: &Opened, blockers: &Blockers<'_>) -> Value {
    let layers: Map<String, Value> = status_counts(&opened.triage)
        .into_iter()
        .map(|(status, count)| (status.name().to_owned(), json!(count)))
        .collect();
    let (coverage, forwards) = (opened.triage.coverage, Forwards::of(&opened.model, &opened.triage));
    json!({
        "layers": layers,
        "coverage": {"layers": coverage.layers, "parameters": coverage.parameters, "weights": known_share(opened)},
        "forwards": {"own": forwards.own(), "to_port": forwards.to_port()},
        "blockers": blockers.severities().total(),
    })
}

/// What the pickle mentions and asks for.
struct Pickle<'a>(Option<&'a PickleReport>);

impl Serialize for Pickle<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let global = |global: &PickleGlobal| {
            let mut row = json!({"name": global.name, "allowed": global.allowed, "count": global.count});
            if global.dangerous {
                row["dangerous"] = json!(true);
            }
            row
        };
        let globals = || self.0.into_iter().flat_map(|report| &report.globals).map(global);
        let refused = || self.0.into_iter().flat_map(|report| &report.refused);
        let mut report = serializer.serialize_map(None)?;
        report.serialize_entry("globals", &Each(globals))?;
        report.serialize_entry("refused", &Each(refused))?;
        report.end()
    }
}

/// What the file calls a tensor of a module.
struct InFile<'a> {
    opened: &'a Opened,
    id: ModuleId,
    own: &'a OwnTensor,
}

impl Serialize for InFile<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let InFile { opened, id, own } = *self;
        match opened.model.modules[id].path.as_str() {
            _ if opened.model.is_renamed => {
                serializer.serialize_str(&opened.model.name_in_file(&opened.checkpoint, id, own))
            }
            "" => serializer.serialize_str(&own.name),
            path => serializer.collect_str(&format_args!("{path}.{}", own.name)),
        }
    }
}
