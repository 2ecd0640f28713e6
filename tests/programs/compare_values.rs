//! `t2m-tui compare` of tensors that are computed: within rounding, shifted by one. `tests/fixtures/compare/make.py` made
//! the models and what torch itself folds.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::{json, run};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

const FOLDER: &str = "tests/fixtures/compare";

pub fn read(path: &str) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (&str, TensorView<'_>)| {
        (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    };
    file.iter().map(tensor).collect()
}

pub fn write(path: &Path, tensors: &Tensors) {
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let mlx = [("format".to_owned(), "mlx".to_owned())];
    std::fs::write(path, safetensors::serialize(views, Some(mlx.into())).unwrap()).unwrap();
}

/// The float32 tensors in bfloat16.
fn in_half(tensors: &Tensors) -> Tensors {
    let half = |(dtype, shape, bytes): &(Dtype, Vec<usize>, Vec<u8>)| match dtype {
        Dtype::F32 => {
            let values = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
            let halves = values.flat_map(|value| half::bf16::from_f32(value).to_le_bytes());
            (Dtype::BF16, shape.clone(), halves.collect())
        }
        _ => (*dtype, shape.clone(), bytes.clone()),
    };
    tensors.iter().map(|(name, tensor)| (name.clone(), half(tensor))).collect()
}

fn add(tensor: &mut (Dtype, Vec<usize>, Vec<u8>), by: f32) {
    let values = tensor.2.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()) + by);
    tensor.2 = values.flat_map(f32::to_le_bytes).collect();
}

/// Exit code, and the findings by name.
pub fn compare(torch: &str, other: &str, more: &[&str]) -> (Option<i32>, BTreeMap<String, Value>) {
    let output = run(&[&["compare", torch, other, "--format", "json"], more].concat());
    let report = json(&output);
    let name = |finding: &Value| finding["name"].as_str().or(finding["other"].as_str()).unwrap().to_owned();
    let findings = report["tensors"].as_array().unwrap().iter().map(|finding| (name(finding), finding.clone()));
    (output.status.code(), findings.collect())
}

/// What the models' folds are called in MLX.
const FOLDED: [&str; 7] = [
    "layers.0.weight",
    "layers.1.weight",
    "layers.2.weight",
    "layers.3.weight",
    "layers.4.weight",
    "layers.5.bias",
    "layers.6.b",
];

#[test]
fn what_torch_folds_is_ours_to_rounding() {
    let torch = format!("{FOLDER}/folds.pt");
    let (code, findings) = compare(&torch, &format!("{FOLDER}/folds.safetensors"), &[]);
    assert_eq!(code, Some(0), "{findings:#?}");
    for (name, found) in &findings {
        let verdict = if FOLDED.contains(&name.as_str()) { "equal-to-rounding" } else { "equal" };
        assert_eq!(found["verdict"], verdict, "{found}");
        if verdict == "equal-to-rounding" {
            let (apart, allowed) = (found["max_abs"].as_f64().unwrap(), found["tolerance"].as_f64().unwrap());
            assert!(apart > 0.0 && apart <= allowed, "{found}");
        }
    }
    // The same in half precision. A cast of what is ours to the bit stays a cast.
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("half.safetensors");
    write(&other, &in_half(&read(&format!("{FOLDER}/folds.safetensors"))));
    let (code, findings) = compare(&torch, other.to_str().unwrap(), &[]);
    assert_eq!(code, Some(0), "{findings:#?}");
}

#[test]
fn a_wrong_fold_is_no_rounding() {
    let torch = format!("{FOLDER}/folds.pt");
    let wrong = format!("{FOLDER}/folds_wrong.safetensors");
    let (code, findings) = compare(&torch, &wrong, &[]);
    assert_eq!(code, Some(1));
    for name in FOLDED {
        assert_eq!(findings[name]["verdict"], "different", "{}", findings[name]);
    }
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("half.safetensors");
    write(&other, &in_half(&read(&wrong)));
    let (code, findings) = compare(&torch, other.to_str().unwrap(), &[]);
    assert_eq!(code, Some(1));
    // Half precision cannot tell one epsilon from another.
    for name in FOLDED.iter().filter(|name| **name != "layers.4.weight") {
        assert_eq!(findings[*name]["verdict"], "different", "{}", findings[*name]);
    }
}

#[test]
fn a_norm_that_adds_one_is_told_from_one_that_does_not() {
    let torch = format!("{FOLDER}/norm.pt");
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("mine.safetensors");
    let converted = run(&["convert", &torch, "-o", mine.to_str().unwrap()]);
    assert!(converted.status.success());
    let ours = read(mine.to_str().unwrap());
    let other = folder.path().join("other.safetensors");
    let name = ours.keys().next().unwrap();
    let raw = read(&format!("{FOLDER}/norm_as_it_is.safetensors"));
    for (by, code, verdict) in
        [(0.0, 1, "unshifted"), (1.0, 0, "equal"), (2.0, 1, "shifted-twice"), (0.5, 1, "different")]
    {
        let mut theirs: Tensors = [(name.clone(), raw["weight"].clone())].into();
        theirs.values_mut().for_each(|tensor| add(tensor, by));
        write(&other, &theirs);
        let (exit, findings) = compare(&torch, other.to_str().unwrap(), &[]);
        let found = &findings[name];
        assert_eq!((exit, &found["verdict"]), (Some(code), &verdict.into()), "{by}: {found}");
        if matches!(verdict, "unshifted" | "shifted-twice") {
            assert_eq!(found["offset"], 1.0);
        }
        // In half precision, where the 1 is added before or after the cast.
        write(&other, &in_half(&theirs));
        let (exit, findings) = compare(&torch, other.to_str().unwrap(), &[]);
        let verdict = if verdict == "equal" { "cast" } else { verdict };
        assert_eq!((exit, &findings[name]["verdict"]), (Some(code), &verdict.into()), "{by} in half");
    }
}

#[test]
fn the_answer_is_the_same_without_the_source_of_the_family() {
    let torch = format!("{FOLDER}/adds_one");
    let weights = read(&format!("{torch}/model.safetensors"));
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("transformers/models/gemma2");
    std::fs::create_dir_all(&source).unwrap();
    // The family's source, as far as compare asks: which class its norms have.
    std::fs::write(
        source.join("modeling_gemma2.py"),
        "import torch\nfrom torch import nn\n\nclass Gemma2RMSNorm(nn.Module):\n    def __init__(self, dim, eps=1e-6):\n        \
         super().__init__()\n        self.eps = eps\n        self.weight = nn.Parameter(torch.zeros(dim))\n\nclass \
         Gemma2Model(nn.Module):\n    def __init__(self, config):\n        super().__init__()\n        self.norm = \
         Gemma2RMSNorm(config.hidden_size)\n\nclass Gemma2ForCausalLM(nn.Module):\n    def __init__(self, config):\n        \
         super().__init__()\n        self.model = Gemma2Model(config)\n",
    )
    .unwrap();
    let other = folder.path().join("other.safetensors");
    let norms = |tensors: &mut Tensors, by: f32| {
        tensors.iter_mut().filter(|(name, _)| name.contains("norm")).for_each(|(_, tensor)| add(tensor, by));
    };
    for (by, code, verdict) in [(0.0, 1, "unshifted"), (1.0, 0, "equal"), (2.0, 1, "shifted-twice")] {
        let mut theirs = weights.clone();
        norms(&mut theirs, by);
        write(&other, &theirs);
        let without = compare(&torch, other.to_str().unwrap(), &[]);
        let with = compare(&torch, other.to_str().unwrap(), &["--source", folder.path().to_str().unwrap()]);
        assert_eq!(without, with);
        assert_eq!(without.0, Some(code), "{:#?}", without.1);
        for (name, found) in without.1.iter().filter(|(name, _)| name.contains("norm")) {
            assert_eq!(found["verdict"], verdict, "{by} {name}: {found}");
        }
    }
}

#[test]
fn a_difference_of_one_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let (torch, other) = (folder.path().join("torch.safetensors"), folder.path().join("other.safetensors"));
    let values = (0..16u8).flat_map(|at| (f32::from(at) * 0.3).sin().to_le_bytes());
    let ours: Tensors = [("norm.weight".to_owned(), (Dtype::F32, vec![16], values.collect()))].into();
    write(&torch, &ours);
    // A file of torch's.
    let metadata = [("format".to_owned(), "pt".to_owned())];
    let views =
        ours.iter().map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(&torch, safetensors::serialize(views, Some(metadata.into())).unwrap()).unwrap();
    for (by, said) in [(1.0, "1 more than ours"), (-1.0, "1 less than ours"), (0.75, "")] {
        let mut theirs = ours.clone();
        theirs.values_mut().for_each(|tensor| add(tensor, by));
        write(&other, &theirs);
        let (code, findings) = compare(torch.to_str().unwrap(), other.to_str().unwrap(), &[]);
        let reason = findings["norm.weight"]["reason"].as_str().unwrap();
        assert_eq!((code, findings["norm.weight"]["verdict"].as_str()), (Some(1), Some("different")));
        assert!(reason.contains(said) && reason.contains("every number") != said.is_empty(), "{by}: {reason}");
        // JSON, text and Markdown come from one result.
        for format in ["text", "md"] {
            let shown = run(&["compare", torch.to_str().unwrap(), other.to_str().unwrap(), "--format", format]);
            assert!(String::from_utf8(shown.stdout).unwrap().contains(reason));
        }
    }
}
