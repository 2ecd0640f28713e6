//! Idioms within one function: gates, scores, routers, norms, GELU; and what other functions may call it for.

use tree_sitter::Node;

use super::shapes::{DEPTH, Origin, Part, Text};
use super::{Asked, Choice};
use crate::registry::idioms::Kind;

impl<'t> Text<'t> {
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
                    // A sigmoid alone weighs what a layer gives.
                    (None, None) if self.name(self.resolved(gate)) != "sigmoid" => {
                        self.apart(activated, other).then_some(Kind::GateApart)
                    }
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
