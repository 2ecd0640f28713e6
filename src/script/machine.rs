//! The state of going through the code: what is read of it, the graph so far, and where it is.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::signature::{Argument as Given, Parameter};
use super::value::{Gone, Member, Number, Tensor, Value};
use super::{Refused, World};
use t2m_checkpoint::escape::{escape, quoted};
use t2m_checkpoint::graph::{Argument, Graph, Input, Origin, TensorMeta, ValueId};
use t2m_checkpoint::script::syntax::{Class, Function, Module};
use t2m_checkpoint::script::{Attribute, File, Script, parse};
use t2m_checkpoint::{Checkpoint, TensorId};

/// Expressions, blocks and calls within each other.
pub(super) const DEEPEST: usize = 2_000;
/// Statements and calls of one graph, and its nodes.
const MOST_STEPS: usize = 2_000_000;
pub(super) const MOST_NODES: usize = 500_000;

/// Everything that a graph is made with.
pub(super) struct Machine<'a> {
    pub checkpoint: &'a Checkpoint,
    pub script: &'a Script,
    pub world: &'a mut dyn World,
    /// Whether the graph is to be gone through though sizes are not known.
    pub lenient: bool,
    pub graph: Graph,
    /// Values that nothing can use any more.
    pub gone: Gone,
    /// Tensors that no name has, until the node that takes them is there.
    pub temporary: Vec<Tensor>,
    /// How many results the statement takes apart.
    pub wanted: Option<usize>,
    /// Attributes that the code sets.
    pub set: HashMap<(usize, String), Value>,
    /// Classes of the objects that the code makes, which are counted behind the file's own.
    pub made: Vec<String>,
    files: HashMap<&'a str, usize>,
    parsed: HashMap<usize, Rc<Module>>,
    /// How often a name was given to a node.
    names: HashMap<String, usize>,
    states: HashMap<String, Tensor>,
    paths: HashMap<usize, Arc<str>>,
    depth: usize,
    steps: usize,
}

/// A function that is gone through.
pub(super) struct Frame {
    /// Its file.
    pub file: usize,
    /// Its first byte.
    pub begin: usize,
    pub locals: HashMap<String, Value>,
    /// Path of the module whose method it is, or whose method called it.
    pub module: Arc<str>,
    /// The user's file and line that it was called at.
    pub called_at: Option<(Arc<str>, usize)>,
}

impl Frame {
    /// What stands in a file outside every function: a class's constants, the call of the model's forward.
    fn outside(file: usize) -> Frame {
        Frame { file, begin: usize::MAX, locals: HashMap::new(), module: Arc::from(""), called_at: None }
    }
}

/// A function of the archive.
#[derive(Clone)]
pub(super) struct Found {
    pub file: usize,
    pub module: Rc<Module>,
    /// The class that it is a method of.
    pub class: Option<usize>,
    pub function: usize,
}

impl Found {
    pub fn function(&self) -> Option<&Function> {
        match self.class {
            Some(class) => self.module.classes.get(class)?.methods.get(self.function),
            None => self.module.functions.get(self.function),
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, Refused>;

pub(super) fn refused(what: impl Into<String>) -> Refused {
    Refused { what: what.into(), raises: false }
}

impl<'a> Machine<'a> {
    pub fn new(checkpoint: &'a Checkpoint, world: &'a mut dyn World, lenient: bool) -> Result<Machine<'a>> {
        let script = checkpoint.script.as_ref().filter(|script| !script.objects.is_empty());
        let script = script.ok_or_else(|| refused("the file holds no code of TorchScript's"))?;
        let files = script.files.iter().enumerate().map(|(at, file)| (file.module.as_str(), at)).collect();
        Ok(Machine {
            checkpoint,
            script,
            world,
            lenient,
            graph: Graph::default(),
            gone: Gone::default(),
            temporary: Vec::new(),
            wanted: None,
            set: HashMap::new(),
            made: Vec::new(),
            files,
            parsed: HashMap::new(),
            names: HashMap::new(),
            states: HashMap::new(),
            paths: HashMap::new(),
            depth: 0,
            steps: 0,
        })
    }

    /// The model's forward.
    pub fn forward(&mut self) -> Result<(Found, Function)> {
        let root = self.script.objects.first().map(|object| object.class.clone()).unwrap_or_default();
        let forward = self.method(&root, "forward")?.ok_or_else(|| refused("the model has no forward"))?;
        let function = forward.function().cloned().ok_or_else(|| refused("the model has no forward"))?;
        Ok((forward, function))
    }

    /// Go through the model's forward on these arguments, one for each parameter; without any on such as are not known.
    pub fn run(mut self, arguments: Option<&[Given]>) -> Result<Graph> {
        let parameters = self.parameters()?;
        let unknown: Vec<Given>;
        let arguments = match arguments {
            Some(arguments) => arguments,
            None => {
                unknown = parameters.iter().map(Parameter::unknown).collect();
                &unknown
            }
        };
        let mut named = Vec::with_capacity(parameters.len());
        for (parameter, argument) in parameters.iter().zip(arguments) {
            named.extend(self.given_value(argument).map(|value| (parameter.name.clone(), value)));
        }
        let (forward, _) = self.forward()?;
        let outside = Frame::outside(forward.file);
        let result = self.call(&outside, 0, &forward, vec![Value::Object(0)], named)?;
        self.output(&result);
        // What is alive to the end is no longer asked for.
        Ok(std::mem::take(&mut self.graph))
    }

    /// An input of the graph.
    pub fn placeholder(&mut self, name: &str, meta: Option<TensorMeta>) -> Value {
        let value = self.define(name.to_owned(), meta);
        self.graph.inputs.push(Input { value, origin: Origin::User });
        Value::Tensor(Tensor::new(value, &self.gone))
    }

    /// A new value of the graph.
    pub fn define(&mut self, name: String, tensor: Option<TensorMeta>) -> ValueId {
        let id = ValueId(u32::try_from(self.graph.values.len()).unwrap_or(u32::MAX));
        self.graph.values.push(t2m_checkpoint::graph::Value { name, tensor });
        id
    }

    /// A name for a node that no other has: `relu`, `relu_1`.
    pub fn name(&mut self, op: &str) -> String {
        let count = self.names.entry(op.to_owned()).or_insert(0);
        *count += 1;
        if *count == 1 { op.to_owned() } else { format!("{op}_{}", *count - 1) }
    }

    /// What is known of a tensor.
    pub fn meta(&self, tensor: &Tensor) -> Option<&TensorMeta> {
        self.graph.value(tensor.id())?.tensor.as_ref()
    }

    /// A tensor of the file.
    pub fn state(&mut self, name: &str) -> Result<Value> {
        if let Some(known) = self.states.get(name) {
            return Ok(Value::Tensor(known.clone()));
        }
        let stored = self.stored(name).and_then(|id| self.checkpoint.tensors.get(id));
        let stored = stored.ok_or_else(|| refused(format!("the file does not hold {}", quoted(name))))?;
        let meta = TensorMeta { dtype: stored.dtype, sizes: stored.shape.iter().map(|size| Some(*size)).collect() };
        let value = self.define(name.to_owned(), Some(meta));
        self.graph.inputs.push(Input { value, origin: Origin::State(name.to_owned()) });
        let tensor = Tensor::new(value, &self.gone);
        self.states.insert(name.to_owned(), tensor.clone());
        Ok(Value::Tensor(tensor))
    }

    fn stored(&self, name: &str) -> Option<TensorId> {
        self.checkpoint.tensors.iter().position(|tensor| tensor.name == name)
    }

    /// The name in the file of a tensor that is the file's.
    pub fn state_name(&self, tensor: &Tensor) -> Option<&str> {
        let input = self.graph.inputs.iter().find(|input| input.value == tensor.id())?;
        match &input.origin {
            Origin::State(name) => Some(name),
            _ => None,
        }
    }

    /// The number of a constant of the code that has no axes: `CONSTANTS.c0`.
    pub fn constant(&self, tensor: &Tensor) -> Option<Number> {
        let name = self.state_name(tensor).filter(|name| name.starts_with("CONSTANTS."))?;
        let id = self.stored(name)?;
        let stored = self.checkpoint.tensors.get(id).filter(|stored| stored.shape.is_empty())?;
        let whole = !stored.dtype.is_floating();
        let number = *self.checkpoint.read(id).ok()?.to_f64()?.first()?;
        Some(if whole { Number::Int(number as i64) } else { Number::Float(number) })
    }

    /// What a node's module is called.
    pub fn path(&mut self, object: usize) -> Arc<str> {
        let path = self.script.objects.get(object).map(|object| object.path.as_str()).unwrap_or_default();
        Arc::clone(self.paths.entry(object).or_insert_with(|| Arc::from(path)))
    }

    pub fn class_name(&self, object: usize) -> Option<&str> {
        match self.script.objects.get(object) {
            Some(object) => Some(&object.class),
            None => self.made.get(object - self.script.objects.len()).map(String::as_str),
        }
    }

    /// The file whose names begin so, read.
    fn read(&mut self, module: &str) -> Result<Option<(usize, Rc<Module>)>> {
        let Some(&at) = self.files.get(module) else { return Ok(None) };
        if let Some(read) = self.parsed.get(&at) {
            return Ok(Some((at, Rc::clone(read))));
        }
        let Some(file) = self.script.files.get(at) else { return Ok(None) };
        let read = parse(&file.text)
            .map_err(|misread| refused(format!("{}:{}: {misread}", escape(&file.record), file.line(misread.at))))?;
        let read = Rc::new(read);
        self.parsed.insert(at, Rc::clone(&read));
        Ok(Some((at, read)))
    }

    /// A class by its full name.
    pub fn class(&mut self, name: &str) -> Result<Option<(usize, Rc<Module>, usize)>> {
        let Some((module, name)) = name.rsplit_once('.') else { return Ok(None) };
        let Some((file, read)) = self.read(module)? else { return Ok(None) };
        let class = read.classes.iter().position(|class| class.name == name);
        Ok(class.map(|class| (file, read, class)))
    }

    /// A method of a class.
    pub fn method(&mut self, class: &str, name: &str) -> Result<Option<Found>> {
        let Some((file, module, class)) = self.class(class)? else { return Ok(None) };
        let methods = module.classes.get(class).map(|class| class.methods.as_slice()).unwrap_or_default();
        let function = methods.iter().position(|method| method.name == name);
        Ok(function.map(|function| Found { file, module: Rc::clone(&module), class: Some(class), function }))
    }

    /// A function by its full name.
    pub fn function(&mut self, name: &str) -> Result<Option<Found>> {
        let Some((module, name)) = name.rsplit_once('.') else { return Ok(None) };
        let Some((file, module)) = self.read(module)? else { return Ok(None) };
        let function = module.functions.iter().position(|function| function.name == name);
        Ok(function.map(|function| Found { file, module: Rc::clone(&module), class: None, function }))
    }

    /// An attribute of an object: one that the code set, the file's own, or a constant of its class.
    pub fn attribute(&mut self, object: usize, name: &str) -> Result<Option<Value>> {
        if let Some(value) = self.set.get(&(object, name.to_owned())) {
            return Ok(Some(value.clone()));
        }
        let script = self.script;
        if let Some(found) = script.objects.get(object) {
            // A whole model is run as in inference.
            if name == "training" {
                return Ok(Some(Value::bool(false)));
            }
            if let Some((_, attribute)) = found.attributes.iter().find(|(known, _)| known == name) {
                let mut value = self.stored_attribute(attribute)?;
                if let Value::Tuple(_, names @ None) = &mut value {
                    *names = self.field_names(&found.class, name)?.map(Rc::new);
                }
                if matches!(value, Value::List(_) | Value::Dict(_)) {
                    // What is appended to it is seen by who asks again.
                    self.set.insert((object, name.to_owned()), value.clone());
                }
                return Ok(Some(value));
            }
        }
        let Some(class) = self.class_name(object).map(str::to_owned) else { return Ok(None) };
        let Some((file, module, class)) = self.class(&class)? else { return Ok(None) };
        let constants = module.classes.get(class).map(|class: &Class| class.constants.as_slice()).unwrap_or_default();
        let Some((_, value)) = constants.iter().find(|(known, _)| known == name) else { return Ok(None) };
        let mut frame = Frame::outside(file);
        self.expression(&mut frame, value).map(Some)
    }

    /// The members of an enumeration, in the code's order; none where the class is no enumeration.
    pub fn members(&mut self, class: &str) -> Result<Vec<Member>> {
        let Some((file, module, at)) = self.class(class)? else { return Ok(Vec::new()) };
        let Some(found) = module.classes.get(at).filter(|found| found.base.as_deref() == Some("Enum")) else {
            return Ok(Vec::new());
        };
        let mut frame = Frame::outside(file);
        let read = found.constants.iter().map(|(name, value)| {
            let value = self.expression(&mut frame, value)?;
            Ok(Member { class: class.to_owned(), name: name.clone(), value })
        });
        read.collect()
    }

    /// A member of an enumeration by its full name, if that is one.
    pub fn member_named(&mut self, dotted: &str) -> Result<Option<Value>> {
        let Some((class, name)) = dotted.rsplit_once('.') else { return Ok(None) };
        let found = self.members(class)?.into_iter().find(|member| member.name == name);
        Ok(found.map(|member| Value::Member(Rc::new(member))))
    }

    /// The names of a named tuple's members, where a class declares an attribute to be one.
    fn field_names(&mut self, class: &str, attribute: &str) -> Result<Option<Vec<String>>> {
        let Some((_, module, at)) = self.class(class)? else { return Ok(None) };
        let fields = module.classes.get(at).map(|class| class.fields.as_slice()).unwrap_or_default();
        let kind = fields.iter().find(|(name, _)| name == attribute).and_then(|(_, kind)| kind.dotted());
        let Some((_, module, at)) = kind.map(|kind| self.class(&kind)).transpose()?.flatten() else { return Ok(None) };
        let tuple = module.classes.get(at).filter(|class| class.base.as_deref() == Some("NamedTuple"));
        Ok(tuple.map(|class| class.fields.iter().map(|(name, _)| name.clone()).collect()))
    }

    fn stored_attribute(&mut self, attribute: &Attribute) -> Result<Value> {
        let all = |machine: &mut Self, items: &[Attribute]| -> Result<Vec<Value>> {
            items.iter().map(|item| machine.stored_attribute(item)).collect()
        };
        Ok(match attribute {
            Attribute::Object(index) => Value::Object(*index),
            Attribute::Tensor(name) => self.state(name)?,
            Attribute::None => Value::None,
            Attribute::Bool(is_so) => Value::bool(*is_so),
            Attribute::Int(whole) => Value::int(*whole),
            Attribute::Float(number) => Value::Number(Number::Float(*number)),
            Attribute::Text(text) => Value::text(text),
            Attribute::List(items) => Value::list(all(self, items)?),
            Attribute::Tuple(items) => Value::tuple(all(self, items)?),
            Attribute::Dict(pairs) => {
                let pairs =
                    pairs.iter().map(|(key, value)| Ok((self.stored_attribute(key)?, self.stored_attribute(value)?)));
                Value::Dict(Rc::new(pairs.collect::<Result<Vec<_>>>()?.into()))
            }
            Attribute::Member(class, value) => {
                let value = self.stored_attribute(value)?;
                let member = self.members(class)?.into_iter().find(|member| member.value.equals(&value) == Some(true));
                let member = member.ok_or_else(|| refused(format!("{} has no member of this value", quoted(class))))?;
                Value::Member(Rc::new(member))
            }
            Attribute::Device => Value::Device,
            Attribute::Unread => return Err(refused("an attribute is of a kind that is not read")),
        })
    }

    /// What the caller gets: every tensor, in order.
    fn output(&mut self, value: &Value) {
        match value {
            Value::Tensor(tensor) | Value::Several(tensor) => self.graph.outputs.push(Argument::Value(tensor.id())),
            Value::Dict(pairs) => pairs.borrow().clone().iter().for_each(|(_, value)| self.output(value)),
            other => other.items().into_iter().flatten().for_each(|item| self.output(&item)),
        }
    }

    /// One step further down, as long as that is allowed.
    pub fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(refused(format!("the code takes more than {MOST_STEPS} steps")));
        }
        if self.depth >= DEEPEST {
            return Err(refused(format!("calls and expressions are nested deeper than {DEEPEST} levels")));
        }
        self.depth += 1;
        let done = work(self);
        self.depth -= 1;
        done
    }

    fn file(&self, frame: &Frame) -> Option<&File> {
        self.script.files.get(frame.file)
    }

    /// The user's file and line of a place in the code.
    pub fn place(&self, frame: &Frame, at: usize) -> Option<(Arc<str>, usize)> {
        self.file(frame).and_then(|file| file.place(at, frame.begin)).or_else(|| frame.called_at.clone())
    }

    /// A refusal that names its place.
    pub fn refuse<T>(&self, frame: &Frame, at: usize, what: impl Into<String>) -> Result<T> {
        let code =
            self.file(frame).map(|file| format!("{}:{}", escape(&file.record), file.line(at))).unwrap_or_default();
        let place = match self.place(frame, at) {
            Some((file, line)) => format!("{}:{line} ({code})", escape(&file)),
            None => code,
        };
        Err(refused(format!("{} at {place}", what.into())))
    }
}
