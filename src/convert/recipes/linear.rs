//! Linear and Embedding.

use super::site::{Draft, Site};
use crate::compare::tolerance::Bound;
use crate::convert::Refusal;
use crate::convert::input::Values;

/// `[4, 7, in]` → `[4, 7, out]`. More than one row, since a single one takes another path in both libraries.
pub(super) fn linear(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [_, inputs] = site.shape_of_rank("weight")?;
    Ok(Draft::new(vec![4, 7, inputs], Bound::Contraction(inputs)).weights(site.moves(&["bias"])))
}

/// Ids `[3, 11]` → `[3, 11, width]`.
pub(super) fn embedding(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [rows, _] = site.shape_of_rank("weight")?;
    // max_norm rewrites rows of the weight during forward; absent or null in nearly every file.
    if site.module().attributes.get("max_norm").is_some_and(|value| !value.is_null()) {
        return Err(Refusal::Unsupported(
            "max_norm changes the weight while torch runs; MLX has nothing like it".to_owned(),
        ));
    }
    let mut draft = Draft::new(vec![3, 11], Bound::Copy).weights(site.moves(&[]));
    for input in &mut draft.inputs {
        input.values = Values::Ids(rows as u64);
    }
    Ok(draft)
}
