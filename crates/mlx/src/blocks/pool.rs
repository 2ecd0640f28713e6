//! Adaptive average pooling.

use mlx_rs::error::Exception;
use mlx_rs::macros::ModuleParameters;
use mlx_rs::module::Module;
use mlx_rs::{Array, ops};

/// The mean over windows that divide the input evenly, channels last: `[N, H, W, C]` → `[N, h, w, C]`.
///
/// Output i of n covers the inputs from ⌊i·size/n⌋ up to ⌈(i+1)·size/n⌉, as torch counts: windows may overlap, and n
/// need not divide the size.
#[derive(Debug, Clone, ModuleParameters)]
#[module(root = mlx_rs)]
pub struct AdaptiveAvgPool2d {
    /// Height and width of the output; `None` keeps the input's.
    pub output_size: [Option<i32>; 2],
}

impl Module<&Array> for AdaptiveAvgPool2d {
    type Output = Array;
    type Error = Exception;

    fn forward(&mut self, x: &Array) -> Result<Array, Exception> {
        let &[_, height, width, _] = x.shape() else {
            return Err(Exception::custom(format!("an input of shape {:?}; four axes were expected", x.shape())));
        };
        let rows = mean_along(x, 1, height, self.output_size[0].unwrap_or(height))?;
        mean_along(&rows, 2, width, self.output_size[1].unwrap_or(width))
    }

    fn training_mode(&mut self, _: bool) {}
}

fn mean_along(x: &Array, axis: i32, size: i32, outputs: i32) -> Result<Array, Exception> {
    let window = |index: i32| {
        let (start, stop) = (index * size / outputs, ((index + 1) * size + outputs - 1) / outputs);
        let places: Vec<i32> = (start..stop).collect();
        let places = Array::from_slice(&places, &[places.len() as i32]);
        ops::indexing::take_axis(x, places, axis)?.mean_axis(axis, true)
    };
    let means = (0..outputs).map(window).collect::<Result<Vec<_>, _>>()?;
    ops::concatenate(&means, axis)
}
