//! Tensors that are made of others while they are read: parts of a set joined, codes multiplied by their scales. What they come
//! to is what PyTorch made of the same.

use std::path::{Path, PathBuf};

use t2m_checkpoint::{AbsentKind, Checkpoint, Dtype, Format, float8};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/files").join(name)
}

/// Hold every tensor against the file with the right ones, whole and in slices along each axis; how many there are.
fn assert_same(made: &Checkpoint, truth: &Checkpoint, dtype: Option<Dtype>) -> usize {
    let mut names: Vec<&str> = made.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    let mut right: Vec<&str> = truth.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    right.sort_unstable();
    assert_eq!(names, right);
    for (id, tensor) in made.tensors.iter().enumerate() {
        let other = truth.tensors.iter().position(|other| other.name == tensor.name).unwrap();
        let read = truth.read(other).unwrap();
        let wanted = if tensor.name.contains("norm") { read } else { read.cast(dtype.unwrap_or(read.dtype)).unwrap() };
        assert_eq!(made.read(id).unwrap(), wanted, "{}", tensor.name);
        for axis in 0..wanted.shape.len() {
            let mut reader = made.reader(id).unwrap();
            let right = Checkpoint::reader(truth, other).unwrap().slice(axis, 1..wanted.shape[axis]).unwrap();
            let right = right.cast(wanted.dtype).unwrap();
            assert_eq!(reader.slice(axis, 1..wanted.shape[axis]).unwrap(), right, "{} along {axis}", tensor.name);
        }
    }
    names.len()
}

#[test]
fn parts_of_llamas_own_format_are_joined() {
    let truth = Checkpoint::open(&fixture("llama_whole.safetensors")).unwrap();
    for (folder, along) in [("llama", [6, 3]), ("llama3", [7, 2])] {
        for path in [fixture(folder), fixture(folder).join("consolidated.01.pth")] {
            let joined = Checkpoint::open(&path).unwrap();
            assert_eq!((joined.format, joined.shards, joined.absent.len()), (Format::ShardedTorch, 2, 0));
            assert_eq!(assert_same(&joined, &truth, None), 13);
            let said = format!(
                "Joined of 2 tensor-parallel parts (Llama's own format): {} tensors along axis 0, {} along axis 1",
                along[0], along[1]
            );
            assert!(joined.warnings[0].starts_with(&said), "{:?}", joined.warnings);
            assert_eq!(joined.metadata["params"]["n_heads"], 4);
        }
    }
}

#[test]
fn what_cannot_be_joined_is_one_part_and_says_why() {
    let copied = |names: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        for (from, to) in names {
            std::fs::copy(fixture(from), folder.path().join(to)).unwrap();
        }
        folder
    };
    let (first, second) = ("llama/consolidated.00.pth", "llama/consolidated.01.pth");
    let (p0, p1, p2) = ("consolidated.00.pth", "consolidated.01.pth", "consolidated.02.pth");
    for (files, open, said) in [
        // The table's width says that there are two; of Llama 3 the vocabulary does.
        (
            vec![(first, p0)],
            p0,
            "is one of 2 tensor-parallel parts (Llama's own format), each with a slice of most tensors. Not beside it: `consolidated.01.pth`.",
        ),
        (
            vec![("llama3/consolidated.00.pth", p0), ("llama3/params.json", "params.json")],
            "",
            "Not beside it: `consolidated.01.pth`.",
        ),
        (
            vec![(first, p0), (second, p2)],
            "",
            "is one of 3 tensor-parallel parts (Llama's own format), each with a slice of most tensors. Not beside it: `consolidated.01.pth`.",
        ),
        // Norms that differ, a set of two models.
        (
            vec![(first, p0), ("consolidated.01.pth", p1)],
            "",
            "They are not joined: part 1 has 1 tensors, part 0 has 13.",
        ),
        (
            vec![(first, p0), ("llama3/consolidated.01.pth", p1)],
            "",
            "They are not joined: `tok_embeddings.weight` has another type or shape in another part.",
        ),
    ] {
        let folder = copied(&files);
        let part = Checkpoint::open(&folder.path().join(open)).unwrap();
        let kinds: Vec<AbsentKind> = part.absent.iter().map(|absent| absent.kind).collect();
        assert_eq!(kinds, [AbsentKind::Part], "{said}");
        assert!(part.warnings[0].contains(said), "{:?}", part.warnings);
    }
    // A model of one part is whole.
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("llama_whole.safetensors"), folder.path().join("model.safetensors")).unwrap();
    assert!(Checkpoint::open(folder.path()).unwrap().absent.is_empty());
}

#[test]
fn every_code_of_eight_bits_is_what_torch_decodes() {
    let values = Checkpoint::open(&fixture("float8_values.safetensors")).unwrap();
    assert_eq!(values.tensors.len(), 5);
    for (id, tensor) in values.tensors.iter().enumerate() {
        let dtype = Dtype::from_name(&tensor.name).unwrap();
        let torchs = values.read(id).unwrap().to_f32().unwrap();
        for (code, torchs) in torchs.into_iter().enumerate() {
            let own = float8::value(dtype, code as u8).unwrap();
            assert!(
                own.to_bits() == torchs.to_bits() || (own.is_nan() && torchs.is_nan()),
                "{} {code}: {own} {torchs}",
                tensor.name
            );
        }
    }
    assert_eq!(float8::value(Dtype::Float16, 0), None);
}

#[test]
fn codes_times_their_scales_are_the_weights() {
    let truth = Checkpoint::open(&fixture("scaled_truth.safetensors")).unwrap();
    for dtype in [Dtype::Float32, Dtype::BFloat16] {
        let opened = Checkpoint::open_as(&fixture("scaled"), None, Some(dtype)).unwrap();
        assert_eq!(assert_same(&opened, &truth, Some(dtype)), 8);
        assert!(opened.packed.is_empty());
        assert_eq!(
            opened.warnings[0],
            format!(
                "Dequantized to {}: 7 tensors of codes (float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, int8), by their scales: 1 with a scale for each block of 16×16, 3 with one scale, 3 with one scale a row. Left out: 1 scales of activations (`one.input_scale`).",
                dtype.name()
            )
        );
    }
    // Without being asked nothing is multiplied, and the codes are known for what they are.
    let packed = Checkpoint::open(&fixture("scaled")).unwrap();
    assert_eq!((packed.tensors.len(), packed.packed.iter().map(|packed| packed.layers).sum::<usize>()), (16, 7));
    let refused = Checkpoint::open_as(&fixture("llama_whole.safetensors"), None, Some(Dtype::Float32)).unwrap_err();
    assert!(refused.to_string().contains("has no weights in codes of eight bits with their scales"), "{refused}");
}
