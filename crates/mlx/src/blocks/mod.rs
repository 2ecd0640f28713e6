//! Blocks that models are made of, as modules of mlx-rs: an MLP, a convolution block, a stack of them, a transformer block and
//! an adaptive average pool. `plan::blocks` of t2m-tui says which module of a checkpoint is one, and `load` takes its converted
//! weights. Each is measured against torch's own (`t2m-tui matrix`).
//!
//! Parameters have the names that the conversion gives them; activations are channels-last.

mod conv;
mod mlp;
mod pool;
mod transformer;

use mlx_rs::builder::Builder;
use mlx_rs::error::Exception;
use mlx_rs::module::{ModuleParameters, Param};
use mlx_rs::{Array, nn};

pub use conv::{ConvBlock, ConvOptions, ConvStack};
pub use mlp::Mlp;
pub use pool::AdaptiveAvgPool2d;
pub use transformer::{TransformerBlock, TransformerOptions};

/// A function that is applied element by element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// By the error function, torch's `approximate="none"`.
    Gelu,
    /// By tanh, torch's `approximate="tanh"`.
    GeluTanh,
    /// x · sigmoid(x)
    Silu,
    /// tanh(x)
    Tanh,
    /// 1 / (1 + exp(-x))
    Sigmoid,
}

impl Activation {
    /// The activation of that name.
    pub fn named(name: &str) -> Option<Activation> {
        Some(match name {
            "relu" => Activation::Relu,
            "gelu" => Activation::Gelu,
            "gelu_tanh" => Activation::GeluTanh,
            "silu" => Activation::Silu,
            "tanh" => Activation::Tanh,
            "sigmoid" => Activation::Sigmoid,
            _ => return None,
        })
    }

    /// Apply it.
    ///
    /// # Errors
    /// MLX's.
    pub fn apply(self, x: &Array) -> Result<Array, Exception> {
        let y = match self {
            Activation::Relu => nn::relu(x),
            Activation::Gelu => nn::gelu(x),
            Activation::GeluTanh => nn::gelu_approximate(x),
            Activation::Silu => nn::silu(x),
            Activation::Tanh => mlx_rs::ops::tanh(x),
            Activation::Sigmoid => mlx_rs::ops::sigmoid(x),
        }?;
        // Constants in mlx-rs's functions are float32 arrays, which would promote half precision.
        y.as_dtype(x.dtype())
    }
}

/// Why weights do not fit a module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The module has a parameter without a weight.
    #[error("there is no weight `{0}`")]
    Missing(String),
    /// A weight has no parameter.
    #[error("the module has no parameter `{0}`")]
    Unknown(String),
    /// A weight has another shape than its parameter.
    #[error("`{name}` has the shape {given:?}, its parameter {wanted:?}")]
    Shape {
        /// The parameter's name.
        name: String,
        /// The weight's.
        given: Vec<i32>,
        /// The parameter's.
        wanted: Vec<i32>,
    },
}

/// Replace a module's parameters with converted weights: every one, and no other.
///
/// # Errors
/// A parameter without a weight, a weight without a parameter, or one of another shape. Some parameters may have been
/// replaced by then.
pub fn load(
    module: &mut impl ModuleParameters,
    weights: impl IntoIterator<Item = (String, Array)>,
) -> Result<(), LoadError> {
    let mut parameters = module.parameters_mut().flatten();
    for (name, weight) in weights {
        let parameter = parameters.remove(name.as_str()).ok_or_else(|| LoadError::Unknown(name.clone()))?;
        if parameter.shape() != weight.shape() {
            let (given, wanted) = (weight.shape().to_vec(), parameter.shape().to_vec());
            return Err(LoadError::Shape { name, given, wanted });
        }
        *parameter = weight;
    }
    match parameters.into_keys().min() {
        Some(name) => Err(LoadError::Missing(name.to_string())),
        None => Ok(()),
    }
}

/// A linear layer of zeros, which [`load`] fills.
fn linear(inputs: i32, outputs: i32, bias: bool) -> nn::Linear {
    let zeros = |shape: &[i32]| Array::from_slice(&vec![0.0f32; shape.iter().product::<i32>().max(0) as usize], shape);
    nn::Linear { weight: Param::new(zeros(&[outputs, inputs])), bias: Param::new(bias.then(|| zeros(&[outputs]))) }
}

/// Dropout with this probability.
fn dropout(share: f32) -> Result<nn::Dropout, Exception> {
    nn::DropoutBuilder::new().p(share).build().map_err(|error| Exception::custom(error.to_string()))
}
