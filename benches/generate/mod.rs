//! Large checkpoints whose tensor bytes are holes in a sparse file: gigabytes that take kilobytes of disk.

#![allow(clippy::unwrap_used, clippy::unreachable)]

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Elements are bfloat16 or float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    BFloat16,
    Float32,
}

impl Kind {
    fn size(self) -> u64 {
        if self == Kind::BFloat16 { 2 } else { 4 }
    }

    fn storage(self) -> &'static str {
        if self == Kind::BFloat16 { "BFloat16Storage" } else { "FloatStorage" }
    }

    fn safetensors(self) -> &'static str {
        if self == Kind::BFloat16 { "BF16" } else { "F32" }
    }
}

/// A tensor to be: name and shape.
pub type Wanted = (String, Vec<u64>);

/// The tensors of a language model of 2.25 GiB in bfloat16: 192 of them, as large ones are.
pub fn language_model() -> Vec<Wanted> {
    let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![50_304, 2_048])];
    for layer in 0..27 {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        for part in ["self_attn.q_proj", "self_attn.o_proj"] {
            tensors.push((name(part), vec![2_048, 2_048]));
        }
        tensors.push((name("mlp.gate_proj"), vec![4_672, 2_048]));
        tensors.push((name("mlp.up_proj"), vec![4_672, 2_048]));
        tensors.push((name("mlp.down_proj"), vec![2_048, 4_672]));
        for part in ["input_layernorm", "post_attention_layernorm"] {
            tensors.push((name(part), vec![2_048]));
        }
    }
    tensors.push(("model.norm.weight".to_owned(), vec![2_048]));
    tensors.push(("lm_head.weight".to_owned(), vec![50_304, 2_048]));
    tensors
}

/// So many tensors, in blocks of a convolution, a norm and a linear layer.
pub fn blocks(count: usize) -> Vec<Wanted> {
    let block = |at: usize| {
        let path = format!("model.stages.{}.blocks.{}", at / 100, at % 100);
        let sizes: [(&str, &[u64]); 4] =
            [("conv.weight", &[4, 4, 1, 1]), ("norm.weight", &[4]), ("norm.bias", &[4]), ("fc.weight", &[2, 4])];
        sizes.map(|(name, shape)| (format!("{path}.{name}"), shape.to_vec()))
    };
    (0..count / 4).flat_map(block).collect()
}

/// `count` tensors of four elements, in modules of a few each.
pub fn many(count: usize) -> Vec<Wanted> {
    (0..count).map(|index| (format!("blocks.{}.{}.scale", index / 100, index % 100), vec![4])).collect()
}

/// A state dict as `torch.save` writes it: opcode for opcode the same pickle, data aligned to 64 bytes, tensor bytes left
/// out.
pub fn torch(path: &Path, tensors: &[Wanted], kind: Kind) {
    torch_beside(path, tensors, kind, 0);
}

/// The same with a record beside the tensors' that is a hole of so many bytes.
pub fn torch_beside(path: &Path, tensors: &[Wanted], kind: Kind, hole: u64) {
    let mut pickle = Pickle { bytes: b"\x80\x02".to_vec(), memo: 0 };
    let ordered = pickle.global("collections", "OrderedDict");
    pickle.bytes.extend(b")R");
    pickle.remember();
    let mut shared: Option<[u32; 4]> = None;
    for (batch, tensors) in tensors.chunks(1_000).enumerate() {
        pickle.bytes.push(b'(');
        for (index, (name, shape)) in tensors.iter().enumerate() {
            pickle.text(name);
            // What the first tensor puts into the memo, the others get from it.
            if let Some([rebuild, ..]) = shared {
                pickle.recall(rebuild);
            } else {
                let rebuild = pickle.global("torch._utils", "_rebuild_tensor_v2");
                shared = Some([rebuild, 0, 0, 0]);
            }
            pickle.bytes.extend(b"((");
            let Some([rebuild, word, class, cpu]) = shared else { unreachable!() };
            let (word, class) = match word {
                0 => (pickle.text("storage"), pickle.global("torch", kind.storage())),
                _ => (pickle.recall(word), pickle.recall(class)),
            };
            pickle.text(&(batch * 1_000 + index).to_string());
            let cpu = if cpu == 0 { pickle.text("cpu") } else { pickle.recall(cpu) };
            shared = Some([rebuild, word, class, cpu]);
            pickle.int(shape.iter().product());
            pickle.bytes.push(b't');
            pickle.remember();
            pickle.bytes.extend(b"QK\x00");
            pickle.tuple(shape);
            let strides: Vec<u64> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
            pickle.tuple(&strides);
            pickle.bytes.push(0x89);
            pickle.recall(ordered);
            pickle.bytes.extend(b")R");
            pickle.remember();
            pickle.bytes.push(b't');
            pickle.remember();
            pickle.bytes.push(b'R');
            pickle.remember();
        }
        pickle.bytes.push(b'u');
    }
    pickle.bytes.push(b'.');
    let pickle = pickle.bytes;

    let mut zip = Zip::new(path);
    zip.record("m/data.pkl", &pickle);
    zip.record("m/byteorder", b"little");
    for (key, (_, shape)) in tensors.iter().enumerate() {
        zip.hole(&format!("m/data/{key}"), shape.iter().product::<u64>() * kind.size());
    }
    zip.record("m/version", b"3\n");
    if hole > 0 {
        zip.hole("m/extra", hole);
    }
    zip.finish();
}

/// Write tensors as a safetensors file.
pub fn safetensors(path: &Path, tensors: &[Wanted], kind: Kind) {
    let mut header = b"{".to_vec();
    let mut offset = 0;
    for (index, (name, shape)) in tensors.iter().enumerate() {
        let end = offset + shape.iter().product::<u64>() * kind.size();
        let comma = if index == 0 { "" } else { "," };
        let row = format!(
            r#"{comma}"{name}":{{"dtype":"{}","shape":{shape:?},"data_offsets":[{offset},{end}]}}"#,
            kind.safetensors()
        );
        header.extend(row.as_bytes());
        offset = end;
    }
    header.push(b'}');
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    file.set_len(8 + header.len() as u64 + offset).unwrap();
}

/// An index over `count` shards of three tensors each. Returns its path.
pub fn sharded(folder: &Path, count: usize) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let mut rows = Vec::new();
    for shard in 1..=count {
        let file = format!("model-{shard:05}-of-{count:05}.safetensors");
        let names = ["q_proj", "k_proj", "v_proj"].map(|part| format!("model.layers.{shard}.self_attn.{part}.weight"));
        let tensors: Vec<Wanted> = names.iter().map(|name| (name.clone(), vec![8_192, 8_192])).collect();
        safetensors(&folder.join(&file), &tensors, Kind::BFloat16);
        rows.extend(names.map(|name| format!(r#""{name}":"{file}""#)));
    }
    let index = folder.join("model.safetensors.index.json");
    let total = count * 3 * 8_192 * 8_192 * 2;
    std::fs::write(&index, format!(r#"{{"metadata":{{"total_size":{total}}},"weight_map":{{{}}}}}"#, rows.join(",")))
        .unwrap();
    index
}

/// Pickle code with a memo, as Python's pickler writes it.
struct Pickle {
    bytes: Vec<u8>,
    memo: u32,
}

impl Pickle {
    /// Put what was made last into the memo.
    fn remember(&mut self) -> u32 {
        match u8::try_from(self.memo) {
            Ok(index) => self.bytes.extend([b'q', index]),
            Err(_) => {
                self.bytes.push(b'r');
                self.bytes.extend(self.memo.to_le_bytes());
            }
        }
        self.memo += 1;
        self.memo - 1
    }

    fn recall(&mut self, index: u32) -> u32 {
        self.bytes.extend([b'h', u8::try_from(index).unwrap()]);
        index
    }

    fn global(&mut self, module: &str, name: &str) -> u32 {
        self.bytes.extend(format!("c{module}\n{name}\n").as_bytes());
        self.remember()
    }

    fn text(&mut self, text: &str) -> u32 {
        self.bytes.push(b'X');
        self.bytes.extend((text.len() as u32).to_le_bytes());
        self.bytes.extend(text.as_bytes());
        self.remember()
    }

    fn int(&mut self, value: u64) {
        match value {
            0..=0xff => self.bytes.extend([b'K', value as u8]),
            0x100..=0xffff => {
                self.bytes.push(b'M');
                self.bytes.extend((value as u16).to_le_bytes());
            }
            _ => {
                self.bytes.push(b'J');
                self.bytes.extend(i32::try_from(value).unwrap().to_le_bytes());
            }
        }
    }

    fn tuple(&mut self, values: &[u64]) {
        let opcode = match values.len() {
            1 => 0x85,
            2 => 0x86,
            3 => 0x87,
            // A mark before the values, and all behind it.
            _ => b't',
        };
        if opcode == b't' {
            self.bytes.push(b'(');
        }
        values.iter().for_each(|&value| self.int(value));
        self.bytes.push(opcode);
        self.remember();
    }
}

/// A zip archive of stored records, with the ZIP64 end that torch always writes.
struct Zip {
    file: BufWriter<File>,
    offset: u64,
    directory: Vec<u8>,
    records: u64,
}

impl Zip {
    fn new(path: &Path) -> Zip {
        Zip { file: BufWriter::new(File::create(path).unwrap()), offset: 0, directory: Vec::new(), records: 0 }
    }

    fn record(&mut self, name: &str, data: &[u8]) {
        self.header(name, data.len() as u64);
        self.file.write_all(data).unwrap();
        self.offset += data.len() as u64;
    }

    fn hole(&mut self, name: &str, length: u64) {
        self.header(name, length);
        // Small holes are cheaper written than skipped.
        if length < 4_096 {
            self.file.write_all(&vec![0; length as usize]).unwrap();
        } else {
            self.file.seek(SeekFrom::Current(length as i64)).unwrap();
        }
        self.offset += length;
    }

    fn header(&mut self, name: &str, length: u64) {
        let start = self.offset;
        let padding = (64 - (start + 30 + name.len() as u64 + 4) % 64) % 64;
        let mut local = b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        local.extend((name.len() as u16).to_le_bytes());
        local.extend((padding as u16 + 4).to_le_bytes());
        local.extend(name.as_bytes());
        local.extend(b"FB");
        local.extend((padding as u16).to_le_bytes());
        local.resize(local.len() + padding as usize, b'Z');
        self.file.write_all(&local).unwrap();
        self.offset += local.len() as u64;

        // What does not fit into 32 bits stands in a ZIP64 field.
        let mut wide = Vec::new();
        let mut narrow = |value: u64| match u32::try_from(value) {
            Ok(value) if value != u32::MAX => value,
            _ => {
                wide.extend(value.to_le_bytes());
                u32::MAX
            }
        };
        let (size, packed, place) = (narrow(length), narrow(length), narrow(start));
        let directory = &mut self.directory;
        directory.extend(b"PK\x01\x02\0\0\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0");
        directory.extend(packed.to_le_bytes());
        directory.extend(size.to_le_bytes());
        directory.extend((name.len() as u16).to_le_bytes());
        directory.extend((if wide.is_empty() { 0 } else { wide.len() as u16 + 4 }).to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(place.to_le_bytes());
        directory.extend(name.as_bytes());
        if !wide.is_empty() {
            directory.extend(1u16.to_le_bytes());
            directory.extend((wide.len() as u16).to_le_bytes());
            directory.extend(&wide);
        }
        self.records += 1;
    }

    fn finish(mut self) {
        let (start, length) = (self.offset, self.directory.len() as u64);
        let mut end = self.directory;
        end.extend(b"PK\x06\x06");
        end.extend(44u64.to_le_bytes());
        end.extend([0; 12]);
        for value in [self.records, self.records, length, start, start + length] {
            // The last one stands in the locator behind the record.
            if value == start + length {
                end.extend(b"PK\x06\x07\0\0\0\0");
            }
            end.extend(value.to_le_bytes());
        }
        end.extend(1u32.to_le_bytes());
        end.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
        self.file.write_all(&end).unwrap();
        let file = self.file.into_inner().unwrap();
        let written = start + length + 56 + 20 + 22;
        file.set_len(written).unwrap();
    }
}
