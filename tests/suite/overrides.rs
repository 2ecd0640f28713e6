//! A registry file is obeyed or refused by name, never ignored: every field of every class, over every sample.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use t2m_engine::program::signatures::{Dialect, Signature, layer};
use t2m_tui::certify::{self, Sample, SampleModel};
use t2m_tui::plan::Plan;
use t2m_tui::registry::{Attribute, Layer, Registry, RowStatus};
use t2m_tui::triage::ModuleTriage;

/// A sample that the built-in registry has a plan for, and its row.
struct Planned {
    sample: Sample,
    row: Layer,
}

/// One sample of each class for each way in which its samples are computed: by which layers and ops.
static PLANNED: LazyLock<Vec<Planned>> = LazyLock::new(|| {
    let registry = Arc::new(Registry::load(&[]).unwrap());
    let samples = [certify::built_in().unwrap(), certify::zoo().unwrap()].concat();
    let mut seen = BTreeSet::new();
    let mut planned = Vec::new();
    for samples in samples.chunks(200) {
        let whole = SampleModel::new(samples, registry.clone());
        for (index, sample) in samples.iter().enumerate() {
            let Some(plan) = whole.triage(index).unwrap().plan.as_ref() else { continue };
            let Some(row) = registry.layer(sample.class()) else { continue };
            if seen.insert((sample.class().to_owned(), computed_by(plan))) {
                planned.push(Planned { sample: sample.clone(), row: row.clone() });
            }
        }
    }
    planned
});

/// The layers and ops of a plan.
fn computed_by(plan: &Plan) -> Vec<String> {
    match &plan.mlx.program {
        None => vec![plan.mlx.kind.clone()],
        Some(program) => {
            let layers = program.layers.values().map(|layer| layer.kind.clone());
            layers.chain(program.steps.iter().map(|step| step.call.clone())).collect()
        }
    }
}

/// The built-in rows that convert, by class, and these lines for each as a registry file.
fn with(lines: impl Fn(&Layer) -> Option<String>) -> (Arc<Registry>, usize) {
    let mut registry = Registry::load(&[]).unwrap();
    let mut file = String::new();
    let mut rows = 0;
    for (class, row) in registry.classes().filter(|(_, row)| converts(row)) {
        let Some(lines) = lines(row) else { continue };
        file += &format!("[[layer]]\nclass = {class:?}\n{lines}\n\n");
        rows += 1;
    }
    registry.apply(Path::new("registry.toml"), &file).unwrap();
    (Arc::new(registry), rows)
}

fn converts(row: &Layer) -> bool {
    matches!(row.status, RowStatus::Direct | RowStatus::Recipe)
}

/// What is said of each sample whose class converts, where the built-in registry has a plan for it.
fn triaged(registry: &Arc<Registry>, mut each: impl FnMut(&Sample, &Layer, &ModuleTriage)) -> usize {
    for samples in PLANNED.chunks(200) {
        let alone: Vec<Sample> = samples.iter().map(|planned| planned.sample.clone()).collect();
        let after = SampleModel::new(&alone, registry.clone());
        for (index, planned) in samples.iter().enumerate() {
            each(&planned.sample, &planned.row, after.triage(index).unwrap());
        }
    }
    PLANNED.len()
}

/// Every sample is refused by a sentence that names this.
fn all_refused(lines: impl Fn(&Layer) -> Option<String>, named: &str) {
    let (registry, rows) = with(lines);
    assert!(rows > 600, "{rows}");
    let mut passed = Vec::new();
    let seen = triaged(&registry, |sample, _, after| {
        if after.plan.is_some() || !after.reason.contains(named) {
            passed.push(format!("{}: {}", sample.build, after.reason));
        }
    });
    assert!(seen > 300, "{seen}");
    assert!(passed.is_empty(), "{} of {seen}:\n{}", passed.len(), passed.join("\n"));
}

#[test]
fn an_argument_that_no_layer_takes_is_named() {
    all_refused(|_| Some("args = { no_such_argument = 1 }".to_owned()), "`args.no_such_argument`");
}

#[test]
fn a_tensor_that_no_recipe_reads_is_named() {
    let lines = |row: &Layer| {
        let mut tensors: BTreeMap<&str, &str> =
            row.tensors.iter().map(|(name, own)| (name.as_str(), own.as_str())).collect();
        tensors.insert("no_such_tensor", "weight");
        let tensors: Vec<String> = tensors.iter().map(|(name, own)| format!("{name:?} = {own:?}")).collect();
        Some(format!("tensors = {{ {} }}", tensors.join(", ")))
    };
    all_refused(lines, "`tensors.no_such_tensor`");
}

#[test]
fn an_attribute_that_no_recipe_reads_is_named() {
    let lines = |row: &Layer| {
        let mut attributes: Vec<String> = row.attributes.iter().map(attribute).collect();
        attributes.push("no_such_attribute = \"eps\"".to_owned());
        Some(format!("attributes = {{ {} }}", attributes.join(", ")))
    };
    all_refused(lines, "`attributes.no_such_attribute`");
}

/// An attribute as a row has it.
fn attribute((name, from): (&String, &Attribute)) -> String {
    match from {
        Attribute::Own(own) => format!("{name:?} = {own:?}"),
        Attribute::Constant(value) => {
            let value = toml::Value::try_from(value).unwrap();
            format!("{name:?} = {{ value = {value} }}")
        }
    }
}

#[test]
fn another_mlx_layer_is_built_or_refused() {
    let (registry, _) = with(|_| Some("mlx = \"nn.NoSuchLayer\"".to_owned()));
    let (mut built, mut refused) = (0, 0);
    triaged(&registry, |sample, _, after| match &after.plan {
        Some(plan) => {
            let program = plan.mlx.program.as_ref();
            let in_program =
                || program.is_some_and(|program| program.layers.values().any(|layer| layer.kind == "nn.NoSuchLayer"));
            let own = program.is_none() && plan.mlx.kind == "nn.NoSuchLayer";
            assert!(own || in_program(), "{}: {:?}", sample.build, plan.mlx);
            built += 1;
        }
        None => {
            let named = after.reason.contains("`mlx`") || after.reason.contains("nn.NoSuchLayer");
            assert!(named && after.ignores_setting, "{}: {}", sample.build, after.reason);
            refused += 1;
        }
    });
    assert!(built > 50 && refused > 20, "{built} built, {refused} refused");
}

#[test]
fn another_rule_moves_the_weights_or_is_refused() {
    let other = |row: &Layer| if row.rule.as_deref() == Some("identity") { "linear_transposed" } else { "identity" };
    let (registry, _) = with(|row| Some(format!("rule = {:?}", other(row))));
    let (mut moved, mut refused) = (0, 0);
    triaged(&registry, |sample, row, after| match &after.plan {
        Some(plan) if plan.weights.is_empty() => {}
        Some(plan) => {
            let by_it = plan.weights.iter().any(|step| step.rule.name == other(row));
            assert!(by_it, "{}: {:?}", sample.build, plan.weights);
            moved += 1;
        }
        None => {
            assert!(after.reason.contains("`rule`") && after.ignores_setting, "{}: {}", sample.build, after.reason);
            refused += 1;
        }
    });
    assert!(moved > 50 && refused > 0, "{moved} moved, {refused} refused");
}

/// Every argument that the row's own MLX layer takes, with a value that none takes: it reaches the plan or is named.
#[test]
fn a_wrong_value_reaches_the_plan_or_is_refused() {
    let names = |row: &Layer| -> Vec<String> {
        let mlx = row.mlx.as_deref().unwrap_or_default();
        let of_layer = layer(mlx).unwrap_or_default().iter();
        let of_call =
            Signature::of(Dialect::Mlx, mlx).map(|known| known.parameters.as_slice()).unwrap_or_default().iter();
        let mut names: Vec<String> = of_layer
            .chain(of_call)
            .filter(|parameter| !parameter.is_array())
            .map(|parameter| parameter.name.clone())
            .collect();
        names.dedup();
        names
    };
    let most = Registry::load(&[]).unwrap().classes().map(|(_, row)| names(row).len()).max().unwrap();
    let (mut reached, mut refused) = (0, 0);
    for turn in 0..most {
        let (registry, _) = with(|row| names(row).get(turn).map(|name| format!("args = {{ {name} = \"wrong\" }}")));
        triaged(&registry, |sample, row, after| {
            let Some(name) = names(row).get(turn).cloned() else { return };
            match &after.plan {
                Some(plan) => {
                    let said = serde_json::to_value(&plan.mlx).unwrap();
                    assert!(holds(&said, &name), "{} {name}: {said}", sample.build);
                    reached += 1;
                }
                None => {
                    let named =
                        after.reason.contains(&format!("`args.{name}`")) || after.reason.contains("computed as a part");
                    assert!(named && after.ignores_setting, "{} {name}: {}", sample.build, after.reason);
                    refused += 1;
                }
            }
        });
    }
    assert!(reached > 100 && refused > 10, "{reached} reached, {refused} refused");
}

/// Whether an argument of that name is "wrong" anywhere in a value.
fn holds(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(entries) => {
            entries.get(name) == Some(&json!("wrong")) || entries.values().any(|value| holds(value, name))
        }
        Value::Array(items) => items.iter().any(|item| holds(item, name)),
        _ => false,
    }
}
