//! The recipes: one function a family of layers, from a module and its registry row to a plan.

mod activation;
mod attention;
mod conv;
mod linear;
mod norm;
mod site;

use super::{Plan, Refusal};
use site::Draft;
pub use site::{Site, tensor};

/// No input is larger: a hyper-parameter out of a damaged or hostile file must not ask for all memory. 64 Mi elements are
/// 256 MiB in float32.
const MOST_ELEMENTS: usize = 64 << 20;
/// Nor any hyper-parameter that sizes are multiplied with.
const MOST_STEPS: usize = 1 << 20;

type Recipe = fn(&Site<'_>) -> Result<Draft, Refusal>;

const RECIPES: &[(&str, Recipe)] = &[
    ("attention", attention::attention),
    ("batch_norm", norm::batch_norm),
    ("conv", conv::conv),
    ("conv_transpose", conv::conv_transpose),
    ("dropout", activation::dropout),
    ("embedding", linear::embedding),
    ("gelu", activation::gelu),
    ("group_norm", norm::group_norm),
    ("instance_norm", norm::instance_norm),
    ("layer_norm", norm::layer_norm),
    ("leaky_relu", activation::leaky_relu),
    ("linear", linear::linear),
    ("pointwise", activation::pointwise),
    ("relu", activation::relu),
    ("rms_norm", norm::rms_norm),
    ("softmax", activation::softmax),
];

/// The names that a registry row may give as its recipe.
pub fn names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|(name, _)| *name)
}

/// Plan the conversion of a module by its registry row.
///
/// # Errors
/// Says which hyper-parameter is missing, or why this configuration has no conversion.
pub fn plan(site: &Site<'_>) -> Result<Plan, Refusal> {
    let unsupported = || Refusal::Unsupported(site.row.reason.clone());
    let name = site.row.recipe.as_deref().ok_or_else(unsupported)?;
    let (_, recipe) = RECIPES.iter().find(|(known, _)| *known == name).ok_or_else(unsupported)?;
    let draft = recipe(site)?;
    for input in &draft.inputs {
        let elements = input.shape.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis));
        if elements.is_none_or(|elements| elements > MOST_ELEMENTS) {
            let shape = &input.shape;
            return Err(Refusal::Unsupported(format!(
                "an input that fits it would have the shape {shape:?}, too large to measure with"
            )));
        }
    }
    Ok(draft.finish(site))
}
