//! What the names of TorchScript's code stand for while a graph is made of it.

use std::cell::RefCell;
use std::rc::Rc;

use t2m_checkpoint::graph::ValueId;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A tensor of the graph.
    Tensor(Tensor),
    /// A tensor without axes whose number is known: what tracing makes of sizes. It becomes a tensor of the graph where an op
    /// takes it together with one.
    Scalar(Number),
    None,
    Number(Number),
    Text(Rc<str>),
    List(Rc<RefCell<Vec<Value>>>),
    /// With the names of its members, where its class has such.
    Tuple(Rc<Vec<Value>>, Option<Rc<Vec<String>>>),
    Dict(Rc<RefCell<Vec<(Value, Value)>>>),
    /// An object, by its index.
    Object(usize),
    Device,
    /// A member of an enumeration.
    Member(Rc<Member>),
    /// A function of the archive's, by its full name.
    Function(Rc<str>),
    /// So many tensors that only sizes tell how many; one stands for all.
    Several(Tensor),
    /// A number, or several, that depend on sizes or elements that nothing tells.
    Unknown,
}

/// A member of an enumeration of the archive's.
#[derive(Debug)]
pub(super) struct Member {
    /// The enumeration, as TorchScript has it.
    pub class: String,
    pub name: String,
    pub value: Value,
}

/// A number or a truth value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Bool(bool),
    Int(i64),
    Float(f64),
}

/// A tensor of the graph, by its value. When the last of its kind goes, nothing can use the value any more.
#[derive(Debug, Clone)]
pub(super) struct Tensor(Rc<Held>);

#[derive(Debug)]
struct Held {
    id: ValueId,
    gone: Gone,
}

/// Values that nothing can use any more.
pub(super) type Gone = Rc<RefCell<Vec<ValueId>>>;

impl Drop for Held {
    fn drop(&mut self) {
        if let Ok(mut gone) = self.gone.try_borrow_mut() {
            gone.push(self.id);
        }
    }
}

impl Tensor {
    pub(super) fn new(id: ValueId, gone: &Gone) -> Tensor {
        Tensor(Rc::new(Held { id, gone: Rc::clone(gone) }))
    }

    pub(super) fn id(&self) -> ValueId {
        self.0.id
    }
}

impl Value {
    pub(super) fn int(number: i64) -> Value {
        Value::Number(Number::Int(number))
    }

    pub(super) fn bool(is_so: bool) -> Value {
        Value::Number(Number::Bool(is_so))
    }

    pub(super) fn text(text: &str) -> Value {
        Value::Text(Rc::from(text))
    }

    pub(super) fn list(items: Vec<Value>) -> Value {
        Value::List(Rc::new(RefCell::new(items)))
    }

    pub(super) fn tuple(items: Vec<Value>) -> Value {
        Value::Tuple(Rc::new(items), None)
    }

    /// The members of a list or tuple, as they are now.
    pub(super) fn items(&self) -> Option<Vec<Value>> {
        match self {
            Value::List(items) => Some(items.borrow().clone()),
            Value::Tuple(items, _) => Some(items.as_ref().clone()),
            _ => None,
        }
    }

    /// A number, also that of a tensor without axes.
    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Value::Number(number) | Value::Scalar(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn as_int(&self) -> Option<i64> {
        match self.number()? {
            Number::Int(whole) => Some(whole),
            Number::Bool(is_so) => Some(i64::from(is_so)),
            Number::Float(_) => None,
        }
    }

    /// What kind of value it is, in a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Tensor(_) | Value::Scalar(_) => "a tensor",
            Value::None => "None",
            Value::Number(Number::Bool(_)) => "a truth value",
            Value::Number(Number::Int(_)) => "a whole number",
            Value::Number(Number::Float(_)) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Tuple(..) => "a tuple",
            Value::Dict(_) => "a dict",
            Value::Object(_) => "an object",
            Value::Device => "a device",
            Value::Member(_) => "a member of an enumeration",
            Value::Function(_) => "a function",
            Value::Several(_) => "a list",
            Value::Unknown => "what is not known",
        }
    }

    /// Whether two are the same; `None` where that cannot be told.
    pub(super) fn equals(&self, other: &Value) -> Option<bool> {
        Some(match (self, other) {
            (Value::Unknown | Value::Several(_) | Value::Tensor(_) | Value::Scalar(_), _)
            | (_, Value::Unknown | Value::Several(_) | Value::Tensor(_) | Value::Scalar(_)) => return None,
            (Value::Number(a), Value::Number(b)) => a.float() == b.float(),
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Object(a), Value::Object(b)) => a == b,
            (Value::Function(a), Value::Function(b)) => a == b,
            (Value::Member(a), Value::Member(b)) => a.class == b.class && a.name == b.name,
            (Value::None, Value::None) | (Value::Device, Value::Device) => true,
            (Value::List(_), Value::List(_)) | (Value::Tuple(..), Value::Tuple(..)) => {
                let (a, b) = (self.items()?, other.items()?);
                if a.len() != b.len() {
                    return Some(false);
                }
                let mut same = true;
                for (a, b) in a.iter().zip(&b) {
                    same &= a.equals(b)?;
                }
                same
            }
            _ => false,
        })
    }
}

impl Number {
    pub(super) fn float(self) -> f64 {
        match self {
            Number::Bool(is_so) => f64::from(u8::from(is_so)),
            Number::Int(whole) => whole as f64,
            Number::Float(number) => number,
        }
    }

    pub(super) fn holds(self) -> bool {
        self.float() != 0.0
    }
}
