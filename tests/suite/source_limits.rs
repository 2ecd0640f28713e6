//! Source without an end: long chains, deep nesting, names that stand for names, folders and files beyond measure. The work
//! grows with the text, or ends and says what was left out.

use std::path::PathBuf;

use crate::common::legacy::stored_class;
use crate::common::{json, run};
use t2m_tui::source::budget::{Budget, PARSING, STEPS};
use t2m_tui::source::constructors::{self, Modules, Root};
use t2m_tui::source::{ClassSource, Sources, highlight};

/// A class with this body of `__init__` and this of `forward`.
fn net(init: &str, forward: &str) -> String {
    format!(
        "import torch\nimport torch.nn as nn\nclass Net(nn.Module):\n    def __init__(self):\n        {init}\n\n    def forward(self, x):\n        {forward}\n"
    )
}

fn returning(expression: &str) -> String {
    net("pass", &format!("return {expression}"))
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<String>>().join("\n        ")
}

fn sources(text: &str) -> Sources {
    within(Budget::default(), text)
}

fn within(budget: Budget, text: &str) -> Sources {
    let mut sources = Sources::within(budget);
    sources.add_text("net", "net.py", "a test", text);
    sources
}

fn class(text: &str) -> (Option<ClassSource>, Sources) {
    let sources = sources(text);
    (sources.class("net.Net"), sources)
}

fn built(text: &str) -> (Option<Modules>, Sources) {
    let sources = sources(text);
    (constructors::modules(&sources, &Root { class: "net.Net", ..Root::default() }), sources)
}

/// Texts that ask about each link of what is long or deep, by how long it is.
fn shapes(length: usize) -> Vec<(&'static str, String)> {
    let chain = |link: &str| returning(&format!("x{}", link.repeat(length)));
    vec![
        ("calls", chain(".a()")),
        ("properties", chain(".T")),
        ("methods that copy containers", chain(".copy()")),
        ("views", chain(".view(1)")),
        ("names", chain(".a")),
        ("names of self", returning(&format!("self{}", ".a".repeat(length)))),
        ("subscripts", chain("[0]")),
        ("masks", chain("[x]")),
        ("elements of calls", chain(".split(1)[0]")),
        ("nested subscripts", returning(&format!("{}0{}", "x[".repeat(length), "]".repeat(length)))),
        ("sums", chain(" + x")),
        ("conditions", returning(&format!("{}x", "x if x.any() else ".repeat(length)))),
        ("devices in a condition", returning(&format!("1 if x{} else 2", ".device".repeat(length)))),
        ("values of values", net("pass", &format!("{}x", "a = ".repeat(length)))),
        ("statements", net("pass", &lines(length, |_| "x[0] += x[1]".to_owned()))),
        (
            "layers that overwrite",
            net("self.r = nn.ReLU(inplace=True)", &lines(length, |_| "x = self.r(x)".to_owned())),
        ),
        ("names of the file", {
            let names: String = (0..length).map(|at| format!("a{} = a{at}\n", at + 1)).collect();
            names + &net("pass", &lines(length, |at| format!("a{at}(x)")))
        }),
        ("parameters", {
            let parameters: String = (0..length).map(|at| format!(", a{at}: Tensor")).collect();
            format!("class Net:\n    def forward(self, x{parameters}):\n        return a1.item()\n")
        }),
        ("methods", {
            let methods: String =
                (0..length).map(|at| format!("    def m{at}(self): return self.m{}()\n", at + 1)).collect();
            format!("class Net:\n    def forward(self): return self.m0()\n{methods}")
        }),
    ]
}

#[test]
fn steps_grow_with_the_text() {
    for ((name, short), (_, long)) in shapes(400).into_iter().zip(shapes(1_600)) {
        let taken = |text: &str| {
            let (found, sources) = class(text);
            assert!(found.is_some(), "{name}");
            assert_eq!(sources.budget().warnings(), Vec::<String>::new(), "{name}");
            sources.budget().taken()
        };
        let ((few, parsed), (many, more_parsed)) = (taken(&short), taken(&long));
        assert!(few > 500, "{name}: {few} steps, which cannot be all");
        // The square would be sixteen times as many.
        assert!(many <= 6 * few, "{name}: four times the text took {many} steps after {few}");
        assert!(more_parsed <= 5 * parsed, "{name}: the parser took {more_parsed} steps after {parsed}");
    }
}

#[test]
fn constructors_take_steps_as_they_are_long() {
    let shapes = |length: usize| {
        let renamed = lines(length, |at| format!("self.a{} = self.a{at}", at + 1));
        [
            ("names", net(&format!("self.a0 = nn.Linear(1, 1)\n        {renamed}"), "return x")),
            ("numbers", net(&lines(length, |at| format!("a{} = a{at}", at + 1)), "return x")),
            ("a literal", net(&format!("self.a = [{}]", "1, ".repeat(length)), "return x")),
            ("layers", net(&lines(length, |at| format!("self.l{at} = nn.Linear({at}, 2)")), "return x")),
        ]
    };
    for ((name, short), (_, long)) in shapes(500).into_iter().zip(shapes(2_000)) {
        let taken = |text: &str| {
            let (found, sources) = built(text);
            assert!(found.is_some() && sources.budget().warnings().is_empty(), "{name}");
            sources.budget().taken().0
        };
        let (few, many) = (taken(&short), taken(&long));
        assert!(few > 500 && many <= 5 * few, "{name}: {few} steps, then {many}");
    }
}

/// In a thread whose stack recursion would leave, of however few bytes a level: twenty thousand levels and more. A text of a
/// million would be beyond the parser, and so never walked.
#[test]
fn nesting_without_an_end_needs_no_stack() {
    let levels = 200_000;
    let texts = [
        format!("{}x{}", "(".repeat(levels), ")".repeat(levels)),
        "(".repeat(levels),
        "[{(".repeat(levels / 10),
        format!("{}x", "lambda:".repeat(levels / 5)),
        format!("{}x{}", "[".repeat(levels / 10), " for a in b]".repeat(levels / 10)),
        format!("{}x", "not ".repeat(levels / 5)),
        format!("x{}", "+x".repeat(levels / 5)),
        format!("{}0{}", "f'{".repeat(levels / 10), "}'".repeat(levels / 10)),
        format!("{}x", "-".repeat(levels / 5)),
    ];
    let small = std::thread::Builder::new().stack_size(512 << 10);
    let work = move || {
        for expression in texts {
            for text in [returning(&expression), net(&format!("self.a = {expression}"), "return x.item()")] {
                let (found, sources) = class(&text);
                let told = sources.budget().warnings();
                assert!(told.is_empty() || told[0].contains("net.py"), "{told:?}");
                // An error may swallow the whole file.
                assert!(found.is_none_or(|found| found.class_line == 3));
                let _ = built(&text);
                let _ = highlight::python(&text, 4..8, true);
            }
        }
        let nested = format!("self.a = nn.Sequential({}{})", "OrderedDict(".repeat(20_000), ")".repeat(20_000));
        let blocks: String = (0..300).map(|at| format!("{}if True:\n", " ".repeat(at + 2))).collect();
        let blocks = format!("class Net:\n def __init__(self):\n{blocks}{}self.a = nn.ReLU()\n", " ".repeat(302));
        for text in [net(&nested, "return x"), blocks] {
            assert!(built(&text).0.is_some());
        }
    };
    small.spawn(work).unwrap().join().unwrap();
}

#[test]
fn one_class_without_an_end_leaves_steps_for_the_others() {
    let text = returning(&format!("x.item(){}", ".a()".repeat(10_000)))
        + "class Other(nn.Module):\n    def forward(self, x):\n        return x.item()\n";
    // A tenth of what there is: it is a share that a class may take.
    let steps = STEPS / 10;
    let sources = within(Budget::new(steps, PARSING), &text);
    let found = sources.class("net.Net").unwrap();
    assert!(found.blockers.is_empty() && found.forward.is_some(), "half of an answer is none");
    let told = sources.budget().warnings();
    assert!(told.len() == 1 && told[0].contains("net.Net in net.py"), "{told:?}");
    assert_eq!(sources.class("net.Other").unwrap().blockers.len(), 1);
    assert!(sources.budget().taken().0 < steps / 2);
}

#[test]
fn a_text_beyond_the_parser_is_named() {
    let (found, sources) = class(&returning(&format!("x{}", ".a()".repeat(1_000_000))));
    assert!(found.is_none());
    let told = sources.budget().warnings();
    assert!(told.len() == 1 && told[0].contains("net.py"), "{told:?}");
    assert!(sources.budget().taken().1 < PARSING, "others can be read");
}

/// With few steps the answer is the same, or it is said that it is not all.
#[test]
fn nothing_is_left_out_in_silence() {
    let demo = include_str!("../../assets/demo/scene.py");
    let read = |budget: Budget| {
        let mut sources = Sources::within(budget);
        sources.add_text("scene", "scene.py", "a test", demo);
        let classes = ["Scene", "Residual", "Picture", "Caption"]
            .map(|name| format!("{:?}", sources.class(&format!("scene.{name}"))));
        let built = constructors::modules(&sources, &Root { class: "scene.Scene", ..Root::default() });
        (sources.budget().warnings(), format!("{classes:?} {built:?}"))
    };
    let (told, all) = read(Budget::default());
    assert_eq!(told, Vec::<String>::new());
    let mut complete = 0;
    for steps in (0..40).map(|at| 100 << (at / 2)).take_while(|steps| *steps < STEPS) {
        let (told, answer) = read(Budget::new(steps, PARSING));
        assert!(!told.is_empty() || answer == all, "{steps} steps");
        complete += usize::from(told.is_empty());
    }
    assert!(complete > 5, "the demo needs few steps");
    assert!(!read(Budget::new(STEPS, 300)).0.is_empty());
}

#[test]
fn a_folder_beyond_measure_is_searched_in_part() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..2_200 {
        std::fs::write(folder.path().join(format!("f{number:04}.py")), format!("class K{number}: pass\n")).unwrap();
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(".", folder.path().join("loop")).unwrap();
    let sources = Sources::new(&[folder.path().to_owned()]).unwrap();
    assert!(sources.class("net.K7").is_some() && sources.class("net.K2150").is_none());
    let told = sources.budget().warnings();
    assert!(told.len() == 1 && told[0].contains(&folder.path().display().to_string()), "{told:?}");
}

#[test]
fn imports_in_a_circle_end() {
    let folder = tempfile::tempdir().unwrap();
    let size = 300;
    for number in 0..size {
        let stars = [1, 2, 3, 5, 7].map(|step| format!("from m{} import *\n", (number + step) % size)).concat();
        let class = if number == 0 { "class Net(Base):\n    def forward(self, x): return x.item()\n" } else { "" };
        std::fs::write(folder.path().join(format!("m{number}.py")), stars + class).unwrap();
    }
    let sources = Sources::new(&[folder.path().to_owned()]).unwrap();
    assert_eq!(sources.class("m0.Net").unwrap().blockers.len(), 1);
    assert!(sources.budget().taken().0 < STEPS / 4);
}

/// What is left out is told where people look: in the text, and in JSON.
#[test]
fn a_file_that_carries_such_source_opens_and_says_so() {
    let long = returning(&format!("x{}", ".a()".repeat(1_000_000)));
    let chained = returning(&format!("x{}", ".a()".repeat(400)));
    let open = |text: &str| -> (tempfile::TempDir, PathBuf) {
        crate::common::file("net.pth", stored_class("net", "Net", text))
    };
    let (_folder, path) = open(&long);
    let path = path.to_str().unwrap();
    let report = json(&run(&["inspect", path, "--format", "json"]));
    assert_eq!(report["modules"][0]["class"], "net.Net");
    assert!(report["warnings"].to_string().contains("net.py"), "{}", report["warnings"]);
    let text = String::from_utf8(run(&["inspect", path]).stdout).unwrap();
    assert!(text.contains("net.py"), "{text}");
    let (_folder, path) = open(&chained);
    let report = json(&run(&["inspect", path.to_str().unwrap(), "--format", "json"]));
    assert_eq!(report["warnings"].as_array().unwrap().len(), 0, "{}", report["warnings"]);
}
