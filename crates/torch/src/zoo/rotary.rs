//! The cosines and sines of rotary embeddings.

use serde_json::Value;
use tch::{Kind, Tensor};

use super::super::tensor::{Weights, length};
use super::super::{Built, Problem, inputs};
use super::{like, wide};
use t2m_engine::args::Args;

/// How a position's angles become the last axis.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    /// All of them twice.
    Halves,
    /// Each of them twice.
    Pairs,
    Single,
}

/// Which axis of a position each angle belongs to.
#[derive(Clone, PartialEq)]
enum Axes {
    /// Positions `[N, L]` have one axis.
    One,
    /// `[3, N, L]`: a section of angles from the first axis, one from the second, one from the third, one from the
    /// first again …
    Sections(Vec<i64>),
    /// `[3, N, L]`: angles 1, 4, … from the second and 2, 5, … from the third, up to three times a section's length.
    Interleaved(Vec<i64>),
    /// `[N, 2]`: all of the first, then all of the second.
    Both,
}

/// Where frequencies come from.
enum Stored {
    Tensor(String),
    Values(Vec<f64>),
}

/// `t2m.rotary` takes x, of which only the dtype counts, and positions. Its `frequencies` are the names of tensors or their `values`,
/// each with its `scaling`; it returns the cosine and sine of each, in x's dtype unless `cast` is false.
pub(super) fn build(name: &str, args: &Args<'_>, weights: &Weights) -> Built {
    if name != "t2m.rotary" {
        return Ok(None);
    }
    let wrong = || args.wrong("frequencies", "a list of tensors with their scaling");
    let mut frequencies = Vec::new();
    for one in args.get("frequencies")?.as_array().ok_or_else(wrong)? {
        let values = one.get("values").and_then(Value::as_array);
        let stored = match values.map(|values| values.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>()) {
            Some(values) => Stored::Values(values.ok_or_else(wrong)?),
            None => {
                let tensor = one.get("tensor").and_then(Value::as_str).ok_or_else(wrong)?;
                weights.get(tensor)?;
                Stored::Tensor(tensor.to_owned())
            }
        };
        frequencies.push((stored, one.get("scaling").and_then(Value::as_f64).ok_or_else(wrong)?));
    }
    let layout = match args.text_or("layout", "halves")? {
        "halves" => Layout::Halves,
        "pairs" => Layout::Pairs,
        "single" => Layout::Single,
        _ => return Err(args.wrong("layout", "halves, pairs or single").into()),
    };
    let axes = match args.text_or("axes", "one")? {
        "one" => Axes::One,
        "sections" => Axes::Sections(args.integers("mrope_section", 3)?),
        "interleaved" => Axes::Interleaved(args.integers("mrope_section", 3)?),
        "both" => Axes::Both,
        _ => return Err(args.wrong("axes", "one, sections, interleaved or both").into()),
    };
    let cast = args.flag_or("cast", true)?;
    Ok(Some(Box::new(move |weights, given| {
        let [x, positions] = inputs(given)?;
        let mut outputs = Vec::new();
        for (stored, scaling) in &frequencies {
            let inverse = match stored {
                Stored::Tensor(tensor) => wide(weights.get(tensor)?)?,
                Stored::Values(values) => {
                    let kind = if x.kind() == Kind::Double { Kind::Double } else { Kind::Float };
                    Tensor::f_from_slice(values)?.f_to_kind(kind)?
                }
            };
            let angles = like(&positions.f_unsqueeze(-1)?, &inverse)?.f_mul(&inverse)?;
            let angles = laid_out(&of_axes(&angles, &axes)?, layout)?;
            for function in [Tensor::f_cos, Tensor::f_sin] {
                let output = function(&angles)?.f_mul_scalar(*scaling)?;
                outputs.push(if cast { like(&output, x)? } else { output });
            }
        }
        Ok(outputs)
    })))
}

fn laid_out(angles: &Tensor, layout: Layout) -> Result<Tensor, Problem> {
    Ok(match layout {
        Layout::Halves => Tensor::f_cat(&[angles, angles], -1)?,
        Layout::Pairs => angles.f_repeat_interleave_self_int(2, -1, None)?,
        Layout::Single => angles.shallow_clone(),
    })
}

fn of_axes(angles: &Tensor, axes: &Axes) -> Result<Tensor, Problem> {
    match axes {
        Axes::One => Ok(angles.shallow_clone()),
        Axes::Both => Ok(angles.f_flatten(1, -1)?),
        Axes::Sections(sections) => {
            let mut parts = Vec::new();
            let (mut start, end) = (0, length(angles, -1)?);
            // torch refuses sections that do not add up.
            for (at, &section) in sections.iter().cycle().enumerate() {
                if start >= end || at >= sections.len() {
                    break;
                }
                parts.push(angles.f_select(0, at as i64 % 3)?.f_narrow(-1, start, section)?);
                start += section;
            }
            Ok(Tensor::f_cat(&parts, -1)?)
        }
        Axes::Interleaved(sections) => {
            let count = length(angles, -1)?;
            let each: Result<Vec<Tensor>, Problem> = (0..count)
                .map(|at| {
                    let axis = at % 3;
                    let axis = if axis > 0 && at < 3 * sections[axis as usize] { axis } else { 0 };
                    Ok(angles.f_select(0, axis)?.f_narrow(-1, at, 1)?)
                })
                .collect();
            Ok(Tensor::f_cat(&each?, -1)?)
        }
    }
}
