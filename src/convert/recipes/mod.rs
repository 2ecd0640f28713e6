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

/// No input and no output is larger: a hyper-parameter out of a damaged or hostile file must not ask for all memory.
/// 16 Mi elements are 64 MiB in float32, and some 600 MiB of numbers to compare.
const MOST_ELEMENTS: usize = 16 << 20;
/// Nor any hyper-parameter that is a step, a kernel or a shape …
const MOST_STEPS: usize = 16 << 20;
/// … or counts features.
const MOST_UNITS: usize = 1 << 31;

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
    let inputs = draft.inputs.iter().map(|input| ("an input that fits it", &input.shape));
    for (what, shape) in inputs.chain([("its output", &draft.output_shape)]) {
        if site::product(shape).is_ok_and(|elements| elements <= MOST_ELEMENTS) {
            continue;
        }
        return Err(Refusal::Unsupported(format!("{what} would have the shape {shape:?}, too large to measure with")));
    }
    for from in draft.weights.iter().flat_map(|movement| &movement.from) {
        let tensor = site.tensor(from).and_then(|id| site.checkpoint.tensors.get(id));
        if let Some(dtype) = tensor.map(|tensor| &tensor.dtype).filter(|dtype| !dtype.is_real()) {
            let dtype = dtype.name();
            return Err(Refusal::Unsupported(format!(
                "`{from}` is {dtype}: torch does not compute this layer with it; scales that belong to it are not applied"
            )));
        }
    }
    Ok(draft.finish(site))
}
