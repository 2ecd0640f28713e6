//! A convolution followed by a norm and an activation, and stacks of them.

use mlx_rs::error::Exception;
use mlx_rs::macros::ModuleParameters;
use mlx_rs::module::{Module, Param};
use mlx_rs::{Array, nn, ops};

use super::Activation;

/// A convolution over one, two or three axes, channels last: `[N, *, in]` → `[N, *, out]`.
#[derive(Debug, Clone, ModuleParameters)]
#[module(root = mlx_rs)]
pub struct Convolution {
    /// `[out, *kernel, in / groups]`
    #[param]
    pub weight: Param<Array>,
    /// `[out]`
    #[param]
    pub bias: Param<Option<Array>>,
    /// One for each axis.
    pub stride: Vec<i32>,
    /// Zeros on both sides of each axis.
    pub padding: Vec<i32>,
    /// One for each axis.
    pub dilation: Vec<i32>,
    /// Groups of channels.
    pub groups: i32,
}

impl Module<&Array> for Convolution {
    type Output = Array;
    type Error = Exception;

    fn forward(&mut self, x: &Array) -> Result<Array, Exception> {
        // Padded separately: MLX on the CPU overruns its memory if the padding is longer than the output.
        let padded = if self.padding.iter().all(|&width| width == 0) {
            x.clone()
        } else {
            let sides = self.padding.iter().map(|&width| (width, width));
            let widths: Vec<(i32, i32)> = std::iter::once((0, 0)).chain(sides).chain([(0, 0)]).collect();
            ops::pad(x, widths.as_slice(), None, None)?
        };
        let zeros = vec![0; self.stride.len()];
        let ones = vec![1; self.stride.len()];
        let (stride, dilation) = (self.stride.as_slice(), self.dilation.as_slice());
        let weight = &self.weight.value;
        let output =
            ops::conv_general(padded, weight, stride, zeros.as_slice(), dilation, ones.as_slice(), self.groups, false)?;
        match &self.bias.value {
            Some(bias) => output.add(bias),
            None => Ok(output),
        }
    }

    fn training_mode(&mut self, _: bool) {}
}

/// The options of a [`ConvBlock`].
#[derive(Debug, Clone, PartialEq)]
pub struct ConvOptions {
    /// Channels of the input.
    pub in_channels: i32,
    /// Channels of the output.
    pub out_channels: i32,
    /// One for each axis, like the following three.
    pub kernel_size: Vec<i32>,
    /// Step of the kernel.
    pub stride: Vec<i32>,
    /// Zeros on both sides.
    pub padding: Vec<i32>,
    /// Distance of the kernel's elements.
    pub dilation: Vec<i32>,
    /// Groups of channels.
    pub groups: i32,
    /// Whether the convolution has a bias.
    pub bias: bool,
    /// The epsilon of a batch norm after the convolution; `None` for no norm.
    pub norm: Option<f32>,
    /// The activation after the norm; `None` for none.
    pub activation: Option<Activation>,
}

/// A convolution, a batch norm and an activation.
#[derive(Debug, Clone, ModuleParameters)]
#[module(root = mlx_rs)]
pub struct ConvBlock {
    /// `conv.weight`, `conv.bias`
    #[param]
    pub conv: Convolution,
    /// `norm.weight`, `norm.bias`, `norm.running_mean`, `norm.running_var`
    #[param]
    pub norm: Option<nn::BatchNorm>,
    /// The activation after them.
    pub activation: Option<Activation>,
}

impl ConvBlock {
    /// A block with weights of zero, which [`load`](super::load) fills.
    ///
    /// # Errors
    /// MLX's.
    pub fn new(options: &ConvOptions) -> Result<ConvBlock, Exception> {
        let out = options.out_channels;
        let shape = [&[out], options.kernel_size.as_slice(), &[options.in_channels / options.groups.max(1)]].concat();
        let vector = |value: f32| Param::new(Some(Array::from_slice(&vec![value; out.max(0) as usize], &[out])));
        let conv = Convolution {
            weight: Param::new(ops::zeros::<f32>(&shape)?),
            bias: if options.bias { vector(0.0) } else { Param::new(None) },
            stride: options.stride.clone(),
            padding: options.padding.clone(),
            dilation: options.dilation.clone(),
            groups: options.groups,
        };
        let norm = options.norm.map(|eps| nn::BatchNorm {
            feature_count: out,
            eps: Array::from_f32(eps),
            momentum: Array::from_f32(nn::BatchNorm::DEFAULT_MOMENTUM),
            weight: vector(1.0),
            bias: vector(0.0),
            running_mean: vector(0.0),
            running_var: vector(1.0),
            training: true,
        });
        Ok(ConvBlock { conv, norm, activation: options.activation })
    }
}

impl Module<&Array> for ConvBlock {
    type Output = Array;
    type Error = Exception;

    fn forward(&mut self, x: &Array) -> Result<Array, Exception> {
        let mut x = self.conv.forward(x)?;
        if let Some(norm) = &mut self.norm {
            // mlx-rs's norm keeps its epsilon as a float32 array, which would promote half precision.
            x = norm.forward(&x)?.as_dtype(x.dtype())?;
        }
        match self.activation {
            Some(activation) => activation.apply(&x),
            None => Ok(x),
        }
    }

    fn training_mode(&mut self, mode: bool) {
        if let Some(norm) = &mut self.norm {
            norm.training_mode(mode);
        }
    }
}

/// Convolution blocks one after the other.
#[derive(Debug, Clone, ModuleParameters)]
#[module(root = mlx_rs)]
pub struct ConvStack {
    /// `blocks.0.conv.weight`, …
    #[param]
    pub blocks: Vec<ConvBlock>,
}

impl ConvStack {
    /// A stack of these blocks.
    ///
    /// # Errors
    /// MLX's.
    pub fn new(blocks: &[ConvOptions]) -> Result<ConvStack, Exception> {
        Ok(ConvStack { blocks: blocks.iter().map(ConvBlock::new).collect::<Result<_, _>>()? })
    }
}

impl Module<&Array> for ConvStack {
    type Output = Array;
    type Error = Exception;

    fn forward(&mut self, x: &Array) -> Result<Array, Exception> {
        self.blocks.iter_mut().try_fold(x.clone(), |x, block| block.forward(&x))
    }

    fn training_mode(&mut self, mode: bool) {
        self.blocks.iter_mut().for_each(|block| block.training_mode(mode));
    }
}
