//! What MLX's own algorithms round: a node whose engines part is computed once more, here, as MLX does it in float32.
//!
//! On a CPU MLX adds up one term after the other ([`order`]), and its exp and erf are polynomials of its own ([`functions`]). Both
//! are written down here a second time, from what torch's op means and not from the row that converts it, and give what MLX
//! gives to the last bit. How far that is from float64, on the very numbers that the node takes, is what the algorithm rounds: it
//! is no mistake of the conversion, and the node's tolerance grows by it. A row that computes something else is as far off as ever.

mod functions;
mod order;

use std::collections::HashMap;

use super::terms::{number, numbers};
use crate::registry::aten::functional;
use order::Groups;
use t2m_checkpoint::TensorData;
use t2m_checkpoint::graph::{Argument, Node};

/// A node's results as MLX's algorithm has them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Again {
    /// The elements of each result, as far as they are known.
    pub results: Vec<Vec<f32>>,
    /// What rounds, in words.
    pub why: &'static str,
}

const ORDER: &str = "MLX's own rounding: it adds up one term after the other";
const FUNCTION: &str = "MLX's own rounding: its exp and erf are polynomials";

impl Again {
    /// The largest distance of a result from what float64 has; 0 where it is not known. What is not finite on both sides says nothing.
    pub fn off(&self, result: usize, exact: &TensorData) -> f64 {
        let (Some(again), Some(exact)) = (self.results.get(result), exact.to_f64()) else { return 0.0 };
        if again.len() != exact.len() {
            return 0.0;
        }
        let distances = again.iter().zip(exact).map(|(again, exact)| (f64::from(*again) - exact).abs());
        distances.filter(|distance| distance.is_finite()).fold(0.0, f64::max)
    }
}

/// The tensors of floating point that a node takes, by the names of its arguments.
pub(super) type Inputs = HashMap<String, TensorData>;

/// Compute a node once more; `None` where MLX's algorithm for it is not known here.
pub(super) fn again(node: &Node, inputs: &Inputs) -> Option<Again> {
    let target = functional(&node.target).unwrap_or_else(|| node.target.clone());
    let name = target.split('.').nth(1)?;
    let (first, _) = node.arguments.iter().find(|(_, argument)| matches!(argument, Argument::Value(_)))?;
    let first = inputs.get(first)?;
    let taken = Taken { node, name, inputs, shape: &first.shape, x: first.to_f32()? };
    if let Some(results) = taken.added_up() {
        return Some(Again { results, why: ORDER });
    }
    let results = vec![taken.element_by_element()?];
    Some(Again { results, why: FUNCTION })
}

/// A node with its first tensor.
struct Taken<'a> {
    node: &'a Node,
    name: &'a str,
    inputs: &'a Inputs,
    shape: &'a [usize],
    x: Vec<f32>,
}

impl Taken<'_> {
    /// Sums, means, norms, softmax and pools.
    fn added_up(&self) -> Option<Vec<Vec<f32>>> {
        let x = &self.x;
        Some(match self.name {
            "sum" => vec![self.along()?.of(x).map(order::sum).collect()],
            "mean" => vec![self.along()?.of(x).map(order::mean).collect()],
            "var" => vec![self.along()?.of(x).map(|group| order::variance(group, self.correction())).collect()],
            "std" => vec![self.along()?.of(x).map(|group| order::variance(group, self.correction()).sqrt()).collect()],
            "var_mean" | "std_mean" => {
                let spread = |variance: f32| if self.name == "std_mean" { variance.sqrt() } else { variance };
                let groups = self.along()?;
                let spreads = groups.of(x).map(|group| spread(order::variance(group, self.correction())));
                vec![spreads.collect(), groups.of(x).map(order::mean).collect()]
            }
            "norm" | "linalg_vector_norm" if self.is_euclidean() => {
                let squares: Vec<f32> = x.iter().map(|x| x * x).collect();
                vec![self.along()?.of(&squares).map(|group| order::sum(group).sqrt()).collect()]
            }
            "softmax" | "_softmax" | "_safe_softmax" | "log_softmax" | "_log_softmax" => vec![self.softmax()?],
            "logsumexp" => vec![self.along()?.of(x).map(|group| logsumexp(&group)).collect()],
            name if name.contains("avg_pool") => vec![self.pooled()?],
            _ => return self.normalised(),
        })
    }

    /// The groups of the axes that the node names, or of all.
    fn along(&self) -> Option<Groups> {
        Groups::along(self.shape, &self.axes()?)
    }

    fn axes(&self) -> Option<Vec<usize>> {
        let rank = self.shape.len() as i64;
        let named = numbers(self.node, "dim").unwrap_or_default();
        if named.is_empty() {
            return Some((0..self.shape.len()).collect());
        }
        named.iter().map(|&axis| usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()).collect()
    }

    /// What is taken of the count that a variance divides by.
    fn correction(&self) -> f32 {
        match (self.node.argument("correction"), self.node.argument("unbiased")) {
            (Some(Argument::Plain(value)), _) => value.as_f64().map_or(1.0, |number| number as f32),
            (_, Some(Argument::Plain(value))) if value.as_bool() == Some(false) => 0.0,
            _ => 1.0,
        }
    }

    fn is_euclidean(&self) -> bool {
        let order = self.node.argument("ord").or_else(|| self.node.argument("p"));
        match order {
            None => true,
            Some(Argument::Plain(value)) => value.is_null() || value.as_f64() == Some(2.0),
            Some(_) => false,
        }
    }

    fn softmax(&self) -> Option<Vec<f32>> {
        let groups = self.along()?;
        let mut y = vec![0.0; self.x.len()];
        for (places, group) in groups.places().zip(groups.of(&self.x)) {
            let shift = if self.name.contains("log") { Some(logsumexp(&group)) } else { None };
            let largest = largest(&group);
            let exps = group.map(|x| functions::exp(x - largest));
            let whole = 1.0 / order::sum(exps.clone());
            for ((at, exp), x) in places.iter().zip(exps.values()).zip(group.values()) {
                *y.get_mut(*at)? = shift.map_or(exp * whole, |shift| x - shift);
            }
        }
        Some(y)
    }

    /// A pool's windows: all of the axes behind the channels, or those that its arguments say.
    fn pooled(&self) -> Option<Vec<f32>> {
        let axes = self.name.chars().find_map(|letter| letter.to_digit(10))? as usize;
        let leading = self.shape.len().checked_sub(axes)?;
        if self.name.contains("adaptive") {
            if numbers(self.node, "output_size")?.iter().any(|size| *size != 1) {
                return None;
            }
            let groups = Groups::along(self.shape, &(leading..self.shape.len()).collect::<Vec<_>>())?;
            return Some(groups.of(&self.x).map(order::mean).collect());
        }
        let list = |name: &str, or: i64| {
            let numbers = numbers(self.node, name).filter(|numbers| !numbers.is_empty())?;
            let one = *numbers.first()?;
            Some((0..axes).map(|at| numbers.get(at).copied().unwrap_or(one).max(or)).collect::<Vec<i64>>())
        };
        let flag = |name: &str| match self.node.argument(name) {
            Some(Argument::Plain(value)) => value.as_bool(),
            _ => None,
        };
        if flag("ceil_mode") == Some(true) || number(self.node, "divisor_override").is_some() {
            return None;
        }
        let kernel = list("kernel_size", 1)?;
        let stride = list("stride", 1).unwrap_or_else(|| kernel.clone());
        let padding = list("padding", 0).unwrap_or_else(|| vec![0; axes]);
        let groups = Groups::windows(self.shape, &kernel, &stride, &padding)?;
        let whole = kernel.iter().product::<i64>() as f32;
        let counts_padding = flag("count_include_pad") != Some(false);
        let divisor = |group: &order::Group| if counts_padding { whole } else { group.values().count() as f32 };
        Some(groups.of(&self.x).map(|group| order::sum(group.clone()) / divisor(&group)).collect())
    }

    /// Norms by their own mean and variance, or by their mean square.
    fn normalised(&self) -> Option<Vec<Vec<f32>>> {
        let rank = self.shape.len();
        let all = |range: std::ops::Range<usize>| range.collect::<Vec<_>>();
        let last = || numbers(self.node, "normalized_shape").and_then(|lengths| rank.checked_sub(lengths.len()));
        let has = |name: &str| self.inputs.contains_key(name);
        let bare = self.name.trim_start_matches("native_").trim_start_matches('_').trim_start_matches("fused_");
        let (groups, by_channel) = match bare {
            "layer_norm" | "rms_norm" => (Groups::along(self.shape, &all(last()?..rank))?, false),
            "group_norm" => {
                let count = number(self.node, "num_groups").or_else(|| number(self.node, "group"))?;
                (Groups::chunks(self.x.len(), self.shape.first()? * count)?, true)
            }
            "instance_norm" if !has("running_mean") => (Groups::along(self.shape, &all(2..rank))?, true),
            "batch_norm" if !has("running_mean") => {
                (Groups::along(self.shape, &(0..rank).filter(|axis| *axis != 1).collect::<Vec<_>>())?, true)
            }
            _ => return None,
        };
        let eps = match self.node.argument("eps") {
            Some(Argument::Plain(value)) if value.is_number() => value.as_f64()? as f32,
            _ if bare == "rms_norm" => f32::EPSILON,
            _ => 1e-5,
        };
        let [weight, bias] = ["weight", "bias"].map(|name| self.inputs.get(name).and_then(TensorData::to_f32));
        let inner: usize = self.shape.get(2..).unwrap_or_default().iter().product();
        let channels = self.shape.get(1).copied().unwrap_or(1);
        let of = |numbers: &Option<Vec<f32>>, at: usize, or: f32| {
            let Some(numbers) = numbers else { return or };
            let place = if by_channel { at / inner.max(1) % channels } else { at % numbers.len().max(1) };
            numbers.get(place).copied().unwrap_or(or)
        };
        let (mut y, mut means, mut roots) = (vec![0.0; self.x.len()], Vec::new(), Vec::new());
        for (places, group) in groups.places().zip(groups.of(&self.x)) {
            let mean = if bare == "rms_norm" { 0.0 } else { order::mean(group.clone()) };
            let apart = group.map(|x| x - mean);
            let root = 1.0 / (order::mean(apart.map(|x| x * x)) + eps).sqrt();
            for (at, x) in places.iter().zip(apart.values()) {
                *y.get_mut(*at)? = x * root * of(&weight, *at, 1.0) + of(&bias, *at, 0.0);
            }
            means.push(mean);
            roots.push(root);
        }
        Some(if bare == "rms_norm" { vec![y, roots] } else { vec![y, means, roots] })
    }

    /// Functions of one element that MLX computes with its own exp or erf.
    fn element_by_element(&self) -> Option<Vec<f32>> {
        let function: fn(f32) -> f32 = match self.name {
            "exp" => functions::exp,
            "erf" | "special_erf" => functions::erf,
            "sigmoid" | "special_expit" => functions::sigmoid,
            "silu" => |x| x * functions::sigmoid(x),
            "softplus" if self.plain_softplus() => |x| functions::softplus(x),
            "log_sigmoid" => |x| -functions::softplus(-x),
            "mish" => |x| x * functions::softplus(x).tanh(),
            "sinh" => |x| (functions::exp(x) - functions::exp(-x)) / 2.0,
            "cosh" => |x| (functions::exp(x) + functions::exp(-x)) / 2.0,
            "gelu" if !self.by_tanh() => |x| x * (1.0 + functions::erf(x / std::f32::consts::SQRT_2)) / 2.0,
            _ => return None,
        };
        Some(self.x.iter().map(|x| function(*x)).collect())
    }

    fn by_tanh(&self) -> bool {
        matches!(self.node.argument("approximate"), Some(Argument::Plain(value)) if value.as_str() == Some("tanh"))
    }

    fn plain_softplus(&self) -> bool {
        match self.node.argument("beta") {
            Some(Argument::Plain(value)) => value.as_f64() == Some(1.0),
            other => other.is_none(),
        }
    }
}

fn largest(group: &order::Group) -> f32 {
    group.values().fold(f32::NEG_INFINITY, f32::max)
}

fn logsumexp(group: &order::Group) -> f32 {
    let largest = largest(group);
    order::sum(group.map(|x| functions::exp(x - largest))).ln() + largest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value as Json, json};

    use super::*;
    use t2m_checkpoint::graph::ValueId;

    fn node(target: &str, arguments: &[(&str, Json)]) -> Node {
        let plain = arguments.iter().map(|(name, value)| ((*name).to_owned(), Argument::Plain(value.clone())));
        let first = [("self".to_owned(), Argument::Value(ValueId(0)))];
        Node {
            name: String::new(),
            target: target.to_owned(),
            arguments: first.into_iter().chain(plain).collect(),
            outputs: Vec::new(),
            module: "".into(),
            place: None,
        }
    }

    fn results(target: &str, arguments: &[(&str, Json)], shape: &[usize], x: &[f32]) -> Option<Vec<Vec<f32>>> {
        let inputs = Inputs::from([("self".to_owned(), TensorData::from_f32(shape, x))]);
        again(&node(target, arguments), &inputs).map(|again| again.results)
    }

    #[test]
    fn small_numbers_behind_a_large_one_are_lost_one_by_one() {
        let mut x = vec![1.0; 9];
        x[0] = 2f32.powi(24);
        let sum = results("aten.sum.dim_IntList", &[("dim", json!([1]))], &[1, 9], &x).unwrap();
        assert_eq!(sum, [[2f32.powi(24)]], "each of the eight is half of the last bit, and even");
        let again = Again { results: sum, why: ORDER };
        let exact = TensorData::from_f32(&[1], &[2f32.powi(24) + 8.0]);
        assert_eq!((again.off(0, &exact), again.off(1, &exact)), (8.0, 0.0));
        assert_eq!(again.off(0, &TensorData::from_f32(&[2], &[0.0, 0.0])), 0.0, "of another shape nothing is said");
    }

    #[test]
    fn each_kind_is_what_torch_means_by_it() {
        let x = [1.0, 2.0, 3.0, 6.0, -1.0, 1.0, 0.0, 4.0];
        let of = |target: &str, arguments: &[(&str, Json)]| results(target, arguments, &[2, 4], &x).unwrap();
        assert_eq!(of("aten.mean.dim", &[("dim", json!([-1]))]), [[3.0, 1.0]]);
        assert_eq!(of("aten.sum.default", &[]), [[16.0]]);
        assert_eq!(of("aten.var.correction", &[("dim", json!([1])), ("correction", json!(0))]), [[3.5, 3.5]]);
        assert_eq!(
            of("aten.var_mean.correction", &[("dim", json!([0])), ("correction", json!(1))]),
            [[2.0, 0.5, 4.5, 2.0], [0.0, 1.5, 1.5, 5.0]]
        );
        assert_eq!(of("aten.linalg_vector_norm.default", &[("dim", json!([0]))])[0][0], 2f32.sqrt());
        let softmax = of("aten.softmax.int", &[("dim", json!(0))]);
        assert!((softmax[0][0] + softmax[0][4] - 1.0).abs() < 1e-6, "{softmax:?}");
        let log = of("aten.log_softmax.int", &[("dim", json!(0))]);
        assert!((log[0][0] - softmax[0][0].ln()).abs() < 1e-6, "{log:?}");
        let norm = of("aten.layer_norm.default", &[("normalized_shape", json!([4])), ("eps", json!(0.5))]);
        assert_eq!(norm, [vec![-1.0, -0.5, 0.0, 1.5, -1.0, 0.0, -0.5, 1.5], vec![3.0, 1.0], vec![0.5, 0.5]]);
        let pool = |arguments: &[(&str, Json)]| results("aten.avg_pool1d.default", arguments, &[1, 2, 4], &x).unwrap();
        assert_eq!(pool(&[("kernel_size", json!([2]))]), [[1.5, 4.5, 0.0, 2.0]]);
        let padded = pool(&[("kernel_size", json!([2])), ("padding", json!([1])), ("count_include_pad", json!(false))]);
        assert_eq!(padded, [[1.0, 2.5, 6.0, -1.0, 0.5, 4.0]]);
        assert_eq!(results("aten.exp_.default", &[], &[1], &[0.0]).unwrap(), [[1.0]], "in place as well");
        assert_eq!(results("aten.add.Tensor", &[], &[1], &[0.0]), None);
        assert_eq!(results("aten.gelu.default", &[("approximate", json!("tanh"))], &[1], &[0.0]), None);
    }
}
