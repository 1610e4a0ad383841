//! Unpacking the strips and tiles of a TIFF.

use anyhow::{Result, bail, ensure};
use flate2::read::ZlibDecoder;
use std::io::{ErrorKind, Read};
use weezl::{BitOrder, LzwStatus, decode::Decoder};

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
}

/// How blocks are stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub compression: Compression,
    /// The predictor: 1 for samples, 2 for differences to the sample on the left.
    pub differences: usize,
    /// Whether the lowest bit of each byte comes first.
    pub reversed_bits: bool,
}

/// One row of a block.
pub(super) struct Row {
    /// Its length in bytes.
    pub bytes: usize,
    /// Samples from one pixel to the next.
    pub step: usize,
    /// Bits per sample.
    pub bits: usize,
}

impl Compression {
    /// The compression of a tag's value.
    ///
    /// # Errors
    /// It is none of those that are read.
    pub fn from_tag(value: usize) -> Result<Self> {
        let name = match value {
            1 => return Ok(Self::None),
            5 => return Ok(Self::Lzw),
            8 | 32946 => return Ok(Self::Deflate),
            32773 => return Ok(Self::PackBits),
            2..=4 => "as fax (CCITT)",
            6 | 7 => "by JPEG",
            34712 => "by JPEG 2000",
            34925 => "by LZMA",
            50000 | 34926 => "by Zstandard",
            50001 | 34927 => "by WebP",
            _ => "in a way that is not known",
        };
        bail!("a TIFF compressed {name} ({value}): write it uncompressed, or by LZW or deflate")
    }
}

/// Bytes of PackBits, until `out` has `wanted`.
fn unpack_bits(stored: &[u8], wanted: usize) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while out.len() < wanted && at < stored.len() {
        let count = usize::from(stored[at]);
        at += 1;
        match count {
            0..=127 => {
                let end = (at + count + 1).min(stored.len());
                out.extend_from_slice(&stored[at..end]);
                at = end;
            }
            128 => {}
            _ => {
                let byte = stored.get(at).copied();
                out.extend(byte.into_iter().flat_map(|byte| vec![byte; 257 - count]));
                at += 1;
            }
        }
    }
    out.truncate(wanted);
    out
}

/// Bytes of LZW, up to `wanted`.
fn unpack_lzw(stored: &[u8], wanted: usize) -> Result<Vec<u8>> {
    ensure!(
        !stored.starts_with(&[0, 1]),
        "a TIFF of LZW in the order before 1992: write it uncompressed"
    );
    let mut decoder = Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
    let (mut out, mut rest) = (Vec::new(), stored);
    let mut buffer = vec![0; wanted.min(1 << 16)];
    while out.len() < wanted {
        let step = decoder.decode_bytes(rest, &mut buffer);
        rest = &rest[step.consumed_in..];
        out.extend_from_slice(&buffer[..step.consumed_out]);
        match step.status {
            Ok(LzwStatus::Ok) => {}
            Ok(LzwStatus::Done | LzwStatus::NoProgress) | Err(_) => break,
        }
    }
    out.truncate(wanted);
    Ok(out)
}

/// Bytes of deflate, up to `wanted`. Less is no error of its own.
fn inflate(stored: &[u8], wanted: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    // One byte more, so that a checksum right behind the pixels is looked at.
    let read = ZlibDecoder::new(stored)
        .take(wanted as u64 + 1)
        .read_to_end(&mut out);
    if let Err(error) = read {
        ensure!(
            error.kind() == ErrorKind::UnexpectedEof,
            "a damaged TIFF ({error}): fetch or write it again"
        );
    }
    out.truncate(wanted);
    Ok(out)
}

/// The unpacked bytes of a block of `rows` rows, whose stored bytes begin at `bytes`; the file says
/// that they are `size`.
///
/// # Errors
/// The block holds fewer bytes, or differences that are not read.
pub(super) fn unpack(
    bytes: &[u8],
    size: usize,
    stored: &Stored,
    row: Row,
    rows: usize,
) -> Result<Vec<u8>> {
    let wanted = row.bytes * rows;
    // Pillow reads uncompressed pixels whatever size is said to be theirs.
    let size = match stored.compression {
        Compression::None => wanted,
        Compression::Lzw | Compression::Deflate | Compression::PackBits => size,
    };
    let mut packed = bytes[..size.min(bytes.len())].to_vec();
    if stored.reversed_bits {
        for byte in &mut packed {
            *byte = byte.reverse_bits();
        }
    }
    let mut block = match stored.compression {
        Compression::None => packed,
        Compression::PackBits => unpack_bits(&packed, wanted),
        Compression::Lzw => unpack_lzw(&packed, wanted)?,
        Compression::Deflate => inflate(&packed, wanted)?,
    };
    ensure!(
        block.len() >= wanted,
        "a truncated or damaged TIFF: fetch or write it again"
    );
    let can_differ = [Compression::Lzw, Compression::Deflate].contains(&stored.compression);
    if can_differ && stored.differences != 1 {
        ensure!(
            stored.differences == 2 && row.bits == 8,
            "a TIFF of differences (predictor {}, {} bits): write it without",
            stored.differences,
            row.bits
        );
        for line in block.chunks_exact_mut(row.bytes) {
            for x in row.step..line.len() {
                line[x] = line[x].wrapping_add(line[x - row.step]);
            }
        }
    }
    Ok(block)
}
