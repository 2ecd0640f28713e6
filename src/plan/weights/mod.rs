//! Moving tensors: folding several into one, splitting, rearranging by rule. The same code prepares a measurement and
//! writes a file.

mod fold;
mod invert;
mod layout;
mod same;
mod transpose;

use t2m_checkpoint::TensorData;

pub use invert::invert;
pub use layout::{Layout, Rule, permute};
pub use same::same_moves;

/// How one MLX tensor is made from torch tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// Names in the torch module, relative to its path (`out_proj.weight` is a child's), in the order that the fold takes.
    pub from: Vec<String>,
    /// Name in the MLX module.
    pub to: String,
    /// The fold of the sources, which comes first, in torch's layout.
    pub fold: Fold,
    /// Change of layout, which comes after.
    pub rule: Rule,
}

/// One tensor from several, in torch's layout. Arithmetic is in f64 and rounded once, to the sources' dtype.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fold {
    /// The only source, unchanged.
    One,
    /// Part `index` of `of` equal parts of the only source along axis 0.
    Part {
        /// Counted from 0.
        index: usize,
        /// How many there are.
        of: usize,
    },
    /// The sum of the sources, which have one shape: two biases that a recurrent layer adds anyway.
    Sum,
    /// torch's GRU biases `b_ih`, `b_hh` (gates r, z, n) as MLX's `b`. The hidden bias of n stays apart, as it is
    /// multiplied by r.
    GruBias,
    /// `g·v/‖v‖` with the norm over every axis but `dim`: what `weight_norm` computes from its two parameters.
    WeightNorm {
        /// The axis that keeps its norm; `None` for one norm over all.
        dim: Option<usize>,
    },
    /// The only source plus this number: a norm that multiplies by 1 + weight.
    Offset(f64),
    /// `(w − mean)/√(var + eps)` of each output channel (axis 0), times `scale`, and times the second source's element
    /// for the channel if there is one: how a weight-standardised convolution computes its weight.
    Standardised {
        /// Added to the variance, which is that of all elements (divided by n).
        eps: f64,
        /// A factor for all channels.
        scale: f64,
    },
    /// Zeros of that shape, without a source: a bias that MLX's layer requires.
    Zeros(Vec<usize>),
}

impl Fold {
    /// Into how many parts the sources are cut, of which this is one.
    pub fn parts(&self) -> u64 {
        match self {
            Fold::Part { of, .. } => (*of).max(1) as u64,
            _ => 1,
        }
    }

    /// The registry's name of it; `None` where it does nothing.
    pub fn rule(&self) -> Option<&'static str> {
        Some(match self {
            Fold::One => return None,
            Fold::Part { .. } => "split",
            Fold::Sum => "bias_sum",
            Fold::GruBias => "gru_bias",
            Fold::WeightNorm { .. } => "weight_norm",
            Fold::Offset(_) => "offset",
            Fold::Standardised { .. } => "standardised",
            Fold::Zeros(_) => "zeros",
        })
    }
}

/// Why a tensor cannot be moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The rule is for another number of axes.
    #[error("{from}: rule {rule} wants {wanted} axes, the tensor has shape {shape:?}")]
    Rank {
        /// The tensor.
        from: String,
        /// The rule.
        rule: String,
        /// Axes that the rule orders.
        wanted: usize,
        /// What there is.
        shape: Vec<usize>,
    },
    /// Axis 0 cannot be cut into equal parts.
    #[error("{from}: axis 0 of shape {shape:?} does not divide into {parts} equal parts")]
    Parts {
        /// The tensor.
        from: String,
        /// How many were wanted.
        parts: usize,
        /// What there is.
        shape: Vec<usize>,
    },
    /// The sources do not go together.
    #[error("{from}: {reason}")]
    Sources {
        /// The tensors.
        from: String,
        /// In what.
        reason: String,
    },
    /// The number of bytes does not fit the shape.
    #[error("{from}: the bytes do not fit the shape: {reason}")]
    Shape {
        /// The tensor.
        from: String,
        /// ndarray's words.
        reason: String,
    },
}

impl Move {
    /// A tensor that keeps its layout under another name.
    pub fn rename(from: impl Into<String>, to: impl Into<String>) -> Move {
        Move { from: vec![from.into()], to: to.into(), fold: Fold::One, rule: Rule::identity() }
    }

    /// A tensor that keeps its name and layout.
    pub fn keep(name: &str) -> Move {
        Move::rename(name, name)
    }

    /// Part `index` of `of` equal parts along axis 0.
    pub fn part(from: impl Into<String>, to: impl Into<String>, index: usize, of: usize) -> Move {
        Move { fold: Fold::Part { index, of }, ..Move::rename(from, to) }
    }

    /// Zeros, which come from no torch tensor.
    pub fn zeros(to: &str, shape: &[usize]) -> Move {
        Move { from: Vec::new(), to: to.to_owned(), fold: Fold::Zeros(shape.to_vec()), rule: Rule::identity() }
    }

    /// Several tensors made one.
    pub fn fold(from: &[&str], to: impl Into<String>, fold: Fold) -> Move {
        let from = from.iter().map(|&name| name.to_owned()).collect();
        Move { from, to: to.into(), fold, rule: Rule::identity() }
    }

    /// The move with this layout.
    pub fn by(self, rule: Rule) -> Move {
        Move { rule, ..self }
    }

    /// Make the MLX tensor from the sources, in the order of [`Move::from`].
    ///
    /// # Errors
    /// Fold or rule do not fit the tensors.
    pub fn apply(&self, sources: &[&TensorData]) -> Result<TensorData, Error> {
        let folded = fold::fold(self, sources)?;
        layout::lay_out(&self.rule, folded, &self.sources())
    }

    /// The move in words: `in_proj_weight part 1 of 3 → query_proj.weight`.
    pub fn words(&self) -> String {
        let from = self.from.join(" + ");
        let fold = match &self.fold {
            Fold::One => String::new(),
            Fold::Part { index, of } => format!(" part {} of {of}", index + 1),
            Fold::Sum => " added up".to_owned(),
            Fold::GruBias => " added up, but for the hidden one of n".to_owned(),
            Fold::WeightNorm { .. } => " as g·v/‖v‖".to_owned(),
            Fold::Offset(offset) => format!(" plus {offset}"),
            Fold::Standardised { .. } => " standardised for each output channel".to_owned(),
            Fold::Zeros(shape) => format!("zeros [{}]", listed(shape)),
        };
        let layout = match &self.rule.layout {
            Layout::Keep => String::new(),
            Layout::Flatten => ", flattened".to_owned(),
            Layout::Axes { axes, groups: 1 } => format!(", axes {}", listed(axes)),
            Layout::Axes { axes, groups } => format!(", axes {} in each of {groups} groups", listed(axes)),
        };
        if fold.is_empty() && layout.is_empty() && from == self.to {
            format!("{from} as it is")
        } else {
            format!("{from}{fold} → {}{layout}", self.to)
        }
    }

    /// The shape of what [`Move::apply`] makes of sources with these shapes, without their bytes.
    ///
    /// # Errors
    /// As for `apply`, as far as shapes decide.
    pub fn shape(&self, sources: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let reason = format!("{} tensors were given for it", sources.len());
        let wrong = || Error::Sources { from: self.sources(), reason };
        let folded = match (&self.fold, sources) {
            (Fold::One | Fold::Offset(_), [shape]) => shape.to_vec(),
            (Fold::Part { of, .. }, [shape]) => {
                let length = layout::part_length(shape, *of, &self.sources())?;
                std::iter::once(length).chain(shape.iter().skip(1).copied()).collect()
            }
            (Fold::Sum, [first, ..]) | (Fold::GruBias, [first, _]) => first.to_vec(),
            (Fold::WeightNorm { .. }, [_, shape]) => shape.to_vec(),
            (Fold::Standardised { .. }, [shape] | [shape, _]) => shape.to_vec(),
            (Fold::Zeros(shape), []) => shape.clone(),
            _ => return Err(wrong()),
        };
        layout::shape(&self.rule, &folded, &self.sources())
    }

    /// The sources' names, for a message.
    fn sources(&self) -> String {
        if self.from.is_empty() { self.to.clone() } else { self.from.join(" + ") }
    }
}

fn listed(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::registry::Registry;
    use t2m_checkpoint::Dtype;

    fn counting(shape: &[usize]) -> TensorData {
        let count: usize = shape.iter().product();
        let bytes = (0..count as i32).flat_map(i32::to_le_bytes).collect();
        TensorData { dtype: Dtype::Int32, shape: shape.to_vec(), bytes }
    }

    fn values(tensor: &TensorData) -> Vec<i32> {
        tensor.bytes.chunks_exact(4).map(|bytes| i32::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    fn rule(name: &str, groups: usize) -> Rule {
        let registry = Registry::load(&[]).unwrap();
        let axes = registry.rule(name).unwrap().axes.clone();
        let layout = axes.map_or(Layout::Keep, |axes| Layout::Axes { axes, groups });
        Rule { name: name.to_owned(), layout }
    }

    fn moved(rule: Rule, tensor: &TensorData) -> TensorData {
        Move::keep("weight").by(rule).apply(&[tensor]).unwrap()
    }

    #[test]
    fn a_convolution_moves_its_inputs_last() {
        let torch = counting(&[2, 3, 1, 2]); // [O, I, H, W]
        let mlx = moved(rule("conv2d", 1), &torch);
        assert_eq!(mlx.shape, [2, 1, 2, 3]);
        assert_eq!(values(&mlx), [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
    }

    #[test]
    fn a_grouped_transposed_convolution_is_moved_group_by_group() {
        // [I, O/g, K] = [4, 1, 2] with two groups: inputs 0, 1 make output 0, inputs 2, 3 make output 1.
        let mlx = moved(rule("conv_transpose1d", 2), &counting(&[4, 1, 2]));
        assert_eq!(mlx.shape, [2, 2, 2]); // [O, K, I/g]
        assert_eq!(values(&mlx), [0, 2, 1, 3, 4, 6, 5, 7]);
    }

    #[test]
    fn a_part_is_cut_before_it_is_moved() {
        let part = Move::part("in_proj_weight", "key_proj.weight", 1, 3);
        let key = part.apply(&[&counting(&[6, 2])]).unwrap();
        assert_eq!((key.shape.as_slice(), values(&key)), ([2usize, 2].as_slice(), vec![4, 5, 6, 7]));
        assert!(matches!(part.apply(&[&counting(&[5, 2])]), Err(Error::Parts { parts: 3, .. })));
    }

    #[test]
    fn a_rule_of_another_rank_is_refused() {
        let refused = Move::keep("weight").by(rule("conv2d", 1)).apply(&[&counting(&[2, 3])]);
        assert!(refused.unwrap_err().to_string().contains("wants 4 axes"));
    }

    fn floats(shape: &[usize], values: &[f32]) -> TensorData {
        TensorData::from_f32(shape, values)
    }

    #[test]
    fn biases_are_folded() {
        let (input, hidden) = (floats(&[6], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), floats(&[6], &[10.0; 6]));
        let fold = |fold| Move::fold(&["bias_ih_l0", "bias_hh_l0"], "bias", fold).apply(&[&input, &hidden]).unwrap();
        assert_eq!(fold(Fold::Sum).to_f32().unwrap(), [11.0, 12.0, 13.0, 14.0, 15.0, 16.0]);
        assert_eq!(fold(Fold::GruBias).to_f32().unwrap(), [11.0, 12.0, 13.0, 14.0, 5.0, 6.0]);
        let unlike = Move::fold(&["a", "b"], "c", Fold::Sum).apply(&[&input, &floats(&[5], &[0.0; 5])]);
        assert_eq!(unlike.unwrap_err().to_string(), "a + b: float32 [6] and float32 [5] do not go together");
    }

    #[test]
    fn a_weight_norm_is_folded_along_its_axis() {
        let v = floats(&[2, 2], &[3.0, 4.0, 6.0, 8.0]);
        let fold = |g: TensorData, dim| {
            Move::fold(&["g", "v"], "weight", Fold::WeightNorm { dim }).apply(&[&g, &v]).unwrap().to_f32().unwrap()
        };
        assert_eq!(fold(floats(&[2, 1], &[5.0, 1.0]), Some(0)), [3.0, 4.0, 0.6, 0.8]);
        let by_column = fold(floats(&[1, 2], &[45f32.sqrt(), 0.0]), Some(1));
        assert_eq!(by_column, [3.0, 0.0, 6.0, 0.0]);
        assert_eq!(fold(floats(&[1], &[125f32.sqrt()]), None), [3.0, 4.0, 6.0, 8.0]);
    }

    #[test]
    fn one_is_added_in_f64_and_rounded_once() {
        let weight = TensorData { dtype: Dtype::BFloat16, shape: vec![2], bytes: vec![0x80, 0x3f, 0x00, 0x38] };
        let moved = Move::fold(&["weight"], "weight", Fold::Offset(1.0)).apply(&[&weight]).unwrap();
        // 2^-15 is lost beside 1 in bfloat16.
        assert_eq!((moved.dtype, moved.to_f32().unwrap()), (Dtype::BFloat16, vec![2.0, 1.0]));
    }

    #[test]
    fn a_weight_is_standardised_for_each_output_channel() {
        let weight = floats(&[2, 2], &[1.0, 3.0, 10.0, 30.0]);
        let fold = |sources: &[&TensorData], scale| {
            let names = &["weight", "gain"][..sources.len()];
            let fold = Fold::Standardised { eps: 0.0, scale };
            Move::fold(names, "weight", fold).apply(sources).map(|made| made.to_f32().unwrap())
        };
        assert_eq!(fold(&[&weight], 1.0).unwrap(), [-1.0, 1.0, -1.0, 1.0]);
        assert_eq!(fold(&[&weight, &floats(&[2, 1], &[1.0, 3.0])], 2.0).unwrap(), [-2.0, 2.0, -6.0, 6.0]);
        assert!(fold(&[&weight, &floats(&[3], &[1.0; 3])], 1.0).is_err());
    }

    #[test]
    fn zeros_have_no_source() {
        let zeros = Move::zeros("bias", &[3]).apply(&[]).unwrap();
        assert_eq!((zeros.shape.as_slice(), zeros.to_f32().unwrap()), ([3].as_slice(), vec![0.0; 3]));
    }

    proptest! {
        /// Each rule of the registry moves every element to where its axes say, whatever the element's width.
        #[test]
        fn every_rule_agrees_with_indexing(shape in proptest::collection::vec(1usize..5, 3..=4), groups in 1usize..3) {
            for layout in Registry::load(&[]).unwrap().rules {
                let Some(axes) = layout.axes.clone().filter(|axes| axes.len() == shape.len()) else { continue };
                let groups = if layout.grouped { groups } else { 1 };
                let mut torch_shape = shape.clone();
                torch_shape[0] *= groups;
                let torch = counting(&torch_shape);
                let mlx = moved(rule(&layout.name, groups), &torch);
                let per_group: usize = shape.iter().product();
                let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
                let group_shape: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
                for (flat, value) in values(&mlx).into_iter().enumerate() {
                    let (group, mut rest) = (flat / per_group, flat % per_group);
                    let mut expected = group * per_group;
                    for (position, &axis) in axes.iter().enumerate().rev() {
                        expected += rest % group_shape[position] * strides[axis];
                        rest /= group_shape[position];
                    }
                    prop_assert_eq!(value as usize, expected, "{}", layout.name);
                }
            }
        }
    }
}
