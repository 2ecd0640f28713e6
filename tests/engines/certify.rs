//! The registry's rows, measured: every configuration of `assets/samples` with randomised weights, in both engines.

use std::io::Read;
use std::sync::Arc;

use t2m_checkpoint::Dtype;
use t2m_engine::program::signatures::layer;
use t2m_tui::certify::{Sample, SampleModel, blocks, built_in, parse, zoo};
use t2m_tui::compare::Verdict;
use t2m_tui::plan::naive;
use t2m_tui::registry::Registry;

fn registry() -> Arc<Registry> {
    Arc::new(Registry::load(&[]).unwrap())
}

/// Run samples, print each outcome, and fail for any that is not exact or ok (or has no conversion, with a reason). The
/// verdict is float32's; of half precision it counts that it runs. What is not measured is returned.
fn certify(samples: &[Sample], seed: u64, dtypes: &[Dtype]) -> Vec<String> {
    let (mut bad, mut unmeasured) = (Vec::new(), Vec::new());
    let mut counts = std::collections::BTreeMap::new();
    let measured = SampleModel::new(samples, registry()).run(2, dtypes, seed, |_| {});
    for (sample, outcome) in samples.iter().zip(measured.outcomes) {
        let reason = outcome.reason.clone().unwrap_or_default();
        let numbers = outcome.worst(Dtype::Float32).map_or(String::new(), |trial| {
            let Some(apart) = &trial.apart else { return "another shape".to_owned() };
            let (torch, mlx) = (trial.torch_vs_f64, apart.mlx_vs_f64);
            format!("{:9.1e} {:6.2} {torch:9.1e} {mlx:9.1e}", apart.max_abs, trial.badness())
        });
        println!("{:<8} {numbers:<40} {}  {}", outcome.verdict.name(), sample.build, reason);
        *counts.entry(outcome.verdict.name()).or_insert(0) += 1;
        let said = format!("{} {}: {}", sample.build, outcome.verdict.name(), reason);
        match outcome.verdict {
            // "in float16: …" says that half precision failed.
            Verdict::Exact | Verdict::Ok if !reason.starts_with("in ") => {}
            Verdict::NotRun => unmeasured.push(said),
            _ => bad.push(said),
        }
    }
    println!("{} configurations: {counts:?}", samples.len());
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), samples.len(), bad.join("\n"));
    unmeasured
}

#[test]
fn every_configuration_passes() {
    certify(&built_in().unwrap(), 7, &[Dtype::Float32]);
}

/// What is not measured as a whole: weights that are computed, frequencies that change, and what converts child by child.
const UNMEASURED: [&str; 17] = [
    "spectral_norm(",
    "parametrizations.weight_norm(nn.Conv1d(",
    "'rope_type': 'dynamic'",
    "'rope_type': 'longrope'",
    "nn.ModuleList(",
    "nn.ModuleDict(",
    "ops.Conv2dNormActivation(",
    "ops.Conv3dNormActivation(",
    "ops.SqueezeExcitation(",
    "layers.SelectAdaptivePool2d(",
    "layers.SEModule(",
    "layers.EffectiveSEModule(",
    "layers.EcaModule(",
    "layers.Mlp(",
    "layers.SwiGLU(",
    "layers.GluMlp(",
    "layers.PatchEmbed(",
];

#[test]
fn every_class_of_the_zoo_passes() {
    let unmeasured = certify(&zoo().unwrap(), 7, &[Dtype::Float32, Dtype::Float16, Dtype::BFloat16]);
    let unexplained = unmeasured.iter().filter(|said| !UNMEASURED.iter().any(|known| said.contains(known)));
    let unexplained: Vec<&String> = unexplained.collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}

/// The blocks of `t2m-mlx`, each in the place of the layers that it stands for.
#[test]
fn every_block_passes() {
    let samples = blocks().unwrap();
    let whole = SampleModel::of_blocks(&samples, registry());
    let measured = whole.run(2, &[Dtype::Float32, Dtype::Float16, Dtype::BFloat16], 7, |_| {});
    let mut seen = std::collections::BTreeSet::new();
    for (index, (sample, outcome)) in samples.iter().zip(measured.outcomes).enumerate() {
        let block = whole.block(index).unwrap_or_else(|| panic!("{} is no block", sample.build));
        seen.insert(block.name);
        assert!(outcome.verdict.passes(), "{}: {outcome:?}", block.call());
        for trial in &outcome.trials {
            assert_eq!(trial.mlx_dtype, trial.dtype, "{}", block.call());
        }
    }
    assert_eq!(Vec::from_iter(seen), ["AdaptiveAvgPool2d", "ConvBlock", "ConvStack", "MLP", "TransformerBlock"]);
}

/// A block whose norm and activation, or whose weights, are not those of the layers is seen.
#[test]
fn a_wrong_block_is_caught() {
    let samples: Vec<Sample> =
        blocks().unwrap().into_iter().filter(|sample| sample.build.contains("Conv2d(3")).collect();
    assert_eq!(samples.len(), 2);
    for (name, value) in [("activation", serde_json::json!(null)), ("norm", serde_json::json!(1e-2))] {
        let whole = SampleModel::of_blocks(&samples, registry());
        let mut plans: Vec<_> = (0..2).map(|at| whole.block(at).unwrap().plan.clone().unwrap()).collect();
        for plan in &mut plans {
            let first = plan.mlx.args.get_mut("blocks").and_then(|blocks| blocks[0].as_object_mut());
            match first {
                Some(block) => block.insert(name.to_owned(), value.clone()),
                None => plan.mlx.args.insert(name.to_owned(), value.clone()),
            };
        }
        let whole = SampleModel::of_plans(&samples, registry(), plans);
        for outcome in whole.run(2, &[Dtype::Float32], 7, |_| {}).outcomes {
            assert_eq!(outcome.verdict, Verdict::Broken, "{name}: {outcome:?}");
        }
    }
}

/// Random configurations of every class: `random.jsonl.gz`, or the file that `T2M_SAMPLES` names (`assets/samples/make.py
/// --random 3200 FILE` makes a nightly one).
#[test]
fn random_configurations_pass() {
    let path = std::env::var("T2M_SAMPLES").unwrap_or_else(|_| "assets/samples/random.jsonl.gz".to_owned());
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(&path).expect(&path)).read_to_string(&mut text).unwrap();
    let samples = parse(&text).unwrap();
    assert!(samples.len() >= 300, "{} samples", samples.len());
    certify(&samples, 11, &[Dtype::Float32]);
}

/// Every deliberate mistake is seen in float32, as the size says.
#[test]
fn every_mistake_is_caught() {
    let samples = built_in().unwrap();
    let mistakes = naive::built_in().unwrap();
    assert!(mistakes.len() >= 60, "{} mistakes", mistakes.len());
    let in_order: Vec<Sample> =
        mistakes.iter().map(|mistake| Sample::of(mistake, &samples).expect(&mistake.build).clone()).collect();
    let whole = SampleModel::altered(&in_order, registry(), |index, plan| {
        let mistake = &mistakes[index];
        mistake.make(plan).unwrap_or_else(|reason| panic!("{} in {}: {reason}", mistake.name, mistake.build));
    });
    let measured = whole.run(2, &[Dtype::Float32], 7, |_| {});
    let mut missed = Vec::new();
    for (mistake, outcome) in mistakes.iter().zip(measured.outcomes) {
        let verdict = outcome.verdict.name();
        let numbers = outcome
            .worst(Dtype::Float32)
            .and_then(|trial| Some(format!("{:9.1e} {:12.1}", trial.max_abs()?, trial.excess()?)))
            .unwrap_or_default();
        let said = format!("{verdict:<7} {numbers:<24} {}: {}", mistake.build, mistake.name);
        println!("{said}  {}", outcome.reason.unwrap_or_default());
        if verdict != mistake.expect {
            missed.push(format!("expected {}: {said}", mistake.expect));
        }
    }
    assert!(missed.is_empty(), "{} of {}:\n{}", missed.len(), mistakes.len(), missed.join("\n"));
}

/// A registry file's argument with a value that no layer takes, on every class: what reaches MLX's side does not pass there.
#[test]
fn a_wrong_argument_never_passes() {
    let rows = registry();
    let mut seen = std::collections::BTreeSet::new();
    let all = [t2m_tui::certify::built_in().unwrap(), zoo().unwrap()].concat();
    let samples: Vec<Sample> = all.into_iter().filter(|sample| seen.insert(sample.class().to_owned())).collect();
    let parameters = |class: &str| {
        let mlx = rows.layer(class).and_then(|row| row.mlx.as_deref()).unwrap_or_default();
        layer(mlx).unwrap_or_default()
    };
    let most = samples.iter().map(|sample| parameters(sample.class()).len()).max().unwrap();
    let (mut tried, mut passed) = (0, Vec::new());
    for turn in 0..most {
        let mut file = String::new();
        let samples: Vec<Sample> =
            samples.iter().filter(|sample| parameters(sample.class()).get(turn).is_some()).cloned().collect();
        for sample in &samples {
            let (class, name) = (sample.class(), &parameters(sample.class())[turn].name);
            file += &format!("[[layer]]\nclass = {class:?}\nargs = {{ {name} = \"wrong\" }}\n");
        }
        let mut registry = Registry::load(&[]).unwrap();
        registry.apply(std::path::Path::new("registry.toml"), &file).unwrap();
        let measured = SampleModel::new(&samples, Arc::new(registry)).run(1, &[Dtype::Float32], 7, |_| {});
        for (sample, outcome) in samples.iter().zip(measured.outcomes) {
            tried += 1;
            if matches!(outcome.verdict, Verdict::Exact | Verdict::Ok) {
                passed.push(format!("{} with {}", sample.build, parameters(sample.class())[turn].name));
            }
        }
    }
    println!("{tried} tried");
    assert!(tried > 300, "{tried}");
    assert!(passed.is_empty(), "{} of {tried}:\n{}", passed.len(), passed.join("\n"));
}

/// Every twin that `--naive` would run of every sample.
#[test]
fn each_naive_twin_differs_from_torch() {
    let registry = registry();
    let samples: Vec<Sample> = built_in().unwrap().into_iter().chain(zoo().unwrap()).collect();
    let model = SampleModel::new(&samples, registry.clone());
    let (mut own, mut plans, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (number, sample) in samples.iter().enumerate() {
        let Some(plan) = model.triage(number).and_then(|triaged| triaged.plan.as_ref()) else { continue };
        for (name, twin) in naive::twins(plan) {
            own.push(sample.clone());
            plans.push(twin);
            names.push(name);
        }
    }
    assert!(own.len() > 300, "{} twins", own.len());
    let measured = SampleModel::of_plans(&own, registry, plans).run(1, &[Dtype::Float32], 7, |_| {});
    let mut same = Vec::new();
    for ((sample, name), outcome) in own.iter().zip(&names).zip(measured.outcomes) {
        if matches!(outcome.verdict, Verdict::Exact | Verdict::Ok | Verdict::NotRun) {
            same.push(format!("{} {name}: {} {:?}", sample.build, outcome.verdict.name(), outcome.reason));
        }
    }
    assert!(same.is_empty(), "{} of {}:\n{}", same.len(), own.len(), same.join("\n"));
}
