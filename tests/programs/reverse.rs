//! MLX's weights back to torch's names and layouts: for every fixture to the bit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::{json, run, stderr};
use t2m_checkpoint::{Checkpoint, TensorData};
use t2m_tui::export::state_dict::key_map;
use t2m_tui::plan::weights::Fold;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Every fixture that holds weights, and what of it cannot be read.
fn all() -> Vec<(PathBuf, Vec<&'static str>)> {
    let names = [
        "averaged.pt",
        "files/average.pt",
        "files/compiled.safetensors",
        "files/gan.pt",
        "files/infixes.pt",
        "files/parallel.pt",
        "files/parts.pt",
        "big_endian.pt",
        "graph_module.pt",
        "in_tuple.pt",
        "module.pt",
        "module_in_checkpoint.pt",
        "odd_tensors.pt",
        "parametrized.pt",
        "protocol_4.pt",
        "reparametrized.pt",
        "state_dict.pt",
        "state_dict.safetensors",
        "trainer.pt",
        "wrapped.pt",
        "legacy/ancient.pth",
        "legacy/dcp",
        "legacy/hf",
        "legacy/lightning.ckpt",
        "legacy/module.pth",
        "legacy/old_views.pth",
        "legacy/package.pt",
        "legacy/sharded",
        "legacy/sharded_bin",
        "legacy/state_dict.pth",
        "legacy/two_groups.pt",
        "legacy/wrapped.pth",
        "script/exported.pt2",
        "script/exported_flat.pt2",
        "script/scripted.pt",
        "script/traced.pt",
    ];
    let path = |name: &str| {
        let path = fixtures().join(name);
        let index = ["model.safetensors.index.json", "pytorch_model.bin.index.json"].map(|index| path.join(index));
        index.into_iter().find(|index| index.exists()).unwrap_or(path)
    };
    let mut all: Vec<(PathBuf, Vec<&str>)> = vec![(PathBuf::from("demo"), Vec::new())];
    all.extend(names.map(|name| (path(name), Vec::new())));
    all
}

/// Every tensor by name. What cannot be read is left out.
fn tensors(path: &Path) -> BTreeMap<String, TensorData> {
    let checkpoint = if path == Path::new("demo") { t2m_tui::demo::open() } else { Checkpoint::open(path) }.unwrap();
    let named = (0..checkpoint.tensors.len())
        .filter_map(|id| Some((checkpoint.tensors[id].name.to_string(), checkpoint.read(id).ok()?)));
    named.collect()
}

/// Convert, leaving out what is said to be unreadable until nothing is.
fn convert(input: &Path, output: &Path, map: &Path) -> Vec<String> {
    let mut skipped: Vec<String> = Vec::new();
    loop {
        let mut arguments = vec!["convert", input.to_str().unwrap(), "-o", output.to_str().unwrap()];
        arguments.extend(["--map", map.to_str().unwrap()]);
        skipped.iter().for_each(|name| arguments.extend(["--skip", name]));
        let done = run(&arguments);
        if done.status.success() {
            return skipped;
        }
        let said = stderr(&done);
        assert!(said.contains("tensor `"), "{}: {said}", input.display());
        let name = said.split('`').nth(1).unwrap().to_owned();
        assert!(!skipped.contains(&name), "{said}");
        skipped.push(name);
    }
}

#[test]
fn every_fixture_comes_back_to_the_bit() {
    let (mut files, mut compared) = (0, 0);
    for (input, _) in all() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (mlx, map, back) = (path("mlx.safetensors"), path("map.json"), path("back.safetensors"));
        let skipped = convert(&input, &mlx, &map);
        let mut arguments = vec!["convert", input.to_str().unwrap(), "--reverse", mlx.to_str().unwrap()];
        arguments.extend(["-o", back.to_str().unwrap(), "--format", "json"]);
        skipped.iter().for_each(|name| arguments.extend(["--skip", name]));
        let reversed = run(&arguments);
        assert_eq!(reversed.status.code(), Some(0), "{}: {}", input.display(), stderr(&reversed));
        let (original, back) = (tensors(&input), tensors(&back));
        for (name, tensor) in &original {
            if skipped.contains(name) {
                continue;
            }
            let found = back.get(name).unwrap_or_else(|| panic!("{}: no {name} came back", input.display()));
            assert!(found == tensor, "{}: {name} is another", input.display());
            compared += 1;
        }
        let known = |name: &String| original.contains_key(name) && !skipped.contains(name);
        assert!(back.keys().all(known), "{}: {:?}", input.display(), back.keys());
        assert!(json(&reversed)["inverted"] == 0, "{}", input.display());
        files += 1;
    }
    println!("{files} files, {compared} tensors");
    assert!(files > 30 && compared > 300, "{files} files, {compared} tensors");
}

#[test]
fn by_the_map_alone_what_only_moved_comes_back_and_folds_fold_to_the_same() {
    let (mut exact, mut folded) = (0, 0);
    for (input, _) in all() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (mlx, map, back) = (path("mlx.safetensors"), path("map.json"), path("back.safetensors"));
        convert(&input, &mlx, &map);
        let arguments = ["convert", "--reverse", mlx.to_str().unwrap(), "--map", map.to_str().unwrap()];
        let reversed = run(&[arguments.as_slice(), &["-o", back.to_str().unwrap()]].concat());
        assert_eq!(reversed.status.code(), Some(0), "{}: {}", input.display(), stderr(&reversed));
        let rows = key_map::read(&map).unwrap().rows;
        let (original, mlx, back) = (tensors(&input), tensors(&mlx), tensors(&back));
        let in_folds: Vec<&str> = rows
            .values()
            .filter(|row| !matches!(row.how.fold, Fold::One | Fold::Part { .. }))
            .flat_map(|row| &row.from)
            .map(|from| from.as_str())
            .collect();
        for (name, row) in &rows {
            // Converting what came back gives the same file, folds and all.
            let sources: Vec<&TensorData> = row.from.iter().map(|from| &back[from.as_str()]).collect();
            let again = row.step(name).apply(&sources).unwrap();
            let apart = again.bytes.iter().zip(&mlx[name.as_str()].bytes).filter(|(a, b)| a != b).count();
            // A weight norm computes its weight anew: its last bit may be another.
            let close = || {
                let pairs = again.to_f64().unwrap().into_iter().zip(mlx[name.as_str()].to_f64().unwrap());
                pairs.into_iter().all(|(a, b)| (a - b).abs() <= 2.0 * f64::from(f32::EPSILON) * b.abs())
            };
            let computed = matches!(row.how.fold, Fold::WeightNorm { .. });
            assert!(apart == 0 || (computed && close()), "{}: {name}: {apart} bytes", input.display());
            for from in row.from.iter().map(|from| from.as_str()).filter(|from| !in_folds.contains(from)) {
                let same = back[from].cast(original[from].dtype).unwrap();
                assert!(
                    original[from].dtype == t2m_checkpoint::Dtype::Float64 || same == original[from],
                    "{}: {from}",
                    input.display()
                );
                exact += 1;
            }
        }
        folded += in_folds.len();
    }
    assert!(exact > 300 && folded > 5, "{exact} exact, {folded} folded");
}

#[test]
fn a_map_of_another_file_and_changed_weights_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (mlx, map, other) = (path("mlx.safetensors"), path("map.json"), path("other.json"));
    convert(Path::new("demo"), &mlx, &map);
    convert(&fixtures().join("module.pt"), &path("other.safetensors"), &other);
    let back = path("back.safetensors");
    let by = |arguments: &[&str]| {
        run(&[&["convert", "--reverse", mlx.to_str().unwrap(), "-o", back.to_str().unwrap()], arguments].concat())
    };
    let wrong = by(&["--map", other.to_str().unwrap()]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("of which the key map does not say where it goes"), "{}", stderr(&wrong));
    let wrong = by(&["tests/fixtures/module.pt"]);
    assert_eq!(wrong.status.code(), Some(2));
    for arguments in [["demo", "--map", map.to_str().unwrap()].as_slice(), &["demo", "--dtype", "f16"], &[]] {
        assert_eq!(by(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert!(!back.exists());

    // Weights that were trained on in MLX come back as they are now, and not as the checkpoint has them.
    let mut bytes = std::fs::read(&mlx).unwrap();
    let changed = Checkpoint::open(&mlx).unwrap();
    let name = "caption.blocks.layers.0.mlp.layers.0.weight";
    let place = {
        let header: serde_json::Value = {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            serde_json::from_slice(&bytes[8..8 + length]).unwrap()
        };
        let begin = header[name]["data_offsets"][0].as_u64().unwrap() as usize;
        8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + begin
    };
    drop(changed);
    bytes[place..place + 4].copy_from_slice(&42f32.to_le_bytes());
    std::fs::write(&mlx, bytes).unwrap();
    let told = json(&by(&["demo", "--format", "json"]));
    assert_eq!(told["inverted"], 1, "{told:#}");
    let (back, demo) = (tensors(&back), tensors(Path::new("demo")));
    let torch = "caption.blocks.0.mlp.0.weight";
    assert_eq!(back[torch].to_f32().unwrap()[0], 42.0);
    assert_eq!(back[torch].bytes[4..], demo[torch].bytes[4..]);
}
