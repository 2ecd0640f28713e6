//! Files as training scripts and hubs leave them: which tensors are the model's, under which names, and what is said.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use t2m_checkpoint::{Checkpoint, Content};

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
