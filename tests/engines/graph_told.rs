//! What a run tells of what it was given, and does not blame on the conversion: NaN, ids that a table does not have, half precision,
//! errors that come in. T2M_TORCH and T2M_MLX name the engines.

use std::time::Duration;

use crate::common::{json, program, stderr};
use crate::graphs::fixture;
use t2m_checkpoint::graph::Graph;
use t2m_checkpoint::{Checkpoint, Dtype, TensorData};
use t2m_engine::client::CancelToken;
use t2m_tui::compare::Verdict;
use t2m_tui::exit::Exit;
use t2m_tui::graph::inputs::{Source, of_graph};
use t2m_tui::graph::results::{Results, blame};
use t2m_tui::graph::run::{Event, Lockstep, NodeResult, NodeVerdict, Stop};
use t2m_tui::registry::aten::Table;

fn samples(checkpoint: &Checkpoint) -> Vec<TensorData> {
    let graph = checkpoint.graph.as_ref().unwrap();
    of_graph(graph, Source::Sample(checkpoint.samples.as_ref().unwrap())).unwrap().tensors
}

fn run(checkpoint: &Checkpoint, table: &Table, graph: &Graph, tensors: &[TensorData]) -> (Results, Result<(), Stop>) {
    let mut results = Results::default();
    let mut tell = |event: Event| {
        results.apply(event);
    };
    let cancel = CancelToken::default();
    let lockstep = Lockstep::new(checkpoint, Duration::from_secs(120), &cancel, |_, _| {}, &mut tell);
    let ended = lockstep.with_rows(table).run(graph, tensors);
    (results, ended)
}

fn node<'a>(results: &'a Results, name: &str) -> &'a NodeResult {
    results.nodes.iter().find(|node| node.name == name).unwrap()
}

#[test]
fn what_mlx_rounded_before_explains_what_small_layers_make_of_it() {
    let checkpoint = Checkpoint::open(&fixture("squeezed.pt2")).unwrap();
    let (graph, tensors) = (checkpoint.graph.as_ref().unwrap(), samples(&checkpoint));
    let (results, ended) = run(&checkpoint, Table::built_in(), graph, &tensors);
    assert_eq!((ended, results.first_divergence(), results.exit()), (Ok(()), None, Exit::Fine), "{results:#?}");
    // What MLX rounds in its mean is beyond what the activation's own rule allows: float64 makes as much of it.
    let silu = node(&results, "silu");
    assert!(silu.reason.as_ref().unwrap().starts_with("what came in: "), "{silu:?}");
    let together = silu.accumulated.as_ref().unwrap();
    assert!(together.max_abs > 20.0 * together.torch_vs_f64, "{together:?}");
    assert!(together.tolerance < 4.0 * together.max_abs, "{together:?}");
    // A mean that is wrong is found where it is, and explains nothing behind it.
    let mut table = Table::built_in().clone();
    let key = "mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor";
    table.set(key, "mx.mean(self, axis=dim, keepdims=keepdim) * 1.0001").unwrap();
    let (results, _) = run(&checkpoint, &table, graph, &tensors);
    assert_eq!(results.first_divergence().unwrap().name, "mean");
    assert!(results.nodes.iter().all(|node| node.reason.is_none()), "{results:#?}");
    assert_eq!(node(&results, "silu").accumulated.as_ref().unwrap().verdict, Verdict::Drift);
}

#[test]
fn nan_that_comes_in_is_told_and_what_is_nothing_else_is_not_compared() {
    let checkpoint = Checkpoint::open(&fixture("views.pt2")).unwrap();
    let (graph, tensors) = (checkpoint.graph.as_ref().unwrap(), samples(&checkpoint));
    let all = vec![f32::NAN; 24];
    let (results, ended) = run(&checkpoint, Table::built_in(), graph, &[TensorData::from_f32(&[4, 6], &all)]);
    assert_eq!(ended, Ok(()));
    let mute = results.mute();
    let (reason, count) = mute.first().unwrap();
    assert!(*count > 3, "{mute:?}");
    let words = "there is nothing but NaN to compare: it comes from the input `x`, where 24 of 24 numbers are NaN";
    assert_eq!(*reason, words);
    assert_eq!((results.first_divergence(), results.exit()), (None, Exit::BadAnswer));
    // One of them is told once, and the other numbers are compared.
    let mut some = tensors[0].to_f64().unwrap().iter().map(|value| *value as f32).collect::<Vec<_>>();
    some[7] = f32::NAN;
    let (results, _) = run(&checkpoint, Table::built_in(), graph, &[TensorData::from_f32(&[4, 6], &some)]);
    let told = |node: &&NodeResult| {
        node.reason.as_deref() == Some("NaN comes in from the input `x`, where 1 of 24 numbers are NaN")
    };
    assert_eq!(results.nodes.iter().filter(told).count(), 1, "{results:#?}");
    assert!(results.nodes.iter().any(|node| node.verdict == NodeVerdict::Compared(Verdict::Exact)));
}

#[test]
fn ids_that_a_table_does_not_have_are_the_callers() {
    let file = fixture("looked.pt2").display().to_string();
    let call = |specs: &[&str]| {
        let arguments =
            ["run", &file, "--format", "json"].into_iter().chain(specs.iter().flat_map(|one| ["--input", one]));
        program().args(arguments).output().unwrap()
    };
    let output = call(&["ids=2x4:int64<99", "scale=1"]);
    let words = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("the input `ids` holds numbers from") && words.contains("has 11 rows, 0 to 10"), "{words}");
    assert!(words.contains("--input ids=2x4:int64<11"), "{words}");
    assert_eq!(call(&["ids=2x4:int64<11", "scale=1"]).status.code(), Some(0));
    // A weight of other sizes than the layer's: torch itself does not run it, and what takes its result is not refused for it.
    let checkpoint = Checkpoint::open(&fixture("looked.pt2")).unwrap();
    let (mut graph, mut tensors) = (checkpoint.graph.clone().unwrap(), samples(&checkpoint));
    tensors[1] = TensorData::from_f32(&[1], &[2.0]);
    for node in graph.nodes.iter_mut().filter(|node| node.target == "aten.linear.default") {
        let bias = node.argument("bias").unwrap().clone();
        node.arguments.iter_mut().filter(|(name, _)| name == "weight").for_each(|(_, weight)| *weight = bias.clone());
    }
    let (results, ended) = run(&checkpoint, Table::built_in(), &graph, &tensors);
    assert_eq!(ended, Ok(()));
    let failed = node(&results, "linear");
    assert_eq!(failed.verdict, NodeVerdict::Compared(Verdict::Failed), "{failed:?}");
    assert!(blame(failed).starts_with("torch itself does not run this node on these inputs"), "{}", blame(failed));
    assert_eq!(results.refused().get("aten.relu.default"), None);
    let behind = node(&results, "relu");
    assert_eq!(behind.verdict, NodeVerdict::Compared(Verdict::NotRun));
    let words = behind.reason.as_ref().unwrap();
    assert!(words.starts_with("what it takes is not there: node ") && words.contains("`linear`"), "{words}");
    assert_eq!(node(&results, "mul").reason, behind.reason);
    assert!(results.outputs.as_ref().unwrap()[0].measured.as_ref().is_err_and(|words| words.contains("`linear`")));
}

#[test]
fn what_half_precision_rounds_and_cannot_hold_is_seen() {
    let checkpoint = Checkpoint::open(&fixture("halves.pt2")).unwrap();
    let (graph, tensors) = (checkpoint.graph.as_ref().unwrap(), samples(&checkpoint));
    let (results, ended) = run(&checkpoint, Table::built_in(), graph, &tensors);
    assert_eq!((ended, results.first_divergence()), (Ok(()), None), "{results:#?}");
    // Times 60,000 is more than float16 holds, which is seen at that node and nowhere else.
    let infinite: Vec<_> =
        results.nodes.iter().filter(|node| node.verdict == NodeVerdict::Infinite { overflow: true }).collect();
    let [overflow] = infinite.as_slice() else { panic!("{infinite:#?}") };
    assert!(overflow.reason.as_ref().unwrap().starts_with("float16 holds numbers up to 65504: "), "{overflow:?}");
    assert_eq!(overflow.widened, Some(Dtype::Float16));
    // A view of what was written in place has what it rounds to: torch's float32 is as far from float64 as half precision is.
    let outputs = results.outputs.as_ref().unwrap();
    for (at, epsilon) in [(1, 2f64.powi(-10)), (2, 2f64.powi(-7))] {
        let measured = outputs[at].measured.as_ref().unwrap();
        let off = measured.torch_vs_f64 / measured.scale;
        assert!(measured.verdict.passes() && off > epsilon / 50.0 && off < 4.0 * epsilon, "{at}: {measured:?}");
    }
    // Computed and compared in float32: a mistake that half precision would hide is found.
    let mut table = Table::built_in().clone();
    table.set("mul.Tensor(Tensor self, Tensor other) -> Tensor", "mx.multiply(self, other) * 1.00002").unwrap();
    let (results, _) = run(&checkpoint, &table, graph, &tensors);
    assert!(results.first_divergence().unwrap().target.starts_with("aten.mul"), "{:?}", results.first_divergence());
    let output = program().args(["run", &fixture("halves.pt2").display().to_string(), "--format", "json"]).output();
    assert_eq!(json(&output.unwrap())["summary"]["inf"], 1);
}
