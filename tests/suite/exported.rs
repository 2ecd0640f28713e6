//! Exported programs made by real PyTorch, and what hostile hands make of them.

use std::path::Path;

use crate::common::mutated;
use crate::expected::{check, content, fixture, module, modules};
use crate::records;
use proptest::prelude::*;
use serde_json::{Value, json};
use t2m_checkpoint::{Bytes, Checkpoint, Format, TensorKind};

fn open(bytes: Vec<u8>) -> Result<Checkpoint, String> {
    Checkpoint::from_bytes(Path::new("net.pt2"), Bytes::Owned(bytes)).map_err(|error| error.to_string())
}

/// The fixture with one record's JSON changed.
fn changed(name: &str, record: &str, change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut records = records::read(&content(name));
    let (_, content) = records.iter_mut().find(|(name, _)| name.ends_with(record)).unwrap();
    let mut json = serde_json::from_slice(content).unwrap();
    change(&mut json);
    *content = serde_json::to_vec(&json).unwrap();
    stored(&records)
}

fn stored(records: &[(String, Vec<u8>)]) -> Vec<u8> {
    let records: Vec<_> = records.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    records::stored(&records)
}

#[test]
fn both_layouts_are_what_pytorch_says() {
    for name in ["exported.pt2", "exported_flat.pt2"] {
        let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
        assert_eq!((checkpoint.format, checkpoint.format.name()), (Format::ExportedProgram, "exported-program"));
        check(&checkpoint, "exported", &["unused"]);
        let second = checkpoint.tensors.iter().find(|tensor| tensor.name == "second.weight").unwrap();
        assert_eq!(checkpoint.tensors[second.shared_with.unwrap()].name, "first.weight");
        let mask = module(&checkpoint, "").tensors.iter().find(|own| own.name == "mask").unwrap();
        assert_eq!(mask.kind, TensorKind::Buffer, "not persistent, so among the constants");
        let [warning] = checkpoint.warnings.as_slice() else { panic!("{:?}", checkpoint.warnings) };
        assert!(warning.contains("`unused`, so the file does not say"), "{warning}");
        assert_eq!(checkpoint.metadata["schema_version"], json!("8.20"));
        let ranges = checkpoint.metadata["range_constraints"].as_object().unwrap();
        assert_eq!(ranges.len(), 1, "the batch is dynamic");
    }
}

#[test]
fn ops_are_counted_for_each_module_with_their_places() {
    let checkpoint = Checkpoint::open(&fixture("exported.pt2")).unwrap();
    let uses = |module: &str| -> Vec<(&str, u64)> {
        let ops = checkpoint.ops.iter().filter(|op| op.module == module);
        ops.map(|op| (op.op.as_str(), op.count)).collect()
    };
    assert_eq!(uses("stem"), [("torch.ops.aten.conv2d.default", 1)]);
    assert_eq!(uses("blocks.1"), [("torch.ops.aten.conv2d.padding", 1)]);
    assert_eq!(uses("blocks.0"), []);
    let root = [("torch.ops.aten.mean.dim", 1), ("torch.ops.aten.mul.Tensor", 1), ("torch.ops.aten.add.Tensor", 1)];
    assert_eq!(uses(""), root);
    let lines: Vec<String> = std::fs::read_to_string(fixture("nets.py")).unwrap().lines().map(str::to_owned).collect();
    let stem = checkpoint.ops.iter().find(|op| op.module == "stem").unwrap();
    let [(file, line)] = stem.places.as_slice() else { panic!("{:?}", stem.places) };
    assert_eq!(file, "/home/user/nets.py");
    assert!(lines[line - 1].contains("self.stem(x)"), "{}", lines[line - 1]);
}

#[test]
fn tensors_stay_on_disk_and_are_read_from_the_archive_within() {
    let checkpoint = Checkpoint::open(&fixture("exported_flat.pt2")).unwrap();
    let files: Vec<u32> = checkpoint.storages.iter().map(|storage| storage.file).collect();
    assert!(files.contains(&1) && files.contains(&2), "{files:?}");
    let current = Checkpoint::open(&fixture("exported.pt2")).unwrap();
    for (id, tensor) in current.tensors.iter().enumerate() {
        let other = checkpoint.tensors.iter().position(|other| other.name == tensor.name).unwrap();
        assert_eq!(current.read(id).unwrap(), checkpoint.read(other).unwrap(), "{}", tensor.name);
    }
}

#[test]
fn a_weight_that_reaches_past_its_record_is_an_error() {
    let config = "model_weights_config.json";
    let meta = |json: &mut Value, name: &str, value: Value| json["config"]["stem.weight"]["tensor_meta"][name] = value;
    for (field, value, words) in [
        ("sizes", json!([{"as_int": 5}, {"as_int": 3}, {"as_int": 3}, {"as_int": 3}]), "holds 108"),
        ("sizes", json!([{"as_int": i64::MAX}, {"as_int": i64::MAX}, {"as_int": 3}, {"as_int": 3}]), "64 bits"),
        ("sizes", json!([{"as_int": 4}]), "1 sizes but 4 strides"),
        ("sizes", json!([{"as_expr": {"expr_str": "s77"}}]), "no number"),
        ("storage_offset", json!({"as_int": -1}), "no number"),
        ("storage_offset", json!({"as_int": 1}), "needs 109 elements"),
    ] {
        let error = open(changed("exported.pt2", config, |json| meta(json, field, value.clone()))).unwrap_err();
        assert!(error.contains(config) && error.contains("tensor `stem.weight`"), "{error}");
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_weight_of_an_unknown_type_or_without_its_record_is_listed_with_its_problem() {
    let change = |json: &mut Value| {
        json["config"]["stem.weight"]["tensor_meta"]["dtype"] = json!(99);
        json["config"]["stem.bias"]["path_name"] = json!("weight_99");
    };
    let checkpoint = open(changed("exported.pt2", "model_weights_config.json", change)).unwrap();
    let problem = |name: &str| checkpoint.tensors.iter().find(|tensor| tensor.name == name).unwrap().problem.clone();
    assert!(problem("stem.weight").unwrap().contains("type number 99"));
    assert!(problem("stem.bias").unwrap().contains("`data/weights/weight_99` is missing"));
}

#[test]
fn a_weight_in_a_pickle_of_its_own_is_read() {
    let pickled = records::read(&content("exported_flat.pt2"));
    let (_, constants) = pickled.iter().find(|(name, _)| name == "serialized_constants.pt").unwrap();
    let mut all = records::read(&content("exported.pt2"));
    let root = all[0].0.split_once('/').unwrap().0.to_owned();
    all.push((format!("{root}/data/constants/tensor_9"), constants.clone()));
    let (_, config) = all.iter_mut().find(|(name, _)| name.ends_with("model_constants_config.json")).unwrap();
    let mut json: Value = serde_json::from_slice(config).unwrap();
    json["config"]["mask"]["path_name"] = json!("tensor_9");
    json["config"]["mask"]["use_pickle"] = json!(true);
    *config = serde_json::to_vec(&json).unwrap();
    let checkpoint = open(stored(&all)).unwrap();
    check(&checkpoint, "exported", &["unused"]);
}

#[test]
fn json_that_is_no_program_is_named_with_its_line() {
    let error =
        open(changed("exported.pt2", "models/model.json", |json| *json = json!({"graph_module": 1}))).unwrap_err();
    assert!(error.contains("models/model.json") && error.contains("line 1 column"), "{error}");
    let nested = "[".repeat(100_000);
    let mut all = records::read(&content("exported.pt2"));
    all.iter_mut().find(|(name, _)| name.ends_with("models/model.json")).unwrap().1 = nested.into_bytes();
    assert!(open(stored(&all)).is_err());
    all.retain(|(name, _)| !name.ends_with("models/model.json"));
    assert!(open(stored(&all)).unwrap_err().contains("without a program"));
}

#[test]
fn branches_nested_beyond_reason_are_an_error() {
    let change = |json: &mut Value| {
        let mut graph = json!({"nodes": []});
        for _ in 0..60 {
            let arg = json!({"as_graph": {"name": "g", "graph": graph}});
            graph = json!({"nodes": [{"target": "cond", "inputs": [{"name": "f", "arg": arg}]}]});
        }
        json["graph_module"]["graph"] = graph;
    };
    let mut json: Value = json!({"graph_module": {}});
    change(&mut json);
    let mut all = records::read(&content("exported.pt2"));
    all.iter_mut().find(|(name, _)| name.ends_with("models/model.json")).unwrap().1 = json.to_string().into_bytes();
    assert!(open(stored(&all)).unwrap_err().contains("recursion limit"));
}

#[test]
fn an_unknown_archive_format_is_named() {
    let mut all = records::read(&content("exported.pt2"));
    all.iter_mut().find(|(name, _)| name.ends_with("archive_format")).unwrap().1 = b"pt3".to_vec();
    assert!(open(stored(&all)).unwrap_err().contains("format `pt3`"));
}

#[test]
fn without_a_signature_weights_still_find_their_modules() {
    let strip = |json: &mut Value| json["graph_module"]["signature"] = json!({});
    let checkpoint = open(changed("exported_flat.pt2", "serialized_exported_program.json", strip)).unwrap();
    let stem = modules(&checkpoint).iter().find(|module| module.path == "stem").unwrap();
    let kinds: Vec<_> = stem.tensors.iter().map(|own| (own.name.as_str(), own.kind)).collect();
    assert_eq!(kinds, [("weight", TensorKind::Unknown), ("bias", TensorKind::Unknown)]);
    assert_eq!(stem.attributes["stride"], json!([2, 2]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files_never_panic(
        name in prop::sample::select(vec!["exported.pt2", "exported_flat.pt2"]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        if let Ok(checkpoint) = open(mutated(content(name), &edits, cut)) {
            for id in 0..checkpoint.tensors.len() {
                let _ = checkpoint.read(id);
            }
        }
    }

    #[test]
    fn any_numbers_in_a_layout_are_an_error_or_a_tensor(
        sizes in prop::collection::vec(any::<i64>(), 0..4),
        strides in prop::collection::vec(any::<i64>(), 0..4),
        offset in any::<i64>(),
    ) {
        let ints = |values: &[i64]| values.iter().map(|value| json!({"as_int": value})).collect::<Vec<_>>();
        let change = |json: &mut Value| {
            let meta = &mut json["config"]["stem.weight"]["tensor_meta"];
            meta["sizes"] = json!(ints(&sizes));
            meta["strides"] = json!(ints(&strides));
            meta["storage_offset"] = json!({"as_int": offset});
        };
        if let Ok(checkpoint) = open(changed("exported.pt2", "model_weights_config.json", change)) {
            let _ = checkpoint.read(0);
        }
    }
}
