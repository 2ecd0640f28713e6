//! Builders of zip archives and pickles, honest and hostile.

#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;

use t2m_checkpoint::{Bytes, Checkpoint, Error};

/// Open bytes as if they were the file `x.pt`.
pub fn open(bytes: Vec<u8>) -> Result<Checkpoint, Error> {
    Checkpoint::from_bytes(Path::new("x.pt"), Bytes::Owned(bytes))
}

/// A safetensors file of tensors of zeros.
pub fn safetensors(tensors: &[(&str, &[u64])]) -> Vec<u8> {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors {
        let start = end;
        end += 4 * shape.iter().product::<u64>();
        let told = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
        header.insert((*name).to_owned(), told);
    }
    let header = serde_json::Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    [length.as_slice(), header.as_bytes(), &vec![0; end as usize]].concat()
}

/// The message of bytes that cannot be opened.
pub fn refusal(bytes: Vec<u8>) -> String {
    open(bytes).map(|checkpoint| checkpoint.tensors.len()).unwrap_err().to_string()
}

/// A record for [`zip`].
pub struct Record {
    pub name: String,
    /// As it lies in the file.
    pub data: Vec<u8>,
    /// 0 stored, 8 deflated.
    pub method: u16,
    /// Length when inflated.
    pub size: u32,
}

impl Record {
    pub fn stored(name: &str, data: &[u8]) -> Record {
        Record { name: name.to_owned(), data: data.to_vec(), method: 0, size: data.len() as u32 }
    }
}

/// An archive of stored and deflated records, with checksums of zero as torch can write them.
pub fn zip(records: &[Record]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for record in records {
        let offset = file.len() as u32;
        let mut common = Vec::new();
        common.extend(record.method.to_le_bytes());
        common.extend([0; 8]); // time, date, checksum
        common.extend((record.data.len() as u32).to_le_bytes());
        common.extend(record.size.to_le_bytes());
        common.extend((record.name.len() as u16).to_le_bytes());
        common.extend([0; 2]); // extra field
        file.extend(b"PK\x03\x04\x00\x00\x00\x08");
        file.extend(&common);
        file.extend(record.name.as_bytes());
        file.extend(&record.data);
        directory.extend(b"PK\x01\x02\x00\x00\x00\x00\x00\x08");
        directory.extend(&common);
        directory.extend([0; 10]); // comment, disk, attributes
        directory.extend(offset.to_le_bytes());
        directory.extend(record.name.as_bytes());
    }
    let start = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\x00\x00\x00\x00");
    let count = records.len() as u16;
    file.extend(count.to_le_bytes());
    file.extend(count.to_le_bytes());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}

/// A torch archive of a pickle and the storage `0` of four floats.
pub fn torch(pickle: &[u8]) -> Vec<u8> {
    zip(&torch_records(pickle))
}

pub fn torch_records(pickle: &[u8]) -> Vec<Record> {
    let floats: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    vec![
        Record::stored("x/data.pkl", pickle),
        Record::stored("x/byteorder", b"little"),
        Record::stored("x/data/0", &floats),
        Record::stored("x/version", b"3\n"),
    ]
}

/// Pickle code, protocol 2, without PROTO and STOP.
#[derive(Clone, Default)]
pub struct Code(pub Vec<u8>);

impl Code {
    pub fn raw(mut self, bytes: &[u8]) -> Code {
        self.0.extend(bytes);
        self
    }

    pub fn then(self, other: Code) -> Code {
        self.raw(&other.0)
    }

    pub fn global(self, module: &str, name: &str) -> Code {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub fn text(self, text: &str) -> Code {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    /// LONG1 of eight bytes.
    pub fn int(self, value: i64) -> Code {
        self.raw(&[0x8a, 8]).raw(&value.to_le_bytes())
    }

    pub fn ints(self, values: &[i64]) -> Code {
        values.iter().fold(self.raw(b"("), |code, &value| code.int(value)).raw(b"t")
    }

    /// A whole pickle.
    pub fn pickle(self) -> Vec<u8> {
        [b"\x80\x02", self.0.as_slice(), b"."].concat()
    }
}

pub fn code() -> Code {
    Code::default()
}

/// A storage of `numel` elements.
pub fn storage(class: &str, key: &str, numel: i64) -> Code {
    code().raw(b"(").text("storage").global("torch", class).text(key).text("cpu").int(numel).raw(b"tQ")
}

/// `torch._utils._rebuild_tensor_v2` of a storage.
pub fn tensor_of(storage: Code, offset: i64, size: &[i64], stride: &[i64]) -> Code {
    let hooks = code().global("collections", "OrderedDict").raw(b")R");
    let call = code().global("torch._utils", "_rebuild_tensor_v2").raw(b"(").then(storage).int(offset);
    call.ints(size).ints(stride).raw(b"\x89").then(hooks).raw(b"tR")
}

/// The same on four floats in storage `0`.
pub fn tensor(offset: i64, size: &[i64], stride: &[i64]) -> Code {
    tensor_of(storage("FloatStorage", "0", 4), offset, size, stride)
}

/// `{'w': value}`
pub fn dict(value: Code) -> Code {
    code().raw(b"}").text("w").then(value).raw(b"s")
}
