//! Whether a trap fires by a call's arguments: conditions of `ops.toml`, and calls as far as these ask for them.

use serde::Deserialize;

/// One argument as it is written in a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// `None`
    None,
    /// `True`, `False`; `self.training` and what is called so, which is False at inference.
    Bool(bool),
    /// A number that is written out, `-1` too.
    Number(f64),
    /// A string.
    Text(String),
    /// `torch.float16`, `x.dtype`, a name that ends in `dtype`.
    Dtype,
    /// `"cuda"`, `x.device`, a name that ends in `device`.
    Device,
    /// A tuple or list that is written out.
    Sequence(Vec<Argument>),
    /// A tensor that certainly holds whole numbers: `torch.arange(n)`, `x.long()`.
    Integers,
    /// A tensor that is certainly of half precision: `x.half()`.
    Half,
    /// Anything else.
    Other,
}

/// The arguments of one call of an op.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Call {
    /// The tensor: what the method is called on, the function's first argument, the operator's left side.
    pub tensor: Option<Argument>,
    /// What stands behind the tensor, by place.
    pub positional: Vec<Argument>,
    /// What is given by name.
    pub named: Vec<(String, Argument)>,
    /// There may be more: `*args` or `**kwargs`.
    pub more: bool,
}

/// A condition on one argument.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// Its name; `tensor` for what the op is called on.
    argument: String,
    /// Its place behind the tensor, where it may be given by place.
    at: Option<usize>,
    test: Test,
}

/// What an argument is asked for.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    /// It is given, and is not None.
    Given,
    /// It is not given, or is None.
    Absent,
    /// It is a dtype.
    Dtype,
    /// It is given, and is no device.
    NotDevice,
    /// It or an element of it is a negative number; by place, any that follows too.
    Negative,
    /// It is a sequence of more than one, or may be.
    Several,
    /// It is a whole number, or a tensor of such.
    Integers,
    /// It is a number, or every element is one, that is whole.
    Whole,
    /// It or an element of it is a number that is not whole.
    Fraction,
    /// It is a tensor of half precision.
    Half,
    /// It is one of these.
    Among(Vec<Literal>),
    /// It is given, and is or may be something else than these.
    Except(Vec<Literal>),
}

/// A value that a row writes out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Literal {
    Bool(bool),
    Number(f64),
    Text(String),
}

/// What stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    argument: String,
    at: Option<usize>,
    is: Option<String>,
    among: Option<Vec<Literal>>,
    except: Option<Vec<Literal>>,
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Condition, D::Error> {
        let Row { argument, at, is, among, except } = Row::deserialize(deserializer)?;
        let fault = |message: &str| serde::de::Error::custom(message);
        let test = match (is.as_deref(), among, except) {
            (Some("given"), None, None) => Test::Given,
            (Some("absent"), None, None) => Test::Absent,
            (Some("dtype"), None, None) => Test::Dtype,
            (Some("no device"), None, None) => Test::NotDevice,
            (Some("negative"), None, None) => Test::Negative,
            (Some("several"), None, None) => Test::Several,
            (Some("integers"), None, None) => Test::Integers,
            (Some("whole"), None, None) => Test::Whole,
            (Some("fraction"), None, None) => Test::Fraction,
            (Some("half"), None, None) => Test::Half,
            (None, Some(values), None) if !values.is_empty() => Test::Among(values),
            (None, None, Some(values)) if !values.is_empty() => Test::Except(values),
            (Some(word), None, None) => {
                return Err(fault(&format!(
                    "`is` is given, absent, dtype, no device, negative, several, integers, whole, fraction or half, and not `{word}`"
                )));
            }
            _ => return Err(fault("a condition has one of `is`, `among` and `except`, with something in it")),
        };
        if argument.is_empty() {
            return Err(fault("a condition names its argument"));
        }
        if argument == TENSOR && at.is_some() {
            return Err(fault("the tensor has no place behind itself"));
        }
        Ok(Condition { argument, at, test })
    }
}

/// The name of what an op is called on.
const TENSOR: &str = "tensor";

impl Condition {
    /// Whether a call has it. What the call leaves open counts, but that an argument of which nothing is known would be a dtype,
    /// negative or of whole numbers: those are said where they are written.
    pub fn holds(&self, call: &Call) -> bool {
        let found = self.find(call);
        let known = found.filter(|argument| **argument != Argument::None);
        match &self.test {
            Test::Given => known.is_some(),
            Test::Absent => known.is_none(),
            Test::Dtype => known == Some(&Argument::Dtype),
            Test::NotDevice => known.is_some_and(|argument| *argument != Argument::Device),
            Test::Negative => {
                let rest = self.at.and_then(|at| call.positional.get(at..)).unwrap_or_default();
                known.into_iter().chain(rest).any(is_negative)
            }
            Test::Several => match known {
                Some(Argument::Sequence(elements)) => elements.len() > 1,
                Some(argument) => *argument == Argument::Other,
                None => false,
            },
            Test::Integers => match known {
                Some(Argument::Number(number)) => number.fract() == 0.0,
                argument => argument == Some(&Argument::Integers),
            },
            Test::Whole => known.is_some_and(|argument| {
                let all = numbers(argument);
                !all.is_empty() && all.iter().all(|number| number.is_some_and(|number| number.fract() == 0.0))
            }),
            Test::Fraction => known
                .is_some_and(|argument| numbers(argument).into_iter().flatten().any(|number| number.fract() != 0.0)),
            Test::Half => known == Some(&Argument::Half),
            Test::Among(values) => known.is_some_and(|argument| values.iter().any(|value| value.is(argument))),
            Test::Except(values) => known.is_some_and(|argument| !values.iter().any(|value| value.is(argument))),
        }
    }

    fn find<'c>(&self, call: &'c Call) -> Option<&'c Argument> {
        if self.argument == TENSOR {
            return call.tensor.as_ref();
        }
        let named = call.named.iter().find(|(name, _)| *name == self.argument).map(|(_, argument)| argument);
        named.or_else(|| call.positional.get(self.at?))
    }
}

/// A number, or those of a sequence, each where it is known.
fn numbers(argument: &Argument) -> Vec<Option<f64>> {
    let number = |argument: &Argument| if let Argument::Number(number) = argument { Some(*number) } else { None };
    match argument {
        Argument::Sequence(elements) => elements.iter().map(number).collect(),
        argument => vec![number(argument)],
    }
}

fn is_negative(argument: &Argument) -> bool {
    match argument {
        Argument::Number(number) => *number < 0.0,
        Argument::Sequence(elements) => {
            elements.iter().any(|element| matches!(element, Argument::Number(number) if *number < 0.0))
        }
        _ => false,
    }
}

impl Literal {
    fn is(&self, argument: &Argument) -> bool {
        match (self, argument) {
            (Literal::Bool(a), Argument::Bool(b)) => a == b,
            (Literal::Number(a), Argument::Number(b)) => a == b,
            (Literal::Text(a), Argument::Text(b)) => a == b,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn condition(text: &str) -> Result<Condition, toml::de::Error> {
        toml::from_str(text)
    }

    fn call(positional: &[Argument], named: &[(&str, Argument)]) -> Call {
        let named = named.iter().map(|(name, argument)| ((*name).to_owned(), argument.clone()));
        Call { tensor: Some(Argument::Other), positional: positional.to_vec(), named: named.collect(), more: false }
    }

    #[test]
    fn conditions_ask_by_name_and_by_place() {
        use Argument::{Bool, Dtype, Number, Other, Sequence, Text};
        let cases = [
            ("argument = 'alpha'\nexcept = [1]", call(&[Other], &[("alpha", Number(2.0))]), true),
            ("argument = 'alpha'\nexcept = [1]", call(&[Other], &[("alpha", Number(1.0))]), false),
            ("argument = 'alpha'\nexcept = [1]", call(&[Other], &[("alpha", Other)]), true),
            ("argument = 'alpha'\nexcept = [1]", call(&[Other], &[]), false),
            ("argument = 'dtype'\nat = 0\nis = 'dtype'", call(&[Dtype], &[]), true),
            ("argument = 'dtype'\nat = 0\nis = 'dtype'", call(&[Other, Number(-1.0)], &[]), false),
            ("argument = 'dim'\nat = 0\nis = 'absent'", call(&[], &[]), true),
            ("argument = 'dim'\nat = 0\nis = 'absent'", call(&[], &[("dim", Argument::None)]), true),
            ("argument = 'dim'\nat = 0\nis = 'absent'", call(&[Number(-1.0)], &[]), false),
            ("argument = 'size'\nat = 0\nis = 'negative'", call(&[Other, Number(-1.0)], &[]), true),
            ("argument = 'size'\nat = 0\nis = 'negative'", call(&[Sequence(vec![Other, Number(-1.0)])], &[]), true),
            ("argument = 'size'\nat = 0\nis = 'negative'", call(&[Other, Number(4.0)], &[]), false),
            ("argument = 'mode'\nat = 1\nexcept = ['constant']", call(&[Other, Text("circular".into())], &[]), true),
            ("argument = 'training'\nat = 1\namong = [false]", call(&[Other, Bool(false)], &[]), true),
            ("argument = 'training'\nat = 1\namong = [false]", call(&[Other, Other], &[]), false),
            ("argument = 'shape'\nat = 0\nis = 'several'", call(&[Sequence(vec![Other])], &[]), false),
            ("argument = 'shape'\nat = 0\nis = 'several'", call(&[Other], &[]), true),
            ("argument = 'scale'\nat = 0\nis = 'whole'", call(&[Sequence(vec![Number(2.0), Number(3.0)])], &[]), true),
            ("argument = 'scale'\nat = 0\nis = 'whole'", call(&[Sequence(vec![Number(2.0), Other])], &[]), false),
            ("argument = 'scale'\nat = 0\nis = 'fraction'", call(&[Sequence(vec![Other, Number(0.5)])], &[]), true),
            ("argument = 'scale'\nat = 0\nis = 'fraction'", call(&[Number(2.0)], &[]), false),
            ("argument = 'scale'\nat = 0\nis = 'fraction'", call(&[Other], &[]), false),
        ];
        for (text, call, holds) in cases {
            assert_eq!(condition(text).unwrap().holds(&call), holds, "{text}: {call:?}");
        }
    }

    #[test]
    fn conditions_are_checked_when_they_are_read() {
        for text in [
            "argument = 'a'",
            "argument = ''\nis = 'given'",
            "argument = 'a'\nis = 'often'",
            "argument = 'a'\nis = 'given'\namong = [1]",
            "argument = 'a'\namong = []",
            "argument = 'a'\nis = 'given'\ncolour = 'red'",
            "argument = 'tensor'\nat = 0\nis = 'half'",
        ] {
            assert!(condition(text).is_err(), "{text}");
        }
    }
}
