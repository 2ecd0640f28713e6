//! Norms other than the plain ones: 1 + weight, gates, heads, channels first, an activation behind.
//!
//! The functions that compute these constants explain them: `crates/torch/src/zoo/norm.rs`.

use serde_json::{Map, Value, json};

use super::norm::normalized_shape;
use super::phrase::{self, add, binary, entries, multiply, reduce, run, unary};
use super::site::{Draft, Setting, Site, product, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::weights::Fold;
use crate::plan::{Input, Move, Refusal};
use crate::registry::Recipe;
use t2m_engine::program::{MlxLayer, MlxOp};
use t2m_engine::{ModuleSpec, Program};

/// Features of a norm that takes any number of them.
const WIDTH: usize = 24;

/// The row's `offset`: 1 where the norm multiplies by 1 + weight.
fn offset(site: &Site<'_>) -> f64 {
    site.setting(Setting::Offset).and_then(Value::as_f64).unwrap_or(0.0)
}

/// The weight plus the offset, and the bias, each if it exists.
pub(super) fn affine(site: &Site<'_>) -> Vec<Move> {
    let mut moves = site.moves(&["bias"]);
    if offset(site) != 0.0 {
        moves.iter_mut().filter(|step| step.to == "weight").for_each(|step| step.fold = Fold::Offset(offset(site)));
    }
    moves
}

fn with_offset(site: &Site<'_>, draft: Draft) -> Draft {
    match offset(site) {
        0.0 => draft,
        offset => draft.step(format!("{offset} added to the weight")),
    }
}

/// Whether channels are the second axis in torch: by a constant of the row, or by the class's `data_format`.
fn channels_first(site: &Site<'_>) -> Result<bool, Refusal> {
    if let Some(first) = site.setting(Setting::ChannelsFirst).and_then(Value::as_bool) {
        return Ok(first);
    }
    match site.maybe("data_format") {
        Value::Null => Ok(false),
        Value::String(word) if word == "channels_first" => Ok(true),
        Value::String(word) if word == "channels_last" => Ok(false),
        other => Err(unexpected("data_format", other)),
    }
}

/// `[4, 5, C]`, or `[4, C, 5, 7]` with channels last in MLX. `rank` is that of an input with channels first.
fn over(site: &Site<'_>, width: usize) -> Result<Draft, Refusal> {
    let draft = if channels_first(site)? {
        let space: &[usize] =
            if site.setting(Setting::Rank).and_then(Value::as_u64) == Some(3) { &[13] } else { &[5, 7] };
        Draft::new([&[4, width], space].concat(), Bound::Norm(width)).channels_last()
    } else {
        Draft::new(vec![4, 5, width], Bound::Norm(width))
    };
    Ok(draft.values(Values::AndSmall))
}

/// How many features the norm has.
fn width(site: &Site<'_>) -> Result<usize, Refusal> {
    if site.has("weight") || site.given("normalized_shape").is_some() {
        return product(&normalized_shape(site)?);
    }
    Ok(WIDTH)
}

/// An RMS norm with an offset, a bias, in groups, over channels.
pub(super) fn rms(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (width, eps) = (width(site)?, site.float("eps")?);
    let draft = with_offset(site, over(site, width)?).weights(affine(site));
    if let Some(size) = site.maybe("group_size").as_u64() {
        return in_groups(site, draft, width, size, eps);
    }
    let draft = if site.has("weight") {
        draft.arg("dims", width).arg("eps", eps)
    } else {
        let draft = draft.named(MlxOp::FastRmsNorm).arg("weight", Value::Null).arg("eps", eps);
        draft.step("a function, as the layer has a weight")
    };
    if !site.has("bias") {
        return Ok(draft);
    }
    Ok(draft.wrapped(site, |p, x| {
        let normed = run(p, "", &x);
        add(p, normed, "self.bias")
    }))
}

fn in_groups(site: &Site<'_>, draft: Draft, width: usize, size: u64, eps: f64) -> Result<Draft, Refusal> {
    let groups = groups_of(width, usize::try_from(size).unwrap_or(0))
        .ok_or_else(|| unexpected("group_size", site.maybe("group_size")))?;
    let mut p = Program::new(&["x"]);
    let normed = grouped(&mut p, "x", groups, eps);
    let output = if site.has("weight") { multiply(&mut p, normed, "self.weight") } else { normed };
    p.outputs = vec![output];
    Ok(draft.named(MlxOp::FastRmsNorm).program(p).step("normalised in groups"))
}

fn groups_of(width: usize, size: usize) -> Option<usize> {
    (size > 0 && width.is_multiple_of(size)).then(|| width / size)
}

/// The norm of each of `groups` parts of the last axis, without a weight.
fn grouped(p: &mut Program, x: &str, groups: usize, eps: f64) -> String {
    let args = entries([("weight", Value::Null), ("eps", json!(eps))]);
    phrase::layer(p, "", MlxLayer::FastRmsNorm, args);
    if groups == 1 {
        return run(p, "", x);
    }
    let parts = p.call(MlxOp::Unflatten, [x.into()], [("axis", json!(-1)), ("shape", json!([groups, -1]))]);
    let normed = run(p, "", &parts);
    p.call(MlxOp::Flatten, [normed.into()], [("start_axis", json!(-2))])
}

/// An RMS norm and its gate, which is a second input: applied before the norm or after it.
pub(super) fn gated_rms(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [width] = site.shape_of_rank("weight")?;
    let eps = site.float("eps")?;
    let groups = match site.given("group_size").filter(|size| !size.is_null()) {
        Some(value) => groups_of(width, site.number("group_size")?).ok_or_else(|| unexpected("group_size", value))?,
        None if site.given("n_groups").is_some() => site.number("n_groups")?,
        None => 1,
    };
    if groups == 0 || width % groups != 0 {
        return Err(unexpected("n_groups", site.maybe("n_groups")));
    }
    let after = site.flag("norm_before_gate")?;
    let activation = match site.attribute("activation")? {
        Value::String(word) if word == "silu" || word == "swish" => MlxOp::NnSilu,
        Value::String(word) if word == "sigmoid" => MlxOp::Sigmoid,
        other => return Err(unexpected("activation", other)),
    };
    // Every model passes the gate; a sample may ask for the norm without it.
    let alone = site.call.is_some_and(|call| call.inputs.as_deref() == Some(&["hidden_states".to_owned()]));
    let names: &[&str] = if alone { &["hidden_states"] } else { &["hidden_states", "gate"] };
    let mut p = Program::new(names);
    let gate = |p: &mut Program, x: String| {
        let gate = unary(p, activation, "gate");
        multiply(p, x, gate)
    };
    let mut x = "hidden_states".to_owned();
    if !after && !alone {
        x = gate(&mut p, x);
    }
    x = grouped(&mut p, &x, groups, eps);
    x = multiply(&mut p, x, "self.weight");
    if after && !alone {
        x = gate(&mut p, x);
    }
    p.outputs = vec![x];
    let inputs =
        vec![Input::new(vec![4, 5, width], Values::AndSmall), Input::new(vec![4, 5, width], Values::Normal(1.0))];
    let draft = Draft::of(inputs.into_iter().take(names.len()).collect(), Bound::Norm(width / groups));
    let word = if activation == MlxOp::NnSilu { "silu" } else { "sigmoid" };
    Ok(draft
        .weights(vec![Move::keep("weight")])
        .torch_arg("groups", groups)
        .torch_arg("before", !after)
        .torch_arg("activation", word)
        .program(p)
        .step(if after { "the gate multiplied on after the norm" } else { "the gate multiplied on before the norm" }))
}

/// A layer norm with an offset or over channels; or over the last axis of a weight for each head.
pub(super) fn layer(site: &Site<'_>) -> Result<Draft, Refusal> {
    let eps = site.float("eps")?;
    if site.setting(Setting::Merged).and_then(Value::as_bool) == Some(true) {
        return merged(site, eps);
    }
    if let Ok(shape @ [heads, width]) = site.shape_of_rank::<2>("weight") {
        let mut p = Program::new(&["x"]);
        let normed = plain(&mut p, "x", width, eps);
        let output = scaled(site, &mut p, normed);
        p.outputs = vec![output];
        let draft = Draft::new(vec![4, 5, heads, width], Bound::Norm(width)).values(Values::AndSmall);
        let draft = draft.weights(affine(site)).program(p);
        return Ok(
            draft.step(format!("weight {shape:?} multiplied on after the norm, which is over the last axis alone"))
        );
    }
    let width = width(site)?;
    let draft = with_offset(site, over(site, width)?);
    let draft = draft.arg("dims", width).arg("eps", eps).arg("affine", site.has("weight"));
    Ok(draft.arg("bias", site.has("bias")).weights(affine(site)))
}

/// A norm without weights over the last axis.
fn plain(p: &mut Program, x: &str, width: usize, eps: f64) -> String {
    let args = entries([("dims", json!(width)), ("eps", json!(eps)), ("affine", json!(false))]);
    phrase::layer(p, "norm", MlxLayer::LayerNorm, args);
    run(p, "norm", x)
}

/// Times the weight, plus the bias, each if it is there.
fn scaled(site: &Site<'_>, p: &mut Program, mut x: String) -> String {
    if site.has("weight") {
        x = multiply(p, x, "self.weight");
    }
    if site.has("bias") { add(p, x, "self.bias") } else { x }
}

/// A norm over each head's features, then the heads side by side: `[4, 5, heads, D]` → `[4, 5, heads·D]`.
fn merged(site: &Site<'_>, eps: f64) -> Result<Draft, Refusal> {
    let (heads, width) = (site.number("num_heads")?, site.number("head_dim")?);
    let mut p = Program::new(&["x"]);
    let normed = plain(&mut p, "x", width, eps);
    let flat = p.call(MlxOp::Flatten, [normed.into()], [("start_axis", json!(-2))]);
    let output = scaled(site, &mut p, flat);
    p.outputs = vec![output];
    let draft = Draft::new(vec![4, 5, heads, width], Bound::Norm(width)).values(Values::AndSmall);
    Ok(draft.weights(affine(site)).program(p).step("normalised for each head, then flattened"))
}

/// A layer norm for each head, each with a weight of its own: `[4, heads, 5, D]`.
pub(super) fn layer_per_head(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (heads, width) = (site.number("num_heads")?, site.number("dim")?);
    if heads > 1024 {
        return Err(unexpected("num_heads", site.maybe("num_heads")));
    }
    let mut moves = Vec::new();
    let mut eps = None;
    for head in 0..heads {
        let child = site.child(&format!("norms.{head}"))?;
        if child.has("bias") || child.shape_of_rank("weight")? != [width] {
            return Err(Refusal::Unsupported(format!("`norms.{head}` is not a LayerNorm({width}, bias=False)")));
        }
        let own = child.float("eps")?;
        if *eps.get_or_insert(own) != own {
            return Err(Refusal::Unsupported("its norms have different eps".to_owned()));
        }
        moves.push(Move::keep(&format!("norms.{head}.weight")));
    }
    let eps = eps.ok_or_else(|| unexpected("num_heads", site.maybe("num_heads")))?;
    let mut p = Program::new(&["x"]);
    let normed = plain(&mut p, "x", width, eps);
    let weights = phrase::stack(&mut p, (0..heads).map(|head| format!("self.norms.{head}.weight")).collect(), 0);
    let weights = p.call(MlxOp::ExpandDims, [weights.into()], [("axis", json!(1))]);
    let output = multiply(&mut p, normed, weights);
    p.outputs = vec![output];
    let draft = Draft::new(vec![4, heads, 5, width], Bound::Norm(width)).values(Values::AndSmall);
    let draft = draft.torch_arg("eps", eps).weights(moves).program(p);
    Ok(draft.step("one norm without weights, then the heads' weights"))
}

/// `x / sqrt(var(x) + eps)` with the variance divided by n - 1.
pub(super) fn simple(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (width, eps) = (width(site)?, site.float("eps")?);
    let mut p = Program::new(&["x"]);
    let variance =
        p.call(MlxOp::Var, ["x".into()], [("axis", json!(-1)), ("keepdims", json!(true)), ("ddof", json!(1))]);
    let variance = add(&mut p, variance, eps);
    let factor = unary(&mut p, MlxOp::Rsqrt, &variance);
    let normed = multiply(&mut p, "x", factor);
    let output = scaled(site, &mut p, normed);
    p.outputs = vec![output];
    Ok(over(site, width)?.weights(site.moves(&["bias"])).program(p).step("by ops: MLX has no such layer"))
}

/// Each channel's norm over space, divided by the mean over channels: `[2, 7, 9, C]`.
pub(super) fn global_response(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [channels] = site.shape_of_rank("weight")?;
    let eps = site.float("eps")?;
    let first = match site.attribute("channel_dim")?.as_i64() {
        Some(1) => true,
        Some(-1 | 3) => false,
        _ => return Err(unexpected("channel_dim", site.maybe("channel_dim"))),
    };
    let mut p = Program::new(&["x"]);
    let square = unary(&mut p, MlxOp::Square, "x");
    let sum = reduce(&mut p, MlxOp::Sum, &square, &[1, 2], true);
    let norm = unary(&mut p, MlxOp::Sqrt, &sum);
    let mean = reduce(&mut p, MlxOp::Mean, &norm, &[-1], true);
    let mean = add(&mut p, mean, eps);
    let relative = binary(&mut p, MlxOp::Divide, norm, mean);
    let scaled = multiply(&mut p, "x", relative);
    let scaled = multiply(&mut p, scaled, "self.weight");
    let scaled = add(&mut p, scaled, "self.bias");
    let output = add(&mut p, "x", scaled);
    p.outputs = vec![output];
    let bound = Bound::Norm(product(&[63, channels])?);
    let shape = if first { vec![2, channels, 7, 9] } else { vec![2, 7, 9, channels] };
    let draft = Draft::new(shape, bound).values(Values::AndSmall);
    let draft = if first { draft.channels_last() } else { draft };
    Ok(draft.weights(site.moves(&["bias"])).program(p).step("by ops: MLX has no such layer"))
}

/// Divided by the root of the mean square over space: `[2, C, 7, 9]`.
pub(super) fn filter_response(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [channels] = site.shape_of_rank("weight")?;
    let eps = site.float("eps")?;
    let mut p = Program::new(&["x"]);
    let square = unary(&mut p, MlxOp::Square, "x");
    let mean = reduce(&mut p, MlxOp::Mean, &square, &[1, 2], true);
    let mean = add(&mut p, mean, eps);
    let factor = unary(&mut p, MlxOp::Rsqrt, &mean);
    let normed = multiply(&mut p, "x", factor);
    let mut output = scaled(site, &mut p, normed);
    if site.has("tau") {
        output = binary(&mut p, MlxOp::Maximum, output, "self.tau");
    }
    p.outputs = vec![output];
    let draft = Draft::new(vec![2, channels, 7, 9], Bound::Norm(63)).values(Values::AndSmall).channels_last();
    Ok(draft.weights(site.moves(&["bias", "tau"])).program(p).step("by ops: MLX has no such layer"))
}

/// The input times the weight, plus the bias if there is one.
pub(super) fn scale(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [width] = site.shape_of_rank("weight")?;
    let mut p = Program::new(&["x"]);
    let output = scaled(site, &mut p, "x".to_owned());
    p.outputs = vec![output];
    let draft = over(site, width)?.values(Values::Normal(1.0));
    Ok(Draft { bound: Bound::Pointwise, ..draft }.weights(site.moves(&["bias"])).program(p))
}

/// The norm that the row names, and the module's child `act` after it. `drop` between them is the identity.
pub(super) fn then_activation(site: &Site<'_>) -> Result<Draft, Refusal> {
    let named = site.setting(Setting::Norm).and_then(Value::as_str).unwrap_or_default();
    let no_row = || Refusal::Unsupported(format!("the norm {named} has no row"));
    let mut row = site.registry.layer(named).ok_or_else(no_row)?.clone();
    row.torch = row.torch.or_else(|| Some(named.to_owned()));
    let norm = super::plan(&Site { row: &row, ..*site })?;
    if let Ok(drop) = site.planned_child("drop")
        && !matches!(drop.row.recipe, Some(Recipe::Identity | Recipe::Dropout))
    {
        return Err(Refusal::Unsupported(format!("between norm and activation is a {}", drop.module().class)));
    }
    let act = super::plan(&site.planned_child("act")?)?;
    let mut p = norm.mlx.program.clone().unwrap_or_else(|| {
        let mut p = Program::new(&["x"]);
        p.layers.insert(String::new(), norm.mlx.clone());
        let output = run(&mut p, "", "x");
        p.outputs = vec![output];
        p
    });
    let normed = p.outputs.pop().unwrap_or_default();
    let output = match &act.mlx.program {
        Some(_) => return Err(Refusal::Unsupported(format!("its activation is a {}, by ops", act.torch.kind))),
        None if act.mlx.kind == MlxLayer::Identity.name() => normed,
        None => {
            p.layers.insert("act".to_owned(), act.mlx.clone());
            run(&mut p, "act", &normed)
        }
    };
    p.outputs = vec![output];
    let below = act.weights.into_iter().map(|step| Move {
        from: step.from.iter().map(|name| format!("act.{name}")).collect(),
        to: format!("act.{}", step.to),
        ..step
    });
    let layers = json!([part(&norm.torch, ""), part(&act.torch, "act")]);
    let mut draft = Draft::of(norm.inputs, norm.bound).outputs(norm.outputs).torch_arg("layers", layers);
    draft.way = norm.way;
    draft = draft.weights(norm.weights.into_iter().chain(below).collect()).program(p);
    draft.mlx = Some(norm.mlx.kind);
    Ok(draft.step("the activation behind the norm is a layer of its own"))
}

/// A layer of a sequence on torch's side, with its tensors under that path.
fn part(spec: &ModuleSpec, at: &str) -> Map<String, Value> {
    entries([("kind", json!(spec.kind)), ("args", json!(spec.args)), ("at", json!(at))])
}
