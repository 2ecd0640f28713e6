//! Other programs: started, bounded and ended here and nowhere else.
//!
//! A program may start children of its own, and those may outlive it and hold its pipes. So each program runs in a process
//! group of its own, and what ends is always the group: SIGTERM first, SIGKILL for whatever is still there.
//!
//! The group is led by a *keeper*, a shell that waits for the end of a pipe which only this process holds. It serves twice.
//! However this process goes, by Ctrl-C, a panic, an abort or SIGKILL, the pipe closes and the keeper ends the group. And
//! while the keeper is not reaped its number is nobody else's, so the group can be ended after the program itself has exited.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process_group};

use t2m_checkpoint::escape::sentence;

/// What the keeper runs. `kill … 0` reaches its own group, itself included, and a stopped program hears SIGTERM only once it
/// is continued. Where there is no `sleep`, SIGKILL follows at once.
const KEEPER: &str = "trap '' INT HUP TERM; read -r _; kill -TERM 0; kill -CONT 0; sleep 0.05; kill -KILL 0";
/// How long a program may take to obey SIGTERM; the keeper gives it as long. The engines have nothing to put in order and need
/// none of it. It is for a script in an engine's or a Python's place, which can pass SIGTERM on to what is no child of its own
/// (a container, say). It is short, since whoever interrupts this program wants all of it to be gone.
const GRACE: Duration = Duration::from_millis(50);
/// How long the rest of an output may take to arrive once every process of the group is gone.
const REST: Duration = Duration::from_secs(1);
/// How often a thread that reads or writes looks whether it is still wanted.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How often a wait looks whether the program has exited.
const POLL: Duration = Duration::from_millis(2);
/// Most bytes that are read at once.
const PIECE: usize = 1 << 16;
/// How much of a program's standard error is kept, in bytes.
const LAST_WORDS: usize = 4096;

/// What keepers wait for the end of, by the keepers' numbers.
static PIPES: Mutex<BTreeMap<u32, ChildStdin>> = Mutex::new(BTreeMap::new());

/// End every group that runs now, and wait for none: this process is about to end. Its keepers would do it a little later, once
/// the system has taken the process apart.
pub fn end_all() {
    PIPES.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// A running program with everything that it starts. Dropping it ends them all.
#[derive(Debug)]
pub struct Group {
    keeper: Child,
    child: Child,
    stop: Stop,
    ended: bool,
}

/// Tells the threads that read and write a program's pipes that nobody waits for them any more.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Group {
    /// Start a program and its keeper. A terminal's Ctrl-C does not reach it: it ends with this process.
    ///
    /// # Errors
    /// The system's reason.
    pub fn start(command: &mut Command) -> io::Result<Group> {
        Group::start_with(command, None)
    }

    /// As [`Group::start`]; the program inherits this file under its number, and no other program does.
    ///
    /// # Errors
    /// The system's reason.
    pub fn start_with(command: &mut Command, file: Option<BorrowedFd<'_>>) -> io::Result<Group> {
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut keeper = spawn(keeper.process_group(0), None)?;
        let child = i32::try_from(keeper.id()).map_err(io::Error::other);
        match child.and_then(|group| spawn(command.process_group(group), file)) {
            Ok(child) => {
                let pipe = keeper.stdin.take().map(|pipe| (keeper.id(), pipe));
                PIPES.lock().unwrap_or_else(PoisonError::into_inner).extend(pipe);
                Ok(Group { keeper, child, stop: Stop::default(), ended: false })
            }
            Err(error) => {
                let _ = keeper.kill();
                let _ = keeper.wait();
                Err(error)
            }
        }
    }

    /// The program itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Set once the group is dropped.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// How the program exited, if it has. What it started may still run.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Wait that long for the program to exit.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            let status = self.status();
            if status.is_some() || Instant::now() >= until {
                return status;
            }
            thread::sleep(POLL);
        }
    }

    /// End every process of the group, whether the program itself still runs or not.
    pub fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let group = Pid::from_child(&self.keeper);
        for signal in [Signal::TERM, Signal::CONT] {
            let _ = kill_process_group(group, signal);
        }
        self.wait(GRACE);
        let _ = kill_process_group(group, Signal::KILL);
        // It may have left the group.
        let _ = self.child.kill();
        // A process that hangs in the kernel does not even hear SIGKILL; it is not waited for.
        self.wait(REST);
        let _ = self.keeper.wait();
        PIPES.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.keeper.id());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
        self.stop.0.store(true, Ordering::SeqCst);
    }
}

/// Start a program that inherits a file. A file is inherited by whatever is started while it may be: one program at a time.
fn spawn(command: &mut Command, file: Option<BorrowedFd<'_>>) -> io::Result<Child> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(file) = file else { return command.spawn() };
    fcntl_setfd(file, FdFlags::empty())?;
    let child = command.spawn();
    fcntl_setfd(file, FdFlags::CLOEXEC)?;
    child
}

/// Read a pipe on a thread of its own and hand on what comes, until it closes, `take` says no, or the group is gone: a
/// process that left the group may hold the other end for ever. The receiver hears when the reading is over.
pub fn read_aside(
    mut pipe: impl Read + AsFd + Send + 'static,
    stop: Stop,
    mut take: impl FnMut(&[u8]) -> bool + Send + 'static,
) -> Receiver<()> {
    let (reading, over) = crossbeam_channel::bounded(0);
    thread::spawn(move || {
        let _reading: crossbeam_channel::Sender<()> = reading;
        let mut buffer = vec![0u8; PIECE];
        while !stop.is_set() {
            if !ready(&pipe, PollFlags::IN) {
                continue;
            }
            match pipe.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) if !take(buffer.get(..count).unwrap_or_default()) => return,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                Ok(_) | Err(_) => {}
            }
        }
    });
    over
}

/// Write what is queued on a thread of its own, until the queue or the pipe closes or the group is gone. A program that does
/// not read holds up nobody.
pub fn write_aside(mut pipe: ChildStdin, stop: Stop, queue: Receiver<Vec<u8>>) -> Receiver<()> {
    let (writing, over) = crossbeam_channel::bounded(0);
    thread::spawn(move || {
        let _writing: crossbeam_channel::Sender<()> = writing;
        // The flag belongs to this end of the pipe alone.
        if rustix::io::ioctl_fionbio(&pipe, true).is_err() {
            return;
        }
        for bytes in queue {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                if stop.is_set() {
                    return;
                }
                if !ready(&pipe, PollFlags::OUT) {
                    continue;
                }
                match pipe.write(rest) {
                    Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                    Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                    Err(_) => return,
                }
            }
        }
    });
    over
}

/// Whether a pipe can be read or written now, or is broken, which reading or writing then tells. Waits a little.
fn ready(pipe: &impl AsFd, flags: PollFlags) -> bool {
    matches!(poll(&mut [PollFd::new(pipe, flags)], Some(&LOOK)), Ok(1..))
}

/// The end of what a program says on its standard error. It is read for as long as it comes, so that nobody hangs on it.
#[derive(Debug)]
pub struct LastWords {
    said: Arc<Mutex<Vec<u8>>>,
    over: Receiver<()>,
}

impl LastWords {
    /// Listen to that pipe.
    pub fn of(pipe: impl Read + AsFd + Send + 'static, stop: Stop) -> LastWords {
        let said = Arc::new(Mutex::new(Vec::new()));
        let ring = Arc::clone(&said);
        let over = read_aside(pipe, stop, move |bytes| {
            let mut said: std::sync::MutexGuard<'_, Vec<u8>> = ring.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend_from_slice(bytes.get(bytes.len().saturating_sub(LAST_WORDS)..).unwrap_or_default());
            let surplus = said.len().saturating_sub(LAST_WORDS);
            said.drain(..surplus);
            true
        });
        LastWords { said, over }
    }

    /// The last lines that are not blank, at most that many, on one line and escaped. For a program that has ended.
    pub fn lines(&self, most: usize) -> String {
        let _ = self.over.recv_timeout(REST);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(most)..).unwrap_or_default();
        sentence(&last.join(" / ")).into_owned()
    }
}

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be started; the system's reason.
    #[error("{0}")]
    Start(io::Error),
    /// It still ran when its time was over, and was ended.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Late(Duration),
    /// Nobody waits for it any more, and it was ended.
    #[error("it was cancelled, and ended with all that it had started")]
    Cancelled,
    /// It wrote without an end, and was ended.
    #[error("it wrote more than {0} bytes")]
    TooMuch(usize),
    /// It says itself that it failed.
    #[error("{status}: {said}")]
    Failed {
        /// How it exited.
        status: ExitStatus,
        /// The last line that it wrote to its standard error.
        said: String,
    },
}

/// Run a program to its end and return what it wrote to its standard output. Its time is over after `patience`, and it may
/// write `limit` bytes. What it has started ends with it, whoever holds the pipes.
///
/// # Errors
/// As [`Error`] says.
pub fn output(command: &mut Command, patience: Duration, limit: usize) -> Result<Vec<u8>, Error> {
    output_unless(command, patience, limit, || false)
}

/// As [`output`], and it is ended once `cancelled` says so.
///
/// # Errors
/// As [`Error`] says.
pub fn output_unless(
    command: &mut Command,
    patience: Duration,
    limit: usize,
    cancelled: impl Fn() -> bool,
) -> Result<Vec<u8>, Error> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = Group::start(command).map_err(Error::Start)?;
    let until = Instant::now() + patience;
    let pipes = (group.child().stdout.take(), group.child().stderr.take());
    let (Some(output), Some(errors)) = pipes else { return Err(Error::Start(io::ErrorKind::BrokenPipe.into())) };
    let words = LastWords::of(errors, group.stop());
    let (pieces, read) = crossbeam_channel::bounded(1);
    read_aside(output, group.stop(), move |bytes| pieces.send(bytes.to_vec()).is_ok());

    let mut answer = Vec::new();
    let mut exited = None;
    // Once it has exited nobody of its group writes any more: the pipe's end is near, unless somebody left the group.
    while exited.is_none_or(|(_, at): (ExitStatus, Instant)| at.elapsed() < REST) {
        match read.recv_timeout(POLL) {
            Ok(piece) => answer.extend_from_slice(&piece),
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) if exited.is_some() => break,
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => thread::sleep(POLL),
        }
        if answer.len() > limit {
            return Err(Error::TooMuch(limit));
        }
        if exited.is_some() {
            continue;
        }
        if let Some(status) = group.status() {
            group.end();
            exited = Some((status, Instant::now()));
        } else if cancelled() {
            return Err(Error::Cancelled);
        } else if Instant::now() >= until {
            return Err(Error::Late(patience));
        }
    }
    match exited {
        Some((status, _)) if !status.success() => {
            let said = words.lines(1);
            let said = if said.is_empty() { "no message".to_owned() } else { said };
            Err(Error::Failed { status, said })
        }
        _ => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    /// More than any of these programs takes.
    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    fn run(script: &str, patience: Duration) -> Result<String, String> {
        let answer = output(&mut sh(script), patience, 1000).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(answer).unwrap())
    }

    /// Whether a process is there and no zombie.
    fn is_alive(process: &str) -> bool {
        let output = Command::new("ps").args(["-o", "stat=", "-p", process.trim()]).output().unwrap();
        let state = String::from_utf8(output.stdout).unwrap();
        !state.trim().is_empty() && !state.trim().starts_with('Z')
    }

    fn assert_gone(process: &str) {
        let begun = Instant::now();
        while is_alive(process) {
            assert!(begun.elapsed() < LONG, "{process} was left behind");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn a_silent_program_is_given_up() {
        let brief = Duration::from_millis(50);
        let late = Err("no answer within 0.05 s".to_owned());
        assert_eq!(run("exec sleep 600", brief), late);
        assert_eq!(run("exec sleep 600 >&- 2>&-", brief), late);
        assert_eq!(run("trap '' TERM; while :; do sleep 1; done", brief), late);
    }

    #[test]
    fn a_program_that_writes_without_an_end_is_given_up() {
        assert_eq!(run("exec cat /dev/zero", LONG), Err("it wrote more than 1000 bytes".to_owned()));
        let brief = Duration::from_millis(200);
        assert_eq!(run("exec cat /dev/zero >&2", brief), Err("no answer within 0.2 s".to_owned()));
    }

    #[test]
    fn a_talkative_program_is_heard_out() {
        assert_eq!(run("head -c 300000 /dev/zero >&2; echo said", LONG).as_deref(), Ok("said\n"));
        let failed = run("echo one >&2; echo two >&2; exit 3", LONG).unwrap_err();
        assert!(failed.ends_with(": two"), "{failed}");
    }

    #[test]
    fn what_a_program_leaves_behind_is_ended_and_not_waited_for() {
        let child = run("sleep 600 & echo $!", LONG).unwrap();
        assert_gone(&child);
        let stubborn = run("(trap '' TERM HUP; while :; do sleep 1; done) & echo $!", LONG).unwrap();
        assert_gone(&stubborn);
    }

    #[test]
    fn dropping_a_group_ends_all_of_it_after_the_program_itself_has_exited() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("child");
        let mut group = Group::start(&mut sh(&format!("sleep 600 & echo $! > {}", file.display()))).unwrap();
        assert!(group.wait(LONG).unwrap().success());
        let child = std::fs::read_to_string(&file).unwrap();
        assert!(is_alive(&child), "it runs until then");
        drop(group);
        assert_gone(&child);
    }

    #[test]
    fn a_stopped_program_is_ended() {
        let mut group = Group::start(&mut sh("kill -STOP $$")).unwrap();
        let child = group.child().id().to_string();
        thread::sleep(Duration::from_millis(50));
        drop(group);
        assert_gone(&child);
    }

    #[test]
    fn a_program_that_does_not_read_holds_up_no_writer() {
        let mut group = Group::start(sh("exec sleep 600").stdin(Stdio::piped())).unwrap();
        let (frames, queue) = crossbeam_channel::unbounded();
        let over = write_aside(group.child().stdin.take().unwrap(), group.stop(), queue);
        frames.send(vec![0; 1 << 20]).unwrap();
        // The process holds the pipe on, and yet the thread comes to its end.
        group.stop.0.store(true, Ordering::SeqCst);
        assert_eq!(over.recv_timeout(LONG), Err(crossbeam_channel::RecvTimeoutError::Disconnected));
        assert_eq!(group.status(), None);
    }
}
