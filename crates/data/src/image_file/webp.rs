//! WebP by the crate image-webp: lossy and lossless, and the first frame of an animation.

use super::{Rgb, check_area};
use anyhow::{Context, Result, ensure};
use image_webp::WebPDecoder;
use std::io::Cursor;

/// Bytes of a chunk's name and size; the whole file is a chunk of the name RIFF.
const HEADER: usize = 8;

/// One code of no length can fill an image, whose bytes then tell nothing about its size: a small
/// file may have this many pixels.
const PIXELS_OF_ANY_FILE: usize = 1 << 24;

/// The most that a larger image makes of a byte.
const MAX_PIXELS_PER_BYTE: usize = 1 << 13;

/// Bytes of the name WEBP before the first chunk inside.
const NAME: usize = 4;

/// The bytes of the first chunk and the bytes behind it, which begin with the padding of a chunk of
/// odd length.
///
/// # Errors
/// The chunk is longer than the bytes.
fn split_chunk(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let size = bytes.get(4..HEADER).context(TRUNCATED)?;
    let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
    bytes.split_at_checked(HEADER + size).context(TRUNCATED)
}

const TRUNCATED: &str = "a truncated WebP: fetch or write it again";

/// Whether the first bytes are those of a WebP file.
pub(crate) fn is_webp(first_bytes: &[u8]) -> bool {
    first_bytes.starts_with(b"RIFF") && first_bytes.get(8..12) == Some(b"WEBP")
}

/// Decodes a WebP; of an animation the first frame.
///
/// # Errors
/// The file is truncated or damaged, or claims more than [`super::MAX_PIXELS`].
pub(super) fn decode(bytes: &[u8]) -> Result<Rgb> {
    let (whole, _) = split_chunk(bytes)?;
    let mut rest = whole.get(HEADER + NAME..).context(TRUNCATED)?;
    while rest.len() > 1 {
        let (chunk, behind) = split_chunk(rest)?;
        rest = &behind[(chunk.len() % 2).min(behind.len())..];
    }
    let mut decoder = WebPDecoder::new(Cursor::new(whole)).context("a damaged WebP")?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    let possible = bytes.len().saturating_mul(MAX_PIXELS_PER_BYTE);
    check_area(width, height, possible.max(PIXELS_OF_ANY_FILE))?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut pixels = vec![0; width * height * channels];
    decoder
        .read_image(&mut pixels)
        .context("a truncated or damaged WebP")?;
    if channels == 4 {
        pixels = pixels
            .chunks_exact(4)
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect();
    }
    ensure!(
        pixels.len() == width * height * 3,
        "a damaged WebP: fetch or write it again"
    );
    Ok(Rgb {
        width,
        height,
        pixels,
    })
}
