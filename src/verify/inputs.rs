//! The inputs of trials, each drawn once: layers of one shape are given the same numbers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::judge::Terms;
use super::tensors::mlx_input;
use crate::plan::Input;
use t2m_checkpoint::{Dtype, TensorData};

/// Bytes of inputs that are kept for layers to come.
const KEPT: usize = 64 << 20;

/// An input for both sides.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub torch: Arc<TensorData>,
    pub mlx: Arc<TensorData>,
}

impl Given {
    fn bytes(&self) -> usize {
        self.torch.bytes.len() + if Arc::ptr_eq(&self.torch, &self.mlx) { 0 } else { self.mlx.bytes.len() }
    }
}

/// What an input is drawn from.
#[derive(Debug, PartialEq)]
struct Drawn {
    input: Input,
    seed: u64,
    position: usize,
    dtype: Dtype,
}

/// Inputs that were drawn, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    drawn: VecDeque<(Drawn, Given)>,
    bytes: usize,
}

impl Inputs {
    /// The inputs of a trial: drawn by the seed, or explicit ones, which MLX gets as they are.
    ///
    /// # Errors
    /// One cannot be laid out for MLX; says why.
    pub fn of(&mut self, terms: &Terms<'_>, seed: u64) -> Result<Vec<Given>, String> {
        let inputs = terms.plan.inputs.iter().enumerate();
        let given = |(position, input): (usize, &Input)| match terms.given.get(position).and_then(Option::as_ref) {
            Some(data) => {
                let data = Arc::new(data.clone());
                Ok(Given { torch: Arc::clone(&data), mlx: data })
            }
            None => self.draw(Drawn { input: input.clone(), seed, position, dtype: terms.dtype }),
        };
        inputs.map(given).collect()
    }

    fn draw(&mut self, drawn: Drawn) -> Result<Given, String> {
        if let Some((_, given)) = self.drawn.iter().find(|(known, _)| *known == drawn) {
            return Ok(given.clone());
        }
        let data = drawn.input.generate(drawn.seed, drawn.position, drawn.dtype);
        let moved = mlx_input(&data, &drawn.input)?;
        let torch = Arc::new(data);
        let mlx = moved.map_or_else(|| Arc::clone(&torch), Arc::new);
        let given = Given { torch, mlx };
        self.keep(drawn, given.clone());
        Ok(given)
    }

    fn keep(&mut self, drawn: Drawn, given: Given) {
        let bytes = given.bytes();
        if bytes > KEPT {
            return;
        }
        self.bytes += bytes;
        self.drawn.push_back((drawn, given));
        while self.bytes > KEPT {
            let Some((_, oldest)) = self.drawn.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::plan::input::Values;

    fn drawn(rows: usize, seed: u64) -> Drawn {
        let input = Input::new(vec![rows, 1 << 10], Values::Normal(1.0)).channels_last();
        Drawn { input, seed, position: 0, dtype: Dtype::Float32 }
    }

    #[test]
    fn an_input_is_drawn_once_and_is_the_one_of_its_seed() {
        let mut inputs = Inputs::default();
        let first = inputs.draw(drawn(3, 7)).unwrap();
        let again = inputs.draw(drawn(3, 7)).unwrap();
        assert!(Arc::ptr_eq(&first.torch, &again.torch) && Arc::ptr_eq(&first.mlx, &again.mlx));
        assert_eq!(*first.torch, drawn(3, 7).input.generate(7, 0, Dtype::Float32));
        assert_ne!(*first.torch, *inputs.draw(drawn(3, 8)).unwrap().torch);
        assert_ne!(first.torch.shape, inputs.draw(drawn(4, 7)).unwrap().torch.shape);
        let other = Drawn { dtype: Dtype::Float16, ..drawn(3, 7) };
        assert_eq!(inputs.draw(other).unwrap().torch.dtype, Dtype::Float16);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut inputs = Inputs::default();
        let zeros = |bytes| Arc::new(TensorData { dtype: Dtype::UInt8, shape: vec![bytes], bytes: vec![0; bytes] });
        inputs.keep(drawn(1, 0), Given { torch: zeros(KEPT / 2), mlx: zeros(KEPT / 2 + 1) });
        assert!(inputs.drawn.is_empty(), "one that is larger is not kept");
        for seed in 0..20 {
            let same = zeros(10 << 20);
            inputs.keep(drawn(1, seed), Given { torch: Arc::clone(&same), mlx: same });
            let held: usize = inputs.drawn.iter().map(|(_, given)| given.bytes()).sum();
            assert!(held == inputs.bytes && held <= KEPT, "{held}");
        }
        assert_eq!(inputs.drawn.len(), 6);
        assert_eq!(inputs.drawn.back().map(|(drawn, _)| drawn.seed), Some(19), "the last are there");
    }
}
