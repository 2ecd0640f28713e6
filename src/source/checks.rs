//! What must hold of a match beyond its syntax.

use std::cell::OnceCell;

use globset::GlobSet;
use tree_sitter::Node;

use super::autograd;
use super::names::{Effect, Held};
use super::reach::{Lineage, Member};
use super::reading::Reading;
use super::surroundings::Surroundings;
use super::tensors::Layers;
use crate::registry::blockers::{Check, Grade, Pattern};
use crate::registry::ops::is_tensor_method;

/// Calls within one another that are followed.
const NESTED: usize = 16;

/// What a query captured.
pub(super) struct Found<'t> {
    pub blocker: Node<'t>,
    pub name: Option<Node<'t>>,
    pub target: Option<Node<'t>>,
    pub value: Option<Node<'t>>,
    /// What [`Context::full_name`] found out: several patterns ask for it.
    pub full: OnceCell<Option<String>>,
}

/// What a match is judged by.
pub(super) struct Context<'t, 'a> {
    pub lineage: &'a Lineage<'t>,
    pub reading: &'a Reading<'t, 'a>,
    /// Attributes that hold a layer which overwrites its input.
    pub overwriting: &'a Layers,
}

impl<'t> Context<'t, '_> {
    /// The node to report and what it means, if the match counts.
    pub(super) fn judge(
        &self,
        pattern: &'static Pattern,
        calls: &GlobSet,
        found: &Found<'t>,
    ) -> Option<(Node<'t>, &'static Grade)> {
        let whole = |holds: bool| holds.then_some((found.blocker, &pattern.grade));
        let view = || pattern.view.as_ref().unwrap_or(&pattern.grade);
        match pattern.check {
            Check::None => whole(true),
            Check::Method => whole(self.is_tensors_method(found)),
            Check::Call => whole(self.is_called(calls, found)),
            Check::Training => whole(self.is_called(calls, found) && self.is_always_training(found.blocker)),
            Check::Autograd => {
                let owner = self.lineage.members.get(self.reading.reached.owner)?;
                whole(is_autograd(owner, found.name?))
            }
            Check::Array => match self.reading.names.effect(found.target?, found.value?) {
                Effect::NoArray => None,
                Effect::Own if self.is_state(found.target?) => None,
                Effect::Own => whole(true),
                Effect::ThroughView => Some((found.blocker, view())),
            },
            Check::View => {
                let effect = self.reading.names.effect(found.target?, found.value?);
                whole(effect == Effect::ThroughView)
            }
            Check::State => {
                let keeps = found.value.is_some_and(|value| self.reading.tensors.is_tensor(value));
                let target = found.target?;
                whole(self.is_state(target) || keeps && self.is_own(target))
            }
            Check::Truth => whole(self.reading.asks_array(found.value?)),
            Check::Number => whole(self.is_number_of_array(found.value?)),
            Check::Mask => whole(self.indexes_by_mask(found.blocker, found.value?)),
            Check::Condition => {
                let text = self.reading.module.slice(found.name?);
                let foreign = text == "is_available" && !self.is_called(calls, found);
                let condition = self.surroundings().condition(found.blocker).filter(|_| !foreign)?;
                Some((condition, &pattern.grade))
            }
            Check::Inplace => {
                self.overwrites(found.blocker).map(|again| (found.blocker, if again { view() } else { &pattern.grade }))
            }
            Check::Kernel => whole(self.is_kernel(found.name?)),
        }
    }

    /// A method that tensors have, of what may be one. `self.item()` may be a method that the class itself defines: that one is
    /// read in its own place.
    fn is_tensors_method(&self, found: &Found<'t>) -> bool {
        let Some(name) = found.name.map(|name| self.reading.module.slice(name)) else { return false };
        let known =
            is_tensor_method(name) || matches!(name, "item" | "tolist" | "numpy") || ONLY_IN_PLACE.contains(&name);
        let object = found.blocker.child_by_field_name("function").and_then(|it| it.child_by_field_name("object"));
        // A number that was made an array here is read inside of mx.compile as well.
        let reads = matches!(name, "item" | "tolist");
        let counts =
            |object: Node<'t>| !(self.reading.is_no_tensor(object) || reads && self.is_made_of_numbers(object, 0));
        known && object.is_some_and(counts)
    }

    /// `torch.tensor(scale).log2().round()`: an array that nothing but Python's numbers went into.
    fn is_made_of_numbers(&self, node: Node<'t>, depth: usize) -> bool {
        let reading = self.reading;
        if depth > NESTED || !reading.module.budget().burn(1) {
            return false;
        }
        match node.kind() {
            "integer" | "float" => return depth > 0,
            "parenthesized_expression" => {
                return node.named_child(0).is_some_and(|inner| self.is_made_of_numbers(inner, depth + 1));
            }
            "unary_operator" => {
                let inner = node.child_by_field_name("argument");
                return inner.is_some_and(|inner| self.is_made_of_numbers(inner, depth + 1));
            }
            "call" => {}
            _ => return false,
        }
        let (Some(function), Some(list)) =
            (node.child_by_field_name("function"), node.child_by_field_name("arguments"))
        else {
            return false;
        };
        let mut cursor = list.walk();
        let mut given = list.named_children(&mut cursor).filter(|it| !it.is_extra() && it.kind() != "keyword_argument");
        match reading.tensors.imported(function) {
            // What is called may give a tensor; a tensor by its name is no argument that torch.tensor takes without a warning.
            Some(full) if full == "torch.tensor" => given.all(|data| {
                let plain = !matches!(data.kind(), "call" | "binary_operator");
                reading.names.is_host(data) || plain && !reading.tensors.is_tensor(data)
            }),
            Some(full) if full.starts_with("torch.") => given.all(|given| self.is_made_of_numbers(given, depth + 1)),
            Some(_) => false,
            None => {
                let object = function.child_by_field_name("object");
                object.is_some_and(|object| self.is_made_of_numbers(object, depth + 1))
                    && given.all(|given| self.is_made_of_numbers(given, depth + 1))
            }
        }
    }

    fn is_called(&self, calls: &GlobSet, found: &Found<'t>) -> bool {
        self.full_name(found).is_some_and(|name| calls.is_match(name))
    }

    /// The full name of what is called; `x.double` without a call may be an attribute of anything.
    fn full_name<'f>(&self, found: &'f Found<'t>) -> Option<&'f str> {
        let name = found.full.get_or_init(|| {
            let called = found.blocker.kind() == "call";
            let written = if called { found.blocker.child_by_field_name("function") } else { Some(found.blocker) };
            self.reading.full_name(written?, called)
        });
        name.as_deref()
    }

    /// `F.dropout(x, p)`, `F.dropout(x, training=True)`
    fn is_always_training(&self, call: Node<'t>) -> bool {
        let Some(arguments) = call.child_by_field_name("arguments") else { return false };
        let mut cursor = arguments.walk();
        let given: Vec<Node<'t>> = arguments.named_children(&mut cursor).filter(|it| !it.is_extra()).collect();
        let named =
            given.iter().find(|it| self.keyword(**it) == "training").and_then(|it| it.child_by_field_name("value"));
        let positional = given.iter().filter(|it| it.kind() != "keyword_argument").nth(2).copied();
        let splat = given.iter().any(|it| it.kind().ends_with("splat"));
        match named.or(positional) {
            Some(value) => value.kind() == "true",
            None => !splat,
        }
    }

    fn keyword(&self, argument: Node<'t>) -> &'t str {
        argument.child_by_field_name("name").map_or("", |name| self.reading.module.slice(name))
    }

    /// `self.name`, or an element of it.
    fn is_own(&self, target: Node<'t>) -> bool {
        let object = target.child_by_field_name("object");
        object.is_some_and(|object| self.reading.module.slice(object) == self.reading.receiver)
    }

    /// An attribute that holds an array, or a part of it.
    fn is_state(&self, target: Node<'t>) -> bool {
        let mut target = target;
        while target.kind() == "subscript" {
            let Some(value) = target.child_by_field_name("value") else { return false };
            target = value;
        }
        self.is_own(target) && self.reading.names.held_by(target) == Some(Held::Array)
    }

    /// An index that is a mask, where MLX refuses one: in what is read, and in what is written behind another index.
    fn indexes_by_mask(&self, subscript: Node<'t>, index: Node<'t>) -> bool {
        let Some(object) = subscript.child_by_field_name("value") else { return false };
        let first = subscript.child_by_field_name("subscript").is_some_and(|first| first.id() == index.id());
        let written = self.surroundings().assignment_to(subscript).is_some();
        let refused = !written || !first;
        refused && !self.reading.is_no_tensor(object) && self.reading.is_mask(index)
    }

    /// `int(x.max())`; not `int(x.shape[0])`, not `float("inf")`.
    fn is_number_of_array(&self, value: Node<'t>) -> bool {
        !self.reading.names.is_host(value) && self.reading.is_one_array(value) && !self.is_made_of_numbers(value, 0)
    }

    /// Whether a call overwrites its argument, and if so whether that is used again under its name.
    fn overwrites(&self, call: Node<'t>) -> Option<bool> {
        let module = self.reading.module;
        let (function, arguments) = (call.child_by_field_name("function")?, call.child_by_field_name("arguments")?);
        let mut cursor = arguments.walk();
        let told = arguments.named_children(&mut cursor).any(|argument| {
            let value = argument.child_by_field_name("value");
            self.keyword(argument) == "inplace" && value.is_some_and(|value| value.kind() == "true")
        });
        let told =
            told && self.reading.full_name(function, true).is_some_and(|name| name.starts_with("torch.nn.functional."));
        let layer = self.overwriting.contains(module.slice(function));
        let input = arguments.named_child(0)?;
        let again = input.kind() == "identifier" && self.is_used_again(module.slice(input), call);
        (told || layer && again).then_some(again)
    }

    /// Whether a name is read after a call before it gets another value, or the call's result is what it gets.
    fn is_used_again(&self, name: &str, call: Node<'t>) -> bool {
        let module = self.reading.module;
        let assignment = self.surroundings().assignment_around(call);
        let left = assignment.and_then(|it| it.child_by_field_name("left"));
        if left.is_some_and(|left| module.slice(left) == name) {
            return false;
        }
        let bindings = self.reading.tensors.bindings();
        let Some(first) = bindings.mentioned_from(name, call.end_byte()) else { return false };
        match self.surroundings().assignment_to(first) {
            Some(assignment) => assignment.child_by_field_name("right").is_some_and(|right| {
                let again = bindings.mentioned_from(name, right.start_byte());
                again.is_some_and(|again| again.start_byte() < right.end_byte())
            }),
            None => true,
        }
    }

    fn surroundings(&self) -> &Surroundings<'t> {
        self.reading.tensors.bindings().surroundings()
    }

    /// A function of the file that Triton compiles.
    fn is_kernel(&self, name: Node<'t>) -> bool {
        let module = self.reading.module;
        let decorated = module.function(module.slice(name)).and_then(|function| function.node.parent());
        let decorated = decorated.filter(|parent| parent.kind() == "decorated_definition");
        decorated.is_some_and(|parent| {
            let mut cursor = parent.walk();
            parent.named_children(&mut cursor).any(|it| {
                module.budget().burn(1);
                it.kind() == "decorator" && module.slice(it).contains("triton")
            })
        })
    }
}

/// Whether a name or attribute, as written in a class, stands for a `torch.autograd.Function` or its `apply`.
fn is_autograd(owner: &Member<'_>, name: Node<'_>) -> bool {
    let module = owner.module;
    let written = module.slice(name);
    let bare = written.strip_suffix(".apply").unwrap_or(written);
    let known = module.autograd_names();
    let inside = bare.split_once('.').map(|(_, rest)| format!("{}.{rest}", owner.class.name));
    autograd::is_function(&module.resolve(bare))
        || known.contains(written)
        || known.contains(bare)
        || inside.is_some_and(|nested| known.contains(&nested))
}

/// Methods that write into the tensor and have no twin that gives a new one.
const ONLY_IN_PLACE: [&str; 6] = ["map_", "map2_", "resize_", "resize_as_", "set_", "share_memory_"];
