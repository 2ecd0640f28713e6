//! LSTM, GRU and RNN over time, with layers and directions, and their cells. A layer of MLX is one layer in one
//! direction.

use serde_json::{Value, json};

use super::phrase::{self, entries};
use super::site::{Draft, Site, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::weights::Fold;
use crate::plan::{Input, Move, Output, Refusal};
use t2m_engine::Program;
use t2m_engine::program::{MlxLayer, MlxOp};

/// Positions and sequences of the input.
const LENGTH: usize = 11;
const BATCH: usize = 4;
/// The most layers of a stack.
const MOST_LAYERS: usize = 64;

/// The family: MLX's layer and how its parameters are called.
struct Family {
    mlx: MlxLayer,
    /// Names of the weights in MLX: from the input, from the state.
    weights: [&'static str; 2],
    /// States that are carried.
    states: &'static [&'static str],
}

const LSTM: Family = Family { mlx: MlxLayer::Lstm, weights: ["Wx", "Wh"], states: &["h_n", "c_n"] };
const GRU: Family = Family { mlx: MlxLayer::Gru, weights: ["Wx", "Wh"], states: &["h_n"] };
const RNN: Family = Family { mlx: MlxLayer::Rnn, weights: ["Wxh", "Whh"], states: &["h_n"] };

fn family(site: &Site<'_>) -> &'static Family {
    let class = site.torch_class().rsplit('.').next().unwrap_or_default();
    match class {
        _ if class.starts_with("LSTM") => &LSTM,
        _ if class.starts_with("GRU") => &GRU,
        _ => &RNN,
    }
}

impl Family {
    /// Moves of one layer's tensors, whose torch names have this suffix, into the layer under an attribute.
    fn moves(&self, site: &Site<'_>, suffix: &str, attribute: &str) -> Vec<Move> {
        let name = |own: &str| if attribute.is_empty() { own.to_owned() } else { format!("{attribute}.{own}") };
        let [input, hidden] = self.weights;
        let mut moves = vec![
            Move::rename(format!("weight_ih{suffix}"), name(input)),
            Move::rename(format!("weight_hh{suffix}"), name(hidden)),
        ];
        let biases = [format!("bias_ih{suffix}"), format!("bias_hh{suffix}")];
        if site.has(&biases[0]) {
            let biases = [biases[0].as_str(), biases[1].as_str()];
            if self.mlx == MlxLayer::Gru {
                moves.push(Move::fold(&biases, name("b"), Fold::GruBias));
                moves.push(Move::part(biases[1], name("bhn"), 2, 3));
            } else {
                moves.push(Move::fold(&biases, name("bias"), Fold::Sum));
            }
        }
        moves
    }

    /// Arguments of the layer.
    fn args(&self, site: &Site<'_>, suffix: &str) -> Result<serde_json::Map<String, Value>, Refusal> {
        let [_, input] = site.shape_of_rank(&format!("weight_ih{suffix}"))?;
        let [_, hidden] = site.shape_of_rank(&format!("weight_hh{suffix}"))?;
        let bias = site.has(&format!("bias_ih{suffix}"));
        let mut args = entries([("input_size", json!(input)), ("hidden_size", json!(hidden)), ("bias", json!(bias))]);
        if self.mlx == MlxLayer::Rnn {
            let (function, mode) = match site.attribute("nonlinearity")?.as_str() {
                Some("tanh") => (MlxOp::Tanh, "RNN_TANH"),
                Some("relu") => (MlxOp::NnRelu, "RNN_RELU"),
                _ => return Err(unexpected("nonlinearity", site.maybe("nonlinearity"))),
            };
            // For a whole RNN torch reads its mode, for a cell this word.
            let said = site.maybe("mode");
            if !site.torch_class().ends_with("Cell") && !said.is_null() && said != mode {
                return Err(unexpected("mode", said));
            }
            args.insert("nonlinearity".to_owned(), json!(function.name()));
        }
        Ok(args)
    }

    fn bias_step(&self) -> &'static str {
        if self.mlx == MlxLayer::Gru { "biases folded, the hidden one of n kept apart" } else { "the two biases added" }
    }
}

/// The suffix of torch's names for a layer and direction, and the attribute of MLX's layer: empty for the only one.
fn names_of(layer: usize, direction: usize, single: bool) -> (String, String) {
    let suffix = format!("_l{layer}{}", if direction == 1 { "_reverse" } else { "" });
    let attribute = if single { String::new() } else { suffix.trim_start_matches('_').to_owned() };
    (suffix, attribute)
}

/// Moves of every layer and direction.
pub(super) fn moves(site: &Site<'_>) -> Result<Vec<Move>, Refusal> {
    let layers = site.number("num_layers")?;
    let directions = if site.flag("bidirectional")? { 2 } else { 1 };
    if !(1..=MOST_LAYERS).contains(&layers) || site.has("weight_hr_l0") {
        return Err(Refusal::Unsupported("more layers than are converted, or a projected state".to_owned()));
    }
    let all = (0..layers).flat_map(|layer| (0..directions).map(move |direction| (layer, direction)));
    let named = all.map(|(layer, direction)| names_of(layer, direction, layers * directions == 1));
    Ok(named.flat_map(|(suffix, attribute)| family(site).moves(site, &suffix, &attribute)).collect())
}

/// Moves of a cell.
pub(super) fn cell_moves(site: &Site<'_>) -> Vec<Move> {
    family(site).moves(site, "", "")
}

/// A sequence → all states of the last layer, and the last state of every layer and direction.
pub(super) fn recurrent(site: &Site<'_>) -> Result<Draft, Refusal> {
    let family = family(site);
    if site.maybe("proj_size").as_i64().unwrap_or(0) > 0 {
        return Err(Refusal::Unsupported(
            "`proj_size` projects the state at every step, which MLX's layer does not".to_owned(),
        ));
    }
    let (layers, batch_first) = (site.number("num_layers")?, site.flag("batch_first")?);
    let directions = if site.flag("bidirectional")? { 2 } else { 1 };
    if !(1..=MOST_LAYERS).contains(&layers) {
        return Err(unexpected("num_layers", site.maybe("num_layers")));
    }
    let [_, hidden] = site.shape_of_rank("weight_hh_l0")?;
    let [_, features] = site.shape_of_rank("weight_ih_l0")?;
    let given = site.call.is_some_and(|call| call.inputs.is_some());
    let mut names = vec!["x"];
    if given {
        names.extend(if family.states.len() == 2 { ["h0", "c0"].as_slice() } else { ["h0"].as_slice() });
    }
    let mut p = Program::new(&names);
    let mut lasts: Vec<Vec<String>> = vec![Vec::new(); family.states.len()];
    let mut x = "x".to_owned();
    for layer in 0..layers {
        let mut sides = Vec::new();
        for direction in 0..directions {
            let (suffix, attribute) = names_of(layer, direction, layers * directions == 1);
            phrase::layer(&mut p, &attribute, family.mlx, family.args(site, &suffix)?);
            let all = one_way(
                &mut p,
                family,
                &attribute,
                &x,
                direction == 1,
                given.then_some(layer * directions + direction),
            );
            for (last, states) in lasts.iter_mut().zip(&all) {
                let end = phrase::slice(&mut p, states, 1, Some(-1), None, 1);
                last.push(p.call(MlxOp::Squeeze, [end.into()], [("axis", json!(1))]));
            }
            let output = all.into_iter().next().unwrap_or_default();
            sides.push(if direction == 1 { reversed(&mut p, &output) } else { output });
        }
        x = phrase::concatenate(&mut p, sides, -1);
    }
    p.outputs = vec![x];
    for last in lasts {
        let stacked = phrase::stack(&mut p, last, 0);
        p.outputs.push(stacked);
    }

    let shape = if batch_first { vec![BATCH, LENGTH, features] } else { vec![LENGTH, BATCH, features] };
    let mut inputs = vec![Input::new(shape, Values::Normal(1.0))];
    let swap = (!batch_first).then(|| vec![1, 0, 2]);
    inputs[0].to_mlx.clone_from(&swap);
    if given {
        let state = Input::new(vec![layers * directions, BATCH, hidden], Values::Normal(1.0));
        inputs.extend(vec![state; family.states.len()]);
    }
    let mut outputs = vec![Output { name: "output", to_torch: swap }];
    outputs.extend(family.states.iter().map(|&name| Output { name, to_torch: None }));
    // A state passes through every step and layer; each sums over the input and the state.
    let terms = (features + hidden) * layers * LENGTH;
    let mut draft = Draft::of(inputs, Bound::Contraction(terms)).outputs(outputs).weights(moves(site)?).program(p);
    draft.output_shape = vec![BATCH, LENGTH, directions * hidden];
    if family.mlx == MlxLayer::Rnn && site.maybe("mode").is_null() {
        // torch's layer keeps its function under both names.
        let function = site.maybe("nonlinearity").as_str().unwrap_or_default().to_uppercase();
        draft = draft.torch_arg("mode", format!("RNN_{function}"));
    }
    if site.has("bias_ih_l0") {
        draft = draft.step(family.bias_step());
    }
    if !batch_first {
        draft = draft.step("batch first");
    }
    Ok(match (layers, directions) {
        (1, 1) => draft,
        (1, _) => draft.step("a layer for each direction"),
        (_, 1) => draft.step("a layer for each of the stack"),
        _ => draft.step("a layer for each of the stack and direction"),
    })
}

/// One layer in one direction: all its states, in the order in which they were computed.
fn one_way(
    p: &mut Program,
    family: &Family,
    attribute: &str,
    x: &str,
    backwards: bool,
    given: Option<usize>,
) -> Vec<String> {
    let x = if backwards { reversed(p, x) } else { x.to_owned() };
    let mut inputs = vec![x];
    if let Some(index) = given {
        let states = ["h0", "c0"].iter().take(family.states.len());
        inputs.extend(states.map(|state| phrase::at(p, state, index)).collect::<Vec<_>>());
    }
    let count = p.steps.len();
    let names: Vec<String> =
        ["h", "c"].iter().take(family.states.len()).map(|state| format!("{state}{count}")).collect();
    let to: Vec<&str> = names.iter().map(String::as_str).collect();
    p.run_to(&to, attribute, inputs.into_iter().map(Into::into));
    names
}

fn reversed(p: &mut Program, x: &str) -> String {
    phrase::slice(p, x, 1, None, None, -1)
}

/// One step: `[4, in]` → the next state.
pub(super) fn cell(site: &Site<'_>) -> Result<Draft, Refusal> {
    let family = family(site);
    let [_, features] = site.shape_of_rank("weight_ih")?;
    let [_, hidden] = site.shape_of_rank("weight_hh")?;
    let given = site.call.is_some_and(|call| call.inputs.is_some());
    let states: Vec<&str> = if given { ["h0", "c0"][..family.states.len()].to_vec() } else { Vec::new() };
    let mut p = Program::new(&[&["x"], states.as_slice()].concat());
    phrase::layer(&mut p, "", family.mlx, family.args(site, "")?);
    let x = p.call(MlxOp::ExpandDims, ["x".into()], [("axis", json!(1))]);
    let names = &["h", "c"][..family.states.len()];
    p.run_to(names, "", [x.as_str()].into_iter().chain(states.iter().copied()).map(Into::into));
    for name in names {
        let state = p.call(MlxOp::Squeeze, [(*name).into()], [("axis", json!(1))]);
        p.outputs.push(state);
    }
    let mut inputs = vec![Input::new(vec![BATCH, features], Values::Normal(1.0))];
    inputs.extend(states.iter().map(|_| Input::new(vec![BATCH, hidden], Values::Normal(1.0))));
    let outputs = family.states.iter().map(|&name| Output { name, to_torch: None }).collect();
    let mut draft = Draft::of(inputs, Bound::Contraction(features + hidden)).outputs(outputs).program(p);
    draft = draft.weights(cell_moves(site)).step("a sequence of one step");
    draft.output_shape = vec![BATCH, hidden];
    Ok(if site.has("bias_ih") { draft.step(family.bias_step()) } else { draft })
}
