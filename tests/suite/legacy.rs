//! Checkpoints of torch before 1.6 and torch packages, and hostile relatives of them.

use std::path::Path;

use crate::facts::{compare, expected, fixture};
use proptest::prelude::*;
use t2m_checkpoint::{Bytes, Checkpoint, Content};
use t2m_tui::source::Sources;

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&fixture(name)).unwrap()
}

fn modules(checkpoint: &Checkpoint) -> Vec<[String; 2]> {
    let Content::Modules(modules) = &checkpoint.content else { panic!("no modules") };
    modules.iter().map(|module| [module.path.clone(), module.class.clone()]).collect()
}

#[test]
fn every_fixture_reads_as_torch_reads_it() {
    for (name, format) in [
        ("state_dict.pth", "torch-legacy"),
        ("wrapped.pth", "torch-legacy"),
        ("module.pth", "torch-legacy"),
        ("old_views.pth", "torch-legacy"),
        ("ancient.pth", "torch-tar"),
    ] {
        let checkpoint = open(name);
        assert_eq!(checkpoint.format.name(), format, "{name}");
        assert_eq!(checkpoint.warnings, [""; 0], "{name}");
        compare(&checkpoint, &expected(name));
    }
}

#[test]
fn tied_tensors_and_views_share_storages() {
    let checkpoint = open("state_dict.pth");
    let id = |name: &str| checkpoint.tensors.iter().position(|tensor| tensor.name == name).unwrap();
    assert_eq!(checkpoint.tensors[id("tied")].shared_with, Some(id("fc.weight")));
    assert_eq!(checkpoint.tensors[id("transposed")].storage, checkpoint.tensors[id("column")].storage);
    let ancient = open("ancient.pth");
    assert_eq!(ancient.tensors[3].shared_with, Some(0), "one tensor under two names");
}

#[test]
fn a_wrapped_state_dict_is_unwrapped() {
    let checkpoint = open("wrapped.pth");
    assert_eq!(checkpoint.wrappers, ["state_dict", "module."]);
    assert_eq!(checkpoint.metadata["epoch"], 3);
}

#[test]
fn a_module_brings_its_own_source() {
    let checkpoint = open("module.pth");
    assert_eq!(serde_json::to_value(modules(&checkpoint)).unwrap(), expected("module.pth")["modules"]);
    let classes: Vec<(&str, &str)> =
        checkpoint.sources.iter().map(|source| (source.class.as_str(), source.file.as_str())).collect();
    assert_eq!(
        classes,
        [
            ("tiny.net.Net", "tiny/net.py (class Net)"),
            ("torch.nn.modules.conv.Conv2d", "torch/nn/modules/conv.py (class Conv2d)"),
            ("tiny.net.Block", "tiny/net.py (class Block)"),
        ]
    );
    let mut sources = Sources::default();
    for source in &checkpoint.sources {
        sources.add_class(&source.class, &source.file, "from the checkpoint", &source.text);
    }
    let block = sources.class("tiny.net.Block").unwrap();
    assert_eq!((block.origin.as_str(), block.file.as_str()), ("from the checkpoint", "tiny/net.py (class Block)"));
    assert_eq!(block.forward, Some(6..10));
    assert_eq!(block.blockers.iter().map(|blocker| blocker.line).collect::<Vec<_>>(), [7]);
    assert!(sources.class("torch.nn.modules.conv.Conv2d").unwrap().forward.is_some());
    assert!(sources.class("tiny.net.Other").is_none());
}

#[test]
fn a_package_brings_its_files() {
    let checkpoint = open("package.pt");
    assert_eq!(checkpoint.format.name(), "torch-package");
    assert_eq!(checkpoint.warnings, [""; 0]);
    compare(&checkpoint, &expected("package.pt"));
    assert_eq!(serde_json::to_value(modules(&checkpoint)).unwrap(), expected("package.pt")["modules"]);
    let mut sources = Sources::default();
    for source in &checkpoint.sources {
        assert_eq!((source.class.as_str(), source.file.as_str()), ("ranking.net.Scale", "ranking/net.py"));
        sources.add_class(&source.class, &source.file, "from the checkpoint", &source.text);
    }
    assert_eq!(sources.class("ranking.net.Ranker").unwrap().forward, Some(17..19));
    assert_eq!(sources.class("ranking.net.Scale").unwrap().blockers.len(), 1);
}

mod training {
    use super::*;
    use serde_json::json;

    #[test]
    fn moments_are_named_after_their_parameters() {
        let checkpoint = open("wrapped.pth");
        let optimizer = &checkpoint.metadata["optimizer"];
        assert_eq!(optimizer["parameters"], expected("wrapped.pth")["parameters"]);
        assert_eq!(optimizer["state"], json!({"entries": 6, "fields": ["step", "exp_avg", "exp_avg_sq"]}));
    }

    #[test]
    fn moments_in_another_order_are_not() {
        let checkpoint = open("two_groups.pt");
        let optimizer = &checkpoint.metadata["optimizer"];
        assert_eq!(optimizer["groups"].as_array().unwrap().len(), 2);
        assert_eq!(optimizer.get("parameters"), None);
    }

    #[test]
    fn a_lightning_checkpoint_shows_its_hyper_parameters() {
        let checkpoint = open("lightning.ckpt");
        compare(&checkpoint, &expected("lightning.ckpt"));
        assert_eq!(checkpoint.wrappers, ["state_dict"]);
        assert_eq!(checkpoint.metadata["hyper_parameters"], json!({"lr": 1e-3, "width": 4, "layers": [1, 2]}));
        assert_eq!(checkpoint.metadata["global_step"], 120);
        assert_eq!(checkpoint.metadata["optimizer_states"][0]["parameters"], expected("lightning.ckpt")["parameters"]);
        assert_eq!(checkpoint.metadata["optimizer_states"][0]["groups"][0]["params"], 6);
    }
}

mod hostile {
    use super::*;

    use crate::common::legacy::{Stream, text};

    #[test]
    fn a_sound_stream_reads() {
        assert_eq!(Stream::default().values(), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn sizes_are_checked_against_the_pickle_and_the_file() {
        let numel = |declared: i64, written: i64| {
            Stream { declared, written: written.to_le_bytes(), ..Stream::default() }.open().unwrap_err()
        };
        insta::assert_snapshot!(
            [
                numel(4, 1 << 61),
                numel(1 << 61, 1 << 61),
                numel(1 << 60, 1 << 60),
                numel(i64::MAX, i64::MAX),
                numel(4, -1),
                numel(-1, -1),
                numel(5, 5),
                numel(3, 3),
            ]
            .join("\n"),
            @r#"
        hostile.pth: legacy checkpoint, byte 206: storage `5` has 2305843009213693952 elements by its own account, 4 by the pickle; the file is damaged
        hostile.pth: legacy checkpoint, byte 214: storage `5` has 9223372036854775808 bytes, of which the file holds 16: it is cut off, or the size is made up
        hostile.pth: legacy checkpoint, byte 214: storage `5` has 4611686018427387904 bytes, of which the file holds 16: it is cut off, or the size is made up
        hostile.pth: legacy checkpoint, byte 206: storage `5` has an impossible size of 9223372036854775807 elements
        hostile.pth: legacy checkpoint, byte 206: storage `5` has -1 elements by its own account, 4 by the pickle; the file is damaged
        hostile.pth: legacy checkpoint, byte 153: a storage of -1 elements
        hostile.pth: legacy checkpoint, byte 214: storage `5` has 20 bytes, of which the file holds 16: it is cut off, or the size is made up
        hostile.pth: legacy checkpoint, byte 192: tensor `w`: needs 4 elements of storage `5`, which holds 3
        "#
        );
    }

    #[test]
    fn the_byte_order_is_that_of_the_sizes() {
        let big = Stream {
            little_endian: false,
            written: 4i64.to_be_bytes(),
            elements: [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_be_bytes()).collect(),
            ..Stream::default()
        };
        assert_eq!(big.values(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(big.open().unwrap().warnings, [""; 0]);
        // Machines of the other order have always written the usual one.
        let honest = Stream { little_endian: false, ..Stream::default() };
        assert_eq!(honest.values(), [1.0, 2.0, 3.0, 4.0]);
        insta::assert_snapshot!(honest.open().unwrap().warnings.join("\n"), @r#"The file says that it was written on a big-endian machine; by the sizes of its storages it is little-endian, and is read so."#);
    }

    #[test]
    fn damage_is_named() {
        let keys = |list: &[&str]| {
            let list: Vec<u8> = list.iter().flat_map(|key| text(key)).collect();
            [b"\x80\x02](".as_slice(), &list, b"e."].concat()
        };
        let opened = |stream: Stream| stream.open().unwrap_err();
        insta::assert_snapshot!(
            [
                opened(Stream { protocol: 1002, ..Stream::default() }),
                opened(Stream { keys: b"\x80\x02K\x01.".to_vec(), ..Stream::default() }),
                opened(Stream { keys: keys(&["6", "5"]), ..Stream::default() }),
                opened(Stream { keys: keys(&["5", "5"]), ..Stream::default() }),
                opened(Stream { keys: b"\x80\x02X\xff\xff\xff\xff".to_vec(), ..Stream::default() }),
                opened(Stream { keys: b"\x80\x02cposix\nsystem\n(]\xff".to_vec(), ..Stream::default() }),
            ]
            .join("\n"),
            @r#"
        hostile.pth: legacy checkpoint, byte 15: protocol 1002 of torch.save is not known, only 1001 was ever used
        hostile.pth: legacy checkpoint, byte 195: the storage keys are no list; the file is damaged
        hostile.pth: legacy checkpoint, byte 213: storage `6` belongs to no tensor, or has elements of unknown size: what follows it cannot be found
        hostile.pth: legacy checkpoint, byte 237: the file is cut off in front of storage `5`; copy it again
        hostile.pth: legacy checkpoint, byte 197: a length of 4294967295 where 24 bytes remain
        hostile.pth: legacy checkpoint, byte 213: 0xff is no pickle opcode: the pickle is damaged
        "#
        );
        let missing = Stream { keys: keys(&[]), elements: Vec::new(), ..Stream::default() }.open().unwrap();
        insta::assert_snapshot!(missing.read(0).unwrap_err(), @r#"hostile.pth: tensor `w`: storage `5` is missing from the archive"#);
        let longer = Stream { elements: vec![0; 20], ..Stream::default() }.open().unwrap();
        insta::assert_snapshot!(longer.warnings.join("\n"), @r#"4 bytes behind the last storage were not looked at."#);
    }

    #[test]
    fn one_long_text_is_not_copied_for_each_of_its_mentions() {
        let whole = Stream::default().bytes();
        // The device is a megabyte long.
        let place =
            whole.windows(8).position(|window| window == [&b"X"[..], &3u32.to_le_bytes(), b"cpu"].concat()).unwrap();
        let mut data = whole;
        data.splice(place..place + 8, text(&"c".repeat(1 << 20)));
        let error = Checkpoint::from_bytes(Path::new("hostile.pth"), Bytes::Owned(data)).unwrap_err();
        insta::assert_snapshot!(error, @r#"hostile.pth: legacy checkpoint, byte 1048726: a storage whose key or location is longer than 256 bytes"#);
    }

    #[test]
    fn a_pointer_is_no_checkpoint() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n".to_vec();
        let error = Checkpoint::from_bytes(Path::new("pointer.pt"), Bytes::Owned(pointer)).unwrap_err();
        insta::assert_snapshot!(error, @r#"pointer.pt: is a Git LFS pointer, not the checkpoint itself; fetch the file with `git lfs pull`"#);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        for name in ["old_views.pth", "ancient.pth"] {
            let whole = std::fs::read(fixture(name)).unwrap();
            // Behind the members of a tar archive there are only zeros.
            let end = whole.iter().rposition(|&byte| byte != 0).unwrap();
            for length in 0..end {
                let cut = Bytes::Owned(whole[..length].to_vec());
                assert!(Checkpoint::from_bytes(Path::new("cut.pth"), cut).is_err(), "{name} at {length}");
            }
        }
    }

    #[test]
    fn tensors_of_a_tar_archive_fit_their_storages() {
        let changed = |from: &[u8], to: &[u8]| {
            let mut data = std::fs::read(fixture("ancient.pth")).unwrap();
            let at = data.windows(from.len()).position(|window| window == from).unwrap();
            data[at..at + to.len()].copy_from_slice(to);
            Checkpoint::from_bytes(Path::new("tar.pth"), Bytes::Owned(data)).unwrap_err().to_string()
        };
        let ints = |values: &[i64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        // Sizes (2, 2), strides (1, 2), offset 1.
        let layout = ints(&[2, 2, 1, 2, 1]);
        insta::assert_snapshot!(
            [
                changed(&layout, &ints(&[i64::MAX, i64::MAX])),
                changed(&layout, &ints(&[2, 2, 1, 2, 3])),
                changed(&layout, &ints(&[2, 2, -1])),
                changed(b"\x02\0\0\0\0\0\0\0\x02\0", b"\xff\xff\xff\x7f"),
                changed(b"pickle\0", b"picked\0"),
            ]
            .join("\n"),
            @r#"
        tar.pth: tensors, byte 5: tensor 21: has more elements than 64 bits can count
        tar.pth: tensors, byte 5: tensor 21: needs 7 elements of a storage that holds 6
        tar.pth: tensors, byte 5: tensor 21: a size, stride or offset of -1
        tar.pth: tensors, byte 5: tensor 21: 2147483647 axes
        tar.pth: is a tar archive, but no checkpoint of torch before 0.1.10; if a checkpoint is packed in it, unpack it
        "#
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn changed_bytes_never_panic(
            which in 0..6usize,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let name = ["state_dict.pth", "wrapped.pth", "module.pth", "old_views.pth", "ancient.pth", "package.pt"][which];
            let mut data = std::fs::read(fixture(name)).unwrap();
            for (place, byte) in changes {
                let place = place.index(data.len());
                data[place] = byte;
            }
            if let Ok(checkpoint) = Checkpoint::from_bytes(Path::new("changed"), Bytes::Owned(data)) {
                for id in 0..checkpoint.tensors.len() {
                    let _ = checkpoint.read(id);
                }
                let mut sources = Sources::default();
                for source in &checkpoint.sources {
                    sources.add_class(&source.class, &source.file, "", &source.text);
                }
            }
        }
    }
}
