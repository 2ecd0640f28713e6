//! Checkpoints of several files: sharded ones, Hugging Face folders, `torch.distributed.checkpoint`.

use std::path::Path;

use crate::facts::{compare, expected, fixture};
use proptest::prelude::*;
use serde_json::{Value, json};
use t2m_checkpoint::Checkpoint;
use tempfile::TempDir;

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&fixture(name)).unwrap()
}

/// A copy of a fixture's folder.
fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

/// The error of opening a path, without the folder.
fn error(folder: &TempDir, path: &Path) -> String {
    let error = Checkpoint::open(path).unwrap_err().to_string();
    error.replace(folder.path().to_str().unwrap(), "FOLDER")
}

/// A copy of the sharded fixture with its index changed, and the path of that.
fn with_index(change: impl FnOnce(&mut Value)) -> (TempDir, std::path::PathBuf) {
    let folder = copy("sharded");
    let path = folder.path().join("model.safetensors.index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut index);
    std::fs::write(&path, index.to_string()).unwrap();
    (folder, path)
}

const SHARD: &str = "model-00001-of-00002.safetensors";

mod sharded {
    use super::*;

    #[test]
    fn shards_make_one_checkpoint() {
        for (folder, index, format) in [
            ("sharded", "model.safetensors.index.json", "sharded-safetensors"),
            ("sharded_bin", "pytorch_model.bin.index.json", "sharded-torch"),
        ] {
            let by_index = open(&format!("{folder}/{index}"));
            let by_folder = open(folder);
            for checkpoint in [by_index, by_folder] {
                assert_eq!((checkpoint.format.name(), checkpoint.shards), (format, 2));
                assert_eq!(checkpoint.warnings, [""; 0]);
                assert_eq!(checkpoint.metadata["total_size"], 176);
                compare(&checkpoint, &expected(folder));
            }
        }
    }

    #[test]
    fn the_size_is_that_of_all_files() {
        let files = std::fs::read_dir(fixture("sharded")).unwrap();
        let bytes: u64 = files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert_eq!(open("sharded").bytes, bytes);
    }

    #[test]
    fn a_missing_shard_is_a_warning_and_all_missing_an_error() {
        let folder = copy("sharded");
        std::fs::remove_file(folder.path().join(SHARD)).unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(checkpoint.tensors.len(), 5);
        insta::assert_snapshot!(checkpoint.warnings.join("\n"), @r#"Missing shards: 1 of 2 (`model-00001-of-00002.safetensors`). Tensors of the index that are not shown: 4."#);
        std::fs::remove_file(folder.path().join(SHARD.replace("00001", "00002"))).unwrap();
        insta::assert_snapshot!(error(&folder, folder.path()), @r#"FOLDER/model.safetensors.index.json: its shards (2 in number, the first is `model-00001-of-00002.safetensors`) are not beside it; fetch them"#);
    }

    #[test]
    fn an_index_that_does_not_fit_its_shards_is_a_warning() {
        let (_folder, path) = with_index(|index| {
            index["metadata"]["total_size"] = json!(1);
            let map = index["weight_map"].as_object_mut().unwrap();
            map.remove("fc.weight");
            map["fc.bias"] = json!(SHARD.replace("00001", "00002"));
            map.insert("ghost".to_owned(), json!(SHARD));
        });
        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(checkpoint.tensors.len(), 8);
        insta::assert_snapshot!(checkpoint.warnings.join("\n"), @r#"
        Tensors of the index that are not in the shards it gives for them: 2 (`fc.bias`, `ghost`).
        Tensors of the shards that are not in the index: 1 (`fc.weight`).
        Tensors that are in another shard too; the one of the index counts: 1.
        The index says that the tensors have 1 bytes; they have 160.
        "#);
    }

    #[test]
    fn only_names_in_the_folder_are_followed() {
        let named = |name: &str| {
            let (folder, path) = with_index(|index| index["weight_map"]["fc.bias"] = json!(name));
            error(&folder, &path)
        };
        let secret = "../secret.safetensors";
        insta::assert_snapshot!([named(secret), named("/etc/passwd"), named(".."), named("a\\b"), named("")].join("\n"), @r#"
        FOLDER/model.safetensors.index.json: gives `../secret.safetensors` as the shard of tensor `fc.bias`; only names of files in the same folder are followed
        FOLDER/model.safetensors.index.json: gives `/etc/passwd` as the shard of tensor `fc.bias`; only names of files in the same folder are followed
        FOLDER/model.safetensors.index.json: gives `..` as the shard of tensor `fc.bias`; only names of files in the same folder are followed
        FOLDER/model.safetensors.index.json: gives `a\b` as the shard of tensor `fc.bias`; only names of files in the same folder are followed
        FOLDER/model.safetensors.index.json: gives `` as the shard of tensor `fc.bias`; only names of files in the same folder are followed
        "#);
        // An index as a shard of itself is no shard.
        insta::assert_snapshot!(named("model.safetensors.index.json"), @r#"FOLDER/model.safetensors.index.json: is a JSON file, not a checkpoint; give the .safetensors or .pt file it belongs to"#);
    }

    #[test]
    fn a_broken_index_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors.index.json");
        let mut all = Vec::new();
        for text in [
            r#"{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}"#,
            r#"{"weight_map": {"a": 1}}"#,
            r#"{"weight_map": {"a": "x.safetensors""#,
            r#"{"weight_map": {}}"#,
            r#"{"metadata": {}}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            all.push(error(&folder, &path));
        }
        insta::assert_snapshot!(all.join("\n"), @r#"
        FOLDER/model.safetensors.index.json: is no sound index of shards: the tensor `a` is there twice at line 1 column 59; download it again
        FOLDER/model.safetensors.index.json: is no sound index of shards: invalid type: integer `1`, expected a string at line 1 column 22; download it again
        FOLDER/model.safetensors.index.json: is no sound index of shards: EOF while parsing an object at line 1 column 36; download it again
        FOLDER/model.safetensors.index.json: names no shards
        FOLDER/model.safetensors.index.json: is a JSON file, not a checkpoint; give the .safetensors or .pt file it belongs to
        "#);
    }
}

mod hugging_face {
    use super::*;

    #[test]
    fn a_hugging_face_folder_tells_the_class() {
        let checkpoint = open("hf");
        assert_eq!(checkpoint.format.name(), "hf-folder");
        assert_eq!(
            checkpoint.root_class.as_deref(),
            Some("transformers.models.tiny_rank.modeling_tiny_rank.TinyForRanking")
        );
        assert_eq!(checkpoint.metadata["config"]["hidden_size"], 4);
        assert_eq!(checkpoint.metadata["file"], "model.safetensors");
        compare(&checkpoint, &expected("hf"));
    }

    #[test]
    fn the_class_is_only_taken_where_it_is_one() {
        let class = |config: Value| {
            let folder = copy("hf");
            std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
            Checkpoint::open(folder.path()).unwrap().root_class
        };
        let own =
            json!({"architectures": ["Net"], "model_type": "x", "auto_map": {"AutoModel": "me/repo--code_net.Net"}});
        assert_eq!(class(own).as_deref(), Some("code_net.Net"));
        let unet = json!({"_class_name": "UNet2DConditionModel"});
        assert_eq!(class(unet).as_deref(), Some("diffusers.UNet2DConditionModel"));
        for none in [
            json!({}),
            json!({"architectures": []}),
            json!({"architectures": ["../x"], "model_type": "x"}),
            json!({"architectures": ["Net"], "model_type": "../../x"}),
            json!({"architectures": ["Net"]}),
        ] {
            assert_eq!(class(none), None);
        }
    }

    #[test]
    fn a_sharded_folder_with_a_config_is_one_too() {
        let folder = copy("sharded");
        std::fs::write(folder.path().join("config.json"), "[").unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!((checkpoint.format.name(), checkpoint.shards), ("hf-folder", 2));
        insta::assert_snapshot!(checkpoint.warnings.join("\n"), @r#"config.json was not used: invalid type: sequence, expected a map at line 1 column 0."#);
    }

    #[test]
    fn the_only_checkpoint_of_a_folder_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(fixture("wrapped.pth"), folder.path().join("last.pth")).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!((checkpoint.format.name(), checkpoint.path.as_path()), ("torch-legacy", folder.path()));
        std::fs::write(folder.path().join("best.pt"), "").unwrap();
        insta::assert_snapshot!(error(&folder, folder.path()), @r#"FOLDER: is a folder with several checkpoints; give one of them: best.pt, last.pth"#);
    }

    #[test]
    fn a_folder_of_something_else_is_an_error_that_lists_it() {
        let folder = tempfile::tempdir().unwrap();
        let empty = error(&folder, folder.path());
        std::fs::create_dir(folder.path().join("unet")).unwrap();
        for number in 0..14 {
            std::fs::write(folder.path().join(format!("{number:02}.txt")), "").unwrap();
        }
        insta::assert_snapshot!(format!("{empty}\n{}", error(&folder, folder.path())), @r#"
        FOLDER: is a folder without a checkpoint: it is empty; give the checkpoint's file or folder
        FOLDER: is a folder without a checkpoint: it holds unet/, 00.txt, 01.txt, 02.txt, 03.txt, 04.txt, 05.txt, 06.txt, 07.txt, 08.txt, 09.txt, 10.txt, and 3 more; give the checkpoint's file or folder
        "#);
    }
}

mod distributed {
    use super::*;

    #[test]
    fn metadata_describes_the_tensors_and_segments_hold_them() {
        for path in ["dcp", "dcp/.metadata"] {
            let checkpoint = open(path);
            assert_eq!((checkpoint.format.name(), checkpoint.shards), ("dcp", 1));
            assert_eq!(checkpoint.wrappers, ["model"]);
            assert_eq!(checkpoint.metadata["objects"], json!(["epoch"]));
            assert_eq!(checkpoint.warnings, [""; 0]);
            compare(&checkpoint, &expected("dcp"));
        }
    }

    #[test]
    fn tensors_are_listed_without_their_files() {
        let folder = copy("dcp");
        std::fs::remove_file(folder.path().join("__0_0.distcp")).unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(checkpoint.tensors.len(), 9);
        insta::assert_snapshot!(checkpoint.warnings.join("\n"), @r#"`__0_0.distcp` is missing; the tensors in it are listed, but cannot be read."#);
        insta::assert_snapshot!(checkpoint.read(0).unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "FOLDER"), @r#"FOLDER: tensor `fc.weight`: its file `__0_0.distcp` is missing"#);
    }

    /// The first error of opening a copy with changed metadata and reading its tensors.
    fn changed(from: &[u8], to: &[u8]) -> String {
        let folder = copy("dcp");
        let path = folder.path().join(".metadata");
        let mut data = std::fs::read(&path).unwrap();
        while let Some(at) = data.windows(from.len()).position(|window| window == from) {
            data.splice(at..at + from.len(), to.iter().copied());
        }
        std::fs::write(&path, data).unwrap();
        let error = match Checkpoint::open(folder.path()) {
            Ok(checkpoint) => (0..checkpoint.tensors.len()).find_map(|id| checkpoint.read(id).err()).unwrap(),
            Err(error) => error,
        };
        error.to_string().replace(folder.path().to_str().unwrap(), "FOLDER")
    }

    #[test]
    fn a_tensor_in_chunks_is_listed_and_not_read() {
        // The size of the only chunk of the first tensor, [4, 3], is not the tensor's any more.
        let error = changed(b"K\x04K\x03\x86\x94\x85\x94R\x94ub", b"K\x02K\x03\x86\x94\x85\x94R\x94ub");
        insta::assert_snapshot!(error, @r#"FOLDER: tensor `fc.weight`: is stored in chunks, which are not put together; consolidate the checkpoint first"#);
    }

    #[test]
    fn damage_is_named() {
        insta::assert_snapshot!(
            [
                changed(b"__0_0.distcp", b"../0_.distcp"),
                changed(b"offset", b"offsat"),
                changed(b"chunks", b"chonks"),
                changed(b"float32", b"float16"),
                changed(b"size\x94", b"sise\x94"),
                changed(b"state_dict_metadata", b"state_dict_motadata"),
                changed(b"ChunkStorageMetadata", b""),
            ]
            .join("\n"),
            @r#"
        FOLDER/.metadata: .metadata, byte 1634: names `../0_.distcp`; only files in the same folder are followed
        FOLDER: tensor `fc.weight`: is in none of the files by the account of `.metadata`
        FOLDER: tensor `fc.weight`: is stored in chunks, which are not put together; consolidate the checkpoint first
        FOLDER: tensor `fc.weight`: its archive of 1577 bytes at byte 1261 holds something else than the tensor described
        FOLDER/.metadata: .metadata, byte 142: tensor `model.fc.weight` has no size
        FOLDER/.metadata: .metadata, byte 65: holds torch.distributed.checkpoint.metadata.Metadata(), which does not describe tensors
        FOLDER/.metadata: .metadata, byte 372: 0x21 is no pickle opcode: the pickle is damaged; it mentions torch.distributed.checkpoint.metadata.Metadata (byte 62), torch.distributed.checkpoint.metadata.TensorStorageMetadata (byte 139), torch.distributed.checkpoint.metadata.TensorProperties (byte 181), which was not run
        "#
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn changed_bytes_never_panic(
        which in 0..4usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (name, file) = [
            ("sharded", "model.safetensors.index.json"),
            ("sharded_bin", "pytorch_model-00001-of-00002.bin"),
            ("dcp", ".metadata"),
            ("dcp", "__0_0.distcp"),
        ][which];
        let folder = copy(name);
        let path = folder.path().join(file);
        let mut data = std::fs::read(&path).unwrap();
        for (place, byte) in changes {
            let place = place.index(data.len());
            data[place] = byte;
        }
        std::fs::write(&path, data).unwrap();
        if let Ok(checkpoint) = Checkpoint::open(folder.path()) {
            for id in 0..checkpoint.tensors.len() {
                let _ = checkpoint.read(id);
            }
        }
    }
}
