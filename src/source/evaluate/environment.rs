//! What expressions are evaluated in: what names, attributes and calls give, and things that may be changed.

use tree_sitter::Node;

use super::value::Value;

/// The budget is spent, or an expression is nested too deep: nothing that was found so far may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) struct Spent;

/// How certain it is that something runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::source) enum Runs {
    /// It does not.
    Never,
    /// That cannot be decided.
    Maybe,
    /// It does.
    Always,
}

/// What is called.
#[derive(Debug, Clone)]
pub(in crate::source) enum Callee<'t> {
    /// A name, or a dotted name that begins with no value: `len`, `torch.zeros`.
    Name(Node<'t>),
    /// A method of something.
    Method {
        /// What it is a method of, as written, …
        object: Node<'t>,
        /// … and its value.
        value: Value,
        /// The method's name, …
        name: &'t str,
        /// … and the byte that it begins at.
        at: usize,
    },
    /// Whatever an expression gives.
    Value(Value),
}

/// The arguments of a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::source) struct Arguments {
    /// Those by position.
    pub positional: Vec<Value>,
    /// Those by name.
    pub named: Vec<(String, Value)>,
    /// There may be more, of any kind: `*args`, `**kwargs` that are not known.
    pub more: bool,
}

impl Arguments {
    /// The same for tensors of any number of channels: calls that differ in it alone are followed once.
    #[must_use]
    pub fn of_any_width(&self) -> Arguments {
        let any = |value: &Value| match value {
            Value::Tensor(_) => value.clone().settled(),
            other => other.clone(),
        };
        Arguments {
            positional: self.positional.iter().map(any).collect(),
            named: self.named.iter().map(|(name, value)| (name.clone(), any(value))).collect(),
            more: self.more,
        }
    }
}

/// What expressions are evaluated in.
pub(in crate::source) trait Environment<'t> {
    /// What a name stands for.
    fn name(&mut self, name: Node<'t>) -> Result<Value, Spent>;
    /// Whether a name stands for a value here, and not for something of the file or of Python.
    fn is_bound(&self, name: &str) -> bool;
    /// Let a name stand for a value.
    fn bind(&mut self, name: &'t str, value: Value);
    /// An attribute of a value.
    fn attribute(&mut self, object: &Value, name: &'t str) -> Result<Value, Spent>;
    /// What a call gives; `None` where that is for Python to say.
    fn call(&mut self, callee: &Callee<'t>, arguments: &Arguments) -> Result<Option<Value>, Spent>;
    /// Go into a part of an expression that runs so certainly; gives what to hand to [`Environment::leave`].
    fn enter(&mut self, _part: Node<'t>, runs: Runs) -> Runs {
        runs
    }
    /// Come back from it.
    fn leave(&mut self, _before: Runs) {}
    /// What an attribute of a tensor gives, where that follows from where its axes are.
    fn property(&mut self, _node: Node<'t>, _object: &Value, _name: &'t str) -> Option<Value> {
        None
    }
    /// What a tensor gives under these indices, each with its value.
    fn indexed(&mut self, _node: Node<'t>, _object: &Value, _indices: &[(Node<'t>, Value)]) -> Option<Value> {
        None
    }
    /// What an operator gives between tensors of which one is known.
    fn operation(&mut self, _node: Node<'t>, _left: &Value, _right: &Value) -> Option<Value> {
        None
    }
    /// A container of modules: what it holds under this index, and at each turn of a loop.
    fn element(&mut self, _object: &Value, _index: &Value) -> Value {
        Value::Unknown
    }
    /// A call is made, its arguments are known.
    fn calls(&mut self, _call: Node<'t>) {}
    /// Python's truth of a condition's value. Where one way has to be taken it is never `None`.
    fn decide(&mut self, _condition: Node<'t>, value: &Value) -> Option<bool> {
        value.truth()
    }
    /// What has things of its own, which may be changed; `None` where values alone are looked at.
    fn store(&mut self) -> Option<&mut dyn Store<'t>> {
        None
    }
}

/// How a row of values is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Row {
    Tuple,
    List,
    Set,
}

/// Things that may be changed by whoever has them: lists, dicts, functions. They are [`Value::Thing`]s, and an expression is
/// evaluated with each of its turns.
pub(in crate::source) trait Store<'t> {
    /// Names are bound within, until [`Store::outer`].
    fn inner(&mut self);
    fn outer(&mut self);
    /// A tuple, list or set.
    fn row(&mut self, kind: Row, elements: Vec<Value>) -> Value;
    /// A dict.
    fn mapping(&mut self, pairs: Vec<(Value, Value)>) -> Value;
    /// A lambda.
    fn lambda(&mut self, node: Node<'t>) -> Value;
    /// What a loop over a value gives, turn by turn; as many as it takes where that is not known.
    fn turns(&mut self, over: &Value, at: Node<'t>) -> Result<Vec<Value>, Spent>;
    /// The elements of a row; `None` where it is none.
    fn elements(&mut self, value: &Value) -> Option<Vec<Value>>;
    /// The pairs of a dict; `None` where it is none.
    fn pairs(&mut self, value: &Value) -> Option<Vec<(Value, Value)>>;
    /// `object[index]`
    fn item(&mut self, object: &Value, index: &Value) -> Result<Value, Spent>;
    /// `object[start:end:step]`
    fn slice(&mut self, object: &Value, bounds: [Option<Value>; 3]) -> Value;
    /// `left operator right`; `None` where none of both is such a thing.
    fn operate(&mut self, operator: &str, left: &Value, right: &Value) -> Result<Option<Value>, Spent>;
    /// Whether a comparison holds; `None` where values tell.
    fn compare(&mut self, operator: &str, left: &Value, right: &Value) -> Option<Value>;
    /// What a value is in a text.
    fn shown(&mut self, value: &Value) -> Option<String>;
}
