//! Image files as Pillow reads them, always as 8-bit RGB: JPEG by libjpeg, PNG and WebP by crates,
//! BMP, TIFF and PNM by this crate.

mod bmp;
mod jpeg;
mod orientation;
mod png;
mod pnm;
mod tiff;
mod tiff_blocks;
mod tiff_directory;
mod webp;

pub use jpeg::encode_jpeg75;
pub(crate) use orientation::turned;
pub use png::encode_png;
pub(crate) use webp::is_webp;

use crate::file_kind::file_kind;
use crate::files::read_bounded;
use crate::image_set::pixels_tensor;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use tch::Tensor;
use unicode_normalization::UnicodeNormalization;

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

/// Extensions of image files that are read, lower case.
pub const EXTENSIONS: [&str; 13] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm",
];

/// Names of the formats that are read, for messages.
pub const FORMATS: &str = "JPEG, PNG, WebP, BMP, TIFF, PNM";

/// Raised when a reader gives other pixels for a file than before: what was computed from files and
/// kept is computed again.
pub const READERS_VERSION: u32 = 2;

/// Largest number of pixels of one image; a file that claims more is refused.
pub const MAX_PIXELS: usize = 1 << 28;

/// Largest size of an image file in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 30;

/// The name of an image: that of its file without the extension, in composed characters (NFC), so
/// that a file keeps its name on the way over a file system that decomposes them.
pub fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.nfc().collect()
}

/// The name of a file in composed characters (NFC).
pub fn composed_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.nfc().collect()
}

/// Whether the first bytes are those of a format that [`decode`] reads.
pub fn is_readable(first_bytes: &[u8]) -> bool {
    decoder(first_bytes).is_some()
}

/// Reads an image file. Grey becomes RGB and alpha is dropped (Pillow's `convert("RGB")`).
///
/// # Errors
/// The file cannot be read, is damaged or truncated, is of none of the [`FORMATS`], is 16-bit or
/// CMYK, or claims more than [`MAX_PIXELS`]; the error names it.
pub fn read(path: &Path) -> Result<Rgb> {
    let bytes = read_bounded(path, MAX_FILE_BYTES)?;
    decode(&bytes).with_context(|| path.display().to_string())
}

/// Decodes an image file's bytes. The first bytes tell the format, whatever the file's name says.
///
/// # Errors
/// As [`read`].
pub fn decode(bytes: &[u8]) -> Result<Rgb> {
    if let Some(decode) = decoder(bytes) {
        return decode(bytes);
    }
    if bytes.is_empty() {
        bail!("the file is empty");
    }
    match file_kind(bytes) {
        Some(kind) => bail!("it is {}, none of {FORMATS}", kind.name),
        None => {
            let first = &bytes[..bytes.len().min(4)];
            bail!("none of {FORMATS} (first bytes {first:02x?})")
        }
    }
}

/// Decodes the bytes of a file.
type Decode = fn(&[u8]) -> Result<Rgb>;

/// The reader of the format that a file's first bytes tell.
fn decoder(bytes: &[u8]) -> Option<Decode> {
    Some(match bytes {
        [0xff, 0xd8, ..] => jpeg::decode,
        [0x89, b'P', b'N', b'G', ..] => png::decode,
        _ if is_webp(bytes) => webp::decode,
        [b'B', b'M', ..] => bmp::decode,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => tiff::decode,
        [b'P', b'1'..=b'6', ..] => pnm::decode,
        _ => return None,
    })
}

/// Refuses an image without pixels, and one of more than `possible` pixels, which its bytes cannot
/// hold, or of more than [`MAX_PIXELS`].
fn check_area(width: usize, height: usize, possible: usize) -> Result<()> {
    let area = width.saturating_mul(height);
    ensure!(area > 0, "an image of {width} x {height} pixels");
    ensure!(
        area <= MAX_PIXELS,
        "{width} x {height} pixels are more than the {MAX_PIXELS} that are read"
    );
    ensure!(
        area <= possible,
        "{width} x {height} pixels are more than its bytes can hold"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgba};
    use mozjpeg::{ColorSpace, Compress};
    use std::io::Cursor;

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
    fn a_name_is_the_same_composed_and_decomposed() {
        let [composed, decomposed] = ["caf\u{e9}.tar.png", "cafe\u{301}.tar.png"];
        assert_ne!(composed, decomposed);
        assert_eq!(stem(Path::new(composed)), "caf\u{e9}.tar");
        assert_eq!(stem(Path::new(decomposed)), stem(Path::new(composed)));
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
        assert_refused(b"GIF89a", "it is a GIF, none of JPEG, PNG, WebP");
        assert_refused(b"text", "none of JPEG, PNG");
        assert_refused(b"<html>quota</html>", "a web page");
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
