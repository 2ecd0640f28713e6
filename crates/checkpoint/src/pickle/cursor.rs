//! Reading the parts of a pickle: numbers, lines, runs of bytes, and the scalars that they make up.

use super::{Encoding, Node, Span, opcode, split};

/// A place in a pickle's bytes.
pub(super) struct Cursor<'a> {
    pub data: &'a [u8],
    pub position: usize,
}

/// What is wrong at the current opcode. Boxed, so that the good result fits registers.
pub(super) struct Wrong(Box<(String, Option<usize>)>);

/// What an opcode gives.
pub(super) type Step<T = ()> = Result<T, Wrong>;

impl Wrong {
    /// The pickle is cut off: this many more bytes would have been needed.
    pub fn cut(what: String, wants: usize) -> Wrong {
        Wrong(Box::new((what, Some(wants))))
    }

    /// In words; and the bytes that would have been needed.
    pub fn parts(self) -> (String, Option<usize>) {
        *self.0
    }
}

impl From<String> for Wrong {
    fn from(what: String) -> Wrong {
        Wrong(Box::new((what, None)))
    }
}

impl From<&str> for Wrong {
    fn from(what: &str) -> Wrong {
        Wrong::from(what.to_owned())
    }
}

impl Cursor<'_> {
    /// The scalar behind an opcode whose end follows from the opcode or from a length, so that it can be read again for next to
    /// nothing; `None` for all others. `#[inline(always)]`, like everything that runs for every opcode.
    #[inline(always)]
    pub fn scalar(&mut self, code: u8) -> Step<Option<Node>> {
        use opcode::*;
        Ok(Some(match code {
            NONE => Node::None,
            NEWTRUE => Node::Bool(true),
            NEWFALSE => Node::Bool(false),
            EMPTY_TUPLE => Node::Tuple(Span { start: 0, length: 0 }),
            BININT => Node::Int(split(i64::from(self.u32()? as i32) as u64)),
            BININT1 => Node::Int(split(self.byte()?.into())),
            BININT2 => Node::Int(split(self.u16()?.into())),
            LONG1 => {
                let length = self.byte()?;
                self.long(length.into())?
            }
            LONG4 => {
                let length = self.u32()?;
                let length = i32::try_from(length).map_err(|_| Wrong::from("LONG4 has a negative length"))?;
                self.long(length as u64)?
            }
            BINFLOAT => Node::Float(split(u64::from_be_bytes(self.array()?))),
            SHORT_BINUNICODE => Node::Text(self.sized(1)?, Encoding::Utf8),
            BINUNICODE => Node::Text(self.sized(4)?, Encoding::Utf8),
            BINUNICODE8 => Node::Text(self.sized(8)?, Encoding::Utf8),
            SHORT_BINSTRING => Node::Text(self.sized(1)?, Encoding::Latin1),
            BINSTRING => Node::Text(self.sized(4)?, Encoding::Latin1),
            SHORT_BINBYTES => Node::Bytes(self.sized(1)?),
            BINBYTES => Node::Bytes(self.sized(4)?),
            BINBYTES8 | BYTEARRAY8 => Node::Bytes(self.sized(8)?),
            _ => return Ok(None),
        }))
    }

    /// A little-endian two's complement integer.
    fn long(&mut self, length: u64) -> Step<Node> {
        let span = self.span(length)?;
        let bytes = span.of(self.data);
        if bytes.len() > 8 {
            return Ok(Node::BigInt(span));
        }
        let filler = if bytes.last().is_some_and(|&byte| byte >= 0x80) { 0xff } else { 0 };
        let mut value = [filler; 8];
        for (to, from) in value.iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(Node::Int(split(u64::from_le_bytes(value))))
    }

    /// The bytes after a length that itself takes this many bytes.
    fn sized(&mut self, width: usize) -> Step<Span> {
        let length = match width {
            1 => self.byte()?.into(),
            4 => self.u32()?.into(),
            _ => self.u64()?,
        };
        self.span(length)
    }

    fn span(&mut self, length: u64) -> Step<Span> {
        let remaining = self.data.len().saturating_sub(self.position) as u64;
        if length > remaining {
            return Err(self.cut(length, remaining));
        }
        let span = Span { start: self.position as u32, length: length as u32 };
        self.position += length as usize;
        Ok(span)
    }

    #[cold]
    fn cut(&self, length: u64, remaining: u64) -> Wrong {
        let wants = self.position.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        Wrong::cut(format!("a length of {length} where {remaining} bytes remain"), wants)
    }

    /// Up to the next line end, which is skipped.
    pub fn line(&mut self) -> Step<Span> {
        let rest = self.data.get(self.position..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(Wrong::cut("a line without an end: the pickle is cut off".to_owned(), self.data.len() + 1));
        };
        let line = self.span(length as u64)?;
        self.position += 1;
        Ok(line)
    }

    /// A memo number in decimal, on a line.
    pub fn decimal(&mut self) -> Step<u32> {
        let line = self.line()?;
        let text = std::str::from_utf8(line.of(self.data)).unwrap_or_default();
        text.trim().parse().map_err(|_| Wrong::from("a memo number that is no number"))
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let rest = self.data.get(self.position..).unwrap_or_default();
        let Some(&array) = rest.first_chunk::<N>() else { return Err(self.cut(N as u64, rest.len() as u64)) };
        self.position += N;
        Ok(array)
    }

    pub fn byte(&mut self) -> Step<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Step<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Step<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Step<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
