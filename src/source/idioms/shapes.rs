//! Expressions of one function: what its names stand for, which part of a tensor one is, and idioms within the function alone.

use std::collections::HashMap;

use tree_sitter::Node;

use super::{Asked, Choice};
use crate::registry::idioms::Kind;
use crate::source::evaluate::children;
use crate::source::literals::plain_string;
use crate::source::python::Module;

/// Expressions that are followed from one to the next.
const DEPTH: usize = 12;

/// Which part of its last axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    First,
    Second,
    Even,
    Odd,
}

/// What a name was set to.
#[derive(Debug, Clone, Copy)]
enum Origin<'t> {
    Whole(Node<'t>),
    /// The number of the element, and of how many.
    Element(Node<'t>, usize, usize),
}

/// One function.
pub(super) struct Text<'t> {
    pub module: &'t Module,
    pub function: Node<'t>,
    pub receiver: &'t str,
    /// By name, with the byte from which it holds, in order.
    origins: HashMap<&'t str, Vec<(usize, Origin<'t>)>>,
    pub calls: Vec<Node<'t>>,
    products: Vec<Node<'t>>,
    numbers: Vec<(f64, Node<'t>)>,
}

impl<'t> Text<'t> {
    pub(super) fn of(module: &'t Module, function: Node<'t>, receiver: &'t str) -> Text<'t> {
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

    fn origin(&self, name: Node<'t>) -> Option<Origin<'t>> {
        let known = self.origins.get(self.module.slice(name))?;
        known.iter().rev().find(|(from, _)| *from <= name.start_byte()).map(|(_, origin)| *origin)
    }

    /// What an expression is made of, through names that stand for it, and casts.
    pub(super) fn resolved(&self, node: Node<'t>) -> Node<'t> {
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
    pub(super) fn name(&self, call: Node<'t>) -> &'t str {
        let function = call.child_by_field_name("function").filter(|_| call.kind() == "call");
        let last = function.map(|function| function.child_by_field_name("attribute").unwrap_or(function));
        last.filter(|last| last.kind() == "identifier").map_or("", |last| self.module.slice(last))
    }

    /// Name of a method that is called on a value, of which the first part is no module of torch.
    fn method(&self, call: Node<'t>) -> Option<&'t str> {
        let object = self.object(call)?;
        let root = self.module.slice(object).split(['.', '(', '[']).next().unwrap_or("");
        let torchs = object.kind() != "call" && (root == "torch" || self.module.is_imported(root));
        (!torchs).then(|| self.name(call))
    }

    fn object(&self, call: Node<'t>) -> Option<Node<'t>> {
        call.child_by_field_name("function").filter(|_| call.kind() == "call")?.child_by_field_name("object")
    }

    /// Arguments by place, what a method is called on first; and those by name.
    pub(super) fn arguments(&self, call: Node<'t>) -> (Vec<Node<'t>>, Vec<(&'t str, Node<'t>)>) {
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
    fn holds_call(&self, node: Node<'t>, names: &[&str]) -> bool {
        let mut found = false;
        self.module.preorder(node, |node, _| {
            found |= node.kind() == "call" && names.contains(&self.name(node));
            !found
        });
        found
    }

    fn operator(&self, node: Node<'t>) -> &'t str {
        let operator = node.child_by_field_name("operator").filter(|_| node.kind() == "binary_operator");
        operator.map_or("", |operator| self.module.slice(operator))
    }

    pub(super) fn sides(&self, node: Node<'t>, operator: &str) -> Option<(Node<'t>, Node<'t>)> {
        (self.operator(node) == operator).then_some(())?;
        Some((node.child_by_field_name("left")?, node.child_by_field_name("right")?))
    }

    /// Which part of which tensor an expression is.
    pub(super) fn part(&self, node: Node<'t>) -> Option<(Part, &'t str)> {
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
    pub(super) fn parts_within(&self, node: Node<'t>) -> Vec<(Part, &'t str)> {
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

    /// `activation(x) * y`
    pub(super) fn gates(&self) -> Vec<(Kind, Node<'t>)> {
        let mut found = Vec::new();
        for product in &self.products {
            let Some((left, right)) = self.sides(*product, "*") else { continue };
            for (gate, other) in [(left, right), (right, left)] {
                let Some(activated) = self.activated(gate) else { continue };
                // `(up + 1) * glu`
                let plus = self.sides(self.resolved(other), "+").map(|(value, _)| value);
                let other = plus.filter(|value| self.part(*value).is_some()).unwrap_or(other);
                let kind = match (self.part(activated), self.part(other)) {
                    (Some((first, one)), Some((second, two))) if one == two => match (first, second) {
                        (Part::First, Part::Second) => Some(Kind::GateFirst),
                        (Part::Second, Part::First) => Some(Kind::GateSecond),
                        (Part::Even, Part::Odd) => Some(Kind::GateEven),
                        (Part::Odd, Part::Even) => Some(Kind::GateOdd),
                        _ => None,
                    },
                    (None, None) => self.apart(activated, other).then_some(Kind::GateApart),
                    _ => None,
                };
                found.extend(kind.map(|kind| (kind, *product)));
            }
        }
        found
    }

    /// What an activation is computed of.
    fn activated(&self, node: Node<'t>) -> Option<Node<'t>> {
        let node = self.resolved(node);
        if node.kind() == "call" {
            let name = self.name(node).to_lowercase();
            let known = ["silu", "gelu", "sigmoid", "relu", "swish", "mish", "quick_gelu", "tanh"];
            let own = self.module.slice(node.child_by_field_name("function")?).contains('.') || name.contains("act");
            let acts = name.split('_').any(|part| matches!(part, "act" | "activation" | "nonlin"));
            if !(known.contains(&name.as_str()) || acts && own) {
                return None;
            }
            let (arguments, _) = self.arguments(node);
            // `self.act(x)`: what it is called on is the model.
            let owner = self.object(node).is_some_and(|object| self.module.slice(object) == self.receiver);
            return arguments.get(usize::from(owner)).copied();
        }
        // `x * sigmoid(a * x)`
        let (left, right) = self.sides(node, "*")?;
        [(left, right), (right, left)].into_iter().find_map(|(value, gate)| {
            let gate = self.resolved(gate);
            let mentions = || self.parts_within(*self.arguments(gate).0.first()?).into_iter().next();
            (self.name(gate) == "sigmoid" && self.part(value).is_some() && mentions() == self.part(value))
                .then_some(value)
        })
    }

    /// Two layers of the module that are called with the same.
    fn apart(&self, one: Node<'t>, two: Node<'t>) -> bool {
        let layer = |node: Node<'t>| {
            let node = self.resolved(node);
            let function = node.child_by_field_name("function").filter(|_| node.kind() == "call")?;
            let name = self.module.slice(function);
            let own = name.strip_prefix(self.receiver)?.starts_with('.');
            let [argument] = self.arguments(node).0.into_iter().skip(1).collect::<Vec<_>>()[..] else { return None };
            (own && !self.receiver.is_empty()).then(|| (name, self.module.slice(argument)))
        };
        layer(one).zip(layer(two)).is_some_and(|((one, of), (two, other))| one != two && of == other)
    }

    /// The product of queries and keys below a softmax.
    pub(super) fn scores(&self) -> Vec<(Kind, Node<'t>)> {
        let softmaxes = self.calls.iter().filter(|call| self.name(**call) == "softmax");
        softmaxes.filter_map(|call| self.score(*call)).collect()
    }

    fn score(&self, softmax: Node<'t>) -> Option<(Kind, Node<'t>)> {
        let (arguments, named) = self.arguments(softmax);
        let float = |node: Node<'t>| self.module.slice(node).contains("float32");
        let mut upcast = named.iter().any(|(name, value)| *name == "dtype" && float(*value));
        let (mut node, mut after) = (*arguments.first()?, false);
        for _ in 0..2 * DEPTH {
            node = match node.kind() {
                "parenthesized_expression" => node.named_child(0)?,
                "identifier" => match self.origin(node)? {
                    Origin::Whole(value) => value,
                    Origin::Element(..) => return None,
                },
                "binary_operator" => {
                    let left = node.child_by_field_name("left")?;
                    match self.operator(node) {
                        "*" | "/" => {
                            after = true;
                            left
                        }
                        "+" | "-" => left,
                        "@" => return self.product(node, (after, upcast)),
                        _ => return None,
                    }
                }
                "call" => match self.name(node) {
                    "matmul" | "bmm" | "einsum" => return self.product(node, (after, upcast)),
                    "masked_fill" | "view" | "reshape" | "contiguous" => *self.arguments(node).0.first()?,
                    "float" => {
                        upcast = true;
                        *self.arguments(node).0.first()?
                    }
                    "to" | "type" => {
                        upcast |= self.arguments(node).0.get(1).is_some_and(|dtype| float(*dtype));
                        *self.arguments(node).0.first()?
                    }
                    "where" => *self.arguments(node).0.get(1)?,
                    _ => return None,
                },
                _ => return None,
            };
        }
        None
    }

    fn product(&self, product: Node<'t>, (after, upcast): (bool, bool)) -> Option<(Kind, Node<'t>)> {
        let (left, right) = match product.kind() {
            "call" => {
                let (arguments, _) = self.arguments(product);
                let skip = usize::from(self.name(product) == "einsum");
                (*arguments.get(skip)?, *arguments.get(skip + 1)?)
            }
            _ => self.sides(product, "@")?,
        };
        let key = self.module.slice(right);
        let turned = [".transpose(", ".mT", ".T", ".permute(", ".swapaxes("].iter().any(|part| key.contains(part));
        let queries = |node: Node<'t>| {
            let name = self.module.slice(node).to_lowercase();
            name.starts_with('q') || name.contains("query") || name.contains(".q")
        };
        if !(queries(left) && (turned || key.to_lowercase().starts_with('k') || self.name(product) == "einsum")) {
            return None;
        }
        // What is of float32 already cannot overflow.
        let wide = |node: Node<'t>| {
            let mut node = node;
            for _ in 0..DEPTH {
                let text = self.module.slice(node);
                if text.ends_with(".float()") || text.contains("float32") {
                    return true;
                }
                match (node.kind(), self.origin(node)) {
                    ("identifier", Some(Origin::Whole(value))) => node = value,
                    _ => return false,
                }
            }
            false
        };
        let scaled = self.sides(self.resolved(left), "*").or_else(|| self.sides(self.resolved(left), "/"));
        let after = after && scaled.is_none();
        if !after && scaled.is_none() || wide(left) {
            return None;
        }
        let kind = match (after, upcast) {
            (true, false) => Kind::ScoresAfter,
            (true, true) => Kind::ScoresAfterUpcast,
            (false, false) => Kind::ScoresBefore,
            (false, true) => Kind::ScoresBeforeUpcast,
        };
        Some((kind, product))
    }

    /// How experts are chosen.
    pub(super) fn router(&self) -> Option<(Kind, Option<Choice>, Node<'t>)> {
        let text = self.module.whole(self.function).to_lowercase();
        if !["expert", "rout", "gate_logits"].iter().any(|part| text.contains(part)) {
            return None;
        }
        // Groups are chosen before experts are.
        let mut top = self.calls.iter().rev().filter(|call| self.name(**call) == "topk");
        top.find_map(|call| {
            let (kind, choice) = self.chosen(*call)?;
            Some((kind, choice, *call))
        })
    }

    /// An attribute of `self`: `self.name`, `getattr(self, "name", False)` with that default; also by another name.
    pub(super) fn attribute(&self, node: Node<'t>) -> Option<(&'t str, Option<bool>)> {
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

    /// Whether what has one of these names is divided by its sum, and the attribute that decides it.
    fn normalised(&self, names: &[&str]) -> Option<Option<Choice>> {
        let mut found = None;
        self.module.preorder(self.function, |node, _| {
            let text = self.module.slice(node);
            let divides = |name: &&str| {
                text.starts_with(&format!("{name} /= {name}.sum("))
                    || text.starts_with(&format!("{name} = {name} / {name}.sum("))
            };
            if found.is_none()
                && matches!(node.kind(), "augmented_assignment" | "assignment")
                && names.iter().any(divides)
            {
                let branch = std::iter::successors(Some(node), Node::parent)
                    .take_while(|around| around.id() != self.function.id())
                    .find(|around| around.kind() == "if_statement");
                let choice = branch.and_then(|branch| self.attribute(branch.child_by_field_name("condition")?));
                found = Some(choice.map(|(name, absent)| Choice {
                    attribute: name.to_owned(),
                    asked: Asked::True { absent },
                    otherwise: Some(Kind::RouterSoftmaxFirst),
                }));
            }
            found.is_none()
        });
        found
    }

    fn chosen(&self, call: Node<'t>) -> Option<(Kind, Option<Choice>)> {
        let mut node = *self.arguments(call).0.first()?;
        // The assignment that the call is the value of.
        let names: Vec<&str> = self
            .origins
            .iter()
            .filter(|(_, known)| {
                known.iter().any(|(_, origin)| matches!(origin, Origin::Element(value, 0, _) if *value == call))
            })
            .map(|(name, _)| *name)
            .collect();
        for _ in 0..DEPTH {
            node = match node.kind() {
                "parenthesized_expression" => node.named_child(0)?,
                "identifier" => match self.origin(node) {
                    Some(Origin::Whole(value)) => value,
                    _ => break,
                },
                "binary_operator" if self.operator(node) == "+" => node.child_by_field_name("left")?,
                "subscript" => node.child_by_field_name("value")?,
                "call" => match self.name(node) {
                    "softmax" => {
                        return Some(match self.normalised(&names) {
                            Some(choice) => (Kind::RouterSoftmaxFirstNormalised, choice),
                            None => (Kind::RouterSoftmaxFirst, None),
                        });
                    }
                    "sigmoid" => return Some((Kind::RouterSigmoid, None)),
                    "view" | "reshape" | "masked_fill" | "float" | "to" | "type" => *self.arguments(node).0.first()?,
                    _ => break,
                },
                _ => break,
            };
        }
        let later = self.calls.iter().any(|other| {
            other.start_byte() > call.start_byte()
                && self.name(*other) == "softmax"
                && self.arguments(*other).0.first().is_some_and(|of| names.contains(&self.module.slice(*of)))
        });
        later.then_some((Kind::RouterSoftmaxLast, None))
    }

    /// A root mean square norm.
    pub(super) fn norm(&self) -> Vec<(Kind, Node<'t>)> {
        let text = self.module.whole(self.function);
        let root = self.calls.iter().find(|call| self.name(**call) == "rsqrt");
        let squares = ["pow(2)", "square(", "** 2", "x * x"].iter().any(|part| text.contains(part));
        let weight = format!("{}.weight", self.receiver);
        if self.receiver.is_empty() || root.is_none() || !squares || !text.contains("mean(") || text.contains("- mean")
        {
            return Vec::new();
        }
        let weighs = |node: Node<'t>| self.module.slice(self.resolved(node)).contains(&weight);
        let one = |node: Node<'t>| matches!(self.module.slice(node), "1" | "1.0");
        let plus = self
            .products
            .iter()
            .find(|node| self.sides(**node, "+").is_some_and(|(a, b)| one(a) && weighs(b) || one(b) && weighs(a)));
        let times =
            || self.products.iter().find(|it| self.sides(**it, "*").is_some_and(|(a, b)| weighs(a) || weighs(b)));
        let found = match plus {
            Some(node) => Some((Kind::NormPlusOne, *node)),
            None => times().map(|node| (Kind::Norm, *node)),
        };
        found.into_iter().collect()
    }

    /// GELU, written out.
    pub(super) fn gelu(&self) -> Vec<(Kind, Node<'t>)> {
        let number =
            |wanted: f64| self.numbers.iter().find(|(number, _)| (number - wanted).abs() < 1e-6).map(|it| it.1);
        let call = |name: &str| self.calls.iter().find(|call| self.name(**call) == name).copied();
        let text = self.module.whole(self.function);
        let halves = number(0.5).is_some();
        let mut found = Vec::new();
        if let (Some(place), true) = (call("tanh").filter(|_| number(0.044715).is_some()), halves) {
            found.push((Kind::GeluTanh, place));
        }
        let root = ["sqrt(2", "1.41421", "0.70710"].iter().any(|part| text.contains(part));
        if let (Some(place), true) = (call("erf").filter(|_| root), halves) {
            found.push((Kind::GeluErf, place));
        }
        if let Some(place) = call("sigmoid").filter(|place| {
            let inside = |node: Node<'t>| node.start_byte() > place.start_byte() && node.end_byte() < place.end_byte();
            number(1.702).is_some_and(inside)
        }) {
            found.push((Kind::GeluSigmoid, place));
        }
        found
    }

    /// Keys and values that are repeated in this function.
    pub(super) fn repeats(&self) -> Option<(Kind, Node<'t>)> {
        self.calls.iter().find_map(|call| {
            let (arguments, _) = self.arguments(*call);
            let first = *arguments.first()?;
            let kind = match self.name(*call) {
                "repeat_interleave" if self.is_key(first) => Kind::RepeatEach,
                "repeat" | "tile" if self.is_key(first) && arguments.len() >= 4 => {
                    let ones = arguments.iter().skip(1).filter(|it| self.module.slice(**it) == "1").count();
                    (ones + 2 == arguments.len()).then_some(Kind::RepeatWhole)?
                }
                // `x[:, :, None, :, :].expand(b, heads, n, length, width).reshape(b, heads * n, …)`
                "expand" if arguments.len() == 6 => {
                    let text = self.module.whole(self.function);
                    let value = self.resolved(first);
                    let mut cursor = value.walk();
                    let none = value
                        .children_by_field_name("subscript", &mut cursor)
                        .position(|index| index.kind() == "none")
                        .or_else(|| {
                            (self.name(value) == "unsqueeze").then(|| self.number(self.arguments(value).0.get(1)?))?
                        });
                    let named = ["repeat", "_kv", "key", "value"].iter().any(|part| text.contains(part));
                    match none.filter(|_| named && (text.contains("reshape(") || text.contains("view("))) {
                        Some(2) => Kind::RepeatEach,
                        Some(1) => Kind::RepeatWhole,
                        _ => return None,
                    }
                }
                _ => return None,
            };
            Some((kind, *call))
        })
    }

    fn number(&self, node: &Node<'t>) -> Option<usize> {
        self.module.slice(*node).parse().ok()
    }

    /// Whether a name is one that keys and values have.
    fn is_key(&self, node: Node<'t>) -> bool {
        let name = self.module.slice(node);
        let last = name.rsplit('.').next().unwrap_or(name).to_lowercase();
        matches!(
            last.as_str(),
            "k" | "v"
                | "key"
                | "value"
                | "keys"
                | "values"
                | "xk"
                | "xv"
                | "key_states"
                | "value_states"
                | "key_layer"
                | "value_layer"
        )
    }

    /// Slopes of ALiBi, computed in this function.
    pub(super) fn slopes(&self) -> Option<(Kind, Node<'t>)> {
        let text = self.module.whole(self.function);
        let powers = self.holds_call(self.function, &["pow", "exp2"]) || text.contains("**");
        let named = text.contains("alibi") || text.contains("slopes");
        let place = *self.calls.iter().find(|call| self.name(**call) == "log2")?;
        (named && powers).then_some((Kind::Alibi, place))
    }
}
