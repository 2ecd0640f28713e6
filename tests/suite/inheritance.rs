//! A forward that a class has from a base in another file.

use std::path::Path;

use t2m_tui::source::{ClassSource, Sources};

const BASE: &str = "\
import torch
class Base:
    def forward(self, x):
        return self.head(x).item()
    def head(self, x):
        return torch.tanh(x)
";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn find(root: &Path, class: &str) -> ClassSource {
    Sources::new(&[root.to_owned()]).unwrap().class(class).unwrap_or_else(|| panic!("{class} in {}", root.display()))
}

#[test]
fn imports_of_every_kind_lead_to_the_base() {
    for (importing, bases) in [
        ("from .base import Base", "Base"),
        ("from ..pkg.base import Base as B", "B"),
        ("from pkg.base import Base", "Base"),
        ("from base import Base", "Base"),
        ("from . import base", "base.Base"),
        ("from . import base as b", "b.Base"),
        ("import pkg.base", "pkg.base.Base"),
        ("import pkg.base as b", "torch.nn.Module, b.Base"),
        ("from .base import *", "Base"),
        ("from . import Base", "Base"),
        ("from .again import Shown", "Shown"),
        ("from .again import *", "Shown"),
    ] {
        let net = format!("{importing}\nclass Net({bases}):\n    pass\n");
        let folder = folder(&[
            ("pkg/__init__.py", "from .base import Base\n"),
            ("pkg/base.py", BASE),
            ("pkg/again.py", "from pkg import Base as Shown\n"),
            ("pkg/net.py", &net),
        ]);
        for (root, class) in [("", "pkg.net.Net"), ("pkg", "pkg.net.Net"), ("pkg/net.py", "__main__.Net")] {
            let found = find(&folder.path().join(root), class);
            let place = format!("{importing} from {root:?}");
            assert!(found.file.ends_with("base.py"), "{place}: {}", found.file);
            assert_eq!((found.class_line, found.forward), (2, Some(3..5)), "{place}");
            assert!(&*found.text == BASE && found.blockers.len() == 1 && found.inherited.is_empty(), "{place}");
            let origin = found.origin;
            assert!(
                origin.contains("forward inherited from Base (Net is in ") && origin.ends_with("net.py:2)"),
                "{origin}"
            );
        }
    }
}

#[test]
fn methods_of_bases_count_where_they_are() {
    let net = "from .base import Base\nimport torch\nclass Net(Base):\n    def forward(self, x):\n        return super().forward(torch.exp(x))\n";
    let folder = folder(&[("pkg/base.py", BASE), ("pkg/net.py", net)]);
    let found = find(folder.path(), "pkg.net.Net");
    assert!(found.file.ends_with("net.py") && found.origin == "from --source" && found.forward == Some(4..6));
    assert!(found.blockers.is_empty());
    let (file, blocker) = &found.inherited[0];
    assert!(
        file.ends_with("base.py") && blocker.line == 4 && blocker.pattern == ".item()" && found.inherited.len() == 1
    );
    let ops: Vec<(&str, usize, bool)> =
        found.ops.iter().map(|op| (op.name.as_str(), op.line, op.file.as_ref() == Some(file))).collect();
    assert_eq!(ops, [("torch.exp", 5, false), ("torch.tanh", 6, true)]);
}

#[test]
fn of_bases_elsewhere_only_what_runs_counts() {
    let base = "class Base:\n    def __init__(self):\n        self.register_forward_hook(f)\n    def watch(self):\n        self.register_forward_hook(f)\n";
    let net = "from .base import Base\nclass Net(Base):\n    def forward(self, x):\n        return x\n";
    let folder = folder(&[("pkg/base.py", base), ("pkg/net.py", net)]);
    let lines: Vec<usize> =
        find(folder.path(), "pkg.net.Net").inherited.iter().map(|(_, blocker)| blocker.line).collect();
    assert_eq!(lines, [3]);
}

#[test]
fn an_overriding_method_is_the_one_that_the_bases_forward_calls() {
    let net =
        "from .base import Base\nimport torch\nclass Net(Base):\n    def head(self, x):\n        return torch.exp(x)\n";
    let folder = folder(&[("pkg/base.py", BASE), ("pkg/net.py", net)]);
    let found = find(folder.path(), "pkg.net.Net");
    assert!(found.file.ends_with("base.py"));
    let ops: Vec<(&str, bool)> = found.ops.iter().map(|op| (op.name.as_str(), op.file.is_some())).collect();
    assert_eq!(ops, [("torch.exp", true)]);
}

#[test]
fn call_stands_in_for_forward() {
    let base = "class Base:\n    def __call__(self, x):\n        return x.item()\n";
    let folder = folder(&[("base.py", base), ("net.py", "from base import Base\nclass Net(Base): ...\n")]);
    assert_eq!(find(folder.path(), "net.Net").forward, Some(2..4));
}

#[test]
fn texts_follow_each_other_by_module() {
    let mut sources = Sources::default();
    sources.add_text("pkg.net", "net.py", "from a test", "from .base import Base\nclass Net(Base): ...\n");
    sources.add_text("pkg.base", "base.py", "from a test", BASE);
    let found = sources.class("pkg.net.Net").unwrap();
    assert_eq!((found.file.as_str(), found.forward), ("base.py", Some(3..5)));
    assert_eq!(found.origin, "from a test, forward inherited from Base (Net is in net.py:2)");
}

#[test]
fn what_is_not_found_is_left_out() {
    for importing in ["from torch.nn import Module as Base", "from .gone import Base", "from ....... import Base", ""] {
        let net = format!("{importing}\nclass Net(Base): ...\n");
        let folder = folder(&[("net.py", &net), ("torch/nn.py", "class Module:\n    def forward(self): ...\n")]);
        let found = find(folder.path(), "net.Net");
        assert!(found.forward.is_none() && found.file.ends_with("net.py"), "{importing}");
    }
}

#[test]
fn circles_and_fans_of_imports_end() {
    let folder = folder(&[
        (
            "a.py",
            "from b import *\nfrom c import *\nfrom b import Base\nclass Net(Base, Gone, A): ...\nclass A(Net): ...\n",
        ),
        ("b.py", "from a import *\nfrom c import *\nfrom c import Base\n"),
        ("c.py", "from a import *\nfrom b import *\nfrom b import Base\nfrom a import Net\n"),
    ]);
    assert!(find(folder.path(), "a.Net").forward.is_none());
    let chain: String = (0..500).map(|at| format!("class C{at}(C{}): ...\n", at + 1)).collect();
    let text = format!("{chain}class C500:\n    def forward(self): ...\n");
    let mut sources = Sources::default();
    sources.add_text("m", "m.py", "from a test", &text);
    assert!(sources.class("m.C0").unwrap().forward.is_none() && sources.class("m.C480").unwrap().forward.is_some());
}

#[test]
fn a_class_that_changes_nothing_stands_for_its_base() {
    let stands_for = |text: &str| {
        let folder = folder(&[("net.py", &format!("import torch.nn as nn\nfrom mixins import Other\n{text}"))]);
        find(folder.path(), "net.Net").stands_for
    };
    let init = "    def __init__(self):\n        super().__init__(3, 4, 2)\n";
    for (text, base) in [
        ("class Net(nn.Conv2d):\n    pass\n".to_owned(), Some("torch.nn.Conv2d")),
        (format!("class Net(nn.Conv2d):\n{init}"), Some("torch.nn.Conv2d")),
        (format!("class Base(nn.Linear):\n    pass\nclass Net(Base):\n{init}"), Some("torch.nn.Linear")),
        (format!("class Net(nn.Conv2d):\n{init}    def forward(self, x):\n        return x\n"), None),
        ("class Net(nn.Conv2d):\n    def _conv_forward(self, *args):\n        return 0\n".to_owned(), None),
        ("class Net(nn.Conv2d):\n    @property\n    def weight(self):\n        return 0\n".to_owned(), None),
        ("class Net(nn.Conv2d):\n    forward = other\n".to_owned(), None),
        ("class Net(Other, nn.Conv2d):\n    pass\n".to_owned(), None),
        ("class Net(nn.Conv2d, nn.Linear):\n    pass\n".to_owned(), None),
    ] {
        assert_eq!(stands_for(&text).as_deref(), base, "{text}");
    }
}
