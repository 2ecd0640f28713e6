//! Runs of whole graphs as a user asks for them: with another row, from a node on, with drawn inputs, with a script for one node;
//! and on the screen, in a pseudo-terminal. T2M_TORCH and T2M_MLX name the engines.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use crate::common::pty::Terminal;
use crate::common::{json, program, stderr};
use serde_json::json as value;
use t2m_checkpoint::Checkpoint;
use t2m_engine::client::CancelToken;
use t2m_tui::graph::inputs::{Source, of_graph};
use t2m_tui::graph::job::Job;
use t2m_tui::graph::results::Results;
use t2m_tui::graph::run::{Event, Lockstep, Watched};
use t2m_tui::graph::runner::{Report, Request, Runner};
use t2m_tui::registry::aten::Table;

/// A sigmoid that is a little too steep: the mistake that is planted.
const WRONG: &str = "[ops]\n\"sigmoid(Tensor self) -> Tensor\" = \"mx.sigmoid(self * 1.02)\"\n";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/graphs").join(name)
}

/// Run the program in a folder.
fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    program().current_dir(folder).args(arguments).output().unwrap()
}

/// The job of a file, with the mistake.
fn wrong() -> Job {
    let job = Job::of(Arc::new(Checkpoint::open(&fixture("attention.pt2")).unwrap()));
    let mut table = Table::built_in().clone();
    table.set("sigmoid(Tensor self) -> Tensor", "mx.sigmoid(self * 1.02)").unwrap();
    Job { table: Arc::new(table), ..job }
}

/// A registry file with the mistake.
fn registry(folder: &Path) -> String {
    let path = folder.join("wrong.toml");
    std::fs::write(&path, WRONG).unwrap();
    path.display().to_string()
}

#[test]
fn from_a_node_on_mlx_begins_with_torchs_values() {
    let job = wrong();
    let graph = job.graph().unwrap();
    let tensors = of_graph(graph, Source::Sample(job.samples().unwrap())).unwrap().tensors;
    let at = graph.nodes.iter().position(|node| node.target == "aten.sigmoid.default").unwrap();
    let run_from = |from: usize| {
        let mut results = Results::default();
        let mut tell = |event: Event| {
            results.apply(event);
        };
        let token = CancelToken::default();
        let lockstep = Lockstep::new(&job, Duration::from_secs(120), &token, |_, _| {}, &mut tell);
        let mut lockstep = lockstep.with_rows(&job.table).from(from).watch(Watched::find(graph, &at.to_string()));
        lockstep.run(graph, &tensors).unwrap();
        let seen = lockstep.seen();
        drop(lockstep);
        (results, seen)
    };
    // From the beginning the mistake is found at its node, and goes on.
    let (whole, seen) = run_from(0);
    assert_eq!(whole.first_divergence().unwrap().index, at);
    let bad = |results: &Results| -> Vec<usize> {
        let bad = results.nodes.iter().filter(|node| node.verdict.is_bad());
        bad.map(|node| node.index).collect()
    };
    assert_eq!(bad(&whole), [at]);
    let drifts = |results: &Results| {
        let behind = results.nodes.iter().filter(|node| node.index > at);
        behind.filter(|node| node.accumulated.as_ref().is_some_and(|one| one.verdict.is_bad())).count()
    };
    assert!(drifts(&whole) > 3);
    // What its node was given is kept.
    let seen = seen.unwrap();
    assert_eq!(seen.node.name, "sigmoid");
    let [tensor] = seen.tensors.values().collect::<Vec<_>>()[..] else { panic!("{seen:?}") };
    assert_eq!(tensor.shape, [2, 5, 12]);
    // Behind it nothing is left of it.
    let (rest, seen) = run_from(at + 1);
    assert_eq!(rest.nodes.first().unwrap().index, at + 1);
    assert_eq!((rest.first_divergence(), drifts(&rest)), (None, 0));
    assert!(rest.outputs.unwrap().iter().all(|output| output.measured.as_ref().unwrap().verdict.passes()));
    assert!(seen.is_some(), "torch runs it all the same");
    // Both engines' numbers of a node alone do not depend on where the run began.
    let alone = |results: &Results| results.nodes.iter().find(|node| node.index == at + 5).unwrap().isolated.clone();
    let (whole, _) = run_from(0);
    let (rest, _) = run_from(at + 1);
    assert_eq!(alone(&whole), alone(&rest));
}

#[test]
fn the_runner_reports_and_can_be_cancelled() {
    let (reports, heard) = crossbeam_channel::unbounded();
    let runner = Runner::start(wrong(), Vec::new(), Duration::from_secs(120), reports);
    runner.submit(Request { number: 1, from: 0, seed: 7, specs: Vec::new(), device: None });
    // Once it is under way: what comes of the first run afterwards is its end.
    loop {
        match heard.recv_timeout(Duration::from_secs(60)).unwrap() {
            (1, Report::Event(Event::Node(_))) => break,
            (1, Report::Ended(end)) => panic!("{end:?}"),
            _ => {}
        }
    }
    runner.cancel();
    runner.submit(Request { number: 2, from: 70, seed: 7, specs: Vec::new(), device: None });
    let mut first = None;
    let mut nodes = Vec::new();
    let second = loop {
        match heard.recv_timeout(Duration::from_secs(60)).unwrap() {
            (1, Report::Ended(end)) => first = Some(end),
            (2, Report::Event(Event::Node(node))) => nodes.push(node.index),
            (2, Report::Ended(end)) => break end,
            _ => {}
        }
    };
    // The engines may have been quicker than the cancellation.
    assert!(first.is_some());
    assert_eq!(second, Ok(()));
    assert!(nodes.iter().all(|index| *index >= 70) && nodes.len() > 5, "{nodes:?}");
}

#[test]
fn a_script_is_written_for_a_node_and_never_over_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = fixture("attention.pt2").display().to_string();
    let registry = registry(folder.path());
    let call = |node: &str| {
        run_in(folder.path(), &["run", &file, "--registry", &registry, "--repro", node, "--format", "json"])
    };
    let output = call("sigmoid");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("wrote repro_sigmoid.py and repro_sigmoid.safetensors"), "{}", stderr(&output));
    let report = json(&output);
    let node = &report["nodes"][report["first_divergence"].as_u64().unwrap() as usize];
    assert_eq!(node["name"], "sigmoid");
    let script = std::fs::read_to_string(folder.path().join("repro_sigmoid.py")).unwrap();
    assert!(script.contains("v1 = self * 1.02\n    v0 = mx.sigmoid(v1)"), "{script}");
    let error = format!("{:.1e}", node["isolated"]["max_abs"].as_f64().unwrap());
    assert!(script.contains(&format!("max abs {}", error.replace("e-", "e-0"))), "{error}: {script}");
    // The file holds what the node was given.
    let inputs = Checkpoint::open(&folder.path().join("repro_sigmoid.safetensors")).unwrap();
    assert_eq!((inputs.tensors.len(), inputs.tensors[0].shape.as_slice()), (1, &[2, 5, 12][..]));
    // What is there stays: nothing runs.
    let again = call("sigmoid");
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("repro_sigmoid.py: is there already; move it away"), "{}", stderr(&again));
    assert!(again.stdout.is_empty());
    let unknown = call("no_such");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("--repro no_such: the graph has no such node"), "{}", stderr(&unknown));
    // By its number, with few inputs.
    let output = call("16");
    assert!(stderr(&output).contains("wrote repro_cat.py\n"), "{}", stderr(&output));
}

#[test]
fn a_script_is_written_for_a_node_in_a_branch_and_of_torchscripts_code() {
    let folder = tempfile::tempdir().unwrap();
    let branches = Checkpoint::open(&fixture("branches.pt2")).unwrap();
    let graph = branches.graph.unwrap();
    let taken = |node: &str| {
        let file = fixture("branches.pt2").display().to_string();
        let output = run_in(folder.path(), &["run", &file, "--repro", node, "--format", "json"]);
        (stderr(&output), json(&output))
    };
    // The condition itself runs others: each branch adds or subtracts.
    let cond = graph.nodes.iter().find(|node| node.target == "higher_order.cond").unwrap();
    let (said, report) = taken(&cond.name);
    assert!(said.contains("it runs other nodes; name one of them: "), "{said}");
    let index = graph.nodes.iter().position(|node| node.name == cond.name).unwrap();
    let within = report["nodes"].as_array().unwrap().iter().find(|node| node["index"] == index).unwrap();
    let name = within["name"].as_str().unwrap();
    let (said, _) = taken(name);
    assert!(said.contains(&format!("wrote repro_{name}.py")), "{said}");
    let script = std::fs::read_to_string(folder.path().join(format!("repro_{name}.py"))).unwrap();
    assert!(script.contains(&format!("torch.ops.{}(", within["op"].as_str().unwrap())), "{script}");
    // A TorchScript file's nodes are known once its code was gone through.
    let file = fixture("steps.pt").display().to_string();
    let output = run_in(folder.path(), &["run", &file, "--input", "2x3x2x6", "--repro", "tanh_1", "--format", "json"]);
    assert!(stderr(&output).contains("wrote repro_tanh_1.py"), "{}", stderr(&output));
    let script = std::fs::read_to_string(folder.path().join("repro_tanh_1.py")).unwrap();
    assert!(script.contains("torch.ops.aten.tanh.default(") && script.contains("scripts.py:30"), "{script}");
}

#[test]
fn a_program_of_mlxs_that_dies_in_a_run_is_that_nodes_failure_and_the_run_goes_on() {
    let job = Job::of(Arc::new(Checkpoint::open(&fixture("attention.pt2")).unwrap()));
    let graph = job.graph().unwrap();
    let tensors = of_graph(graph, Source::Sample(job.samples().unwrap())).unwrap().tensors;
    let mut results = Results::default();
    let mut killed = 0;
    let mut tell = |event: Event| {
        if let Some(node) = results.apply(event)
            && (node.target == "aten.sigmoid.default" || node.index == 20)
        {
            // Nothing of it is waiting: it dies before the next step.
            crate::terminal::signal("KILL", crate::terminal::child_of(std::process::id(), "t2m-mlx"));
            killed += 1;
        }
    };
    let cancel = CancelToken::default();
    let lockstep = Lockstep::new(&job, Duration::from_secs(120), &cancel, |_, _| {}, &mut tell);
    let mut lockstep = lockstep.with_rows(&job.table);
    lockstep.run(graph, &tensors).unwrap();
    drop(lockstep);
    assert_eq!(killed, 2);
    // It is told of the node that it ran, or of the next one where it had nothing to do when it died.
    let told = |node: &&t2m_tui::graph::run::NodeResult| {
        node.reason.as_ref().is_some_and(|reason| reason.contains("goes on with torch's values"))
    };
    assert_eq!(results.nodes.iter().filter(told).count(), 2, "{results:#?}");
    // Everything else was compared, alone and together, and agrees.
    let others = results.nodes.iter().filter(|node| !told(node));
    let bad: Vec<_> = others.filter(|node| node.verdict.is_bad() || t2m_tui::graph::results::diverges(node)).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let outputs = results.outputs.as_ref().unwrap();
    assert!(outputs.iter().all(|output| output.measured.as_ref().unwrap().verdict.passes()), "{outputs:#?}");
    assert!(results.nodes.len() >= 75);
}

#[test]
fn inputs_are_drawn_as_asked_or_taken_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = fixture("branches.pt2").display().to_string();
    let call = |arguments: &[&str]| {
        let all: Vec<&str> = ["run", &file, "--format", "json"].into_iter().chain(arguments.iter().copied()).collect();
        run_in(folder.path(), &all)
    };
    // A symbolic size is what the input has.
    let output = call(&["--input", "5x4", "--seed", "3"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!(report["inputs"], value!([{"name": "x", "dtype": "float32", "shape": [5, 4], "from": "seed"}]));
    assert_eq!(report["outputs"][0]["shape"], value!([10, 3]));
    let other = json(&call(&["--input", "x=5x4", "--seed", "4"]));
    assert_ne!(report["nodes"], other["nodes"]);
    // A file's tensors by position; others are named and ignored.
    let bytes = [0u8; 4 * 8 * 4];
    let view = |rows: usize| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![rows, 4], &bytes[..rows * 16]).unwrap()
    };
    let tensors = [("in0", view(6)), ("other", view(2))];
    let path = folder.path().join("inputs.safetensors");
    std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let path = path.display().to_string();
    let output = call(&["--inputs", &path]);
    assert!(stderr(&output).contains("--inputs: `other` is no input of the graph, and ignored"), "{}", stderr(&output));
    assert_eq!(json(&output)["inputs"][0], value!({"name": "x", "dtype": "float32", "shape": [6, 4], "from": "file"}));
    for (arguments, words) in [
        (&["--input", "5x4", "--input", "5x4"][..], "--input 5x4: it is one too many; the graph takes x"),
        (&["--input", "5x4<9"], "`x` is float32 in the graph, numbers with a point, and not int64"),
        (&["--input", "5x4", "--inputs", &path], "--input 5x4: it is one too many; the graph takes x"),
    ] {
        let output = call(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn on_the_screen_the_jump_lands_on_the_node_and_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let (file, source) = (fixture("attention.pt2").display().to_string(), fixture("").display().to_string());
    let arguments = [file.as_str(), "--source", &source, "--registry", &registry(folder.path())];
    let mut terminal = Terminal::start(&arguments, &[], 160, 45);
    terminal.wait_for("this file holds a graph: r runs it node by node");
    terminal.send("r");
    let screen = terminal.wait_for("all 85 nodes were run");
    assert!(
        screen.contains("1 broken") && screen.contains("first divergence: node 53 sigmoid, nets.py:112"),
        "{screen}"
    );
    terminal.send("D");
    let screen = terminal.wait_for("it is this node's own");
    assert!(screen.contains("libtorch is nearer to float64"), "{screen}");
    // The cursor in the tree, and the line in the source with what MLX ran.
    let line =
        |words: &str| screen.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {screen}"));
    assert!(line("sigmoid                nets.py:112").contains("✗ "), "{screen}");
    assert!(line("torch.sigmoid(c))").contains("▌112"), "{screen}");
    assert!(line("MLX ran: v1 = self * 1.02").contains('│'), "{screen}");
    // From the node behind it the rest is right.
    terminal.send("j");
    terminal.wait_for("node 54 mul.Tensor");
    terminal.send("R");
    let screen = terminal.wait("the rest", |screen| screen.contains("= exact   mul_3 in the model's own forward"));
    assert!(!screen.contains("it is this node's own"), "{screen}");
    terminal.send("h");
    let screen = terminal.wait_for("from node 54 on, where MLX took over torch's values");
    assert!(screen.contains("1 broken"), "{screen}");
    terminal
        .wait("the outputs", |screen| ["= output add_5", "✓ output add_5"].iter().any(|words| screen.contains(words)));
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}

#[test]
fn on_the_screen_torchscripts_code_asks_for_its_inputs_and_runs_as_a_graph() {
    let file = fixture("steps.pt").display().to_string();
    let mut terminal = Terminal::start(&[&file], &[], 160, 48);
    terminal.wait_for("this file holds a graph: r runs it node by node");
    // The code alone does not say what an image is like: r asks, with what its first layer tells.
    terminal.send("r");
    let screen = terminal.wait_for("Inputs of the graph");
    assert!(screen.contains("x=1x3x224x224") && screen.contains("Optional[Tensor]"), "{screen}");
    terminal.send("\u{15}x=2x3x2\r");
    let screen = terminal.wait_for("it was not run");
    assert!(screen.contains("changes its inputs"), "{screen}");
    terminal.send("I");
    terminal.wait_for("x=2x3x2");
    terminal.send("x6\r");
    let screen = terminal.wait("the end", |screen| screen.contains("nodes were run"));
    assert!(screen.contains("first divergence: none") && screen.contains("input x float32 2×3×2×6"), "{screen}");
    // A node stands under its module, with its line of the Python that the file keeps.
    terminal.send("W");
    let screen = terminal.wait("its line", |screen| screen.contains("MLX ran:") && screen.contains("kept in the file"));
    assert!(screen.contains("scripts.py:"), "{screen}");
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}
