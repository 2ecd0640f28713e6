//! Writing results to stdout: a closed pipe ends the program quietly, and anything else that is in the way is said.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

use crate::fit::fit;
use rustix::event::{PollFd, PollFlags, poll};

use t2m_checkpoint::escape::{EscapedJson, escape_json};

/// Write it all and flush.
///
/// # Errors
/// Stdout is closed or full.
pub fn print(bytes: &[u8]) -> io::Result<()> {
    Stdout::open()?.write_all(bytes)
}

/// Columns that a text report has to fit: those of the terminal that it goes to; elsewhere as many as COLUMNS says, where it is
/// set; `None` where a line may be of any length, for the programs that read it.
pub fn columns() -> Option<usize> {
    let said = || std::env::var("COLUMNS").ok()?.trim().parse().ok().filter(|columns| *columns > 0);
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return said();
    }
    let size = rustix::termios::tcgetwinsize(stdout.as_fd()).ok().map(|size| usize::from(size.ws_col));
    size.filter(|columns| *columns > 0).or_else(said).or(Some(UNSIZED))
}

/// Columns of a terminal that does not know its size.
const UNSIZED: usize = 80;

/// Write a text report, fitted to where it goes.
///
/// # Errors
/// As [`print()`].
pub fn print_text(text: &str) -> io::Result<()> {
    print(fit(text, columns()).as_bytes())
}

/// Standard output itself. The standard library's takes no notice where it was opened for reading alone, and gives up where
/// somebody who shares the pipe made it non-blocking.
struct Stdout(File);

impl Stdout {
    fn open() -> io::Result<Stdout> {
        Ok(Stdout(io::stdout().as_fd().try_clone_to_owned().map_err(named)?.into()))
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let _ = poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None);
                }
                written => return written.map_err(named),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error that says what could not be written to; a closed pipe stays what it is.
fn named(error: io::Error) -> io::Error {
    let kind = error.kind();
    io::Error::new(
        kind,
        format!("standard output cannot be written: {error}; send it to a file or a pipe that has room"),
    )
}

/// Write and flush a report piece by piece, since it may be long.
///
/// # Errors
/// Stdout is closed or full.
pub fn stream(write: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result) -> io::Result<()> {
    let mut out = Pieces { out: BufWriter::with_capacity(64 << 10, Stdout::open()?), error: None };
    match (write(&mut out), out.error.take()) {
        (_, Some(error)) => Err(error),
        (Err(fmt::Error), None) => Err(io::Error::other("the report could not be written")),
        (Ok(()), None) => out.out.flush(),
    }
}

/// A formatter over a stream of bytes. It keeps the I/O error, which `fmt` cannot carry.
struct Pieces<W: Write> {
    out: W,
    error: Option<io::Error>,
}

impl<W: Write> fmt::Write for Pieces<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write_all(text.as_bytes()).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}

/// Write a value as JSON, piece by piece, indented for people, and flush. Its texts hide nothing: characters that would
/// change how the text around them looks become `\uXXXX`.
///
/// # Errors
/// Stdout is closed or full.
pub fn print_json(value: &impl serde::Serialize) -> io::Result<()> {
    let mut out = Gathered { texts: Vec::with_capacity(GATHERED), out: EscapedJson(Stdout::open()?) };
    serde_json::to_writer_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Bytes of texts that are handed on together.
const GATHERED: usize = 64 << 10;

/// Texts on their way to who looks at each: many together, none of them cut.
struct Gathered<W: Write> {
    texts: Vec<u8>,
    out: W,
}

impl<W: Write> Write for Gathered<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.texts.len() + text.len() > GATHERED {
            self.out.write_all(&self.texts)?;
            self.texts.clear();
        }
        self.texts.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.texts)?;
        self.texts.clear();
        self.out.flush()
    }
}

/// Write a line and flush, so that the reader of a pipe gets it at once.
///
/// # Errors
/// Stdout is closed or full.
pub fn print_line(line: &str) -> io::Result<()> {
    print(format!("{line}\n").as_bytes())
}

/// Write a value as JSON on one line, for a stream of them.
///
/// # Errors
/// As [`print()`].
pub fn print_json_line(value: &impl serde::Serialize) -> io::Result<()> {
    print_line(&escape_json(&serde_json::to_string(value)?))
}

/// Whether a failure is only that nobody reads any more (`t2m-tui inspect … | head`).
pub fn is_broken_pipe(failure: &(dyn std::error::Error + 'static)) -> bool {
    failure.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
