//! What names of files mean, and what classes define: read once for all runs.

use std::collections::HashMap;
use std::rc::Rc;

use tree_sitter::Node;

use super::things::{How, Member, Shape, Shelf};
use crate::source::budget::Budget;
use crate::source::evaluate::children;
use crate::source::imports::Imports;
use crate::source::locate::Found;
use crate::source::python::Module;

/// Steps for a name.
const MEANING: usize = 2;
/// `from file import *` of one file that are followed.
const STARS: usize = 8;
/// Decorators that say how a method is called.
const DECORATORS: [(&str, How); 6] = [
    ("staticmethod", How::Static),
    ("classmethod", How::OfClass),
    ("property", How::Property),
    ("cached_property", How::Property),
    ("functools.cached_property", How::Property),
    ("abstractproperty", How::Property),
];

/// What a name in a file stands for, whatever runs.
#[derive(Debug, Clone)]
pub(super) enum Meaning<'t> {
    Class(Rc<Found>, &'t Module),
    Function(Rc<Found>, &'t Module),
    Value(Rc<Found>, &'t Module, String),
    File(Rc<Found>, &'t Module),
    Outside(Rc<str>),
}

/// What is read once for all runs.
pub(super) struct Library<'t> {
    pub imports: &'t Imports<'t>,
    shelf: &'t Shelf,
    pub budget: &'t Budget,
    meanings: HashMap<(usize, String), Meaning<'t>>,
    shapes: HashMap<(usize, usize), Rc<Shape<'t>>>,
}

impl<'t> Library<'t> {
    pub(super) fn new(imports: &'t Imports<'t>, shelf: &'t Shelf) -> Library<'t> {
        let budget = imports.sources().budget();
        Library { imports, shelf, budget, meanings: HashMap::new(), shapes: HashMap::new() }
    }

    pub(super) fn keep(&self, found: &Found) -> Option<&'t Module> {
        self.shelf.keep(&found.module)
    }

    pub(super) fn meaning(&mut self, found: &Rc<Found>, module: &'t Module, name: &str) -> Meaning<'t> {
        let key = (std::ptr::from_ref(module) as usize, name.to_owned());
        if let Some(known) = self.meanings.get(&key) {
            return known.clone();
        }
        self.budget.burn(MEANING);
        let meaning = self.find(found, module, name);
        self.meanings.insert(key, meaning.clone());
        meaning
    }

    /// A name of a file, or a dotted name that begins with an import.
    fn find(&self, found: &Rc<Found>, module: &'t Module, name: &str) -> Meaning<'t> {
        let here = || Rc::new(Found { name: name.to_owned(), ..(**found).clone() });
        if module.has_class(name) && !name.contains('.') {
            return Meaning::Class(here(), module);
        }
        if module.function(name).is_some() {
            return Meaning::Function(here(), module);
        }
        if module.global(name).is_some() {
            return Meaning::Value(here(), module, name.to_owned());
        }
        if super::outside::is_python(&format!("builtins.{name}")) && !module.is_imported(name) {
            return Meaning::Outside(format!("builtins.{name}").into());
        }
        let full = module.resolve(name);
        let imported = module.is_imported(name.split('.').next().unwrap_or(name));
        if imported && full.starts_with("torch.") || full == "torch" {
            return Meaning::Outside(full.into());
        }
        if imported && super::outside::is_known(&full) {
            return Meaning::Outside(full.into());
        }
        // `import name` stands for a file.
        let whole = imported && !full.contains('.');
        let defined = if whole { None } else { self.imports.anything(found, name) };
        if let Some((there, module)) = defined.and_then(|there| Some((Rc::new(there.clone()), self.keep(&there)?))) {
            let name = there.name.clone();
            return match () {
                () if module.has_class(&name) => Meaning::Class(there, module),
                () if module.function(&name).is_some() => Meaning::Function(there, module),
                () => Meaning::Value(there, module, name),
            };
        }
        if imported {
            let file = self.imports.file(found, name);
            return match file.and_then(|file| Some((Rc::new(file.clone()), self.keep(&file)?))) {
                Some((file, module)) => Meaning::File(file, module),
                None => Meaning::Outside(full.into()),
            };
        }
        // What a file imports is handed on by `from file import *` too.
        for star in module.star_imports().iter().take(STARS) {
            if !star.starts_with("torch")
                && let Some(there) = self.imports.file_of_star(found, star)
                && there.module.is_imported(name)
                && let Some(module) = self.keep(&there)
            {
                return self.find(&Rc::new(there), module, name);
            }
        }
        Meaning::Outside(format!("builtins.{name}").into())
    }

    pub(super) fn shape(&mut self, found: &Rc<Found>, module: &'t Module, node: Node<'t>) -> Rc<Shape<'t>> {
        let key = (std::ptr::from_ref(module) as usize, node.start_byte());
        if let Some(known) = self.shapes.get(&key) {
            return Rc::clone(known);
        }
        let mut shape = read_shape(module, node);
        let here = Found { name: String::new(), ..(**found).clone() };
        shape.module = super::dotted(self.imports.sources(), &here).trim_end_matches('.').to_owned();
        let shape = Rc::new(shape);
        self.shapes.insert(key, Rc::clone(&shape));
        shape
    }
}

fn read_shape<'t>(module: &'t Module, node: Node<'t>) -> Shape<'t> {
    let mut shape = Shape {
        module: String::new(),
        members: HashMap::new(),
        fields: Vec::new(),
        decorators: decorators(module, node),
    };
    let mut blocks: Vec<Node<'t>> = node.child_by_field_name("body").into_iter().collect();
    while let Some(block) = blocks.pop() {
        for statement in children(block) {
            module.budget().burn(1);
            let inner = match statement.kind() {
                "decorated_definition" => statement.child_by_field_name("definition").unwrap_or(statement),
                "expression_statement" => statement.named_child(0).unwrap_or(statement),
                _ => statement,
            };
            match inner.kind() {
                "function_definition" => {
                    let Some(name) = inner.child_by_field_name("name") else { continue };
                    let written = decorators(module, inner);
                    // `@x.setter` is not the property.
                    if written.iter().any(|it| it.ends_with(".setter") || it.ends_with(".deleter") || *it == "overload")
                    {
                        continue;
                    }
                    let how = DECORATORS.iter().find(|(name, _)| written.contains(name)).map_or(How::Plain, |it| it.1);
                    shape.members.insert(module.slice(name), Member::Method(inner, how));
                }
                "class_definition" => {
                    if let Some(name) = inner.child_by_field_name("name") {
                        shape.members.insert(module.slice(name), Member::Class(inner));
                    }
                }
                "assignment" => {
                    let Some(left) = inner.child_by_field_name("left").filter(|left| left.kind() == "identifier")
                    else {
                        continue;
                    };
                    let right = inner.child_by_field_name("right");
                    if inner.child_by_field_name("type").is_some() {
                        shape.fields.push((module.slice(left), right));
                    }
                    if let Some(right) = right {
                        shape.members.insert(module.slice(left), Member::Value(right));
                    }
                }
                "if_statement" | "try_statement" | "with_statement" => {
                    blocks.extend(["consequence", "body"].iter().find_map(|name| inner.child_by_field_name(name)));
                }
                _ => {}
            }
        }
    }
    shape
}

/// The decorators of a definition as written, without `@` and arguments.
pub(super) fn decorators<'t>(module: &'t Module, node: Node<'t>) -> Vec<&'t str> {
    let Some(outer) = node.parent().filter(|outer| outer.kind() == "decorated_definition") else { return Vec::new() };
    let written = children(outer).into_iter().filter(|child| child.kind() == "decorator");
    written.map(|it| module.slice(it).trim_start_matches('@').split('(').next().unwrap_or("").trim()).collect()
}
