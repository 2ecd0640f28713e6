//! `--device` and `--tf32` with the real engines. There is no GPU where this runs: a script in MLX's place says what it was asked for,
//! and lets another BLAS stand for TF32, whose products are rounded otherwise as well.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::common::{json, program, run, stderr};

/// A script that notes its arguments and starts the real engine. With `--tf32` its products are those of the reference BLAS.
fn in_place_of_mlx(folder: &Path) -> PathBuf {
    let path = folder.join("t2m-mlx.sh");
    let real = std::env::var("T2M_MLX").unwrap();
    let noted = folder.join("asked");
    let script = format!(
        "#!/bin/sh\necho \"[$*]\" >> '{}'\ncase \"$*\" in *--tf32*) export T2M_MLX_BLAS=reference;; esac\nexec '{real}' --device cpu\n",
        noted.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn mlx_is_started_on_the_device_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let script = in_place_of_mlx(folder.path());
    let asked = |arguments: &[&str]| {
        let _ = std::fs::remove_file(folder.path().join("asked"));
        let output = program().args(arguments).env("T2M_MLX", &script).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        std::fs::read_to_string(folder.path().join("asked")).unwrap()
    };
    let verify = ["verify", "demo", "--layers", "join.0", "--trials", "1"];
    assert_eq!(asked(&verify), "[]\n", "MLX's own choice");
    assert_eq!(asked(&[&verify[..], &["--device", "gpu"]].concat()), "[--device gpu]\n");
    let both = asked(&[&verify[..], &["--device", "cpu", "--tf32"]].concat());
    assert_eq!(both, "[--device cpu]\n[--device cpu --tf32]\n");
    let graph = ["run", "tests/fixtures/graphs/attention.pt2"];
    assert_eq!(asked(&graph), "[]\n");
    assert_eq!(
        asked(&[&graph[..], &["--device", "gpu", "--tf32"]].concat()),
        "[--device gpu]\n[--device gpu --tf32]\n"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn what_mlx_gives_by_default_stands_beside_the_exact_run_and_changes_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let script = in_place_of_mlx(folder.path());
    let report = |more: &[&str]| {
        let arguments =
            [&["verify", "demo", "--layers", "join.*", "--trials", "2", "--format", "json"][..], more].concat();
        json(&program().args(arguments).env("T2M_MLX", &script).output().unwrap())
    };
    let (plain, beside) = (report(&[]), report(&["--tf32"]));
    let (mut all, mut other) = (0, 0);
    for (plain, beside) in plain["layers"].as_array().unwrap().iter().zip(beside["layers"].as_array().unwrap()) {
        assert_eq!((&plain["verdict"], &plain["path"]), (&beside["verdict"], &beside["path"]));
        for (plain, beside) in plain["trials"].as_array().unwrap().iter().zip(beside["trials"].as_array().unwrap()) {
            assert_eq!(plain["max_abs"], beside["max_abs"], "the exact run is the same with it");
            assert!(plain.get("tf32").is_none(), "{plain:#}");
            let by_default = &beside["tf32"];
            assert!(by_default["verdict"].is_string() && by_default["max_abs"].is_number(), "{beside:#}");
            all += 1;
            other += usize::from(by_default["max_abs"] != beside["max_abs"]);
        }
    }
    // One layer of three is a product, the others are computed without a BLAS.
    assert!(other > 0 && other < all, "{other} of {all}");
    assert_eq!(beside["engines"]["mlx"]["tf32"], false, "the run itself is exact");
    let text =
        program().args(["verify", "demo", "--layers", "join.*", "--tf32"]).env("T2M_MLX", &script).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("MLX's default (TF32): 1 of 3 layers differ, 0 of them over the tolerance"), "{text}");
}

#[test]
fn where_nothing_rounds_to_tf32_it_says_so() {
    let output = run(&["verify", "demo", "--layers", "join.0", "--device", "cpu", "--tf32", "--trials", "1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("MLX's default: TF32 changes no layer on cpu"), "{text}");
}

/// Without a GPU: a sentence with the way out, and the exit code of a run that measured nothing.
#[test]
#[cfg(target_os = "linux")]
fn a_device_that_is_not_there_is_one_sentence_with_the_way_out() {
    let output = run(&["verify", "demo", "--layers", "join.0", "--device", "gpu"]);
    if json(&run(&["doctor", "--format", "json"]))["devices"][1]["available"] == true {
        return; // there is one
    }
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert_eq!(said.matches("this MLX has no GPU").count(), 1, "{said}");
    assert!(said.contains("--device cpu") && said.contains("mlx-cuda-13"), "{said}");
}

#[test]
fn doctor_lists_the_devices_and_how_one_is_had_that_is_missing() {
    let output = run(&["doctor", "--format", "json"]);
    let devices = json(&output)["devices"].as_array().unwrap().clone();
    assert_eq!(devices.len(), 2, "{devices:?}");
    assert_eq!((&devices[0]["available"], &devices[0]["default"]), (&true.into(), &true.into()));
    if devices[1]["available"] == false {
        assert!(devices[1]["how"].as_str().is_some_and(|how| !how.is_empty()), "{devices:?}");
    }
}
