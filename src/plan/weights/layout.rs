//! Changes of layout: axes in another order, for the whole tensor or group by group.

use std::borrow::Cow;

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, concatenate};

use super::Error;
use super::transpose::transpose;
use t2m_checkpoint::{TensorData, spare};

/// A layout with the name that the registry gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `conv2d`
    pub name: String,
    /// What it does.
    pub layout: Layout,
}

/// A change of layout. No element is computed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// The tensor stays as it is.
    Keep,
    /// Axes in another order.
    Axes {
        /// `axes[i]` is the torch axis that becomes MLX's axis i.
        axes: Vec<usize>,
        /// Equal parts along axis 0 to which the axes are applied one by one; 1 for the whole tensor.
        groups: usize,
    },
    /// All axes flattened into one.
    Flatten,
}

impl Rule {
    /// The tensor stays as it is.
    pub fn identity() -> Rule {
        Rule { name: "identity".to_owned(), layout: Layout::Keep }
    }

    /// Axes in another order, for the whole tensor.
    pub fn axes(name: &str, axes: &[usize]) -> Rule {
        Rule { name: name.to_owned(), layout: Layout::Axes { axes: axes.to_vec(), groups: 1 } }
    }
}

/// Permute a tensor's axes: `axes[i]` becomes axis i.
///
/// # Errors
/// The number of axes differs, or the bytes do not fit the shape.
pub fn permute(tensor: &TensorData, axes: &[usize]) -> Result<TensorData, Error> {
    lay_out(&Rule::axes("permute", axes), Cow::Borrowed(tensor), "activation")
}

/// Change a tensor's layout; `from` is its name for a message.
pub(super) fn lay_out(rule: &Rule, tensor: Cow<'_, TensorData>, from: &str) -> Result<TensorData, Error> {
    match &rule.layout {
        Layout::Keep => Ok(tensor.into_owned()),
        Layout::Flatten => Ok(TensorData { shape: vec![tensor.shape.iter().product()], ..tensor.into_owned() }),
        Layout::Axes { axes, groups } => {
            if axes.len() != tensor.shape.len() {
                let (from, rule) = (from.to_owned(), rule.name.clone());
                return Err(Error::Rank { from, rule, wanted: axes.len(), shape: tensor.shape.clone() });
            }
            let rearrange = Rearrange { axes, groups: *groups, from };
            // Elements are opaque runs of bytes here: a layout does not depend on what they mean.
            match tensor.dtype.size() {
                1 => rearrange.apply::<1>(&tensor),
                2 => rearrange.apply::<2>(&tensor),
                4 => rearrange.apply::<4>(&tensor),
                8 => rearrange.apply::<8>(&tensor),
                _ => rearrange.apply::<16>(&tensor),
            }
        }
    }
}

/// The shape that a layout gives a tensor of this shape.
pub(super) fn shape(rule: &Rule, shape: &[usize], from: &str) -> Result<Vec<usize>, Error> {
    match &rule.layout {
        Layout::Keep => Ok(shape.to_vec()),
        Layout::Flatten => Ok(vec![shape.iter().product()]),
        Layout::Axes { axes, .. } if axes.len() != shape.len() => {
            let (from, rule) = (from.to_owned(), rule.name.clone());
            Err(Error::Rank { from, rule, wanted: axes.len(), shape: shape.to_vec() })
        }
        Layout::Axes { axes, groups } => {
            let mut group = shape.to_vec();
            if *groups > 1 {
                group[0] = part_length(shape, *groups, from)?;
            }
            let mut moved: Vec<usize> = axes.iter().map(|&axis| group[axis]).collect();
            moved[0] *= (*groups).max(1);
            Ok(moved)
        }
    }
}

/// The length of each of `parts` equal parts along axis 0.
pub(super) fn part_length(shape: &[usize], parts: usize, from: &str) -> Result<usize, Error> {
    match shape.first() {
        Some(length) if parts > 0 && length % parts == 0 => Ok(length / parts),
        _ => Err(Error::Parts { from: from.to_owned(), parts, shape: shape.to_vec() }),
    }
}

/// Tensors joined along axis 0.
pub(super) fn join(parts: &[TensorData], from: &str) -> Result<TensorData, Error> {
    let unlike = || Error::Shape { from: from.to_owned(), reason: "the parts do not go together".to_owned() };
    let (first, rest) = parts.split_first().ok_or_else(unlike)?;
    let mut joined = first.clone();
    for part in rest {
        if part.dtype != first.dtype || part.shape.get(1..) != first.shape.get(1..) || part.shape.is_empty() {
            return Err(unlike());
        }
        joined.shape[0] += part.shape[0];
        joined.bytes.extend_from_slice(&part.bytes);
    }
    Ok(joined)
}

struct Rearrange<'a> {
    axes: &'a [usize],
    groups: usize,
    from: &'a str,
}

impl Rearrange<'_> {
    fn apply<const N: usize>(&self, tensor: &TensorData) -> Result<TensorData, Error>
    where
        [u8; N]: bytemuck::Pod,
    {
        let elements: &[[u8; N]] = bytemuck::try_cast_slice(&tensor.bytes).map_err(|error| self.error(error))?;
        if self.groups == 1 {
            let no_memory = || self.error("there is no memory for it");
            let mut bytes = spare::buffer(tensor.bytes.len()).ok_or_else(no_memory)?;
            let moved = bytemuck::try_cast_slice_mut(&mut bytes).map_err(|error| self.error(error))?;
            if transpose(elements, moved, &tensor.shape, self.axes).is_some() {
                let shape = self.axes.iter().map(|&axis| tensor.shape[axis]).collect();
                return Ok(TensorData { dtype: tensor.dtype, shape, bytes });
            }
        }
        let whole = ArrayViewD::from_shape(IxDyn(&tensor.shape), elements).map_err(|error| self.error(error))?;
        let moved = if self.groups == 1 {
            whole.permuted_axes(IxDyn(self.axes)).as_standard_layout().into_owned()
        } else {
            self.by_group(&whole)?
        };
        let shape = moved.shape().to_vec();
        let bytes = bytemuck::cast_slice(moved.as_slice().unwrap_or(&[])).to_vec();
        Ok(TensorData { dtype: tensor.dtype, shape, bytes })
    }

    fn by_group<const N: usize>(&self, whole: &ArrayViewD<'_, [u8; N]>) -> Result<ArrayD<[u8; N]>, Error> {
        let length = part_length(whole.shape(), self.groups, self.from)?;
        let groups: Vec<ArrayViewD<'_, [u8; N]>> = (0..self.groups)
            .map(|group| whole.clone().slice_axis_move(Axis(0), (group * length..(group + 1) * length).into()))
            .map(|group| group.permuted_axes(IxDyn(self.axes)))
            .collect();
        let stacked = concatenate(Axis(0), &groups).map_err(|error| self.error(error))?;
        Ok(stacked.as_standard_layout().into_owned())
    }

    fn error(&self, reason: impl ToString) -> Error {
        Error::Shape { from: self.from.to_owned(), reason: reason.to_string() }
    }
}
