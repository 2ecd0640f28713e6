//! What names say of a layer, by the words in them: `q_proj`, `fc1`, `token_embedding`, `ln_f`.

/// What a matrix is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matrix {
    /// It is multiplied with.
    Linear,
    /// Its rows are looked up.
    Table,
    /// It chooses experts: multiplied with, but more often than not by code of the model's own.
    Router,
}

/// Words of layers that are multiplied with. Those of one or two letters are only meant beside others.
const LINEAR: &[&str] = &[
    "proj",
    "projection",
    "project",
    "projections",
    "projector",
    "fc",
    "fcs",
    "linear",
    "linears",
    "lin",
    "dense",
    "head",
    "heads",
    "classifier",
    "qkv",
    "wqkv",
    "kv",
    "query",
    "key",
    "value",
    "queries",
    "keys",
    "values",
    "mlp",
    "ffn",
    "ff",
    "attn",
    "wq",
    "wk",
    "wv",
    "wo",
    "wi",
    "logits",
    "score",
    "gate",
    "up",
    "down",
    "reduction",
    "patch",
    "lm",
    "regressor",
    "adapter",
    "bottleneck",
    "mapper",
    "embedder",
    "mapping",
];
/// Whole names of such layers.
const LINEAR_NAMES: &[&str] = &[
    "embed_out",
    "patch_embed",
    "patch_embeddings",
    "decoder",
    "q",
    "k",
    "v",
    "o",
    "w",
    "w1",
    "w2",
    "w3",
    "out",
    "to_q",
    "to_k",
    "to_v",
    "to_out",
    "output",
];
/// Words of tables.
const TABLE: &[&str] = &[
    "embed",
    "embeds",
    "embedding",
    "embeddings",
    "emb",
    "embs",
    "wte",
    "wpe",
    "tok",
    "token",
    "tokens",
    "codebook",
    "lookup",
    "vocab",
    "position",
    "positions",
    "positional",
];
/// Whole names of tables: T5's and BART's, which the encoder and the decoder share, and T5's distances.
const TABLE_NAMES: &[&str] = &["shared", "relative_attention_bias"];
/// Names of lists and sequences, which say nothing of their members.
const LISTS: &[&str] =
    &["layers", "layer", "net", "model", "module", "modules", "main", "seq", "sequential", "blocks", "body", "stack"];
const ROUTER: &[&str] = &["gate", "router"];
/// Words of norms.
const NORM: &[&str] = &["norm", "norms", "ln", "layernorm", "rms", "rmsnorm", "groupnorm", "gn", "bn"];
/// Words of norms that are layer norms.
const LAYER_NORM: &[&str] = &["ln", "layernorm", "layer_norm"];
const GROUP_NORM: &[&str] = &["gn", "groupnorm", "group_norm"];

/// The words of a name in lower case: between anything but letters, so that `fc1` is `fc`.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|character: char| !character.is_ascii_alphabetic()).filter(|word| !word.is_empty())
}

fn has(name: &str, list: &[&str]) -> bool {
    words(name).any(|word| list.contains(&word))
}

/// What a matrix is, by its name in lower case; `None` where it says nothing. The last word that tells anything decides:
/// `embed_proj` is a Linear, `query_embedding` a table.
pub(super) fn matrix(name: &str) -> Option<Matrix> {
    if ROUTER.contains(&name) {
        return Some(Matrix::Router);
    }
    if LINEAR_NAMES.contains(&name) {
        return Some(Matrix::Linear);
    }
    if TABLE_NAMES.contains(&name) {
        return Some(Matrix::Table);
    }
    let told = words(name).filter_map(|word| {
        if LINEAR.contains(&word) || word.ends_with("proj") {
            Some(Matrix::Linear)
        } else if TABLE.contains(&word) || word.contains("embed") {
            Some(Matrix::Table)
        } else {
            None
        }
    });
    told.last()
}

/// Whether it is a list's name, which says nothing of its members.
pub(super) fn is_list(name: &str) -> bool {
    LISTS.contains(&name)
}

/// Whether it is a norm, by its name in lower case.
pub(super) fn is_norm(name: &str) -> bool {
    has(name, NORM) || name.contains("norm")
}

/// Whether it is a layer norm.
pub(super) fn is_layer_norm(name: &str) -> bool {
    has(name, LAYER_NORM) || LAYER_NORM.iter().skip(1).any(|word| name.contains(word))
}

/// Whether it is a group norm.
pub(super) fn is_group_norm(name: &str) -> bool {
    has(name, GROUP_NORM) || GROUP_NORM.iter().skip(1).any(|word| name.contains(word))
}

/// Whether it is an RMS norm.
pub(super) fn is_rms_norm(name: &str) -> bool {
    has(name, &["rms"]) || name.contains("rmsnorm") || name.contains("rms_norm")
}

/// Whether it is the gate of a gated MLP.
pub(super) fn is_gate(name: &str) -> bool {
    ["gate_proj", "gate_up_proj", "experts"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projections_are_no_tables_whatever_they_project() {
        for name in [
            "q_proj",
            "embed_proj",
            "fc2",
            "lm_head",
            "patch_embed",
            "qkv",
            "to_q",
            "c_attn",
            "w1",
            "embed_out",
            "in_proj",
        ] {
            assert_eq!(matrix(name), Some(Matrix::Linear), "{name}");
        }
        for name in ["token_embed", "wte", "word_embeddings", "embed_tokens", "shared", "emb", "pos_embedding"] {
            assert_eq!(matrix(name), Some(Matrix::Table), "{name}");
        }
        assert_eq!((matrix("gate"), matrix("gate_proj")), (Some(Matrix::Router), Some(Matrix::Linear)));
        assert_eq!((matrix("layers"), matrix("x"), matrix("")), (None, None, None));
    }

    #[test]
    fn norms_are_told_by_words() {
        assert!(is_layer_norm("ln_f") && is_layer_norm("final_layer_norm") && is_layer_norm("input_layernorm"));
        assert!(!is_layer_norm("norm1") && !is_layer_norm("lnx"));
        assert!(is_group_norm("gn1") && is_group_norm("group_norm") && is_rms_norm("rms_norm") && is_norm("q_norm"));
        assert!(!is_norm("normal_") || is_norm("norm"));
    }
}
