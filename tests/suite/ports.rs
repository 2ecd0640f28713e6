//! Packages that say they have the model in MLX: by config.json, by the published model, by the pickled class.

use serde_json::{Value, json};
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::report::{inspect_json, inspect_text};

use crate::facts::fixture;

fn opened(path: std::path::PathBuf) -> Opened {
    open(&Options { checkpoint: path, ..Options::default() }).unwrap()
}

/// A folder of Hugging Face with this config.json.
fn folder(config: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("hf/model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

fn ports(opened: &Opened) -> Value {
    let report = serde_json::to_value(inspect_json::Report { opened, check: None }).unwrap();
    report["checkpoint"]["ports"].clone()
}

fn ports_of(config: Value) -> Value {
    ports(&opened(folder(&config).path().to_owned()))
}

#[test]
fn the_type_of_the_model_names_them_in_the_order_of_the_list() {
    let llama = json!({"model_type": "llama", "architectures": ["LlamaForCausalLM"]});
    assert_eq!(
        ports_of(llama),
        json!([
            {"package": "mlx-lm", "module": "mlx_lm.models.llama"},
            {"package": "mlx-vlm", "module": "mlx_vlm.models.llama"},
        ])
    );
    // Another name of the same layers, by the package's own table.
    assert_eq!(ports_of(json!({"model_type": "mistral"}))[0]["module"], "mlx_lm.models.llama");
    for nothing in [json!({"model_type": "no_such_model"}), json!({"model_type": 5, "architectures": 7}), json!({})] {
        assert_eq!(ports_of(nothing), json!([]));
    }
}

#[test]
fn a_class_wins_over_the_type_within_its_package() {
    let modules = |config: Value| {
        let found = ports_of(config);
        found.as_array().unwrap().iter().map(|port| port["module"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let plain = modules(json!({"model_type": "bailing_hybrid"}));
    let other = modules(json!({"model_type": "bailing_hybrid", "architectures": ["BailingMoeV3ForCausalLM"]}));
    assert!(plain.contains(&"mlx_lm.models.bailing_hybrid".to_owned()), "{plain:?}");
    assert_eq!(
        other.iter().filter(|module| module.starts_with("mlx_lm.")).collect::<Vec<_>>(),
        ["mlx_lm.models.bailing_moe_v3"]
    );
    let unet = modules(json!({"_class_name": "UNet2DConditionModel"}));
    assert_eq!(unet, ["stable_diffusion.stable_diffusion.unet"]);
}

#[test]
fn a_published_model_has_them_and_reports_say_whose_word_it_is() {
    let resnet = opened("tests/fixtures/architectures/resnet18-5c106cde.pth".into());
    assert_eq!(ports(&resnet), json!([{"package": "mlx-image", "module": "mlxim.model.resnet.resnet"}]));
    let (mut text, mut markdown) = (String::new(), String::new());
    inspect_text::text(&mut text, &resnet, None).unwrap();
    inspect_text::markdown(&mut markdown, &resnet).unwrap();
    let line = text.lines().find(|line| line.starts_with("ready in:")).unwrap();
    assert!(line.contains("mlx-image 0.1.10: mlxim.model.resnet.resnet (as the package says itself"), "{line}");
    assert!(markdown.contains("- ready in: mlx-image 0.1.10: mlxim.model.resnet.resnet"), "{markdown}");
    // Neither has a file that nobody knows.
    let other = opened("tests/fixtures/architectures/another.pth".into());
    let mut text = String::new();
    inspect_text::text(&mut text, &other, None).unwrap();
    assert!(!text.contains("ready in:") && ports(&other) == json!([]), "{text}");
}
