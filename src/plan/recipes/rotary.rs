//! Rotary embeddings: cosines and sines of positions times stored frequencies.

use serde_json::{Value, json};

use super::phrase::{self, concatenate, multiply, slice, unary};
use super::site::{Draft, Setting, Site, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::{Input, Move, Output, Refusal};
use crate::rope::Rope;
use t2m_engine::Program;
use t2m_engine::program::{MlxOp, Operand};

/// Kinds whose frequencies and scaling stay as stored.
const STATIC: [&str; 7] = ["default", "linear", "yarn", "llama3", "proportional", "axial", "ntk_alpha"];

/// Positions in the measurement are below this.
const POSITIONS: u64 = 64;

/// Frequencies with their scaling: one, or one for each type of layer.
struct Frequencies {
    stored: Stored,
    scaling: f64,
    count: usize,
}

/// Where frequencies come from.
enum Stored {
    /// The module's tensor of that name.
    Tensor(String),
    /// The parameters of its configuration: weights alone do not have them.
    Computed(Vec<f32>),
}

impl Frequencies {
    fn read(site: &Site<'_>, prefix: &str, kind: &Value) -> Result<Frequencies, Refusal> {
        match kind.as_str() {
            Some(kind) if STATIC.contains(&kind) => {}
            Some(kind @ ("dynamic" | "longrope")) => {
                return Err(Refusal::Unsupported(format!(
                    "rope_type is {kind}: its frequencies are made anew for long sequences; compute them from the configuration in MLX"
                )));
            }
            _ => return Err(unexpected("rope_type", kind)),
        }
        let tensor = format!("{prefix}inv_freq");
        let scaling = site.float(&format!("{prefix}attention_scaling"))?;
        let computed = || {
            let all = Rope::all(&site.module().attributes);
            all.into_iter().find(|(name, _)| *name == prefix)?.1.frequencies()
        };
        if site.module().tensor(&tensor).is_none()
            && let Some(computed) = computed()
        {
            return Ok(Frequencies { count: computed.len(), stored: Stored::Computed(computed), scaling });
        }
        let [count] = site.shape_of_rank(&tensor)?;
        Ok(Frequencies { stored: Stored::Tensor(tensor), scaling, count })
    }

    fn all(site: &Site<'_>) -> Result<Vec<Frequencies>, Refusal> {
        let kinds = site.attribute("rope_type")?;
        let Some(kinds) = kinds.as_object() else { return Ok(vec![Frequencies::read(site, "", kinds)?]) };
        // A type of layers without parameters has no frequencies.
        let types = kinds.iter().filter(|(_, kind)| !kind.is_null()).take(8);
        types.map(|(name, kind)| Frequencies::read(site, &format!("{name}_"), kind)).collect()
    }
}

/// x, of which only the dtype counts, and positions → cosine and sine, for each type of layer if there are several.
pub(super) fn rotary(site: &Site<'_>) -> Result<Draft, Refusal> {
    let axes = word(site, Setting::Axes).unwrap_or("one");
    let layout = word(site, Setting::Layout).unwrap_or("halves");
    let cast = site.setting(Setting::Cast).and_then(Value::as_bool) != Some(false);
    let frequencies = Frequencies::all(site)?;
    if frequencies.is_empty() {
        return Err(unexpected("rope_type", site.maybe("rope_type")));
    }
    let mut p = Program::new(&["x", "position_ids"]);
    let positions = p.call(MlxOp::Astype, ["position_ids".into()], [("dtype", json!("float32"))]);
    let positions = p.call(MlxOp::ExpandDims, [positions.into()], [("axis", json!(-1))]);
    for own in &frequencies {
        let frequencies: Operand = match &own.stored {
            Stored::Tensor(tensor) => format!("self.{tensor}").into(),
            Stored::Computed(values) => {
                let constant = values.iter().map(|value| f64::from(*value)).collect();
                Operand::Constant { constant, dtype: "float32".to_owned() }
            }
        };
        let angles = multiply(&mut p, positions.clone(), frequencies);
        let angles = of_axes(site, &mut p, angles, axes, own.count)?;
        let angles = match layout {
            "pairs" => p.call(MlxOp::Repeat, [angles.into()], [("repeats", json!(2)), ("axis", json!(-1))]),
            "single" => angles,
            _ => concatenate(&mut p, vec![angles.clone(), angles], -1),
        };
        for function in [MlxOp::Cos, MlxOp::Sin] {
            let mut output = unary(&mut p, function, &angles);
            if own.scaling != 1.0 {
                output = multiply(&mut p, output, own.scaling);
            }
            if cast {
                output = p.call(MlxOp::AstypeLike, [output.into(), "x".into()], []);
            }
            p.outputs.push(output);
        }
    }
    let shape = match axes {
        "both" => vec![9, 2],
        "one" => vec![2, 9],
        _ => vec![3, 2, 9],
    };
    let inputs = vec![Input::new(vec![2, 9, 8], Values::Normal(1.0)), Input::new(shape, Values::Ids(POSITIONS))];
    let output = |name| Output { name, to_torch: None };
    let outputs = frequencies.iter().flat_map(|_| [output("cos"), output("sin")]).collect();
    let told = frequencies.iter().map(|own| match &own.stored {
        Stored::Tensor(tensor) => json!({"tensor": tensor, "scaling": own.scaling}),
        Stored::Computed(values) => json!({"values": values, "scaling": own.scaling}),
    });
    let moved = frequencies.iter().filter_map(|own| match &own.stored {
        Stored::Tensor(tensor) => Some(Move::keep(tensor)),
        Stored::Computed(_) => None,
    });
    let is_scaled = Rope::all(&site.module().attributes).iter().any(|(_, rope)| rope.is_scaled());
    let scaled = if is_scaled { ", which are scaled: nn.RoPE has no such scaling" } else { "" };
    let from = if frequencies.iter().any(|own| matches!(own.stored, Stored::Computed(_))) {
        "frequencies that rope_parameters give"
    } else {
        "the stored frequencies"
    };
    let told = Value::Array(told.collect());
    let widest = frequencies.iter().map(|own| own.count).max().unwrap_or(1);
    Ok(Draft::of(inputs, Bound::Pointwise)
        .outputs(outputs)
        .output_shape(vec![2, 9, widest.saturating_mul(4)])
        .weights(moved.collect())
        .torch_arg("frequencies", told)
        .program(p)
        .step(format!("cosine and sine by ops, from {from}{scaled}")))
}

/// A word in the row.
fn word<'a>(site: &Site<'a>, setting: Setting) -> Option<&'a str> {
    site.setting(setting).and_then(Value::as_str)
}

/// The angles of each axis's positions in one row, if there are several axes.
fn of_axes(site: &Site<'_>, p: &mut Program, angles: String, axes: &str, count: usize) -> Result<String, Refusal> {
    let wrong = || unexpected("mrope_section", site.maybe("mrope_section"));
    let sections = || site.numbers("mrope_section", 3);
    match axes {
        "both" => Ok(p.call(MlxOp::Flatten, [angles.into()], [("start_axis", json!(1))])),
        "sections" => {
            let sections = sections()?;
            if sections.iter().sum::<usize>() != count {
                return Err(wrong());
            }
            let (mut parts, mut start) = (Vec::new(), 0);
            for (axis, section) in sections.into_iter().enumerate() {
                let own = phrase::at(p, &angles, axis);
                parts.push(slice(p, &own, 2, Some(start), Some(start + section as i64), 1));
                start += section as i64;
            }
            Ok(concatenate(p, parts, -1))
        }
        "interleaved" => {
            let sections = sections()?;
            if count > 4096 || sections.iter().skip(1).any(|section| 3 * section > count + 2) {
                return Err(wrong());
            }
            let mut chosen = phrase::at(p, &angles, 0);
            for axis in [1, 2] {
                let own = phrase::at(p, &angles, axis);
                let mask = (0..count).map(|at| f64::from(at % 3 == axis && at < 3 * sections[axis]));
                let mask = Operand::Constant { constant: mask.collect(), dtype: "bool_".to_owned() };
                chosen = p.call(MlxOp::Where, [mask, own.into(), chosen.into()], []);
            }
            Ok(chosen)
        }
        _ => Ok(angles),
    }
}
