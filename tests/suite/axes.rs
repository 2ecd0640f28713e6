//! What stands before decides: behind a convolution the axes that a forward counts are others in MLX, and each line says which.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use t2m_checkpoint::{Checkpoint, DescribedModule};
use t2m_tui::findings::ops::{OpSummary, ops, total, words};
use t2m_tui::model;
use t2m_tui::open::Opened;
use t2m_tui::registry::Registry;
use t2m_tui::registry::ops::OpStatus;
use t2m_tui::source::Sources;
use t2m_tui::triage;

const HEAD: &str = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n";

/// A module at a path: a class of the file, or one of torch by its short name.
type Row<'a> = (&'a str, &'a str, Value);

fn opened(text: &str, modules: &[Row<'_>]) -> Opened {
    let mut sources = Sources::default();
    sources.add_text("m", "m.py", "from a test", &format!("{HEAD}{text}"));
    let described: Vec<DescribedModule> = modules
        .iter()
        .map(|(path, class, attributes)| {
            let class = match *class {
                class if class.contains('.') => class.to_owned(),
                class if class.starts_with("Conv") => format!("torch.nn.modules.conv.{class}"),
                class if class.starts_with("BatchNorm") => format!("torch.nn.modules.batchnorm.{class}"),
                class if class.contains("Pool") => format!("torch.nn.modules.pooling.{class}"),
                "GroupNorm" | "LayerNorm" => format!("torch.nn.modules.normalization.{class}"),
                "Linear" => "torch.nn.modules.linear.Linear".to_owned(),
                "ReLU" => "torch.nn.modules.activation.ReLU".to_owned(),
                "Flatten" => "torch.nn.modules.flatten.Flatten".to_owned(),
                "Embedding" => "torch.nn.modules.sparse.Embedding".to_owned(),
                "Sequential" | "ModuleList" => format!("torch.nn.modules.container.{class}"),
                class => format!("m.{class}"),
            };
            let attributes = attributes.as_object().unwrap().clone();
            DescribedModule { path: (*path).to_owned(), class, attributes, tensors: Vec::new() }
        })
        .collect();
    let checkpoint = Checkpoint::described(Path::new("m.pt"), &described);
    let model = model::build(&checkpoint);
    let registry = Registry::load(&[]).unwrap();
    let triage = triage::triage(&checkpoint, &model, &registry, &sources);
    Opened {
        outline: None,
        checkpoint: Arc::new(checkpoint),
        model: Arc::new(model),
        registry: Arc::new(registry),
        architecture: None,
        graph: None,
        triage: Arc::new(triage),
        typed: Arc::default(),
        kept: Arc::default(),
        inputs: Arc::default(),
        roots: Arc::default(),
    }
}

/// Convolutions and the like that the forwards of these tests call.
fn layers() -> Vec<Row<'static>> {
    vec![
        ("conv", "Conv2d", json!({"kernel_size": [3, 3], "padding": [1, 1], "out_channels": 16})),
        ("conv1", "Conv1d", json!({"kernel_size": [3], "padding": [1]})),
        ("conv3", "Conv3d", json!({"kernel_size": [3, 3, 3], "padding": [1, 1, 1]})),
        ("point", "Conv2d", json!({"kernel_size": [1, 1], "padding": [0, 0]})),
        ("norm", "BatchNorm2d", json!({})),
        ("rows", "BatchNorm1d", json!({})),
        ("group", "GroupNorm", json!({"num_groups": 2})),
        ("pool", "AdaptiveAvgPool2d", json!({"output_size": 1})),
        ("act", "ReLU", json!({})),
        ("fc", "Linear", json!({})),
        ("ids", "Embedding", json!({})),
        ("seq", "Sequential", json!({})),
        ("seq.0", "Conv2d", json!({"kernel_size": [3, 3], "padding": [1, 1]})),
        ("seq.1", "ReLU", json!({})),
        ("many", "ModuleList", json!({})),
        ("many.0", "Conv2d", json!({"kernel_size": [1, 1], "padding": [0, 0]})),
        ("many.1", "Part", json!({"n": 1})),
        ("many.1.conv", "Conv2d", json!({"kernel_size": [1, 1], "padding": [0, 0]})),
        ("many.2", "Part", json!({"n": 2})),
        ("many.2.conv", "Conv2d", json!({"kernel_size": [1, 1], "padding": [0, 0]})),
        ("many.3", "Part", json!({"n": 3})),
        ("many.3.conv", "Conv2d", json!({"kernel_size": [1, 1], "padding": [0, 0]})),
        ("many.4", "Part", json!({"n": 4})),
        ("many.4.conv", "Conv2d", json!({"kernel_size": [1, 1], "padding": [0, 0]})),
        ("many.5", "Part", json!({"n": 5})),
        ("many.5.conv", "Conv2d", json!({"kernel_size": [1, 1], "padding": [0, 0]})),
        ("blocks", "ModuleList", json!({})),
        ("blocks.0", "Conv2d", json!({"kernel_size": [3, 3], "padding": [1, 1]})),
        ("blocks.1", "Conv2d", json!({"kernel_size": [3, 3], "padding": [1, 1]})),
    ]
}

/// A forward of the root with these lines and attributes.
fn forward(lines: &str, attributes: Value) -> Opened {
    let body: String = lines.lines().map(|line| format!("        {line}\n")).collect();
    let part = "class Part(nn.Module):\n    def forward(self, x):\n        return self.conv(x)\n";
    let text = format!("{part}class Net(nn.Module):\n    def forward(self, x, y):\n{body}");
    let rows: Vec<Row<'_>> = std::iter::once(("", "Net", attributes)).chain(layers()).collect();
    opened(&text, &rows)
}

fn find<'a>(all: &'a [OpSummary<'a>], name: &str) -> Vec<&'a OpSummary<'a>> {
    all.iter().filter(|op| op.torch.rsplit('.').next() == Some(name) || op.torch == name).collect()
}

/// The statuses and words of the ops of this name.
fn said(lines: &str, name: &str) -> Vec<(OpStatus, String)> {
    let opened = forward(lines, json!({"axis": 1, "where": [2, 3], "mode": "bicubic"}));
    let all = ops(&opened);
    find(&all, name).into_iter().map(|op| (op.status, op.notes.join(" "))).collect()
}

/// What the one op of this name says, which counts as an axis.
fn axis(lines: &str, name: &str) -> String {
    let all = said(lines, name);
    let [(status, words)] = all.as_slice() else { panic!("{lines}: {name}: {all:?}") };
    assert_eq!(*status, OpStatus::Axis, "{lines}: {words}");
    words.clone()
}

#[test]
fn an_axis_behind_a_convolution_is_another_one() {
    let cases = [
        ("x = self.conv(x)\nreturn torch.cat([x, x], dim=1)", "cat", "dim=1 is axis=-1"),
        ("x = self.conv(x)\nreturn torch.cat((x, x), 1)", "cat", "dim=1 is axis=-1"),
        ("x = self.conv(x)\nreturn torch.cat([x, x], dim=-3)", "cat", "dim=-3 is axis=-1"),
        ("x = self.conv(x)\nreturn torch.cat([x, x], 2)", "cat", "dim=2 is axis=1"),
        ("x = self.conv(x)\nreturn torch.cat([x, x], dim=self.axis)", "cat", "dim=1 is axis=-1"),
        ("x = self.conv(x)\nreturn x.mean([2, 3])", "mean", "dim=(2, 3) is axis=(1, 2)"),
        ("x = self.conv(x)\nreturn x.mean(dim=self.where, keepdim=True)", "mean", "dim=(2, 3) is axis=(1, 2)"),
        ("x = self.conv(x)\nreturn torch.mean(x, dim=(-2, -1))", "mean", "dim=(-2, -1) is axis=(1, 2)"),
        ("x = self.conv(x)\nreturn x.sum(1, keepdim=True)", "sum", "dim=1 is axis=-1"),
        ("x = self.conv(x)\nreturn F.softmax(x, dim=1)", "softmax", "dim=1 is axis=-1"),
        ("x = self.conv(x)\nreturn x.softmax(1)", "softmax", "dim=1 is axis=-1"),
        ("x = self.conv(x)\nreturn x[:, :8]", "x[…]", "x[:, :8] is x[:, :, :, :8]"),
        ("x = self.conv(x)\nreturn x[..., ::2, 1:]", "x[…]", "is x[:, ::2, 1:]"),
        ("x = self.conv(x)\nreturn x.view(x.size(0), -1)", "view", "mx.transpose(x, (0, 3, 1, 2)) first"),
        ("x = self.conv(x)\nreturn x.reshape(x.shape[0], -1)", "reshape", "mx.transpose(x, (0, 3, 1, 2)) first"),
        ("x = self.conv(x)\nreturn torch.flatten(x, 1)", "flatten", "mx.transpose(x, (0, 3, 1, 2)) first"),
        ("x = self.conv(x)\nreturn x.permute(0, 2, 3, 1)", "permute", "leave the call out"),
        ("x = self.conv(x)\nreturn x.permute(0, 2, 1, 3)", "permute", "mx.transpose(x, (0, 1, 3, 2))"),
        ("x = self.conv(x)\nreturn x.movedim(1, -1)", "movedim", "leave the call out"),
        ("x = self.conv(x)\nb, c, h, w = x.shape\nreturn x", "x.shape", "in the order (0, 2, 3, 1)"),
        ("x = self.conv(x)\nreturn x.size(1)", "x.size", "torch's axis 1 is at -1"),
        ("x = self.conv(x)\nreturn x.shape[-1]", "x[…]", "torch's axis -1 is at 2"),
        ("x = self.conv(x)\nreturn F.pad(x, (1, 2, 3, 4))", "pad", "pad_width=((0, 0), (3, 4), (1, 2), (0, 0))"),
        ("x = self.conv(x)\nreturn x.unsqueeze(-1)", "unsqueeze", "mx.expand_dims(x, 3)"),
        ("x = self.conv(x)\nreturn x.unflatten(1, (4, -1))", "unflatten", "dim=1 is axis=-1"),
        ("x = self.conv(x)\nreturn torch.stack([x, x], 2)", "stack", "dim=2 is axis=1"),
        ("x = self.conv1(x)\nreturn torch.cat([x, x], 1)", "cat", "dim=1 is axis=-1"),
        ("x = self.conv1(x)\nreturn x.transpose(1, 2)", "transpose", "leave the call out"),
        ("x = self.conv1(x)\nreturn x.mean(-1)", "mean", "dim=-1 is axis=1"),
        ("x = self.conv3(x)\nreturn x.mean((2, 3, 4))", "mean", "dim=(2, 3, 4) is axis=(1, 2, 3)"),
        ("x = self.conv3(x)\nreturn x.flatten(1)", "flatten", "mx.transpose(x, (0, 4, 1, 2, 3)) first"),
        ("x = F.conv2d(x, y)\nreturn torch.cat([x, x], 1)", "cat", "dim=1 is axis=-1"),
        ("x = F.max_pool2d(x, 2)\nreturn torch.cat([x, x], 1)", "cat", "dim=1 is axis=-1"),
        ("x = self.norm(x)\nreturn torch.cat([x, x], 1)", "cat", "dim=1 is axis=-1"),
        ("x = self.group(x)\nreturn torch.cat([x, x], 1)", "cat", "dim=1 is axis=-1"),
        (
            "x = self.conv(x)\nx = self.fc(x.permute(0, 2, 3, 1))\nreturn x.permute(0, 3, 1, 2).mean(1)",
            "mean",
            "dim=1 is axis=-1",
        ),
    ];
    for (lines, name, expected) in cases {
        let words = axis(lines, name);
        assert!(words.contains(expected), "{lines}: {words}");
    }
}

#[test]
fn activations_are_followed() {
    let cat = "return torch.cat([x, x], 1)";
    for lines in [
        "x = self.act(self.norm(self.conv(x)))",
        "z = self.conv(x)\nx = z + self.conv(z)",
        "x = self.conv(x)\nx += y",
        "x = 2 * self.conv(x)",
        "x = torch.relu(self.conv(x)).contiguous().clone()",
        "x = self.seq(x)",
        "x = self.conv(x)\nfor block in self.blocks:\n    x = block(x) + x",
        "p, x = self.conv(x).chunk(2, dim=1)",
        "x = self.conv(x)\nx = x if y is None else x * 2",
        "if y is None:\n    x = self.conv(x)\nelse:\n    x = self.norm(x)",
        "x = F.dropout(self.conv(x), 0.1, self.training)",
        "x = self.conv(x)[:, :4, ::2]",
        "x = torch.where(x > 0, self.conv(x), 0)",
        "x = F.interpolate(self.conv(x), scale_factor=2)",
    ] {
        let words = axis(&format!("{lines}\n{cat}"), "cat");
        assert!(words.contains("dim=1 is axis=-1"), "{lines}: {words}");
    }
    let lists = [
        "x = self.conv(x)\nreturn torch.cat([x] + [x], 1)",
        "z = [self.conv(x)]\nz.append(self.conv(x))\nreturn torch.cat(z, 1)",
        "z = []\nfor block in self.blocks:\n    x = block(x)\n    z.append(x)\nreturn torch.cat(z, 1)",
        "return torch.cat([block(x) for block in self.blocks], 1)",
        "z = []\nfor block in self.many:\n    z.append(block(x))\nreturn torch.cat(z, 1)",
        "x = self.conv(x)\nreturn torch.cat([x, y], 1)",
    ];
    for lines in lists {
        assert!(axis(lines, "cat").contains("dim=1 is axis=-1"), "{lines}");
    }
}

#[test]
fn what_is_in_torchs_order_is_left_alone() {
    let direct = [
        ("x = self.conv(x).flatten(2).transpose(1, 2)\nreturn torch.cat([x, x], 1)", "cat"),
        ("x = self.conv(x).permute(0, 2, 3, 1)\nreturn x.reshape(x.shape[0], -1, 8)", "reshape"),
        ("x = self.conv(x).mean((2, 3))\nreturn x.softmax(1)", "softmax"),
        ("x = self.ids(x)\nreturn x.mean(1)", "mean"),
        ("x = self.fc(x)\nreturn torch.cat([x, x], 1)", "cat"),
        ("x = self.fc(x)\nreturn x.flatten(1)", "flatten"),
        ("x = self.rows(self.fc(x))\nreturn x.flatten(1)", "flatten"),
        ("self.conv(x)\nz = x.new_zeros((4, 4))\nreturn z.view(2, 2, 2, 2)", "view"),
        ("x = self.conv(x)\nreturn torch.cat([x, x], 0)", "cat"),
        ("x = self.conv(x)\nreturn x.mean()", "mean"),
    ];
    for (lines, name) in direct {
        let all = said(lines, name);
        assert!(all.iter().all(|(status, _)| *status == OpStatus::Direct) && !all.is_empty(), "{lines}: {all:?}");
    }
}

#[test]
fn where_each_channel_has_one_place_a_flatten_changes_nothing() {
    for lines in [
        "return torch.flatten(self.pool(self.conv(x)), 1)",
        "x = F.adaptive_avg_pool2d(self.conv(x), (1, 1))\nreturn x.flatten(1)",
        "x = self.conv(x).mean((2, 3), keepdim=True)\nreturn self.act(x).flatten(1)",
        "x = self.point(self.pool(self.conv(x)))\nreturn x.flatten(1)",
    ] {
        let all = said(lines, "flatten");
        assert!(
            matches!(all.as_slice(), [(OpStatus::Direct, words)] if words.contains("one place")),
            "{lines}: {all:?}"
        );
    }
    let all = said("x = self.conv(self.pool(x))\nreturn x.flatten(1)", "flatten");
    assert_eq!(all[0].0, OpStatus::Axis, "a padded convolution may make more of one place: {all:?}");
}

#[test]
fn a_view_says_how_its_sizes_are_ordered() {
    let shuffle = "x = self.conv(x)\nb, c, h, w = x.size()\nx = x.view(b, 2, c // 2, h, w)\nx = x.transpose(1, 2).contiguous()\nreturn x.view(b, c, h, w)";
    let words = said(shuffle, "view");
    assert!(words.iter().any(|(_, words)| words.contains("(0, 3, 4, 1, 2)")), "{words:?}");
    assert!(axis(shuffle, "transpose").contains("mx.transpose(x, (0, 1, 2, 4, 3))"), "{shuffle}");
    let tokens = "x = self.conv(x)\nb, c, h, w = x.shape\nreturn x.view(b, c, -1)";
    assert!(axis(tokens, "view").contains("(0, 2, 1)"));
    let heads = "x = self.conv(x)\nb, c, h, w = x.shape\nreturn x.reshape(b, 4, -1, h * w)";
    assert!(axis(heads, "reshape").contains("(0, 3, 1, 2)"));
    let written = "n = y // 4\nx = self.conv(x)\nreturn x.reshape(y, 16, n * n).permute(0, 2, 1)";
    assert!(axis(written, "reshape").contains("(0, 2, 1)"));
    assert!(axis(written, "permute").contains("leave the call out"));
    let unclear = "x = self.conv(x)\nreturn x.view(2, 3, 4, 5, 6)";
    assert!(axis(unclear, "view").contains("where this joins or cuts"));
}

#[test]
fn what_is_not_known_says_so() {
    let all = said("y = self.conv(x)\nreturn torch.cat([x, x], 1)", "cat");
    assert!(matches!(all.as_slice(), [(OpStatus::Direct, words)] if words.contains("not known")), "{all:?}");
    let all = said("y = self.conv(x)\nreturn x.flatten(1)", "flatten");
    assert!(matches!(all.as_slice(), [(OpStatus::Trap, words)] if words.contains("not known")), "{all:?}");
    // A norm over channels that takes rows as well says nothing of what came in.
    let all = said("x = self.rows(x)\nreturn x.flatten(1)", "flatten");
    assert!(matches!(all.as_slice(), [(OpStatus::Trap, words)] if words.contains("not known")), "{all:?}");
    // Without images there is nothing to be unsure of.
    let text = "class Net(nn.Module):\n    def forward(self, x):\n        return torch.cat([self.fc(x), x], 1)\n";
    let opened = opened(text, &[("", "Net", json!({})), ("fc", "Linear", json!({}))]);
    assert!(ops(&opened).iter().all(|op| op.notes.is_empty()));
}

#[test]
fn children_are_called_with_what_their_callers_have() {
    let text = "class Block(nn.Module):\n    def forward(self, x):\n        return torch.cat([x, x], 1)\n\
                class Stem(nn.Sequential):\n    pass\n\
                class Net(nn.Module):\n    def forward(self, x):\n        x = self.stem(x)\n        return self.block(x)\n";
    let conv = json!({"kernel_size": [3, 3], "padding": [1, 1]});
    let rows = [
        ("", "Net", json!({})),
        ("stem", "Stem", json!({})),
        ("stem.0", "Conv2d", conv.clone()),
        ("stem.1", "Block", json!({})),
        ("block", "Block", json!({})),
    ];
    let opened = opened(text, &rows);
    let all = ops(&opened);
    let cats = find(&all, "cat");
    let [op] = cats.as_slice() else { panic!("{cats:?}") };
    assert_eq!((op.status, op.count), (OpStatus::Axis, 2));
    // The same code, where another caller hands in rows: both are said.
    let text = format!(
        "{text}        \nclass Both(nn.Module):\n    def forward(self, x):\n        return self.block(self.stem(x)), self.block(self.fc(x))\n"
    );
    let rows = [
        ("", "Both", json!({})),
        ("stem", "Sequential", json!({})),
        ("stem.0", "Conv2d", conv),
        ("block", "Block", json!({})),
        ("fc", "Linear", json!({})),
    ];
    let opened = self::opened(&text, &rows);
    let all = ops(&opened);
    assert!(find(&all, "cat").iter().all(|op| op.status != OpStatus::Axis || words(op).contains("not")), "{all:?}");
}

#[test]
fn axes_are_counted_as_a_kind_of_their_own() {
    let opened = forward("x = self.conv(x)\nreturn torch.cat([x, x], 1).mean((2, 3))", json!({}));
    let total = total(&opened);
    assert_eq!((total.axis, total.total()), (2, 2), "{total:?}");
    assert!(total.words().contains("2 axis"), "{}", total.words());
    let report = t2m_tui::report::ops::json(&opened);
    let cat = report.iter().find(|op| op["torch"] == "torch.cat").unwrap();
    assert_eq!((&cat["status"], &cat["layout"]), (&json!("axis"), &json!("channels-last")));
    assert!(cat["notes"][0].as_str().unwrap().contains("axis=-1"), "{cat}");
    assert!(opened.triage.classes.values().all(|class| class.blockers.is_empty()));
    let all = ops(&opened);
    let [cat] = find(&all, "cat")[..] else { panic!("{all:?}") };
    assert!(words(cat).ends_with("At m.py:10."), "{}", words(cat));
}

#[test]
fn a_forward_with_all_of_it_is_told_line_by_line() {
    let lines = "y = torch.cat([self.conv(x), self.blocks[0](x)], dim=1)
p, q = y.chunk(2, dim=1)
s = F.softmax(p, dim=1)
t = (s * q)[:, :8]
g = t.mean(dim=[2, 3])
z = t.view(t.size(0), -1)
u = t.reshape(t.shape[0], -1)
v = torch.reshape(t, (t.shape[0], -1))
tok = t.flatten(2).transpose(1, 2)
return self.fc(g), self.fc(z), self.fc(u), self.fc(v), self.fc(tok)";
    let opened = forward(lines, json!({}));
    let all = ops(&opened);
    let mut by_line: Vec<(usize, &str, OpStatus, String)> = all
        .iter()
        .flat_map(|op| op.places.iter().map(|(_, line, _)| (*line, op.torch.as_str(), op.status, op.notes.join(" "))))
        .collect();
    by_line.sort_by_key(|(line, op, ..)| (*line, *op));
    // The head, the helper class, `class Net` and its `def` come before.
    let told: Vec<String> = by_line
        .iter()
        .map(|(line, op, status, words)| {
            let words = words.split(": ").nth(1).unwrap_or("").split([',', '.']).next().unwrap_or("");
            format!("{} {op} {} {words}", line - 8, status.name()).trim_end().to_owned()
        })
        .collect();
    let expected = [
        "1 torch.cat axis dim=1 is axis=-1",
        "2 torch.chunk trap dim=1 is axis=-1",
        "3 F.softmax axis dim=1 is axis=-1",
        "4 torch.mul direct",
        "4 x[…] axis x[:",
        "5 x.mean axis dim=(2",
        "6 x.view axis flattened as it is",
        "7 x.reshape axis flattened as it is",
        "8 x.reshape axis flattened as it is",
        "9 x.flatten axis the axes of places are (1",
        "9 x.transpose axis leave the call out",
    ];
    assert_eq!(told, expected);
}

/// What is said of a call of the op of a row by its arguments.
fn told(line: &str, name: &str) -> String {
    said(&format!("return {line}"), name).into_iter().map(|(_, words)| words).collect()
}

#[test]
fn each_argument_of_interpolate_says_what_it_is_in_mlx() {
    let cases: [(&str, &[&str], &[&str]); 12] = [
        ("F.interpolate(x, scale_factor=2)", &[], &["Nearest", "size:", "mode:"]),
        ("F.interpolate(x, scale_factor=2.5)", &["Nearest:"], &["mode:"]),
        ("F.interpolate(x, (7, 9))", &["Nearest:", "size:"], &["recompute"]),
        ("F.interpolate(x, scale_factor=2, mode='bilinear')", &["\"linear\""], &["cubic", "neither"]),
        ("F.interpolate(x, scale_factor=1.5, mode='bilinear')", &["\"linear\"", "neither"], &["cubic"]),
        ("F.interpolate(x, None, 1.5, 'bilinear', True)", &["align_corners=True: pass"], &["neither"]),
        (
            "F.interpolate(x, scale_factor=1.5, mode='bicubic', recompute_scale_factor=True)",
            &["recompute"],
            &["neither"],
        ),
        ("F.interpolate(x, size=y, mode='bicubic')", &["\"cubic\"", "-0.75", "size:"], &["antialias", "-0.5"]),
        ("F.interpolate(x, size=y, mode=self.mode)", &["\"cubic\"", "-0.75"], &["Nearest"]),
        ("F.interpolate(x, size=y, mode='bicubic', antialias=True)", &["antialias=True: give", "-0.5"], &["-0.75"]),
        ("F.interpolate(x, size=y, mode='area')", &["average pooling"], &["Nearest"]),
        ("F.interpolate(x, scale_factor=3, mode='nearest-exact')", &["nearest-exact"], &["Nearest:"]),
    ];
    for (line, has, lacks) in cases {
        let words = told(line, "interpolate");
        has.iter().for_each(|has| assert!(words.contains(has), "{line} lacks {has}: {words}"));
        lacks.iter().for_each(|lacks| assert!(!words.contains(lacks), "{line} has {lacks}: {words}"));
    }
}

#[test]
fn arguments_of_pads_samples_and_attention_say_what_they_are() {
    let cases: [(&str, &str, &[&str]); 10] = [
        ("F.pad(x, (1, 1), mode='replicate')", "pad", &["\"edge\""]),
        ("F.pad(x, (1, 1), 'reflect')", "pad", &["\"reflect\""]),
        ("F.grid_sample(x, y)", "grid_sample", &["align_corners=False", "zeros"]),
        ("F.grid_sample(x, y, 'nearest', 'border', True)", "grid_sample", &["align_corners=True", "border", "nearest"]),
        ("F.grid_sample(x, y, mode='bicubic', padding_mode='reflection')", "grid_sample", &["sixteen", "mirror"]),
        ("F.scaled_dot_product_attention(x, x, x)", "scaled_dot_product_attention", &["MLX wants it"]),
        (
            "F.scaled_dot_product_attention(x, x, x, y, scale=1.0)",
            "scaled_dot_product_attention",
            &["same number", "nan"],
        ),
        ("F.scaled_dot_product_attention(x, x, x, is_causal=True)", "scaled_dot_product_attention", &["from the end"]),
        ("F.scaled_dot_product_attention(x, x, x, None, 0.1)", "scaled_dot_product_attention", &["dropout_p"]),
        ("F.scaled_dot_product_attention(x, x, x, enable_gqa=True)", "scaled_dot_product_attention", &["fewer heads"]),
    ];
    for (line, name, has) in cases {
        let words = told(line, name);
        has.iter().for_each(|has| assert!(words.contains(has), "{line} lacks {has}: {words}"));
    }
    let plain =
        told("F.scaled_dot_product_attention(x, x, x, dropout_p=0.0, is_causal=False)", "scaled_dot_product_attention");
    assert!(!plain.contains("dropout_p") && !plain.contains("is_causal"), "{plain}");
}
