//! Modules that are not what their class says at first sight: shown for what they are, with the way out.

use crate::common::{json, run};

/// Path, class, description, status, difficulty and reason of every module, and the warnings.
fn inspect(name: &str) -> String {
    let output = run(&["inspect", &format!("tests/fixtures/{name}"), "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::stderr(&output));
    let report = json(&output);
    let mut lines: Vec<String> = report["modules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|module| {
            let text = |key: &str| module[key].as_str().unwrap_or("-").to_owned();
            let class = text("class");
            let class = class.rsplit('.').next().unwrap();
            format!("{} {class} {} {}: {}", text("path"), text("status"), text("difficulty"), text("reason"))
        })
        .collect();
    lines.extend(report["warnings"].as_array().unwrap().iter().map(|warning| format!("warning: {warning}")));
    lines.join("\n")
}

#[test]
fn weights_that_are_computed_are_named_with_the_way_out() {
    insta::assert_snapshot!("reparametrized", inspect("reparametrized.pt"));
    insta::assert_snapshot!("parametrized", inspect("parametrized.pt"));
}

#[test]
fn lazy_modules_have_no_shape_yet() {
    insta::assert_snapshot!("lazy", inspect("lazy.pt"));
    insta::assert_snapshot!("lazy_state_dict", inspect("lazy_state_dict.pt"));
}

#[test]
fn quantised_modules_are_no_plain_ones() {
    insta::assert_snapshot!("quantised", inspect("quantised.pt"));
    insta::assert_snapshot!("quantised_state_dict", inspect("quantised_state_dict.pt"));
}

#[test]
fn wrappers_and_lists_of_parameters_are_containers() {
    insta::assert_snapshot!("averaged", inspect("averaged.pt"));
}

#[test]
fn modules_are_found_in_tuples_lists_and_objects() {
    insta::assert_snapshot!("in_tuple", inspect("in_tuple.pt"));
    insta::assert_snapshot!("trainer", inspect("trainer.pt"));
}

#[test]
fn a_traced_module_brings_the_code_that_it_was_traced_to() {
    insta::assert_snapshot!("graph_module", inspect("graph_module.pt"));
    let opened = t2m_tui::open::open(&t2m_tui::open::Options {
        checkpoint: "tests/fixtures/graph_module.pt".into(),
        ..Default::default()
    })
    .unwrap();
    let source = opened.triage.source("torch.fx.graph_module.GraphModule").unwrap();
    assert!(source.text.contains("def forward(self, input):"), "{}", source.text);
    assert!(source.mentions.iter().any(|(_, name)| name == "fc"), "{:?}", source.mentions);
}
