//! Moves of axes in the programs of rows and recipes: none is undone by the next.

use std::sync::Arc;

use serde_json::json;

use t2m_checkpoint::graph::ValueId;
use t2m_engine::program::{Dialect, Program};
use t2m_tui::certify::aten::{examples, graph};
use t2m_tui::certify::ops::ops;
use t2m_tui::certify::{SampleModel, built_in};
use t2m_tui::graph::plan::{Form, mlx};
use t2m_tui::program::{Known, cancelling, parse, plan};
use t2m_tui::registry::Registry;
use t2m_tui::registry::aten::Table;

#[test]
fn no_row_moves_axes_there_and_back() {
    let (graph, tensors) = graph(&examples().unwrap(), 7).unwrap();
    let inputs: Vec<ValueId> = graph.user_inputs().collect();
    let form = |id: ValueId| {
        let tensor = &tensors[inputs.iter().position(|input| *input == id)?];
        Some(Form::Tensor { dtype: tensor.dtype, shape: tensor.shape.clone() })
    };
    let (mut programs, mut moves) = (0, 0);
    for node in &graph.nodes {
        let Ok(call) = mlx(node, &form, Table::built_in()) else { continue };
        programs += 1;
        let is_move = |call: &str| ["mx.moveaxis", "mx.swapaxes", "mx.transpose"].contains(&call);
        moves += call.program.steps.iter().filter(|step| is_move(&step.call)).count();
        assert_eq!(cancelling(&call.program), 0, "{}: {:?}", node.target, call.program.python());
    }
    assert!(programs > 1500 && moves > 100, "{programs} {moves}");
}

#[test]
fn no_recipe_of_an_op_moves_axes_there_and_back() {
    let samples = ops(&Registry::load(&[]).unwrap()).unwrap();
    let programs =
        samples.iter().filter_map(|sample| Some((&sample.torch, sample.example.as_ref()?.plan.mlx.program.as_ref()?)));
    assert!(programs.clone().count() > 100);
    let bad: Vec<_> = programs.filter(|(_, program)| cancelling(program) > 0).map(|(torch, _)| torch).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn no_recipe_of_a_layer_moves_axes_there_and_back() {
    let samples = built_in().unwrap();
    let model = SampleModel::new(&samples, Arc::new(Registry::load(&[]).unwrap()));
    let mut programs = 0;
    for (at, sample) in samples.iter().enumerate() {
        let plan = model.triage(at).and_then(|triaged| triaged.runs());
        let Some(program) = plan.and_then(|plan| plan.mlx.program.as_ref()) else { continue };
        programs += 1;
        assert_eq!(cancelling(program), 0, "{}: {:?}", sample.class(), program.python());
    }
    assert!(programs > 100, "{programs}");
}

#[test]
fn moves_that_cancel_are_left_out_and_no_others() {
    let array = Known::Array { dtype: t2m_checkpoint::Dtype::Float32, shape: vec![2, 3, 4, 5] };
    let steps = |text: &str| -> Vec<String> {
        let program = plan(text, [("x", &array)]).unwrap_or_else(|error| panic!("{text}: {error}"));
        let (_, mut lines) = program.python();
        let returned = lines.pop().unwrap();
        assert!(!lines.is_empty() || returned == "return x", "{returned}");
        lines
    };
    for (text, left) in [
        ("mx.moveaxis(mx.moveaxis(x, 1, -1), -1, 1)", 0),
        ("mx.moveaxis(mx.exp(mx.moveaxis(x, 1, -1)), -1, 1)", 3),
        ("mx.swapaxes(mx.swapaxes(x, 2, 1), 1, 2)", 0),
        ("mx.transpose(mx.transpose(x, (0, 2, 3, 1)), (0, 3, 1, 2))", 0),
        ("mx.moveaxis(mx.transpose(x, (0, 2, 3, 1)), -1, 1)", 0),
        ("mx.transpose(mx.moveaxis(x, 1, 3), (0, 3, 1, 2))", 0),
        ("mx.transpose(mx.transpose(x, (0, 2, 3, 1)), (0, 2, 3, 1))", 2),
        ("mx.transpose(x, (0, 1, 2, 3))", 0),
        ("mx.squeeze(mx.expand_dims(x, 1), 1)", 0),
        ("mx.squeeze(mx.expand_dims(x, 1), 0)", 2),
        ("mx.reshape(mx.reshape(x, (6, 20)), (2, 60))", 1),
        ("mx.moveaxis(mx.moveaxis(x, 1, -1), 1, -1)", 2),
        ("y = mx.moveaxis(x, 1, -1)\nmx.exp(y), mx.moveaxis(y, -1, 1)", 2),
    ] {
        assert_eq!(steps(text).len(), left, "{text}: {:?}", steps(text));
    }
    // Of a program as it was written they are counted.
    let written: Program = parse(Dialect::Mlx, "mx.swapaxes(mx.swapaxes(x, 1, 2), 1, 2)", &["x"]).unwrap();
    assert_eq!((written.steps.len(), cancelling(&written)), (2, 2));
    assert_eq!(written.steps[0].args["axis1"], json!(1));
}
