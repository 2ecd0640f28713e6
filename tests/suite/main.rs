//! What the library does, without engines: reading files, source code, plans, and the screen as it is drawn.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod architectures;
mod assumed;
mod axes;
mod blocker_patterns;
mod blockers;
mod checkpoint;
mod configured;
mod constructors;
mod constructors_evaluated;
mod constructors_wrapped;
mod contradicted;
mod expected;
mod exported;
mod facts;
mod files;
mod filter;
mod folders;
mod front_ends;
mod graph_inputs;
mod headline;
mod hostile;
mod idioms;
mod imports;
mod inference;
mod inheritance;
mod inverse;
mod key_maps;
mod keys_documented;
mod labelled;
mod legacy;
mod made;
mod missing_ops;
mod ops;
mod ops_by_arguments;
mod orders;
mod overrides;
mod pictures;
mod ports;
mod reached;
mod records;
mod report_page;
mod repro;
mod screen_actions;
mod screen_build;
mod screen_details;
mod screen_devices;
mod screen_graph;
mod screen_kept;
mod screen_panels;
mod screen_states;
mod screens;
mod sessions;
mod source;
mod source_limits;
mod statistics;
mod steering;
mod to_port;
mod torchscript;
mod twins;
mod typed;
