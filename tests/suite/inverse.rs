//! The way back of weights: what every plan makes of torch's tensors comes back by its own moves.

use std::sync::Arc;

use t2m_checkpoint::TensorData;
use t2m_tui::certify::{SampleModel, built_in};
use t2m_tui::plan::recipes::Site;
use t2m_tui::plan::weights::invert;
use t2m_tui::plan::{Move, random, recipes};
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
    let whole = SampleModel::new(&samples, Arc::new(Registry::load(&[]).unwrap()));
    let (model, checkpoint) = (&whole.opened.model, &whole.opened.checkpoint);
    let mut plans = 0;
    for (at, &module) in whole.modules.iter().enumerate() {
        let Some(plan) = whole.triage(at).and_then(|triage| triage.plan.as_ref()) else { continue };
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

#[test]
fn shapes_and_layouts_without_hyper_parameters_agree_with_every_plan() {
    let samples = built_in().unwrap();
    let whole = SampleModel::new(&samples, Arc::new(Registry::load(&[]).unwrap()));
    let (model, checkpoint, registry) = (&whole.opened.model, &whole.opened.checkpoint, &whole.opened.registry);
    let find = |module| move |name: &String| model.tensor(module, name);
    let (mut shapes, mut layouts) = (0, 0);
    for (at, &module) in whole.modules.iter().enumerate() {
        let Some(plan) = whole.triage(at).and_then(|triage| triage.plan.as_ref()) else { continue };
        for step in &plan.weights {
            let tensor = |name: &String| {
                let tensor = &checkpoint.tensors[find(module)(name).unwrap()];
                random::tensor(name, &tensor.shape.iter().map(|&axis| axis as usize).collect::<Vec<_>>(), 7)
            };
            let sources: Vec<TensorData> = step.from.iter().map(tensor).collect();
            let known: Vec<&[usize]> = sources.iter().map(|source| source.shape.as_slice()).collect();
            let made = step.apply(&sources.iter().collect::<Vec<_>>()).unwrap();
            assert_eq!(step.shape(&known).unwrap(), made.shape, "{}: {}", samples[at].build, step.to);
            shapes += 1;
        }
        let Some(row) = registry.layer(&model.modules[module].class) else { continue };
        let site = Site::new(checkpoint, model, registry, module, row);
        if let Ok(moves) = recipes::moves_by_class(&site) {
            assert_eq!(moves, plan.weights, "{}", samples[at].build);
            layouts += usize::from(!moves.is_empty());
        }
        // Of what a layer has nothing is lost but the counter.
        let moved: Vec<usize> = plan.weights.iter().flat_map(|step| &step.from).filter_map(find(module)).collect();
        let below = model.modules[module..model.modules[module].end].iter().flat_map(|module| &module.tensors);
        for own in below.filter(|own| own.tensor.is_some_and(|id| !moved.contains(&id))) {
            assert_eq!(own.name, "num_batches_tracked", "{}", samples[at].build);
        }
    }
    assert!(shapes > 500 && layouts > 100, "{shapes} shapes, {layouts} layouts");
}
