//! Which expressions give boolean arrays, and which conditions ask an array for its truth.

use tree_sitter::Node;

use super::bindings::Value;
use super::reading::Reading;

/// How deep expressions and chains of names are followed.
const DEPTH: usize = 12;
/// Steps that one question may take; beyond them the answer is no.
const FUEL: u32 = 2_000;

impl<'t> Reading<'t, '_> {
    /// Whether an index is an array of booleans: a comparison, a function that gives booleans, or what is called a mask and not
    /// known to be anything else.
    pub(super) fn is_mask(&self, node: Node<'t>) -> bool {
        self.fuel.set(FUEL);
        self.mask(node, 0)
    }

    fn is_spent(&self, depth: usize) -> bool {
        self.fuel.set(self.fuel.get().saturating_sub(1));
        depth > DEPTH || self.fuel.get() == 0 || !self.module.budget().burn(1)
    }

    fn mask(&self, node: Node<'t>, depth: usize) -> bool {
        if self.is_spent(depth) {
            return false;
        }
        let field = |name: &str| node.child_by_field_name(name);
        let of = |node: Option<Node<'t>>| node.is_some_and(|node| self.mask(node, depth + 1));
        let text = self.module.slice(node);
        match node.kind() {
            "parenthesized_expression" => of(node.named_child(0)),
            "comparison_operator" => is_ordering(self, node) && !self.names.is_host_comparison(node),
            "unary_operator" if text.starts_with('~') => of(field("argument")),
            "binary_operator"
                if field("operator").is_some_and(|it| matches!(self.module.slice(it), "&" | "|" | "^")) =>
            {
                of(field("left")) || of(field("right"))
            }
            "subscript" => of(field("value")),
            "identifier" => self.mask_by_name(text, node.start_byte(), depth),
            "attribute" => ends_as_mask(text),
            "call" => self.gives_mask(node, depth),
            _ => false,
        }
    }

    fn mask_by_name(&self, name: &str, at: usize, depth: usize) -> bool {
        let known: Vec<Option<bool>> =
            self.tensors.values(name, at).into_iter().map(|value| self.known(value, depth)).collect();
        match known.as_slice() {
            [] => false,
            known if known.contains(&Some(true)) => true,
            known => ends_as_mask(name) && known.contains(&None),
        }
    }

    /// Whether a value is a mask, where that can be known.
    fn known(&self, value: Value<'t>, depth: usize) -> Option<bool> {
        match value {
            Value::Of(node) if self.mask(node, depth + 1) => Some(true),
            Value::Of(node) => {
                let function = node.child_by_field_name("function")?;
                let name = self.full_name(function, true)?;
                // What a function of torch gives is known; a method of our own may give anything.
                let keeps = KEEPS.contains(&last(&name)) || matches!(last(&name), "to" | "pad");
                (!keeps).then_some(false)
            }
            Value::Known(_) => Some(false),
            Value::ElementOf(_) | Value::Parameter => None,
        }
    }

    fn gives_mask(&self, call: Node<'t>, depth: usize) -> bool {
        let (Some(function), Some(arguments)) =
            (call.child_by_field_name("function"), call.child_by_field_name("arguments"))
        else {
            return false;
        };
        let Some(name) = self.full_name(function, true) else { return false };
        let told = self.module.slice(arguments).contains("torch.bool");
        match last(&name) {
            "bool" => name.starts_with("x."),
            name if GIVES.contains(&name) => true,
            name if KEEPS.contains(&name) => {
                let first = if self.tensors.imported(function).is_some() {
                    arguments.named_child(0)
                } else {
                    function.child_by_field_name("object")
                };
                first.is_some_and(|first| self.mask(first, depth + 1))
            }
            _ => told,
        }
    }

    /// Whether Python asks an array for its truth here: the array itself, a comparison with one, `not`, `and`, `or`.
    pub(super) fn asks_array(&self, node: Node<'t>) -> bool {
        self.fuel.set(FUEL);
        self.asks(node, 0)
    }

    fn asks(&self, node: Node<'t>, depth: usize) -> bool {
        if self.is_spent(depth) {
            return false;
        }
        let of = |node: Option<Node<'t>>| node.is_some_and(|node| self.asks(node, depth + 1));
        match node.kind() {
            "parenthesized_expression" => of(node.named_child(0)),
            "not_operator" => of(node.child_by_field_name("argument")),
            "boolean_operator" => of(node.child_by_field_name("left")) || of(node.child_by_field_name("right")),
            "comparison_operator" => {
                is_ordering(self, node) && node.named_children(&mut node.walk()).any(|part| self.is_one_array(part))
            }
            "named_expression" => of(node.child_by_field_name("value")),
            _ => self.is_one_array(node),
        }
    }

    /// Whether an expression is certainly an array, or what a reduction gives of something that may be one.
    pub(super) fn is_one_array(&self, node: Node<'t>) -> bool {
        self.tensors.is_tensor(node) || self.reduces(node, 0)
    }

    fn reduces(&self, node: Node<'t>, depth: usize) -> bool {
        if depth > DEPTH || !self.module.budget().burn(1) {
            return false;
        }
        let inner = match node.kind() {
            "parenthesized_expression" => node.named_child(0),
            "unary_operator" => node.child_by_field_name("argument"),
            "named_expression" => node.child_by_field_name("value"),
            "binary_operator" => {
                let sides = ["left", "right"].map(|side| node.child_by_field_name(side));
                return sides.into_iter().flatten().any(|side| self.reduces(side, depth + 1));
            }
            "subscript" => node.child_by_field_name("value"),
            _ => None,
        };
        if let Some(inner) = inner {
            return self.reduces(inner, depth + 1);
        }
        let Some(function) = node.child_by_field_name("function") else { return false };
        let Some(name) = self.full_name(function, true) else { return false };
        let ours = name.starts_with("torch.") || name.starts_with("x.");
        ours && REDUCTIONS.contains(&last(&name)) && !self.names.is_host(node)
    }
}

/// A comparison of values: not `is`, not `in`.
fn is_ordering(reading: &Reading<'_, '_>, node: Node<'_>) -> bool {
    let mut cursor = node.walk();
    let mut operators = node.children_by_field_name("operators", &mut cursor);
    !operators.any(|operator| matches!(reading.module.slice(operator), "is" | "is not" | "in" | "not in"))
}

/// `mask`, `attention_mask`, `self.pad_mask`; not `mask_ids`.
fn ends_as_mask(name: &str) -> bool {
    let last = last(name).to_ascii_lowercase();
    last == "mask" || last.ends_with("_mask") || last == "keep" || last == "valid"
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Functions and methods of torch that give booleans.
const GIVES: [&str; 24] = [
    "eq",
    "ne",
    "gt",
    "lt",
    "ge",
    "le",
    "greater",
    "less",
    "greater_equal",
    "less_equal",
    "not_equal",
    "isnan",
    "isinf",
    "isfinite",
    "isclose",
    "isin",
    "isneginf",
    "isposinf",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "signbit",
    "isreal",
];
/// Those that give booleans for booleans.
const KEEPS: [&str; 24] = [
    "view",
    "reshape",
    "flatten",
    "ravel",
    "squeeze",
    "unsqueeze",
    "expand",
    "expand_as",
    "transpose",
    "permute",
    "contiguous",
    "clone",
    "detach",
    "repeat",
    "repeat_interleave",
    "flip",
    "roll",
    "cat",
    "stack",
    "tril",
    "triu",
    "any",
    "all",
    "cpu",
];
/// Those that give one array, and are asked for their truth or used as a number.
const REDUCTIONS: [&str; 22] = [
    "any",
    "all",
    "sum",
    "max",
    "min",
    "amax",
    "amin",
    "mean",
    "median",
    "prod",
    "argmax",
    "argmin",
    "isnan",
    "isinf",
    "isfinite",
    "equal",
    "allclose",
    "count_nonzero",
    "norm",
    "std",
    "var",
    "is_nonzero",
];
