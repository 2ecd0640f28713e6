//! What the program does, from its command line or in a pseudo-terminal. Its engines are fake, or absent.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod adapters;
mod afar;
mod afar_bucket;
mod afar_hub;
mod built;
mod built_screen;
mod check;
mod children;
mod cli;
mod compare;
mod compare_pieces;
mod compare_values;
mod convert;
mod convert_kill;
mod convert_property;
mod convert_safety;
mod engine_client;
mod files;
mod finding;
mod graphs;
mod leaving;
mod lifecycle;
mod matrix;
mod messages;
mod norm_values;
mod odd_modules;
mod reverse;
mod sessions;
mod show;
mod signals;
mod take_away;
mod typed;
mod usage;
mod width;
mod work_screen;
