//! The first directory of a TIFF or BigTIFF: its tags and their numbers.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

const TRUNCATED: &str = "a truncated TIFF: fetch or write it again";

/// Whole-number tags of the first page.
#[derive(Debug)]
pub(super) struct Directory(BTreeMap<u16, Vec<u64>>);

/// Reads numbers in the file's order of bytes.
#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    /// Whether counts and offsets have 8 bytes (BigTIFF).
    is_big: bool,
}

impl Reader<'_> {
    /// The number in `size` bytes at `at`.
    fn number(&self, at: usize, size: usize) -> Result<u64> {
        let bytes = at.checked_add(size).and_then(|end| self.bytes.get(at..end));
        let bytes = bytes.context(TRUNCATED)?;
        let mut value = 0;
        for i in 0..size {
            let byte = if self.big_endian {
                bytes[i]
            } else {
                bytes[size - 1 - i]
            };
            value = value << 8 | u64::from(byte);
        }
        Ok(value)
    }

    /// Size of counts and offsets.
    fn word(&self) -> usize {
        if self.is_big { 8 } else { 4 }
    }

    /// The numbers of the entry at `at`; none when it does not hold whole numbers.
    fn entry(&self, at: usize) -> Result<Option<Vec<u64>>> {
        let size = match self.number(at + 2, 2)? {
            1 => 1,
            3 => 2,
            4 | 13 => 4,
            16 | 18 => 8,
            _ => return Ok(None),
        };
        let word = self.word();
        let count = self.number(at + 4, word)? as usize;
        let length = count.checked_mul(size).context(TRUNCATED)?;
        let value = at + 4 + word;
        let start = if length <= word {
            value
        } else {
            self.number(value, word)? as usize
        };
        let end = start.checked_add(length).context(TRUNCATED)?;
        ensure!(end <= self.bytes.len(), TRUNCATED);
        let numbers = (0..count).map(|i| self.number(start + i * size, size));
        Ok(Some(numbers.collect::<Result<_>>()?))
    }
}

impl Directory {
    /// Reads the tags of a file's first page.
    ///
    /// # Errors
    /// The file is truncated.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader {
            bytes,
            big_endian: bytes.starts_with(b"MM"),
            is_big: false,
        };
        reader.is_big = reader.number(2, 2)? == 43;
        let word = reader.word();
        let start = reader.number(word, word)? as usize;
        let (head, entry_size) = if reader.is_big { (8, 20) } else { (2, 12) };
        let count = reader.number(start, head)? as usize;
        let mut tags = BTreeMap::new();
        for i in 0..count {
            let at = i
                .checked_mul(entry_size)
                .and_then(|inside| start.checked_add(head)?.checked_add(inside))
                .context(TRUNCATED)?;
            let tag = reader.number(at, 2)? as u16;
            if let Some(numbers) = reader.entry(at)? {
                tags.insert(tag, numbers);
            }
        }
        Ok(Self(tags))
    }

    /// Whether it has a tag.
    pub fn has(&self, tag: u16) -> bool {
        self.0.contains_key(&tag)
    }

    /// The numbers of a tag; empty when the file does not have it.
    ///
    /// # Errors
    /// A number larger than a place in memory.
    pub fn numbers(&self, tag: u16) -> Result<Vec<usize>> {
        let numbers = self.0.get(&tag).map(Vec::as_slice).unwrap_or_default();
        let numbers = numbers.iter().map(|number| usize::try_from(*number));
        Ok(numbers.collect::<Result<_, _>>()?)
    }

    /// The first number of a tag, or `default`.
    ///
    /// # Errors
    /// As [`Directory::numbers`].
    pub fn number(&self, tag: u16, default: usize) -> Result<usize> {
        Ok(self.numbers(tag)?.first().copied().unwrap_or(default))
    }
}
