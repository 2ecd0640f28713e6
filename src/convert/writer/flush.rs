//! Flushing while there is more to write: the disk has not to wait for the processor, nor the other way round.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Error;

/// How long what is written is gathered at least; else as long as the last flush took, as on some systems each one is dear.
const PAUSE: Duration = Duration::from_millis(10);

/// Do something that writes to a file, and flush the file meanwhile.
///
/// # Errors
/// That of the work; or flushing failed, which the system tells but once.
pub(super) fn meanwhile(file: &File, target: &Path, work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let (done, until) = mpsc::channel::<()>();
        let flushing = scope.spawn(move || {
            let mut pause = PAUSE;
            while until.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let begun = Instant::now();
                file.sync_data()?;
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

/// Flush a file that is whole, and read it back meanwhile. Both have to succeed before it takes its place.
///
/// # Errors
/// That of the work; or flushing failed.
pub(super) fn beside(file: &File, target: &Path, work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let flushing = scope.spawn(|| file.sync_all());
        let worked = work();
        let flushed = flushing.join().unwrap_or_else(|_| file.sync_all());
        worked.and(flushed.map_err(|source| Error::Write { path: target.to_owned(), source }))
    })
}
