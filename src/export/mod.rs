//! The weights of a whole model for MLX: which tensor becomes which ([`state_dict`]), the file they are written to
//! ([`writer`]), all of it from end to end ([`run`]), a LoRA adapter as mlx-lm
//! reads one ([`adapter`]), the way back ([`reverse`]), and somebody else's conversion held against ours ([`check`]).

pub mod adapter;
pub mod already;
pub mod check;
pub mod reverse;
pub mod run;
pub mod state_dict;
pub mod writer;

pub use state_dict::StateDict;
