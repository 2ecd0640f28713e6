//! Calls: of functions and methods of the source, and of its classes, which make objects.

use std::rc::Rc;

use tree_sitter::Node;

use super::machine::{CALLS, Frame, Machine};
use super::oracle::Choice;
use super::statements::Flow;
use super::things::{Class, Function, Id, Kind, Names, Object, Part, Thing};
use crate::source::evaluate::{Arguments, Environment, Row, Spent, Value, children};
use crate::source::locate::Found;
use crate::source::python::Module;

/// Methods that fill weights and leave the modules what they are.
const FILL: [&str; 12] = [
    "_init_weights",
    "init_weights",
    "_initialize_weights",
    "initialize_weights",
    "weight_init",
    "reset_parameters",
    "_reset_parameters",
    "post_init",
    "load_state_dict",
    "load_pretrained",
    "forward",
    "extra_repr",
];
/// What a class is derived from that makes it no module.
const PLAIN: [&str; 9] = [
    "builtins.",
    "abc.",
    "typing.",
    "typing_extensions.",
    "enum.",
    "collections.",
    "dataclasses.",
    "pydantic.",
    "argparse.",
];
/// Parameters of one function.
const PARAMETERS: usize = 512;

/// Who calls: the file and its line.
pub(super) type Caller<'c> = (&'c Rc<Found>, usize);

/// The place of a call among those where something is open.
pub(super) fn site((found, line): Caller<'_>) -> (usize, usize) {
    (Rc::as_ptr(found) as usize, line | 1 << 40)
}

/// How a parameter is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// By place or by name.
    Plain,
    KeywordOnly,
    /// `*args`
    Positional,
    /// `**kwargs`
    Named,
}

/// A parameter: its name, its default, how it is given.
pub(super) type Parameter<'t> = (&'t str, Option<Node<'t>>, Given);

/// The parameters of a function or lambda in order.
pub(super) fn parameters<'t>(module: &'t Module, function: Node<'t>) -> Vec<Parameter<'t>> {
    let Some(list) = function.child_by_field_name("parameters") else { return Vec::new() };
    let mut by_place = true;
    let mut found = Vec::new();
    for parameter in children(list).into_iter().take(PARAMETERS) {
        // `*args: int`
        let inner = parameter.named_child(0).filter(|_| parameter.kind() == "typed_parameter").unwrap_or(parameter);
        let given = match inner.kind() {
            "list_splat_pattern" => Given::Positional,
            "dictionary_splat_pattern" => Given::Named,
            "keyword_separator" => {
                by_place = false;
                continue;
            }
            "positional_separator" => continue,
            _ if by_place => Given::Plain,
            _ => Given::KeywordOnly,
        };
        by_place &= given != Given::Positional;
        let name = parameter.child_by_field_name("name").or_else(|| inner.named_child(0)).unwrap_or(inner);
        found.push((module.slice(name), parameter.child_by_field_name("value"), given));
    }
    found
}

impl<'t> Frame<'t, '_, '_> {
    /// `function(…)`
    pub(super) fn call_any(&mut self, function: &Value, arguments: Arguments) -> Result<Value, Spent> {
        if matches!(self.machine.thing(function), Some(Thing::Outside(name)) if &**name == "builtins.super") {
            let (owner, of) = match arguments.positional.as_slice() {
                [class, of, ..] => {
                    let owner = match self.machine.thing(class) {
                        Some(Thing::Class(class)) => class.order.first().copied(),
                        _ => None,
                    };
                    (owner, Some(of.clone()))
                }
                _ => (self.owner, self.receiver.clone().or_else(|| self.first_parameter())),
            };
            return Ok(match (owner, of) {
                (Some(owner), Some(of)) => self.machine.make(Thing::Super(of, owner)),
                _ => Value::Unknown,
            });
        }
        let caller = Rc::clone(&self.found);
        self.machine.call_value(function, arguments, (&caller, self.line))
    }

    /// In a function within a method `self` is a name around it.
    fn first_parameter(&self) -> Option<Value> {
        self.names.get("self").or_else(|| self.names.get("cls"))
    }

    /// `value.name(…)`
    pub(super) fn call_method(&mut self, value: &Value, name: &str, arguments: Arguments) -> Result<Value, Spent> {
        let caller = Rc::clone(&self.found);
        let line = self.line;
        self.machine.call_method(value, name, arguments, (&caller, line))
    }
}

impl<'t> Machine<'t, '_> {
    pub(super) fn call_value(
        &mut self,
        function: &Value,
        mut arguments: Arguments,
        caller: Caller<'_>,
    ) -> Result<Value, Spent> {
        match self.thing(function) {
            Some(Thing::Function(function)) => {
                let function = Rc::clone(function);
                self.run(&function, None, arguments)
            }
            Some(Thing::Bound(function, object)) => {
                let (function, object) = (function.clone(), object.clone());
                let Some(Thing::Function(function)) = self.thing(&function) else { return Ok(Value::Unknown) };
                let function = Rc::clone(function);
                self.run(&function, Some(object), arguments)
            }
            Some(Thing::Partial(function, given)) => {
                let (function, given) = (function.clone(), given.clone());
                let mut positional = given.positional;
                positional.append(&mut arguments.positional);
                let mut named = given.named;
                named.retain(|(name, _)| !arguments.named.iter().any(|(other, _)| other == name));
                named.append(&mut arguments.named);
                let more = given.more || arguments.more;
                if self.depth > CALLS {
                    return Ok(Value::Unknown);
                }
                self.depth += 1;
                let value = self.call_value(&function, Arguments { positional, named, more }, caller);
                self.depth -= 1;
                value
            }
            Some(Thing::Class(class)) => {
                let class = Rc::clone(class);
                self.instantiate(&class, arguments, caller)
            }
            Some(Thing::Outside(name)) => {
                let name = Rc::clone(name);
                self.call_outside(&name, arguments, caller)
            }
            Some(Thing::Object(object)) if object.part.is_none() => {
                let member = object.class.and_then(|class| self.member(class, None, "__call__"));
                let Some(member) = member else { return Ok(Value::Unknown) };
                let bound = self.value_of_member(member, "__call__", function)?;
                self.call_value(&bound, arguments, caller)
            }
            _ => Ok(Value::Unknown),
        }
    }

    pub(super) fn call_method(
        &mut self,
        value: &Value,
        name: &str,
        arguments: Arguments,
        caller: Caller<'_>,
    ) -> Result<Value, Spent> {
        match self.thing(value) {
            Some(Thing::Super(of, after)) => {
                let (of, after) = (of.clone(), *after);
                let class = self.class_of(&of);
                let member = class.and_then(|class| self.member(class, Some(after), name));
                if let Some(member) = member {
                    let method = self.value_of_member(member, name, &of)?;
                    return self.call_value(&method, arguments, caller);
                }
                let read = class.and_then(|class| self.class(class));
                if let Some(read) = read.filter(|read| name == "__init__" && self.is_record(read)) {
                    self.fill_record(&of, &read, arguments, caller)?;
                    return Ok(Value::None);
                }
                if name == "__init__" {
                    let bases = class.and_then(|class| self.class(class)).map(|class| class.outside.clone());
                    self.initialise_outside(&of, &bases.unwrap_or_default(), arguments, caller)?;
                    return Ok(Value::None);
                }
                if name == "__new__" {
                    return Ok(of);
                }
                Ok(self.method_of_module(&of, name, arguments, caller)?.unwrap_or(Value::Unknown))
            }
            Some(Thing::Outside(full)) => {
                let full = format!("{full}.{name}");
                self.call_outside(&full, arguments, caller)
            }
            Some(Thing::Object(_)) => {
                let method = self.attribute(value, name)?;
                if method != Value::Unknown {
                    return self.call_value(&method, arguments, caller);
                }
                if let Some(given) = self.method_of_module(value, name, arguments, caller)? {
                    return Ok(given);
                }
                // Nobody knows what it sets.
                if let Some(object) = self.object_mut(value) {
                    object.fields.clear();
                    object.open = true;
                }
                Ok(Value::Unknown)
            }
            Some(Thing::Class(_) | Thing::File(..)) => {
                let method = self.attribute(value, name)?;
                self.call_value(&method, arguments, caller)
            }
            _ => self.native(value, name, arguments, caller),
        }
    }

    /// Run a function of the source.
    pub(super) fn run(
        &mut self,
        function: &Rc<Function<'t>>,
        object: Option<Value>,
        mut arguments: Arguments,
    ) -> Result<Value, Spent> {
        let name = function.node.child_by_field_name("name").map_or("", |name| function.module.slice(name));
        let fills = ["init_weights", "weight_init", "weights_init"].iter().any(|it| name.contains(it));
        if fills || FILL.contains(&name) {
            return Ok(Value::None);
        }
        if !self.library.budget.burn(4) {
            return Err(Spent);
        }
        if self.depth > CALLS {
            return Ok(Value::Unknown);
        }
        if let Some(object) = &object {
            arguments.positional.insert(0, object.clone());
        }
        self.depth += 1;
        let result = self.run_within(function, object, arguments);
        self.depth -= 1;
        result
    }

    fn run_within(
        &mut self,
        function: &Rc<Function<'t>>,
        object: Option<Value>,
        arguments: Arguments,
    ) -> Result<Value, Spent> {
        let (module, node) = (function.module, function.node);
        let names = Names::within(function.scope.clone());
        let mut frame = Frame::new(self, module, Rc::clone(&function.found), names);
        frame.owner = function.owner;
        frame.receiver = object;
        frame.bind_parameters(&parameters(module, node), arguments)?;
        if frame.receiver.is_none() && frame.owner.is_some() {
            // `Base.__init__(self)`
            let first = parameters(module, node).first().map(|(name, ..)| *name);
            frame.receiver = first.and_then(|name| frame.names.get(name));
        }
        let Some(body) = node.child_by_field_name("body") else { return Ok(Value::None) };
        if node.kind() == "lambda" {
            return frame.value(body);
        }
        Ok(match frame.block(Some(body), 0)? {
            Flow::Returns(value) => value,
            Flow::Raises => {
                frame.machine.raised = true;
                Value::Unknown
            }
            _ => Value::None,
        })
    }

    /// An object of a class of the source.
    fn instantiate(&mut self, class: &Rc<Class<'t>>, arguments: Arguments, caller: Caller<'_>) -> Result<Value, Spent> {
        let id = class.order.first().copied().unwrap_or_default();
        if class.outside.iter().any(|base| base.starts_with("enum.")) {
            return Ok(arguments.positional.first().cloned().unwrap_or(Value::Unknown));
        }
        if self.depth > CALLS || self.parts > super::MODULES {
            return Ok(Value::Unknown);
        }
        let plain = |base: &String| PLAIN.iter().any(|plain| base.starts_with(plain)) || base.ends_with("Config");
        let part = class.outside.iter().any(|base| !plain(base)).then(|| {
            self.parts += 1;
            Box::new(Part {
                class: class.name.clone(),
                kind: Self::kind_of(&class.outside),
                file: caller.0.file.as_str().into(),
                line: caller.1,
                ..Part::default()
            })
        });
        let object = self.make(Thing::Object(Object { class: Some(id), part, ..Object::default() }));
        self.library.budget.burn(super::BUILT);
        self.depth += 1;
        let done = self.initialise(&object, class, arguments, caller);
        self.depth -= 1;
        done.map(|()| object)
    }

    fn initialise(
        &mut self,
        object: &Value,
        class: &Rc<Class<'t>>,
        arguments: Arguments,
        caller: Caller<'_>,
    ) -> Result<(), Spent> {
        let id = class.order.first().copied().unwrap_or_default();
        if let Some(member) = self.member(id, None, "__init__") {
            let init = self.value_of_member(member, "__init__", object)?;
            self.call_value(&init, arguments, caller)?;
            return Ok(());
        }
        if self.is_record(class) {
            return self.fill_record(object, class, arguments, caller);
        }
        let outside = class.outside.clone();
        self.initialise_outside(object, &outside, arguments, caller)
    }

    /// Whether a class's constructor is made of its fields.
    fn is_record(&self, class: &Rc<Class<'t>>) -> bool {
        let decorated = |id: &Id| {
            let class = self.class(*id);
            class.is_some_and(|class| {
                class.shape.decorators.iter().any(|it| {
                    let name = it.rsplit('.').next().unwrap_or("");
                    matches!(name, "dataclass" | "define" | "frozen" | "s" | "attrs")
                })
            })
        };
        class.order.iter().any(decorated)
            || class.outside.iter().any(|base| base.ends_with(".NamedTuple") || base.ends_with(".BaseModel"))
    }

    fn fill_record(
        &mut self,
        object: &Value,
        class: &Rc<Class<'t>>,
        arguments: Arguments,
        caller: Caller<'_>,
    ) -> Result<(), Spent> {
        let mut fields: Vec<(&'t str, Id, Option<Node<'t>>)> = Vec::new();
        for id in class.order.iter().rev() {
            let Some(base) = self.class(*id) else { continue };
            for (name, default) in &base.shape.fields {
                match fields.iter_mut().find(|(known, ..)| known == name) {
                    Some(known) => *known = (*name, *id, *default),
                    None => fields.push((*name, *id, *default)),
                }
            }
        }
        let Arguments { positional, named, more } = arguments;
        let mut positional = positional.into_iter();
        for (name, owner, default) in fields {
            let by_name = || named.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
            let value = match positional.next().or_else(by_name) {
                Some(value) => value,
                None if more => Value::Unknown,
                None => match default {
                    Some(node) => self.default_of_field(owner, name, node, object, caller)?,
                    None => Value::Unknown,
                },
            };
            self.set_attribute(object, name, value);
        }
        let id = class.order.first().copied().unwrap_or_default();
        for after in ["__post_init__", "__attrs_post_init__"] {
            if let Some(member) = self.member(id, None, after) {
                let method = self.value_of_member(member, after, object)?;
                self.call_value(&method, Arguments::default(), caller)?;
            }
        }
        Ok(())
    }

    /// `field(default_factory=…)` of a dataclass, or the default itself.
    fn default_of_field(
        &mut self,
        owner: Id,
        name: &str,
        node: Node<'t>,
        object: &Value,
        caller: Caller<'_>,
    ) -> Result<Value, Spent> {
        let value = self.value_of_member((owner, super::things::Member::Value(node)), name, object)?;
        let Some(Thing::Partial(made, given)) = self.thing(&value) else { return Ok(value) };
        let (made, given) = (made.clone(), given.clone());
        if !matches!(self.thing(&made), Some(Thing::Outside(name)) if name.ends_with(".field")) {
            return Ok(value);
        }
        let of = |wanted: &str| given.named.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        match (of("default"), of("default_factory").or_else(|| of("factory"))) {
            (Some(default), _) => Ok(default),
            (None, Some(factory)) => self.call_value(&factory, Arguments::default(), caller),
            (None, None) => Ok(Value::Unknown),
        }
    }

    /// The constructor that a class has from torch.
    pub(super) fn initialise_outside(
        &mut self,
        object: &Value,
        bases: &[String],
        arguments: Arguments,
        caller: Caller<'_>,
    ) -> Result<(), Spent> {
        let kind = Self::kind_of(bases);
        if self.part(object).is_none() {
            if bases
                .iter()
                .any(|base| base == "builtins.dict" || base.ends_with("Namespace") || base.ends_with("Config"))
            {
                for (name, value) in arguments.named {
                    self.set_attribute(object, &name, value);
                }
            }
            return Ok(());
        }
        if kind != Kind::Own {
            return self.fill_container(object, kind, arguments, caller);
        }
        let known = bases.iter().find_map(|base| crate::registry::constructors::constructor(base));
        if let Some(known) = known {
            let (arguments, complete) = super::outside::by_name(known, arguments);
            if let Some(part) = self.part_mut(object) {
                (part.constructor, part.arguments, part.complete) = (Some(known), arguments, complete);
            }
        }
        Ok(())
    }

    /// What a container of modules is made of.
    pub(super) fn fill_container(
        &mut self,
        object: &Value,
        kind: Kind,
        arguments: Arguments,
        caller: Caller<'_>,
    ) -> Result<(), Spent> {
        let first = arguments.positional.first().or_else(|| arguments.named.first().map(|(_, value)| value)).cloned();
        let pairs = match (kind, first.as_ref().and_then(|first| self.thing(first))) {
            (Kind::Sequential | Kind::Dict, Some(Thing::Dict(pairs))) => Some(pairs.clone()),
            (Kind::Dict, _) => {
                let rows = first.as_ref().and_then(|first| self.elements(first)).unwrap_or_default();
                let pair = |row: &Value| match self.elements(row)?.as_slice() {
                    [name, value] => Some((name.clone(), value.clone())),
                    _ => None,
                };
                Some(rows.iter().filter_map(pair).collect())
            }
            _ => None,
        };
        let children: Vec<(String, Value)> = match (pairs, kind) {
            (Some(pairs), _) => {
                pairs.into_iter().filter_map(|(name, value)| Some((super::frame::shown(&name)?, value))).collect()
            }
            (None, Kind::List) => {
                let over = first.unwrap_or(Value::None);
                let elements = if over == Value::None { Vec::new() } else { self.turns(&over, site(caller))? };
                elements.into_iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
            }
            (None, _) => {
                let given = arguments.positional.into_iter().enumerate();
                given.map(|(at, value)| (at.to_string(), value)).collect()
            }
        };
        if let Some(part) = self.part_mut(object) {
            part.kind = kind;
            part.children.extend(children);
        }
        Ok(())
    }

    /// A row of a kind that two things make together.
    pub(super) fn rows(&mut self, rows: Vec<Vec<Value>>) -> Value {
        let rows = rows.into_iter().map(|row| self.make(Thing::Row(Row::Tuple, row))).collect();
        self.list(rows)
    }
}

impl<'t> Frame<'t, '_, '_> {
    /// Let the parameters stand for what is given.
    fn bind_parameters(&mut self, parameters: &[Parameter<'t>], arguments: Arguments) -> Result<(), Spent> {
        let Arguments { positional, mut named, more } = arguments;
        let mut positional = positional.into_iter();
        let mut missing = Vec::new();
        for (name, default, given) in parameters {
            let mut by_name = || {
                let at = named.iter().position(|(known, _)| known == name)?;
                Some(named.swap_remove(at).1)
            };
            let value = match given {
                Given::Plain => positional.next().or_else(by_name),
                Given::KeywordOnly => by_name(),
                Given::Positional => {
                    let rest: Vec<Value> = positional.by_ref().collect();
                    Some(if more { Value::Unknown } else { self.machine.tuple(rest) })
                }
                Given::Named => continue,
            };
            match value {
                Some(value) => self.bind(name, value),
                None => missing.push((*name, *default)),
            }
        }
        for (name, _, given) in parameters {
            if *given == Given::Named {
                let pairs =
                    std::mem::take(&mut named).into_iter().map(|(name, value)| (Value::text(&name), value)).collect();
                let value = if more { Value::Unknown } else { self.machine.dict(pairs) };
                self.bind(name, value);
            }
        }
        for (name, default) in missing {
            let value = match default.filter(|_| !more) {
                // Defaults are what stands around the function.
                Some(default) => {
                    let names = self.names.around.clone().unwrap_or_else(|| Names::within(None));
                    let mut frame = Frame::new(self.machine, self.module, Rc::clone(&self.found), names);
                    frame.body = self.owner;
                    crate::source::evaluate::evaluate(self.module, default, &mut frame)?
                }
                None => Value::Unknown,
            };
            self.bind(name, value);
        }
        Ok(())
    }
}

impl Choice {
    /// The other way of a condition.
    pub(super) fn other(self) -> Option<Value> {
        match self {
            Choice::Truth(truth) => Some(Value::Bool(!truth)),
            Choice::Count(_) => None,
        }
    }
}
