//! `inspect --check`: checksums of zip members, NaN and infinite numbers.

use crate::common::archive::{Record, dict, tensor, torch_records, zip};
use crate::common::{json, run, stderr};
use serde_json::Value;

fn check(path: &std::path::Path) -> (Option<i32>, Value) {
    let output = run(&["inspect", path.to_str().unwrap(), "--check", "--format", "json"]);
    let report = if output.stdout.is_empty() { Value::from(stderr(&output)) } else { json(&output) };
    (output.status.code(), report["checkpoint"]["check"].clone())
}

#[test]
fn a_sound_file_has_its_checksums() {
    for name in ["state_dict.pt", "module.pt", "big_endian.pt", "script/traced.pt"] {
        let path = std::path::Path::new("tests/fixtures").join(name);
        if !path.exists() {
            continue;
        }
        let (code, check) = check(&path);
        assert_eq!(
            (code, &check["archives"], &check["damaged"]),
            (Some(0), &1.into(), &Value::Array(vec![])),
            "{name}"
        );
        assert!(check["members"].as_u64().unwrap() > 3 && check["elements"].as_u64().unwrap() > 3, "{check:#}");
        assert!(check["bytes"].as_u64().unwrap() > 100, "{check:#}");
    }
    let output = run(&["inspect", "demo", "--format", "json"]);
    assert!(json(&output)["checkpoint"].get("check").is_none(), "only when it is asked for");
    let output = run(&["inspect", "demo", "--check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\ncheck:\n") && text.contains("members as their checksums say"), "{text}");
}

/// Every byte of every member is covered: one that changed is named, wherever it is.
#[test]
fn a_changed_byte_is_found_in_any_member() {
    let whole = std::fs::read("tests/fixtures/state_dict.pt").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pt");
    let mut found = 0;
    // The storages lie behind the pickle; a byte of the pickle may be anything, so it may not open at all.
    for at in (whole.len() / 2..whole.len() - 1200).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, &bytes).unwrap();
        let (code, check) = check(&path);
        if code == Some(1) {
            let damaged = check["damaged"][0].clone();
            assert!(damaged["what"].as_str().unwrap().contains("listed"), "{damaged}");
            assert!(damaged["member"].as_str().unwrap().contains('/'), "{damaged}");
            found += 1;
        }
    }
    assert!(found > 0, "{found}");
}

fn deflated(name: &str, content: &[u8]) -> Record {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, content).unwrap();
    Record { name: name.to_owned(), data: encoder.finish().unwrap(), method: 8, size: content.len() as u32 }
}

/// The archive with the checksums of its members, which the builder leaves at 0, one of them changed by so much.
fn with_checksums(records: &[Record], contents: &[&[u8]], wrong: Option<usize>) -> Vec<u8> {
    let mut file = zip(records);
    let mut at = 0;
    for (index, content) in contents.iter().enumerate() {
        let place = at + file[at..].windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let sum = crc.sum().wrapping_add(u32::from(wrong == Some(index)));
        file[place + 16..place + 20].copy_from_slice(&sum.to_le_bytes());
        at = place + 4;
    }
    file
}

#[test]
fn stored_and_deflated_members_are_read_to_their_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pt");
    let pickle = dict(tensor(0, &[4], &[1])).pickle();
    let note = "some words ".repeat(60_000).into_bytes();
    let mut records = torch_records(&pickle);
    records.push(deflated("x/note", &note));
    let floats: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let contents: [&[u8]; 5] = [&pickle, b"little", &floats, b"3\n", &note];
    std::fs::write(&path, with_checksums(&records, &contents, None)).unwrap();
    let (code, sound) = check(&path);
    let bytes = contents.iter().map(|content| content.len() as u64).sum::<u64>();
    assert_eq!((code, &sound["members"], &sound["bytes"]), (Some(0), &5.into(), &bytes.into()), "{sound:#}");
    for wrong in 0..5 {
        std::fs::write(&path, with_checksums(&records, &contents, Some(wrong))).unwrap();
        let (code, found) = check(&path);
        assert_eq!((code, found["damaged"].as_array().unwrap().len()), (Some(1), 1), "{found:#}");
        assert_eq!(found["damaged"][0]["member"], records[wrong].name);
    }
    // Inflates to more, to less, or not at all.
    for (data, size) in [(records[4].data.clone(), 10u32), (records[4].data.clone(), 700_000), (vec![0xff; 9], 20)] {
        let mut records = torch_records(&pickle);
        records.push(Record { name: "x/note".to_owned(), data, method: 8, size });
        std::fs::write(&path, with_checksums(&records, &contents, None)).unwrap();
        let (code, found) = check(&path);
        assert_eq!((code, &found["damaged"][0]["member"]), (Some(1), &"x/note".into()), "{found:#}");
    }
    // torch writes none when it is told so.
    std::fs::write(&path, zip(&torch_records(&pickle))).unwrap();
    let (code, without) = check(&path);
    assert_eq!((code, &without["without_checksums"]), (Some(0), &1.into()), "{without:#}");
}

#[test]
fn numbers_that_are_none_are_told_and_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let values = [f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN, f32::NAN];
    // More than one piece, with the last number of the last.
    let mut wide = vec![0.5f32; 200_000];
    wide[199_999] = f32::NAN;
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let (small, wide) = (bytes(&values), bytes(&wide));
    let tensors = [
        ("odd", safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2, 3], &small).unwrap()),
        ("wide", safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![200_000], &wide).unwrap()),
        ("words", safetensors::tensor::TensorView::new(safetensors::Dtype::I32, vec![6], &small).unwrap()),
    ];
    let whole = safetensors::serialize(tensors, None).unwrap();
    std::fs::write(&path, &whole).unwrap();
    let (code, found) = check(&path);
    assert_eq!(code, Some(0));
    assert_eq!((&found["nan"], &found["inf"], &found["archives"]), (&4.into(), &2.into(), &0.into()), "{found:#}");
    assert_eq!((&found["tensors"], &found["elements"]), (&2.into(), &200_006.into()), "{found:#}");
    let mut listed: Vec<_> = found["not_finite"].as_array().unwrap().clone();
    listed.sort_by_key(|one| one["name"].as_str().unwrap().to_owned());
    assert_eq!(listed[0], serde_json::json!({"name": "odd", "nan": 3, "inf": 2}));
    let output = run(&["inspect", path.to_str().unwrap(), "--check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("the format keeps no checksums") && text.contains("odd: 3 NaN, 2 infinite"), "{text}");
    // A file that is cut does not open.
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(check(&path).0, Some(2));
}

/// What a member's local header or its data descriptor says besides the directory: one that is another is told.
#[test]
fn two_words_about_a_member_are_told() {
    let whole = std::fs::read("tests/fixtures/state_dict.pt").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pt");
    let find = |from: usize, mark: &[u8]| from + whole[from..].windows(mark.len()).position(|at| at == mark).unwrap();
    // The storage that is first; its header has zeros, its descriptor has the values.
    let name = find(0, b"/data/0");
    let header = whole[..name].windows(4).rposition(|window| window == b"PK\x03\x04").unwrap();
    let descriptor = find(name, b"PK\x07\x08");
    let changed = |at: usize, words: &str| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (code, found) = check(&path);
        assert_eq!((code, found["damaged"].as_array().map(Vec::len)), (Some(1), Some(1)), "{words}: {found:#}");
        let what = found["damaged"][0]["what"].as_str().unwrap();
        assert!(what.contains(words) && what.contains("listed is"), "{words}: {what}");
        assert!(found["damaged"][0]["member"].as_str().unwrap().ends_with("/data/0"), "{found:#}");
        let output = run(&["inspect", path.to_str().unwrap(), "--check"]);
        assert!(String::from_utf8(output.stdout).unwrap().contains(words), "{words}");
    };
    changed(header + 8, "local header has the method");
    changed(header + 14, "local header has the checksum");
    changed(header + 18, "local header has the compressed size");
    changed(header + 22, "local header has the size");
    changed(name + 1, "local header has the name");
    changed(descriptor + 4, "data descriptor has the checksum");
    changed(descriptor + 8, "data descriptor has the sizes");
    changed(descriptor + 12, "data descriptor has the sizes");
}

/// Nothing that torch, TorchScript and torch.export write says two things.
#[test]
fn real_archives_do_not_contradict_themselves() {
    let mut archives = 0;
    let folders = ["tests/fixtures", "tests/fixtures/script", "tests/fixtures/legacy", "assets/demo"];
    for entry in folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()) {
        let path = entry.unwrap().path();
        if !path.is_file() || !std::fs::read(&path).unwrap().starts_with(b"PK\x03\x04") {
            continue;
        }
        let Ok(checkpoint) = t2m_checkpoint::Checkpoint::open(&path) else { continue };
        let damaged = t2m_checkpoint::check::check(&checkpoint).damaged;
        assert!(damaged.is_empty(), "{}: {damaged:?}", path.display());
        archives += 1;
    }
    assert!(archives > 15, "{archives}");
}
