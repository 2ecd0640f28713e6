#![allow(clippy::unwrap_used)]

use std::path::Path;

use crate::model::{Model, attributes::describe, build};
use t2m_checkpoint::{Checkpoint, Content, Dtype, Format, Tensor};

pub fn tensors_of(tensors: &[(&str, &[u64])]) -> Vec<Tensor> {
    let tensor = |(name, shape): &(&str, &[u64])| Tensor {
        name: (*name).into(),
        dtype: Dtype::Float32,
        shape: (*shape).into(),
        strides: None,
        offset: 0,
        storage: None,
        requires_grad: false,
        shared_with: None,
        problem: None,
    };
    tensors.iter().map(tensor).collect()
}

pub fn model_of(tensors: &[(&str, &[u64])]) -> Model {
    model(tensors, &[])
}

pub fn model(tensors: &[(&str, &[u64])], versions: &[(&str, i64)]) -> Model {
    let module_versions = versions.iter().map(|(path, version)| ((*path).to_owned(), Some(*version))).collect();
    let content = Content::StateDict { module_versions };
    let mut checkpoint = Checkpoint::new(Path::new("x.pt"), Format::TorchZip, content);
    checkpoint.tensors = tensors_of(tensors);
    build(&checkpoint)
}

/// Class, description and alternatives of the module that the tensors belong to.
fn guess(tensors: &[(&str, &[u64])]) -> String {
    let model = model(tensors, &[]);
    let module = model.modules.iter().find(|module| !module.tensors.is_empty()).unwrap();
    let others: Vec<&str> = module.alternatives.iter().map(|class| class.rsplit('.').next().unwrap()).collect();
    let parts = [module.short_class().to_owned(), describe(module), others.join("|")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[test]
fn shapes_decide_where_they_can() {
    assert_eq!(guess(&[("a.weight", &[3, 4]), ("a.bias", &[3])]), "Linear 4→3");
    assert_eq!(guess(&[("a.weight", &[3, 4]), ("a.bias", &[4])]), "Conv1D 3→4");
    assert_eq!(guess(&[("a.weight", &[8, 3, 7]), ("a.bias", &[8])]), "Conv1d 3→8 k7");
    assert_eq!(guess(&[("a.weight", &[8, 3, 2, 2]), ("a.bias", &[3])]), "ConvTranspose2d 8→3 k2");
    assert_eq!(guess(&[("a.weight", &[8, 8, 3, 3, 1]), ("a.bias", &[8])]), "Conv3d 8→8 k3×3×1 ConvTranspose3d");
    assert_eq!(guess(&[("a.weight", &[4, 5]), ("a.bias", &[4, 5])]), "LayerNorm 4×5");
    let lstm: [(&str, &[u64]); 3] =
        [("r.weight_ih_l0", &[32, 4]), ("r.weight_hh_l0", &[32, 8]), ("r.weight_ih_l0_reverse", &[32, 4])];
    assert_eq!(guess(&lstm), "LSTM 4→8 both ways");
    assert_eq!(guess(&[("r.weight_ih", &[24, 4]), ("r.weight_hh", &[24, 8])]), "GRUCell 4→8");
    assert_eq!(guess(&[("a.in_proj_weight", &[24, 8]), ("a.in_proj_bias", &[24])]), "MultiheadAttention 8");
    assert_eq!(
        guess(&[("n.running_mean", &[4]), ("n.running_var", &[4])]),
        "BatchNorm2d 4 BatchNorm1d|BatchNorm3d|InstanceNorm1d|InstanceNorm2d|InstanceNorm3d"
    );
}

#[test]
fn names_decide_where_shapes_cannot_and_the_doubt_is_told() {
    assert_eq!(guess(&[("token_embed.weight", &[9, 4])]), "Embedding 9×4");
    assert_eq!(guess(&[("embed_proj.weight", &[9, 4])]), "Linear 4→9");
    assert_eq!(guess(&[("x.weight", &[9, 4])]), "Linear 4→9 Embedding");
    assert_eq!(guess(&[("a.weight", &[4]), ("a.bias", &[4])]), "LayerNorm 4 GroupNorm");
    assert_eq!(guess(&[("norms.weight", &[4])]), "RMSNorm 4 LayerNorm");
    assert_eq!(guess(&[("act.weight", &[1])]), "PReLU");
    assert_eq!(guess(&[("deconv.weight", &[4, 4, 2, 2])]), "ConvTranspose2d 4→ k2 Conv2d");
    // Nothing is claimed of what no rule covers.
    assert_eq!(guess(&[("block.gamma", &[4])]), "");
    assert_eq!(guess(&[("block.weight", &[4, 4]), ("block.mask", &[4])]), "");
}

/// Class of the module at a path, and how many others it may have.
fn said(tensors: &[(&str, &[u64])], path: &str) -> (String, usize) {
    let model = model(tensors, &[]);
    let module = model.modules.iter().find(|module| module.path == path).unwrap();
    (module.short_class().to_owned(), module.alternatives.len())
}

#[test]
fn a_projection_is_no_table_and_a_table_no_projection() {
    let sure = |class: &str| (class.to_owned(), 0);
    for name in ["q_proj", "fc", "lm_head", "to_q", "mlp.layers.0", "out", "embed_out"] {
        assert_eq!(said(&[(&format!("{name}.weight"), &[64, 64])], name), sure("Linear"), "{name}");
    }
    for name in ["embed_tokens", "rel_attn_embed", "query_position_embeddings", "wte", "shared"] {
        assert_eq!(said(&[(&format!("{name}.weight"), &[100, 64])], name), sure("Embedding"), "{name}");
    }
    // Nine numbers into the model's width of 64: named as a table, and taken for none.
    let bonds: [(&str, &[u64]); 3] =
        [("bond_embedding.weight", &[64, 9]), ("fc.weight", &[64, 64]), ("norm.weight", &[64])];
    assert_eq!(said(&bonds, "bond_embedding"), ("Linear".to_owned(), 1));
    // Without a name the sizes beside it tell: it takes what the one before gives.
    let chain: [(&str, &[u64]); 2] = [("a.weight", &[32, 8]), ("b.weight", &[10, 32])];
    assert_eq!(said(&chain, "b"), sure("Linear"));
    // What scales in a norm may be looked up.
    let inside: [(&str, &[u64]); 2] = [("norm.shift.weight", &[4, 8]), ("norm.scale.weight", &[8, 4])];
    assert_eq!(said(&inside, "norm.scale").1, 1);
    // What chooses experts is multiplied with, by whose code ever.
    assert_eq!(said(&[("mlp.gate.weight", &[8, 64])], "mlp.gate"), sure("Linear"));
}

#[test]
fn norms_are_told_by_what_is_around() {
    let sure = |class: &str| (class.to_owned(), 0);
    let block: [(&str, &[u64]); 5] = [
        ("block.norm1.weight", &[64]),
        ("block.norm1.bias", &[64]),
        ("block.attn.qkv.weight", &[192, 64]),
        ("block.attn.qkv.bias", &[192]),
        ("block.ln_2.weight", &[64]),
    ];
    assert_eq!(said(&block, "block.norm1"), sure("LayerNorm"));
    let named: [(&str, &[u64]); 2] = [("a.layer_norm.weight", &[8]), ("a.layer_norm.bias", &[8])];
    assert_eq!(said(&named, "a.layer_norm"), sure("LayerNorm"));
    // Behind a convolution a name is not enough: speech models norm each channel there.
    let speech = [("a.conv.weight", [8, 1, 10].as_slice()), named[0], named[1]];
    assert_eq!(said(&speech, "a.layer_norm"), ("LayerNorm".to_owned(), 1));
    let groups: [(&str, &[u64]); 3] =
        [("conv.weight", &[8, 8, 3]), ("group_norms.0.weight", &[8]), ("group_norms.0.bias", &[8])];
    assert_eq!(said(&groups, "group_norms.0"), sure("GroupNorm"));
    let unet: [(&str, &[u64]); 5] = [
        ("a.norm.weight", &[8]),
        ("a.norm.bias", &[8]),
        ("a.proj_in.weight", &[8, 8]),
        ("a.transformer_blocks.0.ff.weight", &[8, 8]),
        ("a.proj_out.weight", &[8, 8]),
    ];
    assert_eq!(said(&unet, "a.norm"), sure("GroupNorm"));
    // Llama's block; the others of the same model are of that kind.
    let llama: [(&str, &[u64]); 4] = [
        ("layers.0.input_layernorm.weight", &[8]),
        ("layers.0.post_attention_layernorm.weight", &[8]),
        ("layers.0.mlp.gate_proj.weight", &[16, 8]),
        ("norm.weight", &[8]),
    ];
    assert_eq!(said(&llama, "norm"), sure("RMSNorm"));
    // Moonshine's has layer norms of that name, and no gate.
    let plain = [llama[0], llama[1], ("layers.0.mlp.fc1.weight", [16, 8].as_slice())];
    assert_eq!(said(&plain, "layers.0.input_layernorm").1, 1);
}

#[test]
fn batch_norms_are_told_in_files_that_are_sorted_by_name() {
    let norm = |prefix: &str| -> Vec<(String, Vec<u64>)> {
        ["running_mean", "running_var"].map(|name| (format!("{prefix}.{name}"), vec![8])).into()
    };
    let said_of = |weight: (&str, Vec<u64>)| {
        let mut tensors = norm("a.batch_norm");
        tensors.push((weight.0.to_owned(), weight.1));
        let tensors: Vec<(&str, &[u64])> =
            tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
        said(&tensors, "a.batch_norm").0
    };
    assert_eq!(said_of(("a.depthwise_conv.weight", vec![8, 1, 31])), "BatchNorm1d");
    assert_eq!(said_of(("a.conv.weight", vec![8, 3, 3, 3])), "BatchNorm2d");
    assert_eq!(said_of(("a.linear.weight", vec![8, 3])), "BatchNorm1d");
}

#[test]
fn weights_that_are_computed_or_packed_are_not_taken_for_plain_ones() {
    let shape: &[u64] = &[4];
    let class = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| format!("a.{name}")).collect();
        guess(&names.iter().map(|name| (name.as_str(), shape)).collect::<Vec<_>>())
    };
    assert_eq!(class(&["qweight", "qzeros", "scales"]), "QuantLinear");
    assert_eq!(class(&["weight", "SCB"]), "Linear8bitLt");
}

#[test]
fn the_layers_around_help() {
    let depthwise =
        model(&[("0.weight", &[8, 3, 1, 1]), ("1.weight", &[8, 1, 3, 3]), ("2.weight", &[16, 4, 1, 1])], &[]);
    let lines: Vec<String> = depthwise.modules.iter().skip(1).map(describe).collect();
    // Four inputs for each of two groups, or of another layer: that is not known.
    assert_eq!(lines, ["3→8 k1", "8→8 k3 g8", "→16 k1"]);
    assert_eq!(depthwise.modules[0].short_class(), "Sequential");
    let norm = model(
        &[
            ("c.weight", &[8, 3, 1]),
            ("n.running_mean", &[8]),
            ("n.running_var", &[8]),
            ("n.weight", &[8]),
            ("n.num_batches_tracked", &[]),
        ],
        &[],
    );
    assert_eq!((norm.modules[2].short_class(), norm.modules[2].alternatives.len()), ("BatchNorm1d", 0));
    assert_eq!(norm.modules[0].total_parameters, 8 * 3 + 8);
    let instance = model(&[("n.weight", &[8]), ("n.bias", &[8])], &[("", 1), ("n", 2)]);
    assert_eq!(instance.modules[1].short_class(), "InstanceNorm2d");
}
