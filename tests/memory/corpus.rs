//! A corpus of files that try to hurt a reader, each numbered, with what it must come to: one message with its place and
//! exit code 2, or a tree with what is odd about it named. No row may take more than 64 MiB and eight times its file.
//!
//!     cargo test --test memory -- corpus --nocapture   # prints the table
//!
//! Groups: 0x code execution, 2x-4x structure of the pickle, 5x-7x tensors, 8x-9x zip, 10x legacy and foreign files, 12x-13x
//! safetensors. More of each kind is in `hostile.rs` and `legacy.rs`.

use std::time::Instant;

use crate::common::archive::*;
use crate::common::legacy::{Stream, text};
use crate::common::{program, stderr};
use crate::{alone, memory};
use t2m_checkpoint::Checkpoint;
use t2m_tui::model;

/// What a file must come to.
enum Expect {
    /// An error with all of these in it.
    Refused(&'static [&'static str]),
    /// A tree, with all of these in [`facts`].
    Opens(&'static [&'static str]),
}

use Expect::{Opens, Refused};

struct Row {
    name: &'static str,
    bytes: Vec<u8>,
    expect: Expect,
}

fn row(name: &'static str, bytes: Vec<u8>, expect: Expect) -> Row {
    Row { name, bytes, expect }
}

/// What there is to say of an opened file, in lines.
fn facts(checkpoint: &Checkpoint) -> String {
    let mut lines = Vec::new();
    for (id, tensor) in checkpoint.tensors.iter().enumerate() {
        lines.push(format!("{} {} {:?}", tensor.name, tensor.dtype.name(), tensor.shape.as_slice()));
        match checkpoint.read(id) {
            Ok(data) => lines.push(format!("values {:?}", data.to_f32().unwrap_or_default())),
            Err(error) => lines.push(error.to_string()),
        }
    }
    lines.extend(checkpoint.warnings.iter().cloned());
    lines.push(serde_json::to_string(&checkpoint.metadata).unwrap());
    if let Some(report) = &checkpoint.pickle {
        lines.extend(report.globals.iter().map(|global| format!("names {} {}", global.name, global.allowed)));
        lines.extend(report.refused.iter().map(|call| format!("refused {call}")));
    }
    lines.push(format!("{} modules", model::build(checkpoint).modules.len()));
    lines.join("\n")
}

fn honest() -> Vec<u8> {
    dict(tensor(0, &[4], &[1])).pickle()
}

fn system(call: &[u8]) -> Code {
    code().global("posix", "system").raw(b"(").text("true").raw(call)
}

fn deflated(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn with_record(name: &str, data: &[u8]) -> Vec<u8> {
    let mut records = torch_records(&honest());
    records.push(Record::stored(name, data));
    zip(&records)
}

/// A file with other bytes at these places.
fn patched(mut file: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn code_execution() -> Vec<Row> {
    let both = code().raw(b"}(").text("w").then(tensor(0, &[4], &[1])).text("x").then(system(b"tR")).raw(b"u");
    vec![
        row("00 an honest file", torch(&honest()), Opens(&["w float32 [4]", "values [1.0, 2.0, 3.0, 4.0]"])),
        row(
            "01 os.system beside a tensor",
            torch(&both.pickle()),
            Opens(&["w float32 [4]", "names posix.system false", r#"refused posix.system("true") at byte "#]),
        ),
        row(
            "01 os.system alone",
            torch(&system(b"tR").pickle()),
            Refused(&[r#"posix.system("true")"#, "posix.system (byte 2), which was not run"]),
        ),
        row(
            "02 INST",
            torch(&code().raw(b"(").text("true").raw(b"iposix\nsystem\n").pickle()),
            Refused(&[r#"posix.system("true")"#]),
        ),
        row(
            "03 OBJ",
            torch(&code().raw(b"(").global("posix", "system").text("true").raw(b"o").pickle()),
            Refused(&[r#"posix.system("true")"#]),
        ),
        row(
            "04 STACK_GLOBAL",
            torch(&code().text("posix").text("system").raw(b"\x93(").text("true").raw(b"tR").pickle()),
            Refused(&["posix.system (byte "]),
        ),
        row("06 EXT1", torch(&code().raw(b"\x82\x07").pickle()), Refused(&["extension code 7", "byte 2"])),
        row(
            "08 SETITEM on a tensor",
            torch(&dict(tensor(0, &[4], &[1]).int(0).int(1).raw(b"s")).pickle()),
            Refused(&["SETITEM on a tensor", "CVE-2026-24747", "byte "]),
        ),
        row(
            "09 APPEND on a tensor",
            torch(&dict(tensor(0, &[4], &[1]).int(1).raw(b"a")).pickle()),
            Refused(&["APPEND on a tensor"]),
        ),
        row(
            "10 a call, then garbage",
            torch(&system(b"tR").raw(b"0\xff").pickle()),
            Refused(&["0xff is no pickle opcode", "posix.system (byte 2)"]),
        ),
        row(
            "12 a plain pickle",
            system(b"tR").pickle(),
            Refused(&["a plain pickle of posix.system", "posix.system (byte 2), which was not run"]),
        ),
        row(
            "13 TorchScript in disguise",
            with_record("x/constants.pkl", b"\x80\x02)."),
            Refused(&["save a ScriptModule"]),
        ),
    ]
}

fn pickle_structure() -> Vec<Row> {
    let good = torch(&honest());
    let bomb = (0..40u8).fold(code().raw(b"]q\x00"), |bomb, level| {
        bomb.raw(b"](").raw(&[b'h', level].repeat(10)).raw(b"eq").raw(&[level + 1])
    });
    let bad_key = code().raw(b"}X\x02\x00\x00\x00w\xff").then(tensor(0, &[4], &[1])).raw(b"s");
    let twice = code().raw(b"}(").text("w").then(tensor(0, &[4], &[1])).text("w").then(tensor(2, &[2], &[1])).raw(b"u");
    let deep = |start: &[u8], step: &[u8], end: &[u8]| {
        code().raw(start).raw(&step.repeat(1_000_000)).raw(&end.repeat(999_999)).pickle()
    };
    vec![
        row("20 an empty file", Vec::new(), Refused(&["is empty"])),
        row("21 cut in half", good[..good.len() / 2].to_vec(), Refused(&["no end of a central directory"])),
        row("22 the pickle cut off", torch(&honest()[..40]), Refused(&["data.pkl, byte "])),
        row("23 stack underflow", torch(&code().raw(b"R").pickle()), Refused(&["byte 2", "stack underflow"])),
        row("25 memo entry missing", torch(&code().raw(b"h\x07").pickle()), Refused(&["byte 2: memo entry 7"])),
        row(
            "26 a text of 4 GiB",
            torch(&code().raw(b"X\xff\xff\xff\xff").pickle()),
            Refused(&["a length of 4294967295 where 1 bytes remain"]),
        ),
        row(
            "28 a frame that lies",
            torch(&code().raw(b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f").then(dict(tensor(0, &[4], &[1]))).pickle()),
            Opens(&["w float32 [4]"]),
        ),
        row("30 10^40 values", torch(&bomb.pickle()), Refused(&["unfold to far more than were written"])),
        row("31 a million lists", torch(&deep(b"", b"]", b"a")), Refused(&["nested deeper than 64 levels"])),
        row("31 a million tuples", torch(&deep(b")", b"\x85", b"")), Refused(&["nested deeper than 64 levels"])),
        row("31 a million dicts as keys", torch(&deep(b"", b"}", b"Ns")), Opens(&["no tensors", "1 modules"])),
        row(
            "33 a dict in itself",
            torch(&code().raw(b"}q\x00").text("self").raw(b"h\x00s").pickle()),
            Opens(&["(back to byte 2)", "no tensors"]),
        ),
        row(
            "33 a dict that is its own key",
            torch(&code().raw(b"}q\x00h\x00").int(1).raw(b"s").pickle()),
            Opens(&["no tensors"]),
        ),
        row(
            "35 an integer of 255 bytes",
            torch(&dict(code().raw(b"\x8a\xff").raw(&[1; 255])).pickle()),
            Opens(&[r#""w":"495052"#]),
        ),
        row(
            "37 a key that is not UTF-8",
            torch(&bad_key.pickle()),
            Opens(&["w\u{fffd} float32", "byte 3 is not UTF-8"]),
        ),
        row(
            "38 a key without a value",
            torch(&code().raw(b"}(").int(1).raw(b"u").pickle()),
            Refused(&["SETITEMS has a key without a value"]),
        ),
        row(
            "40 a key twice",
            torch(&twice.pickle()),
            Opens(&["w float32 [2]", "values [3.0, 4.0]", "`w` comes twice"]),
        ),
    ]
}

fn tensors() -> Vec<Row> {
    let with = |tensor: Code| torch(&dict(tensor).pickle());
    let of = |storage: Code| with(tensor_of(storage, 0, &[4], &[1]));
    let call = |name: &str, arguments: Code| {
        dict(code().global("torch._utils", name).raw(b"(").then(arguments).raw(b"tR")).pickle()
    };
    let sparse = code()
        .global("torch", "sparse_coo")
        .raw(b"(")
        .then(tensor(0, &[1, 4], &[4, 1]))
        .then(tensor(0, &[4], &[1]))
        .ints(&[2])
        .raw(b"t");
    let mut middle = torch_records(&honest());
    middle[1] = Record::stored("x/byteorder", b"middle");
    vec![
        row("50 a shape that overflows", with(tensor(0, &[1 << 33, 1 << 33], &[0, 0])), Refused(&["`w`", "64 bits"])),
        row("52 a negative stride", with(tensor(0, &[4], &[-1])), Refused(&["`w`", "negative stride -1"])),
        row("53 an offset past the end", with(tensor(1, &[4], &[1])), Refused(&["`w`", "needs 5 elements", "holds 4"])),
        row("55 a stride past the end", with(tensor(0, &[4], &[1001])), Refused(&["needs 3004 elements", "holds 4"])),
        row(
            "56 four petabytes by strides of 0",
            with(tensor(0, &[1 << 25, 1 << 25], &[0, 0])),
            Opens(&["w float32 [33554432, 33554432]", "is an expanded view of 4 bytes"]),
        ),
        row(
            "58 a storage smaller than its record",
            with(tensor_of(storage("FloatStorage", "0", 1), 0, &[1], &[1])),
            Opens(&["declared with 4 bytes, its record has 16"]),
        ),
        row(
            "59 a record that is not there",
            of(storage("FloatStorage", "nope", 4)),
            Opens(&["storage `nope` is missing"]),
        ),
        row(
            "60 a key that climbs",
            of(storage("FloatStorage", "../../../etc/passwd", 4)),
            Opens(&["storage `../../../etc/passwd` is missing from the archive"]),
        ),
        row("62 100,000 axes", with(tensor(0, &[1; 100_000], &[1; 100_000])), Refused(&["more than 64 axes"])),
        row(
            "64 an unknown storage",
            of(storage("EvilStorage", "0", 4)),
            Opens(&["w unknown [4]", "torch.EvilStorage"]),
        ),
        row("65 a persistent id that is no tuple", of(code().int(5).raw(b"Q")), Refused(&["not a storage tuple"])),
        row("67 a bogus quantised tensor", torch(&call("_rebuild_qtensor", code().int(1))), Opens(&["quantized"])),
        row("68 sparse indices out of bounds", torch(&call("_rebuild_sparse_tensor", sparse)), Opens(&["sparse"])),
        row("69 a strange byte order", zip(&middle), Refused(&["says `middle`, which is neither `little` nor `big`"])),
    ]
}

fn archives() -> Vec<Row> {
    let good = torch(&honest());
    let end = good.len() - 22;
    let start = u32::from_le_bytes(good[end + 16..end + 20].try_into().unwrap()) as usize;
    let with = |at: usize, bytes: &[u8]| patched(good.clone(), at, bytes);
    let mut nested = with(end + 20, &[30]);
    nested.extend(&good[end..]);
    let mut bomb = torch_records(&honest());
    bomb[0] = Record {
        name: "x/data.pkl".to_owned(),
        data: deflated(&vec![b'N'; 100_000_000]),
        method: 8,
        size: 100_000_000,
    };
    let mut zip64 = good[..end].to_vec();
    zip64.extend(b"PK\x06\x06\x2c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00");
    [u64::MAX, u64::MAX, u64::MAX, u64::MAX - 40].iter().for_each(|number| zip64.extend(number.to_le_bytes()));
    zip64.extend(b"PK\x06\x07\x00\x00\x00\x00");
    zip64.extend((end as u64).to_le_bytes());
    zip64.extend(b"\x01\x00\x00\x00PK\x05\x06\x00\x00\x00\x00");
    zip64.extend([0xff; 12]);
    zip64.extend([0, 0]);
    vec![
        row(
            "80 a directory outside the file",
            with(end + 16, &[0xff, 0xff, 0xff, 0x7f]),
            Refused(&["byte 2147483647"]),
        ),
        row("82 a damaged directory", with(start, b"XX"), Refused(&["entry 0 is damaged"])),
        row(
            "83 a header outside the file",
            with(start + 42, &[0xff, 0xff, 0xff, 0x7f]),
            Refused(&["record `x/data.pkl`"]),
        ),
        row("85 other sizes in the local header", with(22, &[1]), Opens(&["w float32 [4]", "in its local header"])),
        row("86 a wrong checksum", with(14, &[1, 2, 3, 4]), Opens(&["values [1.0, 2.0, 3.0, 4.0]"])),
        row(
            "87 a record into the directory",
            with(start + 20, &[0xff, 0xff, 0xff, 0x7f]),
            Refused(&["reach past the central directory"]),
        ),
        row("89 two data.pkl", with_record("x/data.pkl", b"N."), Refused(&["record `x/data.pkl`"])),
        row("90 two roots", with_record("y/data.pkl", b"N."), Refused(&["is not in the folder `x`"])),
        row("91 a bomb", zip(&bomb), Refused(&["67108864 is the most that is read"])),
        row("93 junk behind", [good.clone(), vec![0; 70_000]].concat(), Refused(&["no end of a central directory"])),
        row(
            "94 an end in the comment",
            {
                nested.extend([0; 8]);
                nested.clone()
            },
            Opens(&["w float32 [4]"]),
        ),
        row(
            "94 two ends",
            {
                let inner = nested.len() - 10;
                patched(nested, inner, &[8])
            },
            Refused(&["two ends"]),
        ),
        row("95 huge ZIP64", zip64, Refused(&["x.pt"])),
    ]
}

fn legacy_and_foreign() -> Vec<Row> {
    let sound = || Stream::default();
    let source = "class Net:\n    def forward(self, x):\n        return '\u{1b}[2J'\n";
    // Modules bring the source of their class in a persistent id.
    let class = code().raw(b"(").text("module").global("m", "Net").text("m.py").text(source).raw(b"tQ");
    let state = code().raw(b"}(").text("_parameters").raw(b"}").text("w").then(code());
    let module = state.raw(
        &[
            b"ctorch._utils\n_rebuild_tensor_v2\n((".as_slice(),
            &text("storage"),
            b"ctorch\nFloatStorage\n",
            &text("5"),
            &text("cpu"),
            b"K\x04NtQK\0K\x04\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs",
        ]
        .concat(),
    );
    let module = class.raw(b")\x81").then(module.text("_modules").raw(b"}u")).raw(b"b");
    let whole = Stream::default().bytes();
    let at = whole.windows(4).position(|window| window == b"\x80\x02}X").unwrap();
    let pickle = whole.windows(6).rposition(|window| window == b"\x80\x02}X\x01\0").unwrap_or(at);
    let keys = whole.windows(4).rposition(|window| window == b"\x80\x02]X").unwrap();
    let with_module = [&whole[..pickle], &module.pickle(), &whole[keys..]].concat();
    let huge = Stream { declared: 1 << 61, written: (1i64 << 61).to_le_bytes(), ..sound() };
    let big = Stream { little_endian: false, ..sound() };
    vec![
        row("100 an honest stream", sound().bytes(), Opens(&["w float32 [4]", "values [1.0, 2.0, 3.0, 4.0]"])),
        row("101 a storage past the end", huge.bytes(), Refused(&["legacy checkpoint, byte ", "the file holds 16"])),
        row(
            "102 a storage of -1 elements",
            Stream { declared: -1, written: (-1i64).to_le_bytes(), ..sound() }.bytes(),
            Refused(&["a storage of -1 elements"]),
        ),
        row("104 the other byte order claimed", big.bytes(), Opens(&["big-endian machine"])),
        row("106 a module with its source", with_module, Opens(&["w float32 [4]", "names m.Net false"])),
        row(
            "108 a Git LFS pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n".to_vec(),
            Refused(&["git lfs pull"]),
        ),
        row("109 a web page", b"<!DOCTYPE html><html></html>".to_vec(), Refused(&["HTML"])),
        row("109 gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), Refused(&["gunzip"])),
        row("109 GGUF", b"GGUF\x03\0\0\0".to_vec(), Refused(&["GGUF"])),
        row("109 ONNX", b"\x08\x07\x12\x07pytorch".to_vec(), Refused(&["ONNX"])),
        row("109 MLX's npz", zip(&[Record::stored("a.npy", b"x")]), Refused(&["NumPy archive"])),
    ]
}

fn safetensors() -> Vec<Row> {
    let file =
        |header: &str, data: usize| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat();
    let one = |info: &str, data: usize| file(&format!(r#"{{"a":{info}}}"#), data);
    vec![
        row(
            "120 an honest file",
            one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, 4),
            Opens(&["a float32 [1]"]),
        ),
        row("121 a header of 2^64 bytes", [&[0xff; 8], b"{}".as_slice()].concat(), Refused(&["header too large"])),
        row(
            "122 a header past the end",
            [&1_000u64.to_le_bytes(), b"{}".as_slice()].concat(),
            Refused(&["a header of 1000 bytes reaches past the end of the file at 10"]),
        ),
        row(
            "124 a hole",
            file(
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}}"#,
                6,
            ),
            Refused(&["byte 62: tensor `b`", "does not begin where"]),
        ),
        row(
            "125 bytes behind",
            one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, 5),
            Refused(&["the tensors end at byte 66, the file at byte 67"]),
        ),
        row(
            "127 a size that does not fit",
            one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#, 4),
            Refused(&["shape and type do not give"]),
        ),
        row(
            "129 an unknown dtype",
            one(r#"{"dtype":"F99","shape":[1],"data_offsets":[0,4]}"#, 4),
            Opens(&["elements of type F99 are not read"]),
        ),
        row(
            "130 half a byte",
            one(r#"{"dtype":"F4","shape":[3],"data_offsets":[0,2]}"#, 2),
            Refused(&["the elements do not end"]),
        ),
        row(
            "132 metadata that is no text",
            file(r#"{"__metadata__":{"a":1}}"#, 0),
            Refused(&["byte 29: text in quotes"]),
        ),
        row(
            "134 a negative offset",
            one(r#"{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}"#, 0),
            Refused(&["byte 56: a whole number of 0 and more"]),
        ),
    ]
}

#[test]
fn every_row_comes_to_what_it_must() {
    let _alone = alone();
    let rows = [code_execution(), pickle_structure(), tensors(), archives(), legacy_and_foreign(), safetensors()];
    let folder = tempfile::tempdir().unwrap();
    let mut faults = Vec::new();
    println!("{:<40} {:>10} {:>9} {:>8}  comes to", "row", "bytes", "peak KiB", "ms");
    for Row { name, bytes, expect } in rows.into_iter().flatten() {
        let number: u32 = name.split(' ').next().and_then(|number| number.parse().ok()).unwrap();
        let path = folder.path().join(if number >= 120 { "x.safetensors" } else { "x.pt" });
        std::fs::write(&path, &bytes).unwrap();
        let begun = Instant::now();
        let (said, peak) = memory::peak_of(|| Checkpoint::open(&path).as_ref().map_or_else(ToString::to_string, facts));
        let took = begun.elapsed().as_secs_f64() * 1e3;
        let bound = memory::bound(bytes.len());
        let mut fault = |what: String| faults.push(format!("{name}: {what}"));
        if peak > bound {
            fault(format!("takes {peak} bytes, more than {bound}"));
        }
        let output = program().arg("inspect").arg(&path).output().unwrap();
        let (parts, code) = match expect {
            Refused(parts) => (parts, 2),
            Opens(parts) => (parts, 0),
        };
        for part in parts.iter().filter(|part| !said.contains(**part)) {
            fault(format!("`{part}` is not in: {said}"));
        }
        let errors = stderr(&output);
        if output.status.code() != Some(code) {
            fault(format!("exit code {:?}, not {code}: {errors}", output.status.code()));
        }
        if code == 2 && (errors.lines().count() != 1 || !errors.contains(path.to_str().unwrap())) {
            fault(format!("not one line that names the file: {errors}"));
        }
        if output.stdout.iter().chain(&output.stderr).any(|&byte| byte == 0x1b) {
            fault("an escape reaches the terminal".to_owned());
        }
        let first = said.lines().next().unwrap_or_default().replace(&*folder.path().to_string_lossy(), "");
        let first: String = first.trim_start_matches('/').chars().take(90).collect();
        println!("{name:<40} {:>10} {:>9} {took:>8.1}  {first}", bytes.len(), peak >> 10);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
