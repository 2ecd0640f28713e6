//! Classes and hyper-parameters of a bare state dict, from the constructors in its source.

use std::collections::BTreeMap;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use t2m_tui::model::{Evidence, Module};
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::report::inspect_json;
use t2m_tui::triage::Status;

/// Open a safetensors file of these names and shapes, with these Python files as its source.
pub(crate) fn opened(tensors: &[(&str, &[usize])], files: &[(&str, &str)]) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let zeros = vec![0u8; tensors.iter().map(|(_, shape)| 4 * shape.iter().product::<usize>()).max().unwrap_or(0)];
    let views: BTreeMap<&str, TensorView<'_>> = tensors
        .iter()
        .map(|(name, shape)| {
            let bytes = &zeros[..4 * shape.iter().product::<usize>()];
            (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
        })
        .collect();
    let checkpoint = folder.path().join("model.safetensors");
    std::fs::write(&checkpoint, safetensors::serialize(views, None).unwrap()).unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(&source).unwrap();
    for (path, text) in files {
        let path = source.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    open(&Options { checkpoint, sources: vec![source], ..Options::default() }).unwrap()
}

pub(crate) fn module<'a>(opened: &'a Opened, path: &str) -> &'a Module {
    &opened.model.modules[opened.model.find(path).unwrap_or_else(|| panic!("no {path}"))]
}

pub(crate) fn status(opened: &Opened, path: &str) -> Status {
    opened.triage.modules[opened.model.find(path).unwrap()].status
}

pub(crate) fn attribute(opened: &Opened, path: &str, name: &str) -> Value {
    let module = module(opened, path);
    assert_eq!(module.evidence, Evidence::Source, "{path}");
    module.attributes.get(name).cloned().unwrap_or_else(|| panic!("{path} has no {name}: {:?}", module.attributes))
}

const HEAD: &str = "import torch\nimport torch.nn as nn\nfrom torch.nn import Linear, LayerNorm as Norm\n";
const CONV: (&str, &[usize]) = ("conv.weight", &[8, 3, 7, 7]);

/// `class Net` with this constructor body.
fn net(body: &str) -> String {
    let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "{HEAD}WIDTH = 4\nclass Net(nn.Module):\n    EPS = 1e-3\n    def __init__(self, inputs=3, scale=2):\n{body}"
    )
}

#[test]
fn a_convolution_of_a_bare_state_dict_becomes_direct() {
    let text = net(
        "super().__init__()\nself.conv = nn.Conv2d(inputs, scale * WIDTH, 7, stride=2, padding=(3, 2), bias=False)",
    );
    let with = opened(&[CONV], &[("net.py", &text)]);
    assert_eq!(module(&with, "conv").class, "torch.nn.modules.conv.Conv2d");
    let expected = [
        ("in_channels", json!(3)),
        ("out_channels", json!(8)),
        ("kernel_size", json!([7, 7])),
        ("stride", json!([2, 2])),
        ("padding", json!([3, 2])),
        ("dilation", json!([1, 1])),
        ("groups", json!(1)),
        ("padding_mode", json!("zeros")),
    ];
    for (name, value) in expected {
        assert_eq!(attribute(&with, "conv", name), value, "{name}");
    }
    assert!(!module(&with, "conv").attributes.contains_key("bias"));
    assert_eq!((status(&with, "conv"), status(&opened(&[CONV], &[]), "conv")), (Status::Direct, Status::Incomplete));
    assert_eq!(module(&with, "").class, "net.Net");
    assert!(with.triage.source("net.Net").is_some() && with.checkpoint.warnings.is_empty());
}

#[test]
fn defaults_of_the_model_itself_are_no_facts() {
    // Whoever made the checkpoint may have passed another `scale`: the shape bears out the width, nothing the stride.
    let body = "self.conv = nn.Conv2d(inputs, scale * 4, 7, stride=scale, padding=3, bias=False)";
    let with = opened(&[CONV], &[("net.py", &net(body))]);
    assert_eq!(
        (attribute(&with, "conv", "in_channels"), attribute(&with, "conv", "padding")),
        (json!(3), json!([3, 3]))
    );
    assert!(!module(&with, "conv").attributes.contains_key("stride"));
    assert_eq!(status(&with, "conv"), Status::Incomplete);
    let halves = body.replace("stride=scale", "stride=scale // 2");
    assert_eq!(status(&opened(&[CONV], &[("net.py", &net(&halves))]), "conv"), Status::Incomplete);
    let blocks = "self.conv = nn.ModuleList([nn.Conv2d(3, 8, 7, stride=2, bias=False) for _ in range(scale)])";
    let with = opened(&[("conv.1.weight", CONV.1)], &[("net.py", &net(blocks))]);
    assert_eq!(attribute(&with, "conv.1", "stride"), json!([2, 2]));
}

#[test]
fn what_is_not_written_out_stays_unknown() {
    for call in [
        "nn.Conv2d(3, 8, 7, stride=step(), bias=False)",
        "nn.Conv2d(3, 8, 7, **options)",
        "nn.Conv2d(*sizes, stride=2)",
    ] {
        let with = opened(&[CONV], &[("net.py", &net(&format!("self.conv = {call}")))]);
        assert_eq!(status(&with, "conv"), Status::Incomplete, "{call}");
        assert_eq!(module(&with, "conv").evidence, Evidence::Source, "{call}");
    }
    let groups = net("self.conv = nn.Conv2d(sizes[0], gone, 7, groups=2, bias=False)");
    let with = opened(&[CONV], &[("net.py", &groups)]);
    assert_eq!(attribute(&with, "conv", "in_channels"), 6, "what the shape tells is filled in");
    assert_eq!(attribute(&with, "conv", "out_channels"), 8);
}

#[test]
fn tensors_that_disagree_are_a_warning() {
    for (call, reason) in [
        ("nn.Conv2d(3, 16, 7, bias=False)", "`weight` has shape [8, 3, 7, 7]"),
        ("nn.Conv2d(3, 8, 5, bias=False)", "`weight` has shape [8, 3, 7, 7]"),
        ("nn.Conv1d(3, 8, 7, bias=False)", "`weight` has shape [8, 3, 7, 7]"),
        ("nn.Conv2d(3, 8, 7)", "the file has no `bias`"),
        ("nn.ReLU()", "tensors that it would not have"),
        ("nn.BatchNorm2d(8, affine=False)", "a `weight` that it would not have"),
    ] {
        let with = opened(&[CONV], &[("net.py", &net(&format!("self.conv = {call}")))]);
        assert_eq!(module(&with, "conv").evidence, Evidence::Inferred, "{call}");
        let warnings = &with.checkpoint.warnings;
        let told =
            warnings.iter().find(|warning| warning.contains(reason)).unwrap_or_else(|| panic!("{call}: {warnings:?}"));
        assert!(told.contains("net.py:8 builds `conv` as "), "{told}");
    }
}

#[test]
fn classes_of_the_source_are_followed_with_their_arguments() {
    let block = "\
import torch.nn as nn
class Base(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)
class Block(Base):
    def __init__(self, width, heads=2, *, ratio=4):
        super().__init__(width, eps=1e-6)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        hidden = width * ratio
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate='tanh'), nn.Linear(hidden, width))
";
    let text = format!(
        "{HEAD}from parts.block import Block\nclass Net(nn.Module):\n    def __init__(self):\n\
         \x20       self.blocks = nn.ModuleList([Block(8, ratio=2) for _ in range(2)])\n\
         \x20       self.named = nn.ModuleDict({{'a': nn.Linear(8, 3)}})\n\
         \x20       self.register_buffer('mean', torch.zeros(1))\n        self.add_module('last', Linear(3, 2))\n"
    );
    let mut tensors: Vec<(String, Vec<usize>)> = vec![
        ("named.a.weight".into(), vec![3, 8]),
        ("named.a.bias".into(), vec![3]),
        ("mean".into(), vec![1]),
        ("last.weight".into(), vec![2, 3]),
        ("last.bias".into(), vec![2]),
    ];
    for at in 0..2 {
        let shapes: [(&str, &[usize]); 10] = [
            ("norm.weight", &[8]),
            ("norm.bias", &[8]),
            ("attention.in_proj_weight", &[24, 8]),
            ("attention.in_proj_bias", &[24]),
            ("attention.out_proj.weight", &[8, 8]),
            ("attention.out_proj.bias", &[8]),
            ("mlp.0.weight", &[16, 8]),
            ("mlp.0.bias", &[16]),
            ("mlp.2.weight", &[8, 16]),
            ("mlp.2.bias", &[8]),
        ];
        tensors.extend(shapes.map(|(name, shape)| (format!("blocks.{at}.{name}"), shape.to_vec())));
    }
    let tensors: Vec<(&str, &[usize])> =
        tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    let with = opened(&tensors, &[("net.py", &text), ("parts/block.py", block)]);
    assert_eq!(with.checkpoint.warnings, Vec::<String>::new());
    assert_eq!(module(&with, "blocks.1").class, "parts.block.Block");
    assert_eq!(attribute(&with, "blocks.1.norm", "eps"), 1e-6);
    assert_eq!(attribute(&with, "blocks.0.attention", "num_heads"), 2);
    assert_eq!(attribute(&with, "blocks.0.attention", "kdim"), 8);
    assert_eq!(status(&with, "blocks.0.attention"), Status::Recipe);
    for path in ["blocks.0.norm", "blocks.1.mlp.0", "blocks.1.mlp.2", "named.a", "last"] {
        assert_eq!((status(&with, path), module(&with, path).evidence), (Status::Direct, Evidence::Source), "{path}");
    }
    assert_eq!((status(&with, "blocks"), status(&with, "blocks.0")), (Status::Container, Status::Custom));
}

#[test]
fn what_a_condition_or_another_line_replaces_is_not_known() {
    for body in [
        "self.conv = nn.Conv2d(3, 8, 7, bias=False)\nself.conv = make()",
        "self.conv = nn.Conv2d(3, 8, 7, bias=False)\nself.conv = make(self.conv)",
        "if scale:\n    self.conv = nn.Conv2d(3, 8, 7, bias=False)\nelse:\n    self.conv = make()",
    ] {
        let with = opened(&[CONV], &[("net.py", &net(body))]);
        assert!(!module(&with, "conv").attributes.contains_key("stride"), "{body}");
    }
    // Either way it fits the file: what both have in common is known.
    for body in [
        "self.conv = C(1)\nif scale:\n    self.conv = C(2)",
        "step = 1\nif scale: step = 2\nself.conv = C(step)",
        "self.step = 1\nself.set()\nself.conv = C(self.step)",
        "self.conv = C(2 if scale else 1)",
        "step = {2: 1, 3: 2}[scale]\nself.conv = C(step)",
        "self.conv = C(elsewhere(1))",
    ] {
        let with = opened(&[CONV], &[("net.py", &net(&body.replace("C(", STRIDED)))]);
        assert_eq!(status(&with, "conv"), Status::Incomplete, "{body}");
        assert!(!module(&with, "conv").attributes.contains_key("stride"), "{body}");
    }
}

/// What `C(` stands for in the bodies here.
const STRIDED: &str = "nn.Conv2d(3, 8, 7, bias=False, stride=";

#[test]
fn statements_are_followed_one_after_another() {
    for (body, stride) in [
        ("for i in range(3):\n    self.conv = C(1 + i)", 3),
        ("step = 1\nstep *= 2\nself.conv = C(step)", 2),
        ("step, other = 1, 2\nself.conv = C(step)", 1),
        ("step = 1\nwhile step < 4: step += step\nself.conv = C(step)", 4),
        ("steps = {'a': 3}\nself.conv = C(steps['a'])", 3),
        ("*_, step = [1, 2, 3]\nself.conv = C(step)", 3),
        ("def make(step, **more):\n    return C(step, **more)\nself.conv = make(2)", 2),
        ("make = partial(nn.Conv2d, 3, 8, stride=2)\nself.conv = make(kernel_size=7, bias=False)", 2),
        ("setattr(self, f'{\"con\"}v', C(max(1, sum([1, 1]))))", 2),
        ("try:\n    raise ValueError\nexcept ValueError:\n    self.conv = C(2)", 2),
        ("self.conv = C(1)\nfor m in self.modules():\n    if isinstance(m, nn.Conv2d): m.stride = (2, 2)", 2),
        ("for name, step in zip(['conv'], [4]):\n    self.add_module(name, C(step))", 4),
        ("self.conv = [C(step) for step in range(1, 9) if step % 3 == 0][-1]", 6),
        ("options = dict(kernel_size=7, bias=False)\nself.conv = nn.Conv2d(3, 8, **options, stride=5)", 5),
    ] {
        let text = net(&body.replace("C(", STRIDED)).replace("WIDTH = 4", "from functools import partial\nWIDTH = 4");
        let with = opened(&[CONV], &[("net.py", &text)]);
        assert_eq!(status(&with, "conv"), Status::Direct, "{body}");
        assert_eq!(attribute(&with, "conv", "stride"), json!([stride, stride]), "{body}");
    }
}

#[test]
fn the_class_is_taken_only_if_it_is_the_only_one() {
    let text = net("self.conv = nn.Conv2d(3, 8, 7, bias=False)");
    let twin = text.replace("class Net", "class Twin").replace("7, bias", "7, stride=2, bias");
    let with = opened(&[CONV], &[("net.py", &text), ("twin.py", &twin)]);
    assert_eq!(module(&with, "conv").evidence, Evidence::Inferred);
    let larger = twin.replace("bias=False)", "bias=False)\n        self.more = nn.Linear(1, 2)");
    let with = opened(&[CONV], &[("net.py", &text), ("twin.py", &larger)]);
    assert_eq!(attribute(&with, "conv", "stride"), json!([1, 1]), "the one with nothing to spare");
    let other = text.replace("self.conv", "self.convolution");
    assert_eq!(module(&opened(&[CONV], &[("net.py", &other)]), "conv").evidence, Evidence::Inferred);
}

#[test]
fn hostile_constructors_end() {
    let body = "self.conv = nn.Conv2d(3, 8, 7, bias=False)\nself.a = Net()\nself.b = Net()\nself.c = nn.ModuleList([Net() for _ in range(1000)])";
    let names: [(&str, &[usize]); 4] = [CONV, ("a.conv.weight", &[8, 3, 7, 7]), ("b.x", &[1]), ("c.0.x", &[1])];
    let with = opened(&names, &[("net.py", &net(body))]);
    assert_eq!(module(&with, "a").class, "net.Net");
    let circle =
        "from b import B\nclass A(B):\n    def __init__(self):\n        super().__init__()\n        self.conv = B()\n";
    let other =
        "from a import A\nclass B(A):\n    def __init__(self):\n        super().__init__()\n        self.conv = A()\n";
    opened(&[CONV], &[("a.py", circle), ("b.py", other)]);
}

mod never_panics {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use t2m_tui::source::{Sources, constructors};

    const PIECES: [&str; 34] = [
        "import torch.nn as nn\n",
        "from m import Net as B\n",
        "from .m import *\n",
        "class Net(B, Net):\n",
        "class B:\n",
        "    def __init__(self, a=1, *b, c=-2, **d):\n",
        "    def __init__(this, w, /):\n",
        "        super().__init__(",
        "self.x = ",
        "        self.x = nn.Conv2d(",
        "        this.x = ",
        "nn.Sequential(",
        "nn.ModuleList([",
        "nn.ModuleDict({'k': ",
        " for _ in range(",
        "OrderedDict([(",
        "Net(",
        "B(",
        "*",
        "**",
        "a",
        "9223372036854775807",
        " ** ",
        " // ",
        " % ",
        "-",
        "0",
        "1e308",
        "'é'",
        ", ",
        ")",
        "])",
        "\n",
        "        if a:\n",
    ];

    proptest! {
        #[test]
        fn on_pieces_of_constructors(chosen in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
            let head = "import torch.nn as nn\nclass Net(nn.Module):\n    def __init__(self, a=3):\n        self.x = ";
            let mut sources = Sources::default();
            sources.add_text("m", "m.py", "from a test", &format!("{head}{}", chosen.concat()));
            if let Some(modules) = constructors::modules(&sources, &constructors::Root { names: BTreeSet::from(["x"]), ..Default::default() }) {
                prop_assert_eq!(&modules[""].file, "m.py");
                prop_assert!(modules.values().all(|built| !built.class.is_empty() && built.line > 0));
            }
        }
    }
}

/// A Hugging Face folder with this config.json, opened with this file as its source.
fn with_config(tensors: &[(&str, &[usize])], config: &Value, text: &str) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let zeros = vec![0u8; 4096];
    let views = tensors.iter().map(|(name, shape)| {
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
    });
    std::fs::write(folder.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let source = folder.path().join("modeling_mine.py");
    std::fs::write(&source, text).unwrap();
    open(&Options { checkpoint: folder.path().to_owned(), sources: vec![source], ..Options::default() }).unwrap()
}

const CONFIGURED: &str = "\
import copy
from torch import nn
class Norm(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = eps
class Down(nn.Conv2d):
    def __init__(self, width, factor):
        super().__init__(width, 2 * width, factor, stride=factor)
class Plain(nn.Linear):
    pass
class Block(nn.Module):
    def __init__(self, config, index):
        super().__init__()
        self.norm = Norm(config.width, eps=getattr(config, 'eps', 1e-3))
        if config.kind == 'conv' and not config.slim:
            self.mix = nn.Conv1d(config.width, config.width, 3, padding=1 if index else 0)
        else:
            self.mix = nn.Linear(config.width, config.width)
        kind = nn.Linear if config.slim else Norm
        self.last = kind(config.width)
        self.out = Plain(config.width, config.width * config.ratio, bias=config.bias)
class MineModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        narrow = copy.deepcopy(config)
        narrow.slim = True
        self.down = Down(self.config.width, 2)
        self.blocks = nn.ModuleList([Block(config, index) for index in range(config.layers)])
        self.tail = nn.ModuleList()
        self.tail.append(Block(narrow, 0))
        self.stages = nn.ModuleList([nn.Linear(width, 2) for width in config.widths])
        self.rest = nn.ModuleList([nn.Dropout(0.1) for _ in range(config.gone)])
    def forward(self, x):
        return x
";

#[test]
fn a_config_beside_the_weights_gives_what_the_constructors_read_from_it() {
    let config = json!({
        "architectures": ["MineModel"], "model_type": "mine", "width": 4, "eps": 1e-5, "kind": "conv", "slim": false,
        "ratio": 2, "bias": false, "layers": 2, "widths": [4, 8],
    });
    let tensors: &[(&str, &[usize])] = &[
        ("down.weight", &[8, 4, 2, 2]),
        ("down.bias", &[8]),
        ("blocks.0.norm.weight", &[4]),
        ("blocks.0.mix.weight", &[4, 4, 3]),
        ("blocks.0.mix.bias", &[4]),
        ("blocks.1.mix.weight", &[4, 4, 3]),
        ("blocks.1.mix.bias", &[4]),
        ("blocks.1.out.weight", &[8, 4]),
        ("blocks.1.last.weight", &[4]),
        ("tail.0.mix.weight", &[4, 4]),
        ("tail.0.mix.bias", &[4]),
        ("stages.1.weight", &[2, 8]),
        ("stages.1.bias", &[2]),
    ];
    let with = with_config(tensors, &config, CONFIGURED);
    assert_eq!(module(&with, "").class, "transformers.models.mine.modeling_mine.MineModel");
    assert_eq!(attribute(&with, "blocks.0.norm", "epsilon"), json!(1e-5));
    assert_eq!(attribute(&with, "down", "stride"), json!([2, 2]), "a subclass takes its base's arguments");
    assert_eq!(attribute(&with, "blocks.0.mix", "padding"), json!([0]));
    assert_eq!(attribute(&with, "blocks.1.mix", "padding"), json!([1]));
    assert_eq!(attribute(&with, "blocks.1.out", "out_features"), json!(8));
    assert_eq!(module(&with, "tail.0.mix").class, "torch.nn.modules.linear.Linear", "the copy's own `slim` counts");
    assert_eq!(attribute(&with, "blocks.1.last", "epsilon"), json!(1e-6), "a class that a condition chooses");
    assert_eq!(attribute(&with, "stages.1", "in_features"), json!(8));
    assert!(with.checkpoint.warnings.is_empty(), "{:?}", with.checkpoint.warnings);
}

#[test]
fn a_config_that_does_not_fit_the_file_is_told() {
    let config = json!({"architectures": ["MineModel"], "model_type": "mine", "width": 4, "layers": 1});
    let with =
        with_config(&[("blocks.0.out.weight", &[9, 4])], &json!({"ratio": 2, "kind": "", "slim": true}), CONFIGURED);
    assert_ne!(module(&with, "blocks.0.out").evidence, Evidence::Exact);
    let mut config = config.as_object().unwrap().clone();
    config.extend([("ratio".to_owned(), json!(2)), ("bias".to_owned(), json!(false))]);
    let with = with_config(&[("blocks.0.out.weight", &[9, 4])], &Value::Object(config), CONFIGURED);
    assert_eq!(module(&with, "blocks.0.out").evidence, Evidence::Inferred);
    let warning = with.checkpoint.warnings.iter().find(|warning| warning.contains("blocks.0.out"));
    assert!(warning.is_some_and(|warning| warning.contains("shape [9, 4]")), "{:?}", with.checkpoint.warnings);
}

#[test]
fn every_layer_of_torch_has_its_constructor() {
    let text = net(
        "self.memory = nn.LSTM(4, 8, batch_first=True)\nself.pad = nn.ReflectionPad2d(2)\nself.bag = nn.EmbeddingBag(5, 4, mode='sum')",
    );
    let with = opened(
        &[("memory.weight_ih_l0", &[32, 4]), ("memory.weight_hh_l0", &[32, 8]), ("bag.weight", &[5, 4])],
        &[("net.py", &text)],
    );
    assert_eq!(attribute(&with, "bag", "mode"), "sum");
    assert_eq!(
        (attribute(&with, "memory", "batch_first"), attribute(&with, "memory", "num_layers")),
        (json!(true), json!(1))
    );
}

#[test]
fn each_attribute_says_which_line_gave_it() {
    let text = net("self.conv = nn.Conv2d(gone, 8, 7,\n    stride=2, bias=False)");
    let with = opened(&[CONV], &[("net.py", &text)]);
    let told = |name: &str| module(&with, "conv").told_by.get(name).map(ToString::to_string).unwrap();
    assert!(told("stride").starts_with("source ") && told("stride").ends_with("net.py:8"), "{}", told("stride"));
    assert_eq!(told("in_channels"), "shapes");
    let report = inspect_json::Report { opened: &with, check: None };
    let report = serde_json::to_value(report).unwrap();
    let conv = report["modules"].as_array().unwrap().iter().find(|module| module["path"] == "conv").unwrap();
    assert_eq!(conv["told_by"]["in_channels"], "shapes");
    let root = report["modules"].as_array().unwrap().iter().find(|module| module["path"] == "").unwrap();
    assert!(root.get("told_by").is_none());
}
