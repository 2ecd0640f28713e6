//! Whatever happens while `t2m-tui convert` runs, the target is whole or absent and the input untouched.
//!
//! Kills are spread over the time of a run, so that a few of them meet every part of it. More of them lie closer:
//!
//!     T2M_CASES=1000 cargo nextest run --test programs kill

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{program, stderr};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// Kills in a test run.
const KILLS: usize = 60;

/// A state dict whose tensors move, of that many bytes and some.
fn input(folder: &Path, bytes: usize) -> PathBuf {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let per_layer = 64 * 32 * 9 * 4;
    let shapes: Vec<(String, Vec<usize>)> = (0..bytes.div_ceil(per_layer))
        .flat_map(|layer| [(format!("c{layer}.weight"), vec![64, 32, 3, 3]), (format!("c{layer}.bias"), vec![64])])
        .collect();
    let data: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(_, shape)| {
            let mut bytes = vec![0u8; shape.iter().product::<usize>() * 4];
            random.fill(bytes.as_mut_slice());
            bytes
        })
        .collect();
    let views = shapes
        .iter()
        .zip(&data)
        .map(|((name, shape), data)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    let path = folder.join("in.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    path
}

fn command(input: &Path, output: &Path) -> Command {
    let mut command = program();
    command.arg("convert").arg(input).arg("-o").arg(output).arg("--force");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn kills() -> usize {
    std::env::var("T2M_CASES").map_or(KILLS, |number| number.parse().expect("T2M_CASES is a number"))
}

/// When to kill, as a share of a run: at a random moment of the part that is this kill's. Every part has a kill for each of
/// two cases. The first ones lie behind the end.
fn moment(kill: usize, random: &mut ChaCha8Rng) -> f64 {
    let parts = kills() as f64 / 2.0;
    1.25 * (1.0 - ((kill / 2) as f64 + random.random_range(0.0..1.0)) / parts)
}

/// Kill the run after this share of what a whole run takes; returns whether it was too late. What a run takes changes with
/// what else the machine does, so it is measured anew where the run ends first.
fn kill_at(mut command: Command, share: f64, takes: &mut Duration) -> bool {
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let pause = takes.mul_f64(share.max(0.0));
    while let Some(rest) = pause.checked_sub(started.elapsed()) {
        if child.try_wait().unwrap().is_some() {
            *takes = started.elapsed();
            return true;
        }
        std::thread::sleep(rest.min(Duration::from_millis(1)));
    }
    let finished = child.try_wait().unwrap().is_some();
    let _ = child.kill();
    child.wait().unwrap();
    if !finished && share > 1.0 {
        *takes = takes.mul_f64(1.25);
    }
    finished
}

#[test]
fn a_kill_at_any_moment_leaves_the_target_whole_or_absent() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 4 << 20);
    let before = std::fs::read(&input).unwrap();
    let whole = folder.path().join("whole.safetensors");
    let started = Instant::now();
    assert!(command(&input, &whole).status().unwrap().success());
    let mut takes = started.elapsed();
    let whole = std::fs::read(whole).unwrap();

    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let target = out.join("out.safetensors");
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let (mut absent, mut kept, mut present, mut late, mut leftovers) = (0, 0, 0, 0, 0);
    let kills = kills();
    for kill in 0..kills {
        // Half of them begin without a target, half replace one.
        let had = kill % 2 == 1;
        if had {
            std::fs::write(&target, "old").unwrap()
        } else {
            drop(std::fs::remove_file(&target))
        }
        late += usize::from(kill_at(command(&input, &target), moment(kill, &mut random), &mut takes));
        match std::fs::read(&target) {
            Ok(bytes) => {
                assert!(bytes == whole || (had && bytes == b"old"), "kill {kill}: the target is neither old nor whole");
                *(if bytes == whole { &mut present } else { &mut kept }) += 1;
            }
            Err(_) => {
                assert!(!had, "kill {kill}: the target that was there is gone");
                absent += 1;
            }
        }
        let left = names(&out).into_iter().filter(|name| name != "out.safetensors").collect::<Vec<_>>();
        assert!(left.len() <= 1, "kill {kill}: {left:?}");
        leftovers += left.len();
    }
    assert!(std::fs::read(&input).unwrap() == before);
    println!(
        "{kills} kills of a run of {takes:?}: target absent {absent}, the old one {kept}, whole {present}; {late} too late; {leftovers} left a file"
    );
    let some = kills / 20;
    assert!(absent > some && kept > some && leftovers > some, "{absent} {kept} {leftovers}");
    assert!(present > kills / 100, "{present}");
    // The next run, to another name too, takes away what the last one left.
    assert!(command(&input, &out.join("other.safetensors")).status().unwrap().success());
    let left: Vec<String> = names(&out).into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn killed_shards_are_no_model_without_their_index() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 2 << 20);
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let (target, index) = (out.join("m.safetensors"), out.join("m.safetensors.index.json"));
    let sharded = || {
        let mut command = command(&input, &target);
        command.args(["--max-shard-size", "500KB"]);
        command
    };
    let started = Instant::now();
    assert!(sharded().status().unwrap().success());
    let mut takes = started.elapsed();
    let mut random = ChaCha8Rng::seed_from_u64(13);
    let (mut whole, mut absent) = (0, 0);
    let kills = kills() / 2;
    for kill in 0..kills {
        kill_at(sharded(), moment(2 * kill, &mut random), &mut takes);
        assert!(!target.exists());
        let Ok(text) = std::fs::read(&index) else {
            absent += 1;
            continue;
        };
        let listed: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for shard in listed["weight_map"].as_object().unwrap().values() {
            let bytes = std::fs::read(out.join(shard.as_str().unwrap())).unwrap();
            SafeTensors::deserialize(&bytes).unwrap();
        }
        whole += 1;
    }
    println!("{kills} kills: index whole {whole}, absent {absent}");
    assert!(whole > kills / 15);
    assert!(sharded().status().unwrap().success());
    assert!(names(&out).iter().all(|name| !name.starts_with('.')), "{:?}", names(&out));
}

/// Run through a shell that sets limits.
fn limited(limit: &str, input: &Path, output: &Path) -> std::process::Output {
    let script = format!("trap '' XFSZ; {limit}; exec \"$@\"");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg("sh").arg(program().get_program());
    shell.arg("convert").arg(input).arg("-o").arg(output).arg("--force").output().unwrap()
}

#[test]
fn a_disk_that_is_full_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 2 << 20);
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let target = out.join("out.safetensors");
    // A limit of 512 KiB for a file of 2 MiB: writing fails as on a disk that is full.
    let full = limited("ulimit -f 1024", &input, &target);
    assert_eq!(full.status.code(), Some(2), "{}", stderr(&full));
    assert!(
        stderr(&full).contains("cannot be written") && stderr(&full).contains("nothing was left behind"),
        "{}",
        stderr(&full)
    );
    assert_eq!(names(&out), [""; 0]);
    std::fs::write(&target, "what was there").unwrap();
    assert_eq!(limited("ulimit -f 1024", &input, &target).status.code(), Some(2));
    assert_eq!(std::fs::read(&target).unwrap(), b"what was there");
    assert_eq!(names(&out), ["out.safetensors"]);
}

#[test]
fn an_interrupt_ends_it_with_130_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 48 << 20);
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let mut interrupted = 0;
    for signal in ["INT", "TERM", "HUP"] {
        let mut child = command(&input, &out.join("out.safetensors")).stderr(Stdio::piped()).spawn().unwrap();
        // Once there is a temporary file it is in the middle of it.
        let until = Instant::now() + Duration::from_secs(30);
        while names(&out).is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status().unwrap();
        let status = child.wait().unwrap();
        interrupted += usize::from(status.code() == Some(130));
        let left = names(&out);
        assert!(left.iter().all(|name| !name.starts_with('.')), "{signal}: {left:?}");
        let _ = std::fs::remove_file(out.join("out.safetensors"));
    }
    assert_eq!(interrupted, 3);
}

#[test]
fn two_runs_to_one_target_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path(), 8 << 20);
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let target = out.join("out.safetensors");
    let mut children: Vec<_> =
        (0..4).map(|_| command(&input, &target).stderr(Stdio::piped()).spawn().unwrap()).collect();
    let codes: Vec<Option<i32>> = children.iter_mut().map(|child| child.wait().unwrap().code()).collect();
    assert!(codes.contains(&Some(0)) && codes.iter().all(|code| matches!(code, Some(0 | 2))), "{codes:?}");
    SafeTensors::deserialize(&std::fs::read(&target).unwrap()).unwrap();
    assert_eq!(names(&out), ["out.safetensors"]);
}
