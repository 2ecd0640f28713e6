//! Linear, Bilinear, Embedding and EmbeddingBag.

use serde_json::{Value, json};

use super::phrase::{self, multiply, reduce};
use super::site::{Draft, Site, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::{Input, Move, Refusal};
use t2m_engine::Program;
use t2m_engine::program::MlxOp;

/// `[4, 7, in]` → `[4, 7, out]`. More than one row, since both libraries compute a single row differently.
pub(super) fn linear(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [outputs, inputs] = site.shape_of_rank("weight")?;
    let draft = Draft::new(vec![4, 7, inputs], Bound::Contraction(inputs))
        .arg("input_dims", inputs)
        .arg("output_dims", outputs)
        .arg("bias", site.has("bias"));
    Ok(draft.weights(site.moves(&["bias"])).output_shape(vec![4, 7, outputs]))
}

/// Ids `[3, 11]` → `[3, 11, width]`.
pub(super) fn embedding(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [rows, width] = site.shape_of_rank("weight")?;
    // max_norm rewrites rows of the weight during forward; absent or null in nearly every file.
    if !site.maybe("max_norm").is_null() {
        return Err(Refusal::Unsupported(
            "max_norm changes the weight while torch runs; MLX has nothing like it".to_owned(),
        ));
    }
    let draft = Draft::new(vec![3, 11], Bound::Copy).values(Values::Ids(rows as u64));
    let draft = draft.torch_arg("max_norm", Value::Null).arg("num_embeddings", rows).arg("dims", width);
    Ok(draft.weights(site.moves(&[])).output_shape(vec![3, 11, width]))
}

/// `[4, 7, in1]` and `[4, 7, in2]` → `[4, 7, out]`.
pub(super) fn bilinear(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [out, first, second] = site.shape_of_rank("weight")?;
    let inputs = [first, second].map(|width| Input::new(vec![4, 7, width], Values::Normal(1.0)));
    let draft = Draft::of(inputs.to_vec(), Bound::Contraction(super::site::product(&[first, second])?));
    let draft = draft.arg("input1_dims", first).arg("input2_dims", second).arg("output_dims", out);
    Ok(draft.arg("bias", site.has("bias")).weights(site.moves(&["bias"])).output_shape(vec![4, 7, out]))
}

/// How many ids a bag has in the measurement, and how many bags there are.
const BAG: usize = 7;
const BAGS: usize = 5;

/// Bags of ids `[5, 7]` → `[5, width]`; or a flat list of ids with the places where each bag begins.
pub(super) fn embedding_bag(site: &Site<'_>) -> Result<Draft, Refusal> {
    let [rows, width] = site.shape_of_rank("weight")?;
    let mode = site.attribute("mode")?;
    let mode = mode.as_str().filter(|mode| matches!(*mode, "sum" | "mean" | "max"));
    let mode = mode.ok_or_else(|| unexpected("mode", site.maybe("mode")))?;
    if !site.maybe("max_norm").is_null() {
        let reason = "max_norm changes the weight while torch runs; MLX has nothing like it";
        return Err(Refusal::Unsupported(reason.to_owned()));
    }
    let bags = Bags {
        mode,
        padding: match site.maybe("padding_idx") {
            Value::Null => None,
            value => Some(value.as_u64().ok_or_else(|| unexpected("padding_idx", value))?),
        },
        last: site.maybe("include_last_offset").as_bool() == Some(true),
    };
    let asks = |name: &str| site.call.is_some_and(|call| call.gives(name));
    let (flat, weighted) = (asks("offsets"), asks("per_sample_weights"));
    let shape = if flat { vec![BAGS * BAG] } else { vec![BAGS, BAG] };
    let mut inputs = vec![("input", Input::new(shape.clone(), Values::Ids(rows as u64)))];
    if flat {
        let count = if bags.last { BAGS + 1 } else { BAGS };
        inputs.push(("offsets", Input::new(vec![count], Values::Offsets { of: (BAGS * BAG) as u64, last: bags.last })));
    }
    if weighted {
        inputs.push(("per_sample_weights", Input::new(shape, Values::Normal(1.0))));
    }
    let names: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
    let mut p = Program::new(&names);
    let output = bags.program(&mut p, flat, weighted);
    p.outputs = vec![output];
    let bound = if mode == "max" { Bound::Copy } else { Bound::Norm(BAGS * BAG) };
    let inputs = inputs.into_iter().map(|(_, input)| input).collect();
    let draft = Draft::of(inputs, bound).output_shape(vec![BAGS, BAG, width]).weights(vec![Move::keep("weight")]);
    let draft = if flat || weighted { draft.called(&names, []) } else { draft };
    Ok(draft.program(p).step("rows taken and reduced: MLX has no such layer"))
}

/// How the rows of each bag are reduced.
struct Bags<'a> {
    mode: &'a str,
    /// The id that does not count.
    padding: Option<u64>,
    /// Whether the offsets end with the number of ids.
    last: bool,
}

impl Bags<'_> {
    fn program(&self, p: &mut Program, flat: bool, weighted: bool) -> String {
        let mut taken = p.call(MlxOp::Take, ["self.weight".into(), "input".into()], [("axis", json!(0))]);
        if weighted {
            let each = p.call(MlxOp::ExpandDims, ["per_sample_weights".into()], [("axis", json!(-1))]);
            taken = multiply(p, taken, each);
        }
        let mut counts = flat.then(|| self.members(p));
        if let Some(padding) = self.padding {
            let real = phrase::binary(p, MlxOp::NotEqual, "input", padding as f64);
            counts = Some(match counts {
                Some(counts) => phrase::binary(p, MlxOp::LogicalAnd, counts, real),
                None => real,
            });
        }
        let Some(counts) = counts else {
            let function = match self.mode {
                "mean" => MlxOp::Mean,
                "max" => MlxOp::Max,
                _ => MlxOp::Sum,
            };
            return reduce(p, function, &taken, &[1], false);
        };
        // [bags, ids, 1] against rows of [bags, ids, width], or of [ids, width], which every bag sees.
        let counts = p.call(MlxOp::ExpandDims, [counts.into()], [("axis", json!(-1))]);
        let numbers = p.call(MlxOp::AstypeLike, [counts.clone().into(), "self.weight".into()], []);
        let number = reduce(p, MlxOp::Sum, &numbers, &[1], false);
        if self.mode == "max" {
            let seen = p.call(MlxOp::Where, [counts.into(), taken.into(), f64::NEG_INFINITY.into()], []);
            let most = reduce(p, MlxOp::Max, &seen, &[1], false);
            let some = phrase::binary(p, MlxOp::Greater, number, 0.0);
            return p.call(MlxOp::Where, [some.into(), most.into(), 0.0.into()], []);
        }
        let seen = multiply(p, taken, numbers);
        let sum = reduce(p, MlxOp::Sum, &seen, &[1], false);
        if self.mode == "sum" {
            return sum;
        }
        let number = phrase::binary(p, MlxOp::Maximum, number, 1.0);
        phrase::binary(p, MlxOp::Divide, sum, number)
    }

    /// Which id is in which bag: those from its offset to the next.
    fn members(&self, p: &mut Program) -> String {
        let ids = (BAGS * BAG) as i64;
        let (starts, stops) = if self.last {
            (phrase::slice(p, "offsets", 0, None, Some(-1), 1), phrase::slice(p, "offsets", 0, Some(1), None, 1))
        } else {
            let rest = phrase::slice(p, "offsets", 0, Some(1), None, 1);
            let end = p.call(MlxOp::Full, [], [("shape", json!([1])), ("vals", json!(ids)), ("dtype", json!("int32"))]);
            ("offsets".to_owned(), phrase::concatenate(p, vec![rest, end], 0))
        };
        let place = p.call(MlxOp::Arange, [], [("stop", json!(ids))]);
        let column = |p: &mut Program, x: &str| p.call(MlxOp::ExpandDims, [x.into()], [("axis", json!(-1))]);
        let (starts, stops) = (column(p, &starts), column(p, &stops));
        let begun = phrase::binary(p, MlxOp::GreaterEqual, place.clone(), starts);
        let open = phrase::binary(p, MlxOp::Less, place, stops);
        phrase::binary(p, MlxOp::LogicalAnd, begun, open)
    }
}
