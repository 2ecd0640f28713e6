//! The module tree of an exported program, out of its graph: every node says which modules it ran in.

use std::collections::{HashMap, HashSet};

use serde_json::Map;

use super::super::error::name_for_message;
use super::super::hyper;
use super::super::literal::{Argument, Call};
use super::super::{FoundModule, OpUse, OwnTensor, Tensor};
use super::schema::{Graph, Node, Program};

/// Deeper than any model.
const DEEPEST: usize = 500;
/// Bytes of all module paths together, for each byte of the program and at least.
const PATH_BYTES_PER_BYTE: u64 = 8;
const PATH_BYTES_AT_LEAST: u64 = 16 << 20;
/// More modules than any model has.
const MOST_MODULES: usize = 1_000_000;
/// Different places kept for each op of a module.
const MOST_PLACES: usize = 16;
/// What the exporter notes in the place of modules where it adds a node of its own.
const NO_MODULE: &str = "_empty_nn_module_stack";
/// Layers of torch's that hold others, whose parts say more in the graph.
const ATTENTION: &str = "torch.nn.modules.activation.MultiheadAttention";
const PROJECTION: &str = "torch.nn.modules.linear.NonDynamicallyQuantizableLinear";
const ENCODER_LAYER: &str = "torch.nn.modules.transformer.TransformerEncoderLayer";
const DECODER_LAYER: &str = "torch.nn.modules.transformer.TransformerDecoderLayer";
/// Calls kept of each of torch's own layers.
const MOST_CALLS: usize = 1000;

/// Modules in the making.
#[derive(Debug)]
pub(super) struct Tree {
    modules: Vec<Entry>,
    index: HashMap<String, usize>,
    path_bytes: u64,
    most_path_bytes: u64,
    pub ops: Vec<OpUse>,
    op_index: HashMap<(usize, String), usize>,
    /// Names of the values that a node or the caller takes.
    used: HashSet<String>,
    /// Nodes so far.
    nodes: usize,
}

#[derive(Debug, Default)]
struct Entry {
    path: String,
    class: String,
    children: Vec<usize>,
    tensors: Vec<OwnTensor>,
    calls: Vec<Call>,
    /// The first node in it or below it, by its number.
    first: Option<usize>,
    /// Of a transformer's layer: whether its norms come first.
    norm_first: Option<bool>,
}

impl Tree {
    /// The modules of a program of `bytes` bytes: first those of the call graph, whose order is that of `named_modules`,
    /// then those that a node names besides.
    ///
    /// # Errors
    /// In words: paths are too deep or too many.
    pub fn new(program: &Program, bytes: u64) -> Result<Tree, String> {
        let mut tree = Tree {
            modules: vec![Entry::default()],
            index: HashMap::from([(String::new(), 0)]),
            path_bytes: 0,
            most_path_bytes: (bytes.saturating_mul(PATH_BYTES_PER_BYTE)).max(PATH_BYTES_AT_LEAST),
            ops: Vec::new(),
            op_index: HashMap::new(),
            used: HashSet::new(),
            nodes: 0,
        };
        for call in &program.graph_module.module_call_graph {
            tree.module(without_call_number(&call.fqn))?;
        }
        let mut graphs = vec![&program.graph_module.graph];
        // Values of graphs within others have names of their own; that one has the same only keeps a result that is not used.
        tree.used = used(&program.graph_module.graph);
        while let Some(graph) = graphs.pop() {
            tree.add_graph(graph, &mut graphs)?;
        }
        Ok(tree)
    }

    fn add_graph<'a>(&mut self, graph: &'a Graph, inner: &mut Vec<&'a Graph>) -> Result<(), String> {
        for node in &graph.nodes {
            let mut module = 0;
            for (path, class) in stack(&node.metadata.nn_module_stack) {
                module = self.module(without_call_number(path))?;
                let nodes = self.nodes;
                let Some(entry) = self.modules.get_mut(module) else { continue };
                entry.first.get_or_insert(nodes);
                if entry.class.is_empty() {
                    entry.class = class.to_owned();
                }
            }
            self.nodes += 1;
            self.count(module, node);
            let second = node.second_result().map(|name| self.used.contains(name));
            let is_layer = |entry: &&mut Entry| entry.class.starts_with("torch.") && entry.calls.len() < MOST_CALLS;
            if let Some(entry) = self.modules.get_mut(module).filter(is_layer) {
                entry.calls.push(Call { second, ..call(node) });
            }
            inner.extend(node.inputs.iter().filter_map(|input| input.arg.graph()));
        }
        Ok(())
    }

    fn count(&mut self, module: usize, node: &Node) {
        let index = *self.op_index.entry((module, node.target.clone())).or_insert(self.ops.len());
        if index == self.ops.len() {
            let module = self.modules.get(module).map(|entry| entry.path.clone()).unwrap_or_default();
            self.ops.push(OpUse { module, op: node.target.clone(), count: 0, places: Vec::new() });
        }
        let Some(op) = self.ops.get_mut(index) else { return };
        op.count += 1;
        let place = place(&node.metadata.stack_trace).filter(|place| !op.places.contains(place));
        if op.places.len() < MOST_PLACES {
            op.places.extend(place);
        }
    }

    /// The index of the module at a path, added with those above it if it is new.
    fn module(&mut self, path: &str) -> Result<usize, String> {
        if let Some(&known) = self.index.get(path) {
            return Ok(known);
        }
        let mut parent = 0;
        let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
        for (depth, end) in ends.enumerate() {
            let path = path.get(..end).unwrap_or_default();
            if let Some(&known) = self.index.get(path) {
                parent = known;
                continue;
            }
            self.path_bytes += path.len() as u64;
            if depth >= DEEPEST {
                return Err(format!("module `{}` is nested deeper than {DEEPEST} levels", name_for_message(path)));
            }
            if self.path_bytes > self.most_path_bytes {
                return Err(format!("the paths of its modules take more than {} bytes", self.most_path_bytes));
            }
            let new = self.modules.len();
            if new >= MOST_MODULES {
                return Err(format!("names more than {MOST_MODULES} modules"));
            }
            self.modules.push(Entry { path: path.to_owned(), ..Entry::default() });
            self.index.insert(path.to_owned(), new);
            if let Some(parent) = self.modules.get_mut(parent) {
                parent.children.push(new);
            }
            parent = new;
        }
        Ok(parent)
    }

    /// Give a tensor to the module that its full name says.
    ///
    /// # Errors
    /// As [`Tree::new`].
    pub fn own(&mut self, full_name: &str, mut tensor: OwnTensor) -> Result<(), String> {
        let (path, name) = full_name.rsplit_once('.').unwrap_or(("", full_name));
        let module = self.module(path)?;
        tensor.name = name.into();
        if let Some(entry) = self.modules.get_mut(module) {
            entry.tensors.push(tensor);
        }
        Ok(())
    }

    /// What a parametrization computes a tensor of a module from that has the same shape.
    fn parametrized(&self, path: &str, name: &str) -> Option<&OwnTensor> {
        let within = format!("parametrizations.{name}");
        let list = if path.is_empty() { within } else { format!("{path}.{within}") };
        let entry = self.modules.get(*self.index.get(&list)?)?;
        let original = |known: &str| entry.tensors.iter().find(|own| own.name == known);
        original("original1").or_else(|| original("original"))
    }

    /// What modules of torch's tell of those within them, and of the order that they run in.
    fn tell_of_parts(&mut self) {
        for at in 0..self.modules.len() {
            let Some(entry) = self.modules.get(at) else { continue };
            let child = |name: &str| {
                let path = if entry.path.is_empty() { name.to_owned() } else { format!("{}.{name}", entry.path) };
                self.index.get(&path).copied()
            };
            match entry.class.as_str() {
                ATTENTION => {
                    // Its weights are used, and its forward never is.
                    let projection = child("out_proj").and_then(|child| self.modules.get_mut(child));
                    if let Some(projection) = projection.filter(|child| child.class.is_empty()) {
                        projection.class = PROJECTION.to_owned();
                    }
                }
                ENCODER_LAYER | DECODER_LAYER => {
                    let first = |name: &str| self.modules.get(child(name)?)?.first;
                    if let (Some(norm), Some(attention)) = (first("norm1"), first("self_attn")) {
                        let entry = self.modules.get_mut(at);
                        entry.into_iter().for_each(|entry| entry.norm_first = Some(norm < attention));
                    }
                }
                _ => {}
            }
        }
    }

    /// The modules in `named_modules` order. Those that no node ran in have no class.
    pub fn finish(mut self, tensors: &[Tensor]) -> (Vec<FoundModule>, Vec<OpUse>) {
        self.tell_of_parts();
        let mut found = Vec::with_capacity(self.modules.len());
        let mut waiting = vec![0];
        while let Some(next) = waiting.pop() {
            let Some(entry) = self.modules.get_mut(next).map(std::mem::take) else { continue };
            waiting.extend(entry.children.iter().rev());
            let shape = |name: &str| {
                let own = entry.tensors.iter().find(|own| own.name == name);
                let own = own.or_else(|| self.parametrized(&entry.path, name))?;
                Some(tensors.get(own.tensor?)?.shape.as_slice())
            };
            let mut attributes =
                if entry.class.is_empty() { Map::new() } else { hyper::attributes(&entry.class, &entry.calls, &shape) };
            if let Some(norm_first) = entry.norm_first {
                attributes.insert("norm_first".to_owned(), norm_first.into());
                let activation = entry.calls.iter().find(|call| matches!(call.op.as_str(), "relu" | "gelu"));
                attributes.extend(activation.map(|call| ("activation".to_owned(), call.op.as_str().into())));
            }
            found.push(FoundModule { path: entry.path, class: entry.class, attributes, tensors: entry.tensors });
        }
        (found, self.ops)
    }
}

/// Path and class of each module around a node, from the root.
fn stack(text: &str) -> impl DoubleEndedIterator<Item = (&str, &str)> {
    let parts = text.split(';').filter(|part| !part.is_empty() && !part.starts_with(NO_MODULE));
    parts.filter_map(|part| part.split_once(',')?.1.rsplit_once(','))
}

/// Path of the module that a node is in.
pub(super) fn innermost(text: &str) -> Option<&str> {
    Some(stack(text).next_back()?.0)
}

/// A module's second call has the path `fc@1`.
pub(super) fn without_call_number(path: &str) -> &str {
    let number = |(_, number): &(&str, &str)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    path.rsplit_once('@').filter(number).map_or(path, |(path, _)| path)
}

/// The values of a graph, and of those within it, that something takes.
fn used(graph: &Graph) -> HashSet<String> {
    let mut used = HashSet::new();
    let mut graphs = vec![graph];
    while let Some(graph) = graphs.pop() {
        used.extend(graph.outputs.iter().flat_map(|output| output.names()).map(str::to_owned));
        for input in graph.nodes.iter().flat_map(|node| &node.inputs) {
            used.extend(input.arg.names().into_iter().map(str::to_owned));
            graphs.extend(input.arg.graph());
        }
    }
    used
}

fn call(node: &Node) -> Call {
    let mut parts = node.target.rsplit('.');
    // torch.ops.aten.conv2d.default: the overload is behind the name.
    let (_, name) = (parts.next(), parts.next());
    let name = name.unwrap_or(&node.target);
    let is_reshape = matches!(name, "view" | "reshape");
    let named = |input: &super::schema::Input| {
        let value = if is_reshape { input.arg.sizes() } else { input.arg.constant() };
        Argument { name: Some(input.name.clone()), value }
    };
    Call { op: name.to_owned(), args: node.inputs.iter().map(named).collect(), second: None }
}

/// The innermost frame that is neither torch's own nor of code that torch made (`<eval_with_key>.6`): file and line.
pub(super) fn place(trace: &str) -> Option<(String, usize)> {
    let frames = trace.lines().rev().filter_map(|line| {
        let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
        let line = rest.split(',').next()?.parse().ok()?;
        Some((file, line))
    });
    let is_torch = |file: &str| file.starts_with("torch/") || file.contains("-packages/") && file.contains("/torch/");
    frames
        .filter(|(file, _)| !is_torch(file) && !file.starts_with('<'))
        .map(|(file, line)| (file.to_owned(), line))
        .next()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn program(nodes: &Value, modules: &Value) -> Program {
        serde_json::from_value(json!({"graph_module": {"graph": {"nodes": nodes}, "module_call_graph": modules}}))
            .unwrap()
    }

    fn node(stack: &str) -> Value {
        json!({"target": "torch.ops.aten.relu.default", "metadata": {"nn_module_stack": stack}})
    }

    #[test]
    fn modules_come_in_named_modules_order_whatever_runs_first() {
        let nodes = json!([
            node("L,,m.Net;140,b,m.B;9,b.x,m.X"),
            node("L,,m.Net;12@1,a@1,m.A"),
            {"target": "torch.ops.higher_order.cond", "inputs": [
                {"name": "yes", "arg": {"as_graph": {"name": "g", "graph": {"nodes": [node("L,,m.Net;7,c,m.C")]}}}}]},
        ]);
        let modules = json!([{"fqn": ""}, {"fqn": "a"}, {"fqn": "a@1"}, {"fqn": "b.y"}]);
        let (modules, ops) = Tree::new(&program(&nodes, &modules), 0).unwrap().finish(&[]);
        let found: Vec<_> = modules.iter().map(|module| (module.path.as_str(), module.class.as_str())).collect();
        let expected = [("", "m.Net"), ("a", "m.A"), ("b", "m.B"), ("b.y", ""), ("b.x", "m.X"), ("c", "m.C")];
        assert_eq!(found, expected);
        assert_eq!(
            ops.iter().map(|op| (op.module.as_str(), op.count)).collect::<Vec<_>>(),
            [("b.x", 1), ("a", 1), ("", 1), ("c", 1)]
        );
    }

    #[test]
    fn paths_are_bounded() {
        let deep = json!([{"fqn": vec!["a"; 501].join(".")}]);
        assert!(Tree::new(&program(&json!([]), &deep), 0).unwrap_err().contains("deeper than 500"));
        let long: Vec<Value> = (0..200)
            .map(|number| json!({"fqn": format!("{number}{}", ".b".repeat(490) + &"x".repeat(100_000))}))
            .collect();
        assert!(Tree::new(&program(&json!([]), &json!(long)), 0).unwrap_err().contains("bytes"));
    }

    #[test]
    fn a_place_is_the_users() {
        let trace = "File \"/home/me/torch/net.py\", line 9, in forward\n    return s(x)\n  File \"/x/site-packages/torch/nn/modules/conv.py\", line 5, in f\n    y";
        assert_eq!(place(trace), Some(("/home/me/torch/net.py".to_owned(), 9)));
        let made = format!("{trace}\n  File \"<eval_with_key>.6\", line 7, in forward\n    relu");
        assert_eq!(place(&made), Some(("/home/me/torch/net.py".to_owned(), 9)));
        assert_eq!(place("nothing"), None);
    }
}
