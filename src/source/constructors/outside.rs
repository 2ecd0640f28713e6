//! What other code gives: torch's layers and containers, functools, math, einops. Nothing of it is read; what is not listed here is
//! not known.

use super::calls::Caller;
use super::machine::Machine;
use super::things::{Kind, Object, Part, Thing};
use crate::registry::constructors::{Constructor, constructor};
use crate::source::evaluate::{Arguments, Spent, Value};

/// Functions of torch that give the module that they are given, its weight computed in another way.
const LEAVE: [&str; 10] = [
    "weight_norm",
    "remove_weight_norm",
    "spectral_norm",
    "remove_spectral_norm",
    "orthogonal",
    "register_parametrization",
    "remove_parametrizations",
    "random_unstructured",
    "l1_unstructured",
    "identity",
];
/// Methods of a module that give it back.
const GIVE_BACK: [&str; 14] = [
    "to",
    "eval",
    "train",
    "apply",
    "requires_grad_",
    "half",
    "float",
    "double",
    "bfloat16",
    "cuda",
    "cpu",
    "type",
    "to_empty",
    "share_memory",
];
/// Methods of a module that leave it what it is.
const NOTHING: [&str; 18] = [
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_load_state_dict_pre_hook",
    "_register_load_state_dict_pre_hook",
    "register_load_state_dict_post_hook",
    "register_state_dict_hook",
    "_register_state_dict_hook",
    "register_full_backward_hook",
    "load_state_dict",
    "reset_parameters",
    "_reset_parameters",
    "parameters",
    "named_parameters",
    "buffers",
    "state_dict",
    "zero_grad",
    "save_hyperparameters",
    "post_init",
];
/// Python's own names.
const PYTHON: &[&str] = &[
    "len",
    "range",
    "enumerate",
    "zip",
    "int",
    "float",
    "str",
    "bool",
    "list",
    "tuple",
    "dict",
    "set",
    "frozenset",
    "min",
    "max",
    "sum",
    "abs",
    "round",
    "sorted",
    "reversed",
    "any",
    "all",
    "map",
    "filter",
    "isinstance",
    "issubclass",
    "getattr",
    "setattr",
    "hasattr",
    "delattr",
    "callable",
    "type",
    "super",
    "print",
    "repr",
    "iter",
    "next",
    "pow",
    "divmod",
    "vars",
    "object",
    "id",
    "property",
    "staticmethod",
    "Exception",
    "ValueError",
    "NotImplementedError",
    "locals",
    "dir",
    "bytes",
    "complex",
    "RuntimeError",
    "TypeError",
    "AssertionError",
];

/// Libraries whose functions are known here, as far as they are: their files are not read.
const KNOWN: &[&str] = &[
    "math",
    "numpy",
    "scipy",
    "copy",
    "functools",
    "itertools",
    "collections",
    "typing",
    "typing_extensions",
    "dataclasses",
    "operator",
    "enum",
    "abc",
    "re",
    "os",
    "sys",
    "types",
    "inspect",
    "warnings",
    "logging",
    "einops",
];

/// Whether a full name is of a library that is not read.
pub(super) fn is_known(full: &str) -> bool {
    KNOWN.contains(&full.split('.').next().unwrap_or(full))
}

/// Whether a full name is one of Python's own.
pub(super) fn is_python(full: &str) -> bool {
    full.strip_prefix("builtins.").is_some_and(|name| PYTHON.contains(&name))
}

/// Values that other code holds.
pub(super) fn constant(full: &str) -> Option<Value> {
    match full {
        "math.pi" | "numpy.pi" | "torch.pi" => Some(Value::Float(std::f64::consts::PI)),
        "math.inf" | "numpy.inf" | "torch.inf" => Some(Value::Object),
        "typing.TYPE_CHECKING" => Some(Value::Bool(false)),
        _ => None,
    }
}

/// Whether a function of this full name gives the module that it is given.
pub(super) fn leaves(full: &str) -> bool {
    let name = full.strip_prefix("torch.nn.utils.").map(|name| name.rsplit('.').next().unwrap_or(name));
    name.is_some_and(|name| LEAVE.contains(&name))
}

/// The arguments of a layer of torch by name, and whether what is missing has its default.
pub(super) fn by_name(known: &Constructor, arguments: Arguments) -> (Vec<(String, Value)>, bool) {
    let places = known.arguments.iter().map(|argument| argument.name.clone());
    let mut given: Vec<(String, Value)> = places.clone().zip(arguments.positional).collect();
    let names: Vec<String> = places.collect();
    given.extend(arguments.named.into_iter().filter(|(name, _)| names.contains(name)));
    (given, !arguments.more)
}

/// The name of a container that a full name is.
fn container(full: &str) -> Option<(&'static str, Kind)> {
    let name = full.strip_prefix("torch.nn.")?;
    match name.strip_prefix("modules.container.").unwrap_or(name) {
        "Sequential" => Some(("Sequential", Kind::Sequential)),
        "ModuleList" => Some(("ModuleList", Kind::List)),
        "ModuleDict" => Some(("ModuleDict", Kind::Dict)),
        _ => None,
    }
}

impl<'t> Machine<'t, '_> {
    pub(super) fn call_outside(
        &mut self,
        full: &str,
        mut arguments: Arguments,
        caller: Caller<'_>,
    ) -> Result<Value, Spent> {
        if let Some(name) = full.strip_prefix("builtins.") {
            return self.python(name, arguments, caller);
        }
        let (file, line) = (caller.0.file.as_str().into(), caller.1);
        if self.parts > super::MODULES && full.starts_with("torch.nn.") {
            return Ok(Value::Unknown);
        }
        if full.starts_with("torch.nn.") || full.starts_with("einops.layers.") {
            if let Some((name, kind)) = container(full) {
                self.count_part()?;
                let class = format!("torch.nn.modules.container.{name}");
                let module = self.module(Part { class, kind, file, line, ..Part::default() });
                self.fill_container(&module, kind, arguments, caller)?;
                return Ok(module);
            }
            if let Some(known) = constructor(full) {
                self.count_part()?;
                let (arguments, complete) = by_name(known, arguments);
                let class = known.class.clone();
                return Ok(self.module(Part {
                    class,
                    constructor: Some(known),
                    arguments,
                    complete,
                    file,
                    line,
                    ..Part::default()
                }));
            }
            let last = full.rsplit('.').next().unwrap_or(full);
            if leaves(full) || last == "register_parametrization" {
                let module = arguments.named.iter().find(|(name, _)| name == "module").map(|(_, value)| value.clone());
                let known = !arguments.more || !arguments.positional.is_empty();
                let given = arguments.positional.into_iter().next().or(module);
                return Ok(given.filter(|_| known).unwrap_or(Value::Unknown));
            }
            if let Some(class) = full.strip_suffix(".__init__") {
                if !arguments.positional.is_empty() {
                    let object = arguments.positional.remove(0);
                    self.initialise_outside(&object, &[class.to_owned()], arguments, caller)?;
                }
                return Ok(Value::None);
            }
            return Ok(match last {
                "Parameter" | "Buffer" | "UninitializedParameter" => self.make(Thing::Tensor(last != "Buffer")),
                "Module" | "ParameterList" | "ParameterDict" => {
                    self.count_part()?;
                    let class = match last {
                        "Module" => "torch.nn.modules.module.Module".to_owned(),
                        other => format!("torch.nn.modules.container.{other}"),
                    };
                    self.module(Part { class, file, line, ..Part::default() })
                }
                _ if full.starts_with("torch.nn.init.") => Value::None,
                _ if full.starts_with("einops.") => {
                    self.count_part()?;
                    self.module(Part { class: full.to_owned(), file, line, ..Part::default() })
                }
                _ => Value::Unknown,
            });
        }
        self.library_function(full, arguments, caller)
    }

    pub(super) fn count_part(&mut self) -> Result<(), Spent> {
        self.parts += 1;
        if self.library.budget.burn(super::BUILT) { Ok(()) } else { Err(Spent) }
    }

    fn library_function(&mut self, full: &str, arguments: Arguments, caller: Caller<'_>) -> Result<Value, Spent> {
        let numbers: Vec<Option<f64>> = arguments.positional.iter().map(Value::number).collect();
        let first = arguments.positional.first().cloned();
        let finite = |number: f64| if number.is_finite() { Value::Float(number) } else { Value::Object };
        let whole = |number: f64| if number.abs() < 1e15 { Value::Int(number as i64) } else { Value::Object };
        Ok(match (full, numbers.as_slice()) {
            ("math.floor", [Some(x)]) => whole(x.floor()),
            ("math.ceil", [Some(x)]) => whole(x.ceil()),
            ("math.trunc", [Some(x)]) => whole(x.trunc()),
            ("numpy.floor", [Some(x)]) => finite(x.floor()),
            ("numpy.ceil", [Some(x)]) => finite(x.ceil()),
            ("numpy.round" | "numpy.rint", [Some(x)]) => finite(x.round_ties_even()),
            ("math.sqrt" | "numpy.sqrt", [Some(x)]) => finite(x.sqrt()),
            ("math.log2" | "numpy.log2", [Some(x)]) => finite(x.log2()),
            ("math.log" | "numpy.log", [Some(x)]) => finite(x.ln()),
            ("math.log", [Some(x), Some(base)]) => finite(x.log(*base)),
            ("math.exp" | "numpy.exp", [Some(x)]) => finite(x.exp()),
            ("math.pow" | "numpy.power", [Some(x), Some(y)]) => finite(x.powf(*y)),
            ("math.gcd" | "numpy.gcd", [Some(a), Some(b)]) => {
                let (mut a, mut b) = (a.abs() as u64, b.abs() as u64);
                while b > 0 {
                    (a, b) = (b, a % b);
                }
                Value::Int(a as i64)
            }
            ("math.prod" | "numpy.prod", [_]) => {
                let factors = first.and_then(|first| self.elements(&first)).unwrap_or_default();
                let mut product = Value::Int(1);
                for factor in factors {
                    product = crate::source::evaluate::binary("*", &product, &factor);
                }
                product
            }
            ("torch.linspace" | "numpy.linspace", [Some(start), Some(end), Some(count)]) if *count < 4_096.0 => {
                let last = (count - 1.0).max(1.0);
                let row =
                    (0..*count as usize).map(|at| Value::Float(start + (end - start) * at as f64 / last)).collect();
                self.list(row)
            }
            ("copy.deepcopy" | "copy.copy", [_]) => {
                let mut left = super::MODULES;
                first.map_or(Value::Unknown, |first| self.copied(&first, full == "copy.deepcopy", &mut left, 0))
            }
            ("functools.partial", [_, ..]) => {
                let mut arguments = arguments;
                let function = arguments.positional.remove(0);
                self.make(Thing::Partial(function, arguments))
            }
            ("dataclasses.field" | "attr.ib" | "attrs.field" | "pydantic.Field", _) => {
                let function = self.outside("dataclasses.field");
                self.make(Thing::Partial(function, arguments))
            }
            ("collections.OrderedDict" | "collections.defaultdict" | "typing.OrderedDict", _) => {
                self.python("dict", arguments, caller)?
            }
            (
                "types.SimpleNamespace" | "argparse.Namespace" | "easydict.EasyDict" | "omegaconf.OmegaConf.create",
                _,
            )
            | ("ml_collections.ConfigDict" | "munch.Munch", _) => {
                if arguments.positional.is_empty() {
                    let pairs = arguments.named.into_iter().map(|(name, value)| (Value::text(&name), value)).collect();
                    self.dict(pairs)
                } else {
                    first.unwrap_or(Value::Unknown)
                }
            }
            ("collections.namedtuple", _) => Value::Unknown,
            ("dataclasses.asdict", [_]) => {
                let fields = first.and_then(|first| Some(self.object(&first)?.fields.clone())).unwrap_or_default();
                self.dict(fields.into_iter().map(|(name, value)| (Value::text(&name), value)).collect())
            }
            ("re.split", [_, _]) => self.split_at_digits(&arguments.positional),
            ("dataclasses.replace", [_, ..]) => {
                let mut left = super::MODULES;
                let copy = first.map_or(Value::Unknown, |first| self.copied(&first, false, &mut left, 0));
                for (name, value) in arguments.named {
                    self.set_attribute(&copy, &name, value);
                }
                copy
            }
            ("itertools.chain", _) => {
                let mut all = Vec::new();
                for row in &arguments.positional {
                    all.extend(self.elements(row).unwrap_or_default());
                }
                self.list(all)
            }
            ("itertools.pairwise", [_]) => {
                let all = first.and_then(|first| self.elements(&first)).unwrap_or_default();
                let rows = all.iter().zip(all.iter().skip(1)).map(|(a, b)| vec![a.clone(), b.clone()]).collect();
                self.rows(rows)
            }
            ("itertools.repeat", [_, Some(count)]) if *count < 4_096.0 => {
                self.list(vec![first.unwrap_or(Value::Unknown); count.max(0.0) as usize])
            }
            ("operator.mul", [_, _]) | ("typing.cast", [_, _]) => {
                let mut given = arguments.positional.into_iter();
                let (a, b) = (given.next().unwrap_or(Value::Unknown), given.next().unwrap_or(Value::Unknown));
                if full == "typing.cast" { b } else { crate::source::evaluate::binary("*", &a, &b) }
            }
            _ if full.starts_with("warnings.") || full.starts_with("logging.") || full.contains("logger") => {
                Value::None
            }
            _ if full.starts_with("torch._C.") || full.contains("log_api_usage") => Value::None,
            (
                "torch.zeros" | "torch.ones" | "torch.randn" | "torch.rand" | "torch.empty" | "torch.tensor"
                | "torch.arange" | "torch.full" | "torch.eye" | "torch.Tensor" | "torch.FloatTensor"
                | "torch.as_tensor" | "torch.from_numpy" | "torch.zeros_like" | "torch.ones_like",
                _,
            ) => self.make(Thing::Tensor(false)),
            _ => Value::Unknown,
        })
    }

    /// `re.split` at the first digit, or at each number: how blocks are written in one word, `ir_r2_k3_s2`.
    fn split_at_digits(&mut self, given: &[Value]) -> Value {
        let [Value::Text(pattern), Value::Text(text)] = given else { return Value::Unknown };
        let digit = |letter: char| letter.is_ascii_digit();
        let mut parts: Vec<&str> = Vec::new();
        match &**pattern {
            r"(\d.*)" => match text.find(digit) {
                Some(at) => parts.extend([text.get(..at).unwrap_or(""), text.get(at..).unwrap_or(""), ""]),
                None => parts.push(text),
            },
            r"(\d+)" => {
                let mut rest: &str = text;
                while let Some(at) = rest.find(digit) {
                    let (before, number) = rest.split_at(at);
                    let end = number.find(|letter: char| !digit(letter)).unwrap_or(number.len());
                    parts.extend([before, number.get(..end).unwrap_or("")]);
                    rest = number.get(end..).unwrap_or("");
                }
                parts.push(rest);
            }
            _ => return Value::Unknown,
        }
        self.list(parts.into_iter().map(Value::text).collect())
    }

    /// A copy of a thing, with copies of what is in it.
    pub(super) fn copied(&mut self, value: &Value, deep: bool, left: &mut usize, depth: usize) -> Value {
        if depth > 64 || *left == 0 || !self.library.budget.burn(2) {
            return Value::Unknown;
        }
        *left -= 1;
        let Some(thing) = self.thing(value).cloned() else { return value.clone() };
        let mut again = |it: &mut Self, inner: &Value| {
            if deep { it.copied(inner, deep, left, depth + 1) } else { inner.clone() }
        };
        match thing {
            Thing::Row(kind, row) => {
                let row = row.iter().map(|inner| again(self, inner)).collect();
                self.make(Thing::Row(kind, row))
            }
            Thing::Dict(pairs) => {
                let pairs = pairs.iter().map(|(key, inner)| (key.clone(), again(self, inner))).collect();
                self.make(Thing::Dict(pairs))
            }
            Thing::Object(Object { class, fields, open, part }) => {
                let fields = fields.iter().map(|(name, inner)| (name.clone(), again(self, inner))).collect();
                let part = part.map(|mut part| {
                    let children = std::mem::take(&mut part.children);
                    part.children = children.iter().map(|(name, inner)| (name.clone(), again(self, inner))).collect();
                    part
                });
                if part.is_some() {
                    self.parts += 1;
                }
                self.make(Thing::Object(Object { class, fields, open, part }))
            }
            _ => value.clone(),
        }
    }

    /// What a method that torch gives every module does; `None` where there is none of that name.
    pub(super) fn method_of_module(
        &mut self,
        object: &Value,
        name: &str,
        arguments: Arguments,
        caller: Caller<'_>,
    ) -> Result<Option<Value>, Spent> {
        let Some(part) = self.part(object) else { return Ok(None) };
        let (kind, count) = (part.kind, part.children.len());
        if GIVE_BACK.contains(&name) {
            return Ok(Some(object.clone()));
        }
        if NOTHING.contains(&name) {
            return Ok(Some(Value::Unknown));
        }
        let of = |wanted: &str, at: usize| {
            let named = arguments.named.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
            named.or_else(|| arguments.positional.get(at).cloned())
        };
        let text = |value: Option<Value>| match value {
            Some(Value::Text(text)) => Some(text.to_string()),
            _ => None,
        };
        Ok(Some(match name {
            "add_module" | "register_module" => {
                if let (Some(name), Some(value)) = (text(of("name", 0)), of("module", 1)) {
                    self.set_attribute(object, &name, value);
                }
                Value::None
            }
            "register_buffer" | "register_parameter" => {
                let value = of("tensor", 1).or_else(|| of("param", 1)).unwrap_or(Value::Unknown);
                let kept = name == "register_parameter";
                if let Some(name) = text(of("name", 0)) {
                    let value = if value == Value::None { value } else { self.make(Thing::Tensor(kept)) };
                    self.set_attribute(object, &name, value);
                }
                Value::None
            }
            "append" if kind != Kind::Own => {
                if let (Some(value), Some(part)) = (of("module", 0), self.part_mut(object)) {
                    let name = (0..).map(|add| count + add).find(|at| !part.children.contains_key(&at.to_string()));
                    part.children.insert(name.unwrap_or(count).to_string(), value);
                }
                object.clone()
            }
            "extend" if kind != Kind::Own => {
                let over = of("modules", 0).unwrap_or(Value::Unknown);
                let more = match self.part(&over) {
                    Some(part) => part.children.values().cloned().collect(),
                    None => self.turns(&over, super::calls::site(caller))?,
                };
                self.library.budget.burn(more.len());
                if let Some(part) = self.part_mut(object) {
                    let named = more.into_iter().enumerate().map(|(at, value)| ((count + at).to_string(), value));
                    part.children.extend(named);
                }
                object.clone()
            }
            "insert" if kind != Kind::Own => {
                let at = of("index", 0).and_then(|index| usize::try_from(index.whole()?).ok());
                if let (Some(at), Some(value), Some(part)) = (at, of("module", 1), self.part_mut(object)) {
                    let mut all: Vec<Value> = part.children.values().cloned().collect();
                    all.insert(at.min(count), value);
                    part.children = all.into_iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect();
                }
                Value::None
            }
            "update" if kind == Kind::Dict => {
                let pairs = match of("modules", 0).as_ref().and_then(|given| self.thing(given)) {
                    Some(Thing::Dict(pairs)) => pairs.clone(),
                    _ => Vec::new(),
                };
                for (name, value) in pairs {
                    if let Some(name) = super::frame::shown(&name) {
                        self.set_attribute(object, &name, value);
                    }
                }
                Value::None
            }
            "children" | "values" | "modules" | "items" | "named_children" | "named_modules" | "keys" => {
                let mut all = Vec::new();
                let deep = name.ends_with("modules");
                self.listed(object, "", (deep, 0), &mut all);
                if deep {
                    all.insert(0, (String::new(), object.clone()));
                }
                match name {
                    "keys" => self.list(all.into_iter().map(|(name, _)| Value::text(&name)).collect()),
                    "items" | "named_children" | "named_modules" => {
                        let rows = all.into_iter().map(|(name, value)| vec![Value::text(&name), value]).collect();
                        self.rows(rows)
                    }
                    _ => self.list(all.into_iter().map(|(_, value)| value).collect()),
                }
            }
            "get_submodule" => {
                let path = text(of("target", 0)).unwrap_or_default();
                let mut at = object.clone();
                for name in path.split('.').filter(|name| !name.is_empty()) {
                    at = self.part(&at).and_then(|part| part.children.get(name)).cloned().unwrap_or(Value::Unknown);
                }
                at
            }
            "pop" if kind != Kind::Own => {
                let part = self.part_mut(object);
                part.and_then(|part| part.children.pop()).map_or(Value::Unknown, |(_, value)| value)
            }
            _ => return Ok(None),
        }))
    }

    fn listed(&self, object: &Value, prefix: &str, (deep, depth): (bool, usize), all: &mut Vec<(String, Value)>) {
        let Some(part) = self.part(object) else { return };
        for (name, child) in &part.children {
            if depth > 64 || all.len() >= 4_000 || !self.library.budget.burn(1) {
                return;
            }
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if self.part(child).is_some() {
                all.push((path.clone(), child.clone()));
                if deep {
                    self.listed(child, &path, (deep, depth + 1), all);
                }
            }
        }
    }
}
