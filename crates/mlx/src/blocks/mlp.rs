//! Linear layers with an activation between them.

use mlx_rs::error::Exception;
use mlx_rs::macros::ModuleParameters;
use mlx_rs::module::Module;
use mlx_rs::{Array, nn};

use super::{Activation, linear};

/// Linear layers, each but the last followed by an activation and, in training, dropout: `[*, in]` → `[*, out]`.
#[derive(Debug, Clone, ModuleParameters)]
#[module(root = mlx_rs)]
pub struct Mlp {
    /// `layers.0.weight`, `layers.0.bias`, `layers.1.weight`, …
    #[param]
    pub layers: Vec<nn::Linear>,
    /// Between them.
    pub activation: Activation,
    /// After each activation.
    pub dropout: nn::Dropout,
}

impl Mlp {
    /// An MLP of these widths, beginning with the input's, with weights of zero.
    ///
    /// # Errors
    /// MLX's, for a dropout that is not a share.
    pub fn new(dims: &[i32], bias: bool, activation: Activation, dropout: f32) -> Result<Mlp, Exception> {
        let layers = dims.windows(2).map(|pair| linear(pair[0], pair[1], bias)).collect();
        Ok(Mlp { layers, activation, dropout: super::dropout(dropout)? })
    }
}

impl Module<&Array> for Mlp {
    type Output = Array;
    type Error = Exception;

    fn forward(&mut self, x: &Array) -> Result<Array, Exception> {
        let last = self.layers.len().saturating_sub(1);
        let mut x = x.clone();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            x = layer.forward(&x)?;
            if index < last {
                x = self.dropout.forward(&self.activation.apply(&x)?)?;
            }
        }
        Ok(x)
    }

    fn training_mode(&mut self, mode: bool) {
        self.dropout.training_mode(mode);
    }
}
