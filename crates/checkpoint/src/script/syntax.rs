//! What the code of a TorchScript archive is made of.

/// A file of code.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Module {
    /// Functions outside of classes.
    pub functions: Vec<Function>,
    /// Classes.
    pub classes: Vec<Class>,
}

/// A class.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// Its name in its file.
    pub name: String,
    /// What it inherits from: `Module`, `NamedTuple`, `Enum`, or nothing.
    pub base: Option<String>,
    /// Names that it declares, with what their types are, in order.
    pub fields: Vec<(String, Expression)>,
    /// Attributes with a value (`Final`).
    pub constants: Vec<(String, Expression)>,
    /// Methods.
    pub methods: Vec<Function>,
}

/// A function or a method.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// In order; a method's first is `self`.
    pub parameters: Vec<Parameter>,
    /// What it does.
    pub body: Vec<Statement>,
}

/// A parameter of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type, as it is written.
    pub kind: Option<Expression>,
    /// What it is where it is not given.
    pub default: Option<Expression>,
}

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Where it begins, in bytes from the beginning of the file.
    pub at: usize,
    /// What it does.
    pub action: Action,
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// `a = x`, `a, b = x, y`, `a, = x`.
    Assign {
        /// What is assigned to.
        targets: Vec<Expression>,
        /// Whether the value is taken apart: more than one target, or a comma behind the only one.
        unpacks: bool,
        /// The value.
        value: Expression,
    },
    /// An expression by itself.
    Expression(Expression),
    /// `if`
    If {
        /// The condition.
        test: Expression,
        /// Where it holds.
        then: Vec<Statement>,
        /// Where it does not.
        otherwise: Vec<Statement>,
    },
    /// `while`
    While {
        /// The condition.
        test: Expression,
        /// As long as it holds.
        body: Vec<Statement>,
    },
    /// `with`
    With {
        /// What is entered.
        of: Expression,
        /// What it is called within.
        name: Option<Expression>,
        /// What is within.
        body: Vec<Statement>,
    },
    /// `for`
    For {
        /// The name that counts.
        target: Expression,
        /// What it goes over.
        over: Expression,
        /// For each of them.
        body: Vec<Statement>,
    },
    /// `return`
    Return(Option<Expression>),
    /// `pass`
    Pass,
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    /// Where it begins, in bytes from the beginning of the file.
    pub at: usize,
    /// What it is.
    pub form: Form,
}

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// None.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// A name.
    Name(String),
    /// `[a, b]`
    List(Vec<Expression>),
    /// `(a, b)`
    Tuple(Vec<Expression>),
    /// `{a: b}`
    Dict(Vec<(Expression, Expression)>),
    /// `a.b`
    Attribute(Box<Expression>, String),
    /// `a[b]`
    Subscript(Box<Expression>, Vec<Expression>),
    /// `f(a, b=c)`
    Call(Box<Call>),
}

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is called.
    pub function: Expression,
    /// Arguments by position.
    pub positional: Vec<Expression>,
    /// Arguments by name.
    pub named: Vec<(String, Expression)>,
}

impl Expression {
    /// A dotted name: `ops.prim.NumToTensor`.
    pub fn dotted(&self) -> Option<String> {
        let mut parts = Vec::new();
        let mut expression = self;
        loop {
            match &expression.form {
                Form::Attribute(of, name) => {
                    parts.push(name.as_str());
                    expression = of;
                }
                Form::Name(name) => {
                    parts.push(name.as_str());
                    parts.reverse();
                    return Some(parts.join("."));
                }
                _ => return None,
            }
        }
    }
}
