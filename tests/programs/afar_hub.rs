//! Models at the hub: what is listed, fetched, redirected, refused, and found in the hub's own cache.

use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::{Value, json as value};

use super::afar::{User, told};
use crate::common::server::{Asked, Reply, Server};
use crate::common::{archive, json, stderr};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Shards of the large model, and how long each is.
const SHARDS: usize = 12;
const SHARD: u64 = 5_000_000_000;

/// A file at the hub: its beginning, its length, and whether it is among the large ones, which are elsewhere.
#[derive(Clone)]
struct File {
    path: String,
    head: Vec<u8>,
    length: u64,
    large: bool,
}

impl File {
    fn small(path: &str, content: impl Into<Vec<u8>>) -> File {
        let head = content.into();
        File { path: path.to_owned(), length: head.len() as u64, head, large: false }
    }

    fn id(&self) -> String {
        format!("{:040x}", self.length * 31 + self.path.len() as u64)
    }
}

/// The header of a shard of one layer's tensors, of `SHARD` bytes with them.
fn shard(number: usize, tensors: &mut serde_json::Map<String, Value>, name: &str) -> File {
    let (mut header, mut end) = (serde_json::Map::new(), 0u64);
    for (part, shape) in
        [("q_proj", [4096u64, 4096]), ("k_proj", [1024, 4096]), ("v_proj", [1024, 4096]), ("o_proj", [4096, 4096])]
    {
        let tensor = format!("model.layers.{number}.self_attn.{part}.weight");
        let start = end;
        end += 2 * shape[0] * shape[1];
        header.insert(tensor.clone(), value!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}));
        tensors.insert(tensor, Value::from(name));
    }
    // The rest is one large table, so that the file is as long as it is.
    let tensor = format!("model.layers.{number}.table.weight");
    tensors.insert(tensor.clone(), Value::from(name));
    let rest = SHARD - 4096 - 8 - end;
    header.insert(tensor, value!({"dtype": "I8", "shape": [rest], "data_offsets": [end, end + rest]}));
    let mut text = Value::Object(header).to_string();
    text.push_str(&" ".repeat(4096 - text.len()));
    let head = [4096u64.to_le_bytes().as_slice(), text.as_bytes()].concat();
    File { path: name.to_owned(), head, length: SHARD, large: true }
}

/// A model of 60 GB.
fn large_model() -> Vec<File> {
    let mut map = serde_json::Map::new();
    let shards: Vec<File> = (0..SHARDS)
        .map(|number| shard(number, &mut map, &format!("model-{:05}-of-{SHARDS:05}.safetensors", number + 1)))
        .collect();
    let index = value!({"metadata": {"total_size": SHARD * SHARDS as u64}, "weight_map": map}).to_string();
    let config = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096}"#;
    let mut files = vec![
        File::small("README.md", "# A model"),
        File::small("config.json", config),
        File::small("model.safetensors.index.json", index),
        File { path: "onnx/model.onnx".to_owned(), head: Vec::new(), length: SHARD, large: true },
    ];
    files.extend(shards);
    files
}

/// What the hub says of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Sound,
    /// A listing in pages of four.
    Pages,
    /// No trees: names alone.
    NamesAlone,
    /// Who asks must have the token `hf_good`.
    Gated,
}

/// A hub with one model, `org/name`, and the server that has its large files.
struct HubServer {
    hub: Server,
    elsewhere: Server,
}

impl HubServer {
    fn start(files: Vec<File>, manner: Manner) -> HubServer {
        let files = Arc::new(files);
        let large = Arc::clone(&files);
        let elsewhere =
            Server::start(move |asked| match large.iter().find(|file| asked.path() == format!("/cdn/{}", file.path)) {
                Some(file) => Reply::long_file(asked, &file.head, file.length, &format!("\"{}\"", file.id())),
                None => Reply::missing(),
            });
        let to = elsewhere.url("/cdn/");
        let hub = Server::start(move |asked| answer(asked, &files, manner, &to));
        HubServer { hub, elsewhere }
    }

    fn program(&self, user: &User) -> Command {
        let mut program = user.program();
        program.env("HF_ENDPOINT", self.hub.url(""));
        program
    }

    fn run(&self, user: &User, arguments: &[&str]) -> Output {
        self.program(user).args(arguments).output().unwrap()
    }
}

fn answer(asked: &Asked, files: &[File], manner: Manner, elsewhere: &str) -> Reply {
    if manner == Manner::Gated && asked.header("authorization") != Some("Bearer hf_good") {
        return Reply::new(401, "")
            .with("X-Error-Code", "GatedRepo")
            .with("X-Error-Message", "Access to model org/name is restricted.");
    }
    let path = asked.path();
    if let Some(revision) = path.strip_prefix("/api/models/org/name/revision/") {
        if !["main", "v1", "refs%2Fpr%2F1", COMMIT].contains(&revision) {
            return Reply::missing().with("X-Error-Code", "RevisionNotFound");
        }
        let siblings: Vec<Value> = files.iter().map(|file| value!({"rfilename": file.path})).collect();
        return Reply::json(&value!({"sha": COMMIT, "siblings": siblings}));
    }
    if path == format!("/api/models/org/name/tree/{COMMIT}") && manner != Manner::NamesAlone {
        let entries: Vec<Value> = files
            .iter()
            .map(|file| {
                let mut entry = value!({"type": "file", "path": file.path, "size": file.length, "oid": file.id()});
                if file.large {
                    entry["lfs"] = value!({"oid": format!("{}f", file.id()), "size": file.length, "pointerSize": 134});
                }
                entry
            })
            .chain([value!({"type": "directory", "path": "onnx", "oid": "0", "size": 0})])
            .collect();
        if manner != Manner::Pages {
            return Reply::json(&Value::from(entries));
        }
        let from: usize = asked.target.split("cursor=").nth(1).map_or(0, |cursor| cursor.parse().unwrap());
        let page = Reply::json(&Value::from(entries[from..entries.len().min(from + 4)].to_vec()));
        return if from + 4 < entries.len() {
            page.with("Link", format!("<{path}?recursive=true&cursor={}>; rel=\"next\"", from + 4))
        } else {
            page
        };
    }
    let file = path.strip_prefix(&format!("/org/name/resolve/{COMMIT}/"));
    match file.and_then(|path| files.iter().find(|file| file.path == path)) {
        Some(file) if file.large => {
            Reply::redirect(format!("{elsewhere}{}?X-Amz-Signature=s", file.path)).with("X-Linked-Size", file.length)
        }
        Some(file) => Reply::file(asked, &file.head, &format!("\"{}\"", file.id())),
        None => Reply::missing()
            .with("X-Error-Code", if path.starts_with("/org/name") { "EntryNotFound" } else { "RepoNotFound" }),
    }
}

#[test]
fn of_sixty_gigabytes_the_headers_are_fetched() {
    let user = User::new();
    let server = HubServer::start(large_model(), Manner::Sound);
    let output = server.run(&user, &["inspect", "hf://org/name", "--format", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&output);
    let checkpoint = &report["checkpoint"];
    assert_eq!(
        (checkpoint["path"].as_str(), checkpoint["format"].as_str()),
        (Some("hf://org/name"), Some("hf-folder"))
    );
    assert_eq!(checkpoint["shards"], SHARDS);
    assert_eq!(report["tensors"].as_array().unwrap().len(), 5 * SHARDS);
    assert_eq!(report["modules"][0]["class"], "transformers.models.llama.modeling_llama.LlamaForCausalLM");
    // Two listings, the configuration, the index; a redirect and a block for each shard.
    let (at_hub, elsewhere) = (server.hub.take(), server.elsewhere.take());
    assert_eq!((at_hub.len(), elsewhere.len()), (4 + SHARDS, SHARDS), "{at_hub:#?}");
    let bytes = server.hub.take_sent() + server.elsewhere.take_sent();
    assert!(bytes < 250_000, "{bytes}");
    let words = told(&output);
    assert!(
        words.contains("hf://org/name: fetched ")
            && words.contains(&format!(" of 55.9 GiB in {} requests", 4 + 2 * SHARDS)),
        "{words}"
    );
    // The next time nothing of a file is asked for.
    let again = server.run(&user, &["inspect", "hf://org/name", "--format", "json"]);
    assert_eq!(again.stdout, output.stdout);
    assert_eq!((server.hub.take().len(), server.elsewhere.take().len()), (2, 0));
    // Nor for the same content under another name of its commit.
    assert!(server.run(&user, &["inspect", "hf://org/name@v1"]).status.success());
    assert_eq!(server.elsewhere.take().len(), 0);
    // One file of it.
    let one =
        server.run(&user, &["inspect", "hf://org/name@refs/pr/1/model-00003-of-00012.safetensors", "--format", "json"]);
    assert!(one.status.success(), "{}", stderr(&one));
    assert_eq!(json(&one)["tensors"].as_array().unwrap().len(), 5);
    // The page that one copies from a browser.
    let page = server.hub.url("/org/name/tree/main");
    let page = server.run(&user, &["inspect", &page, "--format", "json"]);
    assert_eq!(json(&page)["checkpoint"]["path"], "hf://org/name", "{}", stderr(&page));
}

#[test]
fn a_listing_may_come_in_pages_or_in_names_alone() {
    for (manner, listings) in [(Manner::Pages, 6), (Manner::NamesAlone, 2)] {
        let user = User::new();
        let server = HubServer::start(large_model(), manner);
        let output = server.run(&user, &["inspect", "hf://org/name", "--format", "json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(json(&output)["tensors"].as_array().unwrap().len(), 5 * SHARDS);
        let asked = server.hub.take();
        assert_eq!(asked.iter().filter(|asked| asked.path().starts_with("/api/")).count(), listings, "{asked:#?}");
    }
}

#[test]
fn a_token_stays_at_its_server() {
    let user = User::new();
    let server = HubServer::start(large_model(), Manner::Gated);
    let inspect = |token: Option<&str>| {
        let mut program = server.program(&user);
        program.envs(token.map(|token| ("HF_TOKEN", token)));
        program.args(["inspect", "hf://org/name"]).output().unwrap()
    };
    let none = inspect(None);
    let words = stderr(&none);
    assert_eq!(none.status.code(), Some(2), "{words}");
    for said in [
        "401 Unauthorized: the model is gated: ask for access at ",
        "/org/name, then set HF_TOKEN",
        "Access to model org/name is restricted.",
    ] {
        assert!(words.contains(said), "{words}");
    }
    let output = inspect(Some("hf_good"));
    assert!(output.status.success(), "{}", stderr(&output));
    let (at_hub, elsewhere) = (server.hub.take(), server.elsewhere.take());
    assert!(at_hub.iter().rev().take(4 + SHARDS).all(|asked| asked.header("authorization") == Some("Bearer hf_good")));
    assert_eq!(elsewhere.len(), SHARDS);
    assert!(elsewhere.iter().all(|asked| asked.header("authorization").is_none()), "the token travelled");
    // From the file that `hf auth login` writes.
    std::fs::create_dir_all(user.path("cache/huggingface")).unwrap();
    std::fs::write(user.path("cache/huggingface/token"), "hf_good\n").unwrap();
    assert!(inspect(None).status.success());
    let wrong = inspect(Some("hf_bad"));
    assert!(!stderr(&wrong).contains("hf_bad") && wrong.status.code() == Some(2), "{}", stderr(&wrong));
}

#[test]
fn what_is_not_there_is_said_with_the_way_out() {
    let user = User::new();
    let server = HubServer::start(large_model(), Manner::Sound);
    for (address, wanted) in [
        ("hf://org/other", "there is no model `org/other` with a revision `main`; HF_ENDPOINT names another hub"),
        ("hf://org/name@v9", "the model has no revision `v9`; hf://org/name@REVISION names another"),
        ("hf://org/name/nothing.pt", "hf://org/name/nothing.pt: "),
        ("hf://org/name/README.md", "is no PyTorch checkpoint"),
        ("hf://org/name/onnx", "is a folder without a checkpoint: it holds model.onnx"),
        ("hf://datasets/org/name", "only models are read"),
    ] {
        let output = server.run(&user, &["inspect", address]);
        let words = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{address}: {words}");
        assert!(words.contains(wanted), "{address}: {words}");
    }
    let mut program = user.program();
    program.env("HF_ENDPOINT", "http://127.0.0.1:1").args(["inspect", "hf://org/name"]);
    let words = stderr(&program.output().unwrap());
    assert!(words.contains("nobody answers"), "{words}");
}

#[test]
fn the_hubs_own_cache_is_used() {
    let user = User::new();
    let model = user.path("cache/huggingface/hub/models--org--name");
    let snapshot = model.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(model.join("refs")).unwrap();
    std::fs::create_dir_all(model.join("blobs")).unwrap();
    std::fs::write(model.join("refs/main"), COMMIT).unwrap();
    let weights = archive::safetensors(&[("a.weight", &[64, 64])]);
    std::fs::write(model.join("blobs/abc"), &weights).unwrap();
    std::os::unix::fs::symlink("../../blobs/abc", snapshot.join("model.safetensors")).unwrap();
    std::fs::write(snapshot.join("config.json"), r#"{"model_type": "llama"}"#).unwrap();
    let files = vec![
        File { path: "model.safetensors".into(), head: weights.clone(), length: weights.len() as u64, large: true },
        File::small("config.json", r#"{"model_type": "llama"}"#),
    ];
    let server = HubServer::start(files.clone(), Manner::Sound);
    // At work without a network: nobody is asked.
    let offline = |address: &str| {
        let mut program = server.program(&user);
        program.env("HF_HUB_OFFLINE", "1").args(["inspect", address, "--format", "json"]).output().unwrap()
    };
    let output = offline("hf://org/name");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(json(&output)["checkpoint"]["path"], "hf://org/name");
    assert_eq!(json(&output)["tensors"][0]["name"], "a.weight");
    assert!(server.hub.take().is_empty());
    let words = stderr(&offline("hf://org/name@v1"));
    assert!(words.contains("HF_HUB_OFFLINE is set") && words.contains("hf download org/name"), "{words}");
    // With one the revision is asked for, and no file that lies here.
    let online = server.run(&user, &["inspect", "hf://org/name", "--format", "json"]);
    assert_eq!(online.stdout, output.stdout);
    assert_eq!((server.hub.take().len(), server.elsewhere.take().len()), (2, 0));
    // A hub that does not answer leaves what is here.
    let mut program = user.program();
    program.env("HF_ENDPOINT", "http://127.0.0.1:1").args(["inspect", "hf://org/name", "--format", "json"]);
    assert_eq!(program.output().unwrap().stdout, output.stdout);
    // Half a file is none: its head is fetched.
    std::fs::write(model.join("blobs/abc"), &weights[..weights.len() - 1]).unwrap();
    assert!(server.run(&user, &["inspect", "hf://org/name"]).status.success());
    assert_eq!(server.elsewhere.take().len(), 1);
}

#[test]
fn a_damaged_cache_is_fetched_again() {
    let user = User::new();
    let server = HubServer::start(large_model(), Manner::Sound);
    let inspect = || server.run(&user, &["inspect", "hf://org/name", "--format", "json"]);
    let first = inspect();
    let folder = user.path("cache/t2m-tui/remote");
    let mut damaged = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.len() > 5000 {
            // In the middle of a header.
            bytes[3000] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged >= SHARDS, "{damaged}");
    server.elsewhere.take();
    let second = inspect();
    assert_eq!(second.stdout, first.stdout, "{}", stderr(&second));
    assert_eq!(server.elsewhere.take().len(), SHARDS);
}

#[test]
fn another_length_than_listed_is_told() {
    let user = User::new();
    let weights = archive::safetensors(&[("a.weight", &[64, 64])]);
    let file =
        File { path: "model.safetensors".into(), head: weights.clone(), length: weights.len() as u64, large: false };
    let server = HubServer::start(vec![File { length: file.length + 1, ..file }], Manner::Sound);
    let words = stderr(&server.run(&user, &["inspect", "hf://org/name"]));
    assert!(words.contains("the listing says"), "{words}");
    assert!(words.contains(&format!("it has {} bytes", weights.len())), "{words}");
}

#[test]
fn the_screen_says_what_was_fetched() {
    let user = User::new();
    let server = HubServer::start(large_model(), Manner::Sound);
    let script = user.path("script");
    std::fs::write(&script, "wait-for opened\nkeys j\n").unwrap();
    for (columns, rows) in [(80u16, 24u16), (120, 36), (160, 48)] {
        let (size, cast) = (format!("{columns}x{rows}"), user.path(&format!("{columns}.cast")));
        let arguments = ["hf://org/name", "--size", &size, "--play", script.to_str().unwrap(), "--record"];
        let output = server.program(&user).args(arguments).arg(&cast).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let mut screen = vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0);
        for line in std::fs::read_to_string(cast).unwrap().lines().skip(1) {
            let event: Value = serde_json::from_str(line).unwrap();
            screen.process(event[2].as_str().unwrap().as_bytes());
        }
        let drawn = screen.screen().contents();
        let first = drawn.lines().next().unwrap();
        assert!(first.contains("hf://org/name · fetched ") && first.contains(" of 55.9 GiB"), "{size}: {drawn}");
        assert!(told(&output).contains("requests"));
    }
}
