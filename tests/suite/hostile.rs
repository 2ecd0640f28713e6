//! Files that try to hurt a reader: each gives one message with its place, or opens with a warning.

use std::path::Path;

use crate::common::archive::*;
use proptest::prelude::*;
use t2m_checkpoint::{Bytes, Checkpoint};
use t2m_tui::model;

/// The message for a torch archive with this pickle.
fn refused(code: Code) -> String {
    refusal(torch(&code.pickle()))
}

fn assert_refused(code: Code, parts: &[&str]) {
    let message = refused(code);
    for part in [&["x.pt: data.pkl, byte "], parts].concat() {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

fn system(call: &[u8]) -> Code {
    code().global("posix", "system").raw(b"(").text("true").raw(call)
}

#[test]
fn an_honest_file_opens() {
    let checkpoint = open(torch(&dict(tensor(0, &[4], &[1])).pickle())).unwrap();
    assert_eq!(checkpoint.read(0).unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    assert!(checkpoint.warnings.is_empty());
}

#[test]
fn calls_are_shown_and_never_made() {
    assert_refused(
        system(b"tR"),
        &[r#"posix.system("true")"#, "posix.system (byte 2), which was not run", "no tensors"],
    );
    assert_refused(code().raw(b"(").text("true").raw(b"iposix\nsystem\n"), &[r#"posix.system("true")"#]);
    assert_refused(code().raw(b"(").global("posix", "system").text("true").raw(b"o"), &[r#"posix.system("true")"#]);
    assert_refused(code().text("posix").text("system").raw(b"\x93(").text("true").raw(b"tR"), &["posix.system (byte "]);
    assert_refused(code().raw(b"\x82\x07"), &["byte 2", "extension code 7"]);
    assert_refused(system(b"tR").raw(b"0\xff"), &["0xff is no pickle opcode", "posix.system (byte 2)"]);
    // Beside tensors they are reported, and the rest is shown.
    let both = code().raw(b"}(").text("w").then(tensor(0, &[4], &[1])).text("x").then(system(b"tR")).raw(b"u");
    let checkpoint = open(torch(&both.pickle())).unwrap();
    let report = checkpoint.pickle.unwrap();
    assert_eq!(checkpoint.tensors.len(), 1);
    assert!(report.refused[0].starts_with(r#"posix.system("true") at byte "#), "{:?}", report.refused);
    assert!(report.globals.iter().any(|global| global.name == "posix.system" && !global.allowed && global.count == 1));
    assert!(report.globals.iter().all(|global| global.allowed || global.name == "posix.system"));
}

#[test]
fn tensors_cannot_be_filled_like_containers() {
    assert_refused(dict(tensor(0, &[4], &[1]).int(0).int(1).raw(b"s")), &["SETITEM on a tensor", "CVE-2026-24747"]);
    assert_refused(dict(tensor(0, &[4], &[1]).int(1).raw(b"a")), &["APPEND on a tensor"]);
    assert_refused(code().raw(b"]").int(1).int(1).raw(b"s"), &["SETITEM on a list"]);
    assert_refused(code().raw(b"}}b"), &["BUILD on a dict"]);
}

#[test]
fn damaged_pickles_say_where() {
    assert_refused(code().raw(b"R"), &["byte 2: REDUCE finds too few values on the stack (stack underflow)"]);
    assert_refused(code().raw(b"h\x07"), &["byte 2: memo entry 7 was never set"]);
    assert_refused(code().raw(b"X\xff\xff\xff\xff"), &["byte 2: a length of 4294967295 where 1 bytes remain"]);
    assert_refused(code().raw(b"\x8b\xff\xff\xff\xff"), &["LONG4 has a negative length"]);
    assert_refused(code().raw(b"}(").int(1).raw(b"u"), &["SETITEMS has a key without a value"]);
    assert_refused(code().raw(b"\x80\x09"), &["pickle protocol 9 is not known"]);
    assert_refused(code().raw(b"e"), &["there is no mark"]);
    assert_refused(code().raw(b"r\xff\xff\xff\xffN"), &["LONG_BINPUT finds too few values"]);
    let message = refusal(torch(b"\x80\x02}"));
    assert!(message.contains("byte 3: the pickle ends without STOP"), "{message}");
    // A frame's length is not believed, nor needed.
    let framed = code().raw(b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f").then(dict(tensor(0, &[4], &[1])));
    assert_eq!(open(torch(&framed.pickle())).unwrap().tensors.len(), 1);
    // A memo number far away reserves nothing.
    let far = dict(tensor(0, &[4], &[1])).raw(b"r\xfe\xff\xff\xff0j\xfe\xff\xff\xff");
    assert_eq!(open(torch(&far.pickle())).unwrap().tensors.len(), 1);
}

#[test]
fn bombs_depths_and_cycles_are_harmless() {
    // Each level holds the one before ten times: 10^40 values.
    let mut bomb = code().raw(b"]q\x00");
    for level in 0..40u8 {
        bomb = bomb.raw(b"](").raw(&[b'h', level].repeat(10)).raw(b"eq").raw(&[level + 1]);
    }
    assert_refused(bomb, &["unfold to far more than were written"]);
    let deep = code().raw(&b"]".repeat(1_000_000)).raw(&b"a".repeat(999_999));
    assert_refused(deep, &["nested deeper than 64 levels"]);
    let tuples = code().raw(b")").raw(&b"\x85".repeat(1_000_000));
    assert_refused(tuples, &["nested deeper than 64 levels"]);
    let cycle = code().raw(b"}q\x00").text("self").raw(b"h\x00s");
    let checkpoint = open(torch(&cycle.pickle())).unwrap();
    assert_eq!(checkpoint.metadata["self"], "(back to byte 2)");
    assert!(checkpoint.warnings[0].contains("no tensors"));
    // A dict among its own keys, and a million dicts that are keys of each other.
    let own_key = code().raw(b"}q\x00h\x00").int(1).raw(b"s");
    assert_eq!(open(torch(&own_key.pickle())).unwrap().metadata[r#"{"…":1}"#], 1);
    let keys = code().raw(&b"}".repeat(1_000_000)).raw(&b"Ns".repeat(999_999));
    assert_eq!(open(torch(&keys.pickle())).unwrap().metadata[r#"{"…":null}"#], serde_json::Value::Null);
}

/// A module of class `m.Net` with these children.
fn module(children: Code) -> Code {
    let state = code().raw(b"}(").text("_parameters").raw(b"}").text("_modules").then(children).raw(b"u");
    code().global("m", "Net").raw(b")\x81").raw(b"q\x63").then(state).raw(b"b")
}

#[test]
fn modules_cannot_bomb_either() {
    assert_refused(module(code().raw(b"}").text("me").raw(b"h\x63s")), &["module `me` contains itself"]);
    let mut nested = module(code().raw(b"}"));
    for _ in 0..600 {
        nested = module(code().raw(b"}").text("a").then(nested).raw(b"s"));
    }
    assert_refused(nested, &["nested deeper than 500 levels"]);
    let mut bomb = module(code().raw(b"}"));
    for _ in 0..40 {
        bomb = module(code().raw(b"}(").text("a").then(bomb).raw(b"q\x01").text("b").raw(b"h\x01u"));
    }
    assert_refused(bomb, &["unfold to far more than were written"]);
    // A few large things under many names: a long text, a long dict, a long list of arguments.
    let long = "k".repeat(500_000);
    let many = |value: &[u8]| {
        (0..20_000u32).fold(Vec::new(), |mut code, key| {
            code.extend(b"J");
            code.extend(key.to_le_bytes());
            code.extend(value);
            code
        })
    };
    let texts = code().raw(b"}(").text("a").text(&long).raw(b"q\x01u}(").raw(&many(b"}(h\x01h\x01u")).raw(b"u");
    assert_refused(texts, &["unfold to far more than were written"]);
    let dict = code().raw(b"}(").raw(&many(b"N")).raw(b"uq\x010}(").raw(&many(b"h\x01")).raw(b"u");
    assert_refused(dict, &["unfold to far more than were written"]);
    let object =
        code().global("m", "N").raw(b"(").raw(&b"N".repeat(500_000)).raw(b"tRq\x010}(").raw(&many(b"h\x01")).raw(b"u");
    assert!(open(torch(&object.pickle())).unwrap().tensors.is_empty());
    let names = code().text(&long).raw(b"q\x010h\x01h\x01\x93");
    assert_refused(names, &["a class or function whose name is 500000 bytes long"]);
}

#[test]
fn odd_values_are_kept_or_named() {
    let long = code().raw(b"\x8a\xff").raw(&[1; 255]);
    assert_refused(long, &["holds \"495052", "but no tensors"]);
    let checkpoint = open(torch(&dict(code().raw(b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01")).pickle())).unwrap();
    assert_eq!(checkpoint.metadata["w"], "18446744073709551616");
    let key = code().raw(b"}X\x02\x00\x00\x00w\xff").then(tensor(0, &[4], &[1])).raw(b"s");
    let checkpoint = open(torch(&key.pickle())).unwrap();
    assert_eq!(checkpoint.tensors[0].name, "w\u{fffd}");
    assert!(checkpoint.warnings[0].contains("at byte 3 is not UTF-8"), "{:?}", checkpoint.warnings);
    let twice = code().raw(b"}(").text("w").then(tensor(0, &[4], &[1])).text("w").then(tensor(2, &[2], &[1])).raw(b"u");
    let checkpoint = open(torch(&twice.pickle())).unwrap();
    assert_eq!(checkpoint.read(0).unwrap().to_f32().unwrap(), [3.0, 4.0]);
    assert!(checkpoint.warnings[0].contains("`w` comes twice"), "{:?}", checkpoint.warnings);
}

#[test]
fn tensors_outside_their_storage_are_refused_by_name() {
    let refuse = |tensor: Code, what: &str| assert_refused(dict(tensor), &["tensor `w`: ", what]);
    refuse(tensor(0, &[1 << 33, 1 << 33], &[0, 0]), "more elements than 64 bits");
    refuse(tensor(0, &[4], &[-1]), "negative stride -1");
    refuse(tensor(-1, &[4], &[1]), "negative offset -1");
    refuse(tensor(0, &[-4], &[1]), "negative size -4");
    refuse(tensor(1, &[4], &[1]), "needs 5 elements of storage `0`, which holds 4");
    refuse(tensor(0, &[4], &[1001]), "needs 3004 elements of storage `0`, which holds 4");
    refuse(tensor(0, &[2, 2], &[i64::MAX, i64::MAX]), "needs 18446744073709551615 elements");
    refuse(tensor(1, &[2, 2, 2], &[i64::MAX, i64::MAX, i64::MAX]), "further than 64 bits");
    refuse(tensor(0, &[4], &[1, 1]), "1 sizes but 2 strides");
    refuse(tensor(0, &[1; 100_000], &[1; 100_000]), "more than 64 axes");
    refuse(tensor_of(code().int(1), 0, &[4], &[1]), "a tensor without a storage");
    let untuple = code().int(5).raw(b"Q");
    assert_refused(dict(tensor_of(untuple, 0, &[4], &[1])), &["a persistent id that is not a storage tuple"]);
    assert_refused(dict(tensor_of(storage("FloatStorage", "0", -4), 0, &[4], &[1])), &["a storage of -4 elements"]);
    // Nothing is touched by a tensor without elements.
    let empty = open(torch(&dict(tensor(99, &[0, 7], &[7, 1])).pickle())).unwrap();
    assert!(empty.read(0).unwrap().bytes.is_empty());
}

#[test]
fn expanded_tensors_are_listed_but_not_written_out() {
    let checkpoint = open(torch(&dict(tensor(0, &[1 << 25, 1 << 25], &[0, 0])).pickle())).unwrap();
    assert_eq!(checkpoint.tensors[0].elements(), 1 << 50);
    let error = checkpoint.read(0).unwrap_err().to_string();
    assert!(error.contains("tensor `w`: is an expanded view of 4 bytes"), "{error}");
    let model = model::build(&checkpoint);
    assert_eq!(model.modules[0].total_parameters, 1 << 50);
}

#[test]
fn storages_that_do_not_fit_are_told() {
    let with = |storage| open(torch(&dict(tensor_of(storage, 0, &[1], &[1])).pickle())).unwrap();
    let checkpoint = with(storage("FloatStorage", "0", 1));
    assert!(checkpoint.warnings[0].contains("declared with 4 bytes, its record has 16"), "{:?}", checkpoint.warnings);
    assert_eq!(checkpoint.storages[0].bytes, 4);
    assert_eq!(with(storage("FloatStorage", "0", 1 << 40)).storages[0].bytes, 16);
    for key in ["nope", "../../../etc/passwd", "data.pkl"] {
        let checkpoint = with(storage("FloatStorage", key, 4));
        let error = checkpoint.read(0).unwrap_err().to_string();
        assert!(error.contains(&format!("storage `{key}` is missing from the archive")), "{error}");
    }
    let checkpoint = with(storage("EvilStorage", "0", 4));
    assert_eq!(checkpoint.tensors[0].dtype.name(), "unknown");
    assert!(checkpoint.read(0).unwrap_err().to_string().contains("elements of type torch.EvilStorage are not read"));
    let bogus = code().global("torch._utils", "_rebuild_qtensor").int(1).raw(b"\x85R");
    assert!(open(torch(&dict(bogus).pickle())).unwrap().tensors[0].problem.as_ref().unwrap().contains("quantized"));
}

#[test]
fn the_archive_is_held_against_itself() {
    let honest = dict(tensor(0, &[4], &[1])).pickle();
    let good = torch(&honest);
    let end = good.len() - 22;
    let start = u32::from_le_bytes(good[end + 16..end + 20].try_into().unwrap()) as usize;
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        refusal(file)
    };
    let cases = [
        (patched(end + 16, &[0xff, 0xff, 0xff, 0x7f]), "central directory is said to begin at byte 2147483647"),
        (patched(end + 16, &[0xff; 4]), "the ZIP64 record that the archive refers to is missing"),
        (patched(end + 10, &[9]), "holds 4 entries where 9 are declared"),
        (patched(start, b"XX"), "entry 0 is damaged"),
        (patched(start + 42, &[0xff, 0xff, 0xff, 0x7f]), "record `x/data.pkl`"),
        (patched(start + 20, &[0xff, 0xff, 0xff, 0x7f]), "reach past the central directory"),
        (patched(start + 8, &[1]), "is encrypted"),
        (refusal(good[..good.len() / 2].to_vec()), "no end of a central directory"),
        (refusal([good.clone(), vec![0; 70_000]].concat()), "no end of a central directory in the last 65,557 bytes"),
        (refusal(b"PK\x05\x06".iter().copied().chain([0; 18]).collect()), "a zip archive without any record"),
    ];
    for (message, part) in &cases {
        assert!(message.starts_with("x.pt: ") && message.contains(part), "`{part}` is not in: {message}");
    }
    let junk = open([good.clone(), vec![b'j'; 100]].concat()).unwrap();
    assert!(junk.warnings[0].contains("100 bytes behind the end"), "{:?}", junk.warnings);
    // An end record inside the comment of the real one is not the end.
    let mut nested = good.clone();
    nested[end + 20] = 30;
    nested.extend(&good[end..]);
    nested.extend([0; 8]);
    assert_eq!(open(nested.clone()).unwrap().tensors.len(), 1);
    let inner = nested.len() - 30 + 20;
    nested[inner] = 8;
    assert!(refusal(nested).contains("two ends of the central directory"));
}

#[test]
fn a_long_pickle_is_read_beside_the_directory() {
    let pad = "p".repeat(1_200_000);
    let long = code().raw(b"}(").text("pad").text(&pad).text("w").then(tensor(0, &[4], &[1])).raw(b"u");
    let good = torch(&long.clone().pickle());
    let checkpoint = open(good.clone()).unwrap();
    assert_eq!(checkpoint.read(0).unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    // The record's local header may say another length, which is told, though it is read elsewhere.
    let mut other = good.clone();
    other[22] ^= 1;
    let warned = open(other).unwrap().warnings;
    assert!(warned[0].contains("`data.pkl`") && warned[0].contains("in its local header"), "{warned:?}");
    // What is wrong with the archive comes before what is wrong with the pickle, whichever is found first.
    let damaged = long.raw(b"0\xff").pickle();
    let message = refusal(torch(&damaged));
    assert!(message.starts_with("x.pt: data.pkl, byte 120") && message.contains("no pickle opcode"), "{message}");
    let mut records = torch_records(&damaged);
    records[1] = Record::stored("x/byteorder", b"middle");
    let message = refusal(zip(&records));
    assert!(message.contains("`middle`, which is neither"), "{message}");
    let mut file = torch(&damaged);
    let end = file.len() - 22;
    let last = end - (46 + "x/version".len());
    file[last] = b'X';
    let message = refusal(file);
    assert!(message.contains("entry 3 is damaged"), "{message}");
}

#[test]
fn weights_beside_what_is_shown_are_told() {
    let weights = || code().raw(b"}").text("w").then(tensor(0, &[4], &[1])).raw(b"s");
    let beside = code().raw(b"}(").text("a").then(module(code().raw(b"}"))).text("b").then(weights()).raw(b"u");
    let checkpoint = open(torch(&beside.pickle())).unwrap();
    assert_eq!(checkpoint.warnings, ["`b` holds tensors beside the modules, which are not shown."]);
    let outside = code().raw(b"}(").text("model").then(weights()).text("scale").then(tensor(0, &[4], &[1])).raw(b"u");
    let checkpoint = open(torch(&outside.pickle())).unwrap();
    assert_eq!(checkpoint.warnings, ["Tensors beside `model` are not shown: `scale`."]);
}

#[test]
fn values_that_are_read_in_place_are_named_by_where_they_stand() {
    // A number that the memo gives twice: the key's second value is where it was first written.
    let twice = code().raw(b"K\x07q\x000}(").text("a").raw(b"h\x00").text("a").raw(b"h\x00");
    let checkpoint = open(torch(&twice.text("w").then(tensor(0, &[4], &[1])).raw(b"u").pickle())).unwrap();
    assert!(checkpoint.warnings[0].ends_with("the second value, at byte 2, counts."), "{:?}", checkpoint.warnings);
    assert_eq!(checkpoint.metadata["a"], 7);
    assert_refused(code().text("t").raw(b"q\x00h\x00}b"), &["BUILD on a text", "byte 13"]);
    assert_refused(code().raw(b")}b"), &["BUILD on a tuple", "byte 4"]);
}

#[test]
fn zip64_ends_are_followed() {
    let good = torch(&dict(tensor(0, &[4], &[1])).pickle());
    let end = good.len() - 22;
    let start = u64::from(u32::from_le_bytes(good[end + 16..end + 20].try_into().unwrap()));
    let with = |directory: u64| {
        let mut file = good[..end].to_vec();
        file.extend(b"PK\x06\x06\x2c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00");
        for number in [4, 4, end as u64 - start, directory] {
            file.extend(number.to_le_bytes());
        }
        file.extend(b"PK\x06\x07\x00\x00\x00\x00");
        file.extend((end as u64).to_le_bytes());
        file.extend(b"\x01\x00\x00\x00PK\x05\x06\x00\x00\x00\x00");
        file.extend([0xff; 12]);
        file.extend([0, 0]);
        file
    };
    assert_eq!(open(with(start)).unwrap().read(0).unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    for directory in [u64::MAX, u64::MAX - 40, end as u64 + 1, 3] {
        assert!(refusal(with(directory)).starts_with("x.pt: "));
    }
}

#[test]
fn records_that_readers_disagree_on_are_refused() {
    let honest = dict(tensor(0, &[4], &[1])).pickle();
    let with = |record: Record| {
        let mut records = torch_records(&honest);
        records.push(record);
        zip(&records)
    };
    assert!(refusal(with(Record::stored("x/data.pkl", b"N."))).contains("record `x/data.pkl`"));
    assert!(refusal(with(Record::stored("y/data.pkl", b"N."))).contains("is not in the folder `x`"));
    // One record more makes it another format, whose reader compiles and runs nothing either.
    let message = refusal(with(Record::stored("x/constants.pkl", b"N.")));
    assert!(message.contains("no module of the archive's code; save a ScriptModule"), "{message}");
    let mut middle = torch_records(&honest);
    middle[1] = Record::stored("x/byteorder", b"middle");
    assert!(refusal(zip(&middle)).contains("says `middle`, which is neither `little` nor `big`"));
    // What the local header says of sizes does not count, but is told.
    let mut differs = torch(&honest);
    differs[22] = 1;
    let checkpoint = open(differs).unwrap();
    assert!(checkpoint.warnings[0].contains("in its local header"), "{:?}", checkpoint.warnings);
    assert_eq!(checkpoint.tensors.len(), 1);
}

#[test]
fn only_small_texts_are_inflated() {
    let deflate = |data: &[u8]| {
        use std::io::Write;
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    };
    let honest = dict(tensor(0, &[4], &[1])).pickle();
    let with = |data: Vec<u8>, size: u32| {
        let mut records = torch_records(&honest);
        records[0] = Record { name: "x/data.pkl".to_owned(), data, method: 8, size };
        zip(&records)
    };
    assert_eq!(open(with(deflate(&honest), honest.len() as u32)).unwrap().tensors.len(), 1);
    let bomb = deflate(&vec![b'N'; 100_000_000]);
    assert!(refusal(with(bomb.clone(), 100_000_000)).contains("67108864 is the most that is read"));
    assert!(refusal(with(bomb, 1_000)).contains("does not inflate to the 1000 bytes"));
    assert!(refusal(with(vec![0xff; 40], 40)).contains("cannot be inflated"));
    let mut records = torch_records(&honest);
    records[2] = Record { name: "x/data/0".to_owned(), data: deflate(&[0; 16]), method: 8, size: 16 };
    assert!(open(zip(&records)).unwrap().read(0).unwrap_err().to_string().contains("is compressed"));
}

#[test]
fn other_files_are_named_for_what_they_are() {
    let zipped = |name: &str| zip(&[Record::stored(name, b"x")]);
    let mut tar = vec![b'a'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let legacy = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e\x80\x02M\xe9\x03.";
    let system = [b"\x80\x02", system(b"tR").0.as_slice(), b"."].concat();
    let cases: &[(&[u8], &str)] = &[
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "HTML"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "gunzip"),
        (b"GGUF\x03\x00\x00\x00", "GGUF"),
        (b"\x08\x07\x12\x07pytorch", "ONNX"),
        (b"\x93NUMPY\x01\x00", "NumPy array"),
        (b"{\"a\": 1}", "JSON"),
        (&tar, "tar header, byte 0"),
        (legacy, "legacy checkpoint, byte 21"),
        (
            &system,
            r#"a plain pickle of posix.system("true"), not written by torch.save, and not supported; it mentions posix.system (byte 2), which was not run"#,
        ),
        (b"\x80\x04\xff", "plain pickle, byte 2: 0xff is no pickle opcode"),
        (b"hello world", "no PyTorch checkpoint"),
        (&zipped("a.npy"), "NumPy archive"),
        (&zipped("m/archive_format"), "only `pt2`"),
        (&zipped("m/.data/extern_modules"), "torch.package archive without a pickle"),
        (&zipped("m/code/__torch__.py"), "TorchScript"),
        (&zipped("[Content_Types].xml"), "Office"),
        (&zipped("model.pt"), "unpack it first"),
    ];
    for (bytes, part) in cases {
        let message = refusal(bytes.to_vec());
        assert!(message.starts_with("x.pt: ") && message.contains(part), "`{part}` is not in: {message}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.safetensors"), b"").unwrap();
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("model.safetensors: is empty"), "the one checkpoint in the folder is opened: {message}");
    assert!(
        Checkpoint::open(Path::new("no/such.pt")).unwrap_err().to_string().starts_with("no/such.pt: cannot be read: ")
    );
}

#[test]
fn a_file_cut_off_after_opening_gives_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pt");
    std::fs::write(&path, torch(&dict(tensor(0, &[4], &[1])).pickle())).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
    assert!(checkpoint.read(0).unwrap_err().to_string().contains("tensor `w`: "));
}

#[test]
fn hostile_names_do_not_reach_the_terminal() {
    let code = code().raw(b"}").text("a\x1b[2Jb").then(tensor(9, &[4], &[1])).raw(b"s");
    let message = refused(code);
    assert!(message.contains(r"tensor `a\u{1b}[2Jb`") && !message.contains('\x1b'), "{message}");
}

fn safetensors(header: &str, data: usize) -> Result<Checkpoint, String> {
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat();
    Checkpoint::from_bytes(Path::new("x.safetensors"), Bytes::Owned(bytes)).map_err(|error| error.to_string())
}

#[test]
fn safetensors_headers_are_held_against_the_file() {
    let checkpoint = safetensors(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   "#, 4).unwrap();
    assert_eq!(checkpoint.read(0).unwrap().bytes, [0; 4]);
    let f4 = safetensors(r#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}"#, 1).unwrap();
    assert!(f4.read(0).unwrap_err().to_string().contains("elements of type F4 are not read"));
    // A type that came after this program is shown, and the rest of the file is read.
    let later = safetensors(
        r#"{"a":{"dtype":"F99","shape":[3],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}}"#,
        5,
    );
    let later = later.unwrap();
    assert!(later.read(0).unwrap_err().to_string().contains("elements of type F99 are not read"));
    assert_eq!(later.read(1).unwrap().bytes, [0]);
    let huge = format!(
        "{{{}}}",
        (0..8u64)
            .map(|i| {
                let step = (1u64 << 61) - 1;
                format!(r#""t{i}":{{"dtype":"U8","shape":[{step}],"data_offsets":[{},{}]}}"#, i * step, (i + 1) * step)
            })
            .collect::<Vec<_>>()
            .join(",")
    );
    let cases = [
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}}"#,
            6,
            "byte 62: tensor `b` (U8, shape [1], bytes 5 to 6): it does not begin where",
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
            5,
            "the tensors end at byte 66, the file at byte 67",
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
            4,
            "`a` (F32, shape [2], bytes 0 to 4): shape and type do not give",
        ),
        (
            r#"{"a":{"dtype":"F99","shape":[1],"data_offsets":[4,0]}}"#,
            4,
            "byte 9: tensor `a` (F99, shape [1], bytes 4 to 0): it ends before it begins",
        ),
        (
            r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#,
            2,
            "`a` (F4, shape [3], bytes 0 to 2): the elements do not end",
        ),
        (r#"{"__metadata__":{"a":1}}"#, 0, "byte 29: text in quotes, the only value that"),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}"#,
            0,
            "byte 56: a whole number of 0 and more is expected",
        ),
        (
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
            2,
            "`a` is there twice",
        ),
        (r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#, 4, "does not fit 64 bits"),
        (&huge, 0, "the tensors end "),
        (r#"{"a":"#, 0, "byte 13: `{` is expected here, not the end of the header"),
    ];
    for (header, data, part) in cases {
        let message = safetensors(header, data).map(|_| ()).unwrap_err();
        assert!(
            message.starts_with("x.safetensors: safetensors header, byte ") && message.contains(part),
            "`{part}` is not in: {message}"
        );
    }
    let raw = |length: u64| refusal([length.to_le_bytes().as_slice(), b"{}"].concat());
    assert!(raw(u64::MAX).contains("header too large"));
    assert!(raw(1_000).contains("a header of 1000 bytes reaches past the end of the file at 10"));
    let short = Checkpoint::from_bytes(Path::new("x.safetensors"), Bytes::Owned(vec![1; 7])).unwrap_err().to_string();
    assert!(short.contains("shorter than the 8 bytes"), "{short}");
}

/// Open and look at everything.
fn exercise(bytes: Vec<u8>) {
    if let Ok(checkpoint) = open(bytes) {
        for id in 0..checkpoint.tensors.len().min(16) {
            let _ = checkpoint.read(id);
        }
        for module in &model::build(&checkpoint).modules {
            let _ = model::attributes::describe(module);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_pickles_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(torch(&bytes));
    }

    /// Opcodes in random order get further than random bytes.
    #[test]
    fn random_opcodes_never_panic(picks in prop::collection::vec((0usize..68, any::<[u8; 4]>()), 0..80)) {
        let opcodes = b"(.012FIJKLMNPQRSTUVXabcd}eghijl]opqrst)uGBC\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98";
        let mut code = code().raw(b"(}]").global("torch._utils", "_rebuild_tensor_v2").text("w");
        for (pick, argument) in picks {
            let opcode = opcodes[pick % opcodes.len()];
            code = code.raw(&[opcode]);
            code = match opcode {
                b'K' | b'h' | b'q' | 0x80 | 0x82 => code.raw(&[argument[0] % 6]),
                b'U' | b'C' | 0x8a | 0x8c => code.raw(&[2]).raw(&argument[..2]),
                b'I' | b'L' | b'F' | b'g' | b'p' | b'S' | b'V' | b'P' => code.raw(b"1\n"),
                b'c' | b'i' => code.raw(b"collections\nOrderedDict\n"),
                b'J' | b'M' => code.raw(&argument),
                _ => code,
            };
        }
        exercise(torch(&code.pickle()));
    }

    #[test]
    fn mutated_archives_never_panic(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), whole in any::<bool>()) {
        let mut file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/module.pt")).unwrap();
        for (place, byte) in places {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if !whole {
            file.truncate(cut.index(file.len()));
        }
        exercise(file);
    }

    /// As above, with the changes in the directory, where they hurt.
    #[test]
    fn mutated_directories_never_panic(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/protocol_4.pt")).unwrap();
        let tail = file.len() - 900;
        for (place, byte) in places {
            let place = tail + place.index(900);
            file[place] = byte;
        }
        exercise(file);
    }

    #[test]
    fn mutated_safetensors_never_panic(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/state_dict.safetensors")).unwrap();
        for (place, byte) in places {
            let place = place.index(file.len());
            file[place] = byte;
        }
        exercise(file);
    }
}
