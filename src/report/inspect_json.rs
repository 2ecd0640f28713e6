//! `inspect --format json`: one object, schema 1. Fields are added, never renamed.

use std::collections::HashMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use crate::findings::ops::{self, Counts};
use crate::findings::{BlockerPlace, Blockers, status_counts};
use crate::model::ModuleId;
use crate::open::Opened;
use t2m_checkpoint::Tensor;
use t2m_checkpoint::check::Check;

/// The whole report. Modules, tensors and blockers are made one by one as they are written: of all of them together the
/// values would take many times what the checkpoint does.
#[derive(Debug)]
pub struct Report<'a> {
    /// What is reported on.
    pub opened: &'a Opened,
    /// What reading all of its bytes has shown, where that was asked for.
    pub check: Option<&'a Check>,
}

impl Serialize for Report<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let opened = self.opened;
        let counts = ops::counts(opened);
        let owners = owners(opened);
        let mut report = serializer.serialize_map(None)?;
        report.serialize_entry("schema", &1)?;
        report.serialize_entry("checkpoint", &checkpoint(opened, self.check))?;
        let modules = || (0..opened.model.modules.len()).map(|id| module(opened, id, &counts));
        report.serialize_entry("modules", &Each(modules))?;
        report.serialize_entry("tensors", &Each(|| tensors(opened, &owners)))?;
        let blockers = Blockers::of(&opened.model, &opened.triage);
        report.serialize_entry("summary", &summary(opened, &blockers))?;
        let places = || blockers.places.iter().filter_map(|place| blocker(opened, place));
        report.serialize_entry("blockers", &Each(places))?;
        report.serialize_entry("ops", &super::ops::json(opened))?;
        report.serialize_entry("pickle", &pickle(opened))?;
        report.serialize_entry("warnings", &opened.checkpoint.warnings)?;
        report.end()
    }
}

/// A list whose items are made as they are written.
struct Each<F>(F);

impl<T: Serialize, I: Iterator<Item = T>, F: Fn() -> I> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
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

fn checkpoint(opened: &Opened, check: Option<&Check>) -> Value {
    let checkpoint = &opened.checkpoint;
    let mut metadata = checkpoint.metadata.clone();
    if !checkpoint.wrappers.is_empty() {
        metadata.insert("wrappers".to_owned(), json!(checkpoint.wrappers));
    }
    let mut report = json!({
        "path": checkpoint.path, "format": checkpoint.format.name(), "bytes": checkpoint.bytes,
        "tensors": checkpoint.tensors.len(), "parameters": opened.model.parameters(), "shards": checkpoint.shards,
        "metadata": metadata,
    });
    if let Some(check) = check {
        report["check"] = super::check::json(opened, check);
    }
    report
}

fn module(opened: &Opened, id: ModuleId, ops: &HashMap<String, Counts>) -> Value {
    let (module, triaged) = (&opened.model.modules[id], &opened.triage.modules[id]);
    let source = opened.triage.source(&module.class);
    let tensors =
        module.tensors.iter().filter(|own| own.tensor.is_some()).map(|own| full_name(&module.path, &own.name));
    let mut value = Map::new();
    let mut put = |name: &str, field: Value| value.insert(name.to_owned(), field);
    put("path", json!(module.path.as_str()));
    put("class", json!(module.class.as_str()));
    put("evidence", json!(module.evidence.name()));
    put("confidence", json!(f64::from((module.confidence * 1000.0).round()) / 1000.0));
    put("status", json!(triaged.status));
    if let Some(difficulty) = triaged.difficulty {
        put("difficulty", json!(difficulty));
    }
    for (name, text) in [("mlx", &triaged.mlx), ("rule", &triaged.rule), ("recipe", &triaged.recipe)] {
        if let Some(text) = text {
            put(name, json!(text));
        }
    }
    put("reason", json!(triaged.reason));
    if let Some(block) = &triaged.block {
        put("template", json!({"name": block.name, "args": block.args, "whole": block.plan.is_some()}));
    }
    if !module.alternatives.is_empty() {
        put("alternatives", module.alternatives.iter().map(|class| class.as_str()).collect());
    }
    put("attributes", Value::Object((*module.attributes).clone()));
    put("parameters", json!(module.parameters));
    put("tensors", tensors.collect());
    if let Some(source) = source {
        let line = source.forward.as_ref().map_or(source.class_line, |lines| lines.start);
        let (origin, trust) = (&source.origin, &source.trust);
        put("source", json!({"file": source.file, "line": line, "origin": origin, "trust": trust}));
    }
    let blockers = opened.triage.blockers(&opened.model, id).filter(|(.., reach)| reach.counts());
    put("blockers", json!(blockers.count()));
    if let Some(counts) = ops.get(module.class.as_str()) {
        put("ops", json!(counts));
    }
    Value::Object(value)
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

fn tensors<'a>(opened: &'a Opened, owners: &'a [&'a str]) -> impl Iterator<Item = Value> + 'a {
    let describe = move |(tensor, module): (&Tensor, &&str)| {
        let elements = tensor.shape.iter().fold(1u64, |product, &axis| product.saturating_mul(axis));
        let mut value = json!({
            "name": tensor.name.as_str(), "dtype": tensor.dtype.name(), "shape": tensor.shape.as_slice(),
            "bytes": elements.saturating_mul(tensor.dtype.size() as u64), "module": module,
        });
        if let Some(first) = tensor.shared_with.and_then(|id| opened.checkpoint.tensors.get(id)) {
            value["shared_with"] = json!(first.name.as_str());
        }
        if let Some(problem) = &tensor.problem {
            value["problem"] = json!(problem);
        }
        value
    };
    opened.checkpoint.tensors.iter().zip(owners).map(describe)
}

fn summary(opened: &Opened, blockers: &Blockers<'_>) -> Value {
    let layers: Map<String, Value> = status_counts(&opened.triage)
        .into_iter()
        .map(|(status, count)| (status.name().to_owned(), json!(count)))
        .collect();
    let coverage = opened.triage.coverage;
    json!({
        "layers": layers,
        "coverage": {"layers": coverage.layers, "parameters": coverage.parameters},
        "blockers": blockers.severities().total(),
    })
}

fn pickle(opened: &Opened) -> Value {
    let Some(report) = &opened.checkpoint.pickle else { return json!({"globals": [], "refused": []}) };
    let global = |global: &t2m_checkpoint::PickleGlobal| {
        let mut row = json!({"name": global.name, "allowed": global.allowed, "count": global.count});
        if global.dangerous {
            row["dangerous"] = json!(true);
        }
        row
    };
    json!({"globals": report.globals.iter().map(global).collect::<Vec<Value>>(), "refused": report.refused})
}

fn full_name(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
