//! What names and attributes stand for while constructors are evaluated.

use std::collections::HashMap;
use std::rc::Rc;

use tree_sitter::Node;

use super::library::{Library, Meaning};
use super::oracle::{Key, Oracle};
use super::things::{Class, Function, How, Id, Kind, Member, Names, Object, Part, Scope, Thing};
use crate::source::evaluate::{Row, Spent, Symbol, Value, children, evaluate};
use crate::source::locate::Found;
use crate::source::python::Module;

/// Things of one run.
const THINGS: usize = 400_000;
/// Elements of a row.
const ELEMENTS: usize = 4_096;
/// Calls within one another.
pub(super) const CALLS: usize = 48;
/// Steps for a thing.
const THING: usize = 2;
/// One run: what it made, and what it assumed.
pub(super) struct Machine<'t, 'l> {
    pub library: &'l mut Library<'t>,
    things: Vec<Thing<'t>>,
    globals: HashMap<(usize, String), Option<Value>>,
    classes: HashMap<(usize, usize), Id>,
    pub oracle: Oracle,
    /// Calls that are being followed.
    pub depth: usize,
    /// Modules that were made.
    pub parts: usize,
    /// An error was raised that nothing caught.
    pub raised: bool,
}

impl<'t, 'l> Machine<'t, 'l> {
    pub(super) fn new(library: &'l mut Library<'t>, oracle: Oracle) -> Machine<'t, 'l> {
        let (globals, classes) = (HashMap::new(), HashMap::new());
        Machine { library, things: Vec::new(), globals, classes, oracle, depth: 0, parts: 0, raised: false }
    }

    pub(super) fn make(&mut self, thing: Thing<'t>) -> Value {
        let size = match &thing {
            Thing::Row(_, elements) => elements.len(),
            Thing::Dict(pairs) => pairs.len(),
            _ => 0,
        };
        self.library.budget.burn(THING + size / 4);
        if self.things.len() >= THINGS || size > ELEMENTS {
            return Value::Unknown;
        }
        self.things.push(thing);
        Value::Thing((self.things.len() - 1) as Id)
    }

    pub(super) fn thing(&self, value: &Value) -> Option<&Thing<'t>> {
        match value {
            Value::Thing(id) => self.things.get(*id as usize),
            _ => None,
        }
    }

    /// The class that a value is, or is an object of, if it is the source's own.
    pub(super) fn class_of(&self, value: &Value) -> Option<Id> {
        match self.thing(value)? {
            Thing::Object(object) => object.class,
            Thing::Class(class) => class.order.first().copied(),
            _ => None,
        }
    }

    pub(super) fn thing_mut(&mut self, value: &Value) -> Option<&mut Thing<'t>> {
        match value {
            Value::Thing(id) => self.things.get_mut(*id as usize),
            _ => None,
        }
    }

    pub(super) fn class(&self, id: Id) -> Option<Rc<Class<'t>>> {
        match self.things.get(id as usize) {
            Some(Thing::Class(class)) => Some(Rc::clone(class)),
            _ => None,
        }
    }

    pub(super) fn object(&self, value: &Value) -> Option<&Object> {
        match self.thing(value) {
            Some(Thing::Object(object)) => Some(object),
            _ => None,
        }
    }

    pub(super) fn object_mut(&mut self, value: &Value) -> Option<&mut Object> {
        match self.thing_mut(value) {
            Some(Thing::Object(object)) => Some(object),
            _ => None,
        }
    }

    pub(super) fn part(&self, value: &Value) -> Option<&Part> {
        self.object(value)?.part.as_deref()
    }

    pub(super) fn part_mut(&mut self, value: &Value) -> Option<&mut Part> {
        self.object_mut(value)?.part.as_deref_mut()
    }

    pub(super) fn outside(&mut self, name: &str) -> Value {
        self.make(Thing::Outside(name.into()))
    }

    pub(super) fn list(&mut self, elements: Vec<Value>) -> Value {
        self.make(Thing::Row(Row::List, elements))
    }

    pub(super) fn tuple(&mut self, elements: Vec<Value>) -> Value {
        self.make(Thing::Row(Row::Tuple, elements))
    }

    /// What a file's config holds, as things: keys of a dict are attributes too.
    pub(super) fn stored(&mut self, value: &Value, depth: usize) -> Value {
        match value {
            _ if depth > 8 => Value::Unknown,
            Value::Sequence(elements) => {
                let elements = elements.iter().map(|element| self.stored(element, depth + 1)).collect();
                self.list(elements)
            }
            Value::Mapping(fields) => {
                let pairs =
                    fields.iter().map(|(name, value)| (Value::text(name), self.stored(value, depth + 1))).collect();
                self.make(Thing::Dict(pairs))
            }
            other => other.clone(),
        }
    }

    /// A number that is not known, or what was assumed of it.
    pub(super) fn symbol(&mut self, name: &str) -> Value {
        if let Some(assumed) = self.oracle.assumed.get(&Key::Argument(name.to_owned())) {
            return assumed.clone();
        }
        Value::Symbol(Symbol { of: self.oracle.symbol(name), times: 1, plus: 0 })
    }

    /// What a name means in a file.
    pub(super) fn global(&mut self, found: &Rc<Found>, module: &'t Module, name: &str) -> Result<Value, Spent> {
        let key = (std::ptr::from_ref(module) as usize, name.to_owned());
        match self.globals.get(&key) {
            Some(Some(value)) => return Ok(value.clone()),
            // It is being found out.
            Some(None) => return Ok(Value::Unknown),
            None => {}
        }
        self.globals.insert(key.clone(), None);
        let value = match self.library.meaning(found, module, name) {
            Meaning::Class(found, module) => self.class_of_file(&found, module)?,
            Meaning::Function(found, module) => match module.function(&found.name) {
                Some(method) => {
                    let function = Function { module, found, node: method.node, scope: None, owner: None };
                    self.make(Thing::Function(Rc::new(function)))
                }
                None => Value::Unknown,
            },
            Meaning::Value(found, module, name) => match module.global(&name) {
                Some(node) => self.at_file(&found, module, node)?,
                None => Value::Unknown,
            },
            Meaning::File(found, module) => self.make(Thing::File(found, module)),
            Meaning::Outside(name) => self.make(Thing::Outside(name)),
        };
        self.globals.insert(key, Some(value.clone()));
        Ok(value)
    }

    /// The value of an expression that stands in a file itself.
    fn at_file(&mut self, found: &Rc<Found>, module: &'t Module, node: Node<'t>) -> Result<Value, Spent> {
        if self.depth > CALLS {
            return Ok(Value::Unknown);
        }
        self.depth += 1;
        let mut frame = Frame::new(self, module, Rc::clone(found), Names::within(None));
        let value = evaluate(module, node, &mut frame);
        self.depth -= 1;
        value
    }

    fn class_of_file(&mut self, found: &Rc<Found>, module: &'t Module) -> Result<Value, Spent> {
        match module.class(&found.name) {
            Some(class) => self.class_at(found, module, class.node, None),
            None => Ok(Value::Unknown),
        }
    }

    /// The class that a statement defines.
    pub(super) fn class_at(
        &mut self,
        found: &Rc<Found>,
        module: &'t Module,
        node: Node<'t>,
        scope: Option<Scope<'t>>,
    ) -> Result<Value, Spent> {
        let key = (std::ptr::from_ref(module) as usize, node.start_byte());
        if let Some(known) = self.classes.get(&key).filter(|_| scope.is_none()) {
            return Ok(Value::Thing(*known));
        }
        if self.depth > CALLS {
            return Ok(Value::Unknown);
        }
        self.depth += 1;
        let shape = self.library.shape(found, module, node);
        let (mut order, mut outside): (Vec<Id>, Vec<String>) = (Vec::new(), Vec::new());
        let bases = node.child_by_field_name("superclasses").map(children).unwrap_or_default();
        for base in bases {
            if base.kind() == "keyword_argument" {
                continue;
            }
            let names = scope.clone().unwrap_or_else(|| Names::within(None));
            let mut frame = Frame::new(self, module, Rc::clone(found), names);
            let base = evaluate(module, base, &mut frame)?;
            match self.thing(&base) {
                Some(Thing::Class(base)) => {
                    let base = Rc::clone(base);
                    // A class that several bases have comes behind all of them.
                    order.retain(|id| !base.order.contains(id));
                    order.extend(base.order.iter().copied());
                    outside.extend(base.outside.iter().cloned());
                }
                Some(Thing::Outside(name)) => outside.push(name.to_string()),
                _ => outside.push(String::new()),
            }
        }
        self.depth -= 1;
        let written = node.child_by_field_name("name").map_or("", |name| module.slice(name));
        let name = format!("{}.{written}", shape.module).trim_start_matches('.').to_owned();
        let id = self.things.len() as Id;
        order.insert(0, id);
        order.truncate(ELEMENTS);
        let known = Default::default();
        let class = Class { module, found: Rc::clone(found), name, shape, order, outside, scope: scope.clone(), known };
        let value = self.make(Thing::Class(Rc::new(class)));
        if scope.is_none() && value == Value::Thing(id) {
            self.classes.insert(key, id);
        }
        Ok(value)
    }

    /// A member of a class or its bases, from the one behind `after` on; and the class that has it.
    pub(super) fn member(&self, class: Id, after: Option<Id>, name: &str) -> Option<(Id, Member<'t>)> {
        let order = &self.class(class)?.order;
        let from = after.and_then(|after| order.iter().position(|id| *id == after)).map_or(0, |at| at + 1);
        order.iter().skip(from).find_map(|id| {
            self.library.budget.burn(1);
            Some((*id, *self.class(*id)?.shape.members.get(name)?))
        })
    }

    /// What a member of a class is, asked of the class itself or of an object.
    pub(super) fn value_of_member(
        &mut self,
        (owner, member): (Id, Member<'t>),
        name: &str,
        object: &Value,
    ) -> Result<Value, Spent> {
        let Some(class) = self.class(owner) else { return Ok(Value::Unknown) };
        let is_class = matches!(self.thing(object), Some(Thing::Class(_)));
        match member {
            Member::Method(node, how) => {
                let (module, found) = (class.module, Rc::clone(&class.found));
                let function = Function { module, found, node, scope: class.scope.clone(), owner: Some(owner) };
                let function = self.make(Thing::Function(Rc::new(function)));
                let bind = |it: &mut Self, to: Value| Ok(it.make(Thing::Bound(function.clone(), to)));
                match how {
                    How::Static => Ok(function),
                    How::OfClass => {
                        let of = match self.object(object) {
                            Some(object) => object.class.map_or(Value::Unknown, Value::Thing),
                            None => object.clone(),
                        };
                        bind(self, of)
                    }
                    How::Plain if is_class => Ok(function),
                    How::Plain => bind(self, object.clone()),
                    How::Property if is_class => Ok(Value::Unknown),
                    How::Property => {
                        let bound = self.make(Thing::Bound(function.clone(), object.clone()));
                        self.call_value(&bound, Default::default(), (&class.found, 0))
                    }
                }
            }
            Member::Class(node) => self.class_at(&class.found, class.module, node, class.scope.clone()),
            Member::Value(node) => {
                match class.known.borrow().get(name) {
                    Some(Some(known)) => return Ok(known.clone()),
                    Some(None) => return Ok(Value::Unknown),
                    None => {}
                }
                if self.depth > CALLS {
                    return Ok(Value::Unknown);
                }
                class.known.borrow_mut().insert(name.to_owned(), None);
                self.depth += 1;
                let names = Names::within(class.scope.clone());
                let mut frame = Frame::new(self, class.module, Rc::clone(&class.found), names);
                frame.body = Some(owner);
                let value = evaluate(class.module, node, &mut frame);
                self.depth -= 1;
                let value = value?;
                class.known.borrow_mut().insert(name.to_owned(), Some(value.clone()));
                Ok(value)
            }
        }
    }

    /// `object.name`
    pub(super) fn attribute(&mut self, object: &Value, name: &str) -> Result<Value, Spent> {
        // Members of an Enum are their values here.
        if matches!(object, Value::Int(_) | Value::Text(_) | Value::Float(_)) && name == "value" {
            return Ok(object.clone());
        }
        match self.thing(object) {
            Some(Thing::Outside(full)) if name == "__name__" => Ok(Value::text(full.rsplit('.').next().unwrap_or(""))),
            Some(Thing::Function(function)) if name == "__name__" => {
                let named = function.node.child_by_field_name("name");
                Ok(named.map_or(Value::Unknown, |name| Value::text(function.module.slice(name))))
            }
            Some(Thing::Outside(full)) => {
                let full = format!("{full}.{name}");
                Ok(super::outside::constant(&full).unwrap_or_else(|| self.make(Thing::Outside(full.into()))))
            }
            Some(Thing::File(found, module)) => {
                let (found, module) = (Rc::clone(found), *module);
                let inside = self.global(&found, module, name)?;
                if !matches!(self.thing(&inside), Some(Thing::Outside(full)) if full.starts_with("builtins.")) {
                    return Ok(inside);
                }
                let file = self.library.imports.file_within(&found, name);
                Ok(match file.and_then(|file| Some((self.library.keep(&file)?, file))) {
                    Some((module, file)) => self.make(Thing::File(Rc::new(file), module)),
                    None => Value::Unknown,
                })
            }
            Some(Thing::Class(class)) => {
                let class = Rc::clone(class);
                if matches!(name, "__name__" | "__qualname__") {
                    return Ok(Value::text(class.name.rsplit('.').next().unwrap_or("")));
                }
                let id = class.order.first().copied().unwrap_or_default();
                match self.member(id, None, name) {
                    Some(member) => self.value_of_member(member, name, object),
                    None => Ok(Value::Unknown),
                }
            }
            Some(Thing::Super(of, after)) => {
                let (of, after) = (of.clone(), *after);
                let class = self.class_of(&of);
                let member = class.and_then(|class| self.member(class, Some(after), name));
                match member {
                    Some(member) => self.value_of_member(member, name, &of),
                    None => Ok(Value::Unknown),
                }
            }
            Some(Thing::Object(_)) => self.attribute_of_object(object, name),
            Some(Thing::Partial(function, given)) => match name {
                "func" => Ok(function.clone()),
                "args" => {
                    let given = given.positional.clone();
                    Ok(self.tuple(given))
                }
                "keywords" => {
                    let given = given.named.clone();
                    Ok(self.dict(given.into_iter().map(|(name, value)| (Value::text(&name), value)).collect()))
                }
                _ => Ok(Value::Unknown),
            },
            Some(Thing::Dict(pairs)) => {
                let found = pairs.iter().find(|(key, _)| matches!(key, Value::Text(key) if **key == *name));
                Ok(found.map_or(Value::Unknown, |(_, value)| value.clone()))
            }
            _ => Ok(Value::Unknown),
        }
    }

    fn attribute_of_object(&mut self, value: &Value, name: &str) -> Result<Value, Spent> {
        let Some(object) = self.object(value) else { return Ok(Value::Unknown) };
        let (class, open) = (object.class, object.open);
        if let Some(field) = object.fields.get(name) {
            return Ok(field.clone());
        }
        if let Some(part) = &object.part {
            if let Some(child) = part.children.get(name) {
                return Ok(child.clone());
            }
            let changed = part.changed.iter().rev().chain(&part.arguments).find(|(known, _)| known == name);
            if let Some((_, value)) = changed.filter(|_| part.constructor.is_some()) {
                return Ok(value.clone());
            }
        }
        match name {
            "__class__" => return Ok(class.map_or(Value::Unknown, Value::Thing)),
            "training" => return Ok(Value::Bool(true)),
            "_modules" | "__dict__" if object.part.is_some() => {
                let children = object.part.iter().flat_map(|part| &part.children);
                let pairs = children.map(|(name, value)| (Value::text(name), value.clone())).collect();
                return Ok(self.make(Thing::Dict(pairs)));
            }
            _ => {}
        }
        let member = class.and_then(|class| self.member(class, None, name));
        match member {
            Some(member) if !open || matches!(member.1, Member::Method(..)) => {
                self.value_of_member(member, name, value)
            }
            _ => Ok(Value::Unknown),
        }
    }

    /// `object.name = value`
    pub(super) fn set_attribute(&mut self, object: &Value, name: &str, value: Value) {
        let module = self.part(&value).is_some();
        let tensor = matches!(self.thing(&value), Some(Thing::Tensor(true)));
        let hole = matches!(value, Value::Unknown | Value::Object | Value::Symbol(_));
        match self.thing_mut(object) {
            Some(Thing::Object(object)) => {
                let Some(part) = object.part.as_deref_mut() else {
                    object.fields.insert(name.to_owned(), value);
                    return;
                };
                part.holes.retain(|known| known != name);
                if hole {
                    part.holes.push(name.to_owned());
                }
                if module {
                    object.fields.shift_remove(name);
                    part.children.insert(name.to_owned(), value);
                    return;
                }
                part.children.shift_remove(name);
                if tensor && !part.tensors.iter().any(|known| known == name) {
                    part.tensors.push(name.to_owned());
                }
                if object.class.is_none() || part.constructor.is_some() {
                    part.changed.push((name.to_owned(), value));
                } else {
                    object.fields.insert(name.to_owned(), value);
                }
            }
            Some(Thing::Dict(pairs)) => {
                pairs.retain(|(key, _)| !matches!(key, Value::Text(key) if **key == *name));
                pairs.push((Value::text(name), value));
            }
            Some(Thing::Class(class)) => {
                class.known.borrow_mut().insert(name.to_owned(), Some(value));
            }
            _ => {}
        }
    }

    /// A module of torch's.
    pub(super) fn module(&mut self, part: Part) -> Value {
        self.make(Thing::Object(Object { part: Some(Box::new(part)), ..Object::default() }))
    }

    /// The kind of a container that a class is or derives from.
    pub(super) fn kind_of(outside: &[String]) -> Kind {
        let is = |name: &str| {
            outside.iter().any(|base| base.starts_with("torch.nn.") && base.rsplit('.').next() == Some(name))
        };
        match () {
            () if is("Sequential") => Kind::Sequential,
            () if is("ModuleList") => Kind::List,
            () if is("ModuleDict") => Kind::Dict,
            () => Kind::Own,
        }
    }
}

/// A function, or a file's own statements, being evaluated.
pub(super) struct Frame<'t, 'm, 'l> {
    pub machine: &'m mut Machine<'t, 'l>,
    pub module: &'t Module,
    pub found: Rc<Found>,
    pub names: Scope<'t>,
    /// The class that the function is a method of, …
    pub owner: Option<Id>,
    /// … and what it is called on.
    pub receiver: Option<Value>,
    /// The class whose body this is.
    pub body: Option<Id>,
    /// The line of the call that is being made.
    pub line: usize,
    /// Where it begins.
    pub at: usize,
}

impl<'t, 'm, 'l> Frame<'t, 'm, 'l> {
    pub(super) fn new(
        machine: &'m mut Machine<'t, 'l>,
        module: &'t Module,
        found: Rc<Found>,
        names: Scope<'t>,
    ) -> Frame<'t, 'm, 'l> {
        Frame { machine, module, found, names, owner: None, receiver: None, body: None, line: 0, at: 0 }
    }

    pub(super) fn lookup(&mut self, name: &'t str) -> Result<Value, Spent> {
        if let Some(value) = self.names.get(name) {
            return Ok(value);
        }
        if let Some(owner) = self.body
            && let Some(class) = self.machine.class(owner)
            && let Some(member) = class.shape.members.get(name)
        {
            return self.machine.value_of_member((owner, *member), name, &Value::Thing(owner));
        }
        let found = Rc::clone(&self.found);
        self.machine.global(&found, self.module, name)
    }

    pub(super) fn place(&self) -> usize {
        std::ptr::from_ref(self.module) as usize
    }
}
