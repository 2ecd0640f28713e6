//! What can be said of a graph before it runs: how many of its nodes convert, and where those are that do not.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::host;
use super::library;
use super::plan::{self, Form, Programs};
use crate::registry::aten::Table;
use t2m_checkpoint::graph::{Argument, Graph, Node, ValueId};

/// The nodes of a graph, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preflight {
    /// Those that compute something; checks of what was true at the export are not counted.
    pub nodes: usize,
    /// Those that a row converts.
    pub convertible: usize,
    /// The others, by op, in the graph's order.
    pub missing: Vec<Missing>,
    /// Why nodes do not convert, by their index; a node that has graphs is one of them if one within does not.
    pub refused: BTreeMap<usize, String>,
}

/// An op of which nodes do not convert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// `aten.histc.default`
    pub op: String,
    /// Nodes.
    pub count: usize,
    /// Python file and line of the first.
    pub place: Option<(String, usize)>,
    /// Why the first does not convert, in words.
    pub reason: String,
}

impl Preflight {
    /// Count the nodes of a graph, and of those within it, by the built-in rows.
    pub fn of(graph: &Graph) -> Preflight {
        Preflight::by(graph, Table::built_in())
    }

    /// Count them by these rows.
    pub fn by(graph: &Graph, table: &Table) -> Preflight {
        let mut all = Preflight::default();
        let mut missing = IndexMap::new();
        all.count(graph, (table, &Programs::default()), None, &mut missing);
        all.missing = missing.into_values().collect();
        all
    }

    /// In a line: `212 of 215 nodes convert; missing: aten.histc.default at model.py:88`.
    pub fn words(&self) -> String {
        let missing: Vec<String> = self
            .missing
            .iter()
            .map(|missing| match &missing.place {
                Some((file, line)) => {
                    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
                    format!("{} at {name}:{line}", missing.op)
                }
                None => missing.op.clone(),
            })
            .collect();
        let behind = if missing.is_empty() { String::new() } else { format!("; missing: {}", missing.join(", ")) };
        format!("{} of {} nodes convert{behind}", self.convertible, self.nodes)
    }

    /// `within` is the index of the node that has this graph.
    fn count(
        &mut self,
        graph: &Graph,
        by: (&Table, &Programs),
        within: Option<usize>,
        missing: &mut IndexMap<String, Missing>,
    ) {
        for (at, node) in graph.nodes.iter().enumerate() {
            let index = within.unwrap_or(at);
            let inner = node.arguments.iter().filter_map(|(_, argument)| match argument {
                Argument::Graph(graph) => Some(graph),
                _ => None,
            });
            let before = self.nodes;
            inner.for_each(|graph| self.count(graph, by, Some(index), missing));
            if host::is_here(node) || self.nodes > before {
                continue;
            }
            self.nodes += 1;
            match refusal(graph, node, by) {
                None => self.convertible += 1,
                Some(reason) => {
                    let place = node.place.as_ref().map(|(file, line)| (file.to_string(), *line));
                    let op = node.target.clone();
                    self.refused.entry(index).or_insert_with(|| reason.clone());
                    let entry = missing.entry(op.clone()).or_insert_with(|| Missing { op, count: 0, place, reason });
                    entry.count += 1;
                }
            }
        }
    }
}

/// Why a node does not convert, as far as the file tells: where a shape is not in it, a row is enough.
fn refusal(graph: &Graph, node: &Node, (table, programs): (&Table, &Programs)) -> Option<String> {
    match table.row(&node.target) {
        None if library::is_known(&node.target) => return None,
        None => return Some(format!("no row converts {}", node.target)),
        Some(row) if row.given.is_some() => return None,
        Some(_) => {}
    }
    let form = |id: ValueId| {
        let meta = graph.value(id)?.tensor.as_ref()?;
        let shape = meta.sizes.iter().map(|size| usize::try_from((*size)?).ok()).collect::<Option<Vec<usize>>>()?;
        Some(Form::Tensor { dtype: plan::computed(meta.dtype), shape })
    };
    if node.arguments.iter().any(|(_, argument)| argument.is_unknown()) {
        return None;
    }
    let takes = node.arguments.iter().flat_map(|(_, argument)| argument.values());
    if takes.into_iter().any(|id| form(id).is_none()) {
        return None;
    }
    plan::mlx_within(graph, node, &form, table, programs).err().map(|refusal| refusal.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::path::Path;

    use super::*;
    use t2m_checkpoint::Checkpoint;

    #[test]
    fn what_does_not_convert_is_named_with_its_line() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/graphs/attention.pt2");
        let mut graph = Checkpoint::open(&path).unwrap().graph.unwrap();
        let whole = Preflight::of(&graph);
        assert_eq!((whole.nodes, whole.missing.len()), (whole.convertible, 0), "{whole:?}");
        for node in graph.nodes.iter_mut().filter(|node| node.target == "aten.linear.default") {
            node.target = "aten.histc.default".to_owned();
        }
        let preflight = Preflight::of(&graph);
        let [missing] = preflight.missing.as_slice() else { panic!("{preflight:?}") };
        assert_eq!((missing.op.as_str(), missing.count), ("aten.histc.default", 5));
        let (file, line) = missing.place.as_ref().unwrap();
        let source = std::fs::read_to_string(path.with_file_name("nets.py")).unwrap();
        assert!(
            file.ends_with("nets.py") && source.lines().nth(line - 1).unwrap().contains("self.q("),
            "{file} {line}"
        );
        assert_eq!(preflight.convertible, whole.nodes - 5);
        assert_eq!(preflight.refused.len(), 5);
        assert!(preflight.refused.keys().all(|at| graph.nodes[*at].target == "aten.histc.default"), "{preflight:?}");
        let words = preflight.words();
        assert!(words.ends_with(&format!("nodes convert; missing: aten.histc.default at nets.py:{line}")), "{words}");
    }
}
