//! PBM, PGM and PPM as Pillow reads them (`PpmImagePlugin.py`), in bytes or as text, of up to 8
//! bits per sample.

use super::{Rgb, check_area};
use anyhow::{Context, Result, bail, ensure};

/// Longest number in a header or text, in digits.
const MAX_DIGITS: usize = 10;

/// A bitmap packs eight pixels into a byte.
const MAX_PIXELS_PER_BYTE: usize = 8;

const TRUNCATED: &str = "a truncated PNM: fetch or write it again";

/// Bytes that are read from the front.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn next_byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    /// The next byte that is part of no comment.
    fn next_outside_comments(&mut self) -> Option<u8> {
        loop {
            let byte = self.next_byte()?;
            if byte != b'#' {
                return Some(byte);
            }
            while !matches!(self.next_byte()?, b'\n' | b'\r') {}
        }
    }

    /// The next number, and the white space behind it.
    fn number(&mut self) -> Result<usize> {
        let mut digits = String::new();
        loop {
            match self.next_outside_comments() {
                Some(byte) if byte.is_ascii_digit() => digits.push(char::from(byte)),
                Some(byte) if is_space(byte) && digits.is_empty() => {}
                None if digits.is_empty() => bail!(TRUNCATED),
                None => break,
                Some(byte) if is_space(byte) => break,
                Some(byte) => bail!("a damaged PNM (byte {byte:#04x} in place of a number)"),
            }
            ensure!(
                digits.len() <= MAX_DIGITS,
                "a damaged PNM (a number too long)"
            );
        }
        Ok(digits.parse()?)
    }

    /// The next digit of a bitmap in text, whose white space is optional.
    fn bit(&mut self) -> Result<u8> {
        loop {
            match self.next_outside_comments().context(TRUNCATED)? {
                b'0' => return Ok(255),
                b'1' => return Ok(0),
                byte if is_space(byte) => {}
                byte => bail!("a damaged PNM (byte {byte:#04x} in place of a bit)"),
            }
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// A sample of `most` levels as 8 bits: Python's `round`, half to even.
fn scaled(value: usize, most: usize) -> u8 {
    (value as f64 / most as f64 * 255.0)
        .round_ties_even()
        .min(255.0) as u8
}

/// Repeats each grey sample for three channels.
fn grey_as_rgb(samples: &[u8]) -> Vec<u8> {
    samples.iter().flat_map(|grey| [*grey; 3]).collect()
}

/// Samples of a file whose pixels are bytes.
fn binary_samples(rest: &[u8], count: usize, most: usize) -> Result<Vec<u8>> {
    let samples = rest.get(..count).context(TRUNCATED)?;
    if most == 255 {
        return Ok(samples.to_vec());
    }
    Ok(samples
        .iter()
        .map(|sample| scaled(usize::from(*sample), most))
        .collect())
}

/// Samples of a file whose pixels are text.
fn text_samples(reader: &mut Reader, count: usize, most: usize) -> Result<Vec<u8>> {
    let mut samples = Vec::new();
    for _ in 0..count {
        let value = reader.number()?;
        ensure!(value <= most, "a damaged PNM ({value} of {most} levels)");
        samples.push(scaled(value, most));
    }
    Ok(samples)
}

/// Pixels of a packed bitmap, where a set bit is black.
fn packed_bits(rest: &[u8], width: usize, height: usize) -> Result<Vec<u8>> {
    let stride = width.div_ceil(8);
    let rows = rest.get(..stride * height).context(TRUNCATED)?;
    let mut samples = Vec::with_capacity(width * height);
    for row in rows.chunks_exact(stride) {
        for x in 0..width {
            samples.push(if row[x / 8] >> (7 - x % 8) & 1 == 1 {
                0
            } else {
                255
            });
        }
    }
    Ok(samples)
}

/// Decodes a PBM, PGM or PPM.
///
/// # Errors
/// The file is truncated or damaged, has more than 8 bits per sample, or claims more pixels than
/// its bytes can hold.
pub(super) fn decode(bytes: &[u8]) -> Result<Rgb> {
    let kind = bytes[1];
    let mut reader = Reader { bytes, at: 2 };
    ensure!(
        reader.next_byte().is_some_and(is_space),
        "a damaged PNM (no space behind its first two bytes)"
    );
    let (width, height) = (reader.number()?, reader.number()?);
    check_area(width, height, bytes.len() * MAX_PIXELS_PER_BYTE)?;
    let count = width * height;
    let most = match kind {
        b'1' | b'4' => 1,
        _ => reader.number()?,
    };
    ensure!((1..65536).contains(&most), "a damaged PNM ({most} levels)");
    ensure!(
        most <= 255,
        "a 16-bit PNM: convert it to 8 bits first \
         (how its values are scaled is not for this program to choose)"
    );
    let rest = bytes.get(reader.at..).unwrap_or_default();
    let pixels = match kind {
        b'1' => {
            let bits: Result<Vec<u8>> = (0..count).map(|_| reader.bit()).collect();
            grey_as_rgb(&bits?)
        }
        b'2' => grey_as_rgb(&text_samples(&mut reader, count, most)?),
        b'3' => text_samples(&mut reader, 3 * count, most)?,
        b'4' => grey_as_rgb(&packed_bits(rest, width, height)?),
        b'5' => grey_as_rgb(&binary_samples(rest, count, most)?),
        _ => binary_samples(rest, 3 * count, most)?,
    };
    Ok(Rgb {
        width,
        height,
        pixels,
    })
}
