//! Checkpoints made by PyTorch itself, against what PyTorch says is in them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use t2m_checkpoint::{Checkpoint, Content, Format, TensorKind};
use t2m_tui::model::{self, Evidence, Model};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn opened(name: &str) -> Checkpoint {
    Checkpoint::open(&fixture(name)).unwrap()
}

fn expected(name: &str) -> Value {
    let text = std::fs::read_to_string(fixture("expected.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[name].take()
}

/// Names, types, shapes and first elements of all tensors.
fn assert_tensors(name: &str, in_order: bool) -> Checkpoint {
    let checkpoint = opened(name);
    let expected = expected(name);
    let expected = expected["tensors"].as_object().unwrap();
    let mut names: Vec<&str> = checkpoint.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut expected_names: Vec<&str> = expected.keys().map(String::as_str).collect();
    if !in_order {
        names.sort_unstable();
        expected_names.sort_unstable();
    }
    assert_eq!(names, expected_names, "{name}");
    for (id, tensor) in checkpoint.tensors.iter().enumerate() {
        let expected = &expected[tensor.name.as_str()];
        assert_eq!(tensor.dtype.name(), expected["dtype"], "{name}: {}", tensor.name);
        assert_eq!(json!(tensor.shape.as_slice()), expected["shape"], "{name}: {}", tensor.name);
        let data = checkpoint.read(id).unwrap();
        assert_eq!(data.shape.iter().product::<usize>() * data.dtype.size(), data.bytes.len());
        let elements: Vec<f64> = data.to_f64().unwrap().into_iter().take(6).collect();
        // As f32: the JSON reader may be off by the last bit of an f64.
        let expected = expected["elements"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32);
        assert!(elements.iter().map(|&value| value as f32).eq(expected), "{name}: {} {elements:?}", tensor.name);
    }
    checkpoint
}

#[test]
fn a_state_dict_has_its_tensors_and_its_module_paths() {
    let checkpoint = assert_tensors("state_dict.pt", true);
    assert_eq!(checkpoint.format, Format::TorchZip);
    let Content::StateDict { module_versions } = &checkpoint.content else { panic!("modules") };
    assert_eq!(json!(module_versions), expected("state_dict.pt")["versions"]);
    assert!(checkpoint.metadata.is_empty() && checkpoint.wrappers.is_empty() && checkpoint.warnings.is_empty());
    assert!(checkpoint.pickle.unwrap().refused.is_empty());
}

#[test]
fn protocol_4_holds_the_same() {
    assert_tensors("protocol_4.pt", true);
}

#[test]
fn a_training_checkpoint_is_unwrapped_and_the_rest_described() {
    let checkpoint = assert_tensors("wrapped.pt", true);
    assert_eq!(checkpoint.wrappers, ["state_dict", "module.", "_orig_mod."]);
    let Content::StateDict { module_versions } = &checkpoint.content else { panic!("modules") };
    let paths: Vec<&str> = module_versions.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["", "fc", "norm", "act", "out"]);
    let metadata = &checkpoint.metadata;
    assert_eq!((&metadata["epoch"], &metadata["best"]), (&json!(12), &json!(0.5)));
    assert_eq!(metadata["args"], json!({"class": "argparse.Namespace", "lr": 1e-3, "layers": [1, 2]}));
    let optimizer = &metadata["optimizer"];
    assert_eq!(optimizer["state"], json!({"entries": 6, "fields": ["step", "exp_avg", "exp_avg_sq"]}));
    assert_eq!((&optimizer["groups"][0]["lr"], &optimizer["groups"][0]["params"]), (&json!(1e-3), &json!(6)));
    let report = checkpoint.pickle.unwrap();
    assert!(report.globals.iter().any(|global| global.name == "argparse.Namespace" && !global.allowed));
    assert!(report.refused[0].starts_with("argparse.Namespace() at byte "), "{:?}", report.refused);
}

#[test]
fn a_pickled_module_is_what_named_modules_lists() {
    let checkpoint = assert_tensors("module.pt", true);
    let expected = expected("module.pt");
    let Content::Modules(modules) = &checkpoint.content else { panic!("a state dict") };
    let listed: Vec<[&str; 2]> = modules.iter().map(|module| [module.path.as_str(), module.class.as_str()]).collect();
    assert_eq!(json!(listed), expected["modules"]);
    let id = |name: &str| checkpoint.tensors.iter().position(|tensor| tensor.name == name).unwrap();
    assert_eq!(checkpoint.tensors[id("head.weight")].shared_with, Some(id("embed.weight")));
    assert_eq!(checkpoint.tensors.iter().filter(|tensor| tensor.shared_with.is_some()).count(), 1);
    assert!(checkpoint.tensors[id("stem.weight")].requires_grad && !checkpoint.tensors[id("scalar")].requires_grad);
    assert_eq!(checkpoint.tensors[id("expanded")].strides().as_slice(), [0, 1]);
    let root = &modules[0];
    assert_eq!(root.attributes["window"], json!([3, "inf"]));
    assert_eq!(root.attributes["dtype"], "torch.float32");
    assert_eq!(root.attributes["names"], json!({"a": [1, null, true], "2": "two"}));
    assert_eq!(root.attributes["options"], json!({"class": "argparse.Namespace"}));
    assert!(!root.attributes.contains_key("training"));
    assert!(
        root.tensors.iter().any(|own| own.name == "nothing" && own.kind == TensorKind::Buffer && own.tensor.is_none())
    );
    let head = modules.iter().find(|module| module.path == "head").unwrap();
    assert!(
        head.tensors.iter().any(|own| own.name == "bias" && own.kind == TensorKind::Parameter && own.tensor.is_none())
    );

    let model = model::build(&checkpoint);
    assert_eq!(json!(model.modules[0].total_parameters), expected["parameters"]);
    assert_eq!(model.modules[0].end, modules.len());
    let conv = &model.modules[model.find("blocks.1.conv").unwrap()];
    assert_eq!((conv.evidence, conv.confidence, conv.depth), (Evidence::Exact, 1.0, 3));
    assert_eq!(model::attributes::describe(conv), "8→8 k3 same g2");
    let stem = &model.modules[model.find("stem").unwrap()];
    assert_eq!(model::attributes::describe(stem), "3→8 k5×3 s2 p2×1");
    let attention = &model.modules[model.find("attn").unwrap()];
    assert_eq!(model::attributes::describe(attention), "2 heads·4");
}

#[test]
fn a_module_under_a_key_is_found_and_its_hooks_are_told() {
    let checkpoint = assert_tensors("module_in_checkpoint.pt", true);
    assert_eq!(checkpoint.wrappers, ["model"]);
    assert_eq!(checkpoint.metadata["epoch"], -1);
    assert_eq!(checkpoint.warnings.len(), 1);
    assert!(checkpoint.warnings[0].contains("`0` are forward hooks"), "{:?}", checkpoint.warnings);
}

#[test]
fn odd_tensors_are_listed_and_say_why_they_cannot_be_read() {
    let checkpoint = opened("odd_tensors.pt");
    let listing: Vec<String> = checkpoint
        .tensors
        .iter()
        .enumerate()
        .map(|(id, tensor)| {
            let read = match checkpoint.read(id) {
                Ok(data) => format!("{} bytes", data.bytes.len()),
                Err(error) => error.to_string().split_once("`: ").unwrap().1.to_owned(),
            };
            format!("{} {} {:?}: {read}", tensor.name, tensor.dtype.name(), tensor.shape)
        })
        .collect();
    insta::assert_snapshot!(listing.join("\n"));
}

#[test]
fn big_endian_elements_are_turned_round() {
    let checkpoint = opened("big_endian.pt");
    let read = |name: &str| {
        let id = checkpoint.tensors.iter().position(|tensor| tensor.name == name).unwrap();
        checkpoint.read(id).unwrap()
    };
    assert_eq!(read("f").to_f32().unwrap(), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(read("i").to_f32().unwrap(), [258.0]);
    // The two parts of a complex number keep their order.
    assert_eq!(read("c").bytes, [1.0f32.to_le_bytes(), 2.0f32.to_le_bytes()].concat());
    assert!(checkpoint.storages.iter().all(|storage| storage.big_endian));
}

#[test]
fn safetensors_hold_the_same() {
    let checkpoint = assert_tensors("state_dict.safetensors", false);
    assert_eq!(checkpoint.format, Format::Safetensors);
    assert_eq!(checkpoint.metadata["format"], "pt");
    assert!(checkpoint.pickle.is_none());
}

fn inferred(model: &Model) -> String {
    let lines = model.modules.iter().map(|module| {
        let either: Vec<&str> = module.alternatives.iter().filter_map(|class| class.rsplit('.').next()).collect();
        let line = [module.path.as_str(), module.short_class(), &model::attributes::describe(module)].join(" | ");
        format!("{line} | {:.2} {} | {}", module.confidence, either.join(" "), module.total_parameters)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn classes_are_inferred_from_a_bare_state_dict() {
    insta::assert_snapshot!(inferred(&model::build(&opened("state_dict.pt"))), @r"
     |  |  | 0.00  | 34
    fc | Linear | 3→4 | 0.95  | 16
    norm | BatchNorm1d | 4 | 0.97  | 8
    act |  |  | 0.00  | 0
    out | Linear | 4→2 | 0.95  | 10
    ");
}
