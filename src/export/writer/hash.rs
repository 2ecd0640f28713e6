//! SHA-256 of the source's files, while the tensors are written and compared.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use super::Error;
use t2m_checkpoint::{Bytes, Checkpoint};

/// Bytes that are read at a time.
const STEP: usize = 256 << 10;

/// Names of the files that tensors come from.
pub(super) fn names(checkpoint: &Checkpoint) -> Vec<String> {
    let name = |bytes: &&Bytes| bytes.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    checkpoint.sources_of_bytes().iter().map(name).collect()
}

/// Each of them with its hash.
pub(super) fn files(checkpoint: &Checkpoint, stop: &AtomicBool) -> Result<Vec<(String, Option<String>)>, Error> {
    let hashes = checkpoint.sources_of_bytes().into_iter().map(|bytes| one(bytes, stop).map(Some));
    names(checkpoint).into_iter().zip(hashes).map(|(name, hash)| Ok((name, hash?))).collect()
}

fn one(bytes: &Bytes, stop: &AtomicBool) -> Result<String, Error> {
    let (mut hasher, mut buffer, mut at) = (Sha256::new(), vec![0; STEP], 0u64);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let read = bytes.read_at_most(at, &mut buffer).map_err(Error::Read)?;
        if read.is_empty() {
            break;
        }
        hasher.update(read);
        at += read.len() as u64;
    }
    Ok(hasher.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_hash_is_sha_256() {
        let hash = one(&Bytes::Static(b"abc"), &AtomicBool::new(false)).unwrap();
        assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(matches!(one(&Bytes::Static(b"abc"), &AtomicBool::new(true)), Err(Error::Stopped)));
    }
}
