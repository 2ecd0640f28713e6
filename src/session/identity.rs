//! Which checkpoint a session is of: its header and pickle, and its size, wherever it lies and whatever its name is.
//!
//! Of every file the length counts and what stands at both ends, where formats have their directories, and whole what says which
//! tensors there are: the header of a safetensors file, the directory and the pickles of a zip archive, an index. Two files that
//! differ only in tensors are told apart where they differ at an end, or where the directory has checksums.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::files;
use t2m_checkpoint::archive::Archive;
use t2m_checkpoint::{Bytes, Checkpoint, mount};

/// Bytes at each end of a file that are looked at, and of each file where there are many.
const ENDS: u64 = 64 << 10;
const ENDS_OF_MANY: u64 = 4 << 10;
/// How many files are many.
const MANY: usize = 64;
/// Bytes at the beginning of a file that is neither archive nor safetensors: an old file of torch begins with its pickle.
const FRONT: u64 = 1 << 20;
/// The longest header that is looked at whole; safetensors has the same bound.
const LONGEST_HEADER: u64 = 100_000_000;
/// The longest index or configuration beside the tensors' files.
const LONGEST_INDEX: u64 = 16 << 20;
/// Bytes of the hash that name a session.
const NAME: usize = 12;

/// The name that a checkpoint's session has: 24 hexadecimal digits. `None` where its files cannot be read any more.
pub fn of(checkpoint: &Checkpoint) -> Option<String> {
    let mut hash = Sha256::new();
    let sources = checkpoint.sources_of_bytes();
    let many = sources.len() > MANY;
    for bytes in &sources {
        add(&mut hash, bytes, if many { ENDS_OF_MANY } else { ENDS })?;
    }
    let known: Vec<&Path> = sources.iter().filter_map(|bytes| bytes.file_path()).collect();
    let beside = checkpoint.origin().files.into_iter().filter(|path| !known.contains(&path.as_path()));
    for path in beside.filter(|path| mount::is_file(path)) {
        if mount::has_scheme(&path) {
            Bytes::open(&path).ok().and_then(|bytes| version(&mut hash, &bytes));
            continue;
        }
        // What cannot be read says nothing: the tensors' files do.
        if let Ok(text) = files::read(&path, LONGEST_INDEX) {
            part(&mut hash, &text);
        }
    }
    // Which dict of the file is the model: modules of several may have the same paths.
    if !checkpoint.dicts.is_empty() {
        checkpoint.wrappers.iter().for_each(|name| part(&mut hash, name.as_bytes()));
    }
    (!sources.is_empty()).then(|| name(hash))
}

/// The name under which earlier versions kept what was typed of a checkpoint that was read from these files.
pub fn earlier(paths: &[PathBuf]) -> Option<String> {
    let mut hash = Sha256::new();
    // It knew none elsewhere.
    if paths.iter().any(|path| mount::has_scheme(path)) {
        return None;
    }
    for path in paths.iter().take(MANY) {
        let bytes = Bytes::open(path).ok()?;
        let length = bytes.length();
        hash.update(length.to_le_bytes());
        for start in [0, length.saturating_sub(ENDS)] {
            hash.update(bytes.read_range(start, ENDS.min(length)).ok()??);
        }
    }
    (!paths.is_empty()).then(|| name(hash))
}

fn name(hash: Sha256) -> String {
    hash.finalize().iter().take(NAME).map(|byte| format!("{byte:02x}")).collect()
}

/// Parts of different lengths are not to be taken for each other.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// What a file elsewhere is: its length, and what its server says of the content, which need not be fetched for that. `None` where it
/// is here, or nobody says.
fn version(hash: &mut Sha256, bytes: &Bytes) -> Option<()> {
    let version = bytes.version().filter(|version| !version.is_empty())?;
    hash.update(bytes.length().to_le_bytes());
    part(hash, version.as_bytes());
    Some(())
}

fn add(hash: &mut Sha256, bytes: &Bytes, ends: u64) -> Option<()> {
    if version(hash, bytes).is_some() {
        return Some(());
    }
    let length = bytes.length();
    hash.update(length.to_le_bytes());
    let range = |start: u64, count: u64| bytes.read_range(start, count.min(length - start.min(length))).ok()?;
    let (front, back) = (range(0, ends)?, range(length.saturating_sub(ends), ends)?);
    part(hash, &front);
    part(hash, &back);
    if front.starts_with(b"PK") {
        archive(hash, bytes);
    } else if let Some(header) = header(&front, length) {
        // From where the front ends.
        let rest = range(ends.min(header), header.saturating_sub(ends))?;
        part(hash, &rest);
    } else {
        part(hash, &range(0, FRONT)?);
    }
    Some(())
}

/// The bytes of a safetensors header with the number before it.
fn header(front: &[u8], length: u64) -> Option<u64> {
    let (number, rest) = front.split_first_chunk::<8>()?;
    let header = u64::from_le_bytes(*number);
    (rest.first() == Some(&b'{') && header <= LONGEST_HEADER && header < length).then_some(header + 8)
}

/// Names and places of an archive's records, and its pickles whole.
fn archive(hash: &mut Sha256, bytes: &Bytes) {
    let path = bytes.path();
    // One that is damaged has its ends.
    let Ok(mut archive) = Archive::open(&path, bytes) else { return };
    let names: Vec<String> = archive.names().map(str::to_owned).collect();
    for name in names {
        let Some(record) = archive.find(&name) else { continue };
        part(hash, name.as_bytes());
        [record.header, record.compressed, record.size].iter().for_each(|number| hash.update(number.to_le_bytes()));
        if name.ends_with(".pkl")
            && let Ok(pickle) = archive.read(&path, bytes, &name, record)
        {
            part(hash, &pickle);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    /// A safetensors file of one tensor with this name, of so many bytes, each of them `byte`.
    fn tensors(name: &str, count: usize, byte: u8) -> Vec<u8> {
        let pad = "x".repeat(100_000);
        let header = format!(
            "{{\"__metadata__\":{{\"pad\":\"{pad}\"}},\"{name}\":{{\"dtype\":\"U8\",\"shape\":[{count}],\"data_offsets\":[0,{count}]}}}}"
        );
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![byte; count]].concat()
    }

    fn identity(bytes: &[u8], name: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        of(&Checkpoint::open(&path).unwrap()).unwrap()
    }

    #[test]
    fn a_checkpoint_is_known_by_what_is_in_it_not_by_its_name() {
        let file = tensors("weight", 300_000, 1);
        let one = identity(&file, "a.safetensors");
        assert_eq!(one.len(), 24);
        assert_eq!(identity(&file, "b.safetensors"), one);
        // The name stands behind the first 64 KiB.
        assert_ne!(identity(&tensors("height", 300_000, 1), "a.safetensors"), one, "another header of the same length");
        assert_ne!(identity(&tensors("weight", 300_001, 1), "a.safetensors"), one, "another size");
        assert_ne!(identity(&tensors("weight", 300_000, 2), "a.safetensors"), one, "other weights");
    }

    #[test]
    fn folders_and_the_built_in_checkpoint_have_one_too() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.safetensors"), tensors("weight", 10, 1)).unwrap();
        fs::write(folder.path().join("config.json"), "{\"model_type\": \"llama\"}").unwrap();
        let one = of(&Checkpoint::open(folder.path()).unwrap()).unwrap();
        fs::write(folder.path().join("config.json"), "{\"model_type\": \"mamba\"}").unwrap();
        assert_ne!(of(&Checkpoint::open(folder.path()).unwrap()).unwrap(), one, "its configuration counts");
        assert!(of(&crate::demo::open().unwrap()).is_some());
    }

    /// A file at a server, of which the beginning may be read and nothing else.
    #[derive(Debug)]
    struct There(Vec<u8>, &'static str);

    impl mount::Ranges for There {
        fn length(&self) -> u64 {
            self.0.len() as u64
        }

        fn version(&self) -> &str {
            self.1
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
            assert!(offset < 200, "byte {offset} is fetched");
            let rest = &self.0[offset as usize..];
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    #[derive(Debug)]
    struct Place(&'static str);

    impl mount::Tree for Place {
        fn kind(&self, path: &Path) -> Option<mount::Kind> {
            path.ends_with("model.safetensors").then_some(mount::Kind::File)
        }

        fn names(&self, _: &Path) -> std::io::Result<Vec<(String, mount::Kind)>> {
            Ok(Vec::new())
        }

        fn open(&self, _: &Path) -> std::io::Result<mount::Found> {
            let file = There(tensors("weight", 100_000, 1), self.0);
            Ok(mount::Found::There(std::sync::Arc::new(file)))
        }

        fn expect(&self, _: &[PathBuf]) {}
    }

    #[test]
    fn a_file_elsewhere_is_known_by_what_its_server_says_of_it() {
        let of_version = |version: &'static str| {
            let root = Path::new("identity://place");
            mount::mount(root, std::sync::Arc::new(Place(version)));
            of(&Checkpoint::open(&root.join("model.safetensors")).unwrap()).unwrap()
        };
        let one = of_version("\"v1\"");
        assert_eq!(of_version("\"v1\""), one);
        assert_ne!(of_version("\"v2\""), one);
        assert_eq!(earlier(&[PathBuf::from("identity://place/model.safetensors")]), None);
    }
}
