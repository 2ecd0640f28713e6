//! Whole graphs, node by node in both engines: what real PyTorch exported, and what was made wrong on purpose.

use std::path::{Path, PathBuf};
use std::time::Duration;

use t2m_checkpoint::Checkpoint;
use t2m_checkpoint::graph::{Argument, Graph};
use t2m_engine::client::CancelToken;
use t2m_tui::architecture::spec::InputSpec;
use t2m_tui::compare::Verdict;
use t2m_tui::exit::Exit;
use t2m_tui::graph::inputs::{Source, of_graph, of_script};
use t2m_tui::graph::results::Results;
use t2m_tui::graph::run::{Event, Lockstep, NodeVerdict};

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/graphs").join(name)
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&fixture(name)).unwrap()
}

/// Run a graph of a file on the file's own inputs.
fn run(checkpoint: &Checkpoint, graph: &Graph) -> Results {
    let tensors = of_graph(graph, Source::Sample(checkpoint.samples.as_ref().unwrap())).unwrap().tensors;
    let mut results = Results::default();
    let mut tell = |event: Event| {
        results.apply(event);
    };
    let mut lockstep =
        Lockstep::new(checkpoint, Duration::from_secs(120), &CancelToken::default(), |_, _| {}, &mut tell);
    lockstep.run(graph, &tensors).unwrap();
    drop(lockstep);
    results
}

#[test]
fn every_node_of_real_graphs_agrees() {
    for (name, nodes) in [("views", 15), ("branches", 7), ("convolutions", 40), ("attention", 75), ("counted", 12)] {
        let checkpoint = open(&format!("{name}.pt2"));
        let results = run(&checkpoint, checkpoint.graph.as_ref().unwrap());
        assert!(results.nodes.len() >= nodes, "{name}: {}", results.nodes.len());
        let bad: Vec<_> = results.nodes.iter().filter(|node| node.verdict.is_bad()).collect();
        assert!(bad.is_empty(), "{name}: {bad:#?}");
        assert_eq!(results.first_divergence(), None, "{name}");
        assert_eq!(results.exit(), Exit::Fine, "{name}");
        let outputs = results.outputs.unwrap();
        assert!(!outputs.is_empty() && outputs.iter().all(|output| output.measured.is_ok()), "{name}: {outputs:?}");
        let computed = results.nodes.iter().filter(|node| node.isolated.is_some() && node.mlx.is_some()).count();
        assert!(computed >= nodes, "{name}: {computed}");
    }
}

/// The graph that the code of a TorchScript file becomes on drawn inputs, and what comes of running it.
fn scripted(name: &str, specs: &[&str]) -> Results {
    let checkpoint = open(name);
    let specs: Vec<InputSpec> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
    let source = if specs.is_empty() { Source::Seed(7) } else { Source::Specs(&specs, 7) };
    let inputs = of_script(&checkpoint, source).unwrap();
    let tensors = &inputs.tensors;
    let cancel = CancelToken::default();
    let graph =
        t2m_tui::graph::scripted::graph(&checkpoint, &inputs, Duration::from_secs(120), &cancel, Box::new(|_, _| {}));
    let graph = graph.unwrap();
    let mut results = Results::default();
    let mut tell = |event: Event| {
        results.apply(event);
    };
    let mut lockstep = Lockstep::new(&checkpoint, Duration::from_secs(120), &cancel, |_, _| {}, &mut tell);
    lockstep.run(&graph, tensors).unwrap();
    drop(lockstep);
    results
}

#[test]
fn the_code_of_torchscript_files_runs_as_a_graph() {
    // A loop goes as often as the input is large: each round has a linear layer.
    for (name, specs, linear, outputs) in [
        ("steps.pt", &["2x3x4x6"][..], 6 + 3, 1 + 3),
        ("steps.pt", &["2x3x2x6", "2x4"], 3 + 3, 1 + 2),
        ("sized.pt", &[], 2, 3),
        ("sized.pt", &["3x9:int64<11"], 2, 3),
        ("chosen.pt", &["x=3x4", "rate=16", "parts.bias=3x6", "mode='none'"], 2, 1),
        ("chosen.pt", &["3x4", "8", "parts.other=1x1", "span=(1,3)", "mask=3x6:bool"], 1, 1),
    ] {
        let results = scripted(name, specs);
        let bad: Vec<_> = results.nodes.iter().filter(|node| node.verdict.is_bad()).collect();
        assert!(bad.is_empty(), "{name} {specs:?}: {bad:#?}");
        assert_eq!((results.first_divergence(), results.exit()), (None, Exit::Fine), "{name} {specs:?}");
        let count = results.nodes.iter().filter(|node| node.target == "aten.linear.default").count();
        assert_eq!(count, linear, "{name} {specs:?}");
        let given = results.outputs.unwrap();
        assert_eq!(given.len(), outputs, "{name} {specs:?}");
        assert!(given.iter().all(|output| output.measured.is_ok()), "{name} {specs:?}");
    }
}

#[test]
fn a_number_that_the_caller_gives_decides_sizes() {
    let checkpoint = open("numbered.pt2");
    let graph = checkpoint.graph.as_ref().unwrap();
    for (count, rows) in [(5, 8), (2, 5)] {
        let specs: Vec<InputSpec> =
            ["x=3x4".to_owned(), format!("count={count}")].iter().map(|spec| spec.parse().unwrap()).collect();
        let inputs = of_graph(graph, Source::Specs(&specs, 7)).unwrap();
        let mut results = Results::default();
        let mut tell = |event: Event| {
            results.apply(event);
        };
        let cancel = CancelToken::default();
        let lockstep = Lockstep::new(&checkpoint, Duration::from_secs(120), &cancel, |_, _| {}, &mut tell);
        let mut lockstep = lockstep.with_numbers(&inputs.numbers);
        lockstep.run(graph, &inputs.tensors).unwrap();
        drop(lockstep);
        assert_eq!(results.exit(), Exit::Fine, "{results:#?}");
        assert_eq!(results.outputs.unwrap()[0].shape, [rows, 4]);
    }
}

#[test]
fn what_is_written_through_a_view_is_seen_by_all_others() {
    let checkpoint = open("views.pt2");
    let results = run(&checkpoint, checkpoint.graph.as_ref().unwrap());
    for output in results.outputs.unwrap() {
        let measured = output.measured.unwrap();
        assert_eq!(measured.verdict, Verdict::Exact, "{}: {measured:?}", output.name);
    }
}

/// A graph in which one node is another for MLX is built by changing the row; here the graph itself is changed after torch's
/// values are known to agree, so that both engines part where it is.
#[test]
fn a_node_that_no_row_converts_is_refused_by_name_and_the_run_goes_on() {
    let checkpoint = open("attention.pt2");
    let mut graph = checkpoint.graph.clone().unwrap();
    let node = graph.nodes.iter_mut().find(|node| node.target == "aten.sigmoid.default").unwrap();
    node.target = "aten._conj_physical.default".to_owned();
    let results = run(&checkpoint, &graph);
    let refused = results.nodes.iter().find(|node| node.verdict == NodeVerdict::Refused).unwrap();
    assert_eq!(refused.reason.as_deref(), Some("no row converts aten._conj_physical.default"));
    assert_eq!(results.refused().into_iter().collect::<Vec<_>>(), [("aten._conj_physical.default", 1)]);
    assert_eq!(results.exit(), Exit::BadAnswer);
    let after = results.nodes.iter().skip_while(|node| node.index <= refused.index);
    assert!(after.clone().count() > 10);
    assert!(
        after.into_iter().all(|node| !node.verdict.is_bad()),
        "torch's values go on in the place of what is refused"
    );
}

#[test]
fn an_op_that_torch_does_not_know_fails_in_its_words() {
    let checkpoint = open("branches.pt2");
    let mut graph = checkpoint.graph.clone().unwrap();
    let node = graph.nodes.iter_mut().find(|node| node.target == "aten.mul.Tensor").unwrap();
    node.arguments.push(("no_such".to_owned(), Argument::Plain(1.into())));
    let results = run(&checkpoint, &graph);
    let failed = &results.nodes.iter().find(|node| node.verdict.is_bad()).unwrap();
    assert_eq!(failed.verdict, NodeVerdict::Compared(Verdict::Failed));
    assert!(failed.reason.as_ref().unwrap().contains("has no argument `no_such`"), "{failed:?}");
}

#[test]
fn the_first_infinity_and_the_first_nan_have_verdicts_of_their_own() {
    // log(0), which both types have: it is told, and is nothing wrong.
    let checkpoint = open("t5.pt2");
    let results = run(&checkpoint, checkpoint.graph.as_ref().unwrap());
    let told: Vec<_> = results.nodes.iter().filter(|node| node.verdict.name() == "inf").collect();
    assert!(!told.is_empty() && told.iter().all(|node| node.target == "aten.log.default"), "{told:#?}");
    assert_eq!((results.first_divergence(), results.exit()), (None, Exit::Fine));

    // Scores that float32 cannot hold, of which the softmax makes NaN.
    let checkpoint = open("attention.pt2");
    let mut graph = checkpoint.graph.clone().unwrap();
    let is_half = |argument: &Argument| matches!(argument, Argument::Plain(value) if value.as_f64() == Some(0.5));
    let scaled = graph.nodes.iter().position(|node| {
        node.target == "aten.mul.Tensor" && node.arguments.iter().any(|(_, argument)| is_half(argument))
    });
    let scaled = scaled.unwrap();
    for (_, argument) in graph.nodes[scaled].arguments.iter_mut().filter(|(_, argument)| is_half(argument)) {
        *argument = Argument::Plain(3e38.into());
    }
    let results = run(&checkpoint, &graph);
    let with = |name: &str| results.nodes.iter().filter(|node| node.verdict.name() == name).collect::<Vec<_>>();
    let (infinite, nan) = (with("inf"), with("nan"));
    assert_eq!(infinite.iter().map(|node| node.index).collect::<Vec<_>>(), [scaled], "{infinite:#?}");
    assert_eq!(infinite[0].verdict, NodeVerdict::Infinite { overflow: true });
    assert_eq!(nan.iter().map(|node| node.target.as_str()).collect::<Vec<_>>(), ["aten.softmax.int"], "{nan:#?}");
    assert_eq!(results.exit(), Exit::BadAnswer);
}
