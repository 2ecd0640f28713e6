//! A row of the registry that knows a class by its name, and the source at hand that computes something else.

use serde_json::Value;

use crate::model::Module;
use crate::plan::Plan;
use crate::registry::layers::Attribute;
use crate::registry::{Layer, Recipe};
use crate::source::ClassSource;
use crate::source::norms::Eps;
use t2m_checkpoint::escape::quoted;

/// How much two values of eps may differ and be the same number.
const SAME: f64 = 1e-6;

/// In which point the forward at hand contradicts the row, in words; `None` where it does not. What a user's registry file says is
/// obeyed, whatever the source computes.
pub fn by_source(module: &Module, row: &Layer, plan: &Plan, source: Option<&ClassSource>) -> Option<String> {
    let source = source.filter(|_| row.set.is_empty())?;
    let norm = source.norm.as_ref()?;
    let mean_square = matches!(row.recipe, Some(Recipe::RmsNorm | Recipe::RmsNormVariant));
    if !mean_square {
        return None;
    }
    let offset = row.attributes.get("offset").is_some_and(|offset| match offset {
        Attribute::Constant(value) => value.as_f64().is_some_and(|value| value != 0.0),
        _ => true,
    });
    let (line, what) = match (&norm.adds_one, norm.centred, norm.outside) {
        (Some((true, line)), ..) if !offset => {
            (*line, "multiplies by 1 + weight, and the row by the weight".to_owned())
        }
        (Some((false, line)), ..) if offset => {
            (*line, "multiplies by the weight, and the row by 1 + weight".to_owned())
        }
        (_, Some(line), _) => (line, "subtracts the mean, which the row does not".to_owned()),
        (_, _, Some(line)) => (line, "adds eps to the root, and the row below it".to_owned()),
        _ => match (other_eps(module, plan, norm.eps.as_ref()), norm.bias) {
            (Some((line, eps)), _) => (line, format!("has an eps of {eps}, and the row another")),
            (None, Some(line)) if lost_bias(module, plan) => (line, "adds a bias, which the row does not".to_owned()),
            _ => return None,
        },
    };
    let class = row.class.rsplit('.').next().unwrap_or(&row.class);
    Some(format!(
        "Its source at hand {what} ({}:{line}): the registry's row of {class} is not followed. Port this forward, or say in a file of --registry what it is.",
        quoted(&source.file)
    ))
}

/// The eps of the source, where the plan has another one.
fn other_eps(module: &Module, plan: &Plan, eps: Option<&(Eps, usize)>) -> Option<(usize, f64)> {
    let planned = plan.mlx.args.get("eps").and_then(Value::as_f64)?;
    let (eps, line) = eps?;
    let own = match eps {
        Eps::Number(number) => *number,
        Eps::Attribute(name) => module.attributes.get(name)?.as_f64()?,
    };
    ((own - planned).abs() > SAME * own.abs().max(planned.abs())).then_some((*line, own))
}

/// Whether the module has a bias that the plan leaves behind.
fn lost_bias(module: &Module, plan: &Plan) -> bool {
    module.tensor("bias").is_some() && !plan.weights.iter().any(|step| step.from.iter().any(|from| from == "bias"))
}
