//! The node whose inputs are kept, for a script that shows it alone.

use t2m_checkpoint::graph::{Argument, Graph, Node};

/// A node whose inputs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The place in the graph's order; of one within a condition's branch the condition's.
    pub index: usize,
    /// Its name.
    pub name: String,
}

impl Watched {
    pub(super) fn is(&self, index: usize, node: &Node) -> bool {
        self.index == index && self.name == node.name
    }

    /// The node of this name or number, in the graph or in a branch of a condition; the first, where several are called so.
    pub fn find(graph: &Graph, node: &str) -> Option<Watched> {
        let own = graph.nodes.iter().position(|known| known.name == node);
        let own = own.or_else(|| node.parse::<usize>().ok().filter(|at| *at < graph.nodes.len()));
        if let Some(index) = own {
            return graph.nodes.get(index).map(|found| Watched { index, name: found.name.clone() });
        }
        let within = |found: &Node| found.arguments.iter().any(|(_, argument)| is_in(argument, node, 0));
        let index = graph.nodes.iter().position(within)?;
        Some(Watched { index, name: node.to_owned() })
    }
}

/// Whether a graph that a node is given has a node of this name.
fn is_in(argument: &Argument, name: &str, depth: usize) -> bool {
    let Argument::Graph(graph) = argument else { return false };
    let within = |node: &Node| node.arguments.iter().any(|(_, argument)| is_in(argument, name, depth + 1));
    depth < DEEPEST && graph.nodes.iter().any(|node| node.name == name || within(node))
}

/// Graphs within each other that are looked into.
const DEEPEST: usize = 16;
