//! What is quoted from a file has an end: no line of a message or of a report is longer than a screen holds, whatever the
//! file says and wherever. Names in JSON are whole, and nothing in it hides.

use std::path::Path;

use crate::common::archive::{Code, Record, code, dict, storage, tensor, tensor_of, torch, torch_records, zip};
use crate::common::{json, run, stderr};
use serde_json::json;
use t2m_checkpoint::Checkpoint;
use t2m_tui::registry::Registry;
use t2m_tui::tui::theme::Theme;

/// No line is longer, in characters.
const LONGEST: usize = 1000;

/// A name without an end, with what escapes grow.
fn endless() -> String {
    format!("{}\u{202e}\u{9b}`\"", "n".repeat(60)).repeat(300)
}

fn short(what: &str, text: &str) {
    for line in text.lines() {
        let length = line.chars().count();
        assert!(length < LONGEST, "{what}: a line of {length}: {}", line.chars().take(300).collect::<String>());
    }
    assert!(!text.is_empty() && text.len() < 200_000, "{what}: {} bytes", text.len());
    assert!(!text.contains('\u{202e}') && !text.contains('\u{9b}'), "{what}");
}

/// Everything that is said of a file, by the reader and by the program.
fn said(what: &str, name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    said_of(what, &path);
}

fn said_of(what: &str, path: &Path) {
    match Checkpoint::open(path) {
        Err(error) => short(what, &error.to_string()),
        Ok(checkpoint) => {
            let mut all = checkpoint.warnings.clone();
            all.extend(checkpoint.tensors.iter().filter_map(|tensor| tensor.problem.as_deref().map(str::to_owned)));
            all.extend(checkpoint.pickle.iter().flat_map(|report| report.refused.clone()));
            all.into_iter().for_each(|text| short(what, &text));
        }
    }
    for format in ["text", "md"] {
        let output = run(&["inspect", path.to_str().unwrap(), "--format", format]);
        short(what, &(String::from_utf8(output.stdout.clone()).unwrap() + &stderr(&output)));
    }
    let output = run(&["inspect", path.to_str().unwrap(), "--format", "json"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(!text.contains('\u{202e}') && !text.contains('\u{9b}'), "{what}");
    if output.status.success() {
        let _ = json(&output);
    }
}

/// A pickled module of that class with an attribute and a parameter.
fn module(class: &str, attribute: [&str; 2], parameter: &str) -> Code {
    let parameters = code().raw(b"}(").text(parameter).then(tensor(0, &[2, 2], &[2, 1])).raw(b"u");
    code()
        .global("mine", class)
        .raw(b")\x81}(")
        .text("_modules")
        .raw(b"}")
        .text("_buffers")
        .raw(b"}")
        .text("_parameters")
        .then(parameters)
        .text(attribute[0])
        .text(attribute[1])
        .raw(b"ub")
}

#[test]
fn pickles_of_endless_names() {
    let long = endless();
    let plain: String = long.chars().filter(|character| character.is_ascii_alphanumeric()).collect();
    let named = |name: &str| code().raw(b"}(").text(name).then(tensor(0, &[4], &[1])).raw(b"u");
    let cases: Vec<(&str, Code)> = vec![
        ("a tensor's name", named(&long)),
        ("a key of metadata", code().raw(b"}(").text(&long).text("x").text("w").then(tensor(0, &[4], &[1])).raw(b"u")),
        (
            "a value of metadata",
            code().raw(b"}(").text("x").text(&long).text("w").then(tensor(0, &[4], &[1])).raw(b"u"),
        ),
        ("a wrapper", code().raw(b"}(").text(&long).then(named("w")).raw(b"u")),
        ("a global", code().global(&plain, "f").raw(b"(tR")),
        ("a global's name", code().global("os", &plain).raw(b"(").text(&long).raw(b"tR")),
        ("an argument", code().global("posix", "system").raw(b"(").text(&long).raw(b"tR")),
        ("a class", module(&plain, ["a", "b"], "weight")),
        ("an attribute", module("Net", [&long, "b"], "weight")),
        ("an attribute's value", module("Net", ["a", &long], "weight")),
        ("a parameter", module("Net", ["a", "b"], &long)),
        ("a storage's key", dict(tensor_of(storage("FloatStorage", &long, 4), 0, &[4], &[1]))),
        ("a storage's class", dict(tensor_of(storage(&plain, "0", 4), 0, &[4], &[1]))),
        ("nothing but a text", code().text(&long)),
        ("bad bytes behind a text", code().text(&long).raw(b"\xff")),
    ];
    for (what, code) in cases {
        said(what, "x.pt", &torch(&code.clone().pickle()));
        said(what, "x.pth", &code.pickle());
    }
}

#[test]
fn members_of_endless_names() {
    let long = endless().chars().take(20_000).collect::<String>();
    let records = |record: Record| {
        let mut records = torch_records(&dict(tensor(0, &[4], &[1])).pickle());
        records.push(record);
        zip(&records)
    };
    said("a member", "x.pt", &records(Record::stored(&format!("x/{long}"), b"y")));
    said("a stray member", "x.pt", &records(Record::stored(&long, b"y")));
    said("a member in python", "x.pt", &records(Record::stored(&format!("x/code/{long}.py"), long.as_bytes())));
    let exported = json!({"schema_version": {"major": 8}, "graph_module": {"graph": {"inputs": [], "nodes": [{"target": long,
        "inputs": [], "outputs": [], "metadata": {"nn_module_stack": long}}]}}, long.as_str(): long});
    let version = |text: &str| Record::stored("x/archive_format", text.as_bytes());
    let model = Record::stored("x/models/model.json", exported.to_string().as_bytes());
    said("a graph", "x.pt2", &zip(&[version("pt2"), model]));
    let model = Record::stored("x/models/model.json", format!("\"{long}\"").as_bytes());
    said("no graph", "x.pt2", &zip(&[version(&long), model]));
    let script = "x/code/__torch__/net.py";
    let code = format!("class {}(Module):\n  {long}\n", "N".repeat(5000));
    let pickle = crate::common::archive::code().global("__torch__.net", &"N".repeat(5000)).raw(b")\x81}b").pickle();
    let constants = Record::stored("x/constants.pkl", b"\x80\x02).");
    said(
        "a script",
        "x.pt",
        &zip(&[Record::stored("x/data.pkl", &pickle), Record::stored(script, code.as_bytes()), constants]),
    );
}

#[test]
fn headers_and_indices_of_endless_names() {
    let long = endless();
    let safetensors = |header: String| [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
    let entry = json!({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]});
    let twice = format!("{{{0}:{entry},{0}:{entry}}}", json!(long));
    for (what, header) in [
        ("a tensor", json!({long.as_str(): entry}).to_string()),
        ("a tensor twice", twice),
        ("a dtype", json!({"w": {"dtype": long, "shape": [1], "data_offsets": [0, 4]}}).to_string()),
        ("a field", json!({"w": {long.as_str(): 1, "dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).to_string()),
        ("a key of the metadata", json!({"__metadata__": {long.as_str(): "x"}, "w": entry}).to_string()),
        ("a value of the metadata", json!({"__metadata__": {"x": long}, "w": entry}).to_string()),
        ("a number of the metadata", json!({"__metadata__": {long.as_str(): 1}, "w": entry}).to_string()),
        (
            "a text for offsets",
            json!({long.as_str(): {"dtype": "F32", "shape": [1], "data_offsets": long}}).to_string(),
        ),
        ("too many axes", json!({"w": {"dtype": "F32", "shape": vec![1; 30_000], "data_offsets": [0, 8]}}).to_string()),
        ("a text", json!(long).to_string()),
    ] {
        said(what, "x.safetensors", &safetensors(header));
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.safetensors"), safetensors(json!({"w": entry}).to_string())).unwrap();
    let index = folder.path().join("model.safetensors.index.json");
    for (what, text) in [
        ("a name", json!({"weight_map": {"w": "a.safetensors", long.as_str(): "a.safetensors"}})),
        ("a shard", json!({"weight_map": {"w": "a.safetensors", "v": long}})),
        ("a path", json!({"weight_map": {"w": format!("../{long}")}})),
        ("a number", json!({"weight_map": {long.as_str(): 1}})),
        ("a map", json!({"weight_map": long})),
        ("metadata", json!({"metadata": {long.as_str(): long}, "weight_map": {"w": "a.safetensors"}})),
        ("a field", json!({long.as_str(): long})),
    ] {
        std::fs::write(&index, text.to_string()).unwrap();
        said_of(what, &index);
    }
    std::fs::write(&index, json!({"weight_map": {"w": "a.safetensors"}}).to_string()).unwrap();
    for (what, text) in [
        ("architectures", json!({"architectures": [long]}).to_string()),
        ("a model's type", json!({"architectures": ["A"], "model_type": long}).to_string()),
        ("a key", json!({long.as_str(): 1}).to_string()),
        ("a text", json!(long).to_string()),
        ("no JSON", format!("{{\"{long}")),
    ] {
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        said_of(what, folder.path());
    }
}

#[test]
fn registries_and_themes_of_endless_values() {
    let long: String = endless().chars().filter(|character| !matches!(character, '"' | '\u{9b}')).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let row = |more: &str| format!("[[layer]]\nclass = \"torch.nn.modules.linear.Linear\"\n{more}\n");
    let texts = [
        row(&format!("rule = \"{long}\"")),
        row(&format!("recipe = \"{long}\"")),
        row(&format!("torch = \"t2m.{long}\"")),
        row(&format!("torch = \"{long}\"")),
        row(&format!("bound = \"{long}\"")),
        row(&format!("status = \"{long}\"")),
        row(&format!("seed = \"{long}\"")),
        row(&format!("difficulty = \"{long}\"")),
        row(&format!("attributes = {{ a = {{ \"{long}\" = 1 }} }}")),
        row(&format!("\"{long}\" = 1")),
        row(&format!("reason = \"{long}")),
        row(&format!("reason = \"a\"\nreason = \"{long}\"")),
        format!("[[layer]]\nclass = \"{long}\""),
        format!("[[layer]]\nclass = \"a.{long}\"\nstatus = \"direct\""),
        format!("{long} = ["),
        format!("# {long}\n[[layers]]"),
        "[[layer]]\n".repeat(10_000),
    ];
    for text in &texts {
        std::fs::write(&path, text).unwrap();
        let error = Registry::load(std::slice::from_ref(&path)).unwrap_err().to_string();
        short("a registry", &error);
        assert!(error.contains("mine.toml"), "{error}");
    }
    std::fs::write(&path, &texts[0]).unwrap();
    let output = run(&["inspect", "demo", "--registry", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    short("the program", &stderr(&output));
    // A row that is sound, and says more than anybody reads.
    let text = row(&format!("reason = \"{long}\"\nmlx = \"{long}\"\nargs = {{ \"{long}\" = \"{long}\" }}"));
    std::fs::write(&path, text).unwrap();
    let output = run(&["inspect", "demo", "--registry", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    short("a report", &String::from_utf8(output.stdout).unwrap());

    let dark = include_str!("../../assets/themes/dark.toml");
    for text in [
        dark.replacen("= \"#", &format!("= \"{long}#"), 1),
        dark.replacen("dark = true", &format!("dark = \"{long}\""), 1),
        format!("{dark}\n[\"{long}\"]\na = 1\n"),
        format!("\"{long}\" = 1\n{dark}"),
        format!("{dark}\n{long}"),
    ] {
        short("a theme", &Theme::parse("mine", &text).unwrap_err().to_string());
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_small_file_is_refused_with_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    std::fs::File::create(at("hole")).unwrap().set_len(3 << 30).unwrap();
    std::fs::write(at("bytes"), b"a = \"\xff\"").unwrap();
    let cases = [
        ("/dev/zero".to_owned(), "is a device or a pipe; give a file"),
        (at("pipe"), "is a device or a pipe; give a file"),
        (at(""), "is a folder; give a file"),
        (at("hole"), "KiB"),
        (at("bytes"), "byte 5 is no UTF-8"),
        (at("none"), "cannot be read"),
    ];
    for (path, words) in cases {
        let output = run(&["inspect", "demo", "--registry", &path]);
        assert_eq!(output.status.code(), Some(2), "{path}");
        assert!(stderr(&output).contains(words) && stderr(&output).contains(&path), "{}", stderr(&output));
        let error = Theme::load(&path, |_| None).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(&path), "{error}");
    }
}

#[test]
fn names_in_json_are_whole_and_hide_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pt");
    let long = endless();
    let pickle = code().raw(b"}(").text(&long).then(tensor(0, &[4], &[1])).raw(b"u").pickle();
    std::fs::write(&path, torch(&pickle)).unwrap();
    let output = run(&["inspect", path.to_str().unwrap(), "--format", "json"]);
    let text = std::str::from_utf8(&output.stdout).unwrap();
    assert!(text.contains("\\u202e") && text.contains("\\u009b") && !text.contains('\u{202e}'), "{}", stderr(&output));
    assert_eq!(json(&output)["tensors"][0]["name"], long);
}
