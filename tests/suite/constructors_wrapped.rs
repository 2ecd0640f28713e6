//! Constructors with something around them: norms of the weight, functions and methods that give a layer. And parameters of the
//! model's constructor that the shapes in the file tell.

use serde_json::json;
use t2m_tui::model::Evidence;
use t2m_tui::triage::Status;

use crate::constructors::{attribute, module, opened, status};

const HEAD: &str = "\
import torch
from torch import nn
import torch.nn.utils as utils
from torch.nn.utils import weight_norm, spectral_norm
from torch.nn.utils.parametrizations import weight_norm as parametrized
from helpers import far_conv, apply_norm
def norm_conv(*args, **kwargs):
    return weight_norm(nn.Conv1d(*args, **kwargs))
def typed(*args: int, **kwargs: int):
    layer = nn.Conv1d(*args, **kwargs)
    weight_norm(layer)
    return layer
def chosen(layer, norm):
    if norm == 'weight':
        return weight_norm(layer)
    elif norm == 'spectral':
        return spectral_norm(layer)
    return layer
def of_kind(kind, *args, **kwargs):
    return weight_norm(kind(*args, **kwargs))
";
const HELPERS: &str = "\
from torch import nn
from torch.nn.utils import weight_norm
def far_conv(inputs, outputs, kernel, **options):
    return weight_norm(nn.Conv1d(inputs, outputs, kernel, **options))
def apply_norm(layer):
    return weight_norm(layer)
";
/// What one writes for a convolution of stride 2, padding 1 and a norm of its weight, as `self.conv`.
const WRITTEN: &[&str] = &[
    "self.conv = weight_norm(nn.Conv1d(6, 6, 3, stride=2, padding=1))",
    "self.conv = utils.weight_norm(nn.Conv1d(6, 6, 3, stride=2, padding=1), name='weight', dim=0)",
    "self.conv = torch.nn.utils.spectral_norm(module=nn.Conv1d(6, 6, 3, stride=2, padding=1))",
    "self.conv = parametrized(nn.Conv1d(6, 6, 3, stride=2, padding=1)).to('cpu')",
    "self.conv = (spectral_norm(weight_norm(nn.Conv1d(6, 6, 3, 2, 1))))",
    "self.conv = norm_conv(6, 6, 3, stride=2, padding=1)",
    "self.conv = typed(6, 6, 3, 2, padding=1)",
    "self.conv = far_conv(6, 6, 3, stride=2, padding=1)",
    "self.conv = apply_norm(nn.Conv1d(6, 6, 3, stride=2, padding=1))",
    "self.conv = chosen(nn.Conv1d(6, 6, 3, stride=2, padding=1), norm)",
    "self.conv = of_kind(nn.Conv1d, 6, 6, 3, stride=2, padding=1)",
    "self.conv = self.make(6, 6, stride=2, padding=1)",
    "self.conv = self.still(nn.Conv1d(6, 6, 3, stride=2, padding=1))",
    "self.conv = nn.Conv1d(6, 6, 3, stride=2, padding=1)\nself.conv = weight_norm(self.conv)",
    "self.conv = nn.Conv1d(6, 6, 3, stride=2, padding=1)\nweight_norm(self.conv)",
    "self.conv = nn.Conv1d(6, 6, 3, stride=2, padding=1)\nif norm:\n    weight_norm(self.conv)",
    "conv = nn.Conv1d(6, 6, 3, stride=2, padding=1)\nself.conv = weight_norm(conv)",
    "conv = weight_norm(nn.Conv1d(6, 6, 3, stride=2, padding=1))\nself.conv = conv",
    "self.add_module('conv', weight_norm(nn.Conv1d(6, 6, 3, stride=2, padding=1)))",
    "wrap = weight_norm if norm == 'weight' else spectral_norm\nself.conv = wrap(nn.Conv1d(6, 6, 3, stride=2, padding=1))",
    "wrap = lambda x: torch.nn.utils.weight_norm(x)\nself.conv = wrap(nn.Conv1d(6, 6, 3, stride=2, padding=1))",
];
type Tensors = &'static [(&'static str, &'static [usize])];
/// What the file has of it: by the hook, by the parametrization, plain after the norm was removed.
const KEYS: &[(Tensors, &str)] = &[
    (&[("conv.weight_g", &[6, 1, 1]), ("conv.weight_v", &[6, 6, 3]), ("conv.bias", &[6])], "conv.Conv1d"),
    (
        &[
            ("conv.parametrizations.weight.original0", &[6, 1, 1]),
            ("conv.parametrizations.weight.original1", &[6, 6, 3]),
            ("conv.bias", &[6]),
        ],
        "parametrize.ParametrizedConv1d",
    ),
    (&[("conv.weight", &[6, 6, 3]), ("conv.bias", &[6])], "conv.Conv1d"),
    (
        &[("conv.weight_orig", &[6, 6, 3]), ("conv.weight_u", &[6]), ("conv.weight_v", &[18]), ("conv.bias", &[6])],
        "conv.Conv1d",
    ),
];

fn net(body: &str) -> String {
    let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "{HEAD}class Net(nn.Module):\n    def __init__(self, dim=4, norm='weight', kernel=3, wide=64):\n        super().__init__()\n{body}    \
         def make(self, inputs, outputs, **options):\n        return weight_norm(nn.Conv1d(inputs, outputs, 3, **options))\n    \
         @staticmethod\n    def still(layer):\n        layer = weight_norm(layer)\n        return layer\n"
    )
}

#[test]
fn what_is_around_a_constructor_leaves_the_layer_what_it_is() {
    for body in WRITTEN {
        let text = net(body);
        for (tensors, class) in KEYS {
            let with = opened(tensors, &[("net.py", &text), ("helpers.py", HELPERS)]);
            assert!(module(&with, "conv").class.ends_with(class), "{body}: {}", module(&with, "conv").class);
            assert_eq!(module(&with, "conv").evidence, Evidence::Source, "{body} of {tensors:?}");
            let known = ["stride", "padding", "groups"].map(|name| attribute(&with, "conv", name));
            assert_eq!(known, [json!([2]), json!([1]), json!(1)], "{body}");
            assert!(with.checkpoint.warnings.is_empty(), "{body}: {:?}", with.checkpoint.warnings);
            let norm = tensors.iter().any(|(name, _)| name.ends_with("weight_g") || name.ends_with("original0"));
            let spectral = tensors.iter().any(|(name, _)| name.ends_with("weight_u"));
            let expected = match (norm, spectral) {
                (true, _) => Status::Recipe,
                (_, true) => Status::Unsupported,
                _ => Status::Direct,
            };
            assert_eq!(status(&with, "conv"), expected, "{body}");
        }
    }
}

#[test]
fn a_norm_does_not_make_another_layer_fit() {
    let tensors = KEYS[0].0;
    for (body, reason) in [
        ("self.conv = weight_norm(nn.Conv1d(6, 6, 5))", "`weight` has shape [6, 6, 3]"),
        ("self.conv = weight_norm(nn.Conv1d(6, 6, 3, bias=False))", "the file has a `bias`"),
        ("self.conv = norm_conv(6, 12, 3)", "`weight` has shape [6, 6, 3]"),
    ] {
        let with = opened(tensors, &[("net.py", &net(body)), ("helpers.py", HELPERS)]);
        assert_eq!(module(&with, "conv").evidence, Evidence::Inferred, "{body}");
        assert!(with.checkpoint.warnings.iter().any(|told| told.contains(reason)), "{:?}", with.checkpoint.warnings);
    }
    // What somebody else decides is not known.
    for body in [
        "self.conv = elsewhere(nn.Conv1d(6, 6, 3))",
        "self.conv = weight_norm(*layers)",
        "self.conv = nn.Conv1d(6, 6, 3)\nself.conv = elsewhere(self.conv)",
        "self.conv = other(6, 6, 3, padding=elsewhere())",
    ] {
        let with = opened(tensors, &[("net.py", &net(body)), ("helpers.py", HELPERS)]);
        assert!(!module(&with, "conv").attributes.contains_key("padding"), "{body}");
        assert_eq!(status(&with, "conv"), Status::Incomplete, "{body}");
    }
    // What a function changes on the way is followed.
    let text = net("self.conv = other(6, 6, 3)").replace(
        "def typed",
        "def other(*args, **kwargs):\n    kwargs['padding'] = 1\n    return nn.Conv1d(*args, **kwargs)\ndef typed",
    );
    let with = opened(tensors, &[("net.py", &text), ("helpers.py", HELPERS)]);
    assert_eq!(attribute(&with, "conv", "padding"), json!([1]));
}

#[test]
fn wrapped_layers_are_read_in_lists() {
    let body = "\
self.net = nn.Sequential(weight_norm(nn.Conv1d(6, 6, 3)), nn.ReLU(), norm_conv(6, 6, 3, padding=1))
self.list = nn.ModuleList([weight_norm(nn.Conv1d(6, 6, kernel, dilation=2)) for kernel in (3, 3)])
self.more = nn.ModuleList()
self.more.append(self.make(6, 6, stride=3))";
    let paths = ["net.0", "net.2", "list.0", "list.1", "more.0"];
    let names: Vec<(String, &[usize])> = paths
        .iter()
        .flat_map(|path| {
            let sizes: [(&str, &[usize]); 3] = [("weight_g", &[6, 1, 1]), ("weight_v", &[6, 6, 3]), ("bias", &[6])];
            sizes.map(|(name, shape)| (format!("{path}.{name}"), shape))
        })
        .collect();
    let tensors: Vec<(&str, &[usize])> = names.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
    let with = opened(&tensors, &[("net.py", &net(body)), ("helpers.py", HELPERS)]);
    let expected =
        [("net.0", 1, 1, 0), ("net.2", 1, 1, 1), ("list.0", 1, 2, 0), ("list.1", 1, 2, 0), ("more.0", 3, 1, 0)];
    for (path, stride, dilation, padding) in expected {
        let known = ["stride", "dilation", "padding"].map(|name| attribute(&with, path, name));
        assert_eq!(known, [json!([stride]), json!([dilation]), json!([padding])], "{path}");
    }
}

#[test]
fn shapes_tell_what_the_model_was_built_with() {
    // A depthwise layer's `groups` is the width that its own weight shows, whatever the default is.
    let body = "\
self.norm = nn.LayerNorm(dim)
self.conv = nn.ConvTranspose1d(dim, dim, kernel, stride=2, groups=dim, padding=kernel // 2)
self.side = nn.Conv1d(max(dim, 64), wide, 1)";
    for width in [4usize, 6] {
        let (weight, norm) = ([width, 1, 5], [width]);
        let tensors: &[(&str, &[usize])] =
            &[("norm.weight", &norm), ("norm.bias", &norm), ("conv.weight", &weight), ("conv.bias", &norm)];
        let with = opened(tensors, &[("net.py", &net(body)), ("helpers.py", HELPERS)]);
        let known = ["groups", "padding", "in_channels"].map(|name| attribute(&with, "conv", name));
        assert_eq!(known, [json!(width), json!([2]), json!(width)]);
        assert_eq!(status(&with, "conv"), Status::Recipe, "converted, group by group");
    }
    // Where two weights tell two values nothing is known, and a bound is not taken for the parameter.
    for body in [
        "self.conv = nn.Conv1d(dim, 8, 3, groups=1)\nself.more = nn.Conv1d(dim, 8, 3, stride=dim)",
        "self.conv = nn.Conv1d(4, 8, 3)\nself.more = nn.Conv1d(max(dim, 6), 8, 3, stride=dim)",
        "self.conv = nn.Conv1d(4, 8, 3)\nself.more = nn.Conv1d(dim + 2, 8, 3, stride=dim)",
    ] {
        let tensors: &[(&str, &[usize])] =
            &[("conv.weight", &[8, 4, 3]), ("conv.bias", &[8]), ("more.weight", &[8, 6, 3]), ("more.bias", &[8])];
        let with = opened(tensors, &[("net.py", &net(body)), ("helpers.py", HELPERS)]);
        assert!(!module(&with, "more").attributes.contains_key("stride"), "{body}");
        assert_eq!(status(&with, "more"), Status::Incomplete, "{body}");
    }
}
