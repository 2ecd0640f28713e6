//! Moves of axes that cancel: a program's steps without them.
//!
//! A row's text moves the axes to where MLX's function wants them and back; where two such pieces meet, what the one moves back the other
//! moves there again.

use std::collections::HashMap;

use serde_json::Value;

use super::pruned;
use t2m_engine::program::{MlxOp, Operand, Program, Step};

/// A program without moves that do nothing, moves that undo the one before, and shapes that another shape follows.
pub fn without_moves(mut program: Program) -> Program {
    let mut same: HashMap<String, String> = HashMap::new();
    let mut made: HashMap<String, Step> = HashMap::new();
    let mut kept = Vec::with_capacity(program.steps.len());
    for mut step in std::mem::take(&mut program.steps) {
        step.inputs.iter_mut().for_each(|input| renamed(input, &same));
        if let ([Operand::Name(input)], [to]) = (step.inputs.as_slice(), step.to.as_slice()) {
            let before = made.get(input);
            if is_nothing(&step) {
                same.insert(to.clone(), input.clone());
                continue;
            }
            if let Some(Operand::Name(origin)) =
                before.filter(|before| undoes(before, &step)).and_then(|before| before.inputs.first())
            {
                same.insert(to.clone(), origin.clone());
                continue;
            }
            if let Some(origin) =
                before.filter(|before| is_shape(before) && is_shape(&step)).and_then(|before| before.inputs.first())
            {
                step.inputs = vec![origin.clone()];
            }
            made.insert(to.clone(), step.clone());
        }
        kept.push(step);
    }
    program.steps = kept;
    for output in &mut program.outputs {
        if let Some(name) = same.get(output) {
            output.clone_from(name);
        }
    }
    pruned(program)
}

/// How many moves of a program cancel.
pub fn cancelling(program: &Program) -> usize {
    program.steps.len() - without_moves(program.clone()).steps.len()
}

fn renamed(operand: &mut Operand, same: &HashMap<String, String>) {
    match operand {
        Operand::Name(name) => {
            if let Some(known) = same.get(name) {
                name.clone_from(known);
            }
        }
        Operand::List(items) => items.iter_mut().for_each(|item| renamed(item, same)),
        Operand::Number(_) | Operand::Flag(_) | Operand::Constant { .. } => {}
    }
}

fn is_shape(step: &Step) -> bool {
    MlxOp::named(&step.call) == Some(MlxOp::Reshape)
}

/// What a step does to the axes.
#[derive(Debug, PartialEq)]
enum Move {
    /// One of them goes to another place.
    One { from: i64, to: i64 },
    /// Two change places.
    Swap(i64, i64),
    /// Their order is this.
    Order(Vec<i64>),
    /// Their order is turned round.
    Turned,
    /// One of size 1 is added.
    Added(i64),
    /// One of size 1 is left out.
    LeftOut(i64),
}

fn moved(step: &Step) -> Option<Move> {
    let number = |name: &str| step.args.get(name)?.as_i64();
    Some(match MlxOp::named(&step.call)? {
        MlxOp::Moveaxis => Move::One { from: number("source")?, to: number("destination")? },
        MlxOp::Swapaxes => Move::Swap(number("axis1")?, number("axis2")?),
        MlxOp::Transpose => match step.args.get("axes") {
            None | Some(Value::Null) => Move::Turned,
            Some(axes) => Move::Order(axes.as_array()?.iter().map(Value::as_i64).collect::<Option<_>>()?),
        },
        MlxOp::ExpandDims => Move::Added(number("axis")?),
        MlxOp::Squeeze => Move::LeftOut(number("axis")?),
        _ => return None,
    })
}

/// The order of the axes of an array of this rank after a move.
fn order(of: &Move, rank: usize) -> Option<Vec<usize>> {
    let at = |axis: i64| usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok().filter(|at| *at < rank);
    let mut axes: Vec<usize> = (0..rank).collect();
    match of {
        Move::One { from, to } => {
            let axis = axes.remove(at(*from)?);
            axes.insert(at(*to)?, axis);
        }
        Move::Swap(a, b) => axes.swap(at(*a)?, at(*b)?),
        Move::Order(order) if order.len() == rank => {
            axes = order.iter().map(|axis| at(*axis)).collect::<Option<_>>()?
        }
        Move::Turned => axes.reverse(),
        Move::Order(_) | Move::Added(_) | Move::LeftOut(_) => return None,
    }
    Some(axes)
}

/// Whether a step moves nothing.
fn is_nothing(step: &Step) -> bool {
    match moved(step) {
        Some(Move::One { from, to }) => from == to,
        Some(Move::Swap(a, b)) => a == b,
        Some(Move::Order(axes)) => axes.iter().enumerate().all(|(at, axis)| *axis == at as i64),
        _ => false,
    }
}

/// Whether a step gives what the one before it took.
fn undoes(before: &Step, step: &Step) -> bool {
    let (Some(one), Some(other)) = (moved(before), moved(step)) else { return false };
    match (&one, &other) {
        (Move::One { from, to }, Move::One { from: back, to: there }) if (from, to) == (there, back) => true,
        (Move::Swap(a, b), Move::Swap(c, d)) if (a, b) == (c, d) || (a, b) == (d, c) => true,
        (Move::Turned, Move::Turned) => true,
        (Move::Added(a), Move::LeftOut(b)) => a == b,
        // What was left out had size 1, and comes back where it was.
        (Move::LeftOut(a), Move::Added(b)) => a == b,
        // The rank is known by one that names every axis.
        (Move::Order(axes), _) | (_, Move::Order(axes)) => {
            let rank = axes.len();
            let both = order(&one, rank).zip(order(&other, rank));
            both.is_some_and(|(one, other)| other.iter().enumerate().all(|(at, axis)| one.get(*axis) == Some(&at)))
        }
        _ => false,
    }
}
