//! `t2m-tui compare` of tensors that are cut, joined and stacked. `tests/fixtures/compare/make.py` made the files.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::{json, run, stderr};
use crate::compare_values::{read, write};
use serde_json::Value;

const TORCH: &str = "tests/fixtures/compare/pieces.safetensors";
const RIGHT: &str = "tests/fixtures/compare/pieces_right.safetensors";

/// Exit code, and the findings by both names.
fn compare(other: &str) -> (Option<i32>, BTreeMap<(String, String), Value>) {
    let output = run(&["compare", TORCH, other, "--format", "json"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let report = json(&output);
    let findings = report["tensors"].as_array().unwrap().iter();
    let findings = findings.map(|finding| ((text(&finding["name"]), text(&finding["other"])), finding.clone()));
    (output.status.code(), findings.collect())
}

fn of<'a>(findings: &'a BTreeMap<(String, String), Value>, name: &str, other: &str) -> &'a Value {
    &findings[&(name.to_owned(), other.to_owned())]
}

#[test]
fn parts_in_their_order_are_good() {
    let (code, findings) = compare(RIGHT);
    assert_eq!(code, Some(0), "{findings:#?}");
    assert_eq!(findings.len(), 38);
    for finding in findings.values() {
        assert!(finding["verdict"] == "slice" || finding["verdict"] == "stack", "{finding}");
        assert!(finding["reason"].is_null() && finding["by"] == "content", "{finding}");
    }
    let expert = of(&findings, "layers.0.moe.experts.2.up_proj.weight", "layers.0.moe.switch.up_proj.weight");
    assert_eq!((&expert["verdict"], &expert["place"]), (&"stack".into(), &"number 2 of 4".into()));
    let key = of(&findings, "layers.1.attention.query_key_value.weight", "layers.1.attention.k_proj.weight");
    assert_eq!((&key["verdict"], &key["place"]), (&"slice".into(), &"4 of every 12 rows from 4 on".into()));
    // Zeros everywhere: where they come from follows from the weight beside them.
    let bias = of(&findings, "layers.2.self_attn.k_proj.bias", "layers.2.self_attn.qkv_proj.bias");
    assert_eq!(bias["place"], "numbers 8 to 16");
    let columns = of(&findings, "layers.5.row.weight", "layers.5.shards.1.weight");
    assert_eq!((&columns["axis"], &columns["place"]), (&1.into(), &"columns 6 to 12".into()));
    let cast = of(&findings, "layers.6.head.weight", "layers.6.shards.0.weight");
    assert_eq!(cast["dtype"], "float16");
}

#[test]
fn parts_in_another_order_are_told() {
    let (code, findings) = compare("tests/fixtures/compare/pieces_wrong.safetensors");
    assert_eq!(code, Some(1));
    let wrong = |name: &str, other: &str, said: &str| {
        let finding = of(&findings, name, other);
        let reason = finding["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(said) && reason.is_empty() == said.is_empty(), "{finding}");
    };
    let (experts, switch) = ("layers.0.moe.experts", "layers.0.moe.switch");
    for name in ["gate_proj", "up_proj", "down_proj"] {
        let other = format!("{switch}.{name}.weight");
        wrong(&format!("{experts}.0.{name}.weight"), &other, "place 1 of 4, where the names say 0");
        wrong(&format!("{experts}.1.{name}.weight"), &other, "place 0 of 4, where the names say 1");
        wrong(&format!("{experts}.2.{name}.weight"), &other, "");
    }
    for kind in ["weight", "bias"] {
        let whole = format!("layers.0.attn.qkv.{kind}");
        wrong(&whole, &format!("layers.0.attn.q_proj.{kind}"), "part 1 of 3, where the names say 0");
        wrong(&whole, &format!("layers.0.attn.v_proj.{kind}"), "");
        let whole = format!("layers.1.attention.query_key_value.{kind}");
        wrong(&whole, &format!("layers.1.attention.q_proj.{kind}"), "cut as one block");
        let whole = format!("layers.2.self_attn.qkv_proj.{kind}");
        wrong(&format!("layers.2.self_attn.k_proj.{kind}"), &whole, "place 0 of 3, where the names say 1");
    }
    wrong("layers.3.mlp.gate_up_proj.weight", "layers.3.mlp.up_proj.weight", "part 0 of 2, where the names say 1");
    wrong("layers.4.mlp.up_proj.weight", "layers.4.mlp.gate_up_proj.weight", "place 0 of 2, where the names say 1");
    wrong("layers.5.row.weight", "layers.5.shards.0.weight", "part 1 of 2, where the names say 0");
    let left = of(&findings, "layers.6.head.weight", "");
    assert_eq!(
        (&left["verdict"], left["reason"].as_str()),
        (&"different".into(), Some("rows 4 to 10 of 10 are in no tensor of the other file"))
    );
    assert!(findings.values().all(|finding| finding["verdict"] != "missing" && finding["verdict"] != "extra"));
}

#[test]
fn a_part_that_holds_other_numbers_is_no_part() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.safetensors");
    let mut theirs = read(RIGHT);
    theirs.get_mut("layers.0.moe.switch.gate_proj.weight").unwrap().2[13] ^= 1;
    theirs.get_mut("layers.2.self_attn.qkv_proj.bias").unwrap().2[3] = 0x3f;
    write(&other, &theirs);
    let (code, findings) = compare(path(&other));
    assert_eq!(code, Some(1));
    // One wrong number of a stack is told at its place, and the other parts are what they were.
    let (stack, experts) = ("layers.0.moe.switch.gate_proj.weight", "layers.0.moe.experts");
    let hurt = of(&findings, &format!("{experts}.0.gate_proj.weight"), stack);
    assert_eq!((&hurt["verdict"], &hurt["place"]), (&"stack".into(), &"number 0 of 4".into()));
    let reason = hurt["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("1 of 48 numbers differ by up to ") && reason.contains("the first at [0, 3]: "),
        "{reason}"
    );
    assert!(of(&findings, &format!("{experts}.3.gate_proj.weight"), stack)["reason"].is_null());
    assert_eq!(of(&findings, "", "layers.2.self_attn.qkv_proj.bias")["verdict"], "extra");
    // What turns the last two axes round is found, and is not good.
    let mut theirs = read(RIGHT);
    let turned = theirs.get_mut("layers.0.moe.switch.down_proj.weight").unwrap();
    let (rows, columns) = (8, 6);
    let expert = |bytes: &[u8]| -> Vec<u8> {
        (0..rows * columns)
            .flat_map(|at| {
                let from = (at % rows * columns + at / rows) * 4;
                bytes[from..from + 4].to_vec()
            })
            .collect()
    };
    turned.2 = turned.2.chunks(rows * columns * 4).flat_map(expert).collect();
    turned.1 = vec![4, columns, rows];
    write(&other, &theirs);
    let (code, findings) = compare(path(&other));
    let found = of(&findings, "layers.0.moe.experts.3.down_proj.weight", "layers.0.moe.switch.down_proj.weight");
    assert_eq!((code, &found["verdict"]), (Some(1), &"stack".into()));
    assert_eq!(found["reason"], "the last two axes have changed places");
}

#[test]
fn experts_that_mlx_packed_are_found_in_their_stack() {
    let said = |other: &str| -> (Option<i32>, Vec<(String, String, Value)>) {
        let folder = "tests/fixtures/compare";
        let output = run(&[
            "compare",
            &format!("{folder}/experts.safetensors"),
            &format!("{folder}/{other}"),
            "--format",
            "json",
        ]);
        let report = json(&output);
        let told = report["tensors"].as_array().unwrap().iter().map(|one| {
            let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            (text("name"), text("place"), one["reason"].clone())
        });
        (output.status.code(), told.collect())
    };
    let (code, right) = said("experts_packed.safetensors");
    assert_eq!((code, right.len()), (Some(0), 9), "{right:#?}");
    for (name, place, reason) in &right {
        let number = name.split('.').nth(3).unwrap();
        assert!(place.starts_with(&format!("number {number} of 3, packed in 4 bits by 32")), "{name}: {place}");
        assert!(reason.is_null());
    }
    let (code, swapped) = said("experts_packed_swapped.safetensors");
    assert_eq!(code, Some(1));
    for (name, _, reason) in &swapped {
        let said = match name.split('.').nth(3).unwrap() {
            "0" => Some("place 1 of 3, where the names say 0"),
            "1" => Some("place 0 of 3, where the names say 1"),
            _ => None,
        };
        assert_eq!(reason.as_str(), said, "{name}");
    }
}

#[test]
fn an_axis_in_another_order_is_named() {
    let (code, findings) = compare("tests/fixtures/compare/pieces_moved.safetensors");
    assert_eq!(code, Some(1));
    for (name, said) in [
        ("layers.6.head.weight", "ours with halves swapped along axis 0"),
        ("layers.5.row.weight", "a flatten of 3 channels that come last: theirs[:, s·3 + c] is ours[:, c·4 + s]"),
    ] {
        let found = of(&findings, name, name);
        assert_eq!(found["verdict"], "different");
        assert!(found["reason"].as_str().unwrap().contains(said), "{found}");
    }
    assert!(findings.values().filter(|found| found["verdict"] == "equal").count() == findings.len() - 2);
}

#[test]
fn arrays_of_numpy_and_mlx_are_read() {
    for other in ["pieces.npz", "pieces_numpy.npz"] {
        let (code, findings) = compare(&format!("tests/fixtures/compare/{other}"));
        assert_eq!(code, Some(1), "most are not in it");
        let equal = findings.values().filter(|found| found["verdict"] == "equal").count();
        let missing = findings.values().filter(|found| found["verdict"] == "missing").count();
        assert_eq!((equal, missing), (3, findings.len() - 3), "{other}: {findings:#?}");
    }
}

#[test]
fn of_what_is_not_read_the_way_out_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let gguf = folder.path().join("theirs.gguf");
    std::fs::write(&gguf, b"GGUF\x03\0\0\0").unwrap();
    for other in ["tests/fixtures/compare/pieces_compressed.npz", path(&gguf)] {
        let refused = run(&["compare", TORCH, other]);
        assert_eq!(refused.status.code(), Some(2));
        let said = stderr(&refused);
        assert!(said.contains("mx.save_safetensors") && said.contains("mx.load"), "{said}");
    }
    // Such a file is no checkpoint: nothing else reads it.
    let inspected = run(&["inspect", "tests/fixtures/compare/pieces.npz"]);
    assert_eq!(inspected.status.code(), Some(2));
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
