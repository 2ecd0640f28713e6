//! Mistakes planted in a row by a user's registry file: each is found at the node where it shows, by both views; and models of
//! torchvision, timm and transformers in which none is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Deserialize;

use crate::graphs::fixture;
use t2m_checkpoint::{Checkpoint, TensorData};
use t2m_engine::client::CancelToken;
use t2m_tui::exit::Exit;
use t2m_tui::graph::inputs::{Source, of_graph};
use t2m_tui::graph::results::Results;
use t2m_tui::graph::run::{Event, Lockstep};
use t2m_tui::registry::Registry;
use t2m_tui::registry::aten::{Table, functional};

/// A row of `mistakes.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    name: String,
    graph: String,
    #[serde(default)]
    node: usize,
    op: String,
    from: String,
    to: String,
}

#[derive(Deserialize)]
struct Mistakes {
    mistake: Vec<Mistake>,
}

/// The text of each row by its schema, as the registry's file has it.
fn texts() -> IndexMap<String, String> {
    #[derive(Deserialize)]
    struct File {
        ops: IndexMap<String, String>,
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/registry/aten.toml");
    toml::from_str::<File>(&std::fs::read_to_string(path).unwrap()).unwrap().ops
}

impl Mistake {
    /// The rows with this one changed, by a user's registry file.
    fn rows(&self, texts: &IndexMap<String, String>) -> Arc<Table> {
        let (schema, text) = texts.iter().find(|(schema, _)| schema.split('(').next() == Some(&self.op)).unwrap();
        assert!(text.contains(&self.from), "{}: the row of {} has no `{}`:\n{text}", self.name, self.op, self.from);
        let file =
            toml::to_string(&BTreeMap::from([("ops", BTreeMap::from([(schema, text.replace(&self.from, &self.to))]))]));
        let mut registry = Registry::load(&[]).unwrap();
        registry.apply(Path::new("planted.toml"), &file.unwrap()).unwrap();
        registry.aten()
    }

    /// Whether a graph's node is of the op.
    fn is_at(&self, target: &str) -> bool {
        let own = if self.op.contains('.') { format!("aten.{}", self.op) } else { format!("aten.{}.default", self.op) };
        target == own || functional(target).is_some_and(|name| name == own)
    }
}

/// A graph's file, and what it is run on.
struct Opened {
    checkpoint: Checkpoint,
    tensors: Vec<TensorData>,
}

fn open(name: &str) -> Opened {
    let checkpoint = Checkpoint::open(&fixture(&format!("{name}.pt2"))).unwrap();
    let graph = checkpoint.graph.as_ref().unwrap();
    let tensors = of_graph(graph, Source::Sample(checkpoint.samples.as_ref().unwrap())).unwrap().tensors;
    Opened { checkpoint, tensors }
}

/// Run one graph with each of these rows, in the same engines.
fn runs(opened: &Opened, tables: &[&Table]) -> Vec<Results> {
    let results = RefCell::new(Results::default());
    let mut tell = |event: Event| {
        results.borrow_mut().apply(event);
    };
    let cancel = CancelToken::default();
    let mut lockstep = Lockstep::new(&opened.checkpoint, Duration::from_secs(120), &cancel, |_, _| {}, &mut tell);
    let mut all = Vec::new();
    for table in tables {
        lockstep = lockstep.with_rows(table);
        lockstep.run(opened.checkpoint.graph.as_ref().unwrap(), &opened.tensors).unwrap();
        all.push(results.take());
    }
    all
}

#[test]
fn every_planted_mistake_is_found_at_its_node() {
    let text = std::fs::read_to_string(fixture("mistakes.toml")).unwrap();
    let mistakes = toml::from_str::<Mistakes>(&text).unwrap().mistake;
    assert!(mistakes.len() >= 60, "{}", mistakes.len());
    let texts = texts();
    let mut by_graph: BTreeMap<&str, Vec<&Mistake>> = BTreeMap::new();
    for mistake in &mistakes {
        by_graph.entry(&mistake.graph).or_default().push(mistake);
    }
    let mut missed = Vec::new();
    for (graph, mistakes) in by_graph {
        let opened = open(graph);
        let tables: Vec<Arc<Table>> = mistakes.iter().map(|mistake| mistake.rows(&texts)).collect();
        let all = runs(&opened, &tables.iter().map(AsRef::as_ref).collect::<Vec<&Table>>());
        for (mistake, results) in mistakes.into_iter().zip(all) {
            let planted = results.nodes.iter().filter(|node| mistake.is_at(&node.target)).nth(mistake.node);
            let Some(planted) = planted else {
                missed.push(format!("{}: {graph} has no such {}", mistake.name, mistake.op));
                continue;
            };
            let found = results.first_divergence();
            let of = |measured: &Option<t2m_tui::graph::judge::Measured>| {
                measured.as_ref().map_or(0.0, |one| one.max_abs / one.tolerance)
            };
            println!(
                "{:<8} {:10.1} {:10.1} {graph:<12} {:<28} {}",
                planted.verdict.name(),
                of(&planted.isolated),
                of(&planted.accumulated),
                mistake.op,
                mistake.name
            );
            if found.map(|node| node.index) != Some(planted.index) || results.exit() == Exit::Fine {
                let found = found.map(|node| (node.index, &node.name, &node.verdict, &node.reason));
                missed.push(format!("{} at {} {}: found at {found:?}", mistake.name, planted.index, planted.name));
            }
        }
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
}

/// Small models of three libraries: no node is refused, and rounding explains every difference.
#[test]
fn every_node_of_small_models_agrees() {
    let models = [
        ("bert", 80),
        ("convnext", 60),
        ("deberta", 120),
        ("densenet", 40),
        ("gpt2", 110),
        ("llama", 170),
        ("mamba", 130),
        ("resnet", 80),
        ("swin", 180),
        ("t5", 200),
        ("vit", 40),
        ("wav2vec2", 55),
        ("whisper", 110),
    ];
    for (name, nodes) in models {
        let opened = open(name);
        let results = runs(&opened, &[Table::built_in()]).remove(0);
        let bad: Vec<_> = results.nodes.iter().filter(|node| node.verdict.is_bad()).collect();
        assert!(bad.is_empty(), "{name}: {bad:#?}");
        assert_eq!(results.first_divergence(), None, "{name}");
        assert_eq!(results.exit(), Exit::Fine, "{name}");
        let computed = results.nodes.iter().filter(|node| node.isolated.is_some()).count();
        assert!(computed >= nodes, "{name}: {computed}");
    }
}

/// Long sums of nearly equal numbers, and exp and erf where MLX's are coarse: the rounding of MLX's own algorithms, computed again
/// here, explains each difference, and the node says so.
#[test]
fn what_mlxs_own_algorithms_round_is_no_mistake() {
    let results = runs(&open("rounding"), &[Table::built_in()]).remove(0);
    let bad: Vec<_> = results.nodes.iter().filter(|node| node.verdict.is_bad()).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert_eq!(results.first_divergence(), None);
    let told = |word: &str| -> Vec<&str> {
        let is_told = |reason: &String| reason.starts_with("MLX's own rounding") && reason.contains(word);
        let nodes = results.nodes.iter().filter(|node| node.reason.as_ref().is_some_and(is_told));
        nodes.map(|node| node.target.split('.').nth(1).unwrap()).collect()
    };
    let (sums, functions) = (told("one term after the other"), told("exp and erf"));
    for op in ["adaptive_avg_pool2d", "mean", "sum", "group_norm", "instance_norm", "softmax"] {
        assert!(sums.contains(&op), "{op} is not among {sums:?}");
    }
    for op in ["sigmoid_", "exp", "silu", "softplus", "log_sigmoid", "sinh"] {
        assert!(functions.contains(&op), "{op} is not among {functions:?}");
    }
}
