//! Ending at a signal, at any moment: what a run has begun is undone, and the process ends.
//!
//! A flag that the work looks at now and then is late: the work may be opening a file, planning, or waiting for a disk. So a
//! thread of its own waits for the signal, undoes what others have noted here, and ends the process whatever they do. What must
//! not be cut in two is done while [`hold`]ing: the signal waits for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Exit;

/// How long the last words may take: nobody may be reading them.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// What is let go of in more bytes is given to somebody else to let go of.
const MUCH: u64 = 64 << 20;

/// Undoes something. What it gives are the files that it removed, still open.
type Undo = Box<dyn Fn() -> Vec<File> + Send>;

struct Ledger {
    next: u64,
    undo: BTreeMap<u64, Undo>,
    finished: bool,
}

static LEDGER: Mutex<Ledger> = Mutex::new(Ledger { next: 0, undo: BTreeMap::new(), finished: false });

/// The ledger of what a signal undoes. While it is held no signal ends the process: only for what takes milliseconds.
pub struct Held(MutexGuard<'static, Ledger>);

/// Wait for the ledger. Whoever holds it must not ask for it again.
pub fn hold() -> Held {
    Held(LEDGER.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Held {
    /// Note how to undo what was just begun; the number is for [`Held::forget`]. Of files that it removes it gives those that may
    /// be large, opened before.
    pub fn note(&mut self, undo: impl Fn() -> Vec<File> + Send + 'static) -> u64 {
        let number = self.0.next;
        self.0.next += 1;
        self.0.undo.insert(number, Box::new(undo));
        number
    }

    /// It is finished, or undone already.
    pub fn forget(&mut self, number: u64) {
        self.0.undo.remove(&number);
    }

    /// What the run was for is in its place: a signal that comes now says so.
    pub fn finish(&mut self) {
        self.0.finished = true;
    }
}

/// From now on SIGINT and SIGTERM undo what is noted and end the process with this exit code.
///
/// # Errors
/// The system refuses the handler or the thread.
pub fn end_process(exit: Exit) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let wait = move || {
        if signals.forever().next().is_some() {
            end(exit);
        }
    };
    thread::Builder::new().name("interrupts".to_owned()).spawn(wait).map(drop)
}

fn end(exit: Exit) {
    // Never let go of again: nobody begins anything any more.
    let held = hold();
    let removed: Vec<File> = held.0.undo.values().flat_map(|undo| undo()).collect();
    leave_to_another(&removed);
    let words = if held.0.finished { "what was asked for is in its place" } else { "nothing was left behind" };
    let (said, heard) = mpsc::channel();
    let say = move || {
        let clear = if io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
        eprintln!("{clear}t2m-tui: interrupted; {words}");
        let _ = said.send(());
    };
    if thread::Builder::new().spawn(say).is_ok() {
        let _ = heard.recv_timeout(LAST_WORDS);
    }
    // No destructors: another thread may be in the middle of anything.
    signal_hook::low_level::exit(i32::from(exit.code()));
}

/// The system frees what it keeps of a removed file in memory when the last who has it open lets go: some 50 ms a gigabyte, and
/// ten times that on a busy machine, in which the process would not have ended yet. So one that does nothing has them open too,
/// for a second.
#[cfg(unix)]
fn leave_to_another(removed: &[File]) {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    let bytes = removed.iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum::<u64>();
    if bytes < MUCH {
        return;
    }
    for file in removed {
        let _ = rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty());
    }
    let mut other = Command::new("sleep");
    other.arg("1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    // Without it the end takes longer.
    let _ = other.spawn();
}

#[cfg(not(unix))]
fn leave_to_another(_: &[File]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_not_undone() {
        let (told, heard) = mpsc::channel();
        let note = |number: u32| {
            let told = told.clone();
            hold().note(move || {
                told.send(number).unwrap_or_default();
                Vec::new()
            })
        };
        let (first, second) = (note(1), note(2));
        hold().forget(first);
        let held = hold();
        held.0.undo.iter().filter(|(number, _)| [first, second].contains(number)).for_each(|(_, undo)| drop(undo()));
        drop(held);
        hold().forget(second);
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [2]);
    }
}
