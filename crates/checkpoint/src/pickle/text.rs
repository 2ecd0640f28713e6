//! Texts of a pickle.

use std::borrow::Cow;

use super::Encoding;

/// The text; bytes that are no text are replaced by U+FFFD.
pub(super) fn decode(bytes: &[u8], encoding: Encoding) -> Cow<'_, str> {
    match encoding {
        Encoding::Utf8 => std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed),
        Encoding::Latin1 => latin1(bytes),
        Encoding::Quoted => unescape(unquote(bytes)),
        Encoding::RawUnicode => unescape_unicode(bytes),
    }
}

fn latin1(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}

/// Without the quotes around a literal; as it is where there are none.
fn unquote(bytes: &[u8]) -> &[u8] {
    match bytes {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => bytes,
    }
}

/// The escapes of a Python byte literal.
fn unescape(bytes: &[u8]) -> Cow<'_, str> {
    if !bytes.contains(&b'\\') {
        return latin1(bytes);
    }
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        let ([escape, behind @ ..], b'\\') = (rest, *byte) else {
            text.push(*byte);
            continue;
        };
        rest = behind;
        match escape {
            b'n' => text.push(b'\n'),
            b't' => text.push(b'\t'),
            b'r' => text.push(b'\r'),
            b'\\' | b'\'' | b'"' => text.push(*escape),
            b'x' => {
                let digits = rest.get(..2).and_then(|digits| number(digits, 16));
                match digits.and_then(|value| u8::try_from(value).ok()) {
                    Some(value) => {
                        text.push(value);
                        rest = rest.get(2..).unwrap_or_default();
                    }
                    None => text.extend(b"\\x"),
                }
            }
            other => text.extend([b'\\', *other]),
        }
    }
    Cow::Owned(latin1(&text).into_owned())
}

/// Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
fn unescape_unicode(bytes: &[u8]) -> Cow<'_, str> {
    if bytes.is_ascii() && !bytes.contains(&b'\\') {
        return String::from_utf8_lossy(bytes);
    }
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [byte, behind @ ..] = rest {
        let length = match (byte, behind.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        let escaped = behind.get(1..=length).filter(|_| length > 0).and_then(|digits| number(digits, 16));
        match escaped {
            Some(code) => {
                text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                rest = behind.get(length + 1..).unwrap_or_default();
            }
            None => {
                text.push(char::from(*byte));
                rest = behind;
            }
        }
    }
    Cow::Owned(text)
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// A little-endian two's complement integer in decimal; only its length where it is very long.
pub(super) fn decimal(bytes: &[u8]) -> String {
    const LONGEST: usize = 255;
    if bytes.len() > LONGEST {
        return format!("(an integer of {} bytes)", bytes.len());
    }
    let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
    // The magnitude, most significant byte first: inverted and one added where negative.
    let mut magnitude: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut carry = negative;
    for &byte in bytes {
        let (sum, overflow) = if negative { (!byte).overflowing_add(u8::from(carry)) } else { (byte, false) };
        carry = overflow;
        magnitude.push(sum);
    }
    magnitude.reverse();
    let mut digits = Vec::new();
    while magnitude.iter().any(|&byte| byte != 0) {
        let mut remainder = 0u16;
        for byte in &mut magnitude {
            let value = remainder << 8 | u16::from(*byte);
            *byte = (value / 10) as u8;
            remainder = value % 10;
        }
        digits.push(char::from(b'0' + remainder as u8));
    }
    if digits.is_empty() {
        digits.push('0');
    }
    if negative {
        digits.push('-');
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_protocol() {
        assert_eq!(decode(b"w\xc3\xa9", Encoding::Utf8), "wé");
        assert_eq!(decode(b"w\xff", Encoding::Utf8), "w\u{fffd}");
        assert_eq!(decode(b"w\xe9", Encoding::Latin1), "wé");
        assert_eq!(decode(br"'it\'s \x41\n\q'", Encoding::Quoted), "it's A\n\\q");
        assert_eq!(decode(br"'a\x4'", Encoding::Quoted), r"a\x4");
        assert_eq!(decode(b"\\u6f22 \xe9 \\U0001f600 \\u12", Encoding::RawUnicode), "漢 é 😀 \\u12");
        assert_eq!(decode(b"'", Encoding::Quoted), "'");
    }

    #[test]
    fn long_integers_in_decimal() {
        assert_eq!(decimal(&[0, 0, 0, 0, 0, 0, 0, 0, 1]), "18446744073709551616");
        assert_eq!(decimal(&[0xff; 9]), "-1");
        assert_eq!(decimal(&[0, 0, 0, 0, 0, 0, 0, 0, 0x80]), "-2361183241434822606848");
        assert_eq!(decimal(&[0; 9]), "0");
        assert_eq!(decimal(&[1; 300]), "(an integer of 300 bytes)");
    }
}
