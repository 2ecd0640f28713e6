//! Pooling.

use tch::{TchError, Tensor};

use super::tensor::length;
use super::{Built, Forward, Problem, inputs, single, unpool};
use t2m_engine::args::Args;

/// The class `torch.nn.modules.pooling.*`; inputs `[N, C, *]` or `[C, *]`.
pub(super) fn build(class: &str, args: &Args<'_>) -> Built {
    let Some((name, axes)) = class.split_at_checked(class.len().saturating_sub(2)) else { return Ok(None) };
    let axes = match axes {
        "1d" => 1,
        "2d" => 2,
        "3d" => 3,
        _ => return Ok(None),
    };
    Ok(Some(match name {
        "MaxPool" => max(args, axes)?,
        "AvgPool" => average(args, axes)?,
        "LPPool" => power(args, axes)?,
        "AdaptiveAvgPool" => adaptive_average(args, axes)?,
        "AdaptiveMaxPool" => adaptive_max(args, axes)?,
        "MaxUnpool" => unpool::max(args, axes)?,
        _ => return Ok(None),
    }))
}

/// The stride; by default as wide as the kernel.
fn stride(args: &Args<'_>, kernel: &[i64]) -> Result<Vec<i64>, Problem> {
    if args.is_none("stride")? { Ok(kernel.to_vec()) } else { Ok(args.integers("stride", kernel.len())?) }
}

/// `MaxPool1d`, `MaxPool2d`, `MaxPool3d`; with `return_indices` the places of the largest elements are a second output.
fn max(args: &Args<'_>, axes: usize) -> Result<Forward, Problem> {
    let kernel = args.integers("kernel_size", axes)?;
    let stride = stride(args, &kernel)?;
    let (padding, dilation) = (args.integers("padding", axes)?, args.integers("dilation", axes)?);
    let (ceil, indices) = (args.flag("ceil_mode")?, args.flag("return_indices")?);
    Ok(Box::new(move |_, given| {
        let [input] = inputs(given)?;
        if !indices {
            return Ok(vec![match axes {
                1 => input.f_max_pool1d(&kernel, &stride, &padding, &dilation, ceil)?,
                2 => input.f_max_pool2d(&kernel, &stride, &padding, &dilation, ceil)?,
                _ => input.f_max_pool3d(&kernel, &stride, &padding, &dilation, ceil)?,
            }]);
        }
        let (output, indices) = match axes {
            1 => input.f_max_pool1d_with_indices(&kernel, &stride, &padding, &dilation, ceil)?,
            2 => input.f_max_pool2d_with_indices(&kernel, &stride, &padding, &dilation, ceil)?,
            _ => input.f_max_pool3d_with_indices(&kernel, &stride, &padding, &dilation, ceil)?,
        };
        Ok(vec![output, indices])
    }))
}

/// How averages are taken.
struct Average {
    kernel: Vec<i64>,
    stride: Vec<i64>,
    padding: Vec<i64>,
    ceil: bool,
    count_padding: bool,
    divisor: Option<i64>,
}

impl Average {
    fn of(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let Average { kernel, stride, padding, ceil, count_padding, divisor } = self;
        match kernel.len() {
            1 => input.f_avg_pool1d(kernel, stride, padding, *ceil, *count_padding),
            2 => input.f_avg_pool2d(kernel, stride, padding, *ceil, *count_padding, *divisor),
            _ => input.f_avg_pool3d(kernel, stride, padding, *ceil, *count_padding, *divisor),
        }
    }
}

/// `AvgPool1d`, `AvgPool2d`, `AvgPool3d`.
fn average(args: &Args<'_>, axes: usize) -> Result<Forward, Problem> {
    let kernel = args.integers("kernel_size", axes)?;
    let average = Average {
        stride: stride(args, &kernel)?,
        padding: args.integers("padding", axes)?,
        ceil: args.flag("ceil_mode")?,
        count_padding: args.flag("count_include_pad")?,
        divisor: if axes == 1 { None } else { args.integer_or_none("divisor_override")? },
        kernel,
    };
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        Ok(average.of(input)?)
    }))
}

/// `LPPool1d`, `LPPool2d`, `LPPool3d`: the norm_type-th root of the sum of powers.
fn power(args: &Args<'_>, axes: usize) -> Result<Forward, Problem> {
    let norm = args.number("norm_type")?;
    if norm == 0.0 {
        return Err(args.wrong("norm_type", "a number other than 0").into());
    }
    let kernel = args.integers("kernel_size", axes)?;
    let count: i64 = kernel.iter().fold(1, |product, size| product.saturating_mul(*size));
    let average = Average {
        stride: stride(args, &kernel)?,
        padding: vec![0; axes],
        ceil: args.flag("ceil_mode")?,
        count_padding: true,
        divisor: None,
        kernel,
    };
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        let mean = average.of(&input.f_pow_tensor_scalar(norm)?)?;
        let sum = mean.f_sign()?.f_mul(&mean.f_abs()?.f_relu()?)?.f_mul_scalar(count)?;
        Ok(sum.f_pow_tensor_scalar(1.0 / norm)?)
    }))
}

/// The output's sizes; for null the input's stays.
fn sizes(wanted: &[Option<i64>], input: &Tensor) -> Result<Vec<i64>, Problem> {
    let count = wanted.len();
    let size = |(index, size): (usize, &Option<i64>)| match size {
        Some(size) => Ok(*size),
        None => length(input, index as i64 - count as i64),
    };
    wanted.iter().enumerate().map(size).collect()
}

/// `AdaptiveAvgPool1d`, `AdaptiveAvgPool2d`, `AdaptiveAvgPool3d`.
fn adaptive_average(args: &Args<'_>, axes: usize) -> Result<Forward, Problem> {
    let wanted = args.sizes("output_size", axes)?;
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        let sizes = sizes(&wanted, input)?;
        Ok(match axes {
            1 => input.f_adaptive_avg_pool1d(&sizes)?,
            2 => input.f_adaptive_avg_pool2d(&sizes)?,
            _ => input.f_adaptive_avg_pool3d(&sizes)?,
        })
    }))
}

/// `AdaptiveMaxPool1d`, `AdaptiveMaxPool2d`, `AdaptiveMaxPool3d`, with `return_indices` like [`max`].
fn adaptive_max(args: &Args<'_>, axes: usize) -> Result<Forward, Problem> {
    let (wanted, indices) = (args.sizes("output_size", axes)?, args.flag("return_indices")?);
    Ok(Box::new(move |_, given| {
        let [input] = inputs(given)?;
        let sizes = sizes(&wanted, input)?;
        let (output, places) = match axes {
            1 => input.f_adaptive_max_pool1d(&sizes)?,
            2 => input.f_adaptive_max_pool2d(&sizes)?,
            _ => input.f_adaptive_max_pool3d(&sizes)?,
        };
        Ok(if indices { vec![output, places] } else { vec![output] })
    }))
}
