//! What the caller of a graph gets, compared at the end: tensors, numbers, None, and what came in and was not touched.

use serde_json::Value as Json;

use super::events::{OutputResult, Stop};
use super::judge::{self, Measured, Three, View};
use super::node::plain_parts;
use super::plan::Form;
use super::run::{Lockstep, Values, first_tensor};
use super::special::Special;
use crate::compare::Verdict;
use crate::compare::tolerance::Bound;
use t2m_checkpoint::Dtype;
use t2m_checkpoint::graph::{Argument, Graph, ValueId};
use t2m_engine::client::Step;
use t2m_engine::graph::{Call, Run};

impl Lockstep<'_> {
    /// Compare what the caller gets.
    pub(super) fn outputs(&mut self, graph: &Graph, values: &mut Values) -> Result<Vec<OutputResult>, Stop> {
        let mut results = Vec::new();
        for (at, output) in graph.outputs.iter().enumerate() {
            self.output(graph, output, at, values, &mut results)?;
        }
        Ok(results)
    }

    fn output(
        &mut self,
        graph: &Graph,
        output: &Argument,
        at: usize,
        values: &mut Values,
        results: &mut Vec<OutputResult>,
    ) -> Result<(), Stop> {
        match output {
            Argument::Value(id) => {
                let result = self.value(graph, *id, values)?;
                results.push(result);
            }
            Argument::List(items) => {
                for item in items {
                    self.output(graph, item, at, values, results)?;
                }
            }
            Argument::Plain(value) => results.push(number(format!("output_{at}"), value.clone())),
            _ => {}
        }
        Ok(())
    }

    fn value(&mut self, graph: &Graph, id: ValueId, values: &mut Values) -> Result<OutputResult, Stop> {
        let name = graph.value(id).map(|value| value.name.clone()).unwrap_or_default();
        let missing = |reason: String| OutputResult {
            name: name.clone(),
            dtype: Dtype::Unknown,
            shape: Vec::new(),
            value: None,
            measured: Err(reason),
        };
        if let Err(refusal) = self.load(graph, id, values)? {
            return Ok(missing(refusal.0));
        }
        self.revive()?;
        self.give_again(&[id], values)?;
        let Some(live) = values.get(&id).cloned() else {
            let why = self
                .lost
                .get(&id)
                .map_or_else(|| "what gives it did not run".to_owned(), |words| format!("it is not there: {words}"));
            return Ok(missing(why));
        };
        let (dtype, shape) = match live.form {
            Form::Number(value) => return Ok(number(name, value)),
            Form::Tensor { dtype, shape } => (dtype, shape),
        };
        // What no node of MLX's gave has torch's value: a comparison would be of that with itself.
        let comes_in = graph.inputs.iter().any(|input| input.value == id);
        if live.keys.own == live.keys.copy && !comes_in {
            let reason = "MLX did not compute it here: torch's own value stands in for it";
            return Ok(OutputResult { dtype, shape, ..missing(reason.to_owned()) });
        }
        let torch = self.fetch(live.keys.torch)?;
        if live.special.nan && Special::is_all_nan(&torch) {
            let source = live.nan.as_ref().map_or(String::new(), |nan| format!(": it comes from {}", nan.from));
            return Ok(OutputResult {
                dtype,
                shape,
                ..missing(format!("there is nothing but NaN to compare{source}"))
            });
        }
        let run = |compute, key| Run { compute, takes: vec![key], gives: Vec::new(), returns: true };
        let step = Step {
            values: Vec::new(),
            call: Call::Nothing,
            runs: vec![run(Dtype::Float64, live.keys.exact)],
            drops: Vec::new(),
        };
        self.torch.start_step(self.generation, &step)?;
        let exact = first_tensor(self.torch.finish_step()?);
        let pending = std::mem::take(&mut self.pending);
        let step = Step {
            values: pending.iter().map(|(key, data)| (*key, data)).collect(),
            call: Call::Nothing,
            runs: vec![run(Dtype::Float32, live.keys.own)],
            drops: Vec::new(),
        };
        self.mlx.start_step(self.generation, &step)?;
        let mlx = first_tensor(self.mlx.finish_step()?);
        let measured = match (exact, mlx) {
            (Some((exact, _)), Some((mlx, _))) => {
                let [torch, exact, mlx] = [torch, exact, mlx].map(plain_parts);
                judge::compare(
                    Three { torch: &torch, exact: &exact, mlx: &mlx },
                    Bound::Copy,
                    View::Accumulated(live.inherited),
                    0.0,
                )
            }
            _ => Err("an engine gave no tensor".to_owned()),
        };
        Ok(OutputResult { name, dtype, shape, value: None, measured })
    }
}

/// A number or None: it is made once, for both.
fn number(name: String, value: Json) -> OutputResult {
    let dtype = match &value {
        Json::Bool(_) => Dtype::Bool,
        Json::Number(number) if number.is_f64() => Dtype::Float64,
        Json::Number(_) => Dtype::Int64,
        _ => Dtype::Unknown,
    };
    let measured = Measured {
        max_abs: 0.0,
        mean_abs: 0.0,
        cosine: 1.0,
        worst_index: Vec::new(),
        tolerance: 0.0,
        scale: value.as_f64().unwrap_or(0.0).abs(),
        torch_vs_f64: 0.0,
        mlx_vs_f64: 0.0,
        verdict: Verdict::Exact,
    };
    OutputResult { name, dtype, shape: Vec::new(), value: Some(value), measured: Ok(measured) }
}
