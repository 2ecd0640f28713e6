//! Ending at a signal, at any moment and the same way in every subcommand and on the screen: what a run has begun is undone,
//! and the process ends with [`Exit::Interrupted`].
//!
//! A flag that the work looks at now and then is late: the work may be opening a file, planning, or waiting for a disk. So a
//! thread of its own waits for SIGINT, SIGTERM and SIGHUP, undoes what others have noted here, and ends the process whatever they
//! do. What must not be cut in two is done while [`hold`]ing: the signal waits for it. Who has something to say or to give back
//! first (what was measured so far, the terminal) is [asked](Held::ask), and has `FAREWELL` to do it and [`leave`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::stderr;
use t2m_engine::child;

/// How long who is asked may take to leave by itself. It may hang on a terminal or a pipe that nobody reads.
const FAREWELL: Duration = Duration::from_millis(80);

/// How long the last words may take: nobody may be reading them.
const LAST_WORDS: Duration = Duration::from_millis(30);

/// What is let go of in more bytes is given to somebody else to let go of.
const MUCH: u64 = 64 << 20;

/// Undoes something. What it gives are the files that it removed, still open.
type Undo = Box<dyn Fn() -> Vec<File> + Send>;

/// Tells somebody that the process is about to end.
type Ask = Box<dyn FnOnce() + Send>;

struct Ledger {
    next: u64,
    undo: BTreeMap<u64, Undo>,
    ask: Option<Ask>,
    finished: bool,
    /// What stays behind, as the user wished: the last words name it.
    stays: Option<String>,
}

/// Whether another program reads the keyboard: ctrl-c is its own then.
static ELSEWHERE: AtomicBool = AtomicBool::new(false);

static LEDGER: Mutex<Ledger> =
    Mutex::new(Ledger { next: 0, undo: BTreeMap::new(), ask: None, finished: false, stays: None });

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

    /// Something stays behind at a signal, as the user wished; the last words say what.
    pub fn leaves(&mut self, what: String) {
        self.0.stays = Some(what);
    }

    /// Call this at a signal, and wait a little for whoever hears it to [`leave`]. For one only: the screen, or the loop that
    /// prints what was measured.
    pub fn ask(&mut self, ask: impl FnOnce() + Send + 'static) {
        self.0.ask = Some(Box::new(ask));
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP undo what is noted and end the process. A SIGHUP that the process is to ignore, as
/// `nohup` has it, stays ignored. The first thing that the program does: what comes earlier finds nothing begun, and ends it
/// by the signal itself.
///
/// # Errors
/// The system refuses the handler or the thread.
pub fn listen() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    let wait = move || {
        let of_another = |signal: &i32| *signal == SIGINT && ELSEWHERE.load(Ordering::SeqCst);
        if signals.forever().find(|signal| !of_another(signal)).is_none() {
            return;
        }
        let ask = hold().0.ask.take();
        if let Some(ask) = ask {
            ask();
            thread::sleep(FAREWELL);
        }
        leave(None);
    };
    thread::Builder::new().name("interrupts".to_owned()).spawn(wait).map(drop)
}

/// Another program reads the keyboard now, or no longer: an interrupt from it is for that program alone.
pub fn leave_keyboard(to_another: bool) {
    ELSEWHERE.store(to_another, Ordering::SeqCst);
}

/// Whether a signal does nothing to this process, as who started it wanted.
#[allow(unsafe_code)]
fn is_ignored(signal: i32) -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only writes the present one to `now`, which lives and is large enough, and is
    // all zeros, a valid value, where the call fails.
    let now = unsafe {
        libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr());
        now.assume_init()
    };
    now.sa_sigaction == libc::SIG_IGN
}

/// End the process as interrupted: with these last words, or with what became of the run. What it has begun is undone, and the
/// programs that it has started are ended. Nothing of the process runs any more, destructors neither: another thread may be in
/// the middle of anything.
pub fn leave(words: Option<&str>) -> ! {
    // Never let go of again: nobody begins anything any more.
    let held = hold();
    let removed: Vec<File> = held.0.undo.values().flat_map(|undo| undo()).collect();
    leave_to_another(&removed);
    // Late: who waits for one of them would take its end for an answer.
    child::end_all();
    let finished = "interrupted; what was asked for is in its place";
    let stays = held.0.stays.as_ref().map(|what| format!("interrupted; {what}"));
    let usual = stays.as_deref().unwrap_or("interrupted; nothing was left behind");
    let words = words.unwrap_or(if held.0.finished { finished } else { usual });
    if !words.is_empty() {
        let words = words.to_owned();
        within(LAST_WORDS, move || {
            stderr::rewrite("");
            stderr::line(&words);
        });
    }
    signal_hook::low_level::exit(i32::from(Exit::Interrupted.code()));
}

/// Do something that may hang, such as writing to a terminal, and go on without it after that time.
pub fn within(patience: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, heard) = mpsc::channel::<()>();
    let work = move || {
        let _done = done;
        work();
    };
    if thread::Builder::new().spawn(work).is_ok() {
        let _ = heard.recv_timeout(patience);
    }
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
