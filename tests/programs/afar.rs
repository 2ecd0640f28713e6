//! Checkpoints at a web server: what is fetched, and that it is what lies there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::pty::Terminal;
use crate::common::server::{Body, Reply, Server};
use crate::common::{self, archive, json, stderr};

/// Folders of a user who has never run anything.
pub struct User(pub TempDir);

impl User {
    pub fn new() -> User {
        User(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program, with nothing of the developer's own networks, tokens and caches.
    pub fn program(&self) -> Command {
        let mut program = common::program();
        for (name, _) in std::env::vars() {
            let of_networks = ["HF_", "HUGGING", "TRANSFORMERS_", "AWS_", "SSL_", "T2M_REMOTE"];
            if of_networks.iter().any(|of| name.starts_with(of)) || name.to_lowercase().ends_with("_proxy") {
                program.env_remove(name);
            }
        }
        program.env("HOME", self.0.path()).env("XDG_CACHE_HOME", self.path("cache"));
        program.env("T2M_REMOTE_TIMEOUT", "2");
        program
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.program().args(arguments).output().unwrap()
    }
}

/// A report without what depends on where the file is.
fn placeless(output: &Output) -> Value {
    let mut report = json(output);
    report["checkpoint"]["path"] = Value::Null;
    report
}

/// The last line of stderr that says what was fetched: bytes as they are written, requests.
pub fn told(output: &Output) -> String {
    let words = stderr(output);
    words.lines().rev().find(|line| line.contains("fetched ")).unwrap_or_else(|| panic!("{words}")).to_owned()
}

/// A server of one folder.
pub fn folder_server(folder: PathBuf) -> Server {
    Server::start(move |asked| match std::fs::read(folder.join(asked.path().trim_start_matches('/'))) {
        Ok(content) => Reply::file(asked, &content, "\"one\""),
        Err(_) => Reply::missing(),
    })
}

#[test]
fn files_of_every_format_read_the_same_from_a_server() {
    let user = User::new();
    let server = folder_server(PathBuf::from("tests/fixtures"));
    let formats = [
        "state_dict.pt",
        "module.pt",
        "module_in_checkpoint.pt",
        "trainer.pt",
        "big_endian.pt",
        "odd_tensors.pt",
        "quantised.pt",
        "state_dict.safetensors",
        "legacy/state_dict.pth",
        "legacy/module.pth",
        "graphs/resnet.pt2",
        "graphs/steps.pt",
    ];
    let mut seen = 0;
    for name in formats {
        let Ok(here) = Path::new("tests/fixtures").join(name).canonicalize() else { continue };
        let (here, there) = (here.to_str().unwrap().to_owned(), server.url(&format!("/{name}")));
        let near = user.run(&["inspect", &here, "--format", "json"]);
        let far = user.run(&["inspect", &there, "--format", "json"]);
        assert!(far.status.success(), "{name}: {}", stderr(&far));
        assert_eq!(placeless(&far), placeless(&near), "{name}");
        assert_eq!(json(&far)["checkpoint"]["path"], there.as_str());
        assert!(told(&far).contains(&format!("t2m-tui: {there}: fetched ")), "{}", told(&far));
        assert!(!stderr(&near).contains("fetched"));
        // Tensors too: what is checked is read whole.
        let (near, far) = (user.run(&["inspect", &here, "--check"]), user.run(&["inspect", &there, "--check"]));
        assert_eq!(near.status.code(), far.status.code(), "{name}");
        let behind = |output: &Output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(behind(&far), behind(&near), "{name}");
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn of_a_large_archive_directory_and_pickle_are_fetched_and_nothing_else() {
    let user = User::new();
    // What torch writes: the pickle first, then the storages, here 40 MB of them.
    let (large, pickle) = large_archive(40 << 20);
    let length = large.len() as u64;
    let asked_for = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked_for);
    let server = Server::start(move |asked| {
        noted.lock().unwrap().extend(asked.range(large.len() as u64));
        if asked.path() == "/large.pt" { Reply::file(asked, &large, "\"v1\"") } else { Reply::missing() }
    });
    let url = server.url("/large.pt");
    let first = user.run(&["inspect", &url, "--format", "json"]);
    assert!(first.status.success(), "{}", stderr(&first));
    assert_eq!(json(&first)["tensors"][0]["bytes"], 40 << 20);
    let (requests, sent) = (server.take(), server.take_sent());
    // Head with the pickle; the end with the directory; a config.json that is not there.
    assert!(requests.len() <= 6, "{requests:?}");
    assert!(sent < 200_000 + pickle, "{sent}");
    for range in asked_for.lock().unwrap().drain(..) {
        let is_at_an_end = range.end < 64 << 10 || range.start > length - (128 << 10);
        assert!(is_at_an_end, "{range:?} of {length}");
    }
    // A second time what it is is asked, and nothing is fetched twice but that first block.
    let second = user.run(&["inspect", &url, "--format", "json"]);
    assert_eq!(second.stdout, first.stdout);
    assert!(server.take().len() <= 3 && server.take_sent() <= 20_000);
    // Another version of it has nothing of that.
    let words = told(&first);
    assert!(words.contains(" of 40.0 MiB in ") && words.contains("KiB"), "{words}");
}

/// An archive of one tensor of so many bytes, and the length of its pickle.
fn large_archive(bytes: usize) -> (Vec<u8>, u64) {
    let elements = bytes / 4;
    let mut pickle = b"\x80\x02}q\x00X\x06\x00\x00\x00weightq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\x00\x00\x00storageq\x03ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05X\x03\x00\x00\x00cpuq\x06J".to_vec();
    pickle.extend((elements as i32).to_le_bytes());
    pickle.extend(b"tq\x07QK\x00J");
    pickle.extend((elements as i32).to_le_bytes());
    pickle.extend(b"\x85q\x08K\x01\x85q\x09\x89ccollections\nOrderedDict\nq\x0a)Rq\x0btq\x0cRq\x0ds.");
    let records = [
        archive::Record::stored("large/data.pkl", &pickle),
        archive::Record::stored("large/byteorder", b"little"),
        archive::Record::stored("large/data/0", &vec![1; bytes]),
        archive::Record::stored("large/version", b"3\n"),
    ];
    (archive::zip(&records), pickle.len() as u64)
}

#[test]
fn a_tensor_that_is_wanted_is_fetched() {
    let user = User::new();
    let mut file = archive::safetensors(&[("a.weight", &[64, 64]), ("b.weight", &[1024, 1024])]);
    let start = file.len() - 4 * 1024 * 1024;
    for (at, byte) in file[start..].iter_mut().enumerate() {
        *byte = (at / 4 % 4 == 0) as u8 * 63;
    }
    let here = user.path("model.safetensors");
    std::fs::write(&here, &file).unwrap();
    let server = Server::start(move |asked| match asked.path() {
        "/model.safetensors" => Reply::file(asked, &file, "\"v1\""),
        _ => Reply::missing(),
    });
    let out = |name: &str| user.path(name).to_str().unwrap().to_owned();
    let near = user.run(&["convert", here.to_str().unwrap(), "-o", &out("near.safetensors")]);
    let far = user.run(&["convert", &server.url("/model.safetensors"), "-o", &out("far.safetensors")]);
    assert!(near.status.success() && far.status.success(), "{}", stderr(&far));
    assert_eq!(std::fs::read(out("far.safetensors")).unwrap(), std::fs::read(out("near.safetensors")).unwrap());
    // Written, read back and hashed, and fetched once.
    assert!(server.take_sent() < 4_500_000, "fetched once");
    let compared = user.run(&["compare", here.to_str().unwrap(), &server.url("/model.safetensors")]);
    assert!(compared.status.success(), "{}", stderr(&compared));
}

#[test]
fn shards_beside_an_index_are_found() {
    let user = User::new();
    let folder = tempfile::tempdir().unwrap();
    let shard = |name: &str, tensor: &str| {
        std::fs::write(folder.path().join(name), archive::safetensors(&[(tensor, &[4, 4])])).unwrap();
    };
    shard("model-00001-of-00002.safetensors", "a.weight");
    shard("model-00002-of-00002.safetensors", "b.weight");
    let map = r#"{"weight_map": {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}}"#;
    std::fs::write(folder.path().join("model.safetensors.index.json"), map).unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "llama", "hidden_size": 4}"#).unwrap();
    let server = folder_server(folder.path().to_owned());
    let index = folder.path().join("model.safetensors.index.json");
    let near = user.run(&["inspect", index.to_str().unwrap(), "--format", "json"]);
    let far = user.run(&["inspect", &server.url("/model.safetensors.index.json"), "--format", "json"]);
    assert!(far.status.success(), "{}", stderr(&far));
    assert_eq!(placeless(&far), placeless(&near));
    assert_eq!(json(&far)["checkpoint"]["shards"], 2);
}

#[test]
fn a_file_here_is_opened_without_any_network() {
    let user = User::new();
    let server = Server::start(|_| Reply::missing());
    let mut program = user.program();
    // Whoever asked anybody would ask these.
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "HF_ENDPOINT", "AWS_ENDPOINT_URL"] {
        program.env(name, server.url(""));
    }
    let output = program.args(["inspect", "tests/fixtures/state_dict.pt"]).output().unwrap();
    assert!(output.status.success() && !stderr(&output).contains("fetched"), "{}", stderr(&output));
    assert!(server.take().is_empty());
    assert!(!user.path("cache").exists(), "and nothing is made in the cache");
    // Settings that make no sense are nobody's business there.
    let mut program = user.program();
    program.env("HF_ENDPOINT", "nonsense").env("HF_TOKEN", "two words").env("T2M_REMOTE_CACHE", "much");
    assert!(program.args(["inspect", "tests/fixtures/state_dict.pt"]).output().unwrap().status.success());
}

#[test]
fn a_server_without_parts_is_told_and_bounded() {
    let user = User::new();
    let small = archive::safetensors(&[("a.weight", &[64, 64])]);
    let large = archive::safetensors(&[("a.weight", &[512, 1024])]);
    let server = Server::start(move |asked| match asked.path() {
        "/small.safetensors" => Reply::new(200, small.clone()),
        "/large.safetensors" => Reply::new(200, large.clone()),
        "/endless.safetensors" => Reply { body: Body::Endless, ..Reply::new(200, "") },
        _ => Reply::missing(),
    });
    let inspect = |name: &str, whole: &str| {
        let mut program = user.program();
        program.env("T2M_REMOTE_WHOLE", whole).args(["inspect", &server.url(name)]).output().unwrap()
    };
    let output = inspect("/small.safetensors", "1MB");
    assert!(output.status.success(), "{}", stderr(&output));
    let output = inspect("/large.safetensors", "1MB");
    assert_eq!(output.status.code(), Some(2));
    let words = stderr(&output);
    assert!(words.contains("sends whole files only, and this one has 2097"), "{words}");
    assert!(words.contains("T2M_REMOTE_WHOLE=SIZE allows more"), "{words}");
    assert!(inspect("/large.safetensors", "1GB").status.success());
    let words = stderr(&inspect("/endless.safetensors", "1GB"));
    assert!(words.contains("says neither how long the file is"), "{words}");
}

#[test]
fn a_file_that_changes_between_two_requests_is_told() {
    let user = User::new();
    let file = archive::safetensors(&[("a.weight", &[64, 64]), ("b.weight", &[64, 1024])]);
    for obeys in [true, false] {
        let (file, count) = (file.clone(), AtomicUsize::new(0));
        let server = Server::start(move |asked| {
            if asked.path() != "/model.safetensors" {
                return Reply::missing();
            }
            let tag = if count.fetch_add(1, Ordering::SeqCst) == 0 { "\"v1\"" } else { "\"v2\"" };
            let mut asked = asked.clone();
            if !obeys {
                asked.headers.remove("if-range");
            }
            Reply::file(&asked, &file, tag)
        });
        let output = user.run(&["inspect", "--check", &server.url("/model.safetensors")]);
        let words = format!("{}{}", stderr(&output), String::from_utf8_lossy(&output.stdout));
        assert!(words.contains("changed between two requests"), "{words}");
        assert_eq!(output.status.code(), Some(1), "{words}");
    }
}

#[test]
fn lies_and_silence_end_in_a_sentence() {
    let user = User::new();
    let file = archive::safetensors(&[("a.weight", &[64, 64])]);
    let content = file.clone();
    let server = Server::start(move |asked| {
        let whole = || Reply::file(asked, &file, "\"v1\"");
        let without = |name: &str| {
            let mut reply = whole();
            reply.headers.retain(|(known, _)| known != name);
            reply
        };
        match asked.path() {
            "/none.pt" => without("Content-Range"),
            "/other.pt" => without("Content-Range").with("Content-Range", "bytes 7-99/1000"),
            "/beyond.pt" => without("Content-Range").with("Content-Range", "bytes 0-16383/100"),
            "/count.pt" => without("Content-Range").with("Content-Range", "bytes 0-99/100000"),
            "/packed.pt" => whole().with("Content-Encoding", "gzip"),
            "/short.pt" => {
                let part = asked.range(file.len() as u64).unwrap();
                Reply { body: Body::Broken(vec![0; 100]), length: Some(part.end - part.start), ..whole() }
            }
            "/long.pt" => Reply { body: Body::Endless, ..whole() },
            "/silent.pt" => Reply { body: Body::Silent(vec![0; 100]), length: Some(16384), ..whole() },
            "/drip.pt" => Reply { body: Body::Drip(vec![0; 16384], std::time::Duration::from_millis(300)), ..whole() },
            "/login.pt" => Reply::new(200, "<!doctype html><p>Log in"),
            "/401.pt" => Reply::new(401, ""),
            "/429.pt" => Reply::new(429, "").with("Retry-After", "3600"),
            "/500.pt" => Reply::new(500, ""),
            "/loop.pt" => Reply::redirect("/loop.pt"),
            "/nowhere.pt" => Reply::redirect("ftp://host/x"),
            _ => Reply::missing(),
        }
    });
    assert!(content.len() > 16384);
    for (path, wanted) in [
        ("none", "without a sound Content-Range: none"),
        ("other", "bytes 0 to 16383 were asked for, it sends 7 to 99"),
        ("beyond", "without a sound Content-Range"),
        ("count", "it says that it sends bytes 0 to 99, which are not 16384 bytes"),
        ("packed", "sends it compressed"),
        ("short", "it breaks off again and again"),
        ("long", "sends more than the 16384 bytes that were asked for"),
        ("silent", "T2M_REMOTE_TIMEOUT sets another number"),
        ("drip", "T2M_REMOTE_TIMEOUT sets another number"),
        ("login", "is an HTML or XML page"),
        ("401", "401 Unauthorized: the server wants to know who asks"),
        ("404", "404 Not Found: no file is there; check the address"),
        ("429", "asks to be left alone for 3600 seconds"),
        ("500", "500 Internal Server Error, 3 times"),
        ("loop", "redirects more than 5 times"),
        ("nowhere", "redirects elsewhere, but an address begins with https://"),
    ] {
        let url = server.url(&format!("/{path}.pt"));
        let child = user.program().args(["inspect", &url]).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let output = common::finish(child, path);
        let words = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{path}: {words}");
        assert!(words.contains(wanted) && words.contains(&url), "{path}: {words}");
        assert!(server.take().len() <= 6, "{path}");
    }
    // Nobody listens.
    drop(server);
    let words = stderr(&user.run(&["inspect", "http://127.0.0.1:1/model.pt"]));
    assert!(words.contains("nobody answers: the connection is refused"), "{words}");
    let words = stderr(&user.run(&["inspect", "http://127.0.0.1:1/models/"]));
    assert!(words.contains("names no file"), "{words}");
    let words = stderr(&user.run(&["inspect", "ftp://host/model.pt"]));
    assert!(words.contains("addresses begin with hf://, https:// or s3://"), "{words}");
}

#[test]
fn a_busy_server_is_asked_again() {
    let user = User::new();
    let file = archive::safetensors(&[("a.weight", &[64, 64])]);
    let count = AtomicUsize::new(0);
    let server = Server::start(move |asked| match (asked.path(), count.fetch_add(1, Ordering::SeqCst)) {
        ("/model.safetensors", 0) => Reply::new(503, "").with("Retry-After", "0"),
        ("/model.safetensors", 1) => Reply {
            body: Body::Broken(file[..5000].to_vec()),
            length: Some(16384),
            ..Reply::file(asked, &file, "\"v\"")
        },
        ("/model.safetensors", _) => Reply::file(asked, &file, "\"v\""),
        _ => Reply::missing(),
    });
    let output = user.run(&["inspect", &server.url("/model.safetensors")]);
    assert!(output.status.success(), "{}", stderr(&output));
    // What came before it broke was kept: the third goes on behind it.
    let starts: Vec<_> =
        server.take().iter().filter_map(|asked| asked.range(1 << 40)).map(|range| range.start).collect();
    assert!(starts.starts_with(&[0, 0]), "{starts:?}");
}

#[test]
fn passwords_are_sent_to_their_server_alone_and_shown_nowhere() {
    let user = User::new();
    let file = archive::safetensors(&[("a.weight", &[64, 64])]);
    let other = Server::start(move |asked| Reply::file(asked, &file, "\"v\""));
    let elsewhere = other.url("/cdn/model.safetensors?signature=secret2");
    let server = Server::start(move |asked| match asked.path() {
        "/model.safetensors" => Reply::redirect(&elsewhere),
        _ => Reply::missing(),
    });
    let url = server.url("/model.safetensors?token=secret3").replace("http://", "http://me:secret1@");
    let output = user.run(&["inspect", &url, "--format", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let told = server.take();
    assert_eq!(told[0].header("authorization"), Some("Basic bWU6c2VjcmV0MQ=="));
    assert_eq!(told[0].target, "/model.safetensors?token=secret3");
    assert!(other.take().iter().all(|asked| asked.header("authorization").is_none()));
    let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(!all.contains("secret"), "{all}");
}

#[test]
fn a_proxy_is_asked_unless_the_host_is_spared() {
    let user = User::new();
    let file = archive::safetensors(&[("a.weight", &[64, 64])]);
    let server = Server::start(move |asked| match asked.path() {
        "/model.safetensors" => Reply::file(asked, &file, "\"v\""),
        _ => Reply::missing(),
    });
    let proxy = Server::start(|_| Reply::new(400, "a proxy is given CONNECT"));
    let inspect = |spared: &str| {
        let mut program = user.program();
        program.env("HTTP_PROXY", proxy.url("")).env("NO_PROXY", spared);
        program.args(["inspect", &server.url("/model.safetensors")]).output().unwrap()
    };
    let output = inspect("example.org");
    assert!(output.status.success(), "{}", stderr(&output));
    let connected = proxy.take();
    assert_eq!((connected[0].method.as_str(), connected[0].target.clone()), ("CONNECT", server.address.to_string()));
    assert!(inspect("127.0.0.1").status.success() && proxy.take().is_empty());
    let mut program = user.program();
    program.env("HTTP_PROXY", "http://127.0.0.1:1");
    let output = program.args(["inspect", &server.url("/model.safetensors")]).output().unwrap();
    assert!(stderr(&output).contains("through the proxy 127.0.0.1:1"), "{}", stderr(&output));
}

#[test]
fn what_cannot_be_kept_is_not_converted_from_there() {
    let user = User::new();
    let file = archive::safetensors(&[("a.weight", &[512, 1024])]);
    let server = Server::start(move |asked| match asked.path() {
        "/model.safetensors" => Reply::file(asked, &file, "\"v\""),
        _ => Reply::missing(),
    });
    let convert = |most: &str| {
        let out = user.path("out.safetensors");
        let mut program = user.program();
        program.env("T2M_REMOTE_CACHE", most).args(["convert", &server.url("/model.safetensors"), "-o"]);
        program.arg(out).output().unwrap()
    };
    let output = convert("1MB");
    let words = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("its 2.0 MiB are more than the 976.6 KiB that are kept"), "{words}");
    assert!(words.contains("T2M_REMOTE_CACHE=SIZE keeps more"), "{words}");
    assert!(server.take_sent() < 40_000, "the header alone was fetched");
    let output = convert("10MB");
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A server that takes a request and says nothing, and the program waiting for it.
fn waiting(user: &User, arguments: &[&str]) -> (Server, std::process::Child) {
    let server = Server::start(|_| Reply { body: Body::Silent(Vec::new()), length: Some(100), ..Reply::new(200, "") });
    let mut program = user.program();
    program.env("T2M_REMOTE_TIMEOUT", "600").args(arguments).arg(server.url("/model.pt"));
    let child = program.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    (server, child)
}

fn until_asked(server: &Server) {
    for _ in 0..30_000 {
        if !server.take().is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    panic!("nobody asked");
}

#[test]
fn an_interrupt_ends_the_wait() {
    let user = User::new();
    let (server, child) = waiting(&user, &["inspect"]);
    until_asked(&server);
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = common::finish(child, "inspect");
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
}

#[test]
fn the_screen_is_left_while_a_server_is_silent() {
    let user = User::new();
    let server = Server::start(|_| Reply { body: Body::Silent(Vec::new()), length: Some(100), ..Reply::new(200, "") });
    let (home, url) = (user.path("").to_str().unwrap().to_owned(), server.url("/model.pt"));
    let environment =
        [("HOME", home.as_str()), ("XDG_CACHE_HOME", &home), ("T2M_REMOTE_TIMEOUT", "600"), ("NO_PROXY", "*")];
    let mut terminal = Terminal::start(&[&url], &environment, 80, 24);
    terminal.wait_for("opening");
    until_asked(&server);
    terminal.send("q");
    assert!(terminal.wait_end().success());
}

#[test]
fn an_encrypted_server_is_asked_if_somebody_vouches_for_it() {
    let user = User::new();
    let file = archive::safetensors(&[("a.weight", &[64, 64])]);
    let plain = Server::start(|_| Reply::missing());
    let down = plain.url("/model.safetensors");
    let server = Server::encrypted(move |asked| match asked.path() {
        "/model.safetensors" => Reply::file(asked, &file, "\"v\""),
        "/down.safetensors" => Reply::redirect(&down),
        _ => Reply::missing(),
    });
    let inspect = |authority: Option<&str>, path: &str| {
        let mut program = user.program();
        program.envs(authority.map(|authority| ("SSL_CERT_FILE", authority)));
        program.args(["inspect", &server.url(path)]).output().unwrap()
    };
    let words = stderr(&inspect(None, "/model.safetensors"));
    assert!(words.contains("its certificate is not trusted") && words.contains("SSL_CERT_FILE names"), "{words}");
    assert!(server.take().is_empty(), "and nothing was said to it");
    let ours = Some("tests/fixtures/tls/authority.pem");
    let output = inspect(ours, "/model.safetensors");
    assert!(output.status.success(), "{}", stderr(&output));
    // From there nothing leads to what is not encrypted.
    let words = stderr(&inspect(ours, "/down.safetensors"));
    assert!(words.contains("which is not encrypted; that is not followed"), "{words}");
    assert!(plain.take().is_empty());
    let words = stderr(&inspect(Some("Cargo.toml"), "/model.safetensors"));
    assert!(words.contains("SSL_CERT_FILE=Cargo.toml: holds no certificates"), "{words}");
}
