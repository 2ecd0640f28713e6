//! A LoRA adapter of peft's as mlx-lm reads it, which is written on request alone.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::{json, run, stderr};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json as value};

/// A folder with an adapter of tensors of these names and shapes.
fn adapter(tensors: &[(&str, &[usize])], config: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |shape: &[usize]| -> Vec<u8> {
        (0..shape.iter().product::<usize>()).flat_map(|at| (at as f32).to_le_bytes()).collect()
    };
    let all: Vec<(String, &[usize], Vec<u8>)> =
        tensors.iter().map(|(name, shape)| (format!("base_model.model.{name}"), *shape, bytes(shape))).collect();
    let views =
        all.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
    std::fs::write(folder.path().join("adapter_model.safetensors"), safetensors::serialize(views, None).unwrap())
        .unwrap();
    std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
    folder
}

/// Shapes and numbers by name.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The tensors that come out, and the configuration beside them; or what is said instead.
fn converted(folder: &Path, options: &[&str]) -> Result<(Tensors, Value), String> {
    let out = tempfile::tempdir().unwrap();
    let target = out.path().join("adapters.safetensors");
    let call = [&["convert", folder.to_str().unwrap(), "-o", target.to_str().unwrap(), "--lora"], options].concat();
    let output = run(&call);
    if !output.status.success() {
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0, "something was left behind");
        return Err(stderr(&output));
    }
    let bytes = std::fs::read(&target).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    let floats =
        |bytes: &[u8]| bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let all = read.iter().map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), floats(view.data()))));
    let config = std::fs::read(out.path().join("adapter_config.json")).unwrap();
    Ok((all.collect(), serde_json::from_slice(&config).unwrap()))
}

const Q: &str = "model.layers.0.self_attn.q_proj";
const PAIR: [(&str, &[usize]); 2] = [
    ("model.layers.0.self_attn.q_proj.lora_A.weight", &[2, 3]),
    ("model.layers.0.self_attn.q_proj.lora_B.weight", &[4, 2]),
];

#[test]
fn the_factors_are_transposed_and_the_scale_is_written() {
    let mut tensors = PAIR.to_vec();
    tensors.extend([
        ("model.embed_tokens.lora_embedding_A", [2, 9].as_slice()),
        ("model.embed_tokens.lora_embedding_B", &[3, 2]),
    ]);
    for (stabilised, scale) in [(false, 8.0), (true, 16.0 / 2f64.sqrt())] {
        let config = value!({"peft_type": "LORA", "r": 2, "lora_alpha": 16, "use_rslora": stabilised});
        let folder = adapter(&tensors, &config);
        let (found, config) = converted(folder.path(), &[]).unwrap();
        assert_eq!(found[&format!("{Q}.lora_a")], (vec![3, 2], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
        assert_eq!(found[&format!("{Q}.lora_b")], (vec![2, 4], vec![0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]));
        let shapes = ["lora_a", "lora_b"].map(|own| found[&format!("model.embed_tokens.{own}")].0.clone());
        assert_eq!((found.len(), shapes), (4, [vec![9, 2], vec![2, 3]]));
        assert_eq!((&config["fine_tune_type"], &config["num_layers"]), (&"lora".into(), &(-1).into()));
        let parameters = &config["lora_parameters"];
        assert_eq!((parameters["rank"].as_u64(), parameters["scale"].as_f64()), (Some(2), Some(scale)));
        assert_eq!(parameters["keys"], value!(["model.embed_tokens", "self_attn.q_proj"]));
    }
}

#[test]
fn dora_keeps_its_magnitudes() {
    let mut tensors = PAIR.to_vec();
    tensors.push(("model.layers.0.self_attn.q_proj.lora_magnitude_vector.weight", &[4]));
    let folder = adapter(&tensors, &value!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_dora": true}));
    let (found, config) = converted(folder.path(), &[]).unwrap();
    assert_eq!((&found[&format!("{Q}.m")].1, &config["fine_tune_type"]), (&vec![0.0, 1.0, 2.0, 3.0], &"dora".into()));
}

#[test]
fn what_mlx_lm_has_no_place_for_is_refused_by_name() {
    let plain = value!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "modules_to_save": ["lm_head"]});
    for (more, config, said) in [
        (
            ("lm_head.weight", [9, 3].as_slice()),
            &plain,
            "`base_model.model.lm_head.weight` is a whole module that was trained as well (modules_to_save)",
        ),
        (("model.layers.0.self_attn.q_proj.lora_B.bias", &[4]), &plain, "is a bias of LoRA (lora_bias)"),
        (
            ("model.layers.1.mlp.up_proj.lora_A.weight", &[2, 3]),
            &plain,
            "`model.layers.1.mlp.up_proj` has only one of its two factors",
        ),
        (("model.conv.lora_A.weight", &[2, 3, 1, 1]), &plain, "mlx-lm has LoRA for linear layers and embeddings alone"),
        (("x.oft_r", &[2, 3]), &value!({"peft_type": "OFT"}), "it is OFT, of which mlx-lm knows nothing"),
        (("x.y", &[2, 3]), &value!({"peft_type": "LORA", "r": 2}), "is no factor of LoRA"),
    ] {
        let mut tensors = PAIR.to_vec();
        tensors.push(more);
        let folder = adapter(&tensors, config);
        let refused = converted(folder.path(), &[]).unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
    // What is left out by name is no longer in the way.
    let mut tensors = PAIR.to_vec();
    tensors.push(("lm_head.weight", &[9, 3]));
    let folder = adapter(&tensors, &plain);
    assert_eq!(converted(folder.path(), &["--skip", "*lm_head*"]).unwrap().0.len(), 2);
    for (config, said) in [
        (value!({"peft_type": "LORA", "r": 2}), "does not say lora_alpha"),
        (
            value!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "alpha_pattern": {"q_proj": 9}}),
            "alpha_pattern gives `q_proj` a scale of its own",
        ),
    ] {
        let folder = adapter(&PAIR, &config);
        let refused = converted(folder.path(), &[]).unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
    let ranks = [PAIR[0], PAIR[1], ("a.lora_A.weight", &[3, 3]), ("a.lora_B.weight", &[4, 3])];
    let refused = converted(adapter(&ranks, &plain).path(), &[]).unwrap_err();
    assert!(refused.contains("its layers have the ranks [2, 3]: mlx-lm has one for all"), "{refused}");
}

#[test]
fn without_being_asked_nothing_is_turned() {
    let folder = adapter(&PAIR, &value!({"peft_type": "LORA", "r": 2, "lora_alpha": 4}));
    let target = folder.path().with_extension("safetensors");
    let output = run(&["convert", folder.path().to_str().unwrap(), "-o", target.to_str().unwrap(), "--format", "json"]);
    let report = json(&output);
    assert_eq!(report["copied"].as_array().unwrap().len(), 2);
    assert!(report["warnings"][0].as_str().unwrap().contains("`convert --lora` writes"), "{report}");
    std::fs::remove_file(target).unwrap();
}
