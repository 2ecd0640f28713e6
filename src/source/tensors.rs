//! Which expressions of a method certainly give tensors.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use tree_sitter::Node;

use super::bindings::{Binding, Bindings, Value};
use super::names::{Attributes, Held};
use super::python::Module;
use crate::registry::ops::is_tensor_method;

/// Steps that one question may take, and how deep expressions are followed; beyond them nothing is certain.
const FUEL: u32 = 20_000;
const DEPTH: usize = 32;
/// Parts of a dotted name.
const PARTS: usize = 64;

/// Attributes of `self`, as written, that hold a layer of torch which gives one tensor.
pub(super) type Layers = HashSet<String>;

/// The names of one method.
pub(super) struct Tensors<'t, 'a> {
    module: &'t Module,
    function: Node<'t>,
    bindings: Rc<Bindings<'t>>,
    attributes: &'a Attributes,
    layers: &'a Layers,
    fuel: Cell<u32>,
    /// Answers for values that were assigned, by the id of their nodes and whether an element of them was.
    known: RefCell<HashMap<(usize, bool), bool>>,
}

/// Whether a class is a layer of torch whose result is one tensor, whatever its arguments.
pub(super) fn gives_a_tensor(class: &str) -> bool {
    let Some(name) = class.strip_prefix("torch.nn.") else { return false };
    let many = ["LSTM", "GRU", "RNN", "LSTMCell", "MultiheadAttention", "ModuleList", "ModuleDict"];
    let holder = name.starts_with("Parameter") || name.contains("functional.");
    !holder && !many.contains(&name) && !name.starts_with("FractionalMaxPool")
}

impl<'t, 'a> Tensors<'t, 'a> {
    pub(super) fn new(
        module: &'t Module,
        function: Node<'t>,
        bindings: Rc<Bindings<'t>>,
        attributes: &'a Attributes,
        layers: &'a Layers,
    ) -> Tensors<'t, 'a> {
        let (fuel, known) = (Cell::new(FUEL), RefCell::default());
        let tensors = Tensors { module, function, bindings, attributes, layers, fuel, known };
        // Answered in order, so that a long chain of assignments needs no depth.
        for binding in tensors.bindings.all() {
            tensors.fuel.set(FUEL);
            tensors.is_value_a_tensor(binding, 0);
        }
        tensors
    }

    /// Whether an expression certainly gives a tensor.
    pub(super) fn is_tensor(&self, node: Node<'t>) -> bool {
        self.fuel.set(FUEL);
        self.certain(node, node.start_byte(), 0)
    }

    /// Whether a name means something of the method and not of the file, at byte `at`.
    pub(super) fn is_bound(&self, name: &str, at: usize) -> bool {
        !self.bindings.reaching(name, at).is_empty()
    }

    /// Calls, attributes and operators of the method, in the order of the text.
    pub(super) fn operations(&self) -> &[Node<'t>] {
        self.bindings.operations()
    }

    /// The assignments of the method.
    pub(super) fn bindings(&self) -> &Bindings<'t> {
        &self.bindings
    }

    /// What a name may stand for at byte `at`.
    pub(super) fn values(&self, name: &str, at: usize) -> Vec<Value<'t>> {
        self.bindings.reaching(name, at).into_iter().map(|binding| binding.value.clone()).collect()
    }

    /// The full name of what a dotted name means, if that was imported or is torch.
    pub(super) fn imported(&self, function: Node<'t>) -> Option<String> {
        let first = self.module.slice(root_name(function)?);
        let known = first == "torch" || self.module.is_imported(first);
        (known && !self.is_bound(first, function.start_byte()))
            .then(|| self.module.resolve(self.module.slice(function)))
    }

    fn certain(&self, node: Node<'t>, at: usize, depth: usize) -> bool {
        if depth > DEPTH || self.fuel.get() == 0 || !self.module.budget().burn(1) {
            return false;
        }
        self.fuel.set(self.fuel.get() - 1);
        let of = |node: Option<Node<'t>>| node.is_some_and(|node| self.certain(node, at, depth + 1));
        let field = |name: &str| of(node.child_by_field_name(name));
        match node.kind() {
            "parenthesized_expression" => of(node.named_child(0)),
            "named_expression" => field("value"),
            "unary_operator" => field("argument"),
            "binary_operator" => field("left") || field("right"),
            // `is` and `in` give a bool.
            "comparison_operator" => {
                let mut cursor = node.walk();
                let mut operators = node.children_by_field_name("operators", &mut cursor);
                let words = operators.any(|operator| operator.kind().starts_with(char::is_alphabetic));
                !words && (of(node.named_child(0)) || of(node.named_child(1)))
            }
            "conditional_expression" => of(node.named_child(0)) && of(node.named_child(2)),
            "identifier" => self.name(self.module.slice(node), at, depth),
            "attribute" => self.attribute(node, at, depth),
            // What a call gives is worked out once: in `x.a()[0].b()[0]` each call depends on the one before.
            "subscript" => node.child_by_field_name("value").is_some_and(|value| match value.kind() {
                "call" => depth < DEPTH && self.call(value, at, depth + 1).is_some(),
                _ => self.certain(value, at, depth + 1),
            }),
            "call" => self.call(node, at, depth) == Some(Result::One),
            _ => false,
        }
    }

    /// Whether an expression certainly gives several tensors.
    fn many(&self, node: Node<'t>, at: usize, depth: usize) -> bool {
        depth <= DEPTH && node.kind() == "call" && self.call(node, at, depth) == Some(Result::Many)
    }

    fn name(&self, name: &str, at: usize, depth: usize) -> bool {
        let bindings = self.bindings.reaching(name, at);
        !bindings.is_empty() && bindings.iter().all(|binding| self.is_value_a_tensor(binding, depth + 1))
    }

    fn attribute(&self, node: Node<'t>, at: usize, depth: usize) -> bool {
        let Some(object) = node.child_by_field_name("object") else { return false };
        match node.child_by_field_name("attribute").map_or("", |name| self.module.slice(name)) {
            "T" | "mT" | "H" | "mH" | "data" | "real" | "imag" => self.certain(object, at, depth + 1),
            _ if object.kind() == "identifier" => self.attributes.get(self.module.slice(node)) == Some(&Held::Array),
            _ => false,
        }
    }

    fn call(&self, node: Node<'t>, at: usize, depth: usize) -> Option<Result> {
        let function = node.child_by_field_name("function")?;
        if let Some(name) = self.imported(function).and_then(|full| canonical(&full)) {
            return result(&name);
        }
        let (object, method) = (function.child_by_field_name("object")?, function.child_by_field_name("attribute")?);
        if object.kind() == "identifier" && self.layers.contains(self.module.slice(function)) {
            return Some(Result::One);
        }
        let method = self.module.slice(method);
        if is_tensor_method(method) && self.certain(object, at, depth + 1) { result(method) } else { None }
    }

    fn is_value_a_tensor(&self, binding: &Binding<'t>, depth: usize) -> bool {
        match &binding.value {
            Value::Of(node) => self.assigned(*node, binding.from, depth, false),
            Value::ElementOf(node) => self.assigned(*node, binding.from, depth, true),
            Value::Parameter => self.is_annotated(binding.name, binding.at),
            Value::Known(_) => false,
        }
    }

    fn assigned(&self, node: Node<'t>, at: usize, depth: usize, element: bool) -> bool {
        let key = (node.id(), element);
        if let Some(known) = self.known.borrow().get(&key) {
            return *known;
        }
        let certain = self.certain(node, at, depth) || element && self.many(node, at, depth);
        self.known.borrow_mut().insert(key, certain);
        certain
    }

    /// Whether the annotation of a parameter says that it is a tensor.
    fn is_annotated(&self, name: &str, at: usize) -> bool {
        let parameters = self.function.child_by_field_name("parameters");
        parameters.is_some_and(|parameters| at <= parameters.end_byte()) && self.bindings.is_annotated(name)
    }
}

/// What a call gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Result {
    One,
    Many,
}

/// What torch's function or method of this name gives; `None` where that depends on its arguments.
fn result(name: &str) -> Option<Result> {
    match name.rsplit('.').next().unwrap_or(name) {
        "chunk" | "split" | "tensor_split" | "split_with_sizes" | "unbind" | "meshgrid" | "topk" | "sort"
        | "hsplit" | "vsplit" | "dsplit" | "cummax" | "cummin" | "broadcast_tensors" => Some(Result::Many),
        "max"
        | "min"
        | "median"
        | "mode"
        | "unique"
        | "unique_consecutive"
        | "multi_head_attention_forward"
        | "no_grad" => None,
        _ => Some(Result::One),
    }
}

/// How the registry spells the full name of a function: `F.relu` for `torch.nn.functional.relu`. `None` for what is not an
/// op: other packages, layers, classes, questions about the state of the program.
pub(super) fn canonical(full: &str) -> Option<String> {
    if full.starts_with("einops.") {
        return Some(full.to_owned());
    }
    let rest = full.strip_prefix("torch.")?;
    let (space, name) = rest.rsplit_once('.').unwrap_or(("", rest));
    let ruled_out = name.starts_with(|first: char| first.is_uppercase() || first == '_')
        || ["is_", "are_", "get_", "set_", "manual_", "use_"].iter().any(|start| name.starts_with(start))
        || matches!(
            name,
            "device"
                | "finfo"
                | "iinfo"
                | "compile"
                | "autocast"
                | "inference_mode"
                | "enable_grad"
                | "numel"
                | "seed"
                | "initial_seed"
        );
    if ruled_out {
        return None;
    }
    match space {
        "" | "functional" => Some(format!("torch.{name}")),
        "nn.functional" => Some(format!("F.{name}")),
        "Tensor" => Some(format!("x.{name}")),
        "linalg" | "fft" | "special" => Some(full.to_owned()),
        _ => None,
    }
}

/// The name at the start of a dotted name; `None` for any other expression.
pub(super) fn root_name(mut node: Node<'_>) -> Option<Node<'_>> {
    for _ in 0..PARTS {
        if node.kind() != "attribute" {
            break;
        }
        node = node.child_by_field_name("object")?;
    }
    (node.kind() == "identifier").then_some(node)
}
