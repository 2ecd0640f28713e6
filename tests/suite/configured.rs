//! Folders of transformers and diffusers, known by their config.json: `assets/architectures/fixtures.py` saved them with the
//! libraries themselves.

use globset::GlobSet;
use serde_json::{Value, json};
use t2m_tui::architecture::Match;
use t2m_tui::export::state_dict;
use t2m_tui::model::Evidence;
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::report::{inspect_json, inspect_text};
use t2m_tui::triage::Status;

fn opened(name: &str) -> Opened {
    open(&Options { checkpoint: format!("tests/fixtures/configured/{name}").into(), ..Options::default() }).unwrap()
}

fn id(opened: &Opened, path: &str) -> usize {
    opened.model.find(path).unwrap_or_else(|| panic!("no module {path}"))
}

fn class<'a>(opened: &'a Opened, path: &str) -> &'a str {
    opened.model.modules[id(opened, path)].short_class()
}

fn attribute(opened: &Opened, path: &str, name: &str) -> Option<Value> {
    opened.model.modules[id(opened, path)].attributes.get(name).cloned()
}

fn reason<'a>(opened: &'a Opened, path: &str) -> &'a str {
    &opened.triage.modules[id(opened, path)].reason
}

#[test]
fn a_folder_is_known_by_its_config_with_modules_that_have_no_tensors() {
    let opened = opened("llama3");
    let architecture = opened.architecture.as_deref().unwrap();
    assert_eq!(architecture.full_name(), "transformers.LlamaForCausalLM");
    assert_eq!(architecture.kind(), Match::Exact);
    // The head is tied: nothing is missing.
    assert_eq!((architecture.fit.fitting, architecture.fit.of), (20, 20));
    assert!(opened.checkpoint.ties.iter().any(|(name, _)| name == "lm_head.weight"));
    assert!(reason(&opened, "model.embed_tokens").contains("Tied: its weight is `lm_head.weight` too."));
    assert!(opened.model.modules.iter().all(|module| module.evidence == Evidence::Architecture));
    assert_eq!(class(&opened, ""), "LlamaForCausalLM");
    assert_eq!(class(&opened, "model.layers.1.mlp.act_fn"), "GELUTanh");
    assert_eq!(class(&opened, "model.layers.0.input_layernorm"), "LlamaRMSNorm");
    assert_eq!(attribute(&opened, "model.norm", "variance_epsilon"), Some(json!(1e-6)));
    assert_eq!(attribute(&opened, "model.layers.1.self_attn", "num_key_value_groups"), Some(json!(2)));
    assert_eq!(attribute(&opened, "model.layers.1.self_attn", "layer_idx"), Some(json!(1)));
    let report = serde_json::to_value(inspect_json::Report { opened: &opened, check: None }).unwrap();
    let architecture = &report["checkpoint"]["architecture"];
    assert_eq!(architecture["name"], "transformers.LlamaForCausalLM");
    assert_eq!((&architecture["match"], &architecture["library"]), (&json!("exact"), &json!("transformers")));
}

#[test]
fn a_scaled_rotary_embedding_says_what_mlx_needs_and_is_run() {
    for name in ["llama3", "llama3_old"] {
        let opened = opened(name);
        let rotary = "model.rotary_emb";
        assert_eq!(class(&opened, rotary), "LlamaRotaryEmbedding");
        assert_eq!(attribute(&opened, rotary, "rope_type"), Some(json!("llama3")), "{name}");
        assert_eq!(attribute(&opened, rotary, "attention_scaling"), Some(json!(1.0)));
        assert_eq!(attribute(&opened, rotary, "rotary_dim"), Some(json!(8)));
        let parameters = attribute(&opened, rotary, "rope_parameters").unwrap();
        assert_eq!((&parameters["factor"], &parameters["rope_theta"]), (&json!(8.0), &json!(500_000.0)));
        // Above all modules too.
        assert!(opened.checkpoint.warnings.iter().any(|said| said.starts_with("`model.rotary_emb`: rope_type llama3")));
        let said = reason(&opened, rotary);
        assert!(said.contains("rope_type llama3 (factor 8,") && said.contains("freqs=1 / inv_freq"), "{said}");
        // Not listed as one that converts by a rename.
        let triaged = &opened.triage.modules[id(&opened, rotary)];
        assert_eq!(triaged.status, Status::Recipe);
        assert!(triaged.plan.is_some());
    }
}

#[test]
fn old_configurations_have_their_defaults_and_say_which_version_wrote_them() {
    let opened = opened("llama3_old");
    assert_eq!(opened.architecture.as_deref().unwrap().kind(), Match::Exact);
    assert_eq!(attribute(&opened, "model.layers.0.self_attn", "head_dim"), Some(json!(8)));
    let mut text = String::new();
    inspect_text::text(&mut text, &opened, None).unwrap();
    assert!(text.contains("its config.json is of 4.44.0"), "{text}");
}

#[test]
fn a_base_model_in_the_folder_of_a_head_and_an_encoder_are_known() {
    let bert = opened("bert");
    assert_eq!(bert.architecture.as_deref().unwrap().full_name(), "transformers.BertModel");
    assert_eq!(class(&bert, "encoder.layer.1.intermediate.intermediate_act_fn"), "NewGELUActivation");
    assert_eq!(attribute(&bert, "embeddings.LayerNorm", "eps"), Some(json!(1e-7)));
    let headless = opened("bert_headless");
    let architecture = headless.architecture.as_deref().unwrap();
    assert_eq!(architecture.full_name(), "transformers.BertForMaskedLM");
    assert!(architecture.title().contains("its part `bert`"), "{}", architecture.title());
    assert_eq!(class(&headless, "encoder.layer.0.output.LayerNorm"), "LayerNorm");
    assert!(headless.model.find("cls").is_none());
}

#[test]
fn what_layers_of_one_model_differ_in_follows_its_lists() {
    let opened = opened("gemma3");
    let types: Vec<Option<Value>> =
        (0..6).map(|at| attribute(&opened, &format!("model.layers.{at}.self_attn"), "is_sliding")).collect();
    let wanted: Vec<Option<Value>> = (0..6).map(|at| Some(json!(at != 5))).collect();
    assert_eq!(types, wanted);
    assert_eq!(class(&opened, "model.embed_tokens"), "Gemma3TextScaledWordEmbedding");
    assert_eq!(attribute(&opened, "model.embed_tokens", "scalar_embed_scale"), Some(json!(4.0)));
    assert!(
        opened.checkpoint.warnings.iter().all(|said| !said.contains("rotary")),
        "a plain one is nothing to warn of"
    );
    // One rotary embedding for each type of layer.
    let said = reason(&opened, "model.rotary_emb");
    assert!(said.contains("sliding_attention:") && said.contains("full_attention:"), "{said}");
}

#[test]
fn keys_under_old_names_are_known() {
    let gpt2 = opened("gpt2");
    assert_eq!(gpt2.architecture.as_deref().unwrap().kind(), Match::Exact);
    assert_eq!(class(&gpt2, "transformer.h.1.mlp.act"), "NewGELUActivation");
    assert_eq!(attribute(&gpt2, "transformer.h.0.attn", "num_heads"), Some(json!(2)));
}

#[test]
fn modules_are_where_the_library_has_them_whatever_the_file_calls_their_tensors() {
    let query = "vit.layers.1.attention.q_proj";
    let saved = "vit.encoder.layer.1.attention.attention.query";
    for name in ["vit", "vit_modules"] {
        let vit = opened(name);
        assert_eq!(vit.architecture.as_deref().unwrap().kind(), Match::Exact, "{name}");
        assert!(vit.model.modules.iter().all(|module| module.evidence == Evidence::Architecture), "{name}");
        assert_eq!(class(&vit, query), "Linear");
        assert_eq!(class(&vit, "vit.layers.1.attention"), "ViTAttention");
        assert_eq!(attribute(&vit, "vit.layers.0.layernorm_before", "eps"), Some(json!(1e-12)));
        assert!(vit.model.find("vit.encoder").is_none());
        // What is told of tensors and what is written has the file's own names.
        let in_file = if name == "vit" { saved } else { query };
        let report = serde_json::to_value(inspect_json::Report { opened: &vit, check: None }).unwrap();
        let at = |rows: &str, key: &str, wanted: &str| -> Value {
            report[rows].as_array().unwrap().iter().find(|row| row[key] == wanted).unwrap().clone()
        };
        let tensors = json!([format!("{in_file}.bias"), format!("{in_file}.weight")]);
        assert_eq!(at("modules", "path", query)["tensors"], tensors);
        assert_eq!(at("tensors", "name", &format!("{in_file}.weight"))["module"], query);
        let map = state_dict::map(&vit, &GlobSet::empty()).unwrap();
        let written: Vec<&str> = map.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert!(written.contains(&format!("{in_file}.weight").as_str()), "{written:?}");
        assert_eq!(written.len(), vit.checkpoint.tensors.len());
        let says = vit.checkpoint.warnings.iter().any(|said| said.contains("have other names in the file"));
        assert_eq!(says, name == "vit");
    }
}

#[test]
fn tensors_that_a_file_has_in_pieces_are_beneath_the_module_that_has_them_whole() {
    let mixtral = opened("mixtral");
    let architecture = mixtral.architecture.as_deref().unwrap();
    assert_eq!((architecture.kind(), architecture.fit.unexpected), (Match::Exact, 0));
    assert_eq!(class(&mixtral, "model.layers.0.mlp.experts"), "MixtralExperts");
    assert_eq!(class(&mixtral, "model.layers.0.mlp.gate"), "MixtralTopKRouter");
    let piece = &mixtral.model.modules[id(&mixtral, "model.layers.0.mlp.experts.1.w3")];
    let tensor = &mixtral.checkpoint.tensors[piece.tensor("weight").unwrap()];
    assert_eq!(tensor.name, "model.layers.0.block_sparse_moe.experts.1.w3.weight");
    assert!(mixtral.model.find("model.layers.0.block_sparse_moe").is_none());
}

#[test]
fn components_of_diffusers_are_known_alone_and_in_a_pipeline() {
    let vae = opened("vae");
    assert_eq!(vae.architecture.as_deref().unwrap().full_name(), "diffusers.AutoencoderKL");
    assert_eq!(attribute(&vae, "encoder.conv_norm_out", "eps"), Some(json!(1e-6)));
    assert_eq!(class(&vae, "encoder.conv_act"), "SiLU");
    let pipeline = opened("pipeline");
    let architecture = pipeline.architecture.as_deref().unwrap();
    assert_eq!(architecture.full_name(), "diffusers.StableDiffusionPipeline");
    assert!(architecture.fit.missing.is_empty() && architecture.fit.differing.is_empty());
    assert_eq!(attribute(&pipeline, "vae.encoder.conv_norm_out", "eps"), Some(json!(1e-6)));
    assert_eq!(class(&pipeline, "vae.decoder"), "Decoder");
}

#[test]
fn a_config_that_says_anything_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string("tests/fixtures/configured/llama3/config.json").unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    std::fs::copy("tests/fixtures/configured/llama3/model.safetensors", folder.path().join("model.safetensors"))
        .unwrap();
    for (key, value) in [
        ("num_hidden_layers", json!(1_000_000_000_000_i64)),
        ("num_hidden_layers", json!(-3)),
        ("num_hidden_layers", json!("many")),
        ("num_attention_heads", json!(0)),
        ("head_dim", json!(i64::MIN)),
        ("hidden_act", json!({"a": 1})),
        ("rope_parameters", json!({"rope_type": "yarn", "factor": 1e308, "rope_theta": 0})),
        ("rope_parameters", json!([[[]]])),
        ("vocab_size", json!(1e300)),
        ("model_type", json!("no such")),
        ("architectures", json!([3])),
        ("auto_map", json!({"AutoModel": "mine.Mine"})),
    ] {
        let mut config = config.clone();
        config[key] = value.clone();
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let opened = open(&Options { checkpoint: folder.path().to_path_buf(), ..Options::default() }).unwrap();
        // What shapes tell is told by the file, whatever the configuration says.
        let q = opened.model.find("model.layers.0.self_attn.q_proj").unwrap();
        let attributes = &opened.model.modules[q].attributes;
        assert_eq!(attributes.get("in_features").unwrap_or(&json!(16)), &json!(16), "{key} {value}");
        if key == "auto_map" || key == "model_type" {
            assert!(opened.architecture.is_none(), "{key}");
        }
    }
}

#[test]
fn sizes_that_no_key_gives_are_those_of_the_file() {
    let falcon = opened("falcon");
    assert_eq!(falcon.architecture.as_deref().unwrap().kind(), Match::Exact);
    // Queries of four heads, keys and values of two, in one.
    let one = "h.0.self_attention.query_key_value";
    assert_eq!(class(&falcon, one), "FalconLinear");
    assert_eq!(attribute(&falcon, one, "out_features"), Some(json!(32)));
    assert_eq!(attribute(&falcon, one, "in_features"), Some(json!(16)));
}

#[test]
fn models_of_which_the_configuration_names_the_parts_are_known() {
    let opened = opened("captions");
    let architecture = opened.architecture.as_deref().unwrap();
    assert_eq!(architecture.full_name(), "transformers.VisionEncoderDecoderModel");
    assert_eq!(architecture.kind(), Match::Exact);
    assert_eq!((class(&opened, "encoder"), class(&opened, "decoder")), ("ViTModel", "GPT2LMHeadModel"));
    // The decoder looks at what the encoder saw.
    assert_eq!(attribute(&opened, "decoder.transformer.h.0.crossattention", "is_cross_attention"), Some(json!(true)));
    assert_eq!(class(&opened, "decoder.transformer.h.0.mlp.act"), "NewGELUActivation");
}

#[test]
fn classes_that_no_auto_class_lists_and_numbers_without_end_are_known() {
    let text = opened("text_projection");
    let architecture = text.architecture.as_deref().unwrap();
    assert_eq!(architecture.full_name(), "transformers.CLIPTextModelWithProjection");
    assert_eq!(architecture.kind(), Match::Exact);
    let falcon = opened("falcon_h1");
    assert_eq!(attribute(&falcon, "layers.0.mamba", "time_step_limit"), Some(json!([0.0, "inf"])));
}
