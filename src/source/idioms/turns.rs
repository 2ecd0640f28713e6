//! Idioms that functions share: a rotation, a repetition, slopes. What such a function does is told where it is called.

use std::collections::HashMap;

use tree_sitter::Node;

use super::shapes::{Part, Text};
use super::{Asked, Choice};
use crate::registry::idioms::Kind;
use crate::source::evaluate::children;

/// Functions that call each other.
const DEPTH: usize = 5;

/// What a function turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Turn {
    Is(Kind),
    /// By one of its parameters: where that is true, and where it is not.
    By(String, Kind, Kind),
}

/// The functions that may be called.
pub(super) struct Library<'t, 'l> {
    /// Methods and functions that run with the forward.
    pub own: &'l [Text<'t>],
    /// Functions of other files, by name.
    pub far: &'l HashMap<&'t str, Text<'t>>,
}

impl<'t> Library<'t, '_> {
    /// What a function itself rotates, repeats or computes slopes of.
    pub(super) fn parts_of(&self, text: &Text<'t>) -> Vec<(Kind, Node<'t>)> {
        [rotation(text), text.repeats(), text.slopes()].into_iter().flatten().collect()
    }

    /// The functions of the class that call this one.
    pub(super) fn callers(&self, text: &Text<'t>) -> Vec<&Text<'t>> {
        let name = text.function.child_by_field_name("name").map_or("", |name| text.module.slice(name));
        let calls = |other: &&Text<'t>| {
            other.function != text.function
                && other.calls.iter().any(|call| other.name(*call) == name && is_own(other, *call))
        };
        self.own.iter().filter(calls).collect()
    }

    /// What this function calls that does so: the variant, what decides it, and the call.
    pub(super) fn called(&self, text: &Text<'t>) -> Vec<(Kind, Option<Choice>, Node<'t>)> {
        let mut found: Vec<(Kind, Option<Choice>, Node<'t>)> = Vec::new();
        for call in text.calls.iter().filter(|call| is_own(text, **call)) {
            let name = text.name(*call);
            let near = self.own.iter().find(|other| {
                let own = other.function.child_by_field_name("name").map_or("", |name| other.module.slice(name));
                own == name && other.function != text.function
            });
            if let Some(other) = near {
                found.extend(self.parts_of(other).into_iter().map(|(kind, _)| (kind, None, *call)));
                continue;
            }
            let Some(other) = self.far.get(name) else { continue };
            found.extend([other.repeats(), other.slopes()].into_iter().flatten().map(|(kind, _)| (kind, None, *call)));
            match self.turn(other, 0) {
                Some(Turn::Is(kind)) => found.push((kind, None, *call)),
                Some(Turn::By(parameter, holds, fails)) => match given(text, *call, other, &parameter) {
                    Given::Truth(truth) => found.push((if truth { holds } else { fails }, None, *call)),
                    Given::Attribute(attribute, absent) => {
                        let choice = Choice { attribute, asked: Asked::True { absent }, otherwise: Some(fails) };
                        found.push((holds, Some(choice), *call));
                    }
                    Given::Parameter(_) | Given::Unknown => {}
                },
                None => {}
            }
        }
        let mut seen: Vec<Kind> = Vec::new();
        found.retain(|(kind, ..)| {
            let new = !seen.contains(kind);
            seen.push(*kind);
            new
        });
        found
    }

    /// What decides whether scores in this function are scaled: the attribute that its caller hands on as `scaling`. `None` where
    /// that is 1 in the text.
    pub(super) fn scale_of(&self, text: &Text<'t>) -> Option<Option<Choice>> {
        let callers = self.own.iter().filter(|other| other.function != text.function);
        let mut given =
            callers.flat_map(|other| other.calls.iter().map(move |call| (other, *call))).filter_map(|(other, call)| {
                let (_, named) = other.arguments(call);
                named.into_iter().find(|(name, _)| *name == "scaling").map(|(_, value)| (other, value))
            });
        let Some((other, value)) = given.next() else { return Some(None) };
        if matches!(other.module.slice(value), "1" | "1.0") {
            return None;
        }
        let choice = other.attribute(value).map(|(name, _)| Choice {
            attribute: name.to_owned(),
            asked: Asked::NotOne,
            otherwise: None,
        });
        Some(choice)
    }

    /// How a function of another file rotates, itself or by what it calls.
    fn turn(&self, text: &Text<'t>, depth: usize) -> Option<Turn> {
        if let Some((kind, _)) = rotation(text) {
            return Some(Turn::Is(kind));
        }
        if depth > DEPTH {
            return None;
        }
        let mut found: Vec<(Turn, Node<'t>)> = Vec::new();
        for call in &text.calls {
            let Some(other) = self.far.get(text.name(*call)).filter(|other| other.function != text.function) else {
                continue;
            };
            let turn = match self.turn(other, depth + 1) {
                Some(Turn::By(parameter, holds, fails)) => match given(text, *call, other, &parameter) {
                    Given::Truth(truth) => Turn::Is(if truth { holds } else { fails }),
                    Given::Parameter(name) => Turn::By(name, holds, fails),
                    Given::Attribute(..) | Given::Unknown => return None,
                },
                Some(turn) => turn,
                None => continue,
            };
            if !found.iter().any(|(known, _)| *known == turn) {
                found.push((turn, *call));
            }
        }
        match found.as_slice() {
            [(turn, _)] => Some(turn.clone()),
            [(Turn::Is(first), at), (Turn::Is(second), _)] => {
                // `if half:` around the first of them.
                let branch =
                    std::iter::successors(Some(*at), Node::parent).find(|node| node.kind() == "if_statement")?;
                let condition = branch.child_by_field_name("condition").filter(|it| it.kind() == "identifier")?;
                let within = branch.child_by_field_name("consequence")?.byte_range().contains(&at.start_byte());
                let (holds, fails) = if within { (*first, *second) } else { (*second, *first) };
                Some(Turn::By(text.module.slice(condition).to_owned(), holds, fails))
            }
            _ => None,
        }
    }
}

/// A function by its name, or a method of `self`.
fn is_own(text: &Text<'_>, call: Node<'_>) -> bool {
    let Some(function) = call.child_by_field_name("function") else { return false };
    match function.child_by_field_name("object") {
        None => function.kind() == "identifier",
        Some(object) => !text.receiver.is_empty() && text.module.slice(object) == text.receiver,
    }
}

/// What is given for a parameter.
enum Given {
    Truth(bool),
    /// An attribute of `self`, and what it is taken for where there is none.
    Attribute(String, Option<bool>),
    Parameter(String),
    Unknown,
}

fn given<'t>(text: &Text<'t>, call: Node<'t>, called: &Text<'t>, parameter: &str) -> Given {
    let parameters = called.function.child_by_field_name("parameters").map(children).unwrap_or_default();
    let name = |node: &Node<'t>| {
        let name = node.child_by_field_name("name").or_else(|| node.named_child(0)).unwrap_or(*node);
        called.module.slice(name)
    };
    let Some(place) = parameters.iter().position(|node| name(node) == parameter) else { return Given::Unknown };
    let list = call.child_by_field_name("arguments").map(children).unwrap_or_default();
    let by_name = list.iter().find_map(|argument| {
        let own = argument.child_by_field_name("name").filter(|_| argument.kind() == "keyword_argument")?;
        (text.module.slice(own) == parameter).then(|| argument.child_by_field_name("value"))?
    });
    let by_place = list.get(place).filter(|argument| argument.kind() != "keyword_argument").copied();
    let (module, value) = match by_name.or(by_place) {
        Some(value) => (text.module, Some(value)),
        None => (called.module, parameters.get(place).and_then(|node| node.child_by_field_name("value"))),
    };
    let Some(value) = value else { return Given::Unknown };
    match value.kind() {
        "true" => Given::Truth(true),
        "false" => Given::Truth(false),
        "identifier" => match text.attribute(value) {
            Some((name, absent)) => Given::Attribute(name.to_owned(), absent),
            None => Given::Parameter(module.slice(value).to_owned()),
        },
        _ => match text.attribute(value) {
            Some((name, absent)) => Given::Attribute(name.to_owned(), absent),
            None => Given::Unknown,
        },
    }
}

/// A rotation: `cat((-x2, x1))`, `stack((-odd, even))`, or the products written out.
fn rotation<'t>(text: &Text<'t>) -> Option<(Kind, Node<'t>)> {
    if let Some(place) = by_complex_numbers(text) {
        return Some((Kind::RopePairs, place));
    }
    text.calls.iter().find_map(|call| {
        let stacks = match text.name(*call) {
            "cat" | "concat" | "concatenate" => false,
            "stack" => true,
            _ => return None,
        };
        let list = *text.arguments(*call).0.first()?;
        let [first, second] = children(list)[..] else { return None };
        let (low, high) = turned(text, first, second)?;
        let kind = match (low, high, stacks) {
            (Part::First, Part::Second, false) => Kind::RopeHalves,
            (Part::Even, Part::Odd, true) => Kind::RopePairs,
            (Part::Even, Part::Odd, false) => Kind::RopePairsToHalves,
            _ => return None,
        };
        Some((kind, *call))
    })
}

/// The parts that two expressions turn by one another: `-b, a`, or `a·cos − b·sin, b·cos + a·sin`.
fn turned<'t>(text: &Text<'t>, first: Node<'t>, second: Node<'t>) -> Option<(Part, Part)> {
    let (first, second) = (text.resolved(first), text.resolved(second));
    let of_one = |low: (Part, &str), high: (Part, &str)| (low.1 == high.1).then_some((low.0, high.0));
    if first.kind() == "unary_operator" && text.module.slice(first).starts_with('-') {
        let high = text.part(first.child_by_field_name("argument")?)?;
        return of_one(text.part(second)?, high);
    }
    let (a, b) = text.sides(first, "-")?;
    let (c, d) = text.sides(second, "+")?;
    let single = |node: Node<'t>| match text.parts_within(node)[..] {
        [part] => Some(part),
        _ => None,
    };
    let (low, high) = (single(a)?, single(b)?);
    let others = [single(c)?, single(d)?];
    (others.contains(&low) && others.contains(&high)).then(|| of_one(low, high))?
}

/// `view_as_complex(x.reshape(…, 2)) * freqs`
fn by_complex_numbers<'t>(text: &Text<'t>) -> Option<Node<'t>> {
    let call = |name: &str| text.calls.iter().find(|call| text.name(**call) == name);
    let (place, _) = (call("view_as_complex")?, call("view_as_real")?);
    let words = text.module.whole(text.function);
    let named = ["freq", "rotary", "rope"].iter().any(|part| words.contains(part));
    named.then_some(*place)
}
