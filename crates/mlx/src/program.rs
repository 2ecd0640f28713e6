//! Running a program: layers of this crate, ops of [`super::ops`], variables by name.

use std::collections::HashMap;

use mlx_rs::{Array, Dtype};

use super::ops::{self, Given};
use super::tensor::Weights;
use super::{Forward, Problem, build};
use t2m_engine::args::Args;
use t2m_engine::program::{MlxOp, Operand, Program, Step, infinity};

/// Check the layers of a program, and make the function that runs it.
pub(super) fn program(program: &Program, weights: &Weights) -> Result<Forward, Problem> {
    let mut layers = HashMap::new();
    for (name, spec) in &program.layers {
        let args = Args::new(spec);
        let forward = build(&spec.kind, &args, &weights.below(name))?;
        args.all_read()?;
        layers.insert(name.clone(), forward);
    }
    let program = program.clone();
    Ok(Box::new(move |weights, given| {
        if given.len() != program.inputs.len() {
            let (wanted, given) = (program.inputs.len(), given.len());
            return Err(Problem(format!("the program takes {wanted} inputs, not {given}")));
        }
        let inputs = program.inputs.iter().cloned().zip(given.iter().cloned());
        let mut run = Run { weights, layers: &layers, variables: inputs.collect() };
        for step in &program.steps {
            run.step(step).map_err(|Problem(text)| Problem(format!("in `{}`: {text}", step.python())))?;
        }
        program.outputs.iter().map(|name| run.variable(name)).collect()
    }))
}

/// The state of a running program.
struct Run<'a> {
    weights: &'a Weights,
    layers: &'a HashMap<String, Forward>,
    variables: HashMap<String, Array>,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Result<(), Problem> {
        let given = step.inputs.iter().map(|input| self.operand(input)).collect::<Result<Vec<_>, _>>()?;
        let results = match step.layer() {
            Some(name) => {
                let forward = self.layers.get(name).ok_or_else(|| Problem(format!("there is no layer `{name}`")))?;
                let inputs: Vec<Array> = given.into_iter().map(Given::array).collect::<Result<_, _>>()?;
                forward(&self.weights.below(name), &inputs)?
            }
            None => {
                let args = Args::of(&step.call, &step.args);
                let op = MlxOp::named(&step.call).ok_or_else(|| Problem("MLX's side does not know it".to_owned()))?;
                let results = ops::call(op, &given, &args)?;
                args.all_read()?;
                results
            }
        };
        if results.len() != step.to.len() {
            return Err(Problem(format!("it gives {} results, not {}", results.len(), step.to.len())));
        }
        self.variables.extend(step.to.iter().cloned().zip(results));
        Ok(())
    }

    fn variable(&self, name: &str) -> Result<Array, Problem> {
        match name.strip_prefix("self.") {
            Some(weight) => self.weights.get(weight).cloned(),
            None => self.variables.get(name).cloned().ok_or_else(|| Problem(format!("there is no variable `{name}`"))),
        }
    }

    fn operand(&self, operand: &Operand) -> Result<Given, Problem> {
        Ok(match operand {
            Operand::Number(number) => Given::Number(*number),
            Operand::Flag(is_so) => Given::Array(Array::from_bool(*is_so)),
            Operand::Name(name) => match infinity(name) {
                Some(number) => Given::Number(number),
                None => Given::Array(self.variable(name)?),
            },
            Operand::Constant { constant, dtype } => Given::Array(self::constant(constant, dtype)?),
            Operand::List(operands) => {
                let each = operands.iter().map(|operand| self.operand(operand)?.array());
                Given::List(each.collect::<Result<_, _>>()?)
            }
        })
    }
}

fn constant(numbers: &[f64], dtype: &str) -> Result<Array, Problem> {
    let floats: Vec<f32> = numbers.iter().map(|&number| number as f32).collect();
    let array = Array::from_slice(&floats, &[floats.len() as i32]);
    match dtype {
        "float32" => Ok(array),
        "int32" => Ok(array.as_dtype(Dtype::Int32)?),
        "bool_" => Ok(array.as_dtype(Dtype::Bool)?),
        other => Err(Problem(format!("arrays are not written out in {other}"))),
    }
}
