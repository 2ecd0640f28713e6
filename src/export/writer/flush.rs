//! Flushing while there is more to write: the disk need not wait for the processor, nor the other way round.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Error;

/// How long written data is collected at least before a flush, or else as long as the last flush took, as flushing is
/// expensive on some systems.
const PAUSE: Duration = Duration::from_millis(10);
/// How many bytes are flushed at a time. A process that is to end has to wait for those, and only for those.
const STEP: u64 = 8 << 20;

/// Run `work`, which writes to a file, and flush the file meanwhile.
///
/// # Errors
/// That of the work; or flushing failed, which the system tells but once.
pub(super) fn meanwhile(file: &File, target: &Path, work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let (done, until) = mpsc::channel::<()>();
        let flushing = scope.spawn(move || {
            let (mut pause, mut flushed) = (PAUSE, 0);
            while until.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let begun = Instant::now();
                let length = file.metadata()?.len();
                in_steps(file, flushed, length)?;
                flushed = length;
                pause = begun.elapsed().max(PAUSE);
            }
            Ok(())
        });
        let worked = work();
        drop(done);
        let flushed = flushing.join().unwrap_or(Ok(()));
        worked.and(flushed.map_err(|source| Error::Write { path: target.to_owned(), source }))
    })
}

/// Flush a complete file, and read it back meanwhile. Both have to succeed before it takes its place.
///
/// # Errors
/// That of the work; or flushing failed.
pub(super) fn beside(file: &File, target: &Path, work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let flush = || in_steps(file, 0, file.metadata()?.len()).and_then(|()| file.sync_all());
        let flushing = scope.spawn(flush);
        let worked = work();
        let flushed = flushing.join().unwrap_or_else(|_| flush());
        worked.and(flushed.map_err(|source| Error::Write { path: target.to_owned(), source }))
    })
}

/// Write a part of a file to the disk, a step at a time, the next one begun before the last is waited for. What the file system
/// notes about the file, and the disk's own memory, are left to `sync_all`.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn in_steps(file: &File, from: u64, to: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let wait = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let flush = |at: u64, flags| {
        let (offset, count) = (at.cast_signed(), STEP.min(to - at).cast_signed());
        // SAFETY: the call takes numbers alone, and the descriptor is open as long as the file is borrowed.
        match unsafe { libc::sync_file_range(file.as_raw_fd(), offset, count, flags) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let both = |at: u64| {
        let next = at.saturating_add(STEP);
        if next < to {
            flush(next, libc::SYNC_FILE_RANGE_WRITE)?;
        }
        flush(at, wait)
    };
    let mut at = from;
    while at < to {
        match both(at) {
            // A file system that knows no such thing: all is left to `sync_all`.
            Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => break,
            flushed => flushed?,
        }
        at = at.saturating_add(STEP);
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn in_steps(file: &File, _: u64, _: u64) -> io::Result<()> {
    file.sync_data()
}
