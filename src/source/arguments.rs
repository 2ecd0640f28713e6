//! The arguments of a call of an op, as far as the registry's conditions ask for them.

use tree_sitter::Node;

use super::evaluate::children;
use super::literals::plain_string;
use super::python::Module;
use crate::registry::conditions::{Argument, Call};

/// Arguments of one call, and elements of a tuple, that are looked at.
const MOST: usize = 16;

/// The arguments of `x.op(…)`, which is called on `tensor`, or of `torch.op(x, …)`, where that is the first of them.
pub(super) fn of_call(module: &Module, tensor: Option<Node<'_>>, list: Node<'_>) -> Call {
    let reader = Reader { module };
    let mut call = Call { tensor: tensor.map(|tensor| reader.argument(tensor, 0)), ..Call::default() };
    for part in children(list).into_iter().take(MOST) {
        match part.kind() {
            "keyword_argument" => {
                let (name, value) = (part.child_by_field_name("name"), part.child_by_field_name("value"));
                let (Some(name), Some(value)) = (name, value) else { continue };
                let name = module.slice(name).to_owned();
                let value = reader.argument(value, 0);
                if tensor.is_none() && name == "input" {
                    call.tensor = Some(value);
                } else {
                    call.named.push((name, value));
                }
            }
            "list_splat" | "dictionary_splat" => call.more = true,
            _ => call.positional.push(reader.argument(part, 0)),
        }
    }
    if call.tensor.is_none() && !call.positional.is_empty() {
        call.tensor = Some(call.positional.remove(0));
    }
    call
}

/// Both sides of an operator.
pub(super) fn of_operator(module: &Module, node: Node<'_>) -> Call {
    let reader = Reader { module };
    let side = |name: &str| node.child_by_field_name(name).map(|side| reader.argument(side, 0));
    Call { tensor: side("left"), positional: side("right").into_iter().collect(), ..Call::default() }
}

struct Reader<'a> {
    module: &'a Module,
}

impl Reader<'_> {
    fn argument(&self, node: Node<'_>, depth: usize) -> Argument {
        self.module.budget().burn(1);
        let text = self.module.slice(node);
        match node.kind() {
            "none" => Argument::None,
            "true" => Argument::Bool(true),
            "false" => Argument::Bool(false),
            "integer" | "float" => text.replace('_', "").parse().map_or(Argument::Other, Argument::Number),
            "unary_operator" => match (text.starts_with('-'), node.child_by_field_name("argument")) {
                (true, Some(inner)) if depth == 0 || inner.kind() != "unary_operator" => {
                    match self.argument(inner, depth + 1) {
                        Argument::Number(number) => Argument::Number(-number),
                        _ => Argument::Other,
                    }
                }
                _ => Argument::Other,
            },
            "string" => match plain_string(self.module, node) {
                Some("cpu" | "cuda" | "mps" | "meta") => Argument::Device,
                Some(text) => Argument::Text(text.to_owned()),
                None => Argument::Other,
            },
            "tuple" | "list" if depth == 0 => {
                let elements = children(node).into_iter().take(MOST);
                Argument::Sequence(elements.map(|element| self.argument(element, depth + 1)).collect())
            }
            "parenthesized_expression" if depth == 0 => {
                node.named_child(0).map_or(Argument::Other, |inner| self.argument(inner, depth + 1))
            }
            "identifier" | "attribute" => self.named(text),
            "call" => self.made(node),
            _ => Argument::Other,
        }
    }

    /// What a name says of itself.
    fn named(&self, text: &str) -> Argument {
        let last = text.rsplit('.').next().unwrap_or(text);
        // The model just runs, and so does every module; `training` is what a helper is told of that.
        if last == "training" {
            return Argument::Bool(false);
        }
        let full = self.module.resolve(text);
        let torchs = full.strip_prefix("torch.").is_some_and(|name| DTYPES.contains(&name));
        match last {
            _ if torchs || last == "dtype" || last.ends_with("_dtype") => Argument::Dtype,
            _ if last == "device" || last.ends_with("_device") => Argument::Device,
            _ => Argument::Other,
        }
    }

    /// What a call certainly gives.
    fn made(&self, call: Node<'_>) -> Argument {
        let Some(function) = call.child_by_field_name("function") else { return Argument::Other };
        let name = function.child_by_field_name("attribute").unwrap_or(function);
        match self.module.slice(name) {
            "long" | "int" | "argmax" | "argmin" | "argsort" | "one_hot" | "randint" => Argument::Integers,
            "half" | "bfloat16" if function.kind() == "attribute" => Argument::Half,
            "get_device" | "current_device" => Argument::Device,
            _ => Argument::Other,
        }
    }
}

/// torch's names of dtypes.
const DTYPES: [&str; 22] = [
    "float32",
    "float",
    "float64",
    "double",
    "float16",
    "half",
    "bfloat16",
    "complex64",
    "cfloat",
    "complex128",
    "cdouble",
    "uint8",
    "int8",
    "int16",
    "short",
    "int32",
    "int",
    "int64",
    "long",
    "bool",
    "float8_e4m3fn",
    "float8_e5m2",
];
