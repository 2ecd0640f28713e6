//! The command line without engines: inspect, errors, exit codes.

use crate::common::{file, json, program, run, stderr};
use serde_json::Value;

#[test]
fn inspect_knows_every_status_and_every_seed_blocker_of_the_demo() {
    let output = run(&["inspect", "demo", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!(report["schema"], 1);
    assert_eq!(report["checkpoint"]["format"], "torch-zip");
    assert_eq!(report["checkpoint"]["parameters"], 40_192);
    let layers = &report["summary"]["layers"];
    for status in ["direct", "recipe", "incomplete", "unsupported", "container", "custom", "unknown"] {
        assert!(layers[status].as_u64().unwrap_or(0) > 0, "no {status} in {layers:#}");
    }
    let patterns: Vec<&str> =
        report["blockers"].as_array().unwrap().iter().map(|blocker| blocker["pattern"].as_str().unwrap()).collect();
    for pattern in
        [".copy_(", "torch.autograd.Function", ".item()", "register_forward_hook", "register_backward_hook", "+="]
    {
        assert!(patterns.contains(&pattern), "no {pattern} in {patterns:?}");
    }
    let item = report["blockers"].as_array().unwrap().iter().find(|blocker| blocker["pattern"] == ".item()").unwrap();
    assert_eq!((item["module"].as_str(), item["file"].as_str()), (Some("picture"), Some("demo/scene.py")));
    assert!(item["text"].as_str().unwrap().contains("x.abs().mean().item()"));
}

#[test]
fn every_module_has_a_status_with_a_reason_and_evidence() {
    let report = json(&run(&["inspect", "demo", "--format", "json"]));
    let modules = report["modules"].as_array().unwrap();
    assert_eq!(modules[0]["path"], "");
    assert_eq!(modules[0]["class"], "scene.Scene");
    for module in modules {
        assert!(!module["reason"].as_str().unwrap().is_empty(), "{module:#}");
        assert_eq!(module["evidence"], "exact");
        assert_eq!(module["confidence"], 1.0);
    }
    let module = |path: &str| modules.iter().find(|module| module["path"] == path).unwrap();
    let attention = module("caption.blocks.0.attention");
    assert_eq!(attention["status"], "recipe");
    assert_eq!(attention["recipe"], "split in_proj, bias=True");
    assert_eq!(attention["attributes"]["num_heads"], 4);
    let conv = module("picture.blocks.0.conv2");
    assert_eq!(conv["attributes"]["padding"], serde_json::json!([1, 2]));
    assert_eq!((conv["status"].as_str(), conv["rule"].as_str()), (Some("direct"), Some("conv2d")));
    assert_eq!(module("caption.act")["status"], "incomplete");
    assert_eq!(module("picture.pool")["difficulty"], "out-of-scope");
}

#[test]
fn coverage_counts_layers_and_each_parameter_once() {
    let coverage = |path: &str| json(&run(&["inspect", path, "--format", "json"]))["summary"]["coverage"].clone();
    let demo = coverage("demo");
    // The incomplete GELU, the random pool and the stub do not convert, and have no parameters.
    assert_eq!(demo["layers"], 50.0 / 53.0);
    assert_eq!(demo["parameters"], 1.0);
    // A tied weight sits in two layers and counts once.
    let tied = coverage("tests/fixtures/module.pt")["parameters"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&tied), "{tied}");
}

#[test]
fn text_and_markdown_say_the_same() {
    let text = String::from_utf8(run(&["inspect", "demo"]).stdout).unwrap();
    let markdown = String::from_utf8(run(&["inspect", "demo", "--format", "md"]).stdout).unwrap();
    for report in [&text, &markdown] {
        for part in ["Softmax", "MultiheadAttention", "split in_proj", "demo/scene.py:", "out-of-scope", "→ nn.Conv2d"]
        {
            assert!(report.contains(part), "no {part} in\n{report}");
        }
    }
}

#[test]
fn without_a_terminal_the_report_is_printed() {
    let plain = run(&["demo"]);
    assert_eq!(plain.status.code(), Some(0));
    assert_eq!(plain.stdout, run(&["inspect", "demo"]).stdout);
}

#[test]
fn fail_under_turns_the_exit_code() {
    assert_eq!(run(&["inspect", "demo", "--fail-under", "0.5"]).status.code(), Some(0));
    assert_eq!(run(&["inspect", "demo", "--fail-under", "1"]).status.code(), Some(1));
    assert_eq!(run(&["inspect", "demo", "--fail-under", "2"]).status.code(), Some(2));
}

#[test]
fn wrong_inputs_exit_with_2_and_name_the_file() {
    let (_folder, text) = file("notes.pt", "this is not a checkpoint");
    let output = program().arg("inspect").arg(&text).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("notes.pt"), "{}", stderr(&output));

    let missing = run(&["inspect", "no/such.pt"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("no/such.pt"));

    let glob = run(&["verify", "demo", "--layers", "nothing.*"]);
    assert_eq!(glob.status.code(), Some(2));
    assert!(stderr(&glob).contains("nothing.*"), "{}", stderr(&glob));

    let source = run(&["inspect", "demo", "--source", "no/such/folder"]);
    assert_eq!(source.status.code(), Some(2));
    assert!(stderr(&source).contains("no/such/folder"));

    let (_folder, registry) = file("mine.toml", "[[layer]]\nclass = \"a.B\"\nwrong = 1\n");
    let output = program().args(["inspect", "demo", "--registry"]).arg(&registry).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("line 3, column 1"), "{}", stderr(&output));
    assert_eq!(run(&[]).status.code(), Some(2));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = program()
        .args(["inspect", "demo", "--format", "json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn completions_and_manual_page_are_written() {
    let bash = String::from_utf8(run(&["completions", "bash"]).stdout).unwrap();
    assert!(bash.contains("t2m-tui") && bash.contains("--layers"));
    let man = String::from_utf8(run(&["man"]).stdout).unwrap();
    assert!(man.contains(".TH t2m-tui"), "{man}");
}

#[test]
fn the_program_links_no_engine() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_t2m-tui")).unwrap();
    // As text, which the standard library searches fast in a test's build too. ASCII stays what it is.
    let binary = String::from_utf8_lossy(&binary);
    assert!(binary.contains("t2m-torch"), "it names what it starts");
    for library in ["libtorch_cpu", "libc10.", "libmlx."] {
        assert!(!binary.contains(library), "{library} is named in t2m-tui");
    }
}

#[test]
fn source_is_found_for_an_override_file_too() {
    let (_folder, registry) = file(
        "mine.toml",
        "[[layer]]\nclass = \"scene.Residual\"\nstatus = \"unsupported\"\ndifficulty = \"easy\"\nreason = \"Ours.\"\n",
    );
    let output = program().args(["inspect", "demo", "--format", "json", "--registry"]).arg(&registry).output().unwrap();
    let report = json(&output);
    let residual: Vec<&Value> =
        report["modules"].as_array().unwrap().iter().filter(|module| module["class"] == "scene.Residual").collect();
    assert_eq!(residual.len(), 2);
    assert!(residual.iter().all(|module| module["status"] == "unsupported" && module["reason"] == "Ours."));
}

/// A class of one's own that is a layer of torch, used twice, with a blocker beside it.
const NET: &str = "\
import torch.nn as nn


class Same(nn.Linear):
    pass


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = Same(3, 3)

    def forward(self, x):
        x[x > 0] = 0
        return self.fc(x) * x.mean().item()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Block()
        self.second = Block()

    def forward(self, x):
        return self.second(self.first(x))
";

/// `inspect` or another command on a state dict of [`NET`], with more arguments.
fn run_net(command: &str, more: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    let (model, source) = (folder.path().join("net.safetensors"), folder.path().join("net.py"));
    let data = [1u8; 36];
    let tensor = |count: usize| {
        let shape = if count == 9 { vec![3, 3] } else { vec![3] };
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &data[..4 * count]).unwrap()
    };
    let names = [("first.fc.weight", 9), ("first.fc.bias", 3), ("second.fc.weight", 9), ("second.fc.bias", 3)];
    let views = names.map(|(name, count)| (name, tensor(count)));
    std::fs::write(&model, safetensors::serialize(views, None).unwrap()).unwrap();
    std::fs::write(&source, NET).unwrap();
    program().arg(command).arg(model).arg("--source").arg(source).args(more).output().unwrap()
}

#[test]
fn a_blocker_is_told_once_with_the_modules_that_run_it() {
    let report = String::from_utf8(run_net("inspect", &[]).stdout).unwrap();
    assert_eq!(report.matches("net.py:15").count(), 1, "{report}");
    assert!(report.contains("in first, second: x.mean().item()"), "{report}");
    let markdown = String::from_utf8(run_net("inspect", &["--format", "md"]).stdout).unwrap();
    assert!(markdown.contains("`first, second`"), "{markdown}");
    let json = json(&run_net("inspect", &["--format", "json"]));
    let mut places = json["blockers"].as_array().unwrap().iter().filter(|blocker| blocker["line"] == 15);
    let place = places.next().unwrap();
    assert_eq!((&place["module"], &place["modules"]), (&"first".into(), &serde_json::json!(["first", "second"])));
    assert!(places.next().is_none(), "one entry a place");
    assert_eq!(place["reach"], "inference");
}

#[test]
fn a_container_is_no_layer_but_has_some() {
    let output = run_net("verify", &["--layers", "first"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("first is no layer but what layers are in"), "{}", stderr(&output));
    assert!(stderr(&output).contains("--layers 'first.*'"), "{}", stderr(&output));
}

#[test]
fn a_registry_row_for_a_bare_class_name_says_what_a_full_path_is() {
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows.toml");
    std::fs::write(&rows, "[[layer]]\nclass = \"Conv2d\"\nstatus = \"container\"\nreason = \"x\"\n").unwrap();
    let output = run(&["inspect", "demo", "--registry", rows.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("torch.nn.modules.conv.Conv2d"), "{}", stderr(&output));
}

#[test]
fn an_unknown_bound_is_named_with_those_that_there_are() {
    let (_folder, rows) = file("rows.toml", "[[layer]]\nclass = \"torch.nn.modules.linear.Linear\"\nbound = \"lax\"\n");
    let output = run(&["inspect", "demo", "--registry", rows.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("copy, pointwise, contraction N and norm N"), "{}", stderr(&output));
}

#[test]
fn blocks_are_named_with_the_arguments_that_they_would_be_built_with() {
    let report = json(&run(&["inspect", "tests/fixtures/blocks.pt", "--format", "json"]));
    let modules = report["modules"].as_array().unwrap();
    let block = |path: &str| modules.iter().find(|module| module["path"] == path).unwrap()["template"].clone();
    let dims = serde_json::json!({"dims": [24, 40, 10], "activation": "gelu", "bias": true, "dropout": 0.1});
    assert_eq!(block("mlp"), serde_json::json!({"name": "MLP", "args": dims, "whole": true}));
    assert_eq!(block("own"), serde_json::json!({"name": "MLP", "args": dims, "whole": false}));
    assert_eq!((&block("conv")["name"], &block("conv")["args"]["norm"]), (&"ConvBlock".into(), &1e-5.into()));
    assert_eq!(block("other"), serde_json::Value::Null, "two activations in a row are no MLP");
}

#[test]
fn the_readmes_registry_files_are_read() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    for name in ["# mine.toml", "# wrong.toml"] {
        let from = readme.find(name).expect(name);
        let block: Vec<&str> = readme[from..].lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let (_folder, file) = file("example.toml", block.join("\n"));
        let registry = t2m_tui::registry::Registry::load(&[file]).unwrap();
        let class = block.iter().find_map(|line| line.strip_prefix("class = ")).unwrap().trim_matches('"');
        assert!(registry.layer(class).is_some(), "{class}");
    }
}

#[test]
fn the_readme_shows_what_inspect_prints_of_weights_alone() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (_, behind) = readme.split_once("`t2m-tui inspect resnet18-5c106cde.pth` begins\n\n").unwrap();
    let shown = behind.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let shown: Vec<&str> = shown.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    let output = run(&["inspect", "tests/fixtures/architectures/resnet18-5c106cde.pth"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<&str> = printed.lines().take(shown.len() - 1).map(str::trim_end).collect();
    // The fixture's file has no numbers in it, so that it is smaller.
    assert!(
        shown.len() > 12 && shown[0].starts_with("resnet18-5c106cde.pth · torch-zip · 11.7 M parameters · "),
        "{shown:?}"
    );
    assert_eq!(shown[1..shown.len() - 1], printed[1..]);
}
