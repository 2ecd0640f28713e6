//! Gives each argument of a call its place: arrays as inputs, all else by name.

use serde_json::{Map, Value};

use super::Argument;
use t2m_engine::program::Operand;
use t2m_engine::program::signatures::{Dialect, Given, Parameter, Signature, Takes};

type Bound = (Vec<Operand>, Map<String, Value>);

/// Bind the arguments of a call as Python would.
pub(super) fn bind(
    dialect: Dialect,
    call: &str,
    positional: &[Argument],
    named: Vec<(String, Argument)>,
) -> Result<Bound, String> {
    let signature = Signature::find(dialect, call)?;
    let next = first(signature, positional.len());
    let mut bound = Binding { call, signature, next, inputs: Vec::new(), args: Map::new() };
    let mut rest = positional;
    while let Some((first, behind)) = rest.split_first() {
        rest = bound.positional(first, behind)?;
    }
    for (name, argument) in named {
        bound.named(name, argument)?;
    }
    Ok((bound.inputs, bound.args))
}

/// Which parameter the first argument is for. A range with one argument is given its end: if there is only one value,
/// optional parameters before a required one are skipped.
fn first(signature: &Signature, positional: usize) -> usize {
    let required = signature.parameters.iter().position(Parameter::is_required);
    if positional == 1 { required.unwrap_or(0) } else { 0 }
}

struct Binding<'a> {
    call: &'a str,
    signature: &'static Signature,
    next: usize,
    inputs: Vec<Operand>,
    args: Map<String, Value>,
}

impl Binding<'_> {
    /// Take one positional argument, or all; returns the rest.
    fn positional<'a>(&mut self, first: &Argument, behind: &'a [Argument]) -> Result<&'a [Argument], String> {
        let call = self.call;
        // A dtype is a value in any place: `x.view(torch.int32)`.
        if let Argument::Dtype(dtype) = first {
            self.known("dtype")?;
            self.args.insert("dtype".to_owned(), dtype.clone().into());
            return Ok(behind);
        }
        let is_array = matches!(first, Argument::Array(_));
        let skipped = |parameter: &Parameter| parameter.takes == Takes::Array && !parameter.is_required() && !is_array;
        while self.signature.parameters.get(self.next).is_some_and(skipped) {
            self.next += 1;
        }
        let parameter =
            self.signature.parameters.get(self.next).ok_or_else(|| format!("{call} takes fewer arguments"))?;
        let name = parameter.name.as_str();
        if parameter.given == Given::Name {
            return Err(format!("{call} takes `{name}` by its name alone"));
        }
        self.next += 1;
        match parameter.takes {
            Takes::Array => self.array(name, first)?,
            Takes::Arrays => self.list(name, first)?,
            Takes::AllArrays => {
                let all = std::iter::once(first).chain(behind).map(Argument::operand);
                let all = all.collect::<Option<Vec<Operand>>>().ok_or_else(|| format!("{call} takes arrays"))?;
                self.inputs.push(match all.as_slice() {
                    [list @ Operand::List(_)] => list.clone(),
                    _ => Operand::List(all),
                });
                return Ok(&[]);
            }
            Takes::AllValues => {
                if let Argument::Plain(list @ Value::Array(_)) = first {
                    self.args.insert(name.to_owned(), list.clone());
                    return Ok(behind);
                }
                let all = std::iter::once(first).chain(behind).map(plain).collect::<Result<Vec<Value>, _>>()?;
                self.args.insert(name.to_owned(), all.into());
                return Ok(&[]);
            }
            Takes::Value => {
                self.args.insert(name.to_owned(), plain(first)?);
            }
        }
        Ok(behind)
    }

    fn named(&mut self, name: String, argument: Argument) -> Result<(), String> {
        let call = self.call;
        if self.args.contains_key(&name) {
            return Err(format!("{call} is given `{name}` twice"));
        }
        let parameter = self.known(&name)?;
        if parameter.given == Given::Place {
            return Err(format!("{call} takes `{name}` by its place alone"));
        }
        let arrays = self.signature.parameters.iter().filter(|parameter| parameter.is_array());
        let place = arrays.into_iter().position(|array| array.name == name);
        match (place, &argument) {
            (Some(place), Argument::Array(_)) if place == self.inputs.len() => match parameter.takes {
                Takes::Array => self.array(&name, &argument),
                _ => self.list(&name, &argument),
            },
            (_, Argument::Array(_)) => Err(format!("{call} takes no array as `{name}` here")),
            (Some(place), Argument::Plain(Value::Number(_) | Value::Bool(_))) if place == self.inputs.len() => {
                self.array(&name, &argument)
            }
            _ => {
                self.args.insert(name, plain(&argument)?);
                Ok(())
            }
        }
    }

    fn known(&self, name: &str) -> Result<&'static Parameter, String> {
        self.signature.parameter(name).ok_or_else(|| format!("{}: there is no argument `{name}`", self.call))
    }

    fn array(&mut self, name: &str, argument: &Argument) -> Result<(), String> {
        // Plain lists are explicit arguments: `[2, 3]` of `mx.split`.
        if let Argument::Plain(value) = argument
            && !matches!(value, Value::Number(_) | Value::Bool(_))
        {
            self.args.insert(name.to_owned(), value.clone());
            return Ok(());
        }
        let operand = argument.operand().ok_or_else(|| format!("`{name}` has to be an array"))?;
        self.inputs.push(operand);
        Ok(())
    }

    fn list(&mut self, name: &str, argument: &Argument) -> Result<(), String> {
        match argument.operand() {
            Some(list @ Operand::List(_)) => {
                self.inputs.push(list);
                Ok(())
            }
            _ => Err(format!("`{name}` has to be a list of arrays")),
        }
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
