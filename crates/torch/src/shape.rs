//! Layers that move elements: flatten, shuffles, fold.

use tch::Tensor;

use super::{Built, Forward, Problem, inputs, single};
use t2m_engine::args::Args;

/// The classes of `torch.nn.modules.flatten`, `pixelshuffle`, `channelshuffle` and `fold`.
pub(super) fn build(class: &str, args: &Args<'_>) -> Built {
    Ok(Some(match class {
        "Flatten" => {
            let (first, last) = (args.integer("start_dim")?, args.integer("end_dim")?);
            moving(move |input| Ok(input.f_flatten(first, last)?))
        }
        "Unflatten" => {
            let (axis, sizes) = (args.integer("dim")?, args.list("unflattened_size")?);
            moving(move |input| Ok(input.f_unflatten(axis, &sizes)?))
        }
        "PixelShuffle" => {
            let factor = args.integer("upscale_factor")?;
            moving(move |input| Ok(input.f_pixel_shuffle(factor)?))
        }
        "PixelUnshuffle" => {
            let factor = args.integer("downscale_factor")?;
            moving(move |input| Ok(input.f_pixel_unshuffle(factor)?))
        }
        "ChannelShuffle" => {
            let groups = args.integer("groups")?;
            moving(move |input| Ok(input.f_channel_shuffle(groups)?))
        }
        "Unfold" => unfold(args)?,
        "Fold" => fold(args)?,
        _ => return Ok(None),
    }))
}

fn moving(function: impl Fn(&Tensor) -> Result<Tensor, Problem> + 'static) -> Forward {
    single(move |_, given| {
        let [input] = inputs(given)?;
        function(input)
    })
}

/// A kernel over two axes.
struct Window {
    kernel: Vec<i64>,
    dilation: Vec<i64>,
    padding: Vec<i64>,
    stride: Vec<i64>,
}

impl Window {
    fn new(args: &Args<'_>) -> Result<Window, Problem> {
        Ok(Window {
            kernel: args.integers("kernel_size", 2)?,
            dilation: args.integers("dilation", 2)?,
            padding: args.integers("padding", 2)?,
            stride: args.integers("stride", 2)?,
        })
    }
}

/// `Unfold`: `[N, C, H, W]` to `[N, C · kernel, places]`.
fn unfold(args: &Args<'_>) -> Result<Forward, Problem> {
    let window = Window::new(args)?;
    Ok(moving(move |input| Ok(input.f_im2col(&window.kernel, &window.dilation, &window.padding, &window.stride)?)))
}

/// `Fold`: `[N, C · kernel, places]` to `[N, C, *output_size]`.
fn fold(args: &Args<'_>) -> Result<Forward, Problem> {
    let (window, size) = (Window::new(args)?, args.integers("output_size", 2)?);
    Ok(moving(move |input| {
        Ok(input.f_col2im(&size, &window.kernel, &window.dilation, &window.padding, &window.stride)?)
    }))
}
