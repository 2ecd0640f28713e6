//! The partial inverse of max pooling.

use tch::Tensor;

use super::call;
use super::tensor::length;
use super::{Forward, Problem, single};
use t2m_engine::args::Args;

/// `MaxUnpool1d`, `MaxUnpool2d`, `MaxUnpool3d`: inputs `[N, C, *]` or `[C, *]` and the indices of the pooling in the same
/// shape. `call.output_size` chooses between the sizes that the pooling could have come from.
pub(super) fn max(args: &Args<'_>, axes: usize) -> Result<Forward, Problem> {
    let sizes = Sizes {
        kernel: args.integers("kernel_size", axes)?,
        stride: args.integers("stride", axes)?,
        padding: args.integers("padding", axes)?,
    };
    let (order, wanted) = call::read(args, &["input", "indices"], |call| call.list_or_none("output_size"))?;
    Ok(single(move |_, given| {
        let named = order.bind(given)?;
        let (input, indices) = (named.get("input")?, named.get("indices")?);
        let size = sizes.output(input, wanted.as_deref())?;
        Ok(match axes {
            1 => {
                let size: Vec<i64> = size.into_iter().chain([1]).collect();
                input.f_unsqueeze(-1)?.f_max_unpool2d(&indices.f_unsqueeze(-1)?, &size)?.f_squeeze_dim(-1)?
            }
            2 => input.f_max_unpool2d(indices, &size)?,
            _ => input.f_max_unpool3d(indices, &size, &sizes.stride, &sizes.padding)?,
        })
    }))
}

/// The pooling's window, one number for each axis.
struct Sizes {
    kernel: Vec<i64>,
    stride: Vec<i64>,
    padding: Vec<i64>,
}

impl Sizes {
    /// The smallest size that the pooling could have come from, or the requested one if it is less than a stride away.
    fn output(&self, input: &Tensor, wanted: Option<&[i64]>) -> Result<Vec<i64>, Problem> {
        let count = self.kernel.len();
        let wanted = match wanted {
            Some(sizes) if sizes.len() == count => Some(sizes),
            Some([_, _, sizes @ ..]) if sizes.len() == count => Some(sizes),
            Some(sizes) => return Err(Problem(format!("the output_size is {sizes:?}; it needs {count} sizes"))),
            None => None,
        };
        let mut output = Vec::with_capacity(count);
        for (axis, ((kernel, stride), padding)) in self.kernel.iter().zip(&self.stride).zip(&self.padding).enumerate() {
            let steps = length(input, axis as i64 - count as i64)?.saturating_sub(1).saturating_mul(*stride);
            let usual = steps.saturating_add(*kernel).saturating_sub(padding.saturating_mul(2));
            let size = wanted.and_then(|sizes| sizes.get(axis).copied()).unwrap_or(usual);
            if size < 0 || (wanted.is_some() && size.saturating_sub(usual).saturating_abs() >= *stride) {
                return Err(Problem(format!("the output's axis {axis} cannot have the size {size}")));
            }
            output.push(size);
        }
        Ok(output)
    }
}
