//! Distances and similarities of two inputs.

use super::phrase::{add, binary, multiply, reduce, unary};
use super::site::{Draft, Site, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::{Input, Refusal};
use t2m_engine::Program;
use t2m_engine::program::MlxOp;

fn two(shape: &[usize]) -> Vec<Input> {
    vec![Input::new(shape.to_vec(), Values::Normal(1.0)); 2]
}

/// Over one axis of `[5, 12, 7]`.
pub(super) fn cosine(site: &Site<'_>) -> Result<Draft, Refusal> {
    let value = site.attribute("dim")?;
    let dim = value.as_i64().filter(|dim| (-3..3).contains(dim)).ok_or_else(|| unexpected("dim", value))?;
    let eps = site.float("eps")?;
    let mut p = Program::new(&["x1", "x2"]);
    let length = |p: &mut Program, x: &str| {
        let squares = unary(p, MlxOp::Square, x);
        let sum = reduce(p, MlxOp::Sum, &squares, &[dim], true);
        let root = unary(p, MlxOp::Sqrt, &sum);
        binary(p, MlxOp::Maximum, root, eps)
    };
    let (first, second) = (length(&mut p, "x1"), length(&mut p, "x2"));
    let first = binary(&mut p, MlxOp::Divide, "x1", first);
    let second = binary(&mut p, MlxOp::Divide, "x2", second);
    let product = multiply(&mut p, first, second);
    let output = reduce(&mut p, MlxOp::Sum, &product, &[dim], false);
    p.outputs = vec![output];
    Ok(Draft::of(two(&[5, 12, 7]), Bound::Norm(12)).program(p).step("by ops: nn.losses.cosine_similarity_loss reduces"))
}

/// Two inputs `[5, 12]`.
pub(super) fn pairwise(site: &Site<'_>) -> Result<Draft, Refusal> {
    let (power, eps) = (site.float("norm")?, site.float("eps")?);
    let keep = site.flag("keepdim")?;
    let mut p = Program::new(&["x1", "x2"]);
    let output = apart(&mut p, ["x1", "x2"], power, eps, keep);
    p.outputs = vec![output];
    Ok(Draft::of(two(&[5, 12]), Bound::Norm(12)).program(p).step("by ops: MLX has no such layer"))
}

/// `(Σ |a - b + ε|ᵖ)^(1/p)` over the last axis; for p = 0 how many differ.
pub(super) fn apart(p: &mut Program, [a, b]: [&str; 2], power: f64, eps: f64, keep: bool) -> String {
    let difference = binary(p, MlxOp::Subtract, a, b);
    let difference = add(p, difference, eps);
    if power == 2.0 {
        let squares = unary(p, MlxOp::Square, &difference);
        let sum = reduce(p, MlxOp::Sum, &squares, &[-1], keep);
        return unary(p, MlxOp::Sqrt, &sum);
    }
    let size = unary(p, MlxOp::Abs, &difference);
    if power == 0.0 {
        // The number of elements that differ.
        let differs = binary(p, MlxOp::NotEqual, size.clone(), 0.0);
        let differs = p.call(MlxOp::AstypeLike, [differs.into(), size.into()], []);
        return reduce(p, MlxOp::Sum, &differs, &[-1], keep);
    }
    if power == f64::INFINITY {
        return reduce(p, MlxOp::Max, &size, &[-1], keep);
    }
    if power == 1.0 {
        return reduce(p, MlxOp::Sum, &size, &[-1], keep);
    }
    let powers = binary(p, MlxOp::Power, size, power);
    let sum = reduce(p, MlxOp::Sum, &powers, &[-1], keep);
    binary(p, MlxOp::Power, sum, 1.0 / power)
}
