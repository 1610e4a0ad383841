//! Image files as Pillow reads and writes them: JPEG by libjpeg, PNG by the image crate, always
//! 8-bit RGB.

use crate::files::read_bounded;
use crate::image_set::{self, pixels_tensor};
use anyhow::{Context, Result, anyhow, bail, ensure};
use image::{ColorType, ImageDecoder, ImageFormat, RgbImage};
use mozjpeg::{ColorSpace, Compress, Decompress};
use std::any::Any;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use tch::Tensor;

/// An 8-bit RGB image, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height * width * 3` bytes.
    pub pixels: Vec<u8>,
}

impl Rgb {
    /// `[1, 3, height, width]` in [0, 1], float32.
    pub fn tensor(&self) -> Tensor {
        pixels_tensor(&self.pixels, 1, self.height, self.width)
    }
}

/// Largest number of pixels of one image; a file that claims more is refused.
pub const MAX_PIXELS: usize = 1 << 28;

/// Largest size of an image file in bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// JPEG spends at least a bit on each block of 64 values, and no chroma layout makes more than 512
/// pixels of a byte.
const MAX_JPEG_PIXELS_PER_BYTE: usize = 512;

/// Deflate packs at most about 1,032 bytes into one, and eight 1-bit pixels unfold from each.
const MAX_PNG_BYTES_PER_BYTE: u64 = 1100 * 8;

/// Reads an image file. Grey becomes RGB and alpha is dropped (Pillow's `convert("RGB")`).
///
/// # Errors
/// The file cannot be read, is damaged or truncated, is neither a JPEG nor a PNG, is 16-bit or
/// CMYK, or claims more than [`MAX_PIXELS`]; the error names it.
pub fn read(path: &Path) -> Result<Rgb> {
    let bytes = read_bounded(path, MAX_FILE_BYTES)?;
    decode(&bytes).with_context(|| path.display().to_string())
}

/// Decodes an image file's bytes. The first bytes tell the format.
///
/// # Errors
/// As [`read`].
pub fn decode(bytes: &[u8]) -> Result<Rgb> {
    match bytes {
        [] => bail!("the file is empty"),
        [0xff, 0xd8, ..] => decode_jpeg(bytes),
        [0x89, b'P', b'N', b'G', ..] => decode_png(bytes),
        _ => {
            let first = &bytes[..bytes.len().min(4)];
            bail!("neither a JPEG nor a PNG (first bytes {first:02x?})")
        }
    }
}

/// Runs libjpeg, which reports its errors by unwinding, and turns them into values.
fn catch_libjpeg<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|cause| Err(anyhow!("{what}: {}", panic_text(cause.as_ref()))))
}

fn panic_text(cause: &(dyn Any + Send)) -> String {
    if let Some(text) = cause.downcast_ref::<String>() {
        text.clone()
    } else if let Some(text) = cause.downcast_ref::<&str>() {
        (*text).to_string()
    } else {
        "libjpeg gave up".to_string()
    }
}

fn decode_jpeg(bytes: &[u8]) -> Result<Rgb> {
    // libjpeg fills what is missing with grey and goes on; Pillow refuses such a file.
    let tail = &bytes[bytes.len().saturating_sub(1 << 16)..];
    ensure!(
        tail.windows(2).any(|window| window == [0xff, 0xd9]),
        "a truncated JPEG (no end marker): fetch or write it again"
    );
    catch_libjpeg("a damaged JPEG", || decompress_jpeg(bytes))
}

fn decompress_jpeg(bytes: &[u8]) -> Result<Rgb> {
    let jpeg = Decompress::new_mem(bytes)?;
    let (width, height) = jpeg.size();
    let possible = MAX_PIXELS.min(bytes.len().saturating_mul(MAX_JPEG_PIXELS_PER_BYTE));
    ensure!(
        width * height <= possible,
        "{width} x {height} pixels are more than its {} bytes can hold",
        bytes.len()
    );
    let cmyk = [ColorSpace::JCS_CMYK, ColorSpace::JCS_YCCK].contains(&jpeg.color_space());
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
}

fn decode_png(bytes: &[u8]) -> Result<Rgb> {
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(8 * MAX_PIXELS as u64);
    let mut reader = image::ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    reader.limits(limits);
    let decoder = reader.into_decoder().context("a damaged PNG")?;
    let possible = (bytes.len() as u64).saturating_mul(MAX_PNG_BYTES_PER_BYTE);
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
///
/// # Errors
/// libjpeg's, for example for an image without pixels.
pub fn encode_jpeg75(image: &Rgb) -> Result<Vec<u8>> {
    catch_libjpeg("cannot write a JPEG", || {
        let mut jpeg = Compress::new(ColorSpace::JCS_RGB);
        jpeg.set_size(image.width, image.height);
        // Without this the library would use its own tables and trellis quantisation.
        jpeg.set_fastest_defaults();
        jpeg.set_quality(75.0);
        jpeg.set_chroma_sampling_pixel_sizes((2, 2), (2, 2));
        let mut writer = jpeg.start_compress(Vec::new())?;
        writer.write_scanlines(&image.pixels)?;
        Ok(writer.finish()?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, ImageBuffer, Luma, Rgba};

    fn png(image: DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn example() -> Rgb {
        let pixels = (0..24 * 16 * 3).map(|i| (i * 5 % 256) as u8).collect();
        Rgb {
            width: 24,
            height: 16,
            pixels,
        }
    }

    #[track_caller]
    fn assert_refused(bytes: &[u8], part: &str) {
        let error = format!("{:#}", decode(bytes).unwrap_err());
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn grey_and_alpha_become_rgb() {
        let grey = ImageBuffer::from_fn(2, 2, |x, _| Luma([x as u8 * 9]));
        let grey = decode(&png(DynamicImage::ImageLuma8(grey))).unwrap();
        assert_eq!(grey.pixels, [0, 0, 0, 9, 9, 9, 0, 0, 0, 9, 9, 9]);
        let transparent = ImageBuffer::from_pixel(1, 1, Rgba([1, 2, 3, 0]));
        let transparent = decode(&png(DynamicImage::ImageRgba8(transparent))).unwrap();
        assert_eq!(transparent.pixels, [1, 2, 3]);
    }

    #[test]
    fn what_cannot_be_read_faithfully_is_refused() {
        let grey = ImageBuffer::from_pixel(1, 1, Luma([9]));
        assert_refused(&png(DynamicImage::ImageLuma16(grey)), "16-bit");
        let rgb = ImageBuffer::from_pixel(1, 1, image::Rgb([9; 3]));
        assert_refused(&png(DynamicImage::ImageRgb16(rgb)), "16-bit");
        assert_refused(b"", "empty");
        assert_refused(b"GIF89a", "neither a JPEG nor a PNG");
        let jpeg = encode_jpeg75(&example()).unwrap();
        assert_refused(&jpeg[..jpeg.len() / 2], "truncated");
        let whole = ImageBuffer::from_raw(24, 16, example().pixels).unwrap();
        let whole = png(DynamicImage::ImageRgb8(whole));
        assert_refused(&whole[..whole.len() / 2], "PNG");
    }

    #[test]
    fn a_cmyk_jpeg_is_refused() {
        let mut jpeg = Compress::new(ColorSpace::JCS_CMYK);
        jpeg.set_size(8, 8);
        jpeg.set_color_space(ColorSpace::JCS_CMYK);
        let mut writer = jpeg.start_compress(Vec::new()).unwrap();
        writer.write_scanlines(&[9; 8 * 8 * 4]).unwrap();
        assert_refused(&writer.finish().unwrap(), "CMYK");
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let jpeg = encode_jpeg75(&example()).unwrap();
        for at in 2..jpeg.len() - 2 {
            let mut changed = jpeg.clone();
            changed[at] ^= 0x55;
            let _ = decode(&changed);
        }
    }
}
