//! Memory that this program shares with an engine. Payloads are put there and taken from there; the pipe carries headers.
//!
//! It is a file without a name, which the engine inherits: nothing is left behind, however the two end. Nobody maps it. It is
//! written and read at positions, each a copy from memory to memory; so an end that was cut off is an error and no signal, and bytes
//! that were checked do not change any more. Where there is no such file, or the engine does not get it (a script in its place may
//! close it), payloads go through the pipe.
//!
//! One payload is in it at a time: an engine has taken a request's out before it puts an answer's in, and the next request is sent
//! after the answer was taken out.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::buffer::spare_capacity;
use serde::{Deserialize, Serialize};

use super::header::{TensorHeader, payload_length};
use t2m_checkpoint::TensorData;

/// Where payloads begin; before them are the marks.
const PAYLOAD: u64 = 4096;
/// Where the engine puts its mark.
const ANSWER: u64 = 8;
/// Payloads of fewer bytes go behind their header: a pipe takes them at once.
const LEAST: usize = 16 << 10;
/// So much of it stays from one payload to the next, in bytes.
const KEPT: u64 = 64 << 20;

/// A file without a name that two programs read and write.
#[derive(Debug)]
pub struct Memory {
    file: File,
    mark: u64,
}

/// How an engine finds the memory that it inherits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its number among the files that the engine inherits.
    pub descriptor: i32,
    /// What it begins with: another file may have got that number.
    pub mark: u64,
}

impl Memory {
    /// Memory to share.
    ///
    /// # Errors
    /// The system has none to give.
    pub fn new() -> io::Result<Memory> {
        let memory = Memory { file: nameless()?, mark: RandomState::new().build_hasher().finish() };
        memory.file.write_all_at(&memory.mark.to_le_bytes(), 0)?;
        Ok(memory)
    }

    /// What is said of it to the engine.
    pub fn offer(&self) -> Offer {
        Offer { descriptor: self.file.as_raw_fd(), mark: self.mark }
    }

    /// The engine's end: the memory that is offered, if it is the one that was inherited. The mark that it gets says so.
    pub fn accept(offer: Offer) -> Option<Memory> {
        // The number itself, as a file: there on Linux and on macOS, but not in every container.
        let file = File::options().read(true).write(true).open(format!("/dev/fd/{}", offer.descriptor)).ok()?;
        let memory = Memory { file, mark: offer.mark };
        if memory.number_at(0)? != offer.mark {
            return None;
        }
        memory.file.write_all_at(&(!offer.mark).to_le_bytes(), ANSWER).ok()?;
        Some(memory)
    }

    /// Whether the engine has it, once it has greeted.
    pub fn is_accepted(&self) -> bool {
        self.number_at(ANSWER) == Some(!self.mark)
    }

    fn number_at(&self, position: u64) -> Option<u64> {
        let mut bytes = [0; size_of::<u64>()];
        self.file.read_exact_at(&mut bytes, position).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// Whether a payload of this length is to go this way.
    pub fn suits(length: usize) -> bool {
        length >= LEAST
    }

    /// Put a payload into it, tensor by tensor.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn put(&self, payload: &[&TensorData]) -> io::Result<()> {
        let mut position = PAYLOAD;
        for tensor in payload {
            self.file.write_all_at(&tensor.bytes, position)?;
            position += tensor.bytes.len() as u64;
        }
        Ok(())
    }

    /// Take out a payload of so many bytes: the tensors that a header lists.
    ///
    /// # Errors
    /// The header lists something else, or there is less in it.
    pub fn take(&self, headers: &[TensorHeader], length: u64) -> io::Result<Vec<TensorData>> {
        payload_length(headers, length)?;
        // Before anything is allocated for it.
        let end = PAYLOAD.checked_add(length).ok_or(io::ErrorKind::InvalidData)?;
        if self.file.metadata()?.len() < end {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is longer than the memory that it is in"));
        }
        let mut position = PAYLOAD;
        let mut tensors = Vec::with_capacity(headers.len());
        for header in headers {
            let bytes = self.read(position, header.length().unwrap_or_default())?;
            position += bytes.len() as u64;
            tensors.push(TensorData { dtype: header.dtype, shape: header.shape.clone(), bytes });
        }
        Ok(tensors)
    }

    fn read(&self, mut position: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        while bytes.len() < length {
            // The allocator may have given more than was asked for.
            let had = bytes.len();
            match rustix::io::pread(&self.file, spare_capacity(&mut bytes), position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => position += (bytes.len() - had) as u64,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Give back to the system what a large payload took. Nothing is in it then.
    pub fn let_go(&self) {
        if self.file.metadata().is_ok_and(|about| about.len() > KEPT) {
            // If it cannot be cut it stays large, which is no fault.
            let _ = self.file.set_len(PAYLOAD);
        }
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A file that has no name and is closed in programs that are started, until it is said otherwise.
#[cfg(target_os = "linux")]
fn nameless() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    // Kernels before 6.3 do not know the second flag, and some newer ones want it.
    let made = memfd_create("t2m-tui", MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL);
    let made = made.or_else(|_| memfd_create("t2m-tui", MemfdFlags::CLOEXEC))?;
    Ok(File::from(made))
}

/// The same elsewhere: a temporary file whose name is removed as soon as it is open.
#[cfg(not(target_os = "linux"))]
fn nameless() -> io::Result<File> {
    tempfile::tempfile()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::MetadataExt;

    use super::*;
    use t2m_checkpoint::Dtype;

    fn tensor(length: usize, first: u8) -> TensorData {
        let bytes = (0..length).map(|at| (at as u8).wrapping_add(first)).collect();
        TensorData { dtype: Dtype::Int8, shape: vec![length], bytes }
    }

    fn headers(tensors: &[&TensorData]) -> Vec<TensorHeader> {
        tensors.iter().map(|tensor| TensorHeader::of("", tensor)).collect()
    }

    #[test]
    fn what_one_end_puts_in_the_other_takes_out() {
        let ours = Memory::new().unwrap();
        assert!(!ours.is_accepted());
        let theirs = Memory::accept(ours.offer()).unwrap();
        assert!(ours.is_accepted());
        let [a, b, none] = [tensor(100_000, 1), tensor(33, 7), tensor(0, 0)];
        let all = [&a, &none, &b];
        ours.put(&all).unwrap();
        assert_eq!(theirs.take(&headers(&all), 100_033).unwrap(), [a.clone(), none.clone(), b.clone()]);
        theirs.put(&[&b]).unwrap();
        assert_eq!(ours.take(&headers(&[&b]), 33).unwrap(), [b]);
    }

    #[test]
    fn it_has_no_name() {
        assert_eq!(Memory::new().unwrap().file.metadata().unwrap().nlink(), 0);
    }

    #[test]
    fn another_file_of_that_number_is_not_taken_for_it() {
        let (ours, other) = (Memory::new().unwrap(), Memory::new().unwrap());
        let mixed = Offer { descriptor: other.offer().descriptor, ..ours.offer() };
        assert!(Memory::accept(mixed).is_none() && !ours.is_accepted() && !other.is_accepted());
        assert!(Memory::accept(Offer { descriptor: -1, mark: 0 }).is_none());
        let nothing = File::open("/dev/null").unwrap();
        assert!(Memory::accept(Offer { descriptor: nothing.as_raw_fd(), mark: 0 }).is_none());
    }

    #[test]
    fn what_is_not_there_cannot_be_taken() {
        let memory = Memory::new().unwrap();
        let [there, longer] = [tensor(50, 0), tensor(51, 0)];
        memory.put(&[&there]).unwrap();
        assert!(memory.take(&headers(&[&longer]), 51).is_err(), "it is shorter");
        assert!(memory.take(&headers(&[&there]), 49).is_err(), "the header lists another length");
        let huge = TensorHeader { name: String::new(), dtype: Dtype::Int8, shape: vec![usize::MAX] };
        assert!(memory.take(&[huge], u64::MAX).is_err());
        // The other end cuts it off in between.
        Memory::accept(memory.offer()).unwrap().file.set_len(PAYLOAD + 7).unwrap();
        assert!(memory.take(&headers(&[&there]), 50).is_err());
    }

    #[test]
    fn a_large_payload_is_given_back() {
        let memory = Memory::new().unwrap();
        let length = |memory: &Memory| memory.file.metadata().unwrap().len();
        memory.put(&[&tensor(1 << 20, 0)]).unwrap();
        memory.let_go();
        assert_eq!(length(&memory), PAYLOAD + (1 << 20), "so much is kept");
        memory.put(&[&tensor(KEPT as usize, 0)]).unwrap();
        memory.let_go();
        assert_eq!(length(&memory), PAYLOAD);
        assert!(Memory::accept(memory.offer()).is_some(), "its mark stays");
    }
}
