//! PNG by the image crate.

use super::{MAX_PIXELS, Rgb};
use crate::image_set;
use anyhow::{Context, Result, anyhow, ensure};
use image::{ColorType, ImageDecoder, ImageFormat, RgbImage};
use std::io::Cursor;

/// Deflate packs at most about 1,032 bytes into one, and eight 1-bit pixels unfold from each.
const MAX_BYTES_PER_BYTE: u64 = 1100 * 8;

/// What is wrong with a file that cannot be decoded. The reader's errors repeat their causes; the
/// last cause says it all.
fn damaged(error: &dyn std::error::Error) -> anyhow::Error {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    anyhow!("a truncated or damaged PNG: {last}")
}

/// Decodes a PNG.
///
/// # Errors
/// The file is truncated or damaged, is 16-bit, or claims more pixels than its bytes can hold.
pub(super) fn decode(bytes: &[u8]) -> Result<Rgb> {
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(8 * MAX_PIXELS as u64);
    let mut reader = image::ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| damaged(&error))?;
    let possible = (bytes.len() as u64).saturating_mul(MAX_BYTES_PER_BYTE);
    let (width, height) = decoder.dimensions();
    ensure!(
        decoder.total_bytes() <= possible.min(4 * MAX_PIXELS as u64),
        "{width} x {height} pixels are more than its {} bytes can hold",
        bytes.len()
    );
    let sixteen_bits = [
        ColorType::L16,
        ColorType::La16,
        ColorType::Rgb16,
        ColorType::Rgba16,
    ];
    ensure!(
        !sixteen_bits.contains(&decoder.color_type()),
        "a 16-bit PNG: convert it to 8 bits first \
         (how its values are scaled is not for this program to choose)"
    );
    let image = image::DynamicImage::from_decoder(decoder)
        .map_err(|error| damaged(&error))?
        .into_rgb8();
    let (width, height) = image.dimensions();
    Ok(Rgb {
        width: width as usize,
        height: height as usize,
        pixels: image.into_raw(),
    })
}

/// PNG bytes.
///
/// # Errors
/// The pixels do not fill the image, or those of the encoder.
pub fn encode_png(image: &Rgb) -> Result<Vec<u8>> {
    let (width, height) = (image.width as u32, image.height as u32);
    let whole = RgbImage::from_raw(width, height, image.pixels.clone());
    image_set::encode_png(&whole.context("the pixels do not fill the image")?)
}
