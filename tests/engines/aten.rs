//! Torch's overloads: every example of a row in both engines, and what is not compared but given.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use t2m_checkpoint::graph::{Argument, Graph, Input, Node, Origin, Value, ValueId};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client::CancelToken;
use t2m_tui::certify::aten::{examples, is_good, run};
use t2m_tui::compare::Verdict;
use t2m_tui::demo;
use t2m_tui::exit::Exit;
use t2m_tui::graph::results::Results;
use t2m_tui::graph::run::{Lockstep, NodeVerdict};
use t2m_tui::registry::aten::Table;

#[test]
fn every_example_agrees_or_is_refused_in_words() {
    let examples = examples().unwrap();
    let mut bad = Vec::new();
    let mut measured: BTreeSet<&str> = BTreeSet::new();
    for seed in [7, 8] {
        let nodes = run(&examples, seed, None).unwrap();
        // What only asks for a size runs on neither engine.
        assert!(nodes.len() + 20 > examples.len(), "{}", nodes.len());
        for node in nodes {
            let example = &examples[node.index];
            if is_good(&node) {
                if node.isolated.is_some() {
                    measured.insert(&example.op);
                }
            } else if node.verdict != NodeVerdict::Refused || node.reason.is_none() {
                bad.push(format!("{example:?}: {:?} {:?} {:?}", node.verdict, node.reason, node.isolated));
            }
        }
    }
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), examples.len(), bad.join("\n"));
    println!("{} overloads measured on {} examples", measured.len(), examples.len());
    // A row that converts something has an example, or belongs to those that no sample of torch's databases calls.
    let table = Table::built_in();
    let converts = table.rows().filter(|row| row.given.is_none() && row.refusal().is_none());
    let (with, without): (Vec<_>, Vec<_>) =
        converts.map(|row| row.schema.name.as_str()).partition(|name| measured.contains(name));
    println!("without examples: {without:?}");
    assert!(with.len() >= 740, "{}", with.len());
    for op in
        ["lgamma", "digamma", "polygamma", "mvlgamma", "_unique2", "histogram.bin_ct", "matrix_exp", "mode", "lu_solve"]
    {
        assert!(measured.contains(op), "{op} is refused in every example");
    }
}

/// A graph of these calls on these inputs; a number is the place of an earlier call's first result.
struct Made {
    graph: Graph,
}

impl Made {
    fn new(inputs: usize) -> Made {
        let mut graph = Graph::default();
        for at in 0..inputs {
            graph.values.push(Value { name: format!("in{at}"), tensor: None });
            graph.inputs.push(Input { value: ValueId(at as u32), origin: Origin::User });
        }
        Made { graph }
    }

    fn call(&mut self, target: &str, arguments: &[(&str, Argument)]) -> ValueId {
        let id = ValueId(self.graph.values.len() as u32);
        self.graph.values.push(Value { name: format!("v{}", id.0), tensor: None });
        self.graph.nodes.push(Node {
            name: format!("v{}", id.0),
            target: target.to_owned(),
            arguments: arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            outputs: vec![Some(id)],
            module: "".into(),
            place: None,
        });
        id
    }

    fn run(&self, inputs: &[TensorData]) -> Results {
        let checkpoint = demo::open().unwrap();
        let mut results = Results::default();
        let mut tell = |event| {
            results.apply(event);
        };
        let mut lockstep =
            Lockstep::new(&checkpoint, Duration::from_secs(120), &CancelToken::default(), |_, _| {}, &mut tell);
        lockstep.run(&self.graph, inputs).unwrap();
        drop(lockstep);
        results
    }
}

#[test]
fn what_is_drawn_at_random_is_the_same_on_all_sides() {
    let mut made = Made::new(1);
    let x = Argument::Value(ValueId(0));
    let noise = made.call("aten.randn_like.default", &[("self", x.clone())]);
    let sum = made.call("aten.add.Tensor", &[("self", x.clone()), ("other", Argument::Value(noise))]);
    let own = made.call("aten.clone.default", &[("self", x)]);
    let filled = made.call("aten.uniform_.default", &[("self", Argument::Value(own))]);
    // What was written into is drawn as well, under its first name.
    let both = made.call("aten.sub.Tensor", &[("self", Argument::Value(own)), ("other", Argument::Value(filled))]);
    made.graph.outputs = [sum, both].map(Argument::Value).to_vec();
    let results = made.run(&[TensorData::from_f32(&[2, 3], &[1.0, -2.0, 0.5, 3.0, 0.25, -1.0])]);
    let verdicts: Vec<&str> = results.nodes.iter().map(|node| node.verdict.name()).collect();
    assert_eq!(verdicts, ["given", "exact", "exact", "given", "exact"], "{:#?}", results.nodes);
    assert!(results.nodes[0].reason.as_ref().unwrap().contains("drawn at random"));
    let sum = results.nodes[1].accumulated.as_ref().unwrap();
    // Had float64 drawn its own, it would be far from float32.
    assert!(sum.max_abs == 0.0 && sum.torch_vs_f64 < 1e-6, "{sum:?}");
    assert!(results.nodes[1].isolated.as_ref().unwrap().scale > 0.0);
    assert_eq!(results.exit(), Exit::Fine);
}

#[test]
fn what_is_returned_without_being_computed_is_listed() {
    let checkpoint = demo::open().unwrap();
    let weight = checkpoint.tensors[0].name.to_string();
    let mut made = Made::new(1);
    let x = Argument::Value(ValueId(0));
    let size = made.call("aten.sym_size.int", &[("self", x.clone()), ("dim", Argument::Plain(json!(-1)))]);
    let abs = made.call("aten.abs.default", &[("self", x.clone())]);
    let state = ValueId(made.graph.values.len() as u32);
    made.graph.values.push(Value { name: "weight".to_owned(), tensor: None });
    made.graph.inputs.push(Input { value: state, origin: Origin::State(weight) });
    made.graph.outputs = vec![
        Argument::Value(abs),
        Argument::Plain(json!(null)),
        Argument::Value(size),
        Argument::List(vec![x, Argument::Value(state)]),
        Argument::Plain(json!(2.5)),
    ];
    let results = made.run(&[TensorData::from_f32(&[1, 3], &[1.0, -2.0, 0.5])]);
    let outputs = results.outputs.as_ref().unwrap();
    let seen: Vec<_> = outputs.iter().map(|output| (output.name.as_str(), output.value.clone())).collect();
    let expected = [
        ("v2", None),
        ("output_1", Some(json!(null))),
        ("v1", Some(json!(3))),
        ("in0", None),
        ("weight", None),
        ("output_4", Some(json!(2.5))),
    ];
    assert_eq!(seen, expected);
    assert!(outputs.iter().all(|output| output.measured.as_ref().unwrap().verdict == Verdict::Exact), "{outputs:#?}");
    assert_eq!((outputs[4].dtype, outputs[2].dtype), (Dtype::Float32, Dtype::Int64));
    let shape: Vec<usize> = checkpoint.tensors[0].shape.iter().map(|&size| size as usize).collect();
    assert_eq!(outputs[4].shape, shape);
    assert_eq!(results.exit(), Exit::Fine);
}

#[test]
fn a_choice_that_rounding_tips_is_told_as_one() {
    // The sum of each row is the same number with other roundings: which is the largest depends on the order of the terms.
    let mut made = Made::new(1);
    let x = Argument::Value(ValueId(0));
    let sum = made.call("aten.sum.dim_IntList", &[("self", x), ("dim", Argument::Plain(json!([1])))]);
    let at = made.call("aten.argsort.default", &[("self", Argument::Value(sum))]);
    let taken = made.call(
        "aten.index_select.default",
        &[("self", Argument::Value(sum)), ("dim", Argument::Plain(json!(0))), ("index", Argument::Value(at))],
    );
    made.graph.outputs = vec![Argument::Value(taken)];
    let (rows, width) = (64, 1001);
    let number = |row: usize, at: usize| (((at + 37 * row) % width) as f32 * 0.37).sin() * 1e3;
    let numbers: Vec<f32> = (0..rows).flat_map(|row| (0..width).map(move |at| number(row, at))).collect();
    let results = made.run(&[TensorData::from_f32(&[rows, width], &numbers)]);
    let order = &results.nodes[1];
    assert!(matches!(order.verdict, NodeVerdict::Compared(verdict) if verdict.passes()), "{order:#?}");
    let together = order.accumulated.as_ref().unwrap();
    assert!(together.max_abs > 0.0, "the two engines put the rows in the same order: the test shows nothing");
    assert_eq!(together.verdict, Verdict::Ok);
    let reason = order.reason.as_ref().unwrap();
    assert!(reason.starts_with("by rounding: other places, whose values in torch are at most"), "{reason}");
    // MLX goes on with torch's places.
    assert_eq!(results.first_divergence(), None, "{:#?}", results.nodes[2]);
    assert_eq!(results.exit(), Exit::Fine);
}
