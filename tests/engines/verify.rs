//! `verify` with both real engines: T2M_TORCH and T2M_MLX name them.

use crate::common::{file, json, program, run, stderr};
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
    // Two engines in one process would agree to the bit in every sum of products. In two, short sums may.
    let layers = report["layers"].as_array().unwrap();
    let sum = |class: &str| class.ends_with(".Linear") || class.ends_with(".Conv2d");
    let sums = layers.iter().filter(|layer| layer["class"].as_str().is_some_and(sum));
    let errors = sums.filter_map(|layer| layer["trials"][0]["max_abs"].as_f64());
    assert!(errors.filter(|error| *error > 0.0).count() >= 3, "{report:#}");
    let mlp = layer(&report, "caption.blocks.0.mlp.0");
    assert!(mlp["trials"][0]["torch_vs_f64"].as_f64().unwrap() > 0.0);
    assert!(mlp["trials"][0]["mlx_vs_f64"].as_f64().unwrap() > 0.0);
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
    let text = String::from_utf8(run(&["doctor"]).stdout).unwrap();
    let blas = report["engines"]["mlx"]["flags"]["blas"].as_str();
    assert_eq!(blas.is_some(), cfg!(target_os = "linux"));
    assert!(blas.is_none_or(|blas| text.contains(&format!(", blas={blas}"))), "{text}");
}

/// The BLAS under MLX decides its rounding and nothing else: each report names it, and `T2M_MLX_BLAS` chooses.
#[cfg(target_os = "linux")]
#[test]
fn the_blas_under_mlx_is_named_and_can_be_chosen() {
    let verify = |blas: &str, format: &str| {
        let arguments = ["verify", "demo", "--layers", "caption.blocks.0.mlp.*", "--format", format];
        program().args(arguments).env("T2M_MLX_BLAS", blas).output().unwrap()
    };
    let [default, reference] = ["", "reference"].map(|blas| json(&verify(blas, "json")));
    let name = |report: &Value| report["engines"]["mlx"]["blas"].as_str().unwrap().to_owned();
    assert!(name(&reference).starts_with("reference (libblas"), "{}", name(&reference));
    for layer in [&default, &reference].into_iter().flat_map(|report| report["layers"].as_array().unwrap()) {
        assert!(matches!(layer["verdict"].as_str(), Some("exact" | "ok")), "{layer:#}");
    }
    // Another order of summation gives another rounding, and the same one gives the same: the name is not all that differs.
    let rounding = |report: &Value| -> Vec<f64> {
        let mlps = ["caption.blocks.0.mlp.0", "caption.blocks.0.mlp.3"].map(|path| layer(report, path).clone());
        let trials = mlps.iter().flat_map(|mlp| mlp["trials"].as_array().unwrap());
        trials.map(|trial| trial["mlx_vs_f64"].as_f64().unwrap()).collect()
    };
    let same = |one: &Value, other: &Value| {
        rounding(one).iter().zip(rounding(other)).all(|(one, other)| (one - other).abs() <= 1e-6 * other)
    };
    assert!(same(&reference, &json(&verify("reference", "json"))));
    assert_eq!(same(&reference, &default), name(&default) == name(&reference));
    // The reference BLAS rounds products that libtorch's fuses: an error of exactly 0 would be libtorch's own BLAS.
    let mlp = layer(&reference, "caption.blocks.0.mlp.0");
    assert!(mlp["trials"][0]["max_abs"].as_f64().unwrap() > 0.0, "{mlp:#}");
    for format in ["text", "md"] {
        let text = String::from_utf8(verify("", format).stdout).unwrap();
        assert!(text.contains(&format!(", blas={})", name(&default))), "{text}");
    }
    let refused = verify("mkl", "text");
    let text = String::from_utf8(refused.stdout).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("T2M_MLX_BLAS: there is no BLAS \"mkl\"; it is openblas or reference"), "{text}");
}

/// Classes and hyper-parameters of the tensors in [`net`].
const NET: &str = "\
import torch.nn as nn


class Scaled(nn.Module):
    def forward(self, x):
        return x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LayerNorm(8192)
        self.rms = nn.RMSNorm(8192, eps=1e-5)
        self.zero = nn.Conv2d(3, 3, 3)
        self.steep = nn.Linear(64, 8, bias=False)
        self.far = nn.BatchNorm2d(4)
        self.own = Scaled()
        self.packed = nn.Linear(3, 2, bias=False)
        self.lean = nn.GroupNorm(2, 4, bias=False)
        self.dense = nn.Linear(3, 2)
";

/// A state dict in a safetensors file, and the source that goes with it.
fn net() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
    use safetensors::tensor::{Dtype, TensorView};
    let floats = |values: Vec<f32>| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    // One gain that towers over the others.
    let gains: Vec<f32> = (0..8192).map(|index| if index == 77 { 30.0 } else { 1.0 }).collect();
    let steep: Vec<f32> = (0..512).map(|index| 1e6 * ((index * 37 % 101) as f32 / 50.0 - 1.0)).collect();
    let mixed: Vec<f32> = (0..6).map(|index| index as f32 - 2.5).collect();
    let tensors: Vec<(&str, Vec<usize>, Dtype, Vec<u8>)> = vec![
        ("layer.weight", vec![8192], Dtype::F32, floats(gains.clone())),
        ("layer.bias", vec![8192], Dtype::F32, floats(vec![0.0; 8192])),
        ("rms.weight", vec![8192], Dtype::F32, floats(gains)),
        ("zero.weight", vec![3, 3, 3, 3], Dtype::F32, floats(vec![0.0; 81])),
        ("zero.bias", vec![3], Dtype::F32, floats(vec![0.0; 3])),
        ("steep.weight", vec![8, 64], Dtype::F32, floats(steep)),
        ("far.weight", vec![4], Dtype::F32, floats(vec![1.0, 2.0, 0.5, 1.5])),
        ("far.bias", vec![4], Dtype::F32, floats(vec![1000.0, 1000.0, 500.0, 750.0])),
        ("far.running_mean", vec![4], Dtype::F32, floats(vec![1000.0, 500.0, 1000.0, 500.0])),
        ("far.running_var", vec![4], Dtype::F32, floats(vec![1.0; 4])),
        ("far.num_batches_tracked", vec![], Dtype::I64, vec![0; 8]),
        ("own.weight", vec![2, 3], Dtype::F32, floats(mixed.clone())),
        ("lean.weight", vec![4], Dtype::F32, floats(vec![1.0, -2.0, 0.5, 1.5])),
        ("dense.weight", vec![2, 3], Dtype::F32, floats(mixed)),
        ("dense.bias", vec![2], Dtype::F32, floats(vec![0.7, -0.4])),
        ("packed.weight", vec![2, 3], Dtype::I8, vec![1, 2, 3, 4, 5, 6]),
    ];
    let views =
        tensors.iter().map(|(name, shape, dtype, data)| (*name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let (model, source) = (folder.path().join("net.safetensors"), folder.path().join("net.py"));
    std::fs::write(&model, safetensors::serialize(views, None).unwrap()).unwrap();
    std::fs::write(&source, NET).unwrap();
    (folder, model, source)
}

/// `verify` on [`net`], with a registry file.
fn verify_net(layers: &str, registry: &str, more: &[&str]) -> (Option<i32>, Value) {
    let (folder, model, source) = net();
    let rows = folder.path().join("rows.toml");
    std::fs::write(&rows, registry).unwrap();
    let mut command = program();
    command.args(["verify", "--format", "json", "--layers", layers]).args(more);
    let output = command.arg("--source").arg(source).arg("--registry").arg(rows).arg(model).output().unwrap();
    (output.status.code(), json(&output))
}

#[test]
fn an_epsilon_ten_times_too_small_shows_in_wide_norms_too() {
    let (code, right) = verify_net("{layer,rms}", "", &[]);
    assert_eq!((code, &right["summary"]["ok"]), (Some(0), &Value::from(2)), "{right:#}");
    let wrong = "\
        [[layer]]\nclass = \"torch.nn.modules.normalization.LayerNorm\"\nargs = { eps = 1e-6 }\n\
        [[layer]]\nclass = \"torch.nn.modules.normalization.RMSNorm\"\nargs = { eps = 1e-6 }\n";
    let (code, wrong) = verify_net("{layer,rms}", wrong, &["--trials", "1"]);
    assert_eq!((code, &wrong["summary"]["broken"]), (Some(1), &Value::from(2)), "{wrong:#}");
}

#[test]
fn weights_that_make_everything_zero_prove_nothing() {
    let identity = "[[layer]]\nclass = \"torch.nn.modules.conv.Conv2d\"\nrule = \"identity\"\n";
    for registry in ["", identity] {
        let (code, report) = verify_net("zero", registry, &[]);
        let zero = layer(&report, "zero");
        assert_eq!((code, zero["verdict"].as_str()), (Some(1), Some("not-run")), "{zero:#}");
        assert!(zero["reason"].as_str().unwrap().contains("all zero"), "{zero:#}");
    }
}

#[test]
fn half_precision_does_not_make_the_verdict() {
    let (code, report) = verify_net("steep", "", &["--dtype", "f32,f16,bf16", "--trials", "2"]);
    let steep = layer(&report, "steep");
    assert_eq!((code, steep["verdict"].as_str()), (Some(0), Some("ok")), "{steep:#}");
    assert!(steep["reason"].as_str().unwrap().contains("in float16"), "{steep:#}");
    let dtypes =
        |dtype: &str| steep["trials"].as_array().unwrap().iter().filter(|trial| trial["dtype"] == dtype).count();
    assert_eq!((dtypes("f32"), dtypes("f16"), dtypes("bf16")), (2, 0, 2));
}

#[test]
fn a_batch_norm_whose_mean_cancels_drifts_because_mlx_subtracts_first() {
    // torch folds mean and bias into one number before it sees the input; MLX subtracts a mean of 1000 from an input of 1.
    let (code, report) = verify_net("far", "", &[]);
    let far = layer(&report, "far");
    assert_eq!((code, far["verdict"].as_str()), (Some(1), Some("drift")), "{far:#}");
    let distance = |of: &str| far["trials"][0][of].as_f64().unwrap();
    assert!(distance("mlx_vs_f64") > 5.0 * distance("torch_vs_f64"), "{far:#}");
    let (_, wrong) = verify_net(
        "far",
        "[[layer]]\nclass = \"torch.nn.modules.batchnorm.BatchNorm2d\"\nargs = { eps = 1e-2 }\n",
        &["--trials", "1"],
    );
    assert_eq!(layer(&wrong, "far")["verdict"], "broken", "{wrong:#}");
}

#[test]
fn a_softmax_is_held_against_its_own_output() {
    let report = json(&run(&["verify", "demo", "--layers", "choose", "--format", "json"]));
    let scale = layer(&report, "choose")["trials"][0]["scale"].as_f64().unwrap();
    assert!(scale <= 1.0, "{report:#}");
}

#[test]
fn quantised_weights_are_not_taken_for_numbers() {
    let (code, report) = verify_net("packed", "", &[]);
    let packed = layer(&report, "packed");
    assert_eq!((code, packed["verdict"].as_str()), (Some(1), Some("not-run")), "{packed:#}");
    assert_eq!(packed["status"], "unsupported");
    assert!(packed["reason"].as_str().unwrap().contains("int8"), "{packed:#}");
}

#[test]
fn a_norm_without_bias_gets_one_of_zeros() {
    let (code, report) = verify_net("lean", "", &[]);
    let lean = layer(&report, "lean");
    assert_eq!((code, lean["verdict"].as_str()), (Some(0), Some("ok")), "{lean:#}");
}

#[test]
fn a_rows_argument_is_obeyed_or_refused() {
    let with = |args: &str| {
        let row = format!("[[layer]]\nclass = \"torch.nn.modules.linear.Linear\"\nargs = {{ {args} }}\n");
        let (code, report) = verify_net("dense", &row, &["--trials", "1"]);
        (code, layer(&report, "dense").clone())
    };
    let (code, dropped) = with("bias = false");
    assert_eq!((code, dropped["verdict"].as_str()), (Some(1), Some("broken")), "{dropped:#}");
    let (code, unknown) = with("biases = true");
    assert_eq!((code, unknown["verdict"].as_str()), (Some(1), Some("failed")), "{unknown:#}");
    assert!(
        unknown["reason"].as_str().unwrap().contains("`args.biases`, which nn.Linear does not take"),
        "{unknown:#}"
    );
}

#[test]
fn a_class_of_ones_own_is_measured_as_the_layer_that_its_row_names() {
    let row = "\
        [[layer]]\nclass = \"net.Scaled\"\ntorch = \"torch.nn.modules.linear.Linear\"\nstatus = \"direct\"\n\
        mlx = \"nn.Linear\"\nrecipe = \"linear\"\nrule = \"identity\"\nreason = \"A Linear of our own.\"\n";
    let (code, report) = verify_net("own", row, &[]);
    let own = layer(&report, "own");
    assert_eq!((code, own["class"].as_str()), (Some(0), Some("net.Scaled")), "{own:#}");
    assert!(matches!(own["verdict"].as_str(), Some("exact" | "ok")), "{own:#}");
}

#[test]
fn an_interrupt_ends_a_run_with_what_there_is() {
    use std::io::{BufRead, BufReader};
    let mut child = program()
        .args(["verify", "demo", "--format", "jsonl", "--trials", "60"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["path"], "picture.stem.0");
    let kill = std::process::Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap();
    assert!(kill.success());
    let started = std::time::Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // 52 layers of 60 trials take more than a minute.
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

/// Numbers differ from machine to machine; everything else that the README shows is what the program prints.
#[test]
fn the_readme_shows_what_verify_prints() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (_, behind) = readme.split_once("`t2m-tui verify demo --layers 'caption.blocks.0.*'` prints\n\n").unwrap();
    let shown: Vec<&str> = behind.lines().take_while(|line| !line.starts_with("Exit codes")).collect();
    let output = run(&["verify", "demo", "--layers", "caption.blocks.0.*"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    let words = |text: &str| {
        let is_the_same =
            |word: &&str| word.parse::<f64>().is_err() && !matches!(*word, "exact" | "ok" | "exact," | "ok,");
        // The processor decides which kernels OpenBLAS names.
        let text = text.split(", blas=").next().unwrap();
        text.split_whitespace().filter(is_the_same).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(words(&shown.join("\n")), words(&printed));
}

#[test]
fn a_plain_rename_is_shown_beside_the_right_conversion() {
    let output = run(&["verify", "demo", "--layers", "picture.stem.0", "--naive", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "the twin does not count: {}", stderr(&output));
    let report = json(&output);
    let conv = layer(&report, "picture.stem.0");
    assert!(matches!(conv["verdict"].as_str(), Some("exact" | "ok")), "{conv:#}");
    // Three channels and a kernel of three: names and shapes do not tell that the axes have to move.
    let twin = &conv["naive"][0];
    assert_eq!((twin["name"].as_str(), twin["verdict"].as_str()), (Some("weight as torch has it"), Some("broken")));
    assert!(twin["trial"]["max_abs"].as_f64().unwrap() > 0.1, "{twin:#}");
    assert!(layer(&json(&run(&["verify", "demo", "--layers", "head", "--format", "json"])), "head")["naive"].is_null());
}

#[test]
fn a_weight_norm_is_folded_and_measured_against_torchs_own() {
    let output = run(&["verify", "tests/fixtures/reparametrized.pt", "--layers", "0", "--format", "json"]);
    let report = json(&output);
    assert_eq!((output.status.code(), layer(&report, "0")["verdict"].as_str()), (Some(0), Some("ok")), "{report:#}");
}

#[test]
fn a_sequential_is_measured_as_the_block_that_it_is() {
    let samples = t2m_tui::certify::blocks().unwrap();
    assert!(samples.len() >= 20);
    let output =
        run(&["verify", "tests/fixtures/blocks.pt", "--layers", "mlp", "--layers", "conv", "--format", "json"]);
    let report = json(&output);
    assert_eq!((output.status.code(), &report["summary"]["ok"]), (Some(0), &Value::from(2)), "{report:#}");
    let output = run(&["verify", "tests/fixtures/blocks.pt", "--layers", "own"]);
    assert_eq!(output.status.code(), Some(2), "a suggestion is not run: {output:?}");
    assert!(stderr(&output).contains("--layers 'own.*' runs those"), "{}", stderr(&output));
}

#[test]
fn a_registry_file_may_say_what_rounding_explains() {
    let (_, as_it_is) = verify_net("steep", "", &["--trials", "1"]);
    let row = "[[layer]]\nclass = \"torch.nn.modules.linear.Linear\"\nbound = \"contraction 40000\"\n";
    let (_, wide) = verify_net("steep", row, &["--trials", "1"]);
    let tolerance = |report: &Value| layer(report, "steep")["trials"][0]["tolerance"].as_f64().unwrap();
    assert!(tolerance(&wide) > 2.0 * tolerance(&as_it_is), "{wide:#}");
}

#[test]
fn attributes_named_like_what_we_say_of_a_layer_steer_nothing() {
    let output = run(&["verify", "tests/fixtures/steering.pt", "--format", "json"]);
    let report = json(&output);
    // Which sums are exact is the processor's.
    let passed: u64 = ["exact", "ok"].iter().filter_map(|verdict| report["summary"][verdict].as_u64()).sum();
    assert_eq!((output.status.code(), passed), (Some(0), 4), "{report:#}");
}
