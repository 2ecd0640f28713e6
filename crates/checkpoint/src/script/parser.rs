//! The code's syntax. It is read to a limited depth: what is nested deeper is no code of TorchScript's.

use super::Misread;
use super::syntax::{Action, Call, Class, Expression, Form, Function, Module, Parameter, Statement};
use super::tokens::{Token, Word, tokens};

/// Brackets and blocks within each other. TorchScript breaks longer expressions up.
const DEEPEST: usize = 120;

/// Read a file of code.
///
/// # Errors
/// Says where the text is not as TorchScript writes it, and what was expected there.
pub fn parse(text: &str) -> Result<Module, Misread> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
    let mut module = Module::default();
    loop {
        match &parser.peek().word {
            Word::End => return Ok(module),
            Word::Line => parser.next += 1,
            Word::Name(word) if word == "class" => module.classes.push(parser.class()?),
            Word::Name(word) if word == "def" => module.functions.push(parser.function()?),
            // `op_version_set = 1` and imports of the oldest archives.
            Word::Name(_) => parser.skip_line(),
            _ => return Err(parser.expected("a class or a function")),
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

type Read<T> = Result<T, Misread>;

static END: Token = Token { at: usize::MAX, word: Word::End };

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).unwrap_or(&END)
    }

    fn expected(&self, expected: &'static str) -> Misread {
        let last = || self.tokens.last().map_or(0, |token| token.at);
        Misread { at: self.tokens.get(self.next).map_or_else(last, |token| token.at), expected }
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(&self.peek().word, Word::Sign(found) if *found == sign)
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.next += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &'static str) -> Read<()> {
        if self.takes_sign(sign) { Ok(()) } else { Err(self.expected(sign)) }
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let found = matches!(&self.peek().word, Word::Name(found) if found == word);
        self.next += usize::from(found);
        found
    }

    fn name(&mut self) -> Read<String> {
        match &self.peek().word {
            Word::Name(name) => {
                let name = name.clone();
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.expected("a name")),
        }
    }

    fn line(&mut self) -> Read<()> {
        match self.peek().word {
            Word::Line => {
                self.next += 1;
                Ok(())
            }
            Word::End => Ok(()),
            _ => Err(self.expected("the end of the line")),
        }
    }

    fn skip_line(&mut self) {
        while !matches!(self.peek().word, Word::Line | Word::End) {
            self.next += 1;
        }
        self.next += 1;
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Parser) -> Read<T>) -> Read<T> {
        if self.depth >= DEEPEST {
            return Err(self.expected("less that is nested"));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn class(&mut self) -> Read<Class> {
        self.takes_word("class");
        let name = self.name()?;
        let mut base = None;
        if self.takes_sign("(") {
            if !self.is_sign(")") {
                base = Some(self.expression()?.dotted().unwrap_or_default());
            }
            self.sign(")")?;
        }
        self.sign(":")?;
        self.line()?;
        let mut class = Class { name, base, fields: Vec::new(), constants: Vec::new(), methods: Vec::new() };
        if self.peek().word != Word::Indent {
            return Ok(class);
        }
        self.next += 1;
        while self.peek().word != Word::Dedent {
            match &self.peek().word {
                Word::Name(word) if word == "def" => class.methods.push(self.function()?),
                Word::Name(word) if word == "pass" => self.skip_line(),
                Word::Name(_) => self.declaration(&mut class)?,
                _ => return Err(self.expected("a declaration or a method")),
            }
        }
        self.next += 1;
        Ok(class)
    }

    /// `weight : Tensor`, `stride : Final[int] = 2`, `__parameters__ = […]`, `__annotations__["0"] = …`.
    fn declaration(&mut self, class: &mut Class) -> Read<()> {
        let target = self.expression()?;
        let name = target.dotted();
        let kind = if self.takes_sign(":") { Some(self.expression()?) } else { None };
        let value = if self.takes_sign("=") { Some(self.expression()?) } else { None };
        self.line()?;
        if let (Some(name), Some(value)) = (&name, value) {
            class.constants.push((name.clone(), value));
        }
        if let (Some(name), Some(kind)) = (name, kind) {
            class.fields.push((name, kind));
        }
        Ok(())
    }

    fn function(&mut self) -> Read<Function> {
        self.takes_word("def");
        let name = self.name()?;
        self.sign("(")?;
        let mut parameters = Vec::new();
        while !self.takes_sign(")") {
            // What stands behind `*` is given by name; that is the caller's affair.
            if !self.takes_sign("*") {
                let name = self.name()?;
                let kind = if self.takes_sign(":") { Some(self.expression()?) } else { None };
                let default = if self.takes_sign("=") { Some(self.expression()?) } else { None };
                parameters.push(Parameter { name, kind, default });
            }
            if !self.takes_sign(",") && !self.is_sign(")") {
                return Err(self.expected("`,` or `)`"));
            }
        }
        if self.takes_sign("->") {
            self.expression()?;
        }
        let body = self.block()?;
        Ok(Function { name, parameters, body })
    }

    /// What stands behind a colon, indented.
    fn block(&mut self) -> Read<Vec<Statement>> {
        self.sign(":")?;
        self.line()?;
        if self.peek().word != Word::Indent {
            return Err(self.expected("a block"));
        }
        self.next += 1;
        self.deeper(|parser| {
            let mut body = Vec::new();
            while parser.peek().word != Word::Dedent {
                body.push(parser.statement()?);
            }
            parser.next += 1;
            Ok(body)
        })
    }

    fn statement(&mut self) -> Read<Statement> {
        let at = self.peek().at;
        let action = if self.takes_word("if") {
            let test = self.expression()?;
            let then = self.block()?;
            let otherwise = if self.takes_word("else") { self.block()? } else { Vec::new() };
            Action::If { test, then, otherwise }
        } else if self.takes_word("while") {
            let test = self.expression()?;
            Action::While { test, body: self.block()? }
        } else if self.takes_word("with") {
            let of = self.expression()?;
            let name = if self.takes_word("as") { Some(self.expression()?) } else { None };
            Action::With { of, name, body: self.block()? }
        } else if self.takes_word("for") {
            let target = self.expression()?;
            if !self.takes_word("in") {
                return Err(self.expected("`in`"));
            }
            let over = self.expression()?;
            Action::For { target, over, body: self.block()? }
        } else if self.takes_word("return") {
            let value = if matches!(self.peek().word, Word::Line) { None } else { Some(self.several()?.0) };
            self.line()?;
            Action::Return(value)
        } else if self.takes_word("pass") {
            self.line()?;
            Action::Pass
        } else {
            let (first, unpacks) = self.several()?;
            if self.takes_sign(":") {
                self.expression()?;
            }
            if self.takes_sign("=") {
                let (value, _) = self.several()?;
                self.line()?;
                let targets = match first.form {
                    Form::Tuple(targets) if unpacks => targets,
                    form => vec![Expression { at: first.at, form }],
                };
                Action::Assign { targets, unpacks, value }
            } else {
                self.line()?;
                Action::Expression(first)
            }
        };
        Ok(Statement { at, action })
    }

    /// One expression, or several with commas between and behind them: a tuple.
    fn several(&mut self) -> Read<(Expression, bool)> {
        let first = self.expression()?;
        if !self.is_sign(",") {
            return Ok((first, false));
        }
        let at = first.at;
        let mut items = vec![first];
        while self.takes_sign(",") {
            if matches!(self.peek().word, Word::Line) || self.is_sign("=") {
                break;
            }
            items.push(self.expression()?);
        }
        Ok((Expression { at, form: Form::Tuple(items) }, true))
    }

    fn expression(&mut self) -> Read<Expression> {
        self.deeper(|parser| {
            let mut expression = parser.atom()?;
            for _ in 0..DEEPEST {
                let at = expression.at;
                let form = if parser.takes_sign(".") {
                    Form::Attribute(Box::new(expression), parser.name()?)
                } else if parser.takes_sign("[") {
                    Form::Subscript(Box::new(expression), parser.items("]")?)
                } else if parser.takes_sign("(") {
                    Form::Call(Box::new(parser.call(expression)?))
                } else {
                    return Ok(expression);
                };
                expression = Expression { at, form };
            }
            Err(parser.expected("less that is nested"))
        })
    }

    fn call(&mut self, function: Expression) -> Read<Call> {
        let mut call = Call { function, positional: Vec::new(), named: Vec::new() };
        while !self.takes_sign(")") {
            let argument = self.expression()?;
            if self.takes_sign("=") {
                let Form::Name(name) = argument.form else { return Err(self.expected("the name of an argument")) };
                call.named.push((name, self.expression()?));
            } else {
                call.positional.push(argument);
            }
            if !self.takes_sign(",") && !self.is_sign(")") {
                return Err(self.expected("`,` or `)`"));
            }
        }
        Ok(call)
    }

    fn items(&mut self, close: &'static str) -> Read<Vec<Expression>> {
        let mut items = Vec::new();
        while !self.takes_sign(close) {
            items.push(self.expression()?);
            if !self.takes_sign(",") && !self.is_sign(close) {
                return Err(self.expected("`,` or a closing bracket"));
            }
        }
        Ok(items)
    }

    fn atom(&mut self) -> Read<Expression> {
        let Token { at, word } = self.peek().clone();
        self.next += 1;
        let form = match word {
            Word::Int(whole) => Form::Int(whole),
            Word::Float(number) => Form::Float(number),
            Word::Text(text) => Form::Text(text),
            Word::Name(name) => match name.as_str() {
                "None" => Form::None,
                "True" => Form::Bool(true),
                "False" => Form::Bool(false),
                "inf" => Form::Float(f64::INFINITY),
                "nan" => Form::Float(f64::NAN),
                _ => Form::Name(name),
            },
            Word::Sign("-") => match self.atom_behind_minus()? {
                Form::Int(whole) => Form::Int(whole.wrapping_neg()),
                // The smallest whole number is written so; without its sign it is none.
                Form::Float(number) if number == 2f64.powi(63) => Form::Int(i64::MIN),
                Form::Float(number) => Form::Float(-number),
                _ => return Err(Misread { at, expected: "a number behind `-`" }),
            },
            Word::Sign("[") => Form::List(self.items("]")?),
            Word::Sign("{") => self.dict()?,
            Word::Sign("(") => {
                let mut items = self.items(")")?;
                // `(x)` is x, `(x,)` a tuple.
                let last = self.next.checked_sub(2).and_then(|at| self.tokens.get(at));
                let is_tuple = items.len() != 1 || last.is_some_and(|token| token.word == Word::Sign(","));
                match items.pop() {
                    Some(only) if !is_tuple => only.form,
                    last => {
                        items.extend(last);
                        Form::Tuple(items)
                    }
                }
            }
            _ => {
                self.next -= 1;
                return Err(self.expected("an expression"));
            }
        };
        Ok(Expression { at, form })
    }

    fn atom_behind_minus(&mut self) -> Read<Form> {
        match self.peek().word {
            Word::Int(_) | Word::Float(_) | Word::Name(_) => Ok(self.atom()?.form),
            _ => Err(self.expected("a number")),
        }
    }

    fn dict(&mut self) -> Read<Form> {
        let mut pairs = Vec::new();
        while !self.takes_sign("}") {
            let key = self.expression()?;
            self.sign(":")?;
            pairs.push((key, self.expression()?));
            if !self.takes_sign(",") && !self.is_sign("}") {
                return Err(self.expected("`,` or `}`"));
            }
        }
        Ok(Form::Dict(pairs))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = r#"op_version_set = 1
class Net(Module):
  __parameters__ = ["weight", ]
  weight : Tensor
  sizes : Final[List[int]] = [1, -2]
  __annotations__["0"] = __torch__.nets.Block
  def forward(self: __torch__.nets.Net,
    x: Tensor,
    scale: Optional[float]=None) -> Tuple[Tensor, int]:
    weight = self.weight
    h, c, = (getattr(self, "0")).forward(x, (weight,), )
    a, b = h, -inf
    if torch.__is__(scale, None):
      pass
    else:
      ops.prim.RaiseException("a\"b\n\303\251", "x")
    for t in range(torch.len(x)):
      _0 = torch.append(h, annotate(List[int], []))
    return (torch.add(h, x, alpha=1e-05), -9223372036854775808)
class Pair(NamedTuple):
  left : Tensor
def f() -> NoneType:
  return None
"#;

    #[test]
    fn what_torchscript_writes_is_read() {
        let module = parse(TEXT).unwrap();
        let [net, pair] = module.classes.as_slice() else { panic!() };
        assert_eq!((net.name.as_str(), net.base.as_deref(), net.methods.len()), ("Net", Some("Module"), 1));
        assert_eq!(net.fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["weight", "sizes"]);
        assert_eq!((pair.base.as_deref(), pair.fields.len(), module.functions.len()), (Some("NamedTuple"), 1, 1));
        let forward = &net.methods[0];
        let names: Vec<_> = forward.parameters.iter().map(|one| (one.name.as_str(), one.default.is_some())).collect();
        assert_eq!(names, [("self", false), ("x", false), ("scale", true)]);
        let [_, unpacked, paired, condition, each, returned] = forward.body.as_slice() else { panic!() };
        let Action::Assign { targets, unpacks, value } = &unpacked.action else { panic!() };
        assert!(*unpacks && targets.len() == 2);
        let Form::Call(call) = &value.form else { panic!() };
        assert!(matches!(&call.positional[1].form, Form::Tuple(items) if items.len() == 1), "(weight,) is a tuple");
        assert!(matches!(&call.function.form, Form::Attribute(_, name) if name == "forward"));
        let Action::Assign { value, .. } = &paired.action else { panic!() };
        assert!(matches!(&value.form, Form::Tuple(items) if items[1].form == Form::Float(f64::NEG_INFINITY)));
        let Action::If { then, otherwise, .. } = &condition.action else { panic!() };
        assert_eq!(then[0].action, Action::Pass);
        let Action::Expression(raised) = &otherwise[0].action else { panic!() };
        let Form::Call(call) = &raised.form else { panic!() };
        assert_eq!(call.function.dotted().as_deref(), Some("ops.prim.RaiseException"));
        assert_eq!(call.positional[0].form, Form::Text("a\"b\n\u{e9}".to_owned()));
        assert!(matches!(each.action, Action::For { .. }));
        let Action::Return(Some(value)) = &returned.action else { panic!() };
        let Form::Tuple(items) = &value.form else { panic!() };
        assert_eq!(items[1].form, Form::Int(i64::MIN));
        let Form::Call(call) = &items[0].form else { panic!() };
        assert_eq!(call.named[0].1.form, Form::Float(1e-5));
        assert_eq!(&TEXT[items[0].at..][..9], "torch.add");
    }

    #[test]
    fn what_is_within_a_with_is_a_block() {
        let module = parse("def f():\n  with _0 as g:\n    x = a\n  with _1:\n    pass\n").unwrap();
        let [first, second] = module.functions[0].body.as_slice() else { panic!() };
        let Action::With { of, name: Some(name), body } = &first.action else { panic!() };
        assert_eq!((of.form.clone(), name.form.clone()), (Form::Name("_0".into()), Form::Name("g".into())));
        assert_eq!(body.len(), 1);
        let Action::With { name: None, body, .. } = &second.action else { panic!() };
        assert_eq!(body[0].action, Action::Pass);
    }

    #[test]
    fn what_it_does_not_write_is_refused_at_its_place() {
        let at = |text: &str| parse(text).unwrap_err();
        let misread = |at, expected| Misread { at, expected };
        assert_eq!(at("def f(:\n"), misread(6, "a name"));
        assert_eq!(at("def f():\n  x = a b\n"), misread(17, "the end of the line"));
        assert_eq!(at("def f():\n  x = ?\n"), misread(15, "a name, a number or a bracket"));
        assert_eq!(at("def f():\n  x = \"open\n"), misread(15, "the end of a text"));
        assert_eq!(at("def f():\nreturn x\n").expected, "a block");
        assert_eq!(at("def f():\n    a\n  b\n").expected, "the indentation of a block");
    }

    #[test]
    fn what_is_nested_is_bounded() {
        for text in ["(".repeat(100_000), "x".to_owned() + &".y".repeat(100_000), "f(".repeat(100_000)] {
            assert_eq!(parse(&format!("def f():\n  {text}\n")).unwrap_err().expected, "less that is nested");
        }
        let blocks: String = (1..1000).map(|level| format!("{}if x:\n", " ".repeat(level))).collect();
        assert!(parse(&format!("def f():\n{blocks}")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(class |def |  |    |\n|if |for |in |return |x|self|\\.|\\(|\\)|\\[|\\]|:|=|,|-|1|2\\.5e|\"|\\\\|é){0,60}") {
            let _ = parse(&text);
        }
    }
}
