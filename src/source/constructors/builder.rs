//! One constructor after the other, as they call each other: their arguments, and the modules that they build.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tree_sitter::Node;

use super::arguments::{Arguments, Rest, parameters};
use super::{Built, Modules, dotted, own_name, registered, wrapped};
use crate::registry::constructors::{Constructor, constructor};
use crate::source::imports::Imports;
use crate::source::literals::{self, Scope, Values, plain_string};
use crate::source::locate::Found;
use crate::source::python::Module;
use crate::source::reach::is_super;

/// Modules that are followed, and how deep they are nested.
const MODULES: usize = 10_000;
pub(super) const DEPTH: usize = 16;
/// Turns of a comprehension that are followed.
const TURNS: i64 = 1_024;
/// Conditions within one another that are followed; Python allows a hundred blocks.
pub(super) const CONDITIONS: usize = 100;
/// Steps for a module that is built.
const BUILT: usize = 50;

/// The key for a value that is not a value, but a class, or what wraps one, under another name.
pub(super) const CLASS: &str = "__class__";
/// What paths of modules begin with that a name of a function stands for: no module of the model is called so.
const LOCAL: &str = "\u{1}";

/// Constants of a class and its bases, and of a file.
type Constants = Rc<(Values, Arc<Values>)>;

/// Follows constructors from the root's down, and lists what they build.
pub(super) struct Builder<'a> {
    pub(super) imports: Imports<'a>,
    families: HashMap<(usize, String), Rc<Vec<Found>>>,
    /// The names of the class that is built and of the file with its constructor, from `Place` and the receiver.
    constants: HashMap<(usize, usize, String), Constants>,
    pub(super) modules: Modules,
    /// [`Root::counts`](super::Root::counts)
    counts: &'a HashMap<String, usize>,
    /// Functions that were begun: the names of each stand for modules of their own.
    frames: usize,
}

/// Where a constructor is read.
pub(super) struct Place<'p> {
    /// Path of the module that it makes.
    pub path: &'p str,
    pub family: &'p [Found],
    /// The member of the family whose constructor it is.
    pub member: usize,
    pub depth: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(imports: Imports<'a>, counts: &'a HashMap<String, usize>) -> Builder<'a> {
        let (families, constants) = (HashMap::new(), HashMap::new());
        Builder { imports, families, constants, modules: Modules::new(), counts, frames: 0 }
    }

    /// List a module that is built there.
    pub(super) fn insert(
        &mut self,
        path: &str,
        class: String,
        constructor: Option<&'static Constructor>,
        arguments: Map<String, Value>,
        (found, line): (&Found, usize),
    ) {
        found.module.budget().burn(BUILT);
        let built = Built { class, constructor, arguments, file: found.file.clone(), line };
        self.modules.insert(path.to_owned(), built);
    }

    fn family(&mut self, class: &Found) -> Rc<Vec<Found>> {
        let key = (std::ptr::from_ref::<Module>(&class.module) as usize, class.name.clone());
        if let Some(known) = self.families.get(&key) {
            return Rc::clone(known);
        }
        let family = Rc::new(self.imports.family(class.clone()));
        self.families.insert(key, Rc::clone(&family));
        family
    }

    pub(super) fn constants(&mut self, place: &Place<'_>, found: &Found, receiver: &str) -> Constants {
        let key = (place.family.as_ptr() as usize, place.member, receiver.to_owned());
        let read = || Rc::new((class_constants(place.family, receiver), found.module.constants()));
        Rc::clone(self.constants.entry(key).or_insert_with(read))
    }

    /// Read the constructor of a class as it is called for the module at `path`.
    pub(super) fn construct(&mut self, path: &str, class: &Found, arguments: Arguments, depth: usize) {
        let family = self.family(class);
        self.initialise(&Place { path, family: &family, member: 0, depth }, arguments);
    }

    /// The `__init__` of the first member from `place.member` on that has one.
    pub(super) fn initialise(&mut self, place: &Place<'_>, arguments: Arguments) {
        if place.depth > DEPTH {
            return;
        }
        let init = |found: &Found| found.module.class(&found.name).is_some_and(|it| it.method("__init__").is_some());
        if place.family.first().is_some_and(|own| own.module.budget().is_spent()) {
            return;
        }
        let Some(member) = (place.member..place.family.len()).find(|at| place.family.get(*at).is_some_and(init)) else {
            return self.as_base(place, arguments);
        };
        let Some(found) = place.family.get(member) else { return };
        let module = Arc::clone(&found.module);
        let Some(init) = module.class(&found.name).and_then(|class| class.method("__init__")) else { return };
        let place = Place { member, ..*place };
        let receiver = module.receiver(init.node).unwrap_or("self");
        let constants = self.constants(&place, found, receiver);
        let outer = [&constants.0, &constants.1];
        let (mut values, rest) = parameters(&module, init.node, arguments, outer, true);
        let Some(body) = init.node.child_by_field_name("body") else { return };
        let locals = self.frame();
        let reader = Reader { module: &module, found, receiver, outer, place: &place, rest, locals: &locals };
        for statement in body.named_children(&mut body.walk()) {
            self.statement(&reader, statement, &mut values, 0);
        }
        self.remove(&locals);
        self.keep(place.path, receiver, values);
    }

    /// A path for the modules that the names of one more function stand for.
    pub(super) fn frame(&mut self) -> String {
        self.frames += 1;
        format!("{LOCAL}{}", self.frames)
    }

    /// Numbers, strings and tuples that a class of the source keeps in attributes of `self`.
    fn keep(&mut self, path: &str, receiver: &str, values: Values) {
        let Some(built) = self.modules.get_mut(path).filter(|built| built.constructor.is_none()) else { return };
        for (name, value) in values {
            let own = name.strip_prefix(receiver).and_then(|rest| rest.strip_prefix('.'));
            if let (Some(own), Some(value)) = (own, value)
                && !value.is_object()
            {
                built.arguments.entry(own).or_insert(value);
            }
        }
    }

    /// The class inherits its constructor from a layer of torch: its arguments are that layer's.
    fn as_base(&mut self, place: &Place<'_>, arguments: Arguments) {
        let bases = place.family.iter().flat_map(|found| {
            let class = found.module.class(&found.name);
            class.map_or_else(Vec::new, |class| class.bases.iter().map(|base| found.module.resolve(base)).collect())
        });
        let Some(known) = bases.into_iter().find_map(|base| constructor(&base)) else { return };
        let Some(built) = self.modules.get_mut(place.path) else { return };
        let (given, complete) = arguments.by_name(known.arguments.iter().map(|argument| argument.name.clone()));
        (built.constructor, built.arguments) = (Some(known), known.attributes(given, complete));
    }

    pub(super) fn statement(&mut self, reader: &Reader<'_>, statement: Node<'_>, values: &mut Values, depth: usize) {
        let module = reader.module;
        if !module.budget().burn(1) {
            return;
        }
        if statement.kind() == "if_statement"
            && depth < CONDITIONS
            && let Some(taken) = taken(&reader.scope(values), statement)
        {
            let Some(block) = taken else { return };
            for statement in block.named_children(&mut block.walk()) {
                self.statement(reader, statement, values, depth + 1);
            }
            return;
        }
        let inner = statement.named_child(0).filter(|_| statement.kind() == "expression_statement");
        let Some(inner) = inner else {
            // A condition or a loop: what it assigns is not known.
            literals::forget(module, statement, values);
            module.preorder(statement, |node, _| {
                let left = literals::targets(node);
                let target = left.and_then(|left| own_name(module, left, reader.receiver));
                if let Some(name) = target.or_else(|| registered(module, node).map(|(name, _)| name)) {
                    self.remove(&join(reader.place.path, name));
                } else if let Some(left) = left.filter(|left| left.kind() == "identifier") {
                    self.remove(&join(reader.locals, module.slice(left)));
                }
                true
            });
            return;
        };
        match inner.kind() {
            "assignment" => self.assignment(reader, inner, values),
            "call" => self.called(reader, inner, values),
            _ => literals::forget(module, statement, values),
        }
    }

    fn assignment(&mut self, reader: &Reader<'_>, assignment: Node<'_>, values: &mut Values) {
        let sides = (assignment.child_by_field_name("left"), assignment.child_by_field_name("right"));
        let (Some(left), Some(right)) = sides else { return };
        if !matches!(left.kind(), "identifier" | "attribute") || right.kind() == "assignment" {
            return literals::forget(reader.module, assignment, values);
        }
        let own = own_name(reader.module, left, reader.receiver).map(|name| join(reader.place.path, name));
        let local = (left.kind() == "identifier").then(|| join(reader.locals, reader.module.slice(left)));
        if let Some(path) = own.or(local) {
            // `self.conv = weight_norm(self.conv)` leaves what is there.
            if self.path_of(reader, wrapped::core(reader.module, right)).as_ref() != Some(&path) {
                self.remove(&path);
                self.module(reader, &path, right, values, reader.place.depth);
            }
            self.forget_changed(reader, wrapped::core(reader.module, right), values);
        }
        let class = self.chosen(reader, right, values, 0);
        let value = class.map(|class| json!({ CLASS: class })).or_else(|| reader.scope(values).value(right));
        // `config.is_decoder = False`
        let object = left.child_by_field_name("object").map_or("", |object| reader.module.slice(object));
        if let Some(Some(Value::Object(fields))) = values.get_mut(object)
            && let Some(name) = left.child_by_field_name("attribute").map(|name| reader.module.slice(name))
        {
            match value.clone().filter(literals::is_bearable) {
                Some(value) => fields.insert(name.to_owned(), value),
                None => fields.remove(name),
            };
        }
        values.insert(reader.module.slice(left).to_owned(), value);
    }

    /// What a method of `self` that is called may set.
    fn forget_changed(&self, reader: &Reader<'_>, call: Node<'_>, values: &mut Values) {
        let function = call.child_by_field_name("function").filter(|_| call.kind() == "call");
        let Some(name) = function.and_then(|it| own_name(reader.module, it, reader.receiver)) else { return };
        let methods = reader.place.family.iter().filter_map(|found| Some((found, found.module.class(&found.name)?)));
        if let Some((found, method)) = methods.filter_map(|(found, class)| Some((found, class.method(name)?))).next() {
            let (mut changed, own) = (Values::new(), format!("{}.", reader.receiver));
            if let Some(body) = method.node.child_by_field_name("body") {
                literals::forget(&found.module, body, &mut changed);
            }
            values.extend(changed.into_iter().filter(|(name, _)| name.starts_with(&own)));
        }
    }

    /// The class that an expression names, by a condition that is known if need be.
    pub(super) fn chosen(&self, reader: &Reader<'_>, node: Node<'_>, values: &Values, depth: usize) -> Option<String> {
        match node.kind() {
            "parenthesized_expression" if depth < DEPTH => self.chosen(reader, node.named_child(0)?, values, depth + 1),
            "conditional_expression" if depth < DEPTH => {
                let arm = |at: u32| self.chosen(reader, node.named_child(at)?, values, depth + 1);
                match reader.scope(values).holds(node.named_child(1)?) {
                    Some(holds) => arm(if holds { 0 } else { 2 }),
                    // Either norm leaves the layer what it is.
                    None => arm(0).filter(|name| {
                        let leaves = |name: &str| wrapped::leaves(&reader.module.resolve(name));
                        leaves(name) && arm(2).is_some_and(|other| leaves(&other))
                    }),
                }
            }
            // `lambda x: weight_norm(x)`
            "lambda" if depth < DEPTH => {
                let body = node.child_by_field_name("body")?;
                let inner = reader.module.slice(wrapped::core(reader.module, body));
                let parameter = node.child_by_field_name("parameters").map(|it| reader.module.slice(it));
                let own = parameter == Some(inner) && body.kind() == "call";
                own.then(|| self.chosen(reader, body.child_by_field_name("function")?, values, depth + 1))?
            }
            "identifier" | "attribute" => {
                let written = reader.module.slice(node);
                let root = written.split('.').next().unwrap_or(written);
                let full = || reader.module.resolve(written);
                let known = !values.contains_key(root)
                    && (constructor(&full()).is_some()
                        || wrapped::leaves(&full())
                        || self.imports.class(reader.found, written).is_some());
                known.then(|| written.to_owned())
            }
            _ => None,
        }
    }

    fn called(&mut self, reader: &Reader<'_>, call: Node<'_>, values: &mut Values) {
        let Place { path, family, member, depth } = *reader.place;
        let function = call.child_by_field_name("function");
        let object = function.and_then(|function| function.child_by_field_name("object"));
        let name = function.and_then(|function| function.child_by_field_name("attribute"));
        let named = name.map_or("", |name| reader.module.slice(name));
        if named == "__init__" && object.is_some_and(|object| is_super(reader.module, object)) {
            let arguments = Arguments::read(reader, values, call);
            self.initialise(&Place { path, family, member: member + 1, depth: depth + 1 }, arguments);
        } else if let Some(list) =
            object.filter(|_| named == "append").and_then(|it| own_name(reader.module, it, reader.receiver))
        {
            self.appended(reader, list, call, values);
        } else if let Some((name, value)) = registered(reader.module, call) {
            let own = object.is_none_or(|object| reader.module.slice(object) == reader.receiver);
            let holder = if own { Some(path.to_owned()) } else { object.and_then(|it| self.path_of(reader, it)) };
            let Some(path) = holder.map(|holder| join(&holder, name)) else { return };
            self.remove(&path);
            self.module(reader, &path, value, values, depth);
        } else if object.is_some_and(|object| reader.module.slice(object) == reader.receiver) {
            // A method may set anything.
            let own = format!("{}.", reader.receiver);
            reader.module.budget().burn(values.len());
            values.retain(|name, _| !name.starts_with(&own));
        }
    }

    /// What was built at a path is not what is there in the end.
    pub(super) fn remove(&mut self, path: &str) {
        let below = format!("{path}.");
        self.modules.remove(path);
        let paths = self.modules.range(below.clone()..).map(|(path, _)| path);
        let gone: Vec<String> = paths.take_while(|path| path.starts_with(&below)).cloned().collect();
        for path in &gone {
            self.modules.remove(path);
        }
    }

    /// The module that an expression makes, and those within it.
    pub(super) fn module(&mut self, reader: &Reader<'_>, path: &str, node: Node<'_>, values: &Values, depth: usize) {
        if depth > DEPTH || !reader.module.budget().burn(1) {
            return;
        }
        let Some(function) = node.child_by_field_name("function").filter(|_| node.kind() == "call") else {
            return self.named(reader, path, node, values, depth);
        };
        let written = reader.module.slice(function);
        // `kind = Attention if … else Linear`, then `kind(width)`
        let alias = values.get(written).and_then(|value| value.as_ref()?.get(CLASS)?.as_str().map(str::to_owned));
        let written = alias.as_deref().unwrap_or(written);
        let full = reader.module.resolve(written);
        let root = written.split('.').next().unwrap_or(written);
        let within = wrapped::within(reader.module, node, if alias.is_some() { &full } else { "" });
        if let Some(inner) = within.filter(|_| alias.is_some() || !values.contains_key(root)) {
            return self.module(reader, path, inner, values, depth + 1);
        }
        if self.modules.len() >= MODULES || values.contains_key(root) {
            return;
        }
        let place = (reader.found, node.start_position().row + 1);
        if let Some(kind) = container(&full) {
            self.insert(path, format!("torch.nn.modules.container.{kind}"), None, Map::new(), place);
            return self.elements(reader, path, node, values, depth + 1);
        }
        let arguments = Arguments::read(reader, values, node);
        if let Some(known) = constructor(&full) {
            let (given, complete) = arguments.by_name(known.arguments.iter().map(|argument| argument.name.clone()));
            let given = known.attributes(given, complete);
            return self.insert(path, known.class.clone(), Some(known), given, place);
        }
        if let Some(class) = self.imports.class(reader.found, written) {
            let name = dotted(self.imports.sources(), &class);
            self.insert(path, name, None, Map::new(), place);
            return self.construct(path, &class, arguments, depth + 1);
        }
        self.helper(reader, path, (node, written), values, arguments, depth + 1);
    }

    /// The module that a name stands for, or one of two.
    fn named(&mut self, reader: &Reader<'_>, path: &str, node: Node<'_>, values: &Values, depth: usize) {
        match node.kind() {
            "parenthesized_expression" => {
                if let Some(inner) = node.named_child(0) {
                    self.module(reader, path, inner, values, depth + 1);
                }
            }
            "conditional_expression" => {
                let holds = node.named_child(1).and_then(|condition| reader.scope(values).holds(condition));
                if let Some(arm) = holds.and_then(|holds| node.named_child(if holds { 0 } else { 2 })) {
                    self.module(reader, path, arm, values, depth + 1);
                }
            }
            _ => {
                if let Some(from) = self.path_of(reader, node) {
                    self.copy(reader, &from, path);
                }
            }
        }
    }

    /// Where the module is kept that a name, or an attribute of `self`, stands for.
    fn path_of(&self, reader: &Reader<'_>, node: Node<'_>) -> Option<String> {
        match node.kind() {
            "identifier" => Some(join(reader.locals, reader.module.slice(node))),
            "attribute" => Some(join(reader.place.path, own_name(reader.module, node, reader.receiver)?)),
            _ => None,
        }
    }

    /// Let the module at one path be at another one too.
    fn copy(&mut self, reader: &Reader<'_>, from: &str, to: &str) {
        let below = format!("{from}.");
        if from == to || to.starts_with(&below) {
            return;
        }
        let paths = self.modules.range(from.to_owned()..).take_while(|(path, _)| path.starts_with(from));
        let taken = paths.filter(|(path, _)| *path == from || path.starts_with(&below));
        let taken: Vec<(String, Built)> = taken
            .map(|(path, built)| (format!("{to}{}", path.get(from.len()..).unwrap_or("")), built.clone()))
            .collect();
        for (path, built) in taken {
            if reader.module.budget().burn(BUILT) && self.modules.len() < MODULES {
                self.modules.insert(path, built);
            }
        }
    }

    /// What a container is made of: arguments, a list, a list comprehension over a range, pairs of name and module.
    fn elements(&mut self, reader: &Reader<'_>, path: &str, call: Node<'_>, values: &Values, depth: usize) {
        let Some(list) = call.child_by_field_name("arguments") else { return };
        let only = list.named_child(0).filter(|_| list.named_child_count() == 1);
        let only =
            only.map(|node| if node.kind() == "list_splat" { node.named_child(0).unwrap_or(node) } else { node });
        match only {
            Some(node) if node.kind() == "list_comprehension" => self.turns(reader, path, node, values, depth),
            Some(node) if matches!(node.kind(), "list" | "tuple") => self.row(reader, path, node, values, depth),
            Some(node) if node.kind() == "dictionary" => self.pairs(reader, path, node, values, depth),
            Some(node) if reader.module.slice(node).starts_with("OrderedDict(") => {
                if depth <= DEPTH {
                    self.elements(reader, path, node, values, depth + 1);
                }
            }
            _ => self.row(reader, path, list, values, depth),
        }
    }

    fn row(&mut self, reader: &Reader<'_>, path: &str, list: Node<'_>, values: &Values, depth: usize) {
        let mut cursor = list.walk();
        let children = list.named_children(&mut cursor).filter(|child| !child.is_extra());
        for (number, child) in children.enumerate() {
            match child.kind() {
                "list_splat" => break,
                "tuple" => self.pair(reader, path, (child.named_child(0), child.named_child(1)), values, depth),
                _ => self.module(reader, &join(path, &number.to_string()), child, values, depth),
            }
        }
    }

    fn pairs(&mut self, reader: &Reader<'_>, path: &str, dictionary: Node<'_>, values: &Values, depth: usize) {
        for pair in dictionary.named_children(&mut dictionary.walk()) {
            let pair = (pair.child_by_field_name("key"), pair.child_by_field_name("value"));
            self.pair(reader, path, pair, values, depth);
        }
    }

    fn pair(
        &mut self,
        reader: &Reader<'_>,
        path: &str,
        pair: (Option<Node<'_>>, Option<Node<'_>>),
        values: &Values,
        depth: usize,
    ) {
        if let (Some(name), Some(module)) = pair
            && let Some(name) = plain_string(reader.module, name)
        {
            self.module(reader, &join(path, name), module, values, depth);
        }
    }

    /// `[Block(width) for _ in range(4)]`, `[Block(width) for width in (8, 16)]`. Where it is not known how many there are, the
    /// file tells.
    fn turns(&mut self, reader: &Reader<'_>, path: &str, node: Node<'_>, values: &Values, depth: usize) {
        let (Some(body), Some(clause)) = (node.child_by_field_name("body"), node.named_child(1)) else { return };
        let (Some(left), Some(right)) = (clause.child_by_field_name("left"), clause.child_by_field_name("right"))
        else {
            return;
        };
        if node.named_child_count() != 2 {
            return;
        }
        let range = right.child_by_field_name("function").is_some_and(|it| reader.module.slice(it) == "range");
        let arguments = Arguments::read(reader, values, right);
        let known = match (range, reader.scope(values).value(right), arguments.positional.as_slice()) {
            (true, _, [Some(count)]) => {
                count.as_i64().filter(|count| *count <= TURNS).map(|count| (0..count).map(Value::from).collect())
            }
            (false, Some(Value::Array(elements)), _) => Some(elements),
            _ => None,
        };
        let elements: Vec<Option<Value>> = match known {
            Some(known) => known.into_iter().map(Some).collect(),
            None => {
                (0..self.counts.get(path).copied().unwrap_or(0)).map(|turn| range.then(|| Value::from(turn))).collect()
            }
        };
        reader.module.budget().burn(values.len());
        let mut values = values.clone();
        for (turn, element) in elements.into_iter().enumerate() {
            if self.modules.len() >= MODULES {
                break;
            }
            reader.module.preorder(left, |name, _| {
                if name.kind() == "identifier" {
                    let whole = element.clone().filter(|_| left.kind() == "identifier");
                    values.insert(reader.module.slice(name).to_owned(), whole);
                }
                true
            });
            self.module(reader, &join(path, &turn.to_string()), body, &values, depth);
        }
    }

    /// `self.layers.append(Block())`
    fn appended(&mut self, reader: &Reader<'_>, list: &str, call: Node<'_>, values: &Values) {
        let Some(module) = call.child_by_field_name("arguments").and_then(|arguments| arguments.named_child(0)) else {
            return;
        };
        let path = join(reader.place.path, list);
        let below = format!("{path}.");
        let numbers = self.modules.range(below.clone()..).take_while(|(at, _)| at.starts_with(&below));
        let numbers = numbers.filter_map(|(at, _)| at.get(below.len()..)?.parse::<usize>().ok());
        let numbers = numbers.inspect(|_| {
            reader.module.budget().burn(1);
        });
        let next = numbers.max().map_or(0, |last| last + 1);
        self.module(reader, &join(&path, &next.to_string()), module, values, reader.place.depth);
    }
}

/// The constructor or function that is read, and what its names mean outside of it.
pub(super) struct Reader<'r> {
    pub module: &'r Module,
    pub found: &'r Found,
    /// `self`; empty in a function that is no method.
    pub receiver: &'r str,
    pub outer: [&'r Values; 2],
    pub place: &'r Place<'r>,
    /// What `*args` and `**kwargs` stand for.
    pub rest: Rest,
    /// The path of the modules that names stand for.
    pub locals: &'r str,
}

impl<'r> Reader<'r> {
    pub(super) fn scope<'s>(&self, values: &'s Values) -> Scope<'s>
    where
        'r: 's,
    {
        let [class, file] = self.outer;
        Scope { module: self.module, values: vec![values, class, file] }
    }
}

/// Constants in the bodies of a class and its bases, as `self.NAME` and as `Class.NAME`.
fn class_constants(family: &[Found], receiver: &str) -> Values {
    let mut values = Values::new();
    for found in family {
        let Some(body) = found.module.class(&found.name).and_then(|it| it.node.child_by_field_name("body")) else {
            continue;
        };
        let file = found.module.constants();
        for (name, value) in literals::constants(&found.module, body, &[&file]) {
            values.entry(format!("{receiver}.{name}")).or_insert_with(|| value.clone());
            values.entry(format!("{}.{name}", found.name)).or_insert(value);
        }
    }
    values
}

/// The block of an `if` that runs, none where no condition holds and there is no `else`; `None` where that is not known.
pub(super) fn taken<'t>(scope: &Scope<'_>, statement: Node<'t>) -> Option<Option<Node<'t>>> {
    if scope.holds(statement.child_by_field_name("condition")?)? {
        return Some(statement.child_by_field_name("consequence"));
    }
    let mut cursor = statement.walk();
    for clause in statement.children_by_field_name("alternative", &mut cursor) {
        match clause.kind() {
            "elif_clause" if scope.holds(clause.child_by_field_name("condition")?)? => {
                return Some(clause.child_by_field_name("consequence"));
            }
            "elif_clause" => {}
            _ => return Some(clause.child_by_field_name("body")),
        }
    }
    Some(None)
}

fn container(class: &str) -> Option<&str> {
    let name = class.strip_prefix("torch.nn.")?;
    matches!(name, "Sequential" | "ModuleList" | "ModuleDict").then_some(name)
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
