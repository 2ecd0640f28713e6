//! How much memory the library takes. A counting allocator counts for the whole process, so these tests have a process of
//! their own and run one after the other: each holds [`alone`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../../benches/generate/mod.rs"]
mod generate;
#[path = "../common/memory.rs"]
mod memory;

use std::sync::{Mutex, MutexGuard, PoisonError};

mod budgets;
mod conversation;
mod convert;
mod corpus;
mod scale;
mod source;
mod views;

/// Held by every test here, so that it counts only what it allocates itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
