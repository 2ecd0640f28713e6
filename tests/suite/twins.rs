//! Naive twins: every recipe has one, or a reason that its plans bear out.

use std::collections::BTreeMap;
use std::sync::Arc;

use t2m_tui::certify::{SampleModel, built_in, zoo};
use t2m_tui::plan::Plan;
use t2m_tui::plan::naive::twins;
use t2m_tui::plan::rename::{NoTwin, without_twin};
use t2m_tui::registry::{Recipe, Registry};

/// A recipe, and its plans with their classes.
type Plans<'a> = (Recipe, Vec<(&'a str, &'a Plan)>);

#[test]
fn a_recipe_has_a_twin_or_a_reason() {
    let registry = Arc::new(Registry::load(&[]).unwrap());
    let samples: Vec<_> = built_in().unwrap().into_iter().chain(zoo().unwrap()).collect();
    let model = SampleModel::new(&samples, registry.clone());
    let mut plans: BTreeMap<&str, Plans<'_>> = BTreeMap::new();
    for (number, sample) in samples.iter().enumerate() {
        let recipe = registry.layer(sample.class()).and_then(|row| row.recipe);
        if let (Some(recipe), Some(plan)) = (recipe, model.triage(number).and_then(|triaged| triaged.plan.as_ref())) {
            plans.entry(recipe.name()).or_insert((recipe, Vec::new())).1.push((sample.class(), plan));
        }
    }
    let mut unseen: Vec<&str> = Recipe::ALL.iter().map(|recipe| recipe.name()).collect();
    unseen.retain(|name| !plans.contains_key(name));
    assert!(unseen.is_empty(), "recipes without a sample: {unseen:?}");
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for (name, (recipe, plans)) in plans {
        let count: usize = plans.iter().map(|(_, plan)| twins(plan).len()).sum();
        let reason = without_twin(recipe);
        assert_eq!(count == 0, reason.is_some(), "{name} has {count} twins, and {reason:?}");
        *reasons.entry(format!("{reason:?}")).or_default() += 1;
        for (class, plan) in plans {
            let program = plan.mlx.program.as_ref();
            let layers = program.map_or(0, |program| program.layers.len());
            let alike = |mlx: &str| class.rsplit('.').next() == mlx.strip_prefix("nn.");
            let borne_out = match reason {
                None => true,
                Some(NoTwin::SameAsRename) => program.is_none() && plan.mlx.kind.starts_with("nn."),
                Some(NoTwin::NoLayerInMlx) => {
                    program.is_some_and(|it| it.layers.get("").is_none()) || !alike(&plan.mlx.kind)
                }
                Some(NoTwin::OfItsParts) => layers > 0,
            };
            assert!(borne_out, "{name}, {reason:?}: {class} is {}", plan.mlx.kind);
        }
    }
    assert!(reasons["None"] > 25 && reasons.len() == 4, "{reasons:?}");
}
