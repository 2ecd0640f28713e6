//! A running engine program: finding it, its pipes, its end in words.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::conversation::End;
use super::{Side, environment};
use crate::child::{self, Group, LastWords};
use t2m_checkpoint::escape::escape;

/// How many of its last lines are quoted.
const QUOTED_LINES: usize = 3;
/// How long a program whose input is closed may take to exit by itself, and how long its output may stay open after it
/// has exited.
const EXIT: Duration = Duration::from_secs(1);
/// How many pieces of output, of 64 KiB at most, wait to be read.
pub const PIECES: usize = 4;

/// An engine's program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Path of the file.
    pub path: PathBuf,
    /// Its arguments; none for the real engines.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// The program of one side: what `T2M_TORCH` or `T2M_MLX` names, else the one beside the running program.
    ///
    /// # Errors
    /// It is missing; says where it was looked for and how to get it.
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
                let missing = format!("{variable} names {}, which is not a file", shown(&path));
                (path, missing)
            }
            None => {
                let beside = shown(here);
                let missing =
                    format!("{program} was not found beside {beside}; `make install` puts it there, or set {variable}");
                (here.with_file_name(program), missing)
            }
        };
        if path.is_file() { Ok(Program { path, arguments: Vec::new() }) } else { Err(missing) }
    }
}

/// A path in a message.
fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

/// A running engine. Dropping it ends it, with all that it has started.
#[derive(Debug)]
pub struct Process {
    group: Group,
    frames: Sender<Vec<u8>>,
    incoming: Receiver<Vec<u8>>,
    words: LastWords,
    /// When it was first seen to have exited.
    exited: Option<Instant>,
}

impl Process {
    /// Start the program.
    ///
    /// # Errors
    /// The system's reason, with the program's path.
    pub fn start(program: &Program) -> Result<Process, String> {
        let failed = |error: std::io::Error| format!("{} cannot be started: {error}", shown(&program.path));
        let mut command = Command::new(&program.path);
        command
            .args(&program.arguments)
            .envs(environment::variables())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut group = Group::start(&mut command).map_err(failed)?;
        let (stop, child) = (group.stop(), group.child());
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        let (frames, queue) = crossbeam_channel::unbounded();
        let (pieces, incoming) = crossbeam_channel::bounded(PIECES);
        child::write_aside(input, stop.clone(), queue);
        child::read_aside(output, stop.clone(), move |bytes| pieces.send(bytes.to_vec()).is_ok());
        Ok(Process { group, frames, incoming, words: LastWords::of(errors, stop), exited: None })
    }

    /// Queue a frame. Its replies show whether it arrived.
    pub fn send(&self, frame: Vec<u8>) {
        let _ = self.frames.send(frame);
    }

    /// Its output, cut anywhere. The channel closes with the output; it holds [`PIECES`], and an engine that writes
    /// more has to wait until somebody reads.
    pub fn incoming(&self) -> &Receiver<Vec<u8>> {
        &self.incoming
    }

    /// Whether it exited a while ago while its output is still open: then another process holds it. Whatever the engine
    /// started is ended as soon as it has exited.
    pub fn is_gone(&mut self) -> bool {
        if self.exited.is_none() && self.group.status().is_some() {
            self.exited = Some(Instant::now());
            self.group.end();
        }
        self.exited.is_some_and(|exited| exited.elapsed() >= EXIT)
    }

    /// How it ended, once its output is closed, as the end of a sentence that begins with "engine".
    pub fn end(&mut self) -> String {
        let how = self.group.wait(EXIT).map_or_else(|| End::Closed.to_string(), ended);
        self.group.end();
        let said = self.words.lines(QUOTED_LINES);
        if said.is_empty() { how } else { format!("{how}; it said: {said}") }
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
