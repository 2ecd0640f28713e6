//! One engine program, running: finding it, its pipes, its end in words.

use std::ffi::OsString;
use std::io::{BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use rustix::process::{Pid, Signal, kill_process_group};

use super::Side;
use super::protocol::{Reply, read_frame};
use crate::escape::sentence;

/// How much of an engine's last words is kept, in bytes.
const LAST_WORDS: usize = 4096;
/// How many of its last lines are quoted.
const QUOTED_LINES: usize = 3;
/// How long a program whose pipe is closed may take to exit by itself.
const EXIT: Duration = Duration::from_secs(1);

/// An engine's program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// Its arguments; none for the real engines.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// The program of one side: what `T2M_TORCH` or `T2M_MLX` names, else the one beside the running program.
    ///
    /// # Errors
    /// It is not there; says where it was looked for and how to get it.
    pub fn find(side: Side) -> Result<Program, String> {
        let here =
            std::env::current_exe().map_err(|error| format!("this program's own folder is not known: {error}"))?;
        Program::find_beside(&here, side, std::env::var_os(side.variable()))
    }

    fn find_beside(here: &Path, side: Side, named: Option<OsString>) -> Result<Program, String> {
        let (program, variable) = (side.program(), side.variable());
        let (path, missing) = match named.filter(|path| !path.is_empty()) {
            Some(path) => {
                let path = PathBuf::from(path);
                let missing = format!("{variable} names {}, which is not a file", path.display());
                (path, missing)
            }
            None => {
                let beside = here.display();
                let missing =
                    format!("{program} was not found beside {beside}; `make install` puts it there, or set {variable}");
                (here.with_file_name(program), missing)
            }
        };
        if path.is_file() { Ok(Program { path, arguments: Vec::new() }) } else { Err(missing) }
    }
}

/// What came from the engine.
#[derive(Debug)]
pub enum Incoming {
    /// A reply and its payload.
    Reply(Reply, Vec<u8>),
    /// Its output is closed: it died or is about to.
    Closed,
    /// It wrote something that is no frame.
    Garbage(String),
}

/// A running engine. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    frames: Sender<Vec<u8>>,
    incoming: Receiver<Incoming>,
    said: Arc<Mutex<Vec<u8>>>,
    all_said: Receiver<()>,
}

impl Process {
    /// Start the program in a process group of its own, so that Ctrl-C in the terminal does not reach it.
    ///
    /// # Errors
    /// The system's reason, with the program's path.
    pub fn start(program: &Program) -> Result<Process, String> {
        let failed = |error: std::io::Error| format!("{} cannot be started: {error}", program.path.display());
        let mut child = Command::new(&program.path)
            .args(&program.arguments)
            // MLX reads it before its first op; its lower-precision matrix products would be measured as errors.
            .env("MLX_ENABLE_TF32", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        let (frames, queue) = crossbeam_channel::unbounded();
        let (replies, incoming) = crossbeam_channel::unbounded();
        let (end_of_words, all_said) = crossbeam_channel::bounded(0);
        let said = Arc::new(Mutex::new(Vec::new()));
        let ring = Arc::clone(&said);
        thread::spawn(move || write_frames(input, &queue));
        thread::spawn(move || read_replies(output, &replies));
        thread::spawn(move || {
            keep_last_words(errors, &ring);
            drop(end_of_words);
        });
        Ok(Process { child, frames, incoming, said, all_said })
    }

    /// Queue a frame. Whether it arrives shows in what comes back.
    pub fn send(&self, frame: Vec<u8>) {
        let _ = self.frames.send(frame);
    }

    /// What comes from it. After [`Incoming::Closed`] and [`Incoming::Garbage`] nothing more does.
    pub fn incoming(&self) -> &Receiver<Incoming> {
        &self.incoming
    }

    /// How it ended, once its output is closed: the end of a sentence that begins with "engine". It is reaped afterwards.
    pub fn end(&mut self) -> String {
        let how = match self.wait(EXIT) {
            Some(status) => ended(status),
            None => {
                self.kill();
                "closed its output and was ended".to_owned()
            }
        };
        let _ = self.all_said.recv_timeout(EXIT);
        let said = self.last_lines();
        if said.is_empty() { how } else { format!("{how}; it said: {said}") }
    }

    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= until {
                return None;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn kill(&mut self) {
        // Once reaped, its number may be another's.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }

    fn last_lines(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(QUOTED_LINES)..).unwrap_or_default();
        sentence(&last.join(" / ")).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => match signal_hook::low_level::signal_name(signal) {
            Some(name) => format!("crashed: signal {signal} ({name})"),
            None => format!("crashed: signal {signal}"),
        },
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => format!("ended: {status}"),
    }
}

fn write_frames(mut input: ChildStdin, queue: &Receiver<Vec<u8>>) {
    for frame in queue {
        if input.write_all(&frame).and_then(|()| input.flush()).is_err() {
            return;
        }
    }
}

fn read_replies(output: ChildStdout, replies: &Sender<Incoming>) {
    let mut output = BufReader::new(output);
    loop {
        let incoming = match read_frame(&mut output) {
            Ok(Some((reply, payload))) => Incoming::Reply(reply, payload),
            Ok(None) => Incoming::Closed,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Incoming::Closed,
            Err(error) => Incoming::Garbage(error.to_string()),
        };
        let last = !matches!(incoming, Incoming::Reply(..));
        if replies.send(incoming).is_err() || last {
            return;
        }
    }
}

/// Drain standard error for as long as it is open, keeping its end.
fn keep_last_words(mut errors: ChildStderr, ring: &Mutex<Vec<u8>>) {
    let mut buffer = [0u8; 1024];
    while let Ok(count @ 1..) = errors.read(&mut buffer) {
        let mut said = ring.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend(buffer.iter().take(count));
        let surplus = said.len().saturating_sub(LAST_WORDS);
        said.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_program_is_found_by_its_variable_or_beside_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("t2m-tui");
        let find = |side, named: Option<&Path>| Program::find_beside(&here, side, named.map(Into::into));
        assert_eq!(
            find(Side::Mlx, None),
            Err(format!(
                "t2m-mlx was not found beside {}; `make install` puts it there, or set T2M_MLX",
                here.display()
            ))
        );
        let (beside, other) = (folder.path().join("t2m-mlx"), folder.path().join("other"));
        std::fs::write(&beside, "").unwrap();
        assert_eq!(find(Side::Mlx, None).unwrap().path, beside);
        assert_eq!(find(Side::Mlx, Some(Path::new(""))).unwrap().path, beside, "an empty variable is none");
        let missing = format!("T2M_MLX names {}, which is not a file", other.display());
        assert_eq!(find(Side::Mlx, Some(&other)), Err(missing));
        std::fs::write(&other, "").unwrap();
        assert_eq!(find(Side::Mlx, Some(&other)).unwrap().path, other);
    }

    #[test]
    fn ends_are_told_in_words() {
        assert_eq!(ended(ExitStatus::from_raw(6)), "crashed: signal 6 (SIGABRT)");
        assert_eq!(ended(ExitStatus::from_raw(11)), "crashed: signal 11 (SIGSEGV)");
        assert_eq!(ended(ExitStatus::from_raw(2 << 8)), "exited with code 2");
    }
}
