//! What needs both engines. T2M_TORCH and T2M_MLX name their programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../../benches/generate/mod.rs"]
mod generate;

mod assumed;
mod aten;
mod certify;
mod certify_ops;
mod convert;
mod devices;
mod graph_runs;
mod graph_told;
mod graphs;
mod instructions;
mod layers;
mod planted;
mod same;
mod sessions;
mod terminal;
mod transport;
mod verify;
