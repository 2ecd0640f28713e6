//! What a file is, by its content. Files that are something else are named for what they are.

use std::path::Path;

use super::pickle::{Pickle, Printer};
use super::{Bytes, Error, Format, archive};

/// The first bytes are enough for every format; tar's mark is at byte 257.
const HEAD: usize = 512;
/// The file's own magic number: a protocol 2 pickle of 0x1950a86a20f9469cfc6c (`torch.serialization.MAGIC_NUMBER`).
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
/// A plain pickle is read up to this length to say what it holds.
const LONGEST_PICKLE: u64 = 64 << 20;

/// The format of a file.
///
/// # Errors
/// It cannot be read, or is none of the formats; the message says what it is instead.
pub(super) fn detect(path: &Path, bytes: &Bytes) -> Result<Format, Error> {
    let mut buffer = [0u8; HEAD];
    let head = bytes.read_at_most(0, &mut buffer)?;
    if archive::is_zip(head) {
        return Ok(Format::TorchZip);
    }
    if head.starts_with(LEGACY_MAGIC) {
        return Ok(Format::TorchLegacy);
    }
    if head.get(257..262) == Some(b"ustar") {
        return Ok(Format::TorchTar);
    }
    let other = |what: &str| Error::Format { path: path.to_path_buf(), what: what.to_owned() };
    // Before the other magic numbers: any of them can be the beginning of a header's length.
    if matches!(head, [_, _, _, _, 0, 0, 0, 0, b'{', ..]) {
        return Ok(Format::Safetensors);
    }
    if let Some(what) = by_magic(head) {
        return Err(other(what));
    }
    let named_so = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"));
    if head.get(8) == Some(&b'{') || named_so {
        return Ok(Format::Safetensors);
    }
    if matches!(head, [0x80, 0..=5, ..]) || head.first().is_some_and(|byte| b"()]}c".contains(byte)) {
        return Err(plain_pickle(path, bytes)?);
    }
    if archive::is_zip_behind_its_mark(path, bytes, head) {
        return Ok(Format::TorchZip);
    }
    Err(other(match head {
        [0x08, version, 0x12 | 0x1a | 0x22 | 0x3a | 0x42, ..] if *version < 0x20 => {
            "looks like ONNX or another protobuf file, not a PyTorch checkpoint; give the checkpoint it was exported from"
        }
        _ => "is no PyTorch checkpoint and no safetensors file; a .pt file begins with `PK`, this one does not",
    }))
}

/// How a Git LFS pointer begins.
const LFS: &[u8] = b"version https://git-lfs";
/// No pointer is longer (the specification's bound); what is need not be read to tell.
const LONGEST_LFS: u64 = 1024;

/// Whether a Git LFS pointer lies where a file should be.
pub(super) fn is_lfs_pointer(path: &Path) -> bool {
    let mut head = [0u8; 64];
    let mut begins = |bytes: &Bytes| bytes.read_at_most(0, &mut head).is_ok_and(|head| head.starts_with(LFS));
    Bytes::open(path).is_ok_and(|bytes| bytes.length() <= LONGEST_LFS && begins(&bytes))
}

/// Formats that begin with fixed bytes.
fn by_magic(head: &[u8]) -> Option<&'static str> {
    let text = head.trim_ascii_start();
    let begins = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()));
    Some(match head {
        [] => "is empty; download or save it again",
        _ if head.starts_with(LFS) => {
            "is a Git LFS pointer, not the checkpoint itself; fetch the file with `git lfs pull`"
        }
        _ if begins("<!doctype") || begins("<html") || begins("<?xml") => {
            "is an HTML or XML page, not a checkpoint; the download probably gave an error or a log-in page"
        }
        [0x00, 0x05, 0x16, 0x07, ..] => {
            "is what macOS keeps beside a file on foreign disks (AppleDouble), not the checkpoint; open the file of that name without `._`"
        }
        [0x1f, 0x8b, ..] => "is gzip-compressed; unpack it first with `gunzip`",
        [b'B', b'Z', b'h', ..] => "is bzip2-compressed; unpack it first with `bunzip2`",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "is xz-compressed; unpack it first with `unxz`",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "is zstd-compressed; unpack it first with `unzstd`",
        [b'P', b'K', 5, 6, ..] => "is a zip archive without any record; save the checkpoint again",
        [b'G', b'G', b'U', b'F', ..] => {
            "is a GGUF file (llama.cpp), not a PyTorch checkpoint; give the checkpoint it was made from"
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => "is a NumPy array (.npy), not a PyTorch checkpoint",
        [0x89, b'H', b'D', b'F', ..] => "is an HDF5 file (Keras?), not a PyTorch checkpoint",
        [0x7f, b'E', b'L', b'F', ..] => "is a program or a shared library, not a PyTorch checkpoint",
        [b'{', ..] => "is a JSON file, not a checkpoint; give the .safetensors or .pt file it belongs to",
        [b'[', ..] => {
            "is a text file, such as JSON or TOML, not a checkpoint; give the .safetensors or .pt file it belongs to"
        }
        _ => return None,
    })
}

/// A pickle that no torch.save wrote: say what it holds and what it would have run.
fn plain_pickle(path: &Path, bytes: &Bytes) -> Result<Error, Error> {
    let length = bytes.length().min(LONGEST_PICKLE);
    let data = bytes.read_range(0, length)?.unwrap_or_default();
    let path = path.to_path_buf();
    Ok(match Pickle::load(data, 0) {
        Ok(pickle) => {
            let value = Printer::for_messages().describe(&pickle, pickle.root());
            let value = super::error::name_for_message(&value);
            let refused = pickle.refused_globals();
            let arrays = pickle.globals().iter().any(|global| global.name.starts_with("numpy."));
            let way_out =
                if arrays { "; load it in Python, and save its arrays with torch.save or safetensors" } else { "" };
            Error::Format {
                path,
                what: format!(
                    "is a plain pickle of {value}, not written by torch.save, and not supported{way_out}{refused}"
                ),
            }
        }
        Err((fault, pickle)) => Error::Pickle {
            path,
            record: "plain pickle".to_owned(),
            offset: fault.offset,
            what: format!("{}; it is no torch.save file either{}", fault.what, pickle.refused_globals()),
        },
    })
}

/// What a zip archive without `data.pkl` at its root is, by its records.
pub(super) fn zip_without_pickle(archive: &archive::Archive) -> &'static str {
    let has = |name: &str| archive.find(name).is_some();
    let names = || archive.names();
    if has("model.json") || names().any(|name| name.starts_with("code/")) {
        "is a TorchScript archive of torch before 1.4 or without its `data.pkl`, which is not read; save it again with a newer torch"
    } else if names().next().is_some() && names().all(|name| name.ends_with(".npy")) {
        "is a NumPy archive (.npz), not a PyTorch checkpoint"
    } else if names().any(|name| name.ends_with("[Content_Types].xml")) {
        "is an Office document, not a PyTorch checkpoint"
    } else {
        "is a zip archive without `data.pkl`, so not a PyTorch checkpoint; if a checkpoint is packed in it, unpack it first"
    }
}
