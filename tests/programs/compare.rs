//! `t2m-tui compare`: a conversion that somebody else made, and what is said of each of its tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::{json, run, stderr};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn write(path: &Path, tensors: &Tensors) {
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn counted(shape: &[usize], seed: f32) -> (Dtype, Vec<usize>, Vec<u8>) {
    let values = (0..shape.iter().product::<usize>()).map(|at| ((at as f32 + seed) * 0.7).sin() * 2.0);
    (Dtype::F32, shape.to_vec(), values.flat_map(f32::to_le_bytes).collect())
}

fn floats((_, _, bytes): &(Dtype, Vec<usize>, Vec<u8>)) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// A torch state dict and the MLX file that we make of it.
fn pair() -> (tempfile::TempDir, PathBuf, Tensors) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("torch.safetensors");
    let shapes: [(&str, &[usize]); 10] = [
        ("conv1.weight", &[8, 3, 3, 3]),
        ("bn1.weight", &[8]),
        ("bn1.bias", &[8]),
        ("bn1.running_mean", &[8]),
        ("bn1.running_var", &[8]),
        ("conv2.weight", &[8, 8, 3, 3]),
        ("attn.in_proj_weight", &[192, 64]),
        ("attn.in_proj_bias", &[192]),
        ("attn.out_proj.weight", &[64, 64]),
        ("attn.out_proj.bias", &[64]),
    ];
    let tensors =
        shapes.iter().enumerate().map(|(at, (name, shape))| ((*name).to_owned(), counted(shape, at as f32 * 100.0)));
    write(&input, &tensors.collect());
    let output = folder.path().join("mlx.safetensors");
    let converted = run(&["convert", input.to_str().unwrap(), "-o", output.to_str().unwrap()]);
    assert!(converted.status.success(), "{}", stderr(&converted));
    let bytes = std::fs::read(&output).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    let all =
        read.iter().map(|(name, view)| (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec())));
    (folder, input, all.collect())
}

/// Exit code, and the findings by name.
fn compare(input: &Path, tensors: &Tensors) -> (Option<i32>, BTreeMap<String, Value>) {
    let other = input.with_file_name("other.safetensors");
    write(&other, tensors);
    let output = run(&["compare", input.to_str().unwrap(), other.to_str().unwrap(), "--format", "json"]);
    let report = json(&output);
    let name = |finding: &Value| finding["name"].as_str().or(finding["other"].as_str()).unwrap().to_owned();
    let findings = report["tensors"].as_array().unwrap().iter().map(|finding| (name(finding), finding.clone()));
    (output.status.code(), findings.collect())
}

#[test]
fn our_own_conversion_is_equal() {
    let (_folder, input, tensors) = pair();
    let (code, findings) = compare(&input, &tensors);
    assert_eq!((code, findings.len()), (Some(0), tensors.len()));
    assert!(findings.values().all(|finding| finding["verdict"] == "equal"), "{findings:#?}");
    for other in ["demo", "tests/fixtures/module.pt"] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out.safetensors");
        assert!(run(&["convert", other, "-o", output.to_str().unwrap()]).status.success());
        let compared = run(&["compare", other, output.to_str().unwrap()]);
        assert_eq!(compared.status.code(), Some(0), "{}", String::from_utf8_lossy(&compared.stdout));
    }
}

#[test]
fn every_kind_of_mistake_is_told() {
    let (_folder, input, right) = pair();
    let mut tensors = right.clone();
    // A square convolution left as it was, one number changed, another shape, one missing, one too many.
    tensors.insert("conv2.weight".to_owned(), counted(&[8, 8, 3, 3], 500.0));
    let mut changed = floats(&right["bn1.bias"]);
    changed[3] += 0.5;
    tensors.get_mut("bn1.bias").unwrap().2 = changed.into_iter().flat_map(f32::to_le_bytes).collect();
    tensors.get_mut("attn.out_proj.bias").unwrap().1 = vec![8, 8];
    tensors.remove("bn1.running_var");
    tensors.insert("bn1.num_batches_tracked".to_owned(), (Dtype::I64, vec![], vec![0; 8]));
    let (code, findings) = compare(&input, &tensors);
    assert_eq!(code, Some(1));
    let conv = &findings["conv2.weight"];
    assert_eq!((&conv["verdict"], &conv["axes"]), (&"transposed".into(), &serde_json::json!([0, 1, 2, 3])));
    assert_eq!(conv["wanted"], serde_json::json!([0, 2, 3, 1]));
    let bias = &findings["bn1.bias"];
    assert_eq!(bias["verdict"], "different");
    assert!((bias["max_abs"].as_f64().unwrap() - 0.5).abs() < 1e-6);
    assert!(findings["attn.out_proj.bias"]["reason"].as_str().unwrap().contains("shape [8, 8] where [64] is right"));
    assert_eq!(findings["bn1.running_var"]["verdict"], "missing");
    assert_eq!(findings["bn1.num_batches_tracked"]["verdict"], "extra");
    assert_eq!(findings["conv1.weight"]["verdict"], "equal");
}

#[test]
fn other_names_are_found_by_what_they_hold() {
    let (_folder, input, right) = pair();
    let renamed =
        right.iter().map(|(name, tensor)| (format!("backbone.{}", name.replace("conv", "c")), tensor.clone()));
    let (code, findings) = compare(&input, &renamed.collect());
    assert_eq!(code, Some(0), "{findings:#?}");
    assert_eq!(findings["conv1.weight"]["other"], "backbone.c1.weight");
    assert!(findings.values().all(|finding| finding["by"] == "content" && finding["verdict"] == "equal"));
}

#[test]
fn a_projection_that_was_not_split_is_no_conversion() {
    let (_folder, input, right) = pair();
    let mut tensors: Tensors =
        right.into_iter().filter(|(name, _)| !name.contains("_proj.") || name.contains("out_proj")).collect();
    tensors.insert("attn.in_proj_weight".to_owned(), counted(&[192, 64], 600.0));
    tensors.insert("attn.in_proj_bias".to_owned(), counted(&[192], 700.0));
    let (code, findings) = compare(&input, &tensors);
    assert_eq!(code, Some(1));
    let verdicts: Vec<&str> = findings.values().filter_map(|finding| finding["verdict"].as_str()).collect();
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == "unconverted").count(), 2, "{findings:#?}");
    assert!(!verdicts.contains(&"missing"));
}

#[test]
fn a_cast_and_quantised_weights_are_told_with_their_error() {
    let (_folder, input, right) = pair();
    let mut tensors = right.clone();
    let half = floats(&right["bn1.weight"]).into_iter().flat_map(|value| half::f16::from_f32(value).to_le_bytes());
    tensors.insert("bn1.weight".to_owned(), (Dtype::F16, vec![8], half.collect()));
    // As mlx.nn.quantize: 8 bits, one group of 64 for each row.
    let weight = floats(&right["attn.out_proj.weight"]);
    let (mut words, mut scales, mut biases) = (Vec::new(), Vec::new(), Vec::new());
    for row in weight.chunks_exact(64) {
        let (least, most) = row.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
        let scale = (most - least) / 255.0;
        words.extend(row.iter().map(|value| ((value - least) / scale).round() as u8));
        scales.extend(scale.to_le_bytes());
        biases.extend(least.to_le_bytes());
    }
    tensors.insert("attn.out_proj.weight".to_owned(), (Dtype::U32, vec![64, 16], words.clone()));
    tensors.insert("attn.out_proj.scales".to_owned(), (Dtype::F32, vec![64, 1], scales));
    tensors.insert("attn.out_proj.biases".to_owned(), (Dtype::F32, vec![64, 1], biases));
    let (code, findings) = compare(&input, &tensors);
    assert_eq!(code, Some(0), "{findings:#?}");
    assert_eq!(
        (&findings["bn1.weight"]["verdict"], &findings["bn1.weight"]["dtype"]),
        (&"cast".into(), &"float16".into())
    );
    let packed = &findings["attn.out_proj.weight"];
    assert_eq!((&packed["verdict"], &packed["bits"], &packed["group"]), (&"quantised".into(), &8.into(), &64.into()));
    let error = packed["max_abs"].as_f64().unwrap();
    assert!(error > 1e-4 && error < 1e-2, "{error}");
    // Words of another weight are no quantisation of this one.
    words.rotate_left(17);
    tensors.insert("attn.out_proj.weight".to_owned(), (Dtype::U32, vec![64, 16], words));
    let (code, findings) = compare(&input, &tensors);
    assert_eq!((code, &findings["attn.out_proj.weight"]["verdict"]), (Some(1), &"different".into()));
}

#[test]
fn weights_quantised_in_half_precision_are_ours_too() {
    let (_folder, input, right) = pair();
    let half = |value: f32| half::f16::from_f32(value).to_f32();
    for levels in [15.0f32, 255.0] {
        let (mut numbers, mut scales, mut biases) = (Vec::new(), Vec::new(), Vec::new());
        for row in floats(&right["attn.out_proj.weight"]).chunks_exact(64) {
            let row: Vec<f32> = row.iter().map(|&value| half(value)).collect();
            let (least, most) = row.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
            let (scale, bias) = (half((most - least) / levels), half(least));
            numbers.extend(row.iter().map(|value| ((value - bias) / scale).round().clamp(0.0, levels) as u8));
            scales.extend(half::f16::from_f32(scale).to_le_bytes());
            biases.extend(half::f16::from_f32(bias).to_le_bytes());
        }
        let (words, bits) = match levels {
            15.0 => (numbers.chunks_exact(2).map(|pair| pair[0] | pair[1] << 4).collect(), 4),
            _ => (numbers, 8),
        };
        let mut tensors = right.clone();
        tensors.insert("attn.out_proj.weight".to_owned(), (Dtype::U32, vec![64, bits * 2], words));
        tensors.insert("attn.out_proj.scales".to_owned(), (Dtype::F16, vec![64, 1], scales));
        tensors.insert("attn.out_proj.biases".to_owned(), (Dtype::F16, vec![64, 1], biases));
        let (code, findings) = compare(&input, &tensors);
        let packed = &findings["attn.out_proj.weight"];
        assert_eq!(
            (code, &packed["verdict"], &packed["bits"]),
            (Some(0), &"quantised".into(), &bits.into()),
            "{packed}"
        );
    }
}

#[test]
fn what_the_checkpoint_leaves_in_doubt_is_not_judged() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("torch.safetensors");
    let tensor = counted(&[4, 4, 3, 3], 5.0);
    write(&input, &[("c.weight".to_owned(), tensor.clone())].into());
    let moved: Vec<u8> = (0..4 * 3 * 3 * 4)
        .flat_map(|at| {
            let (output, row, column, channel) = (at / 36, at / 12 % 3, at / 4 % 3, at % 4);
            let from = ((output * 4 + channel) * 3 + row) * 3 + column;
            tensor.2[from * 4..from * 4 + 4].to_vec()
        })
        .collect();
    for (other, axes) in [(tensor.clone(), [0, 1, 2, 3]), ((Dtype::F32, vec![4, 3, 3, 4], moved), [0, 2, 3, 1])] {
        let (code, findings) = compare(&input, &[("c.weight".to_owned(), other)].into());
        let found = &findings["c.weight"];
        assert_eq!((code, &found["verdict"], &found["axes"]), (Some(1), &"unjudged".into(), &axes.into()), "{found}");
        assert!(found["reason"].as_str().unwrap().contains("Conv2d or ConvTranspose2d"), "{found}");
    }
}

#[test]
fn a_cast_that_makes_numbers_infinite_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("torch.safetensors");
    let bytes = [1e6f32, 1.0, -7e4, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    write(&input, &[("fc.weight".to_owned(), (Dtype::F32, vec![2, 2], bytes))].into());
    let halves = [f32::INFINITY, 1.0, f32::NEG_INFINITY, 2.0].map(half::f16::from_f32);
    let bytes = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
    let (code, findings) = compare(&input, &[("fc.weight".to_owned(), (Dtype::F16, vec![2, 2], bytes))].into());
    let found = &findings["fc.weight"];
    assert_eq!((code, &found["verdict"]), (Some(1), &"different".into()));
    assert!(found["reason"].as_str().unwrap().contains("2 numbers became infinite"), "{found}");
}

#[test]
fn the_torch_checkpoint_comes_first() {
    let (folder, ..) = pair();
    let mlx = folder.path().join("mlx.safetensors");
    let run = run(&["compare", mlx.to_str().unwrap(), mlx.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(2));
    assert!(stderr(&run).contains("the torch checkpoint comes first"), "{}", stderr(&run));
}

#[test]
fn two_torch_checkpoints_are_compared_under_their_own_names() {
    let fixture = "tests/fixtures/module.pt";
    let same = run(&["compare", fixture, fixture]);
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stdout));
    let state_dicts = ["tests/fixtures/state_dict.pt", "tests/fixtures/legacy/state_dict.pth"];
    let report = json(&run(&["compare", state_dicts[0], state_dicts[1], "--format", "json"]));
    // The other one has some tensors more.
    let (equal, extra) = (report["summary"]["equal"].as_u64().unwrap(), report["summary"]["extra"].as_u64().unwrap());
    assert_eq!((equal + extra) as usize, report["tensors"].as_array().unwrap().len(), "{report:#}");
    assert!(equal > 5 && extra > 5);
    let markdown = run(&["compare", "demo", fixture, "--format", "md"]);
    assert_eq!(markdown.status.code(), Some(1));
    assert!(String::from_utf8(markdown.stdout).unwrap().contains("| missing |"));
}
