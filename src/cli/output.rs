//! Writing results to stdout: a closed pipe ends the program quietly.

use std::error::Error;
use std::fmt;
use std::io::{self, BufWriter, Write};

use t2m_checkpoint::escape::{EscapedJson, escape_json};

/// Write it all and flush.
///
/// # Errors
/// Stdout is closed or full.
pub fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Write and flush a report piece by piece, since it may be long.
///
/// # Errors
/// Stdout is closed or full.
pub fn stream(write: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result) -> io::Result<()> {
    let mut out = Pieces { out: BufWriter::with_capacity(64 << 10, io::stdout().lock()), error: None };
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
    let mut out = EscapedJson(BufWriter::with_capacity(64 << 10, io::stdout().lock()));
    serde_json::to_writer_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
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

/// Whether a failure only means that the reader has gone (`t2m-tui inspect … | head`).
pub fn is_broken_pipe(failure: &(dyn Error + 'static)) -> bool {
    failure.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
