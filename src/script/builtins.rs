//! What TorchScript has of functions that are no ops on tensors: of sizes, types and devices, of numbers, and its primitives.

use serde_json::Value as Json;

use super::calls::Named;
use super::machine::{Frame, Machine, Result};
use super::numbers;
use super::value::{Number, Value};
use super::{Given, Refused};
use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::escape;
use t2m_checkpoint::graph::TensorMeta;

/// What is so of no tensor of a run: it is dense, whole, on the CPU.
const NEVER: [&str; 16] = [
    "is_cuda",
    "is_cpu_only",
    "is_xpu",
    "is_ipu",
    "is_mps",
    "is_mkldnn",
    "is_vulkan",
    "is_quantized",
    "is_sparse",
    "is_sparse_csr",
    "is_nested",
    "is_meta",
    "is_maia",
    "is_xla",
    "is_mtia",
    "is_ort",
];
/// Functions that say how the code is run, and what they say.
const RUNS: [(&str, bool); 10] = [
    ("is_grad_enabled", true),
    ("is_scripting", true),
    ("is_tracing", false),
    ("is_autocast_enabled", false),
    ("is_autocast_cpu_enabled", false),
    ("_is_tracing", false),
    ("has_torch_function", false),
    ("has_torch_function_unary", false),
    ("has_torch_function_variadic", false),
    ("get_fastpath_enabled", true),
];
/// Ops on numbers, which are ops on tensors as well.
const ARITHMETIC: [&str; 39] = [
    "reciprocal",
    "add",
    "sub",
    "rsub",
    "mul",
    "div",
    "true_divide",
    "floordiv",
    "floor_divide",
    "remainder",
    "mod",
    "fmod",
    "pow",
    "neg",
    "abs",
    "sqrt",
    "exp",
    "log",
    "log2",
    "log10",
    "sin",
    "cos",
    "tanh",
    "max",
    "min",
    "maximum",
    "minimum",
    "floor",
    "ceil",
    "trunc",
    "round",
    "__and__",
    "__or__",
    "__xor__",
    "__lshift__",
    "__rshift__",
    "__not__",
    "logical_not",
    "eq",
];
const COMPARISONS: [&str; 5] = ["ne", "lt", "le", "gt", "ge"];
/// Ops that leave a number as it is.
const SAME: [&str; 5] = ["detach", "clone", "contiguous", "alias", "lift_fresh"];

impl Machine<'_> {
    /// A function of torch's, by its full name: `torch.add`, `ops.prim.NumToTensor`.
    pub(super) fn torchs(
        &mut self,
        frame: &mut Frame,
        at: usize,
        dotted: &str,
        given: Vec<Value>,
        named: Named,
        wanted: Option<usize>,
    ) -> Result<Value> {
        let name = dotted.rsplit('.').next().unwrap_or(dotted);
        let spaces: Vec<&str> = dotted.split('.').collect();
        if let ["ops", space, op] = spaces.as_slice()
            && !matches!(*space, "prim" | "aten")
        {
            return self.custom(frame, at, space, op, &given, wanted);
        }
        if let Some(value) = self.builtin(frame, at, name, &given, &named)? {
            return Ok(value);
        }
        if spaces.get(1) == Some(&"prim") {
            return self.refuse(frame, at, format!("{} is not known", escape(dotted)));
        }
        self.op(frame, at, name, given, named, wanted)
    }

    /// What is no op on tensors. `None` where it is one.
    pub(super) fn builtin(
        &mut self,
        frame: &mut Frame,
        at: usize,
        name: &str,
        given: &[Value],
        named: &Named,
    ) -> Result<Option<Value>> {
        if let Some((_, answer)) = RUNS.iter().find(|(known, _)| *known == name) {
            return Ok(Some(Value::bool(*answer)));
        }
        let Some(first) = given.first() else {
            return Ok(match name {
                "dict" => self.on_lists(frame, at, name, given)?,
                "device" => Some(Value::Device),
                _ => None,
            });
        };
        if name == "RaiseException" {
            let what = format!("raises {}", escape(&super::lists::shown(first)));
            let refused = self.refuse::<()>(frame, at, what).err();
            return Err(Refused { raises: true, ..refused.unwrap_or(Refused { what: String::new(), raises: true }) });
        }
        if let Some(value) = self.property(frame, at, name, first)? {
            return Ok(Some(value));
        }
        if let Some(value) = self.on_lists(frame, at, name, given)? {
            return Ok(Some(value));
        }
        Ok(match name {
            "size" => match given.get(1) {
                None => Some(self.sizes(first)),
                Some(dim) => Some(self.size(frame, at, first, dim)?),
            },
            "len" if matches!(first, Value::Tensor(_)) => Some(self.size(frame, at, first, &Value::int(0))?),
            "__is__" | "__isnot__" => {
                let same = match (first, given.get(1).unwrap_or(&Value::None)) {
                    (Value::Unknown, _) | (_, Value::Unknown) => None,
                    (Value::None, Value::None) => Some(true),
                    (Value::None, _) | (_, Value::None) => Some(false),
                    (Value::Tensor(a), Value::Tensor(b)) => Some(a.id() == b.id()),
                    (a, b) => a.equals(b),
                };
                Some(same.map_or(Value::Unknown, |same| Value::bool(same == (name == "__is__"))))
            }
            "NumToTensor" => match first {
                Value::Number(number) => Some(Value::Scalar(*number)),
                other => Some(other.clone()),
            },
            "Int" | "IntImplicit" => Some(self.cast(frame, at, "int", first)?),
            "Float" | "FloatImplicit" => Some(self.cast(frame, at, "float", first)?),
            "Bool" => Some(self.cast(frame, at, "bool", first)?),
            "item" | "ScalarImplicit" | "_local_scalar_dense" => match self.number_of(first)? {
                Some(number) => Some(Value::Number(number)),
                None if self.lenient => Some(Value::Unknown),
                None => return self.refuse(frame, at, "a number that is not known"),
            },
            "_unwrap_optional" | "unchecked_unwrap_optional" | "unchecked_cast" | "rethrow" => Some(first.clone()),
            "warn" | "manual_seed" | "Print" | "_assert" => Some(Value::None),
            "device" => Some(Value::Device),
            "tensor" => self.tensor(frame, at, first, named)?,
            "as_tensor" if matches!(first, Value::Tensor(_)) => Some(first.clone()),
            "as_tensor" => self.tensor(frame, at, first, named)?,
            "__round_to_zero_floordiv" => self.arithmetic(frame, at, "div", given, Some("trunc"))?,
            // Everything is in one place: `x.to(device)` is `x`, `x.to(device, dtype)` is `x.to(dtype)`.
            "to" | "cuda" | "cpu"
                if matches!(first, Value::Tensor(_))
                    && (name != "to" || matches!(given.get(1), Some(Value::Device | Value::None))) =>
            {
                match given.get(2).filter(|dtype| name == "to" && matches!(dtype, Value::Number(Number::Int(_)))) {
                    Some(dtype) => {
                        let cast = vec![first.clone(), dtype.clone()];
                        Some(self.op(frame, at, "to", cast, Vec::new(), None)?)
                    }
                    None => Some(first.clone()),
                }
            }
            "to" if matches!(first, Value::Scalar(_)) => {
                let number = first.number();
                let dtype = given
                    .iter()
                    .skip(1)
                    .find_map(|value| if let Value::Number(Number::Int(of)) = value { Some(*of) } else { None });
                number.map(|number| match dtype {
                    Some(5 | 6 | 7 | 15) => Value::Scalar(Number::Float(number.float())),
                    _ => Value::Scalar(number),
                })
            }
            name if SAME.contains(&name) && matches!(first, Value::Scalar(_)) => Some(first.clone()),
            "eq" | "ne"
                if !matches!(first, Value::Number(_) | Value::Scalar(_) | Value::Tensor(_) | Value::Unknown) =>
            {
                let same = first.equals(given.get(1).unwrap_or(&Value::None));
                Some(same.map_or(Value::Unknown, |same| Value::bool(same == (name == "eq"))))
            }
            _ => {
                let rounding = named.iter().find(|(name, _)| name == "rounding_mode").map(|(_, mode)| mode);
                let rounding =
                    rounding.and_then(|mode| if let Value::Text(mode) = mode { Some(mode.to_string()) } else { None });
                self.arithmetic(frame, at, name, given, rounding.as_deref())?
            }
        })
    }

    /// An op on numbers alone. `None` where there is a tensor among them.
    fn arithmetic(
        &mut self,
        frame: &Frame,
        at: usize,
        name: &str,
        given: &[Value],
        rounding: Option<&str>,
    ) -> Result<Option<Value>> {
        if !ARITHMETIC.contains(&name) && !COMPARISONS.contains(&name) {
            return Ok(None);
        }
        let is_scalar = given.iter().any(|value| matches!(value, Value::Scalar(_)));
        let mut numbers = Vec::with_capacity(given.len());
        for value in given {
            numbers.push(match value {
                Value::Unknown => None,
                Value::Number(number) | Value::Scalar(number) => Some(*number),
                // A constant beside a size is a number as it is.
                Value::Tensor(tensor) if is_scalar => match self.constant(tensor) {
                    Some(number) => Some(number),
                    None => return Ok(None),
                },
                Value::None => continue,
                _ => return Ok(None),
            });
        }
        let Some(numbers) = numbers.into_iter().collect::<Option<Vec<Number>>>() else {
            return Ok(Some(Value::Unknown));
        };
        match numbers::number(name, &numbers, rounding) {
            Some(number) => Ok(Some(if is_scalar { Value::Scalar(number) } else { Value::Number(number) })),
            None if is_scalar => Ok(None),
            None => self.refuse(frame, at, format!("{} of {numbers:?} has no result", escape(name))),
        }
    }

    /// What a tensor or a device is, apart from its elements.
    pub(super) fn property(&mut self, frame: &Frame, at: usize, name: &str, of: &Value) -> Result<Option<Value>> {
        if matches!(of, Value::Device) && name == "type" {
            return Ok(Some(Value::text("cpu")));
        }
        let meta = match of {
            Value::Tensor(tensor) => self.meta(tensor).cloned(),
            Value::Scalar(number) => {
                let dtype = match number {
                    Number::Bool(_) => Dtype::Bool,
                    Number::Int(_) => Dtype::Int64,
                    Number::Float(_) => Dtype::Float32,
                };
                Some(TensorMeta { dtype, sizes: Vec::new() })
            }
            Value::Several(_) | Value::Unknown => None,
            _ => return Ok(None),
        };
        let told = |value: Option<Value>| Ok(Some(value.unwrap_or(Value::Unknown)));
        match name {
            "dim" | "ndimension" | "ndim" => told(meta.map(|meta| Value::int(meta.sizes.len() as i64))),
            "numel" => told(meta.and_then(|meta| product(&meta)).map(Value::int)),
            "is_floating_point" => told(meta.map(|meta| Value::bool(meta.dtype.is_floating()))),
            "is_complex" => told(meta.map(|meta| {
                Value::bool(matches!(meta.dtype, Dtype::Complex32 | Dtype::Complex64 | Dtype::Complex128))
            })),
            "dtype" => match meta {
                None => Ok(Some(Value::Unknown)),
                Some(meta) => match super::ops::number_of(meta.dtype) {
                    Some(number) => Ok(Some(Value::int(number))),
                    None => self.refuse(frame, at, format!("the type {} has no number", meta.dtype.name())),
                },
            },
            "shape" => Ok(Some(self.sizes(of))),
            "device" => Ok(Some(Value::Device)),
            "layout" | "get_device" | "output_nr" => Ok(Some(Value::int(0))),
            "is_leaf" | "is_contiguous" | "is_cpu" => Ok(Some(Value::bool(true))),
            "data" => Ok(Some(of.clone())),
            "grad" | "grad_fn" | "names" => Ok(Some(Value::None)),
            "requires_grad" => Ok(Some(Value::bool(self.is_trained(of)))),
            name if NEVER.contains(&name) => Ok(Some(Value::bool(false))),
            _ => Ok(None),
        }
    }

    fn is_trained(&self, of: &Value) -> bool {
        let Value::Tensor(tensor) = of else { return false };
        let Some(name) = self.state_name(tensor) else { return false };
        self.checkpoint.tensors.iter().any(|stored| stored.name == name && stored.requires_grad)
    }

    fn sizes(&self, of: &Value) -> Value {
        let meta = match of {
            Value::Tensor(tensor) => self.meta(tensor),
            Value::Scalar(_) => return Value::list(Vec::new()),
            _ => None,
        };
        let Some(meta) = meta else { return Value::Unknown };
        Value::list(meta.sizes.iter().map(|size| size.map_or(Value::Unknown, |size| Value::int(size as i64))).collect())
    }

    fn size(&self, frame: &Frame, at: usize, of: &Value, dim: &Value) -> Result<Value> {
        let sizes = self.sizes(of);
        let (Some(sizes), Some(dim)) = (sizes.items(), dim.as_int()) else { return Ok(Value::Unknown) };
        let place = if dim < 0 { dim + sizes.len() as i64 } else { dim };
        match usize::try_from(place).ok().and_then(|place| sizes.get(place)) {
            Some(size) => Ok(size.clone()),
            None => self.refuse(frame, at, format!("a tensor of {} axes has no axis {dim}", sizes.len())),
        }
    }

    /// A tensor of numbers that the code writes: `torch.tensor(5.)`, `torch.tensor([1, 2])`.
    fn tensor(&mut self, frame: &mut Frame, at: usize, of: &Value, named: &Named) -> Result<Option<Value>> {
        let dtype: Named =
            named.iter().filter(|(name, value)| name == "dtype" && !matches!(value, Value::None)).cloned().collect();
        match of {
            Value::Number(number) => {
                let dtype = if dtype.is_empty() {
                    vec![("dtype".to_owned(), Value::int(default_dtype(*number)))]
                } else {
                    dtype
                };
                self.op(frame, at, "scalar_tensor", vec![of.clone()], dtype, None).map(Some)
            }
            Value::List(_) | Value::Tuple(..) => {
                let items = of.items().unwrap_or_default();
                if items.is_empty() || items.len() > MOST_WRITTEN {
                    return self.refuse(frame, at, format!("a tensor of {} written numbers", items.len()));
                }
                let mut tensors = Vec::with_capacity(items.len());
                for item in &items {
                    match self.tensor(frame, at, item, named)? {
                        Some(tensor) => tensors.push(tensor),
                        None => return Ok(None),
                    }
                }
                self.op(frame, at, "stack", vec![Value::list(tensors)], Vec::new(), None).map(Some)
            }
            Value::Scalar(_) | Value::Tensor(_) => Ok(Some(of.clone())),
            Value::Unknown => Ok(Some(Value::Unknown)),
            other => self.refuse(frame, at, format!("a tensor of {}", other.kind())),
        }
    }
}

/// Numbers of a tensor that the code writes out.
const MOST_WRITTEN: usize = 256;

/// Torch's number of the type that a written number gets.
pub(super) fn default_dtype(number: Number) -> i64 {
    match number {
        Number::Bool(_) => 11,
        Number::Int(_) => 4,
        Number::Float(_) => 6,
    }
}

fn product(meta: &TensorMeta) -> Option<i64> {
    meta.sizes.iter().try_fold(1i64, |all, size| all.checked_mul(i64::try_from((*size)?).ok()?))
}

/// A number out of JSON.
pub(super) fn number(json: &Json) -> Option<Number> {
    match json {
        Json::Bool(is_so) => Some(Number::Bool(*is_so)),
        Json::Number(number) => number.as_i64().map(Number::Int).or_else(|| number.as_f64().map(Number::Float)),
        _ => None,
    }
}

impl Given {
    /// The number that it is.
    pub(super) fn number(&self) -> Option<Number> {
        if let Given::Number(json) = self { number(json) } else { None }
    }
}
