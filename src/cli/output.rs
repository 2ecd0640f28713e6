//! Writing results to stdout: a closed pipe ends the program quietly.

use std::error::Error;
use std::io::{self, Write};

use crate::escape::escape_json;

/// Write it all and flush.
///
/// # Errors
/// Stdout is closed or full.
pub fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Write a line and flush, so that a reader of a pipe sees it at once.
///
/// # Errors
/// Stdout is closed or full.
pub fn print_line(line: &str) -> io::Result<()> {
    print(format!("{line}\n").as_bytes())
}

/// Write a value as JSON, on lines that people can read. Its texts hide nothing: what would change how the text around it
/// looks stands as `\uXXXX`.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &impl serde::Serialize) -> io::Result<()> {
    print_line(&escape_json(&serde_json::to_string_pretty(value)?))
}

/// The same on one line, for a stream of them.
///
/// # Errors
/// As [`print()`].
pub fn print_json_line(value: &impl serde::Serialize) -> io::Result<()> {
    print_line(&escape_json(&serde_json::to_string(value)?))
}

/// Whether a failure is only that nobody reads any more (`t2m-tui inspect … | head`).
pub fn is_broken_pipe(failure: &(dyn Error + 'static)) -> bool {
    failure.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
