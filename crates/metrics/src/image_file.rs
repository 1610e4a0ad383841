//! Picture files as Pillow reads and writes them: JPEG by libjpeg, PNG by the image crate, always 8-bit RGB.

use anyhow::{Context, Result, anyhow, bail, ensure};
use egsde_models::files::read_bounded;
use image::{ColorType, ImageDecoder, ImageFormat};
use mozjpeg::{ColorSpace, Compress, Decompress};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// An 8-bit RGB picture, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    pub width: usize,
    pub height: usize,
    /// `height * width * 3` bytes.
    pub pixels: Vec<u8>,
}

/// More pixels than this in one picture is a mistake or an attack.
pub const MAX_PIXELS: usize = 1 << 28;

/// A picture file is not larger.
const MAX_FILE: u64 = 1 << 30;

/// JPEG spends at least a bit on each block of 64 values, and no chroma layout makes more than 512 pixels of a byte.
const JPEG_PIXELS_A_BYTE: usize = 512;

/// Deflate packs at most about 1,032 bytes into one, and eight 1-bit pixels unfold from each.
const PNG_BYTES_A_BYTE: u64 = 1100 * 8;

/// Reads a picture file. Grey becomes RGB, alpha is dropped (Pillow's `convert("RGB")`); 16-bit and CMYK are refused.
pub fn read(path: &Path) -> Result<Rgb> {
    let bytes = read_bounded(path, MAX_FILE)?;
    decode(&bytes).with_context(|| path.display().to_string())
}

/// The same from memory; the format is known by its first bytes, not by a name.
pub fn decode(bytes: &[u8]) -> Result<Rgb> {
    match bytes {
        [] => bail!("the file is empty"),
        [0xff, 0xd8, ..] => decode_jpeg(bytes),
        [0x89, b'P', b'N', b'G', ..] => decode_png(bytes),
        _ => bail!(
            "neither a JPEG nor a PNG (first bytes {:02x?})",
            &bytes[..bytes.len().min(4)]
        ),
    }
}

/// libjpeg reports errors by unwinding; here they become values.
fn caught<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        let text = cause
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| cause.downcast_ref::<&str>().map(|s| s.to_string()));
        Err(anyhow!(
            "{what}: {}",
            text.unwrap_or_else(|| "libjpeg gave up".into())
        ))
    })
}

fn decode_jpeg(bytes: &[u8]) -> Result<Rgb> {
    // libjpeg fills what is missing with grey and goes on; Pillow refuses, and so do we.
    let tail = &bytes[bytes.len().saturating_sub(1 << 16)..];
    ensure!(
        tail.windows(2).any(|w| w == [0xff, 0xd9]),
        "a truncated JPEG (no end marker): fetch or write it again"
    );
    caught("a damaged JPEG", || {
        let jpeg = Decompress::new_mem(bytes)?;
        let (width, height) = jpeg.size();
        let possible = MAX_PIXELS.min(bytes.len().saturating_mul(JPEG_PIXELS_A_BYTE));
        ensure!(
            width * height <= possible,
            "{width} x {height} pixels are more than its {} bytes can hold",
            bytes.len()
        );
        let space = jpeg.color_space();
        use mozjpeg::ColorSpace as Space;
        let cmyk = [Space::JCS_CMYK, Space::JCS_YCCK].contains(&space);
        ensure!(
            !cmyk,
            "a CMYK JPEG: convert it to RGB first (its colours depend on a profile)"
        );
        let mut rows = jpeg.rgb()?;
        let pixels: Vec<[u8; 3]> = rows.read_scanlines()?;
        ensure!(
            pixels.len() == width * height,
            "a truncated JPEG: fetch or write it again"
        );
        rows.finish()?;
        Ok(Rgb {
            width,
            height,
            pixels: pixels.into_flattened(),
        })
    })
}

fn decode_png(bytes: &[u8]) -> Result<Rgb> {
    let mut reader = image::ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(8 * MAX_PIXELS as u64);
    reader.limits(limits);
    let decoder = reader.into_decoder().context("a damaged PNG")?;
    let possible = (bytes.len() as u64)
        .saturating_mul(PNG_BYTES_A_BYTE)
        .min(4 * MAX_PIXELS as u64);
    let (width, height) = decoder.dimensions();
    ensure!(
        decoder.total_bytes() <= possible,
        "{width} x {height} pixels are more than its {} bytes can hold",
        bytes.len()
    );
    let wide = [
        ColorType::L16,
        ColorType::La16,
        ColorType::Rgb16,
        ColorType::Rgba16,
    ]
    .contains(&decoder.color_type());
    ensure!(
        !wide,
        "a 16-bit PNG: convert it to 8 bits first (how its values are scaled is not for this program to choose)"
    );
    let image = image::DynamicImage::from_decoder(decoder)
        .context("a truncated or damaged PNG")?
        .into_rgb8();
    let (width, height) = image.dimensions();
    Ok(Rgb {
        width: width as usize,
        height: height as usize,
        pixels: image.into_raw(),
    })
}

/// JPEG bytes as Pillow's `save(quality=75)` gives them: baseline, standard tables, 4:2:0.
pub fn encode_jpeg75(picture: &Rgb) -> Result<Vec<u8>> {
    caught("cannot write a JPEG", || {
        let mut jpeg = Compress::new(ColorSpace::JCS_RGB);
        jpeg.set_size(picture.width, picture.height);
        // Without this the library would use its own tables and trellis quantisation.
        jpeg.set_fastest_defaults();
        jpeg.set_quality(75.0);
        jpeg.set_chroma_sampling_pixel_sizes((2, 2), (2, 2));
        let mut writer = jpeg.start_compress(Vec::new())?;
        writer.write_scanlines(&picture.pixels)?;
        Ok(writer.finish()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, ImageBuffer};

    fn png(image: DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn picture() -> Rgb {
        let pixels = (0..24 * 16 * 3).map(|i| (i * 5 % 256) as u8).collect();
        Rgb {
            width: 24,
            height: 16,
            pixels,
        }
    }

    #[track_caller]
    fn refused(bytes: &[u8], part: &str) {
        let error = format!("{:#}", decode(bytes).unwrap_err());
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn grey_and_alpha_become_rgb() {
        let grey = decode(&png(DynamicImage::ImageLuma8(ImageBuffer::from_fn(
            2,
            2,
            |x, _| image::Luma([x as u8 * 9]),
        ))))
        .unwrap();
        assert_eq!(grey.pixels, [0, 0, 0, 9, 9, 9, 0, 0, 0, 9, 9, 9]);
        let clear =
            DynamicImage::ImageRgba8(ImageBuffer::from_pixel(1, 1, image::Rgba([1, 2, 3, 0])));
        assert_eq!(decode(&png(clear)).unwrap().pixels, [1, 2, 3]);
    }

    #[test]
    fn what_cannot_be_read_faithfully_is_refused() {
        refused(
            &png(DynamicImage::ImageLuma16(ImageBuffer::from_pixel(
                1,
                1,
                image::Luma([9]),
            ))),
            "16-bit",
        );
        refused(
            &png(DynamicImage::ImageRgb16(ImageBuffer::from_pixel(
                1,
                1,
                image::Rgb([9; 3]),
            ))),
            "16-bit",
        );
        refused(b"", "empty");
        refused(b"GIF89a", "neither a JPEG nor a PNG");
        let jpeg = encode_jpeg75(&picture()).unwrap();
        refused(&jpeg[..jpeg.len() / 2], "truncated");
        let whole = png(DynamicImage::ImageRgb8(
            ImageBuffer::from_raw(24, 16, picture().pixels).unwrap(),
        ));
        refused(&whole[..whole.len() / 2], "PNG");
    }

    #[test]
    fn a_cmyk_jpeg_is_refused() {
        let mut jpeg = Compress::new(ColorSpace::JCS_CMYK);
        jpeg.set_size(8, 8);
        jpeg.set_color_space(ColorSpace::JCS_CMYK);
        let mut writer = jpeg.start_compress(Vec::new()).unwrap();
        writer.write_scanlines(&[9; 8 * 8 * 4]).unwrap();
        refused(&writer.finish().unwrap(), "CMYK");
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let jpeg = encode_jpeg75(&picture()).unwrap();
        for at in 2..jpeg.len() - 2 {
            let mut changed = jpeg.clone();
            changed[at] ^= 0x55;
            let _ = decode(&changed);
        }
    }
}
