//! What `convert` makes of files that are no plain model: refused, or told.

use std::path::{Path, PathBuf};

use crate::common::{json, run, stderr};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/files").join(name)
}

/// Exit code, what was said, and the report where there is one.
fn convert(name: &str, more: &[&str]) -> (i32, String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let paths = ["convert", fixture(name).to_str().unwrap(), "-o", output.to_str().unwrap(), "--format", "json"]
        .map(str::to_owned);
    let arguments: Vec<&str> = paths.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let run = run(&arguments);
    let code = run.status.code().unwrap();
    assert_eq!(output.exists(), code == 0, "{name}");
    (code, stderr(&run), if code == 0 { json(&run) } else { Value::Null })
}

#[test]
fn what_is_not_whole_is_refused_with_the_way_out() {
    for (name, way_out) in [
        ("zero3.pt", "zero_to_fp32.py"),
        ("merged.pt", "zero_to_fp32.py"),
        ("meta.pt", "on the meta device"),
        ("consolidated.00.pth", "convert_llama_weights_to_hf.py"),
        ("mp_rank_00_model_states.pt", "ds_to_universal.py"),
        ("pointer", "git lfs pull"),
    ] {
        let (code, said, _) = convert(name, &[]);
        assert!(code == 2 && said.contains(way_out), "{name}: {code} {said}");
    }
    // A shard by itself has whole tensors, and is told to be one.
    let (code, said, report) = convert("pointer/model-00001-of-00002.safetensors", &[]);
    assert!(code == 0 && report["warnings"][0].as_str().unwrap().contains("is one of 2 shards"), "{said} {report}");
    // What is left out by name is missed by nobody.
    assert_eq!(convert("merged.pt", &["--skip", "fc.bias"]).0, 0);
}

#[test]
fn packed_weights_are_never_copied_in_silence() {
    for (name, title) in [
        ("awq.safetensors", "AWQ, 4 bits"),
        ("fp8_blocks.safetensors", "fp8 with block scales"),
        ("nf4.safetensors", "bitsandbytes 4-bit"),
        ("adapter", "LoRA of rank 4, for Qwen/Qwen2.5-0.5B"),
        ("gpt_oss", "MXFP4"),
    ] {
        let (code, said, report) = convert(name, &[]);
        assert_eq!(code, 0, "{name}: {said}");
        let copied = report["copied"].as_array().unwrap();
        assert!(copied.iter().any(|entry| entry["reason"].as_str().unwrap().starts_with(title)), "{name}: {copied:?}");
        let warnings = report["warnings"].as_array().unwrap();
        assert!(warnings.iter().any(|warning| warning.as_str().unwrap().contains(title)), "{name}: {warnings:?}");
        let (code, said, _) = convert(name, &["--strict"]);
        assert!(code == 1 && said.contains(title), "{name}: {code} {said}");
    }
}

#[test]
fn a_kernel_that_is_not_square_is_torchs_where_the_file_is() {
    for name in ["kernel.pt", "kernel_pt.safetensors", "compiled.safetensors", "parallel.pt"] {
        let (code, said, _) = convert(name, &[]);
        assert_eq!(code, 0, "{name}: {said}");
    }
    let (code, said, _) = convert("kernel.safetensors", &[]);
    assert!(code == 2 && said.contains("--assume-torch"), "{said}");
    assert_eq!(convert("kernel.safetensors", &["--assume-torch"]).0, 0);
}

#[test]
fn a_key_chooses_for_every_subcommand() {
    let (code, _, report) = convert("gan.pt", &["--key", "g_ema"]);
    assert_eq!((code, &report["tensors"]), (0, &Value::from(2)));
    let shown = json(&run(&[
        "inspect",
        fixture("training.pt").to_str().unwrap(),
        "--key",
        "state_dict_ema",
        "--format",
        "json",
    ]));
    assert_eq!(shown["checkpoint"]["metadata"]["wrappers"][0], "state_dict_ema");
    assert_eq!(
        shown["warnings"][0],
        "`state_dict` holds weights too; only `state_dict_ema` is shown, --key takes another."
    );
}

#[test]
fn a_tie_that_the_file_leaves_out_is_in_the_report_and_comes_back() {
    let (code, said, report) = convert("tied.safetensors", &[]);
    assert_eq!(code, 0, "{said}");
    let left = report["left"].as_array().unwrap();
    assert!(left.len() == 1 && left[0]["why"].as_str().unwrap().starts_with("tied to "), "{left:?}");
    let folder = tempfile::tempdir().unwrap();
    let (mlx, back) = (folder.path().join("mlx.safetensors"), folder.path().join("torch.safetensors"));
    let (tied, mlx, back) = (fixture("tied.safetensors"), mlx.to_str().unwrap(), back.to_str().unwrap());
    assert_eq!(run(&["convert", tied.to_str().unwrap(), "-o", mlx]).status.code(), Some(0));
    assert_eq!(run(&["convert", tied.to_str().unwrap(), "--reverse", mlx, "-o", back]).status.code(), Some(0));
    let shown = json(&run(&["inspect", back, "--format", "json"]));
    let mut names: Vec<&str> =
        shown["tensors"].as_array().unwrap().iter().map(|tensor| tensor["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["embed.weight", "head.weight"]);
}

#[test]
fn what_turns_text_round_is_spelt_out_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("names.safetensors");
    let name = "a\u{202e}b\u{7f}.weight";
    let header = serde_json::json!({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.into_bytes());
    bytes.extend(1f32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let printed = run(&["inspect", path.to_str().unwrap(), "--format", "json"]);
    let text = String::from_utf8(printed.stdout.clone()).unwrap();
    assert!(
        text.contains("a\\u202eb\\u007f.weight") && !text.contains('\u{202e}') && !text.contains('\u{7f}'),
        "{text}"
    );
    assert_eq!(json(&printed)["tensors"][0]["name"], name);
}
