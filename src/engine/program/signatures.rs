//! How the functions that examples call take their arguments.
//!
//! `assets/registry/signatures.txt` has a line a function: its name, then its parameters in order. `@x` is an array (or a
//! number that meets one, or a list of arrays), `?x` an array where an array is given in its place, `@*x` all arrays that
//! follow, `*x` all numbers that follow as one list, and any other a plain value.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::Operand;
use super::parse::Argument;

/// Whose names the text uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `torch`, `F`, methods of tensors.
    Torch,
    /// `mx`, `nn`, methods of arrays.
    Mlx,
}

/// Operators, and the functions that they stand for in both libraries.
const OPERATORS: [(&str, &str, &str); 16] = [
    ("+", "add", "add"),
    ("-", "sub", "subtract"),
    ("*", "mul", "multiply"),
    ("/", "div", "divide"),
    ("**", "pow", "power"),
    ("@", "matmul", "matmul"),
    ("%", "remainder", "remainder"),
    ("//", "floor_divide", "floor_divide"),
    (">", "gt", "greater"),
    (">=", "ge", "greater_equal"),
    ("<", "lt", "less"),
    ("<=", "le", "less_equal"),
    ("==", "eq", "equal"),
    ("!=", "ne", "not_equal"),
    ("&", "logical_and", "logical_and"),
    ("|", "logical_or", "logical_or"),
];

impl Dialect {
    /// Whether a name is one of the library's modules.
    pub(super) fn is_module(self, name: &str) -> bool {
        match self {
            Dialect::Torch => matches!(name, "torch" | "F" | "torch.nn.functional" | "torch.linalg"),
            Dialect::Mlx => matches!(name, "mx" | "nn"),
        }
    }

    /// A function's name as steps have it.
    pub(super) fn full(self, name: &str) -> String {
        name.strip_prefix("torch.nn.functional.").map_or_else(|| name.to_owned(), |name| format!("F.{name}"))
    }

    /// A function of the library's main module.
    pub(super) fn function(self, name: &str) -> String {
        match self {
            Dialect::Torch => format!("torch.{name}"),
            Dialect::Mlx => format!("mx.{name}"),
        }
    }

    /// A method. MLX's are functions as well.
    pub(super) fn method(self, name: &str) -> String {
        match (self, name) {
            (Dialect::Torch, _) => format!("Tensor.{name}"),
            (Dialect::Mlx, "astype") => name.to_owned(),
            (Dialect::Mlx, _) => format!("mx.{name}"),
        }
    }

    /// The function that an operator stands for.
    pub(super) fn operator(self, sign: &str) -> Option<String> {
        let (_, torch, mlx) = OPERATORS.iter().find(|(known, ..)| *known == sign)?;
        Some(self.function(if self == Dialect::Torch { torch } else { mlx }))
    }

    /// The call that an attribute stands for.
    pub(super) fn property(self, name: &str) -> Option<&'static str> {
        match (self, name) {
            (Dialect::Torch, "T") => Some("Tensor.T"),
            (Dialect::Torch, "mT") => Some("Tensor.mT"),
            (Dialect::Mlx, "T") => Some("mx.transpose"),
            _ => None,
        }
    }

    /// What `x[..., None]` stands for, and its argument.
    pub(super) fn expand_dims(self) -> (&'static str, &'static str) {
        match self {
            Dialect::Torch => ("torch.unsqueeze", "dim"),
            Dialect::Mlx => ("mx.expand_dims", "axis"),
        }
    }
}

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parameter {
    Array(&'static str),
    MaybeArray(&'static str),
    Arrays,
    Values(&'static str),
    Value(&'static str),
}

const TEXT: &str = include_str!("../../../assets/registry/signatures.txt");

static SIGNATURES: LazyLock<HashMap<&'static str, Vec<Parameter>>> = LazyLock::new(|| {
    let lines = TEXT.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.map(Parameter::new).collect()))
        })
        .collect()
});

impl Parameter {
    fn new(word: &'static str) -> Parameter {
        if word.starts_with("@*") {
            return Parameter::Arrays;
        }
        match word.split_at_checked(1) {
            Some(("@", name)) => Parameter::Array(name),
            Some(("?", name)) => Parameter::MaybeArray(name),
            Some(("*", name)) => Parameter::Values(name),
            _ => Parameter::Value(word),
        }
    }
}

/// Whether a function of that name is described: by its full name, of torch by the name alone as well.
fn signature(dialect: Dialect, name: &str) -> Option<&'static [Parameter]> {
    let bare = match dialect {
        Dialect::Torch => bare(name),
        Dialect::Mlx => name,
    };
    SIGNATURES.get(name).or_else(|| SIGNATURES.get(bare)).map(Vec::as_slice)
}

/// A torch function's name without the space that it is called in: most are functions and methods alike.
pub(in crate::engine) fn bare(name: &str) -> &str {
    let spaces = ["torch.", "F.", "Tensor."];
    spaces.iter().find_map(|space| name.strip_prefix(space)).unwrap_or(name)
}

type Bound = (Vec<Operand>, Map<String, Value>);

/// Give each argument its place: arrays as inputs, all else by name.
pub(super) fn bind(
    dialect: Dialect,
    call: &str,
    positional: Vec<Argument>,
    named: Vec<(String, Argument)>,
) -> Result<Bound, String> {
    let parameters = signature(dialect, call).ok_or_else(|| format!("no signature describes {call}"))?;
    let mut bound = Binding { parameters, next: 0, inputs: Vec::new(), args: Map::new() };
    // Python's range takes one number as its end.
    if call.ends_with(".arange") && positional.len() == 1 {
        bound.next = 1;
    }
    let mut rest = positional.as_slice();
    while let Some((first, behind)) = rest.split_first() {
        rest = bound.positional(first, behind, call)?;
    }
    for (name, argument) in named {
        bound.named(name, argument, call)?;
    }
    Ok((bound.inputs, bound.args))
}

struct Binding {
    parameters: &'static [Parameter],
    next: usize,
    inputs: Vec<Operand>,
    args: Map<String, Value>,
}

impl Binding {
    /// Take one positional argument, or all: what is left of them.
    fn positional<'a>(
        &mut self,
        first: &Argument,
        behind: &'a [Argument],
        call: &str,
    ) -> Result<&'a [Argument], String> {
        // A dtype stands for itself wherever it is: `x.view(torch.int32)`.
        if let Argument::Dtype(dtype) = first {
            self.args.insert("dtype".to_owned(), dtype.clone().into());
            return Ok(behind);
        }
        let is_array = matches!(first, Argument::Array(_));
        while matches!(self.parameters.get(self.next), Some(Parameter::MaybeArray(_))) && !is_array {
            self.next += 1;
        }
        let parameter = self.parameters.get(self.next).ok_or_else(|| format!("{call} takes fewer arguments"))?;
        self.next += 1;
        match *parameter {
            Parameter::Array(name) | Parameter::MaybeArray(name) => self.array(name, first)?,
            Parameter::Arrays => {
                let all = std::iter::once(first).chain(behind).map(Argument::operand);
                let all = all.collect::<Option<Vec<Operand>>>().ok_or_else(|| format!("{call} takes arrays"))?;
                self.inputs.push(match all.as_slice() {
                    [list @ Operand::List(_)] => list.clone(),
                    _ => Operand::List(all),
                });
                return Ok(&[]);
            }
            Parameter::Values(name) => {
                if let Argument::Plain(list @ Value::Array(_)) = first {
                    self.args.insert(name.to_owned(), list.clone());
                    return Ok(behind);
                }
                let all = std::iter::once(first).chain(behind).map(plain).collect::<Result<Vec<Value>, _>>()?;
                self.args.insert(name.to_owned(), all.into());
                return Ok(&[]);
            }
            Parameter::Value(name) => {
                self.args.insert(name.to_owned(), plain(first)?);
            }
        }
        Ok(behind)
    }

    fn named(&mut self, name: String, argument: Argument, call: &str) -> Result<(), String> {
        if self.args.contains_key(&name) {
            return Err(format!("{call} is given `{name}` twice"));
        }
        let arrays = self.parameters.iter().filter_map(|parameter| match parameter {
            Parameter::Array(name) | Parameter::MaybeArray(name) => Some(*name),
            _ => None,
        });
        let place = arrays.into_iter().position(|array| array == name);
        match (place, &argument) {
            (Some(place), Argument::Array(_)) if place == self.inputs.len() => self.array(&name, &argument),
            (_, Argument::Array(_)) => Err(format!("{call} takes no array as `{name}` here")),
            (Some(place), Argument::Plain(Value::Number(_))) if place == self.inputs.len() => {
                self.array(&name, &argument)
            }
            _ => {
                self.args.insert(name, plain(&argument)?);
                Ok(())
            }
        }
    }

    fn array(&mut self, name: &str, argument: &Argument) -> Result<(), String> {
        // Plain lists are written-out arguments: `[2, 3]` of `mx.split`.
        if let Argument::Plain(value) = argument
            && !value.is_number()
        {
            self.args.insert(name.to_owned(), value.clone());
            return Ok(());
        }
        let operand = argument.operand().ok_or_else(|| format!("`{name}` has to be an array"))?;
        self.inputs.push(operand);
        Ok(())
    }
}

fn plain(argument: &Argument) -> Result<Value, String> {
    match argument {
        Argument::Plain(value) => Ok(value.clone()),
        Argument::Dtype(dtype) => Ok(dtype.clone().into()),
        Argument::Infinite(number) => Ok(if *number > 0.0 { "mx.inf" } else { "-mx.inf" }.into()),
        Argument::Array(_) => Err("a plain value is expected where an array is".to_owned()),
    }
}
