//! Expressions of one function: what its names stand for, and which part of a tensor one is.

use std::collections::HashMap;

use tree_sitter::Node;

use crate::source::evaluate::children;
use crate::source::literals::plain_string;
use crate::source::python::Module;

/// Expressions that are followed from one to the next.
pub(in crate::source) const DEPTH: usize = 12;

/// Which part of its last axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Part {
    First,
    Second,
    Even,
    Odd,
}

/// What a name was set to.
#[derive(Debug, Clone, Copy)]
pub(in crate::source) enum Origin<'t> {
    Whole(Node<'t>),
    /// The number of the element, and of how many.
    Element(Node<'t>, usize, usize),
}

/// One function.
pub(in crate::source) struct Text<'t> {
    pub module: &'t Module,
    pub function: Node<'t>,
    pub receiver: &'t str,
    /// By name, with the byte from which it holds, in order.
    pub origins: HashMap<&'t str, Vec<(usize, Origin<'t>)>>,
    pub calls: Vec<Node<'t>>,
    pub products: Vec<Node<'t>>,
    pub numbers: Vec<(f64, Node<'t>)>,
}

impl<'t> Text<'t> {
    pub(in crate::source) fn of(module: &'t Module, function: Node<'t>, receiver: &'t str) -> Text<'t> {
        let mut text = Text {
            module,
            function,
            receiver,
            origins: HashMap::new(),
            calls: Vec::new(),
            products: Vec::new(),
            numbers: Vec::new(),
        };
        module.preorder(function, |node, _| {
            match node.kind() {
                "assignment" => text.assign(node),
                "call" => text.calls.push(node),
                "binary_operator" => text.products.push(node),
                "float" => text.numbers.extend(module.slice(node).parse().ok().map(|number| (number, node))),
                _ => {}
            }
            true
        });
        text
    }

    fn assign(&mut self, node: Node<'t>) {
        let (Some(left), Some(right)) = (node.child_by_field_name("left"), node.child_by_field_name("right")) else {
            return;
        };
        let end = node.end_byte();
        let mut set = |name: Node<'t>, origin| {
            if matches!(name.kind(), "identifier" | "attribute") {
                self.origins.entry(self.module.slice(name)).or_default().push((end, origin));
            }
        };
        match left.kind() {
            "pattern_list" | "tuple_pattern" => {
                let names = children(left);
                let values =
                    if matches!(right.kind(), "expression_list" | "tuple") { children(right) } else { Vec::new() };
                for (at, name) in names.iter().enumerate() {
                    let each = values.get(at).filter(|_| values.len() == names.len());
                    set(*name, each.map_or(Origin::Element(right, at, names.len()), |value| Origin::Whole(*value)));
                }
            }
            _ => set(left, Origin::Whole(right)),
        }
    }

    pub(in crate::source) fn origin(&self, name: Node<'t>) -> Option<Origin<'t>> {
        let known = self.origins.get(self.module.slice(name))?;
        known.iter().rev().find(|(from, _)| *from <= name.start_byte()).map(|(_, origin)| *origin)
    }

    /// What an expression is made of, through names that stand for it, and casts.
    pub(in crate::source) fn resolved(&self, node: Node<'t>) -> Node<'t> {
        let mut node = node;
        for _ in 0..DEPTH {
            node = match node.kind() {
                "parenthesized_expression" => match node.named_child(0) {
                    Some(inner) => inner,
                    None => break,
                },
                "identifier" => match self.origin(node) {
                    Some(Origin::Whole(value)) => value,
                    _ => break,
                },
                "call" => match self.cast(node) {
                    Some(inner) => inner,
                    None => break,
                },
                _ => break,
            };
        }
        node
    }

    /// The tensor that a call only casts.
    fn cast(&self, call: Node<'t>) -> Option<Node<'t>> {
        let method = self.method(call)?;
        matches!(method, "float" | "to" | "type" | "type_as" | "contiguous" | "clone" | "half" | "clamp" | "clip")
            .then(|| self.object(call))
            .flatten()
    }

    /// Last part of what is called: `softmax` of `nn.functional.softmax` and of `x.softmax`.
    pub(in crate::source) fn name(&self, call: Node<'t>) -> &'t str {
        let function = call.child_by_field_name("function").filter(|_| call.kind() == "call");
        let last = function.map(|function| function.child_by_field_name("attribute").unwrap_or(function));
        last.filter(|last| last.kind() == "identifier").map_or("", |last| self.module.slice(last))
    }

    /// Name of a method that is called on a value, of which the first part is no module of torch.
    pub(in crate::source) fn method(&self, call: Node<'t>) -> Option<&'t str> {
        let object = self.object(call)?;
        let root = self.module.slice(object).split(['.', '(', '[']).next().unwrap_or("");
        let torchs = object.kind() != "call" && (root == "torch" || self.module.is_imported(root));
        (!torchs).then(|| self.name(call))
    }

    pub(in crate::source) fn object(&self, call: Node<'t>) -> Option<Node<'t>> {
        call.child_by_field_name("function").filter(|_| call.kind() == "call")?.child_by_field_name("object")
    }

    /// Arguments by place, what a method is called on first; and those by name.
    pub(in crate::source) fn arguments(&self, call: Node<'t>) -> (Vec<Node<'t>>, Vec<(&'t str, Node<'t>)>) {
        let (mut positional, mut named) = (Vec::new(), Vec::new());
        if self.method(call).is_some() {
            positional.extend(self.object(call));
        }
        for part in call.child_by_field_name("arguments").map(children).unwrap_or_default() {
            match (part.kind(), part.child_by_field_name("name"), part.child_by_field_name("value")) {
                ("keyword_argument", Some(name), Some(value)) => named.push((self.module.slice(name), value)),
                _ => positional.push(part),
            }
        }
        (positional, named)
    }

    /// Whether a node, or something in it, is a call of one of these names.
    pub(in crate::source) fn holds_call(&self, node: Node<'t>, names: &[&str]) -> bool {
        let mut found = false;
        self.module.preorder(node, |node, _| {
            found |= node.kind() == "call" && names.contains(&self.name(node));
            !found
        });
        found
    }

    pub(in crate::source) fn operator(&self, node: Node<'t>) -> &'t str {
        let operator = node.child_by_field_name("operator").filter(|_| node.kind() == "binary_operator");
        operator.map_or("", |operator| self.module.slice(operator))
    }

    pub(in crate::source) fn sides(&self, node: Node<'t>, operator: &str) -> Option<(Node<'t>, Node<'t>)> {
        (self.operator(node) == operator).then_some(())?;
        Some((node.child_by_field_name("left")?, node.child_by_field_name("right")?))
    }

    /// Which part of which tensor an expression is.
    pub(in crate::source) fn part(&self, node: Node<'t>) -> Option<(Part, &'t str)> {
        let mut node = node;
        for _ in 0..DEPTH {
            match node.kind() {
                "parenthesized_expression" => node = node.named_child(0)?,
                "identifier" => match self.origin(node)? {
                    Origin::Whole(value) => node = value,
                    Origin::Element(value, at, 2) => return self.element(value, at),
                    Origin::Element(..) => return None,
                },
                "call" => node = self.cast(node)?,
                "subscript" => return self.slice(node),
                _ => return None,
            }
        }
        None
    }

    fn element(&self, value: Node<'t>, at: usize) -> Option<(Part, &'t str)> {
        let (arguments, _) = self.arguments(value);
        let of = self.module.slice(*arguments.first()?);
        match self.name(value) {
            "chunk" | "split" | "tensor_split" | "hsplit" => {
                Some((if at == 0 { Part::First } else { Part::Second }, of))
            }
            // `x.reshape(…, 2).unbind(-1)`
            "unbind" if self.ends_in_pairs(*arguments.first()?) => {
                Some((if at == 0 { Part::Even } else { Part::Odd }, of))
            }
            _ => None,
        }
    }

    /// Whether an expression is reshaped to a last axis of two.
    fn ends_in_pairs(&self, node: Node<'t>) -> bool {
        let node = self.resolved(node);
        let (arguments, _) = self.arguments(node);
        matches!(self.name(node), "reshape" | "view" | "unflatten")
            && arguments.last().is_some_and(|last| self.module.slice(*last).trim_end_matches([')', ']']).ends_with('2'))
    }

    fn slice(&self, subscript: Node<'t>) -> Option<(Part, &'t str)> {
        let value = subscript.child_by_field_name("value")?;
        let mut cursor = subscript.walk();
        let last = subscript.children_by_field_name("subscript", &mut cursor).last()?;
        let text: String = self.module.slice(last).chars().filter(|letter| !letter.is_whitespace()).collect();
        let of = self.module.slice(value);
        let part = match text.as_str() {
            "::2" | "0::2" => Part::Even,
            "1::2" => Part::Odd,
            "0" if self.ends_in_pairs(value) => Part::Even,
            "1" if self.ends_in_pairs(value) => Part::Odd,
            text if last.kind() != "slice" || text.matches(':').count() != 1 || text == ":" => return None,
            text if text.starts_with(':') => Part::First,
            text if text.ends_with(':') => Part::Second,
            _ => return None,
        };
        Some((part, of))
    }

    /// The parts that an expression mentions.
    pub(in crate::source) fn parts_within(&self, node: Node<'t>) -> Vec<(Part, &'t str)> {
        let (mut found, mut waiting, mut steps) = (Vec::new(), vec![node], 0);
        while let Some(node) = waiting.pop().filter(|_| steps < 64) {
            steps += 1;
            match self.part(node) {
                Some(part) => found.push(part),
                None if matches!(node.kind(), "binary_operator" | "parenthesized_expression" | "unary_operator") => {
                    waiting.extend(children(node));
                }
                None => {}
            }
        }
        found
    }

    /// An attribute of `self`: `self.name`, `getattr(self, "name", False)` with that default; also by another name.
    pub(in crate::source) fn attribute(&self, node: Node<'t>) -> Option<(&'t str, Option<bool>)> {
        let node = self.resolved(node);
        if self.receiver.is_empty() {
            return None;
        }
        if self.name(node) == "getattr" {
            let (arguments, _) = self.arguments(node);
            let [object, name, default] = arguments.as_slice() else { return None };
            let own = self.module.slice(*object) == self.receiver;
            let absent = match default.kind() {
                "true" => Some(true),
                "false" | "none" => Some(false),
                _ => None,
            };
            return own.then(|| plain_string(self.module, *name)).flatten().map(|name| (name, absent));
        }
        let name = self.module.slice(node).strip_prefix(self.receiver)?.strip_prefix('.')?;
        (node.kind() == "attribute" && !name.contains('.')).then_some((name, None))
    }
}
