//! Running a program of torch's functions: the registry's examples, with [`super::ops`].

use std::collections::HashMap;

use tch::{Kind, Tensor};

use super::ops::{self, Given};
use super::{Forward, Problem};
use t2m_engine::args::Args;
use t2m_engine::program::{Operand, Program, Step, TorchOp, infinity};

/// Make the function that runs a program.
pub(super) fn program(program: &Program) -> Forward {
    let program = program.clone();
    Box::new(move |_, given| {
        if given.len() != program.inputs.len() {
            let (wanted, given) = (program.inputs.len(), given.len());
            return Err(Problem(format!("the program takes {wanted} inputs, not {given}")));
        }
        let inputs = program.inputs.iter().cloned().zip(given.iter().map(Tensor::shallow_clone));
        let mut run = Run { variables: inputs.collect() };
        for step in &program.steps {
            run.step(step).map_err(|Problem(text)| Problem(format!("in {}: {text}", step.call)))?;
        }
        program.outputs.iter().map(|name| run.variable(name)).collect()
    })
}

/// The state of a running program.
struct Run {
    variables: HashMap<String, Tensor>,
}

impl Run {
    fn step(&mut self, step: &Step) -> Result<(), Problem> {
        let given = step.inputs.iter().map(|input| self.operand(input)).collect::<Result<Vec<_>, _>>()?;
        let args = Args::of(&step.call, &step.args);
        let op = TorchOp::called(&step.call);
        let op = op.ok_or_else(|| Problem("libtorch's side does not know this function".to_owned()))?;
        let results = ops::call(op, &given, &args)?;
        args.all_read()?;
        if results.len() != step.to.len() {
            return Err(Problem(format!("it gives {} results, not {}", results.len(), step.to.len())));
        }
        self.variables.extend(step.to.iter().cloned().zip(results));
        Ok(())
    }

    fn variable(&self, name: &str) -> Result<Tensor, Problem> {
        let found = self.variables.get(name).map(Tensor::shallow_clone);
        found.ok_or_else(|| Problem(format!("there is no variable `{name}`")))
    }

    fn operand(&self, operand: &Operand) -> Result<Given, Problem> {
        Ok(match operand {
            Operand::Number(number) => Given::Number(*number),
            Operand::Flag(is_so) => Given::Tensor(Tensor::from(*is_so)),
            Operand::Name(name) => match infinity(name) {
                Some(number) => Given::Number(number),
                None => Given::Tensor(self.variable(name)?),
            },
            Operand::Constant { constant, dtype } => {
                let kind = ops::kind(dtype)?;
                let exact = Tensor::f_from_slice(constant)?;
                Given::Tensor(if kind == Kind::Double { exact } else { exact.f_to_dtype(kind, false, false)? })
            }
            Operand::List(operands) => {
                let each = operands.iter().map(|operand| self.operand(operand)?.tensor());
                Given::List(each.collect::<Result<_, _>>()?)
            }
        })
    }
}
