//! Files as training scripts and hubs leave them: which tensors are the model's, under which names, and what is said.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use t2m_checkpoint::{AbsentKind, Checkpoint, Content};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/files").join(name)
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&fixture(name)).unwrap()
}

/// Names and shapes of the tensors, in their order.
fn listed(checkpoint: &Checkpoint) -> Value {
    let shape = |tensor: &t2m_checkpoint::Tensor| (tensor.name.to_string(), json!(tensor.shape.as_slice()));
    Value::Object(checkpoint.tensors.iter().map(shape).collect())
}

/// By file and `--key`, as PyTorch made them.
#[test]
fn the_tensors_are_those_of_the_plain_model() {
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(fixture("expected.json")).unwrap()).unwrap();
    let files = expected.as_object().unwrap();
    assert!(files.len() >= 11);
    for (file, keys) in files {
        for (key, tensors) in keys.as_object().unwrap() {
            let key = Some(key.as_str()).filter(|key| !key.is_empty());
            let checkpoint = Checkpoint::open_key(&fixture(file), key).unwrap();
            assert_eq!(listed(&checkpoint), *tensors, "{file} {key:?}");
            assert!(key.is_none_or(|key| checkpoint.wrappers[0] == key), "{file}: {:?}", checkpoint.wrappers);
        }
    }
}

#[test]
fn wrappers_are_named_by_where_they_stand() {
    let wrappers = |name: &str| open(name).wrappers;
    assert_eq!(
        wrappers("infixes.pt"),
        [
            "stem.module.",
            "._checkpoint_wrapped_module.",
            "._fsdp_wrapped_module.",
            "blocks.1._fsdp_wrapped_module.module.",
            "._orig_mod."
        ]
    );
    assert_eq!(wrappers("compiled.safetensors"), ["_orig_mod."]);
    assert_eq!(wrappers("parallel.pt"), ["module."]);
    assert_eq!(wrappers("average.pt"), ["module."]);
    assert_eq!(wrappers("ema.pt"), ["model_state_dict"]);
    let by_key = Checkpoint::open_key(&fixture("ema.pt"), Some("ema_model_state_dict")).unwrap();
    assert_eq!(by_key.wrappers, ["ema_model_state_dict", "ema_model."]);
}

#[test]
fn a_wrapped_module_is_its_own_root() {
    let checkpoint = open("parallel.pt");
    let Content::Modules(modules) = &checkpoint.content else { panic!("no modules") };
    let paths: Vec<&str> = modules.iter().map(|module| module.path.as_str()).collect();
    assert_eq!(paths, ["", "0", "1", "2", "3"]);
    assert_eq!(modules[0].class, "torch.nn.modules.container.Sequential");
}

#[test]
fn what_keeps_its_name_is_told() {
    assert_eq!(
        open("attribute.pt").warnings,
        [
            "`module` stands beside other names and is kept as a module of that name.",
            "`layers.0.module` (and at 1 more places) is kept as an attribute of the layers of a list: wrappers stand around whole networks."
        ]
    );
    assert_eq!(
        open("collision.pt").warnings,
        ["`module` stands beside other names and is kept as a module of that name."]
    );
}

#[test]
fn what_is_left_out_is_told() {
    let training = open("training.pt");
    assert_eq!(
        training.warnings,
        [
            "`state_dict_ema` holds weights too; only `state_dict` is shown, --key takes another.",
            "Tensors beside `state_dict` are not shown: `class_weights`."
        ]
    );
    // A number is no weight, nor is the state of a random generator.
    assert_eq!(training.metadata["best_acc1"], json!({"tensor": []}));
    assert_eq!(training.metadata["optimizer"]["state"]["entries"], 12);
    let gan = open("gan.pt");
    assert_eq!(gan.warnings, ["3 networks are in it side by side: `g`, `d`, `g_ema`; all are shown, --key takes one."]);
    assert_eq!(gan.metadata["g_optim"]["state"]["entries"], 12);
    assert_eq!(gan.metadata["iter"], json!({"tensor": []}));
    assert!(open("megatron.pt").warnings.is_empty());
    let average = open("average.pt");
    assert_eq!(average.warnings, ["Counters of an average are no weights and stand in the metadata: `n_averaged`."]);
    assert_eq!(average.metadata["n_averaged"], 0.0);
}

#[test]
fn a_key_that_is_not_there_is_refused_with_those_that_are() {
    let refused = |name: &str, key: &str| {
        let error = Checkpoint::open_key(&fixture(name), Some(key)).unwrap_err().to_string();
        error.rsplit_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(
        refused("gan.pt", "g_optim"),
        "has no dict `g_optim` with weights; --key takes one of `g`, `d`, `g_ema`"
    );
    assert_eq!(
        refused("training.pt", "emas"),
        "has no dict `emas` with weights; --key takes one of `stem`, `blocks`, `head`, `state_dict_ema`"
    );
    assert_eq!(refused("parallel.pt", "ema"), "has no dict `ema` with weights; --key takes one of `0`, `3`");
}

#[test]
fn weights_that_are_not_there_are_told() {
    let absent = |name: &str| -> Vec<(AbsentKind, usize)> {
        let checkpoint = open(name);
        // Whoever reads no more than the warnings has read it.
        assert!(
            checkpoint
                .absent
                .iter()
                .all(|absent| checkpoint.warnings.iter().any(|said| said.starts_with(&absent.what)))
        );
        checkpoint.absent.iter().map(|absent| (absent.kind, absent.tensors.len())).collect()
    };
    assert_eq!(absent("zero3.pt"), [(AbsentKind::Placeholders, 2)]);
    // An empty tensor that is called neither weight nor bias may be a buffer.
    assert_eq!(absent("merged.pt"), [(AbsentKind::Placeholders, 1)]);
    // A library's own empty parameters are not missing: the matrices are there.
    assert_eq!(absent("flat.pt"), []);
    assert_eq!(absent("meta.pt"), [(AbsentKind::Meta, 2)]);
    for part in ["consolidated.00.pth", "consolidated.01.pth", "mp_rank_00_model_states.pt"] {
        assert_eq!(absent(part), [(AbsentKind::Part, 0)], "{part}");
    }
    assert_eq!(absent("pointer/model-00001-of-00002.safetensors"), [(AbsentKind::Shard, 0)]);
    assert_eq!(absent("pointer"), [(AbsentKind::Shards, 0)]);
    assert_eq!(
        open("pointer").warnings,
        [
            "Shards that are Git LFS pointers, not the shards themselves: 1 of 2 (`model-00002-of-00002.safetensors`). Tensors of the index that are not shown: 1. Fetch them with `git lfs pull`."
        ]
    );
    assert_eq!(
        open("consolidated.01.pth").warnings[0].split_once(". ").unwrap().0,
        "`consolidated.01.pth` is one of 2 tensor-parallel parts (Llama's own format), each with a slice of most tensors"
    );
    assert_eq!(absent("training.pt"), []);
    // Weights as arrays are no tensors; what lies beside the model's dict is none of its weights.
    assert_eq!(absent("arrays.pt"), [(AbsentKind::Arrays, 0)]);
    assert_eq!(
        open("arrays.pt").warnings[0],
        "`emb.weight` is a NumPy array, which is not read. Load the file in Python, make tensors of them with torch.from_numpy, and save it again."
    );
    assert_eq!(absent("arrays_beside.pt"), []);
    let alone = tempfile::tempdir().unwrap();
    let whole = alone.path().join("consolidated.00.pth");
    std::fs::copy(fixture("consolidated.00.pth"), &whole).unwrap();
    assert!(Checkpoint::open(&whole).unwrap().absent.is_empty());
}

#[test]
fn packed_weights_are_known_by_their_format() {
    let packed = |name: &str| -> Vec<(String, Vec<String>)> {
        let checkpoint = open(name);
        let names = |packed: &t2m_checkpoint::Packed| {
            packed.tensors.iter().map(|&id| checkpoint.tensors[id].name.to_string()).collect()
        };
        checkpoint.packed.iter().map(|packed| (packed.title(), names(packed))).collect()
    };
    let of = |name: &str, title: &str, tensors: &[&str]| {
        let mut found = packed(name);
        found.iter_mut().for_each(|(_, names)| names.sort_unstable());
        assert_eq!(found, [(title.to_owned(), tensors.iter().map(|&name| name.to_owned()).collect())], "{name}");
    };
    of("awq.safetensors", "AWQ, 4 bits", &["fc.qweight", "fc.qzeros", "fc.scales"]);
    of("gptq.safetensors", "GPTQ, 4 bits", &["fc.g_idx", "fc.qweight", "fc.qzeros", "fc.scales"]);
    of(
        "nf4.safetensors",
        "bitsandbytes 4-bit",
        &["fc.weight", "fc.weight.absmax", "fc.weight.quant_map", "fc.weight.quant_state.bitsandbytes__nf4"],
    );
    of("int8.safetensors", "bitsandbytes 8-bit", &["fc.SCB", "fc.weight"]);
    of("compressed.safetensors", "compressed-tensors", &["fc.weight_packed", "fc.weight_scale", "fc.weight_shape"]);
    of("fp8_blocks.safetensors", "fp8 with block scales", &["fc.weight", "fc.weight_scale_inv"]);
    of("fp8.safetensors", "fp8 with scales", &["fc.weight", "fc.weight_scale"]);
    of("e8m0.safetensors", "4-bit floats or E8M0 exponents, no numbers to MLX", &["fc.weight_scale"]);
    let (a, b) = (
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight",
    );
    of("adapter", "LoRA of rank 4, for Qwen/Qwen2.5-0.5B", &[a, b]);
    assert_eq!(open("adapter").format.name(), "peft-adapter");
    of("gpt_oss", "MXFP4", &["experts.gate_up_proj_blocks", "experts.gate_up_proj_scales"]);
    // A scale beside a weight of plain numbers is a parameter like others.
    assert_eq!(packed("plain_scale.safetensors"), []);
}

#[test]
fn norms_have_todays_names() {
    let checkpoint = open("gamma.safetensors");
    let mut names: Vec<&str> = checkpoint.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "bert.LayerNorm.bias",
            "bert.LayerNorm.weight",
            "block.gamma",
            "grn.beta",
            "grn.gamma",
            "ln_1.bias",
            "ln_1.weight"
        ]
    );
    assert_eq!(
        checkpoint.warnings,
        [
            "4 tensors of norms have old names: `gamma` is `weight` and `beta` is `bias` here, as transformers loads them."
        ]
    );
}

#[test]
fn what_lies_beside_the_weights_is_named() {
    let checkpoint = open("strays");
    assert_eq!(checkpoint.metadata["file"], "model.safetensors.index.fp16.json");
    assert_eq!(
        checkpoint.warnings,
        [
            "Also in the folder, and not read: old_4bit.safetensors.",
            "Of macOS (AppleDouble), and no checkpoints: ._model.safetensors."
        ]
    );
    let refused = Checkpoint::open(&fixture("strays/._model.safetensors")).unwrap_err().to_string();
    assert!(
        refused.ends_with("(AppleDouble), not the checkpoint; open the file of that name without `._`"),
        "{refused}"
    );
}

#[test]
fn the_components_of_a_pipeline_stand_side_by_side() {
    let checkpoint = open("pipeline");
    assert_eq!((checkpoint.format.name(), checkpoint.shards), ("diffusers-pipeline", 2));
    assert_eq!(
        checkpoint.warnings,
        [
            "A pipeline of diffusers: `unet` (UNet2DConditionModel), `vae` (AutoencoderKL) hold weights; --key takes one."
        ]
    );
    let read = |id: usize| checkpoint.read(id).unwrap().to_f32().unwrap();
    assert_eq!((read(0).len(), read(1)), (72, vec![1.0; 4]));
    // A pipeline that leads back to itself has no end.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("unet")).unwrap();
    std::fs::copy(fixture("pipeline/model_index.json"), folder.path().join("model_index.json")).unwrap();
    let refused = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("without weights"), "{refused}");
}

#[test]
fn an_archive_behind_another_mark_is_read_and_told() {
    let checkpoint = open("overwritten.pth");
    assert_eq!(checkpoint.read(0).unwrap().to_f32().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert!(checkpoint.warnings[0].starts_with("The first bytes are `05"), "{:?}", checkpoint.warnings);
    // Of more than the mark nothing is known.
    let mut bytes = std::fs::read(fixture("overwritten.pth")).unwrap();
    bytes[4..10].fill(0xff);
    let refused =
        Checkpoint::from_bytes(Path::new("x.pth"), t2m_checkpoint::Bytes::Owned(bytes)).unwrap_err().to_string();
    assert!(refused.contains("is no PyTorch checkpoint"), "{refused}");
}

#[test]
fn ties_that_save_model_left_out_are_told() {
    let checkpoint = open("tied.safetensors");
    assert_eq!(checkpoint.tensors.len(), 1);
    let other = if checkpoint.tensors[0].name == "embed.weight" { "head.weight" } else { "embed.weight" };
    assert_eq!(checkpoint.ties, [(other.to_owned(), 0)]);
    let told = format!("1 tied, and in the file once: `{other}` is `{}`.", checkpoint.tensors[0].name);
    assert_eq!(checkpoint.warnings, [told]);
}

#[test]
fn pickled_arrays_are_named_with_the_way_out() {
    let refused = Checkpoint::open(&fixture("arrays.pkl")).unwrap_err().to_string();
    assert!(refused.contains("save its arrays with torch.save or safetensors"), "{refused}");
}
