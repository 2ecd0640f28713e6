//! Constructors as packages write them: builders, classes as arguments, loops that add modules, records, parts handed in.

use serde_json::json;
use t2m_tui::model::Evidence;

use crate::constructors::{attribute, module, opened};

const HEAD: &str = "\
import copy
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
import torch
from torch import nn
";

/// Tensors of convolutions: path, and shape of the weight.
fn weights<'a>(layers: &'a [(&'a str, &'a [usize])]) -> Vec<(String, &'a [usize])> {
    layers.iter().map(|(path, shape)| (format!("{path}.weight"), *shape)).collect()
}

fn with(layers: &[(&str, &[usize])], text: &str) -> t2m_tui::open::Opened {
    let named = weights(layers);
    let tensors: Vec<(&str, &[usize])> = named.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
    opened(&tensors, &[("net.py", &format!("{HEAD}{text}"))])
}

const RESIDUAL: &str = "\
class Basic(nn.Module):
    expansion = 1
    def __init__(self, inputs, width, stride=1, down=None):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width * self.expansion, 3, padding=1, bias=False)
        self.down = down
class Net(nn.Module):
    def __init__(self, block, layers, widths=(4, 8)):
        super().__init__()
        self.inputs = 4
        self.stem = nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False)
        for number, (count, width) in enumerate(zip(layers, widths), 1):
            self.add_module(f'layer{number}', self._make(block, width, count, stride=1 if number == 1 else 2))
    def _make(self, block, width, count, stride):
        down = None
        if stride != 1 or self.inputs != width * block.expansion:
            down = nn.Sequential(nn.Conv2d(self.inputs, width * block.expansion, 1, stride, bias=False))
        layers = [block(self.inputs, width, stride, down)]
        self.inputs = width * block.expansion
        for _ in range(1, count):
            layers.append(block(self.inputs, width))
        return nn.Sequential(*layers)
def _net(block, layers, **kwargs):
    return Net(block, layers, **kwargs)
def small(pretrained=False, **kwargs):
    return _net(Basic, [1, 2], **kwargs)
def large(pretrained=False, **kwargs):
    return _net(Basic, [2, 2], **kwargs)
";
const SMALL: &[(&str, &[usize])] = &[
    ("stem", &[4, 3, 7, 7]),
    ("layer1.0.conv1", &[4, 4, 3, 3]),
    ("layer1.0.conv2", &[4, 4, 3, 3]),
    ("layer2.0.conv1", &[8, 4, 3, 3]),
    ("layer2.0.conv2", &[8, 8, 3, 3]),
    ("layer2.0.down.0", &[8, 4, 1, 1]),
    ("layer2.1.conv1", &[8, 8, 3, 3]),
    ("layer2.1.conv2", &[8, 8, 3, 3]),
];

#[test]
fn the_builder_that_fits_is_taken() {
    let opened = with(SMALL, RESIDUAL);
    for (path, stride) in [("stem", 2), ("layer1.0.conv1", 1), ("layer2.0.conv1", 2), ("layer2.0.down.0", 2)] {
        assert_eq!(attribute(&opened, path, "stride"), json!([stride, stride]), "{path}");
    }
    assert_eq!(attribute(&opened, "layer2.1.conv2", "padding"), json!([1, 1]));
    assert!(module(&opened, "layer2.1").class.ends_with("Basic"));
    assert!(opened.checkpoint.warnings.is_empty(), "{:?}", opened.checkpoint.warnings);
    // One that builds the same with another stride fits as well, and then the stride is not known.
    let twin = format!(
        "{RESIDUAL}class Wide(Basic):\n    def __init__(self, inputs, width, stride=1, down=None):\n        super().__init__(inputs, width, stride, down)\n        self.conv2.dilation = (2, 2)\ndef twin():\n    return Net(Wide, [1, 2])\n"
    );
    let opened = with(SMALL, &twin);
    assert!(!module(&opened, "layer1.0.conv2").attributes.contains_key("dilation"));
    assert_eq!(attribute(&opened, "layer2.0.conv1", "stride"), json!([2, 2]));
    let told = &opened.checkpoint.warnings;
    assert!(told.iter().any(|told| told.contains("small, twin")), "{told:?}");
}

#[test]
fn records_loops_and_lists_of_rows_are_followed() {
    let text = "\
@dataclass
class Row:
    width: int
    stride: int = 1
    groups: list = field(default_factory=lambda: [1])
class Wider(Row):
    def __init__(self, width, times):
        super().__init__(width * times, 2)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layers = OrderedDict()
        last = 3
        for at, row in enumerate([Row(4), Wider(4, 2), copy.copy(Row(width=8, stride=3))]):
            conv = partial(nn.Conv2d, bias=False, groups=row.groups[0])
            layers[f'conv{at}'] = conv(last, row.width, kernel_size=3, stride=row.stride)
            last = row.width
        self.features = nn.Sequential(layers)
        self.rest = nn.ModuleList()
        self.rest.extend([nn.Conv2d(*sizes, bias=False) for sizes in ((8, 8, 1, 4), (8, 2, 1))])
";
    let layers: &[(&str, &[usize])] = &[
        ("features.conv0", &[4, 3, 3, 3]),
        ("features.conv1", &[8, 4, 3, 3]),
        ("features.conv2", &[8, 8, 3, 3]),
        ("rest.0", &[8, 8, 1, 1]),
        ("rest.1", &[2, 8, 1, 1]),
    ];
    let opened = with(layers, text);
    for (path, stride) in
        [("features.conv0", 1), ("features.conv1", 2), ("features.conv2", 3), ("rest.0", 4), ("rest.1", 1)]
    {
        assert_eq!(attribute(&opened, path, "stride"), json!([stride, stride]), "{path}");
    }
}

#[test]
fn the_file_tells_which_way_is_taken() {
    // Which word was given shows in the names, how many layers there are in the file.
    let text = "\
class Net(nn.Module):
    def __init__(self, count, kind='plain'):
        super().__init__()
        if kind == 'plain':
            self.first = nn.Conv2d(3, 4, 3, bias=False)
        elif kind == 'deep':
            self.first = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, bias=False))
        else:
            raise ValueError(kind)
        self.layers = nn.ModuleList(nn.Conv2d(4, 4, 1, stride=3, bias=False) for _ in range(count))
";
    let layers: &[(&str, &[usize])] =
        &[("first.0", &[4, 3, 3, 3]), ("layers.0", &[4, 4, 1, 1]), ("layers.1", &[4, 4, 1, 1])];
    let opened = with(layers, text);
    assert_eq!(attribute(&opened, "first.0", "stride"), json!([2, 2]));
    assert_eq!(attribute(&opened, "layers.1", "stride"), json!([3, 3]));
}

#[test]
fn parts_that_are_handed_in_are_looked_for() {
    let text = "\
class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 4, 3, stride=2, bias=False)
        self.out = nn.Conv2d(4, 4, 1, stride=3, bias=False)
class Model(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Conv2d(4, 2, 1, stride=4, bias=False)
";
    let layers: &[(&str, &[usize])] =
        &[("encoder.down", &[4, 3, 3, 3]), ("encoder.out", &[4, 4, 1, 1]), ("head", &[2, 4, 1, 1])];
    let opened = with(layers, text);
    for (path, stride) in [("encoder.down", 2), ("encoder.out", 3), ("head", 4)] {
        assert_eq!(attribute(&opened, path, "stride"), json!([stride, stride]), "{path}");
    }
    let other = layers.iter().map(|(path, shape)| (path.replace("encoder", "net"), *shape)).collect::<Vec<_>>();
    let other: Vec<(&str, &[usize])> = other.iter().map(|(path, shape)| (path.as_str(), *shape)).take(2).collect();
    let opened = with(&other, text);
    assert_eq!(attribute(&opened, "net.down", "stride"), json!([2, 2]), "behind a prefix");
}

#[test]
fn what_is_not_in_the_source_is_not_known() {
    let text = "\
from elsewhere import make, Other
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = make(3, 4)
        self.more = Other(3, 4)
        self.last = nn.Conv2d(4, 2, 1, stride=make(), bias=False)
";
    let layers: &[(&str, &[usize])] = &[("conv", &[4, 3, 3, 3]), ("more", &[4, 3, 3, 3]), ("last", &[2, 4, 1, 1])];
    let opened = with(layers, text);
    for path in ["conv", "more"] {
        assert_eq!(module(&opened, path).evidence, Evidence::Inferred, "{path}");
    }
    assert!(!module(&opened, "last").attributes.contains_key("stride"));
}
