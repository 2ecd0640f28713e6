//! An index of shards beside two sound shards, a `config.json` beside it, and links to the shards under other names.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use t2m_checkpoint::Checkpoint;
use t2m_tui_fuzz::{archive, look, parts, within_bound};

/// A folder of this process, with two shards.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("t2m-fuzz-index-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let shard = archive::torch(&archive::dict(archive::tensor(0, &[4], &[1])).pickle());
    for name in ["a.bin", "b.bin"] {
        std::fs::write(folder.join(name), &shard).expect("a shard");
    }
    folder
});

/// More links than a mutated index will name.
const MOST_LINKS: usize = 32;

/// Make a link for each byte: `l0.bin`, `l1.bin`, … to one of the shards, or to the link before, hard or symbolic.
fn link(kinds: &[u8]) {
    for (number, kind) in kinds.iter().take(MOST_LINKS).enumerate() {
        let shard = if kind & 1 == 0 { "a.bin" } else { "b.bin" };
        let to = if kind & 4 == 0 || number == 0 { shard.to_owned() } else { format!("l{}.bin", number - 1) };
        let path = FOLDER.join(format!("l{number}.bin"));
        let made = if kind & 2 == 0 {
            std::fs::hard_link(FOLDER.join(to), path)
        } else {
            std::os::unix::fs::symlink(to, path)
        };
        made.expect("a link");
    }
}

fn unlink() {
    for number in 0..MOST_LINKS {
        let _ = std::fs::remove_file(FOLDER.join(format!("l{number}.bin")));
    }
}

fuzz_target!(|data: &[u8]| {
    let [index, config, links] = parts(data);
    unlink();
    link(links);
    let path = FOLDER.join("model.index.json");
    std::fs::write(&path, index).expect("the index");
    std::fs::write(FOLDER.join("config.json"), config).expect("the configuration");
    within_bound(data.len() + 2_000, || {
        look(Checkpoint::open(&path));
        look(Checkpoint::open(&FOLDER));
    });
});
