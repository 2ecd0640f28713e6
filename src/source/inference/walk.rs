//! One module's forward, followed with what is known of the module: which of its code runs, and how it calls the modules below it.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use tree_sitter::Node;

use super::frame::Frame;
use super::parameters::{self, Trust};
use super::seen::Places;
use super::world::{Code, World};
use crate::model::{Evidence, ModuleId};
use crate::source::evaluate::{Arguments, Callee, Runs, Spent, Value};
use crate::source::literals;
use crate::source::python::{Method, Module};
use crate::source::reach::{Reached, is_super};

/// Calls within one another that are followed.
pub(super) const DEPTH: usize = 24;
/// Ways to call one function that are told apart; after them nothing is known of its arguments.
const WAYS: usize = 12;
/// Kinds of modules that one call may mean, where what it gives is followed.
const KINDS: usize = 32;
/// Modules that one path may stand for.
const MODULES: usize = 4_096;

/// How certainly each part of a file runs: the largest for each range of bytes.
pub(super) type Marks = HashMap<(usize, usize), Runs>;

/// How a forward calls the modules at a path below its own.
#[derive(Debug, Clone)]
pub(super) struct Called {
    pub path: Rc<str>,
    pub arguments: Arguments,
    pub runs: Runs,
}

/// From which byte on a file runs how certainly, in order.
pub(super) type Stretches = Vec<(usize, Runs)>;

/// What following a forward has shown.
#[derive(Debug)]
pub(super) struct Outcome {
    /// By file.
    pub stretches: HashMap<*const Module, Stretches>,
    pub calls: Vec<Called>,
    /// What it gives.
    pub value: Value,
    /// It certainly ends in an error: what was taken for known cannot be.
    pub contradicts: bool,
    /// How certainly code runs that was not come to.
    pub outside: Runs,
    /// What was seen of its ops.
    pub seen: Places,
    /// Calls were not followed to their end, since others were on the way: followed by itself it shows more.
    pub cut: bool,
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome {
            stretches: HashMap::new(),
            calls: Vec::new(),
            value: Value::Unknown,
            contradicts: false,
            outside: Runs::Never,
            seen: Places::new(),
            cut: false,
        }
    }
}

/// A function that is on the way.
type Function = (*const Module, usize);

/// One way in which a function was called, and what it gave.
struct Way {
    arguments: Arguments,
    runs: Runs,
    value: Value,
}

/// Following the forward of one module.
pub(super) struct Walk<'t, 'w> {
    pub world: &'w World<'t, 'w>,
    pub code: &'w Code<'t>,
    id: ModuleId,
    training: Value,
    /// Calls on the way to this module, where it is followed for what it gives to another one.
    nested: usize,
    pub outcome: Outcome,
    marks: HashMap<*const Module, Marks>,
    /// Functions on the way, and what they were called with.
    stack: Vec<(Function, Arguments)>,
    seen: HashMap<Function, Vec<Way>>,
    /// Attributes that methods on the way set: what they hold is not what was saved.
    changed: HashSet<String>,
}

impl<'t, 'w> Walk<'t, 'w> {
    /// Follow the forward of a module that is called with these arguments.
    pub(super) fn of(
        world: &'w World<'t, 'w>,
        (id, code): (ModuleId, &'w Code<'t>),
        training: Value,
        (arguments, trust): (&Arguments, Trust),
        nested: usize,
    ) -> Result<Outcome, Spent> {
        let changed = code.changed.clone();
        let (outcome, marks, stack, seen) = (Outcome::default(), HashMap::new(), Vec::new(), HashMap::new());
        let mut walk = Walk { world, code, id, training, nested, outcome, marks, stack, seen, changed };
        match code.lineage.entry() {
            Some(entry) => {
                walk.outcome.value = walk.run(entry, arguments, trust, Runs::Always)?.settled();
            }
            None if code.sequential => walk.outcome.value = walk.chain(arguments, Runs::Always)?,
            None => {}
        }
        let Walk { marks, mut outcome, .. } = walk;
        let outside = outcome.outside;
        outcome.stretches = marks.into_iter().map(|(file, marks)| (file, stretches(marks, outside))).collect();
        Ok(outcome)
    }

    /// Mark a part of a file.
    pub(super) fn mark(&mut self, module: &'t Module, node: Node<'t>, runs: Runs) {
        let marks = self.marks.entry(std::ptr::from_ref(module)).or_default();
        let known = marks.entry((node.start_byte(), node.end_byte())).or_insert(runs);
        *known = runs.max(*known);
    }

    /// Something of which is known too little runs, perhaps: whatever is below this path may be called from it.
    pub(super) fn escape(&mut self, path: &str) {
        let arguments = Arguments { more: true, ..Arguments::default() };
        let all = if path.is_empty() { "**".into() } else { path.into() };
        self.outcome.calls.push(Called { path: all, arguments, runs: Runs::Maybe });
    }

    pub(super) fn call_modules(&mut self, path: &str, arguments: Arguments, runs: Runs) {
        for value in arguments.positional.iter().chain(arguments.named.iter().map(|(_, value)| value)) {
            if let Value::Modules(handed) = value {
                self.escape(&handed.clone());
            }
        }
        self.outcome.calls.push(Called { path: path.into(), arguments: arguments.of_any_width(), runs });
    }

    /// All modules below this one, one after another, as Sequential has it; what the last one gives.
    fn chain(&mut self, arguments: &Arguments, runs: Runs) -> Result<Value, Spent> {
        let nested = self.nested + self.stack.len() + 1;
        let (calls, value) = self.world.chain(self.id, arguments, &self.training, nested)?;
        self.outcome.calls.extend(calls.into_iter().map(|called| Called { runs: called.runs.min(runs), ..called }));
        Ok(value)
    }

    /// What the modules at a path give when they are called with these arguments.
    fn given(&self, path: &str, arguments: &Arguments) -> Result<Value, Spent> {
        let mut kinds: Vec<ModuleId> = self.at(path).into_iter().map(|id| self.world.kind(id)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let depth = self.nested + self.stack.len() + 1;
        let followed = kinds.iter().filter(|id| self.world.is_followed(**id)).count();
        if depth >= DEPTH || kinds.is_empty() || followed > KINDS {
            return Ok(Value::Unknown);
        }
        let mut given: Option<Value> = None;
        for id in kinds {
            let value = self.world.given(id, arguments, &self.training, depth)?;
            let either = given.map_or(value.clone(), |before| before.or(value));
            if either == Value::Unknown {
                return Ok(Value::Unknown);
            }
            given = Some(either);
        }
        Ok(given.unwrap_or(Value::Unknown))
    }

    /// A function of the source, called; what it gives.
    pub(super) fn run(
        &mut self,
        reached: Reached<'t>,
        arguments: &Arguments,
        trust: Trust,
        runs: Runs,
    ) -> Result<Value, Spent> {
        let function = (std::ptr::from_ref(reached.module), reached.method.node.id());
        let arguments = &arguments.of_any_width();
        if self.nested + self.stack.len() >= DEPTH {
            // What it would have led to may run as well.
            self.outcome.cut = self.nested > 0;
            self.outcome.outside = Runs::Maybe;
            self.mark(reached.module, reached.method.node, Runs::Maybe);
            self.escape("");
            return Ok(Value::Unknown);
        }
        let anything = Arguments { more: true, ..Arguments::default() };
        // One that calls itself is followed once more, with anything.
        let mut before = self.stack.iter().filter(|(known, _)| *known == function).map(|(_, before)| before).peekable();
        let again = before.peek().is_some();
        if before.any(|before| before == arguments || *before == anything) {
            return Ok(Value::Unknown);
        }
        let ways = self.seen.entry(function).or_default();
        if let Some(known) = ways.iter().find(|way| way.runs >= runs && way.arguments == *arguments) {
            return Ok(known.value.clone());
        }
        let too_many = again || ways.len() >= WAYS;
        if too_many && let Some(known) = ways.iter().find(|way| way.runs >= runs && way.arguments == anything) {
            return Ok(known.value.clone());
        }
        let arguments = if too_many { &anything } else { arguments };
        self.stack.push((function, arguments.clone()));
        self.mark(reached.module, reached.method.node, runs);
        let value = self.body(reached, arguments, trust, runs);
        self.stack.pop();
        let value = value?;
        let way = Way { arguments: arguments.clone(), runs, value: value.clone() };
        self.seen.entry(function).or_default().push(way);
        Ok(value)
    }

    fn body(&mut self, reached: Reached<'t>, arguments: &Arguments, trust: Trust, runs: Runs) -> Result<Value, Spent> {
        let Reached { module, method, .. } = reached;
        let trust = if parameters::are_kept(module, &method) { trust } else { Trust::Nothing };
        let own = !parameters::is_static(module, &method);
        let receiver = module.receiver(method.node).filter(|_| own);
        let locals = parameters::bind(module, method.node, receiver.is_some(), arguments, trust);
        let Some(body) = method.node.child_by_field_name("body") else { return Ok(Value::Unknown) };
        let mut frame = Frame::new(self, reached, locals, runs);
        if let Some(receiver) = receiver {
            frame.set(receiver, Value::Modules("".into()));
        }
        let falls = frame.block(body)?;
        Ok(frame.result(falls))
    }

    /// The modules at a path below the one that is followed.
    pub(super) fn at(&self, path: &str) -> Vec<ModuleId> {
        self.world.below(self.id, path, MODULES)
    }

    /// An attribute of the modules at a path.
    pub(super) fn attribute(&mut self, path: &str, name: &'t str, runs: Runs) -> Result<Value, Spent> {
        if name == "training" {
            return Ok(self.training.clone());
        }
        let below = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let modules = self.at(path);
        let values: Vec<Value> = modules.iter().map(|id| self.held(*id, name, &below)).collect();
        let own = path.is_empty();
        if own && self.changed.contains(name) {
            return Ok(Value::Unknown);
        }
        let known = values.into_iter().reduce(Value::or).unwrap_or(Value::Unknown);
        if known != Value::Unknown || !own {
            return Ok(known);
        }
        if let Some(method) = self.code.lineage.method(0, name) {
            if parameters::is_property(method.module, &method.method) {
                return self.run(method, &Arguments::default(), Trust::All, runs);
            }
            // Handed on, to be called by somebody.
            if !matches!(name, "forward" | "__call__") {
                let anything = Arguments { more: true, ..Arguments::default() };
                self.run(method, &anything, Trust::Nothing, Runs::Maybe.min(runs))?;
            }
            return Ok(Value::Object);
        }
        let saved = self.world.model.modules.get(self.id).is_some_and(|module| module.evidence == Evidence::Exact);
        let constant = self.code.constants.get(name).filter(|_| saved || !self.code.assigned.contains(name));
        Ok(constant.cloned().unwrap_or(Value::Unknown))
    }

    /// What one module holds under a name: a module, a tensor, a value that was saved or built.
    fn held(&self, id: ModuleId, name: &str, below: &str) -> Value {
        let Some(module) = self.world.model.modules.get(id) else { return Value::Unknown };
        if self.world.model.child(id, name).is_some() {
            return Value::Modules(below.into());
        }
        if let Some(own) = self.own_tensor(id, name) {
            return own;
        }
        match (name, module.attributes.get(name), &self.world.config) {
            ("config", None | Some(serde_json::Value::Object(_)), Some(config)) => config.clone(),
            (_, Some(value), _) => Value::from_json(value),
            _ => Value::Unknown,
        }
    }

    /// Something that is called from a method of this owner.
    pub(super) fn called(
        &mut self,
        (module, owner): (&'t Module, usize),
        callee: &Callee<'t>,
        arguments: &Arguments,
        runs: Runs,
    ) -> Result<Option<Value>, Spent> {
        match callee {
            Callee::Name(name) => self.function(module, owner, *name, arguments, runs),
            Callee::Value(Value::Modules(path)) => {
                self.call_modules(path, arguments.clone(), runs);
                self.given(path, arguments).map(Some)
            }
            Callee::Value(_) => {
                self.hand_on(arguments);
                Ok(Some(Value::Unknown))
            }
            Callee::Method { object, name, .. } if object.kind() == "call" && is_super(module, *object) => {
                if let Some(method) = self.code.lineage.method(owner + 1, name) {
                    return self.run(method, arguments, Trust::All, runs).map(Some);
                }
                if *name == "forward" && self.code.sequential {
                    return self.chain(arguments, runs).map(Some);
                }
                Ok(Some(Value::Unknown))
            }
            Callee::Method { value: Value::Modules(path), name, .. } => {
                self.method(path, name, arguments, runs).map(Some)
            }
            Callee::Method { value: Value::None, .. } if runs == Runs::Always => {
                self.outcome.contradicts = true;
                Ok(Some(Value::Unknown))
            }
            Callee::Method { value, name, at, .. } => {
                self.hand_on(arguments);
                Ok(self.tensors(module, (value, name, *at), arguments))
            }
        }
    }

    /// Modules among the arguments of something that is not followed may be called by it.
    fn hand_on(&mut self, arguments: &Arguments) {
        for value in arguments.positional.iter().chain(arguments.named.iter().map(|(_, value)| value)) {
            if let Value::Modules(path) = value {
                self.escape(&path.clone());
            }
        }
    }

    fn function(
        &mut self,
        module: &'t Module,
        owner: usize,
        name: Node<'t>,
        arguments: &Arguments,
        runs: Runs,
    ) -> Result<Option<Value>, Spent> {
        let text = module.slice(name);
        if let Some(method) = module.function(text) {
            return self.run(Reached { owner, module, method }, arguments, Trust::All, runs).map(Some);
        }
        if text == "getattr"
            && let [Value::Modules(path), name, ..] = arguments.positional.as_slice()
            && !matches!(name, Value::Text(_))
        {
            // Any of them.
            self.escape(&if path.is_empty() { "*".to_owned() } else { format!("{path}.*") });
        }
        if matches!(
            text,
            "super"
                | "isinstance"
                | "len"
                | "hasattr"
                | "getattr"
                | "enumerate"
                | "zip"
                | "reversed"
                | "list"
                | "tuple"
                | "iter"
                | "id"
                | "type"
        ) {
            return Ok(None);
        }
        self.hand_on(arguments);
        let first = text.split('.').next().unwrap_or(text);
        if first != "torch" && !module.is_imported(first) {
            return Ok(if module.has_class(text) { Some(Value::Object) } else { None });
        }
        let full = module.resolve(text);
        let last = full.rsplit('.').next().unwrap_or(&full);
        if NEVER.contains(&last) {
            return Ok(Some(Value::Bool(false)));
        }
        if let Some(value) = self.torchs(module, name, &full, arguments) {
            return Ok(Some(value));
        }
        let computes = full.starts_with("torch.") && !last.starts_with("is_");
        Ok(Some(if computes { Value::Object } else { Value::Unknown }))
    }

    /// A method of the modules at a path.
    fn method(&mut self, path: &str, name: &'t str, arguments: &Arguments, runs: Runs) -> Result<Value, Spent> {
        if path.is_empty()
            && let Some(method) = self.code.lineage.method(0, name)
        {
            if parameters::is_property(method.module, &method.method) {
                self.hand_on(arguments);
                return self.run(method, &Arguments::default(), Trust::All, runs);
            }
            return self.run(method, arguments, Trust::All, runs);
        }
        let below: Rc<str> = if path.is_empty() { "*".into() } else { format!("{path}.*").into() };
        match name {
            "items" | "named_children" => {
                let pair = Value::sequence(vec![Value::Object, Value::Modules(below)]);
                return Ok(Value::Each(Rc::new(pair)));
            }
            "values" | "children" => return Ok(Value::Each(Rc::new(Value::Modules(below)))),
            "forward" | "__call__" => {
                self.call_modules(path, arguments.clone(), runs);
                return self.given(path, arguments);
            }
            name if HARMLESS.contains(&name) => return Ok(Value::Object),
            _ => {}
        }
        match self.attribute(path, name, runs)? {
            Value::Modules(called) => {
                self.call_modules(&called, arguments.clone(), runs);
                return self.given(&called, arguments);
            }
            // A method of its class, whose code is not followed from here.
            _ => {
                self.hand_on(arguments);
                self.escape(path);
                self.escape(&below);
            }
        }
        Ok(Value::Unknown)
    }

    /// What a container holds under an index.
    pub(super) fn element(&self, path: &str, index: &Value) -> Value {
        let name = match index {
            Value::Text(name) => Some((**name).to_owned()),
            Value::Int(number) => match self.at(path).as_slice() {
                &[one] => {
                    let count = self.world.model.children(one).count() as i64;
                    Some(if *number < 0 { number + count } else { *number }.to_string())
                }
                _ => Some(number.to_string()).filter(|_| *number >= 0),
            },
            _ => None,
        };
        let name = name.as_deref().filter(|name| !name.contains('.')).unwrap_or("*");
        Value::Modules(if path.is_empty() { name.into() } else { format!("{path}.{name}").into() })
    }

    /// A function of the file that is named and not called: somebody may call it.
    pub(super) fn mentioned(
        &mut self,
        module: &'t Module,
        owner: usize,
        method: Method<'t>,
        runs: Runs,
    ) -> Result<(), Spent> {
        let anything = Arguments { more: true, ..Arguments::default() };
        self.run(Reached { owner, module, method }, &anything, Trust::Nothing, runs.min(Runs::Maybe))?;
        Ok(())
    }

    /// A constant of the file.
    pub(super) fn constant(&self, module: &'t Module, name: &str) -> Value {
        let constants: std::sync::Arc<literals::Values> = module.constants();
        constants.get(name).and_then(Option::as_ref).map_or(Value::Unknown, Value::from_json)
    }
}

/// Marks lie within one another or apart, as parts of a tree do: what holds at a byte is what the innermost says.
fn stretches(marks: Marks, outside: Runs) -> Stretches {
    let mut marks: Vec<((usize, usize), Runs)> = marks.into_iter().collect();
    marks.sort_by_key(|((start, end), _)| (*start, std::cmp::Reverse(*end)));
    let (mut stretches, mut open): (Stretches, Vec<(usize, Runs)>) = (Vec::new(), Vec::new());
    let close = |stretches: &mut Stretches, open: &mut Vec<(usize, Runs)>, until: usize| {
        while let Some((end, _)) = open.pop_if(|(end, _)| *end <= until) {
            stretches.push((end, open.last().map_or(outside, |(_, around)| *around)));
        }
    };
    for ((start, end), runs) in marks {
        close(&mut stretches, &mut open, start);
        stretches.push((start, runs));
        open.push((end, runs));
    }
    close(&mut stretches, &mut open, usize::MAX);
    stretches
}

impl Arguments {
    /// One tensor, as Sequential hands on.
    pub(super) fn of_one() -> Arguments {
        Arguments { positional: vec![Value::Object], ..Arguments::default() }
    }
}

/// Functions that are false where a model just runs: nobody traces, scripts or exports it.
const NEVER: [&str; 15] = [
    "_is_tracing",
    "_get_tracing_state",
    "is_scripting",
    "is_tracing",
    "is_compiling",
    "is_dynamo_compiling",
    "is_exporting",
    "is_torchdynamo_compiling",
    "is_torchdynamo_exporting",
    "is_in_onnx_export",
    "is_torch_fx_proxy",
    "is_fx_tracing",
    "is_jit_tracing",
    "is_scriptable",
    "is_exportable",
];
/// Methods of torch's Module that call no forward.
const HARMLESS: [&str; 19] = [
    "parameters",
    "named_parameters",
    "buffers",
    "named_buffers",
    "state_dict",
    "train",
    "eval",
    "requires_grad_",
    "to",
    "keys",
    "size",
    "extra_repr",
    "register_buffer",
    "register_parameter",
    "get_parameter",
    "get_buffer",
    "zero_grad",
    "half",
    "__len__",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mark_holds() {
        let marks =
            [((10, 90), Runs::Always), ((20, 40), Runs::Never), ((30, 35), Runs::Maybe), ((40, 50), Runs::Maybe)];
        let stretches = stretches(marks.into_iter().collect(), Runs::Never);
        let at = |byte: usize| {
            let here = stretches.partition_point(|(start, _)| *start <= byte).checked_sub(1);
            here.map_or(Runs::Never, |here| stretches[here].1)
        };
        let expected = [
            (5, Runs::Never),
            (10, Runs::Always),
            (20, Runs::Never),
            (30, Runs::Maybe),
            (35, Runs::Never),
            (39, Runs::Never),
            (40, Runs::Maybe),
            (50, Runs::Always),
            (89, Runs::Always),
            (90, Runs::Never),
        ];
        for (byte, runs) in expected {
            assert_eq!(at(byte), runs, "{byte}");
        }
    }
}
