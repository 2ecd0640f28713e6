//! Losses of class labels: cross entropy and its parts.

use serde_json::{Value, json};

use super::{ITEMS, Loss, own_class, wide, width};
use crate::compare::tolerance::Bound;
use crate::plan::call::Targets;
use crate::plan::input::Values;
use crate::plan::recipes::attention;
use crate::plan::recipes::phrase::{self, add, binary, multiply, reduce, unary};
use crate::plan::recipes::site::{Draft, Site, unexpected};
use crate::plan::{Input, Move, Refusal};
use t2m_engine::program::{MlxLayer, MlxOp};

fn ignore_index(site: &Site<'_>) -> Result<i64, Refusal> {
    match site.maybe("ignore_index") {
        // LinearCrossEntropyLoss has no such class by default.
        Value::Null => Ok(-100),
        value => value.as_i64().ok_or_else(|| unexpected("ignore_index", value)),
    }
}

/// The loss of labels as ops: with weights for classes, an ignored class, smoothing. `logs` are log-probabilities.
fn of_labels(loss: &mut Loss<'_>, logs: &str, ignored: Option<i64>, smoothing: f64, classes: usize) -> String {
    let weight = loss.buffer("weight");
    let p = &mut loss.p;
    let own = own_class(p, logs);
    let mut each = unary(p, MlxOp::Negative, &own);
    let mut share = weight.clone().map(|weight| p.call(MlxOp::Take, [weight.into(), "y".into()], [("axis", json!(0))]));
    if let Some(share) = &share {
        each = multiply(p, each, share.clone());
    }
    if smoothing > 0.0 {
        let all = match weight {
            Some(weight) => multiply(p, logs, weight),
            None => logs.to_owned(),
        };
        let all = reduce(p, MlxOp::Sum, &all, &[-1], false);
        let spread = multiply(p, all, -smoothing / classes as f64);
        let kept = multiply(p, each, 1.0 - smoothing);
        each = add(p, kept, spread);
    }
    if let Some(ignored) = ignored {
        let kept = binary(p, MlxOp::NotEqual, "y", ignored as f64);
        let kept = p.call(MlxOp::AstypeLike, [kept.into(), logs.into()], []);
        each = multiply(p, each, kept.clone());
        share = Some(match share {
            Some(share) => multiply(p, share, kept),
            None => kept,
        });
    }
    match (loss.reduction, share) {
        ("none", _) => each,
        ("sum", _) => p.call(MlxOp::Sum, [each.into()], []),
        (_, None) => p.call(MlxOp::Mean, [each.into()], []),
        (_, Some(share)) => {
            let (sum, whole) = (p.call(MlxOp::Sum, [each.into()], []), p.call(MlxOp::Sum, [share.into()], []));
            binary(p, MlxOp::Divide, sum, whole)
        }
    }
}

/// The ignored class, if there is one.
fn ignored(site: &Site<'_>, classes: usize) -> Result<Option<i64>, Refusal> {
    let index = ignore_index(site)?;
    Ok(usize::try_from(index).is_ok_and(|index| index < classes).then_some(index))
}

/// Minus the score of the item's class.
pub(in crate::plan::recipes) fn negative_log_likelihood(site: &Site<'_>) -> Result<Draft, Refusal> {
    let classes = width(site);
    let labels = ("y", Input::new(vec![ITEMS], Values::Ids(classes as u64)));
    let mut loss = Loss::new(site, vec![wide("x", site, Values::Normal(1.0)), labels])?;
    let ignored = ignored(site, classes)?;
    if ignored.is_none() && !site.has("weight") {
        return Ok(loss.named(MlxOp::LossNll, &["x", "y"], []));
    }
    let output = of_labels(&mut loss, "x", ignored, 0.0, classes);
    Ok(loss.done(output, ITEMS).step("by ops: MLX has neither class weights nor ignore_index"))
}

/// From logits and classes, over the last axis in MLX and the second in torch.
pub(in crate::plan::recipes) fn cross_entropy(site: &Site<'_>) -> Result<Draft, Refusal> {
    let classes = width(site);
    let smoothing = site.float("label_smoothing")?;
    let targets = site.call.and_then(|call| call.targets);
    if targets == Some(Targets::Probabilities) {
        return of_probabilities(site, classes, smoothing);
    }
    let inputs = if targets == Some(Targets::Spatial) {
        let image = Input::new(vec![2, classes, 4, 5], Values::Normal(1.0)).channels_last();
        vec![("x", image), ("y", Input::new(vec![2, 4, 5], Values::Ids(classes as u64)))]
    } else {
        let labels = ("y", Input::new(vec![ITEMS], Values::Ids(classes as u64)));
        vec![wide("x", site, Values::Normal(1.0)), labels]
    };
    let mut loss = Loss::new(site, inputs)?;
    let ignored = ignored(site, classes)?;
    if ignored.is_none() && !site.has("weight") {
        return Ok(loss.named(MlxOp::LossCrossEntropy, &["x", "y"], [("label_smoothing", json!(smoothing))]));
    }
    let logs = loss.p.call(MlxOp::NnLogSoftmax, ["x".into()], [("axis", json!(-1))]);
    let output = of_labels(&mut loss, &logs, ignored, smoothing, classes);
    let step = "by ops: MLX's weights are one for each item, and it has no ignore_index";
    Ok(loss.done(output, ITEMS * classes).step(step))
}

/// Probabilities as targets. MLX assumes that they add up to 1; torch multiplies by whatever they are.
fn of_probabilities(site: &Site<'_>, classes: usize, smoothing: f64) -> Result<Draft, Refusal> {
    let inputs = vec![wide("x", site, Values::Normal(1.0)), wide("y", site, Values::Probabilities)];
    let mut loss = Loss::new(site, inputs)?;
    let weight = loss.buffer("weight");
    let p = &mut loss.p;
    let logs = p.call(MlxOp::NnLogSoftmax, ["x".into()], [("axis", json!(-1))]);
    let mut targets = "y".to_owned();
    if smoothing > 0.0 {
        let kept = multiply(p, "y", 1.0 - smoothing);
        targets = add(p, kept, smoothing / classes as f64);
    }
    let mut products = multiply(p, targets, logs);
    if let Some(weight) = weight {
        products = multiply(p, products, weight);
    }
    let sum = reduce(p, MlxOp::Sum, &products, &[-1], false);
    let each = unary(p, MlxOp::Negative, &sum);
    Ok(loss.reduced(each).step("by ops: nn.losses.cross_entropy takes probabilities to add up to 1"))
}

/// A linear layer and the cross entropy of what it gives.
pub(in crate::plan::recipes) fn linear_cross_entropy(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [classes, features] = site.shape_of_rank("linear.weight")?;
    if site.maybe("out_features").as_array().is_some_and(|axes| !axes.is_empty()) {
        return Err(Refusal::Unsupported("`out_features` gives every item several labels: not built".to_owned()));
    }
    if !site.maybe("options").is_null() {
        return Err(Refusal::Unsupported("`options` adds up in chunks, in another order".to_owned()));
    }
    let smoothing = site.float("label_smoothing")?;
    let bias = site.has("linear.bias");
    let inputs = vec![
        ("x", Input::new(vec![ITEMS, features], Values::Normal(1.0))),
        ("y", Input::new(vec![ITEMS], Values::Ids(classes as u64))),
    ];
    let mut loss = Loss::new(site, inputs)?;
    phrase::layer(&mut loss.p, "linear", MlxLayer::Linear, attention::linear(features, classes, bias));
    loss.weights.push(Move::keep("linear.weight"));
    if bias {
        loss.weights.push(Move::keep("linear.bias"));
    }
    let logits = phrase::run(&mut loss.p, "linear", "x");
    let ignored = ignored(site, classes)?;
    let draft = if ignored.is_none() && !site.has("weight") {
        loss.named(MlxOp::LossCrossEntropy, &[&logits, "y"], [("label_smoothing", json!(smoothing))])
    } else {
        let logs = loss.p.call(MlxOp::NnLogSoftmax, [logits.into()], [("axis", json!(-1))]);
        let output = of_labels(&mut loss, &logs, ignored, smoothing, classes);
        loss.done(output, ITEMS)
    };
    Ok(Draft { bound: Bound::Contraction(features * classes), ..draft }.step("a linear layer and its loss"))
}
