//! TorchScript archives made by real PyTorch, and what hostile hands make of them.

use std::path::{Path, PathBuf};

use crate::common::mutated;
use crate::expected::{check, content, fixture, module};
use crate::records;
use proptest::prelude::*;
use serde_json::json;
use t2m_checkpoint::{Bytes, Checkpoint, Format};
use t2m_tui::source::Sources;

fn open(bytes: Vec<u8>) -> Result<Checkpoint, String> {
    Checkpoint::from_bytes(Path::new("net.pt"), Bytes::Owned(bytes)).map_err(|error| error.to_string())
}

#[test]
fn a_scripted_module_is_what_pytorch_says() {
    let checkpoint = Checkpoint::open(&fixture("scripted.pt")).unwrap();
    assert_eq!((checkpoint.format, checkpoint.format.name()), (Format::TorchScript, "torchscript"));
    check(&checkpoint, "scripted", &[]);
    assert_eq!(module(&checkpoint, "").attributes["sizes"], json!([2, 3, 5]));
    assert_eq!(checkpoint.metadata["traced"], json!(false));
    assert_eq!(checkpoint.warnings, Vec::<String>::new());
    assert_eq!(checkpoint.pickle.as_ref().unwrap().refused, Vec::<String>::new());
    let tied = checkpoint.tensors.iter().find(|tensor| tensor.name == "second.weight").unwrap();
    assert_eq!(checkpoint.tensors[tied.shared_with.unwrap()].name, "first.weight");
    assert!(tied.requires_grad);
    assert_eq!(checkpoint.storages.len(), 20, "the tied weight is stored once");
}

#[test]
fn a_scripted_module_shows_its_own_forward_with_its_blockers() {
    let checkpoint = Checkpoint::open(&fixture("scripted.pt")).unwrap();
    let original = std::fs::read_to_string(fixture("nets.py")).unwrap();
    let lines: Vec<&str> = original.lines().collect();
    let mut classes: Vec<&str> = checkpoint.sources.iter().map(|source| source.class.as_str()).collect();
    classes.sort_unstable();
    assert_eq!(classes, ["nets.Block", "nets.Scripted"]);
    for source in &checkpoint.sources {
        assert_eq!(source.file, "/home/user/nets.py");
        assert_eq!(source.record, "code/__torch__/nets.py.debug_pkl");
        assert!(source.text.lines().nth(source.line - 1).unwrap().contains("def forward"));
        for (number, line) in source.text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            assert!(line == lines[number] || line.starts_with("class "), "line {}: {line}", number + 1);
        }
    }
    let mut sources = Sources::new(&[]).unwrap();
    let source = checkpoint.sources.iter().find(|source| source.class == "nets.Scripted").unwrap();
    sources.add_text("nets", &source.file, "from the checkpoint", &source.text);
    let class = sources.class("nets.Scripted").unwrap();
    let forward = class.forward.unwrap();
    assert_eq!(forward.start, source.line);
    let item = class.blockers.iter().find(|blocker| blocker.pattern == ".item()").unwrap();
    assert_eq!(lines[item.line - 1].trim(), "level = x.mean().item()");
    assert_eq!(class.blockers.iter().filter(|blocker| blocker.pattern == ".item()").count(), 1, "not the comment");
}

#[test]
fn a_traced_module_is_what_pytorch_says_where_its_graph_tells() {
    let checkpoint = Checkpoint::open(&fixture("traced.pt")).unwrap();
    assert_eq!(checkpoint.format, Format::TorchScript);
    check(&checkpoint, "traced", &[]);
    assert_eq!(checkpoint.metadata["traced"], json!(true));
    assert!(checkpoint.sources.is_empty(), "tracing keeps no source");
    let [warning] = checkpoint.warnings.as_slice() else { panic!("{:?}", checkpoint.warnings) };
    assert!(warning.contains("/home/user/nets.py") && warning.contains("--source"), "{warning}");
}

/// A tiny archive of one module, its pickle and its code given.
fn archive(pickle: &[u8], code: &[u8], debug: &[u8]) -> Vec<u8> {
    records::stored(&[
        ("net/data.pkl", pickle),
        ("net/constants.pkl", b"\x80\x02)."),
        ("net/code/__torch__.py", code),
        ("net/code/__torch__.py.debug_pkl", debug),
        ("net/version", b"3\n"),
    ])
}

const CODE: &[u8] = b"class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n  size : Final[int] = 4\n  def forward(self: __torch__.Net) -> int:\n    return 1\n";
const DEBUG: &[u8] = b"\x80\x02).";

#[test]
fn the_smallest_archive_is_read() {
    let checkpoint = open(archive(b"\x80\x02c__torch__\nNet\n)\x81}b.", CODE, DEBUG)).unwrap();
    let root = module(&checkpoint, "");
    assert_eq!((root.class.as_str(), &root.attributes["size"]), ("Net", &json!(4)));
}

#[test]
fn a_long_pickle_is_read_once() {
    let pad = "p".repeat(1_200_000);
    let mut pickle = b"\x80\x02c__torch__\nNet\n)\x81}X\x03\0\0\0padX".to_vec();
    pickle.extend((pad.len() as u32).to_le_bytes());
    pickle.extend(pad.as_bytes());
    let damaged = [pickle.as_slice(), b"s\xff."].concat();
    pickle.extend(b"sb.");
    let checkpoint = open(archive(&pickle, CODE, DEBUG)).unwrap();
    assert_eq!(module(&checkpoint, "").class, "Net");
    let error = open(archive(&damaged, CODE, DEBUG)).unwrap_err();
    // The archive's own classes are nothing to warn of.
    assert!(error.contains("0xff is no pickle opcode") && !error.contains("__torch__"), "{error}");
}

#[test]
fn debug_records_of_older_archives_hold_the_text_itself() {
    let text = b"    def forward(self):\n        return self.x.item()\n";
    let mut debug = b"\x80\x02((K\x50((X".to_vec();
    debug.extend((text.len() as u32).to_le_bytes());
    debug.extend(text);
    debug.extend(b"X\x06\0\0\0net.pyK\x07tK\0K\x05tK\x01tt.");
    let checkpoint = open(archive(b"\x80\x02c__torch__\nNet\n)\x81}b.", CODE, &debug)).unwrap();
    let [source] = checkpoint.sources.as_slice() else { panic!("{:?}", checkpoint.warnings) };
    assert_eq!((source.class.as_str(), source.file.as_str(), source.line), ("Net", "net.py", 7));
    assert_eq!(source.text.lines().nth(7), Some("        return self.x.item()"));
}

#[test]
fn tensors_of_the_code_are_listed_and_read() {
    let constants = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR\x85.";
    let checkpoint = open(records::stored(&[
        ("net/data.pkl", b"\x80\x02c__torch__\nNet\n)\x81}b."),
        ("net/constants.pkl", constants),
        ("net/constants/0", &[1.5f32.to_le_bytes(), 2f32.to_le_bytes()].concat()),
        ("net/code/__torch__.py", CODE),
    ]))
    .unwrap();
    assert_eq!(checkpoint.tensors[0].name, "CONSTANTS.c0");
    assert_eq!(checkpoint.read(0).unwrap().bytes, [1.5f32.to_le_bytes(), 2f32.to_le_bytes()].concat());
    assert!(checkpoint.warnings[0].contains("torch.jit.freeze"), "{:?}", checkpoint.warnings);
}

#[test]
fn a_module_within_itself_is_an_error() {
    let cyclic = b"\x80\x02c__torch__\nNet\n)\x81q\0}X\x05\0\0\0childh\0sb.";
    let error = open(archive(cyclic, CODE, DEBUG)).unwrap_err();
    assert!(error.contains("net.pt: data.pkl, byte") && error.contains("`child` contains itself"), "{error}");
}

#[test]
fn attributes_that_contain_themselves_are_shown_cut_off() {
    let cyclic = b"\x80\x02c__torch__\nNet\n)\x81}X\x04\0\0\0list]q\0h\0asb.";
    let checkpoint = open(archive(cyclic, CODE, DEBUG)).unwrap();
    assert!(module(&checkpoint, "").attributes["list"].to_string().contains("back to byte"));
}

#[test]
fn an_object_without_code_is_an_error() {
    let error = open(archive(b"\x80\x02c__torch__\nOther\n)\x81}b.", CODE, DEBUG)).unwrap_err();
    assert!(error.contains("data.pkl, byte") && error.contains("no module of the archive's code"), "{error}");
    let error = open(archive(b"\x80\x02K\x01.", CODE, DEBUG)).unwrap_err();
    assert!(error.contains("holds 1, which is no module"), "{error}");
}

#[test]
fn code_and_constants_that_are_damaged_are_named() {
    let pickle = b"\x80\x02c__torch__\nNet\n)\x81}b.";
    let error = open(archive(pickle, b"class \xff", DEBUG)).unwrap_err();
    assert!(error.contains("record `code/__torch__.py`") && error.contains("byte 6 is not UTF-8"), "{error}");
    let error = open(archive(&pickle[..12], CODE, DEBUG)).unwrap_err();
    assert!(error.contains("data.pkl, byte"), "{error}");
    let checkpoint = open(archive(pickle, CODE, b"\x80\x02(")).unwrap();
    let [warning] = checkpoint.warnings.as_slice() else { panic!("{:?}", checkpoint.warnings) };
    assert!(warning.contains("code/__torch__.py.debug_pkl"), "{warning}");
}

#[test]
fn absurd_debug_records_cost_nothing() {
    // One source of a thousand lines at the last possible line, named by records at every offset.
    let mut debug = b"\x80\x02(X\x18\0\0\0FORMAT_WITH_STRING_TABLE(X\x05\0\0\0x = 1X\x01\0\0\0at(".to_vec();
    for offset in 0..200u8 {
        debug.extend([b'K', offset, b']', b'(']);
        debug.extend([b'K', 0].repeat(1000));
        debug.extend(b"eK\x01J\xff\xff\xff\x7f\x87K\0K\0\x87K\0\x87");
    }
    debug.extend(b"tt.");
    let checkpoint = open(archive(b"\x80\x02c__torch__\nNet\n)\x81}b.", CODE, &debug)).unwrap();
    assert!(checkpoint.sources.is_empty());
    assert_eq!(checkpoint.warnings, Vec::<String>::new());
}

#[test]
fn a_tensor_larger_than_its_record_is_an_error() {
    let bytes = content("scripted.pt");
    let wanted = b"K\x04K\x03K\x05K\x03t";
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
    let mut bytes = bytes;
    bytes[at + 1] = 0xff;
    let error = open(bytes).unwrap_err();
    assert!(error.contains("tensor `stem.weight`") && error.contains("holds 180"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files_never_panic(
        name in prop::sample::select(vec!["scripted.pt", "traced.pt"]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        if let Ok(checkpoint) = open(mutated(content(name), &edits, cut)) {
            for id in 0..checkpoint.tensors.len() {
                let _ = checkpoint.read(id);
            }
        }
    }

    #[test]
    fn mutated_records_never_panic(
        record in prop::sample::select(vec!["data.pkl", "code/__torch__/nets.py", "code/__torch__/nets.py.debug_pkl"]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut records = records::read(&content("scripted.pt"));
        let (_, content) = records.iter_mut().find(|(name, _)| name.ends_with(record)).unwrap();
        *content = mutated(std::mem::take(content), &edits, None);
        let records: Vec<(&str, &[u8])> = records.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
        let _ = open(records::stored(&records));
    }
}

#[test]
fn the_fixture_names_no_path_of_the_machine_it_was_made_on() {
    for name in ["scripted.pt", "traced.pt", "exported.pt2", "exported_flat.pt2"] {
        for (record, content) in records::read(&content(name)) {
            let text = String::from_utf8_lossy(&content);
            let home: PathBuf = PathBuf::from("/home/user");
            let foreign = text
                .split(['"', '\n', '\u{0}'])
                .find(|part| part.starts_with('/') && part.contains(".py") && !Path::new(part).starts_with(&home));
            assert_eq!(foreign, None, "{name} {record}");
        }
    }
}
