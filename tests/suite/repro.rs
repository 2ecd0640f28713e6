//! The script that `run --repro` writes, for nodes of several kinds. Real Python was given such scripts by hand: they print the
//! difference that the run had.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::json;
use t2m_checkpoint::graph::{Graph, ValueId};
use t2m_checkpoint::{Checkpoint, Dtype, TensorData};
use t2m_engine::EngineInfo;
use t2m_tui::compare::Verdict;
use t2m_tui::graph::judge::Measured;
use t2m_tui::graph::plan::{self, Form, computed};
use t2m_tui::graph::run::{NodeResult, NodeVerdict, Seen};
use t2m_tui::registry::aten::Table;
use t2m_tui::report::repro::{Facts, Repro, names, repro};

/// Numbers that can be told apart, one of them no plain one.
fn values(dtype: Dtype, shape: &[usize]) -> TensorData {
    let count: usize = shape.iter().product();
    let float = |at: usize| if at == 1 { f32::NEG_INFINITY } else { at as f32 * 0.1 - 0.3 };
    let floats: Vec<f32> = (0..count).map(float).collect();
    let whole: Vec<i64> = (0..count as i64).map(|at| at % 3).collect();
    if dtype.is_floating() {
        TensorData::from_f32(shape, &floats)
    } else {
        TensorData::from_i64(shape, &whole).cast(dtype).unwrap()
    }
}

/// What a run would see of a node.
fn seen(graph: &Graph, name: &str) -> Seen {
    let node = graph.nodes.iter().find(|node| node.name == name).unwrap();
    let form = |id: ValueId| {
        let meta = graph.value(id)?.tensor.as_ref()?;
        let shape = meta.sizes.iter().map(|size| size.map(|size| size as usize)).collect::<Option<Vec<usize>>>()?;
        Some(Form::Tensor { dtype: computed(meta.dtype), shape })
    };
    let torch = plan::torch(node, &form).unwrap();
    let mlx = plan::mlx(node, &form, Table::built_in());
    let mut tensors = IndexMap::new();
    for id in torch.takes.iter().chain(mlx.iter().flat_map(|call| &call.takes)) {
        let Some(Form::Tensor { dtype, shape }) = form(*id) else { continue };
        tensors.insert(*id, values(dtype, &shape));
    }
    Seen { node: node.clone(), torch, mlx, tensors }
}

fn graph(file: &str) -> Graph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/graphs").join(file);
    Checkpoint::open(&path).unwrap().graph.unwrap()
}

fn written(file: &str, name: &str) -> Result<Repro, String> {
    of_graph(&graph(file), file, name)
}

fn of_graph(graph: &Graph, file: &str, name: &str) -> Result<Repro, String> {
    let seen = seen(graph, name);
    let isolated = Measured {
        max_abs: 4.4e-3,
        mean_abs: 3e-3,
        cosine: 0.99,
        worst_index: vec![0],
        tolerance: 4.9e-7,
        scale: 1.0,
        torch_vs_f64: 1e-8,
        mlx_vs_f64: 4.4e-3,
        verdict: Verdict::Broken,
    };
    let place = seen.node.place.as_ref().map(|(file, line)| (file.to_string(), *line));
    let result = NodeResult {
        index: 3,
        name: name.to_owned(),
        target: seen.node.target.clone(),
        module: String::new(),
        place,
        verdict: NodeVerdict::Compared(Verdict::Broken),
        reason: None,
        isolated: Some(isolated),
        accumulated: None,
        ms_torch: 0.0,
        ms_mlx: 0.0,
        widened: None,
        by_winograd: false,
        failed: None,
        ms_torch_f64: 0.0,
        ms_mlx_isolated: 0.0,
        mlx: None,
    };
    let engine = |version: &str| EngineInfo {
        protocol: 5,
        engine: String::new(),
        version: version.to_owned(),
        device: "cpu".to_owned(),
        flags: serde_json::from_value(json!({"MLX_ENABLE_TF32": "0"})).unwrap(),
    };
    let [_, inputs] = names(name);
    let engines = [engine("2.13.0"), engine("0.32.2")];
    repro(&seen, &result, &Facts { file, engines: &engines, inputs: &inputs })
}

#[test]
fn few_inputs_stand_in_the_script() {
    let repro = written("views.pt2", "sub_").unwrap();
    assert!(repro.inputs.is_none());
    insta::assert_snapshot!("repro_inline", repro.script);
    // Lists of tensors, results that are several, and arguments of each kind.
    for (file, name, parts) in [
        (
            "attention.pt2",
            "cat",
            &["expected = torch.ops.aten.cat.default(tensors=[t[\"tensors_0\"], t[\"tensors_0\"]], dim=-1)"][..],
        ),
        ("attention.pt2", "arange_1", &["torch.ops.aten.arange.start_step(start=0, end=4, step=2", "given = {\n}"]),
    ] {
        let script = written(file, name).unwrap().script;
        for part in parts {
            assert!(script.contains(part), "{name}: {part}\n{script}");
        }
    }
}

#[test]
fn many_inputs_are_a_file_beside_it() {
    let repro = written("attention.pt2", "scaled_dot_product_attention").unwrap();
    insta::assert_snapshot!("repro_with_a_file", repro.script);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inputs.safetensors");
    std::fs::write(&path, repro.inputs.unwrap()).unwrap();
    let inputs = Checkpoint::open(&path).unwrap();
    let mut told: Vec<(String, &str)> =
        inputs.tensors.iter().map(|tensor| (tensor.name.to_string(), tensor.dtype.name())).collect();
    told.sort();
    let expected = [("attn_mask", "bool"), ("key", "float32"), ("query", "float32"), ("value", "float32")];
    assert_eq!(told, expected.map(|(name, dtype)| (name.to_owned(), dtype)));
}

#[test]
fn a_node_that_mlx_did_not_run_has_no_script() {
    let mut graph = graph("attention.pt2");
    graph.nodes.iter_mut().find(|node| node.name == "sigmoid").unwrap().target =
        "aten._conj_physical.default".to_owned();
    let refused = of_graph(&graph, "attention.pt2", "sigmoid").unwrap_err();
    assert_eq!(refused, "MLX did not run it: no row converts aten._conj_physical.default");
    assert_eq!(names("a/b c"), ["repro_a_b_c.py", "repro_a_b_c.safetensors"]);
}
