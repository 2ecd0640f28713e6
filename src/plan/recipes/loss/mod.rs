//! Losses: by `nn.losses` where MLX has the same one, otherwise as ops. MLX's default reduction is often `none`,
//! torch's `mean`.

mod labels;

use serde_json::{Value, json};

use super::phrase::{add, binary, multiply, reduce, unary};
use super::site::{Draft, Site, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::{Input, Move, Refusal};
use t2m_engine::Program;
use t2m_engine::program::{MlxOp, Operand};

pub(super) use labels::{cross_entropy, linear_cross_entropy, negative_log_likelihood};

/// Items and features of the input; weights for classes or features give another number of features.
const ITEMS: usize = 8;
const FEATURES: usize = 6;

/// A loss in the making.
struct Loss<'a> {
    site: &'a Site<'a>,
    p: Program,
    inputs: Vec<Input>,
    reduction: &'a str,
    weights: Vec<Move>,
}

impl<'a> Loss<'a> {
    fn new(site: &'a Site<'a>, inputs: Vec<(&str, Input)>) -> Result<Loss<'a>, Refusal> {
        let value = site.attribute("reduction")?;
        let reduction = value.as_str().filter(|name| matches!(*name, "none" | "mean" | "sum" | "batchmean"));
        let names: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
        Ok(Loss {
            site,
            p: Program::new(&names),
            inputs: inputs.into_iter().map(|(_, input)| input).collect(),
            reduction: reduction.ok_or_else(|| unexpected("reduction", value))?,
            weights: Vec::new(),
        })
    }

    /// A buffer of the loss, as a variable.
    fn buffer(&mut self, name: &str) -> Option<String> {
        self.site.has(name).then(|| {
            if !self.weights.iter().any(|step| step.to == name) {
                self.weights.push(Move::keep(name));
            }
            format!("self.{name}")
        })
    }

    /// The loss of each element, reduced as the layer says.
    fn reduced(mut self, each: String) -> Draft {
        let count: usize = self.inputs.first().map_or(1, |input| input.shape.iter().product());
        let output = match self.reduction {
            "none" => each,
            "mean" => self.p.call(MlxOp::Mean, [each.into()], []),
            "batchmean" => {
                let items = self.inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or(1);
                let sum = self.p.call(MlxOp::Sum, [each.into()], []);
                multiply(&mut self.p, sum, 1.0 / items as f64)
            }
            _ => self.p.call(MlxOp::Sum, [each.into()], []),
        };
        self.done(output, count)
    }

    fn done(mut self, output: String, terms: usize) -> Draft {
        self.p.outputs = vec![output];
        let terms = if self.reduction == "none" { self.inputs[0].shape.last().copied().unwrap_or(1) } else { terms };
        Draft { weights: self.weights, ..Draft::of(self.inputs, Bound::Norm(terms)).program(self.p) }
    }

    /// By a function of `nn.losses`.
    fn named<const N: usize>(mut self, function: MlxOp, arguments: &[&str], more: [(&str, Value); N]) -> Draft {
        let inputs: Vec<Operand> = arguments.iter().map(|&name| name.into()).collect();
        let output = self.p.call(function, inputs, more);
        if let Some(step) = self.p.steps.last_mut() {
            step.args.insert("reduction".to_owned(), json!(self.reduction));
        }
        let count = self.inputs.first().map_or(1, |input| input.shape.iter().product());
        self.done(output, count).named(function)
    }
}

fn plain(name: &'static str, values: Values) -> (&'static str, Input) {
    (name, Input::new(vec![ITEMS, FEATURES], values))
}

fn vector(name: &'static str, values: Values) -> (&'static str, Input) {
    (name, Input::new(vec![ITEMS], values))
}

/// Number of classes or features: that of the weights, if there are any.
fn width(site: &Site<'_>) -> usize {
    let own = ["weight", "pos_weight"].iter().find_map(|name| site.shape(name).ok());
    own.and_then(|shape| shape.last().copied()).filter(|width| (1..=1 << 16).contains(width)).unwrap_or(FEATURES)
}

fn wide(name: &'static str, site: &Site<'_>, values: Values) -> (&'static str, Input) {
    (name, Input::new(vec![ITEMS, width(site)], values))
}

pub(super) fn mean_squared(site: &Site<'_>) -> Result<Draft, Refusal> {
    let loss = Loss::new(site, vec![plain("x", Values::Normal(1.0)), plain("y", Values::Normal(1.0))])?;
    Ok(loss.named(MlxOp::LossMse, &["x", "y"], []))
}

pub(super) fn mean_absolute(site: &Site<'_>) -> Result<Draft, Refusal> {
    let loss = Loss::new(site, vec![plain("x", Values::Normal(1.0)), plain("y", Values::Normal(1.0))])?;
    Ok(loss.named(MlxOp::LossL1, &["x", "y"], []))
}

pub(super) fn smooth(site: &Site<'_>) -> Result<Draft, Refusal> {
    let beta = site.float("beta")?;
    let loss = Loss::new(site, vec![plain("x", Values::Normal(1.0)), plain("y", Values::Normal(1.0))])?;
    if beta == 0.0 {
        return Ok(loss.named(MlxOp::LossL1, &["x", "y"], []).step("beta=0 is the absolute error"));
    }
    Ok(loss.named(MlxOp::LossSmoothL1, &["x", "y"], [("beta", json!(beta))]))
}

pub(super) fn huber(site: &Site<'_>) -> Result<Draft, Refusal> {
    let delta = site.float("delta")?;
    let loss = Loss::new(site, vec![plain("x", Values::Normal(1.0)), plain("y", Values::Normal(1.0))])?;
    Ok(loss.named(MlxOp::LossHuber, &["x", "y"], [("delta", json!(delta))]))
}

/// From probabilities. torch keeps logarithms above -100.
pub(super) fn binary_cross_entropy(site: &Site<'_>) -> Result<Draft, Refusal> {
    let inputs = vec![wide("x", site, Values::Probabilities), wide("y", site, Values::Probabilities)];
    let mut loss = Loss::new(site, inputs)?;
    let Some(weight) = loss.buffer("weight") else {
        return Ok(loss.named(MlxOp::LossBinaryCrossEntropy, &["x", "y"], [("with_logits", json!(false))]));
    };
    let p = &mut loss.p;
    let rest = |p: &mut Program, x: &str| binary(p, MlxOp::Subtract, 1.0, x);
    let (not_x, not_y) = (rest(p, "x"), rest(p, "y"));
    let (log, log_not) = (unary(p, MlxOp::Log, "x"), unary(p, MlxOp::Log, &not_x));
    let (hit, miss) = (multiply(p, "y", log), multiply(p, not_y, log_not));
    let sum = add(p, hit, miss);
    let negative = unary(p, MlxOp::Negative, &sum);
    let each = multiply(p, negative, weight);
    Ok(loss.reduced(each).step("by ops, as MLX's weights are one for each item"))
}

/// From logits, with weights for features and for their positives.
pub(super) fn binary_cross_entropy_with_logits(site: &Site<'_>) -> Result<Draft, Refusal> {
    let inputs = vec![wide("x", site, Values::Normal(2.0)), wide("y", site, Values::Probabilities)];
    let mut loss = Loss::new(site, inputs)?;
    let (weight, positive) = (loss.buffer("weight"), loss.buffer("pos_weight"));
    if weight.is_none() && positive.is_none() {
        return Ok(loss.named(MlxOp::LossBinaryCrossEntropy, &["x", "y"], [("with_logits", json!(true))]));
    }
    // (1 - y)·x + (1 + (w - 1)·y)·log(1 + e⁻ˣ)
    let p = &mut loss.p;
    let not_y = binary(p, MlxOp::Subtract, 1.0, "y");
    let first = multiply(p, not_y, "x");
    let negative = unary(p, MlxOp::Negative, "x");
    let mut second = binary(p, MlxOp::Logaddexp, negative, 0.0);
    if let Some(positive) = positive {
        let more = binary(p, MlxOp::Subtract, positive, 1.0);
        let share = multiply(p, more, "y");
        let factor = add(p, share, 1.0);
        second = multiply(p, factor, second);
    }
    let mut each = add(p, first, second);
    if let Some(weight) = weight {
        each = multiply(p, each, weight);
    }
    Ok(loss.reduced(each).step("by ops, as MLX's function has no pos_weight"))
}

/// torch sums every element and, for `mean`, divides by all of them; MLX sums the last axis.
pub(super) fn kl_divergence(site: &Site<'_>) -> Result<Draft, Refusal> {
    let log_target = site.flag("log_target")?;
    let target = if log_target { Values::Normal(1.0) } else { Values::Probabilities };
    let mut loss = Loss::new(site, vec![plain("x", Values::Normal(1.0)), plain("y", target)])?;
    let p = &mut loss.p;
    let (log, share) = match log_target {
        true => ("y".to_owned(), unary(p, MlxOp::Exp, "y")),
        false => (unary(p, MlxOp::Log, "y"), "y".to_owned()),
    };
    let apart = binary(p, MlxOp::Subtract, log, "x");
    let each = multiply(p, share, apart);
    Ok(loss.reduced(each).step("by ops: nn.losses.kl_div_loss sums the last axis before it reduces"))
}

/// Each item's score of its class, along the last axis.
fn own_class(p: &mut Program, x: &str) -> String {
    let labels = p.call(MlxOp::ExpandDims, ["y".into()], [("axis", json!(-1))]);
    let taken = p.call(MlxOp::TakeAlongAxis, [x.into(), labels.into()], [("axis", json!(-1))]);
    p.call(MlxOp::Squeeze, [taken.into()], [("axis", json!(-1))])
}

/// From rates or their logarithms.
pub(super) fn poisson(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (log_input, full, eps) = (site.flag("log_input")?, site.flag("full")?, site.float("eps")?);
    let rates = if log_input { Values::Normal(1.0) } else { Values::Positive };
    let mut loss = Loss::new(site, vec![plain("x", rates), plain("y", Values::Ids(9))])?;
    let p = &mut loss.p;
    let y = p.call(MlxOp::AstypeLike, ["y".into(), "x".into()], []);
    let (rate, log) = if log_input {
        (unary(p, MlxOp::Exp, "x"), "x".to_owned())
    } else {
        let above = add(p, "x", eps);
        ("x".to_owned(), unary(p, MlxOp::Log, &above))
    };
    let product = multiply(p, y.clone(), log);
    let mut each = binary(p, MlxOp::Subtract, rate, product);
    if full {
        // Stirling's approximation of log(y!), for y above 1.
        let log = unary(p, MlxOp::Log, &y);
        let first = multiply(p, y.clone(), log);
        let first = binary(p, MlxOp::Subtract, first, y.clone());
        let circle = multiply(p, y.clone(), std::f64::consts::TAU);
        let circle = unary(p, MlxOp::Log, &circle);
        let half = multiply(p, circle, 0.5);
        let stirling = add(p, first, half);
        let above = binary(p, MlxOp::Greater, y, 1.0);
        let stirling = p.call(MlxOp::Where, [above.into(), stirling.into(), 0.0.into()], []);
        each = add(p, each, stirling);
    }
    Ok(loss.reduced(each).step("by ops: MLX has no such loss"))
}

pub(super) fn gaussian(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (full, eps) = (site.flag("full")?, site.float("eps")?);
    let inputs = vec![plain("x", Values::Normal(1.0)), plain("y", Values::Normal(1.0)), plain("var", Values::Positive)];
    let loss = Loss::new(site, inputs)?;
    Ok(loss.named(MlxOp::LossGaussianNll, &["x", "y", "var"], [("full", json!(full)), ("eps", json!(eps))]))
}

/// `x` where the sign is 1; where it is -1, how far it falls short of the margin.
pub(super) fn hinge_embedding(site: &Site<'_>) -> Result<Draft, Refusal> {
    let margin = site.float("margin")?;
    let mut loss = Loss::new(site, vec![plain("x", Values::Normal(1.0)), plain("y", Values::Signs)])?;
    let p = &mut loss.p;
    let missing = binary(p, MlxOp::Subtract, margin, "x");
    let missing = binary(p, MlxOp::Maximum, missing, 0.0);
    let alike = binary(p, MlxOp::Equal, "y", 1.0);
    let each = p.call(MlxOp::Where, [alike.into(), "x".into(), missing.into()], []);
    Ok(loss.reduced(each).step("by ops: nn.losses.hinge_loss is another loss"))
}

pub(super) fn cosine_embedding(site: &Site<'_>) -> Result<Draft, Refusal> {
    let margin = site.float("margin")?;
    let inputs = vec![plain("x", Values::Normal(1.0)), plain("z", Values::Normal(1.0)), vector("y", Values::Signs)];
    let mut loss = Loss::new(site, inputs)?;
    let p = &mut loss.p;
    let product = multiply(p, "x", "z");
    let product = reduce(p, MlxOp::Sum, &product, &[1], false);
    let length = |p: &mut Program, x: &str| {
        let squares = unary(p, MlxOp::Square, x);
        let sum = reduce(p, MlxOp::Sum, &squares, &[1], false);
        // torch's own epsilon, inside the roots.
        add(p, sum, 1e-12)
    };
    let (first, second) = (length(p, "x"), length(p, "z"));
    let lengths = multiply(p, first, second);
    let lengths = unary(p, MlxOp::Sqrt, &lengths);
    let cosine = binary(p, MlxOp::Divide, product, lengths);
    let apart = binary(p, MlxOp::Subtract, 1.0, cosine.clone());
    let above = binary(p, MlxOp::Subtract, cosine, margin);
    let above = binary(p, MlxOp::Maximum, above, 0.0);
    let alike = binary(p, MlxOp::Equal, "y", 1.0);
    let each = p.call(MlxOp::Where, [alike.into(), apart.into(), above.into()], []);
    Ok(loss.reduced(each).step("by ops: MLX has no such loss"))
}

pub(super) fn margin_ranking(site: &Site<'_>) -> Result<Draft, Refusal> {
    let margin = site.float("margin")?;
    let inputs = vec![vector("x", Values::Normal(1.0)), vector("z", Values::Normal(1.0)), vector("y", Values::Signs)];
    let loss = Loss::new(site, inputs)?;
    Ok(loss.named(MlxOp::LossMarginRanking, &["x", "z", "y"], [("margin", json!(margin))]))
}

/// `log(1 + e^(-y·x))`
pub(super) fn soft_margin(site: &Site<'_>) -> Result<Draft, Refusal> {
    let mut loss = Loss::new(site, vec![plain("x", Values::Normal(1.0)), plain("y", Values::Signs)])?;
    let p = &mut loss.p;
    let product = multiply(p, "y", "x");
    let negative = unary(p, MlxOp::Negative, &product);
    let each = binary(p, MlxOp::Logaddexp, negative, 0.0);
    Ok(loss.reduced(each).step("by ops: MLX has no such loss"))
}

/// How far every other class falls short of the margin, over the number of classes.
pub(super) fn multi_margin(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (power, margin) = (site.float("p")?, site.float("margin")?);
    let classes = width(site);
    let labels = ("y", Input::new(vec![ITEMS], Values::Ids(classes as u64)));
    let mut loss = Loss::new(site, vec![wide("x", site, Values::Normal(1.0)), labels])?;
    let weight = loss.buffer("weight");
    let p = &mut loss.p;
    let own = own_class(p, "x");
    let own = p.call(MlxOp::ExpandDims, [own.into()], [("axis", json!(-1))]);
    let apart = binary(p, MlxOp::Subtract, "x", own);
    let missing = add(p, apart, margin);
    let mut missing = binary(p, MlxOp::Maximum, missing, 0.0);
    if power != 1.0 {
        missing = binary(p, MlxOp::Power, missing, power);
    }
    if let Some(weight) = weight {
        let weight = p.call(MlxOp::Take, [weight.into(), "y".into()], [("axis", json!(0))]);
        let weight = p.call(MlxOp::ExpandDims, [weight.into()], [("axis", json!(-1))]);
        missing = multiply(p, missing, weight);
    }
    let range = p.call(MlxOp::Arange, [], [("stop", json!(classes))]);
    let labels = p.call(MlxOp::ExpandDims, ["y".into()], [("axis", json!(-1))]);
    let others = binary(p, MlxOp::NotEqual, range, labels);
    let missing = p.call(MlxOp::Where, [others.into(), missing.into(), 0.0.into()], []);
    let sum = reduce(p, MlxOp::Sum, &missing, &[1], false);
    let each = multiply(p, sum, 1.0 / classes as f64);
    Ok(loss.reduced(each).step("by ops: MLX has no such loss"))
}

/// For each of an item's labels, how far every other class falls short of 1. Labels end at the first -1.
pub(super) fn multi_label_margin(site: &Site<'_>) -> Result<Draft, Refusal> {
    let inputs = vec![plain("x", Values::Normal(1.0)), plain("y", Values::LabelLists(FEATURES as u64))];
    let mut loss = Loss::new(site, inputs)?;
    let p = &mut loss.p;
    // [N, labels, classes]
    let labels = p.call(MlxOp::ExpandDims, ["y".into()], [("axis", json!(-1))]);
    let range = p.call(MlxOp::Arange, [], [("stop", json!(FEATURES))]);
    let hits = binary(p, MlxOp::Equal, labels, range);
    let hits = p.call(MlxOp::AstypeLike, [hits.into(), "x".into()], []);
    let is_label = reduce(p, MlxOp::Sum, &hits, &[1], false);
    let wide = p.call(MlxOp::ExpandDims, ["x".into()], [("axis", json!(1))]);
    let own = multiply(p, hits.clone(), wide.clone());
    let own = reduce(p, MlxOp::Sum, &own, &[2], true);
    let apart = binary(p, MlxOp::Subtract, wide, own);
    let missing = add(p, apart, 1.0);
    let missing = binary(p, MlxOp::Maximum, missing, 0.0);
    let counts = reduce(p, MlxOp::Sum, &hits, &[2], true);
    let missing = multiply(p, missing, counts);
    let others = binary(p, MlxOp::Subtract, 1.0, is_label);
    let others = p.call(MlxOp::ExpandDims, [others.into()], [("axis", json!(1))]);
    let missing = multiply(p, missing, others);
    let sum = reduce(p, MlxOp::Sum, &missing, &[1, 2], false);
    let each = multiply(p, sum, 1.0 / FEATURES as f64);
    Ok(loss.reduced(each).step("by ops: MLX has no such loss"))
}

pub(super) fn multi_label_soft_margin(site: &Site<'_>) -> Result<Draft, Refusal> {
    let inputs = vec![wide("x", site, Values::Normal(1.0)), wide("y", site, Values::Probabilities)];
    let mut loss = Loss::new(site, inputs)?;
    let weight = loss.buffer("weight");
    let p = &mut loss.p;
    let not_y = binary(p, MlxOp::Subtract, 1.0, "y");
    let (negative, positive) = (unary(p, MlxOp::Negative, "x"), "x");
    let (hit, miss) = (binary(p, MlxOp::Logaddexp, negative, 0.0), binary(p, MlxOp::Logaddexp, positive, 0.0));
    let (hit, miss) = (multiply(p, "y", hit), multiply(p, not_y, miss));
    let mut each = add(p, hit, miss);
    if let Some(weight) = weight {
        each = multiply(p, each, weight);
    }
    let each = reduce(p, MlxOp::Mean, &each, &[-1], false);
    Ok(loss.reduced(each).step("by ops: MLX has no such loss"))
}

/// Anchor, positive and negative. torch puts its epsilon into the difference, MLX under the root.
pub(super) fn triplet(site: &Site<'_>) -> Result<Draft, Refusal> {
    let margin = site.float("margin")?;
    let swap = site.flag("swap")?;
    let (power, eps) = match site.torch_class().ends_with("TripletMarginWithDistanceLoss") {
        true => distance_function(site)?,
        false => (site.float("p")?, site.float("eps")?),
    };
    let inputs = vec![
        plain("anchor", Values::Normal(1.0)),
        plain("positive", Values::Normal(1.0)),
        plain("negative", Values::Normal(1.0)),
    ];
    let mut loss = Loss::new(site, inputs)?;
    let p = &mut loss.p;
    let near = super::distance::apart(p, ["anchor", "positive"], power, eps, false);
    let mut far = super::distance::apart(p, ["anchor", "negative"], power, eps, false);
    if swap {
        let other = super::distance::apart(p, ["positive", "negative"], power, eps, false);
        far = binary(p, MlxOp::Minimum, far, other);
    }
    let apart = binary(p, MlxOp::Subtract, near, far);
    let missing = add(p, apart, margin);
    let each = binary(p, MlxOp::Maximum, missing, 0.0);
    let mut draft = loss.reduced(each).step("by ops: nn.losses.triplet_loss has its epsilon elsewhere");
    draft.told.modules = Some(site.below()).filter(|modules| !modules.is_empty());
    Ok(draft)
}

/// The norm and epsilon of the distance: a module below the loss, or torch's function with its defaults.
fn distance_function(site: &Site<'_>) -> Result<(f64, f64), Refusal> {
    const FUNCTION: &str = "torch.nn.functional.pairwise_distance";
    const MODULE: &str = "torch.nn.modules.distance.PairwiseDistance";
    let own = || Refusal::Unsupported("`distance_function` is a Python function, which has to be ported".to_owned());
    let value = site.maybe("distance_function");
    match (value.as_str(), site.below_at("distance_function")) {
        (Some(FUNCTION), None) => Ok((2.0, 1e-6)),
        (None, None) if value.is_null() => Ok((2.0, 1e-6)),
        (None, Some(module)) if value.is_null() && module.class == MODULE => {
            let distance = site.child("distance_function")?;
            if distance.flag("keepdim")? {
                return Err(unexpected("keepdim", distance.maybe("keepdim")));
            }
            Ok((distance.float("norm")?, distance.float("eps")?))
        }
        _ => Err(own()),
    }
}
