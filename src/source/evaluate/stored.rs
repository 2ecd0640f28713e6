//! Expressions over a [`Store`](super::Store): every turn of a comprehension, lists and dicts with what is in them.

use tree_sitter::Node;

use super::{Evaluator, Row, Spent, Value, children};

/// Characters of a text that is put together.
const LONGEST: usize = 1_024;
/// Elements of what a comprehension gives.
const ELEMENTS: usize = 4_096;

impl<'t> Evaluator<'t, '_> {
    /// Values of parts of which some are `*row`; `None` where one of these is not known.
    pub(super) fn unpacked(&mut self, parts: &[Node<'t>], depth: usize) -> Result<Option<Vec<Value>>, Spent> {
        let mut values = Vec::with_capacity(parts.len());
        for part in parts {
            if part.kind() != "list_splat" {
                values.push(self.value(*part, depth + 1)?);
                continue;
            }
            let row = self.field(part.named_child(0), depth)?;
            let Some(elements) = self.environment.store().and_then(|store| store.elements(&row)) else {
                return Ok(None);
            };
            self.module.budget().burn(elements.len());
            values.extend(elements);
            if values.len() > ELEMENTS {
                return Err(Spent);
            }
        }
        Ok(Some(values))
    }

    /// `{key: value, **other}`
    pub(super) fn mapping(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let mut pairs = Vec::new();
        for part in children(node) {
            if part.kind() == "dictionary_splat" {
                let other = self.field(part.named_child(0), depth)?;
                let Some(others) = self.environment.store().and_then(|store| store.pairs(&other)) else {
                    return Ok(Value::Unknown);
                };
                self.module.budget().burn(others.len());
                pairs.extend(others);
            } else {
                let key = self.field(part.child_by_field_name("key"), depth)?;
                pairs.push((key, self.field(part.child_by_field_name("value"), depth)?));
            }
        }
        Ok(self.environment.store().map_or(Value::Unknown, |store| store.mapping(pairs)))
    }

    /// `f"layer{number}"`, and a text with escapes.
    pub(super) fn text(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let written = self.module.slice(node);
        let raw = written.split(['"', '\'']).next().unwrap_or("");
        if raw.contains(['b', 'B']) {
            return Ok(Value::Object);
        }
        let mut text = String::new();
        for part in children(node) {
            match part.kind() {
                "string_content" => {
                    let inner = children(part);
                    if inner.is_empty() {
                        text += self.module.slice(part);
                    } else if inner.iter().any(|it| it.kind() != "escape_interpolation") {
                        // An escape: nothing is named so.
                        return Ok(Value::Object);
                    } else {
                        text += &self.module.slice(part).replace("{{", "{").replace("}}", "}");
                    }
                }
                "interpolation" => {
                    let value = self.field(part.child_by_field_name("expression"), depth)?;
                    let plain = children(part).len() == 1;
                    let shown = self.environment.store().and_then(|store| store.shown(&value));
                    let Some(shown) = shown.filter(|_| plain) else { return Ok(Value::Object) };
                    text += &shown;
                }
                _ => {}
            }
            if text.len() > LONGEST {
                return Ok(Value::Object);
            }
        }
        Ok(Value::text(&text))
    }

    /// `object[index]`, `object[start:end]`
    pub(super) fn stored(&mut self, object: &Value, indices: &[Node<'t>], depth: usize) -> Result<Value, Spent> {
        let [index] = indices else {
            for index in indices {
                self.value(*index, depth + 1)?;
            }
            return Ok(Value::Unknown);
        };
        if index.kind() != "slice" {
            let index = self.value(*index, depth + 1)?;
            return self.environment.store().map_or(Ok(Value::Unknown), |store| store.item(object, &index));
        }
        let mut bounds = [None, None, None];
        let mut at = 0;
        for part in index.children(&mut index.walk()).collect::<Vec<_>>() {
            if part.kind() == ":" {
                at += 1;
            } else if let Some(bound) = bounds.get_mut(at).filter(|_| part.is_named() && !part.is_extra()) {
                *bound = Some(self.value(part, depth + 1)?);
            }
        }
        Ok(self.environment.store().map_or(Value::Unknown, |store| store.slice(object, bounds)))
    }

    /// `[f(x) for x in xs if x]`, turn by turn.
    pub(super) fn unrolled(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let clauses: Vec<Node<'t>> =
            children(node).into_iter().filter(|part| matches!(part.kind(), "for_in_clause" | "if_clause")).collect();
        let Some(body) = node.child_by_field_name("body") else { return Ok(Value::Unknown) };
        let mut found = Vec::new();
        if let Some(store) = self.environment.store() {
            store.inner();
        }
        let done = self.clause(&clauses, body, &mut found, depth + 1);
        let Some(store) = self.environment.store() else { return Ok(Value::Unknown) };
        store.outer();
        done?;
        Ok(match node.kind() {
            "dictionary_comprehension" => store.mapping(found),
            "set_comprehension" => store.row(Row::Set, found.into_iter().map(|(_, value)| value).collect()),
            _ => store.row(Row::List, found.into_iter().map(|(_, value)| value).collect()),
        })
    }

    fn clause(
        &mut self,
        clauses: &[Node<'t>],
        body: Node<'t>,
        found: &mut Vec<(Value, Value)>,
        depth: usize,
    ) -> Result<(), Spent> {
        if found.len() > ELEMENTS {
            return Err(Spent);
        }
        let Some((clause, rest)) = clauses.split_first() else {
            let pair = if body.kind() == "pair" {
                let key = self.field(body.child_by_field_name("key"), depth)?;
                (key, self.field(body.child_by_field_name("value"), depth)?)
            } else {
                (Value::None, self.value(body, depth + 1)?)
            };
            found.push(pair);
            return Ok(());
        };
        if clause.kind() == "if_clause" {
            let Some(condition) = clause.named_child(0) else { return Ok(()) };
            let value = self.value(condition, depth + 1)?;
            if self.environment.decide(condition, &value) == Some(false) {
                return Ok(());
            }
            return self.clause(rest, body, found, depth + 1);
        }
        let (Some(left), Some(right)) = (clause.child_by_field_name("left"), clause.child_by_field_name("right"))
        else {
            return Ok(());
        };
        let over = self.value(right, depth + 1)?;
        let turns = self.environment.store().map_or(Ok(Vec::new()), |store| store.turns(&over, right))?;
        for turn in turns {
            self.take_apart(left, turn, depth)?;
            self.clause(rest, body, found, depth + 1)?;
        }
        Ok(())
    }

    /// Let the names of a target stand for a value and its elements.
    fn take_apart(&mut self, target: Node<'t>, value: Value, depth: usize) -> Result<(), Spent> {
        if target.kind() == "identifier" {
            self.environment.bind(self.module.slice(target), value);
            return Ok(());
        }
        let parts = children(target);
        if !self.module.budget().burn(parts.len()) || depth > super::DEPTH {
            return Err(Spent);
        }
        let elements = self.environment.store().and_then(|store| store.elements(&value));
        let elements = elements.filter(|elements| elements.len() == parts.len());
        for (at, part) in parts.into_iter().enumerate() {
            let element = elements.as_ref().and_then(|elements| elements.get(at)).cloned();
            self.take_apart(part, element.unwrap_or(Value::Unknown), depth + 1)?;
        }
        Ok(())
    }
}
