//! Python's own functions, on what constructors hold.

use super::calls::{Caller, site};
use super::frame::shown;
use super::machine::Machine;
use super::things::{Object, Thing};
use crate::source::evaluate::{Arguments, Row, Spent, Value, binary};

/// Numbers of a `range`.
const RANGE: i64 = 4_096;

/// A text for a key that is known, for looking it up.
pub(super) fn hashed(key: &Value) -> Option<String> {
    match key {
        Value::Thing(id) => Some(format!("#{id}")),
        Value::Text(text) => Some(format!("'{text}")),
        other => shown(other),
    }
}

/// Whether two keys of a dict are one.
pub(super) fn same_key(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Thing(a), Value::Thing(b)) => a == b,
        (a, b) => a.equals(b) == Some(true),
    }
}

/// `"%s.%d" % …` and `"{}.{}".format(…)`, plain places alone.
pub(super) fn formatted(text: &str, given: &[Value]) -> Value {
    let mut given = given.iter();
    let mut made = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        made += rest.get(..at).unwrap_or_default();
        let kind = rest.get(at + 1..).and_then(|rest| rest.chars().next());
        match (kind, given.next().and_then(shown)) {
            (Some('s' | 'd' | 'i'), Some(shown)) => made += &shown,
            _ => return Value::Object,
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    Value::text(&(made + rest))
}

pub(super) fn filled(text: &str, arguments: &Arguments) -> Value {
    let mut made = String::new();
    let (mut rest, mut next) = (text, 0);
    while let Some(at) = rest.find('{') {
        made += rest.get(..at).unwrap_or_default();
        let Some(end) = rest.get(at..).and_then(|rest| rest.find('}')) else { return Value::Object };
        let name = rest.get(at + 1..at + end).unwrap_or_default();
        let place = if name.is_empty() { Some(next) } else { name.parse::<usize>().ok() };
        let value = match place {
            Some(place) => arguments.positional.get(place),
            None => arguments.named.iter().find(|(known, _)| known == name).map(|(_, value)| value),
        };
        let Some(shown) = value.and_then(shown) else { return Value::Object };
        made += &shown;
        next += 1;
        rest = rest.get(at + end + 1..).unwrap_or_default();
    }
    Value::text(&(made + rest))
}

impl<'t> Machine<'t, '_> {
    /// What one of Python's functions gives.
    pub(super) fn python(&mut self, name: &str, arguments: Arguments, caller: Caller<'_>) -> Result<Value, Spent> {
        let given = arguments.positional.as_slice();
        Ok(match (name, given) {
            ("len", [value]) => match (self.thing(value), value) {
                (Some(Thing::Object(Object { part: Some(part), .. })), _) => Value::Int(part.children.len() as i64),
                (_, Value::Text(text)) => Value::Int(text.chars().count() as i64),
                _ => self.elements(value).map_or(Value::Unknown, |all| Value::Int(all.len() as i64)),
            },
            ("range", _) => return self.range(given),
            ("enumerate", [over, ..]) => {
                let start = given.get(1).or_else(|| arguments.named.first().map(|(_, value)| value));
                let start = start.and_then(Value::whole).unwrap_or(0);
                let turns = self.turns(over, site(caller))?;
                let rows = turns.into_iter().zip(start..).map(|(value, at)| vec![Value::Int(at), value]).collect();
                self.rows(rows)
            }
            ("zip", [_, ..]) => {
                let known: Vec<Option<Vec<Value>>> = given.iter().map(|over| self.elements(over)).collect();
                let count = match known.iter().flatten().map(Vec::len).min() {
                    Some(count) => count,
                    None => self.turns(&Value::Unknown, site(caller))?.len(),
                };
                let mut rows = Vec::with_capacity(count);
                for at in 0..count {
                    let mut row = Vec::with_capacity(known.len());
                    for (all, over) in known.iter().zip(given) {
                        row.push(match all {
                            Some(all) => all.get(at).cloned().unwrap_or(Value::Unknown),
                            None => self.item(over, &Value::Int(at as i64))?,
                        });
                    }
                    rows.push(row);
                }
                self.rows(rows)
            }
            ("list" | "tuple" | "set" | "frozenset" | "iter" | "sorted" | "reversed", []) => {
                self.make(Thing::Row(kind(name), Vec::new()))
            }
            ("list" | "tuple" | "set" | "frozenset" | "iter", [over]) => match self.elements(over) {
                Some(all) => self.make(Thing::Row(kind(name), all)),
                None if matches!(self.thing(over), Some(Thing::Range { .. })) => {
                    let all = self.turns(over, site(caller))?;
                    self.make(Thing::Row(kind(name), all))
                }
                None => over.clone(),
            },
            ("sorted", [over]) => match self.elements(over) {
                Some(mut all) if all.iter().all(|it| it.number().is_some()) => {
                    all.sort_by(|a, b| a.number().partial_cmp(&b.number()).unwrap_or(std::cmp::Ordering::Equal));
                    self.list(all)
                }
                Some(mut all) if all.iter().all(|it| matches!(it, Value::Text(_))) => {
                    all.sort_by_key(shown);
                    self.list(all)
                }
                _ => Value::Unknown,
            },
            ("reversed", [over]) => match self.elements(over) {
                Some(all) => self.list(all.into_iter().rev().collect()),
                None => Value::Unknown,
            },
            ("dict", _) => {
                let mut pairs = match given.first() {
                    None => Vec::new(),
                    Some(from) => match self.thing(from) {
                        Some(Thing::Dict(pairs)) => pairs.clone(),
                        _ => {
                            let Some(rows) = self.elements(from) else { return Ok(Value::Unknown) };
                            let pair = |row: &Value| match self.elements(row)?.as_slice() {
                                [key, value] => Some((key.clone(), value.clone())),
                                _ => None,
                            };
                            rows.iter().filter_map(pair).collect()
                        }
                    },
                };
                if arguments.more {
                    return Ok(Value::Unknown);
                }
                pairs.extend(arguments.named.into_iter().map(|(name, value)| (Value::text(&name), value)));
                self.dict(pairs)
            }
            ("sum", [over, start @ ..]) => {
                let Some(all) = self.elements(over) else { return Ok(Value::Unknown) };
                let mut total = start.first().cloned().unwrap_or(Value::Int(0));
                for value in all {
                    total = match self.operate("+", &total, &value)? {
                        Some(total) => total,
                        None => binary("+", &total, &value),
                    };
                }
                total
            }
            ("min" | "max", [_, ..]) => {
                let all = if given.len() == 1 { self.elements(&given[0]).unwrap_or_default() } else { given.to_vec() };
                let numbers: Option<Vec<f64>> = all.iter().map(Value::number).collect();
                let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) else { return Ok(Value::Unknown) };
                let better = |a: f64, b: f64| if name == "min" { a < b } else { a > b };
                let mut best = 0;
                for (at, number) in numbers.iter().enumerate() {
                    if numbers.get(best).is_some_and(|known| better(*number, *known)) {
                        best = at;
                    }
                }
                all.get(best).cloned().unwrap_or(Value::Unknown)
            }
            ("any" | "all", [over]) => {
                let Some(all) = self.elements(over) else { return Ok(Value::Object) };
                let truths: Vec<Option<bool>> = all.iter().map(|it| self.truth(it)).collect();
                let stops = name == "any";
                match () {
                    () if truths.contains(&Some(stops)) => Value::Bool(stops),
                    () if truths.contains(&None) => Value::Object,
                    () => Value::Bool(!stops),
                }
            }
            ("map", [function, over]) => {
                let (function, turns) = (function.clone(), self.turns(over, site(caller))?);
                let mut made = Vec::with_capacity(turns.len());
                for turn in turns {
                    made.push(self.call_one(&function, turn, caller)?);
                }
                self.list(made)
            }
            ("filter", [function, over]) => {
                let (function, turns) = (function.clone(), self.turns(over, site(caller))?);
                let mut kept = Vec::new();
                for turn in turns {
                    let holds = if function == Value::None {
                        turn.clone()
                    } else {
                        self.call_one(&function, turn.clone(), caller)?
                    };
                    if self.truth(&holds) != Some(false) {
                        kept.push(turn);
                    }
                }
                self.list(kept)
            }
            ("next", [over, ..]) => {
                let first = self.elements(over).and_then(|all| all.first().cloned());
                first.or_else(|| given.get(1).cloned()).unwrap_or(Value::Unknown)
            }
            ("int", [value]) => match value {
                Value::Text(text) => text.trim().parse().map_or(Value::Object, Value::Int),
                Value::Symbol(_) => value.clone(),
                _ => value.number().filter(|it| it.abs() < 1e15).map_or(Value::Object, |it| Value::Int(it as i64)),
            },
            ("float", [Value::Text(text)]) => {
                let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
                number.map_or(Value::Object, Value::Float)
            }
            ("float", [value]) => value.number().map_or(Value::Object, Value::Float),
            ("bool", [value]) => self.truth(value).map_or(Value::Object, Value::Bool),
            ("str", [value]) => shown(value).map_or(Value::Object, |text| Value::text(&text)),
            ("abs", [Value::Int(value)]) => value.checked_abs().map_or(Value::Object, Value::Int),
            ("abs", [Value::Float(value)]) => Value::Float(value.abs()),
            ("round", [value]) => match value.number().filter(|it| it.abs() < 1e15) {
                Some(number) => Value::Int(number.round_ties_even() as i64),
                None => Value::Object,
            },
            ("round", [value, digits]) => match (value.number(), digits.whole().filter(|it| (0..16).contains(it))) {
                (Some(number), Some(digits)) => {
                    let scale = 10f64.powi(digits as i32);
                    Value::Float((number * scale).round_ties_even() / scale)
                }
                _ => Value::Object,
            },
            ("pow", [a, b]) => binary("**", a, b),
            ("divmod", [a, b]) => {
                let both = vec![binary("//", a, b), binary("%", a, b)];
                self.tuple(both)
            }
            ("isinstance", [value, class]) => self.is_instance(value, class, 0).map_or(Value::Object, Value::Bool),
            ("issubclass", [class, base]) => {
                let known = match (self.thing(class), base) {
                    (Some(Thing::Class(class)), Value::Thing(base)) => class.order.contains(base).then_some(true),
                    _ => None,
                };
                known.or_else(|| self.same(class, base, 0)).map_or(Value::Object, Value::Bool)
            }
            ("callable", [value]) => match self.thing(value) {
                Some(Thing::Row(..) | Thing::Dict(_) | Thing::Tensor(_)) => Value::Bool(false),
                Some(Thing::Object(object)) => object.part.as_ref().map_or(Value::Object, |_| Value::Bool(true)),
                Some(_) => Value::Bool(true),
                None if matches!(value, Value::Unknown | Value::Object) => Value::Object,
                None => Value::Bool(false),
            },
            ("getattr", [object, Value::Text(name), default @ ..]) => {
                let value = self.attribute(object, name)?;
                match default.first() {
                    Some(default) if value == Value::Unknown && !self.is_vague(object) => default.clone(),
                    _ => value,
                }
            }
            ("hasattr", [object, Value::Text(name)]) => {
                let value = self.attribute(object, name)?;
                match () {
                    () if matches!(self.thing(object), Some(Thing::Outside(name)) if !name.starts_with("torch")) => {
                        Value::Object
                    }
                    () if value != Value::Unknown => Value::Bool(true),
                    () if self.is_vague(object) => Value::Object,
                    () => Value::Bool(false),
                }
            }
            ("setattr", [object, Value::Text(name), value]) => {
                let (object, name, value) = (object.clone(), name.clone(), value.clone());
                self.set_attribute(&object, &name, value);
                Value::None
            }
            ("delattr", [object, Value::Text(name)]) => {
                let (object, name) = (object.clone(), name.clone());
                self.remove(&object, &name);
                Value::None
            }
            ("type", [value]) => match self.thing(value) {
                Some(Thing::Object(object)) => match (object.class, &object.part) {
                    (Some(class), _) => Value::Thing(class),
                    (None, Some(part)) => {
                        let class = part.class.clone();
                        self.outside(&class)
                    }
                    _ => Value::Unknown,
                },
                _ => Value::Object,
            },
            // What torch has today: names are asked for that old versions lack.
            ("dir", [value]) => match self.thing(value) {
                Some(Thing::Outside(name)) if name.starts_with("torch") => {
                    let all = format!("{name}.__dir__");
                    self.outside(&all)
                }
                _ => Value::Unknown,
            },
            ("vars", [value]) => match self.object(value) {
                Some(object) => {
                    let pairs = object.fields.iter().map(|(name, value)| (Value::text(name), value.clone())).collect();
                    self.dict(pairs)
                }
                None => value.clone(),
            },
            ("print", _) => Value::None,
            _ => Value::Unknown,
        })
    }

    fn call_one(&mut self, function: &Value, value: Value, caller: Caller<'_>) -> Result<Value, Spent> {
        self.call_value(function, Arguments { positional: vec![value], ..Arguments::default() }, caller)
    }

    /// Whether a thing may have attributes that nobody knows of.
    fn is_vague(&self, value: &Value) -> bool {
        match self.thing(value) {
            Some(Thing::Object(object)) => object.open || object.class.is_none(),
            Some(Thing::Dict(_) | Thing::Class(_) | Thing::Row(..)) => false,
            Some(_) => true,
            None => matches!(value, Value::Unknown | Value::Object),
        }
    }

    fn range(&mut self, given: &[Value]) -> Result<Value, Spent> {
        let (start, end, step) = match given {
            [end] => (Some(0), end, Some(1)),
            [start, end] => (start.whole(), end, Some(1)),
            [start, end, step] => (start.whole(), end, step.whole()),
            _ => return Ok(Value::Unknown),
        };
        Ok(match (start, end.whole(), step) {
            (Some(start), Some(end), Some(step)) if step != 0 => {
                let mut numbers = Vec::new();
                let mut at = start;
                while if step > 0 { at < end } else { at > end } {
                    if numbers.len() as i64 >= RANGE {
                        return Err(Spent);
                    }
                    numbers.push(Value::Int(at));
                    at = at.saturating_add(step);
                }
                self.list(numbers)
            }
            (Some(start), None, Some(1)) => match end {
                Value::Symbol(end) => self.make(Thing::Range { end: *end, start }),
                _ => Value::Unknown,
            },
            _ => Value::Unknown,
        })
    }

    /// Whether a value is an instance of a class, or of one of several.
    fn is_instance(&self, value: &Value, class: &Value, depth: usize) -> Option<bool> {
        if depth > 8 {
            return None;
        }
        if let Some(Thing::Row(_, classes)) = self.thing(class) {
            let each: Vec<Option<bool>> =
                classes.iter().map(|class| self.is_instance(value, class, depth + 1)).collect();
            return match () {
                () if each.contains(&Some(true)) => Some(true),
                () if each.contains(&None) => None,
                () => Some(false),
            };
        }
        let plain = !matches!(value, Value::Unknown | Value::Object | Value::Symbol(_) | Value::Truth(_));
        match self.thing(class)? {
            Thing::Class(class) => match self.thing(value) {
                Some(Thing::Object(object)) => {
                    let own = object.class.and_then(|own| self.class(own));
                    Some(own.is_some_and(|own| class.order.first().is_some_and(|id| own.order.contains(id))))
                }
                _ => plain.then_some(false),
            },
            Thing::Outside(name) => {
                let last = name.rsplit('.').next().unwrap_or("");
                let last = match last {
                    "Sequence" | "Iterable" if name.starts_with("collections") || name.starts_with("typing") => {
                        "Sequence"
                    }
                    other => other,
                };
                match (self.thing(value), value) {
                    (Some(Thing::Object(object)), _) => {
                        let Some(part) = &object.part else { return Some(false) };
                        let bases = object.class.and_then(|class| self.class(class)).map(|class| class.outside.clone());
                        let is = |base: &str| base.starts_with("torch.nn.") && base.rsplit('.').next() == Some(last);
                        let convolution = last == "_ConvNd" && part.class.contains(".conv.Conv");
                        let norm = last == "_BatchNorm" && part.class.contains(".batchnorm.");
                        let module = last == "Module" && name.starts_with("torch.nn.");
                        Some(
                            module || convolution || norm || is(&part.class) || bases.iter().flatten().any(|it| is(it)),
                        )
                    }
                    (Some(Thing::Row(kind, _)), _) => Some(match kind {
                        Row::Tuple => matches!(last, "tuple" | "Sequence" | "Tuple"),
                        Row::List => matches!(last, "list" | "Sequence" | "List"),
                        Row::Set => matches!(last, "set" | "frozenset"),
                    }),
                    (Some(Thing::Dict(_)), _) => Some(matches!(last, "dict" | "OrderedDict" | "Mapping" | "Dict")),
                    (Some(Thing::Class(_)), _) => Some(last == "type"),
                    (Some(Thing::Partial(..)), _) => Some(matches!(last, "partial" | "Callable")),
                    (Some(Thing::Outside(of)), _) if of.starts_with("torch.nn.") => {
                        let class =
                            of.rsplit('.').next().is_some_and(|it| it.starts_with(|it: char| it.is_uppercase()));
                        Some(last == if class { "type" } else { "FunctionType" })
                    }
                    (Some(Thing::Function(_) | Thing::Bound(..)), _) => {
                        Some(matches!(last, "FunctionType" | "Callable"))
                    }
                    (Some(_), _) => None,
                    (None, Value::None) => Some(last == "NoneType"),
                    (None, Value::Bool(_)) => Some(matches!(last, "bool" | "int")),
                    (None, Value::Int(_)) => Some(matches!(last, "int" | "Number" | "Integral")),
                    (None, Value::Float(_)) => Some(matches!(last, "float" | "Number")),
                    (None, Value::Text(_)) => Some(matches!(last, "str" | "Sequence")),
                    (None, Value::Symbol(_)) if matches!(last, "list" | "tuple" | "str" | "dict") => None,
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn kind(name: &str) -> Row {
    match name {
        "tuple" => Row::Tuple,
        "set" | "frozenset" => Row::Set,
        _ => Row::List,
    }
}
