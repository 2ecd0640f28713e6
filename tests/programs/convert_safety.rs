//! What `t2m-tui convert` must never do, whatever lies about and however it is called: lose or change a file that it was not
//! told to replace, wait for what never comes, or go on after a signal.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{finish, program, stderr};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// After which a run counts as one that never ends: no budget, a net.
const PATIENCE: Duration = Duration::from_secs(60);
/// A name that a temporary folder of this program could have.
const ROOM: &str = ".t2m-tui-0123456789abcdef0123456789abcdef.part";

/// Three matrices of 48 bytes each.
fn weights() -> Vec<u8> {
    let data: Vec<u8> = (0..12).flat_map(|at| (at as f32).to_le_bytes()).collect();
    let view = |name: &'static str| (name, TensorView::new(Dtype::F32, vec![4, 3], &data).unwrap());
    safetensors::serialize(["a.weight", "b.weight", "c.weight"].map(view), None).unwrap()
}

/// A folder with `m.safetensors`.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.write("m.safetensors", weights());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn fifo(&self, name: &str) {
        assert!(Command::new("mkfifo").arg(self.path(name)).status().unwrap().success());
    }

    /// Run `convert` here; it has to end.
    fn convert(&self, arguments: &str) -> Output {
        let mut command = program();
        command.current_dir(self.0.path()).arg("convert").args(arguments.split_whitespace());
        finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), arguments)
    }

    /// Everything that is here: files with their bytes, links with where they lead, folders and pipes by their kind.
    fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.0.path().to_owned()];
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                let content = if kind.is_file() {
                    std::fs::read(&path).unwrap()
                } else if kind.is_symlink() {
                    std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                } else {
                    format!("{kind:?}").into_bytes()
                };
                if kind.is_dir() {
                    waiting.push(path.clone());
                }
                found.insert(path, content);
            }
        }
        found
    }

    /// Refused with these words, and nothing was made or changed.
    fn refuses(&self, arguments: &str, words: &[&str]) {
        let before = self.snapshot();
        let output = self.convert(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
        for words in words {
            assert!(said.contains(words), "{arguments}: {said}");
        }
        let after = self.snapshot();
        let names = |all: &BTreeMap<PathBuf, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&before), names(&after), "{arguments}: {said}");
        assert!(before == after, "{arguments}: a file is another");
    }
}

#[test]
fn what_has_a_temporary_name_is_left_alone_and_waited_for_by_nobody() {
    let names = [".o.safetensors.t2m-part", ".map.json.t2m-part", ".o.safetensors.index.json.t2m-part", ROOM];
    type Make = fn(&Place, &str);
    let kinds: [(&str, Make); 6] = [
        ("a hard link to the input", |place, name| {
            std::fs::hard_link(place.path("m.safetensors"), place.path(name)).unwrap();
        }),
        ("a link to the input", |place, name| symlink("m.safetensors", place.path(name)).unwrap()),
        ("a link to nowhere", |place, name| symlink("elsewhere", place.path(name)).unwrap()),
        ("a pipe", Place::fifo),
        ("a file of the user's", |place, name| place.write(name, "mine")),
        ("a folder of the user's", |place, name| place.write(&format!("{name}/0"), "mine")),
    ];
    for (kind, make) in kinds {
        for arguments in ["", "--max-shard-size 50"] {
            let place = Place::new();
            names.iter().for_each(|name| make(&place, name));
            let before = place.snapshot();
            let output = place.convert(&format!("m.safetensors -o o.safetensors --map map.json {arguments}"));
            assert_eq!(output.status.code(), Some(0), "{kind}: {}", stderr(&output));
            let mut after = place.snapshot();
            let files = if arguments.is_empty() { 2 } else { 5 };
            assert_eq!(after.len(), before.len() + files, "{kind}: {:?}", after.keys());
            after.retain(|path, _| before.contains_key(path));
            assert!(after == before, "{kind}: something is another");
        }
    }
}

/// What a killed run leaves is told from what only looks like it.
#[test]
fn a_folder_that_looks_like_one_of_ours_but_is_none_stays() {
    // A run that is stopped for good while it writes leaves its folder; the next one removes it.
    let place = Place::new();
    place.write("out/x", "");
    let big = place.path("big.safetensors");
    sparse(&big, &[("a.weight", [16_384, 16_384])]);
    let mut child = program()
        .current_dir(place.0.path())
        .args(["convert", "big.safetensors", "-o", "out/o.safetensors"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let rooms = || {
        let names = std::fs::read_dir(place.path("out")).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.file_name().unwrap() != "x").collect::<Vec<PathBuf>>()
    };
    let marked = |room: &Path| std::fs::read_dir(room).is_ok_and(|entries| entries.count() == 2);
    let until = Instant::now() + PATIENCE;
    while !rooms().first().is_some_and(|room| marked(room)) {
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < until, "it never began to write");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left = rooms();
    let [room] = left.as_slice() else { panic!("{left:?}") };
    assert_eq!(room.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let mark = std::fs::read_dir(room).unwrap().map(|entry| entry.unwrap().path());
    let mark = mark.filter(|path| path.file_name().unwrap() != "0").collect::<Vec<_>>().remove(0);
    let convert = || assert_eq!(place.convert("m.safetensors -o out/p.safetensors --force").status.code(), Some(0));

    // As long as there is anything in it that no run of ours made it stays, whole.
    let stranger = room.join("notes.txt");
    std::fs::write(&stranger, "mine").unwrap();
    convert();
    assert!(stranger.exists() && room.join("0").exists() && mark.exists());
    std::fs::remove_file(&stranger).unwrap();
    // So it does with a file in it that has another name elsewhere.
    std::fs::hard_link(&mark, place.path("second")).unwrap();
    convert();
    assert!(room.join("0").exists() && mark.exists());
    std::fs::remove_file(place.path("second")).unwrap();
    // Or under another name of its own.
    let renamed = room.with_file_name(ROOM);
    std::fs::rename(room, &renamed).unwrap();
    convert();
    assert!(renamed.join("0").exists());
    std::fs::rename(&renamed, room).unwrap();
    convert();
    assert!(!room.exists());
}

#[test]
fn outputs_are_neither_inputs_nor_each_other() {
    let place = Place::new();
    place.write("net.py", "class Net: pass\n");
    place.write("src/deep/net.py", "class Net: pass\n");
    place.write("r.toml", "");
    place.write("there.st", "there");
    symlink(".", place.path("here")).unwrap();
    std::fs::hard_link(place.path("net.py"), place.path("hard.py.st")).unwrap();
    for force in ["", "--force"] {
        // The weights, their index and their shards, and the key map.
        for (output, map) in [
            ("o.st", "./o.st"),
            ("o.st", "here/o.st"),
            ("o.st", "o.st.index.json"),
            ("there.st", "here/./there.st"),
            ("O.st", "o.ST"),
        ] {
            if force.is_empty() && output == "there.st" {
                continue;
            }
            place.refuses(
                &format!("m.safetensors -o {output} --map {map} {force}"),
                &["at once; give --map another path"],
            );
        }
        let shards = "--max-shard-size 50";
        let three = "o-00002-of-00003.safetensors";
        place.refuses(
            &format!("m.safetensors -o o.safetensors {shards} --map {three} {force}"),
            &["a shard", "key map"],
        );
        place.refuses(
            &format!("m.safetensors -o o.safetensors {shards} --map here/o.safetensors.index.json {force}"),
            &["the index", "the key map"],
        );
    }
    // What is read is named, and which option is at fault.
    for (arguments, words) in [
        ("-o net.py --source net.py", ["net.py: is Python source", "give another"]),
        ("-o hard.py.st --source net.py", ["hard.py.st: is Python source that is read (net.py)", "give another"]),
        ("-o o.st --map here/net.py --source net.py", ["here/net.py: is Python source", "give --map another"]),
        ("-o src/deep/net.py --source src", ["src/deep/net.py: is Python source", "give another"]),
        ("-o src/new.py --source src", ["Python source in src", "give another"]),
        ("-o r.toml --registry r.toml", ["r.toml: is the registry file", "give another"]),
        ("-o o.st --map ./r.toml --registry r.toml", ["./r.toml: is the registry file (r.toml)", "give --map"]),
        ("-o o.st --map m.safetensors", ["m.safetensors: is the input", "give --map"]),
        ("-o o.st --map there.st --theme there.st", ["there.st: is the theme", "give --map"]),
    ] {
        place.refuses(&format!("m.safetensors {arguments} --force"), &words);
    }
    // A shard's name is one of an input, which the call does not name.
    std::fs::copy(place.path("m.safetensors"), place.path("p-00001-of-00003.safetensors")).unwrap();
    place.refuses(
        "p-00001-of-00003.safetensors -o p.safetensors --max-shard-size 50 --force",
        &["p-00001-of-00003.safetensors: is the input"],
    );
    std::fs::copy(place.path("r.toml"), place.path("q-00003-of-00003.safetensors")).unwrap();
    place.refuses(
        "m.safetensors -o q.safetensors --registry q-00003-of-00003.safetensors --max-shard-size 50 --force",
        &["is the registry file"],
    );
    // --force speaks of what the call names, and of what this program wrote.
    place.write("f.safetensors.index.json", "{\"mine\": 1}");
    place.refuses("m.safetensors -o f.safetensors --force", &["f.safetensors.index.json", "not written by t2m-tui"]);
    place.write("g-00002-of-00003.safetensors", weights());
    place.refuses(
        "m.safetensors -o g.safetensors --max-shard-size 50 --force",
        &["g-00002-of-00003.safetensors", "not written by t2m-tui"],
    );
    // A file that was looked through is an input by whatever name, whether anything was found in it or not.
    place.write("src/helper.py", "x = 1\n");
    std::fs::hard_link(place.path("src/helper.py"), place.path("linked.st")).unwrap();
    place.refuses(
        "m.safetensors -o linked.st --force --source src",
        &["linked.st: is Python source that is read", "helper.py"],
    );
    std::fs::write(place.path("src/bytes.py"), b"\0 no text").unwrap();
    std::fs::hard_link(place.path("src/bytes.py"), place.path("bytes.st")).unwrap();
    place.refuses(
        "m.safetensors -o o.st --map bytes.st --force --source src",
        &["bytes.st: is Python source that is read"],
    );
    std::fs::remove_file(place.path("linked.st")).unwrap();
    std::fs::remove_file(place.path("bytes.st")).unwrap();
    // Beside source, and in a folder of source, is no harm.
    for (output, code) in [("src/o.st", 0), ("src/o.st", 2), ("here/src/o.st", 2)] {
        let run = place.convert(&format!("m.safetensors -o {output} --source src --source net.py"));
        assert_eq!(run.status.code(), Some(code), "{output}: {}", stderr(&run));
    }
}

#[test]
fn a_model_s_folder_keeps_what_belongs_to_it() {
    let place = Place::new();
    let shard = "model-00001-of-00001.safetensors";
    let index = serde_json::json!({"weight_map": {"a.weight": shard, "b.weight": shard, "c.weight": shard}});
    place.write(&format!("hf/{shard}"), weights());
    place.write("hf/model.safetensors.index.json", index.to_string());
    place.write("hf/config.json", "{\"architectures\": [\"Net\"]}");
    place.write("hf/tokenizer.json", "{}");
    place.write("hf/vocab.json", "{\"a\": 1}");
    for input in ["hf", "hf/model.safetensors.index.json", "./hf/../hf"] {
        for name in ["config.json", "model.safetensors.index.json", shard, "tokenizer.json", "vocab.json"] {
            place.refuses(&format!("{input} -o hf/{name} --force"), &[name]);
            place.refuses(&format!("{input} -o o.st --map hf/{name} --force"), &[name, "give --map another path"]);
        }
        // One file of weights would take the index away.
        place.refuses(
            &format!("{input} -o hf/model.safetensors --force"),
            &["model.safetensors.index.json: is the input"],
        );
    }
    // What this program wrote there may be replaced.
    for force in ["", "--force"] {
        let run = place.convert(&format!("hf -o hf/mlx.safetensors --map hf/map.json {force}"));
        assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    }
    place.refuses("hf -o hf/mlx.safetensors --map hf/map.json", &["is there already; --force replaces it"]);
    // What is not there yet, and would be taken for the model's.
    place.write("plain/model.safetensors", weights());
    place.write("plain/config.json", "{\"architectures\": [\"Net\"]}");
    for force in ["", "--force"] {
        place.refuses(&format!("plain -o plain/model.safetensors.index.json {force}"), &["which weights are not"]);
        let map = "--map plain/model.safetensors.index.json";
        place.refuses(&format!("plain -o o.st {map} {force}"), &["another use", "give --map another path"]);
    }
}

#[test]
fn the_way_back_writes_over_nothing_it_reads() {
    let place = Place::new();
    assert_eq!(place.convert("m.safetensors -o o.safetensors --map map.json").status.code(), Some(0));
    std::fs::hard_link(place.path("map.json"), place.path("hard.json")).unwrap();
    assert_eq!(place.convert("m.safetensors -o s/s.safetensors").status.code(), Some(2), "there is no such folder");
    std::fs::create_dir(place.path("s")).unwrap();
    assert_eq!(place.convert("m.safetensors -o s/s.safetensors --max-shard-size 50").status.code(), Some(0));
    for (arguments, words) in [
        ("--reverse o.safetensors --map map.json -o map.json", "is the key map"),
        ("--reverse o.safetensors --map map.json -o hard.json", "is the key map that is read (map.json)"),
        ("--reverse o.safetensors --map map.json -o ./o.safetensors", "is the input"),
        ("m.safetensors --reverse o.safetensors -o ./m.safetensors", "is the input"),
        ("--reverse s/s.safetensors.index.json --map map.json -o s/s.safetensors", "index.json: is the input"),
        ("--reverse s --map map.json -o s/s.safetensors", "index.json: is the input"),
        ("--reverse s --map map.json -o s/s-00001-of-00003.safetensors", "is the input"),
    ] {
        place.refuses(&format!("{arguments} --force"), &[words]);
    }
    let back = place.convert("--reverse s --map map.json -o back.safetensors");
    assert_eq!(back.status.code(), Some(0), "{}", stderr(&back));
    let (back, original) = (std::fs::read(place.path("back.safetensors")).unwrap(), weights());
    let (back, original) = (SafeTensors::deserialize(&back).unwrap(), SafeTensors::deserialize(&original).unwrap());
    for (name, view) in original.tensors() {
        assert_eq!(back.tensor(&name).unwrap().data(), view.data());
    }
}

#[test]
fn a_key_map_is_a_plain_file_of_a_bearable_size() {
    let place = Place::new();
    assert_eq!(place.convert("m.safetensors -o o.safetensors --map map.json").status.code(), Some(0));
    place.fifo("pipe");
    std::fs::File::create(place.path("long.json")).unwrap().set_len(3 << 30).unwrap();
    place.write("wrong.json", format!("{{\"a\": {{\"{}\": 1}}}}", "x".repeat(1 << 20)));
    for (map, words) in [
        ("/dev/zero", "/dev/zero: is a device or a pipe"),
        ("pipe", "pipe: is a device or a pipe"),
        (".", "is a folder"),
        ("missing.json", "missing.json: cannot be read"),
        ("long.json", "long.json: has more than 524288 KiB"),
        ("wrong.json", "wrong.json: is no key map"),
    ] {
        let run = place.convert(&format!("--reverse o.safetensors --map {map} -o back.safetensors"));
        let said = stderr(&run);
        assert_eq!(run.status.code(), Some(2), "{map}: {said}");
        assert!(said.contains(words) && said.len() < 2_000, "{map}: {}", &said[..said.len().min(2_000)]);
    }
    assert!(!place.path("back.safetensors").exists());
}

/// A safetensors file of float32 tensors, all zeros, that takes no room on the disk.
fn sparse(path: &Path, tensors: &[(&str, [u64; 2])]) {
    let (mut header, mut end) = (serde_json::Map::new(), 0u64);
    for (name, shape) in tensors {
        let begin = end;
        end += shape.iter().product::<u64>() * 4;
        let about = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]});
        header.insert((*name).to_owned(), about);
    }
    let mut text = serde_json::Value::Object(header).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    std::fs::write(path, &bytes).unwrap();
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes.len() as u64 + end).unwrap();
}

/// A signal that comes while the file is still being opened ends the run there: what it waits for never comes.
#[test]
fn a_signal_ends_what_is_still_being_opened() {
    let place = Place::new();
    assert_eq!(place.convert("m.safetensors -o mlx.safetensors").status.code(), Some(0));
    place.write("python", "#!/bin/sh\n: > asked\nwhile [ -e asked ]; do sleep 0.05; done\necho '[]'\n");
    std::fs::set_permissions(place.path("python"), std::fs::Permissions::from_mode(0o755)).unwrap();
    for arguments in ["m.safetensors -o o.safetensors", "m.safetensors --reverse mlx.safetensors -o o.safetensors"] {
        for signal in ["INT", "TERM", "HUP"] {
            let mut command = program();
            command
                .current_dir(place.0.path())
                .arg("convert")
                .args(arguments.split(' '))
                .args(["--python", "./python"]);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let until = Instant::now() + PATIENCE;
            while !place.path("asked").exists() {
                assert!(Instant::now() < until, "it never asked");
                std::thread::sleep(Duration::from_millis(1));
            }
            let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
            assert!(sent.unwrap().success());
            let output = finish(child, arguments);
            assert_eq!(output.status.code(), Some(130), "{arguments}: {}", stderr(&output));
            assert!(stderr(&output).contains("interrupted; nothing was left behind"), "{}", stderr(&output));
            std::fs::remove_file(place.path("asked")).unwrap();
        }
    }
    let left: Vec<PathBuf> = place.snapshot().into_keys().collect();
    assert_eq!(left, ["m.safetensors", "mlx.safetensors", "python"].map(|name| place.path(name)));
}

/// A signal that comes while the checkpoint is held against the MLX file ends that: most of the bytes are never read.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_what_is_still_being_read() {
    const MATRIX: u64 = 64 << 20;
    const COUNT: u64 = 512;
    let place = Place::new();
    let names: Vec<String> = (0..COUNT).map(|at| format!("fc{at}.weight")).collect();
    let tensors: Vec<(&str, [u64; 2])> =
        names.iter().map(|name| (name.as_str(), [4_096, MATRIX / 4 / 4_096])).collect();
    sparse(&place.path("torch.safetensors"), &tensors);
    sparse(&place.path("mlx.safetensors"), &tensors);
    let mut command = program();
    command.current_dir(place.0.path()).args([
        "convert",
        "torch.safetensors",
        "--reverse",
        "mlx.safetensors",
        "-o",
        "o.st",
    ]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let read = |child: &Child| -> u64 {
        let counts = std::fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap_or_default();
        counts.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap_or(0)
    };
    while read(&child) < 4 * MATRIX {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap().success());
    // The count outlives the process until it is waited for.
    let is_over = |child: &Child| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    };
    let mut most = 0;
    while !is_over(&child) {
        most = most.max(read(&child));
        std::thread::sleep(Duration::from_millis(1));
    }
    most = most.max(read(&child));
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(most < COUNT * MATRIX / 2, "{most} bytes were read of {}", 2 * COUNT * MATRIX);
    assert!(!place.path("o.st").exists());
}
