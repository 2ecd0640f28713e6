//! Comprehensions, and what a loop takes from what it goes over.

use tree_sitter::Node;

use super::{Evaluator, Runs, Spent, Value, children, each, names_below};

impl<'t> Evaluator<'t, '_> {
    /// `[f(x) for x in xs if x]`: the body at one turn.
    pub(super) fn comprehension(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let body = node.child_by_field_name("body");
        let clauses: Vec<Node<'t>> =
            children(node).into_iter().filter(|part| matches!(part.kind(), "for_in_clause" | "if_clause")).collect();
        let lefts = clauses.iter().filter_map(|clause| clause.child_by_field_name("left"));
        let targets: Vec<Node<'t>> = lefts.flat_map(names_below).collect();
        self.hidden(&targets, |it| {
            let mut runs = Runs::Always;
            for clause in clauses {
                if runs == Runs::Never {
                    break;
                }
                if clause.kind() == "if_clause" {
                    let truth = it.field(clause.named_child(0), depth)?.truth();
                    runs = runs.min(truth.map_or(Runs::Maybe, |truth| if truth { Runs::Always } else { Runs::Never }));
                    continue;
                }
                let mut cursor = clause.walk();
                let right: Vec<Node<'t>> = clause.children_by_field_name("right", &mut cursor).collect();
                let over = match right.as_slice() {
                    [one] => it.listed(*one, depth)?,
                    _ => Value::Unknown,
                };
                match it.turn(&over) {
                    Some(element) => {
                        if let Some(left) = clause.child_by_field_name("left") {
                            it.bind(left, &element);
                        }
                    }
                    None => runs = Runs::Never,
                }
            }
            let element = it.arm(body, runs, depth)?;
            let listed = node.kind() == "list_comprehension" && element.layout().is_some();
            Ok(if listed || node.kind() == "generator_expression" { each(element) } else { Value::Object })
        })
    }

    /// What a loop over a value gives at a turn; `None` where there is none.
    fn turn(&mut self, over: &Value) -> Option<Value> {
        match over {
            Value::Modules(_) => Some(self.environment.element(over, &Value::Unknown)),
            other => other.element(),
        }
    }

    /// Let the names of a target stand for a value and its elements.
    fn bind(&mut self, target: Node<'t>, value: &Value) {
        let parts = children(target);
        if target.kind() == "identifier" {
            return self.environment.bind(self.module.slice(target), value.clone());
        }
        for (number, part) in parts.iter().enumerate() {
            let element = match value {
                Value::Sequence(elements) if elements.len() == parts.len() => elements.get(number).cloned(),
                Value::Each(element) => Some((**element).clone()),
                _ => None,
            };
            if part.kind() == "identifier" {
                self.environment.bind(self.module.slice(*part), element.unwrap_or(Value::Unknown));
            } else if let Some(element @ Value::Sequence(_)) = element {
                children(*part).iter().enumerate().for_each(|(at, name)| {
                    let Value::Sequence(elements) = &element else { return };
                    if let Some(value) = elements.get(at).filter(|_| name.kind() == "identifier") {
                        self.environment.bind(self.module.slice(*name), value.clone());
                    }
                });
            }
        }
    }
}
