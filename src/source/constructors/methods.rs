//! The methods of lists, dicts and texts, and what changes them.

use super::builtins::{filled, same_key};
use super::calls::{Caller, site};
use super::machine::Machine;
use super::things::{Object, Thing};
use crate::source::evaluate::{Arguments, Row, Spent, Value};

impl<'t> Machine<'t, '_> {
    /// A method of a list, dict, text or number.
    pub(super) fn native(
        &mut self,
        value: &Value,
        name: &str,
        arguments: Arguments,
        caller: Caller<'_>,
    ) -> Result<Value, Spent> {
        let first = arguments.positional.first().cloned();
        if let Value::Text(text) = value {
            return Ok(self.of_text(text, name, &arguments));
        }
        match self.thing(value).cloned() {
            Some(Thing::Row(kind, row)) => {
                self.library.budget.burn(row.len() / 8);
                self.of_row(value, (kind, row), name, &arguments, caller)
            }
            Some(Thing::Dict(pairs)) => {
                self.library.budget.burn(pairs.len() / 8);
                let held = match first.as_ref() {
                    Some(Value::Symbol(symbol)) if name == "get" => {
                        pairs.iter().for_each(|(key, _)| self.oracle.compared(*symbol, key));
                        return Ok(Value::Unknown);
                    }
                    Some(key) => pairs.iter().find(|(known, _)| same_key(known, key)).map(|(_, value)| value.clone()),
                    None => None,
                };
                let default = arguments.positional.get(1).cloned();
                Ok(match name {
                    "get" => held.or(default).unwrap_or(Value::None),
                    "pop" => {
                        if let Some(key) = &first {
                            self.remove_item(value, key);
                        }
                        held.or(default).unwrap_or(Value::Unknown)
                    }
                    "setdefault" => {
                        let (Some(key), None) = (&first, &held) else { return Ok(held.unwrap_or(Value::Unknown)) };
                        let default = default.unwrap_or(Value::None);
                        self.set_item(value, key, default.clone());
                        default
                    }
                    "keys" => self.list(pairs.into_iter().map(|(key, _)| key).collect()),
                    "values" => self.list(pairs.into_iter().map(|(_, value)| value).collect()),
                    "items" => self.rows(pairs.into_iter().map(|(key, value)| vec![key, value]).collect()),
                    "copy" => self.make(Thing::Dict(pairs)),
                    "update" => {
                        let mut more = match first.as_ref().map(|first| (first, self.thing(first))) {
                            Some((_, Some(Thing::Dict(more)))) => more.clone(),
                            Some((first, _)) => {
                                let rows = self.elements(first).unwrap_or_default();
                                let pair = |row: &Value| match self.elements(row)?.as_slice() {
                                    [key, value] => Some((key.clone(), value.clone())),
                                    _ => None,
                                };
                                rows.iter().filter_map(pair).collect()
                            }
                            None => Vec::new(),
                        };
                        more.extend(arguments.named.into_iter().map(|(name, value)| (Value::text(&name), value)));
                        for (key, inner) in more {
                            self.set_item(value, &key, inner);
                        }
                        Value::None
                    }
                    _ => {
                        let method = self.attribute(value, name)?;
                        self.call_value(&method, arguments, caller)?
                    }
                })
            }
            Some(Thing::Tensor(_)) => {
                Ok(if matches!(name, "item" | "tolist" | "size" | "numel") { Value::Unknown } else { value.clone() })
            }
            Some(_) => Ok(Value::Unknown),
            None => Ok(match (name, value) {
                // A word that is not known stays one.
                ("lower" | "upper" | "strip", Value::Symbol(_)) => value.clone(),
                ("item" | "tolist", Value::Int(_) | Value::Float(_)) => value.clone(),
                ("is_integer", Value::Float(number)) => Value::Bool(number.fract() == 0.0),
                _ => Value::Unknown,
            }),
        }
    }

    fn of_row(
        &mut self,
        value: &Value,
        (kind, mut row): (Row, Vec<Value>),
        name: &str,
        arguments: &Arguments,
        caller: Caller<'_>,
    ) -> Result<Value, Spent> {
        let first = arguments.positional.first().cloned();
        let given = match name {
            "append" | "add" => {
                row.extend(first);
                Value::None
            }
            "extend" | "update" | "union" => {
                let over = first.unwrap_or(Value::None);
                row.extend(self.turns(&over, site(caller))?);
                Value::None
            }
            "insert" => {
                let at = first.as_ref().and_then(Value::whole).and_then(|at| usize::try_from(at).ok());
                let inserted = arguments.positional.get(1).cloned();
                if let (Some(at), Some(inserted)) = (at, inserted) {
                    row.insert(at.min(row.len()), inserted);
                }
                Value::None
            }
            "pop" => match first.as_ref().and_then(Value::whole) {
                None | Some(-1) => row.pop().unwrap_or(Value::Unknown),
                Some(at) => match usize::try_from(at).ok().filter(|at| *at < row.len()) {
                    Some(at) => row.remove(at),
                    None => return Ok(Value::Unknown),
                },
            },
            "reverse" => {
                row.reverse();
                Value::None
            }
            "copy" | "tolist" | "detach" | "numpy" => return Ok(self.make(Thing::Row(kind, row))),
            "index" => {
                let at = first.as_ref().and_then(|first| row.iter().position(|it| same_key(it, first)));
                return Ok(at.map_or(Value::Unknown, |at| Value::Int(at as i64)));
            }
            "count" => {
                let count = row.iter().filter(|it| first.as_ref().is_some_and(|first| same_key(it, first))).count();
                return Ok(Value::Int(count as i64));
            }
            // `torch.linspace(…).split(depths)`
            "split" => {
                let Some(sizes) = first.as_ref().and_then(|first| self.elements(first)) else {
                    return Ok(Value::Unknown);
                };
                let mut rest = row.into_iter();
                let mut rows = Vec::new();
                for size in sizes {
                    let size = size.whole().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
                    rows.push(rest.by_ref().take(size).collect());
                }
                return Ok(self.rows(rows));
            }
            _ => return Ok(Value::Unknown),
        };
        self.library.budget.burn(row.len() / 4);
        if row.len() > 4_096 {
            return Err(Spent);
        }
        if let Some(Thing::Row(_, held)) = self.thing_mut(value) {
            *held = row;
        }
        Ok(given)
    }

    fn of_text(&mut self, text: &str, name: &str, arguments: &Arguments) -> Value {
        let first = arguments.positional.first();
        let words = |of: &Value| match of {
            Value::Text(text) => Some(text.to_string()),
            _ => None,
        };
        let given = first.and_then(words);
        match (name, given) {
            ("startswith", Some(part)) => Value::Bool(text.starts_with(&part)),
            ("endswith", Some(part)) => Value::Bool(text.ends_with(&part)),
            ("lower", _) => Value::text(&text.to_lowercase()),
            ("upper", _) => Value::text(&text.to_uppercase()),
            ("strip", None) => Value::text(text.trim()),
            ("strip", Some(part)) => Value::text(text.trim_matches(|letter| part.contains(letter))),
            ("replace", Some(from)) => match arguments.positional.get(1).and_then(words) {
                Some(to) if to.len() < 64 && !from.is_empty() => Value::text(&text.replace(&from, &to)),
                _ => Value::Object,
            },
            ("isdigit" | "isnumeric", _) => {
                Value::Bool(!text.is_empty() && text.chars().all(|letter| letter.is_ascii_digit()))
            }
            ("split", separator) => {
                let parts: Vec<Value> = match separator {
                    Some(separator) if !separator.is_empty() => text.split(&separator).map(Value::text).collect(),
                    _ => text.split_whitespace().map(Value::text).collect(),
                };
                self.list(parts)
            }
            ("join", _) => {
                let all = first.and_then(|first| self.elements(first)).unwrap_or_default();
                match all.iter().map(words).collect::<Option<Vec<String>>>() {
                    Some(all) if all.iter().map(String::len).sum::<usize>() < 4_096 => Value::text(&all.join(text)),
                    _ => Value::Object,
                }
            }
            ("format", _) => filled(text, arguments),
            _ => Value::Object,
        }
    }

    /// `row += more`, which changes the row itself; whether it is one.
    pub(super) fn extend(&mut self, row: &Value, more: &Value) -> bool {
        let Some(more) = self.elements(more) else { return false };
        if let Some(Thing::Row(Row::List, held)) = self.thing_mut(row)
            && held.len() + more.len() <= 4_096
        {
            held.extend(more);
            return true;
        }
        false
    }

    /// `object[index] = value`
    pub(super) fn set_item(&mut self, object: &Value, index: &Value, value: Value) {
        let is_part = self.part(&value).is_some();
        match self.thing_mut(object) {
            Some(Thing::Row(_, row)) => {
                let count = row.len() as i64;
                let at = index.whole().map(|at| if at < 0 { at.saturating_add(count) } else { at });
                match at.and_then(|at| row.get_mut(usize::try_from(at).ok()?)) {
                    Some(held) => *held = value,
                    None => row.iter_mut().for_each(|held| *held = Value::Unknown),
                }
            }
            Some(Thing::Dict(pairs)) => match pairs.iter().position(|(key, _)| same_key(key, index)) {
                Some(at) => pairs[at].1 = value,
                None if pairs.len() < 4_096 => pairs.push((index.clone(), value)),
                None => {}
            },
            Some(Thing::Object(Object { part: Some(part), .. })) if is_part => {
                let name = match index {
                    Value::Int(at) if *at < 0 => {
                        let at = part.children.len().checked_sub(at.unsigned_abs() as usize);
                        at.and_then(|at| part.children.get_index(at)).map(|(name, _)| name.clone())
                    }
                    Value::Int(at) => {
                        let held = usize::try_from(*at).ok().and_then(|at| part.children.get_index(at));
                        held.map(|(name, _)| name.clone()).or_else(|| Some(at.to_string()))
                    }
                    Value::Text(name) => Some(name.to_string()),
                    _ => None,
                };
                if let Some(name) = name {
                    part.children.insert(name, value);
                }
            }
            _ => {}
        }
    }

    /// `row[start:end] = more`
    pub(super) fn splice(&mut self, row: &Value, [start, end]: [Option<Value>; 2], more: Option<Vec<Value>>) {
        let Some(Thing::Row(_, held)) = self.thing_mut(row) else { return };
        let count = held.len();
        let place = |bound: Option<Value>, missing: usize| match bound {
            None => Some(missing),
            Some(bound) => {
                let bound = bound.whole()?;
                let from_end = if bound < 0 { bound.saturating_add(count as i64) } else { bound };
                Some(from_end.clamp(0, count as i64) as usize)
            }
        };
        match (place(start, 0), place(end, count), more) {
            (Some(start), Some(end), Some(more)) if count + more.len() <= 4_096 => {
                held.splice(start..end.max(start), more);
            }
            _ => held.iter_mut().for_each(|value| *value = Value::Unknown),
        }
    }

    /// `del object.name`
    pub(super) fn remove(&mut self, object: &Value, name: &str) {
        if let Some(object) = self.object_mut(object) {
            object.fields.shift_remove(name);
            if let Some(part) = &mut object.part {
                part.children.shift_remove(name);
                part.tensors.retain(|known| known != name);
            }
        }
    }

    /// `del object[index]`
    pub(super) fn remove_item(&mut self, object: &Value, index: &Value) {
        match self.thing_mut(object) {
            Some(Thing::Dict(pairs)) => pairs.retain(|(key, _)| !same_key(key, index)),
            Some(Thing::Row(_, row)) => {
                let at = index.whole().map(|at| if at < 0 { at.saturating_add(row.len() as i64) } else { at });
                if let Some(at) = at.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < row.len()) {
                    row.remove(at);
                }
            }
            Some(Thing::Object(Object { part: Some(part), .. })) => {
                let at = index.whole().map(|at| if at < 0 { at + part.children.len() as i64 } else { at });
                if let Some(at) = at.and_then(|at| usize::try_from(at).ok()) {
                    part.children.shift_remove_index(at);
                } else if let Value::Text(name) = index {
                    part.children.shift_remove(&**name);
                }
            }
            _ => {}
        }
    }
}
