//! Recurrent layers and their cells.

use tch::{Kind, Tensor};

use super::tensor::{Weights, length};
use super::{Built, Forward, Problem, axes};
use t2m_engine::args::Args;

/// What happens at each step.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Lstm,
    Gru,
    Tanh,
    Relu,
}

impl Mode {
    /// How many linear functions a step has.
    fn gates(self) -> i64 {
        match self {
            Mode::Lstm => 4,
            Mode::Gru => 3,
            Mode::Tanh | Mode::Relu => 1,
        }
    }

    /// How many states go from step to step.
    fn states(self) -> usize {
        if self == Mode::Lstm { 2 } else { 1 }
    }
}

/// The class `torch.nn.modules.rnn.*`.
pub(super) fn build(class: &str, args: &Args<'_>, weights: &Weights) -> Built {
    Ok(Some(match class {
        "LSTM" => layer(Recurrent::new(Mode::Lstm, args, weights)?),
        "GRU" => layer(Recurrent::new(Mode::Gru, args, weights)?),
        "RNN" => layer(Recurrent::new(plain(args, "mode")?, args, weights)?),
        "LSTMCell" => cell(Mode::Lstm, args, weights)?,
        "GRUCell" => cell(Mode::Gru, args, weights)?,
        "RNNCell" => cell(plain(args, "nonlinearity")?, args, weights)?,
        _ => return Ok(None),
    }))
}

fn plain(args: &Args<'_>, name: &str) -> Result<Mode, Problem> {
    match args.text(name)? {
        "tanh" | "RNN_TANH" => Ok(Mode::Tanh),
        "relu" | "RNN_RELU" => Ok(Mode::Relu),
        _ => Err(args.wrong(name, "tanh or relu").into()),
    }
}

struct Recurrent {
    mode: Mode,
    layers: i64,
    bidirectional: bool,
    bias: bool,
    batch_first: bool,
    /// Widths of the states: h, and for an LSTM c.
    widths: Vec<i64>,
    /// h goes through a projection.
    projects: bool,
    /// The length of the input's last axis.
    input: i64,
    /// The names of the weights in libtorch's order.
    weights: Vec<String>,
}

impl Recurrent {
    fn new(mode: Mode, args: &Args<'_>, weights: &Weights) -> Result<Recurrent, Problem> {
        let (hidden, projected) = (args.count("hidden_size")?, args.integer_or("proj_size", 0)?);
        let mut recurrent = Recurrent {
            mode,
            layers: args.count("num_layers")?,
            bidirectional: args.flag("bidirectional")?,
            bias: args.flag("bias")?,
            batch_first: args.flag("batch_first")?,
            widths: vec![if projected > 0 { projected } else { hidden }, hidden],
            projects: projected > 0,
            input: args.count("input_size")?,
            weights: Vec::new(),
        };
        recurrent.name_weights(weights, hidden)?;
        recurrent.widths.truncate(mode.states());
        Ok(recurrent)
    }

    /// Collect the weights' names, and check their sizes: libtorch reads by the layer's sizes without checking, so
    /// wrong ones would crash the program.
    fn name_weights(&mut self, weights: &Weights, hidden: i64) -> Result<(), Problem> {
        let output = self.widths.first().copied().unwrap_or(hidden);
        let directions: &[&str] = if self.bidirectional { &["", "_reverse"] } else { &[""] };
        let rows = hidden.saturating_mul(self.mode.gates());
        for layer in 0..self.layers {
            let from = if layer == 0 { self.input } else { output.saturating_mul(directions.len() as i64) };
            let shapes: [(&str, bool, &[i64]); 5] = [
                ("weight_ih", true, &[rows, from]),
                ("weight_hh", true, &[rows, output]),
                ("bias_ih", self.bias, &[rows]),
                ("bias_hh", self.bias, &[rows]),
                ("weight_hr", self.projects, &[output, hidden]),
            ];
            for direction in directions {
                for (kind, _, shape) in shapes.iter().filter(|(_, there, _)| *there) {
                    let name = format!("{kind}_l{layer}{direction}");
                    let found = weights.get(&name)?.size();
                    if found != *shape {
                        return Err(Problem(format!("`{name}` has the shape {found:?}; the layer needs {shape:?}")));
                    }
                    self.weights.push(name);
                }
            }
        }
        Ok(())
    }

    /// The given states as `[layers · directions, N, width]`, or zeros. `alone` if the input has no batch.
    fn states(&self, input: &Tensor, given: &[Tensor], alone: bool) -> Result<Vec<Tensor>, Problem> {
        if !given.is_empty() && given.len() != self.widths.len() {
            return Err(Problem(format!("the layer takes {} states, not {}", self.widths.len(), given.len())));
        }
        let batch = length(input, if self.batch_first { 0 } else { 1 })?;
        let rows = if self.bidirectional { self.layers.saturating_mul(2) } else { self.layers };
        let mut states = Vec::with_capacity(self.widths.len());
        for (index, width) in self.widths.iter().enumerate() {
            let shape = [rows, batch, *width];
            states.push(match given.get(index) {
                None => Tensor::f_zeros(shape, (input.f_kind()?, input.device()))?,
                Some(state) => {
                    axes(state, if alone { &[2] } else { &[3] })?;
                    let state = if alone { state.f_unsqueeze(1)? } else { state.shallow_clone() };
                    if state.size() != shape {
                        return Err(Problem(format!("a state's shape is {:?}; it needs {shape:?}", state.size())));
                    }
                    state
                }
            });
        }
        Ok(states)
    }

    /// The output at each step, and the states after the last.
    fn run(&self, weights: &Weights, input: &Tensor, states: &[Tensor]) -> Result<Vec<Tensor>, Problem> {
        let weights: Vec<&Tensor> = self.weights.iter().map(|name| weights.get(name)).collect::<Result<_, _>>()?;
        let Recurrent { layers, bidirectional, bias, batch_first, .. } = *self;
        let states: Vec<&Tensor> = states.iter().collect();
        let first = states.first().copied().ok_or_else(|| Problem("the layer has no states".to_owned()))?;
        if self.mode == Mode::Lstm {
            let (output, hidden, cell) =
                input.f_lstm(&states, &weights, bias, layers, 0.0, false, bidirectional, batch_first)?;
            return Ok(vec![output, hidden, cell]);
        }
        let (output, hidden) = match self.mode {
            Mode::Gru => input.f_gru(first, &weights, bias, layers, 0.0, false, bidirectional, batch_first)?,
            Mode::Relu => input.f_rnn_relu(first, &weights, bias, layers, 0.0, false, bidirectional, batch_first)?,
            _ => input.f_rnn_tanh(first, &weights, bias, layers, 0.0, false, bidirectional, batch_first)?,
        };
        Ok(vec![output, hidden])
    }
}

/// `LSTM`, `GRU`, `RNN`: input `[L, N, in]`, batch first if the layer says so, or `[L, in]`; then the states if they are
/// not zero. The outputs are the last layer's at each step and the states at the end.
fn layer(layer: Recurrent) -> Forward {
    Box::new(move |weights, given| {
        let (input, states) = given.split_first().ok_or_else(|| Problem("the layer needs an input".to_owned()))?;
        let alone = axes(input, &[2, 3])? == 2;
        let batch = if layer.batch_first { 0 } else { 1 };
        let input = if alone { input.f_unsqueeze(batch)? } else { input.shallow_clone() };
        if length(&input, -1)? != layer.input {
            let shape = input.size();
            return Err(Problem(format!("the input's shape is {shape:?}; its last axis needs {}", layer.input)));
        }
        let states = layer.states(&input, states, alone)?;
        let outputs = layer.run(weights, &input, &states)?;
        if !alone {
            return Ok(outputs);
        }
        let squeezed = outputs.iter().enumerate();
        squeezed.map(|(index, output)| Ok(output.f_squeeze_dim(if index == 0 { batch } else { 1 })?)).collect()
    })
}

/// `LSTMCell`, `GRUCell`, `RNNCell`: one step for input `[N, in]` or `[in]`, then the states if they are not zero. The
/// outputs are the states.
fn cell(mode: Mode, args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let hidden = args.count("hidden_size")?;
    weights.get("weight_ih")?;
    weights.get("weight_hh")?;
    Ok(Box::new(move |weights, given| {
        let (input, states) = given.split_first().ok_or_else(|| Problem("the layer needs an input".to_owned()))?;
        if !states.is_empty() && states.len() != mode.states() {
            return Err(Problem(format!("the layer takes {} states, not {}", mode.states(), states.len())));
        }
        let alone = axes(input, &[1, 2])? == 1;
        let batched = |tensor: &Tensor| -> Result<Tensor, Problem> {
            axes(tensor, if alone { &[1] } else { &[2] })?;
            Ok(if alone { tensor.f_unsqueeze(0)? } else { tensor.shallow_clone() })
        };
        let input = batched(input)?;
        let mut states: Vec<Tensor> = states.iter().map(batched).collect::<Result<_, _>>()?;
        let options: (Kind, _) = (input.f_kind()?, input.device());
        while states.len() < mode.states() {
            states.push(Tensor::f_zeros([length(&input, 0)?, hidden], options)?);
        }
        let outputs = step(mode, weights, &input, &states)?;
        if !alone {
            return Ok(outputs);
        }
        outputs.iter().map(|output| Ok(output.f_squeeze_dim(0)?)).collect()
    }))
}

fn step(mode: Mode, weights: &Weights, input: &Tensor, states: &[Tensor]) -> Result<Vec<Tensor>, Problem> {
    let (from_input, from_state) = (weights.get("weight_ih")?, weights.get("weight_hh")?);
    let biases = (weights.find("bias_ih"), weights.find("bias_hh"));
    let states: Vec<&Tensor> = states.iter().collect();
    let first = states.first().copied().ok_or_else(|| Problem("the layer has no states".to_owned()))?;
    Ok(match mode {
        Mode::Lstm => {
            let (hidden, cell) = input.f_lstm_cell(&states, from_input, from_state, biases.0, biases.1)?;
            vec![hidden, cell]
        }
        Mode::Gru => vec![input.f_gru_cell(first, from_input, from_state, biases.0, biases.1)?],
        Mode::Tanh => vec![input.f_rnn_tanh_cell(first, from_input, from_state, biases.0, biases.1)?],
        Mode::Relu => vec![input.f_rnn_relu_cell(first, from_input, from_state, biases.0, biases.1)?],
    })
}
