//! Recurrent layers as steps: each position of a sequence is a few calls.

use serde_json::{Value, json};

use super::{Argument, Lower};
use t2m_engine::program::{Operand, Step};

/// Most steps in time that become calls.
const LONGEST: usize = 1024;

/// What a cell computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Lstm,
    Gru,
    Tanh,
    Relu,
}

/// The weights of one direction of a layer, turned as products take them.
struct Weights {
    input: Operand,
    hidden: Operand,
    biases: Option<[Operand; 2]>,
    projection: Option<Operand>,
}

impl Lower<'_> {
    /// `recurrent(kind, input, states, weights, has_biases, num_layers, bidirectional, batch_first)`: what torch's op gives,
    /// the sequence and the last states.
    pub(super) fn recurrent(&mut self, kind: &str, rest: &[Argument]) -> Option<Argument> {
        let cell = match kind {
            "lstm" => Cell::Lstm,
            "gru" => Cell::Gru,
            "tanh" => Cell::Tanh,
            "relu" => Cell::Relu,
            _ => return None,
        };
        let [input, Argument::Array(Operand::List(states)), Argument::Array(Operand::List(weights)), plain @ ..] = rest
        else {
            return None;
        };
        let flags: Vec<&Value> =
            plain.iter().filter_map(|one| if let Argument::Plain(value) = one { Some(value) } else { None }).collect();
        let [biased, layers, both_ways, batch_first] = flags.as_slice() else { return None };
        let (biased, layers) = (biased.as_bool()?, usize::try_from(layers.as_u64()?).ok()?);
        let (directions, batch_first) = (if both_ways.as_bool()? { 2 } else { 1 }, batch_first.as_bool()?);
        let shape = self.shape_of(input)?;
        let [first, second, _] = shape.as_slice() else { return None };
        let length = if batch_first { *second } else { *first };
        if length == 0 || length > LONGEST {
            return None;
        }
        let state = |at: usize| states.get(at).cloned();
        let shape_of = |lower: &Self, operand: &Operand| lower.shape_of(&Argument::Array(operand.clone()));
        let projected = match (cell, state(0), state(1)) {
            (Cell::Lstm, Some(hidden), Some(own)) => shape_of(self, &hidden)?.last() != shape_of(self, &own)?.last(),
            _ => false,
        };
        let each = 2 + if biased { 2 } else { 0 } + usize::from(projected);
        let Argument::Array(mut x) = input.clone() else { return None };
        if batch_first {
            x = self.called("mx.swapaxes", vec![x], json!({"axis1": 0, "axis2": 1}));
        }
        let (mut last_hidden, mut last_own) = (Vec::new(), Vec::new());
        for layer in 0..layers {
            let mut ways = Vec::new();
            for direction in 0..directions {
                let at = layer * directions + direction;
                let own = weights.get(at * each..(at + 1) * each)?;
                let own = self.weights(own, biased, projected)?;
                let hidden = self.called("index", vec![state(0)?], json!({"at": at}));
                let memory = match cell {
                    Cell::Lstm => Some(self.called("index", vec![state(1)?], json!({"at": at}))),
                    _ => None,
                };
                let (sequence, hidden, memory) = self.one_way(cell, &x, &own, (hidden, memory), length, direction == 1);
                ways.push(sequence);
                last_hidden.push(hidden);
                last_own.extend(memory);
            }
            x = match ways.as_slice() {
                [one] => one.clone(),
                _ => self.called("mx.concatenate", vec![Operand::List(ways)], json!({"axis": -1})),
            };
        }
        if batch_first {
            x = self.called("mx.swapaxes", vec![x], json!({"axis1": 0, "axis2": 1}));
        }
        let mut results = vec![x, self.called("mx.stack", vec![Operand::List(last_hidden)], json!({"axis": 0}))];
        if cell == Cell::Lstm {
            results.push(self.called("mx.stack", vec![Operand::List(last_own)], json!({"axis": 0})));
        }
        Some(Argument::Array(Operand::List(results)))
    }

    fn weights(&mut self, own: &[Operand], biased: bool, projected: bool) -> Option<Weights> {
        let mut turned = |at: usize| Some(self.called("mx.transpose", vec![own.get(at)?.clone()], json!({})));
        let (input, hidden) = (turned(0)?, turned(1)?);
        let projection = if projected { Some(turned(own.len() - 1)?) } else { None };
        let biases = if biased { Some([own.get(2)?.clone(), own.get(3)?.clone()]) } else { None };
        Some(Weights { input, hidden, biases, projection })
    }

    fn two(&mut self, call: &str, a: Operand, b: Operand) -> Operand {
        self.called(call, vec![a, b], json!({}))
    }

    fn one(&mut self, call: &str, a: Operand) -> Operand {
        self.called(call, vec![a], json!({}))
    }

    /// One direction of a layer: the sequence, the last state, and an LSTM's own.
    fn one_way(
        &mut self,
        cell: Cell,
        x: &Operand,
        weights: &Weights,
        (mut hidden, mut memory): (Operand, Option<Operand>),
        length: usize,
        backwards: bool,
    ) -> (Operand, Operand, Option<Operand>) {
        // What comes of the input is computed for all positions at once.
        let mut given = self.two("mx.matmul", x.clone(), weights.input.clone());
        if let Some([bias, _]) = &weights.biases {
            given = self.two("mx.add", given, bias.clone());
        }
        let mut all = vec![hidden.clone(); length];
        let positions: Vec<usize> = if backwards { (0..length).rev().collect() } else { (0..length).collect() };
        for position in positions {
            let now = self.called("index", vec![given.clone()], json!({"at": position}));
            let mut carried = self.two("mx.matmul", hidden.clone(), weights.hidden.clone());
            if let Some([_, bias]) = &weights.biases {
                carried = self.two("mx.add", carried, bias.clone());
            }
            hidden = match cell {
                Cell::Lstm => {
                    let (next, own) = self.lstm(now, carried, memory.take());
                    memory = Some(own);
                    next
                }
                Cell::Gru => self.gru(now, carried, hidden),
                Cell::Tanh | Cell::Relu => {
                    let sum = self.two("mx.add", now, carried);
                    self.one(if cell == Cell::Tanh { "mx.tanh" } else { "nn.relu" }, sum)
                }
            };
            if let Some(projection) = &weights.projection {
                hidden = self.two("mx.matmul", hidden, projection.clone());
            }
            if let Some(slot) = all.get_mut(position) {
                *slot = hidden.clone();
            }
        }
        let sequence = self.called("mx.stack", vec![Operand::List(all)], json!({"axis": 0}));
        (sequence, hidden, memory)
    }

    /// The parts of a row of gates.
    fn gates(&mut self, gates: Operand, parts: usize) -> Vec<Operand> {
        let to: Vec<String> = (0..parts).map(|_| self.temporary()).collect();
        let args = json!({"indices_or_sections": parts, "axis": -1});
        let args = args.as_object().cloned().unwrap_or_default();
        let step = Step { to: to.clone(), call: "mx.split".to_owned(), inputs: vec![gates], args };
        self.program.steps.push(step);
        to.into_iter().map(Operand::Name).collect()
    }

    fn lstm(&mut self, now: Operand, carried: Operand, memory: Option<Operand>) -> (Operand, Operand) {
        let sum = self.two("mx.add", now, carried);
        let mut gates = self.gates(sum, 4).into_iter();
        let mut gate = |lower: &mut Self, call: &str| {
            let gate = gates.next().unwrap_or(Operand::Number(0.0));
            lower.one(call, gate)
        };
        let (input, forget) = (gate(self, "mx.sigmoid"), gate(self, "mx.sigmoid"));
        let (content, output) = (gate(self, "mx.tanh"), gate(self, "mx.sigmoid"));
        let new = self.two("mx.multiply", input, content);
        let own = match memory {
            Some(memory) => {
                let kept = self.two("mx.multiply", forget, memory);
                self.two("mx.add", kept, new)
            }
            None => new,
        };
        let shown = self.one("mx.tanh", own.clone());
        (self.two("mx.multiply", output, shown), own)
    }

    fn gru(&mut self, now: Operand, carried: Operand, hidden: Operand) -> Operand {
        let (now, carried) = (self.gates(now, 3), self.gates(carried, 3));
        let mut parts = now.into_iter().zip(carried);
        let mut next = || parts.next().unwrap_or((Operand::Number(0.0), Operand::Number(0.0)));
        let (reset, update, (new_now, new_carried)) = (next(), next(), next());
        let mut gate = |(a, b): (Operand, Operand)| {
            let sum = self.two("mx.add", a, b);
            self.one("mx.sigmoid", sum)
        };
        let (reset, update) = (gate(reset), gate(update));
        let held = self.two("mx.multiply", reset, new_carried);
        let sum = self.two("mx.add", new_now, held);
        let new = self.one("mx.tanh", sum);
        let apart = self.two("mx.subtract", hidden, new.clone());
        let kept = self.two("mx.multiply", update, apart);
        self.two("mx.add", new, kept)
    }
}
