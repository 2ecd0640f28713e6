//! Linear and Embedding.

use super::site::{Draft, Site};
use crate::compare::tolerance::Bound;
use crate::convert::Refusal;
use crate::convert::input::Values;

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
