//! Views: what becomes of a value when something is written into the storage that it shares.

use serde_json::json;

use t2m_engine::graph::Place;
use t2m_engine::program::{MlxOp, Program};

/// The program that makes a view anew after something was written into the storage that it shares: both as places in one flat
/// storage. Its inputs are the view as it was, and what was written.
pub(super) fn scattered(view: (&[usize], &Place), target: (&[usize], &Place)) -> Option<Program> {
    let reach = |(shape, place): (&[usize], &Place)| {
        let steps = shape.iter().zip(&place.strides).map(|(size, stride)| (*size as i64 - 1).max(0) * stride);
        place.offset + steps.sum::<i64>()
    };
    if [view, target].iter().any(|(shape, place)| shape.contains(&0) || place.strides.iter().any(|stride| *stride < 0))
    {
        return None;
    }
    let first = view.1.offset.min(target.1.offset);
    let length = reach(view).max(reach(target)) - first + 1;
    let mut program = Program::new(&["view", "written"]);
    let numbers = program.call(MlxOp::Arange, [], [("stop", json!(length)), ("dtype", json!("int32"))]);
    let mut flat_places = |(shape, place): (&[usize], &Place)| {
        let places = program.call(
            MlxOp::AsStrided,
            [numbers.as_str().into()],
            [("shape", json!(shape)), ("strides", json!(place.strides)), ("offset", json!(place.offset - first))],
        );
        program.call(MlxOp::Reshape, [places.into()], [("shape", json!([-1]))])
    };
    let (view_places, target_places) = (flat_places(view), flat_places(target));
    let flat =
        |program: &mut Program, name: &str| program.call(MlxOp::Reshape, [name.into()], [("shape", json!([-1]))]);
    let (before, written) = (flat(&mut program, "view"), flat(&mut program, "written"));
    let zeros = program.call(MlxOp::Zeros, [], [("shape", json!([length])), ("dtype", json!("float32"))]);
    let storage = program.call(MlxOp::AstypeLike, [zeros.into(), "view".into()], []);
    let axis = || [("axis", json!(0))];
    let storage =
        program.call(MlxOp::PutAlongAxis, [storage.into(), view_places.as_str().into(), before.into()], axis());
    let storage = program.call(MlxOp::PutAlongAxis, [storage.into(), target_places.into(), written.into()], axis());
    let taken = program.call(MlxOp::Take, [storage.into(), view_places.into()], axis());
    let result = program.call(MlxOp::Reshape, [taken.into()], [("shape", json!(view.0))]);
    program.outputs = vec![result];
    Some(program)
}
