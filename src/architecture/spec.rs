//! What `--input` says: the shape, the type and the range of one of the model's inputs.

use std::fmt;
use std::str::FromStr;

use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::quoted;

/// More elements are no input that anybody means.
const MOST_ELEMENTS: u64 = 1 << 28;
/// Types that an input may have.
const DTYPES: [Dtype; 10] = [
    Dtype::Float32,
    Dtype::Float16,
    Dtype::BFloat16,
    Dtype::Float64,
    Dtype::Int64,
    Dtype::Int32,
    Dtype::Int16,
    Dtype::Int8,
    Dtype::UInt8,
    Dtype::Bool,
];

/// One input of a model: `1x3x224x224`, `1x9:int64<50`, `ids=1x9:int64<50`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpec {
    /// The argument that it is; without one it is the next by position.
    pub name: Option<String>,
    /// Sizes; none for a single number.
    pub shape: Vec<u64>,
    /// The type, float32 unless it is said or a bound makes it int64.
    pub dtype: Dtype,
    /// Whole numbers are below this; without it they are 0 or 1.
    pub below: Option<u64>,
}

/// What is wrong with one, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {what}; an input is written as 1x3x224x224 or as ids=1x9:int64<50")]
pub struct SpecError {
    /// 1-based, in characters.
    pub column: usize,
    /// In words.
    pub what: String,
}

impl FromStr for InputSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<InputSpec, SpecError> {
        let fault = |at: usize, what: String| SpecError {
            column: text.get(..at).map_or(0, |before| before.chars().count()) + 1,
            what,
        };
        let (name, start) = match text.split_once('=') {
            Some((name, _)) if is_name(name) => (Some(name.to_owned()), name.len() + 1),
            Some((name, _)) => return Err(fault(0, format!("`{}` is no name of an argument", quoted(name)))),
            None => (None, 0),
        };
        let end = text.len();
        let bound_at = text.get(start..).and_then(|rest| rest.find('<')).map(|at| start + at);
        let type_end = bound_at.unwrap_or(end);
        let type_at = text.get(start..type_end).and_then(|rest| rest.find(':')).map(|at| start + at);
        let sizes_end = type_at.unwrap_or(type_end);
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        let shape = sizes(part(start, sizes_end), type_at.is_some()).map_err(|(at, what)| fault(start + at, what))?;
        let dtype = match type_at {
            None if bound_at.is_some() => Dtype::Int64,
            None => Dtype::Float32,
            Some(at) => {
                let name = part(at + 1, type_end);
                let known = Dtype::from_name(long_name(name)).filter(|dtype| DTYPES.contains(dtype));
                known.ok_or_else(|| {
                    let names = DTYPES.map(Dtype::name).join(", ");
                    fault(at + 1, format!("`{}` is no type of an input: {names}", quoted(name)))
                })?
            }
        };
        let below = match bound_at {
            None => None,
            Some(at) if dtype.is_floating() || dtype == Dtype::Bool => {
                return Err(fault(at, format!("a bound is for whole numbers, and these are {}", dtype.name())));
            }
            Some(at) => match part(at + 1, end).parse() {
                Ok(below) if below > 0 => Some(below),
                _ => return Err(fault(at + 1, "a whole number above 0 is expected".to_owned())),
            },
        };
        Ok(InputSpec { name, shape, dtype, below })
    }
}

impl fmt::Display for InputSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(out, "{name}=")?;
        }
        let sizes: Vec<String> = self.shape.iter().map(u64::to_string).collect();
        write!(out, "{}", sizes.join("x"))?;
        if self.dtype != Dtype::Float32 || sizes.is_empty() {
            write!(out, ":{}", self.dtype.name())?;
        }
        self.below.map_or(Ok(()), |below| write!(out, "<{below}"))
    }
}

/// Read inputs that stand in one text, with blanks or commas between.
///
/// # Errors
/// One of them is none, and the column in the whole text.
pub fn inputs(text: &str) -> Result<Vec<InputSpec>, SpecError> {
    let mut found = Vec::new();
    let mut column = 0;
    for word in text.split([' ', ',']) {
        if !word.is_empty() {
            let spec = word.parse().map_err(|error: SpecError| SpecError { column: column + error.column, ..error });
            found.push(spec?);
        }
        column += word.chars().count() + 1;
    }
    Ok(found)
}

/// Sizes with `x` between them; or the byte of the one that is none, and why.
fn sizes(text: &str, may_be_none: bool) -> Result<Vec<u64>, (usize, String)> {
    if text.is_empty() && may_be_none {
        return Ok(Vec::new());
    }
    let (mut found, mut at, mut elements) = (Vec::new(), 0, 1u64);
    for size in text.split('x') {
        let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
        let number = size.parse::<u64>().ok().filter(|number| digits && *number > 0);
        let number = number.ok_or_else(|| (at, "a size is expected, a whole number above 0".to_owned()))?;
        elements = elements.saturating_mul(number);
        if elements > MOST_ELEMENTS {
            return Err((at, format!("these are more than {MOST_ELEMENTS} numbers")));
        }
        found.push(number);
        at += size.len() + 1;
    }
    Ok(found)
}

/// The long name of a type that is written in short.
fn long_name(name: &str) -> &str {
    match name {
        "f64" => "float64",
        "f32" => "float32",
        "f16" => "float16",
        "bf16" => "bfloat16",
        "i64" => "int64",
        "i32" => "int32",
        "i16" => "int16",
        "i8" => "int8",
        "u8" => "uint8",
        other => other,
    }
}

/// Whether Python takes it as the name of an argument.
fn is_name(name: &str) -> bool {
    let begins = name.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_');
    begins && name.chars().all(|character| character.is_alphanumeric() || character == '_')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in a test it tells the place")]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_read_and_written() {
        let read = |text: &str| text.parse::<InputSpec>().unwrap();
        let image = read("1x3x224x224");
        assert_eq!((image.shape.as_slice(), image.dtype, image.below), (&[1, 3, 224, 224][..], Dtype::Float32, None));
        let ids = read("ids=1x9:int64<50");
        assert_eq!((ids.name.as_deref(), ids.dtype, ids.below), (Some("ids"), Dtype::Int64, Some(50)));
        assert_eq!(read("1x9<50").dtype, Dtype::Int64);
        assert_eq!(read("2x8:bf16").dtype, Dtype::BFloat16);
        assert_eq!(read("2x8:torch.half").dtype, Dtype::Float16);
        assert_eq!(read("mask=1x9:bool").dtype, Dtype::Bool);
        assert_eq!(read("t=:int64<1000").shape, [0u64; 0]);
        for text in ["1x3x224x224", "ids=1x9:int64<50", "2x8:bfloat16", "t=:int64<1000", "mask=1x9:bool", ":float32"] {
            assert_eq!(read(text).to_string(), text);
        }
        let two = inputs("1x3x8x8, ids=1x9:int64<50").unwrap();
        assert_eq!(two.len(), 2);
        assert_eq!(inputs("").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_has_its_column() {
        for (text, column, words) in [
            ("", 1, "a size is expected"),
            ("1x", 3, "a size is expected"),
            ("1x3y4", 3, "a size is expected"),
            ("1x-3", 3, "a size is expected"),
            ("1x+3", 3, "a size is expected"),
            ("1x0x4", 3, "a size is expected"),
            ("1 x3", 1, "a size is expected"),
            ("1x3:flot32", 5, "`flot32` is no type of an input: float32, float16"),
            ("1x3:qint8", 5, "is no type of an input"),
            ("1x3:", 5, "is no type of an input"),
            ("1x3:int64<", 11, "a whole number above 0"),
            ("1x3:int64<-2", 11, "a whole number above 0"),
            ("1x3:float32<5", 12, "a bound is for whole numbers"),
            ("1x3:bool<5", 9, "a bound is for whole numbers"),
            ("ä ö=1x3", 1, "is no name of an argument"),
            ("größe=1xé", 9, "a size is expected"),
            ("99999x99999x99999", 7, "more than 268435456 numbers"),
            ("99999999999999999999999", 1, "a size is expected"),
        ] {
            let error = text.parse::<InputSpec>().unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
        assert_eq!(inputs("1x3 1xq").unwrap_err().column, 7);
    }
}
