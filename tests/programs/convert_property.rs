//! Whatever lies in a folder and whatever `convert` is told: every file that was there has its bytes afterwards, but what the
//! call names and `--force` lets it replace.
//!
//! The suite tries some hundred cases; ten thousand are tried by
//!
//!     T2M_CASES=10000 cargo test --test programs convert_property -- --nocapture
//!
//! A case is its number: one that fails says which, and `T2M_CASE=NUMBER` runs it alone.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::archive;
use crate::common::program;
use clap::Parser;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use t2m_tui::cli::{Common, convert};

/// In the suite.
const CASES: usize = 300;
/// One case of so many goes through the program itself, which starts as the others do not.
const PROGRAM: usize = 16;
/// After which a run counts as one that never ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names that files, links, pipes and folders have; inputs and outputs are drawn from them as well.
const NAMES: [&str; 30] = [
    "m.safetensors",
    "m.pt",
    "w.safetensors",
    "w.safetensors.index.json",
    "o.safetensors",
    "O.safetensors",
    "o.safetensors.index.json",
    "o-00001-of-00003.safetensors",
    "o-00002-of-00003.safetensors",
    "map.json",
    "net.py",
    "r.toml",
    ".o.safetensors.t2m-part",
    ".map.json.t2m-part",
    ".t2m-tui-0123456789abcdef0123456789abcdef.part",
    "hf/model.safetensors",
    "hf/model.safetensors.index.json",
    "hf/model-00001-of-00003.safetensors",
    "hf/model-00002-of-00003.safetensors",
    "hf/model-00003-of-00003.safetensors",
    "hf/config.json",
    "hf/tokenizer.json",
    "hf/map.json",
    "hf/.model.safetensors.t2m-part",
    "src/net.py",
    "src/deep/net.py",
    "src/o.safetensors",
    "src/map.json",
    "src/.t2m-tui-fedcba9876543210fedcba9876543210.part",
    "src/m.safetensors",
];

/// The command line of `convert` as the program has it.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    arguments: convert::Args,
}

/// Contents of files, each with what it is.
struct Contents {
    /// Weights of torch, and what `convert` makes of them.
    torch: Vec<u8>,
    pickle: Vec<u8>,
    mlx: Vec<u8>,
    map: Vec<u8>,
    index: Vec<u8>,
    shards: Vec<Vec<u8>>,
    /// An index of torch's.
    torch_index: Vec<u8>,
}

static CONTENTS: LazyLock<Contents> = LazyLock::new(|| {
    let data: Vec<u8> = (0..12).flat_map(|at| (at as f32).to_le_bytes()).collect();
    let view = |name: &'static str| (name, TensorView::new(Dtype::F32, vec![4, 3], &data).unwrap());
    let torch = safetensors::serialize(["a.weight", "b.weight", "c.weight"].map(view), None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("m.safetensors"), &torch).unwrap();
    for more in [["--max-shard-size", "5GB"], ["--max-shard-size", "50"]] {
        let name = if more[1] == "50" { "s.safetensors" } else { "o.safetensors" };
        let mut command = program();
        command.current_dir(folder.path()).args([
            "convert",
            "m.safetensors",
            "-o",
            name,
            "--map",
            "map.json",
            "--force",
        ]);
        assert!(command.args(more).output().unwrap().status.success());
    }
    let read = |name: &str| std::fs::read(path(name)).unwrap();
    let shard = |at: usize| format!("model-{at:05}-of-00003.safetensors");
    let rows = ["a.weight", "b.weight", "c.weight"].iter().zip(1..).map(|(name, at)| ((*name).to_owned(), shard(at)));
    let torch_index = serde_json::json!({"weight_map": rows.collect::<BTreeMap<String, String>>()});
    Contents {
        pickle: archive::torch(&archive::dict(archive::tensor(0, &[2, 2], &[2, 1])).pickle()),
        mlx: read("o.safetensors"),
        map: read("map.json"),
        index: read("s.safetensors.index.json"),
        shards: (1..4).map(|at| read(&format!("s-{at:05}-of-00003.safetensors"))).collect(),
        torch_index: torch_index.to_string().into_bytes(),
        torch,
    }
});

/// What a name is likely to hold; now and then it is something else.
fn content(name: &str, random: &mut impl Rng) -> Vec<u8> {
    let all = &*CONTENTS;
    let file = name.rsplit('/').next().unwrap();
    let any = random.random_ratio(1, 10);
    let choices: Vec<&[u8]> = match file {
        _ if any => vec![b"", b"{}", b"mine", &all.torch, &all.mlx, &all.map, &all.index],
        "m.pt" => vec![&all.pickle],
        "m.safetensors" | "model.safetensors" => vec![&all.torch],
        "w.safetensors" => vec![&all.mlx],
        "model.safetensors.index.json" => vec![&all.torch_index],
        "map.json" => vec![&all.map],
        "config.json" => vec![b"{\"architectures\": [\"Net\"], \"model_type\": \"net\"}"],
        "net.py" => {
            vec![b"import torch.nn as nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return x\n"]
        }
        "r.toml" => vec![b"", b"[[layer]]\nclass = \"torch.nn.modules.linear.Linear\"\nreason = \"Mine.\"\n"],
        _ if file.ends_with(".index.json") => vec![&all.index, b"{\"mine\": 1}"],
        _ if file.starts_with("model-") => vec![&all.torch],
        _ if file.ends_with(".safetensors") => vec![&all.mlx, &all.torch, &all.shards[0], b"mine"],
        _ => vec![b"mine", &all.torch],
    };
    choices.choose(random).unwrap().to_vec()
}

/// Fill a folder.
fn fill(folder: &Path, random: &mut impl Rng) {
    for sub in ["hf", "src/deep"] {
        std::fs::create_dir_all(folder.join(sub)).unwrap();
    }
    symlink(["hf", "src", "."].choose(random).unwrap(), folder.join("l")).unwrap();
    let mut names = NAMES.to_vec();
    // Some of the usual inputs are there more often than not.
    names.retain(|name| {
        let usual = ["m.safetensors", "m.pt", "w.safetensors", "map.json", "net.py", "r.toml"].contains(name);
        random.random_ratio(if usual || name.starts_with("hf/model-") { 9 } else { 4 }, 10)
    });
    let mut there: Vec<&str> = Vec::new();
    for name in names {
        let path = folder.join(name);
        // Relative to where the name is.
        let up = "../".repeat(name.matches('/').count());
        let other = there.choose(random).copied();
        match (random.random_range(0..25), other) {
            (0, Some(other)) => drop(std::fs::hard_link(folder.join(other), &path)),
            (1, Some(other)) => symlink(format!("{up}{other}"), &path).unwrap(),
            (2, _) => symlink(format!("{up}{}", NAMES.choose(random).unwrap()), &path).unwrap(),
            (3, _) => drop(Command::new("mkfifo").arg(&path).status().unwrap()),
            (4, _) => {
                std::fs::create_dir(&path).unwrap();
                std::fs::write(path.join("0"), "mine").unwrap();
            }
            _ => std::fs::write(&path, content(name, random)).unwrap(),
        }
        there.push(name);
    }
}

/// One of the names, or one nearby, under one of the ways to write it.
fn spelt(folder: &Path, usual: &[&str], random: &mut impl Rng) -> String {
    let mut name = (*usual.choose(random).unwrap()).to_owned();
    if random.random_ratio(1, 6) {
        name = (*NAMES.choose(random).unwrap()).to_owned();
    }
    let name = match random.random_range(0..8) {
        0 => format!("./{name}"),
        1 => format!("hf/../{name}"),
        2 => format!("l/{}", name.rsplit('/').next().unwrap()),
        _ => name,
    };
    folder.join(name).to_str().unwrap().to_owned()
}

/// A call of `convert`.
fn arguments(folder: &Path, random: &mut impl Rng) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let outputs =
        ["o.safetensors", "new.safetensors", "hf/model.safetensors", "src/o.safetensors", "hf/out.safetensors"];
    let maps = ["map.json", "new.json", "o.safetensors", "o.safetensors.index.json", "hf/map.json", "hf/config.json"];
    let mut add = |option: &str, value: Option<String>| {
        all.extend((!option.is_empty()).then(|| option.to_owned()));
        all.extend(value);
    };
    let forward = random.random_ratio(2, 3);
    let inputs =
        ["m.safetensors", "m.safetensors", "m.pt", "hf", "hf/model.safetensors.index.json", "hf/model.safetensors"];
    let by_map = random.random_bool(0.5);
    if forward || !by_map {
        add("", Some(spelt(folder, &inputs, random)));
    }
    if !forward {
        add("--reverse", Some(spelt(folder, &["w.safetensors", "w.safetensors", "o.safetensors.index.json"], random)));
    }
    if if forward { random.random_ratio(1, 2) } else { by_map } {
        let usual: &[&str] = if forward { &maps } else { &["map.json"] };
        add("--map", Some(spelt(folder, usual, random)));
    }
    add("-o", Some(spelt(folder, &outputs, random)));
    if random.random_ratio(3, 4) {
        add("--force", None);
    }
    if random.random_ratio(1, 2) {
        add("--max-shard-size", Some(["50", "100", "1"].choose(random).unwrap().to_string()));
    }
    if random.random_ratio(1, 3) {
        add("--source", Some(spelt(folder, &["src", "net.py", "src/net.py", "l", "src/deep"], random)));
    }
    let registry = spelt(folder, &["r.toml"], random);
    if random.random_ratio(1, 4) {
        add("--registry", Some(registry));
    }
    if random.random_ratio(1, 8) {
        add("--skip", Some("b.*".to_owned()));
    }
    if forward && random.random_ratio(1, 8) {
        add("--dtype", Some("f16".to_owned()));
    }
    if random.random_ratio(1, 8) {
        add("--strict", None);
    }
    all
}

/// What something in a folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    File(Vec<u8>),
    Link(PathBuf),
    Other(String),
}

fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Thing> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let thing = match kind {
                kind if kind.is_file() => Thing::File(std::fs::read(&path).unwrap()),
                kind if kind.is_symlink() => Thing::Link(std::fs::read_link(&path).unwrap()),
                kind => Thing::Other(format!("{kind:?}")),
            };
            if kind.is_dir() {
                waiting.push(path.clone());
            }
            found.insert(path, thing);
        }
    }
    found
}

/// Where an option's file is, without links on the way to it.
fn named(line: &[String], option: &str) -> Option<PathBuf> {
    let at = line.iter().position(|argument| argument == option)?;
    let path = Path::new(line.get(at + 1)?);
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

/// Whether a file is an index or a shard of that output.
fn is_of(output: &Path, path: &Path) -> bool {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let stem = output.file_stem().unwrap().to_str().unwrap().to_owned();
    let shard = name(path).starts_with(&format!("{stem}-0")) && name(path).ends_with(".safetensors");
    path.parent() == output.parent() && (shard || name(path) == name(output) + ".index.json")
}

/// Whether bytes are weights or an index that this program wrote.
fn is_ours(thing: &Thing) -> bool {
    let all = &*CONTENTS;
    let Thing::File(bytes) = thing else { return false };
    *bytes == all.mlx || *bytes == all.index || all.shards.contains(bytes)
}

/// The exit code of a call.
fn call(line: &[String], through_program: bool) -> i32 {
    if through_program {
        let mut child = program();
        child.arg("convert").args(line).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        let until = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                child.kill().unwrap();
                panic!("it does not end: {line:?}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        return child.wait().unwrap().code().expect("it ended by itself");
    }
    let Ok(line) = Line::try_parse_from(std::iter::once("convert".to_owned()).chain(line.iter().cloned())) else {
        return 2;
    };
    match convert::run(&line.common, &line.arguments) {
        Ok(t2m_tui::exit::Exit::Fine) => 0,
        Ok(_) => 1,
        Err(_) => 2,
    }
}

/// Try one case; whether something was written.
fn case(number: usize) -> bool {
    let mut random = ChaCha8Rng::seed_from_u64(number as u64);
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let root = folder.path().canonicalize().unwrap();
    fill(&root, &mut random);
    let line = arguments(&root, &mut random);
    let before = snapshot(&root);
    let code = call(&line, number.is_multiple_of(PROGRAM));
    let after = snapshot(&root);
    let about = || format!("T2M_CASE={number}, exit {code}: convert {}", line.join(" "));
    assert!(matches!(code, 0..=2), "{}", about());

    let forced = line.iter().any(|argument| argument == "--force");
    let output = named(&line, "-o");
    let map = named(&line, "--map").filter(|_| !line.iter().any(|argument| argument == "--reverse"));
    for (path, thing) in &before {
        if after.get(path) == Some(thing) {
            continue;
        }
        assert!(code == 0 && forced && matches!(thing, Thing::File(_)), "{}\n{}: {thing:?}", about(), path.display());
        let is_named = output.as_ref() == Some(path) || map.as_ref() == Some(path);
        let follows = output.as_ref().is_some_and(|output| is_of(output, path)) && is_ours(thing);
        assert!(is_named || follows, "{}\n{} was another file", about(), path.display());
    }
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        assert!(code == 0, "{}\n{} was left behind", about(), path.display());
        let is_named = output.as_ref() == Some(path) || map.as_ref() == Some(path);
        let follows = output.as_ref().is_some_and(|output| is_of(output, path));
        assert!(is_named || follows, "{}\n{} is nobody's", about(), path.display());
    }
    code == 0
}

#[test]
fn every_file_that_was_there_has_its_bytes() {
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse::<usize>().expect(name));
    if let Some(only) = number("T2M_CASE") {
        println!("case {only} wrote: {}", case(only));
        return;
    }
    let cases = number("T2M_CASES").unwrap_or(CASES);
    let (next, wrote) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < cases) {
                    wrote.fetch_add(usize::from(case(number)), Ordering::Relaxed);
                }
            });
        }
    });
    let wrote = wrote.into_inner();
    println!("{cases} cases, of which {wrote} wrote something");
    // Cases that are all refused would show nothing.
    assert!(wrote >= cases / 8, "only {wrote} of {cases} wrote something");
}
