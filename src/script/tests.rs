#![allow(clippy::unwrap_used, clippy::unreachable)]

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::graph::preflight::Preflight;
use t2m_checkpoint::graph::Argument as Of;
use t2m_checkpoint::script::{Attribute, File, Object, Script};

/// A model whose class is written here, with an object in it.
fn model(text: &str) -> Checkpoint {
    let mut checkpoint = Checkpoint::described(Path::new("model.pt"), &[]);
    let attributes = vec![
        ("scale".to_owned(), Attribute::Float(0.5)),
        ("names".to_owned(), Attribute::List(vec![Attribute::Text("a".to_owned()), Attribute::Text("b".to_owned())])),
        ("part".to_owned(), Attribute::Object(1)),
    ];
    checkpoint.script = Some(Script {
        files: vec![File {
            record: "code/__torch__.py".to_owned(),
            module: "__torch__".to_owned(),
            text: text.to_owned(),
            places: Vec::new(),
        }],
        objects: vec![
            Object { class: "__torch__.Net".to_owned(), path: String::new(), attributes },
            Object { class: "__torch__.Part".to_owned(), path: "part".to_owned(), attributes: Vec::new() },
        ],
        traced: Vec::new(),
    });
    checkpoint
}

fn forward(body: &str) -> Checkpoint {
    let lines: String = body.lines().map(|line| format!("    {line}\n")).collect();
    model(&format!(
        "class Net(Module):\n  def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n{lines}class Part(Module):\n  def forward(self: __torch__.Part, x: Tensor) -> Tensor:\n    return torch.tanh(x)\n"
    ))
}

/// The targets of a graph of which no sizes are known.
fn targets(body: &str) -> Vec<String> {
    outline(&forward(body)).unwrap().nodes.into_iter().map(|node| node.target).collect()
}

/// A world that knows the sizes of inputs alone, and says that each op gives the same.
struct Same;

impl World for Same {
    fn run(&mut self, graph: &Graph, node: &Node, _: ValueId) -> Result<Option<Vec<Given>>, String> {
        let first = node.arguments.iter().find_map(|(_, argument)| argument.values().first().copied());
        let meta = first.and_then(|id| graph.value(id)?.tensor.clone()).ok_or("there is no tensor")?;
        Ok(Some(vec![Given::Tensor(meta)]))
    }

    fn number(&mut self, _: &Graph, _: ValueId) -> Result<Option<Json>, String> {
        Ok(Some(Json::from(3.5)))
    }

    fn release(&mut self, _: &[ValueId]) {}
}

fn run(body: &str) -> Result<Graph, Refused> {
    let meta = TensorMeta { dtype: t2m_checkpoint::Dtype::Float32, sizes: vec![Some(2), Some(3)] };
    graph(&forward(body), &[Argument::Tensor("x".to_owned(), Some(meta))], &mut Same)
}

#[test]
fn conditions_loops_and_lists_are_written_out() {
    let body = "outs = annotate(List[Tensor], [])\nfor t in range(torch.size(x, 1)):\n  if torch.eq(torch.remainder(t, 2), 0):\n    y = torch.relu(x)\n  else:\n    y = torch.mul(x, torch.add(t, 1), )\n  _0 = torch.append(outs, y)\na, b, c, = outs\nwhile torch.lt(torch.len(outs), 4):\n  _1 = torch.append(outs, (self.part).forward(a, ))\nreturn torch.cat(outs, self.scale)";
    let refused = run(body).unwrap_err().to_string();
    assert_eq!(refused, "no overload of cat takes a list, a number at code/__torch__.py:14");
    let graph = run(&body.replace("self.scale", "-1")).unwrap();
    let targets: Vec<&str> = graph.nodes.iter().map(|node| node.target.as_str()).collect();
    assert_eq!(
        targets,
        ["aten.relu.default", "aten.mul.Scalar", "aten.relu.default", "aten.tanh.default", "aten.cat.default"]
    );
    assert_eq!(graph.nodes[1].argument("other"), Some(&Of::Plain(2.into())));
    assert_eq!((&*graph.nodes[3].module, &*graph.nodes[4].module), ("part", ""));
    let Some(Of::List(tensors)) = graph.nodes[4].argument("tensors") else { unreachable!() };
    assert_eq!(tensors.len(), 4);
    assert_eq!(graph.outputs.len(), 1);
}

#[test]
fn a_condition_by_an_element_is_decided_by_the_sample() {
    let graph = run("if bool(torch.gt(float(torch.sum(x)), 3)):\n  y = torch.relu(x)\nelse:\n  ops.prim.RaiseException(\"no\")\nreturn y").unwrap();
    assert_eq!(graph.nodes.last().unwrap().target, "aten.relu.default");
}

#[test]
fn where_sizes_are_not_known_both_sides_are_counted_and_loops_once() {
    let both = "if torch.gt(torch.size(x, 0), 2):\n  y = torch.relu(x)\nelse:\n  y = torch.tanh(x)\nz = y\nfor t in range(torch.size(x, 1)):\n  z = torch.add(z, torch.mul(x, t))\nreturn z";
    let expected = ["aten.relu.default", "aten.tanh.default", "aten.mul.Scalar", "aten.add.Tensor"];
    assert_eq!(targets(both), expected);
    let raises =
        "if torch.ne(torch.size(x, 0), 2):\n  ops.prim.RaiseException(\"no\")\nelse:\n  pass\nreturn torch.relu(x)";
    assert_eq!(targets(raises), ["aten.relu.default"]);
    // A number that depends on sizes is no reason to say that an op does not convert.
    let graph = outline(&forward("return torch.reshape(x, [torch.size(x, 0), -1])")).unwrap();
    let preflight = Preflight::of(&graph);
    assert_eq!((preflight.nodes, preflight.convertible), (1, 1), "{preflight:?}");
}

#[test]
fn what_no_graph_can_is_refused_at_its_line() {
    for (body, words) in [
        ("return torch.no_such(x)", "no_such has no schema that is known at code/__torch__.py:4"),
        ("y = x\nreturn torch.add(y, z)", "z has no value at code/__torch__.py:5"),
        (
            "return ops.torchvision.nms(x, x, 0.5)",
            "torchvision.nms.default is an op of another library, which is not run",
        ),
        ("ops.prim.RaiseException(\"bad input\")\nreturn x", "raises bad input at code/__torch__.py:4"),
        ("return self.no_such", "an object has no attribute no_such at code/__torch__.py:4"),
        ("return (self.part).other(x)", "__torch__.Part has no method other at code/__torch__.py:4"),
        ("a = [x]\n_0 = torch.append(a, a)\nreturn x", "a list that contains itself at code/__torch__.py:5"),
        ("while True:\n  y = x\nreturn x", "the code takes more than"),
        ("return (self).forward(x)", "nested deeper than"),
    ] {
        let refused = run(body).unwrap_err().to_string();
        assert!(refused.contains(words), "{body}: {refused}");
    }
    let none = graph(&Checkpoint::described(Path::new("x"), &[]), &[], &mut Same).unwrap_err();
    assert_eq!(none.to_string(), "the file holds no code of TorchScript's");
    assert_eq!(
        graph(&forward("return x"), &[], &mut Same).unwrap_err().to_string(),
        "forward is not given x at code/__torch__.py"
    );
}

#[test]
fn real_files_have_an_outline_with_their_lines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/graphs");
    let source = std::fs::read_to_string(folder.join("scripts.py")).unwrap();
    for (name, op, line) in [
        ("steps.pt", "aten.tanh.default", "torch.tanh(self.step("),
        ("sized.pt", "aten.masked_fill_.Scalar", "scores.masked_fill_("),
        ("sized.pt", "aten._convolution.default", "self.bn(self.line("),
    ] {
        let graph = outline(&Checkpoint::open(&folder.join(name)).unwrap()).unwrap();
        let node = graph.nodes.iter().find(|node| node.target == op).unwrap();
        let (file, number) = node.place.clone().unwrap();
        assert_eq!(&*file, "/home/user/scripts.py", "{name} {op}");
        let written = source.lines().nth(number - 1).unwrap();
        assert!(written.contains(line), "{name} {op}: {number}: {written}");
        let preflight = Preflight::of(&graph);
        assert_eq!((preflight.convertible, preflight.missing.len()), (preflight.nodes, 0), "{name}: {preflight:?}");
        assert!(preflight.nodes > 20, "{name}: {}", preflight.nodes);
    }
}

proptest! {
    #[test]
    fn no_code_panics(body in "(x = |y = |a, b = |if |else:|for t in |while |return |pass|x|y|t|self|self\\.part|self\\.names|torch\\.(add|size|append|cat|len|slice|split)\\(|\\(|\\)|\\[|\\]|, |range\\(|1|-2|0\\.5|:\n  |\n|\n  ){0,40}") {
        let _ = outline(&forward(&body));
        let _ = run(&body);
    }
}
