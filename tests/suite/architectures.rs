//! Bare state dicts of published models, without their data: `assets/architectures/fixtures.py` wrote them with torch.

use serde_json::{Value, json};
use t2m_tui::architecture::Match;
use t2m_tui::model::Evidence;
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::report::{inspect_json, inspect_text};
use t2m_tui::triage::Status;

fn opened(name: &str) -> Opened {
    open(&Options { checkpoint: format!("tests/fixtures/architectures/{name}").into(), ..Options::default() }).unwrap()
}

fn class<'a>(opened: &'a Opened, path: &str) -> &'a str {
    let id = opened.model.find(path).unwrap_or_else(|| panic!("no module {path}"));
    opened.model.modules[id].short_class()
}

fn attribute(opened: &Opened, path: &str, name: &str) -> Option<Value> {
    let id = opened.model.find(path).unwrap();
    opened.model.modules[id].attributes.get(name).cloned()
}

#[test]
fn a_published_model_is_known_with_the_modules_that_have_no_tensors() {
    let opened = opened("resnet18-5c106cde.pth");
    let architecture = opened.architecture.as_deref().unwrap();
    assert_eq!(architecture.full_name(), "torchvision.resnet18");
    assert_eq!(architecture.kind(), Match::Exact);
    assert_eq!((architecture.fit.fitting, architecture.fit.of), (122, 122));
    assert!(architecture.by_file_name);
    // As torch's own list of modules has them, and in its order.
    let paths: Vec<&str> = opened.model.modules.iter().map(|module| module.path.as_str()).take(9).collect();
    assert_eq!(paths, ["", "conv1", "bn1", "relu", "maxpool", "layer1", "layer1.0", "layer1.0.conv1", "layer1.0.bn1"]);
    assert_eq!(class(&opened, ""), "ResNet");
    assert_eq!(class(&opened, "maxpool"), "MaxPool2d");
    assert_eq!(attribute(&opened, "conv1", "stride"), Some(json!([2, 2])));
    assert_eq!(attribute(&opened, "bn1", "eps"), Some(json!(1e-5)));
    assert!(opened.model.modules.iter().all(|module| module.evidence == Evidence::Architecture));
    // Every layer is known in full.
    let layers = opened.triage.layers(&opened.model);
    assert!(layers.into_iter().all(|id| opened.triage.modules[id].status.converts()));
}

#[test]
fn reports_name_the_model_and_what_differs() {
    let opened = opened("ten_classes.pth");
    let mut text = String::new();
    inspect_text::text(&mut text, &opened, None).unwrap();
    assert!(text.contains("torchvision resnet18, 120 of 122 tensors fit"), "{text}");
    assert!(text.contains("`fc.weight` is 7×512 here and 1000×512 there"), "{text}");
    let report = serde_json::to_value(inspect_json::Report { opened: &opened, check: None }).unwrap();
    let architecture = &report["checkpoint"]["architecture"];
    assert_eq!(architecture["name"], "torchvision.resnet18");
    assert_eq!(architecture["match"], "head");
    assert_eq!(architecture["tensors"], json!([120, 122]));
    let fc = report["modules"].as_array().unwrap().iter().find(|module| module["path"] == "fc").unwrap();
    assert_eq!(fc["evidence"], "architecture");
    // The file's shape wins.
    assert_eq!(fc["attributes"]["out_features"], 7);
    assert_eq!(fc["attributes"]["in_features"], 512);
}

#[test]
fn a_backbone_and_a_prefix_are_found() {
    let backbone = opened("backbone.pth");
    let architecture = backbone.architecture.as_deref().unwrap();
    assert_eq!((architecture.full_name().as_str(), architecture.kind()), ("torchvision.resnet18", Match::Backbone));
    assert_eq!(architecture.fit.missing, ["fc.weight", "fc.bias"]);
    assert!(backbone.model.find("fc").is_none());
    let prefixed = opened("prefixed.pth");
    let architecture = prefixed.architecture.as_deref().unwrap();
    assert!(architecture.names.iter().any(|name| name == "vit_tiny_patch16_224"));
    assert!(architecture.title().contains("below `model.encoder.`"), "{}", architecture.title());
    assert_eq!(class(&prefixed, "model.encoder.blocks.3.attn"), "Attention");
    assert_eq!(class(&prefixed, "model.encoder.blocks.3.mlp.act"), "GELU");
    assert_eq!(attribute(&prefixed, "model.encoder.blocks.3.norm1", "eps"), Some(json!(1e-6)));
    // What is around it is not told.
    assert_eq!(class(&prefixed, "model"), "");
}

#[test]
fn what_the_file_cannot_tell_apart_stays_unknown_and_is_listed() {
    // efficientnet_b0 and tf_efficientnet_b0 differ in eps and padding alone.
    let opened = opened("undecided.pth");
    let architecture = opened.architecture.as_deref().unwrap();
    let others: Vec<&str> = architecture.others.iter().flat_map(|other| &other.names).map(String::as_str).collect();
    assert!(others.contains(&"tf_efficientnet_b0"), "{others:?}");
    assert!(!architecture.by_file_name);
    assert_eq!(attribute(&opened, "bn1", "eps"), None);
    let id = opened.model.find("bn1").unwrap();
    assert_eq!(opened.triage.modules[id].status, Status::Incomplete);
    let told = architecture.told_apart.iter().find(|told| told.module == "bn1" && told.attribute == "eps").unwrap();
    assert!(told.values.contains(&Some(json!(1e-5))) && told.values.contains(&Some(json!(1e-3))), "{told:?}");
    let report = serde_json::to_value(inspect_json::Report { opened: &opened, check: None }).unwrap();
    let candidates = report["checkpoint"]["candidates"].as_array().unwrap();
    let tf = candidates.iter().find(|candidate| candidate["name"] == "timm.tf_efficientnet_b0").unwrap();
    assert!(tf["differs"]["bn1"]["eps"].as_array().unwrap().len() >= 2);
}

#[test]
fn a_file_without_counters_fits_and_another_network_does_not() {
    let old = opened("old.pth");
    assert_eq!(old.architecture.as_deref().unwrap().fit.fitting, 102);
    let another = opened("another.pth");
    assert!(another.architecture.is_none());
    assert!(another.model.modules.iter().all(|module| module.evidence == Evidence::Inferred));
}

#[test]
fn a_few_heads_whose_names_end_alike_are_found_by_their_whole_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("heads.safetensors");
    let names: Vec<String> = (0..7).map(|number| format!("lin{number}.model.1.weight")).collect();
    let widths = [64, 128, 256, 384, 384, 512, 512];
    let shapes = widths.map(|width| [1, width, 1, 1]);
    let tensors: Vec<(&str, &[u64])> =
        names.iter().zip(&shapes).map(|(name, shape)| (name.as_str(), &shape[..])).collect();
    std::fs::write(&path, crate::common::archive::safetensors(&tensors)).unwrap();
    let opened = open(&Options { checkpoint: path, ..Options::default() }).unwrap();
    let architecture = opened.architecture.as_deref().unwrap();
    assert_eq!((architecture.full_name().as_str(), architecture.kind()), ("lpips.squeeze", Match::Exact));
    assert_eq!((class(&opened, "lin3.model.0"), class(&opened, "lin3.model.1")), ("Dropout", "Conv2d"));
}
