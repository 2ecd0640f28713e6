//! `--model`: the user's Python builds the model of bare weights. Python is real here, torch a stand-in of a few lines
//! (`tests/fixtures/built`).

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::{json, run, stderr};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json as value};

/// Weights of `nets.Net(8)`, below a prefix.
fn weights(folder: &Path, prefix: &str, channels: usize) -> PathBuf {
    let bytes = vec![0u8; channels * 75 * 4];
    let views = [("conv.weight", vec![channels, 3, 5, 5]), ("conv.bias", vec![channels])].map(|(name, shape)| {
        let length = shape.iter().product::<usize>() * 4;
        (format!("{prefix}{name}"), TensorView::new(Dtype::F32, shape, &bytes[..length]).unwrap())
    });
    let path = folder.join("weights.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    path
}

fn inspect(file: &Path, model: &str) -> Output {
    let source = "tests/fixtures/built";
    let file = file.to_str().unwrap();
    run(&["inspect", file, "--format", "json", "--python", "python3", "--source", source, "--model", model])
}

fn module(report: &Value, path: &str) -> Value {
    let modules = report["modules"].as_array().unwrap();
    modules.iter().find(|module| module["path"] == path).unwrap_or_else(|| panic!("no {path} in {modules:?}")).clone()
}

#[test]
fn what_python_builds_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let output = inspect(&weights(folder.path(), "", 8), "nets.Net(8, stride=3)");
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&output);
    let conv = module(&report, "conv");
    assert_eq!((&conv["evidence"], &conv["class"]), (&value!("model"), &value!("torch.nn.modules.conv.Conv2d")));
    assert_eq!(conv["attributes"]["stride"], value!([3, 3]));
    assert_eq!(conv["status"], "direct");
    // A state dict does not show it.
    assert_eq!(module(&report, "act")["class"], "torch.nn.modules.activation.ReLU");
    assert_eq!(module(&report, "")["class"], "nets.Net");
    let architecture = &report["checkpoint"]["architecture"];
    assert_eq!(architecture["name"], "nets.Net(8, stride=3)");
    assert_eq!((&architecture["match"], &architecture["tensors"]), (&value!("exact"), &value!([2, 2])));
}

#[test]
fn it_is_matched_by_names_and_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let output = inspect(&weights(folder.path(), "model.", 8), "nets.Net(8)");
    let report = json(&output);
    assert_eq!(module(&report, "model.conv")["attributes"]["stride"], value!([2, 2]));
    assert_eq!(module(&report, "model.act")["evidence"], "model");
    // Of another width nothing fits, and nothing is made of it.
    let output = inspect(&weights(folder.path(), "", 4), "nets.Net(8)");
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("the file is of another model: of its 2 tensors 0 are among the 2"), "{said}");
}

#[test]
fn what_goes_wrong_in_python_is_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights(folder.path(), "", 8);
    for (model, said) in [
        ("nosuch.Net(8)", "it has no module nosuch: install it there"),
        ("nets.Net(8, kernel=3)", "TypeError: Net.__init__() got an unexpected keyword argument 'kernel'"),
        ("nets.Missing()", "has no attribute 'Missing'"),
        ("nets.nothing()", "it gives int, which is no torch.nn.Module"),
        ("nets.leaves()", "SystemExit: 7"),
        ("nets.Net(", "SyntaxError"),
        ("import os", "SyntaxError"),
    ] {
        let output = inspect(&file, model);
        assert_eq!(output.status.code(), Some(2), "{model}");
        let words = stderr(&output);
        assert!(words.contains(said) && words.starts_with("t2m-tui: python3: --model "), "{model}: {words}");
        assert!(!words.contains("Traceback"), "{words}");
    }
    // No answer of ours.
    let script = folder.path().join("python");
    std::fs::write(&script, "#!/bin/sh\ncase \"$1\" in -I) echo '[]';; *) echo hello;; esac\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (file, script) = (file.to_str().unwrap(), script.to_str().unwrap());
    let output = run(&["inspect", file, "--python", script, "--model", "nets.Net(8)"]);
    assert!(stderr(&output).contains("its answer is no description of a model"), "{}", stderr(&output));
    // Without a Python there is nothing to run it.
    let output = run(&["inspect", file, "--model", "nets.Net(8)"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("name that with --python EXE"), "{}", stderr(&output));
}

#[test]
fn a_file_that_holds_its_modules_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("python");
    let ran = folder.path().join("ran");
    let text = format!("#!/bin/sh\ncase \"$1\" in -I) echo '[]';; *) touch '{}';; esac\n", ran.display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = script.to_str().unwrap();
    let output = run(&["inspect", "demo", "--format", "json", "--python", script, "--model", "nets.Net(8)"]);
    assert!(output.status.success() && !ran.exists());
    let warnings = json(&output)["warnings"].to_string();
    assert!(warnings.contains("what --model names was not built"), "{warnings}");
}
