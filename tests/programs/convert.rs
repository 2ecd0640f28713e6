//! `t2m-tui convert`: what is written, what is refused, and what is left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::{json, run, stderr};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use t2m_checkpoint::{Dtype as Target, TensorData};
use t2m_tui::open::{Options, open};

/// Name, type, shape and bytes of every tensor, and the metadata.
type File = (BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>, BTreeMap<String, String>);

fn read(path: &Path) -> File {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let all = tensors
        .iter()
        .map(|(name, view)| (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec())));
    (all.collect(), metadata)
}

fn convert(input: &Path, output: &Path, more: &[&str]) -> Output {
    let paths = ["convert", input.to_str().unwrap(), "-o", output.to_str().unwrap()];
    run(&[paths.as_slice(), more].concat())
}

/// The tensors of a conversion that has to succeed.
fn converted(input: &Path, more: &[&str]) -> File {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let run = convert(input, &output, more);
    assert_eq!(run.status.code(), Some(0), "{}: {}", input.display(), stderr(&run));
    read(&output)
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A state dict of float32 tensors, counted up, in a folder of its own.
fn state_dict(tensors: &[(&str, &[usize])]) -> (tempfile::TempDir, PathBuf) {
    let value = |at: usize| ((at as f32 * 0.7).sin() * 2.0).to_le_bytes();
    let data: Vec<Vec<u8>> =
        tensors.iter().map(|(_, shape)| (0..shape.iter().product()).flat_map(value).collect()).collect();
    let view = |at: usize| TensorView::new(Dtype::F32, tensors[at].1.to_vec(), &data[at]).unwrap();
    let views = (0..tensors.len()).map(|at| (tensors[at].0, view(at)));
    crate::common::file("weights.safetensors", safetensors::serialize(views, None).unwrap())
}

/// Everything in a folder but these.
fn others(folder: &Path, known: &[&str]) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !known.contains(&name.as_str())).collect()
}

#[test]
fn a_key_map_that_cannot_be_written_is_told_before_the_weights_are() {
    let (folder, path) = state_dict(&[("fc.weight", &[4, 3]), ("fc.bias", &[4])]);
    let place = |name: &str| folder.path().join(name);
    let output = place("out.safetensors");
    std::fs::write(place("there.json"), "{}").unwrap();
    for map in ["missing/map.json", "there.json", "out.safetensors"] {
        let run = convert(&path, &output, &["--map", place(map).to_str().unwrap()]);
        assert_eq!(run.status.code(), Some(2), "{map}: {}", stderr(&run));
        assert_eq!(others(folder.path(), &["weights.safetensors", "there.json"]), Vec::<String>::new(), "{map}");
    }
    let map = place("map.json");
    assert!(convert(&path, &output, &["--map", map.to_str().unwrap()]).status.success());
    // The way back does not write over the map that it goes by.
    let before = std::fs::read(&map).unwrap();
    let [map_path, mlx] = [&map, &output].map(|path| path.to_str().unwrap());
    let back = run(&["convert", "--reverse", mlx, "--map", map_path, "-o", map_path, "--force"]);
    assert_eq!(back.status.code(), Some(2));
    assert!(stderr(&back).contains("is the key map"), "{}", stderr(&back));
    assert!(std::fs::read(&map).unwrap() == before);
}

/// Large enough to be made in pieces, whose buffers are used again.
#[test]
fn pieces_of_large_tensors_make_up_what_indexing_gives() {
    let shape = [70, 130, 9, 9];
    let names = ["c0", "c1", "c2"].map(|name| [format!("{name}.weight"), format!("{name}.bias")]);
    let tensors: Vec<(&str, &[usize])> = names
        .iter()
        .flat_map(|[weight, bias]| [(weight.as_str(), shape.as_slice()), (bias.as_str(), &shape[..1])])
        .collect();
    let (_folder, path) = state_dict(&tensors);
    let original = read(&path).0;
    for (flag, dtype) in [("f32", Target::Float32), ("bf16", Target::BFloat16), ("f16", Target::Float16)] {
        let (written, _) = converted(&path, &["--dtype", flag]);
        for [weight, _] in &names {
            let (_, _, torch) = &original[weight];
            let [outputs, inputs, height, width] = shape;
            let mut moved = Vec::with_capacity(torch.len());
            for at in 0..torch.len() / 4 {
                let (output, row, column, input) =
                    (at / (height * width * inputs), at / (width * inputs) % height, at / inputs % width, at % inputs);
                let from = ((output * inputs + input) * height + row) * width + column;
                moved.extend_from_slice(&torch[from * 4..from * 4 + 4]);
            }
            let wanted = vec![outputs, height, width, inputs];
            let expected = TensorData { dtype: Target::Float32, shape: wanted.clone(), bytes: moved };
            let (_, found, bytes) = &written[weight];
            assert_eq!(*found, wanted);
            assert!(*bytes == expected.cast(dtype).unwrap().bytes, "{weight} as {flag}");
        }
    }
}

#[test]
fn what_is_written_is_what_verify_measures() {
    let mut compared = 0;
    let samples =
        ["demo", "module.pt", "module_in_checkpoint.pt", "script/scripted.pt", "script/exported.pt2", "wrapped.pt"];
    for name in samples.map(|name| if name == "demo" { PathBuf::from(name) } else { fixture(name) }) {
        let (written, _) = converted(&name, &[]);
        let opened = open(&Options { checkpoint: name.clone(), ..Options::default() }).unwrap();
        let mut end = 0;
        for (id, triaged) in opened.triage.modules.iter().enumerate() {
            let Some(plan) = triaged.plan.as_ref().filter(|plan| id >= end && !plan.weights.is_empty()) else {
                continue;
            };
            end = opened.model.modules[id].end;
            for step in &plan.weights {
                let source = |name: &String| opened.checkpoint.read(opened.model.tensor(id, name).unwrap()).unwrap();
                let sources: Vec<TensorData> = step.from.iter().map(source).collect();
                let wanted = step.apply(&sources.iter().collect::<Vec<_>>()).unwrap();
                // Names differ where a Sequential is above; bytes and shape are found by the end of the name.
                let found = written.iter().find(|(name, (_, shape, bytes))| {
                    name.ends_with(&step.to) && *shape == wanted.shape && *bytes == wanted.bytes
                });
                assert!(found.is_some(), "{}: {} {}", name.display(), opened.model.modules[id].path, step.to);
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn names_are_those_of_mlx() {
    let (tensors, metadata) = converted(Path::new("demo"), &[]);
    for name in [
        "caption.blocks.layers.0.attention.query_proj.weight", // a Sequential, and in_proj split
        "caption.blocks.layers.0.mlp.layers.3.bias",
        "picture.blocks.0.conv1.weight", // a list
        "sound.loudest",                 // a parameter of a class of its own
    ] {
        assert!(tensors.contains_key(name), "no {name} in {:#?}", tensors.keys());
    }
    assert!(tensors.keys().any(|name| name.ends_with(".Wx")) && tensors.keys().any(|name| name.ends_with(".Wh")));
    assert!(tensors.keys().all(|name| !name.ends_with("num_batches_tracked") && !name.contains("in_proj")));
    assert_eq!(metadata["format"], "mlx");
    assert_eq!(metadata["source"], "demo");
    assert_eq!(metadata["source_sha256"].len(), 64);
    assert!(metadata["tool"].starts_with("t2m-tui ") && metadata["rules"].contains("\"conv2d\":"));
}

#[test]
fn tied_weights_are_written_once_and_named_in_the_metadata() {
    let (tensors, metadata) = converted(&fixture("module.pt"), &[]);
    assert!(tensors.contains_key("embed.weight") && !tensors.contains_key("head.weight"));
    assert_eq!(metadata["tied"], r#"{"head.weight":"embed.weight"}"#);
}

#[test]
fn the_source_s_hash_is_that_of_the_file() {
    use std::fmt::Write;

    use sha2::Digest;
    let path = fixture("module.pt");
    let hash = sha2::Sha256::digest(std::fs::read(&path).unwrap()).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    assert_eq!(converted(&path, &[]).1["source_sha256"], hash);
}

#[test]
fn a_bare_state_dict_moves_what_its_neighbours_tell_and_copies_what_is_in_doubt() {
    let (_folder, path) = state_dict(&[
        ("conv1.weight", &[8, 3, 3, 3]),
        ("bn1.weight", &[8]),
        ("bn1.bias", &[8]),
        ("bn1.running_mean", &[8]),
        ("bn1.running_var", &[8]),
        ("square.weight", &[8, 8, 3, 3]),
        ("up.weight", &[8, 8, 2, 2]),
        ("lstm.weight_ih_l0", &[16, 3]),
        ("lstm.weight_hh_l0", &[16, 4]),
        ("lstm.bias_ih_l0", &[16]),
        ("lstm.bias_hh_l0", &[16]),
        ("scale", &[1]),
    ]);
    let (tensors, _) = converted(&path, &[]);
    let shape = |name: &str| tensors[name].1.clone();
    assert_eq!(shape("conv1.weight"), [8, 3, 3, 3]);
    assert_eq!(shape("square.weight"), [8, 3, 3, 8]);
    assert_eq!(shape("up.weight"), [8, 8, 2, 2]);
    assert_eq!((shape("lstm.Wx"), shape("lstm.bias")), (vec![16, 3], vec![16]));

    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let told = json(&convert(&path, &output, &["--format", "json"]));
    let copied: Vec<&str> =
        told["copied"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(copied, ["scale", "up.weight"], "{told:#}");
    assert!(told["by_class_alone"].as_array().unwrap().iter().any(|name| name == "conv1.weight"));
    assert_eq!(told["by_others"], serde_json::json!(["square.weight"]));

    let strict = convert(&path, &output, &["--strict", "--force"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(
        stderr(&strict).contains("up.weight: names and shapes allow Conv2d or ConvTranspose2d"),
        "{}",
        stderr(&strict)
    );
}

#[test]
fn a_weight_norm_is_folded_into_the_weight() {
    for name in ["parametrized.pt", "reparametrized.pt"] {
        let (tensors, _) = converted(&fixture(name), &[]);
        let (_, shape, bytes) = &tensors["layers.0.weight"];
        // Every output channel has the norm that the file gives it.
        let opened = open(&Options { checkpoint: fixture(name), ..Options::default() }).unwrap();
        let norm = ["0.weight_g", "0.parametrizations.weight.original0"];
        let norms = opened.checkpoint.tensors.iter().position(|tensor| norm.contains(&tensor.name.as_str()));
        let norms = opened.checkpoint.read(norms.unwrap()).unwrap().to_f64().unwrap();
        let values: Vec<f64> =
            bytes.chunks_exact(4).map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()))).collect();
        for (row, norm) in values.chunks_exact(values.len() / shape[0]).zip(norms) {
            let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
            assert!((length - norm.abs()).abs() < 1e-5 * norm.abs(), "{name}: {length} {norm}");
        }
    }
}

#[test]
fn output_goes_nowhere_where_something_would_be_lost() {
    let (folder, input) = state_dict(&[("fc.weight", &[3, 4]), ("fc.bias", &[3])]);
    let before = std::fs::read(&input).unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::hard_link(&input, path("hard.safetensors")).unwrap();
    std::os::unix::fs::symlink(&input, path("soft.safetensors")).unwrap();
    for (target, more, words) in [
        ("weights.safetensors", ["--force"].as_slice(), "is the input"),
        ("hard.safetensors", &["--force"], "is the input"),
        ("soft.safetensors", &["--force"], "is the input"),
        ("missing/out.safetensors", &[], "its folder is not there"),
        (".", &["--force"], "is no regular file"),
    ] {
        let refused = convert(&input, &path(target), more);
        assert_eq!(refused.status.code(), Some(2), "{target}");
        assert!(stderr(&refused).contains(words), "{target}: {}", stderr(&refused));
    }
    assert_eq!(convert(&input, &path("out.safetensors"), &[]).status.code(), Some(0));
    let again = convert(&input, &path("out.safetensors"), &[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("is there already; --force replaces it"));
    assert_eq!(convert(&input, &path("out.safetensors"), &["--force"]).status.code(), Some(0));
    let twice = convert(&path("out.safetensors"), &path("twice.safetensors"), &[]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(stderr(&twice).contains("is MLX's already"), "{}", stderr(&twice));
    assert_eq!(std::fs::read(&input).unwrap(), before);
    let known = ["weights.safetensors", "hard.safetensors", "soft.safetensors", "out.safetensors"];
    assert_eq!(others(folder.path(), &known), [""; 0]);
}

#[test]
fn a_cast_says_what_it_loses() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.safetensors");
    let values = [1.0f32, 1e30, 1e-30, 0.1];
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let wide: Vec<u8> = values.iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect();
    let views = [
        ("fc.weight", TensorView::new(Dtype::F32, vec![2, 2], &bytes).unwrap()),
        ("wide", TensorView::new(Dtype::F64, vec![4], &wide).unwrap()),
        ("count", TensorView::new(Dtype::I32, vec![4], &bytes).unwrap()),
    ];
    std::fs::write(&input, safetensors::serialize(views, None).unwrap()).unwrap();
    let output = folder.path().join("out.safetensors");
    let told = json(&convert(&input, &output, &["--dtype", "f16", "--format", "json"]));
    let lost = &told["lost"]["fc.weight"];
    assert_eq!(
        (&lost["overflowed"], &lost["vanished"], &lost["rounded"]),
        (&1.into(), &1.into(), &1.into()),
        "{told:#}"
    );
    let (tensors, _) = read(&output);
    assert_eq!((tensors["fc.weight"].0, tensors["wide"].0, tensors["count"].0), (Dtype::F16, Dtype::F16, Dtype::I32));
    let text = convert(&input, &output, &["--dtype", "f16", "--force"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("lost: 2 became infinite, 2 became zero, 2 rounded"), "{text}");
    // Without being asked only what MLX reads from no file is cast.
    let told = json(&convert(&input, &output, &["--force", "--format", "json"]));
    assert_eq!(told["casts"], serde_json::json!([{"from": "float64", "to": "float32", "tensors": 1}]));
    let strict = ["--dtype", "f16", "--force", "--strict", "--skip", "wide", "--skip", "count"];
    let refused = convert(&input, &output, &strict);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("1 numbers would become infinite as float16"), "{}", stderr(&refused));
}

#[test]
fn what_cannot_be_read_or_written_is_named_with_the_way_out() {
    let output = tempfile::tempdir().unwrap();
    let target = output.path().join("out.safetensors");
    let refused = convert(&fixture("odd_tensors.pt"), &target, &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("`sparse`: is sparse"), "{}", stderr(&refused));
    assert_eq!(others(output.path(), &[]), [""; 0]);
}

#[test]
fn large_output_is_sharded_with_an_index_that_opens_as_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model.safetensors");
    let whole = converted(Path::new("demo"), &[]).0;
    assert_eq!(convert(Path::new("demo"), &target, &[]).status.code(), Some(0));
    let told = json(&convert(Path::new("demo"), &target, &["--max-shard-size", "40KB", "--force", "--format", "json"]));
    let files = told["files"].as_array().unwrap();
    assert!(files.len() > 4, "{files:?}");
    // The single file that was there would be taken for the model.
    assert!(!target.exists());
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("model.safetensors.index.json")).unwrap()).unwrap();
    assert_eq!(index["metadata"]["total_size"], told["bytes"]);
    let mut found = BTreeMap::new();
    for shard in &files[..files.len() - 1] {
        let (tensors, metadata) = read(Path::new(shard.as_str().unwrap()));
        assert_eq!(metadata["format"], "mlx");
        for name in tensors.keys() {
            assert!(shard.as_str().unwrap().ends_with(index["weight_map"][name].as_str().unwrap()));
        }
        found.extend(tensors);
    }
    assert_eq!(found, whole);
    let refused = convert(Path::new("demo"), &target, &[]);
    assert!(stderr(&refused).contains("model.safetensors.index.json: is there already"), "{}", stderr(&refused));
    assert_eq!(convert(Path::new("demo"), &target, &["--force"]).status.code(), Some(0));
    assert!(target.exists() && !folder.path().join("model.safetensors.index.json").exists());
}

#[test]
fn two_tensors_of_one_name_are_refused() {
    // A layer's in_proj is split into names that the file has already.
    let (_folder, path) = state_dict(&[
        ("a.in_proj_weight", &[12, 4]),
        ("a.in_proj_bias", &[12]),
        ("a.out_proj.weight", &[4, 4]),
        ("a.out_proj.bias", &[4]),
        ("a.query_proj.weight", &[4, 4]),
    ]);
    let refused = convert(&path, &path.with_file_name("out.safetensors"), &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("`a.query_proj.weight` would be the name of two MLX tensors"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn the_key_map_names_what_each_tensor_is_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let map = folder.path().join("map.json");
    let run = convert(Path::new("demo"), &folder.path().join("out.safetensors"), &["--map", map.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let map: serde_json::Value = serde_json::from_slice(&std::fs::read(map).unwrap()).unwrap();
    let key = &map["caption.blocks.layers.0.attention.key_proj.weight"];
    assert_eq!(key["from"], serde_json::json!(["caption.blocks.0.attention.in_proj_weight"]));
    assert_eq!((&key["rule"], &key["known"]), (&"split".into(), &"plan".into()));
    let tensors = read(&folder.path().join("out.safetensors")).0;
    for (name, (_, shape, _)) in &tensors {
        assert_eq!(map[name]["shape"], serde_json::json!(shape), "{name}");
    }
    assert_eq!(map.as_object().unwrap().len(), tensors.len());
}
