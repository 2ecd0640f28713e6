//! What only training reaches is not counted, what a model never runs is not listed, and what cannot be decided counts.

use std::path::Path;

use serde_json::{Value, json};
use t2m_checkpoint::{Checkpoint, DescribedModule};
use t2m_tui::findings::Blockers;
use t2m_tui::model;
use t2m_tui::registry::Registry;
use t2m_tui::source::Sources;
use t2m_tui::source::budget::Budget;
use t2m_tui::triage;

const HEAD: &str = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n";

/// A module at a path of class `m.NAME`, or of the full path where that has a dot.
type Row<'a> = (&'a str, &'a str, Value);

fn describe((path, class, attributes): &Row<'_>) -> DescribedModule {
    let class = if class.contains('.') { (*class).to_owned() } else { format!("m.{class}") };
    let attributes = attributes.as_object().unwrap().clone();
    DescribedModule { path: (*path).to_owned(), class, attributes, tensors: Vec::new() }
}

/// The places, by line: `construct reach`, with the modules behind it where they are not the root alone. And how many count.
fn places_within(budget: Budget, text: &str, modules: &[Row<'_>]) -> (Vec<String>, usize, Vec<String>) {
    let mut sources = Sources::within(budget);
    sources.add_text("m", "m.py", "from a test", &format!("{HEAD}{text}"));
    let described: Vec<DescribedModule> = modules.iter().map(describe).collect();
    let checkpoint = Checkpoint::described(Path::new("m.pt"), &described);
    let model = model::build(&checkpoint);
    let triage = triage::triage(&checkpoint, &model, &Registry::load(&[]).unwrap(), &sources);
    let blockers = Blockers::of(&model, &triage);
    let mut places: Vec<(usize, String)> = Vec::new();
    for place in &blockers.places {
        let paths: Vec<&str> = place.modules.iter().map(|id| model.modules[*id].path.as_str()).collect();
        let of = if paths == [""] { String::new() } else { format!(" in {}", paths.join(", ")) };
        places.push((place.blocker.line, format!("{} {}{of}", place.blocker.text, place.reach.name())));
    }
    places.sort();
    let words = places.into_iter().map(|(_, words)| words).collect();
    (words, blockers.severities().total(), sources.budget().warnings())
}

fn places(text: &str, modules: &[Row<'_>]) -> Vec<String> {
    places_within(Budget::default(), text, modules).0
}

/// The places in a forward of the root with these attributes.
fn forward(parameters: &str, body: &str, attributes: Value) -> Vec<String> {
    let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
    places(&format!("class Net(nn.Module):\n    def forward(self, {parameters}):\n{body}"), &[("", "Net", attributes)])
}

#[test]
fn branches_on_training_and_on_attributes_are_decided() {
    let cases: &[(&str, &[&str])] = &[
        ("return x.item()", &["x.item() inference"]),
        ("if self.training:\n    x.item()\nreturn x", &["x.item() training"]),
        ("if not self.training:\n    x.item()\nelse:\n    x.tolist()", &["x.item() inference", "x.tolist() training"]),
        ("if self.fused:\n    x.item()\nelse:\n    x.tolist()", &["x.item() inference"]),
        ("if self.p == 0. or not self.training:\n    return x\nx.item()", &["x.item() training"]),
        ("if self.zero == 0. or not unknown:\n    return x\nx.item()", &[]),
        ("if self.bias is not None:\n    x.item()", &[]),
        ("if self.bias is None and self.width > 3:\n    x.item()", &["x.item() inference"]),
        ("if len(self.sizes) == 3:\n    x.item()", &[]),
        ("if isinstance(self.width, int):\n    x.item()", &["x.item() inference"]),
        ("if self.mode == 'fast':\n    x.item()\nelif self.mode == 'slow':\n    x.tolist()", &["x.tolist() inference"]),
        ("y = x.item() if self.training else x", &["x.item() training"]),
        ("y = self.training and x.item()", &["x.item() training"]),
        ("y = self.fused or x.item()", &[]),
        ("while self.training:\n    x.item()", &["x.item() training"]),
        ("for _ in range(3):\n    x.item()", &["x.item() inference"]),
        ("for _ in ():\n    x.item()", &[]),
        ("y = [v.item() for v in x if self.training]", &["v.item() training"]),
        ("training = self.training\nflag = training and self.fused\nif flag:\n    x.item()", &["x.item() training"]),
        ("with torch.no_grad():\n    if self.training:\n        x.item()", &["x.item() training"]),
        ("try:\n    x.item()\nexcept ValueError:\n    x.tolist()", &["x.item() inference", "x.tolist() unknown"]),
        ("if torch.jit.is_scripting():\n    x.item()", &[]),
        ("if self.gone:\n    x.item()", &["x.item() unknown"]),
        ("if x.shape[0] > 1:\n    return x.item()\nreturn x.tolist()", &["x.item() unknown", "x.tolist() unknown"]),
        ("if x.shape[0] > 1:\n    raise ValueError('x')\nreturn x.tolist()", &["x.tolist() inference"]),
        ("if self.training:\n    raise ValueError('x')\nreturn x.tolist()", &["x.tolist() inference"]),
        ("self.fused = x.sum()\nif self.fused:\n    pass\nelse:\n    x.item()", &["x.item() unknown"]),
    ];
    let attributes =
        json!({"fused": true, "p": 0.1, "zero": 0.0, "bias": null, "width": 4, "sizes": [1, 2], "mode": "slow"});
    for (body, expected) in cases {
        let mut found = forward("x", body, attributes.clone());
        // What is written to and what is asked are blockers of their own.
        found.retain(|place| place.contains("item()") || place.contains("tolist()"));
        assert_eq!(found, *expected, "{body}");
    }
}

#[test]
fn a_value_that_was_assigned_under_a_condition_is_not_known() {
    let body = "flag = False\nif x.shape[0] > 1:\n    flag = True\nif flag:\n    x.item()";
    assert_eq!(forward("x", body, json!({})), ["x.item() unknown"]);
    let body = "flag = False\nfor _ in x:\n    if flag:\n        x.item()\n    flag = True";
    assert_eq!(forward("x", body, json!({})), ["x.item() unknown"]);
    let body = "if y is None:\n    y = x\nif y is not None:\n    x.item()";
    assert_eq!(forward("x, y=None", body, json!({})), ["x.item() inference"]);
}

#[test]
fn helpers_and_early_returns_are_followed() {
    let text = "\
def drop_path(x, p: float = 0., training: bool = False, scale: bool = True):
    if p == 0. or not training:
        return x
    mask = x.new_empty(x.shape[0]).bernoulli_(1 - p)
    if scale:
        mask.div_(p)
    return x * mask
def host(x, ask=False):
    if ask:
        return x.item()
    return x
class Net(nn.Module):
    def forward(self, x):
        x = drop_path(x, self.p, self.training)
        return self.head(host(x), pick=self.pick)
    def head(self, x, pick):
        if pick == 'first':
            return x.tolist()
        return host(x, True)
";
    let found = places(text, &[("", "Net", json!({"p": 0.2, "pick": "first"}))]);
    let expected =
        ["x.new_empty(x.shape[0]).bernoulli_(1 - p) training", "mask.div_(p) training", "x.tolist() inference"];
    assert_eq!(found, expected);
    let found = places(text, &[("", "Net", json!({"p": 0.2, "pick": "last"}))]);
    assert_eq!(found[2..], ["x.item() inference".to_owned()]);
}

#[test]
fn a_parameter_that_no_caller_gives_has_its_default() {
    let text = "\
class Block(nn.Module):
    def forward(self, x, mask=None, ask=False, **kwargs):
        if ask:
            x.item()
        if mask is not None:
            x.tolist()
        if kwargs.get('deep', False):
            x.numpy()
        return x
class Net(nn.Module):
    def forward(self, x, mask=None, ask=False, **kwargs):
        for block in self.blocks:
            x = block(x, mask, ask=ask, **kwargs)
        return x
class Asking(nn.Module):
    def forward(self, x):
        for i, block in enumerate(self.blocks):
            x = block(x, torch.ones(3), True)
        return x
";
    let blocks = |root| {
        [
            ("", root, json!({})),
            ("blocks", "torch.nn.modules.container.ModuleList", json!({})),
            ("blocks.0", "Block", json!({})),
            ("blocks.1", "Block", json!({})),
        ]
    };
    assert_eq!(places(text, &blocks("Net")), Vec::<String>::new());
    let both = " in blocks.0, blocks.1";
    assert_eq!(
        places(text, &blocks("Asking")),
        [format!("x.item() inference{both}"), format!("x.tolist() inference{both}")]
    );
}

#[test]
fn a_module_that_only_training_calls_is_trainings() {
    let text = "\
class Side(nn.Module):
    def forward(self, x):
        return x.item()
class Net(nn.Module):
    def forward(self, x):
        if self.training:
            self.aux(x)
        return self.main(x)
class Spare(nn.Module):
    def forward(self, x):
        return x
";
    let modules = [("", "Net", json!({})), ("aux", "Side", json!({})), ("main", "Side", json!({}))];
    assert_eq!(places(text, &modules), ["x.item() inference in main"]);
    let modules = [modules[0].clone(), modules[1].clone(), ("main", "torch.nn.modules.linear.Identity", json!({}))];
    assert_eq!(places(text, &modules), ["x.item() training in aux"]);
    // Nobody is seen to call it.
    let modules = [("", "Spare", json!({})), ("aux", "Side", json!({}))];
    assert_eq!(places(text, &modules), ["x.item() unknown in aux"]);
}

#[test]
fn wrappers_hand_on_what_they_get() {
    let text = "\
class Net(nn.Module):
    def forward(self, x, ask=False):
        if ask:
            x.item()
        return x
";
    let wrapped = |class| places(text, &[("", class, json!({})), ("module", "Net", json!({}))]);
    assert_eq!(wrapped("torch.nn.parallel.data_parallel.DataParallel"), Vec::<String>::new());
    assert_eq!(wrapped("elsewhere.Wrapper"), ["x.item() unknown in module"], "of what nobody knows anything may come");
}

#[test]
fn paths_of_modules_are_followed() {
    let text = "\
class Block(nn.Module):
    def forward(self, x, ask=False):
        if ask:
            x.item()
        return x
class Net(nn.Module):
    def forward(self, x):
        CALL
        return x
";
    let modules = [
        ("", "Net", json!({})),
        ("layers", "torch.nn.modules.container.ModuleList", json!({})),
        ("layers.0", "Block", json!({})),
        ("layers.1", "Block", json!({})),
        ("heads", "torch.nn.modules.container.ModuleDict", json!({})),
        ("heads.a", "Block", json!({})),
    ];
    let called = |call: &str| places(&text.replace("CALL", call), &modules).join("; ");
    let cases = [
        ("self.layers[0](x, True)", "layers.0 inference"),
        ("self.layers[-1](x, ask=True)", "layers.1 inference"),
        ("[layer(x, True) for layer in self.layers]", "layers.0, layers.1 inference"),
        ("for a, b in zip(self.layers, x): a(b, True)", "layers.0, layers.1 inference"),
        ("for _, layer in self.layers.named_children(): layer(x, True)", "layers.0, layers.1 inference"),
        ("for i in range(len(self.layers)): x = self.layers[i](x, True)", "layers.0, layers.1 inference"),
        ("self.heads['a'](x, True)", "heads.a inference"),
        ("for head in self.heads.values(): head(x, True)", "heads.a inference"),
        ("getattr(self, 'layers')[1](x, True)", "layers.1 inference"),
        ("block = self.layers[1]; block.forward(x, True)", "layers.1 inference"),
        ("self.heads['a'](x, *x)", "heads.a unknown"),
        ("self.heads['a'](x, **x)", "heads.a unknown"),
    ];
    for (call, expected) in cases {
        let (modules, reach) = expected.rsplit_once(' ').unwrap();
        let found = called(call);
        assert!(found.starts_with(&format!("x.item() {reach} in")), "{call}: {found}");
        // Blocks that nobody calls may run or not, and are told with the place.
        for module in modules.split(", ") {
            assert!(found.contains(module), "{call}: {found}");
        }
    }
}

#[test]
fn modules_are_told_apart_by_what_they_hold() {
    let text = "\
class Block(nn.Module):
    def forward(self, x):
        if self.fused:
            return x
        return x.item()
class Net(nn.Module):
    def forward(self, x):
        return self.b(self.a(x))
";
    let modules =
        [("", "Net", json!({})), ("a", "Block", json!({"fused": true})), ("b", "Block", json!({"fused": false}))];
    assert_eq!(places(text, &modules), ["x.item() inference in b"]);
}

#[test]
fn what_the_config_says_is_known() {
    let text = "\
class Block(nn.Module):
    def forward(self, x):
        if self.config.use_mask and self.config.get('depth', 0) > 1:
            x.item()
        elif self.config.scale is None:
            x.tolist()
class Net(nn.Module):
    def forward(self, x):
        return self.block(x)
";
    let found = |config: Value| {
        let mut sources = Sources::default();
        sources.add_text("m", "m.py", "from a test", &format!("{HEAD}{text}"));
        let modules = [("", "Net", json!({})), ("block", "Block", json!({"config": {"class": "m.Config"}}))];
        let described: Vec<DescribedModule> = modules.iter().map(describe).collect();
        let mut checkpoint = Checkpoint::described(Path::new("m.pt"), &described);
        checkpoint.metadata.insert("config".to_owned(), config);
        let model = model::build(&checkpoint);
        let triage = triage::triage(&checkpoint, &model, &Registry::load(&[]).unwrap(), &sources);
        let blockers = Blockers::of(&model, &triage);
        let words = blockers.places.iter().map(|it| format!("{} {}", it.blocker.text, it.reach.name()));
        words.collect::<Vec<String>>()
    };
    assert_eq!(found(json!({"use_mask": true, "depth": 2, "scale": null})), ["x.item() inference"]);
    assert_eq!(found(json!({"use_mask": false, "depth": 2, "scale": null})), ["x.tolist() inference"]);
    assert_eq!(found(json!({"use_mask": false, "scale": 2})), Vec::<String>::new());
    assert_eq!(found(json!({"depth": 2, "scale": 1.0})), ["x.item() unknown"]);
}

#[test]
fn what_is_handed_on_may_be_called_with_anything() {
    let text = "\
class Block(nn.Module):
    def forward(self, x, ask=False):
        if ask:
            return x.item()
        return x
class Net(nn.Module):
    def forward(self, x):
        return elsewhere(self.block, x)
class Named(nn.Module):
    def forward(self, x):
        return getattr(self, self.which)(x, ask=x)
";
    for root in ["Net", "Named"] {
        let modules = [("", root, json!({})), ("block", "Block", json!({}))];
        assert_eq!(places(text, &modules), ["x.item() unknown in block"], "{root}");
    }
}

#[test]
fn defaults_that_end_in_an_error_are_not_taken() {
    let text = "\
class Net(nn.Module):
    def forward(self, ids=None, image=None, ask=False):
        if image is None:
            raise ValueError('give an image')
        if ask:
            image.tolist()
        return image.item()
class Silent(nn.Module):
    def forward(self, ids=None, image=None):
        size = image.shape
        if image is None:
            return ids
        return image.item()
";
    assert_eq!(places(text, &[("", "Net", json!({}))]), ["image.item() inference"]);
    assert_eq!(places(text, &[("", "Silent", json!({}))]), ["image.item() unknown"]);
}

#[test]
fn in_training_somebody_gives_labels() {
    let text = "\
class Net(nn.Module):
    def forward(self, x, labels=None, ask=False):
        if self.training:
            if labels is None:
                raise ValueError('give labels')
            labels.item()
        if ask:
            x.tolist()
        if labels is not None:
            labels.numpy()
        return x
";
    // What a parameter asks for that nobody gives is not training's.
    assert_eq!(places(text, &[("", "Net", json!({}))]), ["labels.item() training"]);
}

#[test]
fn the_code_of_a_class_that_the_registry_replaces_is_nobodys_to_port() {
    let text = "\
class DropPath(nn.Module):
    def forward(self, x):
        return x.item()
";
    let mut sources = Sources::default();
    sources.add_text("timm.layers.drop", "drop.py", "from a test", text);
    let modules = [("", "timm.layers.drop.DropPath", json!({"drop_prob": 0.1, "scale_by_keep": true}))];
    let described: Vec<DescribedModule> = modules.iter().map(describe).collect();
    let checkpoint = Checkpoint::described(Path::new("m.pt"), &described);
    let model = model::build(&checkpoint);
    let triage = triage::triage(&checkpoint, &model, &Registry::load(&[]).unwrap(), &sources);
    assert!(triage.modules[0].status.converts());
    assert_eq!(triage.classes["timm.layers.drop.DropPath"].blockers.len(), 1, "the source has it");
    assert!(Blockers::of(&model, &triage).places.is_empty());
}

#[test]
fn counts_leave_training_out_and_say_so() {
    let text = "class Net(nn.Module):\n    def forward(self, x):\n        if self.training:\n            x.item()\n        if x.shape[0]:\n            x.item()\n        return x.item()\n";
    let mut sources = Sources::default();
    sources.add_text("m", "m.py", "from a test", &format!("{HEAD}{text}"));
    let checkpoint = Checkpoint::described(Path::new("m.pt"), &[describe(&("", "Net", json!({})))]);
    let model = model::build(&checkpoint);
    let triage = triage::triage(&checkpoint, &model, &Registry::load(&[]).unwrap(), &sources);
    let blockers = Blockers::of(&model, &triage);
    let counts = blockers.severities();
    assert_eq!((counts.total(), counts.serious(), counts.training, counts.undecided), (2, 2, 1, 1));
    assert_eq!(counts.words(), "2 break (1 undecided; 1 training only, not counted)");
    assert_eq!(blockers.serious(&model)[0].below, 2);
    assert!(!blockers.places.last().unwrap().counts(), "those that do not count come last");
}

#[test]
fn what_takes_too_long_counts() {
    let text = "class Net(nn.Module):\n    def forward(self, x):\n        if self.training:\n            x.item()\n";
    let calls: String = (0..40)
        .map(|at| {
            format!(
                "    def f{at}(self, x, n):\n        return self.f{}(x, n + 1) + self.f{}(x, n + 2)\n",
                at + 1,
                at + 1
            )
        })
        .collect();
    let text = format!("{text}        return self.f0(x, 0)\n{calls}    def f40(self, x, n):\n        return x\n");
    // Forty methods, each of which calls the next one twice.
    let (found, ..) = places_within(Budget::default(), &text, &[("", "Net", json!({}))]);
    assert_eq!(found, ["x.item() training"]);
    let (found, count, warnings) = places_within(Budget::new(6_000, 100_000), &text, &[("", "Net", json!({}))]);
    if !found.is_empty() {
        assert_eq!((found, count), (vec!["x.item() unknown".to_owned()], 1));
    }
    assert!(!warnings.is_empty());
}

#[test]
fn deep_and_hostile_text_ends() {
    let deep = format!("if {}x{}:\n    x.item()", "(".repeat(3_000), ")".repeat(3_000));
    assert_eq!(forward("x", &deep, json!({})), ["x.item() unknown"]);
    let loops = format!(
        "{}x.item()",
        (0..90).map(|at| format!("{}for _ in x:\n", " ".repeat(at))).collect::<String>() + &" ".repeat(90)
    );
    assert_eq!(forward("x", &loops, json!({})).len(), 1);
}

#[test]
fn what_calls_itself_or_is_handed_on_is_followed() {
    let text = "\
class Base(nn.Module):
    def forward(self, x):
        return x.numpy()
class Net(Base):
    def forward(self, x, deep=False):
        if deep:
            return x.item()
        return self.again(x, False) + elsewhere(super().forward, x)
    def again(self, x, deep):
        if deep:
            return x.tolist()
        return self.again(x, True)
";
    assert_eq!(places(text, &[("", "Net", json!({}))]), ["x.numpy() unknown", "x.tolist() unknown"]);
}

#[test]
fn deep_models_and_calls_end() {
    // Each module is in the one before, calls itself by a chain of methods, and hands everything on.
    let methods: String =
        (0..30).map(|at| format!("    def f{at}(self, x):\n        return self.f{}(x)\n", at + 1)).collect();
    let text = format!(
        "class Net(nn.Module):\n    def forward(self, x):\n        x = self.f0(x)\n        elsewhere(self)\n        return self.inner(x)\n{methods}    def f30(self, x):\n        if self.training:\n            x.item()\n        return x\n"
    );
    let paths: Vec<String> = (0..60).map(|depth| vec!["inner"; depth].join(".")).collect();
    let modules: Vec<Row<'_>> = paths.iter().map(|path| (path.as_str(), "Net", json!({}))).collect();
    let (found, count, _) = places_within(Budget::default(), &text, &modules);
    // So many calls are not followed: what they lead to counts.
    assert!(found.len() == 1 && found[0].starts_with("x.item() unknown"), "{found:?}");
    assert_eq!(count, 1);
}
