//! What the names in a function stand for: enough to tell a counter from an array, and an array from a view of one.
//!
//! This is a reading of the text in order, not an analysis of every path. Where nothing is known, a name is taken for an
//! array of its own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use tree_sitter::Node;

use super::bindings::{Binding, Bindings, Value};
use super::python::Module;

/// Steps that one question may take; beyond them the answer is [`Kind::Fresh`].
const FUEL: u32 = 20_000;
/// Steps for the kind of one expression, whose fields are looked up by name.
const KIND_STEPS: usize = 6;
/// How deep expressions and chains of names are followed.
const DEPTH: usize = 32;

/// What an expression gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number, a string, or a container of such.
    Host,
    /// A list, dict or the like, of anything.
    Collection,
    /// The very object that this name or attribute stands for.
    Same(String),
    /// An array that in torch shares memory with this name or attribute.
    View(String),
    /// Anything else: an array of its own.
    Fresh,
}

/// What the methods of a class keep in an attribute of `self`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Numbers, strings, containers.
    Host,
    /// A parameter, a buffer, or what `torch` made.
    Array,
    /// It cannot be known.
    Unknown,
}

/// By attribute as written: `self.calls`.
pub(super) type Attributes = HashMap<String, Held>;

/// What an augmented assignment does to other names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// The target is no array.
    NoArray,
    /// The target is an array, and no view is involved.
    Own,
    /// The target is a view, or another name is a view of it.
    ThroughView,
}

/// The names of one method, functions inside it included.
pub(super) struct Names<'t, 'a> {
    module: &'t Module,
    attributes: &'a Attributes,
    receiver: &'t str,
    bindings: Rc<Bindings<'t>>,
    fuel: Cell<u32>,
    /// The end of the assignment that is asked about: its own value is read before it writes.
    end: Cell<usize>,
    /// Kinds of values that were assigned, by the id of their nodes: names are asked for again and again.
    known: RefCell<HashMap<usize, Kind>>,
}

impl<'t, 'a> Names<'t, 'a> {
    pub(super) fn new(
        module: &'t Module,
        function: Node<'t>,
        bindings: Rc<Bindings<'t>>,
        attributes: &'a Attributes,
    ) -> Names<'t, 'a> {
        let receiver = module.receiver(function).unwrap_or("self");
        Names {
            module,
            attributes,
            receiver,
            bindings,
            fuel: Cell::new(FUEL),
            end: Cell::new(0),
            known: RefCell::default(),
        }
    }

    /// What the assignments to attributes of `self` in this method say of them.
    pub(super) fn attributes(&self) -> Vec<(String, Held)> {
        let own = self.bindings.all().filter(|binding| self.is_own_attribute(binding.name));
        own.map(|binding| (binding.name.to_owned(), self.held(binding))).collect()
    }

    /// What `target op= value` does.
    pub(super) fn effect(&self, target: Node<'t>, value: Node<'t>) -> Effect {
        self.fuel.set(FUEL);
        self.end.set(value.end_byte());
        let kind = self.kind(value, value.start_byte(), 0);
        if kind == Kind::Collection || is_sequence(value) {
            return Effect::NoArray;
        }
        let number = kind == Kind::Host;
        match target.kind() {
            "identifier" => self.effect_on_name(target, number),
            "attribute" => self.effect_on_attribute(target, number),
            "subscript" => self.effect_on_element(target, number),
            _ => Effect::NoArray,
        }
    }

    /// Whether an expression gives a number, a string or a container.
    pub(super) fn is_host(&self, node: Node<'t>) -> bool {
        self.fuel.set(FUEL);
        matches!(self.kind(node, node.start_byte(), 0), Kind::Host | Kind::Collection)
    }

    fn effect_on_name(&self, target: Node<'t>, number: bool) -> Effect {
        let (name, at) = (self.text(target), target.start_byte());
        let bindings = self.bindings.reaching(name, at);
        let untold = bindings.iter().all(|binding| matches!(binding.value, Value::Parameter));
        if number && untold && (bindings.is_empty() || is_counter(name)) {
            return Effect::NoArray;
        }
        let no_array = |binding: &&Binding<'t>| match self.value(binding, 0) {
            Kind::Host | Kind::Collection => true,
            Kind::Same(place) => number && self.may_be_number(&place),
            _ => false,
        };
        if !bindings.is_empty() && bindings.iter().all(no_array) {
            return Effect::NoArray;
        }
        self.effect_on_array(name, at)
    }

    /// Whether both sides of a comparison are numbers, strings or containers.
    pub(super) fn is_host_comparison(&self, node: Node<'t>) -> bool {
        self.fuel.set(FUEL);
        self.all_host(node, node.start_byte(), 0)
    }

    /// What the class keeps in an attribute of `self`.
    pub(super) fn held_by(&self, attribute: Node<'t>) -> Option<Held> {
        self.attributes.get(self.text(attribute)).copied()
    }

    fn effect_on_attribute(&self, target: Node<'t>, number: bool) -> Effect {
        let place = self.text(target);
        if self.is_own_attribute(place) {
            return match self.attributes.get(place) {
                Some(Held::Host) => Effect::NoArray,
                _ if number && self.may_be_number(place) => Effect::NoArray,
                _ => self.effect_on_array(place, target.start_byte()),
            };
        }
        match target.child_by_field_name("attribute").map_or("", |name| self.text(name)) {
            "data" => Effect::ThroughView,
            "weight" | "bias" | "grad" => Effect::Own,
            _ if number => Effect::NoArray,
            _ => self.effect_on_array(place, target.start_byte()),
        }
    }

    fn effect_on_element(&self, target: Node<'t>, number: bool) -> Effect {
        let (Some(object), Some(key)) = (target.child_by_field_name("value"), target.child_by_field_name("subscript"))
        else {
            return Effect::NoArray;
        };
        if is_sequence(key) && key.kind().ends_with("string") {
            return Effect::NoArray;
        }
        let at = target.start_byte();
        match self.kind(object, at, 0) {
            Kind::Host | Kind::Collection => Effect::NoArray,
            Kind::Same(place) | Kind::View(place) if number && self.may_be_number(&place) => Effect::NoArray,
            Kind::Same(place) if number && self.is_foreign(&place, at) => Effect::NoArray,
            Kind::Same(place) => self.effect_on_array(&place, at),
            Kind::View(_) => Effect::ThroughView,
            Kind::Fresh => Effect::Own,
        }
    }

    fn effect_on_array(&self, place: &str, at: usize) -> Effect {
        let shared = self.is_view(place, at, 0) || self.has_view(place, at);
        if shared { Effect::ThroughView } else { Effect::Own }
    }

    /// Whether what stands at `place` may be a view of what another name still stands for.
    fn is_view(&self, place: &str, at: usize, depth: usize) -> bool {
        if depth > DEPTH || !self.burn() {
            return false;
        }
        self.bindings.reaching(place, at).into_iter().any(|binding| match self.value(binding, 0) {
            Kind::View(of) if of != place => !self.bindings.rebound(&of, binding.at..at + 1),
            // `x = x.view(…)` and `w = v`: what it was before.
            Kind::View(of) | Kind::Same(of) => binding.at <= at && self.is_view(&of, binding.from, depth + 1),
            _ => false,
        })
    }

    /// Whether another name that is used later is a view of what stands at `place`.
    fn has_view(&self, place: &str, at: usize) -> bool {
        let origin = self.origin(place, at);
        let others = self.bindings.before(at).filter(|other| other.name != place);
        others.filter(|other| self.bindings.used_after(other.name, self.end.get())).any(|other| {
            let renewed = self.bindings.rebound(place, other.at..at + 1)
                || self.bindings.rebound(other.name, other.at + 1..at + 1);
            !renewed && matches!(self.value(other, 0), Kind::View(of) if self.origin(&of, other.from) == origin)
        })
    }

    /// Follow plain renaming (`out = x`) back to the first name.
    fn origin(&self, place: &str, at: usize) -> String {
        let (mut place, mut at) = (place.to_owned(), at);
        for _ in 0..DEPTH {
            let bindings = self.bindings.reaching(&place, at);
            let [binding] = bindings.as_slice() else { break };
            let Kind::Same(next) = self.value(binding, 0) else { break };
            (place, at) = (next, binding.from);
        }
        place
    }

    /// What expression `node` gives when read at byte `at`.
    fn kind(&self, node: Node<'t>, at: usize, depth: usize) -> Kind {
        if depth > DEPTH || !self.burn() {
            return Kind::Fresh;
        }
        let field = |name: &str| self.kind_of(node.child_by_field_name(name), at, depth);
        match node.kind() {
            "integer" | "float" | "string" | "concatenated_string" | "true" | "false" | "none" | "not_operator" => {
                Kind::Host
            }
            "list" | "tuple" | "set" | "expression_list" => match node.named_child_count() {
                0 => Kind::Collection,
                _ if self.all_host(node, at, depth) => Kind::Host,
                _ => Kind::Collection,
            },
            _ if is_sequence(node) || node.kind() == "lambda" => Kind::Collection,
            "parenthesized_expression" => self.kind_of(node.named_child(0), at, depth),
            "named_expression" => field("value"),
            "unary_operator" if field("argument") == Kind::Host => Kind::Host,
            "binary_operator" => match (field("left"), field("right")) {
                (Kind::Host, Kind::Host) => Kind::Host,
                (Kind::Collection, _) | (_, Kind::Collection) => Kind::Collection,
                // `[0] * n`
                _ if ["left", "right"].iter().any(|side| node.child_by_field_name(side).is_some_and(is_sequence)) => {
                    Kind::Collection
                }
                _ => Kind::Fresh,
            },
            "conditional_expression" => self.either(node, at, depth),
            "identifier" => self.name(self.text(node), at, depth),
            "attribute" => self.attribute(node, at, depth),
            "subscript" => match field("value") {
                Kind::Same(_) | Kind::View(_) if self.copies(node, at, depth) => Kind::Fresh,
                Kind::Same(place) | Kind::View(place) => Kind::View(place),
                // An element of a list is the object itself, in MLX as in torch.
                Kind::Collection => Kind::Fresh,
                other => other,
            },
            "call" => self.call(node, at, depth),
            _ => Kind::Fresh,
        }
    }

    fn kind_of(&self, node: Option<Node<'t>>, at: usize, depth: usize) -> Kind {
        node.map_or(Kind::Fresh, |node| self.kind(node, at, depth + 1))
    }

    /// Whether an element is taken by an array or a list, which copies in torch too.
    fn copies(&self, subscript: Node<'t>, at: usize, depth: usize) -> bool {
        let mut cursor = subscript.walk();
        subscript.children_by_field_name("subscript", &mut cursor).any(|index| self.picks(index, at, depth))
    }

    /// Whether an index certainly is an array or a list.
    fn picks(&self, index: Node<'t>, at: usize, depth: usize) -> bool {
        match index.kind() {
            "list" | "list_comprehension" => true,
            "comparison_operator" => !self.all_host(index, at, depth),
            "unary_operator" => self.text(index).starts_with('~'),
            "call" => self.kind_of(Some(index), at, depth) == Kind::Fresh && self.is_array_call(index),
            "identifier" => {
                let bindings = self.bindings.reaching(self.text(index), at);
                let array = |value: &Value<'t>| match value {
                    Value::Of(node) => depth < DEPTH && self.picks(*node, node.start_byte(), depth + 1),
                    _ => false,
                };
                !bindings.is_empty() && bindings.iter().all(|binding| array(&binding.value))
            }
            _ => false,
        }
    }

    /// A function of torch, or a method that gives indices or booleans.
    fn is_array_call(&self, call: Node<'t>) -> bool {
        let Some(function) = call.child_by_field_name("function") else { return false };
        let name = function.child_by_field_name("attribute").map_or("", |name| self.text(name));
        self.module.resolve(self.text(function)).starts_with("torch.")
            || matches!(name, "nonzero" | "long" | "argmax" | "argmin" | "argsort" | "bool" | "flatten" | "randperm")
    }

    /// `a if condition else b`
    fn either(&self, node: Node<'t>, at: usize, depth: usize) -> Kind {
        match (self.kind_of(node.named_child(0), at, depth), self.kind_of(node.named_child(2), at, depth)) {
            (a, b) if a == b => a,
            (Kind::View(place), _) | (_, Kind::View(place)) => Kind::View(place),
            (Kind::Same(place), _) | (_, Kind::Same(place)) => Kind::Same(place),
            _ => Kind::Fresh,
        }
    }

    fn name(&self, name: &str, at: usize, depth: usize) -> Kind {
        let bindings = self.bindings.reaching(name, at);
        let kinds: Vec<Kind> = bindings.iter().map(|binding| self.value(binding, depth + 1)).collect();
        match kinds.as_slice() {
            [] => Kind::Same(name.to_owned()),
            kinds if kinds.iter().all(|kind| *kind == Kind::Host) => Kind::Host,
            kinds if kinds.iter().all(|kind| matches!(kind, Kind::Host | Kind::Collection)) => Kind::Collection,
            _ => Kind::Same(name.to_owned()),
        }
    }

    fn attribute(&self, node: Node<'t>, at: usize, depth: usize) -> Kind {
        let place = self.text(node);
        match node.child_by_field_name("attribute").map_or("", |name| self.text(name)) {
            "shape" | "ndim" | "itemsize" | "nbytes" => Kind::Host,
            "data" | "T" | "mT" | "H" | "mH" | "real" | "imag" => {
                self.view_of(node.child_by_field_name("object"), at, depth)
            }
            _ if self.attributes.get(place) == Some(&Held::Host) => Kind::Host,
            _ => Kind::Same(place.to_owned()),
        }
    }

    fn call(&self, node: Node<'t>, at: usize, depth: usize) -> Kind {
        let (function, arguments) = (node.child_by_field_name("function"), node.child_by_field_name("arguments"));
        let (Some(function), Some(arguments)) = (function, arguments) else { return Kind::Fresh };
        if function.kind() != "attribute" {
            return match self.text(function) {
                "abs" | "max" | "min" | "sum" if self.all_host(arguments, at, depth) => Kind::Host,
                name if is_host_function(name) => Kind::Host,
                name if is_container_function(name) => Kind::Collection,
                _ => Kind::Fresh,
            };
        }
        let object = function.child_by_field_name("object");
        let method = function.child_by_field_name("attribute").map_or("", |name| self.text(name));
        let library = object.map_or(String::new(), |object| self.module.resolve(self.text(object)));
        if is_host_library(library.split('.').next().unwrap_or_default()) {
            return Kind::Host;
        }
        match object.map_or("", |object| self.text(object)) {
            "torch" | "F" if is_view_method(method) => self.view_of(arguments.named_child(0), at, depth),
            "torch" | "F" => Kind::Fresh,
            _ if is_host_method(method) => Kind::Host,
            _ if is_view_method(method) => self.view_of(object, at, depth),
            // Asked once: of a chain of calls each asks about the one before.
            _ => match self.kind_of(object, at, depth) {
                // A number's method gives one, and an array's of NumPy another.
                Kind::Host => Kind::Host,
                Kind::Collection if matches!(method, "keys" | "values" | "items" | "copy") => Kind::Collection,
                _ => Kind::Fresh,
            },
        }
    }

    fn view_of(&self, object: Option<Node<'t>>, at: usize, depth: usize) -> Kind {
        match self.kind_of(object, at, depth) {
            Kind::Same(place) => Kind::View(place),
            other => other,
        }
    }

    fn all_host(&self, node: Node<'t>, at: usize, depth: usize) -> bool {
        let mut cursor = node.walk();
        let mut children = node.named_children(&mut cursor).filter(|child| !child.is_extra());
        children.all(|child| self.kind(child, at, depth + 1) == Kind::Host)
    }

    fn value(&self, binding: &Binding<'t>, depth: usize) -> Kind {
        match &binding.value {
            Value::Of(node) => self.assigned(*node, binding.from, depth),
            Value::ElementOf(node) => match self.assigned(*node, binding.from, depth) {
                Kind::Same(_) | Kind::Collection => Kind::Fresh,
                other => other,
            },
            Value::Known(kind) => kind.clone(),
            Value::Parameter => Kind::Fresh,
        }
    }

    fn assigned(&self, node: Node<'t>, at: usize, depth: usize) -> Kind {
        if let Some(kind) = self.known.borrow().get(&node.id()) {
            return kind.clone();
        }
        let kind = self.kind(node, at, depth);
        self.known.borrow_mut().insert(node.id(), kind.clone());
        kind
    }

    fn held(&self, binding: &Binding<'t>) -> Held {
        self.fuel.set(FUEL);
        match (self.value(binding, 0), &binding.value) {
            (Kind::Host | Kind::Collection, _) => Held::Host,
            (_, Value::Of(node)) if self.is_made_by_torch(*node) => Held::Array,
            _ => Held::Unknown,
        }
    }

    /// `torch.zeros(…)`, `nn.Parameter(…)`; not `nn.Linear(…)`.
    fn is_made_by_torch(&self, node: Node<'t>) -> bool {
        let Some(function) = node.child_by_field_name("function") else { return false };
        let name = self.module.resolve(self.text(function));
        let other =
            ["torch.nn.", "torch.cuda.", "torch.Generator", "torch.device", "torch.seed", "torch.ops.", "torch.Size"];
        name.ends_with("Parameter") || name.starts_with("torch.") && !other.iter().any(|other| name.starts_with(other))
    }

    fn is_own_attribute(&self, place: &str) -> bool {
        let name = place.strip_prefix(self.receiver).and_then(|rest| rest.strip_prefix('.'));
        name.is_some_and(|name| !name.contains('.'))
    }

    /// An attribute of which nothing says that it is an array.
    fn may_be_number(&self, place: &str) -> bool {
        self.is_own_attribute(place) && self.attributes.get(place) != Some(&Held::Array)
    }

    /// A name from outside of the method.
    fn is_foreign(&self, place: &str, at: usize) -> bool {
        !place.contains('.') && self.bindings.reaching(place, at).is_empty()
    }

    fn burn(&self) -> bool {
        self.fuel.set(self.fuel.get().saturating_sub(1));
        self.module.budget().burn(KIND_STEPS) && self.fuel.get() > 0
    }

    fn text(&self, node: Node<'t>) -> &'t str {
        self.module.slice(node)
    }
}

/// Written out as a string or a container.
fn is_sequence(node: Node<'_>) -> bool {
    matches!(
        node.kind(),
        "string"
            | "concatenated_string"
            | "list"
            | "tuple"
            | "set"
            | "dictionary"
            | "list_comprehension"
            | "set_comprehension"
            | "dictionary_comprehension"
            | "generator_expression"
    )
}

/// Parameters that by custom hold a number when one is added to them.
fn is_counter(name: &str) -> bool {
    matches!(name, "i" | "j" | "k" | "n" | "idx" | "index" | "count" | "counter" | "step" | "total")
}

/// Modules whose functions give numbers, strings and arrays of NumPy.
fn is_host_library(name: &str) -> bool {
    matches!(name, "math" | "time" | "os" | "random" | "numpy" | "np" | "scipy" | "PIL" | "cv2" | "logging" | "json")
}

fn is_host_function(name: &str) -> bool {
    matches!(name, "len" | "int" | "float" | "str" | "bool" | "round" | "ord" | "hash" | "id" | "range" | "isinstance")
}

fn is_container_function(name: &str) -> bool {
    matches!(
        name,
        "list"
            | "dict"
            | "set"
            | "tuple"
            | "sorted"
            | "zip"
            | "map"
            | "filter"
            | "reversed"
            | "enumerate"
            | "defaultdict"
            | "Counter"
            | "OrderedDict"
    )
}

/// Methods of a tensor that give Python numbers.
fn is_host_method(name: &str) -> bool {
    matches!(
        name,
        "item"
            | "size"
            | "dim"
            | "ndimension"
            | "numel"
            | "nelement"
            | "stride"
            | "element_size"
            | "storage_offset"
            | "tolist"
    )
}

/// Methods and functions of torch whose result shares, or may share, memory with their first argument. MLX gives a new array
/// for each (measured with 0.32.2: adding to the result leaves the argument as it was).
fn is_view_method(name: &str) -> bool {
    matches!(
        name,
        "view"
            | "view_as"
            | "reshape"
            | "reshape_as"
            | "flatten"
            | "unflatten"
            | "ravel"
            | "squeeze"
            | "unsqueeze"
            | "expand"
            | "expand_as"
            | "transpose"
            | "permute"
            | "t"
            | "swapaxes"
            | "swapdims"
            | "movedim"
            | "moveaxis"
            | "narrow"
            | "select"
            | "diagonal"
            | "unfold"
            | "as_strided"
            | "chunk"
            | "split"
            | "tensor_split"
            | "unbind"
            | "detach"
            | "contiguous"
            | "to"
            | "float"
            | "type_as"
    )
}
