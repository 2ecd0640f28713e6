//! Lists, tuples, dicts and texts.

use super::machine::{Frame, Machine, Result};
use super::value::{Number, Value};

/// Members of a value that stands in a list, those of its members among them, and how deep they are in each other.
const MOST_MEMBERS: usize = 100_000;
const DEEPEST: usize = 32;

impl Machine<'_> {
    /// Check that values may stand in a list: it neither contains itself nor unfolds to more than there is time for.
    pub(super) fn nested(&self, frame: &Frame, at: usize, values: &[Value]) -> Result<()> {
        let mut left = MOST_MEMBERS;
        if values.iter().all(|value| fits(value, 0, &mut left)) {
            return Ok(());
        }
        self.refuse(frame, at, format!("lists of more than {MOST_MEMBERS} members or deeper than {DEEPEST} levels"))
    }

    /// Check that a list or text is not longer than any model's.
    fn long(&self, frame: &Frame, at: usize, length: usize) -> Result<()> {
        match length <= MOST_MEMBERS {
            true => Ok(()),
            false => self.refuse(frame, at, format!("a list of more than {MOST_MEMBERS} members")),
        }
    }

    /// `a[b]`
    pub(super) fn item(&mut self, frame: &Frame, at: usize, of: &Value, index: &Value) -> Result<Value> {
        match of {
            Value::Several(tensor) => return Ok(Value::Tensor(tensor.clone())),
            Value::Unknown => return Ok(Value::Unknown),
            Value::Dict(pairs) => {
                let found = pairs
                    .borrow()
                    .iter()
                    .find(|(key, _)| key.equals(index) == Some(true))
                    .map(|(_, value)| value.clone());
                return match found {
                    Some(value) => Ok(value),
                    None => self.refuse(frame, at, format!("a dict has no {}", shown(index))),
                };
            }
            _ => {}
        }
        let items = match (of, of.items()) {
            (_, Some(items)) => items,
            (Value::Text(text), None) => text.chars().map(|letter| Value::text(&letter.to_string())).collect(),
            _ => return self.refuse(frame, at, format!("a subscript of {}", of.kind())),
        };
        let Some(index) = index.as_int() else {
            if matches!(index, Value::Unknown) && self.lenient {
                return Ok(items.first().cloned().unwrap_or(Value::Unknown));
            }
            return self.refuse(frame, at, format!("a list has no place {}", shown(index)));
        };
        match place(index, items.len()).and_then(|at| items.get(at)) {
            Some(value) => Ok(value.clone()),
            None => self.refuse(frame, at, format!("a list of {} has no place {index}", items.len())),
        }
    }

    pub(super) fn set_item(&mut self, frame: &Frame, at: usize, of: &Value, index: &Value, value: Value) -> Result<()> {
        self.nested(frame, at, std::slice::from_ref(&value))?;
        if holds(&value, of, 0) {
            return self.refuse(frame, at, "a list that contains itself");
        }
        match of {
            Value::Dict(pairs) => {
                let mut pairs = pairs.borrow_mut();
                match pairs.iter_mut().find(|(key, _)| key.equals(index) == Some(true)) {
                    Some(pair) => pair.1 = value,
                    None => pairs.push((index.clone(), value)),
                }
                Ok(())
            }
            Value::List(items) => {
                let mut items = items.borrow_mut();
                let length = items.len();
                match index.as_int().and_then(|index| place(index, length)).and_then(|at| items.get_mut(at)) {
                    Some(item) => {
                        *item = value;
                        Ok(())
                    }
                    None => self.refuse(frame, at, format!("a list of {length} has no place {}", shown(index))),
                }
            }
            other => self.refuse(frame, at, format!("an assignment to a place of {}", other.kind())),
        }
    }

    /// Functions of lists, dicts and texts. `None` where the name is none of them, or the arguments are none.
    pub(super) fn on_lists(&mut self, frame: &Frame, at: usize, name: &str, given: &[Value]) -> Result<Option<Value>> {
        let first = given.first();
        if let (Some(list @ Value::List(items)), Some(value)) = (first, given.get(1))
            && matches!(name, "append" | "insert" | "extend" | "_set_item")
        {
            let added = given.last().unwrap_or(value);
            self.nested(frame, at, std::slice::from_ref(added))?;
            if holds(added, list, 0) && name != "extend" {
                return self.refuse(frame, at, "a list that contains itself");
            }
            match name {
                "append" => items.borrow_mut().push(value.clone()),
                "extend" => {
                    let more = value.items().unwrap_or_default();
                    self.long(frame, at, items.borrow().len() + more.len())?;
                    items.borrow_mut().extend(more);
                }
                "insert" => {
                    let length = items.borrow().len();
                    let before = value.as_int().map_or(length, |index| {
                        let index = if index < 0 { index.saturating_add(length as i64) } else { index };
                        usize::try_from(index.max(0)).unwrap_or(length).min(length)
                    });
                    items.borrow_mut().insert(before, added.clone());
                }
                _ => self.set_item(frame, at, list, value, added.clone())?,
            }
            return Ok(Some(list.clone()));
        }
        Ok(match (name, first, given.get(1)) {
            ("_set_item", Some(dict @ Value::Dict(_)), Some(key)) => {
                self.set_item(frame, at, dict, key, given.get(2).cloned().unwrap_or(Value::None))?;
                Some(Value::None)
            }
            ("len", Some(value), None) => match value {
                Value::List(items) => Some(Value::int(items.borrow().len() as i64)),
                Value::Tuple(items, _) => Some(Value::int(items.len() as i64)),
                Value::Dict(pairs) => Some(Value::int(pairs.borrow().len() as i64)),
                Value::Text(text) => Some(Value::int(text.chars().count() as i64)),
                Value::Several(_) | Value::Unknown => Some(Value::Unknown),
                _ => None,
            },
            ("__getitem__", Some(of), Some(index)) => Some(self.item(frame, at, of, index)?),
            ("__contains__", Some(Value::Text(text)), Some(Value::Text(part))) => {
                Some(Value::bool(text.contains(&**part)))
            }
            ("__contains__", Some(Value::Dict(pairs)), Some(key)) => {
                Some(Value::bool(pairs.borrow().iter().any(|(known, _)| known.equals(key) == Some(true))))
            }
            ("__contains__", Some(list @ Value::List(_)), Some(value)) => {
                Some(among(&list.items().unwrap_or_default(), value))
            }
            ("pop", Some(Value::List(items)), index) => {
                let length = items.borrow().len();
                let index = index.map_or(Some(-1), Value::as_int).and_then(|index| place(index, length));
                match index {
                    Some(index) => Some(items.borrow_mut().remove(index)),
                    None => return self.refuse(frame, at, format!("a list of {length} has no such place")),
                }
            }
            ("clear", Some(list @ Value::List(items)), None) => {
                items.borrow_mut().clear();
                Some(list.clone())
            }
            ("reverse", Some(list @ Value::List(items)), None) => {
                items.borrow_mut().reverse();
                Some(list.clone())
            }
            ("copy" | "list", Some(of), None) => match of {
                Value::Several(_) | Value::Unknown => Some(of.clone()),
                Value::Text(text) => {
                    Some(Value::list(text.chars().map(|letter| Value::text(&letter.to_string())).collect()))
                }
                _ => of.items().map(Value::list),
            },
            ("sorted" | "sort", Some(list @ Value::List(items)), _) => {
                let numbers: Option<Vec<Number>> = items.borrow().iter().map(Value::number).collect();
                let Some(mut numbers) = numbers else { return Ok(None) };
                numbers.sort_by(|a, b| a.float().total_cmp(&b.float()));
                if given.get(1).and_then(Value::number).is_some_and(Number::holds) {
                    numbers.reverse();
                }
                let sorted: Vec<Value> = numbers.into_iter().map(Value::Number).collect();
                if name == "sorted" {
                    Some(Value::list(sorted))
                } else {
                    *items.borrow_mut() = sorted;
                    Some(list.clone())
                }
            }
            ("slice", Some(of), _) if !matches!(of, Value::Tensor(_) | Value::Scalar(_)) => {
                self.sliced(frame, at, of, given)?
            }
            ("add" | "add_", Some(Value::List(_)), Some(more @ Value::List(_))) => {
                let mut all = first.and_then(Value::items).unwrap_or_default();
                all.extend(more.items().unwrap_or_default());
                self.long(frame, at, all.len())?;
                Some(Value::list(all))
            }
            ("add", Some(Value::Text(a)), Some(Value::Text(b))) => {
                self.long(frame, at, a.len() + b.len())?;
                Some(Value::text(&format!("{a}{b}")))
            }
            ("mul", Some(list @ Value::List(_)), Some(times)) => {
                let (items, times) = (list.items().unwrap_or_default(), times.as_int().unwrap_or(0).max(0));
                let length = usize::try_from(times).unwrap_or(usize::MAX).saturating_mul(items.len());
                self.long(frame, at, length)?;
                Some(Value::list(items.into_iter().cycle().take(length).collect()))
            }
            ("max" | "min" | "sum" | "all" | "any", Some(Value::List(items)), None) => {
                let numbers: Option<Vec<Number>> = items.borrow().iter().map(Value::number).collect();
                numbers.and_then(|numbers| over(name, &numbers))
            }
            ("keys" | "values" | "items", Some(Value::Dict(pairs)), None) => {
                let pairs = pairs.borrow();
                let all = pairs.iter().map(|(key, value)| match name {
                    "keys" => key.clone(),
                    "values" => value.clone(),
                    _ => Value::tuple(vec![key.clone(), value.clone()]),
                });
                Some(Value::list(all.collect()))
            }
            ("get", Some(Value::Dict(pairs)), Some(key)) => {
                let pairs = pairs.borrow();
                let found = pairs.iter().find(|(known, _)| known.equals(key) == Some(true));
                Some(found.map_or_else(|| given.get(2).cloned().unwrap_or(Value::None), |(_, value)| value.clone()))
            }
            ("index", Some(list @ (Value::List(_) | Value::Tuple(..))), Some(value)) => {
                let found = list.items().unwrap_or_default();
                match first_of(&found, value) {
                    Some((place, true)) => Some(Value::int(place as i64)),
                    Some((_, false)) => Some(Value::Unknown),
                    None => return self.refuse(frame, at, format!("a list has no {}", shown(value))),
                }
            }
            ("count", Some(list @ (Value::List(_) | Value::Tuple(..))), Some(value)) => {
                let found = list.items().unwrap_or_default();
                let same: Option<Vec<bool>> = found.iter().map(|item| item.equals(value)).collect();
                Some(same.map_or(Value::Unknown, |same| Value::int(same.iter().filter(|is_so| **is_so).count() as i64)))
            }
            ("remove", Some(Value::List(items)), Some(value)) => {
                let found = first_of(&items.borrow(), value);
                match found {
                    Some((place, true)) => drop(items.borrow_mut().remove(place)),
                    Some((_, false)) => return self.refuse(frame, at, "remove from a list of what is not known"),
                    None => return self.refuse(frame, at, format!("a list has no {}", shown(value))),
                }
                Some(Value::None)
            }
            ("Delete" | "pop", Some(Value::Dict(pairs)), Some(key)) => {
                let found = pairs.borrow().iter().position(|(known, _)| known.equals(key) == Some(true));
                match found {
                    Some(at) => Some(pairs.borrow_mut().remove(at).1),
                    None => return self.refuse(frame, at, format!("a dict has no {}", shown(key))),
                }
            }
            ("Delete", Some(Value::List(items)), Some(index)) => {
                let length = items.borrow().len();
                match index.as_int().and_then(|index| place(index, length)) {
                    Some(at) => drop(items.borrow_mut().remove(at)),
                    None => return self.refuse(frame, at, format!("a list of {length} has no place {}", shown(index))),
                }
                Some(Value::None)
            }
            ("setdefault", Some(dict @ Value::Dict(pairs)), Some(key)) => {
                let found = pairs.borrow().iter().find(|(known, _)| known.equals(key) == Some(true)).cloned();
                match found {
                    Some((_, value)) => Some(value),
                    None => {
                        let value = given.get(2).cloned().unwrap_or(Value::None);
                        self.set_item(frame, at, dict, key, value.clone())?;
                        Some(value)
                    }
                }
            }
            ("update", Some(dict @ Value::Dict(_)), Some(Value::Dict(more))) => {
                let more = more.borrow().clone();
                for (key, value) in more {
                    self.set_item(frame, at, dict, &key, value)?;
                }
                Some(Value::None)
            }
            ("__contains__", Some(Value::Unknown | Value::Several(_)), Some(_)) => Some(Value::Unknown),
            ("__contains__", Some(tuple @ Value::Tuple(..)), Some(value)) => {
                Some(among(&tuple.items().unwrap_or_default(), value))
            }
            ("dict", None, None) => Some(Value::Dict(Default::default())),
            ("format", Some(Value::Text(text)), _) => {
                Some(Value::text(&formatted(text, given.get(1..).unwrap_or_default())))
            }
            ("percentFormat", Some(Value::Text(text)), _) => Some(Value::Text(text.clone())),
            ("replace", Some(Value::Text(text)), Some(Value::Text(old))) => match given.get(2) {
                Some(Value::Text(new)) => {
                    let replaced = text.replace(&**old, new);
                    self.long(frame, at, replaced.len())?;
                    Some(Value::text(&replaced))
                }
                _ => None,
            },
            ("split", Some(Value::Text(text)), between) => {
                let parts: Vec<Value> = match between {
                    Some(Value::Text(between)) if !between.is_empty() => {
                        text.split(&**between).map(Value::text).collect()
                    }
                    _ => text.split_whitespace().map(Value::text).collect(),
                };
                Some(Value::list(parts))
            }
            ("str", Some(value), None) => Some(Value::text(&shown(value))),
            ("startswith", Some(Value::Text(a)), Some(Value::Text(b))) => Some(Value::bool(a.starts_with(&**b))),
            ("endswith", Some(Value::Text(a)), Some(Value::Text(b))) => Some(Value::bool(a.ends_with(&**b))),
            ("lower", Some(Value::Text(text)), None) => Some(Value::text(&text.to_lowercase())),
            ("upper", Some(Value::Text(text)), None) => Some(Value::text(&text.to_uppercase())),
            ("strip", Some(Value::Text(text)), None) => Some(Value::text(text.trim())),
            ("join", Some(Value::Text(between)), Some(list)) => {
                let parts: Vec<String> = list.items().unwrap_or_default().iter().map(shown).collect();
                self.long(frame, at, parts.iter().map(|part| part.len() + between.len()).sum())?;
                Some(Value::text(&parts.join(between)))
            }
            _ => None,
        })
    }

    /// `a[start:end:step]` of a list or a text.
    fn sliced(&mut self, frame: &Frame, at: usize, of: &Value, given: &[Value]) -> Result<Option<Value>> {
        if matches!(of, Value::Several(_) | Value::Unknown) {
            return Ok(Some(of.clone()));
        }
        let Some(items) = of.items() else { return Ok(None) };
        let length = items.len() as i64;
        let step = given.get(3).map_or(Some(1), Value::as_int).filter(|step| *step > 0);
        let bound = |at: usize, otherwise: i64| match given.get(at) {
            None | Some(Value::None) => Some(otherwise),
            Some(value) => {
                value.as_int().map(|index| if index < 0 { (index + length).max(0) } else { index.min(length) })
            }
        };
        let (Some(step), Some(start), Some(end)) = (step, bound(1, 0), bound(2, length)) else {
            return if self.lenient {
                Ok(Some(of.clone()))
            } else {
                self.refuse(frame, at, "a slice by what is not known")
            };
        };
        let (Ok(start), Ok(count)) = (usize::try_from(start), usize::try_from((end - start).max(0))) else {
            return Ok(None);
        };
        let part: Vec<Value> =
            items.into_iter().skip(start).take(count).step_by(usize::try_from(step).unwrap_or(usize::MAX)).collect();
        Ok(Some(if matches!(of, Value::Tuple(..)) { Value::tuple(part) } else { Value::list(part) }))
    }
}

/// Whether a value is among others, where that can be told.
fn among(items: &[Value], value: &Value) -> Value {
    let same: Vec<Option<bool>> = items.iter().map(|item| item.equals(value)).collect();
    match (same.contains(&Some(true)), same.contains(&None)) {
        (true, _) => Value::bool(true),
        (false, true) => Value::Unknown,
        (false, false) => Value::bool(false),
    }
}

/// The first place at which a value is or may be, and whether it is known to be there.
fn first_of(items: &[Value], value: &Value) -> Option<(usize, bool)> {
    let same = items.iter().map(|item| item.equals(value)).enumerate();
    same.filter_map(|(place, same)| same.is_none_or(|same| same).then_some((place, same.is_some()))).next()
}

/// A text with each `{}` in it as one of the values.
fn formatted(text: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut parts = text.split("{}").peekable();
    while let Some(part) = parts.next() {
        out.push_str(part);
        if parts.peek().is_some() {
            out.push_str(&values.next().map_or_else(|| "{}".to_owned(), shown));
        }
    }
    out
}

fn over(name: &str, numbers: &[Number]) -> Option<Value> {
    let best = |wins: fn(f64, f64) -> bool| {
        let best = numbers.iter().copied().reduce(|a, b| if wins(b.float(), a.float()) { b } else { a });
        best.map(Value::Number)
    };
    match name {
        "max" => best(|a, b| a > b),
        "min" => best(|a, b| a < b),
        "all" => Some(Value::bool(numbers.iter().all(|number| number.holds()))),
        "any" => Some(Value::bool(numbers.iter().any(|number| number.holds()))),
        _ => numbers
            .iter()
            .copied()
            .try_fold(Number::Int(0), |a, b| super::numbers::number("add", &[a, b], None))
            .map(Value::Number),
    }
}

/// The place of an index, which may count from the end.
fn place(index: i64, length: usize) -> Option<usize> {
    let at = if index < 0 { index.checked_add(i64::try_from(length).ok()?)? } else { index };
    usize::try_from(at).ok().filter(|at| *at < length)
}

fn fits(value: &Value, depth: usize, left: &mut usize) -> bool {
    let Some(remaining) = left.checked_sub(1).filter(|_| depth < DEEPEST) else { return false };
    *left = remaining;
    match value {
        Value::List(items) => items.borrow().iter().all(|item| fits(item, depth + 1, left)),
        Value::Tuple(items, _) => items.iter().all(|item| fits(item, depth + 1, left)),
        Value::Dict(pairs) => pairs.borrow().iter().all(|(_, value)| fits(value, depth + 1, left)),
        _ => true,
    }
}

/// Whether a value is a list or dict, or holds it.
fn holds(value: &Value, list: &Value, depth: usize) -> bool {
    if depth > DEEPEST {
        return true;
    }
    match (value, list) {
        (Value::List(a), Value::List(b)) if std::rc::Rc::ptr_eq(a, b) => true,
        (Value::Dict(a), Value::Dict(b)) if std::rc::Rc::ptr_eq(a, b) => true,
        (Value::Dict(pairs), _) => pairs.borrow().iter().any(|(_, value)| holds(value, list, depth + 1)),
        _ => value.items().into_iter().flatten().any(|item| holds(&item, list, depth + 1)),
    }
}

/// A value in a text.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Number(Number::Int(whole)) => whole.to_string(),
        Value::Number(Number::Float(number)) => number.to_string(),
        Value::Number(Number::Bool(is_so)) => if *is_so { "True" } else { "False" }.to_owned(),
        other => other.kind().to_owned(),
    }
}
