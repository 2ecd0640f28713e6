//! Builder of streams as torch wrote them before 1.6, honest and hostile.

#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;

use t2m_checkpoint::{Bytes, Checkpoint};

/// A text as a protocol 2 pickle has it.
pub fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

pub fn long(value: i64) -> Vec<u8> {
    [b"\x8a\x08".as_slice(), &value.to_le_bytes()].concat()
}

/// A stream with one tensor `w` of four floats in the storage `5`.
pub struct Stream {
    pub protocol: i64,
    pub little_endian: bool,
    /// In the pickle.
    pub declared: i64,
    /// In front of the storage.
    pub written: [u8; 8],
    pub keys: Vec<u8>,
    pub elements: Vec<u8>,
}

impl Default for Stream {
    fn default() -> Stream {
        let elements = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let keys = [b"\x80\x02]".as_slice(), &text("5"), b"a."].concat();
        Stream { protocol: 1001, little_endian: true, declared: 4, written: 4i64.to_le_bytes(), keys, elements }
    }
}

impl Stream {
    pub fn bytes(&self) -> Vec<u8> {
        let flag: &[u8] = if self.little_endian { b"\x88" } else { b"\x89" };
        [
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02".as_slice(),
            &long(self.protocol),
            b".\x80\x02}",
            &text("little_endian"),
            flag,
            b"s.\x80\x02}",
            &text("w"),
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            &text("storage"),
            b"ctorch\nFloatStorage\n",
            &text("5"),
            &text("cpu"),
            &long(self.declared),
            b"NtQK\0K\x04\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs.",
            &self.keys,
            &self.written,
            &self.elements,
        ]
        .concat()
    }

    pub fn open(&self) -> Result<Checkpoint, String> {
        let bytes = Bytes::Owned(self.bytes());
        Checkpoint::from_bytes(Path::new("hostile.pth"), bytes).map_err(|error| error.to_string())
    }

    pub fn values(&self) -> Vec<f32> {
        self.open().unwrap().read(0).unwrap().to_f32().unwrap()
    }
}

/// A stream of one object of a class that is stored with its source.
pub fn stored_class(module: &str, class: &str, source: &str) -> Vec<u8> {
    [
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02".as_slice(),
        &long(1001),
        b".\x80\x02}",
        &text("little_endian"),
        b"\x88s.\x80\x02(",
        &text("module"),
        format!("c{module}\n{class}\n").as_bytes(),
        &text("net.py"),
        &text(source),
        b"tQ)\x81}(",
        &text("_modules"),
        b"}",
        &text("_parameters"),
        b"}",
        &text("_buffers"),
        b"}ub.\x80\x02].",
    ]
    .concat()
}
