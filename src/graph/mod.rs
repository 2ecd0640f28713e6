//! The graph of a whole model, run node by node in both engines.
//!
//! [`plan`] makes the two calls of a node, [`run`] lets both engines go through the graph in lockstep and compares what each node
//! gives.

mod alias;
pub mod counts;
pub mod events;
mod factors;
mod fast;
mod given;
pub mod host;
pub mod inputs;
pub mod job;
pub mod judge;
mod library;
mod node;
mod outputs;
mod picks;
pub mod plan;
pub mod preflight;
pub mod results;
mod rounding;
pub mod run;
pub mod runner;
pub mod scripted;
mod special;
mod terms;
mod uses;
