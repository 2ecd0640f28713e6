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
    assert!(said.contains("`conv.weight` 4×3×5×5 instead of 8×3×5×5"), "{said}");
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

/// Tensors of zeros.
fn file_of(folder: &Path, tensors: &[(&str, &[usize])]) -> PathBuf {
    let bytes = vec![0u8; 1 << 16];
    let view = |(name, shape): &(&str, &[usize])| {
        let length = shape.iter().product::<usize>() * 4;
        ((*name).to_owned(), TensorView::new(Dtype::F32, shape.to_vec(), &bytes[..length]).unwrap())
    };
    let path = folder.join("weights.safetensors");
    std::fs::write(&path, safetensors::serialize(tensors.iter().map(view), None).unwrap()).unwrap();
    path
}

/// `inspect`, with a cache folder of its own.
fn with_inputs(file: &Path, cache: &Path, model: &str, inputs: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_t2m-tui"));
    command.env("XDG_CACHE_HOME", cache).arg("inspect").arg(file).args(["--format", "json", "--python", "python3"]);
    command.args(["--source", "tests/fixtures/built", "--model", model]);
    for input in inputs {
        command.args(["--input", input]);
    }
    command.output().unwrap()
}

#[test]
fn the_graph_is_exported_kept_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_of(folder.path(), &[("norm.weight", &[4]), ("norm.bias", &[4])]);
    let without = json(&inspect(&file, "nets.Graphed()"));
    assert_eq!(module(&without, "norm")["attributes"], value!({}));
    let report = |inputs: &[&str]| {
        let output = with_inputs(&file, folder.path(), "nets.Graphed()", inputs);
        assert!(output.status.success(), "{}", stderr(&output));
        json(&output)
    };
    let first = report(&["1x9:int64<50"]);
    let graph = &first["graph"];
    assert_eq!((&graph["reused"], &graph["nodes"]), (&value!(false), &value!(11)));
    let path = PathBuf::from(graph["file"].as_str().unwrap());
    assert!(path.starts_with(folder.path().join("t2m-tui/graphs")) && path.is_file(), "{path:?}");
    // What the model itself does not say its graph does.
    let norm = module(&first, "norm");
    assert_eq!((&norm["evidence"], &norm["attributes"]["num_groups"]), (&value!("model"), &value!(2)));
    assert_eq!(norm["status"], "recipe");
    // It is taken again, by its inputs, and nothing else lies about.
    assert_eq!(report(&["1x9:int64<50"])["graph"]["reused"], true);
    assert_eq!(report(&["1x8:int64<50"])["graph"]["reused"], false);
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    // One that is broken is not taken a third time.
    std::fs::write(&path, "no graph").unwrap();
    let output = with_inputs(&file, folder.path(), "nets.Graphed()", &["1x9:int64<50"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("it was removed, and is exported anew next time"), "{}", stderr(&output));
    assert_eq!(report(&["1x9:int64<50"])["graph"]["reused"], false);
}

#[test]
fn code_that_has_changed_has_another_graph() {
    let folder = tempfile::tempdir().unwrap();
    let code = folder.path().join("code");
    std::fs::create_dir(&code).unwrap();
    let net = "import torch\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n        \
               self.norm = torch.nn.GroupNorm(4)\n    def forward(self, x):\n        pass\n";
    let file = file_of(folder.path(), &[("norm.weight", &[4]), ("norm.bias", &[4])]);
    let graph = |text: String| {
        std::fs::write(code.join("mine.py"), text).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_t2m-tui"));
        command.env("XDG_CACHE_HOME", folder.path()).env("PYTHONDONTWRITEBYTECODE", "1").arg("inspect").arg(&file);
        command.args(["--format", "json", "--python", "python3", "--source", "tests/fixtures/built", "--source"]);
        let output = command.arg(&code).args(["--model", "mine.Net()", "--input", "1x4"]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        json(&output)["graph"].clone()
    };
    let (first, again) = (graph(net.to_owned()), graph(format!("{net}# changed\n")));
    assert_ne!(first["file"], again["file"]);
    assert_eq!(again["reused"], false);
}

#[test]
fn an_export_that_stops_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights(folder.path(), "", 8);
    for (inputs, said) in [
        (&["1x4x8x8"][..], "nets.py:15 (`assert list(image.shape)"),
        (&["1x3x8x8", "1", "2"][..], "torch.export stops: TypeError: Net.forward() takes"),
        (&["nosuch=1x3x8x8"][..], "unexpected keyword argument 'nosuch'"),
    ] {
        let output = with_inputs(&file, folder.path(), "nets.Net(8)", inputs);
        assert_eq!(output.status.code(), Some(2), "{inputs:?}");
        let words = stderr(&output);
        assert!(words.contains(said) && words.starts_with("t2m-tui: python3: --model "), "{inputs:?}: {words}");
    }
    // What is no input is told before anything runs.
    let output = with_inputs(&file, folder.path(), "nets.Net(8)", &["1x3y"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("column 3: a size is expected"), "{}", stderr(&output));
    let output = run(&["inspect", file.to_str().unwrap(), "--input", "1x3"]);
    assert!(stderr(&output).contains("name that with --model EXPR"), "{}", stderr(&output));
}

#[test]
fn models_of_odd_kinds_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, sizes: &'static [usize]| (name.to_owned(), sizes);
    let tensors = |names: &[(String, &'static [usize])]| {
        let own: Vec<(&str, &[usize])> = names.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
        file_of(folder.path(), &own)
    };
    let tied = [
        at("first.conv.weight", &[8, 3, 5, 5]),
        at("first.conv.bias", &[8]),
        at("second.bias", &[8]),
        at("more.weight", &[2]),
    ];
    // A tensor with two names is in the file once; what is more, and what is missing, is listed by name.
    let report = json(&inspect(&tensors(&tied), "nets.Tied()"));
    let architecture = &report["checkpoint"]["architecture"];
    assert_eq!(architecture["tensors"], value!([4, 4]), "{architecture}");
    assert_eq!(architecture["differences"], value!(["1 not in the model: `more.weight`"]));
    assert_eq!(module(&report, "")["attributes"]["settings"], value!({"class": "nets.Settings"}));
    // A module that holds one around it; a model that forks; a part of what the expression gives; names of its own.
    for model in
        ["nets.Round()", "nets.forks()", "nets.alone()", "nets.pair()[1]", "[nets.Net(width) for width in (8,)][0]"]
    {
        let names: Vec<_> = vec![at("conv.weight", &[8, 3, 5, 5]), at("conv.bias", &[8])];
        let output = inspect(&tensors(&names), model);
        assert!(output.status.success(), "{model}: {}", stderr(&output));
        assert_eq!(module(&json(&output), "conv")["evidence"], "model", "{model}");
    }
}

#[test]
fn more_that_goes_wrong_in_python() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights(folder.path(), "", 8);
    for (model, said) in [
        ("Net(8)", "a class or a function is named with its module, as in package.Net"),
        ("nets.Net", "it gives Net itself: call it, as in …(width)"),
        ("nets.pair()", "one of its parts is, write …[1]"),
        ("nets.needs()", "it has no module not_there"),
        ("nets.crashes()", "it ended without an answer, exit status: 4"),
        ("nets.ends()", "it ended without an answer"),
        ("x = 3", "at column 3; one Python expression is expected"),
        ("", "one Python expression is expected"),
    ] {
        let output = inspect(&file, model);
        assert_eq!(output.status.code(), Some(2), "{model}");
        assert!(stderr(&output).contains(said), "{model}: {}", stderr(&output));
    }
}

#[test]
fn the_folder_that_we_stand_in_puts_nothing_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights(folder.path(), "", 8);
    std::fs::write(folder.path().join("json.py"), "raise SystemExit('a json.py of the user')").unwrap();
    std::fs::write(folder.path().join("own.py"), "import nets\ndef make():\n    return nets.Net(8)\n").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_t2m-tui"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/built");
    command.current_dir(folder.path()).arg("inspect").arg(&file).arg("--source").arg(&source);
    // Its own modules are found there.
    let output = command.args(["--format", "json", "--python", "python3", "--model", "own.make()"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(module(&json(&output), "conv")["evidence"], "model");
}

#[test]
fn the_source_is_shown_where_python_found_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_t2m-tui"));
    // On no path that is read: only that Python knows it.
    command.env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/built"));
    command.arg("inspect").arg(weights(folder.path(), "", 8)).args(["--format", "json", "--python", "python3"]);
    let output = command.args(["--model", "nets.Net(8)"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let source = &module(&json(&output), "")["source"];
    let file = source["file"].as_str().unwrap_or_default();
    assert!(file.ends_with("nets.py") && source["line"].is_number(), "{source}");
}
