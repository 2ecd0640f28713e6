//! `verify` with both real engines: T2M_TORCH and T2M_MLX name them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{file, json, program, run, stderr};
use serde_json::Value;

/// The seed's layers that compute (ModuleList and Sequential do not).
const SEED: [&str; 22] = [
    "linear.Linear",
    "sparse.Embedding",
    "normalization.LayerNorm",
    "normalization.RMSNorm",
    "normalization.GroupNorm",
    "conv.Conv1d",
    "conv.Conv2d",
    "conv.ConvTranspose1d",
    "conv.ConvTranspose2d",
    "batchnorm.BatchNorm1d",
    "batchnorm.BatchNorm2d",
    "instancenorm.InstanceNorm1d",
    "instancenorm.InstanceNorm2d",
    "activation.MultiheadAttention",
    "activation.GELU",
    "activation.ReLU",
    "activation.SiLU",
    "activation.Tanh",
    "activation.Sigmoid",
    "activation.LeakyReLU",
    "activation.Softmax",
    "dropout.Dropout",
];

fn layer<'a>(report: &'a Value, path: &str) -> &'a Value {
    report["layers"].as_array().unwrap().iter().find(|layer| layer["path"] == path).unwrap()
}

#[test]
fn every_seed_layer_of_the_demo_is_exact_or_ok() {
    let output = run(&["verify", "demo", "--trials", "3", "--dtype", "f32,f16,bf16", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!(report["engines"]["torch"]["version"], "2.13.0");
    assert_eq!(report["engines"]["mlx"]["version"], "0.32.2");
    assert_eq!(report["engines"]["mlx"]["tf32"], false);
    for class in SEED {
        let class = format!("torch.nn.modules.{class}");
        let layers: Vec<&Value> =
            report["layers"].as_array().unwrap().iter().filter(|layer| layer["class"] == *class).collect();
        let measured = layers.iter().filter(|layer| layer["verdict"] != "not-run").count();
        assert!(measured > 0, "{class} was not measured");
        for layer in layers.iter().filter(|layer| layer["verdict"] != "not-run") {
            assert!(matches!(layer["verdict"].as_str(), Some("exact" | "ok")), "{layer:#}");
            assert_eq!(layer["trials"].as_array().unwrap().len(), 9, "{layer:#}");
        }
    }
    // Two engines in one process would agree to the bit here: a sum of products never does.
    let mlp = layer(&report, "caption.blocks.0.mlp.0");
    assert_eq!(mlp["verdict"], "ok");
    assert!(mlp["trials"][0]["max_abs"].as_f64().unwrap() > 0.0);
    assert!(mlp["trials"][0]["torch_vs_f64"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_seed_gives_the_same_numbers_again() {
    let measure = |seed: &str| {
        let report = json(&run(&["verify", "demo", "--layers", "sound.conv", "--seed", seed, "--format", "json"]));
        report["layers"][0]["trials"][0]["mean_abs"].as_f64().unwrap()
    };
    assert_eq!(measure("11"), measure("11"));
    assert_ne!(measure("11"), measure("12"));
}

#[test]
fn a_convolution_with_the_identity_rule_is_broken() {
    let (_folder, registry) =
        file("wrong.toml", "[[layer]]\nclass = \"torch.nn.modules.conv.Conv2d\"\nrule = \"identity\"\n");
    let output = program()
        .args(["verify", "demo", "--layers", "picture.stem.0", "--format", "json", "--registry"])
        .arg(registry)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    assert_eq!(report["layers"][0]["verdict"], "broken", "{report:#}");
    assert!(report["layers"][0]["trials"][0]["max_abs"].as_f64().unwrap() > 0.1);
    assert_eq!(report["summary"]["broken"], 1);
}

#[test]
fn a_group_norm_without_its_flag_is_broken() {
    let (_folder, registry) =
        file("wrong.toml", "[[layer]]\nclass = \"torch.nn.modules.normalization.GroupNorm\"\nargs = {}\n");
    let output = program()
        .args(["verify", "demo", "--layers", "picture.blocks.*.norm1", "--format", "json", "--registry"])
        .arg(registry)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    assert_eq!(report["summary"]["broken"], 2, "{report:#}");
}

#[test]
fn a_missing_engine_is_a_failed_verdict_with_its_reason() {
    let output = program()
        .args(["verify", "demo", "--layers", "sound.*", "--format", "json"])
        .env("T2M_MLX", "/nowhere/t2m-mlx")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    let conv = layer(&report, "sound.conv");
    assert_eq!(conv["verdict"], "failed");
    assert!(conv["reason"].as_str().unwrap().contains("/nowhere/t2m-mlx"), "{conv:#}");
    assert_eq!(layer(&report, "sound.memory")["verdict"], "not-run");
    assert_eq!(report["engines"]["mlx"], Value::Null);
}

#[test]
fn json_lines_come_one_a_layer() {
    let output = run(&["verify", "demo", "--layers", "join.*", "--format", "jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let paths: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(paths, ["join.0", "join.1", "join.2"]);
}

#[test]
fn doctor_greets_both_engines() {
    let output = run(&["doctor", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!(report["engines"]["torch"]["version"], "2.13.0");
    assert_eq!(report["engines"]["mlx"]["flags"]["MLX_ENABLE_TF32"], "0");
}
