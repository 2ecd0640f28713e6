//! What `--input` says of one of the model's inputs: the shape, the type and the range of a tensor, or a value.

use std::fmt;
use std::str::FromStr;

use serde_json::Value as Json;

use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::script::literal;

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

/// One input of a model: `1x3x224x224`, `1x9:int64<50`, `ids=1x9:int64<50`, `sr=16000`, `mask=None`, `sizes=(2,3)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpec {
    /// The argument that it is; without one it is the next by position. A dict's member is `batch.image`.
    pub name: Option<String>,
    /// What is given.
    pub what: What,
}

/// What an input is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A tensor, to be drawn. A single size may be meant as a whole number, where that is what the model takes.
    Tensor(TensorSpec),
    /// A value as Python writes it: a number, a text, a truth value, None, or a list or tuple of them.
    Value(Json),
}

/// A tensor that is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Sizes; none for a single number.
    pub shape: Vec<u64>,
    /// The type, float32 unless it is said or a bound makes it int64.
    pub dtype: Dtype,
    /// Whole numbers are below this; without it they are 0 or 1.
    pub below: Option<u64>,
}

/// What is wrong with one, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "column {column}: {what}; an input is written as 1x3x224x224 or as ids=1x9:int64<50, and one that is no tensor as sr=16000 or \
     mask=None"
)]
pub struct SpecError {
    /// 1-based, in characters.
    pub column: usize,
    /// In words.
    pub what: String,
}

impl InputSpec {
    /// The value that it is where the model takes no tensor.
    pub fn value(&self) -> Option<Json> {
        match &self.what {
            What::Value(value) => Some(value.clone()),
            What::Tensor(TensorSpec { shape, below: None, .. }) => match shape.as_slice() {
                [number] => Some(Json::from(*number)),
                _ => None,
            },
            What::Tensor(_) => None,
        }
    }

    /// The tensor that it is where the model takes one.
    pub fn tensor(&self) -> Option<&TensorSpec> {
        if let What::Tensor(tensor) = &self.what { Some(tensor) } else { None }
    }
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
            Some((name, _)) if !name.starts_with(QUOTES) => {
                return Err(fault(0, format!("`{}` is no name of an argument", quoted(name))));
            }
            _ => (None, 0),
        };
        let given = text.get(start..).unwrap_or_default();
        if let Some(value) = plain(given).map_err(|(at, what)| fault(start + at, what))? {
            return Ok(InputSpec { name, what: What::Value(value) });
        }
        let tensor = tensor(given).map_err(|(at, what)| fault(start + at, what))?;
        Ok(InputSpec { name, what: What::Tensor(tensor) })
    }
}

/// A value that is no tensor, `None` where it is written as one. `:int`, `:float`, `:bool` and `:str` behind it say its type.
fn plain(text: &str) -> Result<Option<Json>, (usize, String)> {
    // A whole number above 0 is a size, and becomes a number where one is taken.
    let head = text.split([':', '<']).next().unwrap_or_default();
    if head.bytes().all(|byte| byte.is_ascii_digit()) && head != "0" {
        return Ok(None);
    }
    if let Some(value) = literal(text) {
        return Ok(Some(value));
    }
    let Some((before, kind)) = text.rsplit_once(':') else { return Ok(None) };
    let Some(value) = literal(before).filter(|_| KINDS.contains(&kind)) else { return Ok(None) };
    let fits = match kind {
        "int" => value.is_i64(),
        "float" => value.is_number(),
        "bool" => value.is_boolean(),
        _ => value.is_string(),
    };
    match (fits, value.as_f64()) {
        (true, Some(number)) if kind == "float" => Ok(Some(Json::from(number))),
        (true, _) => Ok(Some(value)),
        (false, _) => Err((before.len() + 1, format!("`{}` is no {kind}", quoted(before)))),
    }
}

/// Types behind a value.
const KINDS: [&str; 4] = ["int", "float", "bool", "str"];
/// What a text begins with.
const QUOTES: [char; 2] = ['\'', '"'];

/// The tensor that a text describes; or the byte at which it does not, and why.
fn tensor(text: &str) -> Result<TensorSpec, (usize, String)> {
    let end = text.len();
    let bound_at = text.find('<');
    let type_end = bound_at.unwrap_or(end);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let type_at = part(0, type_end).find(':');
    let shape = sizes(part(0, type_at.unwrap_or(type_end)), type_at.is_some())?;
    let dtype = match type_at {
        None if bound_at.is_some() => Dtype::Int64,
        None => Dtype::Float32,
        Some(at) => {
            let name = part(at + 1, type_end);
            let known = Dtype::from_name(long_name(name)).filter(|dtype| DTYPES.contains(dtype));
            known.ok_or_else(|| {
                let names = DTYPES.map(Dtype::name).join(", ");
                (at + 1, format!("`{}` is no type of an input: {names}", quoted(name)))
            })?
        }
    };
    let below = match bound_at {
        None => None,
        Some(at) if dtype.is_floating() || dtype == Dtype::Bool => {
            return Err((at, format!("a bound is for whole numbers, and these are {}", dtype.name())));
        }
        Some(at) => match part(at + 1, end).parse() {
            Ok(below) if below > 0 => Some(below),
            _ => return Err((at + 1, "a whole number above 0 is expected".to_owned())),
        },
    };
    Ok(TensorSpec { shape, dtype, below })
}

impl fmt::Display for InputSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(out, "{name}=")?;
        }
        match &self.what {
            What::Tensor(tensor) => write!(out, "{tensor}"),
            What::Value(value) => write!(out, "{}", written(value)),
        }
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.shape.iter().map(u64::to_string).collect();
        write!(out, "{}", sizes.join("x"))?;
        if self.dtype != Dtype::Float32 || sizes.is_empty() {
            write!(out, ":{}", self.dtype.name())?;
        }
        self.below.map_or(Ok(()), |below| write!(out, "<{below}"))
    }
}

/// A value as Python writes it.
pub fn written(value: &Json) -> String {
    match value {
        Json::Null => "None".to_owned(),
        Json::Bool(is_so) => if *is_so { "True" } else { "False" }.to_owned(),
        Json::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Json::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// Read inputs that stand in one text, with blanks or commas between.
///
/// # Errors
/// One of them is none, and the column in the whole text.
pub fn inputs(text: &str) -> Result<Vec<InputSpec>, SpecError> {
    let mut found = Vec::new();
    let mut column = 0;
    for word in words(text) {
        if !word.is_empty() {
            let spec = word.parse().map_err(|error: SpecError| SpecError { column: column + error.column, ..error });
            found.push(spec?);
        }
        column += word.chars().count() + 1;
    }
    Ok(found)
}

/// What stands between blanks and commas, those within brackets and quotes left alone.
fn words(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth, mut quote) = (Vec::new(), 0, 0usize, None);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, ' ' | ',') if depth == 0 => {
                found.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(text.get(start..).unwrap_or_default());
    found
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

/// Whether Python takes it as the name of an argument, or of a member of one.
fn is_name(name: &str) -> bool {
    let mut parts = name.split('.');
    parts.next().is_some_and(is_word) && parts.all(|part| !part.is_empty() && part.chars().all(is_letter))
}

fn is_letter(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn is_word(name: &str) -> bool {
    let begins = name.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_');
    begins && name.chars().all(is_letter)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in a test it tells the place")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn inputs_are_read_and_written() {
        let read = |text: &str| text.parse::<InputSpec>().unwrap().tensor().unwrap().clone();
        let image = read("1x3x224x224");
        assert_eq!((image.shape.as_slice(), image.dtype, image.below), (&[1, 3, 224, 224][..], Dtype::Float32, None));
        let ids = read("ids=1x9:int64<50");
        assert_eq!((ids.dtype, ids.below), (Dtype::Int64, Some(50)));
        assert_eq!("ids=1x9:int64<50".parse::<InputSpec>().unwrap().name.as_deref(), Some("ids"));
        assert_eq!(read("1x9<50").dtype, Dtype::Int64);
        assert_eq!(read("2x8:bf16").dtype, Dtype::BFloat16);
        assert_eq!(read("2x8:torch.half").dtype, Dtype::Float16);
        assert_eq!(read("mask=1x9:bool").dtype, Dtype::Bool);
        assert_eq!(read("t=:int64<1000").shape, [0u64; 0]);
        for text in ["1x3x224x224", "ids=1x9:int64<50", "2x8:bfloat16", "t=:int64<1000", "mask=1x9:bool", ":float32"] {
            assert_eq!(text.parse::<InputSpec>().unwrap().to_string(), text);
        }
        let two = inputs("1x3x8x8, ids=1x9:int64<50").unwrap();
        assert_eq!(two.len(), 2);
        assert_eq!(inputs("").unwrap(), []);
    }

    #[test]
    fn values_are_read_as_python_writes_them() {
        let read = |text: &str| text.parse::<InputSpec>().unwrap();
        for (text, value) in [
            ("sr=16000", json!(16000)),
            ("sr=16000:int", json!(16000)),
            ("sr=0", json!(0)),
            ("sr=-3", json!(-3)),
            ("scale=0.5", json!(0.5)),
            ("scale=-2:float", json!(-2.0)),
            ("mask=None", json!(null)),
            ("flag=True", json!(true)),
            ("flag=False:bool", json!(false)),
            ("mode='a=b, c'", json!("a=b, c")),
            ("'x=1'", json!("x=1")),
            ("sizes=(2,3)", json!([2, 3])),
            ("sizes=[]", json!([])),
        ] {
            let spec = read(text);
            assert_eq!(spec.value(), Some(value.clone()), "{text}");
            let again = read(&spec.to_string());
            assert_eq!(again.value(), Some(value), "{text}: {spec}");
        }
        // A size alone is a number only where the model takes one; more sizes are a tensor.
        assert_eq!(read("sr=16000").tensor().map(|tensor| tensor.shape.clone()), Some(vec![16000]));
        assert_eq!(read("x=1x16000").value(), None);
        assert_eq!(read("ids=9<50").value(), None);
        assert_eq!(read("batch.image=1x3x8x8").name.as_deref(), Some("batch.image"));
        let several = inputs("x=1x512 sr=16000, sizes=(2, 3) mode='a b'").unwrap();
        assert_eq!(
            several.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["x=1x512", "sr=16000", "sizes=[2,3]", "mode='a b'"]
        );
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
            ("batch.=1x3", 1, "is no name of an argument"),
            ("flag='a':bool", 10, "is no bool"),
            ("sr=0.5:int", 8, "is no int"),
            ("mask=none", 6, "a size is expected"),
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
