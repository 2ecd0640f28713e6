//! Layers of which something is not known, run with each plausible value in both real engines.

use crate::common::{file, json, program, run, stderr};
use serde_json::{Value, json};

const LAYERS: &str = "tests/fixtures/assumed/layers.pth";

fn layer<'a>(report: &'a Value, path: &str) -> &'a Value {
    let layers = report["layers"].as_array().unwrap();
    layers.iter().find(|layer| layer["path"] == path).unwrap_or_else(|| panic!("no {path} in {report:#}"))
}

#[test]
fn layers_of_bare_weights_are_measured_with_each_plausible_value() {
    let output = run(&["verify", LAYERS, "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    for layer in report["layers"].as_array().unwrap() {
        let verdict = layer["verdict"].as_str().unwrap();
        assert!(matches!(verdict, "ok" | "exact"), "{layer:#}");
        // Each input is one trial, and each conversion has one at least: more values, more trials.
        let trials = layer["trials"].as_array().unwrap().len();
        let most = |values: &Value| values.as_array().map_or(0, Vec::len);
        let values = layer["assumed"].as_object().map_or(0, |all| all.values().map(most).max().unwrap());
        assert!(trials >= values.max(3) && trials <= 8, "{layer:#}");
    }
    assert_eq!(layer(&report, "stem")["assumed"]["stride"], json!([1, 2]));
    assert_eq!(layer(&report, "stem")["status"], "incomplete");
    assert_eq!(layer(&report, "patches")["assumed"]["stride"], json!([1, 2, 4]));
    assert_eq!(layer(&report, "stem_norm")["assumed"], json!({"eps": [1e-5, 1e-6, 1e-3, 1e-12]}));
    assert_eq!(layer(&report, "attention")["assumed"]["num_heads"], json!([1, 2, 4, 8]));
    assert_eq!(layer(&report, "gru")["assumed"], json!({"batch_first": [false, true]}));
    let classes = ["torch.nn.modules.linear.Linear", "torch.nn.modules.sparse.Embedding"];
    assert_eq!(layer(&report, "table")["assumed"], json!({"class": classes}));
    // What is known in full is measured as ever, and counted apart.
    assert_eq!(layer(&report, "slope_prelu").get("assumed"), None);
    assert_eq!(report["summary"], json!({"exact": 3, "assumed": {"exact": 3, "ok": 16}}));
}

/// A conversion that is wrong is wrong with every value.
#[test]
fn a_wrong_layout_is_broken_whatever_is_assumed() {
    let (_folder, registry) =
        file("wrong.toml", "[[layer]]\nclass = \"torch.nn.modules.conv.Conv2d\"\nrule = \"identity\"\n");
    let verify = |format: &str| {
        let call = ["verify", LAYERS, "--layers", "cube", "--layers", "slope_prelu", "--format", format, "--registry"];
        program().args(call).arg(&registry).output().unwrap()
    };
    let output = verify("json");
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    let cube = layer(&report, "cube");
    assert_eq!(cube["verdict"], "broken", "{cube:#}");
    assert!(cube["reason"].as_str().unwrap().contains("with stride=1, "), "{cube:#}");
    assert_eq!(report["summary"], json!({"exact": 1, "assumed": {"broken": 1}}));
    let text = String::from_utf8(verify("text").stdout).unwrap();
    assert!(text.contains("broken as assumed (stride 1 or 2; "), "{text}");
    assert!(text.contains("layers: 1 exact; as assumed 1 broken"), "{text}");
    let markdown = String::from_utf8(verify("md").stdout).unwrap();
    assert!(markdown.contains("broken as assumed (stride 1 or 2; "), "{markdown}");
}

#[test]
fn a_required_share_counts_what_is_assumed_and_tells_it_apart() {
    let required = |share: &str| {
        run(&["verify", LAYERS, "--layers", "stem*", "--layers", "slope_prelu", "--require-measured", share])
    };
    let output = required("1");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("measured: 1 of 3 layers, 2 more with each value of what is not known of them"), "{text}");
    // Where an engine is missing nothing is measured, whatever is assumed.
    let call = ["verify", LAYERS, "--layers", "stem*", "--format", "json", "--require-measured", "0.5"];
    let output = program().args(call).env("T2M_MLX", "/nowhere/t2m-mlx").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&output)["summary"]["assumed"], json!({"failed": 2}));
}

#[test]
fn half_precision_and_plain_renames_are_run_with_assumed_values_too() {
    let call = ["verify", LAYERS, "--layers", "attention", "--dtype", "f32,f16", "--naive", "--format", "json"];
    let report = json(&run(&call));
    let attention = layer(&report, "attention");
    let of =
        |dtype: &str| attention["trials"].as_array().unwrap().iter().filter(|trial| trial["dtype"] == dtype).count();
    assert_eq!(of("f16"), of("f32"), "{attention:#}");
    assert!(!attention["naive"].as_array().unwrap().is_empty(), "{attention:#}");
}
