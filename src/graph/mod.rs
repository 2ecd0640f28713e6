//! The graph of a whole model, run node by node in both engines.
//!
//! [`plan`] makes the two calls of a node, [`run`] lets both engines go through the graph in lockstep and compares what each node
//! gives.

mod alias;
pub mod events;
pub mod host;
pub mod inputs;
pub mod judge;
mod node;
pub mod plan;
pub mod preflight;
pub mod results;
pub mod run;
pub mod scripted;
