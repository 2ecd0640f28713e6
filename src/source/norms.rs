//! What a norm's forward computes, as far as its text says so: held against the registry's row of its class.

use tree_sitter::Node;

use super::idioms::shapes::Text;
use super::reading::Reading;

/// What is certain of a norm's forward, each with its 1-based line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Norm {
    /// It multiplies by 1 + weight (true), or by the weight alone.
    pub adds_one: Option<(bool, usize)>,
    /// The mean is subtracted.
    pub centred: Option<usize>,
    /// What is added to the mean square, below the root.
    pub eps: Option<(Eps, usize)>,
    /// Something is added to the root itself.
    pub outside: Option<usize>,
    /// The bias is added.
    pub bias: Option<usize>,
}

/// What is added to the mean square.
#[derive(Debug, Clone, PartialEq)]
pub enum Eps {
    /// A number that is written out.
    Number(f64),
    /// An attribute of the module.
    Attribute(String),
}

/// A norm: methods that run together and divide by a root of a mean. `None` for anything else.
pub(super) fn read(readings: &[Reading<'_, '_>]) -> Option<Norm> {
    // A norm has a forward and a helper or two.
    if readings.is_empty() || readings.len() > MOST {
        return None;
    }
    let texts: Vec<Text<'_>> =
        readings.iter().map(|reading| Text::of(reading.module, reading.function, reading.receiver)).collect();
    let mut norm = Norm::default();
    let mut root = false;
    for text in &texts {
        root |= text.read_root(&mut norm);
        text.read_affine(&mut norm);
    }
    root.then_some(norm)
}

/// Methods of a norm.
const MOST: usize = 4;

fn line(node: Node<'_>) -> usize {
    node.start_position().row + 1
}

impl<'t> Text<'t> {
    /// Whether there is a root of a mean, and what is added below it and to it.
    fn read_root(&self, norm: &mut Norm) -> bool {
        let mut found = false;
        for call in self.calls.iter().filter(|call| matches!(self.name(**call), "rsqrt" | "sqrt")) {
            let Some(below) = self.arguments(*call).0.first().map(|below| self.resolved(*below)) else { continue };
            let (mean, eps) = self.sides(below, "+").map_or((below, None), |(mean, eps)| (mean, Some(eps)));
            if !self.holds_call(self.resolved(mean), &["mean"]) {
                continue;
            }
            found = true;
            if let Some(eps) = eps {
                let known = match eps.kind() {
                    "float" | "integer" => self.module.slice(eps).parse().ok().map(Eps::Number),
                    _ => self.attribute(eps).map(|(name, _)| Eps::Attribute(name.to_owned())),
                };
                norm.eps = known.map(|eps| (eps, line(*call)));
            }
            let outside = self.products.iter().find(|sum| {
                self.sides(**sum, "+").is_some_and(|(left, right)| {
                    self.name(*call) == "sqrt" && [left, right].iter().any(|side| self.resolved(*side) == *call)
                })
            });
            norm.outside = norm.outside.or(outside.map(|sum| line(*sum)));
        }
        found
    }

    /// What the result is multiplied by and added to, and whether the mean is taken off.
    fn read_affine(&self, norm: &mut Norm) {
        let own = |node: Node<'t>, name: &str| self.attribute(node).is_some_and(|(known, _)| known == name);
        let one = |node: Node<'t>| matches!(self.module.slice(node), "1" | "1.0");
        for node in &self.products {
            if let Some((left, right)) = self.sides(*node, "+") {
                if one(left) && own(right, "weight") || own(left, "weight") && one(right) {
                    norm.adds_one = Some((true, line(*node)));
                }
                if own(left, "bias") || own(right, "bias") {
                    norm.bias = Some(line(*node));
                }
            }
            if let Some((left, right)) = self.sides(*node, "*")
                && (own(left, "weight") || own(right, "weight"))
                && norm.adds_one.is_none()
            {
                norm.adds_one = Some((false, line(*node)));
            }
            if let Some((_, right)) = self.sides(*node, "-")
                && self.name(self.resolved(right)) == "mean"
            {
                norm.centred = Some(line(*node));
            }
        }
    }
}
