//! No file steers its own measurement: what only we say of a layer is never looked up among a file's attributes, and an
//! attribute counts for a class alone that has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use t2m_engine::own;
use t2m_tui::certify::{self, Sample, SampleModel};
use t2m_tui::plan::Plan;
use t2m_tui::plan::call::{Call, Mask, Targets};
use t2m_tui::plan::recipes::Setting;
use t2m_tui::registry::{Attribute, Registry};

fn registry() -> Arc<Registry> {
    Arc::new(Registry::load(&[]).unwrap())
}

/// All samples but those of parametrized layers, which have the attributes of the layer that each stands for.
fn samples() -> Vec<Sample> {
    let all = [certify::built_in().unwrap(), certify::zoo().unwrap(), certify::blocks().unwrap()].concat();
    all.into_iter().filter(|sample| !sample.class().starts_with("torch.nn.utils.parametrize.")).collect()
}

/// The first sample of each class, and those that are called in another way than the default.
fn one_of_each() -> Vec<Sample> {
    let mut seen = BTreeSet::new();
    samples().into_iter().filter(|sample| seen.insert(sample.class().to_owned()) || sample.call.is_some()).collect()
}

/// Every key of a value and of the values in it.
fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| {
            into.insert(key.clone());
            keys(value, into);
        }),
        Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
        _ => {}
    }
}

/// Every name of ours, out of the types that hold them: a field that is added to one of them is tried as well.
fn names_of_ours() -> BTreeSet<String> {
    let told = own::Told {
        call: Some(own::Call {
            inputs: Some(Vec::new()),
            scalars: ["need_weights", "output_size"].map(|name| (name.to_owned(), json!(1))).into_iter().collect(),
        }),
        tensors: [("weight".to_owned(), "bias".to_owned())].into_iter().collect(),
        weight_norm: Some(own::WeightNorm { norm: "g".to_owned(), dim: Some(0) }),
        modules: Some([("layers.0".to_owned(), Map::new())].into_iter().collect()),
    };
    let call = Call {
        inputs: Some(Vec::new()),
        masks: [("attn_mask".to_owned(), Mask::Bool)].into_iter().collect(),
        targets: Some(Targets::Spatial),
        need_weights: Some(true),
        average_attn_weights: Some(true),
        is_causal: Some(true),
    };
    let mut names: BTreeSet<String> = Setting::ALL.iter().map(|setting| setting.name().to_owned()).collect();
    keys(&serde_json::to_value(told).unwrap(), &mut names);
    keys(&serde_json::to_value(call).unwrap(), &mut names);
    // What recipes hand to torch's side under names that no class has.
    names.extend(["told", "kind", "args", "program", "frequencies", "layers", "children", "before"].map(str::to_owned));
    names.remove("weight");
    names
}

/// What a hostile file might say under such a name.
fn hostile() -> Vec<Value> {
    vec![
        json!({"weight": "bias", "bias": "weight", "inputs": ["key", "query", "value"], "need_weights": true,
               "masks": {"attn_mask": "causal"}, "norm": "bias", "dim": 0, "targets": "spatial"}),
        json!(["hidden_states", "weight"]),
        json!(1.5),
    ]
}

/// The names that a class has: in any of its samples, or by its row.
fn known(samples: &[Sample], registry: &Registry) -> BTreeMap<String, BTreeSet<String>> {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in samples.iter().flat_map(Sample::modules) {
        let names = known.entry(module.class.clone()).or_default();
        names.extend(module.attributes.keys().cloned());
        if let Some(row) = registry.layer(&module.class) {
            names.extend(row.attributes.values().filter_map(|from| match from {
                Attribute::Own(name) => Some(name.clone()),
                Attribute::Constant(_) => None,
            }));
        }
    }
    known
}

/// A sample with these attributes more, each in every module whose class does not have it.
fn with_attributes<'a>(
    sample: &Sample,
    known: &BTreeMap<String, BTreeSet<String>>,
    attributes: impl IntoIterator<Item = (&'a str, &'a Value)> + Clone,
) -> Sample {
    sample.altered(|modules| {
        for module in modules {
            let class = &known[&module.class];
            let more = attributes.clone().into_iter().filter(|(name, _)| !class.contains(*name));
            module.attributes.extend(more.map(|(name, value)| (name.to_owned(), value.clone())));
        }
    })
}

fn plans(samples: &[Sample], registry: &Arc<Registry>) -> Vec<Result<Plan, String>> {
    let plans = samples.chunks(200).flat_map(|samples| {
        let whole = SampleModel::new(samples, registry.clone());
        let plan = |index: usize| {
            let triaged = whole.triage(index).unwrap();
            triaged.runs().cloned().ok_or_else(|| triaged.reason.clone())
        };
        (0..samples.len()).map(plan).collect::<Vec<_>>()
    });
    plans.collect()
}

/// The plan as both sides see it, without an attribute that the file holds: torch's own classes are told all of theirs.
fn without(plan: Plan, names: &[&str]) -> Plan {
    names.iter().fold(plan, |plan, name| without_one(plan, name))
}

fn without_one(mut plan: Plan, name: &str) -> Plan {
    if !plan.torch.kind.starts_with(own::PREFIX) {
        plan.torch.args.shift_remove(name);
    }
    if let Some(told) = &mut plan.torch.told {
        told.modules.iter_mut().flat_map(BTreeMap::values_mut).for_each(|own| {
            own.shift_remove(name);
        });
    }
    let kind = plan.torch.kind.clone();
    if let Some(Value::Array(parts)) = plan.torch.args.get_mut("layers").filter(|_| kind == "t2m.sequence") {
        for part in parts.iter_mut().filter(|part| !part["kind"].as_str().unwrap().starts_with(own::PREFIX)) {
            part["args"].as_object_mut().unwrap().shift_remove(name);
        }
    }
    if let Some(Value::Array(children)) = plan.torch.args.get_mut("children").filter(|_| kind.ends_with("Sequential")) {
        for child in children {
            child[1]["args"].as_object_mut().unwrap().shift_remove(name);
        }
    }
    plan
}

/// What these attributes change of the samples' plans, all at once where that is nothing, else one after the other.
fn steered(
    samples: &[Sample],
    plain: &[Result<Plan, String>],
    registry: &Arc<Registry>,
    attributes: &[(&str, &Value)],
    refused: bool,
) -> Vec<String> {
    let known = known(&self::samples(), registry);
    let differs = |plain: &Result<Plan, String>, other: &Result<Plan, String>, names: &[&str]| {
        let without = |plan: &Result<Plan, String>| plan.clone().map(|plan| without(plan, names));
        // What it does not know may be refused by name, if it is no name of ours; it may not be obeyed.
        match (plain, other) {
            (Ok(_), Err(_)) => refused,
            _ => without(plain) != without(other),
        }
    };
    let mut wrong = Vec::new();
    let mut sets: Vec<(usize, &[(&str, &Value)])> = (0..samples.len()).map(|index| (index, attributes)).collect();
    // A set that changes something is halved until it is one attribute.
    while !sets.is_empty() {
        let altered: Vec<Sample> =
            sets.iter().map(|(index, set)| with_attributes(&samples[*index], &known, set.iter().copied())).collect();
        let mut halves = Vec::new();
        for (&(index, set), other) in sets.iter().zip(plans(&altered, registry)) {
            let names: Vec<&str> = set.iter().map(|(name, _)| *name).collect();
            let refuses = plain[index].is_ok() && other.is_err();
            match set {
                _ if !refuses && !differs(&plain[index], &other, &names) => {}
                [(name, value)] if differs(&plain[index], &other, &names) => {
                    wrong.push(format!("{}: {name} = {value}", samples[index].build));
                }
                [_] => {}
                _ => halves.extend([(index, &set[..set.len() / 2]), (index, &set[set.len() / 2..])]),
            }
        }
        sets = halves;
    }
    wrong
}

#[test]
fn names_of_ours_in_a_file_change_nothing() {
    let (registry, samples, names) = (registry(), samples(), names_of_ours());
    assert!(names.len() > 30 && samples.len() > 700, "{} {}", names.len(), samples.len());
    let plain = plans(&samples, &registry);
    for value in hostile() {
        let attributes: Vec<(&str, &Value)> = names.iter().map(|name| (name.as_str(), &value)).collect();
        let wrong = steered(&samples, &plain, &registry, &attributes, true);
        assert!(wrong.is_empty(), "{}: {:#?}", wrong.len(), &wrong[..wrong.len().min(40)]);
    }
}

#[test]
fn an_attribute_counts_for_a_class_that_has_it() {
    let (registry, all, samples) = (registry(), samples(), one_of_each());
    // Each name with values that some class has under it.
    let mut values: BTreeMap<&str, BTreeMap<String, &Value>> = BTreeMap::new();
    for module in all.iter().flat_map(Sample::modules) {
        for (name, value) in &module.attributes {
            values.entry(name).or_default().insert(value.to_string(), value);
        }
    }
    assert!(values.len() > 100, "{}", values.len());
    let first = values.iter().map(|(name, values)| (*name, *values.values().next().unwrap()));
    let last = values.iter().map(|(name, values)| (*name, *values.values().next_back().unwrap()));
    let plain = plans(&samples, &registry);
    for attributes in [first.collect::<Vec<_>>(), last.collect()] {
        let wrong = steered(&samples, &plain, &registry, &attributes, false);
        assert!(wrong.is_empty(), "{}: {:#?}", wrong.len(), &wrong[..wrong.len().min(60)]);
    }
}

/// What an attribute may hold in a damaged or hostile file.
fn mutations(value: &Value) -> Vec<Value> {
    let mut all = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(2),
        json!(-1),
        json!(u64::MAX),
        json!("nan"),
        json!("relu"),
        json!([2, 3]),
        json!({"class": "mine.Thing"}),
    ];
    if let Some(number) = value.as_f64() {
        all.extend([json!(number + 1.0), json!(-number), json!(number * 0.5)]);
    }
    if let Some(number) = value.as_i64() {
        all.push(json!(number + 1));
    }
    all.retain(|other| other != value);
    all
}

#[test]
fn what_changes_mlx_is_told_to_torch() {
    let (registry, samples) = (registry(), one_of_each());
    let plain = plans(&samples, &registry);
    let (mut altered, mut of, mut count) = (Vec::new(), Vec::new(), 0);
    for (index, sample) in samples.iter().enumerate() {
        // Of a stack one layer is like the other: there, a few stand for all.
        let every = if sample.modules().len() > 1 { 29 } else { 3 };
        for (at, module) in sample.modules().iter().enumerate() {
            for (name, value) in &module.attributes {
                for other in std::iter::once(None).chain(mutations(value).into_iter().map(Some)) {
                    count += 1;
                    if count % every != 0 {
                        continue;
                    }
                    of.push((index, format!("{}.{name}: {other:?}", module.path)));
                    altered.push(sample.altered(|modules| match other {
                        Some(other) => drop(modules[at].attributes.insert(name.clone(), other)),
                        None => drop(modules[at].attributes.shift_remove(name)),
                    }));
                }
            }
        }
    }
    let mut obeyed = 0;
    for (mutated, (index, what)) in plans(&altered, &registry).into_iter().zip(of) {
        let (Ok(mutated), Ok(plain)) = (mutated, &plain[index]) else { continue };
        if mutated.mlx != plain.mlx || mutated.weights != plain.weights {
            assert_ne!(mutated.torch, plain.torch, "{}: {what}", samples[index].build);
            obeyed += 1;
        }
    }
    assert!(altered.len() > 3_000 && obeyed > 200, "{} {obeyed}", altered.len());
}

/// A verdict over a file whose attributes were tampered with is one on which both sides agree, or no verdict.
#[cfg(feature = "engine-tests")]
#[test]
fn both_engines_run_a_tampered_layer_alike() {
    use t2m_checkpoint::Dtype;
    use t2m_tui::compare::Verdict;

    let registry = registry();
    // One in so many: `T2M_EVERY=1` runs them all.
    let every: usize = std::env::var("T2M_EVERY").ok().and_then(|every| every.parse().ok()).unwrap_or(17);
    let (mut altered, mut of, mut count) = (Vec::new(), Vec::new(), 0);
    for sample in one_of_each() {
        for (at, module) in sample.modules().iter().enumerate() {
            if at > 6 {
                continue;
            }
            for (name, value) in &module.attributes {
                for other in mutations(value) {
                    count += 1;
                    if count % every != 0 {
                        continue;
                    }
                    of.push(format!("{} {}: {}.{name} = {other}", sample.class(), sample.build, module.path));
                    altered.push(sample.altered(|modules| drop(modules[at].attributes.insert(name.clone(), other))));
                }
            }
        }
    }
    let measured = SampleModel::new(&altered, registry).run(1, &[Dtype::Float32], 7, |_| {});
    assert_eq!(measured.outcomes.len(), altered.len());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut apart = Vec::new();
    for (outcome, what) in measured.outcomes.iter().zip(&of) {
        *counts.entry(outcome.verdict.name()).or_default() += 1;
        if matches!(outcome.verdict, Verdict::Drift | Verdict::Broken) {
            apart.push(format!("{what}: {} {:?}", outcome.verdict.name(), outcome.reason));
        }
    }
    assert!(apart.is_empty(), "{counts:?} {apart:#?}");
    assert!(counts["ok"] + counts["exact"] > altered.len() / 10, "{counts:?}");
}

/// A real file: a Linear with `tensors`, `told` and `weight_norm`, an attention and a Linear with `call`.
#[test]
fn a_pickled_layer_with_names_of_ours_is_planned_as_any_other() {
    let options = t2m_tui::open::Options { checkpoint: "tests/fixtures/steering.pt".into(), ..Default::default() };
    let opened = t2m_tui::open::open(&options).unwrap();
    let plan = |path: &str| opened.triage.modules[opened.model.find(path).unwrap()].plan.clone().unwrap();
    for path in ["0", "2"] {
        assert_eq!((plan(path).torch.told, plan(path).inputs.len()), (None, 1), "{path}");
    }
    let attention = plan("1");
    assert_eq!((attention.torch.told, attention.inputs.len()), (None, 3));
    assert!(attention.mlx.program.is_none(), "{:?}", attention.mlx);
    assert!(attention.torch.args.contains_key("call"), "the attribute is the file's own, and stays one");
}
