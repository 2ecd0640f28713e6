//! A running engine program: finding it, its pipes, its end in words.

use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::conversation::End;
use super::installed::{self, Environment};
use super::memory::Memory;
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

/// Folders in which engines are looked for besides the running program's own.
static ALSO_IN: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Look for engines in these folders as well: those of the Python environment that is active or was named. Once in a process, before
/// the first engine is looked for; a second call does nothing.
pub fn also_in(folders: Vec<PathBuf>) {
    let _ = ALSO_IN.set(folders);
}

/// An engine's program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Path of the file.
    pub path: PathBuf,
    /// Its arguments; none for the real engines.
    pub arguments: Vec<OsString>,
    /// Folders of its libraries, where it does not know them by itself.
    pub libraries: Vec<PathBuf>,
}

impl Program {
    /// The program in a file that knows its libraries by itself.
    pub fn at(path: PathBuf) -> Program {
        Program { path, arguments: Vec::new(), libraries: Vec::new() }
    }

    /// The program of one side: what `T2M_TORCH` or `T2M_MLX` names, else the one beside the running program, else one in the folders
    /// of [`also_in`].
    ///
    /// # Errors
    /// It is missing; says where it was looked for and how to get it. Or what it computes with is, in its environment.
    pub fn find(side: Side) -> Result<Program, String> {
        let here =
            std::env::current_exe().map_err(|error| format!("this program's own folder is not known: {error}"))?;
        // On macOS the path is the one that was called, which pipx and uv make a link.
        let here = here.canonicalize().unwrap_or(here);
        let also = ALSO_IN.get().map_or(&[][..], Vec::as_slice);
        Program::find_from(&here, also, side, std::env::var_os(side.variable()))
    }

    fn find_from(here: &Path, also: &[PathBuf], side: Side, named: Option<OsString>) -> Result<Program, String> {
        let (program, variable) = (side.program(), side.variable());
        let path = match named.filter(|path| !path.is_empty()) {
            Some(path) => {
                let path = PathBuf::from(path);
                match path.is_file() {
                    true => path,
                    false => return Err(format!("{variable} names {}, which is not a file", shown(&path))),
                }
            }
            None => {
                let mut places =
                    std::iter::once(here.with_file_name(program)).chain(also.iter().map(|folder| folder.join(program)));
                places.find(|path| path.is_file()).ok_or_else(|| missing(here, also, side))?
            }
        };
        let libraries = installed::libraries(&path, side)?;
        Ok(Program { path, arguments: Vec::new(), libraries })
    }
}

/// Where an engine was looked for, and how to get it, by the way in which this program was installed.
fn missing(here: &Path, also: &[PathBuf], side: Side) -> String {
    let (program, variable) = (side.program(), side.variable());
    let looked: String = also.iter().map(|folder| format!(", nor in {}", shown(folder))).collect();
    if let Some(line) = std::env::var_os("T2M_SETUP_LOG").and_then(|log| last_line(Path::new(&log))) {
        return format!("{program} is not built yet, the set-up goes on behind this screen; it says: {line}");
    }
    let is_homebrews = here.components().any(|part| part.as_os_str() == "Cellar");
    let how = match Environment::of(here, "t2m-tui") {
        Some(environment) => format!("`{}`", environment.install_engines()),
        // Homebrew brings the program alone: its torch and mlx are of other versions.
        None if is_homebrews => {
            let pip = "`python3 -m venv ~/t2m && ~/t2m/bin/pip install t2m-torch t2m-mlx`";
            return format!(
                "{program} was not found beside {}{looked}; {pip} brings it, and `--python ~/t2m/bin/python` has it looked for there",
                shown(here)
            );
        }
        None => "`make install`".to_owned(),
    };
    format!("{program} was not found beside {}{looked}; {how} puts it there, or set {variable}", shown(here))
}

/// The last line of what a set-up has written so far.
fn last_line(log: &Path) -> Option<String> {
    /// Bytes of the end that are looked at.
    const END: u64 = 4096;
    let mut file = std::fs::File::open(log).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(END))).ok()?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end).ok()?;
    let text = String::from_utf8_lossy(&end);
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it begins");
    Some(escape(line.trim()).into_owned())
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
    /// Start the program, which inherits the memory.
    ///
    /// # Errors
    /// The system's reason, with the program's path.
    pub fn start(program: &Program, memory: Option<&Memory>) -> Result<Process, String> {
        let failed = |error: std::io::Error| format!("{} cannot be started: {error}", shown(&program.path));
        let mut command = Command::new(&program.path);
        command
            .args(&program.arguments)
            .envs(environment::variables())
            .envs(loader_path(&program.libraries))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut group = Group::start_with(&mut command, memory.map(AsFd::as_fd)).map_err(failed)?;
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
        let way_out = installed::missing_library(&said).map_or(String::new(), |way_out| format!(" ({way_out})"));
        if said.is_empty() { how } else { format!("{how}; it said: {said}{way_out}") }
    }
}

/// The loader's variable with these folders before what it has; nothing where there are none.
fn loader_path(folders: &[PathBuf]) -> Option<(&'static str, OsString)> {
    let there = std::env::var_os(installed::LOADER).unwrap_or_default();
    let all =
        folders.iter().cloned().chain(std::env::split_paths(&there).filter(|folder| !folder.as_os_str().is_empty()));
    // A folder with a colon in its name cannot be told to the loader.
    if folders.is_empty() { None } else { std::env::join_paths(all).ok().map(|paths| (installed::LOADER, paths)) }
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
        let find = |side, named: Option<&Path>| Program::find_from(&here, &[], side, named.map(Into::into));
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
    fn a_program_is_taken_from_another_environment_that_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("t2m-tui");
        let bin = folder.path().join("env/bin");
        let also = [bin.clone()];
        let find = || Program::find_from(&here, &also, Side::Torch, None);
        let told = find().unwrap_err();
        assert!(told.contains(&format!(", nor in {};", bin.display())), "{told}");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("t2m-torch"), "").unwrap();
        assert_eq!(find().unwrap().path, bin.join("t2m-torch"));
        std::fs::create_dir_all(folder.path().join("env/lib/python3.12/site-packages/t2m_torch-0.1.0.dist-info"))
            .unwrap();
        let told = find().unwrap_err();
        assert!(told.contains("is built for torch"), "{told}");
    }

    #[test]
    fn a_set_up_that_goes_on_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("setup.log");
        assert_eq!(last_line(&log), None, "none goes on");
        std::fs::write(&log, "").unwrap();
        assert_eq!(last_line(&log).as_deref(), Some("it begins"));
        std::fs::write(&log, format!("{}\nsetup: downloading torch==2.13.0\n\n", "x".repeat(10_000))).unwrap();
        assert_eq!(last_line(&log).as_deref(), Some("setup: downloading torch==2.13.0"));
    }

    #[test]
    fn how_to_get_an_engine_follows_from_how_this_program_came() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("bin/t2m-tui");
        assert!(missing(&here, &[], Side::Mlx).contains("`make install`"));
        let poured = Path::new("/opt/homebrew/Cellar/t2m-tui/0.1.0/bin/t2m-tui");
        assert!(missing(poured, &[], Side::Mlx).contains("--python ~/t2m/bin/python"));
        std::fs::create_dir_all(folder.path().join("lib/python3.12/site-packages/t2m_tui-0.1.0.dist-info")).unwrap();
        let told = missing(&here, &[], Side::Mlx);
        assert!(told.contains("python -m pip install \"t2m-tui[engines]\"`"), "{told}");
    }

    #[test]
    fn ends_are_told_in_words() {
        assert_eq!(ended(ExitStatus::from_raw(6)), "crashed: signal 6 (SIGABRT)");
        assert_eq!(ended(ExitStatus::from_raw(11)), "crashed: signal 11 (SIGSEGV)");
        assert_eq!(ended(ExitStatus::from_raw(2 << 8)), "exited with code 2");
    }
}
