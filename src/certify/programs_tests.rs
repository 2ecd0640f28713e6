//! Every plan that a recipe makes, and every example of the registry, checked against the table of what programs may
//! call. No engine runs: a misspelt argument fails here, in seconds.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use flate2::read::GzDecoder;
use serde_json::{Map, Value};

use super::{Sample, SampleModel, dtypes, ops};
use crate::plan::Plan;
use crate::plan::naive;
use crate::registry::{Recipe, Registry};
use t2m_engine::program::signatures::{Signature, layer};
use t2m_engine::program::{Dialect, MlxLayer, MlxOp, Operand, Step};
use t2m_engine::{ModuleSpec, Program};

/// Random configurations of every class.
const RANDOM: &[u8] = include_bytes!("../../assets/samples/random.jsonl.gz");

/// The plans of a whole, each with the expression that builds its sample and the recipe that made it.
fn plans(samples: &[Sample], whole: &SampleModel) -> Vec<(String, Option<Recipe>, Plan)> {
    let registry = &whole.opened.registry;
    let plan = |(index, sample): (usize, &Sample)| {
        let plan = whole.triage(index)?.plan.clone()?;
        let recipe = registry.layer(sample.class()).and_then(|row| row.recipe);
        Some((sample.build.clone(), recipe, plan))
    };
    samples.iter().enumerate().filter_map(plan).collect()
}

/// The plans of all samples: of layers, of classes from elsewhere, of random configurations, and of blocks.
fn all() -> Vec<(String, Option<Recipe>, Plan)> {
    let registry = Arc::new(Registry::load(&[]).unwrap());
    let mut text = String::new();
    GzDecoder::new(RANDOM).read_to_string(&mut text).unwrap();
    let layers = [super::built_in().unwrap(), super::zoo().unwrap(), super::parse(&text).unwrap()].concat();
    let blocks = super::blocks().unwrap();
    let mut all = plans(&layers, &SampleModel::new(&layers, registry.clone()));
    all.extend(plans(&blocks, &SampleModel::of_blocks(&blocks, registry)));
    all
}

/// Tensors of the module that the program takes by name.
fn own_tensors(program: &Program) -> Vec<&str> {
    fn names(operand: &Operand) -> Vec<&str> {
        match operand {
            Operand::Name(name) => name.strip_prefix("self.").into_iter().collect(),
            Operand::List(operands) => operands.iter().flat_map(names).collect(),
            Operand::Number(_) | Operand::Flag(_) | Operand::Constant { .. } => Vec::new(),
        }
    }
    program.steps.iter().flat_map(|step| &step.inputs).flat_map(names).collect()
}

fn fault(plan: &Plan) -> Option<String> {
    if let Err(fault) = plan.mlx.check() {
        return Some(fault.to_string());
    }
    let program = plan.mlx.program.as_ref()?;
    if (program.inputs.len(), program.outputs.len()) != (plan.inputs.len(), plan.outputs.len()) {
        return Some("the program has other inputs or outputs than its plan".to_owned());
    }
    let moved = |name: &str| plan.weights.iter().any(|step| step.to == name);
    let missing = own_tensors(program).into_iter().find(|name| !moved(name))?;
    Some(format!("no weight is moved to `{missing}`"))
}

#[test]
fn every_recipe_makes_programs_that_the_table_knows() {
    let plans = all();
    let faults: Vec<String> =
        plans.iter().filter_map(|(build, _, plan)| Some(format!("{build}: {}", fault(plan)?))).collect();
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), plans.len(), faults.join("\n"));
    let planned: BTreeSet<Recipe> = plans.iter().filter_map(|(_, recipe, _)| *recipe).collect();
    let left: Vec<&Recipe> = Recipe::ALL.iter().filter(|recipe| !planned.contains(recipe)).collect();
    assert!(left.is_empty(), "no sample is planned by {left:?}");
    assert!(plans.len() >= 900, "{} plans", plans.len());
}

/// Each call and each argument that occurs in a plan, misspelt by one letter.
#[test]
fn whatever_is_misspelt_is_caught() {
    let (mut seen, mut tried) = (BTreeSet::new(), 0);
    for (build, _, plan) in all() {
        let alone = plan.mlx.program.is_none().then_some(&plan.mlx);
        let program = plan.mlx.program.clone().unwrap_or_default();
        for layer in program.layers.values().chain(alone) {
            if seen.insert(key(&layer.kind, &layer.args)) {
                for misspelt in misspelt_layer(layer) {
                    assert!(misspelt.check().is_err(), "{build}: {misspelt:?}");
                    tried += 1;
                }
            }
        }
        for step in program.steps.iter().filter(|step| step.layer().is_none()) {
            if seen.insert(key(&step.call, &step.args)) {
                assert_eq!(alone_in_a_program(step).check(Dialect::Mlx), Ok(()), "{build}");
                for misspelt in misspelt_step(step) {
                    let caught = alone_in_a_program(&misspelt).check(Dialect::Mlx).is_err();
                    assert!(caught, "{build}: {}", misspelt.python());
                    tried += 1;
                }
            }
        }
    }
    assert!(tried >= 400, "{tried} were tried");
}

/// A call and the names of its arguments: most configurations of a class have the same.
fn key(call: &str, args: &Map<String, Value>) -> String {
    args.keys().fold(call.to_owned(), |key, name| format!("{key} {name}"))
}

/// A program that is this step alone, given what the step takes.
fn alone_in_a_program(step: &Step) -> Program {
    fn variables(operand: &Operand) -> Vec<String> {
        match operand {
            Operand::Name(name) => vec![name.clone()],
            Operand::List(operands) => operands.iter().flat_map(variables).collect(),
            Operand::Number(_) | Operand::Flag(_) | Operand::Constant { .. } => Vec::new(),
        }
    }
    Program {
        inputs: step.inputs.iter().flat_map(variables).collect(),
        steps: vec![step.clone()],
        outputs: step.to.clone(),
        ..Program::default()
    }
}

fn misspelt_step(step: &Step) -> Vec<Step> {
    let changed = |change: &dyn Fn(&mut Step)| {
        let mut step = step.clone();
        change(&mut step);
        step
    };
    let arguments = step.args.keys().map(|name| {
        changed(&|step| {
            let value = step.args.shift_remove(name).unwrap_or_default();
            step.args.insert(format!("{name}x"), value);
        })
    });
    std::iter::once(changed(&|step| step.call.push('x'))).chain(arguments).collect()
}

fn misspelt_layer(spec: &ModuleSpec) -> Vec<ModuleSpec> {
    let mut all = vec![ModuleSpec { kind: format!("{}x", spec.kind), ..spec.clone() }];
    for name in spec.args.keys() {
        let mut spec = spec.clone();
        let value = spec.args.shift_remove(name).unwrap_or_default();
        spec.args.insert(format!("{name}x"), value);
        all.push(spec);
    }
    all
}

#[test]
fn every_example_calls_what_the_table_knows() {
    let registry = Registry::load(&[]).unwrap();
    let samples = ops::ops(&registry).unwrap();
    let examples = samples.iter().filter_map(|sample| Some((&sample.torch, sample.example.as_ref()?)));
    let dtypes = dtypes::dtypes(&registry).unwrap();
    let casts = dtypes.iter().map(|sample| (&sample.torch, &sample.job));
    let mut checked = 0;
    for (name, job) in examples.chain(casts) {
        let torch = job.plan.torch.program.as_ref().unwrap();
        torch.check(Dialect::Torch).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        job.plan.mlx.check().unwrap_or_else(|fault| panic!("{name}: {fault}"));
        checked += 1;
    }
    assert!(checked > 150, "{checked} examples");
    // A naive example is what one would write, and MLX may refuse it; torch's side is right.
    for (name, job) in samples.iter().filter_map(|sample| Some((&sample.torch, sample.naive.as_ref()?))) {
        let torch = job.plan.torch.program.as_ref().unwrap();
        torch.check(Dialect::Torch).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    }
}

/// A mistake has to be caught by its numbers: it may leave out a required argument, but calls nothing that MLX lacks.
#[test]
fn every_mistake_calls_what_the_table_knows() {
    let samples = super::built_in().unwrap();
    let whole = SampleModel::new(&samples, Arc::new(Registry::load(&[]).unwrap()));
    for mistake in naive::built_in().unwrap().iter().filter(|mistake| mistake.expect != "failed") {
        let Some(index) = samples.iter().position(|sample| sample.build == mistake.build) else { continue };
        let mut plan = whole.triage(index).unwrap().plan.clone().unwrap();
        mistake.make(&mut plan).unwrap_or_else(|fault| panic!("{}: {fault}", mistake.name));
        let fault = plan.mlx.check().err().map(|fault| fault.to_string()).unwrap_or_default();
        assert!(fault.is_empty() || fault.ends_with("is missing"), "{}: {fault}", mistake.name);
    }
}

/// The functions and arguments that the rows of the registry name are those of the table.
#[test]
fn every_row_names_what_the_table_knows() {
    let registry = Registry::load(&[]).unwrap();
    for op in registry.ops() {
        let torch = Signature::of(Dialect::Torch, &op.torch.replacen("x.", "Tensor.", 1));
        // `x.astype` is a method, `x.at[...].add` no function.
        let mlx = op.mlx.strip_prefix("x.").unwrap_or(&op.mlx);
        let in_module = ["mx.", "nn."].iter().any(|module| mlx.starts_with(module));
        let known = MlxOp::named(mlx).is_some() || MlxLayer::named(mlx).is_some();
        assert!(known || !in_module || op.mlx_example.is_none(), "{}: {mlx} is in no program", op.torch);
        for (from, to) in &op.renames {
            let knows = |signature: &Signature, name: &str| signature.parameter(name).is_some();
            // Behind the name may stand what its values are: `pad_width: (before, after) of each axis`.
            let to = to.split(": ").next().unwrap_or(to);
            assert!(torch.is_none_or(|torch| knows(torch, from)), "{}: torch has no `{from}`", op.torch);
            let mlx = Signature::of(Dialect::Mlx, mlx);
            assert!(mlx.is_none_or(|mlx| knows(mlx, to)), "{}: MLX has no `{to}`", op.torch);
        }
    }
    for (_, class) in registry.classes() {
        let Some(target) = class.mlx.as_deref().filter(|target| target.starts_with("nn.")) else { continue };
        let parameters = layer(target).map(|parameters| parameters.iter().map(|p| p.name.as_str()).collect::<Vec<_>>());
        let function = Signature::of(Dialect::Mlx, target);
        assert!(parameters.is_some() || function.is_some(), "{}: {target} is in no program", class.class);
        if let Some(parameters) = parameters {
            let odd = class.args.keys().find(|name| !parameters.contains(&name.as_str()));
            assert!(odd.is_none(), "{}: {target} takes no {odd:?}", class.class);
        }
    }
}
