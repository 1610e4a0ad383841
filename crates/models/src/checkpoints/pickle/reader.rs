//! The bytes of a pickle, and the numbers and texts in them.

use super::Value;
use anyhow::{Context, Result};

/// Takes a pickle's bytes from its front.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Index of the next byte to read.
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were taken.
    pub fn position(&self) -> usize {
        self.at
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len());
        let end = end.context("the pickle ends in the middle: truncated")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number without sign, `width` bytes wide (8 at most).
    pub fn number(&mut self, width: usize) -> Result<u64> {
        let mut number = 0;
        for byte in self.take(width)?.iter().rev() {
            number = number << 8 | u64::from(*byte);
        }
        Ok(number)
    }

    /// The bytes up to the end of a line.
    fn line_bytes(&mut self) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.context("a line of the pickle has no end: truncated")?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    /// The text up to the end of a line.
    pub fn line(&mut self) -> Result<&'a str> {
        Ok(std::str::from_utf8(self.line_bytes()?)?)
    }

    /// As many bytes as the number in front of them says, which is `width` bytes wide.
    pub fn sized(&mut self, width: usize) -> Result<&'a [u8]> {
        let length = self.number(width)? as usize;
        self.take(length)
    }

    /// A text with its length in front. Python lets halves of surrogate pairs stand in a text,
    /// which become the replacement character here.
    pub fn text(&mut self, width: usize) -> Result<Value> {
        Ok(Value::Text(
            String::from_utf8_lossy(self.sized(width)?).into(),
        ))
    }

    /// What Python 2 calls a text: bytes, which are a text where they are ASCII or UTF-8.
    pub fn byte_text(&mut self, width: usize) -> Result<Value> {
        Ok(text_or_bytes(self.sized(width)?))
    }

    /// A text between quotes on a line of its own, as protocol 0 writes it. Escapes stay as they
    /// are written.
    pub fn quoted_line(&mut self) -> Result<Value> {
        let line = self.line_bytes()?.trim_ascii();
        let inner = match line {
            [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
            _ => line,
        };
        Ok(text_or_bytes(inner))
    }

    /// A number on a line of its own, as protocol 0 writes it.
    pub fn number_line(&mut self) -> Result<Value> {
        let line = self.line()?.trim().trim_end_matches('L');
        Ok(match line {
            "00" => Value::Bool(false),
            "01" => Value::Bool(true),
            _ => match line.parse() {
                Ok(number) => Value::Int(number),
                Err(_) => Value::Float(line.parse().context("a line that is no number")?),
            },
        })
    }

    /// A little-endian number with sign, of any length.
    pub fn long(&mut self, width: usize) -> Result<Value> {
        let bytes = self.sized(width)?;
        if bytes.len() > 8 {
            return Ok(Value::Long(bytes.into()));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut whole = [if negative { 0xff } else { 0 }; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }
}

fn text_or_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.into()),
        Err(_) => Value::Bytes(bytes.into()),
    }
}
