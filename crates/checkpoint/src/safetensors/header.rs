//! The header of a safetensors file: one JSON object, read by hand, so that every fault has its byte and a hundred
//! thousand tensors take milliseconds.
//!
//! As strict as the format's description: an object that begins at the first byte, no name twice, `__metadata__` of
//! strings alone, whole numbers for shapes and offsets. Unknown fields of a tensor are passed over, as the `safetensors`
//! crate does.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::OnceLock;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use serde::de::IgnoredAny;

use super::super::Sizes;
use super::super::error::name_for_message;

/// The key that is no tensor.
const METADATA: &str = "__metadata__";
/// Entries of `__metadata__` that are kept: trainers write some hundred, and each takes many times its text.
const MOST_METADATA: usize = 100_000;
/// More axes than torch has operators for.
const MOST_AXES: usize = 64;

/// What the header says.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// The first [`MOST_METADATA`] of `__metadata__`, in its order.
    pub metadata: Vec<(String, String)>,
    /// Entries of it beyond those.
    pub more_metadata: usize,
    /// The tensors, in their order.
    pub tensors: Vec<Entry>,
}

/// What it says of a tensor.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: CompactString,
    /// As written (`BF16`).
    pub dtype: CompactString,
    pub shape: Sizes,
    /// First byte and one past the last, from the end of the header.
    pub begin: u64,
    pub end: u64,
    /// Where its name stands in the header.
    pub at: usize,
}

/// What is wrong, and at which byte of the header.
#[derive(Debug)]
pub(super) struct Fault {
    pub at: usize,
    pub what: String,
}

type Step<T = ()> = Result<T, Fault>;

/// Read the header.
///
/// # Errors
/// It is not what the format says.
pub(super) fn parse(bytes: &[u8]) -> Step<Header> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Fault { at: error.valid_up_to(), what: "the header is not UTF-8 here".to_owned() })?;
    let mut reader = Reader { text, at: 0 };
    if !text.starts_with('{') {
        return Err(reader.fault("a header begins with `{`"));
    }
    let mut header = Header::default();
    let mut seen: HashSet<u64, RandomState> = HashSet::default();
    let mut has_metadata = false;
    reader.object(|reader, name, at| {
        if name == METADATA {
            if std::mem::replace(&mut has_metadata, true) {
                return Err(Fault { at, what: format!("`{METADATA}` is there twice") });
            }
            (header.metadata, header.more_metadata) = reader.metadata()?;
            return Ok(());
        }
        if !seen.insert(name.hash()) && header.tensors.iter().any(|tensor| name == tensor.name.as_str()) {
            return Err(Fault { at, what: format!("the name `{}` is there twice", name.shown()) });
        }
        header.tensors.push(reader.tensor(name.as_str().into(), at)?);
        Ok(())
    })?;
    reader.blanks();
    if reader.at < text.len() {
        return Err(reader.fault("something stands behind the header's `}`"));
    }
    Ok(header)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// A string of the header, copied only where it has escapes.
enum Text<'a> {
    Plain(&'a str),
    Unescaped(String),
}

impl Text<'_> {
    fn as_str(&self) -> &str {
        match self {
            Text::Plain(text) => text,
            Text::Unescaped(text) => text,
        }
    }

    fn into_string(self) -> String {
        match self {
            Text::Plain(text) => text.to_owned(),
            Text::Unescaped(text) => text,
        }
    }

    fn hash(&self) -> u64 {
        static STATE: OnceLock<RandomState> = OnceLock::new();
        STATE.get_or_init(Default::default).hash_one(self.as_str())
    }

    fn shown(&self) -> String {
        name_for_message(self.as_str())
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl<'a> Reader<'a> {
    fn fault(&self, what: impl Into<String>) -> Fault {
        Fault { at: self.at, what: what.into() }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte that is no blank must be this one.
    fn expect(&mut self, wanted: u8, what: &str) -> Step {
        self.blanks();
        if self.peek() != Some(wanted) {
            let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
                Some(character) => format!("`{}`", character.escape_default()),
                None => "the end of the header".to_owned(),
            };
            return Err(self.fault(format!("{what} is expected here, not {found}")));
        }
        self.at += 1;
        Ok(())
    }

    /// Whether the next byte that is no blank is this one; it is passed if so.
    fn take(&mut self, wanted: u8) -> bool {
        self.blanks();
        let is = self.peek() == Some(wanted);
        self.at += usize::from(is);
        is
    }

    /// An object: `member` reads the value behind each name, which it gets with its place.
    fn object(&mut self, mut member: impl FnMut(&mut Self, Text<'a>, usize) -> Step) -> Step {
        self.expect(b'{', "`{`")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.blanks();
            let at = self.at;
            let name = self.string("a name in quotes")?;
            self.expect(b':', "`:`")?;
            member(self, name, at)?;
            if !self.take(b',') {
                return self.expect(b'}', "`,` or `}`");
            }
        }
    }

    /// An array: `item` reads each value.
    fn array(&mut self, mut item: impl FnMut(&mut Self) -> Step) -> Step {
        self.expect(b'[', "`[`")?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.take(b',') {
                return self.expect(b']', "`,` or `]`");
            }
        }
    }

    fn string(&mut self, what: &str) -> Step<Text<'a>> {
        self.expect(b'"', what)?;
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(0x20..) => self.at += 1,
                Some(_) => return Err(self.fault("a control character inside quotes")),
                None => return Err(Fault { at: start, what: "these quotes are never closed".to_owned() }),
            }
        }
        let inside = self.text.get(start..self.at).unwrap_or_default();
        self.at += 1;
        if !escaped {
            return Ok(Text::Plain(inside));
        }
        // Escapes are rare: JSON's own rules for them are left to serde_json.
        let quoted = self.text.get(start - 1..self.at).unwrap_or_default();
        let unescaped = serde_json::from_str(quoted);
        unescaped
            .map(Text::Unescaped)
            .map_err(|_| Fault { at: start, what: "a broken escape inside quotes".to_owned() })
    }

    /// A whole number that fits 64 bits.
    fn number(&mut self) -> Step<u64> {
        self.blanks();
        let start = self.at;
        let mut value = Some(0u64);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.and_then(|value| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
            self.at += 1;
        }
        let digits = self.text.get(start..self.at).unwrap_or_default();
        let fault = |what: &str| Fault { at: start, what: what.to_owned() };
        if digits.is_empty() || matches!(self.peek(), Some(b'.' | b'e' | b'E' | b'-' | b'+')) {
            return Err(fault("a whole number of 0 and more is expected here"));
        }
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(fault("a number does not begin with 0"));
        }
        value.ok_or_else(|| fault("this number does not fit 64 bits"))
    }

    fn metadata(&mut self) -> Step<(Vec<(String, String)>, usize)> {
        let (mut entries, mut more, mut seen) = (Vec::new(), 0, HashSet::<u64, RandomState>::default());
        // MLX writes null where there is none.
        self.blanks();
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with("null")) {
            self.at += "null".len();
            return Ok((entries, more));
        }
        self.object(|reader, key, at| {
            // Of those that are not kept the hash is all there is: two keys of one are as good as impossible.
            let known = |(known, _): &(String, String)| key == known.as_str();
            if !seen.insert(key.hash()) && (more > 0 || entries.iter().any(known)) {
                return Err(Fault { at, what: format!("`{}` is twice in `{METADATA}`", key.shown()) });
            }
            let value = reader.string("text in quotes, the only value that `__metadata__` may have,")?;
            if entries.len() < MOST_METADATA {
                entries.push((key.into_string(), value.into_string()));
            } else {
                more += 1;
            }
            Ok(())
        })?;
        Ok((entries, more))
    }

    fn tensor(&mut self, name: CompactString, at: usize) -> Step<Entry> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        self.object(|reader, field, at| {
            let twice = match field.as_str() {
                "dtype" => dtype.replace(reader.string("the type in quotes")?.as_str().into()).is_some(),
                "shape" => shape.replace(reader.sizes(MOST_AXES)?).is_some(),
                "data_offsets" => offsets.replace(reader.sizes(2)?).is_some(),
                _ => reader.skip().map(|()| false)?,
            };
            if twice { Err(Fault { at, what: format!("`{}` is there twice", field.shown()) }) } else { Ok(()) }
        })?;
        let fault = |what: &str| Fault { at, what: format!("tensor `{}` has no {what}", name_for_message(&name)) };
        let dtype = dtype.ok_or_else(|| fault("`dtype`"))?;
        let shape = shape.ok_or_else(|| fault("`shape`"))?;
        let (begin, end) = match offsets.as_deref() {
            Some(&[begin, end]) => (begin, end),
            Some(_) => return Err(fault("two `data_offsets`")),
            None => return Err(fault("`data_offsets`")),
        };
        Ok(Entry { name, dtype, shape, begin, end, at })
    }

    fn sizes(&mut self, most: usize) -> Step<Sizes> {
        let mut sizes = Sizes::new();
        self.array(|reader| {
            sizes.push(reader.number()?);
            if sizes.len() > most { Err(reader.fault(format!("more than {most} numbers in a list"))) } else { Ok(()) }
        })?;
        Ok(sizes)
    }

    /// Pass a value of any kind. Fields that the format does not know are rare: serde_json reads them, no deeper than 128
    /// levels.
    fn skip(&mut self) -> Step {
        self.blanks();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => self.at += values.byte_offset(),
            _ => return Err(self.fault("a JSON value is expected here")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn fault(header: &str) -> String {
        let fault = parse(header.as_bytes()).unwrap_err();
        format!("{}: {}", fault.at, fault.what)
    }

    #[test]
    fn a_header_is_read_in_its_order() {
        let header = parse(
            br#"{"__metadata__":{"format":"pt"}, "b\u00e9":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]} ,
                "a":{"shape":[],"data_offsets":[12,16],"dtype":"F32","note":{"x":[1,-2.5e3,null,"}"]}}}   "#,
        )
        .unwrap();
        let null = parse(br#"{"__metadata__":null,"a":{"shape":[],"data_offsets":[0,4],"dtype":"F32"}}"#).unwrap();
        assert!(null.metadata.is_empty() && null.tensors.len() == 1);
        assert_eq!(header.metadata, [("format".to_owned(), "pt".to_owned())]);
        let rows: Vec<_> = header
            .tensors
            .iter()
            .map(|t| (t.name.as_str(), t.dtype.as_str(), t.shape.as_slice(), t.begin, t.end))
            .collect();
        assert_eq!(rows, [("bé", "BF16", [2, 3].as_slice(), 0, 12), ("a", "F32", [].as_slice(), 12, 16)]);
        assert!(parse(b"{}").unwrap().tensors.is_empty());
    }

    #[test]
    fn every_fault_has_its_byte() {
        let tensor = |fields: &str| format!(r#"{{"a":{{{fields}}}}}"#);
        let good = r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#;
        assert!(parse(tensor(good).as_bytes()).is_ok());
        let faults = [
            "",
            " {}",
            "[]",
            "{",
            r#"{"a""#,
            r#"{"a":1}"#,
            "{} x",
            r#"{"a":{"dtype":"F32"}}"#,
            r#"{"a":{"dtype":1}}"#,
            &tensor(&good.replace("[1]", "[-1]")),
            &tensor(&good.replace("[1]", "[1.0]")),
            &tensor(&good.replace("[1]", "[01]")),
            &tensor(&good.replace("[1]", "[18446744073709551616]")),
            &tensor(&good.replace("[1]", "[1,]")),
            &tensor(&good.replace("[0,4]", "[0]")),
            &tensor(&good.replace("[0,4]", "[0,4,8]")),
            &tensor(&format!(r#"{good},"dtype":"F16""#)),
            &format!(r#"{{"a":{{{good}}},"a":{{{good}}}}}"#),
            r#"{"__metadata__":{"a":1}}"#,
            r#"{"__metadata__":{"a":"1","a":"2"}}"#,
            r#"{"__metadata__":{},"__metadata__":{}}"#,
            "{\"a\n\":1}",
            r#"{"a\q":1}"#,
            &format!(r#"{{"a":{{"x":{}}}}}"#, "[".repeat(100)),
        ];
        insta::assert_snapshot!(faults.map(fault).join("\n"), @r#"
        0: a header begins with `{`
        0: a header begins with `{`
        0: a header begins with `{`
        1: a name in quotes is expected here, not the end of the header
        4: `:` is expected here, not the end of the header
        5: `{` is expected here, not `1`
        3: something stands behind the header's `}`
        1: tensor `a` has no `shape`
        14: the type in quotes is expected here, not `1`
        29: a whole number of 0 and more is expected here
        29: a whole number of 0 and more is expected here
        29: a number does not begin with 0
        29: this number does not fit 64 bits
        31: a whole number of 0 and more is expected here
        1: tensor `a` has no two `data_offsets`
        53: more than 2 numbers in a list
        53: `dtype` is there twice
        54: the name `a` is there twice
        21: text in quotes, the only value that `__metadata__` may have, is expected here, not `1`
        25: `a` is twice in `__metadata__`
        19: `__metadata__` is there twice
        3: a control character inside quotes
        2: a broken escape inside quotes
        10: a JSON value is expected here
        "#);
        let invalid = parse(b"{\"\xff\":1}").unwrap_err();
        assert_eq!((invalid.at, invalid.what.as_str()), (2, "the header is not UTF-8 here"));
    }

    proptest! {
        /// Whatever this reader takes, serde_json takes, and both find the same.
        #[test]
        fn nothing_is_taken_that_is_no_json(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
            let mut header = br#"{"__metadata__":{"k":"v\n"},"a.b":{"dtype":"F32","shape":[2, 3],"data_offsets":[0,24],"x":[{}]}}"#.to_vec();
            for (place, byte) in places {
                let place = place.index(header.len());
                header[place] = byte;
            }
            if let Ok(parsed) = parse(&header) {
                let value: Result<serde_json::Value, _> = serde_json::from_slice(&header);
                prop_assert!(value.is_ok(), "{}", String::from_utf8_lossy(&header));
                let value = value.unwrap();
                for tensor in parsed.tensors {
                    prop_assert_eq!(&value[tensor.name.as_str()]["dtype"], &serde_json::json!(tensor.dtype.as_str()));
                    prop_assert_eq!(&value[tensor.name.as_str()]["shape"], &serde_json::json!(tensor.shape.to_vec()));
                }
            }
        }
    }
}
