//! Embeddings with a scale, rows by position, and tables of relative positions.

use serde_json::{Value, json};

use super::phrase::{add, binary, multiply, run};
use super::site::{Draft, Setting, Site, product, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::{Input, Move, Refusal};
use t2m_engine::Program;
use t2m_engine::program::{MlxOp, Operand};

/// The weight, and the number that its rows are multiplied by where the file has it as a tensor.
pub(super) fn scaled_moves(site: &Site<'_>) -> Vec<Move> {
    let mut moves = site.moves(&[]);
    if site.setting(Setting::Scale).is_none_or(Value::is_null) && site.has("scale") {
        moves.push(Move::keep("scale"));
    }
    moves
}

/// Ids `[3, 11]` → `[3, 11, width]`, times a number of the class, or a tensor if the file holds no number.
pub(super) fn scaled(site: &Site<'_>) -> Result<Draft, Refusal> {
    let plain = super::linear::embedding(site)?;
    let draft = Draft { bound: Bound::Pointwise, ..plain };
    match site.setting(Setting::Scale).filter(|scale| !scale.is_null()) {
        Some(_) => {
            let scale = site.float("scale")?;
            if scale == 1.0 {
                let draft = Draft { bound: Bound::Copy, ..draft };
                return Ok(draft);
            }
            let draft = draft.wrapped(site, |p, ids| {
                let rows = run(p, "", &ids);
                multiply(p, rows, scale)
            });
            Ok(draft.step(format!("its rows multiplied by {scale}, not the weight: that may be lm_head's as well")))
        }
        None if site.has("scale") => {
            let mut draft = draft.wrapped(site, |p, ids| {
                let rows = run(p, "", &ids);
                multiply(p, rows, "self.scale")
            });
            draft.weights.push(Move::keep("scale"));
            Ok(draft.step("its rows multiplied by embed_scale, not the weight: that may be lm_head's as well"))
        }
        None => Err(Refusal::Incomplete("the file does not say by what the rows are multiplied".to_owned())),
    }
}

/// Rows by position: `[3, 11]` → `[3, 11, width]`, or `[11, width]` where all items have the same.
pub(super) fn positions(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [rows, width] = site.shape_of_rank("weight")?;
    let offset = match site.setting(Setting::Offset).filter(|offset| !offset.is_null()) {
        Some(_) => site.number("offset")?,
        None => 0,
    };
    let count = site.setting(Setting::Count).and_then(Value::as_str).unwrap_or_default();
    let padding = if count == "padding" { site.number("padding_idx")? } else { 0 };
    let first = if count == "padding" { padding + 1 } else { offset };
    let length = rows.saturating_sub(first).min(11);
    if length == 0 {
        return Err(Refusal::Unsupported(format!("its table has {rows} rows and its positions begin at {first}")));
    }
    let batch = site.setting(Setting::Batch).and_then(Value::as_bool) != Some(false);
    let mut p = Program::new(&[if count == "mask" { "mask" } else { "ids" }]);
    let input = p.inputs[0].clone();
    let places = match count {
        "mask" => {
            let sum = p.call(MlxOp::Cumsum, [input.as_str().into()], [("axis", json!(1))]);
            let sum = multiply(&mut p, sum, input.as_str());
            add(&mut p, sum, offset as f64 - 1.0)
        }
        "padding" => {
            let real = binary(&mut p, MlxOp::NotEqual, input.as_str(), padding as f64);
            let real = p.call(MlxOp::Astype, [real.into()], [("dtype", json!("int32"))]);
            let sum = p.call(MlxOp::Cumsum, [real.clone().into()], [("axis", json!(1))]);
            let sum = multiply(&mut p, sum, real);
            add(&mut p, sum, padding as f64)
        }
        _ => {
            let ones = p.call(MlxOp::OnesLike, [input.as_str().into()], []);
            let sum = p.call(MlxOp::Cumsum, [ones.into()], [("axis", json!(1))]);
            add(&mut p, sum, offset as f64 - 1.0)
        }
    };
    let places = if batch { places } else { super::phrase::at(&mut p, &places, 0) };
    let output = p.call(MlxOp::Take, ["self.weight".into(), places.into()], [("axis", json!(0))]);
    p.outputs = vec![output];
    // A mask of ones and zeros, or ids that include the padding id.
    let values = Values::Ids(if count == "mask" { 2 } else { padding as u64 + 3 });
    let draft = Draft::of(vec![Input::new(vec![3, length], values)], Bound::Copy);
    let shape = if batch { vec![3, length, width] } else { vec![length, width] };
    let draft = draft.weights(vec![Move::keep("weight")]).output_shape(shape).program(p);
    Ok(draft.step(match (count, offset) {
        ("mask", _) => format!("positions counted along the mask, {offset} rows in front of them"),
        ("padding", _) => format!("positions counted along the ids that are not {padding}"),
        (_, 0) => "rows from the first on".to_owned(),
        (_, offset) => format!("rows from {offset} on"),
    }))
}

/// BEiT's table at its own window size: a constant of the model, `[1, heads, patches + 1, patches + 1]`.
pub(super) fn relative_bias(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [rows, heads] = site.shape_of_rank("weight")?;
    let window = site.numbers("window_size", 2)?;
    let wrong = || unexpected("window_size", site.maybe("window_size"));
    let (height, width) = (window[0], window[1]);
    let patches = product(&[height, width])?;
    if height != width {
        let reason = "its window is not square: such a table is resized along the wrong axes even at its own size";
        return Err(Refusal::Unsupported(reason.to_owned()));
    }
    if patches == 0 || patches > 1024 || rows != (2 * height - 1) * (2 * width - 1) + 3 {
        return Err(wrong());
    }
    let row = |from: usize, to: usize| match (from, to) {
        (0, 0) => rows - 1,
        (0, _) => rows - 3,
        (_, 0) => rows - 2,
        _ => {
            let (from, to) = (from - 1, to - 1);
            let (down, right) = (from / width + height - 1 - to / width, from % width + width - 1 - to % width);
            down * (2 * width - 1) + right
        }
    };
    let all = patches + 1;
    let index = (0..all * all).map(|at| row(at / all, at % all) as i64);
    let mut p = Program::new(&[]);
    let taken = p.call(MlxOp::Take, ["self.weight".into(), Operand::indices(index)], [("axis", json!(0))]);
    let square = super::phrase::reshape(&mut p, &taken, &[1, all as i64, all as i64, heads as i64]);
    let output = super::phrase::transpose(&mut p, &square, &[0, 3, 1, 2]);
    p.outputs = vec![output];
    let draft = Draft::of(Vec::new(), Bound::Copy).weights(vec![Move::keep("weight")]);
    let draft = draft.output_shape(vec![1, heads, all, all]).program(p);
    Ok(draft.step(format!("for its own window {height}×{width}; another one resizes the table")))
}
