//! Views that repeat what is stored: a small file can ask for terabytes. What a model comes to is written out and looked at as
//! ever; what is far more is refused by name, and looked at once where it is only looked at.

use std::path::Path;

use crate::common::archive::{Code, Record, code, storage, tensor_of, torch_records, zip};
use crate::{alone, memory};
use globset::GlobSet;
use t2m_checkpoint::check::check;
use t2m_checkpoint::{Bytes, Checkpoint};
use t2m_tui::export::run::{Export, Options as Wanted};
use t2m_tui::export::{check as comparison, state_dict, writer};
use t2m_tui::files::Inputs;
use t2m_tui::open::{Opened, Options, open};

/// Elements of the storage, of float32.
const STORED: i64 = 1 << 18;

/// An archive of these views (offset, sizes, strides) of one storage that counts up, with a NaN and an infinity in it.
fn views(views: impl IntoIterator<Item = (i64, Vec<i64>, Vec<i64>)>) -> Vec<u8> {
    let mut dict = code().raw(b"}");
    for (at, (offset, sizes, strides)) in views.into_iter().enumerate() {
        let of = storage("FloatStorage", "0", STORED);
        dict = dict.text(&format!("view{at}")).then(tensor_of(of, offset, &sizes, &strides)).raw(b"s");
    }
    let mut records = torch_records(&dict.pickle());
    let mut numbers: Vec<f32> = (0..STORED).map(|at| at as f32).collect();
    (numbers[7], numbers[8]) = (f32::NAN, f32::INFINITY);
    records[2] = Record::stored("x/data/0", &numbers.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
    zip(&records)
}

fn expanded() -> Vec<u8> {
    views((0..300).map(|at| (at % 10, vec![10_000_000 - at], vec![0])))
}

fn overlapping() -> Vec<u8> {
    views((0..10_000).map(|at| (at, vec![STORED - at], vec![1])))
}

fn opened(file: &[u8], folder: &Path) -> Opened {
    let checkpoint = folder.join("views.pt");
    std::fs::write(&checkpoint, file).unwrap();
    open(&Options { checkpoint, ..Options::default() }).unwrap()
}

#[test]
fn stored_numbers_are_looked_at_once_however_many_views_repeat_them() {
    let _alone = alone();
    for (name, file, elements) in [("expanded", expanded(), 10), ("overlapping", overlapping(), STORED as u64)] {
        let checkpoint = Checkpoint::from_bytes(Path::new("views.pt"), Bytes::Owned(file)).unwrap();
        let (found, allocated) = memory::allocated_by(|| check(&checkpoint));
        println!("{name}: {allocated} bytes for {} tensors", found.tensors);
        assert!(found.repeated.is_some_and(|bytes| bytes > 9 << 30), "{name}: {:?}", found.repeated);
        assert_eq!((found.elements, found.totals(), found.unread.len()), (elements, (1, 1), 0), "{name}");
        assert!(allocated < 32 << 20, "{name}: {allocated} bytes");
    }
}

#[test]
fn views_that_come_to_far_more_than_is_stored_are_refused_by_name() {
    let _alone = alone();
    for (file, named) in [(expanded(), "`view0` alone to 40000000"), (overlapping(), "`view0` alone to 1048576")] {
        let folder = tempfile::tempdir().unwrap();
        let opened = opened(&file, folder.path());
        let target = folder.path().join("out.safetensors");
        let (said, allocated) = memory::allocated_by(|| {
            let export = Export::plan(&opened, Inputs::default(), Wanted::to(target.clone())).unwrap();
            export.write(|_| true).unwrap_err().to_string()
        });
        assert!(said.contains(named) && said.contains(".clone()") && said.contains("--skip"), "{said}");
        assert!(!target.exists() && allocated < 64 << 20, "{allocated} bytes");
        let checkpoint = &opened.checkpoint;
        let (said, allocated) =
            memory::allocated_by(|| comparison::checkpoints(checkpoint, checkpoint).unwrap_err().to_string());
        assert!(said.contains(named), "{said}");
        assert!(allocated < 64 << 20, "{allocated} bytes");
        // Both ways of the writer.
        let map = state_dict::map(&opened, &GlobSet::empty()).unwrap();
        let back = t2m_tui::export::reverse::Reversal::by_checkpoint(checkpoint, checkpoint, &map);
        assert!(back.unwrap_err().to_string().contains(named));
    }
}

/// What models have: a mask that is expanded, a matrix under two names, another that is there transposed and in its parts.
#[test]
fn views_of_models_are_written_out_as_ever() {
    let _alone = alone();
    let file = views([
        (0, vec![8, 512, 512], vec![0, 512, 1]),
        (0, vec![512, 512], vec![512, 1]),
        (0, vec![512, 512], vec![512, 1]),
        (0, vec![512, 512], vec![1, 512]),
        (0, vec![256, 512], vec![512, 1]),
        (256, vec![512, 256], vec![512, 1]),
        (3, vec![1, 512], vec![0, 1]),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let opened = opened(&file, folder.path());
    let target = folder.path().join("out.safetensors");
    let export = Export::plan(&opened, Inputs::default(), Wanted::to(target.clone())).unwrap();
    export.write(|_| true).unwrap();
    let written = Checkpoint::open(&target).unwrap();
    assert_eq!(written.tensors.len(), 6);
    let mask = written.tensors.iter().position(|tensor| tensor.name == "view0").unwrap();
    assert_eq!(written.read(mask).unwrap().bytes.len(), 8 << 20);
    let found = check(&opened.checkpoint);
    assert_eq!((found.repeated, found.totals()), (None, (12, 12)));
    let map = state_dict::map(&opened, &GlobSet::empty()).unwrap();
    let findings = comparison::with_conversion(&opened.checkpoint, &map, &written).unwrap();
    assert!(findings.iter().all(|finding| finding.verdict.is_good()), "{findings:?}");
}

/// A few elements far apart are read by themselves, and not all that lies between them.
#[test]
fn what_lies_between_the_elements_of_a_view_is_not_read() {
    let _alone = alone();
    let file = views((0..2_000).map(|at| (at, vec![2, 2], vec![200_000, 1])));
    let checkpoint = Checkpoint::from_bytes(Path::new("views.pt"), Bytes::Owned(file)).unwrap();
    let ((), allocated) = memory::allocated_by(|| {
        for id in 0..checkpoint.tensors.len() {
            let first = id as f32;
            let values = checkpoint.read(id).unwrap().to_f32().unwrap();
            assert!(id < 10 || values == [first, first + 1.0, first + 200_000.0, first + 200_001.0], "{values:?}");
        }
    });
    assert!(allocated < 8 << 20, "{allocated} bytes");
}

/// A tensor with a thousand names is compared once.
#[test]
fn tied_tensors_are_compared_once() {
    let _alone = alone();
    let file = views((0..1_000).map(|_| (0, vec![STORED], vec![1])));
    let one = Checkpoint::from_bytes(Path::new("views.pt"), Bytes::Owned(file)).unwrap();
    let (findings, allocated) = memory::allocated_by(|| {
        let findings = comparison::checkpoints(&one, &one).unwrap();
        findings.iter().filter(|finding| finding.verdict.is_good()).count()
    });
    assert_eq!(findings, 1_000);
    assert!(allocated < 16 << 20, "{allocated} bytes");
}

/// A distributed checkpoint of which each name leads to a link of its own to one file, and all to one segment of it.
fn linked(folder: &Path, names: usize, symbolic: bool) {
    let object = |class: &str, state: Code| code().global("m", class).raw(b")\x81").then(state).raw(b"b");
    let state = |fields: Vec<(&str, Code)>| {
        let entries = fields.into_iter().fold(code().raw(b"}("), |code, (name, value)| code.text(name).then(value));
        entries.raw(b"u")
    };
    let segment = zip(&torch_records(&crate::common::archive::tensor(0, &[4], &[1]).pickle()));
    std::fs::write(folder.join("file.distcp"), &segment).unwrap();
    let (mut described, mut stored) = (code().raw(b"}("), code().raw(b"}("));
    for at in 0..names {
        let file = format!("link{at}.distcp");
        let (from, to) = (folder.join("file.distcp"), folder.join(&file));
        let made = if symbolic { std::os::unix::fs::symlink("file.distcp", to) } else { std::fs::hard_link(from, to) };
        made.unwrap();
        let properties = object("TensorProperties", code().raw(b"(").global("torch", "float32").raw(b"t"));
        let chunk = object("ChunkStorageMetadata", state(vec![("sizes", code().ints(&[4]))]));
        let facts = state(vec![
            ("properties", properties),
            ("size", code().ints(&[4])),
            ("chunks", code().raw(b"]").then(chunk).raw(b"a")),
        ]);
        let name = format!("tensor{at}");
        described = described.text(&name).then(object("TensorStorageMetadata", facts));
        let place = state(vec![
            ("relative_path", code().text(&file)),
            ("offset", code().int(0)),
            ("length", code().int(segment.len() as i64)),
        ]);
        let index = object("MetadataIndex", state(vec![("fqn", code().text(&name))]));
        stored = stored.then(index).then(object("_StorageInfo", place));
    }
    let root = state(vec![("state_dict_metadata", described.raw(b"u")), ("storage_data", stored.raw(b"u"))]);
    std::fs::write(folder.join(".metadata"), object("Metadata", root).pickle()).unwrap();
}

#[test]
fn a_file_of_a_distributed_checkpoint_is_one_whatever_links_lead_to_it() {
    let _alone = alone();
    let mut taken = Vec::new();
    for (names, symbolic) in [(1, false), (300, false), (300, true)] {
        let folder = tempfile::tempdir().unwrap();
        linked(folder.path(), names, symbolic);
        let (checkpoint, allocated) = memory::allocated_by(|| Checkpoint::open(folder.path()).unwrap());
        assert_eq!((checkpoint.tensors.len(), checkpoint.shards, checkpoint.warnings.len()), (names, 1, 0));
        let size = folder.path().join("file.distcp").metadata().unwrap().len();
        assert_eq!(checkpoint.bytes, size + folder.path().join(".metadata").metadata().unwrap().len());
        assert_eq!(checkpoint.read(names - 1).unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
        let found = check(&checkpoint);
        assert_eq!((found.archives, found.is_sound(), found.tensors), (1, true, names));
        taken.push(allocated);
    }
    // A name costs its description, and not a file.
    assert!(taken[1] < taken[0] + 300 * 8_000 && taken[2] < taken[0] + 300 * 8_000, "{taken:?}");
}

#[test]
fn the_writer_holds_what_comes_out_against_what_goes_in() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    // A matrix that MLX's file ties to ten thousand names of torch.
    let tied: serde_json::Map<_, _> = (0..10_000).map(|at| (format!("t{at}"), "a".into())).collect();
    let header = serde_json::json!({
        "__metadata__": {"format": "mlx", "tied": serde_json::Value::Object(tied).to_string()},
        "a": {"dtype": "F32", "shape": [1 << 18], "data_offsets": [0, 1 << 20]},
    });
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + (1 << 20), 0);
    let mlx = Checkpoint::from_bytes(Path::new("mlx.safetensors"), Bytes::Owned(bytes)).unwrap();
    let row = serde_json::json!({"from": ["a"], "rule": "identity", "shape": [1 << 18], "from_shapes": [[1 << 18]],
        "dtype": "float32", "fold": "one", "layout": "keep", "known": "plan"});
    let map = serde_json::json!({ "a": row }).to_string();
    let map = state_dict::key_map::parse(Path::new("map.json"), map.as_bytes()).unwrap();
    let back = t2m_tui::export::reverse::Reversal::by_map(&mlx, &map).unwrap();
    let target = folder.path().join("out.safetensors");
    let options = writer::Options {
        target: target.clone(),
        force: false,
        shard_bytes: u64::MAX,
        strict: false,
        source: String::new(),
    };
    let said = writer::write(&back, &options, |_| true).unwrap_err().to_string();
    assert!(said.contains("come to 10486808576 bytes") && !target.exists(), "{said}");
}
