//! Pooling over one to three axes, channels last, and resizing.

use mlx_rs::module::Module;
use mlx_rs::nn::{Pool, Upsample, UpsampleMode};
use mlx_rs::{Array, Dtype, ops};

use super::{Forward, Problem, float32, inputs, single};
use t2m_engine::args::Args;
use t2m_engine::padding::width;

/// `nn.MaxPool1d` to `nn.MaxPool3d` by mlx-rs's `Pool`, whose own one- and two-dimensional modules take no padding: the
/// input is padded with -inf first, as Python's modules do.
pub(super) fn max(args: &Args<'_>, axes: usize) -> Result<Forward, Problem> {
    pool(args, axes, f64::NEG_INFINITY, |x, over| ops::max_axes(x, over, false))
}

/// `nn.AvgPool1d` to `nn.AvgPool3d` in the same way: padded with zeros, which count.
pub(super) fn average(args: &Args<'_>, axes: usize) -> Result<Forward, Problem> {
    pool(args, axes, 0.0, |x, over| ops::mean_axes(x, over, false))
}

type Reduce = fn(&Array, &[i32]) -> mlx_rs::error::Result<Array>;

fn pool(args: &Args<'_>, axes: usize, around: f64, reduce: Reduce) -> Result<Forward, Problem> {
    let sizes = |name: &str, least: i64| -> Result<Vec<i32>, Problem> {
        let sizes = args.integers(name, axes)?;
        if sizes.iter().any(|&size| size < least) {
            return Err(args.wrong(name, &format!("whole numbers from {least} on")).into());
        }
        let sizes = sizes.into_iter().map(|size| width(size).ok_or_else(|| args.wrong(name, "less")));
        Ok(sizes.collect::<Result<_, _>>()?)
    };
    let kernel = sizes("kernel_size", 1)?;
    let stride = if args.has("stride") { sizes("stride", 1)? } else { kernel.clone() };
    let padding = if args.has("padding") { sizes("padding", 0)? } else { vec![0; axes] };
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        if input.ndim() != axes + 2 {
            return Err(Problem(format!(
                "an input of shape {:?} does not have {axes} axes between batch and channels",
                input.shape()
            )));
        }
        let sides: Vec<(i32, i32)> =
            [0].iter().chain(&padding).chain(&[0]).map(|&padding| (padding, padding)).collect();
        let padded = if padding.iter().all(|&padding| padding == 0) {
            input.clone()
        } else {
            let value = Array::from_f32(float32(around)).as_dtype(input.dtype())?;
            ops::pad(input, sides.as_slice(), value, None)?
        };
        // mlx-rs makes a strided view without checking its bounds.
        if (1..=axes).any(|axis| padded.dim(axis as i32) < kernel[axis - 1]) {
            return Err(Problem(format!("a window of {kernel:?} does not fit into {:?}", padded.shape())));
        }
        let stride = stride.iter().map(|&stride| i64::from(stride)).collect();
        Ok(Pool::new(kernel.clone(), stride, reduce).forward(&padded)?)
    }))
}

/// `nn.Upsample` by mlx-rs's module.
pub(super) fn upsample(args: &Args<'_>) -> Result<Forward, Problem> {
    let align_corners = args.flag_or("align_corners", false)?;
    let mode = match args.text_or("mode", "nearest")? {
        "nearest" => UpsampleMode::Nearest,
        "linear" => UpsampleMode::Linear { align_corners },
        "cubic" => UpsampleMode::Cubic { align_corners },
        _ => return Err(args.wrong("mode", "nearest, linear or cubic").into()),
    };
    let value = args.get("scale_factor")?;
    let scales =
        value.as_array().map(|scales| scales.iter().map(serde_json::Value::as_f64).collect::<Option<Vec<_>>>());
    let scales = scales.unwrap_or_else(|| value.as_f64().map(|scale| vec![scale]));
    let scales = scales.filter(|scales| scales.iter().all(|scale| *scale > 0.0 && *scale < 1e4));
    let scales: Vec<f32> =
        scales.ok_or_else(|| args.wrong("scale_factor", "numbers above 0"))?.into_iter().map(float32).collect();
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        if input.ndim() < 3 || input.ndim() > 5 || input.size() == 0 {
            return Err(Problem(format!("an input of shape {:?} cannot be resized", input.shape())));
        }
        let scales = if scales.len() == 1 { vec![scales[0]; input.ndim() - 2] } else { scales.clone() };
        let resized = Upsample::new(scales, mode).forward(input)?;
        // Its weights are float32 and promote half precision.
        Ok(if input.dtype() == Dtype::Float32 { resized } else { resized.as_dtype(input.dtype())? })
    }))
}
