//! The library behind `t2m-tui`: opens PyTorch checkpoints without running their code, says how each layer converts to
//! Apple's MLX, and measures it by running both engines side by side.
//!
//! The way of the data, each module knowing only those before it:
//!
//! | module | turns | into |
//! |---|---|---|
//! | [`files`], [`interrupt`] | paths | what a run reads and writes, temporary files, ending at a signal |
//! | [`t2m_checkpoint`] | a file | tensors, pickled modules, metadata |
//! | [`model`] | a checkpoint | one tree of modules |
//! | [`registry`] | `assets/registry/*.toml` | what is known of each class, op, rule and blocker |
//! | [`source`] | a class path | its `forward`, the blockers in it |
//! | [`program`] | a few lines of Python | a short list of calls that an engine interprets |
//! | [`architecture`] | names and shapes | the published model that they fit: classes and hyper-parameters |
//! | [`ports`] | config, class, published model | packages that say they have it in MLX |
//! | [`evidence`] | model, source | classes and hyper-parameters that constructors write out |
//! | [`plan`] | a module and its registry row | how it is converted: MLX's layer, weight moves, inputs, or the block that it is |
//! | [`triage`] | model, registry, source | a status with a reason for each module, its plan |
//! | [`open`] | a path and options | all of the above, once |
//! | [`findings`] | an opened checkpoint | layers by status, blockers by place, ops: listed and counted once for all front ends |
//! | [`export`] | an opened model | its key map, the file of its weights, the way back, the check of somebody else's |
//! | [`t2m_engine`] | a plan and tensors | outputs of libtorch and of MLX, each in its own process |
//! | [`compare`] | two outputs | error statistics, tolerance, verdict |
//! | [`typed`] | what the user has typed | hyper-parameters and classes |
//! | [`session`] | what outlives a run | results, marks and notes, what was typed: one file a checkpoint |
//! | [`verify`] | modules and engines | trials with verdicts, as events |
//! | [`script`] | the code of a TorchScript file | the graph of its model |
//! | [`graph`] | a model's graph and engines | its nodes in both, one after the other, with verdicts, as events |
//! | [`filter`], [`fuzzy`] | a line of terms, a few letters | the modules that are wanted |
//! | [`certify`] | described layers | a model of them, for measuring the registry's rows |
//! | [`report`] | all of it | text, JSON, Markdown |
//! | [`tui`] | all of it | the screen |
//! | [`config`] | the user's file, the environment | settings and keys, each with where it is from |
//!
//! [`afar`] reaches for checkpoints elsewhere, [`rope`] knows rotary embeddings by their parameters, [`grammar`] is Python's for the parser, [`statistics`] says what the
//! numbers of a tensor are like, [`figures`] writes numbers for readers, [`base64`] bytes as letters, [`exit`] has the exit codes,
//! [`stderr`] says messages, `guess` finds what may have been meant by a word, `assets` reads what is built in, `both`
//! does two things at once.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod afar;
pub mod architecture;
mod assets;
pub mod base64;
mod both;
pub mod certify;
pub mod cli;
pub mod compare;
pub mod config;
mod contradicted;
pub mod demo;
pub mod evidence;
pub mod exit;
pub mod export;
pub mod figures;
pub mod files;
pub mod filter;
pub mod findings;
pub mod fit;
pub mod fuzzy;
pub mod grammar;
pub mod graph;
mod guess;
pub mod interrupt;
pub mod model;
pub mod open;
pub mod plan;
pub mod ports;
pub mod program;
pub mod registry;
pub mod report;
pub mod rope;
pub mod script;
pub mod session;
pub mod source;
pub mod statistics;
pub mod stderr;
mod threads;
pub mod triage;
pub mod tui;
pub mod typed;
pub mod verify;
