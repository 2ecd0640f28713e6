//! Ops that put axes in another order, join or cut them: flatten, view, permute, squeeze, pads, indices.

use super::Axes;
use super::axes::{Answer, Asked, counted, listed, named, numbers, removed, which, with_one, words};
use crate::source::evaluate::Value;
use crate::source::evaluate::layout::{Extent, Last, Layout};

/// What one of these ops gives; `None` for all others.
pub(super) fn answer(asked: &Asked<'_>, layout: Option<Layout>) -> Option<Answer> {
    Some(match asked.name {
        "flatten" | "ravel" => flatten(asked, layout),
        "view" | "reshape" => view(asked, layout),
        "permute" => permute(asked, layout),
        "transpose" | "swapaxes" | "swapdims" | "movedim" | "moveaxis" | "t" => swap(asked, layout),
        "squeeze" => squeeze(asked, layout),
        "unsqueeze" => unsqueeze(asked, layout),
        "unflatten" => unflatten(asked, layout),
        "size" => size(asked, layout),
        "pad" => pad(asked, layout),
        "expand" | "repeat" | "tile" => sizes(asked, layout),
        "matmul" | "bmm" | "mm" => multiply(asked.tensor, asked.positional.first().unwrap_or(&Value::Unknown)),
        "einsum" => einsum(asked),
        "linear" | "layer_norm" | "rms_norm" => match layout {
            None => Answer::new(Layout::Torch(None), Axes::Nothing),
            Some(layout) => Answer::new(layout, Axes::Nothing),
        },
        "scaled_dot_product_attention" => Answer::new(Layout::torch(4), Axes::Nothing),
        "zeros" | "ones" | "full" | "empty" | "rand" | "randn" | "arange" | "linspace" | "eye" | "tensor"
        | "as_tensor" | "new_zeros" | "new_ones" | "new_full" | "new_empty" | "new_tensor" => {
            Answer::new(Layout::Torch(None), Axes::Nothing)
        }
        "embedding" | "one_hot" => Answer::new(Layout::Torch(None), Axes::Nothing),
        _ => return None,
    })
}

/// `mx.transpose(x, (0, 3, 1, 2))`
fn to_torch(last: Last) -> String {
    let axes = last.to_torch().map_or_else(|| "(0, -1, 1, …)".to_owned(), |axes| listed(&axes));
    format!("mx.transpose(x, {axes})")
}

fn integer(value: Option<&Value>, default: i64) -> Option<i64> {
    match value {
        None => Some(default),
        Some(Value::Int(value)) => Some(*value),
        Some(_) => None,
    }
}

fn flatten(asked: &Asked<'_>, layout: Option<Layout>) -> Answer {
    let start = integer(asked.argument("start_dim", 0), 0);
    let end = integer(asked.argument("end_dim", 1), -1);
    let (Some(start), Some(end)) = (start, end) else { return Answer::NOTHING };
    match layout {
        None => Answer::said(Axes::Depends(words("depends_order", &[]))),
        Some(Layout::Torch(rank)) => {
            let rank = rank.map(i64::from);
            let at = |axis: i64| if axis < 0 { rank.map(|rank| axis + rank) } else { Some(axis) };
            let left = rank.zip(at(start)).zip(at(end)).map(|((rank, start), end)| rank - (end - start).max(0));
            Answer::new(Layout::Torch(left.and_then(|left| u8::try_from(left).ok())), Axes::Torch)
        }
        Some(Layout::Last(last)) => flattened(last, start, end),
    }
}

/// Of a channels-last tensor.
pub(super) fn flattened(last: Last, start: i64, end: i64) -> Answer {
    let mixed = |rank: Option<u8>| {
        let axes = if last.one {
            Axes::Same(words("flatten_one", &[]))
        } else {
            Axes::Moved(words("flatten", &[("to_torch", &to_torch(last))]))
        };
        Answer::new(Layout::Torch(rank), axes)
    };
    let Some((from, to)) = last.axis(start).zip(last.axis(end)) else {
        // To the end, of unknown length.
        return match last.axis(start) {
            Some(from) if end == -1 && last.is_channels(from) => mixed(u8::try_from(from + 1).ok()),
            Some(from) if end == -1 && last.is_place(from) => {
                let rank = u8::try_from(from + 1).ok();
                places(Last { rank, ..last }, from as i64 - i64::from(last.channels), -1 - i64::from(last.channels))
            }
            _ => mixed(None),
        };
    };
    if to <= from {
        return Answer::new(last.layout(), Axes::Nothing);
    }
    let gone = (to - from) as u8;
    let rank = last.rank.map(|rank| rank.saturating_sub(gone));
    if last.is_place(from) {
        return places(Last { rank, ..last }, last.to_mlx(from), last.to_mlx(to));
    }
    if to < usize::from(last.lead) {
        return Answer::new(Last { rank, lead: last.lead - gone, ..last }.layout(), Axes::Nothing);
    }
    if last.is_channels(from) && last.is_channels(to) {
        let (start, end) = (last.to_mlx(from), last.to_mlx(to));
        let said =
            words("axis", &[("torch", &format!("axes {from} to {to}")), ("mlx", &format!("axes {start} to {end}"))]);
        return Answer::new(Last { rank, channels: last.channels - gone, ..last }.layout(), Axes::Moved(said));
    }
    mixed(rank)
}

/// Axes of places become one.
fn places(flat: Last, start: i64, end: i64) -> Answer {
    let mlx = listed(&[start, end]);
    let said = words("flatten_places", &[("mlx", &mlx), ("start", &start.to_string()), ("end", &end.to_string())]);
    Answer::new(flat.layout(), Axes::Moved(said))
}

/// `view` and `reshape`.
fn view(asked: &Asked<'_>, layout: Option<Layout>) -> Answer {
    let Some(sizes) = asked.list(if asked.name == "view" { "size" } else { "shape" }) else {
        return match layout {
            Some(Layout::Last(last)) => {
                Answer::said(Axes::Moved(words("view_maybe", &[("to_torch", &to_torch(last))])))
            }
            Some(Layout::Torch(_)) => Answer::new(Layout::Torch(None), Axes::Torch),
            None => Answer::NOTHING,
        };
    };
    // `view(dtype)`
    let number = |size: &Value| matches!(size, Value::Int(_) | Value::Length(_));
    if sizes.len() == 1 && !sizes.iter().all(number) {
        return match layout {
            Some(layout) => Answer::new(layout, Axes::Nothing),
            None => Answer::NOTHING,
        };
    }
    match layout {
        None => Answer::said(Axes::Depends(words("depends_order", &[]))),
        Some(Layout::Torch(_)) => Answer::new(Layout::torch(sizes.len()), Axes::Torch),
        Some(Layout::Last(last)) => viewed(last, &sizes),
    }
}

/// Of a channels-last tensor.
fn viewed(last: Last, sizes: &[Value]) -> Answer {
    let rank = sizes.len();
    if last.one {
        return Answer::new(Layout::torch(rank), Axes::Same(words("flatten_one", &[])));
    }
    if rank <= 2 {
        let mut answer = flattened(Last { one: false, ..last }, i64::from(last.lead), -1);
        answer.value = Some(Value::Tensor(Layout::torch(rank)));
        return answer;
    }
    match kept(last, sizes) {
        Some(kept) => {
            let same = Some(sizes.len()) == last.rank.map(usize::from) && kept.channels == last.channels;
            let order = kept.order().map_or_else(String::new, |order| listed(&order));
            let (text, fills) =
                if same { ("sizes", [("order", order.as_str())]) } else { ("view", [("order", order.as_str())]) };
            Answer::new(kept.layout(), Axes::Moved(words(text, &fills)))
        }
        None => Answer::said(Axes::Moved(words("view_maybe", &[("to_torch", &to_torch(last))]))),
    }
}

/// The layout after a reshape that leaves batch, channels and places apart, where that is seen in the sizes.
fn kept(last: Last, sizes: &[Value]) -> Option<Last> {
    let (rank, places) = (u8::try_from(sizes.len()).ok()?, last.places()?);
    let extent = |size: &Value| if let Value::Length(extent) = size { Some(*extent) } else { None };
    if last.lead != 1 {
        return None;
    }
    let width = |size: &Value| matches!(size, Value::Int(size) if last.width.map(i64::from) == Some(*size));
    if last.channels == 1 && sizes.get(1).is_some_and(|size| extent(size) == Some(Extent::CHANNELS) || width(size)) {
        return Some(Last { rank: Some(rank), channels: 1, one: false, ..last });
    }
    let all = Extent::places(2 + places);
    let mut seen = Extent(0);
    let mut front = sizes.len();
    while let Some(more) = sizes.get(front - 1).and_then(extent).filter(|it| it.is_places()) {
        (seen, front) = (seen.times(more)?, front - 1);
    }
    let channels = u8::try_from(front.checked_sub(1)?).ok()?;
    (seen == all && channels > 0).then_some(Last { rank: Some(rank), channels, one: false, width: None, ..last })
}

fn permute(asked: &Asked<'_>, layout: Option<Layout>) -> Answer {
    let axes = asked.list("dims").and_then(|all| all.iter().map(Value::whole).collect::<Option<Vec<i64>>>());
    let Some(axes) = axes else {
        return match layout {
            Some(Layout::Last(last)) => Answer::said(Axes::Moved(which(last, "dims"))),
            Some(Layout::Torch(rank)) => Answer::new(Layout::Torch(rank), Axes::Torch),
            None => Answer::NOTHING,
        };
    };
    let rank = axes.len();
    let axes: Option<Vec<usize>> = axes
        .iter()
        .map(|axis| usize::try_from(if *axis < 0 { axis + rank as i64 } else { *axis }).ok().filter(|at| *at < rank))
        .collect();
    match axes {
        Some(axes) => permuted(layout, &axes),
        None => Answer::NOTHING,
    }
}

/// Axes in this order.
pub(super) fn permuted(layout: Option<Layout>, axes: &[usize]) -> Answer {
    let rank = axes.len();
    let first: Vec<usize> = [0, rank.saturating_sub(1)].into_iter().chain(1..rank.saturating_sub(1)).collect();
    match layout {
        None => Answer::said(Axes::Depends(words("depends_order", &[]))),
        // Of three axes it may as well be the keys of an attention.
        Some(Layout::Torch(_)) if rank > 3 && axes == first => {
            Answer::new(Layout::last(Some(rank)), Axes::Moved(words("to_last", &[])))
        }
        Some(Layout::Torch(_)) => Answer::new(Layout::torch(rank), Axes::Torch),
        Some(Layout::Last(last)) => moved(Last { rank: u8::try_from(rank).ok(), ..last }, axes),
    }
}

/// Of a channels-last tensor.
fn moved(last: Last, axes: &[usize]) -> Answer {
    let there: Vec<i64> = axes.iter().map(|axis| last.to_mlx(*axis)).collect();
    let torch = Layout::torch(axes.len());
    if there.iter().enumerate().all(|(at, axis)| *axis == at as i64) {
        return Answer::new(torch, Axes::Moved(words("left_out", &[])));
    }
    let stays = axes.iter().enumerate().all(|(at, axis)| {
        at == *axis || last.is_channels(at) && last.is_channels(*axis) || last.is_place(at) && last.is_place(*axis)
    });
    if let Some(order) = last.order().filter(|_| stays) {
        let there: Vec<i64> = order.iter().filter_map(|at| there.get(*at).copied()).collect();
        let same = there.iter().enumerate().all(|(at, axis)| *axis == at as i64);
        let said = if same { Axes::Nothing } else { Axes::Moved(words("order_kept", &[("axes", &listed(&there))])) };
        return Answer::new(last.layout(), said);
    }
    Answer::new(torch, Axes::Moved(words("order", &[("axes", &listed(&there))])))
}

/// Two axes change places, or one moves.
fn swap(asked: &Asked<'_>, layout: Option<Layout>) -> Answer {
    let (first, second) = match asked.name {
        "t" => (Some(vec![0]), Some(vec![1])),
        "movedim" | "moveaxis" => {
            (asked.argument("source", 0).and_then(numbers), asked.argument("destination", 1).and_then(numbers))
        }
        _ => {
            let either = |names: [&str; 2], at: usize| {
                asked.argument(names[0], at).or_else(|| asked.argument(names[1], at)).and_then(numbers)
            };
            (either(["dim0", "axis0"], 0), either(["dim1", "axis1"], 1))
        }
    };
    let rank = layout.and_then(Layout::rank);
    let at = |axes: Option<Vec<i64>>| -> Option<Vec<usize>> {
        let rank = rank? as i64;
        axes?.iter().map(|axis| usize::try_from(if *axis < 0 { axis + rank } else { *axis }).ok()).collect()
    };
    let given = first.clone().zip(second.clone());
    let (Some(first), Some(second), Some(rank)) = (at(first), at(second), rank) else {
        return match (layout, given) {
            (Some(Layout::Last(last)), _) => Answer::said(Axes::Moved(which(last, "the axes"))),
            (Some(layout), _) => Answer::new(layout, Axes::Torch),
            // A matrix's own two: what has them last is no image.
            (None, Some((a, b))) if a.iter().chain(&b).all(|axis| *axis < 0) => Answer::NOTHING,
            (None, Some((a, b))) if a.iter().chain(&b).all(|axis| *axis <= 1) && a.contains(&0) | b.contains(&0) => {
                Answer::NOTHING
            }
            (None, Some(_)) => Answer::said(Axes::Depends(words("depends_order", &[]))),
            (None, None) => Answer::NOTHING,
        };
    };
    let axes = if matches!(asked.name, "movedim" | "moveaxis") {
        let mut rest: Vec<usize> = (0..rank).filter(|axis| !first.contains(axis)).collect();
        let mut pairs: Vec<(usize, usize)> = second.into_iter().zip(first).collect();
        pairs.sort_unstable();
        pairs.into_iter().for_each(|(to, from)| rest.insert(to.min(rest.len()), from));
        rest
    } else {
        let (Some(a), Some(b)) = (first.first(), second.first()) else { return Answer::NOTHING };
        let mut axes: Vec<usize> = (0..rank).collect();
        if *a >= rank || *b >= rank {
            return Answer::NOTHING;
        }
        axes.swap(*a, *b);
        axes
    };
    permuted(layout, &axes)
}

fn squeeze(asked: &Asked<'_>, layout: Option<Layout>) -> Answer {
    let axes = asked.argument("dim", 0).map(|value| numbers(value).ok_or(()));
    match (layout, axes) {
        (None, Some(Ok(axes))) if axes.iter().any(|axis| *axis != 0) => {
            Answer::said(Axes::Depends(words("depends", &[("torch", &named("dim", &axes))])))
        }
        (None, _) => Answer::NOTHING,
        (Some(layout), Some(Ok(axes))) => {
            let said = if let Layout::Last(last) = layout { counted(last, "dim", &axes) } else { Axes::Torch };
            let value = removed(layout, &axes).map(Value::Tensor);
            Answer { value, axes: said }
        }
        (Some(Layout::Last(last)), None) if last.one => {
            Answer::new(Layout::torch(last.moved()), Axes::Same(words("flatten_one", &[])))
        }
        (Some(Layout::Torch(_)), _) => Answer::new(Layout::Torch(None), Axes::Torch),
        (Some(Layout::Last(last)), Some(Err(()))) => Answer::said(Axes::Moved(which(last, "dim"))),
        (Some(Layout::Last(_)), None) => Answer::NOTHING,
    }
}

fn unsqueeze(asked: &Asked<'_>, layout: Option<Layout>) -> Answer {
    let (Some(layout), Some(Value::Int(axis))) = (layout, asked.argument("dim", 0)) else { return Answer::NOTHING };
    let last = match layout {
        Layout::Torch(rank) => return Answer::new(Layout::Torch(rank.map(|rank| rank + 1)), Axes::Torch),
        Layout::Last(last) => last,
    };
    let at = if *axis < 0 { last.rank.map(|rank| axis + i64::from(rank) + 1) } else { Some(*axis) };
    let Some(at) = at.and_then(|at| usize::try_from(at).ok()) else {
        return Answer::said(Axes::Moved(which(last, "dim")));
    };
    let more = last.with(at);
    let there = more.to_mlx(at);
    if there == at as i64 {
        return Answer::new(more.layout(), Axes::Same(words("axis_free", &[("torch", &named("dim", &[*axis]))])));
    }
    let fills = [("torch", named("dim", &[*axis])), ("mlx", there.to_string())];
    let said = words("unsqueeze", &[(fills[0].0, &fills[0].1), (fills[1].0, &fills[1].1)]);
    Answer::new(more.layout(), Axes::Moved(said))
}

/// `x.unflatten(1, (groups, -1))`
fn unflatten(asked: &Asked<'_>, layout: Option<Layout>) -> Answer {
    let (Some(layout), Some(Value::Int(axis)), Some(Value::Sequence(sizes))) = (
        layout,
        asked.argument("dim", 0),
        asked.argument("sizes", 1).or_else(|| asked.argument("unflattened_size", 1)),
    ) else {
        return Answer::NOTHING;
    };
    let more = (sizes.len() as u8).saturating_sub(1);
    let last = match layout {
        Layout::Torch(rank) => return Answer::new(Layout::Torch(rank.map(|rank| rank + more)), Axes::Torch),
        Layout::Last(last) => last,
    };
    let said = counted(last, "dim", &[*axis]);
    let Some(at) = last.axis(*axis) else { return Answer::said(said) };
    let channels = last.channels + if last.is_channels(at) { more } else { 0 };
    let lead = last.lead + if at < usize::from(last.lead) { more } else { 0 };
    let rank = last.rank.map(|rank| rank + more);
    Answer::new(Last { rank, lead, channels, one: false, width: None }.layout(), said)
}

/// `x.size()`, `x.size(1)`
fn size(asked: &Asked<'_>, layout: Option<Layout>) -> Answer {
    let Some(Layout::Last(last)) = layout else { return Answer::NOTHING };
    match asked.argument("dim", 0) {
        None => Answer { value: Some(shape(last)), axes: Axes::Nothing },
        Some(Value::Int(axis)) => {
            let value = last.axis(*axis).map(|at| length(last, at));
            Answer { value: value.or(Some(Value::Object)), axes: size_of(last, &axis.to_string(), &[*axis]) }
        }
        Some(_) => Answer { value: Some(Value::Object), axes: Axes::Moved(which(last, "dim")) },
    }
}

/// What is said where the lengths of these axes are asked for.
pub(super) fn size_of(last: Last, torch: &str, axes: &[i64]) -> Axes {
    let there: Option<Vec<i64>> = axes.iter().map(|axis| last.written(*axis)).collect();
    let same = axes.iter().all(|axis| last.axis(*axis).is_some_and(|at| last.to_mlx(at) == at as i64));
    match there {
        Some(_) if same => Axes::Nothing,
        Some(there) => Axes::Moved(words("shape", &[("torch", torch), ("mlx", &listed(&there))])),
        None => Axes::Moved(which(last, torch)),
    }
}

/// What is said of `b, c, h, w = x.shape`.
pub(super) fn all_sizes(last: Last) -> Axes {
    let order = last.order().map_or_else(String::new, |order| listed(&order));
    Axes::Moved(words("shape_all", &[("order", &order)]))
}

/// The lengths of all axes.
pub(super) fn shape(last: Last) -> Value {
    match last.rank {
        Some(rank) => Value::sequence((0..usize::from(rank)).map(|axis| length(last, axis)).collect()),
        None => Value::Object,
    }
}

fn length(last: Last, axis: usize) -> Value {
    match (last.lead, last.channels) {
        (1, 1) => Value::Length(Extent::of(axis)),
        _ => Value::Object,
    }
}

/// The layout whose lengths these are.
pub(super) fn of_lengths(lengths: &[Value]) -> Option<Last> {
    let whole = lengths.iter().enumerate().all(|(axis, length)| *length == Value::Length(Extent::of(axis)));
    let rank = u8::try_from(lengths.len()).ok().filter(|rank| whole && *rank > 2)?;
    Some(Last { rank: Some(rank), lead: 1, channels: 1, one: false, width: None })
}

fn pad(asked: &Asked<'_>, layout: Option<Layout>) -> Answer {
    let last = match layout {
        Some(Layout::Last(last)) => last,
        Some(torch) => return Answer::new(torch, Axes::Torch),
        None => return Answer::NOTHING,
    };
    let padded = with_one(last.layout(), false);
    let widths = last.order().zip(asked.argument("pad", 0)).and_then(|(order, pad)| {
        let Value::Sequence(pad) = pad else { return None };
        let side = |at: usize| match pad.get(at) {
            Some(Value::Int(width)) => width.to_string(),
            Some(_) => format!("pad[{at}]"),
            None => "0".to_owned(),
        };
        // torch names the last axis first.
        let from_end = order.iter().map(|axis| 2 * (order.len() - 1 - axis));
        let pairs: Vec<String> = from_end.map(|at| format!("({}, {})", side(at), side(at + 1))).collect();
        Some(format!("pad_width=({})", pairs.join(", ")))
    });
    let said = match widths {
        Some(widths) => words("pad", &[("widths", &widths)]),
        None => which(last, "pad"),
    };
    Answer::new(padded, Axes::Moved(said))
}

/// `expand`, `repeat`, `tile`: a size for each axis.
fn sizes(asked: &Asked<'_>, layout: Option<Layout>) -> Answer {
    let (Some(layout), Some(all)) = (layout, asked.list(if asked.name == "tile" { "dims" } else { "size" })) else {
        return Answer::NOTHING;
    };
    let last = match layout {
        Layout::Torch(_) => return Answer::new(Layout::torch(all.len()), Axes::Torch),
        Layout::Last(last) => last,
    };
    match last.order().filter(|order| order.len() == all.len()) {
        Some(order) => {
            let said = Axes::Moved(words("sizes", &[("order", &listed(&order))]));
            Answer::new(with_one(last.layout(), false), said)
        }
        None => Answer::said(Axes::Moved(which(last, "the sizes"))),
    }
}

/// `a @ b`: over the last axes of torch.
pub(super) fn multiply(left: &Value, right: &Value) -> Answer {
    let last = [left, right].into_iter().find_map(|side| match side.layout() {
        Some(Layout::Last(last)) => Some(last),
        _ => None,
    });
    let rank = left.layout().and_then(Layout::rank).max(right.layout().and_then(Layout::rank));
    match last {
        Some(last) => {
            let said = Axes::Moved(words("last_two", &[("to_torch", &to_torch(last))]));
            Answer::new(Layout::Torch(None), said)
        }
        None => {
            let known = left.layout().is_some() && right.layout().is_some();
            Answer::new(rank.filter(|_| known).map_or(Layout::Torch(None), Layout::torch), Axes::Nothing)
        }
    }
}

fn einsum(asked: &Asked<'_>) -> Answer {
    let operands = asked.positional.iter().filter_map(Value::layout);
    let last = operands.into_iter().any(|layout| matches!(layout, Layout::Last(_)));
    let said = if last { Axes::Moved(words("letters", &[])) } else { Axes::Nothing };
    Answer::new(Layout::Torch(None), said)
}

/// One index of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Index {
    /// `:`, `1:3`, `::2`
    Slice(String),
    /// `0`, `-1`: the axis goes.
    Number(String),
    /// `...`
    Rest,
    /// `None`: a new axis.
    New,
    /// A tensor, or anything.
    Other(String),
}

impl Index {
    fn text(&self) -> &str {
        match self {
            Index::Slice(text) | Index::Number(text) | Index::Other(text) => text,
            Index::Rest => "...",
            Index::New => "None",
        }
    }

    fn is_trivial(&self) -> bool {
        matches!(self, Index::Slice(text) if text == ":")
    }
}

/// What a tensor gives under these indices.
pub(super) fn indexed(layout: Layout, indices: &[Index]) -> Answer {
    let gone = indices.iter().filter(|it| matches!(it, Index::Number(_))).count();
    let new = indices.iter().filter(|it| **it == Index::New).count();
    let other = indices.iter().any(|it| matches!(it, Index::Other(_)));
    let last = match layout {
        Layout::Torch(rank) => {
            let rank = rank.and_then(|rank| (usize::from(rank) + new).checked_sub(gone)).filter(|_| !other);
            return Answer::new(rank.map_or(Layout::Torch(None), Layout::torch), Axes::Torch);
        }
        Layout::Last(last) => last,
    };
    let torch = indices.iter().map(Index::text).collect::<Vec<&str>>().join(", ");
    let Some(by_axis) = by_axis(last, indices) else {
        let trivial = indices.iter().all(|it| it.is_trivial() || *it == Index::Rest);
        return if trivial {
            Answer::new(layout, Axes::Nothing)
        } else {
            Answer::said(Axes::Moved(which(last, &torch)))
        };
    };
    let matters = by_axis.iter().enumerate().any(|(at, index)| !index.is_trivial() && last.to_mlx(at) != at as i64);
    let axes: Vec<usize> =
        by_axis.iter().enumerate().filter_map(|(at, index)| matches!(index, Index::Number(_)).then_some(at)).collect();
    let value = Some(last.without(&axes)).filter(|_| !other).map(|layout| Value::Tensor(layout).settled());
    if !matters {
        return Answer { value, axes: Axes::Nothing };
    }
    let colon = Index::Slice(":".to_owned());
    let mlx = match last.order() {
        Some(order) => {
            let mut texts: Vec<&str> = order.iter().map(|at| by_axis.get(*at).unwrap_or(&colon).text()).collect();
            while texts.last() == Some(&":") {
                texts.pop();
            }
            texts.join(", ")
        }
        None => {
            let only = by_axis.iter().enumerate().filter(|(_, index)| !index.is_trivial());
            match only.collect::<Vec<_>>().as_slice() {
                [(at, index)] if last.is_channels(*at) => format!("..., {}", index.text()),
                _ => return Answer { value, axes: Axes::Moved(which(last, &torch)) },
            }
        }
    };
    Answer { value, axes: Axes::Moved(words("index", &[("torch", &torch), ("mlx", &mlx)])) }
}

/// An index for each of torch's axes from the first on; `None` where which is which is not known, or axes are new.
fn by_axis(last: Last, indices: &[Index]) -> Option<Vec<Index>> {
    if indices.contains(&Index::New) {
        return None;
    }
    let Some(rest) = indices.iter().position(|it| *it == Index::Rest) else { return Some(indices.to_vec()) };
    let missing = (usize::from(last.rank?) + 1).checked_sub(indices.len())?;
    let colons = std::iter::repeat_n(Index::Slice(":".to_owned()), missing);
    Some(indices.iter().take(rest).cloned().chain(colons).chain(indices.iter().skip(rest + 1).cloned()).collect())
}
