//! Where the axes of activations are, followed through a forward: layers, ops, indices, operators.

use tree_sitter::Node;

use super::axes::{self, Answer, Asked, with_one};
use super::frame::Frame;
use super::seen::{Axes, Seen};
use super::shapes::{self, Index};
use super::walk::Walk;
use crate::model::ModuleId;
use crate::source::evaluate::layout::{Last, Layout};
use crate::source::evaluate::{Arguments, Value, children};
use crate::source::python::Module;
use crate::source::tensors::canonical;

/// What a layer makes of the axes of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gives {
    /// Something of which nothing is known.
    Anything,
    /// A tensor of so many axes with its channels last, whatever comes in: a convolution, a pool.
    Window {
        /// Axes, the batch's too.
        rank: usize,
        /// Whether each axis of places has length 1; `None` where it does if it did before.
        one: Option<bool>,
        /// Channels that come out, where they are known.
        width: Option<u32>,
    },
    /// What comes in with its axes where they were; channels last, where that is not known.
    Channels {
        /// Axes, where there is but one number of them.
        rank: Option<usize>,
        /// Whether places keep their number.
        keeps: bool,
    },
    /// What comes in, element by element.
    Same,
    /// Over the last axis, which is torch's: a Linear, a LayerNorm.
    Features,
    /// One axis more: an Embedding.
    Rows,
    /// Rows, and something beside them: an LSTM, an attention.
    Pair,
    /// Axes in one, the first and the last of them.
    Flatten(i64, i64),
    /// Axes in another order.
    Permute(Vec<usize>),
}

impl Gives {
    /// What comes out, for arguments of a call.
    pub(super) fn value(&self, arguments: &Arguments) -> Value {
        let input = arguments.positional.first().or_else(|| arguments.named.first().map(|(_, value)| value));
        let input = input.and_then(Value::layout);
        let layout = match (self, input) {
            (Gives::Pair, _) => {
                return Value::sequence(vec![Value::Tensor(Layout::Torch(None)), Value::Object]);
            }
            (Gives::Anything, _) => None,
            (Gives::Window { rank, one, width }, input) => {
                let before = matches!(input, Some(Layout::Last(Last { one: true, .. })));
                Some(match with_one(Layout::last(Some(*rank)), one.unwrap_or(before)) {
                    Layout::Last(last) => Layout::Last(Last { width: *width, ..last }),
                    torch => torch,
                })
            }
            (Gives::Channels { keeps: true, .. } | Gives::Same, Some(layout)) => Some(layout),
            (Gives::Channels { keeps: false, .. }, Some(layout)) => Some(with_one(layout, false).of_any_width()),
            (Gives::Channels { rank, .. }, None) => Some(Layout::last(*rank)),
            (Gives::Same, None) => None,
            (Gives::Features, Some(Layout::Last(_))) => None,
            (Gives::Features, Some(layout)) => Some(layout),
            (Gives::Features, None) => Some(Layout::Torch(None)),
            (Gives::Rows, layout) => {
                Some(Layout::Torch(layout.and_then(Layout::rank).and_then(|rank| u8::try_from(rank + 1).ok())))
            }
            (Gives::Flatten(start, end), Some(Layout::Last(last))) => {
                shapes::flattened(last, *start, *end).value.as_ref().and_then(Value::layout)
            }
            (Gives::Flatten(..), _) => Some(Layout::Torch(None)),
            (Gives::Permute(axes), layout) => shapes::permuted(layout, axes).value.as_ref().and_then(Value::layout),
        };
        layout.map_or(Value::Object, Value::Tensor)
    }
}

impl<'t> Walk<'t, '_> {
    /// Note what one evaluation shows of the op whose name begins at this byte.
    pub(super) fn note(&mut self, module: &'t Module, at: usize, arguments: &Arguments, axes: Axes) {
        // In a model without images nothing depends on where channels are.
        let axes = if matches!(axes, Axes::Depends(_)) && !self.world.images { Axes::Nothing } else { axes };
        let seen = Seen::new(arguments, axes);
        let places = self.outcome.seen.entry(std::ptr::from_ref(module)).or_default();
        match places.get_mut(&at) {
            Some(known) => known.join(seen),
            None => {
                places.insert(at, seen);
            }
        }
    }

    /// A function of torch: what it gives, where that follows.
    pub(super) fn torchs(
        &mut self,
        module: &'t Module,
        name: Node<'t>,
        full: &str,
        arguments: &Arguments,
    ) -> Option<Value> {
        let called = canonical(full)?;
        let called = called.rsplit('.').next().unwrap_or(&called);
        let Answer { value, axes } = axes::answer(&Asked::new(called, None, arguments));
        let place = name.child_by_field_name("attribute").unwrap_or(name);
        let behind =
            Arguments { positional: arguments.positional.get(1..).unwrap_or_default().to_vec(), ..arguments.clone() };
        self.note(module, place.start_byte(), &behind, axes);
        value
    }

    /// A method of what may be a tensor.
    pub(super) fn tensors(
        &mut self,
        module: &'t Module,
        (tensor, name, at): (&Value, &str, usize),
        arguments: &Arguments,
    ) -> Option<Value> {
        if !matches!(tensor, Value::Tensor(_) | Value::Object | Value::Unknown) {
            return None;
        }
        let Answer { value, axes } = axes::answer(&Asked::new(name, Some(tensor), arguments));
        self.note(module, at, arguments, axes);
        // Of something that may be no tensor nothing follows but where the method's name says so.
        value.filter(|_| matches!(tensor, Value::Tensor(_)) || name.starts_with("new_"))
    }

    /// A tensor that a module holds.
    pub(super) fn own_tensor(&self, id: ModuleId, name: &str) -> Option<Value> {
        let own = self.world.model.modules.get(id)?.tensors.iter().find(|own| own.name == name)?;
        let Some(tensor) = own.tensor else { return Some(Value::None) };
        let rank = (self.world.rank)(tensor);
        Some(rank.map_or(Value::Object, |rank| Value::Tensor(Layout::torch(rank))))
    }
}

impl<'t> Frame<'t, '_, '_> {
    /// `x.shape`, `x.T`
    pub(super) fn of_tensor(&mut self, node: Node<'t>, object: &Value, name: &str) -> Option<Value> {
        let layout = object.layout()?;
        match (name, layout) {
            ("shape", Layout::Last(last)) => Some(shapes::shape(last)),
            ("data", _) => Some(object.clone()),
            ("T" | "mT" | "H" | "mH", Layout::Torch(_)) => Some(object.clone()),
            ("T" | "mT" | "H" | "mH", Layout::Last(last)) => {
                let rank = last.rank.map(usize::from)?;
                let mut axes: Vec<usize> = (0..rank).collect();
                if matches!(name, "T" | "H") {
                    axes.reverse();
                } else {
                    axes.swap(rank - 1, rank - 2);
                }
                let Answer { value, axes } = shapes::permuted(Some(layout), &axes);
                self.walk.note(self.module, node.start_byte(), &Arguments::default(), axes);
                value
            }
            _ => None,
        }
    }

    /// `x[:, 0]`, `x.shape[1]`
    pub(super) fn under(&mut self, node: Node<'t>, object: &Value, indices: &[(Node<'t>, Value)]) -> Option<Value> {
        let at = node.child_by_field_name("value")?.end_byte();
        match object {
            Value::Tensor(layout) => {
                let indices: Vec<Index> = indices.iter().map(|(node, value)| self.index(*node, value)).collect();
                let Answer { value, axes } = shapes::indexed(*layout, &indices);
                if axes != Axes::Torch {
                    self.walk.note(self.module, at, &Arguments::default(), axes);
                }
                Some(value.unwrap_or(Value::Object))
            }
            Value::Sequence(lengths) => {
                let [(index, value)] = indices else { return None };
                let last = shapes::of_lengths(lengths)?;
                let all: Vec<i64> = (0..lengths.len() as i64).collect();
                let axes = match value {
                    Value::Int(axis) => vec![*axis],
                    _ if index.kind() == "slice" => self.slice(*index, &all)?,
                    _ => return None,
                };
                let torch = self.module.slice(*index);
                self.walk.note(self.module, at, &Arguments::default(), shapes::size_of(last, torch, &axes));
                let length = |axis: &i64| last.axis(*axis).and_then(|at| lengths.get(at)).cloned();
                Some(match (value, axes.as_slice()) {
                    (Value::Int(_), [axis]) => length(axis).unwrap_or(Value::Unknown),
                    (_, axes) => Value::sequence(axes.iter().filter_map(length).collect()),
                })
            }
            _ => None,
        }
    }

    fn index(&self, node: Node<'t>, value: &Value) -> Index {
        let text = self.module.slice(node).to_owned();
        match (node.kind(), value) {
            ("slice", _) => Index::Slice(text),
            ("ellipsis", _) => Index::Rest,
            ("none", _) | (_, Value::None) => Index::New,
            (_, Value::Int(_) | Value::Length(_)) => Index::Number(text),
            // `for i in range(n): x[:, i]`
            ("identifier", Value::Object) if text.len() == 1 => Index::Number(text),
            _ => Index::Other(text),
        }
    }

    /// The elements of a slice, where its ends are numbers.
    fn slice(&mut self, node: Node<'t>, all: &[i64]) -> Option<Vec<i64>> {
        let (mut ends, mut at): ([Option<i64>; 3], usize) = ([None; 3], 0);
        let mut cursor = node.walk();
        let parts: Vec<Node<'t>> = node.children(&mut cursor).collect();
        for part in parts {
            if part.kind() == ":" {
                at += 1;
                continue;
            }
            let text = self.module.slice(part);
            *ends.get_mut(at)? = Some(text.parse().ok()?);
        }
        let count = all.len() as i64;
        let end = |given: Option<i64>, default: i64| {
            let at = given.unwrap_or(default);
            (if at < 0 { at + count } else { at }).clamp(0, count)
        };
        let (start, stop) = (end(ends[0], 0), end(ends[1], count));
        if ends[2].is_some_and(|step| step != 1) || start > stop {
            return None;
        }
        all.get(usize::try_from(start).ok()?..usize::try_from(stop).ok()?).map(<[i64]>::to_vec)
    }

    /// `a + b`, `a @ b`
    pub(super) fn between(&mut self, operator: Node<'t>, left: &Value, right: &Value) -> Option<Value> {
        let text = self.module.slice(operator);
        let tensors = left.layout().is_some() || right.layout().is_some();
        let Answer { value, axes } = match text.trim_end_matches('=') {
            "@" => shapes::multiply(left, right),
            "+" | "-" | "*" | "/" | "//" | "%" | "**" | "&" | "|" | "^" if tensors => {
                axes::meet([left, right].into_iter())
            }
            _ => return None,
        };
        self.walk.note(self.module, operator.start_byte(), &Arguments::default(), axes);
        value
    }

    /// `b, c, h, w = x.shape`
    pub(super) fn unpacked(&mut self, left: Node<'t>, right: Node<'t>, value: &Value) {
        let Value::Sequence(lengths) = value else { return };
        let place = match right.kind() {
            "attribute" => right.child_by_field_name("attribute"),
            "call" => {
                right.child_by_field_name("function").and_then(|function| function.child_by_field_name("attribute"))
            }
            _ => None,
        };
        let names = matches!(left.kind(), "pattern_list" | "tuple_pattern" | "list_pattern");
        let Some(place) = place.filter(|place| names && matches!(self.module.slice(*place), "shape" | "size")) else {
            return;
        };
        if children(left).len() == lengths.len()
            && let Some(last) = shapes::of_lengths(lengths)
        {
            self.walk.note(self.module, place.start_byte(), &Arguments::default(), shapes::all_sizes(last));
        }
    }
}
