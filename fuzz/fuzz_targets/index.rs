//! An index of shards beside two sound shards, and a `config.json` beside it.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use t2m_tui::checkpoint::Checkpoint;
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

fuzz_target!(|data: &[u8]| {
    let [index, config] = parts(data);
    let path = FOLDER.join("model.index.json");
    std::fs::write(&path, index).expect("the index");
    std::fs::write(FOLDER.join("config.json"), config).expect("the configuration");
    within_bound(data.len() + 2_000, || {
        look(Checkpoint::open(&path));
        look(Checkpoint::open(&FOLDER));
    });
});
