//! What a function mentions of its first parameter.

use std::collections::HashSet;

use tree_sitter::Node;

use super::Module;

/// Parts of a path below `self` that are followed.
const PATH: usize = 64;

impl Module {
    /// What a function mentions of its first parameter, by 1-based line: `self.conv` as `conv`, `self.layers[0](x)` as
    /// `layers` and `layers.0`.
    ///
    /// Of a longer path both the first name and the whole are listed (`encoder`, `encoder.norm.weight`), since only the
    /// model tells how much of it is modules.
    pub fn mentions(&self, function: Node<'_>) -> Vec<(usize, String)> {
        let Some(receiver) = self.receiver(function) else { return Vec::new() };
        let mut mentions: Vec<(usize, String)> = Vec::new();
        let mut covered = 0..0;
        // The links of a chain that ends in something else than the receiver.
        let mut other = 0..0;
        self.preorder(function, |node, _| {
            let inner = node.start_byte() == covered.start && node.end_byte() <= covered.end;
            let failed = node.start_byte() == other.start && node.end_byte() > other.end;
            if matches!(node.kind(), "attribute" | "subscript") && !inner && !failed {
                // `self.attention(x)[0]` is no path as a whole, but begins with one.
                let (path, last) = self.path_below(receiver, node);
                other = last.map_or(0..0, |last| last.byte_range());
                if let Some(path) = path {
                    covered = node.byte_range();
                    let line = node.start_position().row + 1;
                    let first = path.split('.').next().unwrap_or_default().to_owned();
                    mentions.extend([(line, first), (line, path)]);
                }
            }
            true
        });
        let mut seen = HashSet::new();
        mentions.retain(|mention| seen.insert(mention.clone()));
        mentions
    }

    /// `self` or whatever the first parameter of a method is called; `None` for a function that is no method.
    pub(in crate::source) fn receiver<'t>(&'t self, function: Node<'t>) -> Option<&'t str> {
        let around = std::iter::successors(function.parent(), Node::parent);
        let mut scopes = around.filter(|node| matches!(node.kind(), "class_definition" | "function_definition"));
        scopes.next().filter(|scope| scope.kind() == "class_definition")?;
        let parameters = function.child_by_field_name("parameters")?;
        let first = parameters.named_children(&mut parameters.walk()).find(|child| !child.is_extra())?;
        match first.kind() {
            "identifier" => Some(self.slice(first)),
            "typed_parameter" => first.named_child(0).map(|name| self.slice(name)),
            _ => None,
        }
    }

    /// `self.layers[0].norm` as `layers.0.norm`; an index that is not written out ends the path. And where the chain ends, if
    /// that is not the receiver.
    fn path_below<'t>(&self, receiver: &str, chain: Node<'t>) -> (Option<String>, Option<Node<'t>>) {
        let mut parts: Vec<String> = Vec::new();
        let mut at = chain;
        loop {
            self.budget.burn(1);
            let inner = match at.kind() {
                "attribute" => {
                    let name = at.child_by_field_name("attribute");
                    parts.extend(name.map(|name| self.slice(name).to_owned()));
                    name.and(at.child_by_field_name("object"))
                }
                "subscript" => {
                    match self.constant_index(at) {
                        Some(index) => parts.push(index),
                        None => parts.clear(),
                    }
                    at.child_by_field_name("value")
                }
                "identifier" if self.slice(at) == receiver && !parts.is_empty() => break,
                _ => return (None, Some(at)),
            };
            let Some(inner) = inner else { return (None, Some(at)) };
            // The first parts are the last that are met.
            if parts.len() > 2 * PATH {
                parts.drain(..parts.len() - PATH);
            }
            at = inner;
        }
        parts.reverse();
        parts.truncate(PATH);
        (Some(parts.join(".")), None)
    }

    fn constant_index(&self, subscript: Node<'_>) -> Option<String> {
        let index = subscript.child_by_field_name("subscript")?;
        match index.kind() {
            "integer" => Some(self.slice(index).to_owned()),
            "string" => {
                let content = index.named_child(1).filter(|content| content.kind() == "string_content")?;
                Some(self.slice(content).to_owned()).filter(|name| !name.contains('.'))
            }
            _ => None,
        }
    }
}
