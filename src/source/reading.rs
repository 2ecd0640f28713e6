//! One method with what its names mean: which calls are torch's, and which receivers cannot be tensors.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use tree_sitter::Node;

use super::bindings::Bindings;
use super::held::Facts;
use super::names::Names;
use super::python::Module;
use super::reach::{Reached, is_super};
use super::tensors::{self, Tensors};

/// Bytes of a dotted name of a class; nobody writes a longer one.
const LONGEST_NAME: usize = 512;

/// A method that is looked through.
pub(super) struct Reading<'t, 'a> {
    pub reached: Reached<'t>,
    pub module: &'t Module,
    pub function: Node<'t>,
    pub tensors: Tensors<'t, 'a>,
    pub names: Names<'t, 'a>,
    /// `self`
    pub receiver: &'t str,
    /// Steps that are left to the question that is being answered.
    pub fuel: Cell<u32>,
    /// Answers of [`Reading::is_no_tensor`] by the ids of nodes: each pattern asks again.
    no_tensors: RefCell<HashMap<usize, bool>>,
}

impl<'t, 'a> Reading<'t, 'a> {
    pub(super) fn new(reached: Reached<'t>, facts: &'a Facts) -> Reading<'t, 'a> {
        let (module, function) = (reached.module, reached.method.node);
        let bindings = Rc::new(Bindings::new(module, function));
        Reading {
            reached,
            module,
            function,
            tensors: Tensors::new(module, function, Rc::clone(&bindings), &facts.attributes, &facts.layers),
            names: Names::new(module, function, bindings, &facts.attributes),
            receiver: module.receiver(function).unwrap_or("self"),
            fuel: Cell::new(0),
            no_tensors: RefCell::default(),
        }
    }

    /// The full name of a function or attribute: `torch.nonzero` under whatever name it was imported or assigned, `x.nonzero`
    /// for a method of what may be a tensor. `None` for anything else.
    pub(super) fn full_name(&self, written: Node<'t>, called: bool) -> Option<String> {
        let text = self.module.slice(written);
        if let Some(full) = self.tensors.imported(written).or_else(|| self.assigned(written, text)) {
            let method = full.strip_prefix("torch.Tensor.").map(|name| format!("x.{name}"));
            return Some(method.unwrap_or(full));
        }
        let (object, name) = (written.child_by_field_name("object")?, written.child_by_field_name("attribute")?);
        (called && !self.is_no_tensor(object)).then(|| format!("x.{}", self.module.slice(name)))
    }

    /// What a name of the file or an attribute of `self` was set to, if that has been imported: `scan = torch.ops.mine.scan`.
    fn assigned(&self, written: Node<'t>, text: &str) -> Option<String> {
        let own = text.strip_prefix(self.receiver).is_some_and(|rest| rest.starts_with('.'));
        if !own && (written.kind() != "identifier" || self.tensors.is_bound(text, written.start_byte())) {
            return None;
        }
        let value = self.module.assigned(text)?;
        let first = value.split('.').next().unwrap_or(value);
        (first == "torch" || self.module.is_imported(first)).then(|| self.module.resolve(value))
    }

    /// A class of the file, called.
    fn is_instance(&self, call: Node<'t>) -> bool {
        let class = call.child_by_field_name("function").map_or("", |function| self.module.slice(function));
        // Of a chain of calls the text is as long as the chain, and no name.
        class.len() <= LONGEST_NAME && self.module.has_class(class)
    }

    /// `self`, `super()`, a number, a string, a container, an array of NumPy, a module or a class.
    pub(super) fn is_no_tensor(&self, object: Node<'t>) -> bool {
        if let Some(known) = self.no_tensors.borrow().get(&object.id()) {
            return *known;
        }
        let none = self.find_no_tensor(object);
        self.no_tensors.borrow_mut().insert(object.id(), none);
        none
    }

    fn find_no_tensor(&self, object: Node<'t>) -> bool {
        let text = self.module.slice(object);
        match object.kind() {
            "identifier" if text == self.receiver => true,
            "call" if is_super(self.module, object) || self.is_instance(object) => true,
            _ if self.names.is_host(object) || self.tensors.imported(object).is_some() => true,
            _ => tensors::root_name(object).is_some_and(|root| {
                let root = self.module.slice(root);
                let capital = root.starts_with(|first: char| first.is_uppercase());
                root != self.receiver && capital && !self.tensors.is_bound(root, object.start_byte())
            }),
        }
    }
}
