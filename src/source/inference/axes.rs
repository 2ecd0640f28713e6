//! What ops do with the axes of a tensor that has its channels last in MLX, and what is said of that.

use super::Axes;
use super::shapes;
use crate::registry::axes::{self, AxisOp, Does};
use crate::source::evaluate::layout::{Last, Layout};
use crate::source::evaluate::{Arguments, Value};

/// A call of an op.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Without `torch.`, `F.` or `x.`.
    pub name: &'a str,
    /// What it is called on.
    pub tensor: &'a Value,
    /// What stands behind the tensor.
    pub positional: &'a [Value],
    pub named: &'a [(String, Value)],
    /// There may be more arguments.
    pub more: bool,
}

/// What is known of a call.
pub(super) struct Answer {
    /// What it gives; `None` where that does not follow.
    pub value: Option<Value>,
    pub axes: Axes,
}

impl Answer {
    pub(super) const NOTHING: Answer = Answer { value: None, axes: Axes::Nothing };

    pub(super) fn new(layout: Layout, axes: Axes) -> Answer {
        Answer { value: Some(Value::Tensor(layout)), axes }
    }

    pub(super) fn said(axes: Axes) -> Answer {
        Answer { value: None, axes }
    }
}

/// A text of the table.
pub(super) fn words(text: &str, fills: &[(&str, &str)]) -> String {
    axes::built_in().words(text, fills)
}

impl<'a> Asked<'a> {
    /// A function's call, whose tensor is its first argument; a method's, on that tensor.
    pub(super) fn new(name: &'a str, tensor: Option<&'a Value>, arguments: &'a Arguments) -> Asked<'a> {
        let Arguments { positional, named, more } = arguments;
        let given = |names: &[&str]| named.iter().find(|(name, _)| names.contains(&name.as_str())).map(|(_, it)| it);
        match (tensor, positional.as_slice()) {
            (Some(tensor), all) => Asked { name, tensor, positional: all, named, more: *more },
            (None, [first, rest @ ..]) => Asked { name, tensor: first, positional: rest, named, more: *more },
            (None, []) => {
                let tensor = given(&["input", "tensors", "x", "query"]).unwrap_or(&Value::Unknown);
                Asked { name, tensor, positional: &[], named, more: *more }
            }
        }
    }

    /// An argument by its name or its place.
    pub(super) fn argument(&self, name: &str, at: usize) -> Option<&'a Value> {
        let named = self.named.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        named.or_else(|| self.positional.get(at)).filter(|value| **value != Value::None)
    }

    /// Axes or sizes that are given one by one or as a sequence.
    pub(super) fn list(&self, name: &str) -> Option<Vec<Value>> {
        let named = self.named.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        match (named, self.positional) {
            (Some(Value::Sequence(all)), []) | (None, [Value::Sequence(all)]) => Some(all.to_vec()),
            (None, [_, ..]) => Some(self.positional.to_vec()),
            _ => None,
        }
        .filter(|_| !self.more)
    }

    /// A flag that is not given is false.
    fn flag(&self, name: &str, at: usize) -> Option<bool> {
        let value = self.named.iter().find(|(known, _)| known == name).map(|(_, it)| it);
        value.or_else(|| self.positional.get(at)).map_or(Some(self.more).filter(|more| !more), Value::truth)
    }

    fn values(&self) -> impl Iterator<Item = &'a Value> {
        std::iter::once(self.tensor).chain(self.positional).chain(self.named.iter().map(|(_, value)| value))
    }
}

/// What a call gives, and what is said of its axes.
pub(super) fn answer(asked: &Asked<'_>) -> Answer {
    let layout = asked.tensor.layout();
    let op = axes::built_in().op(asked.name);
    let answer = by_kind(asked, op, layout);
    // The channels are as many as before where nothing but elements changes, or axes are joined.
    let keeps = op.is_some_and(|op| op.does == Does::Keeps) || matches!(asked.name, "flatten" | "view" | "reshape");
    match answer.value {
        Some(value) if !keeps => Answer { value: Some(value.settled()), ..answer },
        _ => answer,
    }
}

fn by_kind(asked: &Asked<'_>, op: Option<&AxisOp>, layout: Option<Layout>) -> Answer {
    if let Some(answer) = shapes::answer(asked, layout) {
        return answer;
    }
    let Some(op) = op else { return Answer::NOTHING };
    match op.does {
        Does::Keeps => meet(asked.values()),
        Does::Window => window(asked),
        Does::Channels => channels(asked, layout),
        Does::Joins | Does::Stacks => joins(asked, op),
        Does::Along | Does::Reduces | Does::Splits | Does::Selects => along(asked, op, layout),
    }
}

/// Tensors that meet element by element.
pub(super) fn meet<'a>(values: impl Iterator<Item = &'a Value>) -> Answer {
    let (mut last, mut torch): (Option<Layout>, Option<Layout>) = (None, None);
    for layout in values.filter_map(Value::layout) {
        let known = if matches!(layout, Layout::Last(_)) { &mut last } else { &mut torch };
        *known = match *known {
            None => Some(layout),
            // Of two the one of more axes.
            Some(before) if before.rank() != layout.rank() && matches!(layout, Layout::Torch(_)) => {
                Some(Layout::Torch(before.rank().max(layout.rank()).and_then(|rank| u8::try_from(rank).ok())))
            }
            Some(before) => before.or(layout).or(Some(before)),
        };
    }
    match (last, torch) {
        (Some(last), Some(torch)) if torch.rank().is_some_and(|rank| rank > 1) => {
            Answer::new(last, Axes::Moved(words("broadcast", &[])))
        }
        (Some(layout), _) => Answer::new(layout, Axes::Nothing),
        (None, Some(layout)) => Answer::new(layout, Axes::Torch),
        (None, None) => Answer::NOTHING,
    }
}

/// A convolution or a pool; the number of axes is in its name.
fn window(asked: &Asked<'_>) -> Answer {
    let axes = asked.name.strip_suffix('d').and_then(|name| name.chars().last()?.to_digit(10));
    let Some(axes) = axes else { return Answer::NOTHING };
    let whole = |value: &Value| match value {
        Value::Sequence(all) => {
            let lengths = all.iter().map(|it| if let Value::Length(extent) = it { extent.0 } else { 0 });
            lengths.fold(0, |bits, extent| bits | extent)
                == crate::source::evaluate::layout::Extent::places(axes as usize + 2).0
        }
        _ => false,
    };
    let single = |value: &Value| match value {
        Value::Int(1) => true,
        Value::Sequence(all) => !all.is_empty() && all.iter().all(|it| *it == Value::Int(1)),
        _ => false,
    };
    let one = match asked.name {
        name if name.starts_with("adaptive") => asked.argument("output_size", 0).is_some_and(single),
        name if name.starts_with("avg_pool") => asked.argument("kernel_size", 0).is_some_and(whole),
        _ => false,
    };
    Answer::new(with_one(Layout::last(Some(axes as usize + 2)), one), Axes::Nothing)
}

/// The same with every place of length 1, or not known to be.
pub(super) fn with_one(layout: Layout, one: bool) -> Layout {
    match layout {
        Layout::Last(last) => Layout::Last(Last { one, ..last }),
        torch => torch,
    }
}

/// What keeps the axes of a channels-last tensor.
fn channels(asked: &Asked<'_>, layout: Option<Layout>) -> Answer {
    let keeps = matches!(asked.name, "batch_norm" | "instance_norm" | "group_norm" | "local_response_norm");
    match layout {
        Some(layout) if keeps || asked.name.starts_with("dropout") => Answer::new(layout, Axes::Nothing),
        Some(layout) => Answer::new(with_one(layout, false), Axes::Nothing),
        None if asked.name.starts_with("dropout") => Answer::NOTHING,
        None => Answer::new(Layout::last(None), Axes::Nothing),
    }
}

/// Axes as numbers, where all are known.
pub(super) fn numbers(value: &Value) -> Option<Vec<i64>> {
    match value {
        Value::Int(axis) => Some(vec![*axis]),
        Value::Sequence(all) => all.iter().map(Value::whole).collect(),
        _ => None,
    }
}

/// `dim=1`, `dim=(2, 3)`.
pub(super) fn named(name: &str, axes: &[i64]) -> String {
    format!("{name}={}", listed(axes))
}

/// `1`, `(2, 3)`.
pub(super) fn listed<Number: std::fmt::Display>(numbers: &[Number]) -> String {
    match numbers {
        [one] => one.to_string(),
        many => {
            let many: Vec<String> = many.iter().map(Number::to_string).collect();
            format!("({})", many.join(", "))
        }
    }
}

/// What is said of an argument that counts axes.
pub(super) fn counted(last: Last, name: &str, axes: &[i64]) -> Axes {
    let written: Option<Vec<i64>> = axes.iter().map(|axis| last.written(*axis)).collect();
    let torch = named(name, axes);
    let Some(written) = written else {
        return Axes::Moved(which(last, name));
    };
    let same = axes.iter().all(|axis| last.axis(*axis).is_some_and(|at| last.to_mlx(at) == at as i64));
    if same {
        return Axes::Same(words("axis_free", &[("torch", &torch)]));
    }
    let mlx = named(if axes.len() > 1 { "axes" } else { "axis" }, &written).replace("axes=", "axis=");
    Axes::Moved(words("axis", &[("torch", &torch), ("mlx", &mlx)]))
}

/// What is said where it is not known which axis is meant.
pub(super) fn which(last: Last, name: &str) -> String {
    let order = last.order().map_or_else(|| "(0, 2, …, 1)".to_owned(), |order| listed(&order));
    words("which", &[("torch", name), ("order", &order)])
}

/// What is said where nothing is known of the tensor.
fn depends(name: &str, axes: &[i64]) -> Axes {
    // Whoever counts the last axis alone mostly means features, which no convolution has there.
    let plain = axes == [-1] || axes.iter().all(|axis| *axis == 0);
    if plain { Axes::Nothing } else { Axes::Depends(words("depends", &[("torch", &named(name, axes))])) }
}

/// The axes that a call gives; `Err` where they are given and not known, `Ok(None)` for all of them.
fn axes_of(asked: &Asked<'_>, op: &AxisOp) -> Result<Option<Vec<i64>>, ()> {
    match asked.argument(&op.axis, op.at).or_else(|| asked.argument("axis", usize::MAX)) {
        Some(value) => numbers(value).map(Some).ok_or(()),
        None if asked.more => Err(()),
        None => Ok(op.default.map(|axis| vec![axis])),
    }
}

fn along(asked: &Asked<'_>, op: &AxisOp, layout: Option<Layout>) -> Answer {
    let axes = axes_of(asked, op);
    if matches!(asked.name, "max" | "min") && asked.positional.first().is_some_and(|it| it.layout().is_some()) {
        return meet(asked.values());
    }
    let (Some(layout), Ok(axes)) = (layout, &axes) else {
        let said = match (layout, &axes) {
            (Some(Layout::Last(last)), Err(())) => Axes::Moved(which(last, &op.axis)),
            (None, Ok(Some(axes))) => depends(&op.axis, axes),
            _ => Axes::Nothing,
        };
        return Answer::said(said);
    };
    let said = match (layout, axes) {
        (Layout::Torch(_), _) => Axes::Torch,
        (Layout::Last(last), Some(axes)) => counted(last, &op.axis, axes),
        // Over all elements, their order does not matter; what is flattened first is in another one.
        (Layout::Last(last), None) if matches!(asked.name, "argmax" | "argmin" | "flip" | "roll" | "cumsum") => {
            if asked.name == "flip" { Axes::Nothing } else { Axes::Moved(which(last, "the index")) }
        }
        (Layout::Last(_), None) => Axes::Nothing,
    };
    let value = match op.does {
        Does::Along => Some(Value::Tensor(with_one_kept(layout, asked.name))),
        Does::Splits => Some(Value::Each(std::rc::Rc::new(Value::Tensor(layout)))),
        Does::Selects => {
            let one = removed(layout, axes.as_deref().unwrap_or_default());
            let one = one.map(Value::Tensor);
            if asked.name == "unbind" { one.map(|one| Value::Each(std::rc::Rc::new(one))) } else { one }
        }
        _ => reduced(asked, layout, axes.as_deref()).map(Value::Tensor),
    };
    // Values and their places.
    let pair = matches!(asked.name, "max" | "min" | "median" | "cummax" | "cummin") && axes.is_some();
    let pair = pair || matches!(asked.name, "sort" | "topk");
    let value = if pair { value.map(|value| Value::sequence(vec![value.clone(), value])) } else { value };
    Answer { value, axes: said }
}

/// Of what is repeated or gathered along an axis it is not known that each place has the length 1.
fn with_one_kept(layout: Layout, name: &str) -> Layout {
    let keeps = !matches!(name, "repeat_interleave" | "gather" | "index_select" | "take_along_dim");
    match layout {
        Layout::Last(last) => with_one(layout, last.one && keeps),
        torch => torch,
    }
}

fn reduced(asked: &Asked<'_>, layout: Layout, axes: Option<&[i64]>) -> Option<Layout> {
    let keeps = asked.flag("keepdim", keepdim_at(asked.name)).or_else(|| asked.flag("keepdims", usize::MAX))?;
    let Some(axes) = axes else { return Some(Layout::Torch(Some(0))).filter(|_| !keeps) };
    if !keeps {
        return removed(layout, axes);
    }
    Some(match layout {
        Layout::Last(last) => {
            let all: Option<Vec<usize>> = axes.iter().map(|axis| last.axis(*axis)).collect();
            let places = last.places();
            let reduced = all.map(|all| all.iter().filter(|axis| last.is_place(**axis)).count());
            with_one(layout, last.one || places.is_some() && places == reduced)
        }
        torch => torch,
    })
}

/// The place of `keepdim` behind the tensor.
fn keepdim_at(name: &str) -> usize {
    match name {
        "norm" | "vector_norm" => 2,
        "std" | "var" => usize::MAX,
        _ => 1,
    }
}

/// Without these axes.
pub(super) fn removed(layout: Layout, axes: &[i64]) -> Option<Layout> {
    match layout {
        Layout::Torch(rank) => Some(Layout::Torch(rank.and_then(|rank| rank.checked_sub(axes.len() as u8)))),
        Layout::Last(last) => {
            // The last axes of an image are its places, however many it has.
            let last = if last.rank.is_none() && axes.contains(&-1) { return None } else { last };
            let axes: Vec<usize> = axes.iter().map(|axis| last.axis(*axis)).collect::<Option<_>>()?;
            Some(last.without(&axes))
        }
    }
}

/// What the tensors of a list have in common: they have as many axes, and one speaks for those of which nothing is known.
fn common(value: &Value) -> Option<Layout> {
    let elements: Vec<&Value> = match value {
        Value::Sequence(all) => all.iter().collect(),
        Value::Each(element) => vec![element],
        _ => return None,
    };
    let known: Vec<Layout> = elements.iter().filter_map(|it| it.layout()).collect();
    let common = known.into_iter().try_fold(None, |before: Option<Layout>, layout| match before {
        None => Some(Some(layout)),
        Some(before) => before.or(layout).map(Some),
    });
    common.flatten()
}

fn joins(asked: &Asked<'_>, op: &AxisOp) -> Answer {
    let (layout, axes) = (common(asked.tensor), axes_of(asked, op));
    let axis = match &axes {
        Ok(Some(axes)) => axes.first().copied(),
        _ => None,
    };
    match (layout, axis) {
        (Some(Layout::Torch(rank)), _) => {
            let more = u8::from(op.does == Does::Stacks);
            Answer::new(Layout::Torch(rank.map(|rank| rank + more)), Axes::Torch)
        }
        (Some(Layout::Last(last)), Some(axis)) if op.does == Does::Joins => {
            Answer::new(with_one(last.layout(), false), counted(last, &op.axis, &[axis]))
        }
        (Some(Layout::Last(last)), Some(axis)) => stacked(last, &op.axis, axis),
        (Some(Layout::Last(last)), None) => Answer::said(Axes::Moved(which(last, &op.axis))),
        (None, Some(axis)) => Answer::said(depends(&op.axis, &[axis])),
        (None, None) => Answer::NOTHING,
    }
}

/// On a new axis.
fn stacked(last: Last, name: &str, axis: i64) -> Answer {
    let rank = last.rank.map(i64::from);
    let at = if axis < 0 { rank.map(|rank| axis + rank + 1) } else { Some(axis) };
    let Some(at) = at.and_then(|at| usize::try_from(at).ok()) else {
        return Answer::said(Axes::Moved(which(last, name)));
    };
    let more = last.with(at);
    let there = more.to_mlx(at);
    let said = if there == at as i64 {
        Axes::Same(words("axis_free", &[("torch", &named(name, &[axis]))]))
    } else {
        Axes::Moved(words("axis", &[("torch", &named(name, &[axis])), ("mlx", &named("axis", &[there]))]))
    };
    Answer::new(more.layout(), said)
}
