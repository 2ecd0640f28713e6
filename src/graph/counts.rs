//! The ops of a graph by module, with the lines that they come from.

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;

use super::host;
use t2m_checkpoint::graph::{Argument, Graph};

/// An op that a module's own forward runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Path of the module, as the graph has it.
    pub module: Arc<str>,
    /// `aten.add.Tensor`
    pub op: String,
    /// Nodes.
    pub count: usize,
    /// Python files and 1-based lines.
    pub places: BTreeSet<(Arc<str>, usize)>,
}

/// The ops of each module, in the order in which the graph first comes to them. Graphs within nodes are counted, too; what runs on
/// numbers alone, or only checks something, is not.
pub fn by_module(graph: &Graph) -> Vec<Counted> {
    let mut found = IndexMap::new();
    count(graph, &mut found);
    let mut all: Vec<Counted> = found.into_values().collect();
    // The ops of a module stand together, however often the graph leaves it and comes back.
    let mut order: IndexMap<Arc<str>, ()> = IndexMap::new();
    for counted in &all {
        order.insert(Arc::clone(&counted.module), ());
    }
    all.sort_by_key(|counted| order.get_index_of(&counted.module));
    all
}

fn count(graph: &Graph, found: &mut IndexMap<(Arc<str>, String), Counted>) {
    for node in &graph.nodes {
        let mut inner = false;
        for (_, argument) in &node.arguments {
            if let Argument::Graph(graph) = argument {
                inner = true;
                count(graph, found);
            }
        }
        if inner || host::is_here(node) {
            continue;
        }
        let key = (Arc::clone(&node.module), node.target.clone());
        let counted = found.entry(key).or_insert_with_key(|(module, op)| Counted {
            module: Arc::clone(module),
            op: op.clone(),
            count: 0,
            places: BTreeSet::new(),
        });
        counted.count += 1;
        counted.places.extend(node.place.clone());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;
    use crate::graph::preflight::Preflight;
    use t2m_checkpoint::Checkpoint;

    #[test]
    fn ops_are_counted_where_they_are_written() {
        for name in ["attention", "branches"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/graphs/{name}.pt2"));
            let graph = Checkpoint::open(&path).unwrap().graph.unwrap();
            let counted = by_module(&graph);
            let all: usize = counted.iter().map(|one| one.count).sum();
            assert_eq!(all, Preflight::of(&graph).nodes, "{name}");
            let modules: Vec<&str> = counted.iter().map(|one| &*one.module).collect();
            let mut apart = modules.clone();
            apart.dedup();
            let distinct: BTreeSet<&str> = modules.iter().copied().collect();
            assert_eq!(apart.len(), distinct.len(), "{name}: {apart:?}");
            if name == "attention" {
                let cat = counted.iter().find(|one| one.op == "aten.cat.default").unwrap();
                assert_eq!((&*cat.module, cat.count), ("", 3));
                let source = std::fs::read_to_string(path.with_file_name("nets.py")).unwrap();
                let line = |line: usize| source.lines().nth(line - 1).unwrap().to_owned();
                assert!(cat.places.iter().all(|(_, at)| line(*at).contains("torch.cat(")), "{cat:?}");
                assert_eq!(cat.places.len(), 2);
            }
        }
    }
}
