//! What following a model has shown of its ops: their arguments as evaluated, and where the axes of their tensors are.

use std::collections::{BTreeMap, HashMap};

use crate::registry::conditions::{Argument, Call};
use crate::source::evaluate::{Arguments, Value};
use crate::source::python::Module;

/// Ways that are told apart at one place.
const WAYS: usize = 4;
/// Elements of a sequence that are looked at.
const ELEMENTS: usize = 16;

/// What is known, at one evaluation of an op, of where the axes of its tensor are in MLX.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Axes {
    /// Nothing, or they do not matter.
    #[default]
    Nothing,
    /// Where torch has them.
    Torch,
    /// Channels are last, which makes no difference here: why.
    Same(String),
    /// What comes in is not known: what would follow.
    Depends(String),
    /// Channels are last: what that means here.
    Moved(String),
}

/// What all evaluations of one op have shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Its arguments, where any is known.
    call: Option<Call>,
    /// How its axes were found, each way once.
    axes: Vec<Axes>,
}

/// What to say of the axes of an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// As torch has them.
    Torch,
    /// Channels are last, and it makes no difference.
    Same,
    /// What comes in is not known.
    Depends,
    /// Channels are last, and it does.
    Moved,
}

impl Order {
    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Order::Torch => "torch",
            Order::Same => "same",
            Order::Depends => "unknown",
            Order::Moved => "channels-last",
        }
    }
}

impl Seen {
    /// What one evaluation shows.
    pub(super) fn new(arguments: &Arguments, axes: Axes) -> Seen {
        let call = of_values(arguments);
        let known = call.positional.iter().chain(call.named.iter().map(|(_, argument)| argument));
        let known = known.into_iter().any(|argument| *argument != Argument::Other);
        Seen { call: known.then_some(call), axes: vec![axes] }
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.call.is_none() && self.axes.iter().all(|axes| *axes == Axes::Nothing)
    }

    /// Take in what another evaluation at the same place shows.
    pub(super) fn join(&mut self, other: Seen) {
        self.call = self.call.take().zip(other.call).map(|(a, b)| either(&a, &b));
        for axes in other.axes {
            if self.axes.len() < WAYS && !self.axes.contains(&axes) {
                self.axes.push(axes);
            }
        }
    }

    /// The arguments of a call as they are written, with what is known of those that are not written out.
    pub fn arguments(&self, written: &Call) -> Call {
        let Some(known) = &self.call else { return written.clone() };
        if written.more {
            // `*args` and `**kwargs` as they were evaluated, where that is all of them.
            return if known.more { written.clone() } else { Call { tensor: written.tensor.clone(), ..known.clone() } };
        }
        let mut call = written.clone();
        for (at, argument) in call.positional.iter_mut().enumerate() {
            fill(argument, known.positional.get(at));
        }
        for (name, argument) in &mut call.named {
            fill(argument, known.named.iter().find(|(known, _)| known == name).map(|(_, argument)| argument));
        }
        call
    }

    /// What is said of its axes, and how sure that is; `None` where nothing is known or nothing counts them.
    pub fn order(&self) -> Option<(Order, String)> {
        let words = |wanted: &dyn Fn(&Axes) -> Option<&String>| -> Vec<&str> {
            self.axes.iter().filter_map(wanted).map(String::as_str).collect()
        };
        let moved = words(&|axes| if let Axes::Moved(words) = axes { Some(words) } else { None });
        let depends = words(&|axes| if let Axes::Depends(words) = axes { Some(words) } else { None });
        let same = words(&|axes| if let Axes::Same(words) = axes { Some(words) } else { None });
        let torch = self.axes.contains(&Axes::Torch);
        let table = crate::registry::axes::built_in();
        if let [first, others @ ..] = moved.as_slice() {
            let mut said = (*first).to_owned();
            for other in others {
                said = format!("{said} {}", table.words("other", &[("said", other)]));
            }
            if torch || !same.is_empty() {
                said = format!("{said} {}", table.words("sometimes", &[]));
            } else if !depends.is_empty() {
                said = format!("{said} {}", table.words("unsure", &[]));
            }
            return Some((Order::Moved, said));
        }
        if let Some(first) = depends.first() {
            return Some((Order::Depends, (*first).to_owned()));
        }
        match same.first() {
            Some(first) => Some((Order::Same, (*first).to_owned())),
            None => torch.then(|| (Order::Torch, String::new())),
        }
    }
}

/// By the byte that an op's name begins at, in each file.
pub(super) type Places = HashMap<*const Module, BTreeMap<usize, Seen>>;

fn fill(argument: &mut Argument, known: Option<&Argument>) {
    if *argument == Argument::Other
        && let Some(known) = known
    {
        argument.clone_from(known);
    }
}

/// What is known of a call that is one or the other.
fn either(a: &Call, b: &Call) -> Call {
    let same = |a: Option<&Argument>, b: Option<&Argument>| match (a, b) {
        (Some(a), Some(b)) if a == b => a.clone(),
        _ => Argument::Other,
    };
    let positional = a.positional.iter().enumerate().map(|(at, it)| same(Some(it), b.positional.get(at))).collect();
    let named = a.named.iter().map(|(name, it)| {
        let other = b.named.iter().find(|(known, _)| known == name).map(|(_, it)| it);
        (name.clone(), same(Some(it), other))
    });
    Call { tensor: None, positional, named: named.collect(), more: a.more || b.more }
}

fn of_values(arguments: &Arguments) -> Call {
    let named = arguments.named.iter().map(|(name, value)| (name.clone(), argument(value, 0)));
    Call {
        tensor: None,
        positional: arguments.positional.iter().map(|value| argument(value, 0)).collect(),
        named: named.collect(),
        more: arguments.more,
    }
}

fn argument(value: &Value, depth: usize) -> Argument {
    match value {
        Value::None => Argument::None,
        Value::Bool(value) => Argument::Bool(*value),
        Value::Text(text) => Argument::Text((**text).to_owned()),
        Value::Sequence(all) if depth == 0 => {
            Argument::Sequence(all.iter().take(ELEMENTS).map(|it| argument(it, depth + 1)).collect())
        }
        value => value.number().map_or(Argument::Other, Argument::Number),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seen(axes: &[Axes]) -> Option<(Order, String)> {
        let mut all = axes.iter().map(|axes| Seen::new(&Arguments::default(), axes.clone()));
        let mut first = all.next().unwrap();
        all.for_each(|other| first.join(other));
        first.order()
    }

    #[test]
    fn what_some_callers_hand_in_is_told_apart() {
        let moved = Axes::Moved("a.".to_owned());
        assert_eq!(seen(std::slice::from_ref(&moved)), Some((Order::Moved, "a.".to_owned())));
        assert_eq!(seen(&[moved.clone(), moved.clone()]), Some((Order::Moved, "a.".to_owned())));
        let (order, words) = seen(&[Axes::Torch, moved.clone()]).unwrap();
        assert!(order == Order::Moved && words.len() > "a.".len(), "{words}");
        let (order, words) = seen(&[moved, Axes::Depends("b.".to_owned())]).unwrap();
        assert!(order == Order::Moved && !words.contains("b."), "{words}");
        assert_eq!(seen(&[Axes::Torch]), Some((Order::Torch, String::new())));
        assert_eq!(seen(&[Axes::Nothing]), None);
    }

    #[test]
    fn arguments_that_are_written_out_stay() {
        let evaluated = Arguments {
            positional: vec![Value::Int(3)],
            named: vec![("mode".to_owned(), Value::text("bicubic")), ("size".to_owned(), Value::Object)],
            more: false,
        };
        let written = Call {
            positional: vec![Argument::Other],
            named: vec![("mode".to_owned(), Argument::Other), ("size".to_owned(), Argument::Other)],
            ..Call::default()
        };
        let mut seen = Seen::new(&evaluated, Axes::Nothing);
        let call = seen.arguments(&written);
        assert_eq!(call.positional, [Argument::Number(3.0)]);
        assert_eq!(call.named[0].1, Argument::Text("bicubic".to_owned()));
        assert_eq!(call.named[1].1, Argument::Other);
        // Another caller hands in another number.
        seen.join(Seen::new(&Arguments { positional: vec![Value::Int(4)], ..evaluated }, Axes::Nothing));
        assert_eq!(seen.arguments(&written).positional, [Argument::Other]);
    }
}
