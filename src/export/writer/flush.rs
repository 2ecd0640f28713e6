//! Flushing while there is more to write: the disk need not wait for the processor, nor the other way round.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
#[cfg(not(target_os = "linux"))]
use std::time::Instant;

use super::Error;

/// How often it is looked how far a file has grown.
const PAUSE: Duration = Duration::from_millis(10);
/// How many bytes are flushed at a time, and how many are on their way to the disk at most: enough that it is never idle. A process
/// that is to end has to wait for those, and only for those.
const STEP: u64 = 8 << 20;
const AHEAD: u64 = 64 << 20;

/// Run `work`, which writes to a file, and flush the file meanwhile.
///
/// # Errors
/// That of the work; or flushing failed, which the system tells but once.
pub(super) fn meanwhile(file: &File, target: &Path, work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let (done, until) = mpsc::channel::<()>();
        let flushing = scope.spawn(move || {
            let mut flushing = Flushing::of(file);
            while until.recv_timeout(flushing.pause) == Err(RecvTimeoutError::Timeout) {
                flushing.follow()?;
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
        let flush = || Flushing::of(file).finish().and_then(|()| file.sync_all());
        let flushing = scope.spawn(flush);
        let worked = work();
        let flushed = flushing.join().unwrap_or_else(|_| flush());
        worked.and(flushed.map_err(|source| Error::Write { path: target.to_owned(), source }))
    })
}

/// How far a file is flushed. What the file system notes about the file, and the disk's own memory, are left to `sync_all`.
struct Flushing<'a> {
    file: &'a File,
    /// Bytes from the beginning that are on the disk, or were on their way to it when they were looked at last.
    done: u64,
    begun: u64,
    pause: Duration,
}

#[cfg(target_os = "linux")]
impl<'a> Flushing<'a> {
    fn of(file: &'a File) -> Flushing<'a> {
        Flushing { file, done: 0, begun: 0, pause: PAUSE }
    }

    /// Send what has been written since to the disk, in whole steps. It is waited for where [`AHEAD`] is on its way.
    fn follow(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        while length.saturating_sub(self.begun) >= STEP {
            self.step(STEP)?;
        }
        Ok(())
    }

    /// Send the rest to the disk, and wait for all of it.
    fn finish(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        while self.begun < length {
            self.step(STEP.min(length - self.begun))?;
        }
        while self.done < self.begun {
            self.wait()?;
        }
        Ok(())
    }

    fn step(&mut self, count: u64) -> io::Result<()> {
        self.call(self.begun, count, libc::SYNC_FILE_RANGE_WRITE)?;
        self.begun = self.begun.saturating_add(count);
        if self.begun - self.done > AHEAD { self.wait() } else { Ok(()) }
    }

    fn wait(&mut self) -> io::Result<()> {
        let count = STEP.min(self.begun - self.done);
        let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        self.call(self.done, count, all)?;
        self.done = self.done.saturating_add(count);
        Ok(())
    }

    #[allow(unsafe_code)]
    fn call(&self, offset: u64, count: u64, flags: libc::c_uint) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let (offset, count) = (offset.cast_signed(), count.cast_signed());
        // SAFETY: the call takes numbers alone, and the descriptor is open as long as the file is borrowed.
        match unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset, count, flags) } {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                // A file system that knows no such thing: all is left to `sync_all`.
                error if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => Ok(()),
                error => Err(error),
            },
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl<'a> Flushing<'a> {
    fn of(file: &'a File) -> Flushing<'a> {
        Flushing { file, done: 0, begun: 0, pause: PAUSE }
    }

    /// Flush what has been written since. That is expensive on some systems: the next time is as long ahead as this took.
    fn follow(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        self.begun = self.file.metadata()?.len();
        if self.begun > self.done {
            self.file.sync_data()?;
        }
        self.done = self.begun;
        self.pause = begun.elapsed().max(PAUSE);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_on_its_way_is_bounded_and_all_of_it_is_waited_for() {
        let mut file = tempfile::tempfile().unwrap();
        let copy = file.try_clone().unwrap();
        let mut follower = Flushing::of(&copy);
        for _ in 0..20 {
            file.write_all(&vec![1; 5 << 20]).unwrap();
            follower.follow().unwrap();
            let Flushing { begun, done, .. } = follower;
            assert!(begun <= file.metadata().unwrap().len() && begun - done <= AHEAD, "{begun} {done}");
        }
        assert!(cfg!(not(target_os = "linux")) || (follower.begun == 96 << 20 && follower.done > 0));
        follower.finish().unwrap();
        assert!(cfg!(not(target_os = "linux")) || (follower.begun, follower.done) == (100 << 20, 100 << 20));
    }
}
