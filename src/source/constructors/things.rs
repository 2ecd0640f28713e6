//! What the values of constructors stand for: lists, functions, classes, modules. They are kept by number, so that nothing is nested
//! in itself.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;
use tree_sitter::Node;

use crate::registry::constructors::Constructor;
use crate::source::evaluate::{Arguments, Row, Symbol, Value};
use crate::source::locate::Found;
use crate::source::python::Module;

/// The number of a thing.
pub(super) type Id = u32;

/// A value that may be changed, or that something can be asked of.
#[derive(Debug, Clone)]
pub(super) enum Thing<'t> {
    /// A tuple, list or set.
    Row(Row, Vec<Value>),
    /// A dict.
    Dict(Vec<(Value, Value)>),
    /// `range(x)` up to a number that is not known, from here in these steps.
    Range { end: Symbol, start: i64 },
    /// A function, method or lambda of the source.
    Function(Rc<Function<'t>>),
    /// A function with the object that it is a method of.
    Bound(Value, Value),
    /// `functools.partial`
    Partial(Value, Arguments),
    /// A class of the source.
    Class(Rc<Class<'t>>),
    /// What other code has, by its full name: `torch.nn.Conv2d`, `builtins.len`.
    Outside(Rc<str>),
    /// A file of the source.
    File(Rc<Found>, &'t Module),
    /// `super()`: the object, and the class behind which methods are looked for.
    Super(Value, Id),
    /// An object of a class of the source, or a module of torch's.
    Object(Object),
    /// A tensor; a parameter, where it is kept.
    Tensor(bool),
}

/// An object of a class.
#[derive(Debug, Clone, Default)]
pub(super) struct Object {
    /// Its class in the source; `None` for layers of torch.
    pub class: Option<Id>,
    /// What it has in attributes that are no modules.
    pub fields: IndexMap<String, Value>,
    /// An attribute that is not in them may be anything.
    pub open: bool,
    /// What it is as a module of torch.
    pub part: Option<Box<Part>>,
}

/// A module of torch.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    /// Full path of its class.
    pub class: String,
    /// How torch constructs it.
    pub constructor: Option<&'static Constructor>,
    /// Arguments by name, as far as they are given; defaults included if `complete`.
    pub arguments: Vec<(String, Value)>,
    pub complete: bool,
    /// Attributes set later.
    pub changed: Vec<(String, Value)>,
    /// The modules in it, by name.
    pub children: IndexMap<String, Value>,
    /// Names of its own parameters.
    pub tensors: Vec<String>,
    /// Names of attributes that may be anything, modules too.
    pub holes: Vec<String>,
    pub kind: Kind,
    /// Where it was built.
    pub file: Rc<str>,
    pub line: usize,
}

/// What kind of module it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Own,
    Sequential,
    List,
    Dict,
}

/// A function of the source.
#[derive(Debug)]
pub(super) struct Function<'t> {
    pub module: &'t Module,
    pub found: Rc<Found>,
    /// A `function_definition` or a `lambda`.
    pub node: Node<'t>,
    /// Names around it.
    pub scope: Option<Scope<'t>>,
    /// The class that it is a method of.
    pub owner: Option<Id>,
}

/// A class of the source.
#[derive(Debug)]
pub(super) struct Class<'t> {
    pub module: &'t Module,
    pub found: Rc<Found>,
    /// Full path.
    pub name: String,
    pub shape: Rc<Shape<'t>>,
    /// Itself and its bases in the source, in the order in which methods are looked for.
    pub order: Vec<Id>,
    /// Full names of bases elsewhere.
    pub outside: Vec<String>,
    pub scope: Option<Scope<'t>>,
    /// Values of its attributes that were asked for; `None` while one is found out.
    pub known: RefCell<HashMap<String, Option<Value>>>,
}

/// What the body of a class defines.
#[derive(Debug)]
pub(super) struct Shape<'t> {
    /// The dotted name of its file.
    pub module: String,
    pub members: HashMap<&'t str, Member<'t>>,
    /// `name: type = default`, in order.
    pub fields: Vec<(&'t str, Option<Node<'t>>)>,
    /// Its decorators as written.
    pub decorators: Vec<&'t str>,
}

/// What a name in a class's body stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Member<'t> {
    Method(Node<'t>, How),
    Class(Node<'t>),
    Value(Node<'t>),
}

/// How a method is decorated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Plain,
    Static,
    OfClass,
    Property,
}

/// Names of a function that runs.
pub(super) type Scope<'t> = Rc<Names<'t>>;

#[derive(Debug, Default)]
pub(super) struct Names<'t> {
    pub here: RefCell<HashMap<&'t str, Value>>,
    pub around: Option<Scope<'t>>,
}

impl<'t> Names<'t> {
    pub(super) fn within(around: Option<Scope<'t>>) -> Scope<'t> {
        Rc::new(Names { here: RefCell::default(), around })
    }

    pub(super) fn get(&self, name: &str) -> Option<Value> {
        let mut at = Some(self);
        while let Some(names) = at {
            if let Some(value) = names.here.borrow().get(name) {
                return Some(value.clone());
            }
            at = names.around.as_deref();
        }
        None
    }

    pub(super) fn set(&self, name: &'t str, value: Value) {
        self.here.borrow_mut().insert(name, value);
    }
}

/// Files that were met, at places that stay.
#[derive(Debug)]
pub(super) struct Shelf(Box<[OnceCell<Arc<Module>>]>);

/// Files that are looked into.
const FILES: usize = 2_048;

impl Default for Shelf {
    fn default() -> Shelf {
        Shelf((0..FILES).map(|_| OnceCell::new()).collect())
    }
}

impl Shelf {
    /// Keep a file; `None` where there are too many.
    pub(super) fn keep(&self, module: &Arc<Module>) -> Option<&Module> {
        for place in &self.0 {
            match place.get() {
                Some(kept) if Arc::ptr_eq(kept, module) => return Some(kept),
                Some(_) => {}
                None => return Some(place.get_or_init(|| Arc::clone(module))),
            }
        }
        None
    }
}
