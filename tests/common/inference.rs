//! Guessing classes of models whose classes are known, and counting.

#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;

use super::archive::{self, Code, code};
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;
use t2m_checkpoint::{Bytes, Checkpoint};
use t2m_tui::model::{self, Module};

type Failure = Box<dyn std::error::Error>;

/// One line of models.jsonl.gz.
#[derive(Debug, Deserialize)]
pub struct KnownModel {
    pub library: String,
    pub name: String,
    /// `tuned` or `held-out`.
    pub set: String,
    /// Name, dtype, shape.
    tensors: Vec<(String, String, Vec<i64>)>,
    /// Whatever a class has as its `_version`: a number, as a rule.
    versions: Vec<(String, Value)>,
    /// Path, and the class that counts as right.
    modules: Vec<(String, String)>,
}

impl KnownModel {
    /// The same with its tensors in the order of their names, as safetensors files have them.
    #[must_use]
    pub fn sorted(mut self) -> KnownModel {
        self.tensors.sort();
        self
    }
}

/// The models of a file, one after the other.
pub struct Models(Lines<BufReader<GzDecoder<File>>>);

impl Models {
    pub fn read(file: &str) -> Result<Models, Failure> {
        Ok(Models(BufReader::new(GzDecoder::new(File::open(file)?)).lines()))
    }
}

impl Iterator for Models {
    type Item = Result<KnownModel, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.0.next()?;
        Some(line.map_err(Failure::from).and_then(|line| Ok(serde_json::from_str(&line)?)))
    }
}

/// Something taken for something else.
pub struct Mistake {
    pub path: String,
    pub truth: String,
    pub said: String,
    pub confidence: f32,
}

/// Right and all.
type Share = (usize, usize);

/// What came out, over one model or many.
#[derive(Debug, Default)]
pub struct Tally {
    /// Modules whose class is right to the last letter, of all that own a tensor.
    pub modules: Share,
    /// The same with the one- to three-dimensional batch norms counted as one class.
    pub modules_merged: Share,
    /// Modules that were called something with a confidence of 0.9 and more.
    pub sure: Share,
    /// Confidence in tenths: right and all of those that were called something.
    pub by_confidence: BTreeMap<u32, Share>,
    /// By true class: (right, true ones, called so).
    pub by_class: BTreeMap<String, (usize, usize, usize)>,
    /// Share of each model.
    pub models: Vec<f64>,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        for (sum, part) in [
            (&mut self.modules, other.modules),
            (&mut self.modules_merged, other.modules_merged),
            (&mut self.sure, other.sure),
        ] {
            *sum = (sum.0 + part.0, sum.1 + part.1);
        }
        for (tenth, (right, all)) in &other.by_confidence {
            let sum = self.by_confidence.entry(*tenth).or_default();
            *sum = (sum.0 + right, sum.1 + all);
        }
        for (class, (right, true_ones, called)) in &other.by_class {
            let sum = self.by_class.entry(class.clone()).or_default();
            *sum = (sum.0 + right, sum.1 + true_ones, sum.2 + called);
        }
        self.models.extend(&other.models);
    }
}

/// Open the model as a bare state dict and hold what is said of it against the truth.
pub fn score(known: &KnownModel, with_metadata: bool, mut tell: impl FnMut(Mistake)) -> Result<Tally, Failure> {
    let bytes = archive::torch(&state_dict(known, with_metadata).pickle());
    let checkpoint = Checkpoint::from_bytes(Path::new(&known.name), Bytes::Owned(bytes))?;
    let model = model::build(&checkpoint);
    let said: BTreeMap<&str, &Module> = model.modules.iter().map(|module| (module.path.as_str(), module)).collect();
    let mut tally = Tally::default();
    let mut seen = BTreeSet::new();
    for (path, truth) in &known.modules {
        if !seen.insert(path) {
            continue;
        }
        let module = said.get(path.as_str());
        let (class, confidence) = module.map_or(("custom", 0.0), |module| said_of(module));
        let (right, merged) = (class == truth, merge(class) == merge(truth));
        count(&mut tally.modules, right);
        count(&mut tally.modules_merged, merged);
        if class != "custom" {
            count(tally.by_confidence.entry((confidence * 10.0 + 1e-3) as u32).or_default(), right);
            if confidence >= 0.9 {
                count(&mut tally.sure, right);
            }
        }
        let of_truth = tally.by_class.entry(truth.clone()).or_default();
        of_truth.0 += usize::from(right);
        of_truth.1 += 1;
        tally.by_class.entry(class.to_owned()).or_default().2 += 1;
        if !right {
            tell(Mistake { path: path.clone(), truth: truth.clone(), said: class.to_owned(), confidence });
        }
    }
    tally.models.push(share(tally.modules));
    Ok(tally)
}

/// What the tree claims: `custom` where it claims no layer.
fn said_of(module: &Module) -> (&str, f32) {
    match module.class.as_str() {
        "" => ("custom", 0.0),
        class if class.contains(".container.") => ("custom", 0.0),
        class => (class, module.confidence),
    }
}

fn merge(class: &str) -> &str {
    match class.strip_prefix("torch.nn.modules.batchnorm.BatchNorm") {
        Some(_) => "torch.nn.modules.batchnorm.BatchNorm",
        None => class,
    }
}

fn count((right, all): &mut Share, is_right: bool) {
    *right += usize::from(is_right);
    *all += 1;
}

fn share((right, all): Share) -> f64 {
    right as f64 / (all as f64).max(1.0)
}

/// An OrderedDict of tensors on the meta device, with `_metadata` if wanted.
fn state_dict(known: &KnownModel, with_metadata: bool) -> Code {
    let ordered = || code().global("collections", "OrderedDict").raw(b")R");
    let mut pairs = ordered().raw(b"(");
    for (name, dtype, shape) in &known.tensors {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        let call = code().global("torch._utils", "_rebuild_meta_tensor_no_storage").raw(b"(").global("torch", dtype);
        pairs = pairs.text(name).then(call.ints(shape).ints(&strides).raw(b"\x89tR"));
    }
    let pairs = pairs.raw(b"u");
    if !with_metadata {
        return pairs;
    }
    let mut versions = ordered().raw(b"(");
    for (path, version) in &known.versions {
        let facts = code().raw(b"}");
        let facts = match version {
            Value::Null => facts,
            Value::Number(number) => facts.text("version").int(number.as_i64().unwrap_or_default()).raw(b"s"),
            other => facts.text("version").text(&other.to_string()).raw(b"s"),
        };
        versions = versions.text(path).then(facts);
    }
    pairs.raw(b"}").text("_metadata").then(versions.raw(b"u")).raw(b"sb")
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, what: &str, (right, all): Share| {
            writeln!(f, "| {what} | {right} of {all} | {:.4} |", share((right, all)))
        };
        writeln!(f, "{} models.\n\n| | right | share |\n|---|---|---|", self.models.len())?;
        line(f, "modules", self.modules)?;
        line(f, "modules, dimensions of batch norms aside", self.modules_merged)?;
        line(f, "of those said with 0.9 and more", self.sure)?;
        for (tenth, share) in self.by_confidence.iter().rev() {
            line(f, &format!("confidence 0.{tenth}0 to 0.{tenth}9"), *share)?;
        }
        let mean = self.models.iter().sum::<f64>() / (self.models.len() as f64).max(1.0);
        writeln!(
            f,
            "| mean over the models | | {mean:.4} |\n\n| class | precision | recall | modules |\n|---|---|---|---|"
        )?;
        for (class, (right, true_ones, called)) in &self.by_class {
            let part = |all: usize| if all == 0 { "·".to_owned() } else { format!("{:.3}", share((*right, all))) };
            let name = class.rsplit('.').next().unwrap_or(class);
            writeln!(f, "| {name} | {} | {} | {true_ones} |", part(*called), part(*true_ones))?;
        }
        Ok(())
    }
}
