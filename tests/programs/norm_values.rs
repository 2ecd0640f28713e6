//! Norms that add one to their weight: decided by the configuration beside the weights, or listed as undecided.

use std::path::{Path, PathBuf};

use crate::common::{json, run, stderr};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json as value};

/// A layer as transformers names it, with RMS norms, and one norm of a vision tower.
const NORMS: [&str; 3] =
    ["model.layers.0.input_layernorm.weight", "model.layers.0.self_attn.q_norm.weight", "model.norm.weight"];

fn write(path: &Path, names: &[(&str, &[usize])]) {
    let bytes = |shape: &[usize]| -> Vec<u8> {
        (0..shape.iter().product::<usize>()).flat_map(|at| (at as f32 * 0.37).sin().to_le_bytes()).collect()
    };
    let all: Vec<(&str, &[usize], Vec<u8>)> = names.iter().map(|(name, shape)| (*name, *shape, bytes(shape))).collect();
    let views =
        all.iter().map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A folder with a model of these norms beside its projections, and its configuration.
fn folder(names: &[&str], config: Option<&Value>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut all: Vec<(&str, &[usize])> = names.iter().map(|name| (*name, [8].as_slice())).collect();
    all.push(("model.layers.0.self_attn.q_proj.weight", &[8, 16]));
    all.push(("model.layers.0.mlp.gate_proj.weight", &[24, 8]));
    write(&folder.path().join("model.safetensors"), &all);
    if let Some(config) = config {
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    }
    let path = folder.path().to_owned();
    (folder, path)
}

/// Of each norm what was added, and what is copied.
fn converted(input: &Path, names: &[&str]) -> (Vec<f32>, Value) {
    let target = input.with_file_name("out.safetensors");
    let output =
        run(&["convert", input.to_str().unwrap(), "-o", target.to_str().unwrap(), "--force", "--format", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let bytes = std::fs::read(&target).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    let first = |name: &&str| f32::from_le_bytes(read.tensor(name).unwrap().data()[..4].try_into().unwrap());
    (names.iter().map(first).collect(), json(&output)["copied"].clone())
}

fn strict(input: &Path) -> Option<i32> {
    let target = input.with_file_name("out.safetensors");
    run(&["convert", input.to_str().unwrap(), "-o", target.to_str().unwrap(), "--force", "--strict"]).status.code()
}

#[test]
fn the_configuration_decides() {
    for (config, added) in [
        (value!({"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2"}), 1.0),
        // The type is no module of transformers; only one of the two is there.
        (value!({"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text"}), 1.0),
        (value!({"model_type": "qwen3_5_moe_text"}), 1.0),
        (value!({"architectures": ["Qwen3NextForCausalLM"]}), 1.0),
        (value!({"architectures": ["PaliGemmaForConditionalGeneration"], "text_config": {"model_type": "gemma"}}), 0.0),
        (value!({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}), 0.0),
        (value!({"architectures": ["Gemma3nForCausalLM"], "model_type": "gemma3n_text"}), 0.0),
    ] {
        let (_kept, path) = folder(&NORMS, Some(&config));
        // The folder, and the file in it.
        for input in [path.clone(), path.join("model.safetensors")] {
            let outside = tempfile::tempdir().unwrap();
            let target = outside.path().join("out.safetensors");
            let output = run(&["convert", input.to_str().unwrap(), "-o", target.to_str().unwrap(), "--strict"]);
            assert_eq!(output.status.code(), Some(0), "{config}: {}", stderr(&output));
            let bytes = std::fs::read(&target).unwrap();
            let read = SafeTensors::deserialize(&bytes).unwrap();
            for name in NORMS {
                let first = f32::from_le_bytes(read.tensor(name).unwrap().data()[..4].try_into().unwrap());
                assert_eq!(first, added, "{config} {name}");
            }
        }
    }
}

#[test]
fn the_parts_of_a_multimodal_model_have_configurations_of_their_own() {
    let norms = ["model.language_model.layers.0.input_layernorm.weight", "model.visual.blocks.0.norm1.weight"];
    for (text, vision, added) in [("gemma2", "qwen2_5_vl", [1.0, 0.0]), ("llama", "gemma2", [0.0, 1.0])] {
        let config = value!({"architectures": ["SomeVLForConditionalGeneration"], "model_type": "some_vl",
            "text_config": {"model_type": text}, "vision_config": {"model_type": vision}});
        let (_kept, path) = folder(&norms, Some(&config));
        let (found, copied) = converted(&path.join("model.safetensors"), &norms);
        assert_eq!((found, copied.as_array().map(Vec::len)), (added.to_vec(), Some(0)), "{config}");
    }
}

#[test]
fn without_a_configuration_they_are_listed_and_refused_strictly() {
    // None at all, and code of the repository's own.
    let own = value!({"architectures": ["OwnForCausalLM"], "auto_map": {"AutoModel": "modeling_own.OwnForCausalLM"}});
    for config in [None, Some(&own)] {
        let (_kept, path) = folder(&NORMS, config);
        let input = path.join("model.safetensors");
        let (found, copied) = converted(&input, &NORMS);
        assert_eq!(found, [0.0; 3]);
        let copied = copied.as_array().unwrap();
        let names: Vec<&str> = copied.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), NORMS.len(), "{copied:#?}");
        assert!(
            copied.iter().all(|one| one["reason"].as_str().unwrap().contains("adds 1 to its weight")),
            "{copied:#?}"
        );
        assert_eq!(strict(&input), Some(1));
    }
    // Llama's own format is known by its names.
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("consolidated.safetensors");
    write(
        &input,
        &[
            ("tok_embeddings.weight", &[32, 8]),
            ("norm.weight", &[8]),
            ("layers.0.attention_norm.weight", &[8]),
            ("layers.0.attention.wq.weight", &[8, 8]),
            ("layers.0.feed_forward.w1.weight", &[24, 8]),
        ],
    );
    assert_eq!(strict(&input), Some(0));
}
