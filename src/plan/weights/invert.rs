//! The way back: torch tensors from MLX's, by the same moves.
//!
//! Moves that only rearrange elements are undone to the bit: a layout by the opposite order of axes, parts by joining
//! them, a flattened tensor by torch's shape. A fold computes and forgets: of all the torch tensors that would give the
//! same MLX tensor, the way back chooses one, so that its fold is the MLX tensor again:
//!
//! - a sum of biases: all of it in the first, zeros in the others;
//! - a GRU's biases: all in `b_ih`; of `b_hh` the part of gate n alone, which MLX keeps, and zeros elsewhere;
//! - a weight norm: the weight itself as `v` and its norms as `g`, which gives the weight to the last rounding. Where the
//!   weight is zero no norm can be divided by: there `v` is 1 and `g` is 0.

use std::borrow::Cow;

use super::fold::slice_of;
use super::layout::{join, lay_out, part_length};
use super::{Error, Fold, Layout, Move, Rule};
use t2m_checkpoint::{Dtype, TensorData};

/// A torch tensor on its way back: whole, or by its parts along axis 0.
struct Source {
    name: String,
    whole: Option<TensorData>,
    /// Parts by their index, and how many there have to be.
    parts: Vec<(usize, usize, TensorData)>,
}

/// The torch tensors of a module, from the moves that made its MLX tensors. `shape` gives a torch tensor's shape by
/// name, and is called where MLX's tensor does not determine it.
///
/// # Errors
/// An MLX tensor is missing, does not fit its move, or holds something that torch's layer has no tensor for.
pub fn invert(
    moves: &[Move],
    mlx: &[(String, TensorData)],
    shape: impl Fn(&str) -> Option<Vec<usize>>,
) -> Result<Vec<(String, TensorData)>, Error> {
    let mut sources: Vec<Source> = Vec::new();
    for step in moves {
        let found = mlx.iter().find(|(name, _)| *name == step.to).map(|(_, tensor)| tensor);
        let tensor = found.ok_or_else(|| fault(step, format!("there is no `{}`", step.to)))?;
        let torch_shape = step.from.first().and_then(|name| shape(name));
        let folded = step.rule.invert(tensor, torch_shape.as_deref(), &step.to)?;
        step.unfold(folded, &mut sources)?;
    }
    sources.into_iter().map(|source| Ok((source.name.clone(), source.joined()?))).collect()
}

impl Rule {
    /// The tensor in torch's layout again. `shape` is torch's, which a flattened tensor does not determine.
    ///
    /// # Errors
    /// The layout does not fit the tensor.
    pub fn invert(&self, tensor: &TensorData, shape: Option<&[usize]>, name: &str) -> Result<TensorData, Error> {
        match &self.layout {
            Layout::Keep => Ok(tensor.clone()),
            Layout::Flatten => {
                let count: usize = tensor.shape.iter().product();
                let fits = shape.filter(|shape| product(shape) == Some(count));
                let reason = || format!("{count} elements do not fill torch's shape {:?}", shape.unwrap_or_default());
                let shape = fits.ok_or_else(|| Error::Shape { from: name.to_owned(), reason: reason() })?;
                Ok(TensorData { shape: shape.to_vec(), ..tensor.clone() })
            }
            Layout::Axes { axes, groups } => {
                let mut back: Vec<(usize, usize)> = axes.iter().copied().zip(0..).collect();
                back.sort_unstable();
                let axes = back.into_iter().map(|(_, place)| place).collect();
                let layout = Layout::Axes { axes, groups: *groups };
                lay_out(&Rule { name: self.name.clone(), layout }, Cow::Borrowed(tensor), name)
            }
        }
    }
}

impl Move {
    /// Give the sources what the fold made from them.
    fn unfold(&self, folded: TensorData, sources: &mut Vec<Source>) -> Result<(), Error> {
        match (&self.fold, self.from.as_slice()) {
            (Fold::One, [name]) => find(sources, name).whole = Some(folded),
            (Fold::Part { index, of }, [name]) => find(sources, name).parts.push((*index, *of, folded)),
            (Fold::Sum | Fold::GruBias, [first, rest @ ..]) => {
                for name in rest {
                    // What another move says about it stays.
                    find(sources, name).whole.get_or_insert_with(|| zeros(&folded));
                }
                find(sources, first).whole = Some(folded);
            }
            (Fold::WeightNorm { dim }, [norm, direction]) => {
                let (g, v) = self.norms(&folded, *dim)?;
                find(sources, norm).whole = Some(g);
                find(sources, direction).whole = Some(v);
            }
            (Fold::Zeros(_), []) => {
                if folded.bytes.iter().any(|&byte| byte != 0) {
                    return Err(fault(self, format!("torch's layer has no tensor for what `{}` holds", self.to)));
                }
            }
            _ => return Err(fault(self, "the move has other sources than its fold".to_owned())),
        }
        Ok(())
    }

    /// A weight as `g` and `v` of a weight norm.
    fn norms(&self, weight: &TensorData, dim: Option<usize>) -> Result<(TensorData, TensorData), Error> {
        let values = weight.to_f64().ok_or_else(|| fault(self, "the weight cannot be computed with".to_owned()))?;
        let (kept, slice) = slice_of(self, weight, dim)?;
        let mut squares = vec![0.0; kept];
        values.iter().enumerate().for_each(|(at, value)| squares[slice(at)] += value * value);
        let v = values.iter().enumerate().map(|(at, value)| if squares[slice(at)] == 0.0 { 1.0 } else { *value });
        let v = rounded(self, weight.shape.clone(), v, weight.dtype)?;
        let shape = match dim {
            None => Vec::new(),
            Some(dim) => (0..weight.shape.len()).map(|axis| if axis == dim { kept } else { 1 }).collect(),
        };
        Ok((rounded(self, shape, squares.iter().map(|square| square.sqrt()), weight.dtype)?, v))
    }
}

impl Source {
    /// The whole, with parts from other moves in their places; all of them if there is no whole.
    fn joined(self) -> Result<TensorData, Error> {
        let Source { name, whole, mut parts } = self;
        let missing = |of: usize| Error::Parts { from: name.clone(), parts: of, shape: Vec::new() };
        if let Some(mut whole) = whole {
            for (index, of, part) in parts {
                let size = part_length(&whole.shape, of, &name)? * whole.bytes.len()
                    / whole.shape.first().copied().unwrap_or(1).max(1);
                // A key map may hold any number.
                let range = index.checked_mul(size).and_then(|begin| Some(begin..begin.checked_add(size)?));
                let place = range.and_then(|range| whole.bytes.get_mut(range));
                match place.filter(|place| place.len() == part.bytes.len()) {
                    Some(place) => place.copy_from_slice(&part.bytes),
                    None => return Err(missing(of)),
                }
            }
            return Ok(whole);
        }
        parts.sort_by_key(|(index, ..)| *index);
        let of = parts.first().map_or(0, |(_, of, _)| *of);
        if parts.len() != of || parts.iter().enumerate().any(|(at, (index, all, _))| at != *index || *all != of) {
            return Err(missing(of));
        }
        join(&parts.into_iter().map(|(.., part)| part).collect::<Vec<_>>(), &name)
    }
}

/// `None` if it overflows.
fn product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, &axis| count.checked_mul(axis))
}

fn find<'a>(sources: &'a mut Vec<Source>, name: &str) -> &'a mut Source {
    let at = sources.iter().position(|source| source.name == name).unwrap_or(sources.len());
    if at == sources.len() {
        sources.push(Source { name: name.to_owned(), whole: None, parts: Vec::new() });
    }
    &mut sources[at]
}

fn zeros(like: &TensorData) -> TensorData {
    TensorData { bytes: vec![0; like.bytes.len()], ..like.clone() }
}

fn rounded(
    step: &Move,
    shape: Vec<usize>,
    values: impl Iterator<Item = f64>,
    dtype: Dtype,
) -> Result<TensorData, Error> {
    let exact = TensorData { dtype: Dtype::Float64, shape, bytes: values.flat_map(f64::to_le_bytes).collect() };
    exact.cast(dtype).ok_or_else(|| fault(step, format!("{} cannot be computed with", dtype.name())))
}

fn fault(step: &Move, reason: String) -> Error {
    Error::Sources { from: step.sources(), reason }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::registry::Registry;
    use crate::registry::rules::RuleKind;

    fn counting(shape: &[usize]) -> TensorData {
        let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|at| at as f32 * 0.25 - 3.0).collect();
        TensorData::from_f32(shape, &values)
    }

    /// torch's tensors through the moves and back.
    fn there(moves: &[Move], torch: &[(String, TensorData)]) -> Vec<(String, TensorData)> {
        let source = |name: &String| &torch.iter().find(|(known, _)| known == name).unwrap().1;
        let apply = |step: &Move| step.apply(&step.from.iter().map(source).collect::<Vec<_>>()).unwrap();
        moves.iter().map(|step| (step.to.clone(), apply(step))).collect()
    }

    fn named(tensors: &[(&str, TensorData)]) -> Vec<(String, TensorData)> {
        tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect()
    }

    fn fold(from: &[&str], to: &str, fold: Fold) -> Move {
        Move::fold(from, to, fold)
    }

    proptest! {
        /// Every layout of the registry comes back to the bit, whatever the shape and the groups.
        #[test]
        fn layouts_come_back(shape in proptest::collection::vec(1usize..5, 1..6), groups in 1usize..4) {
            for row in Registry::load(&[]).unwrap().rules.iter().filter(|row| row.kind == RuleKind::Axes) {
                let rank = row.axes.as_ref().map_or(shape.len(), Vec::len);
                let mut shape: Vec<usize> = shape.iter().copied().cycle().take(rank).collect();
                let groups = if row.grouped { groups } else { 1 };
                shape[0] *= groups;
                let layout = row.axes.clone().map_or(Layout::Keep, |axes| Layout::Axes { axes, groups });
                let moves = [Move::keep("weight").by(Rule { name: row.name.clone(), layout })];
                let torch = named(&[("weight", counting(&shape))]);
                prop_assert_eq!(invert(&moves, &there(&moves, &torch), |_| None).unwrap(), torch, "{}", row.name);
            }
        }

        #[test]
        fn parts_and_flattened_tensors_come_back(of in 1usize..5, rows in 1usize..4, inner in 0usize..4) {
            let torch = named(&[("in_proj", counting(&[of * rows, inner])), ("norm", counting(&[rows, of]))]);
            // The order in which the moves are listed does not matter.
            let parts = (0..of).rev().map(|index| Move::part("in_proj", index.to_string(), index, of));
            let flat = Move::keep("norm").by(Rule { name: "flatten".to_owned(), layout: Layout::Flatten });
            let moves: Vec<Move> = parts.chain([flat]).collect();
            let shape = |name: &str| torch.iter().find(|(known, _)| known == name).map(|(_, data)| data.shape.clone());
            prop_assert_eq!(invert(&moves, &there(&moves, &torch), shape).unwrap(), torch.clone());
            prop_assert!(invert(&moves[1..], &there(&moves, &torch), shape).is_err() || of == 1);
        }

        /// A fold of what was chosen is MLX's tensor again.
        #[test]
        fn folds_of_a_preimage_are_the_tensor(hidden in 1usize..5, sums in 2usize..4) {
            let names = ["b_ih", "b_hh", "b_more"];
            let moves = [fold(&names[..sums], "bias", Fold::Sum)];
            let mlx = named(&[("bias", counting(&[hidden]))]);
            let torch = invert(&moves, &mlx, |_| None).unwrap();
            prop_assert_eq!(torch.len(), sums);
            prop_assert_eq!(there(&moves, &torch), mlx);
            let moves = [fold(&["b_ih", "b_hh"], "b", Fold::GruBias), Move::part("b_hh", "bhn", 2, 3)];
            for moves in [moves.clone(), [moves[1].clone(), moves[0].clone()]] {
                let mlx = named(&[("b", counting(&[3 * hidden])), ("bhn", counting(&[hidden]))]);
                let mut back = there(&moves, &invert(&moves, &mlx, |_| None).unwrap());
                back.sort_by(|a, b| a.0.cmp(&b.0));
                prop_assert_eq!(back, mlx);
            }
        }

        #[test]
        fn a_weight_norm_of_a_preimage_is_the_weight(
            shape in proptest::collection::vec(1usize..5, 1..4), dim in proptest::option::of(0usize..3), zero: bool,
        ) {
            let dim = dim.map(|dim| dim % shape.len());
            let weight = if zero { zeros(&counting(&shape)) } else { counting(&shape) };
            let moves = [fold(&["g", "v"], "weight", Fold::WeightNorm { dim })];
            let mlx = named(&[("weight", weight.clone())]);
            let back = there(&moves, &invert(&moves, &mlx, |_| None).unwrap());
            let pairs = weight.to_f64().unwrap().into_iter().zip(back[0].1.to_f64().unwrap());
            for (wanted, got) in pairs {
                prop_assert!((wanted - got).abs() <= 2.0 * f64::from(f32::EPSILON) * wanted.abs(), "{wanted} {got}");
            }
        }
    }

    /// A key map is untrusted text.
    #[test]
    fn numbers_beyond_all_counting_are_refused() {
        let flat = [Move::keep("w").by(Rule { name: "flatten".to_owned(), layout: Layout::Flatten })];
        assert!(invert(&flat, &named(&[("w", counting(&[6]))]), |_| Some(vec![usize::MAX, 7])).is_err());
        let moves = [fold(&["b"], "b", Fold::One), Move::part("b", "last", usize::MAX, 3)];
        let mlx = named(&[("b", counting(&[3])), ("last", counting(&[1]))]);
        assert!(invert(&moves, &mlx, |_| None).is_err());
    }

    #[test]
    fn what_torch_has_no_tensor_for_is_refused() {
        let moves = [Move::zeros("bias", &[2])];
        let bias = |value: f32| named(&[("bias", TensorData::from_f32(&[2], &[0.0, value]))]);
        assert_eq!(invert(&moves, &bias(0.0), |_| None).unwrap(), []);
        assert!(invert(&moves, &bias(1.0), |_| None).unwrap_err().to_string().contains("no tensor for"));
        assert!(invert(&moves, &[], |_| None).unwrap_err().to_string().contains("there is no `bias`"));
        let flat = [Move::keep("w").by(Rule { name: "flatten".to_owned(), layout: Layout::Flatten })];
        assert!(invert(&flat, &named(&[("w", counting(&[6]))]), |_| Some(vec![2, 2])).is_err());
    }
}
