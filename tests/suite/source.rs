//! Finding classes in Python source, wherever it lies and whatever it holds.

use std::path::{Path, PathBuf};

use crate::common::python::{describe, net};
use t2m_tui::source::Sources;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/source")
}

fn sources(path: impl AsRef<Path>) -> Sources {
    Sources::new(&[fixtures().join(path)]).unwrap()
}

mod locating {
    use super::*;

    #[test]
    fn a_folder_serves_classes_by_their_module_path() {
        let block = sources(".").class("vision.net.Block").unwrap();
        assert!(block.file.ends_with("vision/net.py") && block.origin == "from --source");
        assert_eq!((block.class_line, block.forward), (22, Some(36..42)));
        let found: Vec<String> = block.blockers.iter().map(describe).collect();
        insta::assert_debug_snapshot!(found, @r#"
        [
            "28:9 register_forward_hook breaks: self.conv1.register_forward_hook(self._seen)",
            "34:20 .item() breaks: x.mean().item()",
            "39:9 += harmless: out += identity",
            "40:15 torch.autograd.Function breaks: Scale.apply(out)",
        ]
        "#);
        insta::assert_debug_snapshot!(block.mentions, @r#"
        [
            (
                38,
                "layers",
            ),
            (
                38,
                "layers.0",
            ),
            (
                38,
                "conv1",
            ),
            (
                41,
                "_gate",
            ),
            (
                41,
                "layers",
            ),
        ]
        "#);
    }

    #[test]
    fn one_class_is_found_by_many_ways() {
        for (root, class) in [
            (".", "vision.net.Net"),
            ("vision", "vision.net.Net"),
            ("vision", "net.Net"),
            ("vision/net.py", "vision.net.Net"),
            ("vision/net.py", "__main__.Net"),
            ("vision/net.py", "Net"),
            (".", "__main__.Net"),
            (".", "train.models.Net"),
        ] {
            let found = sources(root).class(class).unwrap_or_else(|| panic!("{class} in {root}"));
            assert_eq!((found.class_line, found.forward), (48, Some(58..64)), "{class} in {root}");
        }
        assert_eq!(sources(".").class("vision.net.Net.Head").unwrap().class_line, 49);
        assert_eq!(sources("vision/net.py").class("__main__.Net.Head").unwrap().class_line, 49);
        assert_eq!(sources(".").class("vision.net.Chosen").unwrap().class_line, 67);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for class in ["vision.net.Missing", "vision.net.NotHere", "vision.net.Net.Missing", "", ".", "vision.net."] {
            assert!(sources(".").class(class).is_none(), "{class}");
        }
        let text = "class Conv2d:\n    def forward(self, x): return x\n";
        let mut own = Sources::default();
        own.add_text("", "own.py", "from a test", text);
        assert!(own.class("own.Conv2d").is_some());
        assert!(own.class("torch.nn.modules.conv.Conv2d").is_none(), "torch's classes are torch's");
    }

    #[test]
    fn forward_is_inherited_within_the_file() {
        let wide = sources(".").class("vision.net.Wide").unwrap();
        assert_eq!((wide.class_line, wide.forward), (44, Some(36..42)));
        assert_eq!(wide.origin, "from --source, forward inherited from Block");
        assert_eq!(wide.blockers.len(), 4);
        let alias = net("class Net:\n    def _impl(self, x): return x.item()\n    forward = _impl\n");
        assert_eq!((alias.forward, alias.blockers.len()), (Some(2..3), 1));
        let none = net("from other import Base\nclass Net(Base):\n    pass\n");
        assert_eq!((none.forward, none.origin.as_str()), (None, "from a test"));
        let circle = net("class A(Net): ...\nclass Net(A, Net): ...\n");
        assert_eq!(circle.forward, None);
    }

    #[test]
    fn the_active_environment_and_its_versions_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let packages = folder.path().join("lib/python3.12/site-packages");
        std::fs::create_dir_all(packages.join("mine")).unwrap();
        std::fs::create_dir_all(packages.join("mine-2.1.dist-info")).unwrap();
        std::fs::write(packages.join("mine/net.py"), "class Net:\n    def forward(self, x): return x\n").unwrap();
        let mut sources = Sources::default();
        assert!(!sources.add_environment(&folder.path().join("gone")));
        assert!(sources.add_environment(folder.path()));
        let told = |sources: &Sources| {
            let found = sources.class("mine.net.Net").unwrap();
            (found.origin, found.trust)
        };
        let origin = "from the active environment, mine 2.1".to_owned();
        assert_eq!(
            told(&sources),
            (origin.clone(), "the file does not tell which version made the weights".to_owned())
        );
        sources.made_with("mine", "2.0");
        assert_eq!(told(&sources), (origin.clone(), "another version: 2.0 saved the weights".to_owned()));
        sources.made_with("mine", "2.1");
        assert_eq!(told(&sources), (origin, "the version that saved the weights".to_owned()));
        sources.add_text("own", "own.py", "from the checkpoint", "class Own: ...\n");
        assert_eq!(sources.class("own.Own").unwrap().trust, "it came with the weights");
    }

    #[test]
    fn the_right_one_of_two_modules_is_preferred() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("a/net.py", "class Net: ...\n");
        write("b/net.py", "\nclass Net: ...\n");
        write("site-packages/lib/net.py", "\n\nclass Net: ...\n");
        let roots = ["a/net.py", "b", "site-packages"].map(|path| folder.path().join(path));
        let sources = Sources::new(&roots).unwrap();
        let line = |class: &str| sources.class(class).map(|found| found.class_line);
        assert_eq!(line("net.Net"), Some(1), "the first");
        assert_eq!(line("b.net.Net"), Some(1), "both are exact, the file is named first");
        assert_eq!(line("lib.net.Net"), Some(1), "a file named net serves any net");
        assert_eq!(Sources::new(&roots[2..]).unwrap().class("lib.net.Net").unwrap().class_line, 3);
        assert!(Sources::new(&roots[2..]).unwrap().class("other.net.Net").is_none(), "packages are not searched");
        let all = Sources::new(&[folder.path().to_owned()]).unwrap();
        assert_eq!(all.class("project.b.net.Net").unwrap().class_line, 2, "the likest path");
    }

    #[test]
    fn a_hostile_name_does_not_leave_its_folder() {
        let sources = sources("vision");
        for class in [
            "../vision/net.Net",
            "..net.Net",
            "/etc/passwd.Net",
            "net\0.Net",
            "net.py/../net.Net",
            "C:\\net.Net",
            "net.<locals>",
            &"a.".repeat(100_000),
            &format!("{}.Net", "n".repeat(100_000)),
        ] {
            assert!(sources.class(class).is_none());
        }
    }

    #[test]
    fn encodings_and_line_ends_of_old_files_are_read() {
        let sources = sources("legacy");
        let latin = sources.class("latin.Café").unwrap();
        assert!(latin.text.contains("été"));
        assert_eq!(describe(&latin.blockers[0]), "5:16 .item() breaks: x.item()");
        let dos = sources.class("dos.Dos").unwrap();
        assert_eq!(dos.forward, Some(2..5));
        assert_eq!(describe(&dos.blockers[0]), "4:10 .item() breaks: y.item()");
        assert!(sources.class("utf16.Net").is_none());
    }

    #[test]
    fn a_file_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.py");
        std::fs::write(&path, "class Net: ...\nclass Other: ...\n").unwrap();
        let sources = Sources::new(std::slice::from_ref(&path)).unwrap();
        let first = sources.class("net.Net").unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(std::sync::Arc::ptr_eq(&first.text, &sources.class("net.Other").unwrap().text));
    }

    #[test]
    fn errors_say_what_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = |path: &Path| {
            let error = Sources::new(&[path.to_owned()]).unwrap_err().to_string();
            error.replace(folder.path().to_str().unwrap(), "DIR")
        };
        let text = folder.path().join("model.txt");
        std::fs::write(&text, "class Net: ...").unwrap();
        let large = folder.path().join("large.py");
        std::fs::write(&large, vec![b'#'; (4 << 20) + 1]).unwrap();
        insta::assert_snapshot!(error(&folder.path().join("absent")), @"source DIR/absent: No such file or directory (os error 2); name a .py file, a folder, or a site-packages folder");
        insta::assert_snapshot!(error(&text), @"source DIR/model.txt: neither a .py file nor a folder; name the file that defines the model, or a folder above it");
        insta::assert_snapshot!(error(&large), @"source DIR/large.py: 4194305 bytes; files above 4 MiB are not read. Name the file that defines the model");
    }

    #[cfg(unix)]
    #[test]
    fn a_python_is_asked_for_its_path() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let script = |name: &str, body: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let listed = fixtures();
        let listed = listed.display();
        let good = script("good", &format!("test \"$1\" = -I && echo '[\"\", \"/absent\", \"{listed}\"]'"));
        let mut sources = Sources::default();
        sources.add_python(&good).unwrap();
        assert_eq!(sources.class("vision.net.Net").unwrap().origin, "from --python");
        assert!(sources.class("__main__.Net").is_none());
        let message = |path: &Path| {
            let error = Sources::default().add_python(path).unwrap_err().to_string();
            error.replace(folder.path().to_str().unwrap(), "DIR")
        };
        insta::assert_snapshot!(message(&script("bad", "echo first >&2; echo no such module >&2; exit 3")), @"python DIR/bad: exit status: 3: no such module; name a Python 3 that runs, or its site-packages folder by --source");
        insta::assert_snapshot!(message(&script("mad", "echo hello")), @"python DIR/mad: its answer is not a path: expected value at line 1 column 1; name a Python 3 that runs, or its site-packages folder by --source");
        insta::assert_snapshot!(message(&folder.path().join("absent")), @"python DIR/absent: No such file or directory (os error 2); name a Python 3 that runs, or its site-packages folder by --source");
    }
}

mod colours {
    use t2m_tui::source::highlight::{Run, python};

    const TEXT: &str = "\"\"\"A docstring\nclass of its own: é\n\"\"\"\nimport torch\n\nclass Net:\n    \"\"\"of\n    def\n    \"\"\"\n    def forward(self, x):\n        return 'é' + x\n";

    fn covers(text: &str, first: usize, runs: &[Vec<Run>]) {
        for (line, runs) in text.lines().skip(first - 1).zip(runs) {
            let mut at = 0;
            for run in runs {
                assert_eq!(run.bytes.start, at, "{line:?}");
                assert!(line.get(run.bytes.clone()).is_some_and(|part| !part.is_empty()), "{line:?}");
                at = run.bytes.end;
            }
            assert_eq!(at, line.len(), "{line:?}");
        }
    }

    #[test]
    fn runs_cover_each_line_and_a_part_reads_as_in_the_whole() {
        for dark in [true, false] {
            let whole = python(TEXT, 1..100, dark);
            assert_eq!(whole.len(), TEXT.lines().count());
            covers(TEXT, 1, &whole);
            for start in 1..whole.len() {
                assert_eq!(
                    python(TEXT, start..start + 2, dark),
                    whole[start - 1..(start + 1).min(whole.len())],
                    "{start}"
                );
            }
        }
        assert!(python(TEXT, 50..60, true).is_empty() && python("", 0..10, true).is_empty());
    }

    #[test]
    fn words_of_the_language_differ_from_text() {
        let runs = python(TEXT, 6..9, true);
        let keyword = runs[0][0].colour;
        assert_ne!(keyword, runs[0].iter().find(|run| run.bytes.contains(&6)).unwrap().colour, "class and its name");
        assert!(runs[2].iter().all(|run| run.colour != keyword), "def inside of a docstring");
        assert_ne!(python(TEXT, 6..7, false)[0][0].colour, keyword, "light is another theme");
    }

    #[test]
    fn strange_text_is_covered_too() {
        let long = format!("x = '{}'\ny = 1\n", "é".repeat(10_000));
        for text in ["\r\n\tx = 1\r\n", "def (((\n\"\"\"", "\u{feff}\0\u{202e}\n\n", &long] {
            covers(text, 1, &python(text, 1..usize::MAX, true));
        }
    }
}

mod never_panics {
    use super::*;
    use proptest::prelude::*;
    use t2m_tui::source::highlight;

    const PIECES: [&str; 34] = [
        "class Net",
        "class Net(Net)",
        "class A(torch.autograd.Function):",
        "def forward(self, x):",
        "def forward(",
        "x += 1",
        "v = x[0]",
        "v += x",
        "x.item()",
        "self.a[0].b",
        "self.",
        "import a.b as c",
        "from .. import *",
        "for i, v in enumerate(x):",
        "if (n := x):",
        "match x:",
        "case [a, *b]:",
        "lambda self: ",
        "\"\"\"",
        "'",
        "(",
        ")",
        "[",
        "\n",
        "\n    ",
        "\n        ",
        "\t",
        "\r\n",
        "\\\n",
        "é",
        "\u{0}",
        "#",
        "async ",
        "@",
    ];

    fn exercise(text: &str) {
        let mut sources = Sources::default();
        sources.add_text("m", "m.py", "", text);
        for class in ["m.Net", "m.A", "m.Net.A"] {
            let Some(found) = sources.class(class) else { continue };
            let lines = found.text.lines().count();
            assert!(found.class_line >= 1 && found.class_line <= lines);
            assert!(found.forward.is_none_or(|range| range.start < range.end && range.end <= lines + 1));
            assert!(found.blockers.is_sorted_by_key(|blocker| (blocker.line, blocker.column)));
            for blocker in &found.blockers {
                let line = found.text.split('\n').nth(blocker.line - 1).unwrap();
                assert!(blocker.column <= line.chars().count() + 1 && !blocker.text.contains('\n'));
            }
        }
        highlight::python(text, 1..20, true);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn on_pieces_of_python(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
            exercise(&pieces.concat());
        }

        #[test]
        fn on_a_file_with_parts_cut_out_and_put_in(from in 0usize..1800, length in 0usize..200, put in ".{0,20}") {
            let mut text: Vec<char> = std::fs::read_to_string(fixtures().join("vision/net.py")).unwrap().chars().collect();
            let from = from.min(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, put.chars());
            let text: String = text.into_iter().collect();
            exercise(&text.replace("Block", "Net"));
        }

        #[test]
        fn on_any_class_name(name in ".{0,40}") {
            sources(".").class(&name);
        }
    }

    #[test]
    fn on_text_of_great_depth_and_length() {
        let forward = |body: &str| format!("class Net:\n  def forward(self, x):\n    {body}\n");
        exercise(&forward(&format!("y = {}x{}", "(".repeat(20_000), ")".repeat(20_000))));
        exercise(&forward(&format!("y = x{}; y += 1", ".a[0]".repeat(5_000))));
        exercise(&forward(&format!("y = x{}; y += 1", " + x".repeat(5_000))));
        exercise(&forward(&"x += 1; x = x + x; ".repeat(2_000)));
        exercise(&forward(&"v = x[0]; w = v; x += w; ".repeat(1_000)));
        exercise(&forward(&"x.item(); ".repeat(5_000)));
        let doubling: String = (1..200).map(|at| format!("x{at} = x{0} + x{0}; ", at - 1)).collect();
        exercise(&forward(&format!("{doubling} x199 += 1")));
        let nested: String = (0..300).map(|depth| format!("{}class Net:\n", " ".repeat(depth))).collect();
        exercise(&nested);
    }
}
