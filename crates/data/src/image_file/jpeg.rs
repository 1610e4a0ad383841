//! JPEG by libjpeg, as Pillow reads and writes it.

use super::{MAX_PIXELS, Rgb};
use anyhow::{Result, anyhow, ensure};
use mozjpeg::decompress::DecompressBuilder;
use mozjpeg::{ColorSpace, Compress};
use std::any::Any;
use std::cell::Cell;
use std::io::{BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// JPEG spends at least a bit on each block of 64 values, and no chroma layout makes more than 512
/// pixels of a byte.
const MAX_PIXELS_PER_BYTE: usize = 512;

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

/// A file's bytes, and whether libjpeg asked for more than there are. It fills what is missing with
/// grey and goes on; Pillow refuses such a file.
struct Bytes<'a> {
    rest: &'a [u8],
    ran_out: &'a Cell<bool>,
}

impl Read for Bytes<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.rest.read(out)
    }
}

impl BufRead for Bytes<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.rest.is_empty() {
            self.ran_out.set(true);
        }
        Ok(self.rest)
    }

    fn consume(&mut self, count: usize) {
        self.rest.consume(count);
    }
}

/// Decodes a JPEG.
///
/// # Errors
/// The file is truncated (also when only its end marker is missing) or damaged, is CMYK, or claims
/// more pixels than its bytes can hold.
pub(super) fn decode(bytes: &[u8]) -> Result<Rgb> {
    let ran_out = Cell::new(false);
    let decoded = catch_libjpeg("a damaged JPEG", || decompress(bytes, &ran_out));
    ensure!(
        !ran_out.get(),
        "a truncated JPEG (it ends before its end marker): fetch or write it again"
    );
    decoded
}

fn decompress(bytes: &[u8], ran_out: &Cell<bool>) -> Result<Rgb> {
    let reader = Bytes {
        rest: bytes,
        ran_out,
    };
    let jpeg = DecompressBuilder::new().from_reader(reader)?;
    let (width, height) = jpeg.size();
    let possible = MAX_PIXELS.min(bytes.len().saturating_mul(MAX_PIXELS_PER_BYTE));
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
