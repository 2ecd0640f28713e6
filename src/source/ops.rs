//! Which torch ops the methods that run call, by the names that the op registry knows them by.
//!
//! A call of a function is resolved through the file's imports. A call of a method belongs to torch if its receiver is a
//! tensor; where that cannot be known, the method's name decides and the use is marked as a guess.

use std::collections::HashSet;

use tree_sitter::Node;

use super::arguments;
use super::python::Module;
use super::reading::Reading;
use super::tensors;
use crate::registry::conditions::Call;
use crate::registry::ops::is_tensor_method;

/// Uses of one class that are kept; text made by hand has a few hundred.
const LIMIT: usize = 5_000;

/// One op written in a forward.
#[derive(Debug, Clone, PartialEq)]
pub struct OpUse {
    /// As the registry spells it: `torch.cat`, `F.relu`, `x.view`; of a submodule in full, `torch.linalg.norm`.
    pub name: String,
    /// Written as an operator or a property (`a + b`, `x.T`): said to be this op only if the registry has a row of it.
    pub operator: bool,
    /// No op by itself (`x[0]`, `x.shape`): told only where channels are last and its axis is another one.
    pub axes_only: bool,
    /// The receiver of a method is not known to be a tensor.
    pub guess: bool,
    /// The file, where it is another than the class's own: the method is a base's.
    pub file: Option<String>,
    /// 1-based line of the op's name.
    pub line: usize,
    /// What it is called with.
    pub call: Call,
    /// The byte of the file that the op's name begins at.
    pub at: usize,
}

/// The ops in the methods that run, each method's by line, and what counts axes beside them; `file_of` names the file of a method that is not in the class's own.
pub(super) fn find(
    readings: &[Reading<'_, '_>],
    file_of: impl Fn(&Module) -> Option<String>,
) -> (Vec<OpUse>, Vec<OpUse>) {
    let (mut uses, mut counted) = (Vec::new(), Vec::new());
    let mut readings: Vec<&Reading<'_, '_>> = readings.iter().collect();
    readings.sort_by_key(|reading| (reading.reached.owner, reading.function.start_byte()));
    for reading in readings {
        let (scan, file) = (Scan(reading), file_of(reading.module));
        let mut called = HashSet::new();
        for node in reading.tensors.operations() {
            if uses.len() < LIMIT && reading.module.budget().burn(1) {
                let found = scan.op(*node, &mut called);
                let Some(found) = found else { continue };
                let into = if found.axes_only { &mut counted } else { &mut uses };
                if into.len() < LIMIT {
                    into.push(found.at(file.clone()));
                }
            }
        }
    }
    (uses, counted)
}

/// One method that is looked through.
struct Scan<'t, 'a>(&'a Reading<'t, 'a>);

/// An op, and the node that its line is taken from.
struct Found<'t> {
    name: String,
    operator: bool,
    axes_only: bool,
    guess: bool,
    place: Node<'t>,
    call: Call,
}

/// Indices of a tensor.
pub const INDEX: &str = "x[…]";

impl<'t> Found<'t> {
    /// What is told by its axes alone.
    fn of_axes(name: &str, place: Node<'t>) -> Found<'t> {
        let (name, call) = (name.to_owned(), Call::default());
        Found { name, operator: true, axes_only: true, guess: false, place, call }
    }

    fn at(self, file: Option<String>) -> OpUse {
        // Of indices the bracket, behind what they are of.
        let place = self.place;
        let (row, at) = match self.name.as_str() {
            INDEX => (place.end_position().row, place.end_byte()),
            _ => (place.start_position().row, place.start_byte()),
        };
        let Found { name, operator, axes_only, guess, call, .. } = self;
        OpUse { name, operator, axes_only, guess, file, line: row + 1, call, at }
    }
}

impl<'t> Scan<'t, '_> {
    /// The op that a node is; `called` collects the functions of calls, which are no properties.
    fn op(&self, node: Node<'t>, called: &mut HashSet<usize>) -> Option<Found<'t>> {
        match node.kind() {
            "call" => {
                let function = node.child_by_field_name("function")?;
                called.insert(function.id());
                self.called(function, node.child_by_field_name("arguments"))
            }
            "attribute" if !called.contains(&node.id()) => self.property(node),
            "subscript" => {
                let place = node.child_by_field_name("value")?;
                Some(Found::of_axes(INDEX, place))
            }
            "binary_operator" => self.operator(node),
            _ => None,
        }
    }

    fn called(&self, function: Node<'t>, arguments: Option<Node<'t>>) -> Option<Found<'t>> {
        let place = function.child_by_field_name("attribute").unwrap_or(function);
        if let Some(full) = self.0.tensors.imported(function) {
            let name = tensors::canonical(&full)?;
            let call = arguments.map(|list| arguments::of_call(self.0.module, None, list));
            return Some(Found {
                name,
                operator: false,
                axes_only: false,
                guess: false,
                place,
                call: call.unwrap_or_default(),
            });
        }
        let object = function.child_by_field_name("object")?;
        let method = self.0.module.slice(place);
        if method == "size" {
            return Some(Found::of_axes("x.size", place));
        }
        if !is_tensor_method(method) || self.0.is_no_tensor(object) {
            return None;
        }
        let guess = !self.0.tensors.is_tensor(object);
        // `line.split(",")`
        let first = arguments.and_then(|arguments| arguments.named_child(0));
        if guess && first.is_some_and(|first| first.kind() == "string") {
            return None;
        }
        let call = arguments.map(|list| arguments::of_call(self.0.module, Some(object), list));
        let (name, call) = (format!("x.{method}"), call.unwrap_or_default());
        Some(Found { name, operator: false, axes_only: false, guess, place, call })
    }

    /// `x.T` and `x.mT`
    fn property(&self, node: Node<'t>) -> Option<Found<'t>> {
        let (object, name) = (node.child_by_field_name("object")?, node.child_by_field_name("attribute")?);
        if self.0.module.slice(name) == "shape" {
            return Some(Found::of_axes("x.shape", name));
        }
        let known = matches!(self.0.module.slice(name), "T" | "mT") && self.0.tensors.is_tensor(object);
        let name = format!("x.{}", self.0.module.slice(name));
        let call = Call::default();
        known.then_some(Found { name, operator: true, axes_only: false, guess: false, place: node, call })
    }

    fn operator(&self, node: Node<'t>) -> Option<Found<'t>> {
        let place = node.child_by_field_name("operator")?;
        let name = match self.0.module.slice(place) {
            "+" => "torch.add",
            "-" => "torch.sub",
            "*" => "torch.mul",
            "/" => "torch.div",
            "//" => "torch.floor_divide",
            "%" => "torch.remainder",
            "**" => "torch.pow",
            "@" => "torch.matmul",
            _ => return None,
        };
        let guess = !self.0.tensors.is_tensor(node);
        // Arithmetic on what may as well be numbers is not worth a guess; nothing but arrays is multiplied by `@`.
        let told = !guess || name == "torch.matmul";
        let call = arguments::of_operator(self.0.module, node);
        let name = name.to_owned();
        Some(Found { name, operator: true, axes_only: !told, guess: guess && told, place, call })
    }
}
