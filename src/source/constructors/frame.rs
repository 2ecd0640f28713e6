//! Expressions of a function that is evaluated: what [`evaluate`](crate::source::evaluate) asks of it.

use tree_sitter::Node;

use super::machine::{Frame, Machine};
use super::oracle::Key;
use super::things::{Function, Names, Thing};
use crate::source::evaluate::{Arguments, Callee, Environment, Row, Spent, Store, Value};

/// Characters of a number or word in a text.
const SHOWN: usize = 200;

impl<'t> Environment<'t> for Frame<'t, '_, '_> {
    fn name(&mut self, name: Node<'t>) -> Result<Value, Spent> {
        self.lookup(self.module.slice(name))
    }

    fn is_bound(&self, name: &str) -> bool {
        self.names.get(name).is_some()
    }

    fn bind(&mut self, name: &'t str, value: Value) {
        self.names.set(name, value);
    }

    fn attribute(&mut self, object: &Value, name: &'t str) -> Result<Value, Spent> {
        self.machine.attribute(object, name)
    }

    fn call(&mut self, callee: &Callee<'t>, arguments: &Arguments) -> Result<Option<Value>, Spent> {
        let value = match callee {
            Callee::Value(function) => self.call_any(function, arguments.clone())?,
            Callee::Method { value, name, .. } => self.call_method(value, name, arguments.clone())?,
            Callee::Name(_) => Value::Unknown,
        };
        Ok(Some(value))
    }

    fn calls(&mut self, call: Node<'t>) {
        (self.line, self.at) = (call.start_position().row + 1, call.start_byte());
    }

    fn decide(&mut self, condition: Node<'t>, value: &Value) -> Option<bool> {
        let key = Key::Condition(self.place(), condition.start_byte());
        let known = self.machine.truth(value);
        Some(self.machine.oracle.truth(key, known))
    }

    fn store(&mut self) -> Option<&mut dyn Store<'t>> {
        Some(self)
    }
}

impl<'t> Store<'t> for Frame<'t, '_, '_> {
    fn inner(&mut self) {
        self.names = Names::within(Some(self.names.clone()));
    }

    fn outer(&mut self) {
        if let Some(around) = self.names.around.clone() {
            self.names = around;
        }
    }

    fn row(&mut self, kind: Row, elements: Vec<Value>) -> Value {
        self.machine.make(Thing::Row(kind, elements))
    }

    fn mapping(&mut self, pairs: Vec<(Value, Value)>) -> Value {
        self.machine.dict(pairs)
    }

    fn lambda(&mut self, node: Node<'t>) -> Value {
        let (module, found, scope) = (self.module, self.found.clone(), Some(self.names.clone()));
        self.machine.make(Thing::Function(Function { module, found, node, scope, owner: self.owner }.into()))
    }

    fn turns(&mut self, over: &Value, at: Node<'t>) -> Result<Vec<Value>, Spent> {
        self.machine.turns(over, (self.place(), at.start_byte()))
    }

    fn elements(&mut self, value: &Value) -> Option<Vec<Value>> {
        self.machine.elements(value)
    }

    fn pairs(&mut self, value: &Value) -> Option<Vec<(Value, Value)>> {
        match self.machine.thing(value) {
            Some(Thing::Dict(pairs)) => Some(pairs.clone()),
            _ => None,
        }
    }

    fn item(&mut self, object: &Value, index: &Value) -> Result<Value, Spent> {
        self.machine.item(object, index)
    }

    fn slice(&mut self, object: &Value, bounds: [Option<Value>; 3]) -> Value {
        self.machine.slice(object, bounds)
    }

    fn operate(&mut self, operator: &str, left: &Value, right: &Value) -> Result<Option<Value>, Spent> {
        self.machine.operate(operator, left, right)
    }

    fn compare(&mut self, operator: &str, left: &Value, right: &Value) -> Option<Value> {
        self.machine.compare(operator, left, right)
    }

    fn shown(&mut self, value: &Value) -> Option<String> {
        shown(value)
    }
}

/// What a value is in a text.
pub(super) fn shown(value: &Value) -> Option<String> {
    let text = match value {
        Value::Int(number) => number.to_string(),
        Value::Bool(truth) => if *truth { "True" } else { "False" }.to_owned(),
        Value::None => "None".to_owned(),
        Value::Text(text) => text.to_string(),
        _ => return None,
    };
    (text.len() <= SHOWN).then_some(text)
}

impl<'t> Machine<'t, '_> {
    /// Python's truth of a value.
    pub(super) fn truth(&self, value: &Value) -> Option<bool> {
        match self.thing(value) {
            Some(Thing::Row(_, elements)) => Some(!elements.is_empty()),
            Some(Thing::Dict(pairs)) => Some(!pairs.is_empty()),
            Some(Thing::Outside(name)) => {
                (!name.starts_with("builtins.") || super::outside::is_python(name)).then_some(true)
            }
            Some(Thing::Tensor(_) | Thing::Range { .. } | Thing::Super(..)) => None,
            Some(Thing::Object(object)) => match &object.part {
                Some(part) if part.kind != super::things::Kind::Own => Some(!part.children.is_empty()),
                _ => Some(true),
            },
            Some(_) => Some(true),
            None => value.truth(),
        }
    }

    pub(super) fn dict(&mut self, pairs: Vec<(Value, Value)>) -> Value {
        let mut kept: Vec<(Value, Value)> = Vec::with_capacity(pairs.len());
        let mut places = std::collections::HashMap::new();
        for (key, value) in pairs {
            let at = super::builtins::hashed(&key).and_then(|hash| places.get(&hash).copied());
            match at.and_then(|at: usize| kept.get_mut(at)) {
                Some(pair) => pair.1 = value,
                None => {
                    if let Some(hash) = super::builtins::hashed(&key) {
                        places.insert(hash, kept.len());
                    }
                    kept.push((key, value));
                }
            }
        }
        self.make(Thing::Dict(kept))
    }

    /// What a loop over a value gives; `None` where that is not known.
    pub(super) fn elements(&self, value: &Value) -> Option<Vec<Value>> {
        let found = match (self.thing(value), value) {
            (Some(Thing::Row(_, elements)), _) => elements.clone(),
            (Some(Thing::Dict(pairs)), _) => pairs.iter().map(|(key, _)| key.clone()).collect(),
            (Some(Thing::Object(object)), _) => {
                let part = object.part.as_ref()?;
                match part.kind {
                    super::things::Kind::Own => return None,
                    super::things::Kind::Dict => part.children.keys().map(|name| Value::text(name)).collect(),
                    _ => part.children.values().cloned().collect(),
                }
            }
            (_, Value::Sequence(elements)) => elements.to_vec(),
            (_, Value::Text(text)) => text.chars().map(|letter| Value::text(&letter.to_string())).collect(),
            _ => return None,
        };
        self.library.budget.burn(found.len());
        Some(found)
    }

    /// The turns of a loop, as many as are assumed where that is not known.
    pub(super) fn turns(&mut self, over: &Value, (file, at): (usize, usize)) -> Result<Vec<Value>, Spent> {
        let known = self.elements(over);
        let (symbol, start) = match (self.thing(over), over) {
            (Some(Thing::Range { end, start }), _) => (Some(*end), Some(*start)),
            (_, Value::Symbol(symbol)) => (Some(*symbol), None),
            _ => (None, None),
        };
        let name = symbol.and_then(|it| self.oracle.symbols.get(it.of as usize).cloned());
        let key = match (name, start) {
            // The number itself is what is open.
            (Some(name), Some(_)) => Key::Argument(name),
            _ => Key::Loop(file, at),
        };
        let count = self.oracle.count(key, known.as_ref().map(Vec::len));
        if let Some(known) = known {
            return Ok(known);
        }
        self.library.budget.burn(count);
        Ok((0..count as i64)
            .map(|turn| start.map_or(Value::Unknown, |start| Value::Int(start.saturating_add(turn))))
            .collect())
    }

    /// `object[index]`
    pub(super) fn item(&mut self, object: &Value, index: &Value) -> Result<Value, Spent> {
        let at = |count: usize| {
            let index = index.whole()?;
            usize::try_from(if index < 0 { index.checked_add(count as i64)? } else { index }).ok()
        };
        Ok(match (self.thing(object), object) {
            (Some(Thing::Row(_, elements)), _) => {
                at(elements.len()).and_then(|at| elements.get(at)).cloned().unwrap_or(Value::Unknown)
            }
            (Some(Thing::Dict(pairs)), _) => {
                if let Value::Symbol(symbol) = index {
                    let keys: Vec<Value> = pairs.iter().map(|(key, _)| key.clone()).collect();
                    keys.iter().for_each(|key| self.oracle.compared(*symbol, key));
                    return Ok(Value::Unknown);
                }
                let found = pairs.iter().find(|(key, _)| super::builtins::same_key(key, index));
                self.library.budget.burn(pairs.len() / 8);
                found.map_or(Value::Unknown, |(_, value)| value.clone())
            }
            (Some(Thing::Object(object)), _) => {
                let Some(part) = &object.part else { return Ok(Value::Unknown) };
                let child = match index {
                    Value::Text(name) => part.children.get(&**name),
                    _ => at(part.children.len()).and_then(|at| part.children.get_index(at)).map(|(_, child)| child),
                };
                child.cloned().unwrap_or(Value::Unknown)
            }
            (_, Value::Symbol(symbol)) => match (self.oracle.symbols.get(symbol.of as usize).cloned(), index) {
                (Some(name), Value::Int(index)) if name.len() < SHOWN => self.symbol(&format!("{name}[{index}]")),
                _ => Value::Unknown,
            },
            (_, Value::Text(text)) => {
                let letters: Vec<char> = text.chars().collect();
                let letter = at(letters.len()).and_then(|at| letters.get(at));
                letter.map_or(Value::Unknown, |letter| Value::text(&letter.to_string()))
            }
            _ => Value::Unknown,
        })
    }

    /// `object[start:end:step]`
    pub(super) fn slice(&mut self, object: &Value, bounds: [Option<Value>; 3]) -> Value {
        let whole = |bound: &Option<Value>| match bound {
            None | Some(Value::None) => Some(None),
            Some(value) => value.whole().map(Some),
        };
        let [Some(start), Some(end), Some(step)] = [0, 1, 2].map(|at| bounds.get(at).and_then(whole)) else {
            return Value::Unknown;
        };
        let text = matches!(object, Value::Text(_));
        let Some(elements) = self.elements(object) else { return Value::Unknown };
        let count = elements.len() as i64;
        let place = |bound: i64| (if bound < 0 { bound.saturating_add(count) } else { bound }).clamp(0, count) as usize;
        let picked: Vec<Value> = match step.unwrap_or(1) {
            step @ 1.. => {
                let (start, end) = (place(start.unwrap_or(0)), place(end.unwrap_or(count)));
                elements.get(start..end.max(start)).unwrap_or_default().iter().step_by(step as usize).cloned().collect()
            }
            -1 if start.is_none() && end.is_none() => elements.into_iter().rev().collect(),
            _ => return Value::Unknown,
        };
        let letters = || picked.iter().map(|it| if let Value::Text(it) = it { &**it } else { "" }).collect::<String>();
        match self.thing(object) {
            _ if text => Value::text(&letters()),
            Some(Thing::Row(kind, _)) => {
                let kind = *kind;
                self.make(Thing::Row(kind, picked))
            }
            Some(Thing::Object(parent)) => {
                let Some(part) = &parent.part else { return Value::Unknown };
                let sliced = super::things::Part { class: part.class.clone(), kind: part.kind, ..(**part).clone() };
                let children = picked.into_iter().enumerate().map(|(at, child)| (at.to_string(), child)).collect();
                self.module(super::things::Part { children, ..sliced })
            }
            _ => self.list(picked),
        }
    }

    /// `left operator right` between rows and dicts.
    pub(super) fn operate(&mut self, operator: &str, left: &Value, right: &Value) -> Result<Option<Value>, Spent> {
        Ok(match (operator, self.thing(left), self.thing(right)) {
            ("+", Some(Thing::Row(kind, a)), Some(Thing::Row(_, b))) => {
                let (kind, joined) = (*kind, a.iter().chain(b).cloned().collect());
                Some(self.make(Thing::Row(kind, joined)))
            }
            ("*", Some(Thing::Row(kind, row)), None) => right
                .whole()
                .map(|times| (*kind, row.clone(), times))
                .map(|(kind, row, times)| self.repeat((kind, row), times))
                .or(Some(Value::Unknown)),
            ("*", None, Some(Thing::Row(kind, row))) => left
                .whole()
                .map(|times| (*kind, row.clone(), times))
                .map(|(kind, row, times)| self.repeat((kind, row), times))
                .or(Some(Value::Unknown)),
            ("|", Some(Thing::Dict(a)), Some(Thing::Dict(b))) => {
                let joined = a.iter().chain(b).cloned().collect();
                Some(self.dict(joined))
            }
            ("%", None, _) if matches!(left, Value::Text(_)) => {
                let Value::Text(text) = left else { return Ok(None) };
                let given = self.elements(right).filter(|_| !matches!(right, Value::Text(_)));
                let given = given.unwrap_or_else(|| vec![right.clone()]);
                Some(super::builtins::formatted(text, &given))
            }
            _ => None,
        })
    }

    fn repeat(&mut self, (kind, row): (crate::source::evaluate::Row, Vec<Value>), times: i64) -> Value {
        let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
        if times.saturating_mul(row.len()) > 4_096 {
            return Value::Unknown;
        }
        let repeated = std::iter::repeat_n(row, times).flatten().collect();
        self.make(Thing::Row(kind, repeated))
    }

    /// Whether a comparison holds that values alone do not tell.
    pub(super) fn compare(&mut self, operator: &str, left: &Value, right: &Value) -> Option<Value> {
        for (one, other) in [(left, right), (right, left)] {
            if let Value::Symbol(symbol) = one {
                let words = self.elements(other).filter(|_| !matches!(other, Value::Text(_)));
                for word in words.unwrap_or_else(|| vec![other.clone()]) {
                    self.oracle.compared(*symbol, &word);
                }
            }
        }
        let known = match operator {
            "in" | "not in" => self.contains(right, left, 0).map(|inside| inside == (operator == "in")),
            "is" | "is not" | "==" | "!=" => {
                self.same(left, right, 0).map(|same| same == matches!(operator, "is" | "=="))
            }
            _ => {
                let (Some(a), Some(b)) = (self.elements(left), self.elements(right)) else { return None };
                // Versions: `(2, 0) <= (2, 1)`
                let numbers = |row: &[Value]| row.iter().map(Value::number).collect::<Option<Vec<f64>>>();
                match numbers(&a).zip(numbers(&b)) {
                    Some((a, b)) => match operator {
                        "<" => Some(a < b),
                        "<=" => Some(a <= b),
                        ">" => Some(a > b),
                        ">=" => Some(a >= b),
                        _ => None,
                    },
                    None => None,
                }
            }
        };
        Some(known.map_or(Value::Object, Value::Bool))
            .filter(|value| *value != Value::Object || self.thing(left).is_some() || self.thing(right).is_some())
    }

    pub(super) fn same(&self, left: &Value, right: &Value, depth: usize) -> Option<bool> {
        if !self.library.budget.burn(1) || depth > 8 {
            return None;
        }
        if let (Value::Thing(a), Value::Thing(b)) = (left, right)
            && a == b
        {
            return Some(true);
        }
        match (self.thing(left), self.thing(right)) {
            (Some(Thing::Row(_, a)), Some(Thing::Row(_, b))) => {
                if a.len() != b.len() {
                    return Some(false);
                }
                let mut all = Some(true);
                for (a, b) in a.iter().zip(b) {
                    match self.same(a, b, depth + 1) {
                        Some(true) => {}
                        Some(false) => return Some(false),
                        None => all = None,
                    }
                }
                all
            }
            (Some(Thing::Outside(a)), Some(Thing::Outside(b))) => {
                let end = |name: &str| name.rsplit('.').next().unwrap_or("").to_owned();
                Some(a == b || a.starts_with("torch.nn.") && b.starts_with("torch.nn.") && end(a) == end(b))
            }
            (Some(Thing::Class(a)), Some(Thing::Class(b))) => Some(a.order.first() == b.order.first()),
            (Some(Thing::Dict(_)), Some(Thing::Dict(_))) => None,
            (Some(Thing::Tensor(_)), _) | (_, Some(Thing::Tensor(_))) if right.is_none() != Some(true) => None,
            // Nothing is known of a name that nobody defines.
            (Some(Thing::Outside(name)), _) | (_, Some(Thing::Outside(name)))
                if name.starts_with("builtins.") && !super::outside::is_python(name) =>
            {
                None
            }
            (Some(_), Some(_)) => Some(false),
            (Some(_), None) => {
                if matches!(right, Value::Unknown | Value::Object | Value::Symbol(_)) {
                    None
                } else {
                    Some(false)
                }
            }
            (None, Some(_)) => {
                if matches!(left, Value::Unknown | Value::Object | Value::Symbol(_)) {
                    None
                } else {
                    Some(false)
                }
            }
            (None, None) => match (left, right) {
                (Value::None, other) | (other, Value::None) => other.is_none(),
                _ => left.equals(right),
            },
        }
    }

    fn contains(&self, container: &Value, value: &Value, depth: usize) -> Option<bool> {
        match (container, value) {
            (Value::Text(text), Value::Text(part)) => return Some(text.contains(&**part)),
            (Value::Text(_), _) => return None,
            _ => {}
        }
        if matches!(self.thing(container), Some(Thing::Outside(name)) if name.ends_with(".__dir__")) {
            return Some(true);
        }
        let elements = self.elements(container)?;
        let each: Vec<Option<bool>> = elements.iter().map(|it| self.same(it, value, depth + 1)).collect();
        match () {
            () if each.contains(&Some(true)) => Some(true),
            () if each.contains(&None) => None,
            () => Some(false),
        }
    }
}
