//! When a value is used last, and may be let go.

use std::collections::HashMap;

use t2m_checkpoint::graph::{Argument, Graph, ValueId};

/// For each node the values that nothing behind it uses.
pub(super) fn last_uses(graph: &Graph) -> HashMap<usize, Vec<ValueId>> {
    let mut last: HashMap<ValueId, usize> = HashMap::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        for id in node.outputs.iter().flatten() {
            last.insert(*id, at);
        }
        for id in node.arguments.iter().flat_map(|(_, argument)| argument.values()) {
            last.insert(id, at);
        }
    }
    for id in graph.outputs.iter().flat_map(Argument::values) {
        last.remove(&id);
    }
    let mut uses: HashMap<usize, Vec<ValueId>> = HashMap::new();
    for (id, at) in last {
        uses.entry(at).or_default().push(id);
    }
    uses
}
