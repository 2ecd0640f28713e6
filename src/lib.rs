//! The library behind `t2m-tui`: opens PyTorch checkpoints without running their code, says how each layer converts to
//! Apple's MLX, and measures it by running both engines side by side.
//!
//! The way of the data, each module knowing only those before it:
//!
//! | module | turns | into |
//! |---|---|---|
//! | [`files`], [`interrupt`] | paths | what a run reads and writes, temporary files, ending at a signal |
//! | [`checkpoint`] | a file | tensors, pickled modules, metadata |
//! | [`model`] | a checkpoint | one tree of modules |
//! | [`registry`] | `assets/registry/*.toml` | what is known of each class, op, rule and blocker |
//! | [`source`] | a class path | its `forward`, the blockers in it |
//! | [`evidence`] | model, source | classes and hyper-parameters that constructors write out |
//! | [`triage`] | model, registry, source | a status with a reason for each module |
//! | [`open`] | a path and options | all of the above, once |
//! | [`findings`] | an opened checkpoint | layers by status, blockers by place, ops: listed and counted once for all front ends |
//! | [`convert`] | a module and its registry row | a plan: MLX module, weight moves, input layout |
//! | [`compare`] | two outputs | error statistics, tolerance, verdict |
//! | [`engine`] | a plan and tensors | outputs of libtorch and of MLX, each in its own process |
//! | [`verify`] | modules and engines | trials with verdicts, as events |
//! | [`certify`] | described layers | a model of them, for measuring the registry's rows |
//! | `templates` (with the feature `mlx`) | options | blocks of mlx-rs that a composite of torch may be |
//! | [`report`] | all of it | text, JSON, Markdown |
//! | [`tui`] | all of it | the screen |
//!
//! [`figures`] writes numbers for readers. Three serve all of these: [`escape`] makes foreign text safe to print, [`child`] starts and ends other programs, [`exit`]
//! has the exit codes.

pub mod certify;
pub mod cli;
pub mod compare;
pub mod demo;
pub mod evidence;
pub mod exit;
pub mod export;
pub mod figures;
pub mod files;
pub mod findings;
pub mod interrupt;
pub mod model;
pub mod open;
pub mod plan;
pub mod program;
pub mod registry;
pub mod report;
pub mod source;
pub mod triage;
pub mod tui;
pub mod user_file;
pub mod verify;
