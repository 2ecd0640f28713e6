//! Whether two conversions of the same tensors come to one.

use super::{Layout, Move};

/// Whether two lists of moves do the same with tensors of these shapes; what a rule is called does not matter.
pub fn same_moves<'a>(one: &[Move], other: &[Move], shape: impl Fn(&str) -> Option<&'a [u64]>) -> bool {
    let same = |(a, b): (&Move, &Move)| {
        let layouts = || a.from.last().and_then(|name| shape(name)).is_some_and(|shape| same_order(a, b, shape));
        (&a.from, &a.to, &a.fold) == (&b.from, &b.to, &b.fold) && (a.rule.layout == b.rule.layout || layouts())
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// Whether two orders of axes come to one for a tensor of this shape: it does not matter where axes of length 1 go.
fn same_order(one: &Move, other: &Move, shape: &[u64]) -> bool {
    let order = |step: &Move| match &step.rule.layout {
        Layout::Axes { axes, groups: 1 } if axes.len() == shape.len() => Some(axes.clone()),
        _ => None,
    };
    let (Some(one), Some(other)) = (order(one), order(other)) else { return false };
    let long = |axes: &[usize]| axes.iter().copied().filter(|&axis| shape[axis] != 1).collect::<Vec<_>>();
    let sizes = |axes: &[usize]| axes.iter().map(|&axis| shape[axis]).collect::<Vec<_>>();
    long(&one) == long(&other) && sizes(&one) == sizes(&other)
}
