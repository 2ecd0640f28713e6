//! Threads that end with the program.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the program waits at its end for a thread that runs engines; these end with their pipes in any case.
const LEAVING: Duration = Duration::from_secs(1);

/// Wait for a thread that was told to end. It may be reading a large tensor, which is not worth waiting for.
pub(crate) fn leave(thread: Option<JoinHandle<()>>) {
    let Some(thread) = thread else { return };
    let until = Instant::now() + LEAVING;
    while !thread.is_finished() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
    if thread.is_finished() {
        let _ = thread.join();
    }
}
