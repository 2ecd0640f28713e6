//! Moving tensors: layouts by rule, splits, drops. The same code prepares a measurement and writes a file.

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, concatenate};

use crate::checkpoint::TensorData;

/// A change of layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `conv2d`
    pub name: String,
    /// `axes[i]` is the torch axis that becomes MLX's axis i; `None` for identity.
    pub axes: Option<Vec<usize>>,
    /// Equal parts along axis 0 to which the axes are applied one by one; 1 for the whole tensor.
    pub groups: usize,
}

impl Rule {
    /// The tensor stays as it is.
    pub fn identity() -> Rule {
        Rule { name: "identity".to_owned(), axes: None, groups: 1 }
    }
}

/// How one MLX tensor is made of a torch tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// Name in the torch module, relative to its path (`out_proj.weight` is a child's).
    pub from: String,
    /// Name in the MLX module.
    pub to: String,
    /// Change of layout, done after the split.
    pub rule: Rule,
    /// Take part `.0` of `.1` equal parts along axis 0.
    pub part: Option<(usize, usize)>,
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
    /// The bytes are not as many as the shape says.
    #[error("{from}: the bytes do not fit the shape: {reason}")]
    Shape {
        /// The tensor.
        from: String,
        /// ndarray's words.
        reason: String,
    },
}

impl Move {
    /// A tensor that keeps its name and layout.
    pub fn keep(name: &str) -> Move {
        Move { from: name.to_owned(), to: name.to_owned(), rule: Rule::identity(), part: None }
    }

    /// Make the MLX tensor.
    ///
    /// # Errors
    /// Rule or split do not fit the tensor.
    pub fn apply(&self, tensor: &TensorData) -> Result<TensorData, Error> {
        // Elements are opaque runs of bytes here: a layout does not depend on what they mean.
        match tensor.dtype.size() {
            1 => self.apply_sized::<1>(tensor),
            2 => self.apply_sized::<2>(tensor),
            4 => self.apply_sized::<4>(tensor),
            8 => self.apply_sized::<8>(tensor),
            _ => self.apply_sized::<16>(tensor),
        }
    }

    fn apply_sized<const N: usize>(&self, tensor: &TensorData) -> Result<TensorData, Error>
    where
        [u8; N]: bytemuck::Pod,
    {
        let elements: &[[u8; N]] = bytemuck::try_cast_slice(&tensor.bytes).map_err(|error| self.shape_error(error))?;
        let whole = ArrayViewD::from_shape(IxDyn(&tensor.shape), elements).map_err(|error| self.shape_error(error))?;
        let part = match self.part {
            Some((index, parts)) => {
                let length = self.part_length(&tensor.shape, parts)?;
                whole.slice_axis(Axis(0), (index * length..(index + 1) * length).into())
            }
            None => whole.view(),
        };
        let moved = match &self.rule.axes {
            Some(axes) => self.relayout(&part, axes)?,
            None => part.as_standard_layout().into_owned(),
        };
        let shape = moved.shape().to_vec();
        let bytes = bytemuck::cast_slice(moved.as_slice().unwrap_or(&[])).to_vec();
        Ok(TensorData { dtype: tensor.dtype, shape, bytes })
    }

    fn relayout<const N: usize>(
        &self,
        part: &ArrayViewD<'_, [u8; N]>,
        axes: &[usize],
    ) -> Result<ArrayD<[u8; N]>, Error> {
        if axes.len() != part.ndim() {
            let (from, rule) = (self.from.clone(), self.rule.name.clone());
            return Err(Error::Rank { from, rule, wanted: axes.len(), shape: part.shape().to_vec() });
        }
        let length = self.part_length(part.shape(), self.rule.groups)?;
        let groups: Vec<ArrayViewD<'_, [u8; N]>> = (0..self.rule.groups)
            .map(|group| part.clone().slice_axis_move(Axis(0), (group * length..(group + 1) * length).into()))
            .map(|group| group.permuted_axes(IxDyn(axes)))
            .collect();
        let stacked = concatenate(Axis(0), &groups).map_err(|error| self.shape_error(error))?;
        Ok(stacked.as_standard_layout().into_owned())
    }

    fn part_length(&self, shape: &[usize], parts: usize) -> Result<usize, Error> {
        match shape.first() {
            Some(length) if parts > 0 && length % parts == 0 => Ok(length / parts),
            _ => Err(Error::Parts { from: self.from.clone(), parts, shape: shape.to_vec() }),
        }
    }

    fn shape_error(&self, reason: impl ToString) -> Error {
        Error::Shape { from: self.from.clone(), reason: reason.to_string() }
    }
}

/// Bring a tensor's axes into another order: `axes[i]` is the axis that becomes axis i.
///
/// # Errors
/// There are not as many axes, or the bytes do not fit the shape.
pub fn permute(tensor: &TensorData, axes: &[usize]) -> Result<TensorData, Error> {
    let rule = Rule { name: "permute".to_owned(), axes: Some(axes.to_vec()), groups: 1 };
    Move { from: "activation".to_owned(), to: String::new(), rule, part: None }.apply(tensor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::checkpoint::Dtype;
    use crate::registry::Registry;

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
        Rule { name: name.to_owned(), axes: registry.rule(name).unwrap().axes.clone(), groups }
    }

    fn moved(rule: Rule, tensor: &TensorData) -> TensorData {
        Move { from: "weight".to_owned(), to: "weight".to_owned(), rule, part: None }.apply(tensor).unwrap()
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
        let part = Move {
            from: "in_proj_weight".to_owned(),
            to: "key_proj.weight".to_owned(),
            rule: Rule::identity(),
            part: Some((1, 3)),
        };
        let key = part.apply(&counting(&[6, 2])).unwrap();
        assert_eq!((key.shape.as_slice(), values(&key)), ([2usize, 2].as_slice(), vec![4, 5, 6, 7]));
        assert!(matches!(part.apply(&counting(&[5, 2])), Err(Error::Parts { parts: 3, .. })));
    }

    #[test]
    fn a_rule_of_another_rank_is_refused() {
        let refused = Move { from: "weight".to_owned(), to: "weight".to_owned(), rule: rule("conv2d", 1), part: None }
            .apply(&counting(&[2, 3]));
        assert!(refused.unwrap_err().to_string().contains("wants 4 axes"));
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
                let mlx = moved(Rule { name: layout.name.clone(), axes: Some(axes.clone()), groups }, &torch);
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
