//! The two engines: programs that compute a layer on given tensors, and do nothing else.
//!
//! [`protocol`] is what they say over a pipe, [`memory`] where the tensors lie meanwhile, and [`conversation`] how the client reads it; [`process`] is a running
//! program, [`client`] asks it and survives its death. [`serve`] is the loop inside the programs; the packages
//! `t2m-torch` and `t2m-mlx` do the computing.

pub mod args;
pub mod child;
pub mod client;
pub mod conversation;
pub mod device;
pub mod environment;
pub mod graph;
pub mod header;
pub mod installed;
pub mod memory;
pub mod own;
pub mod padding;
pub mod process;
pub mod program;
pub mod protocol;
pub mod serve;

pub use client::Client;
pub use device::Device;
pub use program::{ModuleSpec, Program};
pub use protocol::EngineInfo;

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// libtorch, the reference.
    Torch,
    /// MLX, the conversion's target.
    Mlx,
}

impl Side {
    /// The engine's program.
    pub fn program(self) -> &'static str {
        match self {
            Side::Torch => "t2m-torch",
            Side::Mlx => "t2m-mlx",
        }
    }

    /// The environment variable that names another program.
    pub fn variable(self) -> &'static str {
        match self {
            Side::Torch => "T2M_TORCH",
            Side::Mlx => "T2M_MLX",
        }
    }

    /// The library's name on screen.
    pub fn library(self) -> &'static str {
        match self {
            Side::Torch => "libtorch",
            Side::Mlx => "mlx",
        }
    }
}

/// What an engine is doing.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineState {
    /// Not started; it starts with the first run.
    Idle,
    /// Started, not yet greeted.
    Starting,
    /// Greeted and waiting or working.
    Ready(EngineInfo),
    /// Missing, dead, hung or of another protocol: the reason, as a sentence. The next run starts it again.
    Down(String),
}
