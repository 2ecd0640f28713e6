//! Certifying what the registry says of ops: its examples as plans, which [`crate::verify::run`] runs in both engines.

use std::collections::BTreeMap;

use super::values;
use crate::compare::tolerance::Bound;
use crate::plan::{Input, Output, Plan, Way};
use crate::program;
use crate::registry::{Op, Registry};
use crate::verify::Job;
use t2m_engine::program::signatures::{Rounding, Signature};
use t2m_engine::program::{Dialect, Step};
use t2m_engine::{ModuleSpec, Program};

/// A row of the registry that can be run.
#[derive(Debug, Clone)]
pub struct OpSample {
    /// The call, as the row has it.
    pub torch: String,
    /// torch's example and MLX's, which have to agree; `None` if MLX has no counterpart.
    pub example: Option<Job>,
    /// torch's example and what one would write by renaming alone, which a run has to catch.
    pub naive: Option<Job>,
}

/// The examples of all rows, in file order.
///
/// # Errors
/// The first that is not Python, calls what no signature describes, or has inputs that cannot be read.
pub fn ops(registry: &Registry) -> Result<Vec<OpSample>, String> {
    let rows = registry.ops().iter().filter(|op| op.torch_example.is_some());
    rows.map(|op| sample(op).map_err(|reason| format!("the row of {}: {reason}", op.torch))).collect()
}

fn sample(op: &Op) -> Result<OpSample, String> {
    let job = |mlx: &Option<String>| {
        let texts = op.torch_example.as_ref().zip(mlx.as_ref());
        texts.map(|(torch, mlx)| job(&op.inputs, torch, mlx, op.bound.as_deref())).transpose()
    };
    Ok(OpSample { torch: op.torch.clone(), example: job(&op.mlx_example)?, naive: job(&op.naive_example)? })
}

/// Names of a program's outputs if there are several.
const OUTPUTS: [&str; 8] = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"];

/// One pair of texts as a job.
pub(super) fn job(
    inputs: &BTreeMap<String, String>,
    torch: &str,
    mlx: &str,
    bound: Option<&str>,
) -> Result<Job, String> {
    let names: Vec<&str> = inputs.keys().map(String::as_str).collect();
    let parse =
        |dialect, text: &str| program::parse(dialect, text, &names).map_err(|error| format!("{text:?}: {error}"));
    let (torch, mlx) = (parse(Dialect::Torch, torch)?, parse(Dialect::Mlx, mlx)?);
    let (inputs, given) = values::inputs(inputs)?;
    let bound = match bound {
        Some(words) => Bound::from_words(words).ok_or_else(|| format!("{words:?} is no bound"))?,
        None => self::bound(&mlx, &inputs),
    };
    let names = OUTPUTS.get(..torch.outputs.len()).ok_or("there are more outputs than names for them")?;
    let outputs = names.iter().map(|&name| Output { name, to_torch: None }).collect();
    let side =
        |kind: &str, program| ModuleSpec { kind: kind.to_owned(), program: Some(program), ..ModuleSpec::default() };
    let plan = Plan {
        torch: side("torch's example", torch),
        mlx: side("MLX's example", mlx),
        weights: Vec::new(),
        inputs,
        outputs,
        bound,
        way: Way::Direct,
    };
    Ok(Job { plan, given })
}

/// What rounding explains, from what the program calls: nothing if elements are only moved; as many terms as the
/// longest axis has elements if they are added up; otherwise one element in, one out.
fn bound(program: &Program, inputs: &[Input]) -> Bound {
    let longest = inputs.iter().flat_map(|input| &input.shape).copied().max().unwrap_or(1);
    // A layer is more than a copy.
    let rounds = |step: &Step| Signature::of(Dialect::Mlx, &step.call).map_or(Rounding::Pointwise, |row| row.rounds);
    let rounds: Vec<Rounding> = program.steps.iter().map(rounds).collect();
    if rounds.contains(&Rounding::Norm) {
        Bound::Norm(longest)
    } else if rounds.contains(&Rounding::Sum) {
        Bound::Contraction(longest)
    } else if rounds.iter().all(|&rounds| rounds == Rounding::Copy) {
        Bound::Copy
    } else {
        Bound::Pointwise
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_example_of_the_registry_is_understood() {
        let registry = Registry::load(&[]).unwrap();
        let samples = ops(&registry).unwrap();
        let seeds = registry.ops().iter().filter(|op| op.seed);
        let measured = |op: &&Op| samples.iter().any(|sample| sample.torch == op.torch);
        // A context manager computes nothing; every other row of the first support matrix is measured.
        let left: Vec<&str> = seeds.filter(|op| !measured(op)).map(|op| op.torch.as_str()).collect();
        assert_eq!(left, ["torch.no_grad"]);
        let further = registry.ops().iter().filter(|op| !op.seed && op.mlx_example.is_some());
        assert!(further.count() >= 60);
    }

    #[test]
    fn bounds_follow_from_the_calls() {
        let registry = Registry::load(&[]).unwrap();
        let bound = |torch: &str| {
            let op = registry.op(torch).unwrap();
            sample(&Op { bound: None, ..op.clone() }).unwrap().example.unwrap().plan.bound
        };
        assert_eq!(bound("torch.cat"), Bound::Copy);
        assert_eq!(bound("torch.exp"), Bound::Pointwise);
        assert_eq!(bound("F.softmax"), Bound::Norm(5));
        assert_eq!(bound("F.linear"), Bound::Contraction(6));
    }

    #[test]
    fn what_cannot_be_run_says_why() {
        let inputs = BTreeMap::from([("x".to_owned(), "normal 3".to_owned())]);
        let fault = |torch: &str, mlx: &str| job(&inputs, torch, mlx, None).unwrap_err();
        assert!(fault("torch.no_such(x)", "x").contains("torch.no_such"));
        assert!(fault("torch.exp(y)", "mx.exp(x)").contains("no such variable"));
        assert!(fault("torch.exp(x", "mx.exp(x)").contains("no Python"));
        assert!(job(&inputs, "x", "x", Some("loose")).is_err());
    }
}
