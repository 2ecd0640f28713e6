//! The way back of weights: what every plan makes of torch's tensors comes back by its own moves.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::sync::Arc;

use t2m_tui::certify::{Bench, built_in};
use t2m_tui::checkpoint::TensorData;
use t2m_tui::convert::weights::invert;
use t2m_tui::convert::{Move, random, recipes};
use t2m_tui::registry::Registry;

/// MLX's tensors by the moves of a plan.
fn moved(moves: &[Move], torch: &[(String, TensorData)]) -> Vec<(String, TensorData)> {
    let source = |name: &String| &torch.iter().find(|(known, _)| known == name).unwrap().1;
    let apply = |step: &Move| step.apply(&step.from.iter().map(source).collect::<Vec<_>>()).unwrap();
    moves.iter().map(|step| (step.to.clone(), apply(step))).collect()
}

/// Whether two tensors agree but for the last rounding of what a fold computes.
fn alike(a: &TensorData, b: &TensorData) -> bool {
    let close = |(a, b): (f64, f64)| (a - b).abs() <= 2.0 * f64::from(f32::EPSILON) * a.abs();
    a.shape == b.shape && a.to_f64().unwrap().into_iter().zip(b.to_f64().unwrap()).all(close)
}

#[test]
fn every_plan_of_the_samples_goes_back() {
    let samples = built_in().unwrap();
    let bench = Bench::new(&samples, Arc::new(Registry::load(&[]).unwrap()));
    let (model, checkpoint) = (&bench.opened.model, &bench.opened.checkpoint);
    let mut plans = 0;
    for (at, &module) in bench.modules.iter().enumerate() {
        let Some(plan) = bench.triage(at).and_then(|triage| triage.plan.as_ref()) else { continue };
        let shape = |name: &str| {
            let tensor = &checkpoint.tensors[model.tensor(module, name)?];
            Some(tensor.shape.iter().map(|&axis| axis as usize).collect::<Vec<usize>>())
        };
        let names = plan.weights.iter().flat_map(|step| &step.from);
        let torch: Vec<_> = names.map(|name| (name.clone(), random::tensor(name, &shape(name).unwrap(), 7))).collect();
        let mlx = moved(&plan.weights, &torch);
        let back = invert(&plan.weights, &mlx, shape).unwrap_or_else(|error| panic!("{}: {error}", samples[at].build));
        // Every tensor of torch that was used is there again, in its shape, and gives the same MLX tensors.
        for (name, tensor) in &back {
            assert_eq!(Some(&tensor.shape), shape(name).as_ref(), "{}: {name}", samples[at].build);
        }
        for ((name, wanted), (_, got)) in mlx.iter().zip(moved(&plan.weights, &back)) {
            assert!(alike(wanted, &got), "{}: {name}", samples[at].build);
        }
        plans += usize::from(!plan.weights.is_empty());
    }
    assert!(plans > 100, "{plans} plans move weights");
}
