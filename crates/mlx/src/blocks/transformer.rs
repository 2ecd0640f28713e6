//! A transformer's encoder layer.

use mlx_rs::error::Exception;
use mlx_rs::macros::ModuleParameters;
use mlx_rs::module::{Module, Param};
use mlx_rs::quantization::MaybeQuantized;
use mlx_rs::{Array, nn};

use super::{Activation, linear};

/// The options of a [`TransformerBlock`].
#[derive(Debug, Clone, PartialEq)]
pub struct TransformerOptions {
    /// Width of the input.
    pub dims: i32,
    /// Heads of the attention.
    pub num_heads: i32,
    /// Width of the feed-forward part.
    pub mlp_dims: i32,
    /// Epsilon of both norms.
    pub eps: f32,
    /// Whether linear layers, attention and norms have a bias.
    pub bias: bool,
    /// Whether the norm comes before each part (and not after the sum).
    pub norm_first: bool,
    /// The activation of the feed-forward part.
    pub activation: Activation,
    /// Dropout, in training.
    pub dropout: f32,
}

/// Attention and a feed-forward part, each added to its input: `[N, L, E]` → the same shape.
///
/// MLX's own layers have attention without a bias, which torch's checkpoints have.
#[derive(Debug, Clone, ModuleParameters)]
#[module(root = mlx_rs)]
pub struct TransformerBlock {
    /// `attention.query_proj.weight`, …
    #[param]
    pub attention: nn::MultiHeadAttention,
    /// The attention's norm.
    #[param]
    pub ln1: nn::LayerNorm,
    /// The feed-forward part's norm.
    #[param]
    pub ln2: nn::LayerNorm,
    /// Into the feed-forward part.
    #[param]
    pub linear1: nn::Linear,
    /// Out of it.
    #[param]
    pub linear2: nn::Linear,
    /// Between the two.
    pub activation: Activation,
    /// See [`TransformerOptions::norm_first`].
    pub norm_first: bool,
    /// Dropout after the activation and after both parts.
    pub dropout: nn::Dropout,
}

impl TransformerBlock {
    /// A block with weights of zero, which [`load`](super::load) fills.
    ///
    /// # Errors
    /// MLX's, for a dropout that is not a share.
    pub fn new(options: &TransformerOptions) -> Result<TransformerBlock, Exception> {
        let TransformerOptions { dims, mlp_dims, bias, .. } = *options;
        let projection = || MaybeQuantized::Original(linear(dims, dims, bias));
        let vector = |value: f32| Some(Array::from_slice(&vec![value; dims.max(0) as usize], &[dims]));
        let norm = || nn::LayerNorm {
            dimensions: dims,
            eps: options.eps,
            weight: Param::new(vector(1.0)),
            bias: Param::new(if bias { vector(0.0) } else { None }),
        };
        Ok(TransformerBlock {
            attention: nn::MultiHeadAttention {
                num_heads: options.num_heads,
                query_proj: projection(),
                key_proj: projection(),
                value_proj: projection(),
                output_proj: projection(),
            },
            ln1: norm(),
            ln2: norm(),
            linear1: linear(dims, mlp_dims, bias),
            linear2: linear(mlp_dims, dims, bias),
            activation: options.activation,
            norm_first: options.norm_first,
            dropout: super::dropout(options.dropout)?,
        })
    }

    fn attend(&mut self, x: &Array, mask: Option<&Array>) -> Result<Array, Exception> {
        let attended = match mask {
            Some(mask) => self.attention.forward((x, x, x, mask))?,
            None => self.attention.forward((x, x, x))?,
        };
        // mlx-rs scales the scores by a float32 array, which would promote half precision.
        self.dropout.forward(&attended.as_dtype(x.dtype())?)
    }

    fn feed_forward(&mut self, x: &Array) -> Result<Array, Exception> {
        let inner = self.activation.apply(&self.linear1.forward(x)?)?;
        let inner = self.dropout.forward(&inner)?;
        self.dropout.forward(&self.linear2.forward(&inner)?)
    }
}

/// The input, and a mask that is added to the scores.
impl Module<(&Array, Option<&Array>)> for TransformerBlock {
    type Output = Array;
    type Error = Exception;

    fn forward(&mut self, (x, mask): (&Array, Option<&Array>)) -> Result<Array, Exception> {
        if self.norm_first {
            let normed = self.ln1.forward(x)?;
            let x = x.add(self.attend(&normed, mask)?)?;
            let normed = self.ln2.forward(&x)?;
            x.add(self.feed_forward(&normed)?)
        } else {
            let sum = x.add(self.attend(x, mask)?)?;
            let x = self.ln1.forward(&sum)?;
            let sum = x.add(self.feed_forward(&x)?)?;
            self.ln2.forward(&sum)
        }
    }

    fn training_mode(&mut self, mode: bool) {
        <nn::MultiHeadAttention as Module<nn::MultiHeadAttentionInput<'_>>>::training_mode(&mut self.attention, mode);
        self.dropout.training_mode(mode);
    }
}
