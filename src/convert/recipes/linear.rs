//! Linear, Bilinear, Embedding and EmbeddingBag.

use serde_json::json;

use super::phrase::{self, multiply, reduce};
use super::site::{Draft, Site, unexpected};
use crate::compare::tolerance::Bound;
use crate::convert::input::Values;
use crate::convert::{Input, Move, Refusal};
use crate::engine::Program;

/// `[4, 7, in]` → `[4, 7, out]`. More than one row, since a single one takes another path in both libraries.
pub(super) fn linear(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [outputs, inputs] = site.shape_of_rank("weight")?;
    let draft = Draft::new(vec![4, 7, inputs], Bound::Contraction(inputs))
        .arg("input_dims", inputs)
        .arg("output_dims", outputs)
        .arg("bias", site.has("bias"));
    Ok(draft.weights(site.moves(&["bias"])).output_shape(vec![4, 7, outputs]))
}

/// Ids `[3, 11]` → `[3, 11, width]`.
pub(super) fn embedding(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [rows, width] = site.shape_of_rank("weight")?;
    // max_norm rewrites rows of the weight during forward; absent or null in nearly every file.
    if site.module().attributes.get("max_norm").is_some_and(|value| !value.is_null()) {
        return Err(Refusal::Unsupported(
            "max_norm changes the weight while torch runs; MLX has nothing like it".to_owned(),
        ));
    }
    let draft = Draft::new(vec![3, 11], Bound::Copy).values(Values::Ids(rows as u64));
    let draft = draft.arg("num_embeddings", rows).arg("dims", width);
    Ok(draft.weights(site.moves(&[])).output_shape(vec![3, 11, width]))
}

/// `[4, 7, in1]` and `[4, 7, in2]` → `[4, 7, out]`.
pub(super) fn bilinear(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [out, first, second] = site.shape_of_rank("weight")?;
    let inputs = [first, second].map(|width| Input::new(vec![4, 7, width], Values::Normal(1.0)));
    let draft = Draft::of(inputs.to_vec(), Bound::Contraction(super::site::product(&[first, second])?));
    let draft = draft.arg("input1_dims", first).arg("input2_dims", second).arg("output_dims", out);
    Ok(draft.arg("bias", site.has("bias")).weights(site.moves(&["bias"])).output_shape(vec![4, 7, out]))
}

/// How many ids a bag of the measurement has, and how many bags there are.
const BAG: usize = 7;
const BAGS: usize = 5;

/// Bags of ids `[5, 7]` → `[5, width]`; or a flat list of ids with the places where each bag begins.
pub(super) fn embedding_bag(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [rows, width] = site.shape_of_rank("weight")?;
    let mode = site.attribute("mode")?;
    let mode = mode.as_str().filter(|mode| matches!(*mode, "sum" | "mean" | "max"));
    let mode = mode.ok_or_else(|| unexpected("mode", site.maybe("mode")))?;
    if !site.maybe("max_norm").is_null() {
        let reason = "max_norm changes the weight while torch runs; MLX has nothing like it";
        return Err(Refusal::Unsupported(reason.to_owned()));
    }
    let padding = site.maybe("padding_idx").as_u64();
    let names = site.call().and_then(|call| call.get("inputs")).and_then(serde_json::Value::as_array);
    let asks = |name: &str| names.is_some_and(|names| names.iter().any(|known| known == name));
    if asks("offsets") || site.maybe("include_last_offset").as_bool() == Some(true) {
        let reason = "bags by offsets have another length each: MLX's arrays have one, call it for each bag";
        return Err(Refusal::Unsupported(reason.to_owned()));
    }
    let weighted = asks("per_sample_weights");
    let mut inputs = vec![Input::new(vec![BAGS, BAG], Values::Ids(rows as u64))];
    let mut draft_names = vec!["ids"];
    if weighted {
        inputs.push(Input::new(vec![BAGS, BAG], Values::Normal(1.0)));
        draft_names.push("per_sample_weights");
    }
    let mut p = Program::new(&draft_names);
    let mut taken = p.call("mx.take", ["self.weight".into(), "ids".into()], [("axis", json!(0))]);
    if weighted {
        let each = p.call("mx.expand_dims", ["per_sample_weights".into()], [("axis", json!(-1))]);
        taken = multiply(&mut p, taken, each);
    }
    let kept = padding.map(|padding| {
        let kept = phrase::binary(&mut p, "mx.not_equal", "ids", padding as f64);
        p.call("mx.expand_dims", [kept.into()], [("axis", json!(-1))])
    });
    let output = match (mode, kept) {
        ("max", None) => reduce(&mut p, "mx.max", &taken, &[1], false),
        ("max", Some(kept)) => {
            let seen = p.call("mx.where", [kept.into(), taken.into(), f64::NEG_INFINITY.into()], []);
            reduce(&mut p, "mx.max", &seen, &[1], false)
        }
        (mode, None) => reduce(&mut p, if mode == "sum" { "mx.sum" } else { "mx.mean" }, &taken, &[1], false),
        (mode, Some(kept)) => {
            let kept = p.call("astype_like", [kept.into(), "self.weight".into()], []);
            let seen = multiply(&mut p, taken, kept.clone());
            let sum = reduce(&mut p, "mx.sum", &seen, &[1], false);
            let count = reduce(&mut p, "mx.sum", &kept, &[1], false);
            if mode == "sum" { sum } else { phrase::binary(&mut p, "mx.divide", sum, count) }
        }
    };
    p.outputs = vec![output];
    let bound = if mode == "max" { Bound::Copy } else { Bound::Norm(BAG) };
    let draft = Draft::of(inputs, bound).output_shape(vec![BAGS, BAG, width]).weights(vec![Move::keep("weight")]).program(p);
    Ok(draft.step("rows taken and reduced: MLX has no such layer"))
}
