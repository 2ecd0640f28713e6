//! Layers within a graph: what the row of an op computes, and what the recipe of the layer computes that is this op, on the same input
//! and with the same weights. They are written down in two places; this holds them together.

use std::collections::{BTreeMap, HashMap};

use ndarray::{ArrayD, IxDyn};
use t2m_checkpoint::graph::{Graph, Node, Origin, ValueId};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::Side;
use t2m_engine::client::{CancelToken, Client, Step};
use t2m_engine::graph::{Call, Outcome, Run};
use t2m_tui::compare::tolerance::scale;
use t2m_tui::graph::job::{Job, State};
use t2m_tui::graph::plan::{self, Form, MlxCall};
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::plan::Plan;
use t2m_tui::registry::aten::Table;

use crate::graphs::fixture;

/// A layer that is one node of a graph, and the node.
struct Pair<'a> {
    class: String,
    plan: &'a Plan,
    call: MlxCall,
    /// What the node takes: a weight, the layer's input, or a state that begins with zeros.
    takes: Vec<TensorData>,
    input: TensorData,
}

fn form(graph: &Graph, id: ValueId) -> Option<Form> {
    let meta = graph.value(id)?.tensor.as_ref()?;
    let shape = meta.sizes.iter().map(|size| Some((*size)? as usize)).collect::<Option<_>>()?;
    Some(Form::Tensor { dtype: plan::computed(meta.dtype), shape })
}

/// Numbers that no pattern fits: of both signs, none near 0.
fn numbers(dtype: Dtype, shape: &[usize]) -> TensorData {
    let count = shape.iter().product::<usize>();
    let mixed = (0..count).map(|at| (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40);
    match dtype {
        Dtype::Int64 => TensorData::from_i64(shape, &mixed.map(|bits| bits as i64 % 2).collect::<Vec<_>>()),
        _ => TensorData::from_f32(shape, &mixed.map(|bits| bits as f32 / 8_388_608.0 - 1.0).collect::<Vec<_>>()),
    }
}

/// The layer at a module's path, where one op with one input is all that it does.
fn pair<'a>(opened: &'a Opened, job: &Job, graph: &Graph, path: &str, nodes: &[&Node]) -> Option<Pair<'a>> {
    let id = opened.model.find(path)?;
    let plan = opened.triage.modules.get(id)?.runs()?;
    let (node, made) = nodes.split_last()?;
    if made.iter().any(|node| node.target != "aten.zeros.default") {
        return None;
    }
    let states: HashMap<ValueId, &String> = graph
        .inputs
        .iter()
        .filter_map(|input| match &input.origin {
            Origin::State(name) => Some((input.value, name)),
            _ => None,
        })
        .collect();
    let is_made = |id: &ValueId| made.iter().any(|node| node.outputs.contains(&Some(*id)));
    let given = node.arguments.iter().flat_map(|(_, argument)| argument.values());
    let mut others = given.filter(|id| !states.contains_key(id) && !is_made(id));
    let (own, None) = (others.next()?, others.next()) else { return None };
    // A recipe may be made for the size that the layer was planned with; a state is made for the graph's.
    let shape = |id: ValueId| match form(graph, id)? {
        Form::Tensor { dtype, .. } if id == own && made.is_empty() => {
            Some(Form::Tensor { dtype, shape: plan.inputs.first()?.shape.clone() })
        }
        other => Some(other),
    };
    let call = plan::mlx(node, &shape, Table::built_in()).ok()?;
    let mut input = None;
    let mut takes = Vec::new();
    for id in &call.takes {
        let Form::Tensor { dtype, shape } = shape(*id)? else { return None };
        takes.push(match states.get(id) {
            Some(name) => job.read(name).ok()?,
            None if *id == own => input.insert(numbers(dtype, &shape)).clone(),
            None => TensorData::from_f32(&shape, &vec![0.0; shape.iter().product()]),
        });
    }
    let class = opened.model.modules.get(id)?.class.to_string();
    Some(Pair { class, plan, call, takes, input: input? })
}

fn permuted(data: &TensorData, axes: &Option<Vec<usize>>) -> TensorData {
    let Some(axes) = axes.as_ref().filter(|axes| axes.len() == data.shape.len()) else { return data.clone() };
    let array = ArrayD::from_shape_vec(IxDyn(&data.shape), data.to_f32().unwrap()).unwrap();
    let turned = array.permuted_axes(axes.clone());
    TensorData::from_f32(turned.shape(), &turned.iter().copied().collect::<Vec<_>>())
}

/// What the row gives.
fn by_row(mlx: &mut Client, pair: &Pair<'_>) -> TensorData {
    let keys: Vec<u64> = (1..=pair.takes.len() as u64).collect();
    let run = Run { compute: Dtype::Float32, takes: keys.clone(), gives: Vec::new(), returns: true };
    let step = Step {
        values: keys.iter().copied().zip(&pair.takes).collect(),
        call: Call::Program { program: pair.call.program.clone(), dtypes: vec![None; pair.call.program.outputs.len()] },
        runs: vec![run],
        drops: keys,
    };
    mlx.start_step(0, &step).unwrap();
    let outcomes = mlx.finish_step().unwrap().remove(0).results.unwrap();
    match outcomes.into_iter().next() {
        Some(Outcome::Tensor { data: Some(data), .. }) => data,
        other => panic!("{}: {other:?}", pair.class),
    }
}

/// What the recipe gives, in torch's layout.
fn by_recipe(mlx: &mut Client, job: &Job, path: &str, pair: &Pair<'_>) -> TensorData {
    let weights: Vec<(String, TensorData)> = pair
        .plan
        .weights
        .iter()
        .map(|movement| {
            let read = movement.from.iter().map(|name| job.read(&format!("{path}.{name}")).unwrap());
            let read: Vec<TensorData> = read.collect();
            (movement.to.clone(), movement.apply(&read.iter().collect::<Vec<_>>()).unwrap())
        })
        .collect();
    mlx.start_load(0, &pair.plan.mlx, &weights).unwrap();
    mlx.finish_load().unwrap();
    let input = permuted(&pair.input, &pair.plan.inputs[0].to_mlx);
    let input = if input.dtype == Dtype::Int64 { input.cast(Dtype::Int32).unwrap() } else { input };
    mlx.start_run(0, &[input], Dtype::Float32).unwrap();
    let output = mlx.finish_run().unwrap_or_else(|error| panic!("{path} {}: {error}", pair.class)).tensors.remove(0);
    permuted(&output, &pair.plan.outputs[0].to_torch)
}

#[test]
fn a_row_computes_what_the_layers_recipe_computes() {
    let mut mlx =
        Client::new(Side::Mlx, std::time::Duration::from_secs(120), CancelToken::default(), Box::new(|_, _| {}));
    let mut compared: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut bad = Vec::new();
    for name in ["layers", "convolutions", "bert", "resnet"] {
        let opened = open(&Options { checkpoint: fixture(&format!("{name}.pt2")), ..Options::default() }).unwrap();
        let (graph, job) = (opened.whole_graph().unwrap(), opened.job().unwrap());
        let mut by_module: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
        for node in &graph.nodes {
            by_module.entry(&node.module).or_default().push(node);
        }
        for (path, nodes) in by_module {
            let Some(pair) = pair(&opened, &job, graph, path, &nodes) else { continue };
            if pair.plan.is_by_definition() || pair.plan.inputs.len() != 1 {
                continue;
            }
            println!("{name} {path} {}", pair.class);
            let (row, recipe) = (by_row(&mut mlx, &pair), by_recipe(&mut mlx, &job, path, &pair));
            assert_eq!(row.shape, recipe.shape, "{name} {path} {}", pair.class);
            let (row, recipe) = (row.to_f64().unwrap(), recipe.to_f64().unwrap());
            let apart = row.iter().zip(&recipe).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let tolerance = pair.plan.bound.tolerance(Dtype::Float32, scale(&row), 0.0);
            let (all, same) = compared.entry(pair.class.clone()).or_default();
            (*all, *same) = (*all + 1, *same + usize::from(apart == 0.0));
            if apart > tolerance || scale(&row) == 0.0 {
                bad.push(format!("{name} {path} {}: {apart:e} apart, {tolerance:e} allowed", pair.class));
            }
        }
    }
    for (class, (all, same)) in &compared {
        println!("{class}: {all} compared, {same} to the last bit");
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    let has = |class: &str| compared.keys().any(|known| known.rsplit('.').next() == Some(class));
    let wanted =
        ["Linear", "Embedding", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "BatchNorm2d"];
    let missing: Vec<&str> = wanted
        .into_iter()
        .chain(["GroupNorm", "InstanceNorm2d", "LayerNorm", "RMSNorm", "LSTM", "GRU", "MaxPool2d", "PReLU", "Upsample"])
        .filter(|class| !has(class))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {:?}", compared.keys());
}
